# Each of these ends in a sentence, before anything is made.

mock_provider "aws" {
  override_data {
    target = data.aws_partition.here
    values = { partition = "aws" }
  }
  override_data {
    target = data.aws_availability_zones.here
    values = { names = ["eu-central-1c", "eu-central-1a", "eu-central-1b"] }
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
  region         = "eu-central-1"
  image_version  = "0.1.0"
  operator_cidrs = ["203.0.113.7/32"]
  operator_keys  = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f alice"]
}

run "everybody" {
  command         = plan
  expect_failures = [var.operator_cidrs]

  variables {
    operator_cidrs = ["0.0.0.0/0"]
  }
}

run "everybody_with_ipv6" {
  command         = plan
  expect_failures = [var.operator_cidrs]

  variables {
    operator_cidrs = ["203.0.113.7/32", "::/0"]
  }
}

run "everybody_in_disguise" {
  command         = plan
  expect_failures = [var.operator_cidrs]

  variables {
    operator_cidrs = ["203.0.113.7/0"]
  }
}

run "everybody_in_two_halves" {
  command         = plan
  expect_failures = [var.operator_cidrs]

  variables {
    operator_cidrs = ["0.0.0.0/1", "128.0.0.0/1"]
  }
}

run "nobody" {
  command         = plan
  expect_failures = [var.operator_cidrs]

  variables {
    operator_cidrs = []
  }
}

run "an_address_without_a_mask" {
  command         = plan
  expect_failures = [var.operator_cidrs]

  variables {
    operator_cidrs = ["203.0.113.7"]
  }
}

run "a_range_off_its_boundary" {
  command         = plan
  expect_failures = [var.operator_cidrs]

  variables {
    operator_cidrs = ["203.0.113.7/24"]
  }
}

run "no_range_at_all" {
  command         = plan
  expect_failures = [var.operator_cidrs]

  variables {
    operator_cidrs = ["my office"]
  }
}

run "no_region" {
  command         = plan
  expect_failures = [var.region]

  variables {
    region = "frankfurt"
  }
}

run "a_zone_for_a_region" {
  command         = plan
  expect_failures = [var.region]

  variables {
    region = "eu-central-1a"
  }
}

run "a_name_in_capitals" {
  command         = plan
  expect_failures = [var.name]

  variables {
    name = "Chat"
  }
}

run "a_name_that_aws_keeps" {
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

run "two_images" {
  command         = plan
  expect_failures = [var.image_version]

  variables {
    ami_id = "ami-0a00000000000001"
  }
}

run "no_id_of_an_image" {
  command         = plan
  expect_failures = [var.ami_id]

  variables {
    image_version = null
    ami_id        = "debian-13"
  }
}

run "an_image_of_another_region" {
  command         = plan
  expect_failures = [var.ami_id]

  variables {
    image_version = null
    ami_id        = "us-east-1:ami-0a00000000000001"
  }
}

run "no_owner" {
  command         = plan
  expect_failures = [var.image_owner]

  variables {
    image_owner = "debian"
  }
}

run "no_instance_type" {
  command         = plan
  expect_failures = [var.instance_type]

  variables {
    instance_type = "small"
  }
}

run "half_a_gibibyte" {
  command         = plan
  expect_failures = [var.root_volume_size]

  variables {
    root_volume_size = 8.5
  }
}

run "no_subnet" {
  command         = plan
  expect_failures = [var.subnet_ids]

  variables {
    subnet_ids = ["public-a"]
  }
}

run "a_vpc_off_its_boundary" {
  command         = plan
  expect_failures = [var.vpc_cidr]

  variables {
    vpc_cidr = "10.71.0.1/24"
  }
}

run "a_vpc_without_room" {
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

run "an_alias_of_a_key" {
  command         = plan
  expect_failures = [var.kms_key_arn]

  variables {
    kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:alias/chat"
  }
}

run "a_window_too_short" {
  command         = plan
  expect_failures = [var.recovery_window_in_days]

  variables {
    recovery_window_in_days = 1
  }
}

run "a_tag_that_is_taken" {
  command         = plan
  expect_failures = [var.tags]

  variables {
    tags = { Project = "other" }
  }
}

run "a_page_of_nothing" {
  command         = plan
  expect_failures = [var.web_package]

  variables {
    web = true
  }
}

run "a_page_that_is_not_there" {
  command         = plan
  expect_failures = [var.web_package]

  variables {
    web         = true
    web_package = "tests/none.zip"
  }
}

run "a_page_that_is_no_zip" {
  command         = plan
  expect_failures = [var.web_package]

  variables {
    web         = true
    web_package = "main.tf"
  }
}

run "a_page_for_no_processor" {
  command         = plan
  expect_failures = [var.web_architecture]

  variables {
    web_architecture = "amd64"
  }
}

run "a_page_for_nobody" {
  command         = plan
  expect_failures = [var.web_concurrency]

  variables {
    web_concurrency = 0
  }
}

run "logs_for_ten_days" {
  command         = plan
  expect_failures = [var.web_log_days]

  variables {
    web_log_days = 10
  }
}

run "alarms_for_two" {
  command         = plan
  expect_failures = [var.alarm_email]

  variables {
    alarm_email = "alice@example.com, bob@example.com"
  }
}

run "everybody_said_aloud" {
  command = plan

  variables {
    public         = true
    operator_cidrs = ["0.0.0.0/0", "::/0"]
  }
}

run "no_such_image" {
  command         = plan
  expect_failures = [data.aws_ami_ids.chat]

  override_data {
    target = data.aws_ami_ids.chat
    values = { ids = [] }
  }
}

run "two_images_of_one_version" {
  command         = plan
  expect_failures = [data.aws_ami_ids.chat]

  override_data {
    target = data.aws_ami_ids.chat
    values = { ids = ["ami-0a00000000000001", "ami-0a00000000000002"] }
  }
}
