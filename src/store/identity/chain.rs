//! The order of a chain: the leaf, then each one's issuer.

use x509_parser::certificate::X509Certificate;

use super::parts::Part;

/// Drops what the chain holds twice, as it does when a leaf is joined to a file that has it.
pub(super) fn without_duplicates(chain: Vec<Part>) -> (Vec<Part>, usize) {
    let all = chain.len();
    let mut kept: Vec<Part> = Vec::with_capacity(all);
    for part in chain {
        if !kept.iter().any(|it| *it.der == *part.der) {
            kept.push(part);
        }
    }
    let dropped = all - kept.len();
    (kept, dropped)
}

/// Returns the places of all certificates in the order in which they are sent: the leaf, its
/// issuer, that one's issuer and so on, and then what does not belong to this row, as it came.
pub(super) fn order(certificates: &[X509Certificate<'_>], leaf: usize) -> Vec<usize> {
    let mut order = vec![leaf];
    let mut rest: Vec<_> = (0..certificates.len()).filter(|it| *it != leaf).collect();
    let mut last = &certificates[leaf];
    while let Some(at) = rest.iter().position(|it| issued(&certificates[*it], last)) {
        let issuer = rest.remove(at);
        last = &certificates[issuer];
        order.push(issuer);
    }
    order.extend(rest);
    order
}

/// Returns whether the one has the name of the other's issuer. Those that issued themselves end
/// the row.
fn issued(issuer: &X509Certificate<'_>, other: &X509Certificate<'_>) -> bool {
    let name = other.issuer().as_raw();
    other.subject().as_raw() != name && issuer.subject().as_raw() == name
}
