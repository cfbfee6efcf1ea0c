//! How sessions go on: what each direction has carried, and how long it stood still.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// What a session does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    /// Both sides speak all the time.
    Busy,
    /// The backend says as much as it can, and the client reads slowly.
    SlowClient,
    /// The client says as much as it can, and the backend reads slowly.
    SlowBackend,
    /// The client has said that it is done, and the backend speaks all the time.
    ClientDone,
    /// The backend has said that it is done, and the client speaks all the time.
    BackendDone,
    /// Nothing is said between the first word and the last.
    Idle,
}

/// A direction of a session.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// From the client to the backend.
    Up,
    /// From the backend to the client.
    Down,
}

impl Role {
    /// Whether this direction of it carries something all the time, so that it can be seen to stand still.
    fn flows(self, way: Way) -> bool {
        match (self, way) {
            (Self::Busy, _) | (Self::ClientDone, Way::Down) | (Self::BackendDone, Way::Up) => true,
            (Self::SlowClient | Self::SlowBackend | Self::Idle, _)
            | (Self::ClientDone, Way::Up)
            | (Self::BackendDone, Way::Down) => false,
        }
    }
}

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// Bytes said so far; all of them once it is done.
    pub(super) said: AtomicU64,
    /// Whether its speaker is done.
    pub(super) done: AtomicBool,
    heard: AtomicU64,
    /// When something was heard last, in nanoseconds since the sessions began.
    last: AtomicU64,
    /// The longest time in which nothing was heard, in nanoseconds.
    longest: AtomicU64,
}

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    /// What it does.
    pub(super) role: Role,
    /// From the client to the backend.
    pub(super) up: Pulse,
    /// From the backend to the client.
    pub(super) down: Pulse,
    is_lost: AtomicBool,
}

/// All sessions of a measure.
#[derive(Debug)]
pub(super) struct Board {
    /// They, by number.
    pub(super) sessions: Vec<Session>,
    began: Instant,
    lost: Mutex<Vec<String>>,
}

impl Board {
    /// Returns one for sessions with these roles.
    pub(super) fn new(roles: &[Role]) -> Self {
        let session = |role: &Role| Session {
            role: *role,
            up: Pulse::default(),
            down: Pulse::default(),
            is_lost: AtomicBool::new(false),
        };
        Self {
            sessions: roles.iter().map(session).collect(),
            began: Instant::now(),
            lost: Mutex::default(),
        }
    }

    /// Notes that so many bytes were heard in all.
    pub(super) fn heard(&self, pulse: &Pulse, bytes: u64) {
        let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let last = pulse.last.swap(now, Ordering::Relaxed);
        pulse.longest.fetch_max(now - last, Ordering::Relaxed);
        pulse.heard.store(bytes, Ordering::Relaxed);
    }

    /// Notes that a session was lost.
    pub(super) fn lose(&self, number: usize, why: &str) {
        let session = &self.sessions[number];
        // Both of its ends may notice.
        if session.is_lost.swap(true, Ordering::Relaxed) {
            return;
        }
        let why = format!("session {number} ({:?}): {why}", session.role);
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.push(why);
    }

    /// Returns why sessions were lost.
    pub(super) fn lost(&self) -> Vec<String> {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.clone()
    }

    /// Returns how much each direction has carried that carries something all the time.
    pub(super) fn progress(&self) -> Vec<u64> {
        self.flowing().map(|(_, pulse)| heard(pulse)).collect()
    }

    /// Returns whether each of them has carried more since then, but for those of lost sessions.
    pub(super) fn has_moved(&self, before: &[u64]) -> bool {
        let mut now = self.flowing().zip(before);
        now.all(|((session, pulse), before)| {
            heard(pulse) > *before || session.is_lost.load(Ordering::Relaxed)
        })
    }

    /// Returns whether the first word of every session has come, both ways, but for lost sessions.
    pub(super) fn has_begun(&self) -> bool {
        self.sessions.iter().all(|it| {
            heard(&it.up) > 0 && heard(&it.down) > 0 || it.is_lost.load(Ordering::Relaxed)
        })
    }

    /// Returns the longest time in which any of those stood still since this was asked last.
    pub(super) fn longest_gap(&self) -> Duration {
        let flowing = self.flowing();
        let longest = flowing.map(|(_, pulse)| pulse.longest.swap(0, Ordering::Relaxed));
        Duration::from_nanos(longest.max().unwrap_or_default())
    }

    fn flowing(&self) -> impl Iterator<Item = (&Session, &Pulse)> {
        self.sessions.iter().flat_map(|it| {
            let ways = [(Way::Up, &it.up), (Way::Down, &it.down)];
            let flowing = ways.into_iter().filter(|(way, _)| it.role.flows(*way));
            flowing.map(move |(_, pulse)| (it, pulse))
        })
    }
}

fn heard(pulse: &Pulse) -> u64 {
    pulse.heard.load(Ordering::Relaxed)
}
