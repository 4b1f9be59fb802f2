//! Closed forms of queueing theory: what the simulator is checked against, and the sanity figures of the report.
//!
//! Unit mean service throughout unless said otherwise; `load` is the offered load in erlangs, `c` the number of
//! servers, `rho = load / c`.

use super::contention::Processor;

/// Returns Erlang's loss probability (recursion `B_k = a B_{k-1} / (k + a B_{k-1})`).
pub fn erlang_b(servers: u32, load: f64) -> f64 {
    (1..=servers).fold(1.0, |blocked, k| load * blocked / (f64::from(k) + load * blocked))
}

/// Returns Erlang's probability of waiting; 1 at or above saturation.
pub fn erlang_c(servers: u32, load: f64) -> f64 {
    let rho = load / f64::from(servers);
    if rho >= 1.0 {
        return 1.0;
    }
    let blocked = erlang_b(servers, load);
    blocked / (1.0 - rho * (1.0 - blocked))
}

/// Returns the mean wait of M/M/c in mean service times; infinite at or above saturation.
pub fn mmc_wait(servers: u32, load: f64) -> f64 {
    if load >= f64::from(servers) {
        return f64::INFINITY;
    }
    erlang_c(servers, load) / (f64::from(servers) - load)
}

/// Returns the quantile of the wait of M/M/c in mean service times.
pub fn mmc_wait_quantile(servers: u32, load: f64, p: f64) -> f64 {
    let waits = erlang_c(servers, load);
    if load >= f64::from(servers) {
        f64::INFINITY
    } else if waits <= 1.0 - p {
        0.0
    } else {
        (waits / (1.0 - p)).ln() / (f64::from(servers) - load)
    }
}

/// Returns the mean wait of M/G/1 (Pollaczek, Khinchine) for a service with squared coefficient of variation `cs2`.
pub fn mg1_wait(rho: f64, cs2: f64) -> f64 {
    if rho >= 1.0 {
        f64::INFINITY
    } else {
        rho * (1.0 + cs2) / (2.0 * (1.0 - rho))
    }
}

/// Returns the variance of the wait of M/G/1 given the service's squared variation and third moment.
pub fn mg1_wait_variance(rho: f64, cs2: f64, third_moment: f64) -> f64 {
    mg1_wait(rho, cs2).powi(2) + rho * third_moment / (3.0 * (1.0 - rho))
}

/// Returns `P(W <= t)` of M/D/1 (Erlang), `t` in service times.
pub fn md1_wait_cdf(rho: f64, t: f64) -> f64 {
    let mut sum = 0.0;
    let mut j = 0.0_f64;
    while j <= t {
        let x = rho * (j - t);
        let mut term = (-x).exp();
        for k in 1..=(j as u32) {
            term *= x / f64::from(k);
        }
        sum += term;
        j += 1.0;
    }
    ((1.0 - rho) * sum).clamp(0.0, 1.0)
}

/// Returns the mean wait of M/D/c from its embedded chain `N -> max(N - c, 0) + Poisson(load)`.
pub fn mdc_wait(servers: u32, load: f64) -> f64 {
    let c = servers as usize;
    if load >= f64::from(servers) {
        return f64::INFINITY;
    }
    let states = (c * 40).max((60.0 / (1.0 - load / c as f64)) as usize) + 64;
    let mut arrivals = vec![0.0; states];
    arrivals[0] = (-load).exp();
    for k in 1..states {
        arrivals[k] = arrivals[k - 1] * load / k as f64;
    }
    let mut chain = vec![0.0; states];
    chain[0] = 1.0;
    for _ in 0..200_000 {
        let mut next = vec![0.0; states];
        let idle: f64 = chain[..=c].iter().sum();
        for (left, mass) in
            std::iter::once((0, idle)).chain(chain[c + 1..].iter().enumerate().map(|(i, m)| (i + 1, *m)))
        {
            if mass < 1e-18 {
                continue;
            }
            for (k, p) in arrivals.iter().enumerate().take(states - left) {
                if *p < 1e-18 && k as f64 > load {
                    break;
                }
                next[left + k] += mass * p;
            }
        }
        let change: f64 = next.iter().zip(&chain).map(|(a, b)| (a - b).abs()).sum();
        chain = next;
        if change < 1e-13 {
            break;
        }
    }
    let number: f64 = chain.iter().enumerate().map(|(n, mass)| n as f64 * mass).sum();
    // Number in system one service time apart has the stationary law; Little's law gives the wait.
    number / load - 1.0
}

