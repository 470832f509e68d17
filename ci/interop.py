"""Logs in to the server with various SSH clients, sends a message with each, and checks that another user sees
it. Each client logs in twice: with its own key and, if it can, as a guest without one."""

import asyncio
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import asyncssh
import paramiko

DEADLINE = 20.0


class Server:
    """The server, on its own port, with an empty data folder."""

    def __init__(self, binary: str, folder: Path):
        self.log = open(folder / "log", "wb")
        self.process = subprocess.Popen(
            [binary, "--listen", "127.0.0.1:0", "--data-dir", str(folder / "data"), "--set", "limits.message_rate=0"],
            stdout=subprocess.PIPE, stderr=self.log, text=True)
        first = self.process.stdout.readline()
        found = re.search(r"listening on 127\.0\.0\.1:(\d+)", first)
        if not found:
            sys.exit(f"the server didn't start: {first!r} {(folder / 'log').read_text()}")
        self.port = int(found[1])

    def stop(self):
        self.process.terminate()
        return self.process.wait(DEADLINE)


class Observer:
    """A user in the lobby who collects all messages."""

    def __init__(self, port: int, key: Path):
        self.client = connect_paramiko(port, "observer", key)
        self.channel = self.client.invoke_shell("xterm", 120, 40)
        self.seen = ""

    def wait_for(self, words: str):
        until = time.monotonic() + DEADLINE
        while words not in self.seen:
            if time.monotonic() > until:
                sys.exit(f"{words!r} was not shown; last output: {self.seen[-800:]!r}")
            if select.select([self.channel], [], [], 0.5)[0]:
                self.seen += self.channel.recv(65536).decode("utf-8", "replace")


def connect_paramiko(port, name, key):
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect("127.0.0.1", port, name, key_filename=str(key), allow_agent=False, look_for_keys=False, timeout=DEADLINE)
    return client


def keygen(folder: Path, name: str, kind: str, *options: str) -> Path:
    path = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", kind, *options, "-N", "", "-C", name, "-f", str(path)], check=True)
    return path


