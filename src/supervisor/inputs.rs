//! Takes the messages of the owners into the loop, and passes on to the plan what it decides about.

use super::{
    Supervisor, helpers, loads, notices,
    plan::{Doing, Event, LoadId, WorkerId},
    queries::{self, Page, StatusRequester, Told},
    witnesses, workers,
};
use crate::{
    children::Along,
    control::EventKind,
    link::{FromPage, FromResolver, FromWorker, News, child, page::MOST_CHARACTERS},
    sys::{
        orphans,
        upgrade_points::{self, Point},
    },
};

impl Supervisor {
    pub(super) fn take_worker(&mut self, message: workers::Message) {
        match message {
            workers::Message::Exited(worker, end) => {
                self.queries.exited(worker);
                for told in self.queries.sessions.exited(worker, &self.workers) {
                    self.say(Some(told));
                }
                if self.orphan_ended(worker, end) {
                    upgrade_points::reach(Point::HandedOver);
                } else {
                    self.worker_ended(worker, end);
                }
                self.repair_sockets(true);
                reap_orphans();
            }
            workers::Message::Launched(worker, launched) => {
                self.workers.launched(worker, launched);
                upgrade_points::reach(Point::Launched);
                self.helpers.join(&mut self.workers, Some(worker));
                // None is waited for while one is being started.
                reap_orphans();
            }
            workers::Message::Said(worker, said, along) => {
                if !matches!(said, FromWorker::Beat) {
                    self.state.count();
                }
                if self.orphans.has(worker) {
                    self.hear_orphan(worker, said, along);
                } else {
                    self.hear(worker, said, along);
                }
            }
        }
    }

    pub(super) fn take_resolver(&mut self, message: helpers::ResolverMessage) {
        let now = self.life.now();
        match message {
            helpers::ResolverMessage::Launched(id, launched) => {
                self.helpers
                    .resolver_launched(id, launched, &mut self.workers);
                reap_orphans();
            }
            helpers::ResolverMessage::Said(id, said, _) => match said {
                FromResolver::Beat => self.helpers.resolver.heard(id),
                FromResolver::Memory { resident } => {
                    self.helpers.resolver.heard(id);
                    self.helpers.resolver.takes(id, resident);
                }
                FromResolver::Confined(report) => self.sandbox.note(child::RESOLVER, report),
            },
            helpers::ResolverMessage::Exited(id, end) => {
                if let Some(sentence) = self.helpers.resolver.exited(id, end, now) {
                    self.notices.events.add(EventKind::HelperFailed, sentence);
                }
                reap_orphans();
            }
        }
    }

    pub(super) fn take_page(&mut self, message: helpers::PageMessage) {
        let now = self.life.now();
        let Some(page) = &mut self.helpers.page else {
            return;
        };
        match message {
            helpers::PageMessage::Launched(id, launched) => {
                page.launched(id, launched);
                reap_orphans();
            }
            helpers::PageMessage::Said(_, FromPage::Confined(report), _) => {
                self.sandbox.note(child::PAGE, report);
            }
            helpers::PageMessage::Said(id, FromPage::Beat, _) => page.beat(id),
            helpers::PageMessage::Said(id, FromPage::Memory { resident }, _) => {
                page.helper.takes(id, resident);
            }
            // Answered here and not in a task, because the answer means that the loop turns.
            helpers::PageMessage::Said(id, FromPage::Alive { ask }, _) => page.alive(id, ask),
            helpers::PageMessage::Said(id, FromPage::Status { ask }, _) => {
                if let Some(reply) = page.asked(id, ask) {
                    self.ask_status(StatusRequester::Page(reply));
                }
            }
            helpers::PageMessage::Said(id, FromPage::News { ask, after }, _) => {
                let news = News {
                    listeners: queries::numbers(&self.workers, &self.loads.current()),
                    events: self.notices.events.after(after, MOST_CHARACTERS),
                };
                page.tell_news(id, ask, &news);
            }
            helpers::PageMessage::Exited(id, end) => {
                if let Some(sentence) = page.exited(id, end, now) {
                    self.notices.events.add(EventKind::HelperFailed, sentence);
                }
                reap_orphans();
            }
        }
    }

