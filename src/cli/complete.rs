//! Shell completion scripts, generated from the same definitions as the help.

use std::io::{self, Write};

use clap::{Command, ValueEnum as _};
use clap_complete::{Shell, env::Shells, generate};

/// The environment variable by which a script of [`write_live_script`] has its program complete a line.
pub const LIVE: &str = "PROXYCTL_COMPLETE";

/// Writes the completion script of `command` for `shell`.
pub fn write_script(mut command: Command, shell: Shell, out: &mut dyn Write) -> io::Result<()> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    generate(shell, &mut command, name, &mut script);
    out.write_all(&script)
}

/// Writes a script for `shell` that has the program of this name complete each line, so that it can complete
/// what only a running daemon knows.
pub fn write_live_script(program: &str, shell: Shell, out: &mut dyn Write) -> io::Result<()> {
    let shells = Shells::builtins();
    let Some(completer) = shells.completer(&shell.to_string()) else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    completer.write_registration(LIVE, program, program, program, out)?;
    if shell == Shell::Zsh {
        // As a file in `fpath` it is read at the first use, which must complete a line too.
        let function = format!("_clap_dynamic_completer_{}", program.replace('-', "_"));
        writeln!(out, "[[ $funcstack[1] = _{program} ]] && {function} \"$@\"")?;
    }
    Ok(())
}

/// Returns each supported shell and the file name by which it finds the script of `program`.
#[must_use]
pub fn files(program: &str) -> Vec<(Shell, String)> {
    let file = |shell: &Shell| clap_complete::Generator::file_name(shell, program);
    let shells = Shell::value_variants().iter();
    shells.map(|shell| (*shell, file(shell))).collect()
}
