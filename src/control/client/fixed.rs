//! Asking in the fixed part of the protocol, which a daemon of any version understands.

use std::{path::Path, time::Duration};

use super::{Client, ClientError};
use crate::control::{
    fixed::{self, Answer, MAX_ANSWER, MAX_REQUEST, Request},
    wire::{self, Hello},
};

/// Asks the daemon at `path`, whatever protocol it speaks, and waits for its answer within `timeout`; a refusal
/// is an error.
pub fn ask(path: &Path, timeout: Duration, request: &Request) -> Result<Answer, ClientError> {
    let mut client = Client::connect_as(&Hello::fixed(), path, timeout)?;
    let body = fixed::encode(request).map_err(ClientError::Broken)?;
    client.send_frame(&body, MAX_REQUEST)?;
    let body = wire::read_frame_blocking(&mut client.stream, MAX_ANSWER);
    let body = body.map_err(|error| client.broken(error))?;
    let body = body.ok_or(ClientError::Lost)?;
    match fixed::answer(&body).map_err(ClientError::Broken)? {
        Answer::Refused { reason } => Err(ClientError::Refused { reason }),
        answer => Ok(answer),
    }
}
