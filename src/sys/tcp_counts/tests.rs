//! Each row of the table against the kernel.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use socket2::{Domain, SockRef, Socket, Type};

use super::{state::*, *};
use crate::sys::keeping::{oob_inline, reset};

const ESTABLISHED: u8 = 1;

/// The end that connected, and the one that accepted. They write far more than their peer has room for.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // Before they are connected, so that the peer is told so.
    for socket in [SockRef::from(&listener), SockRef::from(&one)] {
        socket.set_recv_buffer_size(1 << 13).unwrap();
        socket.set_send_buffer_size(1 << 16).unwrap();
    }
    one.connect(&listener.local_addr().unwrap().into()).unwrap();
    let (other, _) = listener.accept().unwrap();
    let one = TcpStream::from(one);
    for socket in [&one, &other] {
        oob_inline(socket).unwrap();
    }
    (one, other)
}

/// Writes until the peer and the kernel have no room; returns how many bytes were written.
fn fill(mut socket: &TcpStream) -> u64 {
    socket.set_nonblocking(true).unwrap();
    let mut all = 0;
    while let Ok(written) = socket.write(&[0; 4096]) {
        all += written as u64;
    }
    socket.set_nonblocking(false).unwrap();
    all
}

fn close(socket: &TcpStream) {
    socket.shutdown(Shutdown::Write).unwrap();
}

/// Asks until `fits`; it does not wait longer than packets take.
#[track_caller]
fn until(socket: &TcpStream, fits: impl Fn(&TcpCounts) -> bool) -> TcpCounts {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let counts = TcpCounts::of(socket).unwrap();
        if fits(&counts) {
            return counts;
        }
        assert!(Instant::now() < end, "{counts:?}");
        std::thread::yield_now();
    }
}

/// Returns the error of a socket, which is told once.
fn error_of(socket: &TcpStream) -> Option<i32> {
    let error = SockRef::from(socket).take_error().unwrap();
    error.map(|error| error.raw_os_error().unwrap())
}

/// Waits for the state, and asserts what was read and written then.
#[track_caller]
fn assert_counts(socket: &TcpStream, state: u8, read: u64, written: u64) {
    let counts = until(socket, |counts| counts.state == state);
    assert_eq!(
        (counts.read(), counts.written()),
        (read, written),
        "{counts:?}"
    );
}

/// Waits until so many sequence numbers were received.
#[track_caller]
fn until_received(socket: &TcpStream, received: u64) {
    until(socket, |counts| counts.received == received);
}

#[test]
fn a_fresh_connection_has_one_sequence_number_written_at_the_end_that_connected() {
    let (opener, accepted) = pair();
    assert_counts(&opener, ESTABLISHED, 0, OPENER_WRITTEN);
    assert_counts(&accepted, ESTABLISHED, 0, 0);
}

#[test]
fn what_was_read_is_told_from_what_waits_to_be_read() {
    let (mut opener, mut accepted) = pair();
    opener.write_all(&[1; 1000]).unwrap();
    until_received(&accepted, 1000);
    assert_counts(&accepted, ESTABLISHED, 0, 0);
    accepted.read_exact(&mut [0; 300]).unwrap();
    assert_counts(&accepted, ESTABLISHED, 300, 0);
    assert_counts(&opener, ESTABLISHED, 0, OPENER_WRITTEN + 1000);
}

#[test]
fn what_another_descriptor_reads_and_writes_counts_too() {
    let (mut opener, accepted) = pair();
    let mut other = accepted.try_clone().unwrap();
    opener.write_all(&[1; 10]).unwrap();
    other.read_exact(&mut [0; 4]).unwrap();
    other.write_all(&[2; 7]).unwrap();
    drop(other);
    assert_counts(&accepted, ESTABLISHED, 4, 7);
}

#[test]
fn what_finds_no_room_at_the_peer_is_written_whether_it_was_acknowledged_or_not() {
    let (mut opener, accepted) = pair();
    let mut written = fill(&accepted);
    let counts = until(&accepted, |counts| {
        counts.acknowledged > 0 && counts.waiting > 0
    });
    assert_eq!(counts.written(), written);
    opener.read_exact(&mut [0; 5000]).unwrap();
    written += fill(&accepted);
    assert_counts(&accepted, ESTABLISHED, 0, written);
    assert_eq!(until(&opener, |_| true).read(), 5000);
}

