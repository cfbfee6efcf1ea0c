//! What the resolver answers for: the names and paths of backends that sessions may be on their way to.

use std::collections::BTreeSet;

use crate::{
    config::{Address, Config},
    facts::Wanted,
    link::{ToResolver, resolver::BACKENDS_AT_ONCE},
};

/// The names and paths of the generation in force, the one before and the one that is made ready.
#[derive(Debug, Default)]
pub(super) struct Backends {
    current: BTreeSet<Wanted>,
    /// What sessions may still ask for that began with the generation before.
    earlier: BTreeSet<Wanted>,
    staged: BTreeSet<Wanted>,
}

impl Backends {
    /// Notes which configuration is in force and which is made ready; returns whether the resolver is to
    /// be told.
    pub(super) fn follow(&mut self, current: &Config, staged: Option<&Config>) -> bool {
        let before = self.all();
        let current = wanted(current);
        if current != self.current {
            self.earlier = std::mem::replace(&mut self.current, current);
        }
        self.staged = staged.map(wanted).unwrap_or_default();
        self.all() != before
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
        let all = [&self.current, &self.earlier, &self.staged];
        all.into_iter().flatten().cloned().collect()
    }
}

fn wanted(config: &Config) -> BTreeSet<Wanted> {
    let listeners = config.listeners.iter();
    let backends = listeners.flat_map(|listener| listener.backends.iter());
    backends.filter_map(Address::wanted).collect()
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

    #[test]
    fn sessions_of_the_generation_before_and_of_the_next_are_answered_too() {
        let [a, b, c] = ["a:1", "b:1", "unix:/c"].map(|it| config(&[it.to_owned()]));
        let mut backends = Backends::default();
        assert!(backends.follow(&a, None));
        assert!(!backends.follow(&a, None));
        assert!(backends.follow(&a, Some(&b)));
        assert_eq!(names(&backends), ["a", "b"]);
        assert!(!backends.follow(&b, None));
        assert!(backends.follow(&b, Some(&c)));
        assert_eq!(names(&backends), ["a", "b", "unix:/c"]);
        assert!(backends.follow(&b, None));
        backends.follow(&c, None);
        assert_eq!(names(&backends), ["b", "unix:/c"]);
    }

    #[test]
    fn a_long_list_is_told_in_parts_and_the_last_says_so() {
        let mut backends = Backends::default();
        let many: Vec<_> = (0..250).map(|it| format!("db{it}:1")).collect();
        backends.follow(&config(&many), None);
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
        backends.follow(&config(&["127.0.0.1:1".to_owned()]), None);
        assert_eq!(names(&backends), Vec::<String>::new());
        assert_eq!(backends.messages().len(), 1);
    }
}
