//! The one place where the name of a host becomes addresses.

use std::{io, net::IpAddr};

use tokio::net::lookup_host;

/// The most addresses of a name that are taken.
const MOST: usize = 64;

/// Looks up names for this worker.
#[derive(Debug, Default)]
pub(super) struct Names;

/// Why a name has no addresses.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookupError {
    /// The lookup failed.
    #[error("its name cannot be resolved: {0}")]
    Failed(#[from] io::Error),
    /// It found none.
    #[error("its name has no address")]
    Empty,
}

impl Names {
    /// Returns the addresses of a host, the preferred one first; at least one. Lookups of other names
    /// are not waited for.
    pub(super) async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, LookupError> {
        let found = lookup_host((host, 0)).await?;
        let found: Vec<_> = found.map(|it| it.ip()).take(MOST).collect();
        if found.is_empty() {
            return Err(LookupError::Empty);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_cannot_be_resolved_is_an_error_that_says_so() {
        // No name server is asked for a label that is so long.
        let error = Names.lookup(&"x".repeat(64)).await.unwrap_err();
        let words = error.to_string();
        assert!(
            words.starts_with("its name cannot be resolved: "),
            "{words}"
        );
    }

    #[tokio::test]
    async fn a_name_has_the_addresses_that_the_machine_knows() {
        let found = Names.lookup("localhost").await.unwrap();
        assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
    }
}
