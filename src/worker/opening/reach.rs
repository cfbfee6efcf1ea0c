//! From a listener's backends to a connection to one of them that is ready for what its client says.
//!
//! A backend counts as reached when it is connected and has shown that somebody is there: one of
//! MySQL by its greeting, one of PostgreSQL by its answer to the start-up message, and one of any
//! service whose leg has TLS by the end of the handshake. What it says is its answer.

use std::time::Instant as Clock;

use tokio::time::{Instant, timeout_at};
use tracing::{field::display, info, warn};

use super::{Context, Failure, Phase, mysql, patience::passed, postgres, proxy};
use crate::{
    protocol::Protocol,
    tls::stream::TlsStream,
    worker::{
        health::{Attempt, News},
        leg::Leg,
        socket::Socket,
    },
};

/// What a backend is told first, when it is ready for its client's words.
#[derive(Clone, Copy)]
pub(super) enum First<'a> {
    /// Nothing: that is left to others.
    Nothing,
    /// This, which is only the beginning.
    Part(&'a [u8]),
    /// This, and it has to say something then.
    Question(&'a [u8]),
}

/// Reaches the first backend that can be, and says for whom if the listener is to.
pub(super) async fn reach(
    context: &mut Context,
    client: &Leg,
    words: First<'_>,
) -> Result<Leg, Failure> {
    let header = proxy::header(context, client);
    let mut reasons = Vec::new();
    let order = order(context);
    for (tried, position) in order.iter().enumerate() {
        context.backend = *position;
        let others_left = tried + 1 < order.len();
        match reach_one(context, &header, words, others_left).await {
            Ok(backend) => return Ok(backend),
            Err(reason) => reasons.push(format!("{}: {reason}", context.backend())),
        }
        if Instant::now() >= context.deadline {
            break;
        }
    }
    Err(Failure::Backend(reasons.join("; ")))
}

/// Returns the positions of the backends in the order in which to try them now.
pub(super) fn order(context: &Context) -> Vec<usize> {
    let service = &context.service;
    service
        .health
        .order(&service.listener.backends, Clock::now())
}

/// Whether a backend is left for last now.
pub(super) fn is_paused(context: &Context, position: usize) -> bool {
    let service = &context.service;
    let address = service.listener.backends.at(position);
    service.health.is_paused(address, Clock::now())
}

/// Reaches the backend that the context names, and notes how that went.
///
/// If others are left to be tried, it may not take more than the connect timeout.
pub(super) async fn reach_one(
    context: &mut Context,
    header: &[u8],
    words: First<'_>,
    others_left: bool,
) -> Result<Leg, String> {
    let attempt = context
        .service
        .health
        .begin(context.backend(), Clock::now());
    context.trial = Some(Trial {
        attempt,
        began: Instant::now(),
    });
    let reached = connect(context, header, words, others_left).await;
    match &reached {
        Ok(backend) if is_proof(context, words) => note(context, Ok(backend.tls())),
        Ok(_) => {}
        Err(reason) => note(context, Err(reason)),
    }
    reached
}

/// An attempt to reach a backend of which nobody knows yet how it ends.
#[derive(Debug, Clone, Copy)]
pub struct Trial {
    attempt: Attempt,
    began: Instant,
}

/// Whether a backend that is ready for its client's words has shown that somebody is there.
///
/// MySQL begins TLS with the client's login, and only that shows whether the backend is good for it.
fn is_proof(context: &Context, words: First<'_>) -> bool {
    let has_tls = context.connect_tls().is_some();
    match context.service.listener.protocol {
        Protocol::Mysql => !has_tls,
        Protocol::Postgres => has_tls || matches!(words, First::Question(_)),
        Protocol::Tcp => true,
    }
}

/// How an attempt to reach a backend ended: with its TLS, if its leg has any, or for a reason.
type Outcome<'a> = Result<Option<&'a TlsStream>, &'a str>;

/// Notes how an attempt ended, if nobody has.
///
/// A backend that had no time, because its client had used it up, has not failed.
pub(super) fn note(context: &mut Context, outcome: Outcome<'_>) {
    let Some(trial) = context.trial.take() else {
        return;
    };
    let (service, address) = (&context.service, context.backend());
    let limits = &service.listener.limits;
    let fair = limits.connect_timeout.min(limits.handshake_timeout / 2);
    let is_late = Instant::now() >= context.deadline;
    if outcome.is_err() && is_late && trial.began.elapsed() < fair {
        return;
    }
    let news = match outcome {
        Ok(tls) => service.health.succeed(address, tls),
        Err(reason) => service
            .health
            .fail(address, trial.attempt, Clock::now(), reason),
    };
    let (listener, backend) = (&service.listener.name, display(address));
    match (news, outcome) {
        (News::Down, Err(reason)) => warn!(listener, backend, "a backend is down: {reason}"),
        (News::Up, _) => info!(listener, backend, "a backend is up again"),
        _ => {}
    }
}

async fn connect(
    context: &Context,
    header: &[u8],
    words: First<'_>,
    others_left: bool,
) -> Result<Leg, String> {
    let limits = &context.service.listener.limits;
    let (limit, patience) = (limits.connect_timeout, limits.handshake_timeout);
    let connected_by = context.deadline.min(Instant::now() + limit);
    let Ok(connected) = timeout_at(connected_by, Socket::connect(context.backend())).await else {
        return Err(if connected_by < context.deadline {
            format!("no answer within {} s", limit.as_secs_f64())
        } else {
            passed(patience, Phase::Connect)
        });
    };
    let mut backend = Leg::new(connected.map_err(|error| error.to_string())?);
    let ready_by = if others_left {
        connected_by
    } else {
        context.deadline
    };
    let preparing = prepare(context, header, words, &mut backend);
    if let Ok(prepared) = timeout_at(ready_by, preparing).await {
        return prepared.map(|()| backend);
    }
    let reason = if ready_by < context.deadline {
        let limit = limit.as_secs_f64();
        format!("connected, and nothing came within {limit} s")
    } else {
        passed(patience, awaited(context, &backend))
    };
    if context.service.listener.protocol == Protocol::Mysql {
        mysql::leave(context, backend);
    }
    Err(reason)
}

/// Returns what a backend that is connected is waited for.
fn awaited(context: &Context, backend: &Leg) -> Phase {
    let in_tls = backend.tls().is_some_and(|tls| !tls.is_handshaking());
    let secured = in_tls || context.connect_tls().is_none();
    match context.service.listener.protocol {
        Protocol::Mysql => Phase::Greeting,
        Protocol::Postgres if secured => Phase::Answer,
        Protocol::Postgres | Protocol::Tcp => Phase::BackendTls,
    }
}

/// Waits until a backend that is connected shows that somebody is there.
async fn prepare(
    context: &Context,
    header: &[u8],
    words: First<'_>,
    backend: &mut Leg,
) -> Result<(), String> {
    if !header.is_empty() {
        let sent = backend.send(header).await;
        sent.map_err(|error| error.to_string())?;
    }
    match context.service.listener.protocol {
        Protocol::Mysql => hear(backend, "no greeting came").await,
        Protocol::Postgres => {
            if context.connect_tls().is_some() {
                postgres::ask_for_tls(backend).await?;
            }
            begin_tls(context, backend).await?;
            if let First::Part(words) | First::Question(words) = words {
                let told = backend.send(words).await;
                told.map_err(|error| error.to_string())?;
            }
            match words {
                First::Nothing | First::Part(_) => Ok(()),
                First::Question(_) => hear(backend, "no answer to the start-up message came").await,
            }
        }
        Protocol::Tcp => begin_tls(context, backend).await,
    }
}

/// Waits until a backend says something, which it can be asked for again.
async fn hear(backend: &mut Leg, complaint: &str) -> Result<(), String> {
    let mut first = Vec::new();
    let heard = backend.receive(&mut first).await;
    heard.map_err(|error| format!("{complaint}: {error}"))?;
    backend.unread(&first);
    Ok(())
}

/// Begins TLS with a backend that is ready for it; nothing if its leg has none.
pub(super) async fn begin_tls(context: &Context, backend: &mut Leg) -> Result<(), String> {
    let Some(tls) = context.connect_tls() else {
        return Ok(());
    };
    let done = match tls {
        Ok(tls) => backend.connect_tls(tls).await,
        Err(error) => Err(error.into()),
    };
    done.map_err(|error| error.to_string())
}
