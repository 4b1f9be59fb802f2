//! Calls to EKS and what belongs to a cluster: the engine's cloud for a deployment on EKS.
//!
//! One file per kind. `state` turns what EKS says of a thing into what a wait makes of it.

pub mod access;
pub mod addon;
pub mod cluster;
pub mod inside;
pub mod nodes;
pub mod observe;
pub mod preflight;
pub mod role;
pub mod state;
pub mod storage;
pub mod template;
pub mod update;

use super::clients::Clients;
use super::error::{CallError, Refusal};
use super::{instance, logs, parameter};
use crate::aws::deployed::RECORD_GONE;
use crate::domain::deployment::eks::name::{RoleOf, access_address, log_address};
use crate::domain::deployment::eks::operation::EksOperation;
use crate::domain::deployment::eks::spec::Eks;
use crate::domain::deployment::name::{IAM_PATH, Place};
use crate::domain::deployment::owner::{Owner, Tags, told};
use crate::domain::deployment::record::{Phase, Record};
use crate::domain::deployment::secret::Secret;
use crate::domain::deployment::up;
use crate::engine::port::{Done, Found, Ids, Sight};

/// What a deployment is called that is on EC2.
const NONE: &str = "eks";

/// A deployment, and the clients to reach it.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// Clients.
    pub clients: &'a Clients,
    /// Where.
    pub place: &'a Place,
    /// The record.
    pub record: &'a Record,
    /// Whose things are ours.
    pub owner: &'a Owner,
    /// The token that the user gave in this run.
    pub secret: Option<&'a Secret>,
    /// Changes that EKS carries out.
    pub updates: &'a update::Updates,
}

impl<'a> Scene<'a> {
    /// Returns what is wanted on EKS.
    ///
    /// # Errors
    ///
    /// The record is of a deployment on EC2.
    pub fn eks(&self) -> Result<&'a Eks, CallError> {
        self.record.spec.eks.as_deref().ok_or(CallError::Malformed {
            action: NONE,
            cause: format!("the record of {} is not of a deployment on EKS", self.owner.name),
        })
    }

    /// Returns the name of a role.
    fn role(&self, of: RoleOf) -> String {
        self.owner.name.eks_role(&self.place.region, of)
    }

    /// Returns the ARN of a role, which follows from its name also where no step of this run made it.
    fn role_arn(&self, of: RoleOf, ids: &Ids) -> String {
        let known = ids
            .get(&of.address())
            .filter(|id| id.starts_with("arn:"))
            .cloned();
        known.unwrap_or_else(|| self.place.iam_arn(&format!("role{IAM_PATH}{}", self.role(of))))
    }

    fn tags(&self, address: &str) -> Tags {
        up::tags(self.record, address)
    }

    /// Returns the client token of what is made at an address: the same in a second run.
    ///
    /// For what has no name that AWS keeps unique. The rest is refused the second time and found, and may be made again in the same
    /// life after it failed or was removed, which a token that AWS remembers would hide.
    fn token(&self, address: &str) -> String {
        let tried = self.record.launch(address);
        self.record
            .generation
            .client_token(address, tried.launch, tried.rung)
    }

    /// Says whose something is by its tags.
    fn claim(&self, tags: &Tags, address: &str, what: &str, id: Option<String>) -> Found {
        if self.owner.owns(tags, address) {
            Found::Ours(id)
        } else {
            Found::Foreign(format!("{what} {}", told(tags)))
        }
    }

    /// Returns why a run that makes things is to stop waiting: another one removes the deployment.
    async fn unwanted(&self) -> Result<Option<String>, CallError> {
        let name = self.owner.name.record();
        let parameters = parameter::read(self.clients, std::slice::from_ref(&name), false).await?;
        let Some(record) = parameters.get(&name) else {
            return Ok(Some(RECORD_GONE.to_owned()));
        };
        Ok(match Record::read(&self.owner.name, &record.value) {
            Ok(record) if record.generation == self.owner.generation && record.phase == Phase::Present => {
                None
            }
            Ok(_) => Some("another run removes the deployment".to_owned()),
            Err(unreadable) => Some(unreadable.to_string()),
        })
    }
}

/// Returns the identity of what a step made.
fn made<'a>(ids: &'a Ids, address: &str, action: &'static str) -> Result<&'a str, CallError> {
    ids.get(address)
        .map(String::as_str)
        .ok_or_else(|| CallError::Refused {
            action,
            why: Refusal::Other,
            cause: format!("the identity of {address} is not known, which an earlier step makes"),
        })
}

