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

    /// Tells a worker that was started in which version it writes records, if that is not what it does by itself.
    pub(super) fn tell_records(&self, id: WorkerId) {
        let version = self.records;
        if version != record::VERSION {
            self.tell(id, ToWorker::Records { version });
        }
    }
}
