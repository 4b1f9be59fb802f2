//! The add-ons: which ones a cluster gets, when, with which settings and roles.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::name::RoleOf;
use super::operation::AddonSpec;
use super::spec::StorageMode;
use crate::domain::deployment::spec::Spec;

/// Pod networking.
pub const CNI: &str = "vpc-cni";
/// Names within the cluster.
pub const DNS: &str = "coredns";
/// Services within the cluster.
pub const PROXY: &str = "kube-proxy";
/// Gives service accounts their roles.
pub const POD_IDENTITY: &str = "eks-pod-identity-agent";
/// EBS volumes.
pub const EBS: &str = "aws-ebs-csi-driver";
/// EFS volumes.
pub const EFS: &str = "aws-efs-csi-driver";
/// The CloudWatch agent.
pub const OBSERVABILITY: &str = "amazon-cloudwatch-observability";

/// All that a new cluster may get, in the order they are installed.
///
/// Through the API nothing comes by itself
/// (<https://docs.aws.amazon.com/eks/latest/userguide/workloads-add-ons-available-eks.html>).
pub const ALL: [&str; 7] = [CNI, PROXY, POD_IDENTITY, DNS, EBS, EFS, OBSERVABILITY];

/// Whether an add-on must be there before nodes are made.
///
/// A node without pod networking is never ready, and the network add-on gets its role from the Pod Identity agent. These run
/// once on each node and nowhere else, so they are active without one; the others have pods to schedule first.
pub fn comes_before_nodes(name: &str) -> bool {
    [CNI, PROXY, POD_IDENTITY].contains(&name)
}

/// Returns the add-ons that a cluster needs for a deployment.
///
/// A cluster that is adopted keeps its network and gets what is missing of the rest; in EKS Auto Mode Pod Identity is built in
/// (<https://docs.aws.amazon.com/eks/latest/userguide/automode.html>).
pub fn needed(adopted: bool, auto_mode: bool, storage: StorageMode) -> Vec<&'static str> {
    ALL.into_iter()
        .filter(|name| match *name {
            CNI | PROXY | DNS | EBS => !adopted,
            POD_IDENTITY => !auto_mode,
            EFS => storage != StorageMode::None,
            _ => true,
        })
        .collect()
}

/// Returns the add-ons of a deployment as they shall be, in the order they are installed.
pub fn addons(spec: &Spec) -> Vec<AddonSpec> {
    let Some(eks) = &spec.eks else {
        return Vec::new();
    };
    let place = |name: &str| ALL.iter().position(|known| *known == name).unwrap_or(ALL.len());
    let mut addons: Vec<AddonSpec> = eks
        .addons
        .iter()
        .map(|(name, version)| AddonSpec {
            name: name.clone(),
            version: version.clone(),
            configuration: configuration(name, version),
            accounts: accounts(name),
        })
        .collect();
    addons.sort_by_key(|addon| place(&addon.name));
    addons
}

/// Returns the role that an add-on's service account takes, and the namespace and name of that account.
///
/// Names as `DescribeAddonConfiguration` gives them
/// (<https://docs.aws.amazon.com/eks/latest/userguide/workloads-add-ons-available-eks.html>). Of EFS only the controller talks to
/// AWS: its nodes need a role for mounts across accounts alone.
pub fn account(name: &str) -> Option<(RoleOf, &'static str, &'static str)> {
    match name {
        CNI => Some((RoleOf::Cni, "kube-system", "aws-node")),
        EBS => Some((RoleOf::Ebs, "kube-system", "ebs-csi-controller-sa")),
        EFS => Some((RoleOf::Efs, "kube-system", "efs-csi-controller-sa")),
        OBSERVABILITY => Some((RoleOf::Observability, "amazon-cloudwatch", "cloudwatch-agent")),
        _ => None,
    }
}

fn accounts(name: &str) -> BTreeMap<String, RoleOf> {
    account(name)
        .map(|(of, _, account)| (account.to_owned(), of))
        .into_iter()
        .collect()
}

/// Returns the settings of an add-on; most have none that matter here.
///
/// The agent: Container Insights, whose metrics alarms watch; no container logs and no Application Signals, which are on by
/// default and cost money; and where the OpenTelemetry pipeline exists (version 6 on), it is off whatever its default, for it
/// publishes under other names (<https://github.com/aws-observability/helm-charts/blob/main/RELEASE_NOTES>). The configuration of the
/// agent is said whole, which leaves Application Signals out in every version
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/install-CloudWatch-Observability-EKS-addon.html>).
/// `enhanced_container_insights` gives the pods that wait, which the classic metrics do not count.
pub fn configuration(name: &str, version: &str) -> Option<Value> {
    if name != OBSERVABILITY {
        return None;
    }
    let mut settings = json!({
        "agent": { "config": { "logs": { "metrics_collected": {
            "kubernetes": { "enhanced_container_insights": true },
        } } } },
        "containerLogs": { "enabled": false },
    });
    if major(version).is_none_or(|major| major >= 6) {
        settings["otelContainerInsights"] = json!({ "enabled": false });
    }
    Some(settings)
}

/// Returns the first number of a version such as `v6.2.0-eksbuild.1`.
fn major(version: &str) -> Option<u32> {
    version
        .trim_start_matches('v')
        .split(['.', '-'])
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nodes_need_comes_first() {
        let late = ALL.iter().position(|name| !comes_before_nodes(name));
        assert_eq!(late, Some(3));
        assert!(ALL[3..].iter().all(|name| !comes_before_nodes(name)));
    }

    #[test]
    fn an_adopted_cluster_keeps_its_network() {
        assert_eq!(
            needed(true, false, StorageMode::Static),
            [POD_IDENTITY, EFS, OBSERVABILITY]
        );
        assert_eq!(needed(true, true, StorageMode::Dynamic), [EFS, OBSERVABILITY]);
        assert_eq!(needed(true, true, StorageMode::None), [OBSERVABILITY]);
        assert_eq!(needed(false, false, StorageMode::Static), ALL);
    }

    #[test]
    fn the_agent_has_one_pipeline_whatever_its_version() {
        let settings = |version| configuration(OBSERVABILITY, version).expect("it has settings");
        for version in ["v4.10.3-eksbuild.1", "v5.2.1-eksbuild.2"] {
            assert_eq!(settings(version).get("otelContainerInsights"), None, "{version}");
        }
        for version in [
            "v6.0.1-eksbuild.1",
            "v6.2.0-eksbuild.1",
            "v10.0.0-eksbuild.1",
            "odd",
        ] {
            assert_eq!(
                settings(version)["otelContainerInsights"]["enabled"],
                false,
                "{version}"
            );
            assert_eq!(settings(version)["containerLogs"]["enabled"], false, "{version}");
        }
        assert_eq!(configuration(DNS, "v1.11.4-eksbuild.2"), None);
    }
}
