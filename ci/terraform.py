"""The life cycle of a deployment on moto, with the real provider: created, filled by its machine, replaced,
destroyed, restored, and destroyed for good. Also checks validation errors."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3

import page

REGION = "eu-central-1"
ACCOUNT = "123456789012"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f alice"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
# Stands for the private key, which must be only in the secret.
MARKER = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUMARKER"
PRIVATE = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{MARKER}\n-----END OPENSSH PRIVATE KEY-----\n"
PUBLISHED = "SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA " + KEY.rsplit(" ", 1)[0]

# The existing images: version and processor.
IMAGES = [("0.1.0", "arm64"), ("0.1.0", "x86_64"), ("0.2.0", "arm64"), ("0.3.0", "arm64"), ("0.3.0", "arm64")]
IDS = [f"ami-0a0000000000000{number:02}" for number in range(len(IMAGES))]

GOOD = {
    "region": REGION,
    "image_version": "0.1.0",
    "operator_cidrs": ["203.0.113.7/32", "198.51.100.0/24"],
    "operator_keys": [KEY],
    "settings": {"motd": "Welcome.\nBe \"kind\"."},
}


def check(right, otherwise):
    if not right:
        sys.exit(f"FAILED: {otherwise}")


def passed(what):
    print(f"ok  {what}", flush=True)


class Aws:
    """moto on its own port, with our images. It ends with this process, which holds its standard input."""

    def __init__(self, work):
        images = work / "images.json"
        images.write_text(json.dumps([
            {"ami_id": id, "name": f"ssh-chat-{version}-{processor}-{id}", "architecture": processor, "owner_id": ACCOUNT,
             "state": "available", "public": False, "image_location": "self", "image_type": "machine", "platform": None,
             "description": "ssh-chat", "root_device_type": "ebs", "root_device_name": "/dev/xvda", "sriov": "simple",
             "virtualization_type": "hvm", "hypervisor": "xen"}
            for id, (version, processor) in zip(IDS, IMAGES)
        ]))
        environment = {**os.environ, **CREDENTIALS, "MOTO_AMIS_PATH": str(images), "MOTO_ENABLE_AMI_VALIDATION": "true"}
        self.process = subprocess.Popen(
            [sys.executable, "ci/moto-server.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        port = self.process.stdout.readline().strip()
        check(port.isdigit(), "ci/moto-server.py didn't start")
        self.url = f"http://127.0.0.1:{port}"
        self.ec2, self.ssm, self.iam = self.client("ec2"), self.client("ssm"), self.client("iam")
        self.secrets, self.dynamodb = self.client("secretsmanager"), self.client("dynamodb")
        self.lambdas, self.apis = self.client("lambda"), self.client("apigatewayv2")
        self.events, self.queues = self.client("events"), self.client("sqs")
        for id, (version, _) in zip(IDS, IMAGES):
            self.ec2.create_tags(Resources=[id], Tags=[{"Key": "Project", "Value": "ssh-chat"}, {"Key": "Version", "Value": version}])

    def client(self, service, region=REGION):
        return boto3.client(service, endpoint_url=self.url, region_name=region, aws_access_key_id="test", aws_secret_access_key="test")

    def stop(self):
        self.process.stdin.close()
        self.process.wait(10)

    def inventory(self):
        """All resources that Terraform could have created."""
        def all_of(client, operation, what, **arguments):
            for page in client.get_paginator(operation).paginate(**arguments):
                yield from page[what]

        for reservation in all_of(self.ec2, "describe_instances", "Reservations"):
            for instance in reservation["Instances"]:
                if instance["State"]["Name"] != "terminated":
                    yield f"instance {instance['InstanceId']}"
        for what, operation, name in (
            ("address", self.ec2.describe_addresses()["Addresses"], "AllocationId"),
            ("vpc", self.ec2.describe_vpcs()["Vpcs"], "VpcId"),
            ("subnet", self.ec2.describe_subnets()["Subnets"], "SubnetId"),
            ("gateway", self.ec2.describe_internet_gateways()["InternetGateways"], "InternetGatewayId"),
            ("route table", self.ec2.describe_route_tables()["RouteTables"], "RouteTableId"),
            ("security group", self.ec2.describe_security_groups()["SecurityGroups"], "GroupId"),
            ("volume", self.ec2.describe_volumes()["Volumes"], "VolumeId"),
            ("role", all_of(self.iam, "list_roles", "Roles"), "RoleName"),
            ("instance profile", all_of(self.iam, "list_instance_profiles", "InstanceProfiles"), "InstanceProfileName"),
            ("alarm", self.client("cloudwatch").describe_alarms()["MetricAlarms"], "AlarmName"),
            ("parameter", self.ssm.describe_parameters()["Parameters"], "Name"),
            ("function", self.lambdas.list_functions()["Functions"], "FunctionName"),
            ("api", self.apis.get_apis()["Items"], "Name"),
            ("topic", self.client("sns").list_topics()["Topics"], "TopicArn"),
            ("subscription", self.client("sns").list_subscriptions()["Subscriptions"], "SubscriptionArn"),
            ("rule", self.events.list_rules()["Rules"], "Name"),
            ("dashboard", self.client("cloudwatch").list_dashboards()["DashboardEntries"], "DashboardName"),
            ("log group", self.client("logs").describe_log_groups()["logGroups"], "logGroupName"),
        ):
            for one in operation:
                yield f"{what} {one[name]}"
        for table in self.dynamodb.list_tables()["TableNames"]:
            yield f"table {table}"
        for secret in self.secrets.list_secrets(IncludePlannedDeletion=True)["SecretList"]:
            yield f"secret {secret['Name']}{' that can be restored' if 'DeletedDate' in secret else ''}"


class Root:
    """A folder to run Terraform in."""

    def __init__(self, folder, aws, log, program):
        self.folder, self.aws, self.log, self.program = folder, aws, log, program
        self.environment = {
            **os.environ, **CREDENTIALS, "AWS_ENDPOINT_URL": aws.url, "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            # Log all requests and responses, to be searched later.
            "TF_LOG": "TRACE", "TF_LOG_PATH": str(log),
        }

    def within(self, folder):
        """The same, in a folder below."""
        return Root(self.folder / folder, self.aws, self.log, self.program)

    def run(self, *arguments, values=None, expect=0, environment={}):
        command = [os.environ["TERRAFORM"], f"-chdir={self.folder}", *arguments]
        if values is not None:
            file = self.folder / "values.tfvars.json"
            file.write_text(json.dumps(values))
            command += ["-no-color", f"-var-file={file}"]
        done = subprocess.run(command, env={**self.environment, **environment}, capture_output=True, text=True)
        check(expect is None or done.returncode == expect, f"terraform {arguments} ended with {done.returncode}, not {expect}:\n{done.stdout}{done.stderr}")
        return done

    def apply(self, values, *more):
        return self.run("apply", "-auto-approve", *more, values=values).stdout

    def holds(self, values, when):
        """Checks that the plan is empty."""
        done = self.run("plan", "-detailed-exitcode", values=values, expect=None)
        check(done.returncode == 0, f"{when}, the plan is not empty:\n{done.stdout}{done.stderr}")
        passed(f"{when}, the plan is empty")

    def output(self, name):
        return self.run("output", "-raw", name).stdout

    def state(self):
        """The resources in the state, by address."""
        def walk(module):
            for resource in module.get("resources", []):
                yield resource["address"].removeprefix("module.chat."), resource["values"]
            for child in module.get("child_modules", []):
                yield from walk(child)

        return dict(walk(json.loads(self.run("show", "-json").stdout)["values"]["root_module"]))


REFUSED = [
    # What's wrong, the changed values (None: left out), and the expected error.
    ("no networks are set", {"operator_cidrs": None}, 'variable "operator_cidrs" is not set'),
    ("the whole internet is allowed", {"operator_cidrs": ["0.0.0.0/0"]}, "or set public = true if the chat is meant to be public"),
    ("an address has no mask", {"operator_cidrs": ["203.0.113.7"]}, "203.0.113.7/32 for one address or 203.0.113.0/24 for 256 addresses. Invalid: 203.0.113.7."),
    ("a network has host bits", {"operator_cidrs": ["203.0.113.7/24"]}, "Replace 203.0.113.7/24 with 203.0.113.0/24 for the whole network, or with 203.0.113.7/32 for that single address."),
    ("an IPv6 network would have no effect", {"operator_cidrs": ["2001:db8:7::/48"]}, "the VPC that the module creates has no IPv6. Remove 2001:db8:7::/48,"),
    ("there is no key", {"operator_keys": []}, "operator_keys is empty and access is allowlist, so no one could ever log in. Add your own public key"),
    ("a key is private", {"operator_keys": [PRIVATE]}, "operator_keys contains a PRIVATE key. Use the line from the .pub file instead, and replace that key pair"),
    ("a key is the name of a file", {"operator_keys": [KEY, "id_ed25519.pub"]}, "must be one line as in a .pub file (ssh-ed25519 AAAA… name) or a fingerprint (SHA256:…), without options and without commas. Invalid: number 2."),
    ("a setting doesn't exist", {"settings": {"limits.room": 5}}, "settings can't include limits.room. Allowed: add_keys, aws.metrics,"),
    ("a setting has the wrong type", {"settings": {"limits.rooms": "many"}}, "settings: limits.rooms must be a whole number, such as 50."),
    ("a setting is out of its range", {"settings": {"limits.rooms": "0", "limits.login_grace": "9h"}}, "limits.login_grace must be from 1s to 600s, not 9h; limits.rooms must be from 1 to 1000000, not 0."),
    ("metrics would be public", {"settings": {"metrics.listen": "8.8.8.8:9622"}}, "metrics.listen must be an address that isn't reachable from the Internet"),
    ("no image is set", {"image_version": None}, "Set either image_version (the tag Version"),
    ("no image has this version", {"image_version": "9.9.9"}, "No image found with the tags Project=ssh-chat and Version=9.9.9 for arm64 (t4g.small) in eu-central-1 owned by this account. Build one with Packer"),
    ("no image has this processor", {"image_version": "0.2.0", "instance_type": "t3.small"}, "and Version=0.2.0 for x86_64 (t3.small) in eu-central-1"),
    ("no image has this id", {"image_version": None, "ami_id": "ami-0123456789abcdef0"}, "No image found with the id ami-0123456789abcdef0 for arm64"),
    ("two images have this version", {"image_version": "0.3.0"}, f"Found 2 images with the tags Project=ssh-chat and Version=0.3.0: {IDS[3]}, {IDS[4]}. Set ami_id"),
    ("the image is in another region", {"image_version": None, "ami_id": f"us-east-1:{IDS[0]}"}, "ami_id has an image for us-east-1 but none for eu-central-1."),
    ("no region is set", {"region": None}, 'variable "region" is not set'),
    ("a zone is set instead of a region", {"region": "eu-central-1a"}, "region must be a commercial AWS region, such as eu-central-1 or us-east-1."),
    ("the region is in another partition", {"region": "us-gov-west-1"}, "The module doesn't support AWS China, GovCloud"),
    ("a region doesn't exist", {"region": "eu-centrl-1"}, "nvalid AWS Region: eu-centrl-1"),
    ("the page's package isn't set", {"web": True}, "web is true, but web_package isn't set. Run `ci/lambda arm64`"),
    ("the package doesn't exist", {"web": True, "web_package": "none.zip"}, "File not found: none.zip. web_package must be the path of the zip built by `ci/lambda arm64`"),
    ("the package is the program", {"web": True, "web_package": "main.tf"}, "main.tf isn't a zip file. web_package must be the path of the zip built by `ci/lambda arm64`"),
    ("no image is in that region", {"region": "us-east-1"}, "No image found with the tags Project=ssh-chat and Version=0.1.0 for arm64 (t4g.small) in us-east-1"),
]


def words(text):
    return re.sub(r"\s+", " ", text)


def refuses(root, _):
    for what, change, sentence in REFUSED:
        values = {name: value for name, value in {**GOOD, **change}.items() if value is not None}
        done = root.run("plan", values=values, expect=1)
        check(sentence in words(done.stderr), f"when {what}, the error lacks {sentence!r}:\n{done.stderr}")
        check(MARKER not in done.stdout + done.stderr, f"when {what}, the error repeats a private key")
        print(f"ok  when {what}: {sentence}", flush=True)


def where_the_key_is_not(root, aws, instance, plan):
    """Everything that Terraform writes or prints, by name."""
    for file in [plan, *root.folder.glob("*.tfstate*")]:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                yield file.name, b"".join(archive.read(name) for name in archive.namelist()).decode(errors="replace")
        else:
            yield file.name, file.read_text()
    yield "terraform show", root.run("show", "-no-color").stdout
    yield "the state as JSON", root.run("show", "-json").stdout
    yield "the plan as JSON", root.run("show", "-json", str(plan)).stdout
    yield "the log", root.log.read_text(errors="replace")
    encoded = aws.ec2.describe_instance_attribute(InstanceId=instance, Attribute="userData")["UserData"]["Value"]
    yield "the user-data", base64.b64decode(encoded).decode()


def live(root, aws):
    before = set(aws.inventory())

    root.apply(GOOD)
    first = root.state()
    instance, address = first["aws_instance.chat"]["id"], first["aws_eip.chat"]
    shown = {name: output["value"] for name, output in json.loads(root.run("output", "-json").stdout).items()}
    check(shown["ssh"] == f"ssh {address['public_ip']}", f"unexpected outputs: {shown}")
    passed(f"applied: {shown['ssh']}")
    root.holds(GOOD, "after the apply")

    # What the machine does on its first start, and what users do then.
    secret = first["aws_secretsmanager_secret.host_key"]["arn"]
    aws.secrets.put_secret_value(SecretId=secret, SecretString=PRIVATE)
    aws.ssm.put_parameter(Name="/ssh-chat/host-key", Value=PUBLISHED, Type="String", Description="set by the machine", Overwrite=True)
    item = {"pk": {"S": "ROOM#lobby"}, "sk": {"S": "MSG#00000000000000000001"}, "text": {"S": "hello"}}
    aws.dynamodb.put_item(TableName="ssh-chat", Item=item)
    root.holds(GOOD, "after the machine has stored its key")

    # A new image replaces the machine and nothing else.
    new = {**GOOD, "image_version": "0.2.0"}
    plan = root.folder / "replace.tfplan"
    root.run("plan", f"-out={plan}", values=new)
    replaced = root.run("apply", "-no-color", str(plan)).stdout
    second = root.state()
    check(second["aws_instance.chat"]["id"] != instance, "a new image doesn't replace the machine")
    check(second["aws_instance.chat"]["ami"] == IDS[2], "the machine doesn't use the requested image")
    order = [replaced.find(step) for step in (
        "aws_instance.chat: Creation complete", "aws_eip_association.chat: Creation complete", "): Destroying... [id=" + instance)]
    gap = "aws_eip_association.chat: Destroying" in replaced
    check(order == sorted(order) and -1 not in order and not gap, f"the order isn't new machine, address, old machine:\n{replaced}")
    check(second["aws_eip.chat"] == {**address, **{name: second["aws_eip.chat"][name] for name in (
        "association_id", "instance", "network_interface", "private_dns", "private_ip")}}, "the address has changed")
    led = aws.ec2.describe_addresses(AllocationIds=[address["id"]])["Addresses"][0]
    check((led["InstanceId"], led["PublicIp"]) == (second["aws_instance.chat"]["id"], address["public_ip"]), f"the address points to {led}")
    kept(aws, secret, item)
    passed(f"a new image replaces the machine; {address['public_ip']}, the secret and the table stay")
    root.holds(new, "after the replacement")

    searched = dict(where_the_key_is_not(root, aws, second["aws_instance.chat"]["id"], plan))
    for place, text in searched.items():
        check("ssh-chat/host-key" in text, f"the search of {place} finds nothing")
        check(MARKER not in text, f"the private key is in {place}")
    passed(f"the private key is in none of: {', '.join(searched)}")

    other = root.run("plan", values={**new, "settings": {"motd": "Other words"}}).stdout
    check(re.search(r"aws_instance\.chat must be replaced", other), f"changed settings don't replace the machine:\n{other}")
    passed("changed settings replace the machine")

    # An accidental destroy.
    everything = set(aws.inventory())
    done = root.run("destroy", "-auto-approve", values=new, expect=1)
    for one in ("aws_dynamodb_table.chat", "aws_secretsmanager_secret.host_key", "aws_eip.chat"):
        check(f"module.chat.{one} has lifecycle.prevent_destroy set" in words(done.stderr), f"the error lacks {one}:\n{done.stderr}")
    check(set(aws.inventory()) == everything, f"destroyed: {everything ^ set(aws.inventory())}")
    passed("destroy without examples/destroy destroys nothing")

    # A destroy by someone who forgot the table's protection.
    allow_destroy(root)
    done = root.run("destroy", "-auto-approve", values=new, expect=1)
    check("can't be deleted while DeletionProtectionEnabled" in words(done.stderr), f"the error lacks the reason:\n{done.stderr}")
    left = set(aws.inventory()) - before
    check(left == {"table ssh-chat", "secret ssh-chat/host-key that can be restored"}, f"left behind: {left}")
    passed(f"destroy leaves {' and '.join(sorted(left))}")

    aws.secrets.restore_secret(SecretId=secret)
    root.run("import", "-no-color", f"-var-file={root.folder / 'values.tfvars.json'}", "module.chat.aws_secretsmanager_secret.host_key", secret)
    root.apply(new)
    kept(aws, secret, item)
    root.holds(new, "after everything was restored with the same host key")

    # An intended destroy.
    last = {**new, "deletion_protection": False, "recovery_window_in_days": 0}
    root.apply(last)
    root.run("destroy", "-auto-approve", values=last)
    left = set(aws.inventory()) ^ before
    check(not left, f"left behind: {left}")
    passed("destroy without deletion protection leaves nothing")
    forbid_destroy(root)


def allow_destroy(root):
    shutil.copy("terraform/examples/destroy/destroy_override.tf", module(root))


def forbid_destroy(root):
    (module(root) / "destroy_override.tf").unlink()


def module(root):
    """The module's folder, for the folder terraform or an example in it."""
    return next(folder / "modules/chat" for folder in (root.folder, *root.folder.parents) if (folder / "modules/chat").exists())


