//! A checked workload profile: what runs, how it arrives, what it may wait.
//!
//! The values here are already in range; `parse` turns YAML into them, `fields` is the one table of keys,
//! ranges, defaults and provenance that parsing, the JSON Schema and the printed assumptions share. `node` is the
//! only file that knows the YAML parser; `write` goes the other way.

mod builtin;
pub mod fields;
pub(in crate::domain) mod node;
mod parse;
pub(in crate::domain) mod problem;
mod quantity;
mod schema;
mod suggest;
mod value;
mod write;

pub use builtin::{builtin, builtin_names, builtin_yaml};
pub use fields::{Basis, Field};
pub use node::{MAX_BYTES, MAX_DEPTH, MAX_NODES};
pub use parse::{parse, parse_bytes};
pub use problem::{Problem, ProfileErrors};
pub use schema::json_schema;
pub use suggest::nearest;
pub use write::{json, shown, to_yaml, to_yaml_with};

/// A profile and where each of its values comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The profile.
    pub profile: Profile,
    /// Every value with its basis, in the order of the file format.
    pub assumptions: Vec<Assumption>,
}

/// A value that an answer rests on.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Assumption {
    /// The full key, such as `arrivals.pipelines_per_weekday`.
    pub key: String,
    /// The value as a person reads it.
    pub value: String,
    /// The unit of the value; empty for shares and words.
    pub unit: String,
    /// Where the value comes from.
    pub basis: Basis,
    /// The page, the reasoning, or `file:line` of the user's own file.
    pub source: String,
}

/// Where the runner lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// One or more EC2 hosts with the Docker executor.
    Ec2,
    /// A managed node group with the Kubernetes executor.
    Eks,
}

/// Over which hours the wait objective is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// All jobs of the week count alike.
    AllHours,
    /// The hour of the weekday with the largest share of late jobs must meet the objective on its own.
    WorstHour,
}

/// Shape of job durations; every shape keeps the mean or the 90th percentile that the profile names.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// 90th percentile of the duration, seconds on the reference thread.
    pub duration_p90_s: f64,
    /// Standard deviation of the log of the duration.
    pub duration_sigma: f64,
    /// Share of the log-variance that jobs of one pipeline have in common, 0 to 1.
    pub duration_icc: f64,
    /// Longest possible duration in seconds; longer ones are cut.
    pub timeout_s: f64,
    /// CPU seconds every job needs at start, on the reference thread.
    pub cpu_fixed_s: f64,
    /// CPU seconds for each second of duration.
    pub cpu_per_s: f64,
    /// Median of a job's resident memory, MiB (lognormal).
    pub rss_median_mib: f64,
    /// Standard deviation of the log of resident memory.
    pub rss_sigma: f64,
}

/// A known gathering of pipelines, such as a workshop, on every weekday.
#[derive(Clone, Debug, PartialEq)]
pub struct Burst {
    /// Hour of the day, 0 to 23.
    pub hour: u32,
    /// Pipelines that start in the window.
    pub pipelines: u32,
    /// Length of the window in seconds, from the start of the hour.
    pub window_s: f64,
}

/// How pipelines arrive over the week. A week starts on Monday 00:00 local time.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrivals {
    /// Mean number of pipelines on a weekday, bursts not counted.
    pub pipelines_per_weekday: f64,
    /// Interactive pipelines of a weekend day relative to a weekday.
    pub weekend_factor: f64,
    /// Share of a weekday's pipelines that a schedule starts.
    pub scheduled_share: f64,
    /// Scheduled pipelines of a weekend day relative to a weekday.
    pub scheduled_weekend_factor: f64,
    /// Schedules fire at multiples of this many minutes; divides 60.
    pub schedule_grid_minutes: u32,
    /// Scheduled pipelines start up to this many seconds after the grid point, uniformly.
    pub schedule_jitter_s: f64,
    /// Relative weights of the 24 hours for interactive pipelines.
    pub hours_interactive: [f64; 24],
    /// Relative weights of the 24 hours for scheduled pipelines.
    pub hours_scheduled: [f64; 24],
    /// Gatherings on every weekday, on top of the above.
    pub bursts: Vec<Burst>,
}

/// Jobs of a pipeline and how they follow each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    /// Mean number of jobs in a pipeline, at least 1.
    pub jobs_mean: f64,
    /// Coefficient of variation of that number.
    pub jobs_cv: f64,
    /// Mean number of jobs in a stage before the cut at the jobs left, at least 1.
    pub stage_width: f64,
    /// Seconds from the end of a stage until the next one is pending.
    pub stage_gap_s: f64,
}

