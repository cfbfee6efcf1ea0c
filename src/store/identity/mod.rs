//! Chain and key out of what was read, proved to belong together and to serve.

mod cause;
mod chain;
mod fault;
mod lints;
pub(crate) mod pair;
mod parts;
pub(crate) mod passphrase;
pub(crate) mod pbes2;
pub(crate) mod pkcs12;

use std::sync::Arc;

use jiff::Timestamp;
use rustls::sign::SigningKey;
use x509_parser::certificate::X509Certificate;

pub(super) use self::{
    fault::{CertificateFault, Fault, KeyFault},
    parts::PairContents,
};
use self::{
    parts::{Part, Parts},
    passphrase::Opener,
};
use crate::{
    config::PairEncoding,
    facts::{CertificateFacts, Moment},
    tls::{
        self,
        material::{Der, KeyPair, PrivateKey},
        prove,
    },
    x509::certificate,
};

/// What an identity is shown for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// To clients that connect here.
    Server,
    /// To a backend that asks who connects.
    Client,
}

/// A pair that may be served, its facts, and what is odd about it.
#[derive(Debug)]
pub(super) struct Proved {
    pub(super) pair: KeyPair,
    pub(super) facts: CertificateFacts,
    /// The host names that a client may ask for to get it.
    pub(super) host_names: Vec<String>,
    /// About the certificate file.
    pub(super) cert_warnings: Vec<String>,
    /// About the key file, which may be the same.
    pub(super) key_warnings: Vec<String>,
    /// About the file with the passphrase.
    pub(super) passphrase_warnings: Vec<String>,
}

/// Checks what was read of a certificate and its key.
pub(super) fn prove(
    contents: &PairContents<'_>,
    role: Role,
    now: Timestamp,
) -> Result<Proved, Vec<Fault>> {
    let mut parts = contents.parts()?;
    let (certificates, duplicates) = chain::without_duplicates(parts.certificates);
    parts.certificates = certificates;
    let joined = join(&parts).map_err(|fault| vec![fault])?;
    let (facts, host_names) = check(&joined, role, now).map_err(|fault| vec![fault.into()])?;
    let mut proved = Proved {
        facts,
        host_names,
        cert_warnings: parts.odd_cert,
        key_warnings: parts.odd_key,
        passphrase_warnings: Vec::new(),
        pair: joined.pair,
    };
    if duplicates > 0 {
        let odd = "it holds a certificate more than once; the copies are not sent";
        proved.cert_warnings.push(odd.to_owned());
    }
    if joined.is_moved && contents.encoding == PairEncoding::Pem {
        let odd = "its certificates are not in order, the leaf first and then each one's issuer; \
            they are sent in that order";
        proved.cert_warnings.push(odd.to_owned());
    }
    let odd = lints::odd_chain(&proved.pair, role, now);
    proved.cert_warnings.extend(odd);
    proved.key_warnings.extend(spare_keys(parts.keys.len()));
    let key = contents.key.unwrap_or(contents.cert);
    proved
        .key_warnings
        .extend(lints::odd_mode(key, "private key"));
    if let Opener::File(_, file) = contents.opener {
        proved
            .passphrase_warnings
            .extend(lints::odd_mode(file, "passphrase"));
    }
    Ok(proved)
}

fn spare_keys(count: usize) -> Option<String> {
    (count > 1).then(|| {
        format!("it holds {count} private keys; the one that belongs to the certificate is used")
    })
}

/// A chain in order with its key.
struct Joined {
    pair: KeyPair,
    /// What signs with the key.
    key: Arc<dyn SigningKey>,
    /// Whether the order is another than that of the file.
    is_moved: bool,
}

/// Finds the leaf by the key, and the chain from there.
fn join(parts: &Parts) -> Result<Joined, Fault> {
    let certificates: Vec<_> = parts
        .certificates
        .iter()
        .map(Part::parse)
        .collect::<Result<_, _>>()?;
    let Chosen { place, key, leaf } = choose(&parts.keys, &certificates)?;
    if !certificate::is_v3(&certificates[leaf]) {
        return Err(CertificateFault::OldVersion.into());
    }
    let order = chain::order(&certificates, leaf);
    let chain = order.iter().map(|at| &parts.certificates[*at].der);
    Ok(Joined {
        pair: KeyPair {
            chain: chain.map(|it| Der::from(it.to_vec())).collect(),
            key: PrivateKey::new(parts.keys[place].der.clone()),
        },
        key,
        is_moved: !order.is_sorted(),
    })
}

