//! Private replies to comments, and the checkbox plugin.

use super::*;

fn private_reply(change: Value) -> Value {
    let reply = json!({"page_id": PAGE, "comment_id": "10_5", "message": "thank you"});
    with(reply, change)
}

#[tokio::test]
async fn a_comment_gets_one_private_reply_and_the_person_is_known_by_it() {
    let platform = silent().await;
    let now = platform.clock.now();
    platform.meta.add_comment(PAGE, "10_5", PSID, now.millis());
    let reply = private_reply(json!({"commented_at": now.millis()}));
    let sent = post(&platform, None, &reply).await;
    assert_eq!((sent.status, &sent.body["status"]), (201, &json!("sent")), "{}", sent.body);
    assert_eq!(sent.body["psid"], PSID);
    platform.settle().await;
    let path = format!("/messages/{}", sent.body["id"].as_str().unwrap());
    assert_eq!(ask(&platform, "GET", &path).await.body["psid"], PSID);
    let known = ask(&platform, "GET", &person()).await;
    assert_eq!(known.body["known_as"], json!(["comment:10_5"]));

    assert_eq!(post(&platform, None, &reply).await.status, 200, "the same again");
    let other = post(&platform, None, &private_reply(json!({"message": "and this"}))).await;
    assert_eq!((other.status, other.code()), (409, "already_replied"));
    assert_eq!(delivered(&platform, PSID), ["RESPONSE thank you"]);

    assert_eq!(ask(&platform, "DELETE", &person()).await.status, 204);
    assert_eq!(ask(&platform, "GET", &path).await.status, 404, "erased with the person");
}

#[tokio::test]
async fn a_private_reply_is_refused_after_seven_days_and_given_up_then() {
    let platform = silent().await;
    let commented = platform.clock.now();
    platform.meta.add_comment(PAGE, "10_5", PSID, commented.millis());
    let reply = |send_at: messenger::clock::Timestamp| {
        let times = json!({"commented_at": commented.millis(), "send_at": send_at.millis()});
        private_reply(times)
    };
    let edge = commented + 7 * DAY - MINUTE;
    let late = post(&platform, None, &reply(edge + Duration::from_millis(1))).await;
    assert_eq!((late.status, late.code()), (409, "comment_too_old"));
    assert_eq!(late.body["error"]["allowed"], json!([]));
    let stored = post(&platform, None, &reply(edge)).await;
    assert_eq!(stored.status, 202);
    assert_eq!(stored.body["give_up_at"], (commented + 7 * DAY).to_string());
}

#[tokio::test]
async fn a_private_reply_that_was_cancelled_leaves_room_for_another() {
    let platform = silent().await;
    platform.meta.add_comment(PAGE, "10_5", PSID, platform.clock.now().millis());
    let later = (platform.clock.now() + HOUR).millis();
    let first = post(&platform, None, &private_reply(json!({"send_at": later}))).await;
    let path = format!("/messages/{}", first.body["id"].as_str().unwrap());
    assert_eq!(ask(&platform, "DELETE", &path).await.status, 200);
    let second = post(&platform, None, &private_reply(json!({"message": "better"}))).await;
    assert_eq!(second.status, 201, "{}", second.body);
    assert_eq!(delivered(&platform, PSID), ["RESPONSE better"]);
}

#[tokio::test]
async fn the_checkbox_opens_the_window_of_its_user_ref() {
    let platform = silent().await;
    let to = json!({"page_id": PAGE, "user_ref": "u1", "message": "hi", "purpose": "update"});
    let before = post(&platform, None, &to).await;
    assert_eq!((before.status, before.code()), (409, "never_heard_from"));
    let tick = json!({"sender": null, "optin": {"ref": "r", "user_ref": "u1"}});
    platform.deliver(&platform.meta.person_does(PAGE, "unused", tick)).await;
    platform.advance(SINCE_HEARD).await;
    let sent = post(&platform, None, &to).await;
    assert_eq!((sent.status, &sent.body["status"]), (201, &json!("sent")), "{}", sent.body);
}
