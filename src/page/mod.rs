//! The child process that serves metrics and the page for people, so that the supervisor parses no HTTP.
//!
//! It holds no key, reads no file and has one thread. The supervisor lends it the listening socket, and
//! when the page asks, tells it the status, what is new, or that its loop turns. The last hour is remembered
//! here alone.

mod desk;
mod document;
mod http;
mod metrics;
mod people;
mod recent;

use std::{io, os::fd::OwnedFd, process::ExitCode, rc::Rc, time::Duration};

use nix::sys::{prctl, signal::Signal};
use tokio::{
    task::{AbortHandle, LocalSet},
    time::{MissedTickBehavior, interval},
};
use tracing::error;

use self::desk::Desk;
use crate::{
    link::{
        FromPage, Received, ToPage,
        child::{self, Begun, Helper as Args},
        end::{self, Receiver},
    },
    sys::{
        sandbox::{self, Profile},
        usage,
    },
};

/// The time between two signs of life.
const BEAT: Duration = Duration::from_millis(200);

/// Runs the page; returns its exit status.
pub fn main(args: &Args) -> ExitCode {
    let ended = match child::begin(c"proxyd-page", args.log) {
        Ok(begun) => serve(begun),
        Err(error) => return error.tell(),
    };
    if let Err(error) = ended {
        error!(%error, "the metrics page cannot be served");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn serve(Begun { link, runtime, .. }: Begun) -> io::Result<()> {
    // A page that hangs would otherwise keep its port from the next daemon.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    LocalSet::new().block_on(&runtime, async {
        let (receiver, sender) = end::open(link)?;
        let desk = Rc::new(Desk::new(sender, host()));
        let confinement = sandbox::confine(Profile::Page);
        desk.tell(FromPage::Confined(confinement)).await;
        Page::new(desk).run(receiver).await
    })
}

/// Returns the name of this host, which tells one browser tab from the next; empty if it has none.
fn host() -> String {
    let name = nix::unistd::gethostname().ok();
    name.map_or_else(String::new, |it| it.to_string_lossy().into_owned())
}

/// The page's state.
struct Page {
    desk: Rc<Desk>,
    /// What accepts from the socket that was lent last.
    serving: Option<AbortHandle>,
}

impl Page {
    fn new(desk: Rc<Desk>) -> Self {
        tokio::task::spawn_local(Rc::clone(&desk).ask_alive());
        tokio::task::spawn_local(Rc::clone(&desk).ask_status());
        tokio::task::spawn_local(Rc::clone(&desk).ask_news());
        tokio::task::spawn_local(Rc::clone(&desk).keep_history());
        Self {
            desk,
            serving: None,
        }
    }

    /// Serves until the supervisor is gone.
    async fn run(mut self, mut receiver: Receiver<ToPage>) -> io::Result<()> {
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut told = None;
        loop {
            tokio::select! {
                message = receiver.receive() => match message {
                    Ok(Some(message)) => self.take(message)?,
                    Ok(None) => return Ok(()),
                    Err(fault) => return Err(io::Error::other(fault)),
                },
                // If the supervisor is gone, receiving from it ends.
                _ = beats.tick() => {
                    self.desk.tell(FromPage::Beat).await;
                    let memory = usage::resident();
                    if let Some(resident) = memory.filter(|_| memory != told) {
                        self.desk.tell(FromPage::Memory { resident }).await;
                    }
                    told = memory;
                }
            }
        }
    }

    fn take(&mut self, told: Received<ToPage>) -> io::Result<()> {
        let along = told.descriptors.into_iter().next();
        match (told.message, along) {
            (ToPage::Listen, Some(socket)) => self.listen(socket),
            (ToPage::Listen, None) => Err(io::Error::other(
                "no descriptor is left for the listening socket",
            )),
            (ToPage::Status { ask }, along) => {
                self.desk.status_told(ask, along);
                Ok(())
            }
            (ToPage::NoStatus { ask }, _) => {
                self.desk.status_told(ask, None);
                Ok(())
            }
            (ToPage::Alive { ask }, _) => {
                self.desk.alive_told(ask);
                Ok(())
            }
            (ToPage::News { ask }, along) => {
                self.desk.news_told(ask, along);
                Ok(())
            }
        }
    }

    fn listen(&mut self, socket: OwnedFd) -> io::Result<()> {
        let serving = http::serve(socket, Rc::clone(&self.desk))?;
        let before = self.serving.replace(serving);
        if let Some(before) = before {
            before.abort();
        }
        Ok(())
    }
}
