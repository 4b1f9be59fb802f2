//! Asks before anything is changed.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use crate::cli::outcome::{Exit, Failure};

/// Asks on the terminal whether to go on; without a terminal `--yes` is needed.
///
/// `answer` is what must be typed: `yes`, or the name of what is removed.
///
/// # Errors
///
/// There is no terminal, or the answer is another.
pub fn confirm(question: &str, answer: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::new(
            Exit::Refused,
            "there is no terminal to ask on, so nothing was changed",
        )
        .hint("the same command with --yes"));
    }
    eprint!("{question} Type {answer} to go on: ");
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    if read.is_ok() && line.trim() == answer {
        Ok(())
    } else {
        Err(Failure::new(
            Exit::Refused,
            "not confirmed, so nothing was changed",
        ))
    }
}
