//! An estimate of late jobs for all numbers of slots at once, from a replay with unlimited slots.
//!
//! Job `j` is ready at `r_j` and done at `e_j` when nobody waits. If at least `c` earlier jobs would still be
//! running `tau` after `r_j`, `c` slots make it late. A lower bound for single jobs; with stages an estimate that
//! has stayed below the simulator, so it may reject but never accept.

use super::super::workload::Trace;

/// Share of late jobs for each number of slots.
#[derive(Clone, Debug)]
pub struct OnePass {
    /// `late[c]`: share of jobs that see at least `c` earlier jobs still running.
    late: Vec<f64>,
}

impl OnePass {
    /// Sweeps a trace for waits longer than `tau` seconds.
    pub fn new(trace: &Trace, tau: f64) -> Self {
        let mut stages: Vec<(f64, u32, u32)> = Vec::with_capacity(trace.jobs());
        trace.ideal(|_, ready, first, end| stages.push((ready, first as u32, end as u32)));
        // Times are positive, and then their bits are in the same order.
        stages.sort_unstable_by_key(|(ready, first, _)| (ready.to_bits(), *first));
        // Ends of earlier jobs, the first to end last.
        let mut ends: Vec<f64> = Vec::new();
        let mut seen: Vec<u64> = Vec::new();
        for (ready, first, end) in &stages {
            for duration in &trace.duration[*first as usize..*end as usize] {
                while ends.last().is_some_and(|next| *next <= ready + tau) {
                    ends.pop();
                }
                if seen.len() <= ends.len() {
                    seen.resize(ends.len() + 1, 0);
                }
                seen[ends.len()] += 1;
                let end = ready + f64::from(*duration);
                let place = ends.partition_point(|other| *other > end);
                ends.insert(place, end);
            }
        }
        let jobs = trace.jobs().max(1) as f64;
        let mut late = vec![0.0; seen.len() + 1];
        let mut above = 0;
        for slots in (0..seen.len()).rev() {
            above += seen[slots];
            late[slots] = above as f64 / jobs;
        }
        Self { late }
    }

    /// Returns the share of jobs that `slots` slots make late.
    pub fn late_share(&self, slots: usize) -> f64 {
        self.late.get(slots).copied().unwrap_or(0.0)
    }
}
