//! Checks whether the daemon's own files and folders let it start: state, log, pid file, socket.
//!
//! The checks make nothing, so that `--check-config`, `verify` and `restart_safe` can tell what a start
//! would meet.

use std::{fs, io, os::unix::fs::FileTypeExt as _, path::Path};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::{
    config::Config,
    sys::{
        files::{self, Output},
        folders,
    },
};

/// Returns what would keep a daemon from starting with `config`; `creates` says whether it creates a
/// certificate in its state directory.
pub(super) fn obstacles(config: &Config, creates: bool) -> Vec<String> {
    let state = &config.state_dir;
    let state_dir = if creates && !state.join("tls").exists() {
        folders::check_writable(state)
    } else {
        folders::check(state)
    };
    let state_dir = state_dir.map_err(|error| {
        format!(
            "state directory: cannot make the folder {}: {error}",
            state.display()
        )
    });
    let log = config.log.file.as_deref().map_or(Ok(()), |path| {
        check_log(path).map_err(|error| format!("log file {}: {error}", path.display()))
    });
    let pid_file = check_pid_file(&config.pid_file)
        .map_err(|error| format!("pid file {}: {error}", config.pid_file.display()));
    let socket = check_socket(&config.control_socket).map_err(|error| {
        format!(
            "control socket {}: {error}",
            config.control_socket.display()
        )
    });
    let all = [state_dir, log, pid_file, socket];
    all.into_iter().filter_map(Result::err).collect()
}

fn check_log(path: &Path) -> io::Result<()> {
    if Output::of(path)? != Output::File {
        return Ok(());
    }
    if path.exists() {
        return may_write(path);
    }
    match path.parent() {
        Some(folder) if !folder.is_dir() => Err(io::Error::other(format!(
            "there is no folder {}; make it",
            folder.display()
        ))),
        Some(folder) => folders::check_writable(folder),
        None => Ok(()),
    }
}

fn check_pid_file(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(about) => files::demand_file(&about).and_then(|()| may_write(path)),
        Err(_) => path.parent().map_or(Ok(()), folders::check_writable),
    }
}

fn check_socket(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(about) if about.file_type().is_socket() => Ok(()),
        Ok(_) => Err(io::Error::other(
            "it exists and is not a socket; remove it, or set another control_socket",
        )),
        Err(_) => path.parent().map_or(Ok(()), folders::check_writable),
    }
}

/// Fails if this process may not write to what is at `path`.
fn may_write(path: &Path) -> io::Result<()> {
    Ok(accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS)?)
}
