//! The Messenger profile of a Page, against the file.

use super::*;

fn of_profile(calls: Vec<String>) -> Vec<String> {
    calls.into_iter().filter(|call| call.ends_with("/messenger_profile")).collect()
}

#[tokio::test]
async fn what_is_not_in_the_file_is_removed_at_meta() {
    let platform = platform().await;
    act(&platform, "register").await;
    let domains = json!(["https://example.com/"]);
    platform.meta.set_profile(PAGE, "whitelisted_domains", domains);
    platform.meta.set_profile(PAGE, "account_linking_url", json!("https://example.com/login"));
    let differs = "its profile differs in whitelisted_domains (not in the file), \
                   account_linking_url (not in the file)";
    assert_finds(&act(&platform, "status").await, "warning", differs);
    platform.meta.take_calls();
    let report = act(&platform, "register").await;
    let removed = "removed from its profile: whitelisted_domains, account_linking_url";
    assert_finds(&report, "changed", removed);
    let calls = of_profile(platform.meta.take_calls());
    assert_eq!(calls, ["GET /me/messenger_profile", "DELETE /me/messenger_profile"]);
    let profile = platform.meta.profile(PAGE);
    assert!(profile["whitelisted_domains"].is_null() && profile["account_linking_url"].is_null());
    assert_eq!(profile["get_started"]["payload"], "GET_STARTED", "the rest stays");
    assert_finds(&act(&platform, "status").await, "ok", "its profile is up to date");
}

#[tokio::test]
async fn a_page_costs_a_call_for_each_direction_at_most() {
    let platform = platform().await;
    act(&platform, "register").await;
    platform.meta.set_profile(PAGE, "commands", json!([{"locale": "default", "commands": []}]));
    platform.meta.set_profile(PAGE, "greeting", json!([{"locale": "default", "text": "Hi"}]));
    platform.meta.set_profile(PAGE, "get_started", json!({"payload": "ANOTHER"}));
    platform.meta.take_calls();
    let report = act(&platform, "register").await;
    assert_finds(&report, "changed", "updated in its profile: get_started, greeting");
    assert_finds(&report, "changed", "removed from its profile: commands");
    let calls = of_profile(platform.meta.take_calls());
    let path = "/me/messenger_profile";
    assert_eq!(calls, [format!("GET {path}"), format!("POST {path}"), format!("DELETE {path}")]);
}

#[tokio::test]
async fn ice_breakers_are_read_in_either_form() {
    let platform = platform().await;
    act(&platform, "register").await;
    for flat in [false, true] {
        platform.meta.set_flat_ice_breakers(PAGE, flat);
        platform.meta.take_calls();
        let report = act(&platform, "register").await;
        assert!(findings(&report, "changed").is_empty(), "{report:#}");
        assert_eq!(of_profile(platform.meta.take_calls()), ["GET /me/messenger_profile"]);
        assert_finds(&act(&platform, "status").await, "ok", "its profile is up to date");
    }
}
