//! `tests/golden/<case>/`: `command` holds the arguments, `expected.txt` what comes of them. `BLESS=1` rewrites.

use std::path::Path;
use std::process::{Command, Stdio};

use super::tree::root;

/// Runs the program in the folder of the case, with an environment of its own, and returns all that can be seen.
fn observed(case: &Path) -> String {
    let command = std::fs::read_to_string(case.join("command")).expect("a case has a command");
    let output = Command::new(env!("CARGO_BIN_EXE_dataops-infra"))
        .args(command.split_whitespace())
        .current_dir(case)
        .env_clear()
        .env("HOME", case)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let code = output
        .status
        .code()
        .map_or("none".to_owned(), |code| code.to_string());
    format!("exit code: {code}\n--- stdout\n{stdout}--- stderr\n{stderr}")
}

#[test]
fn every_case_is_as_expected() {
    let bless = std::env::var_os("BLESS").is_some_and(|value| !value.is_empty());
    let mut cases: Vec<_> = std::fs::read_dir(root().join("tests/golden"))
        .expect("there are cases")
        .map(|entry| entry.expect("a folder can be read to its end").path())
        .filter(|path| path.is_dir())
        .collect();
    cases.sort();
    assert!(!cases.is_empty(), "there is no case");
    let mut different = Vec::new();
    for case in &cases {
        let file = case.join("expected.txt");
        let observed = observed(case);
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        if observed == expected {
            continue;
        }
        if bless {
            std::fs::write(&file, &observed).expect("the expected text can be written");
        } else {
            different.push(format!(
                "{}\n{}",
                case.display(),
                first_difference(&expected, &observed)
            ));
        }
    }
    assert!(
        different.is_empty(),
        "{} of {} cases differ; BLESS=1 rewrites them\n\n{}",
        different.len(),
        cases.len(),
        different.join("\n\n")
    );
}

/// Returns the first line that differs, with its number.
fn first_difference(expected: &str, observed: &str) -> String {
    let mut expected = expected.lines();
    let mut observed = observed.lines();
    for n in 1.. {
        match (expected.next(), observed.next()) {
            (None, None) => break,
            (left, right) if left == right => {}
            (left, right) => {
                let show = |line: Option<&str>| line.unwrap_or("(end)").to_owned();
                return format!(
                    "line {n}\n  expected: {}\n  observed: {}",
                    show(left),
                    show(right)
                );
            }
        }
    }
    "only the line ends differ".to_owned()
}
