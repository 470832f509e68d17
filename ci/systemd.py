"""Installs the package on Debian with a real systemd and uses it as users and operators do: logs in,
reloads, kills it, hangs it, restarts and upgrades it under load, removes and purges it."""

import contextlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from crowd import crowd
from machine import Failed, Machine, wait_for

UNITS = Path(__file__).resolve().parent.parent / "systemd"
SERVICE, SOCKET = "ssh-chat.service", "ssh-chat.socket"
CONFIG, DATA = "/etc/ssh-chat/config.toml", "/var/lib/ssh-chat"
README = (UNITS / "README.md").read_text()
WORDS = "a sentence that no log may contain"


def check(condition, *about):
    if not condition:
        raise Failed("\n".join(map(str, about)))


def step(words):
    print(f"  {time.monotonic() - BEGIN:5.1f} s  {words}", flush=True)


BEGIN = time.monotonic()


class Chat:
    """A machine with the package, and an operator on another machine."""

    def __init__(self, machine, desk):
        self.machine = machine
        self.desk = desk
        key = desk / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "operator", "-f", key], check=True)
        self.public_key = key.with_suffix(".pub").read_text().strip()

    def ssh(self, *words, port=22, host="127.0.0.1", input=None):
        """Runs `ssh`. The host key must never change."""
        options = ["IdentitiesOnly=yes", "StrictHostKeyChecking=accept-new", "ConnectTimeout=20",
                   "HostKeyAlias=chat", f"UserKnownHostsFile={self.desk / 'known_hosts'}"]
        options = [part for option in options for part in ("-o", option)]
        command = ["ssh", "-F", "none", "-T", "-p", port, "-i", self.desk / "key", *options, f"alice@{host}", *words]
        return subprocess.run(
            self.machine.in_its_network(*command), input=input or "", text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)

    def talks(self, **where):
        """Logs in and checks that the user is an operator."""
        ended = self.ssh("whoami", "--json", **where)
        check(ended.returncode == 0, ended)
        check(json.loads(ended.stdout)["role"] == "operator", ended)

    def install(self, deb):
        shutil.copy(deb, self.machine.path("/root/package.deb"))
        return self.machine.run("apt-get", "install", "-y", "--no-install-recommends", "/root/package.deb")

    def configure(self, pattern, line):
        """Replaces a line of the configuration."""
        path = self.machine.path(CONFIG)
        text, changed = re.subn(pattern, line, path.read_text(), count=1, flags=re.M)
        check(changed == 1, f"no {pattern} in {CONFIG}")
        path.write_text(text)

    def unit_settings(self, unit, text):
        """Does what `systemctl edit` does."""
        folder = self.machine.path(f"/etc/systemd/system/{unit}.d")
        folder.mkdir(exist_ok=True)
        (folder / "override.conf").write_text(text)
        self.machine.run("systemctl", "daemon-reload")

    def as_service(self, command):
        """Runs a command as the service's user, as an operator does with sudo."""
        return self.machine.run("su", "-s", "/bin/sh", "ssh-chat", "-c", command)

    def pid(self):
        return int(self.machine.show(SERVICE, "MainPID"))

    def comes_back(self, before):
        """Waits for a new process that accepts connections."""
        def ready():
            return self.machine.show(SERVICE, "ActiveState") == "active" and self.pid() not in (0, before)
        wait_for("the service to come back", ready)

    def journal(self):
        """The service's log entries."""
        lines = self.machine.run("journalctl", "-u", "ssh-chat", "-o", "json").splitlines()
        entries = [json.loads(line) for line in lines]
        return [entry for entry in entries if entry.get("_COMM") == "ssh-chat"]

    def paths(self):
        """All files of the package on the machine, except for the package manager's own."""
        found = self.machine.run("find", "/", "-xdev", "-name", "*ssh[-_]chat*").splitlines()
        elsewhere = re.compile(r"/(run|tmp|var/log|var/cache|var/lib/dpkg|var/lib/apt|root)/")
        return [path for path in found if not elsewhere.match(path)]


