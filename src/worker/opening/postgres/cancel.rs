//! Requests to cancel a query.

use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::connector::Startup;
use crate::{
    session::leg::Leg,
    worker::{
        backends::{BackendError, BackendFailure},
        connect::{connect_one, is_paused, note, order},
        opening::{Context, Failure, proxy},
    },
};

/// Passes on the request to cancel a query, and waits until those who may run it have taken it;
/// returns how that ended.
///
/// It names a session by a secret of the database that runs it. Another worker may have that
/// session, so nobody here knows which of several databases that is; all of them are asked at once,
/// and those whose secret it is not do nothing. One that is known to be down is asked, but not
/// waited for.
pub(super) async fn cancel(context: &Context, client: &Leg, message: Vec<u8>) -> Failure {
    let header = proxy::header(context, client.tls());
    let order = order(context);
    let paused = |position: &usize| is_paused(context, *position);
    let all_paused = order.iter().all(paused);
    let mut awaited = JoinSet::new();
    for position in &order {
        let asking = ask(
            Context {
                backend: *position,
                ..context.clone()
            },
            header.clone(),
            message.clone(),
        );
        if all_paused || !paused(position) {
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

/// Asks one database, which may take the connect timeout for it.
async fn ask(
    mut context: Context,
    header: Vec<u8>,
    message: Vec<u8>,
) -> Result<(), BackendFailure> {
    let asked = ask_one(&mut context, &header, &message).await;
    asked.map_err(|error| BackendFailure::at(context.backend(), error))
}

async fn ask_one(context: &mut Context, header: &[u8], message: &[u8]) -> Result<(), BackendError> {
    let mut backend = connect_one(context, header, &Startup::Nothing, true).await?;
    backend.send(message).await?;
    // The database answers nothing and closes when it has done what was asked.
    let mut nothing = Vec::new();
    let limit = context.service.listener.limits.connect_timeout;
    let deadline = context.deadline.min(Instant::now() + limit);
    if timeout_at(deadline, backend.receive(&mut nothing))
        .await
        .is_ok()
    {
        note(context, Ok(backend.tls()));
        return Ok(());
    }
    let error = BackendError::CancelNotTaken;
    note(context, Err(&error));
    Err(error)
}
