//! What pipelines look like: jobs, stages, gaps between stages, attempts that repeat a job.

use super::rows::{Ended, Job, NEVER, Reading, UNNAMED};
use super::times::Millis;

/// Jobs grouped by pipeline, without copying them.
#[derive(Debug)]
pub struct Groups {
    order: Vec<u32>,
    starts: Vec<u32>,
}

impl Groups {
    /// Groups the jobs of a reading; the order within a pipeline is that of the file.
    pub fn new(reading: &Reading) -> Self {
        let mut starts = vec![0u32; reading.pipelines as usize + 1];
        for job in &reading.jobs {
            starts[job.pipeline as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut next = starts.clone();
        let mut order = vec![0u32; reading.jobs.len()];
        for (place, job) in reading.jobs.iter().enumerate() {
            let slot = &mut next[job.pipeline as usize];
            order[*slot as usize] = place as u32;
            *slot += 1;
        }
        Self { order, starts }
    }

    /// Returns the places of each pipeline's jobs, pipelines without any left out.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &[u32])> {
        self.starts
            .windows(2)
            .enumerate()
            .map(|(pipeline, ends)| (pipeline, &self.order[ends[0] as usize..ends[1] as usize]))
            .filter(|(_, places)| !places.is_empty())
    }
}

/// When pipelines were created, and which of them the export may have cut.
#[derive(Debug)]
pub struct Births {
    /// For each pipeline its creation, or [`NEVER`].
    pub at: Vec<Millis>,
    /// For each pipeline, whether a schedule started it, where the export says.
    pub scheduled: Vec<Option<bool>>,
    /// For each pipeline, whether its jobs may be incomplete.
    pub cut: Vec<bool>,
    /// Pipelines that began before the export did.
    pub cut_at_start: u64,
    /// Pipelines too close to the end of the export to be sure of.
    pub cut_at_end: u64,
    /// Pipelines with a job that is not finished.
    pub unfinished: u64,
}

impl Births {
    /// Finds the creation of every pipeline: its earliest `created_at`, or else its earliest ready time.
    ///
    /// An export that was filtered by the time of the jobs holds only the later jobs of pipelines from before its
    /// beginning and only the first jobs of those at its end. The former show (created before anything in the file
    /// started, first ready much later); for the latter, pipelines created within the 99th percentile of the
    /// pipeline time before the end are left out of the counts, whatever their length, which biases nothing.
    pub fn find(reading: &Reading, groups: &Groups) -> Self {
        let count = reading.pipelines as usize;
        let mut births = Self {
            at: vec![NEVER; count],
            scheduled: vec![None; count],
            cut: reading.open.clone(),
            cut_at_start: 0,
            cut_at_end: 0,
            unfinished: 0,
        };
        let (mut first_start, mut last_end) = (Millis::MAX, Millis::MIN);
        let mut first_ready = vec![NEVER; count];
        let mut lengths = Vec::new();
        for (pipeline, places) in groups.iter() {
            let (mut created, mut ready, mut end) = (Millis::MAX, Millis::MAX, NEVER);
            for job in places.iter().map(|place| &reading.jobs[*place as usize]) {
                if job.created != NEVER {
                    created = created.min(job.created);
                }
                if let Some(at) = job.ready() {
                    ready = ready.min(at);
                    first_start = first_start.min(job.started);
                }
                end = end.max(job.finished);
                if job.scheduled.is_some() {
                    births.scheduled[pipeline] =
                        Some(births.scheduled[pipeline] == Some(true) || job.scheduled == Some(true));
                }
            }
            let at = if created == Millis::MAX { ready } else { created };
            if at == Millis::MAX {
                continue;
            }
            births.at[pipeline] = at;
            if ready != Millis::MAX {
                first_ready[pipeline] = ready;
            }
            if end != NEVER {
                last_end = last_end.max(end);
                lengths.push(end - at);
            }
            births.unfinished += u64::from(reading.open[pipeline]);
        }
        let first_birth = births
            .at
            .iter()
            .copied()
            .filter(|at| *at != NEVER)
            .min()
            .unwrap_or(0);
        lengths.sort_unstable();
        let long = lengths.get(lengths.len() * 99 / 100).copied().unwrap_or(0);
        let window = last_end.saturating_sub(first_birth);
        for (pipeline, ready) in first_ready.into_iter().enumerate() {
            let at = births.at[pipeline];
            if at == NEVER {
                continue;
            }
            if ready != NEVER && at < first_start.saturating_sub(60_000) && ready > at + 60_000 {
                births.cut_at_start += u64::from(!births.cut[pipeline]);
                births.cut[pipeline] = true;
            } else if window > 20 * long && at > last_end - long {
                births.cut_at_end += u64::from(!births.cut[pipeline]);
                births.cut[pipeline] = true;
            }
        }
        births
    }
}

/// Numbers of jobs, stages and repeats.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// Jobs of each complete pipeline, repeats not counted.
    pub jobs: Vec<u32>,
    /// Pipelines whose jobs all have a stage.
    pub staged: u64,
    /// Jobs in them.
    pub staged_jobs: u64,
    /// Stages in them.
    pub stages: u64,
    /// Seconds from the end of a stage until the next is ready.
    pub gaps: Vec<f64>,
    /// Gaps below zero: stages that overlap (`needs`).
    pub overlapping: u64,
    /// Attempts that repeat a job.
    pub retries: u64,
    /// Attempts in all pipelines, complete or not.
    pub attempts: u64,
}

