//! The resources of a deployment in the order in which they can be made.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::domain::deployment::name::{Name, Place};
use crate::domain::deployment::observed::Observed;
use crate::domain::deployment::record::Record;
use crate::domain::deployment::spec::{AlarmBasis, Disk, Docker, Image, Spec, Token};
use crate::domain::deployment::up::{Given, Wanted, up};
use crate::domain::profile::Target;

/// One step; those that do not name each other in `after` can run at the same time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Address of the resource within the deployment.
    pub address: String,
    /// Kind of resource, as AWS names it.
    pub kind: &'static str,
    /// `create`, `update` or `wait`, for an account that has nothing yet.
    pub action: &'static str,
    /// Why.
    pub reason: String,
    /// Addresses that must exist before.
    pub after: Vec<String>,
}

/// What the steps depend on.
#[derive(Clone, Debug)]
pub struct Basis<'a> {
    /// Target.
    pub target: Target,
    /// Region.
    pub region: &'a str,
    /// Type of hosts.
    pub instance_type: &'a str,
    /// Hosts; EC2 only.
    pub hosts: u32,
    /// Jobs at once on each.
    pub concurrency: u32,
    /// GiB of each disk.
    pub disk_gib: u32,
    /// What thresholds of alarms rest on.
    pub alarms: AlarmBasis,
    /// Names of the alarms; EKS only.
    pub alarm_names: Vec<&'a str>,
}

/// Returns the steps for an empty account.
///
/// On EC2 they are those that `up` takes there, worked out by the same code for a deployment whose network and image
/// are not known yet.
pub fn steps(basis: &Basis<'_>) -> Vec<Step> {
    match basis.target {
        Target::Ec2 => ec2(basis),
        Target::Eks => eks(&basis.alarm_names),
    }
}

fn ec2(basis: &Basis<'_>) -> Vec<Step> {
    let place = Place {
        account: "0".repeat(12),
        region: basis.region.to_owned(),
    };
    let Ok(name) = Name::new("deployment") else {
        return Vec::new();
    };
    let spec = Spec {
        workload: String::new(),
        asked: String::new(),
        instance_type: basis.instance_type.to_owned(),
        fallback_types: Vec::new(),
        count: basis.hosts,
        concurrency: basis.concurrency,
        check_interval: 1,
        disk: Disk {
            gib: basis.disk_gib,
            iops: 0,
            throughput: 0,
            kms_key: None,
        },
        image: Image {
            id: String::new(),
            root_device: String::new(),
            parameter: None,
        },
        vpc: "the VPC".to_owned(),
        subnets: Vec::new(),
        public_address: None,
        token: Token::Ours,
        registry: None,
        platform_url: String::new(),
        runner_image: String::new(),
        channel: String::new(),
        docker: Docker::default(),
        topic: None,
        notify: Vec::new(),
        termination_protection: false,
        log_retention_days: 30,
        tags: BTreeMap::new(),
        alarms: basis.alarms,
        eks: None,
    };
    let record = Record::unmade(name, spec);
    let wanted = Wanted {
        place: &place,
        record: &record,
        base: None,
        token: Given::Token,
        token_digest: None,
        user_data: &BTreeMap::new(),
        wait: true,
        resize: None,
        upgrade: None,
    };
    up(&wanted, &Observed::default())
        .steps
        .into_iter()
        .map(|step| Step {
            address: step.address,
            kind: step.kind,
            action: step.action.word(),
            reason: step.reason,
            after: step.after,
        })
        .collect()
}

fn eks(alarms: &[&str]) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut step = |address: &str, kind: &'static str, reason: &str, after: &[&str]| {
        steps.push(Step {
            address: address.to_owned(),
            kind,
            action: "create",
            reason: reason.to_owned(),
            after: after.iter().map(|address| (*address).to_owned()).collect(),
        });
    };
    step(
        "record",
        "ssm:parameter",
        "lock and generation of the deployment",
        &[],
    );
    step(
        "token",
        "ssm:parameter",
        "runner token as SecureString, or a reference to yours",
        &["record"],
    );
    step("topic", "sns:topic", "where alarms go", &["record"]);
    step(
        "logs",
        "logs:log-group",
        "runner and bootstrap logs with an end date",
        &["record"],
    );
    step("cluster-role", "iam:role", "for the control plane", &["record"]);
    step(
        "cluster",
        "eks:cluster",
        "control plane on a version in standard support",
        &["cluster-role"],
    );
    step("node-role", "iam:role", "for the nodes", &["record"]);
    step(
        "launch-template",
        "ec2:launch-template",
        "disk size, encryption, IMDSv2",
        &["record"],
    );
    step(
        "nodes",
        "eks:nodegroup",
        "the nodes the plan computed",
        &["cluster", "node-role", "launch-template"],
    );
    step(
        "addons",
        "eks:addon",
        "network, DNS, storage and observability",
        &["cluster"],
    );
    step(
        "release",
        "helm:release",
        "the vendor's runner chart",
        &["nodes", "addons", "token"],
    );
    for alarm in alarms {
        step(
            &format!("alarm-{alarm}"),
            "cloudwatch:alarm",
            "on the cluster's exact dimensions",
            &["cluster", "topic"],
        );
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_comes_after_what_it_needs_and_addresses_are_unique() {
        for (target, hosts) in [(Target::Ec2, 1), (Target::Ec2, 3), (Target::Eks, 2)] {
            let steps = steps(&Basis {
                target,
                region: "eu-west-2",
                instance_type: "c5.large",
                hosts,
                concurrency: 4,
                disk_gib: 300,
                alarms: AlarmBasis {
                    wave_gib: 1.0,
                    days_to_full: 1,
                    burstable: true,
                },
                alarm_names: vec!["disk", "memory"],
            });
            assert!(steps.len() > 10);
            for (index, step) in steps.iter().enumerate() {
                assert!(
                    step.after
                        .iter()
                        .all(|needed| steps[..index].iter().any(|s| s.address == *needed))
                );
                assert!(steps[..index].iter().all(|before| before.address != step.address));
            }
        }
    }
}
