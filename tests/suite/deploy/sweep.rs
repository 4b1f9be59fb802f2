//! The sweep: every call of `up` and of `down`, disturbed in every way, and then the same command again.
//!
//! Calls run at the same time, so each is named by its operation and how many of that operation came before it. After
//! the disturbed run the account heals, and the next runs must end as those of an account that was never disturbed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::inventory::Inventory;
use super::world::{Ran, World};
use crate::bench::call::Call;
use crate::bench::launcher::Bench;
use crate::bench::rule::Rule;

/// Cases at the same time: as many as keep one moto busy.
const AT_ONCE: usize = 3;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The server fails before it does anything, once.
    Fails,
    /// It does so each time.
    FailsForGood,
    /// It is done, and the answer is lost, once.
    Lost,
    /// It is done each time, and no answer ever comes.
    LostForGood,
    /// There were too many calls, once.
    Throttled,
    /// The answer ends in the middle, once.
    Half,
    /// The program is killed before the call is done.
    KilledBefore,
    /// The program is killed when the call is done.
    KilledAfter,
}

impl Fault {
    /// Whether it tells more of a call that changes something than `Fails` does.
    fn needs_change(self) -> bool {
        matches!(
            self,
            Self::FailsForGood | Self::Lost | Self::LostForGood | Self::Throttled | Self::KilledBefore
        )
    }

    fn kills(self) -> bool {
        matches!(self, Self::KilledBefore | Self::KilledAfter)
    }

    /// Returns the rule that does it to a call.
    fn rule(self, at: &At) -> Rule {
        let rule = Rule::on(&at.name).skip(at.nth);
        match self {
            Self::Fails => rule.times(1).fail(500, "InternalFailure"),
            Self::FailsForGood => rule.fail(500, "InternalFailure"),
            Self::Lost => rule.times(1).lose(),
            Self::LostForGood => rule.lose(),
            Self::Throttled => rule.times(1).throttle(),
            Self::Half => rule.times(1).half(),
            Self::KilledBefore => rule.times(1).reset(),
            Self::KilledAfter => rule.times(1),
        }
    }
}

/// A call of a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// Such as `ec2:RunInstances`.
    pub name: String,
    /// How many of the same name came before.
    pub nth: usize,
    /// Whether it may change something.
    pub changes: bool,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} no. {}", self.name, self.nth + 1)
    }
}

/// Which way the disturbed run goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// `up`, then `up`, then `down`.
    Up,
    /// `up`, then `down` at once.
    UpDown,
    /// `down` of what is complete, then `down`.
    Down,
}

/// Returns the calls that can be told apart; of many that are alike the first and the last.
pub fn calls(log: &[Call]) -> Vec<At> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for call in log {
        *counts.entry(call.name()).or_default() += 1;
    }
    let mut all = Vec::new();
    for (name, count) in counts {
        let operation = name.split_once(':').map_or("", |(_, operation)| operation);
        let reads = ["Get", "Describe", "List"];
        let changes = !reads.iter().any(|read| operation.starts_with(read));
        for nth in 0..count {
            if count < 4 || nth == 0 || nth + 1 == count {
                let name = name.clone();
                all.push(At { name, nth, changes });
            }
        }
    }
    all
}

/// Disturbs each call of a run in one way.
fn sweep(way: Way, fault: Fault) {
    let Some(bench) = Bench::shared() else {
        return;
    };
    let began = Instant::now();
    let (made, log) = undisturbed(bench, way);
    let mut cases = calls(&log);
    assert!(cases.len() > 20, "{cases:?}");
    cases.retain(|at| at.changes || !(fault.needs_change() || way == Way::UpDown));
    let number = cases.len();
    let cases = Mutex::new(cases);
    let wrong: Mutex<Vec<String>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = cases.lock().expect("no panic").pop();
                    let Some(at) = next else { return };
                    if let Err(why) = case(bench, way, fault, &at, &made) {
                        wrong
                            .lock()
                            .expect("no panic")
                            .push(format!("{way:?} {fault:?} at {at}: {why}"));
                    }
                }
            });
        }
    });
    eprintln!("{way:?} {fault:?}: {number} cases in {:?}", began.elapsed());
    let wrong = wrong.into_inner().expect("no panic");
    assert!(
        wrong.is_empty(),
        "{} of {number} cases:\n\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
}

/// Returns what an undisturbed `up` makes, and the calls of the way.
fn undisturbed(bench: &Bench, way: Way) -> (Inventory, Vec<Call>) {
    let world = World::on(bench);
    let up = world.up(&[]);
    assert_eq!(up.code, 0, "{up}");
    let made = world.inventory();
    let first = world.account.calls();
    if way != Way::Down {
        return (made, first);
    }
    let down = world.down(&[]);
    assert_eq!(down.code, 0, "{down}");
    (made, world.account.calls().split_off(first.len()))
}

