//! Material and settings to the configurations that handshakes use.
//!
//! Resumption is off on both sides: a resumed session would go on showing the certificate, and
//! believing the client's, of the generation it began in. With ECDSA a full handshake costs the
//! server no more than a resumed one.

use std::sync::Arc;

use rustls::{
    ClientConfig, ServerConfig, SupportedProtocolVersion,
    client::{Resumption, VerifierBuilderError},
    pki_types::{CertificateDer, ServerName},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};

use super::{
    bundle,
    material::{BackendTrust, Der, ListenerMaterial, Material},
    provider,
    resolver::{Keyring, Resolver},
    verifier::{BackendVerifier, Check},
};
use crate::{
    config::{Address, BackendTls, BackendTlsMode, ClientAuthMode, Listener, TlsVersion},
    protocol::{Protocol, postgres},
};

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
        source: VerifierBuilderError,
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

/// Returns what chooses among a listener's identities.
pub fn resolver(listener: &Listener, keyring: &mut Keyring) -> Result<Arc<Resolver>, PolicyError> {
    let missing = |name| At(listener).missing(format!("identity \"{name}\""));
    keyring.resolver(listener).map_err(missing)
}

/// What a listener's clients meet.
pub type ClientPolicy = Arc<ServerConfig>;

/// What a listener's backend meets, and the name that it is known by.
pub type BackendPolicy = (Arc<ClientConfig>, ServerName<'static>);

/// Builds what a listener's clients meet.
///
/// A client that offers application protocols must offer `postgresql` where that is spoken; one
/// that offers none is served like any other.
pub fn server_config(
    listener: &Listener,
    material: &Material,
    resolver: Arc<Resolver>,
) -> Result<ClientPolicy, PolicyError> {
    let at = At(listener);
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions(listener.tls.min_version))
        .map_err(|it| at.tls(it))?
        .with_client_cert_verifier(at.client_verifier(material)?)
        .with_cert_resolver(resolver);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = alpn(listener.protocol);
    Ok(Arc::new(config))
}

/// Builds what a listener's backend meets, and the name it goes by; `None` without TLS there.
pub fn client_config(
    listener: &Listener,
    material: &Material,
) -> Result<Option<BackendPolicy>, PolicyError> {
    let at = At(listener);
    let Some(check) = check(listener.backend_tls.mode) else {
        return Ok(None);
    };
    let own = at.material(material)?;
    let trusted = at.trusted(check, own, material)?;
    let verifier = BackendVerifier::new(check, trusted).map_err(|it| at.tls(it))?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions(TlsVersion::V1_2))
        .map_err(|it| at.tls(it))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match at.backend_identity(own)? {
        Some(pair) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair))),
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    config.alpn_protocols = alpn(listener.protocol);
    let (name, sendable) = at.server_name(check)?;
    config.enable_sni = sendable;
    Ok(Some((Arc::new(config), name)))
}

fn versions(min: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static ALL: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    match min {
        TlsVersion::V1_2 => &ALL,
        TlsVersion::V1_3 => &ALL[..1],
    }
}

fn alpn(protocol: Protocol) -> Vec<Vec<u8>> {
    match protocol {
        Protocol::Postgres => vec![postgres::ALPN.to_vec()],
        Protocol::Mysql | Protocol::Tcp => Vec::new(),
    }
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

    fn material<'m>(&self, material: &'m Material) -> Result<&'m ListenerMaterial, PolicyError> {
        material
            .listener(&self.0.name)
            .ok_or_else(|| self.missing("entry for it"))
    }

    fn client_verifier(
        &self,
        material: &Material,
    ) -> Result<Arc<dyn ClientCertVerifier>, PolicyError> {
        let optional = match self.0.client_auth.mode {
            ClientAuthMode::Off => return Ok(WebPkiClientVerifier::no_client_auth()),
            ClientAuthMode::Optional => true,
            ClientAuthMode::Required => false,
        };
        let clients = self.material(material)?.clients.as_ref();
        let bundle = clients.ok_or_else(|| self.missing("client bundle"))?;
        bundle::client_verifier(bundle, optional).map_err(|source| PolicyError::Clients {
            listener: self.listener(),
            source,
        })
    }

    fn trusted(
        &self,
        check: Check,
        own: &ListenerMaterial,
        material: &Material,
    ) -> Result<Vec<CertificateDer<'static>>, PolicyError> {
        match &own.backend {
            _ if check == Check::Nothing => Ok(Vec::new()),
            Some(BackendTrust::Roots(roots)) => Ok(certificates(roots)),
            Some(BackendTrust::System) => Ok(certificates(&material.system_roots)),
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

    /// Returns the backend's name and whether to send it.
    fn server_name(&self, check: Check) -> Result<(ServerName<'static>, bool), PolicyError> {
        let name = configured_name(&self.0.backend_tls, &self.0.backend);
        match ServerName::try_from(name.clone()) {
            Ok(name) => Ok((name, true)),
            Err(_) if check != Check::IssuerAndName => Ok((nobody(), false)),
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
fn nobody() -> ServerName<'static> {
    ServerName::from(std::net::IpAddr::from([127, 0, 0, 1]))
}

#[cfg(test)]
mod tests;
