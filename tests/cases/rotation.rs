//! The app secret and the tokens change while messages are being sent.

use std::sync::Arc;

use backend::store::PageItem;
use messenger::clock::{Clock, SharedClock};
use messenger::decision::Decision;
use messenger::message::Message;
use serde_json::{Value, json};
use simulator::gate::{Call, GRAPH, Verdict};
use simulator::platform::{Platform, Replies, SWEEP_TIMEOUT};
use simulator::samples::{self, APP_SCOPED_ID, APP_SECRET};

use crate::support::*;

const HELLO: Replies = |_, _, _| Ok(Decision::nothing().say(Message::text("hello")?));
const NEW_SECRET: &str = "the-new-app-secret";
const NEW_TOKEN: &str = "the-new-token";
const READ_SECRET: &str = "secretsmanager.GetSecretValue";

/// One side of a rotation of the app secret.
#[derive(Clone, Copy, Debug)]
enum Side {
    /// The owner resets it in Meta's dashboard.
    Meta,
    /// The owner puts it into the secret, with or without the previous one.
    Secret { previous: bool },
}

impl Side {
    fn change(self, platform: &Platform) {
        match self {
            Self::Meta => platform.meta.set_app_secret(NEW_SECRET),
            Self::Secret { previous } => platform.put_secret(|secret| {
                secret["app_secret"] = NEW_SECRET.into();
                if previous {
                    secret["previous_app_secret"] = APP_SECRET.into();
                }
            }),
        }
    }
}

/// A platform on which two people have written.
async fn heard_from() -> Arc<Platform> {
    let platform = platform_with(|options| options.replies = HELLO).await;
    for psid in [PSID, OTHER_PSID] {
        platform.deliver(&platform.meta.person_says(PAGE, psid, "hi")).await;
    }
    platform.advance(3 * MINUTE).await;
    platform
}

fn update(psid: &str, text: &str) -> Value {
    json!({"id": text, "page_id": PAGE, "psid": psid, "message": text, "purpose": "update"})
}

async fn send(platform: &Platform, psid: &str, text: &str) {
    platform.invoke_follow_ups(update(psid, text)).await.unwrap();
    platform.tick().await.unwrap();
}

async fn page(platform: &Platform) -> PageItem {
    platform.store().page(PAGE).await.unwrap()
}

async fn version(platform: &Platform) -> String {
    let environment = platform.containers().environment();
    environment.secrets.current().await.unwrap().version.clone()
}

#[tokio::test]
async fn a_rotation_of_the_app_secret_loses_nothing_in_either_order() {
    for order in [
        [Side::Meta, Side::Secret { previous: true }],
        [Side::Meta, Side::Secret { previous: false }],
        [Side::Secret { previous: true }, Side::Meta],
        [Side::Secret { previous: false }, Side::Meta],
    ] {
        let platform = heard_from().await;
        send(&platform, PSID, "before").await;
        order[0].change(&platform);
        platform.clock.forward(SECOND);
        send(&platform, PSID, "between").await;
        platform.advance(10 * MINUTE).await;
        order[1].change(&platform);
        platform.clock.forward(SECOND);
        send(&platform, PSID, "after").await;
        platform.advance(10 * MINUTE).await;
        let all = ["RESPONSE hello", "UPDATE before", "UPDATE between", "UPDATE after"];
        assert_eq!(delivered(&platform, PSID), all, "{order:?}");
        assert_eq!(counted(&platform, "Failed"), 0, "{order:?}");
        assert_no_leftovers(&platform, PSID).await;
        let paused_until = page(&platform).await.paused_until;
        assert!(paused_until < Some(platform.clock.now()), "{order:?}");
    }
}

