//! The plan as a document: what JSON prints and what the page is set from.

use serde::Serialize;

use super::alarms::{Alarm, Facts, alarms};
use super::conflicts::{Conflict, conflicts};
use super::steps::{Step, steps};
use super::wording;
use crate::domain::catalog::Price;
use crate::domain::disk::{Days, DiskFill, initial_gib, wave_gib};
use crate::domain::profile::{Assumption, Basis, Loaded, Target};
use crate::domain::simulation::record::Full;
use crate::domain::sizing::evaluate::{Layout, Standing};
use crate::domain::sizing::pods;
use crate::domain::sizing::recommend::{Recommendation, per_host};
use crate::domain::sizing::search::{Considered, Families, Question, Reason};
use crate::domain::sizing::study::Sweep;
use crate::domain::units::{HOURS_PER_MONTH, Micros};

/// IOPS and MB/s that gp3 brings at any size (https://aws.amazon.com/ebs/pricing/).
const GP3: (u32, u32) = (3000, 125);
/// Rejected and dearer arrangements listed besides the cheaper ones outside the allowed families.
const LISTED: usize = 12;

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

/// Quantiles of the wait.
#[derive(Clone, Debug, Serialize)]
pub struct QueueWait {
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Mean.
    pub mean: f64,
    /// 95 % interval of the 95th percentile.
    pub ci95_p95: [f64; 2],
}

/// Quantiles of the time of a pipeline.
#[derive(Clone, Debug, Serialize)]
pub struct PipelineTime {
    /// Median.
    pub p50: f64,
    /// Third quartile.
    pub p75: f64,
    /// 95th percentile.
    pub p95: f64,
}

/// An hour of the weekday.
#[derive(Clone, Debug, Serialize)]
pub struct HourRow {
    /// 0 to 23.
    pub hour: usize,
    /// Jobs in the hour.
    pub jobs: f64,
    /// Mean busy slots.
    pub busy_slots: f64,
    /// 95th percentile of the wait, seconds.
    pub wait_p95_seconds: f64,
    /// Share of late jobs.
    pub late_share: f64,
}

/// Days until the disk is at a level.
#[derive(Clone, Debug, Serialize)]
pub struct DiskRow {
    /// GiB.
    pub size_gib: u32,
    /// Until 80 %.
    pub to_80_percent: Days,
    /// Until 90 %.
    pub to_90_percent: Days,
    /// Until full.
    pub to_full: Days,
    /// Dollars a month.
    pub monthly: String,
}

/// What it will be like.
#[derive(Clone, Debug, Serialize)]
pub struct Prediction {
    /// Wait of a job.
    pub queue_wait_seconds: QueueWait,
    /// Time of a pipeline.
    pub pipeline_seconds: PipelineTime,
    /// Share of the threads' time that computes.
    pub cpu_utilization: f64,
    /// MiB left when all slots run (99 %); null on EKS, where requests decide.
    pub memory_headroom_mib: Option<f64>,
    /// Days until 80 %, early fillers (5 %).
    pub days_until_disk_80_percent: u32,
    /// Mean busy slots.
    pub busy_slots_mean: f64,
    /// Busy slots not exceeded 99.9 % of the time.
    pub busy_slots_p999: usize,
    /// By hour of the weekday.
    pub hours: Vec<HourRow>,
    /// The hour with the largest share of late jobs.
    pub worst_hour: usize,
    /// Fill of the chosen and neighbouring disks.
    pub disk: Vec<DiskRow>,
    /// Weeks of each replication.
    pub weeks: u32,
}

/// A line of the cost.
#[derive(Clone, Debug, Serialize)]
pub struct CostLine {
    /// What.
    pub what: String,
    /// How many.
    pub quantity: String,
    /// In which unit.
    pub unit: &'static str,
    /// Price of one.
    pub unit_price: Micros,
    /// Dollars a month.
    pub monthly: String,
    /// Where the price is from.
    pub source: String,
    /// When it was read.
    pub date: String,
}

