//! What the resolver answers for: the names and paths of backends that sessions may be on their way to.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    config::{Address, Config},
    facts::Wanted,
    link::{ToResolver, resolver::BACKENDS_AT_ONCE},
};

/// The most names and paths of earlier generations that are kept, beside those still configured.
const MOST_EARLIER: usize = 4096;

/// The names and paths of the generation in force, of those before for as long as sessions may open that
/// began with them, and of the one that is made ready.
#[derive(Debug, Default)]
pub(super) struct Backends {
    current: BTreeSet<Wanted>,
    /// How long sessions may still open with the generation in force once another takes its place.
    lasts: Duration,
    /// What sessions may still ask for that began with a generation before, and until when.
    earlier: BTreeMap<Wanted, Duration>,
    staged: BTreeSet<Wanted>,
}

impl Backends {
    /// Notes which configuration is in force and which is made ready; returns whether the resolver is to
    /// be told.
    pub(super) fn follow(
        &mut self,
        now: Duration,
        current: &Config,
        staged: Option<&Config>,
    ) -> bool {
        let before = self.all();
        let (current, lasts) = (wanted(current), lasts(current));
        if (&current, lasts) != (&self.current, self.lasts) {
            let until = now + self.lasts;
            for wanted in std::mem::replace(&mut self.current, current) {
                let kept = self.earlier.entry(wanted).or_default();
                *kept = until.max(*kept);
            }
            self.lasts = lasts;
        }
        self.staged = staged.map(wanted).unwrap_or_default();
        self.forget(now);
        self.all() != before
    }

    /// Returns when [`Self::expire`] is due.
    pub(super) fn due(&self) -> Option<Duration> {
        self.earlier.values().min().copied()
    }

    /// Forgets what no session asks for any more; returns whether the resolver is to be told.
    pub(super) fn expire(&mut self, now: Duration) -> bool {
        if self.due().is_none_or(|due| now < due) {
            return false;
        }
        let before = self.all();
        self.forget(now);
        self.all() != before
    }

    fn forget(&mut self, now: Duration) {
        self.earlier.retain(|_, until| now < *until);
        let excess = self.earlier.len().saturating_sub(MOST_EARLIER);
        if excess > 0 {
            let ends = self.earlier.iter().map(|(wanted, until)| (*until, wanted));
            let mut ends: Vec<_> = ends
                .map(|(until, wanted)| (until, wanted.clone()))
                .collect();
            ends.sort_unstable();
            for (_, first) in &ends[..excess] {
                self.earlier.remove(first);
            }
        }
    }

    /// Returns the messages that tell the resolver all of them.
    pub(super) fn messages(&self) -> Vec<ToResolver> {
        let all: Vec<_> = self.all().into_iter().collect();
        let mut parts: Vec<_> = all.chunks(BACKENDS_AT_ONCE).map(<[_]>::to_vec).collect();
        let last = parts.pop().unwrap_or_default();
        let told = |wanted, is_last| ToResolver::Backends { wanted, is_last };
        let parts = parts.into_iter().map(|part| told(part, false));
        parts.chain([told(last, true)]).collect()
    }

    fn all(&self) -> BTreeSet<Wanted> {
        let configured = self.current.union(&self.staged);
        configured.chain(self.earlier.keys()).cloned().collect()
    }
}

fn wanted(config: &Config) -> BTreeSet<Wanted> {
    let listeners = config.listeners.iter();
    let backends = listeners.flat_map(|listener| listener.backends.iter());
    backends.filter_map(Address::wanted).collect()
}

