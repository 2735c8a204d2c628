//! What Meta shows of people: asked for once a day, for the bot and for the API, and never in the way.

use messenger::decision::Decision;
use messenger::message::Message;
use serde_json::{Map, Value, json};
use simulator::meta::{Fault, FaultRule, NoProfile};
use simulator::platform::{Platform, Replies};
use simulator::samples::{IGSID, INSTAGRAM};

use crate::sample_events::with_instagram;
use crate::support::*;

/// Says what it sees of the person.
const MIRROR: Replies = |_, conversation, _| {
    let seen = serde_json::to_string(&conversation.profile).unwrap_or_default();
    Ok(Decision::nothing().say(Message::text(seen)?))
};

async fn platform_that(reads: bool, replies: Replies) -> std::sync::Arc<Platform> {
    platform_with(|options| {
        with_instagram(options);
        options.replies = replies;
        let switch = if reads { "on" } else { "off" };
        options.variables.insert("USER_PROFILES".to_owned(), switch.to_owned());
    })
    .await
}

/// What the bot sees of a person who writes.
async fn seen_of(platform: &Platform, page_id: &str, psid: &str) -> Value {
    let body = platform.meta.person_says(page_id, psid, "hi");
    assert_eq!(platform.deliver(&body).await, 200);
    platform.clock.forward(SECOND);
    let reply = platform.meta.delivered(page_id, psid).pop().unwrap();
    serde_json::from_str(reply.message["text"].as_str().unwrap()).unwrap()
}

async fn seen(platform: &Platform) -> Value {
    seen_of(platform, PAGE, PSID).await
}

async fn person(platform: &Platform) -> Value {
    crate::api::get(platform, &format!("/people/{PSID}?page_id={PAGE}")).await
}

/// How often Meta was asked about a person.
fn asked(platform: &Platform, psid: &str) -> usize {
    platform.meta.calls().iter().filter(|call| **call == format!("GET /{psid}")).count()
}

async fn profile_item(platform: &Platform) -> Option<Map<String, Value>> {
    let pk = format!("{PAGE}#{PSID}");
    let mut items = platform.items().await.unwrap().into_iter();
    items.find(|item| item["pk"] == *pk && item["sk"] == "profile")
}

fn fault(fault: Fault, times: Option<u32>) -> FaultRule {
    FaultRule { fault, psid: None, edge: "node".to_owned(), times }
}

fn guest() -> Value {
    json!({"name": "Guest 0001", "locale": "en_GB", "timezone": 1})
}

#[tokio::test]
async fn the_bot_and_the_api_see_the_profile_and_meta_is_asked_once_a_day() {
    let platform = platform_that(true, MIRROR).await;
    assert_eq!(seen(&platform).await, guest());
    assert_eq!(seen(&platform).await, guest());
    assert_eq!(person(&platform).await["profile"], guest());
    assert_eq!(asked(&platform, PSID), 1);
    let item = profile_item(&platform).await.unwrap();
    let kept = item["expires_at"].as_i64().unwrap();
    assert!(!json!(item).to_string().contains("https"), "no picture: {item:?}");

    let fields = json!({"name": "Another"}).as_object().unwrap().clone();
    platform.meta.set_user_profile(PAGE, PSID, fields);
    platform.clock.forward(23 * HOUR + 59 * MINUTE);
    assert_eq!(seen(&platform).await, guest(), "it is a day old at most");
    platform.clock.forward(MINUTE);
    assert_eq!(seen(&platform).await["name"], "Another");
    assert_eq!(asked(&platform, PSID), 2);
    let renewed = profile_item(&platform).await.unwrap()["expires_at"].as_i64().unwrap();
    assert!((86_000..=86_500).contains(&(renewed - kept)), "{}", renewed - kept);
}

#[tokio::test]
async fn the_api_asks_meta_itself_if_nobody_has() {
    let platform = platform_that(true, |_, _, _| Ok(Decision::nothing().quiet_for(DAY))).await;
    platform.meta.hide_user_profile(PAGE, PSID, NoProfile::Unavailable);
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
    platform.meta.reset_user_profile(PAGE, PSID);
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "the bot is quiet")).await;
    assert_eq!(asked(&platform, PSID), 1);
    assert!(!person(&platform).await.as_object().unwrap().contains_key("profile"));
    platform.clock.forward(DAY);
    assert_eq!(person(&platform).await["profile"], guest());
    assert_eq!(person(&platform).await["profile"], guest());
    assert_eq!(asked(&platform, PSID), 2);
}

#[tokio::test]
async fn off_means_that_nobody_is_asked() {
    let platform = platform_that(false, MIRROR).await;
    assert_eq!(seen(&platform).await, Value::Null);
    assert!(!person(&platform).await.as_object().unwrap().contains_key("profile"));
    assert_eq!(asked(&platform, PSID), 0);
    assert!(profile_item(&platform).await.is_none());
}

#[tokio::test]
async fn a_refusal_is_an_answer_for_a_day() {
    let unknown = Fault::of_code(100, Some(33));
    for (hidden, error, calls) in [
        (Some(NoProfile::Unavailable), None, 1),
        // Once more for the name alone.
        (Some(NoProfile::NotPermitted), None, 2),
        (None, Some(unknown), 1),
    ] {
        let platform = platform_that(true, MIRROR).await;
        if let Some(why) = hidden {
            platform.meta.hide_user_profile(PAGE, PSID, why);
        }
        if let Some(error) = error {
            platform.meta.add_fault(fault(error, Some(1)));
        }
        for _ in 0..3 {
            assert_eq!(seen(&platform).await, Value::Null);
        }
        assert!(!person(&platform).await.as_object().unwrap().contains_key("profile"));
        assert_eq!(asked(&platform, PSID), calls, "{hidden:?}");
        assert_eq!(counted(&platform, "ProfileMissed"), 0, "{hidden:?}");
        platform.meta.reset_user_profile(PAGE, PSID);
        platform.clock.forward(DAY);
        assert_eq!(seen(&platform).await, guest(), "{hidden:?}");
    }
}

