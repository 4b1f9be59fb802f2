//! The number of threads changes no digit, neither does the short way to the interval change its meaning.

use super::recommend::recommend;
use super::search::{Families, Question};
use crate::domain::catalog::Catalog;
use crate::domain::profile::{Scope, builtin};

/// Everything that the answer says, to the last bit.
fn answer(workload: &str, scope: Scope, threads: usize) -> String {
    let mut profile = builtin(workload).expect("built in").profile;
    profile.slo.scope = scope;
    let catalog = Catalog::embedded("us-east-1").expect("known");
    let question = Question {
        profile: &profile,
        catalog: &catalog,
        target: profile.target,
        families: Families::Qualified,
        strict_minimums: false,
        seed: 1,
        threads,
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
