//! Events whose processing may have killed the process: each is processed alone.
//!
//! A loop until the time-out, an overflow of the stack or a lack of memory ends the process with all
//! events of its batch, and leaves no word about whose fault it was. So an event that was begun and
//! not decided, and comes again, is processed by itself: a death then has one owner, and everybody
//! else's events go on at once.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use aws_lambda_events::sqs::SqsMessage;
use backend::aws::CALL_TIMEOUT;
use backend::outbox::{OutboxError, SendContext, entry_id};
use backend::runtime::receive_count;
use backend::store::{ConversationKey, EntryKey};
use messenger::event::{Event, Kind};

use crate::event::Processed;
use crate::{MOST_FAILURES, Processor, RecordError};

/// How long to wait before a trial's end is written again.
const PAUSE: Duration = Duration::from_secs(1);

/// How an event came to be processed.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// Whether it was delivered before.
    pub(crate) is_again: bool,
    /// How often it was received before.
    pub(crate) times_before: u64,
    /// Whether it is processed alone.
    pub(crate) is_suspect: bool,
    /// The messages behind it that are one turn with it.
    pub(crate) more: Vec<Event>,
    /// Whether it was answered with a message before it.
    pub(crate) is_covered: bool,
    /// How many of those behind it were answered with it.
    covered: AtomicUsize,
    /// How often it was tried by now, 0 until its trial begins.
    trials: AtomicU64,
}

impl Delivery {
    pub(crate) fn of(message: &SqsMessage, is_suspect: bool) -> Self {
        let times_before = u64::from(receive_count(message).saturating_sub(1));
        Self {
            is_again: times_before > 0,
            times_before,
            is_suspect,
            more: Vec::new(),
            is_covered: false,
            covered: AtomicUsize::new(0),
            trials: AtomicU64::new(0),
        }
    }

    /// Notes that the messages of these entries were answered with it, those behind it one after the other.
    pub(crate) fn note_covered(&self, covers: &[String]) {
        let is_covered = |event: &&Event| covers.contains(&entry_id(event));
        self.covered.store(self.more.iter().take_while(is_covered).count(), Ordering::Relaxed);
    }

    /// How many of the messages behind it were answered with it.
    pub(crate) fn covered(&self) -> usize {
        self.covered.load(Ordering::Relaxed)
    }
}

impl Processor {
    /// The place of the first message of a batch whose event was begun before and not decided, or whose
    /// conversation cannot be read.
    ///
    /// An event that failed together with AWS looks the same; to process it alone does no harm.
    pub(crate) async fn first_suspect(
        &self,
        messages: &[SqsMessage],
    ) -> Result<Option<usize>, OutboxError> {
        for (place, message) in messages.iter().enumerate() {
            if receive_count(message) < 2 {
                continue;
            }
            match self.is_suspect(message).await {
                Ok(false) => {}
                Err(error) if !error.is_permanent() => return Err(error),
                Ok(true) | Err(_) => return Ok(Some(place)),
            }
        }
        Ok(None)
    }

    async fn is_suspect(&self, message: &SqsMessage) -> Result<bool, OutboxError> {
        let event = Event::from_queue_text(message.body.as_deref().unwrap_or_default());
        let Ok(event) = event else { return Ok(false) };
        let Some((conversation_key, id)) = key_of(&event) else { return Ok(false) };
        let store = self.outbox.store();
        // Nothing is written before a comment is decided, so each one that comes again may be the one.
        if !matches!(event.kind, Kind::Comment(_) | Kind::Post(_)) {
            let conversation = store.conversation(&conversation_key).await?.unwrap_or_default();
            let begun = [conversation.busy_for, conversation.trial_for];
            if !begun.into_iter().flatten().any(|begun| begun == id) {
                return Ok(false);
            }
        }
        let entry = store.entry(&EntryKey { conversation_key, id }).await?;
        Ok(entry.is_none_or(|entry| entry.is_placeholder))
    }

    /// Begins the trial of a suspect, before anything of its own can kill the process: what fails before is
    /// never the event's fault.
    pub(crate) async fn begin_trial(
        &self,
        event: &Event,
        delivery: &Delivery,
    ) -> Result<(), RecordError> {
        let Some((key, id)) = key_of(event).filter(|_| delivery.is_suspect) else { return Ok(()) };
        let trials = self.outbox.store().begin_trial(&key, &id, event.happened_at()).await;
        let trials = trials.map_err(OutboxError::from)?.ok_or(OutboxError::PersonErased)?;
        delivery.trials.store(trials, Ordering::Relaxed);
        if trials > MOST_FAILURES {
            return Err(RecordError::Poisonous("died", trials));
        }
        Ok(())
    }

    /// What an event's processing came to: a failure of its own is counted, unless its trial counts it
    /// already, and a trial that AWS made fail does not count.
    pub(crate) async fn judge(
        &self,
        event: &Event,
        delivery: &Delivery,
        outcome: std::thread::Result<Result<Processed, RecordError>>,
        context: &SendContext,
    ) -> Result<Result<Processed, RecordError>, OutboxError> {
        let trials = delivery.trials.load(Ordering::Relaxed);
        let reason = match outcome {
            Err(_) => "panic",
            Ok(Err(RecordError::Outbox(error))) if error.is_permanent() => {
                tracing::error!(%error, "the table cannot hold what was decided");
                "rejected_by_table"
            }
            Ok(Err(died @ RecordError::Poisonous(..))) => return Ok(Err(died)),
            Ok(outcome) => {
                if trials > 0
                    && let Some((key, id)) = key_of(event)
                {
                    self.end_trial(&key, &id, context).await?;
                }
                return Ok(outcome);
            }
        };
        let failures = match key_of(event) {
            Some((key, id)) if trials == 0 => {
                let begun = self.outbox.store().begin_trial(&key, &id, event.happened_at()).await?;
                begun.unwrap_or(1)
            }
            _ => trials,
        };
        Ok(Err(RecordError::Poisonous(reason, failures)))
    }

    /// Writes that a trial did not kill the process, for as long as this invocation may: whoever finds
    /// it begun takes it for a death.
    async fn end_trial(
        &self,
        conversation_key: &ConversationKey,
        id: &str,
        context: &SendContext,
    ) -> Result<(), OutboxError> {
        loop {
            match self.outbox.store().end_trial(conversation_key, id).await {
                Err(_) if self.clock.now() + PAUSE + 2 * CALL_TIMEOUT <= context.deadline => {
                    self.clock.sleep(PAUSE).await;
                }
                ended => return Ok(ended?),
            }
        }
    }
}

fn key_of(event: &Event) -> Option<(ConversationKey, String)> {
    let person = event.person.clone()?;
    Some((ConversationKey { page_id: event.page_id.clone(), person }, entry_id(event)))
}
