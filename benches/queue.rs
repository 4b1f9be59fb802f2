//! How fast the queue runs: generation, replay, the vendor's June 2024, and whether cost stays linear.
//!
//! Process CPU time, best of five, so that a busy machine disturbs little. `benches/run` times the peers in the
//! same run. After `--` it takes `--json`, `--quick` (leaves out the 100 million jobs) and
//! `--traces DIR`, which writes what the peers replay, with our mean waits, instead of measuring.

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;

use dataops_infra::domain::contention::{Processor, ProgressTable};
use dataops_infra::domain::profile::{Profile, builtin};
use dataops_infra::domain::random::{Purpose, Stream};
use dataops_infra::domain::simulation::record::Tally;
use dataops_infra::domain::simulation::replay::{Fleet, Workspace, replay};
use dataops_infra::domain::workload::{JobCounts, Trace, hourly_pipelines};

/// The vendor's June 2024: 260 000 pipelines and 1.9 million jobs on some 400 runners.
const RUNNERS: u64 = 400;
const PIPELINES: f64 = 650.0;
const SLOTS: usize = 8;
const WEEKS: u32 = 4;
const BEST_OF: usize = 5;
/// Runners that SimPy replays, and independent jobs for Ciw.
const SIMPY_RUNNERS: u64 = 40;
const CIW_JOBS: u64 = 40_000;

struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let flag = |name: &str| arguments.iter().position(|argument| argument == name);
    if let Some(at) = flag("--traces") {
        let directory = arguments.get(at + 1).expect("--traces DIR");
        write_traces(Path::new(directory));
        return;
    }
    let figures = measure(flag("--quick").is_some());
    let mut out = String::new();
    if flag("--json").is_some() {
        let rows: Vec<String> = figures
            .iter()
            .map(|figure| format!("  \"{}\": {}", figure.name, figure.value))
            .collect();
        let _ = write!(out, "{{\n{}\n}}", rows.join(",\n"));
    } else {
        for Figure { name, value, unit } in &figures {
            let _ = writeln!(out, "{name:<34} {value:>10.3} {unit}");
        }
    }
    #[expect(clippy::print_stdout, reason = "a bench is its own program")]
    {
        println!("{out}");
    }
}

/// Production's shape, as many pipelines in a replication of four weeks as a June runner has in its 30 days.
fn june() -> Profile {
    scaled(PIPELINES)
}

fn scaled(pipelines: f64) -> Profile {
    let mut profile = builtin("production").expect("built in").profile;
    let weekly: f64 = hourly_pipelines(&profile.arrivals).iter().sum();
    profile.arrivals.pipelines_per_weekday *= pipelines / (weekly * f64::from(WEEKS));
    profile
}

fn contended(slots: usize) -> ProgressTable {
    let processor = Processor {
        vcpus: 4,
        threads_per_core: 2,
        smt_yield: 1.3,
    };
    ProgressTable::new(&processor, slots as u32)
}

fn fleet(slots: usize, progress: &ProgressTable) -> Fleet<'_> {
    Fleet {
        hosts: 1,
        slots,
        speed: 1.0,
        progress,
    }
}

fn generate(profile: &Profile, seed: u64) -> Vec<Trace> {
    (0..RUNNERS)
        .map(|runner| Trace::generate(profile, WEEKS, seed, runner))
        .collect()
}

/// Replays every trace on its own and returns the jobs replayed.
fn replay_all(traces: &[Trace], fleet: &Fleet<'_>, space: &mut Workspace) -> u64 {
    let mut tally = Tally::new(30.0);
    for trace in traces {
        replay(trace, fleet, space, &mut tally);
    }
    black_box(&tally).jobs
}

