//! Frames with descriptors over the link.
//!
//! A frame is its length (32 bits, big-endian) and a body of bincode; a descriptor travels with
//! the first byte of the frame it belongs to.

use std::{
    collections::VecDeque,
    io,
    os::fd::{BorrowedFd, OwnedFd},
    sync::Arc,
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::{io::Interest, net::UnixStream};
use zeroize::Zeroizing;

use crate::{
    control::wire,
    sys::{
        fds::{receive_with, send_with},
        reserve::Reserve,
    },
};

/// The longest body for a worker, which is a generation with the names of all its certificates.
///
/// The supervisor is trusted; the limit only turns a fault into an error.
pub const TO_WORKER: u64 = 256 << 20;

/// The longest body from a worker, which talks to strangers and is trusted with little.
pub const FROM_WORKER: u64 = 1 << 20;

/// Sends `message`, with the descriptors that belong to it: [`MAX_FDS`](crate::sys::fds::MAX_FDS)
/// at most.
pub async fn send<T: Serialize>(
    stream: &UnixStream,
    message: &T,
    limit: u64,
    mut fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let body = Zeroizing::new(wire::encode(message, limit).map_err(io::Error::other)?);
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    for part in [&length.to_be_bytes()[..], &body] {
        let mut rest = part;
        while !rest.is_empty() {
            let sent = stream
                .async_io(Interest::WRITABLE, || send_with(stream, rest, fds))
                .await?;
            fds = &[];
            rest = &rest[sent..];
        }
    }
    Ok(())
}

/// The receiving end of a link.
#[derive(Debug)]
pub struct Receiver {
    stream: Arc<UnixStream>,
    limit: u64,
    fds: VecDeque<OwnedFd>,
    reserve: Reserve,
    /// Whether the reserve is for what comes next.
    makes_room: bool,
}

impl Receiver {
    /// Receives from `stream` bodies of at most `limit` bytes.
    pub fn new(stream: Arc<UnixStream>, limit: u64) -> Self {
        Self {
            stream,
            limit,
            fds: VecDeque::new(),
            reserve: Reserve::new(0),
            makes_room: false,
        }
    }

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

    /// Receives the next message; `None` when the other end is gone.
    ///
    /// Not safe to cancel in the middle of a frame.
    pub async fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let mut header = [0; 4];
        if !self.fill(&mut header).await? {
            return Ok(None);
        }
        let length = u32::from_be_bytes(header);
        if u64::from(length) > self.limit {
            return Err(io::Error::other("a frame of the link is too long"));
        }
        let mut body = Zeroizing::new(vec![0; length as usize]);
        if !self.fill(&mut body).await? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.reserve.fill();
        wire::decode(&body, self.limit)
            .map(Some)
            .map_err(io::Error::other)
    }

    /// Returns the descriptors that came with the last message.
    pub fn descriptors(&mut self) -> Vec<OwnedFd> {
        self.fds.drain(..).collect()
    }

    /// Fills `space`; `false` when the stream ended before its first byte.
    async fn fill(&mut self, space: &mut [u8]) -> io::Result<bool> {
        let mut filled = 0;
        while filled < space.len() {
            let Self {
                stream,
                fds,
                reserve,
                makes_room,
                ..
            } = self;
            let received = stream
                .async_io(Interest::READABLE, || {
                    if *makes_room {
                        reserve.release();
                    }
                    let received = receive_with(&**stream, &mut space[filled..], fds);
                    if received.is_err() {
                        reserve.fill();
                    }
                    received
                })
                .await;
            *makes_room = false;
            match received {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(received) => filled += received,
                // The other process died with bytes of ours unread.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
