# The variables of the folder terraform and the table in its README.md are generated from this file. After
# a change, run UPDATE_DOCS=1 ci/terraform.

# Name and network

variable "name" {
  type        = string
  description = "Name, or name prefix, of all resources. It can't be changed later: another name is another chat, in a workspace of its own."
  default     = "ssh-chat"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,28}[a-z0-9]$", var.name)) && !can(regex("^(aws|ssm)", var.name))
    error_message = "name must be 3 to 30 lowercase letters, digits and hyphens, start with a letter, end with a letter or digit, and not start with aws or ssm, which AWS reserves."
  }
}

variable "subnet_ids" {
  type        = list(string)
  description = "Public subnets of an existing VPC, with a route to an internet gateway. The machine uses the first. If empty, a VPC is created."
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for id in var.subnet_ids : can(regex("^subnet-[0-9a-f]+$", id))])
    error_message = "subnet_ids must be subnet ids, such as subnet-0123456789abcdef0, not names or ARNs."
  }
}

variable "vpc_cidr" {
  type        = string
  description = "IPv4 range of the created VPC."
  default     = "10.71.0.0/24"
  nullable    = false

  validation {
    condition     = can(cidrsubnet(var.vpc_cidr, 3, 7)) && can(regex("^[0-9.]+/(1[6-9]|2[0-5])$", var.vpc_cidr)) && try(cidrsubnet(var.vpc_cidr, 0, 0), "") == var.vpc_cidr
    error_message = "vpc_cidr must be an IPv4 network from /16 to /25 without host bits, such as 10.71.0.0/24."
  }
}

variable "dns_servers" {
  type        = list(string)
  description = "With `subnet_ids`: addresses of the VPC's own DNS servers, if it doesn't use Amazon's. The machine may then reach them on port 53."
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for address in var.dns_servers : can(cidrhost("${address}/32", 0))])
    error_message = "dns_servers must be IPv4 addresses, such as 10.0.0.2."
  }
}

variable "availability_zones" {
  type        = list(string)
  description = "Availability zones for the created VPC; the machine uses the first. If empty, all zones that offer `instance_type`. To leave a zone that fails, list the others."
  default     = []
  nullable    = false

  validation {
    condition     = length(var.availability_zones) == 0 || (length(distinct(var.availability_zones)) >= 2 && length(distinct(var.availability_zones)) == length(var.availability_zones) && alltrue([for zone in var.availability_zones : can(regex("^${local.region}[a-f]$", zone))]))
    error_message = "availability_zones must be empty or list at least two different zones of the region, such as [\"eu-central-1a\", \"eu-central-1b\"]."
  }
}

# Access

variable "operator_cidrs" {
  type        = list(string)
  description = "Networks that may connect to the chat, such as `[\"203.0.113.7/32\"]`. https://checkip.amazonaws.com shows your address."
  nullable    = false

  validation {
    condition     = length(var.operator_cidrs) > 0
    error_message = "operator_cidrs is empty, so no one could connect. Add your own address, followed by /32; https://checkip.amazonaws.com shows it."
  }

  validation {
    condition = alltrue([for cidr in var.operator_cidrs : can(cidrhost(cidr, 0))])
    error_message = "operator_cidrs must be networks, such as 203.0.113.7/32 for one address or 203.0.113.0/24 for 256 addresses. Invalid: ${join(", ", [
      for cidr in var.operator_cidrs : cidr if !can(cidrhost(cidr, 0))
    ])}."
  }

  validation {
    # EC2 rejects networks with host bits.
    condition = alltrue([for cidr in var.operator_cidrs : try(cidrsubnet(cidr, 0, 0), cidr) == cidr])
    error_message = "A network in operator_cidrs has host bits. ${join(" ", [
      for cidr in var.operator_cidrs : "Replace ${cidr} with ${cidrsubnet(cidr, 0, 0)} for the whole network, or with ${split("/", cidr)[0]}/${strcontains(cidr, ":") ? 128 : 32} for that single address."
      if can(cidrhost(cidr, 0)) && try(cidrsubnet(cidr, 0, 0), cidr) != cidr
    ])}"
  }

  validation {
    # Half of the internet counts as the whole internet.
    condition = var.public || alltrue([
      for cidr in var.operator_cidrs : try(tonumber(split("/", cidr)[1]), 128) >= (strcontains(cidr, ":") ? 16 : 8)
    ])
    error_message = "operator_cidrs allows the whole internet, or a large part of it. List the networks that people connect from, or set public = true if the chat is meant to be public."
  }

  validation {
    condition     = length(var.subnet_ids) > 0 || !anytrue([for cidr in var.operator_cidrs : strcontains(cidr, ":")])
    error_message = "operator_cidrs has IPv6 networks, which would have no effect: the VPC that the module creates has no IPv6. Remove ${join(", ", [for cidr in var.operator_cidrs : cidr if strcontains(cidr, ":")])}, or use a VPC of your own with subnet_ids."
  }
}

