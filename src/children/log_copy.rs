//! A child's log lines, on their way to the daemon's log.

use std::{process::ChildStderr, time::Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tracing::warn;

use super::pace::Pace;
use crate::telemetry::log::Sink;

/// The longest log line that is taken from a child; a longer one is split.
const MAX_LINE: u64 = 64 * 1024;

/// The most bytes of log lines that are taken from a child in a second: several times what a busy worker
/// writes, and little enough for a disk.
const MOST_BYTES: u64 = 4 << 20;

/// Copies a child's log lines, which are formatted already, until the child has ended. Lines beyond
/// [`MOST_BYTES`] are left out, and the log says how many.
pub(super) async fn copy_log(stderr: ChildStderr, pid: u32, sink: Sink) {
    let Ok(stderr) = tokio::process::ChildStderr::from_std(stderr) else {
        return;
    };
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    let mut pace = Pace::new(MOST_BYTES, Instant::now());
    let mut left_out = 0_u64;
    loop {
        line.clear();
        let mut limited = (&mut reader).take(MAX_LINE);
        let is_over = !matches!(limited.read_until(b'\n', &mut line).await, Ok(1..));
        let may_write = pace.take(line.len() as u64, Instant::now()).is_ok();
        if left_out > 0 && (may_write || is_over) {
            warn!(
                pid,
                left_out,
                "a child process wrote more log lines than the supervisor takes in a second; it left some out"
            );
            left_out = 0;
        }
        if is_over {
            return;
        }
        if may_write {
            sink.write_line(&shown(&line));
        } else {
            left_out += 1;
        }
    }
}

/// Returns a line as it is logged: without control characters, which a terminal that shows it would obey.
fn shown(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line);
    let kept = |it: char| it == '\t' || !it.is_control();
    let shown = line.trim_end().chars();
    shown
        .map(|it| if kept(it) { it } else { '\u{fffd}' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_keeps_its_words_and_nothing_that_a_terminal_obeys() {
        assert_eq!(shown("a\tb ü\n".as_bytes()), "a\tb ü");
        let steering = shown(b"a\x1b[2J\x07b\xff\r\n");
        assert_eq!(steering, "a\u{fffd}[2J\u{fffd}b\u{fffd}");
    }
}
