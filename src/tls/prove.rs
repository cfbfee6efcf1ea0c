//! The last proof of an identity: a TLS handshake with it, in memory.

use std::{net::Ipv4Addr, ops::DerefMut, sync::Arc};

use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, Error, ServerConfig, ServerConnection,
    SideData,
    pki_types::{IpAddr, ServerName},
    sign::{CertifiedKey, SingleCertAndKey},
};

use super::{
    provider,
    trust::verifier::{BackendVerifier, Check},
};

/// Flights after which a handshake that is not over never will be.
const FLIGHTS: usize = 8;

/// Completes a handshake whose client believes any certificate but checks its signature.
pub(crate) fn handshake_with(identity: CertifiedKey) -> Result<(), Error> {
    let name = ServerName::IpAddress(IpAddr::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST)));
    let mut client = ClientConnection::new(any_client()?, name)?;
    let mut server = ServerConnection::new(server_of(identity)?)?;
    complete(&mut client, &mut server)
}

fn any_client() -> Result<Arc<ClientConfig>, Error> {
    let verifier = BackendVerifier::new(Check::Nothing, vec![])?;
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn server_of(identity: CertifiedKey) -> Result<Arc<ServerConfig>, Error> {
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
    Ok(Arc::new(config))
}

/// Carries flights between the two until neither has anything to say.
pub(crate) fn complete(
    client: &mut ClientConnection,
    server: &mut ServerConnection,
) -> Result<(), Error> {
    for _ in 0..FLIGHTS {
        pass(client, server)?;
        pass(server, client)?;
        let quiet = !client.wants_write() && !server.wants_write();
        if quiet && !client.is_handshaking() && !server.is_handshaking() {
            return Ok(());
        }
    }
    Err(Error::HandshakeNotComplete)
}

/// Gives everything that `from` has to say to `to`.
fn pass<F: SideData, T: SideData>(
    from: &mut impl DerefMut<Target = ConnectionCommon<F>>,
    to: &mut impl DerefMut<Target = ConnectionCommon<T>>,
) -> Result<(), Error> {
    let mut flight = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut flight).map_err(|it| in_memory(&it))?;
    }
    let mut flight = flight.as_slice();
    while !flight.is_empty() {
        to.read_tls(&mut flight).map_err(|it| in_memory(&it))?;
        to.process_new_packets()?;
    }
    Ok(())
}

fn in_memory(error: &std::io::Error) -> Error {
    Error::General(error.to_string())
}
