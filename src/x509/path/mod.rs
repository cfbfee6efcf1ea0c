//! What clients think of a chain as it is sent: each certificate, and the way from one to the next.
//!
//! Nothing that is found here refuses a chain. A client may trust an intermediate itself, have
//! another one of the same name and key, or look at less than RFC 5280 §6 says, so that for each of
//! these faults some common client may still connect. What no client takes, an expired leaf for
//! instance, is refused where identities are proved.

mod finding;
mod names;

use jiff::Timestamp;
use pkcs5::der::{AnyRef, Decode, Reader, SliceReader};
use rustls::{crypto::WebPkiSupportedAlgorithms, pki_types::AlgorithmIdentifier};
use x509_parser::{certificate::X509Certificate, extensions::ParsedExtension};

pub(crate) use self::finding::{Fault, Finding};
use super::certificate;
use crate::facts::Moment;

/// What a chain is shown for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To clients, by a server.
    Server,
    /// To a server, by a client.
    Client,
}

/// The length of an RSA key in bits below which clients refuse it.
const SHORTEST_RSA: usize = 2048;

/// Judges a chain that is sent, leaf first, by the clock `now` and with these ways to sign.
pub(crate) fn judge(
    chain: &[X509Certificate<'_>],
    purpose: Purpose,
    now: Timestamp,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Vec<Finding> {
    let path = length(chain);
    let mut found = Vec::new();
    let mut add = |place: usize, fault: Fault| {
        found.push(Finding {
            place: place + 1,
            all: chain.len(),
            subject: chain[place].subject().to_string(),
            purpose,
            fault,
        });
    };
    for (place, it) in chain.iter().enumerate() {
        if place >= path && !is_alternative(it, &chain[..path]) {
            add(place, Fault::Stray);
        }
        if let Some(fault) = dates(place, it, &chain[0], now.into()) {
            add(place, fault);
        }
        if !is_self_issued(it)
            && let Some(digest) = certificate::broken_digest(it)
        {
            add(place, Fault::WeakDigest(digest));
        }
    }
    for place in 1..path {
        for fault in authority(chain, place, purpose) {
            add(place, fault);
        }
        if !is_signed(&chain[place - 1], &chain[place], algorithms) {
            add(place - 1, Fault::Signature { by: place + 1 });
        }
    }
    if let Some(missing) = missing(chain, path) {
        add(path - 1, missing);
    }
    found
}

/// Returns the part of a chain that clients follow: from the leaf to each one's issuer, by name.
///
/// Without a self-signed authority at its end, because clients take that from their own trust.
pub(crate) fn followed<'a, 'c>(chain: &'a [X509Certificate<'c>]) -> &'a [X509Certificate<'c>] {
    let length = length(chain);
    match chain.get(length.wrapping_sub(1)) {
        Some(last) if length > 1 && is_self_issued(last) => &chain[..length - 1],
        _ => &chain[..length],
    }
}

/// Returns how many certificates lead from the leaf on, each to its issuer.
fn length(chain: &[X509Certificate<'_>]) -> usize {
    let steps = chain.windows(2).take_while(|it| is_issuer(&it[1], &it[0]));
    chain.len().min(steps.count() + 1)
}

fn is_issuer(issuer: &X509Certificate<'_>, of: &X509Certificate<'_>) -> bool {
    !is_self_issued(of) && issuer.subject().as_raw() == of.issuer().as_raw()
}

fn is_self_issued(it: &X509Certificate<'_>) -> bool {
    it.subject().as_raw() == it.issuer().as_raw()
}

/// Returns whether a certificate is another one for an authority on the path: a cross-signature.
fn is_alternative(it: &X509Certificate<'_>, path: &[X509Certificate<'_>]) -> bool {
    let same = |other: &X509Certificate<'_>| {
        other.subject().as_raw() == it.subject().as_raw()
            && other.public_key().raw == it.public_key().raw
    };
    path.iter().skip(1).any(same)
}

fn dates(
    place: usize,
    it: &X509Certificate<'_>,
    leaf: &X509Certificate<'_>,
    now: Moment,
) -> Option<Fault> {
    let (from, until) = (certificate::not_before(it), certificate::not_after(it));
    let leaf = certificate::not_after(leaf);
    // The leaf's own dates refuse or pass the whole identity.
    if place == 0 {
        return None;
    }
    if now > until {
        return Some(Fault::Expired { until });
    }
    if now < from {
        return Some(Fault::NotYet { from });
    }
    (until < leaf && !is_self_issued(it)).then_some(Fault::EndsBeforeLeaf { until, leaf })
}

