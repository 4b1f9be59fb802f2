//! What a host says of itself: the answer of `templates/host/facts.py`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::check::Check;
use super::code::Code;

/// The program that gathers the facts.
pub const PROGRAM: &str = include_str!("../../../templates/host/facts.py");

/// The schema's name.
const SCHEMA: &str = "dataops-infra/facts/v1";

/// A fact, or why it is not known.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fact<T> {
    /// It is known.
    Known(T),
    /// It is not, and why.
    Unknown(String),
}

impl<T> Default for Fact<T> {
    fn default() -> Self {
        Self::Unknown("the host does not say".to_owned())
    }
}

impl<T> Fact<T> {
    /// Returns what is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(fact) => Some(fact),
            Self::Unknown(_) => None,
        }
    }

    /// Returns the check that could not be made without the fact.
    pub fn gap(&self, code: Code) -> Check {
        match self {
            Self::Known(_) => Check::unknown(code, "a part of the fact is missing"),
            Self::Unknown(why) => Check::unknown(code, why),
        }
    }
}

/// The facts of a host.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct HostFacts {
    /// What the host was told to be.
    pub wanted: Fact<Told>,
    /// Its clock.
    pub clock: Fact<Clock>,
    /// cloud-init.
    pub cloud_init: Fact<CloudInit>,
    /// Our own script.
    pub bootstrap: Fact<Bootstrap>,
    /// The Docker daemon.
    pub docker: Fact<Docker>,
    /// File systems that matter.
    pub disks: Fact<Vec<Disk>>,
    /// Memory.
    pub memory: Fact<Memory>,
    /// What can be reached.
    pub egress: Fact<Vec<Reach>>,
    /// The disk guard.
    pub guard: Fact<Guard>,
    /// The CloudWatch agent.
    pub cloudwatch_agent: Fact<MetricsAgent>,
    /// A reboot that updates wait for.
    pub reboot: Fact<Reboot>,
    /// The runner's container.
    pub container: Fact<Container>,
    /// Its image.
    pub image: Fact<Image>,
    /// `config.toml`.
    pub config: Fact<Config>,
    /// What `verify` said.
    pub verify: Fact<Verify>,
    /// What the log says of asking for jobs.
    pub polling: Fact<Polling>,
}

/// What the host was told to be.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Told {
    /// Deployment.
    pub deployment: Option<String>,
    /// Its life.
    pub generation: Option<String>,
    /// Region.
    pub region: Option<String>,
    /// Name of the runner.
    pub agent: String,
    /// Address of the platform.
    pub url: String,
    /// Image with its tag.
    pub image: Option<String>,
    /// What is set in `config.toml`: at the top, in the runner, in its Docker section.
    pub settings: Option<Value>,
}

/// The clock of a host.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Clock {
    /// Seconds since 1970.
    pub now: f64,
    /// Whether something keeps it right; none: nothing says so.
    pub synchronised: Option<bool>,
    /// Whether the clock is somebody else's.
    pub container: bool,
    /// Seconds since it booted.
    pub uptime_s: Option<u64>,
}

/// What cloud-init says.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct CloudInit {
    /// `done`, `running`, `error` and others.
    pub status: String,
    /// More of that.
    pub detail: String,
    /// Errors, also such that it recovered from.
    pub errors: Vec<String>,
}

/// Our own script.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Bootstrap {
    /// Life of the deployment in the marker of success; none: there is no marker.
    pub marker: Option<String>,
    /// Seconds since the marker was written.
    pub age_s: Option<u64>,
    /// Whether the script runs now.
    pub running: bool,
    /// The last lines of its log.
    pub log: Vec<String>,
    /// What draining left: how the runner was taken off the platform.
    pub unregistered: Option<String>,
    /// Registrations of which nobody knows whether the platform has made them, in a sentence each.
    #[serde(default)]
    pub strays: Vec<String>,
    /// Runners that the disk guard or the reboot window stopped, and starts again.
    pub held: Vec<String>,
    /// Whether the reboot window goes on.
    pub window: bool,
    /// Image of a second runner that was put beside the first, and has not taken its place.
    pub upgrade: Option<String>,
}

