//! The certificates that backends present. A PostgreSQL client may be turned away because its
//! listener presents another one.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{Queries, status};
use crate::{
    config::{Config, Listener},
    link::Generation,
    store::Shown,
    supervisor::workers::Workers,
    tls::material::Material,
};

/// The pairs of listener and backend that have presented the same certificate.
pub(super) type Fitted = BTreeSet<(String, String)>;

/// The certificates that listeners present, each listener's gathered once for a generation: there may be
/// thousands, and each count of a worker asks for them.
#[derive(Debug, Default)]
pub(super) struct Presented {
    generation: u64,
    /// SHA-256 of the leaves, in lower-case hexadecimal, by the name of the listener.
    listeners: HashMap<String, HashSet<String>>,
}

impl Presented {
    /// Returns those of a listener by the material of the generation with this number.
    fn of(&mut self, listener: &Listener, material: &Material, number: u64) -> &HashSet<String> {
        if self.generation != number {
            self.generation = number;
            self.listeners.clear();
        }
        let listeners = self.listeners.entry(listener.name.clone());
        listeners.or_insert_with(|| {
            let presented = material.presented(listener);
            presented.map(|it| it.facts.sha256.clone()).collect()
        })
    }
}

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
            let presented =
                listener.map(|it| self.presented.of(it, &current.material, current.number));
            if presented.is_some_and(|it| it.contains(&shown.sha256)) {
                self.fitted.insert((shown.listener, shown.backend));
            }
        }
    }
}

pub(super) fn needs_one_certificate(config: &Config) -> bool {
    config.listeners.iter().any(Listener::needs_one_certificate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::{any_identity, listener};

    #[test]
    fn what_a_listener_presents_is_gathered_once_for_a_generation() {
        let material = |name| Material {
            identities: vec![any_identity(name)],
            listeners: Vec::new(),
            system_roots: Vec::new(),
        };
        let (mut presented, listener) = (Presented::default(), listener(&["a"]));
        let (old, new) = (material("a"), material("a"));
        let digest = |of: &Material| of.identities[0].facts.sha256.clone();
        assert!(presented.of(&listener, &old, 1).contains(&digest(&old)));
        assert!(presented.of(&listener, &new, 1).contains(&digest(&old)));
        let next = presented.of(&listener, &new, 2);
        assert_eq!(*next, HashSet::from([digest(&new)]));
        assert!(presented.of(&listener, &material("b"), 3).is_empty());
    }
}
