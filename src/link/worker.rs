//! What the supervisor and a worker say to each other.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::{
    ListenerKey, Message,
    board::{ClientSecret, ListenerNumber},
    end::MOST_BYTES,
    packs::MAX_PACKS,
};
use crate::{
    facts::{
        BackendStatus, Confinement, ConnectionCounts, Death, LossCounts, RevokedSessions,
        Selection, SessionEntry, SessionId, UnkeptCounts,
    },
    tls::tickets::TicketSecrets,
};

/// Bytes enough for a message of names and numbers.
const SMALL: usize = 8 * 1024;

/// The most descriptors of a generation: the handover and the packs that a worker may lack.
pub const MOST_OF_GENERATION: usize = 1 + MAX_PACKS;

/// The most sessions whose two sockets come along with a message: the kernel passes 253 descriptors at once
/// (`SCM_MAX_FD`).
pub const MOST_PAIRS: usize = 126;

/// The most ids of sessions in a message that brings no sockets.
pub const MOST_OVER: usize = 400;

/// The supervisor's messages to a worker.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToWorker {
    /// Accepts from the listening socket that comes along, which belongs to a listener and a slot.
    Accept {
        /// The listener.
        key: ListenerKey,
        /// The slot that the socket belongs to: the worker's own, or one without a worker.
        slot: usize,
    },
    /// Maps the board that comes along, to count its sessions on it, and confirms that, before anything
    /// else.
    Board {
        /// The secret by which all boards name clients.
        secret: ClientSecret,
    },
    /// Maps the table that comes along, in which the worker keeps its sessions; right behind the board, unless
    /// the kernel does not count the bytes of sockets.
    Table {
        /// Its number, which no other table has.
        number: u64,
    },
    /// Maps the table of a worker that has ended, which comes along, to take its sessions over.
    Inherit {
        /// Its number.
        table: u64,
        /// How that worker ended, or is to end.
        death: Death,
        /// Whether it still works on the table. Then the worker answers with [`FromWorker::Holds`], and goes on with the
        /// sessions after [`Self::Ended`], once it has the lock of the table.
        lives: bool,
    },
    /// Takes the sockets of sessions of inherited tables, which come along: of each its client's, then its
    /// backend's. None comes along where the worker is short of descriptors.
    Sockets {
        /// The sessions, [`MOST_PAIRS`] at most.
        ids: Vec<SessionId>,
    },
    /// Goes on with all sessions of the tables inherited since the last such message, and answers with
    /// [`FromWorker::TookOver`].
    TakeOver,
    /// Counts from now on what another worker has on the board that comes along.
    AddBoard {
        /// The other worker.
        worker: u64,
    },
    /// Forgets the board of a worker that has ended.
    RemoveBoard {
        /// That worker.
        worker: u64,
    },
    /// Counts the sessions of a listener under a number.
    Number {
        /// The listener's name.
        listener: String,
        /// The number; another listener that had the name before had another.
        number: ListenerNumber,
    },
    /// Asks the resolver over the link that comes along, instead of the one before.
    Resolver,
    /// Stops accepting from the sockets of a slot that has a worker again.
    Release {
        /// The slot.
        slot: usize,
    },
    /// Makes tickets for resumption with these secrets, before its first generation and whenever
    /// they change.
    Tickets(TicketSecrets),
    /// Frees descriptors for those that come along with the next message.
    MakeRoom,
    /// Makes a generation ready without serving it, and answers this offer. The [`Handover`](super::Handover) comes along
    /// in sealed memory, and after it the packs that the worker does not have.
    Stage {
        /// Comes back in the answer; 0 if the generation is in force, and [`ToWorker::Serve`] follows.
        offer: u64,
    },
    /// Serves from now on the generation that was made ready, and confirms it.
    Serve {
        /// Its number.
        generation: u64,
    },
    /// Drops the generation that was made ready, and the sockets that came for it.
    Withdraw,
    /// Asks for the counts.
    Count {
        /// Comes back in the answer.
        ask: u64,
    },
    /// Probes the backends whose certificates decide whether clients are let in, and confirms that.
    Probe {
        /// Comes back in the answer.
        ask: u64,
    },
    /// Stops accepting, finishes sessions, and exits.
    Drain {
        /// After how many milliseconds the sessions that are left are cut.
        within_ms: u64,
    },
    /// Asks for sessions, a page of them: the worker answers with as many as a message holds, and is asked
    /// again for the rest, so that no list stands before a beat.
    Sessions {
        /// Comes back in the answer.
        ask: u64,
        /// Which sessions.
        selection: Selection,
        /// The last session that was told already, if any was.
        after: Option<SessionId>,
        /// The most sessions of the answer.
        most: u64,
    },
    /// Asks how many sessions are open of clients whose certificate the lists in force revoke.
    FindRevoked {
        /// Comes back in the answer.
        ask: u64,
    },
    /// Ends sessions.
    End {
        /// Comes back in the answer.
        ask: u64,
        /// Which sessions.
        selection: Selection,
        /// The operator who ends them, as log lines are to name it.
        operator: String,
    },
    /// Lets the next supervisor reach the worker through the socket that comes along, once the link is gone; see
    /// [`door`](super::door).
    Door {
        /// The user who may come in beside root: the daemon's.
        owner: u32,
    },
    /// Keeps the listening socket that comes along, and accepts from it only while there is no supervisor. It replaces
    /// one that came before for the same listener and slot, and is dropped with the next generation that does not have
    /// the listener.
    Spare {
        /// The listener.
        key: ListenerKey,
        /// The slot that the socket belongs to, which is not the worker's own.
        slot: usize,
    },
    /// Keeps the memory that comes along for the next supervisor, instead of what came before: the supervisor's book,
    /// the memory of its generation, and the packs of that.
    State,
    /// Writes its log lines to the pipe that comes along from now on.
    Log,
    /// Tells the next supervisor all that the worker has: [`FromWorker::About`], [`FromWorker::State`] and
    /// [`FromWorker::Board`] if it has them, every [`FromWorker::Socket`], a [`FromWorker::Keep`] of every session that is
    /// kept, the counts, and at last [`FromWorker::Told`].
    Tell,
    /// Stops accepting, has all sessions kept, and says so with [`FromWorker::HandedOver`]; serves them until
    /// [`Self::Leave`].
    HandOver {
        /// The version in which the records of its sessions are to be.
        record: u16,
    },
    /// Writes records of sessions in this version from now on, or in the nearest that it can write
    /// ([`record::version`](crate::session::record::version)), and those of all its sessions anew; says when it has with
    /// [`FromWorker::Recorded`].
    Records {
        /// The version.
        version: u16,
    },
    /// The worker of this table has ended.
    Ended {
        /// The table's number.
        table: u64,
    },
    /// Exits without touching its sessions, which it has said are kept: another worker has all that it takes to go on
    /// with them.
    Leave,
}

