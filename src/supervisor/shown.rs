//! The certificates that backends show, by which clients of PostgreSQL may be kept out.

use std::collections::{BTreeSet, HashMap};

use tokio::sync::oneshot;

use super::{
    Supervisor,
    plan::{Slot, WorkerId},
};
use crate::{config::Listener, link::ToWorker, tls::load::Shown};

/// What the supervisor keeps of it.
#[derive(Debug, Default)]
pub(super) struct Showing {
    /// The listeners and backends that have had one certificate on both legs.
    fitted: BTreeSet<(String, String)>,
    /// The visits that somebody waits for, who is told of an end by the drop of his sender, and who
    /// makes them.
    visits: HashMap<u64, (WorkerId, oneshot::Sender<()>)>,
}

impl Showing {
    /// Notes that the visits for this ask are over.
    pub(super) fn visited(&mut self, ask: u64) {
        self.visits.remove(&ask);
    }

    /// Notes that a worker makes no visits any more.
    pub(super) fn exited(&mut self, id: WorkerId) {
        self.visits.retain(|_, (worker, _)| *worker != id);
    }
}

impl Supervisor {
    /// Returns the certificates that backends have shown.
    pub(super) fn shown(&self) -> Vec<Shown> {
        let listeners = self.listeners().into_iter();
        let shown = listeners.flat_map(|listener| {
            let backends = listener.backends.into_iter();
            backends.filter_map(move |backend| {
                let place = (listener.name.clone(), backend.address);
                Some(Shown {
                    sha256: backend.certificate?.sha256,
                    is_old: !backend.healthy,
                    has_fitted: self.showing.fitted.contains(&place),
                    listener: place.0,
                    backend: place.1,
                })
            })
        });
        shown.collect()
    }

    /// Notes which backends show a certificate that their listener presents.
    pub(super) fn note_fits(&mut self) {
        if !self.needs_one_certificate() {
            return;
        }
        let current = self.current.borrow().clone();
        let listeners = &current.config.listeners;
        for shown in self.shown().into_iter().filter(|it| !it.has_fitted) {
            let listener = listeners.iter().find(|it| it.name == shown.listener);
            if listener.is_some_and(|it| shown.is_presented(it, &current.material)) {
                let place = (shown.listener, shown.backend);
                self.showing.fitted.insert(place);
            }
        }
    }

    /// Lets a worker visit the backends whose certificates matter; what is returned ends when it has,
    /// or at once if there is nothing to visit or nobody to do it.
    pub(super) fn visit(&mut self) -> oneshot::Receiver<()> {
        let (done, visited) = oneshot::channel();
        let worker = self.plan.slots().iter().find_map(Slot::serving);
        if let (true, Some(worker)) = (self.needs_one_certificate(), worker) {
            let ask = self.next_ask();
            self.showing.visits.insert(ask, (worker, done));
            self.send(worker, ToWorker::Visit { ask });
        }
        visited
    }

    fn needs_one_certificate(&self) -> bool {
        let listeners = &self.current.borrow().config.listeners;
        listeners.iter().any(Listener::needs_one_certificate)
    }
}
