//! Profiles as users write them, wrong ones above all: the whole message is the interface.

use super::*;

/// Parses a file that extends no other.
fn parse_text(text: &str) -> Result<Loaded, ProfileErrors> {
    parse(text, "mine.yaml", &mut |_| Err("not found".to_owned()))
}

/// Returns the messages for a wrong file.
fn complaints(text: &str) -> String {
    match parse_text(text) {
        Ok(loaded) => format!("fine: {:?}", loaded.profile),
        Err(errors) => errors.to_string(),
    }
}

fn assumption<'a>(loaded: &'a Loaded, key: &str) -> &'a Assumption {
    loaded
        .assumptions
        .iter()
        .find(|assumption| assumption.key == key)
        .unwrap()
}

#[test]
fn a_file_changes_a_few_keys_and_keeps_the_rest() {
    let loaded =
        parse_text("extends: proof-of-technology\narrivals:\n  pipelines_per_weekday: 35\n").unwrap();
    assert_eq!(loaded.profile.name, "mine");
    assert_eq!(loaded.profile.description, "based on proof-of-technology");
    assert_eq!(loaded.profile.arrivals.pipelines_per_weekday, 35.0);
    assert_eq!(loaded.profile.slo.wait_s, 60.0);
    let load = assumption(&loaded, "arrivals.pipelines_per_weekday");
    assert_eq!(
        (load.basis, load.source.as_str(), load.value.as_str()),
        (Basis::User, "mine.yaml:3", "35")
    );
    assert_eq!(
        assumption(&loaded, "arrivals.scheduled_share").basis,
        Basis::Assumed
    );
    assert_eq!(assumption(&loaded, "job.duration_p90_s").basis, Basis::Vendor);
}

#[test]
fn without_extends_the_defaults_are_those_of_production() {
    let mut loaded = parse_text("profile: {name: production}\njob:\n").unwrap();
    let production = builtin("production").unwrap();
    assert_eq!(loaded.profile.description, "based on production");
    loaded
        .profile
        .description
        .clone_from(&production.profile.description);
    assert_eq!(loaded, production);
    assert_eq!(
        parse_text("{}").unwrap().profile.arrivals,
        production.profile.arrivals
    );
}

