//! Textbook queues through the same replay as the recommendation, beside their closed forms.
//!
//! Kendall's notation: arrivals `M` or `D`, services `M`, `D`, `U` (uniform 0 to 2), `Ek` (Erlang), `H2(cs2)`
//! (hyperexponential, balanced means), `LN(sigma)` (lognormal), `T(d)` (1 - d or 1 + d); servers a number or `inf`;
//! `-PS` shares the servers equally among all jobs. Mean service is one second.

use std::fmt;
use std::str::FromStr;

use super::super::contention::{Processor, ProgressTable};
use super::super::queueing;
use super::super::random::{Purpose, Stream};
use super::super::workload::Trace;
use super::replay::{Fleet, Recorder, Workspace, replay};
use super::statistics::{Estimate, Histogram};

/// Law of a time with mean 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Law {
    /// Exponential.
    Exponential,
    /// Constant.
    Deterministic,
    /// Uniform between 0 and 2.
    Uniform,
    /// Sum of exponentials.
    Erlang(u32),
    /// Two exponentials with balanced means and this squared coefficient of variation, above 1.
    Hyperexponential(f64),
    /// Lognormal with this standard deviation of the log.
    Lognormal(f64),
    /// `1 - d` or `1 + d` with equal chance.
    TwoPoint(f64),
}

impl Law {
    /// Returns the value for an index.
    pub fn draw(self, stream: Stream, index: u64) -> f64 {
        match self {
            Self::Exponential => stream.exponential(index),
            Self::Deterministic => 1.0,
            Self::Uniform => 2.0 * stream.uniform(index),
            Self::Erlang(k) => {
                let k = u64::from(k.max(1));
                (0..k).map(|i| stream.exponential(index * k + i)).sum::<f64>() / k as f64
            }
            Self::Hyperexponential(cs2) => {
                let p = f64::midpoint(1.0, ((cs2 - 1.0) / (cs2 + 1.0)).sqrt());
                let share = if stream.uniform(2 * index) < p { p } else { 1.0 - p };
                stream.exponential(2 * index + 1) / (2.0 * share)
            }
            Self::Lognormal(sigma) => (sigma * stream.normal(index) - sigma * sigma / 2.0).exp(),
            Self::TwoPoint(d) => 1.0 + if stream.uniform(index) < 0.5 { -d } else { d },
        }
    }

    /// Returns the squared coefficient of variation.
    pub fn cs2(self) -> f64 {
        match self {
            Self::Exponential => 1.0,
            Self::Deterministic => 0.0,
            Self::Uniform => 1.0 / 3.0,
            Self::Erlang(k) => 1.0 / f64::from(k.max(1)),
            Self::Hyperexponential(cs2) => cs2,
            Self::Lognormal(sigma) => (sigma * sigma).exp_m1(),
            Self::TwoPoint(d) => d * d,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let parameter = |prefix: &str| -> Option<f64> {
            let inner = text.strip_prefix(prefix)?.strip_prefix('(')?.strip_suffix(')')?;
            inner.parse().ok().filter(|value: &f64| value.is_finite())
        };
        match text {
            "M" => return Some(Self::Exponential),
            "D" => return Some(Self::Deterministic),
            "U" => return Some(Self::Uniform),
            _ => {}
        }
        if let Some(cs2) = parameter("H2") {
            return (cs2 > 1.0 && cs2 <= 1000.0).then_some(Self::Hyperexponential(cs2));
        }
        if let Some(sigma) = parameter("LN") {
            return (0.0..=4.0).contains(&sigma).then_some(Self::Lognormal(sigma));
        }
        if let Some(d) = parameter("T") {
            return (0.0..1.0).contains(&d).then_some(Self::TwoPoint(d));
        }
        let k: u32 = text.strip_prefix('E')?.parse().ok()?;
        (1..=100).contains(&k).then_some(Self::Erlang(k))
    }
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exponential => write!(f, "M"),
            Self::Deterministic => write!(f, "D"),
            Self::Uniform => write!(f, "U"),
            Self::Erlang(k) => write!(f, "E{k}"),
            Self::Hyperexponential(cs2) => write!(f, "H2({cs2})"),
            Self::Lognormal(sigma) => write!(f, "LN({sigma})"),
            Self::TwoPoint(d) => write!(f, "T({d})"),
        }
    }
}

/// A queue in Kendall's notation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kendall {
    /// Times between arrivals.
    pub arrivals: Law,
    /// Service times.
    pub services: Law,
    /// Servers; none for unlimited.
    pub servers: Option<u32>,
    /// Whether jobs share the servers instead of queueing.
    pub sharing: bool,
}

