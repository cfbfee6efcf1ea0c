//! The fixed part of the control protocol: what every version understands of every other.
//!
//! A client that says [`PROTOCOL`] in its hello, and shows the cookie like others, sends one [`Request`] and gets
//! one [`Answer`]. Both are frames as in [`super::wire`] whose body is JSON (RFC 8259), because bincode knows fields
//! by their position alone. A later version may add members to answers, which an earlier one leaves out of
//! account, and kinds of requests and members of them, which an earlier daemon refuses: an option that it does
//! not know could be one that holds it back. Nothing is ever removed or renamed.

mod asker;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use self::asker::{Asker, Call};
use super::wire::WireError;

/// What the hello of a client says that speaks only this part. No version of [`super::wire::PROTOCOL`] has this
/// number.
pub const PROTOCOL: u16 = 0;

/// The longest request, in bytes: a path of `PATH_MAX` (4096) bytes in which JSON writes each byte as six.
pub const MAX_REQUEST: u64 = 32 << 10;

/// The longest answer, in bytes.
pub const MAX_ANSWER: u64 = 64 << 10;

/// The longest text in an answer, in bytes: what a failing program says is bounded before it is passed on.
pub const MAX_TEXT: usize = 4096;

/// What a client asks, one a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Asks for the little that every version can tell of itself.
    Status {},
    /// Asks the daemon to go on as another program.
    Upgrade(Upgrade),
}

/// How the daemon is to go on as another program.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upgrade {
    /// The program's absolute path; the one that the daemon was started by if none is named.
    #[serde(default)]
    pub binary: Option<PathBuf>,
    /// Whether only to try the program.
    #[serde(default)]
    pub check: bool,
}

/// What the daemon answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// What runs.
    Status(Status),
    /// The program could go on for the one that runs.
    Checked(Checked),
    /// The program has gone on for the one that ran.
    Upgraded(Upgraded),
    /// The request was refused, or failed, and all is as it was.
    Refused {
        /// Why, and what holds now, as a sentence.
        reason: String,
    },
}

/// The little that every version can tell of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The version of the program that runs.
    pub version: String,
    /// The number of its messages, [`super::wire::PROTOCOL`].
    pub protocol: u16,
    /// The supervisor's process id.
    pub pid: u32,
    /// What it does: the word that stands in its own status.
    pub state: String,
    /// The number of the generation in force.
    pub generation: u64,
    /// How many workers serve.
    pub workers: u64,
    /// How many sessions are open.
    #[serde(default)]
    pub sessions: u64,
}

/// What a trial has found of a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// The version that runs.
    pub from: String,
    /// The version that was tried.
    pub to: String,
    /// The path of the program that was tried.
    pub path: PathBuf,
}

/// What became of an upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgraded {
    /// The version that ran.
    pub from: String,
    /// The version that runs.
    pub to: String,
    /// The path of the program that runs.
    pub path: PathBuf,
    /// How many sessions were handed over to workers of this version.
    #[serde(default)]
    pub sessions: u64,
    /// How many sessions cannot be handed over and stay with workers of the version before, until they end.
    #[serde(default)]
    pub staying: u64,
}

/// Returns the body of the frame that carries `message`.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, WireError> {
    serde_json::to_vec(message).map_err(WireError::Fixed)
}

/// Returns the request in the body of a frame.
pub fn request(body: &[u8]) -> Result<Request, WireError> {
    serde_json::from_slice(body).map_err(WireError::Fixed)
}

/// Returns the answer in the body of a frame.
pub fn answer(body: &[u8]) -> Result<Answer, WireError> {
    serde_json::from_slice(body).map_err(WireError::Fixed)
}

impl Answer {
    /// Returns the refusal for this reason, which is cut if it is too long.
    #[must_use]
    pub fn refused(reason: &str) -> Self {
        let mut end = reason.len().min(MAX_TEXT);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        Self::Refused {
            reason: reason[..end].to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{golden::Golden, wire};

    fn upgrade(binary: Option<&str>, check: bool) -> Request {
        Request::Upgrade(Upgrade {
            binary: binary.map(Into::into),
            check,
        })
    }

    fn answers() -> [(&'static str, Answer); 4] {
        let (from, to) = ("0.1.0".to_owned(), "0.2.0".to_owned());
        [
            (
                "Answer status",
                Answer::Status(Status {
                    version: from.clone(),
                    protocol: 9,
                    pid: 7,
                    state: "serving".into(),
                    generation: 3,
                    workers: 2,
                    sessions: 11,
                }),
            ),
            (
                "Answer checked",
                Answer::Checked(Checked {
                    from: from.clone(),
                    to: to.clone(),
                    path: "/usr/sbin/proxyd".into(),
                }),
            ),
            (
                "Answer upgraded",
                Answer::Upgraded(Upgraded {
                    from,
                    to,
                    path: "/usr/sbin/proxyd".into(),
                    sessions: 10,
                    staying: 1,
                }),
            ),
            ("Answer refused", Answer::refused("it is draining")),
        ]
    }

    #[test]
    fn golden_bytes_of_the_fixed_part_never_change() {
        let requests = [
            ("Request status", Request::Status {}),
            ("Request upgrade", upgrade(None, false)),
            ("Request upgrade check", upgrade(Some("/opt/proxyd"), true)),
        ];
        let hello = wire::Hello {
            protocol: PROTOCOL,
            version: "0.1.0".into(),
        };
        let mut golden = Golden::new(
            "control-fixed",
            PROTOCOL,
            "nothing: a new member alone may come",
        );
        golden = golden.bytes("Hello", &hello.to_bytes());
        for (name, it) in requests {
            let body = encode(&it).unwrap();
            assert_eq!(request(&body).unwrap(), it);
            golden = golden.bytes(name, &body);
        }
        for (name, it) in answers() {
            let body = encode(&it).unwrap();
            assert_eq!(answer(&body).unwrap(), it);
            golden = golden.bytes(name, &body);
        }
        golden.check();
    }

    #[test]
    fn a_member_that_a_later_version_added_is_refused_in_a_request_and_ignored_in_an_answer() {
        let later = br#"{"upgrade":{"check":false,"only_if_idle":true}}"#;
        assert!(request(later).is_err());
        assert!(request(br#"{"downgrade":{}}"#).is_err());
        assert_eq!(request(br#"{"upgrade":{}}"#).unwrap(), upgrade(None, false));
        let later = br#"{"checked":{"from":"1","to":"2","path":"/p","new":{"a":1}}}"#;
        assert!(matches!(answer(later), Ok(Answer::Checked(_))));
    }

    #[test]
    fn a_reason_that_is_too_long_is_cut_between_characters() {
        let Answer::Refused { reason } = Answer::refused(&"ä".repeat(MAX_TEXT)) else {
            unreachable!();
        };
        assert_eq!(reason.len(), MAX_TEXT);
        let body = encode(&Answer::refused(&"\u{1}".repeat(MAX_TEXT * 2))).unwrap();
        assert!(body.len() as u64 <= MAX_ANSWER);
    }
}
