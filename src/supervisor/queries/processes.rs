//! What the daemon's processes use of the machine.

use jiff::Timestamp;

use super::status::Sources;
use crate::{
    control::{ProcessRole, ProcessStatus},
    sys::usage,
};

/// Returns the processes of the daemon; of workers, those that its slots have now.
pub(super) fn all(sources: &Sources<'_>) -> Vec<ProcessStatus> {
    let started = (std::process::id(), sources.life.started_at());
    let own = ProcessStatus {
        open_descriptors: usage::open_descriptors(),
        most_descriptors: usage::most_descriptors(),
        ..process(ProcessRole::Supervisor, started, usage::resident())
    };
    let slots = sources.plan.slots().iter().enumerate();
    let workers = slots.filter_map(|(slot, it)| {
        let worker = sources.workers.get(it.worker()?.id)?;
        let started = (worker.pid()?, worker.child.started_at);
        Some(ProcessStatus {
            slot: Some(slot),
            ..process(ProcessRole::Worker, started, worker.resident)
        })
    });
    let page = sources.helpers.page.as_ref();
    let page = page.and_then(|it| it.helper.running());
    let helpers = [
        (ProcessRole::Resolver, sources.helpers.resolver.running()),
        (ProcessRole::Page, page),
    ];
    let helpers = helpers.into_iter().filter_map(|(role, running)| {
        let (pid, started_at, resident) = running?;
        Some(process(role, (pid, started_at), resident))
    });
    [own].into_iter().chain(workers).chain(helpers).collect()
}

fn process(
    role: ProcessRole,
    (pid, started_at): (u32, Timestamp),
    resident_bytes: Option<u64>,
) -> ProcessStatus {
    ProcessStatus {
        role,
        slot: None,
        pid,
        started_at,
        cpu_s: usage::cpu_time(pid).map(|it| it.as_secs_f64()),
        resident_bytes,
        open_descriptors: None,
        most_descriptors: None,
    }
}
