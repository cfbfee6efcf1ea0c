//! The daemon: the supervisor, or one of its child processes if the first argument names one.

use std::{env, process::ExitCode};

use clap::Parser as _;
use proxyd::{cli, link::child, page, resolver, supervisor, sys, worker};

fn main() -> ExitCode {
    // First of all, because it takes up descriptors that nothing owns yet, and signals are kept for later.
    match sys::succession::receive() {
        Ok(None) => {}
        Ok(Some(received)) => return supervisor::start::succeed(received),
        Err(error) => return supervisor::start::refuse(&error.to_string()),
    }
    sys::signals::reset();
    let role = env::args().nth(1);
    let arguments = || env::args_os().skip(1);
    match role.as_deref() {
        Some(child::WORKER) => worker::main(&child::Worker::parse_from(arguments())),
        Some(child::RESOLVER) => resolver::main(&child::Helper::parse_from(arguments())),
        Some(child::SUCCESSOR) => supervisor::trial::main(arguments()),
        Some(child::PAGE) => page::main(&child::Helper::parse_from(arguments())),
        _ => supervisor::start::main(&cli::proxyd::Args::parse()),
    }
}
