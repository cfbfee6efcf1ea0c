//! Carries a login from one leg to the other.
//!
//! [`Exchange`] takes whole packets of either side and says what to send where. Each leg keeps its
//! own count of packets: the `SSLRequest` on one leg and the packets made up on the other shift
//! them against each other, and the shift needs no thought where each side is simply given its next
//! number.
//!
//! `caching_sha2_password` can ask for the password itself. A client with TLS sends it in the
//! clear; a database without TLS wants it under its RSA key, so the proxy asks for the key and
//! sends what the client would have sent:
//!
//! ```text
//! client                        proxyd                         database
//! 0  <-- greeting ---------------  <--------------- greeting --  0
//! 1  --- SSLRequest ------------>
//! 2  --- login ----------------->  --- login ----------------->  1
//! 3  <-- 01 04 ------------------  <------------------ 01 04 --  2
//! 4  --- password, NUL --------->  --- 02 -------------------->  3
//!                                  <--------------- 01, key ---  4
//!                                  --- encrypted password ---->  5
//! 5  <-- OK ---------------------  <--------------------- OK --  6
//! ```
//!
//! `sha256_password` is older, and asks for nothing else: its client sends the password unasked, or
//! when an `AuthSwitchRequest` tells it to, and its server is asked for its key with `01`.
//!
//! That keeps the password from an attacker who only reads the database's leg. It does not keep it from
//! one who answers in the database's place with another key: only TLS with verification does.
//!
//! Source: "Caching SHA-2 information" and "Authentication Phase" in the MySQL source
//! documentation.

mod kept;
mod leg;
mod line;
mod mechanism;
mod password;
mod step;

pub use leg::{Leg, Legs};
pub use mechanism::Mechanism;
pub use step::{AuthError, Refusal, Step, Then, unsealable};

use self::line::Line;
use self::password::Password;
use super::capabilities::Capabilities;
use super::command::ChangeUser;
use super::error::{ERR, ErrorPacket};
use super::greeting::{Greeting, Scramble};
use super::login::Login;
use super::packet::Packet;
use super::parting::Parting;
use crate::protocol::sealing::Sealing;
use crate::protocol::watch::Side;

/// First byte of an `AuthSwitchRequest`; alone, it asks for the password of before 4.1.
const AUTH_SWITCH: u8 = 0xfe;
/// First byte of data between the two ends of a plugin.
const MORE_DATA: u8 = 0x01;
/// First byte of an `AuthNextFactor`, where both sides know of several factors.
const NEXT_FACTOR: u8 = 0x02;
/// First byte of an OK packet.
const OK: u8 = 0x00;
/// `caching_sha2_password` to the client: your proof is right, OK follows.
const FAST_OK: &[u8] = &[MORE_DATA, 0x03];
/// `caching_sha2_password` to the client: send the password.
const FULL_AUTH: &[u8] = &[MORE_DATA, 0x04];
/// `sha256_password` to the server, in the place of a password: there is none.
const NO_PASSWORD: &[u8] = &[0x00];
/// The shortest RSA ciphertext that is believed to be one, of a 1024 bit key.
const CIPHERTEXT_MIN: usize = 128;

/// A login on its way, from the client's login packet to the database's OK or ERR.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exchange {
    client: Line,
    server: Line,
    mechanism: Mechanism,
    /// The plugin's name.
    plugin: Vec<u8>,
    /// The database's last question was to switch to the plugin.
    switched: bool,
    session: Session,
    state: State,
}

/// What a login leaves for the next one of its session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Session {
    legs: Legs,
    capabilities: Capabilities,
    factors: Factors,
    /// Of the last greeting or switch; `None` when that one brought less than 20 bytes.
    scramble: Option<Scramble>,
}

/// Who knows of logins with several factors.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Factors {
    client: bool,
    server: bool,
}

impl Factors {
    /// Tells whether a packet that starts with `02` is an `AuthNextFactor`.
    ///
    /// The client decides how it is read, so its word is enough, except that MariaDB's `dialog` has
    /// questions which start with the same byte.
    fn may_follow(self, mechanism: Mechanism) -> bool {
        self.client && (self.server || mechanism != Mechanism::Clear)
    }
}

