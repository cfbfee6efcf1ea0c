//! Going on as another program: what was asked for, the trial of that program, and the way into it.
//!
//! The program's file is judged and opened once, and what is executed is that open file. It is tried as a child first. Then
//! the supervisor waits for a moment in which nothing is under way that it would have to leave unfinished, and
//! executes the program in its own process, which finds the workers like any other successor.

mod file;
mod leave;
mod state;
mod trial;

use std::{
    ffi::OsString,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::{sync::mpsc, task::spawn_blocking, time::timeout};

pub(super) use self::{
    leave::{Fixtures, Keep, Leaving, PATIENCE},
    state::{Busy, Situation},
};
use self::{
    state::{Next, Step},
    trial::Trial,
};
use super::{
    predecessor::{Carried, MANIFEST_VERSION, NotBack},
    state::UpgradesBook,
    trial::{Ask, Ready},
};
use crate::{
    control::{
        UpgradeResult, UpgradeStatus, UpgradesStatus,
        fixed::{Answer, Asker, Checked, Upgraded},
    },
    facts::PROGRAM_VERSION,
    session::record,
    sys::{
        own_children::OwnChildren,
        succession,
        upgrade_points::{self, Point},
    },
    telemetry::log::Sink,
};

/// How long the disk may take to show the program's file.
const DISK_PATIENCE: Duration = Duration::from_secs(5);

/// What happens to an upgrade.
#[derive(Debug)]
pub(super) enum Message {
    /// The trial of the program is over.
    Tried(Result<Box<Chosen>, String>),
}

/// A program that can go on for this one.
#[derive(Debug)]
pub(super) struct Chosen {
    path: PathBuf,
    file: Arc<OwnedFd>,
    ready: Ready,
}

/// What comes of something, for the log and the events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing yet.
    Nothing,
    /// The daemon goes on as before.
    Refused(String),
    /// The program is good, and nothing more was asked for.
    Checked(String),
}

/// What became of an upgrade that is confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Confirmed {
    /// This program goes on for another.
    Upgraded(String),
    /// The other program could not go on, so that this one runs again.
    WentBack(String),
    /// This program goes on for another, though not as it should, because that cannot be gone back to.
    Failed(String),
}

/// Upgrades: the one under way, and what became of those before.
#[derive(Debug)]
pub(super) struct Upgrades {
    step: Step,
    /// Who waits for the answer; `None` for an operator who has sent a signal.
    asker: Option<Asker>,
    chosen: Option<Box<Chosen>>,
    /// What the program before this one has left in this process, until this one is confirmed.
    carried: Option<Rc<Carried>>,
    /// The newest version of records that the supervisor before this one reads; 0 if that is not known.
    before: u16,
    book: UpgradesBook,
    fixtures: Fixtures,
    children: OwnChildren,
    sink: Sink,
    inbox: mpsc::UnboundedSender<Message>,
}

impl Upgrades {
    /// Begins with none under way; `book` has those of the supervisors before, the last of which reads records of the
    /// version `before` and of none behind it.
    pub(super) fn new(
        fixtures: Fixtures,
        book: UpgradesBook,
        (children, sink): (OwnChildren, Sink),
        inbox: mpsc::UnboundedSender<Message>,
        (carried, before): (Option<Rc<Carried>>, u16),
    ) -> Self {
        Self {
            step: match &carried {
                Some(_) => Step::confirming(succession::elapsed()),
                None => Step::default(),
            },
            asker: carried.as_ref().and_then(|it| it.asker()),
            carried,
            before,
            chosen: None,
            book,
            fixtures,
            children,
            sink,
            inbox,
        }
    }

