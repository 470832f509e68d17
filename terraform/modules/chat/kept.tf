# Persistent data, which outlives the machine: the host key, its public half, and the table. Neither can
# be destroyed, nor the address in machine.tf, unless examples/destroy says so.

# Don't add an aws_secretsmanager_secret_version: the machine fills the secret once, on its first
# start, so that the key is never in Terraform's state.
resource "aws_secretsmanager_secret" "host_key" {
  # checkov:skip=CKV2_AWS_57: automatic rotation would lock everyone out; `ssh-chat host-key rotate` rotates it on purpose
  name                    = "${var.name}/host-key"
  description             = "Host key of the chat ${var.name}, which clients use to identify it"
  kms_key_id              = var.kms_key_arn
  recovery_window_in_days = var.recovery_window_in_days
  depends_on              = [terraform_data.identity]
  tags                    = local.tags

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_ssm_parameter" "host_key" {
  # checkov:skip=CKV2_AWS_34: this is the public half, which anyone may read
  name           = "/${var.name}/host-key"
  description    = "The host key of ssh-chat: its fingerprint and its public half"
  type           = "String"
  insecure_value = "not there yet: the machine writes it on its first start"
  tags           = local.tags

  lifecycle {
    ignore_changes = [description, insecure_value, value]
  }
}

resource "aws_dynamodb_table" "chat" {
  name                        = var.name
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "pk"
  range_key                   = "sk"
  deletion_protection_enabled = var.deletion_protection
  tags                        = local.tags

  attribute {
    name = "pk"
    type = "S"
  }

  attribute {
    name = "sk"
    type = "S"
  }

  ttl {
    attribute_name = "expires_at"
    enabled        = true
  }

  point_in_time_recovery {
    enabled = true
  }

  dynamic "server_side_encryption" {
    for_each = var.kms_key_arn[*]

    content {
      enabled     = true
      kms_key_arn = server_side_encryption.value
    }
  }

  depends_on = [terraform_data.identity]

  lifecycle {
    prevent_destroy = true
  }
}
