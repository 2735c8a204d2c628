"""Where moto is known to answer otherwise than DynamoDB, and the page of AWS that says who is right."""


def is_known(call, recorded, replayed):
    return False
