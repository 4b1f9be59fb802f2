//! What a step does on EKS: one call to AWS, one object in the cluster, one run of Helm, or one wait.
//!
//! What only AWS knows is named by the address of the step that makes it: `role-…` gives a role's ARN, `launch-template` its
//! identity, `file-system` and `efs-security-group` theirs, `cluster` the cluster's ARN. Endpoint and authority of the cluster are read
//! when they are needed.

use std::collections::BTreeMap;

use serde_json::Value;

use super::name::RoleOf;
use crate::domain::deployment::owner::Tags;

/// A call to AWS, or a wait for it.
#[derive(Clone, Debug, PartialEq)]
pub enum EksOperation {
    /// Makes a role; its identity is the ARN.
    CreateRole {
        /// Which.
        of: RoleOf,
        /// Who may assume it.
        trust: Value,
    },
    /// Says again who may assume a role.
    UpdateTrust {
        /// Which.
        of: RoleOf,
        /// Who may assume it.
        trust: Value,
    },
    /// Attaches a policy to a role.
    AttachPolicy {
        /// Which.
        of: RoleOf,
        /// ARN of the policy.
        policy: String,
    },
    /// Takes a policy off a role.
    DetachPolicy {
        /// Which.
        of: RoleOf,
        /// ARN of the policy.
        policy: String,
    },
    /// Writes the role's own policy.
    PutPolicy {
        /// Which.
        of: RoleOf,
        /// What it may do.
        policy: Value,
    },
    /// Removes the role's own policy.
    DeletePolicy {
        /// Which.
        of: RoleOf,
    },
    /// Removes a role.
    DeleteRole {
        /// Which.
        of: RoleOf,
    },
    /// Makes the cluster, out of the record; its identity is the ARN.
    CreateCluster,
    /// Waits until the cluster is active.
    WaitCluster,
    /// Changes who may reach the API server.
    UpdateEndpoint,
    /// Changes which logs are kept.
    UpdateLogging,
    /// Sets the support policy to STANDARD.
    UpdateSupport,
    /// Upgrades the control plane by one minor version.
    UpdateVersion {
        /// Such as `1.35`.
        version: String,
        /// Whether EKS is to do it although its own checks say that the cluster is not ready.
        force: bool,
    },
    /// Removes the cluster.
    DeleteCluster,
    /// Waits until it is gone.
    WaitClusterGone,
    /// Lets a principal do everything in the cluster; its address is `name::access_address`.
    CreateAccessEntry {
        /// ARN of the principal.
        principal: String,
    },
    /// Gives an access entry its policy.
    AssociateAccessPolicy {
        /// ARN of the principal.
        principal: String,
    },
    /// Removes an access entry.
    DeleteAccessEntry {
        /// ARN of the principal.
        principal: String,
    },
    /// Makes the launch template of the nodes; its identity is `lt-…`.
    CreateLaunchTemplate {
        /// Tags of nodes and volumes.
        tags: Tags,
        /// Digest of what is in it.
        digest: String,
    },
    /// Makes a new version of the launch template.
    NewTemplateVersion {
        /// The template.
        template: String,
        /// Tags of nodes and volumes.
        tags: Tags,
        /// Digest of what is in it.
        digest: String,
    },
    /// Removes the launch template.
    DeleteLaunchTemplate {
        /// The template.
        template: String,
    },
    /// Makes the node group.
    CreateNodeGroup,
    /// Waits until the node group is active.
    WaitNodeGroup,
    /// Changes the limits of the node group.
    ScaleNodeGroup {
        /// Nodes at least.
        min: u32,
        /// Nodes at most.
        max: u32,
    },
    /// Rolls the nodes to the newest version of the launch template, to another version of Kubernetes, or to another release of
    /// their image.
    UpdateNodeGroup {
        /// Version of Kubernetes, where it changes.
        version: Option<String>,
        /// Release of the image, where it changes and is known; else EKS takes the newest.
        release: Option<String>,
    },
    /// Removes the node group.
    DeleteNodeGroup,
    /// Waits until it is gone.
    WaitNodeGroupGone,
    /// Installs an add-on.
    CreateAddon {
        /// Which, at which version.
        addon: AddonSpec,
    },
    /// Changes version or settings of an add-on.
    UpdateAddon {
        /// Which, at which version.
        addon: AddonSpec,
    },
    /// Waits until an add-on is active.
    WaitAddon {
        /// Its name.
        name: String,
    },
    /// Removes an add-on.
    DeleteAddon {
        /// Its name.
        name: String,
    },
    /// Waits until an add-on is gone.
    WaitAddonGone {
        /// Its name.
        name: String,
    },
    /// Lets a service account take a role.
    CreatePodIdentity {
        /// Namespace of the service account.
        namespace: String,
        /// The service account.
        account: String,
        /// The role.
        of: RoleOf,
    },
    /// Takes that away.
    DeletePodIdentity {
        /// Its identity.
        id: String,
    },
    /// Makes the file system; its identity is `fs-…`.
    CreateFileSystem,
    /// Waits until the file system is available.
    WaitFileSystem,
    /// Removes the file system.
    DeleteFileSystem {
        /// Its identity.
        id: String,
    },
    /// Leaves the file system as data.
    KeepFileSystem {
        /// Its identity.
        id: String,
    },
    /// Makes a mount target in a subnet.
    CreateMountTarget {
        /// The subnet.
        subnet: String,
    },
    /// Waits until the mount targets can be used.
    WaitMountTargets,
    /// Removes a mount target.
    DeleteMountTarget {
        /// Its identity.
        id: String,
    },
    /// Waits until the mount targets are gone.
    WaitMountTargetsGone {
        /// The file system.
        file_system: String,
    },
    /// Makes the security group of the file system; its identity is `sg-…`.
    CreateEfsGroup {
        /// Where.
        vpc: String,
    },
    /// Lets NFS in from the VPC.
    AllowNfs {
        /// Ranges of the VPC; none: as they are when the rule is made.
        cidrs: Vec<String>,
    },
    /// Makes a log group that EKS or the agent would make without retention.
    CreateLogGroup {
        /// Its name.
        name: String,
    },
    /// Sets how long a log group keeps.
    SetRetention {
        /// Its name.
        name: String,
        /// Days.
        days: u32,
    },
    /// Removes a log group.
    DeleteLogGroup {
        /// Its name.
        name: String,
    },
    /// Sets tags on something of EKS, of EFS, a launch template, a log group or a role by its ARN.
    Tag {
        /// The ARN.
        arn: String,
        /// The tags.
        tags: Tags,
    },
}