    /// Begins an upgrade, or only a trial, of the program at `binary`, or at the path that the daemon was started by.
    /// The program gets `state`, and is told at which addresses systemd listens for the daemon. Returns what is told if that is
    /// refused at once. Must be called in a [`tokio::task::LocalSet`].
    pub(super) fn begin(
        &mut self,
        (binary, check): (Option<PathBuf>, bool),
        asker: Option<Asker>,
        situation: Situation,
        (state, listening): (Vec<Arc<OwnedFd>>, Vec<String>),
    ) -> Told {
        let path = match (binary, &self.fixtures.program) {
            (Some(path), _) if !path.is_absolute() => {
                let path = path.display();
                return refuse(asker, format!("{path} is no absolute path; name one"));
            }
            (Some(path), _) => path,
            (None, Some(path)) => path.clone(),
            (None, None) => {
                let told = "the path that the daemon was started by cannot be told; name the program with --binary";
                return refuse(asker, told.to_owned());
            }
        };
        if let Err(untimely) = self.step.begin(check, situation) {
            return refuse(asker, untimely.to_string());
        }
        upgrade_points::reach(Point::Asked);
        self.asker = asker;
        let trial = self.trial(state, listening);
        let inbox = self.inbox.clone();
        tokio::task::spawn_local(async move {
            let tried = choose(path, trial).await.map(Box::new);
            let _ = inbox.send(Message::Tried(tried));
        });
        Told::Nothing
    }

    /// Returns what tries a program that was opened.
    fn trial(
        &self,
        state: Vec<Arc<OwnedFd>>,
        listening: Vec<String>,
    ) -> impl FnOnce(Arc<OwnedFd>) -> Trial + use<> {
        let ask = Ask {
            version: PROGRAM_VERSION.to_owned(),
            directory: self.fixtures.directory.clone(),
            detached: self.fixtures.detached,
            manifest: MANIFEST_VERSION,
            listening,
        };
        let arguments: Vec<OsString> = self.fixtures.arguments.iter().skip(1).cloned().collect();
        let (children, sink) = (self.children.clone(), self.sink.clone());
        move |program| Trial {
            program,
            arguments,
            ask,
            state,
            children,
            sink,
        }
    }

    /// Notes what came of the trial.
    pub(super) fn take(&mut self, message: Message, now: Duration) -> Told {
        let Message::Tried(tried) = message;
        let chosen = match tried {
            Ok(chosen) => chosen,
            Err(reason) => return self.refused(&reason),
        };
        if self.step.tried(now) {
            upgrade_points::reach(Point::Tried);
            self.chosen = Some(chosen);
            return Told::Nothing;
        }
        let sentence = format!(
            "proxyd {} ({}) can go on for this one.",
            chosen.ready.version,
            chosen.path.display()
        );
        self.answer(Answer::Checked(Checked {
            from: PROGRAM_VERSION.to_owned(),
            to: chosen.ready.version.clone(),
            path: chosen.path.clone(),
        }));
        Told::Checked(sentence)
    }

    /// Returns when it is to be looked whether the daemon is quiet.
    pub(super) fn due(&self) -> Option<Duration> {
        self.step.due()
    }

    /// Returns whether there is an asker, whose connection is one of those of the control socket.
    pub(super) fn has_asker(&self) -> bool {
        self.asker.is_some()
    }

    /// Decides whether the program goes on now; `busy` tells what is under way.
    pub(super) fn look(&mut self, now: Duration, busy: Option<Busy>) -> Result<bool, Told> {
        match self.step.look(now, busy) {
            Next::Wait => Ok(false),
            Next::Leave => Ok(true),
            Next::GiveUp(busy) => {
                let reason = match busy {
                    Busy::Ending => busy.to_string(),
                    busy => format!(
                        "{busy}, and that did not end within {} s",
                        state::QUIET_PATIENCE.as_secs()
                    ),
                };
                Err(self.refused(&reason))
            }
        }
    }

    /// Ends an upgrade that is under way, for this reason, and answers the asker.
    pub(super) fn refused(&mut self, reason: &str) -> Told {
        let was_trial = self.step == Step::Trying { check: true };
        self.step = Step::Idle;
        if !was_trial {
            let to = self.chosen.take().map(|it| it.ready.version);
            self.note(
                UpgradeResult::Refused,
                (PROGRAM_VERSION.to_owned(), to.unwrap_or_default()),
                Some(reason),
            );
        }
        refuse(self.asker.take(), reason.to_owned())
    }

