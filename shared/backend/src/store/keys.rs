//! Where entries and their steps are, and how that is named outside.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::ConversationKey;
use messenger::event::METADATA_MARK;

/// What the names of entries begin with, so that other forms can be distinguished.
const ID_MARK: &str = "m1.";

/// Where an entry is in the table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryKey {
    /// To whom it goes.
    pub conversation_key: ConversationKey,
    /// Its id among the person's entries.
    pub id: String,
}

impl EntryKey {
    pub(super) fn sk(&self) -> String {
        format!("outbox#{}", self.id)
    }

    pub(super) fn from_table(pk: &str, sk: &str) -> Option<Self> {
        let id = sk.strip_prefix("outbox#")?.to_owned();
        Some(Self { conversation_key: ConversationKey::from_pk(pk)?, id })
    }
}

/// Where a step is: what a message carries as `metadata`, so that its echo finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepKey {
    /// The entry.
    pub entry: EntryKey,
    /// The step's place in it.
    pub step: usize,
}

impl fmt::Display for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entry: EntryKey { conversation_key, id }, step } = self;
        let plain = format!("{} {step} {id} {}", conversation_key.page_id, conversation_key.person);
        write!(f, "{METADATA_MARK}{}", URL_SAFE_NO_PAD.encode(plain))
    }
}

impl FromStr for StepKey {
    type Err = ();

    fn from_str(metadata: &str) -> Result<Self, ()> {
        let encoded = metadata.strip_prefix(METADATA_MARK).ok_or(())?;
        let plain =
            String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).map_err(drop)?).map_err(drop)?;
        let mut parts = plain.splitn(4, ' ');
        let mut next = || parts.next().map(str::to_owned).ok_or(());
        let page_id = next()?;
        let step = next()?.parse().map_err(drop)?;
        let id = next()?;
        Ok(Self {
            entry: EntryKey {
                conversation_key: ConversationKey {
                    page_id,
                    person: next()?.parse().map_err(drop)?,
                },
                id,
            },
            step,
        })
    }
}

/// How a message is named outside: opaque, but no secret. It encodes where the entry is.
impl fmt::Display for EntryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { conversation_key: ConversationKey { page_id, person }, id } = self;
        write!(f, "{ID_MARK}{}", URL_SAFE_NO_PAD.encode(format!("{page_id} {id} {person}")))
    }
}

impl FromStr for EntryKey {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let encoded = name.strip_prefix(ID_MARK).ok_or(())?;
        let plain =
            String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).map_err(drop)?).map_err(drop)?;
        let mut parts = plain.splitn(3, ' ').filter(|part| !part.is_empty()).map(str::to_owned);
        let (page_id, id, person) =
            (parts.next().ok_or(())?, parts.next().ok_or(())?, parts.next().ok_or(())?);
        let person = person.parse().map_err(drop)?;
        Ok(Self { conversation_key: ConversationKey { page_id, person }, id })
    }
}

#[cfg(test)]
mod tests {
    use messenger::person::Person;

    use super::*;

    #[test]
    fn a_name_finds_its_entry_and_is_opaque() {
        let conversation_key =
            ConversationKey { page_id: "10".into(), person: Person::UserRef("a-b".into()) };
        let key = EntryKey { conversation_key, id: "e1".into() };
        let name = key.to_string();
        assert_eq!(name.parse(), Ok(key));
        assert!(!name.contains("user_ref"));
        let of = |plain: &str| format!("m1.{}", URL_SAFE_NO_PAD.encode(plain));
        for other in [
            "",
            "m1.",
            "m1.%",
            "mb1.x",
            &of("10"),
            &of("10 e1"),
            &of("10  a"),
            &of("10 e1 "),
            &of("10 e1 a b"),
        ] {
            assert_eq!(other.parse::<EntryKey>(), Err(()), "{other}");
        }
    }

    #[test]
    fn metadata_finds_its_step_and_is_opaque() {
        let conversation_key =
            ConversationKey { page_id: "10".into(), person: Person::UserRef("a-b".into()) };
        let key = StepKey { entry: EntryKey { conversation_key, id: "e.1".into() }, step: 2 };
        let metadata = key.to_string();
        assert_eq!(metadata.parse(), Ok(key));
        assert!(!metadata.contains("user_ref"));
        assert_eq!("mb1.%".parse::<StepKey>(), Err(()));
        assert_eq!("other".parse::<StepKey>(), Err(()));
    }
}
