//! What `simulate` answers: one arrangement by hour, by concurrency, by replication, and its disk; or a textbook queue.

use serde::Serialize;

use super::prediction::{
    DiskRow, HourRow, QueueWait, SweepRow, disk_rows, hour_rows, round, sweep, weeks_recorded,
};
use crate::domain::disk::{DiskFill, LAST_DAY};
use crate::domain::profile::Target;
use crate::domain::simulation::statistics::Estimate;
use crate::domain::simulation::textbook::{Exact, Experiment, Observation};
use crate::domain::sizing::evaluate::Layout;
use crate::domain::sizing::search::Question;
use crate::domain::sizing::study::{Arrangement, Study, Sweep};

/// The schema's name.
pub const SCHEMA: &str = "dataops-infra/simulation/v1";
/// The schema's name for textbook queues.
pub const QUEUE_SCHEMA: &str = "dataops-infra/queue/v1";
/// Days between two rows of the disk's fan.
const FAN_STEP: u32 = 7;
/// Rows of the disk's fan.
const FAN_ROWS: u32 = 14;

/// A mean with its 95 % interval.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Mean {
    /// The mean over the replications.
    pub mean: f64,
    /// Half of the interval; null with one replication.
    pub half_width: Option<f64>,
}

impl Mean {
    /// Rounds an estimate.
    pub fn of(estimate: Estimate, digits: i32) -> Self {
        Self {
            mean: round(estimate.mean, digits),
            half_width: estimate
                .half_width
                .is_finite()
                .then(|| round(estimate.half_width, digits)),
        }
    }
}

/// One arrangement in full.
#[derive(Clone, Debug, Serialize)]
pub struct SimulationDocument {
    /// `dataops-infra/simulation/v1`.
    pub schema: &'static str,
    /// Program and version.
    pub generated_by: String,
    /// What was simulated.
    pub inputs: Simulated,
    /// Wait of a job, seconds.
    pub queue_wait_seconds: QueueWait,
    /// Mean wait with its interval, seconds.
    pub wait_mean: Mean,
    /// Share of late jobs.
    pub late_share: Mean,
    /// Pipeline time relative to the ideal.
    pub slowdown: Mean,
    /// Mean number of hosts or nodes.
    pub nodes: Mean,
    /// Jobs simulated.
    pub jobs: u64,
    /// Pipelines simulated.
    pub pipelines: u64,
    /// Mean busy slots.
    pub busy_slots_mean: f64,
    /// By hour of the weekday.
    pub hours: Vec<HourRow>,
    /// By hour of the week, Monday 00 h first.
    pub week: Week,
    /// Wait against concurrency or nodes.
    pub sweep: Vec<SweepRow>,
    /// Days until disks are full.
    pub disk: Vec<DiskRow>,
    /// Used GiB over the days.
    pub disk_fan: Vec<FanRow>,
    /// Each replication.
    pub replications: Vec<ReplicationRow>,
    /// How well the laws of queueing hold.
    pub laws: LawsRow,
}

/// What was simulated.
#[derive(Clone, Debug, Serialize)]
pub struct Simulated {
    /// Name of the workload.
    pub workload: String,
    /// Target.
    pub target: Target,
    /// Type.
    pub instance_type: String,
    /// Hosts or the smallest number of nodes.
    pub count: u32,
    /// Largest number of nodes (EKS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_nodes: Option<u32>,
    /// Jobs at once on each.
    pub concurrency: u32,
    /// Threads of each.
    pub vcpus: u32,
    /// Speed of a thread relative to the reference.
    pub thread_speed: f64,
    /// Wait that makes a job late, seconds.
    pub wait_seconds: f64,
    /// Replications.
    pub replications: usize,
    /// Weeks of each.
    pub weeks: u32,
    /// Seed.
    pub seed: u64,
}

/// Figures of the 168 hours.
#[derive(Clone, Debug, Serialize)]
pub struct Week {
    /// Jobs in the hour.
    pub jobs: Vec<f64>,
    /// Mean busy slots.
    pub busy_slots: Vec<f64>,
    /// Share of late jobs.
    pub late_share: Vec<f64>,
}

/// Used GiB at the end of a day.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct FanRow {
    /// The day.
    pub day: u32,
    /// One host in twenty uses less.
    pub p5: f64,
    /// Half of the hosts.
    pub p50: f64,
    /// One host in twenty uses more.
    pub p95: f64,
}

