//! The number of threads changes no digit, neither does the short way to the interval change its meaning.

use std::sync::Arc;

use super::disks::DiskSizes;
use super::evaluate::Evaluator;
use super::interval::still_first;
use super::recommend::recommend;
use super::search::Question;
use super::tests::{catalog, profile, question};
use crate::domain::profile::Scope;

/// Everything that the answer says, to the last bit.
fn answer(workload: &str, scope: Scope, threads: usize) -> String {
    let mut profile = profile(workload);
    profile.slo.scope = scope;
    let catalog = catalog();
    let question = Question {
        threads,
        ..question(&profile, &catalog)
    };
    // Debug prints every field, and floats so that no two print alike.
    format!("{:?}", recommend(&question).expect("an answer"))
}

#[test]
fn the_number_of_threads_changes_no_digit() {
    for (workload, scope) in [
        ("proof-of-technology", Scope::AllHours),
        ("production", Scope::AllHours),
        ("production", Scope::WorstHour),
        ("kubernetes", Scope::AllHours),
    ] {
        let one = answer(workload, scope, 1);
        for threads in [2, 5] {
            // No `assert_eq`: the answers are megabytes long.
            assert!(answer(workload, scope, threads) == one, "{workload} {threads}");
        }
    }
}

#[test]
fn the_short_way_agrees_with_the_search() {
    let catalog = catalog();
    let (mut yes, mut no) = (0, 0);
    for (workload, own) in [
        ("production", ("c5.xlarge", 1)),
        ("production", ("c5.2xlarge", 1)),
        ("kubernetes", ("c6i.large", 2)),
        ("kubernetes", ("c6i.xlarge", 2)),
    ] {
        for multiple in [0.2, 0.6, 1.0, 2.0, 3.0] {
            let mut profile = profile(workload);
            profile.arrivals.pipelines_per_weekday *= multiple;
            let question = question(&profile, &catalog);
            let mut evaluator = Evaluator::coarse(&profile, 1, 2);
            let disks = Arc::new(DiskSizes::new(&question, profile.runner.concurrent));
            let (offers, _) = question.offers(&disks, &evaluator);
            let chosen = question.search(&offers, &mut evaluator, None).chosen;
            let searched =
                chosen.is_some_and(|(offer, found)| (offer.instance.name.as_str(), found.count) == own);
            let index = offers
                .iter()
                .position(|offer| offer.instance.name == own.0)
                .expect("offered");
            let short = still_first(&question, &offers, (index, own.1), &mut evaluator);
            assert_eq!(short, searched, "{workload} {own:?} {multiple}");
            yes += u32::from(short);
            no += u32::from(!short);
        }
    }
    assert!(yes >= 5 && no >= 5, "both answers occur: {yes} and {no}");
}
