//! What stands in the cluster before the chart, as manifests; what nobody knows here has a name in `${…}`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::domain::deployment::eks::objects::{all, namespace};
use crate::domain::deployment::eks::operation::{Holds, Object};
use crate::domain::deployment::eks::{autoscaler, secret};
use crate::domain::deployment::name::Place;
use crate::domain::deployment::record::Record;

/// Stands for the file system.
pub const FILE_SYSTEM: &str = "${FILE_SYSTEM_ID}";
/// Stands for the runner's token.
pub const TOKEN: &str = "${RUNNER_TOKEN}";
/// Stands for the login of the image registry, JSON as `docker login` writes it.
pub const LOGIN: &str = "${REGISTRY_LOGIN}";

/// Returns the manifests in the order in which they can be applied; none where the deployment is none on EKS.
pub fn manifests(record: &Record, place: &Place) -> Vec<Value> {
    let Some(eks) = record.spec.eks.as_deref() else {
        return Vec::new();
    };
    let owner = record.owner();
    let file_system = eks.storage.file_system.as_deref().unwrap_or(FILE_SYSTEM);
    let ids = BTreeMap::from([("file-system".to_owned(), file_system.to_owned())]);
    let known = |object: &Object| object.known(&ids);
    let mut manifests: Vec<Value> = namespace(&owner, eks).iter().map(known).collect();
    manifests.extend(all(record, eks).iter().map(|applied| {
        let mut manifest = known(&applied.object);
        match applied.holds {
            None => {}
            Some(Holds::Token) => {
                manifest["stringData"] = json!({ secret::TOKEN_KEY: TOKEN, secret::REGISTRATION_KEY: "" });
            }
            Some(Holds::RegistryLogin) => {
                manifest["stringData"] = json!({ secret::LOGIN_KEY: LOGIN });
            }
        }
        manifest
    }));
    manifests.extend(
        autoscaler::objects(&owner, &record.spec, place)
            .iter()
            .map(|(_, object)| known(object)),
    );
    manifests
}

/// Returns the names that somebody must put something in place of, with what it is.
pub fn open(manifests: &[Value]) -> Vec<(&'static str, &'static str)> {
    let text = json!(manifests).to_string();
    [
        (
            FILE_SYSTEM,
            "the file system of EFS, such as fs-0a1b2c3d4e5f60718",
        ),
        (
            TOKEN,
            "the token of a runner made on the platform; a registration token goes into the other key",
        ),
        (
            LOGIN,
            "the login of the image registry, as docker login writes it",
        ),
    ]
    .into_iter()
    .filter(|(name, _)| text.contains(name))
    .collect()
}
