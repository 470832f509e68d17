locals {
  make_vpc = length(var.subnet_ids) == 0

  # A subnet costs nothing, so there is one in every zone that offers the instance type. Its range is
  # derived from the zone's letter: using another zone doesn't change the ranges of the others. Ranges
  # are assigned from the top because earlier versions of this module used the lower half.
  offered = local.make_vpc ? sort(setintersection(
    data.aws_availability_zones.here[0].names,
    data.aws_ec2_instance_type_offerings.zones[0].locations,
  )) : []
  zones = length(var.availability_zones) > 0 ? var.availability_zones : slice(local.offered, 0, min(6, length(local.offered)))
  ranges = {
    for zone in local.zones : zone => cidrsubnet(var.vpc_cidr, 3, 7 - index(["a", "b", "c", "d", "e", "f"], substr(zone, -1, 1)))
  }

  vpc_id     = local.make_vpc ? aws_vpc.chat[0].id : data.aws_subnet.existing[0].vpc_id
  subnet_ids = local.make_vpc ? [for zone in local.zones : aws_subnet.public[zone].id] : var.subnet_ids
}

data "aws_ec2_instance_type_offerings" "zones" {
  count = local.make_vpc ? 1 : 0

  location_type = "availability-zone"

  filter {
    name   = "instance-type"
    values = [var.instance_type]
  }
}

data "aws_availability_zones" "here" {
  # checkov:skip=CKV_AWS_394: a new zone only adds a subnet
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
  tags                 = merge(local.tags, { Name = var.name })

  lifecycle {
    precondition {
      condition     = length(setsubtract(local.zones, local.offered)) == 0
      error_message = "availability_zones has zones that don't exist in this region or don't offer ${var.instance_type}: ${join(", ", setsubtract(local.zones, local.offered))}. These do: ${join(", ", local.offered)}."
    }

    precondition {
      condition     = length(local.zones) >= 2
      error_message = "Fewer than two zones in ${local.region} offer ${var.instance_type}: ${join(", ", local.offered)}. Choose another instance_type."
    }
  }
}

# The default security group allows no traffic, for anything started in this VPC without its own group.
resource "aws_default_security_group" "closed" {
  count = local.make_vpc ? 1 : 0

  vpc_id = aws_vpc.chat[0].id
  tags   = merge(local.tags, { Name = "${var.name}-closed" })
}

resource "aws_internet_gateway" "chat" {
  count = local.make_vpc ? 1 : 0

  vpc_id = aws_vpc.chat[0].id
  tags   = merge(local.tags, { Name = var.name })
}

resource "aws_subnet" "public" {
  for_each = local.make_vpc ? local.ranges : {}

  vpc_id            = aws_vpc.chat[0].id
  availability_zone = each.key
  cidr_block        = each.value
  tags              = merge(local.tags, { Name = "${var.name}-${each.key}" })
}

resource "aws_route_table" "public" {
  count = local.make_vpc ? 1 : 0

  vpc_id = aws_vpc.chat[0].id
  tags   = merge(local.tags, { Name = "${var.name}-public" })

  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.chat[0].id
  }
}

resource "aws_route_table_association" "public" {
  for_each = local.make_vpc ? local.ranges : {}

  subnet_id      = aws_subnet.public[each.key].id
  route_table_id = aws_route_table.public[0].id
}

resource "aws_security_group" "chat" {
  name_prefix = "${var.name}-"
  description = "SSH to the chat, and its own way to AWS"
  vpc_id      = local.vpc_id
  tags        = merge(local.tags, { Name = var.name })

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
  tags              = local.tags
}

# Amazon's DNS and NTP servers bypass security groups; a VPC's own DNS servers don't.
resource "aws_vpc_security_group_egress_rule" "dns" {
  for_each = { for pair in setproduct(["udp", "tcp"], var.dns_servers) : join(" ", pair) => pair }

  security_group_id = aws_security_group.chat.id
  description       = "DNS"
  cidr_ipv4         = "${each.value[1]}/32"
  ip_protocol       = each.value[0]
  from_port         = 53
  to_port           = 53
  tags              = local.tags
}

resource "aws_vpc_security_group_egress_rule" "https" {
  security_group_id = aws_security_group.chat.id
  description       = "The APIs of AWS"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  tags              = local.tags
}
