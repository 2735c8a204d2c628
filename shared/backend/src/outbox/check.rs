//! May this step be sent now?

use crate::store::{ConversationItem, Entry, Reason, Status};
use messenger::clock::Timestamp;
use messenger::window::{Allowed, Label, Purpose, Refusal, decide_with_fallback};

use super::{Outbox, OutboxError, Turn};

/// What is to be done with an entry's next step at this instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Go {
    /// Send it under this label.
    Send(Label),
    /// Send the fallback instead of this and all that comes after it.
    Fallback(Refusal),
    /// Send nothing of it any more.
    End(Status, Reason),
    /// Try again later; the entry keeps its place.
    Wait(Timestamp, Reason),
    /// Try again much later; the entry gives up its place.
    Reschedule(Timestamp, Reason),
}

impl Outbox {
    /// Decides about an entry's next step: by the person's answer, the window, the bot's silence, the
    /// Page's pause and the time that is left.
    pub(super) async fn check(
        &self,
        page_id: &str,
        entry: &Entry,
        conversation: &ConversationItem,
        turn: &Turn,
    ) -> Result<Go, OutboxError> {
        let now = self.clock.now();
        if now >= entry.give_up_at {
            let last = entry.reason.clone().map(Box::new);
            return Ok(Go::End(Status::Failed, Reason::GaveUp(last)));
        }
        if entry
            .cancelled_by_answer_after
            .is_some_and(|after| conversation.last_message_at > Some(after))
        {
            return Ok(Go::End(Status::Cancelled, Reason::Answered));
        }
        let standing = conversation.standing();
        let allowed = match decide_with_fallback(
            entry.purpose,
            entry.author.as_deref(),
            entry.fallback().is_some(),
            &standing,
            now,
            &self.settings.policy,
        ) {
            Ok(allowed) => allowed,
            Err(refusal) => return Ok(Go::End(Status::Refused, refusal.into())),
        };
        if let Some(until) = conversation.quiet_until.filter(|_| conversation.is_quiet(now)) {
            match entry.purpose {
                Purpose::Human => {}
                _ if entry.despite_quiet => {}
                Purpose::Reply => {
                    return Ok(Go::End(Status::Cancelled, Reason::TakenOver));
                }
                _ => return Ok(Go::Reschedule(until, Reason::Quiet)),
            }
        }
        if self.pause_of(page_id).await?.is_some() {
            return Ok(Go::Wait(now, Reason::PagePaused));
        }
        if !turn.has_time(now) {
            return Ok(Go::Wait(now, Reason::NoTimeLeft));
        }
        Ok(match allowed {
            Allowed::AsMeant(label) => Go::Send(label),
            Allowed::Fallback(refusal) => Go::Fallback(refusal),
        })
    }
}