/// Takes one case; says what is wrong.
fn case(bench: &Bench, way: Way, fault: Fault, at: &At, made: &Inventory) -> Result<(), String> {
    let world = World::on(bench);
    if way == Way::Down {
        good(&world.up(&[]), "the first up")?;
    }
    let command = match way {
        Way::Up | Way::UpDown => world.up_command(&[]),
        Way::Down => world.down_command(&[]),
    };
    // The calls that came before are no business of the rule.
    let rule = fault.rule(at);
    let happened = Arc::new(AtomicBool::new(false));
    let disturbed = if fault.kills() {
        let ran = world.killed(command, rule);
        happened.store(ran.code == -1, Ordering::Relaxed);
        ran
    } else {
        let happened = Arc::clone(&happened);
        world
            .account
            .rule(rule.and_then(move |_: &Call| happened.store(true, Ordering::Relaxed)));
        world.start(command).ended()
    };
    // A look that is repeated until something has come may be made less often; a change is made each time.
    if at.changes && !happened.load(Ordering::Relaxed) {
        return Err(format!("the fault never happened: {disturbed}"));
    }
    if !fault.kills() {
        honest(&disturbed)?;
    }
    world.account.heal();
    if way == Way::Up {
        good(&world.up(&[]), "up after it")?;
        same(&world.inventory(), made)?;
        let launched = world.launched();
        let one = matches!(launched.as_slice(), [(_, state)] if state == "running");
        if !one {
            return Err(format!("instances: {launched:?}"));
        }
    }
    good(&world.down(&[]), "down after it")?;
    empty(&world.inventory())
}

/// The run did as asked.
pub fn good(ran: &Ran, what: &str) -> Result<(), String> {
    if ran.code == 0 {
        Ok(())
    } else {
        Err(format!("{what}: {ran}"))
    }
}

/// The run did as asked, or says what is left and what to do next.
pub fn honest(ran: &Ran) -> Result<(), String> {
    let panics = ran.stderr.contains("panicked");
    let next = ran.stderr.contains("dataops-infra ")
        || ran.stderr.contains("run the command again")
        || ran.stderr.contains("sign in (");
    let says = [
        "made and left",
        "nothing was",
        "could not read",
        "still there",
        "unknown, because",
    ];
    let left = says.iter().any(|text| ran.stderr.contains(text));
    match ran.code {
        0 if !panics => Ok(()),
        1 | 5 if !panics && next && left => Ok(()),
        _ => Err(format!("does not end well or not with a next step: {ran}")),
    }
}

/// Both are the same, else the lines that differ.
pub fn same(is: &Inventory, should: &Inventory) -> Result<(), String> {
    let mut differences = Vec::new();
    for (kind, lines) in should {
        let there = &is[kind];
        differences.extend(
            lines
                .iter()
                .filter(|line| !there.contains(line))
                .map(|line| format!("misses {kind}: {line}")),
        );
        differences.extend(
            there
                .iter()
                .filter(|line| !lines.contains(line))
                .map(|line| format!("has {kind}: {line}")),
        );
        if lines.len() != there.len() {
            differences.push(format!("{} {kind} instead of {}", there.len(), lines.len()));
        }
    }
    if differences.is_empty() {
        Ok(())
    } else {
        Err(differences.join("\n"))
    }
}

/// Nothing is there.
pub fn empty(is: &Inventory) -> Result<(), String> {
    let left: Vec<&String> = is.values().flatten().collect();
    if left.is_empty() {
        Ok(())
    } else {
        Err(format!("left: {left:#?}"))
    }
}

macro_rules! sweeps {
    ($($name:ident: $way:ident $fault:ident;)*) => {
        $(#[test]
        fn $name() {
            sweep(Way::$way, Fault::$fault);
        })*
    };
}

sweeps! {
    up_where_a_call_fails: Up Fails;
    up_where_a_call_fails_for_good: Up FailsForGood;
    up_where_an_answer_is_lost: Up Lost;
    up_where_answers_are_lost_for_good: Up LostForGood;
    up_where_a_call_is_throttled: Up Throttled;
    up_where_an_answer_ends_in_the_middle: Up Half;
    up_killed_before_a_call: Up KilledBefore;
    up_killed_after_a_call: Up KilledAfter;
    up_that_failed_is_removed: UpDown FailsForGood;
    up_that_heard_nothing_is_removed: UpDown LostForGood;
    up_that_was_killed_is_removed: UpDown KilledAfter;
    down_where_a_call_fails: Down Fails;
    down_where_a_call_fails_for_good: Down FailsForGood;
    down_where_an_answer_is_lost: Down Lost;
    down_where_answers_are_lost_for_good: Down LostForGood;
    down_where_a_call_is_throttled: Down Throttled;
    down_where_an_answer_ends_in_the_middle: Down Half;
    down_killed_before_a_call: Down KilledBefore;
    down_killed_after_a_call: Down KilledAfter;
}
