//! The cluster of `tools/k8sbench`: that its servers are real, and that what is played behaves as the kubelet's pods do.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::bench::kubernetes::{Cluster, Platform, until};
use crate::bench::python_program;

const PODS: &str = "/api/v1/namespaces/default/pods";

/// A token as awscli makes it, by botocore.
fn token(key: &str, secret: &str, cluster: &str) -> String {
    let script = "
import base64, sys, botocore.session, botocore.signers
key, secret, cluster = sys.argv[1:]
session = botocore.session.Session()
session.set_credentials(key, secret)
client = session.create_client('sts', region_name='eu-west-2')
signer = botocore.signers.RequestSigner(
    client.meta.service_model.service_id, 'eu-west-2', 'sts', 'v4', session.get_credentials(),
    session.get_component('event_emitter'))
call = {'method': 'GET', 'url': 'https://sts.eu-west-2.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15',
        'body': {}, 'headers': {'x-k8s-aws-id': cluster}, 'context': {}}
url = signer.generate_presigned_url(call, region_name='eu-west-2', expires_in=60, operation_name='')
print('k8s-aws-v1.' + base64.urlsafe_b64encode(url.encode()).decode().rstrip('='))
";
    let python = python_program("python").expect("was there a moment ago");
    let output = Command::new(python)
        .args(["-c", script, key, secret, cluster])
        .output()
        .expect("python starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Asks the API server itself, over TLS, who has this token; nobody if the token is refused.
fn user(cluster: &Cluster, token: &str) -> Option<Value> {
    let review =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
    let (status, said) = cluster.api(
        "POST",
        "/apis/authentication.k8s.io/v1/tokenreviews",
        Some(&review),
    );
    assert_eq!(status, 200, "{said}");
    let known = said["status"]["authenticated"] == true;
    known.then(|| said["status"]["user"].clone())
}

fn pod(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": image}]},
    })
}

/// Returns the first container's state, such as `waiting` or `running`, and its reason.
fn state(cluster: &Cluster, name: &str) -> Option<(String, String)> {
    let pod = cluster.get(&format!("{PODS}/{name}"))?;
    let (kind, said) = pod["status"]["containerStatuses"][0]["state"]
        .as_object()?
        .iter()
        .next()?;
    Some((
        kind.clone(),
        said["reason"].as_str().unwrap_or_default().to_owned(),
    ))
}

fn phase(cluster: &Cluster, name: &str) -> Option<String> {
    let pod = cluster.get(&format!("{PODS}/{name}"))?;
    pod["status"]["phase"].as_str().map(str::to_owned)
}

fn condition(object: &Value, kind: &str) -> Value {
    let conditions = object["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    conditions
        .into_iter()
        .find(|one| one["type"] == kind)
        .unwrap_or_default()
}

fn ready(cluster: &Cluster, name: &str) -> bool {
    let pod = cluster.get(&format!("{PODS}/{name}")).unwrap_or_default();
    condition(&pod, "Ready")["status"] == "True"
}

#[test]
fn a_cluster_is_real_knows_the_tokens_of_eks_and_ends_with_its_owner() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let version = cluster.get("/api/v1").expect("an answer");
    assert_eq!(version["kind"], "APIResourceList");

    // Only for a cluster that is known, and only with the right key.
    let good = token("test", "test", "prod");
    assert_eq!(user(&cluster, &good), None);
    cluster.knows("prod");
    // The refusal may be remembered for a second.
    let admin = until("the token of an administrator", || user(&cluster, &good));
    assert!(
        admin["groups"]
            .as_array()
            .expect("groups")
            .contains(&json!("system:masters"))
    );
    assert_eq!(user(&cluster, &token("test", "wrong", "prod")), None);
    assert_eq!(user(&cluster, &token("test", "test", "other")), None);
    assert_eq!(user(&cluster, &token("nobody", "test", "prod")), None);
    assert_eq!(user(&cluster, "k8s-aws-v1.aHR0cHM6Ly9leGFtcGxlLmNvbQ"), None);
    let powerless = user(&cluster, &token("powerless", "powerless", "prod")).expect("is known");
    let groups = powerless["groups"].as_array().expect("groups");
    assert!(!groups.contains(&json!("system:masters")), "{groups:?}");
    cluster.tell(
        "PUT",
        "/keys/other",
        &json!({"secret": "s", "groups": ["readers"]}),
    );
    let other = user(&cluster, &token("other", "s", "prod")).expect("is known");
    assert!(
        other["groups"]
            .as_array()
            .expect("groups")
            .contains(&json!("readers"))
    );

    let (pids, folder) = (cluster.pids.clone(), cluster.folder.clone());
    let runs = |pid: &u64| Path::new(&format!("/proc/{pid}")).exists();
    assert_eq!(pids.len(), 4);
    assert!(pids.iter().all(runs) && folder.exists());
    drop(cluster);
    assert!(!pids.iter().any(runs) && !folder.exists());
}

