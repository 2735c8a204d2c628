//! Instagram accounts: linked to a Page, listed like a Page, and with a login of their own.

use simulator::samples::{INSTAGRAM, INSTAGRAM_LOGIN};

use super::*;

async fn with_both() -> Arc<Platform> {
    platform_with(|options| {
        options.instagram = vec![INSTAGRAM.to_owned()];
        options.instagram_login = vec![INSTAGRAM_LOGIN.to_owned()];
    })
    .await
}

#[tokio::test]
async fn both_logins_are_registered_and_found_sound() {
    let platform = with_both().await;
    platform.meta.heed_subscriptions();
    let report = act(&platform, "register").await;
    assert_eq!(report["ok"], true, "{report:#}");
    assert_finds(&report, "changed", "instagram: subscribed, callback");
    assert_finds(&report, "note", "Meta has no call for the webhook of Instagram Login");
    let calls = platform.meta.take_calls();
    let subscribed: Vec<_> = calls
        .iter()
        .filter(|call| call.contains("POST") && call.contains("subscribed_apps"))
        .collect();
    assert_eq!(
        subscribed,
        [
            &format!("POST /{PAGE}/subscribed_apps"),
            &format!("POST /{INSTAGRAM_LOGIN}/subscribed_apps")
        ],
        "a linked account's events come with its Page's"
    );
    for account in [INSTAGRAM, INSTAGRAM_LOGIN] {
        assert!(platform.meta.fires(account, "messages"), "{account}");
        assert_eq!(platform.meta.profile_names(account), ["ice_breakers", "persistent_menu"]);
    }
    assert!(platform.meta.profile_names(PAGE).contains(&"get_started".to_owned()));
    let report = act(&platform, "status").await;
    assert_eq!(report["ok"], true, "{report:#}");
    assert!(findings(&report, "warning").is_empty(), "{report:#}");
    for part in [
        "Instagram account 17800000000000001: linked to Page 100000000000001",
        "Instagram account 17800000000000001: its profile is up to date",
        "Instagram account 17800000000000002: its token is valid",
        "Instagram account 17800000000000002: subscribed",
        "its token has instagram_manage_messages",
    ] {
        assert_finds(&report, "ok", part);
    }
    let again = act(&platform, "register").await;
    assert!(findings(&again, "changed").is_empty(), "{again:#}");
}

#[tokio::test]
async fn personas_and_templates_of_an_account_are_refused_before_the_network() {
    let platform = with_both().await;
    let template =
        json!({"name": "t", "language": "en_US", "components": [{"type": "BODY", "text": "hi"}]});
    for account in [INSTAGRAM, INSTAGRAM_LOGIN] {
        for request in [
            json!({"action": "personas"}),
            json!({"action": "create-persona", "name": "Ada L.", "profile_picture_url": "https://example.com/ada.png"}),
            json!({"action": "delete-persona", "persona_id": "1"}),
            json!({"action": "templates"}),
            json!({"action": "create-template", "template": template}),
        ] {
            let mut request = request;
            request["page_id"] = account.into();
            let error = platform.invoke_setup(request.clone()).await.unwrap_err();
            let says = "bad request: page_id: is an Instagram account's";
            assert!(error.starts_with(says), "{request}: {error}");
        }
    }
    assert!(platform.meta.take_calls().is_empty());
}

#[tokio::test]
async fn the_menu_and_the_ice_breakers_of_either_account_are_those_of_the_file() {
    let platform = with_both().await;
    act(&platform, "register").await;
    for account in [INSTAGRAM, INSTAGRAM_LOGIN] {
        platform.advance(10 * MINUTE).await;
        let breakers = json!([{"locale": "default",
            "call_to_actions": [{"question": "Another?", "payload": "P"}]}]);
        platform.meta.set_profile(account, "ice_breakers", breakers);
        platform.meta.set_profile(PAGE, "greeting", json!([{"locale": "default", "text": "Hi"}]));
        let report = act(&platform, "status").await;
        let differs = format!("Instagram account {account}: its profile differs in ice_breakers");
        assert_finds(&report, "warning", &differs);
        let report = act(&platform, "register").await;
        let updated = format!("Instagram account {account}: updated in its profile: ice_breakers");
        assert_finds(&report, "changed", &updated);
        assert_finds(&report, "changed", "Page 100000000000001: updated in its profile: greeting");
        let report = act(&platform, "status").await;
        assert!(findings(&report, "warning").is_empty(), "{report:#}");
        assert_eq!(platform.meta.profile_names(account), ["ice_breakers", "persistent_menu"]);
    }
}

