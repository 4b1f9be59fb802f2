//! What a user may say about a deployment, in flags or in `dataops-infra.yaml`, checked but with nothing filled in.
//!
//! `keys` is the one table that the file, the flags, the JSON Schema and the messages share; `check` says what each
//! value must look like, `parse` reads the file, `together` knows what no key can say on its own. What a deployment
//! gets when nobody says anything is decided where the plan is made.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

mod check;
mod keys;
mod parse;
mod schema;
mod shape;
mod together;

// Read with the profile's own reader and list of problems.
use super::profile::{node, problem};

pub use check::{Refusal, check, looks_secret};
pub use keys::{Form, GROUPS, Group, KEYS, Key, Kind, MAX_TAGS, RETENTION_DAYS, Value, find};
pub use parse::{SCHEMA, parse, parse_bytes};
pub use schema::schema;
pub use together::{Contradiction, contradictions};

use super::deployment::eks::spec::Chart;

pub use super::deployment::eks::spec::{Autoscaler, StorageMode};
pub use super::deployment::spec::SecretRef;
pub use super::profile::{Problem, ProfileErrors as SettingsErrors, Target};

/// A file with two deployments, to start from.
pub const EXAMPLE: &str = include_str!("example.yaml");

/// What a user says about one deployment; whatever is not said is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Name of the deployment.
    pub name: Option<String>,
    /// Where the runner lives.
    pub target: Option<Target>,
    /// AWS region.
    pub region: Option<String>,
    /// Profile of the AWS configuration files.
    pub profile: Option<String>,
    /// Built-in workload or the path of one.
    pub workload: Option<String>,
    /// Changes to the workload, by full key such as `slo.wait_s`.
    pub set: BTreeMap<String, String>,
    /// Instance families to choose from.
    pub families: Vec<String>,
    /// Whether the vendor's minimum size is binding.
    pub strict_minimums: Option<bool>,
    /// Instance type, instead of the recommended one.
    pub instance_type: Option<String>,
    /// Number of hosts.
    pub count: Option<u32>,
    /// Jobs at a time on one host.
    pub concurrency: Option<u32>,
    /// Size of the disk.
    pub disk_gib: Option<u32>,
    /// Types to take when the first has no capacity, in this order.
    pub fallback_types: Vec<String>,
    /// VPC of the hosts.
    pub vpc: Option<String>,
    /// Subnets to choose from.
    pub subnets: Vec<String>,
    /// Availability zones to choose from.
    pub zones: Vec<String>,
    /// Whether hosts have a public address.
    pub public_address: Option<bool>,
    /// Machine image.
    pub ami: Option<String>,
    /// SSM parameter that holds the machine image.
    pub ami_parameter: Option<String>,
    /// KMS key of the disk and of the token.
    pub kms_key: Option<String>,
    /// Where the registration token is kept.
    pub token: Option<TokenSource>,
    /// Where the credentials of the image registry are kept.
    pub registry: Option<SecretRef>,
    /// Address of the DataOps platform.
    pub platform_url: Option<String>,
    /// Image of the runner.
    pub runner_image: Option<String>,
    /// Tag of the runner's image.
    pub channel: Option<String>,
    /// How the container engine is installed.
    pub docker: Docker,
    /// The cluster, for the target `eks`.
    pub eks: Eks,
    /// SNS topic of the user's that alarms go to.
    pub topic: Option<String>,
    /// Addresses that alarms go to.
    pub notify: Vec<String>,
    /// Whether hosts are protected from termination.
    pub termination_protection: Option<bool>,
    /// Days that logs are kept.
    pub log_retention_days: Option<u32>,
    /// How long the deployment lives.
    pub ttl: Option<Ttl>,
    /// Tags on everything, beside our own.
    pub tags: BTreeMap<String, String>,
}

/// The cluster, its nodes and the release in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Eks {
    /// A cluster that exists, which is adopted; none: one of ours, named as the deployment.
    pub cluster: Option<String>,
    /// Version of Kubernetes; none: EKS's default, of those in standard support.
    pub version: Option<String>,
    /// Nodes at least.
    pub min_nodes: Option<u32>,
    /// Nodes at most.
    pub max_nodes: Option<u32>,
    /// Whether the API server can be reached from outside of the VPC.
    pub public_endpoint: Option<bool>,
    /// Ranges that may reach it from outside.
    pub public_cidrs: Vec<String>,
    /// Logs of the control plane that are kept.
    pub log_types: Vec<String>,
    /// Key that secrets in the cluster are encrypted with.
    pub secrets_key: Option<String>,
    /// ARNs of roles and users that may do everything in the cluster.
    pub admins: Vec<String>,
    /// Who adds and takes away nodes.
    pub autoscaler: Option<Autoscaler>,
    /// A file system of the user's.
    pub file_system: Option<String>,
    /// How volumes come to be.
    pub storage: Option<StorageMode>,
    /// Namespace of the release.
    pub namespace: Option<String>,
    /// Repository of the chart.
    pub chart_repository: Option<String>,
    /// The chart: its name, or a path.
    pub chart: Option<String>,
    /// Version of the chart.
    pub chart_version: Option<String>,
    /// Name of a secret with a vault of the user's.
    pub vault_secret: Option<String>,
    /// ARNs of policies that job pods have.
    pub job_policies: Vec<String>,
}

