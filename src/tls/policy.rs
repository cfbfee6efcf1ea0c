//! Material and settings to the configurations that handshakes use.
//!
//! Nothing is resumed by itself: a resumed session goes on believing what was believed of the
//! certificates when it began. Where an operator asks for tickets, they open only while all that
//! this belief stands on is the same; see [`super::tickets`].

use std::sync::Arc;

use rustls::{
    ClientConfig, ServerConfig, SupportedProtocolVersion,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};

use super::{
    dissolve::SecretNotes,
    material::{BackendTrust, Bundle, ContentHash, Der, ListenerMaterial, Material},
    provider,
    resolver::{Keyring, Resolver},
    tickets::{TicketSecrets, Tickets},
    trust::{
        TrustError,
        clients::ClientVerifier,
        verifier::{BackendVerifier, Check},
    },
};
use crate::{
    config::{
        Address, BackendTls, BackendTlsMode, ClientAuthMode, Listener, Resumption, TlsVersion,
    },
    protocol::Protocol,
};

/// Tickets that a client of TLS 1.3 is given after a handshake, for as many connections at a time.
const TLS13_TICKETS: usize = 2;

/// Why a listener's material cannot be turned into a configuration.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The material is of another configuration.
    #[error("listener \"{listener}\": the TLS material holds no {what}")]
    Missing {
        /// The listener.
        listener: String,
        /// What is not there.
        what: String,
    },
    /// The backend's certificate must hold a name, and nothing says which.
    #[error(
        "listener \"{listener}\": \"{name}\" is no host name that the backend's certificate \
             could hold; set backend_tls.server_name"
    )]
    ServerName {
        /// The listener.
        listener: String,
        /// What was taken for the name.
        name: String,
    },
    /// The client bundle cannot be used.
    #[error("listener \"{listener}\": client_auth: {source}")]
    Clients {
        /// The listener.
        listener: String,
        /// What was wrong.
        source: TrustError,
    },
    /// What the backend is checked with cannot be used.
    #[error("listener \"{listener}\": backend_tls: {source}")]
    Backend {
        /// The listener.
        listener: String,
        /// What was wrong.
        source: TrustError,
    },
    /// Something else was refused.
    #[error("listener \"{listener}\": {source}")]
    Tls {
        /// The listener.
        listener: String,
        /// What was wrong.
        source: rustls::Error,
    },
}

/// Proves that workers can serve `material`, by building everything that they will.
///
/// A generation that they refuse would leave no worker to serve at all.
pub(crate) fn prove(listeners: &[Listener], material: &Material) -> Result<(), PolicyError> {
    let mut keyring = Keyring::new(&material.identities, &Keyring::default());
    for listener in listeners {
        let resolver = resolver(listener, &mut keyring)?;
        server_config(listener, material, &resolver, &TicketSecrets::default())?;
        client_config(listener, material)?;
    }
    Ok(())
}

/// Returns what chooses among a listener's identities.
pub fn resolver(listener: &Listener, keyring: &mut Keyring) -> Result<Arc<Resolver>, PolicyError> {
    let missing = |name| At(listener).missing(format!("identity \"{name}\""));
    keyring.resolver(listener).map_err(missing)
}

/// What a listener's clients meet.
#[derive(Debug, Clone)]
pub struct ClientPolicy {
    /// How handshakes are made.
    pub(super) config: Arc<ServerConfig>,
    /// What checks their certificates; `None` asks for none.
    pub(super) verifier: Option<Arc<ClientVerifier>>,
    tickets: Option<Arc<Tickets>>,
}

impl ClientPolicy {
    /// Returns whether a revocation list names the certificate of a client, which is the first, or one that it
    /// sent along, so that a handshake with it would be refused now for that.
    pub fn is_revoked<D: AsRef<[u8]>>(&self, chain: &[D]) -> bool {
        let (Some(verifier), Some((leaf, intermediates))) = (&self.verifier, chain.split_first())
        else {
            return false;
        };
        let leaf = CertificateDer::from(leaf.as_ref());
        let intermediates = intermediates.iter();
        let intermediates: Vec<_> = intermediates
            .map(|it| CertificateDer::from(it.as_ref()))
            .collect();
        verifier.is_revoked(&leaf, &intermediates, UnixTime::now())
    }

    /// Takes other secrets to make tickets with.
    pub fn renew_tickets(&self, secrets: &TicketSecrets) {
        if let Some(tickets) = &self.tickets {
            tickets.renew(secrets);
        }
    }
}

