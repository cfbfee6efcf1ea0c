//! Files whose times and sizes say that nothing has changed.

use std::{
    fs::{self, File},
    time::SystemTime,
};

use super::Rotation;
use crate::support::{
    pki::{Ca, Files, Leaf, overwrite, replace},
    scene::NAME,
};

/// Issues a certificate whose files are as long as those of another.
fn as_long_as(other: &Leaf, ca: &Ca) -> Leaf {
    let length = |leaf: &Leaf| (leaf.cert.len(), leaf.key.len());
    (0..1000)
        .map(|_| ca.leaf(NAME))
        .find(|leaf| length(leaf) == length(other))
        .expect("signatures have few lengths")
}

/// Gives both files this time.
fn stamp(files: &Files, time: SystemTime) {
    for path in [&files.cert, &files.key] {
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(time).unwrap();
    }
}

/// Returns the time that tells one state of a file from another.
fn time_of(files: &Files) -> SystemTime {
    fs::metadata(&files.cert).unwrap().modified().unwrap()
}

/// The ways to put contents into a file.
const WAYS: [fn(&Files, &Leaf); 2] = [
    |files, leaf| {
        overwrite(&files.key, &leaf.key);
        overwrite(&files.cert, &leaf.cert);
    },
    |files, leaf| {
        replace(&files.key, &leaf.key);
        replace(&files.cert, &leaf.cert);
    },
];

/// Turns to files of the same length and time, written in both ways.
pub(super) fn same_length_and_time(ca: &Ca, rotation: &mut Rotation) {
    let mut last = ca.leaf(NAME);
    rotation.turn(&last, |daemon| daemon.files("default").put(&last));
    let time = time_of(&rotation.daemon.files("default"));
    for put in WAYS {
        let leaf = as_long_as(&last, ca);
        rotation.turn(&leaf, |daemon| {
            let files = daemon.files("default");
            put(&files, &leaf);
            stamp(&files, time);
        });
        assert_eq!(time_of(&rotation.daemon.files("default")), time);
        last = leaf;
    }
}

#[test]
fn the_same_length_and_time() {
    let (ca, mut rotation) = Rotation::begin();
    same_length_and_time(&ca, &mut rotation);
    rotation.end_in_peace();
}

#[test]
fn two_changes_within_a_second() {
    let (ca, mut rotation) = Rotation::begin();
    let time = SystemTime::now();
    let first = ca.leaf(NAME);
    let second = as_long_as(&first, &ca);
    rotation
        .known
        .extend([&first, &second].map(|leaf| leaf.sha256.clone()));
    let files = rotation.daemon.files("default");
    for leaf in [&first, &second] {
        overwrite(&files.key, &leaf.key);
        overwrite(&files.cert, &leaf.cert);
        stamp(&files, time);
    }
    rotation.guest.await_shown(&second.sha256);
    // Whether the first was served in between is a matter of luck.
    rotation.generation = rotation.daemon.status()["tls"]["generation"]
        .as_u64()
        .unwrap();
    assert!((2..=3).contains(&rotation.generation));
    rotation.stands();
    rotation.end_in_peace();
}
