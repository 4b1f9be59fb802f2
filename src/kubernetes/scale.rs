//! Stopping and starting the runner: the replicas of what the release runs it by.
//!
//! They are taken over from Helm as long as the runner shall be away, and given back before Helm comes again: as another field
//! manager, so that neither Helm nor our other objects are in the way.

use serde_json::{Value, json};

use super::client::Cluster;
use super::object::{Spot, patch};
use crate::domain::call::CallError;

/// As whom replicas are set.
const MANAGER: &str = "dataops-infra-scale";

/// Whether we hold the replicas of a workload.
pub fn is_held(workload: &Value) -> bool {
    let fields = workload["metadata"]["managedFields"].as_array();
    fields
        .into_iter()
        .flatten()
        .any(|entry| entry["manager"] == MANAGER)
}

/// Sets the replicas of a workload to none: its pods are told to end.
///
/// # Errors
///
/// The server does not answer, or refuses.
pub async fn stop(cluster: &Cluster, workload: &Value) -> Result<(), CallError> {
    let spot = Spot::of(workload);
    let mut manifest = partial(&spot);
    manifest["spec"] = json!({ "replicas": 0 });
    patch(cluster, &spot, &manifest, MANAGER, true).await.map(|_| ())
}

/// Gives the replicas of a workload back: it has one again.
///
/// # Errors
///
/// The server does not answer, or refuses.
pub async fn start(cluster: &Cluster, workload: &Value) -> Result<(), CallError> {
    let spot = Spot::of(workload);
    let mut manifest = partial(&spot);
    // Without this step a field that only we had set would keep its value where its default is not one.
    manifest["spec"] = json!({ "replicas": 1 });
    patch(cluster, &spot, &manifest, MANAGER, true).await?;
    patch(cluster, &spot, &partial(&spot), MANAGER, true)
        .await
        .map(|_| ())
}

fn partial(spot: &Spot) -> Value {
    json!({
        "apiVersion": spot.api,
        "kind": spot.kind,
        "metadata": { "name": spot.name, "namespace": spot.namespace },
    })
}
