"""Each judge accepts what is right, and refuses what is broken in just one way."""

import json
import tempfile
import unittest
from pathlib import Path

import models
import replay
import rights
import template
import turns
from calls import Call, Unusable, files, read

TABLE = "messenger"
QUEUE = "http://127.0.0.1/events.fifo"
KEY = {"pk": {"S": "1#2"}, "sk": {"S": "conversation"}}


def call(target, request, status=200, answer=None, function="webhook", of_the_table=True):
    return Call("here:1", function, target, request, status, answer or {}, of_the_table)


def table(operation, status=200, answer=None, function="webhook", **request):
    return call(f"DynamoDB_20120810.{operation}", {"TableName": TABLE, **request}, status, answer, function)


def queue(operation, **request):
    return call(f"AmazonSQS.{operation}", {"QueueUrl": QUEUE, **request})


class Records(unittest.TestCase):
    def test_nothing_recorded_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaisesRegex(Unusable, "nothing is recorded"):
                files(folder)
            Path(folder, "a_test.1.0.jsonl").touch()
            with self.assertRaisesRegex(Unusable, "no call is recorded"):
                list(read(files(folder)[0]))

    def test_a_line_is_a_call(self):
        one = {"function": "api", "target": "AmazonSQS.SendMessage", "request": {}, "status": 200, "answer": {}, "of_the_table": True}
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "api.a_test.1.0.jsonl").write_text(json.dumps(one) + "\n")
            self.assertEqual([str(call) for call in read(files(folder)[0])], ["api.a_test:1: SendMessage of api"])


class Models(unittest.TestCase):
    def assert_broken(self, call, member, rule):
        broken = models.broken_by(call)
        self.assertEqual([member], [found for found, _ in broken], broken)
        self.assertIn(rule, broken[0][1])

    def test_what_is_right_is_accepted(self):
        for right in (
            table("GetItem", Key=KEY, ConsistentRead=True),
            table("Query", IndexName="due", Limit=1, KeyConditionExpression="due_page = :page"),
            queue("SendMessage", MessageBody="{}", MessageGroupId="g" * 128, MessageDeduplicationId="d"),
            call("secretsmanager.GetSecretValue", {"SecretId": "messenger"}),
        ):
            self.assertEqual(models.broken_by(right), [], right)

    def test_each_rule_is_checked(self):
        entry = {"Id": "0", "MessageBody": "{}"}
        for broken, member, rule in (
            (table("GetItem"), "Key", "is required"),
            (table("GetItem", Key=KEY, Keys=KEY), "Keys", "is unknown"),
            (table("GetItem", Key={"pk": {"T": "1"}}), "Key.pk.T", "is unknown"),
            (table("GetItem", Key=KEY, ConsistentRead="true"), "ConsistentRead", "must be a boolean"),
            (table("Query", Limit=True), "Limit", "must be a integer"),
            (table("Query", Limit=0), "Limit", "must be at least 1"),
            (table("Query", IndexName="d"), "IndexName", "must be at least 3"),
            (table("Query", IndexName="due!"), "IndexName", "must match"),
            (table("Query", Select="EVERYTHING"), "Select", "must be one of"),
            (table("GetItem", Key={"p" * 70_000: {"S": "1"}}), "Key: key " + "p" * 70_000, "must be at most 65535"),
            (call("DynamoDB_20120810.BatchWriteItem", {"RequestItems": {TABLE: [{"DeleteRequest": {"Key": KEY}}] * 26}}), f"RequestItems.{TABLE}", "must be at most 25"),
            (call("DynamoDB_20120810.TransactWriteItems", {"TransactItems": []}), "TransactItems", "must be at least 1"),
            (table("GetItem", Key={"pk": {"B": "no base64"}}), "Key.pk.B", "must be base64"),
            (table("GetItems", Key=KEY), "", "no such operation"),
            (call("SQS.SendMessage", {}), "", "no service"),
            (queue("SendMessage", MessageBody="{}", MessageGroupId="g" * 200), "MessageGroupId", "128 characters"),
            (queue("SendMessage", MessageBody="{}", MessageGroupId="a b"), "MessageGroupId", "128 characters"),
            (queue("SendMessage", MessageBody="{}", MessageDeduplicationId="d" * 129), "MessageDeduplicationId", "128 characters"),
            (queue("SendMessage", MessageBody="\x00"), "MessageBody", "unformatted text"),
            (queue("SendMessage", MessageBody="{}", DelaySeconds=901), "DelaySeconds", "0 to 900"),
            (queue("SendMessageBatch", Entries=[entry | {"Id": str(id)} for id in range(11)]), "Entries", "is 10"),
            (queue("SendMessageBatch", Entries=[entry | {"Id": "a.b"}]), "Entries[0].Id", "80 characters"),
            (queue("ReceiveMessage", MaxNumberOfMessages=11), "MaxNumberOfMessages", "1 to 10"),
            (queue("ChangeMessageVisibility", ReceiptHandle="r", VisibilityTimeout=43_201), "VisibilityTimeout", "0 to 43200"),
            (call("secretsmanager.PutSecretValue", {"SecretId": "s", "SecretString": "{}", "ClientRequestToken": "short"}), "ClientRequestToken", "must be at least 32"),
        ):
            with self.subTest(member=member[:40], rule=rule):
                self.assert_broken(broken, member, rule)

    def test_answers_are_checked(self):
        self.assertEqual(models.answer_broken_by(table("GetItem", answer={"Item": KEY})), [])
        self.assertEqual(models.answer_broken_by(table("GetItem", answer={"item": KEY})), [("item", "is unknown")])
        empty = call("DynamoDB_20120810.BatchWriteItem", {}, answer={"UnprocessedItems": {}})
        self.assertEqual(models.answer_broken_by(empty), [])
        refused = table("GetItem", 400, {"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"})
        self.assertIn("is not an error of the operation", models.answer_broken_by(refused)[0][1])

    def test_every_rule_in_words_is_still_in_a_description(self):
        self.assertEqual(models.unsaid(), [])


