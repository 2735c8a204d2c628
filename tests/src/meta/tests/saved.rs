//! What a Page saves at Meta: media and personas.

use super::nodes::call;
use super::*;

fn upload(world: &World, payload: &Value) -> Reply {
    let body = json!({"message": {"attachment": {"type": "image", "payload": payload}}});
    call(world, "POST", &format!("{PAGE}/message_attachments"), "token-1", &body)
}

fn image(id: &Value) -> Value {
    response(&json!({"attachment": {"type": "image", "payload": {"attachment_id": id}}}))
}

#[test]
fn an_upload_gives_an_id_that_its_page_can_send_for_90_days() {
    let world = World::with_open_windows();
    let saved = upload(&world, &json!({"url": "https://shop.example/a.png", "is_reusable": true}));
    let id = saved.json()["attachment_id"].take();
    assert_eq!(world.send(PAGE, &image(&id)).status, 200);
    assert_eq!(world.send(INSTAGRAM, &image(&id)).error(), (100, Some(2_018_074)));
    let video = json!({"attachment": {"type": "video", "payload": {"attachment_id": id}}});
    assert_eq!(world.send(PAGE, &response(&video)).error(), (100, Some(2_018_074)));
    for (at, is_kept) in [(NOW + 90 * DAY - 1, true), (NOW + 90 * DAY, false)] {
        world.set_clock(at);
        world.meta.person_says(PAGE, PSID, "hi");
        assert_eq!(world.send(PAGE, &image(&id)).status == 200, is_kept);
    }
    assert_eq!(world.send(PAGE, &image(&json!("77"))).error(), (100, Some(2_018_074)));
}

#[test]
fn a_reusable_message_names_the_id_of_its_media() {
    let world = World::with_open_windows();
    let payload = |is_reusable: bool| {
        let payload = json!({"url": "https://shop.example/a.png", "is_reusable": is_reusable});
        response(&json!({"attachment": {"type": "image", "payload": payload}}))
    };
    assert!(world.send(PAGE, &payload(false)).json()["attachment_id"].is_null());
    let id = world.send(PAGE, &payload(true)).json()["attachment_id"].take();
    assert_eq!(world.send(PAGE, &image(&id)).status, 200);
}

#[test]
fn an_upload_of_another_form_is_refused() {
    let world = World::new();
    for (payload, subcode) in [
        (json!({}), None),
        (json!({"url": "a.png"}), None),
        (json!({"url": "https://shop.example/a.png", "is_reusable": "yes"}), None),
        (json!({"url": "https://nowhere.invalid/a.png"}), Some(2_018_008)),
    ] {
        assert_eq!(upload(&world, &payload).error(), (100, subcode), "{payload}");
    }
}

#[test]
fn personas_are_made_listed_and_deleted() {
    let world = World::new();
    let path = format!("{PAGE}/personas");
    let persona = |name: &str, picture: &str| json!({"name": name, "profile_picture_url": picture});
    let picture = "https://shop.example/a.png";
    let longest = persona(&"é".repeat(50), picture);
    let id = call(&world, "POST", &path, "token-1", &longest).json()["id"].take();
    for wrong in [persona(&"é".repeat(51), picture), persona("", picture), persona("A", "a.png")] {
        assert_eq!(call(&world, "POST", &path, "token-1", &wrong).error(), (100, None), "{wrong}");
    }
    let listed = call(&world, "GET", &path, "token-1", &json!({})).json();
    assert_eq!(listed["data"][0]["id"], id);
    let node = id.as_str().expect("an id");
    world.meta.add_page("100000000000009", "token-2", Platform::Messenger);
    assert_eq!(call(&world, "DELETE", node, "token-2", &json!({})).error(), (100, Some(33)));
    let deleted = call(&world, "DELETE", node, "token-1", &json!({})).json();
    assert_eq!(deleted, json!({"success": true}));
    let listed = call(&world, "GET", &path, "token-1", &json!({})).json();
    assert_eq!(listed, json!({"data": []}));
}

#[test]
fn a_file_is_uploaded_or_sent_as_a_part_of_a_form() {
    let world = World::with_open_windows();
    let form = |edge: &str, fields: &[(&str, &str)], file: &str| {
        let part = |name: &str, more: &str, value: &str| {
            let form = "Content-Disposition: form-data";
            format!("--e\r\n{form}; name=\"{name}\"{more}\r\n\r\n{value}\r\n")
        };
        let mut parts: Vec<_> = fields.iter().map(|(name, value)| part(name, "", value)).collect();
        let of_file = "; filename=\"a.png\"\r\nContent-Type: image/png";
        parts.push(part("filedata", of_file, file));
        parts.push("--e--\r\n".to_owned());
        let body = parts.concat();
        let proof = proof("app-secret-1", "token-1");
        let path = format!("/v24.0/me/{edge}?access_token=token-1&appsecret_proof={proof}");
        world.exchange("POST", &path, "Content-Type: multipart/form-data; boundary=e\r\n", &body)
    };
    let media = r#"{"attachment":{"type":"image","payload":{"is_reusable":true}}}"#;
    let recipient = format!(r#"{{"id":"{PSID}"}}"#);
    let sent =
        [("recipient", recipient.as_str()), ("messaging_type", "RESPONSE"), ("message", media)];
    let uploaded = form("message_attachments", &[("message", media)], "PNG");
    assert!(uploaded.contains("attachment_id"), "{uploaded}");
    let answer = form("messages", &sent, "PNG");
    assert!(answer.contains("message_id") && answer.contains("attachment_id"), "{answer}");
    for refused in
        [form("message_attachments", &[("message", media)], ""), form("messages", &sent, "")]
    {
        assert!(refused.contains("filedata must not be empty"), "{refused}");
    }
}

#[test]
fn a_long_list_of_personas_comes_in_parts() {
    let world = World::new();
    for number in 0..30 {
        world.meta.add_persona(PAGE, &number.to_string());
    }
    let mut seen = 0;
    for (after, count, has_next) in [("0", 25, true), ("25", 5, false), ("30", 0, false)] {
        let path = format!("{PAGE}/personas?after={after}");
        let part = call(&world, "GET", &path, "token-1", &Value::Null).json();
        assert_eq!(part["data"].as_array().map(Vec::len), Some(count), "{after}");
        assert_eq!(part["paging"]["next"].is_string(), has_next, "{after}");
        assert_eq!(part["paging"]["cursors"]["after"].is_string(), count > 0, "{after}");
        seen += count;
    }
    assert_eq!(seen, 30);
}
