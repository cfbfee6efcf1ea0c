//! One listener: an address that clients connect to and what happens to them there.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Address, AllowRule, Backends, Network, PairForm};
use crate::protocol::Protocol;

/// An address that clients connect to, and what happens to them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// The unique name that status, metrics and logs use.
    pub name: String,
    /// Where it listens.
    pub bind: Address,
    /// Whether it listens at an address that this machine does not have yet.
    pub freebind: bool,
    /// What is spoken before and inside TLS.
    pub protocol: Protocol,
    /// The servers behind it.
    pub backends: Backends,
    /// The names of the identities, and of the folders of identities, that it presents; the first is
    /// the fallback. Never empty.
    pub identities: Vec<String>,
    /// The names that its clients ask for; `verify` tells which of them no identity holds.
    pub server_names: Vec<String>,
    /// What it asks of a client's TLS.
    pub tls: TlsPolicy,
    /// What it asks of a client's certificate.
    pub client_auth: ClientAuth,
    /// What the connection to the backend looks like.
    pub backend_tls: BackendTls,
    /// What its clients of PostgreSQL do about channel binding.
    pub channel_binding: ChannelBinding,
    /// Whether a client's password may go to the backend in the clear, over a network.
    pub allow_cleartext_password: bool,
    /// PROXY protocol headers towards clients and backends.
    pub proxy_protocol: ProxyProtocol,
    /// Bounds and deadlines.
    pub limits: Limits,
}

impl Listener {
    /// Whether clients may be kept out by the certificates of its two legs: channel binding needs one for
    /// both.
    #[must_use]
    pub fn needs_one_certificate(&self) -> bool {
        self.protocol.traits().channel_binding
            && self.backend_tls.mode != BackendTlsMode::Off
            && self.channel_binding != ChannelBinding::Disable
    }
}

/// What a listener asks of a client's TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsPolicy {
    /// Whether a client may stay in plaintext.
    pub mode: TlsMode,
    /// The oldest TLS version it accepts.
    pub min_version: TlsVersion,
    /// What a client is shown that asks for a name that no identity holds.
    pub unknown_name: UnknownName,
    /// Whether a client may go on with a session of an earlier connection.
    pub resumption: Resumption,
}

/// What a client is shown that asks for a name that no identity holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownName {
    /// The listener's first identity, as is a client that asks for no name.
    Fallback,
    /// Nothing: it is refused with the alert `unrecognized_name` (RFC 6066 §3).
    Refuse,
}

/// Whether a client may go on with the TLS session of an earlier connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resumption {
    /// It may not: every handshake is a full one.
    Off,
    /// It may, with a ticket that it was given (RFC 5077, RFC 8446 §4.6.1).
    Tickets,
}

/// Whether a client may stay in plaintext.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// It may: TLS is offered, and plaintext is passed on.
    Preferred,
    /// It may not.
    Required,
}

/// A TLS protocol version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TlsVersion {
    /// TLS 1.2, RFC 5246.
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3, RFC 8446.
    #[serde(rename = "1.3")]
    V1_3,
}

/// What a listener asks of a client's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientAuth {
    /// Whether a certificate is asked for.
    pub mode: ClientAuthMode,
    /// The PEM file with the authorities that may have issued it; set unless `mode` is off.
    pub ca: Option<PathBuf>,
    /// The PEM files with revocation lists.
    pub crl: Vec<PathBuf>,
    /// What becomes of a client whose authority's list should have been replaced by now.
    pub expired_crl: OnUnknown,
    /// What becomes of a client whose authority has no list, where there are lists.
    pub unknown_revocation: OnUnknown,
    /// What becomes of a client whose authority has lists, none of which is for its certificate.
    pub unscoped_crl: OnUnknown,
    /// Who is let in among those with a good certificate; empty lets in all of them.
    pub allow: Vec<AllowRule>,
}

/// What becomes of a client about whom something is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUnknown {
    /// It is let in.
    Accept,
    /// It is not.
    Refuse,
}

