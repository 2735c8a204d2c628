//! Delivered and read: noted only if it is asked for, and what Meta reports about Pages and templates.

use messenger::clock::Clock;
use serde_json::{Value, json};
use simulator::platform::Platform;

use crate::acts::{ON_INSTAGRAM, ON_PAGE};
use crate::sample_events::with_instagram;
use crate::support::*;

async fn platform_that(tracks: bool) -> std::sync::Arc<Platform> {
    let platform = platform_with(|options| {
        with_instagram(options);
        options.replies = |_, _, _| Ok(messenger::decision::Decision::nothing());
        let switch = if tracks { "on" } else { "off" };
        options.variables.insert("TRACK_RECEIPTS".to_owned(), switch.to_owned());
    })
    .await;
    for ends in [ON_PAGE, ON_INSTAGRAM] {
        platform.deliver(&platform.meta.person_says(ends.page, ends.psid, "hello")).await;
    }
    platform.clock.forward(HOUR);
    platform
}

async fn shown(platform: &Platform, page: &str, psid: &str) -> (Value, Value) {
    let mut event = simulator::samples::read("api/read-person").unwrap();
    let path = format!("/people/{psid}");
    event["rawPath"] = path.as_str().into();
    event["requestContext"]["http"]["path"] = path.into();
    event["rawQueryString"] = format!("page_id={page}").into();
    event["queryStringParameters"] = json!({"page_id": page});
    let request = lambda_http::request::from_str(&event.to_string()).unwrap();
    let answer = platform.invoke_api(&request).await;
    let body: Value = serde_json::from_slice(answer.body().as_ref()).unwrap();
    assert_eq!(body["psid"], psid, "{body}");
    (body["delivered_until"].clone(), body["read_until"].clone())
}

#[tokio::test]
async fn watermarks_are_noted_and_shown_if_receipts_are_tracked_and_never_go_back() {
    for (tracks, expected) in [(true, true), (false, false)] {
        let platform = platform_that(tracks).await;
        let now = platform.clock.now();
        let (late, early) = (now.millis(), now.millis() - 1000);
        platform.aws.take_calls();
        for watermark in [late, early] {
            for (ends, item) in [
                (ON_PAGE, json!({"delivery": {"mids": ["m"], "watermark": watermark}})),
                (ON_PAGE, json!({"read": {"watermark": watermark}})),
                (ON_INSTAGRAM, json!({"read": {"mid": "m"}, "timestamp": watermark})),
            ] {
                let place = json!({"messaging": [ends.by_person(&item)]});
                platform.deliver(&ends.entry(&place)).await;
            }
        }
        let writes: f64 = platform.aws.take_calls().iter().map(|call| call.writes).sum();
        let until = if expected { json!(now.to_string()) } else { Value::Null };
        assert_eq!(shown(&platform, PAGE, PSID).await, (until.clone(), until.clone()));
        let on_instagram = shown(&platform, ON_INSTAGRAM.page, ON_INSTAGRAM.psid).await;
        assert_eq!(on_instagram, (Value::Null, until));
        // What does not change anything is asked for all the same.
        assert!(if expected { writes <= 6.0 } else { writes == 0.0 }, "{writes}");
    }
}

#[tokio::test]
async fn a_receipt_begins_no_conversation_and_the_pages_own_reading_is_none_of_the_persons() {
    let platform = platform_that(true).await;
    let read = json!({"read": {"watermark": platform.clock.now().millis()}});
    let stranger =
        json!({"sender": {"id": OTHER_PSID}, "recipient": {"id": PAGE}, "read": read["read"]});
    platform.deliver(&ON_PAGE.entry(&json!({"messaging": [stranger]}))).await;
    assert!(conversation(&platform, OTHER_PSID).await.is_empty());
    platform.deliver(&ON_PAGE.entry(&json!({"messaging": [ON_PAGE.by_page(&read)]}))).await;
    assert_eq!(shown(&platform, PAGE, PSID).await, (Value::Null, Value::Null));
}

#[tokio::test]
async fn a_policy_enforcement_and_the_end_of_a_template_are_counted_for_the_alarms() {
    let policy = |action: &str| {
        json!({"messaging": [{"recipient": {"id": PAGE}, "timestamp": 1,
            "policy_enforcement": {"action": action, "reason": "r"}}]})
    };
    let template = |field: &str, event: &str| {
        json!({"changes": [{"field": field, "value": {"event": event,
            "message_template_id": 5, "message_template_name": "n",
            "message_template_language": "en_US", "reason": "NONE"}}]})
    };
    let wrapped = json!({"changes": [{"field": "messaging_policy_enforcement",
        "value": policy("block")["messaging"][0]}]});
    let hyphened = json!({"messaging": [{"recipient": {"id": PAGE}, "timestamp": 1,
        "policy-enforcement": {"action": "block", "reason": "r"}}]});
    for (place, policies, templates) in [
        (hyphened, 1, 0),
        (policy("warning"), 1, 0),
        (policy("block"), 1, 0),
        (policy("unblock"), 0, 0),
        (wrapped, 1, 0),
        (template("message_template_status_update", "REJECTED"), 0, 1),
        (template("messenger_template_status_update", "PAUSED"), 0, 1),
        (template("message_template_status_update", "APPROVED"), 0, 0),
    ] {
        let platform = platform_that(false).await;
        assert_eq!(platform.deliver(&ON_PAGE.entry(&place)).await, 200);
        let found = (counted(&platform, "PolicyEnforced"), counted(&platform, "TemplateUnusable"));
        assert_eq!(found, (policies, templates), "{place}");
        assert_eq!(counted(&platform, "UnknownEvents"), 0, "{place}");
        let rang = ["PolicyEnforcedAlarm", "TemplateUnusableAlarm"]
            .map(|alarm| u64::from(crate::alarms::has_rung(&platform, alarm)));
        assert_eq!(rang, [policies, templates], "{place}");
    }
}
