//! One id leads through the life of a message: in every log line, in every metric, and in the API.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use lambda_http::tracing::{Dispatch, subscriber, subscriber::fmt::MakeWriter};
use messenger::clock::Clock;
use messenger::decision::{Decision, FollowUp};
use messenger::message::Message;
use serde_json::{Value, json};
use simulator::meta::Fault;
use simulator::platform::{EVENTS, Platform};

use crate::api::get;
use crate::forward::Receiver;
use crate::support::*;

/// What is logged, a line each, in the form in which Lambda gets it.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Lines {
    /// The lines with this text.
    fn saying(&self, text: &str) -> Vec<Value> {
        let all = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = all.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["fields"]["message"] == text).collect()
    }
}

/// A platform whose bot answers and promises to ask again, and that forwards what happens.
async fn promising(url: &str) -> Arc<Platform> {
    platform_with(|options| {
        options.replies = |_, _, _| {
            let later = FollowUp::after(HOUR, Message::text("later")?).unless_answered();
            Ok(Decision::nothing().say(Message::text("hi")?).later(later))
        };
        options.variables.insert("FORWARD_URLS".to_owned(), url.to_owned());
        options.variables.insert("FORWARD_ALLOW_LOCAL".to_owned(), "true".to_owned());
    })
    .await
}

/// Somebody says something: the correlation id of the event, before anything comes of it.
async fn says(platform: &Platform, psid: &str, text: &str) -> String {
    platform.post(&platform.meta.person_says(PAGE, psid, text)).await;
    let queued = platform.sqs.messages(EVENTS);
    queued.last().unwrap().deduplication_id.as_deref().unwrap()[..32].to_owned()
}

/// The metrics that carry an id, in their order; those of several events are named by each.
fn metrics_of(platform: &Platform, id: &str) -> Vec<String> {
    let lines = platform.metrics.lock().unwrap();
    let names = lines.iter().filter(|line| {
        let several = line["events"].as_str().unwrap_or_default();
        line["correlation_id"] == id || several.split(' ').any(|one| one == id)
    });
    let name = |line: &Value| {
        let metrics = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
        let all: Vec<_> = metrics.iter().map(|metric| metric["Name"].as_str().unwrap()).collect();
        all.join("+")
    };
    names.map(name).collect()
}

#[tokio::test]
async fn one_id_leads_from_the_event_to_the_end_of_everything_that_follows_from_it() {
    let receiver = Receiver::start().await;
    let platform = promising(&receiver.url).await;
    let first = says(&platform, PSID, "one").await;
    let beside = says(&platform, OTHER_PSID, "beside").await;
    platform.settle().await;
    platform.advance(MINUTE).await;
    let second = says(&platform, PSID, "two").await;
    platform.settle().await;
    platform.advance(2 * HOUR).await;
    let answered = ["EventsReceived", "MessagesSent+ReplyTime", "Sent", "Forwarded"];
    let followed_up = [&answered[..], &["MessagesSent", "Sent"]].concat();
    // The second event is the answer to the first one's follow-up, which ends by it.
    assert_eq!(metrics_of(&platform, &first), [&answered[..], &["Cancelled"]].concat());
    assert_eq!(metrics_of(&platform, &second), followed_up);
    assert_eq!(metrics_of(&platform, &beside), followed_up);
    assert_eq!(delivered(&platform, PSID), ["RESPONSE hi", "RESPONSE hi", "UPDATE later"]);
}

#[tokio::test]
async fn a_log_line_names_the_event_that_it_is_about() {
    let lines = Lines::default();
    let builder = subscriber::fmt().json().with_writer(lines.clone());
    let listening = Dispatch::new(builder.finish());
    // Where there is one subscriber only, what another test's thread logs first is never logged here.
    let _another = listen();
    let _guard = subscriber::util::SubscriberInitExt::set_default(listening);

    let receiver = Receiver::answering(Some(500)).await;
    let platform = promising(&receiver.url).await;
    let invalid = Fault::Error { http: 400, code: 100, subcode: None };
    platform.meta.fail_next(invalid);
    let refused = says(&platform, PSID, "refused").await;
    platform.settle().await;
    let another = says(&platform, OTHER_PSID, "answered").await;
    platform.gate.refuse_each(|call| call.target.contains("UpdateItem"));
    platform.settle().await;
    platform.gate.spare();
    for (text, ids) in [
        ("a message was not sent", &[&refused][..]),
        ("not forwarded", &[&refused]),
        ("an event failed", &[&another]),
    ] {
        let said: Vec<_> = lines.saying(text);
        assert!(!said.is_empty(), "nothing says {text:?}");
        for (line, id) in said.iter().zip(ids) {
            assert_eq!(line["span"]["correlation_id"], id.as_str(), "{line}");
        }
    }
}

#[tokio::test]
async fn the_api_tells_a_message_s_life_under_the_same_id() {
    let receiver = Receiver::start().await;
    let platform = promising(&receiver.url).await;
    let happened_at = platform.clock.now();
    let id = says(&platform, PSID, "hello").await;
    platform.clock.forward(SECOND);
    platform.settle().await;
    let page_id = PAGE.to_owned();
    let person = PSID.parse().unwrap();
    let conversation_key = backend::store::ConversationKey { page_id, person };
    let of = |id: String| {
        let key = backend::store::EntryKey { conversation_key: conversation_key.clone(), id };
        format!("/messages/{key}")
    };
    let reply = get(&platform, &of(id.clone())).await;
    let life = ["correlation_id", "status", "caused_at", "decided_at", "first_due", "ended_at"];
    let life = life.map(|name| reply[name].as_str().unwrap());
    let (then, now) = (happened_at.to_string(), platform.clock.now().to_string());
    assert_eq!(life, [&*id, "sent", &then, &now, &now, &now]);
    let promised = get(&platform, &of(format!("{id}.1"))).await;
    assert_eq!(promised["correlation_id"], id);
    assert_eq!(promised["first_due"], (platform.clock.now() + HOUR).to_string());

    let wanted = json!({"page_id": PAGE, "psid": PSID, "message": "order", "purpose": "update"});
    let (status, requested) = crate::api::post_to(&platform, "/messages", &wanted).await;
    assert_eq!(status, 201, "{requested}");
    let own = requested["correlation_id"].as_str().unwrap();
    assert_eq!(metrics_of(&platform, own), ["MessagesSent", "Sent"]);
    assert_eq!(requested["caused_at"], Value::Null);
}
