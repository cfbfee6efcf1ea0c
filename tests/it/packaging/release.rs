//! The files of a release, made of the tested programs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::Value;
use tempfile::TempDir;

use super::{DEADLINE, linked, links::follow_all};
use crate::support::{
    package::{packager, programs},
    program::{Outcome, clean_command, run},
};

/// Makes a release in a folder; `None` skips the test.
fn release(folder: &Path, programs: &Path) -> Option<Outcome> {
    let mut command = packager("release", &["dpkg-deb", "dpkg-shlibdeps", "strip"])?;
    command
        .arg("--programs")
        .arg(programs)
        .arg("--compression=none")
        .arg(folder);
    Some(run(command, DEADLINE))
}

/// Makes a release of the tested programs, which lose their symbols to be smaller; `None` skips the test.
fn released() -> Option<TempDir> {
    let [folder, stripped] = [(); 2].map(|()| TempDir::new().unwrap());
    for name in ["proxyd", "proxyctl"] {
        let mut strip = clean_command("strip");
        strip
            .arg("-o")
            .args([stripped.path().join(name), programs().join(name)]);
        run(strip, DEADLINE).answer();
    }
    release(folder.path(), stripped.path())?.answer();
    Some(folder)
}

/// Returns the contents of all files in a folder, by name.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

#[test]
fn a_release_of_the_same_programs_is_the_same_byte_for_byte() {
    let Some(folder) = released() else {
        return;
    };
    let first = contents(folder.path());
    let second = contents(released().unwrap().path());
    let names = |it: &BTreeMap<String, _>| it.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&first), names(&second));
    assert_eq!(first.len(), 4, "{:?}", names(&first));
    for (name, bytes) in &first {
        assert!(*bytes == second[name], "{name} differs");
    }
    let mut check = clean_command("sha256sum");
    check
        .current_dir(folder.path())
        .args(["--check", "--strict", "SHA256SUMS"]);
    assert_eq!(run(check, DEADLINE).answer().lines().count(), 3);
}

#[test]
fn a_release_lists_every_crate_that_is_linked_with_the_digest_of_its_archive() {
    let Some(folder) = released() else {
        return;
    };
    let files = contents(folder.path());
    let (_, list) = files
        .iter()
        .find(|(name, _)| name.ends_with(".cdx.json"))
        .unwrap();
    let list: Value = serde_json::from_slice(list).unwrap();
    let components = list["components"].as_array().unwrap();
    let word = |of: &Value, key: &str| of[key].as_str().unwrap().to_owned();
    let name = |it: &Value| format!("{}-{}", word(it, "name"), word(it, "version"));
    let told: BTreeSet<_> = components.iter().map(name).collect();
    let missing: Vec<_> = linked()
        .into_iter()
        .filter(|it| !told.contains(it))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");

    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
    let lock = fs::read_to_string(lock).unwrap();
    for component in components.iter().filter(|it| it["name"] != "rust-std") {
        let digest = word(&component["hashes"][0], "content");
        assert!(lock.contains(&digest), "{component:#}");
    }
    let listed = list["dependencies"].as_array().unwrap();
    assert_eq!(
        listed.len(),
        components.len(),
        "the daemon, without the library of Rust"
    );
}

#[test]
fn every_link_of_a_text_in_the_tarball_leads_to_a_file_of_it() {
    let Some(folder) = released() else {
        return;
    };
    let files = contents(folder.path());
    let is_archive = |name: &&String| Path::new(name).extension() == Some("tar".as_ref());
    let archive = files.keys().find(is_archive).unwrap();
    let mut unpack = clean_command("tar");
    unpack
        .current_dir(folder.path())
        .args(["--extract", "--file", archive]);
    run(unpack, DEADLINE).answer();
    let root = folder.path().join(archive.trim_end_matches(".tar"));
    follow_all(&[&root, &root.join("docs")]);
    for name in [
        "proxyd",
        "proxyctl",
        "COPYRIGHT",
        "LICENSE-MIT",
        "man/proxyd.8",
    ] {
        assert!(root.join(name).exists(), "{name}");
    }
}

#[test]
fn a_release_is_put_into_no_folder_that_holds_something() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("other"), "").unwrap();
    let Some(outcome) = release(folder.path(), programs()) else {
        return;
    };
    assert!(outcome.complaint().contains("is not empty"));
}
