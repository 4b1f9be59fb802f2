//! A deployment on EKS for people and programs: its cluster, nodes, release and runner.

use serde_json::{Value, json};

use crate::domain::deployment::eks::observed::{Inside, ObservedEks};
use crate::domain::deployment::observed::Observed;
use crate::domain::deployment::record::Record;

/// Returns the cluster as it is; none for a deployment on EC2.
pub fn document(record: &Record, observed: &Observed) -> Option<Value> {
    let eks = record.spec.eks.as_deref()?;
    let nothing = ObservedEks::default();
    let seen = observed.eks.as_deref().unwrap_or(&nothing);
    let cluster = seen.cluster.as_ref().map(|cluster| &cluster.it);
    let mut document = json!({
        "name": eks.cluster,
        "adopted": eks.adopted,
        "version": cluster.map_or(&eks.version, |cluster| &cluster.version),
        "state": cluster.map_or("missing", |cluster| cluster.status.as_str()),
        "namespace": eks.namespace,
        "nodes": {
            "instance_type": record.spec.instance_type,
            "min": eks.min_nodes,
            "max": eks.max_nodes,
        },
        "online": online(observed),
    });
    if let Some(cluster) = cluster
        && !cluster.issues.is_empty()
    {
        document["issues"] = json!(cluster.issues);
    }
    if let Some(group) = &seen.node_group {
        let nodes = &mut document["nodes"];
        nodes["state"] = json!(group.it.status);
        nodes["desired"] = json!(group.it.desired);
        nodes["version"] = json!(group.it.version);
        nodes["image"] = json!(group.it.release_version);
        if !group.it.issues.is_empty() {
            nodes["issues"] = json!(group.it.issues);
        }
    }
    match &seen.inside {
        Inside::Nothing => {}
        Inside::Unknown(why) => document["unreadable"] = json!(why),
        Inside::Read(inside) => {
            document["nodes"]["ready"] = json!(inside.nodes.values().filter(|ready| **ready).count());
            document["nodes"]["joined"] = json!(inside.nodes.len());
            document["jobs"] = json!(inside.jobs);
            if let Some(release) = &inside.release {
                document["release"] = json!({
                    "chart": release.chart,
                    "status": release.status,
                    "revision": release.revision,
                });
            }
            document["pods"] = inside
                .pods
                .iter()
                .map(|pod| {
                    json!({
                        "name": pod.name,
                        "phase": pod.phase,
                        "ready": pod.ready,
                        "restarts": pod.restarts,
                        "why": pod.why,
                        "image": pod.image,
                    })
                })
                .collect();
        }
    }
    Some(document)
}

/// Whether the runner was seen ready in its cluster.
pub fn online(observed: &Observed) -> bool {
    match observed.eks.as_deref().map(|seen| &seen.inside) {
        Some(Inside::Read(inside)) => {
            let released = inside
                .release
                .as_ref()
                .is_some_and(|release| release.status == "deployed");
            released && !inside.pods.is_empty() && inside.pods.iter().all(|pod| pod.ready)
        }
        _ => false,
    }
}

/// Returns lines of names and values out of the document.
pub fn pairs(cluster: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let joined = |value: &Value| -> String {
        let list = value.as_array().into_iter().flatten();
        list.map(text).collect::<Vec<_>>().join("; ")
    };
    let mut pairs = Vec::new();
    let mut says = format!(
        "{} {}, Kubernetes {}",
        text(&cluster["name"]),
        text(&cluster["state"]),
        text(&cluster["version"])
    );
    if cluster["adopted"] == true {
        says.push_str(", adopted");
    }
    for key in ["issues", "unreadable"] {
        let more = match &cluster[key] {
            Value::Array(_) => joined(&cluster[key]),
            other => text(other),
        };
        if !more.is_empty() {
            says.push_str(&format!("; {more}"));
        }
    }
    pairs.push(("cluster".to_owned(), says));
    let nodes = &cluster["nodes"];
    if !nodes["state"].is_null() {
        let mut says = format!(
            "{} to {} x {}, {}",
            nodes["min"],
            nodes["max"],
            text(&nodes["instance_type"]),
            text(&nodes["state"])
        );
        if let (Some(ready), Some(all)) = (nodes["ready"].as_u64(), nodes["joined"].as_u64()) {
            says.push_str(&format!(", {ready} of {all} ready"));
        }
        if let Some(image) = nodes["image"].as_str().filter(|image| !image.is_empty()) {
            says.push_str(&format!(", image {image}"));
        }
        let issues = joined(&nodes["issues"]);
        if !issues.is_empty() {
            says.push_str(&format!("; {issues}"));
        }
        pairs.push(("nodes".to_owned(), says));
    }
    if let Some(release) = cluster["release"].as_object() {
        pairs.push((
            "release".to_owned(),
            format!(
                "{} {}, revision {}, namespace {}",
                text(&release["chart"]),
                text(&release["status"]),
                release["revision"],
                text(&cluster["namespace"])
            ),
        ));
    }
    for pod in cluster["pods"].as_array().into_iter().flatten() {
        let mut says = format!("{} {}", text(&pod["name"]), text(&pod["phase"]));
        says.push_str(if pod["ready"] == true {
            ", ready"
        } else {
            ", not ready"
        });
        if let Some(restarts) = pod["restarts"].as_u64().filter(|restarts| *restarts > 0) {
            says.push_str(&format!(", {restarts} restarts"));
        }
        if let Some(why) = pod["why"].as_str() {
            says.push_str(&format!("; {why}"));
        }
        pairs.push(("pod".to_owned(), says));
    }
    if let Some(jobs) = cluster["jobs"].as_u64().filter(|jobs| *jobs > 0) {
        pairs.push(("job pods".to_owned(), jobs.to_string()));
    }
    pairs
}