/// Returns a call that told an identity.
fn with_id(id: String) -> Done {
    Done {
        id: Some(id),
        ..Done::default()
    }
}

/// Makes the call of a step.
pub async fn perform(scene: &Scene<'_>, operation: &EksOperation, ids: &Ids) -> Result<Done, CallError> {
    let clients = scene.clients;
    let eks = scene.eks()?;
    let cluster = eks.cluster.as_str();
    match operation {
        EksOperation::CreateRole { of, trust } => {
            role::create(scene, *of, trust).await?;
            return Ok(with_id(scene.role_arn(*of, &Ids::new())));
        }
        EksOperation::UpdateTrust { of, trust } => {
            super::role::update_trust(clients, &scene.role(*of), trust).await?;
        }
        EksOperation::AttachPolicy { of, policy } => role::attach(clients, &scene.role(*of), policy).await?,
        EksOperation::DetachPolicy { of, policy } => role::detach(clients, &scene.role(*of), policy).await?,
        EksOperation::PutPolicy { of, policy } => {
            super::role::put_policy(clients, &scene.role(*of), policy).await?;
        }
        EksOperation::DeletePolicy { of } => super::role::delete_policy(clients, &scene.role(*of)).await?,
        EksOperation::DeleteRole { of } => super::role::delete_role(clients, &scene.role(*of)).await?,
        EksOperation::CreateCluster => return cluster::create(scene, eks, ids).await.map(with_id),
        EksOperation::DeleteCluster => cluster::delete(clients, cluster).await?,
        EksOperation::UpdateEndpoint
        | EksOperation::UpdateLogging
        | EksOperation::UpdateSupport
        | EksOperation::UpdateVersion { .. }
        | EksOperation::ScaleNodeGroup { .. }
        | EksOperation::UpdateNodeGroup { .. }
        | EksOperation::UpdateAddon { .. } => update::begin(scene, eks, operation, ids).await?,
        EksOperation::CreateAccessEntry { principal } => {
            access::create_entry(scene, cluster, principal).await?;
        }
        EksOperation::AssociateAccessPolicy { principal } => {
            access::associate_policy(scene, cluster, principal).await?;
        }
        EksOperation::DeleteAccessEntry { principal } => {
            access::delete_entry(clients, cluster, principal).await?;
        }
        EksOperation::CreateLaunchTemplate { tags, digest } => {
            return template::create(scene, tags, digest).await.map(with_id);
        }
        EksOperation::NewTemplateVersion {
            template,
            tags,
            digest,
        } => {
            template::new_version(scene, template, tags, digest).await?;
            return Ok(with_id(template.clone()));
        }
        EksOperation::DeleteLaunchTemplate { template } => template::delete(clients, template).await?,
        EksOperation::CreateNodeGroup => nodes::create(scene, eks, ids).await?,
        EksOperation::DeleteNodeGroup => {
            nodes::delete(clients, cluster, &scene.owner.name.node_group()).await?;
        }
        EksOperation::CreateAddon { addon } => addon::create(scene, eks, addon, ids).await?,
        EksOperation::DeleteAddon { name } => addon::delete(clients, cluster, name).await?,
        EksOperation::CreatePodIdentity {
            namespace,
            account,
            of,
        } => {
            let id = access::create_identity(scene, cluster, namespace, account, *of, ids).await?;
            return Ok(with_id(id));
        }
        EksOperation::DeletePodIdentity { id } => access::delete_identity(clients, cluster, id).await?,
        EksOperation::CreateFileSystem => return storage::create(scene).await.map(with_id),
        EksOperation::DeleteFileSystem { id } => storage::delete(clients, id).await?,
        EksOperation::KeepFileSystem { id } => storage::keep(scene, id).await?,
        EksOperation::CreateMountTarget { subnet } => {
            return storage::create_target(scene, eks, subnet, ids).await.map(with_id);
        }
        EksOperation::DeleteMountTarget { id } => storage::delete_target(clients, id).await?,
        EksOperation::CreateEfsGroup { vpc } => return storage::create_group(scene, vpc).await.map(with_id),
        EksOperation::AllowNfs { cidrs } => storage::allow_nfs(scene, cidrs, ids).await?,
        EksOperation::CreateLogGroup { name } => {
            logs::create(clients, name, &scene.tags(log_address(name))).await?;
        }
        EksOperation::SetRetention { name, days } => logs::set_retention(clients, name, *days).await?,
        EksOperation::DeleteLogGroup { name } => logs::delete(clients, name).await?,
        EksOperation::Tag { arn, tags } => tag(scene, arn, tags).await?,
        EksOperation::WaitCluster
        | EksOperation::WaitClusterGone
        | EksOperation::WaitNodeGroup
        | EksOperation::WaitNodeGroupGone
        | EksOperation::WaitAddon { .. }
        | EksOperation::WaitAddonGone { .. }
        | EksOperation::WaitFileSystem
        | EksOperation::WaitMountTargets
        | EksOperation::WaitMountTargetsGone { .. } => {}
    }
    Ok(Done::default())
}

