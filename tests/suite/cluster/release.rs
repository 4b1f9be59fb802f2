//! The release: installed, online, failing with its cause, left pending, drained, removed.

use std::time::Duration;

use dataops_infra::domain::deployment::eks::objects;
use dataops_infra::domain::deployment::eks::operation::{ClusterOperation, ReleaseSpec};
use dataops_infra::domain::deployment::eks::spec::StorageMode;
use dataops_infra::domain::deployment::eks::values;
use serde_json::{Value, json};

use super::World;
use crate::bench::kubernetes::{Platform, until};

/// Where Helm keeps the release.
const KEPT: &str = "/api/v1/namespaces/dataops/secrets?labelSelector=owner%3Dhelm";

fn wanted(world: &World, seconds: u32) -> ReleaseSpec {
    ReleaseSpec {
        seconds,
        ..values::release(&world.record).expect("on EKS")
    }
}

fn release(world: &World) -> ClusterOperation {
    ClusterOperation::Release(Box::new(wanted(world, 60)))
}

/// Applies what stands before the chart.
async fn prepare(world: &World) {
    world.done(&world.namespace()).await;
    for applied in objects::all(&world.record, world.record.spec.eks.as_deref().expect("on EKS")) {
        let operation = match applied.holds {
            None => ClusterOperation::Apply(applied.object),
            Some(holds) => ClusterOperation::ApplySecret {
                object: applied.object,
                holds,
            },
        };
        world.done(&operation).await;
    }
}