/// Whether a client's certificate is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuthMode {
    /// None is asked for.
    Off,
    /// One is asked for, and checked if it comes.
    Optional,
    /// No session without one.
    Required,
}

/// What the connection to the backend looks like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendTls {
    /// Whether there is TLS, and what is checked.
    pub mode: BackendTlsMode,
    /// The PEM file with the authorities trusted there; `None` trusts the system's.
    pub ca: Option<PathBuf>,
    /// The PEM files with revocation lists of those authorities.
    pub crl: Vec<PathBuf>,
    /// The file with the certificate to show to the backend; `None` shows none.
    pub cert: Option<PathBuf>,
    /// The file with its private key, which may be the same; set if `cert` is.
    pub key: Option<PathBuf>,
    /// What these two look like, and what opens the key.
    pub form: PairForm,
    /// The name its certificate must hold; `None` takes the host of the backend's address.
    pub server_name: Option<String>,
}

/// Whether the connection to the backend uses TLS, and what is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackendTlsMode {
    /// Plaintext.
    Off,
    /// TLS with whatever certificate the backend shows.
    Require,
    /// TLS with a certificate from a trusted authority.
    VerifyCa,
    /// The same, and it must hold the backend's name.
    VerifyFull,
}

/// What clients of PostgreSQL do about channel binding, in the words of libpq's parameter of that
/// name (<https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-CHANNEL-BINDING>).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelBinding {
    /// They use it where the database offers it, as libpq does by itself.
    #[default]
    Prefer,
    /// None uses it.
    Disable,
    /// They insist on it.
    Require,
}

/// PROXY protocol headers towards clients and backends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyProtocol {
    /// Whether there are balancers that begin with one.
    pub accept: bool,
    /// The networks of those balancers; headers from elsewhere are refused. Never empty if `accept`.
    pub from: Vec<Network>,
    /// What backends are sent.
    pub send: ProxyHeaderVersion,
}

/// The PROXY protocol header a backend is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyHeaderVersion {
    /// None.
    Off,
    /// The text form.
    V1,
    /// The binary form.
    V2,
}

/// Bounds and deadlines of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Sessions open at one time, over all workers.
    pub max_connections: u32,
    /// Sessions of one client address open at one time, over all workers; zero is no bound.
    pub per_client: u32,
    /// From accept until TLS is up and the protocol's opening is over.
    pub handshake_timeout: Duration,
    /// For the connection to the backend.
    pub connect_timeout: Duration,
    /// For a session in which no byte moves; zero is for ever.
    pub idle_timeout: Duration,
    /// For a peer that acknowledges nothing while something waits for that; zero leaves it to the kernel.
    pub dead_peer_timeout: Duration,
}

impl Default for TlsPolicy {
    fn default() -> Self {
        Self {
            mode: TlsMode::Required,
            min_version: TlsVersion::V1_2,
            unknown_name: UnknownName::Fallback,
            resumption: Resumption::Off,
        }
    }
}

impl Default for ClientAuth {
    fn default() -> Self {
        Self {
            mode: ClientAuthMode::Off,
            ca: None,
            crl: Vec::new(),
            expired_crl: OnUnknown::Accept,
            unknown_revocation: OnUnknown::Accept,
            unscoped_crl: OnUnknown::Accept,
            allow: Vec::new(),
        }
    }
}

impl Default for BackendTls {
    fn default() -> Self {
        Self {
            mode: BackendTlsMode::Off,
            ca: None,
            crl: Vec::new(),
            cert: None,
            key: None,
            form: PairForm::default(),
            server_name: None,
        }
    }
}

impl Default for ProxyProtocol {
    fn default() -> Self {
        Self {
            accept: false,
            from: Vec::new(),
            send: ProxyHeaderVersion::Off,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            per_client: 0,
            handshake_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::ZERO,
            dead_peer_timeout: Duration::from_secs(120),
        }
    }
}
