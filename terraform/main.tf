# One machine that people join with `ssh`, and what outlives it: its address, its host key, its
# table. Files by subject: network.tf, image.tf, machine.tf, role.tf, kept.tf; the
# page where invites are redeemed: web.tf; who is told what: alarms.tf, dashboard.tf.

data "aws_partition" "here" {}

data "aws_caller_identity" "here" {}

locals {
  # What the image is tagged with, too.
  project = "ssh-chat"
  tags    = merge(var.tags, { Project = local.project, Chat = var.name })

  port      = 22
  host_name = coalesce(var.host_name, aws_eip.chat.public_ip)
}
