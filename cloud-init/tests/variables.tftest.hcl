# What must not get to a machine, and ends in a sentence instead.

variables {
  operator_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f alice"]
}

run "what_is_right" {
  command = plan

  variables {
    operator_keys = [
      "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f alice@laptop \"at home\"\n",
      "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f",
      "SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA",
    ]
    access    = "allowlist"
    approval  = true
    host_name = "203.0.113.7"
    web_url   = "https://chat.example.com:8443/join?lang=en"
    history   = "forever"
    settings  = { "limits.message_rate" = "30/min", "log.level" = "info,ssh_chat::ssh=debug", "ssh.strict_crypto" = true }
  }

  assert {
    condition     = startswith(output.user_data, "#cloud-config\n")
    error_message = "cloud-init knows its own by the first line."
  }
}

run "open_to_all_needs_no_operator" {
  command = plan

  variables {
    access        = "open"
    operator_keys = []
  }
}

run "nobody_could_come_in" {
  command         = plan
  expect_failures = [var.operator_keys]

  variables {
    operator_keys = []
  }
}

run "a_private_key" {
  command         = plan
  expect_failures = [var.operator_keys]

  variables {
    operator_keys = ["-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----\n"]
  }
}

run "the_name_of_a_file" {
  command         = plan
  expect_failures = [var.operator_keys]

  variables {
    operator_keys = ["~/.ssh/id_ed25519.pub"]
  }
}

run "two_keys_in_one" {
  command         = plan
  expect_failures = [var.operator_keys]

  variables {
    operator_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\nssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"]
  }
}

run "a_comma_in_a_comment" {
  command         = plan
  expect_failures = [var.operator_keys]

  variables {
    operator_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f alice, at home"]
  }
}

run "options_before_a_key" {
  command         = plan
  expect_failures = [var.operator_keys]

  variables {
    operator_keys = ["no-pty ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"]
  }
}

run "an_old_kind_of_key" {
  command         = plan
  expect_failures = [var.operator_keys]

  variables {
    operator_keys = ["ssh-dss AAAAB3NzaC1kc3MAAACBAP"]
  }
}

run "a_short_rsa_key" {
  command         = plan
  expect_failures = [var.operator_keys]

  variables {
    operator_keys = [format("ssh-rsa AAAAB3NzaC1yc2EAAAADAQAB%s", join("", [for i in range(34) : "AAAAAAAAAA"]))]
  }
}

run "what_breaks_yaml" {
  command         = plan
  expect_failures = [var.settings]

  variables {
    settings = { motd = "a\u007fb" }
  }
}

run "too_long" {
  command         = plan
  expect_failures = [var.settings]

  variables {
    settings = { motd = join("", [for i in range(500) : "123456789"]) }
  }
}

run "too_much_for_user_data" {
  command         = plan
  expect_failures = [output.user_data]

  variables {
    operator_keys = [for i in range(100) : "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ${join("", [for j in range(20) : "somebody "])}"]
  }
}

run "no_such_access" {
  command         = plan
  expect_failures = [var.access]

  variables {
    access = "closed"
  }
}

run "a_host_name_with_a_port" {
  command         = plan
  expect_failures = [var.host_name]

  variables {
    host_name = "chat.example.com:22"
  }
}

run "a_page_with_a_fragment" {
  command         = plan
  expect_failures = [var.web_url]

  variables {
    web_url = "https://chat.example.com/#join"
  }
}

run "a_history_without_a_unit" {
  command         = plan
  expect_failures = [var.history]

  variables {
    history = "90"
  }
}

run "no_such_setting" {
  command         = plan
  expect_failures = [var.settings]

  variables {
    settings = { "limits.room" = 50 }
  }
}

run "a_setting_of_the_image" {
  command         = plan
  expect_failures = [var.settings]

  variables {
    settings = { listen = "0.0.0.0:2222" }
  }
}

run "a_number_that_is_none" {
  command         = plan
  expect_failures = [var.settings]

  variables {
    settings = { "limits.rooms" = "many" }
  }
}

run "a_switch_that_is_none" {
  command         = plan
  expect_failures = [var.settings]

  variables {
    settings = { "ssh.strict_crypto" = "yes" }
  }
}

run "a_time_without_a_unit" {
  command         = plan
  expect_failures = [var.settings]

  variables {
    settings = { "invite_expires" = "7" }
  }
}

run "a_time_that_begins_with_the_shorter_unit" {
  command         = plan
  expect_failures = [var.settings]

  variables {
    settings = { "invite_expires" = "30m1h" }
  }
}

run "times_as_the_server_reads_them" {
  command = plan

  variables {
    settings = { "invite_expires" = "2w", "limits.outage_logins" = "1h30m", "limits.stall" = "45s" }
  }
}

run "a_key_for_a_secret" {
  command         = plan
  expect_failures = [var.host_key_secret]

  variables {
    host_key_secret = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA"
  }
}
