"""Tests the key page as on Lambda: a local Runtime API, the program as its `bootstrap`, and a server next to
it, both on moto. With IAM policies, each may do only what its own policy allows.

Usage: ci/page.py PROGRAM [COMMAND…], where COMMAND runs the page, such as an emulator of another processor."""

import base64
import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3

DEADLINE = 60
PAGE, SERVER = "AKIDPAGE", "AKIDSERVER"


class Failed(Exception):
    pass


def check(right, otherwise):
    if not right:
        raise Failed(otherwise)


class Runtime:
    """The Lambda Runtime API, version 2018-06-01, for one function that handles one event at a time."""

    def __init__(self):
        self.events, self.answers = queue.Queue(), queue.Queue()
        self.asked = threading.Event()
        runtime = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                if self.path != "/2018-06-01/runtime/invocation/next":
                    return self.answer(404, b"")
                runtime.asked.set()
                number, event = runtime.events.get()
                if event is not None:
                    self.answer(200, event, ("Lambda-Runtime-Aws-Request-Id", f"8476a536-e9f4-11e8-{number:04}"), ("Lambda-Runtime-Deadline-Ms", str(int(time.time() * 1000) + 15000)))

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                kind = self.path.rpartition("/")[2]
                runtime.answers.put((kind, body))
                self.answer(202 if kind in ("response", "error") else 404, b"")

            def answer(self, status, body, *headers):
                self.send_response(status)
                for header in (*headers, ("Content-Length", str(len(body)))):
                    self.send_header(*header)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.api = f"127.0.0.1:{self.server.server_port}"
        self.number = 0

    def stop(self):
        self.events.put((0, None))
        self.server.shutdown()
        self.server.server_close()


