//! A stack of the version before, with everything that waits in it, goes on with this version.
//!
//! `upgrade/state.json` is what the version before left in its table and its queues. The same holds for
//! what this version leaves, which is how the expectations are known to fit both.

mod left;
mod people;
mod story;

use std::sync::Arc;

use messenger::clock::Timestamp;
use serde_json::{Map, Value, json};
use simulator::meta::Outcome;
use simulator::platform::{DEAD_LETTERS, EVENTS, FORWARD, FORWARD_DEAD_LETTERS, Platform};
use simulator::samples::{self, IGSID, INSTAGRAM};

use crate::forward::Receiver;
use crate::support::*;
use left::Left;
use people::*;
use story::*;

/// The commit that a new file of what is left is written for; without it nothing is written.
const STATE_OF: &str = "STATE_OF";

/// The token that the owner of the stack puts in the place of the dead one.
const RENEWED: &str = "the renewed token";

const HOURS: &str = "RESPONSE We are open every day from 9 to 18.";
const WHAT: &str = "RESPONSE What would you like to book?";
const STILL_THERE: &str = "UPDATE Are you still there? Just tell us what you would like to book.";
const THANKS: &str =
    "RESPONSE Thank you for your message. Choose what fits, or just go on writing.";

/// Page and person; what reaches them after the upgrade; how their entries stand in the end, in the
/// order of their decisions.
type Row<'a> = (&'a str, &'a str, &'a [&'a str], &'a [&'a str]);

const EXPECTED: &[Row<'_>] = &[
    // What was due later.
    (PAGE, FROM_AN_AD, &["UPDATE by the ad"], &["sent", "sent"]),
    (PAGE, OF_AN_AGENT, &["HUMAN_AGENT for the third day"], &["sent", "sent"]),
    (PAGE, WITH_FALLBACK, &["UTILITY still_free"], &["sent", "sent"]),
    (PAGE, BY_TOKEN, &["UPDATE by token"], &["sent"]),
    (PAGE, TOO_LATE, &[], &["sent", "refused window_closed"]),
    (INSTAGRAM, IGSID, &["UPDATE on Instagram"], &["sent", "sent"]),
    (PAGE, REMINDED, &[STILL_THERE], &["sent", "sent"]),
    (PAGE, QUIET, &[STILL_THERE], &["sent", "sent"]),
    // They answer; the new version knows what was asked.
    (
        PAGE,
        IN_A_BOOKING,
        &["RESPONSE A table, with pleasure. For which day?", "UPDATE For which day shall we book?"],
        &["sent", "cancelled answered", "sent", "sent"],
    ),
    // What had ended.
    (PAGE, WITHDRAWN, &[], &["sent", "cancelled withdrawn"]),
    (PAGE, WAS_REFUSED, &[], &["sent", "refused window_closed"]),
    (PAGE, WAS_UNREACHABLE, &[], &["failed person_unreachable"]),
    (PAGE, ANSWERED, &[], &["sent"]),
    (PAGE, CLOSED_BY_META, &[], &["sent", "failed outside_window"]),
    (PAGE, COMMENTED, &[], &["sent"]),
    // What was tried again.
    (PAGE, IN_BACKOFF, &["UPDATE first", "UPDATE second"], &["sent", "sent", "sent"]),
    (PAGE, COMMENT_IN_BACKOFF, &["RESPONSE in reply to 7000000000000122"], &["sent"]),
    // The bot is told that it may speak again.
    (PAGE, TAKEN_BY_INBOX, &["RESPONSE after the inbox"], &["sent", "sent", "sent fired"]),
    (LACKING_PAGE, WITHOUT_PERMISSION, &["UPDATE without a permission"], &["sent", "sent"]),
    (THROTTLED_PAGE, THROTTLED, &["UPDATE throttled"], &["sent", "sent"]),
    (DEAD_PAGE, WITHOUT_TOKEN, &["UPDATE without a token"], &["sent", "sent"]),
    // What may have been delivered: the echo comes, or it goes once more.
    (PAGE, WITH_ECHO, &[], &["sent", "sent"]),
    (PAGE, WITHOUT_ECHO, &["UPDATE without an echo"], &["sent", "sent"]),
    (PAGE, COMMENT_WITH_ECHO, &[], &["sent"]),
    (UNCLEAR_PAGE, IN_AN_OUTAGE, &["UPDATE after the outage"], &["sent", "sent"]),
    // Whose function died.
    (
        PAGE,
        MIDWAY,
        &[
            "RESPONSE Anything else?",
            "UPDATE Your booking is on our list. Is there anything to change?",
        ],
        &["sent", "cancelled answered", "sent", "cancelled answered", "sent", "sent"],
    ),
    (PAGE, OUTRUN, &[HOURS], &["sent", "sent", "sent"]),
    (PAGE, REPEATED, &["UPDATE asked for twice"], &["sent", "sent"]),
    (PAGE, SWEPT, &["UPDATE swept"], &["sent", "sent"]),
    // What was queued.
    (PAGE, QUEUED, &[WHAT, STILL_THERE], &["sent", "sent"]),
    (PAGE, QUEUED_TWICE, &[HOURS, WHAT, STILL_THERE], &["sent", "sent", "sent"]),
    (PAGE, STILL_POISONOUS, &[THANKS, HOURS], &["sent", "sent"]),
    (PAGE, POISONOUS, &[THANKS], &["sent"]),
    (FOREIGN_PAGE, OF_A_FOREIGN_PAGE, &[HOURS], &["sent"]),
    // Who is erased.
    (PAGE, ERASED, &[], &[]),
    (PAGE, DELETED_BY_META, &[], &[]),
    (PAGE, BEING_ERASED, &[], &[]),
    (PAGE, samples::PSID, &[], &[]),
];

#[tokio::test]
async fn what_the_version_before_left_ends_as_it_should() {
    let left = Left::read(&left::of_the_version_before());
    Box::pin(goes_on(&left)).await;
}

#[tokio::test]
async fn what_this_version_leaves_ends_alike() {
    let left = Box::pin(play()).await;
    if let Ok(commit) = std::env::var(STATE_OF) {
        let version = env!("CARGO_PKG_VERSION");
        let about = format!(
            "What version {version} ({commit}) leaves in AWS. tests/README.md says how it is made anew."
        );
        left.write(&left::of_the_version_before(), &about);
    }
    Box::pin(goes_on(&left)).await;
}

/// Takes a stack over, lets time pass, and checks what comes of everything in it.
async fn goes_on(left: &Left) {
    let receiver = Receiver::start().await;
    let platform = taken_over(left, &receiver).await;
    for body in &left.coming {
        assert_eq!(platform.post(body.to_string().as_bytes()).await, 200);
    }
    Box::pin(known_to_callers(&platform, left)).await;
    platform.settle().await;
    let answer = platform.meta.person_says(PAGE, IN_A_BOOKING, "table");
    platform.deliver(&answer).await;
    platform.advance(10 * MINUTE).await;

    platform.put_secret(|secret| secret["pages"][DEAD_PAGE]["access_token"] = RENEWED.into());
    let report = platform.invoke_setup(json!({"action": "requeue"})).await.unwrap();
    assert!(report.to_string().contains("1 events of 1 messages are queued again"), "{report}");
    redrive(&platform, DEAD_LETTERS, EVENTS).await;
    redrive(&platform, FORWARD_DEAD_LETTERS, FORWARD).await;
    platform.advance(55 * MINUTE).await;
    feed_goes_on(&platform, left).await;
    let forwarded = json!(receiver.bodies()).to_string();
    for id in left.forwarded() {
        assert!(forwarded.contains(&id), "{id} was not forwarded");
    }
    let passed = platform.meta.inbox_passes(PAGE, TAKEN_BY_INBOX);
    platform.deliver(&passed).await;
    // Meta repeats whatever it has ever sent.
    for body in &left.sent {
        platform.deliver(body.to_string().as_bytes()).await;
    }
    platform.advance(14 * DAY).await;

    let mut wrong = Vec::new();
    let died: Vec<_> = (1..=calls(left)).map(died_at).collect();
    let died = died.iter().map(|psid| {
        // What has an echo was delivered before.
        let arrives = if left.has_echo(psid) { &[STILL_THERE][..] } else { &[WHAT, STILL_THERE] };
        (PAGE, psid.as_str(), arrives, &["sent", "sent"][..])
    });
    for (page, psid, arrives, end) in EXPECTED.iter().copied().chain(died) {
        let (arrived, ended) = (arrived(&platform, page, psid), stand(&platform, page, psid).await);
        if arrived != arrives || ended != end {
            wrong.push(format!("{page} {psid}: {arrived:?} {ended:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    Box::pin(nothing_waits(&platform)).await;
    Box::pin(erased(&platform, left)).await;
}

/// A platform of this version with what a version left.
async fn taken_over(left: &Left, receiver: &Receiver) -> Arc<Platform> {
    let at = Timestamp::from_millis(left.at);
    let platform = Platform::start(options(at, &receiver.url, booking::reply)).await.unwrap();
    platform.put_secret(without_foreign_page);
    left.put_into(&platform, RECEIVER, &receiver.url).await;
    let secret = platform.containers().environment().secrets.current().await.unwrap();
    assert_eq!(secret.version, left.secret_version, "the stack keeps its secret");
    platform.meta.set_ad_windows(true);
    platform.meta.set_token(DEAD_PAGE, RENEWED);
    platform.meta.inbox_takes(PAGE, TAKEN_BY_INBOX);
    platform
}

/// How many calls a function makes for an event; the last person's survived.
fn calls(left: &Left) -> u64 {
    left.remembered("calls").parse().unwrap()
}

/// Asks the API, which finds it.
async fn get(platform: &Platform, path: &str) -> Value {
    let (status, answer) = call(platform, "GET", path, None, &Value::Null).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

/// What the API says about what was there before.
async fn known_to_callers(platform: &Platform, left: &Left) {
    for (text, status, reason) in [
        ("for the third day", "open", None),
        ("withdrawn", "cancelled", Some("withdrawn")),
        ("refused", "refused", Some("window_closed")),
        ("closed by Meta", "failed", Some("outside_window")),
        ("first", "open", Some("temporary")),
    ] {
        let message = get(platform, &format!("/messages/{}", left.remembered(text))).await;
        let code = message["reason"].as_str().and_then(|reason| reason.split(':').next());
        assert_eq!((message["status"].as_str(), code), (Some(status), reason), "{text}");
    }
    // The same key is the same message, also if its first request was never answered.
    let body = message(PAGE, IN_BACKOFF, "update", "first");
    let again = call(platform, "POST", "/messages", Some(&key_of(&body)), &body).await;
    assert_eq!((again.0, again.1["id"].as_str().unwrap()), (200, left.remembered("first")));
    let body = message(PAGE, REPEATED, "update", ASKED_TWICE);
    let again = call(platform, "POST", "/messages", Some(&key_of(&body)), &body).await;
    assert_eq!(again.0, 200, "{}", again.1);
    let other = message(PAGE, REPEATED, "update", "another body");
    let refused = call(platform, "POST", "/messages", Some(&key_of(&body)), &other).await;
    assert_eq!(refused.0, 422, "{}", refused.1);

    // The people are known, with their windows.
    let person = get(platform, &format!("/people/{REMINDED}?page_id={PAGE}")).await;
    assert_eq!(person["read_until"], person["last_message_at"], "{person}");
    assert_eq!(person["profile"]["locale"], "en_GB", "{person}");
    let comment = get(platform, &format!("/people/{COMMENTED}?page_id={PAGE}")).await;
    assert_eq!(comment["known_as"], json!([format!("comment:{}", comment_of(COMMENTED))]));
    for (psid, purpose, code) in [
        (CLOSED_BY_META, "human", "seven_days_passed"),
        (ANSWERED, "update", "window_closed"),
        (ERASED, "update", "never_heard_from"),
    ] {
        let body = message(PAGE, psid, purpose, "not now");
        let refused = call(platform, "POST", "/messages", None, &body).await;
        assert_eq!((refused.0, refused.1["error"]["code"].as_str()), (409, Some(code)), "{psid}");
    }
    assert_eq!(deletion(platform, left, DELETED_AS).await, "erased");
    assert_eq!(deletion(platform, left, samples::APP_SCOPED_ID).await, "begun");
}

/// How a deletion stands that somebody asked Meta for.
async fn deletion(platform: &Platform, left: &Left, person: &str) -> Value {
    let code = left.remembered(&format!("deletion of {person}"));
    get(platform, &format!("/data-deletion/{code}")).await["state"].clone()
}

/// The feed goes on after an old cursor, with everything that came later and nothing twice.
async fn feed_goes_on(platform: &Platform, left: &Left) {
    let items = platform.items().await.unwrap();
    let of_feed = items.iter().filter(|item| item["pk"] == format!("feed#{PAGE}"));
    let mut cursors: Vec<_> = of_feed.map(|item| item["sk"].as_str().unwrap().to_owned()).collect();
    cursors.sort();
    let old = left.remembered("feed");
    let later: Vec<_> = cursors.iter().filter(|cursor| cursor.as_str() > old).cloned().collect();
    assert!(!later.is_empty() && later.len() < cursors.len());
    for (after, expected) in [(format!("&after={old}"), later), (String::new(), cursors)] {
        let (mut after, mut read) = (after, Vec::new());
        loop {
            let path = format!("/events?page_id={PAGE}{after}");
            let page = get(platform, &path).await;
            let results = page["results"].as_array().unwrap().iter();
            read.extend(results.map(|result| result["cursor"].as_str().unwrap().to_owned()));
            after = format!("&after={}", page["next"].as_str().unwrap());
            if page["more"] == false {
                break;
            }
        }
        assert!(read == expected, "{} of {} events", read.len(), expected.len());
    }
}

/// Puts dead letters back, as the operator does.
async fn redrive(platform: &Platform, from: &str, to: &str) {
    let arn = |name: &str| format!("arn:aws:sqs:us-east-1:000000000000:{name}");
    let task = platform.containers().environment().aws.sqs().start_message_move_task();
    task.source_arn(arn(from)).destination_arn(arn(to)).send().await.unwrap();
    assert!(platform.sqs.is_empty(from));
}

/// What has reached a person, with its label.
fn arrived(platform: &Platform, page: &str, psid: &str) -> Vec<String> {
    let requests = platform.meta.delivered(page, psid).into_iter();
    let delivered = requests.filter(|it| matches!(it.outcome, Outcome::Delivered { .. }));
    let shown = delivered.map(|it| {
        let label = it.tag.or(it.messaging_type).unwrap_or_default();
        let message = it.message;
        let template = message["template"]["name"].as_str();
        let text = message["attachment"]["payload"]["text"].as_str();
        let text = message["text"].as_str().or(template).or(text);
        format!("{label} {}", text.unwrap_or_default())
    });
    shown.collect()
}

/// How the entries to a person stand, under whatever the person is known by, in the order of their
/// decisions.
async fn stand(platform: &Platform, page: &str, psid: &str) -> Vec<String> {
    let items = platform.items().await.unwrap();
    let comment = format!("comment:{}", comment_of(psid));
    let by_token = (psid == BY_TOKEN).then(|| format!("notification_messages_token:{TOKEN}"));
    let mut names = vec![psid.to_owned(), comment];
    names.extend(by_token);
    let names: Vec<_> = names.iter().map(|name| format!("{page}#{name}")).collect();
    let of_person = |item: &&Map<String, Value>| {
        let text = |name: &str| item[name].as_str().unwrap_or_default();
        names.iter().any(|name| name == text("pk")) && text("sk").starts_with("outbox#")
    };
    let mut entries: Vec<_> = items.iter().filter(of_person).collect();
    entries.sort_by_key(|entry| entry["decided_at"].as_i64());
    let standing = |entry: &&Map<String, Value>| {
        let reason = entry.get("reason").and_then(Value::as_str).unwrap_or_default();
        let code = reason.split(':').next().unwrap_or_default();
        format!("{} {code}", entry["status"].as_str().unwrap()).trim().to_owned()
    };
    entries.iter().map(standing).collect()
}

/// Nothing waits in vain: no entry is open, no conversation lists one, nothing is due, no queue holds
/// anything but what nobody can read.
async fn nothing_waits(platform: &Platform) {
    for item in platform.items().await.unwrap() {
        assert_ne!(item.get("status"), Some(&json!("open")), "{item:?}");
        let waiting = item.get("waiting").and_then(Value::as_object);
        assert!(waiting.is_none_or(Map::is_empty), "{item:?}");
        assert!(!item.contains_key("due_at"), "{item:?}");
    }
    assert_eq!(platform.next_due().await, None);
    for queue in [EVENTS, DEAD_LETTERS, FORWARD, FORWARD_DEAD_LETTERS] {
        assert!(platform.sqs.is_empty(queue), "{queue}: {:?}", platform.sqs.messages(queue));
    }
}

/// Nothing is left of whoever was erased but the mark.
async fn erased(platform: &Platform, left: &Left) {
    assert_eq!(deletion(platform, left, samples::APP_SCOPED_ID).await, "erased");
    let items = platform.items().await.unwrap();
    for psid in [ERASED, DELETED_BY_META, BEING_ERASED, samples::PSID] {
        let about = items.iter().filter(|item| json!(item).to_string().contains(psid));
        let about: Vec<_> = about.collect();
        let [mark] = about[..] else { panic!("{about:?}") };
        assert!(mark.contains_key("erased_at") && !mark.contains_key("platform"), "{mark:?}");
    }
}
