//! What was read of one piece to a verdict that names the files.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{
    bundle::{self, BundleFault},
    files::{
        parts::Parts,
        piece::{Piece, Read},
        read::Content,
    },
    identity::{self, Fault, KeyFault, PairContents, Proved, Role},
    lists,
    source::Source,
};
use crate::{
    facts::{Moment, Problem},
    tls::material::{Bundle, Der},
    x509::{
        certificate,
        pem::{self, Block},
    },
};

/// A piece that was read: what it is and what is odd, or what is wrong.
#[derive(Clone)]
pub(crate) struct Verdict<T> {
    pub(crate) result: Result<T, Vec<Problem>>,
    pub(crate) warnings: Vec<Problem>,
    /// The first moment at which what is bad may be good although no file has changed; `None` if there is
    /// no such moment.
    pub(crate) until: Option<Timestamp>,
}

impl<T> Verdict<T> {
    pub(crate) fn good(value: T, warnings: Vec<Problem>) -> Self {
        Self {
            result: Ok(value),
            warnings,
            until: None,
        }
    }

    pub(crate) fn map<U>(self, make: impl FnOnce(T) -> U) -> Verdict<U> {
        Verdict {
            result: self.result.map(make),
            warnings: self.warnings,
            until: self.until,
        }
    }

    /// A file that serves two ends is complained about once.
    pub(crate) fn bad(mut problems: Vec<Problem>) -> Self {
        problems.dedup();
        Self {
            result: Err(problems),
            warnings: Vec::new(),
            until: None,
        }
    }
}

/// Judges the files of one piece.
pub(crate) struct Judge<'p> {
    source: &'p dyn Source,
    piece: &'p Piece,
    now: Timestamp,
}

impl<'p> Judge<'p> {
    pub(crate) fn new(source: &'p dyn Source, piece: &'p Piece, now: Timestamp) -> Self {
        Self { source, piece, now }
    }

    pub(crate) fn problem(&self, file: &Path, reason: &impl ToString) -> Problem {
        Problem {
            subject: self.piece.subject.clone(),
            file: Some(file.display().to_string()),
            reason: reason.to_string(),
        }
    }

    /// Says that the files changed at every look.
    pub(crate) fn unstable(&self) -> Problem {
        let reason = "it and the files it belongs with were being written at every look; try again";
        self.problem(&self.piece.paths.certs, &reason)
    }

