# Copy this file to terraform.tfvars and put in your own values.

region         = "eu-central-1"
image_version  = "0.1.0"
operator_cidrs = ["203.0.113.7/32"] # your address: https://checkip.amazonaws.com
operator_keys  = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f alice"]

# A page where people redeem invites in a browser, off by default. See README.md.
# web         = true
# web_package = "../target/lambda/arm64.zip" # built by ci/lambda arm64

# Address for alarms. None by default.
# alarm_email = "operators@example.com"
