//! Clusters, their versions, updates and access entries.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use aws_sdk_eks::types::{
    AccessScope, AccessScopeType, Category, ClusterIssueCode, ClusterStatus, ErrorCode, InsightSummary,
    InsightsFilter, LogSetup, LogType, Logging, SupportType, Update, UpdateStatus, UpgradePolicyRequest,
    VersionStatus, VpcConfigRequest,
};
use serde_json::json;

use super::super::{config_as, refused};
use super::{Control, Scene};
use crate::bench::account::Account;
use crate::bench::launcher::Bench;
use crate::bench::policy::enforced;

const ADMIN: &str = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy";

#[tokio::test]
async fn a_cluster_takes_its_time_and_is_made_once() {
    let Some(scene) = Scene::open().await else {
        return;
    };
    scene.account.knobs(&json!({
        "times": {"cluster": 1.5, "cluster-deletion": 1.0},
        "cluster": {"endpoint": "https://127.0.0.1:6443", "authority": "UEVN"},
    }));
    let began = Instant::now();
    let create = || scene.create("ci").client_request_token("one").tags("owner", "ci");
    let made = create().send().await.expect("is made");
    let made = made.cluster().expect("a cluster");
    assert_eq!(made.status(), Some(&ClusterStatus::Creating));
    assert_eq!((made.endpoint(), made.certificate_authority()), (None, None));
    create().send().await.expect("is made before");
    refused(
        create().tags("owner", "other").send().await,
        "InvalidParameterException",
    );
    refused(scene.create("ci").send().await, "ResourceInUseException");
    let addon = scene.eks.create_addon().cluster_name("ci").addon_name("vpc-cni");
    refused(addon.send().await, "InvalidRequestException");
    refused(
        scene.eks.delete_cluster().name("ci").send().await,
        "ResourceInUseException",
    );

    let active = async || scene.cluster("ci").await.status() == Some(&ClusterStatus::Active);
    scene.eventually(active).await;
    assert!(began.elapsed() >= Duration::from_millis(1500));
    let cluster = scene.cluster("ci").await;
    assert_eq!(cluster.endpoint(), Some("https://127.0.0.1:6443"));
    let authority = cluster.certificate_authority().and_then(|ca| ca.data());
    assert_eq!(authority, Some("UEVN"));
    let network = cluster.resources_vpc_config().expect("a network");
    assert_eq!(network.subnet_ids(), scene.subnets);
    let group = network.cluster_security_group_id().expect("a group").to_owned();
    assert_eq!(cluster.tags().expect("tags")["owner"], "ci");
    let support = cluster.upgrade_policy().and_then(|policy| policy.support_type());
    assert_eq!(support, Some(&SupportType::Extended), "unless told otherwise");
    let roles = scene.iam.list_roles().send().await.expect("roles");
    let linked = |name: &str| roles.roles().iter().any(|role| role.role_name() == name);
    assert!(linked("AWSServiceRoleForAmazonEKS"));

    let began = Instant::now();
    let gone = scene.eks.delete_cluster().name("ci").send().await.expect("goes");
    let status = gone.cluster().and_then(|cluster| cluster.status());
    assert_eq!(status, Some(&ClusterStatus::Deleting));
    let there = async || scene.eks.describe_cluster().name("ci").send().await.is_err();
    scene.eventually(there).await;
    assert!(began.elapsed() >= Duration::from_secs(1));
    let groups = scene.ec2.describe_security_groups().group_ids(group).send().await;
    refused(groups, "InvalidGroup.NotFound");
}

