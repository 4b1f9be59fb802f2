//! What EKS's own findings on clusters, node groups and add-ons mean: whether they mend themselves, and what mends them.
//!
//! Findings are texts that begin with a code: `NodeCreationFailure: Instances failed to join the kubernetes cluster (i-…)`. Codes
//! are those of the API
//! (<https://docs.aws.amazon.com/eks/latest/APIReference/API_Issue.html>,
//! <https://docs.aws.amazon.com/eks/latest/APIReference/API_AddonIssue.html>,
//! <https://docs.aws.amazon.com/eks/latest/APIReference/API_ClusterIssue.html>,
//! <https://docs.aws.amazon.com/eks/latest/APIReference/API_ErrorDetail.html>).

/// Returns a finding as text.
pub fn finding(code: &str, message: &str, resources: &[String]) -> String {
    let mut text = code.to_owned();
    if !message.is_empty() {
        text.push_str(": ");
        text.push_str(message.trim());
    }
    if !resources.is_empty() {
        text.push_str(&format!(" ({})", resources.join(", ")));
    }
    text
}

/// Returns the code of a finding.
pub fn code(finding: &str) -> &str {
    let end = finding.find([':', ' ']).unwrap_or(finding.len());
    &finding[..end]
}

/// Codes of what stays as it is until somebody does something.
const LASTING: &[&str] = &[
    "AccessDenied",
    "AddonPermissionFailure",
    "AddonSubscriptionNeeded",
    "AdmissionRequestDenied",
    "AmiIdNotFound",
    "AutoScalingGroupInvalidConfiguration",
    "AutoScalingGroupNotFound",
    "AutoScalingGroupOptInRequired",
    "ConfigurationConflict",
    "Ec2InstanceTypeDoesNotExist",
    "Ec2LaunchTemplateInvalidConfiguration",
    "Ec2LaunchTemplateMaxLimitExceeded",
    "Ec2LaunchTemplateNotFound",
    "Ec2LaunchTemplateVersionMaxLimitExceeded",
    "Ec2LaunchTemplateVersionMismatch",
    "Ec2SecurityGroupNotFound",
    "Ec2ServiceNotSubscribed",
    "Ec2SubnetInvalidConfiguration",
    "Ec2SubnetListTooLong",
    "Ec2SubnetMissingIpv6Assignment",
    "Ec2SubnetNotFound",
    "IamInstanceProfileNotFound",
    "IamLimitExceeded",
    "IamNodeRoleNotFound",
    "IamRoleNotFound",
    "InstanceLimitExceeded",
    "InsufficientFreeAddresses",
    "KmsGrantRevoked",
    "KmsKeyDisabled",
    "KmsKeyMarkedForDeletion",
    "KmsKeyNotFound",
    "KubernetesLabelInvalid",
    "LimitExceeded",
    "ResourceLimitExceeded",
    "SourceEc2LaunchTemplateNotFound",
    "StsRegionalEndpointDisabled",
    "UnsupportedAddonModification",
    "UnsupportedVersion",
    "VpcNotFound",
];

/// What a message says where an Auto Scaling group tries in vain again and again.
///
/// The group tells capacity and refusals by one code; capacity may come, the rest does not.
const VAIN: &[&str] = &[
    "VcpuLimitExceeded",
    "vCPU limit",
    "MaxSpotInstanceCountExceeded",
    "UnauthorizedOperation",
    "not authorized",
    "InvalidParameter",
    "not supported",
    "Unsupported",
    "KMS",
    "OptInRequired",
    "pending verification",
];

/// Whether what was found may mend itself while one waits; what is not known may.
pub fn may_mend(finding: &str) -> bool {
    match code(finding) {
        "AsgInstanceLaunchFailures" => !VAIN.iter().any(|vain| finding.contains(vain)),
        code => !LASTING.contains(&code),
    }
}

