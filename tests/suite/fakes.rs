//! The fake GitLab and the fake runner of the host bench; each has a check of its own, which says what it proves.

use std::process::Command;

use crate::bench::{python_program, root, skip};

/// Exit code of a check that cannot run here.
const SKIPPED: i32 = 77;

/// What a check that builds something needs of the environment.
const PASSED_ON: &str = "PATH HOME XDG_CACHE_HOME CARGO_HOME RUSTUP_HOME CI";

/// Runs a check of `tools/hostbench` with the Python of the bench.
fn check(program: &str) {
    let Some(python) = python_program("python") else {
        return;
    };
    let passed_on = PASSED_ON.split(' ');
    let environment = passed_on.filter_map(|name| Some((name, std::env::var_os(name)?)));
    let output = Command::new(python)
        .arg(root().join("tools/hostbench").join(program))
        .env_clear()
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .envs(environment)
        .current_dir(std::env::temp_dir())
        .output()
        .expect("the check starts");
    let said = String::from_utf8_lossy(&output.stdout);
    if output.status.code() == Some(SKIPPED) {
        skip(said.trim().trim_start_matches("skipped: "));
        return;
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

#[test]
fn the_fake_runner_does_the_jobs_of_another_fake() {
    check("jobs/check.py");
}
