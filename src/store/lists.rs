//! Revocation lists out of PEM: which can be used, which of several count, and what is odd about
//! them.

use std::collections::HashMap;

use jiff::Timestamp;
use x509_parser::{certificate::X509Certificate, der_parser::num_bigint::BigUint};

use super::bundle::{self, BundleFault, Checked};
use crate::{
    config::OnUnknown,
    facts::Moment,
    tls::{
        material::Der,
        provider,
        trust::{
            authorities::Standing,
            revocation::{Lists, Policy},
        },
    },
    x509::{
        certificate,
        list::{ListFault, Name, PublicKey, RevocationList},
        pem::{self, Block},
    },
};

/// What a list is about: of several with the same purpose the newest counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Purpose {
    issuer: Name,
    scope: Vec<u8>,
    key: Key,
}

/// By what a list's key is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// The extension that names it.
    Named(Vec<u8>),
    /// The key of a known authority, which verifies the list.
    Verified(PublicKey),
}

/// How new a list is.
type Age = (Moment, Option<BigUint>);

/// Reads revocation lists, at least one.
pub(crate) fn crls(
    text: &[u8],
    roots: &[Der],
    expired: OnUnknown,
    now: Timestamp,
) -> Result<Checked<Vec<Der>>, BundleFault> {
    let (blocks, others): (Vec<_>, Vec<_>) = pem::blocks(text)?
        .into_iter()
        .partition(|it| it.label == "X509 CRL");
    if blocks.is_empty() {
        return Err(bundle::nothing("revocation list (X509 CRL)", &others));
    }
    let mut warnings = Vec::new();
    for block in &blocks {
        let list = read(block)?;
        warnings.extend(odd_signer(&list, roots));
        warnings.extend(odd_scope(&list));
        warnings.extend(odd_end(&list, expired, now));
    }
    let value = blocks.iter().map(bundle::der).collect();
    Ok(Checked { value, warnings })
}

fn read(block: &Block) -> Result<RevocationList, BundleFault> {
    let fault = |why: ListFault| BundleFault::List {
        line: block.line,
        why,
    };
    let list = RevocationList::parse(&block.der).map_err(fault)?;
    let algorithms = provider().signature_verification_algorithms.all;
    list.demand_algorithm(algorithms).map_err(fault)?;
    Ok(list)
}