fn measure(quick: bool) -> Vec<Figure> {
    let mut figures = Vec::new();
    let mut add = |name, value, unit| figures.push(Figure { name, value, unit });
    let june = june();
    let counts = JobCounts::new(&june.pipeline);
    let (contended, undisturbed) = (contended(SLOTS), ProgressTable::undisturbed());
    let mut space = Workspace::default();

    // Linearity: months one after the other through the same memory. First of all, so that the high-water mark
    // is theirs.
    let months: &[(u64, &'static str, &'static str)] = &[
        (1, "linear_1m", "linear_1m_rss"),
        (10, "linear_10m", "linear_10m_rss"),
        (100, "linear_100m", "linear_100m_rss"),
    ];
    let per_runner = june_jobs_per_runner(&june);
    for (millions, name, memory) in months.iter().take(if quick { 2 } else { 3 }) {
        let runners = (*millions as f64 * 1e6 / per_runner).ceil() as u64;
        let before = cpu_seconds();
        let jobs = month(&june, &counts, &contended, 2, runners, &mut space);
        add(name, (cpu_seconds() - before) / jobs as f64 * 1e9, "ns a job");
        add(memory, peak_mib(), "MiB");
    }

    let mut trace = Trace::default();
    let (jobs, seconds) = best(|| {
        (0..RUNNERS)
            .map(|runner| {
                trace.fill(&june, &counts, WEEKS, 1, runner);
                black_box(&trace).jobs() as u64
            })
            .sum()
    });
    add("june_jobs", jobs as f64, "jobs");
    add("generation", jobs as f64 / seconds / 1e6, "M jobs/s");

    let traces = generate(&june, 1);
    for (name, progress) in [("replay_undisturbed", &undisturbed), ("replay", &contended)] {
        let (jobs, seconds) = best(|| replay_all(&traces, &fleet(SLOTS, progress), &mut space));
        add(name, jobs as f64 / seconds / 1e6, "M jobs/s");
    }
    drop(traces);

    let (jobs, seconds) = best(|| month(&june, &counts, &contended, 1, RUNNERS, &mut space));
    add("june", seconds, "CPU s");
    add("generation_and_replay", jobs as f64 / seconds / 1e6, "M jobs/s");

    let production = builtin("production").expect("built in").profile;
    let traces: Vec<Trace> = (0..40)
        .map(|replication| Trace::generate(&production, WEEKS, 1, replication))
        .collect();
    let (jobs, seconds) = best(|| replay_all(&traces, &fleet(SLOTS, &contended), &mut space));
    add("replay_production", jobs as f64 / seconds / 1e6, "M jobs/s");
    drop(traces);

    let busy = [Trace::generate(&scaled(PIPELINES * RUNNERS as f64), WEEKS, 1, 0)];
    for (name, slots) in [("replay_100_slots", 100), ("replay_256_slots", 256)] {
        // As many threads per slot as above, so that the work fits.
        let processor = Processor {
            vcpus: slots / 2,
            threads_per_core: 2,
            smt_yield: 1.3,
        };
        let table = ProgressTable::new(&processor, slots);
        let (jobs, seconds) = best(|| replay_all(&busy, &fleet(slots as usize, &table), &mut space));
        add(name, jobs as f64 / seconds / 1e6, "M jobs/s");
    }
    drop(busy);
    figures
}

fn june_jobs_per_runner(june: &Profile) -> f64 {
    PIPELINES * june.pipeline.jobs_mean
}

/// Generates and replays runner by runner, keeping nothing; returns the jobs.
fn month(
    profile: &Profile,
    counts: &JobCounts,
    progress: &ProgressTable,
    seed: u64,
    runners: u64,
    space: &mut Workspace,
) -> u64 {
    let mut trace = Trace::default();
    let mut tally = Tally::new(30.0);
    for runner in 0..runners {
        trace.fill(profile, counts, WEEKS, seed, runner);
        replay(&trace, &fleet(SLOTS, progress), space, &mut tally);
    }
    black_box(&tally).jobs
}

/// Returns the jobs and the CPU seconds of the quickest of five rounds.
fn best(mut run: impl FnMut() -> u64) -> (u64, f64) {
    let mut best = (0, f64::INFINITY);
    for _ in 0..BEST_OF {
        // The kernel accounts CPU time at ticks: a round lasts many of them.
        let (before, mut jobs, mut rounds) = (cpu_seconds(), 0, 0.0);
        let mut spent = 0.0;
        while spent < 0.5 {
            jobs = run();
            rounds += 1.0;
            spent = cpu_seconds() - before;
        }
        if spent / rounds < best.1 {
            best = (jobs, spent / rounds);
        }
    }
    best
}

