//! Cluster Autoscaler: the objects that make it, as its authors give them, for our node group alone.
//!
//! Source: <https://github.com/kubernetes/autoscaler/tree/master/cluster-autoscaler/cloudprovider/aws/examples>. It runs in the
//! namespace of the release and under the deployment's name, so that another one in an adopted cluster does not share its lease.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::name::labels;
use super::operation::Object;
use super::spec::{Autoscaler, Eks};
use crate::domain::deployment::name::{Name, Place};
use crate::domain::deployment::owner::Owner;
use crate::domain::deployment::spec::Spec;

/// Its image, without tag.
const IMAGE: &str = "registry.k8s.io/autoscaling/cluster-autoscaler";
/// Address of the step that makes its pods; the others come before.
pub const DEPLOYMENT: &str = "autoscaler-deployment";

/// Returns the objects in the order they are made, with their addresses; none where somebody else scales.
pub fn objects(owner: &Owner, spec: &Spec, place: &Place) -> Vec<(String, Object)> {
    let Some(eks) = &spec.eks else {
        return Vec::new();
    };
    if eks.autoscaler != Autoscaler::ClusterAutoscaler {
        return Vec::new();
    }
    let name = owner.name.autoscaler();
    let labels = labels(owner);
    let metadata = |namespace: Option<&str>| {
        let mut metadata = json!({ "name": name, "labels": labels });
        if let Some(namespace) = namespace {
            metadata["namespace"] = namespace.into();
        }
        metadata
    };
    let here = Some(eks.namespace.as_str());
    let rbac = "rbac.authorization.k8s.io";
    let version = format!("{rbac}/v1");
    let subjects = json!([{ "kind": "ServiceAccount", "name": name, "namespace": eks.namespace }]);
    let reference = |kind: &str| json!({ "apiGroup": rbac, "kind": kind, "name": name });
    let manifests = [
        (
            "autoscaler-account",
            json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(here) }),
        ),
        (
            "autoscaler-cluster-role",
            json!({
                "apiVersion": version, "kind": "ClusterRole", "metadata": metadata(None),
                "rules": cluster_rules(),
            }),
        ),
        (
            "autoscaler-cluster-binding",
            json!({
                "apiVersion": version, "kind": "ClusterRoleBinding", "metadata": metadata(None),
                "roleRef": reference("ClusterRole"), "subjects": subjects,
            }),
        ),
        (
            "autoscaler-role",
            json!({
                "apiVersion": version, "kind": "Role", "metadata": metadata(here),
                "rules": rules(&owner.name),
            }),
        ),
        (
            "autoscaler-binding",
            json!({
                "apiVersion": version, "kind": "RoleBinding", "metadata": metadata(here),
                "roleRef": reference("Role"), "subjects": subjects,
            }),
        ),
        (
            DEPLOYMENT,
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(here),
                "spec": deployment(&owner.name, eks, place, &json!(labels)),
            }),
        ),
    ];
    manifests
        .into_iter()
        .map(|(address, manifest)| {
            let filled = BTreeMap::new();
            (address.to_owned(), Object { manifest, filled })
        })
        .collect()
}

/// Returns the tag of the image for a version of Kubernetes: their minor versions must be the same
/// (<https://github.com/kubernetes/autoscaler/tree/master/cluster-autoscaler#releases>).
pub fn tag(version: &str) -> String {
    format!("v{version}.0")
}

/// Returns the name of the map that it writes its state to.
fn status(name: &Name) -> String {
    format!("{}-status", name.autoscaler())
}

fn cluster_rules() -> Value {
    let see = ["get", "list", "watch"];
    json!([
        { "apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"] },
        { "apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"] },
        { "apiGroups": [""], "resources": ["pods/status"], "verbs": ["update"] },
        { "apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "update", "watch"] },
        {
            "apiGroups": [""],
            "resources": [
                "namespaces", "persistentvolumeclaims", "persistentvolumes", "pods", "replicationcontrollers",
                "services",
            ],
            "verbs": see,
        },
        { "apiGroups": ["apps"], "resources": ["daemonsets", "replicasets", "statefulsets"], "verbs": see },
        { "apiGroups": ["batch"], "resources": ["cronjobs", "jobs"], "verbs": see },
        { "apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": see },
        {
            "apiGroups": ["resource.k8s.io"],
            "resources": ["deviceclasses", "resourceclaims", "resourceslices"],
            "verbs": see,
        },
        {
            "apiGroups": ["storage.k8s.io"],
            "resources": ["csidrivers", "csinodes", "csistoragecapacities", "storageclasses", "volumeattachments"],
            "verbs": see,
        },
    ])
}

