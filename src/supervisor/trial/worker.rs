//! One worker of this program, which makes a generation ready as it would for clients, and serves none.

use std::{io, sync::Arc};

use crate::{
    children::{self, Id, Launcher, Process, Role},
    link::{
        FromWorker, Generation, Handover, ListenerKey, ToWorker,
        board::{Board, ClientSecret, ListenerNumber},
        end,
    },
    supervisor::{refusal::Refusal, steps},
    sys::{files::Standard, own_children::OwnChildren},
    telemetry::log::{Form, Place, Sink},
    tls::tickets::TicketSecrets,
};

/// The worker's number in this process, which has one.
const ID: Id = Id(1);

/// The worker's slot.
const SLOT: usize = 0;

/// The offer that the worker answers.
const OFFER: u64 = 1;

/// Starts a worker and has it make `generation` ready; returns why it cannot. Must run in a
/// [`tokio::task::LocalSet`].
pub(super) async fn try_one(generation: Arc<Generation>) -> Result<(), Refusal> {
    let failed = |error: io::Error| format!("no worker can be started: {error}");
    let account = steps::account(&generation.config)?;
    let place = Place::standard(Standard::Error).map_err(failed)?;
    let sink = Sink::new(place, Form::Text).map_err(failed)?;
    let log = (generation.config.log.level, Form::Text);
    let launcher = Launcher::new((account, OwnChildren::default()), log).map_err(failed)?;
    let (inbox, mut messages) = children::inbox();
    let role = Role::Worker {
        slot: SLOT,
        origin: 1,
    };
    launcher.launch(ID, role, inbox.clone());
    let mut process = Process::starting();
    loop {
        match messages.recv().await {
            Some(children::Message::Launched(id, started)) => {
                let started = started.map_err(failed)?;
                process.run(id, started, &sink, &inbox).map_err(failed)?;
                hand_over(&process, &generation)?;
            }
            Some(children::Message::Said(_, said, _)) => match said {
                FromWorker::Staged { .. } => return Ok(()),
                FromWorker::Refused { reason, .. } => {
                    return Err(format!("a worker cannot serve what is on disk: {reason}"));
                }
                _ => {}
            },
            Some(children::Message::Exited(_, end)) => {
                return Err(format!("a worker {end} before it was ready to serve"));
            }
            None => return Err("a worker cannot be heard".to_owned()),
        }
    }
}

/// Hands a worker all that it needs to make a generation ready.
fn hand_over(worker: &Process<ToWorker>, generation: &Generation) -> Result<(), Refusal> {
    let random = |_| "the system gives no random bytes".to_owned();
    let failed = |error: io::Error| format!("what a worker needs cannot be made: {error}");
    let secret = ClientSecret::new().map_err(random)?;
    let board = Board::new().map_err(failed)?;
    worker.send_with(ToWorker::Board { secret }, vec![board.descriptor()]);
    let mut secrets = TicketSecrets::default();
    secrets
        .rotate()
        .map_err(|_| "the system gives no random bytes".to_owned())?;
    worker.send(ToWorker::Tickets(secrets));
    // It accepts nothing, so any socket will do for the listening ones.
    let (socket, _) = end::pair().map_err(failed)?;
    let socket = Arc::new(socket);
    for (position, listener) in generation.config.listeners.iter().enumerate() {
        let number = ListenerNumber::at(position)
            .ok_or("there are more listeners than proxyd can count sessions for")?;
        let (key, slot) = (ListenerKey::of(listener), SLOT);
        worker.send_with(ToWorker::Accept { key, slot }, vec![Arc::clone(&socket)]);
        let listener = listener.name.clone();
        worker.send(ToWorker::Number { listener, number });
    }
    let (handover, packs) = Handover::new(None, generation);
    let handover = handover.write().map_err(failed)?.descriptor();
    let along = std::iter::once(handover).chain(packs).collect();
    worker.send_with(ToWorker::Stage { offer: OFFER }, along);
    Ok(())
}
