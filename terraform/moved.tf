# Resources that were here before modules/chat existed: an upgrade moves them in the state and replaces
# nothing because of it.

moved {
  from = aws_apigatewayv2_api.web
  to   = module.chat.aws_apigatewayv2_api.web
}

moved {
  from = aws_apigatewayv2_integration.web
  to   = module.chat.aws_apigatewayv2_integration.web
}

moved {
  from = aws_apigatewayv2_route.web
  to   = module.chat.aws_apigatewayv2_route.web
}

moved {
  from = aws_apigatewayv2_stage.web
  to   = module.chat.aws_apigatewayv2_stage.web
}

moved {
  from = aws_cloudwatch_dashboard.chat
  to   = module.chat.aws_cloudwatch_dashboard.chat
}

moved {
  from = aws_cloudwatch_event_rule.host_key
  to   = module.chat.aws_cloudwatch_event_rule.host_key
}

moved {
  from = aws_cloudwatch_event_target.host_key
  to   = module.chat.aws_cloudwatch_event_target.host_key
}

moved {
  from = aws_cloudwatch_log_group.web
  to   = module.chat.aws_cloudwatch_log_group.web
}

moved {
  from = aws_cloudwatch_log_group.web_requests
  to   = module.chat.aws_cloudwatch_log_group.web_requests
}

moved {
  from = aws_cloudwatch_metric_alarm.chat
  to   = module.chat.aws_cloudwatch_metric_alarm.chat
}

moved {
  from = aws_cloudwatch_metric_alarm.recover
  to   = module.chat.aws_cloudwatch_metric_alarm.recover
}

moved {
  from = aws_cloudwatch_metric_alarm.table
  to   = module.chat.aws_cloudwatch_metric_alarm.table
}

moved {
  from = aws_default_security_group.closed
  to   = module.chat.aws_default_security_group.closed
}

moved {
  from = aws_dynamodb_table.chat
  to   = module.chat.aws_dynamodb_table.chat
}

moved {
  from = aws_eip.chat
  to   = module.chat.aws_eip.chat
}

moved {
  from = aws_eip_association.chat
  to   = module.chat.aws_eip_association.chat
}

moved {
  from = aws_iam_instance_profile.chat
  to   = module.chat.aws_iam_instance_profile.chat
}

moved {
  from = aws_iam_role.chat
  to   = module.chat.aws_iam_role.chat
}

moved {
  from = aws_iam_role.web
  to   = module.chat.aws_iam_role.web
}

moved {
  from = aws_iam_role_policy.chat
  to   = module.chat.aws_iam_role_policy.chat
}

moved {
  from = aws_iam_role_policy.web
  to   = module.chat.aws_iam_role_policy.web
}

moved {
  from = aws_instance.chat
  to   = module.chat.aws_instance.chat
}

moved {
  from = aws_internet_gateway.chat
  to   = module.chat.aws_internet_gateway.chat
}

moved {
  from = aws_lambda_function.web
  to   = module.chat.aws_lambda_function.web
}

moved {
  from = aws_lambda_permission.web
  to   = module.chat.aws_lambda_permission.web
}

moved {
  from = aws_route_table.public
  to   = module.chat.aws_route_table.public
}

moved {
  from = aws_route_table_association.public
  to   = module.chat.aws_route_table_association.public
}

moved {
  from = aws_secretsmanager_secret.host_key
  to   = module.chat.aws_secretsmanager_secret.host_key
}

moved {
  from = aws_security_group.chat
  to   = module.chat.aws_security_group.chat
}

moved {
  from = aws_sns_topic.alarms
  to   = module.chat.aws_sns_topic.alarms
}

moved {
  from = aws_sns_topic_policy.alarms
  to   = module.chat.aws_sns_topic_policy.alarms
}

moved {
  from = aws_sns_topic_subscription.alarms
  to   = module.chat.aws_sns_topic_subscription.alarms
}

moved {
  from = aws_ssm_parameter.host_key
  to   = module.chat.aws_ssm_parameter.host_key
}

moved {
  from = aws_subnet.public
  to   = module.chat.aws_subnet.public
}

moved {
  from = aws_vpc.chat
  to   = module.chat.aws_vpc.chat
}

moved {
  from = aws_vpc_security_group_egress_rule.https
  to   = module.chat.aws_vpc_security_group_egress_rule.https
}

moved {
  from = aws_vpc_security_group_ingress_rule.chat
  to   = module.chat.aws_vpc_security_group_ingress_rule.chat
}
