//! The status report.

use super::*;

#[tokio::test]
async fn the_status_of_a_sound_installation_has_nothing_wrong() {
    let platform = platform().await;
    act(&platform, "register").await;
    let report = act(&platform, "status").await;
    assert_eq!(report["ok"], true, "{report:#}");
    assert!(findings(&report, "warning").is_empty(), "{report:#}");
    for part in [
        "Graph v25.0 is available until 2028-07-29",
        "our clock agrees with Meta's",
        "its token is valid and does not expire",
        "its token has pages_messaging",
        "subscribed at both levels",
        "its profile is up to date",
        "not paused",
    ] {
        assert_finds(&report, "ok", part);
    }
    assert_finds(&report, "note", "HUMAN_AGENT");
    assert_hides_secrets(&report);
}

#[tokio::test]
async fn an_event_that_lacks_one_level_is_reported_with_its_level() {
    let platform = platform().await;
    act(&platform, "register").await;
    platform.meta.drop_app_field(APP_ID, "message_echoes");
    let report = act(&platform, "status").await;
    assert_finds(
        &report,
        "error",
        "at the level of the app, so these events are not delivered: message_echoes",
    );
    assert!(!platform.meta.fires(PAGE, "message_echoes"));
}

#[tokio::test]
async fn a_field_without_its_second_level_brings_no_event() {
    for (tracks_receipts, count) in [("off", 2), ("on", 4)] {
        let platform = platform_with(|options| {
            options.variables.insert("TRACK_RECEIPTS".to_owned(), tracks_receipts.to_owned());
        })
        .await;
        platform.meta.heed_subscriptions();
        let echoes = async || {
            platform.deliver(&platform.meta.person_says(PAGE, PSID, "opening hours?")).await;
            counted(&platform, "EventsReceived")
        };
        assert_eq!(echoes().await, 1, "neither echo nor receipt");
        act(&platform, "register").await;
        assert_eq!(echoes().await, 1 + count, "message, echo, and with the setting delivery, read");
    }
}

#[tokio::test]
async fn a_token_that_ends_or_lacks_something_is_reported() {
    let platform = platform().await;
    act(&platform, "register").await;
    let in_three_days = (platform.clock.now() + 3 * DAY).millis() / 1000;
    platform.meta.set_token_end(PAGE, in_three_days);
    assert_finds(&act(&platform, "status").await, "warning", "valid until 2026-11-25T09:00:00Z");
    platform.meta.set_scopes(PAGE, &["pages_manage_metadata"]);
    let report = act(&platform, "status").await;
    assert_finds(&report, "error", "lacks pages_messaging");
    assert_finds(&report, "note", "lacks page_utility_messaging");
    platform.meta.kill_token(PAGE);
    assert_finds(&act(&platform, "status").await, "error", "its token is no longer valid");
}

#[tokio::test]
async fn the_token_of_another_app_or_of_a_user_is_reported() {
    let platform = with_shop().await;
    let user = UserToken { app_id: APP_ID.to_owned(), ..user() };
    platform.meta.add_user_token("a-user-token", user);
    platform.put_secret(|secret| secret["pages"][PAGE]["access_token"] = "a-user-token".into());
    assert_finds(&act(&platform, "status").await, "error", "its token is a user token");
    let of_shop = page_token(SHOP_PAGE);
    platform.put_secret(|secret| secret["pages"][PAGE]["access_token"] = of_shop.into());
    assert_finds(&act(&platform, "status").await, "error", "cannot inspect its token");
}

#[tokio::test]
async fn a_paused_page_is_reported_with_its_reason() {
    let platform = platform().await;
    platform.meta.kill_token(PAGE);
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "opening hours?")).await;
    assert_finds(
        &act(&platform, "status").await,
        "error",
        "paused until the secret changes (token_dead)",
    );
}

#[tokio::test]
async fn clocks_that_differ_are_reported() {
    let platform = platform().await;
    for (skew, state) in [(2_000, "ok"), (-20_000, "warning"), (120_000, "error")] {
        platform.meta.set_skew(skew);
        assert_finds(&act(&platform, "status").await, state, "clock");
    }
}

#[tokio::test]
async fn a_graph_version_near_or_past_its_end_is_reported() {
    for (version, state) in
        [("v21.0", "warning"), ("v22.0", "ok"), ("v26.0", "ok"), ("v19.0", "note")]
    {
        let platform = platform_with(|options| {
            options.variables.insert("GRAPH_VERSION".to_owned(), version.to_owned());
        })
        .await;
        assert_finds(&act(&platform, "status").await, state, &format!("Graph {version}"));
        if version == "v21.0" {
            platform.clock.forward(60 * DAY);
            assert_finds(&act(&platform, "status").await, "error", "Graph v21.0 ended");
        }
    }
}
