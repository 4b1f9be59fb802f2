//! Job exports made from a known profile, for tests and benchmarks: what `calibrate` finds must be what went in.
//!
//! Written apart from the simulation that checks a calibration, with its own chance and its own queue, so that one
//! mistake cannot hide in both. First come, first served; CPU contention is left out.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt::Write as _;

use super::times::{Millis, civil_from_days, days_from_civil};
use crate::domain::profile::Profile;

/// How time stamps are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// `2024-06-03T08:00:00.000Z`, as the API has it.
    Zulu,
    /// `2024-06-03T10:00:00.000+02:00` with this many hours.
    Offset(i64),
    /// `2024-06-03 08:00:00 UTC`, as PostgreSQL and Ruby have it.
    Utc,
    /// `2024-06-03 10:00:00` in local time.
    Naive,
    /// Seconds since 1970.
    Epoch,
}

/// What to make.
#[derive(Clone, Debug)]
pub struct Export {
    /// The truth.
    pub profile: Profile,
    /// Length in weeks.
    pub weeks: u32,
    /// Slots of the runner.
    pub concurrency: u32,
    /// Same seed, same bytes.
    pub seed: u64,
    /// Hours that local time is ahead of UTC; the hours of the profile are local.
    pub utc_offset: i64,
    /// Share of jobs that fail.
    pub failed: f64,
    /// Share of jobs that are cancelled on the way.
    pub cancelled: f64,
    /// Skipped rows for each job.
    pub skipped: f64,
    /// Share of failed jobs that are tried again.
    pub retried: f64,
    /// Share of rows that occur twice.
    pub duplicated: f64,
    /// Share of the cells of a row, but the pipeline and the status, that are empty.
    pub blank: f64,
    /// Share of rows with a broken cell: NaN, negative, end before start, no time at all.
    pub broken: f64,
    /// Whether there is a column `source`.
    pub source: bool,
    /// Whether times have fractions of seconds.
    pub fractions: bool,
    /// How time stamps are written.
    pub stamp: Stamp,
    /// Between cells.
    pub delimiter: char,
    /// Rotates and swaps the columns.
    pub shuffle: u64,
    /// Writes a byte order mark and CRLF.
    pub windows: bool,
}

impl Export {
    /// Returns two clean weeks of a profile as the API writes them, with the usual failures.
    pub fn of(profile: Profile, seed: u64) -> Self {
        Self {
            profile,
            weeks: 2,
            concurrency: 8,
            seed,
            utc_offset: 0,
            failed: 0.06,
            cancelled: 0.04,
            skipped: 0.03,
            retried: 0.0,
            duplicated: 0.0,
            blank: 0.0,
            broken: 0.0,
            source: false,
            fractions: false,
            stamp: Stamp::Zulu,
            delimiter: ',',
            shuffle: 0,
            windows: false,
        }
    }

    /// Makes the file.
    pub fn csv(&self) -> String {
        let mut chance = Chance(self.seed ^ 0x5eed_0fca_11b7_a7e5);
        let (pipelines, mut jobs) = self.draw(&mut chance);
        let jobs_drawn = jobs.len();
        self.queue(&pipelines, &mut jobs, &mut chance);
        self.write(&pipelines, &jobs, jobs_drawn, &mut chance)
    }

