//! The fake GitLab and the fake runner of the host bench; each has a check of its own, which says what it proves.

use std::process::Command;

use crate::bench::{python_program, root, skip};

/// Exit code of a check that cannot run here.
const SKIPPED: i32 = 77;

/// Runs a check of `tools/hostbench` with the Python of the bench.
fn check(program: &str) {
    let Some(python) = python_program("python") else {
        return;
    };
    let output = Command::new(python)
        .arg(root().join("tools/hostbench").join(program))
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(std::env::temp_dir())
        .output()
        .expect("the check starts");
    let said = String::from_utf8_lossy(&output.stdout);
    if output.status.code() == Some(SKIPPED) {
        return skip(said.trim().trim_start_matches("skipped: "));
    }
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complaints}");
}

#[test]
fn public_clients_take_the_fake_gitlab_for_a_gitlab() {
    check("gitlab/check.py");
}

#[test]
fn the_fake_runner_does_what_a_runner_does() {
    check("image/check.py");
}
