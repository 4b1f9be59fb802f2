//! Steps in a cluster, against the real API server and Helm of `tools/k8sbench`.

mod objects;
mod release;

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use dataops_infra::aws::clients::Clients;
use dataops_infra::aws::eks::Scene;
use dataops_infra::aws::eks::inside::Inside;
use dataops_infra::aws::eks::update::Updates;
use dataops_infra::domain::call::CallError;
use dataops_infra::domain::deployment::eks::operation::{ClusterOperation, Object};
use dataops_infra::domain::deployment::name::{Name, Place};
use dataops_infra::domain::deployment::owner::Owner;
use dataops_infra::domain::deployment::record::Record;
use dataops_infra::domain::deployment::secret::Secret;
use dataops_infra::engine::port::{Done, Ids, Sight};
use dataops_infra::kubernetes::client::{Cluster, Sign};
use dataops_infra::kubernetes::kubeconfig::Login;
use dataops_infra::kubernetes::login;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bench;
use crate::bench::root;

/// The region that logins are signed for.
const REGION: &str = "eu-west-2";
/// The name of cluster and deployment.
const NAME: &str = "abc";
/// Seconds after which a run of Helm counts as killed.
const SILENCE: i64 = 4;
/// Longest wait of a test.
const PATIENCE: Duration = Duration::from_mins(2);

/// A deployment in a cluster of the bench.
struct World {
    bench: &'static bench::kubernetes::Cluster,
    record: Record,
    owner: Owner,
    place: Place,
    clients: Clients,
    token: Option<Secret>,
    inside: Inside,
    updates: Updates,
    ids: Ids,
    folder: TempDir,
}

impl World {
    /// Opens one whose runner talks to a platform; none where this machine has no cluster bench.
    fn open(platform: &str, token: Option<&str>) -> Option<Self> {
        let bench = bench::kubernetes::Cluster::shared()?;
        bench.knows(NAME);
        let record = record(platform);
        let mut world = Self {
            bench,
            owner: record.owner(),
            record,
            place: Place {
                account: "100000000000".to_owned(),
                region: REGION.to_owned(),
            },
            clients: Clients::new(&aws_config_of_nobody()),
            token: token.map(Secret::new),
            inside: Inside::default(),
            updates: Updates::default(),
            ids: Ids::from([("file-system".to_owned(), "fs-0123456789abcdef0".to_owned())]),
            folder: tempfile::tempdir().expect("a folder"),
        };
        world.sign_in_as("test");
        Some(world)
    }

    /// From now on steps are taken as somebody else, by another run.
    fn sign_in_as(&mut self, key: &str) {
        self.inside = Inside::at(
            self.cluster(key),
            self.login(key),
            self.bench.helm.clone(),
            SILENCE,
        );
    }

    fn cluster(&self, key: &str) -> Cluster {
        Cluster::new(&self.bench.endpoint, &self.bench.authority, sign(key)).expect("a cluster")
    }

    /// Returns how Helm signs in: by the program itself, with the keys of the bench.
    fn login(&self, key: &str) -> Login {
        let plugin = self.folder.path().join(key);
        let program = env!("CARGO_BIN_EXE_dataops-infra");
        let script = format!(
            "#!/bin/sh\nAWS_ACCESS_KEY_ID={key} AWS_SECRET_ACCESS_KEY={key} AWS_EC2_METADATA_DISABLED=true exec {program} \"$@\"\n"
        );
        std::fs::write(&plugin, script).expect("written");
        std::fs::set_permissions(&plugin, std::fs::Permissions::from_mode(0o755)).expect("set");
        Login {
            cluster: NAME.to_owned(),
            region: REGION.to_owned(),
            endpoint: self.bench.endpoint.clone(),
            authority: self.bench.authority.clone(),
            profile: None,
            namespace: None,
            plugin,
        }
    }

