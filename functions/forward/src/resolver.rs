//! Names become addresses here, and nothing else is connected to.

use std::io;

use backend::forward::is_public;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::lookup_host;

/// Resolves a name once for each connection, and refuses it if any of its addresses is not public.
///
/// What was checked is what is connected to, so a name that changes its address in between gains
/// nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PublicOnly {
    /// Whether this machine's own addresses pass, for tests.
    pub(crate) allow_local: bool,
}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_local = self.allow_local;
        Box::pin(async move {
            let found: Vec<_> = lookup_host((name.as_str(), 0)).await?.collect();
            if found.iter().all(|address| is_public(address.ip(), allow_local)) {
                return Ok(Box::new(found.into_iter()) as Addrs);
            }
            Err(io::Error::other("the name has an address that is not public").into())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn resolve(name: &str, allow_local: bool) -> Option<usize> {
        let resolver = PublicOnly { allow_local };
        resolver.resolve(name.parse().unwrap()).await.ok().map(Iterator::count)
    }

    #[tokio::test]
    async fn a_name_of_this_machine_is_refused_unless_that_is_allowed() {
        assert_eq!(resolve("localhost", false).await, None);
        assert!(resolve("localhost", true).await.is_some_and(|count| count > 0));
    }
}
