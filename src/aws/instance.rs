//! Instances and their volumes.

use aws_sdk_ec2::types::{
    AttributeBooleanValue, AttributeValue, BlockDeviceMapping, EbsBlockDevice,
    EbsInstanceBlockDeviceSpecification, HttpTokensState, IamInstanceProfileSpecification,
    Instance as Described, InstanceBlockDeviceMappingSpecification, InstanceMetadataEndpointState,
    InstanceMetadataOptionsRequest, InstanceNetworkInterfaceSpecification, InstanceType, ResourceType, Tag,
    Volume as DescribedVolume, VolumeType,
};
use aws_smithy_types::base64;

use super::clients::Clients;
use super::error::{CallError, Refusal, classify};
use super::parameter::rfc3339;
use super::security_group::{VALUES, filter, tags_for, tags_of};
use crate::domain::deployment::name::Name;
use crate::domain::deployment::observed::{Instance, Tagged, Volume};
use crate::domain::deployment::operation::Launch;
use crate::domain::deployment::owner::{DEPLOYMENT, Tags};
use crate::domain::deployment::resource::instance::HOP_LIMIT;
use crate::domain::deployment::spec::{Disk, Spec};
use crate::domain::host_script::packed;

const DESCRIBE: &str = "ec2:DescribeInstances";
const VOLUMES: &str = "ec2:DescribeVolumes";
const RUN: &str = "ec2:RunInstances";
const START: &str = "ec2:StartInstances";
const TERMINATE: &str = "ec2:TerminateInstances";
const METADATA: &str = "ec2:ModifyInstanceMetadataOptions";
const MODIFY: &str = "ec2:ModifyInstanceAttribute";
const TAG: &str = "ec2:CreateTags";
const SNAPSHOT: &str = "ec2:CreateSnapshot";
const STOP: &str = "ec2:StopInstances";
const MODIFY_VOLUME: &str = "ec2:ModifyVolume";
const MODIFICATIONS: &str = "ec2:DescribeVolumesModifications";
const CONSOLE: &str = "ec2:GetConsoleOutput";

/// Reads the instances that carry one of the names, terminated ones included.
pub async fn named(clients: &Clients, names: &[Name]) -> Result<Vec<Tagged<Instance>>, CallError> {
    let mut found = Vec::new();
    for names in names.chunks(VALUES) {
        let names = names.iter().map(Name::to_string).collect();
        let mut pages = clients
            .ec2
            .describe_instances()
            .filters(filter(&format!("tag:{DEPLOYMENT}"), names))
            .into_paginator()
            .send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| classify(DESCRIBE, &error))?;
            let instances = page
                .reservations()
                .iter()
                .flat_map(aws_sdk_ec2::types::Reservation::instances);
            found.extend(instances.map(read));
        }
    }
    Ok(found)
}

/// Reads one instance; none if AWS does not know it, or not yet.
pub async fn one(clients: &Clients, id: &str) -> Result<Option<Tagged<Instance>>, CallError> {
    let answer = clients.ec2.describe_instances().instance_ids(id).send().await;
    let answer = super::role::or_missing(answer.map_err(|error| classify(DESCRIBE, &error)))?;
    Ok(answer.and_then(|answer| {
        let mut instances = answer
            .reservations()
            .iter()
            .flat_map(aws_sdk_ec2::types::Reservation::instances);
        instances.next().map(read)
    }))
}

fn read(instance: &Described) -> Tagged<Instance> {
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    let metadata = instance.metadata_options();
    let root = instance.root_device_name();
    let root_volume = instance
        .block_device_mappings()
        .iter()
        .find(|mapping| mapping.device_name() == root)
        .and_then(|mapping| mapping.ebs()?.volume_id().map(str::to_owned));
    Tagged {
        tags: tags_of(instance.tags()),
        it: Instance {
            id: text(instance.instance_id()),
            state: instance
                .state()
                .and_then(|state| state.name())
                .map_or("", |name| name.as_str())
                .to_owned(),
            client_token: text(instance.client_token()),
            instance_type: instance
                .instance_type()
                .map_or("", InstanceType::as_str)
                .to_owned(),
            image: text(instance.image_id()),
            vpc: text(instance.vpc_id()),
            subnet: text(instance.subnet_id()),
            zone: text(
                instance
                    .placement()
                    .and_then(|placement| placement.availability_zone()),
            ),
            security_groups: instance
                .security_groups()
                .iter()
                .filter_map(|group| group.group_id().map(str::to_owned))
                .collect(),
            profile: instance
                .iam_instance_profile()
                .and_then(|profile| profile.arn().map(str::to_owned)),
            http_tokens: metadata
                .and_then(|options| options.http_tokens())
                .map_or("", HttpTokensState::as_str)
                .to_owned(),
            hop_limit: metadata
                .and_then(aws_sdk_ec2::types::InstanceMetadataOptionsResponse::http_put_response_hop_limit)
                .unwrap_or_default(),
            metadata_enabled: metadata
                .and_then(|options| options.http_endpoint())
                .is_none_or(|state| *state == InstanceMetadataEndpointState::Enabled),
            private_ip: instance.private_ip_address().map(str::to_owned),
            public_ip: instance.public_ip_address().map(str::to_owned),
            root_volume,
            launched_at: instance.launch_time().and_then(rfc3339),
            why: instance
                .state_reason()
                .and_then(|reason| reason.message().map(str::to_owned))
                .filter(|reason| !reason.is_empty()),
        },
    }
}

