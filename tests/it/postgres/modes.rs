//! The settings of libpq, all combinations of them, against the tables in `docs/databases.md`.

use std::{collections::HashMap, fs};

use crate::support::{
    front::{Front, SAME_LEAF_LEGS as LEGS},
    servers::{Server, postgres, postgres_newer, python},
};

/// Connects with every combination over every leg, and says how each ended.
const PROGRAM: &str = "
import itertools, psycopg, sys
ca, server_ca, user, password, database, *legs = sys.argv[1:]
# By rank: where libpq also tries without TLS, that attempt is no news.
ENDS = {
    'channel binding does not work here': 'refused by proxyd',
    'SCRAM channel binding check failed': 'refused by the server',
    'channel binding': 'refused by libpq',
    'weak sslmode': 'refused by libpq',
    'GSSAPI': 'refused by libpq',
    'connections without TLS are not allowed here': 'refused by proxyd',
}
for leg, sslmode, negotiation, binding, gss in itertools.product(
        legs, ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'],
        ['postgres', 'direct'], ['disable', 'prefer', 'require'], ['disable', 'prefer', 'require']):
    name, port = leg.split('/')
    try:
        with psycopg.connect(host='localhost', port=port, user=user, password=password,
                             dbname=database, sslmode=sslmode, sslnegotiation=negotiation,
                             channel_binding=binding, gssencmode=gss,
                             sslrootcert=server_ca if name == 'same-leaf' else ca) as connection:
            end = 'works' if connection.pgconn.ssl_in_use else 'plaintext'
    except psycopg.OperationalError as error:
        words = str(error)
        end = next((end for text, end in ENDS.items() if text in words), words)
    print(name, sslmode, negotiation, binding, gss, end, sep='|')
";

/// The tables of the document, by what their headers say.
struct Tables {
    tls: HashMap<(String, String), String>,
    binding: HashMap<(String, &'static str), String>,
    gss: HashMap<String, String>,
}

impl Tables {
    fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/databases.md");
        let text = fs::read_to_string(path).unwrap();
        let tls = rows(&text, "| sslmode |");
        let binding = rows(&text, "| channel_binding |");
        let gss = rows(&text, "| gssencmode |");
        Self {
            tls: tls
                .map(|row| ((row[0].clone(), row[1].clone()), row[2].clone()))
                .collect(),
            binding: binding
                .flat_map(|row| {
                    let cells = LEGS.into_iter().zip(row[1..].to_vec());
                    cells.map(move |(leg, cell)| ((row[0].clone(), leg), cell))
                })
                .collect(),
            gss: gss.map(|row| (row[0].clone(), row[1].clone())).collect(),
        }
    }

    /// Returns how a connection ends: by whoever refuses it first.
    fn outcome(&self, leg: &'static str, [sslmode, negotiation, binding, gss]: [&str; 4]) -> &str {
        let tls = &self.tls[&(sslmode.to_owned(), negotiation.to_owned())];
        let gss = &self.gss[gss];
        let binding = &self.binding[&(binding.to_owned(), leg)];
        [gss, tls, binding]
            .into_iter()
            .find(|outcome| *outcome != "works")
            .map_or("works", String::as_str)
    }
}

/// Returns the cells of the table whose header begins so.
fn rows<'text>(text: &'text str, header: &str) -> impl Iterator<Item = Vec<String>> + 'text {
    let (_, rest) = text
        .split_once(&format!("\n{header}"))
        .unwrap_or_else(|| panic!("there is a table {header}"));
    let lines = rest.lines().skip(2);
    lines.take_while(|line| line.starts_with('|')).map(|line| {
        let cells = line.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().to_owned()).collect()
    })
}

/// What listeners say about clients without TLS.
#[derive(Clone, Copy, PartialEq)]
enum Plaintext {
    Preferred,
    Required,
}

impl Plaintext {
    fn front(self, server: &Server) -> Front {
        match self {
            Self::Required => Front::with_same_leaf(server, ""),
            Self::Preferred => Front::with_same_leaf(server, "tls = { mode = \"preferred\" }"),
        }
    }

