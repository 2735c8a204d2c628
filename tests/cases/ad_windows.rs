//! The windows of ads: tried only if that is wanted, from the first message after a click, until Meta says no.

use messenger::decision::{Decision, FollowUp};
use messenger::message::{Message, UtilityTemplate};
use serde_json::{Value, json};
use simulator::platform::{Platform, Replies};
use simulator::samples::{IGSID, INSTAGRAM};

use crate::sample_events::with_instagram;
use crate::support::*;

const SILENT: Replies = |_, _, _| Ok(Decision::nothing());

/// A platform that tries the windows of ads, or not, with a Meta that grants them, or not.
async fn platform_that(tries: bool, grants: bool, replies: Replies) -> std::sync::Arc<Platform> {
    let platform = platform_with(|options| {
        with_instagram(options);
        options.replies = replies;
        let switch = if tries { "on" } else { "off" };
        options.variables.insert("AD_WINDOWS".to_owned(), switch.to_owned());
    })
    .await;
    platform.meta.set_ad_windows(grants);
    platform
}

fn ad() -> Value {
    json!({"ref": "r", "source": "ADS", "type": "OPEN_THREAD", "ad_id": "9"})
}

async fn does(platform: &Platform, item: Value) {
    let body = platform.meta.person_does(PAGE, PSID, item);
    assert_eq!(platform.deliver(&body).await, 200);
    platform.clock.forward(SECOND);
}

fn said(text: &str, referral: Option<Value>) -> Value {
    let mut message = json!({"mid": format!("m_{text}"), "text": text});
    if let Some(referral) = referral {
        message["referral"] = referral;
    }
    json!({"message": message})
}

async fn asks(platform: &Platform, purpose: &str) {
    let request = json!({"page_id": PAGE, "psid": PSID, "message": "news", "purpose": purpose,
        "author": "front-desk"});
    platform.invoke_follow_ups(request).await.unwrap();
    platform.advance(2 * MINUTE).await;
}

async fn last_end(platform: &Platform) -> String {
    ends(platform, PSID).await.pop().unwrap()
}

async fn window_until(platform: &Platform) -> Value {
    let person = crate::api::get(platform, &format!("/people/{PSID}?page_id={PAGE}")).await;
    person["window_until"].clone()
}

#[tokio::test]
async fn every_way_from_an_ad_to_a_message_opens_a_window_of_seven_days() {
    let lead = json!({"source": "ADS", "type": "LEAD_COMPLETE", "ref": "r"});
    let ways = [
        vec![said("hi", Some(ad()))],
        vec![json!({"postback": {"mid": "p", "payload": "GS", "referral": ad()}})],
        vec![json!({"optin": {"ref": "plugin", "referral": ad()}})],
        vec![json!({"referral": lead})],
        vec![json!({"referral": ad()}), said("hi", None)],
        vec![json!({"referral": ad()}), json!({"postback": {"mid": "p", "payload": "GS"}})],
        vec![said("before", None), json!({"referral": ad()}), said("hi", None)],
    ];
    for way in ways {
        for (tries, grants, ended) in [
            (true, true, "sent"),
            (true, false, "failed outside_window"),
            (false, true, "refused window_closed"),
        ] {
            let platform = platform_that(tries, grants, SILENT).await;
            for item in &way {
                does(&platform, item.clone()).await;
            }
            platform.clock.forward(6 * DAY);
            asks(&platform, "update").await;
            assert_eq!(last_end(&platform).await, ended, "{way:?} {tries} {grants}");
            assert_eq!(requested(&platform, PSID).len(), usize::from(tries), "{way:?} {tries}");
            platform.clock.forward(DAY);
            asks(&platform, "update").await;
            assert_eq!(last_end(&platform).await, "refused window_closed", "{way:?}");
        }
    }
}

#[tokio::test]
async fn what_is_no_message_after_a_click_opens_no_such_window() {
    for way in [
        vec![json!({"referral": ad()})],
        vec![said("hi", None)],
        vec![said("hi", Some(json!({"source": "SHORTLINK", "type": "OPEN_THREAD"})))],
        vec![said("hi", None), json!({"referral": ad()})],
        vec![json!({"referral": ad()}), json!({"reaction": {"mid": "m", "action": "react"}})],
    ] {
        let platform = platform_that(true, true, SILENT).await;
        for item in &way {
            does(&platform, item.clone()).await;
        }
        platform.clock.forward(2 * DAY);
        asks(&platform, "update").await;
        let ended = last_end(&platform).await;
        let is_refused = ["refused window_closed", "refused never_heard_from"].contains(&&*ended);
        assert!(is_refused, "{ended}: {way:?}");
        assert!(requested(&platform, PSID).is_empty(), "{way:?}");
    }
}

#[tokio::test]
async fn the_window_counts_from_the_first_message_and_a_new_ad_opens_another() {
    let platform = platform_that(true, true, SILENT).await;
    does(&platform, said("hi", Some(ad()))).await;
    platform.clock.forward(2 * DAY);
    does(&platform, said("more", None)).await;
    // A click in between takes nothing away.
    platform.clock.forward(DAY);
    does(&platform, json!({"referral": ad()})).await;
    platform.clock.forward(3 * DAY);
    asks(&platform, "update").await;
    assert_eq!(last_end(&platform).await, "sent");
    platform.clock.forward(DAY);
    asks(&platform, "update").await;
    assert_eq!(last_end(&platform).await, "refused window_closed");
    does(&platform, json!({"referral": ad()})).await;
    does(&platform, said("again", None)).await;
    platform.clock.forward(6 * DAY);
    asks(&platform, "update").await;
    assert_eq!(last_end(&platform).await, "sent");
}

