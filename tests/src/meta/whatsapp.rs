//! `WhatsApp` business accounts, and the tokens that can read them.
//!
//! Source: Meta's `WhatsApp` Business Management API; a token without access to the account gets error 200.

use serde_json::{Map, Value};

use super::answer::Refusal;
use super::node::{Answered, NodeCall};
use super::{Meta, State};

/// The fields of an answer to a call that names none.
const DEFAULT_FIELDS: [&str; 4] = ["id", "name", "timezone_id", "message_template_namespace"];

/// An account, and the tokens that can read it.
pub(super) struct WhatsAppAccount {
    fields: Value,
    tokens: Vec<String>,
}

impl Meta {
    /// Adds a `WhatsApp` business account that these tokens can read.
    pub fn add_whatsapp_account(&self, fields: Value, tokens: &[&str]) {
        let id = fields["id"].as_str().unwrap_or_default().to_owned();
        let tokens = tokens.iter().map(|token| (*token).to_owned()).collect();
        self.state().whatsapp_accounts.insert(id, WhatsAppAccount { fields, tokens });
    }
}

impl State {
    pub(super) fn whatsapp_account(&self, account_id: &str, call: &NodeCall, now: i64) -> Answered {
        self.holder(call, now)?;
        let account = &self.whatsapp_accounts[account_id];
        let token = call.token.as_deref().unwrap_or_default();
        if !account.tokens.iter().any(|allowed| allowed == token) {
            let message =
                "(#200) You do not have permission to access this WhatsApp Business Account";
            return Err(Refusal::new(403, 200, None, message));
        }
        let mut wanted = call.list("fields");
        if wanted.is_empty() {
            wanted = DEFAULT_FIELDS.map(str::to_owned).to_vec();
        }
        let fields = account.fields.as_object().into_iter().flatten();
        let shown: Map<_, _> = fields
            .filter(|(name, _)| wanted.contains(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        Ok(shown.into())
    }
}
