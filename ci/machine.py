"""Debian with a real systemd, in a systemd-nspawn container with its own network."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

DEADLINE = 60.0
# All of a container's namespaces, so that commands run as if on the machine.
INSIDE = ["-m", "-u", "-i", "-n", "-p", "-C"]


class Failed(Exception):
    """A command that failed, or an unexpected result."""


def wait_for(what, condition, deadline=DEADLINE):
    """Polls until the condition holds, and returns its value."""
    until = time.monotonic() + deadline
    while not (answer := condition()):
        if time.monotonic() > until:
            raise Failed(f"waited {deadline:.0f} s for {what}")
        time.sleep(0.05)
    return answer


class Machine:
    """A copy of a root file system that can be booted. Use it with `with`."""

    def __init__(self, template):
        self.root = Path(tempfile.mkdtemp(prefix="machine-", dir=Path(template).parent))
        subprocess.run(["cp", "-a", f"{template}/.", str(self.root)], check=True)
        self.nspawn = None
        self.leader = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.power_off()
        shutil.rmtree(self.root)

    def boot(self):
        """Boots it and waits until all units have started. Returns the time it took in seconds."""
        start = time.monotonic()
        command = ["systemd-nspawn", "--quiet", f"--directory={self.root}", "--boot", "--register=no",
                   "--private-network", "--console=pipe"]
        if not Path("/run/systemd/system").exists():
            # Without systemd on the host, there is no scope unit.
            command.append("--keep-unit")
        with open(self.root.parent / "console.log", "ab") as console:
            self.nspawn = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT)
        children = Path(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children")
        self.leader = int(wait_for("the first process", lambda: self.alive() and children.read_text().split())[0])
        wait_for("systemd", lambda: self.try_run("systemctl", "is-system-running", "--wait").returncode == 0)
        return time.monotonic() - start

    def alive(self):
        if self.nspawn.poll() is not None:
            console = (self.root.parent / "console.log").read_text(errors="replace")
            raise Failed(f"systemd-nspawn ended:\n{console[-2000:]}")
        return True

    def power_off(self):
        """Shuts it down, cleanly if possible."""
        if self.nspawn is None:
            return
        self.nspawn.send_signal(signal.SIGTERM)
        try:
            self.nspawn.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            # Killing its first process ends everything in it, including systemd-nspawn.
            os.kill(self.leader, signal.SIGKILL)
            self.nspawn.wait(DEADLINE)
        self.nspawn = None
        for hierarchy in Path("/sys/fs/cgroup").glob("**/payload"):
            remove_cgroup(hierarchy)
            remove_cgroup(hierarchy.with_name("supervisor"))

    def try_run(self, *command, **how):
        """Runs a command on it. May fail."""
        enter = ["nsenter", f"--target={self.leader}", *INSIDE, "--", "env", "-i",
                 "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"]
        return subprocess.run(
            [*enter, *command], text=True, stdin=how.pop("stdin", subprocess.DEVNULL),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=DEADLINE * 2, **how)

    def run(self, *command, **how):
        """Runs a command on it, which must succeed. Returns its output."""
        ended = self.try_run(*command, **how)
        if ended.returncode != 0:
            raise Failed(f"{' '.join(command)}: {ended.returncode}\n{ended.stdout}")
        return ended.stdout

    def in_its_network(self, *command):
        """A command that runs a program on the host in the machine's network."""
        return ["nsenter", f"--target={self.leader}", "-n", "--", *map(str, command)]

    def show(self, unit, name):
        """A property of a unit."""
        return self.run("systemctl", "show", f"--property={name}", "--value", unit).strip()

    def path(self, inside):
        """The path on the host of a file on the machine."""
        return self.root / inside.lstrip("/")


def remove_cgroup(folder):
    """Removes the cgroups that systemd-nspawn leaves behind on a host without systemd."""
    for path, _, _ in os.walk(folder, topdown=False):
        try:
            os.rmdir(path)
        except OSError:
            pass
