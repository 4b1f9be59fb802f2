//! Log-normal run times, fitted by maximum likelihood where exports round them, and a time limit cuts them.
//!
//! Observations are exact, known up to a second, or only known to be longer than the limit. The fit is the EM
//! algorithm for a normal sample with censored and grouped values: every step raises the likelihood, so hostile
//! data cannot make it diverge. Its moments are also the scores, from which the standard errors follow.

/// The 90th percentile of the standard normal distribution.
pub const Z90: f64 = 1.281_551_565_544_600_4;

const SQRT_2_PI: f64 = 2.506_628_274_631_000_2;

/// What is known of one run time, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Observation {
    /// Its value.
    Exact(f64),
    /// It lies between the two; the lower may be 0.
    Between(f64, f64),
    /// It would have been longer.
    Beyond(f64),
}

/// Mean and standard deviation of the log of the run time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lognormal {
    /// Mean of the log of seconds.
    pub mu: f64,
    /// Standard deviation of the log.
    pub sigma: f64,
}

/// A fit with the covariance of its two parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// The parameters.
    pub law: Lognormal,
    /// Variance of `mu`, covariance, variance of `sigma`.
    pub covariance: [f64; 3],
    /// Logarithm of the likelihood, up to a constant for exact values.
    pub log_likelihood: f64,
}

impl Fit {
    /// Returns the 90th percentile and its standard error, in seconds.
    pub fn p90(&self) -> (f64, f64) {
        let value = (self.law.mu + Z90 * self.law.sigma).exp();
        let [mu, both, sigma] = self.covariance;
        let variance = mu + 2.0 * Z90 * both + Z90 * Z90 * sigma;
        (value, value * variance.max(0.0).sqrt())
    }

    /// Returns sigma and its standard error.
    pub fn sigma(&self) -> (f64, f64) {
        (self.law.sigma, self.covariance[2].max(0.0).sqrt())
    }
}

/// Calls its argument once for each pipeline with the places in the observations of the pipeline's jobs.
pub type Clusters<'a> = &'a dyn Fn(&mut dyn FnMut(&[u32]));

/// Fits the law to observations with multiplicities, then widens the standard errors for jobs that share a pipeline.
///
/// Returns nothing when fewer than two observations have a value.
pub fn fit(observations: &[(Observation, u64)], clusters: Clusters<'_>) -> Option<Fit> {
    let law = maximise(observations)?;
    let n: f64 = observations.iter().map(|(_, count)| *count as f64).sum();
    let information = information(observations, law);
    let inverse = invert(information)?;
    let scores: Vec<[f64; 2]> = observations.iter().map(|(one, _)| score(*one, law)).collect();
    // The sandwich: scores are summed within a pipeline before they are squared.
    let (mut meat, mut groups) = ([0.0; 3], 0.0);
    clusters(&mut |places| {
        let sum = places.iter().fold([0.0; 2], |sum, place| {
            let score = scores.get(*place as usize).copied().unwrap_or_default();
            [sum[0] + score[0], sum[1] + score[1]]
        });
        meat = [
            meat[0] + sum[0] * sum[0],
            meat[1] + sum[0] * sum[1],
            meat[2] + sum[1] * sum[1],
        ];
        groups += 1.0;
    });
    let covariance = if groups > 1.0 {
        let scale = groups / (groups - 1.0);
        sandwich(inverse, meat).map(|value| value * scale)
    } else {
        inverse
    };
    let log_likelihood = observations
        .iter()
        .map(|(one, count)| *count as f64 * log_density(*one, law))
        .sum();
    let sound = n >= 2.0 && covariance.iter().all(|value: &f64| value.is_finite());
    sound.then_some(Fit {
        law,
        covariance,
        log_likelihood,
    })
}

