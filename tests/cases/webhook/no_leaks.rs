//! No answer, metric or log line contains a secret or a person.

use super::*;

#[tokio::test]
async fn no_answer_and_no_metric_tells_a_secret_or_a_person() {
    let platform = platform().await;
    let answer = everything_that_is_answered(&platform).await;
    assert!(answer.contains("INVALID_SIGNATURE") && answer.contains("FORBIDDEN"), "{answer}");
    let metrics = format!("{:?}", platform.metrics.lock().unwrap());
    assert!(metrics.contains("EventsReceived"));
    assert_reveals_nothing(&format!("{answer}{metrics}"));
}

/// Answers of every kind, one per line.
pub(crate) async fn everything_that_is_answered(platform: &Platform) -> String {
    let body = secret_notification();
    let mut answer = String::new();
    let mut describe = |(status, body): (u16, String)| writeln!(answer, "{status} {body}").unwrap();
    describe(invoke(platform, signed(platform, &body)).await);
    describe(
        invoke(
            platform,
            signed(platform, &notification_to(ANOTHER_PAGE, &[message(PSID, "m", "hush")])),
        )
        .await,
    );
    describe(invoke(platform, signed(platform, b"hush, this is not JSON")).await);
    describe(invoke(platform, post(&body, None)).await);
    describe(invoke(platform, post(&body, Some("sha256=hush"))).await);
    describe(invoke(platform, post(&body, Some(&sign_with("another-secret", &body)))).await);
    describe(verify(platform, "subscribe", "another-token", "1").await);
    describe(verify(platform, "other", VERIFY_TOKEN, "1").await);
    describe(invoke(platform, get(&[("hub.verify_token", VERIFY_TOKEN)])).await);
    platform.sqs.set_down(true);
    describe(invoke(platform, signed(platform, &body)).await);
    platform.sqs.set_down(false);
    platform.clock.forward(FRESH_FOR);
    platform.put_secret(|secret| {
        secret["app_secret"] = "".into();
        secret["verify_token"] = "".into();
    });
    describe(invoke(platform, signed(platform, &body)).await);
    describe(verify(platform, "subscribe", VERIFY_TOKEN, "1").await);
    platform.clock.forward(FRESH_FOR);
    platform.secrets_manager.set_down(true);
    describe(invoke(platform, signed(platform, &body)).await);
    answer
}

fn secret_notification() -> Vec<u8> {
    notification(&[message(PSID, "m_hush", "hush")])
}

#[track_caller]
fn assert_reveals_nothing(answer: &str) {
    let expected = sign_with(APP_SECRET, &secret_notification());
    let token = page_token(PAGE);
    let digits = expected.trim_start_matches("sha256=");
    for hidden in [APP_SECRET, VERIFY_TOKEN, &token, digits, PSID, "hush"] {
        assert!(!answer.contains(hidden), "{hidden} is in {answer}");
    }
}
