"""Runs a server with users and a Prometheus that scrapes it. Checks that the queries in the dashboard and the
alert rules work, and that docs/operate.md has a section for each rule."""

import json
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

DEADLINE = 60.0
PEOPLE = 20
LINES = 50


def passed(words):
    print(f"ok  {words}")


def check(fine, words):
    if not fine:
        sys.exit(f"FAILED: {words}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait(what, is_so):
    end = time.monotonic() + DEADLINE
    while not (found := is_so()):
        check(time.monotonic() < end, f"timed out after {DEADLINE:.0f} s: {what}")
        time.sleep(0.2)
    return found


class Server:
    """The server with metrics enabled, in its own folder."""

    def __init__(self, binary, folder):
        self.folder = folder
        self.log = folder / "log"
        self.process = subprocess.Popen(
            [binary, "--listen", "127.0.0.1:0", "--data-dir", folder / "data", "--set", "limits.message_rate=0",
             "--set", "metrics.listen=127.0.0.1:0"],
            stdout=subprocess.PIPE, stderr=self.log.open("wb"), text=True)
        found = re.search(r"listening on 127\.0\.0\.1:(\d+)", self.process.stdout.readline())
        check(found, f"the server did not start: {self.log.read_text()}")
        self.port = found[1]
        self.metrics = re.search(r"metrics_listening.* address=(\S+)", self.log.read_text())[1]

    def talk(self):
        """Many users send many messages and leave."""
        def person(number):
            key = self.folder / f"key{number}"
            if not key.exists():
                subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
            return subprocess.Popen(
                ["ssh", "-T", "-F", "none", "-i", key, "-p", self.port, "-l", f"p{number}", "-o", "LogLevel=ERROR",
                 "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "127.0.0.1"],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        people = [person(number) for number in range(PEOPLE)]
        for line in range(LINES):
            for one in people:
                one.stdin.write(f"line {line}\n/msg nobody{line} hi\n")
                one.stdin.flush()
        for one in people:
            one.stdin.close()
            check(one.wait(DEADLINE) == 0, "a client failed")


class Prometheus:
    def __init__(self, folder, target):
        self.url = f"http://127.0.0.1:{free_port()}"
        config = folder / "prometheus.yml"
        config.write_text(json.dumps({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(Path("docs/monitoring/alerts.yml").resolve())],
            "scrape_configs": [{"job_name": "ssh-chat", "static_configs": [{"targets": [target]}]}],
        }))
        self.log = (folder / "prometheus.log").open("wb")
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}",
             f"--web.listen-address={self.url.removeprefix('http://')}"],
            stdout=self.log, stderr=self.log)

    def ask(self, path, **arguments):
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(arguments)}") as answer:
            return json.load(answer)["data"]

    def value(self, query):
        """The sum of what a query finds, or None."""
        try:
            found = self.ask("query", query=query)["result"]
        except (OSError, urllib.error.HTTPError):
            return None
        return sum(float(one["value"][1]) for one in found) if found else None


def dashboard():
    """The queries of all panels, as Grafana sends them."""
    for panel in json.loads(Path("docs/monitoring/grafana.json").read_text())["panels"]:
        for target in panel["targets"]:
            expression = target["expr"].replace("$instance", ".*").replace("$__rate_interval", "15s")
            yield panel["title"], expression


def alerts():
    text = Path("docs/monitoring/alerts.yml").read_text()
    return dict(re.findall(r"- alert: (\w+)\n +expr: (.*)", text))


def tried():
    """The alerts that a test expects to fire, and those that a test expects not to fire."""
    text = Path("docs/monitoring/alerts-test.yml").read_text()
    come = set(re.findall(r"alertname: (\w+)\n +exp_alerts:\n", text))
    stay_away = set(re.findall(r"alertname: (\w+), exp_alerts: \[\]", text))
    return come, stay_away


def main(binary):
    documented = set(re.findall(r"^\| `([a-z_]+)` \|", Path("docs/metrics.md").read_text(), re.M))
    queries = [*dashboard(), *alerts().items()]
    for title, query in queries:
        for name in re.findall(r"\b(?:ssh_chat|process)_\w+", query):
            check({name, name.removesuffix("_bucket")} & documented, f"{title}: docs/metrics.md has no {name}")
    passed(f"{len(queries)} queries in the dashboard and the rules use existing metrics")

    headings = set(re.findall(r"^### (\w+)$", Path("docs/operate.md").read_text(), re.M))
    check(headings == set(alerts()), f"docs/operate.md and the rules have different alerts: {headings ^ set(alerts())}")
    passed(f"docs/operate.md has a section for each of {len(headings)} alerts")

    runbooks = re.findall(r"- alert: (\w+)\n(?:(?!- alert).*\n)*? +runbook: docs/operate\.md#(\w+)",
                          Path("docs/monitoring/alerts.yml").read_text())
    check({name: name.lower() for name in alerts()} == dict(runbooks), f"each alert must link to its own section: {runbooks}")
    for what, names in zip(("fires", "does not fire"), tried()):
        check(names == set(alerts()), f"no test for when an alert {what}: {names ^ set(alerts())}")
    passed(f"each of {len(runbooks)} alerts links to its section, and has tests for when it fires and when it does not")

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        server = Server(binary, folder)
        prometheus = Prometheus(folder, server.metrics)
        try:
            watch(server, prometheus)
        finally:
            for process in (prometheus.process, server.process):
                process.terminate()
                process.wait(DEADLINE)


def watch(server, prometheus):
    wait("Prometheus scrapes", lambda: prometheus.value("up") == 1)
    before = prometheus.value('count({job="ssh-chat"})')
    server.talk()
    said = PEOPLE * LINES
    saved = 'ssh_chat_messages_total{outcome="saved"}'
    wait("all messages are counted", lambda: prometheus.value(saved) == said)
    passed(f"Prometheus scraped a server while {PEOPLE} users sent {said} messages")

    for title, query in dashboard():
        try:
            prometheus.ask("query", query=query)
        except urllib.error.HTTPError as error:
            sys.exit(f"FAILED: {title}: {query}: {error.read().decode()}")
    quiet = {"Failed store calls", "Refused logins by reason", "AWS calls"}
    for title in {title for title, _ in dashboard()} - quiet:
        panel = [query for name, query in dashboard() if name == title]
        wait(f"the panel {title} has data",
             lambda: any(prometheus.value(query) is not None for query in panel))
    passed("each panel of the dashboard has data")

    rules = prometheus.ask("rules")["groups"][0]["rules"]
    wrong = [f"{rule['name']} is {rule['health']}, {rule['state']}" for rule in rules
             if rule["health"] != "ok" or rule["state"] == "firing"]
    check(not wrong, f"on a healthy server: {wrong}")
    passed(f"{len(rules)} rules are evaluated, and none fires")

    def again(times):
        server.talk()
        wait("the messages are counted again", lambda: prometheus.value(saved) == times * said)
        return prometheus.value('count({job="ssh-chat"})')
    # A returning user causes other calls than a new one, such as reading marks.
    back, more = again(2), again(3)
    # How a connection ends depends on the network, so allow a few more series.
    check(more - back < 5, f"repeating the same added {more - back} series")
    passed(f"{before:.0f} series at the start, {back:.0f} after users had returned, {more:.0f} after they returned again")

    server.process.terminate()
    server.process.wait(DEADLINE)
    pending = wait("ChatDown fires", lambda: [alert for alert in prometheus.ask("alerts")["alerts"]
                                                if alert["labels"]["alertname"] == "ChatDown"])
    passed(f"a stopped server fires an alert: {pending[0]['annotations']['summary']}")


main(sys.argv[1])
