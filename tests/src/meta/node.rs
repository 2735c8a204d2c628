//! The Graph API apart from the Send API: routing and authentication of its calls.

use serde_json::{Map, Value};

use super::answer::{Answer, Refusal};
use super::graph::Arrival;
use super::instagram::Host;
use super::tokens::Holder;
use super::{Meta, State};

/// A call of a node or an edge.
#[derive(Clone, Debug)]
pub(super) struct NodeCall {
    pub(super) host: Host,
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

    /// A value of an enumeration, which may come in capitals: Meta's own SDK writes them so.
    pub(super) fn choice(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_ascii_lowercase)
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

impl NodeCall {
    /// The edge that is called; `node` if it is a node itself.
    fn edge(&self) -> &str {
        match self.path.as_slice() {
            [.., edge] if self.path.len() > 1 => edge,
            _ => "node",
        }
    }

    /// The person that it is about.
    fn psid(&self) -> Option<&str> {
        match (self.value("recipient"), self.path.as_slice()) {
            (Value::String(psid), _) => Some(psid),
            (Value::Object(recipient), _) => recipient.get("id").and_then(Value::as_str),
            (_, [node]) => Some(node),
            _ => self.text("user_id"),
        }
    }
}

/// The body of an answer, or an error.
pub(super) type Answered = Result<Value, Refusal>;

impl Meta {
    /// Answers a call.
    pub(super) async fn call(&self, call: NodeCall) -> Answer {
        let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
        let answered = match (call.method.as_str(), path.as_slice()) {
            ("POST", [node, "messages"]) => return self.receive(&Arrival::at(node, &call)),
            ("POST", [] | ["me"]) if !call.value("batch").is_null() => {
                Box::pin(self.batch(&call)).await
            }
            ("POST", [app_id, "subscriptions"]) if call.host == Host::Facebook => {
                self.state().note(&call);
                self.subscribe_app(app_id, &call).await
            }
            (method, path) => {
                let mut state = self.state();
                let fault = state.take_fault(call.edge(), call.psid());
                let instead = fault.as_ref().and_then(|fault| state.instead("", fault));
                let answer = if let Some((_, answer)) = instead {
                    answer
                } else if let Some(answered) = state.answer(method, path, &call, self.now()) {
                    state.written(answered)
                } else {
                    drop(state);
                    return self.receive(&Arrival::unknown(call.host));
                };
                state.note(&call);
                return match fault {
                    Some(fault) => state.afterwards("", &fault, answer),
                    None => answer,
                };
            }
        };
        self.state().written(answered)
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
}

impl State {
    fn written(&mut self, answered: Answered) -> Answer {
        match answered {
            Ok(body) => Answer::Json { http: 200, usage: None, body },
            Err(refusal) => self.error("", 0, &refusal),
        }
    }

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
        if call.host == Host::Instagram {
            return self.answer_on_instagram(method, path, call, now);
        }
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
            ("GET", [app_id]) if self.is_app(app_id) => self.app_node(app_id, call, now),
            ("GET", [page_id]) if *page_id == "me" || self.is_page(page_id) => {
                self.page_node(page_id, call, now)
            }
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
            Holder::Page(_) if self.is_no_sender(call.host, node) => {
                Err(Refusal::invalid("Tried accessing nonexisting field on node type (IGUser)"))
            }
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
        let page = &self.pages[page_id];
        let scope = match page.host() {
            Host::Facebook => scope,
            Host::Instagram => "instagram_business_manage_messages",
        };
        if page.scopes.iter().any(|granted| granted == scope) {
            return Ok(());
        }
        let message = format!("(#200) Requires {scope} permission to manage the object");
        Err(Refusal::new(403, 200, None, &message))
    }
}
