//! The trial of this program: a supervisor has started it as a child to learn whether it can go on for it.
//!
//! It reads what the supervisor holds, and the configuration; checks all that a start needs; and has a worker of
//! its own make the generation ready. It makes no file and no socket that others see, and serves no client.

mod generation;
mod words;
mod worker;

use std::{ffi::OsString, io, os::fd::OwnedFd, process::ExitCode};

use clap::Parser as _;
use tokio::{io::Interest, net::UnixStream, task::LocalSet};
use tracing::error;

pub(in crate::supervisor) use self::words::{Answer, Ask, MOST_REASON, Ready, receive, send};
use crate::{
    cli::proxyd::Args,
    config::LogLevel,
    facts::PROGRAM_VERSION,
    link::{
        FORMAT,
        child::{self, Begun, Log},
        door,
        worker::MOST_OF_STATE,
    },
    session::record,
    supervisor::refusal::Refusal,
    sys::{
        fds,
        upgrade_points::{self, Point},
    },
    telemetry::log::Form,
};

/// Runs the trial; returns its exit status. The arguments are the daemon's, its name first.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let log = Log {
        level: LogLevel::Warn,
        form: Form::Text,
    };
    let Begun { link, runtime, .. } = match child::begin(c"proxyd-trial", log) {
        Ok(begun) => begun,
        Err(error) => return error.tell(),
    };
    let args = Args::try_parse_from(arguments);
    let ended = LocalSet::new().block_on(&runtime, async {
        let link = UnixStream::from_std(link.into())?;
        let (ask, state) = hear(&link).await?;
        let answer = match args {
            Ok(args) => judge(&args, ask, state).await,
            Err(error) => Err(format!("the daemon's command line: {error}")),
        };
        answer_and_wait(&link, answer).await
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("the trial failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns what the supervisor asks, with the descriptors of its state.
async fn hear(link: &UnixStream) -> io::Result<(Ask, Vec<OwnedFd>)> {
    let (ask, packet) = receive(link, MOST_OF_STATE).await?;
    if packet.lacks_descriptors {
        return Err(io::Error::other("not all of the state has arrived"));
    }
    Ok((ask, packet.descriptors))
}

/// Decides whether this program can go on.
async fn judge(args: &Args, ask: Ask, state: Vec<OwnedFd>) -> Result<Ready, Refusal> {
    upgrade_points::pass(Point::Trying).map_err(|told| told.to_string())?;
    let generation = generation::make_ready(args, &ask, state)?;
    worker::try_one(generation).await?;
    Ok(Ready {
        version: PROGRAM_VERSION.to_owned(),
        record: record::VERSION,
        doors: (door::LOWEST_FORMAT, FORMAT),
    })
}

/// Answers, and waits until the supervisor has heard it, which ends this process then.
async fn answer_and_wait(link: &UnixStream, answer: Result<Ready, Refusal>) -> io::Result<()> {
    let answer = match answer {
        Ok(ready) => Answer::Ready(ready),
        Err(reason) => Answer::Refused {
            reason: reason.chars().take(MOST_REASON).collect(),
        },
    };
    send(link, &answer, &[]).await?;
    let receiving = || fds::receive_packet(link, &mut [0], 0);
    link.async_io(Interest::READABLE, receiving).await?;
    Ok(())
}
