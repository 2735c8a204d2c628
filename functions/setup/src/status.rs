//! The status report: what works, what does not, and how to fix it.

use std::time::Duration;

use backend::graph::{Fault, GraphError};
use backend::secrets::{Login, Secret, SecretError};
use futures_util::future::join;
use messenger::clock::Timestamp;

use crate::Setup;
use crate::app::{App, remedy_for_app, remedy_for_page, remedy_of};
use crate::instagram::report_mixed;
use crate::profile::Profile;
use crate::register::{is_complete, remedy_for};
use crate::report::Report;
use crate::subscriptions::Fields;
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

/// How long before it expires a token is reported.
pub(crate) const SOON: Duration = Duration::from_hours(24 * 14);

/// How long before its end a Graph version is reported: an upgrade takes work.
const SOON_FOR_VERSIONS: Duration = Duration::from_hours(24 * 90);

/// `Date` has a resolution of one second, and an answer takes a while.
const TOLERATED_SKEW: Duration = Duration::from_secs(5);

pub(crate) const REGISTER: &str = "invoke the setup function with {\"action\":\"register\"}";

impl Setup {
    pub(crate) async fn status(&self, secret: &Secret) -> Report {
        let mut report = Report::default();
        let (queues, pages) = join(self.queues.read(), self.read_pages(secret)).await;
        self.check_version(&mut report);
        let profile = Profile::of_file();
        if let Err(error) = &profile {
            report.error("Messenger profile", error.to_string(), "fix the file and deploy");
        }
        let profile = profile.ok();
        let mut clocks = None;
        for (key, application) in secret.applications() {
            if let Some(app) = self.usable(key, application, &mut report).await {
                self.check_application(&app, profile.as_ref(), &mut clocks, &mut report).await;
            }
            for page_id in application.page_ids() {
                if let Some(read) = pages.get(page_id) {
                    self.check_sending(key, application, (page_id, read), secret, &mut report);
                }
            }
        }
        self.check_follow_ups(&pages, &mut report);
        self.check_queues(&queues, &mut report);
        self.check_clock(clocks, &mut report);
        report.note(
            "stack",
            "Meta does not report whether an app may use HUMAN_AGENT",
            "if people answer after 24 hours, check App Review for Human Agent; the metric PermissionMissing counts refusals",
        );
        report.note(
            "stack",
            "Meta does not report whether an app is published",
            "if only people with a role in the app are answered, publish it in its dashboard",
        );
        report
    }

    /// Reports what is known when the secret cannot be read.
    pub(crate) async fn status_without_secret(&self, error: &SecretError) -> Report {
        let mut report = Report::default();
        self.check_version(&mut report);
        let fix = "check that setup may read the secret, and that it has the form that functions/setup/README.md shows; until then nothing is received or sent";
        report.error("secret", error.to_string(), fix);
        self.check_queues(&self.queues.read().await, &mut report);
        report
    }

    /// Checks an application and its accounts, as far as Meta knows about them.
    async fn check_application(
        &self,
        app: &App<'_>,
        profile: Option<&Profile>,
        clocks: &mut Option<(Timestamp, Timestamp)>,
        report: &mut Report,
    ) {
        report_mixed(app, report);
        let app_fields = if app.is_of_instagram_login() {
            self.note_dashboard(app, report);
            None
        } else {
            self.check_app(app, clocks, report).await
        };
        for account_id in app.application.page_ids() {
            if self.check_sender(app, account_id, report).await {
                self.check_fields(app, account_id, app_fields.as_ref(), report).await;
                if let Some(profile) = profile {
                    self.check_profile(app, account_id, profile, report).await;
                }
            }
        }
    }

    /// Checks whether the sender node of an account is the right one and its token works; returns
    /// whether it is worth asking more about the account.
    async fn check_sender(&self, app: &App<'_>, account_id: &str, report: &mut Report) -> bool {
        let name = app.name_of(account_id);
        // What is missing has been reported as missing.
        let Ok(sender) = app.application.sender(account_id) else { return false };
        if let Some(account) = app.application.instagram_account(account_id)
            && sender.login == Login::Instagram
        {
            return self.check_instagram_token(account_id, account, &name, report).await;
        }
        match app.application.page(account_id) {
            // A linked account, whose token is its Page's.
            None => true,
            Some(_) if sender.node != account_id => {
                let node = sender.node;
                report.warning(
                    &name,
                    format!("listed like a Page as well as in the instagram_id of Page {node}, which counts"),
                    "remove its own entry from pages in the secret",
                );
                true
            }
            Some(page) => {
                let is_readable = self.check_token(app, account_id, &name, report).await;
                if is_readable {
                    self.check_link(app, account_id, page, report).await;
                    self.check_routing(app, account_id, report).await;
                    self.check_templates(app, account_id, report).await;
                }
                is_readable
            }
        }
    }

