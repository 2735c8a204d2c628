//! Whether Graph answers clearly for a Page: an unclear step is sent again only once it does.

use crate::graph::Fault;
use crate::send::{ACCOUNT, SendCall, SendError};
use crate::store::StepKey;
use messenger::clock::Timestamp;
use messenger::message::Action;
use messenger::person::Person;
use messenger::window::{Label, Purpose, decide};

use super::attempt::Attempt;
use super::{Outbox, OutboxError, Pauses};

impl Pauses {
    /// Notes that Graph did not say whether it sent a message of the Page.
    pub(super) async fn heard_unclearly(&self, page_id: &str) -> Result<(), OutboxError> {
        let now = self.now();
        let page = self.store().note_unclear(page_id, now).await?;
        self.remember(page_id, page).await;
        Ok(())
    }

    /// Notes that Graph answered clearly for the Page, in a call that began at `began`.
    ///
    /// It costs a write only if an unclear answer is known from before.
    pub(super) async fn heard_clearly(
        &self,
        page_id: &str,
        began: Timestamp,
    ) -> Result<(), OutboxError> {
        let known = self.known(page_id).await;
        if known.and_then(|page| page.unclear_at).is_some_and(|at| at < began) {
            let page = self.store().end_unclear(page_id, began).await?;
            self.remember(page_id, page).await;
        }
        Ok(())
    }

    /// Whether Graph has not answered clearly for the Page since it last did not.
    async fn is_unclear(&self, page_id: &str) -> Result<bool, OutboxError> {
        let page = self.remember(page_id, self.store().page(page_id).await?).await;
        Ok(page.unclear_at.is_some())
    }
}

impl Outbox {
    /// Whether an unclear step may be sent again: Graph has answered clearly for the Page since.
    ///
    /// If nothing else has shown that, the person is shown a typing indicator: it goes the same way
    /// as a message, and to show it twice does no harm. Outside the standard window Meta would refuse
    /// that, and the account is looked up instead. Every clear answer will do, a refusal too.
    ///
    /// # Errors
    /// [`OutboxError`] if the table cannot be read.
    pub(super) async fn may_resend(&self, attempt: &Attempt<'_>) -> Result<bool, OutboxError> {
        let page_id = attempt.page_id();
        if !self.pauses.is_unclear(page_id).await? {
            return Ok(true);
        }
        let began = self.clock.now();
        if !self.pauses.may_probe(page_id, began).await {
            return Ok(false);
        }
        let answered = match self.label_of_reply(attempt, began) {
            Some(label) => {
                let probe = SendCall {
                    page_id,
                    platform: attempt.conversation.platform,
                    person: &attempt.key.conversation_key.person,
                    say: &Action::TypingOn.into(),
                    label,
                    step: &StepKey { entry: attempt.key.clone(), step: 0 },
                };
                self.send.send(probe).await.map(drop)
            }
            None => self.send.look_up(page_id, &[ACCOUNT], &[("fields", "id")]).await.map(drop),
        };
        let is_clear = match answered {
            Ok(()) => true,
            Err(SendError::Graph(error)) => {
                !matches!(error.fault, Fault::Unclear | Fault::NotConnected)
            }
            Err(SendError::Secret(_)) => false,
        };
        if is_clear {
            self.pauses.heard_clearly(page_id, began).await?;
        }
        Ok(is_clear)
    }

    /// The label of a reply to the person, if the standard window allows one.
    fn label_of_reply(&self, attempt: &Attempt<'_>, now: Timestamp) -> Option<Label> {
        let Person::Psid(_) = &attempt.key.conversation_key.person else { return None };
        let standing = attempt.conversation.standing();
        decide(Purpose::Reply, None, &standing, now, &self.settings.policy).ok()
    }
}