#[tokio::test]
async fn with_the_previous_app_secret_in_the_secret_a_rotation_delays_nothing() {
    for is_sent_between in [true, false] {
        let platform = heard_from().await;
        let mut sides = [Side::Meta, Side::Secret { previous: true }];
        if is_sent_between {
            sides.reverse();
        }
        sides[0].change(&platform);
        platform.clock.forward(SECOND);
        let mut all = vec!["RESPONSE hello"];
        if is_sent_between {
            send(&platform, PSID, "between").await;
            all.push("UPDATE between");
            assert_eq!(delivered(&platform, PSID), all);
        }
        sides[1].change(&platform);
        platform.clock.forward(SECOND);
        send(&platform, PSID, "after").await;
        all.push("UPDATE after");
        assert_eq!(delivered(&platform, PSID), all);
        assert_eq!(counted(&platform, "PagePaused"), 0);
    }
}

#[tokio::test]
async fn a_wrong_proof_pauses_the_page_by_the_version_that_failed() {
    let platform = heard_from().await;
    let failed = version(&platform).await;
    Side::Meta.change(&platform);
    send(&platform, PSID, "kept").await;
    let paused = page(&platform).await;
    assert_eq!(paused.pause_reason.as_deref(), Some("proof_rejected"));
    assert_eq!(paused.pause_version, Some(failed));
    assert_eq!(counted(&platform, "PagePaused"), 1);
    let requests = platform.meta.requests().len();
    platform.clock.forward(SECOND);
    platform.tick().await.unwrap();
    assert_eq!(platform.meta.requests().len(), requests, "nothing is sent during the pause");
    Side::Secret { previous: false }.change(&platform);
    platform.advance(2 * MINUTE).await;
    assert_eq!(delivered(&platform, PSID).last().unwrap(), "UPDATE kept");
    assert_no_leftovers(&platform, PSID).await;
}

#[tokio::test]
async fn a_container_with_an_older_secret_does_not_end_the_pause_of_a_newer_one() {
    let platform = heard_from().await;
    platform.meta.kill_token(PAGE);
    platform.put_secret(|secret| secret["whatsapp_token"] = "another part changes".into());
    let newer = version(&platform).await;
    // The follow-ups' container reads the newer secret; the event processor's has the older one.
    send(&platform, PSID, "kept").await;
    assert_eq!(page(&platform).await.pause_version.as_deref(), Some(newer.as_str()));
    platform.clock.forward(6 * SECOND);
    let requests = platform.meta.requests().len();
    platform.deliver(&platform.meta.person_says(PAGE, OTHER_PSID, "are you there?")).await;
    assert_eq!(platform.meta.requests().len(), requests, "the Page is still paused");
    let paused = page(&platform).await;
    assert!(paused.paused_until.is_some());
    assert_eq!(paused.pause_version, Some(newer));
    assert_eq!(counted(&platform, "PagePaused"), 1, "it is not paused again and again");
}

/// Two messages fail with one secret. The first rereads it in vain; before that pauses the Page, the
/// second reads a newer secret, and is sent with it.
#[tokio::test]
async fn a_pause_never_holds_back_a_secret_that_works() {
    let platform = heard_from().await;
    for psid in [PSID, OTHER_PSID] {
        platform.invoke_follow_ups(update(psid, "now")).await.unwrap();
    }
    let clock: SharedClock = Arc::<simulator::clock::VirtualClock>::clone(&platform.clock);
    let functions = platform.instance(1, &clock).unwrap();
    platform.meta.set_token(PAGE, NEW_TOKEN);
    platform.gate.close();
    let tick = json!({"source": "schedule"});
    let sweep = functions.follow_ups.handle(tick, "sweep", clock.now() + SWEEP_TIMEOUT);
    let is_sent = |call: &Call| call.target == GRAPH;
    let is_read = |call: &Call| call.target == READ_SECRET;
    let order = async {
        // Both requests are under way with the old token.
        release_until(&platform, |held| held.len() == 2 && held.iter().all(is_sent)).await;
        release_first(&platform, is_sent).await;
        release_first(&platform, is_sent).await;
        release_first(&platform, is_read).await;
        held(&platform, is_read).await;
        platform.put_secret(|secret| secret["pages"][PAGE]["access_token"] = NEW_TOKEN.into());
        release_first(&platform, is_read).await;
        release_first(&platform, is_sent).await;
        loop {
            release_first(&platform, |_| true).await;
        }
    };
    tokio::select! {
        swept = sweep => { swept.unwrap(); }
        never = order => never,
    }
    let paused = page(&platform).await;
    assert_eq!((paused.paused_until, paused.pause_version), (None, None));
    assert_eq!(counted(&platform, "PagePaused"), 0);
    platform.advance(2 * MINUTE).await;
    for psid in [PSID, OTHER_PSID] {
        assert_eq!(delivered(&platform, psid), ["RESPONSE hello", "UPDATE now"]);
    }
}

