//! Holds sessions open, and checks every byte that comes back through them.

use std::{
    io::{self, Read as _},
    time::{Duration, Instant},
};

use super::{
    probers::{DEADLINE, attempt},
    random::Random,
    run::{Place, Run},
    tally::Kind,
};
use crate::support::client::Session;

/// How old a session may be when its worker dies before it must outlive it, on a busy machine: it is kept
/// after 100 ms, and its worker has to come to it.
const YOUNG: Duration = Duration::from_secs(1);

/// The longest message.
const LONGEST: usize = 16 * 1024;

/// Opens sessions at a listener one after the other, and holds each until it ends.
pub(crate) fn hold(run: &Run<'_>, place: &Place, mut random: Random) {
    while !run.is_over() {
        let traffic = run.traffic.read().unwrap();
        let door = random.pick(&place.doors);
        let opened = attempt(run, place, door);
        let held = opened.map(|session| Held::new(run, place, session));
        drop(traffic);
        match held {
            Some(held) => held.work(run, &mut random),
            None => run.wait(Duration::from_millis(100)),
        }
    }
}

/// A session that is held.
struct Held {
    session: Session,
    place: &'static str,
    began: Instant,
    /// When bytes came back last.
    last_good: Instant,
    closings: u64,
}

impl Held {
    fn new(run: &Run<'_>, place: &Place, session: Session) -> Self {
        let began = Instant::now();
        run.tally.sessions.one();
        session.read_timeout(DEADLINE);
        Self {
            session,
            place: place.name,
            closings: run.closings(),
            began,
            last_good: began,
        }
    }

    /// Sends messages and compares the echoes until the session or the run is over, or sessions are to
    /// be closed.
    fn work(mut self, run: &Run<'_>, random: &mut Random) {
        while !run.is_over() && self.closings == run.closings() {
            match exchange(&mut self.session, random) {
                Ok(bytes) => run.tally.bytes.add(bytes),
                Err(broken) => return self.tell(run, &broken),
            }
            self.last_good = Instant::now();
            run.wait(random.millis(20..120));
        }
        // The worker may have ended just now.
        let _ = self.session.close();
    }

    fn tell(&self, run: &Run<'_>, broken: &Broken) {
        let now = Instant::now();
        let (place, age) = (self.place, self.began.elapsed());
        let quiet = now - self.last_good;
        let whose = format!("at {place}, {age:?} old, quiet for {quiet:?}");
        match broken {
            Broken::Bytes(what) => run.tally.find(Kind::WrongBytes, format!("{whose}: {what}")),
            // A hang counts like an end: the timeout is longer than the supervisor takes to find a hung
            // worker, so that worker was killed by now.
            Broken::Ended(_) if self.was_young(run, now) => run.tally.young_sessions.one(),
            Broken::Ended(_) if self.was_not_kept(run, now) => run.tally.unkept_sessions.one(),
            Broken::Ended(error) => run
                .tally
                .find(Kind::LostSession, format!("{whose}: {error}")),
        }
    }

    /// Whether a worker may have ended before it had to be able to leave this session to another.
    fn was_young(&self, run: &Run<'_>, now: Instant) -> bool {
        let is_young = self.last_good - self.began < YOUNG;
        is_young && run.deaths(|it| it.any(self.last_good, now))
    }

    /// Whether a worker may have ended, and there may have been no descriptors to keep this session when
    /// that was due, or to take it over.
    fn was_not_kept(&self, run: &Run<'_>, now: Instant) -> bool {
        run.deaths(|it| {
            let starved =
                it.unkept(self.began, self.began + YOUNG) || it.unkept(self.last_good, now);
            starved && it.any(self.last_good, now)
        })
    }
}

/// How an exchange of a message and its echo failed.
enum Broken {
    /// Other bytes came back.
    Bytes(String),
    /// The session ended, or nothing came in time.
    Ended(io::Error),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Ended(error)
    }
}

/// Sends a message and compares the echo; returns its length.
fn exchange(session: &mut Session, random: &mut Random) -> Result<u64, Broken> {
    let sent = message(random);
    session.send(&sent)?;
    let mut received = vec![0; sent.len()];
    session.read_exact(&mut received)?;
    match sent
        .iter()
        .zip(&received)
        .position(|(one, other)| one != other)
    {
        None => Ok(sent.len() as u64),
        Some(at) => Err(Broken::Bytes(format!(
            "byte {at} of {} came back as {} instead of {}",
            sent.len(),
            received[at],
            sent[at]
        ))),
    }
}

/// Returns bytes that differ from those of every other message.
fn message(random: &mut Random) -> Vec<u8> {
    let length = 1 + random.below(LONGEST);
    let words = (0..length.div_ceil(8)).flat_map(|_| random.next().to_le_bytes());
    words.take(length).collect()
}
