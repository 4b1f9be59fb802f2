//! Exports made from known parameters: what comes out must be what went in, within its own standard error.

use std::collections::BTreeMap;

use dataops_infra::domain::calibration::check::{Verdict, check};
use dataops_infra::domain::calibration::estimate::{Calibration, EstimateOptions, Figure, estimate};
use dataops_infra::domain::calibration::rows::{ReadOptions, Reading, Reason, read};
use dataops_infra::domain::calibration::synthetic::{Export, Stamp};
use dataops_infra::domain::profile::{self, Profile};
use jiff::tz::{self, TimeZone};

fn production() -> Profile {
    profile::builtin("production").unwrap().profile
}

fn options(zone: TimeZone) -> EstimateOptions {
    EstimateOptions {
        zone,
        timeout_s: None,
        concurrency: None,
        name: "calibrated".into(),
        base: "production".into(),
    }
}

fn reading(csv: &str, zone: &TimeZone) -> Reading {
    let options = ReadOptions {
        zone: zone.clone(),
        ..ReadOptions::default()
    };
    read(csv.as_bytes(), &options, &mut |_| {}).unwrap()
}

fn calibrate(csv: &str, zone: &TimeZone) -> Calibration {
    estimate(&reading(csv, zone), &production(), &options(zone.clone()))
}

/// The parameters that a profile puts into an export.
fn truth(profile: &Profile) -> Vec<(&'static str, f64)> {
    let (a, p, j) = (&profile.arrivals, &profile.pipeline, &profile.job);
    vec![
        ("arrivals.pipelines_per_weekday", a.pipelines_per_weekday),
        ("arrivals.weekend_factor", a.weekend_factor),
        ("arrivals.scheduled_share", a.scheduled_share),
        ("arrivals.scheduled_weekend_factor", a.scheduled_weekend_factor),
        ("pipeline.jobs_mean", p.jobs_mean),
        ("pipeline.jobs_cv", p.jobs_cv),
        ("pipeline.stage_width", p.stage_width),
        ("job.duration_p90_s", j.duration_p90_s),
        ("job.duration_sigma", j.duration_sigma),
        ("job.duration_icc", j.duration_icc),
    ]
}

fn estimates(calibration: &Calibration) -> BTreeMap<&str, (f64, f64)> {
    let numbers = calibration.estimates.iter().filter_map(|one| match one.value {
        Figure::Number(value) => Some((one.key.as_str(), (value, one.standard_error.unwrap_or(0.0)))),
        Figure::Weights(_) => None,
    });
    numbers.collect()
}

/// Asserts that every parameter is found within four standard errors, and that the errors are not absurdly wide.
fn assert_found(calibration: &Calibration, profile: &Profile, what: &str) {
    let found = estimates(calibration);
    for (key, wanted) in truth(profile) {
        let Some((value, error)) = found.get(key) else {
            panic!("{what}: {key} was not found: {:?}", calibration.unknown);
        };
        assert!(
            (value - wanted).abs() <= 4.0 * error + 0.002 * wanted,
            "{what}: {key} is {value} ± {error}, not {wanted}"
        );
        assert!(
            *error < 0.25 * wanted.max(0.1),
            "{what}: {key} is {value} ± {error}: useless"
        );
    }
}

#[test]
fn standard_errors_are_as_wide_as_the_scatter() {
    let profile = production();
    let mut scores: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for seed in 0..24 {
        let mut export = Export::of(profile.clone(), seed);
        export.source = seed % 2 == 0;
        let calibration = calibrate(&export.csv(), &TimeZone::UTC);
        let found = estimates(&calibration);
        for (key, wanted) in truth(&profile) {
            let (value, error) = found[key];
            scores.entry(key).or_default().push((value - wanted) / error);
        }
        assert_eq!(calibration.profile.arrivals.schedule_grid_minutes, 60);
        assert!((calibration.profile.arrivals.schedule_jitter_s - 60.0).abs() < 8.0);
        assert_eq!(calibration.slots.count, 8);
    }
    for (key, scores) in scores {
        let n = scores.len() as f64;
        let bias = scores.iter().sum::<f64>() / n;
        let spread = (scores.iter().map(|z| z * z).sum::<f64>() / n).sqrt();
        assert!(
            bias.abs() < 1.0,
            "{key}: off by {bias:.2} standard errors on average"
        );
        assert!(
            (0.5..1.6).contains(&spread),
            "{key}: errors of the wrong width ({spread:.2}): {scores:.1?}"
        );
    }
}

