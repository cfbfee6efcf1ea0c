//! What a worker is about from its first message to its end: it serves, hands over its sessions, or lets them end; with a
//! supervisor or without.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, interval, sleep_until},
};
use tracing::{info, warn};

use super::{
    Worker,
    contact::{Contacted, Order},
    heir::Heir,
    succession::HandingOver,
};
use crate::{
    link::{FromWorker, ToWorker},
    session::table::{Table, with_table},
};

/// How long sessions that are cut may take to tell their peers.
const GOODBYES: Duration = Duration::from_millis(1500);

/// How a worker ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It has no sessions any more.
    Done,
    /// Another worker goes on with its sessions, which are not to be touched.
    HandedOver,
}

/// What a worker is about.
pub(super) enum Phase {
    /// It serves, or waits to.
    Serving,
    /// It lets its sessions end.
    Draining {
        /// When those that are left are cut.
        until: Instant,
        /// Whether that is because it was told to, and not because no supervisor came.
        is_told: bool,
    },
    /// It has cut its sessions, which tell their peers until then.
    Parting {
        /// When it ends.
        until: Instant,
    },
    /// It has its sessions kept, to leave them to another worker.
    HandingOver(HandingOver),
}

impl Phase {
    /// Whether it does no more than let sessions end.
    fn is_ending(&self) -> bool {
        matches!(self, Self::Draining { .. } | Self::Parting { .. })
    }
}

impl Worker {
    /// Works until its sessions have ended, are cut or are handed over.
    pub(super) async fn live(&mut self) -> Ended {
        let mut period = self.beat;
        let mut beats = interval(period);
        loop {
            let due = self.due();
            let ended = tokio::select! {
                contacted = self.contact.next() => self.contacted(contacted),
                _ = beats.tick() => {
                    self.beat();
                    self.look_after_sessions(true)
                }
                () = self.services.sessions.changes.next() => self.look_after_sessions(false),
                () = self.sessions.wait(), if self.phase.is_ending() => Some(self.end()),
                () = until(due) => self.time_is_up(),
            };
            if let Some(ended) = ended {
                return ended;
            }
            if period != self.beat {
                period = self.beat;
                beats = interval(period);
            }
        }
    }

