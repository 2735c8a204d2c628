//! The route table. Routing, authorization and the `OpenAPI` document all follow from it.

use std::sync::LazyLock;

use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use messenger::clock::Timestamp;

use crate::answer::Answer;
use crate::api::Api;
use crate::auth::Caller;
use crate::problem::Problem;
use crate::route::{Access, Call, Found, Route, Router, check_parameters, path, route};
use crate::{applications, attachments, bot, deletion, events, messages, openapi, people, thread};

static ROUTES: &[Route] = &[
    route!(Callers, messages::create, messages::Create),
    route!(Callers, messages::read, messages::Read),
    route!(Callers, messages::cancel, messages::Cancel),
    route!(Callers, attachments::upload, attachments::Upload),
    route!(Callers, people::read, people::Read),
    route!(Callers, people::erase, people::Erase),
    route!(Callers, thread::change, thread::Change),
    route!(Callers, bot::change, bot::Change),
    route!(Callers, events::pull, events::Pull),
    route!(Callers, applications::list, applications::List),
    route!(Everybody, deletion::begin, deletion::Begin),
    route!(Everybody, deletion::read, deletion::Read),
    route!(Callers, openapi::read, openapi::Read),
];

static ROUTER: LazyLock<Router> = LazyLock::new(|| Router::new(ROUTES));

impl Api {
    /// Answers a request; `invocation` identifies it, and nothing starts that may outlast `deadline`.
    pub async fn handle(
        &self,
        request: &Request,
        invocation: &str,
        deadline: Timestamp,
    ) -> Response<Body> {
        // Boxed, because a deep nest of calls is more than the compiler lays out in one piece.
        match Box::pin(self.answer(request, invocation, deadline)).await {
            Ok(answer) => answer.into_response(),
            Err(problem) => problem.into_response(),
        }
    }

    async fn answer(
        &self,
        request: &Request,
        invocation: &str,
        deadline: Timestamp,
    ) -> Result<Answer, Problem> {
        let found = ROUTER.find(request.method(), path(request));
        // First, so that nobody else learns which paths and methods there are.
        let is_open = matches!(&found, Found::Route(route, _) if route.access == Access::Everybody);
        let caller = if is_open {
            Caller::Nobody
        } else {
            self.auth.authorize(request, &self.secrets).await?
        };
        match found {
            Found::Route(route, parameters) => {
                check_parameters(&parameters)?;
                let routes = ROUTER.routes();
                let call = Call { request, caller, parameters, invocation, deadline, routes };
                (route.run)(self, call).await
            }
            Found::OtherMethods(methods) => Err(Problem::method_not_allowed(methods)),
            Found::Nothing => Err(Problem::new(StatusCode::NOT_FOUND, "not_found", "no such path")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use lambda_http::http::Method;
    use serde_json::{Value, json};

    use super::*;

    fn found(method: &Method, path: &str) -> Option<(String, Vec<String>)> {
        match ROUTER.find(method, path) {
            Found::Route(route, parameters) => {
                Some(((route.path)(), parameters.into_values().collect()))
            }
            _ => None,
        }
    }

    #[test]
    fn a_path_leads_to_one_route() {
        let is = |path: &str, values: &[&str]| {
            Some((path.to_owned(), values.iter().map(|&value| value.to_owned()).collect()))
        };
        assert_eq!(found(&Method::GET, "/messages/a:b"), is("/messages/{id}", &["a:b"]));
        assert_eq!(found(&Method::DELETE, "/people/5"), is("/people/{psid}", &["5"]));
        assert_eq!(found(&Method::POST, "/messages"), is("/messages", &[]));
        for path in ["/", "/messages/", "/messages/a/b", "/people", "/Messages"] {
            assert!(matches!(ROUTER.find(&Method::GET, path), Found::Nothing), "{path}");
        }
        let Found::OtherMethods(methods) = ROUTER.find(&Method::PUT, "/messages/x") else {
            panic!("a route for PUT");
        };
        assert_eq!(methods, "GET, DELETE");
    }

    #[test]
    fn every_route_can_be_reached() {
        for route in ROUTES {
            let path = (route.path)().replace(['{', '}'], "");
            let document = serde_json::to_value((route.methods)()).unwrap();
            let method = document[0].as_str().unwrap().to_uppercase().parse().unwrap();
            assert_eq!(found(&method, &path).map(|(path, _)| path), Some((route.path)()));
        }
    }

    #[test]
    fn only_the_data_deletion_is_open_to_everybody() {
        for route in ROUTES {
            let path = (route.path)();
            let is_open = route.access == Access::Everybody;
            assert_eq!(is_open, path.starts_with("/data-deletion"), "{path}");
        }
    }

    /// `UPDATE_OPENAPI=1 cargo test -p api openapi` writes the file anew.
    #[test]
    fn openapi_json_is_the_document() {
        assert_up_to_date("functions/api/openapi.json", &openapi::document(ROUTES));
    }

    /// What a bot behind a URL is asked with and answers is whole in a file of its own, for validators.
    #[test]
    fn openapi_schemas_of_turns_and_decisions_are_files_too() {
        let document = openapi::document(ROUTES);
        let schemas = &document["components"]["schemas"];
        for (name, file) in [("ReplyTurn", "reply-turn"), ("ReplyDecision", "reply-decision")] {
            let mut needed = BTreeSet::new();
            let mut new = BTreeSet::from([format!("{COMPONENT}{name}")]);
            while let Some(reference) = new.pop_first() {
                let mut found = BTreeSet::new();
                references(&schemas[&reference[COMPONENT.len()..]], &mut found);
                needed.insert(reference);
                new.extend(found.difference(&needed).cloned());
            }
            let definitions = needed.iter().map(|reference| {
                let name = &reference[COMPONENT.len()..];
                (name.to_owned(), schemas[name].clone())
            });
            let schema = json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "$ref": format!("{COMPONENT}{name}"),
                "$defs": definitions.collect::<serde_json::Map<_, _>>(),
            });
            let schema = serde_json::from_str(&schema.to_string().replace(COMPONENT, "#/$defs/"));
            let path = format!("shared/messenger/schema/{file}.json");
            assert_up_to_date(&path, &schema.unwrap());
        }
    }

    const COMPONENT: &str = "#/components/schemas/";

    /// Compares a document with a file, whose path counts from the root of the project.
    fn assert_up_to_date(path: &str, document: &Value) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
        let text = serde_json::to_string_pretty(document).unwrap() + "\n";
        if std::env::var_os("UPDATE_OPENAPI").is_some() {
            std::fs::write(&file, &text).unwrap();
        }
        let there = std::fs::read_to_string(&file).unwrap_or_default();
        let differs = there.lines().zip(text.lines()).find(|(old, new)| old != new);
        assert!(there == text, "{path} is not up to date: {differs:?}");
    }

    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_of_the_document_leads_to_a_schema() {
        let document = openapi::document(ROUTES);
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.len() >= 8, "{found:?}");
        for reference in found {
            let schema = document.pointer(reference.trim_start_matches('#'));
            assert!(schema.is_some_and(|schema| *schema != Value::Null), "{reference}");
        }
    }
}
