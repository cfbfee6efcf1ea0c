//! The newest events, for clients that ask once and clients that follow.

use std::{collections::VecDeque, sync::Arc};

use jiff::Timestamp;

use crate::{
    control::{Event, EventKind, Response, server::Reply},
    facts::shortened,
    supervisor::state::EventsBook,
};

/// How many events are remembered.
const REMEMBERED: usize = 1024;

/// The newest events and the clients that follow them.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct Events {
    last: u64,
    newest: VecDeque<Arc<Event>>,
    followers: Vec<Reply>,
}

impl Events {
    /// Goes on after the events of an earlier supervisor.
    pub(super) fn resume(book: EventsBook) -> Self {
        let newest = book.newest.last().map_or(0, |it| it.seq);
        let older = book.newest.len().saturating_sub(REMEMBERED);
        Self {
            last: book.last.max(newest),
            newest: book.newest.into_iter().skip(older).collect(),
            followers: Vec::new(),
        }
    }

    /// Writes them down for the next supervisor.
    pub(super) fn bequeath(&self) -> EventsBook {
        EventsBook {
            last: self.last,
            newest: self.newest.iter().cloned().collect(),
        }
    }

    /// Returns the number of the last event; 0 before the first.
    pub(in crate::supervisor) fn last(&self) -> u64 {
        self.last
    }

    /// Remembers an event, and sends it to the clients that follow.
    pub(in crate::supervisor) fn add(&mut self, kind: EventKind, message: String) {
        self.last += 1;
        let event = Arc::new(Event {
            seq: self.last,
            at: Timestamp::now(),
            kind,
            message,
        });
        self.followers
            .retain(|follower| follower.push(told(&event)).is_ok());
        if self.newest.len() == REMEMBERED {
            self.newest.pop_front();
        }
        self.newest.push_back(event);
    }

    /// Returns the remembered events behind the one of this number, the oldest first, each with so many characters of its
    /// message at most.
    pub(in crate::supervisor) fn after(&self, number: u64, most: usize) -> Vec<Event> {
        let newer = self.newest.iter().filter(|it| it.seq > number);
        let told = newer.map(|it| Event {
            message: shortened(&it.message, most),
            ..Event::clone(it)
        });
        told.collect()
    }

    /// Waits until the clients that follow have received all events.
    pub(in crate::supervisor) async fn finish(&mut self) {
        let followers = std::mem::take(&mut self.followers).into_iter();
        let ends = followers.map(|follower| async move {
            // A client that has gone needs no events.
            let _ = follower.deliver(Response::End).await;
        });
        futures_util::future::join_all(ends).await;
    }

    /// Sends `reply` the remembered events, and with `follow` the later ones as they happen.
    pub(in crate::supervisor) fn tell(&mut self, reply: Reply, follow: bool) {
        for event in &self.newest {
            if reply.push(told(event)).is_err() {
                return;
            }
        }
        if follow {
            self.followers.retain(|follower| !follower.is_gone());
            self.followers.push(reply);
        } else {
            reply.answer(Response::End);
        }
    }
}

fn told(event: &Arc<Event>) -> Response {
    Response::Event(Event::clone(event))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_supervisor_goes_on_with_the_numbers_and_the_newest_events() {
        let mut events = Events::default();
        for _ in 0..=REMEMBERED {
            events.add(EventKind::Reloaded, "loaded".to_owned());
        }
        let mut next = Events::resume(events.bequeath());
        next.add(EventKind::Started, "again".to_owned());
        let numbers: Vec<u64> = next.newest.iter().map(|it| it.seq).collect();
        let last = REMEMBERED as u64 + 2;
        assert!(numbers.into_iter().eq(3..=last));
        let forgotten = EventsBook {
            last: 7,
            newest: vec![],
        };
        let mut next = Events::resume(forgotten);
        next.add(EventKind::Started, "again".to_owned());
        assert_eq!(next.last(), 8);
    }

    #[test]
    fn what_is_new_is_told_without_what_is_known() {
        let mut events = Events::default();
        for message in ["one", "two", "three"] {
            events.add(EventKind::Reloaded, message.to_owned());
        }
        let told = |after| {
            let events = events.after(after, 3).into_iter();
            events.map(|it| it.message).collect::<Vec<_>>()
        };
        assert_eq!(told(0), ["one", "two", "th…"]);
        assert_eq!(told(2), ["th…"]);
        assert!(told(3).is_empty());
    }
}
