"""What must hold when the stack is deployed again: with other values, and with a restored table and another secret."""

import json
import re

import boto3
from documents import FOLDER, Documents, misunderstood
from outside import (
    FIFTH,
    FIRST,
    FOURTH,
    SCHEDULED,
    SECOND,
    SOON,
    invoke_follow_ups,
    must,
    must_be,
    notify,
    now,
    said,
    texts,
)
from stack import PAGE, STACK, request, until

# Other values than the defaults, and what they must change is checked below.
OTHER_VALUES = {
    "ApiAuth": "key",
    "DeletionProtection": "on",
    "DeploymentPreference": "AllAtOnce",
    "EventFeed": "on",
    "LogLevel": "INFO",
    "MemorySize": "320",
    "MetricsByPage": "on",
    "Monitoring": "full",
    "NoEventsHours": "3",
    "Tracing": "on",
    "TrackReceipts": "on",
    "UserProfiles": "on",
}
API_KEY = "a key for the API on this machine"
RESTORED = f"{STACK}-restored"
KEPT, SENT_SINCE = "Shall we keep your table?", "Your table is ready."
# The functions that are served through their alias when deployments are gradual.
ALIASED = ("EventProcessorFunction", "ApiFunction")

DOCUMENTS = Documents()


def listed(stack, path):
    """An answer of the API to a caller with its key."""
    status, text = request(stack.api + path, headers={"authorization": f"Bearer {API_KEY}"})
    must_be(f"the status of {path} ({text})", status, 200)
    return json.loads(text)


def update_in_place(stack):
    """A deployment with other values changes the stack in place: every resource stays what it was"""
    before = stack.resources()
    # With the callers' key, and with what an earlier check added.
    secrets = boto3.client("secretsmanager")
    stack.secret = json.loads(secrets.get_secret_value(SecretId=stack.outputs["SecretArn"])["SecretString"])
    stack.secret["api_key"] = API_KEY
    stack.fill_secret(stack.secret)
    stack.update(**OTHER_VALUES)
    after = stack.resources()
    # A changed configuration is a new version.
    ids = {name: id for name, (type, id) in before.items() if type != "AWS::Lambda::Version"}
    must_be("the ids", {name: after.get(name, (None, None))[1] for name in ids}, ids)


def values_took_effect(stack):
    """Each function has the other values, its alias too, and the table its protection"""
    functions = boto3.client("lambda")
    names = {name: id for name, (type, id) in stack.resources().items() if type == "AWS::Lambda::Function"}
    must_be("the functions", len(names), 5)
    for logical_id, name in names.items():
        for qualifier in ("$LATEST", "live") if logical_id in ALIASED else ("$LATEST",):
            found = functions.get_function_configuration(FunctionName=name, Qualifier=qualifier)
            variables = found["Environment"]["Variables"]
            seen = found["MemorySize"], found["TracingConfig"]["Mode"], variables["RUST_LOG"]
            must_be(f"{logical_id}, {qualifier}", seen, (320, "Active", "INFO"))
    sources = functions.list_event_source_mappings()["EventSourceMappings"]
    must_be("what reads the queue", [one["FunctionArn"].endswith(":live") for one in sources], [True])
    table = boto3.client("dynamodb").describe_table(TableName=stack.outputs["TableName"])["Table"]
    must_be("the table's protection", table["DeletionProtectionEnabled"], True)


def alarms_and_dashboard(stack):
    """Every alarm is there, and the dashboard names only what exists"""
    template = stack.template()["Resources"]
    wanted = [name for name, one in template.items() if one["Type"] == "AWS::CloudWatch::Alarm"]
    wanted = [name for name in wanted if template[name].get("Condition") != "Forwards"]
    resources = stack.resources()
    there = [name for name, (type, _) in resources.items() if type == "AWS::CloudWatch::Alarm"]
    must_be("the alarms of the stack", sorted(there), sorted(wanted))
    cloudwatch = boto3.client("cloudwatch")
    alarms = {alarm["AlarmName"] for alarm in cloudwatch.describe_alarms()["MetricAlarms"]}
    must_be("the alarms", alarms, {resources[name][1] for name in there})
    body = json.loads(cloudwatch.get_dashboard(DashboardName=resources["Dashboard"][1])["DashboardBody"])
    must_be("the widgets", len(body["widgets"]), 9)
    # The last part of a queue's URL is its name.
    exists = [STACK, *(id for _, id in resources.values())]
    named = set(re.findall(rf'{STACK}[^"\' ]*', json.dumps(body)))
    unknown = [name for name in named if not any(id.endswith(name) for id in exists)]
    must(len(named) > 10 and not unknown, f"the dashboard names {unknown}")


def second_life(stack):
    """After it people are answered, and the Page has metrics of its own"""
    notify(stack, said(SECOND, "Are you open on Sundays?", "m_second_2"))
    until("an answer", lambda: len(texts(stack, SECOND)) >= 2, SOON)
    by_page = '[["stack"],["stack","page"]]'
    until("metrics of the Page", lambda: any(by_page in line for line in stack.log_lines()), SOON)


def fed(stack):
    """The feed holds what was said since; the API shows it to who has the key, and to nobody else"""
    must_be("without a key", request(f"{stack.api}/events?page_id={PAGE}")[0], 401)
    # An event comes 20 s after it was processed.
    events = until("the feed", lambda: listed(stack, f"/events?page_id={PAGE}")["results"], SOON)
    must("m_second_2" in json.dumps(events), f"the feed has {events}")


