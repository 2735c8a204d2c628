//! What to do next with an entry: pure decisions, from values that were read before.

use std::time::Duration;

use crate::graph::Fault;
use crate::store::{ConversationItem, Entry, ExpiresAt, NextState, Reason, Status, StepState};
use messenger::clock::Timestamp;
use messenger::window::{Allowed, Label, Policy, Purpose, Refusal, decide_with_fallback};

/// How often it is looked whether another app still controls a thread: a release sends no event.
pub(super) const LOOK_AT_THREAD: Duration = Duration::from_mins(10);

/// How far an entry has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// This step is to be sent, or sent again.
    At(usize),
    /// Its sender died while sending it.
    Abandoned,
    /// A step was sent twice and never confirmed.
    Unknown,
    /// Nothing is left.
    Done,
}

/// How far an entry has come.
pub(super) fn position(entry: &Entry) -> Position {
    let Some(index) = entry.next_step() else {
        return Position::Done;
    };
    let step = &entry.steps[index];
    match step.state {
        StepState::Sending => Position::Abandoned,
        StepState::Unconfirmed if step.sends >= 2 => Position::Unknown,
        _ => Position::At(index),
    }
}

/// Whether an entry may be tried before the time for which it was rescheduled: the cause of its
/// wait may be over, unless it waits for an echo.
///
/// So may one that was due when it was decided, by a clock that is ahead of this one.
pub(super) fn may_try_early(entry: &Entry, now: Timestamp) -> bool {
    let is_unconfirmed =
        entry.next_step().is_some_and(|index| entry.steps[index].state == StepState::Unconfirmed);
    let awaits_echo = is_unconfirmed && entry.reason != Some(Reason::AwaitsGraph);
    entry.waiting().goes_first(now) && !awaits_echo
}

/// What is to be done with an entry's next step at this instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Send it under this label.
    Send(Label),
    /// Send the fallback instead of this and all that comes after it.
    Fallback(Refusal),
    /// Send nothing now.
    Halt(Halt),
}

/// Why nothing of an entry is sent now, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// Send nothing of it any more.
    End(Status, Option<Reason>),
    /// Try again later; the entry keeps its place.
    Wait(Timestamp, Reason),
    /// Try again much later; the entry gives up its place.
    Reschedule(Timestamp, Reason),
}

impl Halt {
    /// Whom it is for was erased.
    pub(super) const ERASED: Self = Self::End(Status::Cancelled, Some(Reason::Erased));

    /// What it makes of the entry.
    pub(super) fn next_state(self, now: Timestamp, retention: Duration) -> NextState {
        let waits = |due_at, reason, rescheduled| NextState::Waits {
            due_at,
            reason: Some(reason),
            rescheduled,
        };
        match self {
            Self::End(status, reason) => {
                let expires_at = ExpiresAt::after(now, retention);
                NextState::Ended { status, reason, at: now, expires_at }
            }
            Self::Wait(due_at, reason) => waits(due_at, reason, false),
            Self::Reschedule(due_at, reason) => waits(due_at, reason, true),
        }
    }
}

