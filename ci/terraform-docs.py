"""Generates what follows from terraform/modules/chat: variables and outputs of the folder terraform, which
pass them on, and the tables in terraform/README.md. Compares them with the files; with UPDATE_DOCS=1 it
updates them."""

import difflib
import os
import re
import sys
from pathlib import Path

MODULE = Path("terraform/modules/chat")
README = Path("terraform/README.md")
NOTE = "# Generated from modules/chat by UPDATE_DOCS=1 ci/terraform. Don't edit.\n"


def blocks(kind, file):
    """Yields the name, the body, the description and the default of each block of this kind."""
    for name, body in re.findall(rf'^{kind} "(\w+)" {{\n(.*?)^}}$', file.read_text(), re.M | re.S):
        said = dict(re.findall(r"^  (description|default|type) += (.*)$", body, re.M))
        if "description" not in said:
            sys.exit(f"{file}: {name} has no description")
        yield name, said


def variables():
    """The module's variables without their defaults and conditions: null means the module's default."""
    parts = [NOTE]
    for name, said in blocks("variable", MODULE / "variables.tf"):
        lines = [("type", said["type"]), ("description", said["description"])]
        lines += [("default", "null")] if "default" in said else [("nullable", "false")]
        parts.append(f'variable "{name}" {{\n' + "".join(f"  {key:11} = {value}\n" for key, value in lines) + "}\n")
    return "\n".join(parts)


def module():
    names = [name for name, _ in blocks("variable", MODULE / "variables.tf")]
    width = max(map(len, names))
    passed = "".join(f"  {name:{width}} = var.{name}\n" for name in names)
    parts = [NOTE, f'module "chat" {{\n  source = "./modules/chat"\n\n{passed}}}\n']
    for name, said in blocks("output", MODULE / "outputs.tf"):
        parts.append(f'output "{name}" {{\n  description = {said["description"]}\n  value       = module.chat.{name}\n}}\n')
    return "\n".join(parts)


def table(kind, blocks):
    if kind == "outputs":
        yield from ("| Output | Description |", "|---|---|")
    else:
        yield from ("| Variable | Default | Description |", "|---|---|---|")
    for name, said in blocks:
        description = said["description"][1:-1].replace('\\"', '"')
        shown = {None: "must be set", "null": "none"}.get(said.get("default"), f"`{said.get('default')}`")
        yield f"| `{name}` | {description} |" if kind == "outputs" else f"| `{name}` | {shown} | {description} |"


def readme():
    text = README.read_text()
    region = list(blocks("variable", Path("terraform/main.tf")))
    for kind, rows in (("variables", region + list(blocks("variable", MODULE / "variables.tf"))),
                       ("outputs", blocks("output", MODULE / "outputs.tf"))):
        begin, end = f"<!-- {kind}: written by UPDATE_DOCS=1 ci/terraform -->\n", f"<!-- end of {kind} -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            sys.exit(f"{README} lacks the markers for its {kind}: {begin.strip()} … {end}")
        before, rest = text.split(begin)
        text = before + begin + "".join(line + "\n" for line in table(kind, rows)) + end + rest.split(end)[1]
    return text


def main():
    stale = []
    for file, right in ((Path("terraform/variables.tf"), variables()), (Path("terraform/chat.tf"), module()), (README, readme())):
        present = file.read_text() if file.exists() else ""
        if right != present and os.environ.get("UPDATE_DOCS"):
            file.write_text(right)
        elif right != present:
            sys.stdout.writelines(difflib.unified_diff(present.splitlines(True), right.splitlines(True), str(file), "the module"))
            stale.append(str(file))
    if stale:
        sys.exit(f"Out of date: {', '.join(stale)}. Run UPDATE_DOCS=1 ci/terraform")


main()
