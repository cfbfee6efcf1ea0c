//! The newest events, for clients that ask once and clients that follow.

use std::collections::VecDeque;

use jiff::Timestamp;

use crate::control::{Event, EventKind, Response, server::Reply};

/// How many events are remembered.
const REMEMBERED: usize = 1024;

/// The newest events and the clients that follow them.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct Events {
    last: u64,
    newest: VecDeque<Event>,
    followers: Vec<Reply>,
}

impl Events {
    /// Remembers an event, and sends it to the clients that follow.
    pub(in crate::supervisor) fn add(&mut self, kind: EventKind, message: String) {
        self.last += 1;
        let event = Event {
            seq: self.last,
            at: Timestamp::now(),
            kind,
            message,
        };
        self.followers
            .retain(|follower| follower.push(Response::Event(event.clone())).is_ok());
        if self.newest.len() == REMEMBERED {
            self.newest.pop_front();
        }
        self.newest.push_back(event);
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
            if reply.push(Response::Event(event.clone())).is_err() {
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