#[tokio::test]
async fn an_account_that_is_listed_like_a_page_is_reported_with_what_to_write_instead() {
    let platform = with_both().await;
    let like_a_page = json!({INSTAGRAM: {"access_token": page_token(PAGE)}});
    platform.put_secret(|secret| secret["pages"] = like_a_page);
    let report = act(&platform, "status").await;
    assert_finds(&report, "error", "it is an Instagram account that is listed like a Page");
    let fix = format!(
        "\"pages\": {{\"{PAGE}\": {{\"access_token\": \"…\", \"instagram_id\": \"{INSTAGRAM}\"}}}}"
    );
    assert!(report.to_string().contains(&fix.replace('"', "\\\"")), "{report:#}");
    assert_hides_secrets(&report);
    let report = act(&platform, "register").await;
    assert_finds(&report, "error", "not subscribed: Meta: invalid");
    assert!(report.to_string().contains("named by the instagram_id of its Page"), "{report:#}");
}

#[tokio::test]
async fn what_is_listed_twice_works_and_is_reported() {
    let platform = with_both().await;
    platform.put_secret(|secret| {
        secret["pages"][INSTAGRAM] = json!({"access_token": page_token(PAGE)});
    });
    act(&platform, "register").await;
    let report = act(&platform, "status").await;
    assert_finds(&report, "warning", "listed like a Page as well");
    assert_eq!(report["ok"], true, "{report:#}");
}

#[tokio::test]
async fn a_link_to_another_account_and_one_that_is_not_used_are_reported() {
    let platform = with_both().await;
    act(&platform, "register").await;
    platform
        .put_secret(|secret| secret["pages"][PAGE]["instagram_id"] = "17800000000000009".into());
    let report = act(&platform, "status").await;
    let linked = "not linked to Page 100000000000001: Instagram account 17800000000000001 is";
    assert_finds(&report, "error", linked);
    platform.put_secret(|secret| {
        secret["pages"][PAGE].as_object_mut().unwrap().remove("instagram_id");
    });
    platform.advance(10 * MINUTE).await;
    let report = act(&platform, "status").await;
    assert_finds(
        &report,
        "note",
        "Instagram account 17800000000000001 is linked to it and not served",
    );
}

#[tokio::test]
async fn a_token_of_instagram_login_that_does_not_fit_is_reported() {
    let platform = with_both().await;
    act(&platform, "register").await;
    let account = |secret: &mut Value, id: &str, token: &str| {
        let accounts = json!({id: {"access_token": token}});
        secret["applications"]["instagram"]["instagram_accounts"] = accounts;
    };
    let own = page_token(INSTAGRAM_LOGIN);
    platform.put_secret(|secret| account(secret, "17800000000000009", &own));
    let report = act(&platform, "status").await;
    assert_finds(&report, "error", "its token belongs to Instagram account 17800000000000002");
    platform.put_secret(|secret| account(secret, INSTAGRAM_LOGIN, &page_token(PAGE)));
    let report = act(&platform, "status").await;
    assert_finds(&report, "error", "its token does not work: token_dead");
    assert!(report.to_string().contains("API setup with Instagram login"), "{report:#}");
}

#[tokio::test]
async fn a_pause_for_a_token_of_instagram_login_names_where_to_get_another() {
    let platform = with_both().await;
    platform.meta.kill_token(INSTAGRAM_LOGIN);
    let body = platform.meta.person_says(INSTAGRAM_LOGIN, "7800000000000001", "opening hours?");
    platform.deliver(&body).await;
    let report = act(&platform, "status").await;
    let findings = report["findings"].as_array().unwrap();
    let pause = findings.iter().find(|one| {
        one["about"].as_str().unwrap().contains(INSTAGRAM_LOGIN)
            && one["finding"].as_str().unwrap().starts_with("paused until the secret changes")
    });
    let fix = pause.unwrap()["fix"].as_str().unwrap();
    assert!(fix.contains("API setup with Instagram login"), "{report:#}");
}

#[tokio::test]
async fn accounts_of_both_logins_in_one_application_are_reported() {
    let platform = with_both().await;
    platform.put_secret(|secret| {
        let accounts = secret["applications"]["instagram"]["instagram_accounts"].take();
        secret["applications"] = json!({});
        secret["instagram_accounts"] = accounts;
    });
    for action in ["register", "status"] {
        let report = act(&platform, action).await;
        assert_finds(&report, "error", "both pages and instagram_accounts");
    }
}

#[tokio::test]
async fn the_conversations_of_an_account_are_read_from_its_sender_node() {
    let platform = with_both().await;
    for account in [INSTAGRAM, INSTAGRAM_LOGIN] {
        platform.deliver(&platform.meta.person_says(account, "7800000000000001", "hi")).await;
        let request = json!({"action": "conversations", "page_id": account});
        let listed = platform.invoke_setup(request).await.unwrap();
        let texts = listed["data"][0]["messages"]["data"].as_array().unwrap();
        assert_eq!(texts.last().unwrap()["message"], "hi", "{account}: {listed:#}");
    }
}
