//! The steps of `down` on EKS: jobs finish, the release goes, then what would keep a cluster or a VPC, the nodes, the cluster, roles.

use serde_json::Value;

use super::{Descent, Removal, Stays, stays};
use crate::domain::deployment::eks::name::labels;
use crate::domain::deployment::eks::objects;
use crate::domain::deployment::eks::observed::{Inside, Objects, ObservedEks};
use crate::domain::deployment::eks::operation::{ClusterOperation, EksOperation, Object};
use crate::domain::deployment::eks::spec::{Autoscaler, Eks};
use crate::domain::deployment::operation::Operation;
use crate::domain::deployment::owner::{KEPT, Owner};
use crate::domain::deployment::record::Record;
use crate::domain::deployment::step::{Action, Block, Steps};
use crate::domain::deployment::up::eks::log_groups;

/// The way down of a deployment on EKS, while it is put together.
struct Way<'a> {
    owner: Owner,
    record: &'a Record,
    eks: &'a Eks,
    seen: &'a ObservedEks,
    removal: &'a Removal,
    steps: &'a mut Steps,
    descent: &'a mut Descent,
}

/// Adds the steps.
pub(super) fn eks(
    record: &Record,
    eks: &Eks,
    seen: &ObservedEks,
    removal: &Removal,
    steps: &mut Steps,
    descent: &mut Descent,
) {
    let mut way = Way {
        owner: record.owner(),
        record,
        eks,
        seen,
        removal,
        steps,
        descent,
    };
    way.inside();
    way.nodes();
    way.cluster();
    way.file_system();
    way.roles();
    way.logs();
}