def in_terminal(command, words, answers=()):
    """Runs a client in a pseudo-terminal: waits for the prompt, sends the words, waits until they're shown as a
    message, and leaves."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execvp(command[0], command)
    shown, said, left = "", False, False
    until = time.monotonic() + DEADLINE
    answers = list(answers)
    try:
        while time.monotonic() < until:
            if select.select([terminal], [], [], 0.2)[0]:
                try:
                    data = os.read(terminal, 65536)
                except OSError:
                    data = b""
                if not data:
                    break
                shown += data.decode("utf-8", "replace")
            if answers and answers[0][0] in shown:
                os.write(terminal, answers.pop(0)[1].encode())
            if not said and re.search(r"lobby.{0,80}[▸>]", shown):
                os.write(terminal, words.encode() + b"\r")
                said = True
            elif said and not left and re.search(r"\d\d:\d\d.*" + re.escape(words), shown):
                os.write(terminal, b"/quit\r")
                left = True
        status = ended(pid, until)
        os.close(terminal)  # hangs up a client that is still connected
        if status is None:
            _, status = os.waitpid(pid, 0)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    if not left or os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"{command[0]} failed (said={said}, left={left}, status={status}): {shown[-800:]!r}")


def ended(pid, until):
    """Waits for a client that has closed its terminal but may still be disconnecting. Returns its status, or None
    after the deadline."""
    process = os.pidfd_open(pid)
    try:
        gone, _, _ = select.select([process], [], [], max(0.0, until - time.monotonic()))
    finally:
        os.close(process)
    return os.waitpid(pid, 0)[1] if gone else None


def openssh(port, folder, observer):
    base = ["ssh", "-F", "none", "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={folder / 'known_hosts'}",
            "-o", "IdentityAgent=none", "-p", str(port)]
    for kind, options in (("ed25519", ()), ("ecdsa", ("-b", "256")), ("ecdsa", ("-b", "521")), ("rsa", ("-b", "3072"))):
        name = f"openssh-{kind}{''.join(options[1:])}"
        key = keygen(folder, name, kind, *options)
        words = f"said with OpenSSH {name}"
        in_terminal([*base, "-o", "IdentitiesOnly=yes", "-i", str(key), f"{name}@127.0.0.1"], words)
        observer.wait_for(words)
    words = "said with OpenSSH and no key"
    in_terminal([*base, "-o", "PubkeyAuthentication=no", "anyone@127.0.0.1"], words)
    observer.wait_for(words)


def dropbear(port, folder, observer):
    key = folder / "dropbear"
    subprocess.run(["dropbearkey", "-t", "ed25519", "-f", str(key)], check=True, capture_output=True)
    words = "said with Dropbear"
    in_terminal(["dbclient", "-y", "-y", "-i", str(key), "-p", str(port), "dropbear@127.0.0.1"], words)
    observer.wait_for(words)


def putty(port, folder, observer, fingerprint):
    source = keygen(folder, "putty", "ed25519")
    key = folder / "putty.ppk"
    subprocess.run(["puttygen", str(source), "-O", "private", "-o", str(key)], check=True)
    words = "said with plink"
    in_terminal(["plink", "-ssh", "-t", "-noagent", "-hostkey", fingerprint, "-i", str(key), "-P", str(port), "putty@127.0.0.1"],
                words, [("Press Return to begin session", "\r")])
    observer.wait_for(words)


def with_paramiko(port, folder, observer):
    client = connect_paramiko(port, "paramiko", keygen(folder, "paramiko", "ed25519"))
    channel = client.invoke_shell()
    words = "said with paramiko"
    channel.sendall(words.encode() + b"\r")
    observer.wait_for(words)
    client.close()
    # Without a key: keyboard-interactive without prompts.
    transport = paramiko.Transport(("127.0.0.1", port))
    transport.connect()
    transport.auth_interactive("guest", lambda title, instructions, prompts: [])
    channel = transport.open_session()
    channel.invoke_shell()
    words = "said with paramiko and no key"
    channel.sendall(words.encode() + b"\n")
    observer.wait_for(words)
    transport.close()


async def with_asyncssh(port, folder, observer):
    key = keygen(folder, "asyncssh", "ed25519")
    async with asyncssh.connect("127.0.0.1", port, username="asyncssh", client_keys=[str(key)], known_hosts=None, agent_path=None, config=[]) as connection:
        words = "said with asyncssh"
        async with connection.create_process(term_type="xterm", term_size=(100, 30)) as process:
            process.stdin.write(words + "\r")
            await asyncio.to_thread(observer.wait_for, words)
            process.stdin.write("/quit\r")
            await asyncio.wait_for(process.wait(), DEADLINE)


def main():
    for tool in ("ssh", "dbclient", "plink", "puttygen"):
        if not shutil.which(tool):
            sys.exit(f"Missing: {tool}. Install it: ci/install-tools")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = Server(sys.argv[1], folder)
        fingerprint = next(line.split()[2] for line in server.process.stdout if line.strip().startswith("host key"))
        observer = Observer(server.port, keygen(folder, "observer", "ed25519"))
        passed = 0
        checks = {
            "OpenSSH": lambda: openssh(server.port, folder, observer),
            "Dropbear": lambda: dropbear(server.port, folder, observer),
            "PuTTY plink": lambda: putty(server.port, folder, observer, fingerprint),
            "paramiko": lambda: with_paramiko(server.port, folder, observer),
            "asyncssh": lambda: asyncio.run(with_asyncssh(server.port, folder, observer)),
        }
        try:
            for what, check in checks.items():
                check()
                passed += 1
                print(f"{what}: logs in and talks")
        finally:
            observer.client.close()
            status = server.stop()
        if status != 0:
            sys.exit(f"the server ended with status {status}: {(folder / 'log').read_text()[-2000:]}")
        print(f"{passed} passed, 0 failed")


main()
