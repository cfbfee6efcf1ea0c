//! Whether a client would believe what a server has shown, and why not.

use jiff::Timestamp;
use rustls::{
    CertificateError, Error,
    client::verify_server_name,
    pki_types::{CertificateDer, ServerName},
    server::ParsedCertificate,
};
use x509_parser::certificate::X509Certificate;

use crate::{
    facts::{CertificateFacts, Moment},
    tls::{
        material::Der,
        notes::printable,
        provider,
        trust::verifier::{BackendVerifier, Check},
        unix_time,
    },
    x509::{
        certificate,
        path::{self, Fault, Finding, Purpose},
    },
};

/// The most names of a certificate that a message tells.
const MOST_NAMES: usize = 8;

/// A client's trust.
#[derive(Debug)]
pub struct Judge {
    verifier: BackendVerifier,
    /// The trusted certificates, whose dates the verifier does not look at.
    trusted: Vec<Anchor>,
}

/// A trusted certificate.
#[derive(Debug)]
struct Anchor {
    /// Its subject in DER.
    subject: Vec<u8>,
    from: Moment,
    until: Moment,
}

/// What a client makes of a chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judgement {
    /// What the certificates say, in the order in which they were sent; those that cannot be read are left out.
    pub chain: Vec<CertificateFacts>,
    /// SHA-256 of the first certificate's DER, lower-case hexadecimal.
    pub sha256: String,
    /// Why a client refuses it; none means that the client believes it.
    pub doubts: Vec<String>,
    /// One of these is that no trusted authority issued it.
    pub is_of_strangers: bool,
    /// What some clients may dislike all the same.
    pub oddities: Vec<String>,
    /// Which certificate of those that a client follows ends first: its place in [`Self::chain`].
    pub ends_first: Option<usize>,
}

impl Judge {
    /// Makes a client that trusts these certificates.
    pub fn new(trusted: &[Der]) -> Result<Self, Error> {
        let certificates: Vec<_> = trusted.iter().map(Der::to_certificate).collect();
        let anchors = certificates.iter().filter_map(|it| {
            let read = certificate::parse(it).ok()?;
            Some(Anchor {
                subject: read.subject().as_raw().to_vec(),
                from: certificate::not_before(&read),
                until: certificate::not_after(&read),
            })
        });
        let trusted = anchors.collect();
        let verifier = BackendVerifier::new(Check::IssuerAndName, certificates)?;
        Ok(Self { verifier, trusted })
    }

    /// Judges a chain of DER, in the order in which it was sent; without a name, it may be of any. There is nothing to judge
    /// if none was sent.
    pub fn judge(
        &self,
        chain: &[Vec<u8>],
        name: Option<&ServerName<'_>>,
        now: Timestamp,
    ) -> Option<Judgement> {
        let leaf = chain.first()?;
        let read: Vec<_> = chain
            .iter()
            .filter_map(|it| certificate::parse(it).ok())
            .collect();
        let mut judgement = Judgement {
            chain: read.iter().map(certificate::facts).collect(),
            sha256: certificate::sha256(leaf),
            ..Judgement::default()
        };
        if let Err(why) = certificate::parse(leaf) {
            let doubt = format!("its certificate cannot be read: {why}");
            judgement.doubts.push(doubt);
            return Some(judgement);
        }
        (judgement.doubts, judgement.is_of_strangers) = self.doubts(chain, &read, name, now);
        judgement.oddities = oddities(&read, now);
        judgement.ends_first = ends_first(&read, judgement.doubts.is_empty(), now.into());
        Some(judgement)
    }

    fn doubts(
        &self,
        chain: &[Vec<u8>],
        read: &[X509Certificate<'_>],
        name: Option<&ServerName<'_>>,
        now: Timestamp,
    ) -> (Vec<String>, bool) {
        let leaf = &read[0];
        let mut late: Vec<_> = dates(path::followed(read), now.into());
        if !certificate::is_v3(leaf) && !self.trusts(&chain[0]) {
            late.push("its certificate is X.509 version 1, which clients refuse".to_owned());
            return (late, false);
        }
        let ders: Vec<_> = chain
            .iter()
            .map(|it| CertificateDer::from(&it[..]))
            .collect();
        let time = unix_time(now);
        let checked = self.verifier.check_issuer(&ders[0], &ders[1..], time);
        let is_of_strangers = matches!(
            checked,
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
        );
        let mut doubts = match checked {
            // A client takes another way to an authority than by what has expired, such as an old cross-signature.
            Ok(()) if dates(&read[..1], now.into()).is_empty() => {
                self.late_authority(&chain[0], read, now.into())
            }
            Err(error) if late.is_empty() || !is_of_dates(&error) => {
                late.push(issuer(read, &error));
                late
            }
            Ok(()) | Err(_) => late,
        };
        doubts.extend(name.and_then(|name| misnamed(&ders[0], leaf, name)));
        (doubts, is_of_strangers)
    }

    /// Says that every trusted certificate with the name of the last issuer is outside its dates, which many clients check.
    fn late_authority(
        &self,
        leaf: &[u8],
        read: &[X509Certificate<'_>],
        now: Moment,
    ) -> Vec<String> {
        let Some(last) = path::followed(read).last().filter(|_| !self.trusts(leaf)) else {
            return Vec::new();
        };
        let issuer = last.issuer();
        let named = self.trusted.iter();
        let mut named = named.filter(|it| it.subject == issuer.as_raw()).peekable();
        let Some(first) = named.peek() else {
            return Vec::new();
        };
        let (from, until) = (first.from, first.until);
        if named.any(|it| it.from <= now && now <= it.until) {
            return Vec::new();
        }
        let issuer = printable(&issuer.to_string());
        let when = if now > until {
            format!("expired at {until}")
        } else {
            format!("is not valid before {from}")
        };
        vec![format!(
            "the trusted authority {issuer} {when}, which many clients check"
        )]
    }

    fn trusts(&self, leaf: &[u8]) -> bool {
        self.verifier.trusts(&CertificateDer::from(leaf))
    }
}

fn is_of_dates(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(
            CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. }
        )
    )
}