/// How the container engine is installed and what it may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Docker {
    /// Whose packages.
    pub packages: Option<Packages>,
    /// Mirror of the package repository.
    pub mirror: Option<String>,
    /// Mirrors of Docker Hub.
    pub registry_mirrors: Vec<String>,
    /// Proxy for packages and images.
    pub proxy: Option<String>,
    /// Certificates to trust, as a PEM file.
    pub ca_file: Option<PathBuf>,
}

/// Whose packages the container engine comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packages {
    /// Docker's own repository.
    Docker,
    /// The repository of the Linux distribution.
    Distribution,
}

impl Packages {
    /// Returns the word of the file format.
    pub fn word(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Distribution => "distribution",
        }
    }
}

/// Where the registration token is kept; never the token itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// A file on this machine.
    File(PathBuf),
    /// An environment variable of this process.
    Environment(String),
    /// Name or ARN of an SSM parameter.
    Parameter(String),
    /// Name or ARN of a secret in Secrets Manager.
    Secret(String),
}

/// How long a deployment lives: whole minutes, a quarter of an hour to thirty days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ttl {
    minutes: u32,
}

impl Ttl {
    /// The shortest life: less than this and a deployment may be gone before it is online.
    pub const SHORTEST: Self = Self { minutes: 15 };
    /// The longest life.
    pub const LONGEST: Self = Self {
        minutes: 30 * 24 * 60,
    };

    /// Reads `90m`, `4h` or `7d`; `None` for anything else, lives out of range included.
    pub fn parse(text: &str) -> Option<Self> {
        let (number, factor) = [("m", 1), ("h", 60), ("d", 24 * 60)]
            .iter()
            .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))?;
        let ttl = Self {
            minutes: shape::whole(number)?.checked_mul(factor)?,
        };
        (Self::SHORTEST..=Self::LONGEST).contains(&ttl).then_some(ttl)
    }

    /// Returns the life in minutes.
    pub fn minutes(self) -> u32 {
        self.minutes
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.minutes {
            minutes if minutes % (24 * 60) == 0 => write!(f, "{}d", minutes / (24 * 60)),
            minutes if minutes % 60 == 0 => write!(f, "{}h", minutes / 60),
            minutes => write!(f, "{minutes}m"),
        }
    }
}

