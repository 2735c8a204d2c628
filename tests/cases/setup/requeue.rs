//! What was set aside is put back once its cause is gone.

use messenger::event::{Event, MAX_EVENTS_IN_ORDER};
use simulator::gate::Moment;
use simulator::platform::{EVENTS, UNREADABLE};

use super::*;

/// A platform with two Pages, whose secret does not name the second one.
async fn without_second_page() -> Arc<Platform> {
    let platform = platform_with(|options| options.pages.push(SHOP_PAGE.to_owned())).await;
    platform.put_secret(|secret| {
        secret["pages"].as_object_mut().unwrap().remove(SHOP_PAGE);
    });
    platform
}

/// A message of a person to the second Page is set aside.
async fn say_aside(platform: &Platform, text: &str) {
    assert_eq!(platform.deliver(&platform.meta.person_says(SHOP_PAGE, PSID, text)).await, 200);
}

/// Invokes setup, but lets nothing process what is queued.
async fn requeue(platform: &Platform, limit: usize) -> Result<Value, String> {
    let setup = platform.setup().unwrap();
    let payload = json!({"action": "requeue", "limit": limit});
    let deadline = platform.clock.now() + HOUR;
    setup.handle(payload, "setup", deadline).await.map_err(|error| error.to_string())
}

fn queued_raws(platform: &Platform) -> Vec<String> {
    let queued = platform.sqs.messages(EVENTS).into_iter();
    queued.map(|view| Event::from_queue_text(&view.body).unwrap().raw).collect()
}

/// A notification of so many messages of one person, each of so many bytes.
fn notification(count: usize, bytes: usize) -> (Vec<String>, Vec<u8>) {
    let item = |n: usize| {
        let text = "x".repeat(bytes);
        json!({"sender": {"id": PSID}, "recipient": {"id": PAGE}, "timestamp": 1_795_000_000_000_i64,
            "message": {"mid": format!("m_{n}"), "text": format!("{n} {text}")}})
        .to_string()
    };
    let items: Vec<_> = (0..count).map(item).collect();
    let entry = format!("{{\"id\":\"{PAGE}\",\"messaging\":[{}]}}", items.join(","));
    let body = format!("{{\"object\":\"page\",\"entry\":[{entry}]}}").into_bytes();
    (items, body)
}

#[tokio::test]
async fn events_of_a_page_that_was_added_to_the_secret_are_put_back_and_answered_once() {
    let platform = without_second_page().await;
    say_aside(&platform, "hello").await;
    say_aside(&platform, "opening hours?").await;
    assert_eq!(platform.sqs.messages(UNREADABLE).len(), 2);
    platform.put_secret(|_| ());
    let report = act(&platform, "requeue").await;
    assert_finds(&report, "changed", "2 events of 2 messages are queued again");
    assert!(platform.sqs.is_empty(UNREADABLE));
    let replies = platform.meta.delivered(SHOP_PAGE, PSID).len();
    assert_eq!(replies, 2);
    let report = act(&platform, "requeue").await;
    assert_finds(&report, "ok", "nothing can be put back");
    platform.advance(HOUR).await;
    assert_eq!(platform.meta.delivered(SHOP_PAGE, PSID).len(), replies);
}

#[tokio::test]
async fn what_still_cannot_be_taken_in_stays_with_its_reason_and_is_looked_at_again_later() {
    let platform = with_shop().await;
    platform.put_secret(|secret| {
        secret["pages"].as_object_mut().unwrap().remove(PAGE);
    });
    let of_shop = notification(1, 1).1;
    let of_shop = String::from_utf8(of_shop).unwrap().replace(PAGE, SHOP_PAGE);
    for body in [&notification(1, 1).1[..], of_shop.as_bytes(), b"not JSON"] {
        let signature = backend::signature::sign(body, &APP_SECRET.into());
        let request = lambda_http::http::Request::post("/webhook");
        let request = request.header(backend::signature::SIGNATURE_HEADER, signature);
        let request = request.body(lambda_http::Body::Binary(body.to_vec())).unwrap();
        assert_eq!(platform.invoke_webhook(request).await.status(), 200);
    }
    let sqs = platform.containers().environment().aws.sqs();
    let url = &platform.environment()["UNREADABLE_QUEUE_URL"];
    sqs.send_message().queue_url(url).message_body("by hand").send().await.unwrap();
    for _ in 0..2 {
        let report = requeue(&platform, 100).await.unwrap();
        for reason in ["unknown_page", "another_application", "not_json", "unknown_form"] {
            assert_finds(&report, "warning", &format!("1 messages stay: {reason}"));
        }
        assert_eq!(platform.sqs.messages(UNREADABLE).len(), 4);
        assert!(platform.sqs.is_empty(EVENTS));
        platform.clock.forward(5 * MINUTE);
    }
}

