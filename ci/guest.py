"""A machine in QEMU that resembles an EC2 instance. Without hardware virtualisation, so it's slow, but works
everywhere."""

import base64
import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
import uuid
from pathlib import Path

from machine import Failed, wait_for

FIRMWARE = Path("/usr/share/OVMF")
# Timeout for a command on the machine, in seconds.
PATIENCE = 180.0

# The chat is the machine's only entrance. This unit, passed at boot and not part of the disk, provides a
# shell on the second serial port.
SHELL = """[Unit]
DefaultDependencies=no
After=sysinit.target
[Service]
ExecStart=/bin/sh -c "echo A shell is here.; exec /bin/sh"
StandardInput=tty-force
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS1
Environment=HOME=/root TERM=dumb LC_ALL=C.UTF-8 SYSTEMD_COLORS=0 SYSTEMD_PAGER= PS1=
Restart=always
"""


class Guest:
    """A machine with a new disk based on an image. `settings` are unit drop-ins, passed to systemd through the
    firmware, so the disk isn't changed. Use it with `with`."""

    def __init__(self, folder, name, image, imds, settings):
        self.folder = folder / name
        self.folder.mkdir()
        self.name, self.imds = name, imds
        # cloud-init recognizes EC2 by a system UUID that starts with ec2.
        self.uuid = "ec2" + str(uuid.uuid4())[3:]
        self.disk, self.console = self.folder / "disk.qcow2", self.folder / "console.log"
        image = Path(image).resolve()
        format = "qcow2" if image.suffix == ".qcow2" else "raw"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", format, "-b", image, self.disk, "3G"], check=True)
        shutil.copy(FIRMWARE / "OVMF_VARS_4M.fd", self.folder / "vars.fd")
        self.credentials = {
            "systemd.extra-unit.shell.service": SHELL,
            "systemd.unit-dropin.multi-user.target": "[Unit]\nWants=shell.service\n",
            **{f"systemd.unit-dropin.{unit}": text for unit, text in settings.items()},
        }
        self.process, self.shell, self.greeted = None, None, False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def start(self):
        """Powers it on, with its own port for the chat. Returns at once."""
        self.port = free_port()
        here = self.folder / "shell.sock"
        here.unlink(missing_ok=True)
        strings = [
            f"value=io.systemd.credential.binary:{name}={base64.b64encode(text.encode()).decode()}"
            for name, text in self.credentials.items()
        ]
        network = ",".join([
            "user", "id=net", "ipv6=off", "net=169.254.0.0/16", "host=169.254.10.2", "dns=169.254.10.3", "dhcpstart=169.254.10.15",
            f"hostfwd=tcp:127.0.0.1:{self.port}-:22",
            f"guestfwd=tcp:169.254.169.254:80-cmd:socat - TCP:127.0.0.1:{self.imds.port}",
        ])
        command = [
            # It must not outlive this process.
            "setpriv", "--pdeathsig=KILL",
            "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-machine", "q35", "-cpu", "max", "-smp", "2", "-m", "1024",
            "-nodefaults", "-display", "none", "-no-reboot",
            "-drive", f"if=pflash,format=raw,readonly=on,file={FIRMWARE / 'OVMF_CODE_4M.fd'}",
            "-drive", f"if=pflash,format=raw,file={self.folder / 'vars.fd'}",
            "-drive", f"if=none,id=disk,format=qcow2,file={self.disk},cache=unsafe",
            "-device", "nvme,serial=vol0123456789abcdef0,drive=disk",
            "-netdev", network, "-device", "virtio-net-pci,netdev=net,romfile=,mac=52:54:00:12:34:56",
            "-device", "virtio-rng-pci",
            "-smbios", f"type=1,manufacturer=Amazon EC2,product=t3.micro,serial={self.uuid},uuid={self.uuid}",
            "-smbios", ",".join(["type=11", *strings]),
            "-serial", f"file:{self.console}", "-serial", f"unix:{here},server=on,wait=off",
        ]
        with open(self.folder / "qemu.log", "ab") as log:
            # A separate process group, so that its child processes end with it.
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        wait_for("QEMU", lambda: self.alive() and here.exists())
        self.shell = socket.socket(socket.AF_UNIX)
        self.shell.connect(str(here))
        self.greeted = False

    def alive(self):
        if self.process.poll() is not None:
            raise Failed(f"QEMU ended: {(self.folder / 'qemu.log').read_text(errors='replace')[-2000:]}\n{self.last_words()}")
        return True

    def last_words(self):
        """The end of its console output."""
        said = self.console.read_text(errors="replace") if self.console.exists() else ""
        return f"Last console output of {self.name}:\n{said[-3000:]}"

    def try_run(self, command, patience=PATIENCE):
        """Runs a shell command as root. Returns its status and its output, including errors."""
        self.alive()
        if not self.greeted:
            self.hear(re.compile("A shell is here."), patience, "the start")
            self.greeted = True
        mark = secrets.token_hex(8)
        # The mark is split in the command, because the terminal echoes it.
        line = f"stty -echo -onlcr; printf '%s\\n' '{mark[:8]}''{mark[8:]}'; {{ {command}\n}} 2>&1; printf '%s %s\\n' '{mark[:8]}''{mark[8:]}' $?\n"
        self.shell.sendall(line.encode())
        said = self.hear(re.compile(rf"{mark}\r?\n(.*?){mark} (\d+)\r?\n", re.S), patience, command)
        return int(said[2]), said[1]

    def run(self, command, patience=PATIENCE):
        """Runs a shell command as root, which must succeed. Returns its output."""
        status, said = self.try_run(command, patience)
        if status != 0:
            raise Failed(f"{self.name}: {command}: {status}\n{said}")
        return said

    def hear(self, pattern, patience, command):
        until, heard = time.monotonic() + patience, ""
        while True:
            self.shell.settimeout(max(0.1, until - time.monotonic()))
            try:
                part = self.shell.recv(65536)
            except TimeoutError:
                part = b""
            heard += part.decode(errors="replace")
            if found := pattern.search(heard):
                return found
            if not part:
                raise Failed(f"{self.name} didn't complete {command!r} within {patience:.0f} s:\n{heard[-2000:]}\n{self.last_words()}")

    def ends(self, order):
        """Runs `systemctl reboot` or `poweroff` and waits until the machine is off."""
        self.run("true")
        self.shell.sendall(f"systemctl {order}\n".encode())
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} didn't {order}.\n{self.last_words()}") from None
        self.kill()

    def kill(self):
        """Cuts the power."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.shell.close() if self.shell else None
        self.process = None


def free_port():
    """A port that was free a moment ago, because QEMU can't report which port it chose."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
