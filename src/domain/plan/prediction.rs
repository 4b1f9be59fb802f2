//! What the answer will be like: waits, pipelines, hours of the day, disks.

use serde::Serialize;

use crate::domain::disk::{Days, DiskFill, initial_gib};
use crate::domain::simulation::record::Full;
use crate::domain::sizing::evaluate::Layout;
use crate::domain::sizing::recommend::Recommendation;
use crate::domain::sizing::search::Question;
use crate::domain::sizing::study::Sweep;

/// Quantiles of the wait.
#[derive(Clone, Debug, Serialize)]
pub struct QueueWait {
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Mean.
    pub mean: f64,
    /// 95 % interval of the 95th percentile.
    pub ci95_p95: [f64; 2],
}

/// Quantiles of the time of a pipeline.
#[derive(Clone, Debug, Serialize)]
pub struct PipelineTime {
    /// Median.
    pub p50: f64,
    /// Third quartile.
    pub p75: f64,
    /// 95th percentile.
    pub p95: f64,
}

/// An hour of the weekday.
#[derive(Clone, Debug, Serialize)]
pub struct HourRow {
    /// 0 to 23.
    pub hour: usize,
    /// Jobs in the hour.
    pub jobs: f64,
    /// Mean busy slots.
    pub busy_slots: f64,
    /// 95th percentile of the wait, seconds.
    pub wait_p95_seconds: f64,
    /// Share of late jobs.
    pub late_share: f64,
}

/// Days until the disk is at a level.
#[derive(Clone, Debug, Serialize)]
pub struct DiskRow {
    /// GiB.
    pub size_gib: u32,
    /// Until 80 %.
    pub to_80_percent: Days,
    /// Until 90 %.
    pub to_90_percent: Days,
    /// Until full.
    pub to_full: Days,
    /// Dollars a month.
    pub monthly: String,
}

/// What it will be like.
#[derive(Clone, Debug, Serialize)]
pub struct Prediction {
    /// Wait of a job.
    pub queue_wait_seconds: QueueWait,
    /// Time of a pipeline.
    pub pipeline_seconds: PipelineTime,
    /// Share of the threads' time that computes.
    pub cpu_utilization: f64,
    /// MiB left when all slots run (99 %); null on EKS, where requests decide.
    pub memory_headroom_mib: Option<f64>,
    /// Days until 80 %, early fillers (5 %).
    pub days_until_disk_80_percent: u32,
    /// Mean busy slots.
    pub busy_slots_mean: f64,
    /// Busy slots not exceeded 99.9 % of the time.
    pub busy_slots_p999: usize,
    /// By hour of the weekday.
    pub hours: Vec<HourRow>,
    /// The hour with the largest share of late jobs.
    pub worst_hour: usize,
    /// Fill of the chosen and neighbouring disks.
    pub disk: Vec<DiskRow>,
    /// Weeks of each replication.
    pub weeks: u32,
}

/// A row of the sweep.
#[derive(Clone, Debug, Serialize)]
pub struct SweepRow {
    /// Jobs at once on a host or node.
    pub concurrency: u32,
    /// Largest number of nodes (EKS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_nodes: Option<u32>,
    /// Mean wait, seconds.
    pub wait_mean: f64,
    /// 95th percentile, seconds.
    pub wait_p95: f64,
    /// 99th percentile, seconds.
    pub wait_p99: f64,
    /// Share of late jobs.
    pub late_share: f64,
    /// Half of its interval.
    pub late_share_half_width: f64,
    /// Slowdown.
    pub slowdown: f64,
    /// Half of its interval.
    pub slowdown_half_width: f64,
    /// Whether memory holds so many.
    pub fits_memory: bool,
    /// Whether this row is the answer.
    pub chosen: bool,
}

