//! A profile turned into pipelines and jobs with times: the trace that every candidate replays.
//!
//! Structure of arrays in single precision: a job is 13 bytes, a replication of four weeks fits the L2 cache.

use super::profile::{Arrivals, Job, Pipeline, Profile};
use super::random::{Purpose, Stream};

/// Seconds in an hour.
pub const HOUR: f64 = 3600.0;
/// Seconds in a week.
pub const WEEK: f64 = 168.0 * HOUR;
/// Standard normal quantile of 0.9.
const Z90: f64 = 1.2815515655446004;
/// A job waits for the warehouse at least this share of its time.
const CPU_SHARE_MAX: f64 = 0.95;

/// Pipelines of one replication, by arrival, with their jobs in stage order.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Arrival of each pipeline, seconds from Monday 00:00; ascending.
    pub arrival: Vec<f64>,
    /// Index of each pipeline's first job, and at the end the number of jobs.
    pub first_job: Vec<u32>,
    /// Duration of each job on an undisturbed reference thread, seconds.
    pub duration: Vec<f32>,
    /// CPU seconds of each job on the reference thread.
    pub cpu: Vec<f32>,
    /// Seconds until the runner picks the job up once a slot is free.
    pub pickup: Vec<f32>,
    /// Whether the job is the last of its stage.
    pub ends_stage: Vec<bool>,
    /// Seconds from the end of a stage until the next is pending.
    pub stage_gap: f64,
    /// Length of the arrival window in seconds; work may end later.
    pub horizon: f64,
}

impl Trace {
    /// Generates the pipelines of `weeks` weeks.
    pub fn generate(profile: &Profile, weeks: u32, seed: u64, replication: u64) -> Self {
        let mut trace = Self {
            stage_gap: profile.pipeline.stage_gap_s,
            ..Self::default()
        };
        trace.fill(
            profile,
            &JobCounts::new(&profile.pipeline),
            weeks,
            seed,
            replication,
        );
        trace
    }

    /// Generates in place, reusing the memory of an earlier replication.
    pub fn fill(&mut self, profile: &Profile, counts: &JobCounts, weeks: u32, seed: u64, replication: u64) {
        let stream = |purpose| Stream::new(seed, replication, purpose);
        self.clear();
        self.stage_gap = profile.pipeline.stage_gap_s;
        self.horizon = f64::from(weeks) * WEEK;
        arrivals(&profile.arrivals, weeks, stream, &mut self.arrival);

        let law = DurationLaw::new(&profile.job);
        let [job_counts, stages, effects, job_effects, polls] = [
            stream(Purpose::JobCounts),
            stream(Purpose::Stages),
            stream(Purpose::PipelineEffects),
            stream(Purpose::JobEffects),
            stream(Purpose::Polls),
        ];
        // A geometric number of jobs in a stage is a coin after each job.
        let closes = 1.0 / profile.pipeline.stage_width;
        let (interval, delay) = (profile.runner.check_interval_s, profile.runner.pickup_delay_s);
        let expected = (self.arrival.len() as f64 * profile.pipeline.jobs_mean * 1.05) as usize + 64;
        for column in [&mut self.duration, &mut self.cpu, &mut self.pickup] {
            column.reserve(expected.saturating_sub(column.capacity()));
        }
        let mut index: u64 = 0;
        for pipeline in 0..self.arrival.len() as u64 {
            self.first_job.push(index as u32);
            let jobs = counts.draw(job_counts.uniform(pipeline));
            let effect = law.common * effects.normal(pipeline);
            for job in 1..=jobs {
                let duration = law.duration(effect, job_effects.normal(index));
                self.duration.push(duration);
                self.cpu.push(law.cpu(duration));
                self.pickup.push((delay + interval * polls.uniform(index)) as f32);
                self.ends_stage
                    .push(job == jobs || (closes >= 1.0 || stages.uniform(index) < closes));
                index += 1;
            }
        }
        self.first_job.push(index as u32);
    }

