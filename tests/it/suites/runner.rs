//! The programs that run the suites, and what they say.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::Target;
use crate::support::{
    program::{clean_command, run},
    servers::{Server, found},
};

/// How long one run of a suite may take.
const DEADLINE: Duration = Duration::from_secs(400);

/// MariaDB's, of the package `mariadb-test`.
pub(super) struct Mariadb {
    folder: PathBuf,
}

impl Mariadb {
    pub(super) fn find() -> Option<Self> {
        let folder = found("mariadb-tests", "PROXYD_TEST_MARIADB_TESTS")?.into();
        Some(Self { folder })
    }

    /// Runs tests of the suite `main`; returns the names of those that pass.
    pub(super) fn run(&self, tests: &[String], target: &Target) -> BTreeSet<String> {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join("log")).unwrap();
        let said = run(self.command(tests, target, scratch.path()), DEADLINE).stdout;
        let passed = said
            .lines()
            .filter(|line| line.ends_with("[ pass ]") || line.contains("[ pass ] "));
        let names = passed.filter_map(|line| line.strip_prefix("main.")?.split([' ', '\'']).next());
        names.map(str::to_owned).collect()
    }

    fn command(&self, tests: &[String], target: &Target, scratch: &Path) -> Command {
        let mut command = clean_command("perl");
        command
            .current_dir(&self.folder)
            // A library that Debian has apart.
            .env("LD_LIBRARY_PATH", self.libraries())
            .arg("./mysql-test-run.pl")
            .args(["--extern", "host=127.0.0.1"])
            .args(["--extern", &format!("port={}", target.port)])
            .args(["--extern", "user=root"])
            .args(["--extern", &format!("ssl-ca={}", target.ca.display())])
            .args(["--extern", "ssl-verify-server-cert=1"])
            .arg(format!("--vardir={}", scratch.display()))
            .args(["--suite=main", "--force", "--max-test-fail=0", "--retry=0"])
            .args(["--testcase-timeout=1"])
            .args(tests);
        command
    }

    fn libraries(&self) -> PathBuf {
        let all = fs::read_dir(self.folder.join("../../../lib")).unwrap();
        let mut found = all.filter_map(|entry| Some(entry.ok()?.path()));
        found
            .find(|path| path.to_string_lossy().contains("-linux-"))
            .unwrap()
    }
}

/// PostgreSQL's: the tests of its source, run by the program of its packages.
pub(super) struct Postgres {
    folder: PathBuf,
}

impl Postgres {
    pub(super) fn find() -> Option<Self> {
        let folder = found("postgres-tests", "PROXYD_TEST_POSTGRES_TESTS")?.into();
        Some(Self { folder })
    }

    /// Runs all tests in a new database; returns the names of those that pass.
    pub(super) fn run(&self, server: &Server, target: &Target) -> BTreeSet<String> {
        let admin = server.client();
        for sql in [
            "DROP DATABASE IF EXISTS regression",
            "CREATE DATABASE regression TEMPLATE template0",
            "ALTER DATABASE regression SET lc_messages TO 'C'",
            "ALTER DATABASE regression SET timezone_abbreviations TO 'Default'",
        ] {
            admin.run(sql).answer();
        }
        let scratch = tempfile::tempdir().unwrap();
        let output = scratch.path().join("out");
        // The server writes there too.
        for folder in [scratch.path(), &output, &output.join("results")] {
            let _ = fs::create_dir(folder);
            fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
        }
        let said = run(self.command(server, target, &output), DEADLINE).stdout;
        said.lines().filter_map(passed).map(str::to_owned).collect()
    }

    fn command(&self, server: &Server, target: &Target, output: &Path) -> Command {
        let programs = server.client.parent().unwrap();
        let runner = "../lib/pgxs/src/test/regress/pg_regress";
        let mut command = clean_command(programs.join(runner));
        command
            .env("PGPASSWORD", server.password)
            .env("PGSSLMODE", "verify-full")
            .env("PGSSLROOTCERT", &target.ca)
            .arg("--use-existing")
            .arg("--host=127.0.0.1")
            .arg(format!("--port={}", target.port))
            .arg(format!("--user={}", server.user))
            .arg("--dbname=regression")
            .arg(format!("--bindir={}", programs.display()))
            .arg(format!("--dlpath={}", self.folder.display()))
            .arg(format!("--inputdir={}", self.folder.display()))
            .arg(format!("--outputdir={}", output.display()))
            .arg(format!(
                "--schedule={}",
                self.folder.join("parallel_schedule").display()
            ))
            .arg("--max-connections=5");
        command
    }
}

/// Returns the name of a test that passed, from a line such as `test boolean   ... ok   31 ms`.
fn passed(line: &str) -> Option<&str> {
    let (name, verdict) = line.split_once(" ... ")?;
    let name = name.trim();
    verdict
        .starts_with("ok ")
        .then(|| name.strip_prefix("test ").unwrap_or(name).trim())
}

#[test]
fn a_test_that_passed_is_known_by_its_line() {
    assert_eq!(
        passed("test boolean     ... ok          31 ms"),
        Some("boolean")
    );
    assert_eq!(
        passed("     char        ... ok           9 ms"),
        Some("char")
    );
    assert_eq!(passed("     char        ... FAILED       9 ms"), None);
    assert_eq!(passed("parallel group (20 tests):  boolean"), None);
}
