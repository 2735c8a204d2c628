//! From the bot's decision about an event to entries: pure.

use std::time::Duration;

use crate::correlation;
use crate::graph::Fault;
use crate::store::{
    Change, ConversationItem, Entry, EntryKey, ExpiresAt, NextState, Reason, Status, Step,
    StepChange, StepState,
};
use crate::thread::inbox;
use messenger::clock::Timestamp;
use messenger::decision::Decision;
use messenger::event::{Event, Platform};
use messenger::message::{Invalid, Outgoing, UtilityTemplate};

use super::OutboxSettings;
use super::unapplied::Unapplied;

/// What comes between two decisions that fall into one millisecond.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// The entry in which a decision is written down: it waits, or has ended already.
///
/// `event` is what was decided about.
pub(super) fn plan(
    key: &EntryKey,
    event: &Event,
    conversation: &ConversationItem,
    decision: Result<Decision, Invalid>,
    now: Timestamp,
    settings: &OutboxSettings,
) -> Result<Entry, serde_json::Error> {
    let caused_at = event.at.unwrap_or(event.received_at);
    let purpose = event.purpose_of_answer();
    let decided_at = after_all_waiting(conversation, now);
    let give_up_at = now + settings.give_up_after;
    let expires_at = ExpiresAt::after(now, settings.retention);
    let entry = |steps| {
        let mut entry = Entry::new(key, purpose, steps, decided_at, decided_at, give_up_at);
        entry.after_erasure = conversation.erased_at;
        entry.caused_at = Some(caused_at);
        entry
    };
    let mut decision = match decision {
        Ok(decision) => decision,
        Err(invalid) => {
            let mut entry = entry(Vec::new());
            let reason = Some(Reason::Invalid(invalid.to_string()));
            entry.ended_from_start(Status::Failed, reason, now, expires_at);
            return Ok(entry);
        }
    };
    pass_thread(&mut decision, event.platform);
    let mut entry = entry(steps(&decision.say, None)?);
    entry.despite_quiet = decision.quiet_for.is_some() || decision.hand_over.is_some();
    entry.handed_over = decision.hand_over.as_ref().map(|it| it.reason.clone());
    let revision = conversation.state_revision;
    let unapplied = Unapplied::from_decision(decision, caused_at, revision, now, settings);
    if !unapplied.is_empty() {
        entry.unapplied = Some(serde_json::to_string(&unapplied)?);
    }
    if entry.steps.is_empty() {
        entry.ended_from_start(Status::Sent, Some(Reason::NothingToSay), now, expires_at);
    }
    Ok(entry)
}

/// Passes the thread to the inbox with the last message, if the bot hands over to it.
fn pass_thread(decision: &mut Decision, platform: Platform) {
    if decision.hand_over.as_ref().is_some_and(|hand_over| hand_over.to_inbox)
        && let Some(last) = decision.say.pop()
    {
        decision.say.push(last.passing_thread_to(inbox(platform)));
    }
}

/// What a dead sender leaves: a message that may have been delivered waits for its echo, a sender
/// action is passed over.
pub(super) fn unclear(entry: &Entry, now: Timestamp, echo_grace: Duration) -> Change {
    let left = entry.steps.iter().enumerate();
    let steps: Vec<_> = left
        .filter(|(_, step)| step.state == StepState::Sending)
        .map(|(index, step)| StepChange {
            step: index,
            only_from: Some(StepState::Sending),
            state: if step.is_action() { StepState::PassedOver } else { StepState::Unconfirmed },
            sends: None,
            mid: None,
            attachment_id: None,
        })
        .collect();
    let is_unclear = steps.iter().any(|change| change.state == StepState::Unconfirmed);
    let grace = if is_unclear { echo_grace } else { Duration::ZERO };
    let reason = Some(Fault::Unclear.into());
    let next_state = NextState::Waits { due_at: now + grace, reason, rescheduled: false };
    Change { steps, applied: true, ..Change::to(next_state) }
}

/// The steps of an entry: what is said, and what goes instead if the windows refuse it.
pub(super) fn steps(
    messages: &[Outgoing],
    fallback: Option<UtilityTemplate>,
) -> Result<Vec<Step>, serde_json::Error> {
    messages.iter().map(Step::planned).chain(fallback.map(Step::fallback)).collect()
}

/// The id of the entry in which an event's decision is written down.
pub fn entry_id(event: &Event) -> String {
    correlation::of_event(&event.id).to_owned()
}

/// A decision's time: now, or just after the latest decision that still waits.
///
/// Entries that are due at once go in the order of their decisions, and two decisions can fall
/// into one millisecond.
pub(super) fn after_all_waiting(conversation: &ConversationItem, now: Timestamp) -> Timestamp {
    let latest = conversation.waiting.iter().map(|waiting| waiting.decided_at).max();
    latest.map_or(now, |latest| now.max(latest + TICK))
}

#[cfg(test)]
mod tests {
    use messenger::person::Person;

