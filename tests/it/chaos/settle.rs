//! Checks with all faults undone: the daemon must be whole again, and must not have grown.

use std::{
    sync::RwLockWriteGuard,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    commands::{ask, load},
    disk::State,
    growth::{Bounds, Measure},
    judge::Question,
    poller::get,
    probers::attempt,
    run::Run,
    tally::Kind,
    within,
};
use crate::support::process;

/// How long the daemon may take to be whole again.
///
/// After many failures in a row a slot waits for ten seconds, and its new worker counts as failing for
/// ten more.
const RECOVERY: Duration = Duration::from_secs(60);

/// How long the processes may take to close descriptors.
const RELEASE: Duration = Duration::from_secs(20);

/// How long the number of descriptors must stay the same before the daemon counts as idle.
const STILL: Duration = Duration::from_millis(500);

/// From how many failures of a worker in a row on `check` warns.
const KEEPS_FAILING: u64 = 3;

/// The resources of the daemon at the times when it was whole.
#[derive(Debug, Default)]
pub(crate) struct Calm {
    /// Those at the first time.
    pub(crate) first: Option<Measure>,
    /// Those at the last time.
    pub(crate) last: Option<Measure>,
}

/// Waits until all faults are undone and the daemon is whole; notes a finding if it does not become
/// whole. No fault strikes until the returned guard is dropped.
pub(crate) fn settle<'run>(run: &'run Run<'_>, calm: &mut Calm) -> RwLockWriteGuard<'run, ()> {
    let faults = run.faults.write().unwrap();
    let mut missing = String::new();
    let whole = within(RECOVERY, || match whole(run) {
        Ok(()) => true,
        Err(what) => {
            missing = what;
            false
        }
    });
    if whole {
        run.tally.settled.one();
        measure(run, calm);
    } else {
        run.tally.find(Kind::Unsettled, missing);
    }
    faults
}

/// Returns why the daemon is not whole.
fn whole(run: &Run<'_>) -> Result<(), String> {
    let reload = load(run, Question::Reload, &[]);
    if reload.status != Some(0) {
        return Err(format!("reload: {:?}", reload.outcome));
    }
    let status = ask(run, &["status"]).json().unwrap_or_default();
    all_serve(&status)?;
    shows_what_is_on_disk(run, &status)?;
    let failing = status["restarts"]["consecutive"].as_u64() >= Some(KEEPS_FAILING);
    let check = ask(run, &["check"]);
    if !(check.status == Some(0) || check.status == Some(1) && failing) {
        return Err(format!("check: {:?}", check.outcome));
    }
    for path in ["/healthz", "/readyz"] {
        match get(run, path) {
            Ok(200) => {}
            other => return Err(format!("{path}: {other:?}")),
        }
    }
    no_zombies(run)
}

fn all_serve(status: &Value) -> Result<(), String> {
    let (tls, workers) = (&status["tls"], status["workers"].as_array());
    let serves = |it: &Value| it["state"] == "serving" && it["generation"] == tls["generation"];
    if !workers.is_some_and(|workers| workers.iter().all(serves)) {
        return Err(format!(
            "workers at generation {}: {}",
            tls["generation"], status["workers"]
        ));
    }
    let fine = status["supervisor"]["state"] == "serving"
        && tls["last_error"].is_null()
        && tls["restart_safe"] == true
        && tls["disk"]["state"] == "same";
    if fine {
        return Ok(());
    }
    Err(format!("supervisor {}, tls {tls}", status["supervisor"]))
}

/// Compares the certificates that clients are shown, and those in the status, with the newest on disk.
fn shows_what_is_on_disk(run: &Run<'_>, status: &Value) -> Result<(), String> {
    let newest = |identity: &str, sha256: &str| {
        let number = run.truth(identity, |truth| truth.number(sha256)).flatten();
        let on_disk = run.disk(|disk| disk.now(identity));
        if number.map(State::Good) == on_disk {
            return Ok(());
        }
        Err(format!(
            "{identity} is {sha256}, number {number:?}, with {on_disk:?} on disk"
        ))
    };
    let identities = status["tls"]["identities"].as_array();
    for identity in identities.into_iter().flatten() {
        let text = |name| identity[name].as_str().unwrap_or_default();
        newest(text("name"), text("sha256"))?;
    }
    for place in &run.places {
        for door in &place.doors {
            let session = attempt(run, place, door);
            let session = session.ok_or_else(|| format!("no handshake at {}", place.name))?;
            newest(door.identity, &session.shown().sha256)?;
        }
    }
    Ok(())
}

fn no_zombies(run: &Run<'_>) -> Result<(), String> {
    let children = process::children(run.daemon.pid()).into_iter();
    let dead: Vec<_> = children
        .filter(|pid| process::state(*pid) == Some('Z'))
        .collect();
    if dead.is_empty() {
        return Ok(());
    }
    Err(format!("zombies that nothing has waited for: {dead:?}"))
}

/// Measures the daemon's resources without clients.
fn measure(run: &Run<'_>, calm: &mut Calm) {
    let traffic = run.traffic.write().unwrap();
    run.close_sessions();
    let Some(first) = &calm.first else {
        calm.first = stable(run);
        if calm.first.is_none() {
            run.tally.find(Kind::Growth, "nothing could be measured");
        }
        return;
    };
    let bounds = Bounds::of(first);
    let mut exceeded = None;
    within(RELEASE, || {
        exceeded = match look(run) {
            Ok(measure) => {
                let exceeded = bounds.exceeded(&measure);
                calm.last = Some(measure);
                exceeded
            }
            Err(why) => Some(why),
        };
        exceeded.is_none()
    });
    drop(traffic);
    if let Some(what) = exceeded {
        run.tally.find(Kind::Growth, what);
    }
}

/// Measures until the number of descriptors stays the same for a while.
fn stable(run: &Run<'_>) -> Option<Measure> {
    let mut stable: Option<(Instant, Measure)> = None;
    within(RELEASE, || {
        let now = look(run).ok();
        stable = match (stable.take(), now) {
            (Some((since, old)), Some(now)) if old.descriptors() == now.descriptors() => {
                Some((since, now))
            }
            (_, now) => now.map(|now| (Instant::now(), now)),
        };
        stable
            .as_ref()
            .is_some_and(|(since, _)| since.elapsed() > STILL)
    });
    stable.map(|(_, measure)| measure)
}

fn look(run: &Run<'_>) -> Result<Measure, String> {
    let status = ask(run, &["status"]).json().unwrap_or_default();
    let measure = Measure::take(run.daemon.pid(), &status);
    measure.ok_or_else(|| {
        format!(
            "sessions were closed, and workers are {}",
            status["workers"]
        )
    })
}
