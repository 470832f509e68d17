# The module in a configuration of your own. Replace the source with a version of this repository, such as
# git::https://example.com/ssh-chat.git//terraform/modules/chat?ref=v0.2.0.

provider "aws" {
  region = "eu-central-1"
}

module "chat" {
  source = "../../modules/chat"

  image_version  = "0.1.0"
  operator_cidrs = ["203.0.113.7/32"] # your address: https://checkip.amazonaws.com
  operator_keys  = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f alice"]
}

output "ssh" {
  value = module.chat.ssh
}

output "host_key" {
  value = module.chat.host_key
}
