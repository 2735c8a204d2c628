//! From the bot's decision about an event to an entry, written once and then applied.

use std::time::Duration;

use crate::store::{
    ConversationItem, ConversationKey, ConversationUpdate, Created, Entry, EntryKey, Guard, Lease,
    PendingEntry, Reason, Status, StepState,
};
use messenger::clock::Timestamp;
use messenger::decision::Decision;
use messenger::event::Event;
use messenger::message::Invalid;
use messenger::window::{Label, Purpose};

use super::attempt::Attempt;
use super::deliver::Tried;
use super::next::{Halt, Next};
use super::plan::{entry_id, plan, unclear};
use super::{Outbox, OutboxError, SendContext};

/// An event that was recorded, with its conversation.
#[derive(Clone, Debug)]
pub struct IncomingTurn<'a> {
    /// The event; of several that are one turn the first, after which the decision is named.
    pub event: &'a Event,
    /// The newest of them, which the windows and what an answer cancels depend on.
    pub newest: &'a Event,
    /// The entries of the others, which the decision answers as well.
    pub covers: Vec<String>,
    /// Whose conversation it is.
    pub conversation_key: ConversationKey,
    /// The conversation as it was when the event was recorded, or when its lease was last taken.
    pub conversation: ConversationItem,
    /// Until when the lease is ours, so that something may be sent; absent if it is not ours.
    pub leased_until: Option<Timestamp>,
    /// Entries that have ended, to be forgotten by the conversation.
    pub forget: Vec<PendingEntry>,
    /// Entries that have ended, to leave the index once the conversation has forgotten them.
    pub ended: Vec<EntryKey>,
    /// Until when something that is due still goes before everything later.
    pub blocked_until: Option<Timestamp>,
    /// Whether the bot has decided after it failed for the person.
    pub trouble_is_over: bool,
}

impl Outbox {
    /// Sends what is due before the bot decides about an event, and whatever it decides.
    ///
    /// Meanwhile the lease names no entry: one that waits for a decision may be taken by anybody.
    ///
    /// # Errors
    /// [`OutboxError`]; what was not sent stays due.
    pub async fn deliver_before(
        &self,
        incoming: &mut IncomingTurn<'_>,
        context: &SendContext,
    ) -> Result<(), OutboxError> {
        Box::pin(self.doubt_thread(incoming)).await?;
        let own = entry_id(incoming.event);
        let mut tried = Tried::default();
        incoming.blocked_until = None;
        loop {
            let now = self.clock.now();
            // An event that comes a second time may have left its entry among those that wait.
            let waiting = &incoming.conversation.waiting;
            let earlier = waiting.iter().take_while(|waiting| waiting.id != own);
            let before: Vec<_> =
                earlier.filter(|it| it.goes_first(now)).map(|it| it.id.clone()).collect();
            if before.is_empty() {
                // What waited again may have been cancelled meanwhile.
                incoming.blocked_until = None;
            }
            if before.iter().all(|id| tried.has(id)) {
                return Ok(());
            }
            if incoming.leased_until.is_none()
                || !self.take_lease(incoming, context.lease(now)).await?
            {
                incoming.blocked_until = Some(now);
                return Ok(());
            }
            let delivered = self
                .deliver_due(&incoming.conversation_key, &incoming.conversation, &before, context)
                .await?;
            tried.add(&before, &delivered.unwritten);
            incoming.conversation.forget(&delivered.forget);
            incoming.forget.extend(delivered.forget);
            incoming.ended.extend(delivered.ended);
            incoming.blocked_until = delivered.blocked_until;
            let for_decision = context.lease_for(own.clone(), self.clock.now());
            if !self.take_lease(incoming, for_decision).await? {
                return Ok(());
            }
        }
    }