fn revisions(world: &World) -> Vec<(String, String)> {
    let list = world.bench.get(KEPT).expect("a list");
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let text = |item: &Value, label: &str| {
        item["metadata"]["labels"][label]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    items
        .iter()
        .map(|item| (text(item, "version"), text(item, "status")))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_comes_online_and_goes() {
    let Some(platform) = Platform::start() else { return };
    let token = platform.runner();
    let Some(mut world) = World::open(&platform.url, Some(&token)) else {
        return;
    };
    let bench = world.bench;
    bench.nodes("abc", "dataops-infra-abc", 1, "c6i.xlarge");
    prepare(&world).await;
    let release = release(&world);
    world.done(&release).await;
    world.done(&ClusterOperation::WaitRunner).await;
    let runners = platform.runners();
    assert_eq!(runners.len(), 1, "{runners:?}");

    // All of it is read back: the release with our digest, pods, nodes.
    let read = dataops_infra::kubernetes::read::read(&world.cluster("test"), &world.record, &[])
        .await
        .expect("read");
    let there = read.release.clone().expect("a release");
    assert_eq!((there.status.as_str(), there.revision), ("deployed", 1));
    assert_eq!(there.chart, "dataops-runner-1.2.3");
    let described = values::Described::read(&there.description).expect("ours");
    assert_eq!(described.release, wanted(&world, 60).digest, "{there:?}");
    assert_eq!(read.nodes.len(), 1);
    assert!(read.nodes.values().all(|ready| *ready));
    assert_eq!(read.pods.len(), 1);
    assert!(read.pods[0].ready, "{read:?}");
    // Neither values nor what Helm keeps hold the token.
    let pod = bench.get("/api/v1/namespaces/dataops/pods").expect("pods");
    assert!(!pod.to_string().contains(&token));

    // A job keeps the runner until it has ended; the runner takes no other.
    let job = platform.job(8);
    until("the job runs", || {
        (platform.job_state(job) == "running").then_some(())
    });
    let drain = ClusterOperation::Drain { seconds: 60 };
    let began = std::time::Instant::now();
    let (ended, seen) = world.take(&drain).await;
    let done = ended.expect("drained");
    assert!(seen.iter().any(|what| what.contains("job runs")), "{seen:?}");
    assert!(done.notes[0].contains("no more jobs"), "{:?}", done.notes);
    assert_eq!(platform.job_state(job), "success", "after {:?}", began.elapsed());
    let late = platform.job(0);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(platform.job_state(late), "pending");

    // An interrupted removal may be followed by another `up`: the runner comes back, with the same Helm.
    world.sign_in_as("test");
    world.done(&release).await;
    world.done(&ClusterOperation::WaitRunner).await;
    until("the runner is back", || {
        (platform.job_state(late) == "success").then_some(())
    });

    // And goes for good, with claims and namespace.
    world.done(&drain).await;
    world.done(&ClusterOperation::Uninstall).await;
    assert_eq!(revisions(&world), []);
    // Once more is nothing.
    world.done(&ClusterOperation::Uninstall).await;
    world.done(&ClusterOperation::DeleteClaims).await;
    let gone = world.object("v1", "Namespace", "dataops", &json!({}));
    let done = world.done(&ClusterOperation::Delete(gone)).await;
    assert_eq!(done.notes, Vec::<String>::new());
    assert!(bench.get("/api/v1/namespaces/dataops").is_none());
    let managers = platform
        .runners()
        .iter()
        .map(|runner| runner["managers"].clone())
        .collect::<Vec<_>>();
    assert!(
        managers
            .iter()
            .all(|managers| managers.as_array().is_none_or(Vec::is_empty)),
        "{managers:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_fails_says_why() {
    let Some(platform) = Platform::start() else { return };
    let Some(mut world) = World::open(&platform.url, Some(&platform.runner())) else {
        return;
    };
    let bench = world.bench;
    prepare(&world).await;
    let short = ClusterOperation::Release(Box::new(wanted(&world, 6)));

    // No node: pods stay pending, and the scheduler says why.
    let (ended, seen) = world.take(&short).await;
    let why = ended.expect_err("no node");
    // Helm 3 says that time is over, Helm 4 what is not ready.
    assert!(
        why.contains("Helm says: timed out waiting") || why.contains("Helm says: resource Deployment/"),
        "{why}"
    );
    assert!(why.contains("Unschedulable: "), "{why}");
    assert!(seen.iter().any(|what| what.contains("Unschedulable")), "{seen:?}");

    // An image that cannot be had.
    bench.nodes("abc", "dataops-infra-abc", 1, "c6i.xlarge");
    bench.rule(json!({ "image": "dataops-runner", "pull": "toomanyrequests: You have reached your pull rate limit" }));
    let mut other = world.record.clone();
    other.spec.concurrency = 5;
    world.record = other;
    let short = ClusterOperation::Release(Box::new(wanted(&world, 6)));
    let (ended, _) = world.take(&short).await;
    let why = ended.expect_err("no image");
    assert!(
        why.contains("ImagePull") && why.contains("pull rate limit"),
        "{why}"
    );
    bench.tell("DELETE", "/rules", &json!({}));

    // A token that the platform does not take: the runner's own words, without the token.
    let wrong = ["glrt-", "not-a-token-of-this-platform"].concat();
    world.token = Some(dataops_infra::domain::deployment::secret::Secret::new(&wrong));
    prepare(&world).await;
    let (ended, _) = world.take(&short).await;
    let why = ended.expect_err("a wrong token");
    assert!(why.contains("its log says"), "{why}");
    assert!(!why.contains(&wrong[5..]), "{why}");
    let (ended, _) = world.take(&ClusterOperation::WaitRunner).await;
    let why = ended.expect_err("never online");
    assert!(
        why.contains("CrashLoopBackOff") && !why.contains(&wrong[5..]),
        "{why}"
    );

    // The right one mends it; what the failed runs left is no hindrance.
    world.token = Some(dataops_infra::domain::deployment::secret::Secret::new(
        &platform.runner(),
    ));
    prepare(&world).await;
    world.done(&release(&world)).await;
    world.done(&ClusterOperation::WaitRunner).await;

    // Something stands where the chart's own belongs.
    world.done(&ClusterOperation::Uninstall).await;
    bench.make(
        "/api/v1/namespaces/dataops/secrets",
        json!({ "metadata": { "name": "dataops-vault" }, "type": "Opaque" }),
    );
    let (ended, _) = world.take(&release(&world)).await;
    let why = ended.expect_err("not Helm's");
    assert!(
        why.contains("dataops-vault") && why.contains("rename or remove it"),
        "{why}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_run_left_pending_is_taken_over() {
    let Some(platform) = Platform::start() else { return };
    let Some(mut world) = World::open(&platform.url, Some(&platform.runner())) else {
        return;
    };
    let bench = world.bench;
    prepare(&world).await;
    let release = release(&world);

    // Helm is killed with the run that began it.
    world.perform(&release).await.expect("begun");
    until("Helm has begun", || {
        (revisions(&world) == [("1".to_owned(), "pending-install".to_owned())]).then_some(())
    });
    world.sign_in_as("test");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(
        revisions(&world),
        [("1".to_owned(), "pending-install".to_owned())]
    );

    // Another run waits for it, as long as it may be alive.
    world.perform(&release).await.expect("looked");
    let seen = world.watch(&release).await;
    assert!(format!("{seen:?}").contains("another run's Helm"), "{seen:?}");

    // Then it takes over.
    bench.nodes("abc", "dataops-infra-abc", 1, "c6i.xlarge");
    std::thread::sleep(Duration::from_secs(super::SILENCE as u64 + 1));
    let done = world.done(&release).await;
    assert!(done.notes[0].contains("pending-install"), "{:?}", done.notes);
    world.done(&ClusterOperation::WaitRunner).await;
    assert_eq!(revisions(&world), [("1".to_owned(), "deployed".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_fails_is_taken_back() {
    let Some(platform) = Platform::start() else { return };
    let Some(mut world) = World::open(&platform.url, Some(&platform.runner())) else {
        return;
    };
    let bench = world.bench;
    bench.nodes("abc", "dataops-infra-abc", 1, "c6i.xlarge");
    prepare(&world).await;
    world.done(&release(&world)).await;
    world.done(&ClusterOperation::WaitRunner).await;

    // An image of another version that cannot be had.
    bench.rule(json!({ "image": "latest-next", "pull": "manifest unknown" }));
    world.record.spec.channel = "latest-next".to_owned();
    let (ended, _) = world
        .take(&ClusterOperation::Release(Box::new(wanted(&world, 6))))
        .await;
    let why = ended.expect_err("no such image");
    assert!(why.contains("manifest unknown"), "{why}");
    assert!(why.contains("is back at revision 1"), "{why}");
    let states = [("1", "superseded"), ("2", "failed"), ("3", "deployed")];
    assert_eq!(
        revisions(&world),
        states.map(|(revision, state)| (revision.to_owned(), state.to_owned()))
    );
    world.done(&ClusterOperation::WaitRunner).await;
    let job = platform.job(0);
    until("the runner of before takes a job", || {
        (platform.job_state(job) == "success").then_some(())
    });

    // Once the image is there, the same goes through.
    bench.tell("DELETE", "/rules", &json!({}));
    world.done(&release(&world)).await;
    world.done(&ClusterOperation::WaitRunner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_refuses_pods_is_named() {
    let Some(platform) = Platform::start() else { return };
    let Some(mut world) = World::open(&platform.url, Some(&platform.runner())) else {
        return;
    };
    let bench = world.bench;
    bench.nodes("abc", "dataops-infra-abc", 1, "c6i.xlarge");
    prepare(&world).await;
    let quotas = "/api/v1/namespaces/dataops/resourcequotas";
    bench.make(
        quotas,
        json!({ "metadata": { "name": "tight" }, "spec": { "hard": { "pods": "0" } } }),
    );
    until("the quota holds", || {
        let quota = bench.get(&format!("{quotas}/tight"))?;
        (quota["status"]["hard"]["pods"] == "0").then_some(())
    });
    let (ended, seen) = world
        .take(&ClusterOperation::Release(Box::new(wanted(&world, 6))))
        .await;
    let why = ended.expect_err("no pod may be made");
    assert!(why.contains("exceeded quota: tight"), "{why}");
    assert!(
        seen.iter().any(|what| what.contains("exceeded quota")),
        "{seen:?}"
    );

    // One pod may run: an upgrade has no room beside it, is named so and taken back.
    let (status, _) = bench.api(
        "PATCH",
        &format!("{quotas}/tight"),
        Some(&json!({ "spec": { "hard": { "pods": "1" } } })),
    );
    assert_eq!(status, 200);
    until("the quota is wider", || {
        let quota = bench.get(&format!("{quotas}/tight"))?;
        (quota["status"]["hard"]["pods"] == "1").then_some(())
    });
    world.done(&release(&world)).await;
    world.done(&ClusterOperation::WaitRunner).await;
    world.record.spec.concurrency += 1;
    let (ended, _) = world
        .take(&ClusterOperation::Release(Box::new(wanted(&world, 6))))
        .await;
    let why = ended.expect_err("no room for a second pod");
    assert!(
        why.contains("exceeded quota: tight") && why.contains("is back at revision"),
        "{why}"
    );
    bench.api("DELETE", &format!("{quotas}/tight"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_that_the_driver_fills_are_waited_for_and_go_with_their_volumes() {
    let Some(mut world) = World::open("https://x.example", Some("glrt-abc")) else {
        return;
    };
    let bench = world.bench;
    let eks = world.record.spec.eks.as_mut().expect("on EKS");
    eks.storage.mode = StorageMode::Dynamic;
    let claim = objects::all(&world.record, world.record.spec.eks.as_deref().expect("on EKS"))
        .into_iter()
        .find(|applied| applied.address == "claim")
        .expect("a claim");
    bench.tell(
        "PUT",
        "/volumes",
        &json!({ "provision": "AccessPointLimitExceeded" }),
    );
    prepare(&world).await;
    let wait = ClusterOperation::WaitClaim(claim.object);
    until("the claim says what it waits for", || {
        let seen =
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(world.watch(&wait)));
        format!("{seen:?}")
            .contains("AccessPointLimitExceeded")
            .then_some(())
    });
    bench.tell("PUT", "/volumes", &json!({}));
    world.done(&wait).await;
    let volumes = || bench.get("/api/v1/persistentvolumes").expect("a list")["items"].clone();
    let of_driver = |volumes: &Value| {
        let volumes = volumes.as_array().into_iter().flatten();
        volumes
            .filter(|volume| volume["spec"]["claimRef"]["namespace"] == "dataops")
            .count()
    };
    assert_eq!(of_driver(&volumes()), 1);
    world.done(&ClusterOperation::DeleteClaims).await;
    assert_eq!(of_driver(&volumes()), 0, "{}", volumes());
}

#[tokio::test(flavor = "multi_thread")]
async fn load_balancers_are_waited_for_until_they_are_gone() {
    let Some(world) = World::open("https://x.example", Some("glrt-abc")) else {
        return;
    };
    let bench = world.bench;
    // The controller of AWS, which is not here, holds the service until it has removed the load balancer.
    let path = "/api/v1/namespaces/default/services";
    for (name, kind) in [("public", "LoadBalancer"), ("inner", "ClusterIP")] {
        bench.make(
            path,
            json!({
                "metadata": { "name": name, "finalizers": ["service.kubernetes.io/load-balancer-cleanup"] },
                "spec": { "type": kind, "ports": [{ "port": 80 }], "selector": { "app": "x" } },
            }),
        );
    }
    let remove = ClusterOperation::DeleteLoadBalancers;
    let done = world.perform(&remove).await.expect("begun");
    assert_eq!(done.notes.len(), 1, "{:?}", done.notes);
    assert!(
        done.notes[0].contains("Service default/public"),
        "{:?}",
        done.notes
    );
    let seen = format!("{:?}", world.watch(&remove).await);
    assert!(seen.contains("load-balancer-cleanup"), "{seen}");
    let free = json!({ "metadata": { "finalizers": null } });
    assert_eq!(bench.api("PATCH", &format!("{path}/public"), Some(&free)).0, 200);
    world.done(&remove).await;
    assert!(
        bench.get(&format!("{path}/inner")).is_some(),
        "one without a load balancer stays"
    );
    bench.api("PATCH", &format!("{path}/inner"), Some(&free));
    bench.api("DELETE", &format!("{path}/inner"), None);
}
