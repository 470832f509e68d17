output "address" {
  description = "The address that people connect to; it stays the same when the machine is replaced."
  value       = aws_eip.chat.public_ip
}

output "ssh" {
  description = "What people type."
  value       = "ssh ${local.host_name}"
}

output "host_key" {
  description = "Shows the fingerprint of the host key, to compare with what ssh asks on the first connection."
  value       = "aws ssm get-parameter --region ${var.region} --name ${aws_ssm_parameter.host_key.name} --query Parameter.Value --output text"
}

output "known_hosts" {
  description = "Pins the host key, so that ssh has nothing to ask."
  value       = "aws ssm get-parameter --region ${var.region} --name ${aws_ssm_parameter.host_key.name} --query Parameter.Value --output text | awk '/^SHA256:/ { print \"${local.host_name}\", $2, $3 }' >> ~/.ssh/known_hosts"
}

output "web_url" {
  description = "The page where people redeem invites, if there is one."
  value       = local.web_url
}

output "shell" {
  description = "A shell on the machine, through Session Manager; there is no sshd."
  value       = "aws ssm start-session --region ${var.region} --target ${aws_instance.chat.id}"
}

output "logs" {
  description = "The machine's console, for when it does not come up."
  value       = "aws ec2 get-console-output --region ${var.region} --instance-id ${aws_instance.chat.id} --latest --output text"
}

output "dashboard" {
  description = "All that is counted, on one page, if there are alarms."
  value       = one([for board in aws_cloudwatch_dashboard.chat : "https://${var.region}.console.aws.amazon.com/cloudwatch/home?region=${var.region}#dashboards/dashboard/${board.dashboard_name}"])
}