    /// Takes an event's lease anew, for something else or for longer: whether it was still ours. The mark
    /// of an erasure keeps the lease, and is no conversation for an event from before.
    async fn take_lease(
        &self,
        incoming: &mut IncomingTurn<'_>,
        lease: Lease,
    ) -> Result<bool, OutboxError> {
        let (key, seen) = (&incoming.conversation_key, &incoming.conversation);
        let taken = self.store.take_lease(key, seen, &lease, None).await?;
        incoming.leased_until = taken.is_some().then_some(lease.until);
        let Some(mut conversation) = taken else { return Ok(false) };
        if conversation.was_erased_after(incoming.event.happened_at()) {
            return Err(OutboxError::PersonErased);
        }
        conversation.forget(&incoming.forget);
        if conversation.thread_at == incoming.conversation.thread_at {
            // What Graph said about the thread meanwhile.
            conversation.thread_until = incoming.conversation.thread_until;
        }
        incoming.conversation = conversation;
        Ok(true)
    }

    /// Checks that a decision about an event keeps to the limits.
    ///
    /// # Errors
    /// [`Invalid`] names the limit that it breaks.
    pub fn check(&self, event: &Event, decision: &Decision) -> Result<(), Invalid> {
        decision.check(event, self.settings.max_state_bytes)
    }

    /// Writes what was decided about an event, unless that happened before, and applies it: the
    /// follow-ups, the state, and the messages that can be sent now.
    ///
    /// The decision has passed [`Self::check`], or is what it failed with. Calling it again for the same event applies what was decided the first time.
    ///
    /// # Errors
    /// [`OutboxError`]; calling it again completes the work.
    pub async fn commit(
        &self,
        mut incoming: IncomingTurn<'_>,
        decision: Result<Decision, Invalid>,
        context: &SendContext,
    ) -> Result<(), OutboxError> {
        if decision.as_ref().is_ok_and(Decision::is_nothing) {
            let forget = incoming.forget;
            let trouble_is_over = incoming.trouble_is_over;
            let changes = ConversationUpdate { trouble_is_over, forget, ..Default::default() };
            self.store.settle(&incoming.conversation_key, &changes).await?;
            self.mark_covered(&incoming.conversation_key, &incoming.covers).await?;
            return self.unlist(&incoming.ended).await;
        }
        let key = EntryKey {
            conversation_key: incoming.conversation_key.clone(),
            id: entry_id(incoming.event),
        };
        self.keep_lease(&mut incoming, context).await?;
        let (mut entry, label) = self.prepare(&key, &incoming, decision.clone(), context).await?;
        let created = match incoming.leased_until {
            Some(_) => self.create(&mut entry).await?,
            None => self.replace_placeholder(&mut entry).await?,
        };
        match created {
            Created::Existing(there) if there.is_placeholder => {
                incoming.leased_until = None;
                Box::pin(self.commit(incoming, decision, context)).await
            }
            Created::Existing(there) if !is_held_by(&there, context) => {
                self.resume(&key, *there, &incoming, context).await
            }
            // Ours if a lost answer made the SDK ask twice.
            Created::New | Created::Existing(_) => {
                self.begin(&key, entry, label, &incoming, context).await
            }
        }
    }

    /// Applies a decision that was just written, and sends its messages under this label, or when
    /// whoever is sending to the person is done.
    async fn begin(
        &self,
        key: &EntryKey,
        entry: Entry,
        label: Option<Label>,
        incoming: &IncomingTurn<'_>,
        context: &SendContext,
    ) -> Result<(), OutboxError> {
        if !matches!(entry.status, Status::Open | Status::Sent) {
            self.count_end(key, entry.purpose, entry.status, entry.reason.as_ref());
        }
        self.settle_decision(key, &entry, incoming).await?;
        self.unlist(&incoming.ended).await?;
        if let Some(label) = label {
            let conversation = &incoming.conversation;
            let mut attempt = Attempt { key, entry, conversation, context, thread_is_back: false };
            self.send_from(&mut attempt, label, self.clock.now()).await?;
        } else if incoming.leased_until.is_none() {
            self.serve_listed(key, &entry, context).await?;
        }
        Ok(())
    }