def operated(stack):
    """The operator's commands do what the documents say"""
    must(stack.outputs["TableName"] in DOCUMENTS.run(stack, "describe-stacks"), "the outputs are not there")
    for action in ("status", "register"):
        # The CLI writes its own answer behind that of the function.
        report, _ = json.JSONDecoder().raw_decode(DOCUMENTS.run(stack, f'{{"action":"{action}"}}'))
        must(report["findings"], f"{action}: {report}")
    (FOLDER / "secret.json").write_text(json.dumps(stack.secret))
    DOCUMENTS.run(stack, "put-secret-value")
    # Of the same code and settings there is a version already, which is given again.
    DOCUMENTS.run(stack, "update-alias")


def restored(stack):
    """After a restore as documented the stack serves the restored table and another secret, and knows who wrote before"""
    dynamodb, secrets = boto3.client("dynamodb"), boto3.client("secretsmanager")
    stack.own = {name: stack.outputs[name] for name in ("TableName", "SecretArn")}
    follow_up = {"page_id": PAGE, "purpose": "update", "send_at": now() + 10_000}
    for psid, text in ((SECOND, KEPT), (FOURTH, SENT_SINCE)):
        wanted = follow_up | {"id": f"of-{psid}", "psid": psid, "message": {"text": text}}
        answer, failed = invoke_follow_ups(stack, wanted)
        must(not failed, f"the request failed: {answer}")
    DOCUMENTS.run(stack, "put-function-concurrency")
    DOCUMENTS.run(stack, "--use-latest-restorable-time", RESTORED=RESTORED)
    DOCUMENTS.run(stack, "update-time-to-live", RESTORED=RESTORED)
    expiry = dynamodb.describe_time_to_live(TableName=RESTORED)["TimeToLiveDescription"]
    must_be("the expiry", (expiry["TimeToLiveStatus"], expiry["AttributeName"]), ("ENABLED", "expires_at"))

    # One of the two has been sent since the time of the restored table.
    since = now()
    (sent,) = [item for item in stack.items() if SENT_SINCE in json.dumps(item)]
    key = {name: sent[name] for name in ("pk", "sk")}
    at = {":now": {"N": str(since)}}
    ended = {"UpdateExpression": "SET ended_at = :now", "ExpressionAttributeValues": at}
    dynamodb.update_item(TableName=stack.own["TableName"], Key=key, **ended)
    DOCUMENTS.run(stack, "ended_at >= :since", RESTORED=RESTORED, SINCE=str(since))
    must_be("what is left of it", [item for item in stack.items(RESTORED) if key.items() <= item.items()], [])
    must_be("the erased", DOCUMENTS.run(stack, "erased_at >= :since", SINCE="0").split(), [f"{PAGE}#{FIFTH}"])

    arn = secrets.create_secret(Name="of-a-stack-before", SecretString=json.dumps(stack.secret))["ARN"]
    left = stack.items()
    stack.update(ExistingTableName=RESTORED, ExistingSecretArn=arn)
    must_be("the outputs", (stack.outputs["TableName"], stack.outputs["SecretArn"]), (RESTORED, arn))
    DOCUMENTS.run(stack, "delete-function-concurrency")
    invoke_follow_ups(stack, {"source": "schedule"})
    until("the follow-up", lambda: KEPT in texts(stack, SECOND), SCHEDULED)
    notify(stack, said(FIRST, "Are you open on Mondays?", "m_first_2"))
    until("an answer", lambda: len(texts(stack, FIRST)) >= 3, SOON)
    must_be("what was sent again", [text for text in texts(stack, FOURTH) if text == SENT_SINCE], [])
    must_be("the old table", sorted(stack.items(stack.own["TableName"]), key=str), sorted(left, key=str))


def found_again(stack):
    """The stack's own table and secret are kept, and found as documented"""
    secrets = boto3.client("secretsmanager")
    must_be("the stack's", [name for name in ("Table", "Secret") if name in stack.resources()], [])
    kept = DOCUMENTS.run(stack, "list-tables")
    for name, id in stack.own.items():
        must(id in kept, f"{name} {id} is not in {kept}")
    own = stack.own["SecretArn"]
    secrets.delete_secret(SecretId=own)
    DOCUMENTS.run(stack, "restore-secret", SECRET_ARN=own)
    later = secrets.put_secret_value(SecretId=own, SecretString="{}")["VersionId"]
    versions = secrets.list_secret_version_ids(SecretId=own)["Versions"]
    (before,) = [one["VersionId"] for one in versions if "AWSPREVIOUS" in one["VersionStages"]]
    DOCUMENTS.run(stack, "update-secret-version-stage", SECRET_ARN=own, VERSION_WANTED=before, VERSION_NOW=later)
    must_be("the secret", json.loads(secrets.get_secret_value(SecretId=own)["SecretString"]), stack.secret)


def commands(stack):
    """Each command of the documents is understood by the AWS CLI, and run unless there is a reason"""
    count, faults = misunderstood()
    must(count > 30 and not faults, f"{count} commands: {faults}")
    must_be("what is not run", DOCUMENTS.not_run(), [])


CHECKS = [
    update_in_place,
    values_took_effect,
    alarms_and_dashboard,
    second_life,
    operated,
    fed,
    restored,
    found_again,
    commands,
]
