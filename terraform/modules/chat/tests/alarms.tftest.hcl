# Tests the planned alarms and the dashboard.

mock_provider "aws" {
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
    values = { supported_architectures = ["arm64"], memory_size = 2048, burstable_performance_supported = true }
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
  override_data {
    target = data.aws_caller_identity.here
    values = { account_id = "123456789012" }
  }
  override_resource {
    target = aws_sns_topic.alarms
    values = { arn = "arn:aws:sns:eu-central-1:123456789012:ssh-chat-alarms" }
  }
  override_resource {
    target = aws_secretsmanager_secret.host_key
    values = { arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:ssh-chat/host-key-AbCdEf" }
  }
}

variables {
  image_version  = "0.1.0"
  operator_cidrs = ["203.0.113.7/32"]
  operator_keys  = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f alice"]
  web            = true
  web_package    = "tests/page.zip" # created by ci/terraform
  alarm_email    = "operators@example.com"
}

run "alarms" {
  assert {
    condition = { for name, alarm in aws_cloudwatch_metric_alarm.chat : name => join(" ", [
      alarm.namespace, alarm.metric_name, alarm.statistic, alarm.comparison_operator, alarm.threshold,
      "${alarm.datapoints_to_alarm} of ${alarm.evaluation_periods} in ${alarm.period} s", alarm.treat_missing_data,
      ]) if name != "silent" } == {
      messages-failed    = "ssh-chat MessagesFailed Sum GreaterThanThreshold 0 2 of 5 in 60 s notBreaching"
      slow-commits       = "ssh-chat CommitP99 Maximum GreaterThanThreshold 1024 5 of 10 in 60 s notBreaching"
      logins-refused     = "ssh-chat LoginsRefused Sum GreaterThanThreshold 300 1 of 1 in 300 s notBreaching"
      slow-readers       = "ssh-chat SlowReaderCloses Sum GreaterThanThreshold 20 1 of 1 in 300 s notBreaching"
      memory             = "ssh-chat MemoryBytes Maximum GreaterThanThreshold 1503238553 10 of 10 in 60 s notBreaching"
      credits            = "AWS/EC2 CPUCreditBalance Maximum LessThanThreshold 5 6 of 6 in 300 s notBreaching"
      web-fails          = "AWS/ApiGateway 5xx Sum GreaterThanOrEqualToThreshold 3 1 of 1 in 300 s notBreaching"
      web-function-fails = "AWS/Lambda Errors Sum GreaterThanOrEqualToThreshold 3 1 of 1 in 300 s notBreaching"
    }
    error_message = "The alarms or their thresholds differ from this list."
  }

  assert {
    condition = alltrue([for alarm in [aws_cloudwatch_metric_alarm.chat["silent"]] :
      alarm.comparison_operator == "LessThanThreshold" && alarm.threshold == 1 && alarm.evaluation_periods == 3 && alarm.treat_missing_data == "breaching"
      && toset([for query in alarm.metric_query : query.expression if query.expression != null]) == toset(["FILL(metric, 0)"])
      && [for query in alarm.metric_query : one(query.metric).metric_name if length(query.metric) > 0] == ["Heartbeat"]
    ])
    error_message = "Missing heartbeats must count as none in their own minute."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.reboot.alarm_actions == toset(["arn:aws:automate:eu-central-1:ec2:reboot", aws_sns_topic.alarms[0].arn])
    error_message = "EC2 must reboot a machine that hangs, and send a notification."
  }

  assert {
    condition = alltrue([
      for alarm in concat(values(aws_cloudwatch_metric_alarm.chat), aws_cloudwatch_metric_alarm.table) :
      alarm.alarm_actions == toset([aws_sns_topic.alarms[0].arn]) && alarm.ok_actions == alarm.alarm_actions && endswith(alarm.alarm_description, "docs/operate.md")
    ])
    error_message = "Each alarm must notify when it starts and ends, and link to the runbook."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.recover.alarm_actions == toset(["arn:aws:automate:eu-central-1:ec2:recover", aws_sns_topic.alarms[0].arn])
    error_message = "A recovery by EC2 must send a notification."
  }

  assert {
    condition     = alltrue([for name, alarm in aws_cloudwatch_metric_alarm.chat : alarm.dimensions.Chat == "ssh-chat" if alarm.namespace == "ssh-chat"])
    error_message = "The server's metrics must have the chat's name as a dimension."
  }

  assert {
    condition     = toset([for query in aws_cloudwatch_metric_alarm.table[0].metric_query : join(" ", [one(query.metric[*].metric_name), lookup(one(query.metric[*].dimensions), "Operation", "")]) if length(query.metric) > 0]) == toset(["ReadThrottleEvents ", "WriteThrottleEvents ", "SystemErrors GetItem", "SystemErrors PutItem", "SystemErrors Query", "SystemErrors TransactWriteItems", "SystemErrors UpdateItem"])
    error_message = "The alarm must count DynamoDB's throttled and failed requests."
  }

  assert {
    condition     = strcontains(jsondecode(trimprefix(aws_instance.chat.user_data, "#cloud-config\n")).write_files[0].content, "metrics = \"ssh-chat\"\n")
    error_message = "The server must send the metrics that the alarms use."
  }

  assert {
    condition     = aws_sns_topic_subscription.alarms[0].endpoint == "operators@example.com" && aws_sns_topic_subscription.alarms[0].protocol == "email"
    error_message = "Alarms must go to alarm_email."
  }

  assert {
    condition     = [for statement in jsondecode(aws_sns_topic_policy.alarms[0].policy).Statement : [statement.Principal.Service, statement.Action, try(statement.Condition.StringEquals["aws:SourceAccount"], "")]] == [["cloudwatch.amazonaws.com", "sns:Publish", "123456789012"], ["events.amazonaws.com", "sns:Publish", ""]]
    error_message = "Only CloudWatch of this account and EventBridge may publish."
  }
}

run "host_key_events" {
  assert {
    condition     = jsondecode(aws_cloudwatch_event_rule.host_key["host-key-written"].event_pattern).detail.requestParameters.secretId == ["ssh-chat/host-key", { prefix = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:ssh-chat/host-key" }]
    error_message = "The rule must match the secret by name, by ARN, and by ARN without the suffix that AWS adds."
  }

  assert {
    condition     = alltrue([for target in aws_cloudwatch_event_target.host_key : target.arn == aws_sns_topic.alarms[0].arn && can(jsondecode(target.input_transformer[0].input_template)) && strcontains(target.input_transformer[0].input_template, "At <at> in account <account>")])
    error_message = "The notification must be one string with account, region and time."
  }
}

run "dashboard" {
  assert {
    condition = toset(flatten([for widget in jsondecode(aws_cloudwatch_dashboard.chat[0].dashboard_body).widgets : [for metric in widget.properties.metrics : metric[1] if metric[0] == "ssh-chat"] if widget.type == "metric"])) == toset([
      "Heartbeat", "Sessions", "MessagesAccepted", "MessagesRefused", "MessagesFailed", "LoginsRefused", "StoreErrors", "CommitP99", "SlowReaderCloses", "MemoryBytes",
    ])
    error_message = "The dashboard must show each of the server's metrics."
  }

  assert {
    condition     = length(distinct([for widget in jsondecode(aws_cloudwatch_dashboard.chat[0].dashboard_body).widgets : "${widget.x} ${widget.y}"])) == length(jsondecode(aws_cloudwatch_dashboard.chat[0].dashboard_body).widgets) && length(jsondecode(aws_cloudwatch_dashboard.chat[0].dashboard_body).widgets[0].properties.alarms) == 12
    error_message = "Graphs must not overlap, and the first widget must list all alarms."
  }
}

run "alarms_without_page" {
  variables {
    web = false
  }

  assert {
    condition     = length(aws_cloudwatch_metric_alarm.chat) == 7 && !strcontains(aws_cloudwatch_dashboard.chat[0].dashboard_body, "ApiGateway")
    error_message = "Without a page there must be no alarms or graphs for it."
  }
}

run "no_alarms" {
  variables {
    alarm_email = ""
  }

  assert {
    condition     = length(aws_cloudwatch_metric_alarm.chat) + length(aws_cloudwatch_metric_alarm.table) + length(aws_cloudwatch_event_rule.host_key) + length(aws_sns_topic.alarms) + length(aws_cloudwatch_dashboard.chat) == 0
    error_message = "Without an address there must be no alarms."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.recover.alarm_actions == toset(["arn:aws:automate:eu-central-1:ec2:recover"])
    error_message = "EC2 must recover the machine anyway."
  }

  assert {
    condition     = !strcontains(aws_instance.chat.user_data, "metrics")
    error_message = "Without alarms the server must not send metrics."
  }
}
