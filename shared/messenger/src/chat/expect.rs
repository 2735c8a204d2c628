//! A conversation in memory: what is expected.
//!
//! What happened is expected in its order.
#![expect(
    clippy::return_self_not_must_use,
    reason = "where a chat is dropped the conversation ends"
)]

use std::thread;

use serde::Serialize;

use super::fluent::Chat;
use super::kit::Said;
use super::transcript::{Check, Ending, What};

/// What is expected.
impl Chat {
    /// The next message contains this text.
    #[track_caller]
    pub fn expect_text(self, part: &str) -> Self {
        self.expect_message(&format!("a message with \"{part}\""), |text| text.contains(part))
    }

    /// The next message is this text.
    #[track_caller]
    pub fn expect_exactly(self, text: &str) -> Self {
        self.expect_message(&format!("the message \"{text}\""), |said| said == text)
    }

    /// The message that was expected last offers quick replies and buttons with just these titles.
    #[track_caller]
    pub fn expect_choices(self, titles: &[&str]) -> Self {
        let offered = self.seen.as_ref().map(|said| &said.choices[..]);
        match offered {
            Some(offered) if offered == titles => self,
            Some(offered) => {
                self.fail(&format!("expected the choices {titles:?}, there are {offered:?}"))
            }
            None => self.fail("no message was expected yet that could offer choices"),
        }
    }

    /// The next message is not sent, because the windows do not allow it; `reason` is such as `window_closed`.
    #[track_caller]
    pub fn expect_refused(self, reason: &str) -> Self {
        self.expect_end(Ending::Refused, reason)
    }

    /// Next, a message or an event ends as failed; `reason` is such as `invalid`, `panic` or `bot_failed`.
    #[track_caller]
    pub fn expect_failed(self, reason: &str) -> Self {
        self.expect_end(Ending::Failed, reason)
    }

    /// Next, the bot lets people of the business answer; what it says about that leaves before.
    #[track_caller]
    pub fn expect_handed_over(self) -> Self {
        self.expect("a hand-over", |said| {
            matches!(&said.happening.what, What::Sent { label: None, .. })
        })
    }

    /// Nothing has happened beside what was expected.
    #[track_caller]
    pub fn expect_nothing(self) -> Self {
        if let Some(said) = self.unseen.front() {
            self.fail(&format!("expected nothing, there is: {}", said.happening));
        }
        self
    }

    /// The bot remembers this.
    #[track_caller]
    pub fn expect_state(self, state: &impl Serialize) -> Self {
        match serde_json::to_value(state) {
            Ok(state) => self.expect_check(&Check::State(state)),
            Err(error) => self.fail(&format!("the state cannot be serialized: {error}")),
        }
    }

    /// The bot is quiet, because people answer.
    #[track_caller]
    pub fn expect_quiet(mut self) -> Self {
        match self.measured(&Check::Quiet(std::time::Duration::ZERO)) {
            Ok(Check::Quiet(left)) if left.is_zero() => {
                self.fail("expected the bot to be quiet, it is not")
            }
            _ => self,
        }
    }

    #[track_caller]
    fn expect_check(mut self, check: &Check) -> Self {
        match self.measured(check) {
            Ok(found) if check.holds(&found) => self,
            Ok(found) => self.fail(&format!("expected {check}, there is {found}")),
            Err(why) => self.fail(&why.0),
        }
    }

    #[track_caller]
    fn expect_message(self, wanted: &str, fits: impl Fn(&str) -> bool) -> Self {
        self.expect(wanted, |said| {
            matches!(said.happening.what, What::Sent { label: Some(_), .. }) && fits(&said.text)
        })
    }

    #[track_caller]
    fn expect_end(self, wanted: Ending, because: &str) -> Self {
        let name: &str = wanted.into();
        self.expect(&format!("something to end as {name} ({because})"), |said| {
            matches!(&said.happening.what, What::Ended { ending, reason, .. }
                if *ending == wanted && reason == because)
        })
    }

    #[track_caller]
    fn expect(mut self, wanted: &str, fits: impl Fn(&Said) -> bool) -> Self {
        match self.unseen.pop_front() {
            Some(said) if fits(&said) => {
                self.seen = Some(said);
                self
            }
            Some(said) => self.fail(&format!("expected {wanted}, there is: {}", said.happening)),
            None => self.fail(&format!("expected {wanted}, nothing happened")),
        }
    }
}

/// At the end nothing may be left that nobody expected.
impl Drop for Chat {
    fn drop(&mut self) {
        if let Some(said) = self.unseen.front()
            && !thread::panicking()
        {
            self.fail(&format!("nobody expected: {}", said.happening));
        }
    }
}
