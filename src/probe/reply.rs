//! What servers say before TLS, as pure decisions over the bytes that have come.

use super::{
    failure::{Failure, Refusal},
    stranger::Stranger,
};
use crate::protocol::{
    Protocol,
    mysql::{
        greeting::{Greeting, ServerFirst},
        login::Login,
        packet,
        parting::{self, Parting},
    },
    postgres::backend::{self, SslReply},
};

/// The longest greeting or error of a server of MySQL that is read. The former has some hundred bytes, and
/// messages of errors have 512 (`MYSQL_ERRMSG_SIZE`).
pub(super) const LONGEST_GREETING: usize = 4096;

/// The longest error of a server of PostgreSQL that is read.
const LONGEST_ERROR: usize = 4096;

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Wait for more.
    Wait,
    /// TLS begins.
    Begin(Begin),
}

/// How TLS begins and ends.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Begin {
    /// What to send before TLS.
    pub(super) request: Vec<u8>,
    /// What to send within TLS, so that the server does not count that the connection ends.
    pub(super) login: Option<Vec<u8>>,
}

/// Reads what a server of MySQL or MariaDB has said so far.
pub(super) fn mysql(said: &[u8]) -> Result<Next, Failure> {
    let stranger = || Failure::Stranger {
        expected: Protocol::Mysql,
        stranger: Stranger::of(said),
    };
    // Text and TLS announce lengths too, but not with the fourth byte of a first packet.
    if said.get(3).is_some_and(|seq| *seq > 1) {
        return Err(stranger());
    }
    let Some((packet, length)) = packet::split(said, LONGEST_GREETING).map_err(|_| stranger())?
    else {
        return Ok(Next::Wait);
    };
    match ServerFirst::parse(packet.payload) {
        Ok(ServerFirst::Error(error)) => Err(Failure::Refused(Refusal::Mysql(error))),
        Ok(ServerFirst::Greeting(greeting)) if !greeting.has_tls() => {
            Err(Failure::NoTls(Protocol::Mysql))
        }
        Ok(ServerFirst::Greeting(_)) if said.len() > length => Err(Failure::Unencrypted),
        Ok(ServerFirst::Greeting(greeting)) => match begin(&greeting, packet.seq) {
            Some(begin) => Ok(Next::Begin(begin)),
            None => Err(stranger()),
        },
        Err(_) => Err(stranger()),
    }
}

/// Returns how TLS begins there, with a login for behind it that the server will refuse. Both have the same head: MySQL
/// counts a login that differs from the request for TLS as an error of the protocol.
fn begin(greeting: &Greeting, seq: u8) -> Option<Begin> {
    let payload = Parting::login(greeting, parting::PROBE);
    let parsed = Login::parse(&payload).ok()?;
    let (mut request, mut login) = (Vec::new(), Vec::new());
    parsed.write_ssl_request(seq.wrapping_add(1), &mut request);
    parsed.write(seq.wrapping_add(2), true, &mut login);
    Some(Begin {
        request,
        login: Some(login),
    })
}

/// Reads what a server of PostgreSQL has answered so far to the request for TLS; `is_all` if nothing more comes.
pub(super) fn postgres(said: &[u8], is_all: bool) -> Result<Next, Failure> {
    match SslReply::parse(said) {
        Ok(None) => Ok(Next::Wait),
        Ok(Some(SslReply::Accept)) => Ok(Next::Begin(Begin::default())),
        Ok(Some(SslReply::Decline)) => Err(Failure::NoTls(Protocol::Postgres)),
        Ok(Some(SslReply::Error)) => match backend::error_words(said) {
            None if !is_all && said.len() < LONGEST_ERROR => Ok(Next::Wait),
            words => Err(Failure::Refused(Refusal::Postgres(
                words.unwrap_or_else(|| "an error that cannot be read".to_owned()),
            ))),
        },
        Err(backend::SslReplyError::BytesBehindReply) => Err(Failure::Unencrypted),
        Err(backend::SslReplyError::Unknown(_)) => Err(Failure::Stranger {
            expected: Protocol::Postgres,
            stranger: Stranger::of(said),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{
        mysql::{ErrorPacket, greeting::tests::sample, login::ClientFirst},
        postgres::ErrorResponse,
    };

    fn greeting(capabilities: u32) -> Vec<u8> {
        let mut said = Vec::new();
        packet::write(0, &sample(capabilities, "x"), &mut said);
        said
    }

    #[test]
    fn a_greeting_with_tls_is_answered_by_the_request_for_it() {
        let said = greeting(0xdfff_ffff);
        for end in 0..said.len() {
            assert_eq!(mysql(&said[..end]), Ok(Next::Wait), "{end}");
        }
        let Ok(Next::Begin(Begin { request, login })) = mysql(&said) else {
            panic!("TLS begins");
        };
        let login = login.unwrap();
        let (packet, _) = packet::split(&login, 200).unwrap().unwrap();
        assert_eq!(packet.seq, 2);
        let login = Login::parse(packet.payload).unwrap();
        assert_eq!(login.user(), parting::PROBE);
        let (packet, _) = packet::split(&request, 100).unwrap().unwrap();
        assert_eq!((packet.seq, packet.payload.len()), (1, 32));
        let first = ClientFirst::parse(packet.payload);
        assert!(matches!(first, Ok(ClientFirst::SslRequest)), "{first:?}");
        let behind = [&said[..], b"x"].concat();
        assert_eq!(mysql(&behind), Err(Failure::Unencrypted));
    }

    #[test]
    fn a_server_without_tls_or_patience_is_told_so() {
        let failure = mysql(&greeting(0xdfff_f7ff)).unwrap_err();
        assert_eq!(failure.to_string(), "it offers no TLS in its greeting");
        let mut said = Vec::new();
        ErrorPacket::too_many_connections().write_instead_of_greeting(&mut said);
        let told = mysql(&said).unwrap_err().to_string();
        assert!(told.ends_with("error 1040: Too many connections"), "{told}");
        let failure = postgres(b"N", false).unwrap_err();
        assert_eq!(failure.to_string(), "it offers no TLS");
        let mut said = Vec::new();
        ErrorResponse::too_many_connections().write(&mut said);
        assert_eq!(postgres(&said[..9], false), Ok(Next::Wait));
        assert!(postgres(&said[..9], true).is_err());
        let told = postgres(&said, false).unwrap_err().to_string();
        assert!(
            told.ends_with("error 53300: sorry, too many clients already"),
            "{told}"
        );
    }

    #[test]
    fn a_server_of_another_kind_is_told_with_its_protocol() {
        for (failure, protocol) in [
            (mysql(b"\x15\x03\x03\0\x02\x02\x28"), "tcp"),
            (postgres(b"\x15\x03\x03\0\x02\x02\x28", false), "tcp"),
            (postgres(&greeting(0xdfff_ffff), false), "mysql"),
        ] {
            let told = failure.unwrap_err().to_string();
            let advice = format!("use --protocol {protocol}");
            assert!(told.ends_with(&advice), "{told}");
        }
        let told = mysql(b"SSH-2.0-x\r\n").unwrap_err().to_string();
        assert!(told.contains("it says \"SSH-2.0-x\""), "{told}");
    }
}