#[test]
fn pods_live_and_die_as_on_nodes() {
    let Some(cluster) = &Cluster::start() else {
        return;
    };
    // Nobody takes a pod where there is no node.
    cluster.make(PODS, pod("early", "busybox"));
    let early = until("the scheduler's word", || {
        let early = cluster.get(&format!("{PODS}/early"))?;
        (condition(&early, "PodScheduled")["reason"] == "Unschedulable").then_some(early)
    });
    let message = condition(&early, "PodScheduled")["message"].clone();
    assert_eq!(message, "no nodes available to schedule pods");

    cluster.nodes("prod", "runners", 2, "c6i.large");
    until("a pod that waited runs", || ready(cluster, "early").then_some(()));
    let nodes = cluster.get("/api/v1/nodes").expect("nodes");
    let allocatable = &nodes["items"][0]["status"]["allocatable"];
    // Reference 6.35: 1930m / 3114 Mi / 29 pods.
    assert_eq!(
        (&allocatable["cpu"], &allocatable["memory"], &allocatable["pods"]),
        (&json!("1930m"), &json!("3114Mi"), &json!("29"))
    );

    // Requests count.
    let mut big = pod("big", "busybox");
    big["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1930m"}});
    cluster.make(PODS, big.clone());
    until("one whole node", || ready(cluster, "big").then_some(()));
    big["metadata"]["name"] = json!("as-big");
    cluster.make(PODS, big.clone());
    until("another whole node", || ready(cluster, "as-big").then_some(()));
    big["metadata"]["name"] = json!("one-more");
    cluster.make(PODS, big);
    let (reason, message) = until("an event of the scheduler", || {
        cluster.events("default", "one-more").pop()
    });
    assert_eq!(
        (reason.as_str(), message.as_str()),
        ("FailedScheduling", "0/2 nodes are available: 2 Insufficient cpu.")
    );

    // What ends is started again, later and later; what is done stays so.
    cluster.rule(json!({"image": "^broken", "exit": 3, "log": ["cannot", "really"]}));
    cluster.rule(json!({"image": "^nowhere", "pull": "no such image"}));
    cluster.make(PODS, pod("broken", "broken:1"));
    cluster.make(PODS, pod("nowhere", "nowhere:1"));
    let mut once = pod("once", "busybox");
    once["spec"]["restartPolicy"] = json!("Never");
    once["spec"]["containers"][0]["command"] = json!(["sleep", "1"]);
    cluster.make(PODS, once);
    let waiting = |reason: &str| Some(("waiting".to_owned(), reason.to_owned()));
    until("a crash loop", || {
        (state(cluster, "broken") == waiting("CrashLoopBackOff")).then_some(())
    });
    assert_eq!(cluster.log("default", "broken"), "cannot\nreally\n");
    until("an image that is not there", || {
        (state(cluster, "nowhere") == waiting("ImagePullBackOff")).then_some(())
    });
    assert_eq!(
        cluster.log("default", "nowhere"),
        "container \"main\" in pod \"nowhere\" is waiting to start: trying and failing to pull image"
    );
    until("a pod is done", || {
        (phase(cluster, "once")? == "Succeeded").then_some(())
    });
    cluster.tell("POST", "/kill", &json!({"pod": "early", "reason": "OOMKilled"}));
    until("it was killed and runs again", || {
        let early = cluster.get(&format!("{PODS}/early"))?;
        let status = &early["status"]["containerStatuses"][0];
        let killed = status["lastState"]["terminated"]["reason"] == "OOMKilled" && status["ready"] == true;
        killed.then_some(())
    });

    // A pod that is deleted has its time, and no more.
    cluster.rule(json!({"image": "^slow", "stop_after": 60}));
    let mut slow = pod("slow", "slow:1");
    slow["spec"]["terminationGracePeriodSeconds"] = json!(2);
    cluster.make(PODS, slow);
    until("it runs", || ready(cluster, "slow").then_some(()));
    let began = std::time::Instant::now();
    cluster.api("DELETE", &format!("{PODS}/slow"), None);
    assert!(
        cluster.get(&format!("{PODS}/slow")).expect("still there")["metadata"]["deletionTimestamp"]
            .is_string()
    );
    until("it is gone", || {
        cluster.get(&format!("{PODS}/slow")).is_none().then_some(())
    });
    assert!(began.elapsed().as_secs_f64() > 1.5, "{:?}", began.elapsed());

    // Nodes that go take their pods with them.
    cluster.tell("DELETE", "/nodes/prod/runners", &json!({"wait": true}));
    assert_eq!(cluster.get("/api/v1/nodes").expect("a list")["items"], json!([]));
    assert_eq!(phase(cluster, "broken"), None);
}

