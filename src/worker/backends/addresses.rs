//! In which order the addresses of a name are tried, by what this worker has found out about them.
//!
//! An address that failed, or had its time and did not answer, is tried last for a while, which
//! grows with each failure; then one session tries it in its turn. None is ever left out. Only those
//! that failed are remembered, and those that no lookup finds any more are forgotten.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::circuit::{Attempt, Circuit, News};

/// How long an address is remembered that no lookup finds. The longest pause is over by then.
const KEPT: Duration = Duration::from_secs(600);

/// The most addresses that are remembered.
const MOST: usize = 1024;

/// The addresses that failed lately.
#[derive(Debug, Default)]
pub(super) struct Memory(HashMap<SocketAddr, Known>);

#[derive(Debug)]
struct Known {
    circuit: Circuit,
    /// When a lookup found it last.
    found: Instant,
}

impl Memory {
    /// Returns the addresses that a lookup found in the order in which to try them now, each once.
    ///
    /// The families take turns, beginning with the one that the resolver prefers (RFC 8305, section
    /// 4). Behind those that are good come those that failed, the one whose pause ends first before
    /// the others.
    pub(super) fn order(&mut self, found: &[SocketAddr], now: Instant) -> Vec<SocketAddr> {
        for address in found {
            if let Some(known) = self.0.get_mut(address) {
                known.found = now;
            }
        }
        self.0
            .retain(|_, known| now.saturating_duration_since(known.found) < KEPT);
        let (mut good, mut paused) = (Vec::new(), Vec::new());
        for address in found {
            match self.paused_until(*address, now) {
                None if !good.contains(address) => good.push(*address),
                Some(until) if !paused.contains(&(until, *address)) => {
                    paused.push((until, *address));
                }
                _ => {}
            }
        }
        paused.sort_by_key(|(until, _)| *until);
        let mut order = interleave(good);
        order.extend(paused.into_iter().map(|(_, address)| address));
        order
    }

    fn paused_until(&self, address: SocketAddr, now: Instant) -> Option<Instant> {
        self.0.get(&address)?.circuit.paused_until(now)
    }

    /// Begins an attempt.
    pub(super) fn begin(&mut self, address: SocketAddr, now: Instant) -> Attempt {
        let known = self.0.get_mut(&address);
        known.map_or_else(Attempt::default, |it| it.circuit.begin(now))
    }

    /// Notes that an attempt succeeded.
    pub(super) fn succeed(&mut self, address: SocketAddr) -> News {
        let known = self.0.remove(&address);
        known.map_or(News::None, |mut it| it.circuit.succeed())
    }

    /// Notes that an attempt failed.
    pub(super) fn fail(&mut self, address: SocketAddr, attempt: Attempt, now: Instant) -> News {
        if self.0.len() >= MOST && !self.0.contains_key(&address) {
            self.forget_one();
        }
        let known = self.0.entry(address).or_insert_with(|| Known {
            circuit: Circuit::default(),
            found: now,
        });
        known.circuit.fail(attempt, now)
    }

    /// Forgets the address that was found the longest time ago.
    fn forget_one(&mut self) {
        let oldest = self.0.iter().min_by_key(|(_, known)| known.found);
        if let Some(address) = oldest.map(|(address, _)| *address) {
            self.0.remove(&address);
        }
    }
}

