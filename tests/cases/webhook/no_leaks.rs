//! No answer, metric or log line contains a secret or a person.

use super::*;

#[tokio::test]
async fn no_answer_and_no_metric_tells_a_secret_or_a_person() {
    let platform = platform().await;
    let told = everything_that_is_answered(&platform).await;
    assert!(told.contains("INVALID_SIGNATURE") && told.contains("FORBIDDEN"), "{told}");
    let metrics = format!("{:?}", platform.metrics.lock().unwrap());
    assert!(metrics.contains("EventsReceived"));
    assert_reveals_nothing(&format!("{told}{metrics}"));
}

/// Answers of every kind, one per line.
pub(crate) async fn everything_that_is_answered(platform: &Platform) -> String {
    let body = secret_notification();
    let mut told = String::new();
    let mut tell = |(status, body): (u16, String)| writeln!(told, "{status} {body}").unwrap();
    tell(invoke(platform, signed(platform, &body)).await);
    tell(
        invoke(
            platform,
            signed(platform, &notification_to(ANOTHER_PAGE, &[message(PSID, "m", "hush")])),
        )
        .await,
    );
    tell(invoke(platform, signed(platform, b"hush, this is not JSON")).await);
    tell(invoke(platform, post(&body, None)).await);
    tell(invoke(platform, post(&body, Some("sha256=hush"))).await);
    tell(invoke(platform, post(&body, Some(&sign_with("another-secret", &body)))).await);
    tell(verify(platform, "subscribe", "another-token", "1").await);
    tell(verify(platform, "other", VERIFY_TOKEN, "1").await);
    tell(invoke(platform, get(&[("hub.verify_token", VERIFY_TOKEN)])).await);
    platform.sqs.set_down(true);
    tell(invoke(platform, signed(platform, &body)).await);
    platform.sqs.set_down(false);
    platform.clock.forward(FRESH_FOR);
    platform.put_secret(|secret| {
        secret["app_secret"] = "".into();
        secret["verify_token"] = "".into();
    });
    tell(invoke(platform, signed(platform, &body)).await);
    tell(verify(platform, "subscribe", VERIFY_TOKEN, "1").await);
    platform.clock.forward(FRESH_FOR);
    platform.secrets_manager.set_down(true);
    tell(invoke(platform, signed(platform, &body)).await);
    told
}

fn secret_notification() -> Vec<u8> {
    notification(&[message(PSID, "m_hush", "hush")])
}

#[track_caller]
fn assert_reveals_nothing(told: &str) {
    let expected = sign_with(APP_SECRET, &secret_notification());
    let token = page_token(PAGE);
    let digits = expected.trim_start_matches("sha256=");
    for hidden in [APP_SECRET, VERIFY_TOKEN, &token, digits, PSID, "hush"] {
        assert!(!told.contains(hidden), "{hidden} is in {told}");
    }
}
