//! Sessions that are listed and ended by `proxyctl`.

// What shells complete.
mod completion;
// Databases, and the login names of their clients.
mod databases;
// What ends by it, and what both sides and the operators are told.
mod ending;
// What is shown of a session, and which sessions.
mod listing;
// Sessions of certificates that are revoked.
mod revoked;
// Workers that do not answer.
mod silent;

use serde_json::Value;

use crate::support::logged::Front;

impl Front {
    /// Returns the sessions that `proxyctl --json sessions` shows with these arguments.
    #[track_caller]
    fn list(&self, arguments: &[&str]) -> Vec<Value> {
        let list = self.daemon.json(&[&["sessions"], arguments].concat());
        list.as_array().unwrap().clone()
    }

    /// Returns the ids of the same sessions.
    #[track_caller]
    fn ids(&self, arguments: &[&str]) -> Vec<String> {
        self.list(arguments).iter().map(id).collect()
    }
}

/// Returns the id of a session.
#[track_caller]
fn id(session: &Value) -> String {
    session["id"].as_str().unwrap().to_owned()
}
