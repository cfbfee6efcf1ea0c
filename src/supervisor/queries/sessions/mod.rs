//! Requests for sessions, which workers answer: to list them and to end them.

mod end;
mod list;
mod revoked;

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

pub(in crate::supervisor) use self::list::Page;
use self::{end::End, list::List, revoked::still_open};
use super::Message;
use crate::{
    control::{EventKind, Response, server::Reply},
    facts::{EndedSessions, MOST_IDS, RevokedSessions, Selection, SessionId},
    link::ToWorker,
    supervisor::{loads::Served, plan::WorkerId, workers::Workers},
};

/// How long no worker may answer before those that have not are left out.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long all of it may take; less than `proxyctl` waits.
const MOST_PATIENCE: Duration = Duration::from_secs(8);

/// The most ids of an answer.
const MOST_ENDED_IDS: usize = 100_000;

/// The longest name of a listener that is looked for, in bytes.
const LONGEST_NAME: usize = 1000;

/// Requests that may wait for workers at one time.
const MOST_REQUESTS: usize = 16;

/// Requests for sessions that wait for workers.
#[derive(Debug)]
pub(in crate::supervisor) struct Sessions {
    last: u64,
    pending: HashMap<u64, Pending>,
    inbox: mpsc::UnboundedSender<Message>,
}

/// A request that waits for workers.
#[derive(Debug)]
struct Pending {
    request: Request,
    /// The workers that have not told all.
    missing: BTreeSet<WorkerId>,
    /// Told of each answer; its drop ends the wait.
    progress: mpsc::UnboundedSender<()>,
}

/// What is asked for, and what is known of the answer.
#[derive(Debug)]
enum Request {
    List(List, Reply),
    End(End, Reply),
    Revoked(Served, RevokedSessions),
}

/// What operators are told of a request that was carried out, beside the answer.
pub(in crate::supervisor) type Told = (EventKind, String);

impl Pending {
    /// Notes that a worker has told all.
    fn told_all(&mut self, worker: WorkerId) {
        self.missing.remove(&worker);
        self.progresses();
    }

    /// Has the wait begin anew.
    fn progresses(&self) {
        // If the wait is over, the request is answered in a moment.
        let _ = self.progress.send(());
    }
}

impl Sessions {
    pub(super) fn new(inbox: mpsc::UnboundedSender<Message>) -> Self {
        Self {
            last: 0,
            pending: HashMap::new(),
            inbox,
        }
    }

    /// Asks all workers for the sessions of a selection, no more than `most`, the oldest first.
    pub(in crate::supervisor) fn list(
        &mut self,
        (selection, most): (Selection, u64),
        reply: Reply,
        workers: &Workers,
    ) {
        if let Some(reply) = self.objects(&selection, reply) {
            let list = List::new(selection, most);
            let _ = self.begin(Request::List(list, reply), workers);
        }
    }

    /// Has all workers end the sessions of a selection, because `operator` wants it. Returns what
    /// [`Self::ended`] does.
    pub(in crate::supervisor) fn end(
        &mut self,
        (selection, operator): (Selection, String),
        reply: Reply,
        workers: &Workers,
    ) -> Option<Told> {
        if selection.is_all() {
            let reason = "say which sessions to end, by their ids or by what they have in common";
            reply.answer(Response::Refused {
                reason: reason.to_owned(),
            });
            return None;
        }
        let reply = self.objects(&selection, reply)?;
        self.begin(Request::End(End::new(selection, operator), reply), workers)
    }

    /// Asks all workers how many sessions are open of clients whose certificate is revoked by what a load has
    /// put in force, and then answers those who wait for the load.
    pub(in crate::supervisor) fn find_revoked(
        &mut self,
        served: Served,
        workers: &Workers,
    ) -> Option<Told> {
        let found = RevokedSessions::default();
        self.begin(Request::Revoked(served, found), workers)
    }

    /// Refuses a request that cannot be carried out; otherwise returns where its answer goes.
    fn objects(&self, selection: &Selection, reply: Reply) -> Option<Reply> {
        let reason = objection(selection).or_else(|| {
            (self.pending.len() >= MOST_REQUESTS)
                .then_some("other requests for sessions wait for workers; ask again in a moment")
        });
        let Some(reason) = reason else {
            return Some(reply);
        };
        reply.answer(Response::Refused {
            reason: reason.to_owned(),
        });
        None
    }

    fn begin(&mut self, request: Request, workers: &Workers) -> Option<Told> {
        self.last += 1;
        let ask = self.last;
        let missing: BTreeSet<WorkerId> = workers.running().collect();
        for worker in &missing {
            workers.tell(*worker, request.question(ask));
        }
        let (progress, answers) = mpsc::unbounded_channel();
        let pending = Pending {
            request,
            missing,
            progress,
        };
        self.pending.insert(ask, pending);
        let inbox = self.inbox.clone();
        tokio::task::spawn_local(async move {
            if wait(answers).await.is_err() {
                let _ = inbox.send(Message::SessionsLate(ask));
            }
        });
        self.finish(ask, workers)
    }

    /// Takes a page of sessions from a worker, and asks for the next.
    pub(in crate::supervisor) fn told(
        &mut self,
        worker: WorkerId,
        ask: u64,
        page: Page,
        workers: &Workers,
    ) {
        let Some(pending) = self.missing(worker, ask) else {
            return;
        };
        let Request::List(list, _) = &mut pending.request else {
            return;
        };
        match list.take(worker, ask, page) {
            Some(question) => {
                workers.tell(worker, question);
                pending.progresses();
            }
            None => pending.told_all(worker),
        }
        self.finish(ask, workers);
    }