#[tokio::test]
async fn a_notification_that_was_kept_whole_is_put_back_in_order() {
    let platform = platform().await;
    let (items, body) = notification(MAX_EVENTS_IN_ORDER + 1, 10_000);
    assert_eq!(platform.post(&body).await, 200);
    assert_eq!(platform.sqs.messages(UNREADABLE).len(), 3);
    let report = requeue(&platform, 2).await.unwrap();
    assert_finds(&report, "warning", "2 messages stay: parts_missing");
    assert_finds(&report, "note", "about 1 messages have not been looked at");
    assert!(platform.sqs.is_empty(EVENTS));
    platform.clock.forward(5 * MINUTE);
    let report = requeue(&platform, 100).await.unwrap();
    assert_finds(&report, "changed", "201 events of 3 messages are queued again");
    assert_eq!(queued_raws(&platform), items);
    assert!(platform.sqs.is_empty(UNREADABLE));
}

#[tokio::test]
async fn what_a_body_holds_of_other_pages_is_set_aside_as_events() {
    let platform = without_second_page().await;
    let of_both = |n: usize| {
        let page = if n == 0 { SHOP_PAGE } else { PAGE };
        json!({"id": page, "messaging": [{"sender": {"id": PSID}, "x": n}]})
    };
    let entries: Vec<_> = (0..MAX_EVENTS_IN_ORDER + 2).map(of_both).collect();
    let body = json!({"object": "page", "entry": entries}).to_string();
    assert_eq!(platform.post(body.as_bytes()).await, 200);
    let report = requeue(&platform, 100).await.unwrap();
    assert_finds(&report, "changed", "201 events of 1 messages are queued again");
    assert_finds(&report, "warning", "1 events of 1 messages belong to other Pages");
    platform.put_secret(|_| ());
    let report = requeue(&platform, 100).await.unwrap();
    assert_finds(&report, "changed", "1 events of 1 messages are queued again");
    assert!(platform.sqs.is_empty(UNREADABLE));
    assert_eq!(platform.sqs.messages(EVENTS).len(), 202);
}

#[tokio::test]
async fn a_death_at_any_call_loses_nothing_and_answers_nothing_twice() {
    for moment in [Moment::Before, Moment::After] {
        for call in 1.. {
            let platform = without_second_page().await;
            say_aside(&platform, "hello").await;
            say_aside(&platform, "opening hours?").await;
            platform.put_secret(|_| ());
            platform.gate.crash_at(call, moment);
            let died = tokio::select! {
                answer = requeue(&platform, 100) => answer.is_err(),
                () = platform.gate.crashed() => true,
            };
            let survived = platform.gate.spare();
            assert_eq!(died, !survived, "{moment:?} {call}");
            platform.advance(5 * MINUTE).await;
            act(&platform, "requeue").await;
            platform.advance(HOUR).await;
            let replies = platform.meta.delivered(SHOP_PAGE, PSID).len();
            assert_eq!(replies, 2, "{moment:?} {call}");
            assert!(platform.sqs.is_empty(UNREADABLE), "{moment:?} {call}");
            if survived {
                assert!(call > 5, "{call} calls only");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_limit_out_of_range_is_refused() {
    let platform = platform().await;
    for limit in [0, 1001] {
        let error = requeue(&platform, limit).await.unwrap_err();
        assert_eq!(error, "bad request: limit: must be from 1 to 1000");
    }
}
