//! What Meta does to a message, and what becomes of it.

use messenger::decision::Decision;
use messenger::message::Message;
use serde_json::json;
use simulator::meta::Fault;
use simulator::platform::{Platform, Replies, page_token};

use crate::api::post_to;
use crate::support::*;

const HELLO: Replies = |_, _, _| Ok(Decision::nothing().say(Message::text("hello")?));

fn error(code: i64, subcode: i64) -> Fault {
    Fault::Error { http: 400, code, subcode: Some(subcode).filter(|subcode| *subcode != 0) }
}

/// How many messages were requested for the person, sender actions left out.
fn messages(platform: &Platform) -> usize {
    requested(platform, PSID).iter().filter(|request| request.metadata.is_some()).count()
}

async fn after(fault: Fault) -> std::sync::Arc<Platform> {
    let platform = platform_with(|options| options.replies = HELLO).await;
    platform.meta.fail_next(fault);
    let body = platform.meta.person_says(PAGE, PSID, "hi");
    assert_eq!(platform.deliver(&body).await, 200);
    platform
}

#[tokio::test]
async fn a_temporary_error_is_tried_again() {
    for fault in [error(2, 0), error(1200, 2_018_024)] {
        let platform = after(fault).await;
        assert_eq!(delivered(&platform, PSID), Vec::<String>::new());
        platform.advance(2 * MINUTE).await;
        assert_eq!(delivered(&platform, PSID), ["RESPONSE hello"]);
        assert_no_leftovers(&platform, PSID).await;
    }
}

#[tokio::test]
async fn an_unclear_message_is_sent_once_more_after_the_grace_time_at_most() {
    for fault in [Fault::LostRequest, Fault::Http5xx, error(1, 0)] {
        let platform = after(fault.clone()).await;
        assert_eq!(entries(&platform, PSID).await[0]["steps"][0]["state"], "unconfirmed");
        platform.advance(59 * SECOND).await;
        assert_eq!(requested(&platform, PSID).len(), 1, "not before the grace time: {fault:?}");
        platform.advance(2 * MINUTE).await;
        assert_eq!(messages(&platform), 2);
        assert_eq!(delivered(&platform, PSID), ["RESPONSE hello"]);
        assert_no_leftovers(&platform, PSID).await;
    }
}