/// Reads the volumes that carry one of the names.
pub async fn volumes(clients: &Clients, names: &[Name]) -> Result<Vec<Tagged<Volume>>, CallError> {
    let mut found = Vec::new();
    for names in names.chunks(VALUES) {
        let names = names.iter().map(Name::to_string).collect();
        let mut pages = clients
            .ec2
            .describe_volumes()
            .filters(filter(&format!("tag:{DEPLOYMENT}"), names))
            .into_paginator()
            .send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| classify(VOLUMES, &error))?;
            found.extend(page.volumes().iter().map(read_volume));
        }
    }
    Ok(found)
}

fn read_volume(volume: &DescribedVolume) -> Tagged<Volume> {
    let whole = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok());
    Tagged {
        tags: tags_of(volume.tags()),
        it: Volume {
            id: volume.volume_id().unwrap_or_default().to_owned(),
            gib: whole(volume.size()).unwrap_or_default(),
            kind: volume.volume_type().map_or("", VolumeType::as_str).to_owned(),
            iops: whole(volume.iops()),
            throughput: whole(volume.throughput()),
            encrypted: volume.encrypted().unwrap_or_default(),
            instance: volume
                .attachments()
                .first()
                .and_then(|attachment| attachment.instance_id().map(str::to_owned)),
            state: volume.state().map_or("", |state| state.as_str()).to_owned(),
        },
    }
}

/// How a launch is meant: for real, or only to hear whether it would be permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earnest {
    /// It launches.
    Real,
    /// It is refused with `DryRunOperation` if it would have gone through.
    Dry,
}

/// Launches the rung that `launch.from` names; returns the instance.
///
/// The token makes a second call with the same values return the same instance.
pub async fn run(
    clients: &Clients,
    spec: &Spec,
    launch: &Launch,
    group: Option<&str>,
    profile: Option<&str>,
    earnest: Earnest,
) -> Result<String, CallError> {
    let rung = launch.ladder.get(launch.from).ok_or(CallError::Malformed {
        action: RUN,
        cause: "the ladder has no such rung".to_owned(),
    })?;
    let whole = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    let disk = EbsBlockDevice::builder()
        .volume_size(whole(spec.disk.gib))
        .volume_type(VolumeType::Gp3)
        .iops(whole(spec.disk.iops))
        .throughput(whole(spec.disk.throughput))
        .encrypted(true)
        .set_kms_key_id(spec.disk.kms_key.clone())
        .delete_on_termination(true)
        .build();
    let metadata = InstanceMetadataOptionsRequest::builder()
        .http_tokens(HttpTokensState::Required)
        .http_put_response_hop_limit(HOP_LIMIT)
        .http_endpoint(InstanceMetadataEndpointState::Enabled)
        .build();
    let mut call = clients
        .ec2
        .run_instances()
        .image_id(&spec.image.id)
        .instance_type(InstanceType::from(rung.instance_type.as_str()))
        .min_count(1)
        .max_count(1)
        .user_data(base64::encode(packed(&launch.user_data)))
        .block_device_mappings(
            BlockDeviceMapping::builder()
                .device_name(&spec.image.root_device)
                .ebs(disk)
                .build(),
        )
        .metadata_options(metadata)
        .disable_api_termination(spec.termination_protection)
        .tag_specifications(tags_for(ResourceType::Instance, &launch.tags))
        .tag_specifications(tags_for(ResourceType::Volume, &launch.tags))
        .dry_run(earnest == Earnest::Dry);
    if earnest == Earnest::Real {
        call = call.set_client_token(launch.tokens.get(launch.from).cloned());
    }
    if let Some(profile) = profile {
        call = call.iam_instance_profile(IamInstanceProfileSpecification::builder().name(profile).build());
    }
    call = match spec.public_address {
        None => call
            .subnet_id(&rung.subnet.id)
            .set_security_group_ids(group.map(|group| vec![group.to_owned()])),
        Some(public) => call.network_interfaces(
            InstanceNetworkInterfaceSpecification::builder()
                .device_index(0)
                .subnet_id(&rung.subnet.id)
                .set_groups(group.map(|group| vec![group.to_owned()]))
                .associate_public_ip_address(public)
                .delete_on_termination(true)
                .build(),
        ),
    };
    let answer = call.send().await.map_err(|error| classify(RUN, &error))?;
    let instance = answer.instances().first().map(read).ok_or(CallError::Malformed {
        action: RUN,
        cause: "no instance".to_owned(),
    })?;
    if instance.it.is_gone() {
        // AWS remembers the token longer than the instance lives.
        return Err(CallError::Refused {
            action: RUN,
            why: Refusal::TokenSpent,
            cause: format!("the token belongs to {}, which is terminated", instance.it.id),
        });
    }
    Ok(instance.it.id)
}

