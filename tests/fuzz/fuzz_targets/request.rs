//! A request of a back-office system to the follow-ups.
#![no_main]

use backend::request::read;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use messenger::clock::Timestamp;

const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

fuzz_target!(|payload: &[u8]| {
    let Ok(payload) = serde_json::from_slice::<Value>(payload) else { return };
    match read(&payload, "invocation", NOW) {
        Ok(wanted) => {
            assert_eq!(read(&payload, "invocation", NOW).as_ref().ok(), Some(&wanted));
            assert!(wanted.id.len() == 40 && !wanted.messages.is_empty());
            assert!(!wanted.conversation_key.person.to_string().is_empty() && !wanted.conversation_key.page_id.is_empty());
            assert!(!wanted.conversation_key.person.to_string().contains('#'));
            assert!(wanted.due_at.is_none_or(|due| due.millis() > 0));
        }
        Err(error) => {
            let shown = error.to_string();
            assert!(!shown.is_empty() && shown.len() < 1500);
            // It names the field, which may be the sender's own word, cut short.
            let field = error.field.as_str();
            assert!(field.chars().count() <= 400 && !field.contains(char::is_control));
            // Whatever repeated the sender's texts would soon repeat one of these.
            let foreign = |c: char| !c.is_ascii() || c.is_control() || "~^|\\{}".contains(c);
            let problem = shown.strip_prefix(field).unwrap_or(&shown);
            assert!(!problem.contains(foreign), "{shown}");
        }
    }
});
