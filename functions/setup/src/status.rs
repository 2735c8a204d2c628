//! How everything stands: what is well, what is wrong, and how to mend it.

use std::time::Duration;

use backend::graph::{Fault, GraphError};
use backend::secrets::Secret;
use messenger::clock::Timestamp;

use crate::Setup;
use crate::app::{App, mend_app, mend_page};
use crate::profile::Profile;
use crate::register::{is_as_wanted, mend_of, usable};
use crate::report::Report;
use crate::subscriptions::{Fields, PAGE_FIELDS, lacking};
use crate::token::TokenFacts;

/// Until when Meta serves each version of Graph.
///
/// Source: Meta's Graph API changelog, as of November 2026.
const VERSION_ENDS: [(&str, &str); 5] = [
    ("v21.0", "2027-01-21T00:00:00Z"),
    ("v22.0", "2027-05-20T00:00:00Z"),
    ("v23.0", "2027-10-08T00:00:00Z"),
    ("v24.0", "2028-02-18T00:00:00Z"),
    ("v25.0", "2028-07-29T00:00:00Z"),
];

/// The version whose end is not announced.
const NEWEST_VERSION: &str = "v26.0";

/// What ends within this time is warned of.
const SOON: Duration = Duration::from_hours(14 * 24);

/// The end of a version is warned of for longer, because leaving it takes work.
const SOON_FOR_VERSIONS: Duration = Duration::from_hours(90 * 24);

/// Meta's clock is told in whole seconds, and its answer takes a while.
const UNSUSPICIOUS_SKEW: Duration = Duration::from_secs(5);

const REGISTER: &str = "invoke the setup function with {\"action\":\"register\"}";

impl Setup {
    pub(crate) async fn status(&self, secret: &Secret) -> Report {
        let mut report = Report::default();
        self.check_version(&mut report);
        let profile = Profile::of_file();
        if let Err(error) = &profile {
            report.wrong("Messenger profile", error.to_string(), "mend the file and deploy");
        }
        let profile = profile.ok();
        let mut told_time = None;
        for (key, application) in secret.applications() {
            let Some(app) = usable(key, application, &mut report) else {
                continue;
            };
            let app_fields = self.check_app(&app, &mut told_time, &mut report).await;
            for page_id in application.page_ids() {
                let name = app.name_of_page(page_id);
                self.check_token(&app, page_id, &name, &mut report).await;
                self.check_page_fields(&app, page_id, app_fields.as_ref(), &mut report).await;
                if let Some(profile) = &profile {
                    self.check_profile(&app, page_id, profile, &mut report).await;
                }
                self.check_pause(page_id, secret, &name, &mut report).await;
            }
        }
        self.check_clock(told_time, &mut report);
        report.note(
            "stack",
            "Meta does not tell whether an app may use HUMAN_AGENT",
            "if people answer after 24 hours, look under App Review for Human Agent; the metric PermissionMissing counts refusals",
        );
        report
    }

    fn check_version(&self, report: &mut Report) {
        let version = self.outbox.graph().settings().version.as_str();
        let mend = "set the template's parameter GraphVersion to a newer version";
        let end = VERSION_ENDS.iter().find(|(known, _)| *known == version);
        match end.and_then(|(_, end)| Timestamp::from_rfc3339(end)) {
            Some(end) if self.clock.now() >= end => {
                report.wrong("stack", format!("Graph {version} ended on {end}"), mend);
            }
            Some(end) if self.clock.now() + SOON_FOR_VERSIONS >= end => {
                report.warning("stack", format!("Graph {version} ends on {end}"), mend);
            }
            Some(end) => report.good("stack", format!("Graph {version} is served until {end}")),
            None if version == NEWEST_VERSION => {
                report.good("stack", format!("Graph {version} has no announced end"));
            }
            None => report.note(
                "stack",
                format!("Graph {version} is not in the table of versions"),
                "look its end up in Meta's changelog",
            ),
        }
    }

