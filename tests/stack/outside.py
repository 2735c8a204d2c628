"""How the checks act on the stack from outside, as Meta does and as its operator does."""

import hashlib
import hmac
import json
import time

import boto3
from stack import APP_SECRET, PAGE, Failure, request

# How long an answer may take on a machine that has other things to do.
SOON = 60
# The schedule runs every minute, and the local AWS looks at it every ten seconds.
SCHEDULED = 180

FIRST, SECOND, THIRD, FOURTH, FIFTH = (f"70000000000000{number}" for number in range(11, 16))
OTHER_PAGE = "200000000000002"
OPENING_HOURS = "We are open every day from 9 to 18."


def must(condition, what):
    if not condition:
        raise Failure(what)


def must_be(what, is_now, wanted):
    must(is_now == wanted, f"{what}: {is_now!r} instead of {wanted!r}")


# ---------------------------------------------------------------------- Meta's side


def now():
    """The present in Meta's milliseconds."""
    return time.time_ns() // 1_000_000


def said(psid, text, mid):
    """An event: somebody writes to the Page."""
    message = {"mid": mid, "text": text}
    return {"sender": {"id": psid}, "recipient": {"id": PAGE}, "timestamp": now(), "message": message}


def notification(*events, page=PAGE):
    """The body of a notification."""
    entry = {"id": page, "time": now(), "messaging": events}
    return json.dumps({"object": "page", "entry": [entry]}).encode()


def signature(body, app_secret=APP_SECRET):
    return "sha256=" + hmac.new(app_secret.encode(), body, hashlib.sha256).hexdigest()


def post(stack, body, signed=None):
    """Posts to the webhook as Meta does: the answer's status."""
    headers = {"content-type": "application/json"}
    headers["x-hub-signature-256"] = signature(body) if signed is None else signed
    return request(stack.callback, body, headers)[0]


def notify(stack, *events):
    """Makes something happen at Meta and notifies the webhook; returns the body."""
    body = notification(*events)
    # Meta's stand-in sends only to people that it knows, within windows that it keeps by itself.
    must_be("Meta's stand-in", request(f"{stack.meta}/_simulator/observe", body)[0], 204)
    must_be("the webhook's answer", post(stack, body), 200)
    return body


def delivered(stack, psid):
    """The messages that reached a person, in order."""
    sent = stack.graph_requests()
    return [one for one in sent if one["psid"] == psid and one["outcome"]["kind"] == "delivered"]


def texts(stack, psid):
    """What was said to a person, in order; a template by its own text."""
    messages = [sent["message"] for sent in delivered(stack, psid)]
    return [message.get("text") or message["attachment"]["payload"]["text"] for message in messages]


# ---------------------------------------------------------------------- the AWS side


def waiting(stack, queue):
    """How many messages a queue has, seen or not."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = boto3.client("sqs").get_queue_attributes(QueueUrl=stack.outputs[queue], AttributeNames=names)
    return sum(int(number) for number in answer["Attributes"].values())


def received(stack, queue):
    """The messages of a queue by their reasons; they stay in it, unseen for a while."""
    answer = boto3.client("sqs").receive_message(
        QueueUrl=stack.outputs[queue],
        MaxNumberOfMessages=10,
        MessageAttributeNames=["All"],
        MessageSystemAttributeNames=["All"],
    )
    messages = answer.get("Messages", [])
    return {message["MessageAttributes"]["reason"]["StringValue"]: message for message in messages}


def invoke_follow_ups(stack, payload):
    """Invokes the follow-ups function: its answer, and whether it is an error."""
    function = stack.outputs["FollowUpsFunctionName"]
    answer = boto3.client("lambda").invoke(FunctionName=function, Payload=json.dumps(payload))
    return json.loads(answer["Payload"].read()), "FunctionError" in answer
