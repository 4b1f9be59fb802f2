//! One arrangement of hosts judged against the objectives, with as many replications as the answer needs.
//!
//! All arrangements replay the same traces (common random numbers), and what has been replayed is remembered:
//! types that differ in name only cost nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use crate::domain::contention::{Processor, ProgressTable};
use crate::domain::parallel::map;
use crate::domain::profile::{Profile, Scope};
use crate::domain::simulation::cluster::{NodeGroup, replay_nodes};
use crate::domain::simulation::onepass::OnePass;
use crate::domain::simulation::record::{Full, HourlyTally, Tally};
use crate::domain::simulation::replay::{Fleet, Recorder, Workspace, replay};
use crate::domain::simulation::statistics::Estimate;
use crate::domain::workload::{Trace, WEEK, hourly_pipelines, mean_duration};

/// Numbers of replications at which the sequential test looks.
pub const LOOKS: [usize; 4] = [5, 10, 20, 40];
/// Replications from which on an arrangement may be accepted.
pub const CONFIRMED: usize = 20;
/// The same for a coarse evaluator.
const COARSE: [usize; 1] = [3];
/// Weeks of a replication when the load allows it.
const WEEKS: u32 = 4;
/// Jobs of a replication beyond which it is shortened, down to one week.
///
/// The relative noise falls with the number of jobs, so a heavy load needs fewer weeks.
const JOBS_PER_REPLICATION: f64 = 80_000.0;
/// The same for a coarse evaluator.
const COARSE_JOBS: f64 = 40_000.0;
/// Full records in memory at once.
const AT_ONCE: usize = 5;
/// Jobs kept in memory over all replications; the rest is generated again when needed.
const JOBS_KEPT: f64 = 2_500_000.0;
/// Jobs in one week beyond which nothing is simulated: a quarter of what the vendor's whole platform ran in June 2024
/// (1.9 million in the month), and the answer would take minutes to say what arithmetic says.
pub const MOST_JOBS_PER_WEEK: f64 = 120_000.0;

/// The threads of a host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Hardware threads.
    pub vcpus: u32,
    /// Threads of a core.
    pub threads_per_core: u32,
    /// Speed of a thread relative to the profile's reference thread.
    pub speed: f64,
}

/// How slots are arranged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layout {
    /// Hosts with a fixed number of slots each.
    Hosts {
        /// Number of hosts.
        count: u32,
        /// Jobs at once on each.
        slots: u32,
    },
    /// A node group that grows and shrinks.
    Nodes {
        /// Smallest number of nodes.
        min: u32,
        /// Largest number of nodes.
        max: u32,
        /// Job pods on each.
        pods: u32,
    },
}

impl Layout {
    /// Returns the most jobs at once.
    pub fn most(self) -> u32 {
        match self {
            Self::Hosts { count, slots } => count * slots,
            Self::Nodes { max, pods, .. } => max * pods,
        }
    }

    /// Returns the hosts, or the smallest number of nodes.
    pub fn count(self) -> u32 {
        match self {
            Self::Hosts { count, .. } => count,
            Self::Nodes { min, .. } => min,
        }
    }

    /// Returns the jobs at once on one host or node.
    pub fn per_host(self) -> u32 {
        match self {
            Self::Hosts { slots, .. } => slots,
            Self::Nodes { pods, .. } => pods,
        }
    }
}

/// Result of one replication.
#[derive(Clone, Debug)]
struct Sample {
    late: f64,
    noticed: f64,
    wait: f64,
    slowdown: f64,
    nodes: f64,
    /// Jobs and late jobs by hour of the weekday; for the worst-hour objective only.
    hours: Option<Box<[(u64, u64); 24]>>,
}

/// Sums over traces, seconds.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    cpu: f64,
    work: f64,
    time: f64,
}

/// How an arrangement stands against the objectives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Both upper limits are within the objectives.
    Meets,
    /// The share of late jobs is too large.
    Late,
    /// Pipelines take too long.
    Slow,
    /// Both.
    LateAndSlow,
    /// Forty replications do not separate it from an objective.
    Borderline,
}

/// An arrangement with its figures.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// The arrangement.
    pub layout: Layout,
    /// Replications behind the figures.
    pub replications: usize,
    /// Share of jobs that wait longer than the objective, over the hours that the objective names.
    pub late: Estimate,
    /// Mean pipeline time relative to unlimited slots on the reference thread.
    pub slowdown: Estimate,
    /// Mean wait in seconds.
    pub wait: Estimate,
    /// Share of jobs that wait longer than anybody would notice.
    pub noticed: f64,
    /// Mean number of hosts or nodes.
    pub nodes: Estimate,
    /// The hour that was judged, for the worst-hour objective.
    pub worst_hour: Option<usize>,
    /// The verdict.
    pub standing: Standing,
}

