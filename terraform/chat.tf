# Generated from modules/chat by UPDATE_DOCS=1 ci/terraform. Don't edit.

module "chat" {
  source = "./modules/chat"

  name                    = var.name
  subnet_ids              = var.subnet_ids
  vpc_cidr                = var.vpc_cidr
  dns_servers             = var.dns_servers
  availability_zones      = var.availability_zones
  operator_cidrs          = var.operator_cidrs
  public                  = var.public
  access                  = var.access
  operator_keys           = var.operator_keys
  approval                = var.approval
  image_version           = var.image_version
  ami_id                  = var.ami_id
  image_owner             = var.image_owner
  instance_type           = var.instance_type
  root_volume_size        = var.root_volume_size
  host_name               = var.host_name
  web_url                 = var.web_url
  history                 = var.history
  settings                = var.settings
  web                     = var.web
  web_package             = var.web_package
  web_architecture        = var.web_architecture
  web_concurrency         = var.web_concurrency
  web_log_days            = var.web_log_days
  alarm_email             = var.alarm_email
  kms_key_arn             = var.kms_key_arn
  deletion_protection     = var.deletion_protection
  recovery_window_in_days = var.recovery_window_in_days
  tags                    = var.tags
}

output "address" {
  description = "Address that people connect to. It stays the same when the machine is replaced."
  value       = module.chat.address
}

output "ssh" {
  description = "Command that people type to join."
  value       = module.chat.ssh
}

output "host_key" {
  description = "Command that prints the host key's fingerprint, to compare with the one that ssh shows on the first connection."
  value       = module.chat.host_key
}

output "known_hosts" {
  description = "Command that pins the host key in known_hosts, so that ssh doesn't ask."
  value       = module.chat.known_hosts
}

output "web_url" {
  description = "Address of the page where people redeem invites, if there is one."
  value       = module.chat.web_url
}

output "shell" {
  description = "Command that opens a shell on the machine through Session Manager; there is no sshd."
  value       = module.chat.shell
}

output "logs" {
  description = "Command that prints the machine's console, with its warnings and errors, for when no one can log in."
  value       = module.chat.logs
}

output "dashboard" {
  description = "Address of the CloudWatch dashboard, if there are alarms."
  value       = module.chat.dashboard
}

output "host_key_parameter" {
  description = "Name of the SSM parameter with the host key's fingerprint and public half, which the machine writes on its first start."
  value       = module.chat.host_key_parameter
}

output "web_api_id" {
  description = "Id of the key page's API, for a domain of your own."
  value       = module.chat.web_api_id
}
