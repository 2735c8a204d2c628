//! Two days after which something waits for every reason there is.
//!
//! The version that is left behind plays this, with its own functions. A person's role is their name.

use std::sync::Arc;
use std::time::Duration;

use messenger::clock::{Clock, SharedClock, Timestamp};
use messenger::decision::{Decision, FollowUp};
use messenger::message::Message;
use serde_json::{Map, Value, json};
use simulator::gate::{Call, GRAPH, Moment};
use simulator::meta::Fault;
use simulator::platform::{EVENTS, FORWARD, Options, Platform, Replies, SWEEP_TIMEOUT, batch};
use simulator::samples::{self, APP_SCOPED_ID, APP_SECRET, IGSID, INSTAGRAM};

use super::left::Left;
use super::people::*;
use crate::support::*;

/// When it ends: two days after its beginning.
pub(super) const END: Timestamp =
    Timestamp::from_millis(samples::BEGINNING.millis() + 2 * 24 * 60 * 60 * 1000);

/// The text of a message that a back-office system asks for twice.
pub(super) const ASKED_TWICE: &str = "asked for twice";

/// What a person writes to be written to when the window has ended.
const NEXT_WEEK: &str = "Write to me next week.";
/// What a person writes that this bot cannot bear.
const POISON: &str = "poison";
/// Where events are forwarded to; nobody listens there.
pub(super) const RECEIVER: &str = "http://127.0.0.1:9/inbound";

/// How a stack is set up, before and after: everything that can be on is on.
pub(super) fn options(now: Timestamp, receiver: &str, replies: Replies) -> Options {
    let pages = [PAGE, UNCLEAR_PAGE, THROTTLED_PAGE, DEAD_PAGE, LACKING_PAGE, FOREIGN_PAGE];
    let variables = [
        ("AD_WINDOWS", "on"),
        ("FEED", "on"),
        ("TRACK_RECEIPTS", "on"),
        ("USER_PROFILES", "on"),
        ("FORWARD_URLS", receiver),
        ("FORWARD_ALLOW_LOCAL", "true"),
    ];
    Options {
        now,
        replies,
        pages: pages.map(str::to_owned).into(),
        instagram: vec![INSTAGRAM.to_owned()],
        variables: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        ..Options::default()
    }
}

/// The secret of a stack that does not know the foreign Page.
pub(super) fn without_foreign_page(secret: &mut Value) {
    secret["pages"].as_object_mut().unwrap().remove(FOREIGN_PAGE);
}

/// The key of the request for a message.
pub(super) fn key_of(body: &Value) -> String {
    format!("key of {}", body["message"].as_str().unwrap()).replace(' ', "-")
}

/// An instant before the end.
fn before_end(span: Duration) -> Timestamp {
    END - span
}

/// The status and the body of the API's answer.
pub(super) async fn call(
    platform: &Platform,
    method: &str,
    path: &str,
    key: Option<&str>,
    body: &Value,
) -> (u16, Value) {
    let request = request(method, path, key, body);
    let answer = platform.invoke_api(&request).await;
    (answer.status().as_u16(), serde_json::from_slice(answer.body()).unwrap_or_default())
}

fn request(method: &str, path: &str, key: Option<&str>, body: &Value) -> lambda_http::Request {
    let mut event = samples::read("api/create-message").unwrap();
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    event["rawPath"] = path.into();
    event["rawQueryString"] = query.into();
    event["requestContext"]["http"]["path"] = path.into();
    event["requestContext"]["http"]["method"] = method.into();
    event["body"] = match body {
        Value::Null => Value::Null,
        Value::String(form) => {
            event["headers"]["content-type"] = "application/x-www-form-urlencoded".into();
            form.as_str().into()
        }
        body => body.to_string().into(),
    };
    let headers = event["headers"].as_object_mut().unwrap();
    headers.remove("idempotency-key");
    headers.extend(key.map(|key| ("idempotency-key".to_owned(), json!(key))));
    lambda_http::request::from_str(&event.to_string()).unwrap()
}

/// A message of a back-office system.
pub(super) fn message(page: &str, psid: &str, purpose: &str, text: &str) -> Value {
    let author = (purpose == "human").then_some("front-desk");
    json!({"page_id": page, "psid": psid, "message": text, "purpose": purpose, "author": author})
}

