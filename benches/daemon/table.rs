//! The table of figures, printed line by line as they come.

use std::{
    io::{self, Write as _},
    time::Duration,
};

/// Where figures are told.
pub(crate) struct Table(io::Stdout);

impl Table {
    /// Prints the table's head.
    pub(crate) fn start() -> io::Result<Self> {
        let mut table = Self(io::stdout());
        table.print("MEASURE", "PROXYD", "BASELINE", "RATIO")?;
        Ok(table)
    }

    /// Adds a figure that has a baseline's beside it.
    pub(crate) fn compare(&mut self, what: &str, ours: f64, baseline: f64) -> io::Result<()> {
        let ratio = format!("{:.2}", ours / baseline);
        self.print(what, &figure(ours), &figure(baseline), &ratio)
    }

    /// Adds a figure that stands for itself.
    pub(crate) fn single(&mut self, what: &str, ours: f64) -> io::Result<()> {
        self.print(what, &figure(ours), "", "")
    }

    /// Says how long a measure took.
    pub(crate) fn note(&mut self, name: &str, took: Duration) -> io::Result<()> {
        let seconds = took.as_secs_f64();
        self.print(&format!("  ({name}: {seconds:.1} s)"), "", "", "")
    }

    fn print(&mut self, what: &str, ours: &str, baseline: &str, ratio: &str) -> io::Result<()> {
        let line = format!("{what:<58} {ours:>10} {baseline:>10} {ratio:>6}");
        writeln!(self.0, "{}", line.trim_end())
    }
}

/// Writes a figure with three digits that mean something.
fn figure(value: f64) -> String {
    let decimals = match value.abs() {
        0.0 => 0,
        small if small < 1.0 => 3,
        small if small < 10.0 => 2,
        medium if medium < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}