    /// Compares our clock with Meta's: windows and proofs depend on it.
    fn check_clock(&self, told: Option<(Timestamp, Timestamp)>, report: &mut Report) {
        let Some((theirs, ours)) = told else {
            return;
        };
        let skew = ours.since(theirs).max(theirs.since(ours));
        if skew <= UNSUSPICIOUS_SKEW {
            report.good("stack", "our clock agrees with Meta's");
            return;
        }
        let finding = format!("our clock and Meta's differ by {} s", skew.as_secs());
        let margin = self.outbox.settings().policy.margin;
        if skew < margin {
            report.warning("stack", finding, "windows still have their safety margin");
        } else {
            let mend = "mend the clock; until then messages may leave outside of their window";
            report.wrong("stack", finding, mend);
        }
    }

    /// Checks the app's level of subscription: the fields that it has for Pages.
    async fn check_app(
        &self,
        app: &App<'_>,
        told_time: &mut Option<(Timestamp, Timestamp)>,
        report: &mut Report,
    ) -> Option<Fields> {
        let name = app.name();
        let subscriptions = match self.app_subscriptions(app).await {
            Ok(subscriptions) => subscriptions,
            Err(error) => {
                let finding = format!("its subscriptions cannot be read: {error}");
                report.wrong(&name, finding, mend_app(&error));
                return None;
            }
        };
        *told_time = subscriptions.date.map(|theirs| (theirs, self.clock.now())).or(*told_time);
        let callback_url = self.settings.callback_url(app.key);
        for (object, fields) in self.objects() {
            match subscriptions.of(object) {
                None => report.wrong(&name, format!("{object}: not subscribed"), REGISTER),
                Some(there) if is_as_wanted(there, &callback_url, fields) => {
                    report.good(&name, format!("{object}: subscribed, callback {callback_url}"));
                }
                Some(there) if there.callback_url != callback_url => {
                    let elsewhere = &there.callback_url;
                    report.wrong(
                        &name,
                        format!("{object}: its callback is {elsewhere}, not {callback_url}"),
                        REGISTER,
                    );
                }
                Some(there) if !there.is_active => {
                    report.wrong(&name, format!("{object}: Meta has switched it off"), REGISTER);
                }
                Some(there) => {
                    let lacking = lacking(fields, &there.fields).join(", ");
                    report.wrong(&name, format!("{object}: lacks the fields {lacking}"), REGISTER);
                }
            }
        }
        Some(subscriptions.of("page").map(|page| page.fields.clone()).unwrap_or_default())
    }

    async fn check_token(&self, app: &App<'_>, page_id: &str, name: &str, report: &mut Report) {
        let Ok(page) = app.application.page(page_id) else {
            return;
        };
        match self.debug_token(app, &page.access_token).await {
            Ok(facts) => self.check_token_facts(&facts, app, page_id, name, report),
            Err(error) => {
                let finding = format!("its token cannot be looked at: {error}");
                report.wrong(name, finding, mend_app(&error));
            }
        }
    }

