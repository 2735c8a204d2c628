//! One event: its effect on the conversation, and the bot's answer.

use std::time::Duration;

use backend::outbox::{IncomingTurn, OutboxError, OwnEvent, SendContext, entry_id};
use backend::store::{
    AdWindow, CancelOutcome, Cancellation, Cause, ConversationItem, ConversationKey, EntryKey,
    Heard, LastMessage, PendingEntry,
};
use messenger::clock::Timestamp;
use messenger::decision::Decision;
use messenger::event::{Echo, Event, FromAd, Handover, Kind};
use messenger::profile::Profile;
use messenger::window::STANDARD_WINDOW;

use crate::batch::Lanes;
use crate::suspects::Delivery;
use crate::thinking::Question;
use crate::{Processor, RecordError};

/// An event that is older is recorded and published, but not decided: what was decided about it may
/// be forgotten after `RETENTION_DAYS`, which are 15 at least, and it would be answered again.
const HORIZON: Duration = Duration::from_hours(24 * 10);

/// The result of processing an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Processed {
    /// Done, and the event counts.
    Done,
    /// Done, and the event only confirms what was sent: nothing is passed on of it.
    OwnEcho,
    /// The event came before its person was erased: nothing is kept or passed on of it.
    PersonErased,
}

impl Processor {
    /// Processes an event; doing it again completes what was left.
    pub(crate) async fn process(
        &self,
        event: &Event,
        delivery: &Delivery,
        lanes: &Lanes,
        context: &SendContext,
    ) -> Result<Processed, RecordError> {
        self.record_policy(event).await?;
        self.count(event);
        let Some(person) = event.person.clone() else {
            tracing::info!(kind = event.kind_name(), "an event without a person");
            return Ok(Processed::Done);
        };
        if event.at.is_none() && event.opens_window() {
            // Meta may count from earlier, and then refuses what is sent towards the end.
            tracing::warn!("an event without a time: the window counts from its receipt");
        }
        let conversation_key = ConversationKey { page_id: event.page_id.clone(), person };
        if event.is_standby() {
            self.outbox.hear_control(&conversation_key, event, context).await?;
        }
        match &event.kind {
            Kind::Delivery(_) | Kind::Read(_) => {
                self.record_receipt(&conversation_key, event).await?;
            }
            Kind::Echo(echo) => return self.hear_echo(&conversation_key, event, echo).await,
            Kind::Handover(handover) => {
                let processed =
                    self.change_control(&conversation_key, event, handover, context).await?;
                self.outbox.hear_control(&conversation_key, event, context).await?;
                return Ok(processed);
            }
            _ if event.by_page => {}
            Kind::Comment(_) | Kind::Post(_) => {
                let answer =
                    self.answer_comment(&conversation_key, event, delivery, lanes, context);
                return Box::pin(answer).await;
            }
            _ if event.is_standby() => return self.record(&conversation_key, event).await,
            _ if event.container != "messaging" && !event.is_own() => {}
            _ => {
                let answer = self.answer(conversation_key, event, delivery, lanes, context);
                return Box::pin(answer).await;
            }
        }
        Ok(Processed::Done)
    }

    async fn answer(
        &self,
        conversation_key: ConversationKey,
        event: &Event,
        delivery: &Delivery,
        lanes: &Lanes,
        context: &SendContext,
    ) -> Result<Processed, RecordError> {
        if delivery.is_covered {
            return Ok(Processed::Done);
        }
        let now = self.clock.now();
        if now.since(event.happened_at()) > HORIZON {
            tracing::warn!("an event is too old to be answered");
            return self.record(&conversation_key, event).await;
        }
        if delivery.is_again {
            let own = entry_id(event);
            self.outbox.list_abandoned(&conversation_key, &own, context).await?;
        }
        let lease = context.lease_for(entry_id(event), now);
        let store = self.outbox.store();
        let newest = delivery.more.last().unwrap_or(event);
        let heard = self.heard_of_all(event, &delivery.more);
        // A timer is fired later than it was set, and starts no conversation of somebody who was erased meanwhile.
        let since = event.own().map_or_else(|| newest.happened_at(), |own| own.set_at);
        let opened =
            store.open_conversation(&conversation_key, heard.as_ref(), since, &lease, now).await;
        let Some(opened) = opened.map_err(OutboxError::from)? else {
            tracing::info!("an event of a person who was erased after it");
            if delivery.is_again {
                self.outbox.forget_decision(&conversation_key, event).await?;
            }
            return Ok(Processed::PersonErased);
        };
        let mut conversation = opened.conversation;
        if conversation.was_erased_after(event.happened_at()) {
            // Not those behind it: each comes to its own turn.
            return Ok(Processed::PersonErased);
        }
        let forget = self.cancel_answered(&conversation_key, newest, &mut conversation).await?;
        let key = conversation_key.clone();
        let incoming = IncomingTurn {
            event,
            newest,
            covers: delivery.more.iter().map(entry_id).collect(),
            conversation_key,
            conversation,
            leased_until: opened.exclusive.then_some(lease.until),
            forget,
            ended: Vec::new(),
            blocked_until: None,
            trouble_is_over: false,
        };
        let may_be_decided = delivery.is_again || opened.is_old;
        match self.decide(incoming, delivery, may_be_decided, now, lanes, context).await {
            Err(RecordError::Outbox(OutboxError::PersonErased)) => {
                tracing::info!("a person was erased while they were answered");
                self.outbox.forget_decision(&key, event).await?;
                Ok(Processed::PersonErased)
            }
            decided => decided.map(|()| Processed::Done),
        }
    }

