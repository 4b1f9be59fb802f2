//! What a deployment on EKS shall be, besides what every deployment has.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The cluster, its nodes and the release in it.
///
/// Type and fallbacks of nodes, their disk, the jobs at once, subnets, token and so on are where those of hosts are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Eks {
    /// Name of the cluster.
    pub cluster: String,
    /// Whether the cluster was there before: then only what is in it is ours.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,
    /// Version of Kubernetes, such as `1.34`; of an adopted cluster the one it had.
    pub version: String,
    /// Release of the nodes' image that they have at least, such as `1.34.8-20260410`; none: the one that EKS chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Nodes at least.
    pub min_nodes: u32,
    /// Nodes at most.
    pub max_nodes: u32,
    /// Where the API server can be reached.
    #[serde(default)]
    pub endpoint: Endpoint,
    /// Logs of the control plane that are kept: `api`, `audit`, `authenticator`, `controllerManager`, `scheduler`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log_types: Vec<String>,
    /// Key that secrets in the cluster are encrypted with; none: EKS's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets_key: Option<String>,
    /// ARNs of roles and users that may do everything in the cluster, besides who made it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub admins: Vec<String>,
    /// Who adds and takes away nodes between the limits.
    pub autoscaler: Autoscaler,
    /// Add-ons of ours with their pinned versions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub addons: BTreeMap<String, String>,
    /// The file system for caches.
    pub storage: Storage,
    /// Namespace of the release.
    pub namespace: String,
    /// The vendor's chart.
    pub chart: Chart,
    /// What a job pod asks for.
    pub job: Job,
    /// A vault of the user's: name of a secret that is in the namespace; none: the chart makes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault_secret: Option<String>,
    /// ARNs of policies that job pods have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub job_policies: Vec<String>,
}

/// Where the API server can be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// From outside of the VPC.
    pub public: bool,
    /// From within the VPC.
    pub private: bool,
    /// Ranges that may reach the public one; none: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cidrs: Vec<String>,
}

impl Default for Endpoint {
    fn default() -> Self {
        Self {
            public: true,
            private: true,
            cidrs: Vec::new(),
        }
    }
}

/// Who adds and takes away nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Autoscaler {
    /// Nobody: the group has its smallest size, unless somebody else changes it.
    None,
    /// Cluster Autoscaler, installed by us.
    ClusterAutoscaler,
    /// The cluster's own: EKS Auto Mode or Karpenter; there is no node group of ours, and job pods are protected.
    Cluster,
}

impl Autoscaler {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::None, Self::ClusterAutoscaler, Self::Cluster];

    /// Returns the word of the file format.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ClusterAutoscaler => "cluster-autoscaler",
            Self::Cluster => "cluster",
        }
    }

    /// Returns the one that a word names.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.word() == word)
    }
}

/// The file system for caches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    /// A file system of the user's, such as `fs-…`; none: one of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_system: Option<String>,
    /// How volumes come to be.
    pub mode: StorageMode,
}

/// How volumes come to be on EFS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StorageMode {
    /// One volume on the whole file system: files keep their owners.
    Static,
    /// An access point for each claim, which forces one user and group on every file: images that change owners fail
    /// (<https://github.com/kubernetes-sigs/aws-efs-csi-driver/blob/master/docs/parameters.md>).
    Dynamic,
    /// None.
    None,
}

impl StorageMode {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Static, Self::Dynamic, Self::None];

    /// Returns the word of the file format.
    pub fn word(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Dynamic => "dynamic",
            Self::None => "none",
        }
    }

    /// Returns the one that a word names.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.word() == word)
    }
}

impl Chart {
    /// Whether a name is a folder or an archive on this machine.
    pub fn is_path(name: &str) -> bool {
        let extension = std::path::Path::new(name).extension();
        let is_archive = extension.is_some_and(|extension| extension.eq_ignore_ascii_case("tgz"));
        !name.starts_with("oci://") && (name.contains('/') || is_archive || name.starts_with('.'))
    }
}

/// The vendor's chart, which is not public: the user says where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chart {
    /// Address of the repository, `https://…` or `oci://…`; none: `name` is a folder or an archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Its name, or a path.
    pub name: String,
    /// Its version; none: the newest, or the one in the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// What a job pod asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Thousandths of a CPU requested.
    pub cpu_m: u32,
    /// MiB requested.
    pub memory_mib: u32,
    /// MiB at most.
    pub memory_limit_mib: u32,
    /// Longest time of a job in minutes.
    pub timeout_minutes: u32,
}
