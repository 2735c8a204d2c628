//! Each row of Meta's error table, through the real way of sending: what it is about decides who else
//! waits.

use messenger::clock::Clock;
use messenger::decision::{Decision, FollowUp};
use messenger::message::{Message, UtilityTemplate};
use serde_json::{Value, json};
use simulator::meta::{Fault, Outcome};
use simulator::platform::{Platform, Replies};
use simulator::samples::BEGINNING;

use crate::support::*;

const OTHER_PAGE: &str = "100000000000077";

const HELLO: Replies = |_, _, _| Ok(Decision::nothing().say(Message::text("hello")?));

/// Who waits because of an error, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    /// Nobody: the message has ended.
    Nobody,
    /// The message, until the next try.
    TheMessage,
    /// The message, and whatever else needs what is missing, for an hour.
    TheNeed,
    /// The Page, for a while.
    ThePage,
    /// The Page, until the secret changes.
    ThePageUntilTheSecretChanges,
}

/// Status, code and subcode (none if 0); who waits; how the message stands; what is counted.
type Row = (u16, i64, i64, Holds, &'static str, &'static [&'static str]);

const PAUSED: &[&str] = &["PagePaused"];
const ALARM: &[&str] = &["PagePaused", "AttentionNeeded"];
const LACKING: &[&str] = &["PermissionMissing", "AttentionNeeded"];

const ROWS: &[Row] = &[
    (500, 1, 1_357_046, Holds::TheMessage, "open unclear", &["Unclear"]),
    (500, 1, 0, Holds::TheMessage, "open unclear", &["Unclear"]),
    (400, 1, 99, Holds::TheNeed, "open permission_missing", LACKING),
    (500, 2, 0, Holds::TheMessage, "open temporary", &[]),
    (400, 1200, 2_018_024, Holds::TheMessage, "open temporary", &[]),
    (400, 4, 0, Holds::ThePage, "open throttled", PAUSED),
    (400, 17, 0, Holds::ThePage, "open throttled", PAUSED),
    (400, 32, 0, Holds::ThePage, "open throttled", PAUSED),
    (400, 341, 0, Holds::ThePage, "open throttled", PAUSED),
    (400, 613, 0, Holds::ThePage, "open throttled", PAUSED),
    (400, 80_001, 0, Holds::ThePage, "open throttled", PAUSED),
    (400, 80_002, 0, Holds::ThePage, "open throttled", PAUSED),
    (400, 80_006, 0, Holds::ThePage, "open throttled", PAUSED),
    (400, 613, 2_534_040, Holds::ThePage, "open throttled", PAUSED),
    (429, 5_000, 0, Holds::ThePage, "open throttled", PAUSED),
    (400, 613, 1_893_016, Holds::Nobody, "failed person_limit", &["Failed"]),
    (400, 4, 2_018_354, Holds::Nobody, "failed person_limit", &["Failed"]),
    (400, 9, 2_018_352, Holds::Nobody, "failed person_limit", &["Failed"]),
    (
        400,
        613,
        2_018_338,
        Holds::Nobody,
        "failed abuse_warning",
        &["AbuseWarning", "AttentionNeeded"],
    ),
    (400, 10, 2_018_300, Holds::TheMessage, "open thread_taken", &["ThreadTaken"]),
    (400, 10, 2_018_321, Holds::TheMessage, "open thread_taken", &["ThreadTaken"]),
    (400, 2_018_300, 0, Holds::TheMessage, "open thread_taken", &["ThreadTaken"]),
    (400, 100, 2_534_037, Holds::TheMessage, "open thread_taken", &["ThreadTaken"]),
    (400, 10, 2_018_108, Holds::Nobody, "failed person_unreachable", &["Failed"]),
    (400, 551, 0, Holds::Nobody, "failed person_unreachable", &["Failed"]),
    (400, 551, 1_545_041, Holds::Nobody, "failed person_unreachable", &["Failed"]),
    (400, 200, 1_545_041, Holds::Nobody, "failed person_unreachable", &["Failed"]),
    (400, 100, 2_018_001, Holds::Nobody, "failed person_unreachable", &["Failed"]),
    (400, 100, 2_534_014, Holds::Nobody, "failed person_unreachable", &["Failed"]),
    (400, 10, 1_893_015, Holds::Nobody, "failed notifications_stopped", &["Failed"]),
    (400, 10, 1_893_063, Holds::ThePage, "open page_restricted", ALARM),
    (400, 368, 0, Holds::ThePage, "open policy_block", ALARM),
    (400, 2022, 0, Holds::ThePage, "open policy_block", ALARM),
    (400, 100, 2_534_029, Holds::ThePage, "open policy_block", ALARM),
    (400, 3, 0, Holds::TheNeed, "open permission_missing", LACKING),
    (403, 10, 0, Holds::TheNeed, "open permission_missing", LACKING),
    (403, 200, 0, Holds::TheNeed, "open permission_missing", LACKING),
    (403, 230, 0, Holds::TheNeed, "open permission_missing", LACKING),
    (403, 299, 0, Holds::TheNeed, "open permission_missing", LACKING),
    (403, 200, 2_534_041, Holds::TheNeed, "open permission_missing", LACKING),
    (400, 190, 463, Holds::ThePageUntilTheSecretChanges, "open token_dead", ALARM),
    (400, 190, 460, Holds::ThePageUntilTheSecretChanges, "open token_dead", ALARM),
    (400, 102, 0, Holds::ThePageUntilTheSecretChanges, "open token_dead", ALARM),
    (400, 104, 0, Holds::ThePageUntilTheSecretChanges, "open token_dead", ALARM),
    (400, 100, 0, Holds::Nobody, "failed invalid", &["Failed"]),
    (400, 100, 1_893_061, Holds::Nobody, "failed invalid", &["Failed"]),
    (400, 100, 2_018_008, Holds::TheMessage, "open media_unavailable", &[]),
    (400, 100, 2_018_294, Holds::TheMessage, "open media_unavailable", &[]),
    (400, 100, 2_018_047, Holds::TheMessage, "open media_unavailable", &[]),
    (400, 100, 2_534_025, Holds::Nobody, "failed reply_impossible", &["Failed"]),
    (400, 10_900, 0, Holds::Nobody, "failed reply_impossible", &["Failed"]),
    (400, 10_903, 0, Holds::Nobody, "failed reply_impossible", &["Failed"]),
    // Codes that nobody knows.
    (400, 5_000, 0, Holds::TheMessage, "open temporary", &[]),
    (404, 2_500, 0, Holds::TheMessage, "open temporary", &[]),
    (500, 5_000, 0, Holds::TheMessage, "open unclear", &["Unclear"]),
];

fn fault(http: u16, code: i64, subcode: i64) -> Fault {
    Fault::Error { http, code, subcode: Some(subcode).filter(|subcode| *subcode != 0) }
}

async fn start(replies: Replies) -> std::sync::Arc<Platform> {
    platform_with(|options| {
        options.pages.push(OTHER_PAGE.to_owned());
        options.replies = replies;
    })
    .await
}

async fn say(platform: &Platform, page_id: &str, psid: &str) {
    platform.clock.forward(SECOND);
    let body = platform.meta.person_says(page_id, psid, "hi");
    assert_eq!(platform.deliver(&body).await, 200);
}

fn reached(platform: &Platform, page_id: &str, psid: &str) -> usize {
    platform.meta.delivered(page_id, psid).len()
}

#[tokio::test]
async fn an_error_holds_back_what_it_is_about_and_nobody_else() {
    for (http, code, subcode, holds, stands, metrics) in ROWS {
        let row = format!("{http} {code}/{subcode}");
        let platform = start(HELLO).await;
        platform.meta.fail_next(fault(*http, *code, *subcode));
        say(&platform, PAGE, PSID).await;
        assert_eq!(ends(&platform, PSID).await, [*stands], "{row}");
        for metric in *metrics {
            assert!(counted(&platform, metric) >= 1, "{row}: {metric}");
        }
        assert_eq!(
            counted(&platform, "AttentionNeeded") >= 1,
            metrics.contains(&"AttentionNeeded"),
            "{row}"
        );
        assert_eq!(counted(&platform, "PagePaused") >= 1, metrics.contains(&"PagePaused"), "{row}");

        let is_paused = matches!(holds, Holds::ThePage | Holds::ThePageUntilTheSecretChanges);
        say(&platform, PAGE, OTHER_PSID).await;
        assert_eq!(
            reached(&platform, PAGE, OTHER_PSID),
            usize::from(!is_paused),
            "another person, {row}"
        );
        say(&platform, OTHER_PAGE, PSID).await;
        assert_eq!(reached(&platform, OTHER_PAGE, PSID), 1, "another Page, {row}");
        say(&platform, PAGE, PSID).await;
        let next = ends(&platform, PSID).await;
        let leaves_at_once = matches!(holds, Holds::Nobody | Holds::TheNeed);
        if leaves_at_once {
            assert_eq!(next[1], "sent", "the same person's next message, {row}");
        }

        platform.advance(61 * MINUTE).await;
        if *holds == Holds::ThePageUntilTheSecretChanges {
            assert_eq!(reached(&platform, PAGE, PSID), 0, "{row}");
            platform.put_secret(|secret| secret["changed"] = true.into());
            platform.advance(7 * MINUTE).await;
        }
        let all = usize::from(*holds != Holds::Nobody) + 1;
        assert_eq!(reached(&platform, PAGE, PSID), all, "nothing is lost or doubled, {row}");
        assert_eq!(reached(&platform, PAGE, OTHER_PSID), 1, "{row}");
        assert_no_leftovers(&platform, PSID).await;
    }
}

#[tokio::test]
async fn an_unknown_code_is_tried_until_the_window_ends() {
    let platform = start(HELLO).await;
    platform.meta.set_fault(Some(fault(400, 36_103, 0)));
    say(&platform, PAGE, PSID).await;
    platform.advance(20 * HOUR).await;
    assert_eq!(ends(&platform, PSID).await, ["open temporary"]);
    platform.meta.set_fault(None);
    platform.advance(6 * MINUTE).await;
    assert_eq!(ends(&platform, PSID).await, ["sent"]);
}

#[tokio::test]
async fn a_limit_of_another_object_or_use_pauses_nobody() {
    for (object, kind, pauses) in [
        ("999", "messenger", 0),
        (PAGE, "pages", 0),
        (PAGE, "instagram", 0),
        (PAGE, "messenger", 1),
    ] {
        let platform = start(HELLO).await;
        platform.meta.report_limit(object, kind, 30);
        say(&platform, PAGE, PSID).await;
        say(&platform, PAGE, OTHER_PSID).await;
        assert_eq!(counted(&platform, "PagePaused"), pauses, "{object} {kind}");
        assert_eq!(
            reached(&platform, PAGE, OTHER_PSID),
            usize::from(pauses == 0),
            "{object} {kind}"
        );
    }
}

#[tokio::test]
async fn a_missing_permission_is_tried_hourly_and_when_the_secret_changes() {
    let platform = start(HELLO).await;
    platform.meta.set_fault(Some(fault(403, 200, 0)));
    say(&platform, PAGE, PSID).await;
    platform.advance(5 * HOUR + 10 * MINUTE).await;
    let times: Vec<_> = requested(&platform, PSID).iter().map(|request| request.at).collect();
    assert_eq!(times.len(), 6, "hourly");
    platform.meta.set_fault(None);
    platform.put_secret(|secret| secret["changed"] = true.into());
    platform.advance(7 * MINUTE).await;
    assert_eq!(ends(&platform, PSID).await, ["sent"]);
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn a_permission_that_never_comes_is_final_at_the_window_s_end() {
    let platform = start(HELLO).await;
    platform.meta.set_fault(Some(fault(403, 10, 0)));
    say(&platform, PAGE, PSID).await;
    platform.advance(25 * HOUR).await;
    assert_eq!(ends(&platform, PSID).await, ["failed permission_missing"]);
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn error_2_means_the_person_only_once_others_are_reached_in_between() {
    let platform = start(HELLO).await;
    platform.meta.set_fault_for(PSID, Some(fault(500, 2, 0)));
    say(&platform, PAGE, PSID).await;
    // Nobody else is written to: it may be Graph.
    platform.advance(2 * HOUR).await;
    assert_eq!(ends(&platform, PSID).await, ["open temporary"]);
    assert!(requested(&platform, PSID).len() > 10);
    // The first of the five was counted then.
    for _ in 0..4 {
        assert_eq!(ends(&platform, PSID).await, ["open temporary"]);
        say(&platform, PAGE, OTHER_PSID).await;
        platform.advance(6 * MINUTE).await;
    }
    assert_eq!(ends(&platform, PSID).await, ["failed person_unreachable"]);
    assert_no_leftovers(&platform, PSID).await;
}

/// What the API says about the windows.
async fn windows(platform: &Platform) -> (bool, bool) {
    let path = format!("/people/{PSID}?page_id={PAGE}");
    let person = crate::api::get(platform, &path).await;
    (person["window_until"].is_string(), person["human_until"].is_string())
}

#[tokio::test]
async fn a_window_that_meta_holds_closed_is_closed_in_the_record() {
    for subcode in [2_018_278, 2_018_065, 2_534_022] {
        let platform = start(HELLO).await;
        platform.meta.fail_next(fault(400, 10, subcode));
        say(&platform, PAGE, PSID).await;
        assert_eq!(ends(&platform, PSID).await, ["failed outside_window"]);
        assert_eq!(windows(&platform).await, (false, true), "an agent may still answer");
        let update = json!({"page_id": PAGE, "psid": PSID, "message": "news", "purpose": "update"});
        let stored = platform.invoke_follow_ups(update).await.unwrap();
        assert!(stored["forecast"]["reason"].as_str().unwrap().starts_with("window_closed"));

        say(&platform, PAGE, PSID).await;
        assert_eq!(windows(&platform).await, (true, true), "the next message opens it");
        assert_eq!(ends(&platform, PSID).await.last().unwrap(), "sent");
    }
}

#[tokio::test]
async fn a_refusal_of_an_open_window_says_which_time_stood_in_for_that_of_the_message() {
    for (timestamp, time, says) in [
        (json!(BEGINNING.millis()), json!(BEGINNING.millis()), None),
        (Value::Null, json!(BEGINNING.millis()), Some("the time of its entry")),
        (json!(0), Value::Null, Some("that of its receipt")),
    ] {
        let platform = start(HELLO).await;
        platform.meta.fail_next(fault(400, 10, 2_018_278));
        let message = json!({"sender": {"id": PSID}, "recipient": {"id": PAGE},
            "timestamp": timestamp, "message": {"mid": "m_1", "text": "hi"}});
        let entry = json!({"id": PAGE, "time": time, "messaging": [message]});
        let body = json!({"object": "page", "entry": [entry]}).to_string();
        platform.deliver(body.as_bytes()).await;
        let reason = entries(&platform, PSID).await[0]["reason"].as_str().unwrap().to_owned();
        assert!(reason.starts_with("outside_window: Meta's error 10/2018278"), "{reason}");
        let says =
            says.map(|it| format!("; Meta gave the last message no usable time, {it} was taken"));
        assert_eq!(reason.find("; ").map(|at| &reason[at..]), says.as_deref());
        let path = format!("/people/{PSID}?page_id={PAGE}");
        let person = crate::api::get(&platform, &path).await;
        let source = if says.is_none() {
            "event"
        } else if time.is_null() {
            "receipt"
        } else {
            "entry"
        };
        assert_eq!(person["last_message_source"], source);
    }
}

#[tokio::test]
async fn a_refused_human_agent_tag_closes_the_seven_days_too() {
    let platform = start(|_, _, _| Ok(Decision::nothing())).await;
    say(&platform, PAGE, PSID).await;
    platform.advance(2 * DAY).await;
    platform.meta.fail_next(fault(400, 10, 2_018_278));
    let request = || json!({"page_id": PAGE, "psid": PSID, "message": "It is me", "purpose": "human", "author": "front-desk"});
    platform.invoke_follow_ups(request()).await.unwrap();
    platform.advance(2 * MINUTE).await;
    assert_eq!(ends(&platform, PSID).await, ["failed outside_window"]);
    assert_eq!(windows(&platform).await, (false, false));
    let stored = platform.invoke_follow_ups(request()).await.unwrap();
    assert!(stored["forecast"]["reason"].as_str().unwrap().starts_with("seven_days_passed"));
    say(&platform, PAGE, PSID).await;
    assert_eq!(windows(&platform).await, (true, true));
}

#[tokio::test]
async fn the_closing_does_not_undo_a_newer_message() {
    let platform = start(HELLO).await;
    platform.meta.fail_next(fault(400, 10, 2_018_278));
    let newer = platform.meta.person_says(PAGE, PSID, "and this");
    platform.clock.forward(SECOND);
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
    platform.deliver(&newer).await;
    assert!(windows(&platform).await.1);
    say(&platform, PAGE, PSID).await;
    assert_eq!(windows(&platform).await, (true, true));
}

#[tokio::test]
async fn a_window_that_meta_holds_closed_leaves_the_fallback_template() {
    let platform = start(|_, _, _| {
        let template = UtilityTemplate::new("still_free", "en");
        let later = FollowUp::after(HOUR, Message::text("later")?).or_template(template);
        Ok(Decision::nothing().later(later))
    })
    .await;
    say(&platform, PAGE, PSID).await;
    platform.meta.fail_next(fault(400, 10, 2_018_278));
    platform.advance(HOUR + 3 * MINUTE).await;
    assert_eq!(delivered(&platform, PSID), ["UTILITY …"]);
    assert_no_leftovers(&platform, PSID).await;
}

async fn reply_in_private(platform: &Platform, comment: &str) -> Value {
    let request = json!({"page_id": PAGE, "comment_id": comment, "message": "thank you", "purpose": "private_reply"});
    platform.invoke_follow_ups(request).await.unwrap()
}

#[tokio::test]
async fn a_throttled_private_reply_pauses_nobody() {
    let platform = start(HELLO).await;
    let now = platform.clock.now().millis();
    platform.meta.add_comment(PAGE, "10_5", OTHER_PSID, now);
    platform.meta.fail_next(Fault::Throttled { regain_minutes: 30 });
    reply_in_private(&platform, "10_5").await;
    platform.advance(2 * MINUTE).await;
    assert_eq!(counted(&platform, "PagePaused"), 0);
    say(&platform, PAGE, PSID).await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE hello"]);
    assert_eq!(reached(&platform, PAGE, OTHER_PSID), 0);
    platform.advance(32 * MINUTE).await;
    assert_eq!(delivered(&platform, OTHER_PSID), ["RESPONSE thank you"]);
}

#[tokio::test]
async fn private_replies_are_spaced_and_hold_up_nothing_else() {
    let platform = start(HELLO).await;
    let now = platform.clock.now().millis();
    for number in 0..30 {
        let comment = format!("10_{number}");
        platform.meta.add_comment(PAGE, &comment, OTHER_PSID, now);
        reply_in_private(&platform, &comment).await;
    }
    let follow_up = json!({"page_id": PAGE, "psid": PSID, "message": "news", "purpose": "update"});
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
    platform.invoke_follow_ups(follow_up).await.unwrap();
    platform.advance(5 * MINUTE).await;
    let requests = platform.meta.requests();
    let replies = requests.iter().filter(|request| request.recipient["comment_id"].is_string());
    let times: Vec<_> = replies.map(|request| request.at).collect();
    assert_eq!(times.len(), 30);
    for from in &times {
        let in_a_minute = times.iter().filter(|at| (*from..*from + 60_000).contains(*at)).count();
        assert!(in_a_minute <= 25, "{in_a_minute} in a minute");
    }
    assert!(times[29] - times[0] >= 100_000, "{times:?}");
    assert!(delivered(&platform, PSID).contains(&"UPDATE news".to_owned()));
    assert!(requests.iter().all(|r| matches!(r.outcome, Outcome::Delivered { .. })));
}