impl Settings {
    /// Returns these settings laid over `base`: what is said here wins.
    ///
    /// Maps merge by key; a list replaces the other as a whole. Of two keys that exclude each other by saying the
    /// same thing in two ways (`ami` and `ami_parameter`, `topic` and `notify`), the one said here also takes the
    /// place of the other one in `base`.
    pub fn over(self, mut base: Self) -> Self {
        if self.ami.is_some() || self.ami_parameter.is_some() {
            (base.ami, base.ami_parameter) = (None, None);
        }
        if self.topic.is_some() || !self.notify.is_empty() {
            (base.topic, base.notify) = (None, Vec::new());
        }
        let list = |over: Vec<String>, base: Vec<String>| if over.is_empty() { base } else { over };
        let map = |over: BTreeMap<String, String>, mut base: BTreeMap<String, String>| {
            base.extend(over);
            base
        };
        Self {
            name: self.name.or(base.name),
            target: self.target.or(base.target),
            region: self.region.or(base.region),
            profile: self.profile.or(base.profile),
            workload: self.workload.or(base.workload),
            set: map(self.set, base.set),
            families: list(self.families, base.families),
            strict_minimums: self.strict_minimums.or(base.strict_minimums),
            instance_type: self.instance_type.or(base.instance_type),
            count: self.count.or(base.count),
            concurrency: self.concurrency.or(base.concurrency),
            disk_gib: self.disk_gib.or(base.disk_gib),
            fallback_types: list(self.fallback_types, base.fallback_types),
            vpc: self.vpc.or(base.vpc),
            subnets: list(self.subnets, base.subnets),
            zones: list(self.zones, base.zones),
            public_address: self.public_address.or(base.public_address),
            ami: self.ami.or(base.ami),
            ami_parameter: self.ami_parameter.or(base.ami_parameter),
            kms_key: self.kms_key.or(base.kms_key),
            token: self.token.or(base.token),
            registry: self.registry.or(base.registry),
            platform_url: self.platform_url.or(base.platform_url),
            runner_image: self.runner_image.or(base.runner_image),
            channel: self.channel.or(base.channel),
            docker: Docker {
                packages: self.docker.packages.or(base.docker.packages),
                mirror: self.docker.mirror.or(base.docker.mirror),
                registry_mirrors: list(self.docker.registry_mirrors, base.docker.registry_mirrors),
                proxy: self.docker.proxy.or(base.docker.proxy),
                ca_file: self.docker.ca_file.or(base.docker.ca_file),
            },
            eks: Eks {
                cluster: self.eks.cluster.or(base.eks.cluster),
                version: self.eks.version.or(base.eks.version),
                min_nodes: self.eks.min_nodes.or(base.eks.min_nodes),
                max_nodes: self.eks.max_nodes.or(base.eks.max_nodes),
                public_endpoint: self.eks.public_endpoint.or(base.eks.public_endpoint),
                public_cidrs: list(self.eks.public_cidrs, base.eks.public_cidrs),
                log_types: list(self.eks.log_types, base.eks.log_types),
                secrets_key: self.eks.secrets_key.or(base.eks.secrets_key),
                admins: list(self.eks.admins, base.eks.admins),
                autoscaler: self.eks.autoscaler.or(base.eks.autoscaler),
                file_system: self.eks.file_system.or(base.eks.file_system),
                storage: self.eks.storage.or(base.eks.storage),
                namespace: self.eks.namespace.or(base.eks.namespace),
                chart_repository: self.eks.chart_repository.or(base.eks.chart_repository),
                chart: self.eks.chart.or(base.eks.chart),
                chart_version: self.eks.chart_version.or(base.eks.chart_version),
                vault_secret: self.eks.vault_secret.or(base.eks.vault_secret),
                job_policies: list(self.eks.job_policies, base.eks.job_policies),
            },
            topic: self.topic.or(base.topic),
            notify: list(self.notify, base.notify),
            termination_protection: self.termination_protection.or(base.termination_protection),
            log_retention_days: self.log_retention_days.or(base.log_retention_days),
            ttl: self.ttl.or(base.ttl),
            tags: map(self.tags, base.tags),
        }
    }

    /// Checks one value, as a flag gives it, and takes it: a list grows by it, `KEY=VALUE` enters a map.
    ///
    /// # Errors
    ///
    /// As [`check`]; and what a list holds already.
    pub fn put(&mut self, key: &str, text: &str) -> Result<(), Refusal> {
        let value = check(key, text)?;
        let Some(key) = find(key) else {
            return Err(Refusal::unknown(key));
        };
        let value = match (value, key.value(self)) {
            (Value::List(new), Some(Value::List(mut all))) => {
                if let Some(twice) = new.iter().find(|item| all.contains(item)) {
                    return Err(Refusal::twice(twice));
                }
                all.extend(new);
                Value::List(all)
            }
            (Value::Map(new), Some(Value::Map(mut all))) => {
                all.extend(new);
                Value::Map(all)
            }
            (new, _) => new,
        };
        key.put(self, value);
        Ok(())
    }

    /// Returns the settings with relative paths resolved against a folder, that of the file they were read from.
    ///
    /// A built-in workload is no path. An empty folder, as `Path::parent` gives for a bare file name, changes nothing.
    pub fn resolved_against(mut self, folder: &Path) -> Self {
        if let Some(workload) = &mut self.workload
            && !super::profile::builtin_names().contains(&workload.as_str())
            && let Some(path) = folder.join(workload.as_str()).to_str()
        {
            path.clone_into(workload);
        }
        if let Some(TokenSource::File(path)) = &mut self.token {
            *path = folder.join(&*path);
        }
        if let Some(path) = &mut self.docker.ca_file {
            *path = folder.join(&*path);
        }
        if let Some(chart) = &mut self.eks.chart
            && Chart::is_path(chart)
            && let Some(path) = folder.join(chart.as_str()).to_str()
        {
            path.clone_into(chart);
        }
        self
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    clippy::format_collect,
    clippy::format_push_string,
    reason = "hostile input is made up in one line each, and timed"
)]
mod tests;
