# Invalid values, which must be rejected with an error.

variables {
  operator_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f alice"]
}

run "valid" {
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
    error_message = "user-data must start with #cloud-config."
  }
}

run "open_without_operators" {
  command = plan

  variables {
    access        = "open"
    operator_keys = []
  }
}

run "allowlist_without_operators" {
  command         = plan
  expect_failures = [var.operator_keys]

  variables {
    operator_keys = []
  }
}

run "private_key" {
  command         = plan
  expect_failures = [var.operator_keys]

  variables {
    operator_keys = ["-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----\n"]
  }
}

run "file_name_as_key" {
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

run "comma_in_comment" {
  command         = plan
  expect_failures = [var.operator_keys]

  variables {
    operator_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f alice, at home"]
  }
}

run "options_before_key" {
  command         = plan
  expect_failures = [var.operator_keys]

  variables {
    operator_keys = ["no-pty ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"]
  }
}

run "unsupported_key_type" {
  command         = plan
  expect_failures = [var.operator_keys]

  variables {
    operator_keys = ["ssh-dss AAAAB3NzaC1kc3MAAACBAP"]
  }
}

run "short_rsa_key" {
  command         = plan
  expect_failures = [var.operator_keys]

  variables {
    operator_keys = [format("ssh-rsa AAAAB3NzaC1yc2EAAAADAQAB%s", join("", [for i in range(34) : "AAAAAAAAAA"]))]
  }
}

run "control_character" {
  command         = plan
  expect_failures = [var.settings]

  variables {
    settings = { motd = "a\u007fb" }
  }
}

run "text_too_long" {
  command         = plan
  expect_failures = [var.settings]

  variables {
    settings = { motd = join("", [for i in range(500) : "123456789"]) }
  }
}

run "user_data_too_large" {
  command         = plan
  expect_failures = [output.user_data]

  variables {
    operator_keys = [for i in range(100) : "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ${join("", [for j in range(20) : "somebody "])}"]
  }
}

run "unknown_access" {
  command         = plan
  expect_failures = [var.access]

  variables {
    access = "closed"
  }
}

run "host_name_with_port" {
  command         = plan
  expect_failures = [var.host_name]

  variables {
    host_name = "chat.example.com:22"
  }
}

run "web_url_with_fragment" {
  command         = plan
  expect_failures = [var.web_url]

  variables {
    web_url = "https://chat.example.com/#join"
  }
}

run "history_without_unit" {
  command         = plan
  expect_failures = [var.history]

  variables {
    history = "90"
  }
}

run "unknown_setting" {
  command         = plan
  expect_failures = [var.settings]

  variables {
    settings = { "limits.room" = 50 }
  }
}

run "setting_fixed_by_image" {
  command         = plan
  expect_failures = [var.settings]

  variables {
    settings = { listen = "0.0.0.0:2222" }
  }
}

run "not_a_number" {
  command         = plan
  expect_failures = [var.settings]

  variables {
    settings = { "limits.rooms" = "many" }
  }
}

run "not_a_switch" {
  command         = plan
  expect_failures = [var.settings]

  variables {
    settings = { "ssh.strict_crypto" = "yes" }
  }
}

run "duration_without_unit" {
  command         = plan
  expect_failures = [var.settings]

  variables {
    settings = { "invite_expires" = "7" }
  }
}

run "duration_with_units_out_of_order" {
  command         = plan
  expect_failures = [var.settings]

  variables {
    settings = { "invite_expires" = "30m1h" }
  }
}

run "valid_durations" {
  command = plan

  variables {
    settings = { "invite_expires" = "2w", "limits.outage_logins" = "1h30m", "limits.stall" = "45s" }
  }
}

run "key_as_secret" {
  command         = plan
  expect_failures = [var.host_key_secret]

  variables {
    host_key_secret = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA"
  }
}

# Values that the server would refuse.

run "number_below_its_range" {
  command         = plan
  expect_failures = [var.settings]

  variables {
    settings = { "limits.rooms" = "0" }
  }
}

run "number_above_its_range" {
  command         = plan
  expect_failures = [var.settings]

  variables {
    settings = { "limits.connections" = "9999999" }
  }
}

run "small_number_above_its_range" {
  command         = plan
  expect_failures = [var.settings]

  variables {
    settings = { "history.on_join" = "500" }
  }
}

run "duration_above_its_range" {
  command         = plan
  expect_failures = [var.settings]

  variables {
    settings = { "limits.login_grace" = "9h" }
  }
}

run "duration_just_above_its_range" {
  command         = plan
  expect_failures = [var.settings]

  variables {
    settings = { "limits.login_grace" = "10m1s" }
  }
}

run "public_address_for_metrics" {
  command         = plan
  expect_failures = [var.settings]

  variables {
    settings = { "metrics.listen" = "8.8.8.8:9622" }
  }
}

run "size_of_a_database_beside_a_table" {
  command         = plan
  expect_failures = [var.settings]

  variables {
    table    = "ssh-chat"
    settings = { "history.max_size" = "2GiB" }
  }
}

run "values_at_the_end_of_their_range" {
  command = plan

  variables {
    settings = {
      "limits.rooms"         = "1000000"
      "limits.auth_attempts" = "1"
      "limits.login_grace"   = "10m"
      "limits.outage_logins" = "24h"
      "limits.disk_reserve"  = "0"
      "history.on_join"      = "0"
      "invite_expires"       = "52w1d"
      "metrics.listen"       = "172.31.0.9:9622"
      "aws.refresh"          = "1h"
    }
  }
}
