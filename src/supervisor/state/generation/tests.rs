//! Tests of a generation that is left.

use std::os::fd::AsFd as _;

use proptest::prelude::*;

use super::*;
use crate::{
    config::SourceText,
    tls::{
        material::{BackendTrust, Bundle, ListenerMaterial},
        testing::{self, Ca},
    },
};

fn own() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn generation() -> Generation {
    let ca = Ca::new("root");
    let names = ["one.example", "two.example"];
    let identities = names.map(|name| Arc::new(testing::identity(name, &ca.server(&[name]))));
    let bundle = Bundle {
        roots: vec![ca.der()],
        crls: vec![ca.der()],
    };
    let material = Material {
        identities: identities.to_vec(),
        listeners: vec![
            ListenerMaterial {
                name: "orders".to_owned(),
                clients: Some(bundle.clone()),
                backend: Some(BackendTrust::Roots(bundle)),
                backend_identity: Some(ca.server(&["client"]).pair()),
            },
            ListenerMaterial {
                name: "plain".to_owned(),
                clients: None,
                backend: Some(BackendTrust::System),
                backend_identity: None,
            },
        ],
        system_roots: vec![ca.der()],
    };
    let mut config = testing::config(vec![]);
    config.text = SourceText::from("# the text\n");
    Generation {
        number: 7,
        loaded_at: Timestamp::from_second(3).unwrap(),
        trigger: Trigger::Sighup,
        config: Arc::new(config),
        packs: Packs::default().next(&material).unwrap(),
        material,
    }
}

fn copies(files: &[Arc<OwnedFd>]) -> Vec<OwnedFd> {
    let copy = |it: &Arc<OwnedFd>| it.as_fd().try_clone_to_owned().unwrap();
    files.iter().map(copy).collect()
}

#[test]
fn what_was_served_is_read_as_it_was_written() {
    let before = generation();
    let file = write(&before, 5).unwrap();
    let packs = copies(&before.packs.descriptors());
    let again = Earlier::read(copies(&[file]).remove(0), packs, own()).unwrap();
    assert_eq!((again.reign, again.number), (5, 7));
    assert_eq!(
        (again.loaded_at, again.trigger),
        (before.loaded_at, before.trigger)
    );
    assert_eq!(again.config, "# the text\n");
    assert!(again.material.is_same(&before.material));
    let both = again
        .material
        .identities
        .iter()
        .zip(&before.material.identities);
    for (again, before) in both {
        assert_eq!(again.facts, before.facts);
        assert_eq!(again.host_names, before.host_names);
    }
    assert!(again.packs.left().eq(before.packs.left()));
}

#[test]
fn what_lacks_a_pack_or_belongs_to_another_user_is_refused() {
    let before = generation();
    let file = write(&before, 5).unwrap();
    let read =
        |packs, owner| Earlier::read(copies(std::slice::from_ref(&file)).remove(0), packs, owner);
    let packs = || copies(&before.packs.descriptors());
    assert!(matches!(read(vec![], own()), Err(Unusable::Incomplete)));
    let error = read(packs(), own() + 1).unwrap_err().to_string();
    assert!(error.contains("another user"), "{error}");
    let mut wrong = copies(std::slice::from_ref(&file));
    assert!(read(std::mem::take(&mut wrong), own()).is_err());
}

#[test]
fn keys_are_never_printed() {
    let before = generation();
    let shown = format!("{:?}", Document::of(&before, 1));
    let key = before.material.listeners[0].backend_identity.as_ref();
    let key = key.unwrap().key.as_bytes();
    assert!(!shown.contains(&format!("{}, {}, {}", key[0], key[1], key[2])));
}

fn bytes_of(generation: &Generation) -> Vec<u8> {
    let document = Document::of(generation, 1);
    [&document.head().unwrap()[..], &document.behind].concat()
}

#[test]
fn what_a_release_too_far_away_wrote_is_told_so() {
    let mut bytes = bytes_of(&generation());
    // The versions follow the number of them, each in front of a length.
    let count = usize::from(u16::from_be_bytes([bytes[8], bytes[9]]));
    for at in 0..count {
        bytes[11 + 10 * at] += 2;
    }
    let error = Document::decode(Zeroizing::new(bytes)).unwrap_err();
    assert!(
        matches!(error, Unusable::Unread(Unread::Versions { .. })),
        "{error}"
    );
}

proptest! {
    #[test]
    fn no_bytes_are_too_bad_to_be_judged(bytes: Vec<u8>, place: prop::sample::Index, byte: u8) {
        static GOOD: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| bytes_of(&generation()));
        let _ = Document::decode(Zeroizing::new(bytes));
        let mut bytes = GOOD.clone();
        let place = place.index(bytes.len());
        let cut = Zeroizing::new(bytes[..place].to_vec());
        bytes[place] = byte;
        for bytes in [cut, Zeroizing::new(bytes)] {
            if let Ok(document) = Document::decode(bytes) {
                let _ = document.complete(vec![], own());
            }
        }
    }
}
