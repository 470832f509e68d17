# The key page: API Gateway, a Lambda function that runs the same program as the machine, and the
# function's permissions. Created only with web = true.

locals {
  # A custom address is a proxy or a domain in front of the API.
  web_own_url = one([for api in aws_apigatewayv2_api.web : "${api.api_endpoint}/"])
  web_url     = var.web_url != null ? var.web_url : local.web_own_url

  # Forms are rare. API Gateway refuses requests above these limits, which then cost only the request.
  web_requests_per_second = 10
  web_requests_at_once    = 20

  web_function = "${var.name}-web"

  # The page's permissions on the table, by partition (see src/store/dynamo/key.rs). It can't list
  # anything and has no access to messages. ci/page.py tests the page with this policy, and that other
  # calls are denied.
  web_table = [
    { Sid = "See", Action = ["dynamodb:GetItem"], Keys = ["ACCOUNTS", "AUDIT", "INVITES", "KEY#*", "NAME#*", "PENDING", "STATE"] },
    { Sid = "Enter", Action = ["dynamodb:PutItem"], Keys = ["ACCOUNTS", "AUDIT", "KEY#*", "NAME#*", "UNPROVEN"] },
    { Sid = "Count", Action = ["dynamodb:UpdateItem"], Keys = ["INVITES", "STATE"] },
    { Sid = "WaitNoLonger", Action = ["dynamodb:ConditionCheckItem", "dynamodb:DeleteItem"], Keys = ["PENDING"] },
  ]

  web_statements = concat(
    [
      for part in local.web_table : {
        Sid      = part.Sid
        Effect   = "Allow"
        Action   = part.Action
        Resource = aws_dynamodb_table.chat.arn
        # ForAllValues is true for a request without keys, so require at least one.
        Condition = {
          "ForAllValues:StringLike" = { "dynamodb:LeadingKeys" = part.Keys }
          Null                      = { "dynamodb:LeadingKeys" = "false" }
        }
      }
    ],
    [
      {
        # The fingerprint that people compare. The page has no access to the secret.
        Sid      = "PublicHalf"
        Effect   = "Allow"
        Action   = "ssm:GetParameter"
        Resource = aws_ssm_parameter.host_key.arn
      },
    ],
    [
      for group in aws_cloudwatch_log_group.web : {
        Sid      = "Log"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "${group.arn}:*"
      }
    ],
    [
      for key in var.kms_key_arn[*] : {
        Sid       = "Key"
        Effect    = "Allow"
        Action    = local.kms_actions
        Resource  = key
        Condition = { StringEquals = { "kms:ViaService" = ["dynamodb.${local.region}.amazonaws.com"] } }
      }
    ],
  )
}

resource "aws_lambda_function" "web" {
  # checkov:skip=CKV_AWS_50: a trace of a single function adds nothing to its log
  # checkov:skip=CKV_AWS_116: there are no asynchronous invocations, so there is nothing for a dead-letter queue
  # checkov:skip=CKV_AWS_117: it calls only AWS; in a VPC it would need a NAT gateway that costs more than everything else
  # checkov:skip=CKV_AWS_173: its environment contains no secrets
  # checkov:skip=CKV_AWS_272: the package is built by the person who applies this
  count = var.web ? 1 : 0

  function_name                  = local.web_function
  description                    = "Page where people redeem invites to the chat ${var.name}"
  role                           = aws_iam_role.web[0].arn
  runtime                        = "provided.al2023"
  handler                        = "bootstrap"
  architectures                  = [var.web_architecture]
  filename                       = var.web_package
  source_code_hash               = filebase64sha256(var.web_package)
  memory_size                    = 256
  timeout                        = 15
  reserved_concurrent_executions = var.web_concurrency
  tags                           = local.tags

  environment {
    variables = {
      SSH_CHAT_HOST_NAME              = local.host_name
      SSH_CHAT_LISTEN                 = "0.0.0.0:${local.port}" # nothing listens here; used for the ssh command on the page
      SSH_CHAT_WEB_URL                = local.web_url
      SSH_CHAT_AWS_TABLE              = aws_dynamodb_table.chat.name
      SSH_CHAT_AWS_HOST_KEY_PARAMETER = aws_ssm_parameter.host_key.name
      SSH_CHAT_AWS_PATIENCE           = "5s" # API Gateway times out after 30 s
      SSH_CHAT_DATA_DIR               = "/tmp/ssh-chat"
      SSH_CHAT_LOG_FORMAT             = "json"
    }
  }

  # Otherwise Lambda creates the log group itself, without a retention.
  depends_on = [aws_cloudwatch_log_group.web, aws_iam_role_policy.web]
}

