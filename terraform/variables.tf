# Generated from modules/chat by UPDATE_DOCS=1 ci/terraform. Don't edit.

variable "name" {
  type        = string
  description = "Name, or name prefix, of all resources. It can't be changed later: another name is another chat, in a workspace of its own."
  default     = null
}

variable "subnet_ids" {
  type        = list(string)
  description = "Public subnets of an existing VPC, with a route to an internet gateway. The machine uses the first. If empty, a VPC is created."
  default     = null
}

variable "vpc_cidr" {
  type        = string
  description = "IPv4 range of the created VPC."
  default     = null
}

variable "dns_servers" {
  type        = list(string)
  description = "With `subnet_ids`: addresses of the VPC's own DNS servers, if it doesn't use Amazon's. The machine may then reach them on port 53."
  default     = null
}

variable "availability_zones" {
  type        = list(string)
  description = "Availability zones for the created VPC; the machine uses the first. If empty, all zones that offer `instance_type`. To leave a zone that fails, list the others."
  default     = null
}

variable "operator_cidrs" {
  type        = list(string)
  description = "Networks that may connect to the chat, such as `[\"203.0.113.7/32\"]`. https://checkip.amazonaws.com shows your address."
  nullable    = false
}

variable "public" {
  type        = bool
  description = "Allow `0.0.0.0/0` or `::/0` in `operator_cidrs`."
  default     = null
}

variable "access" {
  type        = string
  description = "Who can log in: `allowlist` admits registered keys only, `open` anyone who can reach the port."
  default     = null
}

variable "operator_keys" {
  type        = list(string)
  description = "Keys of the operators: lines from `.pub` files, or `SHA256:…` fingerprints. `allowlist` requires at least one."
  default     = null
}

variable "approval" {
  type        = bool
  description = "With `allowlist`: let an unknown key request access and wait for an operator's approval."
  default     = null
}

variable "image_version" {
  type        = string
  description = "Version of the image, from its tag `Version`. Set this or `ami_id`."
  default     = null
}

variable "ami_id" {
  type        = string
  description = "Id of the image, or `artifact_id` from Packer's manifest (`eu-central-1:ami-…`)."
  default     = null
}

variable "image_owner" {
  type        = string
  description = "Account that owns the image: `self`, or the number of the account that shares it."
  default     = null
}

variable "instance_type" {
  type        = string
  description = "EC2 instance type. Its processor selects the image's architecture, arm64 or x86_64."
  default     = null
}

variable "root_volume_size" {
  type        = number
  description = "Disk size in GiB, at least the image's."
  default     = null
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
  default     = null
}

variable "web" {
  type        = bool
  description = "Create a page where people redeem invites in a browser: an HTTP API and a Lambda function."
  default     = null
}

variable "web_package" {
  type        = string
  description = "With `web`: path of the zip built by `ci/lambda ARCH`."
  default     = null
}

variable "web_architecture" {
  type        = string
  description = "Processor that `web_package` was built for, `arm64` or `x86_64`."
  default     = null
}

variable "web_concurrency" {
  type        = number
  description = "Maximum number of concurrent requests to the page; others wait or are refused. `-1` reserves none, which also works in a new account that has too little to reserve."
  default     = null
}

variable "web_log_days" {
  type        = number
  description = "Retention of the page's logs in days. They contain no personal data."
  default     = null
}

variable "alarm_email" {
  type        = string
  description = "Address for alarms, which also creates a dashboard. AWS first asks the address to confirm. If empty, there are no alarms and no dashboard."
  default     = null
}

variable "kms_key_arn" {
  type        = string
  description = "ARN of your own KMS key for the secret, the table and the disk. If unset, AWS-managed keys."
  default     = null
}

variable "deletion_protection" {
  type        = bool
  description = "Protect the table, with all messages, from deletion."
  default     = null
}

variable "recovery_window_in_days" {
  type        = number
  description = "How long a deleted host key can be restored: 7 to 30 days, or 0 for not at all. Until then, its name can't be reused."
  default     = null
}

variable "tags" {
  type        = map(string)
  description = "Tags for all resources, in addition to `Project`, `Chat` and `Name`."
  default     = null
}