/// A worker's messages to the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(
    clippy::large_enum_variant,
    reason = "counts are sent often, and messages are few at a time"
)]
pub enum FromWorker {
    /// It has mapped its board, so that no other process need be able to write it any more.
    HasBoard,
    /// Every handshake that begins from now on is made with this generation.
    Serving {
        /// Its number.
        generation: u64,
    },
    /// It cannot make ready the generation that it was handed, and still serves the one before.
    Refused {
        /// The offer that it answers.
        offer: u64,
        /// Why not.
        reason: String,
    },
    /// It has made ready the generation that it was offered.
    Staged {
        /// The offer that it answers.
        offer: u64,
    },
    /// The slots for which it accepts, each from all of its sockets; sent with each beat and when they
    /// change.
    Accepts {
        /// The slots' numbers.
        slots: Vec<usize>,
    },
    /// What the host enforces on it, and what the host cannot enforce; its first message.
    Confined(Confinement),
    /// System calls that it was refused, sent with a beat if there are new ones.
    Denied {
        /// How many since it was started.
        calls: u64,
    },
    /// It is alive; sent several times within the heartbeat timeout.
    Beat,
    /// It has no pair to the resolver, or the other end of its pair is gone; sent with beats until
    /// [`ToWorker::Resolver`] brings one.
    NeedsResolver,
    /// Its counts of a listener, sent with a beat if they have changed, and when asked for.
    Counts {
        /// The listener's name.
        listener: String,
        /// Its sessions.
        counts: ConnectionCounts,
    },
    /// What it knows of a backend, sent like the counts.
    Backend {
        /// The name of a listener that has the backend.
        listener: String,
        /// The backend.
        status: BackendStatus,
    },
    /// How much memory it takes; sent when its counts are asked for.
    Memory {
        /// In bytes.
        resident: u64,
    },
    /// It has sent all counts that changed.
    Counted {
        /// The ask that it answers.
        ask: u64,
    },
    /// It has finished its sessions and exits; the counts were sent before.
    Drained {
        /// The sessions that were still open when the drain timeout was over, and so were cut.
        cut: u64,
    },
    /// It has probed the backends, and has sent the counts since.
    Probed {
        /// The ask that it answers.
        ask: u64,
    },
    /// Sessions that were asked for, in the order of their ids.
    Sessions {
        /// The ask that it answers.
        ask: u64,
        /// The sessions.
        entries: Vec<SessionEntry>,
        /// Whether there are more behind the last of these.
        has_more: bool,
        /// How many there are in all; told only when none was told before, otherwise 0.
        total: u64,
    },
    /// Sessions that are open of clients whose certificate the lists in force revoke.
    Revoked {
        /// The ask that it answers.
        ask: u64,
        /// The sessions.
        found: RevokedSessions,
    },
    /// Keeps the sockets of sessions, which come along: of each its client's, then its backend's.
    Keep {
        /// The sessions, [`MOST_PAIRS`] at most.
        ids: Vec<SessionId>,
    },
    /// The supervisor need not keep these sessions any more.
    Over {
        /// The sessions, [`MOST_OVER`] at most.
        ids: Vec<SessionId>,
    },
    /// How many sessions it could not keep since it was started; sent when there are new ones.
    Unkept {
        /// The sessions, by reason.
        counts: UnkeptCounts,
    },
    /// It goes on with the sessions of inherited tables, which no other process needs any more. Of those that
    /// are lost [`Self::Over`] came before.
    TookOver {
        /// The tables' numbers.
        tables: Vec<u64>,
        /// With how many sessions it goes on.
        taken: u64,
        /// How many sessions are lost.
        lost: LossCounts,
    },
    /// It has told sessions to end.
    Ended {
        /// The ask that it answers.
        ask: u64,
        /// How many.
        count: u64,
        /// Their ids, as many as a message holds.
        ids: Vec<SessionId>,
    },
    /// What it is, told to a supervisor that did not start it; its table comes along if it has one.
    About(Box<About>),
    /// A listening socket that it has, which comes along.
    Socket {
        /// The listener.
        key: ListenerKey,
        /// The slot that the socket belongs to.
        slot: usize,
    },
    /// What its supervisor has left for the next one, which comes along as it came with [`ToWorker::State`].
    State,
    /// Its board, which comes along.
    Board,
    /// It has told all that it has.
    Told,
    /// How far it is with [`ToWorker::HandOver`]; sent when that has changed. With none left it waits for
    /// [`ToWorker::Leave`], and says nothing of this any more.
    HandedOver {
        /// How many sessions cannot be kept, so that it serves all that it has until these have ended.
        stays: u64,
    },
    /// It has all that it takes to go on with the sessions of tables that it was handed, and does so as soon as the
    /// workers end that still work on these.
    Holds {
        /// The tables' numbers.
        tables: Vec<u64>,
    },
    /// No record of its sessions is in another version than it was told with [`ToWorker::Records`].
    Recorded {
        /// The version that it was told.
        version: u16,
    },
}

