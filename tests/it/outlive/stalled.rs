//! Sessions of which one side says more than all buffers take, and the other does not listen yet.

use std::{
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use socket2::SockRef;

use super::{end::End, numbered::Numbered, talk::Talk};
use crate::support::until;

/// How many bytes are said at least.
const MUCH: u64 = 10 << 20;

/// More bytes than the buffers of all sockets on the way take, as far as the kernel lets them grow (`tcp_rmem`).
const MOST: u64 = 128 << 20;

/// What is said at once.
const CHUNK: usize = 64 * 1024;

/// The buffers of a test's own sockets.
const BUFFER: usize = 256 * 1024;

/// For how long nothing moves before all buffers count as full.
const STILL: Duration = Duration::from_millis(100);

/// Which side speaks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// The client does.
    Up,
    /// The backend does.
    Down,
}

/// Such a session.
pub(super) struct Stalled {
    name: String,
    said: Arc<AtomicU64>,
    /// All buffers on the way are full.
    filled: Arc<AtomicBool>,
    speaker: JoinHandle<End>,
    speaker_ear: End,
    listener: End,
    heard: Numbered,
    answer_said: Numbered,
    answer_heard: Numbered,
}

impl Stalled {
    /// Has one side of a session begin to speak.
    pub(super) fn start(talk: Talk, way: Way) -> Self {
        let (mut from, to, flow, answer) = match way {
            Way::Up => (talk.client, talk.backend, talk.up, talk.down),
            Way::Down => (talk.backend, talk.client, talk.down, talk.up),
        };
        for end in [&from, &to] {
            let socket = SockRef::from(socket_of(end));
            socket.set_recv_buffer_size(BUFFER).unwrap();
            socket.set_send_buffer_size(BUFFER).unwrap();
        }
        let said = Arc::<AtomicU64>::default();
        let noted = Arc::clone(&said);
        let filled = Arc::<AtomicBool>::default();
        let is_filled = Arc::clone(&filled);
        let speaker_ear = from.hearing_half();
        let speaker = thread::spawn(move || {
            let mut words = flow.said;
            let is_enough = |at: u64| at >= MUCH && is_filled.load(Ordering::Relaxed);
            while !is_enough(words.at()) && words.at() < MOST {
                from.say(&words.take(CHUNK)).unwrap();
                noted.store(words.at(), Ordering::Relaxed);
            }
            from.finish().unwrap();
            from
        });
        Self {
            name: talk.name,
            said,
            filled,
            speaker,
            speaker_ear,
            listener: to,
            heard: flow.heard,
            answer_said: answer.said,
            answer_heard: answer.heard,
        }
    }

    /// Waits until all buffers on the way are full.
    #[track_caller]
    pub(super) fn await_full(&self) {
        let mut last = (0, Instant::now());
        until("nothing moves any more", || {
            let now = self.said.load(Ordering::Relaxed);
            if now != last.0 {
                last = (now, Instant::now());
            }
            last.1.elapsed() > STILL
        });
        assert!(!self.speaker.is_finished(), "{}: it all fits", self.name);
        self.filled.store(true, Ordering::Relaxed);
    }

    /// Sees that the other direction works meanwhile.
    #[track_caller]
    pub(super) fn answers(&mut self) {
        self.listener.say(&self.answer_said.take(1000)).unwrap();
        while self.answer_heard.at() < self.answer_said.at() {
            let words = self.speaker_ear.hear().unwrap();
            assert!(!words.is_empty(), "{}: an end", self.name);
            self.answer_heard.check(&words).unwrap();
        }
    }

    /// Hears about so much.
    #[track_caller]
    pub(super) fn hears_some(&mut self, bytes: u64) {
        let enough = self.heard.at() + bytes;
        while self.heard.at() < enough {
            let words = self.listener.hear().unwrap();
            assert!(!words.is_empty(), "{}: an end", self.name);
            self.heard
                .check(&words)
                .unwrap_or_else(|wrong| panic!("{}: {wrong}", self.name));
        }
    }

    /// Hears as much as it takes for the other side to have said all, and that it is done.
    #[track_caller]
    pub(super) fn hears_until_all_is_said(&mut self) {
        while !self.speaker.is_finished() {
            self.hears_some(1);
        }
    }

    /// Hears all that was said and the end behind it, and ends the other direction.
    #[track_caller]
    pub(super) fn hears_all(mut self) {
        loop {
            let words = self.listener.hear();
            let words = words.unwrap_or_else(|error| panic!("{}: {error}", self.name));
            if words.is_empty() {
                break;
            }
            self.heard
                .check(&words)
                .unwrap_or_else(|wrong| panic!("{}: {wrong}", self.name));
        }
        let _from = self.speaker.join().unwrap();
        let said = self.said.load(Ordering::Relaxed);
        assert_eq!(self.heard.at(), said, "{}: not all came", self.name);
        self.listener.finish().unwrap();
        assert_eq!(self.speaker_ear.hear().unwrap(), b"", "{}", self.name);
    }
}

fn socket_of(end: &End) -> &TcpStream {
    match end {
        End::Plain(socket) => socket,
        End::Tls(raw) => &raw.socket,
    }
}
