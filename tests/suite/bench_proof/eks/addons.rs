//! Add-ons and pod identity.

use aws_sdk_eks::types::{
    Addon, AddonIssueCode, AddonPodIdentityAssociations, AddonStatus, ClusterStatus, ResolveConflicts, Update,
};
use serde_json::json;

use super::super::refused;
use super::Scene;

async fn addon(scene: &Scene, name: &str) -> Addon {
    let describe = scene.eks.describe_addon().cluster_name("ci").addon_name(name);
    let answer = describe.send().await.expect("the add-on");
    answer.addon().expect("an add-on").clone()
}

async fn associations(scene: &Scene) -> Vec<aws_sdk_eks::types::PodIdentityAssociationSummary> {
    let list = scene.eks.list_pod_identity_associations().cluster_name("ci");
    let answer = list.send().await.expect("associations");
    answer.associations().to_vec()
}

fn account(name: &str, role: &str) -> AddonPodIdentityAssociations {
    AddonPodIdentityAssociations::builder()
        .service_account(name)
        .role_arn(role)
        .build()
        .expect("is whole")
}

#[tokio::test]
async fn versions_of_addons_go_with_those_of_kubernetes() {
    let Some(scene) = Scene::open().await else {
        return;
    };
    let versions = async |name: &str, version: &str| {
        let describe = scene.eks.describe_addon_versions().addon_name(name);
        let answer = describe
            .kubernetes_version(version)
            .send()
            .await
            .expect("versions");
        let all = answer.addons()[0].addon_versions().to_vec();
        let names: Vec<_> = all
            .iter()
            .filter_map(|it| it.addon_version().map(str::to_owned))
            .collect();
        let default = all.iter().find(|it| it.compatibilities()[0].default_version());
        let default = default.and_then(|it| it.addon_version()).expect("a default");
        (names, default.to_owned())
    };
    let (names, default) = versions("coredns", "1.35").await;
    assert_eq!(names[0], "v1.13.2-eksbuild.3", "the newest first");
    assert_eq!(
        default, names[1],
        "the default is not always the newest: {names:?}"
    );
    let (names, _) = versions("kube-proxy", "1.34").await;
    assert!(names.iter().all(|name| name.starts_with("v1.34.")), "{names:?}");
    let all = scene
        .eks
        .describe_addon_versions()
        .send()
        .await
        .expect("all add-ons");
    assert!(all.addons().len() >= 7);
    let unknown = scene
        .eks
        .describe_addon_versions()
        .addon_name("none")
        .send()
        .await;
    refused(unknown, "ResourceNotFoundException");
}

#[tokio::test]
async fn an_addon_with_pods_waits_for_nodes() {
    let Some(scene) = Scene::open().await else {
        return;
    };
    scene.made("ci").await;
    scene.account.knobs(&json!({"times": {"addon": 0.5}}));
    scene.addon("ci", "coredns").await;
    assert_eq!(scene.addon_status("ci", "coredns").await, AddonStatus::Creating);
    let is = async |status: AddonStatus| scene.addon_status("ci", "coredns").await == status;
    scene.eventually(async || is(AddonStatus::Degraded).await).await;
    let found = addon(&scene, "coredns").await;
    let issue = &found.health().expect("health").issues()[0];
    assert_eq!(
        issue.code().map(AddonIssueCode::as_str),
        Some("InsufficientNumberOfReplicas")
    );
    scene.addon("ci", "kube-proxy").await;
    let daemon = async || scene.addon_status("ci", "kube-proxy").await == AddonStatus::Active;
    scene.eventually(daemon).await;
    scene.nodes("ci", "nodes").send().await.expect("are made");
    scene.eventually(async || is(AddonStatus::Active).await).await;
    assert!(
        addon(&scene, "coredns")
            .await
            .health()
            .expect("health")
            .issues()
            .is_empty()
    );
    let again = scene.eks.create_addon().cluster_name("ci").addon_name("coredns");
    refused(again.send().await, "ResourceInUseException");
}

#[tokio::test]
async fn what_eks_installed_itself_is_in_the_way() {
    let Some(scene) = Scene::open().await else {
        return;
    };
    let create = scene.create("ci").bootstrap_self_managed_addons(true);
    create.send().await.expect("is made");
    let active = async || scene.cluster("ci").await.status() == Some(&ClusterStatus::Active);
    scene.eventually(active).await;
    scene.addon("ci", "kube-proxy").await;
    let failed = async || scene.addon_status("ci", "kube-proxy").await == AddonStatus::CreateFailed;
    scene.eventually(failed).await;
    let found = addon(&scene, "kube-proxy").await;
    let code = found.health().expect("health").issues()[0].code().cloned();
    assert_eq!(code.expect("a code").as_str(), "ConfigurationConflict");
    let delete = scene
        .eks
        .delete_addon()
        .cluster_name("ci")
        .addon_name("kube-proxy");
    delete.send().await.expect("goes");
    let create = scene
        .eks
        .create_addon()
        .cluster_name("ci")
        .addon_name("kube-proxy");
    create
        .resolve_conflicts(ResolveConflicts::Overwrite)
        .send()
        .await
        .expect("is made");
    let active = async || scene.addon_status("ci", "kube-proxy").await == AddonStatus::Active;
    scene.eventually(active).await;
}

