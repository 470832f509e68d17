build {
  sources = ["source.amazon-ebs.debian", "source.qemu.debian"]

  provisioner "shell" {
    inline = ["mkdir -p /tmp/ssh-chat-image"]
  }

  provisioner "file" {
    sources     = concat([var.package, "${path.root}/image/cloud.cfg", "${path.root}/image/journald.conf", "${path.root}/image/resolved.conf"], var.other_packages)
    destination = "/tmp/ssh-chat-image/"
  }

  # The check runs last and fails the build if it finds a problem.
  provisioner "shell" {
    scripts = [
      "${path.root}/image/install",
      "${path.root}/image/clean",
      "${path.root}/image/check",
    ]
    environment_vars = [
      "VERSION=${var.version}",
      "UPGRADE=${var.upgrade ? "yes" : "no"}",
    ]
  }

  # Terraform accepts artifact_id as ami_id.
  post-processor "manifest" {
    output     = var.manifest
    strip_path = true
    custom_data = {
      version      = var.version
      architecture = var.architecture
    }
  }
}