    /// Lets the bot decide, once, and applies what it decided.
    async fn decide(
        &self,
        mut incoming: IncomingTurn<'_>,
        delivery: &Delivery,
        may_be_decided: bool,
        now: Timestamp,
        lanes: &Lanes,
        context: &SendContext,
    ) -> Result<(), RecordError> {
        if may_be_decided
            && let Some(covers) = self.outbox.resume_decided(&incoming, context).await?
        {
            delivery.note_covered(&covers);
            return Ok(());
        }
        if let Some(timer) = incoming.event.own() {
            let own = Box::pin(self.outbox.take_own(&mut incoming, &timer)).await?;
            if own == OwnEvent::Over {
                tracing::info!("a timer means nothing any more, or waits while people answer");
                let nothing = Ok(Decision::nothing());
                return Ok(Box::pin(self.outbox.commit(incoming, nothing, context)).await?);
            }
        }
        self.outbox.deliver_before(&mut incoming, context).await?;
        let profile = Box::pin(self.profile(&incoming, now, context)).await;
        let question = Question {
            event: incoming.event,
            conversation_key: &incoming.conversation_key,
            conversation: &incoming.conversation,
            profile,
            delivery,
            leased_until: incoming.leased_until,
            now,
        };
        let answer = Box::pin(self.ask_bot(&question, lanes, context)).await?;
        incoming.trouble_is_over = answer.trouble_is_over;
        let covers = incoming.covers.clone();
        Box::pin(self.outbox.commit(incoming, answer.decision, context)).await?;
        delivery.note_covered(&covers);
        Ok(())
    }

    /// What Meta shows of the person, for a bot that wants to know it and is asked.
    async fn profile(
        &self,
        incoming: &IncomingTurn<'_>,
        now: Timestamp,
        context: &SendContext,
    ) -> Option<Profile> {
        let IncomingTurn { event, conversation_key, conversation, leased_until, .. } = incoming;
        if !self.reads_profiles || conversation.is_quiet(now) {
            return None;
        }
        let outbox = &self.outbox;
        let platform = event.platform;
        outbox.profile(conversation_key, conversation, platform, *leased_until, context).await
    }

    /// Cancels what the person's answer makes unnecessary; returns what no longer waits.
    async fn cancel_answered(
        &self,
        conversation_key: &ConversationKey,
        event: &Event,
        conversation: &mut ConversationItem,
    ) -> Result<Vec<PendingEntry>, RecordError> {
        let mut forget = Vec::new();
        if !event.opens_window() {
            return Ok(forget);
        }
        let answered_at = event.happened_at();
        for waiting in conversation.waiting.iter().filter(|waiting| waiting.cancelled_by_answer) {
            let key =
                EntryKey { conversation_key: conversation_key.clone(), id: waiting.id.clone() };
            let outcome = self.outbox.cancel(&key, Cancellation::Answered(answered_at)).await?;
            if outcome != CancelOutcome::Kept {
                forget.push(waiting.clone());
            }
        }
        conversation.forget(&forget);
        Ok(forget)
    }

    fn heard(&self, event: &Event) -> Option<Heard> {
        heard(event, self.outbox.settings().policy.ad_windows)
    }