impl EksOperation {
    /// Returns the minutes that are waited at most, for what is a wait or a change that EKS carries out.
    ///
    /// AWS makes a control plane in 10 to 16 minutes, nodes in 3 to 5, removes both in about as long.
    pub fn waits_minutes(&self) -> Option<u64> {
        match self {
            Self::WaitCluster => Some(40),
            Self::WaitNodeGroup
            | Self::WaitNodeGroupGone
            | Self::WaitClusterGone
            | Self::UpdateEndpoint
            | Self::UpdateLogging
            | Self::UpdateSupport => Some(30),
            Self::WaitAddon { .. } | Self::WaitAddonGone { .. } | Self::UpdateAddon { .. } => Some(20),
            Self::UpdateVersion { .. } => Some(60),
            Self::ScaleNodeGroup { .. } => Some(15),
            // One node after the other, and EKS gives the pods of each 15 minutes to go.
            Self::UpdateNodeGroup { .. } => Some(240),
            Self::WaitFileSystem | Self::WaitMountTargets | Self::WaitMountTargetsGone { .. } => Some(10),
            _ => None,
        }
    }

    /// Whether it asks EKS for a change that EKS then carries out by itself: a call, and a wait until that is over.
    pub fn is_update(&self) -> bool {
        matches!(
            self,
            Self::UpdateEndpoint
                | Self::UpdateLogging
                | Self::UpdateSupport
                | Self::UpdateVersion { .. }
                | Self::ScaleNodeGroup { .. }
                | Self::UpdateNodeGroup { .. }
                | Self::UpdateAddon { .. }
        )
    }

