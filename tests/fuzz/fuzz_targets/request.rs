//! A request of a back-office system to the follow-ups.
#![no_main]

use follow_ups::request::{RequestError, read};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use shared::clock::Timestamp;

const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

fuzz_target!(|payload: &[u8]| {
    let Ok(payload) = serde_json::from_slice::<Value>(payload) else { return };
    match read(&payload, "invocation", NOW) {
        Ok(wanted) => {
            assert_eq!(read(&payload, "invocation", NOW).as_ref().ok(), Some(&wanted));
            assert!(wanted.id.len() == 40 && !wanted.messages.is_empty());
            assert!(!wanted.who.person.is_empty() && !wanted.who.page_id.is_empty());
            assert!(!wanted.who.person.contains('#'));
            assert!(wanted.due_at.is_none_or(|due| due.millis() > 0));
        }
        // It names the field, which is the sender's own word.
        Err(RequestError::Unknown(field)) => assert!(field.chars().count() <= 40),
        Err(error) => {
            let error = error.to_string();
            assert!(!error.is_empty() && error.len() < 1000);
            // Whatever repeated the sender's texts would soon repeat one of these.
            let foreign = |c: char| !c.is_ascii() || c.is_control() || "~^|\\{}".contains(c);
            assert!(!error.contains(foreign), "{error}");
        }
    }
});
