//! What a bot remembers of a person.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{BotError, Trouble};

/// What a bot remembers of a person, as JSON of at most 512 bytes by default (`MAX_STATE_BYTES`).
///
/// Add 1 to `VERSION` when a stored state of the old form would not be read any more, or be read wrongly, and write
/// `upgrade` for it. A state that cannot be read is never replaced by the default: the bot is not asked, and
/// [`Bot::give_up`](super::Bot::give_up) is.
pub trait State: Default + Serialize + DeserializeOwned {
    /// The version of this form.
    const VERSION: u32 = 1;

    /// Whether it makes sense of whatever is stored.
    #[doc(hidden)]
    const READS_ANY: bool = false;

    /// Makes this form of one that an earlier version stored. States without a version have 0.
    ///
    /// By default the old form is read like the new one.
    ///
    /// # Errors
    /// [`BotError`] if it cannot be made.
    fn upgrade(from: u32, old: Value) -> Result<Self, BotError> {
        let _ = from;
        serde_json::from_value(old).map_err(|_| BotError::Failed("the old state"))
    }
}

/// The state as it is stored, for bots that read it themselves.
impl State for Value {
    const VERSION: u32 = 0;
    const READS_ANY: bool = true;
}

/// The state of a bot that remembers nothing; whatever is stored is left as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stateless;

impl<'de> Deserialize<'de> for Stateless {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

impl State for Stateless {
    const VERSION: u32 = 0;
    const READS_ANY: bool = true;
}

/// Reads a state, `null` if there is none.
///
/// # Errors
/// [`Trouble`]: temporary if a later version of the bot stored it, which is then about to take over.
pub(super) fn read<S: State>(stored: Value, version: u32) -> Result<S, Trouble> {
    if stored.is_null() {
        return Ok(S::default());
    }
    let read = match version {
        _ if S::READS_ANY => serde_json::from_value(stored).ok(),
        same if same == S::VERSION => serde_json::from_value(stored).ok(),
        older if older < S::VERSION => S::upgrade(older, stored).ok(),
        _ => return Err(BotError::temporary("the state of a later version").into()),
    };
    read.ok_or(Trouble::StateUnreadable)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Count {
        count: u64,
    }

    impl State for Count {
        const VERSION: u32 = 3;

        fn upgrade(from: u32, old: Value) -> Result<Self, BotError> {
            match from {
                2 => Ok(Self { count: old["n"].as_u64().ok_or(BotError::Failed("n"))? }),
                _ => Ok(Self { count: 100 }),
            }
        }
    }

    #[test]
    fn a_state_is_read_by_its_version_and_never_replaced() {
        let later: Trouble = BotError::temporary("the state of a later version").into();
        for (stored, version, expected) in [
            (Value::Null, 0, Ok(Count { count: 0 })),
            (json!({"count": 5}), 3, Ok(Count { count: 5 })),
            (json!({"n": 5}), 3, Err(Trouble::StateUnreadable)),
            (json!({"n": 5}), 2, Ok(Count { count: 5 })),
            (json!({"m": 5}), 2, Err(Trouble::StateUnreadable)),
            (json!("anything"), 0, Ok(Count { count: 100 })),
            (json!({"count": 5}), 4, Err(later)),
        ] {
            assert_eq!(read::<Count>(stored.clone(), version), expected, "{stored} {version}");
        }
    }

    #[test]
    fn a_bot_without_a_state_reads_whatever_another_bot_stored() {
        for version in [0, 1, 7] {
            assert_eq!(read::<Stateless>(json!({"step": [1]}), version), Ok(Stateless));
        }
    }

    #[test]
    fn a_state_without_an_upgrade_is_read_as_it_was() {
        #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
        struct Plain(u64);
        impl State for Plain {}
        assert_eq!(read::<Plain>(json!(4), 0), Ok(Plain(4)));
        assert_eq!(read::<Plain>(json!("4"), 0), Err(Trouble::StateUnreadable));
    }
}
