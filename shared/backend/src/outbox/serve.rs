//! A person's turn: taken exclusively, served in order, given back.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::store::{ConversationItem, ConversationKey, EntryKey, LeaseState, lease_state};

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
        let (mut outcomes, mut tried) = (Vec::new(), BTreeSet::new());
        loop {
            let now = self.clock.now();
            let earlier = conversation.waiting.iter().filter(|waiting| waiting.goes_first(now));
            let mut all: Vec<String> = earlier.map(|waiting| waiting.id.clone()).collect();
            wanted.retain(|id| !all.contains(id));
            all.append(&mut wanted);
            // What was tried and still waits goes before what is new.
            tried.extend(all.iter().cloned());
            let delivered = self.deliver_due(conversation_key, &conversation, &all, context).await;
            let forget = delivered.as_ref().map_or(&[][..], |delivered| &delivered.forget);
            let left = self.store.release_lease(conversation_key, &context.by, forget).await?;
            let delivered = delivered?;
            self.unlist(&delivered.ended).await?;
            outcomes.extend(delivered.outcomes.into_iter().map(|(_, outcome)| outcome));
            // What was stored while the lease was ours relies on us.
            let now = self.clock.now();
            let left = left.map(|left| left.waiting).unwrap_or_default().into_iter();
            let more =
                left.filter(|waiting| waiting.goes_first(now) && !tried.contains(&waiting.id));
            let Some(due_at) = more.map(|waiting| waiting.first_due).min() else {
                return Ok(Some(outcomes));
            };
            if !context.has_time(now) {
                return Ok(Some(outcomes));
            }
            // It was due at once by a clock that is ahead of ours.
            if due_at > now {
                self.clock.sleep(due_at.since(now)).await;
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
            let seen = self.store.conversation(conversation_key).await?.unwrap_or_default();
            let key = |id: &String| EntryKey {
                conversation_key: conversation_key.clone(),
                id: id.clone(),
            };
            let named = match &seen.busy_for {
                Some(id) => self.store.entry(&key(id)).await?,
                None => None,
            };
            let now = self.clock.now();
            let abandoned = match lease_state(&seen, named.as_ref(), &context.by, now) {
                LeaseState::Free => None,
                LeaseState::Abandoned(entry) => Some(entry),
                LeaseState::Held => return Ok(None),
                LeaseState::Undecided(id) => {
                    let expires_at = self.expires_at(now);
                    if !self.store.put_placeholder(&key(&id), now, expires_at).await? {
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
}
