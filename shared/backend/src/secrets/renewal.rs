//! Writing renewed tokens into the secret, without undoing what somebody else changes meanwhile.

use messenger::clock::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::{DEFAULT_APPLICATION, SecretError, Secrets};
use crate::aws::describe;

/// The staging label of a version that is about to become the current one.
const LABEL: &str = "RENEWED";
/// The staging label of the version that is read.
const CURRENT: &str = "AWSCURRENT";

/// How often it is tried while somebody else changes the secret.
const TRIES: usize = 3;

/// A token that replaces another one.
#[derive(Clone, Debug)]
pub struct RenewedToken {
    /// The key of the application.
    pub application: String,
    /// The Instagram account.
    pub account_id: String,
    /// The token that was renewed.
    pub replaces: SecretString,
    /// The new token.
    pub access_token: SecretString,
    /// When the new token expires.
    pub expires_at: Timestamp,
}

impl Secrets {
    /// Puts renewed tokens in the place of those that they replace, and nothing else.
    ///
    /// A token that is no longer the one that was renewed stays: somebody has put another one there.
    /// Secrets Manager writes values unconditionally, but moves a label only from the version that is
    /// named. So the new version is stored under a label of its own, and becomes the current one only
    /// if that is still the version that it was made from.
    ///
    /// # Errors
    /// [`SecretError`] if the secret cannot be read or written, or changes each time.
    pub async fn put_renewed(&self, renewed: &[RenewedToken]) -> Result<(), SecretError> {
        let mut written: Option<(String, String)> = None;
        for _ in 0..TRIES {
            let answer = self.client.get_secret_value().secret_id(&self.id).send().await;
            let answer = answer.map_err(|error| SecretError::Unavailable(describe(&error)))?;
            let version = answer.version_id().unwrap_or_default();
            if let Some((made_from, error)) = written.take()
                && made_from == version
            {
                return Err(SecretError::Unavailable(error));
            }
            let Some(next) = with_renewed(answer.secret_string().unwrap_or_default(), renewed)?
            else {
                break;
            };
            let put = self.client.put_secret_value().secret_id(&self.id).secret_string(next);
            let put = put.version_stages(LABEL).send().await;
            let put = put.map_err(|error| SecretError::Unavailable(describe(&error)))?;
            let moved = self
                .client
                .update_secret_version_stage()
                .secret_id(&self.id)
                .version_stage(CURRENT)
                .move_to_version_id(put.version_id().unwrap_or_default())
                .remove_from_version_id(version)
                .send()
                .await;
            match moved {
                Ok(_) => {
                    self.forget().await;
                    return Ok(());
                }
                Err(error) => written = Some((version.to_owned(), describe(&error))),
            }
        }
        self.forget().await;
        if written.is_some() { Err(SecretError::Contended) } else { Ok(()) }
    }
}

/// The secret with the renewed tokens; nothing if none of the tokens is in it any more.
fn with_renewed(text: &str, renewed: &[RenewedToken]) -> Result<Option<String>, SecretError> {
    let mut secret: Value = serde_json::from_str(text)
        .map_err(|error| SecretError::Malformed { line: error.line(), column: error.column() })?;
    let mut is_changed = false;
    for token in renewed {
        let application = match token.application.as_str() {
            DEFAULT_APPLICATION => Some(&mut secret),
            key => secret.get_mut("applications").and_then(|all| all.get_mut(key)),
        };
        let account = application
            .and_then(|application| application.get_mut("instagram_accounts"))
            .and_then(|accounts| accounts.get_mut(&token.account_id));
        if let Some(account) = account
            && account["access_token"] == *token.replaces.expose_secret()
        {
            account["access_token"] = token.access_token.expose_secret().into();
            account["expires_at"] = token.expires_at.to_string().into();
            is_changed = true;
        }
    }
    Ok(is_changed.then(|| format!("{secret:#}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn renewed(application: &str, account_id: &str, replaces: &str) -> RenewedToken {
        RenewedToken {
            application: application.to_owned(),
            account_id: account_id.to_owned(),
            replaces: replaces.into(),
            access_token: "new".into(),
            expires_at: Timestamp::from_millis(1_800_000_000_000),
        }
    }

    #[test]
    fn only_the_tokens_that_were_renewed_change() {
        let secret = json!({
            "unknown": [1, {"kept": null}],
            "instagram_accounts": {"17": {"access_token": "old", "note": "kept"}},
            "applications": {"shop": {"instagram_accounts": {"18": {"access_token": "old"}}}},
        });
        for (tokens, places) in [
            (vec![renewed("default", "17", "old")], vec!["/instagram_accounts/17"]),
            (
                vec![renewed("default", "17", "old"), renewed("shop", "18", "old")],
                vec!["/instagram_accounts/17", "/applications/shop/instagram_accounts/18"],
            ),
            (vec![renewed("default", "17", "another")], vec![]),
            (vec![renewed("default", "18", "old"), renewed("bakery", "18", "old")], vec![]),
        ] {
            let mut expected = secret.clone();
            for place in &places {
                let account = expected.pointer_mut(place).unwrap();
                account["access_token"] = "new".into();
                account["expires_at"] = "2027-01-15T08:00:00Z".into();
            }
            let next = with_renewed(&secret.to_string(), &tokens).unwrap();
            let next = next.map(|text| serde_json::from_str::<Value>(&text).unwrap());
            assert_eq!(next, (!places.is_empty()).then_some(expected), "{tokens:?}");
        }
    }
}
