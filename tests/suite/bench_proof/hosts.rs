//! What a host needs: EC2, IAM, Systems Manager and quotas.

use aws_sdk_ec2::primitives::Blob;
use aws_sdk_ec2::types::{
    AttributeBooleanValue, AttributeValue, BlockDeviceMapping, EbsBlockDevice,
    EbsInstanceBlockDeviceSpecification, Filter, IamInstanceProfileSpecification, InstanceAttributeName,
    InstanceBlockDeviceMappingSpecification, InstanceStateName, InstanceType, LocationType, Placement,
    ResourceType, SecureBlobAttributeValue, Tag, TagSpecification, Volume, VolumeType,
};
use aws_sdk_servicequotas::types::ServiceQuota;
use aws_sdk_ssm::types::{CommandInvocationStatus, ParameterTier, ParameterType, ResourceTypeForTagging};
use serde_json::json;

use super::{IMAGE, code, config, ec2, launch, refused};
use crate::bench::account::Account;

/// As most programs write it: base64.
fn user_data(bytes: usize) -> String {
    assert_eq!(bytes % 3, 0, "whole groups");
    "eHh4".repeat(bytes / 3)
}

fn root(ebs: EbsBlockDevice) -> BlockDeviceMapping {
    BlockDeviceMapping::builder()
        .device_name("/dev/sda1")
        .ebs(ebs)
        .build()
}

fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

fn tagged(kind: ResourceType) -> TagSpecification {
    let tag = Tag::builder().key("owner").value("ci").build();
    TagSpecification::builder().resource_type(kind).tags(tag).build()
}

async fn volumes(client: &aws_sdk_ec2::Client, filter: Filter) -> Vec<Volume> {
    let answer = client.describe_volumes().filters(filter).send().await;
    answer.expect("volumes").volumes().to_vec()
}

async fn launched(client: &aws_sdk_ec2::Client) -> String {
    let answer = launch(client).send().await.expect("is launched");
    answer.instances()[0].instance_id().expect("an id").to_owned()
}

#[tokio::test]
async fn the_quotas_of_hosts_are_there() {
    let Some(account) = Account::open() else {
        return;
    };
    let client = aws_sdk_servicequotas::Client::new(&config(&account).await);
    let get = |service: &str, quota: &str| {
        client
            .get_service_quota()
            .service_code(service)
            .quota_code(quota)
            .send()
    };
    let vcpus = get("ec2", "L-1216C47A").await.expect("a quota");
    let vcpus = vcpus.quota().expect("a quota");
    assert_eq!((vcpus.value(), vcpus.adjustable()), (Some(64.0), true));
    let usage = vcpus.usage_metric().expect("a metric");
    assert_eq!(usage.metric_namespace(), Some("AWS/Usage"));
    let storage = get("ebs", "L-7A658B76").await.expect("a quota");
    assert_eq!(storage.quota().and_then(ServiceQuota::value), Some(50.0));
    refused(get("ec2", "L-00000000").await, "NoSuchResourceException");
    assert_eq!(account.calls_of("servicequotas:GetServiceQuota").len(), 3);
}