/// Replays a workload against arrangements and remembers the results.
pub struct Evaluator<'a> {
    profile: &'a Profile,
    seed: u64,
    threads: usize,
    looks: &'static [usize],
    weeks: u32,
    traces: Vec<OnceLock<Trace>>,
    totals: OnceLock<Totals>,
    ideals: Vec<OnceLock<f64>>,
    onepass: Vec<OnceLock<OnePass>>,
    seen: BTreeMap<(u32, u32, u64, Layout), Vec<Sample>>,
    tables: BTreeMap<(u32, u32), (u32, Arc<ProgressTable>)>,
}

impl<'a> Evaluator<'a> {
    /// Prepares the replications of a workload.
    pub fn new(profile: &'a Profile, seed: u64, threads: usize) -> Self {
        Self::with(profile, seed, threads, JOBS_PER_REPLICATION)
    }

    fn with(profile: &'a Profile, seed: u64, threads: usize, jobs: f64) -> Self {
        let weekly = jobs_per_week(profile);
        let weeks = (jobs / weekly.max(1.0)).clamp(1.0, f64::from(WEEKS)) as u32;
        let kept = (JOBS_KEPT / (weekly * f64::from(weeks)).max(1.0)) as usize;
        let most = LOOKS[LOOKS.len() - 1];
        Self {
            profile,
            seed,
            threads,
            looks: &LOOKS,
            weeks,
            traces: (0..kept.clamp(1, most)).map(|_| OnceLock::new()).collect(),
            totals: OnceLock::new(),
            ideals: (0..most).map(|_| OnceLock::new()).collect(),
            onepass: (0..LOOKS[0]).map(|_| OnceLock::new()).collect(),
            seen: BTreeMap::new(),
            tables: BTreeMap::new(),
        }
    }

    /// Prepares a coarse evaluator: three replications, decided by their means, for questions that ask often.
    pub fn coarse(profile: &'a Profile, seed: u64, threads: usize) -> Self {
        Self {
            looks: &COARSE,
            ..Self::with(profile, seed, threads, COARSE_JOBS)
        }
    }

    /// Returns the weeks of a replication.
    pub fn weeks(&self) -> u32 {
        self.weeks
    }

    /// Returns the mean CPU share of a job's time on the reference thread.
    pub fn cpu_share(&self) -> f64 {
        let Totals { cpu, work, .. } = self.totals();
        if work > 0.0 { cpu / work } else { 0.0 }
    }

    /// Returns the mean number of reference threads that the workload keeps computing.
    pub fn cpu_demand(&self) -> f64 {
        let Totals { cpu, time, .. } = self.totals();
        if time > 0.0 { cpu / time } else { 0.0 }
    }

    /// Adds up the traces of the first look, in order.
    fn totals(&self) -> Totals {
        *self.totals.get_or_init(|| {
            let each = map(
                self.threads,
                self.looks[0],
                || (),
                |(), replication| {
                    self.with_trace(replication, |trace| Totals {
                        cpu: trace.cpu_work(),
                        work: trace.work(),
                        time: trace.horizon,
                    })
                },
            );
            each.iter().fold(Totals::default(), |sum, one| Totals {
                cpu: sum.cpu + one.cpu,
                work: sum.work + one.work,
                time: sum.time + one.time,
            })
        })
    }

    /// Returns a lower estimate of the share of late jobs with so many slots and no contention.
    pub fn onepass_late(&self, slots: u32) -> f64 {
        let (wait, first) = (self.profile.slo.wait_s, self.looks[0]);
        if self.onepass[..first].iter().any(|one| one.get().is_none()) {
            map(
                self.threads,
                first,
                || (),
                |(), replication| {
                    self.onepass[replication]
                        .get_or_init(|| self.with_trace(replication, |trace| OnePass::new(trace, wait)));
                },
            );
        }
        let estimates = self.onepass[..first].iter().filter_map(OnceLock::get);
        estimates.map(|one| one.late_share(slots as usize)).sum::<f64>() / first as f64
    }

    /// Judges an arrangement with as many replications as it takes to separate it from the objectives.
    ///
    /// Five or ten may reject, twenty or forty may accept: five lucky replications must not decide.
    pub fn judge(&mut self, shape: Shape, layout: Layout) -> Evaluation {
        let last = self.looks[self.looks.len() - 1];
        for replications in self.looks {
            let evaluation = self.evaluate(shape, layout, *replications);
            let decided = match evaluation.standing {
                Standing::Meets => *replications >= CONFIRMED.min(last),
                Standing::Borderline => false,
                Standing::Late | Standing::Slow | Standing::LateAndSlow => true,
            };
            if decided || *replications == last {
                return evaluation;
            }
        }
        self.evaluate(shape, layout, last)
    }

