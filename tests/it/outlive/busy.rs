//! Sessions that talk both ways all the time, each direction by threads of its own.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    end::End,
    numbered::Numbered,
    talk::{Flow, Talk},
};
use crate::support::{pause, until};

/// The longest message, which takes more than one TLS record.
const LONGEST: u64 = 24 * 1024;

/// How long a speaker pauses after a message, so that many of them share the machine.
const BREATH: Duration = Duration::from_millis(8);

/// Sessions at work.
pub(super) struct Busy {
    enough: Arc<AtomicBool>,
    sessions: Vec<Working>,
}

struct Working {
    name: String,
    directions: [Direction; 2],
}

/// One direction of a session at work.
struct Direction {
    heard: Arc<AtomicU64>,
    speaker: JoinHandle<Spoken>,
    listener: JoinHandle<Result<(Numbered, End), Broken>>,
}

/// What became of the speaking side.
struct Spoken {
    said: Numbered,
    end: End,
    error: Option<io::Error>,
}

/// How a direction broke.
#[derive(Debug)]
enum Broken {
    /// Other bytes came than were said.
    Bytes(String),
    /// It ended by an error.
    Ended(io::Error),
}

/// What became of a session.
#[derive(Debug)]
pub(super) enum Fate {
    /// All that was said was heard, both ways.
    Whole,
    /// It ended before, cleanly or by an error; all that was heard was right.
    Lost(String),
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("whole"),
            Self::Lost(why) => write!(f, "lost: {why}"),
        }
    }
}

impl Busy {
    /// Sets sessions to work.
    pub(super) fn start(talks: Vec<Talk>) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let sessions = talks
            .into_iter()
            .map(|it| set_to_work(it, &enough))
            .collect();
        Self { enough, sessions }
    }

    /// Waits until each direction of each session that has not ended has carried something more.
    #[track_caller]
    pub(super) fn go_on(&self) {
        let directions = || self.sessions.iter().flat_map(|it| &it.directions);
        let heard = |it: &Direction| it.heard.load(Ordering::Relaxed);
        let before: Vec<u64> = directions().map(heard).collect();
        until("every session goes on", || {
            let mut now = directions().zip(&before);
            now.all(|(it, before)| it.listener.is_finished() || heard(it) > *before)
        });
    }

    /// Has them say that they are done; returns what became of each.
    ///
    /// # Panics
    ///
    /// When wrong bytes came anywhere.
    #[track_caller]
    pub(super) fn end(self) -> Vec<Fate> {
        self.enough.store(true, Ordering::Relaxed);
        self.sessions.into_iter().map(Working::end).collect()
    }

    /// Does the same, and sees that all are whole.
    #[track_caller]
    pub(super) fn end_whole(self) {
        let names: Vec<_> = self.sessions.iter().map(|it| it.name.clone()).collect();
        let fates = self.end().into_iter().zip(names);
        let lost: Vec<String> = fates
            .filter(|(fate, _)| !matches!(fate, Fate::Whole))
            .map(|(fate, name)| format!("{name}: {fate}"))
            .collect();
        assert!(lost.is_empty(), "{lost:#?}");
    }
}

impl Working {
    #[track_caller]
    fn end(self) -> Fate {
        let mut fate = Fate::Whole;
        // Both ends stay open until both directions are over.
        let mut ends = Vec::new();
        for (direction, way) in self.directions.into_iter().zip(["up", "down"]) {
            let Spoken { said, end, error } = direction.speaker.join().unwrap();
            ends.push(end);
            let lost = match direction.listener.join().unwrap() {
                Ok((heard, end)) => {
                    ends.push(end);
                    let (said, heard) = (said.at(), heard.at());
                    (said != heard).then(|| format!("{heard} of {said} bytes came"))
                }
                Err(Broken::Bytes(wrong)) => panic!("{}, {way}: {wrong}", self.name),
                Err(Broken::Ended(error)) => Some(error.to_string()),
            };
            if let Some(why) = lost.or(error.map(|it| it.to_string())) {
                fate = Fate::Lost(format!("{way}: {why}"));
            }
        }
        fate
    }
}

fn set_to_work(talk: Talk, enough: &Arc<AtomicBool>) -> Working {
    let Talk {
        name,
        mut client,
        mut backend,
        up,
        down,
    } = talk;
    let (client_ear, backend_ear) = (client.hearing_half(), backend.hearing_half());
    Working {
        name,
        directions: [
            Direction::start(client, backend_ear, up, enough),
            Direction::start(backend, client_ear, down, enough),
        ],
    }
}

impl Direction {
    fn start(from: End, to: End, flow: Flow, enough: &Arc<AtomicBool>) -> Self {
        let (enough, heard) = (Arc::clone(enough), Arc::<AtomicU64>::default());
        let noted = Arc::clone(&heard);
        Self {
            heard,
            speaker: thread::spawn(move || speak(from, flow.said, &enough)),
            listener: thread::spawn(move || listen(to, flow.heard, &noted)),
        }
    }
}

fn speak(mut end: End, mut said: Numbered, enough: &AtomicBool) -> Spoken {
    let mut error = None;
    while error.is_none() && !enough.load(Ordering::Relaxed) {
        // Any length comes at some time, and most of them often.
        let length = said.at().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let words = said.take(usize::try_from(1 + length % LONGEST).unwrap());
        error = end.say(&words).err();
        pause(BREATH);
    }
    if error.is_none() {
        error = end.finish().err();
    }
    Spoken { said, end, error }
}

fn listen(mut end: End, mut heard: Numbered, noted: &AtomicU64) -> Result<(Numbered, End), Broken> {
    loop {
        let words = end.hear().map_err(Broken::Ended)?;
        if words.is_empty() {
            return Ok((heard, end));
        }
        heard.check(&words).map_err(Broken::Bytes)?;
        noted.store(heard.at(), Ordering::Relaxed);
    }
}
