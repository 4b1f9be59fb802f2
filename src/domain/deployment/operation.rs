//! What a step does: one call to AWS, or one wait, with every value in it.
//!
//! Only identities that an earlier step makes are missing; they are named by the address of that step.

use serde_json::Value;

use super::down::Removal;
use super::eks::operation::{ClusterOperation, EksOperation};
use super::name::Host;
use super::owner::Tags;
use super::record::Record;
use super::resource::alarm::AlarmRule;
use super::spec::{Disk, Rung};
use crate::domain::lifecycle::script::Work;

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// Writes the record where none is: the lock.
    CreateRecord(Box<Record>),
    /// Writes the record over the version that was read.
    UpdateRecord(Box<Record>, i64),
    /// Takes what is pending off the record as it is, unless another run removes the deployment.
    Settle,
    /// Removes the record.
    DeleteRecord,
    /// Makes the parameter that a host reports to.
    CreateReport(Host),
    /// Removes it.
    DeleteReport(Host),
    /// Writes the token that the user gave to a parameter.
    CreateToken,
    /// Writes another token.
    UpdateToken,
    /// Removes the token.
    DeleteToken,
    /// Makes the role.
    CreateRole {
        /// Who may assume it.
        trust: Value,
    },
    /// Says again who may assume the role.
    UpdateTrust {
        /// Who may assume it.
        trust: Value,
    },
    /// Writes the role's policy.
    PutRolePolicy {
        /// What it may do.
        policy: Value,
    },
    /// Removes the role's policy.
    DeleteRolePolicy,
    /// Removes the role.
    DeleteRole,
    /// Makes the instance profile.
    CreateInstanceProfile,
    /// Puts the role into the profile.
    AddRole,
    /// Takes a role out of the profile.
    RemoveRole(String),
    /// Removes the profile.
    DeleteInstanceProfile,
    /// Makes the security group.
    CreateSecurityGroup {
        /// Where.
        vpc: String,
    },
    /// Takes away what lets something in.
    RevokeIngress {
        /// The group.
        group: String,
        /// The rules.
        rules: Vec<String>,
    },
    /// Lets everything out again.
    OpenEgress {
        /// The group.
        group: String,
    },
    /// Removes a security group.
    DeleteSecurityGroup {
        /// The group.
        group: String,
    },
    /// Makes the log group.
    CreateLogGroup,
    /// Sets how long it keeps.
    SetRetention {
        /// Days.
        days: u32,
    },
    /// Takes over the log group that an earlier life left as data.
    AdoptLogGroup,
    /// Leaves the log group as data: marks it as kept.
    KeepLogGroup,
    /// Removes the log group.
    DeleteLogGroup,
    /// Makes the topic.
    CreateTopic,
    /// Tells an address of what the topic says.
    Subscribe(String),
    /// Stops telling an address.
    Unsubscribe {
        /// The subscription.
        arn: String,
    },
    /// Removes the topic.
    DeleteTopic,
    /// Launches a host.
    Launch(Box<Launch>),
    /// Starts a host that is stopped.
    Start {
        /// The instance.
        instance: String,
    },
    /// Sets the metadata service as it should be.
    SetMetadata {
        /// The instance.
        instance: String,
    },
    /// Sets the groups of an instance.
    SetSecurityGroups {
        /// The instance.
        instance: String,
    },
    /// Protects a host from being terminated, or no longer.
    Protect {
        /// The instance.
        instance: String,
        /// Whether.
        on: bool,
    },
    /// Waits until a host reports `online`.
    WaitOnline(Host),
    /// Waits until a host runs.
    WaitRunning(Host),
    /// Writes an alarm.
    PutAlarm {
        /// The alarm.
        rule: Box<AlarmRule>,
        /// Whether it is there already: tags in the call are then ignored.
        exists: bool,
    },
    /// Removes alarms.
    DeleteAlarms(Vec<String>),
    /// Writes the dashboard.
    PutDashboard,
    /// Removes the dashboard.
    DeleteDashboard,
    /// Sets tags.
    Tag {
        /// On what.
        target: TagTarget,
        /// Which.
        tags: Tags,
    },
    /// Lets jobs finish and unregisters the runner.
    Drain {
        /// The host.
        host: Host,
        /// Its instance.
        instance: String,
        /// Seconds that jobs may take.
        seconds: u32,
    },
    /// Runs a script on a host that is there.
    OnHost {
        /// The host.
        host: Host,
        /// Its instance.
        instance: String,
        /// What it does.
        work: Box<Work>,
    },
    /// Stops a host.
    Stop {
        /// The instance.
        instance: String,
    },
    /// Waits until a host is stopped.
    WaitStopped {
        /// The instance.
        instance: String,
    },
    /// Gives a host that is stopped another type.
    SetType {
        /// The instance.
        instance: String,
        /// The type.
        instance_type: String,
    },
    /// Makes a volume larger while it is in use.
    GrowVolume {
        /// The volume.
        volume: String,
        /// What it shall be.
        disk: Disk,
    },
    /// Waits until a volume can be used in its new size.
    WaitVolume {
        /// The volume.
        volume: String,
        /// GiB.
        gib: u32,
    },
    /// Copies a volume.
    Snapshot {
        /// The volume.
        volume: String,
        /// What for.
        host: Host,
    },
    /// Lets a root volume outlive its instance.
    KeepVolume {
        /// The instance.
        instance: String,
        /// The volume.
        volume: String,
        /// Its device.
        device: String,
    },
    /// Terminates an instance.
    Terminate {
        /// The instance.
        instance: String,
    },
    /// Waits until instances are gone.
    WaitGone {
        /// The instance.
        instance: String,
    },
    /// Looks again until nothing of the deployment is left but its record.
    VerifyGone(Removal),
    /// Something of EKS.
    Eks(Box<EksOperation>),
    /// Something in a cluster.
    Cluster(Box<ClusterOperation>),
}

/// What tags are set on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagTarget {
    /// Anything of EC2 by its identity.
    Ec2(String),
    /// The role.
    Role,
    /// The instance profile.
    InstanceProfile,
    /// A parameter by name.
    Parameter(String),
    /// The log group.
    LogGroup,
    /// The topic.
    Topic,
    /// An alarm by name.
    Alarm(String),
}

/// A launch.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// Which host.
    pub host: Host,
    /// What is tried in which order.
    pub ladder: Vec<Rung>,
    /// Client token of each rung.
    pub tokens: Vec<String>,
    /// First rung to try.
    pub from: usize,
    /// The script that the host runs.
    pub user_data: String,
    /// Tags of instance and volume.
    pub tags: Tags,
    /// The group, if it exists already.
    pub group: Option<String>,
    /// The record as it is while this is tried; written again before another rung is.
    pub record: Box<Record>,
}
