//! The Debian package, built out of the tested programs.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{program::run, skip};

/// Where the tested programs are.
pub(crate) fn programs() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_proxyd")).parent().unwrap()
}

/// Returns a program of the repository's folder `packaging`; `None` skips the test, because one of these programs that it
/// needs is not installed.
pub(crate) fn packager(name: &str, needed: &[&str]) -> Option<Command> {
    let is_missing = |it: &&&str| !is_installed(it);
    if let Some(missing) = needed.iter().find(is_missing) {
        skip(&format!("there is no {missing}: run tests/run as root"));
        return None;
    }
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    Some(Command::new(repository.join("packaging").join(name)))
}

/// Builds the package of this revision into a folder, out of the programs in another, and returns its path; `None` skips
/// the test.
pub(crate) fn build(folder: &Path, programs: &Path, revision: &str) -> Option<PathBuf> {
    let mut builder = packager("build-deb", &["dpkg-deb", "dpkg-shlibdeps", "strip"])?;
    builder
        .arg("--programs")
        .arg(programs)
        .args(["--compression=none", "--revision", revision])
        .arg(folder);
    let path = run(builder, Duration::from_secs(120)).answer();
    Some(PathBuf::from(path))
}

/// Whether there is a program of this name.
pub(crate) fn is_installed(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| fs::metadata(folder.join(name)).is_ok())
}