#[test]
fn an_end_of_the_peer_is_no_byte_whether_it_was_read_or_not() {
    let (mut opener, mut accepted) = pair();
    opener.write_all(&[1; 10]).unwrap();
    close(&opener);
    assert_counts(&accepted, CLOSE_WAIT, 0, 0);
    accepted.read_exact(&mut [0; 4]).unwrap();
    assert_counts(&accepted, CLOSE_WAIT, 4, 0);
    accepted.read_exact(&mut [0; 6]).unwrap();
    assert_counts(&accepted, CLOSE_WAIT, 10, 0);
    assert_eq!(accepted.read(&mut [0]).unwrap(), 0);
    assert_counts(&accepted, CLOSE_WAIT, 10, 0);
    accepted.write_all(&[1; 3]).unwrap();
    assert_counts(&accepted, CLOSE_WAIT, 10, 3);
}

#[test]
fn an_end_of_the_peer_alone_is_no_byte() {
    let (opener, mut accepted) = pair();
    close(&opener);
    assert_counts(&accepted, CLOSE_WAIT, 0, 0);
    assert_eq!(accepted.read(&mut [0]).unwrap(), 0);
    assert_counts(&accepted, CLOSE_WAIT, 0, 0);
}

#[test]
fn an_own_end_is_no_byte_once_it_was_acknowledged() {
    let (mut opener, mut accepted) = pair();
    opener.write_all(&[1; 10]).unwrap();
    close(&opener);
    assert_counts(&opener, FIN_WAIT2, 0, OPENER_WRITTEN + 10);
    accepted.write_all(&[1; 5]).unwrap();
    opener.read_exact(&mut [0; 2]).unwrap();
    assert_counts(&opener, FIN_WAIT2, 2, OPENER_WRITTEN + 10);
}

#[test]
fn an_own_end_is_no_byte_while_it_waits_behind_bytes() {
    let (mut opener, accepted) = pair();
    let written = fill(&accepted);
    close(&accepted);
    assert_counts(&accepted, FIN_WAIT1, 0, written);
    // Part of it is acknowledged, and the end is not.
    opener.read_exact(&mut [0; 5000]).unwrap();
    assert_counts(&accepted, FIN_WAIT1, 0, written);
}

#[test]
fn ends_that_meet_are_no_bytes() {
    let (mut opener, mut accepted) = pair();
    opener.write_all(&[1; 10]).unwrap();
    accepted.read_exact(&mut [0; 4]).unwrap();
    let written = fill(&accepted);
    close(&accepted);
    close(&opener);
    assert_counts(&accepted, CLOSING, 4, written);
    accepted.read_to_end(&mut Vec::new()).unwrap();
    assert_counts(&accepted, CLOSING, 10, written);
    assert_counts(&opener, FIN_WAIT2, 0, OPENER_WRITTEN + 10);
}

#[test]
fn the_end_that_is_sent_last_is_no_byte() {
    let (mut opener, accepted) = pair();
    opener.write_all(&[1; 10]).unwrap();
    close(&opener);
    assert_counts(&accepted, CLOSE_WAIT, 0, 0);
    let written = fill(&accepted);
    close(&accepted);
    assert_counts(&accepted, LAST_ACK, 0, written);
}

#[test]
fn a_connection_that_both_ended_is_closed_and_what_is_unread_can_be_read() {
    let (mut opener, mut accepted) = pair();
    opener.write_all(&[1; 10]).unwrap();
    accepted.write_all(&[2; 20]).unwrap();
    accepted.read_exact(&mut [0; 4]).unwrap();
    opener.read_exact(&mut [0; 5]).unwrap();
    close(&opener);
    assert_counts(&accepted, CLOSE_WAIT, 4, 20);
    close(&accepted);
    // Both know of both ends; each counts its own one too.
    assert_counts(&accepted, CLOSE, 4, 21);
    assert_counts(&opener, CLOSE, 5, OPENER_WRITTEN + 11);
    for (socket, all) in [(&accepted, 20), (&opener, OPENER_WRITTEN + 10)] {
        let counts = until(socket, TcpCounts::is_closed);
        assert_eq!(counts.peer_ended(all, error_of(socket)), Some(true));
    }
    let mut rest = Vec::new();
    opener.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, [2; 15]);
    assert_counts(&opener, CLOSE, 20, OPENER_WRITTEN + 11);
    assert_counts(&accepted, CLOSE, 4, 21);
}

#[test]
fn a_reset_leaves_the_counts_without_an_end_and_what_is_unread_can_be_read() {
    let (mut opener, mut accepted) = pair();
    opener.write_all(&[1; 10]).unwrap();
    until_received(&accepted, 10);
    accepted.read_exact(&mut [0; 4]).unwrap();
    accepted.write_all(&[2; 3]).unwrap();
    reset(&opener).unwrap();
    let counts = until(&accepted, TcpCounts::is_closed);
    assert_eq!((counts.read_without_fin(), counts.read()), (4, 3));
    assert_eq!(counts.written(), 3);
    assert_eq!(counts.peer_ended(3, Some(libc::ECONNRESET)), Some(false));
    // The error comes behind the bytes.
    let mut rest = [0; 16];
    assert_eq!(accepted.read(&mut rest).unwrap(), 6);
    let counts = until(&accepted, |_| true);
    assert_eq!((counts.read_without_fin(), counts.unread), (10, 0));
    let error = accepted.read(&mut rest).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    // It is told once, and then looks like an end.
    assert_eq!(accepted.read(&mut rest).unwrap(), 0);
}