    /// What several messages say about the windows: the newest one, but any of them may answer an ad.
    fn heard_of_all(&self, event: &Event, more: &[Event]) -> Option<Heard> {
        let heard = self.heard(more.last().unwrap_or(event))?;
        let answers_ad = || {
            let mut all = std::iter::once(event).chain(more).filter_map(|event| self.heard(event));
            all.any(|it| {
                matches!(it, Heard::Opening(LastMessage { ad_window: Some(AdWindow::Begins), .. }))
            })
        };
        Some(match heard {
            Heard::Opening(message) if !more.is_empty() && answers_ad() => {
                Heard::Opening(LastMessage { ad_window: Some(AdWindow::Begins), ..message })
            }
            heard => heard,
        })
    }

    async fn record(
        &self,
        conversation_key: &ConversationKey,
        event: &Event,
    ) -> Result<Processed, RecordError> {
        let Some(heard) = self.heard(event) else { return Ok(Processed::Done) };
        let happened_at = event.happened_at();
        let store = self.outbox.store();
        let recorded = store.record_activity(conversation_key, &heard, happened_at).await;
        Ok(unless_erased(recorded.map_err(OutboxError::from)?))
    }

    /// A message that was sent from the Page. If this deployment sent it, the echo confirms it; if not,
    /// people or another app have taken over, unless it only shows a post.
    async fn hear_echo(
        &self,
        conversation_key: &ConversationKey,
        event: &Event,
        echo: &Echo,
    ) -> Result<Processed, RecordError> {
        let mut step = self.outbox.own_step(conversation_key, echo).await?;
        let own = self.outbox.app_id(&conversation_key.page_id).await?;
        let is_of_our_app = own.is_some() && echo.app_id == own;
        if step.is_none() && !echo.is_post {
            let is_of_another_app = echo.app_id.is_some() && !is_of_our_app;
            step = self.outbox.step_like(conversation_key, echo, is_of_another_app).await?;
        }
        if let Some(step) = step {
            self.outbox.confirm(&step, echo.mid.as_deref(), Some(conversation_key)).await?;
            return Ok(Processed::OwnEcho);
        }
        if is_of_our_app || echo.is_post {
            return Ok(Processed::Done);
        }
        self.silence(conversation_key, event).await
    }

    async fn change_control(
        &self,
        conversation_key: &ConversationKey,
        event: &Event,
        handover: &Handover,
        context: &SendContext,
    ) -> Result<Processed, RecordError> {
        let own = self.outbox.app_id(&conversation_key.page_id).await?;
        match handover {
            Handover::Pass { to } | Handover::Take { to } if own.is_some() && *to == own => {
                let cause = Cause::Event(event.happened_at());
                let before = self.outbox.store().conversation(conversation_key).await;
                let before = before.map_err(OutboxError::from)?.unwrap_or_default();
                let ended =
                    self.outbox.set_silence(conversation_key, None, cause, context, Duration::ZERO);
                let is_there = Box::pin(ended).await?;
                if is_there {
                    self.outbox.tell_resumed(conversation_key, &before, cause).await?;
                }
                Ok(unless_erased(is_there))
            }
            Handover::Pass { .. } | Handover::Take { .. } => {
                self.silence(conversation_key, event).await
            }
            // A request for control changes nothing until it is granted.
            Handover::Request { .. } | Handover::Roles => Ok(Processed::Done),
        }
    }

    async fn silence(
        &self,
        conversation_key: &ConversationKey,
        event: &Event,
    ) -> Result<Processed, RecordError> {
        let happened_at = event.happened_at();
        let until = happened_at + self.outbox.settings().quiet_for;
        let set =
            self.outbox.store().silence(conversation_key, until, Cause::Event(happened_at)).await;
        Ok(unless_erased(set.map_err(OutboxError::from)?))
    }
}

fn unless_erased(is_written: bool) -> Processed {
    if is_written { Processed::Done } else { Processed::PersonErased }
}

/// What an event says about the windows; of those of ads only if they are tried.
fn heard(event: &Event, tries_ads: bool) -> Option<Heard> {
    let at = event.happened_at();
    let from_ad = event.from_ad().filter(|_| tries_ads);
    if !event.opens_window() {
        return (from_ad == Some(FromAd::Click)).then_some(Heard::AdClick(at));
    }
    let ad_window = match from_ad {
        Some(FromAd::Answer) => Some(AdWindow::Begins),
        Some(FromAd::Message) => Some(AdWindow::MayBegin),
        Some(FromAd::Click) | None => None,
    };
    let free_until = at + STANDARD_WINDOW;
    let (platform, source) = (event.platform, event.time_source);
    Some(Heard::Opening(LastMessage { platform, at, source, free_until, ad_window }))
}