/// Starts an instance.
pub async fn start(clients: &Clients, id: &str) -> Result<(), CallError> {
    let call = clients.ec2.start_instances().instance_ids(id);
    call.send().await.map_err(|error| classify(START, &error))?;
    Ok(())
}

/// Stops an instance.
pub async fn stop(clients: &Clients, id: &str) -> Result<(), CallError> {
    let call = clients.ec2.stop_instances().instance_ids(id);
    call.send().await.map_err(|error| classify(STOP, &error))?;
    Ok(())
}

/// Gives an instance that is stopped another type.
pub async fn set_type(clients: &Clients, id: &str, instance_type: &str) -> Result<(), CallError> {
    clients
        .ec2
        .modify_instance_attribute()
        .instance_id(id)
        .instance_type(AttributeValue::builder().value(instance_type).build())
        .send()
        .await
        .map_err(|error| classify(MODIFY, &error))?;
    Ok(())
}

/// Makes a volume larger.
pub async fn grow_volume(clients: &Clients, id: &str, disk: &Disk) -> Result<(), CallError> {
    let whole = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    let asked = clients
        .ec2
        .modify_volume()
        .volume_id(id)
        .size(whole(disk.gib))
        .iops(whole(disk.iops))
        .throughput(whole(disk.throughput))
        .send()
        .await
        .map_err(|error| classify(MODIFY_VOLUME, &error));
    match asked {
        Ok(_) => Ok(()),
        Err(error) => Err(soon(error)),
    }
}

/// Says what AWS means by refusing: between two changes of a volume there are six hours
/// (<https://docs.aws.amazon.com/ebs/latest/userguide/modify-volume-requirements.html>).
fn soon(error: CallError) -> CallError {
    match error {
        CallError::Refused { action, cause, .. }
            if cause.starts_with("VolumeModificationRateExceeded")
                || cause.starts_with("IncorrectModificationState") =>
        {
            CallError::Refused {
                action,
                why: Refusal::Other,
                cause: format!(
                    "a volume can be changed once in six hours, and not while it is still being changed; run the command \
                     again after that ({cause})"
                ),
            }
        }
        other => other,
    }
}

/// A change of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Modification {
    /// `modifying`, `optimizing`, `completed` or `failed`; empty where there never was one.
    pub state: String,
    /// Percent.
    pub progress: i64,
    /// Why it failed.
    pub message: String,
}

/// Reads how far the last change of a volume is.
pub async fn modification(clients: &Clients, id: &str) -> Result<Modification, CallError> {
    let answer = clients
        .ec2
        .describe_volumes_modifications()
        .volume_ids(id)
        .send()
        .await;
    // One that never was changed has none.
    let answer = super::role::or_missing(answer.map_err(|error| classify(MODIFICATIONS, &error)))?;
    let found = answer.and_then(|answer| {
        let mut all = answer.volumes_modifications().to_vec();
        all.sort_by_key(|one| one.start_time().map(aws_smithy_types::DateTime::secs));
        all.pop()
    });
    Ok(found.map_or_else(Modification::default, |one| Modification {
        state: one
            .modification_state()
            .map_or("", |state| state.as_str())
            .to_owned(),
        progress: one.progress().unwrap_or_default(),
        message: one.status_message().unwrap_or_default().to_owned(),
    }))
}

