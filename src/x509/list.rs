//! What a revocation list says (RFC 5280 §5), read into something that is cheap to ask.
//!
//! Lists of the first version, which have no extensions, are read like others. Lists that only mean
//! something together with others, and those that say something that is not understood but must
//! be, are refused by what they are.

mod name;
mod scope;
mod serials;

use rustls::pki_types::SignatureVerificationAlgorithm;
use x509_parser::{
    asn1_rs::{Any, Class, Tag},
    der_parser::{Oid, num_bigint::BigUint, oid},
    extensions::{ParsedExtension, X509Extension},
    prelude::FromDer,
    time::ASN1Time,
    x509::X509Name,
};

use self::serials::Serials;
pub(crate) use self::{name::Name, scope::Scope};
use crate::facts::Moment;

/// `id-ce-issuerAltName` (RFC 5280 §5.2.2).
const ISSUER_ALTERNATIVE_NAME: Oid<'static> = oid!(2.5.29.18);
/// `id-ce-cRLNumber` (RFC 5280 §5.2.3).
const NUMBER: Oid<'static> = oid!(2.5.29.20);
/// `id-ce-cRLReasons` (RFC 5280 §5.3.1).
const REASON: Oid<'static> = oid!(2.5.29.21);
/// `id-ce-invalidityDate` (RFC 5280 §5.3.2).
const INVALIDITY_DATE: Oid<'static> = oid!(2.5.29.24);
/// `id-ce-deltaCRLIndicator` (RFC 5280 §5.2.4).
const DELTA: Oid<'static> = oid!(2.5.29.27);
/// `id-ce-issuingDistributionPoint` (RFC 5280 §5.2.5).
const ISSUING_DISTRIBUTION_POINT: Oid<'static> = oid!(2.5.29.28);
/// `id-ce-certificateIssuer` (RFC 5280 §5.3.3).
const CERTIFICATE_ISSUER: Oid<'static> = oid!(2.5.29.29);
/// `id-ce-authorityKeyIdentifier` (RFC 5280 §5.2.1).
const AUTHORITY_KEY: Oid<'static> = oid!(2.5.29.35);

/// `id-RSASSA-PSS`, the tags of its parameters, and the salt in bytes if they do not say it (RFC 4055
/// §3.1).
const RSA_PSS: Oid<'static> = oid!(1.2.840.113549.1.1.10);
const PSS_HASH: u32 = 0;
const PSS_MASK: u32 = 1;
const PSS_SALT: u32 = 2;
const PSS_USUAL_SALT: u32 = 20;

/// The tag of a list's extensions (RFC 5280 §5.1).
const EXTENSIONS: u32 = 0;

/// What the version field of a list of version 2 holds (RFC 5280 §5.1.2.1).
const VERSION_2: &[u8] = &[1];

/// Why a revocation list cannot be used; it goes on after "the revocation list".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ListFault {
    /// It is not in the form that RFC 5280 §5.1 gives.
    #[error("is damaged: {0}")]
    Damaged(String),
    /// It holds what changed since another one.
    #[error(
        "is a delta list (deltaCRLIndicator), which holds only what changed since a complete one; \
         name the complete list of {0} instead"
    )]
    Delta(String),
    /// It is about certificates of other authorities than the one that signed it.
    #[error(
        "is an indirect list (indirectCRL or certificateIssuer), in which {0} speaks for other \
         authorities; name the list that each authority signs itself instead"
    )]
    Indirect(String),
    /// It says something that must be understood.
    #[error(
        "has the critical extension {0}, which proxyd does not know and may not pass over; ask its \
         authority for a list without it"
    )]
    Critical(String),
    /// Nothing here verifies its signature.
    #[error(
        "is signed by the algorithm {0}, which proxyd does not trust; ask its authority for a list \
         that is signed with SHA-256 or better"
    )]
    Algorithm(String),
    /// The same, by parameters of RSA-PSS (RFC 4055 §3.1); the salt's length in bytes is given.
    #[error(
        "is signed by RSA-PSS with a salt of {0} bytes, and proxyd trusts RSA-PSS only with SHA-256, \
         SHA-384 or SHA-512, the same for MGF1, and a salt as long as that digest; ask its authority \
         for a list that is signed so (openssl: `-sigopt rsa_pss_saltlen:digest`)"
    )]
    Pss(u32),
}

