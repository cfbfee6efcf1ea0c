//! Goes on as another program in the same process (execve(2)), with chosen descriptors, and takes these up there.
//!
//! What an executed program keeps by itself: process id, children, locks of open files (flock(2)), blocked and pending
//! signals, and the timer of alarm(2).

#![expect(
    unsafe_code,
    reason = "descriptors that are known by their numbers alone, and the environment, have no safe form"
)]

use std::{
    collections::BTreeMap,
    convert::Infallible,
    env,
    ffi::{CString, OsStr, OsString},
    fs, io,
    os::{
        fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd},
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask},
    unistd::{alarm, fexecve},
};
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use zeroize::Zeroizing;

use super::{
    fds, orphans, passed,
    sealed::Sealed,
    upgrade_points::{self, Point},
};

/// The most bytes of a manifest: one of a hundred thousand sessions.
const MOST_BYTES: usize = 16 << 20;

/// The variable that tells the executed program the descriptor of its manifest.
const VARIABLE: &str = "PROXYD_SUCCESSION";

/// What an executed program gets.
#[derive(Debug)]
pub struct Carried<'a> {
    /// What tells it about the descriptors.
    pub manifest: BorrowedFd<'a>,
    /// The descriptors, under the numbers that they have here.
    pub descriptors: Vec<BorrowedFd<'a>>,
    /// Its arguments, the name first.
    pub arguments: Vec<OsString>,
    /// How long to wait for another thread that is starting a process, which could get the descriptors.
    pub wait: Duration,
}

/// Signals that the kernel keeps until this is dropped, for the program that is executed meanwhile or else for this one.
#[derive(Debug)]
pub struct Held {
    before: SigSet,
}

/// Has the kernel keep all signals but SIGALRM. To be called in the process's first thread, in which all signals
/// arrive.
pub fn hold_signals() -> io::Result<Held> {
    let mut all = SigSet::all();
    all.remove(Signal::SIGALRM);
    let mut before = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&all), Some(&mut before))?;
    Ok(Held { before })
}

impl Drop for Held {
    fn drop(&mut self) {
        // This cannot fail for a valid set of signals.
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}

/// Lets signals arrive that the program before this one, or [`hold_signals`], has had kept.
pub fn let_signals_arrive() {
    // This cannot fail for a valid set of signals.
    let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}

/// Goes on as the program in `file`, with signals held. SIGALRM kills the process after `patience` unless [`confirm`] is
/// called before. Returns only if that fails, and then everything is as before.
///
/// Returns [`io::ErrorKind::WouldBlock`] if another thread is starting a process, and goes on with that for longer than
/// `carried.wait`.
pub fn exec(
    file: BorrowedFd<'_>,
    carried: &Carried<'_>,
    patience: Duration,
    held: Held,
) -> io::Error {
    let error = orphans::while_none_starts(carried.wait, || exec_alone(file, carried, patience));
    drop(held);
    match error {
        Some(Ok(never)) => match never {},
        Some(Err(error)) => error,
        None => io::ErrorKind::WouldBlock.into(),
    }
}

fn exec_alone(
    file: BorrowedFd<'_>,
    carried: &Carried<'_>,
    patience: Duration,
) -> io::Result<Infallible> {
    let arguments = carried.arguments.iter();
    let arguments: Result<Vec<_>, _> = arguments.map(|it| CString::new(it.as_bytes())).collect();
    let (arguments, environment) = (arguments?, environment(carried.manifest));
    let all = || carried.descriptors.iter().chain([&carried.manifest]);
    let seconds = u32::try_from(patience.as_secs()).unwrap_or(u32::MAX);
    alarm::set(seconds.max(1));
    let executed = all()
        .try_for_each(|fd| inherit(*fd, true))
        .inspect(|()| upgrade_points::reach(Point::Executing))
        .and_then(|()| Ok(fexecve(file, &arguments, &environment)?));
    for fd in all() {
        // The descriptors are open, so this cannot fail.
        let _ = inherit(*fd, false);
    }
    alarm::cancel();
    executed
}

fn inherit(fd: BorrowedFd<'_>, inherits: bool) -> io::Result<()> {
    let mut flags = fcntl_getfd(fd)?;
    flags.set(FdFlags::CLOEXEC, !inherits);
    Ok(fcntl_setfd(fd, flags)?)
}

/// Returns the environment of the executed program, which does not get the service manager's descriptors.
fn environment(manifest: BorrowedFd<'_>) -> Vec<CString> {
    let is_kept =
        |name: &OsStr| name != VARIABLE && !passed::VARIABLES.iter().any(|it| name == *it);
    let own = env::vars_os().filter(|(name, _)| is_kept(name));
    let number = OsString::from(manifest.as_raw_fd().to_string());
    own.chain([(VARIABLE.into(), number)])
        .filter_map(|(name, value)| {
            let entry = [name.into_vec(), value.into_vec()].join(&b'=');
            CString::new(entry).ok()
        })
        .collect()
}

/// Lets this program run on after the patience that the one before gave it.
pub fn confirm() {
    alarm::cancel();
}

/// What this program got from the one that has executed it.
#[derive(Debug)]
pub struct Received {
    /// The bytes of the manifest.
    pub manifest: Zeroizing<Vec<u8>>,
    /// The descriptors, by the numbers that the manifest calls them by. What is not taken from here is closed with it.
    pub descriptors: BTreeMap<RawFd, OwnedFd>,
}

/// Why what the environment names cannot be what another program has left in this process.
#[derive(Debug, thiserror::Error)]
#[error(
    "the environment variable {VARIABLE} is for proxyd alone, and what it names cannot be used: {0}; unset it"
)]
pub struct NotReceived(io::Error);

