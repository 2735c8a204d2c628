"""What the deployed stack must do, seen from outside: a line for each check, and their sum."""

import base64
import json
import sys
from collections import Counter
from urllib.parse import urlencode

import boto3
import changes
from outside import (
    FIFTH,
    FIRST,
    FOURTH,
    OPENING_HOURS,
    OTHER_PAGE,
    SCHEDULED,
    SECOND,
    SOON,
    THIRD,
    delivered,
    invoke_follow_ups,
    must,
    must_be,
    notification,
    notify,
    now,
    post,
    received,
    said,
    signature,
    texts,
    waiting,
)
from running import run
from stack import APP_ID, APP_SECRET, PAGE, PAGE_TOKEN, VERIFY_TOKEN, Failure, Stack, request, until

# ---------------------------------------------------------------------- the checks, in the order of their running


def verification(stack):
    """Meta's verification: the challenge for the right token, 403 for another"""
    for token, wanted in [(VERIFY_TOKEN, (200, "challenge-5")), ("another token", (403, "FORBIDDEN"))]:
        query = {"hub.mode": "subscribe", "hub.verify_token": token, "hub.challenge": "challenge-5"}
        must_be("the answer", request(f"{stack.callback}?{urlencode(query)}"), wanted)


def signatures(stack):
    """A body that Meta did not sign is refused with 401"""
    body = notification(said(FOURTH, "Are you open?", "m_forged"))
    must_be("signed with another secret", post(stack, body, signature(body, "another secret")), 401)
    must_be("signed for another body", post(stack, body, signature(b"{}")), 401)
    must_be("not signed", post(stack, body, ""), 401)


def batch(stack):
    """A notification about two people: both are answered, and once only although Meta sends it twice"""
    body = notify(stack, said(FIRST, "Are you open?", "m_first_1"), said(SECOND, "Your hours?", "m_second_1"))
    must_be("the answer to the second time", post(stack, body), 200)
    for psid in (FIRST, SECOND):
        until("an answer", lambda: texts(stack, psid), SOON)


def order(stack):
    """Three messages at once of one person: answered in order, from what the bot remembers"""
    for number, text in enumerate(["BOOK", "table", "Friday"]):
        notify(stack, said(THIRD, text, f"m_third_{number}"))
    until("four answers", lambda: len(texts(stack, THIRD)) >= 4, SOON)
    booking = [
        "What would you like to book?",
        "A table, with pleasure. For which day?",
        "Noted: a table, Friday. We will confirm it soon.",
        "Anything else?",
    ]
    must_be("the answers", texts(stack, THIRD), booking)


def follow_up_stored(stack):
    """A follow-up is stored, once for its id; a wrong request gets a clear error"""
    stack.follow_up = {
        "id": "order-5",
        "page_id": PAGE,
        "psid": FIRST,
        "message": {"text": "Your order is on its way."},
        "purpose": "update",
        "send_at": now() + 2_000,
    }
    answer, failed = invoke_follow_ups(stack, stack.follow_up)
    must(not failed, f"the request failed: {answer}")
    must_be("its status", (answer["status"], answer["forecast"]["label"]), ("open", "UPDATE"))
    must_be("what the same again gives", invoke_follow_ups(stack, stack.follow_up)[0]["id"], answer["id"])
    answer, failed = invoke_follow_ups(stack, stack.follow_up | {"id": "order-6", "purpose": "gossip"})
    must(failed and "bad request: purpose" in answer["errorMessage"], f"the wrong request's answer: {answer}")


def poison_sent(stack):
    """A poisonous event is tried, and others' events go on"""
    sqs, queue = boto3.client("sqs"), stack.outputs["EventsQueueUrl"]
    poison = {"MessageGroupId": "poison-group", "MessageDeduplicationId": "poison-id"}
    sqs.send_message(QueueUrl=queue, MessageBody="this is no record", **poison)
    until("the first try", lambda: any("not_a_record" in line for line in stack.log_lines()), SOON)
    notify(stack, said(FOURTH, "Are you open?", "m_fourth_1"))
    until("an answer", lambda: texts(stack, FOURTH), SOON)
    must_be("dead letters by then", waiting(stack, "DeadLetterQueueUrl"), 0)


