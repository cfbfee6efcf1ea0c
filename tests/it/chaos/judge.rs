//! Judges whether the exit status of a command that reads the disk can be true.

use std::time::Instant;

use super::disk::{CONFIGURATION, Disk, State};

/// The command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Question {
    /// `reload-tls`, which reads the files of the configuration in force.
    ReloadTls,
    /// `reload`, which reads the configuration file as well.
    Reload,
    /// `verify`, which reads the same files and changes nothing.
    Verify,
}

impl Question {
    fn reads(self, subject: &str) -> bool {
        subject != CONFIGURATION || self != Self::ReloadTls
    }
}

/// Judges an exit status: 0 only if no subject was broken all the time, another status only if a subject
/// may have been broken, or if there was another reason (`excused`).
pub(crate) fn judge(
    question: Question,
    (begun, ended): (Instant, Instant),
    status: i32,
    disk: &Disk,
    excused: bool,
) -> Result<(), String> {
    let read: Vec<_> = disk
        .subjects()
        .filter(|subject| question.reads(subject))
        .map(|subject| (subject, disk.throughout(subject, begun, ended)))
        .collect();
    let must_refuse = |state| match state {
        Some(State::Broken) => true,
        Some(State::ForRestart) => question == Question::Reload,
        Some(State::Good(_) | State::Torn) | None => false,
    };
    let broken = read.iter().find(|(_, state)| must_refuse(*state));
    let all_good = read
        .iter()
        .all(|(_, state)| matches!(state, Some(State::Good(_))));
    match (status, broken) {
        (0, Some((subject, _))) => Err(format!(
            "{question:?} said 0, and {subject} was broken all the time"
        )),
        (1.., _) if all_good && !excused => Err(format!(
            "{question:?} said {status}, and nothing was broken at any time"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Judges a command that ran from second 10 to 11.
    fn judged(question: Question, status: i32, disk: &Disk, start: Instant) -> bool {
        let at = |seconds| start + Duration::from_secs(seconds);
        judge(question, (at(10), at(11)), status, disk, false).is_ok()
    }

    #[test]
    fn broken_files_refuse_and_good_ones_do_not() {
        let start = Instant::now();
        let mut disk = Disk::default();
        disk.set("alpha", start, State::Good(0));
        assert!(judged(Question::ReloadTls, 0, &disk, start));
        assert!(!judged(Question::ReloadTls, 1, &disk, start));
        disk.set("beta", start, State::Broken);
        assert!(judged(Question::ReloadTls, 1, &disk, start));
        assert!(!judged(Question::ReloadTls, 0, &disk, start));
    }

    #[test]
    fn nothing_is_certain_while_files_are_being_written() {
        let start = Instant::now();
        let mut disk = Disk::default();
        disk.set("alpha", start, State::Torn);
        assert!(judged(Question::ReloadTls, 0, &disk, start));
        assert!(judged(Question::ReloadTls, 1, &disk, start));
    }

    #[test]
    fn the_configuration_file_counts_where_it_is_read() {
        let start = Instant::now();
        let mut disk = Disk::default();
        disk.set(CONFIGURATION, start, State::Broken);
        assert!(judged(Question::ReloadTls, 0, &disk, start));
        assert!(!judged(Question::Reload, 0, &disk, start));
        assert!(!judged(Question::Verify, 0, &disk, start));
    }

    #[test]
    fn what_takes_a_restart_is_refused_by_a_reload_alone() {
        let start = Instant::now();
        let mut disk = Disk::default();
        disk.set(CONFIGURATION, start, State::ForRestart);
        assert!(!judged(Question::Reload, 0, &disk, start));
        assert!(judged(Question::Verify, 0, &disk, start));
        assert!(judged(Question::Verify, 1, &disk, start));
    }

    #[test]
    fn a_refusal_for_another_reason_is_right() {
        let now = Instant::now();
        let mut disk = Disk::default();
        disk.set("alpha", now, State::Good(0));
        assert_eq!(judge(Question::Reload, (now, now), 1, &disk, true), Ok(()));
    }
}