#[test]
fn two_weeks_reach_the_published_round_trip() {
    // sizing.md 1.3: jobs 7.31 ± 0.08, CV 0.799, sigma 1.184 ± 0.006, P90 241 ± 4, ICC 0.198 ± 0.011, width 1.2525.
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    for seed in 100..106 {
        let calibration = calibrate(&Export::of(production(), seed).csv(), &TimeZone::UTC);
        for (key, (value, _)) in estimates(&calibration) {
            *sums.entry(key.to_owned()).or_default() += value / 6.0;
        }
    }
    for (key, wanted, within) in [
        ("pipeline.jobs_mean", 7.308, 0.15),
        ("pipeline.jobs_cv", 0.8, 0.02),
        ("job.duration_sigma", 1.2, 0.012),
        ("job.duration_p90_s", 240.0, 6.0),
        ("job.duration_icc", 0.2, 0.013),
        ("scheduled_share_all_days", 0.569, 0.015),
        ("pipeline.stage_width", 1.25, 0.01),
        ("pipeline.stage_gap_s", 2.0, 0.01),
    ] {
        assert!((sums[key] - wanted).abs() < within, "{key}: {}", sums[key]);
    }
}

#[test]
fn dirt_changes_little_and_is_counted() {
    let profile = production();
    let mut export = Export::of(profile.clone(), 7);
    export.retried = 0.8;
    export.duplicated = 0.02;
    export.broken = 0.03;
    export.delimiter = ';';
    export.windows = true;
    export.shuffle = 3;
    export.source = true;
    let csv = export.csv();
    let reading = reading(&csv, &TimeZone::UTC);
    for reason in [
        Reason::Skipped,
        Reason::Cancelled,
        Reason::Duplicate,
        Reason::NegativeDuration,
        Reason::FinishBeforeStart,
        Reason::UnreadableTime,
        Reason::UnreadableNumber,
    ] {
        assert!(
            reading.tallies[&reason].rows > 20,
            "{reason:?}: {:?}",
            reading.tallies
        );
    }
    let calibration = estimate(&reading, &production(), &options(TimeZone::UTC));
    assert_found(&calibration, &profile, "dirty");
    let retries = estimates(&calibration)["retry_share"].0;
    assert!((retries - 0.06 * 0.8 / 1.048).abs() < 0.006, "{retries}");
}

#[test]
fn empty_cells_cost_little() {
    let profile = production();
    let mut export = Export::of(profile.clone(), 8);
    export.blank = 0.03;
    export.source = true;
    let calibration = calibrate(&export.csv(), &TimeZone::UTC);
    let found = estimates(&calibration);
    for (key, wanted) in truth(&profile) {
        let (value, error) = found[key];
        // A job without a stage takes its pipeline out of the stages, long ones more often: width stays.
        assert!(
            (value - wanted).abs() <= 4.0 * error + 0.02 * wanted,
            "{key}: {value} ± {error}, not {wanted}"
        );
    }
}