#[tokio::test]
async fn the_first_refusal_closes_the_window_until_the_next_ad() {
    let platform = platform_that(true, false, SILENT).await;
    does(&platform, said("hi", Some(ad()))).await;
    platform.clock.forward(2 * DAY);
    assert!(window_until(&platform).await.is_string());
    asks(&platform, "update").await;
    assert_eq!(last_end(&platform).await, "failed outside_window");
    assert!(window_until(&platform).await.is_null());
    let counts = ["AdWindowClosed", "WindowRecordWrong"].map(|name| counted(&platform, name));
    assert_eq!(counts, [1, 0]);
    for _ in 0..2 {
        asks(&platform, "update").await;
        assert_eq!(last_end(&platform).await, "refused window_closed");
        does(&platform, said(&format!("again {}", entries(&platform, PSID).await.len()), None))
            .await;
        platform.clock.forward(DAY + HOUR);
    }
    assert_eq!(requested(&platform, PSID).len(), 1, "it is tried once");
    does(&platform, said("by another ad", Some(ad()))).await;
    platform.clock.forward(2 * DAY);
    asks(&platform, "update").await;
    assert_eq!(requested(&platform, PSID).len(), 2);
}

#[tokio::test]
async fn a_refusal_within_24_hours_closes_both() {
    let platform = platform_that(true, true, SILENT).await;
    does(&platform, said("hi", Some(ad()))).await;
    let fault = simulator::meta::Fault::of_code(10, Some(2_018_278));
    platform.meta.fail_next(fault);
    asks(&platform, "update").await;
    assert_eq!(last_end(&platform).await, "failed outside_window");
    assert!(window_until(&platform).await.is_null());
    assert_eq!(counted(&platform, "WindowRecordWrong"), 1);
}

#[tokio::test]
async fn a_refusal_at_a_window_s_last_instant_leaves_nothing_to_close() {
    let platform = platform_with(|options| {
        options.replies = SILENT;
        options.variables.insert("SAFETY_MARGIN_SECONDS".to_owned(), "0".to_owned());
    })
    .await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
    platform.clock.forward(DAY);
    platform.meta.fail_next(simulator::meta::Fault::of_code(10, Some(2_018_278)));
    let request = json!({"page_id": PAGE, "psid": PSID, "message": "news", "purpose": "update"});
    platform.invoke_follow_ups(request).await.unwrap();
    platform.tick().await.unwrap();
    assert_eq!(requested(&platform, PSID).len(), 1);
    assert_eq!(last_end(&platform).await, "failed outside_window");
}

#[tokio::test]
async fn what_people_write_is_not_risked() {
    let platform = platform_that(true, false, SILENT).await;
    does(&platform, said("hi", Some(ad()))).await;
    platform.clock.forward(2 * DAY);
    asks(&platform, "human").await;
    assert_eq!(delivered(&platform, PSID), ["HUMAN_AGENT news"]);
}

#[tokio::test]
async fn a_refused_try_leaves_the_fallback_template() {
    let replies: Replies = |_, _, _| {
        let template = UtilityTemplate::new("still_free", "en");
        let later = FollowUp::after(2 * DAY, Message::text("later")?).or_template(template);
        Ok(Decision::nothing().later(later))
    };
    for (grants, sent) in [(true, "UPDATE later"), (false, "UTILITY …")] {
        let platform = platform_that(true, grants, replies).await;
        does(&platform, said("hi", Some(ad()))).await;
        platform.advance(2 * DAY + 3 * MINUTE).await;
        assert_eq!(delivered(&platform, PSID), [sent]);
        assert_no_leftovers(&platform, PSID).await;
    }
}

#[tokio::test]
async fn a_click_to_direct_ad_is_one_too() {
    let platform = platform_that(true, true, SILENT).await;
    let body = platform.meta.person_does(INSTAGRAM, IGSID, said("hi", Some(ad())));
    assert_eq!(platform.deliver(&body).await, 200);
    platform.clock.forward(2 * DAY);
    let request = json!({"page_id": INSTAGRAM, "psid": IGSID, "message": "news",
        "purpose": "update"});
    platform.invoke_follow_ups(request).await.unwrap();
    platform.advance(2 * MINUTE).await;
    assert_eq!(platform.meta.delivered(INSTAGRAM, IGSID).len(), 1);
}

#[tokio::test]
async fn an_ad_costs_no_write_of_its_own() {
    for tries in [false, true] {
        let platform = platform_that(tries, true, SILENT).await;
        for item in [
            said("first", None),
            json!({"referral": ad()}),
            said("after a click", None),
            said("by an ad", Some(ad())),
            said("last", None),
        ] {
            platform.aws.take_calls();
            does(&platform, item.clone()).await;
            let writes: f64 = platform.aws.take_calls().iter().map(|call| call.writes).sum();
            assert!((writes - 1.0).abs() < f64::EPSILON, "{tries} {item}: {writes}");
        }
    }
}

#[tokio::test]
async fn off_means_that_nothing_is_noted() {
    let platform = platform_that(false, true, SILENT).await;
    does(&platform, json!({"referral": ad()})).await;
    does(&platform, said("hi", Some(ad()))).await;
    let item = conversation(&platform, PSID).await;
    assert!(!item.contains_key("ad_until") && !item.contains_key("ad_clicked_at"), "{item:?}");
}
