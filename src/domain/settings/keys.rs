//! The one table of the keys of a deployment: what each may hold, what it means, and where it goes.
//!
//! The file, the flags, the JSON Schema and the messages read this table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Autoscaler, Packages, SecretRef, Settings, StorageMode, Target, TokenSource, Ttl};
use crate::domain::disk::LARGEST_GIB;
use crate::domain::sizing::search::MOST_HOSTS;

/// Tags of the user's at most: AWS allows 50 on a resource, and some are ours.
pub const MAX_TAGS: usize = 40;
/// Days that CloudWatch Logs can keep logs for: the values that `PutRetentionPolicy` accepts.
pub const RETENTION_DAYS: &[u32] = &[
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
];

/// What one value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A name of a deployment.
    Name,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// A whole number, both ends included, and its unit.
    Number(u32, u32, &'static str),
    /// A number of days that CloudWatch Logs accepts.
    Retention,
    /// An AWS region.
    Region,
    /// An availability zone.
    Zone,
    /// A profile of the AWS configuration files.
    AwsProfile,
    /// A built-in workload or a file.
    Workload,
    /// A key and a value of a workload.
    Override,
    /// An instance family.
    Family,
    /// An instance type.
    InstanceType,
    /// An id with this prefix, and what it is an id of.
    Id(&'static str, &'static str),
    /// An SSM parameter: name or ARN.
    Parameter,
    /// A secret in Secrets Manager: name or ARN.
    Secret,
    /// A KMS key: id, alias or ARN.
    KmsKey,
    /// A file.
    File,
    /// An environment variable.
    Variable,
    /// An `https` or `http` URL without credentials.
    Url,
    /// A container image.
    Image,
    /// A tag of a container image.
    Channel,
    /// ARN of an SNS topic.
    Topic,
    /// An e-mail address or an `https` URL.
    Address,
    /// A life such as `4h`.
    Ttl,
    /// A key and a value of an AWS tag.
    Tag,
    /// Name of an EKS cluster.
    Cluster,
    /// Minor version of Kubernetes.
    Kubernetes,
    /// A range of IPv4 addresses.
    Cidr,
    /// ARN of a role or a user of IAM.
    Principal,
    /// ARN of a policy of IAM.
    Policy,
    /// Name of an object of Kubernetes, with its longest length and what it is.
    Object(usize, &'static str),
    /// Repository of Helm charts.
    Repository,
    /// A chart: its name, or a path.
    Chart,
    /// Version of a chart.
    ChartVersion,
}

/// How many values a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One.
    One,
    /// A list of at most this many.
    List(usize),
    /// A mapping of at most this many.
    Map(usize),
}

/// The value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `true` or `false`.
    Flag(bool),
    /// A whole number.
    Number(u32),
    /// Any other single value.
    Text(String),
    /// The values of a list.
    List(Vec<String>),
    /// The values of a mapping.
    Map(BTreeMap<String, String>),
}

/// Keys that stand under a name of their own.
#[derive(Debug)]
pub struct Group {
    /// Name in the file.
    pub name: &'static str,
    /// Whether exactly one of its keys is given, because they say the same thing in different ways.
    pub one_of: bool,
    /// What it is about, in one sentence.
    pub doc: &'static str,
}

/// The groups, in the order of the file.
pub static GROUPS: &[Group] = &[
    Group {
        name: "token",
        one_of: true,
        doc: "Where the registration token is kept; the token itself is never in this file.",
    },
    Group {
        name: "registry",
        one_of: true,
        doc: "Where AWS keeps the credentials of a private image registry.",
    },
    Group {
        name: "docker",
        one_of: false,
        doc: "How the container engine is installed and what it may reach.",
    },
    Group {
        name: "eks",
        one_of: false,
        doc: "The cluster, its nodes and the release in it; for the target eks.",
    },
];

/// A key of a deployment.
#[derive(Debug)]
pub struct Key {
    /// The full name, such as `region` or `docker.proxy`.
    pub name: &'static str,
    /// What each value must be.
    pub kind: Kind,
    /// How many values.
    pub form: Form,
    /// What the key means, in one sentence.
    pub doc: &'static str,
    /// A value as a flag would give it.
    pub example: &'static str,
    get: fn(&Settings) -> Option<Value>,
    set: fn(&mut Settings, Value),
}

