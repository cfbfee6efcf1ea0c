//! The certificates and private keys that the files of a pair hold, out of PEM or PKCS#12 and
//! opened where they are encrypted.

use zeroize::Zeroizing;

use super::{
    fault::{CertificateFault, Fault, KeyFault},
    passphrase::{Opener, Passphrase, PassphraseFault},
    pbes2::{self, Locked},
    pkcs12::{self, StoreFault},
};
use crate::{
    config::PairEncoding,
    store::files::read::Content,
    x509::{
        certificate, foreign,
        pem::{self, Block},
        pem_fault::PemFault,
    },
};

/// Kinds of blocks that tools put beside certificates and keys and that mean nothing here.
const KNOWN_IDLE: [&str; 2] = ["DH PARAMETERS", "EC PARAMETERS"];

/// What was read of the files of a pair.
pub(crate) struct PairContents<'a> {
    /// The file with the certificates.
    pub(crate) cert: &'a Content,
    /// The file with the key; `None` when it is in the same.
    pub(crate) key: Option<&'a Content>,
    /// What the files look like.
    pub(crate) encoding: PairEncoding,
    /// What opens the key.
    pub(crate) opener: Opener<'a>,
}

/// A certificate or key, and where it was found.
pub(super) struct Part {
    /// For example `certificate of line 3`.
    pub(super) what: String,
    pub(super) der: Zeroizing<Vec<u8>>,
}

/// All that the files hold.
#[derive(Default)]
pub(super) struct Parts {
    /// Whole certificates, at least one.
    pub(super) certificates: Vec<Part>,
    /// What are said to be private keys, at least one.
    pub(super) keys: Vec<Part>,
    /// What is odd about the certificate file.
    pub(super) odd_cert: Vec<String>,
    /// What is odd about the key file.
    pub(super) odd_key: Vec<String>,
}

impl Part {
    pub(super) fn parse(
        &self,
    ) -> Result<x509_parser::certificate::X509Certificate<'_>, CertificateFault> {
        certificate::parse(&self.der).map_err(|why| CertificateFault::Damaged {
            what: self.what.clone(),
            why,
        })
    }
}

impl From<Block> for Part {
    fn from(block: Block) -> Self {
        let kind = if block.is_certificate() {
            "certificate"
        } else {
            &block.label
        };
        Self {
            what: format!("{kind} of line {}", block.line),
            der: block.der,
        }
    }
}

#[cfg(test)]
impl<'a> PairContents<'a> {
    /// Returns those of two PEM files.
    pub(crate) fn pem(cert: &'a Content, key: &'a Content) -> Self {
        Self {
            cert,
            key: Some(key),
            encoding: PairEncoding::Pem,
            opener: Opener::Nothing,
        }
    }
}