#[tokio::test]
async fn launches_that_aws_refuses_are_refused() {
    let Some(account) = Account::open() else {
        return;
    };
    let client = ec2(&account).await;
    launch(&client)
        .user_data(user_data(16383))
        .send()
        .await
        .expect("is launched");
    let larger = launch(&client).user_data(user_data(16386)).send().await;
    refused(larger, "InvalidParameterValue");
    let arm = launch(&client).instance_type(InstanceType::C7gLarge).send().await;
    refused(arm, "InvalidParameterValue");
    let long = launch(&client).client_token("t".repeat(65)).send().await;
    refused(long, "InvalidParameterValue");

    let ebs = || EbsBlockDevice::builder().volume_type(VolumeType::Gp3);
    for (mapping, expected) in [
        (ebs().volume_size(7), "InvalidBlockDeviceMapping"),
        (ebs().volume_size(100).iops(80_001), "InvalidParameterValue"),
        (ebs().volume_size(8).iops(5_000), "InvalidParameterValue"),
        (
            ebs().volume_size(100).iops(3_000).throughput(1_000),
            "InvalidParameterValue",
        ),
    ] {
        let wrong = launch(&client)
            .block_device_mappings(root(mapping.build()))
            .send()
            .await;
        refused(wrong, expected);
    }

    // The type is offered in most zones of the region.
    let offered = client
        .describe_instance_type_offerings()
        .location_type(LocationType::AvailabilityZone)
        .filters(filter("instance-type", "c6id.large"))
        .send()
        .await
        .expect("offerings");
    let zones: Vec<&str> = offered
        .instance_type_offerings()
        .iter()
        .filter_map(|offering| offering.location())
        .collect();
    assert!(!zones.is_empty());
    let all = client.describe_subnets().send().await.expect("subnets");
    for subnet in all.subnets() {
        let zone = subnet.availability_zone().unwrap_or_default();
        let asked = launch(&client)
            .instance_type(InstanceType::from("c6id.large"))
            .subnet_id(subnet.subnet_id().unwrap_or_default())
            .send()
            .await;
        assert_eq!(asked.is_ok(), zones.contains(&zone), "{zone}: {asked:?}");
    }
    assert!(
        zones.len() < all.subnets().len(),
        "then another type is needed here"
    );
    // No zone of the region has the type; and there is no such zone.
    let missing = || launch(&client).instance_type(InstanceType::from("c8a.2xlarge"));
    let offered = client
        .describe_instance_type_offerings()
        .location_type(LocationType::AvailabilityZone)
        .filters(filter("instance-type", "c8a.2xlarge"))
        .send()
        .await
        .expect("offerings");
    assert!(
        offered.instance_type_offerings().is_empty(),
        "then another type is needed here"
    );
    let zone = |name: &str| Placement::builder().availability_zone(name).build();
    refused(
        missing().placement(zone("eu-west-2a")).send().await,
        "Unsupported",
    );
    refused(
        launch(&client).placement(zone("eu-west-2z")).send().await,
        "InvalidParameterValue",
    );
}

