//! Carries out the actions of the plan.

use std::{sync::Arc, time::Instant};

use super::{
    Supervisor,
    life::Wanted,
    loads::Served,
    notices::Circumstances,
    plan::{Action, Failure, WorkerId},
    steps,
    workers::Process,
};
use crate::{control::EventKind, facts::Trigger, link::ToWorker};

impl Supervisor {
    /// Carries out the plan's actions in order.
    pub(super) fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            self.carry_out(action);
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Load {
                load,
                trigger,
                partial,
            } => {
                if trigger.is_asked() {
                    self.life.manager.reloading();
                }
                let acquirer = self.workers.acquirer();
                self.loads.begin(load, trigger, partial, acquirer);
            }
            Action::Stage { load, generation } => {
                let acquired = self.loads.stage(load, generation);
                self.workers.stage(acquired);
                self.follow_backends();
            }
            Action::Offer(worker) => self.offer(worker),
            Action::Commit => self.commit(),
            Action::EndRollback => self.loads.end_rollback(&mut self.notices.events),
            Action::Discard => {
                self.loads.discard();
                self.workers.discard(&self.loads.current());
                self.follow_backends();
            }
            Action::Withdraw(worker) => self.workers.withdraw(worker),
            Action::Start {
                slot,
                worker,
                again,
                held_back,
            } => self.workers.start((slot, held_back), worker, again),
            Action::Admit(worker) => {
                let current = self.loads.current();
                self.workers.admit(worker, &current);
            }
            Action::Serve(worker) => {
                let current = self.loads.current();
                self.workers.serve(worker, &current);
            }
            Action::Hand { worker, slot } => self.workers.hand_sockets(worker, slot),
            Action::Release { worker, slot } => {
                self.workers.tell(worker, ToWorker::Release { slot });
            }
            Action::Kill(worker) => self.workers.kill(worker),
            Action::Drain(worker) => self.drain_worker(worker),
            Action::Answer { asks, answer } => self.loads.answer(asks, answer),
            Action::Settle {
                load,
                asks,
                outcome,
            } => {
                let events = &mut self.notices.events;
                let settled = self.loads.settle(load, asks, outcome, events);
                let (trigger, served) = settled.unzip();
                if let Some(served) = served.flatten() {
                    self.tell_served(served);
                }
                if trigger.is_some_and(Trigger::is_asked) && !self.loads.is_reloading() {
                    self.life.manager.reloaded();
                }
            }
            Action::Report(failure) => self.report(&failure),
            Action::Ready => self.say_ready(),
            Action::CloseSockets => {
                self.workers.close_sockets();
                self.store();
            }
            Action::Exit(exit) => self.exit(exit),
        }
    }

    /// Tells a worker to finish its sessions in the time that the daemon has left.
    pub(super) fn drain_worker(&self, worker: WorkerId) {
        let within = self.plan.drain_left(self.life.now());
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        self.workers.tell(worker, ToWorker::Drain { within_ms });
    }

    /// Tells those who wait for a load what it has put in force. Where it may have revoked certificates, workers
    /// are asked first how many sessions are open of them.
    fn tell_served(&mut self, served: Served) {
        let current = self.loads.current();
        let mut listeners = current.config.listeners.iter();
        if listeners.any(|it| !it.client_auth.crl.is_empty()) {
            let sessions = &mut self.queries.sessions;
            let told = sessions.find_revoked(served, &self.workers);
            self.say(told);
        } else {
            served.answer();
        }
    }

    fn offer(&mut self, worker: WorkerId) {
        if let Some((load, staged)) = self.loads.staged() {
            let slots = self.plan.slots_of(worker);
            self.workers.offer(worker, &slots, staged, load.0);
        }
    }

    /// Puts the staged generation in force everywhere.
    fn commit(&mut self) {
        let Some(generation) = self.loads.commit(&mut self.notices.events) else {
            return;
        };
        self.state.commit(Arc::clone(&generation));
        let config = Arc::clone(&generation.config);
        self.workers.commit(&config.listeners);
        self.workers.keep_at_most(steps::most_kept(&config));
        self.notices.hook.configure(config.on_exit_failure.clone());
        self.plan.expect(
            generation.material.pieces(),
            config.runs_passphrase_program(),
            config.watch,
        );
        self.follow_backends();
        self.store();
    }

    /// Has the service manager keep what the next supervisor needs of this one if all processes of the service die.
    pub(super) fn store(&mut self) {
        if self.life.manager.is_there() {
            let wanted = Wanted::new(self.workers.sockets(), &self.state.descriptors());
            self.life.manager.keep(wanted, Instant::now());
        }
    }

    /// Has the resolver answer for the backends of the generation in force and of the staged one.
    pub(super) fn follow_backends(&mut self) {
        let current = self.loads.current();
        let staged = self.loads.staged().map(|(_, staged)| &*staged.config);
        self.helpers
            .follow(self.life.now(), &current.config, staged);
    }

    fn report(&mut self, failure: &Failure) {
        let process = self.workers.get(failure.worker);
        let current = self.loads.current();
        let circumstances = Circumstances {
            pid: process.and_then(Process::pid).unwrap_or(0),
            uptime: process
                .map(|it| it.child.started.elapsed())
                .unwrap_or_default(),
            restarts: self.workers.restarts(),
            generation: current.number,
            control_socket: current.config.control_socket.clone(),
        };
        self.notices.report(failure, &circumstances);
    }

    fn say_ready(&mut self) {
        self.notices.say(EventKind::Started, "The daemon serves.");
        self.life.serves();
    }
}
