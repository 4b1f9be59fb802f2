//! The whole recommendation: host, disk, predictions, how far it carries, and what lies outside the allowed list.

use std::sync::Arc;

use super::disks::DiskSizes;
use super::evaluate::{CONFIRMED, Evaluation, Evaluator, MOST_JOBS_PER_WEEK, jobs_per_week, mean_busy_slots};
use super::interval::{LoadInterval, interval};
use super::search::{Considered, Families, Found, Offer, Question, Reason};
use super::study::{Arrangement, Sweep, sweep};
use crate::domain::disk::{DiskFill, DiskLoad, growth_gib_per_day};
use crate::domain::memory;
use crate::domain::profile::Target;
use crate::domain::simulation::record::Full;
use crate::domain::simulation::statistics::Estimate;
use crate::domain::units::Micros;

/// Replications behind the predictions of the choice.
const DETAILED: usize = 20;
/// Distance to an objective, in half-widths of the interval, below which the decision is called close.
const CLOSE: f64 = 1.5;
/// Searches at most, while disk and host depend on each other.
const ROUNDS: usize = 3;
/// Cheaper arrangements outside the allowed families that are shown.
const OUTSIDE: usize = 3;
/// Why there is no recommendation.
#[derive(Clone, Debug)]
pub enum Unanswerable {
    /// More jobs than can be simulated in reasonable time: what arithmetic says instead.
    TooMuch {
        /// Jobs in a week.
        jobs_per_week: f64,
        /// Slots that are busy on average.
        busy_slots: f64,
        /// Slots of the largest allowed type, and its name.
        largest: Option<(String, u32)>,
    },
    /// No type may be considered at all.
    NoOffer {
        /// Types of the allowed families with the reason against each.
        refused: Vec<(String, Reason)>,
    },
    /// Nothing meets the objectives.
    NothingMeets {
        /// What was tried, cheapest first.
        tried: Vec<Considered>,
    },
    /// Even with a free slot too many jobs wait too long for the runner to ask.
    PickupTooSlow {
        /// Share of jobs.
        late: f64,
    },
    /// No volume holds the unattended days.
    DiskTooSmall {
        /// Mean growth in GiB a day.
        growth_gib_per_day: f64,
    },
}

/// The disk and when it fills.
#[derive(Clone, Debug)]
pub struct DiskChoice {
    /// Size in GiB.
    pub gib: u32,
    /// Simulated fill of one host without clean-up.
    pub fill: DiskFill,
    /// What was assumed to fill it.
    pub load: DiskLoad,
}

/// The recommendation with everything that the report shows.
#[derive(Clone, Debug)]
pub struct Recommendation<'a> {
    /// The type and its terms.
    pub offer: Offer<'a>,
    /// The arrangement.
    pub chosen: Considered,
    /// The evaluation that met the objectives.
    pub evaluation: Evaluation,
    /// The disk of each host.
    pub disk: DiskChoice,
    /// Dollars a month of hosts, disks and control plane.
    pub monthly: Micros,
    /// Everything else in the allowed families that was looked at.
    pub others: Vec<Considered>,
    /// Types of the allowed families that could not be considered.
    pub refused: Vec<(String, Reason)>,
    /// Arrangements outside the allowed families that meet the objectives and cost less.
    pub outside: Vec<Considered>,
    /// Whether an arrangement no dearer could not be separated from the objectives.
    pub borderline: bool,
    /// How far the answer carries.
    pub interval: LoadInterval,
    /// All replications of the choice together.
    pub record: Full,
    /// Mean and interval of the 95th percentile of the wait, seconds.
    pub wait_p95: Estimate,
    /// Share of all threads' time that computes.
    pub cpu_utilization: f64,
    /// Share of a job's time that computes on the reference thread.
    pub cpu_share: f64,
    /// MiB left of the memory budget when all slots run; none on EKS, where requests decide.
    pub memory_headroom_mib: Option<f64>,
    /// Waits against concurrency or nodes.
    pub sweep: Vec<Sweep>,
    /// Weeks of each replication.
    pub weeks: u32,
}

