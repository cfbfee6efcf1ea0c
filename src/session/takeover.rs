//! Goes on with a session that another worker has left behind.
//!
//! The record says how far the session had come when it was noted last, and the kernel what was read and written since.
//! What was read and not noted lies in the scratch space of the worker that has ended, and is processed again.

use std::{io, os::fd::OwnedFd};

use socket2::SockRef;
use zeroize::Zeroizing;

use super::{
    conversation::Conversation,
    record::{LegRecord, MovingLeg},
    socket::Socket,
    table::{Left, LeftSession},
};
use crate::{
    facts::{Death, LossReason},
    protocol::watcher::Watcher,
    sys::{
        keeping,
        tcp_counts::{OPENER_WRITTEN, TcpCounts},
    },
};

/// The suspicion at which a session is ended instead of being taken over: two faults, or three times SIGKILL.
pub const MOST_SUSPICION: u8 = 6;

/// How far a socket has come, as the kernel or its ledger says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// One of TCP, by the kernel's counts since it was connected.
    Tcp {
        /// Bytes that were read.
        read: u64,
        /// Bytes that were written, without what an opener begins with.
        written: u64,
    },
    /// One of TCP whose connection was reset.
    Reset {
        /// Bytes that were read since it was connected.
        read: u64,
    },
    /// One of TCP whose connection was reset, of which the kernel does not say whether the peer had ended before.
    Doubtful {
        /// Bytes that were read since it was connected, or one less.
        read: u64,
    },
    /// A Unix socket, by what its worker has noted.
    Unix {
        /// Bytes that were written; `None` if a write was going on.
        written: Option<u64>,
    },
}

/// How a leg goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    /// Bytes that were read and are not noted.
    pub read: u64,
    /// How many of the last bytes that were made are still to be sent.
    pub unsent: u64,
    /// The connection ended without a proper end.
    pub is_cut: bool,
}

/// Decides how a leg goes on: `made` of its last bytes may not have been sent, and its session was `worked_on` or not
/// when the worker ended.
pub fn recover(
    leg: &MovingLeg,
    made: u64,
    found: Progress,
    worked_on: bool,
) -> Result<Recovered, LossReason> {
    let sent_before = leg.queued.checked_sub(made).ok_or(LossReason::Damaged)?;
    match found {
        Progress::Unix { written } => {
            let written = written.ok_or(LossReason::UnixWrite)?;
            let unsent = left_of(leg.queued, sent_before, written)?;
            Ok(Recovered {
                read: 0,
                unsent,
                is_cut: false,
            })
        }
        Progress::Tcp { read, written } => Ok(Recovered {
            read: read_since(leg.taken, read, worked_on)?,
            unsent: left_of(leg.queued, sent_before, written)?,
            is_cut: false,
        }),
        // Nothing can be sent any more, so that it does not matter how much was.
        Progress::Reset { read } => Ok(Recovered {
            read: read_since(leg.taken, read, worked_on)?,
            unsent: made,
            is_cut: true,
        }),
        Progress::Doubtful { read } if leg.taken == read || leg.taken == read + 1 => {
            Ok(Recovered {
                read: 0,
                unsent: made,
                is_cut: true,
            })
        }
        // Whether the last of what was read is a byte or the peer's end cannot be known.
        Progress::Doubtful { .. } => Err(LossReason::Mismatch),
    }
}

/// Returns how much was read that is not noted as taken.
fn read_since(taken: u64, read: u64, worked_on: bool) -> Result<u64, LossReason> {
    let more = read.checked_sub(taken).ok_or(LossReason::Mismatch)?;
    if more > 0 && !worked_on {
        return Err(LossReason::Mismatch);
    }
    Ok(more)
}

/// Returns how much of what was made is still to be sent.
fn left_of(queued: u64, sent_before: u64, written: u64) -> Result<u64, LossReason> {
    let is_possible = (sent_before..=queued).contains(&written);
    let left = queued.checked_sub(written).filter(|_| is_possible);
    left.ok_or(LossReason::Mismatch)
}

/// Returns how suspect a session is of ending its workers, up to [`MOST_SUSPICION`] and beyond.
///
/// `before` is how suspect it was, which counts unless the session `has_moved` on since it was taken over. `deaths` are
/// those of the workers that died while they worked on it or read its record; without any it is not suspect.
///
/// The second death in a row by a fault of the program ends a session, and the third by SIGKILL from outside.
pub fn suspicion(before: u8, has_moved: bool, deaths: impl IntoIterator<Item = Death>) -> u8 {
    let deaths = deaths.into_iter();
    let mut deaths = deaths.filter(|it| *it != Death::HandedOver).peekable();
    if deaths.peek().is_none() {
        return 0;
    }
    let weight = |death| match death {
        Death::Fault => MOST_SUSPICION / 2,
        Death::Killed => MOST_SUSPICION / 3,
        Death::HandedOver => 0,
    };
    let before = if has_moved { 0 } else { before };
    deaths.map(weight).fold(before, u8::saturating_add)
}

