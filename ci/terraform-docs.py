"""Compares the tables of variables and outputs in terraform/README.md with the source. With
UPDATE_DOCS=1 it updates them."""

import difflib
import os
import re
import sys
from pathlib import Path

README = Path("terraform/README.md")


def blocks(kind):
    """Yields the name, description and default of each block of this kind."""
    source = Path(f"terraform/{kind}s.tf").read_text()
    for name, body in re.findall(rf'^{kind} "(\w+)" {{\n(.*?)^}}$', source, re.M | re.S):
        said = dict(re.findall(r"^  (description|default) += (.*)$", body, re.M))
        if "description" not in said:
            sys.exit(f"terraform/{kind}s.tf: {name} has no description")
        yield name, said["description"][1:-1].replace('\\"', '"'), said.get("default")


def variables():
    yield "| Variable | Default | Description |"
    yield "|---|---|---|"
    for name, description, default in blocks("variable"):
        shown = {None: "must be set", "null": "none"}.get(default, f"`{default}`")
        yield f"| `{name}` | {shown} | {description} |"


def outputs():
    yield "| Output | Description |"
    yield "|---|---|"
    for name, description, _ in blocks("output"):
        yield f"| `{name}` | {description} |"


def main():
    present = README.read_text()
    right = present
    for name, lines in (("variables", variables()), ("outputs", outputs())):
        begin, end = f"<!-- {name}: written by UPDATE_DOCS=1 ci/terraform -->\n", f"<!-- end of {name} -->"
        if present.count(begin) != 1 or present.count(end) != 1:
            sys.exit(f"{README} lacks the markers for its {name}: {begin.strip()} … {end}")
        before, rest = right.split(begin)
        after = rest.split(end)[1]
        right = before + begin + "".join(line + "\n" for line in lines) + end + after
    if right == present:
        return
    if os.environ.get("UPDATE_DOCS"):
        README.write_text(right)
        return
    sys.stdout.writelines(difflib.unified_diff(present.splitlines(True), right.splitlines(True), str(README), "the source"))
    sys.exit(f"{README} is out of date. Run UPDATE_DOCS=1 ci/terraform")


main()