    /// Makes a trace of single-job pipelines: arrivals (ascending) with service times and one CPU share for all.
    ///
    /// This is how textbook queues run through the same replay as the recommendation.
    pub fn independent(arrivals: Vec<f64>, services: &[f64], cpu_share: f64) -> Self {
        let jobs = arrivals.len();
        Self {
            horizon: arrivals.last().copied().unwrap_or(0.0),
            arrival: arrivals,
            first_job: (0..=jobs as u32).collect(),
            duration: services.iter().map(|s| *s as f32).collect(),
            cpu: services.iter().map(|s| (*s * cpu_share) as f32).collect(),
            pickup: vec![0.0; jobs],
            ends_stage: vec![true; jobs],
            stage_gap: 0.0,
        }
    }

    /// Returns the number of pipelines.
    pub fn pipelines(&self) -> usize {
        self.arrival.len()
    }

    /// Returns the number of jobs.
    pub fn jobs(&self) -> usize {
        self.duration.len()
    }

    /// Returns the work of all jobs on the reference thread, seconds.
    pub fn work(&self) -> f64 {
        self.duration.iter().map(|d| f64::from(*d)).sum()
    }

    /// Returns the CPU seconds of all jobs on the reference thread.
    pub fn cpu_work(&self) -> f64 {
        self.cpu.iter().map(|c| f64::from(*c)).sum()
    }

    /// Calls `visit(pipeline, ready, first, end)` for each stage of each pipeline with unlimited undisturbed
    /// slots, and returns the sum over pipelines of the time from arrival to end, seconds.
    ///
    /// Pickup counts: a runner with nothing else to do still has to ask.
    pub fn ideal(&self, mut visit: impl FnMut(usize, f64, usize, usize)) -> f64 {
        let mut total = 0.0;
        for pipeline in 0..self.pipelines() {
            let (mut job, end) = (
                self.first_job[pipeline] as usize,
                self.first_job[pipeline + 1] as usize,
            );
            let mut ready = self.arrival[pipeline];
            loop {
                let first = job;
                let mut longest = 0.0_f32;
                loop {
                    longest = longest.max(self.duration[job] + self.pickup[job]);
                    job += 1;
                    if self.ends_stage[job - 1] {
                        break;
                    }
                }
                visit(pipeline, ready, first, job);
                ready += f64::from(longest);
                if job >= end {
                    break;
                }
                ready += self.stage_gap;
            }
            total += ready - self.arrival[pipeline];
        }
        total
    }

    fn clear(&mut self) {
        self.arrival.clear();
        self.first_job.clear();
        self.duration.clear();
        self.cpu.clear();
        self.pickup.clear();
        self.ends_stage.clear();
    }
}

/// Durations and CPU seconds of jobs as a function of two standard normal numbers.
struct DurationLaw {
    mu: f64,
    common: f64,
    own: f64,
    timeout: f64,
    cpu_fixed: f64,
    cpu_per_s: f64,
}

impl DurationLaw {
    fn new(job: &Job) -> Self {
        Self {
            mu: job.duration_p90_s.ln() - Z90 * job.duration_sigma,
            common: job.duration_sigma * job.duration_icc.sqrt(),
            own: job.duration_sigma * (1.0 - job.duration_icc).sqrt(),
            timeout: job.timeout_s,
            cpu_fixed: job.cpu_fixed_s,
            cpu_per_s: job.cpu_per_s,
        }
    }

    #[inline]
    fn duration(&self, effect: f64, z: f64) -> f32 {
        // A duration below a millisecond is no job; it would also make the CPU share undefined.
        ((self.mu + effect + self.own * z) as f32)
            .exp()
            .clamp(1e-3, self.timeout as f32)
    }

    #[inline]
    fn cpu(&self, duration: f32) -> f32 {
        let d = f64::from(duration);
        (self.cpu_fixed + self.cpu_per_s * d).min(CPU_SHARE_MAX * d) as f32
    }
}

/// Returns the mean duration of a job in seconds, cut at the timeout: a closed form for capacity checks.
///
/// `E[min(X, t)]` of a lognormal; the floor of a millisecond is ignored.
pub fn mean_duration(job: &Job) -> f64 {
    let sigma = job.duration_sigma;
    let mu = job.duration_p90_s.ln() - Z90 * sigma;
    let mean = (mu + sigma * sigma / 2.0).exp();
    if sigma == 0.0 {
        return mean.min(job.timeout_s);
    }
    let z = (job.timeout_s.ln() - mu) / sigma;
    mean * normal_cdf(z - sigma) + job.timeout_s * (1.0 - normal_cdf(z))
}

