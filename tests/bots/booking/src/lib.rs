//! A sample bot: it books a table or a room in two questions, reminds, and hands over to a person.
//!
//! The scenario, the tests and the samples in `events/` expect its texts. Your own bot is in `functions/bot`.

use std::time::Duration;

use messenger::clock::Timestamp;
use messenger::decision::{Conversation, Decision, FollowUp};
use messenger::event::{Event, Kind};
use messenger::message::{Button, Invalid, Message, QuickReply};
use serde::{Deserialize, Serialize};

const HOUR: Duration = Duration::from_hours(1);

/// What the bot remembers of a person: at most 512 bytes as JSON.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
enum State {
    /// Nothing is asked.
    #[default]
    Idle,
    /// Asked what the booking is for.
    AskedWhat,
    /// Asked for which day.
    AskedDay {
        /// What the booking is for.
        what: String,
    },
}

/// Decides what to say to an event.
///
/// # Errors
/// [`Invalid`] if a message exceeds a limit of the platform; the event's entry then ends as failed,
/// with the limit as its reason.
pub fn reply(
    event: &Event,
    conversation: &Conversation,
    _now: Timestamp,
) -> Result<Decision, Invalid> {
    let said = match &event.kind {
        Kind::Postback(postback) => postback.payload.as_deref(),
        Kind::Message(message) if message.is_empty() => return Ok(Decision::nothing()),
        Kind::Message(message) => message.quick_reply.as_deref().or(message.text.as_deref()),
        _ => return Ok(Decision::nothing()),
    };
    match (said, conversation.state::<State>()) {
        (Some("GET_STARTED"), _) => greet(),
        (Some("PERSON"), _) => call_a_person(),
        (Some("BOOK"), _) => ask_what(),
        (Some(what), State::AskedWhat) => ask_day(what),
        (Some(day), State::AskedDay { what }) => confirm(&what, day),
        (Some(text), State::Idle) => answer_text(text),
        (None, _) => Ok(Decision::nothing().say(Message::text("Thank you, that has arrived.")?)),
    }
}

fn greet() -> Result<Decision, Invalid> {
    let hello = Message::text("Hello! How can we help?")?.with_quick_replies(&choices())?;
    Decision::nothing().say(hello).remember(&State::Idle)
}

fn ask_what() -> Result<Decision, Invalid> {
    let question = Message::text("What would you like to book?")?.with_quick_replies(&[
        QuickReply::text("A table", "table"),
        QuickReply::text("A room", "room"),
    ])?;
    let reminder = Message::text("Are you still there? Just tell us what you would like to book.")?;
    Decision::nothing()
        .say(question)
        .later(FollowUp::after(HOUR, reminder).unless_answered())
        .remember(&State::AskedWhat)
}

fn ask_day(what: &str) -> Result<Decision, Invalid> {
    let what: String = what.chars().take(40).collect();
    let question = Message::text(format!("A {what}, with pleasure. For which day?"))?;
    let reminder = Message::text("For which day shall we book?")?;
    Decision::nothing()
        .say(question)
        .later(FollowUp::after(HOUR, reminder).unless_answered())
        .remember(&State::AskedDay { what })
}

fn confirm(what: &str, day: &str) -> Result<Decision, Invalid> {
    let day: String = day.chars().take(40).collect();
    let done = Message::text(format!("Noted: a {what}, {day}. We will confirm it soon."))?;
    let more = Message::buttons(
        "Anything else?",
        &[Button::postback("Book again", "BOOK"), Button::postback("Talk to a person", "PERSON")],
    )?;
    let tomorrow = Message::text("Your booking is on our list. Is there anything to change?")?;
    Decision::nothing()
        .say(done)
        .say(more)
        .later(FollowUp::after(20 * HOUR, tomorrow).unless_answered())
        .remember(&State::Idle)
}

fn call_a_person() -> Result<Decision, Invalid> {
    let promise = Message::text("A person will answer you here. We are quiet until then.")?;
    Decision::nothing().say(promise).quiet_for(12 * HOUR).remember(&State::Idle)
}

fn answer_text(text: &str) -> Result<Decision, Invalid> {
    let lower = text.to_lowercase();
    let answer = if lower.contains("open") || lower.contains("hours") {
        "We are open every day from 9 to 18."
    } else {
        "Thank you for your message. Choose what fits, or just go on writing."
    };
    let answer = Message::text(answer)?.with_quick_replies(&choices())?;
    Ok(Decision::nothing().say(answer))
}

fn choices() -> [QuickReply; 3] {
    [
        QuickReply::text("Book", "BOOK"),
        QuickReply::text("Opening hours", "opening hours"),
        QuickReply::text("Talk to a person", "PERSON"),
    ]
}

#[cfg(test)]
mod tests {
    use messenger::event::split;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

    fn decide(item: &str, state: &State) -> Decision {
        let body = format!(
            r#"{{"object":"page","entry":[{{"id":"1","time":1795000000000,"messaging":[{{"sender":{{"id":"2"}},{item}}}]}}]}}"#
        );
        let event = split(body.as_bytes(), NOW).unwrap().remove(0);
        let state = serde_json::to_value(state).unwrap();
        let conversation = Conversation { state, ..Conversation::default() };
        reply(&event, &conversation, NOW).unwrap()
    }

    #[test]
    fn a_booking_from_start_to_end() {
        let start = decide(r#""postback":{"mid":"a","payload":"GET_STARTED"}"#, &State::Idle);
        assert_eq!(start.say.len(), 1);
        let asked = decide(
            r#""message":{"mid":"b","text":"Book","quick_reply":{"payload":"BOOK"}}"#,
            &State::Idle,
        );
        assert!(asked.follow_ups[0].cancelled_by_answer);
        let day = decide(r#""message":{"mid":"c","text":"table"}"#, &State::AskedWhat);
        assert_eq!(day.state.unwrap()["what"], "table");
        let done = decide(
            r#""message":{"mid":"d","text":"Friday"}"#,
            &State::AskedDay { what: "table".into() },
        );
        assert_eq!(done.say.len(), 2);
        assert_eq!(done.state.unwrap()["step"], "idle");
    }

    #[test]
    fn talking_to_a_person_makes_the_bot_quiet() {
        let decision = decide(r#""postback":{"mid":"a","payload":"PERSON"}"#, &State::AskedWhat);
        assert_eq!(decision.quiet_for, Some(12 * HOUR));
    }

    #[test]
    fn a_reaction_is_not_answered() {
        assert!(decide(r#""reaction":{"mid":"a","action":"react"}"#, &State::Idle).is_nothing());
    }
}
