//! The exit-failure command: a start goes on without it.

use std::{fs, path::Path};

use rustix::fs::Access;

use super::{Findings, Ground, Who};
use crate::{supervisor::notices::Hook, sys::folders};

pub(super) fn attempt(ground: &Ground<'_>, findings: &mut Findings) {
    let configured = ground.config.on_exit_failure.as_ref();
    if let Some(program) = configured.and_then(|hook| hook.command.first())
        && let Err(error) = check(Path::new(program))
    {
        findings.doubt(format!(
            "on_exit_failure: {program} cannot be run as things are: {error}"
        ));
    }
    // A start warns of this by itself, when it reads the file.
    if !matches!(ground.who, Who::Start)
        && let Some(doubt) = Hook::doubt(&ground.config.state_dir)
    {
        findings.doubt(doubt);
    }
}

fn check(program: &Path) -> std::io::Result<()> {
    if !fs::metadata(program)?.is_file() {
        return Err(std::io::Error::other("it is not a file"));
    }
    folders::may(program, Access::EXEC_OK)
}
