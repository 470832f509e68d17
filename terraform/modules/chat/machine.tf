module "user_data" {
  source = "../../../cloud-init"

  region             = local.region
  host_key_secret    = aws_secretsmanager_secret.host_key.name
  host_key_parameter = aws_ssm_parameter.host_key.name
  table              = aws_dynamodb_table.chat.name
  history            = var.history

  host_name     = local.host_name
  access        = var.access
  operator_keys = var.operator_keys
  approval      = var.approval
  web_url       = local.web_url
  settings      = merge(var.settings, local.watched ? { "aws.metrics" = var.name } : {})
}

resource "aws_instance" "chat" {
  # checkov:skip=CKV_AWS_126: the server publishes its own metrics every minute; five-minute metrics from EC2 are enough
  ami                         = one(data.aws_ami_ids.chat.ids)
  instance_type               = var.instance_type
  subnet_id                   = local.subnet_ids[0]
  vpc_security_group_ids      = [aws_security_group.chat.id]
  iam_instance_profile        = aws_iam_instance_profile.chat.name
  user_data                   = module.user_data.user_data
  user_data_replace_on_change = true
  ebs_optimized               = true
  tags                        = merge(local.tags, { Name = var.name })
  volume_tags                 = merge(local.tags, { Name = var.name })

  # A hop limit of one keeps credentials from containers and network namespaces on the machine.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    encrypted   = true
    kms_key_id  = var.kms_key_arn
    volume_type = "gp3"
    volume_size = var.root_volume_size
  }

  # Burstable types are unlimited by default, which costs more than the machine itself under sustained
  # load: about 47 dollars a month for a t4g.small.
  dynamic "credit_specification" {
    for_each = data.aws_ec2_instance_type.chat.burstable_performance_supported ? ["standard"] : []

    content {
      cpu_credits = credit_specification.value
    }
  }

  lifecycle {
    create_before_destroy = true
  }

  # The server reads and writes AWS resources as soon as it starts.
  depends_on = [
    aws_iam_role_policy.chat,
    aws_route_table_association.public,
    aws_vpc_security_group_egress_rule.https,
  ]
}

# The address that people know. It's independent of the machine.
resource "aws_eip" "chat" {
  domain = "vpc"
  tags   = merge(local.tags, { Name = var.name })

  depends_on = [aws_internet_gateway.chat, terraform_data.identity]

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_eip_association" "chat" {
  allocation_id       = aws_eip.chat.id
  instance_id         = aws_instance.chat.id
  allow_reassociation = true

  # Moves the address in one step, instead of releasing it from the old machine first.
  lifecycle {
    create_before_destroy = true
  }
}

# If the machine's hardware fails, EC2 moves it, with the same disk and address.
resource "aws_cloudwatch_metric_alarm" "recover" {
  alarm_name          = "${var.name}-recover"
  alarm_description   = "The hardware of ${var.name} has failed; EC2 is moving the machine automatically"
  namespace           = "AWS/EC2"
  metric_name         = "StatusCheckFailed_System"
  dimensions          = { InstanceId = aws_instance.chat.id }
  statistic           = "Maximum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  period              = 60
  evaluation_periods  = 2
  alarm_actions       = concat(["arn:aws:automate:${local.region}:ec2:recover"], local.tell)
  tags                = local.tags
}

# If the operating system hangs, EC2 restarts the machine.
resource "aws_cloudwatch_metric_alarm" "reboot" {
  alarm_name          = "${var.name}-reboot"
  alarm_description   = "The operating system of ${var.name} doesn't respond; EC2 is rebooting the machine. What to do: docs/operate.md"
  namespace           = "AWS/EC2"
  metric_name         = "StatusCheckFailed_Instance"
  dimensions          = { InstanceId = aws_instance.chat.id }
  statistic           = "Maximum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  period              = 60
  evaluation_periods  = 3
  alarm_actions       = concat(["arn:aws:automate:${local.region}:ec2:reboot"], local.tell)
  ok_actions          = local.tell
  tags                = local.tags
}