/// Returns what mends a finding; none for what only EKS can mend.
pub fn advice(finding: &str) -> Option<&'static str> {
    Some(match code(finding) {
        "NodeCreationFailure" => {
            "nodes do not reach the API server or their images: give their subnets a way out (NAT, or public addresses) or \
             VPC endpoints, keep the endpoint open to them, and see that the add-on vpc-cni runs"
        }
        "AsgInstanceLaunchFailures" | "InstanceLimitExceeded" => {
            "EC2 does not launch nodes: ask for more vCPUs (quota L-1216C47A), or choose another type (--instance-type) or more \
             zones (--zones)"
        }
        "InsufficientFreeAddresses" | "EniLimitReached" | "IpNotAvailable" => {
            "the subnets have too few free addresses: free some, or make it in larger ones (--subnets)"
        }
        "AccessDenied" => {
            "a role lacks a permission or its trust: see what the message names, and run `up` again"
        }
        "InsufficientNumberOfReplicas" => {
            "pods of the add-on find no node or do not start: see that nodes are ready and large enough"
        }
        "ConfigurationConflict" => {
            "somebody else set the same fields in the cluster: take their change away, or leave the add-on to them"
        }
        "AdmissionRequestDenied" => {
            "an admission webhook of the cluster refuses the add-on: change its rules"
        }
        "UnsupportedAddonModification" => {
            "this change is not possible in place: remove the add-on and run `up` again"
        }
        "PodEvictionFailure" => {
            "a pod does not let itself be moved: wait for its job, or loosen its disruption budget, and run `up` again"
        }
        "IamNodeRoleNotFound" | "IamRoleNotFound" | "IamInstanceProfileNotFound" => {
            "a role is gone: run `up` again, which makes it"
        }
        "Ec2LaunchTemplateNotFound" | "Ec2LaunchTemplateVersionMismatch" => {
            "the launch template was changed by somebody else: remove the node group and run `up` again"
        }
        "Ec2SubnetInvalidConfiguration" => {
            "a subnet gives no public address and has no NAT: change that, or choose other subnets (--subnets)"
        }
        "Ec2SubnetNotFound" | "SubnetNotFound" | "VpcNotFound" | "VpcIdNotFound" => {
            "the network that the cluster was made in is gone"
        }
        "KmsKeyDisabled" | "KmsKeyNotFound" | "KmsKeyMarkedForDeletion" | "KmsGrantRevoked" => {
            "the key of the cluster's secrets cannot be used: enable it, or give EKS its grant back"
        }
        _ => return None,
    })
}

/// Returns findings as one text, each with what mends it; empty where there are none.
pub fn told(findings: &[String]) -> String {
    let told = |finding: &String| match advice(finding) {
        Some(advice) => format!("{finding}; {advice}"),
        None => finding.clone(),
    };
    findings.iter().map(told).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_have_codes() {
        let text = finding(
            "NodeCreationFailure",
            "Instances failed to join",
            &["i-1".to_owned(), "i-2".to_owned()],
        );
        assert_eq!(text, "NodeCreationFailure: Instances failed to join (i-1, i-2)");
        assert_eq!(code(&text), "NodeCreationFailure");
        assert_eq!(code("AccessDenied"), "AccessDenied");
        assert!(told(&[text]).contains("way out"));
    }

    #[test]
    fn capacity_may_come_and_a_quota_does_not_move() {
        for (text, mends) in [
            (
                "AsgInstanceLaunchFailures: Could not launch On-Demand Instances. InsufficientInstanceCapacity - no",
                true,
            ),
            (
                "AsgInstanceLaunchFailures: Could not launch On-Demand Instances. VcpuLimitExceeded - You have",
                false,
            ),
            ("InsufficientNumberOfReplicas: The add-on is unhealthy", true),
            ("ConfigurationConflict: Conflicts found", false),
            ("AccessDenied: no", false),
            ("A code of tomorrow", true),
        ] {
            assert_eq!(may_mend(text), mends, "{text}");
        }
    }
}