    /// Notes how many sessions a worker has told to end, and which. Returns a sentence about the request if
    /// that was the last answer to it.
    pub(in crate::supervisor) fn ended(
        &mut self,
        worker: WorkerId,
        ask: u64,
        (count, ids): (u64, Vec<SessionId>),
        workers: &Workers,
    ) -> Option<Told> {
        let pending = self.missing(worker, ask)?;
        let Request::End(end, _) = &mut pending.request else {
            return None;
        };
        end.add(count, ids);
        pending.told_all(worker);
        self.finish(ask, workers)
    }

    /// Notes how many sessions of revoked certificates a worker has. Returns a sentence if that was the last
    /// answer.
    pub(in crate::supervisor) fn revoked(
        &mut self,
        worker: WorkerId,
        ask: u64,
        more: RevokedSessions,
        workers: &Workers,
    ) -> Option<Told> {
        let pending = self.missing(worker, ask)?;
        let Request::Revoked(_, found) = &mut pending.request else {
            return None;
        };
        found.add(more);
        pending.told_all(worker);
        self.finish(ask, workers)
    }

    /// Returns a request that waits for a worker; `None` for answers that are late, or to nothing.
    fn missing(&mut self, worker: WorkerId, ask: u64) -> Option<&mut Pending> {
        let pending = self.pending.get_mut(&ask)?;
        pending.missing.contains(&worker).then_some(pending)
    }

    /// Notes that a worker has ended, and answers no request any more. Returns sentences about requests to end
    /// sessions that waited for it alone.
    pub(in crate::supervisor) fn exited(
        &mut self,
        worker: WorkerId,
        workers: &Workers,
    ) -> Vec<Told> {
        let pending = self.pending.iter_mut();
        let asks: Vec<u64> = pending
            .filter_map(|(ask, it)| it.missing.remove(&worker).then_some(*ask))
            .collect();
        let all = asks.into_iter();
        all.filter_map(|ask| self.finish(ask, workers)).collect()
    }

    /// Answers a request without the workers that are late. Returns what [`Self::ended`] does.
    pub(in crate::supervisor) fn late(&mut self, ask: u64, workers: &Workers) -> Option<Told> {
        self.answer(ask, workers)
    }

    /// Answers a request if no worker is missing.
    fn finish(&mut self, ask: u64, workers: &Workers) -> Option<Told> {
        let is_complete = self.pending.get(&ask)?.missing.is_empty();
        is_complete.then(|| self.answer(ask, workers)).flatten()
    }

    /// Answers a request with what is known.
    fn answer(&mut self, ask: u64, workers: &Workers) -> Option<Told> {
        let pending = self.pending.remove(&ask)?;
        let silent = pending.missing.iter();
        let silent = silent.filter_map(|it| workers.get(*it)?.pid()).collect();
        match pending.request {
            Request::List(list, reply) => {
                reply.answer(Response::Sessions(list.finish(silent)));
                None
            }
            Request::End(end, reply) => {
                let sentence = end.sentence(&silent);
                reply.answer(Response::EndedSessions(EndedSessions {
                    count: end.count,
                    ids: end.ids,
                    silent,
                }));
                Some((EventKind::SessionsEnded, sentence))
            }
            Request::Revoked(mut served, found) => {
                let sentence = still_open(&found, served.report.generation);
                served.report.revoked = RevokedSessions { silent, ..found };
                served.answer();
                Some((EventKind::SessionsRevoked, sentence?))
            }
        }
    }
}

/// No worker has answered for too long.
struct Late;

/// Waits until all answers have come, which closes the channel.
async fn wait(mut answers: mpsc::UnboundedReceiver<()>) -> Result<(), Late> {
    let end = Instant::now() + MOST_PATIENCE;
    loop {
        let next = end.min(Instant::now() + PATIENCE);
        match timeout_at(next, answers.recv()).await {
            Ok(Some(())) if Instant::now() < end => {}
            Ok(None) => return Ok(()),
            Ok(Some(())) | Err(_) => return Err(Late),
        }
    }
}

/// Returns why a request for these sessions cannot be carried out, if that is so.
fn objection(selection: &Selection) -> Option<&'static str> {
    if selection.ids.len() > MOST_IDS {
        return Some("a request may name a thousand sessions at most; ask several times");
    }
    // An operator has written it, and it goes into a log line.
    let can_be = |name: &String| name.len() <= LONGEST_NAME && !name.contains(char::is_control);
    if !selection.listener.as_ref().is_none_or(can_be) {
        return Some("no listener has such a name: it is too long, or not on one line");
    }
    None
}

impl Request {
    /// Returns the first message to each worker.
    fn question(&self, ask: u64) -> ToWorker {
        match self {
            Self::List(list, _) => list.first_question(ask),
            Self::End(end, _) => ToWorker::End {
                ask,
                selection: end.selection.clone(),
                operator: end.operator.clone(),
            },
            Self::Revoked(..) => ToWorker::FindRevoked { ask },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_no_message_or_log_line_holds_is_refused() {
        let long = Selection {
            listener: Some("x".repeat(LONGEST_NAME + 1)),
            ..Selection::default()
        };
        assert!(objection(&long).is_some());
        let two_lines = Selection {
            listener: Some("main\nroot has ended 1 session".to_owned()),
            ..Selection::default()
        };
        assert!(objection(&two_lines).is_some());
        let number = MOST_IDS as u64 + 1;
        let many = Selection {
            ids: (0..number)
                .map(|number| SessionId { origin: 1, number })
                .collect(),
            ..Selection::default()
        };
        assert!(objection(&many).is_some());
        assert!(objection(&Selection::default()).is_none());
    }
}
