//! Your bot. Edit this file, or replace it: nothing but its own tests depends on what it says.

use std::time::Duration;

use messenger::bot::{Bot, BotError, Setup, SetupError, Stateless, Turn, bot_fn};
use messenger::decision::Decision;
use messenger::message::{Message, QuickReply};

/// How long the bot stays quiet after somebody asks for a person.
const QUIET: Duration = Duration::from_hours(12);

/// Builds the bot, once for each container of the event processor.
///
/// # Errors
/// [`SetupError`] if its settings are not what it needs; then the function does not start, and events wait.
pub async fn bot(_setup: &Setup) -> Result<impl Bot + use<>, SetupError> {
    Ok(bot_fn(answer))
}

async fn answer(turn: &Turn<Stateless>) -> Result<Decision, BotError> {
    if turn.is_silent() {
        return Ok(Decision::nothing());
    }
    match turn.text().as_str() {
        "GET_STARTED" => greet("Hello! How can we help you?"),
        "PERSON" => {
            let promise = Message::text("Somebody from our team will answer you here.")?;
            Ok(Decision::nothing().say(promise).quiet_for(QUIET))
        }
        _ => greet("Thank you for your message. Would you like to talk to a person?"),
    }
}

fn greet(text: &str) -> Result<Decision, BotError> {
    let choice = QuickReply::text("Talk to a person", "PERSON");
    Ok(Decision::nothing().say(Message::text(text)?.with_quick_replies(&[choice])?))
}
