//! Everything that can be asked, in one table.

use std::collections::HashMap;

use futures_util::future::BoxFuture;
use lambda_http::http::header::CONTENT_TYPE;
use lambda_http::http::{Method, StatusCode};
use lambda_http::{Request, RequestExt};
use messenger::clock::Timestamp;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::openapi::About;
use crate::problem::Problem;
use crate::{Answer, Api, applications, deletion, events, messages, openapi, people};

/// The most bytes of a body: ten messages of the largest size have fewer.
const LARGEST_BODY: usize = 256 * 1024;

/// What answers to a method and a path.
pub(crate) struct Route {
    pub(crate) method: Method,
    /// Parts in braces stand for anything.
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    pub(crate) about: &'static About,
    pub(crate) run: Run,
}

type Run = for<'a> fn(&'a Api, Call<'a>) -> BoxFuture<'a, Result<Answer, Problem>>;

/// Whom a route answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Callers who have shown who they are.
    Callers,
    /// Everybody: what is asked shows by itself that it may be.
    Everybody,
}

use Access::{Callers, Everybody};

#[rustfmt::skip]
pub(crate) static ROUTES: [Route; 10] = [
    Route { method: Method::POST, path: "/messages", access: Callers, about: &messages::CREATE, run: |api, call| Box::pin(api.create_message(call)) },
    Route { method: Method::GET, path: "/messages/{id}", access: Callers, about: &messages::READ, run: |api, call| Box::pin(api.read_message(call)) },
    Route { method: Method::DELETE, path: "/messages/{id}", access: Callers, about: &messages::CANCEL, run: |api, call| Box::pin(api.cancel_message(call)) },
    Route { method: Method::GET, path: "/people/{psid}", access: Callers, about: &people::READ, run: |api, call| Box::pin(api.read_person(call)) },
    Route { method: Method::DELETE, path: "/people/{psid}", access: Callers, about: &people::ERASE, run: |api, call| Box::pin(api.erase_person(call)) },
    Route { method: Method::GET, path: "/events", access: Callers, about: &events::PULL, run: |api, call| Box::pin(api.pull_events(call)) },
    Route { method: Method::GET, path: "/applications", access: Callers, about: &applications::LIST, run: |api, _| Box::pin(api.list_applications()) },
    Route { method: Method::POST, path: "/data-deletion", access: Everybody, about: &deletion::BEGIN, run: |api, call| Box::pin(api.begin_deletion(call)) },
    Route { method: Method::GET, path: "/data-deletion/{code}", access: Everybody, about: &deletion::READ, run: |api, call| Box::pin(api.read_deletion(call)) },
    Route { method: Method::GET, path: "/openapi.json", access: Callers, about: &openapi::READ, run: |_, _| Box::pin(async { openapi::answer() }) },
];

/// What was found for a method and a path.
pub(crate) enum Found {
    Route(&'static Route, HashMap<&'static str, String>),
    /// The path takes these methods only.
    OtherMethods(String),
    Nothing,
}

/// Finds what answers to a method and a path.
pub(crate) fn find(method: &Method, path: &str) -> Found {
    let mut methods = Vec::new();
    for route in &ROUTES {
        let Some(parameters) = parameters(route.path, path) else { continue };
        if route.method == *method {
            return Found::Route(route, parameters);
        }
        methods.push(route.method.as_str());
    }
    if methods.is_empty() { Found::Nothing } else { Found::OtherMethods(methods.join(", ")) }
}

/// The parts of a path that stand in braces in a pattern, if the path fits it.
fn parameters(pattern: &'static str, path: &str) -> Option<HashMap<&'static str, String>> {
    let mut found = HashMap::new();
    let mut parts = path.split('/');
    for wanted in pattern.split('/') {
        let part = percent_decode_str(parts.next()?).decode_utf8().ok()?;
        match wanted.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) if !part.is_empty() => {
                found.insert(name, part.into_owned());
            }
            None if part == wanted => {}
            _ => return None,
        }
    }
    parts.next().is_none().then_some(found)
}

/// A request to a route.
pub(crate) struct Call<'a> {
    pub(crate) request: &'a Request,
    pub(crate) parameters: HashMap<&'static str, String>,
    pub(crate) invocation: &'a str,
    pub(crate) deadline: Timestamp,
}

impl Call<'_> {
    /// A part of the path.
    pub(crate) fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }

    /// A parameter of the query, which must be there.
    pub(crate) fn query(&self, name: &str) -> Result<String, Problem> {
        let parameters = self.request.query_string_parameters();
        let value = parameters.first(name).filter(|value| !value.is_empty());
        value.map(str::to_owned).ok_or_else(|| Problem::wrong(name, "is missing in the query"))
    }

    /// A parameter of the query, if it is there.
    pub(crate) fn optional_query(&self, name: &str) -> Option<String> {
        self.request.query_string_parameters().first(name).map(str::to_owned)
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Result<Value, Problem> {
        let body = self.body("application/json")?;
        serde_json::from_slice(body).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            let message = format!("the body is not JSON ({place})");
            Problem::new(StatusCode::BAD_REQUEST, "invalid_json", message)
        })
    }

    /// The body, which must be of this type.
    pub(crate) fn body(&self, wanted: &str) -> Result<&[u8], Problem> {
        let given = self.request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let given = given.and_then(|given| given.split(';').next()).unwrap_or_default();
        if !given.trim().eq_ignore_ascii_case(wanted) {
            let message = format!("the body must be {wanted}");
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Problem::new(status, "unsupported_media_type", message).at("content-type"));
        }
        let body: &[u8] = self.request.body();
        if body.len() > LARGEST_BODY {
            let message = format!("the body has more than {LARGEST_BODY} bytes");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message));
        }
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &Method, path: &str) -> Option<(&'static str, Vec<String>)> {
        match find(method, path) {
            Found::Route(route, parameters) => {
                Some((route.path, parameters.into_values().collect()))
            }
            _ => None,
        }
    }

    #[test]
    fn a_path_leads_to_one_route() {
        let is = |path, value: &str| Some((path, vec![value.to_owned()]));
        assert_eq!(found(&Method::GET, "/messages/a%3Ab"), is("/messages/{id}", "a:b"));
        assert_eq!(found(&Method::DELETE, "/people/5"), is("/people/{psid}", "5"));
        assert_eq!(found(&Method::POST, "/messages"), Some(("/messages", vec![])));
        for path in ["/", "/messages/", "/messages/a/b", "/people", "/Messages", "/people/%ff"] {
            assert!(matches!(find(&Method::GET, path), Found::Nothing), "{path}");
        }
    }

    #[test]
    fn another_method_is_told_which_are_taken() {
        let Found::OtherMethods(methods) = find(&Method::PUT, "/messages/x") else {
            panic!("a route for PUT");
        };
        assert_eq!(methods, "GET, DELETE");
    }
}
