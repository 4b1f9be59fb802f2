//! Exports made from known parameters: what comes out must be what went in, within its own standard error.

use std::collections::BTreeMap;

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