fn with(mut body: Value, change: Value) -> Value {
    let Value::Object(mut change) = change else { panic!("a change is an object") };
    body.as_object_mut().unwrap().append(&mut change);
    body
}

/// Plays the two days.
pub(super) async fn play() -> Left {
    let replies: Replies = |event, conversation, now| {
        assert!(!event.raw.contains(POISON), "this bot cannot bear it");
        if event.raw.contains(NEXT_WEEK) {
            let later = FollowUp::after(7 * DAY, Message::text("You asked for this.")?);
            return Ok(Decision::nothing().say(Message::text("Yes.")?).later(later));
        }
        booking::reply(event, conversation, now)
    };
    let platform = Platform::start(options(samples::BEGINNING, RECEIVER, replies)).await.unwrap();
    platform.put_secret(without_foreign_page);
    platform.meta.set_receipts(false);
    let mut story = Story { platform, sent: Vec::new(), remembered: Map::new() };
    Box::pin(story.first_day()).await;
    Box::pin(story.second_day()).await;
    Box::pin(story.last_instant()).await;
    // Who waits for a lease lets time pass.
    assert!(story.platform.clock.now().since(END) < MINUTE);
    let mut left = Left::by(&story.platform, story.sent).await;
    let text = |(name, value): (String, Value)| (name, value.as_str().unwrap().to_owned());
    left.remembered = story.remembered.into_iter().map(text).collect();
    left
}

struct Story {
    platform: Arc<Platform>,
    sent: Vec<Value>,
    remembered: Map<String, Value>,
}

impl Story {
    // ------------------------------------------------------------------ who does what

    /// Meta sends a notification, which is processed.
    async fn notify(&mut self, body: Vec<u8>) {
        self.sent.push(serde_json::from_slice(&body).unwrap());
        assert_eq!(self.platform.deliver(&body).await, 200);
    }

    /// Meta sends a notification, whose events stay in the queue.
    async fn queue(&mut self, body: Vec<u8>) {
        self.sent.push(serde_json::from_slice(&body).unwrap());
        assert_eq!(self.platform.post(&body).await, 200);
    }

    async fn says(&mut self, page: &str, psid: &str, text: &str) {
        let body = self.platform.meta.person_says(page, psid, text);
        self.notify(body).await;
    }

    async fn books(&mut self, psid: &str) {
        let body = self.platform.meta.person_taps(PAGE, psid, "BOOK", "Book");
        self.notify(body).await;
    }

    async fn does(&mut self, psid: &str, item: Value) {
        let body = self.platform.meta.person_does(PAGE, psid, item);
        self.notify(body).await;
    }

    /// A back-office system asks for a message; its id is remembered under its text.
    async fn asks(&mut self, body: &Value, wanted: u16) {
        let key = key_of(body);
        let (status, answer) = call(&self.platform, "POST", "/messages", Some(&key), body).await;
        assert_eq!(status, wanted, "{body} {answer}");
        self.remembered.insert(body["message"].as_str().unwrap().to_owned(), answer["id"].clone());
    }

    /// A message for later.
    async fn plans(&mut self, body: Value, at: Timestamp) {
        self.asks(&with(body, json!({"send_at": at.millis()})), 202).await;
    }

    /// Whoever receives what is forwarded has received it, except what is about a person.
    fn receive_all_but(&self, psid: &str) {
        for message in self.platform.sqs.messages(FORWARD) {
            if !message.body.contains(psid) {
                assert!(self.platform.sqs.delete(FORWARD, &message.receipt_handle));
            }
        }
    }

    /// Works off the queue until nothing is visible in it, with a death where one was planned. Echoes stay
    /// at Meta.
    async fn process(&self) {
        loop {
            let received = self.platform.sqs.receive(EVENTS, 10);
            if received.is_empty() {
                return;
            }
            let failed = self.platform.invoke_processor(batch(&received)).await;
            for message in received.iter().filter(|message| !failed.contains(&message.message_id)) {
                self.platform.sqs.delete(EVENTS, &message.receipt_handle);
            }
        }
    }

    // ------------------------------------------------------------------ the days