/// Decides about an entry's next step by its last moment, the person's answer, the windows, the bot's
/// silence, and until when another app controls the thread, if it does.
///
/// What waits for the thread keeps its place: nothing else can be sent to the person either.
pub(super) fn next(
    entry: &Entry,
    conversation: &ConversationItem,
    thread_taken_until: Option<Timestamp>,
    now: Timestamp,
    policy: &Policy,
) -> Next {
    let end = |status, reason| Next::Halt(Halt::End(status, Some(reason)));
    if now >= entry.give_up_at {
        return end(Status::Failed, Reason::GaveUp(entry.reason.clone().map(Box::new)));
    }
    if conversation.erased_at > entry.after_erasure {
        return Next::Halt(Halt::ERASED);
    }
    if entry
        .cancelled_by_answer_after
        .is_some_and(|after| conversation.last_message_at > Some(after))
    {
        return end(Status::Cancelled, Reason::Answered);
    }
    let standing = match entry.key() {
        Ok(key) => conversation.standing().of_recipient(&key.conversation_key.person, now),
        Err(_) => conversation.standing(),
    };
    let allowed = match decide_with_fallback(
        entry.purpose,
        entry.author.as_deref(),
        entry.fallback().is_some(),
        &standing,
        now,
        policy,
    ) {
        Ok(allowed) => allowed,
        Err(refusal) => {
            return match &entry.reason {
                Some(lacking @ Reason::Graph(Fault::PermissionMissing, _)) => {
                    end(Status::Failed, lacking.clone())
                }
                _ => end(Status::Refused, refusal.into()),
            };
        }
    };
    let by_thread = thread_taken_until
        .map(|until| Halt::Wait(until.min(now + LOOK_AT_THREAD), Fault::ThreadTaken.into()));
    let waited = entry.reason.as_ref();
    let is_kept = waited.is_some_and(|reason| reason.is_of_thread() || *reason == Reason::Quiet);
    if let Some(until) = conversation.quiet_until.filter(|until| now < *until) {
        match entry.purpose {
            Purpose::Human => {}
            _ if entry.despite_quiet => {}
            // What waits for the thread stays, although people answer meanwhile.
            Purpose::Reply if is_kept && by_thread.is_some() => {}
            Purpose::Reply if !is_kept => return end(Status::Cancelled, Reason::TakenOver),
            _ => return Next::Halt(Halt::Reschedule(until, Reason::Quiet)),
        }
    }
    if let Some(halt) = by_thread {
        return Next::Halt(halt);
    }
    match allowed {
        Allowed::AsMeant(label) => Next::Send(label),
        Allowed::Fallback(refusal) => Next::Fallback(refusal),
    }
}

impl Next {
    /// Whether it only waits for the thread.
    pub(super) fn is_of_thread(&self) -> bool {
        matches!(self, Self::Halt(Halt::Wait(_, reason)) if reason.is_of_thread())
    }