/// What a listener's backends meet.
#[derive(Debug, Clone)]
pub struct BackendPolicy {
    config: Arc<ClientConfig>,
    /// The names that they are known by, in their order.
    names: Vec<ServerName<'static>>,
}

impl BackendPolicy {
    /// Returns how handshakes are made with the backend at a position, and its name; `None` if there
    /// is none.
    pub fn at(&self, position: usize) -> Option<(Arc<ClientConfig>, ServerName<'static>)> {
        let name = self.names.get(position)?;
        Some((Arc::clone(&self.config), name.clone()))
    }
}

/// Builds what a listener's clients meet.
///
/// A client that offers application protocols must offer `postgresql` where that is spoken; one
/// that offers none is served like any other.
pub fn server_config<I>(
    listener: &Listener,
    material: &Material<I>,
    resolver: &Arc<Resolver>,
    secrets: &TicketSecrets,
) -> Result<ClientPolicy, PolicyError> {
    let at = At(listener);
    let verifier = at.client_verifier(material)?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions(listener.tls.min_version))
        .map_err(|it| at.tls(it))?;
    let mut config = match &verifier {
        None => builder.with_client_cert_verifier(WebPkiClientVerifier::no_client_auth()),
        Some(verifier) => builder.with_client_cert_verifier(Arc::<ClientVerifier>::clone(verifier)),
    }
    .with_cert_resolver(Arc::<Resolver>::clone(resolver));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.alpn_protocols = alpn(listener.protocol);
    // A session is taken apart when its handshake is over.
    config.enable_secret_extraction = true;
    config.key_log = Arc::new(SecretNotes);
    let tickets = match listener.tls.resumption {
        Resumption::Off => None,
        Resumption::Tickets => Some(Arc::new(Tickets::new(
            at.context(material, resolver)?,
            secrets,
        ))),
    };
    config.send_tls13_tickets = match &tickets {
        None => 0,
        Some(tickets) => {
            config.ticketer = Arc::<Tickets>::clone(tickets);
            TLS13_TICKETS
        }
    };
    Ok(ClientPolicy {
        config: Arc::new(config),
        verifier,
        tickets,
    })
}

/// Builds what a listener's backends meet; `None` without TLS there.
pub fn client_config<I>(
    listener: &Listener,
    material: &Material<I>,
) -> Result<Option<BackendPolicy>, PolicyError> {
    let at = At(listener);
    let Some(check) = check(listener.backend_tls.mode) else {
        return Ok(None);
    };
    let own = at.material(material)?;
    let (trusted, lists) = at.trusted(check, own, material)?;
    let verifier = BackendVerifier::new(check, trusted).map_err(|it| at.tls(it))?;
    let verifier = verifier
        .with_lists(lists)
        .map_err(|source| PolicyError::Backend {
            listener: at.listener(),
            source: source.into(),
        })?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions(TlsVersion::V1_2))
        .map_err(|it| at.tls(it))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match at.backend_identity(own)? {
        Some(pair) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair))),
        None => builder.with_no_client_auth(),
    };
    config.resumption = rustls::client::Resumption::disabled();
    config.enable_secret_extraction = true;
    config.key_log = Arc::new(SecretNotes);
    config.alpn_protocols = alpn(listener.protocol);
    let backends = listener.backends.iter();
    let names = backends.map(|backend| at.server_name(check, backend));
    let names: Vec<_> = names.collect::<Result<_, _>>()?;
    // The placeholder is an address, and those are never sent (RFC 6066 §3).
    config.enable_sni = names.iter().any(|name| *name != no_name());
    Ok(Some(BackendPolicy {
        config: Arc::new(config),
        names,
    }))
}

fn versions(min: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static ALL: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    match min {
        TlsVersion::V1_2 => &ALL,
        TlsVersion::V1_3 => &ALL[..1],
    }
}

fn alpn(protocol: Protocol) -> Vec<Vec<u8>> {
    let names = protocol.traits().alpn.iter();
    names.map(|name| name.to_vec()).collect()
}

fn check(mode: BackendTlsMode) -> Option<Check> {
    match mode {
        BackendTlsMode::Off => None,
        BackendTlsMode::Require => Some(Check::Nothing),
        BackendTlsMode::VerifyCa => Some(Check::Issuer),
        BackendTlsMode::VerifyFull => Some(Check::IssuerAndName),
    }
}

fn certificates(ders: &[Der]) -> Vec<CertificateDer<'static>> {
    ders.iter().map(Der::to_certificate).collect()
}

