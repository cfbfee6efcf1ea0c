//! Decides which passed socket is for which listener. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::PathBuf,
};

use super::Place;

/// A listener that may be served from a passed socket.
#[derive(Debug)]
pub(super) struct Wish<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// Whether it is one of a Unix socket.
    pub(super) is_unix: bool,
    /// What its `bind` stands for: several addresses if that is a host name, none if the kernel chooses the port.
    pub(super) spots: Vec<Spot>,
}

/// What a listener's `bind` stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Spot {
    /// An IP address and a port.
    Tcp(IpAddr, u16),
    /// A path whose folder is named as in [`Place::Path`].
    Path(PathBuf),
}

/// The passed sockets that are for a listener, by their numbers.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::supervisor) enum Chosen {
    /// This one.
    One(usize),
    /// These. A listener has one, so its configuration or the socket unit must change.
    Several(Vec<usize>),
}

/// Which passed sockets are for which listeners.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::supervisor) struct Choice(BTreeMap<String, Chosen>);

impl Choice {
    /// Returns what was chosen for the listener of this name; `None` if it binds its own socket.
    pub(in crate::supervisor) fn of(&self, listener: &str) -> Option<&Chosen> {
        self.0.get(listener)
    }
}

/// Decides which of the offered sockets, each a name and a place, are for which listeners.
///
/// A socket is for the listener whose `bind` is its very address. `0.0.0.0` and `[::]` are two addresses: a socket of the
/// second takes clients of IPv6, which a listener of the first did not ask for. A socket of an address that is no
/// listener's is for the listener of its name, if that has no socket yet and is of the same kind.
pub(super) fn choose(offers: &[(&str, &Place)], wishes: &[Wish<'_>]) -> Choice {
    let mut chosen: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut unwanted = Vec::new();
    for (number, (_, place)) in offers.iter().enumerate() {
        match wishes.iter().find(|wish| wish.is_at(place)) {
            Some(wish) => chosen.entry(wish.name).or_default().push(number),
            None => unwanted.push(number),
        }
    }
    let by_address: BTreeSet<&str> = chosen.keys().copied().collect();
    for number in unwanted {
        let (name, place) = offers[number];
        let is_its = |wish: &&Wish<'_>| wish.name == name && wish.is_unix == is_unix(place);
        let wish = wishes.iter().find(is_its);
        if let Some(wish) = wish.filter(|it| !by_address.contains(it.name)) {
            chosen.entry(wish.name).or_default().push(number);
        }
    }
    let chosen = chosen.into_iter().map(|(name, numbers)| {
        let chosen = match numbers[..] {
            [number] => Chosen::One(number),
            _ => Chosen::Several(numbers),
        };
        (name.to_owned(), chosen)
    });
    Choice(chosen.collect())
}

impl Wish<'_> {
    fn is_at(&self, place: &Place) -> bool {
        self.spots.iter().any(|spot| match (spot, place) {
            (Spot::Tcp(ip, port), Place::Tcp { address, .. }) => {
                (*ip, *port) == (address.ip(), address.port())
            }
            (Spot::Path(wanted), Place::Path(path)) => wanted == path,
            _ => false,
        })
    }
}

