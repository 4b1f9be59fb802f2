//! One object: where it is, and how it is read, applied and removed.

use serde_json::{Value, json};

use super::client::{APPLY, Ask, Cluster, DELETE};
use crate::domain::call::{CallError, Refusal};
use crate::domain::deployment::eks::name::FIELD_MANAGER;
use crate::domain::deployment::eks::objects;
use crate::domain::deployment::eks::observed::owner_tags;
use crate::domain::deployment::owner::{Owner, told};

/// Kinds that have no namespace, of those we name.
const CLUSTER_WIDE: [&str; 8] = [
    "Namespace",
    "Node",
    "PersistentVolume",
    "StorageClass",
    "ClusterRole",
    "ClusterRoleBinding",
    "PriorityClass",
    "CSIDriver",
];

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spot {
    /// Such as `v1` or `apps/v1`.
    pub api: String,
    /// Such as `Deployment`.
    pub kind: String,
    /// Its namespace, where its kind has one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for Spot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ", self.kind)?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}

impl Spot {
    /// Returns where an object is.
    pub fn of(manifest: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let kind = text(&manifest["kind"]);
        let namespace = manifest["metadata"]["namespace"].as_str().map(str::to_owned);
        Self {
            api: text(&manifest["apiVersion"]),
            namespace: if CLUSTER_WIDE.contains(&kind.as_str()) {
                None
            } else {
                Some(namespace.unwrap_or_else(|| "default".to_owned()))
            },
            kind,
            name: text(&manifest["metadata"]["name"]),
        }
    }

    /// Returns its path.
    pub fn path(&self) -> String {
        format!(
            "{}/{}",
            list(&self.api, &self.kind, self.namespace.as_deref()),
            self.name
        )
    }
}

/// Returns the path of all objects of a kind.
pub fn list(api: &str, kind: &str, namespace: Option<&str>) -> String {
    let root = if api.contains('/') { "apis" } else { "api" };
    let within = namespace
        .map(|namespace| format!("namespaces/{namespace}/"))
        .unwrap_or_default();
    format!("/{root}/{api}/{within}{}", plural(kind))
}

/// Returns the plural of a kind, by the rule of Kubernetes' own generators.
fn plural(kind: &str) -> String {
    let kind = kind.to_lowercase();
    if kind.ends_with('s') || kind.ends_with('x') || kind.ends_with("ch") || kind.ends_with("sh") {
        format!("{kind}es")
    } else if let Some(stem) = kind
        .strip_suffix('y')
        .filter(|stem| !stem.ends_with(['a', 'e', 'i', 'o', 'u']))
    {
        format!("{stem}ies")
    } else {
        format!("{kind}s")
    }
}

/// Returns a text for use in a query.
pub fn query(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// Reads an object; none: it is not there.
///
/// # Errors
///
/// The server does not answer, or refuses.
pub async fn read(cluster: &Cluster, spot: &Spot) -> Result<Option<Value>, CallError> {
    match cluster.ask(Ask::read(&spot.path())).await {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.refusal() == Some(Refusal::Missing) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads the objects of a list, page by page.
///
/// # Errors
///
/// The server does not answer, or refuses.
pub async fn all(cluster: &Cluster, list: &str, filter: &str) -> Result<Vec<Value>, CallError> {
    let mut items = Vec::new();
    let mut more = String::new();
    loop {
        let filter = if filter.is_empty() {
            String::new()
        } else {
            format!("&{filter}")
        };
        let path = format!("{list}?limit=500{filter}{more}");
        let mut page = cluster.ask(Ask::read(&path)).await?;
        if let Some(Value::Array(read)) = page.get_mut("items").map(Value::take) {
            items.extend(read);
        }
        match page["metadata"]["continue"].as_str() {
            Some(token) if !token.is_empty() => more = format!("&continue={}", query(token)),
            _ => return Ok(items),
        }
    }
}

/// Says whose an object is.
pub fn whose(spot: &Spot, object: &Value) -> String {
    let told = told(&owner_tags(object))
        .replace("tag of ours", "label of ours")
        .replace("is tagged", "is labelled");
    format!("{spot} {told}")
}

/// Applies an object of ours server-side.
///
/// What is there and not ours is not touched, and fields that another has set are told, not taken.
///
/// # Errors
///
/// As above, or the server does not answer.
pub async fn apply(cluster: &Cluster, owner: &Owner, manifest: &Value) -> Result<Value, CallError> {
    let spot = Spot::of(manifest);
    if let Some(object) = read(cluster, &spot).await? {
        if !objects::owns(owner, &object) {
            return Err(CallError::Refused {
                action: APPLY,
                why: Refusal::Exists,
                cause: whose(&spot, &object),
            });
        }
        if let Some(since) = object["metadata"]["deletionTimestamp"].as_str() {
            return Err(CallError::Refused {
                action: APPLY,
                why: Refusal::NotYet,
                cause: format!("{spot} is being removed since {since}{}", holding(&object)),
            });
        }
    }
    patch(cluster, &spot, manifest, FIELD_MANAGER, false).await
}

/// Sends a server-side apply.
///
/// # Errors
///
/// The server does not answer, or refuses.
pub async fn patch(
    cluster: &Cluster,
    spot: &Spot,
    manifest: &Value,
    manager: &str,
    force: bool,
) -> Result<Value, CallError> {
    let path = format!("{}?fieldManager={manager}&force={force}", spot.path());
    cluster
        .ask(Ask {
            action: APPLY,
            method: "PATCH",
            path: &path,
            body: Some(("application/apply-patch+yaml", manifest.to_string().into_bytes())),
            metadata_only: false,
        })
        .await
}

/// Gives up what we set of an object, which stays.
///
/// # Errors
///
/// The server does not answer, or refuses.
pub async fn disown(cluster: &Cluster, spot: &Spot) -> Result<(), CallError> {
    let mut manifest =
        json!({ "apiVersion": spot.api, "kind": spot.kind, "metadata": { "name": spot.name } });
    if let Some(namespace) = &spot.namespace {
        manifest["metadata"]["namespace"] = json!(namespace);
    }
    patch(cluster, spot, &manifest, FIELD_MANAGER, false)
        .await
        .map(|_| ())
}

/// Begins to remove an object, only this one and not another that took its place since.
///
/// # Errors
///
/// The server does not answer, or refuses.
pub async fn delete(cluster: &Cluster, object: &Value) -> Result<(), CallError> {
    delete_within(cluster, object, None).await
}

/// Begins to remove an object that has so many seconds to end in; none: as many as it says itself.
///
/// # Errors
///
/// The server does not answer, or refuses.
pub async fn delete_within(cluster: &Cluster, object: &Value, seconds: Option<u32>) -> Result<(), CallError> {
    let spot = Spot::of(object);
    let mut options = json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Background",
        "preconditions": { "uid": object["metadata"]["uid"] },
    });
    if let Some(seconds) = seconds {
        options["gracePeriodSeconds"] = json!(seconds);
    }
    let asked = cluster
        .ask(Ask {
            action: DELETE,
            method: "DELETE",
            path: &spot.path(),
            body: Some(("application/json", options.to_string().into_bytes())),
            metadata_only: false,
        })
        .await;
    match asked {
        Err(error) if error.refusal() != Some(Refusal::Missing) => Err(error),
        _ => Ok(()),
    }
}

/// Says what keeps an object that is being removed.
pub fn holding(object: &Value) -> String {
    let mut finalizers: Vec<&str> = [&object["metadata"]["finalizers"], &object["spec"]["finalizers"]]
        .into_iter()
        .flat_map(|list| list.as_array().into_iter().flatten())
        .filter_map(Value::as_str)
        .collect();
    finalizers.dedup();
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    // A namespace says what is left in it.
    let left: Vec<&str> = conditions
        .filter(|condition| condition["status"] == "True")
        .filter(|condition| {
            let kind = condition["type"].as_str().unwrap_or_default();
            kind.starts_with("Namespace")
        })
        .filter_map(|condition| condition["message"].as_str())
        .collect();
    let mut said = String::new();
    if !finalizers.is_empty() {
        said += &format!("; kept by {}", finalizers.join(", "));
    }
    if !left.is_empty() {
        said += &format!("; {}", left.join("; "));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_path() {
        for (api, kind, path) in [
            ("v1", "Namespace", "/api/v1/namespaces/x"),
            ("v1", "Secret", "/api/v1/namespaces/n/secrets/x"),
            (
                "v1",
                "PersistentVolumeClaim",
                "/api/v1/namespaces/n/persistentvolumeclaims/x",
            ),
            (
                "storage.k8s.io/v1",
                "StorageClass",
                "/apis/storage.k8s.io/v1/storageclasses/x",
            ),
            (
                "networking.k8s.io/v1",
                "NetworkPolicy",
                "/apis/networking.k8s.io/v1/namespaces/n/networkpolicies/x",
            ),
            (
                "networking.k8s.io/v1",
                "Ingress",
                "/apis/networking.k8s.io/v1/namespaces/n/ingresses/x",
            ),
            (
                "apps/v1",
                "Deployment",
                "/apis/apps/v1/namespaces/n/deployments/x",
            ),
        ] {
            let manifest =
                json!({ "apiVersion": api, "kind": kind, "metadata": { "name": "x", "namespace": "n" } });
            assert_eq!(Spot::of(&manifest).path(), path);
        }
    }

    #[test]
    fn what_keeps_an_object_is_named() {
        let object = json!({
            "metadata": { "finalizers": ["kubernetes.io/pvc-protection"] },
            "spec": { "finalizers": ["kubernetes"] },
            "status": { "conditions": [
                { "type": "NamespaceFinalizersRemaining", "status": "True", "message": "in 1 resource instances" },
                { "type": "NamespaceContentRemaining", "status": "False", "message": "none" },
            ] },
        });
        assert_eq!(
            holding(&object),
            "; kept by kubernetes.io/pvc-protection, kubernetes; in 1 resource instances"
        );
        assert_eq!(holding(&json!({})), "");
    }
}
