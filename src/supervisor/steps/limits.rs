//! The number of descriptors that the daemon needs at once.

use nix::sys::resource::{Resource, getrlimit};

use super::{Findings, Ground};
use crate::{
    config::{Address, Config},
    link::worker::MOST_PAIRS,
    supervisor::refusal::Refusal,
};

/// The descriptors of a daemon without listeners and workers: standard ones, log, pid file, control
/// socket, page, helpers, timers, a few files at a time, those kept back for starting children, and what is written down for
/// the next supervisor.
const BASE: u64 = 43;

/// The descriptors for a worker: its link, its standard error, its process, its board, and its table.
const OF_WORKER: u64 = 5;

/// The descriptors that the sockets of kept sessions leave free beyond those that the daemon needs: some for what
/// comes and goes, such as files that are read, and those of a message with sockets that a worker has just sent.
const MARGIN: u64 = 64 + 2 * MOST_PAIRS as u64;

pub(super) fn attempt(ground: &Ground<'_>, findings: &mut Findings) {
    // A start raises its own limit to this one.
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && let Err(error) = check(ground.config, hard)
    {
        findings.obstacle(error);
    }
}

/// Fails if a daemon with this configuration needs more than `limit` descriptors.
pub(super) fn check(config: &Config, limit: u64) -> Result<(), Refusal> {
    let needed = needed(config);
    if limit >= needed {
        return Ok(());
    }
    Err(format!(
        "{limit} descriptors are the most that this process may open, and its {} workers and {} \
         listeners need {needed}; raise the limit (`ulimit -Hn`, or LimitNOFILE= of the unit)",
        config.workers,
        config.listeners.len()
    ))
}

/// Returns of how many sessions the supervisor can keep the sockets, with this configuration and the number of
/// descriptors that it may open.
pub(in crate::supervisor) fn most_kept(config: &Config) -> usize {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
    usize::try_from(kept_within(config, limit)).unwrap_or(usize::MAX)
}

/// Returns of how many sessions the supervisor can keep the sockets as long as the configuration is not known.
pub(super) fn most_kept_at_first() -> usize {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
    usize::try_from(limit / 4).unwrap_or(usize::MAX)
}

fn kept_within(config: &Config, limit: u64) -> u64 {
    limit.saturating_sub(needed(config) + MARGIN) / 2
}

/// Returns how many descriptors the supervisor needs at least.
fn needed(config: &Config) -> u64 {
    let workers = config.workers as u64;
    let of_listener = |bind: &Address| -> u64 {
        match bind {
            Address::Tcp { .. } => workers,
            Address::Unix(_) => 1,
        }
    };
    let listeners = config.listeners.iter();
    let listeners: u64 = listeners.map(|it| of_listener(&it.bind)).sum();
    BASE + workers * OF_WORKER + listeners
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing;

    #[test]
    fn what_listeners_and_workers_need_is_counted() {
        let mut config = testing::config(vec![testing::listener(&["a"]); 2]);
        config.workers = 4;
        let needed = needed(&config);
        assert_eq!(needed, BASE + 4 * OF_WORKER + 2 * 4);
        check(&config, needed).unwrap();
        let told = check(&config, needed - 1).unwrap_err();
        assert!(told.contains("4 workers and 2 listeners need"), "{told}");
        assert_eq!(kept_within(&config, needed), 0);
        assert_eq!(kept_within(&config, needed + MARGIN + 2001), 1000);
    }
}
