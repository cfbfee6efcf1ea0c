//! Upgrades: what is asked for, when the daemon is quiet, and what becomes of them.

use std::{os::fd::OwnedFd, path::PathBuf, sync::Arc};

use futures_util::{FutureExt as _, StreamExt as _};
use signal_hook_tokio::Signals;
use tracing::{error, info, warn};

use super::{
    Supervisor,
    helpers::Page,
    inputs,
    plan::{Doing, Heir, Phase, SlotState},
    upgrade::{self, Busy, Confirmed, Leaving, Situation, Told},
};
use crate::{
    control::{EventKind, fixed::Asker},
    sys::{
        succession,
        upgrade_points::{self, Point},
    },
};

impl Supervisor {
    /// Begins an upgrade, or only a trial, of the program at a path.
    pub(super) fn upgrade(&mut self, what: (Option<PathBuf>, bool), asker: Option<Asker>) {
        let situation = match self.plan.phase() {
            Phase::Starting => Situation::Starting,
            Phase::Serving => Situation::Serving,
            Phase::Draining { .. } | Phase::Stopping { .. } => Situation::Ending,
        };
        let given = (self.state_to_leave(), self.workers.binds_of_systemd());
        let told = self.upgrades.begin(what, asker, situation, given);
        self.tell_upgrade(told);
    }

    pub(super) fn upgrade_by_signal(&mut self) {
        info!("upgrade asked for by signal USR2");
        self.upgrade((None, false), None);
    }

    pub(super) fn take_upgrade(&mut self, message: upgrade::Message) {
        let told = self.upgrades.take(message, self.life.now());
        self.tell_upgrade(told);
    }

    fn tell_upgrade(&mut self, told: Told) {
        match told {
            Told::Nothing => {}
            Told::Checked(sentence) => info!("{sentence}"),
            Told::Refused(reason) => {
                let message = format!("The daemon was not upgraded: {reason}.");
                warn!("{message}");
                self.notices.events.add(EventKind::UpgradeFailed, message);
            }
        }
    }

    /// Goes on as the program that waits for that, if the daemon is quiet.
    pub(super) fn look_for_quiet(&mut self, signals: &mut Signals) {
        let busy = self.busy();
        match self.upgrades.look(self.life.now(), busy) {
            Ok(false) => {}
            Ok(true) => self.become_program(signals),
            Err(told) => self.tell_upgrade(told),
        }
    }

    /// Returns what is under way that the daemon would have to leave unfinished.
    fn busy(&self) -> Option<Busy> {
        if self.plan.is_ending() {
            return Some(Busy::Ending);
        }
        if self.plan.is_loading() {
            return Some(Busy::Load);
        }
        let version = self.upgrades.record_version();
        for (number, slot) in self.plan.slots().iter().enumerate() {
            match &slot.state {
                SlotState::Worker(worker) if worker.heir == Heir::TakesOver => {
                    return Some(Busy::Sessions);
                }
                SlotState::Worker(worker) if !matches!(worker.doing, Doing::Serving { .. }) => {
                    return Some(Busy::Worker(number));
                }
                SlotState::Worker(worker) if !self.workers.has_recorded(worker.id, version) => {
                    return Some(Busy::Records(number));
                }
                SlotState::Loading { .. } => return Some(Busy::Load),
                _ => {}
            }
        }
        if !self.workers.waiting().is_empty() {
            return Some(Busy::Sessions);
        }
        if !self.notices.hook.is_idle() {
            return Some(Busy::Hook);
        }
        let askers = usize::from(self.upgrades.has_asker());
        (self.control_socket.connections() > askers).then_some(Busy::Requests)
    }

    /// Goes on as another program; returns if that fails.
    fn become_program(&mut self, signals: &mut Signals) {
        // From here on the kernel keeps signals for the program; one that came before is for this one.
        let held = match succession::hold_signals() {
            Ok(held) => held,
            Err(error) => return self.not_left(&error),
        };
        if let Some(Some(signal)) = signals.next().now_or_never() {
            drop(held);
            return self.signal(signal);
        }
        upgrade_points::reach(Point::Quiet);
        let Some(control) = self.control_socket.listening() else {
            let told = "no second descriptor of the control socket was to be had";
            return self.not_left(&std::io::Error::other(told));
        };
        let leaving = Leaving {
            control,
            cookie: self.control_socket.cookie(),
            page: self.helpers.page.as_ref().map(Page::socket),
            sockets: self.workers.sockets(),
            passed: self.workers.passed_sockets(),
            state: self.state_to_leave(),
            kept: self.workers.kept_to_leave(),
            stored: self.life.manager.stored(),
        };
        self.take_leave();
        // The program that comes gives its first sign of life when its loop turns.
        self.life.manager.wait_for_life(Some(upgrade::PATIENCE));
        drop(self.sink.flush_at_end());
        upgrade_points::reach(Point::Leaving);
        let error = self.upgrades.leave(&leaving, held);
        self.life.manager.wait_for_life(None);
        self.take_leave_back();
        self.not_left(&error);
    }

