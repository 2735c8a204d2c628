//! Signatures: which are accepted, and how often the secret is read again.

use super::*;

#[tokio::test]
async fn a_signature_of_another_secret_is_refused() {
    let platform = platform().await;
    let body = notification(&[message(PSID, "m_1", "hi")]);
    let header = sign_with("another-secret", &body);
    let answer = invoke(&platform, post(&body, Some(&header))).await;
    assert_eq!(answer, (401, "INVALID_SIGNATURE".to_owned()));
    assert_nothing_queued(&platform);
}

#[tokio::test]
async fn a_signature_of_another_body_is_refused() {
    let platform = platform().await;
    let body = notification(&[message(PSID, "m_1", "hi")]);
    let header = platform.meta.sign(&body);
    let spaced = [&body[..], b"\n"].concat();
    let other = notification(&[message(PSID, "m_1", "ho")]);
    for forged in [&spaced[..], &other, &body[..body.len() - 1], b""] {
        assert_eq!(invoke(&platform, post(forged, Some(&header))).await.0, 401);
    }
    assert_nothing_queued(&platform);
}

#[tokio::test]
async fn a_missing_signature_is_refused() {
    let platform = platform().await;
    let body = notification(&[message(PSID, "m_1", "hi")]);
    assert_eq!(invoke(&platform, post(&body, None)).await.0, 401);
    assert_nothing_queued(&platform);
}

#[tokio::test]
async fn the_retired_sha1_header_is_no_signature() {
    let platform = platform().await;
    let body = notification(&[message(PSID, "m_1", "hi")]);
    let mut request = signed(&platform, &body);
    let header = request.headers_mut().remove(SIGNATURE_HEADER).unwrap();
    request.headers_mut().insert("x-hub-signature", header);
    assert_eq!(invoke(&platform, request).await.0, 401);
    assert_nothing_queued(&platform);
}

#[tokio::test]
async fn a_malformed_signature_is_refused() {
    let platform = platform().await;
    let body = notification(&[message(PSID, "m_1", "hi")]);
    let good = platform.meta.sign(&body);
    let digits = good.strip_prefix("sha256=").unwrap();
    let malformed = [
        String::new(),
        "sha256=".to_owned(),
        digits.to_owned(),
        format!("sha1={digits}"),
        good[..good.len() - 1].to_owned(),
        format!("{good}0"),
        format!("{good},{good}"),
        format!("sha256={}", "g".repeat(64)),
        format!("sha256={}", "é".repeat(32)),
    ];
    for header in malformed {
        assert_eq!(invoke(&platform, post(&body, Some(&header))).await.0, 401, "{header}");
    }
    assert_nothing_queued(&platform);
}

#[tokio::test]
async fn what_is_not_signed_at_all_asks_for_no_secret() {
    let platform = platform().await;
    let body = notification(&[message(PSID, "m_1", "hi")]);
    assert_eq!(invoke(&platform, post(&body, None)).await.0, 401);
    assert_eq!(platform.secrets_manager.calls(), 0);
    assert_eq!(invoke(&platform, post(&body, Some("sha256=1"))).await.0, 401);
    platform.clock.forward(MINUTE);
    assert_eq!(invoke(&platform, post(&body, Some("sha256=1"))).await.0, 401);
    assert_eq!(platform.secrets_manager.calls(), 1);
}

#[tokio::test]
async fn wrong_signatures_cause_one_reread_a_minute() {
    let platform = platform().await;
    let body = notification(&[message(PSID, "m_1", "hi")]);
    let forged = sign_with("another-secret", &body);
    let calls = async |count: usize| {
        for _ in 0..count {
            assert_eq!(invoke(&platform, post(&body, Some(&forged))).await.0, 401);
        }
        platform.secrets_manager.calls()
    };
    assert_eq!(calls(5).await, 1);
    platform.clock.forward(Duration::from_millis(59_999));
    assert_eq!(calls(5).await, 1);
    platform.clock.forward(Duration::from_millis(1));
    assert_eq!(calls(5).await, 2);
    platform.clock.forward(MINUTE);
    assert_eq!(calls(5).await, 3);
    assert_nothing_queued(&platform);
}

#[tokio::test]
async fn in_a_rotation_both_app_secrets_are_accepted() {
    let platform = platform().await;
    platform.put_secret(|secret| {
        secret["app_secret"] = "new-secret".into();
        secret["previous_app_secret"] = APP_SECRET.into();
    });
    for (secret, mid) in [(APP_SECRET, "m_old"), ("new-secret", "m_new")] {
        let body = notification(&[message(PSID, mid, mid)]);
        let header = sign_with(secret, &body);
        assert_eq!(invoke(&platform, post(&body, Some(&header))).await.0, 200, "{mid}");
    }
    assert_eq!(texts(&platform), ["m_old", "m_new"]);
}

#[tokio::test]
async fn a_new_app_secret_is_accepted_after_one_reread() {
    let platform = platform().await;
    assert_eq!(receive(&platform, &notification(&[message(PSID, "m_1", "before")])).await, 200);
    platform.put_secret(|secret| secret["app_secret"] = "new-secret".into());
    platform.meta.set_app_secret("new-secret");
    platform.clock.forward(MINUTE);
    assert_eq!(receive(&platform, &notification(&[message(PSID, "m_2", "after")])).await, 200);
    assert_eq!(platform.secrets_manager.calls(), 2);
    assert_eq!(texts(&platform), ["before", "after"]);
}

#[tokio::test]
async fn an_app_secret_that_was_taken_away_is_refused_once_the_kept_one_is_old() {
    let platform = platform().await;
    let body = notification(&[message(PSID, "m_1", "hi")]);
    assert_eq!(receive(&platform, &body).await, 200);
    platform.put_secret(|secret| secret["app_secret"] = "new-secret".into());
    platform.clock.forward(FRESH_FOR);
    assert_eq!(receive(&platform, &body).await, 401);
}

#[tokio::test]
async fn a_base64_body_is_verified_by_what_it_encodes() {
    let platform = platform().await;
    let body = notification(&[message(PSID, "m_1", "hi")]);
    let header = platform.meta.sign(&body);
    let encoded = STANDARD.encode(&body);
    assert_eq!(
        invoke(&platform, api_request("POST", "", &encoded, true, Some(&header))).await.0,
        200
    );
    let header = platform.meta.sign(encoded.as_bytes());
    assert_eq!(
        invoke(&platform, api_request("POST", "", &encoded, true, Some(&header))).await.0,
        401
    );
    assert_eq!(texts(&platform), ["hi"]);
}

#[tokio::test]
async fn text_beyond_ascii_is_verified_as_meta_escapes_it() {
    let platform = platform().await;
    let item = escaped_message();
    assert_eq!(receive(&platform, &notification(&[&item])).await, 200);
    assert_eq!(texts(&platform), ["Grüße 漢 \u{1F600} a/b"]);
    assert_eq!(raws(&platform), [item]);
}

#[tokio::test]
async fn an_unescaped_reserialisation_does_not_verify() {
    let platform = platform().await;
    let escaped = notification(&[escaped_message()]);
    let unescaped = serde_json::from_slice::<Value>(&escaped).unwrap().to_string().into_bytes();
    for (body, signed) in [(&unescaped, &escaped), (&escaped, &unescaped)] {
        let header = platform.meta.sign(signed);
        assert_eq!(invoke(&platform, post(body, Some(&header))).await.0, 401);
    }
    assert_nothing_queued(&platform);
}
