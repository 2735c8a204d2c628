//! Registering with Meta: the webhook, both levels of subscription, and the Messenger profile.
//!
//! Only differences are written, so registering again costs a few reads and changes nothing.

use backend::secrets::{Application, Secret};

use crate::app::{App, remedy_for_app, remedy_for_page, remedy_of};
use crate::instagram::report_mixed;
use crate::profile::{Difference, Profile};
use crate::report::Report;
use crate::subscriptions::{AppSubscription, AppSubscriptions, Wanted};
use crate::{Setup, SetupError};

/// What to do about a part of the secret that is missing.
const FILL_IN: &str = "set it in the secret as README.md shows, then register";

impl Setup {
    /// Registers every application with its Pages.
    pub(crate) async fn register(&self, secret: &Secret) -> Report {
        let mut report = Report::default();
        let profile = Profile::of_file();
        if let Err(error) = &profile {
            report.error("Messenger profile", error.to_string(), "fix the file and deploy");
        }
        let profile = profile.ok();
        for (key, application) in secret.applications() {
            let Some(app) = self.usable(key, application, &mut report).await else {
                continue;
            };
            report_mixed(&app, &mut report);
            if app.is_of_instagram_login() {
                self.note_dashboard(&app, &mut report);
            } else if application.verify_token().is_ok() {
                self.register_app(&app, &mut report).await;
            }
            for account_id in application.page_ids() {
                self.register_account(&app, account_id, profile.as_ref(), &mut report).await;
            }
        }
        report
    }

