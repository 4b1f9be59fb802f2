//! What `export` writes of a cluster is what eksctl, Helm and Kubernetes take.

use std::process::Command;

use serde_json::{Value, json};

use super::bench::{ended, python_program};
use super::export::{export, linted, refused};
use super::tree::root;

/// A size that needs no simulation.
const SIZE: &[&str] = &[
    "--name",
    "abc",
    "--region",
    "eu-west-2",
    "--instance-type",
    "c6i.large",
    "--disk-gib",
    "300",
    "--min-nodes",
    "2",
    "--max-nodes",
    "4",
];

/// Everything that can be said besides.
const MORE: &[&str] = &[
    "--kubernetes-version",
    "1.34",
    "--public-cidr",
    "192.0.2.0/24,198.51.100.7/32",
    "--cluster-log",
    "audit,api",
    "--secrets-key",
    "arn:aws:kms:eu-west-2:111111111111:key/12345678-1234-1234-1234-123456789012",
    "--admin",
    "arn:aws:iam::111111111111:role/admin",
    "--job-policy",
    "arn:aws:iam::111111111111:policy/jobs",
    "--kms-key",
    "alias/runners",
    "--vpc",
    "vpc-0a1b2c3d",
    "--subnets",
    "subnet-0a1b2c3d,subnet-0a1b2c3e",
    "--fallback-type",
    "c5.large",
    "--tag",
    "team=data",
    "--registry-secret",
    "runners/registry",
    "--vault-secret",
    "team-vault",
];

fn read(kind: &str, more: &[&str]) -> Value {
    serde_json::from_str(&export(&[&[kind], SIZE, more, &["--output", "json"]].concat())).expect("JSON")
}

