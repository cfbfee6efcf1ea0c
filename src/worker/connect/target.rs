//! The backend that a session talks to, or tries to.

use std::{sync::Arc, time::Instant};

use tracing::{field::display, info, warn};

use crate::{
    config::Address,
    tls::stream::{TlsError, TlsStream},
    worker::{
        backends::{Attempt, BackendError, News, Way},
        context::Context,
        deadline::Deadline,
        service::Service,
    },
};

/// The backend that a session talks to, or tries to.
#[derive(Debug)]
pub struct Target {
    /// What is fixed while the session is opened.
    pub context: Arc<Context>,
    /// The backend's position among the listener's.
    position: usize,
    /// The attempt to reach it, as long as it is not known how that ends.
    trial: Option<Trial>,
}

/// An attempt to reach a backend that has not ended.
#[derive(Debug, Clone, Copy)]
struct Trial {
    attempt: Attempt,
    /// The address to which it has led, if there were several.
    way: Option<Way>,
    began: Instant,
}

/// How an attempt to reach a backend ended: with its TLS, if its leg has any, or why not.
pub type Outcome<'a> = Result<Option<&'a TlsStream>, &'a BackendError>;

impl Target {
    /// Names a backend by its position among the listener's.
    pub fn new(context: &Arc<Context>, position: usize) -> Self {
        Self {
            context: Arc::clone(context),
            position,
            trial: None,
        }
    }

    /// Names all backends of the listener, in the order in which to try them now.
    pub fn all(context: &Arc<Context>) -> Vec<Self> {
        let service = &context.service;
        let backends = &service.listener.backends;
        let order = service.health.order(backends, Instant::now());
        let all = order.into_iter();
        all.map(|position| Self::new(context, position)).collect()
    }

    /// Names the same backend, for a connection whose end says nothing about the attempt.
    #[must_use]
    pub fn aside(&self) -> Self {
        Self::new(&self.context, self.position)
    }

    /// Returns where it is.
    pub fn address(&self) -> &Address {
        self.context.service.listener.backends.at(self.position)
    }

    /// Whether it is left for last now.
    pub fn is_paused(&self) -> bool {
        let health = &self.context.service.health;
        health.is_paused(self.address(), Instant::now())
    }

    /// Whether the leg to it has TLS, by the newest generation that has the backend.
    pub fn has_tls(&self) -> bool {
        let (service, position) = self.newest();
        service.has_backend_tls(position)
    }

    /// Begins TLS with it by the same generation; `None` if its leg has none.
    pub fn connect_tls(&self) -> Option<Result<TlsStream, TlsError>> {
        let (service, position) = self.newest();
        service.connect_tls(position)
    }

    /// Returns the newest generation that has the backend, and its position there.
    fn newest(&self) -> (Arc<Service>, usize) {
        let newest = self.context.newest();
        let backends = &newest.listener.backends;
        let position = backends.iter().position(|it| it == self.address());
        match position {
            Some(position) => (newest, position),
            None => (Arc::clone(&self.context.service), self.position),
        }
    }

    /// Begins an attempt to reach it.
    pub(super) fn begin(&mut self) {
        let now = Instant::now();
        self.trial = Some(Trial {
            attempt: self.context.service.health.begin(self.address(), now),
            way: None,
            began: now,
        });
    }

    /// Notes to which of several addresses the attempt has led.
    pub(super) fn leads(&mut self, way: Option<Way>) {
        if let Some(trial) = &mut self.trial {
            trial.way = way;
        }
    }

    /// Notes how the attempt ended, of the backend and of the address that it has led to, if that is not
    /// known yet.
    ///
    /// A backend that had no time, because its client had used it up, has not failed.
    pub fn note(&mut self, deadline: Deadline, outcome: Outcome<'_>) {
        let Some(trial) = self.trial.take() else {
            return;
        };
        let took = trial.began.elapsed();
        let had_time = took >= super::fair(self.context.limits());
        if outcome.is_err() && deadline.has_passed() && !had_time {
            return;
        }
        let (service, address) = (&self.context.service, self.address());
        let news = match outcome {
            Ok(tls) => service.health.succeed(address, took, tls),
            Err(error) => service
                .health
                .fail(address, trial.attempt, Instant::now(), error),
        };
        match (trial.way, outcome) {
            (Some(way), Ok(_)) => service.dialer.succeed(address, way),
            (Some(way), Err(error)) => service.dialer.fail(address, way, error),
            (None, _) => {}
        }
        let (listener, backend) = (&service.listener.name, display(address));
        match (news, outcome) {
            (News::Down, Err(error)) => warn!(listener, backend, "a backend is down: {error}"),
            (News::Up, _) => info!(listener, backend, "a backend is up again"),
            _ => {}
        }
    }
}