TEMPLATE = """
Resources:
  Table: {Type: AWS::DynamoDB::Table}
  WebhookFunction:
    Type: AWS::Serverless::Function
    Metadata: {BuildProperties: {Binary: webhook}}
    Properties:
      Policies:
        - Statement:
            - {Effect: Allow, Action: [ACTIONS], Resource: !GetAtt Table.Arn}
            - !If [Forwards, {Effect: Allow, Action: sqs:ReceiveMessage, Resource: !GetAtt EventsQueue.Arn}, !Ref "AWS::NoValue"]
  WebhookSource:
    Type: AWS::Lambda::EventSourceMapping
    Properties: {FunctionName: !Ref WebhookFunction, EventSourceArn: !GetAtt EventsQueue.Arn}
"""


class Rights(unittest.TestCase):
    def judged(self, actions, *calls, text=TEMPLATE):
        return rights.judged(template.load(text.replace("ACTIONS", actions)), calls)

    def test_as_many_rights_as_calls(self):
        self.assertEqual(self.judged("dynamodb:GetItem", table("GetItem", Key=KEY)), [])

    def test_a_missing_right(self):
        found = self.judged("dynamodb:GetItem", table("GetItem", Key=KEY), table("PutItem", Item=KEY))
        self.assertEqual(found, ["WebhookFunction needs dynamodb:PutItem on Table, which its policy does not allow (here:1)"])

    def test_an_unused_right(self):
        found = self.judged("dynamodb:GetItem, dynamodb:Scan", table("GetItem", Key=KEY), table("Scan", function=None))
        self.assertEqual(found, ["WebhookFunction may dynamodb:Scan on Table, which no recorded call needs"])

    def test_an_index_is_a_resource(self):
        found = self.judged("dynamodb:Query", table("Query", IndexName="due"))
        self.assertEqual(len(found), 2, found)
        self.assertIn("needs dynamodb:Query on Table/index/due", found[0])

    def test_an_existing_table_has_the_rights_of_the_stacks_own(self):
        other = "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/${ExistingTableName}"
        for right, resource, query in (
            (f'!If [OwnsTable, !GetAtt Table.Arn, !Sub "{other}"]', "Table", {}),
            (f'!If [OwnsTable, !Sub "${{Table.Arn}}/index/due", !Sub "{other}/index/due"]', "Table/index/due", {"IndexName": "due"}),
        ):
            text = TEMPLATE.replace("!GetAtt Table.Arn", right)
            self.assertEqual(self.judged("dynamodb:Query", table("Query", **query), text=text), [])
            found = self.judged("dynamodb:Query, dynamodb:Scan", table("Query", **query), text=text)
            self.assertEqual(found, [f"WebhookFunction may dynamodb:Scan on {resource}, which no recorded call needs"])
        for wrong in (
            '!If [OwnsTable, !GetAtt Table.Arn, "*"]',
            f'!If [OwnsTable, !GetAtt Table.Arn, !Sub "{other}/index/due"]',
            f'!If [OwnsTable, !Sub "${{Table.Arn}}/index/due", !Sub "{other}"]',
            f'!If [OwnsTable, !Ref Secret, !Sub "{other}"]',
            "!If [OwnsSecret, !Ref Secret, !Ref ExistingTableName]",
        ):
            with self.subTest(wrong=wrong), self.assertRaisesRegex(ValueError, "cannot judge the resource"):
                self.judged("dynamodb:Query", text=TEMPLATE.replace("!GetAtt Table.Arn", wrong))

    def test_an_existing_secret_has_the_rights_of_the_stacks_own(self):
        text = TEMPLATE.replace("!GetAtt Table.Arn", "!If [OwnsSecret, !Ref Secret, !Ref ExistingSecretArn]")
        read = call("secretsmanager.GetSecretValue", {"SecretId": "messenger"})
        self.assertEqual(self.judged("secretsmanager:GetSecretValue", read, text=text), [])

    def test_a_transaction_needs_the_rights_of_its_parts(self):
        part = {"TableName": TABLE, "Key": KEY}
        both = {"TransactItems": [{"Update": part}, {"ConditionCheck": part}]}
        transaction = call("DynamoDB_20120810.TransactWriteItems", both)
        self.assertEqual(self.judged("dynamodb:UpdateItem, dynamodb:ConditionCheckItem", transaction), [])
        self.assertIn("needs dynamodb:ConditionCheckItem", self.judged("dynamodb:UpdateItem", transaction)[0])

    def test_only_the_pollers_of_its_own_queue_are_excepted(self):
        text = TEMPLATE.replace("FunctionName: !Ref WebhookFunction", "FunctionName: !Ref OtherFunction")
        found = self.judged("dynamodb:GetItem", table("GetItem", Key=KEY), text=text)
        self.assertEqual(found, ["WebhookFunction may sqs:ReceiveMessage on EventsQueue, which no recorded call needs"])

    def test_what_cannot_be_judged_is_refused(self):
        wide = TEMPLATE.replace("!GetAtt Table.Arn", '"*"')
        with self.assertRaisesRegex(ValueError, "cannot judge the resource"):
            self.judged("dynamodb:GetItem", text=wide)
        denied = TEMPLATE.replace("Effect: Allow", "Effect: Deny")
        with self.assertRaisesRegex(ValueError, "cannot judge the statement"):
            self.judged("dynamodb:GetItem", text=denied)
        used = table("GetItem", Key=KEY)
        other = call("DynamoDB_20120810.GetItem", {"TableName": "other", "Key": KEY})
        self.assertIn("has no table other", self.judged("dynamodb:GetItem", used, other)[0])
        stranger = table("GetItem", Key=KEY, function="stranger")
        self.assertIn("no such function", self.judged("dynamodb:GetItem", used, stranger)[0])