#[test]
fn every_problem_is_reported_at_once_in_the_order_of_the_file() {
    insta::assert_snapshot!(complaints(
        "arrivals:
  pipelines_per_weekday: -3
  weekend_factr: 0.2
  jobs_mean: 5
pipelin:
  jobs_mean: 7
job:
  duration_p90_s: \"240\"
  timeout_s: 1h
  cpu_per_s: 10%
  rss_median_mib: 1_024
  duration_sigma: .nan
  duration_icc: 1,5
  rss_sigma:
slo:
  wait_quantile: 95
  scope: worst_hour
  pipeline_slowdown: 1
runner:
  concurrent: 8.5
"
    ), @r#"
    mine.yaml:2:26: arrivals.pipelines_per_weekday: `-3` is out of range; expected a number, 0 to 1000000000 pipelines/weekday
    mine.yaml:3:3: arrivals.weekend_factr: unknown key; did you mean `weekend_factor`?
    mine.yaml:4:3: arrivals.jobs_mean: unknown key; `jobs_mean` belongs under `pipeline`
    mine.yaml:5:1: pipelin: unknown key; did you mean `pipeline`?
    mine.yaml:8:19: job.duration_p90_s: holds the text `240`; expected a number, 0.1 to 864000 s; remove the quotes
    mine.yaml:9:14: job.timeout_s: `1h` is not a number; expected a number, 1 to 2592000 s; write the number alone: the unit is s
    mine.yaml:10:14: job.cpu_per_s: `10%` is not a number; expected a number, 0 to 1 CPU s/s; did you mean `0.1`?
    mine.yaml:11:19: job.rss_median_mib: `1_024` is not a number; expected a number, 1 to 1048576 MiB; did you mean `1024`?
    mine.yaml:12:19: job.duration_sigma: `.nan` is not a finite number; expected a number, 0 to 3
    mine.yaml:13:17: job.duration_icc: `1,5` is not a number; expected a number, 0 to 1; did you mean `1.5`?
    mine.yaml:14:12: job.rss_sigma: has no value; expected a number, 0 to 3
    mine.yaml:16:18: slo.wait_quantile: `95` is out of range; expected a number, 0.5 to 0.9999; did you mean `0.95`?
    mine.yaml:17:10: slo.scope: `worst_hour` is not known; expected all-hours or worst-hour; did you mean `worst-hour`?
    mine.yaml:18:22: slo.pipeline_slowdown: `1` is out of range; expected a number, more than 1 and at most 100
    mine.yaml:20:15: runner.concurrent: 8.5 is not a whole number; expected a whole number, 1 to 10000 jobs
    "#);
}

#[test]
fn unknown_keys_are_told_where_they_belong() {
    insta::assert_snapshot!(complaints(
        "jobs_mean: 7
extend: production
job:
  image_gb: 2
  duration_p90: 200
  colour: red
disk:
  images_gib: 2
  jobs:
    mean: 3
  slo: 5
<<: {a: 1}
colour: red
"
    ), @r#"
    mine.yaml:1:1: jobs_mean: unknown key; `jobs_mean` belongs under `pipeline`
    mine.yaml:2:1: extend: unknown key; did you mean `extends`?
    mine.yaml:4:3: job.image_gb: unknown key; did you mean `image_gib` under `disk`?
    mine.yaml:5:3: job.duration_p90: unknown key; did you mean `duration_p90_s`?
    mine.yaml:6:3: job.colour: unknown key; expected duration_p90_s, duration_sigma, duration_icc, timeout_s, cpu_fixed_s, cpu_per_s, rss_median_mib, rss_sigma
    mine.yaml:8:3: disk.images_gib: unknown key; did you mean `image_gib`?
    mine.yaml:9:3: disk.jobs: unknown key; expected base_gib, images, image_gib, image_shared, rebuild_days, release_wave_days, leftover_mib_per_job, projects, cache_gib_per_slot, cache_fill_days, journal_gib_per_day, journal_cap_gib, unattended_days
    mine.yaml:11:3: disk.slo: unknown key; `slo` is a section: write it at the start of a line
    mine.yaml:12:1: <<: unknown key; use extends instead of a merge key
    mine.yaml:13:1: colour: unknown key; expected extends, profile, arrivals, pipeline, job, runner, host, disk, slo, kubernetes
    "#);
}

#[test]
fn lists_and_mappings_are_checked_to_the_item() {
    insta::assert_snapshot!(complaints(
        "arrivals:
  hours_interactive: [1, 2, 3]
  hours_scheduled: [0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]
  schedule_grid_minutes: 7
  bursts:
    - {hour: 24, pipelines: 4}
    - {hour: 9, pipeline: 4}
    - {pipelines: 1.5, window_s: 5 min}
    - 3
host:
  reference_thread: C5.large
  thread_speeds: {c6i: 0, M5: 1, c7i: fast}
pipeline: 7
runner:
  - concurrent: 8
"
    ), @r#"
    mine.yaml:2:22: arrivals.hours_interactive: has 3 weights; expected 24 numbers from 0 up, one for each hour, not all 0
    mine.yaml:3:20: arrivals.hours_scheduled: all weights are 0; expected 24 numbers from 0 up, one for each hour, not all 0
    mine.yaml:4:26: arrivals.schedule_grid_minutes: 7 does not divide 60; expected one of 1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60 min
    mine.yaml:6:14: arrivals.bursts[0].hour: `24` is out of range; expected a whole number, 0 to 23
    mine.yaml:7:7: arrivals.bursts[1]: `pipelines` is missing
    mine.yaml:7:17: arrivals.bursts[1].pipeline: unknown key; expected hour, pipelines, window_s; did you mean `pipelines`?
    mine.yaml:8:7: arrivals.bursts[2]: `hour` is missing
    mine.yaml:8:19: arrivals.bursts[2].pipelines: 1.5 is not a whole number; expected a whole number, 1 to 1000000 pipelines
    mine.yaml:8:34: arrivals.bursts[2].window_s: `5 min` is not a number; expected 0 to 86400 s
    mine.yaml:9:7: arrivals.bursts[3]: holds `3`; expected a mapping with hour, pipelines and window_s
    mine.yaml:11:21: host.reference_thread: `C5.large` is no instance family; expected a family such as c5 or m6i; did you mean `c5`?
    mine.yaml:12:24: host.thread_speeds.c6i: `0` is out of range; expected a number, 0.05 to 20 c5 threads
    mine.yaml:12:27: host.thread_speeds: `M5` is no instance family; expected a family such as c5 or m6i; did you mean `m5`?
    mine.yaml:12:39: host.thread_speeds.c7i: `fast` is not a number; expected a number, 0.05 to 20 c5 threads
    mine.yaml:13:11: pipeline: holds `7`; expected a mapping with some of the keys jobs_mean, jobs_cv, stage_width, stage_gap_s
    mine.yaml:15:3: runner: holds a list of 1; expected a mapping with some of the keys concurrent, check_interval_s, pickup_delay_s
    "#);
    insta::assert_snapshot!(complaints(
        "arrivals:
  hours_interactive: [0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,-1]
  hours_scheduled: 24
  bursts:
"
    ), @r#"
    mine.yaml:2:69: arrivals.hours_interactive[23]: `-1` is out of range; expected 0 to 1000000000
    mine.yaml:3:20: arrivals.hours_scheduled: holds `24`; expected 24 numbers from 0 up, one for each hour, not all 0
    mine.yaml:4:9: arrivals.bursts: has no value; expected a list of at most 200 mappings with hour, pipelines and window_s; write [] for none
    "#);
}

#[test]
fn quantities_that_kubernetes_would_misread_are_refused() {
    insta::assert_snapshot!(complaints(
        "kubernetes:
  cpu_request: 250
  memory_request: 448
  system_cpu: 300 m
  system_memory: 450MB
"
    ), @r#"
    mine.yaml:2:16: kubernetes.cpu_request: `250` means 250 CPUs to Kubernetes; expected a quantity such as 250m or 0.5, 1m to 192 CPUs; did you mean `250m`?
    mine.yaml:3:19: kubernetes.memory_request: `448` means 448 bytes to Kubernetes; expected a quantity such as 448Mi or 1Gi, 4Mi to 24Ti; did you mean `448Mi`?
    mine.yaml:4:15: kubernetes.system_cpu: `300 m` is no Kubernetes quantity; expected a quantity such as 250m or 0.5, 0m to 192 CPUs; did you mean `300m`?
    mine.yaml:5:18: kubernetes.system_memory: `450MB` is no Kubernetes quantity; expected a quantity such as 448Mi or 1Gi, 0Mi to 24Ti; did you mean `450M`?
    "#);
    insta::assert_snapshot!(complaints(
        "kubernetes:
  cpu_request: lots
  memory_request: 448mi
  system_cpu: [1]
  system_memory: -1Mi
  system_pods: 6.0
  idle_s: -0
"
    ), @r#"
    mine.yaml:2:16: kubernetes.cpu_request: `lots` is no Kubernetes quantity; expected a quantity such as 250m or 0.5, 1m to 192 CPUs
    mine.yaml:3:19: kubernetes.memory_request: `448mi` is no Kubernetes quantity; expected a quantity such as 448Mi or 1Gi, 4Mi to 24Ti; did you mean `448Mi`?
    mine.yaml:4:15: kubernetes.system_cpu: holds a list of 1; expected a quantity such as 250m or 0.5, 0m to 192 CPUs
    mine.yaml:5:18: kubernetes.system_memory: `-1Mi` is out of range; expected a quantity such as 448Mi or 1Gi, 0Mi to 24Ti
    "#);
    insta::assert_snapshot!(complaints("kubernetes: {memory_request: 400m, system_memory: 450}"), @r#"
    mine.yaml:1:30: kubernetes.memory_request: `400m` is out of range; expected a quantity such as 448Mi or 1Gi, 4Mi to 24Ti; did you mean `400Mi`?
    mine.yaml:1:51: kubernetes.system_memory: `450` means 450 bytes to Kubernetes; expected a quantity such as 448Mi or 1Gi, 0Mi to 24Ti; did you mean `450Mi`?
    "#);
    assert!(parse_text("kubernetes: {system_memory: 0, system_cpu: 0}").is_ok());
    let loaded =
        parse_text("kubernetes: {cpu_request: 1, memory_request: \"1.5Gi\", system_cpu: 0.5}").unwrap();
    let kubernetes = &loaded.profile.kubernetes;
    assert_eq!(
        (
            kubernetes.cpu_request_m,
            kubernetes.memory_request_mib,
            kubernetes.system_cpu_m
        ),
        (1000.0, 1536.0, 500.0)
    );
    assert_eq!(assumption(&loaded, "kubernetes.memory_request").value, "1536Mi");
}

#[test]
fn names_and_choices_are_checked() {
    insta::assert_snapshot!(complaints(
        "extends: prodution
profile:
  name: \"\"
  description: \"bell \\a\"
  target: ecs
"
    ), @r#"
    mine.yaml:1:10: extends: there is no profile `prodution`; expected proof-of-technology, production, kubernetes or a file such as ./base.yaml; did you mean `production`?
    mine.yaml:3:9: profile.name: is empty; expected one line of at most 100 characters
    mine.yaml:4:16: profile.description: holds characters that do not print; expected one line of at most 500 characters
    mine.yaml:5:11: profile.target: `ecs` is not known; expected ec2 or eks; `dataops-infra explain ecs` says why
    "#);
    insta::assert_snapshot!(complaints("extends: [production]\nprofile: {target: EKS, name: null}"), @r#"
    mine.yaml:1:10: extends: holds a list of 1; expected proof-of-technology, production, kubernetes or a file such as ./base.yaml
    mine.yaml:2:19: profile.target: `EKS` is not known; expected ec2 or eks; did you mean `eks`?
    mine.yaml:2:30: profile.name: has no value; expected one line of at most 100 characters
    "#);
    let name = "x".repeat(101);
    insta::assert_snapshot!(complaints(&format!("profile: {{name: {name}}}")), @"mine.yaml:1:17: profile.name: has 101 characters; expected one line of at most 100 characters");
}

#[test]
fn zero_load_is_refused_and_absurd_load_is_not() {
    insta::assert_snapshot!(complaints("arrivals:\n  pipelines_per_weekday: 0\n"), @"mine.yaml:2:26: arrivals.pipelines_per_weekday: 0 and no bursts: this workload has no pipelines at all; expected at least 0.01, or a burst");
    insta::assert_snapshot!(complaints("arrivals:\n  pipelines_per_weekday: 2e9\n"), @"mine.yaml:2:26: arrivals.pipelines_per_weekday: `2e9` is out of range; expected a number, 0 to 1000000000 pipelines/weekday");
    assert!(parse_text("arrivals: {pipelines_per_weekday: 1e9}").is_ok());
    let bursts =
        parse_text("arrivals: {pipelines_per_weekday: 0, bursts: [{hour: 9, pipelines: 5}]}").unwrap();
    assert_eq!(
        bursts.profile.arrivals.bursts,
        [Burst {
            hour: 9,
            pipelines: 5,
            window_s: 300.0
        }]
    );
    assert_eq!(
        assumption(&bursts, "arrivals.bursts").value,
        "09:00 5 pipelines within 300 s"
    );
}

#[test]
fn numbers_are_decimal_and_finite() {
    for good in ["240", "240.0", "2.4e2", "+240", "  240   # seconds"] {
        let loaded = parse_text(&format!("job:\n  duration_p90_s: {good}\n")).unwrap();
        assert_eq!(loaded.profile.job.duration_p90_s, 240.0, "{good}");
    }
    for bad in [
        ".nan",
        ".NaN",
        "NaN",
        ".inf",
        "-.inf",
        "inf",
        "1e999",
        "0x1F",
        "0o17",
        "017",
        "1_000",
        "'240'",
        "yes",
        "true",
        "2024-01-01",
        "1:30",
        "240s",
        "-1",
        "-0.1",
        "1e308",
        "[240]",
        "{a: 1}",
        "~",
        "null",
        "",
        "|\n   240",
    ] {
        let errors = parse_text(&format!("job:\n  duration_p90_s: {bad}\n")).expect_err(bad);
        assert_eq!(errors.problems.len(), 1, "{bad}: {errors}");
        assert_eq!(errors.problems[0].key, "job.duration_p90_s", "{bad}");
        assert!(errors.problems[0].expected.is_some(), "{bad}");
    }
    insta::assert_snapshot!(complaints("job: {duration_p90_s: 017, timeout_s: 1e999}"), @r#"
    mine.yaml:1:23: job.duration_p90_s: `017` is not a number; expected a number, 0.1 to 864000 s; did you mean `17`?
    mine.yaml:1:39: job.timeout_s: `1e999` is not a finite number; expected a number, 1 to 2592000 s
    "#);
}

#[test]
fn duplicate_keys_are_refused_at_every_level() {
    insta::assert_snapshot!(complaints(
        "job:
  timeout_s: 60
  timeout_s: 600
slo: {wait_s: 1}
job: {}
arrivals: {bursts: [{hour: 1, hour: 2, pipelines: 1}]}
"
    ), @r#"
    mine.yaml:3:3: timeout_s: this key stands twice, first in line 2; remove one of them
    mine.yaml:5:1: job: this key stands twice, first in line 1; remove one of them
    mine.yaml:6:31: hour: this key stands twice, first in line 6; remove one of them
    "#);
}

#[test]
fn what_is_no_profile_is_said_to_be_none() {
    for (text, message) in [
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        ("---\n", "is empty"),
        ("null", "is empty"),
        ("42", "the file holds `42`"),
        ("[1, 2]", "the file holds a list of 2"),
        ("\"text\"", "the file holds the text `text`"),
        ("a: 1\n---\nb: 2\n", "a second YAML document begins here"),
        ("a: [1", "is not YAML from here on"),
        ("job:\n\ttimeout_s: 1", "is not YAML from here on"),
        ("a: b: c", "is not YAML from here on"),
        ("job: *missing", "is not YAML from here on"),
        ("job: &a [*a]", "an alias that contains itself"),
        ("a\0b", "is a binary file"),
        (
            "job: !!float {timeout_s: 5}",
            "the tag `!!float` is not supported",
        ),
        ("? [a]\n: 1", "a key is a list or a mapping"),
    ] {
        let shown = complaints(text);
        assert!(shown.contains(message), "{text:?} gives {shown}");
    }
    insta::assert_snapshot!(complaints(""), @"mine.yaml: is empty; expected `extends: NAME` or some of the sections profile, arrivals, pipeline, job, runner, host, disk, slo, kubernetes; `dataops-infra workload show production --yaml` prints one to start from");
}

#[test]
fn bytes_that_are_no_text_are_said_to_be_none() {
    let complain = |bytes: &[u8]| {
        parse_bytes(bytes, "x.yaml", &mut |_| Err(String::new()))
            .unwrap_err()
            .to_string()
    };
    insta::assert_snapshot!(complain(b"job:\n  # caf\xe9\n"), @"x.yaml:2:8: is not UTF-8 text from here on; expected UTF-8 text");
    insta::assert_snapshot!(complain(b"\x7fELF\x02\x01\x01\x00\x00\xff"), @"x.yaml: is a binary file; expected UTF-8 text");
    insta::assert_snapshot!(complain(b"\xff\xfej\0o\0b\0"), @"x.yaml: is UTF-16; expected UTF-8 text");
    insta::assert_snapshot!(complain(&vec![b'a'; 50 << 20]), @"x.yaml: is larger than 1024 KiB; expected a workload profile of a few KiB");
    let utf8_mark = parse_bytes(b"\xef\xbb\xbfjob: {timeout_s: 60}", "x.yaml", &mut |_| {
        Err(String::new())
    })
    .unwrap();
    assert_eq!(utf8_mark.profile.job.timeout_s, 60.0);
}

/// A small generator, so that the same bytes come back on every machine.
fn noise(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    })
}

#[test]
fn hostile_files_end_quickly_in_an_error() {
    let mut laughs = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for level in 1..12 {
        let below = format!("*a{}", level - 1);
        laughs += &format!("a{level}: &a{level} [{}]\n", [below.as_str(); 9].join(", "));
    }
    let long = format!(
        "a: &a {}\nb: [{}]",
        "x".repeat(500_000),
        vec!["*a"; 100_000].join(", ")
    );
    let keys: String = (0..60_000).map(|n| format!("k{n}: 1\n")).collect();
    let typos: String = (0..9_000).map(|n| format!("duration_p90_{n}: 1\n")).collect();
    let steps: String = (0..2_000)
        .map(|n| format!("{}a:\n", " ".repeat(n.min(400))))
        .collect();
    for (what, text) in [
        ("laughs", laughs.clone()),
        ("long text by alias", long),
        ("brackets", "[".repeat(1_000_000)),
        (
            "10k brackets",
            format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)),
        ),
        ("braces", "{a: ".repeat(200_000)),
        ("dashes", "- ".repeat(500_000)),
        ("questions", "? ".repeat(500_000)),
        ("steps", steps),
        ("keys", keys),
        ("typos", typos),
        ("anchors", "&a ".repeat(300_000)),
        ("quotes", "\"".repeat(1_000_000)),
        ("long line", "a".repeat(1_000_000)),
        ("comments", "#\n".repeat(500_000)),
        ("colons", ":".repeat(1_000_000)),
        ("tags", "!a ".repeat(300_000)),
        ("directives", "%A b\n".repeat(200_000)),
        ("50 MB", "job: {}\n".repeat(6_600_000)),
        ("folded", format!("a: >\n{}", " b\n\n".repeat(200_000))),
    ] {
        let begun = std::time::Instant::now();
        let errors = parse_text(&text).expect_err(what);
        let seconds = begun.elapsed().as_secs_f64();
        assert!(seconds < 5.0, "{what} took {seconds} s");
        assert!(
            errors.problems.len() <= 51,
            "{what} reports {}",
            errors.problems.len()
        );
        assert!(errors.to_string().len() < 60_000, "{what}");
    }
    assert!(complaints(&laughs).contains("more than 20000 values, copies by aliases included"));
}

#[test]
fn noise_never_panics() {
    let words: Vec<String> = fields::FIELDS
        .iter()
        .flat_map(|field| [field.section.to_owned(), field.key.to_owned()])
        .chain(
            ": |- |{|}|[|]|,|\n|\n  |#|&a |*a |!!|'|\"|0|1e9|.5|-|null|250m|extends|production"
                .split('|')
                .map(str::to_owned),
        )
        .collect();
    for seed in 0..3_000 {
        let mut noise = noise(seed);
        let bytes: Vec<u8> = noise
            .by_ref()
            .take((seed % 200) as usize)
            .map(|n| n as u8)
            .collect();
        let _ = parse_bytes(&bytes, "noise", &mut |_| Err("no".to_owned()));
        let text: String = noise
            .take(30)
            .map(|n| words[n as usize % words.len()].as_str())
            .collect();
        let _ = parse_text(&text);
    }
}

#[test]
fn files_extend_files_but_not_in_circles() {
    let mut read = |path: &str| match path {
        "team/base.yaml" => Ok("extends: ../all.yaml\nslo:\n  wait_s: 45\n".to_owned()),
        "all.yaml" => Ok("extends: kubernetes\njob:\n  timeout_s: 900\nslo: {wait_s: 90}\n".to_owned()),
        "team/circle.yaml" => Ok("extends: ./mine.yaml".to_owned()),
        "team/bad.yaml" => Ok("slo:\n  wait_s: soon\n".to_owned()),
        _ => Err("no such file".to_owned()),
    };
    let mut from = |text: &str| parse(text, "team/mine.yaml", &mut read);
    let loaded = from("extends: base.yaml\njob: {cpu_per_s: 0.2}\n").unwrap();
    assert_eq!(
        (loaded.profile.name.as_str(), loaded.profile.description.as_str()),
        ("mine", "based on base")
    );
    assert_eq!(
        (loaded.profile.slo.wait_s, loaded.profile.job.timeout_s),
        (45.0, 900.0)
    );
    assert_eq!(loaded.profile.target, Target::Eks);
    assert_eq!(assumption(&loaded, "job.timeout_s").source, "all.yaml:3");
    assert_eq!(assumption(&loaded, "slo.wait_s").source, "team/base.yaml:3");
    assert_eq!(assumption(&loaded, "job.cpu_per_s").source, "team/mine.yaml:2");
    insta::assert_snapshot!(from("extends: circle.yaml").unwrap_err().to_string(), @"team/circle.yaml:1:10: extends: the files extend each other in a circle: `team/mine.yaml` → `team/circle.yaml` → `team/mine.yaml`");
    insta::assert_snapshot!(from("extends: ./mine.yaml").unwrap_err().to_string(), @"team/mine.yaml:1:10: extends: the files extend each other in a circle: `team/mine.yaml` → `team/mine.yaml`");
    insta::assert_snapshot!(from("extends: bad.yaml").unwrap_err().to_string(), @"team/bad.yaml:2:11: slo.wait_s: `soon` is not a number; expected a number, 0 to 86400 s");
    insta::assert_snapshot!(from("extends: \"a\\e[31m.yaml\"").unwrap_err().to_string(), @"team/mine.yaml:1:10: extends: `a�[31m.yaml` cannot be the name of a file; expected proof-of-technology, production, kubernetes or a file such as ./base.yaml");
    insta::assert_snapshot!(from("extends: gone.yaml\njob: 5").unwrap_err().to_string(), @r#"
    team/mine.yaml:1:10: extends: cannot read `team/gone.yaml`: no such file
    team/mine.yaml:2:6: job: holds `5`; expected a mapping with some of the keys duration_p90_s, duration_sigma, duration_icc, timeout_s, cpu_fixed_s, cpu_per_s, rss_median_mib, rss_sigma
    "#);
    let mut endless = |path: &str| Ok(format!("extends: ./x{path}"));
    insta::assert_snapshot!(
        parse("extends: x.yaml", "a.yaml", &mut endless).unwrap_err().to_string(), @"xxxxxxxx.yaml:1:10: extends: more than 8 files extend one another");
}

#[test]
fn anchors_save_typing() {
    let day = ["1"; 24].join(", ");
    let text = format!("arrivals:\n  hours_interactive: &day [{day}]\n  hours_scheduled: *day\n");
    let arrivals = parse_text(&text).unwrap().profile.arrivals;
    assert_eq!(arrivals.hours_scheduled, arrivals.hours_interactive);
}

/// Sets every field to a value drawn from its range, ends included.
fn drawn(seed: u64) -> Profile {
    use fields::{FIELDS, Kind, Value};
    let mut noise = noise(seed);
    let mut profile = builtin("production").unwrap().profile;
    let mut unit = || noise.next().unwrap() as f64 / u64::MAX as f64;
    for field in FIELDS {
        let mut between = |min: f64, max: f64| match (unit() * 5.0) as u32 {
            0 => max,
            1 => min + (max - min) * unit() * 1e-9,
            _ => min + (max - min) * unit(),
        };
        let value = match field.kind {
            Kind::Number(range) | Kind::Cpu(range) | Kind::Memory(range) => {
                Value::Number(between(range.min, range.max))
            }
            Kind::Integer(min, max) => Value::Integer(between(f64::from(min), f64::from(max)) as u32),
            Kind::DivisorOf60 => Value::Integer([1, 5, 12, 60][between(0.0, 3.0) as usize]),
            Kind::Choice(words) => Value::Text(words[between(0.0, 1.0) as usize].into()),
            Kind::Text(_) => Value::Text(
                ["yes", "a \"b\" \\ c: #d", "näh — ✓ 日本", "- x", "null"][between(0.0, 4.0) as usize].into(),
            ),
            Kind::Family => Value::Text("m6i-flex".into()),
            Kind::Weights => Value::Weights([(); 24].map(|()| between(0.001, 1e9))),
            Kind::Bursts => Value::Bursts(vec![Burst {
                hour: 23,
                pipelines: 1_000_000,
                window_s: between(0.0, 86_400.0),
            }]),
            Kind::Speeds(range) => Value::Speeds(vec![
                ("m7i".to_owned(), between(range.min, range.max)),
                ("c5".to_owned(), between(range.min, range.max)),
            ]),
        };
        (field.set)(&mut profile, value.clone());
        assert_eq!(
            field.value(&profile),
            value,
            "{} reads what it sets",
            field.path()
        );
    }
    profile
}

#[test]
fn what_is_written_parses_back_to_the_same() {
    for name in builtin_names() {
        let profile = builtin(name).unwrap().profile;
        assert_eq!(parse_text(&to_yaml(&profile)).unwrap().profile, profile);
    }
    for seed in 0..500 {
        let profile = drawn(seed);
        let yaml = to_yaml_with(&profile, &|key| Some(format!("about {key}\nsecond: line")));
        match parse_text(&yaml) {
            Ok(loaded) => assert_eq!(loaded.profile, profile),
            Err(errors) => panic!("{errors}\n{yaml}"),
        }
    }
}

#[test]
fn the_commented_files_say_what_the_table_says() {
    for name in builtin_names() {
        let text = builtin_yaml(name).unwrap();
        let loaded = builtin(name).unwrap();
        let parsed = parse(text, &format!("{name}.yaml"), &mut |_| Err("no file".to_owned()))
            .unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(parsed.profile, loaded.profile, "{name}");
        // A line that sets a key names the basis of that value in brackets.
        for assumption in &loaded.assumptions {
            let Some(stated) = parsed
                .assumptions
                .iter()
                .find(|a| a.key == assumption.key && a.basis == Basis::User)
            else {
                continue;
            };
            let line: usize = stated.source.rsplit(':').next().unwrap().parse().unwrap();
            let line = text.lines().nth(line - 1).unwrap();
            let word = format!("[{}]", assumption.basis.word());
            assert!(
                line.contains(&word),
                "{name}: {} is {word}, but the line is: {line}",
                assumption.key
            );
        }
    }
}

#[test]
fn the_schema_documents_every_key_and_allows_nothing_else() {
    let schema = json_schema();
    let mut documented = 0;
    for section in fields::SECTIONS {
        let object = &schema["properties"][section.name];
        assert_eq!(object["additionalProperties"], false);
        for field in fields::FIELDS
            .iter()
            .filter(|field| field.section == section.name)
        {
            let key = &object["properties"][field.key];
            assert!(
                key["description"].as_str().unwrap().starts_with(field.doc),
                "{}",
                field.path()
            );
            documented += 1;
        }
        assert_eq!(
            object["properties"].as_object().unwrap().len(),
            fields::FIELDS
                .iter()
                .filter(|field| field.section == section.name)
                .count()
        );
    }
    assert_eq!(documented, fields::FIELDS.len());
    insta::assert_snapshot!(schema["properties"]["slo"]["properties"]["pipeline_slowdown"], @r#"{"type":"number","exclusiveMinimum":1,"maximum":100,"description":"Mean pipeline time relative to unlimited slots on the reference thread. Default [assumed]: ten per cent longer is hardly noticed.","default":1.1}"#);
}

#[test]
fn every_field_is_documented_and_its_default_is_in_range() {
    for field in fields::FIELDS {
        assert!(field.doc.ends_with('.'), "{}", field.path());
        assert!(
            fields::SECTIONS
                .iter()
                .any(|section| section.name == field.section)
        );
        if field.section != "profile" {
            assert!(!field.source.is_empty(), "{}", field.path());
        }
    }
}