/// Reads the predictions off the record of the choice.
pub fn prediction(question: &Question<'_>, answer: &Recommendation<'_>) -> Prediction {
    let record = &answer.record;
    let gib = answer.disk.gib;
    let jobs = record.tally.jobs.max(1) as f64;
    Prediction {
        queue_wait_seconds: QueueWait {
            p50: round(record.waits.quantile(0.5), 2),
            p95: round(record.waits.quantile(0.95), 1),
            p99: round(record.waits.quantile(0.99), 1),
            mean: round(record.tally.waits / jobs, 2),
            ci95_p95: [
                round(answer.wait_p95.lower().max(0.0), 1),
                round(answer.wait_p95.upper(), 1),
            ],
        },
        pipeline_seconds: PipelineTime {
            p50: round(record.pipelines.quantile(0.5), 0),
            p75: round(record.pipelines.quantile(0.75), 0),
            p95: round(record.pipelines.quantile(0.95), 0),
        },
        cpu_utilization: round(answer.cpu_utilization, 3),
        memory_headroom_mib: answer.memory_headroom_mib.map(|mib| round(mib, 0)),
        days_until_disk_80_percent: answer.disk.fill.days_until(0.8 * f64::from(gib)).p5,
        busy_slots_mean: round(record.busy_integral / record.end.max(1.0), 2),
        busy_slots_p999: record.occupancy_quantile(0.999),
        hours: hour_rows(record),
        worst_hour: record.weekly.worst_hour().0,
        disk: disk_rows(question, gib, &answer.disk.fill),
        weeks: answer.weeks,
    }
}

/// Returns the rows of a sweep; the one of `chosen` is marked.
pub fn sweep(rows: &[Sweep], chosen: Layout) -> Vec<SweepRow> {
    rows.iter()
        .map(|row| {
            let jobs = row.record.tally.jobs.max(1) as f64;
            SweepRow {
                concurrency: row.layout.per_host(),
                max_nodes: match row.layout {
                    Layout::Nodes { max, .. } => Some(max),
                    Layout::Hosts { .. } => None,
                },
                wait_mean: round(row.record.tally.waits / jobs, 2),
                wait_p95: round(row.record.waits.quantile(0.95), 1),
                wait_p99: round(row.record.waits.quantile(0.99), 1),
                late_share: round(row.evaluation.late.mean, 4),
                late_share_half_width: round(row.evaluation.late.half_width, 4),
                slowdown: round(row.evaluation.slowdown.mean, 4),
                slowdown_half_width: round(row.evaluation.slowdown.half_width, 4),
                fits_memory: row.fits,
                chosen: row.layout == chosen,
            }
        })
        .collect()
}

/// Returns what happens in each hour of the weekday.
pub fn hour_rows(record: &Full) -> Vec<HourRow> {
    // The record holds several replications of the same weeks.
    let weeks = weeks_recorded(record);
    (0..24)
        .map(|hour| {
            let (jobs, late) = record.weekly.weekday_hour(hour);
            let busy: f64 = (0..5).map(|day| record.weekly.busy[day * 24 + hour]).sum();
            HourRow {
                hour,
                jobs: round(jobs as f64 / weeks / 5.0, 1),
                busy_slots: round(busy / weeks / 5.0 / 3600.0, 2),
                wait_p95_seconds: round(record.weekly.waits[hour].quantile(0.95), 1),
                late_share: round(late as f64 / jobs.max(1) as f64, 4),
            }
        })
        .collect()
}

/// Returns the weeks behind a record of one or many replications.
pub fn weeks_recorded(record: &Full) -> f64 {
    (record.end / crate::domain::workload::WEEK).max(f64::MIN_POSITIVE)
}

/// Returns when disks of the chosen and neighbouring sizes fill.
pub fn disk_rows(question: &Question<'_>, gib: u32, fill: &DiskFill) -> Vec<DiskRow> {
    let price = question.catalog.services.gp3_gib_month.amount;
    let mut sizes = vec![50, 100, gib.saturating_sub(100), gib, gib + 100];
    sizes.sort_unstable();
    sizes.dedup();
    sizes
        .into_iter()
        .filter(|size| f64::from(*size) > initial_gib(&question.profile.disk))
        .map(|size| {
            let days = |share: f64| fill.days_until(share * f64::from(size));
            DiskRow {
                size_gib: size,
                to_80_percent: days(0.8),
                to_90_percent: days(0.9),
                to_full: days(1.0),
                monthly: (price * i64::from(size)).cents(),
            }
        })
        .collect()
}

/// Returns a number rounded to so many decimals, without a negative zero.
pub fn round(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    // Adding zero turns -0.0 into 0.0.
    (value * scale).round() / scale + 0.0
}
