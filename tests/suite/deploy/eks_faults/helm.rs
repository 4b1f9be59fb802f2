//! Helm that fails, is killed, fails after it has done all, or never ends; and releases that do not come up.

use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use serde_json::json;

use super::{Shape, brief, gone, honest, stands};
use crate::bench::kubernetes::{Platform, until};
use crate::deploy::cases::{chosen, each};
use crate::deploy::eks::Ground;
use crate::deploy::world::Ran;

/// Cases at the same time.
const AT_ONCE: usize = 3;
/// Seconds that Helm waits for pods instead of ten minutes.
const PATIENCE: &str = "8s";
/// Seconds by which what Helm keeps is older than it is: more than a silent run of Helm is waited for.
const AGE: u32 = 100;
/// What is said to `up` so that the release differs.
const OTHER: [&str; 2] = ["--concurrency", "3"];

/// Stands before Helm. `next` holds a verb and what happens to its next run.
const WRAPPER: &str = r#"#!/bin/sh
here=$(dirname "$0")
case $1 in version | show) exec "$here/real" "$@" ;; esac
# Less patience than the program asks for.
if [ -s "$here/patience" ]; then
    count=$# before=
    while [ "$count" -gt 0 ]; do
        argument=$1
        shift
        if [ "$before" = --timeout ]; then
            set -- "$@" "$(cat "$here/patience")"
        else
            set -- "$@" "$argument"
        fi
        before=$argument
        count=$((count - 1))
    done
fi
[ -s "$here/next" ] && read -r verb deed <"$here/next"
[ "$1" = "$verb" ] || exec "$here/real" "$@"
mv "$here/next" "$here/done"
case $deed in
refuses)
    echo "Error: said the bench" >&2
    exit 1
    ;;
late)
    "$here/real" "$@"
    echo "Error: said the bench" >&2
    exit 1
    ;;
hangs)
    exec sleep 3600
    ;;
killed)
    echo $$ >"$here/pid"
    exec "$here/real" "$@"
    ;;
esac
"#;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    /// It ends with an error before it does anything.
    Refuses,
    /// It does all, and ends with an error.
    Late,
    /// It is killed at work.
    Killed,
    /// It never ends, and does nothing.
    Hangs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Install,
    Upgrade,
    Uninstall,
}

impl When {
    fn verb(self) -> &'static str {
        match self {
            Self::Install | Self::Upgrade => "upgrade",
            Self::Uninstall => "uninstall",
        }
    }

    /// What the release is while Helm is at work.
    fn status(self) -> &'static str {
        match self {
            Self::Install => "pending-install",
            Self::Upgrade => "pending-upgrade",
            Self::Uninstall => "uninstalling",
        }
    }
}

struct Case(When, Deed);

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.0, self.1)
    }
}

/// Helm behind the wrapper.
struct Helm(PathBuf);

impl Helm {
    fn before(ground: &mut Ground) -> Self {
        let folder = ground.world.folder().join("helm");
        std::fs::create_dir(&folder).expect("a folder");
        std::os::unix::fs::symlink(&ground.cluster.helm, folder.join("real")).expect("a link");
        let program = folder.join("helm");
        std::fs::write(&program, WRAPPER).expect("written");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("set");
        ground.first_on_path(&folder);
        Self(folder)
    }

    fn next(&self, verb: &str, deed: Deed) {
        let deed = format!("{deed:?}").to_lowercase();
        std::fs::write(self.0.join("next"), format!("{verb} {deed}\n")).expect("written");
    }

    fn is_done(&self) -> bool {
        self.0.join("done").exists()
    }

    /// Kills the run that is at work.
    fn kill(&self) {
        let pid = std::fs::read_to_string(self.0.join("pid")).expect("a run");
        let killed = Command::new("kill").args(["-KILL", pid.trim()]).status();
        assert!(killed.is_ok_and(|status| status.success()), "{pid} is killed");
    }

    fn patience(&self, seconds: Option<&str>) {
        std::fs::write(self.0.join("patience"), seconds.unwrap_or_default()).expect("written");
    }
}

/// Returns the states of the revisions that Helm keeps.
fn revisions(ground: &Ground) -> Vec<String> {
    let path = format!(
        "/api/v1/namespaces/{}/secrets?labelSelector=owner%3Dhelm",
        ground.name
    );
    let list = ground.cluster.get(&path).unwrap_or_default();
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let mut items: Vec<(u64, String)> = items
        .iter()
        .map(|item| {
            let label = |name: &str| item["metadata"]["labels"][name].as_str().unwrap_or_default();
            (
                label("version").parse().unwrap_or_default(),
                label("status").to_owned(),
            )
        })
        .collect();
    items.sort();
    items.into_iter().map(|(_, status)| status).collect()
}

/// From now on pods of the deployment's runner do not come up; what is said is the registry's reason.
fn no_image(ground: &Ground, why: &str) {
    ground
        .cluster
        .rule(json!({ "pod": pods(ground), "image": "dataops-runner", "pull": why }));
}

fn images_again(ground: &Ground) {
    ground
        .cluster
        .tell("DELETE", "/rules", &json!({ "pod": pods(ground) }));
}

fn pods(ground: &Ground) -> String {
    format!("^(dataops-)?(runner-)?{}", ground.name)
}

