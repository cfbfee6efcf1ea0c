//! Why there is no answer, in words for people.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::cookie::Readers;
use crate::{control::wire::WireError, sys::listening};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no socket.
    #[error(
        "no proxyd answers: there is no socket {}; start proxyd, or name its socket with --socket",
        path.display()
    )]
    NoSocket {
        /// The socket's path.
        path: PathBuf,
    },
    /// A daemon listens, but the file by which it is reached was removed.
    #[error(
        "proxyd runs, but its socket {} was removed, perhaps by a program that cleans up temporary \
         files; send it the signal HUP, and it binds the socket again (`kill -HUP PID`, with the \
         number in its pid file)",
        path.display()
    )]
    SocketRemoved {
        /// The socket's path.
        path: PathBuf,
    },
    /// There is a socket, but no process listens.
    #[error(
        "no proxyd answers: no process listens at {}, because its daemon has ended; start proxyd again",
        path.display()
    )]
    NoDaemon {
        /// The socket's path.
        path: PathBuf,
    },
    /// The file system does not let this user connect.
    #[error(
        "no permission to use {}; run as root, as proxyd's user, or as a member of its control_group",
        path.display()
    )]
    Forbidden {
        /// The socket's path.
        path: PathBuf,
    },
    /// Connecting failed in another way.
    #[error("cannot connect to {}: {source}", path.display())]
    Unreachable {
        /// The socket's path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No greeting came in time.
    #[error(
        "the proxyd at {} did not answer within {}; it hangs or is stopped",
        path.display(),
        Seconds(*within)
    )]
    Silent {
        /// The socket's path.
        path: PathBuf,
        /// How long was waited.
        within: Duration,
    },
    /// What answers is something else.
    #[error("what answers at {} is not proxyd; name its socket with --socket", path.display())]
    NotProxyd {
        /// The socket's path.
        path: PathBuf,
    },
    /// The daemon is of another version.
    #[error(
        "proxyd {their_version} speaks protocol {theirs}, this proxyctl protocol {ours}; use the proxyctl that came with that proxyd"
    )]
    WrongProtocol {
        /// The daemon's protocol version.
        theirs: u16,
        /// Ours.
        ours: u16,
        /// The daemon's program version.
        their_version: String,
    },
    /// The daemon is older than the fixed part of the protocol.
    #[error(
        "proxyd {their_version} runs, which cannot be asked by another version and cannot upgrade in place; to run another \
         program, restart it"
    )]
    NoFixedPart {
        /// The daemon's program version.
        their_version: String,
    },
    /// There is no cookie beside the socket.
    #[error(
        "proxyd answers only clients that show its cookie, and the cookie's file {} is not there; in a \
         container, mount the folder of the socket, not the socket alone; if the file was \
         removed, send proxyd the signal HUP, and it writes the cookie again (`kill -HUP PID`, with the \
         number in its pid file)",
        path.display()
    )]
    CookieMissing {
        /// The cookie's file.
        path: PathBuf,
    },
    /// This user may not read the cookie.
    #[error(
        "proxyd answers only clients that show its cookie, and uid {uid} may not read the cookie's file {}; run as \
         root, as {readers}",
        path.display()
    )]
    CookieForbidden {
        /// The cookie's file.
        path: PathBuf,
        /// The user of this process.
        uid: u32,
        /// Who may.
        readers: Readers,
    },
    /// The cookie could not be read for another reason.
    #[error(
        "proxyd answers only clients that show its cookie, and the cookie's file {} cannot be read: {source}",
        path.display()
    )]
    CookieUnreadable {
        /// The cookie's file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The cookie beside the socket is not that of the daemon that answers.
    #[error(
        "{} does not hold the cookie of the proxyd that answers; in a container, mount the folder of the \
         socket, not single files, because proxyd writes another cookie at each start; otherwise send \
         proxyd the signal HUP, and it writes its cookie again (`kill -HUP PID`, with the number in its \
         pid file)",
        path.display()
    )]
    WrongCookie {
        /// The cookie's file.
        path: PathBuf,
    },
    /// The daemon said no, or failed.
    #[error("{reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// The daemon took the request and has not answered.
    #[error(
        "proxyd took the request but did not answer within {}; it may still carry it out: see `proxyctl events`, or allow more with --timeout",
        Seconds(*within)
    )]
    NoAnswer {
        /// How long was waited.
        within: Duration,
    },
    /// The connection was closed with an answer still due.
    #[error("proxyd closed the connection without an answer; its log says why")]
    Lost,
    /// The answer makes no sense.
    #[error("proxyd's answer is broken: {0}")]
    Broken(#[source] WireError),
    /// The daemon answered another question.
    #[error("proxyd's answer does not fit the request")]
    Unexpected,
}

/// Writes a duration as `10s` or `1.5s`.
struct Seconds(Duration);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}s", self.0.as_secs_f64())
    }
}

/// Says why nothing answers at `path`.
pub(super) fn unreachable(source: io::Error, path: &Path, within: Duration) -> ClientError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound if listening::is_listened_at(&path) => {
            ClientError::SocketRemoved { path }
        }
        io::ErrorKind::NotFound => ClientError::NoSocket { path },
        io::ErrorKind::ConnectionRefused => ClientError::NoDaemon { path },
        io::ErrorKind::PermissionDenied => ClientError::Forbidden { path },
        io::ErrorKind::TimedOut => ClientError::Silent { path, within },
        _ => ClientError::Unreachable { path, source },
    }
}
