# An existing network, a custom host name, an image selected by id, and some settings.

provider "aws" {
  region = "eu-central-1"
}

module "chat" {
  source = "../../modules/chat"

  name       = "office-chat"
  subnet_ids = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
  ami_id     = "eu-central-1:ami-0123456789abcdef0"

  operator_cidrs = ["203.0.113.0/24", "198.51.100.0/24"]
  operator_keys = [
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f alice",
    "SHA256:rkSKyGxOjk3sZFcpcI70GHOuecbf+E7/czYJiUh/COU",
  ]

  host_name = "chat.example.com"
  approval  = true
  history   = "90d"
  settings = {
    motd           = "Welcome. Be kind."
    "limits.rooms" = 50
  }

  tags = { Team = "operations" }
}

output "ssh" {
  value = module.chat.ssh
}
