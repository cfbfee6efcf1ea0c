//! The login, watched up to its end, and for what two unlike legs cannot carry.
//!
//! Messages pass as they are, but for three cases. A method that sends the password in the clear, or
//! a token that is as good as one, is not asked for where it would cross a network. Channel binding
//! ties the login to the certificate that the client was shown (RFC 5929 §4), so it is refused, with
//! the reason, where the database has shown another one to the proxy; it would refuse it itself,
//! without. And where the client has no TLS, it is not offered channel binding: it would take the
//! offer for an attack.
//!
//! The connection of a peer that does not speak the protocol is passed on unchanged, unless a password
//! could cross a network in it.
//!
//! Source: "SASL Authentication" and "Message Formats" in the PostgreSQL manual.

use thiserror::Error;

use super::error::ErrorResponse;
use crate::protocol::{PASSWORD_IN_CLEAR, bytes::Reader};

/// Bytes before each message's body: its kind, and a length that counts itself but not the kind.
const HEAD_LEN: usize = 5;

/// Longest message of a login: what servers take of a token, and more than what they say.
pub const MESSAGE_LIMIT: usize = 64 * 1024;

/// An error, by which the database ends the login.
const ERROR: u8 = b'E';
/// A question about the login, or its acceptance.
const AUTHENTICATION: u8 = b'R';
/// A notice, which may come at any time.
const NOTICE: u8 = b'N';
/// What the database knows of the protocol version and its options.
const NEGOTIATE: u8 = b'v';
/// A client's answer to such a question.
const ANSWER: u8 = b'p';

/// Codes of `AUTHENTICATION`.
const ACCEPTED: u32 = 0;
const CLEARTEXT_PASSWORD: u32 = 3;
const SASL: u32 = 10;
const SASL_FINAL: u32 = 12;

/// The mechanism with channel binding.
const PLUS: &[u8] = b"SCRAM-SHA-256-PLUS";
/// Mechanisms that do not reveal the password to a reader of the connection. Others may; the first
/// answer of OAUTHBEARER is the token itself (RFC 7628 §3.1).
const SCRAM: [&[u8]; 2] = [PLUS, b"SCRAM-SHA-256"];

/// What the two legs can carry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rules {
    /// What becomes of channel binding.
    pub binding: Binding,
    /// Whether a password may go to the database in the clear.
    pub let_passwords_through: bool,
}

/// What becomes of channel binding.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Binding {
    /// The client has no TLS to bind to: it is not offered.
    Hide,
    /// The two legs show different certificates: who chooses it is refused.
    Refuse,
    /// It works, or the server does not offer it.
    Pass,
}

/// A login on its way.
#[derive(Clone, Copy, Debug)]
pub struct Login {
    rules: Rules,
    /// The database offered mechanisms, and the client's choice comes next.
    choosing: bool,
    /// Who has the word.
    awaited: Side,
}

/// One of the two who talk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// Who logs in.
    Client,
    /// Who decides.
    Server,
}

/// A whole message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Message<'a> {
    /// What it is.
    pub kind: u8,
    /// What it says; it may be a password.
    body: &'a [u8],
}

/// What to do with a message.
#[derive(Debug, Eq, PartialEq)]
pub enum Step {
    /// Pass it on, and go on.
    Pass,
    /// Pass it on; the login is over, and with it the watch.
    Last,
    /// Pass this on in its place.
    Replace(Vec<u8>),
    /// Tell the client why its login ends here.
    Refuse(Refusal),
}

/// Why the proxy does not carry a login.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Refusal {
    /// The client is bound to a certificate that the database does not know.
    #[error(
        "the client uses channel binding, and the database shows another certificate than this \
         listener; let clients set channel_binding=disable, or use the same certificate for both"
    )]
    ChannelBinding,
    /// The password, or a token, would cross the network in the clear.
    #[error("{}", PASSWORD_IN_CLEAR)]
    PasswordInClear,
}

/// A peer breaks the protocol.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum LoginError {
    /// No message of a login has this length.
    #[error("a message of {0} bytes is announced during the login")]
    Length(u32),
    /// A database does not say this during a login.
    #[error("what it says is no message of a login; does it speak PostgreSQL's protocol?")]
    Foreign,
}