class Function:
    """The program as Lambda runs it: only these variables, and no home folder."""

    def __init__(self, command, told, aws, folder):
        self.runtime = Runtime()
        self.log = folder / "function.log"
        environment = {
            **told, "AWS_LAMBDA_RUNTIME_API": self.runtime.api, "_HANDLER": "bootstrap", "LAMBDA_TASK_ROOT": str(folder), "PATH": "/usr/bin:/bin",
            "TZ": ":UTC", "AWS_LAMBDA_FUNCTION_NAME": "ssh-chat-web", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256", **credentials(PAGE, aws),
        }
        self.began = time.monotonic()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = self.began + DEADLINE
        while not self.runtime.asked.wait(0.01):
            check(self.process.poll() is None, f"the function ended with {self.process.returncode}:\n{self.log.read_text()}")
            check(time.monotonic() < deadline, f"the function doesn't request an event:\n{self.log.read_text()}")
        self.init = time.monotonic() - self.began

    def event(self, event):
        self.runtime.number += 1
        self.runtime.events.put((self.runtime.number, event))
        try:
            kind, body = self.runtime.answers.get(timeout=DEADLINE)
        except queue.Empty:
            raise Failed(f"the function doesn't respond:\n{self.log.read_text()}") from None
        return kind, json.loads(body)

    def get(self, path="/"):
        return self.request("GET", path, None, {})

    def post(self, **fields):
        """Submits the form as a browser does."""
        parts = "".join(f'--XXXX\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items())
        headers = {"content-type": "multipart/form-data; boundary=XXXX", "origin": "null", "sec-fetch-site": "same-origin"}
        return self.request("POST", "/", parts + "--XXXX--\r\n", headers)

    def request(self, method, path, body, headers):
        """Sends an API Gateway event with payload format 2.0, as in AWS's documentation."""
        host = "abc123.execute-api.eu-central-1.amazonaws.com"
        event = {
            "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "", "cookies": [],
            "headers": {"host": host, "accept": "text/html", "x-forwarded-for": "203.0.113.7", "x-forwarded-port": "443", "x-forwarded-proto": "https", **headers},
            "requestContext": {
                "accountId": "123456789012", "apiId": "abc123", "domainName": host, "domainPrefix": "abc123", "routeKey": "$default", "stage": "$default",
                "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7", "userAgent": "a browser"},
                "requestId": "JKJaXmPLvHcESHA=", "time": "12/Mar/2020:19:03:58 +0000", "timeEpoch": 1583348638390,
            },
            "isBase64Encoded": body is not None,
        }
        if body is not None:
            event["body"] = base64.b64encode(body.encode()).decode()
        kind, answer = self.event(json.dumps(event).encode())
        check(kind == "response", f"the function answers {kind}: {answer}")
        return answer

    def peak_memory(self):
        """Peak memory in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024

    def stop(self):
        self.process.terminate()
        self.process.wait(DEADLINE)
        self.runtime.stop()


class Server:
    """A server that uses the same resources as the function, with alice as operator."""

    def __init__(self, program, told, secret, aws, folder):
        self.folder = folder
        alice = self.make_key("alice")
        settings = {
            "listen": "127.0.0.1:0", "access": "allowlist", "operator_keys": alice, "aws.host_key_secret": secret, "aws.refresh": "1s",
            "aws.host_key_parameter": told["SSH_CHAT_AWS_HOST_KEY_PARAMETER"], "aws.table": told["SSH_CHAT_AWS_TABLE"], "web_url": told["SSH_CHAT_WEB_URL"],
        }
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), **credentials(SERVER, aws)}
        command = [program, "serve", "--data-dir", str(folder / "data")]
        for name, value in settings.items():
            command += ["--set", f"{name}={value}"]
        self.log = folder / "server.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + DEADLINE
        while not (found := re.search(r"is listening on 127\.0\.0\.1:(\d+)\n(.|\n)*SHA256:", self.log.read_text())):
            check(self.process.poll() is None and time.monotonic() < deadline, f"the server doesn't start:\n{self.log.read_text()}")
            time.sleep(0.05)
        self.port = found[1]

    def make_key(self, name):
        """Creates a key pair and returns the public key."""
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", self.folder / name], check=True)
        return (self.folder / f"{name}.pub").read_text().strip()

    def ssh(self, who, *words, status=0):
        done = subprocess.run([
            "ssh", "-F", "none", "-p", self.port, "-i", self.folder / who, "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "BatchMode=yes",
            "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={self.folder / 'known_hosts'}", "-l", who, "127.0.0.1", *words,
        ], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE)
        check(done.returncode == status, f"ssh {who} {words} ended with {done.returncode}: {done.stdout}{done.stderr}\n{self.log.read_text()}")
        return done.stdout

    def invite(self, *words):
        return json.loads(self.ssh("alice", "invite", *words, "--json"))

    def fingerprint(self):
        return re.search(r"host key\s+(SHA256:\S+)", self.log.read_text())[1]

    def stop(self):
        self.process.terminate()
        self.process.wait(DEADLINE)


def credentials(who, aws):
    return {"AWS_ACCESS_KEY_ID": who, "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "eu-central-1", "AWS_ENDPOINT_URL": aws, "AWS_EC2_METADATA_DISABLED": "true"}


def ask(aws, path, **said):
    body = json.dumps(said).encode() if said else b""
    with urllib.request.urlopen(urllib.request.Request(f"{aws}/{path}", body, method="POST"), timeout=DEADLINE) as answer:
        return json.load(answer)


def walk(aws, client, told, secret, program, command, folder):
    """Users register through the page. `client(service)` is for inspection and not subject to a policy. Returns a
    summary of the measurements."""
    dynamodb, table = client("dynamodb"), told["SSH_CHAT_AWS_TABLE"]
    server = Server(program, told, secret, aws, folder)
    try:
        published(client("ssm"), told["SSH_CHAT_AWS_HOST_KEY_PARAMETER"], server)
        function = Function(command, told, aws, folder)
        try:
            shown = function.get()
            first = time.monotonic() - function.began
            check(shown["statusCode"] == 200 and server.fingerprint() in shown["body"], f"the page is {shown}")
            check(shown["headers"]["content-security-policy"].startswith("default-src 'none'"), f"the headers are {shown['headers']}")
            style = re.search(r'href="(/[^"]+\.css)"', shown["body"])[1]
            check(function.get(style)["headers"]["content-type"].startswith("text/css"), "the style sheet is missing")
            check(function.get("/nothing")["statusCode"] == 404, "an unknown path is not a 404")
            kind, words = function.event(b"{}")
            check(kind == "error" and "2.0" in words["errorMessage"], f"an invalid event is answered with {kind} {words}")

            made = server.invite("3", "7d", "member")
            check(made["link"] == told["SSH_CHAT_WEB_URL"] + "#" + made["code"], f"the link of an invite is {made}")
            bob = {"code": made["code"], "name": "bob", "key": server.make_key("bob")}
            wrong = function.post(**{**bob, "code": "ABCDE-ABCDE-ABCDE-ABCDE-ABCDEF"})
            check(wrong["statusCode"] == 422 and "Invalid invite code" in wrong["body"], f"a wrong code is answered with {wrong}")
            for when in ("once", "twice"):
                done = function.post(**bob)
                check(done["statusCode"] == 200 and "Welcome, bob" in done["body"], f"the form, sent {when}, is answered with {done}")
            check("bob" in server.ssh("bob", "whoami"), "bob can't log in")
            taken = function.post(code=made["code"], name="bob", key=server.make_key("eve"))
            check(taken["statusCode"] == 422 and "is taken" in taken["body"], f"a taken name is answered with {taken}")

            # The response gets lost: the page must find out whether the write was applied.
            ask(aws, "fault", operation="TransactWriteItems", about="carol", times=1, applied=True, status=500, code="InternalServerError")
            done = function.post(code=made["code"], name="carol", key=server.make_key("carol"))
            check(done["statusCode"] == 200, f"when a response from the table is lost, the page answers {done}")
            check("carol" in server.ssh("carol", "whoami"), "carol can't log in")

            # A user who has already requested access.
            dave = server.make_key("dave")
            fingerprint = subprocess.run(["ssh-keygen", "-lf", folder / "dave.pub"], capture_output=True, text=True, check=True).stdout.split()[1]
            waiting = {"fingerprint": fingerprint, "algorithm": "ssh-ed25519", "comment": "dave", "name": "dave", "from": "127.0.0.1"}
            dynamodb.put_item(TableName=table, Item={
                "pk": {"S": "PENDING"}, "sk": {"S": fingerprint}, "at": {"N": "1"}, "added": {"N": "1"}, **{name: {"S": value} for name, value in waiting.items()}})
            dynamodb.put_item(TableName=table, Item={"pk": {"S": "STATE"}, "sk": {"S": "WAITING"}, "number": {"N": "1"}})
            done = function.post(code=made["code"], name="dave", key=dave)
            check(done["statusCode"] == 200, f"a user with a pending request is answered with {done}")
            check(dynamodb.get_item(TableName=table, Key={"pk": {"S": "STATE"}, "sk": {"S": "WAITING"}})["Item"]["number"]["N"] == "0", "dave's request is still pending")
            used_up = function.post(code=made["code"], name="eve", key=(folder / "eve.pub").read_text())
            check(used_up["statusCode"] == 422 and "Invalid invite code" in used_up["body"], f"a used-up code is answered with {used_up}")

            trent = server.invite("1", "7d", "operator")
            done = function.post(code=trent["code"], name="trent", key=server.make_key("trent"))
            check(done["statusCode"] == 200 and "operator" in server.ssh("trent", "whoami"), f"an invite for operators is answered with {done}")
            more = server.invite("1", "7d", "member")
            server.ssh("alice", "lockdown", "1h")
            locked = function.post(code=more["code"], name="eve", key=(folder / "eve.pub").read_text())
            check(locked["statusCode"] == 403, f"during a lockdown the page answers {locked}")
            server.ssh("alice", "lockdown", "off")
            chatter(server)

            log = function.log.read_text()
            for personal in ("bob", "203.0.113.7", "browser", made["code"], bob["key"].split()[1]):
                check(personal not in log, f"the page's log contains {personal}:\n{log}")
            return f"ready after {function.init * 1000:.0f} ms, the first page after {first * 1000:.0f} ms, at most {function.peak_memory():.0f} MiB"
        finally:
            function.stop()
    finally:
        server.stop()


def published(ssm, parameter, server):
    """Waits until the server has published its host key."""
    deadline = time.monotonic() + DEADLINE
    while True:
        found = ssm.get_parameters(Names=[parameter])["Parameters"]
        if found and server.fingerprint() in found[0]["Value"]:
            return
        check(time.monotonic() < deadline, f"the server doesn't publish its host key:\n{server.log.read_text()}")
        time.sleep(0.05)


def chatter(server):
    """Uses the server's remaining permissions."""
    server.ssh("bob", "send", "lobby", "hello")
    for words in (["history", "lobby"], ["search", "hello"], ["rooms"], ["topic", "lobby", "all of it"], ["mute", "carol", "10m"], ["unmute", "carol"],
                  ["ban", "192.0.2.1", "1h"], ["bans"], ["unban", "1"], ["op", "bob"], ["deop", "bob"], ["audit", "50"], ["nick", "alicia"]):
        server.ssh("alice", *words)