/// A complete revocation list of one authority.
#[derive(Debug)]
pub(crate) struct RevocationList {
    issuer: Name,
    issuer_name: String,
    this_update: Moment,
    next_update: Option<Moment>,
    extensions: Extensions,
    serials: Serials,
    message: Vec<u8>,
    algorithm: Algorithm,
    signature: Vec<u8>,
}

/// What the extensions say.
#[derive(Debug, Default)]
struct Extensions {
    number: Option<BigUint>,
    authority_key: Option<Vec<u8>>,
    scope: Scope,
}

/// An `AlgorithmIdentifier` (RFC 5280 §4.1.1.2).
#[derive(Debug)]
struct Algorithm {
    /// Its content, in DER.
    content: Vec<u8>,
    name: String,
}

impl Algorithm {
    /// Returns why it is not trusted.
    fn fault(&self) -> ListFault {
        let salt = pss_salt(&self.content);
        salt.map_or_else(|| ListFault::Algorithm(self.name.clone()), ListFault::Pss)
    }
}

/// Returns the length in bytes of the salt that RSA-PSS is used with (RFC 4055 §3.1), if it is.
fn pss_salt(algorithm: &[u8]) -> Option<u32> {
    let (parameters, id) = Oid::from_der(algorithm).ok()?;
    if id != RSA_PSS {
        return None;
    }
    let mut parameters = Fields(whole(parameters, "RSASSA-PSS-params").ok()?.data);
    parameters.optional_tagged(PSS_HASH);
    parameters.optional_tagged(PSS_MASK);
    let Some(salt) = parameters.optional_tagged(PSS_SALT) else {
        return Some(PSS_USUAL_SALT);
    };
    Any::from_der(salt.data).ok()?.1.u32().ok()
}

/// A public key that may have signed a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PublicKey {
    /// The content of its `AlgorithmIdentifier`, in DER.
    algorithm: Vec<u8>,
    bits: Vec<u8>,
}

impl PublicKey {
    /// Reads the content of a `SubjectPublicKeyInfo` (RFC 5280 §4.1): what is within its sequence.
    pub(crate) fn of_content(content: &[u8]) -> Option<Self> {
        let (rest, algorithm) = Any::from_der(content).ok()?;
        let (_, bits) = Any::from_der(rest).ok()?;
        // The first byte counts unused bits, which keys have none of.
        let bits = bits.data.strip_prefix(&[0])?.to_vec();
        let algorithm = algorithm.data.to_vec();
        Some(Self { algorithm, bits })
    }

    /// Reads a whole `SubjectPublicKeyInfo` in DER.
    pub(crate) fn of_der(der: &[u8]) -> Option<Self> {
        Self::of_content(Any::from_der(der).ok()?.1.data)
    }
}

impl RevocationList {
    /// Reads a list in DER, which must be all there is.
    pub(crate) fn parse(der: &[u8]) -> Result<Self, ListFault> {
        let mut outer = Fields(whole(der, "the list")?.data);
        let message = outer.0;
        let tbs = outer.sequence("tbsCertList")?;
        let message = &message[..message.len() - outer.0.len()];
        let algorithm = algorithm(&outer.sequence("signatureAlgorithm")?)?;
        let signature = outer.take(Tag::BitString, "signatureValue")?;
        outer.end("the list")?;
        let signature = signature.data.strip_prefix(&[0]);
        let signature = signature.ok_or_else(|| damaged("signatureValue"))?;
        Self::signed(tbs.data, message, algorithm, signature)
    }

    fn signed(
        tbs: &[u8],
        message: &[u8],
        algorithm: Algorithm,
        signature: &[u8],
    ) -> Result<Self, ListFault> {
        let mut fields = Fields(tbs);
        if let Some(version) = fields.optional(Tag::Integer)
            && version.data != VERSION_2
        {
            return Err(damaged("its version is neither 1 nor 2"));
        }
        fields.sequence("signature")?;
        let name = fields.0;
        let issuer = Name::of_content(fields.sequence("issuer")?.data);
        let issuer_name = name_of(name)?;
        let this_update = fields.time()?.ok_or_else(|| damaged("thisUpdate"))?;
        let next_update = fields.time()?;
        let entries = fields.optional(Tag::Sequence);
        let extensions = fields.optional_tagged(EXTENSIONS);
        fields.end("tbsCertList")?;
        Ok(Self {
            extensions: extensions.map_or(Ok(Extensions::default()), |it| {
                read_extensions(it.data, &issuer_name)
            })?,
            serials: entries.map_or(Ok(Serials::default()), |it| {
                read_entries(it.data, &issuer_name)
            })?,
            issuer,
            issuer_name,
            this_update,
            next_update,
            message: message.to_vec(),
            algorithm,
            signature: signature.to_vec(),
        })
    }

