//! Hand-over: people of the business answer from now on, and the bot is quiet.

use std::time::Duration;

use crate::message::{Invalid, Outgoing};

/// The most characters of a reason.
const MAX_REASON: usize = 200;

/// The longest silence that a hand-over may ask for.
const LONGEST: Duration = Duration::from_hours(24 * 30);

/// People of the business answer from now on: what the decision says still leaves, then the bot is quiet.
///
/// The reason goes into the feed and to the systems that events are forwarded to, as an event of kind `handed_over`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandOver {
    /// Why, for the people who answer.
    pub reason: String,
    /// How long the bot is quiet; for `QUIET_HOURS` if absent.
    pub quiet_for: Option<Duration>,
    /// Whether the Page's inbox gets the control of the thread.
    pub to_inbox: bool,
    /// Whether the bot is asked again when it speaks again because that time is over.
    pub wakes: bool,
}

impl HandOver {
    /// A hand-over for this reason, of 1 to 200 characters.
    pub fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), quiet_for: None, to_inbox: false, wakes: false }
    }

    /// Keeps the bot quiet for this time, 30 days at most, unless the control comes back before.
    #[must_use]
    pub fn quiet_for(mut self, span: Duration) -> Self {
        self.quiet_for = Some(span);
        self
    }

    /// Gives the control of the thread to the Page's inbox, with the last message that the decision says.
    ///
    /// Until it comes back Meta takes no other message from us.
    #[must_use]
    pub fn to_inbox(mut self) -> Self {
        self.to_inbox = true;
        self
    }

    /// Asks the bot again when the time is over and nobody gave the control back before, with
    /// [`Kind::Resumed`](crate::event::Kind::Resumed). If somebody does give it back, the bot is asked in any case.
    #[must_use]
    pub fn and_wake_me(mut self) -> Self {
        self.wakes = true;
        self
    }

    pub(super) fn check(&self, say: &[Outgoing]) -> Result<(), Invalid> {
        let within = |invalid: Invalid| invalid.within("hand_over");
        let characters = self.reason.chars().count();
        if !(1..=MAX_REASON).contains(&characters) {
            let problem = format!("must have 1 to {MAX_REASON} characters");
            return Err(within(Invalid::new("reason", problem)));
        }
        if self.quiet_for.is_some_and(|span| span.is_zero() || span > LONGEST) {
            return Err(within(Invalid::new("quiet_for", "must be at most 30 days, and not zero")));
        }
        if self.to_inbox && say.last().is_none_or(|last| last.message().is_none()) {
            let problem =
                "needs a message at the end of what is said: the thread is passed with it";
            return Err(within(Invalid::new("to_inbox", problem)));
        }
        Ok(())
    }
}
