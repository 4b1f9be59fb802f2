//! Upgrades of Kubernetes and of nodes: with jobs that run, killed and gone on with, refused, failed.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use dataops_infra::domain::export::iam::{Command as Of, Scope, rows};
use serde_json::{Value, json};

use super::super::witness::{mark, since};
use super::super::world::Ran;
use super::Ground;
use crate::bench::kubernetes::until;

/// What EKS takes by itself, and what is one version above it.
const FIRST: &str = "1.35";
const NEXT: &str = "1.36";
/// A newer image than that of the bench.
const NEWER: &str = "20260510";

impl Ground {
    fn upgrade_command(&self, args: &[&str]) -> Command {
        self.command(&["upgrade"], &[args, &["--yes"]].concat())
    }

    fn upgrade(&self, args: &[&str]) -> Ran {
        self.world.start(self.upgrade_command(args)).ended()
    }

    /// Returns versions of control plane and nodes, and the release of the nodes' image, as EKS tells them.
    fn versions(&self) -> (String, String, String) {
        let there = self.world.account.inventory();
        let cluster = &there["clusters"][0];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let group = &cluster["nodegroups"][0];
        (
            text(&cluster["version"]),
            text(&group["version"]),
            text(&group["releaseVersion"]),
        )
    }

    /// Returns the names of the nodes in the cluster.
    fn nodes(&self) -> BTreeSet<String> {
        let list = self.cluster.get("/api/v1/nodes").expect("nodes")["items"].clone();
        let names = list.as_array().into_iter().flatten();
        names
            .filter_map(|node| node["metadata"]["name"].as_str().map(str::to_owned))
            .collect()
    }

    /// Makes a job and waits until it runs.
    fn job(&self, seconds: u32) -> u64 {
        let job = self.platform.job(seconds);
        until("the job runs", || {
            (self.platform.job_state(job) == "running").then_some(())
        });
        job
    }

    /// Nothing differs, nothing is to do, and the runner is online.
    fn is_settled(&self) {
        let status = self.run(&["status"], &[]);
        assert_eq!(status.code, 0, "{status}");
        assert_eq!(status.json["status"], "ok", "{status}");
        let up = self.up(&[]);
        assert_eq!(up.code, 0, "{up}");
        assert_eq!(up.json["status"], "unchanged", "{up}");
        let runners = self.platform.runners();
        let online: Vec<&Value> = runners
            .iter()
            .filter(|runner| runner["status"] == "online")
            .collect();
        assert_eq!(online.len(), 1, "{runners:?}");
    }
}

