//! Verification: Meta's GET with the challenge.

use super::*;

#[tokio::test]
async fn the_challenge_comes_back_untouched() {
    let platform = platform().await;
    for challenge in ["1158201444", " a+b c&d=e;f%25#?/\\ ", "\"<b>ü漢\u{1F600}</b>\"\r\n", "0"] {
        let answer = verify(&platform, "subscribe", VERIFY_TOKEN, challenge).await;
        assert_eq!(answer, (200, challenge.to_owned()));
    }
}

#[tokio::test]
async fn the_challenge_is_plain_text() {
    let platform = platform().await;
    let request = verification("subscribe", VERIFY_TOKEN, "<script>");
    let response = platform.invoke_webhook(request).await;
    assert_eq!(response.headers()[CONTENT_TYPE], "text/plain; charset=utf-8");
}

#[tokio::test]
async fn another_verify_token_is_forbidden() {
    let platform = platform().await;
    let (shorter, longer) = (&VERIFY_TOKEN[1..], format!("{VERIFY_TOKEN}1"));
    for token in [shorter, &longer, &VERIFY_TOKEN.to_uppercase(), APP_SECRET, " "] {
        let (status, body) = verify(&platform, "subscribe", token, "1158201444").await;
        assert_eq!(status, 403, "{token}");
        assert!(!body.contains("1158201444"), "{token}");
    }
}

#[tokio::test]
async fn another_mode_is_forbidden() {
    let platform = platform().await;
    for mode in ["unsubscribe", "SUBSCRIBE", "subscribe "] {
        assert_eq!(verify(&platform, mode, VERIFY_TOKEN, "1").await.0, 403, "{mode}");
    }
}

#[tokio::test]
async fn a_missing_parameter_is_a_bad_request() {
    let platform = platform().await;
    let whole =
        [("hub.mode", "subscribe"), ("hub.verify_token", VERIFY_TOKEN), ("hub.challenge", "1")];
    for missing in 0..whole.len() {
        let mut absent = whole.to_vec();
        let (name, _) = absent.remove(missing);
        let mut empty = whole.to_vec();
        empty[missing].1 = "";
        for parameters in [absent, empty] {
            let (status, body) = invoke(&platform, get(&parameters)).await;
            assert_eq!(status, 400, "{parameters:?}");
            assert!(body.contains(name), "{body}");
        }
    }
    assert_eq!(invoke(&platform, get(&[])).await.0, 400);
}

#[tokio::test]
async fn a_new_verify_token_is_taken_after_one_reread_and_the_old_one_is_not() {
    let platform = platform().await;
    assert_eq!(verify(&platform, "subscribe", VERIFY_TOKEN, "1").await.0, 200);
    platform.put_secret(|secret| secret["verify_token"] = "new-token".into());
    platform.clock.forward(MINUTE);
    let before = platform.secrets_manager.calls();
    assert_eq!(verify(&platform, "subscribe", "new-token", "1").await.0, 200);
    assert_eq!(platform.secrets_manager.calls(), before + 1);
    assert_eq!(verify(&platform, "subscribe", VERIFY_TOKEN, "1").await.0, 403);
}

#[tokio::test]
async fn wrong_verify_tokens_cause_one_reread_a_minute() {
    let platform = platform().await;
    let calls = async |count: usize| {
        for _ in 0..count {
            assert_eq!(verify(&platform, "subscribe", "wrong", "1").await.0, 403);
        }
        platform.secrets_manager.calls()
    };
    assert_eq!(calls(5).await, 1);
    platform.clock.forward(MINUTE);
    assert_eq!(calls(5).await, 2);
}

#[tokio::test]
async fn other_methods_are_refused() {
    let platform = platform().await;
    let body = notification(&[message(PSID, "m_1", "hi")]);
    for method in ["PUT", "DELETE", "PATCH"] {
        let mut request = signed(&platform, &body);
        *request.method_mut() = method.parse().unwrap();
        assert_eq!(invoke(&platform, request).await.0, 405, "{method}");
    }
    assert_nothing_queued(&platform);
}
