//! The bytes that wait in a session, in its record.
//!
//! Of the client's leg and then of the backend's, each behind its length: the head of a TLS record, plaintext that was
//! not passed on, and what is to be sent; then what watches the session, if it does not lie in the moving part.

use zeroize::Zeroizing;

use super::{
    Damaged, TooLong,
    fields::{put_bytes, take_bytes},
};
use crate::{
    protocol::{bytes::Reader, watch::Watch as _, watcher::Watcher},
    session::scratch::{INPUT_LEN, READ_SIZE},
};

/// The most bytes of each kind that wait in a leg and are recorded.
///
/// What is read at once is 64 KiB, and TLS makes that a little longer; a message behind a login is shorter. A
/// leg that holds more is in the middle of an opening.
pub const MOST_WAITING: usize = 128 * 1024;

/// The most bytes of each kind, in the order in which they are written. The head of a TLS record may have another
/// read behind it that was not looked at yet.
const MOST: [usize; 3] = [INPUT_LEN, MOST_WAITING + READ_SIZE, MOST_WAITING];

/// The bytes that wait in a leg.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct WaitingLeg {
    /// Bytes that were taken and are the head of a TLS record.
    pub held: Zeroizing<Vec<u8>>,
    /// Plaintext that was received and not passed on.
    pub early: Zeroizing<Vec<u8>>,
    /// Bytes that the socket has not taken yet.
    pub unsent: Zeroizing<Vec<u8>>,
}

/// The bytes that wait in both legs, the client's first.
pub type WaitingLegs = [WaitingLeg; 2];

/// A watcher as bytes, if it lies where bytes wait.
pub type WaitingWatcher = Option<Zeroizing<Vec<u8>>>;

/// Appends the bytes that wait; on an error nothing is appended.
pub fn put(
    legs: [[&[u8]; 3]; 2],
    watcher: Option<&[u8]>,
    out: &mut Vec<u8>,
) -> Result<(), TooLong> {
    for leg in legs {
        for (bytes, limit) in leg.iter().zip(MOST) {
            let length = bytes.len();
            if length > limit {
                return Err(TooLong { length, limit });
            }
        }
    }
    for bytes in legs.iter().flatten() {
        put_bytes(bytes, out);
    }
    if let Some(watcher) = watcher {
        put_bytes(watcher, out);
    }
    Ok(())
}

/// Returns how many bytes [`put`] appends.
pub fn length(legs: [[&[u8]; 3]; 2], watcher: Option<&[u8]>) -> usize {
    let parts = legs.iter().flatten().map(|it| 4 + it.len());
    parts.sum::<usize>() + watcher.map_or(0, |it| 4 + it.len())
}

/// Reads the bytes that wait, and the watcher if it `waits` there.
pub fn take(bytes: &[u8], waits: bool) -> Result<(WaitingLegs, WaitingWatcher), Damaged> {
    let mut reader = Reader::new(bytes);
    let mut leg = || {
        let mut part = |most| {
            let bytes = take_bytes(&mut reader, most)?;
            Ok::<_, Damaged>(Zeroizing::new(bytes.to_vec()))
        };
        let [held, early, unsent] = MOST;
        Ok::<_, Damaged>(WaitingLeg {
            held: part(held)?,
            early: part(early)?,
            unsent: part(unsent)?,
        })
    };
    let legs = [leg()?, leg()?];
    let watcher = if waits {
        let bytes = take_bytes(&mut reader, Watcher::MAX_ENCODED)?;
        Some(Zeroizing::new(bytes.to_vec()))
    } else {
        None
    };
    if !reader.rest().is_empty() {
        return Err(Damaged::Long);
    }
    Ok((legs, watcher))
}
