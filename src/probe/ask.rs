//! One server, from the connection to its end.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{
    Probe, Report, Target,
    failure::{Failure, Phase},
    reply::{self, LONGEST_GREETING, Next},
    stranger::Stranger,
    stream::{Place, Stream},
};
use crate::{
    protocol::{
        Protocol,
        mysql::{
            packet,
            parting::{self, Parting},
        },
        postgres::backend::ssl_request,
    },
    tls::observe::{Broken, Observation},
};

/// How long a server may take to end a connection that is over.
const FAREWELL: Duration = Duration::from_millis(500);

/// How long a server may take to refuse a login.
const REFUSAL: Duration = Duration::from_secs(2);

/// How many bytes of a server's are looked at to say what it seems to be.
const LOOKED_AT: usize = 512;

/// Asks a server what it shows.
pub(super) async fn ask(probe: &Probe, target: &Arc<Target>, place: &Place) -> Report {
    let mut report = Report::new(target, place.peer());
    let deadline = Instant::now() + probe.timeout;
    let begun = begin(target, place, deadline).await;
    let (stream, observation, login) = match begun {
        Ok(begun) => begun,
        Err(failure) => {
            report.failure = Some(failure);
            return report;
        }
    };
    let mut handshake = Handshake {
        stream,
        observation,
        said: Vec::new(),
        phase: match target.protocol {
            Protocol::Tcp => Phase::FirstByte,
            Protocol::Mysql | Protocol::Postgres => Phase::Handshake,
        },
    };
    let failure = handshake.complete().await.err();
    let observed = handshake.observation.observed();
    // A client without a certificate is shown the server's all the same, and is turned away then.
    let is_for_want_of_certificate = observed.asks_for_certificate
        && observed.is_proved
        && match &failure {
            Some(Failure::Tls(broken)) => broken.is_for_want_of_certificate(),
            Some(Failure::Closed(_)) => true,
            _ => false,
        };
    report.note(observed, &probe.judge);
    report.failure = failure.filter(|_| !is_for_want_of_certificate);
    if let Some(login) = login.filter(|_| !handshake.observation.is_handshaking()) {
        let deadline = deadline.min(Instant::now() + REFUSAL);
        // All that was to be learned is known.
        let _ = timeout_at(deadline, handshake.be_refused(&login)).await;
    }
    handshake.end(deadline).await;
    report
}

/// Connects and speaks up to where TLS begins; returns the login too that is to follow within TLS.
async fn begin(
    target: &Target,
    place: &Place,
    deadline: Instant,
) -> Result<(Stream, Observation, Option<Vec<u8>>), Failure> {
    let observation = Observation::new(target.protocol, target.name.as_ref());
    let observation = observation.map_err(|error| Failure::Setup(error.to_string()))?;
    let mut stream = Stream::connect(place, deadline).await?;
    let login = match target.protocol {
        Protocol::Tcp => None,
        Protocol::Mysql => open_mysql(&mut stream).await?,
        Protocol::Postgres => {
            open_postgres(&mut stream).await?;
            None
        }
    };
    Ok((stream, observation, login))
}

async fn open_mysql(stream: &mut Stream) -> Result<Option<Vec<u8>>, Failure> {
    let mut said = Vec::new();
    loop {
        match reply::mysql(&said)? {
            Next::Wait => stream.receive(&mut said, Phase::Greeting).await?,
            Next::Begin(begin) => {
                stream.send(&begin.request, Phase::Handshake).await?;
                return Ok(begin.login);
            }
        }
    }
}

async fn open_postgres(stream: &mut Stream) -> Result<(), Failure> {
    stream.send(&ssl_request(), Phase::Answer).await?;
    let mut said = Vec::new();
    loop {
        match reply::postgres(&said, false)? {
            Next::Begin(_) => return Ok(()),
            Next::Wait => {}
        }
        if let Err(failure) = stream.receive(&mut said, Phase::Answer).await {
            // What has come of an error says more.
            reply::postgres(&said, true)?;
            return Err(failure);
        }
    }
}

/// A handshake and its connection.
struct Handshake {
    stream: Stream,
    observation: Observation,
    /// The first bytes that the server has sent.
    said: Vec<u8>,
    phase: Phase,
}

impl Handshake {
    async fn complete(&mut self) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        loop {
            let out = self.observation.output();
            if !out.is_empty() {
                let sent = self.stream.send(&out, self.phase).await;
                if let Err(failure) = sent {
                    return self.listen_on(failure).await;
                }
            }
            if !self.observation.is_handshaking() {
                return Ok(());
            }
            bytes.clear();
            self.stream.receive(&mut bytes, self.phase).await?;
            self.take(&bytes)?;
        }
    }

    /// A server that closed its end may have said why before.
    async fn listen_on(&mut self, failure: Failure) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        match self.stream.receive(&mut bytes, self.phase).await {
            Ok(()) => self.take(&bytes).and(Err(failure)),
            Err(_) => Err(failure),
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let room = LOOKED_AT.saturating_sub(self.said.len()).min(bytes.len());
        self.said.extend_from_slice(&bytes[..room]);
        self.observation
            .receive(bytes)
            .map_err(|broken| match broken {
                Broken::NotTls if self.phase == Phase::FirstByte => Failure::Stranger {
                    expected: Protocol::Tcp,
                    stranger: Stranger::of(&self.said),
                },
                broken => Failure::Tls(broken),
            })
    }

    /// Logs in as a user who does not exist. MySQL and MariaDB count a connection that ends before the login is decided,
    /// and refuse its host after some of them (`max_connect_errors`); a login that they refuse is not counted.
    async fn be_refused(&mut self, login: &[u8]) -> Result<(), Failure> {
        let mut parting = Parting::new(parting::PLUGIN);
        let (mut bytes, mut said) = (Vec::new(), Vec::new());
        self.observation.say(login);
        loop {
            let out = self.observation.output();
            self.stream.send(&out, Phase::Handshake).await?;
            let (next, length) = loop {
                let packet = packet::split(&said, LONGEST_GREETING);
                if let Some((packet, length)) = packet.map_err(|_| Failure::Tls(Broken::TooLong))? {
                    break (parting.hear(packet), length);
                }
                bytes.clear();
                self.stream.receive(&mut bytes, Phase::Handshake).await?;
                self.take(&bytes)?;
                self.observation.hear(&mut said);
            };
            said.drain(..length);
            match next {
                parting::Next::Answer(words) => self.observation.say(&words),
                parting::Next::Close(words) => {
                    self.observation.say(words);
                    return Ok(());
                }
            }
        }
    }

    async fn end(mut self, deadline: Instant) {
        self.observation.close();
        let words = self.observation.output();
        let deadline = deadline.min(Instant::now() + FAREWELL);
        self.stream.end(&words, deadline).await;
    }
}
