//! Requests for sessions, which workers answer: to list them and to end them.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Write as _,
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use super::Message;
use crate::{
    control::{EventKind, Response, server::Reply},
    facts::{
        EndedSessions, MOST_IDS, RevokedSessions, Selection, SessionEntry, SessionId, SessionList,
    },
    link::ToWorker,
    supervisor::{loads::Served, plan::WorkerId, workers::Workers},
};

/// How long no worker may answer before those that have not are left out.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long all of it may take; less than `proxyctl` waits.
const MOST_PATIENCE: Duration = Duration::from_secs(8);

/// The most sessions of an answer.
const MOST_SESSIONS: u64 = 10_000;

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

/// The list of sessions that is being put together.
#[derive(Debug)]
struct List {
    selection: Selection,
    /// The most sessions.
    most: u64,
    sessions: Vec<SessionEntry>,
    /// How many there are in all.
    total: u64,
    /// How many each worker has told.
    told: HashMap<WorkerId, u64>,
}

/// The end of sessions that is being confirmed.
#[derive(Debug)]
struct End {
    selection: Selection,
    operator: String,
    count: u64,
    ids: Vec<SessionId>,
}

/// A page of sessions, as a worker has told it and as far as it can be believed.
#[derive(Debug)]
pub(in crate::supervisor) struct Page {
    pub(in crate::supervisor) entries: Vec<SessionEntry>,
    pub(in crate::supervisor) has_more: bool,
    pub(in crate::supervisor) total: u64,
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
        let list = List {
            selection,
            most: most.clamp(1, MOST_SESSIONS),
            sessions: Vec::new(),
            total: 0,
            told: HashMap::new(),
        };
        if let Some(reply) = self.objects(&list.selection, reply) {
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
        let end = End {
            selection,
            operator,
            count: 0,
            ids: Vec::new(),
        };
        self.begin(Request::End(end, reply), workers)
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
        let Some(pending) = self.pending.get_mut(&ask) else {
            return;
        };
        let Request::List(list, _) = &mut pending.request else {
            return;
        };
        if !pending.missing.contains(&worker) {
            return;
        }
        match list.take(worker, ask, page) {
            Some(question) => workers.tell(worker, question),
            None => drop(pending.missing.remove(&worker)),
        }
        let _ = pending.progress.send(());
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
        let pending = self.pending.get_mut(&ask)?;
        let Request::End(end, _) = &mut pending.request else {
            return None;
        };
        if !pending.missing.remove(&worker) {
            return None;
        }
        end.count = end.count.saturating_add(count);
        end.ids.extend(ids);
        end.ids.truncate(MOST_ENDED_IDS);
        let _ = pending.progress.send(());
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
        let pending = self.pending.get_mut(&ask)?;
        let Request::Revoked(_, found) = &mut pending.request else {
            return None;
        };
        if !pending.missing.remove(&worker) {
            return None;
        }
        found.add(more);
        let _ = pending.progress.send(());
        self.finish(ask, workers)
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
            Self::List(list, _) => list.question(ask, 0, list.most),
            Self::End(end, _) => ToWorker::End {
                ask,
                selection: end.selection.clone(),
                operator: end.operator.clone(),
            },
            Self::Revoked(..) => ToWorker::FindRevoked { ask },
        }
    }
}

impl List {
    fn question(&self, ask: u64, after: u64, most: u64) -> ToWorker {
        ToWorker::Sessions {
            ask,
            selection: self.selection.clone(),
            after,
            most,
        }
    }

    /// Takes a page; returns the question for the next, if the worker has more that may be of the list.
    fn take(&mut self, worker: WorkerId, ask: u64, page: Page) -> Option<ToWorker> {
        let told = self.told.entry(worker).or_default();
        let left = usize::try_from(self.most - *told).unwrap_or(usize::MAX);
        if *told == 0 {
            self.total = self.total.saturating_add(page.total);
        }
        let mut entries = page.entries;
        entries.truncate(left);
        *told += entries.len() as u64;
        let left = self.most - *told;
        let last = entries.last().map(|entry| entry.id.number);
        self.sessions.append(&mut entries);
        if self.sessions.len() as u64 > 2 * self.most {
            self.trim();
        }
        let after = last.filter(|_| page.has_more && left > 0)?;
        Some(self.question(ask, after, left))
    }

    /// Keeps the oldest.
    fn trim(&mut self) {
        self.sessions.sort_by_key(|it| (it.started_at, it.id));
        let most = usize::try_from(self.most).unwrap_or(usize::MAX);
        self.sessions.truncate(most);
    }

    fn finish(mut self, silent: Vec<u32>) -> SessionList {
        self.trim();
        SessionList {
            left_out: self.total.saturating_sub(self.sessions.len() as u64),
            sessions: self.sessions,
            silent,
        }
    }
}

impl End {
    /// Says what was done, for the log and the events.
    fn sentence(&self, silent: &[u32]) -> String {
        let Self {
            selection,
            operator,
            count,
            ..
        } = self;
        let sessions = match count {
            1 => "1 session".to_owned(),
            count => format!("{count} sessions"),
        };
        let mut sentence =
            format!("{operator} has ended {sessions} with `proxyctl end {selection}`.");
        for pid in silent {
            let _ = write!(
                sentence,
                " Worker {pid} has not answered; it ends its sessions when it goes on."
            );
        }
        sentence
    }
}