    /// The same, unless the Page is paused or the time is up.
    pub(super) fn unless(self, is_paused: bool, has_time: bool, now: Timestamp) -> Self {
        match self {
            Self::Halt(_) => self,
            _ if is_paused => Self::Halt(Halt::Wait(now, Reason::PagePaused)),
            _ if !has_time => Self::Halt(Halt::Wait(now, Reason::NoTimeLeft)),
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use messenger::person::Person;

    use super::*;
    use crate::store::{ConversationKey, EntryKey, Step};
    use messenger::event::Platform;
    use messenger::message::UtilityTemplate;
    use messenger::window::Tag;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const MINUTE: Duration = Duration::from_mins(1);
    const HOUR: Duration = Duration::from_hours(1);
    const DAY: Duration = Duration::from_hours(24);

    /// What the person and the business did, in time before or after now.
    struct Row {
        what: &'static str,
        purpose: Purpose,
        heard_before: Option<Duration>,
        change: fn(&mut Entry, &mut ConversationItem),
        next: Next,
    }

    fn step(state: StepState, sends: u64) -> Step {
        Step {
            body: r#"{"message":{"text":"t"}}"#.into(),
            state,
            sends,
            mid: None,
            attachment_id: None,
        }
    }

    fn entry(purpose: Purpose) -> Entry {
        let conversation_key =
            ConversationKey { page_id: "1".into(), person: Person::Psid("2".into()) };
        let key = EntryKey { conversation_key, id: "e".into() };
        let steps = vec![step(StepState::Planned, 0)];
        let mut entry = Entry::new(&key, purpose, steps, NOW, NOW, NOW + DAY);
        entry.author = Some("Ann".into());
        entry
    }

    fn conversation(heard_before: Option<Duration>) -> ConversationItem {
        let last_message_at = heard_before.map(|span| NOW - span);
        ConversationItem {
            platform: Platform::Messenger,
            last_message_at,
            free_until: last_message_at.map(|at| at + DAY),
            ..ConversationItem::default()
        }
    }

    fn end(status: Status, reason: impl Into<Reason>) -> Next {
        Next::Halt(Halt::End(status, Some(reason.into())))
    }

    fn add_fallback(entry: &mut Entry) {
        let template = UtilityTemplate::new("still_free", "en");
        entry.steps.push(Step::fallback(template).unwrap());
    }

    const fn as_it_is(_: &mut Entry, _: &mut ConversationItem) {}

    fn quiet(_: &mut Entry, conversation: &mut ConversationItem) {
        conversation.quiet_until = Some(NOW + HOUR);
    }

    fn taken(_: &mut Entry, conversation: &mut ConversationItem) {
        conversation.thread_until = Some(NOW + HOUR);
    }

    fn waited(entry: &mut Entry, conversation: &mut ConversationItem) {
        entry.reason = Some(Fault::ThreadTaken.into());
        conversation.quiet_until = Some(NOW + 2 * HOUR);
    }

    const fn row(
        what: &'static str,
        purpose: Purpose,
        heard_before: Option<Duration>,
        change: fn(&mut Entry, &mut ConversationItem),
        next: Next,
    ) -> Row {
        Row { what, purpose, heard_before, change, next }
    }

    fn assert_each(rows: impl IntoIterator<Item = Row>) {
        for Row { what, purpose, heard_before, change, next: expected } in rows {
            let (mut entry, mut conversation) = (entry(purpose), conversation(heard_before));
            change(&mut entry, &mut conversation);
            let thread = conversation.thread_taken_until(NOW);
            let found = next(&entry, &conversation, thread, NOW, &Policy::default());
            assert_eq!(found, expected, "{what}");
        }
    }

    #[test]
    fn the_next_step_follows_from_windows_answers_and_the_last_moment() {
        let in_window = Some(HOUR);
        let human_agent = Next::Send(Label::Tagged(Tag::HumanAgent));
        assert_each([
            row("a reply", Purpose::Reply, in_window, as_it_is, Next::Send(Label::Response)),
            row("a follow-up", Purpose::Update, in_window, as_it_is, Next::Send(Label::Update)),
            row("a person's", Purpose::Human, Some(2 * DAY), as_it_is, human_agent),
            row(
                "the window has ended",
                Purpose::Update,
                Some(2 * DAY),
                as_it_is,
                end(Status::Refused, Refusal::WindowClosed),
            ),
            row(
                "nobody wrote",
                Purpose::Reply,
                None,
                as_it_is,
                end(Status::Refused, Refusal::NeverHeardFrom),
            ),
            row(
                "the window has ended, and a fallback is there",
                Purpose::Update,
                Some(2 * DAY),
                |entry, _| add_fallback(entry),
                Next::Fallback(Refusal::WindowClosed),
            ),
            row(
                "the window is open, and a fallback is there",
                Purpose::Update,
                in_window,
                |entry, _| add_fallback(entry),
                Next::Send(Label::Update),
            ),
            row(
                "its last moment",
                Purpose::Reply,
                in_window,
                |entry, _| entry.give_up_at = NOW,
                end(Status::Failed, Reason::GaveUp(None)),
            ),
            row(
                "its last moment, after it waited",
                Purpose::Reply,
                None,
                |entry, _| {
                    entry.give_up_at = NOW;
                    entry.reason = Some(Reason::PagePaused);
                },
                end(Status::Failed, Reason::GaveUp(Some(Box::new(Reason::PagePaused)))),
            ),
            row(
                "the person wrote after it was decided",
                Purpose::Update,
                Some(HOUR),
                |entry, _| entry.cancelled_by_answer_after = Some(NOW - 2 * HOUR),
                end(Status::Cancelled, Reason::Answered),
            ),
            row(
                "the person wrote what it was decided on",
                Purpose::Update,
                Some(HOUR),
                |entry, _| entry.cancelled_by_answer_after = Some(NOW - HOUR),
                Next::Send(Label::Update),
            ),
        ]);
    }

    #[test]
    fn while_people_answer_the_bot_is_silent() {
        let in_window = Some(HOUR);
        let reschedule = Next::Halt(Halt::Reschedule(NOW + HOUR, Reason::Quiet));
        assert_each([
            row(
                "people answer: a reply",
                Purpose::Reply,
                in_window,
                quiet,
                end(Status::Cancelled, Reason::TakenOver),
            ),
            row("people answer: a follow-up", Purpose::Update, in_window, quiet, reschedule),
            row(
                "people answer: their own",
                Purpose::Human,
                in_window,
                quiet,
                Next::Send(Label::Response),
            ),
            row(
                "people answer: the reply that hands over to them",
                Purpose::Reply,
                in_window,
                |entry, conversation| {
                    entry.despite_quiet = true;
                    conversation.quiet_until = Some(NOW + HOUR);
                },
                Next::Send(Label::Response),
            ),
            row(
                "people have answered",
                Purpose::Reply,
                in_window,
                |_, conversation| conversation.quiet_until = Some(NOW),
                Next::Send(Label::Response),
            ),
            row(
                "people answer, and the window has ended",
                Purpose::Update,
                Some(2 * DAY),
                quiet,
                end(Status::Refused, Refusal::WindowClosed),
            ),
        ]);
    }

    #[test]
    fn while_another_app_controls_the_thread_everything_waits_for_it() {
        let in_window = Some(HOUR);
        let look = |at| Next::Halt(Halt::Wait(at, Fault::ThreadTaken.into()));
        let closed = end(Status::Refused, Refusal::WindowClosed);
        assert_each([
            row("a reply", Purpose::Reply, in_window, taken, look(NOW + LOOK_AT_THREAD)),
            row("a follow-up", Purpose::Update, in_window, taken, look(NOW + LOOK_AT_THREAD)),
            row("people's own", Purpose::Human, in_window, taken, look(NOW + LOOK_AT_THREAD)),
            row("its window has ended", Purpose::Update, Some(2 * DAY), taken, closed),
            row(
                "the control ends before the next look",
                Purpose::Reply,
                in_window,
                |_, conversation| conversation.thread_until = Some(NOW + MINUTE),
                look(NOW + MINUTE),
            ),
            row(
                "the control has ended",
                Purpose::Reply,
                in_window,
                |_, conversation| conversation.thread_until = Some(NOW),
                Next::Send(Label::Response),
            ),
            row(
                "a reply that waits for the thread, and people answer",
                Purpose::Reply,
                in_window,
                |entry, conversation| {
                    taken(entry, conversation);
                    waited(entry, conversation);
                },
                look(NOW + LOOK_AT_THREAD),
            ),
            row(
                "it has the thread back, and people still answer",
                Purpose::Reply,
                in_window,
                waited,
                Next::Halt(Halt::Reschedule(NOW + 2 * HOUR, Reason::Quiet)),
            ),
        ]);
    }

    #[test]
    fn what_waited_for_a_permission_ends_with_it_when_its_window_does() {
        let lacking = Reason::Graph(Fault::PermissionMissing, Some("Meta's error 10".into()));
        assert_each([row(
            "the permission never came",
            Purpose::Reply,
            Some(2 * DAY),
            |entry, _| {
                let detail = Some("Meta's error 10".into());
                entry.reason = Some(Reason::Graph(Fault::PermissionMissing, detail));
            },
            end(Status::Failed, lacking),
        )]);
    }

    #[test]
    fn a_pause_and_the_end_of_the_time_hold_back_what_would_be_sent() {
        let wait = |reason| Next::Halt(Halt::Wait(NOW, reason));
        let send = Next::Send(Label::Response);
        let fallback = Next::Fallback(Refusal::WindowClosed);
        let ended = end(Status::Cancelled, Reason::Answered);
        for (before, is_paused, has_time, after) in [
            (&send, false, true, send.clone()),
            (&send, true, true, wait(Reason::PagePaused)),
            (&send, false, false, wait(Reason::NoTimeLeft)),
            (&send, true, false, wait(Reason::PagePaused)),
            (&fallback, false, true, fallback.clone()),
            (&fallback, true, true, wait(Reason::PagePaused)),
            (&ended, true, false, ended.clone()),
        ] {
            assert_eq!(before.clone().unless(is_paused, has_time, NOW), after, "{before:?}");
        }
    }

    #[test]
    fn a_position_is_the_first_step_that_is_not_over() {
        use StepState::{Fallback, PassedOver, Planned, Sending, Sent, Unconfirmed};
        for (steps, expected) in [
            (&[][..], Position::Done),
            (&[(Planned, 0)], Position::At(0)),
            (&[(Sent, 1), (Planned, 0)], Position::At(1)),
            (&[(PassedOver, 0), (Sent, 1)], Position::Done),
            (&[(Sent, 1), (Fallback, 0)], Position::Done),
            (&[(Sending, 1), (Planned, 0)], Position::Abandoned),
            (&[(Unconfirmed, 1)], Position::At(0)),
            (&[(Unconfirmed, 2)], Position::Unknown),
            (&[(Sent, 2), (Unconfirmed, 2)], Position::Unknown),
        ] {
            let steps_of = steps.iter().map(|(state, sends)| step(*state, *sends)).collect();
            let mut entry = entry(Purpose::Reply);
            entry.steps = steps_of;
            assert_eq!(position(&entry), expected, "{steps:?}");
        }
    }
}
