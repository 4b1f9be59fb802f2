//! Another version of Kubernetes, another image or another disk for nodes that are there: the steps of `upgrade` on EKS.
//!
//! The control plane goes first, then the add-ons, then the nodes; EKS replaces these one after the other. It asks their pods to go
//! and knows nothing of jobs: it gives pods 15 minutes and fails then, and what of a job's pod is evicted has failed
//! (<https://docs.aws.amazon.com/eks/latest/userguide/managed-node-update-behavior.html>). What protects job pods from an autoscaler
//! does not protect them from this. So the runner finishes its jobs first, and comes back when all nodes are new.
//!
//! The record says that it was begun (`pending`) until all of it is done: whatever is interrupted goes on with the next run.

use super::eks::Scene;
use super::{Climb, Upgrade};
use crate::domain::deployment::change::Difference;
use crate::domain::deployment::eks::nodes::template_digest;
use crate::domain::deployment::eks::observed::{Cluster, LaunchTemplate, NodeGroup};
use crate::domain::deployment::eks::operation::{ClusterOperation, EksOperation};
use crate::domain::deployment::eks::spec::{Autoscaler, Eks};
use crate::domain::deployment::eks::upgrade::{compared, goal, is_begun, is_older};
use crate::domain::deployment::operation::Operation;
use crate::domain::deployment::owner::Tags;
use crate::domain::deployment::spec::Spec;
use crate::domain::deployment::step::Action;
use crate::domain::lifecycle::script::Ending;

/// How long jobs may take where a run goes on with what another one began.
const USUAL: Upgrade = Upgrade {
    ending: Ending::Within(3600),
    force: false,
};

/// Returns in what nodes differ that only other nodes have.
fn outdated(group: &NodeGroup, template: Option<&LaunchTemplate>, spec: &Spec, eks: &Eks) -> Vec<Difference> {
    let mut differences = Vec::new();
    if is_older(&group.version, &eks.version) {
        differences.push(Difference::new("version", &group.version, &eks.version));
    }
    if let Some(release) = &eks.release
        && compared(&group.release_version, release).is_lt()
    {
        differences.push(Difference::new("releaseVersion", &group.release_version, release));
    }
    if let Some(template) = template {
        if template.digest != template_digest(spec) {
            let should = format!("{} GiB gp3", spec.disk.gib);
            differences.push(Difference::new("disk of nodes", "another", should));
        } else if let Some(version) = group.template_version
            && version != template.version
        {
            differences.push(Difference::new(
                "launchTemplate version",
                version,
                template.version,
            ));
        }
    }
    differences
}

