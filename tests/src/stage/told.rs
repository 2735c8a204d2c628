//! What happened on the stage, in the words of the test kit.

use backend::store::{Entry, Reason, Status};
use messenger::chat::shown;
use messenger::chat::transcript::{Ending, Happening, Refused, What};
use messenger::clock::{Clock, Timestamp};
use messenger::event::Event;
use messenger::message::Outgoing;
use messenger::window::{Label, Tag};
use serde_json::{Value, json};

use super::Stage;
use crate::meta::{GraphRequest, Outcome};
use crate::platform::{DEAD_LETTERS, Platform};

/// How it is told that the bot hands over.
const HANDS_OVER: &str = "(hands over: ";

/// Something that happened, and when.
pub(super) struct Told {
    pub(super) at: i64,
    pub(super) happening: Happening,
}

impl Told {
    /// Its place among what happens in one instant.
    fn rank(&self) -> u8 {
        match &self.happening.what {
            What::Ended { ending: Ending::Cancelled, .. } => 0,
            What::Sent { label: None, text } if text.starts_with(HANDS_OVER) => 2,
            _ => 1,
        }
    }
}

impl Stage {
    /// What left and what ended since the last look, in the order in which it happened.
    pub(super) async fn happened(
        &mut self,
        platform: &Platform,
    ) -> Result<Vec<Happening>, Refused> {
        let mut told = Vec::new();
        let requests = platform.meta.requests();
        for request in requests.iter().skip(self.requests_seen) {
            told.extend(self.sent(request));
        }
        self.requests_seen = requests.len();
        for entry in self.entries(platform).await? {
            told.extend(self.ended(&entry));
            told.extend(self.handed_over(&entry));
        }
        let dead = platform.sqs.messages(DEAD_LETTERS);
        for message in dead.iter().skip(self.dead_letters_seen) {
            let reason = message.attributes.get("reason").map(|reason| reason.value.as_str());
            told.extend(self.given_up(&message.body, reason.unwrap_or_default(), platform));
        }
        self.dead_letters_seen = dead.len();
        told.append(&mut self.refused);
        // On a clock that stands, what an answer cancels ends before the reply to it, and the bot hands over after its
        // last words.
        told.sort_by_key(|told| (told.at, told.rank()));
        Ok(told.into_iter().map(|told| told.happening).collect())
    }

    fn sent(&mut self, request: &GraphRequest) -> Option<Told> {
        let body = if request.message.is_null() {
            json!({"sender_action": request.sender_action})
        } else {
            json!({"message": without_metadata(request.message.clone())})
        };
        let label = match &request.outcome {
            Outcome::Delivered { mid } => {
                let psid = request.psid.as_deref()?;
                let who = self.name_of(&request.page_id, psid)?;
                self.people.get_mut(&who)?.screen.show(mid.clone(), &request.message);
                Some(label(request))
            }
            Outcome::Acted => None,
            _ => return None,
        };
        let say: Outgoing = serde_json::from_value(body).ok()?;
        let who = self.name_of(&request.page_id, request.psid.as_deref()?);
        let what = What::Sent { label, text: shown(&say) };
        Some(Told { at: request.at, happening: Happening { who, what } })
    }

    fn ended(&mut self, entry: &Entry) -> Option<Told> {
        let key = entry.key().ok()?;
        let ending = match entry.status {
            Status::Open | Status::Sent => return None,
            Status::Refused => Ending::Refused,
            Status::Failed => Ending::Failed,
            Status::Cancelled => Ending::Cancelled,
        };
        if entry.reason == Some(Reason::Placeholder) || !self.ended.insert(key.to_string()) {
            return None;
        }
        let reason = entry.reason.as_ref().map(Reason::code).unwrap_or_default();
        let text = match (&entry.reason, entry.steps.first()) {
            (_, Some(step)) => shown(&step.say()),
            _ if entry.timer.is_some() => timer(entry).filter(|_| ending == Ending::Failed)?,
            (Some(Reason::Invalid(why)), None) => why.clone(),
            _ => String::new(),
        };
        let conversation = &key.conversation_key;
        let who = self.name_of(&conversation.page_id, &conversation.person.to_string());
        let what = What::Ended { ending, reason: reason.to_string(), text };
        let at = entry.ended_at.map_or(0, Timestamp::millis);
        Some(Told { at, happening: Happening { who, what } })
    }

    fn handed_over(&mut self, entry: &Entry) -> Option<Told> {
        let (key, reason) = (entry.key().ok()?, entry.handed_over.as_ref()?);
        if !self.handed_over.insert(key.to_string()) {
            return None;
        }
        let conversation = &key.conversation_key;
        let who = self.name_of(&conversation.page_id, &conversation.person.to_string());
        let text = format!("{HANDS_OVER}{reason})");
        let what = What::Sent { label: None, text };
        Some(Told { at: entry.decided_at.millis(), happening: Happening { who, what } })
    }

    /// An event that the bot gave up on without a decision.
    fn given_up(&self, body: &str, reason: &str, platform: &Platform) -> Option<Told> {
        let event = Event::from_queue_text(body).ok()?;
        let who = self.name_of(&event.page_id, &event.person.as_ref()?.to_string());
        let (reason, text) = reason.split_once(": ").unwrap_or((reason, ""));
        let (reason, text) = (reason.to_owned(), text.to_owned());
        let what = What::Ended { ending: Ending::Failed, reason, text };
        Some(Told { at: platform.clock.now().millis(), happening: Happening { who, what } })
    }

    pub(super) async fn entries(&self, platform: &Platform) -> Result<Vec<Entry>, Refused> {
        let items = platform.items().await.map_err(|error| Refused(error.to_string()))?;
        let entries = items.into_iter().filter(|item| {
            item.get("sk").and_then(Value::as_str).is_some_and(|sk| sk.starts_with("outbox#"))
        });
        let mut entries: Vec<Entry> =
            entries.filter_map(|item| serde_json::from_value(Value::Object(item)).ok()).collect();
        entries.sort_by_key(|entry| (entry.first_due, entry.decided_at));
        Ok(entries)
    }
}

/// What a timer is called where messages show their text.
pub(super) fn timer(entry: &Entry) -> Option<String> {
    entry.timer.as_ref().map(|timer| format!("(timer {})", timer.key))
}

/// What a message was before it was tagged for its echo.
fn without_metadata(mut message: Value) -> Value {
    if let Some(fields) = message.as_object_mut() {
        fields.remove("metadata");
    }
    message
}

fn label(request: &GraphRequest) -> Label {
    match (request.tag.as_deref(), request.messaging_type.as_deref()) {
        (Some("HUMAN_AGENT"), _) => Label::Tagged(Tag::HumanAgent),
        (Some(_), _) => Label::Tagged(Tag::CustomerFeedback),
        (None, Some("UPDATE")) => Label::Update,
        (None, Some("UTILITY")) => Label::Utility,
        _ => Label::Response,
    }
}
