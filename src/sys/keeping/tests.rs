use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
};

use socket2::{Domain, Protocol, Socket, Type};

use super::*;

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (one, listener.accept().unwrap().0)
}

/// Peeks at a stream.
fn peek(socket: &UnixStream, bytes: &mut [u8]) -> usize {
    use rustix::net::{RecvFlags, recv};
    recv(socket, bytes, RecvFlags::PEEK).unwrap().1
}

#[test]
fn an_urgent_byte_is_read_in_its_place() {
    let (mut one, mut other) = pair();
    oob_inline(&other).unwrap();
    one.write_all(b"a").unwrap();
    SockRef::from(&one).send_out_of_band(b"!").unwrap();
    one.write_all(b"b").unwrap();
    let mut bytes = [0; 3];
    other.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"a!b");
}

#[test]
fn sockets_of_tcp_are_told_from_others() {
    let (one, other) = pair();
    assert!(is_tcp(&one).unwrap() && is_tcp(&other).unwrap());
    let (unix, _peer) = UnixStream::pair().unwrap();
    assert!(!is_tcp(&unix).unwrap());
    // Not every kernel has it.
    if let Ok(multipath) = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP)) {
        assert!(!is_tcp(&multipath).unwrap());
    }
}

#[test]
fn a_reset_reaches_the_peer_although_another_descriptor_holds_the_socket() {
    let (one, mut other) = pair();
    let _held = one.try_clone().unwrap();
    reset(&one).unwrap();
    let error = other.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn a_peek_moves_the_offset_on_and_a_read_moves_it_back() {
    let (mut one, mut other) = UnixStream::pair().unwrap();
    let held = other.try_clone().unwrap();
    assert_eq!(peek_offset(&other).unwrap(), -1);
    peek_from(&other, Some(0)).unwrap();
    assert_eq!(peek_offset(&held).unwrap(), 0);
    one.write_all(b"0123456789").unwrap();
    let mut bytes = [0; 4];
    assert_eq!(peek(&other, &mut bytes), 4);
    assert_eq!(&bytes, b"0123");
    assert_eq!(peek(&held, &mut bytes), 4);
    assert_eq!(&bytes, b"4567", "the offset is the socket's");
    assert_eq!(peek_offset(&held).unwrap(), 8);
    other.read_exact(&mut bytes[..3]).unwrap();
    assert_eq!(peek_offset(&held).unwrap(), 5);
    assert_eq!(peek(&held, &mut bytes), 2);
    assert_eq!(&bytes[..2], b"89");
    let mut rest = [0; 7];
    other.read_exact(&mut rest).unwrap();
    assert_eq!((peek_offset(&held).unwrap(), &rest), (0, b"3456789"));
    peek_from(&other, None).unwrap();
    assert_eq!(peek_offset(&held).unwrap(), -1);
}

#[test]
fn what_is_no_socket_is_refused() {
    let null = std::fs::File::open("/dev/null").unwrap();
    for error in [
        oob_inline(&null).unwrap_err(),
        is_tcp(&null).unwrap_err(),
        reset(&null).unwrap_err(),
        peek_from(&null, None).unwrap_err(),
        peek_offset(&null).unwrap_err(),
    ] {
        assert_eq!(error.raw_os_error(), Some(libc::ENOTSOCK));
    }
}
