"""A stack of the version before, with what waits in it, becomes one of today's: a line for each check, and their sum.

`tests/stack/checks.py` has built today's version before.
"""

import json
import re
import shutil
import sys
import time
from collections import Counter

import boto3
from outside import SCHEDULED, SOON, invoke_follow_ups, must, must_be, post, signature, texts, waiting
from running import run
from samcli.yamlhelper import yaml_parse
from stack import APP_ID, ROOT, STACK, VERIFY_TOKEN, Failure, Stack, request, token_of, until

# What the version before left, and its template.
LEFT = ROOT / "tests" / "upgrade"
WORK = ROOT / "target" / "stack-upgrade"

# The app's secret and the Pages of those who played what was left.
APP_SECRET = "sample-app-secret"
PAGES = [f"10000000000000{number}" for number in range(1, 6)]
PARAMETERS = {"EchoGraceSeconds": 5, "AdWindows": "on", "EventFeed": "on", "UserProfiles": "on"}

# What must be the same resource afterwards: what holds data, and what others know by its address.
KEPT = ["Table", "Secret", "EventsQueue", "DeadLetterQueue", "UnreadableQueue", "WebhookApi", "Api"]
QUEUES = {
    "events.fifo": "EventsQueueUrl",
    "dead-letters.fifo": "DeadLetterQueueUrl",
    "unreadable": "UnreadableQueueUrl",
}

HOURS = "We are open every day from 9 to 18."
WHAT = "What would you like to book?"
# How long ago it was left, in ms: all that was due within two minutes is due.
AGO = 120_000
# What was queued, is due, or may have been sent by a function that died: to whom, and what.
QUEUED = {"7000000000000132": [WHAT], "7000000000000133": [HOURS, WHAT], "7000000000000134": [HOURS]}
DUE = {
    "7000000000000115": ["first", "second"],
    "7000000000000120": ["without an echo"],
    "7000000000000122": ["in reply to 7000000000000122"],
    "7000000000000125": ["without a token"],
}
UNCLEAR = {
    "7000000000000118": ["Anything else?"],
    "7000000000000121": ["after the outage"],
    "7000000000000135": ["asked for twice"],
    "7000000000000136": ["swept"],
}


# ---------------------------------------------------------------------- the times in what was left

MILLISECONDS = {
    *("ad_clicked_at", "ad_until", "after_erasure", "asked_at", "at", "busy_until", "cancelled_by_answer_after"),
    *("caused_at", "control_at", "decided_at", "delivered_until", "due_at", "ended_at", "erased_at", "first_due"),
    *("free_until", "give_up_at", "happened_at", "human_closed_for", "last_message_at", "lease_until", "paused_until"),
    *("policy_at", "quiet_until", "read_until", "received_at", "refused_at", "sweep_until", "swept_at", "taken_at"),
    *("sent_at", "thread_at", "thread_until", "token_expiry_timestamp", "unclear_at"),
}
SECONDS = {"expires_at"}
# Meta gives these in either unit.
EITHER = {"created_time", "entry_time", "time", "timestamp", "watermark"}
# Texts with milliseconds in them: what a conversation knows of an entry that waits, and where an event is in the feed.
TEXTS = {"cursor", "feed", "sk", "waiting"}
# DynamoDB's names of types.
TYPES = {"S", "N", "BOOL", "M", "L", "SS"}


