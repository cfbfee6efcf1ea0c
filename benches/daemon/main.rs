//! Measures the release build of `proxyd` from outside, against a plain copy loop.
//!
//! `cargo bench --bench daemon -- [NAME…]` runs the measures whose names begin with one of NAME,
//! or all. Everything happens on loopback. What each figure means stands in `docs/performance.md`.
//!
//! A figure by itself says as much about the machine as about the program. So each measure also
//! takes that of a [`baseline`], in turns with it, and the table gives the ratio of the two.

mod backend;
mod baseline;
mod bytes;
mod client;
mod connections;
mod cores;
mod crash;
mod daemon;
mod front;
mod identities;
mod idle;
mod kills;
mod pki;
mod process;
mod reload;
mod requests;
mod successors;
mod table;
mod turns;

use std::{env, error::Error, io, process::ExitCode, time::Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::{cores::Cores, table::Table};

/// What a measure may fail with: nothing here can go on without it.
type Failure = Box<dyn Error + Send + Sync>;

/// A measure: its name, the cores it has, and what adds its lines to the table.
type Measure = (&'static str, Cores, fn(&mut Table) -> Result<(), Failure>);

const MEASURES: [Measure; 15] = [
    ("connections", Cores::One, connections::measure),
    ("requests", Cores::One, requests::measure),
    ("bytes", Cores::One, bytes::measure),
    ("idle", Cores::One, idle::measure),
    ("reload", Cores::All, reload::measure),
    ("identities", Cores::All, identities::measure),
    ("crash-one", Cores::All, crash::measure_one),
    ("crash-all", Cores::All, crash::measure_all),
    ("kills", Cores::All, kills::measure),
    ("kill-idle", Cores::All, kills::measure_idle),
    ("kill-back-off", Cores::All, kills::measure_back_off),
    ("kill-stuck", Cores::All, kills::measure_stuck),
    ("upgrades", Cores::All, successors::measure_upgrades),
    ("restarts", Cores::All, successors::measure_restarts),
    ("supervisor-kills", Cores::All, successors::measure_kills),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let done = match arguments.first().map(String::as_str) {
        Some(baseline::NAME) => baseline::run(&arguments[1..]),
        _ => measure(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = io::Write::write_fmt(&mut io::stderr(), format_args!("daemon: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &[String]) -> Result<(), Failure> {
    let wanted: Vec<&String> = arguments
        .iter()
        .filter(|name| !name.starts_with('-'))
        .collect();
    let is_wanted =
        |name: &str| wanted.is_empty() || wanted.iter().any(|start| name.starts_with(*start));
    let measures = MEASURES.iter().filter(|(name, ..)| is_wanted(name));
    allow_many_sockets()?;
    let mut table = Table::start()?;
    for (name, cores, measure) in measures {
        let begun = Instant::now();
        cores.take()?;
        measure(&mut table)?;
        table.note(name, begun.elapsed())?;
    }
    Ok(())
}

fn allow_many_sockets() -> nix::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
}