#[tokio::test]
async fn addons_bring_their_roles_and_take_them_along() {
    let Some(scene) = Scene::open().await else {
        return;
    };
    scene.made("ci").await;
    let create = || {
        let create = scene.eks.create_addon().cluster_name("ci");
        create.addon_name("aws-efs-csi-driver").tags("owner", "ci")
    };
    let invalid = "InvalidParameterException";
    for role in ["nobody", "node"] {
        let role = scene.arn(role);
        let wrong = create().pod_identity_associations(account("efs-csi-controller-sa", &role));
        refused(wrong.send().await, invalid);
    }
    refused(create().addon_version("v0.0.1").send().await, invalid);
    refused(create().configuration_values("[").send().await, invalid);
    let unknown = scene.eks.create_addon().cluster_name("ci").addon_name("none");
    refused(unknown.send().await, invalid);

    let role = scene.arn("pods");
    let made = create()
        .pod_identity_associations(account("efs-csi-controller-sa", &role))
        .pod_identity_associations(account("efs-csi-node-sa", &role))
        .configuration_values("{}")
        .client_request_token("one")
        .send()
        .await
        .expect("is made");
    let made = made.addon().expect("an add-on");
    assert_eq!(made.pod_identity_associations().len(), 2);
    let all = associations(&scene).await;
    assert!(
        all.iter()
            .all(|one| one.owner_arn() == made.addon_arn() && one.namespace() == Some("kube-system")),
        "{all:?}"
    );
    let id = all[0].association_id().expect("an id");
    let delete = scene.eks.delete_pod_identity_association().cluster_name("ci");
    refused(delete.association_id(id).send().await, "InvalidRequestException");

    // Named again, one stays as it is, the other goes.
    let update = scene.eks.update_addon().cluster_name("ci");
    let update = update
        .addon_name("aws-efs-csi-driver")
        .pod_identity_associations(account("efs-csi-controller-sa", &role))
        .configuration_values(r#"{"controller": {}}"#)
        .send()
        .await
        .expect("begins");
    let id = update.update().and_then(Update::id).expect("an id");
    let describe = scene.eks.describe_update().name("ci").update_id(id);
    describe
        .addon_name("aws-efs-csi-driver")
        .send()
        .await
        .expect("the update");
    assert_eq!(associations(&scene).await.len(), 1);
    let found = addon(&scene, "aws-efs-csi-driver").await;
    assert_eq!(found.configuration_values(), Some(r#"{"controller": {}}"#));

    let delete = scene.eks.delete_addon().cluster_name("ci");
    delete
        .addon_name("aws-efs-csi-driver")
        .send()
        .await
        .expect("goes");
    let list = async || {
        let list = scene.eks.list_addons().cluster_name("ci");
        list.send().await.expect("add-ons").addons().to_vec()
    };
    scene.eventually(async || list().await == ["vpc-cni"]).await;
    assert!(associations(&scene).await.is_empty());
}

#[tokio::test]
async fn a_failed_addon_says_why() {
    let Some(scene) = Scene::open().await else {
        return;
    };
    scene.account.knobs(&json!({"fail": {
        "addon/kube-proxy": {"code": "AccessDenied", "message": "not permitted", "status": "CREATE_FAILED"},
        "addon-update/vpc-cni": {"code": "ConfigurationConflict"},
        "addon-deletion/vpc-cni": {"code": "ClusterUnreachable", "times": 1},
    }}));
    scene.made("ci").await;
    scene.addon("ci", "kube-proxy").await;
    let failed = async || scene.addon_status("ci", "kube-proxy").await == AddonStatus::CreateFailed;
    scene.eventually(failed).await;
    let found = addon(&scene, "kube-proxy").await;
    assert_eq!(
        found.health().expect("health").issues()[0].message(),
        Some("not permitted")
    );
    let update = scene.eks.update_addon().cluster_name("ci").addon_name("vpc-cni");
    update.send().await.expect("begins");
    let failed = async || scene.addon_status("ci", "vpc-cni").await == AddonStatus::UpdateFailed;
    scene.eventually(failed).await;
    let delete = || scene.eks.delete_addon().cluster_name("ci").addon_name("vpc-cni");
    delete().send().await.expect("begins");
    let failed = async || scene.addon_status("ci", "vpc-cni").await == AddonStatus::DeleteFailed;
    scene.eventually(failed).await;
    delete().send().await.expect("begins again");
    let gone = async || {
        let describe = scene.eks.describe_addon().cluster_name("ci");
        describe.addon_name("vpc-cni").send().await.is_err()
    };
    scene.eventually(gone).await;
}

#[tokio::test]
async fn one_service_account_has_one_role() {
    let Some(scene) = Scene::open().await else {
        return;
    };
    scene.made("ci").await;
    let create = |role: &str| {
        let create = scene.eks.create_pod_identity_association().cluster_name("ci");
        create
            .namespace("runner")
            .service_account("jobs")
            .role_arn(scene.arn(role))
    };
    for role in ["nobody", "node"] {
        refused(create(role).send().await, "InvalidParameterException");
    }
    let made = create("pods").client_request_token("one").send().await;
    let made = made.expect("is made");
    let again = create("pods").client_request_token("one").send().await;
    let id = |it: Option<&aws_sdk_eks::types::PodIdentityAssociation>| {
        it.and_then(|it| it.association_id()).expect("an id").to_owned()
    };
    let association = id(made.association());
    assert_eq!(association, id(again.expect("is made before").association()));
    refused(create("pods").send().await, "ResourceInUseException");
    let delete = || {
        let delete = scene.eks.delete_pod_identity_association().cluster_name("ci");
        delete.association_id(&association)
    };
    delete().send().await.expect("goes");
    refused(delete().send().await, "ResourceNotFoundException");
}