    fn not_left(&mut self, error: &std::io::Error) {
        if error.kind() != std::io::ErrorKind::WouldBlock {
            let told = self
                .upgrades
                .refused(&format!("it cannot be executed: {error}"));
            self.tell_upgrade(told);
        }
    }

    /// Confirms the program that this process goes on as, once all its workers serve, or goes back to the one before.
    /// Comes each time the loop turns.
    pub(super) fn settle_upgrade(&mut self) {
        self.settle_records();
        if !self.upgrades.is_confirming() {
            return;
        }
        let serves = self.serves_fully();
        if serves {
            upgrade_points::reach(Point::Serving);
        }
        let staying = self.orphans.only_stay().filter(|_| serves);
        if self.plan.has_failed() {
            self.go_back_if_failed();
        } else if self.plan.is_ending() || staying.is_some() {
            self.confirm_upgrade(staying.unwrap_or(0));
        } else if self.upgrades.is_late(self.life.now()) {
            if serves {
                // Clients that take long to log in keep workers of before from handing over, and are no fault of this program.
                self.confirm_upgrade(self.workers.sessions_of(self.orphans.workers()));
            } else {
                self.go_back("its workers did not all serve in time");
            }
        }
    }

    /// Has workers write records in a version that the program reads that may go on with them next.
    pub(super) fn settle_records(&mut self) {
        self.workers.write_records(self.upgrades.record_version());
    }

    /// Returns whether a worker serves in each slot, and all listening sockets are accepted from.
    fn serves_fully(&self) -> bool {
        let mut slots = self.plan.slots().iter();
        slots.all(|slot| slot.serving().is_some()) && self.plan.unaccepted(self.life.now()) == 0
    }

    fn confirm_upgrade(&mut self, staying: u64) {
        if let Err(told) = upgrade_points::pass(Point::Confirming) {
            return self.go_back(&told.to_string());
        }
        // Helpers of the program before may have ended before this one listened to that.
        inputs::reap_orphans();
        let sessions = self.workers.keeping().kept.saturating_sub(staying);
        let confirmed = self.upgrades.confirm((sessions, staying));
        upgrade_points::reach(Point::Answered);
        self.tell_confirmed(confirmed);
    }

    fn tell_confirmed(&mut self, confirmed: Option<Confirmed>) {
        match confirmed {
            Some(Confirmed::Upgraded(sentence)) => {
                self.notices.say(EventKind::Upgraded, &sentence);
            }
            Some(Confirmed::WentBack(sentence) | Confirmed::Failed(sentence)) => {
                warn!("{sentence}");
                self.notices.events.add(EventKind::UpgradeFailed, sentence);
            }
            None => {}
        }
        self.settle_records();
    }

    /// Goes back to the program before this one if no worker of this one could be started.
    pub(super) fn go_back_if_failed(&mut self) {
        if self.plan.has_failed() {
            self.go_back("no worker could be started");
        }
    }

    /// Goes back to the program before this one, if this one is not confirmed; returns if that is not so, or fails.
    fn go_back(&mut self, reason: &str) {
        if !self.upgrades.is_confirming() {
            return;
        }
        error!("this program cannot take over, so the one before it runs again: {reason}");
        drop(self.sink.flush_at_end());
        if let Some(error) = self.upgrades.go_back(reason) {
            if error.is_for_now() {
                return;
            }
            error!("{error}; this program goes on");
            inputs::reap_orphans();
            let failed = self.upgrades.fail(reason, &error);
            self.tell_confirmed(failed);
        }
    }

    /// Returns the descriptors of what a successor goes on with.
    fn state_to_leave(&self) -> Vec<Arc<OwnedFd>> {
        self.state.descriptors()
    }
}