/// Lets the two families take turns as long as there are both, beginning with that of the first.
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv4) else {
        return addresses;
    };
    let count = addresses.len();
    let (same, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|it| it.is_ipv4() == first);
    let (mut same, mut other) = (same.into_iter(), other.into_iter());
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        all.extend(same.next());
        all.extend(other.next());
    }
    all
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::{super::circuit::SHORTEST_PAUSE, *};

    fn addresses(all: &[&str]) -> Vec<SocketAddr> {
        all.iter().map(|it| it.parse().unwrap()).collect()
    }

    fn fail(memory: &mut Memory, address: SocketAddr, now: Instant) -> News {
        let attempt = memory.begin(address, now);
        memory.fail(address, attempt, now)
    }

    #[test]
    fn the_families_take_turns_beginning_with_the_one_that_the_resolver_prefers() {
        let now = Instant::now();
        let found = addresses(&[
            "[::1]:1",
            "[::2]:1",
            "[::3]:1",
            "127.0.0.1:1",
            "[::1]:1",
            "127.0.0.2:1",
        ]);
        let order = addresses(&[
            "[::1]:1",
            "127.0.0.1:1",
            "[::2]:1",
            "127.0.0.2:1",
            "[::3]:1",
        ]);
        assert_eq!(Memory::default().order(&found, now), order);
    }

    #[test]
    fn an_address_that_failed_is_tried_last_until_its_pause_is_over_and_then_by_one() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        let found = addresses(&["127.0.0.1:1", "127.0.0.2:1"]);
        let turned = addresses(&["127.0.0.2:1", "127.0.0.1:1"]);
        assert_eq!(fail(&mut memory, found[0], now), News::Down);
        assert_eq!(fail(&mut memory, found[0], now), News::None);
        assert_eq!(memory.order(&found, now), turned);
        let later = now + SHORTEST_PAUSE;
        assert_eq!(memory.order(&found, later), found);
        let trial = memory.begin(found[0], later);
        assert_eq!(memory.order(&found, later), turned);
        assert_eq!(memory.fail(found[0], trial, later), News::None);
        assert_eq!(memory.order(&found, later + SHORTEST_PAUSE), turned);
        assert_eq!(memory.succeed(found[0]), News::Up);
        assert_eq!(memory.succeed(found[0]), News::None);
        assert_eq!(memory.order(&found, later), found);
    }

    #[test]
    fn where_all_have_failed_the_one_whose_pause_ends_first_is_tried_first() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        let found = addresses(&["127.0.0.1:1", "127.0.0.2:1"]);
        fail(&mut memory, found[1], now);
        fail(&mut memory, found[0], now + Duration::from_millis(1));
        assert_eq!(memory.order(&found, now), [found[1], found[0]]);
    }

    #[test]
    fn an_address_is_forgotten_that_no_lookup_finds_any_more() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        let found = addresses(&["127.0.0.1:1", "127.0.0.2:1"]);
        for address in &found {
            fail(&mut memory, *address, now);
        }
        memory.order(&found[..1], now + KEPT / 2);
        memory.order(&[], now + KEPT);
        assert_eq!(memory.0.keys().collect::<Vec<_>>(), [&found[0]]);
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let (mut memory, mut now) = (Memory::default(), Instant::now());
        let numbers = 0..u32::try_from(MOST).unwrap() + 10;
        for number in numbers.clone() {
            now += Duration::from_millis(1);
            let address = SocketAddr::from((Ipv4Addr::from(number), 1));
            assert_eq!(fail(&mut memory, address, now), News::Down);
        }
        assert_eq!(memory.0.len(), MOST);
        let oldest = SocketAddr::from((Ipv4Addr::from(numbers.start), 1));
        assert!(!memory.0.contains_key(&oldest));
    }

    fn any_address() -> impl Strategy<Value = SocketAddr> {
        prop_oneof![
            (0_u32..8).prop_map(|it| SocketAddr::from((Ipv4Addr::from(it), 1))),
            (0_u128..8).prop_map(|it| SocketAddr::from((Ipv6Addr::from(it), 1))),
        ]
    }

    proptest! {
        #[test]
        fn every_address_is_tried_once_and_those_that_failed_last(
            found in proptest::collection::vec(any_address(), 0..12),
            steps in proptest::collection::vec((any_address(), any::<bool>(), 0_u64..3000), 0..40),
        ) {
            let (mut memory, mut now) = (Memory::default(), Instant::now());
            for (address, good, wait) in steps {
                let attempt = memory.begin(address, now);
                if good {
                    memory.succeed(address);
                } else {
                    memory.fail(address, attempt, now);
                }
                now += Duration::from_millis(wait);
            }
            let order = memory.order(&found, now);
            let (mut all, mut tried) = (found.clone(), order.clone());
            all.sort_unstable();
            all.dedup();
            tried.sort_unstable();
            prop_assert_eq!(tried, all);

            let is_paused = |it: &SocketAddr| memory.paused_until(*it, now).is_some();
            prop_assert!(order.is_sorted_by_key(is_paused));
            let good: Vec<_> = order.iter().filter(|it| !is_paused(it)).collect();
            let preferred = found.iter().find(|it| !is_paused(it));
            prop_assert_eq!(good.first().copied(), preferred);
            let turns = good.windows(2).take_while(|pair| pair[0].is_ipv4() != pair[1].is_ipv4());
            let rest = &good[turns.count().min(good.len())..];
            prop_assert!(rest.windows(2).all(|pair| pair[0].is_ipv4() == pair[1].is_ipv4()));
        }
    }
}
