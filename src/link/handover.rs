//! A generation on its way to a worker: what the worker has already is not sent again.
//!
//! With thousands of identities of which one changed, only that one crosses the link.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Generation;
use crate::{
    config::Config,
    facts::Trigger,
    tls::material::{Der, Identity, ListenerMaterial, Material},
};

/// A generation, told as a difference to the one that the worker was handed before.
#[derive(Debug, Serialize, Deserialize)]
pub struct Handover {
    /// See [`Generation::number`].
    number: u64,
    /// The number of the generation that this is a difference to; 0 if to none.
    base: u64,
    loaded_at: Timestamp,
    trigger: Trigger,
    config: Arc<Config>,
    identities: Vec<Part>,
    listeners: Vec<ListenerMaterial>,
    system_roots: Vec<Der>,
}

/// One identity of a handover.
#[derive(Debug, Serialize, Deserialize)]
enum Part {
    /// The identity at this place of the generation before.
    Kept(usize),
    /// One that the worker does not have.
    New(Arc<Identity>),
}

/// A handover refers to an identity that was never handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("generation {generation} refers to identity {place}, which this worker was never given")]
pub struct NeverGiven {
    generation: u64,
    place: usize,
}

impl Handover {
    /// Tells `next` to a worker that was handed `last`.
    #[must_use]
    pub fn new(last: Option<&Generation>, next: &Generation) -> Self {
        let base = last.map_or(0, |last| last.number);
        let last: HashMap<&str, (usize, &Arc<Identity>)> = last
            .into_iter()
            .flat_map(|last| last.material.identities.iter().enumerate())
            .map(|(place, identity)| (identity.name.as_str(), (place, identity)))
            .collect();
        let part = |identity: &Arc<Identity>| match last.get(identity.name.as_str()) {
            Some((place, known)) if is_same(known, identity) => Part::Kept(*place),
            _ => Part::New(Arc::clone(identity)),
        };
        let material = &next.material;
        Self {
            number: next.number,
            base,
            loaded_at: next.loaded_at,
            trigger: next.trigger,
            config: Arc::new(next.config.for_workers()),
            identities: material.identities.iter().map(part).collect(),
            listeners: material.listeners.clone(),
            system_roots: material.system_roots.clone(),
        }
    }

    /// Returns the number of the generation.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Makes the generation whole again, beside the one that was handed over before.
    pub fn complete(self, last: Option<&Generation>) -> Result<Generation, NeverGiven> {
        let generation = self.number;
        // A worker that refused a generation still has the one before, in which indices mean other
        // identities.
        let last = last.filter(|last| last.number == self.base);
        let last = last.map_or(&[][..], |last| &last.material.identities);
        let whole = |part| match part {
            Part::New(identity) => Ok(identity),
            Part::Kept(place) => {
                let known = last.get(place).cloned();
                known.ok_or(NeverGiven { generation, place })
            }
        };
        let identities = self.identities.into_iter().map(whole);
        Ok(Generation {
            number: self.number,
            loaded_at: self.loaded_at,
            trigger: self.trigger,
            config: self.config,
            material: Material {
                identities: identities.collect::<Result<_, _>>()?,
                listeners: self.listeners,
                system_roots: self.system_roots,
            },
        })
    }
}

/// Whether presenting one of two identities of the same name is the same as presenting the other.
fn is_same(one: &Arc<Identity>, other: &Arc<Identity>) -> bool {
    Arc::ptr_eq(one, other)
        || (one.digest == other.digest && one.cert == other.cert && one.key == other.key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing;

    fn generation(number: u64, identities: Vec<Arc<Identity>>) -> Generation {
        Generation {
            number,
            loaded_at: Timestamp::UNIX_EPOCH,
            trigger: Trigger::Start,
            config: Arc::new(testing::config(vec![])),
            material: Material {
                identities,
                listeners: vec![],
                system_roots: vec![],
            },
        }
    }

    /// Sends over the link and takes it at the other end.
    fn pass(handover: &Handover, last: Option<&Generation>) -> Result<Generation, NeverGiven> {
        let bytes = crate::control::wire::encode(handover, 1 << 20).unwrap();
        let received: Handover = crate::control::wire::decode(&bytes, 1 << 20).unwrap();
        received.complete(last)
    }

    #[test]
    fn what_a_worker_has_is_not_sent_again() {
        let one = testing::any_identity("one");
        let two = testing::any_identity("two");
        let first = generation(1, vec![Arc::clone(&one), Arc::clone(&two)]);
        let given = pass(&Handover::new(None, &first), None).unwrap();
        let renewed = testing::any_identity("two");
        let second = generation(2, vec![Arc::clone(&renewed), Arc::clone(&one)]);
        let handover = Handover::new(Some(&first), &second);
        assert!(matches!(
            handover.identities[..],
            [Part::New(_), Part::Kept(0)]
        ));
        let whole = pass(&handover, Some(&given)).unwrap();
        assert_eq!(whole.material.digest(), second.material.digest());
        assert!(Arc::ptr_eq(
            &whole.material.identities[1],
            &given.material.identities[0]
        ));
    }

    #[test]
    fn a_difference_to_what_a_worker_does_not_have_is_refused() {
        let one = testing::any_identity("one");
        let first = generation(1, vec![Arc::clone(&one)]);
        let second = generation(2, vec![Arc::clone(&one)]);
        let third = generation(3, vec![one]);
        let handover = Handover::new(Some(&second), &third);
        assert!(pass(&handover, Some(&first)).is_err());
        assert!(pass(&handover, None).is_err());
    }
}
