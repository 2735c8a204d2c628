//! What was asked for under a caller's own name, so that the name stands for one request of a Page only.

use std::time::Duration;

use serde::Deserialize;

use super::{ExpiresAt, Store, StoreError, Update, Updated};
use messenger::clock::Timestamp;

/// For how long a name is kept.
const KEPT_FOR: Duration = Duration::from_hours(24 * 15);

const SORT_KEY: &str = "request";

#[derive(Deserialize)]
struct Named {
    fingerprint: String,
}

impl Store {
    /// Claims a name for a request, which a digest stands for: whether the name is this request's.
    ///
    /// The item holds nothing about the person.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn claim_name(
        &self,
        name: &str,
        fingerprint: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let expires_at = ExpiresAt::after(now, KEPT_FOR);
        let update = Update::default()
            .set("#fingerprint = :fingerprint, #expires_at = :expires")
            .when("attribute_not_exists(#fingerprint)")
            .value("fingerprint", fingerprint)
            .value("expires", expires_at);
        let pk = format!("request#{name}");
        Ok(match self.update::<Named>(&pk, SORT_KEY, update).await? {
            Updated::Now(_) => true,
            Updated::Unmet(there) => there.is_some_and(|there| there.fingerprint == fingerprint),
        })
    }
}
