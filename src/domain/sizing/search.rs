//! The search: the cheapest arrangement of the allowed types that meets the objectives, and why cheaper ones do not.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::disks::DiskSizes;
use super::evaluate::{Evaluation, Evaluator, Layout, Shape, Standing, busy_hour_slots};
use super::pods;
use crate::domain::catalog::{Catalog, InstanceType, qualified_families, thread_speed};
use crate::domain::memory;
use crate::domain::profile::{Profile, Target};
use crate::domain::simulation::statistics::Estimate;
use crate::domain::units::Micros;
use crate::domain::workload::mean_duration;

/// Concurrencies tried on a host, besides its memory cap.
pub(super) const SLOTS: [u32; 21] = [
    1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 96, 128, 192, 256, 384,
];
/// Slots of a host beyond which nothing is tried: one engine that runs more containers is a risk of its own.
const MOST_SLOTS: u32 = 512;
/// vCPUs and MiB of the smallest host that any page of the vendor names, c5.large.
const SMALLEST: (u32, u32) = (2, 4096);
/// Hosts or nodes of one deployment.
pub const MOST_HOSTS: u32 = 64;
/// The one-pass estimate rejects only above this multiple of the objective, for it is no strict bound.
const ONEPASS_SLACK: f64 = 1.1;

/// Improvement of late share (relative) and slowdown below which one more host changes nothing.
const FLAT: f64 = 1e-3;
/// Simulated arrangements after which no larger numbers of hosts are tried: nothing will meet the objectives.
const MOST_TRIED: usize = 300;

/// Which instance families may be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Families {
    /// Those that the vendor names for the target.
    Qualified,
    /// All compute-optimised ones.
    Compute,
    /// All that have a price and a thread speed.
    Any,
    /// These, in order of preference.
    List(Vec<String>),
}

impl Families {
    /// Returns the place of a family in the order of preference; none if it may not be chosen.
    pub fn rank(&self, family: &str, target: Target) -> Option<usize> {
        match self {
            Self::Qualified => qualified_families(target)
                .iter()
                .filter(|qualified| qualified.current_advice)
                .position(|qualified| qualified.family == family),
            Self::Compute => family.starts_with('c').then_some(0),
            Self::Any => Some(0),
            Self::List(list) => list.iter().position(|listed| listed == family),
        }
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// The workload.
    pub profile: &'a Profile,
    /// Types and prices of the region.
    pub catalog: &'a Catalog,
    /// EC2 hosts or EKS nodes.
    pub target: Target,
    /// Families that may be chosen.
    pub families: Families,
    /// Whether the installation page's minimum of CPUs and memory must be met.
    pub strict_minimums: bool,
    /// Seed of the simulation.
    pub seed: u64,
    /// Threads to use; changes no result.
    pub threads: usize,
}

/// Why an arrangement is not chosen.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// The catalog has no price for the type in the region.
    NoPrice,
    /// Smaller than any host that a page of the vendor names: 2 vCPUs and 4 GiB.
    TooSmall,
    /// Nobody has measured or assumed how fast the type's threads are.
    NoThreadSpeed,
    /// Below the installation page's minimum.
    BelowMinimum {
        /// vCPUs asked for.
        vcpus: u32,
        /// GiB asked for.
        memory_gib: u32,
    },
    /// Memory does not hold a single job.
    NoRoomForOneJob {
        /// MiB one job may need.
        needs_mib: f64,
        /// MiB there are for jobs.
        has_mib: f64,
    },
    /// Even an undisturbed job takes too long on such a thread.
    SlowThread {
        /// Slowdown without any contention or waiting.
        floor: f64,
        /// The objective.
        limit: f64,
    },
    /// All slots together are fewer than the busy hour offers work for.
    TooFewSlots {
        /// Slots there are.
        slots: u32,
        /// Slots the busy hour needs on average.
        busy_hour: f64,
    },
    /// Too many jobs wait too long.
    Late {
        /// Slots of a host.
        slots: u32,
        /// Share of late jobs.
        late: Estimate,
        /// The objective.
        limit: f64,
        /// Whether memory (or the pod's requests) allow no more slots.
        capped: bool,
    },
    /// Pipelines take too long.
    Slow {
        /// Slots of a host.
        slots: u32,
        /// The slowdown.
        slowdown: Estimate,
        /// The objective.
        limit: f64,
    },
    /// The simulation cannot tell.
    Borderline {
        /// Slots of a host.
        slots: u32,
        /// Share of late jobs.
        late: Estimate,
        /// The slowdown.
        slowdown: Estimate,
    },
    /// Meets the objectives and costs more than the choice.
    Dearer,
    /// Meets the objectives at the same cost; the choice comes first in the order of preference or is faster.
    TiedOnCost,
}

