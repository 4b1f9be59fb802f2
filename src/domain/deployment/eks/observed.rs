//! What there is of a deployment on EKS, as read from AWS and from the cluster.

use std::collections::BTreeMap;

use serde_json::Value;

use super::name::RoleOf;
use crate::domain::deployment::observed::{LogGroup, Role, SecurityGroup, Tagged};
use crate::domain::deployment::owner::Tags;

/// Everything of one deployment on EKS, and what stands where its things would be.
#[derive(Clone, Debug, Default)]
pub struct ObservedEks {
    /// The cluster of that name, whoever's it is.
    pub cluster: Option<Tagged<Cluster>>,
    /// Roles that are there, with the ARNs of attached policies.
    pub roles: BTreeMap<RoleOf, Tagged<EksRole>>,
    /// The launch template.
    pub launch_template: Option<Tagged<LaunchTemplate>>,
    /// The node group of our name.
    pub node_group: Option<Tagged<NodeGroup>>,
    /// Names of other node groups and of Fargate profiles in the cluster: they keep a cluster from being removed.
    pub others_in_cluster: Vec<String>,
    /// Add-ons in the cluster by name.
    pub addons: BTreeMap<String, Tagged<Addon>>,
    /// Access entries with our tags by ARN of the principal.
    pub access_entries: BTreeMap<String, Tagged<AccessEntry>>,
    /// Pod identity associations with our tags, by `namespace/service account`.
    pub pod_identities: BTreeMap<String, Tagged<PodIdentity>>,
    /// The file system of ours.
    pub file_system: Option<Tagged<FileSystem>>,
    /// The security group of the file system.
    pub efs_group: Option<Tagged<SecurityGroup>>,
    /// Log groups that EKS and the agent write to, by name, those that are there.
    pub log_groups: BTreeMap<String, Tagged<LogGroup>>,
    /// What stands in the cluster; an error says why it could not be read.
    pub inside: Inside,
}

/// What stands in the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Inside {
    /// There is no cluster that could be asked.
    #[default]
    Nothing,
    /// It could not be read, with why.
    Unknown(String),
    /// What was read.
    Read(Box<Objects>),
}

/// Objects of ours, or where ours would be, in the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Objects {
    /// Objects by address within the deployment, as the API server has them, secrets without their data.
    pub objects: BTreeMap<String, Value>,
    /// Digest of what a secret holds, by address, so that another token can be seen.
    pub secret_digests: BTreeMap<String, String>,
    /// The release; none: there is none.
    pub release: Option<Release>,
    /// Nodes of our node group: name and whether it is ready.
    pub nodes: BTreeMap<String, bool>,
    /// Pods of the release.
    pub pods: Vec<Pod>,
    /// Job pods that are under way.
    pub jobs: u32,
}

/// A release of Helm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Release {
    /// `deployed`, `failed`, `pending-install`, `pending-upgrade`, `uninstalling`, …
    pub status: String,
    /// Such as `dataops-runner-1.2.3`.
    pub chart: String,
    /// The revision.
    pub revision: u32,
    /// What it was described with; ours ends with the digest of chart and values.
    pub description: String,
}

/// A pod of the release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// `Pending`, `Running`, …
    pub phase: String,
    /// Whether it is ready.
    pub ready: bool,
    /// Restarts of its containers.
    pub restarts: u32,
    /// Why it is not, where something says so.
    pub why: Option<String>,
    /// Image of its first container.
    pub image: String,
}