#[test]
fn zones_columns_and_spellings_change_nothing() {
    let profile = production();
    let berlin = TimeZone::get("Europe/Berlin").unwrap();
    let hours = TimeZone::fixed(tz::offset(2));
    let mut export = Export::of(profile.clone(), 9);
    export.utc_offset = 2; // June: Berlin is two hours ahead.
    let mut seen = Vec::new();
    for (stamp, delimiter, shuffle) in [
        (Stamp::Zulu, ',', 0),
        (Stamp::Offset(2), ';', 1),
        (Stamp::Offset(-7), '\t', 2),
        (Stamp::Utc, '|', 3),
        (Stamp::Naive, ',', 4),
        (Stamp::Epoch, ';', 5),
    ] {
        (export.stamp, export.delimiter, export.shuffle) = (stamp, delimiter, shuffle);
        let calibration = calibrate(&export.csv(), &berlin);
        assert_found(&calibration, &profile, &format!("{stamp:?}"));
        seen.push(calibration.estimates);
    }
    assert!(
        seen.windows(2).all(|pair| pair[0] == pair[1]),
        "the same jobs, written differently"
    );
    export.stamp = Stamp::Zulu;
    assert_eq!(calibrate(&export.csv(), &hours).estimates, seen[0]);
}

#[test]
fn other_profiles_come_back_too() {
    for (name, weeks) in [("proof-of-technology", 26), ("kubernetes", 8)] {
        let mut profile = profile::builtin(name).unwrap().profile;
        profile.arrivals.bursts.clear();
        let mut export = Export::of(profile.clone(), 11);
        export.weeks = weeks;
        export.source = true;
        export.fractions = true;
        let found = calibrate(&export.csv(), &TimeZone::UTC);
        assert_found(&found, &profile, name);
    }
    let mut profile = production();
    profile.arrivals.schedule_grid_minutes = 15;
    profile.arrivals.schedule_jitter_s = 90.0;
    profile.pipeline.stage_width = 2.0;
    profile.pipeline.stage_gap_s = 5.0;
    profile.job.duration_sigma = 0.7;
    profile.job.duration_icc = 0.5;
    profile.job.duration_p90_s = 20.0;
    let mut export = Export::of(profile.clone(), 12);
    export.weeks = 4;
    let found = calibrate(&export.csv(), &TimeZone::UTC);
    assert_found(&found, &profile, "short jobs on a quarter grid");
    assert_eq!(found.profile.arrivals.schedule_grid_minutes, 15);
    assert!((found.profile.arrivals.schedule_jitter_s - 90.0).abs() < 12.0);
}

#[test]
fn the_written_profile_parses_back_to_the_same_profile() {
    let calibration = calibrate(&Export::of(production(), 13).csv(), &TimeZone::UTC);
    let yaml = profile::to_yaml_with(&calibration.profile, &|key| {
        calibration.comment(key, "production")
    });
    let back = profile::parse(&yaml, "calibrated.yaml", &mut |_| Err("none".into())).unwrap();
    assert_eq!(back.profile, calibration.profile);
    for wanted in [
        "memory.peak",
        "cpu.stat",
        "docker system df",
        "± ",
        "kept from production [assumed]",
    ] {
        assert!(yaml.contains(wanted), "{wanted} is not in\n{yaml}");
    }
}

#[test]
fn the_check_accepts_the_truth_and_rejects_what_is_far_off() {
    for seed in 0..10 {
        let csv = Export::of(production(), 50 + seed).csv();
        let reading = reading(&csv, &TimeZone::UTC);
        let verdict = |slots: Option<u32>, change: &dyn Fn(&mut Profile)| {
            let options = EstimateOptions {
                concurrency: slots,
                ..options(TimeZone::UTC)
            };
            let mut calibration = estimate(&reading, &production(), &options);
            change(&mut calibration.profile);
            check(&calibration, 1)
        };
        let fair = verdict(None, &|_| {});
        assert_eq!(fair.verdict, Verdict::Agrees, "{fair:?}");
        assert_eq!((fair.concurrency, fair.concurrency_basis), (8, "estimated"));
        for (what, far) in [
            ("half the slots", verdict(Some(4), &|_| {})),
            ("four times the slots", verdict(Some(32), &|_| {})),
            (
                "twice the run times",
                verdict(None, &|p| p.job.duration_p90_s *= 2.0),
            ),
            (
                "twice the pipelines",
                verdict(None, &|p| p.arrivals.pipelines_per_weekday *= 2.0),
            ),
        ] {
            assert_eq!(far.verdict, Verdict::Rejected, "{what}: {far:?}");
        }
    }
}

