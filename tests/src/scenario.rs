//! Nine days of conversations, played with the samples in `events/`, and what is expected of them.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::Write;
use std::time::Duration;

use backend::store::Reason;
use messenger::clock::{Clock, Timestamp};
use serde_json::{Map, Value};

use crate::meta::Outcome;
use crate::platform::Platform;
use crate::samples;

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// Plays the conversations and writes a timeline, in the order of the platform's clock. Returns the expectations that
/// were not met; the timeline ends with them.
///
/// The platform's bot must be `booking`, whose texts are expected.
///
/// # Errors
/// If a sample is missing, or the platform does not answer.
pub async fn play(
    platform: &Platform,
    out: &mut impl Write,
) -> Result<Vec<String>, Box<dyn Error>> {
    let mut play = Play { platform, out, seen: 0, ended: BTreeSet::new(), differences: Vec::new() };
    play.webhook().await?;
    play.questions().await?;
    play.a_person_is_asked_for().await?;
    play.answers().await?;
    play.standard_window().await?;
    play.seven_days().await?;
    play.after_seven_days().await?;
    play.conclude()?;
    Ok(play.differences)
}

const START: Timestamp = samples::BEGINNING;

impl<W: Write> Play<'_, W> {
    async fn webhook(&mut self) -> Result<(), Box<dyn Error>> {
        self.title("Meta's webhook")?;
        self.request(START, "Meta verifies the webhook", "webhook/verification", "200 1158201444")
            .await?;
        self.request(
            START,
            "a forged notification",
            "webhook/bad-signature",
            "401 INVALID_SIGNATURE",
        )
        .await?;
        Ok(())
    }

    async fn questions(&mut self) -> Result<(), Box<dyn Error>> {
        self.title("A guest starts to book")?;
        self.event(
            START + MINUTE,
            "a guest taps Get Started",
            "webhook/postback",
            &["RESPONSE: Hello! How can we help?"],
        )
        .await?;
        self.event(
            START + 2 * MINUTE,
            "a guest taps Book",
            "webhook/quick-reply",
            &["RESPONSE: What would you like to book?"],
        )
        .await?;
        Ok(())
    }

    async fn a_person_is_asked_for(&mut self) -> Result<(), Box<dyn Error>> {
        self.title("Another guest asks for a person, and the bot goes quiet")?;
        self.event(
            START + 4 * MINUTE,
            "another guest asks for the opening hours",
            "webhook/base64",
            &["RESPONSE: We are open every day from 9 to 18."],
        )
        .await?;
        self.event(
            START + 5 * MINUTE,
            "another guest asks for a person",
            "webhook/person",
            &["RESPONSE: A person will answer you here. We are quiet until then."],
        )
        .await?;
        self.event(
            START + 8 * MINUTE,
            "the shop writes to that guest in the Page inbox",
            "webhook/echo-of-a-person",
            &[],
        )
        .await?;
        self.event(
            START + 9 * MINUTE,
            "that guest writes again; the bot stays quiet",
            "webhook/non-ascii",
            &[],
        )
        .await?;
        Ok(())
    }

    async fn answers(&mut self) -> Result<(), Box<dyn Error>> {
        self.title("The first guest continues")?;
        self.time(
            START + 64 * MINUTE,
            "an hour passes",
            &["UPDATE: Are you still there? Just tell us what you would like to book."],
        )
        .await?;
        self.event(
            START + 65 * MINUTE,
            "the guest answers: table",
            "webhook/text",
            &["RESPONSE: A table, with pleasure. For which day?"],
        )
        .await?;
        self.event(START + 65 * MINUTE, "the same event, delivered twice", "webhook/text", &[])
            .await?;
        self.event(
            START + 70 * MINUTE,
            "the guest answers: Friday; the reminder is cancelled",
            "webhook/text-day",
            &[
                "cancelled (answered): For which day shall we book?",
                "RESPONSE: Noted: a table, Friday. We will confirm it soon.",
                "RESPONSE: [button] Anything else?",
            ],
        )
        .await?;
        self.event(
            START + 75 * MINUTE,
            "the same event again, after the queue has forgotten it",
            "webhook/text",
            &[],
        )
        .await?;
        let heard = self.last_message_at().await?;
        self.event(
            START + 76 * MINUTE,
            "a photo sent at 09:30 arrives late",
            "webhook/late",
            &["RESPONSE: Thank you, that has arrived."],
        )
        .await?;
        let still = self.last_message_at().await?;
        self.check(heard == still && heard.is_some(), "the last message time has not gone back")?;
        Ok(())
    }

    async fn standard_window(&mut self) -> Result<(), Box<dyn Error>> {
        self.title("The 24-hour window")?;
        self.follow_up(
            "an update is scheduled for 30 h after the guest's last message",
            "follow-ups/update",
            "first",
            &[],
        )
        .await?;
        self.follow_up(
            "another one, with a utility template as its fallback",
            "follow-ups/fallback",
            "first",
            &[],
        )
        .await?;
        self.time(
            START + 22 * HOUR,
            "the night passes",
            &["UPDATE: Your booking is on our list. Is there anything to change?"],
        )
        .await?;
        self.time(
            START + 32 * HOUR,
            "the day passes, and the updates fall due",
            &[
                "refused (window_closed): Your table is still free. Shall we keep it?",
                "UTILITY: [template] room_still_free",
            ],
        )
        .await?;
        Ok(())
    }

    async fn seven_days(&mut self) -> Result<(), Box<dyn Error>> {
        self.title("Day 3: people may still answer")?;
        self.time(START + 3 * DAY, "two days pass", &[]).await?;
        self.follow_up(
            "a survey",
            "follow-ups/feedback",
            "day-3",
            &["MESSAGE_TAG CUSTOMER_FEEDBACK: [customer_feedback] Rate your visit"],
        )
        .await?;
        self.follow_up(
            "the front desk answers",
            "follow-ups/human",
            "day-3",
            &["MESSAGE_TAG HUMAN_AGENT: This is the front desk: your table is by the window."],
        )
        .await?;
        self.follow_up(
            "an update under a tag that Meta retired",
            "follow-ups/account-update",
            "day-3",
            &["refused (tag_retired): Your account was changed."],
        )
        .await?;
        Ok(())
    }

    async fn after_seven_days(&mut self) -> Result<(), Box<dyn Error>> {
        self.title("Day 8: only utility templates")?;
        self.time(START + 8 * DAY, "five days pass", &[]).await?;
        self.follow_up(
            "the front desk answers again",
            "follow-ups/human",
            "day-8",
            &["refused (seven_days_passed): This is the front desk: your table is by the window."],
        )
        .await?;
        self.follow_up(
            "an order was shipped",
            "follow-ups/utility",
            "day-8",
            &["UTILITY: [template] order_shipped"],
        )
        .await?;

        let left = self.platform.next_due().await;
        self.check(left.is_none(), "nothing is waiting any more")?;
        Ok(())
    }
}