/// A key and the leaf that it belongs to.
struct Chosen {
    /// The place of the key among those that were found.
    place: usize,
    key: Arc<dyn SigningKey>,
    /// The place of the leaf among the certificates.
    leaf: usize,
}

/// Finds the key that belongs to a certificate: the public halves of the two are the same.
fn choose(keys: &[Part], certificates: &[X509Certificate<'_>]) -> Result<Chosen, Fault> {
    let mut chosen: Vec<Chosen> = Vec::new();
    let mut unusable = None;
    for (place, part) in keys.iter().enumerate() {
        match signing_key(part) {
            Ok((key, half)) => {
                let mut leaves = certificates.iter().map(|it| it.public_key().raw);
                let leaf = leaves.position(|it| it == half.as_slice());
                chosen.extend(leaf.map(|leaf| Chosen { place, key, leaf }));
            }
            Err(fault) => unusable = unusable.or(Some(fault)),
        }
    }
    // A key may be there twice.
    chosen.sort_by_key(|it| it.leaf);
    chosen.dedup_by_key(|it| it.leaf);
    match (chosen.len(), chosen.pop(), unusable) {
        (1, Some(chosen), _) => Ok(chosen),
        (_, None, Some(fault)) => Err(short_key(certificates).map_or(fault.into(), Fault::from)),
        (_, None, None) => Err(cause::mismatch(keys, certificates)),
        (count, Some(_), _) => Err(KeyFault::SeveralKeys { count }.into()),
    }
}

/// Reads a key; returns what signs with it, and its public half, by which it is known.
fn signing_key(key: &Part) -> Result<(Arc<dyn SigningKey>, Vec<u8>), KeyFault> {
    let provider = tls::provider();
    // What rustls cannot name the public half of cannot be proved to belong to anything.
    PrivateKey::new(key.der.clone())
        .to_rustls()
        .and_then(|der| provider.key_provider.load_private_key(der))
        .ok()
        .and_then(|signing| {
            let half = signing.public_key()?.to_vec();
            Some((signing, half))
        })
        .ok_or_else(|| cause::unusable(key))
}

/// Returns why a key that belongs to one of these may be unusable.
fn short_key(certificates: &[X509Certificate<'_>]) -> Option<CertificateFault> {
    let bits = certificates
        .iter()
        .filter_map(|it| certificate::rsa_bits(it.public_key()))
        .min()?;
    (bits < 2048).then_some(CertificateFault::ShortKey { bits })
}

/// Checks that the pair serves; returns what a person wants to know of it, and its host names.
fn check(
    joined: &Joined,
    role: Role,
    now: Timestamp,
) -> Result<(CertificateFacts, Vec<String>), CertificateFault> {
    let leaf = parse_leaf(&joined.pair)?;
    check_dates(&leaf, now)?;
    check_purpose(&leaf, role)?;
    let public = &leaf.public_key().subject_public_key.data;
    prove::serves(&joined.pair, Arc::clone(&joined.key), public)
        .map_err(CertificateFault::Handshake)?;
    Ok((certificate::facts(&leaf), certificate::host_names(&leaf)))
}

fn parse_leaf(pair: &KeyPair) -> Result<X509Certificate<'_>, CertificateFault> {
    certificate::parse(pair.leaf()).map_err(|why| CertificateFault::Damaged {
        what: "leaf".to_owned(),
        why,
    })
}

fn check_dates(leaf: &X509Certificate<'_>, now: Timestamp) -> Result<(), CertificateFault> {
    let (from, until) = (certificate::not_before(leaf), certificate::not_after(leaf));
    // A fraction of a second would only hide the date in a message.
    let now = Moment::from(now);
    if now < from {
        return Err(CertificateFault::NotYet { from });
    }
    if now > until {
        return Err(CertificateFault::Expired { until });
    }
    Ok(())
}

/// Refuses a certificate that says what it is for, and not for this.
fn check_purpose(leaf: &X509Certificate<'_>, role: Role) -> Result<(), CertificateFault> {
    let Ok(Some(usage)) = leaf.extended_key_usage() else {
        return Ok(());
    };
    let usage = usage.value;
    let (fits, purpose, name) = match role {
        Role::Server => (usage.server_auth, "servers", "serverAuth"),
        Role::Client => (usage.client_auth, "clients", "clientAuth"),
    };
    if fits || usage.any {
        return Ok(());
    }
    Err(CertificateFault::Purpose {
        purpose,
        usage: name,
    })
}

#[cfg(test)]
mod tests;
