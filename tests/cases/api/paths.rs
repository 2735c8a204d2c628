//! Ids in a path: an HTTP API decodes the path, a function URL and a local server do not, and in neither
//! case may one id be taken for another.

use super::*;

/// Asks a path as the function is given it.
async fn ask_raw(platform: &Platform, method: &str, path: &str) -> Answer {
    with_sample(platform, "api/read-person", |event| {
        event["rawPath"] = path.into();
        event["requestContext"]["http"]["method"] = method.into();
        event["requestContext"]["http"]["path"] = path.into();
        event["body"] = r#"{"active":true}"#.into();
        event["headers"]["content-type"] = "application/json".into();
    })
    .await
}

/// Ids, as they are after an HTTP API has decoded them, or as a local server passes them on.
fn unclear() -> Vec<String> {
    // The last digit of the PSID, encoded once and twice.
    let (start, last) = PSID.split_at(PSID.len() - 1);
    let mut ids = vec![format!("{start}%3{last}"), format!("{start}%253{last}")];
    let ends =
        ["%", "?", "?x=1", "#", "#x", "%3Fx", "%23", "%00", " ", "\u{e4}", "\\", "\"", "<", "|"];
    ids.extend(ends.map(|end| format!("{PSID}{end}")));
    ids
}

#[tokio::test]
async fn an_id_that_reads_differently_once_decoded_is_refused_and_erases_nobody() {
    let platform = heard_from().await;
    for id in unclear() {
        for (method, path) in [
            ("DELETE", format!("/people/{id}")),
            ("GET", format!("/people/{id}")),
            ("POST", format!("/people/{id}/thread")),
            ("PUT", format!("/people/{id}/bot")),
            ("GET", format!("/messages/{id}")),
            ("DELETE", format!("/messages/{id}")),
            ("GET", format!("/data-deletion/{id}")),
        ] {
            let answer = ask_raw(&platform, method, &path).await;
            assert_eq!((answer.status, answer.code()), (400, "invalid_path"), "{method} {path}");
            let field = answer.body["error"]["field"].as_str().unwrap();
            assert!(["psid", "id", "code"].contains(&field), "{field}");
            assert!(!answer.body.to_string().contains(PSID), "the answer quotes no id");
        }
    }
    assert!(conversation(&platform, PSID).await.contains_key("last_message_at"));
}

#[tokio::test]
async fn a_slash_makes_another_path() {
    let platform = heard_from().await;
    for path in
        [format!("/people/{PSID}/"), format!("/people/{PSID}/x"), format!("/people//{PSID}")]
    {
        let answer = ask_raw(&platform, "DELETE", &path).await;
        assert_eq!((answer.status, answer.code()), (404, "not_found"), "{path}");
    }
}

#[tokio::test]
async fn whoever_may_not_call_learns_nothing_about_a_path() {
    let platform = heard_from().await;
    let answer = with_sample(&platform, "api/no-key", |event| {
        event["rawPath"] = "/people/%25".into();
    })
    .await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn ids_as_metas_documents_have_them_need_no_encoding() {
    let platform = heard_from().await;
    for id in [
        "24000000000000001",
        "user_ref:visitor-1.a_b~c=",
        "comment:100000000000001_5",
        "post:100000000000001_122",
        "phone_number:+12125550123",
        "one_time_notif_token:6197529486960183",
    ] {
        let answer = ask_raw(&platform, "GET", &format!("/people/{id}")).await;
        assert_eq!((answer.status, answer.code()), (404, "unknown_person"), "{id}");
    }
    assert_eq!(ask_raw(&platform, "GET", &format!("/people/{PSID}")).await.status, 200);
}
