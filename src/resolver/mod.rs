//! The child process that looks up backends' names and connects to Unix sockets, so that workers need no
//! files for it, no threads and no sockets but TCP ones.
//!
//! It holds no keys and meets no clients. Workers ask for hosts and paths that the configuration
//! names; for others they get nothing. Each worker has a link of its own to the resolver, which the
//! supervisor makes. When the supervisor is gone, the resolver goes on for the workers that are left.

mod desk;
pub mod flights;
pub mod lookup;
mod pair;

use std::{
    io,
    os::fd::OwnedFd,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep_until},
};
use tracing::{error, info};

use self::desk::Desk;
use crate::{
    facts::Confinement,
    link::{
        Fault, FromResolver, ToResolver,
        child::{self, ANEW, Begun, Helper as Args},
        end::{self, Receiver, Sender},
    },
    sys::{
        sandbox::{self, NameFiles, Profile},
        usage,
    },
};

/// How often the supervisor hears that the resolver is alive.
const BEAT: Duration = Duration::from_millis(200);

/// Messages of all workers that may wait for the resolver; a worker whose message finds no room waits.
const INBOX: usize = 256;

/// Descriptors kept back for links to workers, of which each comes with a message of its own.
const PAIRS_AT_ONCE: usize = 1;

/// How often it is seen whether the files of name resolution are those that were there at the start.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// Runs the resolver; returns its exit status.
pub fn main(args: &Args) -> ExitCode {
    let ended = match child::begin(c"proxyd-resolver", args.log) {
        Ok(begun) => serve(begun),
        Err(error) => return error.tell(),
    };
    ended.map_or_else(
        |error| {
            error!(%error, "the resolver cannot work");
            ExitCode::FAILURE
        },
        ExitCode::from,
    )
}

fn serve(Begun { link, runtime, .. }: Begun) -> io::Result<u8> {
    let files = NameFiles::now();
    let confinement = sandbox::confine(Profile::Resolver);
    let is_alone = AtomicBool::new(false);
    runtime.block_on(async {
        tokio::select! {
            ended = run(link, confinement, &is_alone) => ended.map(|()| 0),
            () = out_of_reach(&files, &is_alone) => Ok(ANEW),
        }
    })
}

/// Waits until there is a file of name resolution that this process cannot read, while there is a supervisor to start
/// another one.
async fn out_of_reach(files: &NameFiles, is_alone: &AtomicBool) {
    let mut looks = interval(BETWEEN_LOOKS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let file = loop {
        looks.tick().await;
        if !is_alone.load(Ordering::Relaxed)
            && let Some(file) = files.out_of_reach()
        {
            break file;
        }
    };
    info!(
        file,
        "a file of name resolution was replaced or leads elsewhere now; the resolver is started anew to \
         read it"
    );
}

/// Answers workers until the supervisor and all workers are gone.
///
/// `link` leads to the supervisor, which is told of the `confinement` first. When it is gone, that is noted in `is_alone`.
pub async fn run(link: OwnedFd, confinement: Confinement, is_alone: &AtomicBool) -> io::Result<()> {
    let (receiver, sender) = end::open(link)?;
    // A resolver whose descriptors are all in use must still get the pairs of workers.
    let mut receiver = receiver.keep_back(PAIRS_AT_ONCE);
    let first = FromResolver::Confined(confinement);
    // If the supervisor is gone, receiving from it ends.
    let _ = sender.send(&first, &[]).await;
    let mut link = Some((&mut receiver, beat(sender)));
    let (to_desk, mut heard) = mpsc::channel(INBOX);
    let (to_end, mut ended) = mpsc::unbounded_channel();
    let mut desk = Desk::new(to_desk, to_end);
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut known = None;
    while link.is_some() || desk.has_workers() {
        tokio::select! {
            told = next(&mut link) => if let Some(told) = told {
                desk.told(told);
            } else {
                link = None;
                is_alone.store(true, Ordering::Relaxed);
            },
            Some(heard) = heard.recv() => desk.heard(heard),
            Some((wanted, result)) = ended.recv() => desk.ended(wanted, result),
            () = until(desk.wake_at()) => desk.woken(),
            _ = beats.tick() => if let Some((_, beat)) = &link {
                let memory = usage::resident();
                let changed = memory.filter(|_| memory != known);
                let sign = changed.map_or(FromResolver::Beat, |resident| FromResolver::Memory { resident });
                // A beat that still waits to be sent says the same.
                if beat.try_send(sign).is_ok() {
                    known = memory;
                }
            },
        }
    }
    Ok(())
}

/// The supervisor's messages, and where beats for it go.
type Link<'a> = (&'a mut Receiver<ToResolver>, mpsc::Sender<FromResolver>);

/// Sends beats in a task of its own, because the supervisor may not take them at once.
fn beat(sender: Sender<FromResolver>) -> mpsc::Sender<FromResolver> {
    let (beat, mut beats) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(beat) = beats.recv().await {
            if sender.send(&beat, &[]).await.is_err() {
                return;
            }
        }
    });
    beat
}

/// Returns the supervisor's next message; `None` when the supervisor is gone.
async fn next(link: &mut Option<Link<'_>>) -> Option<end::Received<ToResolver>> {
    let Some((receiver, _)) = link else {
        return std::future::pending().await;
    };
    match receiver.receive().await {
        Ok(told) => {
            if told
                .as_ref()
                .is_some_and(|told| matches!(told.message, ToResolver::MakeRoom))
            {
                receiver.make_room();
            }
            told
        }
        Err(Fault::Io(error)) => {
            error!(%error, "the link to the supervisor broke");
            None
        }
        Err(fault) => {
            error!("the supervisor's message cannot be understood: {fault}");
            None
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