/// Returns the mean wait of D/M/1: `sigma / (1 - sigma)` with `sigma = exp(-(1 - sigma) / rho)`.
pub fn dm1_wait(rho: f64) -> f64 {
    if rho >= 1.0 {
        return f64::INFINITY;
    }
    let mut sigma = 0.5;
    for _ in 0..10_000 {
        let next = (-(1.0 - sigma) / rho).exp();
        if f64::abs(next - sigma) < 1e-15 {
            break;
        }
        sigma = next;
    }
    sigma / (1.0 - sigma)
}

/// Returns the Allen-Cunneen estimate of the mean wait of GI/G/c.
pub fn allen_cunneen_wait(servers: u32, load: f64, ca2: f64, cs2: f64) -> f64 {
    mmc_wait(servers, load) * (ca2 + cs2) / 2.0
}

/// Returns the lower bound of the mean wait of M/G/c by work conservation.
pub fn mgc_wait_lower(servers: u32, load: f64, second_moment: f64) -> f64 {
    let spare = f64::from(servers) - load;
    second_moment / 2.0 * (1.0 / spare - 1.0).max(0.0)
}

/// Returns Kingman's upper bound of the mean wait of M/G/c given the service's variance.
pub fn mgc_wait_upper(servers: u32, load: f64, variance: f64) -> f64 {
    let c = f64::from(servers);
    load * (1.0 / (load * load) + variance / c + (c - 1.0) / (c * c)) / (2.0 * (1.0 - load / c))
}

/// Returns the mean sojourn of M/G/V with `servers` processors shared equally; insensitive to the service law.
pub fn processor_sharing_sojourn(servers: u32, load: f64) -> f64 {
    // The same chain as M/M/c: the total rate is min(n, V).
    mmc_wait(servers, load) + 1.0
}

/// Returns mean number in system and mean sojourn of jobs that compute a share `u` on `processor`, `slots` at a
/// time at most (all at once if none), Poisson arrivals of `load` erlangs, and the probability of waiting.
///
/// Birth-death chain with death rate `m f(m, u)`, `m = min(n, slots)`: exact for unlimited slots and any service
/// law, for limited slots with exponential service.
pub fn contention_chain(processor: &Processor, u: f64, load: f64, slots: Option<u32>) -> ContentionChain {
    let most = slots.unwrap_or(u32::MAX);
    let (mut weight, mut total, mut number, mut waiting, mut late) = (1.0_f64, 1.0_f64, 0.0, 0.0, 0.0);
    if slots == Some(0) {
        late = 1.0;
    }
    for n in 1..20_000_u32 {
        let running = n.min(most);
        weight *= load / (f64::from(running) * processor.progress(running, u));
        total += weight;
        number += weight * f64::from(n);
        waiting += weight * f64::from(n - running);
        if n >= most {
            late += weight;
        }
        if weight < total * 1e-16 && f64::from(n) > load {
            break;
        }
        if total > 1e250 {
            for value in [&mut weight, &mut total, &mut number, &mut waiting, &mut late] {
                *value /= 1e250;
            }
        }
    }
    ContentionChain {
        number: number / total,
        sojourn: number / total / load,
        wait: waiting / total / load,
        late: late / total,
    }
}

