//! A session of which a test holds both ends, and every byte of which is checked.

use super::{end::End, numbered::Numbered};
use crate::support::{raw_tls::UPDATE_BOTH, until};

/// A session, and how far each of its directions has come.
pub(super) struct Talk {
    /// What kind of session it is.
    pub(super) name: String,
    /// The client's end.
    pub(super) client: End,
    /// The backend's end.
    pub(super) backend: End,
    /// From the client to the backend.
    pub(super) up: Flow,
    /// From the backend to the client.
    pub(super) down: Flow,
}

/// One direction of a session.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    /// What was said.
    pub(super) said: Numbered,
    /// What was heard of it.
    pub(super) heard: Numbered,
}

impl Flow {
    fn new(seed: u64) -> Self {
        let stream = Numbered::new(seed);
        Self {
            said: stream.clone(),
            heard: stream,
        }
    }
}

impl Talk {
    /// Returns a session with this number among those of a test, in which nothing was said yet.
    pub(super) fn new(name: String, number: usize, client: End, backend: End) -> Self {
        let seed = (number as u64 + 1) << 40;
        Self {
            name,
            client,
            backend,
            up: Flow::new(seed),
            down: Flow::new(!seed),
        }
    }

    /// Says so much to the backend, where it comes whole.
    #[track_caller]
    pub(super) fn up(&mut self, length: usize) {
        self.client_says(length);
        self.backend_hears_all();
    }

    /// Says so much to the client, where it comes whole.
    #[track_caller]
    pub(super) fn down(&mut self, length: usize) {
        self.backend_says(length);
        self.client_hears_all();
    }

    /// Says so much to the backend, and does not wait for it to come.
    #[track_caller]
    pub(super) fn client_says(&mut self, length: usize) {
        let words = self.up.said.take(length);
        self.client
            .say(&words)
            .unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// Says so much to the client, and does not wait for it to come.
    #[track_caller]
    pub(super) fn backend_says(&mut self, length: usize) {
        let words = self.down.said.take(length);
        self.backend
            .say(&words)
            .unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// Says something each way.
    #[track_caller]
    pub(super) fn exchange(&mut self) {
        self.up(20_000);
        self.down(30_000);
    }

    /// Sees that all that was said to the backend comes there.
    #[track_caller]
    pub(super) fn backend_hears_all(&mut self) {
        hear_all(&mut self.backend, &mut self.up, &self.name);
    }

    /// Sees that all that was said to the client comes there.
    #[track_caller]
    pub(super) fn client_hears_all(&mut self) {
        hear_all(&mut self.client, &mut self.down, &self.name);
    }

    /// Has each end with TLS 1.3 change its keys, and ask the daemon for the same.
    #[track_caller]
    pub(super) fn change_keys(&mut self) {
        for end in [&mut self.client, &mut self.backend] {
            if let Some(raw) = end.tls13() {
                raw.update(UPDATE_BOTH).unwrap();
            }
        }
        let before = self.updates();
        let asked =
            [&mut self.client, &mut self.backend].map(|end| usize::from(end.tls13().is_some()));
        let after = [before[0] + asked[0], before[1] + asked[1]];
        // What was on its way already comes before the daemon's own change.
        until("the daemon has changed its keys", || {
            self.exchange();
            self.updates() == after
        });
    }

    fn updates(&mut self) -> [usize; 2] {
        [&mut self.client, &mut self.backend].map(|end| end.tls13().map_or(0, |raw| raw.updates))
    }

    /// Sees that the backend hears that the client is done.
    #[track_caller]
    pub(super) fn backend_hears_end(&mut self) {
        hears_end(&mut self.backend, &self.name);
    }

    /// Has the client say that it is done, which the backend hears.
    #[track_caller]
    pub(super) fn client_finishes(&mut self) {
        self.client
            .finish()
            .unwrap_or_else(|error| panic!("{}: {error}", self.name));
        hears_end(&mut self.backend, &self.name);
    }

    /// Has the backend say that it is done, which the client hears.
    #[track_caller]
    pub(super) fn backend_finishes(&mut self) {
        self.backend
            .finish()
            .unwrap_or_else(|error| panic!("{}: {error}", self.name));
        hears_end(&mut self.client, &self.name);
    }

    /// Ends it as it should be ended; not one byte more may come.
    #[track_caller]
    pub(super) fn finish(mut self) {
        self.client_finishes();
        self.backend_finishes();
    }
}

#[track_caller]
fn hear_all(end: &mut End, flow: &mut Flow, name: &str) {
    while flow.heard.at() < flow.said.at() {
        let (heard, said) = (flow.heard.at(), flow.said.at());
        let words = match end.hear() {
            Ok(words) if !words.is_empty() => words,
            other => panic!("{name}: after {heard} bytes of {said}: {other:?}"),
        };
        flow.heard
            .check(&words)
            .unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
    }
}

#[track_caller]
fn hears_end(end: &mut End, name: &str) {
    match end.hear() {
        Ok(words) if words.is_empty() => {}
        Ok(words) => panic!("{name}: {} bytes too many", words.len()),
        Err(error) => panic!("{name}: no clean end but {error}"),
    }
}
