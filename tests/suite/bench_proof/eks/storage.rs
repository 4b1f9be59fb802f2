//! File systems, and what their mount targets hold.

use std::time::{Duration, Instant};

use aws_sdk_efs::operation::create_file_system::builders::CreateFileSystemFluentBuilder;
use aws_sdk_efs::types::{FileSystemDescription, LifeCycleState, MountTargetDescription, Tag};
use serde_json::json;

use super::super::{config, refused};
use super::Scene;

fn create(efs: &aws_sdk_efs::Client, token: &str) -> CreateFileSystemFluentBuilder {
    let tag = Tag::builder().key("owner").value("ci").build().expect("is whole");
    efs.create_file_system()
        .creation_token(token)
        .encrypted(true)
        .tags(tag)
}

async fn systems(efs: &aws_sdk_efs::Client) -> Vec<FileSystemDescription> {
    let answer = efs.describe_file_systems().send().await.expect("file systems");
    answer.file_systems().to_vec()
}

async fn targets(efs: &aws_sdk_efs::Client, system: &str) -> Vec<MountTargetDescription> {
    let describe = efs.describe_mount_targets().file_system_id(system);
    let answer = describe.send().await.expect("mount targets");
    answer.mount_targets().to_vec()
}

#[tokio::test]
async fn a_file_system_takes_its_time_and_is_made_once() {
    let Some(scene) = Scene::open().await else {
        return;
    };
    let efs = aws_sdk_efs::Client::new(&config(&scene.account).await);
    scene.account.knobs(&json!({"times": {
        "file-system": 0.6, "mount-target": 0.6, "mount-target-deletion": 0.6, "file-system-deletion": 0.6,
    }}));
    let began = Instant::now();
    let made = create(&efs, "one").send().await.expect("is made");
    let id = made.file_system_id().to_owned();
    assert_eq!(made.life_cycle_state(), &LifeCycleState::Creating);
    let again = create(&efs, "one").send().await.expect_err("there is one");
    let again = again.into_service_error();
    let aws_sdk_efs::operation::create_file_system::CreateFileSystemError::FileSystemAlreadyExists(there) =
        again
    else {
        panic!("{again:?}");
    };
    assert_eq!(there.file_system_id(), id);
    let mount = |subnet: &str| efs.create_mount_target().file_system_id(&id).subnet_id(subnet);
    let early = mount(&scene.subnets[0]).send().await;
    refused(early, "IncorrectFileSystemLifeCycleState");
    let available = async || {
        systems(&efs)
            .await
            .first()
            .map(|it| it.life_cycle_state().clone())
            == Some(LifeCycleState::Available)
    };
    scene.eventually(available).await;
    assert!(began.elapsed() >= Duration::from_millis(600));

    let vpc = scene.ec2.describe_vpcs().send().await.expect("the VPC");
    let vpc = vpc.vpcs()[0].vpc_id().expect("an id").to_owned();
    let group = scene.ec2.create_security_group().group_name("efs");
    let group = group
        .description("efs")
        .vpc_id(&vpc)
        .send()
        .await
        .expect("a group");
    let group = group.group_id().expect("an id").to_owned();
    let target = mount(&scene.subnets[0]).security_groups(&group).send().await;
    let target = target.expect("is made").mount_target_id().to_owned();
    let second = mount(&scene.subnets[0]).send().await;
    refused(second, "MountTargetConflict");
    refused(mount("subnet-1").send().await, "SubnetNotFound");
    let state = async || targets(&efs, &id).await[0].life_cycle_state().clone();
    assert_eq!(state().await, LifeCycleState::Creating);
    scene
        .eventually(async || state().await == LifeCycleState::Available)
        .await;

    let remove = || scene.ec2.delete_security_group().group_id(&group).send();
    refused(remove().await, "DependencyViolation");
    let delete = || efs.delete_file_system().file_system_id(&id).send();
    refused(delete().await, "FileSystemInUse");
    let unmount = efs.delete_mount_target().mount_target_id(&target);
    unmount.send().await.expect("begins");
    assert_eq!(state().await, LifeCycleState::Deleting);
    refused(delete().await, "FileSystemInUse");
    scene
        .eventually(async || targets(&efs, &id).await.is_empty())
        .await;
    remove().await.expect("nothing has it");
    delete().await.expect("begins");
    assert_eq!(
        systems(&efs).await[0].life_cycle_state(),
        &LifeCycleState::Deleting
    );
    scene.eventually(async || systems(&efs).await.is_empty()).await;
    refused(delete().await, "FileSystemNotFound");
    let anew = create(&efs, "one").send().await.expect("the token is free again");
    assert_ne!(anew.file_system_id(), id);
}

#[tokio::test]
async fn file_systems_are_tagged_and_listed_by_tags() {
    let Some(scene) = Scene::open().await else {
        return;
    };
    let config = config(&scene.account).await;
    let efs = aws_sdk_efs::Client::new(&config);
    let made = create(&efs, "one").send().await.expect("is made");
    let arn = made.file_system_arn().expect("an ARN").to_owned();
    let late = Tag::builder().key("late").value("ci").build().expect("is whole");
    let tag = efs.tag_resource().resource_id(made.file_system_id()).tags(late);
    tag.send().await.expect("is tagged");
    let filter = aws_sdk_resourcegroupstagging::types::TagFilter::builder()
        .key("late")
        .values("ci")
        .build();
    let tagging = aws_sdk_resourcegroupstagging::Client::new(&config);
    let found = tagging.get_resources().tag_filters(filter);
    let found = found.resource_type_filters("elasticfilesystem:file-system");
    let found = found.send().await.expect("resources");
    let list = found.resource_tag_mapping_list();
    assert_eq!(list[0].resource_arn(), Some(arn.as_str()));
    assert_eq!(list[0].tags().len(), 2);
    let tags = efs.list_tags_for_resource().resource_id(&arn).send().await;
    assert_eq!(tags.expect("tags").tags().len(), 2, "by ARN too");
    let none = efs
        .list_tags_for_resource()
        .resource_id("fs-00000000")
        .send()
        .await;
    refused(none, "FileSystemNotFound");
}
