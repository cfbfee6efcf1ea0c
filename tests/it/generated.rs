//! Man pages and completions are what the programs' definitions generate.
//!
//! Run with `PROXYD_REGENERATE=1` to write them anew.

use std::{fs, path::Path};

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use proxyd::cli::{complete, proxyctl::Proxyctl, proxyd::Args};

/// The programs, and the section of the manual they are in.
fn programs() -> Vec<Command> {
    vec![Args::command(), Proxyctl::command()]
}

const SECTION: &str = "8";

#[test]
fn man_pages_are_fresh() {
    for program in programs() {
        let name = program.get_name().to_owned();
        let path = format!("man/{name}.{SECTION}");
        compare(&path, &man_page(program, &format!("man/src/{name}.roff")));
    }
}

#[test]
fn completions_are_fresh() {
    for program in programs() {
        for (shell, file) in complete::files(program.get_name()) {
            let mut script = Vec::new();
            match program.get_name() {
                "proxyctl" => complete::write_live_script("proxyctl", shell, &mut script).unwrap(),
                _ => complete::write_script(program.clone(), shell, &mut script).unwrap(),
            }
            compare(&format!("completions/{file}"), &script);
        }
    }
}

/// Compares a committed file with what it should hold, or writes it.
fn compare(path: &str, fresh: &[u8]) {
    let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("PROXYD_REGENERATE").is_some() {
        fs::write(&full, fresh).unwrap();
    }
    let committed = fs::read(&full).unwrap_or_default();
    let same = committed == fresh;
    assert!(
        same,
        "{path} is stale; run the test again with PROXYD_REGENERATE=1"
    );
}

/// Returns one page for a program and all its subcommands, ended by sections written by hand.
fn man_page(program: Command, by_hand: &str) -> Vec<u8> {
    // The page has its own exit status and examples, with more in them.
    let mut program = program.after_help("").disable_help_subcommand(true);
    program.build();
    let man = page(program.clone());
    let mut page = Vec::new();
    man.render_title(&mut page).unwrap();
    man.render_name_section(&mut page).unwrap();
    man.render_synopsis_section(&mut page).unwrap();
    man.render_description_section(&mut page).unwrap();
    man.render_options_section(&mut page).unwrap();
    let mut subcommands = program
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set())
        .peekable();
    if subcommands.peek().is_some() {
        page.extend(b".SH COMMANDS\n");
    }
    for subcommand in subcommands {
        page.extend(command_section(&program, subcommand.clone()));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    page.extend(fs::read(root.join(by_hand)).unwrap_or_default());
    page
}

fn page(command: Command) -> Man {
    let title = command.get_name().to_uppercase();
    Man::new(command)
        .title(title)
        .section(SECTION)
        .date("")
        .manual("proxyd")
}

/// Returns a subcommand's synopsis, description and own options as a subsection.
fn command_section(program: &Command, subcommand: Command) -> Vec<u8> {
    let heading = format!("{} {}", program.get_name(), subcommand.get_name());
    let name = format!(".SS \"{}\"\n", heading.replace('-', "\\-"));
    let shared = |id: &str| program.get_arguments().any(|arg| arg.get_id() == id);
    let subcommand = subcommand.after_help("").mut_args(move |arg| {
        if shared(arg.get_id().as_str()) && arg.get_id() != "timeout" {
            arg.hide(true)
        } else {
            arg
        }
    });
    let man = page(subcommand);
    let mut parts = [Vec::new(), Vec::new(), Vec::new()];
    man.render_synopsis_section(&mut parts[0]).unwrap();
    man.render_description_section(&mut parts[1]).unwrap();
    man.render_options_section(&mut parts[2]).unwrap();
    let mut section = name.into_bytes();
    for part in parts {
        section.extend(without_heading(&part));
    }
    section
}

/// Drops the lines that open a section, so that its text can go on in another.
fn without_heading(part: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(part.to_vec()).unwrap();
    let mut kept = String::new();
    for line in text.lines().filter(|line| !line.starts_with(".SH ")) {
        kept.push_str(line);
        kept.push('\n');
    }
    kept.push_str(".PP\n");
    kept.into_bytes()
}
