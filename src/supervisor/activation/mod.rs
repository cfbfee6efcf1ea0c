//! Listening sockets that systemd has opened and passes to each supervisor (systemd.socket(5)).
//!
//! systemd keeps a copy of each, so the port stays open whatever becomes of the daemon. The daemon accepts from such a
//! socket for the listener that it fits, but does not bind, store or close it: only systemd can close it.
//! [`choice`] decides which socket is for which listener.

mod choice;
mod place;

use std::{
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
    sync::Arc,
};

pub(super) use self::{choice::Chosen, place::Place};
use self::{
    choice::{Choice, Spot, Wish},
    place::Unfit,
};
use crate::config::{Address, Listener, covers};

/// The sockets that systemd has passed to this process, or to the program before it in this process.
#[derive(Debug, Clone, Default)]
pub(super) struct PassedSockets(Arc<All>);

#[derive(Debug, Default)]
struct All {
    sockets: Vec<PassedSocket>,
    refused: Vec<String>,
}

/// A listening socket that systemd has passed.
#[derive(Debug)]
pub(super) struct PassedSocket {
    /// Its name in systemd (`FileDescriptorName=`), which several may have.
    pub(super) name: String,
    /// The address that it is bound to.
    pub(super) place: Place,
    /// The socket, of which systemd has a copy: what is done to one of them holds for both.
    pub(super) socket: Arc<OwnedFd>,
}

impl PassedSockets {
    /// Takes descriptors that systemd has passed, each with its name; closes those that are no listening sockets of a
    /// kind that proxyd serves.
    pub(super) fn new(passed: Vec<(String, OwnedFd)>) -> Self {
        let mut all = All::default();
        for (name, descriptor) in passed {
            match Place::of(&descriptor) {
                Ok(place) => all.sockets.push(PassedSocket {
                    name,
                    place,
                    socket: Arc::new(descriptor),
                }),
                Err(why) => all.refused.push(refusal(&name, &why)),
            }
        }
        Self(Arc::new(all))
    }

    /// Returns the sockets, each with the number by which a choice calls it.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &PassedSocket)> {
        self.0.sockets.iter().enumerate()
    }

    /// Returns the socket that a choice calls by this number.
    pub(super) fn get(&self, number: usize) -> Option<&PassedSocket> {
        self.0.sockets.get(number)
    }

    /// Says, a sentence for each, which descriptors were closed and why.
    pub(super) fn refused(&self) -> &[String] {
        &self.0.refused
    }

    /// Whether one of the sockets has this port.
    pub(super) fn has_port(&self, port: u16) -> bool {
        let mut places = self.0.sockets.iter().map(|it| &it.place);
        places.any(|place| matches!(place, Place::Tcp { address, .. } if address.port() == port))
    }

    /// Decides which sockets are for which listeners. `lookup` returns the addresses of a host name, and is asked only if
    /// there is a socket of the listener's port.
    pub(super) fn choose(
        &self,
        listeners: &[Listener],
        lookup: impl Fn(&str) -> Vec<IpAddr>,
    ) -> Choice {
        let offers = self.iter().map(|(_, it)| (it.name.as_str(), &it.place));
        let wishes = listeners.iter().map(|it| self.wish(it, &lookup));
        choice::choose(&offers.collect::<Vec<_>>(), &wishes.collect::<Vec<_>>())
    }

    fn wish<'a>(&self, listener: &'a Listener, lookup: impl Fn(&str) -> Vec<IpAddr>) -> Wish<'a> {
        let spots = match listener.bind.canonical() {
            Address::Unix(path) => vec![Spot::Path(place::resolved(&path))],
            Address::Tcp { port, .. } if !self.has_port(port) => Vec::new(),
            Address::Tcp { host, port } => {
                let found = host
                    .parse()
                    .map_or_else(|_| lookup(&host), |address| vec![address]);
                let spots = found.into_iter().map(|ip| Spot::Tcp(ip, port));
                spots.collect()
            }
        };
        Wish {
            name: &listener.name,
            is_unix: listener.bind.port().is_none(),
            spots,
        }
    }

    /// Says which of the sockets keeps another one from being bound to this address, if one does.
    pub(super) fn in_the_way(&self, of: SocketAddr) -> Option<String> {
        let mut places = self.iter().map(|(_, it)| &it.place);
        let other = places.find(|place| match place {
            Place::Tcp { address, .. } => {
                address.port() == of.port() && covers(address.ip(), of.ip())
            }
            Place::Path(_) | Place::Abstract(_) => false,
        })?;
        Some(format!(
            "systemd listens at {other} for this daemon, which overlaps; write that as `bind`, or change \
             ListenStream= in the socket unit"
        ))
    }

    /// Says that several sockets are for one listener, which cannot be.
    pub(super) fn several(&self, numbers: &[usize]) -> String {
        let places = numbers.iter().filter_map(|it| self.get(*it));
        let places: Vec<String> = places.map(|it| it.place.to_string()).collect();
        format!(
            "systemd passes {} sockets for it ({}), but a listener has one; leave one ListenStream= in its socket unit",
            places.len(),
            places.join(", ")
        )
    }
}