def moved(value, span, name=""):
    """A value whose times are later by so many milliseconds; a time is known by its name."""
    if isinstance(value, dict):
        return {key: moved(it, span, name if name in TEXTS or key in TYPES else key) for key, it in value.items()}
    if isinstance(value, list):
        return [moved(it, span, name) for it in value]
    if isinstance(value, str) and value.startswith("{"):
        return json.dumps(moved(json.loads(value), span))
    if isinstance(value, str) and name in TEXTS:
        return re.sub(r"\b1[78]\d{11}\b", lambda time: str(int(time[0]) + span), value)
    if isinstance(value, bool) or not re.fullmatch(r"1[78](\d{8}|\d{11})", str(value)):
        return value
    must(name in MILLISECONDS | SECONDS | EITHER, f"{name} looks like a time, and nobody knows of which unit: {value}")
    in_seconds = name in SECONDS or name in EITHER and len(str(value)) == 10
    return type(value)(int(value) + (span // 1000 if in_seconds else span))


# ---------------------------------------------------------------------- the deployments


def start_meta(stack):
    stack.start_meta(APP_SECRET, PAGES)


def deploy_previous(stack):
    """Deploys the template of the version before, with a stub for each function."""
    folder = stack.work / "previous"
    folder.mkdir()
    shutil.copy(ROOT / "tests" / "stack" / "stub", folder / "bootstrap")
    template = yaml_parse((LEFT / "template.yaml").read_text())
    del template["Globals"]["Function"]["CodeUri"]
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            del resource["Metadata"]
            resource["Properties"]["CodeUri"] = str(folder)
    stack.update(template, GraphBaseUrl=stack.graph, LogLevel="DEBUG", SafetyMarginSeconds=5, **PARAMETERS)
    stack.kept = kept()


def fill_secret(stack):
    """Writes the secret of those who played what was left; returns its version."""
    pages = {page: {"access_token": token_of(page)} for page in PAGES}
    secret = {"app_id": APP_ID, "app_secret": APP_SECRET, "verify_token": VERIFY_TOKEN, "pages": pages}
    return stack.fill_secret(secret)


def fill(stack):
    """Puts what was left into the secret, the table and the queues, as if it had been left a moment ago."""
    # The stub would take events again and again, and the more often, the longer they wait.
    poll(stack, False)
    left = (LEFT / "state.json").read_text()
    version = fill_secret(stack)
    left = json.loads(left.replace(json.loads(left)["secret_version"], version))
    stack.left = left = moved(left, time.time_ns() // 1_000_000 - AGO - left["at"])
    for notification in left["sent"]:
        must_be("Meta's stand-in", request(f"{stack.meta}/_simulator/observe", json.dumps(notification))[0], 204)
    sqs, dynamodb = boto3.client("sqs"), boto3.client("dynamodb")
    for item in left["items"]:
        dynamodb.put_item(TableName=stack.outputs["TableName"], Item=item)
    names = {"group": "MessageGroupId", "deduplication": "MessageDeduplicationId"}
    for queue, url in QUEUES.items():
        for message in left["queues"][queue]:
            attributes = message.get("attributes", {}).items()
            sqs.send_message(
                QueueUrl=stack.outputs[url],
                MessageBody=message["body"],
                MessageAttributes={name: {"DataType": "String", "StringValue": text} for name, text in attributes},
                **{parameter: message[name] for name, parameter in names.items() if name in message},
            )
    must_be("events in the queue", waiting(stack, "EventsQueueUrl"), len(left["queues"]["events.fifo"]))


def upgrade(stack):
    """Deploys today's template and functions over it."""
    stack.update()
    poll(stack, True)
    stack.upgraded_at = time.time_ns() // 1_000_000


def poll(stack, enabled):
    """Lets Lambda take events from their queue, or not."""
    function, functions = stack.outputs["EventProcessorFunctionName"], boto3.client("lambda")
    (source,) = functions.list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
    functions.update_event_source_mapping(UUID=source["UUID"], Enabled=enabled)


def kept():
    """The physical id of each resource that is to be kept."""
    resources = boto3.client("cloudformation").describe_stack_resources(StackName=STACK)["StackResources"]
    ids = {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources}
    return {name: ids.get(name) for name in KEPT}


# ---------------------------------------------------------------------- the checks, in the order of their running


def same_resources(stack):
    """The table, the secret, the queues and the addresses are those of before"""
    must_be("the resources", kept(), stack.kept)
    items = {(item["pk"]["S"], item["sk"]["S"]) for item in stack.items()}
    # Meanwhile an erasure may have been completed, and what is due be done.
    lost = [item for item in stack.left["items"] if (item["pk"]["S"], item["sk"]["S"]) not in items]
    must(all("conversation" not in item["sk"]["S"] for item in lost), f"conversations are lost: {lost}")


def echoes(stack):
    """The echoes of what arrived before are taken"""
    for body in stack.left["coming"]:
        body = json.dumps(body).encode()
        must_be("the webhook's answer", post(stack, body, signature(body, APP_SECRET)), 200)


def secret_renewed(stack):
    """The secret can be renewed, which ends the pause for a dead token"""
    fill_secret(stack)


def until_said(stack, what, wanted, seconds, act=lambda: None):
    """Waits, acting again and again, until people were told what is wanted, in this order and nothing else."""
    said = {}

    def all_is_said():
        act()
        said.update({psid: texts(stack, psid) for psid in wanted})
        return all(set(all_texts) <= set(said[psid]) for psid, all_texts in wanted.items())

    try:
        until(what, all_is_said, seconds)
    except Failure as failure:
        raise Failure(f"{failure}: {said}") from failure
    must_be(what, said, wanted)


def queued(stack):
    """The queued events are processed, those included at which a function had died"""
    until("an empty queue", lambda: waiting(stack, "EventsQueueUrl") == 0, SOON)
    echoed = [body["entry"][0]["messaging"][0]["recipient"]["id"] for body in stack.left["coming"]]
    died = [str(7000000000000201 + number) for number in range(int(stack.left["remembered"]["calls"]))]
    until_said(stack, "what was queued", QUEUED | {psid: [] if psid in echoed else [WHAT] for psid in died}, SOON)


def due(stack):
    """What was due leaves with the next run of the schedule"""
    until_said(stack, "what was due", DUE, SCHEDULED)


def unclear(stack):
    """What may have been sent goes once more, after the time for its echo"""

    def run():
        answer, failed = invoke_follow_ups(stack, {"source": "schedule"})
        must(not failed, f"a run failed: {answer}")

    until_said(stack, "what was unclear", UNCLEAR, SOON, run)


def nothing_in_vain(stack):
    """Nothing is open that was due, except what throttling holds back"""
    def overdue():
        return [
            item
            for item in stack.items()
            if item.get("status", {}).get("S") == "open"
            and int(item.get("due_at", item.get("lease_until", {"N": "0"}))["N"]) < stack.upgraded_at
            and item.get("reason", {}).get("S") != "throttled"
        ]

    try:
        until("the end of what was due", lambda: not overdue(), SOON)
    except Failure as failure:
        raise Failure(f"{failure}: {overdue()}") from failure
    must_be("left in the queues", [waiting(stack, url) for url in QUEUES.values()], [0, 1, 2])


def refused(stack):
    """Meta refused nothing, and no message went twice"""
    outcomes = {sent["outcome"]["kind"] for sent in stack.graph_requests()}
    must_be("Meta's answers", outcomes - {"acted"}, {"delivered"})
    people = {sent["psid"] for sent in stack.graph_requests()}
    for psid in people:
        twice = [text for text, count in Counter(texts(stack, psid)).items() if count > 1]
        must(not twice, f"{psid} was told twice: {twice}")


# ---------------------------------------------------------------------- running them

PREPARATIONS = {
    "a local AWS": Stack.start_aws,
    "a stand-in for Meta": start_meta,
    "sam deploy of the version before": deploy_previous,
    "what it left": fill,
    "sam deploy of today's version": upgrade,
}
CHECKS = [same_resources, secret_renewed, echoes, queued, due, unclear, nothing_in_vain, refused]


if __name__ == "__main__":
    sys.exit(run(Stack(WORK), PREPARATIONS, CHECKS))