    pub(super) fn hear(&mut self, worker: WorkerId, said: FromWorker, along: Along) {
        match said {
            FromWorker::Accepts { slots } => {
                let slots = slots.into_iter().collect();
                self.tell(Event::Accepts { worker, slots });
            }
            FromWorker::HasBoard => self.has_board(worker),
            FromWorker::Beat => {
                self.workers.tidy();
                self.repair_sockets(false);
                self.tell(Event::Heard(worker));
                self.place_sessions();
            }
            FromWorker::NeedsResolver => self.helpers.rejoin(&mut self.workers, worker),
            FromWorker::Counts { listener, counts } => {
                self.workers.counted(worker, listener, &counts);
            }
            FromWorker::Backend { listener, status } => {
                if self.workers.backend(worker, listener, status) {
                    self.queries.note_fits(&self.workers, &self.loads.current());
                }
            }
            FromWorker::Memory { resident } => self.workers.takes(worker, resident),
            FromWorker::Counted { ask } => {
                self.workers.tidy();
                self.queries.counted(worker, Some(ask));
            }
            FromWorker::Confined(report) => self.sandbox.note(child::WORKER, report),
            FromWorker::Denied { calls } => self.workers.denied(worker, calls),
            FromWorker::Drained { cut } => self.drained(worker, cut),
            FromWorker::Refused { offer, reason } => {
                let reason = workers::text(reason);
                self.workers.refused(worker, &reason);
                let offer = (offer != 0).then_some(LoadId(offer));
                self.tell(Event::Refused {
                    worker,
                    offer,
                    reason,
                });
            }
            FromWorker::Serving { generation } => self.serving(worker, generation),
            FromWorker::Staged { offer } => {
                let load = LoadId(offer);
                self.tell(Event::Staged { worker, load });
            }
            FromWorker::Keep { ids } => self.workers.keep(worker, &ids, along.take()),
            FromWorker::Over { ids } => self.workers.over(worker, &ids),
            FromWorker::Unkept { counts } => self.workers.unkept(worker, &counts),
            FromWorker::Holds { tables } => self.holds(worker, &tables),
            FromWorker::Recorded { version } => self.workers.recorded(worker, version),
            FromWorker::TookOver {
                tables,
                taken,
                lost,
            } => self.took_over(worker, &tables, (taken, lost)),
            FromWorker::Probed { ask } => self.queries.probed(ask),
            FromWorker::Sessions {
                ask,
                entries,
                has_more,
                total,
            } => {
                let page = Page {
                    entries: self.workers.sessions_told(worker, entries),
                    has_more,
                    total: self.workers.possible_sessions(worker, total),
                };
                self.queries.sessions.told(worker, ask, page, &self.workers);
            }
            FromWorker::Ended { ask, count, ids } => {
                let ended = self.workers.sessions_ended(worker, count, ids);
                let sessions = &mut self.queries.sessions;
                let told = sessions.ended(worker, ask, ended, &self.workers);
                self.say(told);
            }
            // Only a supervisor that did not start the worker has asked for these.
            FromWorker::About(_)
            | FromWorker::Socket { .. }
            | FromWorker::State
            | FromWorker::Board
            | FromWorker::Told
            | FromWorker::HandedOver { .. } => {}
            FromWorker::Revoked { ask, found } => {
                let found = self.workers.revoked(worker, found);
                let sessions = &mut self.queries.sessions;
                let told = sessions.revoked(worker, ask, found, &self.workers);
                self.say(told);
            }
        }
    }

    /// Tells operators what there is to tell of a request for sessions.
    pub(super) fn say(&mut self, told: Option<Told>) {
        if let Some((kind, sentence)) = told {
            self.notices.say(kind, &sentence);
        }
    }

