//! Begins to keep a session, so that it outlives its worker.

use std::os::fd::OwnedFd;

use super::{
    conversation::Conversation,
    journal::{Journal, KeptTerms},
    keeper::Keeping,
    leg::Leg,
    live::LiveSession,
    points::{Point, reach},
    relay::Patience,
    scratch::Scratch,
    socket::Socket,
};
use crate::{
    facts::UnkeptReason,
    protocol::watch::Watch,
    sys::{keeping, tcp_counts::OPENER_WRITTEN, tcp_counts::TcpCounts},
};

/// Notes a session, and returns descriptors of its sockets, the client's first, that the supervisor is to keep; otherwise
/// returns the reason for which it cannot be kept, and the session goes on as before.
pub(crate) fn keep<W: Watch>(
    conversation: &mut Conversation<W>,
    session: &LiveSession,
    patience: Patience,
    how: &Keeping,
    scratch: &Scratch,
) -> Result<(Box<Journal>, [OwnedFd; 2]), UnkeptReason> {
    prepare(&conversation.client, 0)?;
    prepare(&conversation.backend, OPENER_WRITTEN)?;
    let [client, backend] = conversation.legs().map(|leg| leg.socket().duplicate());
    let sockets = [
        client.map_err(|_| UnkeptReason::Descriptors)?,
        backend.map_err(|_| UnkeptReason::Descriptors)?,
    ];
    let terms = KeptTerms {
        number: how.number,
        counts_client: how.counts_client,
        patience,
        suspicion: 0,
    };
    let journal = Journal::begin(conversation, session, terms, &how.keeper, scratch)?;
    reach(Point::AfterRecord);
    Ok((journal, sockets))
}

/// Prepares a leg's socket; refuses one whose bytes the kernel does not count as this worker does. The kernel's count of
/// written bytes begins with `first`.
fn prepare(leg: &Leg, first: u64) -> Result<(), UnkeptReason> {
    match leg.socket() {
        Socket::Tcp(stream) => {
            if !keeping::is_tcp(stream).unwrap_or(false) {
                return Err(UnkeptReason::Socket);
            }
            keeping::oob_inline(stream).map_err(|_| UnkeptReason::Socket)?;
            let counts = TcpCounts::of(stream).map_err(|_| UnkeptReason::Counts)?;
            let (taken, sent) = leg.counts();
            let are_ours = counts.read() == taken && counts.written() == sent + first;
            are_ours.then_some(()).ok_or(UnkeptReason::Counts)
        }
        Socket::Unix(stream) => {
            keeping::peek_from(stream, Some(0)).map_err(|_| UnkeptReason::Socket)
        }
    }
}