    async fn first_day(&mut self) {
        let begun = self.platform.clock.now();
        let third_day = begun + 3 * DAY;
        let ad = json!({"source": "ADS", "type": "OPEN_THREAD", "ad_id": "9", "ref": "r"});
        self.does(FROM_AN_AD, json!({"referral": ad})).await;
        for psid in [
            FROM_AN_AD,
            OF_AN_AGENT,
            WITH_FALLBACK,
            WITHDRAWN,
            WAS_REFUSED,
            ANSWERED,
            CLOSED_BY_META,
            ERASED,
            DELETED_BY_META,
        ] {
            self.says(PAGE, psid, "Are you open?").await;
        }
        self.plans(message(PAGE, OF_AN_AGENT, "human", "for the third day"), third_day).await;
        let fallback = json!({"name": "still_free", "language": {"code": "en_US"}});
        let planned = message(PAGE, WITH_FALLBACK, "update", "or a template");
        self.plans(with(planned, json!({"fallback_template": fallback})), third_day).await;
        let optin = json!({"type": "notification_messages", "payload": "p",
            "notification_messages_token": TOKEN,
            "token_expiry_timestamp": (begun + 30 * DAY).millis()});
        self.does(BY_TOKEN, json!({"optin": optin})).await;
        let planned =
            json!({"page_id": PAGE, "notification_messages_token": TOKEN, "message": "by token"});
        self.plans(planned, third_day).await;

        // What has ended.
        self.plans(message(PAGE, WITHDRAWN, "update", "withdrawn"), begun + HOUR).await;
        let path = format!("/messages/{}", self.remembered["withdrawn"].as_str().unwrap());
        assert_eq!(call(&self.platform, "DELETE", &path, None, &Value::Null).await.0, 200);
        self.platform.meta.fail_next_for(WAS_UNREACHABLE, Fault::of_code(551, Some(1_545_041)));
        self.says(PAGE, WAS_UNREACHABLE, "Are you open?").await;
        self.plans(message(PAGE, WAS_REFUSED, "update", "refused"), begun + 23 * HOUR).await;
        self.comments(COMMENTED).await;
        self.asks_to_answer(COMMENTED, 201).await;

        // Who is erased.
        self.platform.advance(MINUTE).await;
        self.erase(ERASED).await;
        self.platform.meta.add_app_scoped_id(DELETED_AS, PAGE, DELETED_BY_META);
        self.begin_deletion(DELETED_AS).await;
        self.platform.advance(10 * MINUTE).await;

        self.receive_all_but(ANSWERED);
        // The schedule stands still for a day.
        self.platform.clock.move_to(begun + 25 * HOUR);
        self.platform.tick().await.unwrap();
        self.platform.advance(11 * HOUR).await;
        let closed = Fault::of_code(10, Some(2_018_278));
        self.platform.meta.fail_next_for(CLOSED_BY_META, closed);
        self.asks(&message(PAGE, CLOSED_BY_META, "human", "closed by Meta"), 201).await;
    }

