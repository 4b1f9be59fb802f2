//! Clusters.

use aws_sdk_eks::types::{
    AuthenticationMode, Cluster as Description, ClusterIssue, CreateAccessConfigRequest, EncryptionConfig,
    LogSetup, LogType, Logging, Provider, SupportType, UpgradePolicyRequest, VpcConfigRequest,
    VpcConfigResponse,
};

use super::Scene;
use crate::aws::clients::Clients;
use crate::aws::error::{CallError, classify};
use crate::aws::role::or_missing;
use crate::domain::deployment::eks::health::finding;
use crate::domain::deployment::eks::name::RoleOf;
use crate::domain::deployment::eks::observed::Cluster;
use crate::domain::deployment::eks::spec::{Eks, Endpoint};
use crate::domain::deployment::observed::Tagged;
use crate::domain::deployment::owner::Tags;
use crate::engine::port::Ids;

const DESCRIBE: &str = "eks:DescribeCluster";
const CREATE: &str = "eks:CreateCluster";
const CONFIGURE: &str = "eks:UpdateClusterConfig";
const VERSION: &str = "eks:UpdateClusterVersion";
const DELETE: &str = "eks:DeleteCluster";
const TAG: &str = "eks:TagResource";

/// All kinds of logs of a control plane.
const LOG_TYPES: [LogType; 5] = [
    LogType::Api,
    LogType::Audit,
    LogType::Authenticator,
    LogType::ControllerManager,
    LogType::Scheduler,
];

/// Add-ons that EKS would install by itself, unmanaged, if it is not told that they come
/// (<https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateCluster.html>, `bootstrapSelfManagedAddons`).
const BOOTSTRAPPED: [&str; 3] = ["coredns", "kube-proxy", "vpc-cni"];

/// Reads a cluster.
pub async fn read(clients: &Clients, name: &str) -> Result<Option<Tagged<Cluster>>, CallError> {
    let answer = clients.eks.describe_cluster().name(name).send().await;
    let answer = or_missing(answer.map_err(|error| classify(DESCRIBE, &error)))?;
    Ok(answer
        .and_then(|answer| answer.cluster)
        .map(|cluster| described(&cluster)))
}

fn issue(issue: &ClusterIssue) -> String {
    let code = issue.code().map_or("Unknown", |code| code.as_str());
    finding(code, issue.message().unwrap_or_default(), issue.resource_ids())
}

fn described(cluster: &Description) -> Tagged<Cluster> {
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let network = cluster.resources_vpc_config();
    let logs = cluster
        .logging()
        .map(Logging::cluster_logging)
        .unwrap_or_default();
    let mut log_types: Vec<String> = logs
        .iter()
        .filter(|setup| setup.enabled() == Some(true))
        .flat_map(|setup| setup.types().iter().map(|kind| kind.as_str().to_owned()))
        .collect();
    log_types.sort();
    let key = cluster
        .encryption_config()
        .iter()
        .find_map(|config| config.provider()?.key_arn());
    Tagged {
        tags: cluster.tags().cloned().unwrap_or_default().into_iter().collect(),
        it: Cluster {
            arn: text(cluster.arn()),
            status: cluster.status().map_or("", |status| status.as_str()).to_owned(),
            version: text(cluster.version()),
            support: cluster
                .upgrade_policy()
                .and_then(|policy| policy.support_type())
                .map_or("", SupportType::as_str)
                .to_owned(),
            endpoint: text(cluster.endpoint()),
            authority: text(
                cluster
                    .certificate_authority()
                    .and_then(|authority| authority.data()),
            ),
            vpc: text(network.and_then(|network| network.vpc_id())),
            subnets: network
                .map(|network| network.subnet_ids().to_vec())
                .unwrap_or_default(),
            security_group: network
                .and_then(|network| network.cluster_security_group_id())
                .map(str::to_owned),
            public: network.is_some_and(VpcConfigResponse::endpoint_public_access),
            private: network.is_some_and(VpcConfigResponse::endpoint_private_access),
            cidrs: network
                .map(|network| network.public_access_cidrs().to_vec())
                .unwrap_or_default(),
            log_types,
            secrets_key: key.map(str::to_owned),
            authentication: cluster
                .access_config()
                .and_then(|access| access.authentication_mode())
                .map_or("", AuthenticationMode::as_str)
                .to_owned(),
            auto_mode: cluster
                .compute_config()
                .is_some_and(|compute| compute.enabled() == Some(true)),
            role: text(cluster.role_arn()),
            issues: cluster
                .health()
                .map(|health| health.issues().iter().map(issue).collect())
                .unwrap_or_default(),
        },
    }
}

