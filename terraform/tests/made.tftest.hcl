# What is made, as it is planned; that AWS takes it is for ci/terraform to show.

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

run "a_vpc_of_its_own" {
  variables {
    operator_cidrs = ["203.0.113.7/32", "198.51.100.0/24", "2001:db8:7::/48"]
    settings       = { motd = "Say \"friend\"\nand enter." }
  }

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.chat) == 3 && alltrue([for rule in aws_vpc_security_group_ingress_rule.chat : rule.from_port == 22 && rule.to_port == 22 && rule.ip_protocol == "tcp"])
    error_message = "One rule for each range of addresses, on the chat's port."
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.chat["2001:db8:7::/48"].cidr_ipv6 == "2001:db8:7::/48" && aws_vpc_security_group_ingress_rule.chat["203.0.113.7/32"].cidr_ipv4 == "203.0.113.7/32"
    error_message = "Each range in the family it belongs to."
  }

  assert {
    condition     = join(" ", [for subnet in aws_subnet.public : "${subnet.availability_zone} ${subnet.cidr_block}"]) == "eu-central-1a 10.71.0.0/26 eu-central-1b 10.71.0.64/26"
    error_message = "Two subnets in the first two zones by name."
  }

  assert {
    condition     = aws_instance.chat.ami == "ami-0a00000000000001" && aws_instance.chat.metadata_options[0].http_tokens == "required" && aws_instance.chat.metadata_options[0].http_put_response_hop_limit == 1 && aws_instance.chat.root_block_device[0].encrypted && aws_instance.chat.user_data_replace_on_change
    error_message = "The image that was found, IMDSv2 over one hop, an encrypted disk."
  }

  assert {
    condition     = aws_eip_association.chat.instance_id == aws_instance.chat.id && aws_eip_association.chat.allocation_id == aws_eip.chat.id
    error_message = "The address belongs to no machine, and is led to this one."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.recover.alarm_actions == toset(["arn:aws:automate:eu-central-1:ec2:recover"]) && aws_cloudwatch_metric_alarm.recover.dimensions.InstanceId == aws_instance.chat.id
    error_message = "EC2 recovers this machine."
  }

  assert {
    condition     = aws_dynamodb_table.chat.hash_key == "pk" && aws_dynamodb_table.chat.range_key == "sk" && aws_dynamodb_table.chat.billing_mode == "PAY_PER_REQUEST" && aws_dynamodb_table.chat.deletion_protection_enabled && aws_dynamodb_table.chat.point_in_time_recovery[0].enabled && aws_dynamodb_table.chat.ttl[0].attribute_name == "expires_at" && length(aws_dynamodb_table.chat.global_secondary_index) == 0
    error_message = "The table as the server expects it, protected."
  }

  assert {
    condition     = aws_secretsmanager_secret.host_key.recovery_window_in_days == 30
    error_message = "A deleted host key can be brought back."
  }

  assert {
    condition = alltrue([for line in [
      "host_name = \"198.51.100.7\"",
      "access = \"allowlist\"",
      "motd = \"Say \\\"friend\\\"\\nand enter.\"",
      "host_key_secret = \"ssh-chat/host-key\"",
      "host_key_parameter = \"/ssh-chat/host-key\"",
      "region = \"eu-central-1\"",
      "table = \"ssh-chat\"",
    ] : contains(split("\n", jsondecode(trimprefix(aws_instance.chat.user_data, "#cloud-config\n")).write_files[0].content), line)])
    error_message = "The machine is told where everything is."
  }

  assert {
    condition     = output.address == "198.51.100.7" && output.ssh == "ssh 198.51.100.7" && output.host_key == "aws ssm get-parameter --region eu-central-1 --name /ssh-chat/host-key --query Parameter.Value --output text"
    error_message = "People are told what to type."
  }
}

run "the_role_names_single_things" {
  assert {
    condition = {
      for statement in jsondecode(aws_iam_role_policy.chat.policy).Statement : statement.Sid => [statement.Resource, join(" ", flatten([statement.Action]))]
      } == {
      HostKey        = [aws_secretsmanager_secret.host_key.arn, "secretsmanager:GetSecretValue secretsmanager:PutSecretValue"]
      PublicHalf     = [aws_ssm_parameter.host_key.arn, "ssm:GetParameter ssm:PutParameter"]
      Table          = [aws_dynamodb_table.chat.arn, "dynamodb:ConditionCheckItem dynamodb:DeleteItem dynamodb:DescribeTable dynamodb:GetItem dynamodb:PutItem dynamodb:Query dynamodb:UpdateItem"]
      SessionManager = ["*", "ssm:UpdateInstanceInformation ssmmessages:CreateControlChannel ssmmessages:CreateDataChannel ssmmessages:OpenControlChannel ssmmessages:OpenDataChannel"]
      Metrics        = ["*", "cloudwatch:PutMetricData"]
    }
    error_message = "The machine may do something else than it needs."
  }

  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.chat.policy).Statement : statement.Condition.StringEquals["cloudwatch:namespace"] if statement.Sid == "Metrics"] == ["ssh-chat"]
    error_message = "Metrics go to one namespace."
  }

  assert {
    condition     = !strcontains(aws_iam_role_policy.chat.policy, "kms:")
    error_message = "Without a key of one's own nothing is said of KMS."
  }
}

run "a_key_of_ones_own" {
  variables {
    kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  }

  assert {
    condition     = aws_dynamodb_table.chat.server_side_encryption[0].kms_key_arn == var.kms_key_arn && aws_secretsmanager_secret.host_key.kms_key_id == var.kms_key_arn && aws_instance.chat.root_block_device[0].kms_key_id == var.kms_key_arn
    error_message = "The key is for the table, the secret and the disk."
  }

  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.chat.policy).Statement : statement.Resource if statement.Sid == "Key"] == [var.kms_key_arn]
    error_message = "The machine may use that key and no other."
  }
}

run "an_existing_vpc" {
  variables {
    subnet_ids = ["subnet-0a1", "subnet-0a2"]
    host_name  = "chat.example.com"
  }

  override_data {
    target = data.aws_subnet.existing
    values = { vpc_id = "vpc-0a1" }
  }

  assert {
    condition     = length(aws_vpc.chat) + length(aws_subnet.public) + length(aws_internet_gateway.chat) + length(aws_route_table.public) == 0
    error_message = "Nothing is made in a VPC that is somebody else's."
  }

  assert {
    condition     = aws_instance.chat.subnet_id == "subnet-0a1" && aws_security_group.chat.vpc_id == "vpc-0a1"
    error_message = "The machine is in the first of the subnets."
  }

  assert {
    condition     = output.ssh == "ssh chat.example.com" && strcontains(output.known_hosts, "print \"chat.example.com\", $2, $3")
    error_message = "People type the name."
  }
}

run "an_image_from_packers_manifest" {
  command = plan

  variables {
    image_version = null
    ami_id        = "us-east-1:ami-0a00000000000009,eu-central-1:ami-0a00000000000001"
  }

  assert {
    condition     = [for filter in data.aws_ami_ids.chat.filter : filter.values if filter.name == "image-id"] == [toset(["ami-0a00000000000001"])]
    error_message = "The image of this region is looked for."
  }
}

run "no_page" {
  assert {
    condition     = length(aws_lambda_function.web) + length(aws_apigatewayv2_api.web) + length(aws_iam_role.web) + length(aws_cloudwatch_log_group.web) + length(aws_cloudwatch_log_group.web_requests) == 0 && output.web_url == null
    error_message = "Nothing of the page is there if nobody wants one."
  }
}
