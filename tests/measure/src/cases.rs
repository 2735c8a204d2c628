//! What is measured: each function with an event, and how to see that the event was handled.

use std::error::Error;
use std::fs;

use messenger::clock::Clock;
use serde_json::{Value, json};
use simulator::platform::{EVENTS, Platform};
use simulator::samples;

use crate::runtime::Runtime;

/// A function with the event that it gets.
pub(crate) struct Case {
    /// The package and binary.
    pub(crate) function: &'static str,
    /// The event, as a path below `events/` without `.json`.
    sample: &'static str,
    /// Texts of the sample that make the event unique: a repeated event takes another path.
    unique: &'static [&'static str],
    /// How many people write at once: the sample's message comes from each of them.
    people: usize,
    /// The address in the sample that takes forwarded events.
    inbound: Option<&'static str>,
    /// Whether an answer is that of an event that was handled.
    pub(crate) succeeded: fn(&Value) -> bool,
    /// How often the event's effect has happened outside the function, where it has one.
    pub(crate) effects: Option<fn(&Platform, &Runtime) -> usize>,
}

/// The hello world that everything is compared with.
pub(crate) const FLOOR: Case = Case {
    function: "floor",
    sample: "webhook/verification",
    unique: &[],
    people: 1,
    inbound: None,
    succeeded: is_http_success,
    effects: None,
};

const WEBHOOK: Case = Case {
    function: "webhook",
    sample: "webhook/text",
    unique: &["m_sample_text"],
    effects: Some(|platform, _| platform.sqs.messages(EVENTS).len()),
    ..FLOOR
};

/// The webhook with a notification of so many people.
pub(crate) const fn webhook_of(people: usize) -> Case {
    Case { people, ..WEBHOOK }
}

/// The functions.
pub(crate) const FUNCTIONS: [Case; 6] = [
    WEBHOOK,
    Case {
        function: "event-processor",
        sample: "event-processor/text",
        unique: &["m_sample_sqs_text", "cab1aaaa8420601b9166fb57664840eb"],
        succeeded: is_whole_batch,
        effects: Some(|platform, _| platform.meta.delivered(samples::PAGE, samples::PSID).len()),
        ..FLOOR
    },
    Case {
        function: "follow-ups",
        sample: "follow-ups/tick",
        succeeded: |answer| answer.get("error").is_none(),
        ..FLOOR
    },
    Case { function: "api", sample: "api/list-applications", ..FLOOR },
    Case {
        function: "forward",
        sample: "forward/text",
        unique: &["m_sample_forward", "185f8db32271fe25f561a6fc938b2e26"],
        inbound: Some("http://127.0.0.1:8090/inbound"),
        succeeded: is_whole_batch,
        effects: Some(|_, runtime| runtime.forwarded()),
        ..FLOOR
    },
    Case {
        function: "setup",
        sample: "setup/status",
        // A report; that nothing is registered yet is one of its findings.
        succeeded: |answer| answer["ok"].is_boolean(),
        ..FLOOR
    },
];

impl Case {
    /// Whether the function posts events to other systems.
    pub(crate) const fn is_forwarder(&self) -> bool {
        self.inbound.is_some()
    }

    /// How many effects each invocation has.
    pub(crate) const fn effects_of_each(&self) -> usize {
        self.people
    }

    /// The event of an invocation, as if it had just happened.
    ///
    /// # Errors
    /// If the sample is not there or not as expected.
    pub(crate) fn event(
        &self,
        number: usize,
        platform: &Platform,
        runtime: &Runtime,
    ) -> Result<String, Box<dyn Error>> {
        let path = samples::folder().join(format!("{}.json", self.sample));
        let mut text =
            fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        for unique in self.unique {
            // Of the same length, so that all events are equally large.
            text = replace(&text, unique, &format!("{number:0width$}", width = unique.len()))?;
        }
        if let Some(inbound) = self.inbound {
            text = replace(&text, inbound, &runtime.inbound_url())?;
        }
        if self.people > 1 {
            text = multiply(&text, self.people)?;
        }
        let event = samples::refresh(&text, platform.clock.now(), samples::APP_SECRET)?;
        Ok(event.to_string())
    }
}

/// Lets as many people write what one person writes in a sample of the webhook.
fn multiply(sample: &str, people: usize) -> Result<String, Box<dyn Error>> {
    let mut sample: Value = serde_json::from_str(sample)?;
    let mut body: Value = serde_json::from_str(sample["body"].as_str().unwrap_or_default())?;
    let items = &mut body["entry"][0]["messaging"];
    let item = items[0].clone();
    let of_person = |number: usize| {
        let mut item = item.clone();
        item["sender"]["id"] = format!("{}", 7_000_000_000_000_000 + number).into();
        let mid = item["message"]["mid"].as_str().unwrap_or_default();
        item["message"]["mid"] = format!("{mid}_{number}").into();
        item
    };
    *items = (0..people).map(of_person).collect();
    sample["body"] = body.to_string().into();
    Ok(sample.to_string())
}

fn replace(text: &str, old: &str, new: &str) -> Result<String, String> {
    if !text.contains(old) {
        return Err(format!("the sample does not contain {old}"));
    }
    Ok(text.replace(old, new))
}

fn is_http_success(answer: &Value) -> bool {
    answer["statusCode"] == 200
}

fn is_whole_batch(answer: &Value) -> bool {
    answer["batchItemFailures"] == json!([])
}
