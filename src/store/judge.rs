//! What was read of one piece to a verdict that names the files.

use jiff::Timestamp;

use super::{
    bundle::{self, BundleFault},
    files::{
        piece::{Piece, Read},
        read::{Content, FileFault},
    },
    identity::{self, Fault, KeyFault, Proved, Role, pair::PairFiles},
    lists, neighbours,
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
    piece: &'p Piece,
    now: Timestamp,
}

impl<'p> Judge<'p> {
    pub(crate) fn new(piece: &'p Piece, now: Timestamp) -> Self {
        Self { piece, now }
    }

    pub(crate) fn problem(&self, index: usize, reason: &impl ToString) -> Problem {
        Problem {
            subject: self.piece.subject.clone(),
            file: self
                .piece
                .paths
                .get(index)
                .map(|it| it.display().to_string()),
            reason: reason.to_string(),
        }
    }

    /// Says that the files changed at every look.
    pub(crate) fn unstable(&self) -> Problem {
        let reason = "it and the files it belongs with were being written at every look; try again";
        self.problem(0, &reason)
    }

    /// Says that the files were told apart wrongly, which nobody but this program can be blamed for.
    fn confused(&self) -> Problem {
        let reason = "proxyd mixed up this file and those it belongs with, which is a defect of \
            proxyd and not of the files; please report it";
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

    /// Judges a certificate and its key.
    pub(crate) fn pair(&self, reads: &[Read], role: Role) -> Verdict<Proved> {
        let Some(files) = PairFiles::of_piece(self.piece) else {
            return Verdict::bad(vec![self.confused()]);
        };
        let contents = match self.contents(reads) {
            Ok(contents) => contents,
            Err(problems) => return Verdict::bad(problems),
        };
        let Some(contents) = files.contents(&contents) else {
            return Verdict::bad(vec![self.confused()]);
        };
        match identity::prove(&contents, role, self.now) {
            Ok(proved) => {
                let warnings = self.odd_pair(files, &proved);
                Verdict::good(proved, warnings)
            }
            Err(faults) => Verdict {
                until: faults
                    .iter()
                    .find_map(Fault::until)
                    .map(Moment::to_timestamp),
                ..Verdict::bad(faults.iter().map(|it| self.fault(files, it)).collect())
            },
        }
    }

    /// Judges an entry of a folder of identities; `None` if it holds authorities alone, which
    /// present nothing and are there for others to read.
    pub(crate) fn entry(&self, reads: &[Read]) -> Verdict<Option<Proved>> {
        let verdict = self.pair(reads, Role::Server);
        if verdict.result.is_err() && holds_only_authorities(reads) {
            return Verdict::good(None, Vec::new());
        }
        verdict.map(Some)
    }

    fn fault(&self, files: PairFiles<'_>, fault: &Fault) -> Problem {
        match fault {
            Fault::Certificate(fault) => self.problem(0, fault),
            Fault::Key(fault) => self.of_key(files.key_place(), fault),
            Fault::Passphrase(fault) => self.problem(files.passphrase_place(), fault),
        }
    }

    /// Says of a key that does not match which certificate beside it does.
    fn of_key(&self, place: usize, fault: &KeyFault) -> Problem {
        let mut problem = self.problem(place, fault);
        if let (KeyFault::Mismatch { public_half, .. }, Some(path)) =
            (fault, self.piece.paths.get(place))
            && let Some(other) = neighbours::certificate_of(public_half, path)
        {
            let other = format!("; it matches the certificate in {}", other.display());
            problem.reason.push_str(&other);
        }
        problem
    }

    fn odd_pair(&self, files: PairFiles<'_>, proved: &Proved) -> Vec<Problem> {
        let about = |place: usize, odd: &[String]| {
            let problems = odd.iter().map(|it| self.problem(place, it));
            problems.collect::<Vec<_>>()
        };
        [
            about(0, &proved.cert_warnings),
            about(files.key_place(), &proved.key_warnings),
            about(files.passphrase_place(), &proved.passphrase_warnings),
        ]
        .concat()
    }

    /// Judges a file of authorities.
    fn trust(&self, reads: &[Read]) -> Verdict<Vec<Der>> {
        let contents = match self.contents(reads) {
            Ok(contents) => contents,
            Err(problems) => return Verdict::bad(problems),
        };
        let text = contents.first().map_or(&[][..], |it| &it.bytes);
        self.checked(0, bundle::roots(text, self.now))
    }

    /// Judges a file of authorities and files of revocation lists, if there are any.
    pub(crate) fn bundle(&self, reads: &[Read]) -> Verdict<Bundle> {
        let [ca, lists @ ..] = reads else {
            return Verdict::bad(vec![self.confused()]);
        };
        let roots = self.trust(std::slice::from_ref(ca));
        let mut crls = Lists::default();
        for (index, read) in (1..).zip(lists) {
            let verdict = match (&roots.result, read) {
                (_, Err(fault)) => Verdict::bad(vec![self.problem(index, fault)]),
                (Ok(roots), Ok(file)) => {
                    let expired = self.piece.expired;
                    self.checked(index, lists::crls(&file.bytes, roots, expired, self.now))
                }
                (Err(_), Ok(_)) => Verdict::bad(Vec::new()),
            };
            crls.add(index, verdict);
        }
        let known = roots.result.as_deref().unwrap_or_default();
        let crls = self.newest(crls, known);
        both(roots, crls)
    }

    /// Leaves out lists that others replace.
    fn newest(&self, mut lists: Lists, roots: &[Der]) -> Verdict<Vec<Der>> {
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
        Verdict::good(lists.ders, lists.warnings)
    }

    fn checked<T>(
        &self,
        index: usize,
        checked: Result<bundle::Checked<T>, BundleFault>,
    ) -> Verdict<T> {
        match checked {
            Ok(checked) => {
                let warnings = checked.warnings.iter();
                let warnings = warnings.map(|it| self.problem(index, it)).collect();
                Verdict::good(checked.value, warnings)
            }
            Err(fault) => Verdict::bad(vec![self.problem(index, &fault)]),
        }
    }
}

fn holds_only_authorities(reads: &[Read]) -> bool {
    let [Ok(file)] = reads else {
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
