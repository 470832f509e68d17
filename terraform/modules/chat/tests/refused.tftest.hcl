# Invalid values, which must be rejected before anything is created.

mock_provider "aws" {
  override_data {
    target = data.aws_caller_identity.here
    values = { account_id = "123456789012" }
  }
  override_data {
    target = data.aws_region.here
    values = { id = "eu-central-1" }
  }
  override_data {
    target = data.aws_availability_zones.here
    values = { names = ["eu-central-1c", "eu-central-1a", "eu-central-1b"] }
  }
  override_data {
    target = data.aws_ec2_instance_type_offerings.zones
    values = { locations = ["eu-central-1a", "eu-central-1b", "eu-central-1c", "eu-central-1x"] }
  }
  override_data {
    target = data.aws_ec2_instance_type.chat
    values = { supported_architectures = ["arm64"] }
  }
  override_data {
    target = data.aws_ami_ids.chat
    values = { ids = ["ami-0a00000000000001"] }
  }
  override_resource {
    target = aws_eip.chat
    values = { public_ip = "198.51.100.7" }
  }
}

variables {
  image_version  = "0.1.0"
  operator_cidrs = ["203.0.113.7/32"]
  operator_keys  = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f alice"]
}

run "whole_internet" {
  command         = plan
  expect_failures = [var.operator_cidrs]

  variables {
    operator_cidrs = ["0.0.0.0/0"]
  }
}

run "whole_internet_ipv6" {
  command         = plan
  expect_failures = [var.operator_cidrs]

  variables {
    operator_cidrs = ["203.0.113.7/32", "::/0"]
  }
}

run "whole_internet_with_host_bits" {
  command         = plan
  expect_failures = [var.operator_cidrs]

  variables {
    operator_cidrs = ["203.0.113.7/0"]
  }
}

run "whole_internet_in_two_halves" {
  command         = plan
  expect_failures = [var.operator_cidrs]

  variables {
    operator_cidrs = ["0.0.0.0/1", "128.0.0.0/1"]
  }
}

run "no_networks" {
  command         = plan
  expect_failures = [var.operator_cidrs]

  variables {
    operator_cidrs = []
  }
}

run "address_without_mask" {
  command         = plan
  expect_failures = [var.operator_cidrs]

  variables {
    operator_cidrs = ["203.0.113.7"]
  }
}

run "network_with_host_bits" {
  command         = plan
  expect_failures = [var.operator_cidrs]

  variables {
    operator_cidrs = ["203.0.113.7/24"]
  }
}

run "not_a_network" {
  command         = plan
  expect_failures = [var.operator_cidrs]

  variables {
    operator_cidrs = ["my office"]
  }
}

run "name_in_capitals" {
  command         = plan
  expect_failures = [var.name]

  variables {
    name = "Chat"
  }
}

run "reserved_name" {
  command         = plan
  expect_failures = [var.name]

  variables {
    name = "ssm-chat"
  }
}

run "no_image" {
  command         = plan
  expect_failures = [var.image_version]

  variables {
    image_version = null
  }
}

run "version_and_id" {
  command         = plan
  expect_failures = [var.image_version]

  variables {
    ami_id = "ami-0a00000000000001"
  }
}

run "not_an_image_id" {
  command         = plan
  expect_failures = [var.ami_id]

  variables {
    image_version = null
    ami_id        = "debian-13"
  }
}

run "image_in_another_region" {
  command         = plan
  expect_failures = [var.ami_id]

  variables {
    image_version = null
    ami_id        = "us-east-1:ami-0a00000000000001"
  }
}

run "not_an_owner" {
  command         = plan
  expect_failures = [var.image_owner]

  variables {
    image_owner = "debian"
  }
}

run "not_an_instance_type" {
  command         = plan
  expect_failures = [var.instance_type]

  variables {
    instance_type = "small"
  }
}

run "fractional_disk_size" {
  command         = plan
  expect_failures = [var.root_volume_size]

  variables {
    root_volume_size = 8.5
  }
}

run "ipv6_without_effect" {
  command         = plan
  expect_failures = [var.operator_cidrs]

  variables {
    operator_cidrs = ["203.0.113.7/32", "2001:db8:7::/48"]
  }
}

run "dns_server_as_name" {
  command         = plan
  expect_failures = [var.dns_servers]

  variables {
    dns_servers = ["ns.example.com"]
  }
}

run "not_a_subnet" {
  command         = plan
  expect_failures = [var.subnet_ids]

  variables {
    subnet_ids = ["public-a"]
  }
}

run "vpc_with_host_bits" {
  command         = plan
  expect_failures = [var.vpc_cidr]

  variables {
    vpc_cidr = "10.71.0.1/24"
  }
}

run "vpc_too_small" {
  command         = plan
  expect_failures = [var.vpc_cidr]

  variables {
    vpc_cidr = "10.71.0.0/28"
  }
}

run "one_zone" {
  command         = plan
  expect_failures = [var.availability_zones]

  variables {
    availability_zones = ["eu-central-1a"]
  }
}

run "kms_alias" {
  command         = plan
  expect_failures = [var.kms_key_arn]

  variables {
    kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:alias/chat"
  }
}

run "recovery_window_too_short" {
  command         = plan
  expect_failures = [var.recovery_window_in_days]

  variables {
    recovery_window_in_days = 1
  }
}

run "reserved_tag" {
  command         = plan
  expect_failures = [var.tags]

  variables {
    tags = { Project = "other" }
  }
}

run "page_without_package" {
  command         = plan
  expect_failures = [var.web_package]

  variables {
    web = true
  }
}

run "page_package_not_found" {
  command         = plan
  expect_failures = [var.web_package]

  variables {
    web         = true
    web_package = "tests/none.zip"
  }
}

run "page_package_not_a_zip" {
  command         = plan
  expect_failures = [var.web_package]

  variables {
    web         = true
    web_package = "main.tf"
  }
}

run "page_for_unknown_processor" {
  command         = plan
  expect_failures = [var.web_architecture]

  variables {
    web_architecture = "amd64"
  }
}

run "page_without_concurrency" {
  command         = plan
  expect_failures = [var.web_concurrency]

  variables {
    web_concurrency = 0
  }
}

run "unsupported_log_retention" {
  command         = plan
  expect_failures = [var.web_log_days]

  variables {
    web_log_days = 10
  }
}

run "two_alarm_addresses" {
  command         = plan
  expect_failures = [var.alarm_email]

  variables {
    alarm_email = "alice@example.com, bob@example.com"
  }
}

run "explicitly_public" {
  command = plan

  variables {
    public         = true
    operator_cidrs = ["0.0.0.0/0"]
  }
}

run "image_not_found" {
  command         = plan
  expect_failures = [data.aws_ami_ids.chat]

  override_data {
    target = data.aws_ami_ids.chat
    values = { ids = [] }
  }
}

run "ambiguous_image" {
  command         = plan
  expect_failures = [data.aws_ami_ids.chat]

  override_data {
    target = data.aws_ami_ids.chat
    values = { ids = ["ami-0a00000000000001", "ami-0a00000000000002"] }
  }
}
