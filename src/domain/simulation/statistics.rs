//! Means over replications with confidence intervals.

/// A mean over replications and the half-width of its 95 % confidence interval (Student's t).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// The mean of the replications.
    pub mean: f64,
    /// Half the width of the interval; infinite with one replication.
    pub half_width: f64,
}

impl Estimate {
    /// Returns the mean of the values with its interval.
    pub fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        if values.is_empty() {
            return Self {
                mean: f64::NAN,
                half_width: f64::INFINITY,
            };
        }
        let mean = values.iter().sum::<f64>() / n;
        if values.len() == 1 {
            return Self {
                mean,
                half_width: f64::INFINITY,
            };
        }
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
        Self {
            mean,
            half_width: student_t_975(values.len() - 1) * (variance / n).sqrt(),
        }
    }

    /// Returns the upper end of the interval.
    pub fn upper(&self) -> f64 {
        self.mean + self.half_width
    }

    /// Returns the lower end of the interval.
    pub fn lower(&self) -> f64 {
        self.mean - self.half_width
    }

    /// Returns the standard error behind the interval of `replications` values.
    pub fn standard_error(&self, replications: usize) -> f64 {
        self.half_width / student_t_975(replications.saturating_sub(1).max(1))
    }
}

/// Returns the 97.5 % quantile of Student's t.
///
/// Tabulated for 1 to 4 degrees of freedom, beyond by the Cornish-Fisher expansion (Abramowitz and Stegun
/// 26.7.5), whose error there is below 0.001.
pub fn student_t_975(degrees: usize) -> f64 {
    let table = [f64::INFINITY, 12.706205, 4.302653, 3.182446, 2.776445];
    if let Some(quantile) = table.get(degrees) {
        return *quantile;
    }
    let n = degrees as f64;
    let z: f64 = 1.959963984540054;
    let (z2, z3) = (z * z, z.powi(3));
    z + (z3 + z) / (4.0 * n)
        + (5.0 * z3 * z2 + 16.0 * z3 + 3.0 * z) / (96.0 * n * n)
        + (3.0 * z3 * z2 * z2 + 19.0 * z3 * z2 + 17.0 * z3 - 15.0 * z) / (384.0 * n.powi(3))
        + (79.0 * z3 * z3 * z3 + 776.0 * z3 * z2 * z2 + 1482.0 * z3 * z2 - 1920.0 * z3 - 945.0 * z)
            / (92160.0 * n.powi(4))
}

/// Mantissa bits of a bin: 128 bins for each doubling, 0.8 % wide.
const BITS: u32 = 7;
/// Waits below 2^-10 s share the first bin.
const LOWEST: u32 = (127 - 10) << BITS;
/// Waits from 2^23 s (three months) share the last.
const HIGHEST: u32 = (127 + 23) << BITS;

/// Times in logarithmic bins, for quantiles with an error below 0.5 %.
#[derive(Clone, Debug)]
pub struct Histogram {
    bins: Vec<u64>,
    count: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            bins: vec![0; (HIGHEST - LOWEST + 1) as usize],
            count: 0,
        }
    }
}

impl Histogram {
    /// Counts a time in seconds.
    #[inline]
    pub fn add(&mut self, seconds: f64) {
        let bin = ((seconds as f32).to_bits() >> (23 - BITS)).clamp(LOWEST, HIGHEST) - LOWEST;
        self.bins[bin as usize] += 1;
        self.count += 1;
    }

    /// Adds the counts of another histogram.
    pub fn merge(&mut self, other: &Self) {
        // Most bins are empty, and those that nobody writes to take no memory.
        for (bin, more) in self
            .bins
            .iter_mut()
            .zip(&other.bins)
            .filter(|(_, more)| **more > 0)
        {
            *bin += more;
        }
        self.count += other.count;
    }

    /// Returns the number of times counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the quantile, interpolated inside its bin; 0 without data.
    pub fn quantile(&self, p: f64) -> f64 {
        let target = p * self.count as f64;
        let mut below = 0.0;
        for (bin, count) in self.bins.iter().enumerate().filter(|(_, count)| **count > 0) {
            let count = *count as f64;
            if below + count >= target {
                let low = edge(bin as u32);
                return low + (edge(bin as u32 + 1) - low) * ((target - below) / count).clamp(0.0, 1.0);
            }
            below += count;
        }
        0.0
    }

    /// Returns the share of times above `seconds`, interpolated inside its bin.
    pub fn share_above(&self, seconds: f64) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        let mut above = 0.0;
        for (bin, count) in self.bins.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (low, high) = (edge(bin as u32), edge(bin as u32 + 1));
            above += *count as f64 * ((high - seconds) / (high - low)).clamp(0.0, 1.0);
        }
        above / self.count as f64
    }
}

fn edge(bin: u32) -> f64 {
    if bin == 0 {
        0.0
    } else {
        f64::from(f32::from_bits((LOWEST + bin) << (23 - BITS)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn student_quantiles_match_tables() {
        for (degrees, t) in [
            (4, 2.776445),
            (5, 2.570582),
            (9, 2.262157),
            (19, 2.093024),
            (39, 2.022691),
        ] {
            assert!(
                (student_t_975(degrees) - t).abs() < 1e-3,
                "{degrees} {}",
                student_t_975(degrees)
            );
        }
    }

    #[test]
    fn histogram_quantiles_are_close() {
        let mut histogram = Histogram::default();
        for i in 0..100_000 {
            histogram.add(f64::from(i) / 100.0);
        }
        for p in [0.05, 0.5, 0.95, 0.99] {
            assert!((histogram.quantile(p) / (1000.0 * p) - 1.0).abs() < 0.005);
        }
        assert!((histogram.share_above(500.0) - 0.5).abs() < 0.001);
        assert_eq!(Histogram::default().quantile(0.5), 0.0);
    }
}
