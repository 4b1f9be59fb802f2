//! Jobs → a profile: every key that the export tells with its standard error, and what it does not tell.

use serde::Serialize;

use jiff::tz::TimeZone;

use super::arrivals::{self, ArrivalFit, Measured};
use super::columns::Column;
use super::layout::{self, Births, Groups, Layout};
use super::lognormal::{self, Fit, Observation};
use super::rows::{Job, NEVER, Reading, Reason};
use super::variance::{Icc, Variance};
use super::waits::{Slots, Waits};
use crate::domain::profile::Profile;
use crate::domain::profile::fields::{self, Kind};

/// Weeks below which the shape of the week is mostly chance.
const ENOUGH_DAYS: f64 = 13.5;

/// What the user knows and the export does not say.
#[derive(Clone, Debug)]
pub struct EstimateOptions {
    /// Zone of the hours of the day.
    pub zone: TimeZone,
    /// Time limit of jobs in seconds.
    pub timeout_s: Option<f64>,
    /// Slots of the runner or runners in the export, together.
    pub concurrency: Option<u32>,
    /// Name of the new profile.
    pub name: String,
    /// Name of the profile that fills the gaps.
    pub base: String,
}

/// A number or the 24 weights of the hours.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Figure {
    /// One number.
    Number(f64),
    /// One weight for each hour of the day.
    Weights(Vec<f64>),
}

/// One key of the profile, or a number beside it, as the export has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Full key, such as `job.duration_p90_s`; a name without a dot is no key of the profile.
    pub key: String,
    /// The value, in the unit of the key.
    pub value: Figure,
    /// Its standard error in the same unit; absent where none is worth stating.
    pub standard_error: Option<f64>,
    /// Jobs, pipelines, stages or gaps it rests on.
    pub n: u64,
    /// How it was found.
    pub method: String,
}

/// A key that the export does not tell; it keeps the value of the base profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unknown {
    /// Full key, or a section with a star.
    pub key: String,
    /// Why not.
    pub why: String,
    /// Where to find out.
    pub how_to_measure: String,
}

/// Something the user should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// Stable name.
    pub code: &'static str,
    /// `info` or `warning`.
    pub severity: &'static str,
    /// One or two sentences.
    pub message: String,
}

/// The result, before the check.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// The new profile.
    pub profile: Profile,
    /// What was estimated, profile keys first.
    pub estimates: Vec<Estimate>,
    /// What was not.
    pub unknown: Vec<Unknown>,
    /// What to know about it.
    pub notices: Vec<Notice>,
    /// Measured waits, where the export has them.
    pub measured: Option<Waits>,
    /// Slots during the export.
    pub slots: Slots,
    /// Days between the first and the last pipeline.
    pub days: f64,
    /// Pipelines an hour for the 168 hours of the week.
    pub hour_of_week: Vec<f64>,
}

impl Calibration {
    /// Returns the comment above a key in the written profile.
    pub fn comment(&self, key: &str, base: &str) -> Option<String> {
        if let Some(one) = self.estimates.iter().find(|one| one.key == key) {
            let error = match (one.standard_error, &one.value) {
                (Some(error), Figure::Number(value)) => format!("{} ± {}, ", shown(*value), shown(error)),
                _ => String::new(),
            };
            return Some(format!(
                "from the job history: {error}n = {}; {}",
                one.n, one.method
            ));
        }
        let section = key.split('.').next().unwrap_or_default();
        let unknown = self.unknown.iter().find(|one| one.key == key).or_else(|| {
            self.unknown
                .iter()
                .find(|one| one.key.strip_suffix(".*") == Some(section))
        })?;
        // Said once, above the first key of a section.
        let first = fields::FIELDS.iter().find(|field| field.section == section);
        if unknown.key != key && first.is_some_and(|field| field.path() != key) {
            return None;
        }
        Some(format!(
            "{}: kept from {base} [assumed]; {}",
            unknown.why, unknown.how_to_measure
        ))
    }
}