/// What a worker is, for a supervisor that did not start it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Its process id, as it knows it.
    pub pid: u32,
    /// Its slot.
    pub slot: usize,
    /// What the ids of the sessions begin with that it has accepted.
    pub origin: u64,
    /// The number of its table; `None` if it has none.
    pub table: Option<u64>,
    /// The number of the generation that it serves; 0 if it serves none.
    pub generation: u64,
    /// The version of its program, [`MOST_OF_VERSION`] bytes at most.
    pub version: String,
    /// Whether it accepts clients.
    pub accepts: bool,
}

/// The most bytes of the version of a program.
pub const MOST_OF_VERSION: usize = 32;

/// The most descriptors that a supervisor leaves for the next one: its book, the memory of its generation, and the
/// packs of that.
pub const MOST_OF_STATE: usize = 2 + MAX_PACKS;

impl Message for ToWorker {
    const MOST_DESCRIPTORS: usize = 2 * MOST_PAIRS;

    fn descriptors(&self) -> RangeInclusive<usize> {
        match self {
            Self::Accept { .. }
            | Self::Board { .. }
            | Self::Table { .. }
            | Self::Inherit { .. }
            | Self::AddBoard { .. }
            | Self::Door { .. }
            | Self::Spare { .. }
            | Self::Log
            | Self::Resolver => 1..=1,
            Self::Sockets { ids } => 2 * ids.len()..=2 * ids.len(),
            Self::Stage { .. } => 1..=MOST_OF_GENERATION,
            Self::State => 1..=MOST_OF_STATE,
            Self::RemoveBoard { .. }
            | Self::Number { .. }
            | Self::Release { .. }
            | Self::Tickets(_)
            | Self::MakeRoom
            | Self::Serve { .. }
            | Self::Withdraw
            | Self::Count { .. }
            | Self::Probe { .. }
            | Self::Drain { .. }
            | Self::TakeOver
            | Self::Tell
            | Self::HandOver { .. }
            | Self::Records { .. }
            | Self::Leave
            | Self::Ended { .. }
            | Self::FindRevoked { .. }
            | Self::Sessions { .. }
            | Self::End { .. } => 0..=0,
        }
    }

    fn most_bytes(&self) -> usize {
        match self {
            // A selection may have a thousand ids.
            Self::Sessions { .. } | Self::End { .. } => MOST_BYTES,
            _ => SMALL,
        }
    }
}

impl Message for FromWorker {
    const MOST_DESCRIPTORS: usize = 2 * MOST_PAIRS;

    fn descriptors(&self) -> RangeInclusive<usize> {
        match self {
            Self::Keep { ids } => 2 * ids.len()..=2 * ids.len(),
            Self::About(about) => {
                let tables = usize::from(about.table.is_some());
                tables..=tables
            }
            Self::Socket { .. } | Self::Board => 1..=1,
            Self::State => 1..=MOST_OF_STATE,
            _ => 0..=0,
        }
    }

    fn most_bytes(&self) -> usize {
        match self {
            // The certificate of a backend may hold many names.
            Self::Backend { .. }
            | Self::Sessions { .. }
            | Self::Revoked { .. }
            | Self::Ended { .. } => MOST_BYTES,
            _ => SMALL,
        }
    }
}