variable "public" {
  type        = bool
  description = "Allow `0.0.0.0/0` or `::/0` in `operator_cidrs`."
  default     = false
  nullable    = false
}

variable "access" {
  type        = string
  description = "Who can log in: `allowlist` admits registered keys only, `open` anyone who can reach the port."
  default     = "allowlist"
  nullable    = false
}

variable "operator_keys" {
  type        = list(string)
  description = "Keys of the operators: lines from `.pub` files, or `SHA256:…` fingerprints. `allowlist` requires at least one."
  default     = []
  nullable    = false
}

variable "approval" {
  type        = bool
  description = "With `allowlist`: let an unknown key request access and wait for an operator's approval."
  default     = false
  nullable    = false
}

# Image and machine

variable "image_version" {
  type        = string
  description = "Version of the image, from its tag `Version`. Set this or `ami_id`."
  default     = null

  validation {
    condition     = (var.image_version == null) != (var.ami_id == null)
    error_message = "Set either image_version (the tag Version of an image built with Packer) or ami_id (artifact_id in Packer's manifest), not both."
  }
}

variable "ami_id" {
  type        = string
  description = "Id of the image, or `artifact_id` from Packer's manifest (`eu-central-1:ami-…`)."
  default     = null

  validation {
    condition     = var.ami_id == null ? true : can(regex("^(([a-z0-9-]+:)?ami-[0-9a-f]+)(,[a-z0-9-]+:ami-[0-9a-f]+)*$", var.ami_id))
    error_message = "ami_id must be an image id, such as ami-0123456789abcdef0, or artifact_id from Packer's manifest, such as eu-central-1:ami-0123456789abcdef0."
  }

  validation {
    condition     = var.ami_id == null ? true : !strcontains(var.ami_id, ":") || contains([for part in split(",", var.ami_id) : split(":", part)[0]], local.region)
    error_message = "ami_id has an image for ${var.ami_id == null ? "" : join(", ", [for part in split(",", var.ami_id) : split(":", part)[0]])} but none for ${local.region}. Build one there with Packer, or set region to the image's region."
  }
}

variable "image_owner" {
  type        = string
  description = "Account that owns the image: `self`, or the number of the account that shares it."
  default     = "self"
  nullable    = false

  validation {
    condition     = can(regex("^(self|[0-9]{12})$", var.image_owner))
    error_message = "image_owner must be self (this account) or the 12-digit number of another account."
  }
}

variable "instance_type" {
  type        = string
  description = "EC2 instance type. Its processor selects the image's architecture, arm64 or x86_64."
  default     = "t4g.small"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9-]+\\.[a-z0-9-]+$", var.instance_type))
    error_message = "instance_type must be an EC2 instance type, such as t4g.small (arm64) or t3.small (x86_64)."
  }
}

variable "root_volume_size" {
  type        = number
  description = "Disk size in GiB, at least the image's."
  default     = 8
  nullable    = false

  validation {
    condition     = var.root_volume_size >= 4 && var.root_volume_size <= 1024 && floor(var.root_volume_size) == var.root_volume_size
    error_message = "root_volume_size must be a whole number of GiB from 4 to 1024."
  }
}

variable "host_name" {
  type        = string
  description = "Host name that people type after `ssh`. Point its A record to the output `address`. If unset, people use the address."
  default     = null
}

variable "web_url" {
  type        = string
  description = "Address of the page where people redeem invites, shown to users who are refused. With `web`, set it only if you use your own domain."
  default     = null
}

variable "history" {
  type        = string
  description = "How long messages are kept, such as `90d`, or `forever`. If unset, the server's default."
  default     = null
}

variable "settings" {
  type        = map(string)
  description = "Other settings, by their names in docs/configuration.md, such as `{ motd = \"Welcome.\", \"limits.rooms\" = 50 }`."
  default     = {}
  nullable    = false
}

