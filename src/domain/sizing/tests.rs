//! Decisions against the reference model, and what must not change them.

use super::evaluate::{Layout, Standing};
use super::recommend::{Recommendation, Unanswerable, recommend};
use super::search::{Families, Question, Reason};
use crate::domain::catalog::Catalog;
use crate::domain::plan::document::PlanDocument;
use crate::domain::profile::{Loaded, Profile, Scope, Target, builtin};

pub(super) fn catalog() -> Catalog {
    Catalog::embedded("us-east-1").expect("known")
}

fn loaded(name: &str) -> Loaded {
    builtin(name).expect("built in")
}

pub(super) fn profile(name: &str) -> Profile {
    loaded(name).profile
}

pub(super) fn question<'a>(profile: &'a Profile, catalog: &'a Catalog) -> Question<'a> {
    Question {
        profile,
        catalog,
        target: profile.target,
        families: Families::Qualified,
        strict_minimums: false,
        seed: 1,
        threads: 2,
    }
}

fn answer<'a>(question: &Question<'a>) -> Recommendation<'a> {
    recommend(question).expect("there is an answer")
}

fn hosts(count: u32, slots: u32) -> Layout {
    Layout::Hosts { count, slots }
}

fn nodes(min: u32, max: u32, pods: u32) -> Layout {
    Layout::Nodes { min, max, pods }
}

#[test]
fn the_built_in_profiles_lead_to_the_documented_hosts_for_several_seeds() {
    let catalog = catalog();
    for (name, instance_type, layout, monthly) in [
        ("proof-of-technology", "c5.large", hosts(1, 4), "86.05"),
        ("production", "c5.xlarge", hosts(1, 8), "148.10"),
        ("kubernetes", "c6i.large", nodes(2, 2, 6), "245.10"),
    ] {
        let profile = profile(name);
        for seed in [1, 2, 3] {
            let question = Question {
                seed,
                ..question(&profile, &catalog)
            };
            let answer = answer(&question);
            assert_eq!(answer.chosen.instance_type, instance_type, "{name} {seed}");
            assert_eq!(answer.evaluation.layout, layout, "{name} {seed}");
            assert_eq!(answer.disk.gib, 300, "{name} {seed}");
            assert_eq!(answer.monthly.cents(), monthly, "{name} {seed}");
        }
    }
}

#[test]
fn families_open_the_choice_and_keep_their_order() {
    let catalog = catalog();
    let profile = profile("production");
    let with = |families| {
        answer(&Question {
            families,
            ..question(&profile, &catalog)
        })
    };
    let list = |names: &[&str]| Families::List(names.iter().map(|name| (*name).to_owned()).collect());

    let any = with(Families::Any);
    assert_eq!(
        (any.chosen.instance_type.as_str(), any.monthly.cents().as_str()),
        ("m6a.large", "87.07")
    );
    let compute = with(Families::Compute);
    assert_eq!(compute.chosen.instance_type, "c6a.xlarge");
    // A tie on cost is decided by the order of the list.
    assert_eq!(
        with(list(&["c5", "c6i", "t3a"])).chosen.instance_type,
        "c5.xlarge"
    );
    assert_eq!(with(list(&["c6i", "c5"])).chosen.instance_type, "c6i.xlarge");
    let burstable = with(list(&["c5", "t3a"]));
    let slow = burstable
        .others
        .iter()
        .find(|other| other.instance_type == "t3a.xlarge")
        .expect("tried");
    assert!(
        slow.reasons
            .iter()
            .any(|reason| matches!(reason, Reason::Slow { .. })),
        "{slow:?}"
    );
}

#[test]
fn a_cheaper_type_outside_the_list_is_shown_and_not_chosen() {
    let (catalog, profile) = (catalog(), profile("production"));
    let answer = answer(&question(&profile, &catalog));
    let first = answer.outside.first().expect("cheaper ones exist");
    assert_eq!(first.instance_type, "m6a.large");
    assert!(
        answer
            .outside
            .iter()
            .all(|other| other.monthly < answer.monthly && other.meets.is_some())
    );
}

#[test]
fn the_request_of_a_job_pod_decides_the_node() {
    let catalog = catalog();
    let mut profile = profile("kubernetes");
    for (cpu, instance_type) in [(250.0, "c6i.large"), (800.0, "c6i.large"), (1000.0, "c6i.xlarge")] {
        profile.kubernetes.cpu_request_m = cpu;
        assert_eq!(
            answer(&question(&profile, &catalog)).chosen.instance_type,
            instance_type,
            "{cpu}m"
        );
    }
}

#[test]
fn node_groups_grow_with_the_load() {
    let catalog = catalog();
    let mut profile = profile("kubernetes");
    for (load, layout) in [
        (240.0, nodes(2, 2, 6)),
        (300.0, nodes(2, 3, 6)),
        (400.0, nodes(2, 4, 6)),
    ] {
        profile.arrivals.pipelines_per_weekday = load;
        let answer = answer(&question(&profile, &catalog));
        assert_eq!(
            (answer.chosen.instance_type.as_str(), answer.evaluation.layout),
            ("c6i.large", layout),
            "{load}"
        );
    }
}

#[test]
fn objectives_move_the_concurrency() {
    let catalog = catalog();
    let mut profile = profile("production");
    profile.slo.scope = Scope::WorstHour;
    let strict = answer(&question(&profile, &catalog));
    assert_eq!(
        (strict.chosen.instance_type.as_str(), strict.evaluation.layout),
        ("c5.xlarge", hosts(1, 12))
    );
    assert!((1..=5).contains(&strict.evaluation.worst_hour.expect("judged by hour")));
}

