//! The alarms: what lets each ring, as the template defines it.

mod aws;
mod evaluation;

use backend::telemetry::NAMESPACE;
use messenger::clock::Clock;
use messenger::decision::Decision;
use messenger::message::Message;
use serde_json::{Value, json};
use simulator::meta::Fault;
use simulator::platform::Platform;
use simulator::samples;

use crate::support::*;
use crate::template::{number, value};
use evaluation::{NO_EVENTS_HOURS, all, in_a_row, period, rings};

/// What the functions counted of an alarm's metric: when, ms since the epoch, and how much.
fn counts(platform: &Platform, alarm: &str) -> Vec<(i64, u64)> {
    let metric = value(alarm, "MetricName").unwrap();
    let lines = platform.metrics.lock().unwrap();
    let of_metric = lines.iter().filter_map(|line| Some((line, line[metric].as_u64()?)));
    of_metric.map(|(line, count)| (line["_aws"]["Timestamp"].as_i64().unwrap(), count)).collect()
}

/// Whether an alarm on one of the project's own metrics has rung on this platform.
pub(crate) fn has_rung(platform: &Platform, alarm: &str) -> bool {
    assert_eq!(value(alarm, "Namespace"), Some(NAMESPACE), "{alarm}");
    let began = samples::BEGINNING.millis();
    let until = platform.clock.now().millis() + 2 * period(alarm);
    rings(alarm, &counts(platform, alarm), began..until).is_some()
}

/// Whether an alarm on a metric of AWS rings if it is seen with this value now, for as long as it takes.
fn would_ring(platform: &Platform, alarm: &str, value: u64) -> bool {
    let now = platform.clock.now().millis();
    let steps = (0..).map(|number| now + number * period(alarm));
    let until = now + (in_a_row(alarm) + 2) * period(alarm);
    let samples: Vec<_> = steps.take_while(|at| *at < until).map(|at| (at, value)).collect();
    rings(alarm, &samples, now..until).is_some()
}

async fn answering() -> std::sync::Arc<Platform> {
    platform_with(|options| {
        options.replies = |_, _, _| Ok(Decision::nothing().say(Message::text("hello")?));
    })
    .await
}

#[tokio::test]
async fn an_app_secret_that_is_not_that_of_the_app_rings() {
    let platform = answering().await;
    platform.put_secret(|secret| secret["app_secret"] = json!("another"));
    for _ in 0..12 {
        platform.clock.forward(5 * MINUTE);
        let said = platform.meta.person_says(PAGE, PSID, "hi");
        assert_eq!(platform.post(&said).await, 401);
    }
    assert!(has_rung(&platform, "SignaturesRefusedAlarm"));
}

#[tokio::test]
async fn strangers_without_a_signature_ring_nothing() {
    let platform = answering().await;
    for _ in 0..12 {
        platform.clock.forward(5 * MINUTE);
        let request = lambda_http::http::Request::builder()
            .method("POST")
            .uri("/webhook")
            .body(lambda_http::Body::from("{}"))
            .unwrap();
        assert_eq!(platform.invoke_webhook(request).await.status(), 401);
    }
    assert_eq!(counted(&platform, "SignaturesRefused"), 0);
}

#[tokio::test]
async fn events_that_fail_for_half_an_hour_ring_and_one_failure_does_not() {
    for (minutes, expected) in [(1, false), (45, true)] {
        let platform = answering().await;
        platform.gate.refuse_each(|call| call.target.starts_with("DynamoDB"));
        platform.post(&platform.meta.person_says(PAGE, PSID, "hi")).await;
        for _ in 0..minutes {
            platform.settle().await;
            platform.clock.forward(MINUTE);
        }
        platform.gate.spare();
        platform.advance(HOUR).await;
        assert_eq!(delivered(&platform, PSID), ["RESPONSE hello"]);
        assert!(counted(&platform, "EventsFailed") > 0);
        assert_eq!(has_rung(&platform, "EventsFailedAlarm"), expected, "after {minutes} minutes");
    }
}

#[tokio::test]
async fn a_dead_token_and_a_refused_message_ring() {
    for (fault, alarms) in [
        (Fault::of_code(190, None), &["AttentionNeededAlarm", "PagePausedAlarm"][..]),
        (Fault::of_code(100, None), &["FailedAlarm"]),
    ] {
        let platform = answering().await;
        platform.meta.fail_next(fault);
        platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
        for alarm in alarms {
            assert!(has_rung(&platform, alarm), "{alarm}");
        }
    }
}

#[tokio::test]
async fn a_page_that_nobody_writes_to_rings_after_the_hours_that_were_given() {
    let platform = answering().await;
    let began = platform.clock.now().millis();
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
    let until = began + 24 * 60 * 60_000;
    let rang = rings("NoEventsAlarm", &counts(&platform, "NoEventsAlarm"), began..until);
    let hours = NO_EVENTS_HOURS + 1;
    assert_eq!(rang, Some(began + hours * 60 * 60_000), "the first hour had an event");
}

/// Stacks of one account are told apart by the dimension; a Page is one only if that is wished for.
#[tokio::test]
async fn the_stack_is_the_dimension_and_the_page_another_if_it_is_wished() {
    for (by_page, dimensions) in
        [("off", json!([["stack"]])), ("on", json!([["stack"], ["stack", "page"]]))]
    {
        let platform = platform_with(|options| {
            options.variables.insert("STACK_NAME".to_owned(), "prod".to_owned());
            options.variables.insert("METRICS_BY_PAGE".to_owned(), by_page.to_owned());
        })
        .await;
        platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
        let lines = platform.metrics.lock().unwrap().clone();
        let line = lines.iter().find(|line| line["EventsReceived"] == 1).unwrap();
        assert_eq!(line["_aws"]["CloudWatchMetrics"][0]["Dimensions"], dimensions);
        assert_eq!((&line["stack"], &line["page"]), (&json!("prod"), &json!(PAGE)));
        let named = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
        assert!(named.iter().all(|it| line[it["Name"].as_str().unwrap()] != Value::Null));
        assert_eq!(named.len(), 1, "what did not happen is no metric: {named:?}");
    }
}

#[tokio::test]
async fn a_reply_tells_how_long_the_person_waited() {
    let platform = answering().await;
    platform.post(&platform.meta.person_says(PAGE, PSID, "hi")).await;
    platform.clock.forward(7 * SECOND);
    platform.settle().await;
    let lines = platform.metrics.lock().unwrap().clone();
    let times: Vec<_> = lines.iter().filter_map(|line| line.get("ReplyTime")).collect();
    assert_eq!(times, [&json!(7_000)]);
}