    /// Returns its issuer's distinguished name, to compare.
    pub(crate) fn issuer(&self) -> &Name {
        &self.issuer
    }

    /// Returns whether this is its issuer's name.
    pub(crate) fn is_issued_by(&self, name: &X509Name<'_>) -> bool {
        Name::of_der(name.as_raw()) == self.issuer
    }

    /// Returns its issuer's distinguished name for people.
    pub(crate) fn issuer_name(&self) -> &str {
        &self.issuer_name
    }

    /// Returns when it should be replaced by the next one, if it says so.
    pub(crate) fn next_update(&self) -> Option<Moment> {
        self.next_update
    }

    /// Returns what tells an older list from a newer one of the same authority.
    pub(crate) fn age(&self) -> (Moment, Option<&BigUint>) {
        (self.this_update, self.extensions.number.as_ref())
    }

    /// Returns what it says of the key that signed it (RFC 5280 §5.2.1), in DER.
    pub(crate) fn authority_key(&self) -> Option<&[u8]> {
        self.extensions.authority_key.as_deref()
    }

    /// Returns which of its issuer's certificates it is about.
    pub(crate) fn scope(&self) -> &Scope {
        &self.extensions.scope
    }

    /// Returns whether it names a serial number: the content of a DER integer.
    pub(crate) fn names(&self, serial: &[u8]) -> bool {
        self.serials.contain(serial)
    }

    /// Refuses it if none of `algorithms` is the one that it is signed by.
    pub(crate) fn demand_algorithm(
        &self,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> Result<(), ListFault> {
        let is_its = |it: &&dyn SignatureVerificationAlgorithm| self.is_signed_like(*it);
        if algorithms.iter().any(is_its) {
            Ok(())
        } else {
            Err(self.algorithm.fault())
        }
    }

    /// Returns whether a key has signed it, by one of `algorithms`. Takes about a millisecond for
    /// each megabyte.
    pub(crate) fn is_signed_by(
        &self,
        key: &PublicKey,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> bool {
        let mut fitting = algorithms.iter().filter(|it| {
            self.is_signed_like(**it) && it.public_key_alg_id().as_ref() == key.algorithm
        });
        fitting.any(|it| {
            it.verify_signature(&key.bits, &self.message, &self.signature)
                .is_ok()
        })
    }

    fn is_signed_like(&self, algorithm: &dyn SignatureVerificationAlgorithm) -> bool {
        algorithm.signature_alg_id().as_ref() == self.algorithm.content
    }
}

fn damaged(what: &str) -> ListFault {
    ListFault::Damaged(what.to_owned())
}

/// Takes a value that must be all there is.
fn whole<'a>(der: &'a [u8], what: &str) -> Result<Any<'a>, ListFault> {
    match Any::from_der(der) {
        Ok(([], any)) if any.tag() == Tag::Sequence => Ok(any),
        Ok(([], _)) | Err(_) => Err(damaged(&format!("{what} is no sequence"))),
        Ok(_) => Err(damaged("there are bytes after its end")),
    }
}

/// Fields of a sequence, taken one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self, fits: impl Fn(&Any<'a>) -> bool) -> Option<Any<'a>> {
        let (rest, any) = Any::from_der(self.0).ok().filter(|(_, any)| fits(any))?;
        self.0 = rest;
        Some(any)
    }

    fn optional(&mut self, tag: Tag) -> Option<Any<'a>> {
        self.next(|any| any.class() == Class::Universal && any.tag() == tag)
    }

    fn optional_tagged(&mut self, tag: u32) -> Option<Any<'a>> {
        self.next(|any| any.class() == Class::ContextSpecific && any.tag() == Tag(tag))
    }

    fn take(&mut self, tag: Tag, what: &str) -> Result<Any<'a>, ListFault> {
        let field = self.optional(tag);
        field.ok_or_else(|| damaged(&format!("its {what} cannot be read")))
    }

    fn sequence(&mut self, what: &str) -> Result<Any<'a>, ListFault> {
        self.take(Tag::Sequence, what)
    }

    /// Takes a time, if the next field is one.
    fn time(&mut self) -> Result<Option<Moment>, ListFault> {
        let before = self.0;
        if self.next(is_time).is_none() {
            return Ok(None);
        }
        let (_, time) = ASN1Time::from_der(before).map_err(|_| damaged("a time cannot be read"))?;
        Ok(Some(Moment::from_second(time.timestamp())))
    }

    fn end(&self, what: &str) -> Result<(), ListFault> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(damaged(&format!("{what} holds what does not belong there")))
        }
    }
}

