//! The replay against closed forms, and the laws that hold on every run.

use super::cluster::{NodeGroup, replay_nodes};
use super::onepass::OnePass;
use super::record::{Full, Tally};
use super::replay::{Fleet, Recorder, Workspace, replay};
use super::statistics::Estimate;
use super::textbook::{Experiment, Kendall, Law};
use crate::domain::contention::{Processor, ProgressTable};
use crate::domain::random::{Purpose, Stream};
use crate::domain::testing::production;
use crate::domain::workload::{Trace, WEEK};

const SMT2: Processor = Processor {
    vcpus: 2,
    threads_per_core: 2,
    smt_yield: 1.3,
};
const SMT4: Processor = Processor {
    vcpus: 4,
    threads_per_core: 2,
    smt_yield: 1.3,
};

fn experiment(queue: &str, load: f64) -> Experiment {
    Experiment {
        queue: queue.parse().expect("a queue"),
        load,
        contention: None,
        jobs: 1_000_000,
        runs: 8,
        seed: 7,
    }
}

/// The acceptance rule of the reference: within four standard errors, which are at most 1 % (2 % for the two
/// queues whose wait has a heavy tail).
fn agrees(name: &str, estimate: Estimate, exact: f64, most: f64) {
    let error = estimate.standard_error(8);
    assert!(
        error <= most * exact.abs().max(0.01),
        "{name}: standard error {error} of {exact}"
    );
    assert!(
        (estimate.mean - exact).abs() <= 4.0 * error + 1e-6,
        "{name}: {estimate:?} for {exact}"
    );
}

#[test]
fn markovian_queues_agree() {
    for (queue, load, wait, p95) in [
        ("M/M/1", 0.5, 1.0, 4.605170186),
        ("M/M/1", 0.8, 4.0, 13.86294361),
        ("M/M/1", 0.9, 9.0, 28.90371758),
        ("M/M/2", 1.5, 1.285714286, 5.107799043),
        ("M/M/4", 3.0, 0.5094339623, 2.321277226),
        ("M/M/5", 4.0, 0.5541125541, 2.405344827),
        ("M/M/8", 4.0, 0.01476099867, 0.04156495835),
        ("M/M/8", 6.0, 0.1784905429, 0.9828298971),
        ("M/M/10", 8.0, 0.2045900754, 1.05106626),
        ("M/M/50", 45.0, 0.07277289344, 0.39695169),
        ("M/M/100", 90.0, 0.02169404809, 0.1467600029),
    ] {
        let mut experiment = experiment(queue, load);
        experiment.jobs *= if load >= 45.0 || queue == "M/M/1" { 3 } else { 1 };
        let observed = experiment.observe();
        let exact = experiment.exact();
        assert!((exact.wait.expect("known") - wait).abs() < 1e-8);
        agrees(&format!("{queue} wait"), observed.wait, wait, 0.015);
        agrees(&format!("{queue} p95"), observed.wait_p95, p95, 0.05);
        agrees(
            &format!("{queue} waiting"),
            observed.waiting,
            exact.waiting.expect("known"),
            0.01,
        );
        agrees(
            &format!("{queue} number"),
            observed.number,
            load * (wait + 1.0),
            0.01,
        );
    }
}