#[test]
fn waits_of_a_second_or_three_are_alike() {
    // A runner that is never full: measured and predicted waits are pickup only.
    let mut export = Export::of(profile::builtin("proof-of-technology").unwrap().profile, 3);
    export.concurrency = 40;
    export.profile.runner.pickup_delay_s = 2.5;
    let calibration = calibrate(&export.csv(), &TimeZone::UTC);
    let checked = check(&calibration, 1);
    assert_eq!(checked.verdict, Verdict::Agrees, "{checked:?}");
    assert!((calibration.profile.runner.pickup_delay_s - 2.5).abs() < 0.8);
}

#[test]
fn columns_that_are_missing_cost_what_they_tell() {
    let drop = |csv: &str, columns: &[&str]| -> String {
        let header: Vec<&str> = csv.lines().next().unwrap().split(',').collect();
        let keep: Vec<usize> = (0..header.len() - 1)
            .filter(|at| !columns.contains(&header[*at]))
            .collect();
        let line = |line: &str| {
            let cells: Vec<&str> = line.split(',').collect();
            keep.iter().map(|at| cells[*at]).collect::<Vec<_>>().join(",")
        };
        csv.lines().map(line).collect::<Vec<_>>().join("\n")
    };
    let profile = production();
    let csv = Export::of(profile.clone(), 21).csv();
    for columns in [
        vec!["duration"],
        vec!["finished_at"],
        vec!["created_at"],
        vec!["name", "id", "runner_id"],
        vec!["queued_duration"],
    ] {
        let calibration = calibrate(&drop(&csv, &columns), &TimeZone::UTC);
        assert_found(&calibration, &profile, &format!("without {columns:?}"));
        let verdict = check(&calibration, 1).verdict;
        let wanted = if columns == ["queued_duration"] {
            Verdict::Unchecked
        } else {
            Verdict::Agrees
        };
        assert_eq!(verdict, wanted, "without {columns:?}");
    }
}

#[test]
fn rows_without_a_pipeline_are_made_up_for() {
    let profile = production();
    let csv = Export::of(profile.clone(), 22).csv();
    // One row in twenty loses its pipeline; the second cell holds it.
    let lose = |(number, line): (usize, &str)| {
        let (id, rest) = line.split_once(',').unwrap();
        let (pipeline, rest) = rest.split_once(',').unwrap();
        let pipeline = if number % 20 == 7 { "" } else { pipeline };
        format!("{id},{pipeline},{rest}\n")
    };
    let lossy: String = csv.lines().enumerate().map(lose).collect();
    let whole = estimates(&calibrate(&csv, &TimeZone::UTC))["pipeline.jobs_mean"].0;
    let calibration = calibrate(&lossy, &TimeZone::UTC);
    let mended = estimates(&calibration)["pipeline.jobs_mean"].0;
    assert!((mended / whole - 1.0).abs() < 0.01, "{mended} {whole}");
    assert!(
        calibration
            .notices
            .iter()
            .any(|notice| notice.code == "no-pipeline")
    );
}

#[test]
fn broken_bytes_never_panic_and_always_give_a_profile_that_parses() {
    let mut export = Export::of(production(), 31);
    export.weeks = 1;
    export.source = true;
    export.profile.arrivals.pipelines_per_weekday = 4.0;
    let good = export.csv().into_bytes();
    let mut state = 12345u64;
    let mut next = |below: usize| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as usize % below.max(1)
    };
    let spoils: [&[u8]; 12] = [
        b"\"",
        b",",
        b"\n",
        b"NaN",
        b"-1",
        b"1e308",
        b"\xff\xfe",
        b"",
        b"0",
        b"2099-12-31T23:59:59Z",
        b"9999999999",
        b";",
    ];
    let (mut read_well, mut refused) = (0, 0);
    for _ in 0..400 {
        let mut bytes = good.clone();
        for _ in 0..=next(30) {
            let (from, length) = (next(bytes.len()), next(24));
            let to = (from + length).min(bytes.len());
            bytes.splice(from..to, spoils[next(spoils.len())].iter().copied());
        }
        if next(4) == 0 {
            bytes.truncate(next(bytes.len()));
        }
        let Ok(reading) = read(bytes.as_slice(), &ReadOptions::default(), &mut |_| {}) else {
            refused += 1;
            continue;
        };
        read_well += 1;
        let calibration = estimate(&reading, &production(), &options(TimeZone::UTC));
        let yaml = profile::to_yaml_with(&calibration.profile, &|key| {
            calibration.comment(key, "production")
        });
        let back = profile::parse(&yaml, "broken.yaml", &mut |_| Err("none".into()));
        let back = back.unwrap_or_else(|errors| panic!("{errors}\n{yaml}"));
        assert_eq!(back.profile, calibration.profile);
    }
    assert!(read_well > 100 && refused > 10, "{read_well} {refused}");
}

