# The least there is to say. Copy it to terraform.tfvars beside main.tf and put your own values in.

region         = "eu-central-1"
image_version  = "0.1.0"
operator_cidrs = ["203.0.113.7/32"] # your address: https://checkip.amazonaws.com
operator_keys  = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f alice"]

# A page where people redeem invites in a browser. Off by default; see README.md.
# web         = true
# web_package = "../target/lambda/arm64.zip" # made by ci/lambda arm64

# Whom to tell when something is wrong. Nobody by default.
# alarm_email = "operators@example.com"