#[test]
fn other_services_agree() {
    // Standard errors grow with utilisation and with the tail of the service.
    for (queue, load, wait, most) in [
        ("M/D/1", 0.5, 0.5, 0.01),
        ("M/D/1", 0.8, 2.0, 0.01),
        ("M/D/1", 0.9, 4.5, 0.02),
        ("M/D/2", 1.0, 0.1767410571, 0.01),
        ("M/D/2", 1.6, 0.9032838794, 0.01),
        ("M/D/8", 7.2, 0.4499732594, 0.02),
        ("M/U/1", 0.5, 0.6666666667, 0.01),
        ("M/U/1", 0.8, 2.666666667, 0.01),
        ("M/U/1", 0.9, 6.0, 0.02),
        ("M/E2/1", 0.5, 0.75, 0.01),
        ("M/E2/1", 0.8, 3.0, 0.01),
        ("M/E2/1", 0.9, 6.75, 0.02),
        ("M/T(0.8)/1", 0.5, 0.82, 0.01),
        ("M/T(0.8)/1", 0.8, 3.28, 0.01),
        ("M/T(0.8)/1", 0.9, 7.38, 0.02),
        ("M/H2(4)/1", 0.5, 2.5, 0.02),
        ("M/H2(4)/1", 0.8, 10.0, 0.03),
        ("M/H2(4)/1", 0.9, 22.5, 0.05),
        ("M/LN(0.5)/1", 0.5, 0.6420127083, 0.01),
        ("M/LN(0.5)/1", 0.8, 2.568050833, 0.01),
        ("M/LN(0.5)/1", 0.9, 5.778114375, 0.02),
        ("M/LN(1.2)/1", 0.5, 2.110347908, 0.02),
        ("M/LN(1.2)/1", 0.8, 8.441391634, 0.03),
        ("M/LN(1.2)/1", 0.9, 18.99313118, 0.06),
        ("D/M/1", 0.5, 0.2550009749, 0.01),
        ("D/M/1", 0.8, 1.692730840, 0.01),
        ("D/M/1", 0.9, 4.178659422, 0.02),
    ] {
        let experiment = experiment(queue, load);
        assert!(
            (experiment.exact().wait.expect("known") - wait).abs() < 1e-8,
            "{queue}"
        );
        agrees(queue, experiment.observe().wait, wait, most);
    }
}

/// Long runs of the reference: 8.842 +- 0.078, 1.706 +- 0.027 and 0.2942 +- 0.0026; all between the bounds.
#[test]
fn heavy_tails_stay_between_the_bounds() {
    for (queue, load, wait, error) in [
        ("M/LN(1.2)/2", 1.8, 8.842, 0.078),
        ("M/LN(1.2)/8", 7.2, 1.706, 0.027),
        ("M/LN(1.2)/8", 6.0, 0.2942, 0.0026),
    ] {
        let experiment = experiment(queue, load);
        let (exact, observed) = (experiment.exact(), experiment.observe().wait);
        let (low, high) = exact.bounds.expect("M/G/c");
        assert!(
            low <= observed.upper() && observed.lower() <= high,
            "{queue} {observed:?}"
        );
        assert!(exact.wait.is_none() && exact.allen_cunneen.is_some());
        let together = (observed.standard_error(8).powi(2) + error * error).sqrt();
        assert!(
            (observed.mean - wait).abs() < 4.0 * together,
            "{queue} {observed:?} for {wait}"
        );
    }
}

/// Of M/D/1 the whole distribution of the wait is known.
#[test]
fn deterministic_waits_have_the_known_distribution() {
    for (rho, rows) in [
        (0.5, [0.8243606354, 0.9469605966, 0.9987642703]),
        (0.8, [0.4451081857, 0.6345199363, 0.8995027618]),
    ] {
        let gaps = Stream::new(21, 0, Purpose::Textbook);
        let mut now = 0.0;
        let jobs = 2_000_000;
        let arrivals: Vec<f64> = (0..jobs)
            .map(|job| {
                now += gaps.exponential(job) / rho;
                now
            })
            .collect();
        let trace = Trace::independent(arrivals, &vec![1.0; jobs as usize], 0.0);
        let table = ProgressTable::undisturbed();
        let mut starts = Starts::default();
        let fleet = Fleet {
            hosts: 1,
            slots: 1,
            speed: 1.0,
            progress: &table,
        };
        replay(&trace, &fleet, &mut Workspace::default(), &mut starts);
        for (t, exact) in [1.0, 2.0, 5.0].into_iter().zip(rows) {
            let waits = starts.0.iter().zip(&trace.arrival).skip(jobs as usize / 10);
            let within = waits
                .clone()
                .filter(|(start, arrival)| *start - *arrival <= t + 1e-9)
                .count();
            let share = within as f64 / waits.count() as f64;
            assert!((share - exact).abs() < 0.006, "{rho} {t}: {share} for {exact}");
        }
    }
}

