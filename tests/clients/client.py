"""What Meta's own SDK for Python expects of Meta, asked of the stand-in: client.py GRAPH SIMULATOR

`facebook_business` is generated from Meta's description of its API: which edges there are, what they take and how, and
which fields the answers have. It sends forms, and writes enumerations in capitals.
"""

import json
import sys
import traceback
import urllib.request
import warnings

from facebook_business import session
from facebook_business.adobjects.messengerprofile import MessengerProfile
from facebook_business.adobjects.page import Page
from facebook_business.adobjects.pagethreadowner import PageThreadOwner
from facebook_business.adobjects.persona import Persona
from facebook_business.adobjects.unifiedthread import UnifiedThread
from facebook_business.api import FacebookAdsApi
from facebook_business.exceptions import FacebookRequestError

GRAPH, SIMULATOR = sys.argv[1:3]
PAGE, PSID = "100000000000001", "7200000000000001"
APP, INBOX = "300000000000003", "263902037430900"
PICTURE = "https://example.com/picture.png"

session.FacebookSession.GRAPH = GRAPH
api = FacebookAdsApi.init(APP, "sample-app-secret", f"sample-token-of-{PAGE}", crash_log=False)
page = Page(PAGE)


def world(method, path, body=None):
    data = body.encode() if isinstance(body, str) else body and json.dumps(body).encode()
    request = urllib.request.Request(f"{SIMULATOR}/_simulator/{path}", method=method, data=data)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def send(message=None, to=PSID, **more):
    params = {"recipient": {"id": to}, **more}
    if message is not None:
        params |= {"message": message, "messaging_type": more.get("messaging_type", "RESPONSE")}
    return page.create_message(params=params)


def sent(answer):
    assert answer["recipient_id"] == PSID, answer
    assert answer["message_id"], answer
    return answer


def refused(code, subcode, call, *arguments, **more):
    try:
        call(*arguments, **more)
    except FacebookRequestError as error:
        found = (error.api_error_code(), error.api_error_subcode())
        assert found == (code, subcode), error
        assert error.api_error_type() and error.api_error_message(), error
        return error
    raise AssertionError(f"{code}/{subcode} was expected, and the call succeeded")


def template(**payload):
    return {"attachment": {"type": "template", "payload": payload}}


def page_itself():
    assert page.api_get().export_all_data() == {"id": PAGE, "name": f"Page {PAGE}"}


def messages():
    sent(send({"text": "a & b = ü"}))
    sent(send({"text": "?", "quick_replies": [{"content_type": "text", "title": "Yes", "payload": "YES"}]}))
    sent(send({"text": "A person writes"}, messaging_type=Page.MessagingType.message_tag, tag="HUMAN_AGENT"))
    sent(send({"text": "quiet"}, notification_type=Page.NotificationType.no_push))
    sent(send({"attachment": {"type": "image", "payload": {"url": PICTURE}}}))
    button = {"type": "postback", "title": "Start", "payload": "START"}
    sent(send(template(template_type="button", text="What next?", buttons=[button])))
    sent(send(template(template_type="generic", elements=[{"title": "A table", "buttons": [button]}])))
    first = sent(send({"text": "first"}))
    sent(send({"text": "an answer to it"}, reply_to={"mid": first["message_id"]}))
    refused(100, 2018001, send, {"text": "nobody"}, to="7999999999999999")
    refused(100, None, send, {"text": "no tag"}, messaging_type=Page.MessagingType.message_tag)


def sender_actions():
    actions = Page.SenderAction
    for action in (actions.typing_on, actions.typing_off, actions.mark_seen):
        assert send(sender_action=action)["recipient_id"] == PSID
    mid = sent(send({"text": "react to it"}))["message_id"]
    for action in (actions.react, actions.unreact):
        payload = {"message_id": mid, "reaction": "love"}
        assert send(sender_action=action, payload=json.dumps(payload))["recipient_id"] == PSID


def attachments():
    media = {"attachment": {"type": "image", "payload": {"url": PICTURE, "is_reusable": True}}}
    saved = page.create_message_attachment(params={"message": media, "platform": Page.Platform.messenger})
    payload = {"attachment_id": saved["attachment_id"]}
    sent(send({"attachment": {"type": "image", "payload": payload}}))
    refused(100, 2018074, send, {"attachment": {"type": "video", "payload": payload}})


def personas():
    made = page.create_persona(params={"name": "Front desk", "profile_picture_url": PICTURE})
    read = Persona(made["id"]).api_get().export_all_data()
    assert read == {"id": made["id"], "name": "Front desk", "profile_picture_url": PICTURE}, read
    assert set(read) == fields(Persona)
    for number in range(30):
        page.create_persona(params={"name": f"Desk {number}", "profile_picture_url": PICTURE})
    ids = [persona["id"] for persona in page.get_personas()]
    assert made["id"] in ids and len(ids) == len(set(ids)) >= 31, ids
    sent(send({"text": "The desk writes"}, persona_id=made["id"]))
    Persona(made["id"]).api_delete()
    refused(100, None, send, {"text": "The desk writes"}, persona_id=made["id"])