fn maximise(observations: &[(Observation, u64)]) -> Option<Lognormal> {
    let (mut n, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for (one, count) in observations {
        let x = match one {
            Observation::Exact(value) | Observation::Beyond(value) => value.ln(),
            Observation::Between(low, high) => (0.5 * (low + high)).ln(),
        };
        let count = *count as f64;
        n += count;
        sum += count * x;
        squares += count * x * x;
    }
    if n < 2.0 {
        return None;
    }
    let mu = sum / n;
    let mut law = Lognormal {
        mu,
        sigma: (squares / n - mu * mu).max(1e-4).sqrt(),
    };
    for _ in 0..500 {
        let (mut first, mut second) = (0.0, 0.0);
        for (one, count) in observations {
            let (m1, m2) = moments(*one, law);
            first += *count as f64 * m1;
            second += *count as f64 * m2;
        }
        let (first, second) = (first / n, second / n);
        let next = Lognormal {
            mu: law.mu + law.sigma * first,
            sigma: (law.sigma * (second - first * first).max(0.0).sqrt()).clamp(1e-3, 20.0),
        };
        let moved = (next.mu - law.mu).abs() + (next.sigma - law.sigma).abs();
        law = next;
        if moved < 1e-10 {
            break;
        }
    }
    (law.mu.is_finite() && law.sigma.is_finite()).then_some(law)
}

/// Returns the first two moments of the standardised log, given the observation.
fn moments(one: Observation, law: Lognormal) -> (f64, f64) {
    let z = |value: f64| (value.ln() - law.mu) / law.sigma;
    match one {
        Observation::Exact(value) => (z(value), z(value) * z(value)),
        Observation::Beyond(value) => {
            let c = z(value);
            let hazard = hazard(c);
            (hazard, 1.0 + c * hazard)
        }
        Observation::Between(low, high) => {
            let b = z(high);
            let a = if low > 0.0 { z(low) } else { f64::NEG_INFINITY };
            if b - a < 1e-3 {
                // So narrow that the middle stands for all of it.
                let middle = 0.5 * (a + b);
                return (middle, middle * middle);
            }
            let p = between(a, b);
            if p < 1e-280 {
                let edge = if b < 0.0 { b } else { a };
                return (edge, edge * edge);
            }
            let left = if a.is_finite() { density(a) } else { 0.0 };
            let weighted = if a.is_finite() { a * left } else { 0.0 };
            ((left - density(b)) / p, 1.0 + (weighted - b * density(b)) / p)
        }
    }
}

/// Returns the derivatives of the log-likelihood by mu and sigma.
fn score(one: Observation, law: Lognormal) -> [f64; 2] {
    let (m1, m2) = moments(one, law);
    [m1 / law.sigma, (m2 - 1.0) / law.sigma]
}

fn log_density(one: Observation, law: Lognormal) -> f64 {
    let z = |value: f64| (value.ln() - law.mu) / law.sigma;
    match one {
        Observation::Exact(value) => -0.5 * z(value) * z(value) - law.sigma.ln() - value.ln(),
        Observation::Beyond(value) => upper(z(value)).max(1e-300).ln(),
        Observation::Between(low, high) => {
            let a = if low > 0.0 { z(low) } else { f64::NEG_INFINITY };
            between(a, z(high)).max(1e-300).ln()
        }
    }
}

/// Returns minus the second derivatives, by central differences of the scores.
fn information(observations: &[(Observation, u64)], law: Lognormal) -> [f64; 3] {
    let step = 1e-4 * law.sigma;
    let total = |law: Lognormal| {
        observations.iter().fold([0.0; 2], |sum, (one, count)| {
            let s = score(*one, law);
            [sum[0] + *count as f64 * s[0], sum[1] + *count as f64 * s[1]]
        })
    };
    let shifted = |mu: f64, sigma: f64| {
        total(Lognormal {
            mu: law.mu + mu,
            sigma: law.sigma + sigma,
        })
    };
    let (right, left) = (shifted(step, 0.0), shifted(-step, 0.0));
    let (up, down) = (shifted(0.0, step), shifted(0.0, -step));
    [
        -(right[0] - left[0]) / (2.0 * step),
        -(right[1] - left[1] + up[0] - down[0]) / (4.0 * step),
        -(up[1] - down[1]) / (2.0 * step),
    ]
}

fn invert([a, b, d]: [f64; 3]) -> Option<[f64; 3]> {
    let determinant = a * d - b * b;
    (determinant > 0.0).then(|| [d / determinant, -b / determinant, a / determinant])
}

fn sandwich([a, b, d]: [f64; 3], [p, q, r]: [f64; 3]) -> [f64; 3] {
    [
        a * a * p + 2.0 * a * b * q + b * b * r,
        a * b * p + (a * d + b * b) * q + b * d * r,
        b * b * p + 2.0 * b * d * q + d * d * r,
    ]
}

fn density(z: f64) -> f64 {
    (-0.5 * z * z).exp() / SQRT_2_PI
}

/// Returns the probability between two standardised values.
fn between(a: f64, b: f64) -> f64 {
    if b - a < 0.05 {
        // Simpson's rule: the difference of two tail probabilities would cancel.
        return (b - a) / 6.0 * (density(a) + 4.0 * density(0.5 * (a + b)) + density(b));
    }
    if a > 0.0 {
        upper(a) - upper(b)
    } else {
        upper(-b) - upper(-a)
    }
}

/// Returns the hazard of the standard normal distribution, its density over its upper tail.
fn hazard(z: f64) -> f64 {
    if z > 5.0 {
        1.0 / mills(z)
    } else {
        density(z) / upper(z)
    }
}

/// Returns the upper tail of the standard normal distribution, to about 1e-15.
pub fn upper(z: f64) -> f64 {
    if z == f64::INFINITY {
        return 0.0;
    }
    if z == f64::NEG_INFINITY {
        return 1.0;
    }
    if z.abs() > 5.0 {
        let tail = density(z) * mills(z.abs());
        return if z > 0.0 { tail } else { 1.0 - tail };
    }
    // Marsaglia's series: Phi(z) = 1/2 + density(z) (z + z^3/3 + z^5/(3*5) + ...).
    let (mut term, mut sum, mut odd) = (z, z, 1.0);
    while term.abs() > 1e-17 * sum.abs() {
        odd += 2.0;
        term *= z * z / odd;
        sum += term;
    }
    0.5 - density(z) * sum
}

/// Returns the upper tail over the density by Laplace's continued fraction, for z > 5.
fn mills(z: f64) -> f64 {
    let mut fraction = 0.0;
    for k in (1..=40).rev() {
        fraction = f64::from(k) / (z + fraction);
    }
    1.0 / (z + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alone(observations: &[(Observation, u64)]) -> Fit {
        fit(observations, &|_| {}).unwrap()
    }

    #[test]
    fn the_tail_agrees_with_tables() {
        for (z, p) in [
            (0.0, 0.5),
            (1.0, 0.158_655_253_931_457_05),
            (1.959_963_984_540_054, 0.025),
            (-2.0, 0.977_249_868_051_820_8),
            (5.0, 2.866_515_718_791_939e-7),
            (6.0, 9.865_876_450_376_98e-10),
        ] {
            assert!((upper(z) / p - 1.0).abs() < 1e-8, "{z}: {} {p}", upper(z));
        }
        assert!((between(1.0, 1.04) - (upper(1.0) - upper(1.04))).abs() < 1e-10);
    }

    /// A sample without chance: the quantiles of the law at evenly spaced probabilities.
    fn quantiles(law: Lognormal, n: u32) -> Vec<f64> {
        let quantile = |p: f64| {
            let (mut low, mut high) = (-9.0, 9.0);
            for _ in 0..60 {
                let middle = 0.5 * (low + high);
                if 1.0 - upper(middle) < p {
                    low = middle;
                } else {
                    high = middle;
                }
            }
            low
        };
        (0..n)
            .map(|i| (law.mu + law.sigma * quantile((f64::from(i) + 0.5) / f64::from(n))).exp())
            .collect()
    }

    #[test]
    fn rounding_and_the_limit_are_undone() {
        // Short jobs, so that whole seconds are coarse, and a limit that a tenth of them reach.
        let law = Lognormal { mu: 1.0, sigma: 1.2 };
        let sample = quantiles(law, 20_000);
        let rounded: Vec<(Observation, u64)> = sample
            .iter()
            .map(|value| {
                let one = if *value > 12.0 {
                    Observation::Beyond(12.0)
                } else {
                    let whole = value.round();
                    Observation::Between((whole - 0.5).max(0.0), whole + 0.5)
                };
                (one, 1)
            })
            .collect();
        let fit = alone(&rounded);
        assert!((fit.law.mu - 1.0).abs() < 0.004, "{fit:?}");
        assert!((fit.law.sigma - 1.2).abs() < 0.008, "{fit:?}");
        let naive: Vec<(Observation, u64)> = sample
            .iter()
            .map(|value| (Observation::Exact(value.round().clamp(0.5, 12.0)), 1))
            .collect();
        assert!(alone(&naive).law.sigma < 1.1, "ignoring both is far off");
    }

    #[test]
    fn exact_values_give_the_textbook_errors() {
        let sample = quantiles(Lognormal { mu: 4.0, sigma: 0.8 }, 1000);
        let exact: Vec<(Observation, u64)> = sample.iter().map(|v| (Observation::Exact(*v), 1)).collect();
        let fit = alone(&exact);
        assert!(
            (fit.covariance[0].sqrt() / (0.8 / 1000f64.sqrt()) - 1.0).abs() < 0.01,
            "{fit:?}"
        );
        assert!(
            (fit.covariance[2].sqrt() / (0.8 / 2000f64.sqrt()) - 1.0).abs() < 0.01,
            "{fit:?}"
        );
    }

    #[test]
    fn hostile_samples_end_in_a_number_or_in_nothing() {
        let huge = Observation::Exact(2.6e6);
        let cases: [&[(Observation, u64)]; 5] = [
            &[],
            &[(huge, 1)],
            &[(huge, 5)],
            &[(Observation::Beyond(3600.0), 9)],
            &[(Observation::Between(0.0, 0.5), 1_000_000), (huge, 1)],
        ];
        for case in cases {
            if let Some(fit) = fit(case, &|_| {}) {
                assert!(fit.law.mu.is_finite() && fit.law.sigma > 0.0, "{case:?}");
            }
        }
    }
}