/// Whose packet is awaited, and what may be in it.
#[derive(Clone, Debug, Eq, PartialEq)]
enum State {
    /// The client's answer to what the database said last; the database may still add to it, but
    /// not ask anew.
    Answer,
    /// The key for this password, from the database.
    Key(Password),
    /// The key that the client itself asked for, from the database.
    KeyForClient,
    /// Nothing is expected from either side: the database has decided.
    Over,
    /// The password in the clear, from the client.
    Password,
    /// Nothing any more: the login was refused before the database got its answer.
    Refused,
    /// The ciphertext, from the driver.
    Sealed,
    /// A request for the key or a ciphertext, from the client.
    SealedAnswer,
    /// The database's verdict or question.
    Verdict,
}

impl Exchange {
    /// Starts with the client's login.
    ///
    /// `greeting` is the database's. When the leg to the database has TLS, the driver has sent it
    /// the [`SSLRequest`](Login::write_ssl_request) as packet 1 before.
    pub fn begin(
        greeting: &Greeting,
        login: Packet<'_>,
        legs: Legs,
    ) -> Result<(Self, Step), AuthError> {
        let mut client = Line::after_greeting(legs.client);
        client.receive(login.seq)?;
        let login = Login::parse(login.payload)?;
        let session = Session {
            legs,
            capabilities: login.capabilities(),
            factors: Factors {
                client: login.capabilities().contains(Capabilities::MULTI_FACTOR),
                server: greeting.capabilities().contains(Capabilities::MULTI_FACTOR),
            },
            scramble: Some(*greeting.scramble()),
        };
        let server = Line::after_greeting(legs.server);
        let mut exchange = Self::new(client, server, login.plugin(), session);
        let step = exchange.login(&login);
        Ok((exchange, step))
    }

    /// Starts with the `COM_CHANGE_USER` of a client that has logged in before.
    ///
    /// The database's ERR does not end the session: whether it goes on is the database's decision.
    pub fn change_user(session: Session, command: Packet<'_>) -> Result<(Self, Step), AuthError> {
        let mut client = Line::at_command();
        client.receive(command.seq)?;
        let change = ChangeUser::parse(command.payload, session.capabilities)?;
        let mut exchange = Self::new(client, Line::at_command(), change.plugin(), session);
        let step = if let Some(refusal) = exchange.refusal(change.response()) {
            exchange.refuse(refusal)
        } else if let Some(request) = exchange.withhold(change.response()) {
            Step::server(exchange.server.send(&change.with_response(request)))
        } else {
            exchange.tell_server(command.payload)
        };
        Ok((exchange, step))
    }

    fn new(client: Line, server: Line, plugin: Option<&[u8]>, session: Session) -> Self {
        let plugin = plugin.unwrap_or_default();
        Self {
            client,
            server,
            mechanism: Mechanism::of(plugin),
            plugin: plugin.to_vec(),
            switched: false,
            session,
            state: State::Verdict,
        }
    }

    /// Returns what the next login of the session has to know.
    #[must_use]
    pub fn session(&self) -> Session {
        self.session
    }

    /// Gives up a first login, because the client did: returns what is left to do with the database
    /// and the packet to begin with, which may be none; `None` if nothing is left.
    #[must_use]
    pub fn give_up(mut self) -> Option<(Parting, Vec<u8>)> {
        let parting = Parting::new(&self.plugin);
        let words = match self.state {
            State::Over => return None,
            State::Key(_) | State::KeyForClient | State::Verdict => Vec::new(),
            State::Answer
            | State::Password
            | State::Refused
            | State::Sealed
            | State::SealedAnswer => self.server.send(&parting.answer(self.switched)),
        };
        Some((parting, words))
    }

    /// Takes the next packet of the client.
    pub fn from_client(&mut self, packet: Packet<'_>) -> Result<Step, AuthError> {
        self.client.receive(packet.seq)?;
        match self.state {
            // The client prefers the key although it has TLS: nothing to do for it.
            State::Password if packet.payload == [self.mechanism.key_request()] => {
                Ok(self.seal_answer(packet.payload))
            }
            State::Password
                if self.mechanism == Mechanism::Sha256 && packet.payload == NO_PASSWORD =>
            {
                Ok(self.tell_server(packet.payload))
            }
            State::Password => {
                self.state = State::Key(Password::new(packet.payload));
                Ok(Step::server(
                    self.server.send(&[self.mechanism.key_request()]),
                ))
            }
            State::SealedAnswer if self.is_sealed(packet.payload) => {
                Ok(self.seal_answer(packet.payload))
            }
            State::SealedAnswer if !self.session.legs.let_passwords_through() => {
                Ok(self.refuse(Refusal::PasswordInClear))
            }
            State::Answer | State::SealedAnswer => Ok(self.tell_server(packet.payload)),
            State::Sealed | State::Over | State::Refused => Err(AuthError::NotExpecting),
            State::Key(_) | State::KeyForClient | State::Verdict => Err(AuthError::ClientOutOfTurn),
        }
    }

