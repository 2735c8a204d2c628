//! The Graph API apart from the Send API: routing and authentication of its calls.

use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Map, Value, json};

use super::answer::{Answer, Refusal};
use super::tokens::Holder;
use super::{Meta, State};

/// A call of a node or an edge.
#[derive(Clone, Debug)]
pub(super) struct NodeCall {
    pub(super) method: String,
    /// The path's parts after the version.
    pub(super) path: Vec<String>,
    /// Query and body together, as Meta reads them.
    pub(super) parameters: Map<String, Value>,
    pub(super) token: Option<String>,
    pub(super) proof: Option<String>,
}

impl NodeCall {
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    pub(super) fn value(&self, name: &str) -> &Value {
        self.parameters.get(name).unwrap_or(&Value::Null)
    }

    /// A list, which may come as one text with commas.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        match self.value(name) {
            Value::String(text) if text.starts_with('[') => {
                serde_json::from_str(text).unwrap_or_default()
            }
            Value::String(text) => text
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect(),
            Value::Array(items) => {
                items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// The body of an answer, or an error.
pub(super) type Answered = Result<Value, Refusal>;

impl Meta {
    /// Answers a call; `None` if Graph has nothing at its path.
    pub(super) async fn call(&self, call: NodeCall) -> Option<Answer> {
        let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
        let answered = match (call.method.as_str(), path.as_slice()) {
            ("POST", []) => Box::pin(self.batch(&call)).await,
            ("POST", [app_id, "subscriptions"]) => {
                self.state().note(&call);
                self.subscribe_app(app_id, &call).await
            }
            (method, path) => {
                let mut state = self.state();
                let answered = state.answer(method, path, &call, self.now())?;
                state.note(&call);
                answered
            }
        };
        Some(match answered {
            Ok(body) => Answer::Json { http: 200, usage: None, body },
            Err(refusal) => self.state().error("", 0, &refusal),
        })
    }

    /// The calls that reached Graph so far, except those of the Send API, such as
    /// `POST /100000000000001/subscribed_apps`, in order. A batch counts as its parts.
    pub fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }

    /// Takes the calls made since the last time.
    pub fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.state().calls)
    }

    /// A batch request, with its parameters in the body.
    async fn batch(&self, call: &NodeCall) -> Answered {
        let parts = match call.value("batch") {
            Value::Array(parts) => parts.clone(),
            Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
            _ => Vec::new(),
        };
        if parts.is_empty() {
            return Err(Refusal::invalid("The parameter batch is required"));
        }
        let mut answers = Vec::new();
        for part in parts {
            let url = part["relative_url"].as_str().unwrap_or_default().trim_start_matches('/');
            let (path, query) = url.split_once('?').unwrap_or((url, ""));
            let parameters =
                axum::http::Uri::builder().path_and_query(format!("/?{query}")).build();
            let parameters = parameters.ok().and_then(|uri| {
                axum::extract::Query::<Map<String, Value>>::try_from_uri(&uri).ok()
            });
            let inner = NodeCall {
                method: part["method"].as_str().unwrap_or("GET").to_owned(),
                path: path.split('/').map(str::to_owned).collect(),
                parameters: parameters.map(|query| query.0).unwrap_or_default(),
                token: call.token.clone(),
                proof: call.proof.clone(),
            };
            let answer = Box::pin(self.call(inner)).await;
            let (code, body) = match answer {
                Some(Answer::Json { http, body, .. }) => (http, body),
                _ => (400, json!({"error": {"message": "Unknown path components", "code": 2500}})),
            };
            answers.push(json!({"code": code, "body": body.to_string()}));
        }
        Ok(answers.into())
    }
}

impl State {
    fn note(&mut self, call: &NodeCall) {
        self.calls.push(format!("{} /{}", call.method, call.path.join("/")));
    }

    fn answer(
        &mut self,
        method: &str,
        path: &[&str],
        call: &NodeCall,
        now: i64,
    ) -> Option<Answered> {
        Some(match (method, path) {
            ("GET", [app_id, "subscriptions"]) => self.app_subscriptions(app_id, call, now),
            ("DELETE", [app_id, "subscriptions"]) => self.unsubscribe_app(app_id, call, now),
            (_, [page_id, "subscribed_apps"]) => self.subscribed_apps(page_id, call, now),
            (_, [node, "messenger_profile"]) => self.messenger_profile(node, call, now),
            ("GET", ["me", "accounts"]) => self.accounts(call, now),
            ("GET", ["debug_token"]) => self.debug_token(call, now),
            ("GET", [page_id, "thread_owner"]) => self.thread_owner(page_id, call, now),
            ("POST", [page_id, edge]) if edge.ends_with("_thread_control") => {
                self.control_thread(page_id, edge, call, now)
            }
            ("GET", [page_id, "conversations"]) => self.conversations(page_id, call, now),
            ("GET", [page_id, "message_templates"]) => self.templates(page_id, call, now),
            ("POST", [page_id, "message_templates"]) => self.create_template(page_id, call, now),
            ("POST", [page_id, "message_attachments"]) => self.upload(page_id, call, now),
            ("GET" | "POST", [page_id, "personas"]) => self.personas(page_id, call, now),
            ("GET" | "DELETE", [id]) if self.has_persona(id) => self.persona(id, call, now),
            ("GET", [person, "ids_for_pages"]) => self.ids_for_pages(person, call, now),
            ("GET", [account_id]) if self.whatsapp_accounts.contains_key(*account_id) => {
                self.whatsapp_account(account_id, call, now)
            }
            ("GET", [id]) if id.bytes().all(|digit| digit.is_ascii_digit()) => {
                self.user_profile(id, call, now)
            }
            _ => return None,
        })
    }

    /// Requires that a call is made as this Page; `me` is the token's.
    pub(super) fn as_page(&self, node: &str, call: &NodeCall, now: i64) -> Result<String, Refusal> {
        match self.holder(call, now)? {
            Holder::Page(page_id) if node == "me" || node == page_id => Ok(page_id),
            Holder::Page(_) if self.pages.contains_key(node) => {
                let message = "(#200) The access token does not belong to this Page";
                Err(Refusal::new(403, 200, None, message))
            }
            Holder::Page(_) => {
                Err(Refusal::new(400, 100, Some(33), "Unsupported request. Object does not exist"))
            }
            _ => {
                let message = "(#210) A page access token is required to request this resource.";
                Err(Refusal::new(400, 210, None, message))
            }
        }
    }

    /// Requires a permission of a Page's token.
    pub(super) fn demand(&self, page_id: &str, scope: &str) -> Result<(), Refusal> {
        if self.pages[page_id].scopes.iter().any(|granted| granted == scope) {
            return Ok(());
        }
        let message = format!("(#200) Requires {scope} permission to manage the object");
        Err(Refusal::new(403, 200, None, &message))
    }
}

/// Gets a URL and returns status and body; `None` if there is no answer.
pub(super) async fn get(url: &str) -> Option<(u16, String)> {
    use http_body_util::{BodyExt, Empty};
    let http = Client::builder(TokioExecutor::new()).build_http::<Empty<axum::body::Bytes>>();
    let answer = http.get(url.parse().ok()?).await.ok()?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.ok()?.to_bytes();
    Some((status, String::from_utf8_lossy(&body).into_owned()))
}
