//! Node groups, their instances and launch templates.

use std::time::{Duration, Instant};

use aws_sdk_ec2::types::{
    Filter, Instance, InstanceType, LaunchTemplateBlockDeviceMappingRequest, LaunchTemplateEbsBlockDevice,
    LaunchTemplateEbsBlockDeviceRequest, LaunchTemplateTagSpecificationRequest, RequestLaunchTemplateData,
    ResourceType, Tag, TagSpecification, Volume, VolumeType,
};
use aws_sdk_eks::operation::create_nodegroup::builders::CreateNodegroupFluentBuilder;
use aws_sdk_eks::types::{
    ErrorCode, Issue, LaunchTemplateSpecification, NodegroupIssueCode, NodegroupScalingConfig,
    NodegroupStatus, Update, UpdateStatus,
};
use serde_json::json;

use super::super::refused;
use super::{Control, NODE_POLICIES, Scene};

fn sizes(min: i32, desired: i32, max: i32) -> NodegroupScalingConfig {
    NodegroupScalingConfig::builder()
        .min_size(min)
        .desired_size(desired)
        .max_size(max)
        .build()
}

impl Scene {
    /// Two nodes as deployments make them.
    pub(super) fn nodes(&self, cluster: &str, name: &str) -> CreateNodegroupFluentBuilder {
        self.eks
            .create_nodegroup()
            .cluster_name(cluster)
            .nodegroup_name(name)
            .node_role(self.arn("node"))
            .set_subnets(Some(self.subnets.clone()))
            .instance_types("c6i.large")
            .scaling_config(sizes(2, 2, 4))
    }

    async fn instances(&self, cluster: &str) -> Vec<Instance> {
        let filter = |name: &str, value: &str| Filter::builder().name(name).values(value).build();
        let describe = self.ec2.describe_instances();
        let answer = describe
            .filters(filter("tag:eks:cluster-name", cluster))
            .filters(filter("instance-state-name", "running"))
            .send()
            .await
            .expect("instances");
        let all = answer
            .reservations()
            .iter()
            .flat_map(|it| it.instances().to_vec());
        all.collect()
    }

    async fn issue(&self, name: &str) -> Issue {
        let group = self.nodegroup("ci", name).await;
        group.health().expect("health").issues()[0].clone()
    }

    async fn template(&self, data: RequestLaunchTemplateData) -> String {
        let tag = Tag::builder().key("owner").value("ci").build();
        let tags = TagSpecification::builder()
            .resource_type(ResourceType::LaunchTemplate)
            .tags(tag)
            .build();
        let create = self.ec2.create_launch_template().launch_template_name("nodes");
        let made = create
            .launch_template_data(data)
            .tag_specifications(tags)
            .client_token("one");
        let made = made.send().await.expect("the template");
        let template = made.launch_template().expect("a template");
        template.launch_template_id().expect("an id").to_owned()
    }
}

fn tagged(instance: &Instance, key: &str) -> Option<String> {
    let tag = instance.tags().iter().find(|tag| tag.key() == Some(key));
    tag.and_then(|tag| tag.value()).map(str::to_owned)
}

fn disk(gib: i32) -> RequestLaunchTemplateData {
    let ebs = LaunchTemplateEbsBlockDeviceRequest::builder()
        .volume_size(gib)
        .volume_type(VolumeType::Gp3)
        .encrypted(true)
        .build();
    let mapping = LaunchTemplateBlockDeviceMappingRequest::builder()
        .device_name("/dev/xvda")
        .ebs(ebs)
        .build();
    let tag = Tag::builder().key("owner").value("ci").build();
    let mut data = RequestLaunchTemplateData::builder().block_device_mappings(mapping);
    for kind in [ResourceType::Instance, ResourceType::Volume] {
        let tags = LaunchTemplateTagSpecificationRequest::builder()
            .resource_type(kind)
            .tags(tag.clone())
            .build();
        data = data.tag_specifications(tags);
    }
    data.build()
}

