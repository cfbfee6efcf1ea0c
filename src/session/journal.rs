//! Notes a session in its worker's table, so that another worker can go on with it.
//!
//! What was made for a socket is noted before it is sent, and a block is given back only once a record counts that no
//! longer needs it. The kernel counts what was read from a TCP socket and written to it, so nothing is
//! noted around these.

use std::{fmt, sync::Arc};

use zeroize::{Zeroize as _, Zeroizing};

use super::{
    conversation::Conversation,
    keeper::Keeper,
    leg::{Ledger, Leg},
    live::LiveSession,
    points::{Point, reach},
    record::{
        self, Body, Extent, Flows, MOST_WATCHER, Moving, Seat, moving, split_watcher, waiting,
    },
    relay::Patience,
    scratch::Scratch,
    table::{Block, Row, Spaces, Table, layout::RowState, layout::row, with_table},
};
use crate::{
    facts::{SessionId, UnkeptReason},
    protocol::watch::Watch,
};

/// Bytes of the length that stands in front of each half.
const LENGTH: usize = 2;

/// Where a session is noted.
pub struct Journal {
    id: SessionId,
    row: Row,
    /// Both halves of the moving part, and the first body behind them.
    block: Block,
    half: u16,
    second: bool,
    commits: u64,
    /// A body that was written later.
    later_body: Option<Block>,
    body: Extent,
    waiting: Option<Block>,
    /// The version of keys and facts that the body holds.
    written: BodyVersion,
    terms: KeptTerms,
    keeper: Arc<Keeper>,
}

/// The terms on which a session is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptTerms {
    /// The number by which workers count its listener's sessions.
    pub number: u16,
    /// Whether it counts as one of its client's sessions.
    pub counts_client: bool,
    /// How long nothing may move in it before it ends.
    pub patience: Patience,
    /// How suspect it is of ending its workers ([`super::takeover::suspicion`]).
    pub suspicion: u8,
}

/// How often the keys of both legs were renewed, how often the facts changed, and in which version records are written:
/// all that a body depends on.
type BodyVersion = [u32; 4];

/// Where in it the version of records is.
const VERSION: usize = 3;

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("id", &self.id)
            .field("row", &self.row)
            .field("commits", &self.commits)
            .finish_non_exhaustive()
    }
}

/// What is noted beside the moving part, and where it lies.
struct Draft {
    /// The bytes that wait, if any do.
    waiting: Option<(Block, Extent)>,
    /// A new body, if one is needed.
    body: Option<(Block, Extent)>,
    /// The version of keys and facts that the body holds, old or new.
    written: BodyVersion,
}

impl Draft {
    fn give_back(self, table: &mut Table) {
        for (block, _) in [self.waiting, self.body].into_iter().flatten() {
            table.give(block);
        }
    }
}

impl Journal {
    /// Begins to note a session. The caller sends its sockets to the supervisor.
    ///
    /// On an error nothing is noted of it, and the session goes on as before.
    pub fn begin<W: Watch>(
        conversation: &mut Conversation<W>,
        session: &LiveSession,
        terms: KeptTerms,
        keeper: &Arc<Keeper>,
        scratch: &Scratch,
    ) -> Result<Box<Self>, UnkeptReason> {
        let mut watcher = Zeroizing::new(Vec::with_capacity(W::MAX_ENCODED));
        encode_watcher(&conversation.watch, &mut watcher)?;
        let body = encode_body(conversation, session, &terms)?;
        let half = half_of(conversation, &watcher);
        let begun = with_table(|table| {
            let length = 2 * half + body.len();
            let block = table.take(length).ok_or(UnkeptReason::NoRoom)?;
            let Some(row) = table.take_row(session.id) else {
                table.give(block);
                return Err(UnkeptReason::NoRoom);
            };
            table.write(block, 2 * half, &body);
            Ok((block, row))
        });
        let (block, row) = begun.unwrap_or(Err(UnkeptReason::NoRoom))?;
        let mut journal = Box::new(Self {
            id: session.id,
            row,
            block,
            half: u16::try_from(half).map_err(|_| UnkeptReason::TooLong)?,
            second: true,
            commits: 0,
            later_body: None,
            body: block.place(2 * half, body.len()),
            waiting: None,
            written: version(conversation, session),
            terms,
            keeper: Arc::clone(keeper),
        });
        with_table(|table| {
            for (index, leg) in conversation.legs_mut().into_iter().enumerate() {
                leg.set_ledger(Some(Ledger {
                    written: table.word(row, row::WRITTEN + index),
                    consumed: table.word(row, row::CONSUMED + index),
                }));
            }
        });
        if let Err(reason) = journal.commit(conversation, session, scratch) {
            drop(journal.end(conversation));
            return Err(reason);
        }
        Ok(journal)
    }

