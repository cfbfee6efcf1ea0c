//! Which processes the kernel kills first when memory runs short (`proc_pid_oom_score_adj(5)`).

use std::{fs, io};

const ADJUSTMENT: &str = "/proc/self/oom_score_adj";

/// Makes this process as likely to be killed as any other, if it has inherited protection.
///
/// Service managers protect the supervisor, and its children inherit that. If a worker takes too much
/// memory, the kernel should kill the worker: the supervisor replaces it.
pub fn give_up_protection() -> io::Result<()> {
    let adjustment = fs::read_to_string(ADJUSTMENT)?;
    if adjustment.starts_with('-') {
        fs::write(ADJUSTMENT, "0")?;
    }
    Ok(())
}
