//! Requests to cancel a query.

use std::sync::Arc;

use tokio::{task::JoinSet, time::timeout_at};

use super::connector::Startup;
use crate::{
    session::leg::Leg,
    worker::{
        backends::{BackendError, BackendFailure},
        connect::{Target, connect_one},
        opening::{Context, Deadline, Failure, proxy},
    },
};

/// Passes on the request to cancel a query, and waits until those who may run it have taken it;
/// returns how that ended.
///
/// It names a session by a secret of the database that runs it. Another worker may have that
/// session, so that this one cannot tell which of several databases that is; all of them are asked at once,
/// and those whose secret it is not do nothing. One that is known to be down is asked, but not
/// waited for.
pub(super) async fn cancel(
    context: &Arc<Context>,
    deadline: Deadline,
    client: &Leg,
    message: Vec<u8>,
) -> Failure {
    let header = proxy::header(context, client.tls());
    let targets = Target::all(context);
    let all_paused = targets.iter().all(Target::is_paused);
    let mut awaited = JoinSet::new();
    for target in targets {
        let is_awaited = all_paused || !target.is_paused();
        let asking = ask(target, deadline, header.clone(), message.clone());
        if is_awaited {
            awaited.spawn(asking);
        } else {
            context.tasks.spawn(asking);
        }
    }
    let outcomes = awaited.join_all().await;
    let all_failed = outcomes.iter().all(Result::is_err);
    let failures = outcomes.into_iter().filter_map(Result::err);
    match failures.last() {
        Some(failure) if all_failed => failure.into(),
        _ => Failure::Cancelled,
    }
}

/// Asks one database.
async fn ask(
    mut target: Target,
    deadline: Deadline,
    header: Vec<u8>,
    message: Vec<u8>,
) -> Result<(), BackendFailure> {
    let asked = ask_in_time(&mut target, deadline, &header, &message).await;
    asked.map_err(|error| BackendFailure::at(target.address(), error))
}

/// Asks one database, which may take the connect timeout for it.
async fn ask_in_time(
    target: &mut Target,
    deadline: Deadline,
    header: &[u8],
    message: &[u8],
) -> Result<(), BackendError> {
    let mut backend = connect_one(target, deadline, header, &Startup::Nothing, true).await?;
    backend.send(message).await?;
    // The database answers nothing and closes when it has done what was asked.
    let mut nothing = Vec::new();
    let until = deadline.within(target.context.limits().connect_timeout);
    let done = timeout_at(until.at(), backend.receive(&mut nothing)).await;
    if done.is_ok() {
        target.note(deadline, Ok(backend.tls()));
        return Ok(());
    }
    let error = BackendError::CancelNotTaken;
    target.note(deadline, Err(&error));
    Err(error)
}