# Key page

variable "web" {
  type        = bool
  description = "Create a page where people redeem invites in a browser: an HTTP API and a Lambda function."
  default     = false
  nullable    = false
}

variable "web_package" {
  type        = string
  description = "With `web`: path of the zip built by `ci/lambda ARCH`."
  default     = null

  validation {
    condition     = !var.web || var.web_package != null
    error_message = "web is true, but web_package isn't set. Run `ci/lambda arm64` and set web_package to the path it prints, or set web = false."
  }

  validation {
    condition     = !var.web || var.web_package == null ? true : fileexists(var.web_package)
    error_message = "File not found: ${var.web_package == null ? "" : var.web_package}. web_package must be the path of the zip built by `ci/lambda arm64`, absolute or relative to the folder that Terraform runs in."
  }

  validation {
    # A zip's signature. Terraform can read a binary file only as base64.
    condition     = !var.web || !try(fileexists(var.web_package), false) ? true : startswith(filebase64(var.web_package), "UEsDB")
    error_message = "${var.web_package == null ? "" : var.web_package} isn't a zip file. web_package must be the path of the zip built by `ci/lambda arm64`, not of the program itself."
  }
}

variable "web_architecture" {
  type        = string
  description = "Processor that `web_package` was built for, `arm64` or `x86_64`."
  default     = "arm64"
  nullable    = false

  validation {
    condition     = contains(["arm64", "x86_64"], var.web_architecture)
    error_message = "web_architecture must be arm64 (ci/lambda arm64) or x86_64 (ci/lambda amd64)."
  }
}

variable "web_concurrency" {
  type        = number
  description = "Maximum number of concurrent requests to the page; others wait or are refused. `-1` reserves none, which also works in a new account that has too little to reserve."
  default     = -1
  nullable    = false

  validation {
    condition     = var.web_concurrency == -1 || (var.web_concurrency >= 1 && var.web_concurrency <= 100 && floor(var.web_concurrency) == var.web_concurrency)
    error_message = "web_concurrency must be a whole number from 1 to 100, or -1 to reserve none. To turn off the page, set web = false."
  }
}

variable "web_log_days" {
  type        = number
  description = "Retention of the page's logs in days. They contain no personal data."
  default     = 30
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731], var.web_log_days)
    error_message = "web_log_days must be a retention that CloudWatch supports: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545 or 731 days."
  }
}

# Alarms

variable "alarm_email" {
  type        = string
  description = "Address for alarms, which also creates a dashboard. AWS first asks the address to confirm. If empty, there are no alarms and no dashboard."
  default     = ""
  nullable    = false

  validation {
    condition     = var.alarm_email == "" || can(regex("^[^@\\s,<>]+@[^@\\s,<>]+\\.[^@\\s,<>]+$", var.alarm_email))
    error_message = "alarm_email must be one address, such as operators@example.com, or empty for no alarms. For several people, use a mailing list."
  }
}

# Persistent data

variable "kms_key_arn" {
  type        = string
  description = "ARN of your own KMS key for the secret, the table and the disk. If unset, AWS-managed keys."
  default     = null

  validation {
    condition     = var.kms_key_arn == null ? true : can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a KMS key (arn:aws:kms:…:key/…), not of an alias: IAM policies need the key itself."
  }
}

variable "deletion_protection" {
  type        = bool
  description = "Protect the table, with all messages, from deletion."
  default     = true
  nullable    = false
}

variable "recovery_window_in_days" {
  type        = number
  description = "How long a deleted host key can be restored: 7 to 30 days, or 0 for not at all. Until then, its name can't be reused."
  default     = 30
  nullable    = false

  validation {
    condition     = var.recovery_window_in_days == 0 || (var.recovery_window_in_days >= 7 && var.recovery_window_in_days <= 30)
    error_message = "recovery_window_in_days must be a number from 7 to 30, or 0 to delete a host key at once, after which every client warns about a changed host."
  }
}

variable "tags" {
  type        = map(string)
  description = "Tags for all resources, in addition to `Project`, `Chat` and `Name`."
  default     = {}
  nullable    = false

  validation {
    condition     = length(setintersection(keys(var.tags), ["Project", "Chat", "Name"])) == 0
    error_message = "tags can't include Project, Chat or Name; the module sets these."
  }
}
