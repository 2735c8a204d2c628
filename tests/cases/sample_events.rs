//! Every file in `events/` through the real handlers.

use std::collections::BTreeSet;
use std::fs;

use serde_json::json;
use simulator::platform::{DEAD_LETTERS, Options, UNREADABLE};
use simulator::samples::{self, IGSID, INSTAGRAM, INSTAGRAM_LOGIN};

use crate::support::*;

/// The samples of a function, as `<function>/<case>`.
fn names(function: &str) -> BTreeSet<String> {
    let files = fs::read_dir(samples::folder().join(function)).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.map(|name| format!("{function}/{}", name.strip_suffix(".json").unwrap())).collect()
}

pub(crate) fn with_instagram(options: &mut Options) {
    options.instagram = vec![INSTAGRAM.to_owned()];
    options.instagram_login = vec![INSTAGRAM_LOGIN.to_owned()];
}

#[test]
fn every_sample_belongs_to_a_function() {
    let root = samples::folder();
    let folders = fs::read_dir(&root).unwrap().map(|folder| folder.unwrap().path());
    let folders: BTreeSet<_> = folders
        .filter(|path| path.is_dir())
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    let functions = root.join("../functions");
    for folder in &folders {
        assert!(functions.join(folder).is_dir(), "{folder} is not a function");
        assert!(!names(folder).is_empty(), "{folder}");
    }
    assert_eq!(folders.len(), 6);
}

#[tokio::test]
async fn the_webhook_answers_each_of_its_samples() {
    for name in names("webhook") {
        let platform = platform_with(with_instagram).await;
        let sample = samples::read(&name).unwrap().to_string();
        let request = lambda_http::request::from_str(&sample).unwrap();
        let expected = match name.as_str() {
            "webhook/bad-signature" | "webhook/no-signature" => 401,
            "webhook/verification-wrong-token" => 403,
            _ => 200,
        };
        assert_eq!(platform.invoke_webhook(request).await.status(), expected, "{name}");
        let kept = platform.sqs.messages(UNREADABLE);
        match name.as_str() {
            "webhook/unreadable" => assert_eq!(kept[0].attributes["reason"].value, "not_json"),
            "webhook/unknown-page" => {
                assert_eq!(kept[0].attributes["reason"].value, "unknown_page");
            }
            _ => assert!(kept.is_empty(), "{name}"),
        }
    }
}

#[tokio::test]
async fn the_event_processor_takes_each_of_its_samples() {
    for name in names("event-processor") {
        let platform = platform_with(with_instagram).await;
        for (page, psid) in [(PAGE, PSID), (PAGE, OTHER_PSID), (INSTAGRAM, IGSID)] {
            platform.meta.person_says(page, psid, "hi");
        }
        let batch = serde_json::from_value(samples::read(&name).unwrap()).unwrap();
        platform.clock.forward(12 * MINUTE);
        assert_eq!(platform.invoke_processor(batch).await, Vec::<String>::new(), "{name}");
        let dead = platform.sqs.messages(DEAD_LETTERS);
        let replies = delivered(&platform, PSID).len() + delivered(&platform, OTHER_PSID).len();
        match name.as_str() {
            "event-processor/text" => assert_eq!((dead.len(), replies), (0, 1)),
            "event-processor/instagram-text" => {
                assert_eq!(platform.meta.delivered(INSTAGRAM, IGSID).len(), 1);
            }
            "event-processor/batch" => assert_eq!((dead.len(), replies), (0, 3)),
            "event-processor/poisonous" => {
                assert_eq!((dead.len(), replies), (1, 1));
                assert_eq!(dead[0].attributes["reason"].value, "not_a_record");
            }
            other => panic!("a sample without an expectation: {other}"),
        }
    }
}

#[tokio::test]
async fn the_follow_ups_take_each_of_their_samples() {
    let expected = [
        ("account-update", "UPDATE"),
        ("confirmed-event-update", "UPDATE"),
        ("fallback", "UPDATE"),
        ("feedback", "UPDATE"),
        ("human", "RESPONSE"),
        ("media-template", "UPDATE"),
        ("persona", "RESPONSE"),
        ("post-purchase-update", "UPDATE"),
        ("receipt", "UPDATE"),
        ("reply", "RESPONSE"),
        ("reply-to", "RESPONSE"),
        ("typing", "RESPONSE"),
        ("utility", "UTILITY"),
        ("update", "UPDATE"),
    ];
    let mut left = names("follow-ups");
    assert!(left.remove("follow-ups/tick") && left.remove("follow-ups/bad-request"));
    // Shown beside the other rules of Instagram.
    assert!(left.remove("follow-ups/instagram-human"));
    for (name, label) in expected {
        let name = format!("follow-ups/{name}");
        assert!(left.remove(&name), "{name}");
        let platform = platform_with(|options| {
            options.replies = |_, _, _| Ok(messenger::decision::Decision::nothing());
        })
        .await;
        platform.advance(26 * HOUR).await;
        platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
        platform.invoke_follow_ups(samples::read(&name).unwrap()).await.unwrap();
        platform.advance(20 * HOUR).await;
        let messages = platform.meta.delivered(PAGE, PSID);
        assert_eq!(messages.len(), 1, "{name}");
        assert_eq!(messages[0].messaging_type.as_deref(), Some(label), "{name}");
        let actions = requested(&platform, PSID).len() - 1;
        assert_eq!(actions, if name == "follow-ups/typing" { 2 } else { 0 }, "{name}");
        assert_no_leftovers(&platform, PSID).await;
    }
    assert_eq!(left, BTreeSet::new(), "samples without an expectation");
    let platform = platform().await;
    let error = platform.invoke_follow_ups(samples::read("follow-ups/bad-request").unwrap()).await;
    assert!(error.unwrap_err().contains("author"));
    let summary =
        platform.invoke_follow_ups(samples::read("follow-ups/tick").unwrap()).await.unwrap();
    assert_eq!(summary["claimed"], 0);
}

