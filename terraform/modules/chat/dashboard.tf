# The dashboard, ordered by question: is the server up, is it healthy, who uses it, and how are the
# resources under it.

locals {
  own_graphs = [
    { title = "Heartbeats per minute", stat = "Sum", metrics = ["Heartbeat"] },
    { title = "Sessions", stat = "Maximum", metrics = ["Sessions"] },
    { title = "Messages per minute", stat = "Sum", metrics = ["MessagesAccepted", "MessagesRefused", "MessagesFailed"] },
    { title = "Time to save a message, p99 in ms", stat = "Maximum", metrics = ["CommitP99"] },
    { title = "Refused logins, slow readers, store errors per minute", stat = "Sum", metrics = ["LoginsRefused", "SlowReaderCloses", "StoreErrors"] },
    { title = "Server memory in bytes", stat = "Maximum", metrics = ["MemoryBytes"] },
  ]

  graphs = concat(
    [for graph in local.own_graphs : {
      title   = graph.title
      stat    = graph.stat
      metrics = [for metric in graph.metrics : [local.metrics_namespace, metric, "Chat", var.name]]
    }],
    [
      {
        title = "Table: consumed capacity per minute"
        stat  = "Sum"
        metrics = [for kind in ["ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits"] :
          ["AWS/DynamoDB", kind, "TableName", aws_dynamodb_table.chat.name]
        ]
      },
      {
        title = "Table: throttled or failed requests per minute"
        stat  = "Sum"
        metrics = [for trouble in local.table_troubles :
          concat(["AWS/DynamoDB", trouble.metric], flatten([for name, value in trouble.dimensions : [name, value]]))
        ]
      },
      {
        title   = "Machine: CPU in %"
        stat    = "Maximum"
        metrics = [["AWS/EC2", "CPUUtilization", "InstanceId", aws_instance.chat.id]]
      },
      {
        title   = "Machine: CPU credits left"
        stat    = "Minimum"
        metrics = [["AWS/EC2", "CPUCreditBalance", "InstanceId", aws_instance.chat.id]]
      },
    ],
    [for graph in [
      {
        title = "Key page: requests per minute"
        stat  = "Sum"
        metrics = [for metric in ["Count", "4xx", "5xx"] :
          ["AWS/ApiGateway", metric, "ApiId", one(aws_apigatewayv2_api.web[*].id)]
        ]
      },
      {
        title   = "Key page: function duration in ms"
        stat    = "Maximum"
        metrics = [["AWS/Lambda", "Duration", "FunctionName", local.web_function]]
      },
    ] : graph if var.web],
  )

  alarm_arns = concat(
    [aws_cloudwatch_metric_alarm.recover.arn, aws_cloudwatch_metric_alarm.reboot.arn],
    aws_cloudwatch_metric_alarm.table[*].arn,
    [for alarm in aws_cloudwatch_metric_alarm.chat : alarm.arn],
  )
}

resource "aws_cloudwatch_dashboard" "chat" {
  count = local.watched ? 1 : 0

  dashboard_name = var.name
  dashboard_body = jsonencode({
    start = "-PT12H"
    widgets = concat(
      [{
        type       = "alarm", x = 0, y = 0, width = 24, height = 3
        properties = { title = "Alarms", alarms = local.alarm_arns }
      }],
      [for i, graph in local.graphs : {
        type = "metric", x = i % 3 * 8, y = 3 + floor(i / 3) * 6, width = 8, height = 6
        properties = {
          title   = graph.title
          region  = local.region
          view    = "timeSeries"
          period  = 60
          stat    = graph.stat
          metrics = graph.metrics
          yAxis   = { left = { min = 0 } }
        }
      }],
    )
  })
}
