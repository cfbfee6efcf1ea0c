//! The example profile for `AppArmor`.

use std::path::{Path, PathBuf};

use super::DEADLINE;
use crate::support::{
    program::{clean_command, run},
    servers::found,
};

#[test]
fn the_example_profile_is_one_that_apparmor_reads() {
    let Some(root) = found("apparmor", "PROXYD_TEST_APPARMOR") else {
        return;
    };
    let root = PathBuf::from(root);
    let mut parser = clean_command(root.join("sbin/apparmor_parser"));
    parser
        .args(["--skip-kernel-load", "--skip-cache", "--base"])
        .arg(root.join("etc/apparmor.d"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/apparmor/proxyd"));
    run(parser, DEADLINE).answer();
}
