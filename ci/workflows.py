"""Checks the workflows, because GitHub finds a typo only when it runs them: keys, dependencies between
jobs, each `run` with shellcheck, and that the scripts in ci/ that it calls exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

WORKFLOW = {"name", "on", "permissions", "concurrency", "env", "defaults", "jobs"}
JOB = {"name", "runs-on", "container", "needs", "if", "permissions", "env", "strategy", "timeout-minutes", "steps"}
STEP = {"name", "id", "if", "uses", "with", "run", "env", "shell", "working-directory", "timeout-minutes"}


class Loader(yaml.SafeLoader):
    """Loads YAML as GitHub does: `on` is a string, and duplicate keys are errors."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if tag != "tag:yaml.org,2002:bool"]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def mapping(loader, node):
    names = [loader.construct_object(key) for key, _ in node.value]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise yaml.constructor.ConstructorError(None, None, f"duplicate: {sorted(twice)}", node.start_mark)
    return {name: loader.construct_object(value, deep=True) for name, (_, value) in zip(names, node.value)}


Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)


def faults(text):
    """Yields every problem in a workflow."""
    try:
        flow = yaml.load(text, Loader)
    except yaml.YAMLError as error:
        yield str(error)
        return
    yield from strange("the workflow", flow, WORKFLOW, {"on", "permissions", "jobs"})
    for name, job in flow.get("jobs", {}).items():
        yield from strange(f"job {name}", job, JOB, {"runs-on", "steps", "timeout-minutes"})
        needed = job.get("needs", [])
        for other in [needed] if isinstance(needed, str) else needed:
            if other not in flow["jobs"]:
                yield f"job {name} needs {other}, which doesn't exist"
        for number, step in enumerate(job.get("steps", []), 1):
            yield from (f"job {name}, step {number}: {fault}" for fault in faults_of(step))


def faults_of(step):
    yield from strange("the step", step, STEP, set())
    if ("run" in step) == ("uses" in step):
        yield "needs exactly one of `run` and `uses`"
    if "uses" in step and not re.fullmatch(r"[\w.-]+/[\w./-]+@[\w.-]+", step["uses"]):
        yield f"{step['uses']} has no version"
    if "run" in step:
        # GitHub replaces expressions before a shell sees them.
        script = re.sub(r"\$\{\{.*?\}\}", "value", step["run"])
        found = subprocess.run(["shellcheck", "--shell=bash", "-"], input=script, text=True, stdout=subprocess.PIPE)
        if found.returncode != 0:
            yield found.stdout
        for called in re.findall(r"(?<![\w./-])ci/[\w-]+", script):
            if not os.access(called, os.X_OK):
                yield f"{called} doesn't exist or isn't executable"


def strange(what, found, known, wanted):
    if not isinstance(found, dict):
        yield f"{what} isn't a mapping"
        return
    for key in sorted(set(found) - known):
        yield f"{what} has an unknown key: {key}"
    for key in sorted(wanted - set(found)):
        yield f"{what} has no {key}"


# Broken workflows and the problem that must be found in each.
WRONG = {
    "on: push\non: pull": "duplicate: ['on']",
    "on: push\njobs: {}": "the workflow has no permissions",
    "jobs: {a: {steps: [{run: 'ci/nothing --x'}]}}": "ci/nothing doesn't exist",
    "jobs: {a: {steps: [{run: 'echo $x'}]}}": "SC2086",
    "jobs: {a: {steps: [{uses: actions/checkout}]}}": "has no version",
    "jobs: {a: {stepz: []}}": "unknown key: stepz",
    "jobs: {a: {needs: b}}": "needs b",
    "jobs: {a: {steps: [{name: x}]}}": "needs exactly one of `run` and `uses`",
}


def main(files):
    for text, words in WRONG.items():
        found = "\n".join(faults(text))
        assert words in found, f"{text}: expected {words}, found: {found}"
    wrong = [f"{file}: {fault}" for file in files for fault in faults(Path(file).read_text())]
    sys.exit("\n".join(wrong) or 0)


main(sys.argv[1:])
