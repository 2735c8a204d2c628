//! Requeue: what was set aside goes to the queue of events once its cause is gone.
//!
//! A message leaves the unreadable queue only after its events are queued. If that is interrupted, they
//! are queued again, and known by their ids.

use std::collections::BTreeMap;

use backend::intake::{Kept, KeptMessage, Part, by_owner, reason_of_foreign};
use backend::secrets::Secret;
use messenger::clock::Timestamp;
use messenger::event::{Event, Limits, split_within};
use messenger::message::Invalid;
use serde_json::Value;

use crate::payload::Requeue;
use crate::report::Report;
use crate::{Setup, SetupError, in_json};

/// How many messages are looked at without a `limit` in the payload, and at most.
const LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

/// How long others do not see what is looked at: as long as setup may run, in seconds. So the next
/// invocation looks at other messages.
const HIDDEN_SECONDS: i32 = 300;

/// How many events a body may hold. No caller waits here, so that it is more than in the webhook.
const LIMITS: Limits = Limits { events: 20_000, in_order: 20_000 };

const ABOUT: &str = "unreadable queue";

/// Why a message stays: it was not written by the webhook, or by a version that wrote less.
const NOT_OURS: &str = "unknown_form";
/// Why a message stays: the others that belong to it were not received.
const PARTS_MISSING: &str = "parts_missing";

/// What becomes of the messages that were received.
#[derive(Debug, Default, PartialEq)]
struct Plan {
    /// In the order of their receipt.
    queue: Vec<Event>,
    /// By the key of the application.
    set_aside: BTreeMap<String, Vec<Event>>,
    /// The handles of the messages whose events are all in the above.
    done: Vec<String>,
    /// The number of the other messages, by why they stay.
    left: BTreeMap<&'static str, usize>,
}

/// A body's parts, as far as they were received.
struct Body {
    received_at: Timestamp,
    count: usize,
    parts: BTreeMap<usize, Vec<u8>>,
    handles: Vec<String>,
}

impl Setup {
    /// Takes messages of the unreadable queue in again: those that can be read by now, and whose Pages
    /// belong by now to the application that signed them.
    pub(crate) async fn requeue(
        &self,
        Requeue { limit }: Requeue,
        secret: &Secret,
    ) -> Result<Value, SetupError> {
        let limit = limit.unwrap_or(LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(Invalid::new("limit", "must be from 1 to 1000").into());
        }
        let mut messages = Vec::new();
        while messages.len() < limit {
            let wanted = limit - messages.len();
            let received = self.intake.receive_kept(wanted, HIDDEN_SECONDS).await?;
            if received.is_empty() {
                break;
            }
            messages.extend(received);
        }
        let Plan { queue, set_aside, done, left } = plan(messages, secret);
        let mut report = Report::default();
        report_changes(&mut report, queue.len(), set_aside.values().map(Vec::len).sum(), &done);
        self.intake.queue(queue).await?;
        for (application, events) in set_aside {
            self.intake.set_aside(&application, secret, events).await?;
        }
        for handle in done {
            self.intake.delete_kept(&handle).await?;
        }
        for (reason, count) in left {
            report.warning(ABOUT, format!("{count} messages stay: {reason}"), remedy(reason));
        }
        match self.intake.count_kept().await {
            Ok(0) => {}
            Ok(more) => report.note(
                ABOUT,
                format!("about {more} messages have not been looked at"),
                "invoke requeue again",
            ),
            Err(error) => tracing::warn!(%error, "the messages that are left cannot be counted"),
        }
        in_json(&report)
    }
}

fn plan(messages: Vec<KeptMessage>, secret: &Secret) -> Plan {
    let mut plan = Plan::default();
    let mut bodies = BTreeMap::<(String, String), Body>::new();
    for KeptMessage { handle, kept } in messages {
        match kept {
            Some(Kept::Event { application, event }) => {
                let page_id = event.page_id.clone();
                let (ours, others) = by_owner(secret, &application, vec![*event]);
                if others.is_empty() {
                    plan.queue.extend(ours);
                    plan.done.push(handle);
                } else {
                    *plan.left.entry(reason_of_foreign(secret, &page_id)).or_default() += 1;
                }
            }
            Some(Kept::Part(part)) => {
                let Part { application, notification, received_at, number, count, bytes } = part;
                let body = bodies.entry((application, notification)).or_insert_with(|| Body {
                    received_at,
                    count,
                    parts: BTreeMap::new(),
                    handles: Vec::new(),
                });
                body.received_at = body.received_at.min(received_at);
                body.parts.insert(number, bytes);
                body.handles.push(handle);
            }
            None => *plan.left.entry(NOT_OURS).or_default() += 1,
        }
    }
    plan.queue.sort_by_key(|event| (event.received_at, event.at));
    for ((application, _), body) in bodies {
        plan.add_body(&application, body, secret);
    }
    // Stable: the events of a body keep their order.
    plan.queue.sort_by_key(|event| event.received_at);
    plan
}

impl Plan {
    fn add_body(&mut self, application: &str, body: Body, secret: &Secret) {
        let Body { received_at, count, parts, handles } = body;
        let events = if parts.keys().copied().eq(1..=count) {
            let bytes = parts.into_values().flatten().collect::<Vec<_>>();
            split_within(&bytes, received_at, LIMITS).map_err(Into::into)
        } else {
            Err(PARTS_MISSING)
        };
        match events {
            Ok(events) => {
                let (ours, others) = by_owner(secret, application, events);
                self.queue.extend(ours);
                if !others.is_empty() {
                    self.set_aside.entry(application.to_owned()).or_default().extend(others);
                }
                self.done.extend(handles);
            }
            Err(reason) => *self.left.entry(reason).or_default() += handles.len(),
        }
    }
}

fn report_changes(report: &mut Report, queued: usize, set_aside: usize, done: &[String]) {
    if done.is_empty() {
        return report.ok(ABOUT, "nothing can be put back");
    }
    let messages = done.len();
    report.changed(ABOUT, format!("{queued} events of {messages} messages are queued again"));
    if set_aside > 0 {
        report.warning(
            ABOUT,
            format!("{set_aside} events of {messages} messages belong to other Pages, and stay as events"),
            "add the Page to the application in the secret, then invoke requeue again",
        );
    }
}

/// What to do about messages that stay.
fn remedy(reason: &str) -> &'static str {
    match reason {
        "unknown_page" => {
            "add the Page to the application in the secret, then invoke requeue again in 5 minutes"
        }
        "another_application" => {
            "move the Page to the application that signs its events, or unsubscribe that app from the Page"
        }
        PARTS_MISSING => {
            "invoke requeue again in 5 minutes with a higher limit: the parts of a body must be received together"
        }
        NOT_OURS => "look at the message in SQS: the webhook did not write it in this form",
        _ => "look at the body in SQS (base64), and delete the message if nothing in it is needed",
    }
}
