# Renders user-data from values. It has no provider and no resources, so it works for any machine:
# terraform/ uses it for EC2, and `./render` for everything else.

terraform {
  required_version = ">= 1.11"
}

locals {
  # Null means the server's default. The file replaces the package's configuration, so it must repeat its
  # `listen`: systemd opens the port, and the server uses this value in the `ssh` command it shows.
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

  # Each setting with its value as TOML. JSON strings, numbers, booleans and lists of strings are valid
  # TOML, except for U+007F, which the variables reject.
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

  # JSON is valid YAML, and no value can end a JSON string early.
  user_data = "#cloud-config\n${jsonencode({
    write_files = [{
      path        = "/etc/ssh-chat/config.toml"
      owner       = "root:root"
      permissions = "0644"
      content     = local.config
    }]
  })}\n"

  # length() counts characters, not bytes.
  bytes = length(base64encode(local.user_data)) / 4 * 3
}
