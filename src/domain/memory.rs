//! How many jobs a host's memory holds: the runner admits by number alone, so the number must fit.

use super::profile::{Host, Job};
use super::random::normal_quantile;

/// Quantile of the sum that must fit.
pub const FIT_QUANTILE: f64 = 0.99;

/// Returns the MiB a host has for jobs: MemTotal less headroom for the page cache and what the system uses.
pub fn budget_mib(memory_mib: f64, host: &Host) -> f64 {
    memory_mib * host.memtotal_share * (1.0 - host.memory_headroom) - host.overhead_mib
}

/// Returns the quantile of the memory of `jobs` jobs in MiB (Fenton-Wilkinson: mean and variance matched).
pub fn sum_quantile_mib(job: &Job, jobs: u32, quantile: f64) -> f64 {
    if jobs == 0 {
        return 0.0;
    }
    let variance = job.rss_sigma * job.rss_sigma;
    let mean = job.rss_median_mib * (variance / 2.0).exp() * f64::from(jobs);
    let squared = (variance.exp_m1() / f64::from(jobs)).ln_1p();
    mean * (normal_quantile(quantile) * squared.sqrt() - squared / 2.0).exp()
}

/// Returns the largest number of jobs whose memory fits the budget; 0 when not even one does.
pub fn slots(job: &Job, budget_mib: f64) -> u32 {
    let fits = |jobs: u32| sum_quantile_mib(job, jobs, FIT_QUANTILE) <= budget_mib;
    if !fits(1) {
        return 0;
    }
    let (mut low, mut high) = (1_u32, 2_u32);
    while high < 1 << 20 && fits(high) {
        low = high;
        high *= 2;
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::production;

    #[test]
    fn the_sum_of_lognormals_is_close_to_monte_carlo() {
        let job = production().job;
        for (jobs, mib) in [(4, 2121.0), (5, 2528.0), (8, 3709.0), (13, 5608.0)] {
            let quantile = sum_quantile_mib(&job, jobs, 0.99);
            assert!((quantile - mib).abs() < 1.0, "{jobs}: {quantile}");
        }
    }

    #[test]
    fn memory_caps_the_slots() {
        let profile = production();
        for (mib, budget, most) in [(4096.0, 2566.0, 5), (8192.0, 5831.0, 13), (16384.0, 12363.0, 31)] {
            let has = budget_mib(mib, &profile.host);
            assert!((has - budget).abs() < 1.0, "{mib}: {has}");
            assert_eq!(slots(&profile.job, has), most);
        }
        assert_eq!(slots(&profile.job, 100.0), 0);
    }
}
