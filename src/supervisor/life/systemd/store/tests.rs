//! What the service manager is told to keep, with a fake that keeps it.

use std::{cell::RefCell, fs::File};

use super::*;

/// A service manager that keeps descriptors by name, and takes only so many messages at a time.
#[derive(Debug, Default)]
struct Fake {
    room: RefCell<usize>,
    kept: RefCell<BTreeMap<String, u64>>,
    told: RefCell<Vec<String>>,
}

impl Fake {
    fn take(&self, message: &Message) -> io::Result<()> {
        let mut room = self.room.borrow_mut();
        *room = room.checked_sub(1).ok_or(io::ErrorKind::WouldBlock)?;
        self.told.borrow_mut().push(message.text());
        let mut kept = self.kept.borrow_mut();
        match message {
            Message::Store(name, descriptor) => {
                kept.insert(name.clone(), inode(descriptor).unwrap());
            }
            Message::Remove(name) => {
                kept.remove(name);
            }
        }
        Ok(())
    }

    /// Lets the store send all it has to send; returns the texts of the messages.
    fn settle(&self, store: &mut Store) -> Vec<String> {
        self.room.replace(usize::MAX);
        while let Some(due) = store.due() {
            store.turn(due, |message| self.take(message));
        }
        self.told.take()
    }

    fn names(&self) -> Vec<String> {
        self.kept.borrow().keys().cloned().collect()
    }
}

fn descriptor() -> Arc<OwnedFd> {
    Arc::new(tempfile::tempfile().map(File::into).unwrap())
}

fn key(bind: &str) -> ListenerKey {
    ListenerKey {
        bind: bind.to_owned(),
        name: String::new(),
    }
}

fn number(descriptor: &Arc<OwnedFd>) -> u64 {
    inode(descriptor).unwrap()
}

fn sockets(all: &[&Arc<OwnedFd>]) -> Vec<(ListenerKey, usize, Arc<OwnedFd>)> {
    let all = all.iter().enumerate();
    all.map(|(slot, it)| (key("a"), slot, Arc::clone(it)))
        .collect()
}

fn state(all: &[&Arc<OwnedFd>]) -> Vec<Arc<OwnedFd>> {
    all.iter().map(|it| Arc::clone(it)).collect()
}

#[test]
fn sockets_and_state_are_stored_by_names_that_tell_what_they_are() {
    let (fake, now) = (Fake::default(), Instant::now());
    let mut store = Store::new(BTreeSet::new());
    let [socket, book, generation, pack] = [(); 4].map(|()| descriptor());
    let wanted = Wanted::new(sockets(&[&socket]), &state(&[&book, &generation, &pack]));
    store.want(wanted, now);
    assert_eq!(fake.settle(&mut store).len(), 4);
    let expected = [
        format!("book-{}", number(&book)),
        format!("generation-{}-{}", number(&generation), number(&pack)),
        format!("listener-{}-0-a-", number(&socket)),
        format!("pack-{}", number(&pack)),
    ];
    assert_eq!(fake.names(), expected);
    assert_eq!(store.stored().iter().cloned().collect::<Vec<_>>(), expected);
    assert_eq!(store.due(), None);
}

#[test]
fn what_is_new_is_stored_before_what_it_replaces_is_removed() {
    let (fake, now) = (Fake::default(), Instant::now());
    let mut store = Store::new(BTreeSet::new());
    let [socket, book, old, new, pack] = [(); 5].map(|()| descriptor());
    let before = Wanted::new(sockets(&[&socket]), &state(&[&book, &old, &pack]));
    store.want(before, now);
    fake.settle(&mut store);
    let bound_anew = descriptor();
    let after = Wanted::new(sockets(&[&bound_anew]), &state(&[&book, &new, &pack]));
    store.want(after, now);
    assert_eq!(
        fake.settle(&mut store),
        [
            format!(
                "FDSTORE=1\nFDNAME=generation-{}-{}",
                number(&new),
                number(&pack)
            ),
            format!("FDSTORE=1\nFDNAME=listener-{}-0-a-", number(&bound_anew)),
            format!(
                "FDSTOREREMOVE=1\nFDNAME=generation-{}-{}",
                number(&old),
                number(&pack)
            ),
            format!("FDSTOREREMOVE=1\nFDNAME=listener-{}-0-a-", number(&socket)),
        ]
    );
}

#[test]
fn what_was_kept_before_stays_until_the_supervisor_knows_what_it_wants() {
    let (fake, now) = (Fake::default(), Instant::now());
    let kept = BTreeSet::from(["book-1".to_owned()]);
    let mut store = Store::new(kept.clone());
    assert_eq!(store.due(), None);
    assert!(fake.settle(&mut store).is_empty());
    assert_eq!(store.stored(), &kept);
    store.want(Wanted::default(), now);
    assert_eq!(fake.settle(&mut store), ["FDSTOREREMOVE=1\nFDNAME=book-1"]);
}

#[test]
fn a_manager_that_takes_nothing_is_told_again_and_no_message_is_lost() {
    let (fake, now) = (Fake::default(), Instant::now());
    let mut store = Store::new(BTreeSet::new());
    let all: Vec<_> = (0..5).map(|_| descriptor()).collect();
    store.want(
        Wanted::new(sockets(&all.iter().collect::<Vec<_>>()), &[]),
        now,
    );
    fake.room.replace(2);
    store.turn(now, |message| fake.take(message));
    assert_eq!(fake.names().len(), 2);
    let due = store.due().unwrap();
    assert_eq!(due, now + RETRY);
    store.turn(now, |message| fake.take(message));
    assert_eq!(fake.names().len(), 2, "no message is tried before that");
    fake.settle(&mut store);
    assert_eq!(fake.names().len(), 5);
}

#[test]
fn more_sockets_than_a_manager_can_bear_are_not_stored() {
    let (fake, now) = (Fake::default(), Instant::now());
    let mut store = Store::new(BTreeSet::new());
    let one = descriptor();
    let all = (0..MOST_SOCKETS + 5).map(|slot| (key("a"), slot, Arc::clone(&one)));
    store.want(Wanted::new(all.collect(), &state(&[&one])), now);
    // A turn does not send all of it.
    fake.room.replace(usize::MAX);
    store.turn(now, |message| fake.take(message));
    assert_eq!(fake.names().len(), AT_ONCE);
    fake.settle(&mut store);
    assert_eq!(fake.names().len(), MOST_SOCKETS + 1);
}
