//! A person's turn: taken exclusively, served in order, given back.

use std::time::Duration;

use crate::store::{ConversationItem, ConversationKey, EntryKey, LeaseState, lease_state};

use super::deliver::Tried;
use super::{Outbox, OutboxError, Outcome, SendContext};

/// How often a lease that changes hands meanwhile is looked at anew.
const TRIES: usize = 4;

/// How long to wait for a sender before the next look at the lease.
const PAUSE: Duration = Duration::from_millis(250);

impl Outbox {
    /// Sends what is due for a person, with everything of theirs that goes before it: the outcomes,
    /// `None` if somebody else is still sending to them after `patience`.
    ///
    /// # Errors
    /// [`OutboxError`]; what was not sent stays due.
    pub async fn serve(
        &self,
        conversation_key: &ConversationKey,
        ids: &[String],
        context: &SendContext,
        patience: Duration,
    ) -> Result<Option<Vec<Outcome>>, OutboxError> {
        let until = self.clock.now() + patience;
        let mut conversation = loop {
            match self.acquire(conversation_key, context).await? {
                Some(conversation) => break conversation,
                None if self.clock.now() + PAUSE > until => return Ok(None),
                None => self.clock.sleep(PAUSE).await,
            }
        };
        let mut wanted = ids.to_vec();
        let (mut outcomes, mut tried) = (Vec::new(), Tried::default());
        loop {
            let now = self.clock.now();
            let earlier = conversation.waiting.iter().filter(|waiting| waiting.goes_first(now));
            let mut all: Vec<String> = earlier.map(|waiting| waiting.id.clone()).collect();
            wanted.retain(|id| !all.contains(id));
            all.append(&mut wanted);
            // What was tried and still waits goes before what is new.
            let delivered = self.deliver_due(conversation_key, &conversation, &all, context).await;
            let forget = delivered.as_ref().map_or(&[][..], |delivered| &delivered.forget);
            let left = self.store.release_lease(conversation_key, &context.by, forget).await?;
            let delivered = delivered?;
            self.unlist(&delivered.ended).await?;
            tried.add(&all, &delivered.unwritten);
            outcomes.extend(delivered.outcomes.into_iter().map(|(_, outcome)| outcome));
            // What was stored while the lease was ours relies on us.
            let now = self.clock.now();
            let mut left = left.map(|left| left.waiting).unwrap_or_default().into_iter();
            let more = left.any(|waiting| waiting.goes_first(now) && !tried.has(&waiting.id));
            if !more || !context.has_time(now) {
                return Ok(Some(outcomes));
            }
            let Some(again) = self.acquire(conversation_key, context).await? else {
                return Ok(Some(outcomes));
            };
            conversation = again;
        }
    }

    /// Takes the lease on a conversation, unless somebody is sending: the conversation then, with what
    /// a sender that died left.
    async fn acquire(
        &self,
        conversation_key: &ConversationKey,
        context: &SendContext,
    ) -> Result<Option<ConversationItem>, OutboxError> {
        for _ in 0..TRIES {
            let (seen, state) = self.look(conversation_key, context).await?;
            let now = self.clock.now();
            let abandoned = match state {
                LeaseState::Free => None,
                LeaseState::Abandoned(entry) => Some(entry),
                LeaseState::Held => return Ok(None),
                LeaseState::Undecided(id) => {
                    let key = EntryKey { conversation_key: conversation_key.clone(), id };
                    if !self.store.put_placeholder(&key, now, self.expires_at(now)).await? {
                        continue;
                    }
                    None
                }
            };
            let lease = context.lease(now);
            let abandoned = abandoned.as_ref();
            if let Some(conversation) =
                self.store.take_lease(conversation_key, &seen, &lease, abandoned).await?
            {
                return Ok(Some(conversation));
            }
        }
        Ok(None)
    }

    /// Lists what a sender that died left, unless that is the entry `own`: an event processor that takes
    /// the lease over does not see it, and would let go what is due later.
    ///
    /// # Errors
    /// [`OutboxError`] if the table does not answer.
    pub async fn list_abandoned(
        &self,
        conversation_key: &ConversationKey,
        own: &str,
        context: &SendContext,
    ) -> Result<(), OutboxError> {
        match self.look(conversation_key, context).await?.1 {
            LeaseState::Abandoned(entry) if entry.id != own => {
                self.list(conversation_key, vec![entry]).await
            }
            _ => Ok(()),
        }
    }

    /// A conversation, and what its lease means now.
    async fn look(
        &self,
        conversation_key: &ConversationKey,
        context: &SendContext,
    ) -> Result<(ConversationItem, LeaseState), OutboxError> {
        let seen = self.store.conversation(conversation_key).await?.unwrap_or_default();
        let named = match seen.busy_for.clone() {
            Some(id) => {
                let key = EntryKey { conversation_key: conversation_key.clone(), id };
                self.store.entry(&key).await
            }
            None => Ok(None),
        };
        let now = self.clock.now();
        let state = match named {
            // Its event ends what cannot be read; until then the lease means what its time says.
            Err(error) if error.is_permanent() => {
                let unnamed = ConversationItem { busy_for: None, ..seen.clone() };
                lease_state(&unnamed, None, &context.by, now)
            }
            named => lease_state(&seen, named?.as_ref(), &context.by, now),
        };
        Ok((seen, state))
    }
}