impl PairContents<'_> {
    /// Takes the files apart, or tells what is wrong with each.
    pub(super) fn parts(&self) -> Result<Parts, Vec<Fault>> {
        let parts = match (self.encoding, self.key) {
            (PairEncoding::Pkcs12, _) => self.store().map_err(|fault| vec![fault])?,
            (PairEncoding::Pem, None) => self.one_file()?,
            (PairEncoding::Pem, Some(key)) => self.two_files(key)?,
        };
        let damaged = parts.certificates.iter().find_map(|it| it.parse().err());
        damaged.map_or(Ok(parts), |fault| Err(vec![fault.into()]))
    }

    fn one_file(&self) -> Result<Parts, Vec<Fault>> {
        let file = Sorted::of(self.cert).map_err(|it| vec![self.no_pem(it)])?;
        let mut odd_key = Vec::new();
        let no_key = |found| KeyFault::NoKeyBeside { found };
        let keys = self.keys(file.keys, &file.labels, no_key, &mut odd_key);
        let (certificates, keys) = both(certificates(file.certificates, file.labels), keys)?;
        Ok(Parts {
            certificates,
            keys,
            odd_cert: file.odd,
            odd_key,
        })
    }

    fn two_files(&self, key: &Content) -> Result<Parts, Vec<Fault>> {
        let mut odd_cert = Vec::new();
        let mut odd_key = Vec::new();
        let (cert, key) = (Sorted::of(self.cert), Sorted::of(key));
        if let (Ok(cert), Ok(key)) = (&cert, &key)
            && are_exchanged(cert, key)
        {
            return Err(vec![CertificateFault::Exchanged.into()]);
        }
        let cert = cert.map_err(|it| self.no_pem(it)).and_then(|file| {
            odd_cert = file.odd;
            odd_cert.extend(file.keys.first().map(spare_key));
            certificates(file.certificates, file.labels)
        });
        let key = key
            .map_err(|it| KeyFault::from(it).into())
            .and_then(|file| {
                odd_key = file.odd;
                let no_key = |found| KeyFault::NoKey { found };
                self.keys(file.keys, &file.labels, no_key, &mut odd_key)
            });
        let (certificates, keys) = both(cert, key)?;
        Ok(Parts {
            certificates,
            keys,
            odd_cert,
            odd_key,
        })
    }

    fn no_pem(&self, fault: PemFault) -> Fault {
        if pkcs12::looks_like(&self.cert.bytes) {
            return CertificateFault::StoreAsPem.into();
        }
        CertificateFault::from(fault).into()
    }

    /// Opens the keys that are encrypted. Nothing gives a passphrase before one is needed.
    fn keys(
        &self,
        blocks: Vec<Block>,
        found: &str,
        no_key: impl Fn(String) -> KeyFault,
        odd: &mut Vec<String>,
    ) -> Result<Vec<Part>, Fault> {
        if blocks.is_empty() {
            return Err(no_key(found.to_owned()).into());
        }
        let keys: Vec<_> = blocks
            .into_iter()
            .map(|block| (is_encrypted(&block), Part::try_from_key(block)))
            .collect();
        if !keys.iter().any(|(encrypted, _)| *encrypted) {
            if !matches!(self.opener, Opener::Nothing) {
                odd.push(
                    "its private key is not encrypted, and its passphrase has no use".to_owned(),
                );
            }
            return keys.into_iter().map(|(_, part)| part).collect();
        }
        let passphrase = self.passphrase()?.ok_or(KeyFault::Encrypted)?;
        keys.into_iter()
            .map(|(encrypted, part)| match part {
                Ok(part) if encrypted => self.decrypt(&part, &passphrase),
                part => part,
            })
            .collect()
    }

    fn passphrase(&self) -> Result<Option<Passphrase>, Fault> {
        self.opener.passphrase().map_err(|fault| match fault {
            PassphraseFault::Command { program, why } => {
                KeyFault::NoPassphrase { program, why }.into()
            }
            PassphraseFault::File(fault) => Fault::Passphrase(fault),
        })
    }

    fn decrypt(&self, key: &Part, passphrase: &Passphrase) -> Result<Part, Fault> {
        let what = key.what.clone();
        match pbes2::decrypt_key(&key.der, passphrase) {
            Ok(der) => Ok(Part { what, der }),
            Err(Locked::Damaged) => Err(KeyFault::Unusable { what }.into()),
            Err(Locked::Passphrase) => Err(self.wrong_passphrase()),
            Err(Locked::Scheme(scheme)) => Err(KeyFault::Scheme { what, scheme }.into()),
        }
    }

    fn wrong_passphrase(&self) -> Fault {
        let origin = self.opener.to_string();
        KeyFault::WrongPassphrase { origin }.into()
    }

    fn store(&self) -> Result<Parts, Fault> {
        let given = self.passphrase()?;
        let is_given = given.is_some();
        let store = pkcs12::read(&self.cert.bytes, &given.unwrap_or_default());
        let store = store.map_err(|fault| match fault {
            StoreFault::Damaged if self.cert.bytes.starts_with(b"-----BEGIN ") => {
                CertificateFault::PemAsStore.into()
            }
            StoreFault::Damaged if foreign::is_keystore(&self.cert.bytes) => {
                CertificateFault::from(PemFault::Keystore).into()
            }
            StoreFault::Damaged | StoreFault::Locked(Locked::Damaged) => {
                CertificateFault::Store.into()
            }
            StoreFault::Integrity => KeyFault::StoreIntegrity.into(),
            StoreFault::Locked(Locked::Scheme(scheme)) => KeyFault::StoreScheme { scheme }.into(),
            StoreFault::Locked(Locked::Passphrase) if is_given => self.wrong_passphrase(),
            StoreFault::Locked(Locked::Passphrase) => KeyFault::Encrypted.into(),
        })?;
        let found = |is_there: bool, what: &str| {
            let found = if is_there { what } else { "nothing" };
            found.to_owned()
        };
        if store.certificates.is_empty() {
            let found = found(!store.keys.is_empty(), "private keys");
            return Err(CertificateFault::NoCertificate { found }.into());
        }
        if store.keys.is_empty() {
            let found = found(true, "certificates");
            return Err(KeyFault::NoKey { found }.into());
        }
        let certificates = store.certificates.into_iter().map(Zeroizing::new);
        Ok(Parts {
            certificates: placed("certificate", certificates),
            keys: placed("private key", store.keys.into_iter()),
            ..Parts::default()
        })
    }
}