    /// Serves a person for an entry that was just listed, if it is due.
    ///
    /// Whoever has the lease looks for what was listed before giving it back. If that has happened
    /// already, nobody else would send the entry, or forget it if it has been sent meanwhile.
    async fn serve_listed(
        &self,
        key: &EntryKey,
        entry: &Entry,
        context: &SendContext,
    ) -> Result<(), OutboxError> {
        if entry.is_open() && entry.due_at.is_some_and(|due_at| due_at <= self.clock.now()) {
            let ids = std::slice::from_ref(&key.id);
            self.serve(&key.conversation_key, ids, context, Duration::ZERO).await?;
        }
        Ok(())
    }

    /// Takes the lease anew if the decision took so long that it might end before the decision is
    /// written.
    async fn keep_lease(
        &self,
        incoming: &mut IncomingTurn<'_>,
        context: &SendContext,
    ) -> Result<(), OutboxError> {
        let now = self.clock.now();
        match incoming.leased_until {
            Some(until) if !SendContext::may_decide(until, now) => {}
            _ => return Ok(()),
        }
        let lease = context.lease_for(entry_id(incoming.event), now);
        if !self.take_lease(incoming, lease).await? {
            return Ok(());
        }
        self.deliver_before(incoming, context).await
    }

    /// Completes what an earlier delivery of the event decided, if there was such a decision: the entries of the other
    /// events that it answers.
    ///
    /// # Errors
    /// [`OutboxError`]; calling it again completes the work.
    pub async fn resume_decided(
        &self,
        incoming: &IncomingTurn<'_>,
        context: &SendContext,
    ) -> Result<Option<Vec<String>>, OutboxError> {
        let key = EntryKey {
            conversation_key: incoming.conversation_key.clone(),
            id: entry_id(incoming.event),
        };
        match self.store.entry(&key).await? {
            Some(entry) if !entry.is_placeholder => {
                let covers = entry.covers.clone();
                self.resume(&key, entry, incoming, context).await?;
                Ok(Some(covers))
            }
            _ => Ok(None),
        }
    }

    /// Deletes what an event's decision left, because its person was erased after it.
    ///
    /// # Errors
    /// [`OutboxError`] if the table does not answer.
    pub async fn forget_decision(
        &self,
        conversation_key: &ConversationKey,
        event: &Event,
    ) -> Result<(), OutboxError> {
        Ok(self.store.delete_decision(conversation_key, &entry_id(event)).await?)
    }

    /// Builds the entry as it goes into the table, and says under which label to send at once.
    async fn prepare(
        &self,
        key: &EntryKey,
        incoming: &IncomingTurn<'_>,
        decision: Result<Decision, Invalid>,
        context: &SendContext,
    ) -> Result<(Entry, Option<Label>), OutboxError> {
        let now = self.clock.now();
        if let Err(invalid) = &decision {
            tracing::error!(%invalid, "the decision breaks a limit");
        }
        let conversation = &incoming.conversation;
        let mut entry = plan(key, incoming.newest, conversation, decision, now, &self.settings)?;
        entry.covers.clone_from(&incoming.covers);
        if !entry.is_open() {
            return Ok((entry, None));
        }
        let attempt = Attempt { key, entry, conversation, context, thread_is_back: false };
        let next = match (incoming.leased_until, incoming.blocked_until) {
            (None, _) => Next::Halt(Halt::Wait(now, Reason::Busy)),
            (_, Some(until)) => Next::Halt(Halt::Wait(until.max(now), Reason::EarlierMessagesWait)),
            (Some(_), None) => self.next(&attempt, now).await?,
        };
        let mut entry = attempt.entry;
        match next {
            Next::Send(label) => {
                entry.held_from_start(&context.lease(now));
                entry.attempts = 1;
                entry.steps[0].state = StepState::Sending;
                entry.steps[0].sends = 1;
                return Ok((entry, Some(label)));
            }
            Next::Halt(Halt::End(status, reason)) => {
                entry.ended_from_start(status, reason, now, self.expires_at(now));
            }
            Next::Halt(Halt::Wait(due_at, reason)) => {
                entry.due_at = Some(due_at);
                entry.reason = Some(reason);
            }
            // A reply has no fallback; if it had, the schedule would send it.
            Next::Fallback(refusal) => entry.reason = Some(refusal.into()),
            Next::Halt(Halt::Reschedule(due_at, reason)) => {
                entry.first_due = due_at;
                entry.due_at = Some(due_at);
                entry.reason = Some(reason);
            }
        }
        Ok((entry, None))
    }

