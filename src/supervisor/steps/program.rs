//! The program file, which a cold start runs again, and which workers run too.

use std::{
    env, fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::Access;

use super::{Findings, Ground};
use crate::sys::{folders, image};

/// The file that runs now.
const RUNNING: &str = "/proc/self/exe";

/// The path by which this program was started; `None` if it cannot be told.
#[derive(Debug)]
pub(in crate::supervisor) struct Program(pub(in crate::supervisor) Option<PathBuf>);

impl Program {
    /// Returns the path that this process was started by, which may be a link that an upgrade turns.
    pub(super) fn of_process() -> Self {
        let running = env::current_exe().ok();
        let typed = env::args_os().next().map(PathBuf::from);
        let is_it = |path: &PathBuf| path.is_absolute() && fs::canonicalize(path).ok() == running;
        Self(typed.filter(is_it).or(running))
    }
}

pub(super) fn attempt(ground: &Ground<'_>, findings: &mut Findings) {
    // What runs now is what this start or check is made with; a daemon's next start takes the file.
    let path = match (ground.in_force(), &ground.origin.program.0) {
        (Some(_), Some(path)) => path,
        _ => Path::new(RUNNING),
    };
    findings.replaced = is_another(path);
    if let Err(error) = check(path) {
        return findings.obstacle(format!("program {}: {error}", path.display()));
    }
    if let Ok(Some(account)) = ground.account()
        && !account.may_run(path)
    {
        findings.obstacle(format!(
            "program {}: workers run as {}, which may not execute it; give it that right \
             (`chmod a+x`, or `setfacl` where it has an access control list)",
            path.display(),
            account.name
        ));
    }
}

/// Returns whether the file at `path` is another than the one that runs.
fn is_another(path: &Path) -> bool {
    let id = |path: &Path| fs::metadata(path).map(|it| (it.dev(), it.ino()));
    match (id(path), id(Path::new(RUNNING))) {
        (Ok(there), Ok(running)) => there != running,
        _ => false,
    }
}

fn check(path: &Path) -> io::Result<()> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    folders::may(path, Access::EXEC_OK)?;
    image::check(path)
}
