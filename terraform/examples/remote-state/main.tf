# The state in an S3 bucket, for a chat with several operators. The bucket exists already: private,
# encrypted and versioned. S3 itself locks the state; no DynamoDB table is needed.

terraform {
  backend "s3" {
    bucket       = "example-terraform-state"
    key          = "ssh-chat/terraform.tfstate"
    region       = "eu-central-1"
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region = "eu-central-1"
}

module "chat" {
  source = "../../modules/chat"

  image_version  = "0.1.0"
  operator_cidrs = ["203.0.113.7/32"]
  operator_keys  = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f alice"]
}

output "ssh" {
  value = module.chat.ssh
}
