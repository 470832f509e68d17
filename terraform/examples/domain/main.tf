# A chat at chat.example.com and its key page at https://join.example.com, in a Route 53 zone that exists
# already. With SSHFP records and `VerifyHostKeyDNS yes`, ssh checks the host key by DNS, provided that the
# zone is signed with DNSSEC.

variable "sshfp" {
  type        = bool
  description = "Publish SSHFP records. Turn it on after the machine's first start, which creates the host key."
  default     = false
}

locals {
  zone = "example.com"
}

provider "aws" {
  region = "eu-central-1"
}

data "aws_route53_zone" "chat" {
  name = local.zone
}

module "chat" {
  source = "../../modules/chat"

  image_version  = "0.1.0"
  operator_cidrs = ["203.0.113.7/32"]
  operator_keys  = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f alice"]

  host_name   = "chat.${local.zone}"
  web         = true
  web_url     = "https://join.${local.zone}/"
  web_package = "../../../target/lambda/arm64.zip" # built by ci/lambda arm64
}

resource "aws_route53_record" "chat" {
  zone_id = data.aws_route53_zone.chat.zone_id
  name    = "chat.${local.zone}"
  type    = "A"
  ttl     = 300
  records = [module.chat.address]
}

# RFC 4255: algorithm 4 is Ed25519, fingerprint type 2 is SHA-256, written in hexadecimal digits.

data "aws_ssm_parameter" "host_key" {
  count = var.sshfp ? 1 : 0

  name = module.chat.host_key_parameter
}

locals {
  base64      = split("", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
  fingerprint = one([for key in data.aws_ssm_parameter.host_key : regex("^SHA256:([A-Za-z0-9+/]{43}) ", key.insecure_value)[0]])
  bits        = local.fingerprint == null ? "" : join("", [for digit in split("", local.fingerprint) : format("%06b", index(local.base64, digit))])
}

resource "aws_route53_record" "host_key" {
  count = var.sshfp ? 1 : 0

  zone_id = data.aws_route53_zone.chat.zone_id
  name    = "chat.${local.zone}"
  type    = "SSHFP"
  ttl     = 300
  records = ["4 2 ${join("", [for digit in range(64) : format("%x", parseint(substr(local.bits, digit * 4, 4), 2))])}"]
}

# The page's certificate and name.

resource "aws_acm_certificate" "page" {
  domain_name       = "join.${local.zone}"
  validation_method = "DNS"

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_route53_record" "certificate" {
  for_each = { for option in aws_acm_certificate.page.domain_validation_options : option.domain_name => option }

  zone_id = data.aws_route53_zone.chat.zone_id
  name    = each.value.resource_record_name
  type    = each.value.resource_record_type
  ttl     = 300
  records = [each.value.resource_record_value]
}

resource "aws_acm_certificate_validation" "page" {
  certificate_arn         = aws_acm_certificate.page.arn
  validation_record_fqdns = [for record in aws_route53_record.certificate : record.fqdn]
}

resource "aws_apigatewayv2_domain_name" "page" {
  domain_name = "join.${local.zone}"

  domain_name_configuration {
    certificate_arn = aws_acm_certificate_validation.page.certificate_arn
    endpoint_type   = "REGIONAL"
    security_policy = "TLS_1_2"
  }
}

resource "aws_apigatewayv2_api_mapping" "page" {
  api_id      = module.chat.web_api_id
  domain_name = aws_apigatewayv2_domain_name.page.id
  stage       = "$default"
}

resource "aws_route53_record" "page" {
  zone_id = data.aws_route53_zone.chat.zone_id
  name    = "join.${local.zone}"
  type    = "A"

  alias {
    name                   = aws_apigatewayv2_domain_name.page.domain_name_configuration[0].target_domain_name
    zone_id                = aws_apigatewayv2_domain_name.page.domain_name_configuration[0].hosted_zone_id
    evaluate_target_health = false
  }
}

output "ssh" {
  value = module.chat.ssh
}

output "page" {
  value = module.chat.web_url
}
