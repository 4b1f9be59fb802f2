//! Deployments on EKS, from nothing to a runner that is online and back: on the emulator of AWS, a real API server and real Helm.

mod chart;
mod time;
mod upgrade;

use std::ffi::OsString;
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};

use super::alarms::HOOK;
use super::doctor::publish;
use super::world::{NAME, Ran, World};
use crate::bench::kubernetes::{Cluster, Front, Platform};
use crate::bench::root;

/// An account, a cluster behind every cluster of EKS there, and a platform.
pub struct Ground {
    /// The account.
    pub world: World,
    /// The cluster.
    pub cluster: &'static Cluster,
    /// The platform.
    pub platform: Arc<Platform>,
    /// The way to the API server, where it is one on which calls are disturbed.
    pub front: Option<Front>,
    /// The deployment.
    pub name: String,
    path: OsString,
    token: String,
}

impl Ground {
    /// Opens one, or says why the test is skipped.
    pub fn open() -> Option<Self> {
        Self::named(NAME)
    }

    /// Opens one for a deployment of another name: all share the cluster.
    pub fn named(name: &str) -> Option<Self> {
        Self::beside(name, &Arc::new(Platform::start()?))
    }

    /// Opens one for a deployment of another name on a platform that others use too.
    pub fn beside(name: &str, platform: &Arc<Platform>) -> Option<Self> {
        let world = World::open()?;
        let cluster = Cluster::shared()?;
        let file = cluster.file(world.folder());
        world
            .account
            .knobs(&json!({ "cluster": file.display().to_string() }));
        cluster.knows(name);
        let token = platform.runner();
        std::fs::write(world.folder().join("token"), &token).expect("a file");
        Some(Self {
            world,
            cluster,
            platform: Arc::clone(platform),
            front: None,
            name: name.to_owned(),
            path: cluster.path(),
            token,
        })
    }

    /// From now on the program and its Helm reach the API server by a way on which calls are disturbed.
    pub fn through_front(&mut self) -> &Front {
        let front = self.front.insert(Front::open(self.cluster));
        let file = front.file(self.world.folder()).display().to_string();
        self.world.account.knobs(&json!({ "cluster": file }));
        front
    }

    /// From now on programs of this folder are found before all others.
    pub fn first_on_path(&mut self, folder: &std::path::Path) {
        let others: Vec<_> = std::env::split_paths(&self.path).collect();
        let all = std::iter::once(folder.to_owned()).chain(others);
        self.path = std::env::join_paths(all).expect("a path");
    }

    /// Returns the ids of those that work for our runner on the platform.
    pub fn managers(&self) -> Vec<Value> {
        let runners = self.platform.runners();
        let ours = runners.iter().find(|runner| runner["token"] == self.token);
        ours.and_then(|runner| runner["managers"].as_array().cloned())
            .unwrap_or_default()
    }

    /// Returns the program, for this deployment.
    pub fn command(&self, words: &[&str], args: &[&str]) -> Command {
        let named = [args, &["--name", &self.name]].concat();
        let mut command = self.world.command(words, &named);
        command.env("PATH", &self.path);
        command
    }

    /// Runs the program.
    pub fn run(&self, words: &[&str], args: &[&str]) -> Ran {
        self.world.start(self.command(words, args)).ended()
    }

    /// Returns `up eks` with a size, a token and a chart; nothing is simulated then.
    pub fn up_command(&self, args: &[&str]) -> Command {
        let chart = root().join("tools/k8sbench/chart").display().to_string();
        let token = self.world.folder().join("token").display().to_string();
        let said = [
            ("--workload", "kubernetes"),
            ("--instance-type", "c6i.large"),
            ("--disk-gib", "300"),
            ("--min-nodes", "2"),
            ("--max-nodes", "3"),
            ("--chart", &chart),
            ("--platform-url", &self.platform.url),
            ("--token-file", &token),
        ];
        let mut all = args.to_vec();
        for (flag, value) in &said {
            if !args.contains(flag) {
                all.extend([*flag, *value]);
            }
        }
        all.push("--yes");
        self.command(&["up", "eks"], &all)
    }

