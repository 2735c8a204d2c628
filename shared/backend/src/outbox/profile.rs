//! A person's profile for the bot and for the API: from the table, or from Meta if there is time to ask.

use std::future::Future;
use std::time::Duration;

use super::{Outbox, OutboxError, SendContext};
use crate::send::SendError;
use crate::store::{ConversationItem, ConversationKey, StoreError};
use crate::telemetry::Metric;
use messenger::clock::Timestamp;
use messenger::event::Platform;
use messenger::person::Person;
use messenger::profile::Profile;

/// How long the table may take to find, or to keep, a profile.
const TABLE_PATIENCE: Duration = Duration::from_secs(2);

/// How long Meta may take to show one.
const META_PATIENCE: Duration = Duration::from_secs(2);

/// Why a profile is not known.
#[derive(Debug, thiserror::Error)]
enum ProfileError {
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error("{0} did not answer soon enough")]
    TooLate(&'static str),
}

impl From<StoreError> for ProfileError {
    fn from(error: StoreError) -> Self {
        Self::Outbox(error.into())
    }
}

impl ProfileError {
    fn reason(&self) -> &'static str {
        match self {
            Self::Outbox(_) => "table",
            Self::Send(SendError::Graph(error)) => error.fault.name(),
            Self::Send(SendError::Secret(_)) => "no_secret",
            Self::TooLate(_) => "too_late",
        }
    }
}

impl Outbox {
    /// A person's profile, as Meta showed it within a day or shows it now; none if Meta shows none of them,
    /// if there is no time to find out, or if that fails, which is logged and counted and nothing more.
    ///
    /// `leased_until` is until when a lease is held that must not be lost by it.
    pub async fn profile(
        &self,
        conversation_key: &ConversationKey,
        conversation: &ConversationItem,
        platform: Platform,
        leased_until: Option<Timestamp>,
        context: &SendContext,
    ) -> Option<Profile> {
        let Person::Psid(psid) = &conversation_key.person else { return None };
        let has_time = |span| context.has_time_for(span, leased_until, self.clock.now());
        if !has_time(TABLE_PATIENCE) {
            return None;
        }
        let (page_id, erased_at) = (&conversation_key.page_id, conversation.erased_at);
        let found = async {
            let known = self.store.profile(conversation_key, erased_at, self.clock.now());
            if let Some(known) = within(TABLE_PATIENCE, "the table", known).await? {
                return Ok(known.shown);
            }
            if !has_time(META_PATIENCE + TABLE_PATIENCE)
                || self.pauses.until(page_id).await?.is_some()
            {
                return Ok(None);
            }
            let shown = self.send.profile(page_id, platform, psid);
            let shown = within(META_PATIENCE, "Meta", shown).await?;
            let now = self.clock.now();
            let kept = self.store.keep_profile(conversation_key, shown.as_ref(), erased_at, now);
            match within(TABLE_PATIENCE, "the table", kept).await {
                Ok(is_kept) => Ok(shown.filter(|_| is_kept)),
                Err(error) => {
                    self.miss_profile(page_id, &error);
                    Ok(shown)
                }
            }
        };
        found.await.unwrap_or_else(|error| {
            self.miss_profile(page_id, &error);
            None
        })
    }

    fn miss_profile(&self, page_id: &str, error: &ProfileError) {
        tracing::warn!(page = page_id, %error, "a profile was not read or not kept");
        self.telemetry.count(Metric::ProfileMissed, page_id, &[("reason", error.reason())]);
    }
}

/// The outcome of a call that may not take longer than this.
async fn within<T, E: Into<ProfileError>>(
    patience: Duration,
    whom: &'static str,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, ProfileError> {
    match tokio::time::timeout(patience, call).await {
        Ok(outcome) => outcome.map_err(Into::into),
        Err(_) => Err(ProfileError::TooLate(whom)),
    }
}