/// Recommends a host for the question.
///
/// # Errors
///
/// Says why there is none, with the figures that would be needed.
pub fn recommend<'a>(question: &Question<'a>) -> Result<Recommendation<'a>, Unanswerable> {
    let profile = question.profile;
    let weekly = jobs_per_week(profile);
    if weekly > MOST_JOBS_PER_WEEK {
        return Err(too_much(question, weekly));
    }
    let mut evaluator = Evaluator::new(profile, question.seed, question.threads);
    let floor = pickup_floor(question);
    if floor > 1.0 - profile.slo.wait_quantile {
        return Err(Unanswerable::PickupTooSlow { late: floor });
    }
    let mut disks = Arc::new(DiskSizes::new(question, profile.runner.concurrent));
    let mut round = 0;
    // The disk's price ranks the hosts, and the host's concurrency fills the disk: what has been replayed is
    // remembered, so going round again costs next to nothing.
    let (offer, chosen, evaluation, others, refused, borderline) = loop {
        round += 1;
        let (offers, refused) = question.offers(&disks, &evaluator);
        let refused: Vec<(String, Reason)> = refused
            .into_iter()
            .map(|(instance, reason)| (instance.name.clone(), reason))
            .collect();
        if offers.is_empty() {
            return Err(Unanswerable::NoOffer { refused });
        }
        if offers
            .iter()
            .all(|offer| question.priced(offer, question.fewest()).is_none())
        {
            let load = disks.load(question.fewest());
            let growth_gib_per_day = growth_gib_per_day(&profile.disk, load);
            return Err(Unanswerable::DiskTooSmall { growth_gib_per_day });
        }
        let Found {
            chosen,
            others,
            borderline,
        } = question.search(&offers, &mut evaluator, None);
        let Some((offer, chosen)) = chosen else {
            return Err(Unanswerable::NothingMeets { tried: others });
        };
        let Some(evaluation) = chosen.meets.clone() else {
            return Err(Unanswerable::NothingMeets { tried: others });
        };
        let before = disks.gib(chosen.count);
        let exact = Arc::new(DiskSizes::new(question, evaluation.layout.per_host()));
        if exact.gib(chosen.count) == before {
            break (offer, chosen, evaluation, others, refused, borderline);
        }
        if round == ROUNDS {
            // Host and disk chase each other: the larger disk is the one that keeps the objective.
            let (mut offer, mut chosen) = (offer, chosen);
            if exact.gib(chosen.count) > before {
                offer.disks = Arc::clone(&exact);
                let monthly = question.monthly(&offer, chosen.count, evaluation.nodes.mean);
                chosen.monthly = monthly.unwrap_or(chosen.monthly);
                disks = exact;
            }
            break (offer, chosen, evaluation, others, refused, borderline);
        }
        disks = exact;
    };
    let load = DiskLoad {
        concurrency: evaluation.layout.per_host(),
        ..disks.load(chosen.count)
    };
    let disk = DiskChoice {
        gib: disks
            .gib(chosen.count)
            .unwrap_or(crate::domain::disk::LARGEST_GIB),
        fill: DiskFill::simulate(&profile.disk, load, question.seed, question.threads),
        load,
    };
    let monthly = chosen.monthly;
    let outside = outside(question, &mut evaluator, &disks, monthly);
    let interval = interval(question, &offer, chosen.count);
    let (record, p95) = evaluator.record(offer.shape, evaluation.layout, DETAILED);
    let wait_p95 = Estimate::of(&p95);
    let memory_headroom_mib = (question.target == Target::Ec2).then(|| {
        memory::budget_mib(f64::from(offer.instance.memory_mib), &profile.host)
            - memory::sum_quantile_mib(&profile.job, evaluation.layout.per_host(), memory::FIT_QUANTILE)
    });
    let threads = evaluation.nodes.mean * f64::from(offer.instance.vcpus);
    let close = |estimate: Estimate, limit: f64| limit - estimate.mean < CLOSE * estimate.half_width;
    let borderline = borderline
        || evaluation.replications > CONFIRMED
        || close(evaluation.late, 1.0 - profile.slo.wait_quantile)
        || close(evaluation.slowdown, profile.slo.pipeline_slowdown);
    let arrangement = Arrangement {
        instance: offer.instance,
        shape: offer.shape,
        layout: evaluation.layout,
    };
    let sweep = sweep(question, &arrangement, &record, &mut evaluator);
    Ok(Recommendation {
        cpu_utilization: offer.cpu_demand / threads.max(1.0),
        cpu_share: evaluator.cpu_share(),
        weeks: evaluator.weeks(),
        offer,
        chosen,
        evaluation,
        disk,
        monthly,
        others,
        refused,
        outside,
        borderline,
        interval,
        record,
        wait_p95,
        memory_headroom_mib,
        sweep,
    })
}

fn too_much(question: &Question<'_>, weekly: f64) -> Unanswerable {
    let largest = question
        .catalog
        .types
        .iter()
        .filter(|instance| {
            question
                .families
                .rank(instance.family(), question.target)
                .is_some()
        })
        .map(|instance| {
            (
                instance.name.clone(),
                super::search::slots_cap(question.profile, question.target, instance),
            )
        })
        .max_by_key(|(_, slots)| *slots);
    Unanswerable::TooMuch {
        jobs_per_week: weekly,
        busy_slots: mean_busy_slots(question.profile),
        largest,
    }
}

/// Returns the share of jobs that wait too long even if a slot is always free: the runner has to ask, and a pod to
/// start.
fn pickup_floor(question: &Question<'_>) -> f64 {
    let runner = &question.profile.runner;
    let start = match question.target {
        Target::Ec2 => 0.0,
        Target::Eks => question.profile.kubernetes.pod_start_s,
    };
    let left = question.profile.slo.wait_s - runner.pickup_delay_s - start;
    if runner.check_interval_s > 0.0 {
        (1.0 - left / runner.check_interval_s).clamp(0.0, 1.0)
    } else {
        f64::from(left < 0.0)
    }
}

/// Finds what costs less outside the allowed families and meets the same objectives.
fn outside(
    question: &Question<'_>,
    evaluator: &mut Evaluator<'_>,
    disks: &Arc<DiskSizes>,
    most: Micros,
) -> Vec<Considered> {
    let everything = Question {
        families: Families::Any,
        ..question.clone()
    };
    let (mut offers, _) = everything.offers(disks, evaluator);
    offers.retain(|offer| {
        question
            .families
            .rank(offer.instance.family(), question.target)
            .is_none()
    });
    let mut found: Vec<Considered> = Vec::new();
    while found.len() < OUTSIDE {
        let Some((offer, considered)) = everything.search(&offers, evaluator, Some(most)).chosen else {
            break;
        };
        if considered.monthly >= most {
            break;
        }
        // The next ones are only worth a line if they are another kind of machine.
        offers.retain(|other| other.instance.family() != offer.instance.family());
        found.push(considered);
    }
    found
}