/// Returns the conversation of a session that was left in a table, over the sockets that were kept for it.
pub fn resume(
    left: &Left,
    session: LeftSession,
    sockets: [OwnedFd; 2],
    worked_on: bool,
) -> Result<Conversation<Watcher>, LossReason> {
    let LeftSession {
        mut record,
        legs,
        written,
        is_consumed,
        ..
    } = session;
    let [client, backend] = sockets.map(Socket::take);
    let sockets = [client, backend].map(|it| it.map_err(|_| LossReason::Mismatch));
    let [client, backend] = sockets;
    let sockets = [client?, backend?];
    let firsts = [0, OPENER_WRITTEN];
    let mut has_read = false;
    let mut cuts = [false; 2];
    for (index, leg) in [&mut record.client, &mut record.backend]
        .into_iter()
        .enumerate()
    {
        let moving = &legs[index];
        if sockets[index].cookie() != leg.cookie {
            return Err(LossReason::Mismatch);
        }
        if let Some(output) = moving.output {
            let output = if worked_on {
                left.output(output).map_err(|_| LossReason::Damaged)?
            } else {
                // All of it was sent, or it would have been moved before another session was worked on.
                &[]
            };
            leg.unsent = Zeroizing::new(output.to_vec());
        }
        let found = progress_of(&sockets[index], firsts[index], moving, written[index]);
        let found = found.map_err(|_| LossReason::Mismatch)?;
        let recovered = recover(moving, leg.unsent.len() as u64, found, worked_on)?;
        keep_last(&mut leg.unsent, recovered.unsent);
        if recovered.read > 0 {
            if std::mem::replace(&mut has_read, true) {
                return Err(LossReason::Mismatch);
            }
            take_read(left, leg, recovered.read)?;
        }
        cuts[index] = recovered.is_cut;
        settle_unix(&sockets[index], moving, is_consumed[index])
            .map_err(|_| LossReason::Mismatch)?;
    }
    let [client, backend] = sockets;
    let conversation = Conversation::resume(client, backend, record);
    let mut conversation = conversation.map_err(|_| LossReason::Mismatch)?;
    for (leg, is_cut) in conversation.legs_mut().into_iter().zip(cuts) {
        if is_cut {
            leg.mark_cut();
        }
    }
    Ok(conversation)
}

/// Adds what was read and not noted to what waits in a leg.
fn take_read(left: &Left, leg: &mut LegRecord, read: u64) -> Result<(), LossReason> {
    let input = left.input(leg.held.len(), read);
    let input = input.map_err(|_| LossReason::Damaged)?;
    let waiting = if leg.tls.is_some() {
        &mut leg.held
    } else {
        &mut leg.early
    };
    let mut both = Zeroizing::new(Vec::with_capacity(waiting.len() + input.len()));
    both.extend_from_slice(waiting);
    both.extend_from_slice(input);
    *waiting = both;
    leg.taken = leg.taken.checked_add(read).ok_or(LossReason::Damaged)?;
    Ok(())
}

fn keep_last(bytes: &mut Zeroizing<Vec<u8>>, last: u64) {
    let last = usize::try_from(last).unwrap_or(usize::MAX);
    let sent = bytes.len().saturating_sub(last);
    bytes.drain(..sent);
}

/// Asks the kernel how far a socket of TCP has come; of a Unix socket the table has said how much was `written`.
fn progress_of(
    socket: &Socket,
    first: u64,
    leg: &MovingLeg,
    written: Option<u64>,
) -> io::Result<Progress> {
    let Socket::Tcp(stream) = socket else {
        return Ok(Progress::Unix { written });
    };
    let counts = TcpCounts::of(stream)?;
    if !counts.is_closed() {
        return Ok(Progress::Tcp {
            read: counts.read(),
            written: counts.written().saturating_sub(first),
        });
    }
    let error = SockRef::from(stream).take_error()?;
    let error = error.and_then(|error| error.raw_os_error());
    Ok(closed(&counts, first, leg, error))
}

/// Judges the counts of a connection that is over; `error` is that of its socket.
fn closed(counts: &TcpCounts, first: u64, leg: &MovingLeg, error: Option<i32>) -> Progress {
    let all = leg.queued.saturating_add(first);
    let (read, more) = (counts.read(), counts.read_without_fin());
    match counts.peer_ended(all, error) {
        // If all of it was taken, the kernel has told an earlier worker of the reset, and does not do so again.
        ended if ended == Some(false) || leg.taken == more => Progress::Reset { read: more },
        // The FIN of this end is no byte.
        Some(_) => Progress::Tcp {
            read,
            written: counts.written().saturating_sub(first).min(leg.queued),
        },
        None => Progress::Doubtful { read },
    }
}

