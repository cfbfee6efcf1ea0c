//! Notices that TLS files have changed.
//!
//! The truth is their content, compared once an interval. What the kernel tells of changes only
//! makes a comparison come at once; see `hint` for all that can be wrong with it.

mod hint;
mod hops;
mod pace;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use tokio::{sync::Notify, time::sleep_until};
use tracing::{info, warn};

use self::{
    hint::{Aimed, Hint, Instance, Trouble, Watches},
    pace::{Measure, Pace, Print},
};
use crate::{
    config::Config,
    control::{WatchState, WatchStatus},
    link::Generation,
    tls::{
        Memo,
        load::{fingerprint, watched_paths},
    },
};

/// The generation in force, as the loop changes it.
pub(in crate::supervisor) type Current = Rc<RefCell<Arc<Generation>>>;

/// What the loop and the watch tell each other.
#[derive(Debug, Default)]
pub(super) struct Watching {
    wake: Notify,
    /// Whether a look is wanted at once.
    stir: Cell<bool>,
    /// Whether broken files may be being written.
    settling: Cell<bool>,
    /// Why the kernel does not tell of all changes.
    trouble: RefCell<Option<Trouble>>,
}

impl Watching {
    /// Has the files looked at soon, because others may be configured or something was seen.
    pub(super) fn stir(&self) {
        self.stir.set(true);
        self.wake.notify_one();
    }

    /// Has the files read again and again as long as broken ones may be being written.
    pub(super) fn settle(&self, settling: bool) {
        if self.settling.replace(settling) != settling {
            self.wake.notify_one();
        }
    }

    /// Returns how changes are noticed with this configuration.
    pub(super) fn status(&self, config: &Config) -> WatchStatus {
        let trouble = self.trouble.borrow();
        WatchStatus {
            state: match &*trouble {
                _ if !config.watch => WatchState::Off,
                None => WatchState::Events,
                Some(_) => WatchState::Interval,
            },
            reason: trouble.as_ref().map(ToString::to_string),
            interval_s: config.watch_interval.as_secs_f64(),
            grace_s: config.watch_grace.as_secs_f64(),
        }
    }

    /// Takes note of why the kernel does not tell of all changes, and tells people once.
    fn note(&self, trouble: Option<Trouble>, config: &Config) {
        let last = self.trouble.replace(trouble);
        match (&*self.trouble.borrow(), last) {
            (Some(now), last) if last.as_ref().is_none_or(|last| !last.is_like(now)) => {
                let interval = config.watch_interval;
                warn!("{now}; changes are noticed by comparing files every {interval:?}");
            }
            (None, Some(_)) if config.watch => info!("the kernel tells of changes again"),
            _ => {}
        }
    }

    fn measure(&self, config: &Config) -> Measure {
        Measure {
            interval: config.watch_interval,
            settling: self.settling.get(),
        }
    }
}

/// Calls `changed` each time the files have changed and then stood still for a moment, and once in a
/// while when they have not; ends when it returns `false`.
pub(super) async fn watch(
    current: Current,
    watching: Rc<Watching>,
    memo: Arc<Memo>,
    changed: impl Fn() -> bool,
) {
    // What was loaded at the start may be older than the first look.
    let (mut hint, mut pace) = (Hint::default(), Pace::default());
    loop {
        let generation = Arc::clone(&current.borrow());
        if !generation.config.watch {
            (hint, pace) = (Hint::default(), Pace::default());
            watching.note(None, &generation.config);
            watching.wake.notified().await;
        } else if is_due(&watching, &generation.config, &mut hint, &mut pace).await {
            let look = Look::new(Arc::clone(&generation), Arc::clone(&memo), &mut hint);
            let Ok((aimed, print)) = tokio::task::spawn_blocking(|| look.run()).await else {
                continue;
            };
            watching.note(hint.take(aimed), &generation.config);
            let measure = watching.measure(&generation.config);
            if pace.looked(print, Instant::now(), measure) && !changed() {
                return;
            }
        }
    }
}

/// Waits until a look is due, or something came up that changes when that is; then it is not.
async fn is_due(watching: &Watching, config: &Config, hint: &mut Hint, pace: &mut Pace) -> bool {
    let due = pace.due(watching.measure(config));
    tokio::select! {
        // What goes on in a busy folder does not keep the look from coming.
        biased;
        () = sleep_until(due.unwrap_or_else(Instant::now).into()) => return true,
        () = watching.wake.notified() => {
            if watching.stir.take() {
                pace.stir(Instant::now());
            }
        }
        heard = hint.listen() => {
            for heard in heard {
                pace.hear(heard, Instant::now());
            }
        }
    }
    false
}

/// A look at the files, on a thread that may block.
struct Look {
    generation: Arc<Generation>,
    memo: Arc<Memo>,
    instance: Option<Instance>,
    watches: Watches,
}

impl Look {
    fn new(generation: Arc<Generation>, memo: Arc<Memo>, hint: &mut Hint) -> Self {
        let (instance, watches) = hint.lend();
        Self {
            generation,
            memo,
            instance,
            watches,
        }
    }

    /// Watches whatever the files are reached by now, and then looks at what they hold.
    fn run(self) -> (Aimed, Print) {
        let config = &self.generation.config;
        let aimed = hint::aim(self.instance, self.watches, || {
            hops::folders(&watched_paths(config))
        });
        (aimed, fingerprint(config, &self.memo))
    }
}
