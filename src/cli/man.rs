//! `dataops-infra man`.

use std::path::PathBuf;

use clap::CommandFactory as _;
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
    let written = if let Some(dir) = &args.dir {
        std::fs::create_dir_all(dir)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), dir))
            .map(|()| Vec::new())
    } else {
        let mut page = Vec::new();
        Man::new(Cli::command()).render(&mut page).map(|()| page)
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