#[tokio::test]
async fn without_the_permission_for_more_there_is_the_name() {
    let platform = platform_that(true, MIRROR).await;
    platform.meta.show_basic_profiles_only(PAGE);
    assert_eq!(seen(&platform).await, json!({"name": "Guest 0001"}));
    assert_eq!(seen(&platform).await, json!({"name": "Guest 0001"}));
    assert_eq!(asked(&platform, PSID), 2);
}

#[tokio::test]
async fn on_instagram_it_is_name_and_user_name() {
    let platform = platform_that(true, MIRROR).await;
    let number = &IGSID[IGSID.len() - 4..];
    let shown = json!({"name": format!("Guest {number}"), "username": format!("guest_{number}")});
    assert_eq!(seen_of(&platform, INSTAGRAM, IGSID).await, shown);

    let platform = platform_that(true, MIRROR).await;
    platform.meta.hide_user_profile(INSTAGRAM, IGSID, NoProfile::NoConsent);
    for _ in 0..2 {
        assert_eq!(seen_of(&platform, INSTAGRAM, IGSID).await, Value::Null);
    }
    assert_eq!(asked(&platform, IGSID), 1);
}

#[tokio::test]
async fn what_fails_is_counted_holds_up_nobody_and_is_asked_again() {
    for error in [
        Fault::Error { http: 400, code: 190, subcode: Some(463) },
        Fault::Error { http: 500, code: 2, subcode: None },
        Fault::Error { http: 400, code: 100, subcode: None },
        Fault::Throttled { regain_minutes: 5 },
        Fault::Http5xx,
        Fault::LostRequest,
        Fault::LostAnswer,
    ] {
        let platform = platform_that(true, MIRROR).await;
        platform.meta.add_fault(fault(error.clone(), Some(1)));
        assert_eq!(seen(&platform).await, Value::Null, "{error:?}");
        assert_eq!(counted(&platform, "ProfileMissed"), 1, "{error:?}");
        assert_eq!(ends(&platform, PSID).await, ["sent"], "{error:?}");
        assert_eq!(counted(&platform, "PagePaused"), 0, "{error:?}");
        assert!(profile_item(&platform).await.is_none(), "{error:?}");
        assert_eq!(seen(&platform).await, guest(), "{error:?}");
    }
}

#[tokio::test]
async fn a_slow_answer_is_not_waited_for() {
    let platform = platform_that(true, MIRROR).await;
    platform.meta.add_fault(fault(Fault::Slow { millis: 60_000 }, Some(1)));
    assert_eq!(seen(&platform).await, Value::Null);
    assert_eq!(ends(&platform, PSID).await, ["sent"]);
    assert_eq!(counted(&platform, "ProfileMissed"), 1);
    // Not by the time limit of every call to Graph, which is longer.
    let metrics = platform.metrics.lock().unwrap();
    let missed: Vec<_> = metrics.iter().filter(|line| line["ProfileMissed"] == 1).collect();
    assert_eq!(missed[0]["reason"], "too_late");
}

#[tokio::test]
async fn a_paused_page_is_not_asked() {
    let platform = platform_that(true, MIRROR).await;
    platform.meta.kill_token(PAGE);
    for _ in 0..3 {
        platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
        platform.clock.forward(10 * SECOND);
    }
    assert_eq!(asked(&platform, PSID), 1, "before the first message was refused");
}

#[tokio::test]
async fn a_quiet_bot_and_a_comment_need_no_profile() {
    let platform = platform_that(true, |event, _, _| {
        let is_comment = matches!(event.kind, messenger::event::Kind::Comment(_));
        let decision = Decision::nothing();
        Ok(if is_comment { decision } else { decision.quiet_for(2 * DAY) })
    })
    .await;
    platform.deliver(&platform.meta.person_comments(PAGE, OTHER_PSID, "10_1", "how much?")).await;
    assert_eq!(asked(&platform, OTHER_PSID), 0);
    for _ in 0..2 {
        platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
        // The profile is too old by then, and the bot is still quiet.
        platform.clock.forward(DAY + HOUR);
    }
    assert_eq!(asked(&platform, PSID), 1);
}

#[tokio::test]
async fn an_erased_profile_is_not_used_and_a_new_one_stays() {
    let platform = platform_that(true, MIRROR).await;
    assert_eq!(seen(&platform).await, guest());
    platform.clock.forward(SECOND);
    let path = format!("/people/{PSID}?page_id={PAGE}");
    assert_eq!(crate::api::delete(&platform, &path).await, 204);
    assert!(profile_item(&platform).await.is_none(), "the first pass");
    platform.clock.forward(SECOND);
    assert_eq!(seen(&platform).await, guest());
    assert_eq!(asked(&platform, PSID), 2);
    platform.advance(10 * MINUTE).await;
    assert!(profile_item(&platform).await.is_some(), "the second pass spares what came after");
    assert_eq!(person(&platform).await["profile"], guest());
    assert_eq!(asked(&platform, PSID), 2);
}