/// What it costs.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    /// `USD`.
    pub currency: &'static str,
    /// Sum of `lines`.
    pub monthly_total: String,
    /// 730.
    pub hours_per_month: i64,
    /// Day of the prices.
    pub catalog_date: String,
    /// Hosts, disks, control plane.
    pub lines: Vec<CostLine>,
    /// What comes with any choice and is not in the total.
    pub extras: Vec<CostLine>,
}

/// Something else that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Alternative {
    /// Type.
    pub instance_type: String,
    /// Hosts or smallest number of nodes.
    pub count: u32,
    /// Jobs at once on each that come closest to the objectives.
    pub concurrency: Option<u32>,
    /// Dollars a month, on the same terms as `cost.monthly_total`; null without a price.
    pub monthly_total: Option<String>,
    /// `chosen`, `rejected`, `borderline`, `dearer`, `tied`, `outside-list` or `not-considered`.
    pub verdict: &'static str,
    /// Why.
    pub reasons: Vec<String>,
    /// Share of late jobs.
    pub late_share: Option<f64>,
    /// Slowdown.
    pub slowdown: Option<f64>,
    /// Dollars a month less than the choice (negative: more).
    pub saving: Option<String>,
}

/// A row of the sweep.
#[derive(Clone, Debug, Serialize)]
pub struct SweepRow {
    /// Jobs at once on a host or node.
    pub concurrency: u32,
    /// Largest number of nodes (EKS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_nodes: Option<u32>,
    /// Mean wait, seconds.
    pub wait_mean: f64,
    /// 95th percentile, seconds.
    pub wait_p95: f64,
    /// 99th percentile, seconds.
    pub wait_p99: f64,
    /// Share of late jobs.
    pub late_share: f64,
    /// Half of its interval.
    pub late_share_half_width: f64,
    /// Slowdown.
    pub slowdown: f64,
    /// Half of its interval.
    pub slowdown_half_width: f64,
    /// Whether memory holds so many.
    pub fits_memory: bool,
    /// Whether this row is the answer.
    pub chosen: bool,
}

/// How much a notice matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Look at it before acting.
    Warning,
}

/// Something to know.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Notice {
    /// Stable code.
    pub code: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// The message.
    pub message: String,
    /// Its source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// Returns a number rounded to so many decimals, without a negative zero.
pub fn round(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    // Adding zero turns -0.0 into 0.0.
    (value * scale).round() / scale + 0.0
}

impl PlanDocument {
    /// Sets down a recommendation; `more` are notices of the caller, about the catalog for example.
    pub fn new(
        question: &Question<'_>,
        loaded: &Loaded,
        answer: &Recommendation<'_>,
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
        let mut notices = more;
        notices.extend(notices_of(question, loaded, answer));
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
            notices,
            steps: steps(question.target, answer.chosen.count, &names),
            alarms,
            next: next(question, answer),
        }
    }
}

