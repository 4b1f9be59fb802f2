//! One arrangement in full: what `simulate` shows, with as many replications as asked for.

use super::evaluate::{CONFIRMED, Evaluation, Evaluator, Layout, Shape};
use super::search::{Question, SLOTS, slots_cap};
use crate::domain::catalog::InstanceType;
use crate::domain::parallel::map;
use crate::domain::simulation::record::Full;
use crate::domain::simulation::replay::Workspace;
use crate::domain::simulation::statistics::Estimate;
use crate::domain::workload::Trace;

/// Replications behind each row of the sweep.
pub const SWEPT: usize = 10;

/// Hosts or nodes of a type.
#[derive(Clone, Copy, Debug)]
pub struct Arrangement<'a> {
    /// The type.
    pub instance: &'a InstanceType,
    /// Its threads.
    pub shape: Shape,
    /// How many and with how many slots.
    pub layout: Layout,
}

/// A row of the sweep: waits against the number of slots (EC2) or the largest number of nodes (EKS).
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The arrangement.
    pub layout: Layout,
    /// Whether memory holds so many jobs on a host.
    pub fits: bool,
    /// Figures with intervals.
    pub evaluation: Evaluation,
    /// All replications together.
    pub record: Full,
}

/// One replication.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Replication {
    /// Jobs.
    pub jobs: u64,
    /// Share of late jobs.
    pub late_share: f64,
    /// Mean wait, seconds.
    pub wait_mean: f64,
    /// 95th percentile of the wait, seconds.
    pub wait_p95: f64,
    /// Mean pipeline time relative to the ideal.
    pub slowdown: f64,
    /// Mean number of hosts or nodes.
    pub nodes: f64,
}

/// How well the laws of queueing hold; all but rounding would be a defect.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Laws {
    /// Largest relative difference between the queue's integral and the sum of the waits (Little's law).
    pub little: f64,
    /// Jobs that started before they were ready or overtook another.
    pub violations: u64,
    /// Most slots busy at once.
    pub peak: usize,
    /// Slots there are.
    pub slots: u32,
    /// Jobs that never ended.
    pub lost: u64,
}

/// Many replications together.
#[derive(Clone, Debug)]
pub struct Study {
    /// Each replication.
    pub replications: Vec<Replication>,
    /// All together.
    pub record: Full,
    /// The laws.
    pub laws: Laws,
    /// Weeks of each.
    pub weeks: u32,
}

impl Study {
    /// Returns the mean of a figure over the replications, with its interval.
    pub fn estimate(&self, figure: impl Fn(&Replication) -> f64) -> Estimate {
        Estimate::of(&self.replications.iter().map(figure).collect::<Vec<_>>())
    }
}

/// Replays so many replications of an arrangement; memory does not grow with their number.
///
/// `progress` is told after each batch how many are done.
pub fn study(
    question: &Question<'_>,
    arrangement: &Arrangement<'_>,
    replications: usize,
    weeks: Option<u32>,
    progress: &dyn Fn(usize),
) -> Study {
    let mut evaluator = Evaluator::new(question.profile, question.seed, question.threads);
    let weeks = weeks.unwrap_or(evaluator.weeks());
    let table = evaluator.table(arrangement.shape, arrangement.layout.per_host());
    let limit = question.profile.slo.wait_s;
    let mut study = Study {
        replications: Vec::with_capacity(replications),
        record: Full::new(limit),
        laws: Laws {
            slots: arrangement.layout.most(),
            ..Laws::default()
        },
        weeks,
    };
    let batch = question.threads.max(1) * 4;
    while study.replications.len() < replications {
        let done = study.replications.len();
        let more = map(
            question.threads,
            batch.min(replications - done),
            Workspace::default,
            |space, index| {
                let trace = Trace::generate(question.profile, weeks, question.seed, (done + index) as u64);
                let mut record = Full::new(limit);
                let nodes = evaluator.replay(
                    &trace,
                    arrangement.shape,
                    arrangement.layout,
                    &table,
                    space,
                    &mut record,
                );
                let ideal = trace.ideal(|_, _, _, _| {});
                let pickups: f64 = trace.pickup.iter().map(|pickup| f64::from(*pickup)).sum();
                let jobs = record.tally.jobs.max(1) as f64;
                let replication = Replication {
                    jobs: record.tally.jobs,
                    late_share: record.tally.late_share(),
                    wait_mean: record.tally.waits / jobs,
                    wait_p95: record.waits.quantile(0.95),
                    slowdown: if ideal > 0.0 {
                        record.tally.pipeline_time / ideal
                    } else {
                        1.0
                    },
                    nodes,
                };
                // On EKS a wait also holds the start of the pod, which is no queueing.
                let queued = match arrangement.layout {
                    Layout::Hosts { .. } => record.tally.waits - pickups,
                    Layout::Nodes { .. } => record.queue_time,
                };
                let little = (record.queue_time - queued).abs() / record.tally.waits.max(1.0);
                (replication, record, little, trace.jobs() as u64)
            },
        );
        for (replication, record, little, jobs) in more {
            study.laws.little = study.laws.little.max(little);
            study.laws.violations += record.violations;
            study.laws.peak = study.laws.peak.max(record.peak);
            study.laws.lost += jobs - replication.jobs;
            study.replications.push(replication);
            study.record.merge(&record);
        }
        progress(study.replications.len());
    }
    study
}

/// Returns waits against the number of slots, or of nodes, around an arrangement whose own record is known.
pub fn sweep(
    question: &Question<'_>,
    arrangement: &Arrangement<'_>,
    known: &Full,
    evaluator: &mut Evaluator<'_>,
) -> Vec<Sweep> {
    let layouts: Vec<Layout> = match arrangement.layout {
        Layout::Hosts { count, slots } => {
            let mut rows: Vec<u32> = SLOTS
                .into_iter()
                .chain([slots])
                .filter(|row| *row * 2 >= slots && *row <= slots * 2)
                .collect();
            rows.sort_unstable();
            rows.dedup();
            rows.into_iter()
                .map(|slots| Layout::Hosts { count, slots })
                .collect()
        }
        Layout::Nodes { min, max, pods } => (min..=max + 2)
            .map(|max| Layout::Nodes { min, max, pods })
            .collect(),
    };
    let cap = slots_cap(question.profile, question.target, arrangement.instance);
    layouts
        .into_iter()
        .map(|layout| {
            let own = layout == arrangement.layout;
            let record = if own {
                known.clone()
            } else {
                evaluator.record(arrangement.shape, layout, SWEPT).0
            };
            let replications = if own { CONFIRMED } else { SWEPT };
            Sweep {
                layout,
                fits: layout.per_host() <= cap,
                evaluation: evaluator.evaluate(arrangement.shape, layout, replications),
                record,
            }
        })
        .collect()
}