#[tokio::test]
async fn a_node_group_has_instances_and_its_nodes_are_told() {
    let Some(scene) = Scene::open().await else {
        return;
    };
    scene.made("ci").await;
    let control = Control::start(200);
    scene.account.knobs(&json!({
        "times": {"nodegroup": 0.8, "nodegroup-deletion": 0.5},
        "cluster": {"control": control.url},
    }));
    let template = scene.template(disk(300)).await;
    let specification = LaunchTemplateSpecification::builder().id(&template).build();
    let began = Instant::now();
    let create = || {
        let create = scene.nodes("ci", "nodes").client_request_token("one");
        create
            .launch_template(specification.clone())
            .labels("pool", "jobs")
            .tags("owner", "ci")
    };
    let made = create().send().await.expect("is made");
    let status = made.nodegroup().and_then(|group| group.status());
    assert_eq!(status, Some(&NodegroupStatus::Creating));
    create().send().await.expect("is made before");
    refused(scene.nodes("ci", "nodes").send().await, "ResourceInUseException");
    assert!(control.told().is_empty());
    scene.nodegroup_is("ci", "nodes", NodegroupStatus::Active).await;
    assert!(began.elapsed() >= Duration::from_millis(800));

    let instances = scene.instances("ci").await;
    assert_eq!(instances.len(), 2);
    let first = &instances[0];
    assert_eq!(tagged(first, "eks:nodegroup-name").as_deref(), Some("nodes"));
    assert_eq!(
        tagged(first, "owner").as_deref(),
        Some("ci"),
        "of the launch template"
    );
    assert_eq!(first.instance_type().map(InstanceType::as_str), Some("c6i.large"));
    assert_ne!(instances[0].subnet_id(), instances[1].subnet_id());
    let volumes = scene.ec2.describe_volumes().send().await.expect("volumes");
    let sizes_of: Vec<_> = volumes.volumes().iter().map(Volume::size).collect();
    assert_eq!(sizes_of, [Some(300), Some(300)]);
    let labels = json!({
        "pool": "jobs",
        "eks.amazonaws.com/nodegroup": "nodes",
        "eks.amazonaws.com/capacityType": "ON_DEMAND",
    });
    let body = json!({"count": 2, "instance_type": "c6i.large", "labels": labels});
    let path = "/nodes/ci/nodes".to_owned();
    assert_eq!(control.told(), [("PUT".to_owned(), path.clone(), body)]);
    let entries = scene.eks.list_access_entries().cluster_name("ci").send().await;
    let entries = entries.expect("entries").access_entries().to_vec();
    assert!(entries.contains(&scene.arn("node")), "{entries:?}");

    let scale = scene.eks.update_nodegroup_config().cluster_name("ci");
    let scale = scale.nodegroup_name("nodes").scaling_config(sizes(1, 3, 3));
    let update = scale.send().await.expect("begins");
    let id = update.update().and_then(Update::id).expect("an id").to_owned();
    scene.nodegroup_is("ci", "nodes", NodegroupStatus::Active).await;
    let describe = scene.eks.describe_update().name("ci").update_id(&id);
    let update = describe.nodegroup_name("nodes").send().await.expect("the update");
    let status = update.update().and_then(Update::status);
    assert_eq!(status, Some(&UpdateStatus::Successful));
    assert_eq!(scene.instances("ci").await.len(), 3);
    assert_eq!(control.told()[1].2["count"], 3);

    refused(
        scene.eks.delete_cluster().name("ci").send().await,
        "ResourceInUseException",
    );
    let delete = scene.eks.delete_nodegroup().cluster_name("ci");
    delete.nodegroup_name("nodes").send().await.expect("begins");
    let left = async || scene.instances("ci").await.is_empty();
    assert!(!left().await, "they go when the group has gone");
    scene.eventually(left).await;
    let (method, told, _) = control.told().pop().expect("a call");
    assert_eq!((method, told), ("DELETE".to_owned(), path));
    let list = scene.eks.list_nodegroups().cluster_name("ci").send().await;
    assert!(list.expect("node groups").nodegroups().is_empty());
    let entries = scene.eks.list_access_entries().cluster_name("ci").send().await;
    assert_eq!(entries.expect("entries").access_entries().len(), 1);
    scene.eks.delete_cluster().name("ci").send().await.expect("goes");
}

