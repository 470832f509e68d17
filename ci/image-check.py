"""Spoils an image in each way that packer/image/check is there for, and makes sure that the check
says so: a check that nothing fails is none. In a copy of the image's folder, which it changes."""

import shutil
import subprocess
import sys
from pathlib import Path

# What is done to the image, and what the check must say. Each is undone by the command that comes third.
FAULTS = [
    ("systemctl disable -q ssh-chat.socket", "ssh-chat.socket is not enabled", "systemctl enable -q ssh-chat.socket"),
    ("systemctl disable -q ssh-chat.service", "ssh-chat.service is not enabled", "systemctl enable -q ssh-chat.service"),
    ("systemctl unmask -q ssh.service", "ssh.service is not masked", "systemctl mask -q ssh.service"),
    ("systemctl unmask -q ssh.socket", "ssh.socket is not masked", "systemctl mask -q ssh.socket"),
    ("mv /etc/systemd/system-generators /g", "systemd-ssh-generator would open", "mv /g /etc/systemd/system-generators"),
    ("systemctl disable -q systemd-timesyncd", "nothing sets the clock", "systemctl enable -q systemd-timesyncd"),
    ("sed -i s/^access/acces/ /etc/ssh-chat/config.toml", "the configuration is wrong", "sed -i s/^acces/access/ /etc/ssh-chat/config.toml"),
    ("sed -i s/^listen/#listen/ /etc/ssh-chat/config.toml", "does not say listen", "sed -i s/^#listen/listen/ /etc/ssh-chat/config.toml"),
    ("ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key", "host keys of the SSH server", "rm /etc/ssh/ssh_host*"),
    ("mkdir /root/.ssh && touch /root/.ssh/authorized_keys", "keys that let somebody in", "rm -r /root/.ssh"),
    ("touch /root/id_ed25519", "private keys", "rm /root/id_ed25519"),
    ("touch /var/lib/ssh-chat/host_key", "data of a chat", "rm /var/lib/ssh-chat/host_key"),
    ("mkdir -p /var/lib/cloud/instances/i-0123", "what cloud-init knows", "rm -r /var/lib/cloud/instances"),
    ("touch /root/.bash_history", "history of a shell", "rm /root/.bash_history"),
    ("touch /var/lib/apt/lists/here", "lists of packages", "rm /var/lib/apt/lists/here"),
    ("touch /var/lib/systemd/random-seed", "the seed of random numbers", "rm /var/lib/systemd/random-seed"),
    ("touch /var/log/cloud-init.log", "old logs", "rm /var/log/cloud-init.log"),
    ("mkdir /tmp/ssh-chat-image", "what the image was made from", "rmdir /tmp/ssh-chat-image"),
    ("systemd-machine-id-setup", "/etc/machine-id is not an empty file", ": >/etc/machine-id"),
    ("echo uninitialized >/etc/machine-id", "/etc/machine-id is not an empty file", ": >/etc/machine-id"),
    ("useradd alice", "there are users: alice", "userdel alice"),
    ("usermod -p '$6$x' root", "can log in with a password", "usermod -p '*' root"),
    ("passwd -qd root", "can log in with a password, or without one: root", "usermod -p '*' root"),
    ("mkdir -p /etc/sudoers.d && touch /etc/sudoers.d/90-x", "somebody may become root", "rm /etc/sudoers.d/90-x"),
]
LISTEN = "import socket, time; s = socket.socket(); s.bind(('', 8080)); s.listen(); time.sleep(9)"

# Runs on the image: one line for each fault, "ok" or what was said instead.
SCRIPT = """
check() { sh /mnt/check </dev/null 2>&1; }
fault() {
	eval "$1" </dev/null >/dev/null 2>&1 || { echo "$1: could not be done"; exit 1; }
	if said=$(check) || ! echo "$said" | grep -qF "$2"; then echo "after $1 it does not say \\"$2\\" but: $said"; fi
	eval "$3" </dev/null >/dev/null 2>&1 || { echo "$3: could not be done"; exit 1; }
}
"""


def quoted(word):
    return "'" + word.replace("'", "'\\''") + "'"


def main(root):
    calls = [f"fault {quoted(fault)} {quoted(says)} {quoted(undo)}" for fault, says, undo in FAULTS]
    listens = f'python3 -c "{LISTEN}" & sleep 1; fault true "something listens" "kill $!"'
    lines = [SCRIPT, *calls, listens, "check"]
    ended = subprocess.run(
        ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network", "--resolv-conf=off", "--timezone=off",
         "--pipe", f"--directory={root}", f"--bind-ro={Path('packer/image').resolve()}:/mnt", "/bin/sh", "-c", "\n".join(lines)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_NSPAWN_TMPFS_TMP": "0"})
    said = ended.stdout.strip()
    if ended.returncode != 0 or said != "image check: nothing wrong":
        sys.exit(f"FAILED: {said}\n{ended.stderr}")
    print(f"image check: says {len(FAULTS) + 1} faults by their names")


main(sys.argv[1])