/// Returns what keeps the certificate at `place` from vouching for those before it.
fn authority(chain: &[X509Certificate<'_>], place: usize, purpose: Purpose) -> Vec<Fault> {
    let it = &chain[place];
    let mut faults = Vec::new();
    match it.basic_constraints() {
        Ok(Some(constraints)) if constraints.value.ca => {
            // RFC 5280 §4.2.1.9 counts those between it and the leaf, but for self-issued ones.
            let between = chain[1..place].iter().filter(|it| !is_self_issued(it));
            let limit = constraints.value.path_len_constraint;
            if limit.is_some_and(|limit| between.count() > limit as usize) {
                faults.push(Fault::TooFar);
            }
        }
        _ => faults.push(Fault::NoAuthority),
    }
    if matches!(it.key_usage(), Ok(Some(usage)) if !usage.value.key_cert_sign()) {
        faults.push(Fault::NoCertSign);
    }
    if let Ok(Some(usage)) = it.extended_key_usage() {
        let (fits, lacks) = match purpose {
            Purpose::Server => (usage.value.server_auth, "serverAuth"),
            Purpose::Client => (usage.value.client_auth, "clientAuth"),
        };
        if !fits && !usage.value.any && !is_self_issued(it) {
            faults.push(Fault::Purpose { lacks });
        }
    }
    if let Some(bits) = certificate::rsa_bits(it.public_key())
        && bits < SHORTEST_RSA
    {
        faults.push(Fault::ShortKey { bits });
    }
    for extension in it.extensions() {
        if let ParsedExtension::NameConstraints(constraints) = extension.parsed_extension() {
            let names = names::outside(&chain[0], constraints);
            faults.extend(names.map(|name| Fault::Name { name }));
        }
    }
    faults
}

/// Returns what says that the path does not reach an authority that clients may know.
fn missing(chain: &[X509Certificate<'_>], path: usize) -> Option<Fault> {
    let last = &chain[path.checked_sub(1)?];
    if is_self_issued(last) {
        return None;
    }
    let issuer = last.issuer().to_string();
    let strays = &chain[path..];
    if strays.iter().any(|it| !is_alternative(it, &chain[..path])) {
        return Some(Fault::Missing { issuer });
    }
    // Only an intermediate's certificate is worth an address: a root issues few leaves today.
    let alone = path == 1 && certificate::names_issuer_address(last);
    alone.then_some(Fault::Alone { issuer })
}

/// Returns whether the key of `issuer` made the signature of `of`, as far as that can be told: what
/// is signed in a way that is not known here is left to other findings.
pub(crate) fn is_signed(
    of: &X509Certificate<'_>,
    issuer: &X509Certificate<'_>,
    algorithms: &WebPkiSupportedAlgorithms,
) -> bool {
    let key = issuer.public_key();
    let (Some(signed), Some(kind)) = (part(of.as_raw(), 1), part(key.raw, 0)) else {
        return true;
    };
    let is = |id: AlgorithmIdentifier, raw: &[u8]| id.as_ref() == raw;
    let mut fitting = algorithms
        .all
        .iter()
        .filter(|it| is(it.signature_alg_id(), signed));
    let Some(first) = fitting.next() else {
        return true;
    };
    let mut fitting = std::iter::once(first).chain(fitting);
    fitting.any(|it| {
        is(it.public_key_alg_id(), kind)
            && it
                .verify_signature(
                    &key.subject_public_key.data,
                    of.tbs_certificate.as_ref(),
                    &of.signature_value.data,
                )
                .is_ok()
    })
}

/// Returns what the part of a sequence in DER at `place`, from 0, holds.
fn part(sequence: &[u8], place: usize) -> Option<&[u8]> {
    let mut parts = SliceReader::new(AnyRef::from_der(sequence).ok()?.value()).ok()?;
    for _ in 0..place {
        parts.tlv_bytes().ok()?;
    }
    let part = parts.tlv_bytes().ok()?;
    Some(AnyRef::from_der(part).ok()?.value())
}

#[cfg(test)]
mod tests;
