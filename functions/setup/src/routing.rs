//! Conversation routing: whether Meta gives a Page's conversations to this app.

use backend::graph::Access;

use crate::Setup;
use crate::app::{App, remedy_for_page};
use crate::report::Report;

/// How many of the newest conversations are looked at.
const NEWEST: &str = "20";

impl Setup {
    /// Looks at who owns the Page's newest conversations.
    ///
    /// Meta tells no app which one is the Page's default app, but whether it owns a conversation.
    /// Source: Meta's Messenger Platform documentation, conversation routing.
    pub(crate) async fn check_routing(&self, app: &App<'_>, page_id: &str, report: &mut Report) {
        let Ok(access) = app.access_of(page_id) else { return };
        let name = app.name_of(page_id);
        let parameters = [("platform", "messenger"), ("fields", "is_owner"), ("limit", NEWEST)];
        let path = [page_id, "conversations"];
        let answer = match self.outbox.graph().get(&path, access, &parameters).await {
            Ok(answer) => answer,
            Err(error) => {
                let finding = format!("cannot read to whom its conversations are routed: {error}");
                return report.warning(&name, finding, remedy_for_page(&error));
            }
        };
        let conversations = answer.body["data"].as_array().into_iter().flatten();
        let owned: Vec<_> = conversations.filter_map(|one| one["is_owner"].as_bool()).collect();
        let (all, ours) = (owned.len(), owned.iter().filter(|is_owner| **is_owner).count());
        self.check_routing_is_on(&name, page_id, access, report).await;
        match (all, ours) {
            (0, _) => {}
            (_, 0) => report.warning(
                &name,
                format!("another app, or the inbox, owns all of its {all} newest conversations"),
                "make this app the Page's default app for Messenger in the Page's settings under Conversation routing; if people are answering all of them just now, nothing is wrong",
            ),
            _ => report.ok(&name, format!("owns {ours} of its {all} newest conversations")),
        }
    }

    /// Reports whether conversations are routed at all: without it every app of the Page hears, and may
    /// answer, everything.
    async fn check_routing_is_on(
        &self,
        name: &str,
        page_id: &str,
        access: Access<'_>,
        report: &mut Report,
    ) {
        let fields = [("fields", "messaging_feature_status")];
        let Ok(answer) = self.outbox.graph().get(&[page_id], access, &fields).await else {
            return;
        };
        match answer.body["messaging_feature_status"]["hop_v2"].as_bool() {
            Some(true) => report.ok(name, "its conversations are routed"),
            Some(false) => report.note(
                name,
                "its conversations are not routed: each app of the Page gets every message, and the inbox too",
                "if several of them answer, choose a default app in the Page's settings under Conversation routing",
            ),
            None => {}
        }
    }
}
