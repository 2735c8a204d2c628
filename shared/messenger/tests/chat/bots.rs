//! Bots to test the kit with.

use std::time::Duration;

use http::{Request, Response};
use messenger::bot::{
    Bot, BotError, NoAnswer, Service, Setup, SetupError, State, Stateless, Trouble, Turn, bot_fn,
};
use messenger::decision::{Decision, FollowUp};
use messenger::event::Kind;
use messenger::message::{Button, Invalid, Message, QuickReply};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Says a text.
pub(crate) fn say(text: &str) -> Result<Decision, BotError> {
    Ok(Decision::nothing().say(Message::text(text)?))
}

/// Decides the same about everything.
pub(crate) fn always(
    decide: impl Fn() -> Result<Decision, BotError> + Send + Sync + 'static,
) -> impl Bot {
    bot_fn(async move |_: &Turn<Stateless>| decide())
}

/// Says "yes", and this later.
pub(crate) fn later(follow_up: impl Fn() -> FollowUp + Send + Sync + 'static) -> impl Bot {
    always(move || Ok(say("yes")?.later(follow_up())))
}

/// A text to send later.
pub(crate) fn text(text: &str) -> Message {
    Message::text(text).unwrap()
}

/// Does what the text of a message asks for.
pub(crate) fn obedient() -> impl Bot {
    bot_fn(async |turn: &Turn<Count>| {
        let count = turn.state().0 + 1;
        let said = match &turn.event().kind {
            Kind::Reaction(reaction) => reaction.reaction.clone().unwrap_or_default(),
            Kind::Comment(comment) => {
                let text = comment.text.clone().unwrap_or_default();
                return say(&format!("in private: {text}"));
            }
            Kind::Resumed => return Ok(Decision::nothing()),
            Kind::Unsend(_) => return say("taken back"),
            Kind::Referral(referral) => {
                return say(&format!("by {}", referral.reference.clone().unwrap_or_default()));
            }
            Kind::Message(message) if !message.attachments.is_empty() => "an image".to_owned(),
            _ => turn.text(),
        };
        let decision = match said.as_str() {
            "choose" => Decision::nothing().say(choices()?).say(buttons()?),
            "be quiet" => say("I am quiet")?.quiet_for(Duration::from_hours(2)),
            "remind" => say("I will")?.later(FollowUp::after(HOUR, Message::text("Now")?)),
            "long" => Decision::nothing().say(Message::text("é".repeat(600))?),
            said => say(&format!("{count}: {said}"))?,
        };
        Ok(decision.remember(&Count(count))?)
    })
}

const HOUR: Duration = Duration::from_hours(1);

fn choices() -> Result<Message, Invalid> {
    let replies = [QuickReply::text("Red", "RED"), QuickReply::text("Blue", "BLUE")];
    Message::text("Which?")?.with_quick_replies(&replies)
}

fn buttons() -> Result<Message, Invalid> {
    let buttons =
        [Button::postback("More", "MORE"), Button::web("https://example.com", "The site")];
    Message::buttons("Or", &buttons)
}

/// How many events the obedient bot has answered.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Count(pub(crate) u64);

impl State for Count {}

/// Asks a model, and orders with a key.
pub(crate) struct Assistant {
    model: Service,
    fallback: Option<&'static str>,
    /// Whether it makes up a key for each call.
    is_careless: bool,
}

/// Builds the assistant.
pub(crate) async fn assistant(setup: &Setup) -> Result<Assistant, SetupError> {
    Ok(Assistant { model: setup.service("llm")?, fallback: None, is_careless: false })
}

/// Builds an assistant that says something instead of what it cannot decide.
pub(crate) async fn with_fallback(setup: &Setup) -> Result<Assistant, SetupError> {
    Ok(Assistant { fallback: Some("Please try again later"), ..assistant(setup).await? })
}

/// Builds an assistant that makes up a key for each call.
pub(crate) async fn careless(setup: &Setup) -> Result<Assistant, SetupError> {
    Ok(Assistant { is_careless: true, ..assistant(setup).await? })
}

/// The settings of the assistants.
pub(crate) fn settings() -> Value {
    json!({"services": {"llm": {"url": "https://llm.example"}}})
}

/// A model that answers.
#[expect(
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "the form of a service"
)]
pub(crate) fn answering(request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, NoAnswer> {
    let key = request.headers().get("authorization").and_then(|key| key.to_str().ok());
    let answer = format!("as {}", key.unwrap_or("nobody"));
    Ok(Response::new(json!({"answer": answer}).to_string().into_bytes()))
}

impl Bot for Assistant {
    type State = Stateless;

    async fn decide(&self, turn: &Turn<Stateless>) -> Result<Decision, BotError> {
        let mut call = self.model.post("/chat").json(&json!({"text": turn.text()}))?;
        if self.is_careless {
            static CALLS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
            let number = CALLS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            call = call.header("idempotency-key", &number.to_string());
        }
        let answer: Value = call.send(turn).await?;
        say(answer["answer"].as_str().unwrap_or_default())
    }

    fn give_up(&self, _: &Turn<Stateless>, why: &Trouble) -> Option<Decision> {
        let text = self.fallback?;
        say(&format!("{text} ({})", why.label())).ok()
    }
}