#[test]
fn claims_are_bound_and_secrets_waited_for() {
    let Some(cluster) = &Cluster::start() else {
        return;
    };
    cluster.nodes("prod", "runners", 1, "c6i.xlarge");
    cluster.tell("PUT", "/volumes", &json!({"installed": false}));
    let class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "efs"},
        "provisioner": "efs.csi.aws.com", "parameters": {"provisioningMode": "efs-ap", "fileSystemId": "fs-1"},
    });
    cluster.make("/apis/storage.k8s.io/v1/storageclasses", class);
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let claim = |name: &str, class: &str, volume: Value| {
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
            "spec": {"accessModes": ["ReadWriteMany"], "storageClassName": class, "volumeName": volume,
                "resources": {"requests": {"storage": "5Gi"}}},
        })
    };
    let bound = |name: &str| {
        let found = cluster.get(&format!("{claims}/{name}"))?;
        (found["status"]["phase"] == "Bound").then(|| found["spec"]["volumeName"].clone())
    };
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "there"},
        "spec": {"accessModes": ["ReadWriteMany"], "capacity": {"storage": "5Gi"}, "storageClassName": "static",
            "persistentVolumeReclaimPolicy": "Retain", "csi": {"driver": "efs.csi.aws.com", "volumeHandle": "fs-2"}},
    });
    cluster.make("/api/v1/persistentvolumes", volume);
    cluster.make(claims, claim("dynamic", "efs", Value::Null));
    cluster.make(claims, claim("static", "static", json!("there")));
    assert_eq!(until("a claim on what is there", || bound("static")), "there");
    until("without a driver a claim waits", || {
        let events = cluster.events("default", "dynamic");
        events
            .iter()
            .any(|(reason, _)| reason == "ExternalProvisioning")
            .then_some(())
    });
    assert_eq!(bound("dynamic"), None);

    // A pod waits for its claim, then for its secret, then for its key.
    let mut user = pod("user", "busybox");
    user["spec"]["volumes"] = json!([
        {"name": "cache", "persistentVolumeClaim": {"claimName": "dynamic"}},
        {"name": "token", "secret": {"secretName": "token"}},
    ]);
    let from = json!({"secretKeyRef": {"name": "token", "key": "missing"}});
    user["spec"]["containers"][0]["env"] = json!([{"name": "A", "valueFrom": from}]);
    cluster.make(PODS, user);
    let said = |words: &str| {
        let events = cluster.events("default", "user");
        events
            .iter()
            .any(|(_, message)| message.contains(words))
            .then_some(())
    };
    until("an unbound claim", || {
        said("unbound immediate PersistentVolumeClaims")
    });
    cluster.tell("PUT", "/volumes", &json!({"mount": "Could not mount \"fs-1:/\""}));
    until("the driver is there", || bound("dynamic"));
    until("a mount that fails", || {
        said("MountVolume.SetUp failed for volume \"cache\" : Could not mount \"fs-1:/\"")
    });
    cluster.tell("PUT", "/volumes", &json!({}));
    until("a secret that is missing", || {
        said("MountVolume.SetUp failed for volume \"token\" : secret \"token\" not found")
    });
    let secrets = "/api/v1/namespaces/default/secrets";
    cluster.make(
        secrets,
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}}),
    );
    until("a key that is missing", || {
        (state(cluster, "user")? == ("waiting".to_owned(), "CreateContainerConfigError".to_owned()))
            .then_some(())
    });
    cluster.api(
        "PATCH",
        &format!("{secrets}/token"),
        Some(&json!({"stringData": {"missing": "x"}})),
    );
    until("it runs", || ready(cluster, "user").then_some(()));

    // A claim in use stays until its pod is gone; the volume that was made for it goes with it, the other stays.
    cluster.api("DELETE", &format!("{claims}/dynamic"), None);
    cluster.api("DELETE", &format!("{claims}/static"), None);
    until("an unused claim", || {
        cluster.get(&format!("{claims}/static")).is_none().then_some(())
    });
    assert!(cluster.get(&format!("{claims}/dynamic")).is_some());
    cluster.api("DELETE", &format!("{PODS}/user"), None);
    until("its volume is deleted", || {
        let volumes = cluster.get("/api/v1/persistentvolumes")?;
        let left = volumes["items"].as_array()?;
        (left.len() == 1 && left[0]["status"]["phase"] == "Released").then_some(())
    });
}