    /// Returns the contents, or what is wrong with every file that could not be read.
    fn contents<'r>(&self, reads: &'r Parts<Read>) -> Result<Parts<&'r Content>, Vec<Problem>> {
        let fault = |(path, read): (&PathBuf, &Read)| {
            let fault = read.as_ref().err()?;
            Some(self.problem(path, fault))
        };
        let files = self.piece.paths.iter().zip(reads.iter());
        reads
            .all_good()
            .ok_or_else(|| files.filter_map(fault).collect())
    }

    /// Judges a certificate and its key.
    pub(crate) fn pair(&self, reads: &Parts<Read>, role: Role) -> Verdict<Proved> {
        let contents = match self.contents(reads) {
            Ok(contents) => PairContents::of(self.piece, &contents),
            Err(problems) => return Verdict::bad(problems),
        };
        match identity::prove(&contents, role, self.now) {
            Ok(proved) => {
                let warnings = self.odd_pair(&proved);
                Verdict::good(proved, warnings)
            }
            Err(faults) => Verdict {
                until: faults
                    .iter()
                    .find_map(Fault::until)
                    .map(Moment::to_timestamp),
                ..Verdict::bad(faults.iter().map(|it| self.fault(it)).collect())
            },
        }
    }

    /// Judges an entry of a folder of identities; `None` if it holds authorities alone, which
    /// present nothing and are there for others to read.
    pub(crate) fn entry(&self, reads: &Parts<Read>) -> Verdict<Option<Proved>> {
        let verdict = self.pair(reads, Role::Server);
        if verdict.result.is_err() && holds_only_authorities(reads) {
            return Verdict::good(None, Vec::new());
        }
        verdict.map(Some)
    }

    fn fault(&self, fault: &Fault) -> Problem {
        match fault {
            Fault::Certificate(fault) => self.problem(&self.piece.paths.certs, fault),
            Fault::Key(fault) => self.of_key(fault),
            Fault::Passphrase(fault) => self.problem(self.piece.paths.with_passphrase(), fault),
        }
    }

    /// Says of a key that does not match which certificate beside it does.
    fn of_key(&self, fault: &KeyFault) -> Problem {
        let mut problem = self.problem(self.piece.paths.with_key(), fault);
        if let KeyFault::Mismatch { public_half, .. } = fault
            && let Some(other) = self.source.beside_key(self.piece, public_half)
        {
            let other = format!("; it matches the certificate in {other}");
            problem.reason.push_str(&other);
        }
        problem
    }

    fn odd_pair(&self, proved: &Proved) -> Vec<Problem> {
        let about = |file: &Path, odd: &[String]| {
            let problems = odd.iter().map(|it| self.problem(file, it));
            problems.collect::<Vec<_>>()
        };
        let files = &self.piece.paths;
        [
            about(&files.certs, &proved.cert_warnings),
            about(files.with_key(), &proved.key_warnings),
            about(files.with_passphrase(), &proved.passphrase_warnings),
        ]
        .concat()
    }

    /// Judges a file of authorities.
    fn trust(&self, read: &Read) -> Verdict<Vec<Der>> {
        let file = &self.piece.paths.certs;
        match read {
            Ok(content) => self.checked(file, bundle::roots(&content.bytes, self.now)),
            Err(fault) => Verdict::bad(vec![self.problem(file, fault)]),
        }
    }

    /// Judges a file of authorities and files of revocation lists, if there are any.
    pub(crate) fn bundle(&self, reads: &Parts<Read>) -> Verdict<Bundle> {
        let roots = self.trust(&reads.certs);
        let mut crls = Lists::default();
        for (file, read) in self.piece.paths.lists.iter().zip(&reads.lists) {
            let verdict = match (&roots.result, read) {
                (_, Err(fault)) => Verdict::bad(vec![self.problem(file, fault)]),
                (Ok(roots), Ok(content)) => {
                    let expired = self.piece.expired;
                    self.checked(file, lists::crls(&content.bytes, roots, expired, self.now))
                }
                (Err(_), Ok(_)) => Verdict::bad(Vec::new()),
            };
            crls.add(file, verdict);
        }
        let known = roots.result.as_deref().unwrap_or_default();
        let crls = self.newest(crls, known);
        both(roots, crls)
    }

    /// Leaves out lists that others replace.
    fn newest(&self, mut lists: Lists<'_>, roots: &[Der]) -> Verdict<Vec<Der>> {
        if let Some(problems) = lists.problems {
            return Verdict {
                warnings: lists.warnings,
                ..Verdict::bad(problems)
            };
        }
        for index in lists::replaced(&lists.ders, roots).into_iter().rev() {
            lists.ders.remove(index);
            let file = lists.files.remove(index);
            let reason = "one of its lists is older than another of the same authority, which \
                counts instead";
            lists.warnings.push(self.problem(file, &reason));
        }
        let odd = lists::odd_authorities(&lists.ders, roots);
        let file = &self.piece.paths.certs;
        let odd = odd.iter().map(|it| self.problem(file, it));
        lists.warnings.extend(odd);
        Verdict::good(lists.ders, lists.warnings)
    }

    fn checked<T>(
        &self,
        file: &Path,
        checked: Result<bundle::Checked<T>, BundleFault>,
    ) -> Verdict<T> {
        match checked {
            Ok(checked) => {
                let warnings = checked.warnings.iter();
                let warnings = warnings.map(|it| self.problem(file, it)).collect();
                Verdict::good(checked.value, warnings)
            }
            Err(fault) => Verdict::bad(vec![self.problem(file, &fault)]),
        }
    }
}

fn holds_only_authorities(reads: &Parts<Read>) -> bool {
    let (Ok(file), None, None) = (&reads.certs, &reads.key, &reads.passphrase) else {
        return false;
    };
    let is_authority = |block: &Block| {
        let parsed = certificate::parse(&block.der);
        block.is_certificate() && parsed.is_ok_and(|it| it.is_ca())
    };
    pem::blocks(&file.bytes).is_ok_and(|blocks| blocks.iter().all(is_authority))
}

/// The revocation lists of several files, and what is wrong with them.
#[derive(Default)]
struct Lists<'p> {
    ders: Vec<Der>,
    /// The file that each list came from.
    files: Vec<&'p Path>,
    /// What is wrong, perhaps only with the authorities that they are judged by.
    problems: Option<Vec<Problem>>,
    warnings: Vec<Problem>,
}

impl<'p> Lists<'p> {
    fn add(&mut self, file: &'p Path, verdict: Verdict<Vec<Der>>) {
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

fn both(roots: Verdict<Vec<Der>>, crls: Verdict<Vec<Der>>) -> Verdict<Bundle> {
    let result = match (roots.result, crls.result) {
        (Ok(roots), Ok(crls)) => Ok(Bundle { roots, crls }),
        (roots, crls) => {
            let problems = [roots.err(), crls.err()];
            Err(problems.into_iter().flatten().flatten().collect())
        }
    };
    let warnings = [roots.warnings, crls.warnings].concat();
    let until = [roots.until, crls.until].into_iter().flatten().min();
    Verdict {
        result,
        warnings,
        until,
    }
}
