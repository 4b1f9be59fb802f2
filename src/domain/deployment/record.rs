//! The record of a deployment: lock, generation and intent, in one parameter of SSM.

use serde::{Deserialize, Serialize};

use super::name::Name;
use super::owner::{Generation, Owner};
use super::spec::{Launch, Launches, Spec};

/// The schema's name.
pub const SCHEMA: &str = "dataops-infra/deployment/v1";

/// Characters that a parameter of the standard tier holds
/// (<https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html>).
pub const LARGEST: usize = 4096;

/// The record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// `dataops-infra/deployment/v1`.
    pub schema: String,
    /// The deployment.
    pub name: Name,
    /// Its life.
    pub generation: Generation,
    /// Version of the program that wrote it.
    pub made_by: String,
    /// When the first `up` began, RFC 3339.
    pub created_at: String,
    /// What is going on.
    pub phase: Phase,
    /// The lease, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// Another runner on the hosts, or other nodes on EKS, begun and not finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// Tries of hosts that are not the first.
    #[serde(default, skip_serializing_if = "Launches::is_empty")]
    pub launches: Launches,
    /// What it shall be.
    pub spec: Spec,
}

/// What is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Being made, or made.
    Present,
    /// Being removed: no `up` goes on from here.
    Removing,
}

/// Another runner, or other nodes, that were begun and are not finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    /// Why.
    pub why: Why,
    /// Its image with the tag; of nodes, what they are to be.
    pub image: String,
}

/// Why a second runner takes the place of the first, or other nodes that of the present ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Another image.
    Upgrade,
    /// Another token.
    Rotate,
    /// Another version of Kubernetes, another image or another disk of the nodes of a deployment on EKS.
    Nodes,
}

/// A lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// As it was asked for, such as `4h`.
    pub ttl: String,
    /// When `down --expired` may remove the deployment, RFC 3339.
    pub expires_at: String,
}

/// Why a record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// No JSON of ours.
    #[error("the record in {parameter} cannot be read: {why}")]
    Malformed {
        /// The parameter.
        parameter: String,
        /// What is wrong.
        why: String,
    },
    /// Of another version.
    #[error("the record in {parameter} is of schema {found}; this version reads {SCHEMA}")]
    OtherSchema {
        /// The parameter.
        parameter: String,
        /// The schema it names.
        found: String,
    },
    /// Of another deployment.
    #[error("the record in {parameter} is of the deployment {found}")]
    OtherName {
        /// The parameter.
        parameter: String,
        /// The name it says.
        found: String,
    },
}

impl Record {
    /// Returns the record of a deployment that nobody made, to show what one would be.
    ///
    /// Its generation is none that `up` makes: what others make of it is not to be taken for one of ours.
    pub fn unmade(name: Name, spec: Spec) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            name,
            generation: Generation::from_bytes([0; 8]),
            made_by: String::new(),
            created_at: String::new(),
            phase: Phase::Present,
            lease: None,
            pending: None,
            launches: std::collections::BTreeMap::new(),
            spec,
        }
    }

    /// Reads the text of the parameter of a deployment.
    pub fn read(name: &Name, text: &str) -> Result<Self, Unreadable> {
        let parameter = name.record();
        let malformed = |why: &dyn std::fmt::Display| Unreadable::Malformed {
            parameter: parameter.clone(),
            why: why.to_string(),
        };
        let value: serde_json::Value = serde_json::from_str(text).map_err(|error| malformed(&error))?;
        match value.get("schema").and_then(serde_json::Value::as_str) {
            Some(SCHEMA) => {}
            Some(other) => {
                return Err(Unreadable::OtherSchema {
                    parameter,
                    found: other.chars().take(80).collect(),
                });
            }
            None => return Err(malformed(&"it names no schema")),
        }
        let record: Self = serde_json::from_value(value).map_err(|error| malformed(&error))?;
        if record.name == *name {
            Ok(record)
        } else {
            Err(Unreadable::OtherName {
                parameter,
                found: record.name.to_string(),
            })
        }
    }

    /// Returns the text of the parameter.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Returns whose things are those of this deployment.
    pub fn owner(&self) -> Owner {
        Owner {
            name: self.name.clone(),
            generation: self.generation.clone(),
        }
    }

    /// Returns which try of a host is the current one.
    pub fn launch(&self, address: &str) -> Launch {
        self.launches.get(address).copied().unwrap_or_default()
    }
}