impl Refusal {
    /// Returns the error that tells the client.
    #[must_use]
    pub fn response(self) -> ErrorResponse {
        let (message, hint) = match self {
            Self::ChannelBinding => (
                "channel binding does not work here: the proxy shows another certificate than the \
                 database",
                "Connect with channel_binding=disable.",
            ),
            Self::PasswordInClear => (
                "this login would send a password or token in clear: the proxy has no TLS to the \
                 database",
                "Let the server ask for scram-sha-256, or use TLS between proxy and database.",
            ),
        };
        ErrorResponse {
            hint: Some(hint.into()),
            ..ErrorResponse::new("28000", message)
        }
    }
}

impl<'a> Message<'a> {
    /// Returns the first message of `buf` and how many bytes it takes, or `None` while it is
    /// incomplete.
    ///
    /// A length above the limit is an error as soon as it is there.
    pub fn split(buf: &'a [u8]) -> Result<Option<(Self, usize)>, LoginError> {
        let mut reader = Reader::new(buf);
        let (Some(kind), Some(length)) = (reader.u8(), reader.u32_be()) else {
            return Ok(None);
        };
        let body_len = (length as usize)
            .checked_sub(HEAD_LEN - 1)
            .filter(|it| *it <= MESSAGE_LIMIT)
            .ok_or(LoginError::Length(length))?;
        let body = reader.take(body_len);
        Ok(body.map(|body| (Self { kind, body }, HEAD_LEN + body_len)))
    }

    /// Does the same with what a database says; of what is none of its messages the first byte is
    /// an error.
    pub fn split_server(buf: &'a [u8]) -> Result<Option<(Self, usize)>, LoginError> {
        match buf.first() {
            Some(&(AUTHENTICATION | ERROR | NOTICE | NEGOTIATE)) | None => Self::split(buf),
            Some(_) => Err(LoginError::Foreign),
        }
    }
}

