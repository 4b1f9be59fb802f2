//! The launch template of the nodes.

use aws_sdk_ec2::types::{
    LaunchTemplateBlockDeviceMappingRequest, LaunchTemplateEbsBlockDeviceRequest,
    LaunchTemplateHttpTokensState, LaunchTemplateInstanceMetadataOptionsRequest,
    LaunchTemplateTagSpecificationRequest, LaunchTemplateVersion, RequestLaunchTemplateData, ResourceType,
    Tag, VolumeType,
};

use super::Scene;
use crate::aws::clients::Clients;
use crate::aws::error::{CallError, classify};
use crate::aws::security_group::{filter, tags_for, tags_of};
use crate::domain::deployment::eks::observed::LaunchTemplate;
use crate::domain::deployment::observed::Tagged;
use crate::domain::deployment::owner::Tags;
use crate::domain::deployment::spec::Spec;

const DESCRIBE: &str = "ec2:DescribeLaunchTemplates";
const VERSIONS: &str = "ec2:DescribeLaunchTemplateVersions";
const CREATE: &str = "ec2:CreateLaunchTemplate";
const CREATE_VERSION: &str = "ec2:CreateLaunchTemplateVersion";
const DELETE: &str = "ec2:DeleteLaunchTemplate";

/// Root device of EKS's Amazon Linux 2023 images
/// (<https://docs.aws.amazon.com/eks/latest/userguide/launch-templates.html>).
const ROOT_DEVICE: &str = "/dev/xvda";

/// Network hops that a node's metadata service answers over: pods get no credentials of the node
/// (<https://docs.aws.amazon.com/eks/latest/best-practices/identity-and-access-management.html>), theirs come from pod identity.
const HOPS: i32 = 1;

/// What the version's description begins with; its digest follows.
const DESCRIPTION: &str = "dataops-infra";

/// Returns what nodes have that EKS does not say itself: no image, so that EKS chooses it and joins the nodes, and no security
/// group, so that they get the cluster's.
fn data(spec: &Spec, tags: &Tags) -> RequestLaunchTemplateData {
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let disk = LaunchTemplateEbsBlockDeviceRequest::builder()
        .volume_type(VolumeType::Gp3)
        .volume_size(number(spec.disk.gib))
        .iops(number(spec.disk.iops))
        .throughput(number(spec.disk.throughput))
        .encrypted(true)
        .set_kms_key_id(spec.disk.kms_key.clone())
        .delete_on_termination(true)
        .build();
    let metadata = LaunchTemplateInstanceMetadataOptionsRequest::builder()
        .http_tokens(LaunchTemplateHttpTokensState::Required)
        .http_put_response_hop_limit(HOPS)
        .build();
    let tags: Vec<Tag> = tags
        .iter()
        .map(|(key, value)| Tag::builder().key(key).value(value).build())
        .collect();
    let specifications = [ResourceType::Instance, ResourceType::Volume].map(|kind| {
        LaunchTemplateTagSpecificationRequest::builder()
            .resource_type(kind)
            .set_tags(Some(tags.clone()))
            .build()
    });
    RequestLaunchTemplateData::builder()
        .block_device_mappings(
            LaunchTemplateBlockDeviceMappingRequest::builder()
                .device_name(ROOT_DEVICE)
                .ebs(disk)
                .build(),
        )
        .metadata_options(metadata)
        .set_tag_specifications(Some(specifications.to_vec()))
        .build()
}

/// Makes the template; returns its identity.
pub async fn create(scene: &Scene<'_>, tags: &Tags, digest: &str) -> Result<String, CallError> {
    let ours = scene.tags("launch-template");
    let answer = scene
        .clients
        .ec2
        .create_launch_template()
        .launch_template_name(scene.owner.name.node_group())
        .version_description(format!("{DESCRIPTION} {digest}"))
        .launch_template_data(data(&scene.record.spec, tags))
        .tag_specifications(tags_for(ResourceType::LaunchTemplate, &ours))
        .send()
        .await
        .map_err(|error| classify(CREATE, &error))?;
    let id = answer
        .launch_template()
        .and_then(|template| template.launch_template_id());
    id.map(str::to_owned).ok_or(CallError::Malformed {
        action: CREATE,
        cause: "no launch template id".to_owned(),
    })
}

/// Makes a new version; the SDK chooses the token, because a former version may be wanted again.
pub async fn new_version(
    scene: &Scene<'_>,
    template: &str,
    tags: &Tags,
    digest: &str,
) -> Result<(), CallError> {
    scene
        .clients
        .ec2
        .create_launch_template_version()
        .launch_template_id(template)
        .version_description(format!("{DESCRIPTION} {digest}"))
        .launch_template_data(data(&scene.record.spec, tags))
        .send()
        .await
        .map_err(|error| classify(CREATE_VERSION, &error))?;
    Ok(())
}

/// Reads the template of a name.
pub async fn read(clients: &Clients, name: &str) -> Result<Option<Tagged<LaunchTemplate>>, CallError> {
    // A filter, because a name that is not there would be an error, and can be one for a while after it is.
    let answer = clients
        .ec2
        .describe_launch_templates()
        .filters(filter("launch-template-name", vec![name.to_owned()]))
        .send()
        .await
        .map_err(|error| classify(DESCRIBE, &error))?;
    let Some(template) = answer.launch_templates().first() else {
        return Ok(None);
    };
    let id = template.launch_template_id().unwrap_or_default();
    let newest = template.latest_version_number().unwrap_or_default();
    let versions = clients
        .ec2
        .describe_launch_template_versions()
        .launch_template_id(id)
        .versions("$Latest")
        .send()
        .await
        .map_err(|error| classify(VERSIONS, &error))?;
    let version = versions.launch_template_versions().first();
    let description = version
        .and_then(|version| version.version_description())
        .unwrap_or_default();
    Ok(Some(Tagged {
        tags: tags_of(template.tags()),
        it: LaunchTemplate {
            id: id.to_owned(),
            version: version
                .and_then(LaunchTemplateVersion::version_number)
                .unwrap_or(newest),
            digest: description
                .strip_prefix(DESCRIPTION)
                .unwrap_or_default()
                .trim()
                .to_owned(),
        },
    }))
}

/// Removes a template with all versions.
pub async fn delete(clients: &Clients, template: &str) -> Result<(), CallError> {
    clients
        .ec2
        .delete_launch_template()
        .launch_template_id(template)
        .send()
        .await
        .map_err(|error| classify(DELETE, &error))?;
    Ok(())
}
