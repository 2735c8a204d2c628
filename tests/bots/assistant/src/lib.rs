//! A sample bot: a language model answers, within a budget for each person and day, and hands over to a person.
//!
//! It speaks the form that most models' servers understand, `POST /chat/completions`. Its settings (`BOT_SETTINGS`):
//!
//! ```json
//! {
//!   "services": { "llm": { "url": "https://api.openai.com/v1" } },
//!   "model": "gpt-5-mini",
//!   "instructions": "You answer guests of the hotel Sunrise. It has 40 rooms; breakfast is from 7 to 10.",
//!   "tokens_per_day": 20000
//! }
//! ```
//!
//! The server's key is `llm_key` in the part `bot` of the secret. A model that is not sure of its answer begins it with
//! the word `UNSURE`, as [`RULES`] tell it; what follows is for the person of the business who takes over.

use std::time::Duration;

use messenger::bot::{
    Bot, BotError, Gather, MAX_HISTORY, Said, Service, Setup, SetupError, State, Trouble, Turn, Who,
};
use messenger::decision::{Decision, HandOver};
use messenger::message::{Invalid, Message, QuickReply};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What the model is told beside the instructions of the settings.
pub const RULES: &str = "Answer in the language of the guest, in plain text without markup, in a few sentences. If you \
                         do not know the answer, or the guest needs somebody who decides or acts, answer only UNSURE: \
                         and one sentence for a colleague about what the guest needs.";

/// The word with which the model says that it is not sure.
const UNSURE: &str = "UNSURE";

/// The payload of the choice that calls a person.
const PERSON: &str = "PERSON";

/// The words with which somebody asks for a person; the payload is one of them.
const WORDS_FOR_PERSON: [&str; 5] = ["human", "person", "agent", "somebody real", "employee"];

/// What an answer is taken to cost if the server does not say.
const ASSUMED_TOKENS: u64 = 1_000;

/// The most characters of a reason for a hand-over.
const LONGEST_REASON: usize = 200;

/// Builds the bot.
///
/// # Errors
/// [`SetupError`] if the settings lack the model or the address of its service.
pub async fn bot(setup: &Setup) -> Result<impl Bot + use<>, SetupError> {
    Ok(Assistant { llm: setup.service("llm")?, settings: setup.settings()? })
}

#[derive(Deserialize)]
struct Settings {
    model: String,
    #[serde(default)]
    instructions: String,
    #[serde(default = "default_tokens")]
    tokens_per_day: u64,
}

const fn default_tokens() -> u64 {
    20_000
}

struct Assistant {
    llm: Service,
    settings: Settings,
}

/// What a person has cost today.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Spent {
    /// The day, counted from the epoch, in UTC.
    day: i64,
    tokens: u64,
}

impl State for Spent {}

/// The model's answer, as far as it is needed.
#[derive(Deserialize)]
struct Answer {
    choices: Vec<Choice>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    message: Content,
}

#[derive(Deserialize)]
struct Content {
    content: String,
}

#[derive(Deserialize)]
struct Usage {
    total_tokens: u64,
}

impl Bot for Assistant {
    type State = Spent;

    async fn decide(&self, turn: &Turn<Spent>) -> Result<Decision, BotError> {
        // A reaction, a comment, the end of a hand-over: nothing of it needs an answer of the model.
        if turn.is_silent() {
            return Ok(Decision::nothing());
        }
        let text = turn.text();
        if text == "GET_STARTED" {
            return Ok(Decision::nothing().say(with_choice("Hello! What would you like to know?")?));
        }
        if is_for_person(&text) {
            return Ok(call_person(
                "The guest asks for a person.",
                "Somebody will answer you here.",
            )?);
        }
        if text.is_empty() {
            let sorry = "I can only read texts. What would you like to know?";
            return Ok(Decision::nothing().say(Message::text(sorry)?));
        }
        let spent = today(turn);
        if spent.tokens >= self.settings.tokens_per_day {
            let enough = "That is all that I can answer today. Would you like to talk to a person?";
            return Ok(Decision::nothing().say(with_choice(enough)?));
        }
        let (answer, tokens) = self.ask(turn).await?;
        let spent = Spent { tokens: spent.tokens.saturating_add(tokens), ..spent };
        let decision = match answer.trim().strip_prefix(UNSURE) {
            Some(reason) => {
                let reason = reason.trim_start_matches(':').trim();
                call_person(reason, "I am not sure about that. Somebody will answer you here.")?
            }
            None => Message::texts(&answer, turn.platform())?
                .into_iter()
                .fold(Decision::nothing(), Decision::say),
        };
        Ok(decision.remember(&spent)?)
    }

