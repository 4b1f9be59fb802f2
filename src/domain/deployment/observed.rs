//! What there is of a deployment, as read from AWS.

use std::collections::BTreeMap;

use serde_json::Value;

use super::eks::observed::ObservedEks;
use super::owner::Tags;
use super::record::{Record, Unreadable};

/// Something that is known by its name, with its tags.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tagged<T> {
    /// What it is like.
    pub it: T,
    /// Whose it is.
    pub tags: Tags,
}

/// Everything of one deployment, and what stands where its things would be.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The record and the version of its parameter.
    pub record: Option<(Result<Record, Unreadable>, i64)>,
    /// Tags of the record's parameter, where the Tagging API knows them already; nothing is proven by them.
    pub record_tags: Option<Tags>,
    /// Reports of hosts by parameter name.
    pub reports: BTreeMap<String, Tagged<ReportParameter>>,
    /// The parameter where our token would be.
    pub token: Option<Tagged<()>>,
    /// The role.
    pub role: Option<Tagged<Role>>,
    /// The instance profile.
    pub instance_profile: Option<Tagged<InstanceProfile>>,
    /// Security groups of our name or with our tags.
    pub security_groups: Vec<Tagged<SecurityGroup>>,
    /// The log group.
    pub logs: Option<Tagged<LogGroup>>,
    /// The topic that ours would be.
    pub topic: Option<Tagged<Topic>>,
    /// Alarms below our prefix by name.
    pub alarms: BTreeMap<String, Tagged<Alarm>>,
    /// The dashboard's body.
    pub dashboard: Option<Value>,
    /// Instances with our name in their tag, also those that are terminated.
    pub instances: Vec<Tagged<Instance>>,
    /// Volumes with our name in their tag.
    pub volumes: Vec<Tagged<Volume>>,
    /// ARNs of other things with our name in their tag.
    pub strangers: Vec<(String, Tags)>,
    /// What there is on EKS; none: it was not asked for.
    pub eks: Option<Box<ObservedEks>>,
}

/// A parameter with a host's report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReportParameter {
    /// Its text.
    pub text: String,
    /// Last change, RFC 3339.
    pub modified_at: Option<String>,
}

/// A role.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Role {
    /// Its path.
    pub path: String,
    /// Who may assume it.
    pub trust: Value,
    /// Our inline policy; none where there is none of that name.
    pub policy: Option<Value>,
}

/// An instance profile.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InstanceProfile {
    /// Its path.
    pub path: String,
    /// Roles in it.
    pub roles: Vec<String>,
}

/// A security group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SecurityGroup {
    /// Such as `sg-…`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its VPC.
    pub vpc: String,
    /// Identities of the rules that let something in.
    pub ingress: Vec<String>,
    /// Whether everything may go out.
    pub egress_open: bool,
}

/// A log group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogGroup {
    /// Days it keeps; none: for ever.
    pub retention_days: Option<u32>,
}

/// A topic.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Topic {
    /// Addresses told, with the subscription's ARN or `PendingConfirmation`.
    pub subscriptions: BTreeMap<String, String>,
}

/// An alarm, in CloudWatch's words.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Alarm {
    /// Fields by name, as they would be asked for.
    pub fields: BTreeMap<&'static str, String>,
    /// `OK`, `ALARM` or `INSUFFICIENT_DATA`.
    pub state: String,
    /// Since when, RFC 3339.
    pub changed_at: Option<String>,
}

/// An instance.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Instance {
    /// Such as `i-…`.
    pub id: String,
    /// `pending`, `running`, `stopping`, `stopped`, `shutting-down`, `terminated`.
    pub state: String,
    /// Token of the launch.
    pub client_token: String,
    /// Type.
    pub instance_type: String,
    /// Image.
    pub image: String,
    /// VPC.
    pub vpc: String,
    /// Subnet.
    pub subnet: String,
    /// Zone.
    pub zone: String,
    /// Security groups.
    pub security_groups: Vec<String>,
    /// ARN of its profile.
    pub profile: Option<String>,
    /// `required` or `optional`.
    pub http_tokens: String,
    /// Network hops that the metadata service answers over.
    pub hop_limit: i32,
    /// Whether the metadata service answers at all.
    pub metadata_enabled: bool,
    /// Private address.
    pub private_ip: Option<String>,
    /// Public address.
    pub public_ip: Option<String>,
    /// Volume at the root device.
    pub root_volume: Option<String>,
    /// When it was launched, RFC 3339.
    pub launched_at: Option<String>,
    /// Why it left the running state, as AWS says.
    pub why: Option<String>,
}

impl Instance {
    /// Whether it is gone or going.
    pub fn is_gone(&self) -> bool {
        matches!(self.state.as_str(), "terminated" | "shutting-down")
    }
}

/// A volume.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Volume {
    /// Such as `vol-…`.
    pub id: String,
    /// GiB.
    pub gib: u32,
    /// `gp3`.
    pub kind: String,
    /// IOPS.
    pub iops: Option<u32>,
    /// MiB/s.
    pub throughput: Option<u32>,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// Instance it is attached to.
    pub instance: Option<String>,
    /// `in-use`, `available`.
    pub state: String,
}
