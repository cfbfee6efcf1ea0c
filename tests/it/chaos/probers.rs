//! Clients that connect all the time and know which certificate is right.

use std::{
    io::{self, ErrorKind},
    net::TcpStream,
    time::{Duration, Instant},
};

use super::{
    run::{Door, Place, Run},
    tally::Kind,
};
use crate::support::client::Session;

/// How long a connection, a handshake or an echo may take on a busy machine.
///
/// It includes the time in which the supervisor finds a hung worker and replaces it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(15);

/// The pause between two handshakes of a prober.
const PACE: Duration = Duration::from_millis(15);

/// How a client's attempt failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Failure {
    /// No process listens.
    NoListener,
    /// The daemon sent nothing for too long.
    Silence,
    /// The certificate does not prove the server's identity.
    Certificate,
    /// The connection broke off, or an alert refused it.
    Cut,
}

impl Failure {
    fn of(error: &io::Error) -> Self {
        let inner = error.get_ref().and_then(|it| it.downcast_ref());
        match (error.kind(), inner) {
            (ErrorKind::ConnectionRefused, _) => Self::NoListener,
            (ErrorKind::TimedOut | ErrorKind::WouldBlock, _) => Self::Silence,
            (_, Some(rustls::Error::InvalidCertificate(_))) => Self::Certificate,
            _ => Self::Cut,
        }
    }
}

/// Connects to a listener with each of its names in turn, until the run is over.
pub(crate) fn probe(run: &Run<'_>, place: &Place) {
    while !run.is_over() {
        for door in &place.doors {
            let traffic = run.traffic.read().unwrap();
            attempt(run, place, door);
            drop(traffic);
            run.wait(PACE);
        }
    }
}

/// Makes one handshake and judges the result.
pub(crate) fn attempt(run: &Run<'_>, place: &Place, door: &Door) -> Option<Session> {
    let begun = Instant::now();
    let error = match open(place, door) {
        Ok(session) => {
            judge(run, place, door, &session, begun);
            return Some(session);
        }
        Err(error) => error,
    };
    let ended = Instant::now();
    let took = ended - begun;
    let failure = Failure::of(&error);
    let what = format!(
        "{} at {}: {failure:?} after {took:?}: {error}",
        door.identity, place.name
    );
    match failure {
        Failure::Silence => run.tally.find(Kind::HungHandshake, what),
        Failure::Certificate => run.tally.find(Kind::WrongCertificate, what),
        Failure::Cut if run.deaths(|it| it.any(begun, ended)) => {
            run.tally.handshakes_of_killed.one();
        }
        Failure::Cut if run.deaths(|it| it.shortage(begun, ended)) => {
            run.tally.handshakes_of_starved.one();
        }
        Failure::NoListener | Failure::Cut => run.tally.find(Kind::Refused, what),
    }
    None
}

fn open(place: &Place, door: &Door) -> io::Result<Session> {
    let stream = TcpStream::connect_timeout(&place.address, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    let mut session = door.client.over(stream)?;
    session.echo("Does this come back?")?;
    Ok(session)
}

fn judge(run: &Run<'_>, place: &Place, door: &Door, session: &Session, begun: Instant) {
    run.tally.handshakes.one();
    let shown = session.shown().sha256;
    let judged = run.truth(door.identity, |truth| truth.judge(&shown, begun));
    if let Some(Err(wrong)) = judged {
        let what = format!(
            "{} at {} showed {shown}: {wrong}",
            door.identity, place.name
        );
        run.tally.find(Kind::WrongCertificate, what);
    }
}
