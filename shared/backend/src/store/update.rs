//! An `UpdateItem` whose expression is written out and whose names are found in it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};

use super::{Item, Reason};
use messenger::clock::Timestamp;

/// An update under construction.
///
/// Attributes are written `#name`, so that reserved words need no list, and values `:name`.
#[derive(Default)]
pub(super) struct Update {
    clauses: BTreeMap<&'static str, Vec<String>>,
    conditions: Vec<String>,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Update {
    pub(super) fn set(self, action: impl Into<String>) -> Self {
        self.clause("SET", action)
    }

    pub(super) fn remove(self, path: impl Into<String>) -> Self {
        self.clause("REMOVE", path)
    }

    /// Adds to a set.
    pub(super) fn add(self, action: impl Into<String>) -> Self {
        self.clause("ADD", action)
    }

    pub(super) fn when(mut self, condition: impl Into<String>) -> Self {
        self.conditions.push(condition.into());
        self
    }

    pub(super) fn value(mut self, name: &str, value: impl IntoValue) -> Self {
        self.values.insert(format!(":{name}"), value.into_value());
        self
    }

    /// Gives `#name` another meaning than the attribute of that name.
    pub(super) fn name(mut self, name: &str, attribute: &str) -> Self {
        self.names.insert(format!("#{name}"), attribute.to_owned());
        self
    }

    fn clause(mut self, keyword: &'static str, action: impl Into<String>) -> Self {
        self.clauses.entry(keyword).or_default().push(action.into());
        self
    }

    pub(super) async fn send(
        self,
        client: &Client,
        table: &str,
        key: Item,
    ) -> Result<Item, SdkError<UpdateItemError>> {
        let expression = self
            .clauses
            .iter()
            .map(|(keyword, actions)| format!("{keyword} {}", actions.join(", ")))
            .collect::<Vec<_>>()
            .join(" ");
        let condition = self
            .conditions
            .iter()
            .map(|condition| format!("({condition})"))
            .collect::<Vec<_>>()
            .join(" AND ");
        let mut names: HashMap<_, _> = names_in(&expression).chain(names_in(&condition)).collect();
        names.extend(self.names);
        let answer = client
            .update_item()
            .table_name(table)
            .set_key(Some(key))
            .update_expression(&expression)
            .set_condition_expression(Some(condition.clone()).filter(|text| !text.is_empty()))
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(self.values).filter(|values| !values.is_empty()))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await?;
        Ok(answer.attributes.unwrap_or_default())
    }
}

fn names_in(expression: &str) -> impl Iterator<Item = (String, String)> {
    expression.split('#').skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let name = &rest[..end.unwrap_or(rest.len())];
        (format!("#{name}"), name.to_owned())
    })
}

/// What can stand in an expression.
pub(super) trait IntoValue {
    fn into_value(self) -> AttributeValue;
}

impl IntoValue for &str {
    fn into_value(self) -> AttributeValue {
        AttributeValue::S(self.to_owned())
    }
}

impl IntoValue for &String {
    fn into_value(self) -> AttributeValue {
        AttributeValue::S(self.clone())
    }
}

impl IntoValue for &Reason {
    fn into_value(self) -> AttributeValue {
        AttributeValue::S(self.to_string())
    }
}

impl IntoValue for Timestamp {
    fn into_value(self) -> AttributeValue {
        AttributeValue::N(self.millis().to_string())
    }
}

impl IntoValue for u64 {
    fn into_value(self) -> AttributeValue {
        AttributeValue::N(self.to_string())
    }
}

impl IntoValue for BTreeSet<String> {
    fn into_value(self) -> AttributeValue {
        AttributeValue::Ss(self.into_iter().collect())
    }
}

/// A map of strings.
impl IntoValue for BTreeMap<String, String> {
    fn into_value(self) -> AttributeValue {
        AttributeValue::M(self.into_iter().map(|(k, v)| (k, AttributeValue::S(v))).collect())
    }
}