/// The typing indicator that shows whether Graph answers is itself refused outside the standard window.
#[tokio::test]
async fn whether_graph_answers_is_asked_without_breaking_the_window() {
    let platform = platform_with(|options| options.replies = HELLO).await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
    platform.advance(2 * DAY).await;
    platform.meta.fail_next(Fault::LostRequest);
    let wanted = json!({"page_id": PAGE, "psid": PSID, "message": "Still there?",
        "purpose": "human", "author": "front-desk"});
    assert_eq!(post_to(&platform, "/messages", &wanted).await.0, 202);
    platform.meta.take_calls();
    platform.advance(5 * MINUTE).await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE hello", "HUMAN_AGENT Still there?"]);
    assert!(requested(&platform, PSID).iter().all(|request| request.sender_action.is_none()));
    assert_eq!(platform.meta.take_calls(), [format!("GET /{PAGE}")]);
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn two_separate_faults_at_one_message_leave_its_outcome_unknown() {
    let platform = platform_with(|options| options.replies = HELLO).await;
    platform.meta.fail_next(Fault::LostRequest);
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
    // Graph is well again for the Page.
    platform.clock.forward(SECOND);
    platform.deliver(&platform.meta.person_says(PAGE, OTHER_PSID, "hi")).await;
    platform.meta.fail_next(Fault::LostRequest);
    platform.advance(3 * MINUTE).await;
    assert_eq!(messages(&platform), 2);
    assert_eq!(ends(&platform, PSID).await, ["failed outcome_unknown"]);
    platform.advance(HOUR).await;
    assert_eq!(messages(&platform), 2);
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn a_message_that_was_delivered_under_an_error_is_not_sent_again() {
    for fault in [Fault::UnknownDelivered, Fault::LostAnswer] {
        let platform = after(fault).await;
        platform.advance(HOUR).await;
        assert_eq!(delivered(&platform, PSID), ["RESPONSE hello"]);
        assert_eq!(ends(&platform, PSID).await, ["sent"]);
    }
}

#[tokio::test]
async fn final_errors_end_the_entry_with_metas_code() {
    for (fault, reason) in [
        (error(10, 2_018_278), "outside_window: Meta's error 10/2018278"),
        (error(551, 0), "person_unreachable: Meta's error 551"),
        (error(100, 2_018_001), "person_unreachable: Meta's error 100/2018001"),
        (error(100, 0), "invalid: Meta's error 100"),
    ] {
        let platform = after(fault).await;
        platform.advance(HOUR).await;
        assert_eq!(requested(&platform, PSID).len(), 1);
        let entry = entries(&platform, PSID).await.remove(0);
        assert_eq!(entry["status"], "failed");
        assert!(entry["reason"].as_str().unwrap().starts_with(reason), "{entry:?}");
        assert_no_leftovers(&platform, PSID).await;
    }
}

#[tokio::test]
async fn what_a_server_in_front_of_graph_answers_ends_nothing() {
    for http in [400, 401, 403, 404, 413, 421, 429, 502] {
        let platform = after(Fault::Edge { http }).await;
        platform.advance(10 * MINUTE).await;
        assert_eq!(delivered(&platform, PSID), ["RESPONSE hello"], "{http}");
        assert_no_leftovers(&platform, PSID).await;
    }
}

#[tokio::test]
async fn metas_word_against_our_record_of_the_window_is_noted() {
    let platform = after(error(10, 2_018_278)).await;
    assert_eq!(counted(&platform, "WindowRecordWrong"), 1);
}

#[tokio::test]
async fn media_that_cannot_be_fetched_is_tried_once_more() {
    let platform = platform_with(|options| options.replies = HELLO).await;
    platform.meta.set_fault(Some(error(100, 2_018_008)));
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
    platform.advance(HOUR).await;
    assert_eq!(messages(&platform), 2);
    assert_eq!(ends(&platform, PSID).await, ["failed media_unavailable"]);
}

#[tokio::test]
async fn throttling_pauses_the_page_for_as_long_as_meta_says() {
    let platform = after(Fault::Throttled { regain_minutes: 10 }).await;
    platform.deliver(&platform.meta.person_says(PAGE, OTHER_PSID, "hi")).await;
    platform.advance(9 * MINUTE).await;
    assert_eq!(platform.meta.requests().len(), 1, "nothing else reaches Meta");
    platform.advance(3 * MINUTE).await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE hello"]);
    assert_eq!(delivered(&platform, OTHER_PSID), ["RESPONSE hello"]);
    assert_no_leftovers(&platform, PSID).await;
    assert_no_leftovers(&platform, OTHER_PSID).await;
}

#[tokio::test]
async fn a_restricted_page_is_paused_longer_each_time() {
    let platform = platform_with(|options| options.replies = HELLO).await;
    platform.meta.set_fault(Some(error(10, 1_893_063)));
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
    platform.advance(12 * HOUR).await;
    let times: Vec<_> = requested(&platform, PSID).iter().map(|request| request.at).collect();
    let minutes: Vec<_> = times.windows(2).map(|pair| (pair[1] - pair[0]) / 60_000).collect();
    assert_eq!(minutes, [30, 60, 120, 240, 240]);
    platform.meta.set_fault(None);
    platform.advance(5 * HOUR).await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE hello"]);
}

#[tokio::test]
async fn a_dead_token_pauses_the_page_until_the_secret_has_a_new_version() {
    let platform = platform_with(|options| options.replies = HELLO).await;
    platform.meta.kill_token(PAGE);
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
    platform.advance(6 * HOUR).await;
    assert_eq!(requested(&platform, PSID).len(), 1);
    platform.meta.set_token(PAGE, "the-new-token");
    platform.put_secret(|secret| secret["pages"][PAGE]["access_token"] = "the-new-token".into());
    platform.advance(3 * MINUTE).await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE hello"]);
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn a_rotated_token_is_used_at_once() {
    let platform = platform_with(|options| options.replies = HELLO).await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
    platform.meta.set_token(PAGE, "the-new-token");
    platform.put_secret(|secret| secret["pages"][PAGE]["access_token"] = "the-new-token".into());
    platform.clock.forward(SECOND);
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
    assert_eq!(delivered(&platform, PSID), ["RESPONSE hello", "RESPONSE hello"]);
    assert_eq!(counted(&platform, "PagePaused"), 0);
}

#[tokio::test]
async fn an_outage_of_hours_loses_nothing_and_the_window_is_decided_when_it_ends() {
    let platform = platform_with(|options| options.replies = HELLO).await;
    platform.meta.set_fault(Some(error(2, 0)));
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
    platform.advance(5 * HOUR).await;
    platform.deliver(&platform.meta.person_says(PAGE, OTHER_PSID, "hi")).await;
    platform.advance(20 * HOUR).await;
    platform.meta.set_fault(None);
    // The longest pause between two tries, and the minute until the next sweep.
    platform.advance(HOUR + MINUTE).await;
    assert_eq!(ends(&platform, PSID).await, ["refused window_closed"]);
    assert_eq!(ends(&platform, OTHER_PSID).await, ["sent"]);
}

#[tokio::test]
async fn an_outage_of_any_kind_loses_and_doubles_nothing() {
    for fault in [Fault::Http5xx, Fault::LostRequest, error(1, 0), error(2, 0)] {
        let platform = platform_with(|options| options.replies = HELLO).await;
        platform.meta.set_fault(Some(fault.clone()));
        platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
        platform.advance(HOUR).await;
        platform.deliver(&platform.meta.person_says(PAGE, OTHER_PSID, "hi")).await;
        platform.advance(2 * HOUR).await;
        platform.meta.set_fault(None);
        platform.advance(6 * MINUTE).await;
        for psid in [PSID, OTHER_PSID] {
            assert_eq!(delivered(&platform, psid), ["RESPONSE hello"], "{fault:?}");
            assert_no_leftovers(&platform, psid).await;
        }
    }
}

#[tokio::test]
async fn who_writes_after_an_outage_is_answered_at_once() {
    for fault in [Fault::Http5xx, Fault::LostRequest, error(1, 0), error(2, 0)] {
        let platform = platform_with(|options| options.replies = HELLO).await;
        platform.meta.set_fault(Some(fault.clone()));
        platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
        platform.advance(2 * HOUR + 30 * SECOND).await;
        platform.meta.set_fault(None);
        platform.deliver(&platform.meta.person_says(PAGE, PSID, "are you there?")).await;
        let answers = delivered(&platform, PSID);
        assert_eq!(answers, ["RESPONSE hello", "RESPONSE hello"], "{fault:?}");
    }
}

#[tokio::test]
async fn nothing_that_is_written_down_shows_a_token() {
    let platform = after(error(100, 0)).await;
    let state = platform.state().await.unwrap();
    let written = format!("{:?}{:?}", state["outbox"], platform.metrics.lock().unwrap());
    assert!(
        !written.contains(&page_token(PAGE)) && !written.contains(simulator::samples::APP_SECRET)
    );
    assert!(!format!("{:?}", platform.metrics.lock().unwrap()).contains(PSID));
}
