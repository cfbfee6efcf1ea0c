//! The daemon: a worker if the supervisor says so, else the supervisor.

use std::{env, process::ExitCode};

use clap::Parser as _;
use proxyd::{cli, supervisor, sys, worker};

fn main() -> ExitCode {
    sys::signals::reset();
    if env::args_os()
        .nth(1)
        .is_some_and(|first| first == cli::worker::NAME)
    {
        worker::main(&cli::worker::Args::parse_from(env::args_os().skip(1)))
    } else {
        supervisor::start::main(&cli::proxyd::Args::parse())
    }
}
