//! The resources of a deployment in the order in which they can be made.

use serde::Serialize;

use crate::domain::profile::Target;

/// One step; those that do not name each other in `after` can run at the same time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Address of the resource within the deployment.
    pub address: String,
    /// Kind of resource, as AWS names it.
    pub kind: &'static str,
    /// `create`, for the account has not been read.
    pub action: &'static str,
    /// Why.
    pub reason: String,
    /// Addresses that must exist before.
    pub after: Vec<String>,
}

/// Returns the steps for an empty account.
///
/// `hosts` is the number of EC2 hosts; `alarms` are the names of the alarms.
pub fn steps(target: Target, hosts: u32, alarms: &[&str]) -> Vec<Step> {
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
    match target {
        Target::Ec2 => {
            step(
                "role",
                "iam:role",
                "reads its token, reports metrics, takes SSM commands",
                &["record"],
            );
            step(
                "instance-profile",
                "iam:instance-profile",
                "hands the role to the host",
                &["role"],
            );
            step(
                "security-group",
                "ec2:security-group",
                "nothing in, HTTPS out",
                &["record"],
            );
            let hosts: Vec<String> = if hosts == 1 {
                vec!["host".to_owned()]
            } else {
                (1..=hosts).map(|number| format!("host-{number}")).collect()
            };
            for host in &hosts {
                step(
                    host,
                    "ec2:instance",
                    "the runner's host with its encrypted root volume",
                    &["instance-profile", "security-group", "token", "logs"],
                );
                for alarm in alarms {
                    let address = format!("alarm-{alarm}{}", host.strip_prefix("host").unwrap_or_default());
                    step(
                        &address,
                        "cloudwatch:alarm",
                        "on this host's exact dimensions",
                        &[host, "topic"],
                    );
                }
            }
        }
        Target::Eks => {
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
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_comes_after_what_it_needs_and_addresses_are_unique() {
        for (target, hosts) in [(Target::Ec2, 1), (Target::Ec2, 3), (Target::Eks, 2)] {
            let steps = steps(target, hosts, &["disk", "memory"]);
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