impl Layout {
    /// Measures every pipeline.
    ///
    /// A repeat is an attempt that the export marks as replaced, or one of the same name and stage that became
    /// ready only after the earlier one had ended: jobs of a stage become ready together, and GitLab does not allow
    /// one name twice. Repeats load the runner, and are counted, but are no part of the first layout.
    pub fn measure(reading: &Reading, groups: &Groups, births: &Births) -> Self {
        let mut layout = Self::default();
        let mut sorted: Vec<&Job> = Vec::new();
        let mut stages: Vec<Stage> = Vec::new();
        for (pipeline, places) in groups.iter() {
            sorted.clear();
            sorted.extend(places.iter().map(|place| &reading.jobs[*place as usize]));
            sorted.sort_by_key(|job| (job.stage, job.name, job.ready().unwrap_or(job.created)));
            stages.clear();
            let (mut first, mut repeats) = (0u32, 0u64);
            let mut staged = true;
            let mut previous: Option<&Job> = None;
            for job in &sorted {
                let again = job.retried || previous.is_some_and(|earlier| repeats_of(earlier, job));
                previous = Some(job);
                repeats += u64::from(again);
                first += u32::from(!again);
                staged &= job.stage != UNNAMED;
                let same = stages.last().is_some_and(|stage| stage.number == job.stage);
                if !same {
                    stages.push(Stage::new(job.stage));
                }
                if let Some(stage) = stages.last_mut() {
                    stage.add(job, again);
                }
            }
            layout.attempts += u64::from(first) + repeats;
            layout.retries += repeats;
            if births.cut[pipeline] || first == 0 {
                continue;
            }
            layout.jobs.push(first);
            if !staged {
                continue;
            }
            layout.staged += 1;
            layout.staged_jobs += u64::from(first);
            layout.stages += stages.iter().filter(|stage| stage.jobs > 0).count() as u64;
            stages.sort_by_key(|stage| stage.ready);
            for pair in stages.windows(2) {
                if pair[0].known && pair[1].known {
                    let gap = (pair[1].ready - pair[0].end) as f64 / 1000.0;
                    // Half a second below zero is rounding.
                    layout.overlapping += u64::from(gap < -1.0);
                    layout.gaps.push(gap.max(0.0));
                }
            }
        }
        layout
    }
}

fn repeats_of(earlier: &Job, job: &Job) -> bool {
    let same = job.name != UNNAMED && earlier.name == job.name && earlier.stage == job.stage;
    // Marked attempts are the replaced ones; their successor is the job of the layout.
    if !same || earlier.retried {
        return false;
    }
    match job.ready() {
        Some(ready) if earlier.finished != NEVER => ready + 1000 >= earlier.finished,
        _ => earlier.created != NEVER && job.created > earlier.created && earlier.ended != Ended::Success,
    }
}