    /// Takes the next packet of the database.
    pub fn from_server(&mut self, packet: Packet<'_>) -> Result<Step, AuthError> {
        if matches!(self.state, State::Sealed | State::Over | State::Refused) {
            return Err(AuthError::NotExpecting);
        }
        self.server.receive(packet.seq)?;
        self.switched = false;
        let payload = packet.payload;
        let first = *payload.first().ok_or(AuthError::ServerOutOfTurn)?;
        match (&self.state, first) {
            (_, ERR) => Ok(self.finish(payload, Then::Rejected)),
            // The account has another plugin than the client thought.
            (State::Key(_) | State::KeyForClient, AUTH_SWITCH)
                if self.mechanism == Mechanism::Sha256 =>
            {
                Ok(self.switch(payload))
            }
            (State::Key(password), MORE_DATA) => {
                let sealing =
                    Self::sealing(password, self.session.scramble.as_ref(), &payload[1..])?;
                self.state = State::Sealed;
                Ok(Step::client(Vec::new(), Then::Encrypt(sealing)))
            }
            (State::KeyForClient, MORE_DATA) => {
                self.state = State::SealedAnswer;
                Ok(self.tell_client(payload))
            }
            (State::Verdict | State::Answer, OK) => Ok(self.finish(payload, Then::Accepted)),
            (State::Verdict, _) => self.question(first, payload),
            // SASL mechanisms say their last word without waiting, and OK comes behind it.
            (State::Answer, MORE_DATA) if self.mechanism == Mechanism::Challenge => {
                Ok(self.tell_client(payload))
            }
            _ => Err(AuthError::ServerOutOfTurn),
        }
    }

    /// Takes the ciphertext asked for with [`Then::Encrypt`].
    pub fn encrypted(&mut self, ciphertext: &[u8]) -> Result<Step, AuthError> {
        match self.state {
            State::Sealed => Ok(self.tell_server(ciphertext)),
            _ => Err(AuthError::NotExpecting),
        }
    }

    /// Tells whether it is the client that has to say something next, though perhaps not it alone.
    #[must_use]
    pub fn awaits_client(&self) -> bool {
        matches!(
            self.state,
            State::Answer | State::Password | State::SealedAnswer
        )
    }

    /// Tells whether it is the database that has to say something next.
    #[must_use]
    pub fn awaits_database(&self) -> bool {
        matches!(
            self.state,
            State::Key(_) | State::KeyForClient | State::Verdict
        )
    }

    /// Tells whether it is the driver that has to give a ciphertext next.
    #[must_use]
    pub fn awaits_sealing(&self) -> bool {
        matches!(self.state, State::Sealed)
    }

    /// Returns the packet that ends the login for the client; the database's side of it is left to be
    /// [given up](Self::give_up).
    #[must_use]
    pub fn last_words(&mut self, error: &ErrorPacket) -> Vec<u8> {
        let mut out = Vec::new();
        error.write(self.client.next(), &mut out);
        out
    }

    /// Ends a login whose time is over: returns which side had to say something, and the packet that
    /// tells the client.
    #[must_use]
    pub fn run_out(&mut self) -> (Side, Vec<u8>) {
        let (late, error) = if self.awaits_database() {
            let words = "the database has not decided this login in time";
            (Side::Server, ErrorPacket::backend_down(words))
        } else {
            (Side::Client, ErrorPacket::client_too_slow())
        };
        (late, self.last_words(&error))
    }

    fn login(&mut self, login: &Login<'_>) -> Step {
        if let Some(refusal) = self.refusal(login.response()) {
            return self.refuse(refusal);
        }
        let tls = self.session.legs.server == Leg::Tls;
        let mut out = Vec::new();
        match self.withhold(login.response()) {
            Some(request) => login.write_with(request, self.server.next(), tls, &mut out),
            None => login.write(self.server.next(), tls, &mut out),
        }
        Step::server(out)
    }

    /// Keeps a password that comes unasked where the database wants it under its key; returns what
    /// goes to the database in its place.
    fn withhold(&mut self, response: &[u8]) -> Option<u8> {
        if !self.mechanism.needs_sealing(self.session.legs) || is_blank(response) {
            return None;
        }
        let request = self.mechanism.key_request();
        if response == [request] {
            self.state = State::KeyForClient;
            return None;
        }
        self.state = State::Key(Password::new(response));
        Some(request)
    }