    /// Mends listening sockets, and hands workers those that were bound anew.
    fn repair_sockets(&mut self, urgent: bool) {
        if !self.workers.repair_sockets(urgent) {
            return;
        }
        self.store();
        let workers: Vec<WorkerId> = self.workers.running().collect();
        for worker in workers {
            for slot in self.plan.slots_of(worker) {
                self.workers.hand_sockets(worker, slot);
            }
        }
        self.workers.hand_spares(None);
    }

    fn serving(&mut self, worker: WorkerId, generation: u64) {
        if !self.workers.confirmed(worker, generation) {
            return;
        }
        if self.plan.doing(worker) == Some(Doing::Starting) {
            let sentence = self.workers.first_served(worker, generation);
            if let Some(sentence) = sentence {
                self.notices.events.add(EventKind::WorkerServing, sentence);
            }
        }
        self.tell(Event::Serving { worker, generation });
        self.place_sessions();
    }

    /// Reports how many sessions a worker that drains has cut at the end of the drain.
    fn drained(&mut self, worker: WorkerId, cut: u64) {
        if self.plan.doing(worker) == Some(Doing::Draining) {
            self.note_cut(worker, cut);
        }
    }

    /// Tells how many sessions a worker that was told to drain has cut.
    pub(super) fn note_cut(&mut self, worker: WorkerId, cut: u64) {
        if let Some((cut, sentence)) = self.workers.drained(worker, cut) {
            self.life.cut(cut);
            self.notices.events.add(EventKind::Ending, sentence);
        }
    }

    pub(super) fn take_load(&mut self, message: loads::Message) {
        let (load, reading) = match message {
            loads::Message::Changed => return self.reload_by_watch(),
            loads::Message::Loaded(load, reading) => (load, reading),
            loads::Message::Prepared(load, prepared) => {
                let loaded = self.loads.take_earlier(load, *prepared);
                return self.tell(Event::Loaded { load, loaded });
            }
        };
        // A passphrase program that ran during the load may have hidden them.
        reap_orphans();
        if self.plan.is_ending() {
            if let Some((_, acquired)) = reading.config {
                self.workers.stage(acquired);
                self.workers.discard(&self.loads.current());
            }
            return;
        }
        let current = self.loads.current();
        let shown = self.queries.shown(&self.workers, &current);
        let (now, events) = (self.life.now(), &mut self.notices.events);
        let loaded = self.loads.take(load, *reading, &shown, now, events);
        self.tell(Event::Loaded { load, loaded });
    }

    pub(super) fn take_query(&mut self, message: queries::Message) {
        match message {
            queries::Message::DiskSeen(view) => {
                let reader = self.loads.reader();
                if let Some(verdict) = self.queries.disk_seen(*view, &reader) {
                    self.loads.seen(&verdict, self.life.now());
                }
            }
            queries::Message::Gathered(gathered) => {
                let witnesses = witnesses(&self.plan, &self.workers, &self.loads);
                let made = self.queries.gathered(gathered, &witnesses);
                if let Some((requester, verdict)) = made {
                    if verdict.is_stuck() {
                        self.loads.seen(&verdict, self.life.now());
                    }
                    requester.answer(self.sources().status(&verdict));
                }
            }
            queries::Message::Verified(reply, found) => {
                let current = self.loads.current();
                self.queries.verified(reply, found, &self.workers, &current);
            }
            queries::Message::EndSessions(reply, selection, operator) => {
                let sessions = &mut self.queries.sessions;
                let told = sessions.end((selection, operator), reply, &self.workers);
                self.say(told);
            }
            queries::Message::SessionsLate(ask) => {
                let told = self.queries.sessions.late(ask, &self.workers);
                self.say(told);
            }
        }
    }

    pub(super) fn take_notice(&mut self, message: notices::Message) {
        self.notices.take(message);
        reap_orphans();
    }
}

/// Reaps orphans, which are children of the supervisor if it is process 1 of a container, or if another program ran in
/// its process before.
pub(super) fn reap_orphans() {
    if orphans::may_come() {
        orphans::reap();
    }
}
