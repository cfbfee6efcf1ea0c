//! Keeps the book and the generation in memory that outlives the supervisor.

use std::{
    io,
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tracing::warn;

use super::{Book, generation};
use crate::{facts::PROGRAM_VERSION, link::Generation, session::record, sys::rewritten::Rewritten};

/// The longest book, in bytes: with the counts of thousands of listeners.
const MOST: usize = 16 << 20;

/// The shortest time between two books of which only counts differ.
const BETWEEN_COUNTS: Duration = Duration::from_millis(100);

/// Of the time of one processor, how little books are to take of which only counts differ: one part in so many.
const SHARE: u32 = 500;

/// A generation that was written down, or could not be.
#[derive(Debug)]
pub(in crate::supervisor) struct Message(Arc<Generation>, io::Result<Arc<OwnedFd>>);

/// What of the supervisor's state is written down at once when it changes; all else are counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::supervisor) struct Stamp {
    /// The generation in force.
    pub(in crate::supervisor) generation: u64,
    /// When the last load found something wrong.
    pub(in crate::supervisor) last_error: Option<Timestamp>,
    /// The last event.
    pub(in crate::supervisor) events: u64,
    /// When the exit-failure command ended last.
    pub(in crate::supervisor) hook: Option<Timestamp>,
    /// Changes of workers and of what they are handed.
    pub(in crate::supervisor) workers: u64,
}

/// The book and the generation in force, in memory that outlives the supervisor.
#[derive(Debug)]
pub(in crate::supervisor) struct State {
    reign: u64,
    /// `None` if there is no memory for it.
    book: Option<Rewritten>,
    written: Stamp,
    written_at: Instant,
    /// How long the last book took.
    took: Duration,
    has_new_counts: bool,
    /// The newest generation that was written down, and its packs.
    generation: Option<(Arc<Generation>, Arc<OwnedFd>)>,
    has_warned: bool,
    inbox: mpsc::UnboundedSender<Message>,
}

impl State {
    /// Begins the book of a supervisor that began at `started_at`, after the one whose book had the number `before`, 0 if
    /// there was none. Takes a descriptor; if there is none left, warns that the next supervisor will know nothing.
    pub(in crate::supervisor) fn begin(
        before: u64,
        started_at: Timestamp,
        inbox: mpsc::UnboundedSender<Message>,
    ) -> Self {
        let now = u64::try_from(started_at.as_microsecond()).unwrap_or(0);
        let book = Rewritten::new("proxyd-book", MOST);
        let book = book.map_err(|error| {
            warn!("the supervisor cannot keep its state for the next supervisor: {error}");
        });
        Self {
            reign: now.max(before.saturating_add(1)),
            book: book.ok(),
            written: Stamp::default(),
            written_at: Instant::now(),
            took: Duration::ZERO,
            has_new_counts: true,
            generation: None,
            has_warned: false,
            inbox,
        }
    }

    /// Notes that counts may have changed.
    pub(in crate::supervisor) fn count(&mut self) {
        self.has_new_counts = true;
    }

    /// Returns when the book is to be written because of counts.
    pub(in crate::supervisor) fn due(&self) -> Option<Instant> {
        let pause = BETWEEN_COUNTS.max(self.took * SHARE);
        self.has_new_counts.then(|| self.written_at + pause)
    }

    /// Returns whether the book is to be written at `now`.
    pub(in crate::supervisor) fn is_due(&self, stamp: Stamp, now: Instant) -> bool {
        stamp != self.written || self.due().is_some_and(|due| due <= now)
    }

    /// Writes the book, which says of itself by whom it is. If there is no room for it, the one before stays, and that is
    /// warned of once.
    pub(in crate::supervisor) fn write(&mut self, stamp: Stamp, mut book: Book) {
        let began = Instant::now();
        book.reign = self.reign;
        PROGRAM_VERSION.clone_into(&mut book.program);
        book.record_version = record::VERSION;
        book.pid = std::process::id();
        let written = self.book.as_mut().map_or(Ok(()), |memory| {
            memory.rewrite(|room| {
                book.encode(room).or_else(|_| {
                    // Counts of many listeners by many workers can be that long.
                    let living = book.workers.living.iter_mut();
                    living.for_each(|it| it.counts.clear());
                    book.encode(room)
                })
            })
        });
        if let Err(error) = written
            && !std::mem::replace(&mut self.has_warned, true)
        {
            warn!(
                "what the next supervisor is to know cannot be written down, so that it knows less: {error}; this \
                 is logged once"
            );
        }
        self.written = stamp;
        self.has_new_counts = false;
        self.written_at = Instant::now();
        self.took = began.elapsed();
    }

