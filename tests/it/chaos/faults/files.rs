//! Changes of the files of certificates: renewed in every manner, and broken and mended.

use std::sync::MutexGuard;

use super::{Fault, Outcome};
use crate::{
    chaos::{
        commands::load,
        disk::State,
        identities::{Harm, Identity, Renewal},
        journal::Entry,
        judge::Question,
        random::Random,
        run::{Run, host_of},
    },
    support::pki::{Leaf, replace},
};

/// The faults of files.
pub(crate) const LANE: &[Fault] = &[
    Fault::new("renewed-by-rename", |run, random, entry| {
        renew(run, random, entry, Renewal::Rename)
    }),
    Fault::new("renewed-in-place", |run, random, entry| {
        renew(run, random, entry, Renewal::InPlace)
    }),
    Fault::new("renewed-by-link", |run, random, entry| {
        renew(run, random, entry, Renewal::Swap)
    }),
    Fault::new("certificate-empty", |run, random, entry| {
        harm(run, random, entry, Harm::Empty)
    }),
    Fault::new("certificate-expired", |run, random, entry| {
        harm(run, random, entry, Harm::Expired)
    }),
    Fault::new("certificate-truncated", |run, random, entry| {
        harm(run, random, entry, Harm::Truncated)
    }),
    Fault::new("certificate-missing", |run, random, entry| {
        harm(run, random, entry, Harm::Missing)
    }),
    Fault::new("certificate-is-folder", |run, random, entry| {
        harm(run, random, entry, Harm::Folder)
    }),
    Fault::new("certificate-unreadable", |run, random, entry| {
        harm(run, random, entry, Harm::Loop)
    }),
    Fault::new("key-is-fifo", |run, random, entry| {
        harm(run, random, entry, Harm::Fifo)
    }),
    Fault::new("key-garbage", |run, random, entry| {
        harm(run, random, entry, Harm::Garbage)
    }),
    Fault::new("key-of-another", |run, random, entry| {
        harm(run, random, entry, Harm::ForeignKey)
    }),
    Fault::new("half-a-pair", |run, random, entry| {
        harm(run, random, entry, Harm::HalfPair)
    }),
    Fault::new("authorities-broken", authorities_broken),
];

/// The subject of the authorities of clients.
pub(crate) const AUTHORITIES: &str = "authorities";

/// The name of their file.
pub(crate) const AUTHORITIES_FILE: &str = "clients.pem";

fn identity<'run>(
    run: &'run Run<'_>,
    random: &mut Random,
    entry: Entry,
) -> MutexGuard<'run, Identity> {
    let identity = random.pick(&run.identities).lock().unwrap();
    run.note(entry, identity.name);
    identity
}

fn renew(run: &Run<'_>, random: &mut Random, entry: Entry, how: Renewal) -> Outcome {
    let mut identity = identity(run, random, entry);
    let (leaf, number) = run.issue(identity.name);
    run.on_disk(identity.name, State::Torn);
    let between = random.millis(0..200);
    identity.renew(how, leaf, || run.wait(between));
    run.on_disk(identity.name, State::Good(number));
    sometimes_load(run, random, entry);
    Outcome::Struck
}

fn harm(run: &Run<'_>, random: &mut Random, entry: Entry, harm: Harm) -> Outcome {
    let mut identity = identity(run, random, entry);
    let name = identity.name;
    // The daemon may serve the pair as soon as it is complete, so the certificate is noted before.
    let next = (harm == Harm::HalfPair || random.coin()).then(|| run.issue(name));
    let other = match (&next, harm) {
        (Some((next, _)), Harm::HalfPair) => next.clone(),
        _ => never_to_be_served(run, name),
    };
    run.on_disk(name, State::Torn);
    identity.harm(harm, &other);
    run.on_disk(name, State::Broken);
    run.wait(random.millis(50..1200));
    sometimes_load(run, random, entry);
    run.on_disk(name, State::Torn);
    let leaf = match next {
        Some((leaf, _)) => leaf,
        None => identity.newest.clone(),
    };
    let number = run.truth(name, |truth| truth.number(&leaf.sha256));
    identity.mend(leaf);
    run.on_disk(name, State::Good(number.flatten().unwrap()));
    sometimes_load(run, random, entry);
    Outcome::Struck
}

/// Issues a certificate that no client must be shown.
fn never_to_be_served(run: &Run<'_>, identity: &str) -> Leaf {
    let request = run.ca.request(&[&host_of(identity)]);
    request.valid(-30, -1).issue()
}

/// Asks for a load in half of the cases, and leaves noticing to the daemon in the others.
fn sometimes_load(run: &Run<'_>, random: &mut Random, entry: Entry) {
    if random.coin() {
        let answer = load(run, Question::ReloadTls, &[]);
        run.note(entry, format!("reload-tls: {:?}", answer.status));
    }
}

fn authorities_broken(run: &Run<'_>, random: &mut Random, entry: Entry) -> Outcome {
    let path = run.daemon.path(AUTHORITIES_FILE);
    run.on_disk(AUTHORITIES, State::Torn);
    replace(&path, *random.pick(&["", "no certificate\n"]));
    run.on_disk(AUTHORITIES, State::Broken);
    run.wait(random.millis(50..800));
    sometimes_load(run, random, entry);
    run.on_disk(AUTHORITIES, State::Torn);
    replace(&path, run.ca.pem());
    run.on_disk(AUTHORITIES, State::Good(0));
    sometimes_load(run, random, entry);
    Outcome::Struck
}
