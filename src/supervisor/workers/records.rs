//! In which version workers write the records of their sessions.

use super::{WorkerId, Workers};
use crate::{link::ToWorker, session::record};

impl Workers {
    /// Has workers write records in this version from now on, also those that are started later.
    pub(in crate::supervisor) fn write_records(&mut self, version: u16) {
        if self.records == version {
            return;
        }
        self.records = version;
        for id in self.processes.keys() {
            self.tell(*id, ToWorker::Records { version });
        }
    }

    /// Notes that the records of all sessions of a worker are in this version.
    pub(in crate::supervisor) fn recorded(&mut self, id: WorkerId, version: u16) {
        if let Some(process) = self.processes.get_mut(&id) {
            process.records = version;
        }
    }

    /// Returns whether the records of all sessions of a worker are in this version, as far as it has said.
    pub(in crate::supervisor) fn has_recorded(&self, id: WorkerId, version: u16) -> bool {
        let process = self.processes.get(&id);
        process.is_none_or(|it| it.records == version)
    }

    /// Tells a worker that was started in which version it writes records, if that is not what it does by itself.
    pub(super) fn tell_records(&self, id: WorkerId) {
        let version = self.records;
        if version != record::VERSION {
            self.tell(id, ToWorker::Records { version });
        }
    }
}