/// One replication.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ReplicationRow {
    /// Its number; with the seed it fixes every random number.
    pub replication: usize,
    /// Jobs.
    pub jobs: u64,
    /// Share of late jobs.
    pub late_share: f64,
    /// Mean wait, seconds.
    pub wait_mean: f64,
    /// 95th percentile of the wait, seconds.
    pub wait_p95: f64,
    /// Pipeline time relative to the ideal.
    pub slowdown: f64,
}

/// How well the laws of queueing hold.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LawsRow {
    /// Largest relative residual of Little's law for the queue.
    pub little_residual: f64,
    /// Jobs that started before they were ready or out of order.
    pub order_violations: u64,
    /// Most slots busy at once.
    pub peak_slots: usize,
    /// Slots there are.
    pub slots: u32,
    /// Jobs that never ended.
    pub lost_jobs: u64,
    /// Whether all of them hold.
    pub hold: bool,
}

impl SimulationDocument {
    /// Sets down a study with its sweep and the fill of its disk.
    pub fn new(
        question: &Question<'_>,
        arrangement: &Arrangement<'_>,
        study: &Study,
        rows: &[Sweep],
        (disk_gib, fill): (u32, &DiskFill),
    ) -> Self {
        let record = &study.record;
        let weeks = weeks_recorded(record);
        let (count, max_nodes) = match arrangement.layout {
            Layout::Hosts { count, .. } => (count, None),
            Layout::Nodes { min, max, .. } => (min, Some(max)),
        };
        let p95 = study.estimate(|replication| replication.wait_p95);
        let laws = study.laws;
        let jobs = record.tally.jobs.max(1) as f64;
        Self {
            schema: SCHEMA,
            generated_by: concat!("dataops-infra ", env!("CARGO_PKG_VERSION")).to_owned(),
            inputs: Simulated {
                workload: question.profile.name.clone(),
                target: question.target,
                instance_type: arrangement.instance.name.clone(),
                count,
                max_nodes,
                concurrency: arrangement.layout.per_host(),
                vcpus: arrangement.shape.vcpus,
                thread_speed: round(arrangement.shape.speed, 4),
                wait_seconds: question.profile.slo.wait_s,
                replications: study.replications.len(),
                weeks: study.weeks,
                seed: question.seed,
            },
            queue_wait_seconds: QueueWait {
                p50: round(record.waits.quantile(0.5), 2),
                p95: round(record.waits.quantile(0.95), 1),
                p99: round(record.waits.quantile(0.99), 1),
                mean: round(record.tally.waits / jobs, 3),
                ci95_p95: [
                    round(p95.lower().max(0.0), 1),
                    round(
                        if p95.upper().is_finite() {
                            p95.upper()
                        } else {
                            p95.mean
                        },
                        1,
                    ),
                ],
            },
            wait_mean: Mean::of(study.estimate(|replication| replication.wait_mean), 3),
            late_share: Mean::of(study.estimate(|replication| replication.late_share), 5),
            slowdown: Mean::of(study.estimate(|replication| replication.slowdown), 4),
            nodes: Mean::of(study.estimate(|replication| replication.nodes), 3),
            jobs: record.tally.jobs,
            pipelines: record.pipelines.count(),
            busy_slots_mean: round(record.busy_integral / record.end.max(1.0), 3),
            hours: hour_rows(record),
            week: Week {
                jobs: record
                    .weekly
                    .jobs
                    .iter()
                    .map(|jobs| round(*jobs as f64 / weeks, 1))
                    .collect(),
                busy_slots: record
                    .weekly
                    .busy
                    .iter()
                    .map(|busy| round(busy / weeks / 3600.0, 2))
                    .collect(),
                late_share: (0..168)
                    .map(|hour| {
                        let jobs = record.weekly.jobs[hour].max(1) as f64;
                        round(record.weekly.late[hour] as f64 / jobs, 4)
                    })
                    .collect(),
            },
            sweep: sweep(rows, arrangement.layout),
            disk: disk_rows(question, disk_gib, fill),
            disk_fan: (1..=FAN_ROWS)
                .map(|row| (row * FAN_STEP).min(LAST_DAY))
                .map(|day| {
                    let [p5, p50, p95] = fill.used_on(day).map(|gib| round(gib, 1));
                    FanRow { day, p5, p50, p95 }
                })
                .collect(),
            replications: study
                .replications
                .iter()
                .enumerate()
                .map(|(number, replication)| ReplicationRow {
                    replication: number,
                    jobs: replication.jobs,
                    late_share: round(replication.late_share, 5),
                    wait_mean: round(replication.wait_mean, 3),
                    wait_p95: round(replication.wait_p95, 1),
                    slowdown: round(replication.slowdown, 4),
                })
                .collect(),
            laws: LawsRow {
                little_residual: round(laws.little, 9),
                order_violations: laws.violations,
                peak_slots: laws.peak,
                slots: laws.slots,
                lost_jobs: laws.lost,
                hold: laws.little < 1e-3
                    && laws.violations == 0
                    && laws.lost == 0
                    && laws.peak <= laws.slots as usize,
            },
        }
    }
}

