//! What a server seems to be that does not say what was expected.

use std::fmt::Write as _;

use crate::protocol::Protocol;

/// How many bytes of a server's are shown.
const SHOWN: usize = 8;

/// How many characters of a server's first line are shown.
const SHOWN_OF_LINE: usize = 60;

/// What a server seems to be, by the first bytes that it sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stranger {
    /// It greets or refuses as MySQL and MariaDB do.
    Mysql,
    /// It speaks the X Protocol of MySQL.
    MysqlX,
    /// It answers as PostgreSQL does.
    Postgres,
    /// It speaks TLS already.
    Tls,
    /// It says a line of text; fit to be shown.
    Line(String),
    /// It says something else: the first bytes in hexadecimal.
    Bytes(String),
}

impl Stranger {
    /// Says what a server that says these bytes seems to be.
    pub(super) fn of(bytes: &[u8]) -> Self {
        match bytes {
            [0x15 | 0x16, 3, 0..=4, ..] => Self::Tls,
            // An error, whose first field is the severity; an error of MySQL's has a number there.
            [b'E', 0, 0, _, _, b'S', ..] | [b'S' | b'N'] => Self::Postgres,
            [_, _, 0, 0, 10 | 0xff, ..] => Self::Mysql,
            [1..=32, 0, 0, 0, 11, ..] => Self::MysqlX,
            _ => line(bytes).map_or_else(|| Self::Bytes(hex(bytes)), Self::Line),
        }
    }

    /// Says what it is and what to do, where a protocol was expected.
    pub(super) fn told(&self, expected: Protocol) -> String {
        let place = match expected {
            Protocol::Mysql => "where the greeting of MySQL or MariaDB was expected",
            Protocol::Postgres => "where PostgreSQL's answer to the request for TLS was expected",
            Protocol::Tcp => "where TLS was expected",
        };
        match self {
            Self::Mysql => {
                format!("a MySQL or MariaDB server greets {place}; use --protocol mysql")
            }
            Self::MysqlX => format!(
                "MySQL's X Protocol is spoken {place}, which cannot be asked; ask the server's port for the classic \
                 protocol"
            ),
            Self::Postgres => {
                format!("a PostgreSQL server answers {place}; use --protocol postgres")
            }
            Self::Tls => format!("it speaks TLS {place}; use --protocol tcp"),
            Self::Line(line) => format!("no TLS: it says \"{line}\" {place}"),
            Self::Bytes(bytes) => format!("no TLS: it sends the bytes {bytes} {place}"),
        }
    }
}

/// Returns the first line if it is text.
fn line(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    let first = std::str::from_utf8(&bytes[..end.unwrap_or(bytes.len())]).ok()?;
    let is_text = !first.is_empty() && !first.contains(char::is_control);
    is_text.then(|| first.chars().take(SHOWN_OF_LINE).collect())
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes.iter().take(SHOWN) {
        let _ = write!(text, "{byte:02x} ");
    }
    if bytes.len() > SHOWN {
        text.push_str("...");
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_known_by_its_first_bytes() {
        let line = |text: &str| Stranger::Line(text.to_owned());
        let bytes = |text: &str| Stranger::Bytes(text.to_owned());
        let table: [(&[u8], Stranger); 11] = [
            (b"\x4a\0\0\0\x0a8.0.36\0", Stranger::Mysql),
            (b"\x45\0\0\0\xff\x6a\x04Host", Stranger::Mysql),
            (b"\x05\0\0\0\x0b\x08\x05\x1a\0", Stranger::MysqlX),
            (b"E\0\0\0\x20SFATAL\0", Stranger::Postgres),
            (b"N", Stranger::Postgres),
            (b"\x15\x03\x01\0\x02\x02\x46", Stranger::Tls),
            (
                b"HTTP/1.1 400 Bad Request\r\nx",
                line("HTTP/1.1 400 Bad Request"),
            ),
            (b"SSH-2.0-OpenSSH_9\r\n", line("SSH-2.0-OpenSSH_9")),
            (b"\x1b[31m\n", bytes("1b 5b 33 31 6d 0a")),
            (&[7; 9], bytes("07 07 07 07 07 07 07 07 ...")),
            (b"\n", bytes("0a")),
        ];
        for (said, stranger) in table {
            assert_eq!(Stranger::of(said), stranger, "{said:x?}");
        }
    }

    #[test]
    fn a_wrong_guess_is_told_with_the_right_protocol() {
        let told = Stranger::Mysql.told(Protocol::Tcp);
        assert!(told.ends_with("use --protocol mysql"), "{told}");
        let told = Stranger::Tls.told(Protocol::Postgres);
        assert!(told.ends_with("use --protocol tcp"), "{told}");
        let long = Stranger::of(&[b'x'; 500]).told(Protocol::Tcp);
        assert!(long.len() < 120, "{long}");
    }
}
