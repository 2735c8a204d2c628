"""Replays the calls to the table on a second implementation of DynamoDB, and compares the answers.

What the local platform's DynamoDB and moto were both told, they must have answered alike: what an expression means, which
condition fails, what an item looks like afterwards.
"""

import os
from decimal import Decimal
from functools import cache
from itertools import groupby
from multiprocessing import Pool

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore import xform_name
from moto import mock_aws

from calls import files, name, read
from differences import is_known
from template import NAMES, load

REGION = "eu-central-1"

# What template.yaml and the local platform must agree on.
SCHEMA = ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode")
# Of the table itself, and what changes nothing when a test looks.
NOT_REPLAYED = ("CreateTable", "ListTables", "DescribeTable", "UpdateTimeToLive")
READS = ("GetItem", "Query", "Scan", "BatchGetItem", "TransactGetItems")

# moto takes milliseconds for a call, so not everything is replayed: of the platforms of a test, which differ by where a
# function dies, so many; of each platform's calls, the first.
MOST_PLATFORMS = 4
MOST_CALLS = 500


@cache
def schema():
    properties = load()["Table"]["Properties"]
    return {member: properties[member] for member in SCHEMA}


def client():
    """A client of an AWS in this process, which is empty."""
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        os.environ[variable] = "replay"
    mock_aws().start()
    # The models are judged elsewhere; here every request is to arrive as it was made.
    return boto3.client("dynamodb", REGION, config=Config(parameter_validation=False, retries={"total_max_attempts": 1}))


def answer(dynamodb, call):
    """The status and the answer of the second implementation."""
    try:
        found = getattr(dynamodb, xform_name(call.operation))(**call.request)
    except ClientError as error:
        found = error.response
        found["__type"] = found.pop("Error")["Code"]
        return found.pop("ResponseMetadata")["HTTPStatusCode"], found
    # moto refuses some conditions that it cannot parse by failing itself.
    except ValueError as error:
        return 500, {"__type": f"moto: {error}"}
    del found["ResponseMetadata"]
    return 200, found


def comparable(status, body, call):
    """An answer without what DynamoDB leaves open: wording, order within sets and between equal keys, capacity."""
    kept = {key: value for key, value in body.items() if key not in ("ConsumedCapacity", "message", "Message")}
    if status != 200:
        kept["__type"] = kept.get("__type", "").split("#")[-1]
        reasons = kept.get("CancellationReasons", [])
        if reasons:
            kept["CancellationReasons"] = [{key: value for key, value in reason.items() if key != "Message"} for reason in reasons]
    kept = {key: value for key, value in kept.items() if value not in ({}, [], None)}
    kept = plain(kept)
    if call.operation == "Query" and "IndexName" in call.request:
        kept["Items"] = sorted(kept.get("Items", []), key=lambda item: (Decimal(item["due_at"]["N"]), str(item)))
    if call.operation == "Scan":
        kept["Items"] = sorted(kept.get("Items", []), key=str)
    return status, kept


def plain(value):
    """A value in one of the forms that mean the same: members in order, numbers as DynamoDB returns them."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        kind, content = next(iter(value.items()))
        if kind == "N" and isinstance(content, str):
            return {"N": str(Decimal(content).normalize())}
        if kind == "NS" and isinstance(content, list):
            return {"NS": sorted(str(Decimal(one).normalize()) for one in content)}
        if kind == "SS" and isinstance(content, list):
            return {"SS": sorted(content)}
    return {key: plain(value[key]) for key in sorted(value)}


def difference(dynamodb, call):
    """How the two answers to a call differ; nothing if they do not, or if it is known who is right."""
    expected = comparable(call.status, call.answer, call)
    found = comparable(*answer(dynamodb, call), call)
    if expected == found or is_known(call, expected, found):
        return None
    return f"{call}\n  asked     {call.request}\n  recorded  {expected}\n  replayed  {found}"


def schema_difference(call):
    """How the local platform's table differs from the template's."""
    ordered = {member: sorted(value, key=str) if isinstance(value, list) else value for member, value in plain(schema()).items()}
    asked = plain({member: call.request.get(member) for member in SCHEMA})
    asked = {member: sorted(value, key=str) if isinstance(value, list) else value for member, value in asked.items()}
    if asked == ordered:
        return None
    return f"{call.place}: the table is not template.yaml's\n  platform  {asked}\n  template  {ordered}"


def replay(dynamodb, calls, most=MOST_CALLS):
    """Replays a platform's calls in order: how many were compared, and the first difference.

    Later ones would follow from it.
    """
    table = next(iter(NAMES["table"]))
    if table in dynamodb.list_tables()["TableNames"]:
        dynamodb.delete_table(TableName=table)
    dynamodb.create_table(TableName=table, **schema())
    compared = 0
    for call in calls:
        if call.operation == "CreateTable" and (found := schema_difference(call)):
            return compared, found
        is_look = call.function is None and call.operation in READS
        if call.service != "dynamodb" or not call.of_the_table or is_look or call.operation in NOT_REPLAYED:
            continue
        compared += 1
        if found := difference(dynamodb, call):
            return compared, found
        if compared == most:
            break
    return compared, None


def begin():
    global DYNAMODB
    DYNAMODB = client()


def replay_file(file):
    return name(file), *replay(DYNAMODB, read(file))


def judged(folder):
    """How many calls were compared, and the differences."""
    largest_first = sorted(sample(files(folder)), key=lambda file: -file.stat().st_size)
    with Pool(initializer=begin) as pool:
        results = sorted(pool.imap_unordered(replay_file, largest_first), key=lambda result: result[0])
    return sum(compared for _, compared, _ in results), [found for *_, found in results if found]


def sample(every):
    """The first and the last platform of each test, and some in between, the same ones each time."""
    chosen = []
    for _, group in groupby(every, key=name):
        group = list(group)
        count = min(MOST_PLATFORMS, len(group))
        chosen += [group[round(place * (len(group) - 1) / max(count - 1, 1))] for place in range(count)]
    return chosen
