//! The life of a host for real: `up ec2` against the emulator, and the instance that it launches boots, registers at a fake
//! platform, runs a job, restarts, and is taken down. The world it lives in is `tools/hostbench`.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::bench::{root, skip};

/// Exit code of a machine that cannot.
const CANNOT: i32 = 77;
/// Longest that it may take; the first time on a machine, the guest's file system is made too.
const PATIENCE: Duration = Duration::from_mins(15);

#[test]
fn a_host_that_up_launches_lives() {
    let folder = tempfile::tempdir().expect("a folder");
    let said = folder.path().join("said");
    let file = std::fs::File::create(&said).expect("a file");
    let began = Instant::now();
    let mut child = Command::new(root().join("tools/hostbench/run"))
        .args(["--binary", env!("CARGO_BIN_EXE_dataops-infra")])
        .stdin(Stdio::null())
        .stdout(file.try_clone().expect("a file"))
        .stderr(file)
        .spawn()
        .expect("the bench starts");
    let code = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status.code();
        }
        if began.elapsed() > PATIENCE {
            // All that it made goes with it.
            child.kill().expect("killed");
            child.wait().expect("ended");
            break None;
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    let said = std::fs::read_to_string(said).expect("text");
    match code {
        Some(0) => {}
        Some(CANNOT) => skip(
            said.lines()
                .rev()
                .find_map(|line| line.strip_prefix("skipped: "))
                .unwrap_or("the host bench cannot run here"),
        ),
        Some(_) => panic!("the host did not live:\n{said}"),
        None => panic!("the host bench took longer than {PATIENCE:?}:\n{said}"),
    }
}
