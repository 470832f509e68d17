"""Clients that connect continuously from many addresses, and their results. Runs in a machine's network
namespace."""

import contextlib
import json
import random
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from machine import Failed


@contextlib.contextmanager
def crowd(machine):
    """Clients connect to the machine continuously, and each must get an answer. Yields a dictionary that contains
    `answered` and `slowest` (in seconds) afterwards."""
    command = machine.in_its_network(sys.executable, Path(__file__).resolve())
    result = {}
    with subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as people:
        if people.stdout.readline() != "the first was answered\n":
            raise Failed("no connection was answered")
        yield result
        people.stdin.close()
        result |= json.loads(people.stdout.readline())
    if result["failed"]:
        raise Failed(str(result))


def knock():
    """Connects repeatedly, eight at a time, until standard input closes."""
    stop, lock = threading.Event(), threading.Lock()
    answered, failed = [], []

    def visit(number):
        while not stop.is_set():
            start = time.monotonic()
            try:
                # From many addresses, like real clients.
                source = (f"127.{number}.{random.randrange(256)}.{random.randrange(1, 255)}", 0)
                with socket.create_connection(("127.0.0.1", 22), 30, source) as visitor:
                    if visitor.recv(8) != b"SSH-2.0-":
                        raise Failed("connection closed")
                with lock:
                    answered.append(time.monotonic() - start)
            except (OSError, Failed) as error:
                with lock:
                    failed.append(f"after {time.monotonic() - start:.3f} s: {error!r}")
            if number == 1 and len(answered) + len(failed) > 0 and not told.is_set():
                told.set()
                print("the first was answered", flush=True)
            time.sleep(0.02)

    told = threading.Event()
    people = [threading.Thread(target=visit, args=(number,)) for number in range(1, 9)]
    for person in people:
        person.start()
    sys.stdin.read()
    stop.set()
    for person in people:
        person.join()
    print(json.dumps({"answered": len(answered), "failed": failed, "slowest": max(answered, default=0)}), flush=True)


if __name__ == "__main__":
    knock()
