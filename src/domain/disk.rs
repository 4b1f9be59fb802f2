//! When a host's disk fills without clean-up: base, images, stale layers, leftovers, caches, journal.
//!
//! Image churn does not depend on the load, which is why small and large workloads get the same disk.

use super::parallel::map;
use super::profile::Disk;
use super::random::{Purpose, Stream};

/// Steps in which a disk is chosen, GiB.
pub const STEP_GIB: u32 = 100;
/// Largest gp3 volume, GiB (<https://docs.aws.amazon.com/ebs/latest/userguide/general-purpose.html>).
pub const LARGEST_GIB: u32 = 16_384;
/// Share of the disk at which the first alarm fires.
pub const WARN_SHARE: f64 = 0.8;
/// Runs of a simulation.
const RUNS: u64 = 2000;
/// Pieces in which the runs are shared out to threads.
const PIECES: u64 = 16;
/// Days after which a run ends: nothing is known beyond.
pub const LAST_DAY: u32 = 400;
/// Log standard deviation of the leftovers between customers (assumed).
const CUSTOMER_SIGMA: f64 = 0.3;

/// Days until a fill level, as quantiles over the runs; `LAST_DAY` means "or later".
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Days {
    /// One host in twenty is there by then.
    pub p5: u32,
    /// Half of the hosts.
    pub p50: u32,
    /// All but one in twenty.
    pub p95: u32,
}

/// Simulated fill of one host.
#[derive(Clone, Debug)]
pub struct DiskFill {
    /// Used GiB by run and day, the end of day 1 first.
    used: Vec<Vec<f32>>,
}

/// What fills a disk besides the profile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DiskLoad {
    /// Jobs a day on the host, averaged over the week.
    pub jobs_per_day: f64,
    /// Slots of the host.
    pub concurrency: u32,
}

/// Returns the GiB used on the first day: base and one set of images.
pub fn initial_gib(disk: &Disk) -> f64 {
    let own = disk.images * disk.image_gib * (1.0 - disk.image_shared);
    let shared = if disk.images > 0.0 {
        disk.image_gib * disk.image_shared
    } else {
        0.0
    };
    disk.base_gib + own + shared
}

/// Returns the GiB that a release of all images at once adds.
pub fn wave_gib(disk: &Disk) -> f64 {
    disk.images * disk.image_gib * (1.0 - disk.image_shared)
}

/// Returns the mean growth in GiB a day once the caches have filled, journal excluded.
pub fn growth_gib_per_day(disk: &Disk, load: DiskLoad) -> f64 {
    let layer = disk.image_gib * (1.0 - disk.image_shared);
    let churn = layer * disk.images / disk.rebuild_days + wave_gib(disk) / disk.release_wave_days;
    churn + disk.leftover_mib_per_job * load.jobs_per_day / 1024.0
}

impl DiskFill {
    /// Simulates hosts without any clean-up, day by day.
    pub fn simulate(disk: &Disk, load: DiskLoad, seed: u64, threads: usize) -> Self {
        Self::until(LAST_DAY, disk, load, seed, threads)
    }

    /// Returns what `smallest` says of the whole simulation, from as many days as the answer needs.
    pub fn smallest_for(disk: &Disk, load: DiskLoad, seed: u64, threads: usize) -> Option<u32> {
        let needed = disk.unattended_days.clamp(1.0, f64::from(LAST_DAY)).ceil() as u32;
        Self::until(needed, disk, load, seed, threads).smallest(disk.unattended_days)
    }