    /// The model is down, or what it says cannot be sent: a person can help.
    fn give_up(&self, _: &Turn<Spent>, _: &Trouble) -> Option<Decision> {
        let sorry = "I cannot answer that now. Would you like to talk to a person?";
        Some(Decision::nothing().say(with_choice(sorry).ok()?))
    }

    /// People write a question in pieces, and each answer costs.
    fn gather(&self) -> Gather {
        Gather::For(Duration::from_secs(2))
    }
}

impl Assistant {
    /// What the model answers to the conversation so far, and how many tokens that cost.
    async fn ask(&self, turn: &Turn<Spent>) -> Result<(String, u64), BotError> {
        let Settings { model, instructions, .. } = &self.settings;
        let system = json!({"role": "system", "content": format!("{instructions}\n{RULES}")});
        let mut messages = vec![system];
        messages.extend(conversation(turn).await);
        let body = json!({"model": model, "messages": messages, "max_tokens": 800});
        // A model that is busy or slow is asked again by the platform, after the pause that it asks for.
        let answer: Answer = self.llm.post("/chat/completions").json(&body)?.send(turn).await?;
        let tokens = answer.usage.map_or(ASSUMED_TOKENS, |usage| usage.total_tokens);
        let first = answer.choices.into_iter().next().ok_or(BotError::Failed("the model"))?;
        Ok((first.message.content, tokens))
    }
}

/// What was said, in the model's form, the guest's newest messages included.
async fn conversation(turn: &Turn<Spent>) -> Vec<Value> {
    // The model knows what the guest has just said or pressed, also if the history does not show it, or not yet.
    let mut history = turn.history(MAX_HISTORY).await.unwrap_or_default();
    let is_of_guest = |said: &Said| said.who == Who::Person && !said.text.is_empty();
    if !history.last().is_some_and(is_of_guest) {
        history.push(Said { who: Who::Person, at: None, text: turn.text() });
    }
    let said = history.into_iter().filter(|said| !said.text.is_empty());
    let in_the_models_form = said.map(|said| {
        let role = if said.who == Who::Person { "user" } else { "assistant" };
        json!({"role": role, "content": said.text})
    });
    in_the_models_form.collect()
}

/// What the person has cost today: nothing yet if the day is new.
fn today(turn: &Turn<Spent>) -> Spent {
    const DAY: i64 = 24 * 60 * 60 * 1000;
    let day = turn.now().millis().div_euclid(DAY);
    Some(*turn.state()).filter(|spent| spent.day == day).unwrap_or(Spent { day, tokens: 0 })
}

fn is_for_person(text: &str) -> bool {
    let lower = text.to_lowercase();
    WORDS_FOR_PERSON.iter().any(|word| lower.contains(word))
}

/// Lets people answer; the reason is for them, the promise for the guest.
fn call_person(reason: &str, promise: &str) -> Result<Decision, Invalid> {
    let reason = if reason.is_empty() { "The model was not sure." } else { reason };
    let reason: String = reason.chars().take(LONGEST_REASON).collect();
    Ok(Decision::nothing().say(Message::text(promise)?).hand_over(HandOver::because(reason)))
}

fn with_choice(text: &str) -> Result<Message, Invalid> {
    Message::text(text)?.with_quick_replies(&[QuickReply::text("Talk to a person", PERSON)])
}
