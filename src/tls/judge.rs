//! What was read of one piece to a verdict that names the files.

use jiff::Timestamp;

use super::{
    bundle::{self, BundleFault},
    files::{Content, FileFault},
    identity::{self, Fault, Proved, Role},
    material::{ClientBundle, Der},
    revocation,
    settle::{FileSet, Read},
};
use crate::{config::Doubt, control::Problem};

/// A piece that was read: what it is and what is odd, or what is wrong.
pub(super) struct Verdict<T> {
    pub(super) result: Result<T, Vec<Problem>>,
    pub(super) warnings: Vec<Problem>,
}

impl<T> Verdict<T> {
    pub(super) fn bad(problems: Vec<Problem>) -> Self {
        Self {
            result: Err(problems),
            warnings: Vec::new(),
        }
    }
}

/// Judges the files of one piece.
pub(super) struct Judge {
    subject: String,
    files: FileSet,
    now: Timestamp,
}

impl Judge {
    pub(super) fn new(subject: String, files: FileSet, now: Timestamp) -> Self {
        Self {
            subject,
            files,
            now,
        }
    }

    pub(super) fn files(&self) -> &FileSet {
        &self.files
    }

    fn problem(&self, index: usize, reason: &impl ToString) -> Problem {
        Problem {
            subject: self.subject.clone(),
            file: self
                .files
                .paths
                .get(index)
                .map(|it| it.display().to_string()),
            reason: reason.to_string(),
        }
    }

    /// Says that the files changed at every look.
    pub(super) fn restless(&self) -> Problem {
        let reason = "it and the files it belongs with were being written at every look; try again";
        self.problem(0, &reason)
    }

    /// Returns the contents, or what is wrong with every file that could not be read.
    fn contents<'r>(&self, reads: &'r [Read]) -> Result<Vec<&'r Content>, Vec<Problem>> {
        let faults = reads.iter().enumerate().filter_map(|(index, read)| {
            let fault: &FileFault = read.as_ref().err()?;
            Some(self.problem(index, fault))
        });
        let faults: Vec<_> = faults.collect();
        if faults.is_empty() {
            Ok(reads.iter().flatten().collect())
        } else {
            Err(faults)
        }
    }

    /// Judges a certificate file and a key file.
    pub(super) fn pair(&self, reads: &[Read], role: Role) -> Verdict<Proved> {
        match self.prove(reads, role) {
            Ok(proved) => Verdict {
                warnings: self.odd_pair(&proved),
                result: Ok(proved),
            },
            Err(problems) => Verdict::bad(problems),
        }
    }

    fn prove(&self, reads: &[Read], role: Role) -> Result<Proved, Vec<Problem>> {
        let contents = self.contents(reads)?;
        let [cert, key] = contents.as_slice() else {
            return Err(vec![self.restless()]);
        };
        identity::prove(cert, key, role, self.now)
            .map_err(|faults| faults.iter().map(|it| self.fault(it)).collect())
    }

    fn fault(&self, fault: &Fault) -> Problem {
        match fault {
            Fault::Certificate(fault) => self.problem(0, fault),
            Fault::Key(fault) => self.problem(1, fault),
        }
    }

    fn odd_pair(&self, proved: &Proved) -> Vec<Problem> {
        let cert = proved.cert_warnings.iter().map(|it| self.problem(0, it));
        let key = proved.key_warnings.iter().map(|it| self.problem(1, it));
        cert.chain(key).collect()
    }

    /// Judges a file of authorities.
    fn trust(&self, reads: &[Read]) -> Verdict<Vec<Der>> {
        let contents = match self.contents(reads) {
            Ok(contents) => contents,
            Err(problems) => return Verdict::bad(problems),
        };
        let text = contents.first().map_or(&[][..], |it| &it.bytes);
        self.bundle(0, bundle::roots(text, self.now))
    }

    /// Judges a file of authorities and files of revocation lists, if there are any; `expired`
    /// is what the configuration makes of lists that are too old.
    pub(super) fn clients(&self, reads: &[Read], expired: Doubt) -> Verdict<ClientBundle> {
        let [ca, lists @ ..] = reads else {
            return Verdict::bad(vec![self.restless()]);
        };
        let roots = self.trust(std::slice::from_ref(ca));
        let mut crls = Lists::default();
        for (index, read) in (1..).zip(lists) {
            let verdict = match (&roots.result, read) {
                (_, Err(fault)) => Verdict::bad(vec![self.problem(index, fault)]),
                (Ok(roots), Ok(file)) => {
                    self.bundle(index, bundle::crls(&file.bytes, roots, expired, self.now))
                }
                (Err(_), Ok(_)) => Verdict::bad(Vec::new()),
            };
            crls.add(index, verdict);
        }
        both(roots, self.newest(crls))
    }

    /// Leaves out lists that others replace.
    fn newest(&self, mut lists: Lists) -> Verdict<Vec<Der>> {
        if let Some(problems) = lists.problems {
            return Verdict {
                result: Err(problems),
                warnings: lists.warnings,
            };
        }
        for index in revocation::replaced(&lists.ders).into_iter().rev() {
            lists.ders.remove(index);
            let file = lists.files.remove(index);
            let reason = "one of its lists is older than another of the same authority, which \
                counts instead";
            lists.warnings.push(self.problem(file, &reason));
        }
        Verdict {
            result: Ok(lists.ders),
            warnings: lists.warnings,
        }
    }

    fn bundle<T>(
        &self,
        index: usize,
        checked: Result<bundle::Checked<T>, BundleFault>,
    ) -> Verdict<T> {
        match checked {
            Ok(checked) => Verdict {
                warnings: checked
                    .warnings
                    .iter()
                    .map(|it| self.problem(index, it))
                    .collect(),
                result: Ok(checked.value),
            },
            Err(fault) => Verdict::bad(vec![self.problem(index, &fault)]),
        }
    }
}

/// The revocation lists of several files, and what is wrong with them.
#[derive(Default)]
struct Lists {
    ders: Vec<Der>,
    /// The file that each list came from.
    files: Vec<usize>,
    /// What is wrong, perhaps only with the authorities that they are judged by.
    problems: Option<Vec<Problem>>,
    warnings: Vec<Problem>,
}

impl Lists {
    fn add(&mut self, file: usize, verdict: Verdict<Vec<Der>>) {
        self.warnings.extend(verdict.warnings);
        match verdict.result {
            Ok(ders) => {
                self.files.extend(std::iter::repeat_n(file, ders.len()));
                self.ders.extend(ders);
            }
            Err(problems) => self.problems.get_or_insert_default().extend(problems),
        }
    }
}

fn both(roots: Verdict<Vec<Der>>, crls: Verdict<Vec<Der>>) -> Verdict<ClientBundle> {
    let result = match (roots.result, crls.result) {
        (Ok(roots), Ok(crls)) => Ok(ClientBundle { roots, crls }),
        (roots, crls) => {
            let problems = [roots.err(), crls.err()];
            Err(problems.into_iter().flatten().flatten().collect())
        }
    };
    let warnings = [roots.warnings, crls.warnings].concat();
    Verdict { result, warnings }
}
