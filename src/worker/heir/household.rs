//! What a worker goes on with sessions with.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::{
    facts::LossReason,
    link::board::ListenerNumber,
    protocol::watcher::Watcher,
    session::{
        conversation::Conversation,
        ending::SessionEnd,
        journal::{Journal, KeptTerms},
        keeper::Keeper,
        live::LiveSession,
        record::Record,
        relay::take_over,
        scratch::with_scratch,
    },
    worker::{
        contact::Voice,
        places::{Counting, Places},
        service::Services,
        told::Told,
    },
};

/// What a worker needs to go on with sessions.
#[derive(Clone)]
pub(in crate::worker) struct Household {
    pub(in crate::worker) services: Arc<Services>,
    pub(in crate::worker) counting: Arc<Counting>,
    pub(in crate::worker) keeper: Arc<Keeper>,
    pub(in crate::worker) tasks: TaskTracker,
    pub(in crate::worker) voice: Voice,
    /// Counts sessions: the supervisor hears the counts before it hears of the takeover.
    pub(in crate::worker) told: Told,
    /// What is heard of workers that are to end. Its sender is dropped when another supervisor has come, which hands out
    /// anew what this worker still waits for.
    pub(in crate::worker) ends: watch::Receiver<Ends>,
}

/// What a worker has heard of others whose sessions it is to go on with when they end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::worker) struct Ends {
    /// The tables whose workers have ended, as the supervisor says.
    pub(in crate::worker) tables: BTreeSet<u64>,
    /// Whether no supervisor is left that could say so.
    pub(in crate::worker) is_alone: bool,
}

impl Ends {
    /// Returns whether nothing is to be heard any more before the lock of a table is tried.
    pub(super) fn may_try(&self, table: u64) -> bool {
        self.is_alone || self.tables.contains(&table)
    }
}

impl Household {
    /// Goes on with a session.
    pub(super) fn go_on(
        &self,
        mut conversation: Conversation<Watcher>,
        record: &mut Record,
        suspicion: u8,
    ) -> Result<(), LossReason> {
        if let Some(tls) = &mut record.facts.tls {
            let chain = tls.certificate.take();
            tls.certificate = chain.map(|it| self.services.sessions.chains.same(it));
        }
        let seat = &record.seat;
        let number = ListenerNumber::at(seat.number.into()).ok_or(LossReason::Damaged)?;
        let counters = self.services.counters_of(&seat.listener);
        let session = LiveSession::taken_over(record, Arc::clone(&counters));
        let session = self.services.sessions.resume(session);
        let session = session.ok_or(LossReason::Damaged)?;
        let terms = KeptTerms {
            number: seat.number,
            counts_client: seat.counts_client,
            patience: record.patience,
            suspicion,
        };
        let journal = with_scratch(|scratch| {
            Journal::begin(&mut conversation, &session, terms, &self.keeper, scratch)
        });
        let journal = journal.map_err(|_| LossReason::NoRoom)?;
        let client = record.facts.peers.client.map(|it| it.ip());
        let places = Arc::new(Places::new(number, Arc::clone(&self.counting)));
        let place = places.retake(client.filter(|_: &IpAddr| seat.counts_client));
        let counted = (counters.take_over(), place);
        let relayed = take_over(conversation, record.patience, Arc::clone(&session), journal);
        self.tasks.spawn(async move {
            SessionEnd::from(&relayed.await).note(&session);
            drop(counted);
        });
        Ok(())
    }
}
