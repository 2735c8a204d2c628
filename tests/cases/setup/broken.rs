//! Ten set-ups that do not work, and the remedy that `status` names for each.

use simulator::samples::INSTAGRAM;

use super::*;

const OTHER_PAGE: &str = "100000000000002";

struct Broken {
    what: &'static str,
    damage: fn(&Platform),
    level: &'static str,
    finding: &'static str,
    remedy: &'static str,
    /// Whether registering is the remedy.
    is_registered_away: bool,
}

/// Two Pages, one with an Instagram account; registered, and somebody has written.
async fn sound() -> Arc<Platform> {
    let platform = platform_with(|options| {
        options.pages = vec![PAGE.to_owned(), OTHER_PAGE.to_owned()];
        options.instagram = vec![INSTAGRAM.to_owned()];
    })
    .await;
    platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
    assert_eq!(act(&platform, "register").await["ok"], true);
    // Meta takes ten calls of the profile in ten minutes.
    platform.advance(10 * MINUTE).await;
    platform
}

fn broken() -> Vec<Broken> {
    const NONE: Broken = Broken {
        what: "",
        damage: |_| {},
        level: "error",
        finding: "",
        remedy: "",
        is_registered_away: false,
    };
    vec![
        Broken {
            what: "wrong secret",
            damage: |it| it.put_secret(|secret| secret["app_secret"] = "wrong".into()),
            finding: "cannot read its subscriptions: token_dead",
            remedy: "compare app_id and app_secret in the secret with the app's basic settings",
            ..NONE
        },
        Broken {
            what: "wrong Page",
            damage: |it| {
                let token = page_token(OTHER_PAGE);
                it.put_secret(|secret| secret["pages"][PAGE]["access_token"] = token.into());
            },
            finding: "its token belongs to Page 100000000000002",
            remedy: "list the token under 100000000000002, or generate one for 100000000000001",
            ..NONE
        },
        Broken {
            what: "missing field",
            damage: |it| it.meta.drop_app_field(APP_ID, "messaging_postbacks"),
            finding: "not delivered: messaging_postbacks",
            remedy: "{\"action\":\"register\"}",
            is_registered_away: true,
            ..NONE
        },
        Broken {
            what: "missing permission",
            damage: |it| it.meta.set_scopes(PAGE, &["pages_messaging", "instagram_basic"]),
            finding: "lacks pages_manage_metadata",
            remedy: "grant the token pages_messaging, pages_manage_metadata",
            ..NONE
        },
        Broken {
            what: "dead token",
            damage: |it| it.meta.kill_token(PAGE),
            finding: "its token is no longer valid",
            remedy: "generate a new Page token",
            ..NONE
        },
        Broken {
            what: "expiring token",
            damage: |it| {
                let end = (it.clock.now() + 3 * DAY).millis() / 1000;
                it.meta.set_token_end(PAGE, end);
            },
            level: "warning",
            finding: "its token is valid until 2026-11-25",
            remedy: "generate a new Page token",
            ..NONE
        },
        Broken {
            what: "routing to another app",
            damage: |it| it.meta.route_to(PAGE, Some("300000000000099")),
            level: "warning",
            finding: "another app, or the inbox, owns all of its 1 newest conversations",
            remedy: "make this app the Page's default app",
            ..NONE
        },
        Broken {
            what: "unlinked Instagram account",
            damage: |it| it.meta.unlink_instagram(INSTAGRAM),
            finding: "Instagram account 17800000000000001: not linked to Page 100000000000001",
            remedy: "link it in the Page's settings",
            ..NONE
        },
        Broken {
            what: "callback elsewhere",
            damage: |it| {
                let elsewhere = it.url().replace("127.0.0.1", "localhost");
                it.meta.move_callback(APP_ID, &format!("{elsewhere}/webhook"));
            },
            finding: "page: the callback is http://localhost",
            remedy: "{\"action\":\"register\"}",
            is_registered_away: true,
            ..NONE
        },
        Broken {
            what: "profile differing",
            damage: |it| {
                let other = json!([{"locale": "default", "text": "Another"}]);
                it.meta.set_profile(PAGE, "greeting", other);
            },
            level: "warning",
            finding: "its profile differs in greeting",
            remedy: "{\"action\":\"register\"}",
            is_registered_away: true,
        },
    ]
}

fn remedy_of<'a>(report: &'a Value, level: &str, part: &str) -> Option<&'a str> {
    let mut findings = report["findings"].as_array().unwrap().iter();
    let found = findings.find(|one| {
        let text =
            format!("{}: {}", one["about"].as_str().unwrap(), one["finding"].as_str().unwrap());
        one["level"] == level && text.contains(part)
    });
    found.and_then(|found| found["fix"].as_str())
}

#[tokio::test]
async fn each_broken_setup_is_found_and_its_remedy_named() {
    let report = act(&*sound().await, "status").await;
    assert_eq!(report["ok"], true, "{report:#}");
    assert!(findings(&report, "warning").is_empty(), "{report:#}");
    let broken = broken();
    assert_eq!(broken.len(), 10);
    for Broken { what, damage, level, finding, remedy, is_registered_away } in broken {
        let platform = sound().await;
        damage(&platform);
        let report = act(&platform, "status").await;
        let named = remedy_of(&report, level, finding);
        assert!(named.is_some_and(|named| named.contains(remedy)), "{what}: {report:#}");
        assert_hides_secrets(&report);
        if is_registered_away {
            platform.advance(10 * MINUTE).await;
            assert_eq!(act(&platform, "register").await["ok"], true, "{what}");
            platform.advance(10 * MINUTE).await;
            let report = act(&platform, "status").await;
            assert_eq!(remedy_of(&report, level, finding), None, "{what}: {report:#}");
        }
    }
}
