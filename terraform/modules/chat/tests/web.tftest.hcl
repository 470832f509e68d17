# Tests the planned key page. ci/page.py tests that it works with these permissions.

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
  override_resource {
    target = aws_iam_role.web
    values = { arn = "arn:aws:iam::123456789012:role/ssh-chat-web" }
  }
  override_resource {
    target = aws_cloudwatch_log_group.web_requests
    values = { arn = "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/apigateway/ssh-chat-web" }
  }
  override_resource {
    target = aws_apigatewayv2_api.web
    values = { api_endpoint = "https://abc123.execute-api.eu-central-1.amazonaws.com", execution_arn = "arn:aws:execute-api:eu-central-1:123456789012:abc123" }
  }
}

variables {
  image_version  = "0.1.0"
  operator_cidrs = ["203.0.113.7/32"]
  operator_keys  = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f alice"]
  web            = true
  web_package    = "tests/page.zip" # created by ci/terraform
}

run "page" {
  assert {
    condition     = aws_lambda_function.web[0].runtime == "provided.al2023" && aws_lambda_function.web[0].architectures == tolist(["arm64"]) && aws_lambda_function.web[0].reserved_concurrent_executions == -1 && aws_lambda_function.web[0].source_code_hash == filebase64sha256("tests/page.zip")
    error_message = "The function must run the program, reserve no concurrency, and change with its package."
  }

  assert {
    condition = aws_lambda_function.web[0].environment[0].variables == tomap({
      SSH_CHAT_HOST_NAME              = "198.51.100.7"
      SSH_CHAT_LISTEN                 = "0.0.0.0:22"
      SSH_CHAT_WEB_URL                = "https://abc123.execute-api.eu-central-1.amazonaws.com/"
      SSH_CHAT_AWS_TABLE              = "ssh-chat"
      SSH_CHAT_AWS_HOST_KEY_PARAMETER = "/ssh-chat/host-key"
      SSH_CHAT_AWS_PATIENCE           = "5s"
      SSH_CHAT_DATA_DIR               = "/tmp/ssh-chat"
      SSH_CHAT_LOG_FORMAT             = "json"
    })
    error_message = "The page's configuration must name its resources, but not the secret."
  }

  assert {
    condition     = aws_apigatewayv2_integration.web[0].payload_format_version == "2.0" && aws_apigatewayv2_stage.web[0].default_route_settings[0].throttling_rate_limit == 10 && aws_apigatewayv2_stage.web[0].default_route_settings[0].throttling_burst_limit == 20
    error_message = "The API must use payload format 2.0 and limit the request rate."
  }

  assert {
    condition     = aws_lambda_permission.web[0].principal == "apigateway.amazonaws.com" && aws_lambda_permission.web[0].source_arn == "arn:aws:execute-api:eu-central-1:123456789012:abc123/*"
    error_message = "Only this API may invoke the function."
  }

  assert {
    condition     = length([for word in ["sourceIp", "userAgent", "identity", "path", "domainName", "authorizer"] : word if strcontains(aws_apigatewayv2_stage.web[0].access_log_settings[0].format, word)]) == 0 && aws_cloudwatch_log_group.web[0].retention_in_days == 30 && aws_cloudwatch_log_group.web_requests[0].retention_in_days == 30
    error_message = "The logs must contain no personal data and have a retention."
  }

  assert {
    condition     = output.web_url == "https://abc123.execute-api.eu-central-1.amazonaws.com/" && contains(split("\n", jsondecode(trimprefix(aws_instance.chat.user_data, "#cloud-config\n")).write_files[0].content), "web_url = \"https://abc123.execute-api.eu-central-1.amazonaws.com/\"")
    error_message = "The machine must know the page's address for invite links."
  }
}

run "page_permissions" {
  assert {
    condition = {
      for statement in jsondecode(aws_iam_role_policy.web[0].policy).Statement : statement.Sid => [
        statement.Resource, join(" ", flatten([statement.Action])), join(" ", try(statement.Condition["ForAllValues:StringLike"]["dynamodb:LeadingKeys"], [])),
      ]
      } == {
      See          = [aws_dynamodb_table.chat.arn, "dynamodb:GetItem", "ACCOUNTS AUDIT INVITES KEY#* NAME#* PENDING STATE"]
      Enter        = [aws_dynamodb_table.chat.arn, "dynamodb:PutItem", "ACCOUNTS AUDIT KEY#* NAME#* UNPROVEN"]
      Count        = [aws_dynamodb_table.chat.arn, "dynamodb:UpdateItem", "INVITES STATE"]
      WaitNoLonger = [aws_dynamodb_table.chat.arn, "dynamodb:ConditionCheckItem dynamodb:DeleteItem", "PENDING"]
      PublicHalf   = [aws_ssm_parameter.host_key.arn, "ssm:GetParameter", ""]
      Log          = ["${aws_cloudwatch_log_group.web[0].arn}:*", "logs:CreateLogStream logs:PutLogEvents", ""]
    }
    error_message = "The page's permissions differ from this list."
  }

  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_role_policy.web[0].policy).Statement : statement.Condition.Null["dynamodb:LeadingKeys"] == "false"
      if can(statement.Condition["ForAllValues:StringLike"])
    ])
    error_message = "A request without keys must not pass the key condition."
  }

  assert {
    condition     = !strcontains(aws_iam_role_policy.web[0].policy, "secretsmanager") && !strcontains(aws_iam_role_policy.web[0].policy, "kms:")
    error_message = "The page must have no access to the secret."
  }
}

run "page_with_custom_kms_key" {
  variables {
    kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  }

  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.web[0].policy).Statement : [statement.Resource, statement.Condition.StringEquals["kms:ViaService"]] if statement.Sid == "Key"] == [[var.kms_key_arn, ["dynamodb.eu-central-1.amazonaws.com"]]]
    error_message = "The page may use the key only for the table."
  }
}

run "page_with_custom_values" {
  variables {
    web_url          = "https://join.example.com/"
    web_architecture = "x86_64"
    web_concurrency  = 5
    web_log_days     = 7
  }

  assert {
    condition     = output.web_url == "https://join.example.com/" && aws_lambda_function.web[0].environment[0].variables.SSH_CHAT_WEB_URL == "https://join.example.com/" && aws_lambda_function.web[0].architectures == tolist(["x86_64"]) && aws_lambda_function.web[0].reserved_concurrent_executions == 5
    error_message = "The page must use the configured values."
  }
}
