//! Reasons not to start.

use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::{
    sys::{files::Standard, folders},
    telemetry::log,
};

/// How long writing the reason to standard error may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// A reason not to start, as one or more lines for people.
pub(super) type Refusal = String;

/// Writes a reason to standard error; returns the exit status that goes with it.
pub fn refuse(reason: &str) -> ExitCode {
    let mut reason = format!("proxyd: {}", reason.trim_end());
    if log::leads_to_journal(Standard::Error) {
        reason = format!("<3>{}", reason.replace('\n', "\n<3>"));
    }
    let (done, written) = mpsc::channel();
    // A pipe that is full and not read must not keep the process from ending.
    let started = thread::Builder::new().spawn(move || {
        // If standard error fails, there is no other place for the reason.
        let _ = writeln!(io::stderr(), "{reason}");
        let _ = done.send(());
    });
    if started.is_ok() {
        let _ = written.recv_timeout(PATIENCE);
    }
    ExitCode::FAILURE
}

/// Makes a folder with `mode`, and those above it with 0755; returns the reason if that fails.
pub(super) fn make_folder(path: &Path, mode: u32) -> Result<(), Refusal> {
    folders::make(path, mode)
        .map_err(|error| format!("cannot make the folder {}: {error}", path.display()))
}
