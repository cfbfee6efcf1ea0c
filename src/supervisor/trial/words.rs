//! What a supervisor and the program that it tries say to each other: one packet each, of JSON (RFC 8259).
//!
//! The program may be of any version, before or after this one. So nothing is ever removed or renamed here, what is
//! added has a default, and a part that is not known is passed over.

use std::{io, ops::RangeInclusive, os::fd::BorrowedFd, path::PathBuf};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{io::Interest, net::UnixStream};

use crate::{
    facts::PROGRAM_VERSION,
    link::{FORMAT, door},
    session::record,
    sys::fds::{self, Packet},
};

/// The most bytes of a packet, of which each side reads no more.
const MOST_BYTES: usize = 32 << 10;

/// The most characters of a reason.
pub(in crate::supervisor) const MOST_REASON: usize = 2000;

/// Says something to the other side, with descriptors along.
pub(in crate::supervisor) async fn send(
    link: &UnixStream,
    words: &impl Serialize,
    along: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let packet = serde_json::to_vec(words)?;
    let sending = || fds::send_packet(link, &packet, along);
    link.async_io(Interest::WRITABLE, sending).await
}

/// Returns what the other side says, and the packet that it came in, with at most `most` descriptors.
///
/// Fails with [`io::ErrorKind::UnexpectedEof`] if the other side has closed the link.
pub(in crate::supervisor) async fn receive<T: DeserializeOwned>(
    link: &UnixStream,
    most: usize,
) -> io::Result<(T, Packet)> {
    let mut space = vec![0; MOST_BYTES];
    let mut receiving = || fds::receive_packet(link, &mut space, most);
    let packet = link.async_io(Interest::READABLE, &mut receiving).await?;
    if packet.length == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((serde_json::from_slice(&space[..packet.length])?, packet))
}

/// What a program that is tried is told. The descriptors of the state come along, as they come to workers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::supervisor) struct Ask {
    /// The version of the program that tries it.
    pub(in crate::supervisor) version: String,
    /// The folder in which the daemon was started, which paths on its command line begin in.
    pub(in crate::supervisor) directory: Option<PathBuf>,
    /// Whether the daemon is in the background.
    pub(in crate::supervisor) detached: bool,
    /// The version of the manifest that the program would get.
    pub(in crate::supervisor) manifest: u16,
    /// The `bind` of each listener whose socket systemd has passed: the program gets it, and need not bind it.
    pub(in crate::supervisor) listening: Vec<String>,
}

/// What a program that is tried answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::supervisor) enum Answer {
    /// It can go on.
    Ready(Ready),
    /// It cannot.
    Refused {
        /// Why, as a sentence without its full stop.
        reason: String,
    },
}

/// What a program that can go on is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::supervisor) struct Ready {
    /// Its version.
    pub(in crate::supervisor) version: String,
    /// The newest version of a session's record that it reads.
    pub(in crate::supervisor) record: u16,
    /// The lowest and the highest format of links that it speaks at doors.
    pub(in crate::supervisor) doors: (u16, u16),
}

impl Ready {
    /// Fails, with the reason, if the program is so many releases away from this one that one of them cannot go on with
    /// the sessions or the workers of the other.
    pub(in crate::supervisor) fn is_near(&self) -> Result<(), String> {
        let Self {
            version,
            record,
            doors,
        } = self;
        let oldest = record.saturating_sub(1);
        let no = |what: &str, theirs: RangeInclusive<u16>, ours: RangeInclusive<u16>| {
            let [theirs, ours] = [theirs, ours].map(|it| format!("{} to {}", it.start(), it.end()));
            format!(
                "proxyd {version} has {what} of the versions {theirs}, and this one, proxyd {PROGRAM_VERSION}, {ours}; \
                 releases go on for each other that follow each other, so upgrade to one between the two first"
            )
        };
        if *record < record::version::OLDEST || oldest > record::VERSION {
            let ours = record::version::OLDEST..=record::VERSION;
            return Err(no("records of sessions", oldest..=*record, ours));
        }
        if doors.1 < door::LOWEST_FORMAT || doors.0 > FORMAT {
            let ours = door::LOWEST_FORMAT..=FORMAT;
            return Err(no("links to workers", doors.0..=doors.1, ours));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::golden::Golden;

    #[test]
    fn golden_bytes_of_a_trial_are_those_of_every_version() {
        let ask = Ask {
            version: "0.1.0".into(),
            directory: Some("/".into()),
            detached: true,
            manifest: 1,
            listening: vec!["127.0.0.1:1".into()],
        };
        let ready = Answer::Ready(Ready {
            version: "0.2.0".into(),
            record: 1,
            doors: (1, 1),
        });
        let refused = Answer::Refused {
            reason: "no".into(),
        };
        Golden::new("trial", 1, "nothing: a new member alone may come")
            .bytes("Ask", &serde_json::to_vec(&ask).unwrap())
            .bytes("Answer ready", &serde_json::to_vec(&ready).unwrap())
            .bytes("Answer refused", &serde_json::to_vec(&refused).unwrap())
            .check();
    }

    #[test]
    fn a_program_of_the_next_release_is_near_and_one_that_is_further_away_is_refused() {
        let ready = |record, doors| Ready {
            version: "9".to_owned(),
            record,
            doors,
        };
        let (own, next) = (record::VERSION, record::VERSION + 1);
        for near in [own, next, record::version::OLDEST] {
            assert_eq!(ready(near, (1, FORMAT + 1)).is_near(), Ok(()));
        }
        let far = [
            ready(next + 1, (1, 9)),
            ready(record::version::OLDEST - 1, (1, 9)),
            ready(own, (FORMAT + 1, FORMAT + 2)),
            ready(own, (0, 0)),
        ];
        for far in far {
            let told = far.is_near().unwrap_err();
            assert!(
                told.contains("upgrade to one between the two first"),
                "{told}"
            );
        }
    }

    #[test]
    fn what_another_version_adds_is_passed_over_and_what_it_lacks_has_a_default() {
        let ask: Ask = serde_json::from_str(r#"{"version":"9","new":[1]}"#).unwrap();
        assert_eq!((ask.version.as_str(), ask.manifest), ("9", 0));
        let ready: Answer = serde_json::from_str(r#"{"ready":{"version":"9"}}"#).unwrap();
        assert!(matches!(ready, Answer::Ready(it) if it.version == "9"));
    }
}