impl FromStr for Kendall {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no queue: expected arrivals/services/servers such as M/M/8, M/D/1, M/LN(1.2)/2, \
                 M/H2(4)/1, M/E2/1, M/U/1, M/T(0.8)/1, D/M/1, M/M/inf or M/D/2-PS"
            )
        };
        let (body, sharing) = match text.strip_suffix("-PS") {
            Some(body) => (body, true),
            None => (text, false),
        };
        let parts: Vec<&str> = body.split('/').collect();
        let [arrivals, services, servers] = parts[..] else {
            return Err(wrong());
        };
        let servers = match servers {
            "inf" => None,
            number => Some(
                number
                    .parse::<u32>()
                    .ok()
                    .filter(|c| (1..=10_000).contains(c))
                    .ok_or_else(wrong)?,
            ),
        };
        let queue = Self {
            arrivals: Law::parse(arrivals).ok_or_else(wrong)?,
            services: Law::parse(services).ok_or_else(wrong)?,
            servers,
            sharing,
        };
        if sharing && servers.is_none() {
            Err(wrong())
        } else {
            Ok(queue)
        }
    }
}

impl fmt::Display for Kendall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/", self.arrivals, self.services)?;
        match self.servers {
            Some(servers) => write!(f, "{servers}")?,
            None => write!(f, "inf")?,
        }
        if self.sharing { write!(f, "-PS") } else { Ok(()) }
    }
}

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Experiment {
    /// The queue.
    pub queue: Kendall,
    /// Offered load in erlangs.
    pub load: f64,
    /// CPU contention: the processor and every job's CPU share.
    pub contention: Option<(Processor, f64)>,
    /// Jobs of a run.
    pub jobs: u64,
    /// Independent runs.
    pub runs: u64,
    /// Seed.
    pub seed: u64,
}

/// What came out; times in mean service times.
#[derive(Clone, Copy, Debug)]
pub struct Observation {
    /// Mean wait.
    pub wait: Estimate,
    /// 95th percentile of the wait.
    pub wait_p95: Estimate,
    /// Share of jobs that wait at all.
    pub waiting: Estimate,
    /// Mean time from arrival to end.
    pub sojourn: Estimate,
    /// Mean number in system, by Little's law with the realised arrival rate.
    pub number: Estimate,
}

/// Closed forms for the same queue; none where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Exact {
    /// Mean wait.
    pub wait: Option<f64>,
    /// 95th percentile of the wait.
    pub wait_p95: Option<f64>,
    /// Share of jobs that wait at all.
    pub waiting: Option<f64>,
    /// Mean time from arrival to end.
    pub sojourn: Option<f64>,
    /// Allen-Cunneen estimate of the mean wait, where it is not exact.
    pub allen_cunneen: Option<f64>,
    /// Lower and upper bound of the mean wait of M/G/c.
    pub bounds: Option<(f64, f64)>,
}

/// Leaves out the jobs before a time, so that the empty start does not show.
struct Sample {
    from: f64,
    jobs: u64,
    waits: f64,
    waiting: u64,
    sojourns: f64,
    completed: u64,
    histogram: Histogram,
}

impl Recorder for Sample {
    fn started(&mut self, _pipeline: usize, ready: f64, _start: f64, wait: f64) {
        if ready >= self.from {
            self.jobs += 1;
            self.waits += wait;
            self.waiting += u64::from(wait > 0.0);
            self.histogram.add(wait);
        }
    }

    fn completed(&mut self, arrival: f64, end: f64) {
        if arrival >= self.from {
            self.completed += 1;
            self.sojourns += end - arrival;
        }
    }
}

