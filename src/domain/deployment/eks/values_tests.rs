use super::*;
use crate::domain::deployment::eks::spec::Job;
use crate::domain::deployment::owner::Generation;
use crate::domain::deployment::spec::SecretRef;
use crate::domain::testing;

fn record() -> Record {
    let mut spec = testing::spec(1);
    spec.eks = Some(Box::new(Eks {
        job: Job {
            cpu_m: 1000,
            memory_mib: 1024,
            memory_limit_mib: 2048,
            timeout_minutes: 120,
        },
        ..testing::eks()
    }));
    Record {
        generation: Generation::from_bytes([0xab; 8]),
        spec,
        ..testing::eks_record()
    }
}

fn of(record: &Record) -> Value {
    release(record).expect("on EKS").values
}

#[test]
fn the_runner_is_configured_by_toml() {
    let values = of(&record());
    insta::assert_snapshot!(values["runners"]["config"].as_str().expect("text"), @r#"
    [[runners]]
      name = "abc"
      executor = "kubernetes"
      [runners.kubernetes]
        namespace = "dataops"
        service_account = "abc-jobs"
        cpu_request = "1000m"
        memory_request = "1024Mi"
        memory_limit = "2048Mi"
        poll_timeout = 900
        pull_policy = ["always", "if-not-present"]
        [runners.kubernetes.node_selector]
          "eks.amazonaws.com/nodegroup" = "dataops-infra-abc"
        [runners.kubernetes.pod_annotations]
          "cluster-autoscaler.kubernetes.io/safe-to-evict" = "false"
          "karpenter.sh/do-not-disrupt" = "true"
        [runners.kubernetes.pod_labels]
          "dataops-infra/deployment" = "abc"
          "dataops-infra/generation" = "abababababababab"
          "dataops-infra/part" = "job"
        [[runners.kubernetes.volumes.pvc]]
          name = "abc-cache"
          mount_path = "/agent_cache"
    "#);
}

#[test]
fn every_hole_is_known_and_each_is_in_the_template() {
    let mut full = record();
    full.spec.registry = Some(SecretRef::Secret("hub".to_owned()));
    full.spec.runner_image = "hub.example/runner".to_owned();
    full.spec.eks.as_mut().expect("on EKS").vault_secret = Some("vault".to_owned());
    let holes = holes(&full, full.spec.eks.as_deref().expect("on EKS"));
    let text = include_str!("../../../../templates/eks/values.yaml");
    let read: Value = serde_yaml::from_str(text).expect("YAML");
    let read = read.to_string();
    for hole in holes.as_object().expect("holes").keys() {
        assert!(read.contains(&format!("\"@@{hole}@@\"")), "{hole} is nowhere");
    }
    let left = filled(&TEMPLATE, &holes).expect("values").to_string();
    assert_eq!(read.matches("@@").count() % 2, 0);
    for hole in read
        .split("\"@@")
        .skip(1)
        .filter_map(|rest| rest.split("@@\"").next())
    {
        assert!(holes.get(hole).is_some(), "nothing is for {hole}");
    }
    assert!(!left.contains("@@"), "{left}");
}

#[test]
fn no_values_of_another_deployment() {
    let mut other = record();
    other.spec.eks = None;
    assert_eq!(release(&other), None);
}

#[test]
fn the_digest_follows_chart_and_values() {
    let one = record();
    let same = release(&one).expect("on EKS").digest;
    assert_eq!(release(&one).expect("on EKS").digest, same);
    let mut chart = record();
    chart.spec.eks.as_mut().expect("on EKS").chart.version = Some("9.9.9".to_owned());
    assert_ne!(release(&chart).expect("on EKS").digest, same);
    let mut jobs = record();
    jobs.spec.concurrency += 1;
    assert_ne!(release(&jobs).expect("on EKS").digest, same);
}

#[test]
fn only_a_registration_takes_tags_and_limits() {
    let record = record();
    let new = token_values(&record, TokenKind::of("glrt-abc"), "d1");
    assert_eq!(new, json!({ "podAnnotations": { TOKEN_ANNOTATION: "d1" } }));
    let old = token_values(&record, TokenKind::of("abc"), "d1");
    assert_eq!(old["runners"]["tags"], "abc");
    assert_eq!(old["runners"]["maximumTimeout"], "7200");
    let mut short = record.clone();
    short.spec.eks.as_mut().expect("on EKS").job.timeout_minutes = 5;
    let old = token_values(&short, TokenKind::Registration, "d1");
    assert_eq!(
        old["runners"].get("maximumTimeout"),
        None,
        "the platform refuses less than 600 s"
    );
}

#[test]
fn what_is_not_asked_for_is_left_to_the_chart() {
    let plain = of(&record());
    for key in ["image", "vaultSecret", "imagePullSecrets", "vault"] {
        assert_eq!(plain.get(key), None, "{key}");
    }
    assert!(
        !plain["runners"]["config"]
            .as_str()
            .expect("text")
            .contains("image_pull_secrets")
    );
    let mut record = record();
    record.spec.registry = Some(SecretRef::Secret("hub".to_owned()));
    record.spec.runner_image = "hub.example:5000/team/runner".to_owned();
    record.spec.eks.as_mut().expect("on EKS").vault_secret = Some("vault".to_owned());
    let full = of(&record);
    assert_eq!(
        full["image"],
        json!({ "registry": "hub.example:5000", "image": "team/runner", "tag": "latest" })
    );
    assert_eq!(full["vaultSecret"], "vault");
    assert_eq!(full["imagePullSecrets"], json!([{ "name": "abc-registry" }]));
    assert!(
        full["runners"]["config"]
            .as_str()
            .expect("text")
            .contains("image_pull_secrets = [\"abc-registry\"]")
    );
}

#[test]
fn a_cluster_that_scales_itself_gets_no_node_group_of_ours() {
    let mut record = record();
    let eks = record.spec.eks.as_mut().expect("on EKS");
    eks.autoscaler = Autoscaler::Cluster;
    eks.storage.mode = StorageMode::None;
    let values = of(&record);
    assert_eq!(values["nodeSelector"].get(NODE_GROUP_LABEL), None);
    assert_eq!(values["nodeSelector"]["kubernetes.io/arch"], "amd64");
    let config = values["runners"]["config"].as_str().expect("text");
    assert!(!config.contains(NODE_GROUP_LABEL) && !config.contains("pvc"));
}

/// Any text comes back as it was: a quote or a line break in a name closes nothing.
#[test]
fn texts_are_quoted_so_that_nothing_escapes() {
    let hostile = "a\"\n[[runners]]\nx = \"\\ \u{7f}é";
    let document = json!({ "t": { "k": hostile, "a/b": [1, true, "x"] }, "e": {}, "n": 1 });
    assert_eq!(
        toml::text(&document),
        "n = 1\n[t]\n  k = \"a\\\"\\u000A[[runners]]\\u000Ax = \\\"\\\\ \\u007Fé\"\n  \"a/b\" = [1, true, \"x\"]\n[e]\n"
    );
}
