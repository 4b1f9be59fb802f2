//! The disk guard on a real Docker engine, whose small disk is filled while a job runs.

use std::process::Command;

use super::bench::{root, skip};

#[test]
fn the_disk_never_fills_and_the_job_never_breaks() {
    let output = Command::new(root().join("tools/hostbench/disk-guard-test"))
        .output()
        .expect("Python runs");
    let said = String::from_utf8_lossy(&output.stdout);
    match output.status.code() {
        Some(0) => assert!(said.contains("the disk never fills"), "{said}"),
        Some(77) => {
            let why = said.lines().find_map(|line| line.strip_prefix("skipped: "));
            skip(why.expect("it says why"));
        }
        _ => panic!("{said}{}", String::from_utf8_lossy(&output.stderr)),
    }
}
