variable "version" {
  type        = string
  description = "Version of the package, such as 0.1.0-1. Terraform finds the image by it (image_version)."
}

variable "package" {
  type        = string
  description = "Path of the Debian package of ssh-chat, built by ci/package."
}

variable "other_packages" {
  type        = list(string)
  description = "Paths of other Debian packages to install, such as amazon-ssm-agent.deb for Session Manager."
  default     = []
}

variable "architecture" {
  type        = string
  description = "amd64 or arm64; must match the package."
  default     = "arm64"
}

variable "upgrade" {
  type        = bool
  description = "Upgrade Debian's packages first. false needs no network and is for tests."
  default     = true
}

variable "region" {
  type        = string
  description = "AWS region to build the image in."
  default     = "eu-central-1"
}

variable "copy_to" {
  type        = list(string)
  description = "Other regions to copy the image to."
  default     = []
}

variable "kms_key" {
  type        = string
  description = "KMS key that encrypts the image. If empty, the account's default key for EBS."
  default     = ""
}

variable "subnet_id" {
  type        = string
  description = "Public subnet for the build instance. If empty, one of the default network."
  default     = ""
}

variable "builder_cidrs" {
  type        = list(string)
  description = "Networks that may connect to the build instance, such as 203.0.113.7/32. If empty, Packer's own address."
  default     = []
}

variable "manifest" {
  type        = string
  description = "File to write the image ids to."
  default     = "packer-manifest.json"
}

variable "base_disk" {
  type        = string
  description = "For qemu: path or URL of the base disk, Debian's genericcloud image."
  default     = ""
}

variable "base_disk_checksum" {
  type        = string
  description = "For qemu: checksum of the base disk, such as sha512:…, or file:… with Debian's SHA512SUMS."
  default     = "none"
}

variable "ssh_key" {
  type        = string
  description = "For qemu: private key for logging in during the build. packer/qemu creates one; EC2 needs none."
  default     = ""
}

variable "seed" {
  type        = string
  description = "For qemu: disk with the user-data that authorizes that key. packer/qemu creates it."
  default     = ""
}

variable "accelerator" {
  type        = string
  description = "For qemu: kvm, or tcg without hardware virtualisation."
  default     = "kvm"
}

variable "firmware" {
  type        = string
  description = "For qemu: UEFI firmware."
  default     = "/usr/share/ovmf/OVMF.fd"
}

variable "output" {
  type        = string
  description = "For qemu: folder to create for the image."
  default     = "target/image/qemu"
}

# Set only by tests without AWS; see ci/packer.

variable "ec2_endpoint" {
  type        = string
  description = "EC2 endpoint to use instead of AWS's."
  default     = ""
}

variable "ssh_host" {
  type        = string
  description = "Existing machine to use instead of the instance that EC2 returns."
  default     = ""
}

variable "ssh_port" {
  type        = number
  description = "SSH port of that machine."
  default     = 22
}