#[tokio::test]
async fn a_launch_is_kept_as_it_was_asked_for() {
    let Some(account) = Account::open() else {
        return;
    };
    let client = ec2(&account).await;
    let images = client.describe_images().image_ids(IMAGE).send().await;
    let images = images.expect("images");
    let mapping = &images.images()[0].block_device_mappings()[0];
    let ebs = mapping.ebs().expect("a volume");
    assert_eq!(
        (mapping.device_name(), ebs.volume_size(), ebs.volume_type()),
        (Some("/dev/sda1"), Some(8), Some(&VolumeType::Gp3))
    );

    let ebs = EbsBlockDevice::builder()
        .volume_size(100)
        .volume_type(VolumeType::Gp3)
        .iops(6_000)
        .throughput(500)
        .encrypted(true)
        .build();
    let answer = launch(&client)
        .block_device_mappings(root(ebs))
        .tag_specifications(tagged(ResourceType::Volume))
        .disable_api_termination(true)
        .client_token("kept")
        .send()
        .await
        .expect("is launched");
    let id = answer.instances()[0].instance_id().expect("an id").to_owned();
    let found = volumes(&client, filter("tag:owner", "ci")).await;
    let [volume] = &found[..] else {
        panic!("one volume: {found:?}");
    };
    assert_eq!(
        (
            volume.size(),
            volume.iops(),
            volume.throughput(),
            volume.encrypted()
        ),
        (Some(100), Some(6_000), Some(500), Some(true))
    );
    // The image's, because nothing else was asked for.
    assert_eq!(volume.attachments()[0].delete_on_termination(), Some(true));
    assert_eq!(
        volumes(&client, filter("attachment.instance-id", &id)).await,
        found
    );
    let by_token = client
        .describe_instances()
        .filters(filter("client-token", "kept"))
        .send()
        .await;
    assert_eq!(by_token.expect("instances").reservations().len(), 1);

    // A wrong name for the root device is a second volume.
    let data = BlockDeviceMapping::builder()
        .device_name("/dev/xvda")
        .ebs(EbsBlockDevice::builder().volume_size(20).build())
        .build();
    let answer = launch(&client).block_device_mappings(data).send().await;
    let answer = answer.expect("is launched");
    let second = answer.instances()[0].instance_id().expect("an id");
    let mut sizes: Vec<_> = volumes(&client, filter("attachment.instance-id", second))
        .await
        .iter()
        .map(Volume::size)
        .collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [Some(8), Some(20)]);

    // Protected until somebody says otherwise, and with it the others of the same call.
    let both = || {
        client
            .terminate_instances()
            .instance_ids(second)
            .instance_ids(&id)
    };
    refused(both().send().await, "OperationNotPermitted");
    let attribute = client
        .describe_instance_attribute()
        .instance_id(&id)
        .attribute(InstanceAttributeName::DisableApiTermination)
        .send()
        .await
        .expect("an attribute");
    let protected = attribute
        .disable_api_termination()
        .and_then(AttributeBooleanValue::value);
    assert_eq!(protected, Some(true));
    let protect = async |on: bool| {
        let value = AttributeBooleanValue::builder().value(on).build();
        client
            .modify_instance_attribute()
            .instance_id(&id)
            .disable_api_termination(value)
            .send()
            .await
            .expect("is changed");
    };
    protect(false).await;
    protect(true).await;
    refused(both().send().await, "OperationNotPermitted");
    protect(false).await;

    let keep = InstanceBlockDeviceMappingSpecification::builder()
        .device_name("/dev/sda1")
        .ebs(
            EbsInstanceBlockDeviceSpecification::builder()
                .delete_on_termination(false)
                .build(),
        )
        .build();
    client
        .modify_instance_attribute()
        .instance_id(&id)
        .block_device_mappings(keep)
        .send()
        .await
        .expect("is changed");
    both().send().await.expect("are ended");
    let left = volumes(&client, filter("tag:owner", "ci")).await;
    assert_eq!(
        left.iter().map(|volume| volume.volume_id()).collect::<Vec<_>>(),
        [volume.volume_id()]
    );
    let snapshot = client
        .create_snapshot()
        .volume_id(volume.volume_id().unwrap_or_default())
        .tag_specifications(tagged(ResourceType::Snapshot))
        .send()
        .await
        .expect("a snapshot");
    assert_eq!(snapshot.tags()[0].key(), Some("owner"));

    let again = launch(&client).client_token("gone");
    let first = again.clone().send().await.expect("is launched");
    let gone = first.instances()[0].instance_id().expect("an id");
    client
        .terminate_instances()
        .instance_ids(gone)
        .send()
        .await
        .expect("is ended");
    refused(again.send().await, "IdempotentInstanceTerminated");
}

