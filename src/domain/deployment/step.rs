//! The steps of a change, in an order in which they can be taken.

use serde::Serialize;

use super::change::Difference;
use super::eks::operation::{ClusterOperation, EksOperation};
use super::operation::Operation;

/// What a step does to its resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It is made.
    Create,
    /// It is changed.
    Update,
    /// It is removed.
    Delete,
    /// It is left, as data.
    Keep,
    /// Somebody waits for it.
    Wait,
}

impl Action {
    /// Returns the word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Keep => "keep",
            Self::Wait => "wait",
        }
    }
}

/// One step; those that do not name each other in `after` can run at the same time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// Address of the resource within the deployment; no two steps have the same.
    pub address: String,
    /// Kind of resource, as AWS names it.
    pub kind: &'static str,
    /// What is done.
    pub action: Action,
    /// Why.
    pub reason: String,
    /// Fields that change.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// What is tried in which order where AWS has no capacity.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<String>,
    /// Addresses of steps that come first.
    pub after: Vec<String>,
    /// How.
    #[serde(skip)]
    pub does: Operation,
}

/// Steps while they are put together.
#[derive(Debug, Default)]
pub struct Steps(Vec<Step>);

impl Steps {
    /// Adds a step; of `after` those count that are steps themselves.
    pub fn add(
        &mut self,
        address: impl Into<String>,
        kind: &'static str,
        action: Action,
        reason: impl Into<String>,
        after: &[&str],
        does: Operation,
    ) -> &mut Step {
        let after = after
            .iter()
            .filter(|address| self.0.iter().any(|step| step.address == **address))
            .map(|address| (*address).to_owned())
            .collect();
        self.0.push(Step {
            address: address.into(),
            kind,
            action,
            reason: reason.into(),
            differences: Vec::new(),
            fallbacks: Vec::new(),
            after,
            does,
        });
        let last = self.0.len() - 1;
        &mut self.0[last]
    }

    /// Adds a step of EKS.
    pub fn eks(
        &mut self,
        address: impl Into<String>,
        kind: &'static str,
        action: Action,
        reason: impl Into<String>,
        after: &[&str],
        does: EksOperation,
    ) {
        let does = Operation::Eks(Box::new(does));
        self.add(address, kind, action, reason, after, does);
    }

    /// Adds a step in a cluster.
    pub fn within(
        &mut self,
        address: impl Into<String>,
        kind: &'static str,
        action: Action,
        reason: impl Into<String>,
        after: &[&str],
        does: ClusterOperation,
    ) {
        let does = Operation::Cluster(Box::new(does));
        self.add(address, kind, action, reason, after, does);
    }

    /// Whether there is a step at an address.
    pub fn has(&self, address: &str) -> bool {
        self.0.iter().any(|step| step.address == address)
    }

    /// Returns the addresses so far for which this holds.
    pub fn addresses(&self, fits: impl Fn(&Step) -> bool) -> Vec<String> {
        self.0
            .iter()
            .filter(|step| fits(step))
            .map(|step| step.address.clone())
            .collect()
    }

    /// Returns the differences of the step at an address, to add to; of the last step if there is none.
    pub fn differences_of(&mut self, address: &str) -> &mut Vec<Difference> {
        let last = self.0.len().saturating_sub(1);
        let at = self
            .0
            .iter()
            .position(|step| step.address == address)
            .unwrap_or(last);
        &mut self.0[at].differences
    }

    /// Returns the steps.
    pub fn done(self) -> Vec<Step> {
        self.0
    }
}

/// Something in the way: AWS was not changed, and is not to be before it is cleared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Block {
    /// Address within the deployment.
    pub address: String,
    /// What it is in AWS.
    pub what: String,
    /// Why it is in the way.
    pub why: String,
}