    fn scene(&self) -> Scene<'_> {
        Scene {
            clients: &self.clients,
            place: &self.place,
            record: &self.record,
            owner: &self.owner,
            secret: self.token.as_ref(),
            updates: &self.updates,
        }
    }

    async fn perform(&self, operation: &ClusterOperation) -> Result<Done, CallError> {
        self.inside.perform(&self.scene(), operation, &self.ids).await
    }

    async fn watch(&self, operation: &ClusterOperation) -> Sight {
        self.inside
            .watch(&self.scene(), operation, &self.ids)
            .await
            .expect("the cluster answers")
    }

    /// Takes a step to its end, as the engine does; with all that was seen on the way.
    async fn take(&self, operation: &ClusterOperation) -> (Result<Done, String>, Vec<String>) {
        let mut seen = Vec::new();
        let first = match self.perform(operation).await {
            Ok(done) => done,
            Err(error) => return (Err(error.to_string()), seen),
        };
        let began = std::time::Instant::now();
        loop {
            match self.watch(operation).await {
                Sight::Come(mut done) => {
                    done.notes.splice(0..0, first.notes);
                    return (Ok(done), seen);
                }
                Sight::Never(why) => return (Err(why), seen),
                Sight::NotYet(what) => {
                    if seen.last() != Some(&what) {
                        seen.push(what);
                    }
                }
            }
            assert!(began.elapsed() < PATIENCE, "{operation:?} does not end: {seen:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Takes a step that succeeds.
    #[track_caller]
    fn done(&self, operation: &ClusterOperation) -> impl Future<Output = Done> {
        let at = std::panic::Location::caller();
        async move {
            let (ended, seen) = self.take(operation).await;
            ended.unwrap_or_else(|why| panic!("{at}: {why}; seen: {seen:?}"))
        }
    }

    /// Returns our namespace.
    fn namespace(&self) -> ClusterOperation {
        let eks = self.record.spec.eks.as_deref().expect("on EKS");
        ClusterOperation::Apply(self.object("v1", "Namespace", &eks.namespace, &json!({})))
    }

    /// Returns an object with our labels.
    fn object(&self, api: &str, kind: &str, name: &str, more: &Value) -> Object {
        let mut manifest = json!({ "apiVersion": api, "kind": kind, "metadata": {
            "name": name,
            "labels": dataops_infra::domain::deployment::eks::name::labels(&self.owner),
        } });
        if !matches!(kind, "Namespace" | "StorageClass" | "PersistentVolume") {
            manifest["metadata"]["namespace"] = json!("dataops");
        }
        for (key, value) in more.as_object().into_iter().flatten() {
            manifest[key] = value.clone();
        }
        Object {
            manifest,
            filled: std::collections::BTreeMap::new(),
        }
    }
}

fn aws_config_of_nobody() -> aws_config::SdkConfig {
    aws_config::SdkConfig::builder()
        .behavior_version(aws_config::BehaviorVersion::latest())
        .region(aws_config::Region::new(REGION))
        .build()
}

fn sign(key: &str) -> Sign {
    let credentials = Credentials::new(key, key, None, None, "bench");
    Arc::new(move || {
        let token = login::token(&credentials, NAME, REGION, SystemTime::now());
        Box::pin(async move { Ok(token.expect("signed")) })
    })
}

/// Returns the record of a deployment whose chart is the bench's.
fn record(platform: &str) -> Record {
    let chart: PathBuf = root().join("tools/k8sbench/chart");
    let text = json!({
        "schema": "dataops-infra/deployment/v1", "name": NAME, "generation": "abababababababab", "made_by": "test",
        "created_at": "2026-01-01T00:00:00Z", "phase": "present",
        "spec": {
            "workload": "kubernetes", "asked": "", "instance_type": "c6i.xlarge", "count": 1, "concurrency": 4,
            "check_interval": 1, "disk": { "gib": 300, "iops": 3000, "throughput": 125 },
            "image": { "id": "", "root_device": "/dev/xvda" }, "vpc": "vpc-1",
            "subnets": [{ "id": "subnet-1", "zone": "eu-west-2a" }], "token": "ours",
            "platform_url": platform, "runner_image": "dataopslive/dataops-runner", "channel": "latest",
            "log_retention_days": 30,
            "alarms": { "wave_gib": 3.0, "days_to_full": 12, "burstable": false },
            "eks": {
                "cluster": NAME, "version": "1.34", "min_nodes": 1, "max_nodes": 2, "autoscaler": "none",
                "storage": { "mode": "static" }, "namespace": "dataops",
                "chart": { "name": chart.to_string_lossy() },
                "job": { "cpu_m": 500, "memory_mib": 256, "memory_limit_mib": 512, "timeout_minutes": 60 },
            },
        },
    });
    let name = Name::new(NAME).expect("sound");
    Record::read(&name, &text.to_string()).unwrap_or_else(|error| panic!("{error}"))
}

/// Whether a text of ours can be read by another's program: TOML by Python's own reader.
fn read_toml(text: &str) -> Option<Value> {
    let python = bench::python_program("python")?;
    let script = "import json, sys, tomllib; print(json.dumps(tomllib.loads(sys.argv[1])))";
    let output = std::process::Command::new(python)
        .args(["-c", script, text])
        .output()
        .expect("python runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

#[test]
fn the_runners_configuration_is_toml_to_others() {
    let values = dataops_infra::domain::deployment::eks::values::release(&record("https://x.example"))
        .expect("on EKS")
        .values;
    let config = values["runners"]["config"].as_str().expect("text");
    let Some(read) = read_toml(config) else { return };
    let runner = &read["runners"][0];
    assert_eq!(runner["name"], NAME);
    assert_eq!(runner["kubernetes"]["cpu_request"], "500m");
    assert_eq!(
        runner["kubernetes"]["pod_annotations"]["karpenter.sh/do-not-disrupt"],
        "true"
    );
    assert_eq!(runner["kubernetes"]["volumes"]["pvc"][0]["name"], "abc-cache");
}
