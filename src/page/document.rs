//! A status in memory, with the texts that clients share.

use std::{cell::OnceCell, io, os::fd::OwnedFd, sync::Arc};

use hyper::body::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::metrics;
use crate::{
    control::{
        Status, SupervisorState,
        wire::{self, MAX_RESPONSE},
    },
    sys::sealed::Sealed,
};

/// A status, and the texts that were made from it. Each text is made once, when a client first wants it.
#[derive(Debug)]
pub(super) struct Document {
    status: Status,
    metrics: OnceCell<Bytes>,
    overview: OnceCell<Bytes>,
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

impl Document {
    /// Reads a status, which takes a place among the documents in memory.
    pub(super) fn read(memory: OwnedFd, place: OwnedSemaphorePermit) -> io::Result<Self> {
        let memory = Sealed::from_descriptor(memory)?;
        let length = usize::try_from(memory.length().min(MAX_RESPONSE)).unwrap_or(usize::MAX);
        let bytes = memory.read(0, length)?;
        let status = wire::decode(&bytes, MAX_RESPONSE).map_err(io::Error::other)?;
        Ok(Self {
            status,
            metrics: OnceCell::new(),
            overview: OnceCell::new(),
            place: Arc::new(place),
        })
    }

    /// Returns whether the daemon serves.
    pub(super) fn serves(&self) -> bool {
        self.status.supervisor.state == SupervisorState::Serving
    }

    /// Returns the metrics.
    pub(super) fn metrics(&self) -> Bytes {
        self.text(&self.metrics, metrics::render)
    }

    /// Returns the text for people.
    pub(super) fn overview(&self) -> Bytes {
        self.text(&self.overview, metrics::overview)
    }

    fn text(&self, cell: &OnceCell<Bytes>, make: fn(&Status) -> String) -> Bytes {
        let text = cell.get_or_init(|| {
            Bytes::from_owner(Text {
                text: make(&self.status),
                _place: Arc::clone(&self.place),
            })
        });
        text.clone()
    }
}
