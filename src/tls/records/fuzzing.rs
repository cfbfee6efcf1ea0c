//! The entry of the fuzz target, shared with the test that replays the recorded inputs.
//!
//! It takes any bytes and panics when a promise of this room is broken.

use super::{
    Fault, Records, Role, Space, State, key, open,
    state::{MAX_KEY, MAX_SECRET, NONCE_LEN, Secrets},
    suite::{SUITES, Suite},
};

/// What is sent back instead of a record.
const SEND: u8 = 0xfe;

/// Behind it, bytes come that no key has sealed.
const RAW: u8 = 0xff;

/// Plays a session whose peer keeps no rule.
///
/// The first byte chooses the suite and the role, the second the length of the pieces in which the
/// network brings what the peer sends. Then come records: a type, a length and so much content. The
/// type `fe` lets the session send so many bytes; behind `ff`, the rest is given to the session as it
/// is. The session is encoded and decoded again after each step.
pub fn tls_records(data: &[u8]) {
    let _ = State::take(data);
    let [choice, piece, script @ ..] = data else {
        return;
    };
    let suite = &SUITES[usize::from(*choice) % SUITES.len()];
    let role = match choice & 0x80 {
        0 => Role::Client,
        _ => Role::Server,
    };
    let mut play = Play {
        ours: Records::from(state(suite, role)),
        peer: Records::from(state(suite, other(role))),
        piece: usize::from(*piece).max(1),
    };
    let mut script = script;
    while let [kind, length, rest @ ..] = script {
        let (content, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        script = rest;
        match *kind {
            RAW => {
                let _ = play.give(&[content, rest].concat());
                return;
            }
            SEND => play.send(content),
            kind if play.record(kind, content).is_err() => return,
            _ => {}
        }
    }
}

fn other(role: Role) -> Role {
    match role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    }
}

/// Returns the state of one end; the two ends have the same keys in the other order.
pub(crate) fn state(suite: &'static Suite, role: Role) -> State {
    let [client, server] = [1, 2].map(|byte| half(suite, byte));
    let (sending, receiving) = match role {
        Role::Client => (&client, &server),
        Role::Server => (&server, &client),
    };
    let [sending, receiving] = [sending, receiving].map(|(key, iv, secret)| Secrets {
        key,
        iv,
        sequence: 0,
        traffic_secret: secret,
    });
    State::new(suite, role, sending, receiving).expect("keys that fit")
}

/// Returns key, nonce and traffic secret of one direction.
fn half(suite: &Suite, byte: u8) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let secret = [byte; MAX_SECRET][..suite.secret_len()].to_vec();
    let (mut key, mut iv) = ([byte; MAX_KEY], [byte; NONCE_LEN]);
    if let Some(hash) = suite.hash {
        let half = key::of_secret(suite, hash, &secret).expect("a secret that fits");
        (key, iv) = (half.key, half.iv);
    }
    (key[..suite.aead.key_len()].to_vec(), iv.to_vec(), secret)
}

struct Play {
    ours: Records,
    peer: Records,
    piece: usize,
}

impl Play {
    /// Lets the peer send a record.
    fn record(&mut self, kind: u8, content: &[u8]) -> Result<(), Fault> {
        let mut sealed = Space::default();
        let result = self.peer.seal(kind, content, &mut sealed);
        result.expect("a record that can be sealed");
        let was_closed = self.ours.peer_closed();
        let plain = self.give(sealed.filled())?;
        let passes = kind == open::kind::DATA && !was_closed;
        // A type of zero is padding, in front of which the content may name another.
        if kind != 0 {
            assert_eq!(plain, if passes { content } else { &[] });
        }
        // The peer follows a change of its key.
        if self.ours.state.receiving.secret != self.peer.state.sending.secret {
            let state = &mut *self.peer.state;
            state.sending.renew(state.suite).expect("another key");
            self.peer.rest();
        }
        Ok(())
    }

    /// Gives the session bytes in pieces; returns what they held.
    fn give(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Fault> {
        let (mut plain, mut out, mut waiting) = (Vec::new(), Space::default(), Vec::new());
        for piece in bytes.chunks(self.piece) {
            waiting.extend_from_slice(piece);
            let result = self.ours.receive(&waiting, &mut plain, &mut out);
            self.hear(out.filled(), result.err());
            out.clear();
            waiting.drain(..result?);
            self.move_on();
        }
        Ok(plain)
    }

    /// Lets the session send; the peer hears what was sent.
    fn send(&mut self, content: &[u8]) {
        let mut out = Space::default();
        if self.ours.send(content, &mut out).is_ok() {
            let mut plain = Vec::new();
            let end = self
                .peer
                .receive(out.filled(), &mut plain, &mut Space::default());
            assert_eq!((end, &plain[..]), (Ok(out.filled().len()), content));
        }
        self.move_on();
    }

    /// Lets the peer hear what a session answers, or how it ends.
    fn hear(&mut self, bytes: &[u8], fault: Option<Fault>) {
        let mut plain = Vec::new();
        let heard = self.peer.receive(bytes, &mut plain, &mut Space::default());
        assert!(plain.is_empty());
        match fault.and_then(Fault::alert) {
            Some(alert) => assert_eq!(heard, Err(Fault::AlertReceived(alert))),
            None => assert_eq!(heard, Ok(bytes.len())),
        }
        if fault.is_some() {
            let over = self.ours.send(b"more", &mut Space::default());
            assert_eq!(over, Err(Fault::SentBehindClose));
        }
    }

    /// Goes on from the session's bytes.
    fn move_on(&mut self) {
        let mut bytes = Vec::new();
        self.ours.state().put(&mut bytes);
        let (state, taken) = State::take(&bytes).expect("bytes of a session");
        assert!(taken == bytes.len() && state == *self.ours.state());
        self.ours = Records::from(state);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    /// Returns the recorded inputs.
    fn recorded() -> Vec<Vec<u8>> {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/tls_records");
        let files = corpus.read_dir().expect("the target has a corpus");
        let paths = files.map(|file| file.expect("a file").path());
        paths
            .map(|path| std::fs::read(path).expect("a readable file"))
            .collect()
    }

    #[test]
    fn recorded_inputs_are_survived() {
        let inputs = recorded();
        assert!(!inputs.is_empty());
        for input in inputs {
            tls_records(&input);
        }
    }

    proptest! {
        #[test]
        fn damaged_inputs_are_survived(
            mut input in prop::sample::select(recorded()),
            damage in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 1..5),
        ) {
            for (at, byte) in damage {
                let at = at.index(input.len());
                input[at] = byte;
            }
            tls_records(&input);
        }

        #[test]
        fn any_input_is_survived(data: Vec<u8>) {
            tls_records(&data);
        }

        #[test]
        fn any_records_are_survived(
            choice: u8,
            piece: u8,
            records in prop::collection::vec((20..25_u8, prop::collection::vec(0..26_u8, 0..20)), 0..20),
        ) {
            let mut data = vec![choice, piece];
            for (kind, content) in records {
                data.extend([kind, u8::try_from(content.len()).expect("less than 20")]);
                data.extend(content);
            }
            tls_records(&data);
        }
    }
}
