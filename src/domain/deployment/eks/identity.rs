//! The roles: which a deployment has, who may take each, and the least it may do.

use serde_json::{Value, json};

use super::addons;
use super::name::RoleOf;
use super::spec::{Autoscaler, Eks};
use crate::domain::deployment::name::{Name, Place};
use crate::domain::deployment::resource::role;
use crate::domain::deployment::spec::Spec;

/// Returns the roles that a deployment has.
pub fn wanted(spec: &Spec) -> Vec<RoleOf> {
    let Some(eks) = &spec.eks else {
        return Vec::new();
    };
    let of_addon = |of: RoleOf| {
        eks.addons
            .keys()
            .any(|name| addons::account(name).is_some_and(|(role, ..)| role == of))
    };
    RoleOf::ALL
        .into_iter()
        .filter(|of| match of {
            RoleOf::Cluster => !eks.adopted,
            RoleOf::Nodes => eks.autoscaler != Autoscaler::Cluster,
            RoleOf::Cni | RoleOf::Ebs | RoleOf::Efs | RoleOf::Observability => of_addon(*of),
            RoleOf::Autoscaler => eks.autoscaler == Autoscaler::ClusterAutoscaler,
            RoleOf::Jobs => !eks.job_policies.is_empty(),
        })
        .collect()
}

/// Returns the namespace and the name of the service account that takes a role; none: not a pod takes it.
pub fn account(of: RoleOf, name: &Name, eks: &Eks) -> Option<(String, String)> {
    match of {
        RoleOf::Cluster | RoleOf::Nodes => None,
        RoleOf::Autoscaler => Some((eks.namespace.clone(), name.autoscaler())),
        RoleOf::Jobs => Some((eks.namespace.clone(), name.job_account())),
        RoleOf::Cni | RoleOf::Ebs | RoleOf::Efs | RoleOf::Observability => addons::ALL
            .iter()
            .filter_map(|addon| addons::account(addon))
            .find(|(role, ..)| *role == of)
            .map(|(_, namespace, account)| (namespace.to_owned(), account.to_owned())),
    }
}

/// Returns who may take a role.
///
/// The control plane only for this cluster
/// (<https://docs.aws.amazon.com/eks/latest/userguide/cross-service-confused-deputy-prevention.html>), nodes as every instance, and
/// Pod Identity only for the one service account of the one cluster, by the tags it sets on the session
/// (<https://docs.aws.amazon.com/eks/latest/userguide/pod-id-role.html>,
/// <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-abac.html>).
pub fn trust(of: RoleOf, name: &Name, eks: &Eks, place: &Place) -> Value {
    let cluster = place.arn("eks", &format!("cluster/{}", eks.cluster));
    let Some((namespace, account)) = account(of, name, eks) else {
        return match of {
            RoleOf::Nodes => role::trust(place),
            _ => json!({
                "Version": "2012-10-17",
                "Statement": [{
                    "Effect": "Allow",
                    "Principal": { "Service": "eks.amazonaws.com" },
                    "Action": "sts:AssumeRole",
                    "Condition": { "ArnLike": { "aws:SourceArn": cluster } },
                }],
            }),
        };
    };
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "Service": "pods.eks.amazonaws.com" },
            "Action": ["sts:AssumeRole", "sts:TagSession"],
            "Condition": { "StringEquals": {
                "aws:RequestTag/eks-cluster-arn": cluster,
                "aws:RequestTag/kubernetes-namespace": namespace,
                "aws:RequestTag/kubernetes-service-account": account,
            } },
        }],
    })
}

/// Returns the ARNs of the policies that a role has, in the order they are attached.
///
/// Cluster: <https://docs.aws.amazon.com/eks/latest/userguide/cluster-iam-role.html>. Nodes:
/// <https://docs.aws.amazon.com/eks/latest/userguide/create-node-role.html>; the network's policy is on its service account, but in a
/// cluster whose network is not ours it may be taken from the node, and then a node without it is never ready. Add-ons:
/// <https://docs.aws.amazon.com/eks/latest/userguide/workloads-add-ons-available-eks.html>; the agent traces nothing, so it has no
/// X-Ray policy. Jobs: what the user named.
pub fn attached(of: RoleOf, eks: &Eks, place: &Place) -> Vec<String> {
    let policies: &[&str] = match of {
        RoleOf::Cluster => &["AmazonEKSClusterPolicy"],
        RoleOf::Nodes if eks.addons.contains_key(addons::CNI) => {
            &["AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly"]
        }
        RoleOf::Nodes => &[
            "AmazonEKSWorkerNodePolicy",
            "AmazonEC2ContainerRegistryPullOnly",
            "AmazonEKS_CNI_Policy",
        ],
        RoleOf::Cni => &["AmazonEKS_CNI_Policy"],
        RoleOf::Ebs => &["service-role/AmazonEBSCSIDriverPolicy"],
        RoleOf::Efs => &["service-role/AmazonEFSCSIDriverPolicy"],
        RoleOf::Observability => &["CloudWatchAgentServerPolicy"],
        RoleOf::Autoscaler => &[],
        RoleOf::Jobs => return eks.job_policies.clone(),
    };
    policies
        .iter()
        .map(|policy| format!("arn:{}:iam::aws:policy/{policy}", place.partition()))
        .collect()
}

