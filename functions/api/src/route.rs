//! What a route is, and which one a request takes.

use std::collections::{BTreeMap, HashMap};

use futures_util::future::BoxFuture;
use lambda_http::http::header::CONTENT_TYPE;
use lambda_http::http::{Method, StatusCode};
use lambda_http::{Request, RequestExt};
use messenger::clock::Timestamp;
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::path::{HttpMethod, Operation};
use utoipa::openapi::schema::Schema;

use crate::answer::Answer;
use crate::api::Api;
use crate::auth::Caller;
use crate::problem::Problem;

/// The most bytes of a body: ten messages of the largest size have fewer.
const LARGEST_BODY: usize = 256 * 1024;

/// A handler, with the operation of the `OpenAPI` document that its `utoipa::path` attribute describes.
pub(crate) struct Route {
    pub(crate) access: Access,
    pub(crate) methods: fn() -> Vec<HttpMethod>,
    pub(crate) path: fn() -> String,
    pub(crate) operation: fn() -> Operation,
    pub(crate) schemas: fn(&mut Vec<(String, RefOr<Schema>)>),
    pub(crate) run: Run,
}

type Run = for<'a> fn(&'a Api, Call<'a>) -> BoxFuture<'a, Result<Answer, Problem>>;

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Authenticated callers.
    Callers,
    /// Everybody: the request itself proves that it is permitted.
    Everybody,
}

/// A route: who may call it, its handler, and the type that its `utoipa::path` attribute describes.
macro_rules! route {
    ($access:ident, $handler:path, $operation:path) => {
        $crate::route::Route {
            access: $crate::route::Access::$access,
            methods: <$operation as utoipa::Path>::methods,
            path: <$operation as utoipa::Path>::path,
            operation: <$operation as utoipa::Path>::operation,
            schemas: <$operation as utoipa::__dev::SchemaReferences>::schemas,
            run: |api, call| Box::pin($handler(api, call)),
        }
    };
}
pub(crate) use route;

/// The routes by path and method.
pub(crate) struct Router {
    routes: &'static [Route],
    paths: matchit::Router<Vec<(Method, &'static Route)>>,
}

/// What was found for a method and a path.
pub(crate) enum Found {
    Route(&'static Route, HashMap<String, String>),
    /// The path takes these methods only.
    OtherMethods(String),
    Nothing,
}

impl Router {
    pub(crate) fn new(routes: &'static [Route]) -> Self {
        let mut by_path: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for route in routes {
            let methods = (route.methods)().into_iter().map(|of| (method(&of), route));
            by_path.entry((route.path)()).or_default().extend(methods);
        }
        let mut paths = matchit::Router::new();
        for (path, methods) in by_path {
            if let Err(error) = paths.insert(path, methods) {
                tracing::error!(%error, "a route cannot be reached");
            }
        }
        Self { routes, paths }
    }

    /// All routes, for their document.
    pub(crate) fn routes(&self) -> &'static [Route] {
        self.routes
    }

    /// Finds the route of a method and a path, whose parameters are as they came.
    pub(crate) fn find(&self, wanted: &Method, path: &str) -> Found {
        let Ok(found) = self.paths.at(path) else { return Found::Nothing };
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let parameters = found.params.iter().map(owned).collect();
        if let Some((_, route)) = found.value.iter().find(|(method, _)| method == wanted) {
            return Found::Route(route, parameters);
        }
        let methods = found.value.iter().map(|(method, _)| method.as_str());
        Found::OtherMethods(methods.collect::<Vec<_>>().join(", "))
    }
}

/// The path of a request, decoded or not: see [`check_parameters`].
pub(crate) fn path(request: &Request) -> &str {
    // The URI of a request to an HTTP API is made from the decoded path, and ends where that holds a `?`.
    let raw = request.raw_http_path();
    if raw.is_empty() { request.uri().path() } else { raw }
}

/// Accepts only parameters that read the same whether or not the path was decoded on its way.
///
/// An HTTP API decodes the path, a function URL and a local server pass it as it was sent, and nothing
/// in a request says which of them it came through. To decode it would make `a%2541` of one into another
/// id, and nobody must erase the wrong person.
pub(crate) fn check_parameters(parameters: &HashMap<String, String>) -> Result<(), Problem> {
    match parameters.iter().find(|(_, value)| !value.bytes().all(is_never_encoded)) {
        None => Ok(()),
        Some((name, _)) => {
            let message = "must consist of letters, digits and -._~!$&'()*+,;=:@, which need no percent-encoding in a path";
            Err(Problem::new(StatusCode::BAD_REQUEST, "invalid_path", message).at(name))
        }
    }
}

/// What a parameter of a path consists of, as a regular expression: see [`is_never_encoded`].
pub(crate) const PATH_PARAMETER: &str = "^[A-Za-z0-9._~!$&'()*+,;=:@-]+$";

/// Whether RFC 3986 allows a byte in a segment of a path as it is.
fn is_never_encoded(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte)
}

fn method(method: &HttpMethod) -> Method {
    match method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
        HttpMethod::Delete => Method::DELETE,
        HttpMethod::Options => Method::OPTIONS,
        HttpMethod::Head => Method::HEAD,
        HttpMethod::Patch => Method::PATCH,
        HttpMethod::Trace => Method::TRACE,
    }
}

/// A request to a route.
pub(crate) struct Call<'a> {
    pub(crate) request: &'a Request,
    pub(crate) caller: Caller,
    pub(crate) parameters: HashMap<String, String>,
    pub(crate) invocation: &'a str,
    pub(crate) deadline: Timestamp,
    /// All routes, for their document.
    pub(crate) routes: &'static [Route],
}

impl Call<'_> {
    /// A parameter of the path.
    pub(crate) fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }

    /// A required parameter of the query.
    pub(crate) fn query(&self, name: &str) -> Result<String, Problem> {
        let parameters = self.request.query_string_parameters();
        let value = parameters.first(name).filter(|value| !value.is_empty());
        value.map(str::to_owned).ok_or_else(|| Problem::wrong(name, "is missing in the query"))
    }

    /// An optional parameter of the query.
    pub(crate) fn optional_query(&self, name: &str) -> Option<String> {
        self.request.query_string_parameters().first(name).map(str::to_owned)
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Result<Value, Problem> {
        let body = self.body("application/json")?;
        serde_json::from_slice(body).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            let message = format!("the body is not valid JSON ({place})");
            Problem::new(StatusCode::BAD_REQUEST, "invalid_json", message)
        })
    }

    /// The body, which must be of this media type.
    pub(crate) fn body(&self, wanted: &str) -> Result<&[u8], Problem> {
        let given = self.request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let given = given.and_then(|given| given.split(';').next()).unwrap_or_default();
        if !given.trim().eq_ignore_ascii_case(wanted) {
            let message = format!("must be {wanted}");
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
