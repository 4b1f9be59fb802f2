//! The plan as a document: what JSON prints and what the page is set from.

use serde::Serialize;

use super::alarms::{Alarm, Facts, alarms};
use super::alternatives::{Alternative, alternatives};
use super::conflicts::{Conflict, conflicts};
use super::cost::{Cost, cost};
use super::notices::{Notice, notices};
use super::prediction::{Prediction, SweepRow, prediction, round, sweep};
use super::steps::{Step, steps};
use super::wording;
use crate::domain::disk::wave_gib;
use crate::domain::profile::{Assumption, Loaded, Target};
use crate::domain::sizing::evaluate::{Layout, Standing};
use crate::domain::sizing::recommend::Recommendation;
use crate::domain::sizing::search::{Families, Question, Reason};

/// IOPS and MB/s that gp3 brings at any size (<https://aws.amazon.com/ebs/pricing/>).
const GP3: (u32, u32) = (3000, 125);

/// The schema's name.
pub const SCHEMA: &str = "dataops-infra/plan/v1";

/// The whole plan.
#[derive(Clone, Debug, Serialize)]
pub struct PlanDocument {
    /// `dataops-infra/plan/v1`.
    pub schema: &'static str,
    /// Program and version.
    pub generated_by: String,
    /// What was asked.
    pub inputs: Inputs,
    /// Every value the answer rests on, with its basis.
    pub assumptions: Vec<Assumption>,
    /// The answer.
    pub recommendation: Answer,
    /// What it will be like.
    pub prediction: Prediction,
    /// What it costs.
    pub cost: Cost,
    /// What else was looked at, cheapest first.
    pub alternatives: Vec<Alternative>,
    /// Wait against concurrency (EC2) or the largest number of nodes (EKS).
    pub sweep: Vec<SweepRow>,
    /// Where the vendor's pages disagree.
    pub conflicts: Vec<Conflict>,
    /// What to know.
    pub notices: Vec<Notice>,
    /// Alarms that go with the deployment.
    pub alarms: Vec<Alarm>,
    /// What would be made.
    pub steps: Vec<Step>,
    /// What to do next.
    pub next: Vec<String>,
}

/// What was asked.
#[derive(Clone, Debug, Serialize)]
pub struct Inputs {
    /// Name of the workload.
    pub workload: String,
    /// Target.
    pub target: Target,
    /// Region.
    pub region: String,
    /// Seed of the simulation.
    pub seed: u64,
    /// Families that could be chosen.
    pub families: Vec<String>,
    /// Whether the installation page's minimum binds.
    pub strict_minimums: bool,
    /// The objectives.
    pub objectives: Objectives,
    /// Where types and prices are from.
    pub catalog: CatalogUse,
}

/// The objectives.
#[derive(Clone, Debug, Serialize)]
pub struct Objectives {
    /// Wait that at most `late_share` of the jobs may exceed, seconds.
    pub wait_seconds: f64,
    /// That share.
    pub late_share: f64,
    /// Mean pipeline time relative to the ideal.
    pub pipeline_slowdown: f64,
    /// `all-hours` or `worst-hour`.
    pub scope: crate::domain::profile::Scope,
    /// Days without clean-up before the disk is 80 % full.
    pub unattended_days: f64,
}

/// Where types and prices are from.
#[derive(Clone, Debug, Serialize)]
pub struct CatalogUse {
    /// `embedded` or the refreshed file.
    pub origin: String,
    /// Day of the oldest price.
    pub date: String,
    /// Region the prices are from.
    pub price_region: String,
}

/// The answer.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    /// Target.
    pub target: Target,
    /// Type.
    pub instance_type: String,
    /// Hosts, or the smallest number of nodes.
    pub count: u32,
    /// Threads of each.
    pub vcpus: u32,
    /// Nominal MiB of each.
    pub memory_mib: u32,
    /// Jobs at once on each host or node.
    pub concurrency: u32,
    /// `concurrent` of the runner: jobs at once altogether.
    pub runner_concurrent: u32,
    /// Disk of each.
    pub disk: Disk,
    /// Size of the node group (EKS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_group: Option<NodeGroup>,
    /// What decided.
    pub binding: Binding,
    /// Loads over which the answer stays the same.
    pub holds: Holds,
    /// Whether the simulation could not separate a cheaper option, or this one, from the objectives by much.
    pub borderline: bool,
}

/// A disk.
#[derive(Clone, Debug, Serialize)]
pub struct Disk {
    /// `gp3`.
    pub r#type: &'static str,
    /// GiB.
    pub size_gib: u32,
    /// IOPS.
    pub iops: u32,
    /// MB/s.
    pub throughput_mibps: u32,
    /// Always.
    pub encrypted: bool,
}