/// Returns the standard normal distribution function (Marsaglia 2004: series, good to a double inside +-7).
pub fn normal_cdf(z: f64) -> f64 {
    if z < -7.0 {
        return 0.0;
    }
    if z > 7.0 {
        return 1.0;
    }
    let (mut sum, mut term, mut denominator) = (z, z, 3.0);
    while sum + term != sum {
        term *= z * z / denominator;
        sum += term;
        denominator += 2.0;
        if denominator > 4000.0 {
            break;
        }
    }
    0.5 + sum * (-0.5 * z * z - 0.918_938_533_204_672_74).exp()
}

/// Number of jobs in a pipeline: `1 + N`, with `N` negative binomial (binomial when the spread is small).
#[derive(Clone, Debug)]
pub struct JobCounts {
    /// `cumulative[k]` is the probability of at most `k + 1` jobs.
    cumulative: Vec<f64>,
    /// First candidate for each 1/256 of the unit interval.
    guide: Vec<u32>,
}

/// A pipeline of more jobs than this is cut.
const MOST_JOBS: usize = 100_000;

impl JobCounts {
    /// Tabulates the law with the profile's mean and coefficient of variation.
    pub fn new(pipeline: &Pipeline) -> Self {
        let mean = pipeline.jobs_mean - 1.0;
        let variance = (pipeline.jobs_cv * pipeline.jobs_mean).powi(2);
        let masses = if mean <= 1e-9 {
            vec![1.0]
        } else if variance > mean * (1.0 + 1e-9) {
            negative_binomial(mean, variance)
        } else {
            narrow(mean, variance)
        };
        let mut sum = 0.0;
        let mut cumulative: Vec<f64> = masses
            .iter()
            .map(|mass| {
                sum += mass;
                sum
            })
            .collect();
        if let Some(last) = cumulative.last_mut() {
            *last = 1.0;
        }
        let mut at = 0;
        let guide = (0..256)
            .map(|slot| {
                while cumulative[at] < f64::from(slot) / 256.0 {
                    at += 1;
                }
                at as u32
            })
            .collect();
        Self { cumulative, guide }
    }

    /// Returns the number of jobs for a uniform number.
    #[inline]
    pub fn draw(&self, uniform: f64) -> u32 {
        let mut at = self.guide[(uniform * 256.0) as usize] as usize;
        while self.cumulative[at] < uniform {
            at += 1;
        }
        at as u32 + 1
    }
}

fn negative_binomial(mean: f64, variance: f64) -> Vec<f64> {
    let p = mean / variance;
    let r = mean * p / (1.0 - p);
    let mut mass = p.powf(r);
    let mut masses = vec![mass];
    let mut sum = mass;
    let mut k = 0.0;
    while sum < 1.0 - 1e-12 && masses.len() < MOST_JOBS {
        mass *= (k + r) / (k + 1.0) * (1.0 - p);
        k += 1.0;
        masses.push(mass);
        sum += mass;
        if mass == 0.0 && k > mean {
            break;
        }
    }
    if masses[0] == 0.0 {
        // The first mass underflows for means of hundreds; a Poisson-like bell is then near normal.
        return narrow(mean, variance);
    }
    masses
}

/// Masses on whole numbers around `mean` with about the given variance: discretised normal, two points if narrower.
fn narrow(mean: f64, variance: f64) -> Vec<f64> {
    let spread = variance.sqrt();
    let last = ((mean + 8.0 * spread).ceil() as usize + 1).min(MOST_JOBS);
    let mut masses = vec![0.0; last + 1];
    let low = mean.floor();
    if variance <= (mean - low) * (low + 1.0 - mean) + 1e-9 {
        let at = (low as usize).min(last);
        masses[at] = low + 1.0 - mean;
        masses[(at + 1).min(last)] += mean - low;
        return masses;
    }
    let mut sum = 0.0;
    for (k, mass) in masses.iter_mut().enumerate() {
        let z = (k as f64 - mean) / spread;
        *mass = (-0.5 * z * z).exp();
        sum += *mass;
    }
    masses.iter_mut().for_each(|mass| *mass /= sum);
    masses
}

