//! The proof of a calibration: the new profile is replayed on the slots it was measured with, and its waits must
//! look like the measured ones.
//!
//! Run times were measured on the current host and hold its CPU contention already, so the replay adds none.

use serde::Serialize;

use super::estimate::Calibration;
use super::waits::{Slots, Waits};
use crate::domain::contention::ProgressTable;
use crate::domain::profile::Profile;
use crate::domain::random::{Purpose, Stream};
use crate::domain::simulation::replay::{Fleet, Recorder, Workspace, replay};
use crate::domain::workload::{JobCounts, Trace, hourly_pipelines};

/// A prediction may be this many times too long or too short.
pub const TOLERANCE: f64 = 2.0;
/// Waits below this many seconds are alike: nobody cares whether it is 1 s or 3 s.
pub const FLOOR_S: f64 = 5.0;
/// Shares of late jobs below this are alike.
pub const FLOOR_SHARE: f64 = 0.005;

/// Replications of the length of the export.
const REPLICATIONS: u64 = 20;
/// Jobs replayed at most.
const MAX_JOBS: f64 = 3e7;

/// How a calibration did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The predicted waits are like the measured ones.
    Agrees,
    /// They are not: the profile does not describe this runner.
    Rejected,
    /// There is nothing to compare.
    Unchecked,
}

/// The lowest and the highest of the replications.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ranges {
    /// Of the median wait, seconds.
    pub p50: [f64; 2],
    /// Of the 95th percentile, seconds.
    pub p95: [f64; 2],
    /// Of the share of jobs that waited more than 30 s.
    pub share_over_30s: [f64; 2],
}

/// Predicted over measured; numbers below a floor count as the floor.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ratios {
    /// Of the median wait.
    pub p50: f64,
    /// Of the 95th percentile.
    pub p95: f64,
    /// Of the share of jobs that waited more than 30 s.
    pub share_over_30s: f64,
}

/// The comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// Slots replayed.
    pub concurrency: u32,
    /// `given`, or `estimated` from the export.
    pub concurrency_basis: &'static str,
    /// Measured waits.
    pub measured: Option<Waits>,
    /// Medians of the replications.
    pub predicted: Option<Waits>,
    /// What chance makes of the predictions in exports of this length.
    pub predicted_range: Option<Ranges>,
    /// Predicted over measured.
    pub ratio: Option<Ratios>,
    /// Replications.
    pub replications: u64,
    /// Weeks of each.
    pub weeks: u32,
    /// Seed of the replications.
    pub seed: u64,
    /// The result.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
}

/// Replays the calibrated profile and compares.
pub fn check(calibration: &Calibration, seed: u64) -> Check {
    let slots = calibration.slots;
    let mut check = Check {
        concurrency: slots.count,
        concurrency_basis: if slots.given { "given" } else { "estimated" },
        measured: calibration.measured,
        predicted: None,
        predicted_range: None,
        ratio: None,
        replications: 0,
        weeks: 0,
        seed,
        verdict: Verdict::Unchecked,
        reason: String::new(),
    };
    let Some(measured) = calibration.measured else {
        "the export has no queued_duration to compare with".clone_into(&mut check.reason);
        return check;
    };
    let known = |key: &str| calibration.estimates.iter().any(|one| one.key == key);
    let needed = [
        "arrivals.pipelines_per_weekday",
        "pipeline.jobs_mean",
        "job.duration_p90_s",
    ];
    if let Some(missing) = needed.iter().find(|key| !known(key)) {
        check.reason =
            format!("{missing} could not be estimated: a replay would show the base profile, not yours");
        return check;
    }
    let weeks = (calibration.days / 7.0).round().clamp(1.0, 26.0);
    let a_week = jobs_per_week(&calibration.profile);
    let weeks = weeks
        .min((MAX_JOBS / REPLICATIONS as f64 / a_week).floor())
        .max(1.0) as u32;
    let replications = (MAX_JOBS / (a_week * f64::from(weeks)))
        .floor()
        .min(REPLICATIONS as f64) as u64;
    if replications < 3 {
        "too many jobs a week to replay".clone_into(&mut check.reason);
        return check;
    }
    check.weeks = weeks;
    check.replications = replications;
    let runs = predict(calibration, slots, weeks, seed, replications);
    let column = |of: &dyn Fn(&Waits) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(of).collect();
        values.sort_unstable_by(f64::total_cmp);
        let (low, high) = (values.first().copied(), values.last().copied());
        let middle = values.get(values.len() / 2).copied().unwrap_or(0.0);
        (middle, [low.unwrap_or(0.0), high.unwrap_or(0.0)])
    };
    let (p50, p95, share) = (
        column(&|w| w.p50),
        column(&|w| w.p95),
        column(&|w| w.share_over_30s),
    );
    check.predicted = Some(Waits {
        jobs: column(&|w| w.jobs as f64).0 as u64,
        p50: p50.0,
        p95: p95.0,
        mean: column(&|w| w.mean).0,
        share_over_30s: share.0,
    });
    check.predicted_range = Some(Ranges {
        p50: p50.1,
        p95: p95.1,
        share_over_30s: share.1,
    });
    let compared = [
        ("median wait", measured.p50, p50, FLOOR_S),
        ("95th percentile", measured.p95, p95, FLOOR_S),
        ("share over 30 s", measured.share_over_30s, share, FLOOR_SHARE),
    ];
    let ratios =
        compared.map(|(_, measured, (predicted, _), floor)| predicted.max(floor) / measured.max(floor));
    check.ratio = Some(Ratios {
        p50: ratios[0],
        p95: ratios[1],
        share_over_30s: ratios[2],
    });
    let mut off = Vec::new();
    for ((what, measured, (predicted, range), floor), ratio) in compared.into_iter().zip(ratios) {
        let far = !(1.0 / TOLERANCE..=TOLERANCE).contains(&ratio);
        // What replays of this length give by chance is no evidence; the parameters have errors of their own.
        let possible = (range[0] / 1.25..=range[1].max(floor) * 1.25).contains(&measured);
        if far && !possible {
            off.push(format!("{what} predicted {predicted:.3}, measured {measured:.3}"));
        }
    }
    if off.is_empty() {
        check.verdict = Verdict::Agrees;
        check.reason = format!(
            "predicted and measured waits are within a factor of {TOLERANCE}, or within what chance gives in {weeks} weeks"
        );
    } else {
        check.verdict = Verdict::Rejected;
        check.reason = off.join("; ");
    }
    check
}

