# Generated from src/config/settings.rs by UPDATE_DOCS=1 cargo test --lib. Don't edit.

locals {
  # The smallest and the largest value of a setting: of a duration in seconds, of a size in bytes.
  bounds = {
    "invite_expires"                 = [60, 31536000]
    "limits.connections"             = [1, 1000000]
    "limits.connections_per_address" = [1, 1000000]
    "limits.people_per_address"      = [1, 10000]
    "limits.unauthenticated"         = [1, 1000000]
    "limits.login_grace"             = [1, 600]
    "limits.auth_attempts"           = [1, 100]
    "limits.channels_per_connection" = [1, 64]
    "limits.stall"                   = [1, 3600]
    "limits.rooms"                   = [1, 1000000]
    "limits.rooms_per_account"       = [1, 1000000]
    "limits.message_burst"           = [1, 1000]
    "limits.command_burst"           = [1, 1000]
    "limits.outage_logins"           = [0, 86400]
    "limits.disk_reserve"            = [0, 1125899906842624]
    "history.max_size"               = [1048576, 1125899906842624]
    "history.on_join"                = [0, 200]
    "shutdown.deadline"              = [1, 600]
    "web.trusted_hops"               = [0, 8]
    "web.burst"                      = [1, 1000]
    "aws.history"                    = [86400, 86400000]
    "aws.refresh"                    = [1, 3600]
    "aws.patience"                   = [1, 3600]
  }
}