fn case(ground: &mut Ground, Case(when, deed): &Case, made: &Shape) -> Result<(), String> {
    let helm = Helm::before(ground);
    ground.through_front();
    let ground = &*ground;
    let front = ground.front.as_ref().expect("a front");
    if *when != When::Install {
        stands(ground, &ground.up(&[]), Some(made))?;
    }
    let args: &[&str] = if *when == When::Upgrade { &OTHER } else { &[] };
    let command = match when {
        When::Uninstall => ground.command(&["down"], &["--yes", "--delete-storage"]),
        _ => ground.up_command(args),
    };
    helm.next(when.verb(), *deed);
    let disturbed = if *deed == Deed::Killed {
        // So that Helm is at work until it is killed.
        no_image(ground, "not before Helm is killed");
        front.rule(&json!({ "call": "helm DELETE deployments/", "seconds": 10 }));
        let run = ground.world.start(command);
        until("Helm is at work", || {
            let at_work = revisions(ground)
                .last()
                .is_some_and(|status| status == when.status());
            at_work.then_some(())
        });
        helm.kill();
        images_again(ground);
        run.ended()
    } else if *deed == Deed::Hangs {
        ground
            .world
            .start(command)
            .ended_within(std::time::Duration::from_mins(14))
    } else {
        ground.world.start(command).ended()
    };
    if !helm.is_done() {
        return Err(format!("the fault never happened: {}", brief(&disturbed)));
    }
    let causes: &[&str] = match deed {
        Deed::Refuses | Deed::Late => &["said the bench"],
        Deed::Killed => &["killed"],
        Deed::Hangs => &["not there after"],
    };
    honest(&disturbed, "elm", causes)?;
    if disturbed.code == 0 && *when != When::Uninstall {
        return Err(format!("it did not notice: {}", brief(&disturbed)));
    }
    // What was left pending is silent for long enough.
    front.rule(&json!({ "call": "ours GET secrets", "age": AGE }));
    if *when != When::Uninstall {
        let up = ground.up(args);
        // With other values the record is another too.
        stands(ground, &up, (*when == When::Install).then_some(made))?;
        let again = ground.up(args);
        if again.json["status"] != "unchanged" {
            return Err(format!("not whole: {}", brief(&again)));
        }
        if revisions(ground).last().is_none_or(|status| status != "deployed") {
            return Err(format!("revisions: {:?}", revisions(ground)));
        }
    }
    gone(ground)
}

/// Returns what an undisturbed run makes.
fn reference(platform: &Arc<Platform>) -> Option<Shape> {
    let ground = Ground::beside("undisturbed", platform)?;
    let up = ground.up(&[]);
    assert_eq!(up.code, 0, "{up}");
    let made = Shape::of(&ground);
    gone(&ground).unwrap_or_else(|why| panic!("undisturbed: {why}"));
    Some(made)
}

#[test]
fn helm_that_goes_wrong_is_told_and_the_next_run_goes_on() {
    let Some(platform) = Platform::start().map(Arc::new) else {
        return;
    };
    let Some(made) = reference(&platform) else {
        return;
    };
    let mut all = Vec::new();
    for deed in [Deed::Hangs, Deed::Refuses, Deed::Late, Deed::Killed] {
        all.extend([When::Install, When::Upgrade, When::Uninstall].map(|when| Case(when, deed)));
    }
    let sample = [
        (When::Install, Deed::Killed),
        (When::Upgrade, Deed::Refuses),
        (When::Upgrade, Deed::Killed),
        (When::Uninstall, Deed::Late),
    ];
    let cases = chosen(all, |Case(when, deed)| sample.contains(&(*when, *deed)));
    each("Helm", cases, AT_ONCE, |nth, one| {
        let mut ground = Ground::beside(&format!("steered-{nth}"), &platform).ok_or("there is no bench")?;
        case(&mut ground, one, &made)
    });
}

/// What fails is told with what the cluster knows of it, not with Helm's time-out alone.
fn fails_with(up: &Ran, words: &[&str]) -> Result<(), String> {
    for word in words {
        if !up.stderr.contains(word) {
            return Err(format!("{word} is not told: {}", brief(up)));
        }
    }
    honest(up, "Helm says", words)
}

#[test]
fn a_release_that_does_not_come_up_says_why_and_is_healed() {
    let Some(mut ground) = Ground::named("ailing") else {
        return;
    };
    let helm = Helm::before(&mut ground);
    let limit = "toomanyrequests: You have reached your pull rate limit";
    let told = ["ImagePull", "pull rate limit"];

    // At the first install.
    helm.patience(Some(PATIENCE));
    no_image(&ground, limit);
    let up = ground.up(&[]);
    assert_eq!(up.code, 1, "{up}");
    fails_with(&up, &told).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(revisions(&ground), ["failed"]);
    images_again(&ground);
    helm.patience(None);
    stands(&ground, &ground.up(&[]), None).unwrap_or_else(|why| panic!("{why}"));

    // At an upgrade: the release goes back to the runner of before, which is not what was asked for, and good values bring it forth.
    helm.patience(Some(PATIENCE));
    no_image(&ground, limit);
    let up = ground.up(&OTHER);
    assert_eq!(up.code, 1, "{up}");
    fails_with(&up, &told).unwrap_or_else(|why| panic!("{why}"));
    assert!(up.stderr.contains("is back at revision"), "{up}");
    let states = revisions(&ground);
    assert_eq!(states[states.len() - 2..], ["failed", "deployed"], "{states:?}");
    let status = ground.run(&["status"], &[]);
    assert_ne!(status.json["status"], "ok", "{status}");
    images_again(&ground);
    helm.patience(None);
    stands(&ground, &ground.up(&["--concurrency", "2"]), None).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(revisions(&ground).last().map(String::as_str), Some("deployed"));
    let again = ground.up(&["--concurrency", "2"]);
    assert_eq!(again.json["status"], "unchanged", "{again}");
    gone(&ground).unwrap_or_else(|why| panic!("{why}"));
}
