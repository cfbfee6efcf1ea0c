//! Unix sockets: those of listeners, and the control socket.

use std::{fs, io, os::unix::fs::FileTypeExt as _, path::Path};

use rustix::fs::Access;

use super::{Findings, Ground, Who, accounts, ground::Whose};
use crate::{
    control::{cookie, cookie_file, server::BindError},
    sys::{files, folders, listening, privileges},
};

/// Why an address is not tried at which systemd listens.
pub(super) const SYSTEMD_LISTENS: &str = "systemd listens there; it passes its socket to the daemon if it starts the daemon for that socket unit";

/// Tries the socket of a listener; returns why it was not tried, if it was not.
pub(super) fn attempt_listener(ground: &Ground<'_>, path: &Path) -> io::Result<Option<String>> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    match fs::metadata(folder) {
        Ok(_) => folders::may(folder, Access::WRITE_OK | Access::EXEC_OK)?,
        Err(_) if ground.has_folder(folder) => {}
        Err(error) => return Err(error),
    }
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
        Ok(about) if !about.file_type().is_socket() => {
            let kind = files::unfit(about.file_type()).unwrap_or("file");
            return Err(io::Error::other(format!(
                "a {kind} that is not a socket has that name; remove it, or choose another path"
            )));
        }
        Ok(_) => {}
    }
    match (living(ground, path), ground.who) {
        (Whose::Nobodys | Whose::Ours, _) => Ok(None),
        (Whose::Systemd, Who::Check) => Ok(Some(SYSTEMD_LISTENS.to_owned())),
        (Whose::Systemd | Whose::Others, _) => Err(io::ErrorKind::AddrInUse.into()),
        (Whose::Unknown, _) => Ok(Some(unknown(ground))),
    }
}

pub(super) fn attempt_control(ground: &Ground<'_>, findings: &mut Findings) {
    let path = &ground.config.control_socket;
    match check_control(ground, path) {
        Ok(None) => {}
        Ok(Some(why)) => {
            findings.not_tried(format!("control socket {}: {why}", path.display()));
        }
        Err(error) => findings.obstacle(format!("control socket: {error}")),
    }
    let group = accounts::control_group(ground.config);
    if let Ok(Some(group)) = group
        && !privileges::may_give_to(group)
    {
        findings.obstacle(format!(
            "control socket: {} cannot be given to control_group \"{}\": proxyd's user is no member of \
             that group; make it one, or start proxyd as root",
            path.display(),
            ground.config.control_group.as_deref().unwrap_or_default()
        ));
    }
}

/// Tries to make the socket and its cookie.
fn check_control(ground: &Ground<'_>, path: &Path) -> Result<Option<String>, BindError> {
    let why = check_socket(ground, path)?;
    let cookie = cookie::path(path);
    cookie_file::check_place(path)?;
    // A cookie that is there makes room for the new one.
    if !cookie.exists() {
        let folder = path.parent().unwrap_or(Path::new("/"));
        folders::check_room(folder).map_err(|source| BindError::NoCookie {
            path: cookie,
            source,
        })?;
    }
    Ok(why)
}

fn check_socket(ground: &Ground<'_>, path: &Path) -> Result<Option<String>, BindError> {
    let failed = |step| {
        move |source| BindError::Step {
            step,
            path: path.to_owned(),
            source,
        }
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    folders::check_writable(folder).map_err(failed("bind the control socket"))?;
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("look at")(error)),
        Ok(about) if !about.file_type().is_socket() => {
            return Err(BindError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match living(ground, path) {
        Whose::Nobodys | Whose::Ours => Ok(None),
        Whose::Systemd | Whose::Others => Err(BindError::InUse(path.to_owned())),
        Whose::Unknown => Ok(Some(unknown(ground))),
    }
}

/// Returns whose socket the file at `path` leads to; where the kernel's list cannot be read, a start finds
/// out by connecting.
///
/// The list has all sockets that share the network, by the names that they were bound to. In a container
/// on the network of its host the same name is another file, whose socket does not prevent this start.
fn living(ground: &Ground<'_>, path: &Path) -> Whose {
    let sockets = match (listening::at_path(path), ground.who) {
        (Ok(sockets), _) => sockets,
        (Err(_), Who::Start) => return Whose::Nobodys,
        (Err(_), Who::Check | Who::Daemon(_)) => return Whose::Unknown,
    };
    match (ground.whose(&sockets), ground.who) {
        (Whose::Others | Whose::Systemd, _) if ground.owns_any(&sockets) => Whose::Ours,
        // The daemon that runs connects to no process each time that a client asks for its status.
        (Whose::Others, Who::Start | Who::Check) if !listening::answers(path) => Whose::Nobodys,
        (whose, _) => whose,
    }
}

fn unknown(ground: &Ground<'_>) -> String {
    let whom = match ground.who {
        Who::Daemon(_) => "this daemon",
        Who::Start | Who::Check => "the daemon that runs",
    };
    format!("the kernel does not say whether it is {whom} that listens there")
}
