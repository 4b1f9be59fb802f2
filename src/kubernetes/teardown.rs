//! What goes before a deployment goes: load balancers, claims with their volumes, and what must not go with a namespace.

use serde_json::{Value, json};

use super::client::Cluster;
use super::object::{self, Spot};
use crate::domain::call::CallError;
use crate::domain::deployment::eks::objects::owns;
use crate::domain::deployment::owner::Owner;

/// Kinds of which something in a namespace may be somebody's.
const KEPT: [(&str, &str); 7] = [
    ("v1", "Secret"),
    ("v1", "ConfigMap"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "Service"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
];

/// Reads all objects of a kind, each with its kind.
async fn every(
    cluster: &Cluster,
    api: &str,
    kind: &str,
    namespace: Option<&str>,
) -> Result<Vec<Value>, CallError> {
    let mut objects = object::all(cluster, &object::list(api, kind, namespace), "").await?;
    for object in &mut objects {
        object["apiVersion"] = json!(api);
        object["kind"] = json!(kind);
    }
    Ok(objects)
}

/// Returns what in a namespace is neither ours, nor Helm's for the release, nor Kubernetes' own.
///
/// # Errors
///
/// The server does not answer, or refuses.
pub async fn foreign(
    cluster: &Cluster,
    owner: &Owner,
    namespace: &str,
    release: &str,
) -> Result<Vec<String>, CallError> {
    let lists = KEPT.map(|(api, kind)| every(cluster, api, kind, Some(namespace)));
    let objects = futures_util::future::try_join_all(lists).await?;
    Ok(objects
        .into_iter()
        .flatten()
        .filter(|object| !owns(owner, object) && !is_usual(object, release))
        .map(|object| Spot::of(&object).to_string())
        .collect())
}

/// Whether an object is in every namespace, or of the release.
fn is_usual(object: &Value, release: &str) -> bool {
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    let kind = object["type"].as_str().unwrap_or_default();
    name == "kube-root-ca.crt"
        || kind == "kubernetes.io/service-account-token"
        || kind == "helm.sh/release.v1" && metadata["labels"]["name"] == release
        || metadata["annotations"]["meta.helm.sh/release-name"] == release
        // What belongs to something else goes with it.
        || metadata["ownerReferences"].as_array().is_some_and(|owners| !owners.is_empty())
}

/// Returns what has a load balancer of AWS: services and ingresses of the whole cluster.
///
/// # Errors
///
/// The server does not answer, or refuses.
pub async fn balanced(cluster: &Cluster) -> Result<Vec<Value>, CallError> {
    let (services, ingresses) = tokio::join!(
        every(cluster, "v1", "Service", None),
        every(cluster, "networking.k8s.io/v1", "Ingress", None),
    );
    let balancers = |object: &Value| {
        let made = object["status"]["loadBalancer"]["ingress"].as_array();
        made.is_some_and(|made| !made.is_empty())
    };
    let services = services?
        .into_iter()
        .filter(|service| service["spec"]["type"] == "LoadBalancer");
    let ingresses = ingresses?.into_iter().filter(balancers);
    Ok(services.chain(ingresses).collect())
}

/// Returns our claims, and the volumes that go with claims of this namespace.
///
/// # Errors
///
/// The server does not answer, or refuses.
pub async fn claims(
    cluster: &Cluster,
    owner: &Owner,
    namespace: &str,
    ours: &str,
) -> Result<(Vec<Value>, Vec<Value>), CallError> {
    let (claims, volumes) = tokio::join!(
        every(cluster, "v1", "PersistentVolumeClaim", Some(namespace)),
        every(cluster, "v1", "PersistentVolume", None),
    );
    let claims: Vec<Value> = claims?.into_iter().filter(|claim| owns(owner, claim)).collect();
    let goes = |volume: &Value| {
        let of = &volume["spec"]["claimRef"];
        let name = of["name"].as_str().unwrap_or_default();
        volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
            && of["namespace"] == namespace
            && (name == ours || claims.iter().any(|claim| claim["metadata"]["name"] == name))
    };
    let volumes: Vec<Value> = volumes?.into_iter().filter(|volume| goes(volume)).collect();
    Ok((claims, volumes))
}

/// Says what is still there and what keeps it.
pub fn waiting(objects: &[Value]) -> String {
    let said: Vec<String> = objects
        .iter()
        .map(|object| {
            let going = object["metadata"]["deletionTimestamp"].is_string();
            let word = if going { "is being removed" } else { "is there" };
            format!("{} {word}{}", Spot::of(object), object::holding(object))
        })
        .collect();
    said.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_and_helm_made_is_usual() {
        let usual = [
            json!({ "kind": "ConfigMap", "metadata": { "name": "kube-root-ca.crt" } }),
            json!({ "kind": "Secret", "type": "kubernetes.io/service-account-token", "metadata": { "name": "a" } }),
            json!({ "kind": "Secret", "type": "helm.sh/release.v1", "metadata": { "labels": { "name": "abc" } } }),
            json!({ "metadata": { "annotations": { "meta.helm.sh/release-name": "abc" } } }),
            json!({ "metadata": { "ownerReferences": [{ "kind": "Pod" }] } }),
        ];
        assert!(usual.iter().all(|object| is_usual(object, "abc")));
        let theirs = [
            json!({ "kind": "Secret", "type": "Opaque", "metadata": { "name": "vault" } }),
            json!({ "kind": "Secret", "type": "helm.sh/release.v1", "metadata": { "labels": { "name": "other" } } }),
        ];
        assert!(!theirs.iter().any(|object| is_usual(object, "abc")));
    }
}
