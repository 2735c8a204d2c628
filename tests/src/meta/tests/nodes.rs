//! The calls of Graph apart from the Send API, and their refusals.

use std::net::TcpListener;

use super::*;

const APP_TOKEN: &str = "4004|app-secret-1";

/// Calls as the Page or, with the app's token, as the app.
pub(super) fn call(world: &World, method: &str, path: &str, token: &str, body: &Value) -> Reply {
    let joint = if path.contains('?') { '&' } else { '?' };
    let proof = proof("app-secret-1", token);
    let path = format!("/v24.0/{path}{joint}appsecret_proof={proof}");
    world.request(method, &path, Some(token), &body.to_string()).expect("an answer")
}

fn profile(world: &World, method: &str, body: &Value) -> Reply {
    call(world, method, "me/messenger_profile", "token-1", body)
}

fn menu() -> Value {
    json!([{"locale": "default", "call_to_actions":
        [{"type": "postback", "title": "Book", "payload": "BOOK"}]}])
}

/// A callback that answers one request: with its challenge, or with 403.
fn callback(gives_challenge: bool) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/webhook", listener.local_addr().expect("an address"));
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a request");
        let mut request = [0; 2000];
        let length = stream.read(&mut request).expect("a request");
        let request = String::from_utf8_lossy(&request[..length]).into_owned();
        let challenge =
            request.split("hub.challenge=").nth(1).and_then(|rest| rest.split('&').next());
        let digits = challenge.expect("a challenge").split('%').skip(1);
        let challenge: String = digits
            .map(|hex| char::from(u8::from_str_radix(hex, 16).expect("an escaped digit")))
            .collect();
        let (status, body) =
            if gives_challenge { ("200 OK", challenge) } else { ("403 Forbidden", String::new()) };
        let length = body.len();
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}")
            .expect("an answer");
        request
    });
    (url, answering)
}

fn subscription(url: &str) -> Value {
    json!({"object": "page", "callback_url": url, "verify_token": "ours",
        "fields": "messages,message_echoes", "include_values": true})
}

#[test]
fn a_subscription_is_accepted_once_the_callback_has_returned_the_challenge() {
    let world = World::new();
    for gives_challenge in [false, true] {
        let (url, answering) = callback(gives_challenge);
        let answer = call(&world, "POST", "4004/subscriptions", APP_TOKEN, &subscription(&url));
        let asked = answering.join().expect("one request");
        assert!(asked.starts_with("GET /webhook?hub.mode=%73"), "{asked}");
        let listed = call(&world, "GET", "4004/subscriptions", APP_TOKEN, &json!({})).json();
        if gives_challenge {
            assert_eq!(answer.json(), json!({"success": true}));
            assert_eq!(listed["data"][0]["callback_url"], json!(url));
            assert_eq!(listed["data"][0]["fields"][1]["name"], json!("messages"));
        } else {
            assert_eq!((answer.status, answer.error()), (400, (2_200, None)));
            assert_eq!(listed, json!({"data": []}));
        }
    }
}

#[test]
fn a_field_fires_only_at_both_levels() {
    let world = World::new();
    let at_page = json!({"subscribed_fields": "messages"});
    let (url, answering) = callback(true);
    call(&world, "POST", "4004/subscriptions", APP_TOKEN, &subscription(&url));
    answering.join().expect("one request");
    assert!(!world.meta.fires(PAGE, "messages"));
    let path = format!("{PAGE}/subscribed_apps");
    assert_eq!(call(&world, "POST", &path, "token-1", &at_page).json(), json!({"success": true}));
    assert!(world.meta.fires(PAGE, "messages") && !world.meta.fires(PAGE, "message_echoes"));
    let listed = call(&world, "GET", &path, "token-1", &json!({})).json();
    assert_eq!(listed["data"][0]["id"], json!("4004"));
    call(&world, "DELETE", &path, "token-1", &json!({}));
    assert!(!world.meta.fires(PAGE, "messages"));
    let unknown = json!({"subscribed_fields": "messages_of_all"});
    assert_eq!(call(&world, "POST", &path, "token-1", &unknown).error(), (100, None));
}

#[test]
fn each_call_needs_its_kind_of_token() {
    let world = World::new();
    world.meta.add_page("1002", "token-2", Platform::Messenger);
    let nothing = json!({});
    for (method, path, token, code) in [
        ("GET", "4004/subscriptions", "token-1", 15),
        ("GET", "me/accounts", "token-1", 100),
        ("GET", "me/messenger_profile", APP_TOKEN, 210),
        ("GET", "debug_token?input_token=token-1", "token-1", 100),
        ("GET", "1002/subscribed_apps", "token-1", 200),
        ("GET", "2002/subscribed_apps", "token-1", 100),
        ("GET", "3003/subscribed_apps", "token-1", 100),
    ] {
        assert_eq!(call(&world, method, path, token, &nothing).error().0, code, "{path}");
    }
    let unproven = world.request("GET", "/v24.0/4004/subscriptions", Some(APP_TOKEN), "");
    assert_eq!(unproven.expect("an answer").error(), (100, None));
    world.meta.set_scopes(PAGE, &[]);
    for edge in ["subscribed_apps", "message_templates", "conversations"] {
        let path = format!("{PAGE}/{edge}");
        assert_eq!(call(&world, "GET", &path, "token-1", &nothing).error().0, 200, "{edge}");
    }
}