/// Under processor sharing a job of size x takes x / (1 - rho) on average, whatever the others are.
#[test]
fn sharing_treats_each_size_alike() {
    let (gaps, sizes) = (
        Stream::new(31, 0, Purpose::Textbook),
        Stream::new(31, 1, Purpose::Textbook),
    );
    let mut now = 0.0;
    let jobs = 1_500_000;
    let arrivals: Vec<f64> = (0..jobs)
        .map(|job| {
            now += gaps.exponential(job) / 0.8;
            now
        })
        .collect();
    let services: Vec<f64> = (0..jobs).map(|job| Law::Exponential.draw(sizes, job)).collect();
    let trace = Trace::independent(arrivals, &services, 1.0);
    let table = ProgressTable::new(
        &Processor {
            vcpus: 1,
            threads_per_core: 1,
            smt_yield: 1.0,
        },
        512,
    );
    let mut ends = Ends::default();
    let fleet = Fleet {
        hosts: 1,
        slots: 1 << 20,
        speed: 1.0,
        progress: &table,
    };
    replay(&trace, &fleet, &mut Workspace::default(), &mut ends);
    let mut by_arrival = ends.0;
    by_arrival.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (low, high) in [(0.2, 0.4), (0.9, 1.1), (1.8, 2.2)] {
        let (mut size, mut time, mut count) = (0.0, 0.0, 0.0);
        for ((arrival, end), service) in by_arrival.iter().zip(&services) {
            if (low..high).contains(service) {
                size += service;
                time += end - arrival;
                count += 1.0;
            }
        }
        assert!(count > 5e4);
        assert!((time / size / 5.0 - 1.0).abs() < 0.03, "{low}: {}", time / size);
    }
}

/// Arrival and end of each job.
#[derive(Default)]
struct Ends(Vec<(f64, f64)>);

impl Recorder for Ends {
    fn started(&mut self, _pipeline: usize, _ready: f64, _start: f64, _wait: f64) {}

    fn completed(&mut self, arrival: f64, end: f64) {
        self.0.push((arrival, end));
    }
}

#[test]
fn sharing_is_insensitive_to_the_service() {
    for service in ["M", "D", "H2(4)", "LN(1.2)"] {
        let shared = experiment(&format!("M/{service}/2-PS"), 1.5).observe();
        agrees(service, shared.sojourn, 2.285714286, 0.01);
    }
    agrees(
        "M/M/1-PS",
        experiment("M/M/1-PS", 0.8).observe().sojourn,
        5.0,
        0.01,
    );
}

#[test]
fn contention_agrees_with_its_chain() {
    for (processor, u, load, sojourn) in [
        (SMT2, 0.2, 3.0, 1.126254826),
        (SMT2, 0.25, 4.0, 1.630208333),
        (SMT4, 0.25, 6.0, 1.101961581),
    ] {
        for service in ["M", "D"] {
            let mut shared = experiment(&format!("M/{service}/inf"), load);
            shared.contention = Some((processor, u));
            agrees(
                &format!("{processor:?} {service}"),
                shared.observe().sojourn,
                sojourn,
                0.01,
            );
        }
    }
    for (u, load, slots, wait, sojourn, late) in [
        (0.2, 4.0, 8, 0.09194267269, 1.282377118, 0.1753238565),
        (0.2, 3.0, 5, 0.2286664417, 1.319107189, 0.3240225530),
    ] {
        let mut limited = experiment(&format!("M/M/{slots}"), load);
        limited.contention = Some((SMT2, u));
        let observed = limited.observe();
        agrees("wait", observed.wait, wait, 0.015);
        agrees("sojourn", observed.sojourn, sojourn, 0.01);
        agrees("late", observed.waiting, late, 0.01);
    }
}