def unreadable(stack):
    """Signed bodies that cannot be read are kept with their reasons"""
    # What is put back later is a receipt, which nobody answers.
    people = {"sender": {"id": FOURTH}, "recipient": {"id": OTHER_PAGE}}
    receipt = people | {"timestamp": now(), "delivery": {"watermark": now()}}
    strange, foreign = b"signed, but no JSON", notification(receipt, page=OTHER_PAGE)
    must_be("the answer", post(stack, strange), 200)
    must_be("the answer about another Page", post(stack, foreign), 200)
    kept = {}
    until("both", lambda: kept.update(received(stack, "UnreadableQueueUrl")) or len(kept) >= 2, SOON)
    must_be("their reasons", sorted(kept), ["not_json", "unknown_page"])
    must_be("the body", base64.b64decode(kept["not_json"]["Body"]), strange)


def erasure_overdue(stack):
    """An erasure that is overdue is counted for its alarm, and completed by the next run"""
    alarms = boto3.client("cloudwatch").describe_alarms()["MetricAlarms"]
    (alarm,) = [alarm for alarm in alarms if alarm.get("MetricName") == "ErasureOverdue"]
    dimensions = {one["Name"]: one["Value"] for one in alarm["Dimensions"]}
    must_be("what the alarm is about", (alarm["Namespace"], [*dimensions]), ("MessengerBackend", ["stack"]))
    asked_at = now() - 2 * 60 * 60 * 1000
    job = {"pk": "erasure#overdue", "sk": "erasure", "due_page": "erasures", "page_id": PAGE, "person": FIFTH}
    item = {name: {"S": text} for name, text in job.items()}
    item |= {name: {"N": str(asked_at)} for name in ("asked_at", "due_at", "erased_at")}
    boto3.client("dynamodb").put_item(TableName=stack.outputs["TableName"], Item=item)
    until("its end", lambda: all(item["pk"]["S"] != job["pk"] for item in stack.items()), SCHEDULED)
    (mark,) = [item for item in stack.items() if item["pk"]["S"] == f"{PAGE}#{FIFTH}"]
    must_be("when the person was erased", mark["erased_at"]["N"], str(asked_at))
    counted = [line for line in stack.log_lines() if '"_aws"' in line and '"ErasureOverdue":' in line]
    of_the_stack = f'"stack":"{dimensions["stack"]}"'
    must(any(of_the_stack in line for line in counted), f"the metric is missing: {counted}")


def requeued(stack):
    """What was set aside is put back by setup once its Page is in the secret"""
    secrets, setup = boto3.client("secretsmanager"), stack.outputs["SetupFunctionName"]
    secret = json.loads(secrets.get_secret_value(SecretId=stack.outputs["SecretArn"])["SecretString"])
    secret["pages"][OTHER_PAGE] = {"access_token": "token-of-the-other-page"}
    secrets.put_secret_value(SecretId=stack.outputs["SecretArn"], SecretString=json.dumps(secret))
    reports = []

    def put_back():
        answer = boto3.client("lambda").invoke(FunctionName=setup, Payload=json.dumps({"action": "requeue"}))
        report = json.loads(answer["Payload"].read())
        must("FunctionError" not in answer, f"requeue failed: {report}")
        reports.append(report)
        return any("1 events of 1 messages are queued again" in one["finding"] for one in report["findings"])

    # The check of what was set aside has received it, so it is not seen for half a minute.
    try:
        until("what was set aside", put_back, SOON)
    except Failure as failure:
        raise Failure(f"{failure}: {reports}") from failure
    must_be("what stays", waiting(stack, "UnreadableQueueUrl"), 1)
    until("an empty queue of events", lambda: waiting(stack, "EventsQueueUrl") == 0, SOON)


