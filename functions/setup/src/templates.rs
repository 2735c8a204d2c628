//! Utility templates: lists a Page's, and creates new ones.
//!
//! Source: Meta's reference of a Page's `message_templates`.

use std::fmt;

use backend::graph::{Access, Fault};
use backend::secrets::Secret;
use messenger::event::TemplateStatus;
use messenger::message::Invalid;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::app::{App, remedy_for_page};
use crate::discovery::{List, next_page};
use crate::payload::{CreateTemplate, Templates};
use crate::register::remedy_for;
use crate::report::Report;
use crate::{Setup, SetupError};

/// The fields of `template` in the payload.
const FIELDS: [&str; 5] = ["name", "language", "category", "parameter_format", "components"];

/// The most characters of a template's name.
const LONGEST_NAME: usize = 512;

/// A template with its status: `APPROVED`, `PENDING`, `REJECTED`, `PAUSED` and more.
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

impl Template {
    fn is_sound(&self) -> bool {
        self.status.as_deref().is_none_or(TemplateStatus::is_sound)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [name, language, status] =
            [&self.name, &self.language, &self.status].map(|it| it.as_deref().unwrap_or("?"));
        write!(f, "{name} ({language}) is {status}")
    }
}

impl Setup {
    /// The utility templates of a Page.
    pub(crate) async fn templates(
        &self,
        Templates { page_id }: Templates,
        secret: &Secret,
    ) -> Result<Value, SetupError> {
        let page_id = page_id.as_str();
        let access = self.access_of_page(secret, page_id).await?;
        Ok(serde_json::to_value(self.list_templates(page_id, access).await?)?)
    }

    async fn list_templates(
        &self,
        page_id: &str,
        access: Access<'_>,
    ) -> Result<List<Template>, SetupError> {
        let mut templates: List<Template> = List { data: Vec::new() };
        let mut after: Option<String> = None;
        loop {
            let mut parameters = vec![("category", "UTILITY"), ("limit", "100")];
            parameters.extend(after.as_deref().map(|after| ("after", after)));
            let path = [page_id, "message_templates"];
            let answer = self.outbox.graph().get(&path, access, &parameters).await?;
            after = next_page(&answer.body["paging"]);
            templates.data.extend(serde_json::from_value::<List<Template>>(answer.body)?.data);
            if after.is_none() {
                return Ok(templates);
            }
        }
    }

    /// Reports the utility templates of a Page that Meta no longer lets it send.
    pub(crate) async fn check_templates(&self, app: &App<'_>, page_id: &str, report: &mut Report) {
        let Ok(access) = app.access_of(page_id) else { return };
        let name = app.name_of(page_id);
        let templates = match self.list_templates(page_id, access).await {
            Ok(templates) => templates.data,
            // The token's check has said so.
            Err(SetupError::Graph(error)) if error.fault == Fault::PermissionMissing => return,
            Err(error) => {
                let finding = format!("cannot read its utility templates: {error}");
                return report.warning(&name, finding, remedy_for(&error, remedy_for_page));
            }
        };
        let (sound, lost): (Vec<_>, Vec<_>) = templates.iter().partition(|one| one.is_sound());
        for template in lost {
            report.warning(
                &name,
                format!("its utility template {template}, so that it cannot be sent"),
                "see why in Meta's Business Manager under Message templates; change it there or create another one",
            );
        }
        if !sound.is_empty() {
            let count = sound.len();
            report
                .ok(&name, format!("utility templates that can be sent or are in review: {count}"));
        }
    }

    /// Creates a utility template of a Page.
    pub(crate) async fn create_template(
        &self,
        CreateTemplate { page_id, template }: CreateTemplate,
        secret: &Secret,
    ) -> Result<Value, SetupError> {
        let page_id = page_id.as_str();
        let template = utility_template(template)?;
        let access = self.access_of_page(secret, page_id).await?;
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
        return wrong("the fields are name, language, category, parameter_format and components");
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
    if given.get("parameter_format").is_some_and(|it| it != "NAMED" && it != "POSITIONAL") {
        return wrong("parameter_format must be NAMED or POSITIONAL");
    }
    if given.get("components").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        return wrong("components must be a non-empty list");
    }
    given.insert("category".to_owned(), "UTILITY".into());
    Ok(given)
}
