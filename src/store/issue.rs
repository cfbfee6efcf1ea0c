//! Certificates of our own making: an authority, and server certificates from it.
//!
//! ECDSA P-256, X.509 version 3, random serial numbers, ten years.

use std::{net::IpAddr, time::Duration};

use aws_lc_rs::rand;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use x509_parser::{certificate::X509Certificate, extensions::ParsedExtension};
use zeroize::Zeroizing;

use crate::x509::{certificate, pem};

/// How long what is issued stays valid: ten years, by the mean year.
const LIFETIME: Duration = Duration::from_secs(10 * 31_556_952);
/// How far a client's clock may be behind ours on the day of creation.
const SKEW: Duration = Duration::from_secs(300);

/// Why a certificate could not be issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The cryptography refused.
    #[error("the certificate cannot be made: {0}")]
    Refused(#[from] rcgen::Error),
    /// The operating system gave no random bytes.
    #[error("no random bytes can be had")]
    Random,
    /// The authority on disk cannot issue.
    #[error("the authority cannot issue certificates: {0}")]
    Authority(String),
}

/// A certificate and its private key, both in PEM.
pub(super) struct Issued {
    pub(super) cert: String,
    pub(super) key: Zeroizing<String>,
}

/// An authority that can issue.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    until: Timestamp,
    /// Its name in DER, which what it issues must repeat to the byte.
    subject: Vec<u8>,
}

impl Authority {
    /// Makes a new authority, and its files' contents.
    pub(super) fn create(host: &str, now: Timestamp) -> Result<(Self, Issued), IssueError> {
        let until = ten_years_from(now);
        let mut params = base(&format!("proxyd authority on {host}"), now, until)?;
        // It issues leaves only.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let cert = params.self_signed(&key)?;
        let issued = Issued {
            cert: cert.pem(),
            key: Zeroizing::new(key.serialize_pem()),
        };
        let parsed = certificate::parse(cert.der()).map_err(IssueError::Authority)?;
        let authority = Self {
            until,
            subject: parsed.subject().as_raw().to_vec(),
            issuer: Issuer::new(params, key),
        };
        Ok((authority, issued))
    }

    /// Takes up an authority from its files' contents.
    pub(super) fn from_pem(cert: &[u8], key: &str) -> Result<Self, IssueError> {
        let refuse = |why: String| IssueError::Authority(why);
        let blocks = pem::blocks(cert).map_err(|it| refuse(it.to_string()))?;
        let block = blocks.iter().find(|it| it.is_certificate());
        let block = block.ok_or_else(|| refuse("its file holds no certificate".to_owned()))?;
        let cert = certificate::parse(&block.der).map_err(refuse)?;
        let key = KeyPair::from_pem(key)?;
        if !same_key(&cert, &key) {
            return Err(refuse(
                "its key does not belong to its certificate".to_owned(),
            ));
        }
        Ok(Self {
            until: certificate::not_after(&cert).to_timestamp(),
            subject: cert.subject().as_raw().to_vec(),
            issuer: Issuer::new(issuer_params(&cert), key),
        })
    }

    /// Issues a certificate for this machine's local names and these.
    pub(super) fn issue(&self, names: &[&str], now: Timestamp) -> Result<Issued, IssueError> {
        // A leaf that outlives its authority is no longer believed anyway.
        let until = ten_years_from(now).min(self.until);
        let common = names.first().copied().unwrap_or("localhost");
        let mut params = base(common, now, until)?;
        params.subject_alt_names = alternative_names(names);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.is_ca = IsCa::ExplicitNoCa;
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &self.issuer)?;
        self.check_issuer(cert.der())?;
        Ok(Issued {
            cert: cert.pem(),
            key: Zeroizing::new(key.serialize_pem()),
        })
    }

    /// Only names that were made here are sure to be written again as they were.
    fn check_issuer(&self, der: &[u8]) -> Result<(), IssueError> {
        let leaf = certificate::parse(der).map_err(IssueError::Authority)?;
        if leaf.issuer().as_raw() == self.subject {
            return Ok(());
        }
        Err(IssueError::Authority(
            "it was not created by proxyd".to_owned(),
        ))
    }
}

fn base(common: &str, now: Timestamp, until: Timestamp) -> Result<CertificateParams, IssueError> {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name(common));
    let mut params = CertificateParams::default();
    params.distinguished_name = name;
    params.serial_number = Some(serial()?);
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + since_1970(now).saturating_sub(SKEW);
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + since_1970(until);
    Ok(params)
}

/// Cuts a common name to the 64 characters that RFC 5280 appendix A.1 allows.
fn common_name(name: &str) -> String {
    name.chars().take(64).collect()
}

fn serial() -> Result<SerialNumber, IssueError> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| IssueError::Random)?;
    // Positive and of one length, RFC 5280 §4.1.2.2.
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// Returns how far a moment is from the start of 1970, from where rcgen's dates are counted here.
fn since_1970(at: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(at.as_second()).unwrap_or(0))
}

fn ten_years_from(now: Timestamp) -> Timestamp {
    now.checked_add(LIFETIME).unwrap_or(Timestamp::MAX)
}

fn same_key(cert: &X509Certificate<'_>, key: &KeyPair) -> bool {
    &*cert.public_key().subject_public_key.data == key.public_key_raw()
}

/// Returns what of an authority's certificate goes into those that it issues.
fn issuer_params(cert: &X509Certificate<'_>) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    for common in cert
        .subject()
        .iter_common_name()
        .filter_map(|it| it.as_str().ok())
    {
        name.push(DnType::CommonName, common);
    }
    params.distinguished_name = name;
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    if let Some(id) = key_identifier(cert) {
        params.key_identifier_method = KeyIdMethod::PreSpecified(id);
    }
    params
}

fn key_identifier(cert: &X509Certificate<'_>) -> Option<Vec<u8>> {
    let mut extensions = cert.extensions().iter();
    extensions.find_map(|it| match it.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    })
}

/// Returns the names asked for and those by which a machine knows itself.
fn alternative_names(names: &[&str]) -> Vec<SanType> {
    let mut found: Vec<SanType> = Vec::new();
    for name in names.iter().chain(&["localhost", "127.0.0.1", "::1"]) {
        match alternative_name(name) {
            Some(name) if !found.contains(&name) => found.push(name),
            _ => {}
        }
    }
    found
}

/// Returns a name as certificates hold it; `None` for one that no certificate can hold.
fn alternative_name(name: &str) -> Option<SanType> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Some(SanType::IpAddress(address));
    }
    let fits = !name.is_empty() && name.bytes().all(|it| it.is_ascii_graphic());
    name.try_into().ok().filter(|_| fits).map(SanType::DnsName)
}
