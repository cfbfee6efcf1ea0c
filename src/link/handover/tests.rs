//! Handovers from generation to generation, as far as the frame goes.

use std::os::fd::AsFd as _;

use jiff::Timestamp;

use super::*;
use crate::{
    control::wire,
    facts::Trigger,
    link::Packs,
    tls::{material::Bundle, resolver::Presented as _, testing},
};

const LIMIT: u64 = 1 << 20;

fn generation(
    number: u64,
    identities: Vec<Arc<Identity>>,
    last: Option<&Generation>,
) -> Generation {
    let material = Material {
        identities,
        listeners: vec![],
        system_roots: vec![],
    };
    let packs = last.map_or_else(Packs::default, |last| last.packs.clone());
    Generation {
        number,
        loaded_at: Timestamp::UNIX_EPOCH,
        trigger: Trigger::Start,
        config: Arc::new(testing::config(vec![])),
        packs: packs.next(&material).unwrap(),
        material,
    }
}

fn bytes_of(handover: &Handover) -> Vec<u8> {
    wire::encode(handover, LIMIT).unwrap()
}

fn copies(packs: &[Arc<OwnedFd>]) -> Vec<OwnedFd> {
    let copy = |it: &Arc<OwnedFd>| it.as_fd().try_clone_to_owned().unwrap();
    packs.iter().map(copy).collect()
}

/// Sends over the link and takes it at the other end.
fn pass(
    (handover, packs): &(Handover, Vec<Arc<OwnedFd>>),
    last: Option<&Given>,
) -> Result<Given, Unusable> {
    let received: Handover = wire::decode(&bytes_of(handover), LIMIT).unwrap();
    received.complete(last, copies(packs))
}

/// Checks that a worker presents exactly the identities of a generation.
fn presents(given: &Given, generation: &Generation) {
    let all = &generation.material.identities;
    assert_eq!(given.number, generation.number);
    assert_eq!(given.material.identities.len(), all.len());
    for (card, identity) in given.material.identities.iter().zip(all) {
        assert_eq!(card.name(), identity.name);
        assert_eq!(card.host_names(), identity.host_names);
        let certified = card.certified().unwrap();
        assert_eq!(certified.cert, identity.pair.certificates());
        certified.keys_match().unwrap();
    }
}

#[test]
fn chains_and_keys_are_read_from_packs_and_do_not_cross_the_link() {
    let identities = ["one", "two"].map(testing::any_identity);
    let key = identities[0].pair.leaf().to_vec();
    let first = generation(1, identities.into(), None);
    let told = Handover::new(None, &first);
    presents(&pass(&told, None).unwrap(), &first);
    let crossed = bytes_of(&told.0);
    assert!(!crossed.windows(key.len()).any(|bytes| bytes == key));
}

#[test]
fn an_identity_that_nobody_asks_for_is_a_few_hundred_bytes_of_a_handover() {
    let one = testing::any_identity("one");
    let size = |count: usize| {
        let named = |number| {
            let name = format!("live/database-number-{number:05}.pem");
            Arc::new(Identity {
                name,
                ..(*one).clone()
            })
        };
        let all = generation(1, (0..count).map(named).collect(), None);
        bytes_of(&Handover::new(None, &all).0).len()
    };
    assert!(size(1000) - size(0) < 1000 * 128, "{}", size(1000));
}

#[test]
fn what_a_worker_has_is_not_sent_again() {
    let all: Vec<_> = (0..100)
        .map(|number| testing::any_identity(&format!("identity-{number}")))
        .collect();
    let first = generation(1, all.clone(), None);
    let given = pass(&Handover::new(None, &first), None).unwrap();
    let mut renewed = all;
    renewed[40] = testing::any_identity("identity-40");
    let second = generation(2, renewed, Some(&first));
    let told = Handover::new(Some(&first), &second);
    assert!(matches!(
        told.0.identities[..],
        [Part::Kept(0, 40), Part::New { .. }, Part::Kept(41, 59)]
    ));
    assert!(matches!(told.0.packs[..], [Pack::Kept(0), Pack::New]));
    assert_eq!(told.1.len(), 1);
    let whole = pass(&told, Some(&given)).unwrap();
    presents(&whole, &second);
    assert!(Arc::ptr_eq(
        &whole.material.identities[0],
        &given.material.identities[0]
    ));
}

#[test]
fn what_nothing_refers_to_any_more_is_closed() {
    let (old, new) = (testing::any_identity("one"), testing::any_identity("one"));
    let first = generation(1, vec![old], None);
    let second = generation(2, vec![new], Some(&first));
    let given = pass(&Handover::new(None, &first), None).unwrap();
    let whole = pass(&Handover::new(Some(&first), &second), Some(&given)).unwrap();
    assert_eq!(whole.packs.len(), 1);
    assert!(!Arc::ptr_eq(&whole.packs[0], &given.packs[0]));
    assert_eq!(Arc::strong_count(&whole.packs[0]), 2);
}

