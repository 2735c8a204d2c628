//! The Pages of a user, and the page-scoped ids of a person.
//!
//! Source: Meta's Pages API (`/me/accounts`, with cursors) and its ID matching (`ids_for_pages`).

use serde_json::{Value, json};

use super::answer::Refusal;
use super::node::{Answered, NodeCall};
use super::tokens::Holder;
use super::{Meta, State};

/// The default number of Pages in one answer.
const AT_ONCE: usize = 25;

impl Meta {
    /// Links an app-scoped id to a PSID of a Page.
    pub fn add_app_scoped_id(&self, app_scoped_id: &str, page_id: &str, psid: &str) {
        let ids = (page_id.to_owned(), psid.to_owned());
        self.state().app_scoped_ids.entry(app_scoped_id.to_owned()).or_default().push(ids);
    }
}

impl State {
    pub(super) fn accounts(&self, call: &NodeCall, now: i64) -> Answered {
        if !matches!(self.holder(call, now)?, Holder::User(_) | Holder::SystemUser(_)) {
            let message = "(#100) Tried accessing nonexisting field (accounts)";
            return Err(Refusal::new(400, 100, None, message));
        }
        let token = call.token.as_deref().unwrap_or_default();
        let Some(user) = self.user_tokens.get(token) else {
            return Err(Refusal::invalid("The user does not exist"));
        };
        if !user.scopes.iter().any(|scope| scope == "pages_show_list") {
            let message = "(#200) Requires pages_show_list permission";
            return Err(Refusal::new(403, 200, None, message));
        }
        let limit = call.text("limit").and_then(|limit| limit.parse().ok()).unwrap_or(AT_ONCE);
        let start: usize = call.text("after").and_then(|after| after.parse().ok()).unwrap_or(0);
        let shown = user.pages.iter().skip(start).take(limit);
        let data: Vec<_> = shown.map(|page_id| self.account(page_id)).collect();
        let end = start + data.len();
        let mut paging =
            json!({"cursors": {"before": start.to_string(), "after": end.to_string()}});
        if end < user.pages.len() {
            let next =
                format!("https://graph.facebook.com/me/accounts?access_token={token}&after={end}");
            paging["next"] = next.into();
        }
        Ok(json!({"data": data, "paging": paging}))
    }

    fn account(&self, page_id: &str) -> Value {
        json!({
            "access_token": self.pages.get(page_id).and_then(|page| page.token.as_ref()),
            "category": "Restaurant",
            "category_list": [{"id": "273819889375819", "name": "Restaurant"}],
            "name": format!("Page {page_id}"),
            "id": page_id,
            "tasks": ["ADVERTISE", "ANALYZE", "CREATE_CONTENT", "MESSAGING", "MODERATE", "MANAGE"],
        })
    }

    /// The ids of a person, given by the id in the calling app, at the app's Pages.
    pub(super) fn ids_for_pages(&self, app_scoped_id: &str, call: &NodeCall, now: i64) -> Answered {
        let app_id = match self.holder(call, now)? {
            Holder::App(app_id) => app_id,
            Holder::Page(page_id) => self.pages[&page_id].app_id.clone(),
            _ => return Err(Refusal::invalid("An app or Page access token is required")),
        };
        let Some(ids) = self.app_scoped_ids.get(app_scoped_id) else {
            return Err(Refusal::new(400, 100, Some(33), "Unsupported get request."));
        };
        let is_wanted = |page_id: &str| {
            self.pages.get(page_id).is_some_and(|page| page.app_id == app_id)
                && call.text("page").is_none_or(|wanted| wanted == page_id)
        };
        let data = ids.iter().filter(|(page_id, _)| is_wanted(page_id)).map(|(page_id, psid)| {
            json!({"id": psid, "page": {"id": page_id, "name": format!("Page {page_id}")}})
        });
        Ok(json!({"data": data.collect::<Vec<_>>()}))
    }
}
