# All that is counted, on one page, in the order in which one looks: is it there, is it well, who
# uses it, what carries it.

locals {
  own_graphs = [
    { title = "Signs of life, each minute", stat = "Sum", metrics = ["Heartbeat"] },
    { title = "People in sessions", stat = "Maximum", metrics = ["Sessions"] },
    { title = "Messages a minute", stat = "Sum", metrics = ["MessagesAccepted", "MessagesRefused", "MessagesFailed"] },
    { title = "Saving a message, p99 in ms", stat = "Maximum", metrics = ["CommitP99"] },
    { title = "Kept out or let go, a minute", stat = "Sum", metrics = ["LoginsRefused", "SlowReaderCloses", "StoreErrors"] },
    { title = "Memory of the server in bytes", stat = "Maximum", metrics = ["MemoryBytes"] },
  ]

  graphs = concat(
    [for graph in local.own_graphs : {
      title   = graph.title
      stat    = graph.stat
      metrics = [for metric in graph.metrics : [local.metrics_namespace, metric, "Chat", var.name]]
    }],
    [
      {
        title = "The table: used capacity a minute"
        stat  = "Sum"
        metrics = [for kind in ["ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits"] :
          ["AWS/DynamoDB", kind, "TableName", aws_dynamodb_table.chat.name]
        ]
      },
      {
        title = "The table: refused, a minute"
        stat  = "Sum"
        metrics = [for trouble in local.table_troubles :
          concat(["AWS/DynamoDB", trouble.metric], flatten([for name, value in trouble.dimensions : [name, value]]))
        ]
      },
      {
        title   = "The machine: processor in %"
        stat    = "Maximum"
        metrics = [["AWS/EC2", "CPUUtilization", "InstanceId", aws_instance.chat.id]]
      },
      {
        title   = "The machine: processor credits left"
        stat    = "Minimum"
        metrics = [["AWS/EC2", "CPUCreditBalance", "InstanceId", aws_instance.chat.id]]
      },
    ],
    [for graph in [
      {
        title = "The page: requests a minute"
        stat  = "Sum"
        metrics = [for metric in ["Count", "4xx", "5xx"] :
          ["AWS/ApiGateway", metric, "ApiId", one(aws_apigatewayv2_api.web[*].id)]
        ]
      },
      {
        title   = "The page: time of its function in ms"
        stat    = "Maximum"
        metrics = [["AWS/Lambda", "Duration", "FunctionName", local.web_function]]
      },
    ] : graph if var.web],
  )

  alarm_arns = concat(
    [aws_cloudwatch_metric_alarm.recover.arn],
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
          region  = var.region
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
