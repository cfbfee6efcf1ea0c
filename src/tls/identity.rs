//! Chain and key out of PEM, proved to belong together and to serve.

use jiff::Timestamp;
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;

use super::{
    certificate,
    files::Content,
    material::{Der, KeyPair, PrivateKey},
    pem::{self, Block, PemFault},
    prove,
    verifier::{BackendVerifier, Check},
};
use crate::control::CertificateFacts;

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
    /// About the key file.
    pub(super) key_warnings: Vec<String>,
}

/// What is wrong, by the file that has to change.
#[derive(Debug)]
pub(super) enum Fault {
    Certificate(CertificateFault),
    Key(KeyFault),
}

/// Why a certificate file cannot be served.
#[derive(Debug, thiserror::Error)]
pub(super) enum CertificateFault {
    #[error(transparent)]
    Pem(#[from] PemFault),
    #[error("it holds no certificate, only: {found}")]
    NoCertificate { found: String },
    #[error("the certificate of line {line} is damaged: {why}")]
    Damaged { line: usize, why: String },
    #[error(
        "the certificate is X.509 version 1; issue it again as version 3 \
         (with any extension, such as subjectAltName)"
    )]
    OldVersion,
    #[error(
        "the certificate is not valid before {from}, and it is {now}; \
         is this machine's clock right?"
    )]
    NotYet { from: Timestamp, now: Timestamp },
    #[error("the certificate expired at {until}, and it is {now}; is this machine's clock right?")]
    Expired { until: Timestamp, now: Timestamp },
    #[error("the certificate is not meant for {purpose}: its extended key usage lacks {usage}")]
    Purpose {
        purpose: &'static str,
        usage: &'static str,
    },
    #[error("its {bits}-bit RSA key is too short to be served; at least 2048 bits are needed")]
    ShortKey { bits: usize },
    #[error(
        "the chain must begin with the leaf: the key belongs to certificate {position}, \
         not to the first"
    )]
    Order { position: usize },
    #[error("a test handshake with it failed: {0}")]
    Handshake(#[source] rustls::Error),
}

/// Why a key file cannot be served.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyFault {
    #[error(transparent)]
    Pem(#[from] PemFault),
    #[error("it holds no private key, only: {found}")]
    NoKey { found: String },
    #[error("it holds {count} private keys; leave the one that belongs to the certificate")]
    SeveralKeys { count: usize },
    #[error(
        "the key needs a passphrase, which nobody can type into a daemon; \
         decrypt it with `openssl pkey` and protect the file by its mode"
    )]
    Encrypted,
    #[error("the {label} of line {line} is damaged or of a kind that is not supported")]
    Unusable { label: String, line: usize },
    #[error("the private key does not match the certificate")]
    Mismatch,
}

/// Checks the content of a certificate file and a key file, which may be the same.
pub(super) fn prove(
    cert: &Content,
    key: &Content,
    role: Role,
    now: Timestamp,
) -> Result<Proved, Vec<Fault>> {
    let (chain, key_block) = match (chain_of(&cert.bytes), key_of(&key.bytes)) {
        (Ok(chain), Ok(key)) => (chain, key),
        (chain, key) => {
            let faults = [
                chain.err().map(Fault::Certificate),
                key.err().map(Fault::Key),
            ];
            return Err(faults.into_iter().flatten().collect());
        }
    };
    let (chain, duplicates) = without_duplicates(chain);
    let pair = KeyPair {
        chain: chain.iter().map(|it| Der::from(it.der.to_vec())).collect(),
        key: PrivateKey::new(key_block.der.clone()),
    };
    check(&pair, &chain, &key_block, role, now).map_err(|fault| vec![fault])?;
    let (facts, host_names) = facts_of(&pair).map_err(|it| vec![Fault::Certificate(it)])?;
    Ok(Proved {
        facts,
        host_names,
        cert_warnings: odd_chain(&pair, role, duplicates, now),
        key_warnings: odd_mode(key).into_iter().collect(),
        pair,
    })
}

fn chain_of(text: &[u8]) -> Result<Vec<Block>, CertificateFault> {
    let (chain, others): (Vec<_>, Vec<_>) = pem::blocks(text)?
        .into_iter()
        .partition(Block::is_certificate);
    if chain.is_empty() {
        let found = pem::labels(&others);
        return Err(CertificateFault::NoCertificate { found });
    }
    for block in &chain {
        parse(block)?;
    }
    Ok(chain)
}

fn parse(block: &Block) -> Result<X509Certificate<'_>, CertificateFault> {
    certificate::parse(&block.der).map_err(|why| CertificateFault::Damaged {
        line: block.line,
        why,
    })
}

fn key_of(text: &[u8]) -> Result<Block, KeyFault> {
    let (mut keys, others): (Vec<_>, Vec<_>) =
        pem::blocks(text)?.into_iter().partition(Block::is_key);
    if keys.iter().any(is_encrypted) {
        return Err(KeyFault::Encrypted);
    }
    match (keys.pop(), keys.len()) {
        (Some(key), 0) => Ok(key),
        (Some(_), more) => Err(KeyFault::SeveralKeys { count: more + 1 }),
        (None, _) => Err(KeyFault::NoKey {
            found: pem::labels(&others),
        }),
    }
}

fn is_encrypted(key: &Block) -> bool {
    key.encrypted || key.label.starts_with("ENCRYPTED")
}

