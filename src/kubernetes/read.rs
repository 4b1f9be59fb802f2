//! All of a deployment that stands in its cluster.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use serde_json::{Value, json};

use super::client::Cluster;
use super::object::{self, Spot, query};
use super::{pods, release};
use crate::domain::call::CallError;
use crate::domain::deployment::eks::name::DEPLOYMENT_LABEL;
use crate::domain::deployment::eks::observed::Objects;
use crate::domain::deployment::eks::secret;
use crate::domain::deployment::eks::values::NODE_GROUP_LABEL;
use crate::domain::deployment::record::Record;

/// Kinds that are looked through for what carries our label and is none of what is wanted: without a namespace, and in that of the
/// deployment.
const LEFTOVERS: [(&str, &str, bool); 6] = [
    ("v1", "Namespace", false),
    ("v1", "PersistentVolume", false),
    ("storage.k8s.io/v1", "StorageClass", false),
    ("v1", "PersistentVolumeClaim", true),
    ("v1", "Secret", true),
    ("v1", "ServiceAccount", true),
];

/// Reads a deployment: the objects that are wanted, by address, what else carries its label, the release, nodes and pods.
///
/// # Errors
///
/// The server does not answer, or refuses.
pub async fn read(
    cluster: &Cluster,
    record: &Record,
    wanted: &[(String, Value)],
) -> Result<Objects, CallError> {
    let name = &record.name;
    let Some(eks) = record.spec.eks.as_deref() else {
        return Ok(Objects::default());
    };
    let namespace = eks.namespace.as_str();
    let objects = try_join_all(wanted.iter().map(|(address, manifest)| async move {
        let spot = Spot::of(manifest);
        let read = object::read(cluster, &spot).await?;
        Ok::<_, CallError>(read.map(|object| (address.clone(), object)))
    }));
    let (release_name, group) = (name.release(), name.node_group());
    let (objects, left, release, running, nodes) = tokio::join!(
        objects,
        leftovers(cluster, name.as_str(), namespace),
        release::newest(cluster, namespace, &release_name),
        pods::running(cluster, namespace, &release_name, name.as_str()),
        nodes(cluster, &group),
    );
    let mut read = Objects {
        objects: objects?.into_iter().flatten().collect(),
        release: release?,
        nodes: nodes?,
        ..Objects::default()
    };
    let running = running?;
    read.pods = running.told();
    read.jobs = running.jobs.len() as u32;
    let known: Vec<Spot> = read.objects.values().map(Spot::of).collect();
    for object in left? {
        let spot = Spot::of(&object);
        if !known.contains(&spot) {
            read.objects.insert(format!("other {spot}"), object);
        }
    }
    for (address, object) in &mut read.objects {
        if object["kind"] != "Secret" {
            continue;
        }
        let data = secret::read(&object["data"]);
        let of = object["metadata"]["name"].as_str().unwrap_or_default();
        read.secret_digests
            .insert(address.clone(), secret::digest(of, &data));
        if let Some(fields) = object.as_object_mut() {
            fields.remove("data");
        }
        // What kubectl notes of an object is all of it.
        if let Some(notes) = object["metadata"]["annotations"].as_object_mut() {
            notes.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    for object in read.objects.values_mut() {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
    }
    Ok(read)
}

/// Returns what carries the label of a deployment; kinds that may not be listed are left out.
async fn leftovers(cluster: &Cluster, deployment: &str, namespace: &str) -> Result<Vec<Value>, CallError> {
    let selector = format!(
        "labelSelector={}",
        query(&format!("{DEPLOYMENT_LABEL}={deployment}"))
    );
    let lists = LEFTOVERS.map(|(api, kind, within)| {
        let path = object::list(api, kind, within.then_some(namespace));
        let selector = selector.clone();
        async move {
            let mut objects = match object::all(cluster, &path, &selector).await {
                Err(CallError::Denied { .. }) => Vec::new(),
                other => other?,
            };
            // Objects in a list do not say what they are.
            for object in &mut objects {
                object["apiVersion"] = json!(api);
                object["kind"] = json!(kind);
            }
            Ok::<_, CallError>(objects)
        }
    });
    Ok(try_join_all(lists).await?.into_iter().flatten().collect())
}

/// Returns the nodes of a group, and whether each is ready.
async fn nodes(cluster: &Cluster, group: &str) -> Result<BTreeMap<String, bool>, CallError> {
    let selector = format!("labelSelector={}", query(&format!("{NODE_GROUP_LABEL}={group}")));
    let nodes = object::all(cluster, &object::list("v1", "Node", None), &selector).await?;
    Ok(nodes
        .iter()
        .filter_map(|node| {
            let name = node["metadata"]["name"].as_str()?.to_owned();
            let conditions = node["status"]["conditions"].as_array().into_iter().flatten();
            let mut ready = conditions.filter(|condition| condition["type"] == "Ready");
            Some((name, ready.any(|condition| condition["status"] == "True")))
        })
        .collect())
}
