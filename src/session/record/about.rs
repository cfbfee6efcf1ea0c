//! What is known of a session in its record.

use std::sync::Arc;

use super::{
    Damaged, TooLong,
    fields::{
        put_address, put_bytes, put_text, take_address, take_bytes, take_flag, take_text, take_u64,
    },
};
use crate::{
    protocol::bytes::Reader,
    session::{
        chains::ClientChain,
        live::{ClientTls, Facts},
        peers::Peers,
    },
    tls::records::State,
};

/// The most bytes of a text that is recorded. The longest is the address of a backend, whose path or name has
/// less than 300.
pub(super) const MOST_TEXT: usize = 1024;

/// The most certificates of a client that are recorded. rustls takes no longer path than that of six authorities
/// above the client's own, and clients send some that lead nowhere.
const MOST_CERTIFICATES: usize = 32;

/// The most bytes of all of a client's certificates together: rustls reads handshake messages of 64 KiB.
pub(super) const MOST_CHAIN: usize = 64 * 1024;

/// Appends what is known of a session; on an error nothing is appended.
pub(super) fn put(facts: &Facts, out: &mut Vec<u8>) -> Result<(), TooLong> {
    let texts = [
        facts.server_name.as_deref(),
        facts.user.as_deref(),
        facts.backend.as_deref(),
    ];
    let chain = facts.tls.as_ref().and_then(|it| it.certificate.as_deref());
    let ders = chain.map_or(&[][..], |chain| &chain.ders);
    let length = ders.iter().map(|der| der.len()).sum();
    bounded(ders.len(), MOST_CERTIFICATES)?;
    bounded(length, MOST_CHAIN)?;
    for text in texts.iter().flatten() {
        bounded(text.len(), MOST_TEXT)?;
    }
    put_address(facts.peers.client, out);
    put_address(facts.peers.via, out);
    out.extend_from_slice(&facts.generation.to_be_bytes());
    out.push(u8::from(facts.tls.is_some()));
    for text in texts {
        put_text(text, out);
    }
    out.push(u8::try_from(ders.len()).unwrap_or(u8::MAX));
    for der in ders {
        put_bytes(der, out);
    }
    Ok(())
}

pub(super) fn bounded(length: usize, limit: usize) -> Result<(), TooLong> {
    if length > limit {
        return Err(TooLong { length, limit });
    }
    Ok(())
}

/// Takes what is known of a session; `tls` is the TLS of its client, if it has any.
pub(super) fn take(reader: &mut Reader<'_>, tls: Option<&State>) -> Result<Facts, Damaged> {
    let mut peers = Peers::direct(take_address(reader)?);
    peers.via = take_address(reader)?;
    let generation = take_u64(reader)?;
    let has_tls = take_flag(reader)?;
    if has_tls != tls.is_some() {
        return Err(Damaged::Value);
    }
    let mut text = || take_text(reader, MOST_TEXT);
    let (server_name, user, backend) = (text()?, text()?, text()?);
    let chain = take_chain(reader)?;
    if chain.is_some() && tls.is_none() {
        return Err(Damaged::Value);
    }
    Ok(Facts {
        peers,
        generation,
        tls: tls.map(|tls| ClientTls {
            version: tls.version().name(),
            suite: Some(tls.suite().name),
            certificate: chain.map(Arc::new),
        }),
        server_name,
        user,
        backend,
    })
}

/// Takes the certificates of a client, if it has shown any.
fn take_chain(reader: &mut Reader<'_>) -> Result<Option<ClientChain>, Damaged> {
    let count = usize::from(reader.u8().ok_or(Damaged::Short)?);
    if count > MOST_CERTIFICATES {
        return Err(Damaged::Length);
    }
    let mut left = MOST_CHAIN;
    let mut ders = Vec::with_capacity(count);
    for _ in 0..count {
        let der = take_bytes(reader, left)?;
        left -= der.len();
        ders.push(Box::from(der));
    }
    Ok(ClientChain::of(ders))
}
