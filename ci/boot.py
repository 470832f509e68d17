"""Boots a machine from the image as EC2 would, with user-data, a metadata service and AWS, and uses it as
users and operators do: logs in, chats, reads the log, reboots it, kills it and replaces it."""

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import boto3

from guest import PATIENCE, Guest
from imds import ROLE, Imds
from machine import Failed, wait_for

REGION = "eu-central-1"
SECRET, PARAMETER, TABLE = "ssh-chat/host-key", "/ssh-chat/host-key", "ssh-chat"
# Timeout from power-on to the first login, in seconds.
FIRST_LOGIN = 300.0
FULL = "said while the disk is full"
WORDS, MOTD = "a sentence that no log may contain", "Welcome to the machine."
BEGIN = time.monotonic()


def step(words):
    print(f"  {time.monotonic() - BEGIN:5.1f} s  {words}", flush=True)


def check(condition, *about):
    if not condition:
        raise Failed("\n".join(map(str, about)))


class Aws:
    """AWS simulated by moto. It ends with this process, which holds its standard input."""

    def __init__(self):
        self.own = {"AWS_ACCESS_KEY_ID": "operator", "AWS_SECRET_ACCESS_KEY": "operator", "AWS_REGION": REGION}
        self.process = subprocess.Popen(
            [sys.executable, "ci/moto-server.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **self.own})
        port = self.process.stdout.readline().strip()
        check(port.isdigit(), "ci/moto-server.py did not start")
        self.url = f"http://127.0.0.1:{port}"
        # The same endpoint, as seen from the machine.
        self.url_inside = f"http://169.254.10.2:{port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(10)

    def client(self, service):
        return boto3.client(service, endpoint_url=self.url, region_name=REGION,
                            aws_access_key_id="operator", aws_secret_access_key="operator")

    def set_up(self, program):
        """The manual setup in docs/aws.md, except for what the machine does itself."""
        self.client("secretsmanager").create_secret(Name=SECRET)
        environment = {"HOME": "/nonexistent", "AWS_ENDPOINT_URL": self.url, **self.own}
        made = subprocess.run([program, "--set", f"aws.table={TABLE}", "store", "init"], env=environment, capture_output=True, text=True)
        check(made.returncode == 0, made)

    def denies_the_host_key_once(self):
        """The next read of the host key is refused, as for a role without that permission."""
        fault = {"operation": "GetSecretValue", "about": SECRET, "code": "AccessDeniedException", "message": "not authorized", "times": 1}
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/fault", json.dumps(fault).encode())).close()

    def host_key(self):
        return self.client("secretsmanager").get_secret_value(SecretId=SECRET)["SecretString"]

    def fingerprint(self):
        """The fingerprint of the key in the secret, as computed by OpenSSH."""
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(self.host_key())
            file.flush()
            return subprocess.run(["ssh-keygen", "-l", "-f", file.name], check=True, capture_output=True, text=True).stdout.split()[1]

    def published(self):
        return self.client("ssm").get_parameter(Name=PARAMETER)["Parameter"]["Value"]


class Desk:
    """The users' side: keys, known_hosts and clients."""

    def __init__(self, folder):
        self.folder = folder
        self.known_hosts = folder / "known_hosts"
        for name in ("alice", "bob", "mallory"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name], check=True)

    def public_key(self, name):
        return (self.folder / f"{name}.pub").read_text().strip()

    def command(self, guest, key, *words, name=None):
        """The `ssh` command to the machine. Its host key must never change."""
        options = ["IdentitiesOnly=yes", "IdentityAgent=none", "StrictHostKeyChecking=accept-new", "ConnectTimeout=30",
                   "HostKeyAlias=chat", f"UserKnownHostsFile={self.known_hosts}"]
        options = [part for option in options for part in ("-o", option)]
        return ["ssh", "-F", "none", "-p", str(guest.port), "-i", str(self.folder / key), *options, f"{name or key}@127.0.0.1", *words]

    def ssh(self, guest, key, *words, input="", **who):
        return subprocess.run(self.command(guest, key, *words, **who), input=input, capture_output=True, text=True, timeout=PATIENCE)

    def ask(self, guest, key, *words, **how):
        """Runs a command over SSH, which must succeed. Returns its output."""
        ended = self.ssh(guest, key, *words, **how)
        check(ended.returncode == 0, ended)
        return ended.stdout

    def fingerprint(self):
        lines = subprocess.run(["ssh-keygen", "-l", "-f", self.known_hosts], check=True, capture_output=True, text=True).stdout
        found = {line.split()[1] for line in lines.splitlines()}
        check(len(found) == 1, f"more than one host key in known_hosts: {lines}")
        return found.pop()


class Terminal:
    """A user in a terminal. Use it with `with`."""

    def __init__(self, command):
        self.shown = ""
        self.pid, self.file = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm"
            os.execvp(command[0], command)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Not SIGHUP, which ssh ignores under nohup.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        os.waitpid(self.pid, 0)
        os.close(self.file)

    def types(self, line):
        os.write(self.file, line.encode() + b"\r")

    def sees(self, pattern):
        until = time.monotonic() + PATIENCE
        while not re.search(pattern, self.shown):
            check(time.monotonic() < until, f"{pattern!r} was not shown, but: {self.shown[-800:]!r}")
            if select.select([self.file], [], [], 0.5)[0]:
                try:
                    data = os.read(self.file, 65536)
                except OSError:
                    data = b""
                check(data, f"ssh ended before {pattern!r}: {self.shown[-800:]!r}")
                self.shown += data.decode(errors="replace")


def user_data(desk):
    """User-data rendered by cloud-init/render, as Terraform passes it."""
    values = desk.folder / "values.tfvars.json"
    values.write_text(json.dumps({
        "region": REGION, "host_key_secret": SECRET, "host_key_parameter": PARAMETER, "table": TABLE, "history": "90d",
        "host_name": "chat.example.com", "operator_keys": [desk.public_key("alice"), desk.public_key("bob")],
        "settings": {"motd": MOTD},
    }))
    rendered = subprocess.run(["cloud-init/render", values], capture_output=True, text=True)
    check(rendered.returncode == 0, rendered.stderr)
    return rendered.stdout


def whoami(desk, guest, key, **who):
    return json.loads(desk.ask(guest, key, "whoami", "--json", **who))


def logged_in(desk, guest):
    """Waits for the first successful login."""
    start = time.monotonic()

    def answered():
        guest.alive()
        with contextlib.suppress(subprocess.TimeoutExpired):
            ended = desk.ssh(guest, "alice", "whoami")
            check("REMOTE HOST IDENTIFICATION" not in ended.stderr, "the host key has changed", ended.stderr)
            return ended.returncode == 0

    try:
        wait_for("the first login", answered, FIRST_LOGIN)
    except Failed as error:
        raise Failed(f"{error}\n{guest.last_words()}") from None
    step(f"{guest.name}: first login {time.monotonic() - start:.0f} s after power-on")


def set_up_by_cloud_init(guest, imds):
    said = guest.run("cloud-init status --wait --format json")
    status = json.loads(said[said.index("{"):])
    check(status["status"] == "done" and not status["errors"] and not status["recoverable_errors"], said)
    check(status["detail"] == "DataSourceEc2Local", said)
    check(guest.run("cloud-id").strip() == "aws")
    config = guest.run("cat /etc/ssh-chat/config.toml")
    check(MOTD in config and 'listen = "[::]:22"' in config, config)
    paths = dict(imds.answered)
    check(any(path.endswith("/user-data") for path in paths), f"user-data was not requested: {paths}")
    check(any(path.endswith(f"/iam/security-credentials/{ROLE}") for path in paths), f"the role's credentials were not requested: {paths}")
    unsigned = [path for path, status in imds.answered if status == 401]
    check(not unsigned, f"requests without a token: {unsigned}")
    size = int(guest.run("df --output=size -m / | tail -n 1"))
    check(size > 2500, f"the file system has not grown to the disk's 3 GiB: {size} MiB")


def closed_to_the_rest(guest):
    """Checks that the chat is the only entrance."""
    tcp = {line.split()[3] for line in guest.run("ss -Hlnt").splitlines()}
    outside = {address for address in tcp if not re.match(r"127\.|\[::1\]", address)}
    check(outside == {"*:22"}, f"TCP listens on {tcp}")
    owners = guest.run("ss -Hlntp sport = :22")
    check('"systemd"' in owners and "sshd" not in owners, owners)
    udp = {line.split()[3] for line in guest.run("ss -Hlnu").splitlines()}
    outside = {address for address in udp if not re.match(r"127\.|\[::1\]", address)}
    check(all(address.endswith((":68", ":546")) for address in outside), f"UDP listens on {udp}")
    for unit in ("ssh.service", "ssh.socket"):
        check(guest.try_run(f"systemctl is-enabled {unit}")[1].strip() == "masked", unit)
    check(guest.run("pgrep -c sshd || true").strip() == "0", "an SSH server is running")
    found = guest.run("find / -xdev ! -path '/usr/*' '(' -name 'authorized_keys*' -o -name 'ssh_host_*' ')'")
    check(not found, f"sshd keys found: {found}")
    people = guest.run("awk -F: '$3 >= 1000 && $3 < 60000' /etc/passwd")
    check(not people, f"users found: {people}")
    failed = guest.run("systemctl list-units --failed --plain --no-legend")
    check(not failed, f"failed units: {failed}")
    return guest.run("cat /etc/machine-id").strip()


def journal(guest, aws):
    """Checks that the log has structured fields and no secrets."""
    entries = [json.loads(line) for line in guest.run("journalctl -u ssh-chat -o json --no-pager").splitlines() if line.startswith("{")]
    own = {entry.get("EVENT"): entry for entry in entries if entry.get("_COMM") == "ssh-chat"}
    listening = own["listening"]
    check(listening["ADDRESS"] == "[::]:22" and listening["PRIORITY"] == "6", listening)
    check("connection_open" in own, sorted(own))
    everything = guest.run("journalctl -o cat --no-pager --output-fields=MESSAGE --all")
    check("ssh-chat" in everything)
    for secret in (WORDS, aws.host_key().splitlines()[1], "PRIVATE KEY", "of-the-role", "of-the-session"):
        check(secret not in everything, f"the journal contains {secret!r}")
    return own


def people_talk(desk, guest, words):
    """Two users in terminals: one sends a message, the other sees it."""
    with Terminal(desk.command(guest, "alice")) as alice, Terminal(desk.command(guest, "bob")) as bob:
        alice.sees(re.escape(MOTD))
        for terminal in (alice, bob):
            terminal.sees(r"lobby.{0,80}[▸>]")
        alice.types(words)
        bob.sees(r"\d\d:\d\d.*alice.*" + re.escape(words))
    refused = desk.ssh(guest, "mallory", "whoami")
    check(refused.returncode == 255 and "only admits registered keys" in refused.stderr, refused)


def survives(desk, guest):
    """The server recovers from being killed and from a full disk, and the log has the reason."""
    def pid():
        return guest.run("systemctl show --property=MainPID --value ssh-chat.service").strip()

    for what, order in (("kill -9", "kill --signal=KILL"), ("a restart", "restart")):
        before, start = pid(), time.monotonic()
        guest.run(f"systemctl {order} ssh-chat.service")
        whoami(desk, guest, "alice")
        check(pid() not in ("0", before), f"{what} didn't replace the process")
        step(f"{what}: next login after {time.monotonic() - start:.1f} s")
    check("code=killed, status=9/KILL" in guest.run("journalctl -u ssh-chat --no-pager"), "the log doesn't mention the kill")

    guest.run("fallocate -l $(df --output=avail -B1 / | tail -n 1) /filler; dd if=/dev/zero of=/filler.rest bs=64k || true")
    check(guest.run("df --output=avail / | tail -n 1").strip() == "0", "the disk isn't full")
    before = pid()
    desk.ask(guest, "alice", "send", "lobby", input=FULL)
    check(pid() == before, "the full disk ended the process")
    guest.run("systemctl restart ssh-chat.service")
    check(FULL in desk.ask(guest, "alice", "history", "lobby"), "a message sent on a full disk is lost")
    guest.run("rm /filler /filler.rest")
    step("full disk: users chat, and the server restarts")


def says_why(guest):
    """Checks that the console, all that an operator sees of a machine that doesn't serve, has the reason."""
    console = guest.console.read_text(errors="replace")
    line = next((line for line in console.splitlines() if "host_key_waiting" in line), "")
    check("access denied" in line.lower() and SECRET in line, f"the console doesn't say why the host key couldn't be read: {line}", guest.last_words())
    step(f"console: {line.strip()[:160]}")


def remembers(desk, guest, fingerprint, *said):
    """Checks that host key, names and history are the same."""
    check(desk.fingerprint() == fingerprint, "the host key has changed")
    check(whoami(desk, guest, "bob", name="somebody")["name"] == "bob", "the name is lost")
    history = desk.ask(guest, "alice", "history", "lobby")
    for words in said:
        check(words in history, f"{words!r} is lost:", history)


def life(folder, image, program):
    desk = Desk(folder)
    with Aws() as aws, Imds(REGION) as imds:
        aws.set_up(program)
        settings = {"ssh-chat.service": f"[Service]\nEnvironment=AWS_ENDPOINT_URL={aws.url_inside}\n"}

        told = user_data(desk)
        imds.becomes("i-0aaaaaaaaaaaaaaaa", told)
        with Guest(folder, "first", image, imds, settings) as first:
            first.start()
            logged_in(desk, first)
            check(whoami(desk, first, "alice")["role"] == "operator")
            desk.ask(first, "alice", "send", "lobby", input=WORDS)
            people_talk(desk, first, "spoken on the first machine")
            step("users chat, and an unknown key is refused with a reason")
            set_up_by_cloud_init(first, imds)
            machine_id = closed_to_the_rest(first)
            listening = journal(first, aws)["listening"]
            fingerprint = desk.fingerprint()
            check(fingerprint in listening["MESSAGE"], listening)
            check(fingerprint in aws.published(), aws.published())
            check(fingerprint == aws.fingerprint(), aws.fingerprint())
            step("cloud-init, log, ports and keys are correct")
            survives(desk, first)

            first.ends("reboot")
            step("powered off")
            first.start()
            logged_in(desk, first)
            remembers(desk, first, fingerprint, WORDS, "spoken on the first machine")
            step(f"rebooted: {fingerprint}, names and history are the same")
            # Nothing can be saved after this.
            people_talk(desk, first, "spoken just before the end")
            gone = time.monotonic()

        imds.becomes("i-0bbbbbbbbbbbbbbbb", told)
        aws.denies_the_host_key_once()
        with Guest(folder, "second", image, imds, settings) as second:
            second.start()
            logged_in(desk, second)
            says_why(second)
            away = time.monotonic() - gone
            remembers(desk, second, fingerprint, WORDS, FULL, "spoken on the first machine", "spoken just before the end")
            step(f"replaced within {away:.0f} s: {fingerprint}, names and history are the same")
            people_talk(desk, second, "spoken on the second machine")
            set_up_by_cloud_init(second, imds)
            check(closed_to_the_rest(second) != machine_id, "both machines have the same machine-id")
            journal(second, aws)
            step("the second machine equals the first")


def main(image, program):
    # Exit normally, so that child processes are ended, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    with tempfile.TemporaryDirectory() as folder:
        try:
            life(Path(folder), image, program)
        except Failed as error:
            sys.exit(f"FAILED: {error}")
    step("the image works")


main(sys.argv[1], sys.argv[2])
