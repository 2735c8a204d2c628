//! Where entries and their steps are, and how that is named outside.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;

use super::ConversationKey;
use crate::correlation::of_event;
use crate::signature::{is_metadata_tag, metadata_tag};
use messenger::event::{METADATA_MARK, digest, id_of_public_post};

/// What the names of entries begin with, so that other forms can be distinguished.
const ID_MARK: &str = "m1.";

/// What the ids of entries begin with that a caller requested.
pub(crate) const REQUESTED: &str = "request-";

/// What the id of the one message to a comment, a post or a one-time token begins with.
pub(crate) const PRIVATE_REPLY: &str = "private-reply-";

/// What the sort keys of entries begin with.
pub(super) const ENTRY_MARK: &str = "outbox#";

/// Where an entry is in the table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryKey {
    /// To whom it goes.
    pub conversation_key: ConversationKey,
    /// Its id among the person's entries.
    pub id: String,
}

impl EntryKey {
    /// Whether a caller requested it, or it is a private reply: its end is published.
    pub fn is_of_request(&self) -> bool {
        [REQUESTED, PRIVATE_REPLY].iter().any(|mark| self.id.starts_with(mark))
    }

    /// The id under which everything about it is logged: that of the event from whose decision it follows,
    /// or of the comment or post that it answers; its own if a caller requested it.
    pub fn correlation_id(&self) -> String {
        if !self.id.starts_with(PRIVATE_REPLY) {
            return self.id.split('.').next().unwrap_or_default().to_owned();
        }
        let ConversationKey { page_id, person } = &self.conversation_key;
        let answered = id_of_public_post(page_id, person);
        of_event(&answered.unwrap_or_else(|| digest(&[&self.to_string()]))).to_owned()
    }

    pub(super) fn sk(&self) -> String {
        format!("{ENTRY_MARK}{}", self.id)
    }

    pub(super) fn from_table(pk: &str, sk: &str) -> Option<Self> {
        let id = sk.strip_prefix(ENTRY_MARK)?.to_owned();
        Some(Self { conversation_key: ConversationKey::from_pk(pk)?, id })
    }
}

/// Where a step is. With a tag it is what a message carries as `metadata`, so that its echo finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepKey {
    /// The entry.
    pub entry: EntryKey,
    /// The step's place in it.
    pub step: usize,
}

impl StepKey {
    /// The metadata of the step's message, at most 460 characters; Meta's limit is 1,000.
    pub fn to_metadata(&self, app_secret: &SecretString) -> String {
        let content = self.to_string();
        format!("{content}.{}", metadata_tag(&content, app_secret))
    }

    /// The step of an echo's metadata, if it was made with one of `app_secrets`.
    pub fn from_metadata<'a>(
        metadata: &str,
        app_secrets: impl IntoIterator<Item = &'a SecretString>,
    ) -> Option<Self> {
        let (content, tag) = metadata.rsplit_once('.')?;
        content.parse().ok().filter(|_| is_metadata_tag(tag, content, app_secrets))
    }
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
            "mb2.x",
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
        assert_eq!("mb2.%".parse::<StepKey>(), Err(()));
        assert_eq!("other".parse::<StepKey>(), Err(()));
    }

    #[test]
    fn metadata_has_a_tag_and_is_shorter_than_meta_allows() {
        let person = Person::user_ref("u".repeat(200)).unwrap();
        let conversation_key = ConversationKey { page_id: "1".repeat(40), person };
        let id = format!("request-{}", "f".repeat(32));
        let step = StepKey { entry: EntryKey { conversation_key, id }, step: usize::MAX };
        let [ours, other] = ["ours", "other"].map(SecretString::from);
        let metadata = step.to_metadata(&ours);
        assert!(metadata.len() <= 460, "{}", metadata.len());
        assert!(metadata.starts_with(METADATA_MARK));
        assert_eq!(StepKey::from_metadata(&metadata, [&other, &ours]).as_ref(), Some(&step));
        assert_eq!(StepKey::from_metadata(&metadata, [&other]), None);
        let another = StepKey { step: 0, ..step.clone() }.to_string();
        let (content, tag) = metadata.rsplit_once('.').unwrap();
        for forged in [content, &format!("{another}.{tag}"), &format!("{content}."), tag, ""] {
            assert_eq!(StepKey::from_metadata(forged, [&ours]), None, "{forged}");
        }
    }
}
