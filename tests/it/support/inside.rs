//! Tests that run once more where something of the machine is theirs alone: its network, or files.

use std::{
    env,
    ffi::{OsStr, OsString},
    process::Command,
    time::Duration,
};

use super::{is_root, program::run, skip};

/// Set there.
const INSIDE: &str = "PROXYD_TEST_INSIDE";

/// How a place is made in which a test has something for itself.
pub(crate) struct Place<'a> {
    /// What of the machine is not shared, as `unshare(1)` calls it.
    pub(crate) own: &'a [&'a str],
    /// What a shell does there first.
    pub(crate) prepare: &'a str,
    /// The shell's `$1` and those behind.
    pub(crate) arguments: &'a [OsString],
}

impl Place<'_> {
    /// Whether this is inside. Outside it runs the test of this name there, and the answer is no.
    #[track_caller]
    pub(crate) fn is_here(&self, test: &str) -> bool {
        if env::var_os(INSIDE).is_some() {
            return true;
        }
        if !self.can_be() {
            skip("a network or files of one's own need root and unshare");
            return false;
        }
        let this = env::current_exe().unwrap();
        let program = [this.as_os_str(), OsStr::new("--exact"), OsStr::new(test)];
        let mut command = Command::new("unshare");
        command
            .args(self.own)
            .args(["sh", "-e", "-c"])
            .arg(format!(
                "{}\nshift {}\nexec \"$@\"",
                self.prepare,
                self.arguments.len()
            ))
            .arg("sh")
            .args(self.arguments)
            .args(program)
            .arg("--nocapture")
            .env(INSIDE, "yes");
        let outcome = run(command, Duration::from_secs(120));
        assert!(outcome.is_success(), "{outcome:#?}");
        assert!(
            outcome.stdout.contains("test result: ok. 1 passed"),
            "{outcome:#?}"
        );
        false
    }

    fn can_be(&self) -> bool {
        let mut command = Command::new("unshare");
        command.args(self.own).arg("true");
        is_root() && command.status().is_ok_and(|status| status.success())
    }
}
