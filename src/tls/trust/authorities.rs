//! Which authorities of a bundle are revoked by its own lists.
//!
//! A search for a path ends at the first certificate that the bundle holds, and does not look that one
//! up in a list. It is looked up here, once, in the lists of those issuers that are in the bundle too.

use std::collections::{HashMap, HashSet};

use rustls::pki_types::TrustAnchor;
use x509_parser::certificate::X509Certificate;

use crate::{
    tls::provider,
    x509::{
        certificate,
        list::{Name, PublicKey},
        path,
    },
};

/// The authorities of a bundle that are revoked.
#[derive(Debug, Default)]
pub(crate) struct Revoked {
    /// SHA-256 of their certificates.
    certificates: HashSet<[u8; 32]>,
    /// Those of which no certificate in the bundle is good.
    holders: HashSet<Holder>,
}

/// By what webpki knows an authority, which may have several certificates.
type Holder = (Name, PublicKey);

/// How an authority's certificate stands to the lists of its bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing is against it.
    Good,
    /// It is revoked, but another certificate of the same name and key is not.
    Superseded,
    /// It is revoked, and with it all that it issued.
    Revoked,
}

/// An authority's certificate, read.
struct Authority<'a> {
    certificate: X509Certificate<'a>,
    holder: Holder,
    issuer: Name,
    /// The places of the certificates of those who issued it; its own if it is its own issuer.
    issuers: Vec<usize>,
}

impl Revoked {
    /// Judges authorities in DER; `names` says whether a list that bears this name and that this key
    /// has signed names this serial number.
    ///
    /// One is revoked if a list of an issuer names it, or if all its issuers in the bundle are.
    pub(super) fn among<'a>(
        authorities: impl IntoIterator<Item = &'a [u8]>,
        names: impl Fn(&Name, &PublicKey, &[u8]) -> bool,
    ) -> Self {
        let authorities = read(authorities);
        let is_named = |it: &Authority<'_>| {
            let serial = it.certificate.raw_serial();
            let mut keys = it.issuers.iter().map(|at| &authorities[*at].holder.1);
            keys.any(|key| names(&it.issuer, key, serial))
        };
        let mut revoked: Vec<_> = authorities.iter().map(is_named).collect();
        while spread(&authorities, &mut revoked) {}
        Self::of(&authorities, &revoked)
    }

    fn of(authorities: &[Authority<'_>], revoked: &[bool]) -> Self {
        let mut found = Self::default();
        let (bad, good): (Vec<_>, Vec<_>) =
            authorities.iter().zip(revoked).partition(|(_, bad)| **bad);
        for (it, _) in bad {
            found
                .certificates
                .insert(certificate::digest(it.certificate.as_raw()));
            found.holders.insert(it.holder.clone());
        }
        for (it, _) in good {
            found.holders.remove(&it.holder);
        }
        found
    }

    /// Returns how a certificate of the bundle stands.
    pub(crate) fn standing(&self, der: &[u8]) -> Standing {
        if !self.certificates.contains(&certificate::digest(der)) {
            return Standing::Good;
        }
        match certificate::parse(der).ok().and_then(|it| holder(&it)) {
            Some(holder) if !self.holders.contains(&holder) => Standing::Superseded,
            _ => Standing::Revoked,
        }
    }

    /// Returns whether an authority has no good certificate in the bundle.
    pub(super) fn holds(&self, anchor: &TrustAnchor<'_>) -> bool {
        if self.holders.is_empty() {
            return false;
        }
        let key = PublicKey::of_content(&anchor.subject_public_key_info);
        key.is_some_and(|key| {
            let holder = (Name::of_content(&anchor.subject), key);
            self.holders.contains(&holder)
        })
    }
}

fn holder(certificate: &X509Certificate<'_>) -> Option<Holder> {
    let key = PublicKey::of_der(certificate.public_key().raw)?;
    Some((Name::of_der(certificate.subject().as_raw()), key))
}

