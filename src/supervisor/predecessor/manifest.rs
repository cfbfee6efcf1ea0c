//! What a supervisor that goes on as another program tells that program about the descriptors that it leaves in the
//! process: JSON (RFC 8259) in sealed memory.
//!
//! The other program may be of any version, before or after this one: nothing is ever removed or renamed, what is added
//! has a default, and a part that is not known is passed over, so that its descriptors are closed.

use std::{
    collections::BTreeSet,
    fmt, io,
    os::fd::{AsRawFd as _, BorrowedFd, RawFd},
    path::PathBuf,
};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::{
    control::cookie::Cookie,
    facts::SessionId,
    link::ListenerKey,
    sys::sealed::{Sealed, Unsealed},
};

/// The version of the manifest. An executed program goes on with any; the number is for what later versions cannot tell
/// by members alone.
pub(in crate::supervisor) const VERSION: u16 = 1;

/// What a supervisor leaves in its process for the program that goes on for it. Numbers are of descriptors.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::supervisor) struct Manifest {
    /// [`VERSION`] of the program that wrote it.
    pub(in crate::supervisor) version: u16,
    /// The process in which it is good.
    pub(in crate::supervisor) pid: u32,
    /// The version of the program that wrote it.
    pub(in crate::supervisor) from: String,
    /// The path of the program that was executed.
    pub(in crate::supervisor) path: PathBuf,
    /// The path of the program that wrote it.
    pub(in crate::supervisor) before: PathBuf,
    /// That program, to go back to.
    pub(in crate::supervisor) program: Option<RawFd>,
    /// Why the program that wrote it has gone back to this one, if it has.
    pub(in crate::supervisor) went_back: Option<String>,
    /// The folder in which the daemon was started, which paths on its command line begin in.
    pub(in crate::supervisor) directory: Option<PathBuf>,
    /// Whether the daemon is in the background.
    pub(in crate::supervisor) detached: bool,
    /// The connection of the client that has asked for the upgrade, and waits for an answer of the fixed part of the
    /// control protocol.
    pub(in crate::supervisor) asker: Option<RawFd>,
    /// The pid file, which is locked.
    pub(in crate::supervisor) pid_file: Option<AtPath>,
    /// The control socket, which listens.
    pub(in crate::supervisor) control: Option<AtPath>,
    /// The cookie of the control socket, in hexadecimal digits.
    pub(in crate::supervisor) cookie: Secret,
    /// The socket of the metrics page, which listens.
    pub(in crate::supervisor) page: Option<RawFd>,
    /// The listening sockets.
    pub(in crate::supervisor) sockets: Vec<Socket>,
    /// The listening sockets that systemd has passed.
    pub(in crate::supervisor) passed: Vec<Passed>,
    /// The book, the memory of the generation, and the packs of that.
    pub(in crate::supervisor) state: Vec<RawFd>,
    /// What is kept of workers that may end before the program has asked them.
    pub(in crate::supervisor) kept: Vec<Kept>,
    /// The names of the descriptors that the service manager keeps.
    pub(in crate::supervisor) stored: BTreeSet<String>,
}

/// A descriptor of something that has a path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::supervisor) struct AtPath {
    pub(in crate::supervisor) fd: RawFd,
    pub(in crate::supervisor) path: PathBuf,
}

/// A listening socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::supervisor) struct Socket {
    pub(in crate::supervisor) fd: RawFd,
    pub(in crate::supervisor) key: ListenerKey,
    pub(in crate::supervisor) slot: usize,
}

/// A listening socket that systemd has passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::supervisor) struct Passed {
    pub(in crate::supervisor) fd: RawFd,
    /// Its name in systemd.
    pub(in crate::supervisor) name: String,
}

/// What is kept of a worker's sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::supervisor) struct Kept {
    /// The worker's process id.
    pub(in crate::supervisor) pid: u32,
    /// Its slot.
    pub(in crate::supervisor) slot: usize,
    /// What the ids of its sessions begin with.
    pub(in crate::supervisor) origin: u64,
    /// The numbers and descriptors of the tables in which its sessions are.
    pub(in crate::supervisor) tables: Vec<(u64, RawFd)>,
    /// Its kept sessions: the socket of the client, and that of the backend.
    pub(in crate::supervisor) sessions: Vec<(SessionId, RawFd, RawFd)>,
}

