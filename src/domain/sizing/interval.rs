//! How far the answer carries: the loads at which the same arrangement is still the cheapest that meets the objectives.

use std::collections::BTreeSet;

use super::evaluate::{Evaluator, MOST_JOBS_PER_WEEK, busy_hour_slots, jobs_per_week};
use super::search::{Offer, Question};
use crate::domain::parallel::map;
use crate::domain::profile::Profile;
use crate::domain::units::Micros;
use crate::domain::workload::mean_duration;

/// Multiples of the load at which the answer is tried again, outwards.
const STEPS: &[f64] = &[1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0];
/// The same for heavy loads, where each try is dear.
const FEW_STEPS: &[f64] = &[1.25, 2.0, 5.0];
/// Jobs in a week from which on a load is heavy.
const HEAVY: f64 = 30_000.0;

/// Load over which the choice stays the same, as multiples of the profile's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoadInterval {
    /// Smallest multiple tried at which it holds.
    pub low: f64,
    /// Whether nothing smaller was tried.
    pub low_open: bool,
    /// Largest multiple tried at which it holds.
    pub high: f64,
    /// Whether nothing larger was tried.
    pub high_open: bool,
}

/// Tries the search again at other loads, outwards until the answer changes, then in between.
///
/// The disks stay those of the profile's own load: what is asked is whether type and number change.
pub fn interval(question: &Question<'_>, chosen: &Offer<'_>, count: u32) -> LoadInterval {
    let holds = |multiple: f64| {
        let mut profile: Profile = question.profile.clone();
        profile.arrivals.pipelines_per_weekday *= multiple;
        for burst in &mut profile.arrivals.bursts {
            burst.pipelines = (f64::from(burst.pipelines) * multiple).round() as u32;
        }
        if jobs_per_week(&profile) > MOST_JOBS_PER_WEEK {
            return false;
        }
        let scaled = Question {
            profile: &profile,
            ..question.clone()
        };
        let mut evaluator = Evaluator::coarse(&profile, question.seed, question.threads);
        let (offers, _) = scaled.offers(&chosen.disks, &evaluator);
        offers
            .iter()
            .position(|offer| offer.instance.name == chosen.instance.name)
            .is_some_and(|own| still_first(&scaled, &offers, (own, count), &mut evaluator))
    };
    let steps = if jobs_per_week(question.profile) > HEAVY {
        FEW_STEPS
    } else {
        STEPS
    };
    let edges = map(
        question.threads,
        2,
        || (),
        |(), side| {
            let at = |step: f64| if side == 0 { 1.0 / step } else { step };
            let mut inside = 1.0;
            let mut beyond = None;
            for step in steps {
                if holds(at(*step)) {
                    inside = at(*step);
                } else {
                    beyond = Some(at(*step));
                    break;
                }
            }
            let Some(mut beyond) = beyond else {
                return (inside, true);
            };
            for _ in 0..3 {
                let middle = (inside * beyond).sqrt();
                if holds(middle) {
                    inside = middle;
                } else {
                    beyond = middle;
                }
            }
            (inside, false)
        },
    );
    let [(low, low_open), (high, high_open)] = [edges[0], edges[1]];
    LoadInterval {
        low,
        low_open,
        high,
        high_open,
    }
}

/// Returns whether `Question::search` would choose this number of hosts of this offer.
///
/// The same order and the same comparisons, but the arrangement in question comes first, and the first that
/// beats it ends the search: at most loads that is much less work. Its cost is a bound from the start, so the
/// rules that end a hopeless search are not needed.
pub(super) fn still_first(
    question: &Question<'_>,
    offers: &[Offer<'_>],
    own: (usize, u32),
    evaluator: &mut Evaluator<'_>,
) -> bool {
    let busy_hour = busy_hour_slots(question.profile, mean_duration(&question.profile.job));
    let offer = &offers[own.0];
    let Some(monthly) = question.monthly(offer, own.1, f64::from(own.1)) else {
        return false;
    };
    let considered = question.consider(offer, (own.1, monthly), busy_hour, evaluator);
    let Some(meets) = considered.meets else {
        return false;
    };
    let fewest = question.fewest();
    let mut untried: BTreeSet<(Micros, usize, u32, usize)> = offers
        .iter()
        .enumerate()
        .filter_map(|(index, offer)| {
            let (monthly, count) = question.priced(offer, fewest)?;
            Some((monthly, offer.rank, count, index))
        })
        .collect();
    let mut passed = false;
    while let Some((lowest, rank, count, index)) = untried.pop_first() {
        if lowest > considered.monthly {
            break;
        }
        let other = &offers[index];
        if let Some((monthly, count)) = question.priced(other, count + 1) {
            untried.insert((monthly, rank, count, index));
        }
        if (index, count) == own {
            passed = true;
            continue;
        }
        let tried = question.consider(other, (count, lowest), busy_hour, evaluator);
        let beats = tried.meets.is_some_and(|theirs| {
            let (cost, own_cost) = ((tried.monthly, rank), (considered.monthly, offer.rank));
            let (slowdown, own_slowdown) = (theirs.slowdown.mean, meets.slowdown.mean);
            cost < own_cost
                || (cost == own_cost && (slowdown < own_slowdown || (slowdown == own_slowdown && !passed)))
        });
        if beats {
            return false;
        }
    }
    true
}