/// Looks whether a step that was tried has been carried out.
pub async fn look(scene: &Scene<'_>, operation: &EksOperation, ids: &Ids) -> Result<Found, CallError> {
    let clients = scene.clients;
    let eks = scene.eks()?;
    let cluster = eks.cluster.as_str();
    match operation {
        EksOperation::CreateRole { of, .. } => {
            let name = scene.role(*of);
            let arn = scene.role_arn(*of, &Ids::new());
            Ok(match super::role::role(clients, &name).await? {
                None => Found::Absent,
                Some(role) => scene.claim(&role.tags, &of.address(), &format!("role {name}"), Some(arn)),
            })
        }
        EksOperation::CreateCluster => Ok(match cluster::read(clients, cluster).await? {
            None => Found::Absent,
            Some(read) => scene.claim(
                &read.tags,
                "cluster",
                &format!("cluster {cluster}"),
                Some(read.it.arn),
            ),
        }),
        EksOperation::UpdateEndpoint
        | EksOperation::UpdateLogging
        | EksOperation::UpdateSupport
        | EksOperation::UpdateVersion { .. }
        | EksOperation::ScaleNodeGroup { .. }
        | EksOperation::UpdateNodeGroup { .. }
        | EksOperation::UpdateAddon { .. } => update::look(scene, eks, operation).await,
        EksOperation::CreateAccessEntry { principal } => {
            let what = format!("the access entry of {principal}");
            Ok(match access::entry(clients, cluster, principal).await? {
                None => Found::Absent,
                Some(entry) => scene.claim(&entry.tags, &access_address(principal), &what, None),
            })
        }
        EksOperation::CreateLaunchTemplate { .. } => {
            let name = scene.owner.name.node_group();
            Ok(match template::read(clients, &name).await? {
                None => Found::Absent,
                Some(read) => {
                    let what = format!("launch template {name}");
                    scene.claim(&read.tags, "launch-template", &what, Some(read.it.id))
                }
            })
        }
        EksOperation::NewTemplateVersion { digest, template, .. } => {
            let read = template::read(clients, &scene.owner.name.node_group()).await?;
            Ok(match read {
                Some(read) if read.it.digest == *digest => Found::Ours(Some(template.clone())),
                _ => Found::Absent,
            })
        }
        EksOperation::CreateNodeGroup => {
            let name = scene.owner.name.node_group();
            Ok(match nodes::read(clients, cluster, &name).await? {
                None => Found::Absent,
                Some(read) => scene.claim(&read.tags, "nodes", &format!("node group {name}"), None),
            })
        }
        EksOperation::CreateAddon { addon } => Ok(match addon::read(clients, cluster, &addon.name).await? {
            None => Found::Absent,
            Some(read) => {
                let address = addon::address(&addon.name);
                scene.claim(&read.tags, &address, &format!("add-on {}", addon.name), None)
            }
        }),
        EksOperation::CreatePodIdentity {
            namespace,
            account,
            of,
        } => {
            let found = access::identity_of(clients, cluster, namespace, account).await?;
            Ok(match found {
                None => Found::Absent,
                Some(read) => {
                    let what = format!("the pod identity of {namespace}/{account}");
                    scene.claim(
                        &read.tags,
                        &access::identity_address(*of),
                        &what,
                        Some(read.it.id),
                    )
                }
            })
        }
        EksOperation::CreateFileSystem => storage::look(scene).await,
        EksOperation::CreateMountTarget { subnet } => storage::look_target(scene, eks, subnet, ids).await,
        EksOperation::CreateEfsGroup { vpc } => storage::look_group(scene, vpc).await,
        EksOperation::AllowNfs { cidrs } => storage::look_nfs(scene, cidrs, ids).await,
        EksOperation::CreateLogGroup { name } => {
            let arn = scene.place.arn("logs", &format!("log-group:{name}"));
            match logs::tags(clients, &arn).await {
                Ok(tags) => Ok(scene.claim(&tags, log_address(name), &format!("log group {name}"), None)),
                Err(error) if error.refusal() == Some(Refusal::Missing) => Ok(Found::Absent),
                Err(error) => Err(error),
            }
        }
        // The rest can be done again without harm.
        _ => Ok(Found::Absent),
    }
}

