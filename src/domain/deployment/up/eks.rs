//! The steps of `up` on EKS.
//!
//! A control plane takes AWS a quarter of an hour, so everything that does not need it begins at once: roles, the file system and its
//! mount targets, the launch template, topic and log groups. Nodes and add-ons begin as soon as it is there, the chart when pods can run.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Claim, Climb, tags};
use crate::domain::deployment::change::{Difference, tag_differences};
use crate::domain::deployment::eks::name::{RoleOf, access_address};
use crate::domain::deployment::eks::observed::{
    Addon, Cluster, Inside, NodeGroup, Objects, ObservedEks, Release,
};
use crate::domain::deployment::eks::operation::{AddonSpec, ClusterOperation, EksOperation, Object};
use crate::domain::deployment::eks::spec::{Autoscaler, Eks, StorageMode};
use crate::domain::deployment::eks::values::Described;
use crate::domain::deployment::eks::{addons, autoscaler, identity, nodes, objects, values};
use crate::domain::deployment::name::{Host, IAM_PATH};
use crate::domain::deployment::operation::TagTarget;
use crate::domain::deployment::owner::{DEPLOYMENT, KEPT, Tags};
use crate::domain::deployment::step::{Action, Block};

/// What the steps need of the deployment, so that they can be added meanwhile.
pub(super) struct Scene {
    pub(super) eks: Eks,
    pub(super) seen: ObservedEks,
    pub(super) inside: Objects,
}

