//! `up eks` and `down` where calls to AWS, calls to the cluster, or runs of Helm go wrong.
//!
//! Each time: the run succeeds, or it ends with an exit code that is documented and names the call and the cause; the next run reaches
//! a clean end with nothing doubled; and `down` leaves nothing, neither on AWS nor in the cluster.

mod aws;
mod cluster;
mod helm;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::eks::Ground;
use super::sweep::empty;
use super::world::Ran;

/// Which way the disturbed run goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

impl Way {
    fn run(self, ground: &Ground) -> Ran {
        match self {
            Self::Up => ground.up(&[]),
            Self::Down => ground.down(&["--delete-storage"]),
        }
    }
}

/// What an account holds, without names and numbers: what is doubled or missing shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape(BTreeMap<&'static str, Vec<String>>);

impl Shape {
    /// Takes it of what stands now.
    pub fn of(ground: &Ground) -> Self {
        let inventory = ground.world.inventory();
        let shaped = inventory.into_iter().map(|(kind, things)| {
            let mut things: Vec<String> = things
                .iter()
                .map(|thing| bare(serde_json::from_str(thing).unwrap_or_default()).to_string())
                .collect();
            things.sort();
            (kind, things)
        });
        Self(shaped.collect())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, things) in &self.0 {
            things
                .iter()
                .try_for_each(|thing| writeln!(f, "{kind}: {thing}"))?;
        }
        Ok(())
    }
}

/// Returns a value without what is in it, but with its form.
fn bare(value: Value) -> Value {
    match value {
        // How often something was tried says nothing of what there is.
        Value::Object(members) => members
            .into_iter()
            .filter(|(name, _)| name != "launches")
            .map(|(name, value)| (name, bare(value)))
            .collect(),
        Value::Array(values) => values.into_iter().map(bare).collect(),
        _ => Value::Null,
    }
}

/// Returns how a run ended, without the document that it printed.
pub fn brief(ran: &Ran) -> String {
    format!("exit {} after {:?}\n{}", ran.code, ran.took, ran.stderr)
}

/// The run did as asked.
fn good(ran: &Ran, what: &str) -> Result<(), String> {
    if ran.code == 0 {
        Ok(())
    } else {
        Err(format!("{what}: {}", brief(ran)))
    }
}

/// The run made what there shall be, once, and the runner is online.
pub fn stands(ground: &Ground, up: &Ran, made: Option<&Shape>) -> Result<(), String> {
    good(up, "up")?;
    if up.json["status"] != "online" && up.json["status"] != "unchanged" {
        return Err(format!("not online: {}", brief(up)));
    }
    let Some(made) = made else {
        return Ok(());
    };
    let is = Shape::of(ground);
    if is == *made {
        Ok(())
    } else {
        Err(format!("not as without a fault\n{is}\nbut should be\n{made}"))
    }
}

/// `down` goes well and leaves nothing on AWS, in the cluster and on the platform.
pub fn gone(ground: &Ground) -> Result<(), String> {
    let down = ground.down(&["--delete-storage"]);
    good(&down, "down")?;
    nothing_left(ground).map_err(|why| format!("{why}\n{}", brief(&down)))
}

/// Nothing is there.
fn nothing_left(ground: &Ground) -> Result<(), String> {
    empty(&ground.world.inventory())?;
    let inside = ground.inside();
    if !inside.is_empty() {
        return Err(format!("left in the cluster: {inside:#?}"));
    }
    Ok(())
}

/// The run did as asked, or ends with a documented code, a next step, and words that name the call and the cause.
fn honest(ran: &Ran, call: &str, causes: &[&str]) -> Result<(), String> {
    if ran.stderr.contains("panicked") {
        return Err(format!("panics: {}", brief(ran)));
    }
    match ran.code {
        0 => Ok(()),
        1 | 3 | 5 => {
            let next = ran.stderr.contains("hint:") || ran.stderr.contains("dataops-infra ");
            let cause = causes.iter().any(|cause| ran.stderr.contains(cause));
            if next && cause && ran.stderr.contains(call) {
                Ok(())
            } else {
                Err(format!(
                    "does not name {call}, one of {causes:?} and a next step: {}",
                    brief(ran)
                ))
            }
        }
        _ => Err(format!("ends with an undocumented code: {}", brief(ran))),
    }
}