/// Drops what the chain holds twice, as it does when a leaf is joined to a file that has it.
fn without_duplicates(chain: Vec<Block>) -> (Vec<Block>, usize) {
    let all = chain.len();
    let mut kept: Vec<Block> = Vec::with_capacity(all);
    for block in chain {
        if !kept.iter().any(|it| *it.der == *block.der) {
            kept.push(block);
        }
    }
    let dropped = all - kept.len();
    (kept, dropped)
}

fn check(
    pair: &KeyPair,
    chain: &[Block],
    key: &Block,
    role: Role,
    now: Timestamp,
) -> Result<(), Fault> {
    let Some(first) = chain.first() else {
        return Err(Fault::Key(KeyFault::Mismatch));
    };
    let leaf = parse(first).map_err(Fault::Certificate)?;
    let certified = join(pair, chain, key, &leaf)?;
    check_dates(&leaf, now).map_err(Fault::Certificate)?;
    check_purpose(&leaf, role).map_err(Fault::Certificate)?;
    prove::handshake_with(certified)
        .map_err(|error| Fault::Certificate(CertificateFault::Handshake(error)))
}

/// Proves that the key is the leaf's, or says whose it is.
fn join(
    pair: &KeyPair,
    chain: &[Block],
    key: &Block,
    leaf: &X509Certificate<'_>,
) -> Result<CertifiedKey, Fault> {
    if let Some(bits) = certificate::rsa_bits(leaf.public_key()).filter(|bits| *bits < 2048) {
        return Err(Fault::Certificate(CertificateFault::ShortKey { bits }));
    }
    let signing = pair
        .key
        .to_rustls()
        .and_then(|der| super::provider().key_provider.load_private_key(der))
        .map_err(|_| unusable(key))?;
    // What rustls cannot name the public half of cannot be proved to belong to anything.
    let public = signing.public_key().ok_or_else(|| unusable(key))?;
    match chain.iter().position(|it| has_key(it, &public)) {
        None => Err(Fault::Key(KeyFault::Mismatch)),
        Some(0) if !certificate::is_v3(leaf) => {
            Err(Fault::Certificate(CertificateFault::OldVersion))
        }
        Some(0) => pair.certified().map_err(|_| Fault::Key(KeyFault::Mismatch)),
        Some(index) => Err(Fault::Certificate(CertificateFault::Order {
            position: index + 1,
        })),
    }
}

fn unusable(key: &Block) -> Fault {
    Fault::Key(KeyFault::Unusable {
        label: key.label.clone(),
        line: key.line,
    })
}

fn has_key(block: &Block, public: &[u8]) -> bool {
    certificate::parse(&block.der).is_ok_and(|it| it.public_key().raw == public)
}

fn check_dates(leaf: &X509Certificate<'_>, now: Timestamp) -> Result<(), CertificateFault> {
    let (from, until) = (certificate::not_before(leaf), certificate::not_after(leaf));
    // A fraction of a second would only hide the date in a message.
    let now = certificate::timestamp(now.as_second());
    if now < from {
        return Err(CertificateFault::NotYet { from, now });
    }
    if now > until {
        return Err(CertificateFault::Expired { until, now });
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
    certificate::parse(pair.leaf())
        .map(|leaf| (certificate::facts(&leaf), certificate::host_names(&leaf)))
        .map_err(|why| CertificateFault::Damaged { line: 1, why })
}

/// Returns what is odd about a chain that can be served all the same.
fn odd_chain(pair: &KeyPair, role: Role, duplicates: usize, now: Timestamp) -> Vec<String> {
    let mut odd = Vec::new();
    if duplicates > 0 {
        odd.push("it holds a certificate more than once; the copies are not sent".to_owned());
    }
    if role == Role::Server
        && let Ok(leaf) = certificate::parse(pair.leaf())
    {
        odd.extend(odd_server(&leaf).map(str::to_owned));
        odd.extend(odd_issuer(pair, &leaf, now));
    }
    odd
}

fn odd_server(leaf: &X509Certificate<'_>) -> impl Iterator<Item = &'static str> {
    let nameless = !matches!(leaf.subject_alternative_name(), Ok(Some(_)));
    let authority = leaf.is_ca();
    let odd = [
        nameless.then_some(
            "the certificate has no subject alternative name; clients that check the name refuse it",
        ),
        authority.then_some(
            "the certificate is marked as an authority's; some clients refuse it as a server's",
        ),
    ];
    odd.into_iter().flatten()
}

fn odd_issuer(pair: &KeyPair, leaf: &X509Certificate<'_>, now: Timestamp) -> Option<String> {
    let certificates = pair.certificates();
    if let [first, middle @ .., last] = certificates.as_slice() {
        let verifier = BackendVerifier::new(Check::Issuer, vec![last.clone()]).ok()?;
        let error = verifier
            .check_issuer(first, middle, super::unix_time(now))
            .err()?;
        return Some(format!(
            "the certificates after the first do not lead from it to its issuer: {error}"
        ));
    }
    let foreign = leaf.issuer() != leaf.subject();
    (foreign && certificate::names_issuer_address(leaf)).then(|| {
        format!(
            "the chain ends with the leaf; if {} is an intermediate, clients need its \
             certificate here too",
            leaf.issuer()
        )
    })
}

fn odd_mode(key: &Content) -> Option<String> {
    (key.mode & 0o044 != 0).then(|| {
        format!(
            "the private key can be read by others than its owner (mode {:04o})",
            key.mode
        )
    })
}

#[cfg(test)]
mod tests;