/// How the runner asks for work.
#[derive(Clone, Debug, PartialEq)]
pub struct Runner {
    /// The documented `concurrent`; a reference for the report, the solver decides.
    pub concurrent: u32,
    /// Seconds between polls when idle.
    pub check_interval_s: f64,
    /// Fixed extra seconds before a job is picked up, for platforms whose long polling delays it.
    pub pickup_delay_s: f64,
}

/// What a host gives to jobs.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// Share of the nominal memory that the kernel reports as MemTotal.
    pub memtotal_share: f64,
    /// MiB used by the system, the container engine, the runner and the agent.
    pub overhead_mib: f64,
    /// Share of MemTotal left for the page cache.
    pub memory_headroom: f64,
    /// Work of two busy threads of a core relative to one.
    pub smt_yield: f64,
    /// Hardware threads that the vendor's installation page asks for; binding with `--strict-minimums` only.
    pub minimum_vcpus: u32,
    /// GiB of memory that the vendor's installation page asks for; binding with `--strict-minimums` only.
    pub minimum_memory_gib: f64,
    /// Family whose thread durations are measured on.
    pub reference_thread: String,
    /// Thread speeds by family that replace the catalog's, in c5 threads.
    pub thread_speeds: Vec<(String, f64)>,
}

/// What fills the disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Disk {
    /// GiB of the system and the engine.
    pub base_gib: f64,
    /// Distinct job images in use.
    pub images: f64,
    /// Unpacked size of an image in GiB.
    pub image_gib: f64,
    /// Share of an image that is in base layers common to all.
    pub image_shared: f64,
    /// Mean days until a tag points at a new digest.
    pub rebuild_days: f64,
    /// Mean days between releases that replace all images at once.
    pub release_wave_days: f64,
    /// MiB each job leaves behind.
    pub leftover_mib_per_job: f64,
    /// Projects with a cache volume for each slot.
    pub projects: f64,
    /// GiB of a full cache volume.
    pub cache_gib_per_slot: f64,
    /// Days in which a cache volume fills to 1 - 1/e.
    pub cache_fill_days: f64,
    /// GiB of journal a day, capped at `journal_cap_gib`.
    pub journal_gib_per_day: f64,
    /// Cap of the journal in GiB.
    pub journal_cap_gib: f64,
    /// Days the host must survive without any clean-up.
    pub unattended_days: f64,
}

/// What the workload may suffer.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    /// Wait in seconds that at most `1 - wait_quantile` of the jobs may exceed.
    pub wait_s: f64,
    /// Share of the jobs that must wait no longer than `wait_s`.
    pub wait_quantile: f64,
    /// Mean pipeline time relative to unlimited slots on the reference thread.
    pub pipeline_slowdown: f64,
    /// Hours over which the wait is judged.
    pub scope: Scope,
    /// Smallest node group (EKS only).
    pub min_nodes: u32,
}

/// Requests of a job pod and the behaviour of the cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Kubernetes {
    /// CPU request of a job pod (build and helper), thousandths of a CPU.
    pub cpu_request_m: f64,
    /// Memory request of a job pod, MiB.
    pub memory_request_mib: f64,
    /// CPU requests of system pods and agents on a node, thousandths of a CPU.
    pub system_cpu_m: f64,
    /// Memory requests of system pods and agents on a node, MiB.
    pub system_memory_mib: f64,
    /// System pods on a node.
    pub system_pods: u32,
    /// Seconds between two looks of the node autoscaler.
    pub scan_s: f64,
    /// Seconds from the request for a node until it is ready.
    pub node_ready_s: f64,
    /// Seconds an empty node stays before it is removed.
    pub idle_s: f64,
    /// Seconds to start a job pod.
    pub pod_start_s: f64,
    /// Extra seconds for the first pod on a new node (image pull).
    pub first_pod_s: f64,
}

/// A workload, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Name shown in the answer.
    pub name: String,
    /// One line about the workload.
    pub description: String,
    /// Target when the command line names none.
    pub target: Target,
    /// How pipelines arrive.
    pub arrivals: Arrivals,
    /// What a pipeline is made of.
    pub pipeline: Pipeline,
    /// What a job needs.
    pub job: Job,
    /// How the runner asks for work.
    pub runner: Runner,
    /// What a host gives.
    pub host: Host,
    /// What fills the disk.
    pub disk: Disk,
    /// What may be suffered.
    pub slo: Slo,
    /// Pods and nodes (EKS only).
    pub kubernetes: Kubernetes,
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    clippy::format_collect,
    clippy::format_push_string,
    reason = "hostile input is made up in one line each, and timed"
)]
mod tests;
