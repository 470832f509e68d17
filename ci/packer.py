"""Builds images with Packer: on EC2 simulated by moto, with Debian in systemd-nspawn as the build instance, and in
QEMU. Checks the results and that nothing is left behind."""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import boto3

from machine import Failed, Machine

REGION = "eu-central-1"
DEBIAN = "136693071363"
BEGIN = time.monotonic()


def step(words):
    print(f"  {time.monotonic() - BEGIN:5.1f} s  {words}", flush=True)


def check(condition, *about):
    if not condition:
        raise Failed("\n".join(map(str, about)))


def debian(ami, name, owner=DEBIAN):
    return {"ami_id": ami, "name": name, "owner_id": owner, "architecture": "x86_64", "state": "available", "public": True,
            "image_location": "amazon", "image_type": "machine", "platform": None,
            "description": name, "root_device_type": "ebs", "root_device_name": "/dev/xvda", "sriov": "simple",
            "virtualization_type": "hvm", "hypervisor": "xen"}


# The right base image, and some that must not be selected.
BASE = "ami-0debian13amd64000"
AMIS = [
    debian(BASE, "debian-13-amd64-20261001-2257"),
    debian("ami-0debian12amd64000", "debian-12-amd64-20261101-2258"),
    debian("ami-0somebodyelse0000", "debian-13-amd64-20261101-9999", "999999999999"),
]


