//! Instagram accounts: whether they are linked to their Pages, and whether their own tokens work.

use backend::graph::{Access, GraphError};
use backend::secrets::{InstagramAccount, Login, Page};
use secrecy::SecretString;

use crate::Setup;
use crate::app::{App, remedy_for_instagram, remedy_for_page};
use crate::report::Report;
use crate::status::SOON;
use crate::subscriptions::Fields;

impl Setup {
    /// The Instagram account that is linked to a Page at Meta.
    pub(crate) async fn linked_account(
        &self,
        page_id: &str,
        access: Access<'_>,
    ) -> Result<Option<String>, GraphError> {
        let fields = [("fields", "instagram_business_account")];
        let answer = self.outbox.graph().get(&[page_id], access, &fields).await?;
        let account = &answer.body["instagram_business_account"]["id"];
        Ok(account.as_str().map(str::to_owned))
    }

    /// Checks the link between a Page and its Instagram account.
    pub(crate) async fn check_link(
        &self,
        app: &App<'_>,
        page_id: &str,
        page: &Page,
        report: &mut Report,
    ) {
        let Ok(access) = app.access_of(page_id) else { return };
        let linked = self.linked_account(page_id, access).await;
        let Some(ours) = page.instagram_id.as_deref() else {
            // Without the permission to read it, there is nothing to be said about an account that
            // nobody asked for.
            if let Ok(Some(linked)) = linked {
                report.note(
                    &app.name_of(page_id),
                    format!("Instagram account {linked} is linked to it and not served"),
                    format!("add \"instagram_id\": \"{linked}\" to the Page in the secret if the bot should serve it, then register"),
                );
            }
            return;
        };
        let name = app.name_of(ours);
        match linked {
            Ok(Some(linked)) if linked == ours => {
                report.ok(&name, format!("linked to Page {page_id}"));
            }
            Ok(Some(linked)) => report.error(
                &name,
                format!("not linked to Page {page_id}: Instagram account {linked} is"),
                format!("set the Page's instagram_id in the secret to {linked}, or link {ours} to the Page in its settings, Linked accounts"),
            ),
            Ok(None) => report.error(
                &name,
                format!("not linked to Page {page_id}, so its messages neither arrive nor leave"),
                "link it in the Page's settings, Linked accounts, and allow access to its messages; or correct the Page's instagram_id in the secret",
            ),
            Err(error) => {
                let finding = format!("cannot read whether it is linked to Page {page_id}: {error}");
                report.error(&name, finding, remedy_for_page(&error));
            }
        }
    }

    /// Whether a token's Page is linked to the account that the secret lists like a Page; if so, that
    /// is reported.
    pub(crate) async fn is_listed_like_a_page(
        &self,
        account_id: &str,
        page_id: &str,
        access: Access<'_>,
        name: &str,
        report: &mut Report,
    ) -> bool {
        let linked = self.linked_account(page_id, access).await.ok().flatten();
        let is_account = linked.as_deref() == Some(account_id);
        if is_account {
            report.error(
                name,
                "it is an Instagram account that is listed like a Page, so nothing can be sent for it",
                format!("list its Page instead: \"pages\": {{\"{page_id}\": {{\"access_token\": \"…\", \"instagram_id\": \"{account_id}\"}}}}, then register"),
            );
        }
        is_account
    }

    /// Checks the token of an account with a login of its own; returns whether it works.
    pub(crate) async fn check_instagram_token(
        &self,
        account_id: &str,
        account: &InstagramAccount,
        name: &str,
        report: &mut Report,
    ) -> bool {
        match self.own_id(&account.access_token).await {
            Ok(id) if id == account_id => {}
            Ok(id) => {
                report.error(
                    name,
                    format!("its token belongs to Instagram account {id}"),
                    format!("list the token under {id}, or generate one for {account_id}"),
                );
                return false;
            }
            Err(error) => {
                let finding = format!("its token does not work: {error}");
                report.error(name, finding, remedy_for_instagram(&error));
                return false;
            }
        }
        match account.expires_at() {
            Some(end) if end <= self.clock.now() + SOON => report.warning(
                name,
                format!("its token is valid until {end}, and has not been renewed"),
                "invoke the setup function with {\"action\":\"renew-tokens\"}: it says why",
            ),
            Some(end) => report.ok(name, format!("its token is valid until {end}")),
            None => report.ok(name, "its token is valid; it is renewed within a day"),
        }
        true
    }

    /// The account of a token, by the id that its webhooks carry.
    ///
    /// Source: Meta's Instagram Platform documentation: `id` is scoped to the app, `user_id` is not.
    async fn own_id(&self, token: &SecretString) -> Result<String, GraphError> {
        let graph = self.outbox.graph().of(Login::Instagram);
        let access = Access { token, app_secret: None };
        let answer = graph.get(&["me"], access, &[("fields", "user_id")]).await?;
        Ok(answer.body["user_id"].as_str().unwrap_or_default().to_owned())
    }

    /// Says what nobody can do by a call: the webhook of an app of Instagram Login.
    pub(crate) fn note_dashboard(&self, app: &App<'_>, report: &mut Report) {
        let callback_url = self.settings.callback_url(app.key);
        let fields = self.wanted_of(Login::Instagram).with(&Fields::new());
        let fields = fields.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        report.note(
            &app.name(),
            "Meta has no call for the webhook of Instagram Login",
            format!("in the app's dashboard under Instagram, API setup with Instagram login, set the callback URL {callback_url} with the secret's verify_token, and subscribe to {fields}"),
        );
    }
}

/// Whether an application mixes what needs two different app secrets.
pub(crate) fn report_mixed(app: &App<'_>, report: &mut Report) {
    if app.is_mixed() {
        report.error(
            &app.name(),
            "it has both pages and instagram_accounts, whose app secrets differ",
            "move instagram_accounts to an application of its own in the secret, with the Instagram app's id and secret",
        );
    }
}
