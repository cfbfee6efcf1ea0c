//! What the service manager has kept of the supervisor before this one.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::OwnedFd,
};

use rustix::net::sockopt::socket_acceptconn;
use tracing::debug;

use super::Found;
use crate::supervisor::life::{Name, What, inode};

/// Descriptors that the service manager has passed to this process, each with its name.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct Passed(Vec<(Name, OwnedFd)>);

impl Passed {
    /// Takes those of an earlier supervisor; returns also the others, each with its name, such as sockets of a socket unit
    /// (systemd.socket(5)).
    pub(in crate::supervisor) fn new(
        passed: Vec<(String, OwnedFd)>,
    ) -> (Self, Vec<(String, OwnedFd)>) {
        let (mut stored, mut others) = (Vec::new(), Vec::new());
        for (text, descriptor) in passed {
            match Name::parse(&text) {
                // Nothing else has the number that a name tells.
                Some(name) if inode(&descriptor) == Some(name.inode) => {
                    stored.push((name, descriptor));
                }
                Some(_) => {}
                None => others.push((text, descriptor)),
            }
        }
        (Self(stored), others)
    }

    /// Returns whether there are none.
    pub(in crate::supervisor) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the descriptors, which stay open.
    pub(in crate::supervisor) fn descriptors(&self) -> impl Iterator<Item = &OwnedFd> {
        self.0.iter().map(|(_, descriptor)| descriptor)
    }

    /// Returns the names, under which the service manager keeps them still.
    pub(in crate::supervisor) fn names(&self) -> BTreeSet<String> {
        self.0.iter().map(|(name, _)| name.to_string()).collect()
    }

    /// Adds what there is to what was found elsewhere.
    pub(super) fn find(self, found: &mut Found) {
        let mut books = Vec::new();
        let mut generations = Vec::new();
        let mut packs = BTreeMap::new();
        for (Name { what, inode }, descriptor) in self.0 {
            match what {
                What::Book => books.push(descriptor),
                What::Generation(packs) => generations.push((packs, descriptor)),
                What::Pack => drop(packs.insert(inode, descriptor)),
                What::Socket(slot, key) => {
                    if socket_acceptconn(&descriptor).is_ok_and(|accepts| accepts) {
                        found.sockets.push((key, slot, descriptor));
                    }
                }
            }
        }
        // A supervisor that died while it replaced them has left two of a kind. Whether a book and a generation fit is
        // found out from what they hold.
        let mut books = books.into_iter();
        for (of_it, generation) in generations {
            let mut state = Vec::new();
            state.extend(books.next());
            let of_it = of_it.iter().map(|pack| packs.get(pack)?.try_clone().ok());
            let of_it: Option<Vec<_>> = of_it.collect();
            let Some(of_it) = of_it.filter(|_| !state.is_empty()) else {
                debug!("a generation lacks its book or its packs, so it is not gone on with");
                found.states.extend(Some(state).filter(|it| !it.is_empty()));
                continue;
            };
            state.push(generation);
            state.extend(of_it);
            found.states.push(state);
        }
        found.states.extend(books.map(|book| vec![book]));
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, net::TcpListener, os::fd::AsFd as _};

    use super::*;
    use crate::link::ListenerKey;

    fn file() -> OwnedFd {
        tempfile::tempfile().map(File::into).unwrap()
    }

    fn number(descriptor: &OwnedFd) -> u64 {
        inode(descriptor).unwrap()
    }

    /// Returns a descriptor as it was passed: under the name of what it is.
    fn named(what: What, descriptor: &OwnedFd) -> (String, OwnedFd) {
        let inode = number(descriptor);
        let name = Name { what, inode };
        (name.to_string(), descriptor.try_clone().unwrap())
    }

    fn socket(slot: usize) -> What {
        let (bind, name) = ("127.0.0.1:3307".to_owned(), String::new());
        What::Socket(slot, ListenerKey { bind, name })
    }

    fn found(passed: Vec<(String, OwnedFd)>) -> Found {
        let mut found = Found::default();
        Passed::new(passed).0.find(&mut found);
        found
    }

    /// Returns the numbers of what is in each state.
    fn states(found: &Found) -> Vec<Vec<u64>> {
        let states = found.states.iter();
        states
            .map(|state| state.iter().map(number).collect())
            .collect()
    }

    #[test]
    fn names_in_any_order_make_a_state_in_its_order() {
        let [book, generation, first, second] = [(); 4].map(|()| file());
        let (listener, packs) = (
            OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap()),
            vec![number(&first), number(&second)],
        );
        let found = found(vec![
            named(What::Pack, &second),
            named(socket(1), &listener),
            named(What::Generation(packs), &generation),
            named(What::Pack, &first),
            named(What::Book, &book),
        ]);
        let expected = [&book, &generation, &first, &second].map(number);
        assert_eq!(states(&found), [expected]);
        let (key, slot, descriptor) = &found.sockets[0];
        assert_eq!((key.bind.as_str(), *slot), ("127.0.0.1:3307", 1));
        assert_eq!(number(descriptor), number(&listener));
    }

    #[test]
    fn what_is_not_what_its_name_tells_is_closed_and_what_has_another_name_is_not_of_a_supervisor()
    {
        let (book, listener) = (file(), file());
        let (name, _) = named(What::Book, &book);
        let (passed, others) = Passed::new(vec![
            (name, file()),
            ("proxyd.socket".to_owned(), file()),
            (String::new(), file()),
        ]);
        assert_eq!(passed.descriptors().count(), 0);
        assert!(passed.names().is_empty());
        let others: Vec<_> = others.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(others, ["proxyd.socket", ""]);
        // A file is no socket, and a socket that does not listen is of no use.
        let found = found(vec![named(socket(0), &listener)]);
        assert!(found.sockets.is_empty());
    }

    #[test]
    fn a_generation_without_its_packs_leaves_the_book() {
        let [book, generation, pack] = [(); 3].map(|()| file());
        let packs = vec![number(&pack)];
        let found = found(vec![
            named(What::Book, &book),
            named(What::Generation(packs), &generation),
        ]);
        assert_eq!(states(&found), [[number(&book)]]);
    }

    #[test]
    fn two_of_a_kind_are_both_found() {
        let [book, other, generation, old] = [(); 4].map(|()| file());
        let found = found(vec![
            named(What::Book, &book),
            named(What::Book, &other),
            named(What::Generation(Vec::new()), &generation),
            named(What::Generation(Vec::new()), &old),
        ]);
        let mut all: Vec<_> = states(&found).concat();
        all.sort_unstable();
        let mut expected = [&book, &other, &generation, &old].map(number);
        expected.sort_unstable();
        assert_eq!(all, expected);
    }

    #[test]
    fn more_generations_than_books_do_not_leave_half_a_state() {
        let generation = file();
        let found = found(vec![named(What::Generation(Vec::new()), &generation)]);
        assert!(found.states.is_empty());
    }

    #[test]
    fn descriptors_that_were_taken_are_not_passed_on_to_children() {
        let book = file();
        let (passed, _) = Passed::new(vec![named(What::Book, &book)]);
        let flags = rustix::io::fcntl_getfd(passed.descriptors().next().unwrap().as_fd()).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        assert_eq!(passed.names().len(), 1);
    }
}