/// Says how many sessions are open of certificates that a generation revokes, and how to end them; `None` if
/// there are none.
fn still_open(found: &RevokedSessions, generation: u64) -> Option<String> {
    let first = found.certificates.first()?;
    let sessions = match found.sessions {
        1 => "1 session is".to_owned(),
        number => format!("{number} sessions are"),
    };
    let certificates = match found.certificates.len() as u64 + found.left_out {
        1 => "a client certificate".to_owned(),
        number => format!("{number} client certificates"),
    };
    let (others, these) = match found.certificates.len() as u64 + found.left_out {
        1 => ("", "them"),
        _ => (" and others", "those of the first"),
    };
    Some(format!(
        "{sessions} open of {certificates} that the revocation lists of generation {generation} revoke: \
         \"{}\"{others}; `proxyctl end --client-cert {}` ends {these}.",
        first.subject, first.sha256
    ))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::facts::{RevokedCertificate, SessionState};

    fn entry(origin: u64, number: u64) -> SessionEntry {
        SessionEntry {
            id: SessionId { origin, number },
            state: SessionState::Established,
            listener: "main".to_owned(),
            client: None,
            via: None,
            backend: None,
            user: None,
            tls: None,
            client_cert: None,
            generation: 1,
            // Those of one worker are younger than those of the other.
            started_at: Timestamp::from_second(i64::try_from(origin + 10 * number).unwrap())
                .unwrap(),
            idle_ms: 0,
            bytes_up: 0,
            bytes_down: 0,
            takeovers: 0,
        }
    }

    fn page(
        origin: u64,
        numbers: std::ops::RangeInclusive<u64>,
        has_more: bool,
        total: u64,
    ) -> Page {
        Page {
            entries: numbers.map(|number| entry(origin, number)).collect(),
            has_more,
            total,
        }
    }

    fn list(most: u64) -> List {
        List {
            selection: Selection::default(),
            most,
            sessions: Vec::new(),
            total: 0,
            told: HashMap::new(),
        }
    }

    const ONE: WorkerId = WorkerId(1);
    const OTHER: WorkerId = WorkerId(2);

    fn asks(question: Option<ToWorker>) -> Option<(u64, u64)> {
        question.map(|question| match question {
            ToWorker::Sessions { after, most, .. } => (after, most),
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn pages_are_asked_for_until_there_are_no_more() {
        let mut list = list(10);
        assert_eq!(
            asks(list.take(ONE, 1, page(1, 1..=3, true, 5))),
            Some((3, 7))
        );
        assert_eq!(asks(list.take(ONE, 1, page(1, 4..=5, false, 0))), None);
        let done = list.finish(vec![]);
        assert_eq!((done.sessions.len(), done.left_out), (5, 0));
    }

    #[test]
    fn the_oldest_of_all_workers_are_told_and_the_rest_is_counted() {
        let mut list = list(3);
        assert_eq!(asks(list.take(ONE, 1, page(1, 1..=3, true, 100))), None);
        assert_eq!(asks(list.take(OTHER, 1, page(2, 1..=3, true, 50))), None);
        let done = list.finish(vec![]);
        let ids = done.sessions.iter().map(|it| (it.id.origin, it.id.number));
        assert_eq!(ids.collect::<Vec<_>>(), [(1, 1), (2, 1), (1, 2)]);
        assert_eq!(done.left_out, 147);
    }

    #[test]
    fn a_worker_that_says_without_end_that_there_are_more_is_not_asked_without_end() {
        let mut list = list(1000);
        let nothing = Page {
            entries: Vec::new(),
            has_more: true,
            total: 9,
        };
        assert_eq!(asks(list.take(ONE, 1, nothing)), None);
        let mut questions = 0;
        let mut next = Some(());
        while next.is_some() {
            questions += 1;
            next = list.take(OTHER, 1, page(2, 1..=200, true, 9)).map(drop);
        }
        assert_eq!(questions, 5);
        assert_eq!(list.sessions.len(), 1000);
    }

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
            ids: (0..number).map(|it| entry(1, it).id).collect(),
            ..Selection::default()
        };
        assert!(objection(&many).is_some());
        assert!(objection(&Selection::default()).is_none());
    }

    #[test]
    fn sessions_of_revoked_certificates_are_said_with_the_command_that_ends_them() {
        let mut found = RevokedSessions::default();
        assert_eq!(still_open(&found, 2), None);
        found.add(RevokedSessions {
            sessions: 3,
            certificates: vec![RevokedCertificate {
                subject: "CN=app".to_owned(),
                sha256: "ab".to_owned(),
                sessions: 3,
            }],
            ..RevokedSessions::default()
        });
        assert_eq!(
            still_open(&found, 2).unwrap(),
            "3 sessions are open of a client certificate that the revocation lists of generation 2 revoke: \
             \"CN=app\"; `proxyctl end --client-cert ab` ends them."
        );
    }
}
