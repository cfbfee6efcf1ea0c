//! How a backend of MySQL is made ready: it greets.

use super::{Phase, pending_login::PendingLogin, reader::Reader};
use crate::{
    session::leg::Leg,
    worker::{
        backends::BackendError,
        connect::{Connector, Target, hear},
    },
};

/// Waits for the greeting.
pub(super) struct Greeted;

impl Connector for Greeted {
    async fn prepare(&self, _: &Target, backend: &mut Leg) -> Result<(), BackendError> {
        hear(backend, "greeting").await
    }

    /// TLS begins with the client's login, and only that shows whether the backend is good for it.
    fn is_proof(&self, target: &Target) -> bool {
        !target.has_tls()
    }

    fn awaited(&self, _: &Target, _: &Leg) -> Phase {
        Phase::Greeting
    }

    /// It may greet yet, and count who does not answer.
    fn leave(&self, target: Target, backend: Leg) {
        drop(PendingLogin::new(target, Reader::new(backend)));
    }
}
