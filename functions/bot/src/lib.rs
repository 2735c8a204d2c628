//! Your bot. Edit this file, or replace it: nothing but its own tests depends on what it says.
//!
//! [`reply`] gets an event, the conversation with your state, and the present time. It returns what to say now, what
//! to say later, and what to remember. It does no I/O and is called once per event: its decision is stored before
//! anything is sent.

use std::time::Duration;

use messenger::clock::Timestamp;
use messenger::decision::{Conversation, Decision};
use messenger::event::{Event, Kind};
use messenger::message::{Invalid, Message, QuickReply};

/// How long the bot stays quiet after somebody asks for a person.
const QUIET: Duration = Duration::from_hours(12);

/// Decides what to say to an event.
///
/// # Errors
/// [`Invalid`] if a message exceeds a limit of the platform; the event's entry then ends as failed, with the limit as
/// its reason.
pub fn reply(
    event: &Event,
    _conversation: &Conversation,
    _now: Timestamp,
) -> Result<Decision, Invalid> {
    let said = match &event.kind {
        Kind::Postback(postback) => postback.payload.as_deref(),
        Kind::Message(message) if message.is_empty() => return Ok(Decision::nothing()),
        Kind::Message(message) => message.quick_reply.as_deref().or(message.text.as_deref()),
        _ => return Ok(Decision::nothing()),
    };
    match said {
        Some("GET_STARTED") => greet("Hello! How can we help you?"),
        Some("PERSON") => hand_over(),
        _ => greet("Thank you for your message. Would you like to talk to a person?"),
    }
}

fn greet(text: &str) -> Result<Decision, Invalid> {
    let choice = QuickReply::text("Talk to a person", "PERSON");
    Ok(Decision::nothing().say(Message::text(text)?.with_quick_replies(&[choice])?))
}

fn hand_over() -> Result<Decision, Invalid> {
    let promise = Message::text("Somebody from our team will answer you here.")?;
    Ok(Decision::nothing().say(promise).quiet_for(QUIET))
}

#[cfg(test)]
mod tests {
    use messenger::event::split;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

    fn decide(item: &str) -> Decision {
        let body = format!(
            r#"{{"object":"page","entry":[{{"id":"1","time":1795000000000,"messaging":[{{"sender":{{"id":"2"}},{item}}}]}}]}}"#
        );
        let event = split(body.as_bytes(), NOW).unwrap().remove(0);
        reply(&event, &Conversation::default(), NOW).unwrap()
    }

    #[test]
    fn free_text_and_get_started_are_answered() {
        assert_eq!(decide(r#""postback":{"mid":"a","payload":"GET_STARTED"}"#).say.len(), 1);
        assert_eq!(decide(r#""message":{"mid":"b","text":"Hello"}"#).say.len(), 1);
    }

    #[test]
    fn the_bot_is_quiet_once_somebody_asks_for_a_person() {
        let asked =
            r#""message":{"mid":"c","text":"Talk to a person","quick_reply":{"payload":"PERSON"}}"#;
        assert_eq!(decide(asked).quiet_for, Some(QUIET));
    }

    #[test]
    fn what_says_nothing_is_not_answered() {
        for item in [
            r#""reaction":{"mid":"a","action":"react"}"#,
            r#""message":{"mid":"a"}"#,
            r#""message":{"mid":"a","is_deleted":true}"#,
            r#""message":{"mid":"a","is_unsupported":true}"#,
        ] {
            assert!(decide(item).is_nothing(), "{item}");
        }
    }
}
