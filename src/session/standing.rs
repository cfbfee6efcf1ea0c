//! How far a session is with being kept, as its worker sees it from outside.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

use tokio::sync::Notify;

/// It has not been told that it is to be kept.
const YOUNG: u8 = 0;
/// It is noted in the table.
const KEPT: u8 = 1;
/// It could not be kept.
const FAILED: u8 = 2;
/// It has ended, and its peers are being told.
const OVER: u8 = 3;

/// What a session is asked to do for another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// To write its record anew if it is not in the version in which records are written now.
    Rewrite = 1,
    /// The same, and to be kept, or to send its sockets again if it is.
    Keep = 2,
}

/// How far an established session is with being kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has not been asked, or has not answered.
    Pending,
    /// It is kept, and its sockets are sent to the supervisor that this worker has now.
    Told,
    /// It ends with this worker, or the supervisor of now lacks its sockets.
    Stays,
    /// It has ended, and its peers are being told.
    Over,
}

/// What a session notes of its being kept.
#[derive(Debug, Default)]
pub struct KeepState {
    /// What it is asked to do and has not done anything about yet, as a number of [`Ask`]; 0 if nothing.
    asked: AtomicU8,
    stage: AtomicU8,
    /// The number of the link over which its sockets were sent last; 0 if they never were.
    told_over: AtomicU32,
}

impl KeepState {
    /// Notes what it is to do, beside what it was asked before.
    pub fn ask(&self, ask: Ask) {
        self.asked.fetch_max(ask as u8, Ordering::Relaxed);
    }

    /// Returns, once, what it was asked to do.
    pub fn takes_ask(&self) -> Option<Ask> {
        if !self.is_asked() {
            return None;
        }
        match self.asked.swap(0, Ordering::Relaxed) {
            0 => None,
            it if it == Ask::Rewrite as u8 => Some(Ask::Rewrite),
            _ => Some(Ask::Keep),
        }
    }

    fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed) != 0
    }

    /// Returns whether it was asked, and will still do something about it.
    pub fn is_waited_for(&self) -> bool {
        self.is_asked() && self.stage.load(Ordering::Relaxed) != OVER
    }

    /// Notes that it is kept, and that its sockets were sent over the link with this number.
    pub fn is_kept(&self, link: u32) {
        self.stage.store(KEPT, Ordering::Relaxed);
        self.told_over.store(link, Ordering::Relaxed);
    }

    /// Notes that it could not be kept; returns whether that is new.
    pub fn has_failed(&self) -> bool {
        self.stage.swap(FAILED, Ordering::Relaxed) != FAILED
    }

    /// Notes that it has ended.
    pub fn is_over(&self) {
        self.stage.store(OVER, Ordering::Relaxed);
    }

    /// Returns whether it is noted in the table.
    pub fn is_noted(&self) -> bool {
        self.stage.load(Ordering::Relaxed) == KEPT
    }

    /// Returns how far it is, while its worker has the link with this number.
    pub fn standing(&self, link: u32) -> Standing {
        let asked = self.is_asked();
        match self.stage.load(Ordering::Relaxed) {
            OVER => Standing::Over,
            _ if asked => Standing::Pending,
            YOUNG => Standing::Pending,
            KEPT if self.told_over.load(Ordering::Relaxed) == link => Standing::Told,
            _ => Standing::Stays,
        }
    }
}

/// Wakes the worker when its sessions are further, while it waits for that.
#[derive(Debug, Default)]
pub struct Changes {
    wanted: AtomicBool,
    notify: Notify,
}

impl Changes {
    /// Says whether the worker waits for changes from now on.
    pub fn want(&self, wanted: bool) {
        self.wanted.store(wanted, Ordering::Relaxed);
    }

    /// Notes that something has changed.
    pub fn note(&self) {
        if self.wanted.load(Ordering::Relaxed) {
            self.notify.notify_one();
        }
    }

    /// Waits for a change that was not waited for yet. Safe to cancel.
    pub async fn next(&self) {
        self.notify.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_told_to_the_supervisor_of_the_link_over_which_its_sockets_went() {
        let state = KeepState::default();
        assert_eq!(state.standing(1), Standing::Pending);
        state.is_kept(1);
        assert_eq!(state.standing(1), Standing::Told);
        assert_eq!(state.standing(2), Standing::Stays);
        state.ask(Ask::Keep);
        assert_eq!(state.standing(2), Standing::Pending);
        assert_eq!(state.takes_ask(), Some(Ask::Keep));
        assert_eq!(state.takes_ask(), None);
        state.is_kept(2);
        assert_eq!(state.standing(2), Standing::Told);
    }

    #[test]
    fn a_session_that_cannot_be_kept_stays_and_one_that_has_ended_does_not() {
        let state = KeepState::default();
        assert!(state.has_failed() && !state.has_failed());
        assert_eq!(state.standing(1), Standing::Stays);
        state.ask(Ask::Keep);
        state.is_over();
        assert_eq!(state.standing(1), Standing::Over);
        assert!(!state.is_waited_for());
    }

    #[test]
    fn a_session_that_is_asked_twice_does_what_is_more() {
        let state = KeepState::default();
        state.ask(Ask::Rewrite);
        assert!(state.is_waited_for());
        assert_eq!(state.takes_ask(), Some(Ask::Rewrite));
        for [first, second] in [[Ask::Rewrite, Ask::Keep], [Ask::Keep, Ask::Rewrite]] {
            state.ask(first);
            state.ask(second);
            assert_eq!(state.takes_ask(), Some(Ask::Keep));
        }
    }
}
