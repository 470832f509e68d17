locals {
  # Account that owns Debian's official images: https://wiki.debian.org/Cloud/AmazonEC2Image
  debian = "136693071363"
  ec2 = {
    amd64 = { name = "x86_64", instance_type = "t3.small" }
    arm64 = { name = "arm64", instance_type = "t4g.small" }
  }
  tags = {
    Name         = "ssh-chat ${var.version} ${var.architecture}"
    Project      = "ssh-chat"
    Version      = var.version
    Architecture = var.architecture
    BaseImage    = "{{ .SourceAMI }}"
    BaseName     = "{{ .SourceAMIName }}"
  }
  stamp = formatdate("YYYYMMDDhhmmss", timestamp())
}

source "amazon-ebs" "debian" {
  region        = var.region
  instance_type = local.ec2[var.architecture].instance_type
  subnet_id     = var.subnet_id

  source_ami_filter {
    owners      = [local.debian]
    most_recent = true
    filters = {
      name                = "debian-13-${var.architecture}-*"
      architecture        = local.ec2[var.architecture].name
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
  }

  # Packer logs in as root, so there is no sudo user to remove from the image afterwards.
  ssh_username                = "root"
  user_data_file              = "${path.root}/seed/user-data"
  associate_public_ip_address = true
  # If empty, the address that Packer connects from; see below.
  temporary_security_group_source_cidrs = var.builder_cidrs

  ami_name        = "ssh-chat-${var.version}-${var.architecture}-${local.stamp}"
  ami_description = "ssh-chat ${var.version} on Debian 13, ${var.architecture}"
  ami_regions     = var.copy_to
  encrypt_boot    = true
  kms_key_id      = var.kms_key
  ena_support     = true
  tags            = local.tags
  snapshot_tags   = local.tags
  run_tags        = { Name = "ssh-chat image ${var.version}", Project = "ssh-chat" }
  run_volume_tags = { Project = "ssh-chat" }

  launch_block_device_mappings {
    device_name           = "/dev/xvda"
    volume_type           = "gp3"
    volume_size           = 8
    iops                  = 3000
    throughput            = 125
    encrypted             = true
    delete_on_termination = true
  }

  # Not for Packer 1.6: from here
  # Only version 2 of the metadata service, on the build instance and on machines that use the image.
  imds_support = "v2.0"
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
  temporary_security_group_source_public_ip = length(var.builder_cidrs) == 0
  temporary_key_pair_type                   = "ed25519"
  # to here

  custom_endpoint_ec2     = var.ec2_endpoint
  skip_region_validation  = var.ec2_endpoint != ""
  skip_metadata_api_check = var.ec2_endpoint != ""
  ssh_host                = var.ssh_host
  ssh_port                = var.ssh_port
  ssh_private_key_file    = var.ssh_key
}