impl Climb<'_> {
    /// Adds everything of a deployment on EKS between the record and the alarms.
    pub(super) fn eks(&mut self) {
        let Some(eks) = self.record.spec.eks.clone() else {
            return;
        };
        let seen = self.observed.eks.as_deref().cloned().unwrap_or_default();
        let inside = match &seen.inside {
            Inside::Read(objects) => (**objects).clone(),
            Inside::Nothing | Inside::Unknown(_) => Objects::default(),
        };
        // Alarms name the cluster where those of hosts name an instance.
        self.ids
            .insert(Host { number: None }.address("host"), eks.cluster.clone());
        let scene = Scene {
            eks: *eks,
            seen,
            inside,
        };
        self.roles(&scene);
        self.eks_logs(&scene);
        self.cluster(&scene);
        self.access(&scene);
        self.file_system(&scene);
        // The first nodes wait for the network, everything else for nodes.
        let mut waits = self.addons(&scene, true);
        // Nodes that are replaced come after all add-ons.
        let rolls = self.rolls(&scene);
        if rolls {
            waits.extend(self.addons(&scene, false));
        }
        self.node_group(&scene);
        if !rolls {
            waits.extend(self.addons(&scene, false));
        }
        for (address, name, after) in waits {
            let after: Vec<&str> = after.iter().map(String::as_str).collect();
            self.steps.eks(
                format!("{address}-active"),
                "eks:addon",
                Action::Wait,
                "until it runs",
                &after,
                EksOperation::WaitAddon { name },
            );
        }
        self.pod_identities(&scene);
        if let Inside::Unknown(why) = &scene.seen.inside {
            self.blocks.push(Block {
                address: "cluster".to_owned(),
                what: format!("cluster {}", scene.eks.cluster),
                why: format!("cannot be looked into: {why}"),
            });
            return;
        }
        self.return_runner(&scene);
        self.inside(&scene);
        self.release(&scene);
    }

    /// Adds the step that mends tags of something that has an ARN.
    fn retag_arn(&mut self, is: &Tags, address: &str, kind: &'static str, arn: String) {
        let should = tags(&self.record, address);
        let differences = tag_differences(is, &should);
        if differences.is_empty() {
            return;
        }
        let step = format!("{address}-tags");
        let operation = EksOperation::Tag { arn, tags: should };
        self.steps
            .eks(&step, kind, Action::Update, "tags differ", &["record"], operation);
        self.steps.differences_of(&step).extend(differences);
    }

    fn roles(&mut self, scene: &Scene) {
        let place = self.place().clone();
        let name = self.owner.name.clone();
        for of in identity::wanted(&self.record.spec) {
            let address = of.address();
            let trust = identity::trust(of, &name, &scene.eks, &place);
            let attached = identity::attached(of, &scene.eks, &place);
            let inline = identity::inline(of, &name, &scene.eks, &place);
            let there = scene.seen.roles.get(&of);
            match there {
                None => self.steps.eks(
                    &address,
                    "iam:role",
                    Action::Create,
                    of.purpose(),
                    &["record"],
                    EksOperation::CreateRole { of, trust },
                ),
                Some(role) => {
                    let what = format!("role {}", name.eks_role(&place.region, of));
                    let Claim::Ours = self.claim(&role.tags, &address, what) else {
                        continue;
                    };
                    self.ids.insert(address.clone(), role.it.arn.clone());
                    if role.it.role.trust != trust {
                        let step = format!("{address}-trust");
                        let operation = EksOperation::UpdateTrust { of, trust };
                        let reason = "others may assume the role";
                        self.steps
                            .eks(&step, "iam:role", Action::Update, reason, &["record"], operation);
                        let difference =
                            Difference::new("AssumeRolePolicyDocument", "another document", "the least");
                        self.steps.differences_of(&step).push(difference);
                    }
                    let path = format!("role{IAM_PATH}{}", name.eks_role(&place.region, of));
                    self.retag_arn(&role.tags, &address, "iam:role", place.iam_arn(&path));
                }
            }
            let has = there.map(|role| role.it.attached.clone()).unwrap_or_default();
            for (nth, policy) in attached.into_iter().enumerate() {
                if has.contains(&policy) {
                    continue;
                }
                let step = numbered(&format!("{address}-policy"), nth);
                let reason = policy.rsplit('/').next().unwrap_or_default().to_owned();
                let operation = EksOperation::AttachPolicy { of, policy };
                self.steps.eks(
                    step,
                    "iam:role-policy",
                    Action::Create,
                    reason,
                    &["record", &address],
                    operation,
                );
            }
            if let Some(policy) = inline
                && there.and_then(|role| role.it.role.policy.as_ref()) != Some(&policy)
            {
                self.steps.eks(
                    format!("{address}-own-policy"),
                    "iam:role-policy",
                    Action::Update,
                    "the least that it needs",
                    &["record", &address],
                    EksOperation::PutPolicy { of, policy },
                );
            }
        }
    }

    /// Log groups that EKS and the agent would make themselves, without an end date and without our tags.
    fn eks_logs(&mut self, scene: &Scene) {
        let days = self.record.spec.log_retention_days;
        for (address, name) in log_groups(&scene.eks) {
            match scene.seen.log_groups.get(&name) {
                None => {
                    let reason = "made before its writer makes it to be kept for ever";
                    let operation = EksOperation::CreateLogGroup { name: name.clone() };
                    self.steps.eks(
                        address,
                        "logs:log-group",
                        Action::Create,
                        reason,
                        &["record"],
                        operation,
                    );
                }
                Some(group) => {
                    // What a cluster of that name left before is data of somebody's.
                    if !self.owner.owns(&group.tags, address) {
                        continue;
                    }
                    let arn = self.place().arn("logs", &format!("log-group:{name}"));
                    self.retag_arn(&group.tags.clone(), address, "logs:log-group", arn);
                    if group.it.retention_days == Some(days) {
                        continue;
                    }
                }
            }
            self.steps.eks(
                format!("{address}-retention"),
                "logs:log-group",
                Action::Update,
                format!("logs are kept for {days} days"),
                &["record", address],
                EksOperation::SetRetention { name, days },
            );
        }
    }

    fn cluster(&mut self, scene: &Scene) {
        let eks = &scene.eks;
        if eks.adopted {
            match &scene.seen.cluster {
                Some(cluster) if cluster.it.status == "ACTIVE" || cluster.it.status == "UPDATING" => {
                    self.ids.insert("cluster".to_owned(), cluster.it.arn.clone());
                }
                Some(cluster) => self.in_the_way(eks, format!("is {}", told(&cluster.it))),
                None => self.in_the_way(eks, "is not there any more".to_owned()),
            }
            return;
        }
        let Some(cluster) = &scene.seen.cluster else {
            self.steps.eks(
                "cluster",
                "eks:cluster",
                Action::Create,
                format!(
                    "control plane of Kubernetes {}, support policy STANDARD",
                    eks.version
                ),
                &[
                    "record",
                    "role-eks",
                    "role-eks-policy",
                    "logs-cluster",
                    "logs-cluster-retention",
                ],
                EksOperation::CreateCluster,
            );
            self.wait_for_cluster("until AWS has made the control plane", &["cluster"]);
            return;
        };
        let Claim::Ours = self.claim(&cluster.tags, "cluster", format!("cluster {}", eks.cluster)) else {
            if let Some(block) = self.blocks.last_mut() {
                block
                    .why
                    .push_str("; --cluster NAME puts a runner into a cluster that is there");
            }
            return;
        };
        let it = &cluster.it;
        self.ids.insert("cluster".to_owned(), it.arn.clone());
        match it.status.as_str() {
            "DELETING" | "FAILED" => {
                self.in_the_way(eks, format!("is {}", told(it)));
                return;
            }
            _ if self.goes_up(eks, it) => {
                self.control_plane(eks, it);
                self.wait_for_cluster("until the control plane is active again", &["cluster-version"]);
            }
            "ACTIVE" => {}
            _ => self.wait_for_cluster("until AWS has made the control plane", &["record"]),
        }
        self.retag_arn(&cluster.tags, "cluster", "eks:cluster", it.arn.clone());
        self.cluster_changes(eks, it);
    }

    fn in_the_way(&mut self, eks: &Eks, why: String) {
        self.blocks.push(Block {
            address: "cluster".to_owned(),
            what: format!("cluster {}", eks.cluster),
            why,
        });
    }

    fn wait_for_cluster(&mut self, reason: &str, after: &[&str]) {
        self.steps.eks(
            "cluster-active",
            "eks:cluster",
            Action::Wait,
            reason,
            after,
            EksOperation::WaitCluster,
        );
    }

    /// Changes of a cluster are made one after the other: EKS refuses a second one meanwhile.
    fn cluster_changes(&mut self, eks: &Eks, it: &Cluster) {
        let mut changes = Vec::new();
        let list = |list: &[String]| {
            let mut list = list.to_vec();
            list.sort();
            list.join(" ")
        };
        let everywhere = vec!["0.0.0.0/0".to_owned()];
        let should = if eks.endpoint.cidrs.is_empty() {
            &everywhere
        } else {
            &eks.endpoint.cidrs
        };
        let is = if it.cidrs.is_empty() {
            &everywhere
        } else {
            &it.cidrs
        };
        let mut endpoint = Vec::new();
        endpoint.extend(Difference::of(
            "endpointPublicAccess",
            &it.public,
            &eks.endpoint.public,
        ));
        endpoint.extend(Difference::of(
            "endpointPrivateAccess",
            &it.private,
            &eks.endpoint.private,
        ));
        if eks.endpoint.public {
            endpoint.extend(Difference::of("publicAccessCidrs", &list(is), &list(should)));
        }
        if !endpoint.is_empty() {
            changes.push(("endpoint", endpoint, EksOperation::UpdateEndpoint));
        }
        if let Some(logs) = Difference::of("logging", &list(&it.log_types), &list(&eks.log_types)) {
            changes.push(("logging", vec![logs], EksOperation::UpdateLogging));
        }
        let support = Difference::of("supportType", &it.support, &"STANDARD".to_owned());
        if let Some(support) = support {
            changes.push(("support", vec![support], EksOperation::UpdateSupport));
        }
        let mut before = "cluster-active".to_owned();
        for (what, differences, operation) in changes {
            let address = format!("cluster-{what}");
            let reason = "the cluster is another than planned";
            self.steps.eks(
                &address,
                "eks:cluster",
                Action::Update,
                reason,
                &["record", &before],
                operation,
            );
            self.steps.differences_of(&address).extend(differences);
            before = address;
        }
        let mut stuck = Vec::new();
        if !self.goes_up(eks, it) {
            stuck.extend(Difference::of("Kubernetes version", &it.version, &eks.version));
        }
        if eks.secrets_key.is_some() && it.secrets_key != eks.secrets_key {
            let is = it.secrets_key.clone().unwrap_or_else(|| "EKS's own".to_owned());
            let should = eks.secrets_key.clone().unwrap_or_default();
            stuck.push(Difference::new("key of secrets", is, should));
        }
        self.stuck
            .extend(stuck.into_iter().map(|one| ("cluster".to_owned(), one)));
    }

    fn access(&mut self, scene: &Scene) {
        for principal in &scene.eks.admins {
            let address = access_address(principal);
            let there = scene.seen.access_entries.get(principal);
            if there.is_none() {
                self.steps.eks(
                    &address,
                    "eks:access-entry",
                    Action::Create,
                    principal.clone(),
                    &["record", "cluster-active"],
                    EksOperation::CreateAccessEntry {
                        principal: principal.clone(),
                    },
                );
            }
            let may = there.is_some_and(|entry| {
                let mut policies = entry.it.policies.iter();
                policies.any(|policy| policy.ends_with("/AmazonEKSClusterAdminPolicy"))
            });
            if !may {
                self.steps.eks(
                    format!("{address}-policy"),
                    "eks:access-entry",
                    Action::Update,
                    "may do everything in the cluster",
                    &["record", "cluster-active", &address],
                    EksOperation::AssociateAccessPolicy {
                        principal: principal.clone(),
                    },
                );
            }
        }
    }

    fn file_system(&mut self, scene: &Scene) {
        let storage = &scene.eks.storage;
        if storage.mode == StorageMode::None {
            return;
        }
        if let Some(theirs) = &storage.file_system {
            self.ids.insert("file-system".to_owned(), theirs.clone());
            return;
        }
        let vpc = self.record.spec.vpc.clone();
        match &scene.seen.efs_group {
            None => self.steps.eks(
                "efs-security-group",
                "ec2:security-group",
                Action::Create,
                format!("NFS from within {vpc}"),
                &["record"],
                EksOperation::CreateEfsGroup { vpc },
            ),
            Some(group) => {
                let what = format!("security group {} ({})", group.it.id, group.it.name);
                if let Claim::Ours = self.claim(&group.tags, "efs-security-group", what) {
                    let id = group.it.id.clone();
                    self.ids.insert("efs-security-group".to_owned(), id.clone());
                    self.retag(
                        &group.tags,
                        "efs-security-group",
                        "ec2:security-group",
                        TagTarget::Ec2(id),
                    );
                }
            }
        }
        if scene
            .seen
            .efs_group
            .as_ref()
            .is_none_or(|group| group.it.ingress.is_empty())
        {
            self.steps.eks(
                "efs-security-group-nfs",
                "ec2:security-group",
                Action::Update,
                "nodes mount the file system",
                &["record", "efs-security-group"],
                // Ranges are the VPC's; they are read when the rule is made.
                EksOperation::AllowNfs { cidrs: Vec::new() },
            );
        }
        let mut there = BTreeMap::new();
        match &scene.seen.file_system {
            None => {
                self.steps.eks(
                    "file-system",
                    "efs:file-system",
                    Action::Create,
                    "the cache that jobs share, encrypted",
                    &["record"],
                    EksOperation::CreateFileSystem,
                );
                self.steps.eks(
                    "file-system-available",
                    "efs:file-system",
                    Action::Wait,
                    "until it can be used",
                    &["file-system"],
                    EksOperation::WaitFileSystem,
                );
            }
            Some(found) => {
                let arn = self
                    .place()
                    .arn("elasticfilesystem", &format!("file-system/{}", found.it.id));
                let kept = found.tags.contains_key(KEPT)
                    && found.tags.get(DEPLOYMENT).map(String::as_str) == Some(self.owner.name.as_str());
                if !kept
                    && let Claim::Foreign =
                        self.claim(&found.tags, "file-system", format!("file system {}", found.it.id))
                {
                    return;
                }
                self.ids.insert("file-system".to_owned(), found.it.id.clone());
                self.retag_arn(&found.tags, "file-system", "efs:file-system", arn);
                there = found.it.mount_targets.clone();
                if found.it.state != "available" {
                    self.steps.eks(
                        "file-system-available",
                        "efs:file-system",
                        Action::Wait,
                        "until it can be used",
                        &["record"],
                        EksOperation::WaitFileSystem,
                    );
                }
            }
        }
        let mut made = Vec::new();
        for subnet in self.record.spec.subnets.clone() {
            if there.contains_key(&subnet.zone) || made.contains(&subnet.zone) {
                continue;
            }
            let address = format!("mount-target-{}", subnet.zone);
            made.push(subnet.zone.clone());
            self.steps.eks(
                address,
                "efs:mount-target",
                Action::Create,
                format!("nodes in {} reach it here", subnet.zone),
                &[
                    "record",
                    "efs-security-group",
                    "efs-security-group-nfs",
                    "file-system",
                    "file-system-available",
                ],
                EksOperation::CreateMountTarget { subnet: subnet.id },
            );
        }
        if !made.is_empty() || there.values().any(|target| target.state != "available") {
            let after: Vec<String> = made.iter().map(|zone| format!("mount-target-{zone}")).collect();
            let mut after: Vec<&str> = after.iter().map(String::as_str).collect();
            after.push("record");
            self.steps.eks(
                "mount-targets-available",
                "efs:mount-target",
                Action::Wait,
                "until nodes can mount it",
                &after,
                EksOperation::WaitMountTargets,
            );
        }
    }

    fn node_group(&mut self, scene: &Scene) {
        let eks = &scene.eks;
        if eks.autoscaler == Autoscaler::Cluster {
            return;
        }
        let name = self.owner.name.clone();
        let template_tags = {
            let mut tags = tags(&self.record, "nodes");
            tags.insert("Name".to_owned(), name.node_group());
            // The end of a lease changes; nodes are not replaced for it.
            tags.remove(crate::domain::deployment::owner::EXPIRES);
            tags
        };
        let digest = nodes::template_digest(&self.record.spec);
        match &scene.seen.launch_template {
            None => self.steps.eks(
                "launch-template",
                "ec2:launch-template",
                Action::Create,
                format!("{} GiB gp3, encrypted, IMDSv2", self.record.spec.disk.gib),
                &["record"],
                EksOperation::CreateLaunchTemplate {
                    tags: template_tags,
                    digest,
                },
            ),
            Some(template) => {
                let what = format!("launch template {}", name.node_group());
                if let Claim::Ours = self.claim(&template.tags, "launch-template", what) {
                    let id = template.it.id.clone();
                    self.ids.insert("launch-template".to_owned(), id.clone());
                    self.retag(
                        &template.tags,
                        "launch-template",
                        "ec2:launch-template",
                        TagTarget::Ec2(id),
                    );
                    if template.it.digest != digest && self.changes_nodes() {
                        self.next_template(&template.it, template_tags, digest);
                    } else if template.it.digest != digest {
                        self.stuck.push((
                            "launch-template".to_owned(),
                            Difference::new(
                                "disk of nodes",
                                "another",
                                format!("{} GiB gp3", self.record.spec.disk.gib),
                            ),
                        ));
                    }
                }
            }
        }
        let create = ["record", "cluster-active", "launch-template", "role-node"];
        let there = scene.seen.node_group.as_ref();
        let Some(group) = there else {
            self.make_nodes(&create);
            return;
        };
        let Claim::Ours = self.claim(
            &group.tags,
            "nodes",
            format!("node group {} in {}", name.node_group(), eks.cluster),
        ) else {
            return;
        };
        self.ids.insert("nodes".to_owned(), name.node_group());
        match group.it.status.as_str() {
            "CREATE_FAILED" => {
                self.steps.eks(
                    "nodes-failed",
                    "eks:nodegroup",
                    Action::Delete,
                    issues(&group.it),
                    &["record"],
                    EksOperation::DeleteNodeGroup,
                );
                self.steps.eks(
                    "nodes-failed-gone",
                    "eks:nodegroup",
                    Action::Wait,
                    "until it is gone, so that it can be made again",
                    &["nodes-failed"],
                    EksOperation::WaitNodeGroupGone,
                );
                let mut after = create.to_vec();
                after.push("nodes-failed-gone");
                self.make_nodes(&after);
            }
            "DELETING" => {
                self.steps.eks(
                    "nodes-failed-gone",
                    "eks:nodegroup",
                    Action::Wait,
                    "until it is gone, so that it can be made again",
                    &["record"],
                    EksOperation::WaitNodeGroupGone,
                );
                let mut after = create.to_vec();
                after.push("nodes-failed-gone");
                self.make_nodes(&after);
            }
            _ if self.rolls(scene) => {
                self.node_changes(eks, &group.it);
                self.roll(scene, &group.it);
            }
            "CREATING" | "UPDATING" => self.wait_for_nodes(&["record"]),
            _ => self.node_changes(eks, &group.it),
        }
    }

    /// Nodes need the network add-on to become ready, and the agent that hands it its role.
    fn make_nodes(&mut self, after: &[&str]) {
        let spec = &self.record.spec;
        let reason = match &spec.eks {
            Some(eks) => format!(
                "{} to {} x {} with {} GiB",
                eks.min_nodes, eks.max_nodes, spec.instance_type, spec.disk.gib
            ),
            None => String::new(),
        };
        let before = self.steps.addresses(|step| {
            step.address.starts_with("role-node")
                || (step.kind == "eks:addon" && step.action != Action::Delete)
        });
        let mut after = after.to_vec();
        after.extend(before.iter().map(String::as_str));
        self.steps.eks(
            "nodes",
            "eks:nodegroup",
            Action::Create,
            reason,
            &after,
            EksOperation::CreateNodeGroup,
        );
        self.wait_for_nodes(&["nodes"]);
    }

    pub(super) fn wait_for_nodes(&mut self, after: &[&str]) {
        self.steps.eks(
            "nodes-active",
            "eks:nodegroup",
            Action::Wait,
            "until the nodes have joined the cluster",
            after,
            EksOperation::WaitNodeGroup,
        );
    }

    fn node_changes(&mut self, eks: &Eks, group: &NodeGroup) {
        let mut differences = Vec::new();
        differences.extend(Difference::of("minSize", &group.min, &eks.min_nodes));
        differences.extend(Difference::of("maxSize", &group.max, &eks.max_nodes));
        if !differences.is_empty() {
            self.steps.eks(
                "nodes-scaling",
                "eks:nodegroup",
                Action::Update,
                "the plan has other limits",
                &["record"],
                EksOperation::ScaleNodeGroup {
                    min: eks.min_nodes,
                    max: eks.max_nodes,
                },
            );
            self.steps.differences_of("nodes-scaling").extend(differences);
        }
        let spec = &self.record.spec;
        let types: Vec<String> = std::iter::once(&spec.instance_type)
            .chain(&spec.fallback_types)
            .cloned()
            .collect();
        let mut stuck = Vec::new();
        stuck.extend(Difference::of(
            "instanceTypes",
            &group.instance_types.join(" "),
            &types.join(" "),
        ));
        if group.status == "DEGRADED" && !self.changes_nodes() {
            stuck.push(Difference::new("status", issues(group), "ACTIVE"));
        }
        self.stuck
            .extend(stuck.into_iter().map(|one| ("nodes".to_owned(), one)));
    }

    /// Adds the add-ons that come before nodes, or the others; returns which are to be waited for: address, name, and after what.
    fn addons(&mut self, scene: &Scene, first: bool) -> Vec<AddonWait> {
        let mut waits = Vec::new();
        for addon in addons::addons(&self.record.spec) {
            if addons::comes_before_nodes(&addon.name) != first {
                continue;
            }
            let address = format!("addon-{}", addon.name);
            let mut after = vec!["record".to_owned(), "cluster-active".to_owned()];
            if addon.name == "amazon-cloudwatch-observability" {
                // Its agent makes the group where there is none: to be kept for ever, and not ours.
                after.push("logs-insights".to_owned());
            }
            for of in addon.accounts.values() {
                let role = of.address();
                after.extend(
                    self.steps.addresses(|step| {
                        step.address == role || step.address.starts_with(&format!("{role}-"))
                    }),
                );
            }
            match scene.seen.addons.get(&addon.name) {
                None => waits.push(self.make_addon(&address, addon, &after)),
                Some(found) => {
                    let what = format!("add-on {} in {}", addon.name, scene.eks.cluster);
                    if let Claim::Ours = self.claim(&found.tags, &address, what) {
                        waits.extend(self.addon(&address, addon, &found.it, &after));
                    }
                }
            }
        }
        waits
    }

    fn make_addon(&mut self, address: &str, addon: AddonSpec, after: &[String]) -> AddonWait {
        let name = addon.name.clone();
        let reason = addon.version.clone();
        let after: Vec<&str> = after.iter().map(String::as_str).collect();
        let create = EksOperation::CreateAddon { addon };
        self.steps
            .eks(address, "eks:addon", Action::Create, reason, &after, create);
        addon_wait(address, name)
    }

    fn addon(&mut self, address: &str, addon: AddonSpec, is: &Addon, after: &[String]) -> Option<AddonWait> {
        let name = addon.name.clone();
        match is.status.as_str() {
            "CREATE_FAILED" | "DELETING" => {
                let failed = format!("{address}-failed");
                let gone = format!("{failed}-gone");
                if is.status == "CREATE_FAILED" {
                    let why = is.issues.join("; ");
                    let delete = EksOperation::DeleteAddon { name: name.clone() };
                    self.steps
                        .eks(&failed, "eks:addon", Action::Delete, why, &["record"], delete);
                }
                self.steps.eks(
                    &gone,
                    "eks:addon",
                    Action::Wait,
                    "until it is gone, so that it can be made again",
                    &["record", &failed],
                    EksOperation::WaitAddonGone { name },
                );
                let mut after = after.to_vec();
                after.push(gone);
                return Some(self.make_addon(address, addon, &after));
            }
            "CREATING" | "UPDATING" => return Some(addon_wait(address, name)),
            _ => {}
        }
        let mut differences = Vec::new();
        differences.extend(Difference::of("addonVersion", &is.version, &addon.version));
        if addon.configuration.is_some() && is.configuration != addon.configuration {
            let shown =
                |value: &Option<Value>| value.as_ref().map_or_else(|| "none".to_owned(), Value::to_string);
            differences.push(Difference::new(
                "configurationValues",
                shown(&is.configuration),
                shown(&addon.configuration),
            ));
        }
        if differences.is_empty() {
            return (is.status != "ACTIVE").then(|| addon_wait(address, name));
        }
        let after: Vec<&str> = after.iter().map(String::as_str).collect();
        let update = EksOperation::UpdateAddon { addon };
        let reason = "the add-on is another than planned";
        self.steps
            .eks(address, "eks:addon", Action::Update, reason, &after, update);
        self.steps.differences_of(address).extend(differences);
        None
    }

    fn pod_identities(&mut self, scene: &Scene) {
        let wanted = [
            ("pod-identity-as", RoleOf::Autoscaler),
            ("pod-identity-jobs", RoleOf::Jobs),
        ];
        let roles = identity::wanted(&self.record.spec);
        for (address, of) in wanted {
            let account = identity::account(of, &self.owner.name, &scene.eks);
            let (true, Some((namespace, account))) = (roles.contains(&of), account) else {
                continue;
            };
            let there = scene.seen.pod_identities.get(&format!("{namespace}/{account}"));
            if there.is_some() {
                continue;
            }
            let role = of.address();
            self.steps.eks(
                address,
                "eks:pod-identity-association",
                Action::Create,
                format!("{namespace}/{account} takes its role"),
                &["record", "cluster-active", &role],
                EksOperation::CreatePodIdentity {
                    namespace,
                    account,
                    of,
                },
            );
        }
    }

    /// What stands in the cluster before the chart.
    fn inside(&mut self, scene: &Scene) {
        let record = self.record.clone();
        let base = ["record", "cluster-active"];
        if let Some(object) = objects::namespace(&self.owner, &scene.eks) {
            match scene.inside.objects.get("namespace") {
                None => self.steps.within(
                    "namespace",
                    "kubernetes:namespace",
                    Action::Create,
                    "where the runner and its jobs are",
                    &base,
                    ClusterOperation::Apply(object),
                ),
                Some(live) if objects::going(live).is_some() => self.blocks.push(Block {
                    address: "namespace".to_owned(),
                    what: format!("namespace {}", scene.eks.namespace),
                    why: objects::going(live).unwrap_or_default(),
                }),
                // A namespace of others is used and left alone.
                Some(_) => {}
            }
        }
        for applied in objects::all(&record, &scene.eks) {
            let operation = match applied.holds {
                None => ClusterOperation::Apply(applied.object.clone()),
                Some(holds) => ClusterOperation::ApplySecret {
                    object: applied.object.clone(),
                    holds,
                },
            };
            let mut after = base.to_vec();
            after.push("namespace");
            after.extend(&applied.after);
            let anew = applied.address == "secret-token" && self.token_is_another(scene);
            self.apply(
                scene,
                applied.address,
                applied.reason,
                &applied.object,
                operation,
                &after,
                anew,
            );
            if applied.address == "claim" {
                self.claim_bound(scene, applied.object);
            }
        }
        let place = self.place().clone();
        let mut before = vec![
            "record".to_owned(),
            "cluster-active".to_owned(),
            "namespace".to_owned(),
        ];
        before.push("pod-identity-as".to_owned());
        for (address, object) in autoscaler::objects(&self.owner.clone(), &record.spec, &place) {
            let operation = ClusterOperation::Apply(object.clone());
            let reason = "adds nodes for pods that wait, takes idle ones away";
            let after: Vec<&str> = before.iter().map(String::as_str).collect();
            self.apply(scene, &address, reason, &object, operation, &after, false);
            before.push(address);
        }
    }

    /// Adds the wait for a claim's volume, which the driver makes or the cluster finds.
    fn claim_bound(&mut self, scene: &Scene, claim: Object) {
        let live = scene.inside.objects.get("claim");
        if !self.wanted.wait || live.is_some_and(objects::is_bound) {
            return;
        }
        self.steps.within(
            "claim-bound",
            "kubernetes:object",
            Action::Wait,
            "until the cache has its volume",
            &[
                "record",
                "cluster-active",
                "claim",
                "volume",
                "mount-targets-available",
                "addon-aws-efs-csi-driver-active",
            ],
            ClusterOperation::WaitClaim(claim),
        );
    }

    /// Whether the secret in the cluster holds another token than it should.
    fn token_is_another(&self, scene: &Scene) -> bool {
        let is = scene.inside.secret_digests.get("secret-token");
        self.steps.has("token")
            || matches!((is, self.wanted.token_digest), (Some(is), Some(should)) if is != should)
    }

    #[expect(clippy::too_many_arguments, reason = "a step and what it is compared with")]
    fn apply(
        &mut self,
        scene: &Scene,
        address: &str,
        reason: &str,
        object: &Object,
        operation: ClusterOperation,
        after: &[&str],
        anew: bool,
    ) {
        let kind = "kubernetes:object";
        let Some(live) = scene.inside.objects.get(address) else {
            self.steps
                .within(address, kind, Action::Create, reason, after, operation);
            return;
        };
        if !objects::owns(&self.owner, live) {
            self.blocks.push(Block {
                address: address.to_owned(),
                what: objects::told(&object.manifest),
                why: "exists in the cluster and does not carry the labels of this deployment".to_owned(),
            });
            return;
        }
        if let Some(why) = objects::going(live) {
            self.blocks.push(Block {
                address: address.to_owned(),
                what: objects::told(&object.manifest),
                why,
            });
            return;
        }
        let mut differences: Vec<Difference> = objects::differing(&object.known(&self.ids), live)
            .into_iter()
            .map(|(field, is, should)| Difference::new(field, is, should))
            .collect();
        if anew {
            differences.push(Difference::new("data", "another token", "the token given"));
        }
        if !differences.is_empty() {
            let reason = "the object is another than planned";
            self.steps
                .within(address, kind, Action::Update, reason, after, operation);
            self.steps.differences_of(address).extend(differences);
        }
    }

    fn release(&mut self, scene: &Scene) {
        let Some(wanted) = values::release(&self.record) else {
            return;
        };
        let there = scene.inside.release.as_ref();
        let before = self.steps.addresses(|step| {
            let address = step.address.as_str();
            step.kind.starts_with("kubernetes:")
                || address.ends_with("-active")
                || address == "mount-targets-available"
                || address.starts_with("pod-identity")
                || address == "record"
        });
        let before: Vec<&str> = before.iter().map(String::as_str).collect();
        let (action, reason) = match there {
            None => (
                Some(Action::Create),
                format!("the vendor's chart {}", self.chart()),
            ),
            // The pod carries a digest of the token, so that another one rolls it; a run that was killed may have left another in the
            // secret than the pod was made with.
            Some(release) if release.status == "deployed" && self.is_of_another_token(scene, release) => {
                (Some(Action::Update), "the runner takes another token".to_owned())
            }
            Some(release)
                if release.status == "deployed"
                    && Described::read(&release.description)
                        .is_some_and(|it| it.release == wanted.digest) =>
            {
                (None, String::new())
            }
            Some(release) if release.status == "deployed" => (
                Some(Action::Update),
                format!("chart or values are another; now {}", self.chart()),
            ),
            Some(release) => (
                Some(Action::Update),
                format!("an earlier run left it {}", release.status),
            ),
        };
        let changes = action.is_some();
        if let Some(action) = action {
            self.steps.within(
                "release",
                "helm:release",
                action,
                reason,
                &before,
                ClusterOperation::Release(Box::new(wanted)),
            );
        }
        let online = !scene.inside.pods.is_empty() && scene.inside.pods.iter().all(|pod| pod.ready);
        if self.wanted.wait && (changes || !online) {
            let mut after = before;
            after.push("release");
            self.steps.within(
                "online",
                "runner",
                Action::Wait,
                "until the runner is ready and has reached the platform",
                &after,
                ClusterOperation::WaitRunner,
            );
        }
    }

    fn is_of_another_token(&self, scene: &Scene, release: &Release) -> bool {
        if self.steps.has("secret-token") {
            return true;
        }
        match (
            Described::read(&release.description),
            scene.inside.secret_digests.get("secret-token"),
        ) {
            (Some(described), Some(is)) => described.token != *is,
            // Another wrote it, or there is nothing to compare with.
            _ => false,
        }
    }

    fn chart(&self) -> String {
        let Some(eks) = &self.record.spec.eks else {
            return String::new();
        };
        match &eks.chart.version {
            Some(version) => format!("{} {version}", eks.chart.name),
            None => eks.chart.name.clone(),
        }
    }
}

