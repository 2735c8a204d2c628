"""Whether the functions' rights in template.yaml are those that their calls need: no fewer and no more."""

from template import NAMES, NOTHING, functions, polled, rights

# What Lambda's own pollers do with a function's rights.
# Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-configure-lambda-function-trigger.html
OF_POLLERS = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")

# The rights of a transaction are those of its parts.
# Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html
OF_PARTS = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem", "Get": "GetItem"}

# The rights of a batch are those of its entries.
# Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_AddPermission.html
OF_BATCHES = {
    "SendMessageBatch": "SendMessage",
    "DeleteMessageBatch": "DeleteMessage",
    "ChangeMessageVisibilityBatch": "ChangeMessageVisibility",
}


class Unknown(Exception):
    """A call of which it is not known what it needs."""


def needed(call):
    """What a call needs: (action, resource)."""
    request, operation = call.request, call.operation
    if call.service == "secretsmanager":
        return {(f"secretsmanager:{operation}", resource("secret", request["SecretId"]))}
    if call.service == "sqs":
        action = OF_BATCHES.get(operation, operation)
        return {(f"sqs:{action}", resource("queue", request["QueueUrl"].rsplit("/", 1)[-1]))}
    if call.service != "dynamodb":
        raise Unknown(f"{call}: {call.target}")
    if operation in ("TransactWriteItems", "TransactGetItems"):
        parts = [part for item in request["TransactItems"] for part in item.items()]
        return {(f"dynamodb:{OF_PARTS[kind]}", resource("table", part["TableName"])) for kind, part in parts}
    if operation in ("BatchWriteItem", "BatchGetItem"):
        return {(f"dynamodb:{operation}", resource("table", table)) for table in request["RequestItems"]}
    table = resource("table", request["TableName"])
    index = f"/index/{request['IndexName']}" if "IndexName" in request else ""
    return {(f"dynamodb:{operation}", table + index)}


def resource(kind, name):
    if name not in NAMES[kind]:
        raise Unknown(f"the template has no {kind} {name}")
    return NAMES[kind][name]


def judged(resources, calls):
    """What is missing and what is unused: a line for each."""
    programs = functions(resources)
    allowed = {program: rights(resources[name]) for program, name in programs.items()}
    used = {program: {} for program in programs}
    faults = []
    for call in calls:
        if call.function is None or NOTHING in (call.request.get(name) for name in ("TableName", "QueueUrl", "SecretId")):
            continue
        if call.function not in programs:
            faults.append(f"{call}: the template has no such function")
            continue
        try:
            for right in needed(call):
                used[call.function].setdefault(right, call)
        except Unknown as unknown:
            faults.append(f"{call}: {unknown}")
    pollers = polled(resources)
    for program, name in programs.items():
        for right, call in sorted(used[program].items(), key=lambda item: item[0]):
            if right not in allowed[program]:
                faults.append(f"{name} needs {right[0]} on {right[1]}, which its policy does not allow ({call.place})")
        for right in sorted(allowed[program] - set(used[program])):
            if right[0] in OF_POLLERS and (name, right[1]) in pollers:
                continue
            faults.append(f"{name} may {right[0]} on {right[1]}, which no recorded call needs")
    return faults
