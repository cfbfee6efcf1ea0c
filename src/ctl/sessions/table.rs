//! Sessions as people read them.

use std::time::Duration;

use jiff::Timestamp;

use super::document::{client, idle};
use crate::{
    ctl::render::{Cell, Paint, Table, Tone, bytes, duration, one_line, shortened},
    facts::{Selection, SessionEntry, SessionList, SessionState, amount},
};

/// What a column shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Id,
    Listener,
    Client,
    User,
    Certificate,
    Tls,
    Generation,
    Age,
    Idle,
    Takeovers,
    Up,
    Down,
    Backend,
}

/// All columns from left to right.
const ALL: [Column; 13] = [
    Column::Id,
    Column::Listener,
    Column::Client,
    Column::User,
    Column::Certificate,
    Column::Tls,
    Column::Generation,
    Column::Age,
    Column::Idle,
    Column::Takeovers,
    Column::Up,
    Column::Down,
    Column::Backend,
];

/// Those that are left out of a narrow terminal, the first one first; `--json` has all.
const DISPENSABLE: [Column; 9] = [
    Column::Takeovers,
    Column::Tls,
    Column::Certificate,
    Column::Backend,
    Column::Generation,
    Column::Down,
    Column::Up,
    Column::Listener,
    Column::User,
];

/// The space between columns.
const GAP: usize = 2;

impl Column {
    fn heading(self) -> &'static str {
        match self {
            Self::Id => "ID",
            Self::Listener => "LISTENER",
            Self::Client => "CLIENT",
            Self::User => "USER",
            Self::Certificate => "CERTIFICATE",
            Self::Tls => "TLS",
            Self::Generation => "GEN",
            Self::Age => "AGE",
            Self::Idle => "IDLE",
            Self::Takeovers => "TAKEN OVER",
            Self::Up => "UP",
            Self::Down => "DOWN",
            Self::Backend => "BACKEND",
        }
    }

    /// Returns the most characters of a text in it.
    fn most(self) -> usize {
        match self {
            Self::Listener | Self::User => 16,
            Self::Certificate | Self::Backend => 24,
            _ => usize::MAX,
        }
    }

    /// Returns what it shows of a session.
    fn text(self, entry: &SessionEntry, now: Timestamp) -> String {
        let or_none = |text: Option<&str>| text.unwrap_or("-").to_owned();
        let text = match self {
            Self::Id => entry.id.to_string(),
            Self::Listener => entry.listener.clone(),
            Self::Client => client(entry.client),
            Self::User => or_none(entry.user.as_deref()),
            Self::Certificate => or_none(entry.client_cert.as_ref().map(|it| &*it.subject)),
            Self::Tls => or_none(entry.tls.as_ref().map(|it| &*it.version)),
            Self::Generation => entry.generation.to_string(),
            Self::Age => duration(age(entry, now)),
            Self::Idle => match entry.state {
                SessionState::Opening => "opening".to_owned(),
                SessionState::Established => duration(idle(entry)),
            },
            Self::Takeovers => entry.takeovers.to_string(),
            Self::Up => bytes(entry.bytes_up),
            Self::Down => bytes(entry.bytes_down),
            Self::Backend => or_none(entry.backend.as_deref()),
        };
        shortened(&one_line(&text), self.most())
    }
}

fn age(entry: &SessionEntry, now: Timestamp) -> Duration {
    let age = now.duration_since(entry.started_at);
    Duration::try_from(age).unwrap_or_default()
}

/// Returns a table of sessions that fits into a terminal of this width, if there is one, and how many they are.
pub(super) fn text(
    list: &SessionList,
    selection: &Selection,
    paint: Paint,
    width: Option<usize>,
) -> String {
    if list.sessions.is_empty() {
        let text = if selection.is_all() {
            "No session is open.\n"
        } else {
            "No open session matches the options.\n"
        };
        return text.to_owned();
    }
    let number = amount(list.sessions.len() as u64, "session");
    format!("{}{number}\n", rows(&list.sessions, paint, width))
}

/// Returns a table of sessions that fits into a terminal of this width, if there is one.
pub(super) fn rows(sessions: &[SessionEntry], paint: Paint, width: Option<usize>) -> String {
    table(sessions, Timestamp::now(), width).text(paint)
}

