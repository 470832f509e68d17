# The machine's permissions: these actions, on these resources.

locals {
  # The only CloudWatch namespace that the server may write to.
  metrics_namespace = "ssh-chat"

  # The KMS actions needed to use the table or the secret with your own key.
  kms_actions = [
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
  ]

  statements = concat(
    [
      {
        Sid      = "HostKey"
        Effect   = "Allow"
        Action   = ["secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue"]
        Resource = aws_secretsmanager_secret.host_key.arn
      },
      {
        Sid      = "PublicHalf"
        Effect   = "Allow"
        Action   = ["ssm:GetParameter", "ssm:PutParameter"]
        Resource = aws_ssm_parameter.host_key.arn
      },
      {
        # A transaction needs the permissions of the actions it contains.
        Sid    = "Table"
        Effect = "Allow"
        Action = [
          "dynamodb:ConditionCheckItem",
          "dynamodb:DeleteItem",
          "dynamodb:DescribeTable",
          "dynamodb:GetItem",
          "dynamodb:PutItem",
          "dynamodb:Query",
          "dynamodb:UpdateItem",
        ]
        Resource = aws_dynamodb_table.chat.arn
      },
      {
        # AWS's managed policy AmazonSSMManagedInstanceCore allows reading every parameter in the account.
        # These actions don't support resource-level permissions.
        Sid    = "SessionManager"
        Effect = "Allow"
        Action = [
          "ssm:UpdateInstanceInformation",
          "ssmmessages:CreateControlChannel",
          "ssmmessages:CreateDataChannel",
          "ssmmessages:OpenControlChannel",
          "ssmmessages:OpenDataChannel",
        ]
        Resource = "*"
      },
      {
        Sid       = "Metrics"
        Effect    = "Allow"
        Action    = "cloudwatch:PutMetricData"
        Resource  = "*"
        Condition = { StringEquals = { "cloudwatch:namespace" = local.metrics_namespace } }
      },
    ],
    [
      for key in var.kms_key_arn[*] : {
        Sid      = "Key"
        Effect   = "Allow"
        Action   = local.kms_actions
        Resource = key
        Condition = { StringEquals = { "kms:ViaService" = [
          "dynamodb.${local.region}.amazonaws.com",
          "secretsmanager.${local.region}.amazonaws.com",
        ] } }
      }
    ],
  )
}

resource "aws_iam_role" "chat" {
  name_prefix = "${var.name}-"
  description = "Machine of the chat ${var.name}"
  tags        = local.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy" "chat" {
  name   = "chat"
  role   = aws_iam_role.chat.id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.statements })
}

resource "aws_iam_instance_profile" "chat" {
  name_prefix = "${var.name}-"
  role        = aws_iam_role.chat.name
  tags        = local.tags
}
