//! Which sessions are shown or ended.

use std::{collections::BTreeSet, time::Duration};

use clap::Args;

use super::{Timeout, age};
use crate::facts::{Fingerprint, MOST_IDS, MOST_LISTED, Network, Selection, SessionId};

/// What sessions have in common.
#[derive(Debug, Clone, Default, Args)]
#[group(id = "filters", multiple = true)]
pub struct Filters {
    /// Sessions of this listener
    #[arg(long, value_name = "NAME")]
    pub listener: Option<String>,

    /// Sessions whose client has an address in this network, such as 10.0.0.0/8 or 192.0.2.7
    ///
    /// Behind a load balancer that sends PROXY headers, this is the address in the header.
    #[arg(long, value_name = "CIDR")]
    pub client: Option<Network>,

    /// Sessions whose client connected longer ago than this: 30m, 12h or 7d
    #[arg(long, value_name = "DURATION", value_parser = age)]
    pub older_than: Option<Duration>,

    /// Sessions whose TLS handshake used a generation before this one
    #[arg(long, value_name = "NUMBER")]
    pub generation_before: Option<u64>,

    /// Sessions whose client showed the certificate with this SHA-256
    #[arg(long, value_name = "SHA256")]
    pub client_cert: Option<Fingerprint>,
}

impl Filters {
    /// Returns the sessions for which all of these hold.
    #[must_use]
    pub fn selection(&self) -> Selection {
        Selection {
            ids: BTreeSet::new(),
            listener: self.listener.clone(),
            client: self.client,
            older_than: self.older_than,
            generation_before: self.generation_before,
            client_cert: self.client_cert,
        }
    }
}

/// Arguments of `sessions`.
#[derive(Debug, Args)]
pub struct Sessions {
    /// Which sessions to show
    #[command(flatten)]
    pub filters: Filters,

    /// Show at most this many sessions, the oldest
    #[arg(long, value_name = "NUMBER", default_value_t = MOST_LISTED, value_parser = clap::value_parser!(u64).range(1..=MOST_LISTED))]
    pub limit: u64,

    /// Show them again every second, until Ctrl-C
    #[arg(long)]
    pub watch: bool,

    #[command(flatten)]
    pub(super) timeout: Timeout,
}

/// Arguments of `end`.
#[derive(Debug, Args)]
pub struct End {
    /// The ids of the sessions, as `sessions` shows them
    #[arg(value_name = "ID", conflicts_with = "filters", required_unless_present = "filters", num_args = 1..=MOST_IDS)]
    ids: Vec<SessionId>,

    #[command(flatten)]
    filters: Filters,

    /// Show which sessions would be ended, and end none
    #[arg(long)]
    pub dry_run: bool,

    #[command(flatten)]
    pub(super) timeout: Timeout,
}

impl End {
    /// Returns which sessions are to be ended.
    #[must_use]
    pub fn selection(&self) -> Selection {
        Selection {
            ids: self.ids.iter().copied().collect(),
            ..self.filters.selection()
        }
    }
}