fn table(sessions: &[SessionEntry], now: Timestamp, width: Option<usize>) -> Table {
    let cells = |column: Column| sessions.iter().map(move |it| column.text(it, now));
    let mut columns: Vec<(Column, Vec<String>)> = Vec::new();
    for column in ALL {
        columns.push((column, cells(column).collect()));
    }
    if let Some(width) = width {
        fit(&mut columns, width);
    }
    let headings: Vec<&str> = columns.iter().map(|(it, _)| it.heading()).collect();
    let mut table = Table::new(&headings);
    for row in 0..sessions.len() {
        table.row(
            columns
                .iter()
                .map(|(_, texts)| Cell::new(&texts[row], Tone::Plain)),
        );
    }
    table
}

/// Takes columns out until the rest fits.
fn fit(columns: &mut Vec<(Column, Vec<String>)>, width: usize) {
    for dispensable in DISPENSABLE {
        let needed = columns.iter().map(|(column, texts)| {
            let texts = texts.iter().map(|it| it.chars().count());
            GAP + texts.max().unwrap_or(0).max(column.heading().len())
        });
        if needed.sum::<usize>() <= width {
            return;
        }
        columns.retain(|(column, _)| *column != dispensable);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{SessionCertificate, SessionId, SessionTls};

    fn now() -> Timestamp {
        Timestamp::from_second(1_000_000).unwrap()
    }

    fn entry() -> SessionEntry {
        SessionEntry {
            id: SessionId {
                origin: 0x1_8c9f_2a3b_4d5e,
                number: 26,
            },
            state: SessionState::Established,
            listener: "orders".to_owned(),
            client: "[::ffff:192.0.2.7]:4711".parse().ok(),
            via: None,
            backend: Some("db1.example.org:3306".to_owned()),
            user: Some("app".to_owned()),
            tls: Some(SessionTls {
                version: "TLSv1.3".to_owned(),
                suite: "TLS_AES_128_GCM_SHA256".to_owned(),
            }),
            client_cert: Some(SessionCertificate {
                subject: "CN=orders service,O=Example".to_owned(),
                sha256: "ab".repeat(32),
            }),
            generation: 3,
            started_at: Timestamp::from_second(1_000_000 - 3 * 3600).unwrap(),
            idle_ms: 200,
            bytes_up: 1280,
            bytes_down: 3 << 30,
            takeovers: 2,
        }
    }

    fn lines(entries: &[SessionEntry], width: Option<usize>) -> Vec<String> {
        let text = table(entries, now(), width).text(Paint::new(false));
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_session_is_a_line() {
        let opening = SessionEntry {
            state: SessionState::Opening,
            client: None,
            backend: None,
            user: None,
            tls: None,
            client_cert: None,
            ..entry()
        };
        assert_eq!(
            lines(&[entry(), opening], None),
            [
                "  ID                LISTENER  CLIENT          USER  CERTIFICATE               TLS      GEN  AGE  IDLE     TAKEN OVER  UP    DOWN  BACKEND",
                "  18c9f2a3b4d5e-1a  orders    192.0.2.7:4711  app   CN=orders service,O=Exa…  TLSv1.3  3    3h   0.2s     2           1.2K  3.0G  db1.example.org:3306",
                "  18c9f2a3b4d5e-1a  orders    unix            -     -                         -        3    3h   opening  2           1.2K  3.0G  -",
            ]
        );
    }

    #[test]
    fn a_narrow_terminal_has_fewer_columns() {
        for width in [80, 100, 120, 200] {
            for line in lines(&[entry()], Some(width)) {
                assert!(line.chars().count() <= width, "{width}: {line}");
                assert!(line.contains("ID") || line.contains("18c9f2a3b4d5e-1a"));
            }
        }
        assert!(lines(&[entry()], Some(80))[0].contains("USER"));
        assert!(lines(&[entry()], Some(10))[1].contains("192.0.2.7:4711"));
    }

    #[test]
    fn a_name_cannot_look_like_another_line() {
        let hostile = SessionEntry {
            user: Some("\x1b[2J\nroot\u{202e}".to_owned()),
            ..entry()
        };
        let lines = lines(&[hostile], None);
        assert_eq!(lines.len(), 2);
        assert!(lines[1].contains("\\u{1b}[2J\\nroot"), "{lines:?}");
    }
}