/// Returns a role's own policy; only Cluster Autoscaler has one, for AWS manages none for it.
///
/// Its actions are those that its authors name
/// (<https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/cloudprovider/aws/README.md>); what changes something is
/// allowed on our node group alone, by the tags that EKS sets on its Auto Scaling group.
pub fn inline(of: RoleOf, name: &Name, eks: &Eks, place: &Place) -> Option<Value> {
    if of != RoleOf::Autoscaler {
        return None;
    }
    let group = name.node_group();
    Some(json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "Look",
                "Effect": "Allow",
                "Action": [
                    "autoscaling:DescribeAutoScalingGroups",
                    "autoscaling:DescribeAutoScalingInstances",
                    "autoscaling:DescribeLaunchConfigurations",
                    "autoscaling:DescribeScalingActivities",
                    "autoscaling:DescribeTags",
                    "ec2:DescribeImages",
                    "ec2:DescribeInstanceTypes",
                    "ec2:DescribeLaunchTemplateVersions",
                    "ec2:GetInstanceTypesFromInstanceRequirements",
                ],
                "Resource": "*",
            },
            {
                "Sid": "NodeGroup",
                "Effect": "Allow",
                "Action": "eks:DescribeNodegroup",
                "Resource": place.arn("eks", &format!("nodegroup/{}/{group}/*", eks.cluster)),
            },
            {
                "Sid": "Scale",
                "Effect": "Allow",
                "Action": ["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"],
                "Resource": "*",
                "Condition": { "StringEquals": {
                    "aws:ResourceTag/eks:cluster-name": eks.cluster,
                    "aws:ResourceTag/eks:nodegroup-name": group,
                } },
            },
        ],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::eks;

    fn place(region: &str) -> Place {
        Place {
            account: "123456789012".to_owned(),
            region: region.to_owned(),
        }
    }

    #[test]
    fn a_pod_role_is_for_one_account_of_one_cluster() {
        let name = Name::new("abc").expect("sound");
        let trust = trust(RoleOf::Jobs, &name, &eks(), &place("cn-north-1"));
        insta::assert_snapshot!(trust["Statement"][0]["Condition"].to_string(), @r#"{"StringEquals":{"aws:RequestTag/eks-cluster-arn":"arn:aws-cn:eks:cn-north-1:123456789012:cluster/abc","aws:RequestTag/kubernetes-namespace":"dataops","aws:RequestTag/kubernetes-service-account":"abc-jobs"}}"#);
        for of in RoleOf::ALL {
            let pods = !matches!(of, RoleOf::Cluster | RoleOf::Nodes);
            assert_eq!(account(of, &name, &eks()).is_some(), pods, "{of:?}");
        }
    }

    #[test]
    fn policies_are_of_the_partition() {
        let eks = eks();
        for of in RoleOf::ALL {
            for policy in attached(of, &eks, &place("us-gov-west-1")) {
                let theirs = eks.job_policies.contains(&policy);
                assert!(
                    theirs || policy.starts_with("arn:aws-us-gov:iam::aws:policy/"),
                    "{policy}"
                );
            }
        }
    }

    #[test]
    fn nodes_carry_the_network_policy_only_where_the_network_is_not_ours() {
        let mut eks = eks();
        let network = |eks: &Eks| {
            attached(RoleOf::Nodes, eks, &place("eu-west-2"))
                .iter()
                .any(|policy| policy.ends_with("/AmazonEKS_CNI_Policy"))
        };
        assert!(!network(&eks));
        eks.addons.remove(addons::CNI);
        assert!(network(&eks));
    }

    #[test]
    fn the_autoscaler_changes_our_nodes_alone() {
        let name = Name::new("abc").expect("sound");
        let policy = inline(RoleOf::Autoscaler, &name, &eks(), &place("eu-west-2")).expect("it has a policy");
        for statement in policy["Statement"].as_array().expect("statements") {
            let changes = statement["Action"].to_string().contains("Set")
                || statement["Action"].to_string().contains("Terminate");
            assert_eq!(changes, statement.get("Condition").is_some(), "{statement}");
        }
    }
}