/// A type that may be considered, with what its memory or its pods allow.
#[derive(Clone, Debug)]
pub struct Offer<'a> {
    /// The type.
    pub instance: &'a InstanceType,
    /// Place in the order of preference.
    pub rank: usize,
    /// Its threads.
    pub shape: Shape,
    /// Most slots (or job pods) of one host.
    pub cap: u32,
    /// Dollars a month of one host without its disk.
    pub monthly_each: Micros,
    /// Disk of each host, by the number of hosts.
    pub disks: Arc<DiskSizes>,
    /// For burstable types: threads of a host that may compute for ever, and the dollars a month of each beyond.
    pub burst: Option<(f64, Micros)>,
    /// Threads of this speed that the workload keeps computing on average.
    pub cpu_demand: f64,
}

impl Offer<'_> {
    /// Returns the threads that so many burstable hosts compute above their baseline, and the dollars a month of each;
    /// none when there are no such.
    pub fn surplus(&self, hosts: f64) -> Option<(f64, Micros)> {
        let (baseline, price) = self.burst?;
        let threads = self.cpu_demand - baseline * hosts;
        (threads > 0.0).then_some((threads, price))
    }
}

/// An arrangement that was looked at.
#[derive(Clone, Debug)]
pub struct Considered {
    /// Name of the type.
    pub instance_type: String,
    /// Hosts, or the smallest number of nodes.
    pub count: u32,
    /// Most slots of a host.
    pub cap: u32,
    /// Dollars a month for hosts, disks and control plane; for node groups at the mean number of nodes.
    pub monthly: Micros,
    /// What was simulated, in order of concurrency.
    pub evaluations: Vec<Evaluation>,
    /// The evaluation that meets the objectives.
    pub meets: Option<Evaluation>,
    /// Why it is not chosen; empty for the choice.
    pub reasons: Vec<Reason>,
}

/// The cheapest arrangement that meets the objectives, and what else was looked at.
#[derive(Clone, Debug)]
pub struct Found<'a> {
    /// The choice; none when nothing meets the objectives.
    pub chosen: Option<(Offer<'a>, Considered)>,
    /// Everything else, cheapest first.
    pub others: Vec<Considered>,
    /// Whether an arrangement no dearer than the choice could not be separated from the objectives.
    pub borderline: bool,
}

/// Returns the speed of a type's threads relative to the profile's reference thread.
///
/// The profile's own speeds win over the catalog's.
pub fn relative_speed(profile: &Profile, instance: &InstanceType) -> Option<f64> {
    let own = |family: &str| {
        profile
            .host
            .thread_speeds
            .iter()
            .find(|(name, _)| name == family)
            .map(|(_, speed)| *speed)
    };
    let reference = &profile.host.reference_thread;
    let reference = own(reference)
        .or_else(|| thread_speed(reference).map(|speed| speed.value))
        .unwrap_or(1.0);
    own(instance.family())
        .or(instance.thread_speed)
        .map(|speed| speed / reference)
}

/// Returns the most jobs (EC2) or job pods (EKS) that one host of a type takes.
pub fn slots_cap(profile: &Profile, target: Target, instance: &InstanceType) -> u32 {
    let most = match target {
        Target::Ec2 => {
            let budget = memory::budget_mib(f64::from(instance.memory_mib), &profile.host);
            memory::slots(&profile.job, budget)
        }
        Target::Eks => pods::allocatable(profile, instance).job_pods,
    };
    most.min(MOST_SLOTS)
}

impl<'a> Question<'a> {
    /// Returns the control plane's dollars a month; nothing on EC2.
    pub fn control_plane(&self) -> Micros {
        match self.target {
            Target::Ec2 => Micros(0),
            Target::Eks => self.catalog.services.eks_control_plane_hour.amount.per_month(),
        }
    }

