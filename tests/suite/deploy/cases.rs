//! Which cases of a sweep are taken, and taking them: several at the same time, each told with what is wrong.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Instant;

/// Variable that asks for more than a sample: `whole`, or a share of that such as `2/4`.
const VARIABLE: &str = "DATAOPS_INFRA_SWEEP";

/// Returns which part of the whole is asked for, and of how many; none: the sample.
pub fn share() -> Option<(usize, usize)> {
    let said = std::env::var(VARIABLE).ok().filter(|said| !said.is_empty())?;
    Some(read(&said).unwrap_or_else(|| panic!("{VARIABLE} is `whole` or such as `2/4`, not `{said}`")))
}

fn read(said: &str) -> Option<(usize, usize)> {
    if said == "whole" {
        return Some((1, 1));
    }
    let (nth, of) = said.split_once('/')?;
    let (nth, of) = (nth.parse().ok()?, of.parse().ok()?);
    (1..=of).contains(&nth).then_some((nth, of))
}

/// Returns the cases to take: those of the sample, or the share of all.
pub fn chosen<T>(all: Vec<T>, in_sample: impl Fn(&T) -> bool) -> Vec<T> {
    let Some((nth, of)) = share() else {
        return all.into_iter().filter(in_sample).collect();
    };
    // One out of each so many, and not always the same: cases that stand together are alike, and each share has all kinds.
    let shared = all.into_iter().enumerate();
    let ours = shared.filter(|(number, _)| number % of == (nth - 1 + number / of) % of);
    ours.map(|(_, case)| case).collect()
}

/// Takes cases, so many at the same time; each is told its number.
///
/// # Panics
///
/// With all that was wrong, or where there is no case.
pub fn each<T: Display + Send>(
    what: &str,
    cases: Vec<T>,
    at_once: usize,
    take: impl Fn(usize, &T) -> Result<(), String> + Sync,
) {
    let number = cases.len();
    assert!(number > 0, "{what}: there is no case");
    let began = Instant::now();
    let open = Mutex::new(cases.into_iter().enumerate());
    let wrong: Mutex<Vec<String>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let next = open.lock().expect("no panic").next();
                    let Some((nth, case)) = next else { return };
                    let began = Instant::now();
                    let ended = catch_unwind(AssertUnwindSafe(|| take(nth, &case)));
                    let ended = ended.unwrap_or_else(|panic| Err(said(&*panic)));
                    let word = if ended.is_ok() { "ok" } else { "WRONG" };
                    eprintln!(
                        "{what}: {case}: {word} after {:.1} s",
                        began.elapsed().as_secs_f64()
                    );
                    if let Err(why) = ended {
                        eprintln!("{why}");
                        wrong.lock().expect("no panic").push(format!("{case}: {why}"));
                    }
                }
            });
        }
    });
    eprintln!("{what}: {number} cases in {:.1} s", began.elapsed().as_secs_f64());
    let wrong = wrong.into_inner().expect("no panic");
    assert!(
        wrong.is_empty(),
        "{what}: {} of {number} cases:\n\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
}

/// Returns the words of a panic.
fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}

#[test]
fn shares_are_read() {
    assert_eq!(read("whole"), Some((1, 1)));
    assert_eq!(read("2/4"), Some((2, 4)));
    for wrong in ["", "all", "0/4", "5/4", "1/0", "a/b"] {
        assert_eq!(read(wrong), None, "{wrong}");
    }
}