    /// Returns when [`Self::time_is_up`] is to be called.
    fn due(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Draining { until, .. } | Phase::Parting { until } => Some(*until),
            Phase::Serving => self.alone_until,
            Phase::HandingOver(handing_over) => handing_over.due(),
        }
    }

    fn time_is_up(&mut self) -> Option<Ended> {
        match self.phase {
            Phase::HandingOver(_) => self.look_after_sessions(false),
            Phase::Serving => {
                info!(
                    "no other supervisor was started; this worker finishes its sessions and exits"
                );
                self.drain(false);
                None
            }
            Phase::Draining { .. } => {
                self.services.sessions.cut();
                // The peers of sessions that cannot tell them in time see the connection end with the process.
                self.phase = Phase::Parting {
                    until: Instant::now() + GOODBYES,
                };
                None
            }
            Phase::Parting { .. } => Some(self.end()),
        }
    }

    fn contacted(&mut self, contacted: Contacted) -> Option<Ended> {
        match contacted {
            Contacted::Order(order) => self.obey(*order),
            Contacted::Lost => self.lost(),
            Contacted::Back => {
                self.back();
                None
            }
        }
    }

    /// Does what the supervisor says.
    fn obey(&mut self, order: Order) -> Option<Ended> {
        if self.phase.is_ending() && concerns_serving(&order.message) {
            return None;
        }
        match order.message {
            ToWorker::Drain { within_ms } => {
                self.drain_timeout = Duration::from_millis(within_ms);
                self.drain(true);
                None
            }
            ToWorker::Tell => {
                // What other workers still serve is handed out anew by the supervisor that has come.
                self.ends = watch::Sender::default();
                with_table(Table::begin_epoch);
                self.tell_all();
                self.look_after_sessions(false)
            }
            ToWorker::HandOver { record } => self.hand_over(record),
            ToWorker::Leave => self.leave(),
            _ => {
                self.take(order);
                if matches!(self.phase, Phase::Serving) {
                    self.tell_accepts();
                }
                None
            }
        }
    }

    /// Goes on without a supervisor, for a while.
    fn lost(&mut self) -> Option<Ended> {
        self.forget_supervisor();
        self.ends.send_modify(|it| it.is_alone = true);
        if self.phase.is_ending() {
            info!("the supervisor is gone; this worker goes on finishing its sessions");
            return None;
        }
        self.phase = Phase::Serving;
        self.wait_for_sessions();
        if self.given.is_none() && self.sessions.is_empty() {
            info!("the supervisor is gone, and this worker has not served yet; it exits");
            return Some(Ended::Done);
        }
        if self.orphan_timeout.is_zero() {
            info!("the supervisor is gone; this worker finishes its sessions and exits");
            self.drain(false);
            return None;
        }
        let within = self.orphan_timeout.as_secs_f64();
        info!("the supervisor is gone; this worker goes on serving for up to {within} s");
        self.alone_until = Some(Instant::now() + self.orphan_timeout);
        self.listeners.accept_from_spares();
        None
    }

    /// Goes on with another supervisor.
    fn back(&mut self) {
        self.alone_until = None;
        if let Phase::Draining { is_told: false, .. } = self.phase {
            self.sessions.reopen();
            self.phase = Phase::Serving;
        }
        if let Some(keeper) = self.services.keeper.get() {
            keeper.begin_link();
        }
    }

    /// Forgets what only the supervisor that is gone could have completed.
    fn forget_supervisor(&mut self) {
        self.withdraw();
        self.heir = Heir::default();
        self.telling = None;
        self.rewriting = None;
    }

    /// Stops accepting, and lets the sessions end within the drain timeout; those that are left are then cut.
    fn drain(&mut self, is_told: bool) {
        self.listeners.close();
        self.sessions.close();
        self.phase = Phase::Draining {
            until: Instant::now() + self.drain_timeout,
            is_told,
        };
        self.wait_for_sessions();
    }

    /// Reports how many sessions were cut.
    fn end(&mut self) -> Ended {
        let cut = match self.phase {
            Phase::Parting { .. } => {
                let (open, cut) = self.services.open_and_cut();
                open + cut
            }
            _ => 0,
        };
        if cut == 0 {
            info!(cut, "drained: all sessions have ended by themselves");
        } else {
            let within = self.drain_timeout.as_secs_f64();
            warn!(
                cut,
                "drained: the drain timeout of {within} s was over; the sessions that were left were cut"
            );
        }
        self.count(None);
        self.voice.tell(FromWorker::Drained { cut });
        Ended::Done
    }

    /// Goes on with what waits for sessions; `again` asks those once more that could not do what they were asked.
    fn look_after_sessions(&mut self, again: bool) -> Option<Ended> {
        self.go_on_rewriting();
        self.go_on_telling();
        self.go_on_handing_over(again)
    }

    /// Has sessions say when they are further, if anything waits for them to be kept, to write their records anew, to send
    /// their sockets or to end.
    pub(super) fn wait_for_sessions(&mut self) {
        let hands_over = matches!(self.phase, Phase::HandingOver(_));
        let waits = hands_over || self.telling.is_some() || self.rewriting.is_some();
        self.services.sessions.changes.want(waits);
        if let Some(keeper) = self.services.keeper.get() {
            keeper.keep_at_once(hands_over);
        }
    }
}

/// Whether a message only concerns a worker that serves, or will.
fn concerns_serving(message: &ToWorker) -> bool {
    matches!(
        message,
        ToWorker::Accept { .. }
            | ToWorker::Spare { .. }
            | ToWorker::Stage { .. }
            | ToWorker::Serve { .. }
            | ToWorker::Probe { .. }
            | ToWorker::FindRevoked { .. }
    )
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
