//! The list of a fleet: an address a line, with what is special about it.

use super::target::{Name, Target, TargetError};
use crate::protocol::Protocol;

/// The longest list that is read, in bytes.
pub const LONGEST: u64 = 16 << 20;

/// Why a line of a list makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct LineError {
    /// Its number, from 1.
    pub line: usize,
    /// Why.
    pub why: LineFault,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// Its first word is no address.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A word after the address is none that is known.
    #[error("`{0}` makes no sense after an address; only protocol= and name= may follow")]
    Word(String),
    /// It names no protocol.
    #[error("`{0}` is no protocol; write mysql, postgres or tcp")]
    Protocol(String),
    /// It is not text.
    #[error("it is not UTF-8 text")]
    NotText,
}

/// Reads a list: `ADDR [protocol=PROTOCOL] [name=NAME]` a line. What follows a word that begins with `#` is left
/// out. `protocol` and `name` are for lines that say none.
pub fn parse(
    list: &[u8],
    protocol: Option<Protocol>,
    name: Option<&Name>,
) -> Result<Vec<Target>, LineError> {
    let list = list.strip_prefix(b"\xef\xbb\xbf").unwrap_or(list);
    let mut targets = Vec::new();
    for (index, line) in list.split(|byte| *byte == b'\n').enumerate() {
        let target = parse_line(line, protocol, name).map_err(|why| LineError {
            line: index + 1,
            why,
        })?;
        targets.extend(target);
    }
    Ok(targets)
}

fn parse_line(
    line: &[u8],
    mut protocol: Option<Protocol>,
    name: Option<&Name>,
) -> Result<Option<Target>, LineFault> {
    let line = std::str::from_utf8(line).map_err(|_| LineFault::NotText)?;
    let mut words = line
        .split_whitespace()
        .take_while(|word| !word.starts_with('#'));
    let Some(address) = words.next() else {
        return Ok(None);
    };
    let mut own_name = None;
    for word in words {
        match word.split_once('=') {
            Some(("protocol", text)) => {
                let named = text.parse();
                protocol = Some(named.map_err(|_| LineFault::Protocol(text.to_owned()))?);
            }
            Some(("name", text)) => {
                let parsed: Name = text.parse().map_err(TargetError::from)?;
                own_name = Some(parsed);
            }
            _ => return Err(LineFault::Word(word.to_owned())),
        }
    }
    let name = own_name.as_ref().or(name);
    Ok(Some(Target::parse(address, protocol, name)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::target::written, *};

    #[test]
    fn each_line_is_a_server_with_what_is_special_about_it() {
        let list = "\u{feff}# the fleet\n\ndb1:3306\r\n  db2:3307 protocol=tcp # moved\n\
                    10.0.0.3 name=db3.example protocol=postgres\n\tunix:/run/x\n";
        let targets = parse(list.as_bytes(), None, None).unwrap();
        let told = targets.iter().map(|it| {
            let name = it.name.as_ref().map(written).unwrap_or_default();
            format!("{it} {} {name}", it.protocol)
        });
        assert_eq!(
            told.collect::<Vec<_>>(),
            [
                "db1:3306 mysql db1",
                "db2:3307 tcp db2",
                "10.0.0.3:5432 postgres db3.example",
                "unix:/run/x tcp ",
            ]
        );
    }

    #[test]
    fn options_are_for_lines_that_say_nothing_else() {
        let name = "db.example".parse().unwrap();
        let list = b"db1\ndb2:1 protocol=tcp name=own.example";
        let targets = parse(list, Some(Protocol::Mysql), Some(&name)).unwrap();
        let told: Vec<_> = targets
            .iter()
            .map(|it| (it.protocol, it.name.as_ref().map(written).unwrap()))
            .collect();
        assert_eq!(
            told,
            [
                (Protocol::Mysql, "db.example".to_owned()),
                (Protocol::Tcp, "own.example".to_owned())
            ]
        );
    }

    #[test]
    fn a_bad_line_is_told_with_its_number() {
        for (line, why) in [
            ("db", "line 2: `db` has no port"),
            ("db:1 name=a..b", "line 2: `a..b` is neither"),
            ("db:1 port=2", "line 2: `port=2` makes no sense"),
            ("db:1 protocol=http", "line 2: `http` is no protocol"),
        ] {
            let list = format!("ok:1\n{line}\n");
            let error = parse(list.as_bytes(), None, None).unwrap_err();
            assert!(error.to_string().starts_with(why), "{error}");
        }
        let error = parse(b"\n\n\xff:1", None, None).unwrap_err();
        assert_eq!((error.line, error.why), (3, LineFault::NotText));
    }

    proptest! {
        #[test]
        fn any_list_is_read_or_refused(list: Vec<u8>) {
            if let Ok(targets) = parse(&list, Some(Protocol::Mysql), None) {
                prop_assert!(targets.len() <= list.len());
            }
        }
    }
}
