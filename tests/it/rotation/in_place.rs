//! Files that are written over, exchanged and put back.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    time::{Duration, SystemTime},
};

use super::{Rotation, let_pass};
use crate::support::{pki::overwrite, scene::NAME};

/// Writes over a file, in pieces that come one after the other.
fn overwrite_slowly(path: &Path, pieces: &[&str]) {
    let mut file = File::create(path).unwrap();
    for piece in pieces {
        let_pass(Duration::from_millis(400));
        file.write_all(piece.as_bytes()).unwrap();
        file.flush().unwrap();
    }
}

#[test]
fn by_rename() {
    let (ca, mut rotation) = Rotation::begin();
    for _ in 0..3 {
        let leaf = ca.leaf(NAME);
        rotation.turn(&leaf, |daemon| daemon.files("default").put(&leaf));
    }
    rotation.end_in_peace();
}

#[test]
fn in_place_and_at_once() {
    let (ca, mut rotation) = Rotation::begin();
    for _ in 0..3 {
        let leaf = ca.leaf(NAME);
        rotation.turn(&leaf, |daemon| {
            let files = daemon.files("default");
            overwrite(&files.key, &leaf.key);
            overwrite(&files.cert, &leaf.cert);
        });
    }
    rotation.end_in_peace();
}

#[test]
fn in_place_and_slowly() {
    let (ca, mut rotation) = Rotation::begin();
    let issuer = ca.intermediate("intermediate");
    let leaf = issuer.leaf(NAME);
    rotation.turn(&leaf, |daemon| {
        let files = daemon.files("default");
        let (one, two) = leaf.key.split_at(leaf.key.len() / 2);
        overwrite_slowly(&files.key, &[one, two]);
        // A piece ends where the certificate does: that much would load, and nobody would trust it.
        let (one, two) = leaf.cert.split_at(leaf.cert.len() / 2);
        overwrite_slowly(&files.cert, &[one, two, issuer.pem()]);
    });
    rotation.end_in_peace();
}

#[test]
fn an_older_certificate_that_is_restored() {
    let (ca, mut rotation) = Rotation::begin();
    let daemon = &rotation.daemon;
    let files = daemon.files("default");
    let (cert, key) = (daemon.path("cert.bak"), daemon.path("key.bak"));
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    // As `cp -p` does: the times are those of the original.
    for (from, to) in [(&files.cert, &cert), (&files.key, &key)] {
        fs::copy(from, to).unwrap();
        let copy = File::options().write(true).open(to).unwrap();
        copy.set_modified(hour_ago).unwrap();
    }
    let leaf = ca.leaf(NAME);
    let first = rotation.known.first().unwrap().clone();
    rotation.turn(&leaf, |daemon| daemon.files("default").put(&leaf));
    rotation.turn_to(|_| {
        fs::rename(&key, &files.key).unwrap();
        fs::rename(&cert, &files.cert).unwrap();
        first
    });
    let restored = fs::metadata(&files.cert).unwrap().modified().unwrap();
    assert_eq!(restored, hour_ago);
    rotation.end_in_peace();
}

#[test]
fn files_that_go_and_come_back_renewed() {
    let (ca, mut rotation) = Rotation::begin();
    let leaf = ca.leaf(NAME);
    rotation.turn(&leaf, |daemon| {
        let files = daemon.files("default");
        fs::remove_file(&files.cert).unwrap();
        fs::remove_file(&files.key).unwrap();
        let_pass(Duration::from_secs(1));
        files.put(&leaf);
    });
    rotation.end_in_peace();
}
