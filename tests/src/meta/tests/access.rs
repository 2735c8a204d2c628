//! Tokens, proofs and paths.

use super::*;

fn path(node: &str, secret: &str, token: &str) -> String {
    format!("/v24.0/{node}/messages?appsecret_proof={}", proof(secret, token))
}

#[test]
fn a_missing_or_wrong_proof_is_refused() {
    let world = World::with_open_windows();
    let good = proof("app-secret-1", "token-1");
    let wrong = [
        "/v24.0/1001/messages".to_owned(),
        format!("/v24.0/1001/messages?appsecret_proof={}", good.to_uppercase()),
        path(PAGE, "app-secret-1", "token-2"),
        path(PAGE, "app-secret-2", "token-1"),
    ];
    for path in wrong {
        let refused = world.post(&path, Some("token-1"), &text_as("RESPONSE", None));
        assert_eq!((refused.status, refused.error()), (400, (100, None)), "{path}");
        assert_eq!(
            (&refused.json()["error"]["message"], &refused.json()["error"]["type"]),
            (
                &json!("Invalid appsecret_proof provided in the API argument"),
                &json!("GraphMethodException")
            )
        );
    }
    assert!(world.meta.delivered(PAGE, PSID).is_empty());
}

#[test]
fn the_proof_follows_the_app_secret() {
    let world = World::with_open_windows();
    world.meta.set_app_secret("app-secret-2");
    let body = text_as("RESPONSE", None);
    assert_eq!(world.send(PAGE, &body).error(), (100, None));
    let renewed = path(PAGE, "app-secret-2", "token-1");
    world.post(&renewed, Some("token-1"), &body).mid();
}

#[test]
fn a_token_comes_in_the_header_or_as_a_parameter() {
    let world = World::with_open_windows();
    let body = text_as("RESPONSE", None);
    let good = path(PAGE, "app-secret-1", "token-1");
    world.post(&good, Some("token-1"), &body).mid();
    world.post(&format!("{good}&access_token=token-1"), None, &body).mid();
    let missing = world.post(&good, None, &body);
    assert_eq!((missing.status, missing.error()), (401, (190, None)));
    let unknown = path(PAGE, "app-secret-1", "token-unknown");
    let unknown = world.post(&unknown, Some("token-unknown"), &body);
    assert_eq!((unknown.status, unknown.error()), (401, (190, None)));
}

#[test]
fn a_rotated_token_dies_and_its_successor_works() {
    let world = World::with_open_windows();
    let body = text_as("RESPONSE", None);
    world.meta.set_token(PAGE, "token-2");
    assert_eq!(world.send(PAGE, &body).error(), (190, Some(460)));
    let renewed = path(PAGE, "app-secret-1", "token-2");
    world.post(&renewed, Some("token-2"), &body).mid();

    world.meta.set_token(PAGE, "token-1");
    world.send(PAGE, &body).mid();
}

#[test]
fn a_killed_token_is_expired_until_another_is_set() {
    let world = World::with_open_windows();
    let body = text_as("RESPONSE", None);
    world.meta.kill_token(PAGE);
    let dead = world.send(PAGE, &body);
    assert_eq!((dead.status, dead.error()), (401, (190, Some(463))));
    world.send(INSTAGRAM, &body).mid();
    world.meta.set_token(PAGE, "token-2");
    let renewed = path(PAGE, "app-secret-1", "token-2");
    world.post(&renewed, Some("token-2"), &body).mid();
    assert_eq!(world.send(PAGE, &body).error(), (190, Some(463)));
}

#[test]
fn a_token_is_for_its_own_page() {
    let world = World::with_open_windows();
    let body = text_as("RESPONSE", None);
    world.meta.add_page("1002", "token-2", Platform::Messenger);
    let other = path("1002", "app-secret-1", "token-1");
    let refused = world.post(&other, Some("token-1"), &body);
    assert_eq!((refused.status, refused.error()), (403, (200, None)));
    let nowhere = path("3003", "app-secret-1", "token-1");
    let refused = world.post(&nowhere, Some("token-1"), &body);
    assert_eq!((refused.status, refused.error()), (400, (100, Some(33))));

    let me = path("me", "app-secret-1", "token-1");
    world.post(&me, Some("token-1"), &body).mid();
    assert_eq!(world.last_request().page_id, PAGE);
}

#[test]
fn other_paths_and_methods_are_unknown_but_recorded() {
    let world = World::with_open_windows();
    let body = text_as("RESPONSE", None).to_string();
    let good = path(PAGE, "app-secret-1", "token-1");
    for (method, path) in [
        ("GET", good.as_str()),
        ("POST", "/v24.0/1001/feed"),
        ("POST", "/latest/1001/messages"),
        ("POST", "/"),
    ] {
        let refused = world.request(method, path, Some("token-1"), &body).expect("an answer");
        assert_eq!((refused.status, refused.error()), (400, (2_500, None)), "{path}");
    }
    assert_eq!(world.meta.requests().len(), 4);
    assert!(world.meta.delivered(PAGE, PSID).is_empty());
}

#[test]
fn parameters_are_read_from_json_forms_and_the_query() {
    let world = World::with_open_windows();
    let good = path(PAGE, "app-secret-1", "token-1");
    let recipient = format!(r#"{{"id":"{PSID}"}}"#);
    let message = r#"{"text":"a & b"}"#;
    let encoded =
        |text: &str| text.bytes().fold(String::new(), |all, byte| format!("{all}%{byte:02x}"));
    let form = format!(
        "messaging_type=RESPONSE&recipient={}&message={}",
        encoded(&recipient),
        encoded(message)
    );
    let part = |name: &str, value: &str| {
        format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let parts = [
        part("messaging_type", "RESPONSE"),
        part("recipient", &recipient),
        part("message", message),
        "--edge--\r\n".to_owned(),
    ]
    .concat();
    let json = json!({"messaging_type": "RESPONSE", "recipient": {"id": PSID}, "message": {"text": "a & b"}});
    for (kind, query, body) in [
        ("application/json", "", json.to_string()),
        ("application/x-www-form-urlencoded", "", form.clone()),
        ("multipart/form-data; boundary=edge", "", parts),
        ("application/json", form.as_str(), "{}".to_owned()),
        ("text/plain", form.as_str(), String::new()),
    ] {
        let head = format!("Authorization: Bearer token-1\r\nContent-Type: {kind}\r\n");
        let answer = world.exchange("POST", &format!("{good}&{query}"), &head, &body);
        assert!(answer.starts_with("HTTP/1.1 200"), "{kind}: {answer}");
        assert_eq!(world.last_request().message, json!({"text": "a & b"}), "{kind}");
    }
    let head = "Authorization: Bearer token-1\r\nContent-Type: text/plain\r\n";
    let answer = world.exchange("POST", &good, head, &json.to_string());
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("The parameter recipient is required"), "{answer}");
    let broken = world.request("POST", &good, Some("token-1"), "{").expect("an answer");
    assert_eq!(broken.error(), (100, None));
}
