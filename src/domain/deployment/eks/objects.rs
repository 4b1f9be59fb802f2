//! Objects in the cluster: what stands there before the chart does.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::autoscaler;
use super::name::labels;
use super::observed::owner_tags;
use super::operation::{Holds, Object};
use super::spec::{Eks, StorageMode};
use crate::domain::deployment::name::Place;
use crate::domain::deployment::owner::{DEPLOYMENT, GENERATION, Owner};
use crate::domain::deployment::record::Record;

/// Space that a claim on EFS asks for: EFS takes no notice, Kubernetes wants a figure
/// (<https://docs.aws.amazon.com/eks/latest/userguide/efs-csi.html>).
const CLAIM: &str = "300Gi";

/// The driver of EFS (<https://github.com/kubernetes-sigs/aws-efs-csi-driver>).
const EFS_DRIVER: &str = "efs.csi.aws.com";

/// What is applied: an object as it is, or a secret without its data.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// Address within the deployment.
    pub address: &'static str,
    /// Why it is there.
    pub reason: &'static str,
    /// The object.
    pub object: Object,
    /// What it holds, if it is a secret.
    pub holds: Option<Holds>,
    /// Addresses that come first.
    pub after: Vec<&'static str>,
}

/// Whether an object carries our labels.
pub fn owns(owner: &Owner, object: &Value) -> bool {
    let tags = owner_tags(object);
    tags.get(DEPLOYMENT).map(String::as_str) == Some(owner.name.as_str())
        && tags.get(GENERATION).map(String::as_str) == Some(owner.generation.as_str())
}

/// Says what an object is, for people.
pub fn told(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = text(&object["kind"]);
    let name = text(&object["metadata"]["name"]);
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

/// Returns the namespace of the release, where it is not one that every cluster has.
pub fn namespace(owner: &Owner, eks: &Eks) -> Option<Object> {
    (!matches!(eks.namespace.as_str(), "default" | "kube-system")).then(|| Object {
        manifest: json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": { "name": eks.namespace, "labels": labels(owner) },
        }),
        filled: BTreeMap::new(),
    })
}

/// Returns what stands in the cluster before the chart, but the namespace, in an order in which it can be applied.
pub fn all(record: &Record, eks: &Eks) -> Vec<Applied> {
    let owner = record.owner();
    let name = &record.name;
    let labels = labels(&owner);
    let metadata = |name: String| json!({ "name": name, "namespace": eks.namespace, "labels": labels });
    let plain = |manifest: Value| Object {
        manifest,
        filled: BTreeMap::new(),
    };
    let mut all = vec![
        Applied {
            address: "service-account",
            reason: "whom job pods run as",
            object: plain(json!({
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": metadata(name.job_account()),
            })),
            holds: None,
            after: Vec::new(),
        },
        Applied {
            address: "secret-token",
            reason: "the runner's token, where the chart looks for it",
            object: plain(json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "Opaque",
                "metadata": metadata(name.token_secret()),
            })),
            holds: Some(Holds::Token),
            after: vec!["token"],
        },
    ];
    if record.spec.registry.is_some() {
        all.push(Applied {
            address: "secret-registry",
            reason: "the login of the image registry",
            object: plain(json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "kubernetes.io/dockerconfigjson",
                "metadata": metadata(name.registry_secret()),
            })),
            holds: Some(Holds::RegistryLogin),
            after: Vec::new(),
        });
    }
    let file_system = |pointer: &str| BTreeMap::from([(pointer.to_owned(), "file-system".to_owned())]);
    let class = |parameters: Option<Value>, filled| {
        let mut manifest = json!({
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": { "name": name.storage_class(), "labels": labels },
            "provisioner": EFS_DRIVER,
        });
        if let Some(parameters) = parameters {
            manifest["parameters"] = parameters;
        }
        Applied {
            address: "storage-class",
            reason: "volumes on EFS",
            object: Object { manifest, filled },
            holds: None,
            after: vec!["file-system"],
        }
    };
    let claim = |volume: Option<String>| {
        let mut spec = json!({
            "accessModes": ["ReadWriteMany"],
            "storageClassName": name.storage_class(),
            "resources": { "requests": { "storage": CLAIM } },
        });
        if let Some(volume) = volume {
            spec["volumeName"] = json!(volume);
        }
        Applied {
            address: "claim",
            reason: "the cache that jobs share",
            object: plain(json!({
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": metadata(name.cache_claim()),
                "spec": spec,
            })),
            holds: None,
            after: vec!["storage-class", "volume"],
        }
    };
    match eks.storage.mode {
        StorageMode::None => {}
        StorageMode::Static => {
            all.push(class(None, BTreeMap::new()));
            // Volumes have no namespace, so the name carries the deployment's and not the claim's alone.
            all.push(Applied {
                address: "volume",
                reason: "the whole file system: files keep their owners",
                object: Object {
                    manifest: json!({
                        "apiVersion": "v1",
                        "kind": "PersistentVolume",
                        "metadata": { "name": name.storage_class(), "labels": labels },
                        "spec": {
                            "capacity": { "storage": CLAIM },
                            "volumeMode": "Filesystem",
                            "accessModes": ["ReadWriteMany"],
                            "persistentVolumeReclaimPolicy": "Retain",
                            "storageClassName": name.storage_class(),
                            "csi": { "driver": EFS_DRIVER, "volumeHandle": "" },
                            "claimRef": { "namespace": eks.namespace, "name": name.cache_claim() },
                        },
                    }),
                    filled: file_system("/spec/csi/volumeHandle"),
                },
                holds: None,
                after: vec!["file-system"],
            });
            all.push(claim(Some(name.storage_class())));
        }
        StorageMode::Dynamic => {
            let parameters = json!({
                "provisioningMode": "efs-ap",
                "fileSystemId": "",
                "directoryPerms": "700",
            });
            all.push(class(Some(parameters), file_system("/parameters/fileSystemId")));
            all.push(claim(None));
        }
    }
    all
}