impl Key {
    /// Returns the group and the name within it.
    pub fn split(&self) -> (Option<&'static str>, &'static str) {
        match self.name.split_once('.') {
            Some((group, key)) => (Some(group), key),
            None => (None, self.name),
        }
    }

    /// Returns the value in some settings, if it is given.
    pub fn value(&self, settings: &Settings) -> Option<Value> {
        (self.get)(settings)
    }

    /// Puts a value that `check` has approved in its place.
    pub(super) fn put(&self, settings: &mut Settings, value: Value) {
        (self.set)(settings, value);
    }

    /// Returns whether a value may be a credential by mistake and is never repeated in a message.
    pub(super) fn is_private(&self) -> bool {
        matches!(self.split().0, Some("token" | "registry"))
    }
}

/// Returns the key of a full name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Reads and writes a field that holds the variant's own type.
macro_rules! plain {
    ($variant:ident, $($field:ident).+) => {(
        |s: &Settings| s.$($field).+.clone().map(Value::$variant),
        |s: &mut Settings, value: Value| if let Value::$variant(value) = value { s.$($field).+ = Some(value) },
    )};
}

/// Reads and writes a list or a mapping, which is empty when it is not given.
macro_rules! many {
    ($variant:ident, $($field:ident).+) => {(
        |s: &Settings| (!s.$($field).+.is_empty()).then(|| Value::$variant(s.$($field).+.clone())),
        |s: &mut Settings, value: Value| if let Value::$variant(value) = value { s.$($field).+ = value },
    )};
}

/// Reads and writes a field whose type is made from text.
macro_rules! made {
    ($($field:ident).+, $write:expr, $read:expr) => {(
        |s: &Settings| s.$($field).+.as_ref().and_then($write).map(Value::Text),
        |s: &mut Settings, value: Value| if let Value::Text(text) = value { s.$($field).+ = $read(text) },
    )};
}

/// Reads and writes one way to say where something is kept.
macro_rules! kept {
    ($field:ident, $type:ident, $way:ident) => {
        made!(
            $field,
            |it| match it {
                $type::$way(text) => Some(text.clone()),
                _ => None,
            },
            |text| Some($type::$way(text))
        )
    };
}

macro_rules! keys {
    ($($name:literal, $kind:expr, $form:expr, $access:expr, $example:literal, $doc:literal;)+) => {
        &[$(Key {
            name: $name, kind: $kind, form: $form, doc: $doc, example: $example, get: $access.0, set: $access.1,
        }),+]
    };
}

/// Returns a path as text; paths come from text, so none is lost.
fn shown(path: &Path) -> Option<String> {
    path.to_str().map(str::to_owned)
}

use Form::{List, Map, One};

