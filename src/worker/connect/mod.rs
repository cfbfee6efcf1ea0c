//! From a listener's backends to a connection to one of them that is ready for what its client says.
//!
//! A backend counts as reached when it is connected and has shown that somebody is there: one of
//! MySQL by its greeting, one of PostgreSQL by its answer to the start-up message, and one of any
//! service whose leg has TLS by the end of the handshake. What it says is its answer.

use std::{
    future::Future,
    time::{Duration, Instant as Clock},
};

use tokio::time::{Instant, timeout_at};
use tracing::{field::display, info, warn};

use super::{
    backends::{Attempt, BackendError, BackendFailure, DialError, Dialed, News, Way},
    deadline::{Late, Phase},
    opening::Context,
};
use crate::{
    session::leg::Leg,
    {config::Limits, tls::stream::TlsStream},
};

/// How a backend is made ready for what its client says, which each protocol does in its own way.
pub trait Connector: Sync {
    /// Waits until a backend that is connected is ready.
    fn prepare(
        &self,
        context: &Context,
        backend: &mut Leg,
    ) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Whether one that is ready has shown that somebody is there.
    fn is_proof(&self, context: &Context) -> bool;

    /// Returns what one that is not ready is waited for.
    fn awaited(&self, context: &Context, backend: &Leg) -> Phase;

    /// Gives up a backend that is not ready and that no session waits for any more.
    fn leave(&self, _context: &Context, _backend: Leg) {}
}

/// Connects to the first backend that can be reached; `header` says for whom.
pub async fn connect(
    context: &mut Context,
    header: &[u8],
    connector: &impl Connector,
) -> Result<Leg, BackendFailure> {
    let mut tried = Vec::new();
    let order = order(context);
    for (count, position) in order.iter().enumerate() {
        context.backend = *position;
        context.session.goes_to(context.backend());
        let others_left = count + 1 < order.len();
        match connect_one(context, header, connector, others_left).await {
            Ok(backend) => return Ok(backend),
            Err(error) => tried.push((context.backend().clone(), error)),
        }
        if Instant::now() >= context.deadline {
            break;
        }
    }
    Err(tried.into_iter().collect())
}

/// Returns the positions of the backends in the order in which to try them now.
pub fn order(context: &Context) -> Vec<usize> {
    let service = &context.service;
    service
        .health
        .order(&service.listener.backends, Clock::now())
}

/// Whether a backend is left for last now.
pub fn is_paused(context: &Context, position: usize) -> bool {
    let service = &context.service;
    let address = service.listener.backends.at(position);
    service.health.is_paused(address, Clock::now())
}

/// Connects to the backend that the context names, and notes how that went.
///
/// If others are left to be tried, it may not take more than the connect timeout.
pub async fn connect_one(
    context: &mut Context,
    header: &[u8],
    connector: &impl Connector,
    others_left: bool,
) -> Result<Leg, BackendError> {
    let attempt = context
        .service
        .health
        .begin(context.backend(), Clock::now());
    context.trial = Some(Trial {
        attempt,
        way: None,
        began: Instant::now(),
    });
    let reached = make_ready(context, header, connector, others_left).await;
    match &reached {
        Ok(backend) if connector.is_proof(context) => note(context, Ok(backend.tls())),
        Ok(_) => {}
        Err(error) => note(context, Err(error)),
    }
    reached
}

/// An attempt to reach a backend that has not ended.
#[derive(Debug, Clone, Copy)]
pub struct Trial {
    attempt: Attempt,
    /// The address to which it has led, if there were several.
    way: Option<Way>,
    began: Instant,
}

/// How an attempt to reach a backend ended: with its TLS, if its leg has any, or why not.
type Outcome<'a> = Result<Option<&'a TlsStream>, &'a BackendError>;