fn is_time(any: &Any<'_>) -> bool {
    any.class() == Class::Universal && matches!(any.tag(), Tag::UtcTime | Tag::GeneralizedTime)
}

fn algorithm(any: &Any<'_>) -> Result<Algorithm, ListFault> {
    let (_, oid) = Oid::from_der(any.data).map_err(|_| damaged("its algorithm cannot be read"))?;
    Ok(Algorithm {
        content: any.data.to_vec(),
        name: oid.to_id_string(),
    })
}

fn name_of(der: &[u8]) -> Result<String, ListFault> {
    let (_, name) = X509Name::from_der(der).map_err(|_| damaged("its issuer cannot be read"))?;
    Ok(name.to_string())
}

/// Reads what the list says of itself; `content` is within the tag.
fn read_extensions(content: &[u8], issuer: &str) -> Result<Extensions, ListFault> {
    let mut extensions = Fields(whole(content, "its extensions")?.data);
    let mut read = Extensions::default();
    while !extensions.0.is_empty() {
        let (rest, extension) = X509Extension::from_der(extensions.0)
            .map_err(|_| damaged("an extension cannot be read"))?;
        extensions.0 = rest;
        read.take(&extension, issuer)?;
    }
    Ok(read)
}

impl Extensions {
    fn take(&mut self, extension: &X509Extension<'_>, issuer: &str) -> Result<(), ListFault> {
        let oid = &extension.oid;
        match extension.parsed_extension() {
            ParsedExtension::CRLNumber(number) => self.number = Some(number.clone()),
            ParsedExtension::IssuingDistributionPoint(point) if point.indirect_crl => {
                return Err(ListFault::Indirect(issuer.to_owned()));
            }
            ParsedExtension::IssuingDistributionPoint(point) => {
                self.scope = Scope::new(point, extension.value);
            }
            _ if *oid == DELTA => return Err(ListFault::Delta(issuer.to_owned())),
            _ if *oid == AUTHORITY_KEY => self.authority_key = Some(extension.value.to_vec()),
            _ if *oid == ISSUING_DISTRIBUTION_POINT => {
                return Err(damaged("its issuingDistributionPoint cannot be read"));
            }
            _ if *oid == ISSUER_ALTERNATIVE_NAME || *oid == NUMBER => {}
            _ if extension.critical => return Err(ListFault::Critical(oid.to_id_string())),
            _ => {}
        }
        Ok(())
    }
}

/// Reads the serial numbers of the entries.
fn read_entries(content: &[u8], issuer: &str) -> Result<Serials, ListFault> {
    let mut entries = Fields(content);
    let mut serials = Vec::new();
    while !entries.0.is_empty() {
        let mut entry = Fields(entries.sequence("entry")?.data);
        serials.push(entry.take(Tag::Integer, "entry's serial number")?.data);
        // When it was revoked changes nothing.
        let date = entry.next(is_time);
        date.ok_or_else(|| damaged("an entry has no date"))?;
        let extensions = entry.optional(Tag::Sequence);
        entry.end("an entry")?;
        if let Some(extensions) = extensions {
            check_entry(extensions.data, issuer)?;
        }
    }
    Ok(Serials::new(serials))
}

/// Refuses what an entry says that would change whose certificate it is about, or may not be
/// passed over.
fn check_entry(content: &[u8], issuer: &str) -> Result<(), ListFault> {
    let mut extensions = Fields(content);
    while !extensions.0.is_empty() {
        let mut extension = Fields(extensions.sequence("entry's extension")?.data);
        let oid = extension.take(Tag::Oid, "entry's extension")?;
        let oid = Oid::new(oid.data.into());
        let critical = extension.optional(Tag::Boolean);
        if oid == CERTIFICATE_ISSUER {
            return Err(ListFault::Indirect(issuer.to_owned()));
        }
        let is_critical = critical.is_some_and(|it| it.data != [0]);
        if is_critical && oid != REASON && oid != INVALIDITY_DATE {
            return Err(ListFault::Critical(oid.to_id_string()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
