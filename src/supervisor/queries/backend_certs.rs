//! The certificates that backends present. A PostgreSQL client may be turned away because its
//! listener presents another one.

use std::collections::BTreeSet;

use super::{Queries, status};
use crate::{
    config::{Config, Listener},
    link::Generation,
    store::Shown,
    supervisor::workers::Workers,
};

/// The pairs of listener and backend that have presented the same certificate.
pub(super) type Fitted = BTreeSet<(String, String)>;

impl Queries {
    /// Returns the certificates that backends have presented.
    pub(in crate::supervisor) fn shown(
        &self,
        workers: &Workers,
        current: &Generation,
    ) -> Vec<Shown> {
        let listeners = status::listeners(workers, current).into_iter();
        let shown = listeners.flat_map(|listener| {
            let backends = listener.backends.into_iter();
            backends.filter_map(move |backend| {
                let place = (listener.name.clone(), backend.address);
                Some(Shown {
                    sha256: backend.certificate?.sha256,
                    is_old: !backend.healthy,
                    has_fitted: self.fitted.contains(&place),
                    listener: place.0,
                    backend: place.1,
                })
            })
        });
        shown.collect()
    }

    /// Notes which backends present a certificate that their listener presents too.
    pub(in crate::supervisor) fn note_fits(&mut self, workers: &Workers, current: &Generation) {
        if !needs_one_certificate(&current.config) {
            return;
        }
        let listeners = &current.config.listeners;
        let shown = self.shown(workers, current);
        for shown in shown.into_iter().filter(|it| !it.has_fitted) {
            let listener = listeners.iter().find(|it| it.name == shown.listener);
            if listener.is_some_and(|it| shown.is_presented(it, &current.material)) {
                self.fitted.insert((shown.listener, shown.backend));
            }
        }
    }
}

pub(super) fn needs_one_certificate(config: &Config) -> bool {
    config.listeners.iter().any(Listener::needs_one_certificate)
}
