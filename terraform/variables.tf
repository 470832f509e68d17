# What is in these descriptions is also the table in README.md: UPDATE_DOCS=1 ci/terraform

# Where

variable "region" {
  type        = string
  description = "The region of AWS that all of it is in, such as `eu-central-1`. Another one makes another chat, with another host key."
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2,4}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region is the name of a region of AWS, such as eu-central-1 or us-east-1."
  }
}

variable "name" {
  type        = string
  description = "What everything is called, or begins with. Another name makes another chat beside the first."
  default     = "ssh-chat"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,28}[a-z0-9]$", var.name)) && !can(regex("^(aws|ssm)", var.name))
    error_message = "name has 3 to 30 lower-case letters, digits and hyphens, begins with a letter, and not with aws or ssm, which AWS keeps for itself."
  }
}

variable "subnet_ids" {
  type        = list(string)
  description = "Public subnets of an existing VPC, with a route to an internet gateway; the machine is in the first. None: a VPC is made."
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for id in var.subnet_ids : can(regex("^subnet-[0-9a-f]+$", id))])
    error_message = "subnet_ids are the ids of subnets, such as subnet-0123456789abcdef0, not names or ARNs."
  }
}

variable "vpc_cidr" {
  type        = string
  description = "The addresses of the VPC that is made."
  default     = "10.71.0.0/24"
  nullable    = false

  validation {
    condition     = can(cidrsubnet(var.vpc_cidr, 2, 3)) && can(regex("^[0-9.]+/(1[6-9]|2[0-6])$", var.vpc_cidr)) && try(cidrsubnet(var.vpc_cidr, 0, 0), "") == var.vpc_cidr
    error_message = "vpc_cidr is a range of IPv4 addresses from /16 to /26 that begins on its own boundary, such as 10.71.0.0/24."
  }
}

variable "availability_zones" {
  type        = list(string)
  description = "The two zones of the VPC that is made. None: the first two of the region."
  default     = []
  nullable    = false

  validation {
    condition     = contains([0, 2], length(distinct(var.availability_zones)))
    error_message = "availability_zones are two different zones, such as [\"eu-central-1a\", \"eu-central-1b\"], or none."
  }
}

# Who

variable "operator_cidrs" {
  type        = list(string)
  description = "The addresses that reach the chat's port, such as `[\"203.0.113.7/32\"]`; https://checkip.amazonaws.com shows yours."
  nullable    = false

  validation {
    condition     = length(var.operator_cidrs) > 0
    error_message = "operator_cidrs is empty, so nobody could connect. Put your own address there, with /32 behind it; https://checkip.amazonaws.com shows it."
  }

  validation {
    condition = alltrue([for cidr in var.operator_cidrs : can(cidrhost(cidr, 0))])
    error_message = "operator_cidrs are ranges of addresses, such as 203.0.113.7/32 for one address or 203.0.113.0/24 for 256 of them. This is none: ${join(", ", [
      for cidr in var.operator_cidrs : cidr if !can(cidrhost(cidr, 0))
    ])}."
  }

  validation {
    # EC2 takes a range only as it is written here.
    condition = alltrue([for cidr in var.operator_cidrs : try(cidrsubnet(cidr, 0, 0), cidr) == cidr])
    error_message = "A range in operator_cidrs must begin on its own boundary. ${join(" ", [
      for cidr in var.operator_cidrs : "Instead of ${cidr} write ${cidrsubnet(cidr, 0, 0)} for all of it, or ${split("/", cidr)[0]}/${strcontains(cidr, ":") ? 128 : 32} for that one address."
      if can(cidrhost(cidr, 0)) && try(cidrsubnet(cidr, 0, 0), cidr) != cidr
    ])}"
  }

  validation {
    # Half of the internet is everybody, too.
    condition = var.public || alltrue([
      for cidr in var.operator_cidrs : try(tonumber(split("/", cidr)[1]), 128) >= (strcontains(cidr, ":") ? 16 : 8)
    ])
    error_message = "operator_cidrs lets in the whole internet, or a good part of it. Name the addresses that people come from, or, if the chat is meant for everybody, say so with public = true."
  }
}

