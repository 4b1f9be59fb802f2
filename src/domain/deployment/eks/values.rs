//! The values that the vendor's chart is installed with.
//!
//! What they are stands in `templates/eks/values.yaml`; here its holes are filled.
//!
//! The chart is not public. What the vendor documents is used as documented: `vaultSecret`, `rbac.create` and `runners.config`
//! (<https://docs.dataops.live/docs/administration/kubernetes-runner/additional-configuration>,
//! <https://docs.dataops.live/docs/administration/kubernetes-runner/troubleshooting/>). The rest has the names of GitLab's chart
//! (<https://docs.gitlab.com/runner/install/kubernetes_helm_chart_configuration/>), which the documented keys are those of.
//!
//! `vault` is not written, because what is in values is in the release's secret and in `helm get values`; neither is a token: the chart is told the name
//! of the secret that has it. The vault reaches job pods as the chart wants it to; a second mount at the same path would be refused.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::name::{DEPLOYMENT_LABEL, GENERATION_LABEL};
use super::operation::ReleaseSpec;
use super::spec::{Autoscaler, Chart, Eks, StorageMode};
use crate::domain::deployment::record::Record;
use crate::domain::host_script::PULL_POLICIES;

/// Image of the runner that the chart has by itself.
pub const CHART_IMAGE: &str = "dataopslive/dataops-runner";
/// Tag that stands for the one that the chart has by itself.
pub const CHART_CHANNEL: &str = "latest";
/// Label on job pods, besides the deployment's.
pub const PART_LABEL: &str = "dataops-infra/part";
/// What it says.
pub const PART_JOB: &str = "job";
/// Annotation on the runner's pod with the digest of its token: another token makes another pod.
pub const TOKEN_ANNOTATION: &str = "dataops-infra/token-digest";
/// Label that EKS gives the nodes of a node group
/// (<https://docs.aws.amazon.com/eks/latest/userguide/managed-node-groups.html>).
pub const NODE_GROUP_LABEL: &str = "eks.amazonaws.com/nodegroup";
/// Where job pods have the cache, as the containers of a host do.
pub const CACHE_PATH: &str = "/agent_cache";

/// The values as they are written down, with holes.
static TEMPLATE: LazyLock<Value> = LazyLock::new(|| {
    serde_yaml::from_str(include_str!("../../../../templates/eks/values.yaml"))
        .expect("a test reads the embedded template")
});

/// What the description of a release of ours begins with.
const DESCRIBED: &str = "dataops-infra";

/// Seconds beyond a job's longest time that the runner has to end in.
const GRACE: u32 = 300;
/// Seconds that the release may take: a node is there, its images are not.
const RELEASE_SECONDS: u32 = 600;

/// What Karpenter and EKS Auto Mode, and Cluster Autoscaler, leave alone
/// (<https://karpenter.sh/docs/concepts/disruption/>,
/// <https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/FAQ.md>).
pub const PROTECTION: [(&str, &str); 2] = [
    ("cluster-autoscaler.kubernetes.io/safe-to-evict", "false"),
    ("karpenter.sh/do-not-disrupt", "true"),
];

/// Kinds of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Of a runner that was made on the platform: `glrt-…`. Tags and the like are set there.
    Authentication,
    /// Of a project or group: each registration makes a runner.
    Registration,
}

impl TokenKind {
    /// Returns the kind of a token.
    pub fn of(token: &str) -> Self {
        if token.starts_with("glrt-") {
            Self::Authentication
        } else {
            Self::Registration
        }
    }
}

/// Returns the release as it shall be; none where the deployment is none on EKS.
pub fn release(record: &Record) -> Option<ReleaseSpec> {
    let eks = record.spec.eks.as_deref()?;
    let values = values(record, eks);
    Some(ReleaseSpec {
        digest: digest(&eks.chart, &values),
        values,
        seconds: RELEASE_SECONDS,
    })
}

/// Returns the digest of chart and values that a release is described with.
pub fn digest(chart: &Chart, values: &Value) -> String {
    let text = json!([chart.repository, chart.name, chart.version, values]).to_string();
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// What Helm keeps with a release of ours: the digest of chart and values, and that of the token's secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Digest of chart and values.
    pub release: String,
    /// Digest of the secret that the runner's pod was made with.
    pub token: String,
}

