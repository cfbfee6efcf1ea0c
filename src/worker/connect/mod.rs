//! From a listener's backends to a connection to one of them that is ready for what its client says.
//!
//! A backend counts as reached when it is connected and has shown that a server is there: one of
//! MySQL by its greeting, one of PostgreSQL by its answer to the start-up message, and one of any
//! service whose leg has TLS by the end of the handshake. What it says is its answer.

mod target;

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

pub use self::target::{Outcome, Target};
use super::{
    backends::{BackendError, BackendFailure, DialError, Dialed},
    context::Context,
    deadline::{Deadline, Phase},
};
use crate::{config::Limits, session::leg::Leg};

/// How a backend is made ready for what its client says, which each protocol does in its own way.
pub trait Connector: Sync {
    /// Waits until a backend that is connected is ready.
    fn prepare(
        &self,
        target: &Target,
        backend: &mut Leg,
    ) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Whether one that is ready has shown that a server is there.
    fn is_proof(&self, target: &Target) -> bool;

    /// Returns what one that is not ready is waited for.
    fn awaited(&self, target: &Target, backend: &Leg) -> Phase;

    /// Gives up a backend that is not ready and that no session waits for any more.
    fn leave(&self, _target: Target, _backend: Leg) {}
}

/// Connects to the first backend that can be reached; `header` says for whom.
pub async fn connect(
    context: &Arc<Context>,
    deadline: Deadline,
    header: &[u8],
    connector: &impl Connector,
) -> Result<(Target, Leg), BackendFailure> {
    let mut tried = Vec::new();
    let mut targets = Target::all(context).into_iter();
    while let Some(mut target) = targets.next() {
        context.session.goes_to(target.address());
        let others_left = targets.len() > 0;
        match connect_one(&mut target, deadline, header, connector, others_left).await {
            Ok(backend) => return Ok((target, backend)),
            Err(error) => tried.push((target.address().clone(), error)),
        }
        if deadline.has_passed() {
            break;
        }
    }
    Err(tried.into_iter().collect())
}

/// Connects to one backend, and notes how that went.
///
/// If others are left to be tried, it may not take more than the connect timeout.
pub async fn connect_one(
    target: &mut Target,
    deadline: Deadline,
    header: &[u8],
    connector: &impl Connector,
    others_left: bool,
) -> Result<Leg, BackendError> {
    target.begin();
    let reached = make_ready(target, deadline, header, connector, others_left).await;
    match &reached {
        Ok(backend) if connector.is_proof(target) => target.note(deadline, Ok(backend.tls())),
        Ok(_) => {}
        Err(error) => target.note(deadline, Err(error)),
    }
    reached
}

async fn make_ready(
    target: &mut Target,
    deadline: Deadline,
    header: &[u8],
    connector: &impl Connector,
    others_left: bool,
) -> Result<Leg, BackendError> {
    let connecting = deadline.within(target.context.limits().connect_timeout);
    let Dialed { socket, way, spare } = dial(target, deadline, connecting.at()).await?;
    for socket in spare {
        let leaving = leave_spare(target, header, connector, Leg::new(socket));
        let _ = timeout_at(connecting.at(), leaving).await;
    }
    target.leads(way);
    let ready_by = if others_left { connecting } else { deadline };
    let mut backend = Leg::new(socket);
    let preparing = prepare(target, header, connector, &mut backend);
    if let Ok(prepared) = timeout_at(ready_by.at(), preparing).await {
        return prepared.map(|()| backend);
    }
    let error = if ready_by.at() < deadline.at() {
        BackendError::Mute(target.context.limits().connect_timeout)
    } else {
        deadline.late(connector.awaited(target, &backend)).into()
    };
    connector.leave(target.aside(), backend);
    Err(error)
}

/// Makes a backend ready that is connected.
async fn prepare(
    target: &Target,
    header: &[u8],
    connector: &impl Connector,
    backend: &mut Leg,
) -> Result<(), BackendError> {
    if !header.is_empty() {
        backend.send(header).await?;
    }
    connector.prepare(target, backend).await
}

/// Leaves a connection that was there beside the one that is used. A server that is told for whom it is
/// says nothing before that.
async fn leave_spare(target: &Target, header: &[u8], connector: &impl Connector, mut spare: Leg) {
    if header.is_empty() || spare.send(header).await.is_ok() {
        connector.leave(target.aside(), spare);
    }
}

/// Connects to a backend until then, which is the deadline or before it.
async fn dial(target: &Target, deadline: Deadline, by: Instant) -> Result<Dialed, BackendError> {
    let limits = target.context.limits();
    let dialer = &target.context.service.dialer;
    let dialing = dialer.dial(target.address(), by.into_std(), fair(limits));
    let own = Some(limits.connect_timeout).filter(|_| by < deadline.at());
    let late = |phase| deadline.late(phase);
    dialing.await.map_err(|error| match (error, own) {
        (DialError::NoAnswer, Some(limit)) => BackendError::NoAnswer(limit),
        (DialError::NoAnswer, None) => late(Phase::Connect).into(),
        (DialError::LookupLate, Some(limit)) => BackendError::LookupLate(limit),
        (DialError::LookupLate, None) => late(Phase::Lookup).into(),
        (DialError::All(failures), None) if failures.are_late() => {
            BackendError::AddressesLate(failures, late(Phase::Connect))
        }
        (DialError::All(failures), _) => BackendError::Addresses(failures),
        (DialError::Failed(error), _) => BackendError::Connect(error),
        (DialError::Lookup(reason), _) => BackendError::Lookup(reason),
        (DialError::Path(reason), _) => BackendError::Path(reason),
    })
}

/// Returns how long a backend may take at least before it is held against it, whatever the client does.
fn fair(limits: &Limits) -> Duration {
    limits.connect_timeout.min(limits.handshake_timeout / 2)
}

/// Waits until a backend sends what is `expected` of it, which it can be asked for again.
pub async fn hear(backend: &mut Leg, expected: &'static str) -> Result<(), BackendError> {
    let mut first = Vec::new();
    let heard = backend.receive(&mut first).await;
    heard.map_err(|error| BackendError::NotHeard { expected, error })?;
    backend.unread(&first);
    Ok(())
}

/// Begins TLS with a backend that is ready for it; nothing if its leg has none.
pub async fn begin_tls(target: &Target, backend: &mut Leg) -> Result<(), BackendError> {
    let Some(tls) = target.connect_tls() else {
        return Ok(());
    };
    Ok(backend.connect_tls(tls?).await?)
}
