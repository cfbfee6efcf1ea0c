//! Which servers to ask from outside, and what is expected there.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueHint};

use super::{Threshold, duration, warns_too_late};
use crate::{probe::target::Name, protocol::Protocol};

pub(super) const HELP: &str = "\
Critical: a server is not reachable, offers no TLS or only versions before 1.2, its certificate does
not verify, is not the expected one, or is at its critical threshold.
Warning: the certificate is at its warning threshold, or some clients may refuse what is sent with
it.
The worst server decides. The first line is for monitoring systems, and a table follows.

No account is needed: once TLS has begun, the connection is ended. MySQL and MariaDB would refuse a
host after some of these, and so refuse a login as proxyd.probe first, which they may log.

Each line of the file of --hosts is an address; protocol= and name= may follow where they differ
from the options. What follows a # is left out:
  db1.example:3306
  10.0.0.7:5432 name=db7.example        # not in DNS yet
  [2001:db8::7]:9000 protocol=mysql

Examples:
  proxyctl probe db1.example:3306 db2.example:5432 www.example:443
  proxyctl probe --ca ca.pem --expect new.pem --hosts fleet.txt
  proxyctl probe --protocol postgres --name db.example 10.0.0.7

Exit status:
  0  Ok
  1  Warning
  2  Critical, or the arguments make no sense
  3  Unknown, because no server could be asked: a file cannot be read or makes no sense";

/// Arguments of `probe`.
#[expect(
    clippy::doc_markdown,
    reason = "clap shows these comments as they are, so they hold no Markdown"
)]
#[derive(Debug, Args)]
pub struct Probe {
    /// How TLS begins there [default: as is usual at the port]
    ///
    /// mysql is for MariaDB too, and tcp for TLS that begins with the first byte. Usual are mysql at the ports 3306 to
    /// 3309 and 33060, postgres at 5432, 5433 and 6432, and tcp elsewhere.
    #[arg(long)]
    pub protocol: Option<Protocol>,

    /// Trust the authorities in this file of PEM instead of the system's
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub ca: Option<PathBuf>,

    /// The name that certificates must hold, and that is asked for [default: the host of ADDR]
    #[arg(long, value_name = "NAME")]
    pub name: Option<Name>,

    /// The certificate that servers must show: its SHA-256, or a file that begins with it
    ///
    /// The SHA-256 is in hexadecimal, with or without colons, and the file in PEM or DER.
    #[arg(long, value_name = "SHA256|FILE", value_hint = ValueHint::FilePath)]
    pub expect: Option<String>,

    /// Warn when a certificate has this left: 30d, 12h, or 33% of its lifetime
    ///
    /// The default is a third of its lifetime. It is that of the certificate that ends first of those that the server
    /// sends and clients follow.
    #[arg(long, value_name = "LEFT")]
    pub warn: Option<Threshold>,

    /// The same, for the critical state
    ///
    /// The default is a tenth of its lifetime.
    #[arg(long, value_name = "LEFT")]
    pub critical: Option<Threshold>,

    /// Ask the servers of this file too, one a line; - is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub hosts: Option<PathBuf>,

    /// The servers: host:port, unix:/path, or a host alone if --protocol says the port
    ///
    /// An IPv6 address is written in brackets. All addresses of a name are asked.
    #[arg(value_name = "ADDR", value_hint = ValueHint::Hostname, required_unless_present = "hosts")]
    pub addresses: Vec<String>,

    /// How long each server may take [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(super) timeout: Option<Duration>,
}

impl Probe {
    /// Whether the warning would come after what it is to warn of.
    #[must_use]
    pub fn warns_too_late(&self) -> bool {
        warns_too_late(self.warn, self.critical)
    }
}
