"""Breaks an image in every way that packer/image/check looks for, and verifies that the check reports
each problem. Works on a copy of the image's folder."""

import shutil
import subprocess
import sys
from pathlib import Path

# The command that breaks the image, what the check must report, and the command that undoes it.
FAULTS = [
    ("systemctl disable -q ssh-chat.socket", "ssh-chat.socket isn't enabled", "systemctl enable -q ssh-chat.socket"),
    ("systemctl disable -q ssh-chat.service", "ssh-chat.service isn't enabled", "systemctl enable -q ssh-chat.service"),
    ("systemctl unmask -q ssh.service", "ssh.service isn't masked", "systemctl mask -q ssh.service"),
    ("systemctl unmask -q ssh.socket", "ssh.socket isn't masked", "systemctl mask -q ssh.socket"),
    ("mv /etc/systemd/system-generators /g", "systemd-ssh-generator would expose sshd", "mv /g /etc/systemd/system-generators"),
    ("mv /etc/systemd/journald.conf.d /j", "warnings don't go to the console", "mv /j /etc/systemd/journald.conf.d"),
    ("systemctl disable -q systemd-timesyncd", "no time synchronization", "systemctl enable -q systemd-timesyncd"),
    ("sed -i s/^access/acces/ /etc/ssh-chat/config.toml", "invalid configuration", "sed -i s/^acces/access/ /etc/ssh-chat/config.toml"),
    ("sed -i s/^listen/#listen/ /etc/ssh-chat/config.toml", "lacks listen", "sed -i s/^#listen/listen/ /etc/ssh-chat/config.toml"),
    ("ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key", "sshd host keys", "rm /etc/ssh/ssh_host*"),
    ("mkdir /root/.ssh && touch /root/.ssh/authorized_keys", "authorized keys", "rm -r /root/.ssh"),
    ("touch /root/id_ed25519", "private keys", "rm /root/id_ed25519"),
    ("touch /var/lib/ssh-chat/host_key", "chat data", "rm /var/lib/ssh-chat/host_key"),
    ("mkdir -p /var/lib/cloud/instances/i-0123", "cloud-init state", "rm -r /var/lib/cloud/instances"),
    ("touch /root/.bash_history", "shell history", "rm /root/.bash_history"),
    ("touch /var/lib/apt/lists/here", "package lists", "rm /var/lib/apt/lists/here"),
    ("touch /var/lib/systemd/random-seed", "random seed", "rm /var/lib/systemd/random-seed"),
    ("touch /var/log/cloud-init.log", "old logs", "rm /var/log/cloud-init.log"),
    ("mkdir /tmp/ssh-chat-image", "build files", "rmdir /tmp/ssh-chat-image"),
    ("systemd-machine-id-setup", "/etc/machine-id isn't an empty file", ": >/etc/machine-id"),
    ("echo uninitialized >/etc/machine-id", "/etc/machine-id isn't an empty file", ": >/etc/machine-id"),
    ("useradd alice", "unexpected users: alice", "userdel alice"),
    ("usermod -p '$6$x' root", "users who can log in with a password", "usermod -p '*' root"),
    ("passwd -qd root", "users who can log in with a password or without one: root", "usermod -p '*' root"),
    ("mkdir -p /etc/sudoers.d && touch /etc/sudoers.d/90-x", "sudo rules", "rm /etc/sudoers.d/90-x"),
]
LISTEN = "import socket, time; s = socket.socket(); s.bind(('', 8080)); s.listen(); time.sleep(9)"

# Runs on the image. Prints only faults that the check doesn't report, and the result of a last check.
SCRIPT = """
check() { sh /mnt/check </dev/null 2>&1; }
fault() {
	eval "$1" </dev/null >/dev/null 2>&1 || { echo "$1: failed"; exit 1; }
	if said=$(check) || ! echo "$said" | grep -qF "$2"; then echo "after $1, the check doesn't report \\"$2\\" but: $said"; fi
	eval "$3" </dev/null >/dev/null 2>&1 || { echo "$3: failed"; exit 1; }
}
"""


def quoted(word):
    return "'" + word.replace("'", "'\\''") + "'"


def main(root):
    calls = [f"fault {quoted(fault)} {quoted(says)} {quoted(undo)}" for fault, says, undo in FAULTS]
    listens = f'python3 -c "{LISTEN}" & sleep 1; fault true "unexpected listener" "kill $!"'
    lines = [SCRIPT, *calls, listens, "check"]
    ended = subprocess.run(
        ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network", "--resolv-conf=off", "--timezone=off",
         "--pipe", f"--directory={root}", f"--bind-ro={Path('packer/image').resolve()}:/mnt", "/bin/sh", "-c", "\n".join(lines)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_NSPAWN_TMPFS_TMP": "0"})
    said = ended.stdout.strip()
    if ended.returncode != 0 or said != "image check: passed":
        sys.exit(f"FAILED: {said}\n{ended.stderr}")
    print(f"image check: reports all {len(FAULTS) + 1} faults")


main(sys.argv[1])