#[tokio::test]
async fn states_of_instances_are_guarded() {
    let Some(account) = Account::open() else {
        return;
    };
    let client = ec2(&account).await;
    let id = launched(&client).await;
    let larger = |to: &str| {
        client
            .modify_instance_attribute()
            .instance_id(&id)
            .instance_type(AttributeValue::builder().value(to).build())
            .send()
    };
    refused(larger("c5.xlarge").await, "IncorrectInstanceState");
    let script = SecureBlobAttributeValue::builder().value(Blob::new("x")).build();
    let script = client
        .modify_instance_attribute()
        .instance_id(&id)
        .user_data(script);
    refused(script.clone().send().await, "IncorrectInstanceState");
    client
        .stop_instances()
        .instance_ids(&id)
        .send()
        .await
        .expect("is stopped");
    refused(
        client.reboot_instances().instance_ids(&id).send().await,
        "IncorrectInstanceState",
    );
    script.clone().send().await.expect("is changed");
    let kept = client
        .describe_instance_attribute()
        .instance_id(&id)
        .attribute(InstanceAttributeName::UserData)
        .send()
        .await
        .expect("an attribute");
    assert_eq!(kept.user_data().and_then(|data| data.value()), Some("eA=="));
    let larger_script = SecureBlobAttributeValue::builder()
        .value(Blob::new(vec![b'x'; 16385]))
        .build();
    refused(
        script.user_data(larger_script).send().await,
        "InvalidParameterValue",
    );
    larger("c5.xlarge").await.expect("is changed");
    refused(larger("c5.huge").await, "InvalidParameterValue");
    refused(larger("c7g.large").await, "InvalidParameterValue");
    let start = || client.start_instances().instance_ids(&id).send();
    start().await.expect("is started");
    let console = client.get_console_output().instance_id(&id).send().await;
    assert!(console.expect("some text").output().is_some());
    let devices = client
        .describe_instance_attribute()
        .instance_id(&id)
        .attribute(InstanceAttributeName::BlockDeviceMapping)
        .send()
        .await
        .expect("an attribute");
    assert_eq!(
        devices.block_device_mappings()[0].device_name(),
        Some("/dev/sda1")
    );

    let end = || client.terminate_instances().instance_ids(&id).send();
    end().await.expect("is ended");
    refused(start().await, "IncorrectInstanceState");
    refused(
        client.stop_instances().instance_ids(&id).send().await,
        "IncorrectInstanceState",
    );
    let again = end().await.expect("ending twice is no error");
    let state = again.terminating_instances()[0].previous_state();
    assert_eq!(
        state.and_then(|state| state.name()),
        Some(&InstanceStateName::Terminated)
    );
}

#[tokio::test]
async fn networks_are_as_on_aws() {
    let Some(account) = Account::open() else {
        return;
    };
    let client = ec2(&account).await;
    let vpcs = client.describe_vpcs().send().await.expect("vpcs");
    let vpc = vpcs.vpcs()[0].vpc_id().expect("an id");
    let tables = client
        .describe_route_tables()
        .filters(filter("vpc-id", vpc))
        .filters(filter("association.main", "true"))
        .send()
        .await
        .expect("route tables");
    let mut routes = tables.route_tables()[0].routes().iter();
    let out = routes.find(|route| route.destination_cidr_block() == Some("0.0.0.0/0"));
    let gateway = out.and_then(|route| route.gateway_id()).expect("a way out");
    let gateways = client
        .describe_internet_gateways()
        .internet_gateway_ids(gateway)
        .send()
        .await
        .expect("gateways");
    assert_eq!(
        gateways.internet_gateways()[0].attachments()[0].vpc_id(),
        Some(vpc)
    );

    let group = client
        .create_security_group()
        .group_name("hosts")
        .description("hosts")
        .vpc_id(vpc)
        .tag_specifications(tagged(ResourceType::SecurityGroup))
        .send()
        .await
        .expect("a group");
    let group = group.group_id().expect("an id");
    let delete = |id: &str| client.delete_security_group().group_id(id).send();
    let answer = launch(&client).security_group_ids(group).send().await;
    let answer = answer.expect("is launched");
    let id = answer.instances()[0].instance_id().expect("an id");
    refused(delete(group).await, "DependencyViolation");
    client
        .stop_instances()
        .instance_ids(id)
        .send()
        .await
        .expect("is stopped");
    refused(delete(group).await, "DependencyViolation");
    client
        .terminate_instances()
        .instance_ids(id)
        .send()
        .await
        .expect("is ended");
    delete(group).await.expect("nothing uses it");
    refused(delete(group).await, "InvalidGroup.NotFound");
    let groups = client
        .describe_security_groups()
        .filters(filter("group-name", "default"))
        .send()
        .await
        .expect("groups");
    let default = groups.security_groups()[0].group_id().unwrap_or_default();
    refused(delete(default).await, "CannotDelete");
}

