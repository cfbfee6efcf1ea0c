//! Requests for the daemon's state: what they wait for, and their answers.

mod backend_certs;
mod processes;
mod sessions;
mod status;
mod verify;

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use self::{
    backend_certs::{Fitted, Presented},
    sessions::Sessions,
    verify::Verification,
};
pub(super) use self::{
    sessions::{Page, Told},
    status::{Sources, numbers},
};
use super::{
    loads::{Reader, Verdict, View},
    operator,
    plan::WorkerId,
    workers::Workers,
};
use crate::{
    control::{Response, Status, server::Reply},
    facts::Selection,
    link::{Generation, ToWorker},
};

/// How long a status waits for workers' counts before it uses the last ones.
const COUNT_PATIENCE: Duration = Duration::from_millis(300);

/// How long a status waits for the disk before it says that the disk does not answer.
const DISK_PATIENCE: Duration = Duration::from_secs(2);

/// How long a status waits for the disk where a passphrase program may be running; less than
/// `proxyctl` waits.
const PROGRAM_PATIENCE: Duration = Duration::from_secs(8);

/// Verifications that may wait for the disk or for workers at one time.
const VERIFICATIONS: usize = 4;

/// How often a status looks at the disk while reloads keep overtaking it.
const LOOKS: u32 = 5;

/// What happens to requests.
#[derive(Debug)]
pub(super) enum Message {
    /// The disk was judged.
    DiskSeen(Box<View>),
    /// The data of a status were gathered, perhaps without the disk.
    Gathered(Gathered),
    /// What a reload would find is known; `None` if that could not be found out.
    Verified(Reply, Option<Box<Verification>>),
    /// An operator, whose name is known now, ends sessions.
    EndSessions(Reply, Selection, String),
    /// No worker has answered a request for sessions for too long.
    SessionsLate(u64),
}

/// The requester of a status.
#[derive(Debug)]
pub(super) enum StatusRequester {
    /// A client of the control socket.
    Control(Reply),
    /// The metrics page.
    Page(oneshot::Sender<Status>),
}

impl StatusRequester {
    /// Sends the answer; a requester that no longer waits does not get it.
    pub(super) fn answer(self, status: Status) {
        match self {
            Self::Control(reply) => reply.answer(Response::Status(Box::new(status))),
            Self::Page(reply) => drop(reply.send(status)),
        }
    }
}

/// A status whose data were gathered, perhaps without the disk.
#[derive(Debug)]
pub(super) struct Gathered {
    requester: StatusRequester,
    /// Whether the disk answered in time.
    disk_answers: bool,
    /// How many more times the disk may be looked at.
    looks: u32,
}

/// Requests that wait for workers or for the disk.
#[derive(Debug)]
pub(super) struct Queries {
    last: u64,
    counting: HashMap<u64, Counting>,
    /// Pending backend probes; dropping the sender tells the requester that the probe is over.
    probes: HashMap<u64, (WorkerId, oneshot::Sender<()>)>,
    /// Verifications that go on.
    verifying: usize,
    /// Requests for sessions.
    pub(super) sessions: Sessions,
    fitted: Fitted,
    presented: Presented,
    view: Option<View>,
    /// The waiters for the look at the disk that is going on, and those for the next look.
    looking: Vec<oneshot::Sender<()>>,
    looking_next: Vec<oneshot::Sender<()>>,
    inbox: mpsc::UnboundedSender<Message>,
}

/// A request that waits for workers' counts.
#[derive(Debug)]
struct Counting {
    missing: BTreeSet<WorkerId>,
    /// Dropped when all counts have arrived, which ends the wait.
    _done: oneshot::Sender<()>,
}

/// The sources of answers: the workers, which of them serve, and the reader of the disk.
#[derive(Debug)]
pub(super) struct Witnesses<'a> {
    pub(super) workers: &'a Workers,
    pub(super) serving: BTreeSet<WorkerId>,
    pub(super) reader: Reader,
}

impl Queries {
    /// Begins with no request.
    pub(super) fn new(inbox: mpsc::UnboundedSender<Message>) -> Self {
        Self {
            last: 0,
            counting: HashMap::new(),
            probes: HashMap::new(),
            verifying: 0,
            sessions: Sessions::new(inbox.clone()),
            fitted: Fitted::default(),
            presented: Presented::default(),
            view: None,
            looking: Vec::new(),
            looking_next: Vec::new(),
            inbox,
        }
    }

