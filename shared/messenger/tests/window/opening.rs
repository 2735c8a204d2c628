//! Which events open the window.

use super::*;

/// What happened, its container, its JSON (with `@` where the time stands), whether it opens.
pub(crate) type Sample = (&'static str, &'static str, &'static str, bool);

pub(crate) const SAMPLES: [Sample; 49] = [
    ("text", "messaging", r#""message":{"mid":"m1","text":"hi"}"#, true),
    (
        "quick reply",
        "messaging",
        r#""message":{"mid":"m2","text":"Yes","quick_reply":{"payload":"YES"}}"#,
        true,
    ),
    (
        "attachment",
        "messaging",
        r#""message":{"mid":"m3","attachments":[{"type":"image","payload":{"url":"https://example.com/a.png"}}]}"#,
        true,
    ),
    (
        "text while another app holds the conversation",
        "standby",
        r#""message":{"mid":"m4","text":"hi"}"#,
        true,
    ),
    (
        "message that follows an ad",
        "messaging",
        r#""message":{"mid":"m5","text":"hi","referral":{"ref":"r","ad_id":"9","source":"ADS","type":"OPEN_THREAD"}}"#,
        true,
    ),
    (
        "message about a product",
        "messaging",
        r#""message":{"mid":"m6","text":"hi","referral":{"product":{"id":"1"}}}"#,
        true,
    ),
    ("message taken back", "messaging", r#""message":{"mid":"m7","is_deleted":true}"#, false),
    (
        "message that the API cannot show",
        "messaging",
        r#""message":{"mid":"m15","is_unsupported":true}"#,
        false,
    ),
    (
        "message of an account to itself",
        "messaging",
        r#""message":{"mid":"m16","text":"hi","is_self":true}"#,
        false,
    ),
    (
        "Get Started",
        "messaging",
        r#""postback":{"mid":"m8","title":"Get Started","payload":"GS"}"#,
        true,
    ),
    ("button or menu", "messaging", r#""postback":{"title":"Menu","payload":"MENU"}"#, true),
    (
        "postback by a link",
        "messaging",
        r#""postback":{"mid":"m9","payload":"GS","referral":{"ref":"r","source":"SHORTLINK","type":"OPEN_THREAD"}}"#,
        true,
    ),
    (
        "postback by an ad",
        "messaging",
        r#""postback":{"mid":"m10","payload":"GS","referral":{"source":"ADS","type":"OPEN_THREAD"}}"#,
        true,
    ),
    (
        "postback while another app holds the conversation",
        "standby",
        r#""postback":{"mid":"m11","title":"Go"}"#,
        true,
    ),
    (
        "link",
        "messaging",
        r#""referral":{"ref":"r","source":"SHORTLINK","type":"OPEN_THREAD"}"#,
        true,
    ),
    (
        "link on Instagram",
        "messaging",
        r#""referral":{"ref":"r","source":"SHORTLINKS","type":"OPEN_THREAD"}"#,
        true,
    ),
    (
        "link on Instagram under its other name",
        "messaging",
        r#""referral":{"ref":"r","source":"IGME-SOURCE-LINK","type":"OPEN_THREAD"}"#,
        true,
    ),
    (
        "message in changes",
        "changes",
        r#"{"field":"messages","value":{"sender":{"id":"77"},"recipient":{"id":"10"},"timestamp":@,"message":{"mid":"m17","text":"hi"}}}"#,
        true,
    ),
    (
        "message in changes while another app holds the conversation",
        "changes",
        r#"{"field":"standby","value":{"sender":{"id":"77"},"recipient":{"id":"10"},"timestamp":@,"message":{"mid":"m18","text":"hi"}}}"#,
        true,
    ),
    (
        "postback of the Page itself",
        "changes",
        r#"{"field":"messaging_postbacks","value":{"sender":{"id":"10"},"recipient":{"id":"77"},"timestamp":@,"postback":{"mid":"m19","payload":"P"}}}"#,
        false,
    ),
    (
        "reaction",
        "messaging",
        r#""reaction":{"reaction":"love","emoji":"❤","action":"react","mid":"m1"}"#,
        true,
    ),
    ("reaction taken back", "messaging", r#""reaction":{"action":"unreact","mid":"m1"}"#, false),
    (
        "ad alone",
        "messaging",
        r#""referral":{"ref":"r","ad_id":"9","source":"ADS","type":"OPEN_THREAD"}"#,
        false,
    ),
    (
        "lead complete",
        "messaging",
        r#""referral":{"source":"ADS","type":"LEAD_COMPLETE"},"lead":{"data":[{"question":"q","answer":"a"}]}"#,
        true,
    ),
    (
        "lead incomplete",
        "messaging",
        r#""referral":{"source":"ADS","type":"LEAD_INCOMPLETE"}"#,
        true,
    ),
    (
        "opt-in to marketing messages",
        "messaging",
        r#""optin":{"type":"notification_messages","payload":"p","notification_messages_token":"T"}"#,
        false,
    ),
    (
        "opt-in to one message",
        "messaging",
        r#""optin":{"type":"one_time_notif_req","payload":"p","one_time_notif_token":"T"}"#,
        false,
    ),
    ("opt-in by a plugin", "messaging", r#""optin":{"ref":"r"}"#, true),
    ("opt-in by a checkbox", "messaging", r#""optin":{"ref":"r","user_ref":"u"}"#, false),
    (
        "comment on the Page",
        "changes",
        r#"{"field":"feed","value":{"item":"comment","verb":"add","comment_id":"10_1","post_id":"10_2","created_time":@,"from":{"id":"77"},"message":"hi"}}"#,
        false,
    ),
    (
        "visitor post on the Page",
        "changes",
        r#"{"field":"feed","value":{"item":"status","verb":"add","post_id":"10_2","created_time":@,"from":{"id":"77"},"message":"hi"}}"#,
        false,
    ),
    (
        "comment on Instagram",
        "changes",
        r#"{"field":"comments","value":{"id":"5","text":"hi","created_time":@,"from":{"id":"77"}}}"#,
        false,
    ),
    ("delivery", "messaging", r#""delivery":{"mids":["m0"],"watermark":@}"#, false),
    ("read", "messaging", r#""read":{"watermark":@}"#, false),
    ("read on Instagram", "messaging", r#""read":{"mid":"m0"}"#, false),
    (
        "echo of ours",
        "messaging",
        r#""message":{"mid":"m12","is_echo":true,"app_id":15,"metadata":"mb2.x","text":"hi"}"#,
        false,
    ),
    (
        "echo of a person's in the Page inbox",
        "messaging",
        r#""message":{"mid":"m13","is_echo":true,"app_id":26390203743090,"text":"hi"}"#,
        false,
    ),
    (
        "echo while another app holds the conversation",
        "standby",
        r#""message":{"mid":"m14","is_echo":true,"app_id":16,"text":"hi"}"#,
        false,
    ),
    ("edit", "messaging", r#""message_edit":{"mid":"m1","text":"new","num_edit":1}"#, false),
    (
        "handover: pass",
        "messaging",
        r#""pass_thread_control":{"previous_owner_app_id":"1","new_owner_app_id":"2"}"#,
        false,
    ),
    (
        "handover: take",
        "messaging",
        r#""take_thread_control":{"previous_owner_app_id":"1","new_owner_app_id":"2"}"#,
        false,
    ),
    (
        "handover: request",
        "messaging",
        r#""request_thread_control":{"requested_owner_app_id":3}"#,
        false,
    ),
    ("handover: roles", "messaging", r#""app_roles":{"123":["primary_receiver"]}"#, false),
    ("policy", "messaging", r#""policy_enforcement":{"action":"warning","reason":"r"}"#, false),
    (
        "label",
        "changes",
        r#"{"field":"inbox_labels","timestamp":@,"value":{"user":{"id":"77"},"action":"add","label":{"id":"L"}}}"#,
        false,
    ),
    (
        "answer to a survey",
        "messaging",
        r#""messaging_feedback":{"feedback_screens":[{"screen_id":0,"questions":{"q1":{"type":"csat","payload":"5"}}}]}"#,
        false,
    ),
    (
        "feedback on a response",
        "messaging",
        r#""response_feedback":{"feedback":"Good response","mid":"m0"}"#,
        false,
    ),
    (
        "account linked",
        "messaging",
        r#""account_linking":{"status":"linked","authorization_code":"c"}"#,
        false,
    ),
    ("account unlinked", "messaging", r#""account_linking":{"status":"unlinked"}"#, false),
];

/// A sample's JSON with the time in it, as Meta may spell it.
pub(crate) fn item(sample: &Sample, time: &str) -> String {
    let (_, container, body, _) = sample;
    let whole = if *container == "changes" {
        (*body).to_owned()
    } else if body.contains(r#""is_echo""#) {
        format!(r#"{{"sender":{{"id":"10"}},"recipient":{{"id":"77"}},"timestamp":@,{body}}}"#)
    } else {
        format!(r#"{{"sender":{{"id":"77"}},"recipient":{{"id":"10"}},"timestamp":@,{body}}}"#)
    };
    whole.replace('@', time)
}

/// The event that arrives at `received` as the only one of its notification.
pub(crate) fn event(object: &str, container: &str, item: &str, received: i64) -> Event {
    let body = format!(r#"{{"object":"{object}","entry":[{{"id":"10","{container}":[{item}]}}]}}"#);
    let mut events = split(body.as_bytes(), ms(received)).unwrap();
    assert_eq!(events.len(), 1, "{body}");
    events.remove(0)
}

/// What the windows of a conversation depend on after these events, in the order of their arrival:
/// as in the table, only a newer window-opening event replaces what is known.
pub(crate) fn standing_after<'a>(events: impl IntoIterator<Item = &'a Event>) -> Standing {
    events.into_iter().filter(|event| event.opens_window()).fold(
        Standing::default(),
        |known, event| {
            let at = event.happened_at();
            if known.last_message_at.is_some_and(|last| last >= at) {
                return known;
            }
            heard_at(at.millis(), DAY, event.platform)
        },
    )
}

#[test]
fn what_opens_the_window() {
    let at = AFTER - 5;
    for object in ["page", "instagram"] {
        for sample in &SAMPLES {
            let (what, container, _, opens) = sample;
            let event = event(object, container, &item(sample, &at.to_string()), AFTER);
            assert_eq!(event.at, Some(ms(at)), "{what}: its time is known");
            assert_eq!(event.opens_window(), *opens, "{what} ({object})");
            let standing = standing_after([&event]);
            let reply = |now| outcome(Purpose::Reply, None, &standing, now, 0);
            let (last, next) = if *opens {
                (RESPONSE, WINDOW_CLOSED)
            } else {
                (NEVER_HEARD_FROM, NEVER_HEARD_FROM)
            };
            assert_eq!(reply(at + DAY), last, "{what} ({object})");
            assert_eq!(reply(at + DAY + 1), next, "{what} ({object})");
        }
    }
}

#[test]
fn without_a_time_the_window_opens_at_the_receipt() {
    for sample in &SAMPLES {
        let (what, container, _, opens) = sample;
        for time in ["null", "0", "\"0\"", "-1", "\"\""] {
            let event = event("page", container, &item(sample, time), AFTER);
            assert_eq!((event.at, event.happened_at()), (None, ms(AFTER)), "{what}");
            assert_eq!(event.opens_window(), *opens, "{what}");
        }
    }
}

#[test]
fn an_ad_is_named_by_a_click_or_by_what_the_person_then_says() {
    use messenger::event::FromAd::{self, Answer, Click, Message};
    let ad = r#""referral":{"ref":"r","source":"ADS","type":"OPEN_THREAD","ad_id":"9"}"#;
    let said = |container: &str, rest: &str| format!(r#""{container}":{{{rest},{ad}}}"#);
    let rows: [(String, Option<FromAd>); 16] = [
        (said("message", r#""mid":"m1","text":"hi""#), Some(Answer)),
        (said("postback", r#""mid":"m2","payload":"GS""#), Some(Answer)),
        (said("optin", r#""ref":"plugin""#), Some(Answer)),
        (ad.to_owned(), Some(Click)),
        (ad.replace("ADS", "ads"), Some(Click)),
        (ad.replace("OPEN_THREAD", "LEAD_COMPLETE"), Some(Answer)),
        (ad.replace("OPEN_THREAD", "LEAD_INCOMPLETE"), Some(Answer)),
        (said("optin", r#""type":"notification_messages""#), Some(Click)),
        (r#""message":{"mid":"m3","text":"hi"}"#.to_owned(), Some(Message)),
        (r#""postback":{"mid":"m4","payload":"GS"}"#.to_owned(), Some(Message)),
        (said("message", r#""mid":"m5","text":"hi""#).replace("ADS", "SHORTLINK"), Some(Message)),
        (r#""referral":{"ref":"r","source":"SHORTLINK","type":"OPEN_THREAD"}"#.to_owned(), None),
        (r#""reaction":{"action":"react","mid":"m1"}"#.to_owned(), None),
        (r#""read":{"watermark":1}"#.to_owned(), None),
        (said("message", r#""mid":"m6","is_echo":true,"text":"hi""#), None),
        (said("message", r#""mid":"m7","is_self":true,"text":"hi""#), None),
    ];
    for object in ["page", "instagram"] {
        for (body, expected) in &rows {
            let item = format!(
                r#"{{"sender":{{"id":"77"}},"recipient":{{"id":"10"}},"timestamp":{AFTER},{body}}}"#
            );
            assert_eq!(event(object, "messaging", &item, AFTER).from_ad(), *expected, "{body}");
        }
    }
}
