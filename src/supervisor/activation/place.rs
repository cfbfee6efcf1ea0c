//! Where a passed socket listens, as the kernel tells it.

use std::{
    fmt, fs, io,
    net::SocketAddr,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use socket2::{Domain, Protocol, SockRef, Type};

/// Where a passed socket listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::supervisor) enum Place {
    /// At an address of TCP.
    Tcp {
        /// The address and port.
        address: SocketAddr,
        /// Whether it takes no clients of IPv4 (`IPV6_V6ONLY` in ipv6(7)).
        v6_alone: bool,
    },
    /// At the path of a Unix socket.
    Path(PathBuf),
    /// At the name of a Unix socket that has no file (unix(7), abstract).
    Abstract(String),
}

/// Why a descriptor cannot be accepted from.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    #[error("it is no socket")]
    NoSocket,
    #[error("it is a datagram socket")]
    Datagram,
    #[error("it is neither a TCP nor a Unix stream socket")]
    OtherKind,
    #[error("it does not listen")]
    NotListening,
    #[error("its address cannot be read: {0}")]
    NoAddress(io::Error),
}

impl Place {
    /// Returns where this descriptor listens, if it is a socket that clients can be accepted from.
    pub(super) fn of(descriptor: &OwnedFd) -> Result<Self, Unfit> {
        let socket = SockRef::from(descriptor);
        match socket.r#type().map_err(|_| Unfit::NoSocket)? {
            Type::STREAM => {}
            Type::DGRAM => return Err(Unfit::Datagram),
            _ => return Err(Unfit::OtherKind),
        }
        let domain = socket.domain().map_err(Unfit::NoAddress)?;
        let is_tcp = matches!(socket.protocol(), Ok(Some(Protocol::TCP)));
        if domain != Domain::UNIX && !is_tcp {
            return Err(Unfit::OtherKind);
        }
        if !socket.is_listener().unwrap_or(false) && !was_shut_down(&socket) {
            return Err(Unfit::NotListening);
        }
        let bound = socket.local_addr().map_err(Unfit::NoAddress)?;
        if let Some(address) = bound.as_socket() {
            let v6_alone = address.is_ipv6() && socket.only_v6().unwrap_or(false);
            return Ok(Self::Tcp { address, v6_alone });
        }
        if let Some(path) = bound.as_pathname() {
            return Ok(Self::Path(resolved(path)));
        }
        let name = bound.as_abstract_namespace().ok_or(Unfit::OtherKind)?;
        Ok(Self::Abstract(String::from_utf8_lossy(name).into_owned()))
    }
}

/// Returns whether a socket of TCP is bound and connected to no peer: a worker of an earlier supervisor has shut it down, and
/// it can listen again.
fn was_shut_down(socket: &SockRef<'_>) -> bool {
    let bound = socket.local_addr().ok().and_then(|it| it.as_socket());
    bound.is_some_and(|it| it.port() != 0) && socket.peer_addr().is_err()
}

/// Returns a path whose folder is named without symbolic links and in one way alone; as it is if the folder is not there.
pub(super) fn resolved(path: &Path) -> PathBuf {
    let named = path.parent().zip(path.file_name());
    let resolved = named.and_then(|(folder, name)| Some(fs::canonicalize(folder).ok()?.join(name)));
    resolved.unwrap_or_else(|| path.to_owned())
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { address, .. } => write!(f, "{address}"),
            Self::Path(path) => write!(f, "unix:{}", path.display()),
            Self::Abstract(name) => write!(f, "unix:@{name}"),
        }
    }
}