/// The listener that a configuration is built for; it puts its name into every error.
struct At<'a>(&'a Listener);

impl At<'_> {
    fn listener(&self) -> String {
        self.0.name.clone()
    }

    fn tls(&self, source: rustls::Error) -> PolicyError {
        let listener = self.listener();
        PolicyError::Tls { listener, source }
    }

    fn missing(&self, what: impl Into<String>) -> PolicyError {
        PolicyError::Missing {
            listener: self.listener(),
            what: what.into(),
        }
    }

    fn material<'m, I>(
        &self,
        material: &'m Material<I>,
    ) -> Result<&'m ListenerMaterial, PolicyError> {
        material
            .listener(&self.0.name)
            .ok_or_else(|| self.missing("entry for it"))
    }

    fn clients<'m, I>(&self, material: &'m Material<I>) -> Result<Option<&'m Bundle>, PolicyError> {
        if self.0.client_auth.mode == ClientAuthMode::Off {
            return Ok(None);
        }
        let clients = self.material(material)?.clients.as_ref();
        clients
            .ok_or_else(|| self.missing("client bundle"))
            .map(Some)
    }

    fn client_verifier<I>(
        &self,
        material: &Material<I>,
    ) -> Result<Option<Arc<ClientVerifier>>, PolicyError> {
        let Some(bundle) = self.clients(material)? else {
            return Ok(None);
        };
        let verifier = ClientVerifier::new(&self.0.client_auth, bundle);
        verifier
            .map(|it| Some(Arc::new(it)))
            .map_err(|source| PolicyError::Clients {
                listener: self.listener(),
                source,
            })
    }

    /// Returns a digest of all that a session of this listener is believed for.
    ///
    /// What the configuration says is taken as a whole, so that no later key is forgotten here.
    fn context<I>(
        &self,
        material: &Material<I>,
        resolver: &Resolver,
    ) -> Result<[u8; 32], PolicyError> {
        let Listener {
            tls, client_auth, ..
        } = self.0;
        let mut hash = ContentHash::new();
        hash.text("listener", &self.0.name);
        hash.text("policy", &format!("{tls:?} {client_auth:?}"));
        for identity in resolver.identities() {
            hash.text("identity", identity.name());
            hash.field("pair", &identity.digest());
        }
        if let Some(bundle) = self.clients(material)? {
            hash.list("client root", &bundle.roots);
            hash.list("crl", &bundle.crls);
        }
        Ok(hash.finish())
    }

    /// Returns the authorities that a backend is checked with, and their revocation lists.
    fn trusted<'m, I>(
        &self,
        check: Check,
        own: &'m ListenerMaterial,
        material: &Material<I>,
    ) -> Result<(Vec<CertificateDer<'static>>, &'m [Der]), PolicyError> {
        match &own.backend {
            _ if check == Check::Nothing => Ok((Vec::new(), &[])),
            Some(BackendTrust::Roots(bundle)) => Ok((certificates(&bundle.roots), &bundle.crls)),
            Some(BackendTrust::System) => Ok((certificates(&material.system_roots), &[])),
            None => Err(self.missing("authorities for its backend")),
        }
    }

    fn backend_identity(
        &self,
        own: &ListenerMaterial,
    ) -> Result<Option<CertifiedKey>, PolicyError> {
        own.backend_identity
            .as_ref()
            .map(|pair| pair.certified().map_err(|it| self.tls(it)))
            .transpose()
    }

    /// Returns a backend's name.
    fn server_name(
        &self,
        check: Check,
        backend: &Address,
    ) -> Result<ServerName<'static>, PolicyError> {
        let name = configured_name(&self.0.backend_tls, backend);
        match ServerName::try_from(name.clone()) {
            Ok(name) => Ok(name),
            Err(_) if check != Check::IssuerAndName => Ok(no_name()),
            Err(_) => Err(PolicyError::ServerName {
                listener: self.listener(),
                name,
            }),
        }
    }
}

fn configured_name(tls: &BackendTls, backend: &Address) -> String {
    match (&tls.server_name, backend) {
        (Some(name), _) => name.clone(),
        (None, Address::Tcp { host, .. }) => host.clone(),
        (None, Address::Unix(path)) => path.display().to_string(),
    }
}

/// Stands in where no name is checked and none is sent.
pub(super) fn no_name() -> ServerName<'static> {
    ServerName::from(std::net::IpAddr::from([127, 0, 0, 1]))
}

#[cfg(test)]
mod tests;
