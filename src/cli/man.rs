//! `dataops-infra man`.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

use super::args::Cli;
use super::outcome::{Ending, Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  dataops-infra man | man -l -
  dataops-infra man --dir ~/.local/share/man/man1";

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ManArgs {
    /// Write the pages of all commands into this directory instead; it is made if it is missing.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &ManArgs) -> Ending {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let written = match &args.dir {
        Some(dir) => write_all(&program, dir).map(|()| Vec::new()),
        None => page(&program).map(String::into_bytes),
    };
    written.map_or_else(
        |error| {
            let place = args.dir.as_ref().map(|dir| format!(" to {}", dir.display()));
            let message = format!("could not write the manual{}", place.unwrap_or_default());
            Ending::Failed(Failure::new(Exit::Failed, message).because(error))
        },
        Ending::Raw,
    )
}

/// Writes the page of a command and of all below it.
fn write_all(command: &Command, dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    for below in command.get_subcommands() {
        write_all(below, dir)?;
    }
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    std::fs::write(dir.join(format!("{name}.1")), page(command)?)
}

/// Returns the page of a command; its examples keep their lines, which clap_mangen would fill.
fn page(command: &Command) -> io::Result<String> {
    let man = Man::new(command.clone());
    let mut before = Vec::new();
    man.render_title(&mut before)?;
    man.render_name_section(&mut before)?;
    man.render_synopsis_section(&mut before)?;
    man.render_description_section(&mut before)?;
    man.render_options_section(&mut before)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut before)?;
    }
    let mut page = String::from_utf8_lossy(&before).into_owned();
    if command.get_after_help().is_some() {
        let mut extra = Vec::new();
        man.render_extra_section(&mut extra)?;
        let extra = String::from_utf8_lossy(&extra).replacen(".SH EXTRA\n", ".SH EXAMPLES\n.nf\n", 1);
        page.push_str(&extra.replacen("\nExamples:\n", "\n", 1));
        page.push_str(".fi\n");
    }
    Ok(page)
}