/// An add-on that is waited for: address, name, and after what.
type AddonWait = (String, String, Vec<String>);

fn addon_wait(address: &str, name: String) -> AddonWait {
    let after = vec!["record".to_owned(), address.to_owned(), "nodes-active".to_owned()];
    (address.to_owned(), name, after)
}

/// Returns the log groups of a deployment with their addresses: those of a cluster of ours.
pub fn log_groups(eks: &Eks) -> Vec<(&'static str, String)> {
    let mut groups = Vec::new();
    if eks.adopted {
        return groups;
    }
    if !eks.log_types.is_empty() {
        groups.push(("logs-cluster", format!("/aws/eks/{}/cluster", eks.cluster)));
    }
    if eks.addons.contains_key("amazon-cloudwatch-observability") {
        groups.push((
            "logs-insights",
            format!("/aws/containerinsights/{}/performance", eks.cluster),
        ));
    }
    groups
}

fn numbered(address: &str, nth: usize) -> String {
    if nth == 0 {
        address.to_owned()
    } else {
        format!("{address}-{}", nth + 1)
    }
}

fn told(cluster: &Cluster) -> String {
    if cluster.issues.is_empty() {
        cluster.status.clone()
    } else {
        format!("{}: {}", cluster.status, cluster.issues.join("; "))
    }
}