    /// Runs `up eks`.
    pub fn up(&self, args: &[&str]) -> Ran {
        self.world.start(self.up_command(args)).ended()
    }

    /// Runs `down`.
    pub fn down(&self, args: &[&str]) -> Ran {
        self.run(&["down"], &[args, &["--yes"]].concat())
    }

    /// Removes what is ours in the cluster, for whoever says that it went with the cluster.
    pub fn clear(&self) {
        crate::bench::kubernetes::until("the cluster is cleared", || {
            let left = self.inside();
            for spot in &left {
                let (list, name) = spot.split_once(": ").expect("kind and name");
                if let Some(name) = name.strip_prefix('/') {
                    self.cluster.api("DELETE", &format!("{list}/{name}"), None);
                }
            }
            left.is_empty().then_some(())
        });
    }

    /// Returns what is ours in the cluster, as kind and name.
    pub fn inside(&self) -> Vec<String> {
        let lists = [
            "/api/v1/namespaces",
            "/api/v1/secrets",
            "/api/v1/serviceaccounts",
            "/api/v1/persistentvolumes",
            "/api/v1/persistentvolumeclaims",
            "/apis/apps/v1/deployments",
            "/apis/storage.k8s.io/v1/storageclasses",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles",
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        ];
        let mut found = Vec::new();
        for list in lists {
            let items = self.cluster.get(list).expect("a list")["items"].clone();
            for item in items.as_array().into_iter().flatten() {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let (name, namespace) = (
                    text(&item["metadata"]["name"]),
                    text(&item["metadata"]["namespace"]),
                );
                if name.contains(&self.name) || namespace == self.name {
                    found.push(format!("{list}: {namespace}/{name}"));
                }
            }
        }
        found
    }
}

#[test]
fn a_life_on_eks_leaves_nothing_behind() {
    let Some(ground) = Ground::open() else {
        return;
    };
    let before = ground.world.inventory();
    assert_eq!(ground.inside(), [""; 0]);
    let up = ground.up(&["--notify", HOOK]);
    assert_eq!(up.code, 0, "{up}");
    assert_eq!(up.json["status"], "online", "{up}");
    assert_eq!(up.json["cluster"]["online"], true, "{up}");
    assert!(!up.stdout.contains(&ground.token) && !up.stderr.contains(&ground.token));
    let runners = ground.platform.runners();
    assert_eq!(runners.len(), 1, "{runners:?}");
    let made = ground.world.inventory();

    let status = ground.run(&["status"], &[]);
    assert_eq!(status.code, 0, "{status}");
    assert_eq!(status.json["status"], "ok", "{status}");

    let again = ground.up(&[]);
    assert_eq!(again.code, 0, "{again}");
    assert_eq!(again.json["status"], "unchanged", "{again}");
    assert_eq!(again.json["steps"], json!([]), "{again}");
    assert_eq!(ground.world.inventory(), made, "the second run changes nothing");

    publish(&ground.world, "");
    let doctor = ground.run(&["doctor"], &[]);
    let bad: Vec<&Value> = doctor.json["checks"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|check| check["status"] == "failed" || check["status"] == "warning")
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");

    let tested = ground.run(&["alarms", "test"], &["--yes", "--wait", "0"]);
    assert_eq!(tested.code, 0, "{tested}");
    let rows = tested.json["alarms"].as_array().cloned().unwrap_or_default();
    assert!(
        rows.len() >= 5 && rows.iter().all(|row| row["status"] == "ok"),
        "{tested}"
    );

    let stopped = ground.run(&["runner", "stop"], &["--yes"]);
    assert_eq!(stopped.code, 0, "{stopped}");
    let status = ground.run(&["status"], &[]);
    assert_eq!(status.json["status"], "not-online", "{status}");
    let started = ground.run(&["runner", "start"], &["--yes"]);
    assert_eq!(started.code, 0, "{started}");
    let logs = ground.run(&["runner", "logs"], &["--output", "table"]);
    assert_eq!(logs.code, 0, "{logs}");
    assert!(logs.stdout.contains("Configuration loaded"), "{logs}");
    assert!(!logs.stdout.contains(&ground.token));
    let into = ground.run(&["kubeconfig"], &["--to", "kubeconfig"]);
    assert_eq!(into.code, 0, "{into}");
    let config = std::fs::read_to_string(ground.world.folder().join("kubeconfig")).expect("a kubeconfig");
    assert!(
        config.contains("eks-token") && config.contains(&ground.cluster.endpoint),
        "{config}"
    );

    let upgraded = ground.run(&["upgrade"], &["--runner-version", "latest-next", "--yes"]);
    assert_eq!(upgraded.code, 0, "{upgraded}");
    let status = ground.run(&["status"], &[]);
    assert_eq!(status.json["status"], "ok", "{status}");
    let pods = &status.json["cluster"]["pods"];
    assert!(
        pods[0]["image"]
            .as_str()
            .is_some_and(|image| image.ends_with(":latest-next")),
        "{status}"
    );
    assert_eq!(status.json["cluster"]["release"]["revision"], 2, "{status}");

    let other = ground.platform.runner();
    std::fs::write(ground.world.folder().join("other"), &other).expect("a file");
    let rotated = ground.run(&["rotate-token"], &["--token-file", "other", "--yes"]);
    assert_eq!(rotated.code, 0, "{rotated}");
    assert!(!rotated.stdout.contains(&other) && !rotated.stderr.contains(&other));
    let verified = |token: &str| {
        let runners = ground.platform.runners();
        let ours = runners.iter().find(|runner| runner["token"] == token);
        ours.is_some_and(|runner| runner["status"] == "online")
    };
    assert!(verified(&other), "{:?}", ground.platform.runners());
    let resized = ground.run(&["resize"], &["--instance-type", "m6i.large", "--yes"]);
    assert_eq!(resized.code, 3, "{resized}");

    let down = ground.down(&["--delete-storage"]);
    assert_eq!(down.code, 0, "{down}");
    assert_eq!(ground.world.inventory(), before);
    assert_eq!(ground.inside(), [""; 0], "{down}");
}