def poison_given_up(stack):
    """The poisonous event ends in the dead-letter queue, with its reason and its group"""
    ((reason, message),) = until("a dead letter", lambda: received(stack, "DeadLetterQueueUrl"), 2 * SOON).items()
    kept = (reason, message["Body"], message["Attributes"]["MessageGroupId"])
    must_be("what is kept", kept, ("not_a_record", "this is no record", "poison-group"))


def follow_up_fired(stack):
    """The schedule fires the follow-up, not before it is due"""
    text, due_at = stack.follow_up["message"]["text"], stack.follow_up["send_at"]
    until("the follow-up", lambda: text in texts(stack, FIRST), SCHEDULED)
    (sent,) = [sent for sent in delivered(stack, FIRST) if sent["message"].get("text") == text]
    must(sent["at"] >= due_at, f"sent at {sent['at']}, due at {due_at}")
    must_be("its label", sent["messaging_type"], "UPDATE")


def echoes(stack):
    """Meta's echoes of the bot's own messages are taken, and say nothing new"""
    before = len(stack.graph_requests())
    for sent in delivered(stack, FIRST) + delivered(stack, THIRD):
        message = {"mid": sent["outcome"]["mid"], "is_echo": True, "app_id": int(APP_ID), "metadata": sent["metadata"]}
        people = {"sender": {"id": PAGE}, "recipient": {"id": sent["psid"]}}
        notify(stack, people | {"timestamp": sent["at"], "message": message})
    until("an empty queue", lambda: waiting(stack, "EventsQueueUrl") == 0, SOON)
    must_be("requests to Meta", len(stack.graph_requests()), before)


def end(stack):
    """In the end everyone was answered once, nothing waits that should not, and Meta refused nothing"""
    must_be("said to the first person", texts(stack, FIRST), [OPENING_HOURS, stack.follow_up["message"]["text"]])
    for psid in (SECOND, FOURTH):
        must_be("said to each of the others", texts(stack, psid), [OPENING_HOURS])
    must_be("requests to Meta", {sent["outcome"]["kind"] for sent in stack.graph_requests()}, {"delivered"})
    queues = ["EventsQueueUrl", "DeadLetterQueueUrl", "UnreadableQueueUrl", "ScheduleDeadLetterQueueUrl"]
    must_be("left in the queues", [waiting(stack, queue) for queue in queues], [0, 1, 1, 0])
    # The third person's two reminders ended with the answers, and the one for tomorrow waits.
    outbox = Counter(item["status"]["S"] for item in stack.items() if "status" in item)
    must_be("the outbox", dict(outbox), {"sent": 7, "cancelled": 2, "open": 1})


def logs(stack):
    """The logs hold metrics, but no secret, no person and no word that was said"""
    lines = stack.log_lines()
    for metric in ("EventsReceived", "Sent"):
        must(any('"_aws"' in line and f'"{metric}":' in line for line in lines), f"the metric {metric} is missing")
    secrets = [APP_SECRET, VERIFY_TOKEN, PAGE_TOKEN, changes.API_KEY]
    for word in [*secrets, FIRST, SECOND, THIRD, FOURTH, "on its way", changes.KEPT, OPENING_HOURS]:
        found = [line for line in lines if word in line]
        must(not found, f"{len(found)} lines hold {word!r}, such as: {found[:1]}")


# ---------------------------------------------------------------------- running them

PREPARATIONS = {
    "sam build": Stack.build,
    "a local AWS": Stack.start_aws,
    "a stand-in for Meta": Stack.start_meta,
    "sam deploy": Stack.deploy,
}
CHECKS = [
    verification,
    signatures,
    batch,
    order,
    follow_up_stored,
    poison_sent,
    unreadable,
    poison_given_up,
    follow_up_fired,
    requeued,
    erasure_overdue,
    echoes,
    end,
    *changes.CHECKS,
    logs,
]


if __name__ == "__main__":
    sys.exit(run(Stack(), PREPARATIONS, CHECKS))
