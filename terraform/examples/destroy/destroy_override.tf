# Allows `terraform destroy` to delete a chat for good: its messages, its host key and its address.
# Copy this file to modules/chat, and delete it afterwards. README.md has the commands.

resource "aws_dynamodb_table" "chat" {
  lifecycle {
    prevent_destroy = false
  }
}

resource "aws_secretsmanager_secret" "host_key" {
  lifecycle {
    prevent_destroy = false
  }
}

resource "aws_eip" "chat" {
  lifecycle {
    prevent_destroy = false
  }
}
