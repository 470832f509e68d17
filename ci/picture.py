"""Runs a conversation between three users with the real server and OpenSSH, and draws one user's screen as SVG."""

import html
import os
import pty
import re
import select
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pyte

COLUMNS, ROWS = 84, 19
DEADLINE = 15.0
# Colours on a dark background, by name.
PALETTE = {
    "default": "#d8dee9", "red": "#e06c75", "green": "#98c379", "brown": "#e5c07b", "blue": "#61afef",
    "magenta": "#c678dd", "cyan": "#56b6c2", "white": "#d8dee9", "black": "#1e222a",
}
BACKGROUND, FAINT = "#1e222a", "#7f8896"


class FaintScreen(pyte.Screen):
    """pyte doesn't support faint text (SGR 2), so it's stored as "blink", which is otherwise unused."""

    def select_graphic_rendition(self, *attributes, **rest):
        super().select_graphic_rendition(*[5 if a == 2 else a for a in attributes], **rest)


class Terminal:
    """An OpenSSH client in a pseudo-terminal, read through an emulator."""

    def __init__(self, port, folder, name):
        key = folder / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(key)], check=True)
        self.screen = FaintScreen(COLUMNS, ROWS)
        self.stream = pyte.ByteStream(self.screen)
        self.lock = threading.Lock()
        command = ["ssh", "-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                   "-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-i", str(key),
                   "-p", str(port), f"{name}@127.0.0.1"]
        pid, self.fd = pty.fork()
        if pid == 0:
            os.environ.update(TERM="xterm-256color", LANG="C.UTF-8")
            os.execvp(command[0], command)
        import fcntl, struct, termios
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        threading.Thread(target=self.read, daemon=True).start()
        self.wait_for("lobby")

    def read(self):
        while True:
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                return
            if not data:
                return
            with self.lock:
                self.stream.feed(data)

    def text(self):
        with self.lock:
            return "\n".join(self.screen.display)

    def wait_for(self, words):
        until = time.monotonic() + DEADLINE
        while words not in self.text():
            if time.monotonic() > until:
                sys.exit(f"{words!r} was not shown:\n{self.text()}")
            select.select([], [], [], 0.02)

    def type(self, keys):
        os.write(self.fd, keys.encode())

    def say(self, words, seen_by):
        self.type(words + "\r")
        last = words.split()[-1]
        for terminal in seen_by:
            terminal.wait_for(last)


def play(port, folder):
    bob = Terminal(port, folder, "bob")
    carol = Terminal(port, folder, "carol")
    everybody = [bob, carol]
    bob.say("/topic release on Friday", everybody)
    bob.say("has anyone tried the new image? 🎉", everybody)
    carol.say("it boots in 十二 seconds here", everybody)
    alice = Terminal(port, folder, "alice")
    everybody.append(alice)
    alice.wait_for("seconds")
    bob.wait_for("alice")
    bob.say("@alice your turn", everybody)
    carol.say("/msg alice psst, the fingerprint is the same as yesterday", [alice])
    carol.say("/me waves", everybody)
    bob.say("a long message wraps under itself, never under the time or the name; and what you are "
            "typing stays where it is", everybody)
    carol.type("\x1b[200~a pasted block keeps its lines:\nfn main() {\n    println!(\"hi\");\n}\x1b[201~\r")
    alice.wait_for("println")
    alice.type("half typed, and it stays he")
    alice.wait_for("stays he")
    return alice


def draw(screen, path):
    width, height, left, top = 8.4, 18, 16, 40
    rows = []
    for y in range(screen.lines):
        # One element per word, so that columns stay aligned with any font.
        words, style = [], None
        for x in range(screen.columns):
            cell = screen.buffer[y][x]
            if cell.data == " ":
                style = None
            elif cell.data and style == (cell.fg, cell.bold, cell.blink):
                words[-1][1] += cell.data
            elif cell.data:
                style = (cell.fg, cell.bold, cell.blink)
                words.append([x, cell.data, *style])
        for x, word, fg, bold, faint in words:
            colour = FAINT if faint else PALETTE.get(fg, "#" + fg if re.fullmatch("[0-9a-f]{6}", fg) else PALETTE["default"])
            weight = ' font-weight="bold"' if bold else ""
            rows.append(f'<text x="{left + x * width:.1f}" y="{top + (y + 1) * height}" fill="{colour}"{weight}>{html.escape(word)}</text>')
    cursor = screen.cursor
    rows.append(f'<rect x="{left + cursor.x * width:.1f}" y="{top + cursor.y * height + 4}" width="{width}" height="{height - 2}" fill="{PALETTE["default"]}" opacity="0.7"/>')
    w, h = left * 2 + screen.columns * width, top + screen.lines * height + 20
    dots = "".join(f'<circle cx="{20 + i * 18}" cy="20" r="6" fill="{c}"/>' for i, c in enumerate(("#e06c75", "#e5c07b", "#98c379")))
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w:.0f} {h:.0f}" role="img" aria-label="Three people chatting in ssh-chat">\n'
        f'<rect width="100%" height="100%" rx="10" fill="{BACKGROUND}"/>{dots}\n'
        f'<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="14" xml:space="preserve">\n'
        + "\n".join(rows) + "\n</g>\n</svg>\n")


def main():
    binary, target = sys.argv[1], Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = subprocess.Popen(
            [binary, "--listen", "127.0.0.1:0", "--data-dir", str(folder / "data"), "--set", "host_name=chat.example.com"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            port = int(re.search(r":(\d+)", server.stdout.readline())[1])
            alice = play(port, folder)
            with alice.lock:
                draw(alice.screen, target)
            print(alice.text())
        finally:
            server.terminate()
            server.wait(DEADLINE)


main()
