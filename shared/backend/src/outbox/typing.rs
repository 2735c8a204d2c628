//! The typing indicator while the bot thinks: the one thing that leaves without an entry.

use std::time::Duration;

use crate::send::SendCall;
use crate::store::{ConversationItem, ConversationKey, Entry, EntryKey, Step, StepKey};
use messenger::clock::Timestamp;
use messenger::event::Event;
use messenger::message::Action;
use messenger::window::Purpose;

use super::attempt::Attempt;
use super::next::Next;
use super::plan::entry_id;
use super::{Outbox, OutboxError, SendContext};

/// Within what time it is shown or not at all.
const SHOWN_WITHIN: Duration = Duration::from_secs(1);

/// Whose bot thinks, and about what.
#[derive(Clone, Copy, Debug)]
pub struct Thinking<'a> {
    /// The event.
    pub event: &'a Event,
    /// Whose conversation it is.
    pub conversation_key: &'a ConversationKey,
    /// The conversation as it was when its lease was taken.
    pub conversation: &'a ConversationItem,
    /// Until when the lease is ours; absent if it is not.
    pub leased_until: Option<Timestamp>,
}

impl Outbox {
    /// Shows the person that the bot is typing, if a reply to them could be sent now.
    ///
    /// It is shown once and best effort: nothing is written, and a refusal is counted as for any sender action.
    ///
    /// # Errors
    /// [`OutboxError`]; then nothing was shown, or that is not known.
    pub async fn show_typing(
        &self,
        thinking: Thinking<'_>,
        context: &SendContext,
    ) -> Result<(), OutboxError> {
        let Thinking { event, conversation_key, conversation, leased_until } = thinking;
        let now = self.clock.now();
        let is_free = leased_until.is_some_and(|until| now <= until);
        let goes_first = conversation.waiting.iter().any(|waiting| waiting.goes_first(now));
        if !is_free || goes_first || conversation.is_quiet(now) {
            return Ok(());
        }
        let key = EntryKey { conversation_key: conversation_key.clone(), id: entry_id(event) };
        let say = Action::TypingOn.into();
        let steps = vec![Step::planned(&say)?];
        let mut entry = Entry::new(&key, Purpose::Reply, steps, now, now, now + SHOWN_WITHIN);
        entry.after_erasure = conversation.erased_at;
        let attempt = Attempt { key: &key, entry, conversation, context, thread_is_back: false };
        let Next::Send(label) = self.next(&attempt, now).await? else { return Ok(()) };
        let step = StepKey { entry: key.clone(), step: 0 };
        let outgoing = SendCall {
            page_id: &conversation_key.page_id,
            platform: conversation.platform,
            person: &conversation_key.person,
            say: &say,
            label,
            step: &step,
        };
        self.act(outgoing).await.map(drop)
    }
}
