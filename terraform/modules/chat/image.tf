# The image is selected by version or id, never "the newest": an image that someone else builds must
# not replace this machine.

data "aws_ec2_instance_type" "chat" {
  instance_type = var.instance_type
}

locals {
  architecture = contains(data.aws_ec2_instance_type.chat.supported_architectures, "arm64") ? "arm64" : "x86_64"

  # ami-…, eu-central-1:ami-…, or a comma-separated list with one per region.
  named_images = var.ami_id == null ? [] : [
    for part in split(",", var.ami_id) : element(split(":", part), -1)
    if !strcontains(part, ":") || startswith(part, "${local.region}:")
  ]

  image_wanted = (
    var.ami_id != null
    ? { words = "the id ${join(", ", local.named_images)}", filters = { "image-id" = local.named_images } }
    : { words = "the tags Project=${local.project} and Version=${coalesce(var.image_version, "?")}", filters = {
      "tag:Project" = [local.project]
      "tag:Version" = [coalesce(var.image_version, "?")]
    } }
  )
}

data "aws_ami_ids" "chat" {
  owners             = [var.image_owner]
  include_deprecated = true

  dynamic "filter" {
    for_each = merge(local.image_wanted.filters, {
      "architecture" = [local.architecture]
      "state"        = ["available"]
    })

    content {
      name   = filter.key
      values = filter.value
    }
  }

  lifecycle {
    postcondition {
      condition     = length(self.ids) > 0
      error_message = "No image found with ${local.image_wanted.words} for ${local.architecture} (${var.instance_type}) in ${local.region} owned by ${var.image_owner == "self" ? "this account" : "account ${var.image_owner}"}. Build one with Packer, or list the existing ones with `aws ec2 describe-images --region ${local.region} --owners ${var.image_owner} --filters Name=tag:Project,Values=${local.project}`."
    }

    postcondition {
      condition     = length(self.ids) < 2
      error_message = "Found ${length(self.ids)} images with ${local.image_wanted.words}: ${join(", ", sort(self.ids))}. Set ami_id instead of image_version to select one, or deregister the others."
    }
  }
}
