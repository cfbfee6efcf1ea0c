//! A newer package, and an archive from which apt upgrades to it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;

use crate::support::{
    machine::Machine,
    package::{build, programs},
    program::{Outcome, clean_command, run},
};

/// A configuration file of the package that is different in the newer one.
pub(super) const CHANGED: &str = "/etc/logrotate.d/proxyd";

/// How long apt and tools of packages may take.
const DEADLINE: Duration = Duration::from_secs(180);

/// Offers a newer package to a machine's apt, with a daemon of another version where `tests/run` built one; `None` skips
/// the test.
pub(super) fn offer(machine: &Machine) -> Option<()> {
    let folder = TempDir::new().unwrap();
    let own = programs();
    let daemon =
        env::var_os("PROXYD_NEXT_BINARY").map_or_else(|| own.join("proxyd"), PathBuf::from);
    fs::copy(daemon, folder.path().join("proxyd")).unwrap();
    fs::copy(own.join("proxyctl"), folder.path().join("proxyctl")).unwrap();
    let package = build(folder.path(), folder.path(), "2")?;

    let archive = machine.shared().join("archive");
    fs::create_dir(&archive).unwrap();
    let target = archive.join(package.file_name().unwrap());
    change(&package, &target, folder.path());
    let mut scan = clean_command("dpkg-scanpackages");
    scan.current_dir(&archive).arg(".");
    let list = run(scan, DEADLINE).answer();
    fs::write(archive.join("Packages"), list + "\n").unwrap();
    let source = "deb [trusted=yes] file:/mnt/archive ./\n";
    fs::write(archive.join("sources.list"), source).unwrap();
    Some(())
}

/// Packs a package again, after the configuration file in it has been changed.
fn change(package: &Path, target: &Path, folder: &Path) {
    let root = folder.join("root");
    let mut unpack = clean_command("dpkg-deb");
    unpack.arg("--raw-extract").args([package, &root]);
    run(unpack, DEADLINE).answer();
    let file = root.join(CHANGED.trim_start_matches('/'));
    let text = fs::read_to_string(&file).unwrap();
    fs::write(file, text + "# A newer line.\n").unwrap();
    let mut pack = clean_command("dpkg-deb");
    pack.args(["--root-owner-group", "-Znone", "--build"])
        .args([&root, target]);
    run(pack, DEADLINE).answer();
}

/// Has apt upgrade all packages; returns what it says.
pub(super) fn upgrade_all(machine: &Machine) -> String {
    apt(machine, &["update"]).answer();
    // What dpkg does without it when nobody is there to be asked is to fail.
    let kept = "--option=Dpkg::Options::=--force-confold";
    apt(machine, &["upgrade", "--yes", kept]).answer()
}

/// Runs apt with the archive as its only source.
fn apt(machine: &Machine, words: &[&str]) -> Outcome {
    let program = [
        "env",
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "--option=Dir::Etc::SourceList=/mnt/archive/sources.list",
        "--option=Dir::Etc::SourceParts=/dev/null",
        // Its own user cannot look into the folder.
        "--option=APT::Sandbox::User=root",
    ];
    run(machine.command(&[&program[..], words].concat()), DEADLINE)
}
