//! Calls to the API server, of the program and of its Helm, that fail, are refused, are slow, or whose answer is lost.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Shape, Way, brief, gone, good, honest, nothing_left, stands};
use crate::bench::kubernetes::Platform;
use crate::deploy::cases::{chosen, each};
use crate::deploy::eks::Ground;
use crate::deploy::sweep::empty;
use crate::deploy::world::Ran;

/// Cases at the same time.
const AT_ONCE: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The server fails before it does anything, once.
    Fails,
    /// What stands before the server says that there is none, once.
    Away,
    /// There were too many calls, once; it says when to come again.
    Throttled,
    /// The connection ends before anything is done, once.
    Reset,
    /// It is done, and the connection ends, once.
    Lost,
    /// It is done after three seconds, once.
    Slow,
    /// The caller may not do it.
    Denied,
}

impl Fault {
    const ALL: [Self; 7] = [
        Self::Fails,
        Self::Away,
        Self::Throttled,
        Self::Reset,
        Self::Lost,
        Self::Slow,
        Self::Denied,
    ];

    /// Whether it tells more of a call than others do: what only reads was not carried out, however it failed.
    fn tells(self, call: &str) -> bool {
        !call.contains(" GET ") || matches!(self, Self::Fails | Self::Reset | Self::Denied)
    }

    fn rule(self, call: &str) -> Value {
        let mut rule = match self {
            Self::Fails => json!({ "status": 500, "reason": "InternalError" }),
            Self::Away => json!({ "status": 503 }),
            Self::Throttled => json!({ "status": 429, "reason": "TooManyRequests", "retry_after": 1 }),
            Self::Reset => json!({ "reset": true }),
            Self::Lost => json!({ "lose": true }),
            Self::Slow => json!({ "seconds": 3 }),
            Self::Denied => json!({ "status": 403, "reason": "Forbidden" }),
        };
        rule["call"] = call.into();
        if self != Self::Denied {
            rule["times"] = 1.into();
        }
        rule
    }

    /// Words of which one names the cause: ours, and those of Helm.
    fn causes(self) -> &'static [&'static str] {
        match self {
            Self::Fails | Self::Throttled => &["said the bench", "does not answer"],
            Self::Away => &[
                "said the bench",
                "does not answer",
                "unable to handle the request",
            ],
            Self::Reset | Self::Lost => &["does not answer", "EOF", "reset by peer", "connection"],
            Self::Slow => &[],
            // What Helm says where it may not read which kinds there are.
            Self::Denied => &[
                "not permitted",
                "said the bench",
                "could not find the requested resource",
            ],
        }
    }
}

struct Case {
    way: Way,
    fault: Fault,
    call: String,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?} {}", self.way, self.fault, self.call)
    }
}

/// What runs without a fault make, and the kinds of calls of each.
struct Reference {
    made: Shape,
    up: BTreeSet<String>,
    down: BTreeSet<String>,
}

impl Reference {
    fn take(platform: &Arc<Platform>) -> Option<Self> {
        let ground = opened("undisturbed", platform)?;
        let up = ground.up(&[]);
        assert_eq!(up.code, 0, "{up}");
        let made = Shape::of(&ground);
        let log = ground.front.as_ref().expect("a front").calls();
        gone(&ground).unwrap_or_else(|why| panic!("undisturbed: {why}"));
        let down = ground
            .front
            .as_ref()
            .expect("a front")
            .calls()
            .split_off(log.len());
        Some(Self {
            made,
            up: log.into_iter().collect(),
            down: down.into_iter().collect(),
        })
    }

    fn of(&self, way: Way) -> &BTreeSet<String> {
        match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        }
    }
}

fn opened(name: &str, platform: &Arc<Platform>) -> Option<Ground> {
    let mut ground = Ground::beside(name, platform)?;
    ground.through_front();
    Some(ground)
}

/// Whether a call of the program itself changes something.
fn is_change(call: &str) -> bool {
    call.starts_with("ours ") && !call.starts_with("ours GET")
}

/// Says what is left of a deployment whose cluster is gone on AWS, where nobody could look into it: all of it went with the cluster,
/// which the bench's API server outlives.
fn given_up(ground: &Ground, down: &Ran) -> Result<(), String> {
    empty(&ground.world.inventory())?;
    let left = !ground.inside().is_empty();
    if left && !format!("{}{}", down.stdout, down.stderr).contains("cannot be looked into") {
        return Err(format!(
            "left in the cluster without a word: {:#?}\n{down}",
            ground.inside()
        ));
    }
    ground.clear();
    Ok(())
}