/// When this program looked for what another one has left in its process.
static RECEIVED: OnceLock<Instant> = OnceLock::new();

/// Returns for how long this program has gone on for another one, which began right before [`receive`] was called.
pub fn elapsed() -> Duration {
    RECEIVED.get().map_or(Duration::ZERO, Instant::elapsed)
}

/// Takes up what the program has left that has executed this one to go on for it; `None` if none has. The
/// environment does not tell of it afterwards.
///
/// To be called first of all: it fails in a process with more than one thread, and a second time there is nothing.
pub fn receive() -> Result<Option<Received>, NotReceived> {
    static CALLED: AtomicBool = AtomicBool::new(false);
    if CALLED.swap(true, Ordering::SeqCst) {
        return Ok(None);
    }
    let _ = RECEIVED.set(Instant::now());
    match env::var_os(VARIABLE) {
        None => Ok(None),
        Some(number) => {
            orphans::succeed();
            take_up(&number).map(Some).map_err(NotReceived)
        }
    }
}

fn take_up(number: &OsStr) -> io::Result<Received> {
    if fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("other threads run already"));
    }
    // SAFETY: no other thread could read the environment.
    unsafe { env::remove_var(VARIABLE) };
    let mut descriptors = all()?;
    let number: RawFd = number
        .to_str()
        .and_then(|it| it.parse().ok())
        .ok_or_else(|| io::Error::other("it is no number"))?;
    let manifest = descriptors
        .remove(&number)
        .ok_or_else(|| io::Error::other("no such descriptor is open"))?;
    Ok(Received {
        manifest: read(manifest)?,
        descriptors,
    })
}

/// Takes up all descriptors but the standard three.
fn all() -> io::Result<BTreeMap<RawFd, OwnedFd>> {
    let mut taken = BTreeMap::new();
    for number in fds::numbers()? {
        // SAFETY: nothing owns it: this is the first that the one thread of this process does.
        if let Some(descriptor) = unsafe { fds::own(number) }? {
            taken.insert(number, descriptor);
        }
    }
    Ok(taken)
}

/// Reads a manifest, which only a process of this user can have made, and none can have changed since.
fn read(manifest: OwnedFd) -> io::Result<Zeroizing<Vec<u8>>> {
    let manifest = Sealed::authentic(manifest, nix::unistd::geteuid().as_raw())?;
    let length = usize::try_from(manifest.length()).unwrap_or(usize::MAX);
    if length > MOST_BYTES {
        return Err(io::Error::other("it is too long"));
    }
    manifest.read(0, length)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;
    use crate::sys::sealed::Unsealed;

    #[test]
    fn a_manifest_is_read_only_from_sealed_memory() {
        let mut made = Unsealed::new("test").unwrap();
        made.append(b"{}").unwrap();
        let sealed = made.seal().unwrap().descriptor();
        assert_eq!(*read(sealed.try_clone().unwrap()).unwrap(), b"{}");
        let file = tempfile::tempfile().unwrap();
        assert!(read(file.into()).is_err());
    }

    #[test]
    fn the_environment_names_the_manifest_and_no_descriptors_of_the_service_manager() {
        let file = tempfile::tempfile().unwrap();
        let entries = environment(file.as_fd());
        let number = format!("{VARIABLE}={}", file.as_raw_fd());
        let named = |start: &str| {
            let entries = entries.iter().filter_map(|it| it.to_str().ok());
            entries.filter(|it| it.starts_with(start)).count()
        };
        assert_eq!((named(&number), named("LISTEN_")), (1, 0));
        assert_eq!(named(VARIABLE), 1);
    }

    #[test]
    fn what_cannot_be_executed_leaves_everything_as_it_was() {
        let (file, manifest) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let carried = Carried {
            manifest: manifest.as_fd(),
            descriptors: vec![],
            arguments: vec!["proxyd".into()],
            wait: Duration::from_secs(60),
        };
        let held = hold_signals().unwrap();
        let error = exec(file.as_fd(), &carried, Duration::from_secs(60), held);
        assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
        assert!(fcntl_getfd(&manifest).unwrap().contains(FdFlags::CLOEXEC));
        let mut mask = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_BLOCK, None, Some(&mut mask)).unwrap();
        assert!(!mask.contains(Signal::SIGHUP));
        assert_eq!(alarm::cancel(), None);
    }
}
