//! What a host does for itself, tried on a real Docker engine: the disk guard, while a small disk is filled and a job runs,
//! and the reboot window.

use std::process::Command;

use super::bench::{root, skip};

/// Runs a program of the host bench, which says `expected` somewhere when it has done its work.
fn tried(program: &str, expected: &str) {
    let output = Command::new(root().join("tools/hostbench").join(program))
        .output()
        .expect("Python runs");
    let said = String::from_utf8_lossy(&output.stdout);
    match output.status.code() {
        Some(0) => assert!(said.contains(expected), "{said}"),
        Some(77) => {
            let why = said.lines().find_map(|line| line.strip_prefix("skipped: "));
            skip(why.expect("it says why"));
        }
        _ => panic!("{said}{}", String::from_utf8_lossy(&output.stderr)),
    }
}

#[test]
fn the_disk_never_fills_and_the_job_never_breaks() {
    tried("disk-guard-test", "ok: the disk never fills");
}

#[test]
fn the_machine_restarts_when_no_job_runs() {
    tried("reboot-window-test", "ok: the machine is restarted after the job");
}
