//! How a supervisor that did not start a worker comes to a link with it.
//!
//! A worker's supervisor has given it a door: a Unix listener that keeps packets apart (unix(7), `SOCK_SEQPACKET`). Once
//! the link to that supervisor is gone, the worker lets the next one in there. The two may be of different versions of the
//! program, so the next supervisor says which formats of the link it speaks, and the worker chooses. These two packets
//! are the same in every version.

use std::{
    io,
    ops::RangeInclusive,
    os::{fd::OwnedFd, unix::net::UnixStream as StdUnixStream},
};

use tokio::{io::Interest, net::UnixStream};

use super::{
    FORMAT, Fault, FromWorker, ToWorker,
    end::{self, Receiver, Sender},
};
use crate::sys::{fds, senders};

/// What both packets begin with.
const MAGIC: [u8; 8] = *b"PRXDOOR\0";

/// The bytes of the supervisor's packet: the magic, then the lowest and the highest format that it speaks (16 bits each,
/// big-endian).
const HELLO: usize = MAGIC.len() + 4;

/// The bytes of the worker's packet: the magic, then the format that both will speak, or 0 if there is none (16 bits,
/// big-endian).
const ANSWER: usize = MAGIC.len() + 2;

/// The lowest format of the link that this program speaks.
pub const LOWEST_FORMAT: u16 = 1;

/// Both halves of the supervisor's end.
pub type OfSupervisor = (Receiver<FromWorker>, Sender<ToWorker>);

/// Both halves of the worker's end.
pub type OfWorker = (Receiver<ToWorker>, Sender<FromWorker>);

/// Why no link comes of a connection to a door.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The system's error.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The other process ended the connection first.
    #[error("the other process ended the connection")]
    Ended,
    /// The other process sent something else.
    #[error("the other process does not speak the protocol of doors")]
    NoHello,
    /// No format is spoken by both.
    #[error(
        "the other process speaks none of the versions {LOWEST_FORMAT} to {FORMAT} of the link that this one speaks; \
         start a release of the program between the two first"
    )]
    NoFormat,
    /// The other process is not of this pid namespace, or not the one that was greeted.
    #[error("the kernel does not say which process is at the other end")]
    Foreign,
    /// The message could not be sent.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The other process runs as a user who may not come in.
    #[error("a process of the user {0} may not use the door")]
    User(u32),
}

/// A worker that has answered at its door.
#[derive(Debug)]
pub struct Greeted {
    /// Its process id, by the kernel. The process may have ended since, and another have its id, until [`Self::ask`] has
    /// shown that it has not.
    pub pid: u32,
    socket: UnixStream,
    format: u16,
}

/// Greets the worker behind a door. Takes a socket that is connected to the door and does not block.
///
/// Waits for the worker without end, so that the caller needs a deadline; a worker answers at once when it has no link
/// and no other supervisor is at its door.
pub async fn greet(socket: OwnedFd) -> Result<Greeted, Refusal> {
    let socket = UnixStream::from_std(StdUnixStream::from(socket))?;
    senders::ask(&socket, true)?;
    send(&socket, &hello(LOWEST_FORMAT..=FORMAT)).await?;
    let mut space = [0; ANSWER + 1];
    let receiving = || senders::receive(&socket, &mut space);
    let (length, pid) = socket.async_io(Interest::READABLE, receiving).await?;
    match (length, pid) {
        (0, _) => return Err(Refusal::Ended),
        (_, 0) => return Err(Refusal::Foreign),
        _ => {}
    }
    let format = chosen(&space[..length]).ok_or(Refusal::NoHello)?;
    if !(LOWEST_FORMAT..=FORMAT).contains(&format) {
        return Err(Refusal::NoFormat);
    }
    Ok(Greeted {
        pid,
        socket,
        format,
    })
}

impl Greeted {
    /// Sends the worker a message that it answers, and waits for that without end; returns the link, over which the
    /// answer is to be received. The process that was greeted lived when it got the message: who has opened it by its
    /// [`Self::pid`] before has the right one.
    pub async fn ask(self, message: &ToWorker) -> Result<OfSupervisor, Refusal> {
        let Self {
            pid,
            socket,
            format,
        } = self;
        let packet = end::encode(message, format)?;
        send(&socket, &packet).await?;
        let peeking = || senders::peek(&socket, &mut [0]);
        match socket.async_io(Interest::READABLE, peeking).await? {
            (0, _) => Err(Refusal::Ended),
            (_, sender) if sender == pid => {
                senders::ask(&socket, false)?;
                Ok(end::halves(socket, format))
            }
            _ => Err(Refusal::Foreign),
        }
    }
}

/// Lets a supervisor in that has connected to this worker's door, and runs as `owner` or root.
///
/// Waits for it without end, so that the caller needs a deadline.
pub async fn admit(socket: UnixStream, owner: u32) -> Result<OfWorker, Refusal> {
    let user = socket.peer_cred()?.uid();
    if user != 0 && user != owner {
        return Err(Refusal::User(user));
    }
    let mut space = [0; HELLO + 1];
    let length = receive(&socket, &mut space).await?;
    let theirs = spoken(&space[..length]).ok_or(Refusal::NoHello)?;
    let format = common(theirs, LOWEST_FORMAT..=FORMAT);
    send(&socket, &answer(format)).await?;
    let format = format.ok_or(Refusal::NoFormat)?;
    Ok(end::halves(socket, format))
}

/// Returns the packet of a supervisor that speaks these formats.
fn hello(formats: RangeInclusive<u16>) -> [u8; HELLO] {
    let mut packet = [0; HELLO];
    packet[..8].copy_from_slice(&MAGIC);
    packet[8..10].copy_from_slice(&formats.start().to_be_bytes());
    packet[10..].copy_from_slice(&formats.end().to_be_bytes());
    packet
}