/// A cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    /// Its ARN.
    pub arn: String,
    /// `CREATING`, `ACTIVE`, `DELETING`, `FAILED`, `UPDATING`, `PENDING`.
    pub status: String,
    /// Such as `1.34`.
    pub version: String,
    /// `STANDARD` or `EXTENDED`.
    pub support: String,
    /// Address of the API server.
    pub endpoint: String,
    /// Its certificate authority, base 64 of PEM.
    pub authority: String,
    /// Its VPC.
    pub vpc: String,
    /// Its subnets.
    pub subnets: Vec<String>,
    /// The security group that EKS made for it.
    pub security_group: Option<String>,
    /// Whether it can be reached from outside.
    pub public: bool,
    /// Whether it can be reached from within.
    pub private: bool,
    /// Ranges that may reach the public endpoint.
    pub cidrs: Vec<String>,
    /// Logs that are kept.
    pub log_types: Vec<String>,
    /// Key of its secrets.
    pub secrets_key: Option<String>,
    /// `API`, `API_AND_CONFIG_MAP`, `CONFIG_MAP`.
    pub authentication: String,
    /// Whether EKS Auto Mode is on.
    pub auto_mode: bool,
    /// ARN of its role.
    pub role: String,
    /// What EKS says is wrong.
    pub issues: Vec<String>,
}

/// A role.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EksRole {
    /// As every role.
    pub role: Role,
    /// ARN.
    pub arn: String,
    /// ARNs of attached policies.
    pub attached: Vec<String>,
}

/// A launch template.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LaunchTemplate {
    /// Such as `lt-…`.
    pub id: String,
    /// Its newest version.
    pub version: i64,
    /// The digest that the newest version's description ends with.
    pub digest: String,
}

/// A node group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeGroup {
    /// `CREATING`, `ACTIVE`, `UPDATING`, `DELETING`, `CREATE_FAILED`, `DELETE_FAILED`, `DEGRADED`.
    pub status: String,
    /// Types.
    pub instance_types: Vec<String>,
    /// Nodes at least.
    pub min: u32,
    /// Nodes at most.
    pub max: u32,
    /// Nodes now.
    pub desired: u32,
    /// Version of Kubernetes.
    pub version: String,
    /// Version of the image.
    pub release_version: String,
    /// Its subnets.
    pub subnets: Vec<String>,
    /// Labels of its nodes.
    pub labels: BTreeMap<String, String>,
    /// Version of the launch template that it has.
    pub template_version: Option<i64>,
    /// ARN of the nodes' role.
    pub role: String,
    /// What EKS says is wrong: code and message.
    pub issues: Vec<String>,
}

/// An add-on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Addon {
    /// `CREATING`, `ACTIVE`, `CREATE_FAILED`, `UPDATING`, `DELETING`, `DELETE_FAILED`, `DEGRADED`, `UPDATE_FAILED`.
    pub status: String,
    /// Its version.
    pub version: String,
    /// Its settings.
    pub configuration: Option<Value>,
    /// ARNs of its pod identity associations.
    pub pod_identities: Vec<String>,
    /// What EKS says is wrong.
    pub issues: Vec<String>,
}

/// An access entry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AccessEntry {
    /// ARNs of access policies.
    pub policies: Vec<String>,
}

/// A pod identity association.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodIdentity {
    /// Its identity.
    pub id: String,
    /// ARN of the role.
    pub role: String,
    /// The add-on that owns it, where one does.
    pub owner: Option<String>,
}

/// A file system.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FileSystem {
    /// Such as `fs-…`.
    pub id: String,
    /// `available`, `creating`, …
    pub state: String,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// Mount targets by zone: identity, subnet and state.
    pub mount_targets: BTreeMap<String, MountTarget>,
}

/// A mount target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountTarget {
    /// Such as `fsmt-…`.
    pub id: String,
    /// Its subnet.
    pub subnet: String,
    /// `available`, `creating`, …
    pub state: String,
}

/// Tags of an object in a cluster, out of its labels, in the words of tags in AWS.
pub fn owner_tags(object: &Value) -> Tags {
    use super::name::{DEPLOYMENT_LABEL, GENERATION_LABEL};
    use crate::domain::deployment::owner::{DEPLOYMENT, GENERATION};
    let labels = &object["metadata"]["labels"];
    [(DEPLOYMENT_LABEL, DEPLOYMENT), (GENERATION_LABEL, GENERATION)]
        .into_iter()
        .filter_map(|(label, tag)| Some((tag.to_owned(), labels.get(label)?.as_str()?.to_owned())))
        .collect()
}
