//! The same work on many things, on all processors.

use std::{
    num::NonZero,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// So few things are not worth another thread.
const FEW: usize = 16;

/// More threads than this gain nothing: reading files is part of the work.
const MOST_THREADS: usize = 16;

/// Returns what `act` makes of each item and its position, in the same order.
///
/// The calling thread takes part, so that it goes on even where the system grants no thread.
pub(crate) fn map<I: Sync, O: Send>(items: &[I], act: impl Fn(usize, &I) -> O + Sync) -> Vec<O> {
    if items.len() <= FEW {
        return items.iter().enumerate().map(|(i, it)| act(i, it)).collect();
    }
    let results: Mutex<Vec<(usize, O)>> = Mutex::new(Vec::with_capacity(items.len()));
    let next = AtomicUsize::new(0);
    let work = || {
        let mut own = Vec::new();
        while let index = next.fetch_add(1, Ordering::Relaxed)
            && let Some(item) = items.get(index)
        {
            own.push((index, act(index, item)));
        }
        let mut all = results.lock().unwrap_or_else(PoisonError::into_inner);
        all.append(&mut own);
    };
    thread::scope(|scope| {
        for _ in 1..threads() {
            // Without it the others do its share.
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_unstable_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

fn threads() -> usize {
    thread::available_parallelism()
        .map_or(1, NonZero::get)
        .min(MOST_THREADS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items() {
        for count in [0, 1, FEW, FEW + 1, 1000] {
            let items: Vec<usize> = (0..count).collect();
            let expected: Vec<usize> = items.iter().map(|it| it * 3).collect();
            assert_eq!(map(&items, |index, item| index + 2 * item), expected);
        }
    }
}
