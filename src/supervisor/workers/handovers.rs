//! Generations written into sealed memory, once for all workers that are handed the same.

use std::{io, os::fd::OwnedFd, sync::Arc};

use crate::{
    link::{Generation, Handover},
    sys::reserve::Reserve,
};

/// Descriptors kept back for writing: a generation may have to be handed over when no more can be opened.
const KEPT_BACK: usize = 2;

/// The handovers that were written.
#[derive(Debug)]
pub(super) struct Handovers {
    written: Vec<Written>,
    reserve: Reserve,
}

/// A handover, and what comes along.
#[derive(Debug)]
struct Written {
    next: Arc<Generation>,
    /// The number of the generation that it is a difference to; `None` if to none.
    base: Option<u64>,
    along: Vec<Arc<OwnedFd>>,
}

impl Handovers {
    /// Begins with none.
    pub(super) fn new() -> Self {
        Self {
            written: Vec::new(),
            reserve: Reserve::new(KEPT_BACK),
        }
    }

    /// Returns the descriptors that hand `next` over to a worker that has `base`: the handover and the
    /// packs that the worker lacks.
    pub(super) fn get(
        &mut self,
        base: Option<&Generation>,
        next: &Arc<Generation>,
    ) -> io::Result<Vec<Arc<OwnedFd>>> {
        let number = base.map(|base| base.number);
        let mut written = self.written.iter();
        if let Some(known) = written.find(|it| Arc::ptr_eq(&it.next, next) && it.base == number) {
            return Ok(known.along.clone());
        }
        let (handover, packs) = Handover::new(base, next);
        let file = self.reserve.lend(|| handover.write())?;
        let along: Vec<_> = std::iter::once(file.descriptor()).chain(packs).collect();
        self.written.push(Written {
            next: Arc::clone(next),
            base: number,
            along: along.clone(),
        });
        Ok(along)
    }

    /// Drops what was written for other generations than `current`.
    pub(super) fn keep(&mut self, current: &Arc<Generation>) {
        self.written.retain(|it| Arc::ptr_eq(&it.next, current));
        self.reserve.fill();
    }
}