#[tokio::test]
async fn node_groups_that_eks_refuses_are_refused() {
    let Some(scene) = Scene::open().await else {
        return;
    };
    scene.made("ci").await;
    let invalid = "InvalidParameterException";
    let nodes = || scene.nodes("ci", "nodes");
    for wrong in [
        nodes().node_role(scene.arn("nobody")),
        nodes().node_role(scene.arn("eks")),
        nodes().subnets("subnet-1"),
        nodes().set_instance_types(Some(vec!["c6i.huge".to_owned()])),
        nodes().scaling_config(sizes(3, 2, 4)),
        nodes().scaling_config(sizes(1, 5, 4)),
        nodes().version("1.36"),
        nodes().labels("eks.amazonaws.com/own", "x"),
        nodes().launch_template(LaunchTemplateSpecification::builder().name("none").build()),
    ] {
        refused(wrong.send().await, invalid);
    }
    let template = scene.template(disk(50)).await;
    let specification = |version: &str| {
        let specification = LaunchTemplateSpecification::builder().id(&template);
        specification.version(version).build()
    };
    let with = |version: &str| nodes().launch_template(specification(version));
    refused(with("1").disk_size(300).send().await, invalid);
    refused(with("2").send().await, invalid);
    let none = scene.nodes("none", "nodes").send().await;
    refused(none, "ResourceNotFoundException");
    with("$Latest").send().await.expect("is made");
    scene.nodegroup_is("ci", "nodes", NodegroupStatus::Active).await;
    let group = scene.nodegroup("ci", "nodes").await;
    let version = group.launch_template().and_then(|it| it.version());
    assert_eq!(version, Some("1"), "as a number");
    assert_eq!(group.disk_size(), None);

    // The template is the group's for good; its version is not.
    let made = scene.ec2.create_launch_template_version();
    let made = made
        .launch_template_id(&template)
        .source_version("1")
        .version_description("larger")
        .launch_template_data(RequestLaunchTemplateData::builder().build());
    let made = made.send().await.expect("a version");
    let data = made
        .launch_template_version()
        .and_then(|it| it.launch_template_data());
    let mapping = &data.expect("data").block_device_mappings()[0];
    let size = mapping.ebs().and_then(LaunchTemplateEbsBlockDevice::volume_size);
    assert_eq!(size, Some(50), "what is not said is as before");
    let before = scene.instances("ci").await;
    let update = scene.eks.update_nodegroup_version().cluster_name("ci");
    let update = update.nodegroup_name("nodes").launch_template(specification("2"));
    update.send().await.expect("begins");
    scene.nodegroup_is("ci", "nodes", NodegroupStatus::Active).await;
    let after = scene.instances("ci").await;
    let id = |it: &Instance| it.instance_id().unwrap_or_default().to_owned();
    assert!(
        after
            .iter()
            .all(|new| before.iter().all(|old| id(old) != id(new)))
    );
    assert_eq!(after.len(), 2);
}

#[tokio::test]
async fn nodes_without_what_they_need_do_not_join() {
    let Some(scene) = Scene::open().await else {
        return;
    };
    scene.made("ci").await;
    scene.account.knobs(&json!({"times": {"nodes-late": 0.5}}));
    for policy in NODE_POLICIES {
        let arn = format!("arn:aws:iam::aws:policy/{policy}");
        let detach = scene.iam.detach_role_policy().role_name("node").policy_arn(&arn);
        detach.send().await.expect("is detached");
        scene.nodes("ci", policy).send().await.expect("begins");
        scene
            .nodegroup_is("ci", policy, NodegroupStatus::CreateFailed)
            .await;
        let code = scene.issue(policy).await.code().cloned().expect("a code");
        assert_eq!(code.as_str(), "NodeCreationFailure", "{policy}");
        let delete = scene.eks.delete_nodegroup().cluster_name("ci");
        delete.nodegroup_name(policy).send().await.expect("goes");
        scene.attach("node", policy).await;
    }
    // A role of the network add-on's account may have the policy instead, where the agent hands it out.
    let arn = format!("arn:aws:iam::aws:policy/{}", NODE_POLICIES[2]);
    let detach = scene.iam.detach_role_policy().role_name("node");
    detach.policy_arn(&arn).send().await.expect("is detached");
    scene.attach("pods", NODE_POLICIES[2]).await;
    let associate = scene.eks.create_pod_identity_association().cluster_name("ci");
    let associate = associate.namespace("kube-system").service_account("aws-node");
    associate
        .role_arn(scene.arn("pods"))
        .send()
        .await
        .expect("is made");
    scene.nodes("ci", "early").send().await.expect("begins");
    scene
        .nodegroup_is("ci", "early", NodegroupStatus::CreateFailed)
        .await;
    scene.addon("ci", "eks-pod-identity-agent").await;
    scene.nodes("ci", "late").send().await.expect("begins");
    scene.nodegroup_is("ci", "late", NodegroupStatus::Active).await;
    // The add-on itself is needed.
    let delete = scene.eks.delete_addon().cluster_name("ci").addon_name("vpc-cni");
    delete.send().await.expect("goes");
    scene.nodes("ci", "bare").send().await.expect("begins");
    scene
        .nodegroup_is("ci", "bare", NodegroupStatus::CreateFailed)
        .await;
}

