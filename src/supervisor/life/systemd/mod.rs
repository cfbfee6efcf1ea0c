//! Messages to the service manager (`sd_notify(3)`): that the daemon serves, reloads or stops, a summary
//! of its state, and that its loop turns.
//!
//! [`talk`] decides what to send and when, and [`store`] which descriptors the service manager is to keep. This module
//! sends it without ever waiting, and sends again what could not be sent.

mod socket;
mod store;
mod summary;
mod talk;

use std::{
    collections::BTreeSet,
    ffi::OsString,
    io,
    os::fd::{AsFd as _, BorrowedFd},
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

use self::{
    socket::Socket,
    store::{Message, Store},
    talk::{Phase, Talk},
};
use crate::sys::passed;

pub(in crate::supervisor) use self::{
    store::{Name, Wanted, What, inode},
    summary::{State, Summary},
};

/// The environment variables that are for this process alone: a command that inherited them could send
/// messages in the daemon's name, or take descriptors for its own.
pub(in crate::supervisor) const VARIABLES: [&str; 6] = {
    let [pid, count, names] = passed::VARIABLES;
    [
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        pid,
        count,
        names,
    ]
};

/// A socket for messages to the service manager.
pub(in crate::supervisor) trait Send {
    /// Sends one message, or fails at once if it would have to wait.
    fn send(&self, message: &[u8]) -> io::Result<()>;

    /// The same, with a descriptor that belongs to the message.
    fn send_with(&self, message: &[u8], descriptor: BorrowedFd<'_>) -> io::Result<()>;
}

/// The service manager, if one started this process and takes messages.
#[derive(Debug)]
pub(in crate::supervisor) struct ServiceManager<S = Socket>(Option<Listening<S>>);

#[derive(Debug)]
struct Listening<S> {
    socket: S,
    talk: Talk,
    store: Store,
}

impl ServiceManager {
    /// Returns the service manager that the environment variables of this process name. It keeps descriptors of an
    /// earlier supervisor under these names.
    pub(in crate::supervisor) fn new(
        variable: impl Fn(&str) -> Option<OsString>,
        stored: BTreeSet<String>,
    ) -> Self {
        let socket = variable("NOTIFY_SOCKET").and_then(|address| Socket::new(&address));
        let watchdog = watchdog_timeout(&variable, std::process::id());
        Self(socket.map(|socket| Listening::new(socket, (watchdog, stored), Instant::now())))
    }
}

impl<S: Send> ServiceManager<S> {
    /// Notes that the daemon serves.
    pub(in crate::supervisor) fn ready(&mut self) {
        self.enter(Phase::Ready);
    }

    /// Notes that a reload begins for which an operator has asked.
    pub(in crate::supervisor) fn reloading(&mut self) {
        let now = clock_gettime(ClockId::Monotonic);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        let micros = u64::try_from(now.tv_nsec / 1000).unwrap_or_default();
        self.enter(Phase::Reloading {
            monotonic_usec: seconds * 1_000_000 + micros,
        });
    }

    /// Notes that the reload is over, whether or not it succeeded.
    pub(in crate::supervisor) fn reloaded(&mut self) {
        if let Some(listening) = &mut self.0 {
            listening.talk.reloaded();
        }
    }

    /// Notes that the daemon ends: `within` that time if it waits for sessions, otherwise at once.
    pub(in crate::supervisor) fn stopping(&mut self, within: Option<Duration>, now: Instant) {
        if let Some(listening) = &mut self.0 {
            listening.talk.stop(within.map(|within| now + within), now);
        }
    }

    /// Has the service manager wait for so long for the next sign of life, if it waits for any; `None` is as long as it was
    /// configured to.
    pub(in crate::supervisor) fn wait_for_life(&self, within: Option<Duration>) {
        let Some(listening) = &self.0 else { return };
        let Some(usual) = listening.talk.watchdog_timeout() else {
            return;
        };
        let micros = within.unwrap_or(usual).as_micros();
        let message = format!("WATCHDOG=1\nWATCHDOG_USEC={micros}");
        // If it is lost, the time stays what it is, and the next sign of life comes in time for either.
        let _ = listening.socket.send(message.as_bytes());
    }

    /// Whether a new [`Summary`] is due: there is a service manager, and the last summary is old enough.
    pub(in crate::supervisor) fn wants_report(&self, now: Instant) -> bool {
        self.0
            .as_ref()
            .is_some_and(|listening| listening.talk.wants_report(now))
    }

    /// Takes a summary, which is sent if it differs from the one sent last.
    pub(in crate::supervisor) fn report(&mut self, summary: &Summary, now: Instant) {
        if let Some(listening) = &mut self.0 {
            listening.talk.report(summary.to_string(), now);
        }
    }

    /// Has the service manager keep these descriptors from now on, and close others that it keeps.
    pub(in crate::supervisor) fn keep(&mut self, wanted: Wanted, now: Instant) {
        if let Some(listening) = &mut self.0 {
            listening.store.want(wanted, now);
        }
    }

    /// Whether there is a service manager that may keep descriptors.
    pub(in crate::supervisor) fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the names of the descriptors that the service manager keeps.
    pub(in crate::supervisor) fn stored(&self) -> BTreeSet<String> {
        let listening = self.0.as_ref();
        listening.map_or_else(BTreeSet::new, |it| it.store.stored().clone())
    }

    /// Returns when [`Self::turn`] has something to do.
    pub(in crate::supervisor) fn due(&self) -> Option<Instant> {
        let listening = self.0.as_ref()?;
        let all = [listening.talk.due(), listening.store.due()];
        all.into_iter().flatten().min()
    }

    /// Sends what is due. This feeds the watchdog, so the loop calls it each time it turns, and no other
    /// code may.
    pub(in crate::supervisor) fn turn(&mut self, now: Instant) {
        if let Some(listening) = &mut self.0 {
            listening.turn(now);
        }
    }

    fn enter(&mut self, phase: Phase) {
        if let Some(listening) = &mut self.0 {
            listening.talk.enter(phase);
        }
    }
}

impl<S: Send> Listening<S> {
    fn turn(&mut self, now: Instant) {
        if let Some(message) = self.talk.message(now) {
            match self.socket.send(message.as_bytes()) {
                Ok(()) => self.talk.sent(now),
                // The manager's queue may be full, or the manager may be starting again.
                Err(_) => self.talk.lost(now),
            }
        }
        let socket = &self.socket;
        self.store.turn(now, |message| {
            let text = message.text();
            match message {
                Message::Store(_, descriptor) => {
                    socket.send_with(text.as_bytes(), descriptor.as_fd())
                }
                Message::Remove(_) => socket.send(text.as_bytes()),
            }
        });
    }
}

impl<S> Listening<S> {
    fn new(
        socket: S,
        (watchdog, stored): (Option<Duration>, BTreeSet<String>),
        now: Instant,
    ) -> Self {
        Self {
            socket,
            talk: Talk::new(watchdog, now),
            store: Store::new(stored),
        }
    }
}

/// Returns the timeout of the watchdog, if it watches the process `pid` (`sd_watchdog_enabled(3)`).
fn watchdog_timeout(variable: &impl Fn(&str) -> Option<OsString>, pid: u32) -> Option<Duration> {
    let number = |name| variable(name).map(|value| value.to_str()?.parse::<u64>().ok());
    let is_ours = match number("WATCHDOG_PID") {
        None => true,
        Some(watched) => watched == Some(u64::from(pid)),
    };
    let micros = number("WATCHDOG_USEC").flatten()?;
    (is_ours && micros > 0).then(|| Duration::from_micros(micros))
}

#[cfg(test)]
mod tests;
