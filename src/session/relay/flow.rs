//! One direction of a session: what one leg sends goes to the other.

use std::task::{Context, Poll, ready};

use crate::{
    protocol::mysql::command::Sighting,
    session::leg::{Leg, LegError, Received, Scratch},
};

/// How often a busy direction is served before other sessions get their turn.
const BURST: usize = 8;

/// What sees the bytes of one direction pass.
pub(super) struct Observer<L, C> {
    /// Looks at them before they are passed on; may find where that has to stop.
    pub(super) look: L,
    /// Is told how many were passed on.
    pub(super) count: C,
}

/// What ended a direction before its time.
pub(super) enum Fault {
    ChangeUser(Sighting),
    From(LegError),
    To(LegError),
}

/// Moves what `from` sends to `to`; ready when `from` has ended and `to` was told.
pub(super) fn poll_flow(
    from: &mut Leg,
    to: &mut Leg,
    cx: &mut Context<'_>,
    scratch: &mut Scratch,
    moved: &mut bool,
    mut observer: Observer<impl FnMut(&[u8]) -> Option<Sighting>, impl Fn(usize)>,
) -> Poll<Result<(), Fault>> {
    for _ in 0..BURST {
        ready!(to.poll_flush(cx)).map_err(Fault::To)?;
        match ready!(from.poll_receive(cx, scratch)).map_err(Fault::From)? {
            (Received::Bytes(bytes), out) => {
                *moved = true;
                let sighting = (observer.look)(bytes);
                let end = sighting.map_or(bytes.len(), |it| it.at);
                if end > 0 {
                    to.submit(cx, &bytes[..end], out).map_err(Fault::To)?;
                    (observer.count)(end);
                }
                if let Some(sighting) = sighting {
                    // All of it goes back to where it came from.
                    from.unread(&bytes[end..]);
                    from.unread(sighting.passed());
                    return Poll::Ready(Err(Fault::ChangeUser(sighting)));
                }
            }
            (Received::End, _) => {
                // Whoever is told of a proper end believes that it has all there was.
                if from.was_cut() {
                    to.cut();
                }
                return to.poll_close(cx).map_err(Fault::To);
            }
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}
