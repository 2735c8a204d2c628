//! What follows from a failed send: a pure decision.

use std::time::Duration;

use crate::graph::{Fault, GraphError};
use crate::send::SendError;
use crate::store::{Reason, Status};
use messenger::clock::Timestamp;
use messenger::event::Platform;
use messenger::window::Purpose;

use super::next::{Halt, LOOK_AT_THREAD};

/// The longest time between two tries.
const LONGEST_BACKOFF: Duration = Duration::from_mins(5);

/// After so many attempts without success, while others succeed, what comes later no longer waits
/// for an entry.
const PATIENCE: u64 = 10;

/// How often Meta is asked again what needs a permission that is missing.
pub(super) const RETRY_PERMISSION: Duration = Duration::from_hours(1);

/// After so many answers of error 2, while Graph takes other messages of the Page, it is the person
/// who does not take them.
const REFUSALS_OF_A_PERSON: u64 = 5;

/// How often media that Meta cannot fetch, and a private reply on Instagram that it answers with error
/// 2, are sent.
const REFUSALS_OF_A_MESSAGE: u64 = 2;

/// What follows from a failed send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// Whether the message may have been delivered all the same.
    pub(super) is_unclear: bool,
    /// What becomes of the entry.
    pub(super) halt: Halt,
}

/// What was tried of an entry, as far as the next try depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tries {
    /// Why it is sent.
    pub(super) purpose: Purpose,
    /// Where.
    pub(super) platform: Platform,
    /// How often sending was begun.
    pub(super) attempts: u64,
    /// How many of its refusals count, this one included.
    pub(super) refusals: u64,
    /// Whether a fallback goes if its window is closed.
    pub(super) has_fallback: bool,
    /// Whether other messages of the Page are sent.
    pub(super) is_well: bool,
    /// When Meta says that it accepts messages again.
    pub(super) regain_after: Option<Duration>,
}

/// Whether a refusal brings an entry nearer to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counts {
    /// It may be tried again until its window ends.
    Never,
    /// Always: the message itself is at fault.
    Always,
    /// If Graph took another message of the Page since the last one.
    IfOthersAreTaken,
}

/// Whether a refusal of a message counts.
pub(super) fn counts(error: &GraphError, purpose: Purpose, platform: Platform) -> Counts {
    let is_second_reply = purpose == Purpose::PrivateReply && platform == Platform::Instagram;
    match error.fault {
        Fault::MediaUnavailable => Counts::Always,
        _ if error.may_be_a_block() && is_second_reply => Counts::Always,
        _ if error.may_be_a_block() => Counts::IfOthersAreTaken,
        _ => Counts::Never,
    }
}

/// Decides what follows from an error.
pub(super) fn after_error(
    error: &SendError,
    tries: &Tries,
    now: Timestamp,
    echo_grace: Duration,
) -> Failure {
    let clear = |halt| Failure { is_unclear: false, halt };
    let end = |fault| {
        let error = GraphError { fault, ..graph_error(error) };
        clear(Halt::End(Status::Failed, Some(Reason::from(&error))))
    };
    let again = |reason| {
        let at = now + backoff(tries.attempts);
        clear(if tries.attempts < PATIENCE || !tries.is_well {
            Halt::Wait(at, reason)
        } else {
            Halt::Reschedule(at, reason)
        })
    };
    let SendError::Graph(error) = error else { return again(Reason::NoSecret) };
    let reason = Reason::from(error.fault);
    match error.fault {
        Fault::Unclear => Failure { is_unclear: true, halt: Halt::Wait(now + echo_grace, reason) },
        Fault::NotConnected => again(reason),
        Fault::Temporary => match counts(error, tries.purpose, tries.platform) {
            Counts::Always if tries.refusals >= REFUSALS_OF_A_MESSAGE => {
                end(Fault::ReplyImpossible)
            }
            Counts::IfOthersAreTaken if tries.refusals >= REFUSALS_OF_A_PERSON => {
                end(Fault::PersonUnreachable)
            }
            _ => again(reason),
        },
        Fault::MediaUnavailable if tries.refusals < REFUSALS_OF_A_MESSAGE => again(reason),
        // Private replies have a limit of their own: only they wait.
        Fault::Throttled if tries.purpose == Purpose::PrivateReply => {
            let span = tries.regain_after.unwrap_or_else(|| backoff(tries.attempts));
            clear(Halt::Reschedule(now + span, reason))
        }
        Fault::Throttled
        | Fault::PageRestricted
        | Fault::PolicyBlock
        | Fault::TokenDead
        | Fault::ProofRejected => clear(Halt::Wait(now, reason)),
        Fault::ThreadTaken => clear(Halt::Wait(now + LOOK_AT_THREAD, reason)),
        Fault::PermissionMissing => {
            clear(Halt::Reschedule(now + RETRY_PERMISSION, Reason::from(error)))
        }
        // The record is closed as well, so the next look finds the fallback.
        Fault::OutsideWindow if tries.has_fallback => clear(Halt::Wait(now, reason)),
        Fault::OutsideWindow
        | Fault::PersonUnreachable
        | Fault::NotificationsStopped
        | Fault::PersonLimit
        | Fault::AbuseWarning
        | Fault::ReplyImpossible
        | Fault::MediaUnavailable
        | Fault::Invalid => end(error.fault),
    }
}

fn graph_error(error: &SendError) -> GraphError {
    match error {
        SendError::Graph(error) => error.clone(),
        SendError::Secret(_) => Fault::Temporary.into(),
    }
}

