# The page on which people redeem invites: API Gateway, a function that runs the same program as the
# machine, and what that function may do. None of it is there without web = true.

locals {
  # An address of one's own is a proxy or a domain in front of it.
  web_own_url = one([for api in aws_apigatewayv2_api.web : "${api.api_endpoint}/"])
  web_url     = var.web_url != null ? var.web_url : local.web_own_url

  # Forms are rare. What is beyond this is refused by API Gateway, before anything is paid for but
  # the request.
  web_requests_per_second = 10
  web_requests_at_once    = 20

  web_function = "${var.name}-web"

  # What of the table the page may touch, by the partitions in src/store/dynamo/key.rs. It can't
  # list anything, and reaches nothing that was said. ci/page.py has the page work under this very
  # policy, and try other things.
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
        # Of no keys at all, all are allowed: so there must be some.
        Condition = {
          "ForAllValues:StringLike" = { "dynamodb:LeadingKeys" = part.Keys }
          Null                      = { "dynamodb:LeadingKeys" = "false" }
        }
      }
    ],
    [
      {
        # What people compare; of the secret beside it the page knows nothing.
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
        Condition = { StringEquals = { "kms:ViaService" = ["dynamodb.${var.region}.amazonaws.com"] } }
      }
    ],
  )
}

resource "aws_lambda_function" "web" {
  # checkov:skip=CKV_AWS_50: a trace of one function says no more than its log
  # checkov:skip=CKV_AWS_116: nobody invokes it without waiting for the answer, so nothing is ever left over
  # checkov:skip=CKV_AWS_117: it talks to AWS only; in a VPC it would need a NAT gateway that costs more than all else
  # checkov:skip=CKV_AWS_173: what is in its environment is no secret
  # checkov:skip=CKV_AWS_272: whoever applies this has made the package
  count = var.web ? 1 : 0

  function_name                  = local.web_function
  description                    = "The page on which people redeem invites to the chat ${var.name}"
  role                           = aws_iam_role.web[0].arn
  runtime                        = "provided.al2023"
  handler                        = "bootstrap"
  architectures                  = [var.web_architecture]
  filename                       = var.web_package
  source_code_hash               = filebase64sha256(var.web_package)
  memory_size                    = 256
  timeout                        = 15
  reserved_concurrent_executions = var.web_concurrency

  environment {
    variables = {
      SSH_CHAT_HOST_NAME              = local.host_name
      SSH_CHAT_LISTEN                 = "0.0.0.0:${local.port}" # nothing listens here: what people are told
      SSH_CHAT_WEB_URL                = local.web_url
      SSH_CHAT_AWS_TABLE              = aws_dynamodb_table.chat.name
      SSH_CHAT_AWS_HOST_KEY_PARAMETER = aws_ssm_parameter.host_key.name
      SSH_CHAT_AWS_PATIENCE           = "5s" # API Gateway itself waits 30 s
      SSH_CHAT_DATA_DIR               = "/tmp/ssh-chat"
      SSH_CHAT_LOG_FORMAT             = "json"
    }
  }

  # It would make the group itself, without an end to what is in it.
  depends_on = [aws_cloudwatch_log_group.web, aws_iam_role_policy.web]
}

resource "aws_cloudwatch_log_group" "web" {
  # checkov:skip=CKV_AWS_158: nothing personal is in it; a key of one's own would have to let this service in
  # checkov:skip=CKV_AWS_338: a month is enough to look into what went wrong
  count = var.web ? 1 : 0

  name              = "/aws/lambda/${local.web_function}"
  retention_in_days = var.web_log_days
}

resource "aws_cloudwatch_log_group" "web_requests" {
  # checkov:skip=CKV_AWS_158: nothing personal is in it; a key of one's own would have to let this service in
  # checkov:skip=CKV_AWS_338: a month is enough to look into what went wrong
  count = var.web ? 1 : 0

  name              = "/aws/apigateway/${local.web_function}"
  retention_in_days = var.web_log_days
}

resource "aws_apigatewayv2_api" "web" {
  count = var.web ? 1 : 0

  name          = local.web_function
  description   = "The page on which people redeem invites to the chat ${var.name}"
  protocol_type = "HTTP"
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
  # checkov:skip=CKV_AWS_309: people who have no account yet are whom the page is for; the invite's code is what lets them in
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

  default_route_settings {
    throttling_rate_limit  = local.web_requests_per_second
    throttling_burst_limit = local.web_requests_at_once
  }

  # No address, no browser, no path: only how it went.
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

  # Its deployment has to have a route in it.
  depends_on = [aws_apigatewayv2_route.web]
}

# Only this API.
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
  description = "The page of the chat ${var.name}"

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