impl std::fmt::Display for Described {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{DESCRIBED} {} {}", self.release, self.token)
    }
}

impl Described {
    /// Reads what a release is described with; none where another wrote it.
    pub fn read(description: &str) -> Option<Self> {
        let (release, token) = description
            .strip_prefix(DESCRIBED)?
            .trim_start()
            .split_once(' ')?;
        Some(Self {
            release: release.to_owned(),
            token: token.to_owned(),
        })
    }
}

/// Returns the values that do not hang on the token.
pub fn values(record: &Record, eks: &Eks) -> Value {
    let mut values = filled(&TEMPLATE, &holes(record, eks)).unwrap_or_default();
    let config = toml::text(&values["runners"]["config"]);
    values["runners"]["config"] = json!(config);
    values
}

/// Returns what the holes of the template are for; null leaves a key to the chart.
fn holes(record: &Record, eks: &Eks) -> Value {
    let (spec, name, job) = (&record.spec, &record.name, eks.job);
    let labels = json!({
        DEPLOYMENT_LABEL: name.as_str(),
        GENERATION_LABEL: record.generation.as_str(),
    });
    let mut job_labels = labels.clone();
    job_labels[PART_LABEL] = json!(PART_JOB);
    let mut holes = json!({
        "PLATFORM_URL": spec.platform_url,
        "CONCURRENCY": spec.concurrency,
        "CHECK_INTERVAL": spec.check_interval,
        "GRACE_SECONDS": grace_seconds(eks),
        "TOKEN_SECRET": name.token_secret(),
        "NAME": name.as_str(),
        "NAMESPACE": eks.namespace,
        "JOB_ACCOUNT": name.job_account(),
        "JOB_CPU": format!("{}m", job.cpu_m),
        "JOB_MEMORY": format!("{}Mi", job.memory_mib),
        "JOB_MEMORY_LIMIT": format!("{}Mi", job.memory_limit_mib),
        "PULL_POLICIES": PULL_POLICIES,
        "NODE_SELECTOR": node_selector(record, eks),
        "PROTECTION": protection(),
        "LABELS": labels,
        "JOB_LABELS": job_labels,
        "VAULT_SECRET": eks.vault_secret,
    });
    if spec.registry.is_some() {
        holes["PULL_SECRETS"] = json!([{ "name": name.registry_secret() }]);
        holes["PULL_SECRET_NAMES"] = json!([name.registry_secret()]);
    }
    if eks.storage.mode != StorageMode::None {
        holes["VOLUMES"] = json!({ "pvc": [{ "name": name.cache_claim(), "mount_path": CACHE_PATH }] });
    }
    if spec.runner_image != CHART_IMAGE || spec.channel != CHART_CHANNEL {
        let (registry, image) = split(&spec.runner_image);
        holes["IMAGE"] = json!({ "registry": registry, "image": image, "tag": spec.channel });
    }
    holes
}

/// Returns a part of the template with its holes filled; none for a hole with nothing for it.
fn filled(part: &Value, holes: &Value) -> Option<Value> {
    match part {
        Value::String(text) => match text.strip_prefix("@@").and_then(|rest| rest.strip_suffix("@@")) {
            Some(hole) => holes.get(hole).filter(|value| !value.is_null()).cloned(),
            None => Some(part.clone()),
        },
        Value::Array(items) => Some(items.iter().filter_map(|item| filled(item, holes)).collect()),
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .filter_map(|(key, value)| Some((key.clone(), filled(value, holes)?)));
            Some(Value::Object(fields.collect()))
        }
        _ => Some(part.clone()),
    }
}

/// Returns the values that hang on the token: only a registration takes tags and limits, and with the other kind the runner
/// would not start (<https://docs.gitlab.com/ci/runners/new_creation_workflow/>).
pub fn token_values(record: &Record, kind: TokenKind, digest: &str) -> Value {
    let mut values = json!({ "podAnnotations": { TOKEN_ANNOTATION: digest } });
    if let (TokenKind::Registration, Some(eks)) = (kind, record.spec.eks.as_deref()) {
        let seconds = eks.job.timeout_minutes * 60;
        values["runners"] = json!({
            "name": record.name.as_str(),
            "tags": record.name.as_str(),
            "runUntagged": false,
            "locked": false,
        });
        // The platform takes no less (<https://docs.gitlab.com/ci/runners/configure_runners/>).
        if seconds >= 600 {
            values["runners"]["maximumTimeout"] = json!(seconds.to_string());
        }
    }
    values
}