    fn draw(&self, chance: &mut Chance) -> (Vec<Drawn>, Vec<Attempt>) {
        let p = &self.profile;
        let mut births = self.births(chance);
        births.sort_by(|a, b| a.0.total_cmp(&b.0));
        let variance = (p.pipeline.jobs_cv * p.pipeline.jobs_mean).powi(2);
        let more = p.pipeline.jobs_mean - 1.0;
        // N = 1 + NegBin with mean jobs_mean - 1 and this variance; Poisson where it is not wider than that.
        let shape = (variance > more).then(|| more * more / (variance - more));
        let mu = p.job.duration_p90_s.ln() - 1.281_551_565_5 * p.job.duration_sigma;
        let go_on = 1.0 - 1.0 / p.pipeline.stage_width;
        let (mut pipelines, mut jobs) = (Vec::new(), Vec::new());
        for (birth, scheduled) in births {
            let mean = shape.map_or(more, |shape| chance.gamma(shape) * more / shape);
            let count = 1 + chance.poisson(mean);
            let common = chance.normal();
            let mut stages: Vec<std::ops::Range<usize>> = Vec::new();
            let mut left = count;
            while left > 0 {
                let mut width = 1;
                while width < left && chance.uniform() < go_on {
                    width += 1;
                }
                let from = jobs.len();
                for _ in 0..width {
                    let icc = p.job.duration_icc;
                    let z = icc.sqrt() * common + (1.0 - icc).sqrt() * chance.normal();
                    let duration = (mu + p.job.duration_sigma * z).exp().min(p.job.timeout_s);
                    let fate = chance.uniform();
                    let status = if fate < self.failed {
                        "failed"
                    } else if fate < self.failed + self.cancelled {
                        "canceled"
                    } else {
                        "success"
                    };
                    let cut = if status == "canceled" {
                        chance.uniform()
                    } else {
                        1.0
                    };
                    jobs.push(Attempt {
                        pipeline: pipelines.len(),
                        stage: stages.len(),
                        number: jobs.len(),
                        status,
                        duration: duration * cut,
                        created: birth,
                        ready: 0.0,
                        started: 0.0,
                        finished: 0.0,
                    });
                }
                stages.push(from..jobs.len());
                left -= width;
            }
            pipelines.push(Drawn {
                birth,
                scheduled,
                stages,
            });
        }
        (pipelines, jobs)
    }

    /// Draws the creation times in local seconds since the first Monday.
    fn births(&self, chance: &mut Chance) -> Vec<(f64, bool)> {
        let a = &self.profile.arrivals;
        let (people, clock): (f64, f64) = (a.hours_interactive.iter().sum(), a.hours_scheduled.iter().sum());
        let mut births = Vec::new();
        for day in 0..7 * self.weeks {
            let weekend = day % 7 >= 5;
            for hour in 0..24u32 {
                let from = f64::from(day) * 86_400.0 + f64::from(hour) * 3600.0;
                let rate = a.pipelines_per_weekday * (1.0 - a.scheduled_share) / people
                    * a.hours_interactive[hour as usize]
                    * if weekend { a.weekend_factor } else { 1.0 };
                for _ in 0..chance.poisson(rate) {
                    births.push((from + 3600.0 * chance.uniform(), false));
                }
                let rate = a.pipelines_per_weekday * a.scheduled_share / clock
                    * a.hours_scheduled[hour as usize]
                    * if weekend { a.scheduled_weekend_factor } else { 1.0 };
                let teeth = 60 / a.schedule_grid_minutes;
                for _ in 0..chance.poisson(rate) {
                    let tooth = (chance.uniform() * f64::from(teeth)) as u32;
                    let at = from + f64::from(tooth * a.schedule_grid_minutes) * 60.0;
                    births.push((at + a.schedule_jitter_s * chance.uniform(), true));
                }
                for burst in a.bursts.iter().filter(|burst| !weekend && burst.hour == hour) {
                    for _ in 0..burst.pipelines {
                        births.push((from + burst.window_s * chance.uniform(), false));
                    }
                }
            }
        }
        births
    }