fn case(ground: &Ground, case: &Case, made: &Shape) -> Result<(), String> {
    let Case { way, fault, call } = case;
    let front = ground.front.as_ref().expect("a front");
    if *way == Way::Down {
        stands(ground, &ground.up(&[]), Some(made))?;
    }
    front.rule(&fault.rule(call));
    let disturbed = way.run(ground);
    if front.hits() == [0] {
        return Err(format!("the fault never happened: {}", brief(&disturbed)));
    }
    let who = if call.starts_with("helm") {
        "Helm"
    } else {
        "kubernetes:"
    };
    honest(&disturbed, who, fault.causes())?;
    if call.starts_with("ours GET") && *fault != Fault::Denied {
        // What only reads is asked again: nobody notices.
        good(&disturbed, "a question without an answer")?;
    }
    front.heal();
    match way {
        Way::Up => stands(ground, &ground.up(&[]), Some(made))?,
        Way::Down if disturbed.code == 0 => return given_up(ground, &disturbed),
        Way::Down => {}
    }
    gone(ground)
}

/// Each kind of call, disturbed once in each way.
fn sweep(way: Way, sample: &[(Fault, &str)]) {
    let Some(platform) = Platform::start().map(Arc::new) else {
        return;
    };
    let Some(reference) = Reference::take(&platform) else {
        return;
    };
    let mut all = Vec::new();
    for call in reference.of(way) {
        let faults = Fault::ALL.into_iter().filter(|fault| fault.tells(call));
        all.extend(faults.map(|fault| Case {
            way,
            fault,
            call: call.clone(),
        }));
    }
    assert!(all.len() > 70, "{:?}", reference.of(way));
    let in_sample = |case: &Case| {
        let mut sample = sample.iter();
        sample.any(|(fault, call)| case.fault == *fault && case.call == *call)
    };
    assert_eq!(
        all.iter().filter(|case| in_sample(case)).count(),
        sample.len(),
        "{:?}",
        reference.of(way)
    );
    let cases = chosen(all, in_sample);
    each(
        &format!("calls of the cluster, {way:?}"),
        cases,
        AT_ONCE,
        |nth, one| {
            let ground = opened(&format!("shaken-{nth}-{way:?}").to_lowercase(), &platform)
                .ok_or("there is no bench")?;
            case(&ground, one, &reference.made)
        },
    );
}

#[test]
fn up_on_eks_where_a_call_of_the_cluster_goes_wrong() {
    sweep(
        Way::Up,
        &[
            (Fault::Denied, "ours PATCH namespaces/"),
            (Fault::Lost, "ours PATCH secrets/"),
            (Fault::Fails, "helm POST secrets"),
            (Fault::Reset, "helm POST deployments"),
        ],
    );
}

#[test]
fn down_on_eks_where_a_call_of_the_cluster_goes_wrong() {
    sweep(
        Way::Down,
        &[
            (Fault::Denied, "ours DELETE namespaces/"),
            (Fault::Reset, "ours GET secrets"),
            (Fault::Lost, "ours DELETE persistentvolumeclaims/"),
            (Fault::Fails, "helm DELETE deployments/"),
        ],
    );
}

/// Every call of ours that changes something goes wrong once, in one run: the run mends all of it by itself.
#[test]
fn what_goes_wrong_once_in_the_cluster_is_mended_within_the_run() {
    let Some(platform) = Platform::start().map(Arc::new) else {
        return;
    };
    let Some(reference) = Reference::take(&platform) else {
        return;
    };
    let mut faults = Fault::ALL.map(Once).to_vec();
    faults.retain(|Once(fault)| *fault != Fault::Denied);
    each(
        "calls of the cluster, all",
        faults,
        AT_ONCE,
        |nth, Once(fault)| {
            let ground = opened(&format!("unlucky-{nth}"), &platform).ok_or("there is no bench")?;
            let front = ground.front.as_ref().expect("a front");
            for way in [Way::Up, Way::Down] {
                let calls = reference.of(way).iter().filter(|call| is_change(call));
                let number = calls.clone().count();
                calls.for_each(|call| front.rule(&fault.rule(call)));
                let ran = way.run(&ground);
                good(&ran, &format!("{way:?}"))?;
                if front.hits() != vec![1; number] {
                    return Err(format!("{:?} of {number} faults happened: {ran}", front.hits()));
                }
                front.heal();
                if way == Way::Up {
                    stands(&ground, &ran, Some(&reference.made))?;
                }
            }
            nothing_left(&ground)
        },
    );
}

/// A fault that happens to every call once.
#[derive(Clone, Copy)]
struct Once(Fault);

impl fmt::Display for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}
