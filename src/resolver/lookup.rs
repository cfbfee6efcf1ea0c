//! One lookup of a name and one connection to a Unix socket, for as long as they take.

use std::{io, net::ToSocketAddrs as _, os::unix::net::UnixStream, path::Path};

use crate::{
    facts::{HostAddress, Unresolved},
    sys::reserve::Reserve,
};

/// The most addresses of one name that are told.
pub const MOST_ADDRESSES: usize = 32;

/// Descriptors that connections leave for lookups of names: more than several lookups at once have open.
const LEFT_FOR_NAMES: usize = 16;

/// What the C library says of a name that does not exist or has no address (`gai_strerror(3)`).
const NO_SUCH_NAME: [&str; 3] = [
    "Name or service not known",
    "No address associated with hostname",
    "Name does not resolve",
];

/// What it says when the name servers may have an answer later.
const TEMPORARY: [&str; 2] = ["Temporary failure in name resolution", "Try again"];

/// Looks up a host; returns its addresses in the C library's order, each once.
pub fn addresses(host: &str) -> Result<Vec<HostAddress>, Unresolved> {
    let found = (host, 0).to_socket_addrs();
    let found = found.map_err(|error| reason(&error))?;
    distinct(found.map(HostAddress::from))
}

/// Connects to the Unix socket at `path`. One whose queue of connections is full fails at once, and so does any
/// while the process is so short of descriptors that lookups of names may need those that are left.
pub fn connection(path: &Path) -> Result<UnixStream, Unresolved> {
    if !Reserve::new(LEFT_FOR_NAMES).fill() {
        let reason =
            "the resolver is short of descriptors, and keeps the last for lookups of names";
        return Err(Unresolved::Failed(reason.to_owned()));
    }
    let connect = || {
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&socket2::SockAddr::unix(path)?)?;
        Ok(socket.into())
    };
    connect().map_err(|error: io::Error| Unresolved::Failed(error.to_string()))
}

fn distinct(found: impl Iterator<Item = HostAddress>) -> Result<Vec<HostAddress>, Unresolved> {
    let mut addresses = Vec::new();
    for address in found {
        if addresses.len() < MOST_ADDRESSES && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(Unresolved::NoSuchName(NO_SUCH_NAME[1].to_owned()));
    }
    Ok(addresses)
}

/// Tells failures apart by their words, which are all that the standard library passes on.
fn reason(error: &io::Error) -> Unresolved {
    let text = error.to_string();
    let words = text.rsplit(": ").next().unwrap_or(&text).to_owned();
    if NO_SUCH_NAME.contains(&words.as_str()) {
        Unresolved::NoSuchName(words)
    } else if TEMPORARY.contains(&words.as_str()) {
        Unresolved::Temporary(words)
    } else {
        Unresolved::Failed(words)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;

    fn address(last: u8) -> HostAddress {
        let ip = Ipv4Addr::new(192, 0, 2, last);
        SocketAddr::from((ip, 0)).into()
    }

    #[test]
    fn addresses_keep_their_order_and_come_once() {
        let found = [3, 1, 3, 2, 1].map(address);
        let told = distinct(found.into_iter());
        assert_eq!(told, Ok([3, 1, 2].map(address).to_vec()));
        let many = (0..=255).map(address);
        assert_eq!(distinct(many).unwrap().len(), MOST_ADDRESSES);
        assert!(matches!(
            distinct(std::iter::empty()),
            Err(Unresolved::NoSuchName(_))
        ));
    }

    #[test]
    fn failures_are_told_apart_in_the_words_of_the_c_library() {
        let lookup = |words: &str| {
            let text = format!("failed to lookup address information: {words}");
            reason(&io::Error::other(text))
        };
        for words in NO_SUCH_NAME {
            assert_eq!(lookup(words), Unresolved::NoSuchName(words.to_owned()));
        }
        for words in TEMPORARY {
            assert_eq!(lookup(words), Unresolved::Temporary(words.to_owned()));
        }
        let words = "Memory allocation failure";
        assert_eq!(lookup(words), Unresolved::Failed(words.to_owned()));
        let files = reason(&io::Error::from_raw_os_error(24));
        assert!(
            matches!(&files, Unresolved::Failed(text) if text.contains("open files")),
            "{files:?}"
        );
    }

    #[test]
    fn the_machine_itself_has_an_address() {
        let found = addresses("localhost").unwrap();
        assert!(found.iter().all(|it| it.ip.is_loopback()), "{found:?}");
    }

    #[test]
    fn a_link_local_address_is_found_with_its_interface() {
        let found = addresses("fe80::1%1").unwrap();
        let ip = "fe80::1".parse().unwrap();
        assert_eq!(found, [HostAddress { ip, scope: 1 }]);
    }

    #[test]
    fn a_socket_without_a_server_is_told_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let told = connection(&path).unwrap_err().to_string();
        assert!(told.contains("No such file"), "{told}");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        connection(&path).unwrap();
        drop(listener);
        let told = connection(&path).unwrap_err().to_string();
        assert!(told.contains("refused"), "{told}");
    }
}
