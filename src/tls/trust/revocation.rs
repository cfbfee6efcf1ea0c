//! Which revocation lists count, of all that were read.
//!
//! webpki asks the first list that bears an issuer's name. So of several lists for the same
//! purpose the newest is kept, and lists that only share a name, because an authority changed its
//! key, are spread over several rounds, each of which asks one of them. A list is of the authority
//! whose key verifies it; what it says of its key itself counts only where no such is known.

use std::{cmp::Reverse, collections::HashMap, time::Duration};

use jiff::Timestamp;
use rustls::{
    CertRevocationListError, CertificateError, Error,
    pki_types::{CertificateRevocationListDer, SignatureVerificationAlgorithm, UnixTime},
};
use x509_parser::{
    der_parser::{Oid, num_bigint::BigUint, oid},
    prelude::FromDer,
    revocation_list::CertificateRevocationList,
};

use crate::{
    tls::{material::Der, provider},
    x509::certificate,
};

/// `id-ce-issuingDistributionPoint` (RFC 5280 §5.2.5).
const ISSUING_DISTRIBUTION_POINT: Oid<'static> = oid!(2.5.29.28);
/// `id-ce-authorityKeyIdentifier` (RFC 5280 §5.2.1).
const AUTHORITY_KEY_IDENTIFIER: Oid<'static> = oid!(2.5.29.35);

/// How many rounds there are at most where several names have several lists.
const MAX_ROUNDS: usize = 64;

/// What a list is about: two lists with the same purpose replace each other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Purpose {
    reach: Reach,
    key: Key,
}

/// By what a list's key is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// The extension that names it.
    Named(Vec<u8>),
    /// The key of a known authority, which verifies the list.
    Verified(Vec<u8>),
}

/// By what webpki finds a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Reach {
    issuer: Vec<u8>,
    scope: Option<Vec<u8>>,
}

/// How new a list is.
type Age = (Timestamp, Option<BigUint>);

/// Parses a list, which must be all there is.
pub(crate) fn parse(der: &[u8]) -> Result<CertificateRevocationList<'_>, String> {
    match CertificateRevocationList::from_der(der) {
        Ok(([], list)) => Ok(list),
        Ok(_) => Err("there are bytes after its end".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Returns when a list should be replaced by the next one.
pub(crate) fn next_update(list: &CertificateRevocationList<'_>) -> Option<Timestamp> {
    list.next_update()
        .map(|at| certificate::timestamp(at.timestamp()))
}

/// Returns the positions of the lists that another one in `lists` replaces.
///
/// One that neither an authority in `roots` has signed nor says whose key did may be of any key of
/// its issuer, so nothing replaces it.
pub(crate) fn replaced(lists: &[Der], roots: &[Der]) -> Vec<usize> {
    let mut newest: HashMap<Purpose, (usize, Age)> = HashMap::new();
    let mut replaced = Vec::new();
    for (index, der) in lists.iter().enumerate() {
        let Ok(list) = parse(der.as_bytes()) else {
            continue;
        };
        let Some(purpose) = purpose(&list, roots) else {
            continue;
        };
        let age = age(&list);
        match newest.get(&purpose) {
            Some((_, other)) if *other >= age => replaced.push(index),
            _ => {
                let older = newest.insert(purpose, (index, age));
                replaced.extend(older.map(|(index, _)| index));
            }
        }
    }
    replaced.sort_unstable();
    replaced
}

/// Spreads lists over rounds so that no two in a round are found by the same name; each round has
/// one for every name, the first round the newest. There is always a round, if only one without
/// lists.
pub(crate) fn rounds(lists: &[Der]) -> Vec<Vec<CertificateRevocationListDer<'static>>> {
    let mut groups: HashMap<Reach, Vec<(Age, &Der)>> = HashMap::new();
    for der in lists {
        if let Ok(list) = parse(der.as_bytes()) {
            let group = groups.entry(reach(&list)).or_default();
            group.push((age(&list), der));
        }
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    for group in &mut groups {
        group.sort_by_key(|(age, _)| Reverse(age.clone()));
    }
    let lengths: Vec<_> = groups.iter().map(Vec::len).collect();
    let round = |places: Vec<usize>| {
        let chosen = groups.iter().zip(places);
        chosen
            .map(|(group, place)| to_rustls(group[place].1))
            .collect()
    };
    places(&lengths).into_iter().map(round).collect()
}

/// Returns, for every round, the place of each group's list.
///
/// Every combination has a round, because each authority of a chain may have changed its key; if
/// that would be too many, every list has one.
fn places(lengths: &[usize]) -> Vec<Vec<usize>> {
    let all = lengths
        .iter()
        .try_fold(1_usize, |all, length| all.checked_mul(*length))
        .filter(|all| *all <= MAX_ROUNDS);
    let Some(all) = all else {
        let longest = lengths.iter().copied().max().unwrap_or(1);
        let round = |index| lengths.iter().map(|length| index % length).collect();
        return (0..longest).map(round).collect();
    };
    let round = |mut index: usize| {
        let place = |length: &usize| {
            let place = index % length;
            index /= length;
            place
        };
        lengths.iter().map(place).collect()
    };
    (0..all).map(round).collect()
}

/// Asks the verifiers of the rounds in turn until one has an opinion. One whose list another key of
/// the same name has signed has none.
///
/// The first opinion counts, because of several lists of one key the newest is asked first.
pub(crate) fn ask<V>(
    rounds: &[V],
    mut check: impl FnMut(&V) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut stranger = None;
    for round in rounds {
        match check(round) {
            Ok(()) => return Ok(()),
            Err(error) => stranger = Some(signed_by_stranger(error)?),
        }
    }
    stranger.map_or(Ok(()), |error| Err(error.into()))
}

/// Says of a certificate or a list that another key of its issuer's name has signed what that
/// means for its holder; any other error stays an error.
///
/// webpki tells one from the other only by chance where an issuer has two keys.
fn signed_by_stranger(error: Error) -> Result<CertificateError, Error> {
    match error {
        Error::InvalidCertificate(
            CertificateError::BadSignature
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. },
        ) => Ok(CertificateError::UnknownIssuer),
        Error::InvalidCertRevocationList(
            CertRevocationListError::BadSignature
            | CertRevocationListError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. },
        ) => Ok(CertificateError::UnknownRevocationStatus),
        other => Err(other),
    }
}

