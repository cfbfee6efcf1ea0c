//! How operators are told of sessions that were taken over. Pure.

use std::fmt::Write as _;

use super::TakenOver;
use crate::{
    facts::{Death, LossReason, amount},
    supervisor::plan::End,
};

impl TakenOver {
    /// Returns a sentence about it, of the worker of this process id in a slot; `None` if there were no
    /// sessions.
    pub(in crate::supervisor::workers) fn sentence(&self, pid: u32, slot: usize) -> Option<String> {
        let lost = self.lost.sum();
        if self.taken == 0 && lost == 0 {
            return None;
        }
        let whose: Vec<String> = self.from.iter().map(whose).collect();
        let mut sentence = format!(
            "Worker {pid} in slot {slot} went on with {} of {}",
            amount(self.taken, "session"),
            whose.join(" and ")
        );
        if lost > 0 {
            let reasons = self.lost.counted();
            let reasons: Vec<_> = reasons
                .map(|(reason, count)| of_those(reason, count, lost))
                .collect();
            let were = if lost == 1 { "was" } else { "were" };
            let _ = write!(sentence, "; {lost} {were} lost ({})", reasons.join(", "));
        }
        sentence.push('.');
        Some(sentence)
    }
}

fn whose((pid, end, death): &(u32, End, Death)) -> String {
    match death {
        Death::HandedOver => format!("worker {pid}, which has handed them over"),
        Death::Fault | Death::Killed => format!("worker {pid}, which {end}"),
    }
}

/// Returns why sessions were lost, behind how many of them were lost for this reason unless all were.
fn of_those(reason: LossReason, count: u64, all: u64) -> String {
    let why = reason.words();
    if count == all {
        why.to_owned()
    } else {
        format!("{count}: {why}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::LossCounts;

    fn taken_over(taken: u64, from: &[(u32, End, Death)], lost: &[(LossReason, u64)]) -> TakenOver {
        let of = |reason| lost.iter().find(|it| it.0 == reason).map_or(0, |it| it.1);
        TakenOver {
            from: from.to_vec(),
            taken,
            lost: LossCounts::new(of),
            is_all: true,
        }
    }

    #[test]
    fn an_operator_is_told_who_goes_on_with_whose_sessions_and_which_are_lost() {
        let from = [(100, End::Unknown, Death::HandedOver)];
        assert_eq!(
            taken_over(57, &from, &[]).sentence(123, 0).unwrap(),
            "Worker 123 in slot 0 went on with 57 sessions of worker 100, which has handed them over."
        );
        let from = [(100, End::Signal(9), Death::Killed)];
        let taken = taken_over(57, &from, &[(LossReason::Damaged, 1)]);
        assert_eq!(
            taken.sentence(123, 0).unwrap(),
            "Worker 123 in slot 0 went on with 57 sessions of worker 100, which was ended by signal 9; \
             1 was lost (the record could not be read)."
        );
        let from = [
            (100, End::Signal(11), Death::Fault),
            (101, End::Code(70), Death::Fault),
        ];
        let lost = [(LossReason::Suspect, 2), (LossReason::UnixWrite, 1)];
        assert_eq!(
            taken_over(1, &from, &lost).sentence(102, 1).unwrap(),
            "Worker 102 in slot 1 went on with 1 session of worker 100, which was ended by signal 11 and \
             worker 101, which exited with status 70; 3 were lost (1: the worker died while it wrote to a \
             Unix socket, 2: workers died while they worked on the session)."
        );
        assert_eq!(taken_over(0, &[], &[]).sentence(1, 1), None);
    }
}
