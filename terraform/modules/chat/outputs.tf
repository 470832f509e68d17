output "address" {
  description = "Address that people connect to. It stays the same when the machine is replaced."
  value       = aws_eip.chat.public_ip
}

output "ssh" {
  description = "Command that people type to join."
  value       = "ssh ${local.host_name}"
}

output "host_key" {
  description = "Command that prints the host key's fingerprint, to compare with the one that ssh shows on the first connection."
  value       = "aws ssm get-parameter --region ${local.region} --name ${aws_ssm_parameter.host_key.name} --query Parameter.Value --output text"
}

output "known_hosts" {
  description = "Command that pins the host key in known_hosts, so that ssh doesn't ask."
  value       = "aws ssm get-parameter --region ${local.region} --name ${aws_ssm_parameter.host_key.name} --query Parameter.Value --output text | awk '/^SHA256:/ { print \"${local.host_name}\", $2, $3 }' >> ~/.ssh/known_hosts"
}

output "web_url" {
  description = "Address of the page where people redeem invites, if there is one."
  value       = local.web_url
}

output "shell" {
  description = "Command that opens a shell on the machine through Session Manager; there is no sshd."
  value       = "aws ssm start-session --region ${local.region} --target ${aws_instance.chat.id}"
}

output "logs" {
  description = "Command that prints the machine's console, with its warnings and errors, for when no one can log in."
  value       = "aws ec2 get-console-output --region ${local.region} --instance-id ${aws_instance.chat.id} --latest --output text"
}

output "dashboard" {
  description = "Address of the CloudWatch dashboard, if there are alarms."
  value       = one([for board in aws_cloudwatch_dashboard.chat : "https://${local.region}.console.aws.amazon.com/cloudwatch/home?region=${local.region}#dashboards/dashboard/${board.dashboard_name}"])
}

output "host_key_parameter" {
  description = "Name of the SSM parameter with the host key's fingerprint and public half, which the machine writes on its first start."
  value       = aws_ssm_parameter.host_key.name
}

output "web_api_id" {
  description = "Id of the key page's API, for a domain of your own."
  value       = one(aws_apigatewayv2_api.web[*].id)
}
