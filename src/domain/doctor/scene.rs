//! Where a host is looked at from, and what it shall be.

use serde_json::Value;

use super::check::{Remedy, Subject};
use super::code::Code;
use super::facts::Told;
use super::fix::Fix;
use crate::domain::deployment::name::Host;
use crate::domain::deployment::record::Record;
use crate::domain::host_script::PULL_POLICIES;

/// Volumes of every job, as the bootstrap sets them.
pub const VOLUMES: [&str; 3] = [
    "/app:/local_config:rw",
    "/agent_cache:/agent_cache:rw",
    "/secrets:/secrets:ro",
];

/// What a host shall be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// Name of the runner and its container.
    pub agent: String,
    /// Address of the platform.
    pub url: String,
    /// Image with its tag.
    pub image: String,
    /// Jobs at a time; none: not known.
    pub concurrent: Option<u64>,
    /// Seconds between two questions for work; none: not known.
    pub check_interval: Option<u64>,
    /// Jobs of this runner at a time; none: not known.
    pub limit: Option<u64>,
    /// Volumes of jobs.
    pub volumes: Vec<String>,
    /// Pull policies of jobs.
    pub pull_policies: Vec<String>,
    /// Size of the disk; none: not known.
    pub disk_gib: Option<u32>,
    /// Life of the deployment; none: not known.
    pub generation: Option<String>,
}

impl Wanted {
    /// Returns what the record says of a host.
    pub fn of_record(record: &Record, host: Host) -> Self {
        let spec = &record.spec;
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Self {
            agent: record.name.host(host),
            url: spec.platform_url.trim_end_matches('/').to_owned(),
            image: format!("{}:{}", spec.runner_image, spec.channel),
            concurrent: Some(spec.concurrency.into()),
            check_interval: Some(spec.check_interval.into()),
            limit: Some(spec.concurrency.into()),
            volumes: owned(&VOLUMES),
            pull_policies: owned(PULL_POLICIES),
            disk_gib: Some(spec.disk.gib),
            generation: Some(record.generation.to_string()),
        }
    }

    /// Returns what a host was told to be.
    pub fn of_host(told: &Told) -> Self {
        let none = Value::Null;
        let settings = told.settings.as_ref().unwrap_or(&none);
        let texts = |value: &Value| -> Vec<String> {
            let texts = value.as_array().into_iter().flatten();
            texts.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Self {
            agent: told.agent.clone(),
            url: told.url.trim_end_matches('/').to_owned(),
            image: told.image.clone().unwrap_or_default(),
            concurrent: settings[0]["concurrent"].as_u64(),
            check_interval: settings[0]["check_interval"].as_u64(),
            limit: settings[1]["limit"].as_u64(),
            volumes: texts(&settings[2]["volumes"]),
            pull_policies: texts(&settings[2]["pull_policy"]),
            disk_gib: None,
            generation: told.generation.clone(),
        }
    }
}

/// A host and who looks at it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scene {
    /// Of what the checks are.
    pub subject: Subject,
    /// What the host shall be.
    pub wanted: Wanted,
    /// The instance; none: the program runs on the host itself.
    pub instance: Option<String>,
    /// How far the host says it is; none: it is not known.
    pub stage: Option<String>,
    /// Seconds since 1970, as this machine counts them; none: on the host itself.
    pub now: Option<f64>,
}

impl Scene {
    /// Returns a remedy by a command on the host.
    pub fn on_host(&self, text: impl Into<String>, command: &str) -> Remedy {
        match &self.instance {
            None => Remedy::new(text).run(format!("sudo {command}")),
            Some(_) => {
                let text = text.into();
                Remedy::new(format!("{text}; on the host: sudo {command}")).run(self.session())
            }
        }
    }

    /// Returns a remedy that the program itself can do.
    pub fn by_fix(&self, code: Code, text: impl Into<String>, fix: &Fix) -> Remedy {
        let shell = fix.shell(&self.wanted.agent);
        match (&self.instance, shell) {
            (None, Some(shell)) => Remedy::new(text).run(format!("sudo {shell}")),
            _ => Remedy::new(text).run(self.command(&format!("doctor --fix --check {code}"))),
        }
    }

    /// Returns a command of this program for the deployment.
    pub fn command(&self, what: &str) -> String {
        command(&self.subject, what)
    }

    /// Returns the command that opens a shell on the host.
    fn session(&self) -> String {
        let instance = self.instance.as_deref().unwrap_or_default();
        let region = self.subject.region.as_deref().unwrap_or_default();
        format!("aws ssm start-session --target {instance} --region {region}")
    }
}

/// Returns a command of this program for a deployment.
pub fn command(subject: &Subject, what: &str) -> String {
    let mut command = format!("dataops-infra {what}");
    if let Some(name) = &subject.deployment {
        command.push_str(&format!(" --name {name}"));
    }
    if let Some(region) = &subject.region {
        command.push_str(&format!(" --region {region}"));
    }
    command
}
