"""A Debian under a real systemd, in a container of systemd-nspawn with a network of its own."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

DEADLINE = 60.0
# All of a container's namespaces: what runs in them runs on the machine.
INSIDE = ["-m", "-u", "-i", "-n", "-p", "-C"]


class Failed(Exception):
    """A command that did not end as it should."""


def wait_for(what, condition, deadline=DEADLINE):
    """Asks until there is an answer, which it returns."""
    until = time.monotonic() + deadline
    while not (answer := condition()):
        if time.monotonic() > until:
            raise Failed(f"waited {deadline:.0f} s for {what}")
        time.sleep(0.05)
    return answer


class Machine:
    """A copy of a root file system, and what boots from it. Use it with `with`."""

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
        """Starts it and waits until all of its units are started. Returns how long that took."""
        start = time.monotonic()
        command = ["systemd-nspawn", "--quiet", f"--directory={self.root}", "--boot", "--register=no",
                   "--private-network", "--console=pipe"]
        if not Path("/run/systemd/system").exists():
            # There is no systemd here that could make a unit for it.
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
        """Shuts it down, in good order if it can."""
        if self.nspawn is None:
            return
        self.nspawn.send_signal(signal.SIGTERM)
        try:
            self.nspawn.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            # With its first process everything in it ends, and so does systemd-nspawn.
            os.kill(self.leader, signal.SIGKILL)
            self.nspawn.wait(DEADLINE)
        self.nspawn = None
        for hierarchy in Path("/sys/fs/cgroup").glob("**/payload"):
            remove_cgroup(hierarchy)
            remove_cgroup(hierarchy.with_name("supervisor"))

    def try_run(self, *command, **how):
        """Runs a command on it, to whatever end."""
        enter = ["nsenter", f"--target={self.leader}", *INSIDE, "--", "env", "-i",
                 "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"]
        return subprocess.run(
            [*enter, *command], text=True, stdin=how.pop("stdin", subprocess.DEVNULL),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=DEADLINE * 2, **how)

    def run(self, *command, **how):
        """Runs a command on it, which must succeed. Returns what it says."""
        ended = self.try_run(*command, **how)
        if ended.returncode != 0:
            raise Failed(f"{' '.join(command)}: {ended.returncode}\n{ended.stdout}")
        return ended.stdout

    def in_its_network(self, *command):
        """A command for a program of ours that is to see its network only."""
        return ["nsenter", f"--target={self.leader}", "-n", "--", *map(str, command)]

    def show(self, unit, name):
        """One property of a unit."""
        return self.run("systemctl", "show", f"--property={name}", "--value", unit).strip()

    def path(self, inside):
        """Where a file of it is for us."""
        return self.root / inside.lstrip("/")


def remove_cgroup(folder):
    """systemd-nspawn leaves them behind where systemd does not run it."""
    for path, _, _ in os.walk(folder, topdown=False):
        try:
            os.rmdir(path)
        except OSError:
            pass
