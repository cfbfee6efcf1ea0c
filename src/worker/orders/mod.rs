//! A worker that does what tests tell it: the build with the feature `orders`, which is for tests alone.
//!
//! A client that may speak without TLS and begins with [`GREETING`] is not passed on. It sends orders, and
//! the worker makes the system calls that they name, as a worker would that was taken over: with the rights
//! and the confinement of one, from its only thread. It can also be told to die at a point of a session.

mod order;
mod room;

use std::{
    convert::Infallible,
    io, process, thread,
    time::{Duration, Instant},
};

use rustix::io::Errno;
use serde::Serialize;

use self::{
    order::{Answer, Death, Order, Outcome, Welcome},
    room::Ready,
};
use super::opening::Failure;
use crate::{
    session::{
        leg::{Leg, LegError},
        points::arm,
    },
    sys::raw_call,
};

/// The line with which a client begins that gives orders.
pub const GREETING: &[u8] = b"PROXYD-ORDERS\n";

/// What the log of such a daemon says first.
pub const WARNING: &str = "this build is for tests alone: its workers obey every client of a listener with \
                           tls.mode \"preferred\"; never use it where anyone else can reach it";

/// How long the patient calls of an order may wait together.
const PATIENCE: Duration = Duration::from_secs(8);

/// The pause between two attempts of a patient call.
const BETWEEN_ATTEMPTS: Duration = Duration::from_micros(200);

/// Takes orders until the client leaves; `first` is what it has sent behind the greeting.
///
/// The client is told first which worker it has come to, and at each order that it is carried out now.
pub async fn obey(client: &mut Leg, first: &[u8]) -> Failure {
    match take_orders(client, first.to_vec()).await {
        Err(LegError::Ended) => Failure::Silent,
        Err(error) => Failure::Client(error),
        Ok(never) => match never {},
    }
}

async fn take_orders(client: &mut Leg, mut more: Vec<u8>) -> Result<Infallible, LegError> {
    let worker = process::id();
    tell(client, &Welcome { worker }).await?;
    loop {
        let mut line = Vec::new();
        let end = loop {
            if let Some(end) = more.iter().position(|byte| *byte == b'\n') {
                break end;
            }
            line.append(&mut more);
            client.receive(&mut more).await?;
        };
        line.extend(more.drain(..=end));
        let order: Order = serde_json::from_slice(&line).map_err(io::Error::from)?;
        tell(client, &"begun").await?;
        tell(client, &carry_out(order)?).await?;
    }
}

/// Sends the client a line.
async fn tell(client: &mut Leg, said: &impl Serialize) -> Result<(), LegError> {
    let mut line = serde_json::to_vec(said).map_err(io::Error::from)?;
    line.push(b'\n');
    client.send(&line).await
}

/// Notes where it is to die, and makes the calls of an order, as often as it says, and nothing else meanwhile.
fn carry_out(order: Order) -> io::Result<Answer> {
    if let Some(Death { point, passing }) = order.die {
        arm((passing > 0).then_some((point, passing)));
    }
    let calls: io::Result<Vec<Ready>> = order.calls.into_iter().map(Ready::new).collect();
    let mut calls = calls?;
    let end = Instant::now() + Duration::from_millis(order.for_ms);
    let mut rounds = 0;
    loop {
        let results = make_all(&mut calls);
        rounds += 1;
        if Instant::now() >= end {
            return Ok(Answer { rounds, results });
        }
        if order.pause_ms > 0 {
            thread::park_timeout(Duration::from_millis(order.pause_ms));
        }
    }
}

fn make_all(calls: &mut [Ready]) -> Vec<Outcome> {
    let worker = process::id();
    let patience = Instant::now() + PATIENCE;
    let mut results = Vec::new();
    let mut outcomes = Vec::new();
    for call in calls {
        let made = make(call, &results, patience);
        if process::id() != worker {
            stay();
        }
        results.push(made.unwrap_or(-1));
        outcomes.push(Outcome {
            result: made.unwrap_or(-1),
            errno: made.err().unwrap_or(0),
            spaces: call.spaces(),
        });
    }
    outcomes
}

/// Makes a call; a patient one, until then, as long as there is no room for what it sends.
fn make(call: &mut Ready, results: &[i64], until: Instant) -> Result<i64, i32> {
    loop {
        let made = raw_call::call(call.number, call.arguments(results));
        let full = made == Err(Errno::AGAIN.raw_os_error());
        if !full || !call.patient || Instant::now() >= until {
            return made;
        }
        thread::park_timeout(BETWEEN_ATTEMPTS);
    }
}

/// Is a child that a worker has left behind, and holds whatever the worker had.
fn stay() -> ! {
    loop {
        thread::park();
    }
}