#[test]
fn a_difference_to_what_a_worker_does_not_have_is_refused() {
    let one = vec![testing::any_identity("one")];
    let first = generation(1, one.clone(), None);
    let second = generation(2, one.clone(), Some(&first));
    let third = generation(3, one, Some(&second));
    let given = pass(&Handover::new(None, &first), None).unwrap();
    let told = Handover::new(Some(&second), &third);
    for last in [Some(&given), None] {
        let why = pass(&told, last).unwrap_err();
        assert!(matches!(why, Unusable::NeverGiven { .. }), "{why}");
    }
}

#[test]
fn a_handover_is_written_once_and_read_by_every_worker() {
    let first = generation(1, vec![testing::any_identity("one")], None);
    let (told, packs) = Handover::new(None, &first);
    let file = told.write().unwrap().descriptor();
    for _ in 0..2 {
        let all = [vec![Arc::clone(&file)], packs.clone()].concat();
        let (handover, packs) = Handover::read(copies(&all)).unwrap();
        presents(&handover.complete(None, packs).unwrap(), &first);
    }
    let why = Handover::read(vec![]).unwrap_err();
    assert!(why.to_string().contains("short of descriptors"));
    let why = Handover::read(copies(&packs)).unwrap_err();
    assert!(matches!(why, Unusable::Unreadable(_)));
}

#[test]
fn a_pack_that_has_not_arrived_is_told() {
    let first = generation(1, vec![testing::any_identity("one")], None);
    let (told, _) = Handover::new(None, &first);
    let why = pass(&(told, vec![]), None).unwrap_err();
    assert!(matches!(why, Unusable::NotArrived));
    assert!(why.to_string().contains("short of descriptors"));
}

#[test]
fn a_pack_that_is_too_short_is_refused() {
    let first = generation(1, vec![testing::any_identity("one")], None);
    let (mut told, _) = Handover::new(None, &first);
    let other = Packs::default().next(&Material {
        identities: vec![testing::any_identity("other")],
        ..first.material.clone()
    });
    if let [Part::New { place, .. }] = &mut told.identities[..] {
        place.offset = 1 << 20;
    }
    let packs = vec![other.unwrap().files()[0].descriptor()];
    let why = pass(&(told, packs), None).unwrap_err();
    assert!(matches!(why, Unusable::Outside(name) if name == "one"));
}

#[test]
fn a_pack_that_holds_something_else_makes_no_certificate() {
    let first = generation(1, vec![testing::any_identity("one")], None);
    let other = generation(1, vec![testing::any_identity("one")], None);
    let (mut told, _) = Handover::new(None, &first);
    let (theirs, along) = Handover::new(None, &other);
    let place = |told: &Handover| match told.identities[..] {
        [Part::New { place, .. }] => place,
        _ => unreachable!(),
    };
    // The other identity's chain and key, which belong together, but not to this name.
    let theirs = place(&theirs);
    if let [Part::New { place, .. }] = &mut told.identities[..] {
        *place = Place {
            digest: place.digest,
            ..theirs
        };
    }
    let given = pass(&(told, along.clone()), None).unwrap();
    assert!(given.material.identities[0].certified().is_none());
    // Half of it.
    let (mut told, _) = Handover::new(None, &other);
    if let [Part::New { place, .. }] = &mut told.identities[..] {
        place.length /= 2;
    }
    let given = pass(&(told, along), None).unwrap();
    assert!(given.material.identities[0].certified().is_none());
}

#[test]
fn what_listeners_trust_is_not_sent_again() {
    let trusting = |number, last: Option<&Generation>, clients: &[&str]| {
        let mut generation = generation(number, vec![], last);
        let listener = |name: &&str| ListenerMaterial {
            name: (*name).to_owned(),
            clients: Some(Bundle {
                roots: vec![Der::from(vec![7; 5000])],
                crls: vec![],
            }),
            backend: None,
            backend_identity: None,
        };
        generation.material.listeners = clients.iter().map(listener).collect();
        generation.material.system_roots = vec![Der::from(vec![8; 5000])];
        generation
    };
    let first = trusting(1, None, &["one"]);
    let second = trusting(2, Some(&first), &["zero", "one"]);
    let whole = Handover::new(None, &first);
    let given = pass(&whole, None).unwrap();
    assert_eq!(given.material.listeners, first.material.listeners);
    let told = Handover::new(Some(&first), &second);
    assert!(matches!(
        told.0.listeners[..],
        [Trust::New(_), Trust::Kept(0)]
    ));
    assert!(bytes_of(&told.0).len() + 4000 < bytes_of(&whole.0).len());
    let given = pass(&told, Some(&given)).unwrap();
    assert_eq!(given.material.listeners, second.material.listeners);
    assert_eq!(given.material.system_roots, second.material.system_roots);
    assert!(pass(&told, None).is_err());
}
