//! A folder of identities whose entries come, change and go.

use std::{fs, time::Duration};

use super::{Rotation, let_pass, watching};
use crate::support::{
    client,
    daemon::TestDaemon,
    pki::{Ca, Leaf, replace},
    scene::NAME,
    until,
};

/// Puts a certificate and its key into an entry of the folder that is there.
fn fill(daemon: &TestDaemon, leaf: &Leaf, name: &str) {
    let folder = daemon.path("live").join(name);
    replace(&folder.join("privkey.pem"), &leaf.key);
    replace(&folder.join("fullchain.pem"), &leaf.cert);
}

/// Starts a daemon with one identity in its folder.
fn begin() -> (Ca, Rotation) {
    let ca = Ca::new("authority");
    let leaf = ca.leaf(NAME);
    let mut daemon = watching(TestDaemon::builder())
        .identity_dir("live")
        .prepare();
    fs::create_dir(daemon.path("live").join(NAME)).unwrap();
    fill(&daemon, &leaf, NAME);
    daemon.start();
    let rotation = Rotation::of(daemon, &ca, &leaf);
    (ca, rotation)
}

#[test]
fn an_entry_turns_up_piece_by_piece_and_is_renewed_and_goes() {
    let (ca, mut rotation) = begin();
    let address = rotation.daemon.address();
    let is_shown = |leaf: &Leaf| {
        let shown = client::handshake(address, "new.test", &ca);
        shown.is_ok_and(|shown| shown.sha256 == leaf.sha256)
    };
    let folder = rotation.daemon.path("live").join("new.test");
    let (first, second) = (ca.leaf("new.test"), ca.leaf("new.test"));
    // Each piece is seen before the next one is there.
    fs::create_dir(&folder).unwrap();
    let_pass(Duration::from_secs(1));
    fs::write(folder.join("fullchain.pem"), &first.cert).unwrap();
    let_pass(Duration::from_secs(1));
    fs::write(folder.join("privkey.pem"), &first.key).unwrap();
    until("it is served", || is_shown(&first));
    fill(&rotation.daemon, &second, "new.test");
    until("it is renewed", || is_shown(&second));
    fs::remove_dir_all(&folder).unwrap();
    until("it is gone", || {
        client::handshake(address, "new.test", &ca).is_err()
    });
    rotation.generation = 4;
    rotation.stands();
    let leaf = ca.leaf(NAME);
    rotation.turn(&leaf, |daemon| fill(daemon, &leaf, NAME));
    rotation.end_in_peace();
}

#[test]
fn the_folder_itself_is_exchanged() {
    let (ca, mut rotation) = begin();
    for number in 0..2 {
        let leaf = ca.leaf(NAME);
        rotation.turn(&leaf, |daemon| {
            let live = daemon.path("live");
            fs::rename(&live, daemon.path(&format!("last-{number}"))).unwrap();
            fs::create_dir_all(live.join(NAME)).unwrap();
            fill(daemon, &leaf, NAME);
        });
    }
    rotation.end_in_peace();
}