    /// Gathers the data of a status in a task, so that the loop does not wait.
    pub(super) fn ask_status(&mut self, requester: StatusRequester, witnesses: &Witnesses<'_>) {
        self.gather(requester, LOOKS, witnesses);
    }

    fn gather(&mut self, requester: StatusRequester, looks: u32, witnesses: &Witnesses<'_>) {
        let counted = self.count(witnesses);
        let seen = self.see_disk(&witnesses.reader);
        let inbox = self.inbox.clone();
        let patience = if witnesses.reader.current.config.runs_passphrase_program() {
            PROGRAM_PATIENCE
        } else {
            DISK_PATIENCE
        };
        tokio::task::spawn_local(async move {
            let (seen, _) = tokio::join!(timeout(patience, seen), timeout(COUNT_PATIENCE, counted));
            let gathered = Gathered {
                requester,
                disk_answers: seen.is_ok(),
                looks: looks - 1,
            };
            let _ = inbox.send(Message::Gathered(gathered));
        });
    }

    /// Returns the requester of the status and the verdict on the disk, if the status can be made now.
    ///
    /// Returns `None` if another generation has come into force meanwhile, so that the verdict compares
    /// the disk with an older one. The data are then gathered again, but no more than [`LOOKS`] times.
    pub(super) fn gathered(
        &mut self,
        gathered: Gathered,
        witnesses: &Witnesses<'_>,
    ) -> Option<(StatusRequester, Verdict)> {
        let Gathered {
            requester,
            disk_answers,
            looks,
        } = gathered;
        let of_now = |view: &View| view.is_of(&witnesses.reader.current);
        let is_stale = !self.view.as_ref().is_none_or(of_now);
        if is_stale && disk_answers && looks > 0 {
            self.gather(requester, looks, witnesses);
            return None;
        }
        let verdict = match &self.view {
            Some(view) if disk_answers => view.verdict.clone(),
            _ => Verdict::disk_hangs(),
        };
        Some((requester, verdict))
    }

    /// Judges the disk by a look that begins after this call and is shared by all requests that wait
    /// for it; the receiver is closed when the look is over.
    fn see_disk(&mut self, reader: &Reader) -> oneshot::Receiver<()> {
        let (done, seen) = oneshot::channel();
        if self.looking.is_empty() {
            self.looking.push(done);
            self.begin_look(reader);
        } else {
            self.looking_next.retain(|waiting| !waiting.is_closed());
            self.looking_next.push(done);
        }
        seen
    }

    /// Forgets the last verdict on the disk, which was made by a clock that was set since.
    pub(super) fn forget_view(&mut self) {
        self.view = None;
    }

    fn begin_look(&self, reader: &Reader) {
        let (reader, last) = (reader.clone(), self.view.clone());
        let inbox = self.inbox.clone();
        tokio::task::spawn_blocking(move || {
            let view = reader.look(last);
            let _ = inbox.send(Message::DiskSeen(Box::new(view)));
        });
    }

    /// Notes the result of a look at the disk and ends the wait of its requests; returns the verdict if
    /// it compares the disk with the generation in force.
    pub(super) fn disk_seen(&mut self, view: View, reader: &Reader) -> Option<Verdict> {
        // Files that differed from the generation before may be those of the one in force.
        let verdict = view.is_of(&reader.current).then(|| view.verdict.clone());
        self.view = Some(view);
        self.looking = std::mem::take(&mut self.looking_next);
        self.looking.retain(|waiting| !waiting.is_closed());
        if !self.looking.is_empty() {
            self.begin_look(reader);
        }
        verdict
    }

    /// Asks all serving workers for their counts; the receiver is closed when they have answered.
    fn count(&mut self, witnesses: &Witnesses<'_>) -> oneshot::Receiver<()> {
        let (done, counted) = oneshot::channel();
        let ask = self.next();
        let missing = witnesses.serving.clone();
        for worker in &missing {
            witnesses.workers.tell(*worker, ToWorker::Count { ask });
        }
        if !missing.is_empty() {
            let counting = Counting {
                missing,
                _done: done,
            };
            self.counting.insert(ask, counting);
        }
        counted
    }

