//! The settings of a run, from the environment variables that `tests/run chaos` sets.

use std::{env, path::PathBuf, time::Duration};

/// The seed of a run that names none.
const SEED: u64 = 9;

/// The settings of a run.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// How long faults strike, not counting the start and the end of the daemons.
    pub(crate) time: Duration,
    /// The seed, which decides every choice of the run.
    pub(crate) seed: u64,
    /// The only faults to strike; all faults if this is empty.
    pub(crate) only: Vec<String>,
    /// Faults to leave out.
    pub(crate) without: Vec<String>,
    /// Where to write the summary as Markdown.
    pub(crate) summary: Option<PathBuf>,
}

impl Settings {
    /// Reads the environment; the default is a minute of all faults.
    pub(crate) fn read() -> Self {
        Self::parse(|name| env::var(name).ok())
    }

    /// Reads variables by their names.
    ///
    /// # Panics
    ///
    /// If the text of a number is not a number.
    fn parse(variable: impl Fn(&str) -> Option<String>) -> Self {
        let minutes = variable("PROXYD_CHAOS_MINUTES").map_or(1.0, |text| {
            let minutes: f64 = text.parse().expect("PROXYD_CHAOS_MINUTES is a number");
            minutes
        });
        let seed = variable("PROXYD_CHAOS_SEED").map_or(SEED, |text| {
            text.parse()
                .expect("PROXYD_CHAOS_SEED is a whole number from 0")
        });
        Self {
            time: Duration::from_secs_f64(minutes * 60.0),
            seed,
            only: names(variable("PROXYD_CHAOS_ONLY")),
            without: names(variable("PROXYD_CHAOS_WITHOUT")),
            summary: variable("PROXYD_CHAOS_SUMMARY").map(PathBuf::from),
        }
    }

    /// Returns whether a fault is to strike.
    pub(crate) fn wants(&self, fault: &str) -> bool {
        let is_in = |list: &[String]| list.iter().any(|it| it == fault);
        (self.only.is_empty() || is_in(&self.only)) && !is_in(&self.without)
    }

    /// Returns the first name that is not the name of a fault.
    pub(crate) fn unknown(&self, is_fault: impl Fn(&str) -> bool) -> Option<&str> {
        let mut names = self.only.iter().chain(&self.without);
        names.find(|name| !is_fault(name)).map(String::as_str)
    }
}

fn names(list: Option<String>) -> Vec<String> {
    let list = list.unwrap_or_default();
    let names = list.split(',').map(str::trim);
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_run_without_settings_is_a_minute_of_every_fault() {
    let settings = Settings::parse(|_| None);
    assert_eq!(settings.time, Duration::from_secs(60));
    assert!(settings.wants("kill"));
}

#[test]
fn faults_are_chosen_and_left_out_by_name() {
    let settings = Settings::parse(|name| match name {
        "PROXYD_CHAOS_ONLY" => Some("kill, hang".to_owned()),
        "PROXYD_CHAOS_WITHOUT" => Some("hang".to_owned()),
        _ => None,
    });
    assert!(settings.wants("kill"));
    assert!(!settings.wants("hang") && !settings.wants("hangup"));
    assert_eq!(settings.unknown(|it| it == "kill"), Some("hang"));
}