mod program {
    //! `calibrate` as a user meets it.

    use std::fs;
    use std::path::Path;
    use std::process::{Command, Output};

    use super::{Export, production};

    fn run(folder: &Path, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dataops-infra"));
        command
            .current_dir(folder)
            .arg("calibrate")
            .args(arguments)
            .env_clear();
        command.output().expect("the program starts")
    }

    fn code(output: &Output) -> i32 {
        output.status.code().expect("an exit code")
    }

    fn stderr(output: &Output) -> String {
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn stdout(output: &Output) -> String {
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn folder_with(name: &str, bytes: &[u8]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(name), bytes).expect("a file");
        folder
    }

    #[test]
    fn a_profile_is_written_once_and_is_a_workload() {
        let folder = folder_with("jobs.csv", Export::of(production(), 1).csv().as_bytes());
        let here = folder.path();
        let first = run(here, &["jobs.csv", "--out", "team.yaml"]);
        assert_eq!(code(&first), 0, "{}", stderr(&first));
        assert!(stdout(&first).contains("agrees"), "{}", stdout(&first));
        assert!(stdout(&first).contains("dataops-infra plan --workload team.yaml"));
        let written = fs::read_to_string(here.join("team.yaml")).unwrap();
        let again = run(here, &["jobs.csv", "--out", "team.yaml"]);
        assert_eq!(code(&again), 3);
        assert!(stderr(&again).contains("team.yaml exists"), "{}", stderr(&again));
        assert_eq!(
            code(&run(here, &["jobs.csv", "--out", "team.yaml", "--force"])),
            0
        );
        assert_eq!(
            fs::read_to_string(here.join("team.yaml")).unwrap(),
            written,
            "same bytes"
        );
        let to_stdout = run(here, &["jobs.csv", "--out", "-", "--quiet"]);
        assert_eq!(stdout(&to_stdout), written);
        assert_eq!(fs::read_dir(here).unwrap().count(), 2, "nothing else is left");
        let loaded = super::profile::parse(&written, "team.yaml", &mut |_| Err("none".into())).unwrap();
        assert_eq!(loaded.profile.name, "jobs");
    }

    #[test]
    fn a_rejected_profile_is_not_written_unless_forced() {
        let folder = folder_with("jobs.csv", Export::of(production(), 1).csv().as_bytes());
        let here = folder.path();
        let rejected = run(here, &["jobs.csv", "--concurrency", "3", "--out", "team.yaml"]);
        assert_eq!(code(&rejected), 4);
        assert!(stdout(&rejected).contains("rejected"), "{}", stdout(&rejected));
        assert!(!here.join("team.yaml").exists());
        assert_eq!(
            code(&run(here, &["jobs.csv", "--concurrency", "3", "--out", "-"])),
            4
        );
        assert_eq!(
            code(&run(
                here,
                &["jobs.csv", "--concurrency", "3", "--out", "team.yaml", "--force"]
            )),
            4
        );
        let written = fs::read_to_string(here.join("team.yaml")).unwrap();
        assert!(written.contains("# Check: rejected by its check"), "{written}");
    }

    #[test]
    fn the_document_holds_what_the_page_shows() {
        let folder = folder_with("jobs.csv", Export::of(production(), 1).csv().as_bytes());
        let output = run(folder.path(), &["jobs.csv", "--output", "json", "--seed", "9"]);
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["schema"], "dataops-infra/calibration/v1");
        assert_eq!(document["check"]["verdict"], "agrees");
        assert_eq!(document["inputs"]["seed"], 9);
        assert_eq!(document["profile"]["job"]["timeout_s"], 3600);
        let keys: Vec<&str> = document["unknown"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|one| one["key"].as_str())
            .collect();
        for key in ["job.rss_median_mib", "job.cpu_per_s", "disk.*"] {
            assert!(keys.contains(&key), "{keys:?}");
        }
        for key in ["p50", "p95", "share_over_30s"] {
            for part in ["measured", "predicted", "ratio"] {
                assert!(document["check"][part][key].is_number(), "{part} {key}");
            }
        }
        assert_eq!(
            output.stdout,
            run(folder.path(), &["jobs.csv", "--output", "json", "--seed", "9"]).stdout
        );
    }

