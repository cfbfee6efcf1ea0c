//! A pipe that a daemon logs to, and a reader that may pause.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::{
    fcntl::{FcntlArg, fcntl},
    libc::O_NONBLOCK,
    sys::stat::Mode,
    unistd::mkfifo,
};

use crate::support::pause;

/// How many bytes the pipe holds until it is read: a page, which is a few dozen lines.
const SPACE: i32 = 4096;

const READING: u8 = 0;
const PAUSED: u8 = 1;
const OVER: u8 = 2;

/// The reader of such a pipe. Reading ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Pump {
    state: Arc<AtomicU8>,
    thread: Option<JoinHandle<()>>,
}

impl Pump {
    /// Makes a pipe at the path that a daemon will open for its standard error, and begins to copy the
    /// lines that come through it.
    pub(crate) fn start(path: &Path) -> Self {
        mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        // Opened for writing too, so that the pipe does not end with the daemon.
        let pipe = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(O_NONBLOCK)
            .open(path)
            .unwrap();
        fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(SPACE)).unwrap();
        let mut copy = File::create(copy_of(path)).unwrap();
        let state = Arc::new(AtomicU8::new(READING));
        let told = Arc::clone(&state);
        Self {
            state,
            thread: Some(thread::spawn(move || pass_on(&pipe, &mut copy, &told))),
        }
    }

    /// Gives the copy the path of the pipe, once the daemon has opened the pipe.
    pub(crate) fn rename(path: &Path) {
        fs::rename(copy_of(path), path).unwrap();
    }

    /// Reads nothing until [`Self::resume`].
    pub(crate) fn pause(&self) {
        self.state.store(PAUSED, Ordering::SeqCst);
    }

    /// Reads again.
    pub(crate) fn resume(&self) {
        self.state.store(READING, Ordering::SeqCst);
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.state.store(OVER, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn copy_of(path: &Path) -> PathBuf {
    path.with_extension("copy")
}

fn pass_on(mut pipe: &File, copy: &mut File, state: &AtomicU8) {
    let mut space = [0; 4096];
    loop {
        let state = state.load(Ordering::SeqCst);
        let read = if state == PAUSED {
            0
        } else {
            pipe.read(&mut space).unwrap_or(0)
        };
        copy.write_all(&space[..read]).unwrap();
        if read == 0 && state == OVER {
            return;
        }
        if read == 0 {
            pause(Duration::from_millis(10));
        }
    }
}
