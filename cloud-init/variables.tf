variable "region" {
  type        = string
  description = "The region of AWS with the secret, the parameter and the table; null leaves it to the machine."
  default     = null
}

variable "host_key_secret" {
  type        = string
  description = "The secret that holds the host key, by name or ARN: a pointer, never its value."
  default     = null

  validation {
    condition     = var.host_key_secret == null ? true : can(regex("^[A-Za-z0-9/_+=.@:-]+$", var.host_key_secret))
    error_message = "host_key_secret is the name or ARN of a secret, such as ssh-chat/host-key, and never the key itself: user-data can be read by everything on the machine."
  }
}

variable "host_key_parameter" {
  type        = string
  description = "The SSM parameter in which the machine publishes the public half of the host key."
  default     = null

  validation {
    condition     = var.host_key_parameter == null ? true : can(regex("^[A-Za-z0-9/_.:-]+$", var.host_key_parameter))
    error_message = "host_key_parameter is the name of a parameter, such as /ssh-chat/host-key."
  }
}

variable "table" {
  type        = string
  description = "The DynamoDB table with everything that outlives the machine; null keeps it in a file on the machine."
  default     = null

  validation {
    condition     = var.table == null ? true : can(regex("^[A-Za-z0-9_.-]{3,255}$", var.table))
    error_message = "table is the name of a DynamoDB table: 3 to 255 letters, digits and any of _ . -"
  }
}

variable "history" {
  type        = string
  description = "How long messages are kept, such as 90d, or forever; null is the server's own default."
  default     = null

  validation {
    condition     = var.history == null ? true : can(regex("^([1-9][0-9]{0,2}d|1000d|forever)$", var.history))
    error_message = "history is how long messages are kept: a number of days, such as 90d, up to 1000d, or forever."
  }
}

variable "access" {
  type        = string
  description = "Who may come in: allowlist is those whose keys are known, open is anybody who reaches the port."
  default     = "allowlist"
  nullable    = false

  validation {
    condition     = contains(["allowlist", "open"], var.access)
    error_message = "access is either allowlist (those whose keys are known) or open (anybody who reaches the port)."
  }
}

variable "operator_keys" {
  type        = list(string)
  description = "Those who keep order, and with allowlist the first who can come in: public key lines as in a .pub file, or SHA256:… fingerprints."
  default     = []
  nullable    = false

  validation {
    condition     = var.access == "open" || length(var.operator_keys) > 0
    error_message = "operator_keys is empty and access is allowlist, so nobody could ever come in. Put your own public key there: the line that `cat ~/.ssh/id_ed25519.pub` shows."
  }

  validation {
    condition     = alltrue([for key in var.operator_keys : !strcontains(key, "PRIVATE KEY")])
    error_message = "operator_keys has a PRIVATE key in it. Put the line from the .pub file there, and replace that key pair: it has been in a place that is not secret."
  }

  validation {
    condition = alltrue([for key in var.operator_keys : can(regex(local.key_line, trimspace(key)))])
    error_message = "Each of operator_keys is one line as in a .pub file (ssh-ed25519 AAAA… name) or a fingerprint (SHA256:…), without options before it and without a comma. What is wrong is number ${join(", ", [
      for i, key in var.operator_keys : i + 1 if !can(regex(local.key_line, trimspace(key)))
    ])}."
  }

  validation {
    # A key of 3072 bits is 540 characters or more in base64, one of 2048 about 370.
    condition     = alltrue([for key in var.operator_keys : !startswith(trimspace(key), "ssh-rsa ") || length(key) >= 540])
    error_message = "An RSA key in operator_keys has less than 3072 bits, and the server refuses those. Make a new one with `ssh-keygen -t ed25519`."
  }

  validation {
    condition     = length(var.operator_keys) <= 100
    error_message = "operator_keys may have at most 100 keys. Operators can make others operators in the chat: /op."
  }
}

variable "approval" {
  type        = bool
  description = "With allowlist: whether a key that is not known may ask to come in, and wait for an operator."
  default     = false
  nullable    = false
}

variable "host_name" {
  type        = string
  description = "What people type after ssh: a name or an address, without a port."
  default     = null

  validation {
    condition = var.host_name == null ? true : length(var.host_name) <= 253 && can(regex(
      "^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)(\\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*$", var.host_name,
    ))
    error_message = "host_name is a name such as chat.example.com, without a port, a user or https://."
  }
}

variable "web_url" {
  type        = string
  description = "The page where people redeem invites, shown to those who are not let in."
  default     = null

  validation {
    condition     = var.web_url == null ? true : can(regex("^https?://[A-Za-z0-9_.-]+(:[0-9]{1,5})?([/?][!$-&(-;=?-\\[\\]_a-z~]*)?$", var.web_url)) && length(var.web_url) <= 200
    error_message = "web_url is the address of a page, such as https://chat.example.com/join, without # and of at most 200 characters."
  }
}

variable "settings" {
  type        = map(string)
  description = "Other settings by their names in docs/configuration.md, such as { motd = \"Welcome.\", \"limits.rooms\" = 50 }."
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key, value in var.settings : contains(keys(local.settings), key)])
    error_message = "settings can't have ${join(", ", setsubtract(keys(var.settings), keys(local.settings)))}. It can have ${join(", ", keys(local.settings))}. Others have a variable of their own, or the image decides them."
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
}
