//! What ends when, and what happens then.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Moment;

/// Something in service that ends at a known moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expiry {
    /// What kind of thing it is.
    pub kind: ExpiryKind,
    /// What it belongs to, as `identity "default"` or `listener "orders" client_auth`.
    pub owner: String,
    /// The distinguished name of its holder; of a revocation list, of its issuer.
    pub name: String,
    /// Its file, where it has one of its own.
    pub file: Option<String>,
    /// The first moment at which it is valid.
    pub starts_at: Moment,
    /// The last moment at which it is valid.
    pub ends_at: Moment,
    /// Whole days until then, negative once it has passed.
    pub days_left: i64,
    /// What happens then.
    pub effect: ExpiryEffect,
}

/// What kind of thing ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExpiryKind {
    /// The leaf of an identity.
    Identity,
    /// A certificate that is sent between the leaf and its authority.
    Intermediate,
    /// A revocation list, which should be replaced by then.
    RevocationList,
    /// An authority that issues clients' certificates.
    ClientAuthority,
    /// The proxy's own certificate towards a backend, or an intermediate of it.
    BackendClientCertificate,
    /// An authority that issues backends' certificates.
    BackendAuthority,
    /// What a backend showed last.
    BackendCertificate,
}

/// What happens when something ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExpiryEffect {
    /// Clients of that authority are refused.
    RefusesClients,
    /// The backend is refused.
    RefusesBackend,
    /// Backends refuse the proxy.
    BackendsRefuse,
    /// Clients refuse the proxy.
    ClientsRefuse,
    /// It is accepted all the same.
    AcceptedAnyway,
}

impl ExpiryKind {
    /// Returns its name, as in documents and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Intermediate => "intermediate",
            Self::RevocationList => "revocation-list",
            Self::ClientAuthority => "client-authority",
            Self::BackendClientCertificate => "backend-client-certificate",
            Self::BackendAuthority => "backend-authority",
            Self::BackendCertificate => "backend-certificate",
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Identity => "certificate",
            Self::Intermediate => "intermediate",
            Self::RevocationList => "revocation list of",
            Self::ClientAuthority => "client authority",
            Self::BackendClientCertificate => "certificate towards the backend",
            Self::BackendAuthority => "backend authority",
            Self::BackendCertificate => "backend's certificate",
        }
    }
}

impl ExpiryEffect {
    /// Returns its name, as in documents and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RefusesClients => "refuses-clients",
            Self::RefusesBackend => "refuses-backend",
            Self::BackendsRefuse => "backends-refuse",
            Self::ClientsRefuse => "clients-refuse",
            Self::AcceptedAnyway => "accepted-anyway",
        }
    }

    /// Says what happens from then on.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::RefusesClients => "clients of that authority are refused",
            Self::RefusesBackend => "the backend is refused",
            Self::BackendsRefuse => "backends refuse the proxy",
            Self::ClientsRefuse => "clients refuse the connection",
            Self::AcceptedAnyway => "it is accepted all the same",
        }
    }
}

/// Names it, as `identity "default": its intermediate CN=ca`.
impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: its {} {}", self.owner, self.kind.noun(), self.name)
    }
}
