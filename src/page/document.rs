//! A status in memory, with the texts that clients share.

use std::{cell::OnceCell, io, os::fd::OwnedFd, sync::Arc};

use hyper::body::Bytes;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    metrics::{self, Format},
    people::{self, Query, View},
    recent::Recent,
};
use crate::{
    control::{
        Status, SupervisorState,
        wire::{self, MAX_RESPONSE},
    },
    sys::sealed::Sealed,
};

/// A status, and the metrics that were made from it, once, when a client first wanted them.
#[derive(Debug)]
pub(super) struct Document {
    status: Status,
    open_metrics: OnceCell<Bytes>,
    classic: OnceCell<Bytes>,
    place: Arc<OwnedSemaphorePermit>,
}

/// A text in memory, with the place that its document takes until no client needs the text.
struct Text {
    text: String,
    _place: Arc<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

/// Reads a message that the supervisor has written into memory.
pub(super) fn read<T: DeserializeOwned>(memory: OwnedFd) -> io::Result<T> {
    let memory = Sealed::from_descriptor(memory)?;
    let length = usize::try_from(memory.length().min(MAX_RESPONSE)).unwrap_or(usize::MAX);
    let bytes = memory.read(0, length)?;
    wire::decode(&bytes, MAX_RESPONSE).map_err(io::Error::other)
}

impl Document {
    /// Reads a status, which takes a place among the documents in memory.
    pub(super) fn read(memory: OwnedFd, place: OwnedSemaphorePermit) -> io::Result<Self> {
        Ok(Self {
            status: read(memory)?,
            open_metrics: OnceCell::new(),
            classic: OnceCell::new(),
            place: Arc::new(place),
        })
    }

    /// Returns whether the daemon serves.
    pub(super) fn serves(&self) -> bool {
        self.status.supervisor.state == SupervisorState::Serving
    }

    /// Returns the metrics in this format.
    pub(super) fn metrics(&self, format: Format) -> Bytes {
        let cell = match format {
            Format::OpenMetrics => &self.open_metrics,
            Format::Classic => &self.classic,
        };
        let text = cell.get_or_init(|| self.text(metrics::render(&self.status, format)));
        text.clone()
    }

    /// Returns the page for people that is asked for.
    pub(super) fn page(&self, query: &Query, host: &str, recent: &Recent) -> Bytes {
        self.text(people::render(&View {
            status: &self.status,
            query,
            host,
            recent,
            now: Timestamp::now(),
        }))
    }

    fn text(&self, text: String) -> Bytes {
        Bytes::from_owner(Text {
            text,
            _place: Arc::clone(&self.place),
        })
    }
}