/// Returns who may reach the API server, without the subnets, which a change must not name.
fn endpoint(endpoint: &Endpoint) -> VpcConfigRequest {
    let cidrs = if endpoint.public && endpoint.cidrs.is_empty() {
        vec!["0.0.0.0/0".to_owned()]
    } else {
        endpoint.cidrs.clone()
    };
    VpcConfigRequest::builder()
        .endpoint_public_access(endpoint.public)
        .endpoint_private_access(endpoint.private)
        .set_public_access_cidrs(endpoint.public.then_some(cidrs))
        .build()
}

/// Returns which logs are kept, and which are not: what is left out of a change stays as it is.
fn logging(kept: &[String]) -> Logging {
    let setup = |enabled: bool| {
        let types: Vec<LogType> = LOG_TYPES
            .into_iter()
            .filter(|kind| kept.iter().any(|kept| kept == kind.as_str()) == enabled)
            .collect();
        (!types.is_empty()).then(|| {
            LogSetup::builder()
                .enabled(enabled)
                .set_types(Some(types))
                .build()
        })
    };
    let setups = [true, false].into_iter().filter_map(setup).collect();
    Logging::builder().set_cluster_logging(Some(setups)).build()
}

fn standard_support() -> UpgradePolicyRequest {
    UpgradePolicyRequest::builder()
        .support_type(SupportType::Standard)
        .build()
}

/// Returns what a key encrypts. EKS encrypts everything with it since its Kubernetes 1.28, and still takes the word.
#[expect(deprecated, reason = "older endpoints want to be told what is encrypted")]
fn encryption(key: &str) -> EncryptionConfig {
    EncryptionConfig::builder()
        .resources("secrets")
        .provider(Provider::builder().key_arn(key).build())
        .build()
}

/// Makes the cluster; returns its ARN.
///
/// Whoever makes it may do everything in it, so that the objects in it can be made; add-ons are only those of ours.
pub async fn create(scene: &Scene<'_>, eks: &Eks, ids: &Ids) -> Result<String, CallError> {
    let subnets = scene.record.spec.subnets.iter().map(|subnet| subnet.id.clone());
    let mut network = endpoint(&eks.endpoint);
    network.subnet_ids = Some(subnets.collect());
    let encryption = eks.secrets_key.as_deref().map(|key| vec![encryption(key)]);
    let ours = BOOTSTRAPPED.iter().all(|name| eks.addons.contains_key(*name));
    let access = CreateAccessConfigRequest::builder()
        .authentication_mode(AuthenticationMode::Api)
        .bootstrap_cluster_creator_admin_permissions(true)
        .build();
    let answer = scene
        .clients
        .eks
        .create_cluster()
        .name(&eks.cluster)
        .version(&eks.version)
        .role_arn(scene.role_arn(RoleOf::Cluster, ids))
        .resources_vpc_config(network)
        .logging(logging(&eks.log_types))
        .set_encryption_config(encryption)
        .access_config(access)
        .bootstrap_self_managed_addons(!ours)
        .upgrade_policy(standard_support())
        .set_tags(Some(scene.tags("cluster").into_iter().collect()))
        .send()
        .await
        .map_err(|error| classify(CREATE, &error))?;
    let arn = answer.cluster().and_then(|cluster| cluster.arn());
    arn.map(str::to_owned).ok_or(CallError::Malformed {
        action: CREATE,
        cause: "no ARN".to_owned(),
    })
}

