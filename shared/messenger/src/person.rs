//! A person at the other end of a conversation, as Meta refers to them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The most bytes of an id.
const LONGEST_ID: usize = 200;

/// How a person is known to a Page.
///
/// Its text form is the PSID alone, or the kind and the id: `user_ref:…`, `comment:…`, `post:…`. An id
/// has 1 to 200 bytes and contains no `#`, `:`, white space or control character, so that the text
/// form can be part of a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Person {
    /// By the page-scoped id.
    Psid(String),
    /// By the checkbox plugin's reference, until the person writes.
    UserRef(String),
    /// As the author of a comment, who can get one private reply.
    Comment(String),
    /// As the author of a visitor's post, who can get one private reply.
    Post(String),
}

/// A text names no person: its id is empty, too long, or contains a character that ids do not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a valid id")]
pub struct NotAPerson;

impl Person {
    /// The person of this PSID.
    ///
    /// # Errors
    /// [`NotAPerson`] if it is not an id.
    pub fn psid(id: impl Into<String>) -> Result<Self, NotAPerson> {
        checked(id).map(Self::Psid)
    }

    /// The person of this reference.
    ///
    /// # Errors
    /// [`NotAPerson`] if it is not an id.
    pub fn user_ref(id: impl Into<String>) -> Result<Self, NotAPerson> {
        checked(id).map(Self::UserRef)
    }

    /// The author of this comment.
    ///
    /// # Errors
    /// [`NotAPerson`] if it is not an id.
    pub fn comment(id: impl Into<String>) -> Result<Self, NotAPerson> {
        checked(id).map(Self::Comment)
    }

    /// The author of this post.
    ///
    /// # Errors
    /// [`NotAPerson`] if it is not an id.
    pub fn post(id: impl Into<String>) -> Result<Self, NotAPerson> {
        checked(id).map(Self::Post)
    }

    /// Whether the person is known by a PSID, and not only by what they did.
    pub const fn is_psid(&self) -> bool {
        matches!(self, Self::Psid(_))
    }

    /// Whether it is the unknown author of a comment or a visitor's post, who can be answered once.
    pub const fn is_of_public_post(&self) -> bool {
        matches!(self, Self::Comment(_) | Self::Post(_))
    }
}

fn checked(id: impl Into<String>) -> Result<String, NotAPerson> {
    let id = id.into();
    let is_foreign = |c: char| matches!(c, '#' | ':') || c.is_whitespace() || c.is_control();
    if id.is_empty() || id.len() > LONGEST_ID || id.contains(is_foreign) {
        return Err(NotAPerson);
    }
    Ok(id)
}

impl fmt::Display for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Psid(id) => f.write_str(id),
            Self::UserRef(id) => write!(f, "user_ref:{id}"),
            Self::Comment(id) => write!(f, "comment:{id}"),
            Self::Post(id) => write!(f, "post:{id}"),
        }
    }
}

impl FromStr for Person {
    type Err = NotAPerson;

    fn from_str(text: &str) -> Result<Self, NotAPerson> {
        match text.split_once(':') {
            None => Self::psid(text),
            Some(("user_ref", id)) => Self::user_ref(id),
            Some(("comment", id)) => Self::comment(id),
            Some(("post", id)) => Self::post(id),
            Some(_) => Err(NotAPerson),
        }
    }
}

impl From<Person> for String {
    fn from(person: Person) -> Self {
        person.to_string()
    }
}

impl TryFrom<String> for Person {
    type Error = NotAPerson;

    fn try_from(text: String) -> Result<Self, NotAPerson> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_is_read_back() {
        for text in ["24680", "user_ref:a-b_1", "comment:10_20", "post:10_20"] {
            assert_eq!(text.parse::<Person>().unwrap().to_string(), text);
        }
        assert_eq!("24680".parse(), Ok(Person::Psid("24680".into())));
        assert_eq!("comment:1".parse(), Ok(Person::Comment("1".into())));
    }

    #[test]
    fn what_cannot_be_part_of_a_key_is_not_an_id() {
        let too_long = "1".repeat(201);
        for id in ["", "a b", "a#b", "a:b", "a\nb", "\u{7f}", "\u{2003}", &too_long] {
            assert_eq!(Person::psid(id), Err(NotAPerson), "{id:?}");
            assert_eq!(format!("comment:{id}").parse::<Person>(), Err(NotAPerson), "{id:?}");
        }
        for text in ["other:1", ":1", "user_ref:", "psid:1"] {
            assert_eq!(text.parse::<Person>(), Err(NotAPerson), "{text:?}");
        }
        assert!(Person::psid("1".repeat(200)).is_ok());
    }
}
