//! `up eks` and `down`, killed (`kill -9`) where each step begins and where it is done, be it on AWS, in the cluster or by Helm, and then
//! run again to a clean end.
//!
//! In an ordinary run the sample is a few steps of each kind; `DATAOPS_INFRA_SWEEP=whole` takes all.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::eks::Ground;

/// Steps of the ordinary run: a call whose answer is lost with the process, a wait, an object, Helm.
const SAMPLE: [(&str, &str); 4] = [
    ("cluster", "done"),
    ("addon-coredns", "started"),
    ("release", "started"),
    ("online", "started"),
];

/// Steps of `down` in the ordinary run.
const SAMPLE_DOWN: [(&str, &str); 3] = [("release", "started"), ("nodes", "done"), ("cluster", "done")];

fn is_whole() -> bool {
    std::env::var("DATAOPS_INFRA_SWEEP").is_ok_and(|value| value == "whole")
}

/// Runs the program and kills it at an event of a step; returns the events that were seen.
fn killed(mut command: Command, at: Option<(&str, &str)>) -> Vec<(String, String)> {
    let mut child = command
        .args(["--log-format", "json"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut seen = Vec::new();
    let lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    for line in lines {
        let line: Value = serde_json::from_str(&line.expect("text")).unwrap_or_default();
        let (Some(address), Some(event)) = (line["address"].as_str(), line["event"].as_str()) else {
            continue;
        };
        seen.push((address.to_owned(), event.to_owned()));
        if at == Some((address, event)) {
            child.kill().expect("killed");
            break;
        }
    }
    child.wait().expect("ended");
    seen
}

/// Returns the moments of a run that was not disturbed.
fn moments(events: &[(String, String)]) -> Vec<(String, String)> {
    let kept = events
        .iter()
        .filter(|(_, event)| event == "started" || event == "done");
    kept.cloned().collect()
}

/// Returns runners that the platform has for us, but for the one that was made there by hand.
fn registered(ground: &Ground) -> usize {
    ground.platform.runners().len()
}

fn ends_clean(ground: &Ground, before: &super::inventory::Inventory, what: &str) {
    let down = ground.down(&["--delete-storage"]);
    assert_eq!(down.code, 0, "{what}: {down}");
    assert_eq!(ground.world.inventory(), *before, "{what}: {down}");
    assert_eq!(ground.inside(), [""; 0], "{what}: {down}");
}

fn up_killed(nth: usize, at: (&str, &str)) {
    let what = format!("killed where {} is {}", at.0, at.1);
    let Some(ground) = Ground::named(&format!("swept-{nth}")) else {
        return;
    };
    let before = ground.world.inventory();
    let seen = killed(ground.up_command(&[]), Some(at));
    assert!(
        seen.iter()
            .any(|(address, event)| (address.as_str(), event.as_str()) == at),
        "{what}: there was no such moment in {seen:?}"
    );
    let up = ground.up(&[]);
    assert_eq!(up.code, 0, "{what}: {up}");
    let again = ground.up(&[]);
    assert_eq!(again.json["status"], "unchanged", "{what}: {again}");
    assert_eq!(registered(&ground), 1, "{what}");
    ends_clean(&ground, &before, &what);
}

fn down_killed(nth: usize, at: (&str, &str)) {
    let what = format!("down killed where {} is {}", at.0, at.1);
    let Some(ground) = Ground::named(&format!("removed-{nth}")) else {
        return;
    };
    let before = ground.world.inventory();
    let up = ground.up(&[]);
    assert_eq!(up.code, 0, "{what}: {up}");
    let seen = killed(
        ground.command(&["down"], &["--yes", "--delete-storage"]),
        Some(at),
    );
    assert!(
        seen.iter()
            .any(|(address, event)| (address.as_str(), event.as_str()) == at),
        "{what}: there was no such moment in {seen:?}"
    );
    ends_clean(&ground, &before, &what);
}

/// Returns the moments to kill at: the sample, or all of a run that is not disturbed.
fn chosen(sample: &[(&str, &str)], run: impl FnOnce() -> Vec<(String, String)>) -> Vec<(String, String)> {
    if is_whole() {
        return moments(&run());
    }
    let owned = |(address, event): &(&str, &str)| ((*address).to_owned(), (*event).to_owned());
    sample.iter().map(owned).collect()
}

#[test]
fn up_on_eks_that_was_killed_goes_on() {
    let Some(ground) = Ground::named("undisturbed") else {
        return;
    };
    let all = chosen(&SAMPLE, || killed(ground.up_command(&[]), None));
    for (nth, (address, event)) in all.iter().enumerate() {
        up_killed(nth, (address, event));
    }
}

#[test]
fn down_on_eks_that_was_killed_goes_on() {
    let Some(ground) = Ground::named("undisturbed") else {
        return;
    };
    let all = chosen(&SAMPLE_DOWN, || {
        let up = ground.up(&[]);
        assert_eq!(up.code, 0, "{up}");
        killed(ground.command(&["down"], &["--yes", "--delete-storage"]), None)
    });
    for (nth, (address, event)) in all.iter().enumerate() {
        down_killed(nth, (address, event));
    }
}

#[test]
fn what_fails_on_eks_is_named_and_the_next_run_goes_on() {
    let Some(ground) = Ground::named("failing") else {
        return;
    };
    let before = ground.world.inventory();
    let issue = json!({ "fail": { "nodegroup": {
        "code": "NodeCreationFailure", "message": "Unhealthy nodes in the kubernetes cluster", "times": 1,
    } } });
    ground.world.account.knobs(&issue);
    let up = ground.up(&[]);
    assert_eq!(up.code, 1, "{up}");
    assert!(up.stderr.contains("NodeCreationFailure"), "{up}");
    let up = ground.up(&[]);
    assert_eq!(up.code, 0, "{up}");
    ends_clean(&ground, &before, "after nodes that failed");
}