    fn check_token_facts(
        &self,
        facts: &TokenFacts,
        app: &App<'_>,
        page_id: &str,
        name: &str,
        report: &mut Report,
    ) {
        let new_token = mend_page(&GraphError::from(Fault::TokenDead));
        let of_another_page = facts.profile_id.as_deref().is_some_and(|id| id != page_id);
        if !facts.is_valid {
            return report.wrong(name, "its token is dead", new_token);
        }
        if facts.kind != "PAGE" {
            let kind = facts.kind.to_lowercase();
            return report.wrong(name, format!("its token is a {kind} token"), new_token);
        }
        if facts.app_id != app.id {
            return report.wrong(name, "its token belongs to another app", new_token);
        }
        if of_another_page {
            return report.wrong(name, "its token is another Page's", new_token);
        }
        let soon = self.clock.now() + SOON;
        match (facts.expires_at, facts.data_access_expires_at) {
            (Some(end), _) if end <= soon => {
                report.warning(name, format!("its token is valid until {end}"), new_token);
            }
            (_, Some(end)) if end <= soon => {
                let finding = format!("its token shows no more data from {end} on");
                report.warning(name, finding, new_token);
            }
            (Some(end), _) => report.good(name, format!("its token is valid until {end}")),
            (None, _) => report.good(name, "its token is valid and does not expire"),
        }
        for (scope, what) in
            [("pages_messaging", "messages"), ("pages_manage_metadata", "subscriptions")]
        {
            if facts.has_scope(scope) {
                report.good(name, format!("its token has {scope}"));
            } else {
                let finding = format!("its token lacks {scope}, which {what} need");
                report.wrong(name, finding, mend_page(&Fault::PermissionMissing.into()));
            }
        }
        if ["page_utility_messaging", "pages_utility_messaging"].iter().any(|s| facts.has_scope(s))
        {
            report.good(name, "its token may send utility templates");
        } else {
            report.note(
                name,
                "its token lacks page_utility_messaging: utility templates are refused",
                "request that permission if you send them",
            );
        }
    }

    /// Checks the Page's level of subscription against the app's: a field needs both.
    async fn check_page_fields(
        &self,
        app: &App<'_>,
        page_id: &str,
        app_fields: Option<&Fields>,
        report: &mut Report,
    ) {
        let name = app.name_of_page(page_id);
        let page_fields = match self.page_fields(app, page_id).await {
            Ok(fields) => fields,
            Err(error) => {
                let finding = format!("its subscription cannot be read: {error}");
                return report.wrong(&name, finding, mend_of(&error, mend_page));
            }
        };
        let at_page = lacking(&PAGE_FIELDS, &page_fields);
        let at_app = app_fields.map(|fields| lacking(&PAGE_FIELDS, fields)).unwrap_or_default();
        if at_page.is_empty() && at_app.is_empty() {
            return report.good(&name, "subscribed at both levels");
        }
        for (level, lacking) in [("the Page", at_page), ("the app", at_app)] {
            if !lacking.is_empty() {
                let fields = lacking.join(", ");
                let finding = format!("these events do not come, for lack at {level}: {fields}");
                report.wrong(&name, finding, REGISTER);
            }
        }
    }

    async fn check_profile(
        &self,
        app: &App<'_>,
        page_id: &str,
        profile: &Profile,
        report: &mut Report,
    ) {
        let name = app.name_of_page(page_id);
        match self.profile_lacks(app, page_id, profile).await {
            Ok(lacking) if lacking.is_empty() => report.good(&name, "its profile is as wanted"),
            Ok(lacking) => {
                let names = lacking.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                report.warning(&name, format!("its profile differs in {names}"), REGISTER);
            }
            Err(error) => {
                let finding = format!("its profile cannot be read: {error}");
                report.wrong(&name, finding, mend_of(&error, mend_page));
            }
        }
    }

    async fn check_pause(&self, page_id: &str, secret: &Secret, name: &str, report: &mut Report) {
        let page = match self.outbox.store().page(page_id).await {
            Ok(page) => page,
            Err(error) => {
                let finding = format!("its pause cannot be read: {error}");
                return report.wrong(name, finding, "see whether the table is there");
            }
        };
        let Some(until) = page.paused_until.filter(|until| self.clock.now() < *until) else {
            return report.good(name, "not paused");
        };
        let reason = page.pause_reason.unwrap_or_default();
        match page.pause_version {
            Some(version) if version == secret.version => {
                let finding = format!("paused until the secret changes ({reason})");
                report.wrong(name, finding, mend_page(&Fault::TokenDead.into()));
            }
            Some(_) => report.note(
                name,
                format!("paused ({reason}) under an older secret"),
                "the next run of the schedule ends the pause",
            ),
            None => {
                let finding = format!("paused until {until} ({reason})");
                report.warning(name, finding, "messages wait and go out after it; nothing is lost");
            }
        }
    }
}
