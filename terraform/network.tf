locals {
  make_vpc   = length(var.subnet_ids) == 0
  zones      = local.make_vpc ? (length(var.availability_zones) > 0 ? var.availability_zones : slice(sort(data.aws_availability_zones.here[0].names), 0, 2)) : []
  vpc_id     = local.make_vpc ? aws_vpc.chat[0].id : data.aws_subnet.existing[0].vpc_id
  subnet_ids = local.make_vpc ? aws_subnet.public[*].id : var.subnet_ids
}

data "aws_availability_zones" "here" {
  # checkov:skip=CKV_AWS_394: the first two by name don't change: new zones get later letters
  count = local.make_vpc ? 1 : 0

  state = "available"

  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

data "aws_subnet" "existing" {
  # count, not for_each: a subnet created in the same apply has no id yet.
  count = length(var.subnet_ids)

  id = var.subnet_ids[count.index]
}

resource "aws_vpc" "chat" {
  # checkov:skip=CKV2_AWS_11: flow logs cost per GB and would duplicate the server's own log of each connection
  count = local.make_vpc ? 1 : 0

  cidr_block           = var.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = { Name = var.name }
}

# The default security group allows no traffic, for anything started in this VPC without its own group.
resource "aws_default_security_group" "closed" {
  count = local.make_vpc ? 1 : 0

  vpc_id = aws_vpc.chat[0].id
  tags   = { Name = "${var.name}-closed" }
}

resource "aws_internet_gateway" "chat" {
  count = local.make_vpc ? 1 : 0

  vpc_id = aws_vpc.chat[0].id
  tags   = { Name = var.name }
}

resource "aws_subnet" "public" {
  count = length(local.zones)

  vpc_id            = aws_vpc.chat[0].id
  availability_zone = local.zones[count.index]
  cidr_block        = cidrsubnet(var.vpc_cidr, 2, count.index)
  tags              = { Name = "${var.name}-${local.zones[count.index]}" }
}

resource "aws_route_table" "public" {
  count = local.make_vpc ? 1 : 0

  vpc_id = aws_vpc.chat[0].id
  tags   = { Name = "${var.name}-public" }

  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.chat[0].id
  }
}

resource "aws_route_table_association" "public" {
  count = length(local.zones)

  subnet_id      = aws_subnet.public[count.index].id
  route_table_id = aws_route_table.public[0].id
}

resource "aws_security_group" "chat" {
  name_prefix = "${var.name}-"
  description = "SSH to the chat, and its own way to AWS"
  vpc_id      = local.vpc_id
  tags        = { Name = var.name }

  lifecycle {
    create_before_destroy = true

    precondition {
      condition     = length(distinct(data.aws_subnet.existing[*].vpc_id)) <= 1
      error_message = "The subnets in subnet_ids are in different VPCs. List subnets of one VPC."
    }
  }
}

resource "aws_vpc_security_group_ingress_rule" "chat" {
  for_each = toset(var.operator_cidrs)

  security_group_id = aws_security_group.chat.id
  description       = "People who chat"
  cidr_ipv4         = strcontains(each.value, ":") ? null : each.value
  cidr_ipv6         = strcontains(each.value, ":") ? each.value : null
  ip_protocol       = "tcp"
  from_port         = local.port
  to_port           = local.port
}

# DNS and NTP are served by the VPC itself and bypass security groups.
resource "aws_vpc_security_group_egress_rule" "https" {
  security_group_id = aws_security_group.chat.id
  description       = "The APIs of AWS"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}
