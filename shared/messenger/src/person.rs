//! A person at the other end of a conversation, as Meta refers to them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The most bytes of an id.
const LONGEST_ID: usize = 200;

/// How a person is known to a Page.
///
/// Its text form is the PSID alone, or the kind and the id: `user_ref:…`, `comment:…`, `post:…`,
/// `notification_messages_token:…`, `one_time_notif_token:…`, `phone_number:…`. An id has 1 to 200 bytes
/// and contains no `#`, `:`, white space or control character, so that the text form can be part of a
/// key.
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
    /// By the token of an opt-in to notifications, until it expires.
    NotificationToken(String),
    /// By the token of an opt-in to one notification.
    OneTimeToken(String),
    /// By the phone number of their account, in E.164 form: `+12125550123`.
    PhoneNumber(String),
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

    /// Whoever gave this token for notifications.
    ///
    /// # Errors
    /// [`NotAPerson`] if it is not a token.
    pub fn notification_token(token: impl Into<String>) -> Result<Self, NotAPerson> {
        checked(token).map(Self::NotificationToken)
    }

    /// Whoever gave this token for one notification.
    ///
    /// # Errors
    /// [`NotAPerson`] if it is not a token.
    pub fn one_time_token(token: impl Into<String>) -> Result<Self, NotAPerson> {
        checked(token).map(Self::OneTimeToken)
    }

    /// Whoever has this phone number; spaces, parentheses, dots and hyphens are left out.
    ///
    /// # Errors
    /// [`NotAPerson`] if it is not `+` and 8 to 15 digits.
    pub fn phone_number(number: impl Into<String>) -> Result<Self, NotAPerson> {
        let is_filler = |c: char| matches!(c, ' ' | '(' | ')' | '.' | '-');
        let number = number.into().replace(is_filler, "");
        let digits = number.strip_prefix('+').unwrap_or_default();
        if (8..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            Ok(Self::PhoneNumber(number))
        } else {
            Err(NotAPerson)
        }
    }

    /// Whether the person is known by a PSID, and not only by what they did.
    pub const fn is_psid(&self) -> bool {
        matches!(self, Self::Psid(_))
    }

    /// Whether it is the unknown author of a comment or a visitor's post, who can be answered once.
    pub const fn is_of_public_post(&self) -> bool {
        matches!(self, Self::Comment(_) | Self::Post(_))
    }

    /// Whether it takes a single message: what a comment, a post or a one-time token allows is used up
    /// by it.
    pub const fn takes_one_message(&self) -> bool {
        matches!(self, Self::Comment(_) | Self::Post(_) | Self::OneTimeToken(_))
    }

    /// Whether it is itself the permission to send, which no messaging window limits: only Meta knows
    /// whether a token is still valid, and who has a phone number.
    ///
    /// Source: Meta's guides of notification messages, one-time notifications and customer matching.
    pub const fn is_permission(&self) -> bool {
        matches!(self, Self::NotificationToken(_) | Self::OneTimeToken(_) | Self::PhoneNumber(_))
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
            Self::NotificationToken(token) => write!(f, "notification_messages_token:{token}"),
            Self::OneTimeToken(token) => write!(f, "one_time_notif_token:{token}"),
            Self::PhoneNumber(number) => write!(f, "phone_number:{number}"),
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
            Some(("notification_messages_token", token)) => Self::notification_token(token),
            Some(("one_time_notif_token", token)) => Self::one_time_token(token),
            Some(("phone_number", number)) => Self::phone_number(number),
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
        for text in [
            "24680",
            "user_ref:a-b_1",
            "comment:10_20",
            "post:10_20",
            "notification_messages_token:66_a-b",
            "one_time_notif_token:66_a-b",
            "phone_number:+12125550123",
        ] {
            assert_eq!(text.parse::<Person>().unwrap().to_string(), text);
        }
        assert_eq!("24680".parse(), Ok(Person::Psid("24680".into())));
        assert_eq!("comment:1".parse(), Ok(Person::Comment("1".into())));
    }

    #[test]
    fn a_phone_number_is_in_one_form() {
        for (given, kept) in [
            ("+1 (212) 555-0123", Some("+12125550123")),
            ("+49.30.1234567", Some("+49301234567")),
            ("+12345678", Some("+12345678")),
            ("+123456789012345", Some("+123456789012345")),
            ("+1234567", None),
            ("+1234567890123456", None),
            ("12125550123", None),
            ("+1212555o123", None),
            ("", None),
        ] {
            let number = kept.map(|kept| Person::PhoneNumber(kept.to_owned()));
            assert_eq!(Person::phone_number(given).ok(), number, "{given:?}");
        }
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