def destroy(root, values):
    allow_destroy(root)
    root.run("destroy", "-auto-approve", values=values)
    forbid_destroy(root)


def mistakes(root, aws):
    """Changes that once destroyed a running chat or lost track of it."""
    plain = {**GOOD, "deletion_protection": False, "recovery_window_in_days": 0}
    before = set(aws.inventory())
    root.apply(plain)
    chat = set(aws.inventory())

    us = aws.client("ec2", "us-east-1")
    us.create_tags(Resources=[us.register_image(Name="ssh-chat-us", Architecture="arm64")["ImageId"]], Tags=[
        {"Key": "Project", "Value": "ssh-chat"}, {"Key": "Version", "Value": "0.1.0"}])
    for what, change, environment, sentences in (
        ("the name changes", {"name": "second"}, {}, [
            'This state belongs to the chat ssh-chat, and name = "second" would destroy it.',
            'set name = "ssh-chat"', "`terraform workspace new second`"]),
        ("the region changes", {"region": "us-east-1"}, {}, [
            'This state belongs to a chat in eu-central-1, and region = "us-east-1" would lose track of it',
            'set region = "eu-central-1"', "`terraform workspace new us-east-1`"]),
        ("the credentials are for another account", {}, {"AWS_ACCESS_KEY_ID": other_account(aws)}, [
            f"This state belongs to a chat in the account {ACCOUNT}, but your credentials are for 210987654321."]),
    ):
        done = root.run("apply", "-auto-approve", values={**plain, **change}, expect=1, environment=environment)
        for sentence in sentences:
            check(sentence in words(done.stderr), f"when {what}, the error lacks {sentence!r}:\n{done.stdout}{done.stderr}")
        check(set(aws.inventory()) == chat, f"when {what}, this changes: {set(aws.inventory()) ^ chat}")
        root.holds(plain, f"after a refused apply where {what}")

    # A second chat, as the error says.
    root.run("workspace", "new", "second")
    second = {**plain, "name": "second"}
    root.apply(second)
    check(chat < set(aws.inventory()), f"the second chat removed {chat - set(aws.inventory())}")
    root.holds(second, "with a second chat in a workspace of its own")
    destroy(root, second)
    root.run("workspace", "select", "default")
    root.run("workspace", "delete", "second")
    check(set(aws.inventory()) == chat, f"the second chat left or removed: {set(aws.inventory()) ^ chat}")
    passed("a second chat in a workspace of its own comes and goes, and the first stays")

    # A zone fails.
    first = root.state()
    left = first["aws_instance.chat"]["availability_zone"]
    zones = sorted(where["availability_zone"] for name, where in first.items() if name.startswith("aws_subnet.public"))
    check(left == zones[0] and len(zones) >= 3, f"the machine is in {left} of {zones}")
    moved = {**plain, "availability_zones": zones[1:]}
    root.apply(moved)
    state = root.state()
    check(state["aws_instance.chat"]["availability_zone"] == zones[1], "the machine hasn't left the zone")
    check(state["aws_eip.chat"]["public_ip"] == first["aws_eip.chat"]["public_ip"], "the address has changed")
    for zone in zones[1:]:
        name = f'aws_subnet.public["{zone}"]'
        check(state[name]["id"] == first[name]["id"], f"the subnet in {zone} was replaced")
    root.holds(moved, f"after leaving {left}")
    root.apply(plain)
    root.holds(plain, f"after returning to {left}")
    none = root.run("plan", values={**plain, "availability_zones": [f"{REGION}e", f"{REGION}f"]}, expect=1)
    check(f"don't exist in this region or don't offer t4g.small: {REGION}e, {REGION}f. These do: {', '.join(zones)}." in words(none.stderr), none.stderr)

    destroy(root, plain)
    check(set(aws.inventory()) == before, f"left behind: {set(aws.inventory()) ^ before}")