    /// Notes the session as it is now. Once this returns `Ok`, another worker would go on from here; on an error, from
    /// the commit before.
    pub fn commit<W: Watch>(
        &mut self,
        conversation: &Conversation<W>,
        session: &LiveSession,
        scratch: &Scratch,
    ) -> Result<(), UnkeptReason> {
        let noted = with_table(|table| {
            let mut spaces = std::mem::take(&mut table.spaces);
            let draft = self.draft(table, &mut spaces, conversation, session, scratch);
            let noted = draft.map(|draft| self.enact(table, &spaces.moving, &draft));
            spaces.moving.zeroize();
            spaces.watcher.zeroize();
            table.spaces = spaces;
            noted
        });
        noted.unwrap_or(Err(UnkeptReason::NoRoom))
    }

    /// Returns how often the session was noted.
    pub fn commits(&self) -> u64 {
        self.commits
    }

    /// Returns whether the record is in the version in which records are written now.
    pub fn is_current(&self) -> bool {
        self.written[VERSION] == u32::from(record::version::written())
    }

    /// Says that the session is worked on until the returned guard is dropped.
    pub fn work(&self) -> Working {
        with_table(|table| table.work_on(Some(self.row)));
        Working
    }

    /// Returns what keeps the session.
    pub fn keeper(&self) -> &Arc<Keeper> {
        &self.keeper
    }

    /// Ends the noting of a session that can be kept no longer and goes on without.
    pub fn give_up<W>(
        self,
        reason: UnkeptReason,
        conversation: &mut Conversation<W>,
        session: &LiveSession,
    ) {
        self.keeper.unkept(session, reason);
        drop(self.end(conversation));
    }

    fn draft<W: Watch>(
        &self,
        table: &mut Table,
        spaces: &mut Spaces,
        conversation: &Conversation<W>,
        session: &LiveSession,
        scratch: &Scratch,
    ) -> Result<Draft, UnkeptReason> {
        encode_watcher(&conversation.watch, &mut spaces.watcher)?;
        let (beside, waits) = split_watcher(&spaces.watcher);
        let legs = conversation.legs();
        let moving = [legs[0].moving(scratch)?, legs[1].moving(scratch)?];
        let written = version(conversation, session);
        let body = if written == self.written {
            None
        } else {
            let body = encode_body(conversation, session, &self.terms)?;
            Some(put_block(table, &body)?)
        };
        let mut draft = Draft {
            waiting: None,
            body,
            written,
        };
        match put_waiting(table, legs.map(Leg::waiting), waits) {
            Ok(waiting) => draft.waiting = waiting,
            Err(reason) => {
                draft.give_back(table);
                return Err(reason);
            }
        }
        let (bytes_up, bytes_down) = session.bytes();
        let moving = Moving {
            commits: self.commits + 1,
            takeovers: session.takeovers(),
            suspicion: self.terms.suspicion,
            bytes_up,
            bytes_down,
            moved: session.moved_at_boot(),
            flows: Flows::of(conversation.up, conversation.down, &conversation.first),
            body: draft.body.map_or(self.body, |(_, place)| place),
            waiting: draft.waiting.map(|(_, place)| place),
            legs: moving,
            watcher: beside,
        };
        moving.put(&mut spaces.moving);
        if LENGTH + spaces.moving.len() > usize::from(self.half) {
            // The watcher has grown since the session was kept first.
            draft.give_back(table);
            return Err(UnkeptReason::TooLong);
        }
        Ok(draft)
    }

    fn enact(&mut self, table: &mut Table, moving: &[u8], draft: &Draft) {
        self.second = !self.second;
        self.commits += 1;
        let half = usize::from(self.half);
        let offset = if self.second { half } else { 0 };
        let length = u16::try_from(moving.len()).unwrap_or(0);
        table.write(self.block, offset, &length.to_be_bytes());
        table.write(self.block, offset + LENGTH, moving);
        reach(Point::BeforeFlip);
        let at = self.block.place(0, 0).at;
        table.set(
            self.row,
            RowState::Live {
                at,
                half: self.half,
                second: self.second,
            },
        );
        let Draft {
            waiting,
            body,
            written,
        } = *draft;
        let waiting = waiting.map(|(block, _)| block);
        if let Some(before) = std::mem::replace(&mut self.waiting, waiting) {
            table.give(before);
        }
        self.written = written;
        if let Some((block, place)) = body {
            match self.later_body.replace(block) {
                Some(before) => table.give(before),
                None => table.wipe(self.block, 2 * half),
            }
            self.body = place;
        }
    }