    /// Looks at an arrangement with the fewest replications.
    pub fn glance(&mut self, shape: Shape, layout: Layout) -> Evaluation {
        self.evaluate(shape, layout, self.looks[0])
    }

    /// Returns the figures with so many replications, at most 40; `Borderline` when they do not separate.
    pub fn evaluate(&mut self, shape: Shape, layout: Layout, replications: usize) -> Evaluation {
        let key = (shape.vcpus, shape.threads_per_core, shape.speed.to_bits(), layout);
        let mut samples = self.seen.remove(&key).unwrap_or_default();
        if samples.len() < replications {
            let table = self.table(shape, layout.per_host());
            let done = samples.len();
            let more = map(
                self.threads,
                replications - done,
                Workspace::default,
                |space, index| {
                    let replication = done + index;
                    self.with_trace(replication, |trace| {
                        self.run(trace, replication, shape, layout, &table, space)
                    })
                },
            );
            samples.extend(more);
        }
        let evaluation = self.summarise(layout, &samples[..replications]);
        self.seen.insert(key, samples);
        evaluation
    }

    /// Replays with everything recorded: all replications together, and the 95th percentile of the wait in each.
    ///
    /// A record is most of a megabyte, so a few at a time are made and added up in order.
    pub fn record(&mut self, shape: Shape, layout: Layout, replications: usize) -> (Full, Vec<f64>) {
        let table = self.table(shape, layout.per_host());
        let wait = self.profile.slo.wait_s;
        let (mut all, mut p95) = (Full::new(wait), Vec::with_capacity(replications));
        for first in (0..replications).step_by(AT_ONCE) {
            let records = map(
                self.threads,
                AT_ONCE.min(replications - first),
                Workspace::default,
                |space, index| {
                    self.with_trace(first + index, |trace| {
                        let mut record = Full::new(wait);
                        self.replay(trace, shape, layout, &table, space, &mut record);
                        record
                    })
                },
            );
            for record in &records {
                all.merge(record);
                p95.push(record.waits.quantile(0.95));
            }
        }
        (all, p95)
    }

    pub(super) fn table(&mut self, shape: Shape, jobs: u32) -> Arc<ProgressTable> {
        let (rows, table) = self
            .tables
            .entry((shape.vcpus, shape.threads_per_core))
            .or_insert_with(|| (0, Arc::new(ProgressTable::undisturbed())));
        if *rows < jobs {
            *rows = jobs.next_power_of_two().max(16);
            let processor = Processor {
                vcpus: shape.vcpus,
                threads_per_core: shape.threads_per_core,
                smt_yield: self.profile.host.smt_yield,
            };
            *table = Arc::new(ProgressTable::new(&processor, *rows));
        }
        Arc::clone(table)
    }

    fn with_trace<T>(&self, replication: usize, use_it: impl FnOnce(&Trace) -> T) -> T {
        let generate = || Trace::generate(self.profile, self.weeks, self.seed, replication as u64);
        match self.traces.get(replication) {
            Some(kept) => use_it(kept.get_or_init(generate)),
            None => use_it(&generate()),
        }
    }

    pub(super) fn replay(
        &self,
        trace: &Trace,
        shape: Shape,
        layout: Layout,
        table: &ProgressTable,
        space: &mut Workspace,
        recorder: &mut impl Recorder,
    ) -> f64 {
        match layout {
            Layout::Hosts { count, slots } => {
                let fleet = Fleet {
                    hosts: count as usize,
                    slots: slots as usize,
                    speed: shape.speed,
                    progress: table,
                };
                replay(trace, &fleet, space, recorder);
                f64::from(count)
            }
            Layout::Nodes { min, max, pods } => {
                let cluster = &self.profile.kubernetes;
                let group = NodeGroup {
                    min: min as usize,
                    max: max as usize,
                    pods: pods as usize,
                    speed: shape.speed,
                    progress: table,
                    scan_s: cluster.scan_s,
                    node_ready_s: cluster.node_ready_s,
                    idle_s: cluster.idle_s,
                    pod_start_s: cluster.pod_start_s,
                    first_pod_s: cluster.first_pod_s,
                };
                replay_nodes(trace, &group, recorder).node_seconds / trace.horizon
            }
        }
    }

