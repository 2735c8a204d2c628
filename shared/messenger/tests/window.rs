//! The messaging windows: Meta's tables, edge by edge, and what must hold between the edges.
//!
//! What Meta takes is stated again here, without a margin and in plain milliseconds.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its own material has failed")]

use std::time::Duration;

use messenger::clock::Timestamp;
use messenger::event::{Event, Platform, split};
use messenger::message::{Action, Message, Say};
use messenger::window::{
    Allowed, Policy, Purpose, Refusal, STANDARD_WINDOW, Standing, decide, decide_with_fallback,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// 27 April 2026, 00:00 UTC: from here on Meta refuses the three tags.
const RETIREMENT: i64 = 1_777_248_000_000;

/// A day long after the retirement, and one long before it.
const AFTER: i64 = RETIREMENT + 200 * DAY;
const BEFORE: i64 = RETIREMENT - 200 * DAY;

/// The margins that the tables are read with: none, and the default.
const MARGINS: [i64; 2] = [0, MINUTE];

const PLATFORMS: [Platform; 2] = [Platform::Messenger, Platform::Instagram];

/// `messaging_type` and `tag`, or why not.
type Outcome = Result<(&'static str, Option<&'static str>), Refusal>;

const RESPONSE: Outcome = Ok(("RESPONSE", None));
const UPDATE: Outcome = Ok(("UPDATE", None));
const UTILITY: Outcome = Ok(("UTILITY", None));
const HUMAN_AGENT: Outcome = Ok(("MESSAGE_TAG", Some("HUMAN_AGENT")));
const CUSTOMER_FEEDBACK: Outcome = Ok(("MESSAGE_TAG", Some("CUSTOMER_FEEDBACK")));
const ACCOUNT_UPDATE: Outcome = Ok(("MESSAGE_TAG", Some("ACCOUNT_UPDATE")));
const CONFIRMED_EVENT_UPDATE: Outcome = Ok(("MESSAGE_TAG", Some("CONFIRMED_EVENT_UPDATE")));
const POST_PURCHASE_UPDATE: Outcome = Ok(("MESSAGE_TAG", Some("POST_PURCHASE_UPDATE")));

const NEVER_HEARD_FROM: Outcome = Err(Refusal::NeverHeardFrom);
const WINDOW_CLOSED: Outcome = Err(Refusal::WindowClosed);
const SEVEN_DAYS_PASSED: Outcome = Err(Refusal::SevenDaysPassed);
const COMMENT_TOO_OLD: Outcome = Err(Refusal::CommentTooOld);
const TAG_RETIRED: Outcome = Err(Refusal::TagRetired);
const AUTHOR_MISSING: Outcome = Err(Refusal::AuthorMissing);
const NOT_ON_INSTAGRAM: Outcome = Err(Refusal::NotOnInstagram);

const RETIRED: [(Purpose, Outcome); 3] = [
    (Purpose::AccountUpdate, ACCOUNT_UPDATE),
    (Purpose::ConfirmedEventUpdate, CONFIRMED_EVENT_UPDATE),
    (Purpose::PostPurchaseUpdate, POST_PURCHASE_UPDATE),
];

const fn ms(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

const fn heard_at(at: i64, window: i64, platform: Platform) -> Standing {
    Standing { platform, last_message_at: Some(ms(at)), free_until: Some(ms(at + window)) }
}

const fn never_heard(platform: Platform) -> Standing {
    Standing { platform, last_message_at: None, free_until: None }
}

fn outcome(
    purpose: Purpose,
    author: Option<&str>,
    standing: &Standing,
    now: i64,
    margin: i64,
) -> Outcome {
    let policy = Policy { margin: Duration::from_millis(margin.unsigned_abs()) };
    decide(purpose, author, standing, ms(now), &policy)
        .map(|label| (label.messaging_type(), label.tag()))
}

// Which message may go out when.

/// A row of the table: up to 24 hours, up to 7 days, after that.
type Row = (Purpose, [Outcome; 3]);

const SINCE_THE_RETIREMENT: [Row; 9] = [
    (Purpose::Reply, [RESPONSE, WINDOW_CLOSED, WINDOW_CLOSED]),
    (Purpose::Update, [UPDATE, WINDOW_CLOSED, WINDOW_CLOSED]),
    (Purpose::Human, [RESPONSE, HUMAN_AGENT, SEVEN_DAYS_PASSED]),
    (Purpose::Feedback, [UPDATE, CUSTOMER_FEEDBACK, SEVEN_DAYS_PASSED]),
    (Purpose::AccountUpdate, [UPDATE, TAG_RETIRED, TAG_RETIRED]),
    (Purpose::ConfirmedEventUpdate, [UPDATE, TAG_RETIRED, TAG_RETIRED]),
    (Purpose::PostPurchaseUpdate, [UPDATE, TAG_RETIRED, TAG_RETIRED]),
    (Purpose::Utility, [UTILITY, UTILITY, UTILITY]),
    (Purpose::PrivateReply, [RESPONSE, RESPONSE, COMMENT_TOO_OLD]),
];

const BEFORE_THE_RETIREMENT: [Row; 9] = [
    (Purpose::Reply, [RESPONSE, WINDOW_CLOSED, WINDOW_CLOSED]),
    (Purpose::Update, [UPDATE, WINDOW_CLOSED, WINDOW_CLOSED]),
    (Purpose::Human, [RESPONSE, HUMAN_AGENT, SEVEN_DAYS_PASSED]),
    (Purpose::Feedback, [UPDATE, CUSTOMER_FEEDBACK, SEVEN_DAYS_PASSED]),
    (Purpose::AccountUpdate, [UPDATE, ACCOUNT_UPDATE, ACCOUNT_UPDATE]),
    (Purpose::ConfirmedEventUpdate, [UPDATE, CONFIRMED_EVENT_UPDATE, CONFIRMED_EVENT_UPDATE]),
    (Purpose::PostPurchaseUpdate, [UPDATE, POST_PURCHASE_UPDATE, POST_PURCHASE_UPDATE]),
    (Purpose::Utility, [UTILITY, UTILITY, UTILITY]),
    (Purpose::PrivateReply, [RESPONSE, RESPONSE, COMMENT_TOO_OLD]),
];

/// The same before and after: none of the three tags was ever Instagram's.
const ON_INSTAGRAM: [Row; 9] = [
    (Purpose::Reply, [RESPONSE, WINDOW_CLOSED, WINDOW_CLOSED]),
    (Purpose::Update, [UPDATE, WINDOW_CLOSED, WINDOW_CLOSED]),
    (Purpose::Human, [RESPONSE, HUMAN_AGENT, SEVEN_DAYS_PASSED]),
    (Purpose::Feedback, [NOT_ON_INSTAGRAM; 3]),
    (Purpose::AccountUpdate, [UPDATE, NOT_ON_INSTAGRAM, NOT_ON_INSTAGRAM]),
    (Purpose::ConfirmedEventUpdate, [UPDATE, NOT_ON_INSTAGRAM, NOT_ON_INSTAGRAM]),
    (Purpose::PostPurchaseUpdate, [UPDATE, NOT_ON_INSTAGRAM, NOT_ON_INSTAGRAM]),
    (Purpose::Utility, [NOT_ON_INSTAGRAM; 3]),
    (Purpose::PrivateReply, [RESPONSE, RESPONSE, COMMENT_TOO_OLD]),
];

const TABLES: [(&str, Platform, i64, &[Row; 9]); 4] = [
    ("Messenger, after", Platform::Messenger, AFTER, &SINCE_THE_RETIREMENT),
    ("Messenger, before", Platform::Messenger, BEFORE, &BEFORE_THE_RETIREMENT),
    ("Instagram, after", Platform::Instagram, AFTER, &ON_INSTAGRAM),
    ("Instagram, before", Platform::Instagram, BEFORE, &ON_INSTAGRAM),
];

/// Reads the tables at each edge, for a conversation whose standard window has this length.
fn assert_tables(window: i64) {
    for (title, platform, at, rows) in TABLES {
        let standing = heard_at(at, window, platform);
        for (purpose, [in_window, in_seven_days, later]) in rows {
            for margin in MARGINS {
                let at_age = |age: i64| {
                    let now = at + age;
                    outcome(*purpose, Some("Ana"), &standing, now, margin)
                };
                let last_in_window = window - margin;
                let last_in_seven_days = (7 * DAY).max(window) - margin;
                let mut expected = vec![
                    (0, in_window),
                    (last_in_window, in_window),
                    (last_in_seven_days + 1, later),
                    (100 * DAY, later),
                ];
                if last_in_window < last_in_seven_days {
                    expected.push((last_in_window + 1, in_seven_days));
                    expected.push((last_in_seven_days, in_seven_days));
                }
                for (age, expected) in expected {
                    assert_eq!(
                        at_age(age),
                        *expected,
                        "{title}: {purpose} at an age of {age} ms, window {window} ms, margin {margin} ms"
                    );
                }
            }
        }
    }
}

#[test]
fn every_table_has_one_row_for_each_purpose() {
    for (title, _, _, rows) in TABLES {
        assert_eq!(rows.map(|(purpose, _)| purpose), Purpose::ALL, "{title}");
    }
}

#[test]
fn every_row_holds_to_the_millisecond() {
    assert_eq!(STANDARD_WINDOW, Duration::from_hours(24));
    assert_tables(DAY);
}

#[test]
fn a_longer_standard_window_moves_its_own_edge_only() {
    assert_tables(3 * DAY);
    assert_tables(7 * DAY);
}

#[test]
fn the_default_margin_is_a_minute() {
    assert_eq!(Policy::default().margin, Duration::from_mins(1));
}

#[test]
fn a_person_never_heard_from_gets_utility_templates_only() {
    for &purpose in Purpose::ALL {
        for now in [BEFORE, AFTER] {
            let to = |platform| outcome(purpose, Some("Ana"), &never_heard(platform), now, 0);
            let (messenger, instagram) = match purpose {
                Purpose::Utility => (UTILITY, NOT_ON_INSTAGRAM),
                Purpose::Feedback => (NEVER_HEARD_FROM, NOT_ON_INSTAGRAM),
                Purpose::PrivateReply => (RESPONSE, RESPONSE),
                _ => (NEVER_HEARD_FROM, NEVER_HEARD_FROM),
            };
            assert_eq!(to(Platform::Messenger), messenger, "{purpose}");
            assert_eq!(to(Platform::Instagram), instagram, "{purpose}");
        }
    }
}

#[test]
fn what_a_person_wrote_needs_its_author_at_any_age() {
    for platform in PLATFORMS {
        let mut records = vec![(never_heard(platform), AFTER)];
        for age in [0, DAY, DAY + 1, 7 * DAY, 7 * DAY + 1, 100 * DAY] {
            records.push((heard_at(AFTER, DAY, platform), AFTER + age));
        }
        for (standing, now) in records {
            for author in [None, Some(""), Some(" "), Some("\t\r\n"), Some("\u{a0}")] {
                for margin in MARGINS {
                    let decided = outcome(Purpose::Human, author, &standing, now, margin);
                    assert_eq!(decided, AUTHOR_MISSING, "{author:?} at {now}");
                }
            }
        }
    }
    let standing = heard_at(AFTER, DAY, Platform::Messenger);
    let in_time = outcome(Purpose::Human, Some(" Ana "), &standing, AFTER, 0);
    assert_eq!(in_time, RESPONSE);
}

#[test]
fn nobody_but_people_needs_an_author() {
    let standing = heard_at(AFTER, DAY, Platform::Messenger);
    for (purpose, [in_window, ..]) in SINCE_THE_RETIREMENT {
        if purpose != Purpose::Human {
            assert_eq!(outcome(purpose, None, &standing, AFTER, 0), in_window, "{purpose}");
        }
    }
}

#[test]
fn the_retirement_is_midnight_utc_on_27_april_2026() {
    assert_eq!(Timestamp::from_rfc3339("2026-04-27T00:00:00Z"), Some(ms(RETIREMENT)));
    assert_eq!(messenger::window::TAGS_RETIRED_AT, ms(RETIREMENT));
}

#[test]
fn the_three_tags_end_a_margin_before_their_retirement() {
    for (purpose, tag) in RETIRED {
        for age in [2 * DAY, 6 * DAY, 30 * DAY] {
            let standing = heard_at(RETIREMENT - age, DAY, Platform::Messenger);
            for margin in MARGINS {
                let at = |now| outcome(purpose, None, &standing, now, margin);
                let end = RETIREMENT - margin;
                assert_eq!(at(end - 1), tag, "{purpose}, margin {margin}: the last");
                assert_eq!(at(end), TAG_RETIRED, "{purpose}, margin {margin}: at the end");
                assert_eq!(at(end + 1), TAG_RETIRED, "{purpose}, margin {margin}: past it");
            }
        }
    }
}

#[test]
fn inside_the_window_their_purposes_outlive_the_three_tags() {
    for (purpose, _) in RETIRED {
        for platform in PLATFORMS {
            let heard = RETIREMENT - HOUR;
            let standing = heard_at(heard, DAY, platform);
            let afterwards = match platform {
                Platform::Messenger => TAG_RETIRED,
                Platform::Instagram => NOT_ON_INSTAGRAM,
            };
            for margin in MARGINS {
                let at = |now| outcome(purpose, None, &standing, now, margin);
                for now in [RETIREMENT - margin, RETIREMENT, heard + DAY - margin] {
                    assert_eq!(at(now), UPDATE, "{purpose} at {now}, margin {margin}");
                }
                assert_eq!(at(heard + DAY - margin + 1), afterwards, "{purpose}");
            }
        }
    }
}

#[test]
fn a_purpose_carries_its_own_content_only() {
    let feedback = serde_json::json!({"attachment": {"type": "template", "payload": {
        "template_type": "customer_feedback", "title": "Rate", "subtitle": "Us", "button_title": "Go",
        "feedback_screens": [{"questions": [{"id": "q1", "type": "csat"}]}],
        "business_privacy": {"url": "https://example.com"}}}});
    let utility = serde_json::json!({"template": {"name": "shipped", "language": {"code": "en"}}});
    let text = Say::from(Message::text("hi").unwrap());
    let feedback = Say::from_json(&feedback).unwrap();
    let utility = Say::from_json(&utility).unwrap();
    let typing = Say::from(Action::TypingOn);
    for &purpose in Purpose::ALL {
        let carried =
            [&text, &feedback, &utility, &typing].map(|say| purpose.check_content(say).is_ok());
        let expected = match purpose {
            Purpose::Feedback => [false, true, false, true],
            Purpose::Utility => [false, false, true, true],
            _ => [true, false, false, true],
        };
        assert_eq!(carried, expected, "{purpose}");
    }
}

#[test]
fn a_fallback_goes_where_only_the_windows_refuse_and_never_on_instagram() {
    let policy = Policy { margin: Duration::ZERO };
    for platform in PLATFORMS {
        for standing in [never_heard(platform), heard_at(AFTER, DAY, platform)] {
            for &purpose in Purpose::ALL {
                for author in [None, Some("desk")] {
                    for age in [0, DAY, DAY + 1, 7 * DAY, 7 * DAY + 1] {
                        let now = ms(AFTER + age);
                        let meant = decide(purpose, author, &standing, now, &policy);
                        let with = |has_fallback| {
                            decide_with_fallback(
                                purpose,
                                author,
                                has_fallback,
                                &standing,
                                now,
                                &policy,
                            )
                        };
                        assert_eq!(with(false), meant.map(Allowed::AsMeant));
                        let expected = match meant {
                            Ok(label) => Ok(Allowed::AsMeant(label)),
                            Err(refusal)
                                if platform == Platform::Instagram
                                    || refusal == Refusal::AuthorMissing
                                    || refusal == Refusal::CommentTooOld =>
                            {
                                Err(refusal)
                            }
                            Err(refusal) => Ok(Allowed::Fallback(refusal)),
                        };
                        assert_eq!(with(true), expected, "{purpose} at the age of {age}");
                    }
                }
            }
        }
    }
}

// What opens the window.

/// What happened, its container, its JSON (with `@` where the time stands), whether it opens.
type Sample = (&'static str, &'static str, &'static str, bool);

const SAMPLES: [Sample; 42] = [
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
    ("opt-in by a plugin", "messaging", r#""optin":{"ref":"r"}"#, false),
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
        r#""message":{"mid":"m12","is_echo":true,"app_id":15,"metadata":"mb1.x","text":"hi"}"#,
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
fn item(sample: &Sample, time: &str) -> String {
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
fn event(object: &str, container: &str, item: &str, received: i64) -> Event {
    let body = format!(r#"{{"object":"{object}","entry":[{{"id":"10","{container}":[{item}]}}]}}"#);
    let mut events = split(body.as_bytes(), ms(received)).unwrap();
    assert_eq!(events.len(), 1, "{body}");
    events.remove(0)
}

/// What the windows of a conversation depend on after these events, in the order of their arrival:
/// as in the table, only a newer window-opening event replaces what is known.
fn standing_after<'a>(events: impl IntoIterator<Item = &'a Event>) -> Standing {
    events.into_iter().filter(|event| event.opens_window()).fold(
        Standing::default(),
        |known, event| {
            let at = event.at.unwrap();
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
fn without_a_time_nothing_opens_the_window() {
    for sample in &SAMPLES {
        let (what, container, ..) = sample;
        let event = event("page", container, &item(sample, "null"), AFTER);
        assert_eq!(event.at, None, "{what}");
        assert!(!event.opens_window(), "{what}");
    }
}

// What holds between the edges.

/// What Meta takes, without a margin: a label, at an instant of Meta's own clock.
fn meta_takes(label: (&str, Option<&str>), standing: &Standing, at: i64) -> bool {
    let Some(heard) = standing.last_message_at.map(Timestamp::millis) else {
        return label == ("UTILITY", None) && standing.platform == Platform::Messenger;
    };
    let in_window = standing.free_until.is_some_and(|end| at <= end.millis());
    let on_messenger = standing.platform == Platform::Messenger;
    match label {
        ("RESPONSE" | "UPDATE", None) => in_window,
        ("MESSAGE_TAG", Some("HUMAN_AGENT")) => at - heard <= 7 * DAY,
        ("MESSAGE_TAG", Some("CUSTOMER_FEEDBACK")) => on_messenger && at - heard <= 7 * DAY,
        (
            "MESSAGE_TAG",
            Some("ACCOUNT_UPDATE" | "CONFIRMED_EVENT_UPDATE" | "POST_PURCHASE_UPDATE"),
        ) => on_messenger && at < RETIREMENT,
        ("UTILITY", None) => on_messenger,
        _ => false,
    }
}

/// The purposes of messages to a person; a private reply has the comment's window.
const IN_A_CONVERSATION: [Purpose; 8] = [
    Purpose::Reply,
    Purpose::Update,
    Purpose::Human,
    Purpose::Feedback,
    Purpose::AccountUpdate,
    Purpose::ConfirmedEventUpdate,
    Purpose::PostPurchaseUpdate,
    Purpose::Utility,
];

/// The labels that a purpose may go out under, the best one first.
fn labels(purpose: Purpose, platform: Platform) -> Vec<Outcome> {
    match purpose {
        Purpose::Feedback | Purpose::Utility if platform == Platform::Instagram => vec![],
        Purpose::Reply => vec![RESPONSE],
        Purpose::Update => vec![UPDATE],
        Purpose::Human => vec![RESPONSE, HUMAN_AGENT],
        Purpose::Feedback => vec![UPDATE, CUSTOMER_FEEDBACK],
        Purpose::AccountUpdate => vec![UPDATE, ACCOUNT_UPDATE],
        Purpose::ConfirmedEventUpdate => vec![UPDATE, CONFIRMED_EVENT_UPDATE],
        Purpose::PostPurchaseUpdate => vec![UPDATE, POST_PURCHASE_UPDATE],
        Purpose::Utility => vec![UTILITY],
        Purpose::PrivateReply => vec![],
    }
}

/// How much is allowed: 0 without a tag, 1 with one, 2 nothing.
fn rank(outcome: Outcome) -> u8 {
    match outcome {
        Ok((_, None)) => 0,
        Ok((_, Some(_))) => 1,
        Err(_) => 2,
    }
}

/// What a decision depends on beside the purpose and the instant.
#[derive(Clone, Debug)]
struct Case {
    author: Option<String>,
    standing: Standing,
    margin: i64,
    any_instant: i64,
}

impl Case {
    fn outcome(&self, purpose: Purpose, now: i64) -> Outcome {
        let author = self.author.as_deref();
        outcome(purpose, author, &self.standing, now, self.margin)
    }

    /// Any instant, and every edge that there is, a millisecond to either side of it, and the same a
    /// margin earlier; in the order of time.
    fn instants(&self) -> Vec<i64> {
        let known = self.standing.last_message_at.map(Timestamp::millis);
        let ends = known.map(|heard| [heard, heard + DAY, heard + 7 * DAY]);
        let window_end = self.standing.free_until.map(Timestamp::millis);
        let edges = ends.into_iter().flatten().chain(window_end);
        let mut instants: Vec<_> = edges
            .chain([RETIREMENT])
            .flat_map(|edge| [edge, edge - self.margin])
            .flat_map(|edge| edge - 1..=edge + 1)
            .chain([self.any_instant])
            .collect();
        instants.sort_unstable();
        instants
    }
}

fn blanks() -> impl Strategy<Value = String> {
    let blank = select(vec![' ', '\t', '\r', '\n', '\u{a0}', '\u{2003}', '\u{3000}']);
    vec(blank, 0..4).prop_map(String::from_iter)
}

fn authors() -> impl Strategy<Value = Option<String>> {
    let name = select(vec!["Ana", "agent 7", "山田", "."]);
    prop_oneof![
        1 => Just(None),
        1 => blanks().prop_map(Some),
        4 => (blanks(), name, blanks()).prop_map(|(a, name, b)| Some(format!("{a}{name}{b}"))),
    ]
}

fn standings() -> impl Strategy<Value = Standing> {
    let heard = RETIREMENT - 40 * DAY..RETIREMENT + 40 * DAY;
    let window = prop_oneof![4 => Just(DAY), 2 => Just(7 * DAY), 2 => DAY..7 * DAY];
    let known = (heard, proptest::option::weighted(0.9, window));
    (select(PLATFORMS.to_vec()), proptest::option::weighted(0.9, known)).prop_map(
        |(platform, known)| Standing {
            platform,
            last_message_at: known.map(|(at, _)| ms(at)),
            free_until: known.and_then(|(at, window)| Some(ms(at + window?))),
        },
    )
}

fn margins() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), Just(MINUTE), 0..=HOUR]
}

fn cases() -> impl Strategy<Value = Case> {
    let any_instant = RETIREMENT - 50 * DAY..RETIREMENT + 50 * DAY;
    (authors(), standings(), margins(), any_instant).prop_map(
        |(author, standing, margin, any_instant)| Case { author, standing, margin, any_instant },
    )
}

/// A sample that happened at an instant, and how its time is spelled.
type Happening = (usize, i64, usize);

/// The instant in a spelling, and the instant that the spelling still tells.
fn spelled(millis: i64, spelling: usize) -> (String, i64) {
    let seconds = millis / 1000;
    match spelling {
        0 => (millis.to_string(), millis),
        1 => (format!("\"{millis}\""), millis),
        2 => (seconds.to_string(), seconds * 1000),
        _ => (format!("\"{seconds}\""), seconds * 1000),
    }
}

/// Up to eight happenings about the time of their receipt, some of them ahead of it, and their
/// arrival: each at least once, in any order.
fn arrivals() -> impl Strategy<Value = (Vec<Happening>, Vec<Happening>)> {
    let time = prop_oneof![
        3 => AFTER - 2 * DAY..AFTER,
        1 => AFTER..AFTER + 3 * MINUTE,
        1 => AFTER - 3..AFTER + 3,
    ];
    vec((0..SAMPLES.len(), time, 0..4_usize), 1..8)
        .prop_flat_map(|happened| {
            let twice = vec(select(happened.clone()), 0..8);
            (Just(happened), twice)
        })
        .prop_flat_map(|(happened, twice)| {
            let arrived = [happened.clone(), twice].concat();
            (Just(happened), Just(arrived).prop_shuffle())
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn time_only_takes_away(case in cases()) {
        for purpose in IN_A_CONVERSATION {
            for instants in case.instants().windows(2) {
                let [early, late] = [0, 1].map(|index| case.outcome(purpose, instants[index]));
                prop_assert!(rank(early) <= rank(late), "{purpose} at {instants:?}: {early:?}, {late:?}");
                if early.is_err() {
                    prop_assert_eq!(early, late, "{} at {:?}", purpose, instants);
                }
            }
        }
    }

    #[test]
    fn the_human_agent_tag_needs_the_purpose_and_an_author(case in cases()) {
        let named = case.author.as_ref().is_some_and(|name| !name.chars().all(char::is_whitespace));
        for now in case.instants() {
            for purpose in IN_A_CONVERSATION {
                let decided = case.outcome(purpose, now);
                if purpose != Purpose::Human {
                    prop_assert_ne!(decided, HUMAN_AGENT, "{} at {}", purpose, now);
                } else if named {
                    prop_assert_ne!(decided, AUTHOR_MISSING, "at {}", now);
                } else {
                    prop_assert_eq!(decided, AUTHOR_MISSING, "at {}", now);
                }
            }
        }
    }

    #[test]
    fn no_retired_tag_from_a_margin_before_the_retirement_on(
        margin in margins(),
        by in prop_oneof![-3..=3_i64, -2 * DAY..=2 * DAY],
        age in DAY + 1..40 * DAY,
    ) {
        let now = RETIREMENT - margin + by;
        let standing = heard_at(now - age, DAY, Platform::Messenger);
        for purpose in IN_A_CONVERSATION {
            let decided = outcome(purpose, Some("Ana"), &standing, now, margin);
            match RETIRED.into_iter().find(|(retired, _)| *retired == purpose) {
                Some((_, tag)) if by < 0 => prop_assert_eq!(decided, tag),
                Some(_) => prop_assert_eq!(decided, TAG_RETIRED),
                None => prop_assert!(RETIRED.iter().all(|(_, tag)| *tag != decided)),
            }
        }
    }

    #[test]
    fn a_larger_margin_allows_nothing_more(case in cases(), other in margins()) {
        let small = Case { margin: case.margin.min(other), ..case.clone() };
        let large = Case { margin: case.margin.max(other), ..case };
        for now in [small.instants(), large.instants()].concat() {
            for purpose in IN_A_CONVERSATION {
                let [small, large] = [&small, &large].map(|case| case.outcome(purpose, now));
                prop_assert!(rank(small) <= rank(large), "{purpose} at {now}: {small:?}, {large:?}");
                if small.is_err() {
                    prop_assert_eq!(small, large, "{} at {}", purpose, now);
                }
            }
        }
    }

    #[test]
    fn clocks_may_differ_by_the_margin(case in cases(), per_mille in -1000..=1000_i64) {
        for now in case.instants() {
            for purpose in IN_A_CONVERSATION {
                let Ok(label) = case.outcome(purpose, now) else { continue };
                for skew in [-case.margin, case.margin * per_mille / 1000, case.margin] {
                    let taken = meta_takes(label, &case.standing, now + skew);
                    prop_assert!(taken, "{purpose} at {now} + {skew}: {label:?}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_refused_that_meta_takes_a_margin_later(case in cases()) {
        let case = Case { author: Some("Ana".to_owned()), ..case };
        for now in case.instants() {
            for purpose in IN_A_CONVERSATION {
                let best = labels(purpose, case.standing.platform)
                    .into_iter()
                    .flatten()
                    .find(|label| meta_takes(*label, &case.standing, now + case.margin));
                prop_assert_eq!(case.outcome(purpose, now).ok(), best, "{} at {}", purpose, now);
            }
        }
    }

    #[test]
    fn the_newest_message_allows_what_any_of_them_allows(
        case in cases(),
        heard in RETIREMENT - 40 * DAY..RETIREMENT + 40 * DAY,
        before in vec(prop_oneof![0..=2_i64, 0..10 * DAY], 1..5),
        window in select(vec![DAY, 3 * DAY, 7 * DAY]),
    ) {
        let by = |heard| {
            let standing = heard_at(heard, window, case.standing.platform);
            Case { standing, ..case.clone() }
        };
        let newest = by(heard);
        let every: Vec<_> = before.iter().map(|before| by(heard - before)).chain([by(heard)]).collect();
        for now in every.iter().flat_map(Case::instants) {
            for purpose in IN_A_CONVERSATION {
                let outcomes = every.iter().map(|case| case.outcome(purpose, now));
                let best = outcomes.min_by_key(|outcome| rank(*outcome));
                prop_assert_eq!(Some(newest.outcome(purpose, now)), best, "{} at {}", purpose, now);
            }
        }
    }

    #[test]
    fn instagram_knows_one_tag_and_no_utility(case in cases()) {
        let standing = Standing { platform: Platform::Instagram, ..case.standing };
        let case = Case { standing, ..case };
        for now in case.instants() {
            for purpose in IN_A_CONVERSATION {
                let decided = case.outcome(purpose, now);
                let known = [RESPONSE, UPDATE, HUMAN_AGENT].contains(&decided);
                prop_assert!(known || decided.is_err(), "{purpose} at {now}: {decided:?}");
            }
        }
    }

    #[test]
    fn order_and_duplicates_do_not_matter(
        (happened, arrived) in arrivals(),
        margin in margins(),
    ) {
        let newest = happened
            .iter()
            .filter(|(sample, ..)| SAMPLES[*sample].3)
            .map(|(_, at, spelling)| spelled(*at, *spelling).1.min(AFTER))
            .max();
        let events: Vec<_> = arrived
            .iter()
            .map(|(sample, at, spelling)| {
                let item = item(&SAMPLES[*sample], &spelled(*at, *spelling).0);
                event("page", SAMPLES[*sample].1, &item, AFTER)
            })
            .collect();
        let standing = standing_after(&events);
        prop_assert_eq!(standing.last_message_at, newest.map(ms));
        let reply = |now| outcome(Purpose::Reply, None, &standing, now, margin);
        match newest {
            None => prop_assert_eq!(reply(AFTER), NEVER_HEARD_FROM),
            Some(newest) => {
                prop_assert_eq!(reply(newest + DAY - margin), RESPONSE);
                prop_assert_eq!(reply(newest + DAY - margin + 1), WINDOW_CLOSED);
            }
        }
    }

    #[test]
    fn a_time_from_the_future_counts_as_its_receipt(
        received in BEFORE..AFTER,
        ahead in prop_oneof![1..=3_i64, 1..10 * DAY, DAY..i64::MAX / 2],
        in_text in any::<bool>(),
        wait in prop_oneof![Just(1), 1..400 * DAY],
    ) {
        let stated = received + ahead;
        let (time, _) = spelled(stated, usize::from(in_text));
        for sample in SAMPLES.iter().filter(|sample| sample.3) {
            let event = event("page", sample.1, &item(sample, &time), received);
            prop_assert_eq!(event.at, Some(ms(received)));
            let standing = standing_after([&event]);
            let reply = |now| outcome(Purpose::Reply, None, &standing, now, 0);
            let end = received + DAY;
            prop_assert_eq!(reply(end), RESPONSE);
            prop_assert_eq!(reply(end + wait), WINDOW_CLOSED);
        }
    }

    #[test]
    fn no_time_whatever_its_form_reaches_beyond_its_receipt(
        received in BEFORE..AFTER,
        time in prop_oneof![
            any::<i64>().prop_map(|n| n.to_string()),
            any::<i64>().prop_map(|n| format!("\"{n}\"")),
            any::<u64>().prop_map(|n| n.to_string()),
            any::<i32>().prop_map(|n| n.to_string()),
            any::<f64>().prop_filter("JSON has finite numbers only", |n| n.is_finite())
                .prop_map(|n| format!("{n:e}")),
            select(vec!["1e400", "-1e400", "\"\"", "\"soon\"", "null", "{}", "[1]", "true"])
                .prop_map(str::to_owned),
        ],
        entry_time in any::<i64>(),
    ) {
        let item = item(&SAMPLES[0], &time);
        let body = format!(
            r#"{{"object":"page","entry":[{{"id":"10","time":{entry_time},"messaging":[{item}]}}]}}"#
        );
        let events = split(body.as_bytes(), ms(received)).unwrap();
        prop_assert_eq!(events.len(), 1);
        let event = &events[0];
        prop_assert_eq!(event.kind_name(), "message");
        prop_assert!(event.at <= Some(ms(received)), "{:?}", event.at);
        let standing = Standing {
            platform: event.platform,
            last_message_at: event.at,
            free_until: event.at.map(|at| at + STANDARD_WINDOW),
        };
        let too_late = received + DAY + 1;
        prop_assert_eq!(outcome(Purpose::Reply, None, &standing, too_late, 0), WINDOW_CLOSED);
    }

    #[test]
    fn seconds_and_strings_tell_the_same_instant(
        seconds in 100_000_000..100_000_000_000_i64,
        fraction in 0..1000_i64,
    ) {
        let received = i64::MAX / 2;
        let at = |time: &str| {
            let own = event("page", "messaging", &item(&SAMPLES[0], time), received).at;
            let entry = format!(
                r#"{{"object":"page","entry":[{{"id":"10","time":{time},"messaging":[{{"message":{{"mid":"m"}}}}]}}]}}"#
            );
            let of_the_entry = split(entry.as_bytes(), ms(received)).unwrap()[0].at;
            assert_eq!(own, of_the_entry, "{time}");
            own.map(Timestamp::millis)
        };
        let whole = seconds * 1000;
        for time in [
            format!("{seconds}"),
            format!("\"{seconds}\""),
            format!("\" {seconds} \""),
            format!("{seconds}.0"),
            format!("{whole}"),
            format!("\"{whole}\""),
            format!("{whole}.0"),
        ] {
            prop_assert_eq!(at(&time), Some(whole), "{}", time);
        }
        let exact = whole + fraction;
        prop_assert_eq!(at(&exact.to_string()), Some(exact));
        prop_assert_eq!(at(&format!("\"{exact}\"")), Some(exact));
        prop_assert_eq!(Timestamp::from_seconds_or_millis(seconds), ms(whole));
        prop_assert_eq!(Timestamp::from_seconds_or_millis(exact), ms(exact));
    }
}