    /// First come, first served, on `concurrency` slots.
    fn queue(&self, pipelines: &[Drawn], jobs: &mut Vec<Attempt>, chance: &mut Chance) {
        #[derive(PartialEq, Eq, PartialOrd, Ord)]
        enum Event {
            Finish(usize),
            Ready(usize),
            Stage(usize, usize),
        }
        // Microseconds order events; ties are broken by kind and number.
        let micros = |seconds: f64| (seconds * 1e6).round() as u64;
        let mut events = BinaryHeap::new();
        for (number, pipeline) in pipelines.iter().enumerate() {
            events.push(Reverse((micros(pipeline.birth), Event::Stage(number, 0))));
        }
        let mut open: Vec<Vec<usize>> = pipelines
            .iter()
            .map(|p| p.stages.iter().map(ExactSizeIterator::len).collect())
            .collect();
        let mut free = self.concurrency;
        let mut waiting: VecDeque<usize> = VecDeque::new();
        while let Some(Reverse((at, event))) = events.pop() {
            let now = at as f64 / 1e6;
            match event {
                Event::Stage(pipeline, stage) => {
                    for job in pipelines[pipeline].stages[stage].clone() {
                        jobs[job].ready = now;
                        waiting.push_back(job);
                    }
                }
                Event::Ready(job) => {
                    jobs[job].ready = now;
                    waiting.push_back(job);
                }
                Event::Finish(job) => {
                    free += 1;
                    let (pipeline, stage) = (jobs[job].pipeline, jobs[job].stage);
                    if jobs[job].status == "failed" && chance.uniform() < self.retried {
                        let mut again = jobs[job].clone();
                        again.created = now + 1.0;
                        again.status = "success";
                        let place = jobs.len();
                        jobs.push(again);
                        events.push(Reverse((micros(now + 1.0), Event::Ready(place))));
                    } else {
                        open[pipeline][stage] -= 1;
                        if open[pipeline][stage] == 0 && stage + 1 < pipelines[pipeline].stages.len() {
                            let next = now + self.profile.pipeline.stage_gap_s;
                            events.push(Reverse((micros(next), Event::Stage(pipeline, stage + 1))));
                        }
                    }
                }
            }
            while free > 0 {
                let Some(job) = waiting.pop_front() else { break };
                free -= 1;
                let runner = &self.profile.runner;
                let poll = runner.check_interval_s * chance.uniform() + runner.pickup_delay_s;
                jobs[job].started = now + poll;
                jobs[job].finished = now + poll + jobs[job].duration;
                events.push(Reverse((micros(jobs[job].finished), Event::Finish(job))));
            }
        }
    }

    fn write(&self, pipelines: &[Drawn], jobs: &[Attempt], drawn: usize, chance: &mut Chance) -> String {
        let mut columns: Vec<&str> = vec![
            "id",
            "pipeline_id",
            "stage",
            "name",
            "status",
            "created_at",
            "started_at",
            "finished_at",
            "duration",
            "queued_duration",
            "runner_id",
            "web_url",
        ];
        if self.source {
            columns.push("source");
        }
        let mut order: Vec<usize> = (0..columns.len()).collect();
        let mut mixer = Chance(self.shuffle);
        for at in (1..order.len()).rev() {
            if self.shuffle > 0 {
                order.swap(at, (mixer.uniform() * (at + 1) as f64) as usize);
            }
        }
        let end = if self.windows { "\r\n" } else { "\n" };
        let mut csv = String::with_capacity(jobs.len() * 160);
        if self.windows {
            csv.push('\u{feff}');
        }
        let join = |csv: &mut String, cells: &[String]| {
            for (place, at) in order.iter().enumerate() {
                if place > 0 {
                    csv.push(self.delimiter);
                }
                csv.push_str(&cells[*at]);
            }
            csv.push_str(end);
        };
        let header: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
        join(&mut csv, &header);
        let mut by_time: Vec<usize> = (0..jobs.len()).collect();
        by_time.sort_by(|a, b| jobs[*a].created.total_cmp(&jobs[*b].created).then(a.cmp(b)));
        let mut id = 1000;
        for at in by_time {
            let job = &jobs[at];
            let mut cells = vec![String::new(); columns.len()];
            id += 1;
            cells[0] = id.to_string();
            cells[1] = (500 + job.pipeline).to_string();
            cells[2] = format!("stage {}", job.stage);
            cells[3] = format!("job {}", job.number);
            job.status.clone_into(&mut cells[4]);
            let round = |seconds: f64| {
                if self.fractions {
                    (seconds * 1000.0).round() / 1000.0
                } else {
                    seconds.round()
                }
            };
            cells[5] = self.stamp(round(job.created));
            cells[6] = self.stamp(round(job.started));
            cells[7] = self.stamp(round(job.finished));
            cells[8] = round(job.duration).to_string();
            cells[9] = round(job.started - job.ready).to_string();
            "7".clone_into(&mut cells[10]);
            cells[11] = format!("\"jobs{}{id}\"", self.delimiter);
            if self.source {
                let by = if pipelines[job.pipeline].scheduled {
                    "schedule"
                } else {
                    "push"
                };
                by.clone_into(&mut cells[12]);
            }
            for cell in cells.iter_mut().take(10).skip(2) {
                if self.blank > 0.0 && cell != job.status && chance.uniform() < self.blank {
                    cell.clear();
                }
            }
            if self.broken > 0.0 && chance.uniform() < self.broken {
                match (chance.uniform() * 5.0) as u32 {
                    0 => "NaN".clone_into(&mut cells[8]),
                    1 => "-17".clone_into(&mut cells[8]),
                    2 => cells.swap(6, 7),
                    3 => "soon".clone_into(&mut cells[6]),
                    _ => "1e300".clone_into(&mut cells[9]),
                }
            }
            join(&mut csv, &cells);
            if self.duplicated > 0.0 && chance.uniform() < self.duplicated {
                join(&mut csv, &cells);
            }
            if at < drawn && chance.uniform() < self.skipped {
                id += 1;
                let mut skipped = vec![String::new(); columns.len()];
                skipped[0] = id.to_string();
                skipped[1].clone_from(&cells[1]);
                "cleanup".clone_into(&mut skipped[2]);
                skipped[3] = format!("skipped {id}");
                "skipped".clone_into(&mut skipped[4]);
                skipped[5].clone_from(&cells[5]);
                join(&mut csv, &skipped);
            }
        }
        csv
    }

