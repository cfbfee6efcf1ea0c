//! What the program before this one has left in this process, which it has executed this one in.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    env, io, mem,
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsFd as _, OwnedFd, RawFd},
        unix::net::UnixListener,
    },
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use super::{
    left::LeftWorker,
    manifest::{AtPath, Kept, Left, Manifest, Unusable},
};
use crate::{
    control::{cookie::Cookie, fixed::Asker},
    facts::PROGRAM_VERSION,
    link::ListenerKey,
    supervisor::activation::PassedSockets,
    sys::{
        succession::{self, Received},
        upgrade_points::{self, Point},
    },
};

/// How long a program may take that is gone back to.
const PATIENCE: Duration = upgrade_points::patience(60, 24);

/// How long a worker that is being started may delay it: workers that do not come up are started again and again.
const START_PATIENCE: Duration = Duration::from_secs(2);

/// What the program before this one has left in this process.
///
/// Its descriptors stay open until [`Self::let_go`], so that it can be gone back to with all of them.
#[derive(Debug)]
pub(in crate::supervisor) struct Carried {
    manifest: Manifest,
    descriptors: RefCell<BTreeMap<RawFd, OwnedFd>>,
}

/// Why this program is not gone back from.
#[derive(Debug, thiserror::Error)]
pub(in crate::supervisor) enum NotBack {
    /// This program was confirmed.
    #[error("this program runs for good, and the one before it is gone")]
    Confirmed,
    /// It was gone back to already.
    #[error("the daemon has gone back to this program already")]
    BackAlready,
    /// The program before cannot be executed.
    #[error("the program before this one cannot be executed: {0}")]
    Io(#[from] io::Error),
}

impl NotBack {
    /// Returns whether it can be tried again at once: a child was just being started, which would have had descriptors that
    /// are for the program alone.
    pub(in crate::supervisor) fn is_for_now(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl Carried {
    /// Takes what was received, if it is for this process.
    pub(in crate::supervisor) fn take(received: Received) -> Result<Self, Unusable> {
        let Received {
            manifest,
            descriptors,
        } = received;
        let manifest = Manifest::read(&manifest, std::process::id())?;
        Ok(Self {
            manifest,
            descriptors: RefCell::new(descriptors),
        })
    }

    /// Closes all of it, because this program was confirmed, beside the caller: a socket may wait for its peer meanwhile
    /// (`SO_LINGER` in socket(7)).
    pub(in crate::supervisor) fn let_go(&self) {
        let all = mem::take(&mut *self.descriptors.borrow_mut());
        // What no thread closes is closed here.
        let _ = thread::Builder::new()
            .name("let-go".to_owned())
            .spawn(move || drop(all));
    }

    /// Returns the version of the program before.
    pub(in crate::supervisor) fn from(&self) -> &str {
        &self.manifest.from
    }

    /// Returns the path of this program.
    pub(in crate::supervisor) fn path(&self) -> &Path {
        &self.manifest.path
    }

    /// Returns why the program before has gone back to this one, if it has.
    pub(in crate::supervisor) fn went_back(&self) -> Option<&str> {
        self.manifest.went_back.as_deref()
    }

    /// Returns the folder in which paths on the command line begin.
    pub(in crate::supervisor) fn directory(&self) -> Option<PathBuf> {
        self.manifest.directory.clone()
    }

    /// Returns whether the daemon is in the background.
    pub(in crate::supervisor) fn is_detached(&self) -> bool {
        self.manifest.detached
    }

    /// Returns the client that waits for the answer.
    pub(in crate::supervisor) fn asker(&self) -> Option<Asker> {
        Some(Asker::carried(self.copy(self.manifest.asker?)?))
    }

    /// Returns the pid file if it is at this path; it is locked.
    pub(in crate::supervisor) fn pid_file(&self, path: &Path) -> Option<OwnedFd> {
        self.at_path(self.manifest.pid_file.as_ref(), path)
    }

    /// Returns the control socket if it is at this path, and what clients have to show there.
    pub(in crate::supervisor) fn control(&self, path: &Path) -> Option<(UnixListener, Cookie)> {
        let listener = self.at_path(self.manifest.control.as_ref(), path)?;
        Some((listener.into(), self.manifest.cookie.cookie()?))
    }

    /// Returns the path of the control socket; an empty one if none was left.
    pub(in crate::supervisor) fn control_socket(&self) -> PathBuf {
        let control = self.manifest.control.as_ref();
        control.map_or_else(PathBuf::new, |it| it.path.clone())
    }

    /// Returns the socket of the metrics page if it is bound to this address.
    pub(in crate::supervisor) fn page(&self, address: SocketAddr) -> Option<TcpListener> {
        let listener = TcpListener::from(self.copy(self.manifest.page?)?);
        (listener.local_addr().ok()? == address).then_some(listener)
    }

    /// Returns the listening sockets, with the slot of each.
    pub(in crate::supervisor) fn sockets(&self) -> Vec<(ListenerKey, usize, OwnedFd)> {
        let sockets = self.manifest.sockets.iter();
        let sockets = sockets.filter_map(|it| Some((it.key.clone(), it.slot, self.copy(it.fd)?)));
        sockets.collect()
    }

    /// Returns the listening sockets that systemd has passed to a program before this one.
    pub(in crate::supervisor) fn passed(&self) -> PassedSockets {
        let passed = self.manifest.passed.iter();
        let passed = passed.filter_map(|it| Some((it.name.clone(), self.copy(it.fd)?)));
        PassedSockets::new(passed.collect())
    }

    /// Returns the descriptors of the book, of the generation and of its packs; `None` if they are not all there.
    pub(in crate::supervisor) fn state(&self) -> Option<Vec<OwnedFd>> {
        let state = self.manifest.state.iter().map(|it| self.copy(*it));
        state
            .collect::<Option<Vec<_>>>()
            .filter(|it| !it.is_empty())
    }

    /// Returns what is kept of workers, of those left out that are `found` by their origins.
    pub(super) fn kept_of_others(&self, found: &BTreeSet<u64>) -> Vec<LeftWorker> {
        let kept = self.manifest.kept.iter();
        kept.filter(|it| !found.contains(&it.origin))
            .filter_map(|it| self.left(it))
            .collect()
    }

    fn left(&self, kept: &Kept) -> Option<LeftWorker> {
        let (number, table) = kept.tables.first()?;
        let pair = |client, backend| Some([self.copy(client)?, self.copy(backend)?].map(Arc::new));
        let sessions = kept.sessions.iter();
        let sessions =
            sessions.filter_map(|(id, client, backend)| Some((*id, pair(*client, *backend)?)));
        Some(LeftWorker {
            pid: kept.pid,
            slot: kept.slot,
            origin: kept.origin,
            table: (*number, self.copy(*table)?),
            sessions: sessions.collect(),
            end: None,
        })
    }

    /// Returns the names of the descriptors that the service manager keeps.
    pub(in crate::supervisor) fn stored(&self) -> BTreeSet<String> {
        self.manifest.stored.clone()
    }

    /// Goes back to the program before, for this reason. Returns only if that fails. Blocks for [`START_PATIENCE`] at
    /// most.
    pub(in crate::supervisor) fn go_back(&self, reason: &str) -> NotBack {
        match self.try_to_go_back(reason) {
            Ok(error) => error.into(),
            Err(error) => error,
        }
    }

    fn try_to_go_back(&self, reason: &str) -> Result<io::Error, NotBack> {
        if self.manifest.went_back.is_some() {
            return Err(NotBack::BackAlready);
        }
        let descriptors = self.descriptors.borrow();
        let program = self.manifest.program.and_then(|it| descriptors.get(&it));
        let program = program.ok_or(NotBack::Confirmed)?;
        let manifest = Manifest {
            from: PROGRAM_VERSION.to_owned(),
            path: self.manifest.before.clone(),
            before: self.manifest.path.clone(),
            program: None,
            went_back: Some(reason.to_owned()),
            ..self.manifest.clone()
        };
        let mut left = Left::default();
        for descriptor in descriptors.values() {
            left.add(descriptor.as_fd());
        }
        let memory = manifest.write()?.descriptor();
        let carried = succession::Carried {
            manifest: memory.as_fd(),
            descriptors: left.all(),
            arguments: env::args_os().collect(),
            wait: START_PATIENCE,
        };
        let held = succession::hold_signals()?;
        upgrade_points::reach(Point::GoingBack);
        Ok(succession::exec(program.as_fd(), &carried, PATIENCE, held))
    }

    fn at_path(&self, it: Option<&AtPath>, path: &Path) -> Option<OwnedFd> {
        let it = it.filter(|it| it.path == path)?;
        self.copy(it.fd)
    }

    /// Returns a second descriptor of the one with this number.
    fn copy(&self, number: RawFd) -> Option<OwnedFd> {
        self.descriptors.borrow().get(&number)?.try_clone().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, net::TcpStream, os::fd::AsRawFd as _};

    use socket2::SockRef;
    use zeroize::Zeroizing;

    use super::*;

    fn carried(change: impl FnOnce(&mut Manifest)) -> Carried {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut manifest = Manifest {
            pid: std::process::id(),
            page: Some(listener.as_raw_fd()),
            state: vec![listener.as_raw_fd()],
            ..Manifest::default()
        };
        change(&mut manifest);
        Carried::take(Received {
            manifest: Zeroizing::new(serde_json::to_vec(&manifest).unwrap()),
            descriptors: BTreeMap::from([(listener.as_raw_fd(), listener.into())]),
        })
        .unwrap()
    }

    #[test]
    fn the_pages_socket_is_taken_if_it_is_bound_where_it_is_to_be() {
        let carried = carried(|_| {});
        let number = carried.manifest.page.unwrap();
        let bound = TcpListener::from(carried.copy(number).unwrap());
        let address = bound.local_addr().unwrap();
        assert!(carried.page(address).is_some());
        assert!(carried.page("127.0.0.1:1".parse().unwrap()).is_none());
    }

    #[test]
    fn what_was_not_left_is_not_there() {
        let carried = carried(|manifest| manifest.state.push(99_999));
        assert!(carried.state().is_none());
        assert!(carried.asker().is_none());
        assert!(carried.pid_file(Path::new("/run/proxyd.pid")).is_none());
        assert!(carried.control(Path::new("/run/proxyd.sock")).is_none());
    }

    #[test]
    fn what_is_let_go_of_is_closed_and_waits_for_no_peer() {
        use std::io::Read as _;

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let options = SockRef::from(&accepted);
        options.set_linger(Some(Duration::from_secs(3600))).unwrap();
        accepted.set_nonblocking(true).unwrap();
        while (&accepted).write_all(&[0; 1 << 12]).is_ok() {}
        accepted.set_nonblocking(false).unwrap();
        let carried = carried(|_| {});
        let number = accepted.as_raw_fd();
        let mut all = carried.descriptors.borrow_mut();
        all.insert(number, accepted.into());
        drop(all);
        carried.let_go();
        // Only now, so it was not waited for.
        client.read_to_end(&mut Vec::new()).unwrap();
    }

    #[test]
    fn a_program_that_was_gone_back_to_does_not_go_back_again() {
        let back = carried(|manifest| manifest.went_back = Some("no".into()));
        assert!(matches!(back.go_back("x"), NotBack::BackAlready));
        let unchanged = carried(|_| {});
        unchanged.let_go();
        assert!(matches!(unchanged.go_back("x"), NotBack::Confirmed));
    }
}
