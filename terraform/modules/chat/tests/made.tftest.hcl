# Tests the planned resources. ci/terraform tests that AWS accepts them.

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

run "created_vpc" {
  variables {
    operator_cidrs = ["203.0.113.7/32", "198.51.100.0/24"]
    settings       = { motd = "Say \"friend\"\nand enter." }
  }

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.chat) == 2 && alltrue([for rule in aws_vpc_security_group_ingress_rule.chat : rule.from_port == 22 && rule.to_port == 22 && rule.ip_protocol == "tcp"])
    error_message = "There must be one rule per network, for the chat's port."
  }

  assert {
    condition     = join(" ", [for subnet in aws_subnet.public : "${subnet.availability_zone} ${subnet.cidr_block}"]) == "eu-central-1a 10.71.0.224/27 eu-central-1b 10.71.0.192/27 eu-central-1c 10.71.0.160/27"
    error_message = "There must be a subnet in each zone, with the range of its letter."
  }

  assert {
    condition     = aws_instance.chat.ami == "ami-0a00000000000001" && aws_instance.chat.metadata_options[0].http_tokens == "required" && aws_instance.chat.metadata_options[0].http_put_response_hop_limit == 1 && aws_instance.chat.root_block_device[0].encrypted && aws_instance.chat.user_data_replace_on_change
    error_message = "The machine must use the found image, IMDSv2 with a hop limit of one, and an encrypted disk."
  }

  assert {
    condition     = aws_eip_association.chat.instance_id == aws_instance.chat.id && aws_eip_association.chat.allocation_id == aws_eip.chat.id
    error_message = "The address must be a separate resource, associated with this machine."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.recover.alarm_actions == toset(["arn:aws:automate:eu-central-1:ec2:recover"]) && aws_cloudwatch_metric_alarm.recover.dimensions.InstanceId == aws_instance.chat.id
    error_message = "EC2 must recover this machine."
  }

  assert {
    condition     = aws_dynamodb_table.chat.hash_key == "pk" && aws_dynamodb_table.chat.range_key == "sk" && aws_dynamodb_table.chat.billing_mode == "PAY_PER_REQUEST" && aws_dynamodb_table.chat.deletion_protection_enabled && aws_dynamodb_table.chat.point_in_time_recovery[0].enabled && aws_dynamodb_table.chat.ttl[0].attribute_name == "expires_at" && length(aws_dynamodb_table.chat.global_secondary_index) == 0
    error_message = "The table must have the server's schema and deletion protection."
  }

  assert {
    condition     = aws_secretsmanager_secret.host_key.recovery_window_in_days == 30
    error_message = "A deleted host key must be restorable."
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
    error_message = "The machine's configuration must name all resources."
  }

  assert {
    condition     = output.address == "198.51.100.7" && output.ssh == "ssh 198.51.100.7" && output.host_key == "aws ssm get-parameter --region eu-central-1 --name /ssh-chat/host-key --query Parameter.Value --output text"
    error_message = "The outputs must have the address and the commands."
  }
}

run "machine_permissions" {
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
    error_message = "The machine's permissions differ from this list."
  }

  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.chat.policy).Statement : statement.Condition.StringEquals["cloudwatch:namespace"] if statement.Sid == "Metrics"] == ["ssh-chat"]
    error_message = "Metrics must be limited to one namespace."
  }

  assert {
    condition     = !strcontains(aws_iam_role_policy.chat.policy, "kms:")
    error_message = "Without a custom key, the policy must not mention KMS."
  }
}

run "custom_kms_key" {
  variables {
    kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  }

  assert {
    condition     = aws_dynamodb_table.chat.server_side_encryption[0].kms_key_arn == var.kms_key_arn && aws_secretsmanager_secret.host_key.kms_key_id == var.kms_key_arn && aws_instance.chat.root_block_device[0].kms_key_id == var.kms_key_arn
    error_message = "The key must encrypt the table, the secret and the disk."
  }

  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.chat.policy).Statement : statement.Resource if statement.Sid == "Key"] == [var.kms_key_arn]
    error_message = "The machine may use only that key."
  }
}

run "existing_vpc" {
  variables {
    subnet_ids = ["subnet-0a1", "subnet-0a2"]
    host_name  = "chat.example.com"

    operator_cidrs = ["203.0.113.7/32", "2001:db8:7::/48"]
    dns_servers    = ["10.0.0.2", "10.0.0.3"]
  }

  override_data {
    target = data.aws_subnet.existing
    values = { vpc_id = "vpc-0a1" }
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.chat["2001:db8:7::/48"].cidr_ipv6 == "2001:db8:7::/48" && aws_vpc_security_group_ingress_rule.chat["203.0.113.7/32"].cidr_ipv4 == "203.0.113.7/32"
    error_message = "IPv4 and IPv6 networks must be in their own fields."
  }

  assert {
    condition     = toset([for rule in aws_vpc_security_group_egress_rule.dns : "${rule.ip_protocol} ${rule.cidr_ipv4} ${rule.from_port}"]) == toset(["udp 10.0.0.2/32 53", "tcp 10.0.0.2/32 53", "udp 10.0.0.3/32 53", "tcp 10.0.0.3/32 53"])
    error_message = "The machine must reach the VPC's own DNS servers."
  }

  assert {
    condition     = length(aws_vpc.chat) + length(aws_subnet.public) + length(aws_internet_gateway.chat) + length(aws_route_table.public) == 0
    error_message = "No network resources may be created in an existing VPC."
  }

  assert {
    condition     = aws_instance.chat.subnet_id == "subnet-0a1" && aws_security_group.chat.vpc_id == "vpc-0a1"
    error_message = "The machine must be in the first subnet."
  }

  assert {
    condition     = output.ssh == "ssh chat.example.com" && strcontains(output.known_hosts, "print \"chat.example.com\", $2, $3")
    error_message = "The outputs must use the host name."
  }
}

run "image_from_packer_manifest" {
  command = plan

  variables {
    image_version = null
    ami_id        = "us-east-1:ami-0a00000000000009,eu-central-1:ami-0a00000000000001"
  }

  assert {
    condition     = [for filter in data.aws_ami_ids.chat.filter : filter.values if filter.name == "image-id"] == [toset(["ami-0a00000000000001"])]
    error_message = "The image of this region must be selected."
  }
}

run "no_page" {
  assert {
    condition     = length(aws_lambda_function.web) + length(aws_apigatewayv2_api.web) + length(aws_iam_role.web) + length(aws_cloudwatch_log_group.web) + length(aws_cloudwatch_log_group.web_requests) == 0 && output.web_url == null
    error_message = "Without web = true, none of the page's resources may exist."
  }
}