    /// The application, if it has an id and a secret; what it lacks goes into the report.
    pub(crate) async fn usable<'a>(
        &self,
        key: &'a str,
        application: &'a Application,
        report: &mut Report,
    ) -> Option<App<'a>> {
        let name = format!("application {key}");
        for part in application.missing() {
            report.error(&name, format!("missing in the secret: {part}"), FILL_IN);
        }
        self.app(key, application).await.ok()
    }

    async fn register_app(&self, app: &App<'_>, report: &mut Report) {
        let name = app.name();
        let subscriptions = match self.app_subscriptions(app).await {
            Ok(subscriptions) => subscriptions,
            Err(error) => {
                let finding = format!("cannot read its subscriptions: {error}");
                return report.error(&name, finding, remedy_for_app(&error));
            }
        };
        let callback_url = self.settings.callback_url(app.key);
        for (object, fields) in self.objects(app) {
            let there = subscriptions.of(object).cloned().unwrap_or_default();
            if is_active_at(&there, &callback_url) && fields.is_met(&there.fields) {
                report.ok(&name, format!("{object}: subscribed, callback {callback_url}"));
                continue;
            }
            let fields = fields.with(&there.fields);
            match self.subscribe_app(app, object, &fields).await {
                Ok(()) if there.callback_url.is_empty() || there.callback_url == callback_url => {
                    report.changed(&name, format!("{object}: subscribed, callback {callback_url}"));
                }
                Ok(()) => {
                    let finding = format!(
                        "{object}: callback changed to {callback_url} from {}",
                        there.callback_url
                    );
                    report.changed(&name, finding);
                }
                Err(error) => {
                    let fix = remedy_for(&error, remedy_for_app);
                    report.error(&name, format!("{object}: not subscribed: {error}"), fix);
                }
            }
        }
    }

    async fn register_account(
        &self,
        app: &App<'_>,
        page_id: &str,
        profile: Option<&Profile>,
        report: &mut Report,
    ) {
        // A token that is missing has been reported as missing.
        let Ok(sender) = app.application.sender(page_id) else { return };
        let name = app.name_of(page_id);
        let remedy_for_account = remedy_of(sender.login);
        // The events of a linked account come with its Page's.
        if sender.node == page_id {
            match self.register_fields(app, page_id).await {
                Ok(true) => report.changed(&name, "subscribed"),
                Ok(false) => report.ok(&name, "subscribed"),
                Err(error) => {
                    let fix = remedy_for(&error, remedy_for_account);
                    return report.error(&name, format!("not subscribed: {error}"), fix);
                }
            }
        }
        let Some(profile) = profile else { return };
        match self.register_profile(app, page_id, profile).await {
            Ok(difference) if difference.is_nothing() => {
                report.ok(&name, "its profile is up to date");
            }
            Ok(difference) => {
                if !difference.lacking.is_empty() {
                    let names = difference.lacking.keys().map(String::as_str).collect::<Vec<_>>();
                    report.changed(&name, format!("updated in its profile: {}", names.join(", ")));
                }
                if !difference.surplus.is_empty() {
                    let names = difference.surplus.join(", ");
                    report.changed(&name, format!("removed from its profile: {names}"));
                }
            }
            Err(error) => {
                let fix = remedy_for(&error, remedy_for_account);
                report.error(&name, format!("cannot write its profile: {error}"), fix);
            }
        }
    }

    /// Subscribes the app to the account unless it already is; returns whether it had to.
    async fn register_fields(&self, app: &App<'_>, account_id: &str) -> Result<bool, SetupError> {
        let there = self.page_fields(app, account_id).await?;
        let wanted = self.wanted_of(app.application.sender(account_id)?.login);
        if wanted.is_met(&there) {
            return Ok(false);
        }
        self.subscribe_page(app, account_id, &wanted.with(&there)).await?;
        Ok(true)
    }

    /// Makes the Page's profile that of the file, and returns how it differed.
    async fn register_profile(
        &self,
        app: &App<'_>,
        page_id: &str,
        profile: &Profile,
    ) -> Result<Difference, SetupError> {
        let difference = self.profile_difference(app, page_id, profile).await?;
        self.write_profile(app, page_id, &difference).await?;
        Ok(difference)
    }

    /// Ends the subscriptions of every application whose callback is this stack's.
    ///
    /// An app whose callback is elsewhere is left alone, with its Pages: another stack serves it. Of an
    /// app of Instagram Login the callback cannot be read: its accounts stay subscribed.
    pub(crate) async fn unregister(&self, secret: &Secret) -> Report {
        let mut report = Report::default();
        for (key, application) in secret.applications() {
            let Some(app) = self.usable(key, application, &mut report).await else {
                continue;
            };
            if app.is_of_instagram_login() {
                report.note(
                    &app.name(),
                    "Meta has no call for the webhook of Instagram Login",
                    "remove the callback URL in the app's dashboard under Instagram, API setup with Instagram login",
                );
                continue;
            }
            match self.app_subscriptions(&app).await {
                Ok(subscriptions) => {
                    self.unregister_app(&app, &subscriptions, &mut report).await;
                }
                Err(error) => {
                    let finding = format!("cannot read its subscriptions: {error}");
                    report.error(&app.name(), finding, remedy_for_app(&error));
                }
            }
        }
        report
    }

    async fn unregister_app(
        &self,
        app: &App<'_>,
        subscriptions: &AppSubscriptions,
        report: &mut Report,
    ) {
        let name = app.name();
        let callback_url = self.settings.callback_url(app.key);
        let is_ours = |subscription: &AppSubscription| subscription.callback_url == callback_url;
        if subscriptions.of("page").is_some_and(is_ours) {
            for (page_id, _) in app.application.pages() {
                let name = app.name_of(page_id);
                match self.unsubscribe_page(app, page_id).await {
                    Ok(()) => report.changed(&name, "no longer subscribed"),
                    Err(error) => {
                        let fix = remedy_for(&error, remedy_for_page);
                        report.error(&name, format!("still subscribed: {error}"), fix);
                    }
                }
            }
        }
        let mut found = false;
        for subscription in subscriptions.all.iter().filter(|one| is_ours(one)) {
            found = true;
            let object = &subscription.object;
            match self.unsubscribe_app(app, object).await {
                Ok(()) => report.changed(&name, format!("{object}: no longer subscribed")),
                Err(error) => {
                    let finding = format!("{object}: still subscribed: {error}");
                    report.error(&name, finding, remedy_for_app(&error));
                }
            }
        }
        if !found {
            report.ok(&name, "not subscribed with this stack's callback");
        }
    }
}

/// Whether a subscription has this callback and every field.
pub(crate) fn is_complete(there: &AppSubscription, callback_url: &str, wanted: &Wanted) -> bool {
    is_active_at(there, callback_url) && wanted.lacking(&there.fields).is_empty()
}

fn is_active_at(there: &AppSubscription, callback_url: &str) -> bool {
    there.is_active && there.callback_url == callback_url
}

pub(crate) fn remedy_for(
    error: &SetupError,
    of_graph: impl Fn(&backend::graph::GraphError) -> &'static str,
) -> &'static str {
    match error {
        SetupError::Graph(error) => of_graph(error),
        SetupError::Secret(_) => FILL_IN,
        _ => "see the log of the setup function",
    }
}