/// One minute, doubled with each attempt, five minutes at most.
fn backoff(attempts: u64) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(10);
    Duration::from_secs(60 << doublings).min(LONGEST_BACKOFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const MINUTE: Duration = Duration::from_mins(1);
    const HOUR: Duration = Duration::from_hours(1);
    const FIRST: Tries = Tries {
        purpose: Purpose::Reply,
        platform: Platform::Messenger,
        attempts: 1,
        refusals: 0,
        has_fallback: false,
        is_well: true,
        regain_after: None,
    };

    fn wait(span: Duration, fault: Fault) -> Halt {
        Halt::Wait(NOW + span, fault.into())
    }

    fn late(span: Duration, fault: Fault) -> Halt {
        Halt::Reschedule(NOW + span, fault.into())
    }

    fn failed(fault: Fault) -> Halt {
        Halt::End(Status::Failed, Some(fault.into()))
    }

    #[test]
    fn an_error_says_what_becomes_of_the_entry() {
        let at_once = Duration::ZERO;
        for (fault, attempts, is_well, halt) in [
            (Fault::Unclear, 1, true, wait(90 * MINUTE, Fault::Unclear)),
            (Fault::NotConnected, 1, true, wait(MINUTE, Fault::NotConnected)),
            (Fault::NotConnected, 2, true, wait(2 * MINUTE, Fault::NotConnected)),
            (Fault::Temporary, 3, true, wait(4 * MINUTE, Fault::Temporary)),
            (Fault::Temporary, 9, true, wait(5 * MINUTE, Fault::Temporary)),
            (Fault::Temporary, 10, true, late(5 * MINUTE, Fault::Temporary)),
            (Fault::Temporary, 10, false, wait(5 * MINUTE, Fault::Temporary)),
            (Fault::Temporary, u64::MAX, false, wait(5 * MINUTE, Fault::Temporary)),
            (Fault::Throttled, 3, true, wait(at_once, Fault::Throttled)),
            (Fault::PageRestricted, 3, true, wait(at_once, Fault::PageRestricted)),
            (Fault::PolicyBlock, 3, true, wait(at_once, Fault::PolicyBlock)),
            (Fault::TokenDead, 3, true, wait(at_once, Fault::TokenDead)),
            (Fault::ProofRejected, 3, true, wait(at_once, Fault::ProofRejected)),
            (Fault::ThreadTaken, 3, true, wait(LOOK_AT_THREAD, Fault::ThreadTaken)),
            (Fault::PermissionMissing, 9, true, late(HOUR, Fault::PermissionMissing)),
            (Fault::OutsideWindow, 1, true, failed(Fault::OutsideWindow)),
            (Fault::PersonUnreachable, 1, true, failed(Fault::PersonUnreachable)),
            (Fault::NotificationsStopped, 1, true, failed(Fault::NotificationsStopped)),
            (Fault::PersonLimit, 1, true, failed(Fault::PersonLimit)),
            (Fault::AbuseWarning, 1, true, failed(Fault::AbuseWarning)),
            (Fault::ReplyImpossible, 1, true, failed(Fault::ReplyImpossible)),
            (Fault::Invalid, 1, true, failed(Fault::Invalid)),
        ] {
            let error = SendError::Graph(GraphError::from(fault));
            let tries = Tries { attempts, is_well, ..FIRST };
            let failure = after_error(&error, &tries, NOW, 90 * MINUTE);
            let is_unclear = fault == Fault::Unclear;
            assert_eq!(failure, Failure { is_unclear, halt }, "{fault:?} after {attempts}");
        }
    }

    #[test]
    fn some_refusals_are_final_after_a_few() {
        let two = GraphError { code: Some(2), ..Fault::Temporary.into() };
        let media = GraphError::from(Fault::MediaUnavailable);
        let reply = Tries { purpose: Purpose::PrivateReply, ..FIRST };
        let on_instagram = Tries { platform: Platform::Instagram, ..reply };
        let final_as = |fault| Some(Reason::from(&GraphError { fault, ..two.clone() }));
        for (error, tries, last, reason) in [
            (&media, FIRST, 2, Some(Fault::MediaUnavailable.into())),
            (&two, FIRST, 5, final_as(Fault::PersonUnreachable)),
            (&two, reply, 5, final_as(Fault::PersonUnreachable)),
            (&two, on_instagram, 2, final_as(Fault::ReplyImpossible)),
        ] {
            for refusals in 1..=last {
                let error = SendError::Graph(error.clone());
                let tries = Tries { refusals, ..tries };
                let Failure { is_unclear, halt } = after_error(&error, &tries, NOW, MINUTE);
                assert!(!is_unclear);
                if refusals < last {
                    assert!(matches!(halt, Halt::Wait(..)), "{halt:?}");
                } else {
                    assert_eq!(halt, Halt::End(Status::Failed, reason.clone()));
                }
            }
        }
    }

    #[test]
    fn a_throttled_private_reply_waits_alone() {
        let error = SendError::Graph(Fault::Throttled.into());
        let reply = Tries { purpose: Purpose::PrivateReply, ..FIRST };
        let by_meta = Tries { regain_after: Some(7 * MINUTE), ..reply };
        for (tries, span) in [(reply, MINUTE), (by_meta, 7 * MINUTE)] {
            let halt = after_error(&error, &tries, NOW, MINUTE).halt;
            assert_eq!(halt, late(span, Fault::Throttled));
        }
    }

    #[test]
    fn a_closed_window_leaves_the_fallback() {
        let error = SendError::Graph(Fault::OutsideWindow.into());
        let tries = Tries { has_fallback: true, ..FIRST };
        let halt = after_error(&error, &tries, NOW, MINUTE).halt;
        assert_eq!(halt, wait(Duration::ZERO, Fault::OutsideWindow));
    }
}
