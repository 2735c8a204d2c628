//! References to approved utility templates of the Page.
//!
//! Source: Meta's reference of utility messages; Messenger only.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Invalid;
use super::part::{Notes, Part};
use crate::event::Platform;

/// A reference to an approved utility template of the Page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UtilityTemplate {
    /// The template's name.
    pub name: String,
    /// The language that it was approved in.
    pub language: TemplateLanguage,
    /// The values of its placeholders.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<Value>,
    /// What else the reference holds.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// A template's language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateLanguage {
    /// Such as `en_US`.
    pub code: String,
    /// What else is said of it.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

impl UtilityTemplate {
    /// A template without placeholders, such as `order_shipped` in `en_US`.
    pub fn new(name: impl Into<String>, language: impl Into<String>) -> Self {
        let language = TemplateLanguage { code: language.into(), others: Map::new() };
        Self { name: name.into(), language, components: Vec::new(), others: Map::new() }
    }

    /// Reads a reference in the Send API's form; errors name this field.
    ///
    /// # Errors
    /// [`Invalid`] if it has another form or breaks a limit.
    pub fn from_json(field: &str, value: &Value) -> Result<Self, Invalid> {
        check(&Part::named(field, value, &Notes::default()), Platform::Messenger)?;
        Self::deserialize(value)
            .map_err(|_| Invalid::new(field, "must be a reference to a utility template"))
    }

    /// Sets the values of the template's placeholders.
    #[must_use]
    pub fn with_components(mut self, components: Vec<Value>) -> Self {
        self.components = components;
        self
    }
}

/// Checks `template`.
pub(super) fn check(template: &Part, platform: Platform) -> Result<(), Invalid> {
    if platform == Platform::Instagram {
        return Err(template.wrong("utility messages are only available on Messenger"));
    }
    template.fields(&["name", "language", "components"])?;
    template.at("name").text(1..=512)?;
    template.at("language").fields(&["code"])?;
    template.at("language").at("code").text(2..=20)?;
    template
        .at("components")
        .optional(|components| components.list(0..=100)?.iter().try_for_each(Part::object))
}