/// Notes how an attempt ended, of the backend and of the address that it has led to, if that is not known
/// yet.
///
/// A backend that had no time, because its client had used it up, has not failed.
pub fn note(context: &mut Context, outcome: Outcome<'_>) {
    let Some(trial) = context.trial.take() else {
        return;
    };
    let (service, address) = (&context.service, context.backend());
    let limits = &service.listener.limits;
    let is_late = Instant::now() >= context.deadline;
    if outcome.is_err() && is_late && trial.began.elapsed() < fair(limits) {
        return;
    }
    let news = match outcome {
        Ok(tls) => service.health.succeed(address, tls),
        Err(error) => service
            .health
            .fail(address, trial.attempt, Clock::now(), error),
    };
    match (trial.way, outcome) {
        (Some(way), Ok(_)) => service.dialer.succeed(address, way),
        (Some(way), Err(error)) => service.dialer.fail(address, way, error),
        (None, _) => {}
    }
    let (listener, backend) = (&service.listener.name, display(address));
    match (news, outcome) {
        (News::Down, Err(error)) => warn!(listener, backend, "a backend is down: {error}"),
        (News::Up, _) => info!(listener, backend, "a backend is up again"),
        _ => {}
    }
}

async fn make_ready(
    context: &mut Context,
    header: &[u8],
    connector: &impl Connector,
    others_left: bool,
) -> Result<Leg, BackendError> {
    let limit = context.service.listener.limits.connect_timeout;
    let connected_by = context.deadline.min(Instant::now() + limit);
    let Dialed { socket, way, spare } = dial(context, connected_by).await?;
    for socket in spare {
        let spare = Leg::new(socket);
        let leaving = leave_spare(context, header, connector, spare);
        let _ = timeout_at(connected_by, leaving).await;
    }
    if let Some(trial) = &mut context.trial {
        trial.way = way;
    }
    let ready_by = if others_left {
        connected_by
    } else {
        context.deadline
    };
    prepare(context, header, connector, Leg::new(socket), ready_by).await
}

/// Leaves a connection that was there beside the one that is used. A server that is told for whom it is
/// says nothing before that.
async fn leave_spare(context: &Context, header: &[u8], connector: &impl Connector, mut spare: Leg) {
    if header.is_empty() || spare.send(header).await.is_ok() {
        // How it ends says nothing about the attempt.
        let aside = Context {
            trial: None,
            ..context.clone()
        };
        connector.leave(&aside, spare);
    }
}

/// Connects to the backend that the context names.
async fn dial(context: &Context, by: Instant) -> Result<Dialed, BackendError> {
    let limits = &context.service.listener.limits;
    let dialer = &context.service.dialer;
    let dialing = dialer.dial(context.backend(), by.into_std(), fair(limits));
    let own = Some(limits.connect_timeout).filter(|_| by < context.deadline);
    let late = |phase| late(context, phase);
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

/// Makes a backend ready that is connected.
async fn prepare(
    context: &Context,
    header: &[u8],
    connector: &impl Connector,
    mut backend: Leg,
    ready_by: Instant,
) -> Result<Leg, BackendError> {
    let preparing = async {
        if !header.is_empty() {
            backend.send(header).await?;
        }
        connector.prepare(context, &mut backend).await
    };
    if let Ok(prepared) = timeout_at(ready_by, preparing).await {
        return prepared.map(|()| backend);
    }
    let error = if ready_by < context.deadline {
        BackendError::Mute(context.service.listener.limits.connect_timeout)
    } else {
        late(context, connector.awaited(context, &backend)).into()
    };
    connector.leave(context, backend);
    Err(error)
}

/// Says that the deadline of an opening has passed in a phase.
fn late(context: &Context, phase: Phase) -> Late {
    Late {
        limit: context.service.listener.limits.handshake_timeout,
        phase,
    }
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
pub async fn begin_tls(context: &Context, backend: &mut Leg) -> Result<(), BackendError> {
    let Some(tls) = context.connect_tls() else {
        return Ok(());
    };
    Ok(backend.connect_tls(tls?).await?)
}