/// A pod as a chart makes it, with the rights that jobs need.
fn runner(cluster: &Cluster, platform: &Platform, name: &str, secret: &Value) {
    let space = format!("/api/v1/namespaces/{name}");
    let meta = |name: &str| json!({"name": name});
    cluster.make(
        "/api/v1/namespaces",
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": meta(name)}),
    );
    let token =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": meta("token"), "stringData": secret});
    cluster.make(&format!("{space}/secrets"), token);
    let template =
        "[[runners]]\n  [runners.kubernetes]\n    cpu_request = \"1500m\"\n    image = \"alpine\"\n";
    let config = json!({"config.toml": "concurrent = 4\n", "config.template.toml": template});
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("config"), "data": config});
    cluster.make(&format!("{space}/configmaps"), config);
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": meta("jobs"),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": name}],
    });
    cluster.make(
        &format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{name}/rolebindings"),
        role,
    );
    // Else a pod is refused.
    until("a service account", || {
        let account = cluster.get(&format!("{space}/serviceaccounts/default"))?;
        account["secrets"].is_array().then_some(())
    });
    let hook = json!({"preStop": {"exec": {"command": ["/entrypoint", "unregister", "--all-runners"]}}});
    let mut env = vec![
        json!({"name": "CI_SERVER_URL", "value": platform.url}),
        json!({"name": "RUNNER_NAME", "value": "one"}),
    ];
    if secret["runner-token"] == "" {
        // Refused with a token of the new kind.
        env.push(json!({"name": "REGISTER_RUN_UNTAGGED", "value": "true"}));
    }
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": meta("runner"),
        "spec": {
            "terminationGracePeriodSeconds": 3600,
            "volumes": [{"name": "token", "secret": {"secretName": "token"}}, {"name": "config", "configMap": meta("config")}],
            "containers": [{
                "name": "runner", "image": "docker.io/dataopslive/dataops-runner:latest",
                "lifecycle": if secret["runner-token"] == "" { hook } else { json!({}) },
                "env": env,
                "volumeMounts": [{"name": "token", "mountPath": "/secrets"}, {"name": "config", "mountPath": "/configmaps"}],
            }],
        },
    });
    cluster.make(&format!("{space}/pods"), pod);
}