fn read<'a>(authorities: impl IntoIterator<Item = &'a [u8]>) -> Vec<Authority<'a>> {
    let read = authorities.into_iter().filter_map(|der| {
        let certificate = certificate::parse(der).ok()?;
        Some(Authority {
            holder: holder(&certificate)?,
            issuer: Name::of_der(certificate.issuer().as_raw()),
            certificate,
            issuers: Vec::new(),
        })
    });
    let mut read: Vec<_> = read.collect();
    let mut named: HashMap<Name, Vec<usize>> = HashMap::new();
    for (at, it) in read.iter().enumerate() {
        named.entry(it.holder.0.clone()).or_default().push(at);
    }
    for at in 0..read.len() {
        let namesakes = named.get(&read[at].issuer).into_iter().flatten().copied();
        let issuers = namesakes.filter(|issuer| is_issuer(&read[*issuer], &read[at]));
        read[at].issuers = issuers.collect();
    }
    read
}

/// Two keys of one name may have given out the same serial number, so that names are not enough.
fn is_issuer(issuer: &Authority<'_>, of: &Authority<'_>) -> bool {
    let algorithms = provider().signature_verification_algorithms;
    path::is_signed(&of.certificate, &issuer.certificate, &algorithms)
}

/// Revokes those whose issuers are all revoked; returns whether there were any.
fn spread(authorities: &[Authority<'_>], revoked: &mut [bool]) -> bool {
    let mut changed = false;
    for (at, it) in authorities.iter().enumerate() {
        // Its own key says nothing about who else vouches for it.
        let others = it.issuers.iter();
        let others = others.filter(|issuer| authorities[**issuer].holder.1 != it.holder.1);
        let mut others = others.map(|issuer| revoked[*issuer]).peekable();
        if !revoked[at] && others.peek().is_some() && others.all(|it| it) {
            revoked[at] = true;
            changed = true;
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::{
        Standing::{Good, Revoked, Superseded},
        *,
    };
    use crate::tls::{
        material::Der,
        testing::{Ca, der_of},
    };

    /// Judges authorities by what the key of one says of others.
    fn judge(bundle: &[&[u8]], by: &Ca, revoked: &[&[u8]]) -> Vec<Standing> {
        let der = by.der();
        let key = holder(&certificate::parse(der.as_bytes()).unwrap()).unwrap();
        let serials = revoked.iter().map(|it| {
            let parsed = certificate::parse(it).unwrap();
            parsed.raw_serial().to_vec()
        });
        let serials: Vec<_> = serials.collect();
        let names = |name: &Name, by: &PublicKey, serial: &[u8]| {
            (name, by) == (&key.0, &key.1) && serials.iter().any(|it| it == serial)
        };
        let found = super::Revoked::among(bundle.iter().copied(), names);
        bundle.iter().map(|it| found.standing(it)).collect()
    }

    #[test]
    fn what_a_revoked_authority_issued_is_revoked_with_it() {
        let (root, other) = (Ca::new("root"), Ca::new("other"));
        let middle = root.intermediate("middle");
        let last = middle.intermediate("last");
        let ders = [&last, &root, &other, &middle].map(Ca::der);
        let bundle = ders.each_ref().map(Der::as_bytes);
        assert_eq!(
            judge(&bundle, &root, &[bundle[3]]),
            [Revoked, Good, Good, Revoked]
        );
        assert_eq!(judge(&bundle, &root, &[bundle[0]]), [Good; 4]);
        assert_eq!(judge(&bundle, &other, &[bundle[3]]), [Good; 4]);
        // An authority may take itself back.
        assert_eq!(
            judge(&bundle, &root, &[bundle[1]]),
            [Revoked, Revoked, Good, Revoked]
        );
    }

    #[test]
    fn an_authority_for_which_another_still_vouches_goes_on() {
        let (root, other) = (Ca::new("root"), Ca::new("other"));
        let middle = root.intermediate("middle");
        let last = middle.intermediate("last");
        let again = der_of(&other.sign(&middle));
        let ders = [&root, &other, &middle, &last].map(Ca::der);
        let mut bundle = ders.each_ref().map(Der::as_bytes).to_vec();
        bundle.push(again.as_bytes());
        let standings = judge(&bundle, &root, &[bundle[2]]);
        assert_eq!(standings, [Good, Good, Superseded, Good, Good]);
    }

    #[test]
    fn a_list_says_nothing_of_what_another_key_of_the_same_name_issued() {
        let (old, new) = (Ca::new("root"), Ca::new("root"));
        let middle = new.intermediate("middle");
        let ders = [&old, &new, &middle].map(Ca::der);
        let bundle = ders.each_ref().map(Der::as_bytes);
        assert_eq!(judge(&bundle, &old, &[bundle[2]]), [Good; 3]);
    }
}