#[test]
fn a_reset_behind_the_peers_end_leaves_that_end_in_the_counts() {
    let (mut opener, mut accepted) = pair();
    opener.write_all(&[1; 10]).unwrap();
    close(&opener);
    assert_counts(&accepted, CLOSE_WAIT, 0, 0);
    accepted.read_exact(&mut [0; 4]).unwrap();
    // The peer drops the connection, and what comes then is answered by a reset.
    drop(opener);
    accepted.write_all(&[2; 3]).unwrap();
    let counts = until(&accepted, TcpCounts::is_closed);
    assert_eq!((counts.read(), counts.read_without_fin()), (4, 5));
    assert_eq!(counts.peer_ended(3, error_of(&accepted)), Some(true));
}

#[test]
fn a_reset_behind_the_own_end_is_told_from_an_end_of_the_peer() {
    let (mut opener, accepted) = pair();
    opener.write_all(&[1; 10]).unwrap();
    until_received(&accepted, 10);
    close(&accepted);
    assert_counts(&accepted, FIN_WAIT2, 0, 0);
    reset(&opener).unwrap();
    let counts = until(&accepted, TcpCounts::is_closed);
    assert_eq!(counts.peer_ended(0, error_of(&accepted)), Some(false));
    assert_eq!(counts.read_without_fin(), 0);
}

#[test]
fn whether_the_peer_had_ended_is_unknown_where_the_kernel_does_not_say() {
    let (opener, accepted) = pair();
    let written = fill(&accepted);
    close(&accepted);
    assert_counts(&accepted, FIN_WAIT1, 0, written);
    reset(&opener).unwrap();
    // It is the same in CLOSING.
    let counts = until(&accepted, TcpCounts::is_closed);
    assert_eq!(counts.peer_ended(written, error_of(&accepted)), None);
    // Without this end's own, an error that was told before may have been any.
    assert_eq!(counts.peer_ended(written + 1, None), None);
}

#[test]
fn an_urgent_byte_is_counted_like_others_where_it_is_in_the_stream() {
    let (mut opener, mut accepted) = pair();
    opener.write_all(&[1; 100]).unwrap();
    SockRef::from(&opener).send_out_of_band(b"!").unwrap();
    opener.write_all(&[1; 100]).unwrap();
    until_received(&accepted, 201);
    assert_counts(&accepted, ESTABLISHED, 0, 0);
    accepted.read_exact(&mut [0; 50]).unwrap();
    assert_counts(&accepted, ESTABLISHED, 50, 0);
    accepted.read_exact(&mut [0; 151]).unwrap();
    assert_counts(&accepted, ESTABLISHED, 201, 0);
    assert_counts(&opener, ESTABLISHED, 0, OPENER_WRITTEN + 201);
}

#[test]
fn an_urgent_byte_beside_the_stream_makes_the_counts_wrong() {
    let (mut opener, accepted) = pair();
    SockRef::from(&accepted)
        .set_out_of_band_inline(false)
        .unwrap();
    opener.write_all(&[1; 100]).unwrap();
    SockRef::from(&opener).send_out_of_band(b"!").unwrap();
    opener.write_all(&[1; 100]).unwrap();
    until_received(&accepted, 201);
    let counts = TcpCounts::of(&accepted).unwrap();
    assert_ne!(counts.read(), 0, "{counts:?}");
    // That the option is set later mends it.
    oob_inline(&accepted).unwrap();
    assert_counts(&accepted, ESTABLISHED, 0, 0);
}

#[test]
fn what_is_no_connection_of_tcp_has_no_counts() {
    let (unix, _peer) = UnixStream::pair().unwrap();
    TcpCounts::of(&unix).unwrap_err();
    TcpCounts::of(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap_err();
    TcpCounts::of(std::fs::File::open("/dev/null").unwrap()).unwrap_err();
}

#[test]
fn the_fields_are_where_the_kernel_has_them() {
    let mut bytes = [0; LENGTH];
    bytes[0] = 8;
    bytes[120..128].copy_from_slice(&7_u64.to_ne_bytes());
    bytes[128..136].copy_from_slice(&9_u64.to_ne_bytes());
    let info = Info {
        state: 8,
        received: 9,
        acknowledged: 7,
    };
    assert_eq!(Info::read(&bytes), info);
}

#[test]
fn this_kernel_counts_as_is_relied_upon() {
    self_test().unwrap();
}