    /// Writes a generation down that has come into force, on another thread; [`Self::take`] is told.
    pub(in crate::supervisor) fn commit(&self, generation: Arc<Generation>) {
        let (inbox, reign) = (self.inbox.clone(), self.reign);
        tokio::task::spawn_blocking(move || {
            let written = generation::write(&generation, reign);
            let _ = inbox.send(Message(generation, written));
        });
    }

    /// Takes a generation that was written down; returns whether [`Self::descriptors`] has changed. If it could not be
    /// written down, warns, and the one before stays.
    pub(in crate::supervisor) fn take(&mut self, Message(generation, written): Message) -> bool {
        let before = self.generation.as_ref().map_or(0, |(it, _)| it.number);
        match written {
            // Two are written at the same time.
            Ok(_) if generation.number < before => false,
            Ok(file) => {
                self.generation = Some((generation, file));
                true
            }
            Err(error) => {
                let number = generation.number;
                warn!(
                    "generation {number} cannot be written down for the next supervisor, which goes on with an \
                     earlier one if the disk is broken by then: {error}"
                );
                false
            }
        }
    }

    /// Returns what the next supervisor is to get: the descriptors of the book, of the generation and of its packs, in this
    /// order; none as long as no generation is written down.
    pub(in crate::supervisor) fn descriptors(&self) -> Vec<Arc<OwnedFd>> {
        let Some((book, (generation, file))) = self.book.as_ref().zip(self.generation.as_ref())
        else {
            return Vec::new();
        };
        let own = [book.descriptor(), Arc::clone(file)];
        let packs = generation.packs.descriptors();
        own.into_iter().chain(packs).collect()
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::geteuid;

    use super::*;
    use crate::{sys::rewritten, tls::testing};

    fn state(before: u64, second: i64) -> State {
        let started_at = Timestamp::from_second(second).unwrap();
        State::begin(before, started_at, mpsc::unbounded_channel().0)
    }

    fn read(state: &State) -> Book {
        let file = state.book.as_ref().unwrap().descriptor();
        let bytes = rewritten::read(&*file, geteuid().as_raw()).unwrap();
        Book::decode(&bytes).unwrap()
    }

    #[test]
    fn a_supervisor_has_a_higher_number_than_the_one_before_though_the_clock_is_set_back() {
        assert_eq!(state(0, 5).reign, 5_000_000);
        assert_eq!(state(4_000_000, 5).reign, 5_000_000);
        assert_eq!(state(7_000_000, 5).reign, 7_000_001);
        let mut state = state(0, 5);
        state.write(Stamp::default(), Book::default());
        let book = read(&state);
        assert_eq!((book.reign, book.pid), (5_000_000, std::process::id()));
    }

    #[test]
    fn counts_wait_and_all_else_is_written_at_once() {
        let mut state = state(0, 5);
        let now = Instant::now();
        let stamp = Stamp {
            events: 1,
            ..Stamp::default()
        };
        assert!(state.is_due(stamp, now));
        state.write(stamp, Book::default());
        state.took = Duration::from_millis(1);
        assert!(state.due().is_none() && !state.is_due(stamp, now + BETWEEN_COUNTS * 1000));
        state.count();
        let due = state.due().unwrap();
        assert!(!state.is_due(stamp, now) && state.is_due(stamp, due));
        assert_eq!(due, state.written_at + state.took * SHARE);
        let other = Stamp { events: 2, ..stamp };
        assert!(state.is_due(other, now));
    }

    #[test]
    fn what_is_left_has_the_newest_generation_that_could_be_written() {
        let generation = |number| {
            let material = crate::tls::Material {
                identities: vec![testing::any_identity("one")],
                listeners: vec![],
                system_roots: vec![],
            };
            Arc::new(Generation {
                number,
                loaded_at: Timestamp::UNIX_EPOCH,
                trigger: crate::facts::Trigger::Start,
                config: Arc::new(testing::config(vec![])),
                packs: crate::link::Packs::default().next(&material).unwrap(),
                material,
            })
        };
        let written = |number| {
            let generation = generation(number);
            let file = generation::write(&generation, 1);
            Message(generation, file)
        };
        let mut state = state(0, 5);
        assert_eq!(state.descriptors().len(), 0);
        let has = |state: &State| state.generation.as_ref().unwrap().0.number;
        assert!(state.take(written(2)) && has(&state) == 2);
        assert_eq!(state.descriptors().len(), 3);
        assert!(!state.take(written(1)) && has(&state) == 2);
        let failed = Message(generation(3), Err(io::ErrorKind::OutOfMemory.into()));
        assert!(!state.take(failed) && has(&state) == 2);
        assert!(state.take(written(4)) && has(&state) == 4);
    }
}