    use super::*;
    use crate::store::{ConversationKey, NewState, PendingEntry};
    use messenger::decision::{FollowUp, HandOver, Timer};
    use messenger::event::{RESUMED, split};
    use messenger::message::{Action, Message};
    use messenger::window::{Policy, Purpose};
    use serde_json::json;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const CAUSED_AT: Timestamp = Timestamp::from_millis(1_799_999_990_000);
    const HOUR: Duration = Duration::from_hours(1);
    const DAY: Duration = Duration::from_hours(24);
    const SETTINGS: OutboxSettings = OutboxSettings {
        policy: Policy { margin: Duration::from_mins(1), ad_windows: false },
        echo_grace: Duration::from_mins(2),
        retention: DAY,
        give_up_after: HOUR,
        quiet_for: DAY,
        max_state_bytes: 512,
    };

    fn key() -> EntryKey {
        EntryKey {
            conversation_key: ConversationKey {
                page_id: "1".into(),
                person: Person::Psid("2".into()),
            },
            id: "e".into(),
        }
    }

    fn planned(decision: Result<Decision, Invalid>, conversation: &ConversationItem) -> Entry {
        plan(&key(), &event(), conversation, decision, NOW, &SETTINGS).unwrap()
    }

    fn event() -> Event {
        let message = json!({
            "sender": {"id": "2"}, "recipient": {"id": "1"}, "timestamp": CAUSED_AT,
            "message": {"mid": "m", "text": "t"},
        });
        let body = json!({"object": "page", "entry": [{"id": "1", "messaging": [message]}]});
        split(body.to_string().as_bytes(), NOW).unwrap().remove(0)
    }

    #[test]
    fn a_decision_becomes_an_entry_that_waits_or_has_ended() {
        let text = || Message::text("t").unwrap();
        let invalid = Invalid::new("say[0].text", "is too long");
        let is_invalid = Reason::Invalid(invalid.to_string());
        let silent = Decision { quiet_for: Some(HOUR), ..Decision::nothing() };
        for (decision, status, reason, steps, due_at, despite_quiet, holds_more) in [
            (Ok(Decision::nothing().say(text())), Status::Open, None, 1, Some(NOW), false, false),
            (
                Ok(Decision::nothing().say(Action::TypingOn).say(text())),
                Status::Open,
                None,
                2,
                Some(NOW),
                false,
                false,
            ),
            (
                Ok(Decision { quiet_for: Some(HOUR), ..Decision::nothing().say(text()) }),
                Status::Open,
                None,
                1,
                Some(NOW),
                true,
                true,
            ),
            (Ok(silent), Status::Sent, Some(Reason::NothingToSay), 0, None, true, true),
            (
                Ok(Decision::nothing().later(FollowUp::after(DAY, text()))),
                Status::Sent,
                Some(Reason::NothingToSay),
                0,
                None,
                false,
                true,
            ),
            (Err(invalid), Status::Failed, Some(is_invalid), 0, None, false, false),
        ] {
            let row = format!("{decision:?}");
            let entry = planned(decision, &ConversationItem::default());
            assert_eq!((entry.status, &entry.reason), (status, &reason), "{row}");
            assert_eq!((entry.steps.len(), entry.due_at), (steps, due_at), "{row}");
            assert_eq!(entry.despite_quiet, despite_quiet, "{row}");
            assert_eq!(entry.unapplied.is_some(), holds_more, "{row}");
            assert_eq!(entry.ended_at, (status != Status::Open).then_some(NOW), "{row}");
            let expires_at = ExpiresAt::after(NOW, DAY);
            assert_eq!(entry.expires_at, entry.ended_at.map(|_| expires_at), "{row}");
            assert_eq!(entry.give_up_at, NOW + HOUR, "{row}");
        }
    }

    #[test]
    fn a_decision_comes_after_all_that_waits() {
        let waiting = |decided_at| PendingEntry {
            is_counted: false,
            first_due: NOW,
            decided_at,
            cancelled_by_answer: false,
            timer: None,
            id: "w".into(),
        };
        for (waiting, decided_at) in [
            (vec![], NOW),
            (vec![waiting(NOW - HOUR)], NOW),
            (vec![waiting(NOW)], NOW + TICK),
            (vec![waiting(NOW + HOUR), waiting(NOW)], NOW + HOUR + TICK),
        ] {
            let conversation = ConversationItem { waiting, ..ConversationItem::default() };
            let entry =
                planned(Ok(Decision::nothing().say(Message::text("t").unwrap())), &conversation);
            assert_eq!((entry.decided_at, entry.first_due), (decided_at, decided_at));
        }
    }