/// Stationary figures of `contention_chain`, times in mean service times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ContentionChain {
    /// Mean number in system.
    pub number: f64,
    /// Mean time in system.
    pub sojourn: f64,
    /// Mean wait.
    pub wait: f64,
    /// Probability that a job waits.
    pub late: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(value: f64, exact: f64, digits: f64) {
        assert!(
            (value - exact).abs() <= digits * exact.abs().max(1.0),
            "{value} for {exact}"
        );
    }

    #[test]
    fn erlang_tables() {
        for (c, a, b, waits, wq, number, p95) in [
            (1, 0.5, 0.3333333333, 0.5, 1.0, 1.0, 4.605170186),
            (
                2,
                1.5,
                0.3103448276,
                0.6428571429,
                1.285714286,
                3.428571429,
                5.107799043,
            ),
            (
                4,
                3.0,
                0.2061068702,
                0.5094339623,
                0.5094339623,
                4.528301887,
                2.321277226,
            ),
            (
                5,
                4.0,
                0.1990668740,
                0.5541125541,
                0.5541125541,
                6.216450216,
                2.405344827,
            ),
            (
                8,
                4.0,
                0.03042005823,
                0.05904399470,
                0.01476099867,
                4.059043995,
                0.04156495835,
            ),
            (
                8,
                6.0,
                0.1218757837,
                0.3569810859,
                0.1784905429,
                7.070943258,
                0.9828298971,
            ),
            (
                10,
                8.0,
                0.1216610643,
                0.4091801508,
                0.2045900754,
                9.636720603,
                1.05106626,
            ),
            (
                50,
                45.0,
                0.05410447216,
                0.3638644672,
                0.07277289344,
                48.27478020,
                0.39695169,
            ),
            (
                100,
                90.0,
                0.02695738046,
                0.2169404809,
                0.02169404809,
                91.95246433,
                0.1467600029,
            ),
        ] {
            close(erlang_b(c, a), b, 1e-9);
            close(erlang_c(c, a), waits, 1e-9);
            close(mmc_wait(c, a), wq, 1e-9);
            close(a * (mmc_wait(c, a) + 1.0), number, 1e-9);
            close(mmc_wait_quantile(c, a, 0.95), p95, 1e-8);
        }
    }

    #[test]
    fn single_server_tables() {
        for (rho, l, wq, p95, sojourn) in [
            (0.5, 1.0, 1.0, 4.605170186, 5.991464547),
            (0.8, 4.0, 4.0, 13.86294361, 14.97866137),
            (0.9, 9.0, 9.0, 28.90371758, 29.95732274),
        ] {
            close(rho * (mmc_wait(1, rho) + 1.0), l, 1e-9);
            close(mmc_wait(1, rho), wq, 1e-9);
            close(mmc_wait_quantile(1, rho, 0.95), p95, 1e-9);
            // The sojourn is exponential with rate 1 - rho.
            close(20_f64.ln() / (1.0 - rho), sojourn, 1e-9);
        }
        for (rho, rows) in [
            (0.5, [0.8243606354, 0.9469605966, 0.9987642703]),
            (0.8, [0.4451081857, 0.6345199363, 0.8995027618]),
            (0.9, [0.2459603111, 0.3836004664, 0.6687091505]),
        ] {
            for (t, exact) in [1.0, 2.0, 5.0].into_iter().zip(rows) {
                close(md1_wait_cdf(rho, t), exact, 1e-9);
            }
        }
        for (rho, exact) in [(0.5, 0.2550009749), (0.8, 1.692730840), (0.9, 4.178659422)] {
            close(dm1_wait(rho), exact, 1e-8);
        }
        for (cs2, rows) in [
            (1.0 / 3.0, [0.6666666667, 2.666666667, 6.0]),
            (0.5, [0.75, 3.0, 6.75]),
            (0.64, [0.82, 3.28, 7.38]),
            (4.0, [2.5, 10.0, 22.5]),
            (0.2840254167, [0.6420127083, 2.568050833, 5.778114375]),
            (3.220695817, [2.110347908, 8.441391634, 18.99313118]),
            (0.0, [0.5, 2.0, 4.5]),
        ] {
            for (rho, exact) in [0.5, 0.8, 0.9].into_iter().zip(rows) {
                close(mg1_wait(rho, cs2), exact, 1e-9);
            }
        }
        for (rho, cs2, third, exact) in [
            (0.5, 1.0, 6.0, 3.0),
            (0.5, 0.0, 1.0, 0.5833333333),
            (0.5, 0.5, 3.0, 1.5625),
            (0.5, 1.0 / 3.0, 2.0, 1.111111111),
            (0.8, 1.0, 6.0, 24.0),
            (0.8, 0.0, 1.0, 5.333333333),
            (0.8, 0.5, 3.0, 13.0),
            (0.8, 1.0 / 3.0, 2.0, 9.777777778),
        ] {
            close(mg1_wait_variance(rho, cs2, third), exact, 1e-9);
        }
    }

    #[test]
    fn several_servers() {
        for (c, rho, exact) in [
            (2, 0.5, 0.1767410571),
            (2, 0.8, 0.9032838794),
            (8, 0.9, 0.4499732594),
        ] {
            close(mdc_wait(c, rho * f64::from(c)), exact, 1e-8);
        }
        let (variance, second) = (3.220695817, 4.220695817);
        close(mgc_wait_lower(2, 1.8, second), 8.4413916, 1e-6);
        close(allen_cunneen_wait(2, 1.8, 1.0, variance), 8.996746347, 1e-8);
        close(mgc_wait_upper(2, 1.8, variance), 19.520909, 1e-6);
        close(mgc_wait_lower(8, 7.2, second), 0.52758698, 1e-8);
        close(allen_cunneen_wait(8, 7.2, 1.0, variance), 1.850598348, 1e-8);
        close(mgc_wait_upper(8, 7.2, variance), 19.125076, 1e-6);
        close(mgc_wait_lower(8, 6.0, second), 0.0, 1e-12);
        close(allen_cunneen_wait(8, 6.0, 1.0, variance), 0.376677144, 1e-8);
        close(mgc_wait_upper(8, 6.0, variance), 6.4768771, 1e-6);
        close(mgc_wait_lower(2, 1.8, 1.0), 2.0, 1e-12);
        close(mgc_wait_upper(2, 1.8, 0.0), 5.0277778, 1e-7);
    }

    #[test]
    fn sharing_and_contention() {
        for (rho, sojourn) in [(0.5, 2.0), (0.8, 5.0), (0.9, 10.0)] {
            close(processor_sharing_sojourn(1, rho), sojourn, 1e-9);
        }
        close(processor_sharing_sojourn(2, 1.5), 2.285714286, 1e-9);
        let smt = |vcpus| Processor {
            vcpus,
            threads_per_core: 2,
            smt_yield: 1.3,
        };
        for (vcpus, u, load, number) in [
            (2, 0.2, 3.0, 3.378764479),
            (2, 0.25, 4.0, 6.520833333),
            (4, 0.25, 6.0, 6.611769488),
        ] {
            let chain = contention_chain(&smt(vcpus), u, load, None);
            close(chain.number, number, 1e-9);
            close(chain.sojourn, number / load, 1e-9);
        }
        for (u, load, slots, wait, sojourn, late) in [
            (0.2, 4.0, 8, 0.09194267269, 1.282377118, 0.1753238565),
            (0.2, 3.0, 5, 0.2286664417, 1.319107189, 0.3240225530),
        ] {
            let chain = contention_chain(&smt(2), u, load, Some(slots));
            close(chain.wait, wait, 1e-9);
            close(chain.sojourn, sojourn, 1e-9);
            close(chain.late, late, 1e-9);
        }
    }
}
