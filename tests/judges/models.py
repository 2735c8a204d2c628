"""Whether calls and answers are as AWS's own descriptions of its services have them.

botocore itself checks types, required members and minima, on what Python programs pass to it. Here the requests are
those that the functions' SDK wrote, and every rule of the descriptions is checked.
"""

import base64
import binascii
import re
from functools import cache

from calls import model

# What the descriptions tell only in words: the rule, and its words, which must be in the description.
SAID = {
    ("sqs", "MessageGroupId"): (r"[!-~]{1,128}", "The length of MessageGroupId is 128 characters"),
    ("sqs", "MessageDeduplicationId"): (r"[!-~]{1,128}", "The maximum length of MessageDeduplicationId is 128 characters"),
    ("sqs", "Id"): (r"[A-Za-z0-9_-]{1,80}", "This identifier can have up to 80 characters"),
    ("sqs", "Entries"): (range(1, 11), "the maximum number of entries you can include in a single SendMessageBatch, DeleteMessageBatch, or ChangeMessageVisibilityBatch request is 10"),
    ("sqs", "DelaySeconds"): (range(0, 901), "Valid values: 0 to 900"),
    ("sqs", "VisibilityTimeout"): (range(0, 43_201), "Values range: 0 to 43200"),
    ("sqs", "MaxNumberOfMessages"): (range(1, 11), "Valid values: 1 to 10"),
    ("sqs", "MessageBody"): (
        "[\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]+",
        "A message can include only XML, JSON, and unformatted text",
    ),
}

# What every operation may answer with, and none lists.
# Source: "Common Errors" in the API reference of each service, such as
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html
COMMON_ERRORS = {
    "AccessDeniedException",
    "InternalFailure",
    "InternalServerError",
    "InvalidParameterValue",
    "ServiceUnavailable",
    "ThrottlingException",
    "ValidationException",
}

PYTHON_TYPES = {
    "string": str,
    "character": str,
    "blob": str,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float),
    "boolean": bool,
    "list": list,
    "map": dict,
    "structure": dict,
}


def broken_by(call):
    """The rules that a request breaks: (member, rule)."""
    if call.service is None:
        return [("", f"there is no service {call.target}")]
    service = model(call.service)
    if call.operation not in service.operation_names:
        return [("", f"{call.service} has no such operation")]
    operation = service.operation_model(call.operation)
    if operation.input_shape is None:
        return [("", "takes no members")] if call.request else []
    return list(of_shape(call.service, operation.input_shape, call.request, ""))


def answer_broken_by(call):
    """The rules that an answer breaks."""
    operation = model(call.service).operation_model(call.operation)
    if call.status == 200:
        if operation.output_shape is None:
            return []
        # Not what the limits of requests are: an empty UnprocessedItems is of a shape that must not be empty.
        return list(of_shape(call.service, operation.output_shape, call.answer, "", is_limited=False))
    kind = call.answer.get("__type", "").split("#")[-1]
    known = {shape.name for shape in operation.error_shapes} | COMMON_ERRORS
    return [] if kind in known else [("__type", f"{kind!r} is not an error of the operation")]


def of_shape(service, shape, value, path, is_limited=True):
    kind = shape.type_name
    expected = PYTHON_TYPES[kind]
    if not isinstance(value, expected) or (isinstance(value, bool) and kind != "boolean"):
        yield path, f"must be a {kind} and is {value!r}"
        return
    if is_limited:
        yield from of_extent(shape, value, path)
    if kind == "structure":
        for required in shape.required_members:
            if required not in value:
                yield joined(path, required), "is required"
        for key, member in value.items():
            if key not in shape.members:
                yield joined(path, key), "is unknown"
                continue
            yield from of_shape(service, shape.members[key], member, joined(path, key), is_limited)
            if is_limited:
                yield from of_words(service, key, member, joined(path, key))
    elif kind == "list":
        for place, member in enumerate(value):
            yield from of_shape(service, shape.member, member, f"{path}[{place}]", is_limited)
    elif kind == "map":
        for key, member in value.items():
            yield from of_shape(service, shape.key, key, f"{path}: key {key}", is_limited)
            yield from of_shape(service, shape.value, member, joined(path, key), is_limited)


def of_extent(shape, value, path):
    kind, limits = shape.type_name, shape.metadata
    if kind == "blob":
        try:
            value = base64.b64decode(value, validate=True)
        except binascii.Error:
            yield path, "must be base64"
            return
    size = value if kind in ("integer", "long", "float", "double") else None
    if kind in ("string", "blob", "list", "map"):
        size = len(value)
    if size is not None:
        if "min" in limits and size < limits["min"]:
            yield path, f"must be at least {limits['min']} and is {size}"
        if "max" in limits and size > limits["max"]:
            yield path, f"must be at most {limits['max']} and is {size}"
    if kind == "string":
        if limits.get("enum") and value not in limits["enum"]:
            yield path, f"must be one of {', '.join(limits['enum'])} and is {value!r}"
        if "pattern" in limits and not re.fullmatch(limits["pattern"], value):
            yield path, f"must match {limits['pattern']} and is {value!r}"


def of_words(service, key, value, path):
    if (service, key) not in SAID:
        return
    rule, words = SAID[service, key]
    size = value if isinstance(value, int) else len(value)
    if not (size in rule if isinstance(rule, range) else re.fullmatch(rule, value, re.DOTALL)):
        yield path, f"{words}; it has or is {size}"


@cache
def unsaid():
    """The words of rules that are no longer in a description, which may now say something else."""
    texts = {service: described(model(service)) for service, _ in SAID}
    return [words for (service, _), (_, words) in SAID.items() if words not in texts[service]]


def described(service):
    """All the text of a service's description."""
    shapes = [service.shape_for(name) for name in service.shape_names]
    members = [member for shape in shapes if shape.type_name == "structure" for member in shape.members.values()]
    operations = [service.operation_model(name) for name in service.operation_names]
    text = " ".join(one.documentation for one in (*shapes, *members, *operations))
    return re.sub(r"\s+", " ", re.sub("<[^>]*>", "", text))


def joined(path, member):
    return f"{path}.{member}" if path else member