    /// Stores the follow-ups, and changes the conversation in one write: what it lists.
    async fn settle_decision(
        &self,
        key: &EntryKey,
        entry: &Entry,
        incoming: &IncomingTurn<'_>,
    ) -> Result<Vec<PendingEntry>, OutboxError> {
        let mut changes = self.apply(key, entry, &incoming.conversation).await?;
        changes.forget.extend(incoming.forget.iter().cloned());
        changes.trouble_is_over = incoming.trouble_is_over;
        if let Some(timer) = incoming.event.own() {
            // A first try may have died before this was forgotten.
            let mut waiting = incoming.conversation.waiting.iter();
            changes.forget.extend(waiting.find(|it| it.id == timer.entry).cloned());
        }
        if entry.is_open() && entry.due_at.is_some() {
            changes.add.push(entry.waiting());
        } else if incoming.conversation.waiting.iter().any(|waiting| waiting.id == key.id) {
            changes.forget.push(entry.waiting());
        }
        if !self.store.settle_unless_erased(&key.conversation_key, &changes).await? {
            return Err(OutboxError::PersonErased);
        }
        self.mark_covered(&key.conversation_key, &entry.covers).await?;
        Ok(changes.add)
    }

    /// Marks that other events are answered with one that was decided: each may come again alone.
    async fn mark_covered(
        &self,
        conversation_key: &ConversationKey,
        covers: &[String],
    ) -> Result<(), OutboxError> {
        let now = self.clock.now();
        for id in covers {
            let key = EntryKey { conversation_key: conversation_key.clone(), id: id.clone() };
            let mut mark = Entry::new(&key, Purpose::Reply, Vec::new(), now, now, now);
            let reason = Some(Reason::AnsweredWith);
            mark.ended_from_start(Status::Sent, reason, now, self.expires_at(now));
            self.replace_placeholder(&mut mark).await?;
        }
        Ok(())
    }

    /// Completes what an earlier delivery of the event began.
    async fn resume(
        &self,
        key: &EntryKey,
        entry: Entry,
        incoming: &IncomingTurn<'_>,
        context: &SendContext,
    ) -> Result<(), OutboxError> {
        let now = self.clock.now();
        let abandoned = entry.is_open() && entry.due_at.is_none();
        if abandoned && entry.is_leased(now) {
            return Err(OutboxError::HeldElsewhere);
        }
        let listed = self.settle_decision(key, &entry, incoming).await?;
        self.forget_ended(&key.conversation_key, &listed).await?;
        if !abandoned {
            return self.serve_listed(key, &entry, context).await;
        }
        let change = unclear(&entry, self.clock.now(), self.settings.echo_grace);
        match self.store.change_entry(key, Guard::Free { due_at: None, now }, change).await? {
            Some(entry) => self.list(&key.conversation_key, vec![entry.waiting()]).await,
            // An echo came in between; the next delivery sees its effect.
            None => Err(OutboxError::HeldElsewhere),
        }
    }
}

fn is_held_by(entry: &Entry, context: &SendContext) -> bool {
    entry.is_open() && entry.lease_by.as_deref() == Some(context.by.as_str())
}