/// Returns the days between 80 % and full for early fillers.
fn early_gap(answer: &Recommendation<'_>) -> u32 {
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
        concurrency: per_host(layout),
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
                    wording::counted(per_host(tried.layout), "slot")
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

fn prediction(question: &Question<'_>, answer: &Recommendation<'_>) -> Prediction {
    let record = &answer.record;
    let gib = answer.disk.gib;
    let jobs = record.tally.jobs.max(1) as f64;
    Prediction {
        queue_wait_seconds: QueueWait {
            p50: round(record.waits.quantile(0.5), 2),
            p95: round(record.waits.quantile(0.95), 1),
            p99: round(record.waits.quantile(0.99), 1),
            mean: round(record.tally.waits / jobs, 2),
            ci95_p95: [
                round(answer.wait_p95.lower().max(0.0), 1),
                round(answer.wait_p95.upper(), 1),
            ],
        },
        pipeline_seconds: PipelineTime {
            p50: round(record.pipelines.quantile(0.5), 0),
            p75: round(record.pipelines.quantile(0.75), 0),
            p95: round(record.pipelines.quantile(0.95), 0),
        },
        cpu_utilization: round(answer.cpu_utilization, 3),
        memory_headroom_mib: answer.memory_headroom_mib.map(|mib| round(mib, 0)),
        days_until_disk_80_percent: answer.disk.fill.days_until(0.8 * f64::from(gib)).p5,
        busy_slots_mean: round(record.busy_integral / record.end.max(1.0), 2),
        busy_slots_p999: record.occupancy_quantile(0.999),
        hours: hour_rows(record),
        worst_hour: record.weekly.worst_hour().0,
        disk: disk_rows(question, gib, &answer.disk.fill),
        weeks: answer.weeks,
    }
}

fn line(what: &str, quantity: f64, unit: &'static str, price: &Price, monthly: Micros) -> CostLine {
    let quantity = if quantity.fract() == 0.0 {
        format!("{quantity:.0}")
    } else {
        format!("{quantity:.2}")
    };
    CostLine {
        what: what.to_owned(),
        quantity,
        unit,
        unit_price: price.amount,
        monthly: monthly.cents(),
        source: price.source.clone(),
        date: price.date.clone(),
    }
}

fn cost(question: &Question<'_>, answer: &Recommendation<'_>, alarms: &[Alarm]) -> Cost {
    let services = &question.catalog.services;
    let hosts = answer.evaluation.nodes.mean;
    let mut lines = Vec::new();
    let mut total = Micros(0);
    let mut add =
        |lines: &mut Vec<CostLine>, what: &str, quantity: f64, unit, price: &Price, monthly: Micros| {
            total += monthly;
            lines.push(line(what, quantity, unit, price, monthly));
        };
    if let Some(price) = &answer.offer.instance.price {
        let hours = hosts * HOURS_PER_MONTH as f64;
        let monthly = price.amount.per_month().times(hosts);
        add(
            &mut lines,
            &answer.offer.instance.name,
            hours,
            "hours",
            price,
            monthly,
        );
    }
    let gib = f64::from(answer.disk.gib) * hosts;
    let disk = (services.gp3_gib_month.amount * i64::from(answer.disk.gib)).times(hosts);
    add(
        &mut lines,
        "gp3 root volume",
        gib,
        "GB-months",
        &services.gp3_gib_month,
        disk,
    );
    if question.target == Target::Eks {
        let price = &services.eks_control_plane_hour;
        add(
            &mut lines,
            "EKS control plane",
            HOURS_PER_MONTH as f64,
            "hours",
            price,
            price.amount.per_month(),
        );
    }
    if let Some((baseline, _)) = answer.offer.burst {
        let beyond = (answer.offer.cpu_demand - baseline * hosts).max(0.0);
        if beyond > 0.0 {
            let price = &services.burstable_surplus_vcpu_hour;
            let monthly = price.amount.per_month().times(beyond);
            let hours = beyond * HOURS_PER_MONTH as f64;
            add(
                &mut lines,
                "CPU above the burstable baseline",
                hours,
                "vCPU-hours",
                price,
                monthly,
            );
        }
    }
    let mut extras = Vec::new();
    let copies = if question.target == Target::Ec2 {
        answer.chosen.count
    } else {
        1
    };
    let billed: u32 = alarms.iter().map(|alarm| alarm.billed_metrics).sum::<u32>() * copies;
    extras.push(line(
        "CloudWatch alarms",
        f64::from(billed),
        "alarm metrics",
        &services.cloudwatch_alarm_month,
        services.cloudwatch_alarm_month.amount * i64::from(billed),
    ));
    let mut metrics: Vec<(&str, &[&str])> = alarms
        .iter()
        .filter(|alarm| alarm.namespace != "AWS/EC2" && !alarm.metric.contains('('))
        .map(|alarm| (alarm.metric.as_str(), alarm.dimensions.as_slice()))
        .collect();
    metrics.sort_unstable();
    metrics.dedup();
    let metrics = metrics.len() as u32 * copies;
    extras.push(line(
        "CloudWatch custom metrics",
        f64::from(metrics),
        "metrics",
        &services.cloudwatch_metric_month,
        services.cloudwatch_metric_month.amount * i64::from(metrics),
    ));
    extras.push(line(
        "public IPv4 address (public subnet)",
        hosts * HOURS_PER_MONTH as f64,
        "hours",
        &services.public_ipv4_hour,
        services.public_ipv4_hour.amount.per_month().times(hosts),
    ));
    extras.push(line(
        "or NAT gateway (private subnet), data not counted",
        HOURS_PER_MONTH as f64,
        "hours",
        &services.nat_gateway_hour,
        services.nat_gateway_hour.amount.per_month(),
    ));
    Cost {
        currency: "USD",
        monthly_total: total.cents(),
        hours_per_month: HOURS_PER_MONTH,
        catalog_date: question.catalog.date.clone(),
        lines,
        extras,
    }
}

fn alternatives(question: &Question<'_>, answer: &Recommendation<'_>) -> Vec<Alternative> {
    let wait = question.profile.slo.wait_s;
    let row = |considered: &Considered, verdict: &'static str, reasons: Vec<String>| {
        let closest = considered.meets.as_ref().or(considered.evaluations.last());
        Alternative {
            instance_type: considered.instance_type.clone(),
            count: considered.count,
            concurrency: closest.map(|closest| per_host(closest.layout)),
            monthly_total: Some(considered.monthly.cents()),
            verdict,
            reasons,
            late_share: closest.map(|closest| round(closest.late.mean, 4)),
            slowdown: closest.map(|closest| round(closest.slowdown.mean, 4)),
            saving: Some((answer.monthly - considered.monthly).cents()),
        }
    };
    let mut rows = vec![(
        answer.monthly,
        row(
            &answer.chosen,
            "chosen",
            vec!["cheapest of the list that meets the objectives".to_owned()],
        ),
    )];
    // Many copies of what is far too small teach nothing: keep those that were simulated, and single ones.
    let worth = |other: &&Considered| !other.evaluations.is_empty() || other.count == 1;
    for other in answer.others.iter().filter(worth).take(LISTED) {
        let verdict = match other.reasons.first() {
            Some(Reason::Dearer) => "dearer",
            Some(Reason::TiedOnCost) => "tied",
            Some(Reason::Borderline { .. }) => "borderline",
            _ => "rejected",
        };
        let reasons = other
            .reasons
            .iter()
            .map(|reason| wording::reason(reason, wait))
            .collect();
        rows.push((other.monthly, row(other, verdict, reasons)));
    }
    for other in &answer.outside {
        let reason = format!(
            "meets the objectives (slowdown {}, {} late) but is not among the families {}",
            other
                .meets
                .as_ref()
                .map_or(String::new(), |meets| wording::ratio(meets.slowdown)),
            other
                .meets
                .as_ref()
                .map_or(String::new(), |meets| wording::percent(meets.late)),
            match question.families {
                Families::Qualified => "the vendor names",
                _ => "asked for",
            }
        );
        rows.push((other.monthly, row(other, "outside-list", vec![reason])));
    }
    rows.sort_by_key(|(monthly, row)| (*monthly, row.verdict != "chosen"));
    let mut rows: Vec<Alternative> = rows.into_iter().map(|(_, row)| row).collect();
    rows.extend(
        answer
            .refused
            .iter()
            .filter(|(_, reason)| worth_telling(reason))
            .take(LISTED)
            .map(|(name, reason)| Alternative {
                instance_type: name.clone(),
                count: 1,
                concurrency: None,
                monthly_total: None,
                verdict: "not-considered",
                reasons: vec![wording::reason(reason, wait)],
                late_share: None,
                slowdown: None,
                saving: None,
            }),
    );
    rows
}

