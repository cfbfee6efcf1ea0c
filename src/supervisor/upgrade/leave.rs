//! The way into another program: what is left for it in the process, and its execution.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::File,
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use super::Upgrades;
use crate::{
    control::cookie::Cookie,
    facts::{PROGRAM_VERSION, SessionId},
    link::ListenerKey,
    supervisor::{
        activation::PassedSockets,
        predecessor::{AtPath, Kept, Left, MANIFEST_VERSION, Manifest, PassedOn, Secret, Socket},
    },
    sys::{
        succession::{self, Carried, Held},
        upgrade_points,
    },
};

/// How long the program may take until everything is as it should be; then the process ends, its workers serve on, and
/// the next start finds them.
pub(in crate::supervisor) const PATIENCE: Duration = upgrade_points::patience(60, 24);

/// What stays the same as long as a program runs.
#[derive(Debug)]
pub(in crate::supervisor) struct Fixtures {
    /// The path of the program that the daemon was started by; `None` if it cannot be told.
    pub(in crate::supervisor) program: Option<PathBuf>,
    /// The arguments of this process, its name first.
    pub(in crate::supervisor) arguments: Vec<OsString>,
    /// The folder in which the daemon was started.
    pub(in crate::supervisor) directory: Option<PathBuf>,
    /// Whether the daemon is in the background.
    pub(in crate::supervisor) detached: bool,
    /// The pid file, which is locked, and its path.
    pub(in crate::supervisor) pid_file: (Arc<OwnedFd>, PathBuf),
}

/// What the owners leave for the program.
#[derive(Debug)]
pub(in crate::supervisor) struct Leaving {
    /// The control socket and its path, and what clients have to show.
    pub(in crate::supervisor) control: (Arc<OwnedFd>, PathBuf),
    pub(in crate::supervisor) cookie: Cookie,
    /// The socket of the metrics page.
    pub(in crate::supervisor) page: Option<Arc<OwnedFd>>,
    /// The listening sockets.
    pub(in crate::supervisor) sockets: Vec<(ListenerKey, usize, Arc<OwnedFd>)>,
    /// The listening sockets that systemd has passed.
    pub(in crate::supervisor) passed: PassedSockets,
    /// The book, the memory of the generation, and its packs.
    pub(in crate::supervisor) state: Vec<Arc<OwnedFd>>,
    /// What is kept of workers, by their process ids.
    pub(in crate::supervisor) kept: Vec<Keep>,
    /// The names of the descriptors that the service manager keeps.
    pub(in crate::supervisor) stored: BTreeSet<String>,
}

/// What is kept of a worker's sessions.
#[derive(Debug)]
pub(in crate::supervisor) struct Keep {
    pub(in crate::supervisor) pid: u32,
    pub(in crate::supervisor) slot: usize,
    pub(in crate::supervisor) origin: u64,
    /// The number of the table in which they are, and that table.
    pub(in crate::supervisor) table: (u64, Arc<OwnedFd>),
    pub(in crate::supervisor) sessions: Vec<(SessionId, [Arc<OwnedFd>; 2])>,
}

impl Upgrades {
    /// Goes on as the program that was chosen. Returns only if that fails: [`io::ErrorKind::WouldBlock`] if it is to be
    /// tried again soon.
    pub(in crate::supervisor) fn leave(&self, leaving: &Leaving, held: Held) -> io::Error {
        match self.try_to_leave(leaving, held) {
            Ok(error) | Err(error) => error,
        }
    }

    fn try_to_leave(&self, leaving: &Leaving, held: Held) -> io::Result<io::Error> {
        let Some(chosen) = &self.chosen else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let own = OwnedFd::from(File::open("/proc/self/exe")?);
        let mut left = Left::default();
        let manifest = Manifest {
            version: MANIFEST_VERSION,
            pid: std::process::id(),
            from: PROGRAM_VERSION.to_owned(),
            path: chosen.path.clone(),
            before: self.fixtures.program.clone().unwrap_or_default(),
            program: Some(left.add(own.as_fd())),
            went_back: None,
            directory: self.fixtures.directory.clone(),
            detached: self.fixtures.detached,
            asker: self.asker.as_ref().map(|it| left.add(it.connection())),
            pid_file: Some(at_path(&mut left, &self.fixtures.pid_file)),
            control: Some(at_path(&mut left, &leaving.control)),
            cookie: Secret::of(&leaving.cookie),
            page: leaving.page.as_ref().map(|it| left.add(it.as_fd())),
            sockets: sockets(&mut left, &leaving.sockets),
            passed: passed(&mut left, &leaving.passed),
            state: leaving
                .state
                .iter()
                .map(|it| left.add(it.as_fd()))
                .collect(),
            kept: leaving.kept.iter().map(|it| kept(&mut left, it)).collect(),
            stored: leaving.stored.clone(),
        };
        let memory = manifest.write()?.descriptor();
        let carried = Carried {
            manifest: memory.as_fd(),
            descriptors: left.all(),
            arguments: self.fixtures.arguments.clone(),
            // It is tried again.
            wait: Duration::ZERO,
        };
        let file = chosen.file.as_fd();
        Ok(succession::exec(file, &carried, PATIENCE, held))
    }
}

fn at_path<'a>(left: &mut Left<'a>, (fd, path): &'a (Arc<OwnedFd>, PathBuf)) -> AtPath {
    AtPath {
        fd: left.add(fd.as_fd()),
        path: path.clone(),
    }
}

fn sockets<'a>(
    left: &mut Left<'a>,
    sockets: &'a [(ListenerKey, usize, Arc<OwnedFd>)],
) -> Vec<Socket> {
    let sockets = sockets.iter().map(|(key, slot, fd)| Socket {
        fd: left.add(fd.as_fd()),
        key: key.clone(),
        slot: *slot,
    });
    sockets.collect()
}

fn passed<'a>(left: &mut Left<'a>, passed: &'a PassedSockets) -> Vec<PassedOn> {
    let passed = passed.iter().map(|(_, it)| PassedOn {
        fd: left.add(it.socket.as_fd()),
        name: it.name.clone(),
    });
    passed.collect()
}

fn kept<'a>(left: &mut Left<'a>, keep: &'a Keep) -> Kept {
    let (number, table) = &keep.table;
    let table = (*number, left.add(table.as_fd()));
    let sessions = keep.sessions.iter();
    let sessions = sessions
        .map(|(id, [client, backend])| (*id, left.add(client.as_fd()), left.add(backend.as_fd())));
    Kept {
        pid: keep.pid,
        slot: keep.slot,
        origin: keep.origin,
        tables: vec![table],
        sessions: sessions.collect(),
    }
}
