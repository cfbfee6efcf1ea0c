//! The terminal that a program writes to.

use std::io;

use rustix::termios::tcgetwinsize;

/// Returns how many columns the terminal on standard output has; `None` if none is there, or it does not say.
pub fn width() -> Option<usize> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}