impl Login {
    /// Starts behind the start-up message.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            choosing: false,
            awaited: Side::Server,
        }
    }

    /// Tells who has to say something next.
    #[must_use]
    pub fn awaited(&self) -> Side {
        self.awaited
    }

    /// Tells whether a peer that does not speak the protocol may go on, unwatched.
    #[must_use]
    pub fn tolerates_others(&self) -> bool {
        self.rules.let_passwords_through
    }

    /// Takes the next message of the database.
    pub fn from_server(&mut self, message: Message<'_>) -> Step {
        let mut reader = Reader::new(message.body);
        match (message.kind, reader.u32_be()) {
            (ERROR, _) | (AUTHENTICATION, Some(ACCEPTED)) => Step::Last,
            (AUTHENTICATION, code) => self.question(code, reader.rest()),
            // Other messages do not change which peer speaks next.
            _ => Step::Pass,
        }
    }

    /// Takes the next message of the client.
    pub fn from_client(&mut self, message: Message<'_>) -> Step {
        let chosen = Reader::new(message.body).until_nul();
        let plus = message.kind == ANSWER && self.choosing && chosen == Some(PLUS);
        self.choosing = false;
        self.awaited = Side::Server;
        if plus && self.rules.binding == Binding::Refuse {
            Step::Refuse(Refusal::ChannelBinding)
        } else {
            Step::Pass
        }
    }

    /// Takes a question about the login, with what follows its code.
    ///
    /// The end of SASL is none. That of GSSAPI has the code of its questions: who waits for it cannot
    /// be told from who waits for the client.
    fn question(&mut self, code: Option<u32>, rest: &[u8]) -> Step {
        self.choosing = code == Some(SASL);
        self.awaited = match code {
            Some(SASL_FINAL) => Side::Server,
            _ => Side::Client,
        };
        match code {
            Some(SASL) => self.offer(rest),
            Some(CLEARTEXT_PASSWORD) if !self.rules.let_passwords_through => {
                Step::Refuse(Refusal::PasswordInClear)
            }
            _ => Step::Pass,
        }
    }

    /// Passes on a list of mechanisms, without those that do not work here.
    ///
    /// One that could send a secret in the clear is taken out, and the login refused only if nothing
    /// is left: a list is a choice, and a client that knows two gets in by the one that works. libpq
    /// is such a client, and takes SCRAM before a token wherever both are offered. Unlike channel
    /// binding, SCRAM says nothing of the other mechanisms on the list, so the client is not misled.
    fn offer(self, list: &[u8]) -> Step {
        let kept: Vec<u8> = list
            .split_inclusive(|byte| *byte == 0)
            .filter(|name| self.may_offer(name.strip_suffix(b"\0").unwrap_or(name)))
            .flatten()
            .copied()
            .collect();
        if kept.len() == list.len() {
            return Step::Pass;
        }
        let nothing_left = kept.iter().all(|byte| *byte == 0);
        if nothing_left && !self.rules.let_passwords_through {
            return Step::Refuse(Refusal::PasswordInClear);
        }
        // It is shorter than a message that had a length.
        let length = u32::try_from(HEAD_LEN - 1 + size_of_val(&SASL) + kept.len());
        let mut out = vec![AUTHENTICATION];
        out.extend_from_slice(&length.unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(&SASL.to_be_bytes());
        out.extend_from_slice(&kept);
        Step::Replace(out)
    }

    /// Whether a mechanism works here; the empty name ends a list.
    fn may_offer(self, name: &[u8]) -> bool {
        let hidden = name == PLUS && self.rules.binding == Binding::Hide;
        let keeps_secrets = name.is_empty() || SCRAM.contains(&name);
        !hidden && (keeps_secrets || self.rules.let_passwords_through)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OFFER: &[u8] = b"R\0\0\0\x2a\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
    const CHOICE: &[u8] = b"p\0\0\0\x1fSCRAM-SHA-256-PLUS\0\0\0\0\x04abcd";

    fn message(bytes: &[u8]) -> Message<'_> {
        let (message, length) = Message::split(bytes).expect("short").expect("whole");
        assert_eq!(length, bytes.len());
        message
    }

    fn login(binding: Binding) -> Login {
        Login::new(Rules {
            binding,
            let_passwords_through: false,
        })
    }

    #[test]
    fn channel_binding_is_refused_where_it_cannot_work() {
        let mut refused = login(Binding::Refuse);
        assert_eq!(refused.from_server(message(OFFER)), Step::Pass);
        let step = refused.from_client(message(CHOICE));
        assert_eq!(step, Step::Refuse(Refusal::ChannelBinding));

        let mut passed = login(Binding::Pass);
        assert_eq!(passed.from_server(message(OFFER)), Step::Pass);
        assert_eq!(passed.from_client(message(CHOICE)), Step::Pass);
    }

    #[test]
    fn a_choice_is_one_only_where_there_was_an_offer() {
        let mut login = login(Binding::Refuse);
        assert_eq!(login.from_client(message(CHOICE)), Step::Pass);
    }

    #[test]
    fn a_client_without_tls_is_offered_the_rest() {
        let mut login = login(Binding::Hide);
        let rest = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0".to_vec();
        assert_eq!(
            login.from_server(message(OFFER)),
            Step::Replace(rest.clone())
        );
        assert_eq!(login.from_server(message(&rest)), Step::Pass);
    }

    #[test]
    fn a_password_in_clear_is_not_asked_for() {
        let question = message(b"R\0\0\0\x08\0\0\0\x03");
        let step = login(Binding::Pass).from_server(question);
        assert_eq!(step, Step::Refuse(Refusal::PasswordInClear));
        let mut allowed = Login::new(Rules {
            binding: Binding::Pass,
            let_passwords_through: true,
        });
        assert_eq!(allowed.from_server(question), Step::Pass);
    }

    /// Returns an offer of these mechanisms.
    fn offer(names: &[&str]) -> Vec<u8> {
        let list: Vec<u8> = names
            .iter()
            .flat_map(|name| [name.as_bytes(), b"\0"].concat())
            .collect();
        let length = u32::try_from(9 + list.len()).expect("short");
        let head = [&b"R"[..], &length.to_be_bytes(), b"\0\0\0\x0a"].concat();
        [&head[..], &list, b"\0"].concat()
    }

    #[test]
    fn a_token_in_clear_is_not_asked_for() {
        let bearer = offer(&["OAUTHBEARER"]);
        let step = login(Binding::Pass).from_server(message(&bearer));
        assert_eq!(step, Step::Refuse(Refusal::PasswordInClear));
        let mut allowed = Login::new(Rules {
            binding: Binding::Pass,
            let_passwords_through: true,
        });
        assert_eq!(allowed.from_server(message(&bearer)), Step::Pass);
    }

    #[test]
    fn a_client_is_offered_what_keeps_its_secret() {
        let both = offer(&["OAUTHBEARER", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]);
        let rest = Step::Replace(OFFER.to_vec());
        let mut bound = login(Binding::Refuse);
        assert_eq!(bound.from_server(message(&both)), rest);
        let step = bound.from_client(message(CHOICE));
        assert_eq!(step, Step::Refuse(Refusal::ChannelBinding));
        let rest = Step::Replace(offer(&["SCRAM-SHA-256"]));
        assert_eq!(login(Binding::Hide).from_server(message(&both)), rest);
    }

    #[test]
    fn a_list_without_its_end_hides_nothing() {
        let cut = b"R\0\0\0\x13\0\0\0\x0aOAUTHBEARER";
        let step = login(Binding::Pass).from_server(message(cut));
        assert_eq!(step, Step::Refuse(Refusal::PasswordInClear));
    }

    #[test]
    fn a_notice_does_not_make_an_offer_forgotten() {
        let mut login = login(Binding::Refuse);
        assert_eq!(login.from_server(message(OFFER)), Step::Pass);
        assert_eq!(login.from_server(message(b"N\0\0\0\x05\0")), Step::Pass);
        let step = login.from_client(message(CHOICE));
        assert_eq!(step, Step::Refuse(Refusal::ChannelBinding));
    }

    #[test]
    fn it_is_known_who_has_the_word() {
        let mut login = login(Binding::Pass);
        assert_eq!(login.awaited(), Side::Server);
        let notice = message(b"N\0\0\0\x05\0");
        let negotiate = message(b"v\0\0\0\x0c\0\x03\0\0\0\0\0\0");
        let proof = message(b"R\0\0\0\x0b\0\0\0\x0bab=");
        let last = message(b"R\0\0\0\x0b\0\0\0\x0cv=a");
        for (said, awaited) in [
            (negotiate, Side::Server),
            (notice, Side::Server),
            (message(OFFER), Side::Client),
            (notice, Side::Client),
            (message(CHOICE), Side::Server),
            (proof, Side::Client),
            (message(CHOICE), Side::Server),
            (last, Side::Server),
            (notice, Side::Server),
        ] {
            let step = match said.kind {
                ANSWER => login.from_client(said),
                _ => login.from_server(said),
            };
            assert_eq!((step, login.awaited()), (Step::Pass, awaited), "{said:?}");
        }
    }

    #[test]
    fn the_verdict_is_the_last() {
        let verdicts: [&[u8]; 2] = [b"R\0\0\0\x08\0\0\0\0", b"E\0\0\0\x09CXX\0\0"];
        for verdict in verdicts {
            assert_eq!(
                login(Binding::Refuse).from_server(message(verdict)),
                Step::Last
            );
        }
    }

    #[test]
    fn what_is_no_message_of_a_database_is_known_by_its_first_byte() {
        assert_eq!(Message::split_server(b"\0"), Err(LoginError::Foreign));
        assert_eq!(Message::split_server(b"HTTP"), Err(LoginError::Foreign));
        assert_eq!(Message::split_server(b""), Ok(None));
        assert!(Message::split_server(OFFER).is_ok_and(|it| it.is_some()));
    }

    #[test]
    fn long_messages_are_refused_before_they_come() {
        assert_eq!(
            Message::split(b"R\0\x01\0\x05"),
            Err(LoginError::Length(0x1_0005))
        );
        assert_eq!(Message::split(b"R\0\0\0\x03"), Err(LoginError::Length(3)));
        assert_eq!(Message::split(b"R\0\0\0\x08\0\0\0"), Ok(None));
    }

    proptest! {
        #[test]
        fn of_any_offer_only_what_keeps_secrets_crosses_a_network(
            names in prop::collection::vec("SCRAM-SHA-256(-PLUS)?|OAUTHBEARER|[A-Z]{1,3}", 0..6),
            hide: bool,
        ) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let kept: Vec<&str> = names
                .iter()
                .copied()
                .filter(|name| *name == "SCRAM-SHA-256" || !hide && *name == "SCRAM-SHA-256-PLUS")
                .collect();
            let expected = match &kept[..] {
                kept if kept.len() == names.len() => Step::Pass,
                [] => Step::Refuse(Refusal::PasswordInClear),
                kept => Step::Replace(offer(kept)),
            };
            let binding = if hide { Binding::Hide } else { Binding::Pass };
            prop_assert_eq!(login(binding).from_server(message(&offer(&names))), expected);
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>, from_server: bool) {
            if let Ok(Some((message, length))) = Message::split(&bytes) {
                prop_assert!(length <= bytes.len());
                let mut login = login(Binding::Hide);
                let step = if from_server { login.from_server(message) } else { login.from_client(message) };
                if let Step::Replace(other) = step {
                    prop_assert!(Message::split(&other).is_ok_and(|it| it.is_some()));
                }
            }
        }
    }
}