fn worth_telling(reason: &Reason) -> bool {
    !matches!(reason, Reason::TooSmall)
}

/// Returns the rows of a sweep; the one of `chosen` is marked.
pub fn sweep(rows: &[Sweep], chosen: Layout) -> Vec<SweepRow> {
    rows.iter()
        .map(|row| {
            let jobs = row.record.tally.jobs.max(1) as f64;
            SweepRow {
                concurrency: per_host(row.layout),
                max_nodes: match row.layout {
                    Layout::Nodes { max, .. } => Some(max),
                    Layout::Hosts { .. } => None,
                },
                wait_mean: round(row.record.tally.waits / jobs, 2),
                wait_p95: round(row.record.waits.quantile(0.95), 1),
                wait_p99: round(row.record.waits.quantile(0.99), 1),
                late_share: round(row.evaluation.late.mean, 4),
                late_share_half_width: round(row.evaluation.late.half_width, 4),
                slowdown: round(row.evaluation.slowdown.mean, 4),
                slowdown_half_width: round(row.evaluation.slowdown.half_width, 4),
                fits_memory: row.fits,
                chosen: row.layout == chosen,
            }
        })
        .collect()
}

/// Returns what happens in each hour of the weekday.
pub fn hour_rows(record: &Full) -> Vec<HourRow> {
    // The record holds several replications of the same weeks.
    let weeks = weeks_recorded(record);
    (0..24)
        .map(|hour| {
            let (jobs, late) = record.weekly.weekday_hour(hour);
            let busy: f64 = (0..5).map(|day| record.weekly.busy[day * 24 + hour]).sum();
            HourRow {
                hour,
                jobs: round(jobs as f64 / weeks / 5.0, 1),
                busy_slots: round(busy / weeks / 5.0 / 3600.0, 2),
                wait_p95_seconds: round(record.weekly.waits[hour].quantile(0.95), 1),
                late_share: round(late as f64 / jobs.max(1) as f64, 4),
            }
        })
        .collect()
}

