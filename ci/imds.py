"""EC2's instance metadata service, version 2 only: a token by PUT, 401 without one, listings, user-data, and
the credentials of the machine's role."""

import datetime
import json
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOUR = datetime.timedelta(hours=1)
TOKEN, LASTS = "X-aws-ec2-metadata-token", "X-aws-ec2-metadata-token-ttl-seconds"
ROLE = "ssh-chat-role"
# The API versions that cloud-init and the SDKs request.
VERSIONS = ("2021-03-23", "2018-09-24", "2016-09-02", "2009-04-04", "latest")


class Imds:
    """The service for one machine at a time. Use it with `with`."""

    def __init__(self, region):
        self.region = region
        self.machine, self.user_data = None, ""
        self.tokens = set()
        # Answered requests: (path, status).
        self.answered = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.daemon_threads = True
        self.port = self.server.server_port

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def becomes(self, machine, user_data):
        """Switches to another machine, with an id such as i-0123."""
        self.machine, self.user_data = machine, user_data
        self.tokens.clear()
        self.answered.clear()

    def tree(self):
        """All metadata."""
        mac = "52:54:00:12:34:56"
        expires = datetime.datetime.now(datetime.timezone.utc) + HOUR
        credentials = {
            "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": time_of(expires - HOUR), "Expiration": time_of(expires),
            "AccessKeyId": "ASIAROLEROLEROLEROLE", "SecretAccessKey": "of-the-role", "Token": "of-the-session",
        }
        return {
            "user-data": self.user_data,
            "dynamic": {"instance-identity": {"document": json.dumps({
                "accountId": "123456789012", "architecture": "x86_64", "availabilityZone": f"{self.region}a",
                "imageId": "ami-0123456789abcdef0", "instanceId": self.machine, "instanceType": "t3.micro",
                "privateIp": "169.254.10.15", "region": self.region, "version": "2017-09-30"})}},
            "meta-data": {
                "ami-id": "ami-0123456789abcdef0",
                "hostname": "ip-169-254-10-15.ec2.internal",
                "instance-id": self.machine,
                "instance-type": "t3.micro",
                "local-hostname": "ip-169-254-10-15.ec2.internal",
                "local-ipv4": "169.254.10.15",
                "mac": mac,
                "network": {"interfaces": {"macs": {mac: {
                    "device-number": "0", "mac": mac, "local-ipv4s": "169.254.10.15",
                    "subnet-ipv4-cidr-block": "169.254.0.0/16"}}}},
                "placement": {"availability-zone": f"{self.region}a", "region": self.region},
                "iam": {
                    "info": json.dumps({"Code": "Success", "InstanceProfileArn": "arn:aws:iam::123456789012:instance-profile/ssh-chat"}),
                    "security-credentials": {ROLE: json.dumps(credentials)},
                },
                # An instance can be started with a key pair; in this image it must have no effect.
                "public-keys": {"0": {"openssh-key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f pair"}},
                "services": {"domain": "amazonaws.com", "partition": "aws"},
            },
        }

    def answer(self, path):
        """A value, or the names in a folder; None if the path doesn't exist."""
        version, *parts = [part for part in path.split("/") if part]
        if version not in VERSIONS:
            return None
        node = self.tree()
        for part in parts:
            if not isinstance(node, dict) or part not in node:
                return None
            node = node[part]
        if not isinstance(node, dict):
            return node
        if parts and parts[-1] == "public-keys":
            return "0=pair"
        return "\n".join(f"{name}/" if isinstance(below, dict) else name for name, below in node.items())

    def handler(imds):
        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self):
                if self.path != "/latest/api/token" or LASTS not in self.headers:
                    return self.say(400, "")
                token = secrets.token_urlsafe(24)
                imds.tokens.add(token)
                return self.say(200, token, {LASTS: self.headers[LASTS]})

            def do_GET(self):
                if self.headers.get(TOKEN) not in imds.tokens:
                    return self.say(401, "")
                found = imds.answer(self.path)
                return self.say(404, "") if found is None else self.say(200, found)

            def say(self, status, text, headers=None):
                imds.answered.append((self.path, status))
                body = text.encode()
                self.send_response(status)
                for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        return Handler


def time_of(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