/// Returns how long sessions may open with a configuration after another has taken its place: until every
/// worker has that one, or is killed, a session may still begin with this one.
fn lasts(config: &Config) -> Duration {
    let openings = config
        .listeners
        .iter()
        .map(|it| it.limits.handshake_timeout);
    config.heartbeat_timeout + openings.max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing;

    fn config(backends: &[String]) -> Config {
        let listeners = backends.iter().map(|backend| {
            let mut listener = testing::listener(&[]);
            listener.backends = backend.parse::<Address>().unwrap().into();
            listener
        });
        testing::config(listeners.collect())
    }

    fn names(backends: &Backends) -> Vec<String> {
        let mut all = Vec::new();
        for message in backends.messages() {
            if let ToResolver::Backends { wanted, .. } = message {
                all.extend(wanted.iter().map(ToString::to_string));
            }
        }
        all
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// The same with openings of so many seconds, until which workers take a second to follow.
    fn opening(backend: &str, seconds: u64) -> Config {
        let mut config = config(&[backend.to_owned()]);
        config.heartbeat_timeout = at(1);
        for listener in &mut config.listeners {
            listener.limits.handshake_timeout = at(seconds);
        }
        config
    }

    #[test]
    fn sessions_that_open_across_several_reloads_are_answered_until_their_time_is_over() {
        let [a, b, c] = ["a:1", "b:1", "unix:/c"].map(|it| opening(it, 10));
        let mut backends = Backends::default();
        assert!(backends.follow(at(0), &a, None));
        assert!(!backends.follow(at(0), &a, None));
        assert!(backends.follow(at(1), &a, Some(&b)));
        assert_eq!(names(&backends), ["a", "b"]);
        assert!(!backends.follow(at(2), &b, None));
        assert!(backends.follow(at(3), &c, None));
        assert_eq!(names(&backends), ["a", "b", "unix:/c"]);
        assert_eq!(backends.due(), Some(at(13)));
        assert!(!backends.expire(at(12)));
        assert!(backends.expire(at(13)));
        assert_eq!(names(&backends), ["b", "unix:/c"]);
        assert!(backends.expire(at(14)));
        assert_eq!(names(&backends), ["unix:/c"]);
        assert_eq!(backends.due(), None);
    }

    #[test]
    fn an_opening_has_the_time_of_its_own_generation_even_if_the_next_has_less() {
        let [long, short] = [60, 2].map(|seconds| opening("a:1", seconds));
        let mut backends = Backends::default();
        backends.follow(at(0), &long, None);
        assert!(!backends.follow(at(1), &short, None));
        backends.follow(at(2), &opening("b:1", 2), None);
        assert!(!backends.expire(at(61)));
        assert_eq!(names(&backends), ["a", "b"]);
        assert!(backends.expire(at(62)));
        assert_eq!(names(&backends), ["b"]);
    }

    #[test]
    fn what_is_configured_again_outlasts_its_time_as_an_earlier_one() {
        let [a, b] = ["a:1", "b:1"].map(|it| opening(it, 10));
        let mut backends = Backends::default();
        for (second, config) in [(0, &a), (1, &b), (2, &a)] {
            backends.follow(at(second), config, None);
        }
        assert!(backends.expire(at(100)));
        assert_eq!(names(&backends), ["a"]);
    }

    #[test]
    fn reloads_without_end_are_not_all_remembered() {
        let mut backends = Backends::default();
        for round in 0..50 {
            let all: Vec<_> = (0..100).map(|it| format!("db{round}x{it}:1")).collect();
            let mut config = config(&all);
            config.heartbeat_timeout = at(1);
            backends.follow(Duration::from_millis(round), &config, None);
        }
        assert_eq!(backends.earlier.len(), MOST_EARLIER);
        assert!(!names(&backends).contains(&"db0x0".to_owned()));
        assert!(names(&backends).contains(&"db48x0".to_owned()));
    }

    #[test]
    fn a_long_list_is_told_in_parts_and_the_last_says_so() {
        let mut backends = Backends::default();
        let many: Vec<_> = (0..250).map(|it| format!("db{it}:1")).collect();
        backends.follow(at(0), &config(&many), None);
        let parts = backends
            .messages()
            .into_iter()
            .map(|message| match message {
                ToResolver::Backends { wanted, is_last } => (wanted.len(), is_last),
                other => panic!("{other:?}"),
            });
        let expected = [(100, false), (100, false), (50, true)];
        assert_eq!(parts.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn ip_addresses_are_not_asked_for() {
        let mut backends = Backends::default();
        backends.follow(at(0), &config(&["127.0.0.1:1".to_owned()]), None);
        assert_eq!(names(&backends), Vec::<String>::new());
        assert_eq!(backends.messages().len(), 1);
    }
}
