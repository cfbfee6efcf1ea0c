//! Waiting within the deadline of an opening.

use std::future::Future;

use tokio::time::timeout_at;

use super::{Context, Failure};
use crate::{
    session::{farewell::farewell, leg::Leg},
    worker::deadline::{Late, Phase},
};

/// Waits until the deadline of the opening at most. Of phases inside of each other the innermost is
/// told of.
pub(super) async fn in_time<T, E: From<Late>>(
    context: &Context,
    phase: Phase,
    wait: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    match timeout_at(context.deadline, wait).await {
        Ok(result) => result,
        Err(_) => Err(late(context, phase).into()),
    }
}

/// Says that the deadline of an opening has passed in a phase.
pub(super) fn late(context: &Context, phase: Phase) -> Late {
    Late {
        limit: context.service.listener.limits.handshake_timeout,
        phase,
    }
}

/// Says goodbye to a client that was too slow, so that TLS does not end without its own end.
pub(super) async fn part(client: &mut Leg, failure: Failure) -> Failure {
    if matches!(failure, Failure::Late(_)) {
        farewell(client, &[]).await;
    }
    failure
}
