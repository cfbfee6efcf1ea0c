//! Which code opens the sessions of which protocol. A new protocol is a folder beside this file and a row
//! here.

use std::{future::Future, pin::Pin, sync::Arc};

use super::{
    Context, Deadline, Failure, Opened, Target, mysql::Mysql, postgres::Postgres, tcp::Tcp,
};
use crate::{protocol::Protocol, session::leg::Leg, worker::places::NoPlace};

/// How the sessions of one protocol are opened.
pub(super) trait Opening: 'static {
    /// Opens a session for a client that is connected, and has said for whom it speaks where it must. If that
    /// comes to nothing, the client has been told as much as its protocol has words for.
    fn open(
        context: &Arc<Context>,
        deadline: Deadline,
        client: Leg,
    ) -> impl Future<Output = Result<Opened, Failure>> + Send;

    /// Tells a client that there is no place for it; nothing where the protocol has no words for that.
    ///
    /// A client that must begin with a PROXY header may not have sent it, as `header` says.
    fn refuse(
        _context: &Context,
        _deadline: Deadline,
        _client: Leg,
        _refusal: NoPlace,
        _header: Header,
    ) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Connects to a backend without a client, for the certificate that it shows, and notes how that went like
    /// a session's attempt. Nothing where no client depends on that certificate.
    fn probe(_target: Target, _deadline: Deadline) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// Whether a load balancer's header was read, where one must come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    /// It was, or none must come.
    Read,
    /// It was not.
    Unread,
}

/// A future whose type is the same for all protocols.
type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The types of what opens, refuses and probes.
type Open = fn(Arc<Context>, Deadline, Leg) -> Boxed<Result<Opened, Failure>>;
type Refuse = fn(Context, Deadline, Leg, NoPlace, Header) -> Boxed<()>;
type Probe = fn(Target, Deadline) -> Boxed<()>;

/// What an [`Opening`] does.
pub(super) struct Row {
    /// [`Opening::open`].
    pub(super) open: Open,
    /// [`Opening::refuse`].
    pub(super) refuse: Refuse,
    /// [`Opening::probe`].
    pub(super) probe: Probe,
}

impl Row {
    const fn of<O: Opening>() -> Self {
        Self {
            open: |context, deadline, client| {
                Box::pin(async move { O::open(&context, deadline, client).await })
            },
            refuse: |context, deadline, client, refusal, header| {
                Box::pin(async move {
                    O::refuse(&context, deadline, client, refusal, header).await;
                })
            },
            probe: |target, deadline| Box::pin(O::probe(target, deadline)),
        }
    }
}

/// Returns the row of a protocol.
pub(super) const fn row(protocol: Protocol) -> Row {
    match protocol {
        Protocol::Mysql => Row::of::<Mysql>(),
        Protocol::Postgres => Row::of::<Postgres>(),
        Protocol::Tcp => Row::of::<Tcp>(),
    }
}
