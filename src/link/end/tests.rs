//! Both ends of a link, in one process.

use std::{cell::Cell, future, os::fd::AsFd as _};

use tokio::runtime::Builder;

use super::*;
use crate::{
    facts::SessionId,
    link::{FromWorker, ToWorker, worker::MOST_PAIRS},
};

type Supervisor = (Receiver<FromWorker>, Sender<ToWorker>);
type Worker = (Receiver<ToWorker>, Sender<FromWorker>);

/// Opens both ends; returns the worker's raw as well.
fn ends() -> (Supervisor, Worker, OwnedFd) {
    let (ours, theirs) = pair().unwrap();
    let raw = theirs.try_clone().unwrap();
    (open(ours).unwrap(), open(theirs).unwrap(), raw)
}

fn any_descriptor() -> OwnedFd {
    pair().unwrap().0
}

#[tokio::test]
async fn messages_arrive_in_order_with_their_descriptors() {
    let (supervisor, mut worker, _) = ends();
    let gift = any_descriptor();
    let accept = ToWorker::Accept {
        key: crate::link::ListenerKey {
            bind: "127.0.0.1:1".to_owned(),
            name: String::new(),
        },
        slot: 3,
    };
    supervisor.1.send(&ToWorker::MakeRoom, &[]).await.unwrap();
    supervisor.1.send(&accept, &[gift.as_fd()]).await.unwrap();
    let first = worker.0.receive().await.unwrap().unwrap();
    assert!(matches!(first.message, ToWorker::MakeRoom) && first.descriptors.is_empty());
    let second = worker.0.receive().await.unwrap().unwrap();
    assert!(matches!(second.message, ToWorker::Accept { slot: 3, .. }));
    assert_eq!(second.descriptors.len(), 1);
    drop(supervisor);
    assert!(worker.0.receive().await.unwrap().is_none());
}

#[tokio::test]
async fn descriptors_that_do_not_belong_to_a_message_are_not_sent() {
    let (supervisor, _worker, _) = ends();
    let gift = any_descriptor();
    let sent = supervisor
        .1
        .send(&ToWorker::Drain { within_ms: 1 }, &[gift.as_fd()])
        .await;
    assert!(matches!(sent, Err(Fault::Descriptors)));
    let sent = supervisor.1.send(&ToWorker::Stage { offer: 1 }, &[]).await;
    assert!(matches!(sent, Err(Fault::Descriptors)));
}

/// Sends a packet as a worker that was taken over may; returns what the supervisor makes of it.
async fn forged(packet: &[u8], along: &[BorrowedFd<'_>]) -> Fault {
    let (mut supervisor, worker, raw) = ends();
    fds::send_packet(&raw, packet, along).unwrap();
    drop((worker, raw));
    supervisor.0.receive().await.unwrap_err()
}

#[tokio::test]
async fn a_worker_that_breaks_a_limit_breaks_its_link() {
    let beat = encode(&FromWorker::Beat, FORMAT).unwrap();
    let gift = any_descriptor();
    assert!(matches!(
        forged(&beat, &[gift.as_fd(); 16]).await,
        Fault::Descriptors
    ));
    let mut other = beat.to_vec();
    other[1] ^= 0x80;
    assert!(matches!(forged(&other, &[]).await, Fault::Version { .. }));
    assert!(matches!(forged(&beat[..1], &[]).await, Fault::Codec(_)));
    let longer = [&beat[..], b"x"].concat();
    assert!(matches!(forged(&longer, &[]).await, Fault::Codec(_)));
    assert!(matches!(
        forged(&vec![0; MOST_BYTES + 1], &[]).await,
        Fault::TooLong
    ));
}

#[tokio::test]
async fn a_message_that_is_long_for_its_kind_is_neither_sent_nor_taken() {
    let long = FromWorker::Refused {
        offer: 1,
        reason: "x".repeat(10_000),
    };
    let (_supervisor, worker, _) = ends();
    assert!(matches!(
        worker.1.send(&long, &[]).await,
        Err(Fault::Codec(WireError::TooLarge { .. }))
    ));
    let body = wire::encode(&long, MOST_BYTES as u64).unwrap();
    let packet = [&FORMAT.to_be_bytes()[..], &body].concat();
    assert!(matches!(forged(&packet, &[]).await, Fault::Large(_)));
}

#[tokio::test]
async fn a_sender_waits_for_a_receiver_that_is_slow() {
    let (mut supervisor, worker, raw) = ends();
    let beat = encode(&FromWorker::Beat, FORMAT).unwrap();
    let mut sent = 0_u32;
    loop {
        match rustix::net::send(&raw, &beat, rustix::net::SendFlags::DONTWAIT) {
            Ok(_) => sent += 1,
            Err(error) => {
                assert_eq!(error, Errno::AGAIN);
                break;
            }
        }
    }
    let waiting = tokio::spawn(async move { worker.1.send(&FromWorker::Beat, &[]).await });
    for _ in 0..=sent {
        supervisor.0.receive().await.unwrap().unwrap();
    }
    waiting.await.unwrap().unwrap();
}

#[test]
fn descriptors_of_which_too_many_are_on_their_way_are_sent_again() {
    let left = Cell::new(3);
    let send = || {
        let refuses = left.get() > 0;
        left.set(left.get() - 1);
        let error = || io::Error::from(Errno::TOOMANYREFS);
        future::ready(if refuses { Err(error()) } else { Ok(()) })
    };
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(unless_in_flight(send)).unwrap();
    assert_eq!(left.get(), -1);
}

#[test]
fn a_message_that_asks_for_more_descriptors_than_any_may_bring_breaks_the_link() {
    let id = SessionId {
        origin: 1,
        number: 1,
    };
    for (count, is_one) in [(MOST_PAIRS, true), (MOST_PAIRS + 1, false)] {
        let ids = vec![id; count];
        let packet = encode(&FromWorker::Keep { ids }, FORMAT).unwrap();
        let decoded = decode::<FromWorker>(&packet, FORMAT);
        assert_eq!(decoded.is_ok(), is_one);
    }
}

#[tokio::test]
async fn ten_thousand_pairs_of_sockets_cross_a_link() {
    let ((_, supervisor), (mut worker, _), _) = ends();
    let socket = any_descriptor();
    let along = vec![socket.as_fd(); 2 * MOST_PAIRS];
    let id = SessionId {
        origin: 1,
        number: 1,
    };
    let sending = async {
        for _ in 0..80 {
            let ids = vec![id; MOST_PAIRS];
            let sent = supervisor.send(&ToWorker::Sockets { ids }, &along).await;
            sent.unwrap();
        }
    };
    let receiving = async {
        for _ in 0..80 {
            let received = worker.receive().await.unwrap().unwrap();
            assert_eq!(received.descriptors.len(), 2 * MOST_PAIRS);
        }
    };
    tokio::join!(sending, receiving);
}