/// A textbook queue, simulated and exact.
#[derive(Clone, Debug, Serialize)]
pub struct QueueDocument {
    /// `dataops-infra/queue/v1`.
    pub schema: &'static str,
    /// Program and version.
    pub generated_by: String,
    /// The queue in Kendall's notation.
    pub queue: String,
    /// Offered load, erlangs.
    pub load: f64,
    /// Load of each server; null for unlimited ones.
    pub utilization: Option<f64>,
    /// Threads and CPU share of the contention model, if asked for.
    pub contention: Option<Contention>,
    /// Jobs of a run.
    pub jobs: u64,
    /// Runs.
    pub runs: u64,
    /// Seed.
    pub seed: u64,
    /// Figures in mean service times.
    pub figures: Vec<Figure>,
    /// Allen-Cunneen estimate of the mean wait of M/G/c.
    pub allen_cunneen: Option<f64>,
    /// Lower and upper bound of the mean wait of M/G/c.
    pub bounds: Option<[f64; 2]>,
}

/// The contention model.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Contention {
    /// Threads.
    pub vcpus: u32,
    /// Threads of a core.
    pub threads_per_core: u32,
    /// Work of two threads of a core relative to one.
    pub smt_yield: f64,
    /// CPU share of a job.
    pub cpu_share: f64,
}

/// A simulated figure beside its closed form.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// Which.
    pub name: &'static str,
    /// Simulated mean.
    pub simulated: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Closed form, where there is one.
    pub exact: Option<f64>,
    /// Difference in standard errors.
    pub deviations: Option<f64>,
}

impl QueueDocument {
    /// Sets down an experiment.
    pub fn new(experiment: &Experiment, observed: &Observation, exact: &Exact) -> Self {
        let runs = experiment.runs as usize;
        let number = exact.sojourn.map(|sojourn| sojourn * experiment.load);
        let figure = |name, estimate: Estimate, exact: Option<f64>| {
            let error = estimate.standard_error(runs);
            Figure {
                name,
                simulated: round(estimate.mean, 7),
                standard_error: if error.is_finite() { round(error, 7) } else { 0.0 },
                exact: exact
                    .filter(|value| value.is_finite())
                    .map(|value| round(value, 10)),
                deviations: exact
                    .filter(|value| error > 0.0 && error.is_finite() && value.is_finite())
                    .map(|value| round((estimate.mean - value) / error, 2)),
            }
        };
        Self {
            schema: QUEUE_SCHEMA,
            generated_by: concat!("dataops-infra ", env!("CARGO_PKG_VERSION")).to_owned(),
            queue: experiment.queue.to_string(),
            load: experiment.load,
            utilization: experiment
                .queue
                .servers
                .map(|servers| round(experiment.load / f64::from(servers), 6)),
            contention: experiment.contention.map(|(processor, cpu_share)| Contention {
                vcpus: processor.vcpus,
                threads_per_core: processor.threads_per_core,
                smt_yield: processor.smt_yield,
                cpu_share,
            }),
            jobs: experiment.jobs,
            runs: experiment.runs,
            seed: experiment.seed,
            figures: vec![
                figure("mean wait", observed.wait, exact.wait),
                figure("95 % wait", observed.wait_p95, exact.wait_p95),
                figure("share that waits", observed.waiting, exact.waiting),
                figure("mean sojourn", observed.sojourn, exact.sojourn),
                figure("mean number in system", observed.number, number),
            ],
            allen_cunneen: exact.allen_cunneen.map(|wait| round(wait, 9)),
            bounds: exact.bounds.map(|(low, high)| [round(low, 9), round(high, 9)]),
        }
    }
}
