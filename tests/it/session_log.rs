//! The line that each session leaves in the log, and the counts of how they ended.

// Counts: over deaths of workers, and on the metrics page.
mod counts;
// Sessions that a drain cuts.
mod drains;
// The ends of sessions that were relayed.
mod ends;
// The users of logins.
mod logins;
// Sessions that were never relayed.
mod openings;

use crate::support::logged::{Front, JSON, ended, ends, lines};