    /// Confirms this program, whose workers all serve and to which `sessions` were handed over, and answers the client
    /// that has asked for the upgrade; `staying` sessions cannot be handed over. Returns what is told of it; `None` if
    /// nothing is to be confirmed.
    pub(super) fn confirm(&mut self, (sessions, staying): (u64, u64)) -> Option<Confirmed> {
        let carried = self.let_go()?;
        upgrade_points::reach(Point::Confirmed);
        let (from, path) = (carried.from().to_owned(), carried.path().to_owned());
        if let Some(reason) = carried.went_back() {
            let versions = (PROGRAM_VERSION.to_owned(), from.clone());
            self.note(UpgradeResult::RolledBack, versions, Some(reason));
            let told = format!(
                "proxyd {from} could not go on, and proxyd {PROGRAM_VERSION} runs again: {reason}"
            );
            self.answer(Answer::refused(&told));
            return Some(Confirmed::WentBack(format!("{told}.")));
        }
        self.note(
            UpgradeResult::Done,
            (from.clone(), PROGRAM_VERSION.to_owned()),
            None,
        );
        let told = format!("proxyd {PROGRAM_VERSION} goes on for proxyd {from}.");
        self.answer(Answer::Upgraded(Upgraded {
            from,
            to: PROGRAM_VERSION.to_owned(),
            path,
            sessions,
            staying,
        }));
        Some(Confirmed::Upgraded(told))
    }

    /// Lets this program go on for another, though for this `reason` it should not, because of `error`; tells the client
    /// that has asked for the upgrade.
    pub(super) fn fail(&mut self, reason: &str, error: &NotBack) -> Option<Confirmed> {
        if let NotBack::BackAlready = error {
            return self.confirm((0, 0));
        }
        let carried = self.let_go()?;
        let from = carried.from().to_owned();
        let told = format!(
            "proxyd {PROGRAM_VERSION} goes on for proxyd {from}, but {reason}, and {error}"
        );
        self.note(
            UpgradeResult::Done,
            (from, PROGRAM_VERSION.to_owned()),
            Some(&told),
        );
        self.answer(Answer::refused(&told));
        Some(Confirmed::Failed(format!("{told}.")))
    }

    /// Ends the time in which the program before may be gone back to; returns what it had left, `None` if it was over.
    fn let_go(&mut self) -> Option<Rc<Carried>> {
        let carried = self.carried.take()?;
        succession::confirm();
        carried.let_go();
        self.step = Step::Idle;
        Some(carried)
    }

    /// Answers the client that has asked for the upgrade, if one has.
    fn answer(&mut self, answer: Answer) {
        if let Some(asker) = self.asker.take() {
            asker.answer(answer);
        }
    }

    /// Returns the version in which workers are to write records of sessions, so that the program that may go on with
    /// them next reads them: one that waits to go on for this one, or the one before this one as long as that may be
    /// gone back to. A record that it cannot read would be a lost session if a worker died meanwhile.
    pub(super) fn record_version(&self) -> u16 {
        let other = match (&self.chosen, &self.carried) {
            (Some(chosen), _) => chosen.ready.record,
            (None, Some(_)) => self.before,
            (None, None) => record::VERSION,
        };
        record::version::shared(other)
    }

    /// Returns whether this program goes on for another and is not confirmed.
    pub(super) fn is_confirming(&self) -> bool {
        self.carried.is_some()
    }

    /// Returns whether it was not confirmed in time.
    pub(super) fn is_late(&self, now: Duration) -> bool {
        self.step.is_late(now)
    }

    /// Goes back to the program before this one, for this reason; returns only if there is none, or that fails.
    pub(super) fn go_back(&self, reason: &str) -> Option<NotBack> {
        Some(self.carried.as_ref()?.go_back(reason))
    }

    fn note(&mut self, result: UpgradeResult, (from, to): (String, String), reason: Option<&str>) {
        let count = match result {
            UpgradeResult::Done => &mut self.book.total,
            UpgradeResult::Refused => &mut self.book.refused,
            UpgradeResult::RolledBack => &mut self.book.rolled_back,
        };
        *count = count.saturating_add(1);
        self.book.last = Some(UpgradeStatus {
            at: Timestamp::now(),
            from,
            to,
            result,
            reason: reason.map(str::to_owned),
        });
    }

