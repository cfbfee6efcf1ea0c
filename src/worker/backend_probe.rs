//! Probes of backends: connections without a client, to learn the certificates that backends present.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::Instant};
use tokio_util::task::TaskTracker;

use super::{
    opening::{self, Context},
    service::Services,
};
use crate::session::live::LiveSession;

/// How long all probes together may take, not counting the closing of their connections.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many probes are made at a time.
const AT_ONCE: usize = 16;

/// Probes the backends whose certificates decide whether clients are let in. The certificates are noted
/// as those that sessions see.
pub async fn probe(services: &Arc<Services>, tasks: &TaskTracker) {
    let deadline = Instant::now() + PATIENCE;
    let mut probes = JoinSet::new();
    for context in contexts(services, tasks, deadline) {
        if probes.len() == AT_ONCE {
            probes.join_next().await;
        }
        if Instant::now() >= deadline {
            break;
        }
        probes.spawn(opening::probe(context));
    }
    probes.join_all().await;
}

fn contexts(services: &Arc<Services>, tasks: &TaskTracker, deadline: Instant) -> Vec<Context> {
    let mut all = Vec::new();
    for (key, service) in services.all() {
        if !service.listener.needs_one_certificate() {
            continue;
        }
        let key = Arc::new(key);
        let backends = 0..service.listener.backends.iter().count();
        all.extend(backends.map(|backend| Context {
            service: Arc::clone(&service),
            deadline,
            session: Arc::new(LiveSession::new(
                Arc::clone(&service.counters),
                None,
                service.generation,
            )),
            endpoints: None,
            backend,
            trial: None,
            services: Arc::clone(services),
            key: Arc::clone(&key),
            tasks: tasks.clone(),
            place: None,
        }));
    }
    all
}
