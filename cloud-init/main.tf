# Values in, user-data out. There is no provider and no resource here, so that whoever needs
# user-data can render it: terraform/ for EC2, `./render` for any other machine.

terraform {
  required_version = ">= 1.11"
}

locals {
  # Null leaves a setting to the server's own default. The file replaces the package's, so it has to
  # say what that says about the port: systemd opens it, this is what people are told.
  own = {
    listen                   = "[::]:22"
    access                   = var.access
    operator_keys            = [for key in var.operator_keys : trimspace(key)]
    approval                 = var.approval
    host_name                = var.host_name
    web_url                  = var.web_url
    "aws.region"             = var.region
    "aws.host_key_secret"    = var.host_key_secret
    "aws.host_key_parameter" = var.host_key_parameter
    "aws.table"              = var.table
    "aws.history"            = var.history
  }

  # Each setting and its value as TOML. What JSON writes for a string, a number, a boolean or a list
  # of strings is TOML too; the one exception is U+007F, which no variable lets in.
  values = merge(
    { for key, value in local.own : key => jsonencode(value) if value != null },
    { for key, value in var.settings : key => local.kinds[local.settings[key]].quoted ? jsonencode(value) : value },
  )
  sections = distinct([for key in keys(local.values) : split(".", key)[0] if strcontains(key, ".")])

  config = join("\n", concat(
    ["# Written by cloud-init when this machine first started. Changes here are lost with the machine."],
    [for key, value in local.values : "${key} = ${value}" if !strcontains(key, ".")],
    flatten([for section in local.sections : concat(
      ["", "[${section}]"],
      [for key, value in local.values : "${trimprefix(key, "${section}.")} = ${value}" if startswith(key, "${section}.")],
    )]),
    [""],
  ))

  # JSON is YAML, and nothing in a value can end a JSON string.
  user_data = "#cloud-config\n${jsonencode({
    write_files = [{
      path        = "/etc/ssh-chat/config.toml"
      owner       = "root:root"
      permissions = "0644"
      content     = local.config
    }]
  })}\n"

  # What length() counts is characters.
  bytes = length(base64encode(local.user_data)) / 4 * 3
}