variable "public" {
  type        = bool
  description = "Whether `operator_cidrs` may have `0.0.0.0/0` or `::/0`."
  default     = false
  nullable    = false
}

variable "access" {
  type        = string
  description = "Who is let in, of those who reach the port: `allowlist` is those whose keys are known, `open` is anybody."
  default     = "allowlist"
  nullable    = false
}

variable "operator_keys" {
  type        = list(string)
  description = "Who keeps order, and with `allowlist` comes in first: the lines of `.pub` files, or `SHA256:…` fingerprints. At least one with `allowlist`."
  default     = []
  nullable    = false
}

variable "approval" {
  type        = bool
  description = "With `allowlist`: whether a key that is not known may ask to come in, and wait for an operator."
  default     = false
  nullable    = false
}

# What

variable "image_version" {
  type        = string
  description = "The version of the image, as its tag `Version` says. This or `ami_id`."
  default     = null

  validation {
    condition     = (var.image_version == null) != (var.ami_id == null)
    error_message = "Say which image the machine is made from: either image_version (the tag Version of an image that Packer built) or ami_id (what Packer's manifest calls artifact_id), and not both."
  }
}

variable "ami_id" {
  type        = string
  description = "The image, by its id, or as `artifact_id` in Packer's manifest (`eu-central-1:ami-…`)."
  default     = null

  validation {
    condition     = var.ami_id == null ? true : can(regex("^(([a-z0-9-]+:)?ami-[0-9a-f]+)(,[a-z0-9-]+:ami-[0-9a-f]+)*$", var.ami_id))
    error_message = "ami_id is the id of an image, such as ami-0123456789abcdef0, or artifact_id in Packer's manifest, such as eu-central-1:ami-0123456789abcdef0."
  }

  validation {
    condition     = var.ami_id == null ? true : !strcontains(var.ami_id, ":") || contains([for part in split(",", var.ami_id) : split(":", part)[0]], var.region)
    error_message = "ami_id has an image for ${var.ami_id == null ? "" : join(", ", [for part in split(",", var.ami_id) : split(":", part)[0]])} and none for ${var.region}. Build one there with Packer, or set region to where the image is."
  }
}

variable "image_owner" {
  type        = string
  description = "The account that owns the image: `self`, or its number if it is shared with this account."
  default     = "self"
  nullable    = false

  validation {
    condition     = can(regex("^(self|[0-9]{12})$", var.image_owner))
    error_message = "image_owner is self (this account) or the number of another account, which has 12 digits."
  }
}

variable "instance_type" {
  type        = string
  description = "The kind of machine. Its processor decides which image is looked for, arm64 or x86_64."
  default     = "t4g.small"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9-]+\\.[a-z0-9-]+$", var.instance_type))
    error_message = "instance_type is the name of an EC2 instance type, such as t4g.small (arm64) or t3.small (x86_64)."
  }
}

variable "root_volume_size" {
  type        = number
  description = "The size of the disk in GiB, at least that of the image."
  default     = 8
  nullable    = false

  validation {
    condition     = var.root_volume_size >= 4 && var.root_volume_size <= 1024 && floor(var.root_volume_size) == var.root_volume_size
    error_message = "root_volume_size is a whole number of GiB from 4 to 1024."
  }
}

variable "host_name" {
  type        = string
  description = "What people type after `ssh`, if you have a name for it: point its A record to the output `address`. Otherwise it is that address."
  default     = null
}

variable "web_url" {
  type        = string
  description = "The page where people redeem invites, shown to those who are not let in. Not needed with `web`, unless a domain of your own leads there."
  default     = null
}

variable "history" {
  type        = string
  description = "How long messages are kept, such as `90d`, or `forever`. The server's own default if not set."
  default     = null
}

variable "settings" {
  type        = map(string)
  description = "Other settings by their names in docs/configuration.md, such as `{ motd = \"Welcome.\", \"limits.rooms\" = 50 }`."
  default     = {}
  nullable    = false
}

# The page where invites are redeemed

variable "web" {
  type        = bool
  description = "Whether there is a page on which people redeem invites in a browser: an HTTP API and a function that runs the program."
  default     = false
  nullable    = false
}