resource "aws_cloudwatch_log_group" "web" {
  # checkov:skip=CKV_AWS_158: it contains no personal data; your own key would need a grant for this service
  # checkov:skip=CKV_AWS_338: a month is enough to investigate a failure
  count = var.web ? 1 : 0

  name              = "/aws/lambda/${local.web_function}"
  retention_in_days = var.web_log_days
  tags              = local.tags
}

# The prefix keeps the account's log resource policy short, which has a limit that other services share.
resource "aws_cloudwatch_log_group" "web_requests" {
  # checkov:skip=CKV_AWS_158: it contains no personal data; your own key would need a grant for this service
  # checkov:skip=CKV_AWS_338: a month is enough to investigate a failure
  count = var.web ? 1 : 0

  name              = "/aws/vendedlogs/apigateway/${local.web_function}"
  retention_in_days = var.web_log_days
  tags              = local.tags
}

resource "aws_apigatewayv2_api" "web" {
  count = var.web ? 1 : 0

  name          = local.web_function
  description   = "Page where people redeem invites to the chat ${var.name}"
  protocol_type = "HTTP"
  tags          = local.tags
}

resource "aws_apigatewayv2_integration" "web" {
  count = var.web ? 1 : 0

  api_id                 = aws_apigatewayv2_api.web[0].id
  integration_type       = "AWS_PROXY"
  integration_uri        = aws_lambda_function.web[0].invoke_arn
  payload_format_version = "2.0"
  timeout_milliseconds   = 20000
}

resource "aws_apigatewayv2_route" "web" {
  # checkov:skip=CKV_AWS_309: the page is for people without an account; the invite code is their credential
  count = var.web ? 1 : 0

  api_id             = aws_apigatewayv2_api.web[0].id
  route_key          = "$default"
  authorization_type = "NONE"
  target             = "integrations/${aws_apigatewayv2_integration.web[0].id}"
}

resource "aws_apigatewayv2_stage" "web" {
  count = var.web ? 1 : 0

  api_id      = aws_apigatewayv2_api.web[0].id
  name        = "$default"
  auto_deploy = true
  tags        = local.tags

  default_route_settings {
    throttling_rate_limit  = local.web_requests_per_second
    throttling_burst_limit = local.web_requests_at_once
  }

  # No addresses, user agents or paths, only the outcome.
  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.web_requests[0].arn
    format = jsonencode({
      at        = "$context.requestTime"
      request   = "$context.requestId"
      method    = "$context.httpMethod"
      status    = "$context.status"
      bytes     = "$context.responseLength"
      took_ms   = "$context.responseLatency"
      page_ms   = "$context.integrationLatency"
      throttled = "$context.error.responseType"
      failed    = "$context.integrationErrorMessage"
    })
  }

  # The stage's deployment must contain a route.
  depends_on = [aws_apigatewayv2_route.web]
}

# Only this API may invoke the function.
resource "aws_lambda_permission" "web" {
  count = var.web ? 1 : 0

  statement_id  = "api"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.web[0].function_name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.web[0].execution_arn}/*"
}

resource "aws_iam_role" "web" {
  count = var.web ? 1 : 0

  name_prefix = "${local.web_function}-"
  description = "Key page of the chat ${var.name}"
  tags        = local.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "lambda.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy" "web" {
  count = var.web ? 1 : 0

  name   = "web"
  role   = aws_iam_role.web[0].id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.web_statements })
}
