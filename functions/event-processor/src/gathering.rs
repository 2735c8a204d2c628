//! Messages in quick succession: one turn, if the bot wants that.
//!
//! A group's messages that the queue makes visible later hold back whatever is sent meanwhile, which then comes with
//! them, in order: so gathering needs no store.

use std::time::Duration;

use aws_lambda_events::sqs::SqsMessage;
use backend::runtime::receive_count;
use messenger::bot::Gather;
use messenger::event::Event;
use messenger::limits::MOST_GATHERED;

use crate::Processor;

/// How often a message is put off so that others may join it.
const MOST_WAITS: u32 = 3;

/// What is done with the first of a group's messages.
#[derive(Debug)]
pub(crate) enum Gathered {
    /// It is a turn, together with these of those behind it.
    Turn(Vec<Event>),
    /// Others may still join it.
    Wait(Duration),
}

impl Processor {
    /// Finds the messages behind one that are a turn with it.
    pub(crate) fn gather(&self, first: &SqsMessage, behind: &[SqsMessage]) -> Gathered {
        let gather = self.bot.gather();
        if gather == Gather::Off {
            return Gathered::Turn(Vec::new());
        }
        let Some(event) = one_of_several(first) else { return Gathered::Turn(Vec::new()) };
        let more: Vec<_> =
            behind.iter().map_while(one_of_several).take(MOST_GATHERED - 1).collect();
        let may_grow = more.len() == behind.len() && more.len() + 1 < MOST_GATHERED;
        if let Some(span) = gather.pause().filter(|_| may_grow)
            && receive_count(first) <= MOST_WAITS
        {
            let newest = more.last().unwrap_or(&event);
            let left = span.saturating_sub(self.clock.now().since(newest.received_at));
            if !left.is_zero() {
                return Gathered::Wait(left);
            }
        }
        Gathered::Turn(more)
    }
}

/// The event of a message, if it can be one of several.
fn one_of_several(message: &SqsMessage) -> Option<Event> {
    let event = Event::from_queue_text(message.body.as_deref().unwrap_or_default()).ok()?;
    let is_said = event.container == "messaging" && !event.by_page && Gather::takes(&event);
    is_said.then_some(event)
}