#[tokio::test]
async fn clusters_that_eks_refuses_are_refused() {
    let Some(scene) = Scene::open().await else {
        return;
    };
    let invalid = "InvalidParameterException";
    let one_zone = scene.create("ci").resources_vpc_config(scene.network(1));
    refused(one_zone.send().await, invalid);
    let nowhere = VpcConfigRequest::builder()
        .subnet_ids("subnet-1")
        .subnet_ids("subnet-2")
        .build();
    refused(
        scene.create("ci").resources_vpc_config(nowhere).send().await,
        invalid,
    );
    for role in ["nobody", "node"] {
        refused(scene.create("ci").role_arn(scene.arn(role)).send().await, invalid);
    }
    for version in ["1.9", "1.31"] {
        refused(scene.create("ci").version(version).send().await, invalid);
    }
    refused(scene.create("a b").send().await, invalid);
    refused(scene.create("ci").tags("aws:own", "x").send().await, invalid);
    let network = || VpcConfigRequest::builder().set_subnet_ids(Some(scene.subnets.clone()));
    for wrong in [
        network().endpoint_public_access(false),
        network().public_access_cidrs("10.0.0.0/8"),
        network().public_access_cidrs("203.0.113.7/24"),
        network().security_group_ids("sg-00000000000000000"),
    ] {
        refused(
            scene
                .create("ci")
                .resources_vpc_config(wrong.build())
                .send()
                .await,
            invalid,
        );
    }
    let listed = scene.eks.list_clusters().send().await.expect("a list");
    assert!(listed.clusters().is_empty());

    // A new role is not known at once.
    scene.account.knobs(&json!({"times": {"role": 1.0}}));
    scene.role("late", "eks.amazonaws.com", &["sts:AssumeRole"]).await;
    let create = || scene.create("ci").role_arn(scene.arn("late")).send();
    refused(create().await, invalid);
    scene.eventually(async || create().await.is_ok()).await;
    let answer = scene.eks.describe_cluster().name("none").send().await;
    refused(answer, "ResourceNotFoundException");
}

#[tokio::test]
async fn a_cluster_that_fails_says_why() {
    let Some(scene) = Scene::open().await else {
        return;
    };
    scene.account.knobs(&json!({"fail": {
        "cluster": {"code": "InsufficientFreeAddresses", "message": "no addresses", "times": 1},
    }}));
    scene.create("ci").send().await.expect("is begun");
    let failed = async || scene.cluster("ci").await.status() == Some(&ClusterStatus::Failed);
    scene.eventually(failed).await;
    let cluster = scene.cluster("ci").await;
    let issue = &cluster.health().expect("health").issues()[0];
    assert_eq!(
        (issue.code().map(ClusterIssueCode::as_str), issue.message()),
        (Some("InsufficientFreeAddresses"), Some("no addresses"))
    );
    scene.eks.delete_cluster().name("ci").send().await.expect("goes");
    let gone = async || scene.eks.describe_cluster().name("ci").send().await.is_err();
    scene.eventually(gone).await;

    // Who signs in there is told which clusters there are.
    let control = Control::start(200);
    scene.account.knobs(&json!({"cluster": {"control": control.url}}));
    scene.made("ci").await;
    scene.eks.delete_cluster().name("ci").send().await.expect("goes");
    scene.eventually(async || control.told().len() == 2).await;
    let told: Vec<_> = control
        .told()
        .into_iter()
        .map(|(method, path, _)| format!("{method} {path}"))
        .collect();
    assert_eq!(told, ["PUT /clusters/ci", "DELETE /clusters/ci"]);
}

#[tokio::test]
async fn versions_are_told_with_their_support() {
    let Some(scene) = Scene::open().await else {
        return;
    };
    let versions = scene
        .eks
        .describe_cluster_versions()
        .send()
        .await
        .expect("versions");
    let all = versions.cluster_versions();
    let supported: Vec<_> = all
        .iter()
        .filter(|version| version.version_status() == Some(&VersionStatus::StandardSupport))
        .filter_map(|version| version.cluster_version())
        .collect();
    assert_eq!(supported, ["1.36", "1.35", "1.34"]);
    let default = all.iter().filter(|version| version.default_version());
    assert_eq!(default.count(), 1);
    let ends = all[0].end_of_standard_support_date().expect("a date");
    assert!(ends.secs() > 1_700_000_000);
    let old = scene
        .eks
        .describe_cluster_versions()
        .cluster_versions("1.31")
        .send()
        .await;
    let old = old.expect("a version out of support, for who asks for it");
    assert_eq!(old.cluster_versions().len(), 1);
}

