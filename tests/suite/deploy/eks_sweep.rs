//! `up eks` and `down`, killed (`kill -9`) where each step begins and where it is done, be it on AWS, in the cluster or by Helm, and then
//! run again to a clean end.
//!
//! In an ordinary run the sample is a few steps of each kind; `DATAOPS_INFRA_SWEEP=whole` takes all.

use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::{Value, json};

use super::cases::{chosen, each, share};
use super::eks::Ground;
use super::eks_faults::{Shape, brief, gone, stands};
use crate::bench::kubernetes::Platform;

/// Cases at the same time: much of one is waiting.
const AT_ONCE: usize = 3;

/// Steps of the ordinary run: a call whose answer is lost with the process, a wait, an object, Helm.
const SAMPLE: [(&str, &str); 4] = [
    ("cluster", "done"),
    ("addon-coredns", "started"),
    ("release", "started"),
    ("online", "started"),
];

/// Steps of `up` in the ordinary run after which nobody goes on: a control plane that is being made, and Helm that is at work.
const SAMPLE_UP_DOWN: [(&str, &str); 2] = [("cluster", "done"), ("release", "started")];

/// Steps of `down` in the ordinary run.
const SAMPLE_DOWN: [(&str, &str); 3] = [("release", "started"), ("nodes", "done"), ("cluster", "done")];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// `up`, then `up`, then `down`.
    Up,
    /// `up`, then `down` at once.
    UpDown,
    /// `down` of what is complete, then `down`.
    Down,
}

/// Where a run is killed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Moment {
    address: String,
    event: String,
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.address, self.event)
    }
}

fn command(ground: &Ground, way: Way) -> Command {
    match way {
        Way::Up | Way::UpDown => ground.up_command(&[]),
        Way::Down => ground.command(&["down"], &["--yes", "--delete-storage"]),
    }
}

/// What a program that was killed had started, which is ended with the case.
struct Orphans(u32);

impl Drop for Orphans {
    fn drop(&mut self) {
        // Mostly there are none.
        let group = format!("-{}", self.0);
        let _ = Command::new("kill")
            .args(["-KILL", "--", &group])
            .stderr(Stdio::null())
            .status();
    }
}

/// Runs the program and kills it at a moment, but not what it has started; returns the moments that were seen.
fn killed(mut command: Command, at: Option<&Moment>) -> (Vec<Moment>, Orphans) {
    let mut child = command
        .process_group(0)
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
        let (Some(address), Some(event @ ("started" | "done"))) =
            (line["address"].as_str(), line["event"].as_str())
        else {
            continue;
        };
        seen.push(Moment {
            address: address.to_owned(),
            event: event.to_owned(),
        });
        if at == seen.last() {
            child.kill().expect("killed");
            break;
        }
    }
    child.wait().expect("ended");
    (seen, Orphans(child.id()))
}

/// Takes one case; says what is wrong.
fn case(ground: &Ground, way: Way, at: &Moment, made: Option<&Shape>) -> Result<(), String> {
    if way == Way::Down {
        stands(ground, &ground.up(&[]), made)?;
    }
    let (seen, _orphans) = killed(command(ground, way), Some(at));
    if seen.last() != Some(at) {
        return Err(format!("there was no such moment in {seen:?}"));
    }
    if way == Way::Up {
        stands(ground, &ground.up(&[]), made)?;
        let again = ground.up(&[]);
        if again.json["status"] != "unchanged" {
            return Err(format!("not whole: {}", brief(&again)));
        }
    }
    gone(ground)
}

fn sweep(way: Way, sample: &[(&str, &str)]) {
    let Some(platform) = Platform::start().map(Arc::new) else {
        return;
    };
    let whole = share().is_some();
    let (mut moments, mut made) = (Vec::new(), None);
    if whole {
        let Some(ground) = Ground::beside("undisturbed", &platform) else {
            return;
        };
        moments = killed(command(&ground, Way::Up), None).0;
        made = Some(Shape::of(&ground));
        if way == Way::Down {
            moments = killed(command(&ground, way), None).0;
        }
        gone(&ground).unwrap_or_else(|why| panic!("undisturbed: {why}"));
        assert!(moments.len() > 40, "{moments:?}");
    } else {
        moments.extend(sample.iter().map(|(address, event)| Moment {
            address: (*address).to_owned(),
            event: (*event).to_owned(),
        }));
        if Ground::beside("skipped", &platform).is_none() {
            return;
        }
    }
    let cases = chosen(moments, |_| true);
    let what = format!("{way:?} killed");
    each(&what, cases, AT_ONCE, |nth, at| {
        let name = format!("killed-{nth}-{way:?}").to_lowercase();
        let ground = Ground::beside(&name, &platform).ok_or("there is no bench")?;
        case(&ground, way, at, made.as_ref())
    });
}

#[test]
fn up_on_eks_that_was_killed_goes_on() {
    sweep(Way::Up, &SAMPLE);
}

#[test]
fn up_on_eks_that_was_killed_is_removed() {
    sweep(Way::UpDown, &SAMPLE_UP_DOWN);
}

#[test]
fn down_on_eks_that_was_killed_goes_on() {
    sweep(Way::Down, &SAMPLE_DOWN);
}

#[test]
fn what_fails_on_eks_is_named_and_the_next_run_goes_on() {
    let Some(ground) = Ground::named("failing") else {
        return;
    };
    let issue = json!({ "fail": { "nodegroup": {
        "code": "NodeCreationFailure", "message": "Unhealthy nodes in the kubernetes cluster", "times": 1,
    } } });
    ground.world.account.knobs(&issue);
    let up = ground.up(&[]);
    assert_eq!(up.code, 1, "{up}");
    assert!(up.stderr.contains("NodeCreationFailure"), "{up}");
    stands(&ground, &ground.up(&[]), None).unwrap_or_else(|why| panic!("{why}"));
    gone(&ground).unwrap_or_else(|why| panic!("{why}"));
}