/// The Docker daemon.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Docker {
    /// Whether there is a client.
    pub installed: bool,
    /// Whether the daemon answers.
    pub answers: bool,
    /// What it complains about.
    pub says: String,
    /// Version of the daemon.
    pub version: Option<String>,
    /// Newest version of its API.
    pub api: Option<String>,
    /// Oldest version of its API.
    pub min_api: Option<String>,
    /// State of its unit.
    pub active: Option<String>,
    /// Whether it starts with the host.
    pub enabled: Option<String>,
}

/// A file system.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Disk {
    /// Where it is mounted, or what is on it.
    pub path: String,
    /// GiB.
    pub gib: f64,
    /// GiB that are free.
    pub free_gib: f64,
    /// Space in use.
    pub used_percent: f64,
    /// Inodes in use.
    pub inodes_percent: f64,
}

/// Memory.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// MiB.
    pub total_mib: u64,
    /// MiB that programs can have.
    pub available_mib: u64,
    /// Processes that the kernel ended for want of memory since boot.
    pub oom_kills: Option<u64>,
}

/// An address that was asked.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Reach {
    /// `platform`, `registry`, `mirror` or `login`.
    pub what: String,
    /// The address.
    pub url: String,
    /// Whether it answered.
    pub ok: bool,
    /// What it said, or why it did not.
    pub says: String,
    /// Seconds that the host is ahead of it.
    pub skew_s: Option<f64>,
}

/// The disk guard.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Guard {
    /// Whether its timer is known.
    pub loaded: Option<String>,
    /// Whether its timer runs.
    pub active: Option<String>,
    /// Whether its timer starts with the host.
    pub enabled: Option<String>,
    /// How its last run ended.
    pub result: Option<String>,
    /// What it says of the disk.
    pub health: Option<Health>,
    /// Why it says nothing.
    pub why: Option<String>,
}

/// What the disk guard says.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Health {
    /// Whether it could free enough.
    pub healthy: Option<bool>,
    /// Why not.
    pub why: Option<String>,
    /// Whether it keeps the runner from taking jobs until there is room.
    pub paused: Option<bool>,
    /// Bytes that it freed.
    pub freed_bytes: Option<f64>,
    /// Seconds since it said so.
    pub age_s: Option<u64>,
}

/// The CloudWatch agent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct MetricsAgent {
    /// Whether it is there.
    pub installed: bool,
    /// Whether our configuration is.
    pub configured: bool,
    /// State of its unit.
    pub active: Option<String>,
    /// How it ended.
    pub result: Option<String>,
}

/// A reboot that updates wait for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Reboot {
    /// Whether there is one.
    pub required: bool,
    /// Seconds since then.
    pub age_s: Option<u64>,
    /// Packages that want it.
    pub packages: Vec<String>,
    /// The timer that lets it happen while no job runs.
    pub window: Timer,
}

/// A timer of systemd.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Timer {
    /// Whether it is known.
    pub loaded: Option<String>,
    /// Whether it runs.
    pub active: Option<String>,
    /// Whether it starts with the host.
    pub enabled: Option<String>,
}

/// The runner's container.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Container {
    /// Whether it is there.
    pub exists: bool,
    /// Whether it runs.
    pub running: bool,
    /// `running`, `exited`, `restarting` and others.
    pub status: Option<String>,
    /// Exit code of its last end.
    pub exit_code: Option<i64>,
    /// Whether it was ended for want of memory.
    pub oom_killed: bool,
    /// Why it could not start.
    pub error: String,
    /// Restarts by the restart policy.
    pub restarts: u64,
    /// The restart policy.
    pub policy: String,
    /// Seconds since it started.
    pub up_s: Option<i64>,
    /// Image by name.
    pub image: Option<String>,
    /// Image by digest.
    pub image_id: Option<String>,
}

