//! The watch of a session, whatever its protocol.

use std::time::Duration;

use super::{
    mysql::second_login::{SecondLogin, SecondLoginError},
    sealing::SealError,
    watch::{Failed, Fault, Malformed, Output, Pass, Side, TooLong, Wants, Watch},
};

/// What stands before a watch that is kept.
const NONE: u8 = 0;
const SECOND_LOGIN: u8 = 1;

/// The watch of a session, whatever its protocol.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Watcher {
    /// The session is only copied.
    #[default]
    None,
    /// It is of MySQL, and its client may log in again. Boxed, because most sessions have none.
    SecondLogin(Box<SecondLogin>),
}

impl Watch for Watcher {
    type Error = SecondLoginError;

    const MAX_ENCODED: usize = 1 + SecondLogin::MAX_ENCODED;

    fn pass(&mut self, from: Side, bytes: &[u8]) -> Pass {
        match self {
            Self::None => Pass::All,
            Self::SecondLogin(watch) => watch.pass(from, bytes),
        }
    }

    fn wants(&self) -> Wants<'_> {
        match self {
            Self::None => Wants::Nothing,
            Self::SecondLogin(watch) => watch.wants(),
        }
    }

    fn take(&mut self, from: Side, bytes: &[u8]) -> Result<(usize, Output), Failed<Self::Error>> {
        match self {
            Self::None => Ok((0, Output::default())),
            Self::SecondLogin(watch) => watch.take(from, bytes),
        }
    }

    fn sealed(
        &mut self,
        sealed: Result<Vec<u8>, SealError>,
    ) -> Result<Output, Failed<Self::Error>> {
        match self {
            Self::None => Ok(Output::default()),
            Self::SecondLogin(watch) => watch.sealed(sealed),
        }
    }

    fn patience(&self) -> Duration {
        match self {
            Self::None => Duration::MAX,
            Self::SecondLogin(watch) => watch.patience(),
        }
    }

    fn late(&mut self) -> Failed<Self::Error> {
        match self {
            Self::None => Failed {
                to_client: Vec::new(),
                fault: Fault::Late(Side::Client),
            },
            Self::SecondLogin(watch) => watch.late(),
        }
    }

    fn last_words(&mut self) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::SecondLogin(watch) => watch.last_words(),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        match self {
            Self::None => out.push(NONE),
            Self::SecondLogin(watch) => {
                let before = out.len();
                out.push(SECOND_LOGIN);
                watch.encode(out).inspect_err(|_| out.truncate(before))?;
            }
        }
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<(Self, usize), Malformed> {
        match bytes.split_first() {
            Some((&NONE, _)) => Ok((Self::None, 1)),
            Some((&SECOND_LOGIN, rest)) => {
                let (watch, length) = SecondLogin::decode(rest)?;
                Ok((Self::SecondLogin(Box::new(watch)), 1 + length))
            }
            _ => Err(Malformed),
        }
    }
}