fn issues(group: &NodeGroup) -> String {
    if group.issues.is_empty() {
        group.status.clone()
    } else {
        format!("{}: {}", group.status, group.issues.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::deployment::name::Place;
    use crate::domain::deployment::observed::Observed;
    use crate::domain::deployment::record::Record;
    use crate::domain::deployment::step::Step;
    use crate::domain::deployment::up::{Ascent, Given, Wanted, up};
    use crate::domain::testing;

    fn ascent(record: &Record, observed: &Observed) -> Ascent {
        let place = Place {
            account: "123456789012".to_owned(),
            region: "eu-west-2".to_owned(),
        };
        let wanted = Wanted {
            place: &place,
            record,
            base: None,
            token: Given::Token,
            token_digest: None,
            user_data: &BTreeMap::new(),
            wait: true,
            resize: None,
            upgrade: None,
        };
        up(&wanted, observed)
    }

    /// Returns everything that a step waits for, however far back.
    fn before<'a>(steps: &'a [Step], address: &str) -> BTreeSet<&'a str> {
        let mut found = BTreeSet::new();
        let mut open = vec![address.to_owned()];
        while let Some(next) = open.pop() {
            let step = steps.iter().find(|step| step.address == next).expect("a step");
            for needed in &step.after {
                if found.insert(needed.as_str()) {
                    open.push(needed.clone());
                }
            }
        }
        found
    }

    #[test]
    fn steps_come_after_what_they_need_and_have_addresses_of_their_own() {
        let steps = ascent(&testing::eks_record(), &Observed::default()).steps;
        for (nth, step) in steps.iter().enumerate() {
            for needed in &step.after {
                assert!(
                    steps[..nth].iter().any(|other| other.address == *needed),
                    "{needed}"
                );
            }
            assert!(
                steps[..nth].iter().all(|other| other.address != step.address),
                "{}",
                step.address
            );
        }
    }

    #[test]
    fn what_needs_no_control_plane_does_not_wait_for_one() {
        let steps = ascent(&testing::eks_record(), &Observed::default()).steps;
        let late = |address: &str| before(&steps, address).contains("cluster-active");
        for address in [
            "role-node-policy",
            "role-as-own-policy",
            "launch-template",
            "file-system-available",
            "mount-targets-available",
            "efs-security-group-nfs",
            "topic",
            "token",
            "logs-insights-retention",
        ] {
            assert!(!late(address), "{address} waits for the control plane");
        }
        let nodes = before(&steps, "nodes");
        for address in [
            "addon-vpc-cni",
            "addon-eks-pod-identity-agent",
            "role-node-policy-2",
        ] {
            assert!(nodes.contains(address), "nodes need {address}");
        }
        assert!(!nodes.contains("addon-coredns"), "DNS has pods, which need nodes");
        let agent = before(&steps, "addon-amazon-cloudwatch-observability");
        assert!(
            agent.contains("logs-insights"),
            "the agent makes the group that is not there"
        );
        let release = before(&steps, "release");
        for address in [
            "nodes-active",
            "secret-token",
            "claim",
            "mount-targets-available",
            "addon-coredns-active",
        ] {
            assert!(release.contains(address), "the release needs {address}");
        }
    }

    /// A run that was killed between the secret and the chart: the secret holds another token than the pod was made with.
    #[test]
    fn a_pod_of_another_token_than_the_secret_is_made_anew() {
        let record = testing::eks_record();
        let wanted = values::release(&record).expect("on EKS");
        let steps = |description: String, secret: &str| {
            let objects = Objects {
                release: Some(Release {
                    status: "deployed".to_owned(),
                    description,
                    ..Release::default()
                }),
                secret_digests: BTreeMap::from([("secret-token".to_owned(), secret.to_owned())]),
                objects: BTreeMap::from([("secret-token".to_owned(), {
                    let all = objects::all(&record, record.spec.eks.as_deref().expect("on EKS"));
                    let secret = all.into_iter().find(|applied| applied.address == "secret-token");
                    secret.expect("a secret").object.manifest
                })]),
                ..Objects::default()
            };
            let observed = Observed {
                token: Some(crate::domain::deployment::observed::Tagged {
                    it: (),
                    tags: record.owner().tags("token"),
                }),
                eks: Some(Box::new(ObservedEks {
                    inside: Inside::Read(Box::new(objects)),
                    ..ObservedEks::default()
                })),
                ..Observed::default()
            };
            let steps = ascent(&record, &observed).steps;
            steps.iter().any(|step| step.address == "release")
        };
        let described = |token: &str| {
            let release = wanted.digest.clone();
            let token = token.to_owned();
            Described { release, token }.to_string()
        };
        assert!(steps(described("old"), "new"));
        assert!(steps("Rollback to 1".to_owned(), "new"));
        assert!(!steps(described("new"), "new"));
    }

    #[test]
    fn a_cluster_of_others_blocks_and_a_failed_one_too() {
        let cluster = |tags: Tags, status: &str| {
            let mut observed = Observed::default();
            let seen = ObservedEks {
                cluster: Some(crate::domain::deployment::observed::Tagged {
                    it: Cluster {
                        status: status.to_owned(),
                        issues: vec!["InsufficientFreeAddresses: none left".to_owned()],
                        ..Cluster::default()
                    },
                    tags,
                }),
                ..ObservedEks::default()
            };
            observed.eks = Some(Box::new(seen));
            observed
        };
        let record = testing::eks_record();
        let blocks = ascent(&record, &cluster(Tags::new(), "ACTIVE")).blocks;
        assert!(
            blocks.iter().any(|block| block.why.contains("--cluster NAME")),
            "{blocks:?}"
        );
        let ours = record.owner().tags("cluster");
        let blocks = ascent(&record, &cluster(ours, "FAILED")).blocks;
        assert!(
            blocks
                .iter()
                .any(|block| block.why.contains("InsufficientFreeAddresses")),
            "{blocks:?}"
        );
    }
}