/// Replays several exports' worth of jobs on the slots and summarises each.
///
/// Each replication draws the load anew within its standard error: a short export leaves more open than a long one.
fn predict(calibration: &Calibration, slots: Slots, weeks: u32, seed: u64, replications: u64) -> Vec<Waits> {
    let undisturbed = ProgressTable::undisturbed();
    let fleet = Fleet {
        hosts: 1,
        slots: slots.count.max(1) as usize,
        speed: 1.0,
        progress: &undisturbed,
    };
    let (mut trace, mut space) = (Trace::default(), Workspace::default());
    let mut recorder = Collected::default();
    let mut runs = Vec::new();
    for replication in 0..replications {
        let profile = &vary(calibration, Stream::new(seed, replication, Purpose::Customers));
        let counts = JobCounts::new(&profile.pipeline);
        trace.fill(profile, &counts, weeks, seed, replication);
        recorder.waits.clear();
        replay(&trace, &fleet, &mut space, &mut recorder);
        runs.extend(Waits::of(&mut recorder.waits));
    }
    runs
}

/// Moves the parameters that the load is made of by a normal number of standard errors each.
fn vary(calibration: &Calibration, chance: Stream) -> Profile {
    let mut profile = calibration.profile.clone();
    let mut turn = u64::MAX;
    let mut moved = |key: &str, value: f64| {
        turn -= 1;
        let one = calibration.estimates.iter().find(|one| one.key == key);
        let error = one.and_then(|one| one.standard_error).unwrap_or(0.0);
        // On the logarithm, so that no error makes a load negative.
        let relative = (error / value.max(f64::MIN_POSITIVE)).min(1.0);
        value * (relative * chance.normal(turn)).exp()
    };
    let (arrivals, pipeline, job) = (&mut profile.arrivals, &mut profile.pipeline, &mut profile.job);
    arrivals.pipelines_per_weekday = moved("arrivals.pipelines_per_weekday", arrivals.pipelines_per_weekday);
    pipeline.jobs_mean = moved("pipeline.jobs_mean", pipeline.jobs_mean).max(1.0);
    job.duration_p90_s = moved("job.duration_p90_s", job.duration_p90_s);
    profile
}

#[derive(Default)]
struct Collected {
    waits: Vec<f32>,
}

impl Recorder for Collected {
    fn started(&mut self, _pipeline: usize, _ready: f64, _start: f64, wait: f64) {
        self.waits.push(wait as f32);
    }

    fn completed(&mut self, _arrival: f64, _end: f64) {}
}

fn jobs_per_week(profile: &Profile) -> f64 {
    let pipelines: f64 = hourly_pipelines(&profile.arrivals).iter().sum();
    (pipelines * profile.pipeline.jobs_mean).max(1.0)
}
