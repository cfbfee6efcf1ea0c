//! The control socket: bound at the start, and bound again if its file was removed.

use std::{
    cell::RefCell,
    fs,
    os::unix::{fs::MetadataExt as _, net::UnixListener},
    path::{Path, PathBuf},
    rc::Rc,
};

use tokio::{sync::mpsc, task::AbortHandle};
use tracing::{error, warn};

use super::refusal::Refusal;
use crate::control::server::{self, Access, BindError, Call};

/// How many calls may wait for the loop.
const CALL_QUEUE: usize = 256;

/// The control socket. Clones share the socket.
#[derive(Debug, Clone)]
pub(super) struct ControlSocket {
    path: PathBuf,
    group: Option<u32>,
    calls: mpsc::Sender<Call>,
    open: Rc<RefCell<Open>>,
}

/// The control socket of a daemon that does not serve it yet.
#[derive(Debug)]
pub(super) struct Bound {
    path: PathBuf,
    group: Option<u32>,
    listener: UnixListener,
}

/// Binds the socket for members of `group`; whoever connects waits until it is served.
pub(super) fn bind(path: &Path, group: Option<u32>) -> Result<Bound, Refusal> {
    let listener = server::bind(path, group).map_err(|error| format!("control socket: {error}"))?;
    Ok(Bound {
        path: path.to_owned(),
        group,
        listener,
    })
}

/// A socket that is bound and served.
#[derive(Debug)]
struct Open {
    /// The device and inode of its file.
    file: Option<(u64, u64)>,
    serving: AbortHandle,
}

impl ControlSocket {
    /// Serves the socket, inside a [`tokio::task::LocalSet`]; returns it and its calls.
    pub(super) fn open(bound: Bound) -> (Self, mpsc::Receiver<Call>) {
        let Bound {
            path,
            group,
            listener,
        } = bound;
        let (calls, inbox) = mpsc::channel(CALL_QUEUE);
        let open = Open {
            file: file(&path),
            serving: serve(listener, group, calls.clone()),
        };
        let open = Rc::new(RefCell::new(open));
        let socket = Self {
            path,
            group,
            calls,
            open,
        };
        (socket, inbox)
    }

    /// Binds the socket again if its file was removed, on another thread, and logs that.
    ///
    /// Open connections go on.
    pub(super) fn renew(&self) {
        let socket = self.clone();
        tokio::task::spawn_local(async move {
            let (path, group) = (socket.path.clone(), socket.group);
            let before = socket.open.borrow().file;
            let bound = tokio::task::spawn_blocking(move || bind_again(&path, group, before));
            match bound.await {
                Ok(Ok(Some(bound))) => socket.take(bound),
                Ok(Ok(None)) | Err(_) => {}
                Ok(Err(error)) => error!(%error, "the control socket cannot be bound again"),
            }
        });
    }

    /// Returns a job that removes the socket's file, unless another has its name. It blocks.
    pub(super) fn removal(&self) -> impl FnOnce() + Send + use<> {
        let (path, own) = (self.path.clone(), self.open.borrow().file);
        move || {
            if own.is_some() && file(&path) == own {
                // The next start takes over a socket file that is left.
                let _ = fs::remove_file(path);
            }
        }
    }

    fn take(&self, (listener, file): BoundAgain) {
        let serving = serve(listener, self.group, self.calls.clone());
        let before = self.open.replace(Open { file, serving });
        before.serving.abort();
        warn!(
            path = %self.path.display(),
            "the control socket was bound again because its file had been removed"
        );
    }
}

/// A listener, and the device and inode of its file.
type BoundAgain = (UnixListener, Option<(u64, u64)>);

/// Binds the socket again, unless its file is still the one that this daemon made. Blocks.
fn bind_again(
    path: &Path,
    group: Option<u32>,
    before: Option<(u64, u64)>,
) -> Result<Option<BoundAgain>, BindError> {
    if before.is_some() && file(path) == before {
        return Ok(None);
    }
    let listener = server::bind(path, group)?;
    Ok(Some((listener, file(path))))
}

/// Returns the device and inode of the file at `path`.
fn file(path: &Path) -> Option<(u64, u64)> {
    let about = fs::symlink_metadata(path).ok()?;
    Some((about.dev(), about.ino()))
}

fn serve(listener: UnixListener, group: Option<u32>, calls: mpsc::Sender<Call>) -> AbortHandle {
    let access = Access::new(group);
    let serving = tokio::task::spawn_local(async move {
        if let Err(error) = server::serve(listener, access, calls).await {
            error!(%error, "the control socket cannot be served");
        }
    });
    serving.abort_handle()
}