/// A text that is shown to no one, and wiped.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(in crate::supervisor) struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Secret {
    /// Writes a cookie.
    pub(in crate::supervisor) fn of(cookie: &Cookie) -> Self {
        Self(HEXLOWER.encode(cookie.bytes()))
    }

    /// Returns the cookie; `None` if it is none.
    pub(in crate::supervisor) fn cookie(&self) -> Option<Cookie> {
        Cookie::parse(self.0.as_bytes())
    }
}

/// Why what was left in this process cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub(in crate::supervisor) enum Unusable {
    #[error("what the program before this one has left cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    #[error("what was left is for process {0}, not for this one")]
    OtherProcess(u32),
}

impl Manifest {
    /// Reads what was left for the process `pid`.
    pub(in crate::supervisor) fn read(bytes: &[u8], pid: u32) -> Result<Self, Unusable> {
        let manifest: Self = serde_json::from_slice(bytes)?;
        if manifest.pid == pid {
            Ok(manifest)
        } else {
            Err(Unusable::OtherProcess(manifest.pid))
        }
    }

    /// Writes it into sealed memory. Takes a descriptor.
    pub(in crate::supervisor) fn write(&self) -> io::Result<Sealed> {
        let bytes = Zeroizing::new(serde_json::to_vec(self)?);
        let mut memory = Unsealed::new("proxyd-succession")?;
        memory.append(&bytes)?;
        memory.seal()
    }
}

/// Descriptors that are left, as they are counted up.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct Left<'a>(Vec<BorrowedFd<'a>>);

impl<'a> Left<'a> {
    /// Leaves a descriptor; returns the number by which it is known.
    pub(in crate::supervisor) fn add(&mut self, fd: BorrowedFd<'a>) -> RawFd {
        self.0.push(fd);
        fd.as_raw_fd()
    }

    /// Returns all of them.
    pub(in crate::supervisor) fn all(self) -> Vec<BorrowedFd<'a>> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::golden::Golden;

    fn manifest() -> Manifest {
        Manifest {
            version: VERSION,
            pid: 7,
            from: "0.1.0".into(),
            path: "/usr/sbin/proxyd".into(),
            before: "/usr/sbin/proxyd".into(),
            program: Some(3),
            went_back: Some("no".into()),
            directory: Some("/".into()),
            detached: true,
            asker: Some(4),
            pid_file: Some(AtPath {
                fd: 5,
                path: "/run/proxyd/proxyd.pid".into(),
            }),
            control: Some(AtPath {
                fd: 6,
                path: "/run/proxyd/proxyd.sock".into(),
            }),
            cookie: Secret("ab".repeat(32)),
            page: Some(7),
            sockets: vec![],
            passed: vec![Passed {
                fd: 11,
                name: "proxyd.socket".into(),
            }],
            state: vec![8, 9],
            kept: vec![Kept {
                pid: 8,
                slot: 0,
                origin: 9,
                tables: vec![(1, 10)],
                sessions: vec![],
            }],
            stored: BTreeSet::from(["book-1".to_owned()]),
        }
    }

    #[test]
    fn golden_bytes_of_the_manifest_are_those_of_every_version() {
        let bytes = serde_json::to_vec(&manifest()).unwrap();
        Golden::new(
            "succession",
            VERSION,
            "nothing: a new member alone may come",
        )
        .bytes("Manifest", &bytes)
        .check();
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written_and_only_in_its_process() {
        let memory = manifest().write().unwrap();
        let length = usize::try_from(memory.length()).unwrap();
        let bytes = memory.read(0, length).unwrap();
        let read = Manifest::read(&bytes, 7).unwrap();
        assert_eq!(read.state, [8, 9]);
        assert!(read.cookie.cookie().is_some());
        assert!(matches!(
            Manifest::read(&bytes, 8),
            Err(Unusable::OtherProcess(7))
        ));
        assert!(!format!("{read:?}").contains("abab"));
    }

    #[test]
    fn what_another_version_lacks_or_adds_does_no_harm() {
        let read = Manifest::read(br#"{"pid":7,"later":{"fd":9}}"#, 7).unwrap();
        assert_eq!((read.version, read.asker), (0, None));
        assert!(Manifest::read(b"", 7).is_err());
    }
}
