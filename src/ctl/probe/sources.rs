//! The files that a probe is told of.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use crate::{
    cli::proxyctl::Probe,
    ctl::CtlError,
    facts::Fingerprint,
    probe::{
        Target,
        failure::words,
        hosts::{self, LineError},
    },
    store::client::{self, NoAuthorities, NoCertificate},
    tls::observe::Judge,
};

/// The longest file of certificates that is read, in bytes.
const LONGEST: u64 = 16 << 20;

/// What the files say.
pub(super) struct Sources {
    pub(super) hosts: Vec<Target>,
    pub(super) judge: Judge,
    pub(super) expected: Option<Fingerprint>,
}

/// Why no server can be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error("{option} {}: {}", path.display(), words(source))]
    Unreadable {
        option: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("--hosts {}: {source}", path.display())]
    Line { path: PathBuf, source: LineError },
    #[error("--ca {}: {source}", path.display())]
    Ca {
        path: PathBuf,
        source: NoAuthorities,
    },
    #[error(
        "the authorities of this system cannot be used: {0}; name those of the servers by --ca"
    )]
    System(NoAuthorities),
    #[error("the authorities cannot be used: {0}")]
    Trust(rustls::Error),
    #[error(
        "--expect {text}: {}; write the SHA-256 of a certificate, or the path of its file",
        words(source)
    )]
    NotThere { text: String, source: io::Error },
    #[error("--expect {text}: {source}")]
    Expect { text: String, source: NoCertificate },
}

/// Reads the addresses of the command line.
pub(super) fn targets(how: &Probe) -> Result<Vec<Target>, CtlError> {
    let parse = |text: &String| Target::parse(text, how.protocol, how.name.as_ref());
    let targets = how.addresses.iter().map(parse);
    targets
        .collect::<Result<_, _>>()
        .map_err(CtlError::ProbeTarget)
}

/// Reads all files.
pub(super) fn read(how: &Probe) -> Result<Sources, SourceError> {
    Ok(Sources {
        hosts: hosts(how)?,
        expected: how.expect.as_deref().map(expected).transpose()?,
        judge: judge(how.ca.as_deref())?,
    })
}

fn hosts(how: &Probe) -> Result<Vec<Target>, SourceError> {
    let Some(path) = &how.hosts else {
        return Ok(Vec::new());
    };
    let list = if path.as_os_str() == "-" {
        read_at_most(io::stdin().lock(), hosts::LONGEST)
    } else {
        read_file(path, hosts::LONGEST)
    };
    let list = list.map_err(|source| unreadable("--hosts", path, source))?;
    hosts::parse(&list, how.protocol, how.name.as_ref()).map_err(|source| SourceError::Line {
        path: path.clone(),
        source,
    })
}

fn expected(text: &str) -> Result<Fingerprint, SourceError> {
    if let Ok(fingerprint) = text.parse() {
        return Ok(fingerprint);
    }
    let text = text.to_owned();
    match read_file(Path::new(&text), LONGEST) {
        Ok(file) => {
            client::first_certificate(&file).map_err(|source| SourceError::Expect { text, source })
        }
        Err(source) => Err(SourceError::NotThere { text, source }),
    }
}

fn judge(ca: Option<&Path>) -> Result<Judge, SourceError> {
    let authorities = match ca {
        None => client::system_authorities().map_err(SourceError::System)?,
        Some(path) => {
            let text =
                read_file(path, LONGEST).map_err(|source| unreadable("--ca", path, source))?;
            client::authorities(&text).map_err(|source| SourceError::Ca {
                path: path.to_owned(),
                source,
            })?
        }
    };
    Judge::new(&authorities).map_err(SourceError::Trust)
}

fn unreadable(option: &'static str, path: &Path, source: io::Error) -> SourceError {
    SourceError::Unreadable {
        option,
        path: path.to_owned(),
        source,
    }
}

fn read_file(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_at_most(File::open(path)?, most)
}

/// Reads to the end, which may be that of a pipe.
fn read_at_most(input: impl io::Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let why = format!(
            "it holds more than {} MiB, the most that is read",
            most >> 20
        );
        return Err(io::Error::other(why));
    }
    Ok(bytes)
}
