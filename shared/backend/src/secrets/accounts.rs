//! Accounts and sender nodes: whose events these are, and whom Graph speaks as for them.
//!
//! A Page speaks for itself. An Instagram account that is linked to a Page speaks through it, with its
//! token; one that was connected through Instagram Login speaks for itself, on a host of its own.
//! Events, conversations and the API name the account, calls of Graph name the sender node.
//! Source: Meta's Instagram Messaging documentation, and its Instagram Platform documentation.

use messenger::clock::Timestamp;
use messenger::event::Platform;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{Application, SecretError};

/// How an account was connected to the app, which decides the host of its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    /// Through Facebook: a Page, or an Instagram account that is linked to one.
    Facebook,
    /// Through Instagram: an account with an app secret and a token of its own kind.
    Instagram,
}

/// Whom Graph speaks as for an account.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// The node: a Page, or an Instagram account with a login of its own.
    pub node: &'a str,
    /// How it was connected.
    pub login: Login,
    /// The platform of the account, which need not be the node's.
    pub platform: Platform,
    /// The node's access token.
    pub access_token: &'a SecretString,
}

/// A Page's part of the secret.
#[derive(Clone, Debug, Deserialize)]
pub struct Page {
    /// The Page access token.
    #[serde(default)]
    pub access_token: SecretString,
    /// The Instagram account that is linked to the Page, if the bot serves it.
    #[serde(default)]
    pub instagram_id: Option<String>,
}

/// The part of the secret of an Instagram account with a login of its own.
#[derive(Clone, Debug, Deserialize)]
pub struct InstagramAccount {
    /// The Instagram user access token, which lives 60 days and is renewed by setup.
    #[serde(default)]
    pub access_token: SecretString,
    /// When the token expires, as setup wrote it when it renewed the token.
    #[serde(default)]
    expires_at: Option<String>,
}

impl InstagramAccount {
    /// When the token expires; unknown until it was renewed for the first time.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at.as_deref().and_then(Timestamp::from_rfc3339)
    }
}

impl Application {
    /// Whom Graph speaks as for an account.
    ///
    /// # Errors
    /// [`SecretError::Missing`] if the application does not name the account, or its token is empty.
    pub fn sender(&self, account_id: &str) -> Result<Sender<'_>, SecretError> {
        let sender = self.linked(account_id).or_else(|| self.own(account_id));
        let sender = sender.ok_or(SecretError::Missing("the Page in pages"))?;
        if sender.access_token.expose_secret().is_empty() {
            return Err(SecretError::Missing("the Page's access_token"));
        }
        Ok(sender)
    }

    /// The Page of a linked account. The link counts, even if the account is listed like a Page too.
    fn linked(&self, account_id: &str) -> Option<Sender<'_>> {
        let is_linked = |page: &Page| page.instagram_id.as_deref() == Some(account_id);
        let (node, page) = self.pages.iter().find(|(_, page)| is_linked(page))?;
        Some(Sender {
            node,
            login: Login::Facebook,
            platform: Platform::Instagram,
            access_token: &page.access_token,
        })
    }

    /// A Page, or an account with a login of its own.
    fn own(&self, account_id: &str) -> Option<Sender<'_>> {
        if let Some((node, account)) = self.instagram_accounts.get_key_value(account_id) {
            return Some(Sender {
                node,
                login: Login::Instagram,
                platform: Platform::Instagram,
                access_token: &account.access_token,
            });
        }
        let (node, page) = self.pages.get_key_value(account_id)?;
        Some(Sender {
            node,
            login: Login::Facebook,
            platform: Platform::Messenger,
            access_token: &page.access_token,
        })
    }

    /// Whether the application names an account: a Page, or an Instagram account of either login.
    pub fn has_page(&self, account_id: &str) -> bool {
        self.linked(account_id).or_else(|| self.own(account_id)).is_some()
    }

    /// The ids of the application's accounts: Pages, and Instagram accounts of either login.
    pub fn page_ids(&self) -> impl Iterator<Item = &str> {
        let pages = self.pages.keys().map(String::as_str);
        let linked = self.linked_ids().filter(|id| !self.pages.contains_key(*id));
        pages.chain(linked).chain(self.instagram_accounts.keys().map(String::as_str))
    }

    /// A Page.
    pub fn page(&self, page_id: &str) -> Option<&Page> {
        self.pages.get(page_id)
    }

    /// The Pages, by their ids.
    pub fn pages(&self) -> impl Iterator<Item = (&str, &Page)> {
        self.pages.iter().map(|(id, page)| (id.as_str(), page))
    }

    /// The ids of the Instagram accounts of either login.
    pub fn instagram_ids(&self) -> impl Iterator<Item = &str> {
        self.linked_ids().chain(self.instagram_accounts.keys().map(String::as_str))
    }

    /// How texts name an account: `Page 10`, `Instagram account 17`.
    pub fn noun(&self, account_id: &str) -> String {
        let platform = self.linked(account_id).or_else(|| self.own(account_id));
        match platform.map(|sender| sender.platform) {
            Some(Platform::Instagram) => format!("Instagram account {account_id}"),
            _ => format!("Page {account_id}"),
        }
    }

    /// The ids of the Instagram accounts that are linked to Pages.
    fn linked_ids(&self) -> impl Iterator<Item = &str> {
        self.pages.values().filter_map(|page| page.instagram_id.as_deref())
    }

    /// An Instagram account with a login of its own.
    pub fn instagram_account(&self, account_id: &str) -> Option<&InstagramAccount> {
        self.instagram_accounts.get(account_id)
    }

    /// The Instagram accounts with a login of their own, by their ids.
    pub fn instagram_accounts(&self) -> impl Iterator<Item = (&str, &InstagramAccount)> {
        self.instagram_accounts.iter().map(|(id, account)| (id.as_str(), account))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APPLICATION: &str = r#"{
        "pages": {
            "10": {"access_token": "a", "instagram_id": "17"},
            "20": {"access_token": ""},
            "17": {"access_token": "listed like a Page"}
        },
        "instagram_accounts": {
            "18": {"access_token": "b", "expires_at": "2027-01-27T09:00:00Z"},
            "19": {}
        }
    }"#;

    #[test]
    fn an_account_leads_to_its_sender_node() {
        let application: Application = serde_json::from_str(APPLICATION).unwrap();
        for (account, node, login, platform, token) in [
            ("10", "10", Login::Facebook, Platform::Messenger, "a"),
            ("17", "10", Login::Facebook, Platform::Instagram, "a"),
            ("18", "18", Login::Instagram, Platform::Instagram, "b"),
        ] {
            let sender = application.sender(account).unwrap();
            assert_eq!((sender.node, sender.login, sender.platform), (node, login, platform));
            assert_eq!(sender.access_token.expose_secret(), token);
        }
        for (account, is_named) in [("20", true), ("19", true), ("30", false)] {
            assert!(application.sender(account).is_err(), "{account}");
            assert_eq!(application.has_page(account), is_named, "{account}");
        }
        let ids: Vec<_> = application.page_ids().collect();
        assert_eq!(ids, ["10", "17", "20", "18", "19"]);
        assert_eq!(application.instagram_ids().collect::<Vec<_>>(), ["17", "18", "19"]);
    }

    #[test]
    fn the_end_of_a_token_is_known_once_it_was_renewed() {
        let application: Application = serde_json::from_str(APPLICATION).unwrap();
        let ends: Vec<_> = application
            .instagram_accounts()
            .map(|(_, account)| account.expires_at().map(|end| end.to_string()))
            .collect();
        assert_eq!(ends, [Some("2027-01-27T09:00:00Z".to_owned()), None]);
    }
}