/// Returns the formats that a supervisor speaks; `None` if its packet is another.
fn spoken(packet: &[u8]) -> Option<RangeInclusive<u16>> {
    let packet: &[u8; HELLO] = packet.try_into().ok()?;
    let [lowest, highest] = [[packet[8], packet[9]], [packet[10], packet[11]]];
    let formats = u16::from_be_bytes(lowest)..=u16::from_be_bytes(highest);
    (packet.starts_with(&MAGIC) && !formats.is_empty()).then_some(formats)
}

/// Returns the packet of a worker that has chosen a format.
fn answer(format: Option<u16>) -> [u8; ANSWER] {
    let mut packet = [0; ANSWER];
    packet[..8].copy_from_slice(&MAGIC);
    packet[8..].copy_from_slice(&format.unwrap_or(0).to_be_bytes());
    packet
}

/// Returns the format that a worker has chosen, 0 for none; `None` if its packet is another.
fn chosen(packet: &[u8]) -> Option<u16> {
    let packet: &[u8; ANSWER] = packet.try_into().ok()?;
    let format = u16::from_be_bytes([packet[8], packet[9]]);
    packet.starts_with(&MAGIC).then_some(format)
}

/// Returns the highest format that both speak.
fn common(theirs: RangeInclusive<u16>, ours: RangeInclusive<u16>) -> Option<u16> {
    let highest = *theirs.end().min(ours.end());
    let lowest = *theirs.start().max(ours.start());
    (lowest <= highest).then_some(highest)
}

async fn send(socket: &UnixStream, packet: &[u8]) -> io::Result<()> {
    let sending = || fds::send_packet(socket, packet, &[]);
    socket.async_io(Interest::WRITABLE, sending).await
}

/// Receives a packet into the space, without descriptors; returns its length.
async fn receive(socket: &UnixStream, space: &mut [u8]) -> Result<usize, Refusal> {
    let receiving = || fds::receive_packet(socket, space, 0);
    let packet = socket.async_io(Interest::READABLE, receiving).await?;
    match packet.length {
        0 => Err(Refusal::Ended),
        length => Ok(length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::golden::Golden;

    #[test]
    fn golden_bytes_of_the_door_are_those_of_every_version() {
        Golden::new(
            "door",
            1,
            "nothing: other versions of the program cannot learn it",
        )
        .bytes("hello", &hello(1..=0x0203))
        .bytes("answer", &answer(Some(0x0102)))
        .bytes("answer without a common format", &answer(None))
        .check();
    }

    #[test]
    fn the_highest_format_that_both_speak_is_chosen() {
        assert_eq!(common(1..=3, 2..=5), Some(3));
        assert_eq!(common(4..=4, 1..=9), Some(4));
        assert_eq!(common(1..=2, 3..=4), None);
    }

    #[test]
    fn packets_are_read_as_they_were_written_and_others_refused() {
        assert_eq!(spoken(&hello(2..=7)), Some(2..=7));
        assert_eq!(chosen(&answer(Some(7))), Some(7));
        assert_eq!(chosen(&answer(None)), Some(0));
        #[expect(clippy::reversed_empty_ranges, reason = "the peer may send any")]
        let empty = hello(7..=2);
        assert_eq!(spoken(&empty), None);
        let long = [&hello(1..=1)[..], b"x"].concat();
        for wrong in [&long[..], &long[..11], b"", b"GET / HTTP/1"] {
            assert_eq!((spoken(wrong), chosen(wrong)), (None, None));
        }
    }

    fn pair() -> (OwnedFd, UnixStream) {
        let (ours, theirs) = end::pair().unwrap();
        let theirs = UnixStream::from_std(StdUnixStream::from(theirs));
        (ours, theirs.unwrap())
    }

    fn own_user() -> u32 {
        nix::unistd::getuid().as_raw()
    }

    #[tokio::test]
    async fn a_supervisor_that_is_let_in_has_a_link_both_ways() {
        let (ours, theirs) = pair();
        let (greeted, admitted) = tokio::join!(greet(ours), admit(theirs, own_user()));
        let (greeted, (mut worker_hears, worker_says)) = (greeted.unwrap(), admitted.unwrap());
        assert_eq!(greeted.pid, std::process::id());
        let answer = async {
            let asked = worker_hears.receive().await.unwrap().unwrap();
            assert!(matches!(asked.message, ToWorker::Tell));
            worker_says.send(&FromWorker::Told, &[]).await.unwrap();
        };
        let (link, ()) = tokio::join!(greeted.ask(&ToWorker::Tell), answer);
        let (mut hears, _says) = link.unwrap();
        let told = hears.receive().await.unwrap().unwrap();
        assert_eq!(told.message, FromWorker::Told);
    }

    #[tokio::test]
    async fn a_process_that_says_something_else_is_not_let_in() {
        let (ours, theirs) = pair();
        fds::send_packet(&ours, b"PRXDOOR?", &[]).unwrap();
        let refused = admit(theirs, own_user()).await;
        assert!(matches!(refused, Err(Refusal::NoHello)));
    }

    #[tokio::test]
    async fn a_supervisor_that_speaks_no_common_format_is_told_so() {
        let (ours, theirs) = pair();
        fds::send_packet(&ours, &hello(FORMAT + 1..=FORMAT + 1), &[]).unwrap();
        let refused = admit(theirs, own_user()).await;
        assert!(matches!(refused, Err(Refusal::NoFormat)));
        let mut space = [0; 64];
        let packet = fds::receive_packet(&ours, &mut space, 0).unwrap();
        assert_eq!(chosen(&space[..packet.length]), Some(0));
    }
}
