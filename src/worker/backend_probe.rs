//! Probes of backends: connections without a client, to learn the certificates that backends present.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::Instant};
use tokio_util::task::TaskTracker;

use super::{connect::Target, context::Context, deadline::Deadline, opening, service::Services};
use crate::session::live::LiveSession;

/// How long all probes together may take, not counting the closing of their connections.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many probes are made at a time.
const AT_ONCE: usize = 16;

/// Probes the backends whose certificates decide whether clients are let in. The certificates are noted
/// as those that sessions see.
pub async fn probe(services: &Arc<Services>, tasks: &TaskTracker) {
    let end = Instant::now() + PATIENCE;
    let mut probes = JoinSet::new();
    for target in targets(services, tasks) {
        if probes.len() == AT_ONCE {
            probes.join_next().await;
        }
        if Instant::now() >= end {
            break;
        }
        let limit = target.context.limits().handshake_timeout;
        let deadline = Deadline::after(limit).no_later_than(end);
        probes.spawn(opening::probe(target, deadline));
    }
    probes.join_all().await;
}

/// Returns the backends whose certificates decide whether clients are let in.
fn targets(services: &Arc<Services>, tasks: &TaskTracker) -> Vec<Target> {
    let mut all = Vec::new();
    for (key, service) in services.all() {
        if !service.listener.needs_one_certificate() {
            continue;
        }
        let backends = 0..service.listener.backends.iter().count();
        let session = LiveSession::new(
            services.sessions.next_id(),
            Arc::clone(&service.counters),
            None,
            service.generation,
        );
        let context = Arc::new(Context {
            service,
            session: Arc::new(session),
            endpoints: None,
            services: Arc::clone(services),
            key: Arc::new(key),
            tasks: tasks.clone(),
            place: None,
        });
        all.extend(backends.map(|position| Target::new(&context, position)));
    }
    all
}
