//! A second login as bytes that are kept with its session.
//!
//! A byte that says how far it has come, its patience in nanoseconds (8), and then, of one that
//!
//! - watches: the session and the state of the watch;
//! - reads: the session, a byte with how much of the header has passed and, in its highest bit, whether it came
//!   out of turn, and what has come of the packet;
//! - carries: the exchange, the number of an answer to the client, the user, what has come of the client's and
//!   the database's next packets; and if a ciphertext is wanted: the key and the message.
//!
//! What has no fixed length follows its length in two bytes. Numbers have their least significant byte first.

use std::time::Duration;

use zeroize::Zeroizing;

use super::carrying::Carrying;
use super::reading::Reading;
use super::{SecondLogin, State};
use crate::protocol::bytes::{Reader, put_sized};
use crate::protocol::mysql::auth::{Exchange, Session};
use crate::protocol::mysql::command::CommandWatch;
use crate::protocol::mysql::incoming::Incoming;
use crate::protocol::mysql::packet::HEADER_LEN;
use crate::protocol::sealing::Sealing;
use crate::protocol::watch::{LONGEST_USER, TooLong};

/// The longest patience that is kept, 584 years.
pub(super) const LONGEST_PATIENCE: Duration = Duration::from_nanos(u64::MAX);

/// The longest part of a packet that is kept. Most packets are within a few hundred bytes; only connection
/// attributes and tickets of Kerberos are longer.
const PACKET: usize = 2048;
/// The longest key that is kept; one of 4096 bits has 800 bytes.
const KEY: usize = 2048;
/// The longest message that is kept to be sealed: a password that is kept.
const MESSAGE: usize = 1024;

const WATCHING: u8 = 0;
const READING: u8 = 1;
const CARRYING: u8 = 2;
const SEALING: u8 = 3;
/// Set in the byte of what has passed if the command came out of turn.
const OUT_OF_TURN: u8 = 0x80;

/// How many bytes say how long a part is.
const LENGTH: usize = 2;

/// The most bytes that [`encode`] writes: those of a login of which both sides' packets have come in part.
/// It is more than those of one that waits for a ciphertext, for which no part of a packet has come.
pub(super) const MAX_ENCODED: usize =
    1 + 8 + Exchange::MAX_ENCODED + 1 + (LENGTH + LONGEST_USER) + 2 * (LENGTH + PACKET);

const _: () = {
    assert!(MAX_ENCODED >= 1 + 8 + Session::MAX_ENCODED + CommandWatch::ENCODED);
    assert!(KEY + MESSAGE <= 2 * PACKET);
};

/// Appends the state; on an error nothing was appended.
pub(super) fn encode(login: &SecondLogin, out: &mut Vec<u8>) -> Result<(), TooLong> {
    let mut kept = Zeroizing::new(Vec::with_capacity(MAX_ENCODED));
    put(login, &mut kept)?;
    out.extend_from_slice(&kept);
    Ok(())
}

fn put(login: &SecondLogin, out: &mut Vec<u8>) -> Result<(), TooLong> {
    out.push(match &login.state {
        State::Watching(..) => WATCHING,
        State::Reading(_) => READING,
        State::Carrying(carrying) if carrying.sealing.is_some() => SEALING,
        State::Carrying(_) => CARRYING,
    });
    let patience = u64::try_from(login.patience.as_nanos()).unwrap_or(u64::MAX);
    out.extend_from_slice(&patience.to_le_bytes());
    match &login.state {
        State::Watching(session, watch) => {
            session.put(out);
            watch.put(out);
            Ok(())
        }
        State::Reading(reading) => put_reading(reading, out),
        State::Carrying(carrying) => put_carrying(carrying, out),
    }
}

fn put_reading(reading: &Reading, out: &mut Vec<u8>) -> Result<(), TooLong> {
    reading.session.put(out);
    let turn = if reading.out_of_turn { OUT_OF_TURN } else { 0 };
    out.push(reading.passed | turn);
    put_sized(reading.packet.bytes(), PACKET, out)
}

fn put_carrying(carrying: &Carrying, out: &mut Vec<u8>) -> Result<(), TooLong> {
    carrying.exchange.put(out)?;
    out.push(carrying.answer);
    put_sized(&carrying.user, LONGEST_USER, out)?;
    match &carrying.sealing {
        None => {
            put_sized(carrying.client.bytes(), PACKET, out)?;
            put_sized(carrying.server.bytes(), PACKET, out)
        }
        // Both sides' last packets were whole.
        Some(sealing) => {
            put_sized(&sealing.key, KEY, out)?;
            put_sized(&sealing.message, MESSAGE, out)
        }
    }
}

/// Reads what [`encode`] wrote; `None` if it never writes such bytes.
pub(super) fn decode(reader: &mut Reader<'_>) -> Option<SecondLogin> {
    let form = reader.u8()?;
    let patience = Duration::from_nanos(reader.u64_le()?);
    let state = match form {
        WATCHING => {
            let session = Session::read_back(reader)?;
            State::Watching(session, CommandWatch::read_back(reader)?)
        }
        READING => State::Reading(Box::new(read_reading(reader)?)),
        CARRYING => State::Carrying(Box::new(read_carrying(reader)?)),
        SEALING => State::Carrying(Box::new(read_sealing(reader)?)),
        _ => return None,
    };
    Some(SecondLogin { patience, state })
}

fn read_reading(reader: &mut Reader<'_>) -> Option<Reading> {
    let session = Session::read_back(reader)?;
    let flags = reader.u8()?;
    let passed = flags & !OUT_OF_TURN;
    let packet = read_part(reader)?;
    let has_come = usize::from(passed) <= packet.bytes().len().min(HEADER_LEN);
    has_come.then_some(Reading {
        session,
        packet,
        passed,
        out_of_turn: flags & OUT_OF_TURN != 0,
    })
}

fn read_carrying(reader: &mut Reader<'_>) -> Option<Carrying> {
    let begun = read_begun(reader)?;
    let carrying = Carrying {
        client: read_part(reader)?,
        server: read_part(reader)?,
        ..begun
    };
    let exchange = &carrying.exchange;
    (exchange.awaits_client() || exchange.awaits_database()).then_some(carrying)
}

fn read_sealing(reader: &mut Reader<'_>) -> Option<Carrying> {
    let begun = read_begun(reader)?;
    let sealing = Sealing {
        key: reader.sized(KEY)?.to_vec(),
        message: Zeroizing::new(reader.sized(MESSAGE)?.to_vec()),
    };
    begun.exchange.awaits_sealing().then_some(Carrying {
        sealing: Some(sealing),
        ..begun
    })
}

/// Reads what all logins that are carried have.
fn read_begun(reader: &mut Reader<'_>) -> Option<Carrying> {
    Some(Carrying {
        exchange: Exchange::read_back(reader)?,
        answer: reader.u8()?,
        user: reader.sized(LONGEST_USER)?.to_vec(),
        client: Incoming::default(),
        server: Incoming::default(),
        sealing: None,
    })
}

fn read_part(reader: &mut Reader<'_>) -> Option<Incoming> {
    Incoming::part(reader.sized(PACKET)?)
}