    /// Returns why a login that comes with this response cannot be carried.
    fn refusal(&self, response: &[u8]) -> Option<Refusal> {
        let refusal = self.mechanism.refusal(self.session.legs);
        refusal.filter(|_| !is_blank(response))
    }

    /// Passes on what the database wants to know from the client.
    fn question(&mut self, first: u8, payload: &[u8]) -> Result<Step, AuthError> {
        match first {
            AUTH_SWITCH => Ok(self.switch(payload)),
            NEXT_FACTOR if self.session.factors.may_follow(self.mechanism) => {
                Ok(self.switch(payload))
            }
            _ if self.mechanism == Mechanism::CachingSha2 => self.sha2_data(payload),
            _ => Ok(self.ask(payload)),
        }
    }

    /// Passes on a question, if its answer can be carried.
    fn ask(&mut self, payload: &[u8]) -> Step {
        if let Some(refusal) = self.mechanism.refusal(self.session.legs) {
            return self.refuse(refusal);
        }
        self.state = if self.mechanism.needs_sealing(self.session.legs) {
            State::Password
        } else {
            State::Answer
        };
        self.tell_client(payload)
    }

    /// Notes plugin and scramble of an `AuthSwitchRequest` or `AuthNextFactor`.
    fn switch(&mut self, payload: &[u8]) -> Step {
        let mut parts = payload[1..].splitn(2, |byte| *byte == 0);
        let plugin = parts.next().unwrap_or_default();
        self.mechanism = Mechanism::of(plugin);
        self.plugin = plugin.to_vec();
        self.switched = true;
        self.session.scramble = match parts.next() {
            Some(data) => data.first_chunk().copied(),
            // The switch of one byte keeps the greeting's scramble.
            None => self.session.scramble,
        };
        self.ask(payload)
    }

    /// Passes on what `caching_sha2_password` says, of which nothing but its two words is taken: a
    /// client that reads anything else as a call for the password would send it unasked, as far as
    /// this exchange knows.
    fn sha2_data(&mut self, payload: &[u8]) -> Result<Step, AuthError> {
        self.state = match payload {
            FAST_OK => State::Verdict,
            FULL_AUTH => match (
                self.session.legs.client.is_secure(),
                self.session.legs.server.is_secure(),
            ) {
                (true, true) => State::Answer,
                (true, false) => State::Password,
                (false, false) => State::SealedAnswer,
                (false, true) => return Ok(self.refuse(Refusal::ClientNeedsTls)),
            },
            _ => return Err(AuthError::ServerOutOfTurn),
        };
        Ok(self.tell_client(payload))
    }

    /// Passes on a request for the key, or the ciphertext made with it.
    fn seal_answer(&mut self, payload: &[u8]) -> Step {
        let step = self.tell_server(payload);
        if payload == [self.mechanism.key_request()] {
            self.state = State::KeyForClient;
        }
        step
    }

    /// Tells whether a client's answer is a request for the key or a ciphertext, not a password.
    fn is_sealed(&self, payload: &[u8]) -> bool {
        payload == [self.mechanism.key_request()] || payload.len() >= CIPHERTEXT_MIN
    }

    fn sealing(
        password: &Password,
        scramble: Option<&Scramble>,
        key: &[u8],
    ) -> Result<Sealing, AuthError> {
        let scramble = scramble.ok_or(AuthError::ServerOutOfTurn)?;
        Ok(Sealing {
            key: key.to_vec(),
            message: password.mixed_with(scramble),
        })
    }

    fn tell_server(&mut self, payload: &[u8]) -> Step {
        self.state = State::Verdict;
        Step::server(self.server.send(payload))
    }

    fn tell_client(&mut self, payload: &[u8]) -> Step {
        Step::client(self.client.send(payload), Then::Continue)
    }

    fn finish(&mut self, payload: &[u8], then: Then) -> Step {
        self.state = State::Over;
        Step::client(self.client.send(payload), then)
    }

    fn refuse(&mut self, refusal: Refusal) -> Step {
        let words = self.last_words(&refusal.packet());
        self.state = State::Refused;
        Step::client(words, Then::Refused(refusal))
    }
}

/// Tells whether there is no password in a response: such a login has nothing to hide, whatever its
/// plugin.
fn is_blank(response: &[u8]) -> bool {
    response.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
pub(crate) mod tests;
