//! The control tool: parse, call, exit code.

use std::process::ExitCode;

use clap::Parser as _;
use proxyd::{cli::proxyctl::Proxyctl, ctl};

fn main() -> ExitCode {
    if let Some(completed) = ctl::live::complete() {
        return completed;
    }
    ctl::main(&Proxyctl::parse())
}
