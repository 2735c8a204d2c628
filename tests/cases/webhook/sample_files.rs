//! Every sample of the webhook, with its answer and its effect.

use super::*;

type Expected = (&'static str, u16, &'static str, &'static [&'static str], &'static [&'static str]);

/// Name, status, body, what is queued (container, kind, person, content), why anything is set aside.
const SAMPLES: [Expected; 29] = [
    ("bad-signature", 401, "INVALID_SIGNATURE", &[], &[]),
    ("base64", 200, RECEIVED, &["messaging message B opening hours?"], &[]),
    (
        "batch",
        200,
        RECEIVED,
        &[
            "calls unknown A connect",
            "changes unknown A inbox_labels",
            "messaging delivery A m_0",
            "messaging message A one",
            "messaging message B two",
            "messaging read A",
            "novelty unknown A novelty",
            "standby message A to another app",
        ],
        &[],
    ),
    ("comment", 200, RECEIVED, &["changes comment comment:100000000000001_5 How much is it?"], &[]),
    ("echo-of-a-person", 200, RECEIVED, &["messaging echo B Hello, this is the shop."], &[]),
    ("edit", 200, RECEIVED, &["messaging edit A a table"], &[]),
    (
        "instagram-comment",
        200,
        RECEIVED,
        &["entry comment comment:18000000000000005 How much is it?"],
        &[],
    ),
    ("instagram-login-text", 200, RECEIVED, &["messaging message 7800000000000001 Hello"], &[]),
    (
        "instagram-story-reply",
        200,
        RECEIVED,
        &["messaging message 7800000000000001 Is it still free?"],
        &[],
    ),
    ("instagram-text", 200, RECEIVED, &["messaging message 7800000000000001 Hello"], &[]),
    ("instagram-unsend", 200, RECEIVED, &["messaging unsend 7800000000000001"], &[]),
    ("instagram-unsupported", 200, RECEIVED, &["messaging unsupported 7800000000000001"], &[]),
    ("late", 200, RECEIVED, &["messaging message A image"], &[]),
    ("no-signature", 401, "INVALID_SIGNATURE", &[], &[]),
    ("non-ascii", 200, RECEIVED, &["messaging message B Grüße, 你好 😀 1/2"], &[]),
    ("person", 200, RECEIVED, &["messaging postback B PERSON"], &[]),
    ("policy-enforcement", 200, RECEIVED, &["messaging policy_enforcement - warning"], &[]),
    ("postback", 200, RECEIVED, &["messaging postback A GET_STARTED"], &[]),
    ("postback-in-changes", 200, RECEIVED, &["messaging postback 7800000000000001 BOOK"], &[]),
    ("quick-reply", 200, RECEIVED, &["messaging message A BOOK"], &[]),
    ("reaction", 200, RECEIVED, &["messaging reaction A love"], &[]),
    ("template-status", 200, RECEIVED, &["changes template_status - REJECTED"], &[]),
    ("text", 200, RECEIVED, &["messaging message A table"], &[]),
    ("text-day", 200, RECEIVED, &["messaging message A Friday"], &[]),
    ("unknown-page", 200, RECEIVED, &[], &["unknown_page"]),
    ("unreadable", 200, RECEIVED, &[], &["not_json"]),
    (
        "visitor-post",
        200,
        RECEIVED,
        &["changes post post:100000000000001_9 Are you open on Sunday?"],
        &[],
    ),
    ("verification", 200, "1158201444", &[], &[]),
    ("verification-wrong-token", 403, "FORBIDDEN", &[], &[]),
];

#[tokio::test]
async fn every_sample_has_its_answer_and_its_effect() {
    for (name, status, body, queued, set_aside) in SAMPLES {
        let platform = platform_with(crate::sample_events::with_instagram).await;
        let sample = samples::read(&format!("webhook/{name}")).unwrap().to_string();
        let request = lambda_http::request::from_str(&sample).unwrap();
        assert_eq!(invoke(&platform, request).await, (status, body.to_owned()), "{name}");
        let mut answer: Vec<_> = events(&platform).iter().map(describe).collect();
        answer.sort();
        assert_eq!(answer, queued, "{name}");
        assert_eq!(reasons(&platform), set_aside, "{name}");
    }
}

#[test]
fn no_sample_is_forgotten() {
    let files = fs::read_dir(samples::folder().join("webhook")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let found: BTreeSet<_> =
        names.map(|name| name.strip_suffix(".json").unwrap().to_owned()).collect();
    let expected: BTreeSet<_> = SAMPLES.iter().map(|sample| sample.0.to_owned()).collect();
    assert_eq!(found, expected);
}
