//! The daemon: the supervisor, or one of its child processes if the first argument names one.

use std::{env, process::ExitCode};

use clap::Parser as _;
use proxyd::{cli, page, resolver, supervisor, sys, worker};

fn main() -> ExitCode {
    sys::signals::reset();
    let role = env::args().nth(1);
    let arguments = || env::args_os().skip(1);
    match role.as_deref() {
        Some(cli::child::WORKER) => worker::main(&cli::child::Worker::parse_from(arguments())),
        Some(cli::child::RESOLVER) => resolver::main(&cli::child::Helper::parse_from(arguments())),
        Some(cli::child::PAGE) => page::main(&cli::child::Helper::parse_from(arguments())),
        _ => supervisor::start::main(&cli::proxyd::Args::parse()),
    }
}