fn is_unix(place: &Place) -> bool {
    !matches!(place, Place::Tcp { .. })
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;

    fn tcp(text: &str) -> Place {
        let (text, v6_alone) = match text.strip_prefix("v6only ") {
            Some(text) => (text, true),
            None => (text, false),
        };
        Place::Tcp {
            address: text.parse().unwrap(),
            v6_alone,
        }
    }

    fn wish<'a>(name: &'a str, bind: &str) -> Wish<'a> {
        let spots = match bind.strip_prefix("unix:") {
            Some(path) => vec![Spot::Path(path.into())],
            None => match bind.parse::<std::net::SocketAddr>().unwrap() {
                address if address.port() == 0 => vec![],
                address => vec![Spot::Tcp(address.ip(), address.port())],
            },
        };
        Wish {
            name,
            is_unix: bind.starts_with("unix:"),
            spots,
        }
    }

    /// Returns what is chosen as `listener: numbers` for each listener that gets sockets.
    fn chosen(offers: &[(&str, Place)], wishes: &[(&str, &str)]) -> String {
        let offers: Vec<_> = offers.iter().map(|(name, place)| (*name, place)).collect();
        let wishes: Vec<_> = wishes.iter().map(|(name, bind)| wish(name, bind)).collect();
        let all = choose(&offers, &wishes).0.into_iter();
        let all = all.map(|(name, chosen)| match chosen {
            Chosen::One(number) => format!("{name}: {number}"),
            Chosen::Several(numbers) => format!("{name}: {numbers:?}"),
        });
        all.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_socket_is_for_the_listener_of_its_address() {
        let offers = [
            ("proxyd.socket", tcp("127.0.0.1:2")),
            ("proxyd.socket", tcp("127.0.0.1:1")),
            ("proxyd.socket", Place::Path("/run/a".into())),
        ];
        let wishes = [
            ("one", "127.0.0.1:1"),
            ("two", "127.0.0.1:2"),
            ("file", "unix:/run/a"),
            ("other", "127.0.0.1:3"),
        ];
        assert_eq!(chosen(&offers, &wishes), "file: 2; one: 1; two: 0");
    }

    #[test]
    fn the_addresses_that_stand_for_all_are_not_taken_for_one_another() {
        let v4 = ("u", tcp("0.0.0.0:1"));
        let v6 = ("u", tcp("[::]:1"));
        let alone = ("u", tcp("v6only [::]:1"));
        for offer in [v6, alone.clone()] {
            assert_eq!(chosen(from_ref(&offer), &[("x", "0.0.0.0:1")]), "");
            assert_eq!(chosen(&[offer], &[("x", "[::]:1")]), "x: 0");
        }
        assert_eq!(chosen(from_ref(&v4), &[("x", "[::]:1")]), "");
        assert_eq!(chosen(from_ref(&v4), &[("x", "127.0.0.1:1")]), "");
        assert_eq!(chosen(&[v4, alone], &[("x", "0.0.0.0:1")]), "x: 0");
    }

    #[test]
    fn a_socket_of_another_address_is_for_the_listener_of_its_name() {
        let offers = [("orders", tcp("0.0.0.0:9"))];
        assert_eq!(chosen(&offers, &[("orders", "127.0.0.1:1")]), "orders: 0");
        assert_eq!(chosen(&offers, &[("orders", "127.0.0.1:0")]), "orders: 0");
        assert_eq!(chosen(&offers, &[("orders", "unix:/run/a")]), "");
        let abstract_one = [("a", Place::Abstract("x".into()))];
        assert_eq!(chosen(&abstract_one, &[("a", "unix:/run/a")]), "a: 0");
        assert_eq!(chosen(&abstract_one, &[("a", "127.0.0.1:1")]), "");
    }

    #[test]
    fn an_address_counts_more_than_a_name() {
        let offers = [("a", tcp("127.0.0.1:2")), ("a", tcp("127.0.0.1:3"))];
        let wishes = [("a", "127.0.0.1:1"), ("b", "127.0.0.1:2")];
        assert_eq!(chosen(&offers, &wishes), "a: 1; b: 0");
        // The listener has the socket of its address, so that the other one of its name is left over.
        let wishes = [("a", "127.0.0.1:2")];
        assert_eq!(chosen(&offers, &wishes), "a: 0");
    }

    #[test]
    fn several_sockets_for_one_listener_are_told_as_such() {
        let offers = [("u", tcp("127.0.0.1:1")), ("u", tcp("127.0.0.1:1"))];
        assert_eq!(chosen(&offers, &[("a", "127.0.0.1:1")]), "a: [0, 1]");
        let offers = [("a", tcp("0.0.0.0:2")), ("a", tcp("[::]:2"))];
        assert_eq!(chosen(&offers, &[("a", "127.0.0.1:1")]), "a: [0, 1]");
    }
}