    /// Whether what it takes away being gone is what was wanted.
    pub fn is_removal(&self) -> bool {
        matches!(
            self,
            Self::DetachPolicy { .. }
                | Self::DeletePolicy { .. }
                | Self::DeleteRole { .. }
                | Self::DeleteCluster
                | Self::DeleteAccessEntry { .. }
                | Self::DeleteLaunchTemplate { .. }
                | Self::DeleteNodeGroup
                | Self::DeleteAddon { .. }
                | Self::DeletePodIdentity { .. }
                | Self::DeleteFileSystem { .. }
                | Self::DeleteMountTarget { .. }
                | Self::DeleteLogGroup { .. }
        )
    }
}

/// An add-on as it shall be.
#[derive(Clone, Debug, PartialEq)]
pub struct AddonSpec {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its settings.
    pub configuration: Option<Value>,
    /// Roles of its service accounts.
    pub accounts: BTreeMap<String, RoleOf>,
}

/// Something in the cluster, a run of Helm, or a wait for it.
#[derive(Clone, Debug, PartialEq)]
pub enum ClusterOperation {
    /// Applies an object server-side as our field manager; conflicts are told, not forced.
    Apply(Object),
    /// Applies a secret, whose data are filled in when it is sent.
    ApplySecret {
        /// The object without data.
        object: Object,
        /// What it holds.
        holds: Holds,
    },
    /// Removes an object if it is ours, and waits until it is gone.
    Delete(Object),
    /// Installs or upgrades the release and waits for it; an upgrade that fails is taken back.
    Release(Box<ReleaseSpec>),
    /// Waits until the runner is online.
    WaitRunner,
    /// Lets running jobs finish: the runner takes no more.
    Drain {
        /// Seconds that jobs may take.
        seconds: u32,
    },
    /// Ends the runner and aborts its jobs.
    Abort,
    /// Lets a runner that was drained come back.
    Start,
    /// Removes the release.
    Uninstall,
    /// Removes services with load balancers that would keep the VPC and cost money; only in a cluster of ours.
    DeleteLoadBalancers,
    /// Waits until a claim has its volume: without it no job's pod starts.
    WaitClaim(Object),
    /// Removes claims of the deployment and waits until their volumes are gone.
    DeleteClaims,
}

/// Seconds that going back from an upgrade that failed may take: the pods of before still run.
pub const ROLLBACK_SECONDS: u32 = 180;

impl ClusterOperation {
    /// Returns the seconds that are waited at most after the call, for what takes long.
    pub fn waits_seconds(&self) -> Option<u64> {
        match self {
            Self::Release(release) => Some(u64::from(release.seconds + ROLLBACK_SECONDS) + 60),
            Self::Drain { seconds } => Some(u64::from(*seconds) + 120),
            Self::Abort => Some(180),
            Self::WaitRunner | Self::Uninstall | Self::DeleteLoadBalancers | Self::DeleteClaims => Some(600),
            Self::Delete(_) | Self::WaitClaim(_) => Some(300),
            Self::Apply(_) | Self::ApplySecret { .. } | Self::Start => None,
        }
    }

    /// Whether what it takes away being gone is what was wanted.
    pub fn is_removal(&self) -> bool {
        matches!(
            self,
            Self::Delete(_) | Self::Uninstall | Self::DeleteLoadBalancers | Self::DeleteClaims
        )
    }
}

/// An object in the cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// The object as it is applied, with `apiVersion`, `kind`, name, namespace and our labels; without what AWS alone knows.
    pub manifest: Value,
    /// JSON pointers at which the identity of a step is put in before it is applied, such as `/parameters/fileSystemId`, with its
    /// address.
    pub filled: BTreeMap<String, String>,
}

/// What a secret holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// The runner's token under the keys that the chart knows.
    Token,
    /// The registry's login as `.dockerconfigjson`.
    RegistryLogin,
}

/// The release as it shall be.
#[derive(Clone, Debug, PartialEq)]
pub struct ReleaseSpec {
    /// The values, whole.
    pub values: Value,
    /// Digest of chart and values; the release is described with it.
    pub digest: String,
    /// Seconds to wait for it.
    pub seconds: u32,
}