/// Estimates everything the export tells; the rest comes from `base`.
pub fn estimate(reading: &Reading, base: &Profile, options: &EstimateOptions) -> Calibration {
    let groups = Groups::new(reading);
    let births = Births::find(reading, &groups);
    let layout = Layout::measure(reading, &groups, &births);
    let slots = Slots::find(reading, options.concurrency);
    let mut work = Work {
        reading,
        options,
        profile: base.clone(),
        estimates: Vec::new(),
        extra: Vec::new(),
        unknown: Vec::new(),
        notices: Vec::new(),
    };
    work.profile.name.clone_from(&options.name);
    work.profile.description = format!("From {} jobs of {} pipelines", layout.attempts, reading.pipelines);
    let zone = &options.zone;
    let skip = |pipeline: usize| births.at[pipeline] == NEVER;
    let fit = arrivals::fit(&births.at, &births.scheduled, &skip, zone);
    let (mut days, mut hour_of_week) = (0.0, Vec::new());
    if let Some(fit) = &fit {
        days = fit.days;
        hour_of_week.clone_from(&fit.hour_of_week);
        work.arrivals(fit);
    }
    work.pipeline(&layout, &births);
    work.job(&groups);
    work.runner(slots);
    work.general(days);
    let mut estimates = work.estimates;
    estimates.append(&mut work.extra);
    Calibration {
        profile: work.profile,
        estimates,
        unknown: work.unknown,
        notices: work.notices,
        measured: Waits::measured(reading),
        slots,
        days,
        hour_of_week,
    }
}

struct Work<'a> {
    reading: &'a Reading,
    options: &'a EstimateOptions,
    profile: Profile,
    estimates: Vec<Estimate>,
    extra: Vec<Estimate>,
    unknown: Vec<Unknown>,
    notices: Vec<Notice>,
}

