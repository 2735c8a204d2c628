//! What Meta thinks of a Page and an app: breaches of its policies, and whether the app can be live.

use std::time::Duration;

use backend::store::PageItem;

use crate::Setup;
use crate::app::App;
use crate::report::Report;

/// How long a warning of Meta's is reported: nothing says when it has been settled.
const WARNING_SHOWN: Duration = Duration::from_hours(24 * 30);

/// The most characters of Meta's reason that are shown.
const LONGEST_REASON: usize = 200;

impl Setup {
    /// Reports what Meta did about a Page's breach of its policies, as its notifications said.
    pub(crate) fn check_policy(&self, page: &PageItem, name: &str, report: &mut Report) {
        let (Some(action), Some(at)) = (page.policy_action.as_deref(), page.policy_at) else {
            return;
        };
        let reason: String =
            page.policy_reason.iter().flat_map(|it| it.chars()).take(LONGEST_REASON).collect();
        let because = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        match action {
            "block" => report.error(
                name,
                format!("Meta blocked it on {at}{because}"),
                "see the Page Quality tab of the Page, and request a review there; the end of the block is noted when Meta reports it",
            ),
            "unblock" => report.ok(name, format!("Meta ended its block on {at}")),
            _ if self.clock.now().since(at) < WARNING_SHOWN => report.warning(
                name,
                format!("Meta warned it on {at} ({action}){because}"),
                "see the Page Quality tab of the Page: after a warning Meta may block its messages",
            ),
            _ => {}
        }
    }

    /// Reports what keeps an app from being published.
    ///
    /// Meta has no field that says whether an app is published, but one for what that needs.
    /// Source: Meta's Graph API reference of the application node, and its documentation of app modes.
    pub(crate) async fn check_app_can_be_published(&self, app: &App<'_>, report: &mut Report) {
        let fields = [("fields", "privacy_policy_url")];
        let Ok(answer) = self.outbox.graph().get(&[app.id], app.access(), &fields).await else {
            return;
        };
        if answer.body["privacy_policy_url"].as_str().is_none_or(str::is_empty) {
            report.warning(
                &app.name(),
                "it has no privacy policy URL, without which Meta does not let it be published",
                "add one in the app's basic settings, and publish the app: until then only people with a role in it are heard and answered",
            );
        }
    }
}
