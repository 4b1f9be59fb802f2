//! Calls to AWS that are throttled, fail, are refused, or whose answer is lost.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Shape, Way, brief, gone, good, honest, nothing_left, stands};
use crate::bench::call::Call;
use crate::bench::kubernetes::Platform;
use crate::bench::rule::Rule;
use crate::deploy::cases::{chosen, each};
use crate::deploy::eks::Ground;
use crate::deploy::sweep::{At, calls};

/// Cases at the same time.
const AT_ONCE: usize = 3;

/// Services whose calls are those of a cluster and what belongs to it.
const SERVICES: [&str; 5] = ["eks", "elasticfilesystem", "iam", "ec2", "logs"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// There were too many calls, once.
    Throttled,
    /// The server fails before it does anything, once.
    Fails,
    /// It is done, and the answer is lost, once.
    Lost,
    /// The caller may not do it.
    Denied,
}

impl Fault {
    const ALL: [Self; 4] = [Self::Throttled, Self::Fails, Self::Lost, Self::Denied];

    fn rule(self, at: &At) -> Rule {
        let rule = Rule::on(&at.name).skip(at.nth);
        match self {
            Self::Throttled => rule.times(1).throttle(),
            Self::Fails => rule.times(1).fail(500, "InternalFailure"),
            Self::Lost => rule.times(1).lose(),
            Self::Denied => rule.deny(),
        }
    }

    /// Words of which one names the cause.
    fn causes(self) -> &'static [&'static str] {
        match self {
            Self::Throttled => &["hrottl", "TooManyRequests", "RequestLimitExceeded"],
            Self::Fails => &["InternalFailure"],
            Self::Lost => &["does not answer"],
            Self::Denied => &["not permitted"],
        }
    }
}

struct Case {
    way: Way,
    fault: Fault,
    at: At,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?} {}", self.way, self.fault, self.at)
    }
}

/// What runs without a fault make and call.
struct Reference {
    made: Shape,
    up: Vec<At>,
    down: Vec<At>,
}

impl Reference {
    fn take(ground: &Ground) -> Self {
        let up = ground.up(&[]);
        assert_eq!(up.code, 0, "{up}");
        let made = Shape::of(ground);
        let log = ground.world.account.calls();
        gone(ground).unwrap_or_else(|why| panic!("undisturbed: {why}"));
        let after = ground.world.account.calls().split_off(log.len());
        let ours = |log: &[Call]| {
            let mut calls = calls(log);
            calls.retain(|at| {
                SERVICES
                    .iter()
                    .any(|service| at.name.starts_with(&format!("{service}:")))
            });
            calls
        };
        Self {
            made,
            up: ours(&log),
            down: ours(&after),
        }
    }

    fn of(&self, way: Way) -> &[At] {
        match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        }
    }
}

fn case(ground: &Ground, case: &Case, made: &Shape) -> Result<(), String> {
    let Case { way, fault, at } = case;
    if *way == Way::Down {
        stands(ground, &ground.up(&[]), Some(made))?;
    }
    let hits = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&hits);
    ground
        .world
        .account
        .rule(fault.rule(at).and_then(move |_: &Call| {
            count.fetch_add(1, Ordering::Relaxed);
        }));
    let disturbed = way.run(ground);
    if hits.load(Ordering::Relaxed) == 0 {
        return Err(format!("the fault never happened: {}", brief(&disturbed)));
    }
    honest(&disturbed, &at.name, fault.causes())?;
    ground.world.account.heal();
    if *way == Way::Up {
        stands(ground, &ground.up(&[]), Some(made))?;
    }
    gone(ground)
}

/// Each kind of call, disturbed once in each way. The sample takes each kind of fault a few times.
fn sweep(way: Way, sample: &[(Fault, &str)]) {
    let Some(platform) = Platform::start().map(Arc::new) else {
        return;
    };
    let Some(ground) = Ground::beside("undisturbed", &platform) else {
        return;
    };
    let reference = Reference::take(&ground);
    let first = reference.of(way).iter().filter(|at| at.nth == 0);
    let all: Vec<Case> = first
        .flat_map(|at| {
            Fault::ALL.map(|fault| Case {
                way,
                fault,
                at: at.clone(),
            })
        })
        .collect();
    assert!(all.len() > 80, "{}", all.len());
    let cases = chosen(all, |case| {
        sample
            .iter()
            .any(|(fault, name)| case.fault == *fault && case.at.name == *name)
    });
    each(&format!("calls of AWS, {way:?}"), cases, AT_ONCE, |nth, one| {
        let name = format!("faulty-{nth}-{way:?}").to_lowercase();
        let ground = Ground::beside(&name, &platform).ok_or("there is no bench")?;
        case(&ground, one, &reference.made)
    });
}

#[test]
fn up_on_eks_where_a_call_of_aws_goes_wrong() {
    sweep(
        Way::Up,
        &[
            (Fault::Lost, "eks:CreateCluster"),
            (Fault::Denied, "eks:CreateNodegroup"),
            (Fault::Fails, "elasticfilesystem:CreateFileSystem"),
            (Fault::Throttled, "ec2:CreateLaunchTemplate"),
        ],
    );
}

#[test]
fn down_on_eks_where_a_call_of_aws_goes_wrong() {
    sweep(
        Way::Down,
        &[
            (Fault::Lost, "eks:DeleteCluster"),
            (Fault::Denied, "eks:DeleteNodegroup"),
            (Fault::Fails, "elasticfilesystem:DeleteFileSystem"),
        ],
    );
}

/// Every call that changes something goes wrong once, in one run: the run mends all of it by itself.
#[test]
fn what_goes_wrong_once_on_aws_is_mended_within_the_run() {
    let Some(platform) = Platform::start().map(Arc::new) else {
        return;
    };
    let Some(ground) = Ground::beside("undisturbed", &platform) else {
        return;
    };
    let reference = Reference::take(&ground);
    let faults = vec![Once(Fault::Throttled), Once(Fault::Fails), Once(Fault::Lost)];
    each("calls of AWS, all", faults, AT_ONCE, |nth, Once(fault)| {
        let ground = Ground::beside(&format!("unlucky-{nth}"), &platform).ok_or("there is no bench")?;
        for way in [Way::Up, Way::Down] {
            let first = reference.of(way).iter().filter(|at| at.changes && at.nth == 0);
            let hits = Arc::new(AtomicUsize::new(0));
            for at in first.clone() {
                let count = Arc::clone(&hits);
                let rule = fault.rule(at).and_then(move |_: &Call| {
                    count.fetch_add(1, Ordering::Relaxed);
                });
                ground.world.account.rule(rule);
            }
            let ran = way.run(&ground);
            good(&ran, &format!("{way:?}"))?;
            let (hits, number) = (hits.load(Ordering::Relaxed), first.count());
            if hits != number {
                return Err(format!("{hits} of {number} faults happened: {}", brief(&ran)));
            }
            ground.world.account.heal();
            if way == Way::Up {
                stands(&ground, &ran, Some(&reference.made))?;
            }
        }
        nothing_left(&ground)
    });
}

/// A fault that happens to every call once.
struct Once(Fault);

impl fmt::Display for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}
