//! The doors of workers: sockets by which the next supervisor reaches them once this one is gone.
//!
//! They are made and removed on a thread of their own, because their folder may be on a disk that does not answer. A
//! worker without a door serves all the same, but no supervisor can go on with it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::oneshot;
use tracing::warn;

use super::predecessor::doors::folder;
use crate::{
    children::Voice,
    link::ToWorker,
    sys::{child::Jobs, doors},
};

/// The doors of the workers of a supervisor.
#[derive(Debug)]
pub(super) struct Doors {
    folder: PathBuf,
    jobs: Jobs,
    /// Whether it was logged that one could not be made.
    warned: Arc<AtomicBool>,
}

impl Doors {
    /// Begins without doors, for a daemon with this control socket. Fails if there is no thread.
    pub(super) fn new(control_socket: &Path) -> io::Result<Self> {
        Ok(Self {
            folder: folder(control_socket),
            jobs: Jobs::new("doors")?,
            warned: Arc::default(),
        })
    }

    /// Makes a door for the worker of this origin, and gives it to the worker when it is made.
    pub(super) fn make(&self, origin: u64, worker: Voice<ToWorker>) {
        let (folder, warned) = (self.folder.clone(), Arc::clone(&self.warned));
        self.jobs.add(move || {
            let made = doors::Doors::make(&folder).and_then(|it| it.bind(&origin.to_string()));
            match made {
                Ok(door) => {
                    let owner = nix::unistd::geteuid().as_raw();
                    worker.send_with(ToWorker::Door { owner }, vec![Arc::new(door)]);
                }
                Err(error) if !warned.swap(true, Ordering::Relaxed) => warn!(
                    folder = %folder.display(),
                    %error,
                    "a worker has no door, so the next supervisor cannot go on with it if this one dies; this is \
                     logged once"
                ),
                Err(_) => {}
            }
        });
    }

    /// Removes the door of a worker that has ended.
    pub(super) fn remove(&self, origin: u64) {
        let folder = self.folder.clone();
        self.jobs.add(move || {
            if let Ok(doors) = doors::Doors::open(&folder) {
                doors.remove(&origin.to_string());
            }
        });
    }

    /// Removes the folder, if no door is left in it, and waits for that and all that was begun before.
    pub(super) async fn finish(self) {
        let (done, all) = oneshot::channel();
        let folder = self.folder;
        self.jobs.add(move || {
            if let Ok(doors) = doors::Doors::open(&folder) {
                doors.remove_folder();
            }
            let _ = done.send(());
        });
        // It fails if the thread has ended, which it does not before.
        let _ = all.await;
    }
}