/// Rate `10 (1 + 0.5 sin(2 pi t / 24))` an hour, unlimited slots, exponential service of one hour.
#[test]
fn a_sinusoidal_rate_gives_the_known_peak_and_lag() {
    let day = 24.0;
    let omega = std::f64::consts::TAU / day;
    let cumulative = |t: f64| 10.0 * (t + 0.5 / omega * (1.0 - (omega * t).cos()));
    let mut busy = vec![0.0; 96];
    let days = 4000_u32;
    let mut thinned_busy = vec![0.0; 96];
    for (purpose, thinning, counts) in [
        (Purpose::Textbook, false, &mut busy),
        (Purpose::Jitter, true, &mut thinned_busy),
    ] {
        let gaps = Stream::new(3, 0, purpose);
        let services = Stream::new(3, 1, purpose);
        let (mut mass, mut index) = (0.0, 0);
        let mut t = 0.0;
        while t < f64::from(days) * day {
            if thinning {
                t += gaps.exponential(2 * index) / 15.0;
                index += 1;
                if gaps.uniform(2 * index - 1) > 10.0 * (1.0 + 0.5 * (omega * t).sin()) / 15.0 {
                    continue;
                }
            } else {
                mass += gaps.exponential(index);
                index += 1;
                // Newton's iteration on the cumulative rate.
                for _ in 0..30 {
                    let step = (cumulative(t) - mass) / (10.0 * (1.0 + 0.5 * (omega * t).sin()));
                    t -= step;
                    if step.abs() < 1e-12 {
                        break;
                    }
                }
            }
            let end = t + services.exponential(index);
            let (first, last) = ((t * 4.0).ceil() as usize, (end * 4.0).ceil() as usize);
            (first..last).for_each(|quarter| counts[quarter % 96] += 1.0 / f64::from(days));
        }
    }
    for counts in [&busy, &thinned_busy] {
        // The first harmonic of the busy count: mean 10, amplitude 4.837, lag 0.978 h.
        let (mut sine, mut cosine, mut mean) = (0.0, 0.0, 0.0);
        for (quarter, count) in counts.iter().enumerate() {
            let angle = omega * quarter as f64 / 4.0;
            sine += count * angle.sin() / 48.0;
            cosine += count * angle.cos() / 48.0;
            mean += count / 96.0;
        }
        let amplitude = sine.hypot(cosine);
        let lag = -cosine.atan2(sine) / omega;
        assert!(
            (mean + amplitude - 14.83698602).abs() < 0.1,
            "{}",
            mean + amplitude
        );
        assert!(
            (mean - amplitude - 5.163013984).abs() < 0.1,
            "{}",
            mean - amplitude
        );
        assert!((lag - 0.9780495368).abs() < 0.05, "{lag}");
    }
}

#[test]
fn stages_last_as_long_as_their_longest_job() {
    let harmonic = [
        1.0,
        1.5,
        1.833333333,
        2.083333333,
        2.283333333,
        2.45,
        2.592857143,
        2.717857143,
    ];
    let stream = Stream::new(5, 0, Purpose::Textbook);
    for (width, exact) in (1_usize..).zip(harmonic) {
        let stages = 200_000;
        let jobs = stages * width;
        let services: Vec<f64> = (0..jobs as u64).map(|job| stream.exponential(job)).collect();
        let mut trace = Trace::independent((0..stages).map(|stage| stage as f64 * 100.0).collect(), &[], 0.0);
        trace.first_job = (0..=stages as u32).map(|stage| stage * width as u32).collect();
        trace.duration = services.iter().map(|service| *service as f32).collect();
        trace.cpu = vec![0.0; jobs];
        trace.pickup = vec![0.0; jobs];
        trace.ends_stage = (1..=jobs).map(|job| job % width == 0).collect();
        let table = ProgressTable::undisturbed();
        let mut tally = Tally::new(1.0);
        let fleet = Fleet {
            hosts: 1,
            slots: 1000,
            speed: 1.0,
            progress: &table,
        };
        replay(&trace, &fleet, &mut Workspace::default(), &mut tally);
        let mean = tally.pipeline_time / stages as f64;
        assert!(
            (mean - exact).abs() < 4.0 * 1.3 / (stages as f64).sqrt(),
            "{width}: {mean} for {exact}"
        );
        assert!((trace.ideal(|_, _, _, _| {}) / tally.pipeline_time - 1.0).abs() < 1e-6);
    }
}

fn full(trace: &Trace, fleet: &Fleet<'_>) -> Full {
    let mut record = Full::new(30.0);
    replay(trace, fleet, &mut Workspace::default(), &mut record);
    record
}