    /// Returns a number that no request had before.
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Notes that a worker has sent its counts for `ask`, or for all requests if there is none.
    pub(super) fn counted(&mut self, id: WorkerId, ask: Option<u64>) {
        self.counting.retain(|this, counting| {
            if ask.is_none_or(|ask| ask == *this) {
                counting.missing.remove(&id);
            }
            !counting.missing.is_empty()
        });
    }

    /// Notes that a worker has ended and answers no request any more.
    pub(super) fn exited(&mut self, id: WorkerId) {
        self.counted(id, None);
        self.probes.retain(|_, (worker, _)| *worker != id);
    }

    /// Notes that a probe of backends is over.
    pub(super) fn probed(&mut self, ask: u64) {
        self.probes.remove(&ask);
    }

    /// Loads what is on disk on another thread without serving it, and has backends probed meanwhile.
    pub(super) fn verify(&mut self, reply: Reply, witnesses: &Witnesses<'_>) {
        if self.verifying == VERIFICATIONS {
            return reply.answer(Response::Refused {
                reason:
                    "other verifications are going on, or wait for a disk that does not answer; \
                         ask again later"
                        .to_owned(),
            });
        }
        self.verifying += 1;
        let (counted, probed) = (self.count(witnesses), self.probe(witnesses));
        let (reader, inbox) = (witnesses.reader.clone(), self.inbox.clone());
        tokio::task::spawn_local(async move {
            let found = Verification::gather(reader, counted, probed).await;
            let _ = inbox.send(Message::Verified(reply, found.map(Box::new)));
        });
    }

    /// Answers a dry run with what was found, and with what is known of backends by now.
    pub(super) fn verified(
        &mut self,
        reply: Reply,
        found: Option<Box<Verification>>,
        workers: &Workers,
        current: &Generation,
    ) {
        self.verifying -= 1;
        let Some(found) = found else {
            return;
        };
        let shown = self.shown(workers, current);
        tokio::task::spawn_blocking(move || {
            reply.answer(Response::Verified(found.report(&shown)));
        });
    }

    /// Looks up the name of an operator who ends sessions, in a task, so that the loop does not wait.
    pub(super) fn end_sessions(&self, uid: u32, selection: Selection, reply: Reply) {
        let inbox = self.inbox.clone();
        tokio::task::spawn_local(async move {
            let operator = operator::name(uid).await;
            let _ = inbox.send(Message::EndSessions(reply, selection, operator));
        });
    }

    /// Has a worker probe the backends whose certificates matter. The receiver is closed when the probe
    /// is over, or at once if there is nothing to probe or no worker serves.
    fn probe(&mut self, witnesses: &Witnesses<'_>) -> oneshot::Receiver<()> {
        let (done, probed) = oneshot::channel();
        let needed = backend_certs::needs_one_certificate(&witnesses.reader.current.config);
        if let (true, Some(worker)) = (needed, witnesses.serving.first()) {
            let ask = self.next();
            self.probes.insert(ask, (*worker, done));
            witnesses.workers.tell(*worker, ToWorker::Probe { ask });
        }
        probed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queries() -> Queries {
        Queries::new(mpsc::unbounded_channel().0)
    }

    fn wait_for(queries: &mut Queries, ask: u64, workers: &[u64]) -> oneshot::Receiver<()> {
        let (done, counted) = oneshot::channel();
        let missing = workers.iter().copied().map(WorkerId).collect();
        let counting = Counting {
            missing,
            _done: done,
        };
        queries.counting.insert(ask, counting);
        counted
    }

    fn is_over(counted: &mut oneshot::Receiver<()>) -> bool {
        counted.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn a_question_waits_for_each_worker_and_not_for_the_dead() {
        let mut queries = queries();
        let mut one = wait_for(&mut queries, 1, &[1, 2]);
        let mut other = wait_for(&mut queries, 2, &[2]);
        queries.counted(WorkerId(1), Some(1));
        assert!(!is_over(&mut one) && !is_over(&mut other));
        queries.exited(WorkerId(2));
        assert!(is_over(&mut one) && is_over(&mut other));
    }

    #[test]
    fn a_probe_is_over_when_its_worker_is_gone() {
        let mut queries = queries();
        let (done, mut probed) = oneshot::channel();
        queries.probes.insert(7, (WorkerId(3), done));
        queries.exited(WorkerId(4));
        assert!(!is_over(&mut probed));
        queries.exited(WorkerId(3));
        assert!(is_over(&mut probed));
    }
}
