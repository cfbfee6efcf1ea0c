//! `set-on-exit-failure`.

use std::{
    env,
    fmt::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::{
    CtlError, Output, ask,
    render::{clean, command, moment, seconds},
};
use crate::{
    cli::{
        exit,
        proxyctl::{Proxyctl, SetOnExitFailure},
    },
    control::{
        ExitHookRun, ExitHookSource, ExitHookStatus, Request, Response, client::ClientError,
    },
};

/// Why a program cannot be the exit-failure command.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProgramError {
    #[error("there is no program {0} in the folders of PATH; give its absolute path")]
    NotInPath(String),
    #[error("{} cannot be run: {reason}", path.display())]
    Unusable { path: PathBuf, reason: String },
    #[error("the path of the program is not UTF-8: {}", .0.display())]
    NotUtf8(PathBuf),
}

/// Sets, clears or shows the exit-failure command.
pub(super) fn run(
    arguments: &Proxyctl,
    hook: &SetOnExitFailure,
    output: &mut Output,
) -> Result<u8, CtlError> {
    let Response::OnExitFailure(status) = ask(arguments, &request(hook)?)? else {
        return Err(ClientError::Unexpected.into());
    };
    output.answer(&status, |_| text(&status))?;
    Ok(exit::DONE)
}

fn request(hook: &SetOnExitFailure) -> Result<Request, ProgramError> {
    if hook.show {
        return Ok(Request::ShowOnExitFailure);
    }
    let Some((program, rest)) = hook.command.split_first() else {
        return Ok(Request::ClearOnExitFailure);
    };
    let program = resolve(program, &env::var_os("PATH").unwrap_or_default())?;
    let mut command = vec![program];
    command.extend_from_slice(rest);
    Ok(Request::SetOnExitFailure {
        command,
        timeout: hook.timeout(),
    })
}

/// Returns the absolute path of a program as a shell here would find it.
///
/// Done on this side because the daemon has another folder and another PATH.
fn resolve(program: &str, path: &std::ffi::OsStr) -> Result<String, ProgramError> {
    let found = if program.contains('/') {
        let path = std::path::absolute(program).map_err(|error| unusable(program, &error))?;
        // One that is not there may come yet; the daemon tells of each run that fails.
        if path.symlink_metadata().is_ok() {
            usable(&path)?;
        }
        path
    } else {
        env::split_paths(path)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(program))
            .find(|path| !program.is_empty() && usable(path).is_ok())
            .ok_or_else(|| ProgramError::NotInPath(program.to_owned()))?
    };
    let text = found.into_os_string().into_string();
    text.map_err(|path| ProgramError::NotUtf8(path.into()))
}

fn usable(path: &Path) -> Result<(), ProgramError> {
    let metadata = path.metadata().map_err(|error| unusable(path, &error))?;
    if !metadata.is_file() {
        return Err(unusable(path, &"it is not a file"));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(unusable(path, &"it is not executable; see chmod(1)"));
    }
    Ok(())
}

fn unusable(path: impl AsRef<Path>, reason: &dyn std::fmt::Display) -> ProgramError {
    ProgramError::Unusable {
        path: path.as_ref().to_owned(),
        reason: reason.to_string(),
    }
}

/// Returns the command, its limits and its last run, as `status` shows them too.
pub(super) fn text(status: &ExitHookStatus) -> String {
    let mut text = match &status.command {
        Some(words) => clean(&command(words)),
        None => "No command is set".to_owned(),
    };
    let timeout = status.timeout_s.map(seconds).unwrap_or_default();
    let _ = match status.source {
        ExitHookSource::Config => write!(text, " (from the configuration, timeout {timeout})"),
        ExitHookSource::Runtime => write!(text, " (set at run time, timeout {timeout})"),
        ExitHookSource::Unset => Ok(()),
    };
    if let Some(run) = &status.last_run {
        let _ = write!(text, "; last run {} {}", moment(run.at), outcome(run));
    }
    text.push('\n');
    text
}

fn outcome(run: &ExitHookRun) -> String {
    match (&run.error, run.exit_code) {
        (Some(error), _) => format!("could not be started: {}", clean(error)),
        _ if run.timed_out => "was killed because it ran for too long".to_owned(),
        (None, Some(code)) => format!("exited with {code}"),
        (None, None) => "was ended by a signal".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, fs};

    use super::*;

    fn program(dir: &Path, name: &str, mode: u32) -> PathBuf {
        let path = dir.join(name);
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_bare_name_is_found_by_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = program(dir.path(), "page", 0o755);
        let search = OsStr::new("/nonexistent:relative:").to_owned();
        let search = [search.to_str().unwrap(), dir.path().to_str().unwrap()].concat();
        assert_eq!(
            resolve("page", OsStr::new(&search)).unwrap(),
            path.to_str().unwrap()
        );
    }

    #[test]
    fn what_cannot_run_is_refused_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let plain = program(dir.path(), "plain", 0o644);
        let reason = |program: &str| {
            resolve(program, dir.path().as_os_str())
                .unwrap_err()
                .to_string()
        };
        assert!(reason(plain.to_str().unwrap()).contains("not executable"));
        assert!(reason("plain").contains("no program plain in the folders of PATH"));
        assert!(reason(dir.path().to_str().unwrap()).contains("not a file"));
        assert!(reason("").contains("no program"));
    }

    #[test]
    fn a_relative_path_becomes_absolute() {
        let program = resolve("./not-there-yet", OsStr::new("")).unwrap();
        assert!(program.starts_with('/'), "{program}");
    }

    #[test]
    fn the_last_run_is_told() {
        let status = ExitHookStatus {
            command: Some(vec!["/x".into(), "a b".into()]),
            timeout_s: Some(10.0),
            source: ExitHookSource::Runtime,
            last_run: Some(ExitHookRun {
                at: "2026-01-01T10:00:00Z".parse().unwrap(),
                exit_code: Some(3),
                timed_out: false,
                error: None,
            }),
        };
        let expected = "/x 'a b' (set at run time, timeout 10s); \
                        last run 2026-01-01T10:00:00Z exited with 3\n";
        assert_eq!(text(&status), expected);
    }
}
