//! What a leg tells its peer when TLS cannot go on.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream as StdUnixStream,
};

use rustls::{AlertDescription, Error};
use tokio::net::UnixStream;

use super::*;
use crate::tls::{
    records::{Fault, Role, State, Suite, limits, tests::peer},
    stream::TlsError,
};

/// Where the bytes of a state have what its sending key has protected: behind what all states begin with,
/// and the number of the next record.
const SENT_BLOCKS: std::ops::Range<usize> = 20..28;

/// Returns a leg over a new socket, and the other end of that.
fn leg() -> (StdUnixStream, Leg) {
    let (far, near) = StdUnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let near = UnixStream::from_std(near).unwrap();
    (far, Leg::new(Socket::Unix(near)))
}

/// Returns a state whose sending key has protected all that it may.
fn worn(state: &State) -> State {
    let mut bytes = Vec::new();
    state.put(&mut bytes);
    bytes[SENT_BLOCKS].copy_from_slice(&limits::DEFAULT.lasting.to_be_bytes());
    State::take(&bytes).unwrap().0
}

#[tokio::test]
async fn a_peer_is_told_when_nothing_more_can_be_sealed_for_it() {
    let suite = Suite::find(0xc02b).unwrap();
    let (records, mut peer, _) = peer::session(suite, Role::Server, 0);
    let (mut far, mut leg) = leg();
    // Once something was sent, the socket is known to take more.
    leg.send(b"-").await.unwrap();
    leg.set_tls(TlsStream::resume(worn(records.state()), &mut Vec::new()));
    let failed = leg.send(b"data").await.unwrap_err();
    let LegError::Tls(TlsError::Session(Fault::KeysExhausted(_))) = failed else {
        panic!("{failed}")
    };
    drop(leg);
    let mut told = Vec::new();
    far.read_to_end(&mut told).unwrap();
    let alert = Error::AlertReceived(AlertDescription::InternalError);
    assert_eq!(peer.open(&told[1..]), Err(alert));
}

#[tokio::test]
async fn what_came_before_a_fault_in_the_same_read_is_received() {
    let suite = Suite::find(0x1301).unwrap();
    let (records, mut peer, _) = peer::session(suite, Role::Server, 0);
    let (mut far, mut leg) = leg();
    leg.set_tls(TlsStream::resume(records.state().clone(), &mut Vec::new()));
    let mut bytes = peer.seal(b"data");
    let mut broken = peer.seal(b"more");
    *broken.last_mut().unwrap() ^= 1;
    bytes.extend(broken);
    far.write_all(&bytes).unwrap();
    let mut received = Vec::new();
    leg.receive(&mut received).await.unwrap();
    assert_eq!(received, b"data");
    let error = leg.receive(&mut received).await.unwrap_err();
    assert!(error.is_tls(), "{error}");
}