    #[test]
    fn follow_ups_are_entries_of_their_own() {
        let text = || Message::text("t").unwrap();
        let decision = Decision {
            state: Some(json!({"step": 2})),
            state_version: 3,
            ..Decision::nothing()
                .later(FollowUp::after(DAY, text()))
                .later(FollowUp::at(NOW + HOUR, text()).unless_answered().then(text()))
        };
        let conversation = ConversationItem { state_revision: 7, ..ConversationItem::default() };
        let entry = planned(Ok(decision), &conversation);
        let unapplied = Unapplied::of(&entry).unwrap().unwrap();
        let follow_ups = unapplied.follow_ups(&key(), &entry, HOUR).unwrap();
        let expected = [("e.1", NOW + DAY, 1, None), ("e.2", NOW + HOUR, 2, Some(CAUSED_AT))];
        assert_eq!(follow_ups.len(), expected.len());
        let mut decided_at = entry.decided_at;
        for ((key, later), (id, due_at, steps, after)) in follow_ups.iter().zip(expected) {
            decided_at = decided_at + TICK;
            assert_eq!((key.id.as_str(), later.due_at), (id, Some(due_at)));
            assert_eq!((later.steps.len(), later.cancelled_by_answer_after), (steps, after));
            assert_eq!((later.decided_at, later.give_up_at), (decided_at, due_at + HOUR));
        }
        let changes = unapplied.into_update();
        let json = r#"{"step":2}"#.to_owned();
        assert_eq!(changes.state, Some(NewState { json, version: 3, replaces: 7 }));
        assert!(changes.add.is_empty() && changes.forget.is_empty());
    }

    #[test]
    fn timers_are_entries_of_their_own_and_a_hand_over_may_be_one() {
        let payload = json!({"n": 1});
        let remind = Timer::after(HOUR, "remind", &payload).unwrap().unless_answered();
        let hand_over = HandOver::because("asked for a person");
        for (hand_over, last) in [
            (None, None),
            (Some(hand_over.clone()), None),
            (Some(hand_over.clone().and_wake_me()), Some(NOW + DAY)),
            (Some(hand_over.quiet_for(2 * HOUR).and_wake_me()), Some(NOW + 2 * HOUR)),
        ] {
            let decision = Decision { hand_over, ..Decision::nothing().wake_me(remind.clone()) };
            let entry = planned(Ok(decision), &ConversationItem::default());
            let unapplied = Unapplied::of(&entry).unwrap().unwrap();
            let timers = unapplied.timers(&key(), &entry, HOUR);
            let found = |(key, timer): &(EntryKey, Entry)| {
                let set = timer.timer.clone().unwrap();
                assert_eq!(timer.waiting().timer.as_ref(), Some(&set.key));
                (
                    key.id.clone(),
                    set.key,
                    set.payload,
                    timer.due_at,
                    timer.cancelled_by_answer_after,
                )
            };
            let set = |id: &str, key: &str, payload: &str, due_at, after| {
                (id.to_owned(), key.to_owned(), payload.to_owned(), Some(due_at), after)
            };
            let mut expected =
                vec![set("e.t1", "remind", r#"{"n":1}"#, NOW + HOUR, Some(CAUSED_AT))];
            expected.extend(last.map(|due_at| set("e.t2", RESUMED, "null", due_at, None)));
            assert_eq!(timers.iter().map(found).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn the_thread_goes_to_the_inbox_with_the_last_words() {
        let said = |hand_over| {
            let text = || Message::text("t").unwrap();
            let decision = Decision::nothing().say(text()).say(text()).hand_over(hand_over);
            let steps = planned(Ok(decision), &ConversationItem::default()).steps;
            steps
                .iter()
                .map(|step| step.say().passes_thread().flatten().map(str::to_owned))
                .collect()
        };
        let hand_over = HandOver::because("asked for a person");
        let found: Vec<Option<String>> = said(hand_over.clone());
        assert_eq!(found, [None, None]);
        let found: Vec<Option<String>> = said(hand_over.to_inbox());
        assert_eq!(found, [None, Some("263902037430900".to_owned())]);
    }

    #[test]
    fn a_dead_senders_message_waits_for_its_echo_and_an_action_is_passed_over() {
        use StepState::{PassedOver, Planned, Sending, Sent, Unconfirmed};
        let text = || Step::planned(&Message::text("t").unwrap().into()).unwrap();
        let action = || Step::planned(&Action::TypingOn.into()).unwrap();
        for (steps, changes, due_at) in [
            (vec![(text(), Sending)], vec![(0, Unconfirmed)], NOW + HOUR),
            (vec![(text(), Sent), (text(), Sending)], vec![(1, Unconfirmed)], NOW + HOUR),
            (vec![(action(), Sending), (text(), Planned)], vec![(0, PassedOver)], NOW),
        ] {
            let steps = steps.into_iter().map(|(step, state)| Step { state, ..step }).collect();
            let entry = Entry::new(&key(), Purpose::Reply, steps, NOW, NOW, NOW);
            let change = unclear(&entry, NOW, HOUR);
            let made: Vec<_> = change.steps.iter().map(|c| (c.step, c.state)).collect();
            assert_eq!(made, changes);
            assert!(
                matches!(change.next_state, NextState::Waits { due_at: at, .. } if at == due_at)
            );
        }
    }
}
