"""Renders user-data from values that break careless templates, and reads it as YAML, as TOML, with cloud-init's
schema and with the server."""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
NASTY = "Hi \"you\"\nand 'you' \\ \\n\t\"\"\" ''' # ${a} %{if b} $(c) {{d}} <&> é 漢 😀 \u2028 [x]\r\n---\nkey: value\n"
# Fixed by the image.
OF_THE_IMAGE = {"listen", "data_dir", "motd_file"}

VALUES = {
    "region": "eu-central-1",
    "host_key_secret": "ssh-chat/host-key",
    "host_key_parameter": "/ssh-chat/host-key",
    "table": "ssh-chat",
    "history": "90d",
    "access": "allowlist",
    "approval": True,
    "host_name": "chat.example.com",
    "web_url": "https://chat.example.com/join?lang=en&x=[1]",
    "operator_keys": [f"ssh-ed25519 {KEY} alice \"the\" \\ ${{x}} 😀 'a'\n", "SHA256:rkSKyGxOjk3sZFcpcI70GHOuecbf+E7/czYJiUh/COU"],
    "settings": {"motd": NASTY, "limits.rooms": 50, "limits.outage_logins": "1h30m", "limits.message_rate": "30/min", "ssh.strict_crypto": True},
}
CONFIG = {
    "listen": "[::]:22",
    "access": "allowlist",
    "approval": True,
    "host_name": "chat.example.com",
    "web_url": VALUES["web_url"],
    "operator_keys": [key.strip() for key in VALUES["operator_keys"]],
    "motd": NASTY,
    "aws": {name: VALUES[name] for name in ("region", "host_key_secret", "host_key_parameter", "table", "history")},
    "limits": {"rooms": 50, "outage_logins": "1h30m", "message_rate": "30/min"},
    "ssh": {"strict_crypto": True},
}


class Template:
    def __init__(self, work):
        self.work = work

    def render(self, values):
        file = self.work / "values.tfvars.json"
        file.write_text(json.dumps(values))
        done = subprocess.run(["cloud-init/render", file], capture_output=True, text=True)
        check(done.returncode == 0, f"cloud-init/render failed: {done.stderr}")
        return done.stdout

    def config(self, values):
        """The contents of the configuration file."""
        text = self.render(values)
        check(text.startswith("#cloud-config\n"), f"user-data doesn't start with #cloud-config: {text[:40]!r}")
        document = yaml.safe_load(text)
        check(list(document) == ["write_files"] and len(document["write_files"]) == 1, f"more than one file: {document}")
        file = document["write_files"][0]
        check(file["path"] == "/etc/ssh-chat/config.toml" and file["permissions"] == "0644", f"unexpected file: {file}")
        return file["content"]


def check(right, otherwise):
    if not right:
        sys.exit(f"FAILED: {otherwise}")


def passed(what):
    print(f"ok  {what}", flush=True)


def cloud_init(work, text):
    """Checks user-data with cloud-init's schema."""
    file = work / "user-data"
    file.write_text(text)
    command, environment = ["cloud-init"], dict(os.environ)
    if not shutil.which("cloud-init"):
        command = [sys.executable, "-m", "cloudinit.cmd.main"]
        environment["PYTHONPATH"] = "target/tools/cloud-init/usr/lib/python3/dist-packages"
    return subprocess.run([*command, "schema", "--config-file", file], env=environment, capture_output=True, text=True)


def flat(config, before=""):
    for name, value in config.items():
        if isinstance(value, dict):
            yield from flat(value, f"{before}{name}.")
        else:
            yield before + name, value


def read_by_the_server(binary, work, content):
    """The settings as the server reads them."""
    file = work / "config.toml"
    file.write_text(content)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SSH_CHAT_", "AWS_"))}
    done = subprocess.run([binary, "check-config", "--config", file], env=environment, capture_output=True, text=True)
    check(done.returncode == 0, f"the server rejects the configuration:\n{done.stdout}{done.stderr}\n{content}")
    return dict(flat(tomllib.loads(done.stdout)))


def as_the_server_shows_it(name, value):
    if name == "operator_keys":
        return [key if key.startswith("SHA256:") else fingerprint(key.split()[1]) for key in value]
    return value.rstrip() if name == "motd" else value


def fingerprint(blob):
    return "SHA256:" + base64.b64encode(hashlib.sha256(base64.b64decode(blob)).digest()).decode().rstrip("=")


def documented():
    """The documented settings with their defaults."""
    page = Path("docs/configuration.md").read_text()
    rows = re.findall(r"^\| `([a-z_.]+)`[^|]*\| `[A-Z_]+` \| ([^|]*) \|", page, re.M)
    check(len(rows) > 20, "the table in docs/configuration.md was not found")
    return dict(rows)


def offered():
    """The settings that the variable `settings` accepts."""
    source = Path("cloud-init/settings.tf").read_text()
    return set(re.findall(r'^    "([a-z_.]+)" += "[a-z]+"$', source, re.M))


def main(work, binary):
    template = Template(work)

    content = template.config(VALUES)
    check(tomllib.loads(content) == CONFIG, f"the configuration differs from the values:\n{content}")
    passed("quotes, backslashes, line ends, templates and emoji arrive unchanged")

    text = template.render(VALUES)
    said = cloud_init(work, text)
    check(said.returncode == 0, f"cloud-init's schema: {said.stdout}{said.stderr}")
    broken = text.replace('"permissions":"0644"', '"permissions":644')
    check(broken != text and cloud_init(work, broken).returncode != 0, "cloud-init's schema accepts an invalid file")
    passed("cloud-init's schema finds no errors")

    shown = read_by_the_server(binary, work, content)
    for name, value in flat(CONFIG):
        value = as_the_server_shows_it(name, value)
        check(shown.get(name) == value, f"the server reads {name} as {shown.get(name)!r}, not {value!r}")
    passed("the server reads the values as intended")

    settings = documented()
    own = {name for name, _ in flat(CONFIG)} & {*VALUES, *(f"aws.{name}" for name in VALUES)}
    missing = set(settings) - own - OF_THE_IMAGE - offered()
    check(not missing, f"cloud-init/settings.tf lacks {missing}, which docs/configuration.md lists: add them")
    gone = (offered() | OF_THE_IMAGE | own) - set(settings)
    check(not gone, f"cloud-init/settings.tf has {gone}, which docs/configuration.md doesn't list: remove them")
    without = {"motd": NASTY, "metrics.listen": "127.0.0.1:9622", "aws.metrics": "team-1", "web.host_key": f"ssh-ed25519 {KEY}",
               "limits.trusted_networks": "192.0.2.0/24, 2001:db8::/48", "limits.disk_reserve": "512MiB", "history.max_size": "2GiB"}
    defaults = {name: without.get(name, settings[name].strip("`")) for name in offered()}
    read_by_the_server(binary, work, template.config({"access": "open", "settings": defaults}))
    passed(f"all {len(defaults)} settings of docs/configuration.md can be set to their defaults")


main(Path(sys.argv[1]), sys.argv[2])