def judged(aws, client, told, secret, policies, program, folder):
    """Does the same with a policy for each: no necessary call is denied, no unnecessary permission is granted, and
    forbidden calls by the page are denied."""
    for who, policy in policies.items():
        ask(aws, "policy", who=who, policy=policy)
    figures = walk(aws, client, told, secret, program, [program], folder)
    verdicts = ask(aws, "policy")
    for who in (PAGE, SERVER):
        check(not verdicts[who]["denied"], f"{who} lacks permissions: {verdicts[who]['denied']}")
        # Lambda writes the log itself, and the server doesn't call Session Manager.
        superfluous = [permission for permission in verdicts[who]["not_used"] if permission.split()[0] not in ("Log", "Metrics", "SessionManager")]
        check(not superfluous, f"{who} has unnecessary permissions: {superfluous}")

    keys = {"region_name": "eu-central-1", "endpoint_url": aws, "aws_access_key_id": PAGE, "aws_secret_access_key": "x"}
    dynamodb, table = boto3.client("dynamodb", **keys), told["SSH_CHAT_AWS_TABLE"]

    def key(pk, sk="x"):
        return {"pk": {"S": pk}, "sk": {"S": sk}}

    def query(pk):
        return dynamodb.query(TableName=table, KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": {"S": pk}})

    for what, attempt in {
        "read messages": lambda: dynamodb.get_item(TableName=table, Key=key("LOG#room:lobby", "0" * 19 + "1")),
        "read messages in a transaction": lambda: dynamodb.transact_get_items(TransactItems=[{"Get": {"TableName": table, "Key": key(pk)}} for pk in ("STATE", "LOG#room:lobby")]),
        "list a room": lambda: query("LOG#room:lobby"),
        "list accounts": lambda: query("ACCOUNTS"),
        "list invites": lambda: query("INVITES"),
        "read the whole table": lambda: dynamodb.scan(TableName=table),
        "send a message": lambda: dynamodb.put_item(TableName=table, Item=key("LOG#room:lobby")),
        "create an invite": lambda: dynamodb.put_item(TableName=table, Item=key("INVITES")),
        "lift a ban": lambda: dynamodb.delete_item(TableName=table, Key=key("BANS")),
        "end a lockdown": lambda: dynamodb.delete_item(TableName=table, Key=key("STATE", "LOCKDOWN")),
        "delete an account": lambda: dynamodb.delete_item(TableName=table, Key=key("ACCOUNTS")),
        "change an account": lambda: dynamodb.update_item(TableName=table, Key=key("ACCOUNTS")),
        "use another table": lambda: dynamodb.get_item(TableName="other-chat", Key=key("STATE")),
        "read the host key": lambda: boto3.client("secretsmanager", **keys).get_secret_value(SecretId=secret),
        "publish another host key": lambda: boto3.client("ssm", **keys).put_parameter(Name=told["SSH_CHAT_AWS_HOST_KEY_PARAMETER"], Value="x", Overwrite=True),
    }.items():
        try:
            attempt()
        except Exception as error:
            check("AccessDenied" in str(error), f"when the page tries to {what}: {error}")
        else:
            raise Failed(f"the page can {what}")
    return figures


def main(program, *command):
    moto = subprocess.Popen([sys.executable, "ci/moto-server.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    aws = f"http://127.0.0.1:{moto.stdout.readline().strip()}"

    def client(service):
        return boto3.client(service, endpoint_url=aws, region_name="eu-central-1", aws_access_key_id="test", aws_secret_access_key="test")

    told = {
        "SSH_CHAT_HOST_NAME": "chat.example.com", "SSH_CHAT_LISTEN": "0.0.0.0:22", "SSH_CHAT_WEB_URL": "https://abc123.execute-api.eu-central-1.amazonaws.com/",
        "SSH_CHAT_AWS_TABLE": "ssh-chat", "SSH_CHAT_AWS_HOST_KEY_PARAMETER": "/ssh-chat/host-key", "SSH_CHAT_AWS_PATIENCE": "5s",
        "SSH_CHAT_DATA_DIR": "/tmp/ssh-chat", "SSH_CHAT_LOG_FORMAT": "json",
    }
    try:
        client("secretsmanager").create_secret(Name="ssh-chat/host-key")
        subprocess.run([program, "--set", "aws.table=ssh-chat", "store", "init"], check=True, env={**os.environ, **credentials("test", aws)}, stdout=subprocess.DEVNULL)
        with tempfile.TemporaryDirectory() as folder:
            print(walk(aws, client, told, "ssh-chat/host-key", program, list(command) or [program], Path(folder)))
    except Failed as failed:
        sys.exit(f"FAILED: {failed}")
    finally:
        moto.stdin.close()
        moto.wait(10)


if __name__ == "__main__":
    main(*sys.argv[1:])
