# What the machine may do: these actions, on these things.

locals {
  # Where the server's metrics go; nothing else can be written.
  metrics_namespace = "ssh-chat"

  # What of a key of one's own is used by whoever uses the table or the secret.
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
        # A transaction needs the actions that are in it.
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
        # AWS's own AmazonSSMManagedInstanceCore lets a machine read every parameter of the account.
        # These four know no single resources.
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
          "dynamodb.${var.region}.amazonaws.com",
          "secretsmanager.${var.region}.amazonaws.com",
        ] } }
      }
    ],
  )
}

resource "aws_iam_role" "chat" {
  name_prefix = "${var.name}-"
  description = "The machine of the chat ${var.name}"

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
}