class Sample(unittest.TestCase):
    def test_the_first_the_last_and_some_between(self):
        every = [Path(f"{test}.1.{count}.jsonl") for test, platforms in (("a", 10), ("b", 1), ("c", 3)) for count in range(platforms)]
        chosen = [file.name.replace(".1.", "").replace(".jsonl", "") for file in replay.sample(every)]
        self.assertEqual(chosen, ["a0", "a3", "a6", "a9", "b0", "c0", "c1", "c2"])


class Replay(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dynamodb = replay.client()

    def replayed(self, *calls):
        return replay.replay(self.dynamodb, calls)

    def add(self, answer, status=200, expression="ADD n :one", condition="attribute_exists(pk)"):
        return table(
            "UpdateItem", status, answer, Key=KEY, UpdateExpression=expression, ConditionExpression=condition,
            ExpressionAttributeValues={":one": {"N": "1"}}, ReturnValues="ALL_NEW", ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )

    def test_equal_answers(self):
        put = table("PutItem", Item=KEY | {"n": {"N": "1"}, "s": {"SS": ["b", "a"]}})
        added = self.add({"Attributes": KEY | {"n": {"N": "2.0"}, "s": {"SS": ["a", "b"]}}, "ConsumedCapacity": {}})
        refused = self.add({"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException", "message": "in other words",
            "Item": KEY | {"n": {"N": "2"}, "s": {"SS": ["a", "b"]}}}, 400, condition="n < :one")
        looked = table("Scan", 200, {"Items": []}, function=None)
        self.assertEqual(self.replayed(put, added, refused, looked), (3, None))

    def test_another_answer(self):
        put = table("PutItem", Item=KEY | {"n": {"N": "1"}})
        for wrong in (
            self.add({"Attributes": KEY | {"n": {"N": "3"}}}),
            self.add({"Attributes": KEY | {"n": {"S": "2"}}}),
            self.add({}),
            self.add({"__type": "ConditionalCheckFailedException"}, 400),
            self.add({"Attributes": KEY | {"n": {"N": "2"}}}, condition="n > :one"),
            self.add({"Attributes": KEY | {"n": {"N": "2"}}}, expression="ADD n"),
            self.add({"Attributes": KEY | {"n": {"N": "2"}}}, condition="attribute_exists(pk) AND ("),
            self.add({"__type": "ValidationException"}, 400, condition="n > :one"),
        ):
            with self.subTest(wrong=wrong):
                compared, difference = self.replayed(put, wrong)
                self.assertEqual(compared, 2)
                self.assertIn("UpdateItem of webhook", difference or "")

    def test_the_order_of_a_query(self):
        items = [{"pk": {"S": "1"}, "sk": {"S": str(place)}} for place in range(3)]
        puts = [table("PutItem", Item=item) for item in items]
        asked = {"KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": {":pk": {"S": "1"}}}
        count = {"Count": 3, "ScannedCount": 3}
        right = table("Query", 200, {"Items": items} | count, **asked)
        self.assertIsNone(self.replayed(*puts, right)[1])
        wrong = table("Query", 200, {"Items": items[::-1]} | count, **asked)
        self.assertIsNotNone(self.replayed(*puts, wrong)[1])

    def test_a_key_at_the_end_is_a_known_difference_and_no_other(self):
        item = {"pk": {"S": "1"}, "sk": {"S": "0"}}
        asked = {"KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": {":pk": {"S": "1"}}}
        answer = {"Items": [item], "Count": 1, "ScannedCount": 1, "LastEvaluatedKey": item}
        put = table("PutItem", Item=item)
        self.assertIsNone(self.replayed(put, table("Query", 200, answer, Limit=1, **asked))[1])
        self.assertIsNotNone(self.replayed(put, table("Query", 200, answer, Limit=2, **asked))[1])
        self.assertIsNotNone(self.replayed(put, table("Query", 200, answer | {"Items": []}, Limit=1, **asked))[1])

    def test_the_table_is_the_templates(self):
        right = table("CreateTable", function=None, **replay.schema())
        self.assertIsNone(self.replayed(right)[1])
        other = replay.schema() | {"KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}]}
        self.assertIn("is not template.yaml's", self.replayed(table("CreateTable", function=None, **other))[1])


class Turns(unittest.TestCase):
    TURN = {
        "version": 1, "key": "k", "attempt": 1, "now": 1, "answer_by": 2,
        "conversation": {
            "page_id": "1", "psid": "2", "platform": "messenger", "state": None, "state_version": 0,
            "last_message_at": 1, "free_until": None, "allowed": [], "timers": [], "came_from": [],
        },
        "events": [{
            "text": "hi", "payload": None, "id": "e", "kind": "message", "at": 1, "received_at": 1, "happened_at": 1,
            "page_id": "1", "psid": "2", "platform": "messenger", "event": {},
        }],
    }

    def test_a_turn_and_a_decision_are_as_the_schemas_say(self):
        for name, document in [
            ("reply-turn", self.TURN),
            ("reply-decision", {}),
            ("reply-decision", {"say": ["hi"], "timers": [{"key": "t-1", "after_seconds": 5, "payload": 1}]}),
        ]:
            self.assertEqual(turns.faults(turns.validator(name), document), [])

    def test_what_a_schema_does_not_allow_is_a_fault(self):
        for name, document in [
            ("reply-turn", {**self.TURN, "events": []}),
            ("reply-turn", {**self.TURN, "now": "1"}),
            ("reply-decision", {"says": ["hi"]}),
            ("reply-decision", {"say": "hi"}),
            ("reply-decision", {"timers": [{"key": "No key", "after_seconds": 5}]}),
        ]:
            self.assertNotEqual(turns.faults(turns.validator(name), document), [], document)


if __name__ == "__main__":
    unittest.main()
