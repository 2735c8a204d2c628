"""The recorded calls: a file for each platform that ran, a line for each call that reached its AWS."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import botocore.session

SERVICES = {"DynamoDB_20120810": "dynamodb", "AmazonSQS": "sqs", "secretsmanager": "secretsmanager"}


class Unusable(Exception):
    """A record from which nothing can be concluded."""


@dataclass
class Call:
    place: str
    # Absent if a test called, to prepare something or to look.
    function: str | None
    target: str
    request: dict
    status: int
    answer: dict
    # Whether the table answered, and not an index that the search lets lag.
    of_the_table: bool

    @property
    def service(self):
        return SERVICES.get(self.target.split(".")[0])

    @property
    def operation(self):
        return self.target.split(".")[-1]

    def __str__(self):
        return f"{self.place}: {self.operation} of {self.function or 'a test'}"


def files(folder):
    """The records in an order that does not depend on process ids."""
    found = sorted(Path(folder).glob("*.jsonl"), key=lambda file: (name(file), int(file.name.split(".")[-2])))
    if not found:
        raise Unusable(f"{folder}: nothing is recorded; tests/check test records")
    return found


def name(file):
    """The test or seed, without the process and the count that tell its platforms apart."""
    return file.name.rsplit(".", 3)[0]


def read(file):
    """The calls of a record, which may be too many to keep."""
    number = 0
    with open(file) as lines:
        for number, line in enumerate(lines, 1):
            yield Call(place=f"{name(file)}:{number}", **json.loads(line))
    if number == 0:
        raise Unusable(f"{file}: no call is recorded")


@cache
def model(service):
    return botocore.session.get_session().get_service_model(service)
