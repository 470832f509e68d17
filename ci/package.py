"""Checks a package: its files, their owners, its configuration files and its dependencies."""

import gzip
import io
import subprocess
import sys
import tarfile

DOC = "usr/share/doc/ssh-chat/"
# Every file except the man pages, with its mode.
FILES = {
    "etc/ssh-chat/config.toml": 0o644,
    "usr/bin/ssh-chat": 0o755,
    "usr/lib/systemd/system/ssh-chat.service": 0o644,
    "usr/lib/systemd/system/ssh-chat.socket": 0o644,
    "usr/lib/sysusers.d/ssh-chat.conf": 0o644,
    "usr/lib/tmpfiles.d/ssh-chat.conf": 0o644,
    "usr/share/bash-completion/completions/ssh-chat": 0o644,
    "usr/share/fish/vendor_completions.d/ssh-chat.fish": 0o644,
    "usr/share/zsh/vendor-completions/_ssh-chat": 0o644,
    DOC + "README.md": 0o644,
    DOC + "changelog.Debian.gz": 0o644,
    DOC + "configuration.md": 0o644,
    DOC + "copyright": 0o644,
    DOC + "logs.md": 0o644,
    DOC + "metrics.md": 0o644,
    DOC + "operate.md": 0o644,
    DOC + "scripting.md": 0o644,
    DOC + "third-party.txt.gz": 0o644,
}
MAN = "usr/share/man/man1/"
PAGES = {"ssh-chat", "ssh-chat-serve", "ssh-chat-doctor", "ssh-chat-keys-add", "ssh-chat-host-key-show"}
SCRIPTS = {"postinst", "prerm", "postrm"}


def archive(deb, which):
    tar = subprocess.run(["dpkg-deb", which, deb], check=True, stdout=subprocess.PIPE).stdout
    with tarfile.open(fileobj=io.BytesIO(tar)) as members:
        return {
            member.name.removeprefix("./"): (member, members.extractfile(member).read())
            for member in members
            if member.isfile()
        }


def check(deb):
    files = archive(deb, "--fsys-tarfile")
    pages = {name for name in files if name.startswith(MAN)}
    found = {name: member.mode for name, (member, _) in files.items() if name not in pages}
    assert found == FILES, set(found.items()) ^ set(FILES.items())
    assert {MAN + page + ".1.gz" for page in PAGES} <= pages, sorted(pages)
    for name, (member, _) in files.items():
        assert (member.uid, member.gid) == (0, 0), f"{name} isn't owned by root"

    control = archive(deb, "--ctrl-tarfile")
    assert set(control) == {"control", "conffiles"} | SCRIPTS, sorted(control)
    assert control["conffiles"][1].split() == [b"/etc/ssh-chat/config.toml"]
    fields = dict(line.split(b": ", 1) for line in control["control"][1].splitlines() if b": " in line)
    assert b"libc6" in fields[b"Depends"] and b"systemd" in fields[b"Depends"], fields
    version = fields[b"Version"].split(b"-")[0]
    changes = gzip.decompress(files[DOC + "changelog.Debian.gz"][1]).split(b"\n")[0]
    assert b"(" + version in changes, f"ci/deb/changelog doesn't start with version {version.decode()}"
    size = len(files["usr/bin/ssh-chat"][1])
    return f"{len(files)} files, program: {size / 1e6:.1f} MB, depends on {fields[b'Depends'].decode()}"


print(check(sys.argv[1]), file=sys.stderr)