/// Runs the program and kills it at an event of a step.
fn killed(mut command: Command, at: (&str, &str)) {
    let mut child = command
        .args(["--log-format", "json"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut seen = Vec::new();
    for line in BufReader::new(child.stderr.take().expect("a pipe")).lines() {
        let line: Value = serde_json::from_str(&line.expect("text")).unwrap_or_default();
        let (Some(address), Some(event)) = (line["address"].as_str(), line["event"].as_str()) else {
            continue;
        };
        seen.push(format!("{address} {event}"));
        if (address, event) == at {
            child.kill().expect("killed");
            break;
        }
    }
    child.wait().expect("ended");
    let last = format!("{} {}", at.0, at.1);
    assert_eq!(seen.last(), Some(&last), "{seen:?}");
}

/// Returns the addresses of the steps of a run.
fn steps(ran: &Ran) -> Vec<String> {
    let steps = ran.json["steps"].as_array().into_iter().flatten();
    steps
        .filter_map(|step| step["address"].as_str().map(str::to_owned))
        .collect()
}

#[test]
fn kubernetes_goes_up_a_version_and_no_job_is_lost() {
    let Some(ground) = Ground::named("rising") else {
        return;
    };
    let before = ground.world.inventory();
    let up = ground.up(&[]);
    assert_eq!(up.code, 0, "{up}");
    let (cluster, nodes, first_release) = ground.versions();
    assert_eq!((cluster.as_str(), nodes.as_str()), (FIRST, FIRST));
    let first_nodes = ground.nodes();

    for (args, code, says) in [
        (
            vec!["--kubernetes-version", "1.38"],
            3,
            "upgrade --kubernetes-version 1.36",
        ),
        (vec!["--kubernetes-version", "1.34"], 3, "nothing here goes down"),
        (
            vec!["--kubernetes-version", "newest"],
            2,
            "no version of Kubernetes",
        ),
        (
            vec!["--kubernetes-version", NEXT, "--nodes"],
            2,
            "cannot be used with",
        ),
    ] {
        let refused = ground.upgrade(&args);
        assert_eq!(refused.code, code, "{refused}");
        assert!(refused.stderr.contains(says), "{refused}");
    }
    // By `up` it is named, not done.
    let up = ground.up(&["--kubernetes-version", NEXT]);
    assert_eq!(up.code, 3, "{up}");
    assert!(
        up.stderr.contains("upgrade --name rising") && up.stderr.contains("--kubernetes-version 1.36"),
        "{up}"
    );

    ground.world.account.knobs(&json!({"insights": [{
        "name": "Deprecated APIs removed in Kubernetes v1.36", "status": "ERROR",
        "reason": "Deprecated API usage detected within last 30 days.",
        "recommendation": "Update manifests and API clients to use newer Kubernetes APIs.",
    }]}));
    let blocked = ground.upgrade(&["--kubernetes-version", NEXT]);
    assert_eq!(blocked.code, 3, "{blocked}");
    for part in [
        "Deprecated API usage detected",
        "Update manifests",
        "--ignore-insights",
    ] {
        assert!(blocked.stderr.contains(part), "{part}: {blocked}");
    }
    assert_eq!(ground.versions().0, FIRST, "nothing was changed");

    let times = json!({"cluster-update": 1.5, "addon-update": 1.0, "nodegroup-update": 2.0});
    ground.world.account.knobs(&json!({ "times": times }));
    let job = ground.job(12);
    let from = mark(&ground.world);
    let upgraded = ground.upgrade(&["--kubernetes-version", NEXT, "--ignore-insights"]);
    assert_eq!(upgraded.code, 0, "{upgraded}");
    assert_eq!(ground.platform.job_state(job), "success", "{upgraded}");
    let (cluster, nodes, release) = ground.versions();
    assert_eq!((cluster.as_str(), nodes.as_str()), (NEXT, NEXT));
    assert_ne!(release, first_release);
    let told = &upgraded.json["cluster"];
    assert_eq!(told["version"], NEXT, "{upgraded}");
    assert_eq!(told["nodes"]["image"], release.as_str(), "{upgraded}");
    until("the former nodes are gone", || {
        ground.nodes().is_disjoint(&first_nodes).then_some(())
    });
    let addon = |name: &str| {
        let there = ground.world.account.inventory();
        let addons = there["clusters"][0]["addons"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let found = addons.iter().find(|addon| addon["addonName"] == name).cloned();
        found.expect("the add-on")["addonVersion"]
            .as_str()
            .expect("a version")
            .to_owned()
    };
    assert!(
        addon("kube-proxy").starts_with("v1.36."),
        "{}",
        addon("kube-proxy")
    );
    // What was called is what the policy allows.
    let scope = Scope {
        eks: true,
        ..Scope::default()
    };
    let allowed: BTreeSet<&str> = rows(Of::Upgrade, &scope).iter().map(|row| row.action).collect();
    let called: BTreeSet<String> = since(&ground.world, from)
        .iter()
        .map(crate::bench::call::Call::name)
        .collect();
    let beyond: Vec<&String> = called
        .iter()
        .filter(|name| !allowed.contains(name.as_str()) && *name != "sts:GetCallerIdentity")
        .collect();
    assert!(beyond.is_empty(), "not in the policy: {beyond:?}");

    ground.is_settled();
    let made = ground.world.inventory();
    let again = ground.upgrade(&["--kubernetes-version", NEXT]);
    assert_eq!(again.code, 0, "{again}");
    assert_eq!(again.json["status"], "unchanged", "{again}");
    assert_eq!(ground.world.inventory(), made);
    let job = ground.job(1);
    until("a job of the new nodes ends", || {
        (ground.platform.job_state(job) == "success").then_some(())
    });
    let down = ground.down(&["--delete-storage"]);
    assert_eq!(down.code, 0, "{down}");
    assert_eq!(ground.world.inventory(), before);
    assert_eq!(ground.inside(), [""; 0], "{down}");
}

#[test]
fn an_upgrade_that_was_killed_goes_on() {
    let Some(ground) = Ground::named("broken-off") else {
        return;
    };
    let before = ground.world.inventory();
    let up = ground.up(&[]);
    assert_eq!(up.code, 0, "{up}");
    // Long enough for the next run to see that EKS is at it.
    let times = json!({"cluster-update": 15.0, "addon-update": 0.5, "nodegroup-update": 15.0});
    ground.world.account.knobs(&json!({ "times": times }));
    let upgrade = || ground.upgrade_command(&["--kubernetes-version", NEXT]);
    killed(upgrade(), ("record", "done"));
    let status = ground.run(&["status"], &[]);
    assert_eq!(status.json["status"], "unfinished", "{status}");
    for at in [
        ("cluster-version", "waiting"),
        ("cluster-settled", "waiting"),
        ("addon-kube-proxy", "started"),
        ("runner-drain", "done"),
        ("nodes-replaced", "waiting"),
        ("nodes-settled", "waiting"),
        ("runner-return", "done"),
    ] {
        killed(upgrade(), at);
    }
    let other = ground.upgrade(&["--kubernetes-version", "1.37"]);
    assert_eq!(other.code, 3, "{other}");
    assert!(other.stderr.contains("not finished"), "{other}");
    // The same steps by `up`.
    let on = ground.up(&[]);
    assert_eq!(on.code, 0, "{on}");
    let (cluster, nodes, _) = ground.versions();
    assert_eq!((cluster.as_str(), nodes.as_str()), (NEXT, NEXT));
    ground.is_settled();
    let down = ground.down(&["--delete-storage"]);
    assert_eq!(down.code, 0, "{down}");
    assert_eq!(ground.world.inventory(), before);
}

#[test]
fn nodes_get_the_newest_image_and_what_fails_is_named() {
    let Some(ground) = Ground::named("patched") else {
        return;
    };
    let before = ground.world.inventory();
    let up = ground.up(&[]);
    assert_eq!(up.code, 0, "{up}");
    let none = ground.upgrade(&["--nodes"]);
    assert_eq!(none.code, 0, "{none}");
    assert_eq!(none.json["status"], "unchanged", "{none}");

    ground.world.account.knobs(&json!({
        "release": NEWER,
        "times": {"nodegroup-update": 1.0},
        "fail": {"nodegroup-update": {
            "code": "PodEvictionFailure",
            "message": "Reached max retries while trying to evict pods from nodes in node group",
            "times": 1,
        }},
    }));
    let failed = ground.upgrade(&["--nodes"]);
    assert_eq!(failed.code, 1, "{failed}");
    for part in [
        "could not update nodes-replaced",
        "PodEvictionFailure: Reached max retries",
        "disruption budget",
        "up eks --name patched",
    ] {
        assert!(failed.stderr.contains(part), "{part}: {failed}");
    }
    // The runner is not away for as long as somebody looks at it.
    let job = ground.job(1);
    until("a job ends", || {
        (ground.platform.job_state(job) == "success").then_some(())
    });
    let status = ground.run(&["status"], &[]);
    assert_eq!(status.json["status"], "unfinished", "{status}");

    let nodes = ground.nodes();
    let long = ground.job(6);
    let patched = ground.upgrade(&["--nodes"]);
    assert_eq!(patched.code, 0, "{patched}");
    assert_eq!(ground.platform.job_state(long), "success");
    let (cluster, version, release) = ground.versions();
    assert_eq!((cluster.as_str(), version.as_str()), (FIRST, FIRST));
    assert!(release.ends_with(NEWER), "{release}");
    until("the former nodes are gone", || {
        ground.nodes().is_disjoint(&nodes).then_some(())
    });
    ground.is_settled();

    // Other limits concern no node that is there, and nothing else of the size need be said again.
    let wider = ground.run(&["up", "eks"], &["--max-nodes", "5", "--yes"]);
    assert_eq!(wider.code, 0, "{wider}");
    let there = ground.world.account.inventory();
    let group = &there["clusters"][0]["nodegroups"][0];
    assert_eq!(group["scalingConfig"]["maxSize"], 5, "{group}");
    assert_eq!(group["instanceTypes"], json!(["c6i.large"]), "{group}");
    let back = ground.run(&["up", "eks"], &["--max-nodes", "3", "--yes"]);
    assert_eq!(back.code, 0, "{back}");

    // Another disk goes the same way, and jobs that take too long are waited for no longer.
    let endless = ground.job(600);
    let late = ground.run(&["resize"], &["--disk-gib", "400", "--yes", "--now"]);
    assert_eq!(late.code, 0, "{late}");
    assert_ne!(ground.platform.job_state(endless), "success");
    assert!(
        steps(&late).contains(&"launch-template-version".to_owned()),
        "{late}"
    );
    ground.is_settled();
    let type_ = ground.run(&["resize"], &["--instance-type", "m6i.large", "--yes"]);
    assert_eq!(type_.code, 3, "{type_}");
    assert!(type_.stderr.contains("keeps the types"), "{type_}");

    let down = ground.down(&["--delete-storage"]);
    assert_eq!(down.code, 0, "{down}");
    assert_eq!(ground.world.inventory(), before);
}

#[test]
fn nodes_in_an_adopted_cluster_follow_its_version() {
    let Some(mut ground) = Ground::named("owner") else {
        return;
    };
    let before = ground.world.inventory();
    let up = ground.up(&[]);
    assert_eq!(up.code, 0, "{up}");
    "lodger".clone_into(&mut ground.name);
    let up = ground.up(&["--cluster", "owner"]);
    assert_eq!(up.code, 0, "{up}");
    let refused = ground.upgrade(&["--kubernetes-version", NEXT]);
    assert_eq!(refused.code, 3, "{refused}");
    for part in ["was adopted", "upgrade --nodes --name lodger"] {
        assert!(refused.stderr.contains(part), "{part}: {refused}");
    }
    "owner".clone_into(&mut ground.name);
    let upgraded = ground.upgrade(&["--kubernetes-version", NEXT]);
    assert_eq!(upgraded.code, 0, "{upgraded}");
    "lodger".clone_into(&mut ground.name);
    let followed = ground.upgrade(&["--nodes"]);
    assert_eq!(followed.code, 0, "{followed}");
    let there = ground.world.account.inventory();
    let groups = there["clusters"][0]["nodegroups"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    assert_eq!(groups.len(), 2);
    assert!(groups.iter().all(|group| group["version"] == NEXT), "{groups:?}");
    assert!(
        !steps(&followed).contains(&"cluster-version".to_owned()),
        "{followed}"
    );
    let again = ground.upgrade(&["--nodes"]);
    assert_eq!(again.json["status"], "unchanged", "{again}");
    for name in ["lodger", "owner"] {
        name.clone_into(&mut ground.name);
        let down = ground.down(&["--delete-storage"]);
        assert_eq!(down.code, 0, "{down}");
    }
    assert_eq!(ground.world.inventory(), before);
}

#[test]
fn jobs_that_take_too_long_leave_everything_as_it_was() {
    let Some(ground) = Ground::named("patient") else {
        return;
    };
    let up = ground.up(&[]);
    assert_eq!(up.code, 0, "{up}");
    ground.world.account.knobs(&json!({ "release": NEWER }));
    let nodes = ground.nodes();
    let job = ground.job(75);
    let late = ground.upgrade(&["--nodes", "--timeout", "1"]);
    assert_eq!(late.code, 1, "{late}");
    assert!(late.stderr.contains("1 job runs"), "{late}");
    assert_eq!(ground.nodes(), nodes, "no node was touched");
    until("the job ends well", || {
        (ground.platform.job_state(job) == "success").then_some(())
    });
    let next = ground.job(1);
    until("the runner takes jobs", || {
        (ground.platform.job_state(next) == "success").then_some(())
    });
    let down = ground.down(&["--delete-storage"]);
    assert_eq!(down.code, 0, "{down}");
}
