"""Evaluates the subset of IAM policies used in this repository. An unknown element is an error, because nothing
can be concluded from a policy that isn't understood."""

import fnmatch
import json
from urllib.parse import parse_qs

# The action that each part of a transaction needs.
PARTS = {"Get": "GetItem", "Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}
SERVICES = {"DynamoDB_20120810": "dynamodb", "secretsmanager": "secretsmanager", "AmazonSSM": "ssm", "GraniteServiceVersion20100801": "cloudwatch"}


class Call:
    """An action on one resource, with the facts that conditions can test."""

    def __init__(self, action, thing, **facts):
        self.action, self.thing, self.facts = action, thing, facts

    def __str__(self):
        return " ".join([self.action, self.thing, *(str(value) for value in self.facts.values())])

    def is_on(self, arn):
        service = self.action.split(":")[0]
        if arn == "*" or service == "cloudwatch":
            return arn == "*"
        # AWS appends a hyphen and six characters to the name of a secret.
        return arn == self.thing or {
            "dynamodb": arn.endswith(f":table/{self.thing}"),
            "secretsmanager": arn[:-7].endswith(f":secret:{self.thing}"),
            "ssm": arn.endswith(f":parameter{self.thing}"),
        }[service]


def calls(target, body):
    """The calls in a request, from its header X-Amz-Target and its body, which is JSON, or a form for older
    services."""
    if not target:
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        return [Call(f"cloudwatch:{form['Action']}", "", namespace=form.get("Namespace"))]
    service, _, operation = target.partition(".")
    service, body = SERVICES[service], json.loads(body)
    if service == "secretsmanager":
        return [Call(f"{service}:{operation}", body.get("SecretId", body.get("Name", "")))]
    if service == "ssm":
        return [Call(f"{service}:{operation}", body.get("Name", ""))]
    if service == "cloudwatch":
        return [Call(f"{service}:{operation}", "", namespace=body.get("Namespace"))]
    if "TransactItems" not in body:
        return [Call(f"{service}:{operation}", body.get("TableName", ""), leading_keys=leading_keys(operation, body))]
    return [
        Call(f"{service}:{PARTS[kind]}", part["TableName"], leading_keys=leading_keys(PARTS[kind], part))
        for item in body["TransactItems"] for kind, part in item.items()
    ]


def leading_keys(operation, body):
    """The partitions that a DynamoDB call accesses. None are known for a scan."""
    if operation == "Query":
        # As the program writes it: `#pk = :pk`, possibly followed by more.
        return [body["ExpressionAttributeValues"][":pk"]["S"]]
    item = body.get("Key", body.get("Item", {}))
    return [item["pk"]["S"]] if "pk" in item else []


def as_list(one_or_more):
    return one_or_more if isinstance(one_or_more, list) else [one_or_more]


def matches(statement, call):
    """The key patterns by which a statement allows a call, or None if it doesn't."""
    unknown = statement.keys() - {"Sid", "Effect", "Action", "Resource", "Condition"}
    if unknown or statement["Effect"] != "Allow":
        raise NotImplementedError(f"in a statement: {statement}")
    if call.action not in as_list(statement["Action"]) or not any(call.is_on(arn) for arn in as_list(statement["Resource"])):
        return None
    by = ["*"]
    for test, condition in statement.get("Condition", {}).items():
        (key, wanted), = condition.items()
        if (test, key) == ("ForAllValues:StringLike", "dynamodb:LeadingKeys"):
            found = [[pattern for pattern in as_list(wanted) if fnmatch.fnmatchcase(has, pattern)] for has in call.facts["leading_keys"]]
            holds, by = all(found), sum(found, [])
        elif (test, key, wanted) == ("Null", "dynamodb:LeadingKeys", "false"):
            holds = bool(call.facts["leading_keys"])
        elif (test, key) == ("StringEquals", "cloudwatch:namespace"):
            holds = call.facts["namespace"] in as_list(wanted)
        else:
            raise NotImplementedError(f"in a condition: {test} {condition}")
        if not holds:
            return None
    return by


class Judge:
    """Evaluates calls against a policy and records them."""

    def __init__(self, policy):
        self.statements = policy["Statement"]
        self.used, self.denied = set(), []

    def denies(self, target, body):
        """The first call in the request that isn't allowed, as text."""
        for call in calls(target, body):
            found = {f"{statement['Sid']} {call.action} {pattern}" for statement in self.statements for pattern in matches(statement, call) or []}
            self.used |= found
            if not found:
                self.denied.append(str(call))
                return str(call)
        return None

    def permissions(self):
        """Everything that the policy allows, in the format of `used`."""
        for statement in self.statements:
            patterns = statement.get("Condition", {}).get("ForAllValues:StringLike", {}).get("dynamodb:LeadingKeys", ["*"])
            for action in as_list(statement["Action"]):
                for pattern in as_list(patterns):
                    yield f"{statement['Sid']} {action} {pattern}"