def other_account(aws):
    """An access key of another account."""
    sts = aws.client("sts")
    role = sts.assume_role(RoleArn="arn:aws:iam::210987654321:role/other", RoleSessionName="other")
    return role["Credentials"]["AccessKeyId"]


def extras(root, aws):
    """Adds the page and the alarms, and removes them again. The plan is empty after each."""
    with zipfile.ZipFile(root.folder / "page.zip", "w") as package:
        package.writestr("bootstrap", "#!/bin/false\n")
    plain = {**GOOD, "deletion_protection": False, "recovery_window_in_days": 0}
    both = {**plain, "web": True, "web_package": "page.zip", "alarm_email": "operators@example.com"}
    before = set(aws.inventory())

    root.apply(both)
    root.holds(both, "with a page and alarms")
    state = root.state()
    url = root.output("web_url")
    check(url == state["aws_apigatewayv2_api.web[0]"]["api_endpoint"] + "/", f"the output has the page at {url}")
    function = aws.lambdas.get_function(FunctionName="ssh-chat-web")
    told = function["Configuration"]["Environment"]["Variables"]
    check(told["SSH_CHAT_WEB_URL"] == url, f"the page has the wrong address: {told}")
    check(not [name for name, value in told.items() if "secret" in (name + value).lower()], f"the page knows the secret: {told}")
    encoded = aws.ec2.describe_instance_attribute(InstanceId=state["aws_instance.chat"]["id"], Attribute="userData")["UserData"]["Value"]
    check(f'web_url = \\"{url}\\"' in base64.b64decode(encoded).decode(), "the machine doesn't know the page's address")
    api = state["aws_apigatewayv2_api.web[0]"]["id"]
    route, = aws.apis.get_routes(ApiId=api)["Items"]
    integration, = aws.apis.get_integrations(ApiId=api)["Items"]
    check(route["Target"] == f"integrations/{integration['IntegrationId']}", f"the route points to {route['Target']}")
    check(function["Configuration"]["FunctionArn"] in integration["IntegrationUri"], f"the API calls {integration['IntegrationUri']}")
    permission, = json.loads(aws.lambdas.get_policy(FunctionName="ssh-chat-web")["Policy"])["Statement"]
    source = permission["Condition"]["ArnLike"]["AWS:SourceArn"]
    check(source.startswith("arn:aws:execute-api:") and source.endswith(f":{api}/*"), f"unexpected permission to invoke the page: {permission}")
    passed(f"the page is at {url}, and the machine knows its address")

    the_page_works(root, aws, state, told)
    root.holds(both, "after the page and the machine have run")
    told_of_the_host_key(aws, state["aws_secretsmanager_secret.host_key"]["arn"])

    with zipfile.ZipFile(root.folder / "page.zip", "w") as package:
        package.writestr("bootstrap", "#!/bin/true\n")
    newer = root.run("plan", values=both).stdout
    check("aws_lambda_function.web[0] will be updated in-place" in newer and "1 to change, 0 to destroy" in newer, f"a new package changes more or less than the function:\n{newer}")
    passed("a new package changes only the function")

    root.apply(plain)
    root.holds(plain, "without the page and the alarms again")
    left = {what for what in set(aws.inventory()) - before if what.split()[0] in ("function", "api", "log", "topic", "subscription", "rule", "dashboard")}
    check(not left, f"left behind by the page and the alarms: {left}")
    destroy(root, plain)
    left = set(aws.inventory()) ^ before
    check(not left, f"left behind: {left}")
    passed("destroy leaves nothing of a chat with page and alarms")


