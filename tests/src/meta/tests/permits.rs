//! Recipients that are a permission to send.

use super::*;

fn to(recipient: &Value) -> Value {
    json!({"recipient": recipient, "messaging_type": "UPDATE", "message": {"text": "hi"}})
}

#[test]
fn a_token_is_valid_until_its_end_and_opens_no_window() {
    let world = World::new();
    let end = NOW + WEEK;
    let optin = json!({"optin": {"type": "notification_messages",
        "notification_messages_token": "T1", "token_expiry_timestamp": end.to_string()}});
    world.meta.person_does(PAGE, PSID, optin);
    assert_eq!(world.meta.last_opening(PAGE, PSID), None);
    let body = to(&json!({"notification_messages_token": "T1"}));
    for _ in 0..2 {
        assert_eq!(world.send(PAGE, &body).json()["recipient_id"], json!(PSID));
    }
    world.set_clock(end - 1);
    assert_eq!(world.send(PAGE, &body).status, 200);
    world.set_clock(end);
    assert_eq!(world.send(PAGE, &body).error(), (100, None));
    let unknown = to(&json!({"notification_messages_token": "T2"}));
    assert_eq!(world.send(PAGE, &unknown).error(), (100, None));
}

#[test]
fn a_one_time_token_takes_one_message_within_a_year() {
    let world = World::new();
    for token in ["T1", "T2"] {
        let optin = json!({"optin": {"type": "one_time_notif_req", "one_time_notif_token": token}});
        world.meta.person_does(PAGE, PSID, optin);
    }
    let body = |token: &str| to(&json!({"one_time_notif_token": token}));
    world.set_clock(NOW + 365 * DAY - 1);
    assert_eq!(world.send(PAGE, &body("T1")).status, 200);
    assert_eq!(world.send(PAGE, &body("T1")).error(), (100, None));
    world.set_clock(NOW + 365 * DAY);
    assert_eq!(world.send(PAGE, &body("T2")).error(), (100, None));
    let other_kind = to(&json!({"notification_messages_token": "T2"}));
    assert_eq!(world.send(PAGE, &other_kind).error(), (100, None));
}

#[test]
fn a_phone_number_is_answered_without_a_recipient_id() {
    let world = World::new();
    let answer = world.send(PAGE, &to(&json!({"phone_number": "+12125550123"}))).json();
    assert!(answer["recipient_id"].is_null() && answer["message_id"].is_string(), "{answer}");
    let nobody = to(&json!({"phone_number": "+99912345678"}));
    assert_eq!(world.send(PAGE, &nobody).error(), (100, Some(2_018_001)));
    let malformed = to(&json!({"phone_number": "2125550123"}));
    assert_eq!(world.send(PAGE, &malformed).error(), (100, None));
}