/// Reads the size of a volume in GiB; none if AWS does not know it.
pub async fn volume_gib(clients: &Clients, id: &str) -> Result<Option<u32>, CallError> {
    let answer = clients.ec2.describe_volumes().volume_ids(id).send().await;
    let answer = super::role::or_missing(answer.map_err(|error| classify(VOLUMES, &error)))?;
    Ok(answer.and_then(|answer| answer.volumes().first().map(|volume| read_volume(volume).it.gib)))
}

/// Terminates an instance.
pub async fn terminate(clients: &Clients, id: &str) -> Result<(), CallError> {
    let call = clients.ec2.terminate_instances().instance_ids(id);
    call.send().await.map_err(|error| classify(TERMINATE, &error))?;
    Ok(())
}

/// Sets the metadata service as it should be.
pub async fn set_metadata(clients: &Clients, id: &str) -> Result<(), CallError> {
    clients
        .ec2
        .modify_instance_metadata_options()
        .instance_id(id)
        .http_tokens(HttpTokensState::Required)
        .http_put_response_hop_limit(HOP_LIMIT)
        .http_endpoint(InstanceMetadataEndpointState::Enabled)
        .send()
        .await
        .map_err(|error| classify(METADATA, &error))?;
    Ok(())
}

/// Sets the security groups.
pub async fn set_groups(clients: &Clients, id: &str, group: &str) -> Result<(), CallError> {
    let call = clients
        .ec2
        .modify_instance_attribute()
        .instance_id(id)
        .groups(group);
    call.send().await.map_err(|error| classify(MODIFY, &error))?;
    Ok(())
}

/// Protects from termination, or no longer.
pub async fn protect(clients: &Clients, id: &str, on: bool) -> Result<(), CallError> {
    clients
        .ec2
        .modify_instance_attribute()
        .instance_id(id)
        .disable_api_termination(AttributeBooleanValue::builder().value(on).build())
        .send()
        .await
        .map_err(|error| classify(MODIFY, &error))?;
    Ok(())
}

/// Lets the volume at a device outlive the instance.
pub async fn keep_volume(clients: &Clients, id: &str, device: &str) -> Result<(), CallError> {
    let keep = EbsInstanceBlockDeviceSpecification::builder()
        .delete_on_termination(false)
        .build();
    clients
        .ec2
        .modify_instance_attribute()
        .instance_id(id)
        .block_device_mappings(
            InstanceBlockDeviceMappingSpecification::builder()
                .device_name(device)
                .ebs(keep)
                .build(),
        )
        .send()
        .await
        .map_err(|error| classify(MODIFY, &error))?;
    Ok(())
}

/// Sets tags of anything of EC2.
pub async fn set_tags(clients: &Clients, id: &str, tags: &Tags) -> Result<(), CallError> {
    let tags = tags
        .iter()
        .map(|(key, value)| Tag::builder().key(key).value(value).build())
        .collect();
    let call = clients.ec2.create_tags().resources(id).set_tags(Some(tags));
    call.send().await.map_err(|error| classify(TAG, &error))?;
    Ok(())
}

/// Copies a volume; returns the snapshot.
pub async fn snapshot(
    clients: &Clients,
    volume: &str,
    description: &str,
    tags: &Tags,
) -> Result<String, CallError> {
    let answer = clients
        .ec2
        .create_snapshot()
        .volume_id(volume)
        .description(description)
        .tag_specifications(tags_for(ResourceType::Snapshot, tags))
        .send()
        .await
        .map_err(|error| classify(SNAPSHOT, &error))?;
    answer.snapshot_id.ok_or(CallError::Malformed {
        action: SNAPSHOT,
        cause: "no snapshot id".to_owned(),
    })
}

/// Returns the last lines that the console shows, without control characters.
pub async fn console(clients: &Clients, id: &str, lines: usize) -> Result<Vec<String>, CallError> {
    let answer = clients
        .ec2
        .get_console_output()
        .instance_id(id)
        .latest(true)
        .send()
        .await
        .map_err(|error| classify(CONSOLE, &error))?;
    let bytes = answer
        .output()
        .and_then(|text| base64::decode(text).ok())
        .unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<String> = text
        .lines()
        .map(|line| line.chars().filter(|c| !c.is_control()).collect::<String>())
        .filter(|line| !line.trim().is_empty())
        .collect();
    Ok(all[all.len().saturating_sub(lines)..].to_vec())
}
