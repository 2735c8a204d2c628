//! People's profiles as Meta showed them within a day, one item for each person.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::Deserialize;

use super::{ConversationKey, ExpiresAt, Store, StoreError, Update, key};
use messenger::clock::Timestamp;
use messenger::profile::Profile;

const SORT_KEY: &str = "profile";

/// For how long Meta is not asked again.
const FRESH_FOR: Duration = Duration::from_hours(24);

/// What Meta said about a person's profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownProfile {
    /// The profile; absent if Meta shows none.
    pub shown: Option<Profile>,
}

/// What the table holds of a profile.
#[derive(Clone, Debug, Deserialize)]
struct ProfileItem {
    /// The profile as JSON; absent if Meta showed none.
    #[serde(default)]
    profile: Option<String>,
    /// The latest erasure that was known when it was asked for.
    #[serde(default)]
    after_erasure: Option<Timestamp>,
    expires_at: ExpiresAt,
}

impl ProfileItem {
    /// The profile, or that there is none, unless it is too old or from before an erasure.
    fn usable(self, erased_at: Option<Timestamp>, now: Timestamp) -> Option<KnownProfile> {
        if self.expires_at.is_over(now) || self.after_erasure < erased_at {
            return None;
        }
        let shown = self.profile.map(|json| serde_json::from_str(&json)).transpose().ok()?;
        Some(KnownProfile { shown })
    }
}

impl Store {
    /// A person's profile, or that Meta shows none, if that was asked within a day, and after the person was
    /// last erased.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn profile(
        &self,
        conversation_key: &ConversationKey,
        erased_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Option<KnownProfile>, StoreError> {
        let item = match self.get::<ProfileItem>(&conversation_key.pk(), SORT_KEY).await {
            // It is asked for anew, and overwritten.
            Err(error) if error.is_permanent() => None,
            item => item?,
        };
        Ok(item.and_then(|item| item.usable(erased_at, now)))
    }

    /// Keeps what Meta showed of a person for a day: whether they were not erased since `erased_at`, the
    /// erasure that was known when Meta was asked.
    ///
    /// The mark of an erasure is looked at after the write: either this finds it and deletes what it wrote,
    /// or the erasure, which deletes after the mark, finds what was written.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer; an erasure meanwhile deletes the item in its second pass.
    pub async fn keep_profile(
        &self,
        conversation_key: &ConversationKey,
        profile: Option<&Profile>,
        erased_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let update = Update::default()
            .set("#expires_at = :expires")
            .value("expires", ExpiresAt::after(now, FRESH_FOR));
        let json = profile.and_then(|profile| serde_json::to_string(profile).ok());
        let update = match &json {
            Some(json) => update.set("#profile = :profile").value("profile", json),
            None => update.remove("#profile"),
        };
        let update = match erased_at {
            Some(erased_at) => update.set("#after_erasure = :erased").value("erased", erased_at),
            None => update.remove("#after_erasure"),
        };
        self.update::<ProfileItem>(&conversation_key.pk(), SORT_KEY, update).await?;
        let there = self.conversation(conversation_key).await?;
        match there.and_then(|there| there.erased_at) {
            Some(erased) if Some(erased) > erased_at => {
                self.delete_profile_before(conversation_key, erased).await?;
                Ok(false)
            }
            _ => Ok(true),
        }
    }

    /// Deletes a profile, unless it was asked for after this erasure.
    async fn delete_profile_before(
        &self,
        conversation_key: &ConversationKey,
        erased_at: Timestamp,
    ) -> Result<(), StoreError> {
        let erased = AttributeValue::N(erased_at.millis().to_string());
        let condition = "attribute_not_exists(after_erasure) OR after_erasure < :erased";
        let key = key(&conversation_key.pk(), SORT_KEY);
        self.delete_when(key, condition, &[(":erased", erased)]).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_used_for_a_day_and_never_from_before_an_erasure() {
        let asked = Timestamp::from_millis(1_800_000_000_000);
        let earlier = Some(asked - FRESH_FOR);
        let erased = Some(asked);
        for (after_erasure, erased_at, age, is_used) in [
            (None, None, Duration::ZERO, true),
            (None, None, Duration::from_hours(23), true),
            (None, None, FRESH_FOR, false),
            (None, erased, Duration::ZERO, false),
            (earlier, erased, Duration::ZERO, false),
            (erased, erased, Duration::ZERO, true),
            (erased, earlier, Duration::ZERO, true),
        ] {
            for profile in [None, Some(r#"{"name":"A Guest"}"#.to_owned())] {
                let expires_at = ExpiresAt::after(asked, FRESH_FOR);
                let item = ProfileItem { profile: profile.clone(), after_erasure, expires_at };
                let found = item.usable(erased_at, asked + age);
                assert_eq!(found.is_some(), is_used, "{after_erasure:?} {erased_at:?} {age:?}");
                assert!(found.is_none_or(|known| known.shown.is_some() == profile.is_some()));
            }
        }
    }
}
