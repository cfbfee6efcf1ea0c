//! Loads of the disk: begin them, stage what they bring, put it in force, and answer the requests.

mod debounce;
mod disk;
mod disk_state;
mod expiry;
mod files;
mod moments;
mod next;
mod report;
mod rollback;
mod taken;
mod verdict;
mod watch;

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tracing::{error, info, warn};

pub(super) use self::{
    disk::{Reader, Reading, View, about_config, wrong_config},
    files::Files,
    verdict::Verdict,
    watch::Current,
};
use self::{
    expiry::Ends,
    moments::next_change,
    next::Next,
    report::{Report, updated},
    rollback::{History, Prepared},
};
use super::{
    notices::Events,
    plan::{AskId, LoadId, NoResult, Outcome},
    state::LoadsBook,
    steps::Origin,
    workers::{Acquired, Acquirer},
};
use crate::{
    config::{Config, Source},
    control::{
        DiskState, DiskStatus, EventKind, LoadError, ReloadReport, Response, WatchStatus,
        server::Reply,
    },
    facts::{Moment, Partial, Problem, Trigger},
    link::{Generation, Packs},
    store::{Memo, Owner, expiries::Expiries},
    tls::Material,
};

/// What happens to loads.
#[derive(Debug)]
pub(super) enum Message {
    /// TLS files have changed.
    Changed,
    /// A load of the disk is over.
    Loaded(LoadId, Box<Reading>),
    /// What was served before is ready to be served again, or cannot be.
    Prepared(LoadId, Box<Result<Prepared, String>>),
}

/// The loads, what they brought, and the requests that wait for them.
#[derive(Debug)]
pub(super) struct Loads {
    source: Arc<Source>,
    origin: Arc<Origin>,
    memo: Arc<Memo>,
    current: Current,
    history: History,
    files: Files,
    last_ask: u64,
    asks: HashMap<AskId, Reply>,
    /// Loads that were begun and are not settled.
    unsettled: BTreeMap<LoadId, Unsettled>,
    /// What the last load brought, until it is staged.
    found: Option<Found>,
    /// What is odd about the generation in force, as the last load that found just that told.
    odd: Option<Arc<Vec<Problem>>>,
    staged: Option<((LoadId, Arc<Generation>), Next)>,
    last_error: Option<LoadError>,
    /// When the files are to be judged again because of time alone.
    changes_at: Option<Timestamp>,
    ends: Ends,
    inbox: mpsc::UnboundedSender<Message>,
}

/// A load that was begun and is not settled.
#[derive(Debug)]
struct Unsettled {
    trigger: Trigger,
    /// What the load brought; `None` while the disk is being read.
    report: Option<Report>,
    /// Why there is nothing to go back to.
    refusal: Option<String>,
}

/// What a load has put in force, and the requests that wait to hear of it.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) report: ReloadReport,
    pub(super) replies: Vec<Reply>,
}

impl Served {
    /// Answers the requests.
    pub(super) fn answer(self) {
        for reply in self.replies {
            reply.answer(Response::Reloaded(self.report.clone()));
        }
    }
}

/// What a load brought that is not served yet.
#[derive(Debug)]
struct Found {
    trigger: Trigger,
    config: Arc<Config>,
    material: Material,
    packs: Packs,
    acquired: Acquired,
    next: Next,
}

impl Loads {
    /// Starts with the first generation and what of it ends when, and watches its files if the
    /// configuration says so. Goes on with the last error and the rollback of an earlier supervisor.
    pub(super) fn new(
        (source, origin): (Source, Origin),
        memo: Arc<Memo>,
        files: Files,
        (first, ends): (Generation, Arc<Expiries>),
        inbox: mpsc::UnboundedSender<Message>,
        book: LoadsBook,
    ) -> Self {
        let current: Current = Rc::new(RefCell::new(Arc::new(first)));
        let changed = inbox.clone();
        tokio::task::spawn_local(watch::watch(
            Rc::clone(&current),
            Rc::clone(&files.watching),
            Arc::clone(&memo),
            move || changed.send(Message::Changed).is_ok(),
        ));
        let now = Timestamp::now();
        let change = memo.changes_at(Owner::InForce, Timestamp::MIN);
        let changes_at = next_change(change, &current.borrow().config, now);
        Self {
            source: Arc::new(source),
            origin: Arc::new(origin),
            memo,
            current,
            history: History::resume(book.rollback),
            files,
            last_ask: 0,
            asks: HashMap::new(),
            unsettled: BTreeMap::new(),
            found: None,
            odd: None,
            staged: None,
            last_error: book.last_error,
            changes_at,
            ends: Ends::new(ends),
            inbox,
        }
    }