/// Tells of certificates that are not valid at this moment.
fn dates(followed: &[X509Certificate<'_>], now: Moment) -> Vec<String> {
    let told = followed.iter().enumerate().filter_map(|(place, it)| {
        let (from, until) = (certificate::not_before(it), certificate::not_after(it));
        let which = || match place {
            0 => "its certificate".to_owned(),
            _ => format!(
                "certificate {} of those that it sends, of {},",
                place + 1,
                printable(&it.subject().to_string())
            ),
        };
        if now > until {
            Some(format!("{} expired at {until}", which()))
        } else if now < from {
            Some(format!("{} is not valid before {from}", which()))
        } else {
            None
        }
    });
    told.collect()
}

/// Says why no path leads from a certificate to one that is trusted.
fn issuer(read: &[X509Certificate<'_>], error: &Error) -> String {
    let leaf = &read[0];
    let Error::InvalidCertificate(fault) = error else {
        return format!("its certificate is refused: {error}");
    };
    match fault {
        CertificateError::UnknownIssuer => unknown_issuer(read),
        CertificateError::BadSignature => {
            "its certificate, or one that it sends after it, is not signed by the key of its issuer"
                .to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its certificate must not be shown by servers: its extended key usage lacks serverAuth"
                .to_owned()
        }
        CertificateError::Other(_) if leaf.is_ca() => {
            "its certificate is marked as an authority's, which clients refuse as a server's unless they trust \
             exactly this one"
                .to_owned()
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => {
            "an authority on the way to a trusted one is not valid now".to_owned()
        }
        other => format!("its certificate is refused: {other}"),
    }
}

fn unknown_issuer(read: &[X509Certificate<'_>]) -> String {
    let leaf = &read[0];
    let last = path::followed(read).last().unwrap_or(leaf);
    let issuer = printable(&last.issuer().to_string());
    if leaf.subject().as_raw() == leaf.issuer().as_raw() {
        return "unknown issuer: its certificate is self-signed, and not trusted itself".to_owned();
    }
    if read.len() == 1 {
        return format!(
            "unknown issuer: {issuer} is not trusted, and the server sends no intermediate certificate; if \
             {issuer} is an intermediate authority, its certificate is missing after the server's own"
        );
    }
    if read
        .last()
        .is_some_and(|it| it.issuer().as_raw() == last.issuer().as_raw())
    {
        return format!("unknown issuer: {issuer}, to which what it sends leads, is not trusted");
    }
    format!(
        "unknown issuer: {issuer} is not trusted, and its certificate is missing among those that the server sends"
    )
}

/// Says that a name is none of a certificate's, and which it has.
fn misnamed(
    der: &CertificateDer<'_>,
    leaf: &X509Certificate<'_>,
    name: &ServerName<'_>,
) -> Option<String> {
    let checked = ParsedCertificate::try_from(der).and_then(|it| verify_server_name(&it, name));
    checked.err()?;
    let name = name.to_str();
    let names = certificate::facts(leaf).dns_names;
    if names.is_empty() {
        return Some(format!(
            "its certificate is not for {name}: it has no subject alternative name, as clients need it"
        ));
    }
    let mut told: Vec<_> = names
        .iter()
        .take(MOST_NAMES)
        .map(|it| printable(it))
        .collect();
    if let Some(more @ 1..) = names.len().checked_sub(MOST_NAMES) {
        told.push(format!("{more} more"));
    }
    Some(format!(
        "its certificate is not for {name}, but for {}",
        told.join(", ")
    ))
}

/// Tells what some clients dislike, but for what the judgement and the days left say already.
fn oddities(read: &[X509Certificate<'_>], now: Timestamp) -> Vec<String> {
    let algorithms = provider().signature_verification_algorithms;
    let is_new = |it: &Finding| {
        !matches!(
            it.fault,
            Fault::Expired { .. }
                | Fault::NotYet { .. }
                | Fault::EndsBeforeLeaf { .. }
                | Fault::Missing { .. }
                | Fault::Alone { .. }
        )
    };
    path::judge(read, Purpose::Server, now, &algorithms)
        .iter()
        .filter(|it| is_new(it))
        .map(|it| printable(&it.to_string()))
        .collect()
}

/// Returns which of the certificates that a client follows ends first. What has expired and did not keep a client from a
/// trusted authority is not followed.
fn ends_first(read: &[X509Certificate<'_>], is_trusted: bool, now: Moment) -> Option<usize> {
    let followed = path::followed(read).iter().enumerate();
    let is_needed = |(place, it): &(usize, &X509Certificate<'_>)| {
        *place == 0 || !is_trusted || certificate::not_after(it) >= now
    };
    let first = followed
        .filter(is_needed)
        .min_by_key(|(_, it)| certificate::not_after(it));
    first.map(|(place, _)| place)
}
