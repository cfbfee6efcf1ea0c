//! Packs from generation to generation.

use super::*;
use crate::tls::testing;

fn material(identities: &[Arc<Identity>]) -> Material {
    Material {
        identities: identities.to_vec(),
        listeners: vec![],
        system_roots: vec![],
    }
}

/// Checks that every identity can be read where its place says.
fn hold_all(packs: &Packs, identities: &[Arc<Identity>]) {
    assert_eq!(packs.places.len(), identities.len());
    for (place, identity) in packs.places.iter().zip(identities) {
        let file = &packs.files()[place.pack];
        let bytes = file.read(place.offset, place.length).unwrap();
        let pair: KeyPair = wire::decode(&bytes, MAX_PAIR).unwrap();
        assert_eq!(pair.digest(), identity.digest);
    }
}

fn any(count: usize) -> Vec<Arc<Identity>> {
    let name = |number| format!("identity-{number}");
    (0..count)
        .map(|number| testing::any_identity(&name(number)))
        .collect()
}

#[test]
fn what_did_not_change_stays_where_it_is() {
    let mut all = any(8);
    let first = Packs::default().next(&material(&all)).unwrap();
    let same = first.next(&material(&all)).unwrap();
    assert!(Arc::ptr_eq(&same.files[0], &first.files[0]) && same.files.len() == 1);
    all[3] = testing::any_identity("identity-3");
    let second = first.next(&material(&all)).unwrap();
    hold_all(&second, &all);
    assert!(Arc::ptr_eq(&second.files[0], &first.files[0]) && second.files.len() == 2);
    assert!(second.files[1].length() < first.files[0].length() / 4);
}

#[test]
fn renewals_leave_few_packs_and_little_waste() {
    let mut all = any(12);
    let mut packs = Packs::default();
    for step in 0..60 {
        let changed = (step * 5) % all.len();
        all[changed] = testing::any_identity(&format!("identity-{changed}"));
        packs = packs.next(&material(&all)).unwrap();
        hold_all(&packs, &all);
        assert!(packs.files.len() <= MAX_PACKS, "{}", packs.files.len());
        let bytes: u64 = packs.files.iter().map(|it| it.length()).sum();
        let used: usize = packs.places.iter().map(|it| it.length).sum();
        assert!(bytes <= 2 * used as u64, "{bytes} for {used}");
    }
}

#[test]
fn what_is_removed_leaves_its_pack_and_an_empty_pack_goes() {
    let all = any(4);
    let packs = Packs::default().next(&material(&all)).unwrap();
    let fewer = packs.next(&material(&all[..1])).unwrap();
    hold_all(&fewer, &all[..1]);
    assert!(fewer.files[0].length() < packs.files[0].length());
    let none = fewer.next(&material(&[])).unwrap();
    assert!(none.files.is_empty());
}

#[test]
fn two_names_for_one_chain_and_key_share_a_place() {
    let one = testing::any_identity("one");
    let two = Arc::new(Identity {
        name: "two".to_owned(),
        ..(*one).clone()
    });
    let packs = Packs::default()
        .next(&material(&[Arc::clone(&one), Arc::clone(&two)]))
        .unwrap();
    assert_eq!(packs.places[0], packs.places[1]);
    assert_eq!(packs.files[0].length(), packs.places[0].length as u64);
}
