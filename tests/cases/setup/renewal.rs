//! Tokens that end: renewed by a daily schedule, into a secret that others change too.

use simulator::samples::{IGSID, INSTAGRAM_LOGIN};

use super::*;

async fn with_login() -> Arc<Platform> {
    platform_with(|options| options.instagram_login = vec![INSTAGRAM_LOGIN.to_owned()]).await
}

fn secret(platform: &Platform) -> Value {
    serde_json::from_str(&platform.secrets_manager.current("messenger").unwrap()).unwrap()
}

fn account(secret: &Value) -> &Value {
    &secret["applications"]["instagram"]["instagram_accounts"][INSTAGRAM_LOGIN]
}

async fn answers(platform: &Platform) -> usize {
    let before = platform.meta.delivered(INSTAGRAM_LOGIN, IGSID).len();
    platform.deliver(&platform.meta.person_says(INSTAGRAM_LOGIN, IGSID, "opening hours?")).await;
    platform.meta.delivered(INSTAGRAM_LOGIN, IGSID).len() - before
}

#[tokio::test]
async fn a_token_of_sixty_days_is_renewed_for_as_long_as_the_schedule_runs() {
    let platform = with_login().await;
    let first = act(&platform, "renew-tokens").await;
    assert_finds(&first, "error", "its token is not renewed");
    assert_eq!(counted(&platform, "TokenExpiresSoon"), 1);
    assert!(!crate::alarms::has_rung(&platform, "TokenExpiresSoonAlarm"), "it takes two days");
    let mut renewals = 0;
    for _ in 0..200 {
        platform.clock.forward(DAY);
        let report = act(&platform, "renew-tokens").await;
        assert_eq!(report["ok"], true, "{report:#}");
        renewals += findings(&report, "changed").len();
        assert_hides_secrets(&report);
    }
    assert_eq!(renewals, 14, "on the second day, and then every fifteen days");
    assert_eq!(counted(&platform, "TokenExpiresSoon"), 1);
    assert_eq!(answers(&platform).await, 1);
    assert!(platform.meta.urls().iter().all(|url| !url.contains("sample-token-of")));
}

#[tokio::test]
async fn what_others_change_while_a_token_is_written_is_kept() {
    let platform = with_login().await;
    platform.clock.forward(DAY);
    let mut theirs = secret(&platform);
    theirs["api_key"] = "another key".into();
    platform.secrets_manager.interject("messenger", &theirs.to_string());
    let report = act(&platform, "renew-tokens").await;
    assert_finds(&report, "changed", "its token is renewed, valid until 2027-01-22T09:00:00Z");
    let now = secret(&platform);
    assert_eq!(now["api_key"], "another key");
    assert_eq!(account(&now)["expires_at"], "2027-01-22T09:00:00Z");
    assert_eq!(answers(&platform).await, 1);
}

#[tokio::test]
async fn a_token_that_somebody_has_put_there_meanwhile_stays() {
    let platform = with_login().await;
    platform.clock.forward(DAY);
    let mut theirs = secret(&platform);
    theirs["applications"]["instagram"]["instagram_accounts"][INSTAGRAM_LOGIN] =
        json!({"access_token": "their own"});
    platform.secrets_manager.interject("messenger", &theirs.to_string());
    act(&platform, "renew-tokens").await;
    assert_eq!(secret(&platform), theirs);
}

#[tokio::test]
async fn a_secret_that_changes_each_time_is_left_to_the_next_day() {
    let platform = with_login().await;
    platform.clock.forward(DAY);
    for n in 0..3 {
        let mut theirs = secret(&platform);
        theirs["api_key"] = format!("key {n}").into();
        platform.secrets_manager.interject("messenger", &theirs.to_string());
    }
    let report = act(&platform, "renew-tokens").await;
    assert_finds(&report, "error", "its new token is not in the secret: the secret was changed by");
    assert_eq!(secret(&platform)["api_key"], "key 2");
}

#[tokio::test]
async fn a_token_that_cannot_be_renewed_is_counted_from_a_month_before_its_end() {
    let platform = with_login().await;
    platform.clock.forward(DAY);
    assert_eq!(act(&platform, "renew-tokens").await["ok"], true);
    // Meta does not answer on that host any more.
    let mut containers = platform.containers();
    let nowhere = "http://127.0.0.1:1".to_owned();
    containers.variables.insert("GRAPH_INSTAGRAM_BASE_URL".to_owned(), nowhere);
    let setup = containers.start("setup", Setup::new).unwrap();
    for (days, is_counted) in [(29, false), (1, true), (1, true), (27, true)] {
        platform.clock.forward(days * DAY);
        let before = counted(&platform, "TokenExpiresSoon");
        let deadline = platform.clock.now() + 5 * MINUTE;
        let renew = json!({"action": "renew-tokens"});
        let report = setup.handle(renew, "renewal", deadline).await.unwrap();
        assert_finds(&report, "error", "its token is not renewed: not_connected");
        let counted = counted(&platform, "TokenExpiresSoon") - before;
        assert_eq!(counted == 1, is_counted, "{days}");
    }
    assert!(crate::alarms::has_rung(&platform, "TokenExpiresSoonAlarm"));
}

#[tokio::test]
async fn the_token_of_a_page_that_ends_is_counted_too() {
    let platform = platform().await;
    act(&platform, "renew-tokens").await;
    assert_eq!(counted(&platform, "TokenExpiresSoon"), 0);
    let in_three_days = (platform.clock.now() + 3 * DAY).millis() / 1000;
    platform.meta.set_token_end(PAGE, in_three_days);
    let report = act(&platform, "renew-tokens").await;
    assert_finds(&report, "warning", "its token is valid until 2026-11-25T09:00:00Z");
    platform.meta.kill_token(PAGE);
    assert_finds(&act(&platform, "renew-tokens").await, "warning", "its token is no longer valid");
    assert_eq!(counted(&platform, "TokenExpiresSoon"), 2);
}
