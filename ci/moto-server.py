"""AWS for the tests: moto behind a lock, because it isn't atomic, with fault injection and IAM policies.

Listens on a free port and prints it. Exits when its standard input closes, so that it doesn't outlive the
test that started it.

POST /fault with {"operation": "GetSecretValue", "about": "my-secret", "times": 2, "status": 400,
"code": "ThrottlingException", "message": "…"} answers the next two such requests whose body contains
"my-secret" with that error.

- "delay" (seconds) without "code" only delays the requests.
- "applied": true applies the request anyway, as if the response got lost.
- Without "times", the fault applies to all such requests.
- "skip": n lets the first n such requests pass.
- "operation" may be a list.

The response lists the faults that are still active; without a body, none is added.

POST /fault with {"forget": "my-secret"} removes all faults about "my-secret".

POST /policy with {"who": "PAGE", "policy": {…}} checks every request signed with the access key PAGE against
that IAM policy, including conditions on keys, which moto doesn't check itself; see ci/policy.py. The
response lists, for each access key, the permissions used and not used, and the denied calls; without a
body, no policy is added."""

import json
import logging
import os
import re
import sys
import threading
import time
from io import BytesIO

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

import policy


class Faulty:
    """Passes one request at a time to the application, or responds with a fault."""

    def __init__(self, application):
        self.application = application
        self.one_at_a_time = threading.Lock()
        self.faults = []
        self.changing_faults = threading.Lock()
        self.judges = {}
        self.judging = threading.Lock()

    def __call__(self, environ, start_response):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if environ["PATH_INFO"] == "/fault":
            with self.changing_faults:
                new = json.loads(body) if body else {}
                if "forget" in new:
                    self.faults = [fault for fault in self.faults if fault["about"] != new["forget"]]
                elif new:
                    self.faults.append(new)
                left = json.dumps([fault for fault in self.faults if fault.get("times") != 0]).encode()
            return answer(start_response, "200 OK", left)
        if environ["PATH_INFO"] == "/policy":
            return answer(start_response, "200 OK", self.judged(body))
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        denied = self.denied(environ.get("HTTP_AUTHORIZATION", ""), target, body)
        if denied:
            words = {"__type": "AccessDeniedException", "message": f"not authorized to perform: {denied}"}
            return answer(start_response, "400 Denied", json.dumps(words).encode())
        fault = self.find(target.rpartition(".")[2], body)
        if fault:
            time.sleep(fault.get("delay", 0))
            if fault.get("applied"):
                self.pass_on(environ, body, lambda *_: None)
            if "code" in fault:
                words = {"__type": fault["code"], "message": fault.get("message", "")}
                return answer(start_response, f"{fault.get('status', 400)} Fault", json.dumps(words).encode())
        return self.pass_on(environ, body, start_response)

    def judged(self, body):
        with self.judging:
            if body:
                new = json.loads(body)
                self.judges[new["who"]] = policy.Judge(new["policy"])
            return json.dumps({
                who: {"used": sorted(judge.used), "not_used": sorted(set(judge.permissions()) - judge.used), "denied": judge.denied}
                for who, judge in self.judges.items()
            }).encode()

    def denied(self, authorization, target, body):
        who = re.search(r"Credential=(\w+)/", authorization)
        with self.judging:
            judge = self.judges.get(who and who[1])
            return judge and judge.denies(target, body)

    def pass_on(self, environ, body, start_response):
        environ["wsgi.input"] = BytesIO(body)
        if environ["PATH_INFO"].startswith("/moto-api/"):
            return self.application(environ, start_response)
        if environ["PATH_INFO"].startswith("/v2/domainnames"):
            start_response, complete = completed(start_response)
            with self.one_at_a_time:
                return complete(self.application(environ, start_response))
        with self.one_at_a_time:
            return self.application(environ, start_response)

    def find(self, operation, body):
        with self.changing_faults:
            for fault in self.faults:
                wanted = fault["operation"]
                concerned = operation in wanted if isinstance(wanted, list) else operation == wanted
                concerned = concerned and fault["about"].encode() in body
                if concerned and fault.get("skip", 0) > 0:
                    fault["skip"] -= 1
                elif concerned and fault.get("times") != 0:
                    if "times" in fault:
                        fault["times"] -= 1
                    return fault
        return None


def completed(start_response):
    """moto stores an API's custom domain as it was requested. AWS adds its state and where DNS
    must point, and leaves out what wasn't requested."""
    head = []

    def complete(parts):
        body = b"".join(parts)
        status, headers = head
        try:
            domain = json.loads(body)
            if not domain.get("mutualTlsAuthentication"):
                domain.pop("mutualTlsAuthentication", None)
            for configuration in domain.get("domainNameConfigurations", []):
                configuration |= {
                    "domainNameStatus": "AVAILABLE", "apiGatewayDomainName": "d-0123456789.execute-api.eu-central-1.amazonaws.com",
                    "hostedZoneId": "Z1U9ULNL0V5AJ3"}
            body = json.dumps(domain).encode()
        except ValueError:
            pass
        start_response(status, [(name, value) for name, value in headers if name.lower() != "content-length"] + [("Content-Length", str(len(body)))])
        return [body]

    return lambda status, headers, *_: head.extend((status, headers)), complete


def answer(start_response, status, body):
    start_response(status, [("Content-Type", "application/x-amz-json-1.1"), ("Content-Length", str(len(body)))])
    return [body]


def end_with_the_test():
    sys.stdin.read()
    os._exit(0)


def main():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    threading.Thread(target=end_with_the_test, daemon=True).start()
    server = make_server("127.0.0.1", 0, Faulty(DomainDispatcherApplication(create_backend_app)), threaded=True)
    print(server.server_port, flush=True)
    server.serve_forever()


main()
