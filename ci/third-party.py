"""Lists the third-party crates in the program, with their licences and licence texts."""

import json
import pathlib
import subprocess
import sys

TARGET = sys.argv[1]
NAMES = ("license", "licence", "copying", "notice", "copyright", "unlicense")


def metadata():
    command = ["cargo", "metadata", "--locked", "--format-version=1", f"--filter-platform={TARGET}"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def linked(data):
    """The packages linked into the program, without build and test dependencies."""
    nodes = {node["id"]: node for node in data["resolve"]["nodes"]}
    root = data["resolve"]["root"]
    found, todo = set(), [root]
    while todo:
        package = todo.pop()
        if package not in found:
            found.add(package)
            for dep in nodes[package]["deps"]:
                if any(kind["kind"] is None for kind in dep["dep_kinds"]):
                    todo.append(dep["pkg"])
    packages = [package for package in data["packages"] if package["id"] in found - {root}]
    return sorted(packages, key=lambda package: (package["name"], package["version"]))


def texts(package):
    folder = pathlib.Path(package["manifest_path"]).parent
    files = (file for file in folder.iterdir() if file.is_file())
    names = sorted(file for file in files if file.name.lower().startswith(NAMES))
    return [file.read_text(encoding="utf-8", errors="replace").strip() for file in names]


def main():
    packages = linked(metadata())
    # Each text is written once, however many packages share it.
    where = {}
    print("ssh-chat is linked with these packages. The numbers refer to the licence texts below.\n")
    for package in packages:
        numbers = [where.setdefault(text, len(where) + 1) for text in texts(package)]
        license = package["license"] or "see text"
        print(f"{package['name']} {package['version']}: {license} {numbers or ''}".rstrip())
    print("\nSQLite, within libsqlite3-sys, is in the public domain: https://sqlite.org/copyright.html")
    for text, number in where.items():
        print(f"\n{'=' * 78}\n[{number}]\n\n{text}")


main()