impl Work<'_> {
    /// Records a number and returns it as it goes into the profile: in range, five digits.
    fn number(&mut self, key: &str, (value, error): Measured, n: u64, method: impl Into<String>) -> f64 {
        let value = tidy(in_range(key, value));
        self.estimates.push(Estimate {
            key: key.to_owned(),
            value: Figure::Number(value),
            standard_error: Some(tidy(error)).filter(|error| error.is_finite()),
            n,
            method: method.into(),
        });
        value
    }

    fn weights(&mut self, key: &str, weights: [f64; 24], n: u64, method: impl Into<String>) -> [f64; 24] {
        let weights = weights.map(|weight| (weight * 1000.0).round() / 1000.0);
        self.estimates.push(Estimate {
            key: key.to_owned(),
            value: Figure::Weights(weights.to_vec()),
            standard_error: None,
            n,
            method: method.into(),
        });
        weights
    }

    fn beside(&mut self, key: &str, (value, error): Measured, n: u64, method: &str) {
        self.extra.push(Estimate {
            key: key.to_owned(),
            value: Figure::Number(tidy(value)),
            standard_error: Some(tidy(error)).filter(|error| error.is_finite()),
            n,
            method: method.to_owned(),
        });
    }

    fn unknown(&mut self, key: &str, why: impl Into<String>, how: &str) {
        self.unknown.push(Unknown {
            key: key.to_owned(),
            why: why.into(),
            how_to_measure: how.to_owned(),
        });
    }

    fn notice(&mut self, code: &'static str, severity: &'static str, message: impl Into<String>) {
        self.notices.push(Notice {
            code,
            severity,
            message: message.into(),
        });
    }

    fn arrivals(&mut self, fit: &ArrivalFit) {
        const LONGER: &str = "export at least two weeks";
        let n = fit.pipelines;
        let first = "first created_at of each pipeline, by hour of the week";
        // Fewer than one pipeline in a hundred weekdays is a mistake of the clock, and no profile.
        match fit.per_weekday.filter(|(rate, _)| n >= 10 && *rate >= 0.01) {
            Some(rate) => {
                let dispersion = fit.dispersion;
                let method =
                    format!("{first}; daily counts vary {dispersion:.1} times as much as chance alone");
                self.profile.arrivals.pipelines_per_weekday =
                    self.number("arrivals.pipelines_per_weekday", rate, n, method);
            }
            None => self.unknown(
                "arrivals.pipelines_per_weekday",
                "too few pipelines on weekdays",
                LONGER,
            ),
        }
        match fit.weekend_factor {
            Some(factor) => {
                self.profile.arrivals.weekend_factor =
                    self.number("arrivals.weekend_factor", factor, n, first);
            }
            None => self.unknown(
                "arrivals.weekend_factor",
                "no weekend, or too few pipelines",
                LONGER,
            ),
        }
        let how = if fit.by_source {
            "pipeline source".to_owned()
        } else {
            "comb: arrivals at the minutes of the grid beyond those between".to_owned()
        };
        let tell = "add the column `source` (of the pipeline) to the export";
        match fit.scheduled_share {
            Some(share) => {
                self.profile.arrivals.scheduled_share =
                    self.number("arrivals.scheduled_share", share, n, how.clone());
            }
            None => self.unknown(
                "arrivals.scheduled_share",
                "too few pipelines to see schedules",
                tell,
            ),
        }
        if let Some(share) = fit.scheduled_share_all_days {
            self.beside(
                "scheduled_share_all_days",
                share,
                n,
                "the same over the whole week",
            );
        }
        match fit.scheduled_weekend_factor {
            Some(factor) => {
                self.profile.arrivals.scheduled_weekend_factor =
                    self.number("arrivals.scheduled_weekend_factor", factor, n, how.clone());
            }
            None => {
                self.unknown(
                    "arrivals.scheduled_weekend_factor",
                    "no weekend, or no schedules seen",
                    tell,
                );
            }
        }
        if let Some(comb) = fit.comb {
            let grid = f64::from(comb.grid);
            let method = "the finest grid whose every tooth stands out";
            self.number("arrivals.schedule_grid_minutes", (grid, f64::NAN), n, method);
            self.profile.arrivals.schedule_grid_minutes = comb.grid;
            self.profile.arrivals.schedule_jitter_s = self.number(
                "arrivals.schedule_jitter_s",
                comb.jitter_s,
                n,
                "twice the mean delay after the grid minute",
            );
            if comb.offset != 0 {
                let message = format!(
                    "schedules fire at minute {} of every {}; the profile has them on the full grid, which queues \
                         the same",
                    comb.offset, comb.grid
                );
                self.notice("schedule-offset", "info", message);
            }
        } else {
            self.unknown(
                "arrivals.schedule_grid_minutes",
                "no minute of the hour stands out",
                tell,
            );
            self.unknown(
                "arrivals.schedule_jitter_s",
                "no minute of the hour stands out",
                tell,
            );
        }
        let shrunk = "share of each hour of the day, half a pipeline of prior from its neighbours";
        match fit.hours_interactive {
            Some(hours) => {
                self.profile.arrivals.hours_interactive =
                    self.weights("arrivals.hours_interactive", hours, n, shrunk);
            }
            None => self.unknown("arrivals.hours_interactive", "hours without data", LONGER),
        }
        match fit.hours_scheduled {
            Some(hours) => {
                self.profile.arrivals.hours_scheduled =
                    self.weights("arrivals.hours_scheduled", hours, n, shrunk);
            }
            None => self.unknown("arrivals.hours_scheduled", "too few schedules seen", LONGER),
        }
        self.profile.arrivals.bursts.clear();
        self.unknown(
            "arrivals.bursts",
            "gatherings are inside the hours",
            "name known ones (workshops, releases) yourself",
        );
        if fit.longest_gap_days > 4.0 {
            let message = format!(
                "{:.1} days without any pipeline: a holiday or a hole in the export lowers pipelines_per_weekday",
                fit.longest_gap_days
            );
            self.notice("gap", "warning", message);
        }
        if !fit.by_source {
            let message =
                "no pipeline source in the export: schedules are told from people by the minute of the hour";
            self.notice("no-source", "info", message);
        }
    }

    /// Returns the share of rows that lost their pipeline id.
    fn lost(&self) -> f64 {
        let lost = self
            .reading
            .tallies
            .get(&Reason::NoPipeline)
            .map_or(0, |tally| tally.rows) as f64;
        (lost / (lost + self.reading.jobs.len() as f64)).min(0.5)
    }

    fn pipeline(&mut self, layout: &Layout, births: &Births) {
        let n = layout.jobs.len() as u64;
        if let Some([mean, cv]) = layout::mean_and_cv(&layout.jobs, self.lost()) {
            let method = "jobs per complete pipeline; skipped, manual and repeated ones excluded, cancelled ones counted";
            self.profile.pipeline.jobs_mean = self.number("pipeline.jobs_mean", mean, n, method);
            self.profile.pipeline.jobs_cv =
                self.number("pipeline.jobs_cv", cv, n, "standard deviation over mean");
        } else {
            let why = "fewer than three complete pipelines";
            self.unknown("pipeline.jobs_mean", why, "export at least two weeks");
            self.unknown("pipeline.jobs_cv", why, "export at least two weeks");
        }
        let inner = layout.stages.saturating_sub(layout.staged) as f64;
        let wide = layout.staged_jobs.saturating_sub(layout.stages) as f64;
        if inner >= 1.0 {
            let p = inner / (inner + wide);
            let width = (1.0 / p, (1.0 - p).sqrt() / (p * inner.sqrt()));
            let method = "geometric, the last stage of a pipeline censored";
            self.profile.pipeline.stage_width =
                self.number("pipeline.stage_width", width, layout.stages, method);
        } else {
            self.unknown(
                "pipeline.stage_width",
                "no pipeline with two stages",
                "check the column `stage`",
            );
        }
        let mut gaps = layout.gaps.clone();
        match layout::median(&mut gaps) {
            Some(gap) => {
                let method =
                    "median of the next stage's first ready time less the last end of the stage before";
                self.profile.pipeline.stage_gap_s =
                    self.number("pipeline.stage_gap_s", gap, gaps.len() as u64, method);
            }
            None => self.unknown(
                "pipeline.stage_gap_s",
                "too few stages with times",
                "add `queued_duration`",
            ),
        }
        if layout.overlapping * 5 > layout.gaps.len() as u64 {
            let message = format!(
                "{} of {} stages begin before the one before them ends (`needs`): the model runs stages one after \
                 another, so its pipelines are longer and its queue a little shorter",
                layout.overlapping,
                layout.gaps.len()
            );
            self.notice("overlapping-stages", "warning", message);
        }
        let attempts = layout.attempts.max(1) as f64;
        let share = layout.retries as f64 / attempts;
        let error = (share * (1.0 - share) / attempts).sqrt();
        self.beside(
            "retry_share",
            (share, error),
            layout.attempts,
            "attempts that repeat a job",
        );
        if share > 0.03 {
            let message = format!(
                "{:.1} % of the attempts repeat a job; they load the runner and are no part of jobs_mean: \
                 multiply pipeline.jobs_mean by {:.3} to plan for them",
                share * 100.0,
                1.0 / (1.0 - share)
            );
            self.notice("retries", "warning", message);
        }
        let cut = births.cut_at_start + births.cut_at_end + births.unfinished;
        if cut > 0 {
            let message = format!(
                "{cut} pipelines are left out of the counts of jobs and stages: {} began before the export, {} are \
                 too close to its end, {} are not finished",
                births.cut_at_start, births.cut_at_end, births.unfinished
            );
            self.notice("cut-pipelines", "info", message);
        }
    }

    fn job(&mut self, groups: &Groups) {
        let jobs = &self.reading.jobs;
        let timeout = self.timeout();
        let durations = Durations::new(jobs, timeout);
        let n = durations.measured;
        let sampled = |places: &[u32]| -> Vec<u32> {
            places
                .iter()
                .map(|place| durations.place[*place as usize])
                .filter(|place| *place != u32::MAX)
                .collect()
        };
        let each = |visit: &mut dyn FnMut(&[u32])| {
            for (_, places) in groups.iter() {
                let places = sampled(places);
                if !places.is_empty() {
                    visit(&places);
                }
            }
        };
        let fit: Option<(Fit, &str)> = durations.fit(&each).filter(|_| n >= 10);
        if let Some((fit, rounding)) = fit {
            let method = format!(
                "log-normal by maximum likelihood on success and failed, {} beyond the limit censored, {rounding}; \
                 error widened for jobs that share a pipeline",
                durations.censored
            );
            self.profile.job.duration_p90_s = self.number("job.duration_p90_s", fit.p90(), n, method.clone());
            self.profile.job.duration_sigma = self.number("job.duration_sigma", fit.sigma(), n, method);
        } else {
            self.unknown(
                "job.duration_p90_s",
                "fewer than ten run times",
                "export more jobs",
            );
            self.unknown(
                "job.duration_sigma",
                "fewer than ten run times",
                "export more jobs",
            );
        }
        let mut variance = Variance::default();
        let mut logs = Vec::new();
        for (_, places) in groups.iter() {
            logs.clear();
            for job in places
                .iter()
                .map(|place| &jobs[*place as usize])
                .filter(|job| job.is_measured())
            {
                logs.push(f64::from(job.duration_s).clamp(0.3, timeout).ln());
            }
            variance.group(&logs);
        }
        match variance.icc() {
            Some(Icc {
                value,
                standard_error,
                jobs,
                ..
            }) => {
                let method = "one-way random effects on the log of the run time, groups of unequal size";
                self.profile.job.duration_icc =
                    self.number("job.duration_icc", (value.max(0.0), standard_error), jobs, method);
            }
            None => self.unknown(
                "job.duration_icc",
                "too few pipelines with two run times",
                "export more jobs",
            ),
        }
        self.notice(
            "contention-included",
            "info",
            "run times are those on the current host, its CPU contention included; on a host with more CPU per job they \
             are shorter",
        );
        for (key, why, how) in [
            (
                "job.cpu_fixed_s",
                "CPU use is not in the CSV",
                "measure with cgroup cpu.stat (usage_usec) of job containers",
            ),
            (
                "job.cpu_per_s",
                "CPU use is not in the CSV",
                "measure with cgroup cpu.stat (usage_usec) of job containers",
            ),
            (
                "job.rss_median_mib",
                "memory is not in the CSV",
                "measure with cgroup memory.peak of job containers, or samples of docker stats",
            ),
            (
                "job.rss_sigma",
                "memory is not in the CSV",
                "ln(P95 / median) / 1.645 of cgroup memory.peak",
            ),
        ] {
            self.unknown(key, why, how);
        }
    }

    /// Finds the time limit: given, stated by failure reasons, or seen as the longest run time.
    fn timeout(&mut self) -> f64 {
        const KEY: &str = "job.timeout_s";
        let assumed = self.profile.job.timeout_s;
        let measured = || self.reading.jobs.iter().filter(|job| job.is_measured());
        let mut stopped: Vec<f64> = measured()
            .filter(|job| job.timed_out)
            .map(|job| f64::from(job.duration_s))
            .collect();
        let longest = measured()
            .map(|job| f64::from(job.duration_s))
            .fold(0.0, f64::max);
        let near = measured()
            .filter(|job| f64::from(job.duration_s) >= longest / 1.02)
            .count() as u64;
        stopped.sort_unstable_by(f64::total_cmp);
        let to_minute = |seconds: f64| (seconds / 60.0).round().max(1.0) * 60.0;
        let (value, n, method) = if let Some(given) = self.options.timeout_s {
            (given, 0, "given with --timeout")
        } else if let Some(middle) = stopped.get(stopped.len() / 2) {
            let whole = to_minute(*middle);
            let value = if (whole / middle - 1.0).abs() < 0.02 {
                whole
            } else {
                *middle
            };
            (
                value,
                stopped.len() as u64,
                "run time of jobs that failed with job_execution_timeout",
            )
        } else if longest > assumed * 1.05 {
            if near >= 3 {
                (
                    to_minute(longest / 1.01),
                    near,
                    "where the longest run times pile up",
                )
            } else {
                (
                    (longest / 3600.0).ceil() * 3600.0,
                    1,
                    "the longest run time, up to the next hour",
                )
            }
        } else {
            let why = "no job ran past the limit that is assumed";
            self.unknown(
                KEY,
                why,
                "see the project's and the runner's job timeout, and give it with --timeout",
            );
            return assumed;
        };
        self.profile.job.timeout_s = self.number(KEY, (value, f64::NAN), n, method);
        self.profile.job.timeout_s
    }

    fn runner(&mut self, slots: Slots) {
        let value = f64::from(slots.count);
        let method = if slots.given {
            "given with --concurrency"
        } else {
            "jobs that run when one that waited starts, or the most that ran at once: a lower bound where nothing waited"
        };
        self.number("runner.concurrent", (value, f64::NAN), slots.jobs, method);
        self.profile.runner.concurrent = slots.count.clamp(1, 1000);
        match Waits::floor(self.reading) {
            Some((floor, n)) if floor > 1.0 => {
                let method = "10th percentile of queued_duration: what a job waits although slots are free";
                self.profile.runner.pickup_delay_s =
                    self.number("runner.pickup_delay_s", (floor - 0.1, f64::NAN), n, method);
            }
            _ => {}
        }
    }

    fn general(&mut self, days: f64) {
        for (key, why, how) in [
            (
                "host.*",
                "the host is not in the CSV",
                "set reference_thread to the family of the current host; free -m for overhead_mib",
            ),
            (
                "disk.*",
                "the disk is not in the CSV",
                "slope of df between clean-ups, docker system df for the split, docker image ls for the images",
            ),
            ("slo.*", "a wish, not a measurement", "set what your team accepts"),
            (
                "kubernetes.*",
                "pods and nodes are not in the CSV",
                "kubectl top pod, and the requests of the runner's configuration",
            ),
        ] {
            self.unknown(key, why, how);
        }
        if days < ENOUGH_DAYS {
            let message = format!("{days:.1} days of data: the week's shape needs at least two weeks");
            self.notice("short-window", "warning", message);
        }
        if self.reading.naive_times > 0 {
            let name = self.options.zone.iana_name().unwrap_or("UTC").to_owned();
            let message = format!(
                "{} time stamps state no zone and were read as {name}; say otherwise with --timezone",
                self.reading.naive_times
            );
            self.notice("naive-times", "warning", message);
        }
        if self.options.zone == TimeZone::UTC && self.reading.offset_times > self.reading.rows {
            let message = "the time stamps are at an offset from UTC and hours are counted in UTC; if the team's day is \
                           meant, say its zone with --timezone";
            self.notice("offset-times", "warning", message);
        }
        let absent = self.reading.columns.absent();
        let lost = |column: Column| match column {
            Column::Queued => {
                Some("ready times are unknown: the check against measured waits is not possible")
            }
            Column::Created => Some("pipelines are dated by their first ready time"),
            Column::Name => Some("repeated jobs are seen only where `retried` marks them"),
            Column::Id => Some("rows that occur twice are not seen"),
            _ => None,
        };
        for column in absent {
            if let Some(text) = lost(column) {
                self.notice(
                    "missing-column",
                    "warning",
                    format!("no column `{column}`: {text}"),
                );
            }
        }
        let runners = self.reading.runners.len();
        if runners > 1 {
            let names: Vec<&str> = self.reading.runners.iter().take(5).map(String::as_str).collect();
            let more = if runners > 5 {
                format!(" and {} more", runners - 5)
            } else {
                String::new()
            };
            let message = format!(
                "jobs of {runners} runners ({}{more}) are taken as one pool; choose one with --runner",
                names.join(", ")
            );
            self.notice("several-runners", "warning", message);
        }
        let rows = self.reading.rows.max(1);
        for (reason, tally) in &self.reading.tallies {
            let dirt = !matches!(
                reason,
                Reason::Skipped | Reason::Manual | Reason::Cancelled | Reason::OtherRunner | Reason::OtherTag
            );
            if dirt && tally.rows * 20 > rows {
                let share = tally.rows as f64 * 100.0 / rows as f64;
                let message = format!("{share:.0} % of the rows: {}", reason.text());
                self.notices.push(Notice {
                    code: "dirty-rows",
                    severity: "warning",
                    message,
                });
            }
        }
        if let Some(tally) = self.reading.tallies.get(&Reason::NoPipeline)
            && tally.rows * 100 > rows
        {
            let message = "rows without a pipeline id: jobs_mean and jobs_cv make up for their share, stage_width does not";
            self.notice("no-pipeline", "warning", message);
        }
        if self.reading.contradictions.rows * 100 > rows {
            let message = format!(
                "{} rows whose duration disagrees with start and end (first: line {}); duration was believed",
                self.reading.contradictions.rows,
                self.reading
                    .contradictions
                    .lines
                    .first()
                    .copied()
                    .unwrap_or_default()
            );
            self.notice("contradictions", "warning", message);
        }
    }
}

