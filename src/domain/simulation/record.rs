//! Recorders: what a replay is asked for decides what it costs.

use super::replay::Recorder;
use super::statistics::Histogram;

/// A wait that nobody notices, seconds: above it, more slots may still help.
pub const UNNOTICED_S: f64 = 2.0;

/// The least the search for a host needs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Wait that makes a job late, seconds.
    pub limit: f64,
    /// Jobs started.
    pub jobs: u64,
    /// Jobs that waited longer than the limit.
    pub late: u64,
    /// Jobs that waited longer than `UNNOTICED_S`.
    pub noticed: u64,
    /// Sum of the waits, seconds.
    pub waits: f64,
    /// Sum of the pipelines' times from arrival to end, seconds.
    pub pipeline_time: f64,
}

impl Tally {
    /// Makes an empty tally for a limit in seconds.
    pub fn new(limit: f64) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// Returns the share of late jobs.
    pub fn late_share(&self) -> f64 {
        self.late as f64 / self.jobs.max(1) as f64
    }
}

impl Recorder for Tally {
    #[inline]
    fn started(&mut self, _pipeline: usize, _ready: f64, _start: f64, wait: f64) {
        self.jobs += 1;
        self.waits += wait;
        self.late += u64::from(wait > self.limit);
        self.noticed += u64::from(wait > UNNOTICED_S);
    }

    #[inline]
    fn completed(&mut self, arrival: f64, end: f64) {
        self.pipeline_time += end - arrival;
    }
}

/// Counts by hour of the week, Monday 00:00 first.
#[derive(Clone, Debug)]
pub struct Weekly {
    /// Jobs that became ready in the hour.
    pub jobs: [u64; 168],
    /// Those of them that waited longer than the limit.
    pub late: [u64; 168],
    /// Busy slot-seconds in the hour.
    pub busy: [f64; 168],
    /// Waits of the jobs of each hour of the day on weekdays.
    pub waits: Vec<Histogram>,
}

impl Default for Weekly {
    fn default() -> Self {
        Self {
            jobs: [0; 168],
            late: [0; 168],
            busy: [0.0; 168],
            waits: vec![Histogram::default(); 24],
        }
    }
}

impl Weekly {
    /// Returns jobs and late jobs of an hour of the day over the five weekdays.
    pub fn weekday_hour(&self, hour: usize) -> (u64, u64) {
        let sum = |counts: &[u64; 168]| (0..5).map(|day| counts[day * 24 + hour]).sum();
        (sum(&self.jobs), sum(&self.late))
    }

    /// Returns the largest share of late jobs of any hour of the weekday, and the hour.
    pub fn worst_hour(&self) -> (usize, f64) {
        let share = |hour| {
            let (jobs, late) = self.weekday_hour(hour);
            if jobs == 0 { 0.0 } else { late as f64 / jobs as f64 }
        };
        (0..24).map(|hour| (hour, share(hour))).fold(
            (0, 0.0),
            |worst, hour| {
                if hour.1 > worst.1 { hour } else { worst }
            },
        )
    }

    fn merge(&mut self, other: &Self) {
        for hour in 0..168 {
            self.jobs[hour] += other.jobs[hour];
            self.late[hour] += other.late[hour];
            self.busy[hour] += other.busy[hour];
        }
        for (mine, more) in self.waits.iter_mut().zip(&other.waits) {
            mine.merge(more);
        }
    }
}

/// A tally that also counts by the hour of the day on weekdays, for the worst-hour objective.
#[derive(Clone, Debug, Default)]
pub struct HourlyTally {
    /// The totals.
    pub tally: Tally,
    /// Jobs by weekday hour of day.
    pub jobs: [u64; 24],
    /// Late jobs by weekday hour of day.
    pub late: [u64; 24],
}

impl HourlyTally {
    /// Makes an empty tally for a limit in seconds.
    pub fn new(limit: f64) -> Self {
        Self {
            tally: Tally::new(limit),
            ..Self::default()
        }
    }
}

impl Recorder for HourlyTally {
    #[inline]
    fn started(&mut self, pipeline: usize, ready: f64, start: f64, wait: f64) {
        self.tally.started(pipeline, ready, start, wait);
        let hour = (ready / 3600.0) as usize % 168;
        if hour < 120 {
            self.jobs[hour % 24] += 1;
            self.late[hour % 24] += u64::from(wait > self.tally.limit);
        }
    }

