//! What Meta shows of a person.

use serde::{Deserialize, Serialize};
use serde_json::Number;

/// A person's profile: every field may be absent, and so may the profile.
///
/// Meta shows nothing of some people, and locale and time zone only to apps with a permission for each.
/// There is no picture, because its address expires. Source: Meta's User Profile API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Profile {
    /// The person's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The person's user name; Instagram only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The person's language and country, such as `en_GB`; Messenger only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// The hours by which the person's time is ahead of GMT, such as -7 or 5.5; Messenger only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<f64>))]
    pub timezone: Option<Number>,
}

impl Profile {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
