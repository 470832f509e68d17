variable "version" {
  type        = string
  description = "The version of the package, such as 0.1.0-1. Terraform finds the image by it: image_version."
}

variable "package" {
  type        = string
  description = "The Debian package of ssh-chat, as ci/package makes it."
}

variable "other_packages" {
  type        = list(string)
  description = "Other Debian packages to install, as files: for Session Manager, Amazon's amazon-ssm-agent.deb."
  default     = []
}

variable "architecture" {
  type        = string
  description = "amd64 or arm64, which is also the package's."
  default     = "arm64"
}

variable "upgrade" {
  type        = bool
  description = "Whether to bring Debian up to date first. False needs no network, and suits trials."
  default     = true
}

variable "region" {
  type        = string
  description = "The region of AWS in which the image is made."
  default     = "eu-central-1"
}

variable "copy_to" {
  type        = list(string)
  description = "Other regions that get a copy of the image."
  default     = []
}

variable "kms_key" {
  type        = string
  description = "The KMS key that encrypts the image; empty is the account's own for EBS."
  default     = ""
}

variable "subnet_id" {
  type        = string
  description = "A public subnet for the machine on which the image is made; empty is one of the default network."
  default     = ""
}

variable "builder_cidrs" {
  type        = list(string)
  description = "From where Packer connects to that machine: your own address, such as 203.0.113.7/32."
  default     = []
}

variable "manifest" {
  type        = string
  description = "The file in which the ids of the images are written down."
  default     = "packer-manifest.json"
}

variable "base_disk" {
  type        = string
  description = "For qemu: the disk to begin with, Debian's own genericcloud image, as a file or an address."
  default     = ""
}

variable "base_disk_checksum" {
  type        = string
  description = "For qemu: its checksum, such as sha512:…, or file:… with Debian's SHA512SUMS."
  default     = "none"
}

variable "ssh_key" {
  type        = string
  description = "For qemu: the private key to log in with while the image is made. packer/qemu makes one, EC2 needs none."
  default     = ""
}

variable "seed" {
  type        = string
  description = "For qemu: the disk with the user-data that lets that key in. packer/qemu makes it."
  default     = ""
}

variable "accelerator" {
  type        = string
  description = "For qemu: kvm, or tcg where there is no virtualisation."
  default     = "kvm"
}

variable "firmware" {
  type        = string
  description = "For qemu: UEFI for the machine."
  default     = "/usr/share/ovmf/OVMF.fd"
}

variable "output" {
  type        = string
  description = "For qemu: the folder to make, with the image in it."
  default     = "target/image/qemu"
}

# What a trial without AWS sets, see ci/packer.

variable "ec2_endpoint" {
  type        = string
  description = "Another EC2."
  default     = ""
}

variable "ssh_host" {
  type        = string
  description = "A machine that is there already, instead of the one that EC2 names."
  default     = ""
}

variable "ssh_port" {
  type        = number
  description = "Where that listens."
  default     = 22
}