/// Run times as observations, equal ones counted together.
struct Durations {
    observations: Vec<(Observation, u64)>,
    /// For whole seconds the same, cut instead of rounded.
    cut: Option<Vec<(Observation, u64)>>,
    /// For each job its observation, or `u32::MAX`.
    place: Vec<u32>,
    measured: u64,
    censored: u64,
}

impl Durations {
    fn new(jobs: &[Job], timeout: f64) -> Self {
        let measured = || jobs.iter().filter(|job| job.is_measured());
        let n = measured().count() as u64;
        let whole = measured().filter(|job| job.duration_s.fract() == 0.0).count() as u64;
        let is_whole = whole * 100 >= n * 99;
        let mut known: std::collections::HashMap<(bool, u32), u32> = std::collections::HashMap::new();
        let mut durations = Self {
            observations: Vec::new(),
            cut: is_whole.then(Vec::new),
            place: vec![u32::MAX; jobs.len()],
            measured: n,
            censored: 0,
        };
        for (at, job) in jobs.iter().enumerate().filter(|(_, job)| job.is_measured()) {
            let seconds = f64::from(job.duration_s);
            let beyond = job.timed_out || seconds >= timeout - 0.5;
            durations.censored += u64::from(beyond);
            let limit = if job.timed_out {
                seconds.min(timeout)
            } else {
                timeout
            };
            let value = if beyond { limit.max(0.5) } else { seconds };
            let next = durations.observations.len() as u32;
            // Equal numbers share an entry; with fractions nearly all differ, and sharing would only cost memory.
            let place = if is_whole || beyond {
                *known.entry((beyond, (value as f32).to_bits())).or_insert(next)
            } else {
                next
            };
            durations.place[at] = place;
            if place < next {
                durations.observations[place as usize].1 += 1;
                if let Some(cut) = &mut durations.cut {
                    cut[place as usize].1 += 1;
                }
                continue;
            }
            let (rounded, floored) = if beyond {
                (Observation::Beyond(value), Observation::Beyond(value))
            } else if is_whole {
                let whole = value.round();
                (
                    Observation::Between((whole - 0.5).max(0.0), whole + 0.5),
                    Observation::Between(whole, whole + 1.0),
                )
            } else if value < 0.05 {
                (Observation::Between(0.0, 0.1), Observation::Between(0.0, 0.1))
            } else {
                (Observation::Exact(value), Observation::Exact(value))
            };
            durations.observations.push((rounded, 1));
            if let Some(cut) = &mut durations.cut {
                cut.push((floored, 1));
            }
        }
        durations
    }