/// The keys in the order of the file.
pub static KEYS: &[Key] = keys![
    "name", Kind::Name, One, plain!(Text, name), "dataops-runner-london",
        "Name of the deployment; also the agent name and the tag of its runners.";
    "target", Kind::Choice(&["ec2", "eks"]), One,
        made!(target, |target| Some(match target { Target::Ec2 => "ec2", Target::Eks => "eks" }.to_owned()),
            |text: String| Some(if text == "eks" { Target::Eks } else { Target::Ec2 })), "ec2",
        "Where the runner lives.";
    "region", Kind::Region, One, plain!(Text, region), "eu-west-2",
        "AWS region.";
    "profile", Kind::AwsProfile, One, plain!(Text, profile), "work",
        "Profile of the AWS configuration files.";
    "workload", Kind::Workload, One, plain!(Text, workload), "production",
        "Workload that the host is sized for: a built-in name, or a file relative to this one.";
    "set", Kind::Override, Map(200), many!(Map, set), "slo.wait_s=20",
        "Changes to the workload, by full key.";
    "families", Kind::Family, List(50), many!(List, families), "m6i",
        "Instance families to choose from.";
    "strict_minimums", Kind::Flag, One, plain!(Flag, strict_minimums), "true",
        "Whether the vendor's minimum size is binding.";
    "instance_type", Kind::InstanceType, One, plain!(Text, instance_type), "m6i.2xlarge",
        "Instance type, instead of the recommended one.";
    "count", Kind::Number(1, 20, "hosts"), One, plain!(Number, count), "2",
        "Number of hosts.";
    "concurrency", Kind::Number(1, 500, "jobs"), One, plain!(Number, concurrency), "8",
        "Jobs at a time on one host; on EKS on all nodes together.";
    "disk_gib", Kind::Number(20, LARGEST_GIB, "GiB"), One, plain!(Number, disk_gib), "200",
        "Size of the disk of a host.";
    "fallback_types", Kind::InstanceType, List(20), many!(List, fallback_types), "m5.2xlarge",
        "Instance types to take, in this order, when the first has no capacity.";
    "vpc", Kind::Id("vpc-", "VPC"), One, plain!(Text, vpc), "vpc-0a1b2c3d4e5f60718",
        "VPC of the hosts.";
    "subnets", Kind::Id("subnet-", "subnet"), List(50), many!(List, subnets), "subnet-0a1b2c3d4e5f60718",
        "Subnets to choose from.";
    "zones", Kind::Zone, List(50), many!(List, zones), "eu-west-2a",
        "Availability zones to choose from.";
    "public_address", Kind::Flag, One, plain!(Flag, public_address), "false",
        "Whether hosts have a public address.";
    "ami", Kind::Id("ami-", "AMI"), One, plain!(Text, ami), "ami-0a1b2c3d4e5f60718",
        "Machine image; not with ami_parameter.";
    "ami_parameter", Kind::Parameter, One, plain!(Text, ami_parameter), "/golden/ubuntu",
        "SSM parameter that holds the machine image; not with ami.";
    "kms_key", Kind::KmsKey, One, plain!(Text, kms_key), "alias/runners",
        "KMS key for the disk and the token: id, alias or ARN.";
    "token.file", Kind::File, One,
        made!(token, |it| match it { TokenSource::File(path) => shown(path), _ => None },
            |text: String| Some(TokenSource::File(text.into()))), "./token.txt",
        "A file on this machine that holds the token, relative to this one.";
    "token.environment", Kind::Variable, One, kept!(token, TokenSource, Environment), "RUNNER_TOKEN",
        "An environment variable that holds the token when the command runs.";
    "token.parameter", Kind::Parameter, One, kept!(token, TokenSource, Parameter), "/runners/token",
        "An SSM parameter that holds the token: name or ARN.";
    "token.secret", Kind::Secret, One, kept!(token, TokenSource, Secret), "runners/token",
        "A secret in Secrets Manager that holds the token: name or ARN.";
    "registry.parameter", Kind::Parameter, One, kept!(registry, SecretRef, Parameter), "/runners/registry",
        "An SSM parameter that holds the credentials: name or ARN.";
    "registry.secret", Kind::Secret, One, kept!(registry, SecretRef, Secret), "runners/registry",
        "A secret in Secrets Manager that holds the credentials: name or ARN.";
    "platform_url", Kind::Url, One, plain!(Text, platform_url), "https://app.dataops.live",
        "Address of the DataOps platform.";
    "runner_image", Kind::Image, One, plain!(Text, runner_image), "registry.example.com/dataops/runner",
        "Image of the runner, such as a copy in a registry of your own.";
    "channel", Kind::Channel, One, plain!(Text, channel), "latest",
        "Tag of the runner's image: latest, latest-next or any other.";
    "docker.packages", Kind::Choice(&["docker", "distribution"]), One,
        made!(docker.packages, |it: &Packages| Some(it.word().to_owned()),
            |text: String| Some(if text == "docker" { Packages::Docker } else { Packages::Distribution })),
        "distribution",
        "Whose packages: Docker's own repository or that of the Linux distribution.";
    "docker.mirror", Kind::Url, One, plain!(Text, docker.mirror), "https://mirror.example.com/docker",
        "Mirror of the package repository.";
    "docker.registry_mirrors", Kind::Url, List(10), many!(List, docker.registry_mirrors),
        "https://hub.example.com",
        "Mirrors of Docker Hub, tried in this order.";
    "docker.proxy", Kind::Url, One, plain!(Text, docker.proxy), "http://proxy.example.com:3128",
        "Proxy for packages and images.";
    "docker.ca_file", Kind::File, One,
        made!(docker.ca_file, |it: &PathBuf| shown(it), |text: String| Some(PathBuf::from(text))), "./company-ca.pem",
        "Certificates to trust, as a PEM file relative to this one.";
    "eks.cluster", Kind::Cluster, One, plain!(Text, eks.cluster), "team",
        "A cluster that exists, which is adopted; else one is made.";
    "eks.version", Kind::Kubernetes, One, plain!(Text, eks.version), "1.34",
        "Version of Kubernetes of a cluster that is made.";
    "eks.min_nodes", Kind::Number(1, MOST_HOSTS, "nodes"), One, plain!(Number, eks.min_nodes), "2",
        "Nodes at least, instead of the recommended number.";
    "eks.max_nodes", Kind::Number(1, MOST_HOSTS, "nodes"), One, plain!(Number, eks.max_nodes), "4",
        "Nodes at most, instead of the recommended number.";
    "eks.public_endpoint", Kind::Flag, One, plain!(Flag, eks.public_endpoint), "true",
        "Whether the API server can be reached from outside of the VPC.";
    "eks.public_cidrs", Kind::Cidr, List(40), many!(List, eks.public_cidrs), "192.0.2.0/24",
        "Ranges that may reach the API server from outside; else all.";
    "eks.log_types",
        Kind::Choice(&["api", "audit", "authenticator", "controllerManager", "scheduler"]), List(5),
        many!(List, eks.log_types), "audit",
        "Logs of the control plane that are kept.";
    "eks.secrets_key", Kind::KmsKey, One, plain!(Text, eks.secrets_key), "alias/cluster",
        "KMS key that secrets in the cluster are encrypted with, besides EKS's own encryption; cannot be changed.";
    "eks.admins", Kind::Principal, List(20), many!(List, eks.admins), "arn:aws:iam::123456789012:role/admin",
        "ARNs of roles and users that may do everything in the cluster, besides who made it.";
    "eks.autoscaler", Kind::Choice(&["none", "cluster-autoscaler", "cluster"]), One,
        made!(eks.autoscaler, |it: &Autoscaler| Some(it.word().to_owned()),
            |text: String| Autoscaler::named(&text)), "cluster-autoscaler",
        "Who adds and takes away nodes: nobody, Cluster Autoscaler, or the adopted cluster itself (Auto Mode, Karpenter).";
    "eks.file_system", Kind::Id("fs-", "file system"), One, plain!(Text, eks.file_system), "fs-0a1b2c3d4e5f60718",
        "A file system of EFS that exists, for caches; else one is made.";
    "eks.storage", Kind::Choice(&["static", "dynamic", "none"]), One,
        made!(eks.storage, |it: &StorageMode| Some(it.word().to_owned()),
            |text: String| StorageMode::named(&text)), "static",
        "How volumes for caches come to be on EFS: one volume, an access point for each (which forces one user on every file), or none.";
    "eks.namespace", Kind::Object(63, "namespace"), One, plain!(Text, eks.namespace), "runners",
        "Namespace of the release; else one named as the deployment.";
    "eks.chart_repository", Kind::Repository, One, plain!(Text, eks.chart_repository), "https://charts.example.com",
        "Repository of the vendor's chart: https or oci.";
    "eks.chart", Kind::Chart, One, plain!(Text, eks.chart), "dataops-runner",
        "The vendor's chart: its name in the repository, or a folder or archive relative to this file.";
    "eks.chart_version", Kind::ChartVersion, One, plain!(Text, eks.chart_version), "1.2.3",
        "Version of the chart; else the newest, or the one in the path.";
    "eks.vault_secret", Kind::Object(253, "secret"), One, plain!(Text, eks.vault_secret), "team-vault",
        "A secret in the namespace with vault.yml and vault.salt; else the chart makes one.";
    "eks.job_policies", Kind::Policy, List(10), many!(List, eks.job_policies), "arn:aws:iam::123456789012:policy/jobs",
        "ARNs of policies that job pods have.";
    "topic", Kind::Topic, One, plain!(Text, topic), "arn:aws:sns:eu-west-2:123456789012:on-call",
        "SNS topic of your own that alarms go to; not with notify.";
    "notify", Kind::Address, List(20), many!(List, notify), "team@example.com",
        "E-mail addresses or https URLs that alarms go to; not with topic.";
    "termination_protection", Kind::Flag, One, plain!(Flag, termination_protection), "true",
        "Whether hosts are protected from termination; not with ttl.";
    "log_retention_days", Kind::Retention, One, plain!(Number, log_retention_days), "30",
        "Days that logs are kept.";
    "ttl", Kind::Ttl, One,
        made!(ttl, |it: &Ttl| Some(it.to_string()), |text: String| Ttl::parse(&text)), "4h",
        "How long the deployment lives, 15 minutes to 30 days; not with termination_protection.";
    "tags", Kind::Tag, Map(MAX_TAGS), many!(Map, tags), "team=data",
        "Tags on everything, beside the tool's own.";
];
