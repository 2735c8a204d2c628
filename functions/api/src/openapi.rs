//! The `OpenAPI` 3.1 document, built from the routes when it is requested so that no cold start pays for it.

use serde_json::{Map, Value, json};
use utoipa::{PartialSchema, ToSchema};

use crate::answer::Answer;
use crate::api::Api;
use crate::problem::Problem;
use crate::route::{Access, Call, PATH_PARAMETER, Route};

pub(crate) struct Read;

/// Returns this document
#[utoipa::path(
    get,
    path = "/openapi.json",
    impl_for = Read,
    responses((status = 200, description = "The document.", body = Object)),
)]
pub(crate) async fn read(_: &Api, call: Call<'_>) -> Result<Answer, Problem> {
    Ok(Answer::ok(&document(call.routes))?)
}

/// The document of these routes.
pub(crate) fn document(routes: &[Route]) -> Value {
    let mut paths = Map::new();
    let mut schemas = vec![(Problem::name().into_owned(), Problem::schema())];
    Problem::schemas(&mut schemas);
    schemas.extend(backend::reply::schemas());
    for route in routes {
        (route.schemas)(&mut schemas);
        let path = (route.path)();
        for method in (route.methods)() {
            let method = serde_json::to_value(method).unwrap_or_default();
            let method = method.as_str().unwrap_or_default();
            let operations = paths.entry(path.as_str()).or_insert_with(|| json!({}));
            operations[method] = operation(route, method, &path);
        }
    }
    let schemas: Map<_, _> = schemas
        .into_iter()
        .map(|(name, schema)| (name, serde_json::to_value(schema).unwrap_or_default()))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Messenger backend",
            "description": "Sends messages and returns inbound events for back-office systems, within Meta's messaging windows.",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {
                    "type": "http", "scheme": "bearer",
                    "description": "With API_AUTH=key: the `api_key` of the secret, or that of an application, which reaches its own Pages only.",
                },
                "iam": {
                    "type": "apiKey", "in": "header", "name": "Authorization",
                    "description": "With API_AUTH=iam: AWS Signature Version 4 for the service execute-api.",
                },
            },
        },
    })
}

/// An operation, with what all of them share.
fn operation(route: &Route, method: &str, path: &str) -> Value {
    let mut operation = serde_json::to_value((route.operation)()).unwrap_or_default();
    let parts = path.split('/').filter(|part| !part.is_empty());
    let parts = parts.map(|part| part.trim_matches(['{', '}']).replace(['-', '.'], "_"));
    operation["operationId"] = format!("{method}_{}", parts.collect::<Vec<_>>().join("_")).into();
    let problem = |description: &str| {
        let schema = json!({"$ref": "#/components/schemas/Problem"});
        json!({"description": description, "content": {"application/json": {"schema": schema}}})
    };
    // Looked for by name: an operation without parameters must not get a null.
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        if parameter["in"] == "path" {
            parameter["schema"]["pattern"] = PATH_PARAMETER.into();
        }
    }
    if path.contains('{') && operation["responses"]["400"].is_null() {
        operation["responses"]["400"] =
            problem("The path contains a character that a path holds only percent-encoded.");
    }
    operation["responses"]["503"] =
        problem("The table, the secret or Meta does not respond. Try again.");
    operation["security"] = match route.access {
        Access::Callers => {
            operation["responses"]["401"] =
                problem("The request is not signed by a permitted identity, or lacks the key.");
            json!([{"key": []}, {"iam": []}])
        }
        Access::Everybody => json!([]),
    };
    operation
}
