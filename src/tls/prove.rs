//! The last proof of an identity: that handshakes with it succeed.
//!
//! A handshake for each of ten thousand identities takes seconds, so what it would find is checked
//! one by one where that costs less:
//!
//! - the key is the leaf's: their public halves are the same bytes, and clients can read the leaf;
//! - the private half fits the public half: for RSA, aws-lc has checked that when it read the key
//!   (n = pq, de ≡ 1 modulo p - 1 and q - 1, and the parameters for the Chinese remainder theorem),
//!   and for ECDSA too (`EC_KEY_check_key`: the public point is the generator times the private number);
//!   keys of other kinds sign something that the leaf then has to verify;
//! - the key signs by a scheme that clients offer;
//! - the chain fits into one handshake message: a long one is proved by a whole handshake.

use std::{net::Ipv4Addr, ops::DerefMut, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, ClientConnection, ConnectionCommon, Error, PeerIncompatible,
    ServerConfig, ServerConnection, SideData, SignatureAlgorithm,
    pki_types::{IpAddr, ServerName},
    sign::{CertifiedKey, SigningKey, SingleCertAndKey},
};

use super::{
    material::KeyPair,
    provider,
    trust::verifier::{BackendVerifier, Check},
};

/// The most bytes of a chain that surely fit: rustls reads handshake messages of up to 64 KiB, and
/// each certificate has a few bytes around it.
const SHORT_CHAIN: usize = 32 * 1024;

/// What is signed for a proof.
const SAMPLE: &[u8] = b"a sample that proves that a private key fits its certificate";

/// Flights after which a handshake that is not over never will be.
const FLIGHTS: usize = 8;

/// Proves that handshakes with a chain succeed where `key`, its private key, signs.
///
/// `public` are the bits of the leaf's public key, as its `SubjectPublicKeyInfo` holds them.
pub(crate) fn serves(pair: &KeyPair, key: Arc<dyn SigningKey>, public: &[u8]) -> Result<(), Error> {
    let identity = CertifiedKey::new(pair.certificates(), key);
    identity.keys_match()?;
    let length: usize = pair.chain.iter().map(|it| it.as_bytes().len()).sum();
    if length > SHORT_CHAIN {
        return handshake_with(identity);
    }
    signs_for(identity.key.as_ref(), public)
}

/// Proves that a key signs as its public half and the clients' schemes demand.
fn signs_for(key: &dyn SigningKey, public: &[u8]) -> Result<(), Error> {
    let algorithms = provider().signature_verification_algorithms;
    let signer = key
        .choose_scheme(&algorithms.supported_schemes())
        .ok_or(PeerIncompatible::NoSignatureSchemesInCommon)?;
    if matches!(
        key.algorithm(),
        SignatureAlgorithm::RSA | SignatureAlgorithm::ECDSA
    ) {
        return Ok(());
    }
    let signature = signer.sign(SAMPLE)?;
    let scheme = signer.scheme();
    let mut verifiers = algorithms
        .mapping
        .iter()
        .filter(|(it, _)| *it == scheme)
        .flat_map(|(_, verifiers)| verifiers.iter());
    if verifiers.any(|it| it.verify_signature(public, SAMPLE, &signature).is_ok()) {
        Ok(())
    } else {
        Err(Error::InvalidCertificate(CertificateError::BadSignature))
    }
}

/// Completes a handshake whose client believes any certificate but checks its signature.
fn handshake_with(identity: CertifiedKey) -> Result<(), Error> {
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