def beside_sshd(chat, deb):
    """Port 22 is in use: the package leaves it alone, and its instructions for another port work."""
    machine = chat.machine
    machine.run("systemd-run", "--quiet", "--unit=sshd-here", "--socket-property=ListenStream=22", "cat")
    said = chat.install(deb)
    check("was not started: port 22 is taken" in said, said)
    for unit in (SERVICE, SOCKET):
        check(machine.try_run("systemctl", "is-enabled", unit).stdout.strip() == "disabled", unit)
        check(machine.show(unit, "ActiveState") == "inactive", unit)
    check("Give it another port" in said, said)
    chat.unit_settings(SOCKET, "[Socket]\nListenStream=\nListenStream=2222\n")
    chat.configure(r"^listen = .*", 'listen = "[::]:2222"')
    machine.run("systemctl", "enable", "--now", SOCKET, SERVICE)
    refused = chat.ssh("whoami", port=2222)
    check("This chat only admits registered keys." in refused.stderr, refused)
    check("systemd listens on [::]:2222 for the server" in machine.try_run(
        "su", "-s", "/bin/sh", "ssh-chat", "-c", "ssh-chat doctor").stdout)
    # The next installation has a new host key.
    (chat.desk / "known_hosts").unlink()
    purge(chat)
    machine.run("systemctl", "stop", "sshd-here.socket")
    shutil.rmtree(machine.path(f"/etc/systemd/system/{SOCKET}.d"))
    machine.run("systemctl", "daemon-reload")