def the_page_works(root, aws, state, told):
    """Runs the function and the machine, each with its configuration and its role's policy."""
    def policy(role):
        name, = aws.iam.list_role_policies(RoleName=role)["PolicyNames"]
        return aws.iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]

    roles = {page.PAGE: state["aws_iam_role.web[0]"], page.SERVER: state["aws_iam_role.chat"]}
    folder = root.folder.parent / "page"
    folder.mkdir()
    try:
        figures = page.judged(
            aws.url, aws.client, told, "ssh-chat/host-key", {who: policy(role["name"]) for who, role in roles.items()}, root.program, folder)
    except page.Failed as failed:
        check(False, failed)
    passed(f"users register through the page; page and machine have exactly the permissions they need; {figures}")


def told_of_the_host_key(aws, secret):
    """Checks which AWS events cause notifications. moto doesn't deliver events to topics, so rules with the same
    patterns on a separate bus send to a queue."""
    address = aws.queues.create_queue(QueueName="told")["QueueUrl"]
    queue = aws.queues.get_queue_attributes(QueueUrl=address, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    rules = aws.events.list_rules()["Rules"]
    aws.events.create_event_bus(Name="told")
    for rule in rules:
        target, = aws.events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
        check(target["Arn"].endswith(":ssh-chat-alarms"), f"{rule['Name']} notifies {target}")
        aws.events.put_rule(Name=rule["Name"], EventPattern=rule["EventPattern"], EventBusName="told")
        aws.events.put_targets(Rule=rule["Name"], EventBusName="told", Targets=[{"Id": "told", "Arn": queue}])

    def call(name, secret):
        return "aws.secretsmanager", "AWS API Call via CloudTrail", {"eventName": name, "requestParameters": {"secretId": secret}}

    def change(name):
        return "aws.ssm", "Parameter Store Change", {"operation": "Update", "type": "String", "name": name}

    for event, expected in (
        (change("/ssh-chat/host-key"), True),
        (change("/other-chat/host-key"), False),
        (call("PutSecretValue", "ssh-chat/host-key"), True),
        (call("PutSecretValue", secret), True),
        (call("UpdateSecretVersionStage", secret[:-7]), True),
        (call("DeleteSecret", secret), True),
        (call("GetSecretValue", secret), False),
        (call("PutSecretValue", "other-chat/host-key"), False),
    ):
        source, kind, detail = event
        aws.events.put_events(Entries=[{"EventBusName": "told", "Source": source, "DetailType": kind, "Detail": json.dumps(detail)}])
        told = aws.queues.receive_message(QueueUrl=address).get("Messages", [])
        check(len(told) == expected, f"{len(told)} notifications for {event}")
        for message in told:
            aws.queues.delete_message(QueueUrl=address, ReceiptHandle=message["ReceiptHandle"])
    passed("a changed host key causes notifications, by its parameter and by its secret, and nothing else does")


def kept(aws, secret, item):
    check(aws.secrets.get_secret_value(SecretId=secret)["SecretString"] == PRIVATE, "the host key has changed")
    found = aws.dynamodb.get_item(TableName="ssh-chat", Key={name: item[name] for name in ("pk", "sk")}).get("Item")
    check(found == item, f"a message is lost: {found}")


def examples(root, aws):
    """Applies the examples, with an existing image, network, bucket and zone."""
    network = aws.ec2.create_vpc(CidrBlock="10.9.0.0/24")["Vpc"]["VpcId"]
    subnets = [aws.ec2.create_subnet(VpcId=network, CidrBlock=cidr)["Subnet"]["SubnetId"] for cidr in ("10.9.0.0/26", "10.9.0.64/26")]
    aws.client("s3").create_bucket(Bucket="example-terraform-state", CreateBucketConfiguration={"LocationConstraint": REGION})
    aws.client("route53").create_hosted_zone(Name="example.com", CallerReference="zone")
    with zipfile.ZipFile(root.folder / "page.zip", "w") as package:
        package.writestr("bootstrap", "#!/bin/false\n")
    before = set(aws.inventory())
    for name, replaced in (
        ("minimal", {}),
        ("existing-vpc", {"subnet-0123456789abcdef0": subnets[0], "subnet-0123456789abcdef1": subnets[1], "ami-0123456789abcdef0": IDS[0]}),
        ("remote-state", {"use_lockfile = true": "use_lockfile = true\n    use_path_style = true"}),
        ("two-chats", {}),
        ("domain", {"../../../target/lambda/arm64.zip": str(root.folder / "page.zip")}),
    ):
        example = root.within(f"examples/{name}")
        file = example.folder / "main.tf"
        text = file.read_text()
        for made_up, real in {**replaced, 'operator_cidrs =': 'deletion_protection = false\n  recovery_window_in_days = 0\n  operator_cidrs ='}.items():
            check(made_up in text, f"examples/{name} lacks {made_up}")
            text = text.replace(made_up, real)
        file.write_text(text)
        example.run("init", "-no-color")
        example.apply({})
        ssh = json.loads(example.run("output", "-json", "ssh").stdout)
        if name == "domain":
            sshfp(example, aws)
            check(ssh == "ssh chat.example.com", f"unexpected output: {ssh}")
        example.holds({}, f"after examples/{name} was applied ({ssh})")
        if name == "remote-state":
            found = aws.client("s3").list_objects_v2(Bucket="example-terraform-state")["Contents"]
            check([one["Key"] for one in found] == ["ssh-chat/terraform.tfstate"], f"the bucket holds {found}")
        destroy(example, {})
        check(set(aws.inventory()) == before, f"examples/{name} left {set(aws.inventory()) ^ before}")


def sshfp(example, aws):
    """Checks the records that pin the host key, once the machine has published it."""
    aws.ssm.put_parameter(Name="/ssh-chat/host-key", Value=PUBLISHED, Type="String", Overwrite=True)
    (example.folder / "sshfp.auto.tfvars").write_text("sshfp = true\n")
    example.apply({})
    record = example.state()["aws_route53_record.host_key[0]"]
    key = PUBLISHED.split()[0].removeprefix("SHA256:")
    expected = base64.b64decode(key + "=").hex()
    check(record["records"] == [f"4 2 {expected}"], f"SSHFP is {record['records']}, not 4 2 {expected}")
    passed(f"the domain has SSHFP 4 2 {expected}")


PARTS = [mistakes, live, extras, examples, refuses]


def main(work, program, only):
    """Runs the parts side by side, each in its own copy of the folder and with its own stand-in."""
    started = time.monotonic()

    def run(part):
        folder = work / part.__name__
        for name in ("terraform", "cloud-init"):
            shutil.copytree(work / name, folder / name, symlinks=True)
        aws = Aws(folder)
        try:
            part(Root(folder / "terraform", aws, folder / "log", program), aws)
        finally:
            aws.stop()

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(run, part) for part in PARTS if not only or part.__name__ in only]:
            done.result()
    print(f"{time.monotonic() - started:.0f} s")


# ci/terraform.py FOLDER PROGRAM [PART…]
main(Path(sys.argv[1]), Path(sys.argv[2]).resolve(), sys.argv[3:])
