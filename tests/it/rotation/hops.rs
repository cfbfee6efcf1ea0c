//! Files behind symbolic links and in folders that are exchanged.

use std::{fs, os::unix::fs::symlink, path::Path};

use super::{Rotation, watching};
use crate::support::{
    pki::{Ca, Files, Leaf},
    scene::{NAME, Scene},
};

/// Times that links are swapped: a watch that is lost with the first swap, or the second, shows.
const SWAPS: usize = 5;

/// Makes a link lead elsewhere in one step.
fn swap(link: &Path, target: &Path) {
    let temporary = link.with_extension("swap");
    symlink(target, &temporary).unwrap();
    fs::rename(&temporary, link).unwrap();
}

/// Starts a daemon of two workers that watches, once `arrange` has put the files of an identity
/// where links can lead to them.
fn behind_links(arrange: impl FnOnce(&Path, &Files, &Leaf)) -> (Ca, Rotation) {
    let mut scene = Scene::prepare(watching);
    let files = scene.daemon.files("default");
    fs::remove_file(&files.cert).unwrap();
    fs::remove_file(&files.key).unwrap();
    arrange(scene.daemon.folder(), &files, &scene.old);
    scene.daemon.start();
    let rotation = Rotation::of(scene.daemon, &scene.ca, &scene.old);
    (scene.ca, rotation)
}

/// Makes a folder with a certificate and its key in it.
fn version(folder: impl AsRef<Path>, leaf: &Leaf) -> Files {
    fs::create_dir_all(folder.as_ref()).unwrap();
    let files = Files::of(folder.as_ref(), "default");
    files.put(leaf);
    files
}

#[test]
fn links_to_files_that_are_swapped() {
    let (ca, mut rotation) = behind_links(|folder, files, leaf| {
        let real = version(folder.join("version-0"), leaf);
        symlink(real.cert, &files.cert).unwrap();
        symlink(real.key, &files.key).unwrap();
    });
    for number in 1..=SWAPS {
        let leaf = ca.leaf(NAME);
        rotation.turn(&leaf, |daemon| {
            let real = version(daemon.path(&format!("version-{number}")), &leaf);
            let files = daemon.files("default");
            swap(&files.key, &real.key);
            swap(&files.cert, &real.cert);
        });
    }
    rotation.end_in_peace();
}

#[test]
fn a_link_to_a_folder_that_is_swapped() {
    let (ca, mut rotation) = behind_links(|folder, files, leaf| {
        version(folder.join("version-0"), leaf);
        symlink("version-0", folder.join("current")).unwrap();
        // The way leads over a link of a link, both relative.
        symlink("current/default.pem", &files.cert).unwrap();
        symlink("./current/../current/default.key", &files.key).unwrap();
    });
    for number in 1..=SWAPS {
        let leaf = ca.leaf(NAME);
        rotation.turn(&leaf, |daemon| {
            let folder = format!("version-{number}");
            version(daemon.path(&folder), &leaf);
            swap(&daemon.path("current"), Path::new(&folder));
            fs::remove_dir_all(daemon.path(&format!("version-{}", number - 1))).unwrap();
        });
    }
    rotation.end_in_peace();
}

#[test]
fn folders_that_are_exchanged() {
    let (ca, mut rotation) = behind_links(|folder, files, leaf| {
        let real = version(folder.join("etc/tls/db"), leaf);
        symlink(real.cert, &files.cert).unwrap();
        symlink(real.key, &files.key).unwrap();
    });
    // The folder of the files, then the one above it, which nobody would watch for its entries.
    for (number, folder) in [
        (1, "etc/tls/db"),
        (2, "etc/tls"),
        (3, "etc/tls"),
        (4, "etc"),
    ] {
        let leaf = ca.leaf(NAME);
        rotation.turn(&leaf, |daemon| {
            let next = daemon.path(&format!("next-{number}"));
            let below = Path::new("etc/tls/db").strip_prefix(folder).unwrap();
            version(next.join(below), &leaf);
            fs::rename(daemon.path(folder), daemon.path(&format!("last-{number}"))).unwrap();
            fs::rename(next, daemon.path(folder)).unwrap();
        });
    }
    rotation.end_in_peace();
}

#[test]
fn folders_that_go_and_appear_again() {
    let (ca, mut rotation) = behind_links(|folder, files, leaf| {
        let real = version(folder.join("etc/tls/db"), leaf);
        symlink(real.cert, &files.cert).unwrap();
        symlink(real.key, &files.key).unwrap();
    });
    for _ in 0..2 {
        let leaf = ca.leaf(NAME);
        rotation.turn(&leaf, |daemon| {
            fs::remove_dir_all(daemon.path("etc")).unwrap();
            version(daemon.path("etc/tls/db"), &leaf);
        });
    }
    rotation.end_in_peace();
}