    /// Writes down what the next supervisor goes on with.
    pub(super) fn bequeath(&self) -> LoadsBook {
        let current = self.current.borrow();
        LoadsBook {
            generation: current.number,
            rollback: self.history.rollback().cloned(),
            last_error: self.last_error.clone(),
        }
    }

    /// Returns the generation in force.
    pub(super) fn current(&self) -> Arc<Generation> {
        Arc::clone(&self.current.borrow())
    }

    /// Returns the configuration file, if there is one.
    pub(super) fn config_file(&self) -> Option<String> {
        self.source.file().map(|file| file.display().to_string())
    }

    /// Returns a reader of the disk, for the generation in force now.
    pub(super) fn reader(&self) -> Reader {
        Reader {
            source: Arc::clone(&self.source),
            origin: Arc::clone(&self.origin),
            memo: Arc::clone(&self.memo),
            held: self.files.held,
            odd: self.odd.clone(),
            current: self.current(),
        }
    }

    /// Returns what ends when, of the generation in force.
    pub(super) fn ends(&self) -> &Expiries {
        self.ends.all()
    }

    /// Returns when the next thing in force will have ended.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.ends.due()
    }

    /// Tells of what has ended.
    pub(super) fn tell_ends(&mut self, events: &mut Events) {
        self.ends.tell(Moment::now(), events);
    }

    /// Makes the loads that begin from now on read every file once, whatever its metadata says.
    pub(super) fn demand_contents(&self) {
        self.memo.demand_contents();
    }

    /// Takes a request that waits for the result of a load.
    pub(super) fn ask(&mut self, reply: Reply) -> AskId {
        self.last_ask += 1;
        let ask = AskId(self.last_ask);
        self.asks.insert(ask, reply);
        ask
    }

    /// Returns when to read the files again because some were broken.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.files.debounce.deadline()
    }

    /// Returns whether such a reading is due at `now`; `true` only once for each.
    pub(super) fn is_due(&mut self, now: Duration) -> bool {
        let due = self.deadline().is_some_and(|due| due <= now);
        if due {
            self.files.debounce.ask();
        }
        due
    }

    /// Returns when to read the files again because something becomes valid or ends by itself; a moment of
    /// the wall clock.
    pub(super) fn changes_at(&self) -> Option<Timestamp> {
        self.changes_at
    }

    /// Forgets that moment, until a load has found the next one.
    pub(super) fn forget_change(&mut self) {
        self.changes_at = None;
    }

    /// Begins to read the disk, on another thread.
    pub(super) fn begin(
        &mut self,
        load: LoadId,
        trigger: Trigger,
        partial: Partial,
        acquirer: Acquirer,
    ) {
        let unsettled = Unsettled {
            trigger,
            report: None,
            refusal: None,
        };
        self.unsettled.insert(load, unsettled);
        if trigger == Trigger::Rollback {
            return self.begin_rollback(load);
        }
        let (reader, inbox) = (self.reader(), self.inbox.clone());
        tokio::task::spawn_blocking(move || {
            let reading = reader.read(trigger, partial, &acquirer);
            let _ = inbox.send(Message::Loaded(load, Box::new(reading)));
        });
    }

    /// Stages what the last load brought as the generation of this number; returns the resources
    /// acquired for it.
    pub(super) fn stage(&mut self, load: LoadId, number: u64) -> Acquired {
        let Some(found) = self.found.take() else {
            return Acquired::default();
        };
        let generation = Generation {
            number,
            loaded_at: Timestamp::now(),
            trigger: found.trigger,
            config: found.config,
            material: found.material,
            packs: found.packs,
        };
        self.staged = Some(((load, Arc::new(generation)), found.next));
        found.acquired
    }

    /// Returns the staged generation, and the load that brought it.
    pub(super) fn staged(&self) -> Option<&(LoadId, Arc<Generation>)> {
        self.staged.as_ref().map(|(staged, _)| staged)
    }

    /// Puts the staged generation in force and returns it.
    pub(super) fn commit(&mut self, events: &mut Events) -> Option<Arc<Generation>> {
        let ((load, generation), next) = self.staged.take()?;
        let report = self.unsettled.get_mut(&load)?.report.as_mut()?;
        let before = self.current.replace(Arc::clone(&generation));
        report.generation = generation.number;
        report.changed = true;
        let (number, updated) = (generation.number, updated(&report.changes.identities));
        let differs = next.differs;
        self.ends.replace(next.ends);
        if let Some(message) = self
            .history
            .replaced(&before, &generation, differs, &updated)
        {
            let rollback = self.history.rollback();
            report.trust_went_back =
                rollback.map_or_else(Vec::new, |it| it.trust_went_back.clone());
            warn!(generation = number, "{message}");
            events.add(EventKind::RolledBack, message);
        } else {
            info!(generation = number, trigger = %generation.trigger, "loaded{updated}");
            events.add(
                EventKind::Reloaded,
                format!("Generation {number} is in service{updated}."),
            );
        }
        self.files.watching.stir();
        self.changes_at = next_change(next.changes_at, &generation.config, Timestamp::now());
        Some(generation)
    }

    /// Drops the staged generation.
    pub(super) fn discard(&mut self) {
        self.staged = None;
    }

    /// Answers the requests of a load that ended; returns the load's trigger, and what it still has to tell
    /// if it has put another generation in force.
    pub(super) fn settle(
        &mut self,
        load: LoadId,
        asks: Vec<AskId>,
        outcome: Outcome,
        events: &mut Events,
    ) -> Option<(Trigger, Option<Served>)> {
        let Unsettled {
            trigger,
            report,
            refusal,
        } = self.unsettled.remove(&load)?;
        let response = match outcome {
            Outcome::Served { workers } => {
                let report = report?.answer(workers);
                if report.changed {
                    let asks = asks.into_iter();
                    let replies = asks.filter_map(|ask| self.asks.remove(&ask)).collect();
                    let served = Served { report, replies };
                    return Some((trigger, Some(served)));
                }
                Response::Reloaded(report)
            }
            Outcome::Refused { reason } => {
                let message = format!(
                    "a worker cannot serve what was loaded: {reason}; nothing was changed, and \
                     generation {} is still served",
                    self.current().number
                );
                self.files.config_refused |= trigger.reads_config();
                if trigger == Trigger::Rollback {
                    // It says nothing about the disk, which the last load's error is about.
                    error!(%trigger, "{message}");
                    events.add(EventKind::ReloadFailed, format!("{message}."));
                } else {
                    self.note_error(trigger, message.clone(), events);
                }
                refused(&message)
            }
            Outcome::Impossible => {
                let reason =
                    refusal.unwrap_or_else(|| "no client waits for the rollback".to_owned());
                warn!(%trigger, "refused: {reason}");
                refused(&reason)
            }
        };
        self.respond(asks, &response);
        Some((trigger, None))
    }

    /// Returns whether a load that an operator asked for is not settled.
    pub(super) fn is_reloading(&self) -> bool {
        let mut unsettled = self.unsettled.values();
        unsettled.any(|load| load.trigger.is_asked())
    }

    /// Answers requests that get no result.
    pub(super) fn answer(&mut self, asks: Vec<AskId>, answer: NoResult) {
        let response = match answer {
            NoResult::DiskStuck => refused(
                "the disk does not answer: reading the files takes far longer than expected for their \
                 number; what was served is still served",
            ),
            NoResult::Ending => refused("the daemon is ending and no longer reloads"),
        };
        self.respond(asks, &response);
    }

    fn respond(&mut self, asks: Vec<AskId>, response: &Response) {
        for ask in asks {
            if let Some(reply) = self.asks.remove(&ask) {
                reply.answer(response.clone());
            }
        }
    }

    /// Notes how the disk compares with the generation in force.
    pub(super) fn seen(&mut self, verdict: &Verdict, now: Duration) {
        let is_new = self.files.disk_state.seen(verdict, now);
        if is_new && verdict.by_files && verdict.state != DiskState::Same {
            // The watch may not have noticed the change yet.
            self.files.watching.stir();
        }
    }

    /// Returns the error of the last load, if it found any.
    pub(super) fn last_error(&self) -> Option<&LoadError> {
        self.last_error.as_ref()
    }

    /// Returns the state of the disk for the status document, by this verdict.
    pub(super) fn disk_status(&self, verdict: &Verdict, now: Duration) -> DiskStatus {
        let config = &self.current.borrow().config;
        let settling = self.files.disk_state.is_settling(now, config.watch_grace);
        let held = self.history.why_held(verdict);
        DiskStatus {
            state: verdict.state,
            reason: verdict.reason.clone().or(held),
            unseen: verdict.unseen.clone(),
            since: self.files.disk_state.at(),
            settling: settling && config.watch && self.rollback().is_none(),
        }
    }

    /// Returns how changes of the files are noticed.
    pub(super) fn watch_status(&self) -> WatchStatus {
        self.files.watching.status(&self.current.borrow().config)
    }

    /// Returns since when the last good state of an identity has been served, because its files are
    /// broken.
    pub(super) fn kept_since(&self, identity: &str) -> Option<Timestamp> {
        self.files.kept_since(identity)
    }
}

fn refused(reason: &str) -> Response {
    Response::Refused {
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests;
