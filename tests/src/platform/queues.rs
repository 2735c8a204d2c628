//! The platform's queues, with the settings of `template.yaml`.

use super::{
    DEAD_LETTERS, EVENT_RECEIVES, EVENTS, FORWARD, FORWARD_DEAD_LETTERS, FORWARD_RECEIVES,
    FORWARD_TIMEOUT, PROCESSOR_TIMEOUT, QUEUE_RETENTION, SCHEDULE_DEAD_LETTERS, SCHEDULE_RETENTION,
    UNREADABLE,
};
use crate::sqs::{QueueSettings, Sqs};

/// The queues' URLs.
pub(super) struct Queues {
    pub(super) events: String,
    pub(super) dead_letters: String,
    pub(super) unreadable: String,
    pub(super) forward: String,
    pub(super) forward_dead_letters: String,
    pub(super) schedule_dead_letters: String,
}

impl Queues {
    /// Creates the queues.
    pub(super) fn create(sqs: &Sqs) -> Self {
        let standard = |name: &str| QueueSettings {
            name: name.to_owned(),
            retention: QUEUE_RETENTION,
            ..QueueSettings::default()
        };
        let fifo = |name: &str, dead_letter| QueueSettings {
            fifo: true,
            visibility: PROCESSOR_TIMEOUT * 6,
            dead_letter,
            ..standard(name)
        };
        Self {
            events: sqs.create_queue(fifo(EVENTS, Some((DEAD_LETTERS.to_owned(), EVENT_RECEIVES)))),
            dead_letters: sqs.create_queue(fifo(DEAD_LETTERS, None)),
            unreadable: sqs.create_queue(standard(UNREADABLE)),
            forward: sqs.create_queue(QueueSettings {
                visibility: FORWARD_TIMEOUT * 6,
                dead_letter: Some((FORWARD_DEAD_LETTERS.to_owned(), FORWARD_RECEIVES)),
                ..standard(FORWARD)
            }),
            forward_dead_letters: sqs.create_queue(standard(FORWARD_DEAD_LETTERS)),
            schedule_dead_letters: sqs.create_queue(QueueSettings {
                retention: SCHEDULE_RETENTION,
                ..standard(SCHEDULE_DEAD_LETTERS)
            }),
        }
    }
}