    fn run(
        &self,
        trace: &Trace,
        replication: usize,
        shape: Shape,
        layout: Layout,
        table: &ProgressTable,
        space: &mut Workspace,
    ) -> Sample {
        let ideal = *self.ideals[replication].get_or_init(|| trace.ideal(|_, _, _, _| {}));
        let limit = self.profile.slo.wait_s;
        let (tally, nodes, hours) = if self.profile.slo.scope == Scope::WorstHour {
            let mut hourly = HourlyTally::new(limit);
            let nodes = self.replay(trace, shape, layout, table, space, &mut hourly);
            let hours = std::array::from_fn(|hour| (hourly.jobs[hour], hourly.late[hour]));
            (hourly.tally, nodes, Some(Box::new(hours)))
        } else {
            let mut tally = Tally::new(limit);
            let nodes = self.replay(trace, shape, layout, table, space, &mut tally);
            (tally, nodes, None)
        };
        let jobs = tally.jobs.max(1) as f64;
        Sample {
            late: tally.late_share(),
            noticed: tally.noticed as f64 / jobs,
            wait: tally.waits / jobs,
            slowdown: if ideal > 0.0 {
                tally.pipeline_time / ideal
            } else {
                1.0
            },
            nodes,
            hours,
        }
    }

    fn summarise(&self, layout: Layout, samples: &[Sample]) -> Evaluation {
        let estimate =
            |value: fn(&Sample) -> f64| Estimate::of(&samples.iter().map(value).collect::<Vec<_>>());
        let (mut late, mut worst_hour) = (estimate(|sample| sample.late), None);
        if self.profile.slo.scope == Scope::WorstHour {
            let (hour, shares) = worst_hour_shares(samples);
            (late, worst_hour) = (Estimate::of(&shares), Some(hour));
        }
        let slowdown = estimate(|sample| sample.slowdown);
        let slo = &self.profile.slo;
        let limit = 1.0 - slo.wait_quantile;
        // A coarse evaluator takes the means for the truth.
        let certain = |estimate: Estimate| match self.looks.len() {
            1 => Estimate {
                half_width: 0.0,
                ..estimate
            },
            _ => estimate,
        };
        let (sure_late, sure_slowdown) = (certain(late), certain(slowdown));
        let standing = match (
            sure_late.lower() > limit,
            sure_slowdown.lower() > slo.pipeline_slowdown,
        ) {
            (true, true) => Standing::LateAndSlow,
            (true, false) => Standing::Late,
            (false, true) => Standing::Slow,
            (false, false)
                if sure_late.upper() <= limit && sure_slowdown.upper() <= slo.pipeline_slowdown =>
            {
                Standing::Meets
            }
            (false, false) => Standing::Borderline,
        };
        Evaluation {
            layout,
            replications: samples.len(),
            late,
            slowdown,
            wait: estimate(|sample| sample.wait),
            noticed: estimate(|sample| sample.noticed).mean,
            nodes: estimate(|sample| sample.nodes),
            worst_hour,
            standing,
        }
    }
}

/// Returns the hour of the weekday with the largest share of late jobs over all replications, and its share in each.
fn worst_hour_shares(samples: &[Sample]) -> (usize, Vec<f64>) {
    let counts = |sample: &Sample, hour: usize| sample.hours.as_ref().map_or((0, 0), |hours| hours[hour]);
    let share = |(jobs, late): (u64, u64)| if jobs == 0 { 0.0 } else { late as f64 / jobs as f64 };
    let (mut worst, mut largest) = (0, -1.0);
    for hour in 0..24 {
        let total = samples
            .iter()
            .map(|sample| counts(sample, hour))
            .fold((0, 0), |sum, (jobs, late)| (sum.0 + jobs, sum.1 + late));
        if share(total) > largest {
            (worst, largest) = (hour, share(total));
        }
    }
    (
        worst,
        samples
            .iter()
            .map(|sample| share(counts(sample, worst)))
            .collect(),
    )
}

/// Returns the expected number of jobs in a week.
pub fn jobs_per_week(profile: &Profile) -> f64 {
    hourly_pipelines(&profile.arrivals).iter().sum::<f64>() * profile.pipeline.jobs_mean
}

/// Returns the slots that are offered work on average, on the reference thread.
pub fn mean_busy_slots(profile: &Profile) -> f64 {
    jobs_per_week(profile) * mean_duration(&profile.job) / WEEK
}

/// Returns the 97 % quantile over the hours of the week of the slots that are offered work, on the reference thread.
pub fn busy_hour_slots(profile: &Profile, mean_duration_s: f64) -> f64 {
    let mut hours = hourly_pipelines(&profile.arrivals);
    hours.sort_unstable_by(f64::total_cmp);
    hours[163] * profile.pipeline.jobs_mean * mean_duration_s / 3600.0
}
