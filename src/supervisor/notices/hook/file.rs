//! The file that keeps the exit-failure command set at run time across restarts of the daemon.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::{config::ExitHook, sys::files};

/// The most bytes of the file that keeps the command; requests that set one are shorter.
const MAX_KEPT: u64 = 1024 * 1024;

/// The file in the state directory. All its methods block, on a disk that may not answer.
#[derive(Debug, Clone)]
pub(super) struct HookFile(PathBuf);

/// The contents of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    command: Vec<String>,
    timeout_ms: u64,
}

impl HookFile {
    pub(super) fn new(state_dir: &Path) -> Self {
        Self(state_dir.join("on-exit-failure.json"))
    }

    /// Returns the command in the file; logs a warning and returns `None` if the file cannot be used.
    pub(super) fn load(&self) -> Option<ExitHook> {
        self.read().unwrap_or_else(|error| {
            warn!("{}", self.unusable(&error));
            None
        })
    }

    /// Returns why the file cannot be used, if there is one.
    pub(super) fn doubt(&self) -> Option<String> {
        Some(self.unusable(&self.read().err()?))
    }

    fn unusable(&self, error: &io::Error) -> String {
        format!(
            "{}: {error}; a start goes on without the exit-failure command that was set at run time",
            self.0.display()
        )
    }

    fn read(&self) -> io::Result<Option<ExitHook>> {
        let text = match files::read(&self.0, MAX_KEPT) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let kept: Kept = serde_json::from_slice(&text)?;
        if kept.command.is_empty() {
            return Err(io::Error::other("the command is empty"));
        }
        Ok(Some(ExitHook {
            command: kept.command,
            timeout: Duration::from_millis(kept.timeout_ms),
        }))
    }

    /// Keeps a command, or removes the file if there is none; returns the reason if that fails.
    pub(super) fn keep(&self, hook: Option<&ExitHook>) -> Result<(), String> {
        match hook {
            Some(hook) => {
                check(hook)?;
                self.write(hook).map_err(|error| {
                    format!("the command could not be kept in the state directory: {error}")
                })
            }
            None => self.remove().map_err(|error| {
                format!("the command could not be removed from the state directory: {error}")
            }),
        }
    }

    /// Writes the file as a whole or not at all.
    fn write(&self, hook: &ExitHook) -> io::Result<()> {
        let kept = Kept {
            command: hook.command.clone(),
            timeout_ms: u64::try_from(hook.timeout.as_millis()).unwrap_or(u64::MAX),
        };
        let bytes = serde_json::to_vec_pretty(&kept)?;
        let temporary = self.0.with_extension("json.new");
        // A file left at this path may be of any kind, and opening a FIFO would wait.
        let _ = fs::remove_file(&temporary);
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let written = options.open(&temporary).and_then(|mut out| {
            out.write_all(&bytes)?;
            out.sync_all()
        });
        if let Err(error) = written.and_then(|()| fs::rename(&temporary, &self.0)) {
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        Ok(())
    }

    fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn check(hook: &ExitHook) -> Result<(), String> {
    let Some(program) = hook.command.first() else {
        return Err("the command is empty".to_owned());
    };
    if !program.starts_with('/') {
        return Err(format!("`{program}` is not an absolute path"));
    }
    if hook.timeout.is_zero() {
        return Err("a timeout of 0 s leaves the command no time to run".to_owned());
    }
    match fs::metadata(program) {
        Ok(metadata) if !metadata.is_file() => Err(format!("{program} is not a file")),
        Ok(_) => Ok(()),
        Err(error) => {
            warn!("the exit-failure command cannot be run as things are: {program}: {error}");
            Ok(())
        }
    }
}