impl Part {
    /// Takes a block that is a key, but for one that is encrypted in its headers.
    fn try_from_key(block: Block) -> Result<Self, Fault> {
        let is_old = block.encrypted;
        let part = Self::from(block);
        if is_old {
            let what = part.what;
            return Err(KeyFault::OldEncryption { what }.into());
        }
        Ok(part)
    }
}

fn placed(kind: &str, parts: impl Iterator<Item = Zeroizing<Vec<u8>>>) -> Vec<Part> {
    (1..)
        .zip(parts)
        .map(|(place, der)| Part {
            what: format!("{kind} at place {place}"),
            der,
        })
        .collect()
}

fn is_encrypted(key: &Block) -> bool {
    key.label == "ENCRYPTED PRIVATE KEY"
}

fn spare_key(key: &Block) -> String {
    format!(
        "it holds a private key too (line {}), which has no use here; the one in the file named \
         by `key` is used",
        key.line
    )
}

fn certificates(blocks: Vec<Block>, found: String) -> Result<Vec<Part>, Fault> {
    if blocks.is_empty() {
        return Err(CertificateFault::NoCertificate { found }.into());
    }
    Ok(blocks.into_iter().map(Part::from).collect())
}

/// Whether each of the files holds what the other should.
fn are_exchanged(cert: &Sorted, key: &Sorted) -> bool {
    let holds_none = cert.certificates.is_empty() && key.keys.is_empty();
    holds_none && !cert.keys.is_empty() && !key.certificates.is_empty()
}

/// Returns both, or what is wrong with either.
fn both<A, B>(a: Result<A, Fault>, b: Result<B, Fault>) -> Result<(A, B), Vec<Fault>> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (a, b) => Err([a.err(), b.err()].into_iter().flatten().collect()),
    }
}

/// The blocks of a PEM file by what they are.
struct Sorted {
    certificates: Vec<Block>,
    keys: Vec<Block>,
    /// What is odd about the rest.
    odd: Vec<String>,
    /// What all of them are.
    labels: String,
}

impl Sorted {
    fn of(content: &Content) -> Result<Self, PemFault> {
        let blocks = pem::blocks(&content.bytes)?;
        let labels = pem::labels(&blocks);
        let (certificates, others): (Vec<_>, Vec<_>) =
            blocks.into_iter().partition(Block::is_certificate);
        let (keys, others): (Vec<_>, Vec<_>) = others.into_iter().partition(Block::is_key);
        let odd = others
            .iter()
            .filter(|it| !KNOWN_IDLE.contains(&it.label.as_str()));
        let odd = odd.map(|it| {
            let (label, line) = (&it.label, it.line);
            format!("the {label} block of line {line} has no use here")
        });
        Ok(Self {
            certificates,
            keys,
            odd: odd.collect(),
            labels,
        })
    }
}