/// Returns the first moment at which one of the lists should have been replaced.
pub(crate) fn first_expiry(lists: &[Der]) -> Option<UnixTime> {
    let ends = lists.iter().filter_map(|der| {
        let end = next_update(&parse(der.as_bytes()).ok()?)?;
        u64::try_from(end.as_second()).ok()
    });
    ends.min()
        .map(|end| UnixTime::since_unix_epoch(Duration::from_secs(end)))
}

fn to_rustls(der: &Der) -> CertificateRevocationListDer<'static> {
    CertificateRevocationListDer::from(der.as_bytes().to_vec())
}

fn purpose(list: &CertificateRevocationList<'_>, roots: &[Der]) -> Option<Purpose> {
    let named = || extension(list, &AUTHORITY_KEY_IDENTIFIER).map(Key::Named);
    Some(Purpose {
        reach: reach(list),
        key: verified(list, roots).map(Key::Verified).or_else(named)?,
    })
}

/// Returns the key of the authority that has signed a list.
fn verified(list: &CertificateRevocationList<'_>, roots: &[Der]) -> Option<Vec<u8>> {
    roots.iter().find_map(|root| {
        let root = certificate::parse(root.as_bytes()).ok()?;
        let is_namesake = root.subject().as_raw() == list.issuer().as_raw();
        let key = root.public_key();
        let is_signer = is_namesake && is_signed_by(list, &key.subject_public_key.data);
        is_signer.then(|| key.raw.to_vec())
    })
}

fn is_signed_by(list: &CertificateRevocationList<'_>, key: &[u8]) -> bool {
    let (message, signature) = (list.tbs_cert_list.as_ref(), &list.signature_value.data);
    // An algorithm that the list does not use does not verify it.
    let verifies = |algorithm: &&dyn SignatureVerificationAlgorithm| {
        let verified = algorithm.verify_signature(key, message, signature);
        verified.is_ok()
    };
    let algorithms = provider().signature_verification_algorithms;
    algorithms.all.iter().any(verifies)
}

