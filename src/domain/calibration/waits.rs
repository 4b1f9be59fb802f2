//! Waits in the queue, measured or predicted, and the slots they were measured with.

use serde::Serialize;

use super::rows::{NEVER, Reading};

/// What a wait is compared with, in seconds.
pub const LATE_S: f64 = 30.0;

/// A distribution of waits in a few numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Waits {
    /// Jobs.
    pub jobs: u64,
    /// Median, seconds.
    pub p50: f64,
    /// 95th percentile, seconds.
    pub p95: f64,
    /// Mean, seconds.
    pub mean: f64,
    /// Share of the jobs that waited more than 30 s.
    pub share_over_30s: f64,
}

impl Waits {
    /// Summarises waits in seconds; the order of the slice is changed. Nothing for no waits.
    pub fn of(waits: &mut [f32]) -> Option<Self> {
        if waits.is_empty() {
            return None;
        }
        let n = waits.len() as f64;
        let late = waits.iter().filter(|wait| f64::from(**wait) > LATE_S).count() as f64;
        let mean = waits.iter().map(|wait| f64::from(*wait)).sum::<f64>() / n;
        Some(Self {
            jobs: waits.len() as u64,
            p50: quantile(waits, 0.5),
            p95: quantile(waits, 0.95),
            mean,
            share_over_30s: late / n,
        })
    }

    /// Summarises the queued durations of an export.
    pub fn measured(reading: &Reading) -> Option<Self> {
        Self::of(&mut queued(reading))
    }

    /// Returns the 10th percentile of the queued durations and their number.
    pub fn floor(reading: &Reading) -> Option<(f64, u64)> {
        let mut queued = queued(reading);
        (!queued.is_empty()).then(|| (quantile(&mut queued, 0.1), queued.len() as u64))
    }
}

fn queued(reading: &Reading) -> Vec<f32> {
    let started = reading.jobs.iter().filter(|job| job.started != NEVER);
    started
        .map(|job| job.queued_s)
        .filter(|queued| !queued.is_nan())
        .collect()
}

/// Returns the smallest value that at least the share of the values does not exceed.
fn quantile(values: &mut [f32], share: f64) -> f64 {
    let place = ((share * values.len() as f64).ceil() as usize).clamp(1, values.len()) - 1;
    f64::from(*values.select_nth_unstable_by(place, f32::total_cmp).1)
}

/// Slots of the runner or runners while the jobs ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Slots {
    /// How many.
    pub count: u32,
    /// Whether the user said so.
    pub given: bool,
    /// Jobs that the estimate rests on.
    pub jobs: u64,
}

impl Slots {
    /// Takes what is given, or the largest number of jobs that ran at once for at least a minute in all.
    ///
    /// The minute keeps overlaps of rounded seconds, and a few jobs with wrong times, from adding a slot.
    pub fn find(reading: &Reading, given: Option<u32>) -> Self {
        const LEAST_MS: i64 = 60_000;
        let mut events: Vec<i64> = Vec::with_capacity(2 * reading.jobs.len());
        for job in &reading.jobs {
            if job.started != NEVER && job.finished > job.started {
                // The lowest bit tells a start from an end, so that an end comes first at the same time.
                events.push(job.started * 2 + 1);
                events.push(job.finished * 2);
            }
        }
        let jobs = events.len() as u64 / 2;
        if let Some(count) = given {
            return Self {
                count,
                given: true,
                jobs,
            };
        }
        events.sort_unstable();
        let mut at_level: Vec<i64> = Vec::new();
        let (mut running, mut last) = (0usize, 0);
        for event in events {
            let (at, start) = (event >> 1, event & 1 == 1);
            if running >= at_level.len() {
                at_level.resize(running + 1, 0);
            }
            at_level[running] += at - last;
            last = at;
            running = if start {
                running + 1
            } else {
                running.saturating_sub(1)
            };
        }
        let mut above = 0;
        let mut count = 1;
        for (level, time) in at_level.iter().enumerate().skip(1).rev() {
            above += time;
            if above >= LEAST_MS {
                count = level;
                break;
            }
        }
        Self {
            count: count as u32,
            given: false,
            jobs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_of_the_sample() {
        let mut waits: Vec<f32> = (1..=100u8).rev().map(f32::from).collect();
        let summary = Waits::of(&mut waits).unwrap();
        assert_eq!((summary.p50, summary.p95, summary.mean), (50.0, 95.0, 50.5));
        assert_eq!(summary.share_over_30s, 0.7);
        assert_eq!(Waits::of(&mut []), None);
    }
}
