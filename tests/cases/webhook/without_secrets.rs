//! Without a secret, or without Secrets Manager.

use super::*;

#[tokio::test]
async fn without_a_verify_token_in_the_secret_nothing_is_verified() {
    for token in [Value::Null, "".into()] {
        let platform = platform().await;
        platform.put_secret(|secret| secret["verify_token"] = token);
        for claimed in [VERIFY_TOKEN, "null", " "] {
            assert_eq!(verify(&platform, "subscribe", claimed, "1").await.0, 403, "{claimed}");
        }
    }
}

#[tokio::test]
async fn without_secrets_manager_nothing_is_verified() {
    let platform = platform().await;
    platform.secrets_manager.set_down(true);
    assert_eq!(verify(&platform, "subscribe", VERIFY_TOKEN, "1").await.0, 403);
}

#[tokio::test]
async fn without_an_app_secret_nothing_is_accepted() {
    for absent in [Value::Null, "".into()] {
        let platform = platform().await;
        platform.put_secret(|secret| {
            secret["app_secret"] = absent.clone();
            secret["previous_app_secret"] = absent;
        });
        let body = notification(&[message(PSID, "m_1", "hi")]);
        for key in ["", "null", APP_SECRET] {
            let header = sign_with(key, &body);
            assert_eq!(invoke(&platform, post(&body, Some(&header))).await.0, 500, "{key}");
        }
        assert_nothing_queued(&platform);
    }
}

#[tokio::test]
async fn with_a_secret_of_another_form_nothing_is_accepted() {
    for contents in ["", "sample-app-secret", "[]", "5", "{\"app_secret\":5}"] {
        let platform = platform().await;
        platform.secrets_manager.put(&platform.environment()["SECRET_ID"], contents);
        let status = receive(&platform, &notification(&[message(PSID, "m_1", "hi")])).await;
        assert_eq!(status, 500, "{contents}");
        assert_nothing_queued(&platform);
    }
}

#[tokio::test]
async fn without_secrets_manager_a_notification_waits_at_meta() {
    let platform = platform().await;
    let body = notification(&[message(PSID, "m_1", "hi")]);
    platform.secrets_manager.set_down(true);
    assert_eq!(receive(&platform, &body).await, 500);
    assert_nothing_queued(&platform);
    platform.secrets_manager.set_down(false);
    assert_eq!(receive(&platform, &body).await, 200);
    assert_eq!(texts(&platform), ["hi"]);
}

#[tokio::test]
async fn the_kept_secret_serves_while_secrets_manager_is_down() {
    let platform = with_kept_secret().await;
    platform.secrets_manager.set_down(true);
    platform.clock.forward(DAY);
    assert_eq!(receive(&platform, &notification(&[message(PSID, "m_1", "hi")])).await, 200);
    assert_eq!(texts(&platform), ["hi"]);
    assert_eq!(verify(&platform, "subscribe", VERIFY_TOKEN, "1").await.0, 200);
}

#[tokio::test]
async fn forgeries_are_refused_while_secrets_manager_is_down() {
    let platform = with_kept_secret().await;
    platform.secrets_manager.set_down(true);
    platform.clock.forward(DAY);
    let body = notification(&[message(PSID, "m_1", "hi")]);
    let header = sign_with("another-secret", &body);
    assert_eq!(invoke(&platform, post(&body, Some(&header))).await.0, 401);
    assert_nothing_queued(&platform);
}

#[tokio::test]
async fn while_secrets_manager_is_down_it_is_asked_once_a_minute() {
    let platform = with_kept_secret().await;
    platform.secrets_manager.set_down(true);
    platform.clock.forward(FRESH_FOR);
    let before = platform.secrets_manager.calls();
    for minute in 1..=3 {
        for part in 0..4 {
            let body = notification(&[message(PSID, &format!("m_{minute}_{part}"), "hi")]);
            assert_eq!(receive(&platform, &body).await, 200);
        }
        assert_eq!(platform.secrets_manager.calls(), before + minute);
        platform.clock.forward(MINUTE);
    }
}

#[tokio::test]
async fn an_app_secret_that_was_emptied_serves_no_longer() {
    let platform = with_kept_secret().await;
    platform.put_secret(|secret| secret["app_secret"] = "".into());
    platform.clock.forward(FRESH_FOR);
    assert_eq!(receive(&platform, &notification(&[message(PSID, "m_1", "hi")])).await, 500);
    assert_nothing_queued(&platform);
}
