//! How far a deletion that a person asked Meta for has come.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ExpiresAt, Store, StoreError, Update};
use messenger::clock::Timestamp;

/// For how long its state can be asked for.
const KEPT_FOR: Duration = Duration::from_hours(24 * 90);

const SORT_KEY: &str = "deletion";

/// How a deletion stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeletionState {
    /// It was accepted, and is not complete.
    Begun,
    /// Everything is erased.
    Erased,
}

impl DeletionState {
    /// The state as the table holds it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Erased => "erased",
        }
    }
}

/// A deletion; it holds nothing about the person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Deletion {
    /// How it stands.
    pub state: DeletionState,
    /// Since when, ms since the epoch.
    pub at: Timestamp,
}

impl Store {
    /// Reads a deletion by its confirmation code.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn deletion(&self, code: &str) -> Result<Option<Deletion>, StoreError> {
        self.get(&pk(code), SORT_KEY).await
    }

    /// Notes how a deletion stands; one that is complete stays so.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not answer.
    pub async fn set_deletion(&self, code: &str, deletion: Deletion) -> Result<(), StoreError> {
        let expires_at = ExpiresAt::after(deletion.at, KEPT_FOR);
        let update = Update::default()
            .set("#state = :state, #at = :at, #expires_at = :expires")
            .when("attribute_not_exists(#state) OR #state <> :erased")
            .value("erased", DeletionState::Erased.name())
            .value("state", deletion.state.name())
            .value("at", deletion.at)
            .value("expires", expires_at);
        self.update::<Deletion>(&pk(code), SORT_KEY, update).await.map(drop)
    }
}

fn pk(code: &str) -> String {
    format!("deletion#{code}")
}