#[tokio::test]
async fn updates_change_what_they_say_one_after_the_other() {
    let Some(scene) = Scene::open().await else {
        return;
    };
    let standard = UpgradePolicyRequest::builder()
        .support_type(SupportType::Standard)
        .build();
    scene
        .create("ci")
        .version("1.34")
        .upgrade_policy(standard)
        .send()
        .await
        .expect("is made");
    let active = async || scene.cluster("ci").await.status() == Some(&ClusterStatus::Active);
    scene.eventually(active).await;
    scene.account.knobs(&json!({"times": {"cluster-update": 0.7}}));

    let private = VpcConfigRequest::builder().endpoint_private_access(true).build();
    let config = || scene.eks.update_cluster_config().name("ci");
    let update = config().resources_vpc_config(private.clone()).send().await;
    let update = update.expect("begins");
    let id = update.update().and_then(Update::id).expect("an id").to_owned();
    assert_eq!(scene.cluster("ci").await.status(), Some(&ClusterStatus::Updating));
    let logs = |on: bool| {
        let setup = LogSetup::builder().types(LogType::Api).enabled(on).build();
        Logging::builder().cluster_logging(setup).build()
    };
    let early = config().logging(logs(true)).send().await;
    refused(early, "ResourceInUseException");
    let described = async || {
        let describe = scene.eks.describe_update().name("ci").update_id(&id);
        let answer = describe.send().await.expect("the update");
        answer
            .update()
            .and_then(Update::status)
            .expect("a status")
            .clone()
    };
    assert_eq!(described().await, UpdateStatus::InProgress);
    scene.eventually(active).await;
    assert_eq!(described().await, UpdateStatus::Successful);
    let cluster = scene.cluster("ci").await;
    let network = cluster.resources_vpc_config().expect("a network");
    assert!(network.endpoint_private_access() && network.endpoint_public_access());
    assert_eq!(network.subnet_ids(), scene.subnets, "are kept");

    scene.account.knobs(&json!({"times": {"cluster-update": 0}}));
    let invalid = "InvalidParameterException";
    refused(
        config().resources_vpc_config(private.clone()).send().await,
        invalid,
    );
    let both = config().resources_vpc_config(private).logging(logs(true));
    refused(both.send().await, invalid);
    config().logging(logs(true)).send().await.expect("begins");
    scene.eventually(active).await;
    refused(config().logging(logs(true)).send().await, invalid);
    let logs = scene.cluster("ci").await;
    let setups = logs.logging().expect("logging").cluster_logging();
    let on = setups.iter().find(|setup| setup.enabled() == Some(true));
    assert_eq!(on.expect("one that is on").types(), [LogType::Api]);
    let (_, groups) = scene
        .account
        .json("test", "logs", "Logs_20140328.DescribeLogGroups", &json!({}));
    assert_eq!(groups["logGroups"][0]["logGroupName"], "/aws/eks/ci/cluster");
    assert!(groups["logGroups"][0]["retentionInDays"].is_null());

    let version = |version: &str| scene.eks.update_cluster_version().name("ci").version(version);
    refused(version("1.34").send().await, invalid);
    refused(version("1.36").send().await, invalid);
    version("1.35").send().await.expect("begins");
    scene.eventually(active).await;
    assert_eq!(scene.cluster("ci").await.version(), Some("1.35"));
    scene
        .account
        .knobs(&json!({"fail": {"cluster-update": {"code": "IpNotAvailable"}}}));
    let update = version("1.36").send().await.expect("begins");
    let id = update.update().and_then(Update::id).expect("an id");
    scene.eventually(active).await;
    let answer = scene.eks.describe_update().name("ci").update_id(id).send().await;
    let answer = answer.expect("the update");
    let update = answer.update().expect("an update");
    assert_eq!(update.status(), Some(&UpdateStatus::Failed));
    let code = update.errors()[0].error_code().map(ErrorCode::as_str);
    assert_eq!(code, Some("IpNotAvailable"));
    assert_eq!(scene.cluster("ci").await.version(), Some("1.35"));
    let updates = scene.eks.list_updates().name("ci").send().await.expect("updates");
    assert_eq!(updates.update_ids().len(), 4);
}