#[test]
fn laws_hold_on_every_run() {
    let profile = production();
    let crowded = ProgressTable::new(&SMT4, 16);
    let alone = ProgressTable::undisturbed();
    for replication in 0..4 {
        let trace = Trace::generate(&profile, 2, 11, replication);
        for (hosts, slots, progress) in [
            (1, 4, &alone),
            (1, 8, &crowded),
            (2, 4, &crowded),
            (1, 500, &alone),
        ] {
            let fleet = Fleet {
                hosts,
                slots,
                speed: 1.0,
                progress,
            };
            let record = full(&trace, &fleet);
            assert_eq!(
                record.violations, 0,
                "no job starts before it is ready, none overtakes"
            );
            assert_eq!(record.tally.jobs as usize, trace.jobs());
            assert_eq!(record.pipelines.count() as usize, trace.pipelines());
            assert!(record.peak <= hosts * slots);
            let pickups: f64 = trace.pickup.iter().map(|pickup| f64::from(*pickup)).sum();
            // Little's law for the queue: its integral is the sum of the waits before pickup.
            assert!((record.queue_time - (record.tally.waits - pickups)).abs() < 1e-4 * record.tally.waits);
            // Work conservation when nobody disturbs anybody.
            if std::ptr::eq(progress, &raw const alone) {
                let work = trace.work() + pickups;
                assert!(
                    (record.busy_integral / work - 1.0).abs() < 1e-6,
                    "{} {work}",
                    record.busy_integral
                );
            } else {
                assert!(record.busy_integral > trace.work());
            }
            let weekly: f64 = record.weekly.busy.iter().sum();
            assert!((weekly / record.busy_integral - 1.0).abs() < 1e-6);
        }
    }
}

/// Start times of the jobs.
#[derive(Default)]
struct Starts(Vec<f64>);

impl Recorder for Starts {
    fn started(&mut self, _pipeline: usize, _ready: f64, start: f64, _wait: f64) {
        self.0.push(start);
    }

    fn completed(&mut self, _arrival: f64, _end: f64) {}
}

#[test]
fn more_slots_never_delay_a_start() {
    let stream = Stream::new(9, 0, Purpose::Textbook);
    let services: Vec<f64> = (0..20_000)
        .map(|job| Law::Lognormal(1.2).draw(stream, job))
        .collect();
    let mut now = 0.0;
    let arrivals: Vec<f64> = (0..20_000)
        .map(|job| {
            now += stream.exponential(100_000 + job) / 5.0;
            now
        })
        .collect();
    let trace = Trace::independent(arrivals, &services, 0.0);
    let table = ProgressTable::undisturbed();
    let mut before: Option<Vec<f64>> = None;
    for slots in 5..12 {
        let mut starts = Starts::default();
        let fleet = Fleet {
            hosts: 1,
            slots,
            speed: 1.0,
            progress: &table,
        };
        replay(&trace, &fleet, &mut Workspace::default(), &mut starts);
        if let Some(before) = &before {
            assert!(
                starts.0.iter().zip(before).all(|(now, then)| *now <= then + 1e-6),
                "{slots}"
            );
        }
        before = Some(starts.0);
    }
}

#[test]
fn the_one_pass_estimate_bounds_single_jobs_from_below() {
    let profile = production();
    let table = ProgressTable::undisturbed();
    for replication in 0..3 {
        let trace = Trace::generate(&profile, 4, 2, replication);
        let estimate = OnePass::new(&trace, 30.0);
        for slots in [3, 4, 5, 6, 8] {
            let fleet = Fleet {
                hosts: 1,
                slots,
                speed: 1.0,
                progress: &table,
            };
            let record = full(&trace, &fleet);
            assert!(estimate.late_share(slots) <= record.tally.late_share());
        }
        assert!(estimate.late_share(10_000) == 0.0);
        assert!(estimate.late_share(0) == 1.0);
    }
}

/// The reference model's figures for production on four threads, 10 replications of 4 weeks; ours are 40.
#[test]
fn production_waits_as_in_the_reference() {
    let profile = production();
    let table = ProgressTable::new(&SMT4, 16);
    let traces: Vec<Trace> = (0..40).map(|r| Trace::generate(&profile, 4, 1, r)).collect();
    for (slots, late, error, slowdown) in [
        (4, 0.274, 0.023, 1.307),
        (5, 0.160, 0.022, 1.147),
        (6, 0.0963, 0.018, 1.083),
        (8, 0.0359, 0.0052, 1.036),
        (10, 0.0129, 0.0060, 1.024),
        (12, 0.0042, 0.0030, 1.021),
    ] {
        let fleet = Fleet {
            hosts: 1,
            slots,
            speed: 1.0,
            progress: &table,
        };
        let (mut shares, mut slowdowns) = (Vec::new(), Vec::new());
        for trace in &traces {
            let mut tally = Tally::new(30.0);
            replay(trace, &fleet, &mut Workspace::default(), &mut tally);
            shares.push(tally.late_share());
            slowdowns.push(tally.pipeline_time / trace.ideal(|_, _, _, _| {}));
        }
        let (share, slow) = (Estimate::of(&shares), Estimate::of(&slowdowns));
        assert!(
            (share.mean - late).abs() < error + share.half_width,
            "{slots}: {share:?}"
        );
        assert!(
            (slow.mean - slowdown).abs() < 0.003 + 0.04 * (slowdown - 1.0),
            "{slots}: {slow:?}"
        );
    }
}

