//! Why a certificate and its key cannot be served, by the file that has to change.

use super::passphrase::{CommandFault, LineFault};
use crate::{facts::Moment, x509::pem_fault::PemFault};

/// What is wrong, by the file that has to change.
#[derive(Debug)]
pub(crate) enum Fault {
    Certificate(CertificateFault),
    Key(KeyFault),
    Passphrase(LineFault),
}

/// Why a certificate file cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateFault {
    #[error(transparent)]
    Pem(#[from] PemFault),
    #[error("it is PKCS#12, not PEM; name it by `pkcs12` instead of `cert`")]
    StoreAsPem,
    #[error("it is damaged, or it is no PKCS#12 in DER")]
    Store,
    #[error("it is PEM, not PKCS#12; name it by `cert` instead of `pkcs12`")]
    PemAsStore,
    #[error("it holds no certificate, only: {found}")]
    NoCertificate { found: String },
    #[error("it holds the private key, and the file of `key` the certificate; exchange the two")]
    Exchanged,
    #[error("the {what} is damaged: {why}")]
    Damaged { what: String, why: String },
    #[error(
        "the curve of the certificate's key is written out as parameters instead of named, which \
         clients refuse; name it in the key with \
         `openssl ec -in OLD -param_enc named_curve -out NEW`, and have the certificate issued \
         again for that key"
    )]
    WrittenCurve,
    #[error(
        "it belongs to the private key, but holds its public half in the compressed form, which \
         not every peer reads; write the key anew with \
         `openssl ec -in OLD -conv_form uncompressed -out NEW`, and have the certificate issued \
         again for that key"
    )]
    CompressedPoint,
    #[error(
        "the certificate is X.509 version 1; issue it again as version 3 \
         (with any extension, such as subjectAltName)"
    )]
    OldVersion,
    #[error("the certificate is not valid before {from}; is this machine's clock right?")]
    NotYet { from: Moment },
    #[error("the certificate expired at {until}; is this machine's clock right?")]
    Expired { until: Moment },
    #[error("the certificate is not meant for {purpose}: its extended key usage lacks {usage}")]
    Purpose {
        purpose: &'static str,
        usage: &'static str,
    },
    #[error("its {bits}-bit RSA key is too short to be served; at least 2048 bits are needed")]
    ShortKey { bits: usize },
    #[error("a test handshake with it failed: {0}")]
    Handshake(#[source] rustls::Error),
}

/// Why a key file cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFault {
    #[error(transparent)]
    Pem(#[from] PemFault),
    #[error("it holds no private key, only: {found}")]
    NoKey { found: String },
    #[error("it holds no private key, only: {found}; name the file that does by `key`")]
    NoKeyBeside { found: String },
    #[error(
        "{count} of its private keys belong to certificates that it comes with; \
         write an identity for each"
    )]
    SeveralKeys { count: usize },
    #[error(
        "the key needs a passphrase, and a daemon has no terminal to ask for it; \
         give `passphrase_file` or `passphrase_command`"
    )]
    Encrypted,
    #[error(
        "the {what} is encrypted in a way of old (Proc-Type), which is not read; write it anew \
         with `openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW`"
    )]
    OldEncryption { what: String },
    #[error(
        "the {what} is encrypted with {scheme}, which is not read; write it anew with \
         `openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW`"
    )]
    Scheme { what: String, scheme: String },
    #[error(
        "it is encrypted with {scheme}, which is not read; make it PEM with \
         `openssl pkcs12 -legacy -aes256 -in OLD -out NEW`, and name that by `cert` instead"
    )]
    StoreScheme { scheme: String },
    #[error(
        "its integrity is protected in a way that is not read; make it PEM with \
         `openssl pkcs12 -aes256 -in OLD -out NEW`, and name that by `cert` instead"
    )]
    StoreIntegrity,
    #[error("{origin} does not open it")]
    WrongPassphrase { origin: String },
    #[error("no passphrase came from {program}: {why}")]
    NoPassphrase { program: String, why: CommandFault },
    #[error("the {what} is damaged or of a kind that is not supported")]
    Unusable { what: String },
    #[error(
        "the curve of the {what} is written out as parameters instead of named, which is not \
         read; name it with `openssl ec -in OLD -param_enc named_curve -out NEW`"
    )]
    WrittenCurve { what: String },
    #[error(
        "the {what} is on the curve {curve}, which TLS clients do not share; make a key on P-256, \
         P-384 or P-521, and have a certificate issued for it"
    )]
    Curve { what: String, curve: String },
    #[error(
        "the {what} is RSA of {bits} bits; keys of 2048 to 8192 bits are served; make another, \
         and have a certificate issued for it"
    )]
    Length { what: String, bits: usize },
    #[error(
        "the {what} is a key for {algorithm}, which is not served; make one for RSA, for the \
         curves P-256, P-384 or P-521, or for Ed25519, and have a certificate issued for it"
    )]
    Algorithm { what: String, algorithm: String },
    #[error(
        "the {what} is in the form of OpenSSH; convert a copy of it in place with \
         `ssh-keygen -p -m PKCS8 -f COPY`"
    )]
    OpenSsh { what: String },
    #[error("the private key ({key}) does not match the certificate ({certificate})")]
    Mismatch {
        key: String,
        certificate: String,
        /// What the key's certificate would hold, by which it can be looked for.
        public_half: Vec<u8>,
    },
}

impl Fault {
    /// Returns when it is over by itself, if it is: when the certificate becomes valid.
    pub(crate) fn until(&self) -> Option<Moment> {
        match self {
            Self::Certificate(CertificateFault::NotYet { from }) => Some(*from),
            _ => None,
        }
    }
}

impl From<CertificateFault> for Fault {
    fn from(fault: CertificateFault) -> Self {
        Self::Certificate(fault)
    }
}

impl From<KeyFault> for Fault {
    fn from(fault: KeyFault) -> Self {
        Self::Key(fault)
    }
}