    async fn second_day(&mut self) {
        self.platform.advance_to(before_end(90 * MINUTE)).await;
        self.plans(message(PAGE, FROM_AN_AD, "update", "by the ad"), END + HOUR).await;
        // Staff answer in the inbox without taking the thread.
        self.books(QUIET).await;
        let echo = json!({"mid": "m_of_the_inbox", "text": "One moment.", "is_echo": true});
        let people = json!({"sender": {"id": PAGE}, "recipient": {"id": QUIET}});
        self.does(QUIET, with(people, json!({"message": echo}))).await;
        self.says(PAGE, TAKEN_BY_INBOX, "Are you open?").await;
        let taken = self.platform.meta.inbox_takes(PAGE, TAKEN_BY_INBOX);
        self.notify(taken).await;
        self.asks(&message(PAGE, TAKEN_BY_INBOX, "human", "after the inbox"), 202).await;

        self.platform.advance_to(before_end(40 * MINUTE)).await;
        for psid in [REMINDED, IN_A_BOOKING, BEING_ERASED] {
            self.books(psid).await;
        }
        let read_at = self.platform.meta.last_opening(PAGE, REMINDED).unwrap();
        self.does(REMINDED, json!({"read": {"watermark": read_at}})).await;
        self.says(PAGE, POISONOUS, POISON).await;
        let on_instagram = self.platform.meta.person_says(INSTAGRAM, IGSID, "Are you open?");
        self.notify(on_instagram).await;
        self.says(PAGE, TOO_LATE, NEXT_WEEK).await;
        let planned = message(INSTAGRAM, IGSID, "update", "on Instagram");
        self.plans(planned, END + HOUR).await;
        for (page, psid) in [
            (PAGE, IN_BACKOFF),
            (PAGE, WITH_ECHO),
            (PAGE, WITHOUT_ECHO),
            (PAGE, OUTRUN),
            (PAGE, REPEATED),
            (PAGE, SWEPT),
            (PAGE, samples::PSID),
            (UNCLEAR_PAGE, IN_AN_OUTAGE),
            (THROTTLED_PAGE, THROTTLED),
            (DEAD_PAGE, WITHOUT_TOKEN),
            (LACKING_PAGE, WITHOUT_PERMISSION),
        ] {
            self.says(page, psid, "Are you open?").await;
        }
        self.books(MIDWAY).await;
        self.says(PAGE, MIDWAY, "table").await;

        self.platform.advance_to(before_end(10 * MINUTE)).await;
        let meta = self.platform.meta.clone();
        meta.set_fault_for(IN_BACKOFF, Some(Fault::of_code(1200, Some(2_018_024))));
        self.asks(&message(PAGE, IN_BACKOFF, "update", "first"), 202).await;
        self.platform.clock.forward(SECOND);
        self.asks(&message(PAGE, IN_BACKOFF, "update", "second"), 202).await;
        meta.set_fault_for(COMMENT_IN_BACKOFF, Some(Fault::of_code(2, None)));
        self.comments(COMMENT_IN_BACKOFF).await;
        self.asks_to_answer(COMMENT_IN_BACKOFF, 202).await;
        self.comments(COMMENT_WITH_ECHO).await;
        meta.set_fault_for(IN_AN_OUTAGE, Some(Fault::LostRequest));
        self.asks(&message(UNCLEAR_PAGE, IN_AN_OUTAGE, "update", "after the outage"), 202).await;
        meta.set_fault_for(THROTTLED, Some(Fault::Throttled { regain_minutes: 60 }));
        self.asks(&message(THROTTLED_PAGE, THROTTLED, "update", "throttled"), 202).await;
        meta.kill_token(DEAD_PAGE);
        let update = message(DEAD_PAGE, WITHOUT_TOKEN, "update", "without a token");
        self.asks(&update, 202).await;
        meta.set_fault_for(WITHOUT_PERMISSION, Some(Fault::of_code(200, None)));
        let update = message(LACKING_PAGE, WITHOUT_PERMISSION, "update", "without a permission");
        self.asks(&update, 202).await;
        let unreadable = b"signed, but no JSON";
        assert_eq!(self.platform.post(unreadable).await, 200);
        self.says(FOREIGN_PAGE, OF_A_FOREIGN_PAGE, "Are you open?").await;
        self.plans(message(PAGE, SWEPT, "update", "swept"), END).await;
        self.platform.advance_to(before_end(SECOND)).await;
        self.says(PAGE, STILL_POISONOUS, POISON).await;
        let after = meta.person_says(PAGE, STILL_POISONOUS, "Are you open?");
        self.notify(after).await;
        self.receive_all_but(ANSWERED);
        self.platform.clock.move_to(END);
    }