    /// Ends what is noted of the session: it counts no more and is wiped, and what is done with its connections is not
    /// noted any more. The supervisor keeps the sockets until the returned guard is dropped.
    pub fn end<W>(self, conversation: &mut Conversation<W>) -> Over {
        for leg in conversation.legs_mut() {
            leg.set_ledger(None);
        }
        with_table(|table| {
            table.end_row(self.row);
            reach(Point::AfterEnd);
            let blocks = [Some(self.block), self.later_body, self.waiting];
            for block in blocks.into_iter().flatten() {
                table.give(block);
            }
        });
        Over {
            id: self.id,
            keeper: self.keeper,
        }
    }
}

/// Says that its session is not worked on any more, when this is dropped.
///
/// If the session panics meanwhile, this ends the worker: the session then goes on in another worker, unless it is too
/// suspect. Tokio would only drop the session's task, and leave its record and its sockets where they are.
#[derive(Debug)]
#[must_use]
pub struct Working;

impl Drop for Working {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            with_table(|table| table.work_on(None));
        } else if !cfg!(test) {
            std::process::abort();
        }
    }
}

/// Tells the supervisor that it need not keep a session's sockets any more, when this is dropped.
#[derive(Debug)]
pub struct Over {
    id: SessionId,
    keeper: Arc<Keeper>,
}

impl Drop for Over {
    fn drop(&mut self) {
        self.keeper.over(self.id);
    }
}

/// Writes bytes into a block of their own.
fn put_block(table: &mut Table, bytes: &[u8]) -> Result<(Block, Extent), UnkeptReason> {
    let block = table.take(bytes.len()).ok_or(UnkeptReason::NoRoom)?;
    table.write(block, 0, bytes);
    Ok((block, block.place(0, bytes.len())))
}

/// Writes the bytes that wait into a block, if any do.
fn put_waiting(
    table: &mut Table,
    legs: [[&[u8]; 3]; 2],
    watcher: Option<&[u8]>,
) -> Result<Option<(Block, Extent)>, UnkeptReason> {
    if watcher.is_none() && legs.iter().flatten().all(|it| it.is_empty()) {
        return Ok(None);
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(waiting::length(legs, watcher)));
    waiting::put(legs, watcher, &mut bytes).map_err(|_| UnkeptReason::TooLong)?;
    put_block(table, &bytes).map(Some)
}

fn encode_watcher<W: Watch>(watch: &W, out: &mut Vec<u8>) -> Result<(), UnkeptReason> {
    watch.encode(out).map_err(|_| UnkeptReason::TooLong)
}

fn encode_body<W>(
    conversation: &Conversation<W>,
    session: &LiveSession,
    terms: &KeptTerms,
) -> Result<Zeroizing<Vec<u8>>, UnkeptReason> {
    let seat = Seat {
        listener: session.counters.listener.clone(),
        number: terms.number,
        counts_client: terms.counts_client,
    };
    let body = Body {
        version: record::version::written(),
        id: session.id,
        began: u64::try_from(session.began_at().as_microsecond()).unwrap_or(0),
        seat: &seat,
        patience: terms.patience,
        cookies: conversation.legs().map(|leg| leg.socket().cookie()),
        tls: conversation.legs().map(Leg::tls_state),
        facts: &session.facts(),
    };
    // Room for all of it, because memory that a vector has grown out of is not wiped.
    let mut bytes = Zeroizing::new(Vec::with_capacity(body.room()));
    body.put(&mut bytes).map_err(|_| UnkeptReason::TooLong)?;
    Ok(bytes)
}

fn version<W>(conversation: &Conversation<W>, session: &LiveSession) -> BodyVersion {
    [
        conversation.client.renewals(),
        conversation.backend.renewals(),
        session.facts_version(),
        u32::from(record::version::written()),
    ]
}

/// Returns how much room a half needs, its length included.
fn half_of<W>(conversation: &Conversation<W>, watcher: &[u8]) -> usize {
    let legs: usize = conversation.legs().into_iter().map(Leg::most_moving).sum();
    let watcher = if watcher.len() <= 1 { 1 } else { MOST_WATCHER };
    LENGTH + moving::FIXED + legs + watcher
}
