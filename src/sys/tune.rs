//! Options of TCP sockets, those of clients and of backends alike.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};

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
    socket.set_linger(None)
}
