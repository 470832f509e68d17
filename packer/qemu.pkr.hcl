source "qemu" "debian" {
  iso_url          = var.base_disk
  iso_checksum     = var.base_disk_checksum
  disk_image       = true
  skip_resize_disk = true
  format           = "qcow2"
  output_directory = var.output
  vm_name          = "ssh-chat-${var.version}-${var.architecture}.qcow2"

  qemu_binary      = var.architecture == "arm64" ? "qemu-system-aarch64" : "qemu-system-x86_64"
  machine_type     = var.architecture == "arm64" ? "virt" : "q35"
  accelerator      = var.accelerator
  cpus             = 2
  memory           = 1024
  headless         = true
  vnc_bind_address = "127.0.0.1"
  qemuargs = [
    ["-bios", var.firmware],
    ["-cpu", "max"],
    ["-device", "virtio-net,netdev=user.0"],
    ["-device", "virtio-rng-pci"],
    ["-drive", "if=virtio,format=qcow2,cache=unsafe,discard=unmap,file=${var.output}/ssh-chat-${var.version}-${var.architecture}.qcow2"],
    ["-drive", "if=virtio,format=raw,readonly=on,file=${var.seed}"],
  ]

  ssh_username         = "root"
  ssh_private_key_file = var.ssh_key
  ssh_timeout          = "10m"
  shutdown_command     = "systemctl poweroff"
}