/// Waits until such a call is held: its place.
async fn held(platform: &Platform, is_wanted: impl Fn(&Call) -> bool) -> usize {
    loop {
        if let Some(place) = platform.gate.held().iter().position(&is_wanted) {
            return place;
        }
        tokio::task::yield_now().await;
    }
}

async fn release_first(platform: &Platform, is_wanted: impl Fn(&Call) -> bool) {
    let place = held(platform, is_wanted).await;
    platform.gate.release(place, Verdict::Go);
}

/// Releases what is not a request to Graph, until the calls that are held fit.
async fn release_until(platform: &Platform, fits: impl Fn(&[Call]) -> bool) {
    loop {
        let held = platform.gate.held();
        if fits(&held) {
            return;
        }
        if let Some(place) = held.iter().position(|call| call.target != GRAPH) {
            platform.gate.release(place, Verdict::Go);
        }
        tokio::task::yield_now().await;
    }
}

/// A data deletion that Meta signed at this instant: its confirmation code.
async fn begin_deletion(platform: &Platform) -> String {
    let issued_at = platform.clock.now().millis() / 1000;
    let payload =
        json!({"algorithm": "HMAC-SHA256", "issued_at": issued_at, "user_id": APP_SCOPED_ID});
    let mut sample = samples::read("api/begin-deletion").unwrap();
    let signed = samples::sign_request(&payload, APP_SECRET).unwrap();
    sample["body"] = format!("signed_request={signed}").into();
    let request = lambda_http::request::from_str(&sample.to_string()).unwrap();
    let answer = platform.invoke_api(&request).await;
    assert_eq!(answer.status(), 200);
    let confirmation: Value = serde_json::from_slice(answer.body()).unwrap();
    confirmation["confirmation_code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_rotation_in_either_order_fails_no_data_deletion() {
    for sides in [
        &[Side::Secret { previous: true }][..],
        &[Side::Meta, Side::Secret { previous: true }],
        &[Side::Meta, Side::Secret { previous: false }],
    ] {
        let platform = heard_from().await;
        platform.tick().await.unwrap();
        let code = begin_deletion(&platform).await;
        for side in sides {
            side.change(&platform);
        }
        platform.clock.forward(SECOND);
        platform.tick().await.unwrap();
        let deletion = platform.store().deletion(&code).await.unwrap().unwrap();
        assert_eq!(deletion.state.name(), "erased", "{sides:?}");
    }
}

#[tokio::test]
async fn setup_uses_the_app_secret_that_meta_accepts() {
    for sides in
        [&[Side::Secret { previous: true }][..], &[Side::Meta, Side::Secret { previous: true }]]
    {
        let platform = heard_from().await;
        for side in sides {
            side.change(&platform);
        }
        for action in ["register", "status", "unregister"] {
            let report = platform.invoke_setup(json!({"action": action})).await.unwrap();
            assert_eq!(report["ok"], true, "{sides:?} {action} {report:#}");
        }
        for request in [
            json!({"action": "templates", "page_id": PAGE}),
            json!({"action": "conversations", "page_id": PAGE}),
        ] {
            platform.invoke_setup(request).await.unwrap();
        }
    }
}