#[tokio::test]
async fn setup_takes_each_of_its_samples() {
    let expected = [
        ("applications", "/applications/0/key", json!("default")),
        ("conversations", "/data/0/participants/data/0/id", json!(PSID)),
        ("create-persona", "/id", json!("260000000000000")),
        ("create-template", "/category", json!("UTILITY")),
        ("delete-persona", "/deleted", json!(true)),
        ("first-message", "/status", json!("sent")),
        ("pages", "/data/0/id", json!(PAGE)),
        ("personas", "/data/0/id", json!(samples::PERSONA)),
        ("register", "/ok", json!(true)),
        ("renew-tokens", "/ok", json!(true)),
        ("requeue", "/findings/0/level", json!("ok")),
        ("status", "/ok", json!(true)),
        ("templates", "/data", json!([])),
        ("unregister", "/ok", json!(true)),
        ("whatsapp-account", "/token/kind", json!("system_user")),
    ];
    let mut left = names("setup");
    for (name, place, value) in expected {
        let name = format!("setup/{name}");
        assert!(left.remove(&name), "{name}");
        let platform = platform().await;
        platform.invoke_setup(json!({"action": "register"})).await.unwrap();
        platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
        platform.advance(3 * MINUTE).await;
        let answer = platform.invoke_setup(samples::read(&name).unwrap()).await.unwrap();
        assert_eq!(answer.pointer(place), Some(&value), "{name}: {answer}");
    }
    for request_type in ["create", "delete"] {
        let name = format!("setup/cloudformation-{request_type}");
        assert!(left.remove(&name), "{name}");
        let platform = platform().await;
        let mut request = samples::read(&name).unwrap();
        let url = format!("{}/_simulator/cloudformation", platform.url());
        request["ResponseURL"] = url.into();
        let answer = platform.invoke_setup(request).await.unwrap();
        assert_eq!(answer["Status"], "SUCCESS", "{name}");
        assert_eq!(answer["PhysicalResourceId"], "registration", "{name}");
    }
    assert_eq!(left, BTreeSet::new(), "samples without an expectation");
}

#[tokio::test]
async fn the_api_answers_each_of_its_samples() {
    let expected = [
        ("begin-deletion", 200),
        ("cancel-message", 404),
        ("change-thread", 200),
        ("change-bot", 200),
        ("create-message", 201),
        ("create-message-later", 202),
        ("create-private-reply", 201),
        ("erase-person", 204),
        ("list-applications", 200),
        ("no-key", 401),
        ("openapi", 200),
        ("pull-events", 200),
        ("read-deletion", 404),
        ("read-message", 404),
        ("read-person", 200),
        ("upload-attachment", 201),
    ];
    let mut left = names("api");
    for (name, status) in expected {
        let name = format!("api/{name}");
        assert!(left.remove(&name), "{name}");
        let platform = platform_with(|options| {
            options.variables.insert("FEED".to_owned(), "on".to_owned());
        })
        .await;
        platform.meta.add_comment(PAGE, &format!("{PAGE}_5"), OTHER_PSID, 1_795_334_400_000);
        platform.deliver(&platform.meta.person_says(PAGE, PSID, "hi")).await;
        platform.advance(3 * MINUTE).await;
        let sample = samples::read(&name).unwrap().to_string();
        let request = lambda_http::request::from_str(&sample).unwrap();
        assert_eq!(platform.invoke_api(&request).await.status(), status, "{name}");
    }
    assert_eq!(left, BTreeSet::new(), "samples without an expectation");
}

#[test]
fn a_fresh_sample_is_signed_and_of_this_moment() {
    let now = messenger::clock::Timestamp::from_millis(1_900_000_000_000);
    for name in ["webhook/text", "webhook/batch", "webhook/base64"] {
        let sample = samples::read(name).unwrap().to_string();
        let fresh = samples::refresh(&sample, now, "another secret").unwrap().to_string();
        let request = lambda_http::request::from_str(&fresh).unwrap();
        let header = request.headers()["x-hub-signature-256"].to_str().unwrap().to_owned();
        let secret = secrecy::SecretString::from("another secret");
        backend::signature::verify(Some(&header), request.body(), [&secret]).unwrap();
        let events = messenger::event::split(request.body(), now).unwrap();
        let latest = events.iter().filter_map(|event| event.at).max();
        assert_eq!(latest, Some(now), "{name}");
    }
}
