//! The child process that finds backends: it turns names into addresses, and paths of Unix sockets into
//! connections, for workers.
//!
//! It holds no key, talks to no client, and may read what the system's name service reads.

pub mod flights;
pub mod lookup;

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    process::ExitCode,
    time::Duration,
};

use tokio::time::interval;
use tracing::error;

use crate::{
    cli::child::Helper as Args,
    link::{
        FromResolver, ToResolver,
        end::{self, Receiver, Sender},
    },
    sys::signals,
    telemetry::log::{self, Pipe},
};

/// The time between two signs of life.
const BEAT: Duration = Duration::from_millis(200);

/// Runs the resolver; returns its exit status.
pub fn main(args: &Args) -> ExitCode {
    signals::leave_to_supervisor();
    // Otherwise process lists would show the name of the link in /proc from which it was executed.
    let _ = nix::sys::prctl::set_name(c"proxyd-resolver");
    log::start(Pipe::stderr(args.log.form), args.log.level, args.log.form);
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(%error, "the resolver cannot work");
            ExitCode::FAILURE
        }
    }
}

fn start() -> io::Result<()> {
    let link: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::net::getpeername(&link)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(async {
        let (receiver, sender) = end::open(link)?;
        run(receiver, sender).await;
        Ok(())
    });
    // A look-up that no server answers must not keep the process from ending.
    runtime.shutdown_background();
    ended
}

async fn run(mut receiver: Receiver<ToResolver>, sender: Sender<FromResolver>) {
    let mut beats = interval(BEAT);
    loop {
        tokio::select! {
            told = receiver.receive() => match told {
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(fault) => return error!("the link to the supervisor broke: {fault}"),
            },
            _ = beats.tick() => {
                // If the supervisor is gone, receiving tells.
                let _ = sender.send(&FromResolver::Beat, &[]).await;
            }
        }
    }
}