    fn check_version(&self, report: &mut Report) {
        let version = self.outbox.graph().settings().version.as_str();
        let fix = "set the template's parameter GraphVersion to a newer version";
        let end = VERSION_ENDS.iter().find(|(known, _)| *known == version);
        match end.and_then(|(_, end)| Timestamp::from_rfc3339(end)) {
            Some(end) if self.clock.now() >= end => {
                report.error("stack", format!("Graph {version} ended on {end}"), fix);
            }
            Some(end) if self.clock.now() + SOON_FOR_VERSIONS >= end => {
                report.warning("stack", format!("Graph {version} ends on {end}"), fix);
            }
            Some(end) => report.ok("stack", format!("Graph {version} is available until {end}")),
            None if version == NEWEST_VERSION => {
                report.ok("stack", format!("Graph {version} has no announced end"));
            }
            None => report.note(
                "stack",
                format!("Graph {version} is not in the table of versions"),
                "look up its end in Meta's changelog",
            ),
        }
    }

    /// Compares our clock with Meta's: the messaging windows depend on it.
    fn check_clock(&self, clocks: Option<(Timestamp, Timestamp)>, report: &mut Report) {
        let Some((theirs, ours)) = clocks else {
            return;
        };
        let skew = ours.since(theirs).max(theirs.since(ours));
        if skew <= TOLERATED_SKEW {
            report.ok("stack", "our clock agrees with Meta's");
            return;
        }
        let finding = format!("our clock differs from Meta's by {} s", skew.as_secs());
        let margin = self.outbox.settings().policy.margin;
        if skew < margin {
            report.warning(
                "stack",
                finding,
                "the safety margin of the messaging windows still covers it",
            );
        } else {
            let fix = "correct the clock; until then messages may be sent outside their window";
            report.error("stack", finding, fix);
        }
    }

    /// Checks the app's level of subscription; returns its fields for Pages.
    async fn check_app(
        &self,
        app: &App<'_>,
        clocks: &mut Option<(Timestamp, Timestamp)>,
        report: &mut Report,
    ) -> Option<Fields> {
        let name = app.name();
        let subscriptions = match self.app_subscriptions(app).await {
            Ok(subscriptions) => subscriptions,
            Err(error) => {
                let finding = format!("cannot read its subscriptions: {error}");
                report.error(&name, finding, remedy_for_app(&error));
                return None;
            }
        };
        self.check_app_can_be_published(app, report).await;
        *clocks = subscriptions.date.map(|theirs| (theirs, self.clock.now())).or(*clocks);
        let callback_url = self.settings.callback_url(app.key);
        for (object, fields) in self.objects(app) {
            match subscriptions.of(object) {
                None => report.error(&name, format!("{object}: not subscribed"), REGISTER),
                Some(there) if is_complete(there, &callback_url, &fields) => {
                    report.ok(&name, format!("{object}: subscribed, callback {callback_url}"));
                }
                Some(there) if there.callback_url != callback_url => {
                    let elsewhere = &there.callback_url;
                    report.error(
                        &name,
                        format!("{object}: the callback is {elsewhere} instead of {callback_url}"),
                        REGISTER,
                    );
                }
                Some(there) if !there.is_active => {
                    report.error(
                        &name,
                        format!("{object}: Meta has disabled the subscription"),
                        REGISTER,
                    );
                }
                Some(there) => {
                    let lacking = fields.lacking(&there.fields).join(", ");
                    report.error(&name, format!("{object}: missing fields: {lacking}"), REGISTER);
                }
            }
        }
        Some(subscriptions.of("page").map(|page| page.fields.clone()).unwrap_or_default())
    }

    /// Checks a Page's token; returns false if it is dead, or of no Page at all: then nothing else can
    /// be read.
    async fn check_token(
        &self,
        app: &App<'_>,
        page_id: &str,
        name: &str,
        report: &mut Report,
    ) -> bool {
        let Ok(access) = app.access_of(page_id) else { return true };
        match self.debug_token(app, access.token).await {
            Ok(facts) => {
                let other = facts.profile_id.as_deref().filter(|id| *id != page_id);
                if let Some(other) = other
                    && facts.is_valid
                    && self.is_listed_like_a_page(page_id, other, access, name, report).await
                {
                    return false;
                }
                self.check_token_facts(&facts, app, page_id, name, report);
                return facts.is_valid;
            }
            Err(error) => {
                let finding = format!("cannot inspect its token: {error}");
                report.error(name, finding, remedy_for_app(&error));
            }
        }
        true
    }