const TRUST: &str = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
    "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]}"#;

fn policy(length: usize) -> String {
    let resource = format!("arn:aws:s3:::{}", "x".repeat(length));
    let statement = json!({"Effect": "Allow", "Action": "s3:GetObject", "Resource": resource});
    json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()
}

#[tokio::test]
async fn roles_and_profiles_are_as_on_aws() {
    let Some(account) = Account::open() else {
        return;
    };
    let config = config(&account).await;
    let client = aws_sdk_iam::Client::new(&config);
    let ec2 = aws_sdk_ec2::Client::new(&config);
    let tag = |key: &str| {
        let tag = aws_sdk_iam::types::Tag::builder().key(key).value("ci");
        tag.build().expect("a tag")
    };
    let create = |name: &str, trust: &str| {
        client
            .create_role()
            .role_name(name)
            .path("/dataops-infra/")
            .assume_role_policy_document(trust)
            .tags(tag("owner"))
            .send()
    };
    refused(create("host", "nonsense").await, "MalformedPolicyDocument");
    refused(create("host", "{}").await, "MalformedPolicyDocument");
    create("host", TRUST).await.expect("a role");
    refused(create("Host", TRUST).await, "EntityAlreadyExists");
    client
        .tag_role()
        .role_name("host")
        .tags(tag("more"))
        .send()
        .await
        .expect("is tagged");
    let trust = |document: &str| {
        client
            .update_assume_role_policy()
            .role_name("host")
            .policy_document(document)
            .send()
    };
    refused(trust("nonsense").await, "MalformedPolicyDocument");
    trust(TRUST).await.expect("is changed");
    let role = client.get_role().role_name("host").send().await.expect("a role");
    let role = role.role().expect("a role");
    assert_eq!((role.path(), role.tags().len()), ("/dataops-infra/", 2));

    let put = |name: &str, length: usize| {
        client
            .put_role_policy()
            .role_name("host")
            .policy_name(name)
            .policy_document(policy(length))
            .send()
    };
    refused(put("host", 10_240).await, "LimitExceeded");
    put("host", 10_000).await.expect("fits");
    refused(put("more", 1_000).await, "LimitExceeded");
    put("host", 9_000).await.expect("replaces the first");

    let profile = |name: &str| {
        client
            .create_instance_profile()
            .instance_profile_name(name)
            .path("/dataops-infra/")
            .tags(tag("owner"))
            .send()
    };
    profile("host").await.expect("a profile");
    refused(profile("HOST").await, "EntityAlreadyExists");
    let with = |name: &str| {
        let profile = IamInstanceProfileSpecification::builder().name(name).build();
        launch(&ec2).iam_instance_profile(profile).send()
    };
    refused(with("none").await, "InvalidParameterValue");
    refused(with("host").await, "InvalidParameterValue");
    let member = client
        .add_role_to_instance_profile()
        .instance_profile_name("host")
        .role_name("host");
    member.send().await.expect("is added");
    with("host").await.expect("is launched");
    let profile_of_hosts = IamInstanceProfileSpecification::builder().name("host").build();
    let several = launch(&ec2).max_count(3).iam_instance_profile(profile_of_hosts);
    let three = several.clone().send().await.expect("are launched");
    let ids = three.instances().iter().filter_map(|one| one.instance_id());
    let answer = ec2
        .describe_instances()
        .set_instance_ids(Some(ids.map(str::to_owned).collect()))
        .send()
        .await
        .expect("instances");
    let three = answer.reservations()[0].instances();
    assert_eq!(three.len(), 3);
    assert!(three.iter().all(|one| one.iam_instance_profile().is_some()));
    refused(several.min_count(4).send().await, "InvalidParameterValue");
    refused(
        client.delete_role().role_name("host").send().await,
        "DeleteConflict",
    );
    let delete = || {
        client
            .delete_instance_profile()
            .instance_profile_name("host")
            .send()
    };
    refused(delete().await, "DeleteConflict");

    for n in 0..4 {
        create(&format!("role-{n}"), TRUST).await.expect("a role");
        profile(&format!("profile-{n}")).await.expect("a profile");
    }
    client
        .create_instance_profile()
        .instance_profile_name("elsewhere")
        .send()
        .await
        .expect("a profile");
    let mut pages = client
        .list_roles()
        .path_prefix("/dataops-infra/")
        .max_items(3)
        .into_paginator()
        .send();
    let mut sizes = Vec::new();
    while let Some(page) = pages.next().await {
        sizes.push(page.expect("roles").roles().len());
    }
    assert_eq!(sizes, [3, 2]);
    let mut pages = client
        .list_instance_profiles()
        .path_prefix("/dataops-infra/")
        .max_items(3)
        .into_paginator()
        .send();
    let mut sizes = Vec::new();
    while let Some(page) = pages.next().await {
        sizes.push(page.expect("profiles").instance_profiles().len());
    }
    assert_eq!(sizes, [3, 2]);

    let remove = client
        .remove_role_from_instance_profile()
        .instance_profile_name("host")
        .role_name("host");
    remove.clone().send().await.expect("is removed");
    refused(remove.send().await, "NoSuchEntity");
    delete().await.expect("is deleted");
    refused(
        client.delete_role().role_name("host").send().await,
        "DeleteConflict",
    );
    client
        .delete_role_policy()
        .role_name("host")
        .policy_name("host")
        .send()
        .await
        .expect("is deleted");
    client
        .delete_role()
        .role_name("host")
        .send()
        .await
        .expect("is deleted");
    refused(client.get_role().role_name("host").send().await, "NoSuchEntity");
}

