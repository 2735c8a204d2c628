//! Batch requests.

use super::nodes::call;
use super::*;

fn batch(world: &World, body: &Value) -> Value {
    call(world, "POST", "", "token-1", body).json()
}

fn send(text: &str) -> Value {
    let recipient = format!("%7B%22id%22%3A%22{PSID}%22%7D");
    let message = format!("%7B%22text%22%3A%22{text}%22%7D");
    let body = format!("messaging_type=RESPONSE&recipient={recipient}&message={message}");
    json!({"method": "POST", "relative_url": "me/messages", "body": body})
}

fn body(part: &Value) -> Value {
    serde_json::from_str(part["body"].as_str().expect("a body")).expect("JSON in a text")
}

#[test]
fn a_batch_sends_and_reads_in_order() {
    let world = World::with_open_windows();
    let get = json!({"method": "GET", "relative_url": format!("{PSID}?fields=first_name")});
    let lost = json!({"method": "GET", "relative_url": "7009?fields=name"});
    let answers = batch(&world, &json!({"batch": [send("one"), get, lost, send("two")]}));
    let codes: Vec<_> =
        answers.as_array().expect("answers").iter().map(|one| &one["code"]).collect();
    assert_eq!(codes, [200, 200, 400, 200]);
    assert_eq!(body(&answers[0])["recipient_id"], PSID);
    assert_eq!(body(&answers[1]), json!({"id": PSID, "first_name": "Guest"}));
    assert_eq!(body(&answers[2])["error"]["error_subcode"], 33);
    assert_eq!(answers[0]["headers"][0]["name"], "Content-Type");
    let texts: Vec<_> =
        world.meta.delivered(PAGE, PSID).iter().map(|sent| sent.message["text"].clone()).collect();
    assert_eq!(texts, ["one", "two"]);
}

#[test]
fn headers_of_a_batch_can_be_left_out() {
    let world = World::with_open_windows();
    for off in [json!(false), json!("false")] {
        let answers = batch(&world, &json!({"batch": [send("one")], "include_headers": off}));
        assert!(answers[0]["headers"].is_null() && answers[0]["code"] == 200, "{answers}");
    }
}

#[test]
fn a_call_that_is_lost_or_depended_on_is_answered_with_null() {
    let world = World::with_open_windows();
    world.meta.fail_next(Fault::LostAnswer);
    let mut first = send("one");
    first["name"] = "first".into();
    let mut second = send("two");
    second["depends_on"] = "first".into();
    let both = json!({"batch": [first, second]});
    assert_eq!(batch(&world, &both), json!([null, null]), "the first was lost");
    let answers = batch(&world, &both);
    assert!(answers[0].is_null() && answers[1]["code"] == 200, "{answers}");
}

#[test]
fn a_batch_has_one_to_fifty_calls() {
    let world = World::with_open_windows();
    let many = |count: usize| json!({"batch": vec![send("one"); count]});
    assert_eq!(batch(&world, &many(50)).as_array().map(Vec::len), Some(50));
    for wrong in [many(51), many(0)] {
        let refused = call(&world, "POST", "", "token-1", &wrong);
        assert_eq!((refused.status, refused.error()), (400, (100, None)));
    }
}