    /// Returns what is known of upgrades, for the next supervisor.
    pub(super) fn book(&self) -> &UpgradesBook {
        &self.book
    }

    /// Returns the same for the status.
    pub(super) fn status(&self) -> UpgradesStatus {
        UpgradesStatus {
            total: self.book.total,
            refused: self.book.refused,
            rolled_back: self.book.rolled_back,
            last: self.book.last.clone(),
        }
    }

    /// Returns the path of the program that the daemon was started by.
    pub(super) fn program(&self) -> Option<&Path> {
        self.fixtures.program.as_deref()
    }
}

/// Answers an asker that all is as it was, for this reason.
fn refuse(asker: Option<Asker>, reason: String) -> Told {
    if let Some(asker) = asker {
        asker.answer(Answer::refused(&reason));
    }
    Told::Refused(reason)
}

/// Opens the program at `path` if it may become the daemon's, and tries it.
async fn choose(
    path: PathBuf,
    trial: impl FnOnce(Arc<OwnedFd>) -> Trial,
) -> Result<Chosen, String> {
    let to_open = path.clone();
    let opened = spawn_blocking(move || file::open(&to_open));
    let file = match timeout(DISK_PATIENCE, opened).await {
        Ok(Ok(opened)) => opened.map_err(|error| error.to_string())?,
        Ok(Err(error)) => return Err(format!("the program cannot be looked at: {error}")),
        Err(_) => {
            let (path, within) = (path.display(), DISK_PATIENCE.as_secs());
            return Err(format!("{path}: the disk did not answer within {within} s"));
        }
    };
    let file = Arc::new(file);
    let ready = trial(Arc::clone(&file)).run().await;
    let ready = ready.and_then(|it| it.is_near().map(|()| it));
    let ready = ready.map_err(|reason| format!("{}: {reason}", path.display()))?;
    Ok(Chosen { path, file, ready })
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        io::Read as _,
        os::{fd::AsRawFd as _, unix::net::UnixStream},
    };

    use zeroize::Zeroizing;

    use super::*;
    use crate::{
        supervisor::predecessor::Manifest,
        sys::{files::Standard, succession::Received},
        telemetry::log::{Form, Place},
    };

    /// Begins as a program that goes on for another, which `asker` has asked for.
    fn confirming(asker: UnixStream) -> Upgrades {
        let asker = OwnedFd::from(asker);
        let manifest = Manifest {
            pid: std::process::id(),
            asker: Some(asker.as_raw_fd()),
            ..Manifest::default()
        };
        let carried = Carried::take(Received {
            manifest: Zeroizing::new(serde_json::to_vec(&manifest).unwrap()),
            descriptors: BTreeMap::from([(asker.as_raw_fd(), asker)]),
        });
        let fixtures = Fixtures {
            program: None,
            arguments: vec![],
            directory: None,
            detached: false,
            pid_file: (
                Arc::new(tempfile::tempfile().unwrap().into()),
                PathBuf::new(),
            ),
        };
        let place = Place::standard(Standard::Error).unwrap();
        let sink = Sink::new(place, Form::Text).unwrap();
        Upgrades::new(
            fixtures,
            UpgradesBook::default(),
            (OwnChildren::default(), sink),
            mpsc::unbounded_channel().0,
            (Some(Rc::new(carried.unwrap())), record::VERSION),
        )
    }

    #[tokio::test]
    async fn a_program_that_should_have_been_gone_back_from_is_not_told_to_be_good() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let mut upgrades = confirming(theirs);
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let error = upgrades.go_back("its workers crash").unwrap();
                let told = upgrades.fail("its workers crash", &error);
                assert!(
                    matches!(told, Some(Confirmed::Failed(it)) if it.contains("workers crash"))
                );
            })
            .await;
        local.await;
        assert!(!upgrades.is_confirming());
        let reason = upgrades.status().last.unwrap().reason.unwrap();
        let mut answer = Vec::new();
        ours.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.contains("refused") && answer.contains(&reason),
            "{answer}"
        );
    }
}