#[tokio::test]
async fn parameters_and_commands_are_as_on_aws() {
    let Some(account) = Account::open() else {
        return;
    };
    let config = config(&account).await;
    let client = aws_sdk_ssm::Client::new(&config);
    let tag = aws_sdk_ssm::types::Tag::builder().key("owner").value("ci");
    let tag = tag.build().expect("a tag");
    let put = |value: &str| {
        client
            .put_parameter()
            .name("/dataops-infra/ci/host")
            .r#type(ParameterType::String)
            .value(value)
    };
    put("{}").tags(tag.clone()).send().await.expect("a parameter");
    refused(put("{}").send().await, "ParameterAlreadyExists");
    let both = put("{}").overwrite(true).tags(tag.clone()).send().await;
    refused(both, "ValidationException");
    let long = "x".repeat(4096);
    put(&long).overwrite(true).send().await.expect("fits");
    let longer = put(&(long + "x")).overwrite(true);
    refused(longer.clone().send().await, "ValidationException");
    let advanced = longer.tier(ParameterTier::Advanced).send().await;
    advanced.expect("fits");

    client
        .put_parameter()
        .name("/dataops-infra/ci/token")
        .r#type(ParameterType::SecureString)
        .value("a secret text")
        .send()
        .await
        .expect("a parameter");
    let read = async |plain: bool| {
        let answer = client
            .get_parameter()
            .name("/dataops-infra/ci/token")
            .with_decryption(plain)
            .send()
            .await
            .expect("a parameter");
        let value = answer.parameter().and_then(|parameter| parameter.value());
        value.unwrap_or_default().to_owned()
    };
    assert_eq!(read(true).await, "a secret text");
    let sealed = read(false).await;
    assert!(!sealed.contains("secret") && sealed.len() > 100, "{sealed}");
    let eleven: Vec<String> = (0..11).map(|n| format!("/dataops-infra/{n}")).collect();
    let many = client
        .get_parameters()
        .set_names(Some(eleven.clone()))
        .send()
        .await;
    refused(many, "ValidationException");
    let many = client.delete_parameters().set_names(Some(eleven)).send().await;
    refused(many, "ValidationException");

    // A new one of the name does not have the tags of the old one.
    client
        .delete_parameters()
        .names("/dataops-infra/ci/host")
        .send()
        .await
        .expect("is deleted");
    put("{}").send().await.expect("a parameter");
    let tags = client
        .list_tags_for_resource()
        .resource_type(ResourceTypeForTagging::Parameter)
        .resource_id("/dataops-infra/ci/host")
        .send()
        .await
        .expect("tags");
    assert!(tags.tag_list().is_empty(), "{tags:?}");

    let ec2 = aws_sdk_ec2::Client::new(&config);
    let id = launched(&ec2).await;
    let send = |to: &str| {
        client
            .send_command()
            .document_name("AWS-RunShellScript")
            .parameters("commands", vec!["true".to_owned()])
            .instance_ids(to)
            .send()
    };
    refused(send("i-0123456789abcdef0").await, "InvalidInstanceId");
    let sent = send(&id).await.expect("is sent");
    let command = sent.command().and_then(|command| command.command_id());
    let got = |of: &str| {
        client
            .get_command_invocation()
            .command_id(command.unwrap_or_default())
            .instance_id(of)
            .send()
    };
    let invocation = got(&id).await.expect("an invocation");
    assert_eq!(invocation.status(), Some(&CommandInvocationStatus::Success));
    let elsewhere = got("i-0123456789abcdef0").await.expect_err("is refused");
    assert_eq!(code(&elsewhere), "InvocationDoesNotExist");
    ec2.stop_instances()
        .instance_ids(&id)
        .send()
        .await
        .expect("is stopped");
    refused(send(&id).await, "InvalidInstanceId");
}