/// A node group.
#[derive(Clone, Debug, Serialize)]
pub struct NodeGroup {
    /// Smallest.
    pub min: u32,
    /// Largest.
    pub max: u32,
    /// Job pods on a node.
    pub pods_per_node: u32,
    /// Mean number of nodes.
    pub mean_nodes: f64,
    /// Largest number worth allowing: 99.9 % of the time's pods, and one node more.
    pub ceiling: u32,
}

/// What decided.
#[derive(Clone, Debug, Serialize)]
pub struct Binding {
    /// Objective that the next smaller concurrency or host misses.
    pub constraint: &'static str,
    /// In words.
    pub says: String,
    /// Share of late jobs.
    pub late_share: f64,
    /// Half of its 95 % interval.
    pub late_share_half_width: f64,
    /// Limit less upper end of the interval.
    pub late_margin: f64,
    /// Slowdown.
    pub slowdown: f64,
    /// Half of its 95 % interval.
    pub slowdown_half_width: f64,
    /// Limit less upper end of the interval.
    pub slowdown_margin: f64,
    /// Replications it took.
    pub replications: usize,
}

/// Loads over which the answer stays the same.
#[derive(Clone, Debug, Serialize)]
pub struct Holds {
    /// Multiples of the profile's load.
    pub multiples: [f64; 2],
    /// Pipelines a weekday.
    pub pipelines_per_weekday: [f64; 2],
    /// Whether nothing smaller was tried.
    pub low_open: bool,
    /// Whether nothing larger was tried.
    pub high_open: bool,
}

impl PlanDocument {
    /// Sets down a recommendation.
    ///
    /// `asked` are the options that the question was asked with, for the commands to try next; `more` are notices of the
    /// caller, about the catalog for example.
    pub fn new(
        question: &Question<'_>,
        loaded: &Loaded,
        answer: &Recommendation<'_>,
        asked: &str,
        more: Vec<Notice>,
    ) -> Self {
        let profile = question.profile;
        let layout = answer.evaluation.layout;
        let alarms = alarms(Facts {
            target: question.target,
            disk_gib: answer.disk.gib,
            wave_gib: wave_gib(&profile.disk),
            days_to_full: early_gap(answer),
            burstable: answer.offer.instance.burstable_baseline.is_some(),
            pods: layout.most(),
        });
        let names: Vec<&str> = alarms.iter().map(|alarm| alarm.name).collect();
        let mut all = more;
        all.extend(notices(question, loaded, answer));
        Self {
            schema: SCHEMA,
            generated_by: concat!("dataops-infra ", env!("CARGO_PKG_VERSION")).to_owned(),
            inputs: inputs(question),
            assumptions: loaded.assumptions.clone(),
            recommendation: answer_of(question, answer),
            prediction: prediction(question, answer),
            cost: cost(question, answer, &alarms),
            alternatives: alternatives(question, answer),
            sweep: sweep(&answer.sweep, layout),
            conflicts: conflicts(question, answer),
            notices: all,
            steps: steps(question.target, answer.chosen.count, &names),
            alarms,
            next: next(question, answer, asked),
        }
    }
}

/// Returns the days between 80 % and full for early fillers.
pub fn early_gap(answer: &Recommendation<'_>) -> u32 {
    let gib = f64::from(answer.disk.gib);
    answer
        .disk
        .fill
        .days_until(gib)
        .p5
        .saturating_sub(answer.disk.fill.days_until(0.8 * gib).p5)
}

fn inputs(question: &Question<'_>) -> Inputs {
    let slo = &question.profile.slo;
    let catalog = question.catalog;
    let families = match &question.families {
        Families::Qualified => crate::domain::catalog::qualified_families(question.target)
            .iter()
            .filter(|family| family.current_advice)
            .map(|family| family.family.to_owned())
            .collect(),
        Families::Compute => vec!["compute".to_owned()],
        Families::Any => vec!["any".to_owned()],
        Families::List(list) => list.clone(),
    };
    Inputs {
        workload: question.profile.name.clone(),
        target: question.target,
        region: catalog.region.clone(),
        seed: question.seed,
        families,
        strict_minimums: question.strict_minimums,
        objectives: Objectives {
            wait_seconds: slo.wait_s,
            late_share: round(1.0 - slo.wait_quantile, 6),
            pipeline_slowdown: slo.pipeline_slowdown,
            scope: slo.scope,
            unattended_days: question.profile.disk.unattended_days,
        },
        catalog: CatalogUse {
            origin: catalog.origin.clone(),
            date: catalog.date.clone(),
            price_region: catalog.price_region.clone(),
        },
    }
}