/// Returns the weeks behind a record of one or many replications.
pub fn weeks_recorded(record: &Full) -> f64 {
    (record.end / crate::domain::workload::WEEK).max(f64::MIN_POSITIVE)
}

/// Returns when disks of the chosen and neighbouring sizes fill.
pub fn disk_rows(question: &Question<'_>, gib: u32, fill: &DiskFill) -> Vec<DiskRow> {
    let price = question.catalog.services.gp3_gib_month.amount;
    let mut sizes = vec![50, 100, gib.saturating_sub(100), gib, gib + 100];
    sizes.sort_unstable();
    sizes.dedup();
    sizes
        .into_iter()
        .filter(|size| f64::from(*size) > initial_gib(&question.profile.disk))
        .map(|size| {
            let days = |share: f64| fill.days_until(share * f64::from(size));
            DiskRow {
                size_gib: size,
                to_80_percent: days(0.8),
                to_90_percent: days(0.9),
                to_full: days(1.0),
                monthly: (price * i64::from(size)).cents(),
            }
        })
        .collect()
}

fn notices_of(question: &Question<'_>, loaded: &Loaded, answer: &Recommendation<'_>) -> Vec<Notice> {
    let mut notices = Vec::new();
    let mut add = |code, severity, message: String, source: Option<&str>| {
        notices.push(Notice {
            code,
            severity,
            message,
            source: source.map(str::to_owned),
        });
    };
    let profile = question.profile;
    let slo = &profile.slo;
    if answer.borderline {
        add(
            "borderline",
            Severity::Warning,
            format!(
                "the decision is close: an objective lies within chance of this answer, or forty replications did \
                 not separate a cheaper option from one. Another seed may decide otherwise; measured data \
                 (calibrate) or a margin of your own should. The answer has {} late and a slowdown of {}",
                wording::percent(answer.evaluation.late),
                wording::ratio(answer.evaluation.slowdown)
            ),
            None,
        );
    }
    let assumed = loaded
        .assumptions
        .iter()
        .filter(|a| a.basis == Basis::Assumed)
        .count();
    add(
        "assumed-values",
        Severity::Info,
        format!(
            "{assumed} of {} values are our assumptions, among them arrivals, CPU and memory of a job; \
             `calibrate` replaces what job history can tell",
            loaded.assumptions.len()
        ),
        None,
    );
    let (hour, share) = answer.record.weekly.worst_hour();
    if share > 1.0 - slo.wait_quantile && slo.scope == crate::domain::profile::Scope::AllHours {
        add(
            "busy-hour-late",
            Severity::Warning,
            format!(
                "the objective holds over all hours, not in each: at {hour:02} h {:.1} % of jobs wait longer than {:.0} s, \
                 for schedules start together; spread them over the hour, or plan with --scope worst-hour",
                share * 100.0,
                slo.wait_s
            ),
            None,
        );
    }
    if let Some(best) = answer.outside.first() {
        add(
            "cheaper-outside-list",
            Severity::Info,
            format!(
                "{} x {} meets the same objectives for ${} a month less, by thread speeds that are assumed, not \
                 measured; --families any would choose it",
                best.count,
                best.instance_type,
                (answer.monthly - best.monthly).cents()
            ),
            None,
        );
    }
    if question.catalog.price_region != question.catalog.region {
        add(
            "prices-of-another-region",
            Severity::Warning,
            format!(
                "the table has no prices for {}; those of {} stand in, so amounts are off while the ranking rarely \
                 is; run `dataops-infra catalog refresh --region {}`",
                question.catalog.region, question.catalog.price_region, question.catalog.region
            ),
            None,
        );
    }
    let growth = crate::domain::disk::growth_gib_per_day(&profile.disk, answer.disk.load);
    add(
        "disk-growth",
        Severity::Info,
        format!(
            "without clean-up the disk grows by {growth:.1} GiB a day, {:.1} of them leftovers of {:.0} jobs; image \
             layers grow with the calendar, not with the load",
            profile.disk.leftover_mib_per_job * answer.disk.load.jobs_per_day / 1024.0,
            answer.disk.load.jobs_per_day
        ),
        None,
    );
    if profile.runner.concurrent != per_host(answer.evaluation.layout) && question.target == Target::Ec2 {
        add(
            "concurrency-differs",
            Severity::Info,
            format!(
                "set concurrent = {} on this host, not {}",
                per_host(answer.evaluation.layout),
                profile.runner.concurrent
            ),
            Some(super::conflicts::INSTALLATION),
        );
    }
    if answer.offer.instance.vcpus * answer.chosen.count > 5 {
        add(
            "vcpu-quota",
            Severity::Info,
            format!(
                "a new account may run 5 standard vCPUs (quota L-1216C47A); this plan needs {}, twice that during a \
                 blue/green upgrade",
                answer.offer.instance.vcpus * answer.chosen.count
            ),
            Some("https://docs.aws.amazon.com/cli/latest/userguide/cli_service-quotas_code_examples.html"),
        );
    }
    if question.target == Target::Eks {
        let node = pods::allocatable(profile, answer.offer.instance);
        add(
            "pods-per-node",
            Severity::Info,
            format!(
                "a {} offers {:.0}m CPU and {:.0} MiB to job pods of {:.0}m and {:.0} MiB: {:.2} by CPU, {:.2} by \
                 memory; the request, not the load, decides the node size",
                answer.offer.instance.name,
                node.job_cpu_m,
                node.job_memory_mib,
                profile.kubernetes.cpu_request_m,
                profile.kubernetes.memory_request_mib,
                node.by_cpu,
                node.by_memory
            ),
            None,
        );
    }
    let unconsidered =
        |wanted: fn(&Reason) -> bool| answer.refused.iter().filter(|(_, reason)| wanted(reason)).count();
    let unpriced = unconsidered(|reason| matches!(reason, Reason::NoPrice));
    let unmeasured = unconsidered(|reason| matches!(reason, Reason::NoThreadSpeed));
    let small = unconsidered(|reason| matches!(reason, Reason::TooSmall));
    if unpriced + unmeasured + small > 0 {
        add(
            "types-not-considered",
            Severity::Info,
            format!(
                "{unpriced} types without a price, {unmeasured} without a thread speed and {small} below 2 vCPU and 4 GiB \
                 (the smallest host that the vendor names) are no candidates; see `catalog show`"
            ),
            None,
        );
    }
    notices
}

fn next(question: &Question<'_>, answer: &Recommendation<'_>) -> Vec<String> {
    let workload = &question.profile.name;
    let mut next = vec![
        "# waits by hour, concurrency and disk in full".to_owned(),
        format!("dataops-infra simulate --workload {workload}"),
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
        next.push(format!("dataops-infra plan --workload {workload} --families any"));
    }
    next
}
