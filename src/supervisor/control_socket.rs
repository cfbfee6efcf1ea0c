//! The control socket and its cookie: made at the start, and made again if their files were removed.

use std::{
    cell::RefCell,
    fs,
    os::{
        fd::OwnedFd,
        unix::{fs::MetadataExt as _, net::UnixListener},
    },
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
};

use tokio::{
    sync::{Semaphore, mpsc},
    task::AbortHandle,
};
use tracing::{error, warn};

use super::refusal::Refusal;
use crate::{
    control::{
        cookie::{self, Cookie},
        cookie_file, fixed,
        server::{self, Access, BindError, Call, Calls},
    },
    sys::own_children::OwnChildren,
};

/// How many calls may wait for the loop.
const CALL_QUEUE: usize = 256;

/// The control socket. Clones share the socket.
#[derive(Debug, Clone)]
pub(super) struct ControlSocket {
    place: Place,
    children: OwnChildren,
    calls: Calls,
    places: Arc<Semaphore>,
    open: Rc<RefCell<Open>>,
}

/// The control socket of a daemon that does not serve it yet.
#[derive(Debug)]
pub(super) struct Bound {
    place: Place,
    listener: UnixListener,
}

/// Where the socket is, for whom, and what a client has to show there as long as the daemon lives.
#[derive(Debug, Clone)]
struct Place {
    path: PathBuf,
    group: Option<u32>,
    cookie: Cookie,
}

impl Place {
    /// Binds the socket and writes the cookie. Blocks.
    fn bind(&self) -> Result<UnixListener, BindError> {
        server::bind(&self.path, self.group, &self.cookie)
    }
}

/// Binds the socket for members of `group`; clients that connect wait until it is served.
pub(super) fn bind(path: &Path, group: Option<u32>) -> Result<Bound, Refusal> {
    let place = Place {
        path: path.to_owned(),
        group,
        cookie: Cookie::random().map_err(|error| format!("control socket: {error}"))?,
    };
    let listener = place
        .bind()
        .map_err(|error| format!("control socket: {error}"))?;
    Ok(Bound { place, listener })
}

/// The requests that come over the socket.
#[derive(Debug)]
pub(super) struct Called {
    /// Those of clients of this version.
    pub(super) own: mpsc::Receiver<Call>,
    /// Those of the fixed part of the protocol.
    pub(super) fixed: mpsc::Receiver<fixed::Call>,
}

/// Returns the socket and the cookie of the program before this one.
pub(super) fn bound(
    path: &Path,
    group: Option<u32>,
    (listener, cookie): (UnixListener, Cookie),
) -> Bound {
    let place = Place {
        path: path.to_owned(),
        group,
        cookie,
    };
    Bound { place, listener }
}

/// A socket that is bound and served.
#[derive(Debug)]
struct Open {
    file: FileId,
    /// A second descriptor of it, for a successor; `None` where none was to be had.
    listening: Option<Arc<OwnedFd>>,
    serving: AbortHandle,
}

impl ControlSocket {
    /// Serves the socket, inside a [`tokio::task::LocalSet`], to all but the daemon's `children`; returns it
    /// and its calls.
    pub(super) fn open(bound: Bound, children: OwnChildren) -> (Self, Called) {
        let Bound { place, listener } = bound;
        let (own, own_calls) = mpsc::channel(CALL_QUEUE);
        let (fixed, fixed_calls) = mpsc::channel(CALL_QUEUE);
        let calls = Calls { own, fixed };
        let inbox = Called {
            own: own_calls,
            fixed: fixed_calls,
        };
        let places = server::places();
        let open = Open {
            file: file(&place.path),
            listening: duplicate(&listener),
            serving: serve(listener, &place, children.clone(), (&calls, &places)),
        };
        let open = Rc::new(RefCell::new(open));
        let socket = Self {
            place,
            children,
            calls,
            places,
            open,
        };
        (socket, inbox)
    }

