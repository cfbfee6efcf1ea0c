//! How a worker is in contact with supervisors: by its link, and when that is gone by its door.

mod door;
mod voice;

use tokio::{sync::mpsc, task::JoinHandle};
use tracing::{error, info};

pub(super) use self::{
    door::Door,
    voice::{Along, Parcel, Voice},
};
use crate::link::{
    Received, ToWorker,
    door::OfWorker,
    end::{Receiver, Sender},
    worker::MOST_OF_GENERATION,
};

/// Messages of the supervisor that may wait for the worker.
const ORDERS: usize = 64;

/// A message that came over the link, with its descriptors.
pub(super) type Order = Received<ToWorker>;

/// What comes of the contact.
pub(super) enum Contacted {
    /// The supervisor has sent a message.
    Order(Box<Order>),
    /// The supervisor is gone.
    Lost,
    /// Another supervisor has come in by the door.
    Back,
}

/// The worker's contact with supervisors, of which it has one at a time.
pub(super) struct Contact {
    voice: Voice,
    door: Option<Door>,
    state: State,
}

/// Whether there is a supervisor.
enum State {
    /// There is, and these are its messages.
    Linked(mpsc::Receiver<Order>),
    /// There is none, and the next one is waited for at the door.
    Alone(Option<JoinHandle<OfWorker>>),
}

impl Contact {
    /// Begins with the link of the supervisor that has started this worker; what `voice` says goes there. Must be called
    /// in a runtime.
    pub(super) fn new(receiver: Receiver<ToWorker>, voice: Voice) -> Self {
        Self {
            voice,
            door: None,
            state: State::Linked(hear(receiver)),
        }
    }

    /// Takes the door by which the next supervisor will come in.
    pub(super) fn set_door(&mut self, door: Door) {
        self.door = Some(door);
    }

    /// Waits for what comes next. Safe to cancel.
    pub(super) async fn next(&mut self) -> Contacted {
        match &mut self.state {
            State::Linked(orders) => match orders.recv().await {
                Some(order) => Contacted::Order(Box::new(order)),
                None => self.lose(),
            },
            State::Alone(None) => std::future::pending().await,
            State::Alone(Some(coming)) => match coming.await {
                Ok((receiver, sender)) => self.go_on(receiver, sender),
                Err(error) => {
                    error!(%error, "the next supervisor cannot find this worker, because its door has failed");
                    self.state = State::Alone(None);
                    std::future::pending().await
                }
            },
        }
    }

    fn lose(&mut self) -> Contacted {
        self.voice.end_link();
        let door = self.door.as_ref();
        let coming = door.map(|door| tokio::spawn(door.clone().next()));
        self.state = State::Alone(coming);
        Contacted::Lost
    }

    fn go_on(
        &mut self,
        receiver: Receiver<ToWorker>,
        sender: Sender<crate::link::FromWorker>,
    ) -> Contacted {
        info!("another supervisor has found this worker");
        self.voice.begin_link(sender);
        self.state = State::Linked(hear(receiver));
        Contacted::Back
    }
}

impl Drop for Contact {
    fn drop(&mut self) {
        if let State::Alone(Some(coming)) = &self.state {
            coming.abort();
        }
    }
}

/// Receives messages in a task of its own until the link is gone.
fn hear(receiver: Receiver<ToWorker>) -> mpsc::Receiver<Order> {
    let (told, orders) = mpsc::channel(ORDERS);
    tokio::spawn(receive(receiver, told));
    orders
}

async fn receive(receiver: Receiver<ToWorker>, orders: mpsc::Sender<Order>) {
    // A worker whose sessions have taken all descriptors must still get new certificates.
    let mut receiver = receiver.keep_back(MOST_OF_GENERATION);
    loop {
        match receiver.receive().await {
            Ok(Some(order)) => {
                if let ToWorker::MakeRoom = order.message {
                    receiver.make_room();
                }
                if orders.send(order).await.is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(error) => {
                error!(%error, "the link to the supervisor broke");
                return;
            }
        }
    }
}
