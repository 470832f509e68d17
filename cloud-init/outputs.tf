output "user_data" {
  description = "The machine's user-data. It contains no secrets."
  value       = local.user_data

  precondition {
    condition     = local.bytes <= 16384
    error_message = "user-data is about ${local.bytes} bytes, but EC2 accepts at most 16384. List operators by fingerprint (SHA256:…, as `ssh-keygen -lf FILE.pub` prints), or shorten motd."
  }
}
