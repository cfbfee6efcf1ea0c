//! The end of a daemon, which must be clean, in time, and include all its processes.

use std::{fs, path::Path, time::Duration};

use nix::sys::signal::Signal;

use super::{
    tally::{Kind, Tally},
    within,
};
use crate::support::{
    daemon::TestDaemon,
    process::{self, Known},
};

/// How long an end may take: the configured drain timeout, and a reserve for a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// Tells a daemon to end, and notes a finding for everything that is not as it should be.
pub(crate) fn end(daemon: &mut TestDaemon, tally: &Tally) {
    let children = process::children(daemon.pid()).into_iter();
    let children: Vec<_> = children.filter_map(Known::new).collect();
    daemon.signal(Signal::SIGTERM);
    let mut status = None;
    let ended = within(DEADLINE, || {
        status = daemon.exit_status();
        status.is_some()
    });
    if !ended {
        tally.find(Kind::BadEnd, format!("no end within {DEADLINE:?} of TERM"));
    } else if status.and_then(|it| it.code()) != Some(0) {
        tally.find(
            Kind::BadEnd,
            format!("the supervisor ended with {status:?}"),
        );
    }
    let mut left = Vec::new();
    let gone = within(DEADLINE / 4, || {
        left = children
            .iter()
            .filter(|it| it.is_alive())
            .map(|it| it.pid)
            .collect();
        left.extend(processes_that_name(daemon.folder()));
        left.is_empty()
    });
    if !gone {
        tally.find(
            Kind::BadEnd,
            format!("processes that outlived it: {left:?}"),
        );
    }
}

/// Returns the living processes whose arguments or environment name a folder.
fn processes_that_name(folder: &Path) -> Vec<u32> {
    let folder = folder.to_str().unwrap().as_bytes();
    let names = |pid: u32| {
        ["cmdline", "environ"].iter().any(|file| {
            let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            text.windows(folder.len()).any(|it| it == folder)
        })
    };
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| process::is_alive(*pid) && names(*pid))
        .collect()
}
