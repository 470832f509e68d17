# The settings of docs/configuration.md that have no variable of their own, and their formats.
# ci/cloud-init compares this list with that page.

locals {
  kinds = {
    number = {
      pattern = "^(0|[1-9][0-9]{0,6})$"
      right   = "a whole number, such as 50"
      quoted  = false
    }
    switch = {
      pattern = "^(true|false)$"
      right   = "true or false"
      quoted  = false
    }
    time = {
      pattern = local.time
      right   = "a duration with units, such as 90s, 10m, 1h30m, 7d or 2w"
      quoted  = true
    }
    rate = {
      pattern = "^(0|[1-9][0-9]{0,3}/(s|min|h))$"
      right   = "a rate, such as 2/s or 30/min, or 0 for no limit"
      quoted  = true
    }
    address = {
      pattern = "^(([0-9]{1,3}\\.){3}[0-9]{1,3}|\\[[0-9a-f:.]{2,45}\\]):[1-9][0-9]{0,4}$"
      right   = "an address and a port, such as 127.0.0.1:9622"
      quoted  = true
    }
    # Of this machine or of a network that isn't routed on the Internet.
    private = {
      pattern = "^(127(\\.[0-9]{1,3}){3}|10(\\.[0-9]{1,3}){3}|192\\.168(\\.[0-9]{1,3}){2}|172\\.(1[6-9]|2[0-9]|3[01])(\\.[0-9]{1,3}){2}|169\\.254(\\.[0-9]{1,3}){2}|100\\.(6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7])(\\.[0-9]{1,3}){2}|\\[(::1|[fF][cCdD][0-9a-fA-F:]*|[fF][eE][89abAB][0-9a-fA-F:]*)\\]):[1-9][0-9]{0,4}$"
      right   = "an address that isn't reachable from the Internet, with a port: 127.0.0.1:9622, or one of a private network such as 10.0.0.5:9622"
      quoted  = true
    }
    networks = {
      pattern = "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?(, ?[0-9A-Fa-f:.]+(/[0-9]{1,3})?)*$"
      right   = "addresses or networks, such as 192.0.2.0/24, separated by commas"
      quoted  = true
    }
    size = {
      pattern = "^(0|[1-9][0-9]{0,9}(KiB|MiB|GiB|TiB))$"
      right   = "a size with a unit, such as 512MiB or 2GiB, or 0"
      quoted  = true
    }
    people = {
      pattern = "^(members|operators)$"
      right   = "members or operators"
      quoted  = true
    }
    name = {
      pattern = "^[A-Za-z0-9_.-]{1,64}$"
      right   = "a name of up to 64 letters, digits, _, - and ."
      quoted  = true
    }
    format = {
      pattern = "^(auto|text|json|journald)$"
      right   = "auto, text, json or journald"
      quoted  = true
    }
    level = {
      pattern = "^(off|error|warn|info|debug|trace)(,[a-z0-9_:]+=(off|error|warn|info|debug|trace))*$"
      right   = "a level, such as info, optionally with levels for modules, such as info,ssh_chat::ssh=debug"
      quoted  = true
    }
    key = {
      pattern = "^ssh-ed25519 AAAA[A-Za-z0-9+/]{64}$"
      right   = "the public half of the host key without a comment: ssh-ed25519 AAAA…"
      quoted  = true
    }
    # No control characters except tab and line ends: YAML rejects some of them.
    words = {
      pattern = "^[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x{9f}\\x{fffe}\\x{ffff}]*$"
      right   = "a text of at most 4096 characters, without control characters"
      quoted  = true
    }
  }

  settings = {
    "add_keys"                        = "people"
    "invite_expires"                  = "time"
    "motd"                            = "words"
    "limits.connections"              = "number"
    "limits.connections_per_address"  = "number"
    "limits.trusted_networks"         = "networks"
    "limits.people_per_address"       = "number"
    "limits.new_accounts_per_address" = "rate"
    "limits.unauthenticated"          = "number"
    "limits.login_grace"              = "time"
    "limits.outage_logins"            = "time"
    "limits.auth_attempts"            = "number"
    "limits.channels_per_connection"  = "number"
    "limits.stall"                    = "time"
    "limits.rooms"                    = "number"
    "limits.rooms_per_account"        = "number"
    "limits.message_burst"            = "number"
    "limits.message_rate"             = "rate"
    "limits.command_burst"            = "number"
    "limits.command_rate"             = "rate"
    "limits.disk_reserve"             = "size"
    "history.on_join"                 = "number"
    "history.max_size"                = "size"
    "log.format"                      = "format"
    "log.level"                       = "level"
    "metrics.listen"                  = "private"
    "shutdown.deadline"               = "time"
    "ssh.strict_crypto"               = "switch"
    "web.listen"                      = "address"
    "web.host_key"                    = "key"
    "web.trusted_hops"                = "number"
    "web.burst"                       = "number"
    "web.rate"                        = "rate"
    "aws.refresh"                     = "time"
    "aws.patience"                    = "time"
    "aws.metrics"                     = "name"
  }

  # The factors of units, for comparisons with the bounds in bounds.tf.
  units     = { "" = 1, w = 604800, d = 86400, h = 3600, m = 60, s = 1, KiB = 1024, MiB = 1048576, GiB = 1073741824, TiB = 1099511627776 }
  of_bounds = { for key, kind in local.settings : key => lookup({ time = "s", size = " bytes" }, kind, "") }

  # At least one number with a unit, longest unit first, each at most once.
  time = join("", ["^(", join("|", [
    for place, unit in ["w", "d", "h", "m", "s"] :
    "[0-9]{1,9}${unit}${join("", [for shorter in slice(["w", "d", "h", "m", "s"], place + 1, 5) : "([0-9]{1,9}${shorter})?"])}"
  ]), ")$"])

  # Neither listed here nor variables, because the image fixes them: listen (systemd passes the socket),
  # data_dir (systemd creates it) and motd_file (nothing would create the file).

  # One line of a .pub file with a key type that the server accepts, or a fingerprint. The server splits
  # keys at commas, and control characters that JSON doesn't escape would break the YAML.
  key_line = "^((${join("|", [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp(?:256|384|521)",
    "sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\\.com",
  ])}) AAAA[A-Za-z0-9+/]+={0,2}( [^,\\x00-\\x1f\\x7f-\\x{9f}\\x{fffe}\\x{ffff}]*)?|SHA256:[A-Za-z0-9+/]{43})$"
}