#[tokio::test]
async fn who_is_let_in_is_kept_as_entries() {
    let Some(scene) = Scene::open().await else {
        return;
    };
    scene.made("ci").await;
    let entries = async || {
        let list = scene.eks.list_access_entries().cluster_name("ci");
        let answer = list.send().await.expect("entries");
        answer.access_entries().to_vec()
    };
    let maker = format!("arn:aws:iam::{}:user/moto", scene.account.id);
    assert_eq!(entries().await, [maker], "who made it is let in");
    scene
        .role("admin", "ec2.amazonaws.com", &["sts:AssumeRole"])
        .await;
    let admin = scene.arn("admin");
    let create = |principal: &str| {
        let create = scene.eks.create_access_entry().cluster_name("ci");
        create.principal_arn(principal).tags("owner", "ci")
    };
    refused(
        create(&scene.arn("nobody")).send().await,
        "InvalidParameterException",
    );
    let made = create(&admin).send().await.expect("is made");
    let arn = made.access_entry().and_then(|entry| entry.access_entry_arn());
    assert!(
        arn.is_some_and(|arn| arn.contains(&format!("access-entry/ci/role/{}/admin/", scene.account.id))),
        "{arn:?}"
    );
    refused(create(&admin).send().await, "ResourceInUseException");
    let scope = AccessScope::builder().r#type(AccessScopeType::Cluster).build();
    let associate = |policy: &str| {
        let associate = scene.eks.associate_access_policy().cluster_name("ci");
        associate
            .principal_arn(&admin)
            .policy_arn(policy)
            .access_scope(scope.clone())
    };
    refused(
        associate("arn:aws:iam::aws:policy/AdministratorAccess")
            .send()
            .await,
        "InvalidParameterException",
    );
    // Twice is once.
    associate(ADMIN).send().await.expect("is given");
    associate(ADMIN).send().await.expect("is given before");
    let list = scene.eks.list_associated_access_policies().cluster_name("ci");
    let given = list.principal_arn(&admin).send().await.expect("policies");
    assert_eq!(given.associated_access_policies().len(), 1);
    let described = scene.eks.describe_access_entry().cluster_name("ci");
    let described = described.principal_arn(&admin).send().await.expect("the entry");
    let tags = described.access_entry().and_then(|entry| entry.tags());
    assert_eq!(tags.expect("tags")["owner"], "ci");
    let delete = || {
        scene
            .eks
            .delete_access_entry()
            .cluster_name("ci")
            .principal_arn(&admin)
    };
    delete().send().await.expect("goes");
    refused(delete().send().await, "ResourceNotFoundException");
    assert_eq!(entries().await.len(), 1);
}