struct Play<'a, W> {
    platform: &'a Platform,
    out: &'a mut W,
    seen: usize,
    ended: BTreeSet<String>,
    differences: Vec<String>,
}

impl<W: Write> Play<'_, W> {
    fn title(&mut self, title: &str) -> Result<(), Box<dyn Error>> {
        Ok(writeln!(self.out, "\n{title}")?)
    }

    fn line(&mut self, at: Timestamp, text: &str) -> Result<(), Box<dyn Error>> {
        let at = at.to_string();
        let (day, time) = (at.get(5..10).unwrap_or_default(), at.get(11..16).unwrap_or_default());
        Ok(writeln!(self.out, "  {day} {time}  {text}")?)
    }

    fn check(&mut self, holds: bool, what: &str) -> Result<(), Box<dyn Error>> {
        let now = self.platform.clock.now();
        if !holds {
            self.differences.push(format!("not true: {what}"));
        }
        self.line(now, &format!("{} {what}", if holds { "✓" } else { "✗ not true:" }))
    }

    fn conclude(&mut self) -> Result<(), Box<dyn Error>> {
        if self.differences.is_empty() {
            return Ok(writeln!(self.out, "\nAll expectations met.")?);
        }
        writeln!(self.out, "\nExpectations not met: {}", self.differences.len())?;
        for difference in &self.differences {
            writeln!(self.out, "  {difference}")?;
        }
        Ok(())
    }

    /// Invokes the webhook with a sample as it stands.
    async fn request(
        &mut self,
        at: Timestamp,
        what: &str,
        sample: &str,
        expected: &str,
    ) -> Result<(), Box<dyn Error>> {
        self.platform.advance_to(at).await;
        let request = lambda_http::request::from_str(&samples::read(sample)?.to_string())?;
        let answer = self.platform.invoke_webhook(request).await;
        let status = answer.status().as_u16();
        let answer = format!("{status} {}", String::from_utf8_lossy(&answer.into_body()));
        self.line(at, &format!("{what} → {answer}"))?;
        self.expect(what, &[answer], &[expected])
    }

    /// Lets time pass until `at`, then lets Meta deliver a sample's notification.
    async fn event(
        &mut self,
        at: Timestamp,
        what: &str,
        sample: &str,
        expected: &[&str],
    ) -> Result<(), Box<dyn Error>> {
        self.platform.advance_to(at).await;
        let mut found = self.report().await?;
        self.line(at, what)?;
        let status = self.platform.deliver(&samples::body(sample)?).await;
        if status != 200 {
            self.differences.push(format!("{what}: the webhook answered {status}"));
        }
        found.extend(self.report().await?);
        self.expect(what, &found, expected)
    }

    /// Lets time pass until `to`, with the schedule's runs on the way.
    async fn time(
        &mut self,
        to: Timestamp,
        what: &str,
        expected: &[&str],
    ) -> Result<(), Box<dyn Error>> {
        self.line(self.platform.clock.now(), what)?;
        self.platform.advance_to(to).await;
        let found = self.report().await?;
        self.expect(what, &found, expected)
    }

    /// Stores a sample's follow-up under an id of its own, and runs the schedule.
    async fn follow_up(
        &mut self,
        what: &str,
        sample: &str,
        id: &str,
        expected: &[&str],
    ) -> Result<(), Box<dyn Error>> {
        let now = self.platform.clock.now();
        self.line(now, what)?;
        let mut request = samples::read(sample)?;
        request["id"] = format!("{sample}-{id}").into();
        self.platform.invoke_follow_ups(request).await?;
        self.platform.tick().await?;
        let found = self.report().await?;
        self.expect(what, &found, expected)
    }

    async fn last_message_at(&self) -> Result<Option<Value>, Box<dyn Error>> {
        let items = self.platform.items().await?;
        let of_guest = |item: &&Map<String, Value>| {
            item["sk"] == "conversation"
                && item["pk"].as_str().is_some_and(|pk| pk.ends_with(samples::PSID))
        };
        Ok(items.iter().find(of_guest).and_then(|item| item.get("last_message_at").cloned()))
    }

    /// Writes, and returns, what was sent and what ended unsent since the last report.
    async fn report(&mut self) -> Result<Vec<String>, Box<dyn Error>> {
        let mut lines = Vec::new();
        for entry in self.platform.items().await? {
            let id = format!("{}{}", entry["pk"], entry["sk"]);
            let status = entry.get("status").and_then(Value::as_str).unwrap_or("open");
            if status == "open" || !self.ended.insert(id) || status == "sent" {
                continue;
            }
            let reason = entry.get("reason").and_then(Value::as_str).unwrap_or_default();
            let Ok(reason) = reason.parse::<Reason>();
            let at = entry.get("ended_at").and_then(Value::as_i64).unwrap_or_default();
            lines.push((at, format!("{status} ({}): {}", reason.code(), first_message(&entry))));
        }
        let requests = self.platform.meta.requests();
        for request in &requests[self.seen..] {
            let kind = request.messaging_type.as_deref().unwrap_or_default();
            let tag = request.tag.as_deref().map(|tag| format!(" {tag}")).unwrap_or_default();
            let mut line = format!("{kind}{tag}: {}", preview(&request.message));
            if !matches!(request.outcome, Outcome::Delivered { .. }) {
                line = format!("{line} ✗ {:?}", request.outcome);
            }
            lines.push((request.at, line));
        }
        self.seen = requests.len();
        lines.sort_by_key(|(at, _)| *at);
        for (at, line) in &lines {
            let sign =
                if line.starts_with(|c: char| c.is_ascii_uppercase()) { "←" } else { "×" };
            self.line(Timestamp::from_millis(*at), &format!("    {sign} {line}"))?;
        }
        Ok(lines.into_iter().map(|(_, line)| line).collect())
    }

    fn expect(
        &mut self,
        what: &str,
        found: &[String],
        expected: &[&str],
    ) -> Result<(), Box<dyn Error>> {
        if found != expected {
            let difference = format!("{what}: expected {expected:?}, found {found:?}");
            writeln!(self.out, "           ✗ {difference}")?;
            self.differences.push(difference);
        }
        Ok(())
    }
}

fn first_message(entry: &Map<String, Value>) -> String {
    let step = entry.get("steps").and_then(|steps| steps[0]["body"].as_str()).unwrap_or("{}");
    let body: Value = serde_json::from_str(step).unwrap_or_default();
    preview(&body["message"])
}

fn preview(message: &Value) -> String {
    let payload = &message["attachment"]["payload"];
    if let Some(text) = message["text"].as_str() {
        return text.to_owned();
    }
    if let Some(name) = message["template"]["name"].as_str() {
        return format!("[template] {name}");
    }
    let kind = payload["template_type"].as_str().or(message["attachment"]["type"].as_str());
    let text =
        [&payload["text"], &payload["title"], &payload["url"]].into_iter().find_map(Value::as_str);
    format!("[{}] {}", kind.unwrap_or("message"), text.unwrap_or_default())
}
