//! The Debian package and its texts, as files.

mod apparmor;
mod links;
mod release;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;

use crate::support::{
    package::{build, is_installed, programs},
    program::{clean_command, run},
    skip,
};

/// How long a tool may take.
const DEADLINE: Duration = Duration::from_secs(120);

/// The package, and what is in it.
struct Unpacked {
    folder: TempDir,
    package: PathBuf,
}

impl Unpacked {
    /// Builds and unpacks it; `None` skips the test.
    fn new() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let package = build(folder.path(), programs(), "1")?;
        let mut unpack = clean_command("dpkg-deb");
        unpack
            .arg("--extract")
            .arg(&package)
            .arg(folder.path().join("root"));
        run(unpack, DEADLINE).answer();
        Some(Self { folder, package })
    }

    /// Returns where a file of the package is.
    fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join("root").join(inside)
    }
}

/// What lintian says of packages of tests alone, whose programs are not worth the time to compress them.
const ONLY_IN_TESTS: &str =
    "uses-no-compression-for-control-tarball,uses-no-compression-for-data-tarball";

#[test]
fn lintian_warns_of_nothing_in_the_package() {
    let folder = TempDir::new().unwrap();
    if !is_installed("lintian") {
        return skip("there is no lintian: run tests/run as root");
    }
    let Some(package) = build(folder.path(), programs(), "1") else {
        return;
    };
    let mut lintian = clean_command("lintian");
    lintian
        .args(["--fail-on=error,warning", "--suppress-tags", ONLY_IN_TESTS])
        .arg(package)
        .env("TMPDIR", folder.path());
    assert_eq!(run(lintian, DEADLINE).answer(), "");
}

#[test]
fn every_override_of_lintian_has_its_reason() {
    let overrides =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/debian/lintian-overrides");
    let overrides = fs::read_to_string(overrides).unwrap();
    let mut before = "";
    for line in overrides.lines() {
        let has_reason = line.starts_with('#') || before.starts_with('#');
        assert!(has_reason, "{line}");
        before = line;
    }
}

#[test]
fn the_package_is_the_same_whenever_it_is_built() {
    let Some(first) = Unpacked::new() else {
        return;
    };
    let second = Unpacked::new().unwrap();
    let [first, second] = [&first, &second].map(|it| fs::read(&it.package).unwrap());
    assert!(first == second, "two packages of the same programs differ");
}

#[test]
fn the_package_tells_the_licence_of_every_crate_that_is_linked() {
    let Some(unpacked) = Unpacked::new() else {
        return;
    };
    let told = fs::read_to_string(unpacked.path("usr/share/doc/proxyd/copyright")).unwrap();
    for crate_name in linked() {
        let files = format!(" {crate_name}/*\n");
        assert!(told.contains(&files), "{crate_name}");
    }
    for text in ["License: Expat\n", "License: Apache-2.0\n"] {
        assert!(told.contains(text), "{text}");
    }
}

/// Returns the crates, each with its version, whose sources the programs name: a test build's tell which source each
/// of their functions is from.
fn linked() -> BTreeSet<String> {
    let mut search = clean_command("grep");
    search
        .args(["--text", "--only-matching", "--no-filename"])
        .args(["--regexp", "registry/src/[^/]*/[A-Za-z0-9_+.-]*/"])
        .args(["proxyd", "proxyctl"].map(|name| programs().join(name)));
    let said = run(search, DEADLINE).answer();
    let crates: BTreeSet<_> = said
        .lines()
        .filter_map(|line| line.split('/').nth(3))
        .map(str::to_owned)
        .collect();
    assert!(crates.len() > 100, "{crates:?}");
    crates
}