#[tokio::test]
async fn where_there_is_no_room_the_next_type_is_taken() {
    let Some(scene) = Scene::open().await else {
        return;
    };
    scene.made("ci").await;
    scene
        .account
        .knobs(&json!({"fail": {"capacity": ["c6i.large", "c6a.large"]}}));
    let types = |types: &[&str]| Some(types.iter().map(|&it| it.to_owned()).collect());
    let create = scene.nodes("ci", "full");
    let create = create.set_instance_types(types(&["c6i.large", "c6a.large"]));
    create.send().await.expect("begins");
    scene
        .nodegroup_is("ci", "full", NodegroupStatus::CreateFailed)
        .await;
    let issue = scene.issue("full").await;
    let code = issue.code().map(NodegroupIssueCode::as_str);
    assert_eq!(code, Some("AsgInstanceLaunchFailures"));
    assert!(
        issue
            .message()
            .is_some_and(|text| text.contains("sufficient c6i.large capacity"))
    );
    let create = scene.nodes("ci", "next");
    let create = create.set_instance_types(types(&["c6i.large", "m6i.large"]));
    create.send().await.expect("begins");
    scene.nodegroup_is("ci", "next", NodegroupStatus::Active).await;
    let instances = scene.instances("ci").await;
    let kind = |it: &Instance| it.instance_type().map(|kind| kind.as_str().to_owned());
    assert!(
        instances
            .iter()
            .all(|it| kind(it).as_deref() == Some("m6i.large"))
    );
}

#[tokio::test]
async fn failures_of_node_groups_are_played() {
    let Some(scene) = Scene::open().await else {
        return;
    };
    scene.made("ci").await;
    scene.account.knobs(&json!({"fail": {
        "nodegroup/broken": {"code": "NodeCreationFailure", "message": "Unhealthy nodes in the kubernetes cluster"},
        "nodegroup-update": {"code": "PodEvictionFailure", "message": "Reached max retries", "times": 1},
        "nodegroup-deletion/nodes": {"code": "Ec2SecurityGroupDeletionFailure", "times": 1},
    }}));
    scene.nodes("ci", "broken").send().await.expect("begins");
    scene
        .nodegroup_is("ci", "broken", NodegroupStatus::CreateFailed)
        .await;
    assert_eq!(
        scene.issue("broken").await.message(),
        Some("Unhealthy nodes in the kubernetes cluster")
    );
    scene.nodes("ci", "nodes").send().await.expect("begins");
    scene.nodegroup_is("ci", "nodes", NodegroupStatus::Active).await;
    let scale = scene.eks.update_nodegroup_config().cluster_name("ci");
    let scale = scale.nodegroup_name("nodes").scaling_config(sizes(3, 3, 4));
    let update = scale.send().await.expect("begins");
    let id = update.update().and_then(Update::id).expect("an id").to_owned();
    scene.nodegroup_is("ci", "nodes", NodegroupStatus::Active).await;
    let describe = scene.eks.describe_update().name("ci").update_id(&id);
    let update = describe.nodegroup_name("nodes").send().await.expect("the update");
    let update = update.update().expect("an update");
    assert_eq!(update.status(), Some(&UpdateStatus::Failed));
    let code = update.errors()[0].error_code().map(ErrorCode::as_str);
    assert_eq!(code, Some("PodEvictionFailure"));
    assert_eq!(scene.instances("ci").await.len(), 2);
    let delete = || {
        let delete = scene.eks.delete_nodegroup().cluster_name("ci");
        delete.nodegroup_name("nodes")
    };
    delete().send().await.expect("begins");
    scene
        .nodegroup_is("ci", "nodes", NodegroupStatus::DeleteFailed)
        .await;
    delete().send().await.expect("begins again");
    scene
        .eventually(async || scene.instances("ci").await.is_empty())
        .await;

    // Nobody takes the nodes: then they do not join.
    let control = Control::start(500);
    scene.account.knobs(&json!({
        "times": {"nodes-late": 0.3},
        "cluster": {"control": control.url},
    }));
    scene.nodes("ci", "lost").send().await.expect("begins");
    scene
        .nodegroup_is("ci", "lost", NodegroupStatus::CreateFailed)
        .await;
}