#[tokio::test]
async fn a_volume_is_changed_once_in_six_hours() {
    let Some(account) = Account::open() else {
        return;
    };
    let client = ec2(&account).await;
    let instance = launched(&client).await;
    let there = volumes(&client, filter("attachment.instance-id", &instance)).await;
    let volume = there[0].volume_id().expect("an id");
    let modify = |gib: i32| client.modify_volume().volume_id(volume).size(gib).send();
    modify(20).await.expect("is changed");
    refused(modify(30).await, "VolumeModificationRateExceeded");
    let there = volumes(&client, filter("attachment.instance-id", &instance)).await;
    assert_eq!(there[0].size(), Some(20));
}

#[test]
fn who_has_a_wrong_clock_is_refused_in_the_words_of_each_service() {
    let Some(account) = Account::open() else {
        return;
    };
    let now = jiff::Timestamp::now();
    for (minutes, words) in [
        (0, None),
        (-6, Some("Signature expired")),
        (6, Some("not yet current")),
    ] {
        let at = now + jiff::SignedDuration::from_mins(minutes);
        let stamp = at.strftime("%Y%m%dT%H%M%SZ").to_string();
        let direct = account.direct();
        let (status, answer) = direct.json_at(
            &stamp,
            "ssm",
            "AmazonSSM.GetParameters",
            &json!({"Names": ["/none"]}),
        );
        let (of_query, text) = direct.query_at(&stamp, "iam", "ListRoles", &[]);
        let (of_ec2, said) = direct.query_at(&stamp, "ec2", "DescribeInstances", &[]);
        let Some(words) = words else {
            assert_eq!(
                (status, of_query, of_ec2),
                (200, 200, 200),
                "{answer} {text} {said}"
            );
            continue;
        };
        assert_eq!(
            (status, of_query, of_ec2),
            (400, 403, 400),
            "{answer} {text} {said}"
        );
        assert_eq!(answer["__type"], "InvalidSignatureException");
        assert!(
            answer["message"]
                .as_str()
                .is_some_and(|text| text.contains(words)),
            "{answer}"
        );
        assert!(
            text.contains("SignatureDoesNotMatch") && text.contains(words),
            "{text}"
        );
        assert!(said.contains("RequestExpired"), "{said}");
    }
}
