//! Utility templates: lists a Page's, and creates new ones.
//!
//! Source: Meta's reference of a Page's `message_templates`.

use backend::secrets::Secret;
use messenger::message::Invalid;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::app::App;
use crate::discovery::List;
use crate::payload::{CreateTemplate, Templates};
use crate::{Setup, SetupError};

/// The fields of `template` in the payload.
const FIELDS: [&str; 4] = ["name", "language", "category", "components"];

/// The most characters of a template's name.
const LONGEST_NAME: usize = 512;

/// A template with its status: `APPROVED`, `PENDING` or `REJECTED`.
#[derive(Debug, Deserialize, Serialize)]
struct Template {
    id: Option<String>,
    name: Option<String>,
    language: Option<String>,
    category: Option<String>,
    status: Option<String>,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    components: Value,
}

impl Setup {
    /// The utility templates of a Page.
    pub(crate) async fn templates(
        &self,
        Templates { page_id }: Templates,
        secret: &Secret,
    ) -> Result<Value, SetupError> {
        let page_id = page_id.as_str();
        let app = App::of_page(secret, page_id)?;
        let access = app.access_of(page_id)?;
        let parameters = [("category", "UTILITY"), ("limit", "100")];
        let answer =
            self.outbox.graph().get(&[page_id, "message_templates"], access, &parameters).await?;
        Ok(serde_json::to_value(serde_json::from_value::<List<Template>>(answer.body)?)?)
    }

    /// Creates a utility template of a Page.
    pub(crate) async fn create_template(
        &self,
        CreateTemplate { page_id, template }: CreateTemplate,
        secret: &Secret,
    ) -> Result<Value, SetupError> {
        let page_id = page_id.as_str();
        let template = utility_template(template)?;
        let app = App::of_page(secret, page_id)?;
        let access = app.access_of(page_id)?;
        let answer =
            self.outbox.graph().post(&[page_id, "message_templates"], access, &template).await?;
        let made: Template = serde_json::from_value(answer.body)?;
        Ok(serde_json::to_value(made)?)
    }
}

/// The template as Meta takes it; its category is always `UTILITY`.
fn utility_template(mut given: Map<String, Value>) -> Result<Map<String, Value>, Invalid> {
    let wrong = |problem: &str| Err(Invalid::new("template", problem));
    if !given.keys().all(|name| FIELDS.contains(&name.as_str())) {
        return wrong("the fields are name, language, category and components");
    }
    let text = |name: &str| given.get(name).and_then(Value::as_str).unwrap_or_default();
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !(1..=LONGEST_NAME).contains(&text("name").len()) || !text("name").chars().all(is_name) {
        return wrong("name must have 1 to 512 characters of a-z, 0-9 and _");
    }
    if text("language").is_empty() {
        return wrong("language is missing, for example en");
    }
    if given.get("category").is_some_and(|category| category != "UTILITY") {
        return wrong("category must be UTILITY");
    }
    if given.get("components").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        return wrong("components must be a non-empty list");
    }
    given.insert("category".to_owned(), "UTILITY".into());
    Ok(given)
}