/// What it writes, its lease and its state, is in its own namespace.
fn rules(name: &Name) -> Value {
    json!([
        { "apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "list", "watch"] },
        {
            "apiGroups": [""], "resources": ["configmaps"], "resourceNames": [status(name)],
            "verbs": ["delete", "get", "update", "watch"],
        },
        { "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"] },
        {
            "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": [name.autoscaler()],
            "verbs": ["get", "update"],
        },
    ])
}

/// Nodes are found by the tags that EKS sets on the Auto Scaling group of a node group, and a node that holds a pod with data of its
/// own, as job pods do, is not removed (`--skip-nodes-with-local-storage`, on by default).
fn deployment(name: &Name, eks: &Eks, place: &Place, labels: &Value) -> Value {
    let called = name.autoscaler();
    let mut pod_labels = labels.clone();
    pod_labels["app.kubernetes.io/name"] = "cluster-autoscaler".into();
    pod_labels["app.kubernetes.io/instance"] = called.clone().into();
    json!({
        "replicas": 1,
        "selector": { "matchLabels": { "app.kubernetes.io/instance": called } },
        "template": {
            "metadata": { "labels": pod_labels },
            "spec": {
                "priorityClassName": "system-cluster-critical",
                "serviceAccountName": called,
                "securityContext": {
                    "runAsNonRoot": true, "runAsUser": 65534, "runAsGroup": 65534, "fsGroup": 65534,
                    "seccompProfile": { "type": "RuntimeDefault" },
                },
                "containers": [{
                    "name": "cluster-autoscaler",
                    "image": format!("{IMAGE}:{}", tag(&eks.version)),
                    "command": [
                        "./cluster-autoscaler",
                        "--cloud-provider=aws",
                        format!("--namespace={}", eks.namespace),
                        format!("--leader-elect-resource-name={called}"),
                        format!("--status-config-map-name={}", status(name)),
                        format!(
                            "--node-group-auto-discovery=asg:tag=eks:cluster-name={},eks:nodegroup-name={}",
                            eks.cluster,
                            name.node_group()
                        ),
                        "--expander=least-waste",
                        "--stderrthreshold=info",
                        "--v=2",
                    ],
                    // Pods do not reach the metadata service.
                    "env": [{ "name": "AWS_REGION", "value": place.region }],
                    // Its authors ask for as much as they allow, which suits hundreds of nodes; here there are a few.
                    "resources": {
                        "requests": { "cpu": "100m", "memory": "200Mi" },
                        "limits": { "memory": "600Mi" },
                    },
                    "securityContext": {
                        "allowPrivilegeEscalation": false,
                        "readOnlyRootFilesystem": true,
                        "capabilities": { "drop": ["ALL"] },
                    },
                }],
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::deployment::eks::identity;
    use crate::domain::deployment::eks::name::RoleOf;
    use crate::domain::deployment::owner::Generation;
    use crate::domain::testing;

    fn all(eks: Eks) -> Vec<(String, Object)> {
        let owner = Owner {
            name: Name::new("abc").expect("sound"),
            generation: Generation::from_bytes([0xab; 8]),
        };
        let place = Place {
            account: "123456789012".to_owned(),
            region: "eu-west-2".to_owned(),
        };
        let spec = Spec {
            eks: Some(Box::new(eks)),
            ..testing::eks_spec()
        };
        objects(&owner, &spec, &place)
    }

    #[test]
    fn its_account_is_the_one_that_the_role_trusts() {
        let eks = testing::eks();
        let (namespace, account) =
            identity::account(RoleOf::Autoscaler, &Name::new("abc").expect("sound"), &eks).expect("a pod");
        let objects = all(eks);
        let (first, object) = &objects[0];
        assert_eq!(first, "autoscaler-account");
        assert_eq!(object.manifest["metadata"]["name"], account.as_str());
        assert_eq!(object.manifest["metadata"]["namespace"], namespace.as_str());
        let (last, deployment) = objects.last().expect("objects");
        assert_eq!(last, DEPLOYMENT);
        let pod = &deployment.manifest["spec"]["template"];
        assert_eq!(pod["spec"]["serviceAccountName"], account.as_str());
        let wanted = deployment.manifest["spec"]["selector"]["matchLabels"]
            .as_object()
            .expect("labels");
        for (key, value) in wanted {
            assert_eq!(&pod["metadata"]["labels"][key], value);
        }
        assert_eq!(
            pod["spec"]["containers"][0]["image"],
            "registry.k8s.io/autoscaling/cluster-autoscaler:v1.34.0"
        );
    }

    #[test]
    fn everything_is_labelled_and_there_is_nothing_where_others_scale() {
        for (address, object) in all(testing::eks()) {
            let labels = &object.manifest["metadata"]["labels"];
            assert_eq!(labels["dataops-infra/deployment"], "abc", "{address}");
        }
        for autoscaler in [Autoscaler::None, Autoscaler::Cluster] {
            let eks = Eks {
                autoscaler,
                ..testing::eks()
            };
            assert_eq!(all(eks), []);
        }
    }
}
