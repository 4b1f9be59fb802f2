//! How much slower jobs run when several share a host's threads.
//!
//! A job alternates between waiting on the warehouse and computing. With a CPU share of `u` each, `n` jobs and
//! `k` of them runnable, the host delivers `capacity(k)` threads' worth of work: a machine-repairman chain whose
//! stationary law is insensitive to the shape of the bursts. The progress rate of every job is
//! `f(n, u) = sum_k p_k capacity(k) / (u n)`, 1 when undisturbed.

/// The processor of a host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Processor {
    /// Hardware threads.
    pub vcpus: u32,
    /// Threads of a core, 1 or 2.
    pub threads_per_core: u32,
    /// Work of two busy threads of a core relative to one.
    pub smt_yield: f64,
}

impl Processor {
    /// Returns the work that `runnable` jobs get done, in threads of an otherwise idle core.
    pub fn capacity(&self, runnable: u32) -> f64 {
        let (k, threads) = (f64::from(runnable), f64::from(self.vcpus));
        if self.threads_per_core < 2 {
            return k.min(threads);
        }
        let cores = threads / 2.0;
        k.min(cores) + (self.smt_yield - 1.0) * (k.min(threads) - cores).max(0.0)
    }

    /// Returns the progress rate of each of `jobs` jobs that compute a share `u` of their time, 0 < u <= 1.
    pub fn progress(&self, jobs: u32, u: f64) -> f64 {
        if jobs == 0 || u <= 0.0 {
            return 1.0;
        }
        let n = f64::from(jobs);
        if u >= 1.0 {
            return self.capacity(jobs) / n;
        }
        // Rescaled as it grows: with hundreds of jobs the products leave the range of a double.
        let (mut weight, mut total, mut work) = (1.0_f64, 1.0_f64, 0.0_f64);
        for k in 1..=jobs {
            let capacity = self.capacity(k);
            weight *= (n - f64::from(k) + 1.0) / (1.0 - u) * u / capacity;
            total += weight;
            work += weight * capacity;
            if total > 1e250 {
                weight /= 1e250;
                total /= 1e250;
                work /= 1e250;
            }
        }
        (work / (total * u * n)).min(1.0)
    }
}

/// Steps of the CPU share in the table.
const STEPS: usize = 100;

/// `Processor::progress` tabulated for quick look-up, linear between steps of 1 % of CPU share.
#[derive(Clone, Debug)]
pub struct ProgressTable {
    rates: Vec<f64>,
    jobs: usize,
}

impl ProgressTable {
    /// Tabulates up to `jobs` jobs.
    pub fn new(processor: &Processor, jobs: u32) -> Self {
        let mut rates = Vec::with_capacity((jobs as usize + 1) * (STEPS + 1));
        for n in 0..=jobs {
            for step in 0..=STEPS {
                rates.push(processor.progress(n, step as f64 / STEPS as f64));
            }
        }
        Self {
            rates,
            jobs: jobs as usize,
        }
    }

    /// A table of hosts where jobs never disturb each other.
    pub fn undisturbed() -> Self {
        Self {
            rates: vec![1.0; STEPS + 1],
            jobs: 0,
        }
    }

    /// Returns the progress rate of `jobs` jobs whose CPU shares add up to `shares`.
    ///
    /// Beyond the last row the last one holds.
    #[inline]
    pub fn rate(&self, jobs: usize, shares: f64) -> f64 {
        if jobs == 0 || self.jobs == 0 {
            return 1.0;
        }
        let row = jobs.min(self.jobs) * (STEPS + 1);
        let position = (shares / jobs as f64 * STEPS as f64).clamp(0.0, STEPS as f64 - 1e-9);
        let step = position as usize;
        let below = self.rates[row + step];
        let above = self.rates[row + step + 1];
        below + (above - below) * (position - step as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smt(vcpus: u32) -> Processor {
        Processor {
            vcpus,
            threads_per_core: 2,
            smt_yield: 1.3,
        }
    }

    fn full(vcpus: u32) -> Processor {
        Processor {
            vcpus,
            threads_per_core: 1,
            smt_yield: 1.3,
        }
    }

    #[test]
    fn progress_matches_the_chain() {
        let rows: [(Processor, f64, [f64; 5]); 6] = [
            (
                smt(2),
                0.20,
                [0.97891566, 0.92114353, 0.83968405, 0.73836029, 0.53848016],
            ),
            (
                smt(2),
                0.25,
                [0.96744186, 0.87709425, 0.75671613, 0.62774793, 0.43299782],
            ),
            (
                smt(4),
                0.20,
                [1.0, 0.99309767, 0.97861650, 0.95653810, 0.88429229],
            ),
            (
                smt(4),
                0.25,
                [1.0, 0.98679703, 0.96000197, 0.91965075, 0.79541774],
            ),
            (
                full(2),
                0.20,
                [1.0, 0.98818898, 0.96070321, 0.91622323, 0.77837234],
            ),
            (full(4), 0.25, [1.0, 1.0, 0.99893328, 0.99415079, 0.96303725]),
        ];
        for (processor, u, expected) in rows {
            for (jobs, exact) in [2, 4, 6, 8, 12].into_iter().zip(expected) {
                let rate = processor.progress(jobs, u);
                assert!(
                    (rate - exact).abs() < 6e-9,
                    "{processor:?} {u} {jobs}: {rate} for {exact}"
                );
                let table = ProgressTable::new(&processor, 12);
                assert!((table.rate(jobs as usize, u * f64::from(jobs)) - exact).abs() < 1e-8);
            }
        }
    }

    #[test]
    fn extremes_stay_finite() {
        let large = Processor {
            vcpus: 192,
            threads_per_core: 2,
            smt_yield: 1.3,
        };
        for u in [1e-9, 0.01, 0.5, 0.999_999, 1.0] {
            let rate = large.progress(4096, u);
            assert!(rate.is_finite() && rate > 0.0 && rate <= 1.0, "{u} {rate}");
        }
        assert_eq!(smt(2).progress(5, 0.0), 1.0);
        assert!((smt(2).progress(4, 1.0) - 1.3 / 4.0).abs() < 1e-12);
    }
}