#[test]
fn node_groups_grow_and_shrink() {
    let table = ProgressTable::new(&SMT2, 6);
    let group = |min, max| NodeGroup {
        min,
        max,
        pods: 6,
        speed: 1.15,
        progress: &table,
        scan_s: 10.0,
        node_ready_s: 75.0,
        idle_s: 600.0,
        pod_start_s: 6.0,
        first_pod_s: 25.0,
    };
    let mut profile = production();
    for (load, min, max, slowdown, nodes) in [
        (100.0, 2, 2, 1.043, 2.0),
        (100.0, 1, 1, 1.098, 1.0),
        (400.0, 2, 4, 1.093, 2.55),
    ] {
        profile.arrivals.pipelines_per_weekday = load;
        let (mut slow, mut used) = (Vec::new(), Vec::new());
        for replication in 0..10 {
            let trace = Trace::generate(&profile, 4, 1, replication);
            let mut record = Full::new(30.0);
            let usage = replay_nodes(&trace, &group(min, max), &mut record);
            assert_eq!((record.violations, record.tally.jobs as usize), (0, trace.jobs()));
            assert!(usage.peak <= max && record.peak <= max * 6);
            slow.push(record.tally.pipeline_time / trace.ideal(|_, _, _, _| {}));
            used.push(usage.node_seconds / trace.horizon);
        }
        let (slow, used) = (Estimate::of(&slow), Estimate::of(&used));
        assert!(
            (slow.mean - slowdown).abs() < 0.004 + slow.half_width,
            "{load} {min}-{max}: {slow:?}"
        );
        assert!((used.mean - nodes).abs() < 0.1, "{load} {min}-{max}: {used:?}");
    }
}

#[test]
fn arrivals_have_the_profile_s_means_and_poisson_counts() {
    let profile = production();
    let weeks = 4;
    let (mut pipelines, mut jobs, mut late_night, mut squares) = (0.0, 0.0, 0.0, 0.0);
    let replications = 200;
    for replication in 0..replications {
        let trace = Trace::generate(&profile, weeks, 5, replication);
        assert!(trace.arrival.windows(2).all(|pair| pair[0] <= pair[1]));
        assert!(
            trace
                .arrival
                .iter()
                .all(|at| *at < f64::from(weeks) * WEEK + 60.0)
        );
        pipelines += trace.pipelines() as f64;
        jobs += trace.jobs() as f64;
        let monday_ten = trace
            .arrival
            .iter()
            .filter(|at| (10.0..11.0).contains(&(**at / 3600.0)))
            .count() as f64;
        late_night += monday_ten;
        squares += monday_ten * monday_ten;
    }
    let n = replications as f64;
    assert!((pipelines / n / f64::from(weeks) / 1107.0 - 1.0).abs() < 0.01);
    assert!((jobs / pipelines / 7.308 - 1.0).abs() < 0.01);
    let mean = late_night / n;
    let dispersion = (squares / n - mean * mean) / mean;
    assert!(
        (dispersion - 1.0).abs() < 4.0 * (2.0 / n).sqrt(),
        "index of dispersion {dispersion}"
    );
}

#[test]
fn queues_are_read_and_written() {
    for text in [
        "M/M/8",
        "M/D/1",
        "M/LN(1.2)/2",
        "M/H2(4)/1",
        "M/E2/1",
        "M/T(0.8)/1",
        "D/M/1",
        "M/M/inf",
        "M/U/2-PS",
    ] {
        assert_eq!(text.parse::<Kendall>().expect(text).to_string(), text);
    }
    for text in [
        "",
        "M",
        "M/M",
        "M/M/0",
        "M/M/x",
        "X/M/1",
        "M/H2(1)/1",
        "M/LN(nan)/1",
        "M/M/1/2",
        "M/M/inf-PS",
    ] {
        assert!(text.parse::<Kendall>().is_err(), "{text}");
    }
}