    fn until(last_day: u32, disk: &Disk, load: DiskLoad, seed: u64, threads: usize) -> Self {
        let layer = disk.image_gib * (1.0 - disk.image_shared);
        let leftovers = disk.leftover_mib_per_job * load.jobs_per_day / 1024.0;
        let caches = disk.projects * f64::from(load.concurrency) * disk.cache_gib_per_slot;
        let start = initial_gib(disk);
        let enough = f64::from(LARGEST_GIB);
        let (rebuilds, releases) = (
            Poisson::new(disk.images / disk.rebuild_days),
            Poisson::new(1.0 / disk.release_wave_days),
        );
        let wave = wave_gib(disk);
        // The same in every run.
        let steady: Vec<(f64, f64)> = (1..=last_day)
            .map(|day| {
                let t = f64::from(day);
                let cache = caches * (1.0 - (-t / disk.cache_fill_days).exp());
                (cache, (disk.journal_gib_per_day * t).min(disk.journal_cap_gib))
            })
            .collect();
        let run = |run: u64| {
            let images = Stream::new(seed, run, Purpose::Images);
            let customer = Stream::new(seed, run, Purpose::Customers).normal(0);
            // Mean 1: the profile's figure is the average customer's.
            let leftovers =
                leftovers * (CUSTOMER_SIGMA * customer - CUSTOMER_SIGMA * CUSTOMER_SIGMA / 2.0).exp();
            let mut stale = 0.0;
            let mut days = Vec::with_capacity(last_day as usize);
            for (day, (cache, journal)) in (1..=last_day).zip(&steady) {
                let at = u64::from(day) * 2;
                let rebuilt = rebuilds.draw(images.uniform(at));
                let waves = releases.draw(images.uniform(at + 1));
                stale += layer * rebuilt + wave * waves;
                let sum = start + stale + leftovers * f64::from(day) + cache + journal;
                days.push(sum as f32);
                if sum > enough {
                    break;
                }
            }
            days
        };
        // In pieces, so that the threads rarely meet.
        let pieces = map(
            threads,
            PIECES as usize,
            || (),
            |(), piece| {
                let piece = piece as u64;
                let runs = piece * RUNS / PIECES..(piece + 1) * RUNS / PIECES;
                runs.map(run).collect::<Vec<_>>()
            },
        );
        Self {
            used: pieces.into_iter().flatten().collect(),
        }
    }

    /// Returns the days until `level_gib` is used.
    pub fn days_until(&self, level_gib: f64) -> Days {
        let mut days: Vec<u32> = self.used.iter().map(|run| day_of(run, level_gib)).collect();
        days.sort_unstable();
        let at = |p: f64| days[((days.len() as f64 * p) as usize).min(days.len() - 1)];
        Days {
            p5: at(0.05),
            p50: at(0.5),
            p95: at(0.95),
        }
    }

    /// Returns the used GiB at the end of a day as 5 %, 50 % and 95 % quantiles over the runs.
    pub fn used_on(&self, day: u32) -> [f64; 3] {
        let index = (day.max(1) - 1) as usize;
        let mut used: Vec<f32> = self
            .used
            .iter()
            .map(|run| run.get(index).or(run.last()).copied().unwrap_or(0.0))
            .collect();
        used.sort_unstable_by(f32::total_cmp);
        [0.05, 0.5, 0.95].map(|p| f64::from(used[((used.len() as f64 * p) as usize).min(used.len() - 1)]))
    }

    /// Returns the smallest size in `STEP_GIB` steps whose early fillers reach `WARN_SHARE` no sooner than
    /// `unattended_days`, or nothing when the largest volume is too small.
    pub fn smallest(&self, unattended_days: f64) -> Option<u32> {
        // The 5 % quantile holds exactly when no more runs than that are too early.
        let early = (self.used.len() as f64 * 0.05) as usize;
        let holds = |gib: u32| {
            let level = WARN_SHARE * f64::from(gib);
            let too_early = |run: &&Vec<f32>| f64::from(day_of(run, level)) < unattended_days;
            self.used.iter().filter(too_early).count() <= early
        };
        let last = LARGEST_GIB / STEP_GIB;
        if unattended_days > f64::from(LAST_DAY) || !holds(last * STEP_GIB) {
            return None;
        }
        let (mut low, mut high) = (0, last);
        while high - low > 1 {
            let middle = u32::midpoint(low, high);
            if holds(middle * STEP_GIB) {
                high = middle;
            } else {
                low = middle;
            }
        }
        Some(high * STEP_GIB)
    }
}