/// What of a cluster is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Who may reach the API server.
    Endpoint,
    /// Which logs are kept.
    Logging,
    /// For how long EKS keeps the version.
    Support,
}

/// Changes a part of the configuration; returns the change that EKS carries out.
pub async fn configure(clients: &Clients, eks: &Eks, part: Part) -> Result<Option<String>, CallError> {
    let call = clients.eks.update_cluster_config().name(&eks.cluster);
    let call = match part {
        Part::Endpoint => call.resources_vpc_config(endpoint(&eks.endpoint)),
        Part::Logging => call.logging(logging(&eks.log_types)),
        Part::Support => call.upgrade_policy(standard_support()),
    };
    let answer = call.send().await.map_err(|error| classify(CONFIGURE, &error))?;
    Ok(answer.update.and_then(|update| update.id))
}

/// Whether a part is as it is wanted.
pub fn is_as_wanted(cluster: &Cluster, eks: &Eks, part: Part) -> bool {
    let sorted = |list: &[String]| {
        let mut list = list.to_vec();
        list.sort();
        list
    };
    match part {
        Part::Endpoint => {
            let wanted = endpoint(&eks.endpoint);
            let cidrs = wanted.public_access_cidrs.unwrap_or_default();
            cluster.public == eks.endpoint.public
                && cluster.private == eks.endpoint.private
                && (!cluster.public || sorted(&cluster.cidrs) == sorted(&cidrs))
        }
        Part::Logging => sorted(&cluster.log_types) == sorted(&eks.log_types),
        Part::Support => cluster.support == "STANDARD",
    }
}

/// Upgrades the control plane, also where EKS's own checks say that the cluster is not ready; returns the change that EKS carries
/// out.
pub async fn upgrade(
    clients: &Clients,
    name: &str,
    version: &str,
    force: bool,
) -> Result<Option<String>, CallError> {
    let answer = clients
        .eks
        .update_cluster_version()
        .name(name)
        .version(version)
        .set_force(force.then_some(true))
        .send()
        .await
        .map_err(|error| classify(VERSION, &error))?;
    Ok(answer.update.and_then(|update| update.id))
}

/// Removes a cluster.
pub async fn delete(clients: &Clients, name: &str) -> Result<(), CallError> {
    clients
        .eks
        .delete_cluster()
        .name(name)
        .send()
        .await
        .map_err(|error| classify(DELETE, &error))?;
    Ok(())
}

/// Sets tags on anything of EKS.
pub async fn set_tags(clients: &Clients, arn: &str, tags: &Tags) -> Result<(), CallError> {
    clients
        .eks
        .tag_resource()
        .resource_arn(arn)
        .set_tags(Some(tags.clone().into_iter().collect()))
        .send()
        .await
        .map_err(|error| classify(TAG, &error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_log_is_said_to_be_kept_or_not() {
        let setups = logging(&["audit".to_owned(), "api".to_owned()]);
        let (kept, not) = (&setups.cluster_logging()[0], &setups.cluster_logging()[1]);
        assert_eq!(kept.types(), [LogType::Api, LogType::Audit]);
        assert_eq!((kept.enabled(), not.enabled()), (Some(true), Some(false)));
        assert_eq!(not.types().len(), 3);
        assert_eq!(logging(&[]).cluster_logging().len(), 1);
    }

    #[test]
    fn ranges_are_named_for_a_public_endpoint_only() {
        let all = endpoint(&Endpoint::default());
        assert_eq!(all.public_access_cidrs(), ["0.0.0.0/0"]);
        let private = Endpoint {
            public: false,
            ..Endpoint::default()
        };
        assert_eq!(endpoint(&private).public_access_cidrs, None);
    }
}
