//! The trial of this program: a supervisor has started it as a child to learn whether it can go on for it.
//!
//! It reads what the supervisor holds, and the configuration; checks all that a start needs; and has a worker of
//! its own make the generation ready. It makes no file and no socket that others see, and serves no client.

mod generation;
mod words;
mod worker;

use std::{
    ffi::OsString,
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream as StdUnixStream,
    },
    process::ExitCode,
};

use clap::Parser as _;
use tokio::{io::Interest, net::UnixStream, task::LocalSet};
use tracing::error;

pub(in crate::supervisor) use self::words::{Answer, Ask, MOST_BYTES, MOST_REASON, Ready};
use crate::{
    cli::proxyd::Args,
    config::LogLevel,
    facts::PROGRAM_VERSION,
    link::{FORMAT, door, worker::MOST_OF_STATE},
    session::record,
    supervisor::refusal::Refusal,
    sys::{
        fds, sandbox, signals,
        upgrade_points::{self, Point},
    },
    telemetry::log::{self, Form, Pipe},
};

/// Runs the trial; returns its exit status. The arguments are the daemon's, its name first.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    signals::leave_to_supervisor();
    let _ = nix::sys::prctl::set_name(c"proxyd-trial");
    log::start(Pipe::stderr(Form::Text), LogLevel::Warn, Form::Text);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let (link, runtime) = match (take_link(), runtime) {
        (Ok(link), Ok(runtime)) => (link, runtime),
        (Err(error), _) | (_, Err(error)) => {
            error!("only a supervisor can start this process: {error}");
            return ExitCode::from(2);
        }
    };
    let args = Args::try_parse_from(arguments);
    let ended = LocalSet::new().block_on(&runtime, async {
        let link = UnixStream::from_std(link)?;
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

/// Takes the link, which is standard input.
fn take_link() -> io::Result<StdUnixStream> {
    let link = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::net::getpeername(&link)?;
    sandbox::protect_memory()?;
    Ok(StdUnixStream::from(link))
}

/// Returns what the supervisor asks, with the descriptors of its state.
async fn hear(link: &UnixStream) -> io::Result<(Ask, Vec<OwnedFd>)> {
    let mut space = vec![0; MOST_BYTES];
    let mut receiving = || fds::receive_packet(link, &mut space, MOST_OF_STATE);
    let packet = link.async_io(Interest::READABLE, &mut receiving).await?;
    if packet.lacks_descriptors {
        return Err(io::Error::other("not all of the state has arrived"));
    }
    let ask = serde_json::from_slice(&space[..packet.length])?;
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
    let packet = serde_json::to_vec(&answer)?;
    let sending = || fds::send_packet(link, &packet, &[]);
    link.async_io(Interest::WRITABLE, sending).await?;
    let receiving = || fds::receive_packet(link, &mut [0], 0);
    link.async_io(Interest::READABLE, receiving).await?;
    Ok(())
}
