//! Forwarding: the URLs that inbound events are posted to, and which addresses may be connected to.

mod address;
mod resolver;

pub use address::is_public;
use reqwest::Url;
pub use resolver::PublicOnly;

use crate::settings::Variables;

/// The message attribute with the URL that a message of the forward queue goes to.
pub const URL_ATTRIBUTE: &str = "url";

/// The variable that lists them.
pub const URLS: &str = "FORWARD_URLS";
const MAX_URLS: usize = 10;

/// The maximum length of a URL in bytes: its attribute counts towards the size of a queue message.
const MAX_URL_BYTES: usize = 2000;

/// The URLs that events are forwarded to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destinations {
    /// The URLs, without duplicates.
    pub urls: Vec<Url>,
    /// Whether plain http and loopback addresses are allowed, for tests.
    pub allow_local: bool,
}

impl Destinations {
    /// Reads `FORWARD_URLS`, separated by commas, and `FORWARD_ALLOW_LOCAL`; none if there is no URL.
    ///
    /// Rejected are URLs that are not https, carry a user or a password, are too long, or name an address that is
    /// not public, and more than ten of them.
    pub fn new(variables: &Variables) -> Option<Self> {
        let allow_local = variables.parsed_or("FORWARD_ALLOW_LOCAL", false);
        let list = variables.optional(URLS)?;
        let mut urls = Vec::new();
        for (index, text) in list.split(',').map(str::trim).enumerate() {
            match check(text, allow_local) {
                Ok(url) if urls.contains(&url) => {}
                Ok(url) => urls.push(url),
                // A URL may hold a key of the receiver's, so an error names its place alone.
                Err(problem) => variables.reject(URLS, format!("URL {} {problem}", index + 1)),
            }
        }
        if urls.len() > MAX_URLS {
            variables.reject(URLS, format!("must have at most {MAX_URLS} URLs"));
        }
        Some(Self { urls, allow_local })
    }
}

/// Reads the URL of another system: https, without a user or a password, of at most 2,000 bytes, and no address
/// that is not public.
///
/// # Errors
/// What is wrong with it; the URL is not repeated, because it may hold a key.
pub(crate) fn check(text: &str, allow_local: bool) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "is not a valid URL")?;
    if url.scheme() != "https" && !(allow_local && url.scheme() == "http") {
        return Err("must be https");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain a user or a password");
    }
    if url.as_str().len() > MAX_URL_BYTES {
        return Err("must have at most 2,000 bytes");
    }
    let host = url.host_str().ok_or("has no host")?;
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse();
    if literal.is_ok_and(|address| !is_public(address, allow_local)) {
        return Err("must not be a non-public address");
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::SettingErrors;

    fn read(
        urls: &'static str,
        local: &'static str,
    ) -> Result<Option<Destinations>, SettingErrors> {
        let variables = Variables::from_lookup(move |name| {
            let value = if name == URLS { urls } else { local };
            Some(value.to_owned())
        });
        let destinations = Destinations::new(&variables);
        variables.check().map(|()| destinations)
    }

    #[test]
    fn nothing_is_forwarded_by_default() {
        assert_eq!(read("", ""), Ok(None));
    }

    #[test]
    fn several_urls_and_none_twice() {
        let list = "https://a.example/in, https://b.example:8443/in?key=1,https://a.example/in";
        let urls = read(list, "").unwrap().unwrap().urls;
        assert_eq!(
            urls.iter().map(Url::as_str).collect::<Vec<_>>(),
            ["https://a.example/in", "https://b.example:8443/in?key=1"]
        );
    }

    #[test]
    fn what_must_not_be_reached_is_refused_and_not_repeated() {
        for url in [
            "http://crm.example/in",
            "http://127.0.0.1/in",
            "https://127.0.0.1/in",
            "https://2130706433/in",
            "https://0x7f.1/in",
            "https://10.0.0.1/in",
            "https://169.254.169.254/in",
            "https://[::1]/in",
            "https://[::ffff:127.0.0.1]/in",
            "https://[fd00::1]/in",
            "https://user:secret@crm.example/in",
            "ftp://crm.example/in",
            "crm.example/in",
            "https://a.example/in,,https://b.example/in",
        ] {
            let error = read(url, "").unwrap_err().to_string();
            assert!(error.contains(URLS) && !error.contains("/in"), "{url}: {error}");
        }
    }

    #[test]
    fn this_machine_needs_a_setting_of_its_own_which_opens_nothing_else() {
        assert!(read("http://127.0.0.1:8080/in", "true").is_ok());
        assert!(read("http://10.0.0.1/in", "true").is_err());
        assert!(read("https://169.254.169.254/in", "true").is_err());
    }
}