impl Way<'_> {
    /// Adds a step after all of those before that fit.
    fn after(&self, fits: &[&str]) -> Vec<String> {
        let mut after = self
            .steps
            .addresses(|step| fits.iter().any(|kind| step.kind.starts_with(kind)));
        after.push("removing".to_owned());
        after
    }

    /// Whether the cluster is ours and there.
    fn owns_cluster(&self) -> bool {
        let cluster = self.seen.cluster.as_ref();
        !self.eks.adopted && cluster.is_some_and(|cluster| self.owner.owns(&cluster.tags, "cluster"))
    }

    /// Whether there may be nodes for pods: a cluster that is going has none any more.
    fn jobs_may_run(&self) -> bool {
        let up = |status: &str| matches!(status, "ACTIVE" | "UPDATING");
        let cluster = self.seen.cluster.as_ref();
        let group = self.seen.node_group.as_ref();
        cluster.is_some_and(|cluster| up(&cluster.it.status))
            && (self.eks.autoscaler == Autoscaler::Cluster
                || group.is_some_and(|group| group.it.status != "DELETING"))
    }

    fn inside(&mut self) {
        match &self.seen.inside {
            Inside::Nothing => {}
            Inside::Read(objects) => {
                let objects = (**objects).clone();
                self.objects(&objects);
            }
            Inside::Unknown(why)
                if self.owns_cluster() && self.removal.drain_seconds.is_some() && self.jobs_may_run() =>
            {
                self.descent.blocks.push(Block {
                    address: "cluster".to_owned(),
                    what: format!("cluster {}", self.eks.cluster),
                    why: format!(
                        "cannot be looked into, so jobs that run there would be aborted and the runner stays registered \
                         (--no-drain removes it all the same): {why}"
                    ),
                });
            }
            // With a cluster of ours everything in it goes; in one of others it would stay.
            Inside::Unknown(why) if self.owns_cluster() => self.descent.stays.push(Stays {
                what: format!("the registration of {} on the platform", self.owner.name),
                why: format!(
                    "the cluster cannot be looked into ({why}), so nobody can unregister the runner; its owner can delete it \
                     there, and a load balancer that a service of yours had, if there was one"
                ),
            }),
            Inside::Unknown(why) => self.descent.blocks.push(Block {
                address: "cluster".to_owned(),
                what: format!("cluster {}", self.eks.cluster),
                why: format!("cannot be looked into, so what is ours in it would stay: {why}"),
            }),
        }
    }

    fn objects(&mut self, seen: &Objects) {
        let mut before = vec!["removing"];
        if seen.release.is_some() {
            if let (Some(seconds), false) = (self.removal.drain_seconds, seen.pods.is_empty()) {
                let reason = "jobs finish, then the runner is unregistered";
                // No pod ends within no time; who does not wait for jobs has them aborted.
                let drain = match seconds {
                    0 => ClusterOperation::Abort,
                    seconds => ClusterOperation::Drain { seconds },
                };
                self.steps
                    .within("drain", "runner", Action::Update, reason, &before, drain);
                before.push("drain");
            }
            let reason = "the vendor's chart";
            let uninstall = ClusterOperation::Uninstall;
            self.steps.within(
                "release",
                "helm:release",
                Action::Delete,
                reason,
                &before,
                uninstall,
            );
        }
        let owner = self.owner.clone();
        let (ours, others): (Vec<_>, Vec<_>) = seen
            .objects
            .iter()
            .partition(|(_, live)| objects::owns(&owner, live));
        for (address, live) in others {
            // A namespace of others was only used.
            if address != "namespace" {
                self.descent.stays.push(Stays {
                    what: format!("{} in the cluster", objects::told(live)),
                    why: "does not carry the labels of this deployment".to_owned(),
                });
            }
        }
        if ours.iter().any(|(address, _)| *address == "claim") {
            self.steps.within(
                "claims",
                "kubernetes:object",
                Action::Delete,
                "claims and their volumes, which would keep the namespace",
                &["removing", "release"],
                ClusterOperation::DeleteClaims,
            );
        }
        for (address, live) in &ours {
            if matches!(address.as_str(), "claim" | "namespace") {
                continue;
            }
            self.object(address, live, &["removing", "release", "claims"]);
        }
        if let Some((_, namespace)) = ours.iter().find(|(address, _)| *address == "namespace") {
            let after = self.after(&["kubernetes:", "helm:"]);
            let after: Vec<&str> = after.iter().map(String::as_str).collect();
            self.object("namespace", namespace, &after);
        }
        if self.owns_cluster() {
            self.steps.within(
                "load-balancers",
                "kubernetes:service",
                Action::Delete,
                "load balancers that services of the cluster have would stay and keep the VPC",
                &["removing", "release"],
                ClusterOperation::DeleteLoadBalancers,
            );
        }
    }

    fn object(&mut self, address: &str, live: &Value, after: &[&str]) {
        let mut metadata = serde_json::json!({ "name": live["metadata"]["name"] });
        if let Some(namespace) = live["metadata"]["namespace"].as_str() {
            metadata["namespace"] = namespace.into();
        }
        metadata["labels"] = serde_json::json!(labels(&self.owner));
        let object = Object {
            manifest: serde_json::json!({
                "apiVersion": live["apiVersion"],
                "kind": live["kind"],
                "metadata": metadata,
            }),
            filled: std::collections::BTreeMap::new(),
        };
        let reason = objects::told(live);
        let delete = ClusterOperation::Delete(object);
        self.steps.within(
            address,
            "kubernetes:object",
            Action::Delete,
            reason,
            after,
            delete,
        );
    }

    fn nodes(&mut self) {
        let inside = self.after(&["kubernetes:", "helm:"]);
        let inside: Vec<&str> = inside.iter().map(String::as_str).collect();
        if let Some(group) = &self.seen.node_group {
            if self.owner.owns(&group.tags, "nodes") {
                if group.it.status != "DELETING" {
                    let reason = format!("{} nodes", group.it.desired);
                    let delete = EksOperation::DeleteNodeGroup;
                    self.steps
                        .eks("nodes", "eks:nodegroup", Action::Delete, reason, &inside, delete);
                }
                self.steps.eks(
                    "nodes-gone",
                    "eks:nodegroup",
                    Action::Wait,
                    "until the nodes are terminated",
                    &["removing", "nodes"],
                    EksOperation::WaitNodeGroupGone,
                );
            } else {
                let what = format!("node group {}", self.owner.name.node_group());
                stays(self.descent, what, &group.tags);
            }
        }
        if let Some(template) = &self.seen.launch_template {
            if self.owner.owns(&template.tags, "launch-template") {
                let template = template.it.id.clone();
                self.steps.eks(
                    "launch-template",
                    "ec2:launch-template",
                    Action::Delete,
                    template.clone(),
                    &["removing", "nodes-gone"],
                    EksOperation::DeleteLaunchTemplate { template },
                );
            } else {
                let what = format!("launch template {}", self.owner.name.node_group());
                stays(self.descent, what, &template.tags);
            }
        }
    }

    /// What hangs on the cluster, and the cluster. In one of ours, add-ons, access entries and associations go with it.
    fn cluster(&mut self) {
        let Some(cluster) = &self.seen.cluster else {
            return;
        };
        if !self.owns_cluster() {
            self.ours_in_adopted();
            if !self.eks.adopted {
                let what = format!("cluster {}", self.eks.cluster);
                stays(self.descent, what, &cluster.tags);
            }
            return;
        }
        let ours = self.owner.name.node_group();
        let others: Vec<&String> = self
            .seen
            .others_in_cluster
            .iter()
            .filter(|name| **name != ours)
            .collect();
        if !others.is_empty() {
            let names: Vec<&str> = others.iter().map(|name| name.as_str()).collect();
            self.descent.blocks.push(Block {
                address: "cluster".to_owned(),
                what: format!("cluster {}", self.eks.cluster),
                why: format!(
                    "has node groups or Fargate profiles that others made: {}; remove them first, or keep the cluster",
                    names.join(", ")
                ),
            });
            return;
        }
        let after = self.after(&["kubernetes:", "helm:", "eks:"]);
        let after: Vec<&str> = after.iter().map(String::as_str).collect();
        if cluster.it.status != "DELETING" {
            self.steps.eks(
                "cluster",
                "eks:cluster",
                Action::Delete,
                format!("Kubernetes {}, with its add-ons", cluster.it.version),
                &after,
                EksOperation::DeleteCluster,
            );
        }
        self.steps.eks(
            "cluster-gone",
            "eks:cluster",
            Action::Wait,
            "until AWS has removed the control plane",
            &["removing", "cluster"],
            EksOperation::WaitClusterGone,
        );
    }

    /// Removes what we put into a cluster of others.
    fn ours_in_adopted(&mut self) {
        let after = self.after(&["kubernetes:", "helm:", "eks:nodegroup"]);
        let after: Vec<&str> = after.iter().map(String::as_str).collect();
        for (key, identity) in &self.seen.pod_identities {
            // Those of an add-on go with it.
            if identity.it.owner.is_some() {
                continue;
            }
            let id = identity.it.id.clone();
            self.steps.eks(
                format!("pod-identity-{}", key.replace('/', "-")),
                "eks:pod-identity-association",
                Action::Delete,
                format!("{key} takes its role no longer"),
                &after,
                EksOperation::DeletePodIdentity { id },
            );
        }
        for (name, addon) in &self.seen.addons {
            let address = format!("addon-{name}");
            if !self.owner.owns(&addon.tags, &address) {
                continue;
            }
            let mut after = after.clone();
            after.push("nodes-gone");
            if addon.it.status != "DELETING" {
                let delete = EksOperation::DeleteAddon { name: name.clone() };
                let reason = addon.it.version.clone();
                self.steps
                    .eks(&address, "eks:addon", Action::Delete, reason, &after, delete);
            }
            self.steps.eks(
                format!("{address}-gone"),
                "eks:addon",
                Action::Wait,
                "until it is gone",
                &["removing", &address],
                EksOperation::WaitAddonGone { name: name.clone() },
            );
        }
        for (principal, entry) in &self.seen.access_entries {
            let address = entry
                .tags
                .get(crate::domain::deployment::owner::ADDRESS)
                .cloned()
                .unwrap_or_default();
            if !address.starts_with("access-") || !self.owner.owns(&entry.tags, &address) {
                continue;
            }
            self.steps.eks(
                address,
                "eks:access-entry",
                Action::Delete,
                principal.clone(),
                &after,
                EksOperation::DeleteAccessEntry {
                    principal: principal.clone(),
                },
            );
        }
    }

    fn file_system(&mut self) {
        let after = self.after(&["kubernetes:", "helm:", "eks:nodegroup"]);
        let after: Vec<&str> = after.iter().map(String::as_str).collect();
        if let Some(found) = &self.seen.file_system {
            let id = found.it.id.clone();
            if self.owner.owns(&found.tags, "file-system") {
                for (zone, target) in &found.it.mount_targets {
                    if target.state == "deleting" {
                        continue;
                    }
                    self.steps.eks(
                        format!("mount-target-{zone}"),
                        "efs:mount-target",
                        Action::Delete,
                        format!("{} of {id}", target.id),
                        &after,
                        EksOperation::DeleteMountTarget {
                            id: target.id.clone(),
                        },
                    );
                }
                if !found.it.mount_targets.is_empty() {
                    let mut after = self.after(&["efs:"]);
                    after.push("nodes-gone".to_owned());
                    let after: Vec<&str> = after.iter().map(String::as_str).collect();
                    let gone = EksOperation::WaitMountTargetsGone {
                        file_system: id.clone(),
                    };
                    let reason = "until nothing of it is in the network";
                    self.steps.eks(
                        "mount-targets-gone",
                        "efs:mount-target",
                        Action::Wait,
                        reason,
                        &after,
                        gone,
                    );
                }
                let last = ["removing", "mount-targets-gone", "nodes-gone", "claims"];
                if self.removal.delete_storage {
                    self.steps.eks(
                        "file-system",
                        "efs:file-system",
                        Action::Delete,
                        format!("{id} with everything in it"),
                        &last,
                        EksOperation::DeleteFileSystem { id },
                    );
                } else {
                    self.steps.eks(
                        "file-system",
                        "efs:file-system",
                        Action::Keep,
                        format!("{id} stays as data; --delete-storage removes it"),
                        &last,
                        EksOperation::KeepFileSystem { id },
                    );
                }
            } else if found.tags.contains_key(KEPT) {
                self.descent.stays.push(Stays {
                    what: format!("file system {id}"),
                    why: "was kept as data".to_owned(),
                });
            } else {
                stays(self.descent, format!("file system {id}"), &found.tags);
            }
        }
        if let Some(group) = &self.seen.efs_group {
            if self.owner.owns(&group.tags, "efs-security-group") {
                let id = group.it.id.clone();
                self.steps.add(
                    "efs-security-group",
                    "ec2:security-group",
                    Action::Delete,
                    format!("{id} in {}", group.it.vpc),
                    &["removing", "mount-targets-gone"],
                    Operation::DeleteSecurityGroup { group: id },
                );
            } else {
                let what = format!("security group {}", group.it.id);
                stays(self.descent, what, &group.tags);
            }
        }
    }

    fn roles(&mut self) {
        let after = self.after(&["eks:"]);
        for (of, role) in &self.seen.roles {
            let address = of.address();
            let name = self.owner.name.eks_role("…", *of);
            if !self.owner.owns(&role.tags, &address) {
                stays(self.descent, format!("role {name}"), &role.tags);
                continue;
            }
            let mut before = after.clone();
            let refs: Vec<&str> = after.iter().map(String::as_str).collect();
            for (nth, policy) in role.it.attached.iter().enumerate() {
                let step = if nth == 0 {
                    format!("{address}-policy")
                } else {
                    format!("{address}-policy-{}", nth + 1)
                };
                let detach = EksOperation::DetachPolicy {
                    of: *of,
                    policy: policy.clone(),
                };
                let reason = "a role goes without policies";
                self.steps
                    .eks(&step, "iam:role-policy", Action::Delete, reason, &refs, detach);
                before.push(step);
            }
            if role.it.role.policy.is_some() {
                let step = format!("{address}-own-policy");
                let delete = EksOperation::DeletePolicy { of: *of };
                let reason = "a role goes without policies";
                self.steps
                    .eks(&step, "iam:role-policy", Action::Delete, reason, &refs, delete);
                before.push(step);
            }
            let before: Vec<&str> = before.iter().map(String::as_str).collect();
            let delete = EksOperation::DeleteRole { of: *of };
            self.steps.eks(
                &address,
                "iam:role",
                Action::Delete,
                "nobody takes it",
                &before,
                delete,
            );
        }
    }

    fn logs(&mut self) {
        for (address, name) in log_groups(self.eks) {
            let Some(group) = self.seen.log_groups.get(&name) else {
                continue;
            };
            if !self.owner.owns(&group.tags, address) {
                stays(self.descent, format!("log group {name}"), &group.tags);
            } else if self.removal.keep_data {
                self.descent.stays.push(Stays {
                    what: format!("log group {name}"),
                    why: format!("stays as data for {} days", self.record.spec.log_retention_days),
                });
            } else {
                // What writes to it would make it again.
                self.steps.eks(
                    address,
                    "logs:log-group",
                    Action::Delete,
                    "with everything in it",
                    &["removing", "cluster-gone", "nodes-gone"],
                    EksOperation::DeleteLogGroup { name },
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::deployment::down::down;
    use crate::domain::deployment::eks::observed::{Cluster, NodeGroup};
    use crate::domain::deployment::observed::{Observed, Tagged};
    use crate::domain::testing;

    /// Nobody takes nodes from under jobs because one address did not answer.
    #[test]
    fn what_cannot_be_looked_into_keeps_its_nodes_while_jobs_may_run() {
        let record = testing::eks_record();
        let owner = record.owner();
        let descent = |cluster: &str, nodes: Option<&str>, drain_seconds: Option<u32>| {
            let group = nodes.map(|status| Tagged {
                it: NodeGroup {
                    status: status.to_owned(),
                    ..NodeGroup::default()
                },
                tags: owner.tags("nodes"),
            });
            let seen = ObservedEks {
                cluster: Some(Tagged {
                    it: Cluster {
                        status: cluster.to_owned(),
                        ..Cluster::default()
                    },
                    tags: owner.tags("cluster"),
                }),
                node_group: group,
                inside: Inside::Unknown("no answer in 30 s".to_owned()),
                ..ObservedEks::default()
            };
            let observed = Observed {
                eks: Some(Box::new(seen)),
                ..Observed::default()
            };
            let removal = Removal {
                drain_seconds,
                ..Removal::default()
            };
            down(&record, None, &observed, &removal)
        };
        let kept = descent("ACTIVE", Some("ACTIVE"), Some(3600));
        assert_eq!(kept.blocks.len(), 1, "{:?}", kept.blocks);
        assert!(kept.blocks[0].why.contains("--no-drain"), "{:?}", kept.blocks);
        for (cluster, nodes, drain) in [
            ("ACTIVE", Some("ACTIVE"), None),
            ("ACTIVE", Some("DELETING"), Some(60)),
            ("ACTIVE", None, Some(60)),
            ("DELETING", None, Some(60)),
            ("FAILED", None, Some(60)),
        ] {
            let goes = descent(cluster, nodes, drain);
            assert_eq!(goes.blocks.len(), 0, "{cluster} {nodes:?}: {:?}", goes.blocks);
            let said = goes
                .stays
                .iter()
                .any(|stays| stays.why.contains("cannot be looked into"));
            assert!(said, "{cluster} {nodes:?}");
        }
    }
}