def profile():
    # Meta takes ten of these calls in ten minutes, and others may have made some.
    world("POST", "clock", {"forward_seconds": 600})
    page.create_messenger_profile(params={
        "get_started": {"payload": "START"},
        "persistent_menu": [{"locale": "default", "call_to_actions": [
            {"type": "postback", "title": "Start", "payload": "START"}]}],
        "whitelisted_domains": ["https://example.com"],
        "ice_breakers": [{"question": "When are you open?", "payload": "OPEN"}],
    })
    names = ["get_started", "persistent_menu", "whitelisted_domains", "ice_breakers"]
    [read] = page.get_messenger_profile(fields=names)
    assert sorted(read) == sorted(names) and set(read) <= fields(MessengerProfile), read
    assert read["get_started"] == {"payload": "START"}
    page.delete_messenger_profile(params={"fields": [name.upper() for name in names]})
    assert list(page.get_messenger_profile(fields=names)) == []


def thread_control():
    to = {"recipient": {"id": PSID}}
    page.create_take_thread_control(params=to)
    assert owner() == APP
    page.create_extend_thread_control(params={**to, "duration": 3600})
    page.create_pass_thread_control(params={**to, "target_app_id": INBOX, "metadata": "please"})
    assert owner() == INBOX
    refused(10, 2018300, send, {"text": "without control"})
    page.create_request_thread_control(params=to)
    assert owner() == INBOX
    refused(100, 2534037, page.create_release_thread_control, params=to)
    world("PUT", f"people/{PSID}/thread", {"holder": "app"})
    sent(send({"text": "last words"}, thread_control={"control_type": "release"}))
    assert list(page.get_thread_owner(params={"recipient": PSID})) == []


def owner():
    [found] = page.get_thread_owner(params={"recipient": PSID})
    assert set(found) == fields(PageThreadOwner), found
    return found["thread_owner"]["app_id"]


def conversations():
    params = {"platform": Page.Platform.messenger, "user_id": PSID}
    [found] = page.get_conversations(fields=["id", "participants"], params=params)
    assert set(found) <= fields(UnifiedThread), found
    assert PSID in [one["id"] for one in found["participants"]["data"]], found


def subscriptions():
    wanted = [Page.SubscribedFields.messages, Page.SubscribedFields.messaging_postbacks, Page.SubscribedFields.feed]
    page.create_subscribed_app(params={"subscribed_fields": wanted})
    [app] = page.get_subscribed_apps()
    assert (app["id"], sorted(app["subscribed_fields"])) == (APP, sorted(wanted)), app
    page.delete_subscribed_apps()
    assert list(page.get_subscribed_apps()) == []


def message_templates():
    made = page.create_message_template(params={
        "name": "order_sent", "language": "en", "category": "UTILITY",
        "components": [{"type": "BODY", "text": "Your order is on its way."}],
    })
    assert made["id"]
    [listed] = [one for one in page.get_message_templates() if one["name"] == "order_sent"]
    assert listed["language"] == "en" and listed["category"] == "UTILITY", listed
    utility = {"template": {"name": "order_sent", "language": {"code": "en"}}}
    sent(send(utility, messaging_type=Page.MessagingType.utility))


def batches():
    ended = []
    batch = api.new_batch()
    more = {"batch": batch, "success": lambda answer: ended.append(answer.json()),
            "failure": lambda answer: ended.append(answer.error().api_error_code())}
    for text, to in (("1 & 2 = 3", PSID), ("nobody", "7999999999999999")):
        params = {"recipient": {"id": to}, "messaging_type": "RESPONSE", "message": {"text": text}}
        page.create_message(params=params, **more)
    page.get_personas(**more)
    assert batch.execute() is None
    assert ended[0]["recipient_id"] == PSID and ended[1] == 100 and ended[2]["data"], ended
    # What was not completed comes back, to be sent again.
    world("POST", "faults", {"kind": "lost_request"})
    again = api.new_batch()
    params = {"recipient": {"id": PSID}, "messaging_type": "RESPONSE", "message": {"text": "again"}}
    page.create_message(params=params, batch=again)
    left = again.execute()
    assert len(left) == 1 and left.execute() is None


def faults():
    for known in world("GET", "faults")["errors"]:
        world("POST", "faults", {"kind": "error", "code": known["code"], "subcode": known["subcode"]})
        error = refused(known["code"], known["subcode"], send, {"text": "refused"})
        assert error.http_status() == known["http"], error
    world("POST", "faults", {"kind": "throttled", "regain_minutes": 7})
    error = refused(80006, None, send, {"text": "throttled"})
    usage = json.loads(error.http_headers()["X-Business-Use-Case-Usage"])
    assert usage[PAGE][0]["estimated_time_to_regain_access"] == 7, usage


def fields(of):
    return {name for key, name in vars(of.Field).items() if not key.startswith("_")}


def main():
    # The SDK warns where what is passed differs from Meta's description.
    warnings.simplefilter("error")
    # Meta's description has an object here, Meta's documentation a text.
    warnings.filterwarnings("ignore", "value of tag might not be compatible")
    world("POST", f"people/{PSID}", "Hello")
    checks = (page_itself, messages, sender_actions, attachments, personas, profile, thread_control, conversations,
              subscriptions, message_templates, batches, faults)
    failed = 0
    for check in checks:
        try:
            check()
            print(f"ok      {check.__name__}")
        except Exception:
            failed += 1
            print(f"FAILED  {check.__name__}: {traceback.format_exc()}")
    requests = api.get_num_requests_attempted()
    print(f"facebook_business: {requests} requests, {failed} of {len(checks)} checks failed")
    return bool(failed)


sys.exit(main())