#[test]
fn a_runner_registers_runs_jobs_as_pods_and_finishes_them() {
    let (Some(cluster), Some(platform)) = (&Cluster::start(), Platform::start()) else {
        return;
    };
    cluster.nodes("prod", "runners", 1, "c6i.xlarge");
    let pods = |space: &str| format!("/api/v1/namespaces/{space}/pods");
    let is_ready = |space: &str| {
        let found = cluster
            .get(&format!("{}/runner", pods(space)))
            .unwrap_or_default();
        condition(&found, "Ready")["status"] == "True"
    };

    // A token that the platform does not know: never ready, and the log says why.
    runner(
        cluster,
        &platform,
        "wrong",
        &json!({"runner-token": "", "runner-registration-token": "nonsense"}),
    );
    until("it ends again and again", || {
        let found = cluster.get(&format!("{}/runner", pods("wrong")))?;
        (found["status"]["containerStatuses"][0]["restartCount"].as_u64()? > 0).then_some(())
    });
    assert!(!is_ready("wrong"));
    let log = until("the platform's refusal", || {
        let log = cluster.log("wrong", "runner");
        log.contains("PANIC: Failed to register the runner.")
            .then_some(log)
    });
    assert!(
        log.contains("Registering runner... forbidden (check registration token)"),
        "{log}"
    );
    cluster.api("DELETE", "/api/v1/namespaces/wrong", None);
    assert_eq!(platform.runners(), Vec::<Value>::new());

    // One that was made on the platform. Its jobs are pods, of which two fit on the node.
    let token = platform.runner();
    runner(
        cluster,
        &platform,
        "made",
        &json!({"runner-token": token, "runner-registration-token": ""}),
    );
    until("it is verified", || is_ready("made").then_some(()));
    until("it asks for jobs", || {
        (platform.runners()[0]["managers"][0]["executor"] == "kubernetes").then_some(())
    });
    let jobs: Vec<_> = (0..3).map(|_| platform.job(4)).collect();
    let of_jobs = |phase: &str| {
        let list = cluster.get(&format!(
            "{}?labelSelector=job.runner.gitlab.com%2Fpod",
            pods("made")
        ))?;
        let items = list["items"].as_array()?;
        Some(items.iter().filter(|one| one["status"]["phase"] == phase).count())
    };
    until("two run and one waits", || {
        (of_jobs("Running")? == 2 && of_jobs("Pending")? == 1).then_some(())
    });

    // Told to end, it takes no more, finishes what it has, and is gone.
    cluster.api("DELETE", &format!("{}/runner", pods("made")), None);
    let late = platform.job(1);
    until("it is gone", || {
        cluster
            .get(&format!("{}/runner", pods("made")))
            .is_none()
            .then_some(())
    });
    for job in jobs {
        assert_eq!(platform.job_state(job), "success");
    }
    assert_eq!(platform.job_state(late), "pending");
    assert_eq!((of_jobs("Running"), of_jobs("Pending")), (Some(0), Some(0)));

    // The older kind registers itself, and is no more once the pod is deleted, where the chart says so.
    let known = platform.runners().len();
    runner(
        cluster,
        &platform,
        "older",
        &json!({"runner-token": "", "runner-registration-token": platform.registration_token()}),
    );
    until("it is registered", || is_ready("older").then_some(()));
    assert_eq!(platform.runners().len(), known + 1);
    cluster.api("DELETE", &format!("{}/runner", pods("older")), None);
    until("it is unregistered", || {
        (platform.runners().len() == known).then_some(())
    });
}