/// Takes from a Unix socket what its record counts as taken, as far as that was not done, and peeks from its front again.
fn settle_unix(socket: &Socket, moving: &MovingLeg, is_consumed: bool) -> io::Result<()> {
    let Socket::Unix(stream) = socket else {
        return Ok(());
    };
    if !is_consumed {
        // The offset has grown by what was peeked at, and shrinks by what is taken.
        let left = u32::try_from(keeping::peek_offset(stream)?).unwrap_or(0);
        socket.discard(left.min(moving.peeked) as usize)?;
    }
    keeping::peek_from(stream, Some(0))
}

#[cfg(test)]
mod tests {
    use nix::libc;

    use super::*;
    use crate::session::leg::WriteSide;

    fn leg(taken: u64, queued: u64) -> MovingLeg {
        MovingLeg {
            taken,
            queued,
            ended: false,
            failed: false,
            write: WriteSide::Open,
            tls: None,
            output: None,
            peeked: 0,
        }
    }

    fn tcp(read: u64, written: u64) -> Progress {
        Progress::Tcp { read, written }
    }

    #[test]
    fn what_the_kernel_counts_beyond_the_record_is_done_again_or_left_out() {
        let recovered = recover(&leg(10, 50), 20, tcp(17, 45), true).unwrap();
        assert_eq!((recovered.read, recovered.unsent), (7, 5));
        let recovered = recover(&leg(10, 50), 20, tcp(10, 30), false).unwrap();
        assert_eq!((recovered.read, recovered.unsent), (0, 20));
    }

    #[test]
    fn counts_that_cannot_be_true_lose_the_session() {
        let mismatch = Err(LossReason::Mismatch);
        // The worker was not working on it, and so has read nothing.
        assert_eq!(recover(&leg(10, 50), 0, tcp(11, 50), false), mismatch);
        // More is noted than was read.
        assert_eq!(recover(&leg(10, 50), 0, tcp(9, 50), true), mismatch);
        // More was written than was made, or less than was sent before.
        assert_eq!(recover(&leg(10, 50), 20, tcp(10, 51), true), mismatch);
        assert_eq!(recover(&leg(10, 50), 20, tcp(10, 29), true), mismatch);
    }

    #[test]
    fn a_connection_that_was_reset_is_cut_and_what_was_read_of_it_must_be_certain() {
        for found in [
            Progress::Doubtful { read: 9 },
            Progress::Doubtful { read: 10 },
            Progress::Reset { read: 10 },
        ] {
            let recovered = recover(&leg(10, 50), 3, found, true).unwrap();
            assert!(recovered.is_cut && recovered.unsent == 3, "{found:?}");
            assert_eq!(recovered.read, 0);
        }
        let recovered = recover(&leg(10, 50), 3, Progress::Reset { read: 12 }, true).unwrap();
        assert!(recovered.is_cut && recovered.read == 2);
        let uncertain = recover(&leg(10, 50), 3, Progress::Doubtful { read: 12 }, true);
        assert_eq!(uncertain, Err(LossReason::Mismatch));
    }

    #[test]
    fn a_connection_that_both_ends_have_ended_is_no_cut() {
        let counts = TcpCounts {
            state: 7,
            received: 33,
            unread: 0,
            acknowledged: 52,
            waiting: 0,
        };
        let found = closed(&counts, OPENER_WRITTEN, &leg(10, 50), None);
        assert_eq!(found, tcp(32, 50));
        let recovered = recover(&leg(10, 50), 20, found, true).unwrap();
        assert_eq!((recovered.read, recovered.unsent), (22, 0));
        assert!(!recovered.is_cut);
        let reset = closed(
            &counts,
            OPENER_WRITTEN,
            &leg(10, 50),
            Some(libc::ECONNRESET),
        );
        assert_eq!(reset, Progress::Reset { read: 33 });
        // All 33 were bytes, and the worker before was told of the reset.
        let known = closed(&counts, OPENER_WRITTEN, &leg(33, 50), None);
        assert_eq!(known, Progress::Reset { read: 33 });
    }

    #[test]
    fn a_write_to_a_unix_socket_that_was_going_on_loses_the_session() {
        let found = |written| Progress::Unix { written };
        let lost = recover(&leg(10, 50), 20, found(None), true);
        assert_eq!(lost, Err(LossReason::UnixWrite));
        let recovered = recover(&leg(10, 50), 20, found(Some(40)), true).unwrap();
        assert_eq!(recovered.unsent, 10);
    }

    #[test]
    fn a_session_is_suspect_only_as_long_as_workers_die_over_it_without_getting_further() {
        use Death::{Fault, HandedOver, Killed};
        let first = suspicion(0, true, [Fault]);
        assert!(first < MOST_SUSPICION);
        assert!(suspicion(first, false, [Fault]) >= MOST_SUSPICION);
        assert!(suspicion(first, true, [Fault]) < MOST_SUSPICION);
        let second = suspicion(suspicion(0, true, [Killed]), false, [Killed]);
        assert!(second < MOST_SUSPICION);
        assert!(suspicion(second, false, [Killed]) >= MOST_SUSPICION);
        assert_eq!(suspicion(second, false, []), 0);
        assert_eq!(suspicion(second, false, [HandedOver]), 0);
    }
}
