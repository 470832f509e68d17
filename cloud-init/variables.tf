variable "region" {
  type        = string
  description = "AWS region of the secret, the parameter and the table. If null, the machine finds its own."
  default     = null
}

variable "host_key_secret" {
  type        = string
  description = "Name or ARN of the secret with the host key, never the key itself."
  default     = null

  validation {
    condition     = var.host_key_secret == null ? true : can(regex("^[A-Za-z0-9/_+=.@:-]+$", var.host_key_secret))
    error_message = "host_key_secret must be the name or ARN of a secret, such as ssh-chat/host-key, never the key itself: every process on the machine can read user-data."
  }
}

variable "host_key_parameter" {
  type        = string
  description = "SSM parameter where the machine publishes the public half of the host key."
  default     = null

  validation {
    condition     = var.host_key_parameter == null ? true : can(regex("^[A-Za-z0-9/_.:-]+$", var.host_key_parameter))
    error_message = "host_key_parameter must be the name of a parameter, such as /ssh-chat/host-key."
  }
}

variable "table" {
  type        = string
  description = "DynamoDB table with all persistent data. If null, data is in a file on the machine."
  default     = null

  validation {
    condition     = var.table == null ? true : can(regex("^[A-Za-z0-9_.-]{3,255}$", var.table))
    error_message = "table must be the name of a DynamoDB table: 3 to 255 letters, digits, underscores, dots and hyphens."
  }
}

variable "history" {
  type        = string
  description = "How long messages are kept, such as 90d, or forever. If null, the server's default."
  default     = null

  validation {
    condition     = var.history == null ? true : can(regex("^([1-9][0-9]{0,2}d|1000d|forever)$", var.history))
    error_message = "history must be a number of days, such as 90d, at most 1000d, or forever."
  }
}

variable "access" {
  type        = string
  description = "Who can log in: allowlist admits registered keys only, open anyone who can reach the port."
  default     = "allowlist"
  nullable    = false

  validation {
    condition     = contains(["allowlist", "open"], var.access)
    error_message = "access must be allowlist (registered keys only) or open (anyone who can reach the port)."
  }
}

variable "operator_keys" {
  type        = list(string)
  description = "Keys of the operators: public key lines as in a .pub file, or SHA256:… fingerprints. allowlist requires at least one."
  default     = []
  nullable    = false

  validation {
    condition     = var.access == "open" || length(var.operator_keys) > 0
    error_message = "operator_keys is empty and access is allowlist, so no one could ever log in. Add your own public key: the line that `cat ~/.ssh/id_ed25519.pub` prints."
  }

  validation {
    condition     = alltrue([for key in var.operator_keys : !strcontains(key, "PRIVATE KEY")])
    error_message = "operator_keys contains a PRIVATE key. Use the line from the .pub file instead, and replace that key pair: it has been exposed."
  }

  validation {
    condition = alltrue([for key in var.operator_keys : can(regex(local.key_line, trimspace(key)))])
    error_message = "Each entry in operator_keys must be one line as in a .pub file (ssh-ed25519 AAAA… name) or a fingerprint (SHA256:…), without options and without commas. Invalid: number ${join(", ", [
      for i, key in var.operator_keys : i + 1 if !can(regex(local.key_line, trimspace(key)))
    ])}."
  }

  validation {
    # A 3072-bit key has 540 characters or more in base64, a 2048-bit key about 370.
    condition     = alltrue([for key in var.operator_keys : !startswith(trimspace(key), "ssh-rsa ") || length(key) >= 540])
    error_message = "An RSA key in operator_keys has fewer than 3072 bits, which the server refuses. Create a new key with `ssh-keygen -t ed25519`."
  }

  validation {
    condition     = length(var.operator_keys) <= 100
    error_message = "operator_keys can have at most 100 keys. Operators can promote others in the chat with /op."
  }
}

variable "approval" {
  type        = bool
  description = "With allowlist: let an unknown key request access and wait for an operator's approval."
  default     = false
  nullable    = false
}

variable "host_name" {
  type        = string
  description = "Host name or address that people type after ssh, without a port."
  default     = null

  validation {
    condition = var.host_name == null ? true : length(var.host_name) <= 253 && can(regex(
      "^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)(\\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*$", var.host_name,
    ))
    error_message = "host_name must be a name such as chat.example.com, without a port, a user or https://."
  }
}

variable "web_url" {
  type        = string
  description = "Address of the page where people redeem invites, shown to users who are refused."
  default     = null

  validation {
    condition     = var.web_url == null ? true : can(regex("^https?://[A-Za-z0-9_.-]+(:[0-9]{1,5})?([/?][!$-&(-;=?-\\[\\]_a-z~]*)?$", var.web_url)) && length(var.web_url) <= 200
    error_message = "web_url must be the address of a page, such as https://chat.example.com/join, without # and at most 200 characters long."
  }
}

variable "settings" {
  type        = map(string)
  description = "Other settings, by their names in docs/configuration.md, such as { motd = \"Welcome.\", \"limits.rooms\" = 50 }."
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key, value in var.settings : contains(keys(local.settings), key)])
    error_message = "settings can't include ${join(", ", setsubtract(keys(var.settings), keys(local.settings)))}. Allowed: ${join(", ", keys(local.settings))}. Other settings have their own variable, or are fixed by the image."
  }

  validation {
    condition = alltrue([
      for key, value in var.settings :
      length(value) <= 4096 && can(regex(local.kinds[lookup(local.settings, key, "words")].pattern, value))
    ])
    error_message = "settings: ${join("; ", [
      for key, value in var.settings : "${key} must be ${local.kinds[lookup(local.settings, key, "words")].right}"
      if length(value) > 4096 || !can(regex(local.kinds[lookup(local.settings, key, "words")].pattern, value))
    ])}."
  }

  validation {
    # What isn't a number, a duration or a size has no bounds, or was refused above.
    condition = alltrue([
      for key, value in var.settings : alltrue([
        for amount in [sum([for part in regexall("([0-9]+)([A-Za-z]*)", value) : part[0] * local.units[part[1]]])] :
        amount >= local.bounds[key][0] && amount <= local.bounds[key][1]
      ]) if contains(keys(local.bounds), key) && can(regex(local.kinds[local.settings[key]].pattern, value))
    ])
    error_message = "settings: ${join("; ", flatten([
      for key, value in var.settings : [
        for amount in [sum([for part in regexall("([0-9]+)([A-Za-z]*)", value) : part[0] * local.units[part[1]]])] :
        "${key} must be from ${local.bounds[key][0]}${local.of_bounds[key]} to ${local.bounds[key][1]}${local.of_bounds[key]}, not ${value}"
        if amount < local.bounds[key][0] || amount > local.bounds[key][1]
      ] if contains(keys(local.bounds), key) && can(regex(local.kinds[local.settings[key]].pattern, value))
    ]))}."
  }

  validation {
    condition     = !contains(keys(var.settings), "history.max_size") || var.table == null
    error_message = "settings: history.max_size limits the database in a data folder, but this machine uses a table. Set history instead."
  }
}
