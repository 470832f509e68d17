output "user_data" {
  description = "The user-data of the machine. There is no secret in it."
  value       = local.user_data

  precondition {
    condition     = local.bytes <= 16384
    error_message = "The user-data would have about ${local.bytes} bytes, and EC2 takes 16384. Name operators by their fingerprints (SHA256:…, as `ssh-keygen -lf FILE.pub` shows) or shorten motd."
  }
}
