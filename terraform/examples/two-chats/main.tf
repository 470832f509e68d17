# Two chats beside each other, each with its own host key, address, table and users.

provider "aws" {
  region = "eu-central-1"
}

module "chat" {
  source   = "../../modules/chat"
  for_each = { team-chat = "203.0.113.0/24", guest-chat = "198.51.100.0/24" }

  name           = each.key
  image_version  = "0.1.0"
  operator_cidrs = [each.value]
  operator_keys  = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f alice"]
}

output "ssh" {
  value = { for name, chat in module.chat : name => chat.ssh }
}