impl Climb<'_> {
    /// Sets down in the record that nodes are changed, where that is asked for and there is something to change.
    pub(super) fn begin_nodes(&mut self) {
        let (Some(_), None, Some(eks)) = (
            self.wanted.upgrade,
            &self.record.pending,
            self.record.spec.eks.as_deref(),
        ) else {
            return;
        };
        let Some(seen) = self.observed.eks.as_deref() else {
            return;
        };
        let cluster = seen.cluster.as_ref().map(|cluster| &cluster.it);
        let kubernetes = cluster.is_some_and(|cluster| is_behind(cluster, eks));
        let nodes = match &seen.node_group {
            Some(group) if eks.autoscaler != Autoscaler::Cluster => {
                let template = seen.launch_template.as_ref().map(|template| &template.it);
                !outdated(&group.it, template, &self.record.spec, eks).is_empty()
            }
            _ => false,
        };
        if kubernetes || nodes {
            self.record.pending = Some(goal(&self.record.spec));
        }
    }

    /// Whether nodes are being changed.
    pub(super) fn changes_nodes(&self) -> bool {
        is_begun(&self.record)
    }

    /// Whether the control plane goes up a version.
    pub(super) fn goes_up(&self, eks: &Eks, cluster: &Cluster) -> bool {
        self.changes_nodes() && is_behind(cluster, eks)
    }

    /// Whether the node group that is there is to be rolled.
    pub(super) fn rolls(&self, scene: &Scene) -> bool {
        let Some(group) = &scene.seen.node_group else {
            return false;
        };
        let template = scene.seen.launch_template.as_ref().map(|template| &template.it);
        self.changes_nodes()
            && matches!(group.it.status.as_str(), "ACTIVE" | "DEGRADED" | "UPDATING")
            && !outdated(&group.it, template, &self.record.spec, &scene.eks).is_empty()
    }

    /// Adds the upgrade of the control plane; what needs it waits for the step that waits for it.
    pub(super) fn control_plane(&mut self, eks: &Eks, it: &Cluster) {
        if it.status != "ACTIVE" {
            self.steps.eks(
                "cluster-settled",
                "eks:cluster",
                Action::Wait,
                "until AWS has finished what it is at",
                &["record"],
                EksOperation::WaitCluster,
            );
        }
        self.steps.eks(
            "cluster-version",
            "eks:cluster",
            Action::Update,
            "the control plane goes up a version; what runs in the cluster goes on",
            &["record", "cluster-settled"],
            EksOperation::UpdateVersion {
                version: eks.version.clone(),
                force: self.wanted.upgrade.unwrap_or(USUAL).force,
            },
        );
        let difference = Difference::new("Kubernetes version", &it.version, &eks.version);
        self.steps.differences_of("cluster-version").push(difference);
    }

    /// Adds the launch template's next version.
    pub(super) fn next_template(&mut self, template: &LaunchTemplate, tags: Tags, digest: String) {
        self.steps.eks(
            "launch-template-version",
            "ec2:launch-template",
            Action::Create,
            format!("{} GiB gp3, encrypted, IMDSv2", self.record.spec.disk.gib),
            &["record"],
            EksOperation::NewTemplateVersion {
                template: template.id.clone(),
                tags,
                digest,
            },
        );
    }

    /// Adds what replaces the nodes.
    pub(super) fn roll(&mut self, scene: &Scene, group: &NodeGroup) {
        if group.status == "UPDATING" {
            self.steps.eks(
                "nodes-settled",
                "eks:nodegroup",
                Action::Wait,
                "until AWS has finished what it is at",
                &["record"],
                EksOperation::WaitNodeGroup,
            );
        }
        let mut before = self
            .steps
            .addresses(|step| step.kind == "eks:addon" && step.action != Action::Delete);
        for address in [
            "record",
            "cluster-active",
            "launch-template-version",
            "nodes-scaling",
            "nodes-settled",
        ] {
            before.push(address.to_owned());
        }
        let refs: Vec<&str> = before.iter().map(String::as_str).collect();
        if scene.inside.release.is_some() {
            let (reason, does) = match self.wanted.upgrade.unwrap_or(USUAL).ending {
                Ending::Now => ("running jobs are aborted".to_owned(), ClusterOperation::Abort),
                Ending::Within(seconds) => (
                    format!(
                        "jobs finish, {} minutes at most; EKS would not wait for them",
                        seconds / 60
                    ),
                    ClusterOperation::Drain { seconds },
                ),
            };
            self.steps
                .within(DRAIN, "runner", Action::Update, reason, &refs, does);
        }
        let template = scene.seen.launch_template.as_ref().map(|template| &template.it);
        let differences = outdated(group, template, &self.record.spec, &scene.eks);
        let differs = |field: &str| differences.iter().any(|difference| difference.field == field);
        let (version, release) = (differs("version"), differs("releaseVersion"));
        let mut after = refs;
        after.push(DRAIN);
        self.steps.eks(
            "nodes-replaced",
            "eks:nodegroup",
            Action::Update,
            "EKS replaces the nodes, one after the other",
            &after,
            EksOperation::UpdateNodeGroup {
                version: version.then(|| scene.eks.version.clone()),
                release: scene.eks.release.clone().filter(|_| version || release),
            },
        );
        self.steps.differences_of("nodes-replaced").extend(differences);
        self.wait_for_nodes(&["nodes-replaced"]);
    }

    /// Adds the return of the runner, after the nodes and before everything that needs it.
    pub(super) fn return_runner(&mut self, scene: &Scene) {
        if !self.changes_nodes() || scene.inside.release.is_none() {
            return;
        }
        let before = self.steps.addresses(|step| step.kind.starts_with("eks:"));
        let mut after: Vec<&str> = before.iter().map(String::as_str).collect();
        after.extend(["record", DRAIN]);
        self.steps.within(
            RETURN,
            "kubernetes:deployment",
            Action::Update,
            "the runner takes jobs again",
            &after,
            ClusterOperation::Start,
        );
    }

    /// Adds what ends the change: the runner is waited for, and the record says that nothing is pending.
    pub(super) fn end_nodes(&mut self) {
        if !self.changes_nodes() {
            return;
        }
        if self.wanted.wait && self.steps.has(RETURN) && !self.steps.has("online") {
            self.steps.within(
                "online",
                "runner",
                Action::Wait,
                "until the runner is ready and has reached the platform",
                &["release", RETURN],
                ClusterOperation::WaitRunner,
            );
        }
        let before = self.steps.addresses(|step| step.address != "record");
        let mut after: Vec<&str> = before.iter().map(String::as_str).collect();
        after.push("record");
        self.steps.add(
            "record-settled",
            "ssm:parameter",
            Action::Update,
            "nothing is pending any more",
            &after,
            Operation::Settle,
        );
    }
}

/// Address of the step after which no job runs.
pub const DRAIN: &str = "runner-drain";
/// Address of the step that lets the runner come back.
pub const RETURN: &str = "runner-return";

fn is_behind(cluster: &Cluster, eks: &Eks) -> bool {
    !eks.adopted && is_older(&cluster.version, &eks.version)
}

#[cfg(test)]
#[path = "nodes_tests.rs"]
mod tests;