/// Returns the seconds that the runner's pod has to end in: the longest job and a little more.
pub fn grace_seconds(eks: &Eks) -> u32 {
    eks.job.timeout_minutes * 60 + GRACE
}

/// Returns where pods run: on nodes of ours, or where the cluster puts them, as long as the images run there.
fn node_selector(record: &Record, eks: &Eks) -> Value {
    match eks.autoscaler {
        Autoscaler::Cluster => json!({ "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64" }),
        Autoscaler::None | Autoscaler::ClusterAutoscaler => {
            json!({ NODE_GROUP_LABEL: record.name.node_group() })
        }
    }
}

fn protection() -> Value {
    PROTECTION
        .iter()
        .map(|(key, value)| ((*key).to_owned(), json!(value)))
        .collect::<Map<_, _>>()
        .into()
}

/// Returns registry and the rest of an image; Docker Hub where none is named.
fn split(image: &str) -> (&str, &str) {
    match image.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
        _ => ("docker.io", image),
    }
}

/// A value of JSON as TOML, as far as a runner's configuration needs it.
mod toml {
    use serde_json::{Map, Value};

    /// Returns the text of a document.
    pub(super) fn text(document: &Value) -> String {
        let mut text = String::new();
        if let Value::Object(table) = document {
            body(table, "", 0, &mut text);
        }
        text
    }

    /// Writes what is in a table: plain values first, because after the header of a table all belongs to that.
    fn body(table: &Map<String, Value>, path: &str, depth: usize, text: &mut String) {
        let indent = "  ".repeat(depth);
        for (name, value) in table.iter().filter(|(_, value)| !is_table(value)) {
            *text += &format!("{indent}{} = {}\n", key(name), plain(value));
        }
        for (name, value) in table {
            let path = if path.is_empty() {
                key(name)
            } else {
                format!("{path}.{}", key(name))
            };
            match value {
                Value::Object(inner) => {
                    // A table that only holds tables needs no header of its own.
                    let deeper = if inner.values().all(is_table) && !inner.is_empty() {
                        depth
                    } else {
                        *text += &format!("{indent}[{path}]\n");
                        depth + 1
                    };
                    body(inner, &path, deeper, text);
                }
                Value::Array(items) if is_table(value) => {
                    for item in items.iter().filter_map(Value::as_object) {
                        *text += &format!("{indent}[[{path}]]\n");
                        body(item, &path, depth + 1, text);
                    }
                }
                _ => {}
            }
        }
    }

    /// Whether a value is a table, or an array of tables.
    fn is_table(value: &Value) -> bool {
        match value {
            Value::Object(_) => true,
            Value::Array(items) => !items.is_empty() && items.iter().all(Value::is_object),
            _ => false,
        }
    }

    fn key(name: &str) -> String {
        let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if !name.is_empty() && name.chars().all(bare) {
            name.to_owned()
        } else {
            quoted(name)
        }
    }

    fn plain(value: &Value) -> String {
        match value {
            Value::String(text) => quoted(text),
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(plain).collect();
                format!("[{}]", items.join(", "))
            }
            // TOML has no null; nothing here is one.
            other => other.to_string(),
        }
    }

    /// Returns a basic string (<https://toml.io/en/v1.0.0#string>).
    fn quoted(text: &str) -> String {
        let mut quoted = String::from('"');
        for c in text.chars() {
            match c {
                '"' => quoted += "\\\"",
                '\\' => quoted += "\\\\",
                c if (c as u32) < 0x20 || c as u32 == 0x7f => quoted += &format!("\\u{:04X}", c as u32),
                c => quoted.push(c),
            }
        }
        quoted.push('"');
        quoted
    }
}

#[cfg(test)]
#[path = "values_tests.rs"]
mod tests;
