//! Tokens that end: those of Instagram Login are renewed long before, and what ends soon is counted.

use std::time::Duration;

use backend::graph::{Access, Fault, GraphError};
use backend::secrets::{InstagramAccount, Login, RenewedToken, Secret};
use backend::telemetry::Metric;
use messenger::clock::Timestamp;
use secrecy::SecretString;

use crate::Setup;
use crate::app::{App, remedy_for_instagram, remedy_for_page};
use crate::report::Report;
use crate::status::SOON;

/// A token of 60 days is renewed once less than this is left of it, and each day until that succeeds.
const RENEW_WITHIN: Duration = Duration::from_hours(24 * 45);

/// A token that has not been renewed when less than this is left of it is counted.
const ALARM_WITHIN: Duration = Duration::from_hours(24 * 30);

/// Whether a token is to be renewed; one whose end is not known was never renewed.
fn is_due(expires_at: Option<Timestamp>, now: Timestamp) -> bool {
    ends_within(RENEW_WITHIN, expires_at, now)
}

/// Whether a token that was not renewed needs somebody's attention.
fn is_alarming(expires_at: Option<Timestamp>, now: Timestamp) -> bool {
    ends_within(ALARM_WITHIN, expires_at, now)
}

fn ends_within(span: Duration, expires_at: Option<Timestamp>, now: Timestamp) -> bool {
    expires_at.is_none_or(|end| end <= now + span)
}

impl Setup {
    /// Renews the tokens of Instagram Login that are due, and counts every token that ends soon.
    pub(crate) async fn renew_tokens(&self, secret: &Secret) -> Report {
        let mut report = Report::default();
        let mut renewed = Vec::new();
        for (key, application) in secret.applications() {
            for (account_id, account) in application.instagram_accounts() {
                let name = format!("application {key}, Instagram account {account_id}");
                let expires_at = account.expires_at();
                match expires_at.filter(|_| !is_due(expires_at, self.clock.now())) {
                    Some(end) => report.ok(&name, format!("its token is valid until {end}")),
                    None => match self.renew(&account.access_token).await {
                        Ok((access_token, expires_at)) => renewed.push(RenewedToken {
                            application: key.to_owned(),
                            account_id: account_id.to_owned(),
                            replaces: account.access_token.clone(),
                            access_token,
                            expires_at,
                        }),
                        Err(error) => {
                            let finding = format!("its token is not renewed: {error}");
                            let fix = remedy_for_instagram(&error);
                            self.not_renewed(
                                &name,
                                account_id,
                                expires_at,
                                (&finding, fix),
                                &mut report,
                            );
                        }
                    },
                }
            }
            if let Ok(app) = self.app(key, application).await {
                self.watch_page_tokens(&app, &mut report).await;
            }
        }
        self.keep_renewed(secret, &renewed, &mut report).await;
        report
    }

    /// Writes the new tokens into the secret, all of them at once.
    async fn keep_renewed(&self, secret: &Secret, renewed: &[RenewedToken], report: &mut Report) {
        if renewed.is_empty() {
            return;
        }
        let kept = self.secrets.put_renewed(renewed).await;
        for token in renewed {
            let RenewedToken { application, account_id, expires_at, .. } = token;
            let name = format!("application {application}, Instagram account {account_id}");
            match &kept {
                Ok(()) => {
                    report
                        .changed(&name, format!("its token is renewed, valid until {expires_at}"));
                }
                Err(error) => {
                    let known = secret.application(application);
                    let known = known.and_then(|known| known.instagram_account(account_id));
                    let expires_at = known.and_then(InstagramAccount::expires_at);
                    let finding = format!("its new token is not in the secret: {error}");
                    let fix = "check that setup may write the secret; it is tried again every day";
                    self.not_renewed(&name, account_id, expires_at, (&finding, fix), report);
                }
            }
        }
    }

    fn not_renewed(
        &self,
        name: &str,
        account_id: &str,
        expires_at: Option<Timestamp>,
        (finding, fix): (&str, &str),
        report: &mut Report,
    ) {
        report.error(name, finding, fix);
        if is_alarming(expires_at, self.clock.now()) {
            self.count_ending(account_id);
        }
    }

    /// Counts the tokens of Pages that end soon or have ended: nothing renews them.
    async fn watch_page_tokens(&self, app: &App<'_>, report: &mut Report) {
        for (page_id, page) in app.application.pages() {
            let name = app.name_of(page_id);
            let facts = match self.debug_token(app, &page.access_token).await {
                Ok(facts) => facts,
                Err(error) => {
                    let finding = format!("cannot inspect its token: {error}");
                    report.warning(&name, finding, remedy_for_page(&error));
                    continue;
                }
            };
            let end = facts.expires_at.into_iter().chain(facts.data_access_expires_at).min();
            let ends_soon = end.is_some_and(|end| end <= self.clock.now() + SOON);
            if !facts.is_valid || ends_soon {
                let finding = match end {
                    Some(end) => format!("its token is valid until {end}"),
                    None => "its token is no longer valid".to_owned(),
                };
                report.warning(&name, finding, remedy_for_page(&Fault::TokenDead.into()));
                self.count_ending(page_id);
            }
        }
    }

    fn count_ending(&self, account_id: &str) {
        self.telemetry.count(Metric::TokenExpiresSoon, account_id, &[]);
    }

    /// Asks Meta for a new token and its end.
    ///
    /// Source: Meta's reference of `refresh_access_token`, a path without a version.
    async fn renew(&self, token: &SecretString) -> Result<(SecretString, Timestamp), GraphError> {
        let graph = self.outbox.graph().of(Login::Instagram).unversioned();
        let access = Access { token, app_secret: None };
        let asked_at = self.clock.now();
        let parameters = [("grant_type", "ig_refresh_token")];
        let answer = graph.get(&["refresh_access_token"], access, &parameters).await?.body;
        match (answer["access_token"].as_str(), answer["expires_in"].as_u64()) {
            (Some(token), Some(seconds)) if !token.is_empty() => {
                Ok((token.into(), asked_at + Duration::from_secs(seconds)))
            }
            _ => Err(Fault::Unclear.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_after_fifteen_days_and_missed_after_thirty() {
        let day = Duration::from_hours(24);
        let now = Timestamp::from_millis(1_800_000_000_000);
        for (left, due, alarming) in [
            (Some(60), false, false),
            (Some(46), false, false),
            (Some(45), true, false),
            (Some(31), true, false),
            (Some(30), true, true),
            (Some(0), true, true),
            (None, true, true),
        ] {
            let end = left.map(|days| now + day * days);
            assert_eq!((is_due(end, now), is_alarming(end, now)), (due, alarming), "{left:?}");
        }
    }
}
