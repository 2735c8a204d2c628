"""Where moto is known to answer otherwise than DynamoDB, each with the page of AWS that says who is right."""


def is_known(call, recorded, replayed):
    return any(difference(call, recorded, replayed) for difference in (no_key_at_the_end,))


def no_key_at_the_end(call, recorded, replayed):
    """A query that ends with its limit names a key, also if nothing follows it; moto then names none.

    "If DynamoDB processes the number of items up to the limit while processing the results, it stops the operation and
    returns the matching values up to that point, and a key in LastEvaluatedKey": Limit in
    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Query.html
    """
    status, answer = recorded
    without_key = {key: value for key, value in answer.items() if key != "LastEvaluatedKey"}
    is_at_its_limit = call.operation == "Query" and answer.get("ScannedCount") == call.request.get("Limit")
    return is_at_its_limit and (status, without_key) == replayed
