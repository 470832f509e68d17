# Alarms; docs/operate.md has the runbook. With alarm_email set, this creates an SNS topic that sends to
# that address, these alarms and a dashboard; without it, there is only the alarm in machine.tf that
# makes EC2 move the machine.

locals {
  watched = var.alarm_email != ""

  # The topic to notify.
  tell = aws_sns_topic.alarms[*].arn

  own_metrics  = { Chat = var.name }
  memory_bytes = data.aws_ec2_instance_type.chat.memory_size * 1024 * 1024

  # `steps = [3, 5]`: the alarm fires if three of the last five periods of `seconds` breach the limit.
  # `missing` is how CloudWatch treats missing data. With `fill`, missing data counts as that value in the
  # period itself: otherwise CloudWatch looks further back for data, and the alarm is late.
  alarms = merge(
    {
      silent = {
        says      = "No heartbeat from the server for three minutes: it is down, hangs, or can't reach CloudWatch"
        namespace = local.metrics_namespace, metric = "Heartbeat", dimensions = local.own_metrics
        statistic = "Sum", is = "LessThanThreshold", limit = 1, seconds = 60, steps = [3, 3], missing = "breaching", fill = 0
      }
      messages-failed = {
        says      = "Messages couldn't be saved; their senders were told"
        namespace = local.metrics_namespace, metric = "MessagesFailed", dimensions = local.own_metrics
        statistic = "Sum", is = "GreaterThanThreshold", limit = 0, seconds = 60, steps = [2, 5], missing = "notBreaching"
      }
      slow-commits = {
        # The percentile is interpolated between bucket bounds that are powers of two; this is one of them.
        says      = "Saving one message in a hundred takes longer than a second"
        namespace = local.metrics_namespace, metric = "CommitP99", dimensions = local.own_metrics
        statistic = "Maximum", is = "GreaterThanThreshold", limit = 1024, seconds = 60, steps = [5, 10], missing = "notBreaching"
      }
      logins-refused = {
        says      = "More than 300 logins failed within five minutes: someone is guessing keys, or registered users can't log in"
        namespace = local.metrics_namespace, metric = "LoginsRefused", dimensions = local.own_metrics
        statistic = "Sum", is = "GreaterThanThreshold", limit = 300, seconds = 300, steps = [1, 1], missing = "notBreaching"
      }
      slow-readers = {
        says      = "More than 20 clients were disconnected within five minutes because they stopped reading: the network is bad, or the machine is too slow"
        namespace = local.metrics_namespace, metric = "SlowReaderCloses", dimensions = local.own_metrics
        statistic = "Sum", is = "GreaterThanThreshold", limit = 20, seconds = 300, steps = [1, 1], missing = "notBreaching"
      }
      memory = {
        says      = "The server has used more than 70 % of the machine's memory for ten minutes"
        namespace = local.metrics_namespace, metric = "MemoryBytes", dimensions = local.own_metrics
        statistic = "Maximum", is = "GreaterThanThreshold", limit = floor(local.memory_bytes * 0.7), seconds = 60, steps = [10, 10], missing = "notBreaching"
      }
    },
    { for name, alarm in {
      credits = {
        says      = "The machine has used up its CPU credits and runs at its baseline: use a larger instance_type"
        namespace = "AWS/EC2", metric = "CPUCreditBalance", dimensions = { InstanceId = aws_instance.chat.id }
        statistic = "Maximum", is = "LessThanThreshold", limit = 5, seconds = 300, steps = [6, 6], missing = "notBreaching"
      }
    } : name => alarm if data.aws_ec2_instance_type.chat.burstable_performance_supported },
    { for name, alarm in {
      web-fails = {
        says      = "Three or more requests to the key page failed within five minutes"
        namespace = "AWS/ApiGateway", metric = "5xx", dimensions = { ApiId = one(aws_apigatewayv2_api.web[*].id) }
        statistic = "Sum", is = "GreaterThanOrEqualToThreshold", limit = 3, seconds = 300, steps = [1, 1], missing = "notBreaching"
      }
      web-function-fails = {
        says      = "The key page's function fails to start or ends early"
        namespace = "AWS/Lambda", metric = "Errors", dimensions = { FunctionName = local.web_function }
        statistic = "Sum", is = "GreaterThanOrEqualToThreshold", limit = 3, seconds = 300, steps = [1, 1], missing = "notBreaching"
      }
    } : name => alarm if var.web },
  )

  filled = { for name, alarm in local.alarms : name => try(alarm.fill, null) }

  # Requests that DynamoDB throttled, or failed to serve.
  table_troubles = concat(
    [for kind in ["Read", "Write"] : { metric = "${kind}ThrottleEvents", dimensions = { TableName = var.name } }],
    [for operation in ["GetItem", "PutItem", "Query", "TransactWriteItems", "UpdateItem"] : {
      metric = "SystemErrors", dimensions = { TableName = var.name, Operation = operation }
    }],
  )
}

