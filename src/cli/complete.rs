//! Shell completion scripts, generated from the same definitions as the help.

use std::io::{self, Write};

use clap::{Command, ValueEnum as _};
use clap_complete::{Shell, generate};

/// Writes the completion script of `command` for `shell`.
pub fn write_script(mut command: Command, shell: Shell, out: &mut dyn Write) -> io::Result<()> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    generate(shell, &mut command, name, &mut script);
    out.write_all(&script)
}

/// Returns each supported shell and the file name by which it finds the script of `program`.
#[must_use]
pub fn files(program: &str) -> Vec<(Shell, String)> {
    let file = |shell: &Shell| clap_complete::Generator::file_name(shell, program);
    let shells = Shell::value_variants().iter();
    shells.map(|shell| (*shell, file(shell))).collect()
}
