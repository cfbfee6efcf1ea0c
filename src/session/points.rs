//! The points between the steps of a session at which its worker may die.
//!
//! Between two of them no bytes are moved and nothing is noted. The build for tests (feature `orders`) can be told to
//! die at one.

/// A point at which a worker may die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Bytes were read or peeked at, and nothing is noted of them.
    AfterRead,
    /// What is to be sent was made, and nothing is noted of it.
    BeforeCommit,
    /// The other half of the record was written and does not count yet.
    BeforeFlip,
    /// It was noted, and nothing of it was sent.
    AfterCommit,
    /// What was peeked at was taken from its socket.
    AfterConsume,
    /// Some or all of what is to be sent was sent.
    AfterWrite,
    /// What could not be sent was moved out of the scratch space, and that was noted.
    AfterSettle,
    /// The other side was told of an end.
    AfterClose,
    /// The session's first record was written, and the supervisor was not sent its sockets.
    AfterRecord,
    /// The record was marked as that of a session that has ended.
    AfterEnd,
}

impl Point {
    /// All points.
    pub const ALL: [Self; 10] = [
        Self::AfterRead,
        Self::BeforeCommit,
        Self::BeforeFlip,
        Self::AfterCommit,
        Self::AfterConsume,
        Self::AfterWrite,
        Self::AfterSettle,
        Self::AfterClose,
        Self::AfterRecord,
        Self::AfterEnd,
    ];
}

/// Says that a point is reached. A worker that was told to die there dies.
#[cfg(not(any(test, feature = "orders")))]
#[inline]
pub fn reach(_point: Point) {}

#[cfg(all(feature = "orders", not(test)))]
pub use self::armed::{arm, reach};
#[cfg(test)]
pub(crate) use self::thrown::{Died, arm, reach};

#[cfg(test)]
mod thrown {
    use std::{cell::Cell, panic::resume_unwind};

    use super::Point;

    /// What is thrown where a worker would have died.
    #[derive(Debug)]
    pub(crate) struct Died;

    thread_local! {
        static ARMED: Cell<Option<(Point, u64)>> = const { Cell::new(None) };
    }

    /// Has this thread throw [`Died`] when it reaches a point for the `passing`th time from now on, counted from 1.
    /// Returns what it was told before.
    pub(crate) fn arm(armed: Option<(Point, u64)>) -> Option<(Point, u64)> {
        ARMED.replace(armed)
    }

    /// Says that a point is reached.
    pub(crate) fn reach(point: Point) {
        match ARMED.get() {
            Some((armed, 1)) if armed == point => {
                ARMED.set(None);
                resume_unwind(Box::new(Died));
            }
            Some((armed, left)) if armed == point => ARMED.set(Some((armed, left - 1))),
            _ => {}
        }
    }
}

#[cfg(all(feature = "orders", not(test)))]
mod armed {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::Point;

    /// How often each point is passed before the worker dies there; 0 if it does not.
    static LEFT: [AtomicU64; Point::ALL.len()] = [const { AtomicU64::new(0) }; Point::ALL.len()];

    /// Has the worker die when it reaches a point for the `passing`th time from now on, counted from 1, and at no
    /// other.
    pub fn arm(armed: Option<(Point, u64)>) {
        for left in &LEFT {
            left.store(0, Ordering::Relaxed);
        }
        if let Some((point, passing)) = armed {
            LEFT[point as usize].store(passing, Ordering::Relaxed);
        }
    }

    /// Says that a point is reached. A worker that was told to die there dies.
    pub fn reach(point: Point) {
        let left = &LEFT[point as usize];
        let before = left.load(Ordering::Relaxed);
        if before == 0 {
            return;
        }
        left.store(before - 1, Ordering::Relaxed);
        if before == 1 {
            // Of all signals to itself, this one cannot be refused.
            let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
        }
    }
}
