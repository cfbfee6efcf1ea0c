//! One server, from the connection to its end.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Probe, Report, Target,
    failure::{Failure, Phase},
    reply::{self, Next},
    stranger::Stranger,
    stream::{Place, Stream},
};
use crate::{
    protocol::{Protocol, postgres::backend::ssl_request},
    tls::observe::{Broken, Observation},
};

/// How long a server may take to end a connection that is over.
const FAREWELL: Duration = Duration::from_millis(500);

/// How many bytes of a server's are looked at to say what it seems to be.
const LOOKED_AT: usize = 512;

/// Asks a server what it shows.
pub(super) async fn ask(probe: &Probe, target: &Arc<Target>, place: &Place) -> Report {
    let mut report = Report::new(target, place.peer());
    let deadline = Instant::now() + probe.timeout;
    let begun = begin(target, place, deadline).await;
    let (stream, observation) = match begun {
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
        && matches!(
            failure,
            Some(Failure::Tls(Broken::Alert(_)) | Failure::Closed(_))
        );
    report.note(observed, &probe.judge);
    report.failure = failure.filter(|_| !is_for_want_of_certificate);
    handshake.end(deadline).await;
    report
}

/// Connects and speaks up to where TLS begins.
async fn begin(
    target: &Target,
    place: &Place,
    deadline: Instant,
) -> Result<(Stream, Observation), Failure> {
    let observation = Observation::new(target.protocol, target.name.as_ref());
    let observation = observation.map_err(|error| Failure::Setup(error.to_string()))?;
    let mut stream = Stream::connect(place, deadline).await?;
    match target.protocol {
        Protocol::Tcp => {}
        Protocol::Mysql => open_mysql(&mut stream).await?,
        Protocol::Postgres => open_postgres(&mut stream).await?,
    }
    Ok((stream, observation))
}

async fn open_mysql(stream: &mut Stream) -> Result<(), Failure> {
    let mut said = Vec::new();
    loop {
        match reply::mysql(&said)? {
            Next::Wait => stream.receive(&mut said, Phase::Greeting).await?,
            Next::Begin(request) => return stream.send(&request, Phase::Handshake).await,
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

    async fn end(mut self, deadline: Instant) {
        self.observation.close();
        let words = self.observation.output();
        let deadline = deadline.min(Instant::now() + FAREWELL);
        self.stream.end(&words, deadline).await;
    }
}
