//! A watch driven as a relay drives it, in memory.

use crate::protocol::sealing::{SealError, Sealing};
use crate::protocol::watch::{Failed, Output, Pass, Side, Wants, Watch};

/// What a relay has of one side.
#[derive(Debug, Default)]
struct End {
    /// Received from it and not used.
    received: Vec<u8>,
    /// Sent to it.
    sent: Vec<u8>,
}

/// A session with a watch, of which all that was sent is remembered.
pub(crate) struct Driven<W: Watch> {
    /// The watch.
    pub(crate) watch: W,
    /// Whether the watch is encoded and decoded after each call.
    pub(crate) is_kept: bool,
    /// How many bytes are given to [`Watch::take`] at once, at most.
    pub(crate) piece: usize,
    /// What seals.
    pub(crate) seal: fn(&Sealing) -> Result<Vec<u8>, SealError>,
    /// The users that were named.
    pub(crate) users: Vec<Vec<u8>>,
    /// How the watch has ended the session; nothing happens any more then.
    pub(crate) failed: Option<Failed<W::Error>>,
    client: End,
    server: End,
}

impl<W: Watch + PartialEq> Driven<W> {
    /// Begins with nothing received.
    pub(crate) fn new(watch: W) -> Self {
        Self {
            watch,
            is_kept: false,
            piece: usize::MAX,
            seal: |_| Ok(b"sealed".to_vec()),
            users: Vec::new(),
            failed: None,
            client: End::default(),
            server: End::default(),
        }
    }

    /// Receives bytes from a side, and does all that can be done then.
    pub(crate) fn receive(&mut self, from: Side, bytes: &[u8]) {
        self.end(from).received.extend_from_slice(bytes);
        self.keep();
        while self.failed.is_none() && self.step() {
            self.keep();
        }
    }

    /// Returns what was sent to a side.
    pub(crate) fn sent(&self, to: Side) -> &[u8] {
        match to {
            Side::Client => &self.client.sent,
            Side::Server => &self.server.sent,
        }
    }

    fn end(&mut self, side: Side) -> &mut End {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// Does one thing; returns whether there was one to do.
    fn step(&mut self) -> bool {
        let wants = self.watch.wants();
        let nothing = wants == Wants::Nothing;
        if let Wants::Sealing(sealing) = wants {
            let sealed = (self.seal)(sealing);
            let done = self.watch.sealed(sealed);
            self.done(done);
            return true;
        }
        let takes = [wants.awaits(Side::Server), wants.awaits(Side::Client)];
        for (from, takes) in [Side::Server, Side::Client].into_iter().zip(takes) {
            if (takes || nothing) && !self.end(from).received.is_empty() {
                let received = std::mem::take(&mut self.end(from).received);
                let used = if takes {
                    self.take(from, &received)
                } else {
                    self.pass(from, &received)
                };
                self.end(from).received = received[used..].to_vec();
                return true;
            }
        }
        false
    }

    fn take(&mut self, from: Side, received: &[u8]) -> usize {
        let piece = &received[..received.len().min(self.piece)];
        let taken = self.watch.take(from, piece);
        let done = taken.map(|(taken, output)| {
            assert!(
                (1..=piece.len()).contains(&taken),
                "it takes some of what it wants"
            );
            (taken, output)
        });
        match done {
            Ok((taken, output)) => {
                self.done(Ok(output));
                taken
            }
            Err(failed) => {
                self.failed = Some(failed);
                0
            }
        }
    }

    fn pass(&mut self, from: Side, received: &[u8]) -> usize {
        let passed = match self.watch.pass(from, received) {
            Pass::All => received.len(),
            Pass::Until(at) => at,
        };
        let to = match from {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        };
        self.end(to).sent.extend_from_slice(&received[..passed]);
        passed
    }

    fn done(&mut self, done: Result<Output, Failed<W::Error>>) {
        match done {
            Ok(output) => {
                self.client.sent.extend_from_slice(&output.to_client);
                self.server.sent.extend_from_slice(&output.to_server);
                self.users.extend(output.user);
            }
            Err(failed) => self.failed = Some(failed),
        }
    }

    /// Encodes the watch and decodes it again, if it is to be kept and can be.
    fn keep(&mut self) {
        let mut kept = vec![0xaa];
        if !self.is_kept || self.failed.is_some() {
            return;
        }
        if self.watch.encode(&mut kept).is_err() {
            assert_eq!(kept, [0xaa], "nothing was appended");
            return;
        }
        let length = kept.len() - 1;
        assert!(length <= W::MAX_ENCODED);
        kept.push(0xbb);
        let Ok((again, read)) = W::decode(&kept[1..]) else {
            panic!("what was encoded cannot be decoded");
        };
        assert_eq!(read, length);
        assert!(again == self.watch, "a state comes back as another");
        self.watch = again;
    }
}
