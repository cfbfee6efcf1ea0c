//! Reasons not to start.

use std::{fs, os::unix::fs::DirBuilderExt as _, path::Path, process::ExitCode};

/// A reason not to start, as one or more lines for people.
pub(super) type Refusal = String;

/// Tells a reason on standard error; returns the exit status that goes with it.
#[expect(
    clippy::print_stderr,
    reason = "there is no log yet, or nobody looks at it"
)]
pub(super) fn refuse(reason: &str) -> ExitCode {
    eprintln!("proxyd: {}", reason.trim_end());
    ExitCode::FAILURE
}

/// Makes a folder and those above it, or says why that cannot be.
pub(super) fn make_folder(path: &Path, mode: u32) -> Result<(), Refusal> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|error| format!("cannot make the folder {}: {error}", path.display()))
}
