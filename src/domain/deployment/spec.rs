//! What a deployment shall be, decided to the last value.
//!
//! The record keeps it, so that a run that was interrupted, `status` and `down` need nothing else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::eks::spec::Eks;
use super::owner::Tags;

/// Everything about a deployment but its name and generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Name of the workload.
    pub workload: String,
    /// Digest of the question that the size answers, so that new prices do not change what runs.
    pub asked: String,
    /// Type of each host.
    pub instance_type: String,
    /// Types to fall back to where AWS has no capacity, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallback_types: Vec<String>,
    /// Number of hosts.
    pub count: u32,
    /// Jobs at once on each.
    pub concurrency: u32,
    /// Seconds between asking for jobs.
    pub check_interval: u32,
    /// Root volume of each.
    pub disk: Disk,
    /// Image.
    pub image: Image,
    /// VPC.
    pub vpc: String,
    /// Subnets with their zones, in the order they are tried.
    pub subnets: Vec<Subnet>,
    /// Whether hosts get a public address; none: as the subnet says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_address: Option<bool>,
    /// Where the runner's token is.
    pub token: Token,
    /// Where the registry's credentials are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<SecretRef>,
    /// Address of the platform.
    pub platform_url: String,
    /// Image of the runner, without tag.
    pub runner_image: String,
    /// Tag of that image.
    pub channel: String,
    /// How Docker gets onto the host.
    #[serde(default)]
    pub docker: Docker,
    /// A topic of the user's; none: one of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Who is told by our topic: e-mail and https addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<String>,
    /// Whether hosts are protected from being terminated.
    #[serde(default)]
    pub termination_protection: bool,
    /// Days that logs are kept.
    pub log_retention_days: u32,
    /// Tags of the user's.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
    /// What thresholds of alarms rest on.
    pub alarms: AlarmBasis,
    /// The cluster it runs in; none: hosts of EC2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eks: Option<Box<Eks>>,
}

/// A root volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// GiB.
    pub gib: u32,
    /// IOPS.
    pub iops: u32,
    /// MiB/s.
    pub throughput: u32,
    /// Key it is encrypted with; none: the account's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
}

/// An image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Such as `ami-…`.
    pub id: String,
    /// Device name of its root volume: another name would make a second volume and leave the root small.
    pub root_device: String,
    /// The parameter it was read from; none: the user named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
}

/// A subnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subnet {
    /// Such as `subnet-…`.
    pub id: String,
    /// Such as `eu-west-2a`.
    pub zone: String,
}

/// Where the token is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Token {
    /// In a parameter of ours.
    Ours,
    /// Where the user keeps it.
    Theirs(SecretRef),
}

/// Where a secret of the user's is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretRef {
    /// Name or ARN of an SSM parameter.
    Parameter(String),
    /// Name or ARN of a Secrets Manager secret.
    Secret(String),
}

/// How Docker gets onto the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Docker {
    /// The distribution's package instead of Docker's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub distribution: bool,
    /// Mirror of Docker's package archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<String>,
    /// Mirrors of Docker Hub.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub registry_mirrors: Vec<String>,
    /// HTTP proxy of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// Digest of the CA certificates that the host trusts besides; the text is in the user data only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_digest: Option<String>,
}

/// What thresholds of alarms rest on, computed from the workload.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlarmBasis {
    /// GiB that a release of all images adds at once.
    pub wave_gib: f64,
    /// Simulated days from 80 % to full.
    pub days_to_full: u32,
    /// Whether the type is burstable.
    pub burstable: bool,
}

/// A try of a host: which life of it, which rung of the ladder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// How often a host at this address was lost and launched anew.
    #[serde(default)]
    pub launch: u32,
    /// First rung to try: what was refused for capacity before is not asked again with the same token.
    #[serde(default)]
    pub rung: u32,
}

/// One rung of the ladder that is climbed down when AWS has no capacity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rung {
    /// Type.
    pub instance_type: String,
    /// Subnet, and so the zone.
    pub subnet: Subnet,
}

impl Spec {
    /// Returns what is tried in which order: every zone with the first type, then with the next.
    ///
    /// Hosts of one deployment begin in different zones, so that the loss of one leaves the others.
    pub fn ladder(&self, host: usize) -> Vec<Rung> {
        let types = std::iter::once(&self.instance_type).chain(&self.fallback_types);
        let zones = self.subnets.len().max(1);
        types
            .flat_map(|instance_type| {
                (0..self.subnets.len()).map(move |nth| Rung {
                    instance_type: instance_type.clone(),
                    subnet: self.subnets[(nth + host) % zones].clone(),
                })
            })
            .collect()
    }
}

/// Launches by address, only those that are not the first try.
pub type Launches = BTreeMap<String, Launch>;
