//! Has the records of all sessions in the version that the supervisor wants.

use std::sync::Arc;

use super::super::Worker;
use crate::{
    link::FromWorker,
    session::{live::LiveSession, record, standing::Ask},
};

/// Sessions that write their records anew.
pub(in crate::worker) struct Rewriting {
    /// The version that the supervisor wants.
    version: u16,
    /// Those that have not answered. Writing takes no descriptors, so all are asked at once.
    asked: Vec<Arc<LiveSession>>,
}

impl Rewriting {
    /// Asks these sessions.
    fn new(version: u16, sessions: impl Iterator<Item = Arc<LiveSession>>) -> Self {
        let asked: Vec<_> = sessions.collect();
        for session in &asked {
            session.ask(Ask::Rewrite);
        }
        Self { version, asked }
    }

    /// Returns whether all sessions have answered.
    fn is_over(&mut self) -> bool {
        self.asked.retain(|session| session.keep.is_waited_for());
        self.asked.is_empty()
    }
}

impl Worker {
    /// Begins to have all records in this version, or in the nearest that this program can write.
    pub(in crate::worker) fn change_records(&mut self, version: u16) {
        record::version::write(version);
        let sessions = self.services.sessions.all().into_iter();
        let kept = sessions.filter(|it| it.keep.is_noted());
        self.rewriting = Some(Rewriting::new(version, kept));
        self.wait_for_sessions();
        self.go_on_rewriting();
    }

    /// Tells the supervisor once all records are in the version that it wants.
    pub(in crate::worker) fn go_on_rewriting(&mut self) {
        if let Some(rewriting) = self.rewriting.take_if(Rewriting::is_over) {
            let version = rewriting.version;
            self.voice.send(FromWorker::Recorded { version });
            self.wait_for_sessions();
        }
    }
}