#[test]
fn strict_minimums_take_the_installation_page_at_its_word() {
    let catalog = catalog();
    for (name, instance_type) in [("production", "c5.2xlarge"), ("proof-of-technology", "c5.xlarge")] {
        let profile = profile(name);
        let question = Question {
            strict_minimums: true,
            ..question(&profile, &catalog)
        };
        assert_eq!(answer(&question).chosen.instance_type, instance_type);
    }
}

#[test]
fn the_load_interval_holds_the_load_itself_and_changes_the_answer_outside() {
    let catalog = catalog();
    let profile = profile("production");
    let answer = answer(&question(&profile, &catalog));
    let interval = answer.interval;
    assert!(interval.low < 0.7 && interval.low > 0.45, "{interval:?}");
    assert!(interval.high > 1.5 && interval.high < 2.3, "{interval:?}");
    let mut heavy = profile.clone();
    heavy.arrivals.pipelines_per_weekday *= interval.high * 1.3;
    let other = recommend(&question(&heavy, &catalog)).expect("there is an answer");
    assert_ne!(
        (other.chosen.instance_type.as_str(), other.chosen.count),
        ("c5.xlarge", 1)
    );
}

#[test]
fn the_disk_follows_growth_and_the_unattended_days() {
    let catalog = catalog();
    let mut profile = profile("production");
    for (days, gib) in [(15.0, 200), (28.0, 300), (35.0, 400), (1.0, 100)] {
        profile.disk.unattended_days = days;
        assert_eq!(answer(&question(&profile, &catalog)).disk.gib, gib, "{days}");
    }
    profile.disk.unattended_days = 28.0;
    profile.disk.leftover_mib_per_job = 1e6;
    assert!(matches!(
        recommend(&question(&profile, &catalog)),
        Err(Unanswerable::DiskTooSmall { .. })
    ));
}

#[test]
fn absurd_loads_are_answered_with_arithmetic() {
    let catalog = catalog();
    let mut profile = profile("production");
    profile.arrivals.pipelines_per_weekday = 1e9;
    let Err(Unanswerable::TooMuch {
        busy_slots, largest, ..
    }) = recommend(&question(&profile, &catalog))
    else {
        panic!("nobody can simulate that");
    };
    assert!((busy_slots / 7.85e6 - 1.0).abs() < 0.02, "{busy_slots}");
    assert!(largest.is_some_and(|(name, slots)| name.starts_with("c5.") && slots > 100));
}

#[test]
fn impossible_objectives_say_what_was_tried() {
    let catalog = catalog();
    let mut profile = profile("production");
    profile.slo.pipeline_slowdown = 1.0;
    match recommend(&question(&profile, &catalog)) {
        Err(Unanswerable::NothingMeets { tried }) => {
            assert!(tried.iter().any(|considered| !considered.evaluations.is_empty()));
        }
        _ => panic!("jobs on one host always disturb each other a little"),
    }
    profile.slo.pipeline_slowdown = 1.1;
    // The runner has to ask, so that every job waits a little, whatever the host.
    profile.slo.wait_s = 0.0;
    assert!(matches!(
        recommend(&question(&profile, &catalog)),
        Err(Unanswerable::PickupTooSlow { late }) if late == 1.0
    ));
    profile.slo.wait_s = 30.0;
    profile.job.rss_median_mib = 1e6;
    assert!(matches!(
        recommend(&question(&profile, &catalog)),
        Err(Unanswerable::NoOffer { .. })
    ));
}

#[test]
fn what_is_chosen_meets_every_objective_with_its_interval() {
    let catalog = catalog();
    for (name, load) in [
        ("production", 60.0),
        ("production", 300.0),
        ("proof-of-technology", 10.0),
    ] {
        let mut profile = profile(name);
        profile.arrivals.pipelines_per_weekday = load;
        let answer = answer(&question(&profile, &catalog));
        assert_eq!(answer.evaluation.standing, Standing::Meets);
        assert!(answer.evaluation.late.upper() <= 1.0 - profile.slo.wait_quantile);
        assert!(answer.evaluation.slowdown.upper() <= profile.slo.pipeline_slowdown);
        assert!(
            answer
                .others
                .iter()
                .all(|other| other.meets.is_none() || other.monthly >= answer.monthly)
        );
    }
}

#[test]
fn totals_are_the_sums_of_their_lines() {
    let catalog = catalog();
    for (name, target) in [("production", Target::Ec2), ("kubernetes", Target::Eks)] {
        let loaded = loaded(name);
        let question = Question {
            target,
            ..question(&loaded.profile, &catalog)
        };
        let answer = answer(&question);
        let plan = PlanDocument::new(&question, &loaded, &answer, "", Vec::new());
        let cents = |text: &str| text.replace('.', "").parse::<i64>().expect("cents");
        let sum: i64 = plan.cost.lines.iter().map(|line| cents(&line.monthly)).sum();
        assert_eq!(sum, cents(&plan.cost.monthly_total), "{name}");
        assert_eq!(plan.cost.monthly_total, answer.monthly.cents());
        assert_eq!(
            plan.alternatives
                .iter()
                .filter(|row| row.verdict == "chosen")
                .count(),
            1
        );
    }
}