#[test]
fn an_adopted_cluster_loses_only_what_is_ours() {
    let Some(mut ground) = Ground::named("landlord") else {
        return;
    };
    let before = ground.world.inventory();
    let up = ground.up(&[]);
    assert_eq!(up.code, 0, "{up}");
    let made = ground.world.inventory();

    "tenant".clone_into(&mut ground.name);
    let nowhere = ground.up(&["--cluster", "nobodys"]);
    assert_eq!(nowhere.code, 3, "{nowhere}");
    assert!(
        nowhere.stderr.contains("there is no cluster nobodys"),
        "{nowhere}"
    );
    let up = ground.up(&["--cluster", "landlord"]);
    assert_eq!(up.code, 0, "{up}");
    assert_eq!(up.json["cluster"]["adopted"], true, "{up}");
    let made_too: Vec<&str> = up.json["steps"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|step| step["address"].as_str())
        .collect();
    for theirs in ["cluster", "role-eks", "addon-vpc-cni"] {
        assert!(!made_too.contains(&theirs), "{made_too:?}");
    }
    let again = ground.up(&[]);
    assert_eq!(again.json["status"], "unchanged", "{again}");

    "landlord".clone_into(&mut ground.name);
    let kept = ground.down(&["--delete-storage"]);
    assert_eq!(kept.code, 3, "the tenant's nodes are in it: {kept}");
    assert!(kept.stderr.contains("dataops-infra-tenant"), "{kept}");

    "tenant".clone_into(&mut ground.name);
    let down = ground.down(&["--delete-storage"]);
    assert_eq!(down.code, 0, "{down}");
    assert_eq!(ground.world.inventory(), made, "the landlord keeps everything");
    assert_eq!(ground.inside(), [""; 0], "{down}");

    "landlord".clone_into(&mut ground.name);
    let same = ground.up(&[]);
    assert_eq!(same.json["status"], "unchanged", "{same}");
    let down = ground.down(&["--delete-storage"]);
    assert_eq!(down.code, 0, "{down}");
    assert_eq!(ground.world.inventory(), before);
}