/// Looks at what a step waits for.
pub async fn watch(scene: &Scene<'_>, operation: &EksOperation, ids: &Ids) -> Result<Sight, CallError> {
    let clients = scene.clients;
    let eks = scene.eks()?;
    let cluster = eks.cluster.as_str();
    match operation {
        EksOperation::WaitCluster => {
            let (read, unwanted) = tokio::try_join!(cluster::read(clients, cluster), scene.unwanted())?;
            let sight = state::cluster(cluster, read.map(|read| read.it).as_ref());
            Ok(unwanted.map_or(sight, Sight::Never))
        }
        EksOperation::WaitClusterGone => {
            let read = cluster::read(clients, cluster).await?;
            Ok(state::cluster_gone(cluster, read.map(|read| read.it).as_ref()))
        }
        EksOperation::WaitNodeGroup => {
            let name = scene.owner.name.node_group();
            let (read, unwanted) = tokio::try_join!(nodes::read(clients, cluster, &name), scene.unwanted())?;
            let sight = state::nodes(&name, read.map(|read| read.it).as_ref());
            Ok(unwanted.map_or(sight, Sight::Never))
        }
        EksOperation::WaitNodeGroupGone => {
            let name = scene.owner.name.node_group();
            let read = nodes::read(clients, cluster, &name).await?;
            Ok(state::nodes_gone(&name, read.map(|read| read.it).as_ref()))
        }
        EksOperation::WaitAddon { name } => {
            let read = addon::read(clients, cluster, name).await?;
            Ok(state::addon(name, read.map(|read| read.it).as_ref()))
        }
        EksOperation::WaitAddonGone { name } => {
            let read = addon::read(clients, cluster, name).await?;
            Ok(state::addon_gone(name, read.map(|read| read.it).as_ref()))
        }
        EksOperation::WaitFileSystem => {
            let id = storage::file_system_id(eks, ids)?;
            let read = storage::by_id(clients, id).await?;
            Ok(state::file_system(id, read.map(|read| read.it).as_ref()))
        }
        EksOperation::WaitMountTargets => {
            let targets = storage::targets(clients, storage::file_system_id(eks, ids)?).await?;
            Ok(state::mount_targets(&targets, ids))
        }
        EksOperation::WaitMountTargetsGone { file_system } => {
            let targets = storage::targets(clients, file_system).await?;
            Ok(state::mount_targets_gone(&targets))
        }
        EksOperation::UpdateEndpoint
        | EksOperation::UpdateLogging
        | EksOperation::UpdateSupport
        | EksOperation::UpdateVersion { .. }
        | EksOperation::ScaleNodeGroup { .. }
        | EksOperation::UpdateNodeGroup { .. }
        | EksOperation::UpdateAddon { .. } => update::watch(scene, eks, operation).await,
        _ => Ok(Sight::Come(Done::default())),
    }
}

/// Sets tags on whatever an ARN names.
async fn tag(scene: &Scene<'_>, arn: &str, tags: &Tags) -> Result<(), CallError> {
    let clients = scene.clients;
    let last = arn.rsplit_once('/').map_or(arn, |(_, last)| last);
    match arn.split(':').nth(2) {
        Some("eks") => cluster::set_tags(clients, arn, tags).await,
        Some("elasticfilesystem") => storage::set_tags(clients, last, tags).await,
        Some("ec2") => instance::set_tags(clients, last, tags).await,
        Some("iam") => super::role::tag_role(clients, last, tags).await,
        Some("logs") => logs::set_tags(clients, arn.trim_end_matches(":*"), tags).await,
        _ => Err(CallError::Malformed {
            action: NONE,
            cause: format!("{arn} is of no service that is tagged here"),
        }),
    }
}