/// The image of the runner.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Image {
    /// Whether it is on the host.
    pub exists: bool,
    /// Its digest.
    pub id: Option<String>,
    /// When it was built, RFC 3339.
    pub created: Option<String>,
    /// Digest of what the planned name means on the host now.
    pub tagged_id: Option<String>,
}

/// `config.toml`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Whether it is there.
    pub exists: bool,
    /// Who may read it, in octal.
    pub mode: String,
    /// Whether it is TOML.
    pub valid: bool,
    /// Why not.
    pub error: Option<String>,
    /// Settings at the top.
    pub top: Value,
    /// Its runners.
    pub runners: Vec<Registered>,
}

/// A runner in `config.toml`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Registered {
    /// Its name.
    pub name: String,
    /// Address of the platform.
    pub url: String,
    /// Number on the platform.
    pub id: Option<u64>,
    /// Jobs at a time; 0: as many as there are.
    pub limit: Value,
    /// How jobs run.
    pub executor: String,
    /// `authentication`, `registration`, `registration-token` or `none`.
    pub token_kind: String,
    /// When the token ends.
    pub expires_at: String,
    /// Volumes of jobs.
    pub volumes: Vec<String>,
    /// Pull policies.
    pub pull_policy: Vec<String>,
    /// Whether jobs are privileged.
    pub privileged: bool,
}

/// What `verify` said.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Verify {
    /// Whether the token is good.
    pub ok: bool,
    /// The last lines.
    pub says: Vec<String>,
}

/// What the log says of asking for jobs.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Polling {
    /// Lines in the last hour.
    pub lines: u64,
    /// Questions that failed.
    pub failed: u64,
    /// The last of them.
    pub last_failed: Option<String>,
    /// Whether a question has gone well since.
    pub over: bool,
    /// Other errors of the last minutes that are not a job's.
    pub errors: Vec<String>,
    /// That Docker refuses the runner's client.
    pub too_old: Option<String>,
    /// Answers to questions for jobs by status, since the runner started.
    pub requests: std::collections::BTreeMap<String, u64>,
}

/// What the program is asked: how long each fact may take, and what the host shall be.
pub fn question(limit: u64, told: Option<&Told>) -> Value {
    let mut asked = json!({ "limit": limit });
    if let Some(told) = told {
        asked["wanted"] = json!({ "agent": told.agent, "url": told.url });
        if let Some(image) = &told.image {
            asked["wanted"]["image"] = image.as_str().into();
        }
        if let Some(settings) = &told.settings {
            asked["wanted"]["settings"] = settings.clone();
        }
    }
    asked
}

/// Returns a script for a shell that runs the program.
pub fn script(question: &Value) -> String {
    let argument = question.to_string().replace('\'', r"'\''");
    format!("exec python3 - '{argument}' <<'FACTS'\n{PROGRAM}FACTS\n")
}

/// Reads the answer, the last line of the output.
///
/// # Errors
///
/// It is no answer of the program, in a sentence.
pub fn read(output: &str) -> Result<HostFacts, String> {
    let line = output.lines().rev().find(|line| !line.trim().is_empty());
    let Some(line) = line else {
        return Err("the host ran the checks and said nothing".to_owned());
    };
    let value: Value = serde_json::from_str(line).map_err(|_| {
        let begin: String = line.chars().filter(|c| !c.is_control()).take(120).collect();
        format!("the host did not answer with facts but with: {begin}")
    })?;
    if value["schema"] != SCHEMA {
        return Err(format!(
            "the host answered with facts of another kind: {}",
            value["schema"]
        ));
    }
    serde_json::from_value(value["facts"].clone())
        .map_err(|error| format!("the facts cannot be read: {error}"))
}
