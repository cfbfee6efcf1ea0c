//! Which process has sent a packet over a Unix socket, by the kernel (unix(7), `SO_PASSCRED`).
//!
//! What a process says of itself proves nothing, and `SO_PEERCRED` of a socket that was connected names the process
//! that made the listener, which may be another one than accepts.

use std::{
    io::{self, IoSliceMut},
    os::fd::{AsFd, AsRawFd as _, RawFd},
};

use nix::{
    cmsg_space,
    sys::socket::{ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg},
};
use rustix::net::sockopt;

use super::fds::MOST_ALONG;

/// Has the kernel say, or say no longer, with each packet of a socket who sent it. Fails as setsockopt(2) does.
pub fn ask(socket: impl AsFd, wanted: bool) -> io::Result<()> {
    Ok(sockopt::set_socket_passcred(socket, wanted)?)
}

/// Receives a packet into `space`; returns its length, 0 at the end of the stream, and the process id of its sender, 0 if
/// that is none of this pid namespace. Fails if descriptors came along, which are closed.
///
/// The socket must [`ask`]: otherwise the sender is 0.
pub fn receive(socket: impl AsFd, space: &mut [u8]) -> io::Result<(usize, u32)> {
    let mut room = cmsg_space!(UnixCredentials);
    with(socket, space, &mut room, MsgFlags::empty())
}

/// Returns the length of the next packet, as far as `space` has room, and its sender, as [`receive`] does, and leaves the
/// packet and its descriptors where they are.
pub fn peek(socket: impl AsFd, space: &mut [u8]) -> io::Result<(usize, u32)> {
    let mut room = cmsg_space!(UnixCredentials, [RawFd; MOST_ALONG]);
    with(socket, space, &mut room, MsgFlags::MSG_PEEK)
}

fn with(
    socket: impl AsFd,
    space: &mut [u8],
    room: &mut [u8],
    flags: MsgFlags,
) -> io::Result<(usize, u32)> {
    let mut bytes = [IoSliceMut::new(space)];
    let socket = socket.as_fd().as_raw_fd();
    let flags = flags | MsgFlags::MSG_CMSG_CLOEXEC;
    let received = recvmsg::<()>(socket, &mut bytes, Some(room), flags)?;
    let mut sender = 0;
    for told in received.cmsgs()? {
        match told {
            ControlMessageOwned::ScmCredentials(it) => {
                sender = u32::try_from(it.pid()).unwrap_or(0);
            }
            // Copies of those that stay with the packet.
            ControlMessageOwned::ScmRights(copies) => copies.into_iter().for_each(|copy| {
                let _ = nix::unistd::close(copy);
            }),
            _ => {}
        }
    }
    Ok((received.bytes, sender))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fds::{packet_pair, receive_packet, send_packet};

    #[test]
    fn a_packet_tells_its_sender_and_keeps_its_descriptors() {
        let (here, there) = packet_pair().unwrap();
        ask(&there, true).unwrap();
        send_packet(&here, b"hello", &[]).unwrap();
        let mut space = [0; 8];
        let own = std::process::id();
        assert_eq!(peek(&there, &mut space).unwrap(), (5, own));
        assert_eq!(receive(&there, &mut space).unwrap(), (5, own));
        send_packet(&here, b"x", &[here.as_fd()]).unwrap();
        assert_eq!(peek(&there, &mut space).unwrap(), (1, own));
        ask(&there, false).unwrap();
        let packet = receive_packet(&there, &mut space, 1).unwrap();
        assert_eq!((packet.length, packet.descriptors.len()), (1, 1));
        send_packet(&here, b"x", &[there.as_fd()]).unwrap();
        ask(&there, true).unwrap();
        assert!(receive(&there, &mut space).is_err());
        drop((here, packet));
        assert_eq!(receive(&there, &mut space).unwrap(), (0, 0));
    }
}
