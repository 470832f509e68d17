# The chat in modules/chat, in one region, with the variables in variables.tf. Other configurations can use
# the module directly: examples/ has some.

variable "region" {
  type        = string
  description = "AWS region for all resources, such as `eu-central-1`. It can't be changed later: another region is another chat, in a workspace of its own."
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region)) && !can(regex("^(cn|us-(gov|iso))-", var.region))
    error_message = "region must be a commercial AWS region, such as eu-central-1 or us-east-1. The module doesn't support AWS China, GovCloud and the other partitions: nothing of it has been tested there."
  }
}

provider "aws" {
  region = var.region
}
