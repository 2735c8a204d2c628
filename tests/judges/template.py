"""What template.yaml says of the table and of what each function may do."""

import re
from pathlib import Path

import yaml

PATH = Path(__file__).parents[2] / "template.yaml"

# The names that the local platform gives to what the template leaves unnamed.
NAMES = {
    "table": {"messenger": "Table"},
    "secret": {"messenger": "Secret"},
    "queue": {
        "events.fifo": "EventsQueue",
        "dead-letters.fifo": "DeadLetterQueue",
        "unreadable": "UnreadableQueue",
        "forward": "ForwardQueue",
        "forward-dead-letters": "ForwardDeadLetterQueue",
        "schedule-dead-letters": "ScheduleDeadLetterQueue",
    },
}
# What the stack uses instead of a resource of its own, by condition: the resource, and the other one's ARN.
INSTEAD = {
    "OwnsTable": (
        "Table",
        {"Sub": "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/${ExistingTableName}"},
    ),
    "OwnsSecret": ("Secret", {"Ref": "ExistingSecretArn"}),
}
# What a test sets where a function shall find nothing.
NOTHING = "http://127.0.0.1:1/nothing"


class Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms as what they stand for."""


def intrinsic(loader, name, node):
    if isinstance(node, yaml.ScalarNode):
        return {name: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    return {name: loader.construct_mapping(node, deep=True)}


Loader.add_multi_constructor("!", intrinsic)


def whole(text=None):
    return yaml.load(text if text is not None else PATH.read_text(), Loader)


def load(text=None):
    return whole(text)["Resources"]


def functions(resources):
    """The functions by their programs' names, which are their names in the records."""
    found = {}
    for name, resource in resources.items():
        if resource["Type"] == "AWS::Serverless::Function":
            found[resource["Metadata"]["BuildProperties"]["Binary"]] = name
    return found


def rights(function):
    """What a function may do: (action, resource), where each condition is met."""
    allowed = set()
    for policy in function["Properties"]["Policies"]:
        # What the bot's author adds is no part of what the function itself may do.
        if policy.get("If", [None])[0] == "BotCallsAws":
            continue
        for statement in listed(policy["Statement"]):
            statement = resolved(statement)
            if set(statement) != {"Effect", "Action", "Resource"} or statement["Effect"] != "Allow":
                raise ValueError(f"cannot judge the statement {statement}")
            for action in listed(statement["Action"]):
                for resource in listed(statement["Resource"]):
                    allowed.add((action, arn(resolved(resource))))
    return allowed


def polled(resources):
    """The queues that Lambda reads for a function: (function's resource, queue)."""
    mappings = [one["Properties"] for one in resources.values() if one["Type"] == "AWS::Lambda::EventSourceMapping"]
    return {(of_function(one["FunctionName"]), arn(one["EventSourceArn"])) for one in mappings}


def of_function(value):
    """The function that a reference is to, or that its alias is of, where no condition is met."""
    return of_function(value["If"][2]) if "If" in value else value["Ref"].removesuffix(".Alias")


def resolved(value):
    """A value where each condition is met; what the stack uses instead must be the same right on the other resource."""
    if not (isinstance(value, dict) and "If" in value):
        return value
    condition, met, other = value["If"]
    if condition in INSTEAD:
        name, instead = INSTEAD[condition]
        if arn(met).split("/")[0] != name or other != followed(instead, arn(met).removeprefix(name)):
            raise ValueError(f"cannot judge the resource {value}")
    return resolved(met)


def followed(instead, index):
    """An ARN with the index that follows it."""
    return {kind: text + index for kind, text in instead.items()}


def arn(value):
    """The resource that an ARN is of, with what follows its ARN."""
    match value:
        case {"Ref": name}:
            return name
        case {"GetAtt": attribute} if attribute.endswith(".Arn"):
            return attribute.removesuffix(".Arn")
        case {"Sub": text} if found := re.fullmatch(r"\$\{(\w+)\.Arn\}(/[^$*]+)", text):
            return found[1] + found[2]
    raise ValueError(f"cannot judge the resource {value}")


def listed(value):
    return value if isinstance(value, list) else [value]
