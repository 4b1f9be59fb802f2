//! `dataops-infra completions`.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::args::Cli;
use super::outcome::Ending;

const EXAMPLES: &str = "\
Examples:
  dataops-infra completions bash > ~/.local/share/bash-completion/completions/dataops-infra
  dataops-infra completions zsh > \"${fpath[1]}/_dataops-infra\"
  dataops-infra completions fish > ~/.config/fish/completions/dataops-infra.fish";

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Runs the command.
pub fn run(args: &CompletionsArgs) -> Ending {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "dataops-infra", &mut script);
    Ending::Raw(script)
}
