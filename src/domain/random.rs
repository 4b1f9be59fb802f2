//! Random numbers that are addressed, not drawn: the value depends on seed, replication, purpose and index only.
//!
//! Two candidates therefore see the same workload whatever order they are tried in, and the number of
//! threads changes no digit. The generator is SplitMix64 (Steele, Lea, Flood 2014), whose n-th output is a
//! function of n; normals come from Wichura's AS 241 (1988), one uniform each.

/// What a stream of numbers is used for; each purpose has its own stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Gaps between interactive pipelines.
    Interactive = 1,
    /// Gaps between scheduled pipelines.
    Scheduled,
    /// Seconds after the grid point.
    Jitter,
    /// Starts inside a burst.
    Bursts,
    /// Number of jobs in a pipeline.
    JobCounts,
    /// Whether the next job opens a stage.
    Stages,
    /// The part of the duration common to a pipeline.
    PipelineEffects,
    /// The part of the duration of the job alone.
    JobEffects,
    /// Time until the runner asks.
    Polls,
    /// Image rebuilds and release waves.
    Images,
    /// Differences between customers.
    Customers,
    /// Textbook queues.
    Textbook,
}

const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

#[inline]
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A stream of random numbers addressed by index.
#[derive(Clone, Copy, Debug)]
pub struct Stream(u64);

impl Stream {
    /// Returns the stream of a purpose in a replication.
    pub const fn new(seed: u64, replication: u64, purpose: Purpose) -> Self {
        let mut key = mix(seed.wrapping_add(GAMMA));
        key = mix(key
            ^ replication
                .wrapping_mul(0xD1B5_4A32_D192_ED03)
                .wrapping_add(GAMMA));
        key = mix(key
            ^ (purpose as u64)
                .wrapping_mul(0x8CB9_2BA7_2F3D_8DD7)
                .wrapping_add(GAMMA));
        Self(key)
    }

    /// Returns 64 random bits.
    #[inline]
    pub const fn bits(self, index: u64) -> u64 {
        mix(self.0.wrapping_add(index.wrapping_add(1).wrapping_mul(GAMMA)))
    }

    /// Returns a number strictly between 0 and 1.
    #[inline]
    pub fn uniform(self, index: u64) -> f64 {
        ((self.bits(index) >> 12) as f64 + 0.5) * (1.0 / 4_503_599_627_370_496.0)
    }

    /// Returns an exponential number with mean 1.
    #[inline]
    pub fn exponential(self, index: u64) -> f64 {
        -self.uniform(index).ln()
    }

    /// Returns a standard normal number.
    #[inline]
    pub fn normal(self, index: u64) -> f64 {
        normal_quantile(self.uniform(index))
    }
}

/// Returns the standard normal quantile of `p`, 0 < p < 1 (AS 241, PPND16: relative error below 1e-15).
#[inline]
pub fn normal_quantile(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180625 - q * q;
        q * polynomial(
            r,
            [
                2509.0809287301226727,
                33430.575583588128105,
                67265.770927008700853,
                45921.953931549871457,
                13731.693765509461125,
                1971.5909503065514427,
                133.14166789178437745,
                3.387132872796366608,
            ],
        ) / polynomial(
            r,
            [
                5226.495278852545925,
                28729.085735721942674,
                39307.89580009271061,
                21213.794301586595867,
                5394.1960214247511077,
                687.1870074920579083,
                42.313330701600911252,
                1.0,
            ],
        )
    } else {
        tail(p, q)
    }
}

#[inline(never)]
fn tail(p: f64, q: f64) -> f64 {
    let r = (-(if q < 0.0 { p } else { 1.0 - p }).ln()).sqrt();
    let magnitude = if r <= 5.0 {
        let r = r - 1.6;
        polynomial(
            r,
            [
                7.7454501427834140764e-4,
                0.0227238449892691845833,
                0.24178072517745061177,
                1.27045825245236838258,
                3.64784832476320460504,
                5.7694972214606914055,
                4.6303378461565452959,
                1.42343711074968357734,
            ],
        ) / polynomial(
            r,
            [
                1.05075007164441684324e-9,
                5.475938084995344946e-4,
                0.0151986665636164571966,
                0.14810397642748007459,
                0.68976733498510000455,
                1.6763848301838038494,
                2.05319162663775882187,
                1.0,
            ],
        )
    } else {
        let r = r - 5.0;
        polynomial(
            r,
            [
                2.01033439929228813265e-7,
                2.71155556874348757815e-5,
                0.0012426609473880784386,
                0.026532189526576123093,
                0.29656057182850489123,
                1.7848265399172913358,
                5.4637849111641143699,
                6.6579046435011037772,
            ],
        ) / polynomial(
            r,
            [
                2.04426310338993978564e-15,
                1.4215117583164458887e-7,
                1.8463183175100546818e-5,
                7.868691311456132591e-4,
                0.0148753612908506148525,
                0.13692988092273580531,
                0.59983220655588793769,
                1.0,
            ],
        )
    };
    if q < 0.0 { -magnitude } else { magnitude }
}

#[inline]
fn polynomial(x: f64, coefficients: [f64; 8]) -> f64 {
    coefficients.iter().fold(0.0, |sum, c| sum * x + c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_quantiles_match_tables() {
        for (p, z) in [
            (0.9, 1.2815515655446004),
            (0.975, 1.959963984540054),
            (0.99, 2.3263478740408408),
            (0.5, 0.0),
            (1e-10, -6.361340902404056),
            (0.001, -3.090232306167814),
        ] {
            assert!(
                (normal_quantile(p) - z).abs() < 1e-12,
                "{p}: {}",
                normal_quantile(p)
            );
        }
    }

    #[test]
    fn streams_are_uniform_and_apart() {
        let a = Stream::new(1, 0, Purpose::JobEffects);
        let b = Stream::new(1, 1, Purpose::JobEffects);
        let n = 200_000;
        let (mut mean, mut square, mut product) = (0.0, 0.0, 0.0);
        for i in 0..n {
            let x = a.normal(i);
            mean += x / n as f64;
            square += x * x / n as f64;
            product += x * b.normal(i) / n as f64;
        }
        let error = 4.0 / (n as f64).sqrt();
        assert!(mean.abs() < error && product.abs() < error, "{mean} {product}");
        assert!((square - 1.0).abs() < 1.5 * error, "{square}");
        assert_eq!(a.bits(7), Stream::new(1, 0, Purpose::JobEffects).bits(7));
    }
}