    /// Splits the catalog's types into those that may be considered and those that may not, with the reason.
    pub fn offers(
        &self,
        disks: &Arc<DiskSizes>,
        evaluator: &Evaluator<'_>,
    ) -> (Vec<Offer<'a>>, Vec<(&'a InstanceType, Reason)>) {
        let (cpu_share, cpu_demand) = (evaluator.cpu_share(), evaluator.cpu_demand());
        let (mut offers, mut refused) = (Vec::new(), Vec::new());
        for instance in &self.catalog.types {
            let Some(rank) = self.families.rank(instance.family(), self.target) else {
                continue;
            };
            match self.offer(instance, rank, disks, (cpu_share, cpu_demand)) {
                Ok(offer) => offers.push(offer),
                Err(reason) => refused.push((instance, reason)),
            }
        }
        (offers, refused)
    }

    fn offer(
        &self,
        instance: &'a InstanceType,
        rank: usize,
        disks: &Arc<DiskSizes>,
        (cpu_share, cpu_demand): (f64, f64),
    ) -> Result<Offer<'a>, Reason> {
        let price = instance.price.as_ref().ok_or(Reason::NoPrice)?;
        let speed = relative_speed(self.profile, instance).ok_or(Reason::NoThreadSpeed)?;
        if instance.vcpus < SMALLEST.0 || instance.memory_mib < SMALLEST.1 {
            return Err(Reason::TooSmall);
        }
        let shape = Shape {
            vcpus: instance.vcpus,
            threads_per_core: instance.threads_per_core,
            speed,
        };
        let monthly_each = price.amount.per_month();
        let host = &self.profile.host;
        if self.strict_minimums
            && (instance.vcpus < host.minimum_vcpus
                || f64::from(instance.memory_mib) < host.minimum_memory_gib * 1024.0)
        {
            return Err(Reason::BelowMinimum {
                vcpus: host.minimum_vcpus,
                memory_gib: host.minimum_memory_gib.ceil() as u32,
            });
        }
        let cap = slots_cap(self.profile, self.target, instance);
        if cap == 0 {
            let (needs_mib, has_mib) = match self.target {
                Target::Ec2 => (
                    memory::sum_quantile_mib(&self.profile.job, 1, memory::FIT_QUANTILE),
                    memory::budget_mib(f64::from(instance.memory_mib), host),
                ),
                Target::Eks => (
                    self.profile.kubernetes.memory_request_mib,
                    pods::allocatable(self.profile, instance).job_memory_mib,
                ),
            };
            return Err(Reason::NoRoomForOneJob { needs_mib, has_mib });
        }
        let (floor, limit) = (
            1.0 - cpu_share + cpu_share / speed,
            self.profile.slo.pipeline_slowdown,
        );
        if floor > limit {
            return Err(Reason::SlowThread { floor, limit });
        }
        let surplus = self
            .catalog
            .services
            .burstable_surplus_vcpu_hour
            .amount
            .per_month();
        Ok(Offer {
            instance,
            rank,
            shape,
            cap,
            monthly_each,
            disks: Arc::clone(disks),
            burst: instance
                .burstable_baseline
                .map(|share| (share * f64::from(instance.vcpus), surplus)),
            cpu_demand: cpu_demand / speed,
        })
    }

    /// Returns the dollars a month of a mean number of hosts out of at least `count`, with their disks and what a
    /// burstable type computes above its baseline; none when no volume is large enough.
    pub fn monthly(&self, offer: &Offer<'_>, count: u32, hosts: f64) -> Option<Micros> {
        let gib = offer.disks.gib(count)?;
        let disk = self.catalog.services.gp3_gib_month.amount * i64::from(gib);
        let surplus = offer
            .surplus(hosts)
            .map_or(Micros(0), |(threads, price)| price.times(threads));
        Some(self.control_plane() + (offer.monthly_each + disk).times(hosts) + surplus)
    }

    /// Returns the next number of hosts of an offer from `from` on that has a price, with the price.
    pub(super) fn priced(&self, offer: &Offer<'_>, from: u32) -> Option<(Micros, u32)> {
        (from..=MOST_HOSTS.max(self.fewest())).find_map(|count| {
            self.monthly(offer, count, f64::from(count))
                .map(|monthly| (monthly, count))
        })
    }

    /// Returns the smallest number of hosts that may be tried.
    pub(super) fn fewest(&self) -> u32 {
        match self.target {
            Target::Ec2 => 1,
            Target::Eks => self.profile.slo.min_nodes.max(1),
        }
    }

    /// Finds the cheapest arrangement that costs no more than `most`, if given.
    ///
    /// Arrangements are tried in order of cost, then preference. With node groups the cost depends on the mean
    /// number of nodes, so the search goes on until no untried one can be cheaper.
    pub fn search(
        &self,
        offers: &[Offer<'a>],
        evaluator: &mut Evaluator<'_>,
        most: Option<Micros>,
    ) -> Found<'a> {
        let busy_hour = busy_hour_slots(self.profile, mean_duration(&self.profile.job));
        let mut untried: BTreeSet<(Micros, usize, u32, usize)> = BTreeSet::new();
        let fewest = self.fewest();
        for (index, offer) in offers.iter().enumerate() {
            if let Some((monthly, count)) = self.priced(offer, fewest) {
                untried.insert((monthly, offer.rank, count, index));
            }
        }
        let mut best: Option<(Offer<'a>, Considered)> = None;
        let mut others: Vec<Considered> = Vec::new();
        let mut borderline = false;
        let mut before: Vec<Option<(f64, f64)>> = vec![None; offers.len()];
        let mut tried = 0;
        while let Some((lowest, rank, count, index)) = untried.pop_first() {
            let bound = best.as_ref().map(|(_, considered)| considered.monthly).or(most);
            if bound.is_some_and(|bound| lowest > bound) {
                break;
            }
            let offer = &offers[index];
            let considered = self.consider(offer, (count, lowest), busy_hour, evaluator);
            let best_of = |value: fn(&Evaluation) -> f64| {
                considered.evaluations.iter().map(value).min_by(f64::total_cmp)
            };
            let now = best_of(|tried| tried.late.mean).zip(best_of(|tried| tried.slowdown.mean));
            // One more host that changes neither waits nor contention is not worth trying, nor are all after it.
            let exhausted = now.zip(before[index]).is_some_and(|(now, before)| {
                before.0 - now.0 < FLAT * before.0.max(FLAT) && before.1 - now.1 < FLAT
            });
            before[index] = now.or(before[index]);
            tried += usize::from(!considered.evaluations.is_empty());
            if !exhausted
                && tried < MOST_TRIED
                && let Some((monthly, count)) = self.priced(offer, count + 1)
            {
                untried.insert((monthly, rank, count, index));
            }
            borderline |= considered
                .evaluations
                .iter()
                .any(|tried| tried.standing == Standing::Borderline);
            let better = considered.meets.as_ref().is_some_and(|meets| {
                best.as_ref().is_none_or(|(other, current)| {
                    let slowdown = |considered: &Considered| {
                        considered
                            .meets
                            .as_ref()
                            .map_or(f64::INFINITY, |meets| meets.slowdown.mean)
                    };
                    (considered.monthly, offer.rank) < (current.monthly, other.rank)
                        || ((considered.monthly, offer.rank) == (current.monthly, other.rank)
                            && meets.slowdown.mean < slowdown(current))
                })
            });
            if better {
                if let Some((_, before)) = best.replace((offer.clone(), considered)) {
                    others.push(before);
                }
            } else {
                others.push(considered);
            }
        }
        if let Some((_, chosen)) = &best {
            for other in others.iter_mut().filter(|other| other.meets.is_some()) {
                let tied = other.monthly == chosen.monthly;
                other.reasons = vec![if tied { Reason::TiedOnCost } else { Reason::Dearer }];
            }
        }
        others.sort_by(|a, b| {
            (a.monthly, &a.instance_type, a.count).cmp(&(b.monthly, &b.instance_type, b.count))
        });
        Found {
            chosen: best,
            others,
            borderline,
        }
    }

    /// Looks at one number of hosts of one type, which cost so many dollars a month.
    pub fn consider(
        &self,
        offer: &Offer<'a>,
        (count, monthly): (u32, Micros),
        busy_hour: f64,
        evaluator: &mut Evaluator<'_>,
    ) -> Considered {
        let mut considered = Considered {
            instance_type: offer.instance.name.clone(),
            count,
            cap: offer.cap,
            monthly,
            evaluations: Vec::new(),
            meets: None,
            reasons: Vec::new(),
        };
        match self.target {
            Target::Ec2 => self.try_hosts(offer, count, busy_hour, evaluator, &mut considered),
            Target::Eks => self.try_nodes(offer, count, busy_hour, evaluator, &mut considered),
        }
        considered
    }

    fn try_hosts(
        &self,
        offer: &Offer<'_>,
        count: u32,
        busy_hour: f64,
        evaluator: &mut Evaluator<'_>,
        considered: &mut Considered,
    ) {
        if f64::from(count * offer.cap) <= busy_hour {
            considered.reasons.push(Reason::TooFewSlots {
                slots: count * offer.cap,
                busy_hour,
            });
            return;
        }
        let slo = &self.profile.slo;
        for slots in slots_to_try(offer.cap) {
            if evaluator.onepass_late(count * slots) > ONEPASS_SLACK * (1.0 - slo.wait_quantile) {
                continue;
            }
            let evaluation = evaluator.judge(offer.shape, Layout::Hosts { count, slots });
            considered.evaluations.push(evaluation.clone());
            if evaluation.standing == Standing::Meets {
                considered.meets = Some(evaluation);
                return;
            }
            // More slots would only add contention.
            let waits_no_more = evaluation.noticed <= 1.0 - slo.wait_quantile;
            if waits_no_more && evaluation.slowdown.mean > slo.pipeline_slowdown {
                break;
            }
        }
        if considered.evaluations.is_empty() {
            let layout = Layout::Hosts {
                count,
                slots: offer.cap,
            };
            considered.evaluations.push(evaluator.judge(offer.shape, layout));
        }
        self.explain(offer, considered);
    }

    fn try_nodes(
        &self,
        offer: &Offer<'_>,
        min: u32,
        busy_hour: f64,
        evaluator: &mut Evaluator<'_>,
        considered: &mut Considered,
    ) {
        let slo = &self.profile.slo;
        let limit = ONEPASS_SLACK * (1.0 - slo.wait_quantile);
        // More nodes never hurt: what fails with as many as anybody would allow fails with fewer.
        let open = Layout::Nodes {
            min,
            max: min + MOST_HOSTS,
            pods: offer.cap,
        };
        let boundless = evaluator.glance(offer.shape, open);
        if !matches!(boundless.standing, Standing::Meets | Standing::Borderline) {
            considered.evaluations.push(boundless);
            self.explain(offer, considered);
            return;
        }
        let mut before: Option<(f64, f64)> = None;
        for max in min..=(min + MOST_HOSTS) {
            let slots = max * offer.cap;
            if f64::from(slots) <= busy_hour || evaluator.onepass_late(slots) > limit {
                continue;
            }
            let evaluation = evaluator.judge(
                offer.shape,
                Layout::Nodes {
                    min,
                    max,
                    pods: offer.cap,
                },
            );
            considered.evaluations.push(evaluation.clone());
            if evaluation.standing == Standing::Meets {
                considered.monthly = self
                    .monthly(offer, min, evaluation.nodes.mean)
                    .unwrap_or(considered.monthly);
                considered.meets = Some(evaluation);
                return;
            }
            // Nodes that are never used change nothing any more.
            let now = (evaluation.late.mean, evaluation.slowdown.mean);
            if before.is_some_and(|(late, slowdown)| {
                (late - now.0).abs() < FLAT * late.max(FLAT) && (slowdown - now.1).abs() < FLAT / 10.0
            }) {
                break;
            }
            before = Some(now);
        }
        if considered.evaluations.is_empty() {
            considered.reasons.push(Reason::TooFewSlots {
                slots: (min + MOST_HOSTS) * offer.cap,
                busy_hour,
            });
            return;
        }
        self.explain(offer, considered);
    }

    fn explain(&self, offer: &Offer<'_>, considered: &mut Considered) {
        let slo = &self.profile.slo;
        // The arrangement that came closest tells most: the one with the fewest late jobs.
        let Some(closest) = considered.evaluations.iter().min_by(|a, b| {
            let distance = |e: &Evaluation| {
                (e.late.mean / (1.0 - slo.wait_quantile)).max(1.0)
                    + (e.slowdown.mean / slo.pipeline_slowdown).max(1.0)
            };
            distance(a).total_cmp(&distance(b))
        }) else {
            return;
        };
        let slots = closest.layout.per_host();
        let late = Reason::Late {
            slots,
            late: closest.late,
            limit: 1.0 - slo.wait_quantile,
            capped: slots == offer.cap,
        };
        let slow = Reason::Slow {
            slots,
            slowdown: closest.slowdown,
            limit: slo.pipeline_slowdown,
        };
        considered.reasons.extend(match closest.standing {
            Standing::Late => vec![late],
            Standing::Slow => vec![slow],
            Standing::LateAndSlow => vec![late, slow],
            Standing::Borderline | Standing::Meets => {
                vec![Reason::Borderline {
                    slots,
                    late: closest.late,
                    slowdown: closest.slowdown,
                }]
            }
        });
    }
}

fn slots_to_try(cap: u32) -> impl Iterator<Item = u32> {
    SLOTS
        .into_iter()
        .filter(move |slots| *slots < cap)
        .chain(std::iter::once(cap))
}