    #[inline]
    fn completed(&mut self, arrival: f64, end: f64) {
        self.tally.completed(arrival, end);
    }
}

/// Everything that the report shows, and what the laws of queueing are checked with.
#[derive(Clone, Debug, Default)]
pub struct Full {
    /// The totals.
    pub tally: Tally,
    /// Distribution of the waits.
    pub waits: Histogram,
    /// Distribution of the pipelines' times.
    pub pipelines: Histogram,
    /// By hour of the week.
    pub weekly: Weekly,
    /// Seconds spent with each number of busy slots.
    pub occupancy: Vec<f64>,
    /// Integral of busy slots over time, slot-seconds.
    pub busy_integral: f64,
    /// Integral of waiting jobs over time, job-seconds, from starts and readiness.
    pub queue_time: f64,
    /// Most slots busy at once.
    pub peak: usize,
    /// Starts before readiness or out of order; always zero in a correct replay.
    pub violations: u64,
    /// Time of the last event.
    pub end: f64,
    running: usize,
    since: f64,
    last_ready: f64,
}

impl Full {
    /// Makes an empty record for a limit in seconds.
    pub fn new(limit: f64) -> Self {
        Self {
            tally: Tally::new(limit),
            ..Self::default()
        }
    }

    fn step(&mut self, now: f64) {
        let span = now - self.since;
        if span > 0.0 {
            if self.occupancy.len() <= self.running {
                self.occupancy.resize(self.running + 1, 0.0);
            }
            self.occupancy[self.running] += span;
            self.busy_integral += span * self.running as f64;
            if self.running > 0 {
                let mut from = self.since;
                while from < now {
                    let hour = (from / 3600.0) as u64 as f64; // no call, unlike `floor`; times are positive
                    let to = ((hour + 1.0) * 3600.0).min(now);
                    self.weekly.busy[hour as usize % 168] += (to - from) * self.running as f64;
                    from = to;
                }
            }
        }
        self.since = now;
        self.end = now;
    }

    /// Returns the number of busy slots not exceeded for a share `p` of the time.
    pub fn occupancy_quantile(&self, p: f64) -> usize {
        let total: f64 = self.occupancy.iter().sum();
        let mut below = 0.0;
        for (busy, time) in self.occupancy.iter().enumerate() {
            below += time;
            if below >= p * total {
                return busy;
            }
        }
        self.occupancy.len().saturating_sub(1)
    }

    /// Adds another replication.
    pub fn merge(&mut self, other: &Self) {
        self.tally.jobs += other.tally.jobs;
        self.tally.late += other.tally.late;
        self.tally.noticed += other.tally.noticed;
        self.tally.waits += other.tally.waits;
        self.tally.pipeline_time += other.tally.pipeline_time;
        self.waits.merge(&other.waits);
        self.pipelines.merge(&other.pipelines);
        self.weekly.merge(&other.weekly);
        if self.occupancy.len() < other.occupancy.len() {
            self.occupancy.resize(other.occupancy.len(), 0.0);
        }
        for (mine, more) in self.occupancy.iter_mut().zip(&other.occupancy) {
            *mine += more;
        }
        self.busy_integral += other.busy_integral;
        self.queue_time += other.queue_time;
        self.peak = self.peak.max(other.peak);
        self.violations += other.violations;
        self.end += other.end;
    }
}

impl Recorder for Full {
    fn started(&mut self, pipeline: usize, ready: f64, start: f64, wait: f64) {
        self.step(start);
        self.running += 1;
        self.peak = self.peak.max(self.running);
        self.queue_time += start - ready;
        self.violations += u64::from(start < ready) + u64::from(ready < self.last_ready);
        self.last_ready = ready;
        self.tally.started(pipeline, ready, start, wait);
        self.waits.add(wait);
        let hour = (ready / 3600.0) as usize % 168;
        self.weekly.jobs[hour] += 1;
        self.weekly.late[hour] += u64::from(wait > self.tally.limit);
        if hour < 120 {
            self.weekly.waits[hour % 24].add(wait);
        }
    }

    fn finished(&mut self, at: f64) {
        self.step(at);
        self.running -= 1;
    }

    fn completed(&mut self, arrival: f64, end: f64) {
        self.tally.completed(arrival, end);
        self.pipelines.add(end - arrival);
    }
}
