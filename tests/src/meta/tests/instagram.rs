//! Instagram accounts: the nodes, hosts and tokens of both logins.

use super::*;

const LINKED: &str = "2003";
const IGSID: &str = "7801";

/// A world with an account that is linked to the Page, to which a person has just written.
fn linked() -> World {
    let world = World::new();
    world.meta.link_instagram(LINKED, PAGE);
    world.meta.person_says(LINKED, IGSID, "hi");
    world
}

fn text_to(person: &str) -> Value {
    json!({"recipient": {"id": person}, "messaging_type": "RESPONSE", "message": {"text": "hello"}})
}

fn get(world: &World, host: &str, path: &str, token: &str) -> Reply {
    let joint = if path.contains('?') { '&' } else { '?' };
    let proof = proof("app-secret-1", token);
    let path = format!("{host}/v24.0/{path}{joint}appsecret_proof={proof}");
    world.request("GET", &path, Some(token), "").expect("an answer")
}

#[test]
fn the_page_speaks_for_a_linked_account() {
    let world = linked();
    let mid = world.send(PAGE, &text_to(IGSID)).mid();
    let sent = world.last_request();
    assert_eq!((sent.page_id.as_str(), sent.node.as_deref()), (LINKED, Some(PAGE)));
    let echo = world.meta.pending_webhooks().remove(0);
    let echo: Value = serde_json::from_slice(&echo).expect("JSON");
    assert_eq!((&echo["object"], &echo["entry"][0]["id"]), (&json!("instagram"), &json!(LINKED)));
    assert_eq!(echo["entry"][0]["messaging"][0]["message"]["mid"], json!(mid));
}

#[test]
fn an_account_has_no_messages_on_the_host_of_its_page() {
    let world = linked();
    let proof = proof("app-secret-1", "token-1");
    for account in [LINKED, INSTAGRAM] {
        let path = format!("/v24.0/{account}/messages?appsecret_proof={proof}");
        let refused = world.post(&path, Some("token-1"), &text_to(IGSID));
        assert_eq!((refused.status, refused.error()), (400, (3, None)), "{account}");
    }
    assert!(world.meta.delivered(LINKED, IGSID).is_empty());
}

#[test]
fn an_account_with_a_login_speaks_for_itself_with_its_own_token_and_needs_no_proof() {
    let world = World::with_open_windows();
    let body = text_to(PSID);
    for (path, token, answer) in [
        ("/instagram/v24.0/2002/messages", "token-ig", None),
        ("/instagram/v24.0/me/messages", "token-ig", None),
        ("/instagram/v24.0/2002/messages", "token-1", Some(190)),
        ("/instagram/v24.0/1001/messages", "token-ig", Some(200)),
        ("/v24.0/2002/messages", "token-ig", Some(190)),
    ] {
        let got = world.post(path, Some(token), &body);
        let error = got.json()["error"]["code"].as_i64();
        assert_eq!(error, answer, "{path} {token}");
    }
    assert_eq!(world.meta.delivered(INSTAGRAM, PSID).len(), 2);
}

#[test]
fn a_page_names_its_linked_account() {
    let world = linked();
    let path = "1001?fields=instagram_business_account";
    let answer = get(&world, "", path, "token-1").json();
    assert_eq!(answer["instagram_business_account"]["id"], json!(LINKED));
    world.meta.unlink_instagram(LINKED);
    assert_eq!(get(&world, "", path, "token-1").json(), json!({"id": PAGE}));
}

#[test]
fn a_linked_account_has_a_profile_of_its_own() {
    let world = linked();
    let proof = proof("app-secret-1", "token-1");
    let path = format!("/v24.0/me/messenger_profile?appsecret_proof={proof}");
    let breakers =
        json!([{"locale": "default", "call_to_actions": [{"question": "q", "payload": "p"}]}]);
    let body = json!({"platform": "instagram", "ice_breakers": breakers});
    assert_eq!(world.post(&path, Some("token-1"), &body).status, 200);
    let start = json!({"platform": "instagram", "get_started": {"payload": "GS"}});
    assert_eq!(world.post(&path, Some("token-1"), &start).error(), (100, None));
    let read = |platform: &str| {
        let path = format!("me/messenger_profile?fields=ice_breakers&platform={platform}");
        get(&world, "", &path, "token-1").json()["data"].clone()
    };
    assert_eq!(read("instagram")[0]["ice_breakers"], breakers);
    assert_eq!(read("messenger"), json!([]));
}

#[test]
fn a_token_of_instagram_login_is_renewed_after_a_day() {
    let world = World::new();
    world.meta.add_instagram_of("4004", INSTAGRAM, "token-ig");
    let path = "/instagram/refresh_access_token?grant_type=ig_refresh_token";
    let renew = |token| world.request("GET", path, Some(token), "").expect("an answer");
    assert_eq!(renew("token-ig").error(), (100, None), "it is too young");
    world.set_clock(NOW + DAY);
    let renewed = renew("token-ig").json();
    assert_eq!(renewed["expires_in"], json!(60 * 24 * 60 * 60));
    let token = renewed["access_token"].as_str().expect("a token");
    let me = world.request("GET", "/instagram/v24.0/me?fields=user_id", Some(token), "");
    assert_eq!(me.expect("an answer").json()["user_id"], json!(INSTAGRAM));
    world.set_clock(NOW + 62 * DAY);
    assert_eq!(renew(token).error(), (190, Some(463)), "it has expired");
}

#[test]
fn conversations_that_are_routed_to_another_app_are_not_owned() {
    let world = World::with_open_windows();
    let path = "1001/conversations?platform=messenger&fields=is_owner";
    for (app, is_owner) in [(Some("9"), false), (None, true)] {
        world.meta.route_to(PAGE, app);
        let listed = get(&world, "", path, "token-1").json();
        assert_eq!(listed["data"][0]["is_owner"], json!(is_owner));
    }
}