variable "web_package" {
  type        = string
  description = "With `web`: the zip that `ci/lambda ARCH` makes, by its path."
  default     = null

  validation {
    condition     = !var.web || var.web_package != null
    error_message = "web is true and web_package does not say what the page is run from. Build it with `ci/lambda arm64` and set web_package to the zip whose path it prints, or set web = false."
  }

  validation {
    condition     = !var.web || var.web_package == null ? true : fileexists(var.web_package)
    error_message = "There is no file ${var.web_package == null ? "" : var.web_package}. web_package is the path of the zip that `ci/lambda arm64` makes, absolute or from the folder that Terraform runs in."
  }

  validation {
    # As a zip begins; what is not text can only be looked at in base64.
    condition     = !var.web || !try(fileexists(var.web_package), false) ? true : startswith(filebase64(var.web_package), "UEsDB")
    error_message = "${var.web_package == null ? "" : var.web_package} is no zip. web_package is the path of the one that `ci/lambda arm64` makes, and not the program itself."
  }
}

variable "web_architecture" {
  type        = string
  description = "The processor that `web_package` was built for, `arm64` or `x86_64`."
  default     = "arm64"
  nullable    = false

  validation {
    condition     = contains(["arm64", "x86_64"], var.web_architecture)
    error_message = "web_architecture is arm64 (ci/lambda arm64) or x86_64 (ci/lambda amd64)."
  }
}

variable "web_concurrency" {
  type        = number
  description = "How many requests the page works on at once; the others wait or are refused. `-1` sets no bound of its own, for a new account, which may not have so many to reserve."
  default     = 5
  nullable    = false

  validation {
    condition     = var.web_concurrency == -1 || (var.web_concurrency >= 1 && var.web_concurrency <= 100 && floor(var.web_concurrency) == var.web_concurrency)
    error_message = "web_concurrency is a whole number from 1 to 100, or -1 for no bound of its own. To have no page, set web = false."
  }
}

variable "web_log_days" {
  type        = number
  description = "How many days the logs of the page are kept. Nothing personal is in them."
  default     = 30
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731], var.web_log_days)
    error_message = "web_log_days is one of the times that CloudWatch has: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545 or 731 days."
  }
}

# Who is told

variable "alarm_email" {
  type        = string
  description = "Where alarms are sent. With it there are alarms and a dashboard; AWS first asks that address whether it wants them. Empty: none."
  default     = ""
  nullable    = false

  validation {
    condition     = var.alarm_email == "" || can(regex("^[^@\\s,<>]+@[^@\\s,<>]+\\.[^@\\s,<>]+$", var.alarm_email))
    error_message = "alarm_email is one address, such as operators@example.com, or empty for no alarms. For several people use the address of a list."
  }
}

# What outlives the machine

variable "kms_key_arn" {
  type        = string
  description = "A KMS key of your own for the secret, the table and the disk. None: keys that AWS keeps."
  default     = null

  validation {
    condition     = var.kms_key_arn == null ? true : can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.kms_key_arn))
    error_message = "kms_key_arn is the ARN of a KMS key (arn:aws:kms:…:key/…), not an alias: policies are written for the key itself."
  }
}

variable "deletion_protection" {
  type        = bool
  description = "Whether the table refuses to be deleted, with all that was ever said in it."
  default     = true
  nullable    = false
}

variable "recovery_window_in_days" {
  type        = number
  description = "How long a deleted host key can be brought back: 7 to 30 days, or 0 for not at all. Its name can't be used again before."
  default     = 30
  nullable    = false

  validation {
    condition     = var.recovery_window_in_days == 0 || (var.recovery_window_in_days >= 7 && var.recovery_window_in_days <= 30)
    error_message = "recovery_window_in_days is a number from 7 to 30, or 0: then a deleted host key is gone at once, and every client will warn of a changed host."
  }
}

variable "tags" {
  type        = map(string)
  description = "Tags for everything, besides `Project`, `Chat` and `Name`."
  default     = {}
  nullable    = false

  validation {
    condition     = length(setintersection(keys(var.tags), ["Project", "Chat", "Name"])) == 0
    error_message = "tags can't have Project, Chat or Name: these are set here."
  }
}
