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

use jiff::Timestamp;
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
    check(&joined.pair, role, now).map_err(|fault| vec![fault.into()])?;
    let (facts, host_names) = facts_of(&joined.pair).map_err(|fault| vec![fault.into()])?;
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
            they are sent so";
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
    let (key, leaf) = choose(&parts.keys, &certificates)?;
    if !certificate::is_v3(&certificates[leaf]) {
        return Err(CertificateFault::OldVersion.into());
    }
    let order = chain::order(&certificates, leaf);
    let chain = order.iter().map(|at| &parts.certificates[*at].der);
    Ok(Joined {
        pair: KeyPair {
            chain: chain.map(|it| Der::from(it.to_vec())).collect(),
            key: PrivateKey::new(parts.keys[key].der.clone()),
        },
        is_moved: !order.is_sorted(),
    })
}

/// Returns the places of the key and of the leaf that it belongs to.
fn choose(keys: &[Part], certificates: &[X509Certificate<'_>]) -> Result<(usize, usize), Fault> {
    let halves: Vec<_> = keys.iter().map(public_half).collect();
    let leaf_of = |half: &Vec<u8>| {
        certificates
            .iter()
            .position(|it| it.public_key().raw == half.as_slice())
    };
    let mut pairs: Vec<(usize, usize)> = halves
        .iter()
        .enumerate()
        .filter_map(|(key, half)| Some((key, leaf_of(half.as_ref().ok()?)?)))
        .collect();
    // A key may be there twice.
    pairs.sort_by_key(|(_, leaf)| *leaf);
    pairs.dedup_by_key(|(_, leaf)| *leaf);
    match (pairs.as_slice(), halves.into_iter().find_map(Result::err)) {
        ([pair], _) => Ok(*pair),
        ([], Some(fault)) => Err(short_key(certificates).map_or(fault.into(), Fault::from)),
        ([], None) => Err(cause::mismatch(keys, certificates)),
        (several, _) => Err(KeyFault::SeveralKeys {
            count: several.len(),
        }
        .into()),
    }
}

/// Returns the public half of a key, by which it is known.
fn public_half(key: &Part) -> Result<Vec<u8>, KeyFault> {
    let provider = tls::provider();
    // What rustls cannot name the public half of cannot be proved to belong to anything.
    PrivateKey::new(key.der.clone())
        .to_rustls()
        .and_then(|der| provider.key_provider.load_private_key(der))
        .ok()
        .and_then(|signing| Some(signing.public_key()?.to_vec()))
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

/// Checks that the pair serves.
fn check(pair: &KeyPair, role: Role, now: Timestamp) -> Result<(), CertificateFault> {
    let leaf = parse_leaf(pair)?;
    check_dates(&leaf, now)?;
    check_purpose(&leaf, role)?;
    pair.certified()
        .and_then(prove::handshake_with)
        .map_err(CertificateFault::Handshake)
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

fn facts_of(pair: &KeyPair) -> Result<(CertificateFacts, Vec<String>), CertificateFault> {
    parse_leaf(pair).map(|leaf| (certificate::facts(&leaf), certificate::host_names(&leaf)))
}

#[cfg(test)]
mod tests;