/// Returns the expected number of pipelines in each of the 168 hours of the week.
pub fn hourly_pipelines(arrivals: &Arrivals) -> [f64; 168] {
    let interactive = hourly_interactive(arrivals);
    let scheduled = hourly_scheduled(arrivals);
    std::array::from_fn(|hour| {
        let weekday = hour < 120;
        let bursts: u32 = arrivals
            .bursts
            .iter()
            .filter(|burst| weekday && burst.hour as usize == hour % 24)
            .map(|burst| burst.pipelines)
            .sum();
        interactive[hour] + scheduled[hour] + f64::from(bursts)
    })
}

fn hourly(weights: &[f64; 24], weekday: f64, weekend: f64) -> [f64; 168] {
    let sum: f64 = weights.iter().sum();
    std::array::from_fn(|hour| {
        let day = if hour < 120 { weekday } else { weekend };
        if sum > 0.0 {
            day * weights[hour % 24] / sum
        } else {
            0.0
        }
    })
}

fn hourly_interactive(arrivals: &Arrivals) -> [f64; 168] {
    let weekday = arrivals.pipelines_per_weekday * (1.0 - arrivals.scheduled_share);
    hourly(
        &arrivals.hours_interactive,
        weekday,
        weekday * arrivals.weekend_factor,
    )
}

fn hourly_scheduled(arrivals: &Arrivals) -> [f64; 168] {
    let weekday = arrivals.pipelines_per_weekday * arrivals.scheduled_share;
    hourly(
        &arrivals.hours_scheduled,
        weekday,
        weekday * arrivals.scheduled_weekend_factor,
    )
}

/// Writes the arrival times of `weeks` weeks, ascending.
///
/// A unit-rate Poisson process is mapped through the cumulative rate (Çinlar's inversion); scheduled pipelines
/// fall on grid points, so that a grid point gets a Poisson number of them.
fn arrivals(arrivals: &Arrivals, weeks: u32, stream: impl Fn(Purpose) -> Stream, out: &mut Vec<f64>) {
    poisson(
        &hourly_interactive(arrivals),
        weeks,
        stream(Purpose::Interactive),
        |_, hour, fraction| {
            out.push((hour as f64 + fraction) * HOUR);
        },
    );
    let jitter = stream(Purpose::Jitter);
    let points = f64::from(60 / arrivals.schedule_grid_minutes.clamp(1, 60));
    poisson(
        &hourly_scheduled(arrivals),
        weeks,
        stream(Purpose::Scheduled),
        |index, hour, fraction| {
            let grid = (fraction * points).floor() / points;
            out.push((hour as f64 + grid) * HOUR + arrivals.schedule_jitter_s * jitter.uniform(index));
        },
    );
    let bursts = stream(Purpose::Bursts);
    let mut index = 0;
    for day in (0..u64::from(weeks) * 7).filter(|day| day % 7 < 5) {
        for burst in &arrivals.bursts {
            let start = (day * 24 + u64::from(burst.hour)) as f64 * HOUR;
            for _ in 0..burst.pipelines {
                out.push(start + burst.window_s * bursts.uniform(index));
                index += 1;
            }
        }
    }
    out.sort_unstable_by(f64::total_cmp);
}

/// Calls `found(index, hour, fraction of the hour)` for each point of a Poisson process with the week's rates.
fn poisson(rates: &[f64; 168], weeks: u32, stream: Stream, mut found: impl FnMut(u64, u64, f64)) {
    if rates.iter().all(|rate| *rate <= 0.0) {
        return;
    }
    let (mut index, mut hour, last) = (0, 0_u64, u64::from(weeks) * 168);
    let mut left = stream.exponential(0);
    let mut used = 0.0;
    while hour < last {
        let rate = rates[(hour % 168) as usize];
        if left >= rate - used {
            left -= rate - used;
            used = 0.0;
            hour += 1;
            continue;
        }
        used += left;
        found(index, hour, used / rate);
        index += 1;
        left = stream.exponential(index);
    }
}
