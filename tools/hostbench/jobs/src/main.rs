//! Serves jobs as GitLab does, with `gitlab-runner-mock`; `build` makes it, `check.py` uses it.
//!
//! The first line on stdout is the base address. Each line on stdin is the script of one job; its number is said at once,
//! and how it ended when it has: `{"id":266,"state":"success","log":"…"}`. Ends when stdin closes.

use std::io::BufRead as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gitlab_runner_mock::{GitlabRunnerMock, MockJob, MockJobState, MockJobStepName, MockJobStepWhen};
use serde_json::json;

/// Seconds a job may take.
const TIMEOUT: u64 = 600;

fn main() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mock = runtime.block_on(GitlabRunnerMock::start());
    println!("{}", mock.uri());
    let waiting = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&waiting);
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(50));
            told.lock().expect("no panic").retain(|job| !ended(job));
        }
    });
    for line in std::io::stdin().lock().lines() {
        let mut builder = mock.job_builder("job".to_owned());
        builder.add_step(
            MockJobStepName::Script,
            vec![line?],
            TIMEOUT,
            MockJobStepWhen::OnSuccess,
            false,
        );
        // There is no repository behind the mock.
        builder.add_variable("GIT_STRATEGY".to_owned(), "none".to_owned(), true, false);
        let job = builder.build();
        println!("{}", json!({"id": job.id(), "state": "pending"}));
        mock.enqueue_job(job.clone());
        waiting.lock().expect("no panic").push(job);
    }
    Ok(())
}

/// Says how a job ended; false while it has not.
fn ended(job: &MockJob) -> bool {
    let state = job.state();
    let over = state.finished() || state == MockJobState::Cancelled;
    if over {
        let log = String::from_utf8_lossy(&job.log()).into_owned();
        println!(
            "{}",
            json!({"id": job.id(), "state": state.to_string(), "log": log, "patches": job.log_patches()})
        );
    }
    over
}
