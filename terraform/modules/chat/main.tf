# A chat in the provider's region: one machine that people join with `ssh`, and the resources that outlive
# it: address, host key and table. Files: network.tf, image.tf, machine.tf, role.tf; kept.tf for persistent data; web.tf for the
# key page; alarms.tf and dashboard.tf.

data "aws_region" "here" {}

data "aws_caller_identity" "here" {}

locals {
  region = data.aws_region.here.id

  # Also the image's tag Project.
  project = "ssh-chat"
  tags    = merge(var.tags, { Project = local.project, Chat = var.name })

  port      = 22
  host_name = coalesce(var.host_name, aws_eip.chat.public_ip)
}
