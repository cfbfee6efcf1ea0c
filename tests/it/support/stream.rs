//! What a program says, line by line while it runs.

use std::{
    io::{BufRead as _, BufReader, Read},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

/// Returns the lines that come until the output is closed or the time is over.
pub(crate) fn lines_of(
    output: impl Read + Send + 'static,
    deadline: Duration,
) -> impl Iterator<Item = String> {
    let lines = receive(output);
    let end = Instant::now() + deadline;
    std::iter::from_fn(move || {
        let left = end.saturating_duration_since(Instant::now());
        lines.recv_timeout(left).ok()
    })
}

/// Reads lines in a thread of its own.
pub(crate) fn receive(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}