@contextlib.contextmanager
def aws(work):
    """EC2 simulated by moto, with Debian's images. Yields its URL."""
    images = work / "images.json"
    images.write_text(json.dumps(AMIS))
    environment = {**os.environ, **CREDENTIALS, "MOTO_AMIS_PATH": str(images), "MOTO_ENABLE_AMI_VALIDATION": "true"}
    with subprocess.Popen([sys.executable, "ci/moto-server.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as moto:
        yield f"http://127.0.0.1:{moto.stdout.readline().strip()}"
        moto.stdin.close()


CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": REGION}


@contextlib.contextmanager
def with_sshd(root, key):
    """Debian with an SSH server that accepts `key` for root. Yields the machine, and a local port forwarded to it."""
    with Machine(root) as machine:
        # The container has no network to wait for.
        for unit in ("systemd-networkd-wait-online.service", "systemd-networkd.service"):
            machine.path(f"/etc/systemd/system/{unit}").unlink(missing_ok=True)
            machine.path(f"/etc/systemd/system/{unit}").symlink_to("/dev/null")
        folder = machine.path("/root/.ssh")
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / "authorized_keys").write_text(key.with_suffix(".pub").read_text())
        machine.boot()
        # socat would end the command at an unescaped colon.
        way = " ".join(machine.in_its_network("socat", "-", "TCP:127.0.0.1:22")).replace(":", "\\:")
        relay = subprocess.Popen(
            ["setpriv", "--pdeathsig=TERM", "socat", "-d", "-d", "TCP-LISTEN:0,bind=127.0.0.1,fork", f"EXEC:{way}"],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            while not (found := re.search(r"listening on .*:(\d+)", relay.stderr.readline())):
                check(relay.poll() is None, "socat ended")
            yield machine, int(found[1])
        finally:
            relay.terminate()
            relay.communicate()


def packer(work, *arguments, command=("packer", "build"), **environment):
    """Runs Packer. May fail."""
    return subprocess.run(
        [*command, *arguments], text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, **CREDENTIALS, "PACKER_NO_COLOR": "1", **environment}, timeout=590)


def variables(**values):
    return [part for name, value in values.items() for part in ("-var", f"{name}={value}")]


def on_ec2(work, package, version, root):
    template, manifest, key = work / "packer", work / "manifest.json", work / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    with aws(work) as url, with_sshd(root, key) as (machine, port):
        common = {"package": package, "architecture": "amd64", "region": REGION, "upgrade": "false", "manifest": manifest,
                  "ec2_endpoint": url, "ssh_host": "127.0.0.1", "ssh_port": port, "ssh_key": key}
        only = ["-only=amazon-ebs.debian"]
        ec2 = boto3.client("ec2", endpoint_url=url, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test")

        def own():
            return ec2.describe_images(Owners=["self"])["Images"]

        wrong = packer(work, *only, *variables(version="9.9.9", **common), template)
        check(wrong.returncode != 0 and "Use the same version for both" in wrong.stdout, wrong.stdout)
        check(not own(), "an image was created from a wrong version")
        # A change that `clean` can't know about, but `check` finds.
        machine.run("useradd", "mallory")
        wrong = packer(work, *only, *variables(version=version, **common), template)
        check(wrong.returncode != 0 and "image check: unexpected users: mallory" in wrong.stdout, wrong.stdout)
        check(not own(), "an image was created although the check failed")
        machine.run("userdel", "mallory")
        step("amazon-ebs: no image from a wrong version, or if the check fails")

    (work / "manifest.json").unlink(missing_ok=True)
    with aws(work) as url, with_sshd(root, key) as (machine, port):
        common |= {"ec2_endpoint": url, "ssh_port": port}
        ec2 = boto3.client("ec2", endpoint_url=url, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test")
        built = packer(work, *only, *variables(version=version, **common), template)
        check(built.returncode == 0 and "image check: passed" in built.stdout, built.stdout)
        made = json.loads(manifest.read_text())["builds"][-1]
        region, _, ami = made["artifact_id"].partition(":")
        check(region == REGION and made["custom_data"]["version"] == version, made)
        image = ec2.describe_images(ImageIds=[ami])["Images"][0]
        tags = {tag["Key"]: tag["Value"] for tag in image["Tags"]}
        wanted = {"Project": "ssh-chat", "Version": version, "Architecture": "amd64", "BaseImage": BASE, "BaseName": AMIS[0]["name"]}
        check(wanted.items() <= tags.items(), tags)
        left = [instance["InstanceId"] for reservation in ec2.describe_instances()["Reservations"] for instance in reservation["Instances"]
                if instance["State"]["Name"] != "terminated"]
        check(not left, f"instances left behind: {left}")
        groups = [group["GroupName"] for group in ec2.describe_security_groups()["SecurityGroups"] if group["GroupName"].startswith("packer")]
        check(not groups, f"security groups left behind: {groups}")
        for unit, state in (("ssh-chat.service", "enabled"), ("ssh-chat.socket", "enabled"), ("ssh.service", "masked")):
            check(machine.try_run("systemctl", "is-enabled", unit).stdout.strip() == state, unit)
    step(f"amazon-ebs: {made['artifact_id']}, {', '.join(f'{name}={tags[name]}' for name in wanted)}")


def in_qemu(work, package, version, base):
    output, manifest = work / "qemu", work / "qemu.json"
    built = packer(
        work, base, package, *variables(accelerator="tcg", upgrade="false", output=output, manifest=manifest),
        command=["packer/qemu"], PACKER_FOLDER=str(work / "packer"))
    check(built.returncode == 0 and "image check: passed" in built.stdout, built.stdout)
    disk = output / f"ssh-chat-{version}-amd64.qcow2"
    about = json.loads(subprocess.run(["qemu-img", "info", "--output=json", disk], check=True, capture_output=True).stdout)
    check("backing-filename" not in about, about)
    kept = Path("target/image/ssh-chat-packer.qcow2")
    os.replace(disk, kept) if kept.parent.stat().st_dev == disk.stat().st_dev else subprocess.run(["cp", disk, kept], check=True)
    step(f"qemu: {kept}, {about['actual-size'] / 1e6:.0f} MB; ci/boot {kept} boots it")


def main(work, package, base, root):
    version = subprocess.run(["dpkg-deb", "--field", package, "Version"], check=True, capture_output=True, text=True).stdout.strip()
    try:
        valid = packer(work, "-only=amazon-ebs.debian", *variables(version=version, package=package), work / "packer", command=["packer", "validate"])
        check(valid.returncode == 0, valid.stdout)
        step(subprocess.run(["packer", "version"], capture_output=True, text=True).stdout.splitlines()[0] + " validates the template")
        on_ec2(work, package, version, root)
        in_qemu(work, package, version, base)
    except Failed as error:
        sys.exit(f"FAILED: {error}")


main(Path(sys.argv[1]), *sys.argv[2:4], Path("target/rootfs") / Path(sys.argv[4]).name)
