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
    /// Takes what is given, or finds it.
    ///
    /// A job that waited and then starts takes the last free slot: as many jobs run then as there are slots. That
    /// is the estimate where enough jobs waited and most of them agree. Otherwise it is the largest number that ran
    /// at once for a minute, and for a two-thousandth of the busy time: overlaps of rounded seconds, wrong times
    /// and hours that a change of the clock repeats must not add slots.
    pub fn find(reading: &Reading, given: Option<u32>) -> Self {
        const LEAST_MS: i64 = 60_000;
        const ENOUGH_WAITED: u64 = 20;
        // The lowest two bits of an event tell an end, a start and a start after a wait; an end comes first.
        const END: i64 = 0;
        const START: i64 = 1;
        const WAITED: i64 = 2;
        let kind = |event: &i64| *event & 3;
        // What a job waits anyhow is no queue.
        let queue_s = 10.0 + Waits::floor(reading).map_or(0.0, |(floor, _)| floor);
        let mut events: Vec<i64> = Vec::with_capacity(2 * reading.jobs.len());
        for job in &reading.jobs {
            if job.started != NEVER && job.finished > job.started {
                let waited = f64::from(job.queued_s) > queue_s;
                events.push(job.started * 4 + if waited { WAITED } else { START });
                events.push(job.finished * 4 + END);
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
        let (mut at_level, mut after_wait): (Vec<i64>, Vec<u64>) = (vec![0], vec![0]);
        let (mut running, mut last) = (0usize, events.first().map_or(0, |event| event >> 2));
        for tick in events.chunk_by(|a, b| a >> 2 == b >> 2) {
            let at = tick[0] >> 2;
            at_level[running] += at - last;
            last = at;
            let ends = tick.iter().filter(|event| kind(event) == END).count();
            running = (running + tick.len() - ends).saturating_sub(ends);
            if running >= at_level.len() {
                at_level.resize(running + 1, 0);
                after_wait.resize(running + 1, 0);
            }
            after_wait[running] += tick.iter().filter(|event| kind(event) == WAITED).count() as u64;
        }
        let waited: u64 = after_wait.iter().sum();
        let best = after_wait.iter().enumerate().max_by_key(|(_, count)| **count);
        let (mode, agree) = best.map_or((1, 0), |(level, count)| (level, *count));
        let busy: i64 = at_level.iter().skip(1).sum();
        let least = LEAST_MS.max(busy / 2000);
        let mut above = 0;
        let longest = (1..at_level.len()).rev().find(|level| {
            above += at_level[*level];
            above >= least
        });
        let count = if waited >= ENOUGH_WAITED && agree * 2 > waited {
            mode
        } else {
            longest.unwrap_or(1)
        };
        Self {
            count: count.max(1) as u32,
            given: false,
            jobs,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn jobs_that_waited_show_the_slots() {
        use crate::domain::calibration::rows::{ReadOptions, read};
        // Two slots: jobs of 60 s become ready all at once, two run at a time; then three overlap by one second.
        let mut text = String::from("pipeline_id,stage,status,started_at,finished_at,queued_duration\n");
        let base = 1_717_372_800;
        for k in 0..60 {
            let start = base + 60 * (k / 2);
            let _ = writeln!(text, "1,s,success,{start},{},{}", start + 60, start - base);
        }
        for k in 0..3 {
            let _ = writeln!(text, "2,s,success,{},{},0", base + 9000 + k, base + 9003);
        }
        let reading = read(text.as_bytes(), &ReadOptions::default(), &mut |_| {}).unwrap();
        assert_eq!(Slots::find(&reading, None).count, 2);
        assert_eq!(Slots::find(&reading, Some(5)).count, 5);
    }

    #[test]
    fn quantiles_are_values_of_the_sample() {
        let mut waits: Vec<f32> = (1..=100u8).rev().map(f32::from).collect();
        let summary = Waits::of(&mut waits).unwrap();
        assert_eq!((summary.p50, summary.p95, summary.mean), (50.0, 95.0, 50.5));
        assert_eq!(summary.share_over_30s, 0.7);
        assert_eq!(Waits::of(&mut []), None);
    }
}