    fn check_token_facts(
        &self,
        facts: &TokenFacts,
        app: &App<'_>,
        page_id: &str,
        name: &str,
        report: &mut Report,
    ) {
        let new_token = remedy_for_page(&GraphError::from(Fault::TokenDead));
        let other_page = facts.profile_id.as_deref().filter(|id| *id != page_id);
        if !facts.is_valid {
            return report.error(name, "its token is no longer valid", new_token);
        }
        if facts.kind != "PAGE" {
            let kind = facts.kind.to_lowercase();
            return report.error(name, format!("its token is a {kind} token"), new_token);
        }
        if facts.app_id != app.id {
            return report.error(name, "its token belongs to another app", new_token);
        }
        if let Some(other) = other_page {
            let fix = format!("list the token under {other}, or generate one for {page_id}");
            return report.error(name, format!("its token belongs to Page {other}"), fix);
        }
        let soon = self.clock.now() + SOON;
        match (facts.expires_at, facts.data_access_expires_at) {
            (Some(end), _) if end <= soon => {
                report.warning(name, format!("its token is valid until {end}"), new_token);
            }
            (_, Some(end)) if end <= soon => {
                let finding = format!("its token loses access to data on {end}");
                report.warning(name, finding, new_token);
            }
            (Some(end), _) => report.ok(name, format!("its token is valid until {end}")),
            (None, _) => report.ok(name, "its token is valid and does not expire"),
        }
        let mut scopes =
            vec![("pages_messaging", "messages"), ("pages_manage_metadata", "subscriptions")];
        if app.application.page(page_id).is_some_and(|page| page.instagram_id.is_some()) {
            scopes.push(("instagram_manage_messages", "messages on Instagram"));
        }
        for (scope, what) in scopes {
            if facts.has_scope(scope) {
                report.ok(name, format!("its token has {scope}"));
            } else {
                let finding = format!("its token lacks {scope}, which is required for {what}");
                report.error(name, finding, remedy_for_page(&Fault::PermissionMissing.into()));
            }
        }
        if ["page_utility_messaging", "pages_utility_messaging"].iter().any(|s| facts.has_scope(s))
        {
            report.ok(name, "its token allows utility templates");
        } else {
            report.note(
                name,
                "its token lacks page_utility_messaging: utility templates are refused",
                "request that permission if you send them",
            );
        }
    }

    /// Checks the account's level of subscription against the app's: a Page's field needs both.
    async fn check_fields(
        &self,
        app: &App<'_>,
        page_id: &str,
        app_fields: Option<&Fields>,
        report: &mut Report,
    ) {
        let name = app.name_of(page_id);
        let Ok(sender) = app.application.sender(page_id) else { return };
        // The events of a linked account come with its Page's.
        if sender.node != page_id {
            return;
        }
        let page_fields = match self.page_fields(app, page_id).await {
            Ok(fields) => fields,
            Err(error) => {
                let finding = format!("cannot read its subscription: {error}");
                return report.error(&name, finding, remedy_for(&error, remedy_of(sender.login)));
            }
        };
        let wanted = self.wanted_of(sender.login);
        let at_page = wanted.lacking(&page_fields);
        let at_app = app_fields.map(|fields| wanted.lacking(fields)).unwrap_or_default();
        if at_page.is_empty() && at_app.is_empty() {
            let levels = if sender.login == Login::Facebook { " at both levels" } else { "" };
            return report.ok(&name, format!("subscribed{levels}"));
        }
        for (level, lacking) in [("the Page", at_page), ("the app", at_app)] {
            if !lacking.is_empty() {
                let fields = lacking.join(", ");
                let finding = format!(
                    "not subscribed at the level of {level}, so these events are not delivered: {fields}"
                );
                report.error(&name, finding, REGISTER);
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
        let name = app.name_of(page_id);
        match self.profile_difference(app, page_id, profile).await {
            Ok(difference) if difference.is_nothing() => {
                report.ok(&name, "its profile is up to date");
            }
            Ok(difference) => {
                report.warning(&name, format!("its profile differs in {difference}"), REGISTER);
            }
            Err(error) => {
                let finding = format!("cannot read its profile: {error}");
                let remedy_for_account = remedy_of(login_of(app, page_id));
                report.error(&name, finding, remedy_for(&error, remedy_for_account));
            }
        }
    }
}

fn login_of(app: &App<'_>, account_id: &str) -> Login {
    app.application.sender(account_id).map_or(Login::Facebook, |sender| sender.login)
}
