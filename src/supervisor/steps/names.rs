//! Names of hosts, looked up without waiting for long.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    sync::{Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

/// How long what a name stands for is believed.
const FRESH: Duration = Duration::from_secs(5);

/// The names that a running daemon has looked up for its trials.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<HashMap<String, Entry>>);

#[derive(Debug, Default)]
struct Entry {
    /// The last answer, and when it came.
    last: Option<(Instant, Answer)>,
    /// A lookup that goes on.
    asking: Option<mpsc::Receiver<Answer>>,
}

/// The addresses of a name, or why it has none.
pub(super) type Answer = Result<Vec<IpAddr>, String>;

/// Looks up the addresses of a host, for as long as that takes.
pub(super) fn resolve(host: &str) -> Answer {
    let found = (host, 0).to_socket_addrs();
    let found = found.map_err(|error| format!("the name {host} cannot be looked up: {error}"))?;
    Ok(found.map(|address: SocketAddr| address.ip()).collect())
}

impl Names {
    /// Looks up the addresses of a host on another thread; `None` if no answer comes within `patience`.
    ///
    /// The lookup goes on then, and its answer is for the next call.
    pub(super) fn resolve_within(&self, host: &str, patience: Duration) -> Option<Answer> {
        if let Ok(address) = host.parse() {
            return Some(Ok(vec![address]));
        }
        let asking = {
            let mut names = self.lock();
            let entry = names.entry(host.to_owned()).or_default();
            match &entry.last {
                Some((at, answer)) if at.elapsed() < FRESH => return Some(answer.clone()),
                _ => entry.asking.take(),
            }
        };
        let asking = asking.or_else(|| ask(host))?;
        let answer = asking.recv_timeout(patience);
        let mut names = self.lock();
        let entry = names.entry(host.to_owned()).or_default();
        match answer {
            Ok(answer) => {
                entry.last = Some((Instant::now(), answer.clone()));
                Some(answer)
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                entry.asking = Some(asking);
                None
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
        }
    }

    /// Notes a lookup that goes on.
    #[cfg(test)]
    pub(super) fn is_asking(&self, host: &str, asking: mpsc::Receiver<Answer>) {
        let asking = Some(asking);
        let entry = Entry { last: None, asking };
        self.lock().insert(host.to_owned(), entry);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins a lookup; `None` if no thread can be started.
fn ask(host: &str) -> Option<mpsc::Receiver<Answer>> {
    let (answer, asking) = mpsc::channel();
    let host = host.to_owned();
    let started = thread::Builder::new()
        .name("names".to_owned())
        .spawn(move || drop(answer.send(resolve(&host))));
    started.is_ok().then_some(asking)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_its_own_answer_and_a_name_is_asked_for() {
        let names = Names::default();
        let answer = names.resolve_within("::1", Duration::ZERO);
        assert_eq!(answer, Some(Ok(vec!["::1".parse().unwrap()])));
        let patience = Duration::from_secs(30);
        let answer = names
            .resolve_within("localhost", patience)
            .unwrap()
            .unwrap();
        assert!(answer.iter().all(IpAddr::is_loopback), "{answer:?}");
        let told = names.resolve_within("name.invalid", patience).unwrap();
        assert!(told.unwrap_err().contains("name.invalid"));
    }

    #[test]
    fn a_late_answer_is_for_the_next_call() {
        let names = Names::default();
        let (answer, asking) = mpsc::channel();
        names.is_asking("db", asking);
        assert_eq!(names.resolve_within("db", Duration::ZERO), None);
        answer.send(Ok(vec![])).unwrap();
        assert_eq!(names.resolve_within("db", Duration::ZERO), Some(Ok(vec![])));
        assert_eq!(names.resolve_within("db", Duration::ZERO), Some(Ok(vec![])));
    }
}