def install(chat, deb):
    machine = chat.machine
    chat.install(deb)
    for unit in (SERVICE, SOCKET):
        check(machine.run("systemctl", "is-active", unit).strip() == "active")
        check(machine.run("systemctl", "is-enabled", unit).strip() == "enabled")
    machine.run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", SERVICE, SOCKET)
    machine.run("systemd-analyze", "security", "--no-pager", "--threshold=12", SERVICE)
    check(machine.show(SERVICE, "StatusText") == "listening on [::]:22")
    check(machine.run("id", "-u", "ssh-chat").strip() == "622")
    check(machine.run("stat", "-c", "%a %U", "/var/lib/ssh-chat").split() == ["700", "ssh-chat"])
    status = Path(f"/proc/{leader_of(machine, chat.pid())}/status").read_text()
    wanted = {"CapPrm": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1", "Seccomp": "2"}
    for name, value in wanted.items():
        check(re.search(rf"^{name}:\s+{value}$", status, re.M), status)


def leader_of(machine, pid):
    """The process id on the host of a process on the machine."""
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            numbers = re.search(r"^NSpid:\s+(\d+)\s+(\d+)$", status.read_text(), re.M)
            if numbers and int(numbers[2]) == pid and same_machine(machine, status.parent):
                return int(numbers[1])
    raise Failed(f"no process {pid}")


def same_machine(machine, process):
    def namespace(folder):
        return (folder / "ns" / "pid").readlink()
    return namespace(process) == namespace(Path(f"/proc/{machine.leader}"))


def log_in(chat):
    machine = chat.machine
    check("no one can join" in machine.try_run(
        "su", "-s", "/bin/sh", "ssh-chat", "-c", "ssh-chat doctor").stdout)
    check("only admits registered keys" in chat.ssh("whoami").stderr)
    chat.configure(r"^#operator_keys = .*", f'operator_keys = ["{chat.public_key}"]')
    machine.run("systemctl", "reload", SERVICE)
    wait_for("the reload", lambda: "configuration reloaded" in machine.show(SERVICE, "StatusText"))
    chat.talks()
    chat.talks(host="::1")
    sent = chat.ssh("send", "lobby", input=WORDS)
    check(sent.returncode == 0, sent)
    said = chat.as_service("ssh-chat doctor")
    check(not re.search(r"^(warn|fail)", said, re.M), said)
    check("valid" in chat.as_service("ssh-chat check-config"))
    # For root and other users, commands refer to another data folder, which doesn't exist.
    public = chat.public_key.replace('"', "")
    for user, home in (("root", "/root"), ("nobody", "/tmp")):
        for command in ("keys list", "export", "audit", "invite create", f'keys add --account eve <<<"{public}"'):
            ended = machine.try_run("su", "-s", "/bin/bash", user, "-c", f"HOME={home} ssh-chat {command}")
            said = ended.stdout
            check(ended.returncode == 1 and f"no database {home}/" in said and "sudo -u ssh-chat" in said, said)
            check(not machine.path(f"{home}/.local/state/ssh-chat").exists(), said)
    ended = machine.try_run("su", "-s", "/bin/sh", "nobody", "-c", "ssh-chat --data-dir /var/lib/ssh-chat keys list")
    check(ended.returncode == 1 and "Permission denied" in ended.stdout and "sudo -u ssh-chat" in ended.stdout, ended)
    said = machine.run("env", "HOME=/root", "ssh-chat", "invite", "create", "--create")
    check("note: using /root/" in said and "sudo -u ssh-chat" in said, said)
    check("created a new store: /root/" in said, said)
    machine.run("rm", "-r", "/root/.local/state/ssh-chat")


def read_journal(chat):
    invite = json.loads(chat.as_service("ssh-chat invite create --json").splitlines()[0])
    entries = chat.journal()
    found = {entry.get("EVENT"): entry for entry in entries}
    listening = found["listening"]
    check(listening["ADDRESS"] == "[::]:22" and listening["PRIORITY"] == "6", listening)
    check(listening["MESSAGE"].startswith("listening: accepting connections address=[::]:22 fingerprint=SHA256:"), listening)
    check("reloaded" in found, sorted(found))
    for entry in entries:
        # Nothing meant for a terminal.
        check(entry["_TRANSPORT"] == "journal" and "EVENT" in entry, entry)
    everything = chat.machine.run("journalctl", "-o", "export")
    for secret in (WORDS, "PRIVATE KEY", invite["code"]):
        check(secret not in everything, f"the journal contains {secret!r}")


def stop_the_journal(chat):
    """A hung journald delays no one, and receives new lines once it resumes."""
    run, journald = chat.machine.run, "systemd-journald.service"
    # From many addresses, since each has only so many lines.
    flood = ("import socket\nfor i in range(6000):\n"
             " source = (f'127.1.{i % 250}.1', 0)\n"
             " socket.create_connection(('127.0.0.1', 22), source_address=source).close()")
    chat.configure(r"^.*level = .*$", 'level = "debug"')
    run("systemctl", "reload", SERVICE)
    run("systemctl", "kill", "--signal=STOP", journald)
    try:
        # More lines than fit the queue and the socket.
        subprocess.run(chat.machine.in_its_network("python3", "-c", flood), check=True, timeout=60)
        for _ in range(5):
            chat.talks()
    finally:
        run("systemctl", "kill", "--signal=CONT", journald)

    def reloads():
        return len([entry for entry in chat.journal() if entry.get("EVENT") == "reloaded"])
    before = reloads()
    chat.configure(r"^level = .*$", '#level = "info"')
    run("systemctl", "reload", SERVICE)
    wait_for("the journal to resume", lambda: reloads() > before)


def kill(chat):
    before = chat.pid()
    chat.machine.run("systemctl", "kill", "--signal=KILL", SERVICE)
    chat.comes_back(before)
    chat.talks()


def hang(chat):
    """A hung process is replaced. The watchdog takes five seconds instead of thirty, to save time."""
    chat.unit_settings(SERVICE, "[Service]\nWatchdogSec=5s\n")
    chat.machine.run("systemctl", "restart", SERVICE)
    before = chat.pid()
    # A healthy process keeps notifying systemd.
    heard = set()

    def fed():
        heard.add(chat.machine.show(SERVICE, "WatchdogTimestampMonotonic"))
        return len(heard) > 4
    wait_for("the watchdog to be fed", fed)
    check(chat.pid() == before, "the watchdog killed a healthy server")
    chat.machine.run("systemctl", "kill", "--signal=STOP", SERVICE)
    chat.comes_back(before)
    check("Failed with result 'watchdog'" in chat.machine.run("journalctl", "-u", "ssh-chat"))
    chat.talks()
    shutil.rmtree(chat.machine.path(f"/etc/systemd/system/{SERVICE}.d"))
    chat.machine.run("systemctl", "daemon-reload")


@contextlib.contextmanager
def load(chat):
    """Clients connect continuously, and each must get an answer."""
    with crowd(chat.machine) as result:
        yield
    step(f"      {result['answered']} connections answered, the slowest after {result['slowest']:.2f} s")


def fill_the_disk(chat):
    """Messages that can't be saved are refused with a reason, sessions stay, and free space is enough to recover."""
    machine = chat.machine
    # A separate small file system with the same data, so that it can be filled.
    machine.run("systemctl", "stop", SOCKET, SERVICE)
    machine.run("sh", "-ec", f"mkdir /run/small; mount -t tmpfs -o size=24m,mode=700,uid=622,gid=622 small /run/small; "
                f"cp -a {DATA}/. /run/small; mount --bind /run/small {DATA}")
    machine.run("systemctl", "start", SOCKET, SERVICE)
    chat.talks()
    before = chat.pid()
    machine.try_run("dd", "if=/dev/zero", f"of={DATA}/filler", "bs=4k")

    def refused():
        sent = chat.ssh("send", "lobby", input="there is no room for this " * 60)
        return sent.returncode != 0 and sent
    sent = wait_for("a message refused for lack of space", refused)
    check(re.search("disk is (almost )?full", sent.stderr), sent)
    # Moderation takes space too, but little: that's what the reserve is for.
    def is_low():
        return "disk_low" in machine.try_run("journalctl", "-u", SERVICE, "--no-pager").stdout
    wait_for("the log to say that the disk is almost full", is_low)
    check(WORDS in chat.ssh("history", "lobby").stdout, "earlier messages can't be read")
    said = machine.try_run("su", "-s", "/bin/sh", "ssh-chat", "-c", "ssh-chat doctor").stdout
    check(re.search(r"^fail  writing ", said, re.M), said)
    check(chat.pid() == before, "the server did not survive a full disk")
    machine.run("systemctl", "kill", "--signal=KILL", SERVICE)
    machine.run("rm", f"{DATA}/filler")
    chat.comes_back(before)
    sent = chat.ssh("send", "lobby", input="there is room again")
    check(sent.returncode == 0, sent)
    check("there is room again" in chat.ssh("history", "lobby").stdout)
    machine.run("systemctl", "stop", SOCKET, SERVICE)
    machine.run("umount", DATA, "/run/small")
    machine.run("systemctl", "start", SOCKET, SERVICE)
    chat.talks()


def hand_over_the_key(chat):
    """The host key belongs to root, as described in README.md."""
    machine, drop_in = chat.machine, f"/etc/systemd/system/{SERVICE}.d/host-key.conf"
    block = README.split("## Store the host key elsewhere")[1].split("```")
    for line in block[3].splitlines()[1:]:
        machine.run("sh", "-ec", line.removeprefix("sudo "))
    machine.path(drop_in).parent.mkdir()
    machine.path(drop_in).write_text(block[1].removeprefix("ini\n"))
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", SERVICE)
    chat.talks()
    check(machine.run("stat", "-c", "%U", "/etc/ssh-chat/host_key").strip() == "root")
    said = chat.as_service("ssh-chat doctor")
    check(re.search(r"^ok    host key ", said, re.M), said)
    shutil.rmtree(machine.path(drop_in).parent)
    machine.run("systemctl", "daemon-reload")
    # A file that belongs to root and is readable for the service; then the original state.
    for owner, mode in (("root", "640"), ("ssh-chat", "600")):
        machine.run("sh", "-ec", f"rm {DATA}/host_key; install -o {owner} -g ssh-chat -m {mode} /etc/ssh-chat/host_key {DATA}")
        machine.run("systemctl", "restart", SERVICE)
        chat.talks()
    machine.run("rm", "/etc/ssh-chat/host_key")


def restart(chat):
    for _ in range(10):
        before = chat.pid()
        chat.machine.run("systemctl", "restart", SERVICE)
        check(chat.pid() not in (0, before))
        chat.talks()
    # The next connection starts it.
    chat.machine.run("systemctl", "stop", SERVICE)
    chat.talks()


def upgrade(chat, newer):
    before, since = chat.pid(), chat.machine.show(SOCKET, "ActiveEnterTimestampMonotonic")
    chat.install(newer)
    check(chat.pid() not in (0, before), "the old process still runs")
    check(chat.machine.show(SOCKET, "ActiveEnterTimestampMonotonic") == since, "the port was closed")
    check(chat.public_key in chat.machine.path(CONFIG).read_text(), "the configuration was replaced")
    chat.talks()


def break_configuration(chat):
    """An invalid configuration doesn't close the port, and fixing it is enough to recover."""
    machine = chat.machine
    chat.configure(r"^access = ", "acces = ")
    machine.try_run("systemctl", "restart", SERVICE)
    with subprocess.Popen(
            machine.in_its_network("ssh-keyscan", "-T", "60", "127.0.0.1"),
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as waiting:
        try:
            attempts = int(machine.show(SERVICE, "NRestarts"))
            wait_for("a few attempts", lambda: int(machine.show(SERVICE, "NRestarts")) > attempts + 3)
            check(machine.show(SOCKET, "ActiveState") == "active")
            wait_for("the reason in the status", lambda: "unknown setting acces" in machine.show(SERVICE, "StatusText"))
            said = machine.run("journalctl", "-u", "ssh-chat", "EVENT=start_failed")
            check("unknown setting acces" in said, said)
            chat.configure(r"^acces = ", "access = ")
            wait_for("the service", lambda: machine.show(SERVICE, "ActiveState") == "active")
            check("ssh-ed25519" in waiting.communicate()[0], "the waiting connection was not served")
        finally:
            waiting.kill()
    chat.talks()


def reboot(chat):
    chat.machine.power_off()
    took = chat.machine.boot()
    check(chat.machine.run("systemctl", "is-active", SERVICE, SOCKET).split() == ["active"] * 2)
    chat.talks()
    step(f"      booted within {took:.1f} s")


def stop_both(chat):
    """The service stops with its socket."""
    chat.machine.run("systemctl", "stop", SOCKET)
    check(chat.machine.show(SERVICE, "ActiveState") == "inactive")
    check("Connection refused" in chat.ssh("whoami").stderr)
    chat.machine.run("systemctl", "start", SERVICE)
    chat.talks()


def remove(chat, deb):
    """Removing and reinstalling keeps all data."""
    machine = chat.machine
    machine.run("apt-get", "remove", "-y", "ssh-chat")
    check("Connection refused" in chat.ssh("whoami").stderr)
    check(machine.path("/var/lib/ssh-chat/host_key").exists() and machine.path(CONFIG).exists())
    check(not machine.path("/usr/lib/systemd/system/ssh-chat.service").exists())
    chat.install(deb)
    chat.talks()
    history = chat.ssh("history", "lobby")
    check(WORDS in history.stdout, history.stdout)


def purge(chat):
    machine = chat.machine
    machine.run("apt-get", "purge", "-y", "ssh-chat")
    left = [path for path in chat.paths() if not path.endswith(f"{SOCKET}.d")]
    check(not left, "left behind:", *left)
    check(machine.try_run("getent", "passwd", "ssh-chat").returncode != 0)
    check(machine.run("systemctl", "list-units", "--failed", "--plain", "--no-legend") == "")


def by_hand(chat, deb):
    """Installs from source, as described in README.md."""
    machine, source = chat.machine, chat.machine.path("/root/source")
    shutil.copytree(UNITS, source / "systemd")
    subprocess.run(["dpkg-deb", "--extract", deb, source / "package"], check=True)
    (source / "target/dist").mkdir(parents=True)
    (source / "package/usr/bin/ssh-chat").rename(source / "target/dist/ssh-chat")
    block = README.split("### Install from source")[1].split("```")[1]
    commands = [line.removeprefix("sudo ") for line in block.splitlines()[1:] if not line.startswith("cargo ")]
    check(len(commands) > 5, block)
    machine.run("sh", "-e", "-c", "cd /root/source\n" + "\n".join(commands))
    log_in(chat)
    reboot(chat)


@contextlib.contextmanager
def booted(template):
    """A new machine; prints its log if a test fails."""
    with Machine(template) as machine, tempfile.TemporaryDirectory() as desk:
        took = machine.boot()
        step(f"booted within {took:.1f} s: {machine.run('systemctl', '--version').splitlines()[0]}")
        try:
            yield Chat(machine, Path(desk))
        except Failed:
            print(machine.try_run("journalctl", "--no-pager", "-n", "60", "-u", "ssh-chat*").stdout, file=sys.stderr)
            raise


def main(template, deb, newer):
    with booted(template) as chat:
        step("port 22 in use")
        beside_sshd(chat, deb)
        step("install")
        install(chat, deb)
        step("log in, reload, doctor")
        log_in(chat)
        step("journal")
        read_journal(chat)
        step("hung journald")
        stop_the_journal(chat)
        step("kill -9")
        kill(chat)
        step("watchdog")
        hang(chat)
        step("full disk")
        fill_the_disk(chat)
        step("host key from systemd credentials")
        hand_over_the_key(chat)
        step("restart under load")
        with load(chat):
            restart(chat)
        step("upgrade under load")
        with load(chat):
            upgrade(chat, newer)
        step("invalid configuration, then fixed")
        break_configuration(chat)
        step("reboot")
        reboot(chat)
        step("stop both units")
        stop_both(chat)
        step("remove and reinstall")
        remove(chat, newer)
        step("purge")
        purge(chat)
    with booted(template) as chat:
        step("install from source")
        by_hand(chat, deb)
    step("the package works")


main(*sys.argv[1:])