/// Returns everything that shall stand in the cluster, by address: what is read there to see what there is.
pub fn wanted(record: &Record, place: &Place) -> Vec<(String, Object)> {
    let Some(eks) = record.spec.eks.as_deref() else {
        return Vec::new();
    };
    let owner = record.owner();
    // A namespace of others is looked at too: whether it is there, and whether it is going.
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": eks.namespace } });
    let namespace = Object {
        manifest: namespace,
        filled: BTreeMap::new(),
    };
    let mut wanted = vec![("namespace".to_owned(), namespace)];
    let all = all(record, eks).into_iter();
    wanted.extend(all.map(|applied| (applied.address.to_owned(), applied.object)));
    wanted.extend(autoscaler::objects(&owner, &record.spec, place));
    wanted
}

impl Object {
    /// Returns the manifest with what AWS alone knows, as far as it is known.
    pub fn known(&self, ids: &BTreeMap<String, String>) -> Value {
        let mut manifest = self.manifest.clone();
        for (pointer, address) in &self.filled {
            if let (Some(place), Some(id)) = (manifest.pointer_mut(pointer), ids.get(address)) {
                *place = json!(id);
            }
        }
        manifest
    }
}

/// Returns the fields of a manifest that are otherwise in the object, as paths; what others added is theirs.
pub fn differing(should: &Value, is: &Value) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    walk("", should, is, &mut found);
    found
}

fn walk(path: &str, should: &Value, is: &Value, found: &mut Vec<(String, String, String)>) {
    if let Value::Object(fields) = should {
        for (key, value) in fields {
            let path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            walk(&path, value, &is[key.as_str()], found);
        }
    } else if let (Value::Array(should), Value::Array(there)) = (should, is)
        && should.len() == there.len()
    {
        for (nth, (should, is)) in should.iter().zip(there).enumerate() {
            walk(&format!("{path}[{nth}]"), should, is, found);
        }
    } else if should != is && !(is.is_null() && is_empty(should)) {
        let shown = |value: &Value| match value {
            Value::Null => "none".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        found.push((path.to_owned(), shown(is), shown(should)));
    }
}

/// The API server leaves out what is empty or false.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Number(_) => false,
    }
}

/// Whether a claim has its volume.
pub fn is_bound(claim: &Value) -> bool {
    claim["status"]["phase"] == "Bound"
}

/// Says that an object is going and what keeps it; none where it stays.
pub fn going(object: &Value) -> Option<String> {
    object["metadata"]["deletionTimestamp"].as_str()?;
    let texts = |value: &Value| -> Vec<String> {
        let list = value.as_array().into_iter().flatten();
        list.filter_map(|text| Some(text.as_str()?.to_owned())).collect()
    };
    let mut keep = texts(&object["metadata"]["finalizers"]);
    keep.extend(texts(&object["spec"]["finalizers"]));
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let told: Vec<&str> = conditions
        .filter(|condition| condition["status"] == "True")
        .filter_map(|condition| condition["message"].as_str())
        .collect();
    Some(match (told.is_empty(), keep.is_empty()) {
        (false, _) => format!("is being removed: {}", told.join("; ")),
        (true, false) => format!("is being removed, which waits for {}", keep.join(", ")),
        (true, true) => "is being removed".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_adds_is_no_difference() {
        let should = json!({ "a": { "b": "c", "e": [] }, "list": [1, { "x": true }] });
        let is = json!({ "a": { "b": "c", "d": 1 }, "list": [1, { "x": true, "y": 2 }], "status": {} });
        assert_eq!(differing(&should, &is), []);
        let other = json!({ "a": { "b": "other" }, "list": [1] });
        let paths: Vec<String> = differing(&should, &other)
            .into_iter()
            .map(|(path, ..)| path)
            .collect();
        assert_eq!(paths, ["a.b", "list"]);
    }

    #[test]
    fn what_keeps_a_namespace_is_told() {
        let stays = json!({ "metadata": { "name": "x" } });
        assert_eq!(going(&stays), None);
        let stuck = json!({
            "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" },
            "spec": { "finalizers": ["kubernetes"] },
            "status": { "conditions": [{ "status": "True", "message": "claims.example.com has 1 resource" }] },
        });
        assert_eq!(
            going(&stuck).as_deref(),
            Some("is being removed: claims.example.com has 1 resource")
        );
    }
}
