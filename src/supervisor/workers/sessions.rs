//! What workers say of their sessions, as far as it can be believed.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{WorkerId, Workers, heard};
use crate::facts::{MOST_REVOKED, RevokedCertificate, RevokedSessions, SessionEntry, SessionId};

impl Workers {
    /// Returns the sessions that a worker tells of, as far as it can have them.
    pub(in crate::supervisor) fn sessions_told(
        &self,
        id: WorkerId,
        entries: Vec<SessionEntry>,
    ) -> Vec<SessionEntry> {
        let Some(process) = self.processes.get(&id) else {
            return Vec::new();
        };
        let now = Timestamp::now();
        let is_known = |name: &str| self.known.has(name) || process.counts.contains_key(name);
        let living = self.living_origins();
        let can_have = |origin| self.origins.can_have(process.origin, origin, &living);
        let all = entries.into_iter();
        let possible = all.filter(|it| can_have(it.id.origin) && is_known(&it.listener));
        possible.map(|it| heard::session(it, now)).collect()
    }

    /// Returns the origins of workers that have not ended.
    pub(super) fn living_origins(&self) -> BTreeSet<u64> {
        self.processes.values().map(|it| it.origin).collect()
    }

    /// Returns what a worker says of sessions of revoked certificates, as far as that is possible.
    pub(in crate::supervisor) fn revoked(
        &self,
        id: WorkerId,
        found: RevokedSessions,
    ) -> RevokedSessions {
        let possible = |count| self.possible_sessions(id, count);
        let certificates = found.certificates.into_iter().take(MOST_REVOKED);
        RevokedSessions {
            sessions: possible(found.sessions),
            certificates: certificates
                .filter_map(heard::revoked)
                .map(|it| RevokedCertificate {
                    sessions: possible(it.sessions),
                    ..it
                })
                .collect(),
            left_out: possible(found.left_out),
            silent: Vec::new(),
        }
    }

    /// Returns how many sessions a worker can have of those that it says it has.
    pub(in crate::supervisor) fn possible_sessions(&self, id: WorkerId, count: u64) -> u64 {
        let process = self.processes.get(&id);
        process.map_or(0, |it| heard::most(it.child.started.elapsed()).min(count))
    }

    /// Returns how many sessions a worker can have ended of those that it says it has, and which of the ids
    /// that it tells it can have had.
    pub(in crate::supervisor) fn sessions_ended(
        &self,
        id: WorkerId,
        count: u64,
        ids: Vec<SessionId>,
    ) -> (u64, Vec<SessionId>) {
        let Some(process) = self.processes.get(&id) else {
            return (0, Vec::new());
        };
        let living = self.living_origins();
        let can_have = |origin| self.origins.can_have(process.origin, origin, &living);
        let ids: BTreeSet<SessionId> = ids.into_iter().filter(|it| can_have(it.origin)).collect();
        let count = self.possible_sessions(id, count).max(ids.len() as u64);
        (count, ids.into_iter().collect())
    }
}