/// Returns the first day on which a run uses `level_gib`.
fn day_of(run: &[f32], level_gib: f64) -> u32 {
    (run.partition_point(|used| f64::from(*used) < level_gib) as u32 + 1).min(LAST_DAY)
}

/// Poisson numbers by inversion.
struct Poisson {
    mean: f64,
    /// Probability of none.
    none: f64,
}

impl Poisson {
    fn new(mean: f64) -> Self {
        Self {
            mean,
            none: (-mean).exp(),
        }
    }

    #[inline]
    fn draw(&self, uniform: f64) -> f64 {
        let Self { mean, none } = *self;
        if mean > 500.0 {
            // Far beyond any image set: normal approximation, so that a wild profile costs no more.
            return (mean + mean.sqrt() * super::random::normal_quantile(uniform))
                .round()
                .max(0.0);
        }
        let (mut mass, mut sum, mut count) = (none, none, 0.0);
        while sum < uniform && count < 2000.0 {
            count += 1.0;
            mass *= mean / count;
            sum += mass;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::production;

    fn fill(jobs_per_day: f64, concurrency: u32) -> DiskFill {
        DiskFill::simulate(
            &production().disk,
            DiskLoad {
                jobs_per_day,
                concurrency,
            },
            1,
            2,
        )
    }

    #[test]
    fn days_agree_with_the_prototype() {
        // Reference model, 2000 runs; a day or two of sampling error in the quantiles.
        let production = fill(1160.0, 8);
        for (gib, p5, p50, p95) in [
            (100, 7, 10, 14),
            (200, 18, 24, 32),
            (300, 29, 39, 51),
            (400, 40, 54, 70),
        ] {
            let days = production.days_until(0.8 * f64::from(gib));
            assert!(days.p5.abs_diff(p5) <= 1, "{gib} {days:?}");
            assert!(days.p50.abs_diff(p50) <= 1, "{gib} {days:?}");
            assert!(days.p95.abs_diff(p95) <= 2, "{gib} {days:?}");
        }
        assert_eq!(production.smallest(28.0), Some(300));
        assert_eq!(fill(147.0, 4).smallest(45.0), Some(300));
        assert_eq!(fill(328.0, 6).smallest(40.0), Some(300));
        assert_eq!(production.smallest(15.0), Some(200));
        assert_eq!(production.smallest(f64::from(LAST_DAY) + 1.0), None);
    }

    #[test]
    fn the_size_alone_needs_fewer_days_and_is_the_same() {
        let mut disk = production().disk;
        for days in [0.0, 1.0, 10.5, 28.0, 45.0, 200.0, 400.0, 401.0] {
            disk.unattended_days = days;
            for jobs_per_day in [0.0, 150.0, 1160.0, 30_000.0] {
                let load = DiskLoad {
                    jobs_per_day,
                    concurrency: 8,
                };
                let whole = DiskFill::simulate(&disk, load, 1, 1);
                assert_eq!(DiskFill::smallest_for(&disk, load, 1, 2), whole.smallest(days));
                if let Some(gib) = whole.smallest(days) {
                    let p5 = |gib: u32| f64::from(whole.days_until(WARN_SHARE * f64::from(gib)).p5);
                    assert!(p5(gib) >= days && (gib == STEP_GIB || p5(gib - STEP_GIB) < days));
                }
            }
        }
    }

    #[test]
    fn a_larger_disk_lasts_longer_and_more_jobs_fill_it_sooner() {
        let (few, many) = (fill(100.0, 8), fill(5000.0, 8));
        let mut before = 0;
        for gib in [100.0, 200.0, 400.0, 800.0] {
            let days = few.days_until(gib).p50;
            assert!(days >= before && days >= many.days_until(gib).p50);
            before = days;
        }
    }
}