resource "aws_cloudwatch_metric_alarm" "chat" {
  for_each = { for name, alarm in local.alarms : name => alarm if local.watched }

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "${each.value.says}. What to do: docs/operate.md"
  namespace           = local.filled[each.key] == null ? each.value.namespace : null
  metric_name         = local.filled[each.key] == null ? each.value.metric : null
  dimensions          = local.filled[each.key] == null ? each.value.dimensions : null
  statistic           = local.filled[each.key] == null ? each.value.statistic : null
  comparison_operator = each.value.is
  threshold           = each.value.limit
  period              = local.filled[each.key] == null ? each.value.seconds : null
  datapoints_to_alarm = each.value.steps[0]
  evaluation_periods  = each.value.steps[1]
  treat_missing_data  = each.value.missing
  alarm_actions       = local.tell
  ok_actions          = local.tell
  tags                = local.tags

  dynamic "metric_query" {
    for_each = local.filled[each.key][*]

    content {
      id          = "filled"
      label       = each.value.metric
      expression  = "FILL(metric, ${metric_query.value})"
      return_data = true
    }
  }

  dynamic "metric_query" {
    for_each = local.filled[each.key][*]

    content {
      id = "metric"

      metric {
        namespace   = each.value.namespace
        metric_name = each.value.metric
        dimensions  = each.value.dimensions
        stat        = each.value.statistic
        period      = each.value.seconds
      }
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "table" {
  count = local.watched ? 1 : 0

  alarm_name          = "${var.name}-table"
  alarm_description   = "DynamoDB throttled or failed five or more requests to the table within five minutes. What to do: docs/operate.md"
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 5
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.tell
  ok_actions          = local.tell
  tags                = local.tags

  metric_query {
    id          = "troubles"
    label       = "refused requests"
    expression  = "SUM([${join(", ", [for i, _ in local.table_troubles : "FILL(m${i}, 0)"])}])"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = local.table_troubles

    content {
      id = "m${metric_query.key}"

      metric {
        namespace   = "AWS/DynamoDB"
        metric_name = metric_query.value.metric
        dimensions  = metric_query.value.dimensions
        stat        = "Sum"
        period      = 300
      }
    }
  }
}

# A changed host key may mean that someone impersonates the chat. When the server starts with a new key
# it updates the SSM parameter, and Parameter Store emits an event. Writes to the secret are known only
# to CloudTrail, if a trail logs management events in this region: most accounts have one, and this
# module doesn't create it.
locals {
  host_key_rules = {
    host-key-published = {
      says    = "The chat ${var.name} published a host key. This is expected on its first start and after `ssh-chat host-key rotate`. Otherwise someone else has replaced the key: docs/operate.md"
      pattern = { source = ["aws.ssm"], "detail-type" = ["Parameter Store Change"], detail = { name = [aws_ssm_parameter.host_key.name] } }
    }
    host-key-written = {
      says = "The host key of the chat ${var.name} was written or deleted; CloudTrail shows by which credentials. This is expected on its first start and after `ssh-chat host-key rotate`. Otherwise someone else has changed it: docs/operate.md"
      pattern = { source = ["aws.secretsmanager"], "detail-type" = ["AWS API Call via CloudTrail"], detail = {
        eventName = ["DeleteSecret", "PutSecretValue", "UpdateSecret", "UpdateSecretVersionStage"]
        requestParameters = { secretId = [
          aws_secretsmanager_secret.host_key.name,
          { prefix = replace(aws_secretsmanager_secret.host_key.arn, "/-[A-Za-z0-9]{6}$/", "") },
        ] }
      } }
    }
  }
}

resource "aws_cloudwatch_event_rule" "host_key" {
  for_each = { for name, rule in local.host_key_rules : name => rule if local.watched }

  name          = "${var.name}-${each.key}"
  description   = "Notifies when the host key of the chat ${var.name} changes"
  event_pattern = jsonencode(each.value.pattern)
  tags          = local.tags
}

resource "aws_cloudwatch_event_target" "host_key" {
  for_each = aws_cloudwatch_event_rule.host_key

  rule = each.value.name
  arn  = aws_sns_topic.alarms[0].arn

  input_transformer {
    input_paths    = { at = "$.time", account = "$.account", region = "$.region" }
    input_template = "\"${local.host_key_rules[each.key].says}. At <at> in account <account>, region <region>.\""
  }
}

resource "aws_sns_topic" "alarms" {
  # checkov:skip=CKV_AWS_26: CloudWatch can't publish to a topic encrypted with the AWS-managed key, and alarms contain no secrets
  count = local.watched ? 1 : 0

  name = "${var.name}-alarms"
  tags = local.tags
}

resource "aws_sns_topic_policy" "alarms" {
  count = local.watched ? 1 : 0

  arn = aws_sns_topic.alarms[0].arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Alarms"
        Effect    = "Allow"
        Action    = "sns:Publish"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Resource  = aws_sns_topic.alarms[0].arn
        Condition = { StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.here.account_id } }
      },
      {
        # EventBridge doesn't support conditions in a topic's policy.
        Sid       = "Rules"
        Effect    = "Allow"
        Action    = "sns:Publish"
        Principal = { Service = "events.amazonaws.com" }
        Resource  = aws_sns_topic.alarms[0].arn
      },
    ]
  })
}

resource "aws_sns_topic_subscription" "alarms" {
  count = local.watched ? 1 : 0

  topic_arn = aws_sns_topic.alarms[0].arn
  protocol  = "email"
  endpoint  = var.alarm_email
}
