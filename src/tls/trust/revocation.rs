//! Which revocation lists count, of all that were read.
//!
//! webpki asks the first list that bears an issuer's name. So of several lists for the same
//! purpose the newest is kept, and lists that only share a name, because an authority changed its
//! key, are spread over several rounds, each of which asks one of them.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use rustls::{
    CertRevocationListError, CertificateError, Error,
    pki_types::{CertificateRevocationListDer, UnixTime},
};
use x509_parser::{
    der_parser::{Oid, num_bigint::BigUint, oid},
    prelude::FromDer,
    revocation_list::CertificateRevocationList,
};

use crate::tls::{certificate, material::Der};

/// `id-ce-issuingDistributionPoint` (RFC 5280 §5.2.5).
const ISSUING_DISTRIBUTION_POINT: Oid<'static> = oid!(2.5.29.28);
/// `id-ce-authorityKeyIdentifier` (RFC 5280 §5.2.1).
const AUTHORITY_KEY_IDENTIFIER: Oid<'static> = oid!(2.5.29.35);

/// What a list is about: two lists with the same purpose replace each other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Purpose {
    reach: Reach,
    key: Option<Vec<u8>>,
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
pub(in crate::tls) fn parse(der: &[u8]) -> Result<CertificateRevocationList<'_>, String> {
    match CertificateRevocationList::from_der(der) {
        Ok(([], list)) => Ok(list),
        Ok(_) => Err("there are bytes after its end".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Returns when a list should be replaced by the next one.
pub(in crate::tls) fn next_update(list: &CertificateRevocationList<'_>) -> Option<Timestamp> {
    list.next_update()
        .map(|at| certificate::timestamp(at.timestamp()))
}

/// Returns the positions of the lists that another one in `lists` replaces.
pub(in crate::tls) fn replaced(lists: &[Der]) -> Vec<usize> {
    let mut newest: HashMap<Purpose, (usize, Age)> = HashMap::new();
    let mut replaced = Vec::new();
    for (index, der) in lists.iter().enumerate() {
        let Ok(list) = parse(der.as_bytes()) else {
            continue;
        };
        let (purpose, age) = (purpose(&list), age(&list));
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
/// one for every name. There is always a round, if only one without lists.
pub(in crate::tls) fn rounds(lists: &[Der]) -> Vec<Vec<CertificateRevocationListDer<'static>>> {
    let mut groups: HashMap<Reach, Vec<&Der>> = HashMap::new();
    for der in lists {
        if let Ok(list) = parse(der.as_bytes()) {
            groups.entry(reach(&list)).or_default().push(der);
        }
    }
    let count = groups.values().map(Vec::len).max().unwrap_or(1);
    let round = |index: usize| {
        let of_group =
            |group: &Vec<&Der>| group.get(index).or(group.last()).copied().map(to_rustls);
        groups.values().filter_map(of_group).collect()
    };
    (0..count).map(round).collect()
}

/// Asks the verifier of every round. One whose list another key of the same name has signed has no
/// opinion, as long as some other round has one.
pub(in crate::tls) fn ask<V>(
    rounds: &[V],
    mut check: impl FnMut(&V) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut stranger = None;
    let mut is_good = false;
    for round in rounds {
        match check(round) {
            Ok(()) => is_good = true,
            Err(error) => stranger = Some(signed_by_stranger(error)?),
        }
    }
    match stranger {
        Some(error) if !is_good => Err(error.into()),
        _ => Ok(()),
    }
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
pub(in crate::tls) fn first_expiry(lists: &[Der]) -> Option<UnixTime> {
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

fn purpose(list: &CertificateRevocationList<'_>) -> Purpose {
    Purpose {
        reach: reach(list),
        key: extension(list, &AUTHORITY_KEY_IDENTIFIER),
    }
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
    use crate::tls::{pem, testing::Ca};

    fn list(ca: &Ca, number: u64, year: i32) -> Der {
        let pem = ca.list(&[], number, year);
        let blocks = pem::blocks(pem.as_bytes()).unwrap();
        Der::from(blocks[0].der.to_vec())
    }

    #[test]
    fn the_newest_list_of_a_key_counts() {
        let (ca, other, namesake) = (Ca::new("root"), Ca::new("other"), Ca::new("root"));
        let (old, new) = (list(&ca, 1, 2090), list(&ca, 2, 2090));
        let others = [list(&other, 1, 2090), list(&namesake, 1, 2090)];
        assert!(replaced(&others).is_empty());
        let mut lists = vec![old.clone(), new.clone()];
        lists.extend(others.clone());
        assert_eq!(replaced(&lists), [0]);
        assert_eq!(replaced(&[new.clone(), old, new]), [1, 2]);
        assert!(replaced(&[]).is_empty());
    }

    #[test]
    fn lists_that_share_a_name_are_asked_in_turn() {
        let (ca, other, namesake) = (Ca::new("root"), Ca::new("other"), Ca::new("root"));
        let lists = [&ca, &namesake, &other].map(|ca| list(ca, 1, 2090));
        let rounds = rounds(&lists);
        assert_eq!(rounds.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
        for (round, namesake) in rounds.iter().zip(&lists) {
            let ders: Vec<&[u8]> = round.iter().map(AsRef::as_ref).collect();
            assert!(ders.contains(&namesake.as_bytes()));
            assert!(ders.contains(&lists[2].as_bytes()));
        }
        assert_eq!(super::rounds(&[]), [vec![]]);
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