    /// Makes the socket, or its cookie, again if its file was removed, on another thread, and logs that.
    ///
    /// Open connections go on.
    pub(super) fn renew(&self) {
        let socket = self.clone();
        tokio::task::spawn_local(async move {
            let place = socket.place.clone();
            let before = socket.open.borrow().file;
            let renewed = tokio::task::spawn_blocking(move || renew(&place, before));
            match renewed.await {
                Ok(Ok(Renewed::Socket(listener, file))) => socket.take(listener, file),
                Ok(Ok(Renewed::Cookie)) => warn!(
                    path = %cookie::path(&socket.place.path).display(),
                    "the control socket's cookie was written again because its file had been removed or changed"
                ),
                Ok(Ok(Renewed::Nothing)) | Err(_) => {}
                Ok(Err(error)) => error!(%error, "the control socket cannot be made again"),
            }
        });
    }

    /// Returns the socket and its path, for a successor; `None` if no second descriptor of it was to be had.
    pub(super) fn listening(&self) -> Option<(Arc<OwnedFd>, PathBuf)> {
        let listening = self.open.borrow().listening.clone()?;
        Some((listening, self.place.path.clone()))
    }

    /// Returns what clients have to show.
    pub(super) fn cookie(&self) -> Cookie {
        self.place.cookie.clone()
    }

    /// Returns how many connections there are, those that follow events left out.
    pub(super) fn connections(&self) -> usize {
        server::connections(&self.places)
    }

    /// Returns a job that removes the files of the socket and its cookie, unless others have their names.
    /// It blocks.
    pub(super) fn removal(&self) -> impl FnOnce() + Send + use<> {
        let (place, own) = (self.place.clone(), self.open.borrow().file);
        move || {
            cookie_file::remove(&place.path, &place.cookie);
            if own.is_some() && file(&place.path) == own {
                // The next start takes over a socket file that is left.
                let _ = fs::remove_file(place.path);
            }
        }
    }

    fn take(&self, listener: UnixListener, file: FileId) {
        let listening = duplicate(&listener);
        let serving = serve(
            listener,
            &self.place,
            self.children.clone(),
            (&self.calls, &self.places),
        );
        let open = Open {
            file,
            listening,
            serving,
        };
        let before = self.open.replace(open);
        before.serving.abort();
        warn!(
            path = %self.place.path.display(),
            "the control socket was bound again because its file had been removed"
        );
    }
}

/// What was made again.
enum Renewed {
    Nothing,
    Cookie,
    /// The socket with its cookie.
    Socket(UnixListener, FileId),
}

/// Makes again what is no longer as this daemon made it: the socket, whose file was the one given, or its
/// cookie. Blocks.
fn renew(place: &Place, before: FileId) -> Result<Renewed, BindError> {
    if before.is_none() || file(&place.path) != before {
        let listener = place.bind()?;
        return Ok(Renewed::Socket(listener, file(&place.path)));
    }
    if cookie_file::holds(&place.path, &place.cookie) {
        return Ok(Renewed::Nothing);
    }
    cookie_file::write(&place.path, place.group, &place.cookie)?;
    Ok(Renewed::Cookie)
}

/// The device and inode of a file; `None` if there is none.
type FileId = Option<(u64, u64)>;

/// Returns the device and inode of the file at `path`.
fn file(path: &Path) -> FileId {
    let about = fs::symlink_metadata(path).ok()?;
    Some((about.dev(), about.ino()))
}

fn duplicate(listener: &UnixListener) -> Option<Arc<OwnedFd>> {
    let duplicate = listener.try_clone().ok()?;
    Some(Arc::new(duplicate.into()))
}

fn serve(
    listener: UnixListener,
    place: &Place,
    children: OwnChildren,
    (calls, places): (&Calls, &Arc<Semaphore>),
) -> AbortHandle {
    let access = Access::new(&place.path, place.group, place.cookie.clone(), children);
    let (calls, places) = (calls.clone(), Arc::clone(places));
    let serving = tokio::task::spawn_local(async move {
        if let Err(error) = server::serve(listener, access, calls, places).await {
            error!(%error, "the control socket cannot be served");
        }
    });
    serving.abort_handle()
}