    #[test]
    fn bad_files_end_with_code_2_and_their_line() {
        let header =
            "id,pipeline_id,stage,status,created_at,started_at,finished_at,duration,queued_duration\n";
        let cases: [(&str, Vec<u8>, &str); 7] = [
            ("empty", Vec::new(), "jobs.csv: the file is empty"),
            (
                "binary",
                vec![0, 159, 146, 150, 0, 1, 2],
                "jobs.csv: this is not CSV: it holds NUL bytes",
            ),
            ("header only", header.into(), "jobs.csv: a header and no rows"),
            (
                "columns",
                b"pipeline,stage,status\n1,b,success\n".to_vec(),
                "jobs.csv:1: no column `started_at`",
            ),
            (
                "huge",
                vec![b'x'; 3 << 20],
                "jobs.csv:1: a record longer than 1 MiB",
            ),
            ("json", b"[{}]".to_vec(), "it is JSON"),
            (
                "nothing ended",
                format!("{header}1,1,b,success,,,,NaN,-1\n2,,b,success,,,,1,1\n3,1,b,skipped,,,,,\n").into(),
                "none of the 3 rows holds a finished job",
            ),
        ];
        for (what, bytes, wanted) in cases {
            let folder = folder_with("jobs.csv", &bytes);
            let output = run(folder.path(), &["jobs.csv"]);
            assert_eq!(code(&output), 2, "{what}: {}", stderr(&output));
            assert!(stderr(&output).contains(wanted), "{what}: {}", stderr(&output));
            assert!(output.stdout.is_empty(), "{what}");
        }
        let folder = folder_with("jobs.csv", header.as_bytes());
        for (arguments, wanted) in [
            (vec!["none.csv"], "could not read none.csv"),
            (vec!["."], "is a directory"),
            (vec!["jobs.csv", "--timezone", "Mars/Olympus"], "IANA"),
            (vec!["jobs.csv", "--timeout=-5"], "30 days"),
            (vec!["jobs.csv", "--concurrency", "0"], "--concurrency"),
            (
                vec!["jobs.csv", "--runner", "7"],
                "no column `runner_id` to filter by",
            ),
        ] {
            let output = run(folder.path(), &arguments);
            assert_eq!(code(&output), 2, "{arguments:?}: {}", stderr(&output));
            assert!(
                stderr(&output).contains(wanted),
                "{arguments:?}: {}",
                stderr(&output)
            );
        }
    }

    #[test]
    fn a_single_job_is_read_and_not_called_fine() {
        let text = "pipeline_id,stage,status,created_at,started_at,finished_at,duration,queued_duration\n\
                    1,b,success,2024-06-03T08:00:00Z,2024-06-03T08:00:05Z,2024-06-03T08:01:05Z,60,5\n";
        let folder = folder_with("jobs.csv", text.as_bytes());
        let output = run(folder.path(), &["jobs.csv", "--output", "json"]);
        assert_eq!(code(&output), 5, "{}", stderr(&output));
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["check"]["verdict"], "unchecked");
        assert_eq!(document["profile"]["job"]["duration_p90_s"], 240);
    }
}
