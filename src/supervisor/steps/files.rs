//! The daemon's own files: state directory, log, pid file, and the certificate that it creates.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::fs::Access;

use super::{Findings, Ground, Who, ground::Whose};
use crate::{
    config::Config,
    store::create::{self, Creation},
    supervisor::{
        pid_file::{already_running, number},
        preflight::creates_identity,
    },
    sys::{
        files::{self, Output},
        folders, listening, locks,
    },
};

pub(super) fn attempt_state_dir(ground: &Ground<'_>, findings: &mut Findings) {
    let path = &ground.config.state_dir;
    if let Err(error) = folders::check(path) {
        findings.obstacle(format!(
            "state directory: cannot make the folder {}: {error}",
            path.display()
        ));
    }
}

/// Returns the file that the log goes to; `None` is standard error.
pub(super) fn log_file(config: &Config, detached: bool) -> Option<PathBuf> {
    let instead = || detached.then(|| config.state_dir.join("proxyd.log"));
    config.log.file.clone().or_else(instead)
}

pub(super) fn attempt_log(ground: &Ground<'_>, findings: &mut Findings) {
    let Some(path) = log_file(ground.config, ground.origin.detached) else {
        return;
    };
    if let Err(error) = check_log(ground, &path) {
        findings.obstacle(format!("log file {}: {error}", path.display()));
    }
}

fn check_log(ground: &Ground<'_>, path: &Path) -> io::Result<()> {
    if Output::of(path)? != Output::File {
        return Ok(());
    }
    if path.exists() {
        return folders::may(path, Access::WRITE_OK);
    }
    match path.parent() {
        Some(folder) if !ground.has_state_folder(folder) => Err(io::Error::other(format!(
            "there is no folder {}; make it",
            folder.display()
        ))),
        // A link that leads nowhere is followed, and the file made where it leads.
        Some(_) if fs::symlink_metadata(path).is_ok() => check_target(path),
        Some(folder) => folders::check_writable(folder),
        None => Ok(()),
    }
}

/// Checks that a file can be made where the symbolic link at `path` leads.
fn check_target(path: &Path) -> io::Result<()> {
    let target = fs::read_link(path)?;
    let target = path.parent().unwrap_or(Path::new("/")).join(target);
    match target.parent() {
        Some(folder) if !folder.is_dir() => Err(io::Error::other(format!(
            "it is a symbolic link to {}, and there is no folder {}; make it",
            target.display(),
            folder.display()
        ))),
        Some(folder) => folders::check_writable(folder),
        None => Ok(()),
    }
}

pub(super) fn attempt_pid_file(ground: &Ground<'_>, findings: &mut Findings) {
    let path = &ground.config.pid_file;
    if let Err(error) = check_pid_file(path) {
        return findings.obstacle(format!("pid file {}: {error}", path.display()));
    }
    let written = number(path);
    let is_own = written.parse() == Ok(std::process::id());
    if is_own && ground.in_force().is_some() {
        return;
    }
    let shown = path.display();
    match locks::holder(path) {
        Ok(Some(holder)) => match whose(ground, holder) {
            Whose::Ours => findings.not_tried(format!(
                "pid file {shown}: the daemon that runs (pid {holder}) has locked it"
            )),
            Whose::Unknown => findings.not_tried(format!(
                "pid file {shown}: it is locked by a daemon (pid {holder}) of another user"
            )),
            Whose::Others | Whose::Systemd | Whose::Nobodys => {
                findings.obstacle(already_running(&written, path));
            }
        },
        Err(error) if path.exists() => findings.not_tried(format!(
            "pid file {shown}: whether another daemon has locked it, because /proc/locks cannot be \
             read: {error}"
        )),
        Ok(None) | Err(_) => {}
    }
}

/// Returns whether the process that has locked the pid file is, for `--check-config`, the daemon of this
/// configuration: by the control socket that it answers at.
fn whose(ground: &Ground<'_>, holder: u32) -> Whose {
    if !matches!(ground.who, Who::Check) {
        return Whose::Others;
    }
    let (Ok(own), Ok(control)) = (
        listening::sockets_of(Some(holder)),
        listening::at_path(&ground.config.control_socket),
    ) else {
        return Whose::Unknown;
    };
    if own.is_disjoint(&control) {
        Whose::Others
    } else {
        Whose::Ours
    }
}

fn check_pid_file(path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    match fs::symlink_metadata(path) {
        Ok(about) => {
            files::demand_file(&about)?;
            folders::may(path, Access::READ_OK | Access::WRITE_OK)?;
            // What is there makes room for the new number.
            if about.len() == 0 {
                folders::check_room(folder)?;
            }
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            folders::check_writable(folder)?;
            folders::check_room(folder)
        }
        Err(_) => folders::check_writable(folder),
    }
}

pub(super) fn attempt_created(ground: &Ground<'_>, findings: &mut Findings) {
    if !creates_identity(ground.config) {
        return;
    }
    let state = &ground.config.state_dir;
    match create::check(&state.join("tls")) {
        Err(error) => findings.obstacle(error.to_string()),
        Ok(Creation::Used) => {}
        Ok(Creation::Created) => {
            let made = folders::check_writable(state).and_then(|()| folders::check_room(state));
            if let Err(error) = made {
                findings.obstacle(format!(
                    "{}: the certificate cannot be created: {error}",
                    state.join("tls").display()
                ));
            }
        }
    }
}