    /// Writes local seconds since Monday 2024-06-03.
    fn stamp(&self, local: f64) -> String {
        let monday = days_from_civil(2024, 6, 3) * 86_400_000;
        let utc: Millis = monday + (local * 1000.0).round() as Millis - self.utc_offset * 3_600_000;
        let shown = |hours: i64| {
            let millis = utc + hours * 3_600_000;
            let (year, month, day) = civil_from_days(millis.div_euclid(86_400_000));
            let clock = millis.rem_euclid(86_400_000);
            let (hour, minute, second) = (clock / 3_600_000, clock / 60_000 % 60, clock / 1000 % 60);
            (
                format!("{year}-{month:02}-{day:02}"),
                format!("{hour:02}:{minute:02}:{second:02}"),
                clock % 1000,
            )
        };
        let mut text = String::with_capacity(32);
        let _ = match self.stamp {
            Stamp::Zulu => {
                let (date, time, millis) = shown(0);
                write!(text, "{date}T{time}.{millis:03}Z")
            }
            Stamp::Offset(hours) => {
                let (date, time, millis) = shown(hours);
                write!(text, "{date}T{time}.{millis:03}{hours:+03}:00")
            }
            Stamp::Utc => {
                let (date, time, _) = shown(0);
                write!(text, "{date} {time} UTC")
            }
            Stamp::Naive => {
                let (date, time, _) = shown(self.utc_offset);
                write!(text, "{date} {time}")
            }
            Stamp::Epoch => write!(text, "{}", utc as f64 / 1000.0),
        };
        text
    }
}

struct Drawn {
    birth: f64,
    scheduled: bool,
    stages: Vec<std::ops::Range<usize>>,
}

#[derive(Clone)]
struct Attempt {
    pipeline: usize,
    stage: usize,
    number: usize,
    status: &'static str,
    duration: f64,
    created: f64,
    ready: f64,
    started: f64,
    finished: f64,
}

/// SplitMix64: small, good enough, and not the generator of the simulation.
struct Chance(u64);

impl Chance {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Box and Muller.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Marsaglia and Tsang; shapes below one by the usual power.
    fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let boost = (1.0 - self.uniform()).powf(1.0 / shape);
            return self.gamma(shape + 1.0) * boost;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && (1.0 - self.uniform()).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    /// Knuth in pieces, so that large means do not underflow.
    fn poisson(&mut self, mean: f64) -> usize {
        let (mut left, mut count) = (mean, 0);
        while left > 0.0 {
            let piece = left.min(16.0);
            left -= piece;
            let limit = (-piece).exp();
            let mut product = self.uniform();
            while product > limit {
                product *= self.uniform();
                count += 1;
            }
        }
        count
    }
}
