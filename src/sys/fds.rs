//! Packets with descriptors along over Unix sockets (unix(7), `SCM_RIGHTS`), and inherited descriptors.

#![expect(
    unsafe_code,
    reason = "descriptors that are known by their numbers alone have no safe form"
)]

use std::{
    collections::BTreeSet,
    fs,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
};

use rustix::{
    io::{FdFlags, fcntl_getfd, fcntl_setfd},
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
        SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
        SocketType, socketpair,
    },
};

/// The most descriptors that can be sent with a packet.
pub const MOST_ALONG: usize = 252;

/// A packet that was received.
#[derive(Debug)]
pub struct Packet {
    /// How many bytes it has; 0 at the end of the stream.
    pub length: usize,
    /// Whether it was longer than the space for it.
    pub is_cut: bool,
    /// The descriptors that came along.
    pub descriptors: Vec<OwnedFd>,
    /// Whether more descriptors were sent than this process could, or would, take.
    pub lacks_descriptors: bool,
}

/// Makes a pair of sockets that keep packets apart and do not block.
pub fn packet_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    Ok(pair)
}

/// Sends a packet, and `along` with it.
pub fn send_packet(socket: impl AsFd, packet: &[u8], along: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_ALONG))];
    let mut control = control(&mut space, along)?;
    let bytes = [IoSlice::new(packet)];
    rustix::net::sendmsg(socket, &bytes, &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The same, by a socket that is not connected, to the one at `address`.
pub fn send_packet_to(
    socket: impl AsFd,
    address: &SocketAddrUnix,
    packet: &[u8],
    along: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_ALONG))];
    let mut control = control(&mut space, along)?;
    let bytes = [IoSlice::new(packet)];
    rustix::net::sendmsg_addr(socket, address, &bytes, &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Returns what sends these descriptors along.
fn control<'buf, 'slice, 'fd>(
    space: &'buf mut [MaybeUninit<u8>],
    along: &'slice [BorrowedFd<'fd>],
) -> io::Result<SendAncillaryBuffer<'buf, 'slice, 'fd>> {
    let mut control = SendAncillaryBuffer::new(space);
    if !along.is_empty() && !control.push(SendAncillaryMessage::ScmRights(along)) {
        return Err(io::Error::other("too many descriptors for a packet"));
    }
    Ok(control)
}

/// Receives a packet into `space`, and at most `most` descriptors along, which is no more than
/// [`MOST_ALONG`].
pub fn receive_packet(socket: impl AsFd, space: &mut [u8], most: usize) -> io::Result<Packet> {
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_ALONG))];
    let room = if most == 0 { &mut [] } else { &mut room[..] };
    let mut control = RecvAncillaryBuffer::new(room);
    let received = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(space)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            descriptors.extend(passed);
        }
    }
    Ok(Packet {
        length: received.bytes,
        is_cut: received.flags.contains(ReturnFlags::TRUNC),
        lacks_descriptors: received.flags.contains(ReturnFlags::CTRUNC),
        descriptors,
    })
}

/// Closes every descriptor, beyond the standard three and those in `but`, that the parent process left open.
///
/// To be called before anything else of our own is opened: workers and the exit-failure command would
/// inherit them.
pub fn close_inherited(but: &[BorrowedFd<'_>]) -> io::Result<()> {
    let but: BTreeSet<RawFd> = but.iter().map(AsRawFd::as_raw_fd).collect();
    for fd in numbers()?.into_iter().filter(|fd| !but.contains(fd)) {
        // The one that the list was read by is closed already.
        let _ = nix::unistd::close(fd);
    }
    Ok(())
}

/// Returns the numbers of this process's descriptors beyond the standard three (`proc_pid_fd(5)`); among them that of
/// the one that the list was read by, which is closed by then.
pub(super) fn numbers() -> io::Result<Vec<RawFd>> {
    let open = fs::read_dir("/proc/self/fd")?;
    let numbers = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(numbers.filter(|number| *number > 2).collect())
}

/// Takes the descriptor of this number, which executed programs do not get from now on (`FD_CLOEXEC` in fcntl(2));
/// `None` if it is not open.
///
/// # Safety
///
/// If it is open, nothing else in this process may own it.
pub(super) unsafe fn own(number: RawFd) -> io::Result<Option<OwnedFd>> {
    // SAFETY: it is only asked about.
    if fcntl_getfd(unsafe { BorrowedFd::borrow_raw(number) }).is_err() {
        return Ok(None);
    }
    // SAFETY: it is open, and the caller promises that nothing owns it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl_setfd(&descriptor, FdFlags::CLOEXEC)?;
    Ok(Some(descriptor))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        os::unix::net::UnixStream,
    };

    use super::*;

    #[test]
    fn a_descriptor_arrives_with_its_packet() {
        let (here, there) = packet_pair().unwrap();
        let (mut gift, kept) = UnixStream::pair().unwrap();
        send_packet(&here, b"x", &[kept.as_fd()]).unwrap();
        drop(kept);
        let packet = receive_packet(&there, &mut [0; 8], 1).unwrap();
        assert_eq!((packet.length, packet.descriptors.len()), (1, 1));
        let mut passed = UnixStream::from(packet.descriptors.into_iter().next().unwrap());
        passed.write_all(b"hello").unwrap();
        drop(passed);
        let mut text = String::new();
        gift.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
    }

    #[test]
    fn a_receiver_that_takes_no_descriptors_gets_none() {
        let (here, there) = packet_pair().unwrap();
        send_packet(&here, b"x", &[there.as_fd(), here.as_fd()]).unwrap();
        let packet = receive_packet(&there, &mut [0; 8], 0).unwrap();
        assert!(packet.lacks_descriptors && packet.descriptors.is_empty());
    }

    #[test]
    fn packets_stay_apart_and_a_long_one_is_told() {
        let (here, there) = packet_pair().unwrap();
        send_packet(&here, b"one", &[]).unwrap();
        send_packet(&here, b"a longer one", &[]).unwrap();
        let mut space = [0; 8];
        let first = receive_packet(&there, &mut space, 0).unwrap();
        assert_eq!((&space[..first.length], first.is_cut), (&b"one"[..], false));
        assert!(receive_packet(&there, &mut space, 0).unwrap().is_cut);
        drop(here);
        assert_eq!(receive_packet(&there, &mut space, 0).unwrap().length, 0);
    }
}
