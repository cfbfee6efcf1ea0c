//! One end of a link: a socket pair that keeps messages apart (unix(7), `SOCK_SEQPACKET`).
//!
//! A message is one packet: the version of the messages (16 bits, big-endian) and a body of bincode. Its
//! descriptors come with the packet, so that both arrive together or not at all.

use std::{
    io,
    marker::PhantomData,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::net::UnixStream as StdUnixStream,
    },
    sync::Arc,
    time::Duration,
};

use rustix::io::Errno;
use tokio::{io::Interest, net::UnixStream, time::sleep};
use zeroize::Zeroizing;

use super::{FORMAT, Message};
use crate::{
    control::wire::{self, WireError},
    sys::{
        fds::{self, Packet},
        reserve::Reserve,
    },
};

/// The most bytes of a packet, which a socket's buffer takes at once on every system; what is larger
/// lies in sealed memory whose descriptor comes along.
pub const MOST_BYTES: usize = 64 * 1024;

/// The wait before descriptors are sent again of which too many are on their way: a receiver that lives takes
/// hundreds in this time.
const IN_FLIGHT: Duration = Duration::from_millis(2);

/// The bytes in front of a body.
const VERSION_BYTES: usize = 2;

/// Why a link cannot be used any more.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The system's error.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The other process is of another version of the program.
    #[error("the other process speaks version {theirs} of the link, and this one version {ours}")]
    Version {
        /// The format of the packet.
        theirs: u16,
        /// The format of the link.
        ours: u16,
    },
    /// The message is newer than the format of the link.
    #[error(
        "a message needs version {needed} of the link, and the other process speaks version {format}"
    )]
    TooNew {
        /// The first format that has the message.
        needed: u16,
        /// The format of the link.
        format: u16,
    },
    /// The packet is longer than any message.
    #[error("a packet is longer than {MOST_BYTES} bytes")]
    TooLong,
    /// The packet holds no message.
    #[error("a packet is no message: {0}")]
    Codec(#[from] WireError),
    /// The message is longer than one of its kind may be.
    #[error("a message has {0} bytes, which is more than one of its kind may have")]
    Large(usize),
    /// The message came with descriptors that do not belong to it.
    #[error("a message came with descriptors that it may not bring")]
    Descriptors,
}

/// Makes a link; returns both ends of it, which do not block.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    fds::packet_pair()
}

/// The sending half of an end.
#[derive(Debug)]
pub struct Sender<Out> {
    socket: Arc<UnixStream>,
    format: u16,
    out: PhantomData<fn(Out)>,
}

/// The receiving half of an end.
#[derive(Debug)]
pub struct Receiver<In> {
    socket: Arc<UnixStream>,
    format: u16,
    reserve: Reserve,
    /// Whether the next message may use the reserve.
    makes_room: bool,
    space: Zeroizing<Vec<u8>>,
    kind: PhantomData<fn() -> In>,
}

/// A message with the descriptors that came along.
#[derive(Debug)]
pub struct Received<In> {
    /// The message.
    pub message: In,
    /// Its descriptors: as many as belong to it, or none where this process is short of descriptors.
    pub descriptors: Vec<OwnedFd>,
    /// How long its packet was.
    pub bytes: usize,
}

/// Makes the halves of an end of a link between processes of one program, which speak [`FORMAT`]: one that receives
/// messages of the type `In` and one that sends those of the type `Out`.
/// Must be called in a runtime, with an end that [`pair`] has made: it does not block already, and a
/// process that is confined may not change that.
pub fn open<In: Message, Out: Message>(end: OwnedFd) -> io::Result<(Receiver<In>, Sender<Out>)> {
    // Only reading and writing differ between kinds of Unix sockets, and these are done here.
    let socket = StdUnixStream::from(end);
    Ok(halves(UnixStream::from_std(socket)?, FORMAT))
}

/// Makes the halves of an end whose other end speaks `format`, which is [`FORMAT`] or one before.
pub(super) fn halves<In: Message, Out: Message>(
    socket: UnixStream,
    format: u16,
) -> (Receiver<In>, Sender<Out>) {
    let socket = Arc::new(socket);
    let receiver = Receiver {
        socket: Arc::clone(&socket),
        format,
        reserve: Reserve::new(0),
        makes_room: false,
        space: Zeroizing::new(Vec::new()),
        kind: PhantomData,
    };
    let sender = Sender {
        socket,
        format,
        out: PhantomData,
    };
    (receiver, sender)
}

