//! The names of a deployment on EKS.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use crate::domain::deployment::name::Name;
use crate::domain::deployment::owner::{Owner, Tags};

/// Longest name of a deployment on EKS: its roles have the region and a word more in 64 characters.
pub const LONGEST: usize = 36;

/// Label on everything of ours in a cluster: the deployment.
pub const DEPLOYMENT_LABEL: &str = "dataops-infra/deployment";
/// Label on everything of ours in a cluster: the generation.
pub const GENERATION_LABEL: &str = "dataops-infra/generation";
/// Who writes fields in a cluster.
pub const FIELD_MANAGER: &str = "dataops-infra";

/// Returns the labels of everything of ours in a cluster.
pub fn labels(owner: &Owner) -> Tags {
    Tags::from([
        (
            "app.kubernetes.io/managed-by".to_owned(),
            FIELD_MANAGER.to_owned(),
        ),
        (DEPLOYMENT_LABEL.to_owned(), owner.name.to_string()),
        (GENERATION_LABEL.to_owned(), owner.generation.to_string()),
    ])
}

/// What a role is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoleOf {
    /// The control plane.
    Cluster,
    /// The nodes.
    Nodes,
    /// The network add-on.
    Cni,
    /// The add-on for EBS volumes.
    Ebs,
    /// The add-on for EFS volumes.
    Efs,
    /// The CloudWatch agent.
    Observability,
    /// Cluster Autoscaler.
    Autoscaler,
    /// Job pods.
    Jobs,
}

impl RoleOf {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Cluster,
        Self::Nodes,
        Self::Cni,
        Self::Ebs,
        Self::Efs,
        Self::Observability,
        Self::Autoscaler,
        Self::Jobs,
    ];

    /// Returns the end of the role's name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Cluster => "eks",
            Self::Nodes => "node",
            Self::Cni => "cni",
            Self::Ebs => "ebs",
            Self::Efs => "efs",
            Self::Observability => "cw",
            Self::Autoscaler => "as",
            Self::Jobs => "jobs",
        }
    }

    /// Returns what it is for, for people.
    pub fn purpose(self) -> &'static str {
        match self {
            Self::Cluster => "the control plane acts with it",
            Self::Nodes => "nodes join the cluster and pull images with it",
            Self::Cni => "the network add-on gives pods their addresses with it",
            Self::Ebs => "the add-on for EBS volumes makes them with it",
            Self::Efs => "the add-on for EFS makes access points with it",
            Self::Observability => "the CloudWatch agent publishes with it",
            Self::Autoscaler => "Cluster Autoscaler sizes our node group with it",
            Self::Jobs => "job pods have it",
        }
    }

    /// Returns the address within the deployment, such as `role-node`.
    pub fn address(self) -> String {
        format!("role-{}", self.word())
    }
}

/// Returns the address of the access entry of a principal, such as `access-1a2b3c4d`.
///
/// The list of principals changes, and what is tagged with an address does not: a digest instead of a position.
pub fn access_address(principal: &str) -> String {
    let digest = Sha256::digest(principal);
    let digest: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("access-{digest}")
}

/// Returns the address of a log group of the cluster: EKS's own, or one of the agent's.
pub fn log_address(log_group: &str) -> &'static str {
    if log_group.starts_with("/aws/eks/") {
        "logs-cluster"
    } else {
        "logs-insights"
    }
}

impl Name {
    /// Returns the labels of our nodes, which jobs are put onto.
    pub fn node_labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(DEPLOYMENT_LABEL.to_owned(), self.to_string())])
    }

    /// Returns a role of a deployment on EKS; IAM has no regions, so the name has.
    pub fn eks_role(&self, region: &str, of: RoleOf) -> String {
        format!("dataops-{self}-{region}-{}", of.word())
    }

    /// Returns the launch template and the node group.
    pub fn node_group(&self) -> String {
        format!("dataops-infra-{self}")
    }

    /// Returns the security group of the file system.
    pub fn efs_security_group(&self) -> String {
        format!("dataops-infra-{self}-efs")
    }

    /// Returns the release of the chart.
    pub fn release(&self) -> String {
        self.to_string()
    }

    /// Returns the secret with the runner's token, in the namespace of the release.
    pub fn token_secret(&self) -> String {
        format!("{self}-registration")
    }

    /// Returns the secret with the registry's login.
    pub fn registry_secret(&self) -> String {
        format!("{self}-registry")
    }

    /// Returns the storage class; it has no namespace.
    pub fn storage_class(&self) -> String {
        format!("dataops-infra-{self}")
    }

    /// Returns the claim for the cache and, where it is static, its volume.
    pub fn cache_claim(&self) -> String {
        format!("{self}-cache")
    }

    /// Returns the service account of job pods.
    pub fn job_account(&self) -> String {
        format!("{self}-jobs")
    }

    /// Returns what Cluster Autoscaler and everything of its is called; cluster-wide ones too, so the name has the deployment.
    pub fn autoscaler(&self) -> String {
        format!("{self}-autoscaler")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_names_fit_roles_and_groups() {
        let name = Name::new(&"a".repeat(LONGEST)).expect("sound");
        for of in RoleOf::ALL {
            assert!(name.eks_role("ap-southeast-1", of).len() <= 64);
        }
        assert!(name.node_group().len() <= 63);
    }
}
