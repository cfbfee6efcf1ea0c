//! The places for sessions of a listener and of each of its clients, counted together with the other
//! workers.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{
    config::Limits,
    link::board::{Boards, ClientKeys, Counted, Held, ListenerNumber},
};

/// To how many clients at a time this worker explains that there is no place. Further clients are turned
/// away without a word, so that a flood of them does not use up descriptors.
const MOST_TOLD: usize = 64;

/// A listener's places.
#[derive(Debug)]
pub struct Places {
    /// The number by which boards name the listener.
    pub number: ListenerNumber,
    counting: Arc<Counting>,
    told: AtomicUsize,
}

/// What this worker counts sessions with.
#[derive(Debug)]
pub struct Counting {
    /// Its own board, and those of the other workers.
    pub boards: Arc<Boards>,
    /// Makes the keys by which boards name clients.
    pub keys: ClientKeys,
}

/// A guard that is held while a client is told that there is no place.
#[derive(Debug)]
pub struct Telling(Arc<Places>);

/// A place for one session, given back when this is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    held: Mutex<Vec<Held>>,
}

/// Why there is no place for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPlace {
    /// The listener has as many sessions as it may.
    Full,
    /// The client has as many sessions as the listener lets one have.
    ClientFull,
}

impl Places {
    /// Counts the sessions of a listener under this number.
    pub fn new(number: ListenerNumber, counting: Arc<Counting>) -> Self {
        Self {
            number,
            counting,
            told: AtomicUsize::new(0),
        }
    }

    /// Begins to tell a client that there is no place; `None` if too many are being told.
    pub fn tell(self: &Arc<Self>) -> Option<Telling> {
        let before = self.told.fetch_add(1, Ordering::Relaxed);
        // Dropped at once if there are too many.
        let telling = Telling(Arc::clone(self));
        Some(telling).filter(|_| before < MOST_TOLD)
    }

    /// Takes the places of a session again that another worker had counted, whatever the limits are now.
    pub fn retake(self: &Arc<Self>, client: Option<IpAddr>) -> Place {
        let place = Place {
            places: Arc::clone(self),
            held: Mutex::default(),
        };
        let Counting { boards, keys } = &*self.counting;
        place.keep(boards.hold(Counted::Listener(self.number)));
        if let Some(client) = client {
            place.keep(boards.hold(Counted::Client(keys.of(self.number, client))));
        }
        place
    }

    /// Takes a place for a session of `client`; without an address only the listener's limit holds.
    pub fn take(
        self: &Arc<Self>,
        client: Option<IpAddr>,
        limits: &Limits,
    ) -> Result<Place, NoPlace> {
        let place = Place {
            places: Arc::clone(self),
            held: Mutex::default(),
        };
        // First, so that a client that has enough sessions takes no place of the listener's, not even
        // for a moment.
        if let Some(client) = client {
            place.take_client(client, limits)?;
        }
        let listener = Counted::Listener(self.number);
        let held = self.counting.boards.take(listener, limits.max_connections);
        place.keep(held.ok_or(NoPlace::Full)?);
        Ok(place)
    }
}

impl Place {
    /// Counts the session as one of `client` too; if that has enough already, gives the place back.
    pub fn take_client(&self, client: IpAddr, limits: &Limits) -> Result<(), NoPlace> {
        if limits.per_client == 0 {
            return Ok(());
        }
        let Counting { boards, keys } = &*self.places.counting;
        let client = Counted::Client(keys.of(self.places.number, client));
        let Some(held) = boards.take(client, limits.per_client) else {
            self.with_held(Vec::clear);
            return Err(NoPlace::ClientFull);
        };
        self.keep(held);
        Ok(())
    }

    /// Returns the number by which the listener's sessions are counted, and whether this one is counted as its
    /// client's too.
    pub fn seat(&self) -> (ListenerNumber, bool) {
        let mut counts_client = false;
        self.with_held(|all| counts_client = all.len() > 1);
        (self.places.number, counts_client)
    }

    /// Counts the session among those that end with this worker, until the guard is dropped.
    pub fn unkept(&self) -> Held {
        self.places.counting.boards.unkept()
    }

    fn keep(&self, held: Held) {
        self.with_held(|all| all.push(held));
    }

    /// Locks what is held, which only the worker's one thread uses, so this never waits.
    fn with_held(&self, change: impl FnOnce(&mut Vec<Held>)) {
        change(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.0.told.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::board::{Board, ClientSecret};

    fn places() -> Arc<Places> {
        let board = Board::new().unwrap();
        let counting = Counting {
            boards: Arc::new(Boards::new(board.descriptor()).unwrap()),
            keys: ClientKeys::new(&ClientSecret::new().unwrap()),
        };
        let number = ListenerNumber::at(0).unwrap();
        Arc::new(Places::new(number, Arc::new(counting)))
    }

    fn limits(max_connections: u32, per_client: u32) -> Limits {
        Limits {
            max_connections,
            per_client,
            ..Limits::default()
        }
    }

    fn ip(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn a_client_that_has_enough_sessions_takes_no_place_of_others() {
        let (places, limits) = (places(), limits(3, 2));
        let take = |last| places.take(Some(ip(last)), &limits);
        let mine = [take(1).unwrap(), take(1).unwrap()];
        assert_eq!(take(1).err(), Some(NoPlace::ClientFull));
        let others = take(2).unwrap();
        assert_eq!(take(3).err(), Some(NoPlace::Full));
        drop(others);
        drop(mine);
        let _three = [3, 1, 1].map(|last| take(last).unwrap());
        assert_eq!(take(4).err(), Some(NoPlace::Full));
    }

    #[test]
    fn a_client_that_is_known_late_gives_its_place_back_if_it_has_enough_sessions() {
        let (places, limits) = (places(), limits(2, 1));
        let first = places.take(None, &limits).unwrap();
        let late = places.take(None, &limits).unwrap();
        let client = ip(1);
        first.take_client(client, &limits).unwrap();
        assert_eq!(late.take_client(client, &limits), Err(NoPlace::ClientFull));
        assert!(places.take(None, &limits).is_ok(), "its place is free");
    }

    #[test]
    fn clients_without_an_address_and_without_a_limit_are_not_bounded() {
        let places = places();
        let unix: Vec<_> = (0..3).map(|_| places.take(None, &limits(9, 1))).collect();
        assert!(unix.iter().all(Result::is_ok));
        let free: Vec<_> = (0..3)
            .map(|_| places.take(Some(ip(1)), &limits(9, 0)))
            .collect();
        assert!(free.iter().all(Result::is_ok));
    }

    #[test]
    fn only_so_many_clients_are_told_at_a_time() {
        let places = places();
        let told: Vec<_> = (0..=MOST_TOLD).map(|_| places.tell()).collect();
        assert_eq!(told.iter().flatten().count(), MOST_TOLD);
        drop(told);
        assert!(places.tell().is_some());
    }
}