/// Returns the CPU seconds of the only thread, to the nanosecond.
fn cpu_seconds() -> f64 {
    let read = |path| std::fs::read_to_string(path).ok();
    if let Some(nanoseconds) = read("/proc/self/schedstat").and_then(|text| {
        text.split_whitespace()
            .next()
            .and_then(|first| first.parse::<f64>().ok())
    }) {
        return nanoseconds / 1e9;
    }
    // Kernels without schedstat: user and system ticks, the 14th and 15th field, after the name in brackets.
    let text = read("/proc/self/stat").expect("a Linux /proc");
    let fields = text.rsplit(") ").next().unwrap_or_default();
    let ticks = |nth| {
        fields
            .split(' ')
            .nth(nth)
            .and_then(|field| field.parse::<f64>().ok())
    };
    (ticks(11).unwrap_or(0.0) + ticks(12).unwrap_or(0.0)) / 100.0
}

fn peak_mib() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok())
        .map_or(f64::NAN, |kib| kib / 1024.0)
}

/// Writes the June traces of some runners, and independent jobs, with our mean waits: a peer that replays them
/// must find the same.
fn write_traces(directory: &Path) {
    let june = june();
    let undisturbed = ProgressTable::undisturbed();
    let mut space = Workspace::default();
    let mut tally = Tally::new(30.0);
    let mut text = String::new();
    for runner in 0..SIMPY_RUNNERS {
        let trace = Trace::generate(&june, WEEKS, 1, runner);
        replay(&trace, &fleet(SLOTS, &undisturbed), &mut space, &mut tally);
        let runner = trace.arrival.iter().enumerate().map(|(pipeline, arrival)| {
            let jobs = trace.first_job[pipeline] as usize..trace.first_job[pipeline + 1] as usize;
            let mut stages = vec![Vec::new()];
            for job in jobs.clone() {
                // In the slot: pickup, then the job. Both are single precision, their sum is exact in double.
                let times = (f64::from(trace.pickup[job]), f64::from(trace.duration[job]));
                if let Some(stage) = stages.last_mut() {
                    stage.push(times);
                }
                if trace.ends_stage[job] && job + 1 < jobs.end {
                    stages.push(Vec::new());
                }
            }
            (*arrival, stages)
        });
        let runner: Vec<_> = runner.collect();
        let _ = writeln!(text, "{}", serde_json::to_string(&runner).expect("numbers"));
    }
    let head = serde_json::json!({
        "slots": SLOTS,
        "stage_gap": june.pipeline.stage_gap_s,
        "jobs": tally.jobs,
        "mean_wait": tally.waits / tally.jobs as f64,
    });
    std::fs::write(directory.join("simpy.jsonl"), format!("{head}\n{text}")).expect("written");

    // A load of 0.8 on eight slots, lognormal services: enough waiting to compare.
    let (gaps, services) = (
        Stream::new(1, 0, Purpose::Interactive),
        Stream::new(1, 0, Purpose::JobEffects),
    );
    let mut now = 0.0;
    let arrivals: Vec<f64> = (0..CIW_JOBS)
        .map(|job| {
            now += gaps.exponential(job) * 105.0 / (0.8 * SLOTS as f64);
            now
        })
        .collect();
    let services: Vec<f64> = (0..CIW_JOBS)
        .map(|job| f64::from((105.0 * (1.2 * services.normal(job) - 0.72).exp()) as f32))
        .collect();
    let trace = Trace::independent(arrivals.clone(), &services, 0.0);
    let mut tally = Tally::new(30.0);
    replay(&trace, &fleet(SLOTS, &undisturbed), &mut space, &mut tally);
    let document = serde_json::json!({
        "slots": SLOTS,
        "jobs": tally.jobs,
        "mean_wait": tally.waits / tally.jobs as f64,
        "arrivals": arrivals,
        "services": services,
    });
    std::fs::write(directory.join("ciw.json"), document.to_string()).expect("written");
}
