//! How alike the jobs of a pipeline are: one-way random effects on the log of the run time.

/// A share of variance with its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Icc {
    /// Share of the variance that jobs of one pipeline have in common; below zero by chance when there is none.
    pub value: f64,
    /// Standard error (Smith 1956, unequal groups).
    pub standard_error: f64,
    /// Jobs used.
    pub jobs: u64,
    /// Pipelines used.
    pub pipelines: u64,
}

/// Gathers groups of values one after another, in one pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct Variance {
    n: f64,
    k: f64,
    sum: f64,
    within: f64,
    group_squares: f64,
    n2: f64,
    n3: f64,
}

impl Variance {
    /// Adds one group; groups of one say something about the total, nothing about the inside.
    pub fn group(&mut self, values: &[f64]) {
        if values.is_empty() {
            return;
        }
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        self.n += n;
        self.k += 1.0;
        self.sum += n * mean;
        self.group_squares += n * mean * mean;
        self.within += values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>();
        self.n2 += n * n;
        self.n3 += n * n * n;
    }

    /// Returns the intra-class correlation by analysis of variance; nothing when groups or their insides are too few.
    pub fn icc(&self) -> Option<Icc> {
        let Self { n, k, n2, n3, .. } = *self;
        if k < 3.0 || n - k < 3.0 {
            return None;
        }
        let between = (self.group_squares - self.sum * self.sum / n).max(0.0) / (k - 1.0);
        let within = self.within / (n - k);
        let n0 = (n - n2 / n) / (k - 1.0);
        let total = between + (n0 - 1.0) * within;
        if total <= 0.0 || n0 <= 1.0 {
            return None;
        }
        let rho = (between - within) / total;
        // Smith, C. A. B. (1956), as in Donner (1986): large-sample variance for unequal groups.
        let spread = n2 - 2.0 * n3 / n + n2 * n2 / (n * n);
        let first = (1.0 + rho * (n0 - 1.0)).powi(2) / (n - k);
        let second = ((k - 1.0) * (1.0 - rho) * (1.0 + rho * (2.0 * n0 - 1.0)) + rho * rho * spread)
            / (k - 1.0).powi(2);
        let variance = 2.0 * (1.0 - rho).powi(2) / (n0 * n0) * (first + second);
        Some(Icc {
            value: rho,
            standard_error: variance.max(0.0).sqrt(),
            jobs: n as u64,
            pipelines: k as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_groups_give_the_textbook_value() {
        // Means 2, 4, 6; mean squares 24/2 = 12 between, 6/6 = 1 within; (12 - 1) / (12 + 2) = 11/14.
        let mut variance = Variance::default();
        for group in [[1.0, 2.0, 3.0], [3.0, 4.0, 5.0], [5.0, 6.0, 7.0]] {
            variance.group(&group);
        }
        let icc = variance.icc().unwrap();
        assert!((icc.value - 11.0 / 14.0).abs() < 1e-12, "{icc:?}");
        assert_eq!((icc.jobs, icc.pipelines), (9, 3));
    }

    #[test]
    fn too_little_or_constant_data_give_nothing() {
        let mut variance = Variance::default();
        assert_eq!(variance.icc(), None);
        for _ in 0..9 {
            variance.group(&[1.0, 1.0]);
        }
        assert_eq!(variance.icc(), None);
    }
}
