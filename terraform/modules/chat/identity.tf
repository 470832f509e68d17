# What this state's chat is called and where it is, as of the first apply. Another name, region or
# account would be another chat: Terraform would destroy the existing one or lose track of it, so the
# plan is refused.

resource "terraform_data" "identity" {
  input = {
    name    = var.name
    region  = local.region
    account = data.aws_caller_identity.here.account_id
  }

  lifecycle {
    ignore_changes = [input]

    postcondition {
      condition     = self.output.name == var.name
      error_message = "This state belongs to the chat ${self.output.name}, and name = \"${var.name}\" would destroy it. To keep it, set name = \"${self.output.name}\". For another chat beside it, give that a workspace of its own: `terraform workspace new ${var.name}`, then `terraform apply -var name=${var.name}`."
    }

    postcondition {
      condition     = self.output.region == local.region
      error_message = "This state belongs to a chat in ${self.output.region}, and region = \"${local.region}\" would lose track of it while it runs and costs money. To keep it, set region = \"${self.output.region}\". For another chat in ${local.region}, give that a workspace of its own: `terraform workspace new ${local.region}`, then apply. To move this chat there, create the other one and import an export of this one (docs/archive.md)."
    }

    postcondition {
      condition     = self.output.account == data.aws_caller_identity.here.account_id
      error_message = "This state belongs to a chat in the account ${self.output.account}, but your credentials are for ${data.aws_caller_identity.here.account_id}. Use credentials for ${self.output.account} (AWS_PROFILE), or create another chat in a workspace of its own: `terraform workspace new ${data.aws_caller_identity.here.account_id}`."
    }
  }
}