fn reach(list: &CertificateRevocationList<'_>) -> Reach {
    Reach {
        issuer: list.issuer().as_raw().to_vec(),
        scope: extension(list, &ISSUING_DISTRIBUTION_POINT),
    }
}

fn age(list: &CertificateRevocationList<'_>) -> Age {
    let issued = certificate::timestamp(list.last_update().timestamp());
    (issued, list.crl_number().cloned())
}

fn extension(list: &CertificateRevocationList<'_>, oid: &Oid<'_>) -> Option<Vec<u8>> {
    let mut extensions = list.extensions().iter();
    extensions
        .find(|it| it.oid == *oid)
        .map(|it| it.value.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::{Ca, der_of};

    fn list(ca: &Ca, number: u64, year: i32) -> Der {
        der_of(&ca.list(&[], number, year))
    }

    fn nameless(ca: &Ca, number: u64) -> Der {
        der_of(&ca.nameless_list(&[], number, 2090))
    }

    #[test]
    fn the_newest_list_of_a_key_counts() {
        let (ca, other, namesake) = (Ca::new("root"), Ca::new("other"), Ca::new("root"));
        let (old, new) = (list(&ca, 1, 2090), list(&ca, 2, 2090));
        let others = [list(&other, 1, 2090), list(&namesake, 1, 2090)];
        for roots in [&[][..], &[namesake.der(), ca.der()]] {
            assert!(replaced(&others, roots).is_empty());
            let mut lists = vec![old.clone(), new.clone()];
            lists.extend(others.clone());
            assert_eq!(replaced(&lists, roots), [0]);
            let again = [new.clone(), old.clone(), new.clone()];
            assert_eq!(replaced(&again, roots), [1, 2]);
            assert!(replaced(&[], roots).is_empty());
        }
    }

    #[test]
    fn a_list_that_does_not_name_its_key_is_of_the_one_that_verifies_it() {
        let (ca, namesake) = (Ca::new("root"), Ca::new("root"));
        let lists = [nameless(&ca, 1), nameless(&namesake, 2), list(&ca, 3, 2090)];
        assert_eq!(replaced(&lists, &[ca.der(), namesake.der()]), [0]);
        assert_eq!(replaced(&lists, &[namesake.der(), ca.der()]), [0]);
        assert!(replaced(&lists, &[namesake.der()]).is_empty());
        assert!(replaced(&lists, &[]).is_empty());
    }

    #[test]
    fn lists_that_share_a_name_are_asked_in_turn_and_the_newest_first() {
        let (ca, other, namesake) = (Ca::new("root"), Ca::new("other"), Ca::new("root"));
        let lists = [
            list(&ca, 2, 2090),
            list(&namesake, 1, 2090),
            list(&other, 1, 2090),
        ];
        for order in [[0, 1, 2], [2, 1, 0]] {
            let spread = rounds(&order.map(|index: usize| lists[index].clone()));
            assert_eq!(spread.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
            for (round, namesake) in spread.iter().zip(&lists) {
                let ders: Vec<&[u8]> = round.iter().map(AsRef::as_ref).collect();
                assert!(ders.contains(&namesake.as_bytes()));
                assert!(ders.contains(&lists[2].as_bytes()));
            }
        }
        assert_eq!(rounds(&[]), [vec![]]);
    }

    #[test]
    fn every_combination_of_lists_has_a_round_if_those_are_not_too_many() {
        assert_eq!(places(&[1, 2]), [[0, 0], [0, 1]]);
        assert_eq!(places(&[2, 2]), [[0, 0], [1, 0], [0, 1], [1, 1]]);
        assert_eq!(places(&[2; 6]).len(), MAX_ROUNDS);
        assert_eq!(places(&[2; 7]), [[0; 7], [1; 7]]);
        assert_eq!(places(&[]), [[0; 0]]);
    }

    #[test]
    fn the_first_expiry_is_the_earliest() {
        let ca = Ca::new("root");
        let lists = [list(&ca, 1, 2090), list(&ca, 2, 2050)];
        let end: Timestamp = "2050-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(first_expiry(&lists), Some(crate::tls::unix_time(end)));
        assert_eq!(first_expiry(&[]), None);
    }
}
