//! A rollback: what was served before is served again until an operator asks for what is on disk.

use super::{Action, Plan};
use crate::facts::Trigger;

impl Plan {
    /// Returns whether a load with this trigger is held off, because a rollback is in force and no operator
    /// has asked for the load.
    pub(super) fn is_held(&self, trigger: Trigger) -> bool {
        self.rolled_back && !trigger.is_asked()
    }

    /// Notes that a generation with this trigger was put in force, or that a load with it found that what
    /// is on disk is what is served.
    pub(super) fn note_served(&mut self, trigger: Trigger, actions: &mut Vec<Action>) {
        let was = self.rolled_back;
        self.rolled_back = trigger == Trigger::Rollback || (was && !trigger.goes_forward());
        if was && !self.rolled_back {
            actions.push(Action::EndRollback);
        }
    }
}
