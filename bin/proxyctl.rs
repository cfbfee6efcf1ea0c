//! The control tool: parse, call, exit code.

use std::process::ExitCode;

use clap::Parser as _;
use proxyd::{cli::proxyctl::Proxyctl, ctl};

fn main() -> ExitCode {
    ctl::main(&Proxyctl::parse())
}