#[tokio::test]
async fn launch_templates_are_listed_whole_and_with_their_tags() {
    let Some(scene) = Scene::open().await else {
        return;
    };
    let template = scene.template(disk(50)).await;
    assert_eq!(scene.template(disk(50)).await, template, "the token is the same");
    let create = |name: &str| {
        let create = scene.ec2.create_launch_template().launch_template_name(name);
        create.launch_template_data(disk(60))
    };
    refused(
        create("nodes").client_token("one").send().await,
        "IdempotentParameterMismatch",
    );
    refused(
        create("nodes").send().await,
        "InvalidLaunchTemplateName.AlreadyExistsException",
    );
    refused(
        create("x").send().await,
        "InvalidLaunchTemplateName.MalformedException",
    );
    for n in 0..16 {
        create(&format!("more-{n}")).send().await.expect("is made");
    }
    let all = scene.ec2.describe_launch_templates().send().await.expect("all");
    assert_eq!(all.launch_templates().len(), 17);
    let page = scene.ec2.describe_launch_templates().max_results(10).send().await;
    let token = page.expect("a page").next_token().map(str::to_owned);
    let rest = scene
        .ec2
        .describe_launch_templates()
        .set_next_token(token)
        .send()
        .await;
    assert_eq!(rest.expect("the rest").launch_templates().len(), 7);
    let more = Tag::builder().key("late").value("ci").build();
    let tag = scene.ec2.create_tags().resources(&template).tags(more);
    tag.send().await.expect("is tagged");
    let filter = Filter::builder().name("tag:late").values("ci").build();
    let found = scene.ec2.describe_launch_templates().filters(filter).send().await;
    let found = found.expect("templates");
    assert_eq!(found.launch_templates()[0].tags().len(), 2);
    let versions = scene.ec2.describe_launch_template_versions();
    let versions = versions.launch_template_id(&template).send().await;
    let versions = versions.expect("versions");
    let data = versions.launch_template_versions()[0].launch_template_data();
    let kinds: Vec<_> = data
        .expect("data")
        .tag_specifications()
        .iter()
        .filter_map(|it| it.resource_type())
        .collect();
    assert_eq!(kinds, [&ResourceType::Instance, &ResourceType::Volume]);
}

/// A roll makes all nodes anew, tells the API server's bench of it, and goes to no earlier image.
#[tokio::test]
async fn nodes_are_rolled_to_newer_images_only() {
    let Some(scene) = Scene::open().await else {
        return;
    };
    scene.made("ci").await;
    let control = Control::start(200);
    scene
        .account
        .knobs(&json!({"cluster": {"control": control.url}, "release": "20260510"}));
    scene.nodes("ci", "nodes").send().await.expect("begins");
    scene.nodegroup_is("ci", "nodes", NodegroupStatus::Active).await;
    let release = async || {
        let group = scene.nodegroup("ci", "nodes").await;
        group.release_version().unwrap_or_default().to_owned()
    };
    let first = release().await;
    assert!(first.ends_with("-20260510"), "{first}");
    let roll = |release: &str| {
        let roll = scene.eks.update_nodegroup_version().cluster_name("ci");
        roll.nodegroup_name("nodes").release_version(release).send()
    };
    let invalid = "InvalidParameterException";
    refused(roll(&first.replace("0510", "0610")).await, invalid);
    refused(roll(&first.replace("0510", "0410")).await, invalid);
    refused(roll("1.30.1-20260510").await, invalid);
    let before: Vec<_> = scene.instances("ci").await.iter().map(id).collect();
    scene.account.knobs(&json!({"release": "20260610"}));
    roll(&first.replace("0510", "0610")).await.expect("begins");
    scene.nodegroup_is("ci", "nodes", NodegroupStatus::Active).await;
    assert!(release().await.ends_with("-20260610"));
    let after: Vec<_> = scene.instances("ci").await.iter().map(id).collect();
    assert_eq!(after.len(), before.len());
    assert!(
        after.iter().all(|id| !before.contains(id)),
        "{before:?} {after:?}"
    );
    let methods: Vec<String> = control
        .told()
        .into_iter()
        .filter(|(_, path, _)| path.ends_with("/nodes/ci/nodes"))
        .map(|(method, ..)| method)
        .collect();
    assert_eq!(methods, ["PUT", "DELETE", "PUT"]);
}

fn id(instance: &Instance) -> Option<String> {
    instance.instance_id().map(str::to_owned)
}
