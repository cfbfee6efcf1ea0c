//! What is odd about a pair that can be served all the same.

use jiff::Timestamp;
use x509_parser::certificate::X509Certificate;

use super::Role;
use crate::{
    store::files::read::Content,
    tls::{self, material::KeyPair},
    x509::{
        certificate,
        path::{self, Purpose},
    },
};

/// Returns what is odd about a chain in the role it is for.
pub(super) fn odd_chain(pair: &KeyPair, role: Role, now: Timestamp) -> Vec<String> {
    let chain: Vec<_> = pair
        .chain
        .iter()
        .filter_map(|it| certificate::parse(it.as_bytes()).ok())
        .collect();
    let purpose = match role {
        Role::Server => Purpose::Server,
        Role::Client => Purpose::Client,
    };
    let algorithms = tls::provider().signature_verification_algorithms;
    let found = path::judge(&chain, purpose, now, &algorithms);
    let mut odd: Vec<_> = found.iter().map(ToString::to_string).collect();
    if let (Role::Server, Some(leaf)) = (role, chain.first()) {
        odd.extend(odd_server(leaf).map(str::to_owned));
    }
    odd
}

fn odd_server(leaf: &X509Certificate<'_>) -> impl Iterator<Item = &'static str> {
    let nameless = !matches!(leaf.subject_alternative_name(), Ok(Some(_)));
    let authority = leaf.is_ca();
    let odd = [
        nameless.then_some(
            "the certificate has no subject alternative name; clients that check the name refuse it",
        ),
        authority.then_some(
            "the certificate is marked as an authority's; some clients refuse it as a server's",
        ),
    ];
    odd.into_iter().flatten()
}

/// Returns who else may read or change a file that holds a secret.
///
/// Root permits a group to read its file on purpose, and root's own group counts as root.
pub(super) fn odd_mode(file: &Content, secret: &str) -> Option<String> {
    let Content {
        mode, owner, group, ..
    } = *file;
    let group_reads = mode & 0o040 != 0 && owner != 0 && group != 0;
    let group_writes = mode & 0o020 != 0 && group != 0;
    let done = match (mode & 0o006, group_reads, group_writes) {
        (0o002 | 0o006, ..) | (.., true) => "changed",
        (0o004, ..) | (_, true, _) => "read",
        _ => return None,
    };
    Some(format!(
        "the {secret} can be {done} by others than its owner (mode {mode:04o})"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_else_may_read_or_change_a_secret_is_told() {
        let told = |mode, owner, group| {
            let file = Content {
                mode,
                owner,
                group,
                ..Content::of(b"key")
            };
            odd_mode(&file, "private key")
        };
        let (read, changed) = (Some("read by"), Some("changed by"));
        for (mode, owner, group, expected) in [
            (0o600, 0, 0, None),
            (0o400, 1000, 1000, None),
            (0o700, 1000, 1000, None),
            // What other users may do counts, whichever user owns the file.
            (0o644, 0, 0, read),
            (0o604, 1000, 1000, read),
            (0o602, 0, 0, changed),
            (0o666, 0, 0, changed),
            // A group counts unless it is root's, or root let it read.
            (0o640, 0, 0, None),
            (0o640, 0, 110, None),
            (0o640, 1000, 0, None),
            (0o640, 1000, 1000, read),
            (0o660, 0, 0, None),
            (0o660, 0, 110, changed),
            (0o620, 1000, 1000, changed),
        ] {
            let told = told(mode, owner, group);
            match expected {
                None => assert_eq!(told, None, "{mode:o} {owner} {group}"),
                Some(part) => assert!(told.as_ref().unwrap().contains(part), "{mode:o}: {told:?}"),
            }
        }
    }
}