#[test]
fn the_persistent_menu_requires_get_started() {
    let world = World::new();
    let alone = json!({"persistent_menu": menu()});
    assert_eq!(profile(&world, "POST", &alone).error(), (100, None));
    let both = json!({"persistent_menu": menu(), "get_started": {"payload": "GS"}});
    assert_eq!(profile(&world, "POST", &both).json(), json!({"result": "success"}));
    let get_started = json!({"fields": ["get_started"]});
    assert_eq!(profile(&world, "DELETE", &get_started).error(), (100, None));
    profile(&world, "DELETE", &json!({"fields": ["persistent_menu"]}));
    profile(&world, "DELETE", &get_started);
    let path = "me/messenger_profile?fields=get_started,persistent_menu";
    assert_eq!(call(&world, "GET", path, "token-1", &json!({})).json(), json!({"data": []}));
}

#[test]
fn the_profile_keeps_its_limits() {
    let world = World::new();
    let breakers = |count: usize| {
        let one = json!({"question": "q", "payload": "p"});
        json!({"ice_breakers": [{"locale": "default", "call_to_actions": vec![one; count]}]})
    };
    let flat = |count: usize| json!({"ice_breakers": vec![json!({"question": "q", "payload": "p"}); count]});
    let greeting =
        |length: usize| json!({"greeting": [{"locale": "default", "text": "x".repeat(length)}]});
    for (body, is_taken) in [
        (breakers(4), true),
        (breakers(5), false),
        (flat(4), true),
        (flat(5), false),
        (greeting(160), true),
        (greeting(161), false),
        (json!({}), false),
    ] {
        assert_eq!(profile(&world, "POST", &body).status == 200, is_taken, "{body}");
    }
}

#[test]
fn the_eleventh_call_for_a_profile_within_ten_minutes_is_refused() {
    let world = World::new();
    for _ in 0..10 {
        assert_eq!(profile(&world, "GET", &json!({})).status, 200);
    }
    assert_eq!(profile(&world, "GET", &json!({})).error(), (613, None));
    world.set_clock(NOW + 600 * SECOND);
    assert_eq!(profile(&world, "GET", &json!({})).status, 200);
}

#[test]
fn a_token_is_inspected_by_its_own_app() {
    let world = World::new();
    let look = |token: &str| {
        let path = format!("debug_token?input_token={token}");
        call(&world, "GET", &path, APP_TOKEN, &json!({})).json()["data"].take()
    };
    let good = look("token-1");
    assert_eq!((&good["type"], &good["profile_id"]), (&json!("PAGE"), &json!(PAGE)));
    assert_eq!((&good["is_valid"], &good["expires_at"]), (&json!(true), &json!(0)));
    assert_eq!(look("token-unknown")["is_valid"], json!(false));
    world.meta.kill_token(PAGE);
    assert_eq!(look("token-1")["error"]["subcode"], json!(463));
}

#[test]
fn a_batch_answers_each_part() {
    let world = World::new();
    let batch = json!({"batch": [
        {"method": "GET", "relative_url": "debug_token?input_token=token%2D1"},
        {"method": "GET", "relative_url": "nowhere/to/go"},
    ]});
    let answers = call(&world, "POST", "", APP_TOKEN, &batch).json();
    assert_eq!((&answers[0]["code"], &answers[1]["code"]), (&json!(200), &json!(400)));
    assert!(answers[0]["body"].as_str().expect("text").contains(r#""profile_id":"1001""#));
}

#[test]
fn a_person_has_an_id_at_each_page_of_the_app() {
    let world = World::new();
    world.meta.add_app_scoped_id("88", PAGE, PSID);
    world.meta.add_app_scoped_id("88", INSTAGRAM, "7002");
    let ids = |path: &str| call(&world, "GET", path, APP_TOKEN, &json!({})).json()["data"].take();
    assert_eq!(ids("88/ids_for_pages").as_array().map(Vec::len), Some(2));
    let one = ids(&format!("88/ids_for_pages?page={PAGE}"));
    assert_eq!((&one[0]["id"], &one[0]["page"]["id"]), (&json!(PSID), &json!(PAGE)));
    let unknown = call(&world, "GET", "99/ids_for_pages", APP_TOKEN, &json!({}));
    assert_eq!(unknown.error(), (100, Some(33)));
}

#[test]
fn an_account_of_whatsapp_is_hidden_from_a_token_without_access() {
    let world = World::new();
    world.meta.add_whatsapp_account(json!({"id": "55", "name": "A"}), &["token-1"]);
    let see = |token: &str| call(&world, "GET", "55?fields=id,name", token, &json!({}));
    assert_eq!(see("token-1").json(), json!({"id": "55", "name": "A"}));
    assert_eq!(see(APP_TOKEN).error(), (200, None));
}

#[test]
fn the_date_header_follows_metas_clock() {
    let world = World::new();
    world.meta.set_skew(90 * SECOND);
    let answer = profile(&world, "GET", &json!({}));
    assert_eq!(answer.headers["date"], "Sun, 22 Nov 2026 00:01:30 GMT");
}