#[test]
#[expect(clippy::print_stdout, reason = "a skipped test must be seen to be skipped")]
fn eksctls_own_schema_takes_the_cluster() {
    let schema = root().join("../shared/data/eksctl-clusterconfig-schema.json");
    if !schema.exists() {
        println!("skipped: the schema of eksctl is not beside this tree");
        return;
    }
    let Some(python) = python_program("python") else {
        return;
    };
    let configs = json!([
        read("eksctl", &[]),
        read("eksctl", MORE),
        read("eksctl", &["--cluster", "team", "--autoscaler", "cluster"]),
    ]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("configs.json");
    std::fs::write(&file, configs.to_string()).expect("a file");
    let program = "import copy, json, sys, jsonschema
schema, configs = (json.load(open(path)) for path in sys.argv[1:])
validator = jsonschema.Draft4Validator(schema)
for config in configs:
    for error in validator.iter_errors(config):
        sys.exit('%s: %s' % (list(error.absolute_path), error.message))
bad = copy.deepcopy(configs[0])
bad['managedNodeGroups'][0]['diskSize'] = 300
if validator.is_valid(bad):
    sys.exit('the schema refuses nothing')
";
    let output = Command::new(python)
        .args(["-c", program])
        .args([schema, file])
        .output()
        .expect("Python runs");
    let (code, _, stderr) = ended(&output);
    assert_eq!(code, 0, "{stderr}");
}

/// Policies in a cluster are linted as those of a template, for the names of actions.
#[test]
fn policies_of_the_cluster_name_actions_that_aws_knows() {
    let config = read("eksctl", MORE);
    let policies: Vec<&Value> = config["iam"]["podIdentityAssociations"]
        .as_array()
        .expect("accounts")
        .iter()
        .filter_map(|account| account.get("permissionPolicy"))
        .collect();
    let [policy] = policies[..] else {
        panic!("one account has a policy of its own: {policies:?}");
    };
    let resource = json!({ "Type": "AWS::IAM::ManagedPolicy", "Properties": { "PolicyDocument": policy } });
    linted(&[(
        "autoscaler.json",
        json!({ "Resources": { "Policy": resource } }).to_string(),
    )]);
}

#[test]
fn every_version_of_kubernetes_takes_the_manifests() {
    let Some(validate) = python_program("kubernetes-validate") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let mut files = Vec::new();
    for (name, more) in [
        ("plain", &[][..]),
        ("more", MORE),
        (
            "dynamic",
            &["--storage", "dynamic", "--file-system", "fs-0a1b2c3d"],
        ),
        ("none", &["--storage", "none", "--namespace", "default"]),
    ] {
        let text = export(&[&["manifests"], SIZE, more, &["--output", "yaml"]].concat());
        let file = folder.path().join(format!("{name}.yaml"));
        std::fs::write(&file, text).expect("a file");
        files.push(file);
    }
    let run = |version: &str, files: &[std::path::PathBuf]| {
        let output = Command::new(&validate)
            .args(["--strict", "--quiet", "-k", version])
            .args(files)
            .output()
            .expect("kubernetes-validate runs");
        ended(&output)
    };
    for minor in 30..=37 {
        let version = format!("1.{minor}.0");
        let (code, stdout, stderr) = run(&version, &files);
        assert_eq!(code, 0, "{version}: {stdout}{stderr}");
    }
    // It refuses what is wrong.
    let bad = folder.path().join("bad.yaml");
    let text = std::fs::read_to_string(&files[0]).expect("it is there");
    std::fs::write(&bad, text.replacen("replicas: 1", "replicas: one", 1)).expect("a file");
    let (code, stdout, _) = run("1.34.0", &[bad]);
    assert_eq!(code, 1, "{stdout}");
}

#[test]
fn what_is_not_known_has_a_name_and_is_told() {
    let manifests = read("manifests", &["--registry-secret", "runners/registry"]);
    let text = manifests.to_string();
    for name in ["${FILE_SYSTEM_ID}", "${RUNNER_TOKEN}", "${REGISTRY_LOGIN}"] {
        assert!(text.contains(name), "{name} in {text}");
    }
    let text = read("manifests", &["--file-system", "fs-0a1b2c3d"]).to_string();
    assert!(text.contains("fs-0a1b2c3d") && !text.contains("${FILE_SYSTEM_ID}"));
}

#[test]
fn the_parts_fit_together() {
    let values = read("helm-values", MORE);
    let manifests = read("manifests", MORE);
    let config = read("eksctl", MORE);
    let names = |kind: &str| -> Vec<&str> {
        let items = manifests["items"].as_array().expect("items").iter();
        items
            .filter(|item| item["kind"] == kind)
            .filter_map(|item| item["metadata"]["name"].as_str())
            .collect()
    };
    let secret = values["runners"]["secret"].as_str().expect("a secret");
    assert!(names("Secret").contains(&secret));
    let accounts = names("ServiceAccount");
    for account in config["iam"]["podIdentityAssociations"]
        .as_array()
        .expect("accounts")
    {
        let account = account["serviceAccountName"].as_str().expect("a name");
        assert!(accounts.contains(&account), "{account} in {accounts:?}");
    }
    assert_eq!(
        values["nodeSelector"]["eks.amazonaws.com/nodegroup"], config["managedNodeGroups"][0]["name"],
        "the runner goes where the nodes are"
    );
}

#[test]
fn what_is_wrong_is_said() {
    for (arguments, code, said) in [
        (
            vec!["eksctl", "--name", "abc", "--target", "ec2"],
            3,
            "of a cluster",
        ),
        (
            vec!["eksctl", "--name", "abc", "--count", "2"],
            2,
            "eks.min_nodes",
        ),
        (
            vec!["eksctl", "--name", "abc", "--min-nodes", "3", "--max-nodes", "2"],
            2,
            "no more at least",
        ),
        (
            [&["eksctl"], SIZE, &["--secrets-key", "alias/cluster"]].concat(),
            2,
            "ARN of a key",
        ),
        (
            [&["helm-values"], SIZE, &["--autoscaler", "cluster"]].concat(),
            2,
            "neither Auto Mode nor Karpenter",
        ),
        (
            vec!["cloudformation", "--name", "abc", "--target", "eks"],
            3,
            "of EC2 hosts",
        ),
    ] {
        let (ended, stderr) = refused(&arguments);
        assert_eq!(ended, code, "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
    }
}
