//! The numbers by which boards name listeners.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    config::Listener,
    link::board::{ListenerNumber, NUMBERS},
    supervisor::state::IdsBook,
};

/// The numbers of all listeners, by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Numbers {
    given: BTreeMap<String, ListenerNumber>,
    /// The position of the next number, so that one is used again as late as possible.
    next: usize,
}

/// The numbers of listeners that are not in force yet.
#[derive(Debug, Default)]
pub(super) struct NewNumbers {
    given: BTreeMap<String, ListenerNumber>,
    next: usize,
}

/// No number is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are more listeners than proxyd can count sessions for")]
pub(in crate::supervisor) struct NoNumber;

impl Numbers {
    /// Goes on with the numbers that an earlier supervisor gave.
    pub(super) fn resume(ids: &IdsBook) -> Self {
        let given = ids.listeners.iter();
        let given = given.filter_map(|(name, at)| Some((name.clone(), ListenerNumber::at(*at)?)));
        Self {
            given: given.collect(),
            next: ids.next_listener % NUMBERS,
        }
    }

    /// Writes the numbers down for the next supervisor.
    pub(super) fn bequeath(&self, ids: &mut IdsBook) {
        let given = self.given.iter();
        ids.listeners = given
            .map(|(name, it)| (name.clone(), it.position()))
            .collect();
        ids.next_listener = self.next;
    }

    /// Gives numbers to those of `listeners` that have none: numbers that no listener has, and, as long as
    /// there are such, under which no worker still has sessions, as `is_counted` tells.
    pub(super) fn for_new(
        &self,
        listeners: &[Listener],
        is_counted: impl Fn(ListenerNumber) -> bool,
    ) -> Result<NewNumbers, NoNumber> {
        let mut used: BTreeSet<_> = self.given.values().copied().collect();
        let mut new = NewNumbers {
            given: BTreeMap::new(),
            next: self.next,
        };
        for listener in listeners {
            if self.given.contains_key(&listener.name) {
                continue;
            }
            let mut free = (0..NUMBERS)
                .filter_map(|step| ListenerNumber::at((new.next + step) % NUMBERS))
                .filter(|number| !used.contains(number));
            let oldest = free.clone().next();
            // A worker that was taken over may count sessions under all numbers.
            let number = free.find(|number| !is_counted(*number)).or(oldest);
            let number = number.ok_or(NoNumber)?;
            new.next = number.position() + 1;
            used.insert(number);
            new.given.insert(listener.name.clone(), number);
        }
        Ok(new)
    }

    /// Puts `new` numbers in force, and forgets those of listeners that are not among `listeners`.
    pub(super) fn commit(&mut self, new: NewNumbers, listeners: &[Listener]) {
        if !new.given.is_empty() {
            self.next = new.next;
        }
        self.given.extend(new.given);
        let names: BTreeSet<_> = listeners.iter().map(|it| it.name.as_str()).collect();
        self.given.retain(|name, _| names.contains(name.as_str()));
    }

    /// Returns the number of each listener, by its name.
    pub(super) fn all(&self) -> &BTreeMap<String, ListenerNumber> {
        &self.given
    }
}

impl NewNumbers {
    /// Returns the number of each listener that is not in force yet, by its name.
    pub(super) fn all(&self) -> &BTreeMap<String, ListenerNumber> {
        &self.given
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing;

    fn listeners(names: &[&str]) -> Vec<Listener> {
        let make = |name: &&str| Listener {
            name: (*name).to_owned(),
            ..testing::listener(&[])
        };
        names.iter().map(make).collect()
    }

    /// Puts listeners in force, and returns the positions of their numbers, in the order of their names.
    fn put_in_force(numbers: &mut Numbers, names: &[&str], counted: &[usize]) -> Vec<usize> {
        let listeners = listeners(names);
        let is_counted = |number: ListenerNumber| counted.contains(&number.position());
        let new = numbers.for_new(&listeners, is_counted).unwrap();
        numbers.commit(new, &listeners);
        numbers.all().values().map(|it| it.position()).collect()
    }

    #[test]
    fn a_listener_keeps_its_number_and_a_new_one_gets_another() {
        let mut numbers = Numbers::default();
        assert_eq!(put_in_force(&mut numbers, &["a", "b"], &[]), [0, 1]);
        assert_eq!(put_in_force(&mut numbers, &["b", "c"], &[]), [1, 2]);
        // It has the same name, but is another listener, because there was none of this name meanwhile.
        assert_eq!(put_in_force(&mut numbers, &["a", "b"], &[]), [3, 1]);
        let none = NewNumbers::default();
        numbers.commit(none, &listeners(&["a", "b"]));
        assert_eq!(put_in_force(&mut numbers, &["a", "z"], &[]), [3, 4]);
    }

    #[test]
    fn the_next_supervisor_goes_on_with_the_numbers() {
        let mut numbers = Numbers::default();
        put_in_force(&mut numbers, &["a", "b", "c"], &[]);
        let mut ids = IdsBook::default();
        numbers.bequeath(&mut ids);
        let mut next = Numbers::resume(&ids);
        assert_eq!(put_in_force(&mut next, &["a", "c", "d"], &[]), [0, 2, 3]);
        ids.listeners
            .insert("of another version".to_owned(), NUMBERS);
        assert_eq!(Numbers::resume(&ids).all().len(), 3);
    }

    #[test]
    fn a_number_under_which_a_worker_has_sessions_is_passed_over() {
        let mut numbers = Numbers {
            next: NUMBERS - 1,
            ..Numbers::default()
        };
        let last = NUMBERS - 1;
        assert_eq!(put_in_force(&mut numbers, &["a", "b"], &[0]), [last, 1]);
        assert_eq!(put_in_force(&mut numbers, &["b", "c"], &[2, 3]), [1, 4]);
    }

    #[test]
    fn a_worker_that_counts_under_all_numbers_keeps_no_listener_out() {
        let mut numbers = Numbers {
            next: 7,
            ..Numbers::default()
        };
        let all: Vec<usize> = (0..NUMBERS).collect();
        assert_eq!(put_in_force(&mut numbers, &["a", "b"], &all), [7, 8]);
    }
}
