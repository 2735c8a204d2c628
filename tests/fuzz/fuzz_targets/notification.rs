//! A signed body, on its way through the webhook and the queue to the event processor.
#![no_main]

use libfuzzer_sys::fuzz_target;
use messenger::clock::Timestamp;
use messenger::event::{Event, MAX_RECORD_BYTES, Unreadable, split};

const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

/// What the queue's form adds to the bytes of an event: the id, the names of its fields, and the lengths
/// that the Page's id, the object and the container may have, each byte of them escaped.
const ENVELOPE_BYTES: usize = 5000;

fuzz_target!(|body: &[u8]| {
    let events = match split(body, NOW) {
        Ok(events) => events,
        Err(Unreadable::NotJson | Unreadable::NoNotification | Unreadable::TooManyEvents) => return,
    };
    let mut raw_bytes = 0;
    for event in events {
        raw_bytes += event.raw.len();
        assert_eq!(event.id.len(), 64);
        assert!(event.at.is_none_or(|at| at <= NOW));
        assert!(event.happened_at() <= NOW);
        assert!(!(event.opens_window() && event.by_page));
        let _ = (event.is_standby(), event.kind_name());

        let (text, truncated) = event.to_queue_text().expect("an event can be written");
        assert!(text.len() <= MAX_RECORD_BYTES.min(event.raw.len() * 2 + ENVELOPE_BYTES));
        assert!(!text.contains(['\u{FFFE}', '\u{FFFF}']));
        assert!(!truncated, "an input of the fuzzer is never too large");

        let again = Event::from_queue_text(&text).expect("and read again");
        let escaped = event.raw.replace('\u{FFFE}', "\\ufffe").replace('\u{FFFF}', "\\uffff");
        assert_eq!(again.raw, escaped);
        assert_eq!(again.group(), event.group());
        assert_eq!(Event { raw: event.raw.clone(), ..again }, event);
    }
    assert!(raw_bytes <= body.len(), "no part of the body is in two events");
});
