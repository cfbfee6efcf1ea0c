//! Notices that TLS files have changed.
//!
//! The truth is their content, compared once an interval. An event from the kernel only makes a
//! comparison come at once; `hint` says how such events can fail.

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
    store::{Memo, Survey},
};

/// The generation in force, as the loop changes it.
pub(in crate::supervisor) type Current = Rc<RefCell<Arc<Generation>>>;

/// What the loop and the watch share.
#[derive(Debug, Default)]
pub(super) struct Watching {
    wake: Notify,
    /// Whether the files are to be looked at soon.
    stir: Cell<bool>,
    /// Whether broken files may still be being written.
    settling: Cell<bool>,
    /// Why the kernel does not report all changes; `None` if it does.
    trouble: RefCell<Option<Trouble>>,
}

impl Watching {
    /// Makes the watch look at the files soon, because other files may be configured now or a change
    /// was seen.
    pub(super) fn stir(&self) {
        self.stir.set(true);
        self.wake.notify_one();
    }

    /// Makes the watch look more often while broken files may still be being written.
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

    /// Notes why the kernel does not report all changes, and logs it when it has changed.
    fn note(&self, trouble: Option<Trouble>, config: &Config) {
        let last = self.trouble.replace(trouble);
        match (&*self.trouble.borrow(), last) {
            (Some(now), last) if last.as_ref().is_none_or(|last| !last.is_like(now)) => {
                let interval = config.watch_interval;
                warn!("{now}; changes are noticed by comparing files every {interval:?}");
            }
            (None, Some(_)) if config.watch => info!("the kernel reports changes again"),
            _ => {}
        }
    }

    fn measure(&self, config: &Config, hint: &Hint) -> Measure {
        Measure {
            interval: config.watch_interval,
            settling: self.settling.get(),
            hears_all: hint.is_listening() && self.trouble.borrow().is_none(),
        }
    }
}

/// Calls `changed` each time the files have changed and then stood still for a moment, and once in a
/// while if they have not changed; ends when `changed` returns `false`.
pub(super) async fn watch(
    current: Current,
    watching: Rc<Watching>,
    memo: Arc<Memo>,
    changed: impl Fn() -> bool,
) {
    // The files may have changed between the load of the start and the first look.
    let (mut hint, mut pace) = (Hint::default(), Pace::default());
    loop {
        let generation = Arc::clone(&current.borrow());
        if !generation.config.watch {
            (hint, pace) = (Hint::default(), Pace::default());
            watching.note(None, &generation.config);
            watching.wake.notified().await;
        } else if is_due(&watching, &generation.config, &mut hint, &mut pace).await {
            let measure = watching.measure(&generation.config, &hint);
            let look = Look::new(Arc::clone(&generation), Arc::clone(&memo), &mut hint);
            let Ok((aimed, print)) = tokio::task::spawn_blocking(|| look.run()).await else {
                continue;
            };
            watching.note(hint.take(aimed), &generation.config);
            let heard = hint.heard();
            if pace.looked(print, heard, Instant::now(), measure) && !changed() {
                return;
            }
        }
    }
}

/// Waits until a look is due and returns `true`, or until something changes when it is due and returns
/// `false`.
async fn is_due(watching: &Watching, config: &Config, hint: &mut Hint, pace: &mut Pace) -> bool {
    let due = pace.due(watching.measure(config, hint));
    tokio::select! {
        // First, so that events of a busy folder cannot hold up the look.
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

    /// Watches the paths by which the files are reached now, and then reads what they hold.
    fn run(self) -> (Aimed, Print) {
        let config = &self.generation.config;
        let mut surveys = 0;
        let mut survey = None;
        let aimed = hint::aim(self.instance, self.watches, || {
            surveys += 1;
            hops::folders(&survey.insert(Survey::of(config)).watched_paths())
        });
        // Where one survey found everything watched already, nothing can have come since unnoticed.
        let survey = survey.filter(|_| surveys == 1);
        let survey = survey.unwrap_or_else(|| Survey::of(config));
        (aimed, survey.fingerprint(&self.memo))
    }
}