struct Stage {
    number: u32,
    ready: Millis,
    end: Millis,
    known: bool,
    jobs: u32,
}

impl Stage {
    fn new(number: u32) -> Self {
        Self {
            number,
            ready: Millis::MAX,
            end: Millis::MIN,
            known: true,
            jobs: 0,
        }
    }

    fn add(&mut self, job: &Job, again: bool) {
        self.jobs += u32::from(!again);
        match job.ready() {
            Some(ready) if job.finished != NEVER => {
                self.ready = self.ready.min(ready);
                self.end = self.end.max(job.finished);
            }
            _ => self.known = false,
        }
    }
}

/// Returns mean and coefficient of variation, each with its standard error.
///
/// `missing` is the share of jobs that lost their pipeline, at random: with q = 1 - missing the counts have mean
/// q m and variance q^2 v + q (1 - q) m, which is undone.
pub fn mean_and_cv(counts: &[u32], missing: f64) -> Option<[(f64, f64); 2]> {
    let n = counts.len() as f64;
    if counts.len() < 3 {
        return None;
    }
    let mean = counts.iter().map(|c| f64::from(*c)).sum::<f64>() / n;
    let (mut m2, mut m3, mut m4) = (0.0, 0.0, 0.0);
    for count in counts {
        let d = f64::from(*count) - mean;
        m2 += d * d;
        m3 += d * d * d;
        m4 += d * d * d * d;
    }
    let variance = m2 / (n - 1.0);
    let (m2, m3, m4) = (m2 / n, m3 / n, m4 / n);
    let cv = (variance - missing * mean).max(0.0).sqrt() / mean;
    let kept = 1.0 - missing;
    let mean_error = (variance / n).sqrt() / kept;
    if m2 <= 0.0 {
        return Some([(mean / kept, 0.0), (0.0, 0.0)]);
    }
    // The delta method for the ratio of a standard deviation and a mean.
    let relative = (m4 / (m2 * m2) - 1.0) / 4.0 + m2 / (mean * mean) - m3 / (m2 * mean);
    Some([
        (mean / kept, mean_error),
        (cv, cv * (relative.max(0.0) / n).sqrt()),
    ])
}

/// Returns the median and its standard error (from the quartiles, as if normal); the values are reordered.
pub fn median(values: &mut [f64]) -> Option<(f64, f64)> {
    let n = values.len();
    if n < 3 {
        return None;
    }
    values.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| {
        let place = share * (n - 1) as f64;
        let low = place.floor() as usize;
        let high = (low + 1).min(n - 1);
        values[low] + (place - low as f64) * (values[high] - values[low])
    };
    let spread = (at(0.75) - at(0.25)) / 1.349;
    Some((at(0.5), 1.2533 * spread / (n as f64).sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_that_lost_their_pipeline_are_made_up_for() {
        // Pipelines of 5 to 39 jobs, each job kept with probability 0.9.
        let mut chance = 1u64;
        let mut uniform = || {
            chance = chance
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (chance >> 11) as f64 / (1u64 << 53) as f64
        };
        let (mut whole, mut kept) = (Vec::new(), Vec::new());
        for _ in 0..20_000 {
            let jobs = 5 + (uniform() * 35.0) as u32;
            whole.push(jobs);
            kept.push((0..jobs).filter(|_| uniform() < 0.9).count() as u32);
        }
        let [mean, cv] = mean_and_cv(&whole, 0.0).unwrap();
        let [mended_mean, mended_cv] = mean_and_cv(&kept, 0.1).unwrap();
        assert!(
            (mended_mean.0 / mean.0 - 1.0).abs() < 0.005,
            "{mended_mean:?} {mean:?}"
        );
        assert!((mended_cv.0 / cv.0 - 1.0).abs() < 0.01, "{mended_cv:?} {cv:?}");
    }

    #[test]
    fn the_median_of_few_values_is_nothing() {
        assert_eq!(median(&mut [1.0, 2.0]), None);
        assert_eq!(median(&mut [3.0, 1.0, 2.0]).map(|(middle, _)| middle), Some(2.0));
    }
}
