//! How a backend of MySQL is made ready: it greets.

use super::{reader::Reader, visit::Visit};
use crate::{
    session::leg::Leg,
    worker::{
        backends::BackendError,
        connect::{Connector, hear},
        deadline::Phase,
        opening::Context,
    },
};

/// Waits for the greeting.
pub(super) struct Greeted;

impl Connector for Greeted {
    async fn prepare(&self, _: &Context, backend: &mut Leg) -> Result<(), BackendError> {
        hear(backend, "greeting").await
    }

    /// TLS begins with the client's login, and only that shows whether the backend is good for it.
    fn is_proof(&self, context: &Context) -> bool {
        !context.has_backend_tls()
    }

    fn awaited(&self, _: &Context, _: &Leg) -> Phase {
        Phase::Greeting
    }

    /// It may greet yet, and count who does not answer.
    fn leave(&self, context: &Context, backend: Leg) {
        drop(Visit::new(context, Reader::new(backend)));
    }
}
