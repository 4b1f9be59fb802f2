//! Arbitrary bytes as a job export: no panic, and whatever is estimated is a profile that parses back.
//!
//! `cargo +nightly fuzz run jobs_csv -- -max_total_time=600 -max_len=20000 -timeout=10`, from the package's root;
//! `-dict=fuzz/jobs_csv.dict` gives it the columns, and the example `job_export` writes good seeds.
#![no_main]

use dataops_infra::domain::calibration::check::check;
use dataops_infra::domain::calibration::estimate::{EstimateOptions, estimate};
use dataops_infra::domain::calibration::report::{Inputs, Report};
use dataops_infra::domain::calibration::rows::{ReadOptions, read};
use dataops_infra::domain::profile::{builtin, parse, to_yaml_with};
use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let zone = TimeZone::fixed(jiff::tz::offset(2));
    let options = ReadOptions { zone: zone.clone(), ..ReadOptions::default() };
    let reading = match read(data, &options, &mut |_| {}) {
        Ok(reading) => reading,
        Err(error) => {
            let shown = error.to_string();
            assert!(shown.len() < 100_000, "{} bytes of messages", shown.len());
            return;
        }
    };
    let base = builtin("production").expect("production is built in").profile;
    let options = EstimateOptions {
        zone,
        timeout_s: None,
        concurrency: None,
        name: "fuzzed".to_owned(),
        base: "production".to_owned(),
    };
    let calibration = estimate(&reading, &base, &options);
    let yaml = to_yaml_with(&calibration.profile, &|key| calibration.comment(key, "production"));
    let again = parse(&yaml, "again.yaml", &mut |_| Err("no file".to_owned()))
        .unwrap_or_else(|errors| panic!("{errors}\n{yaml}"));
    assert_eq!(calibration.profile, again.profile, "{yaml}");
    for one in &calibration.estimates {
        assert!(one.standard_error.is_none_or(f64::is_finite), "{one:?}");
    }
    // A replay of many jobs says nothing new and takes the fuzzer's time.
    if calibration.profile.arrivals.pipelines_per_weekday * calibration.profile.pipeline.jobs_mean < 50.0 {
        let checked = check(&calibration, 1);
        let inputs = Inputs {
            file: "jobs.csv".to_owned(),
            timezone: "UTC".to_owned(),
            runner: None,
            tag: None,
            timeout_s: None,
            concurrency: None,
            base: "production".to_owned(),
            seed: 1,
        };
        let report = Report::new(&reading, &calibration, checked, inputs);
        serde_json::to_string(&report).expect("a report is JSON");
    }
});