impl Experiment {
    /// Runs the queue; the first tenth of each run is left out.
    pub fn observe(&self) -> Observation {
        let mut values: [Vec<f64>; 5] = Default::default();
        let mut space = Workspace::default();
        let table = self.progress();
        let slots = match self.queue.servers {
            Some(servers) if !self.queue.sharing => servers as usize,
            _ => usize::MAX >> 8,
        };
        for run in 0..self.runs {
            let gaps = Stream::new(self.seed, 2 * run, Purpose::Textbook);
            let times = Stream::new(self.seed, 2 * run + 1, Purpose::Textbook);
            let mut now = 0.0;
            let arrivals: Vec<f64> = (0..self.jobs)
                .map(|job| {
                    now += self.queue.arrivals.draw(gaps, job) / self.load;
                    now
                })
                .collect();
            let services: Vec<f64> = (0..self.jobs)
                .map(|job| self.queue.services.draw(times, job))
                .collect();
            let share = if self.queue.sharing {
                1.0
            } else {
                self.contention.map_or(0.0, |(_, u)| u)
            };
            let from = arrivals.get(self.jobs as usize / 10).copied().unwrap_or(0.0);
            let window = now - from;
            let trace = Trace::independent(arrivals, &services, share);
            let fleet = Fleet {
                hosts: 1,
                slots,
                speed: 1.0,
                progress: &table,
            };
            let mut sample = Sample {
                from,
                jobs: 0,
                waits: 0.0,
                waiting: 0,
                sojourns: 0.0,
                completed: 0,
                histogram: Histogram::default(),
            };
            replay(&trace, &fleet, &mut space, &mut sample);
            let jobs = sample.jobs.max(1) as f64;
            let results = [
                sample.waits / jobs,
                sample.histogram.quantile(0.95),
                sample.waiting as f64 / jobs,
                sample.sojourns / sample.completed.max(1) as f64,
                sample.sojourns / window.max(f64::MIN_POSITIVE),
            ];
            for (column, result) in values.iter_mut().zip(results) {
                column.push(result);
            }
        }
        let [wait, wait_p95, waiting, sojourn, number] = values.map(|column| Estimate::of(&column));
        Observation {
            wait,
            wait_p95,
            waiting,
            sojourn,
            number,
        }
    }

    fn progress(&self) -> ProgressTable {
        let most = |servers: u32| {
            self.queue
                .servers
                .filter(|_| !self.queue.sharing)
                .map_or(servers, |c| c)
        };
        if self.queue.sharing {
            let vcpus = self.queue.servers.unwrap_or(1);
            return ProgressTable::new(
                &Processor {
                    vcpus,
                    threads_per_core: 1,
                    smt_yield: 1.0,
                },
                512,
            );
        }
        match &self.contention {
            Some((processor, _)) => ProgressTable::new(processor, most(256)),
            None => ProgressTable::undisturbed(),
        }
    }

    /// Returns the closed forms.
    pub fn exact(&self) -> Exact {
        let Kendall {
            arrivals,
            services,
            servers,
            sharing,
        } = self.queue;
        let cs2 = services.cs2();
        let poisson = arrivals == Law::Exponential;
        let mut exact = Exact::default();
        if sharing {
            if poisson {
                let servers = servers.unwrap_or(1);
                exact.sojourn = Some(queueing::processor_sharing_sojourn(servers, self.load));
                (exact.wait, exact.waiting) = (Some(0.0), Some(0.0));
            }
            return exact;
        }
        if let Some((processor, u)) = &self.contention {
            if poisson && (servers.is_none() || services == Law::Exponential) {
                let chain = queueing::contention_chain(processor, *u, self.load, servers);
                exact.sojourn = Some(chain.sojourn);
                (exact.wait, exact.waiting) = (Some(chain.wait), Some(chain.late));
            }
            return exact;
        }
        let Some(c) = servers else {
            (exact.wait, exact.waiting, exact.sojourn) = (Some(0.0), Some(0.0), Some(1.0));
            return exact;
        };
        let rho = self.load / f64::from(c);
        if poisson && services == Law::Exponential {
            exact.wait = Some(queueing::mmc_wait(c, self.load));
            exact.wait_p95 = Some(queueing::mmc_wait_quantile(c, self.load, 0.95));
            exact.waiting = Some(queueing::erlang_c(c, self.load));
        } else if poisson && c == 1 {
            exact.wait = Some(queueing::mg1_wait(rho, cs2));
            exact.waiting = Some(rho);
            if services == Law::Deterministic {
                exact.wait_p95 = Some(md1_quantile(rho, 0.95));
            }
        } else if poisson && services == Law::Deterministic && c <= 64 {
            exact.wait = Some(queueing::mdc_wait(c, self.load));
        } else if arrivals == Law::Deterministic && services == Law::Exponential && c == 1 {
            exact.wait = Some(queueing::dm1_wait(rho));
        }
        if poisson && c > 1 && services != Law::Exponential && rho < 1.0 {
            exact.allen_cunneen = Some(queueing::allen_cunneen_wait(c, self.load, 1.0, cs2));
            exact.bounds = Some((
                queueing::mgc_wait_lower(c, self.load, cs2 + 1.0),
                queueing::mgc_wait_upper(c, self.load, cs2),
            ));
        }
        exact.sojourn = exact.wait.map(|wait| wait + 1.0);
        exact
    }
}

fn md1_quantile(rho: f64, p: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    // The alternating sum loses digits beyond some twenty service times; nobody asks there.
    while queueing::md1_wait_cdf(rho, high) < p && high < 20.0 {
        high += 1.0;
    }
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if queueing::md1_wait_cdf(rho, middle) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}