fn answer_of(question: &Question<'_>, answer: &Recommendation<'_>) -> Answer {
    let layout = answer.evaluation.layout;
    let node_group = match layout {
        Layout::Hosts { .. } => None,
        Layout::Nodes { min, max, pods } => Some(NodeGroup {
            min,
            max,
            pods_per_node: pods,
            mean_nodes: round(answer.evaluation.nodes.mean, 2),
            ceiling: (answer.record.occupancy_quantile(0.999) as u32)
                .div_ceil(pods.max(1))
                .max(max)
                + 1,
        }),
    };
    let load = question.profile.arrivals.pipelines_per_weekday;
    let interval = answer.interval;
    let instance = answer.offer.instance;
    Answer {
        target: question.target,
        instance_type: instance.name.clone(),
        count: answer.chosen.count,
        vcpus: instance.vcpus,
        memory_mib: instance.memory_mib,
        concurrency: layout.per_host(),
        runner_concurrent: layout.most(),
        disk: Disk {
            r#type: "gp3",
            size_gib: answer.disk.gib,
            iops: GP3.0,
            throughput_mibps: GP3.1,
            encrypted: true,
        },
        node_group,
        binding: binding(question, answer),
        holds: Holds {
            multiples: [round(interval.low, 2), round(interval.high, 2)],
            pipelines_per_weekday: [round(load * interval.low, 0), round(load * interval.high, 0)],
            low_open: interval.low_open,
            high_open: interval.high_open,
        },
        borderline: answer.borderline,
    }
}

fn binding(question: &Question<'_>, answer: &Recommendation<'_>) -> Binding {
    let slo = &question.profile.slo;
    let evaluation = &answer.evaluation;
    let limit = 1.0 - slo.wait_quantile;
    // What the cheapest rejected arrangement of the allowed list fails on; with none, what a slot less fails on.
    let cheaper = answer
        .others
        .iter()
        .rev()
        .find(|other| other.monthly < answer.monthly && other.meets.is_none());
    let smaller = answer
        .chosen
        .evaluations
        .iter()
        .rev()
        .find(|tried| tried.standing != Standing::Meets);
    let (constraint, says) = match (
        cheaper.and_then(|other| other.reasons.first().map(|r| (other, r))),
        smaller,
    ) {
        (Some((other, reason)), _) => {
            let constraint = match reason {
                Reason::Late { capped: true, .. } if question.target == Target::Ec2 => "memory",
                Reason::Late { capped: true, .. } | Reason::NoRoomForOneJob { .. } => "pod-requests",
                Reason::Late { .. } | Reason::TooFewSlots { .. } => "wait",
                Reason::Slow { .. } | Reason::SlowThread { .. } => "slowdown",
                Reason::Borderline { .. } => "borderline",
                _ => "cost",
            };
            (
                constraint,
                format!(
                    "{} x {} for ${}: {}",
                    other.count,
                    other.instance_type,
                    other.monthly.cents(),
                    wording::reason(reason, slo.wait_s)
                ),
            )
        }
        (None, Some(tried)) => {
            let (constraint, what) = match tried.standing {
                Standing::Slow => ("slowdown", format!("slowdown {}", wording::ratio(tried.slowdown))),
                _ => ("wait", format!("{} late", wording::percent(tried.late))),
            };
            (
                constraint,
                format!(
                    "the cheapest type of the list does; with {} it would miss an objective: {what}",
                    wording::counted(tried.layout.per_host(), "slot")
                ),
            )
        }
        (None, None) => (
            "cost",
            "the cheapest type of the list meets every objective".to_owned(),
        ),
    };
    Binding {
        constraint,
        says,
        late_share: round(evaluation.late.mean, 4),
        late_share_half_width: round(evaluation.late.half_width, 4),
        late_margin: round(limit - evaluation.late.upper(), 4),
        slowdown: round(evaluation.slowdown.mean, 4),
        slowdown_half_width: round(evaluation.slowdown.half_width, 4),
        slowdown_margin: round(slo.pipeline_slowdown - evaluation.slowdown.upper(), 4),
        replications: evaluation.replications,
    }
}

fn next(question: &Question<'_>, answer: &Recommendation<'_>, asked: &str) -> Vec<String> {
    let mut next = vec![
        "# waits by hour, concurrency and disk in full".to_owned(),
        format!("dataops-infra simulate {asked}"),
        "# replace assumptions by your own job history".to_owned(),
        "dataops-infra calibrate jobs.csv --out team.yaml".to_owned(),
    ];
    if question.catalog.origin == "embedded" {
        next.push("# today's prices (needs AWS credentials)".to_owned());
        next.push(format!(
            "dataops-infra catalog refresh --region {}",
            question.catalog.region
        ));
    }
    if !answer.outside.is_empty() {
        next.push("# let the numbers alone choose the family".to_owned());
        next.push(format!("dataops-infra plan {asked} --families any"));
    }
    next
}
