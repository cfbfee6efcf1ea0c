//! Name constraints, RFC 5280 §4.2.1.10, for the kinds of names by which servers are known.

use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, GeneralSubtree, NameConstraints},
};

use crate::x509::certificate;

/// Returns the names of a leaf that an issuer with these constraints must not vouch for.
pub(super) fn outside<'a>(
    leaf: &'a X509Certificate<'_>,
    constraints: &'a NameConstraints<'_>,
) -> impl Iterator<Item = String> + 'a {
    let names = match leaf.subject_alternative_name() {
        Ok(Some(names)) => names.value.general_names.as_slice(),
        _ => &[],
    };
    let permitted = constraints.permitted_subtrees.as_deref();
    let excluded = constraints.excluded_subtrees.as_deref();
    names
        .iter()
        .filter(move |name| {
            is_excluded(name, excluded.unwrap_or_default())
                || !is_permitted(name, permitted.unwrap_or_default())
        })
        .filter_map(certificate::shown_name)
}

fn is_excluded(name: &GeneralName<'_>, subtrees: &[GeneralSubtree<'_>]) -> bool {
    subtrees
        .iter()
        .any(|it| is_in(name, &it.base) == Some(true))
}

/// Only subtrees of a name's own kind limit it.
fn is_permitted(name: &GeneralName<'_>, subtrees: &[GeneralSubtree<'_>]) -> bool {
    let mut said = subtrees
        .iter()
        .filter_map(|it| is_in(name, &it.base))
        .peekable();
    said.peek().is_none() || said.any(|is_in| is_in)
}

/// Returns whether a name is in a subtree; `None` if that is of another kind, or of one that is not
/// judged here.
fn is_in(name: &GeneralName<'_>, base: &GeneralName<'_>) -> Option<bool> {
    match (name, base) {
        (GeneralName::DNSName(name), GeneralName::DNSName(base)) => Some(is_below(name, base)),
        (GeneralName::IPAddress(address), GeneralName::IPAddress(network)) => {
            Some(is_inside(address, network))
        }
        _ => None,
    }
}

fn is_below(name: &str, base: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let base = base.to_ascii_lowercase();
    let base = base.strip_prefix('.').unwrap_or(&base);
    let rest = name.strip_suffix(base);
    base.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// A network is an address and a mask of the same length, one behind the other.
fn is_inside(address: &[u8], network: &[u8]) -> bool {
    if network.len() != 2 * address.len() {
        return false;
    }
    let (base, mask) = network.split_at(address.len());
    let bytes = address.iter().zip(base).zip(mask);
    bytes.into_iter().all(|((a, b), mask)| a & mask == b & mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_in_their_subtrees() {
        for (name, base, is_in) in [
            ("db.example.com", "example.com", true),
            ("DB.example.com", ".EXAMPLE.com", true),
            ("example.com", "example.com", true),
            ("badexample.com", "example.com", false),
            ("db.example.org", "example.com", false),
            ("db.example.org", "", true),
        ] {
            assert_eq!(is_below(name, base), is_in, "{name} {base}");
        }
        assert!(is_inside(&[10, 1, 2, 3], &[10, 0, 0, 0, 255, 0, 0, 0]));
        assert!(!is_inside(&[11, 1, 2, 3], &[10, 0, 0, 0, 255, 0, 0, 0]));
        assert!(!is_inside(&[10; 16], &[10, 0, 0, 0, 255, 0, 0, 0]));
    }
}
