//! The message templates of a Page.
//!
//! Source: Meta's utility messages: category, language, parameter format, and an approval first.

use serde_json::{Value, json};

use super::answer::Refusal;
use super::node::{Answered, NodeCall};
use super::{Meta, State};

/// Meta approves a template within seconds.
const APPROVED_AFTER_MS: i64 = 5_000;

/// A template of a Page.
pub(super) struct Template {
    page_id: String,
    id: String,
    made_at: i64,
    fields: Value,
    /// What a review changed it to.
    reviewed: Option<String>,
}

impl Template {
    fn to_value(&self, now: i64) -> Value {
        let mut value = self.fields.clone();
        value["id"] = self.id.as_str().into();
        value["status"] = self.status(now).into();
        value
    }

    fn status(&self, now: i64) -> &str {
        match &self.reviewed {
            Some(status) => status,
            None if now - self.made_at < APPROVED_AFTER_MS => "PENDING",
            None => "APPROVED",
        }
    }
}

impl Meta {
    /// Meta reviews a template and gives it this status.
    pub fn review_template(&self, page_id: &str, name: &str, status: &str) {
        let mut state = self.state();
        let is_this = |one: &&mut Template| one.page_id == page_id && one.fields["name"] == name;
        for template in state.templates.iter_mut().filter(is_this) {
            template.reviewed = Some(status.to_owned());
        }
    }
}

impl State {
    pub(super) fn templates(&self, node: &str, call: &NodeCall, now: i64) -> Answered {
        let page_id = self.as_page(node, call, now)?;
        self.demand(&page_id, "page_utility_messaging")?;
        let own = self.templates.iter().filter(|template| template.page_id == page_id);
        Ok(json!({"data": own.map(|template| template.to_value(now)).collect::<Vec<_>>()}))
    }

    pub(super) fn create_template(&mut self, node: &str, call: &NodeCall, now: i64) -> Answered {
        let page_id = self.as_page(node, call, now)?;
        self.demand(&page_id, "page_utility_messaging")?;
        let (Some(name), Some(language)) = (call.text("name"), call.text("language")) else {
            return Err(Refusal::invalid("name and language are required"));
        };
        if call.text("category") != Some("UTILITY") {
            return Err(Refusal::invalid("Param category must be one of {UTILITY}"));
        }
        if call.value("components").as_array().is_none_or(Vec::is_empty) {
            return Err(Refusal::invalid("The parameter components is required"));
        }
        let format = call.text("parameter_format").unwrap_or("POSITIONAL");
        if !matches!(format, "POSITIONAL" | "NAMED") {
            let why = "Param parameter_format must be one of {POSITIONAL, NAMED}";
            return Err(Refusal::invalid(why));
        }
        let is_same = |template: &&Template| {
            template.page_id == page_id
                && template.fields["name"] == name
                && template.fields["language"] == language
        };
        if self.templates.iter().any(|template| is_same(&template)) {
            return Err(Refusal::invalid("There is already a template of this name and language"));
        }
        let template = Template {
            page_id,
            id: format!("{}", 500_000_000_000_000 + self.templates.len()),
            made_at: now,
            reviewed: None,
            fields: json!({
                "name": name,
                "language": language,
                "category": "UTILITY",
                "parameter_format": format,
                "components": call.value("components"),
            }),
        };
        let made =
            json!({"id": template.id, "status": template.status(now), "category": "UTILITY"});
        self.templates.push(template);
        Ok(made)
    }

    /// A message gives each parameter of a template with named parameters its name.
    pub(super) fn check_template_parameters(
        &self,
        page_id: &str,
        reference: &Value,
    ) -> Result<(), Refusal> {
        let is_this = |template: &&Template| {
            template.page_id == page_id
                && template.fields["name"] == reference["name"]
                && template.fields["language"] == reference["language"]["code"]
        };
        let Some(template) = self.templates.iter().find(is_this) else { return Ok(()) };
        let is_named = template.fields["parameter_format"] == "NAMED";
        let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let components = items(&reference["components"]);
        let mut parameters = components.iter().flat_map(|one| items(&one["parameters"]));
        if is_named && parameters.any(|parameter| !parameter["parameter_name"].is_string()) {
            return Err(Refusal::invalid("Param parameter_name is required for named parameters"));
        }
        Ok(())
    }
}