    /// Fits both readings of whole seconds and keeps the likelier.
    fn fit(&self, clusters: lognormal::Clusters<'_>) -> Option<(Fit, &'static str)> {
        let rounded = lognormal::fit(&self.observations, clusters);
        let Some(cut) = &self.cut else {
            return rounded.map(|fit| (fit, "fractions of seconds"));
        };
        match (rounded, lognormal::fit(cut, clusters)) {
            // Rounding is the rule; cutting must be clearly likelier.
            (Some(a), Some(b)) if b.log_likelihood > a.log_likelihood + 3.0 => {
                Some((b, "whole seconds, cut"))
            }
            (Some(a), _) => Some((a, "whole seconds, rounded")),
            (None, b) => b.map(|fit| (fit, "whole seconds, cut")),
        }
    }
}

/// Keeps a number within the range that profiles allow for the key.
fn in_range(key: &str, value: f64) -> f64 {
    let (section, name) = key.split_once('.').unwrap_or(("", key));
    match fields::find(section, name).map(|(_, field)| field.kind) {
        Some(Kind::Number(range)) => {
            let least = if range.above_min {
                range.min + 1e-6
            } else {
                range.min
            };
            value.clamp(least, range.max)
        }
        Some(Kind::Integer(min, max)) => value.clamp(f64::from(min), f64::from(max)),
        _ => value,
    }
}

/// Rounds to five significant digits: the error is in the third or fourth.
pub(super) fn tidy(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let digits = 4 - value.abs().log10().floor() as i32;
    if digits >= 0 {
        let scale = 10f64.powi(digits);
        (value * scale).round() / scale
    } else {
        value.round()
    }
}

/// Writes a number with as many decimals as are worth reading.
pub fn shown(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude == 0.0 || magnitude >= 1000.0 {
        format!("{value:.0}")
    } else if magnitude >= 100.0 {
        format!("{value:.1}")
    } else if magnitude >= 10.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    }
}