#[tokio::test]
async fn what_has_tags_is_listed_by_them() {
    let Some(scene) = Scene::open().await else {
        return;
    };
    scene.made("ci").await;
    let arn = scene.cluster("ci").await.arn().expect("an ARN").to_owned();
    let tag = |value: &str| scene.eks.tag_resource().resource_arn(&arn).tags("owner", value);
    tag("ci").send().await.expect("is tagged");
    refused(
        scene
            .eks
            .tag_resource()
            .resource_arn(format!("{arn}x"))
            .tags("a", "b")
            .send()
            .await,
        "ResourceNotFoundException",
    );
    let associate = scene.eks.create_pod_identity_association().cluster_name("ci");
    associate
        .namespace("runner")
        .service_account("jobs")
        .role_arn(scene.arn("pods"))
        .tags("owner", "ci")
        .send()
        .await
        .expect("is made");
    let tagging = aws_sdk_resourcegroupstagging::Client::new(&super::config(&scene.account).await);
    let filter = aws_sdk_resourcegroupstagging::types::TagFilter::builder()
        .key("owner")
        .values("ci")
        .build();
    let found = async |kind: &str| {
        let get = tagging.get_resources().tag_filters(filter.clone());
        let answer = get.resource_type_filters(kind).send().await.expect("resources");
        let list = answer.resource_tag_mapping_list().iter();
        list.filter_map(|one| one.resource_arn().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    assert_eq!(found("eks:cluster").await, std::slice::from_ref(&arn));
    assert_eq!(found("eks").await.len(), 2);
    tag("other").send().await.expect("is tagged");
    assert!(found("eks:cluster").await.is_empty());
    let untag = scene.eks.untag_resource().resource_arn(&arn).tag_keys("owner");
    untag.send().await.expect("is untagged");
    let tags = scene.eks.list_tags_for_resource().resource_arn(&arn).send().await;
    assert!(tags.expect("tags").tags().is_none_or(HashMap::is_empty));
}

/// A role for service accounts, or a control plane, may be for one cluster and one account alone.
#[tokio::test]
async fn trust_is_looked_at_with_its_conditions() {
    let Some(scene) = Scene::open().await else {
        return;
    };
    let cluster = format!("arn:aws:eks:eu-west-2:{}:cluster/ci", scene.account.id);
    let trusted = async |name: &str, service: &str, condition: serde_json::Value| {
        let trust = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow",
            "Principal": {"Service": service},
            "Action": ["sts:AssumeRole", "sts:TagSession"],
            "Condition": condition,
        }]});
        let create = scene.iam.create_role().role_name(name);
        let made = create.assume_role_policy_document(trust.to_string()).send().await;
        made.expect("the role is made");
    };
    let source = json!({"ArnLike": {"aws:SourceArn": cluster}});
    trusted("own-eks", "eks.amazonaws.com", source).await;
    let own = |name: &str| scene.create(name).role_arn(scene.arn("own-eks")).send();
    refused(own("other").await, "InvalidParameterException");
    own("ci").await.expect("is made");
    let active = async || scene.cluster("ci").await.status() == Some(&ClusterStatus::Active);
    scene.eventually(active).await;
    let session = json!({"StringEquals": {
        "aws:RequestTag/eks-cluster-arn": cluster,
        "aws:RequestTag/kubernetes-namespace": "runner",
        "aws:RequestTag/kubernetes-service-account": "jobs",
    }});
    trusted("own-pods", "pods.eks.amazonaws.com", session).await;
    let associate = |namespace: &str| {
        let create = scene.eks.create_pod_identity_association().cluster_name("ci");
        let create = create.namespace(namespace).service_account("jobs");
        create.role_arn(scene.arn("own-pods")).send()
    };
    refused(associate("other").await, "InvalidParameterException");
    associate("runner").await.expect("is made");
}

#[tokio::test]
async fn a_fargate_profile_keeps_a_cluster() {
    let Some(scene) = Scene::open().await else {
        return;
    };
    scene.made("ci").await;
    let pods = "eks-fargate-pods.amazonaws.com";
    scene.role("fargate", pods, &["sts:AssumeRole"]).await;
    let selector = aws_sdk_eks::types::FargateProfileSelector::builder()
        .namespace("runner")
        .build();
    let create = scene.eks.create_fargate_profile().cluster_name("ci");
    let create = create
        .fargate_profile_name("serverless")
        .pod_execution_role_arn(scene.arn("fargate"))
        .selectors(selector);
    create.send().await.expect("is made");
    let names = async || {
        let list = scene.eks.list_fargate_profiles().cluster_name("ci").send().await;
        list.expect("profiles").fargate_profile_names().to_vec()
    };
    assert_eq!(names().await, ["serverless"]);
    let delete = || scene.eks.delete_cluster().name("ci").send();
    refused(delete().await, "ResourceInUseException");
    let remove = scene.eks.delete_fargate_profile().cluster_name("ci");
    remove
        .fargate_profile_name("serverless")
        .send()
        .await
        .expect("goes");
    scene.eventually(async || names().await.is_empty()).await;
    delete().await.expect("goes");
}

