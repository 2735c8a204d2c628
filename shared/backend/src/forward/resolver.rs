//! The resolver of other systems' names, which allows public addresses only.

use std::io;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::lookup_host;

use super::is_public;

/// Resolves a name once for each connection, and refuses it if any of its addresses is not public.
///
/// The connection uses the checked addresses, so changing a name's address in between has no effect
/// (DNS rebinding).
#[derive(Clone, Copy, Debug)]
pub struct PublicOnly {
    /// Whether loopback addresses are allowed, for tests.
    pub allow_local: bool,
}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_local = self.allow_local;
        Box::pin(async move {
            let found: Vec<_> = lookup_host((name.as_str(), 0)).await?.collect();
            if found.iter().all(|address| is_public(address.ip(), allow_local)) {
                return Ok(Box::new(found.into_iter()) as Addrs);
            }
            Err(io::Error::other("the name resolves to an address that is not public").into())
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