fn refusal(name: &str, why: &Unfit) -> String {
    format!(
        "systemd passes a descriptor \"{name}\" that is not used: {why}. proxyd takes listening sockets of TCP and Unix \
         streams alone; its socket unit must have ListenStream=, and not Accept=yes."
    )
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream, UdpSocket},
        os::unix::net::{UnixDatagram, UnixListener},
    };

    use socket2::SockRef;

    use super::*;
    use crate::tls::testing;

    fn listener(name: &str, bind: &str) -> Listener {
        let mut listener = testing::listener(&[]);
        listener.name = name.to_owned();
        listener.bind = bind.parse().unwrap();
        listener
    }

    fn passed(socket: impl Into<OwnedFd>) -> PassedSockets {
        PassedSockets::new(vec![("proxyd.socket".to_owned(), socket.into())])
    }

    fn nothing(_: &str) -> Vec<IpAddr> {
        Vec::new()
    }

    #[test]
    fn what_is_no_listening_stream_socket_is_closed_and_told() {
        let listening = TcpListener::bind("127.0.0.1:0").unwrap();
        let connected = TcpStream::connect(listening.local_addr().unwrap()).unwrap();
        let wrong: [(OwnedFd, &str); 4] = [
            (
                UdpSocket::bind("127.0.0.1:0").unwrap().into(),
                "datagram socket",
            ),
            (UnixDatagram::unbound().unwrap().into(), "datagram socket"),
            (connected.into(), "does not listen"),
            (tempfile::tempfile().unwrap().into(), "no socket"),
        ];
        for (descriptor, why) in wrong {
            let passed = passed(descriptor);
            let told = passed.refused().concat();
            assert!(
                told.contains(why) && told.contains("proxyd.socket"),
                "{told}"
            );
            assert_eq!(passed.iter().count(), 0);
        }
        assert!(passed(listening).refused().is_empty());
    }

    #[test]
    fn a_unix_socket_is_found_by_any_name_of_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(".", &link).unwrap();
        let path = folder.path().join("socket");
        let passed = passed(UnixListener::bind(&path).unwrap());
        for path in [path, link.join("socket")] {
            let wanting = listener("x", &format!("unix:{}", path.display()));
            let choice = passed.choose(&[wanting], nothing);
            assert_eq!(choice.of("x"), Some(&Chosen::One(0)));
        }
    }

    #[test]
    fn a_host_name_is_looked_up() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let passed = passed(socket);
        let wanting = [listener("x", &format!("db.example:{port}"))];
        let here = |_: &str| vec![IpAddr::from([127, 0, 0, 1])];
        assert_eq!(passed.choose(&wanting, here).of("x"), Some(&Chosen::One(0)));
        assert_eq!(passed.choose(&wanting, nothing).of("x"), None);
    }

    #[test]
    fn a_socket_in_the_way_of_another_address_is_named() {
        let socket = TcpListener::bind("0.0.0.0:0").unwrap();
        let address = socket.local_addr().unwrap();
        let passed = passed(socket);
        let other = |text: &str| SocketAddr::new(text.parse().unwrap(), address.port());
        let told = passed.in_the_way(other("127.0.0.1")).unwrap();
        assert!(told.contains(&address.to_string()), "{told}");
        assert_eq!(passed.in_the_way(other("::1")), None);
    }

    #[test]
    fn whether_a_socket_takes_clients_of_ipv4_is_known() {
        for alone in [true, false] {
            let socket =
                socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None).unwrap();
            socket.set_only_v6(alone).unwrap();
            let any: SocketAddr = "[::]:0".parse().unwrap();
            if socket.bind(&any.into()).is_err() {
                continue;
            }
            socket.listen(1).unwrap();
            let port = SockRef::from(&socket).local_addr().unwrap();
            let port = port.as_socket().unwrap().port();
            let passed = passed(socket);
            let (_, found) = passed.iter().next().unwrap();
            let is_alone = matches!(found.place, Place::Tcp { v6_alone, .. } if v6_alone);
            assert_eq!(is_alone, alone);
            let choice = passed.choose(&[listener("x", &format!("[::]:{port}"))], nothing);
            assert_eq!(choice.of("x"), Some(&Chosen::One(0)));
        }
    }
}