#[tokio::test]
async fn what_there_is_is_told_at_a_glance() {
    let Some(scene) = Scene::open().await else {
        return;
    };
    let empty = json!({"clusters": [], "fileSystems": [], "launchTemplates": []});
    assert_eq!(scene.account.inventory(), empty);
    scene.made("ci").await;
    let associate = scene.eks.create_pod_identity_association().cluster_name("ci");
    let associate = associate.namespace("runner").service_account("jobs");
    associate
        .role_arn(scene.arn("pods"))
        .send()
        .await
        .expect("is made");
    let there = &scene.account.inventory()["clusters"][0];
    assert_eq!(
        (&there["name"], &there["status"]),
        (&json!("ci"), &json!("ACTIVE"))
    );
    assert_eq!(there["addons"][0]["addonName"], "vpc-cni");
    assert_eq!(there["accessEntries"][0]["policies"], json!([ADMIN]));
    assert_eq!(there["podIdentityAssociations"][0]["serviceAccount"], "jobs");
    assert!(there["createdAt"].is_null());
    scene.eks.delete_cluster().name("ci").send().await.expect("goes");
    let gone = async || scene.account.inventory() == empty;
    scene.eventually(gone).await;
}

#[tokio::test]
async fn policies_name_what_eks_and_efs_are_asked() {
    let Some(bench) = Bench::start() else {
        return;
    };
    let account = Account::on(&bench);
    let policy = json!({"Statement": [{
        "Action": ["eks:ListAddons", "elasticfilesystem:DescribeFileSystems"],
    }]});
    let key = enforced(&account, &policy);
    bench.enforce_policies();
    let config = config_as(&account, &key).await;
    let eks = aws_sdk_eks::Client::new(&config);
    let allowed = eks.list_addons().cluster_name("none").send().await;
    refused(allowed, "ResourceNotFoundException");
    refused(
        eks.describe_cluster_versions().send().await,
        "AccessDeniedException",
    );
    let efs = aws_sdk_efs::Client::new(&config);
    efs.describe_file_systems().send().await.expect("is allowed");
    refused(
        efs.describe_mount_targets().file_system_id("fs-1").send().await,
        "AccessDeniedException",
    );
}

#[tokio::test]
async fn what_eks_finds_about_the_next_version_is_listed_and_described() {
    let Some(scene) = Scene::open().await else {
        return;
    };
    scene.made("ci").await;
    let list = async |version: &str| {
        let filter = InsightsFilter::builder()
            .categories(Category::UpgradeReadiness)
            .kubernetes_versions(version)
            .build();
        let list = scene.eks.list_insights().cluster_name("ci").filter(filter);
        list.send().await.expect("insights").insights().to_vec()
    };
    let usual = list("1.36").await;
    let status = |insight: &InsightSummary| {
        let status = insight.insight_status().and_then(|status| status.status());
        status.map(|status| status.as_str().to_owned())
    };
    assert_eq!(usual.len(), 1);
    assert_eq!(status(&usual[0]).as_deref(), Some("PASSING"));
    scene.account.knobs(&json!({"insights": [
        {"name": "Deprecated APIs removed in Kubernetes v1.36", "status": "ERROR", "reason": "Deprecated API usage detected.",
         "recommendation": "Update manifests and API clients."},
        {"name": "Kubelet version skew", "status": "PASSING"},
    ]}));
    assert!(list("1.37").await.is_empty());
    let found = list("1.36").await;
    let error = found
        .iter()
        .find(|insight| status(insight).as_deref() == Some("ERROR"));
    let error = error.expect("an error");
    let describe = |id: &str| scene.eks.describe_insight().cluster_name("ci").id(id).send();
    let described = describe(error.id().expect("an id")).await.expect("the insight");
    let described = described.insight().expect("an insight");
    assert_eq!(
        described.recommendation(),
        Some("Update manifests and API clients.")
    );
    refused(describe("other").await, "ResourceNotFoundException");
}
