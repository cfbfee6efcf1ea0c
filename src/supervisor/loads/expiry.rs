//! What of the generation in force ends when, and the moment to tell of it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::warn;

use crate::{
    control::EventKind,
    facts::{Expiry, Moment},
    store::expiries::Expiries,
    supervisor::notices::Events,
};

/// The ends of the generation in force.
#[derive(Debug)]
pub(super) struct Ends {
    all: Arc<Expiries>,
    /// What ended before this has been told of, or was over when the daemon started.
    told: Moment,
}

impl Ends {
    pub(super) fn new(all: Arc<Expiries>) -> Self {
        Self {
            all,
            told: Moment::now(),
        }
    }

    /// Returns all of them.
    pub(super) fn all(&self) -> &Expiries {
        &self.all
    }

    /// Takes those of the generation that is in force from now on.
    pub(super) fn replace(&mut self, all: Arc<Expiries>) {
        self.all = all;
    }

    /// Returns when the next thing will have ended, by the clock as it is now.
    pub(super) fn due(&self) -> Option<Instant> {
        let next = next(&self.all.list, self.told)?;
        // The second that it ends in still belongs to it.
        let left = next.as_second() + 1 - Moment::now().as_second();
        let left = Duration::from_secs(u64::try_from(left).unwrap_or(0));
        Instant::now().checked_add(left)
    }

    /// Tells of what has ended since it was last asked.
    pub(super) fn tell(&mut self, now: Moment, events: &mut Events) {
        for it in ended(&self.all.list, self.told, now) {
            let message = format!("{it} ended at {}: {}", it.ends_at, it.effect.sentence());
            warn!("{message}");
            events.add(EventKind::Expired, format!("{message}."));
        }
        // The clock may have been put back; what ended then is not told again.
        let last = Moment::from_second(now.as_second() - 1);
        self.told = self.told.max(last);
    }
}

/// Returns the first end after `told` in a sorted list.
fn next(list: &[Expiry], told: Moment) -> Option<Moment> {
    let first = list.partition_point(|it| it.ends_at <= told);
    list.get(first).map(|it| it.ends_at)
}

/// Returns what ended after `told` and before `now`.
fn ended(list: &[Expiry], told: Moment, now: Moment) -> &[Expiry] {
    let first = list.partition_point(|it| it.ends_at <= told);
    let end = list.partition_point(|it| it.ends_at < now);
    list.get(first..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{ExpiryEffect, ExpiryKind};

    #[test]
    fn each_end_is_told_once_after_its_second() {
        let at = Moment::from_second;
        let list: Vec<_> = [10, 20, 20, 30]
            .map(|second| Expiry {
                kind: ExpiryKind::Identity,
                owner: String::new(),
                name: String::new(),
                file: None,
                starts_at: at(0),
                ends_at: at(second),
                days_left: 0,
                effect: ExpiryEffect::ClientsRefuse,
            })
            .into();
        assert_eq!(next(&list, at(10)), Some(at(20)));
        assert_eq!(next(&list, at(30)), None);
        assert_eq!(ended(&list, at(10), at(20)), []);
        assert_eq!(ended(&list, at(10), at(21)).len(), 2);
        assert_eq!(ended(&list, at(20), at(21)), []);
        assert_eq!(ended(&list, at(25), at(5)), []);
    }
}
