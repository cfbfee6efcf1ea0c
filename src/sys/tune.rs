//! Options of TCP sockets, those of clients and of backends alike.

use std::{io, time::Duration};

use nix::libc;
use socket2::{SockRef, TcpKeepalive};

use super::keeping::peek_from;

/// How long a connection may be silent before the kernel asks whether the peer is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// How long the kernel waits for each of its answers.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Sends small packets at once and notices peers that vanished.
///
/// Sockets accepted from a listening one that was tuned are tuned (tcp(7)).
pub fn tune(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    // This sets SO_KEEPALIVE as well.
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL),
    )
}

/// Gives a listening socket the options that accepted ones are to have, whatever was set on it before by a
/// worker that shares it: [`tune`] does not undo all that a worker can set.
pub fn tune_listening(socket: &SockRef<'_>) -> io::Result<()> {
    tune(socket)?;
    socket.set_linger(None)?;
    socket.set_out_of_band_inline(false)?;
    match peek_from(&**socket, None) {
        // Linux before 6.9 has no such option for TCP, so that no worker has set it.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
        undone => undone,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;
    use crate::sys::keeping::{oob_inline, peek_offset};

    #[test]
    fn what_a_worker_set_for_kept_sessions_does_not_stay_on_a_listening_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        oob_inline(&listener).unwrap();
        // Not every kernel has it for TCP.
        let _ = peek_from(&listener, Some(0));
        tune_listening(&SockRef::from(&listener)).unwrap();
        assert!(peek_offset(&listener).is_ok_and(|offset| offset == -1));
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        SockRef::from(&client).send_out_of_band(b"!").unwrap();
        client.write_all(b"x").unwrap();
        let mut byte = [0];
        listener.accept().unwrap().0.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x", "an urgent byte is not in the stream");
    }
}