impl<Out: Message> Sender<Out> {
    /// Sends a message with the descriptors that belong to it; waits until the other process has read
    /// enough of those before.
    pub async fn send(&self, message: &Out, along: &[BorrowedFd<'_>]) -> Result<(), Fault> {
        let packet = encode(message, self.format)?;
        if !message.descriptors().contains(&along.len()) {
            return Err(Fault::Descriptors);
        }
        let sending = || fds::send_packet(&*self.socket, &packet, along);
        let sent = unless_in_flight(|| self.socket.async_io(Interest::WRITABLE, sending)).await;
        Ok(sent?)
    }
}

/// Sends, again and again while too many descriptors are on their way between processes (`ETOOMANYREFS` in
/// unix(7)): their receivers take them in time, or end.
async fn unless_in_flight<F>(send: impl Fn() -> F) -> io::Result<()>
where
    F: Future<Output = io::Result<()>>,
{
    loop {
        match send().await {
            Err(error) if error.raw_os_error() == Some(Errno::TOOMANYREFS.raw_os_error()) => {
                sleep(IN_FLIGHT).await;
            }
            done => return done,
        }
    }
}

impl<In: Message> Receiver<In> {
    /// Keeps back so many descriptors for those that a message brings after [`Self::make_room`].
    #[must_use]
    pub fn keep_back(self, descriptors: usize) -> Self {
        Self {
            reserve: Reserve::new(descriptors),
            ..self
        }
    }

    /// Releases the descriptors kept back when the next message comes, and not before, so that nothing
    /// else takes them.
    pub fn make_room(&mut self) {
        self.makes_room = true;
    }

    /// Receives the next message; `None` when the other end is gone. Safe to cancel.
    pub async fn receive(&mut self) -> Result<Option<Received<In>>, Fault> {
        let packet = self.packet().await?;
        self.reserve.fill();
        let Some(packet) = packet else {
            return Ok(None);
        };
        if packet.is_cut {
            return Err(Fault::TooLong);
        }
        let body = &self.space[..packet.length];
        let message: In = decode(body, self.format)?;
        let expected = message.descriptors();
        let descriptors = packet.descriptors;
        if expected.contains(&descriptors.len()) && !packet.lacks_descriptors {
            return Ok(Some(Received {
                message,
                descriptors,
                bytes: packet.length,
            }));
        }
        // A process that is short of descriptors gets fewer than were sent; none of them is of use alone.
        if packet.lacks_descriptors && In::MOST_DESCRIPTORS > 0 {
            return Ok(Some(Received {
                message,
                descriptors: Vec::new(),
                bytes: packet.length,
            }));
        }
        Err(Fault::Descriptors)
    }

    /// Receives a packet into the space; `None` when the other end is gone.
    async fn packet(&mut self) -> io::Result<Option<Packet>> {
        let Self {
            socket,
            reserve,
            makes_room,
            space,
            ..
        } = self;
        space.resize(MOST_BYTES, 0);
        let received = socket
            .async_io(Interest::READABLE, || {
                if *makes_room {
                    reserve.release();
                }
                let received = fds::receive_packet(&**socket, space, In::MOST_DESCRIPTORS);
                if received.is_err() {
                    reserve.fill();
                }
                received
            })
            .await;
        *makes_room = false;
        match received {
            // No message is empty, so an empty packet is the end.
            Ok(packet) if packet.length == 0 => Ok(None),
            Ok(packet) => Ok(Some(packet)),
            // The other process died with messages of ours unread.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Returns the packet of a message on a link of this format; fails for a message that the format does not have.
pub(super) fn encode<Out: Message>(
    message: &Out,
    format: u16,
) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let needed = message.since();
    if needed > format {
        return Err(Fault::TooNew { needed, format });
    }
    let most = most_bytes(message);
    let body = Zeroizing::new(wire::encode(message, most as u64)?);
    let mut packet = Zeroizing::new(Vec::with_capacity(VERSION_BYTES + body.len()));
    packet.extend_from_slice(&format.to_be_bytes());
    packet.extend_from_slice(&body);
    Ok(packet)
}

/// Returns the message in a packet on a link of this format, which any process may have sent.
pub fn decode<In: Message>(packet: &[u8], format: u16) -> Result<In, Fault> {
    let Some((version, body)) = packet.split_first_chunk() else {
        return Err(Fault::Codec(WireError::Truncated));
    };
    let version = u16::from_be_bytes(*version);
    if version != format {
        return Err(Fault::Version {
            theirs: version,
            ours: format,
        });
    }
    let message: In = wire::decode(body, MOST_BYTES as u64)?;
    if body.len() > most_bytes(&message) {
        return Err(Fault::Large(body.len()));
    }
    // No packet can bring so many: they would look as if this process were short of them.
    if *message.descriptors().end() > In::MOST_DESCRIPTORS {
        return Err(Fault::Descriptors);
    }
    Ok(message)
}

fn most_bytes<M: Message>(message: &M) -> usize {
    message.most_bytes().min(MOST_BYTES - VERSION_BYTES)
}

#[cfg(test)]
mod tests;