/// Returns the positions of the lists that another one in `lists` replaces.
///
/// One that neither an authority in `roots` has signed nor says whose key did may be of any key of
/// its issuer, so nothing replaces it.
pub(crate) fn replaced(lists: &[Der], roots: &[Der]) -> Vec<usize> {
    let mut newest: HashMap<Purpose, (usize, Age)> = HashMap::new();
    let mut replaced = Vec::new();
    for (index, der) in lists.iter().enumerate() {
        let Ok(list) = RevocationList::parse(der.as_bytes()) else {
            continue;
        };
        let Some(purpose) = purpose(&list, roots) else {
            continue;
        };
        let (issued, number) = list.age();
        let age = (issued, number.cloned());
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

fn purpose(list: &RevocationList, roots: &[Der]) -> Option<Purpose> {
    let named = || list.authority_key().map(|it| Key::Named(it.to_vec()));
    let signer = signer(list, roots).map(Key::Verified);
    Some(Purpose {
        issuer: list.issuer().clone(),
        scope: list.scope().as_der().to_vec(),
        key: signer.or_else(named)?,
    })
}

/// Returns the key of the authority that has signed a list.
fn signer(list: &RevocationList, roots: &[Der]) -> Option<PublicKey> {
    let algorithms = provider().signature_verification_algorithms.all;
    let mut keys = namesakes(list, roots);
    keys.find(|key| list.is_signed_by(key, algorithms))
}

/// Returns the keys of the authorities that bear the name of a list's issuer.
fn namesakes(list: &RevocationList, roots: &[Der]) -> impl Iterator<Item = PublicKey> {
    roots.iter().filter_map(|root| {
        let root = certificate::parse(root.as_bytes()).ok()?;
        let key = PublicKey::of_der(root.public_key().raw)?;
        list.is_issued_by(root.subject()).then_some(key)
    })
}

fn odd_signer(list: &RevocationList, roots: &[Der]) -> Option<String> {
    let issuer = list.issuer_name();
    if namesakes(list, roots).next().is_none() {
        return Some(format!(
            "the list of {issuer} is of no authority in the bundle; it serves only if clients send \
             that authority's certificate"
        ));
    }
    signer(list, roots).is_none().then(|| {
        format!(
            "the list of {issuer} is signed by none of the keys that the bundle has for that name: \
             it is damaged or another key's, and revokes nothing that these keys signed; get it \
             anew from that authority"
        )
    })
}

/// Says which authorities the lists that count revoke, and which they leave out though there are
/// lists of their name.
pub(crate) fn odd_authorities(lists: &[Der], roots: &[Der]) -> Vec<String> {
    let authorities = roots.iter().map(Der::as_bytes);
    let Ok(Some(lists)) = Lists::new(lists, authorities, Policy::ACCEPT) else {
        return Vec::new();
    };
    let odd = roots.iter().filter_map(|root| {
        let root = certificate::parse(root.as_bytes()).ok()?;
        odd_authority(&lists, &root)
    });
    odd.collect()
}

fn odd_authority(lists: &Lists, root: &X509Certificate<'_>) -> Option<String> {
    let key = PublicKey::of_der(root.public_key().raw)?;
    let name = Name::of_der(root.subject().as_raw());
    let what = match lists.revoked().standing(root.as_raw()) {
        Standing::Revoked => {
            "is revoked by these lists: it is refused, and so is every certificate that it issued; \
             take it out of this file"
        }
        Standing::Superseded => {
            "is revoked by these lists: what it issued is let in only because this file holds \
             another certificate of the same name and key; take the revoked one out"
        }
        Standing::Good if lists.pass_over(&name, &key) => {
            "has no revocation list: the lists of that name are signed by another key; what it \
             issued counts as without a list (client_auth.unknown_revocation says what becomes of \
             such clients)"
        }
        Standing::Good => return None,
    };
    let serial = certificate::serial(root.raw_serial());
    let subject = root.subject();
    Some(format!(
        "the authority {subject} with the serial number {serial} {what}"
    ))
}

fn odd_scope(list: &RevocationList) -> Option<String> {
    let limits = list.scope().limits()?;
    Some(format!(
        "the list of {} is only for {limits}; it refuses every certificate that it names all the \
         same, but says of no other that it is good (client_auth.unscoped_crl says what becomes of \
         such clients)",
        list.issuer_name()
    ))
}

fn odd_end(list: &RevocationList, expired: OnUnknown, now: Timestamp) -> Option<String> {
    let next = list.next_update().filter(|next| *next < now.into())?;
    let meaning = match expired {
        OnUnknown::Accept => "what was revoked since is not known",
        OnUnknown::Refuse => "until it is, clients of that authority are refused",
    };
    Some(format!(
        "the list of {} should have been replaced by {next}; {meaning}",
        list.issuer_name()
    ))
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
    fn a_list_counts_whatever_string_type_its_issuer_is_written_in() {
        let ca = Ca::new("root");
        let printable = der_of(&ca.printable_list(&[], 2, 2090));
        assert_eq!(
            replaced(&[list(&ca, 1, 2090), printable.clone()], &[ca.der()]),
            [0]
        );
        let parsed = RevocationList::parse(printable.as_bytes()).unwrap();
        assert_eq!(odd_signer(&parsed, &[ca.der()]), None);
    }

    #[test]
    fn an_authority_without_a_list_of_its_own_key_is_told_of() {
        let (old, new, other) = (Ca::new("root"), Ca::new("root"), Ca::new("other"));
        let roots = [old.der(), new.der(), other.der()];
        let of_old = list(&old, 1, 2090);
        let odd = odd_authorities(std::slice::from_ref(&of_old), &roots);
        let parsed = new.der();
        let parsed = certificate::parse(parsed.as_bytes()).unwrap();
        let serial = certificate::serial(parsed.raw_serial());
        let [told] = &*odd else { panic!("{odd:?}") };
        assert!(told.contains(&format!("CN=root with the serial number {serial} ")));
        assert!(odd_authorities(&[of_old, list(&new, 1, 2090)], &roots).is_empty());
        assert!(odd_authorities(&[], &roots).is_empty());
    }

    #[test]
    fn a_revoked_authority_is_told_of() {
        let (root, other) = (Ca::new("root"), Ca::new("other"));
        let issuer = root.intermediate("issuer");
        let lists = [der_of(&root.list(&[&issuer.as_leaf()], 1, 2090))];
        let mut roots = vec![root.der(), other.der(), issuer.der()];
        for words in ["every certificate that it issued", "another certificate"] {
            let odd = odd_authorities(&lists, &roots);
            let [told] = &*odd else { panic!("{odd:?}") };
            assert!(told.contains("CN=issuer") && told.contains(words), "{told}");
            roots.push(der_of(&other.sign(&issuer)));
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
}
