//! What README and the help pages tell users to type is accepted.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use super::tree::root;

fn program(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_dataops-infra"))
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8(text).expect("the program writes UTF-8"),
    )
}

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).expect("there is a README")
}

/// Returns the names of the commands below a command.
fn commands(path: &[&str]) -> Vec<String> {
    let (_, help) = program(&[path, &["--help"]].concat());
    let mut lines = help.lines().skip_while(|line| *line != "Commands:");
    lines.next();
    lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// Returns the examples in the help of a command and of those below it.
fn examples(path: &[&str]) -> Vec<String> {
    let (_, help) = program(&[path, &["--help"]].concat());
    // A command may go on below.
    let help = help.replace("\\\n      ", "");
    let mut found: Vec<String> = help
        .lines()
        .filter(|line| line.starts_with("  dataops-infra "))
        .map(|line| line.trim().to_owned())
        .collect();
    for command in commands(path) {
        found.extend(examples(&[path, &[command.as_str()]].concat()));
    }
    found
}

/// Returns the arguments of a command line: up to a redirection, a pipe, a comment or the gap before an explanation.
fn arguments(line: &str) -> Option<Vec<String>> {
    let line = line.trim();
    let rest = line
        .strip_prefix("dataops-infra ")
        .or_else(|| line.strip_prefix("cargo run -- "))?;
    let end = ["  ", " > ", " | ", " #"]
        .iter()
        .filter_map(|stop| rest.find(stop))
        .min();
    let rest = &rest[..end.unwrap_or(rest.len())];
    Some(
        rest.split_whitespace()
            .map(|word| word.trim_matches(['"', '\'']).to_owned())
            .collect(),
    )
}

/// Fails unless the arguments parse: with `--help` behind them nothing is run, but what is before it is read.
fn check(line: &str) {
    let arguments = arguments(line).unwrap_or_else(|| panic!("not a command of ours: {line}"));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (accepted, text) = program(&[&arguments[..], &["--help"]].concat());
    assert!(accepted, "{line}\n{text}");
}

#[test]
fn commands_in_the_readme_are_accepted() {
    let readme = readme();
    let lines: Vec<&str> = readme.lines().filter(|line| arguments(line).is_some()).collect();
    assert!(lines.len() >= 5, "{lines:?}");
    for line in lines {
        check(line);
    }
}

#[test]
fn examples_in_the_help_are_accepted() {
    let examples = examples(&[]);
    assert!(examples.len() >= 10, "{examples:?}");
    for line in &examples {
        check(line);
    }
}

#[test]
fn the_readme_lists_the_commands_and_no_others() {
    let readme = readme();
    let listed: BTreeSet<String> = readme
        .lines()
        .skip_while(|line| *line != "## Commands")
        .take_while(|line| *line != "## Exit codes")
        .filter_map(|line| {
            line.strip_prefix("| `")?
                .split([' ', '`'])
                .next()
                .map(str::to_owned)
        })
        .collect();
    assert_eq!(listed, commands(&[]).into_iter().collect());
}

#[test]
fn the_readme_begins_with_the_two_commands() {
    let readme = readme();
    let shell: Vec<&str> = readme
        .lines()
        .filter(|line| line.starts_with("cargo run ") || *line == "./test")
        .collect();
    assert_eq!(shell, ["cargo run -- plan --workload production", "./test"]);
}