    async fn last_instant(&mut self) {
        let meta = self.platform.meta.clone();
        let feed = format!("/events?page_id={PAGE}");
        let (_, page) = call(&self.platform, "GET", &feed, None, &Value::Null).await;
        self.remembered.insert("feed".to_owned(), page["next"].clone());
        assert!(meta.pending_webhooks().is_empty());

        // Functions die at each of their calls; the last person's survives.
        for at in 1.. {
            let body = meta.person_taps(PAGE, &died_at(at), "BOOK", "Book");
            self.queue(body).await;
            self.platform.gate.crash_at(usize::try_from(at).unwrap(), Moment::After);
            self.process().await;
            if self.platform.gate.spare() {
                self.remembered.insert("calls".to_owned(), at.to_string().into());
                break;
            }
        }
        self.dies_at("Anything else?");
        let body = meta.person_says(PAGE, MIDWAY, "Friday");
        self.queue(body).await;
        self.process().await;
        // Another sender comes while the bot of an event that died was thinking.
        let body = meta.person_says(PAGE, OUTRUN, "Your hours?");
        self.queue(body).await;
        self.platform.gate.crash_at(1, Moment::After);
        self.process().await;
        self.asks(&message(PAGE, OUTRUN, "update", "outrunning the bot"), 201).await;

        meta.fail_next_for(WITH_ECHO, Fault::LostAnswer);
        self.asks(&message(PAGE, WITH_ECHO, "update", "with an echo"), 202).await;
        meta.fail_next_for(WITHOUT_ECHO, Fault::LostRequest);
        self.asks(&message(PAGE, WITHOUT_ECHO, "update", "without an echo"), 202).await;
        meta.fail_next_for(COMMENT_WITH_ECHO, Fault::LostAnswer);
        self.asks_to_answer(COMMENT_WITH_ECHO, 202).await;
        self.dies_at(ASKED_TWICE);
        let body = message(PAGE, REPEATED, "update", ASKED_TWICE);
        let request = request("POST", "/messages", Some(&key_of(&body)), &body);
        tokio::select! {
            _ = self.platform.invoke_api(&request) => panic!("it dies"),
            () = self.platform.gate.crashed() => {}
        }

        // What is queued and not processed.
        let queued = [
            meta.person_taps(PAGE, QUEUED, "BOOK", "Book"),
            meta.person_says(PAGE, QUEUED_TWICE, "Are you open?"),
            meta.person_taps(PAGE, QUEUED_TWICE, "BOOK", "Book"),
            meta.person_says(PAGE, BEING_ERASED, "table"),
        ];
        for body in queued {
            self.queue(body).await;
        }
        self.erase(BEING_ERASED).await;

        self.dies_at("swept");
        let tick = json!({"source": "schedule"});
        let functions = self.platform.instance(0, &(self.platform.clock.clone() as SharedClock));
        let functions = functions.unwrap();
        tokio::select! {
            _ = functions.follow_ups.handle(tick, "swept", END + SWEEP_TIMEOUT) => panic!("it dies"),
            () = self.platform.gate.crashed() => {}
        }
        self.platform.gate.spare();
        self.begin_deletion(APP_SCOPED_ID).await;
    }

    /// Whoever is about to send a text dies.
    fn dies_at(&self, text: &'static str) {
        self.platform
            .gate
            .crash_at_each(move |call: &Call| call.target == GRAPH && call.body.contains(text));
    }

    async fn comments(&mut self, psid: &str) {
        let comment = comment_of(psid);
        let body = self.platform.meta.person_comments(PAGE, psid, &comment, "How much is it?");
        self.notify(body).await;
    }

    /// A back-office system asks for a private reply to a person's comment.
    async fn asks_to_answer(&mut self, psid: &str, wanted: u16) {
        let now = self.platform.clock.now().millis();
        let text = format!("in reply to {psid}");
        let reply = json!({"page_id": PAGE, "comment_id": comment_of(psid), "commented_at": now,
            "message": text});
        self.asks(&reply, wanted).await;
    }

    async fn erase(&self, psid: &str) {
        let path = format!("/people/{psid}?page_id={PAGE}");
        assert_eq!(call(&self.platform, "DELETE", &path, None, &Value::Null).await.0, 204);
    }

    /// A person of the app asks Meta to delete what it has; the code is remembered.
    async fn begin_deletion(&mut self, person: &str) {
        let issued_at = self.platform.clock.now().millis() / 1000;
        let payload = json!({"algorithm": "HMAC-SHA256", "expires": issued_at + 3600,
            "issued_at": issued_at, "user_id": person});
        let signed = samples::sign_request(&payload, APP_SECRET).unwrap();
        let form = format!("signed_request={signed}").into();
        let (status, begun) = call(&self.platform, "POST", "/data-deletion", None, &form).await;
        assert_eq!(status, 200, "{begun}");
        self.remembered.insert(format!("deletion of {person}"), begun["confirmation_code"].clone());
    }
}