    /// Returns how a connection ends.
    fn outcome<'it>(self, tables: &'it Tables, leg: &'static str, settings: [&str; 4]) -> &'it str {
        match settings {
            [
                "disable" | "allow",
                "postgres",
                "disable" | "prefer",
                "disable" | "prefer",
            ] if self == Self::Preferred => "plaintext",
            // Whether it then tries TLS too is libpq's affair.
            ["disable" | "allow", "postgres", "require", _] if self == Self::Preferred => {
                "refused by libpq"
            }
            _ => match (settings, tables.outcome(leg, settings)) {
                // Refused with TLS, it tries without.
                (["prefer", _, "prefer", _], "refused by proxyd") if self == Self::Preferred => {
                    "plaintext"
                }
                (_, outcome) => outcome,
            },
        }
    }
}

fn every_combination_ends_as_the_document_says(server: &Server, plaintext: Plaintext) {
    let front = plaintext.front(server);
    let tables = Tables::read();
    let (ca, server_ca) = (front.ca_file.to_str().unwrap(), server.ca.to_str().unwrap());
    let legs = LEGS.map(|leg| format!("{leg}/{}", front.port(leg)));
    let mut arguments = vec![ca, server_ca, server.user, server.password, server.database];
    arguments.extend(legs.iter().map(String::as_str));
    let ticket = front.daemon.path("ticket");
    let program = [TICKET, PROGRAM].concat();
    arguments.insert(0, ticket.to_str().unwrap());
    let Some(outcome) = python(&program, &arguments) else {
        return;
    };
    let mut wrong = Vec::new();
    let answer = outcome.answer();
    for line in answer.lines() {
        let parts: Vec<_> = line.split('|').collect();
        let [leg, settings @ .., end] = &parts[..] else {
            panic!("{line}");
        };
        let leg = LEGS.into_iter().find(|it| it == leg).unwrap();
        let settings = settings.try_into().unwrap();
        let expected = plaintext.outcome(&tables, leg, settings);
        if expected != *end {
            wrong.push(format!("{line}, where the document says {expected:?}"));
        }
    }
    assert_eq!(answer.lines().count(), 4 * 6 * 2 * 3 * 3);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_combination_ends_as_the_document_says_at_postgresql() {
    let Some(server) = postgres() else { return };
    every_combination_ends_as_the_document_says(&server, Plaintext::Required);
}

#[test]
fn every_combination_ends_as_the_document_says_where_tls_is_preferred() {
    let Some(server) = postgres() else { return };
    every_combination_ends_as_the_document_says(&server, Plaintext::Preferred);
}

#[test]
fn every_combination_ends_as_the_document_says_at_a_newer_postgresql() {
    let Some(server) = postgres_newer() else {
        return;
    };
    every_combination_ends_as_the_document_says(&server, Plaintext::Required);
}

/// Makes a Kerberos ticket that no server would take, so that libpq asks for GSSAPI encryption at all.
///
/// The file is a credential cache of version 4, as MIT Kerberos' documentation describes it.
const TICKET: &str = "
import os, struct, sys, time
def data(content):
    return struct.pack('>I', len(content)) + content
def principal(kind, *parts):
    return struct.pack('>II', kind, len(parts)) + b''.join(map(data, (b'EXAMPLE.TEST', *parts)))
now = int(time.time())
me = principal(1, b'me')
ticket = (me + principal(2, b'krbtgt', b'EXAMPLE.TEST') + struct.pack('>H', 18) + data(bytes(32))
          + struct.pack('>IIII', now, now, now + 86400, 0) + bytes(1) + struct.pack('>III', 0, 0, 0)
          + data(b'ticket') + data(b''))
path = sys.argv.pop(1)
with open(path, 'wb') as file:
    file.write(bytes([5, 4, 0, 0]) + me + ticket)
with open(path + '.conf', 'w') as file:
    file.write('[libdefaults]\\ndefault_realm = EXAMPLE.TEST\\ndns_lookup_kdc = false\\n')
os.environ['KRB5CCNAME'] = 'FILE:' + path
os.environ['KRB5_CONFIG'] = path + '.conf'
";
