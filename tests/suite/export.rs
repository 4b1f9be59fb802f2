//! What `export` writes is what other tools take.

use std::io::Read as _;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dataops_infra::domain::export::cloudformation::{LARGEST_BODY, STACK};
use dataops_infra::domain::export::iam;
use flate2::read::GzDecoder;
use serde_json::{Value, json};

use super::bench::{ended, program, python_program};

/// Runs `export` and returns what it writes.
pub fn export(arguments: &[&str]) -> String {
    let home = tempfile::tempdir().expect("a folder");
    let mut command = program(home.path());
    let output = command.arg("export").args(arguments).output().expect("runs");
    let (code, stdout, stderr) = ended(&output);
    assert_eq!(code, 0, "{arguments:?}: {stderr}");
    stdout
}

/// Runs `export` with what is wrong; returns the exit code and what it says.
pub fn refused(arguments: &[&str]) -> (i32, String) {
    let home = tempfile::tempdir().expect("a folder");
    let output = program(home.path())
        .arg("export")
        .args(arguments)
        .output()
        .expect("runs");
    let (code, stdout, stderr) = ended(&output);
    assert!(stdout.is_empty(), "{stdout}");
    (code, stderr)
}

/// A size that needs no simulation.
const SIZE: &[&str] = &[
    "--name",
    "abc",
    "--instance-type",
    "m6i.2xlarge",
    "--concurrency",
    "8",
    "--disk-gib",
    "200",
];

fn template(more: &[&str]) -> String {
    export(&[&["cloudformation"], SIZE, more].concat())
}

/// Lets cfn-lint read files by name and content, informational remarks included.
pub fn linted(files: &[(&str, String)]) {
    let Some(cfn_lint) = python_program("cfn-lint") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("a file");
    }
    let output = Command::new(cfn_lint)
        .env_clear()
        .current_dir(folder.path())
        .args([
            "--include-checks",
            "I",
            "--ignore-checks",
            "I1022",
            "I3011",
            "I3042",
            "--regions",
        ])
        .args(["us-east-1", "eu-west-2", "ap-southeast-1", "--"])
        .args(files.iter().map(|(name, _)| *name))
        .output()
        .expect("cfn-lint runs");
    let (code, stdout, stderr) = ended(&output);
    assert_eq!(code, 0, "{stdout}{stderr}");
}

#[test]
fn templates_are_clean() {
    let more = [
        "--notify",
        "team@example.com",
        "--notify",
        "https://hooks.example.com/a",
        "--tag",
        "team=data",
        "--count",
        "2",
    ];
    let theirs = [
        "--token-secret",
        "runner-token",
        "--topic",
        "arn:aws:sns:us-east-1:111111111111:alerts",
        "--kms-key",
        "arn:aws:kms:us-east-1:111111111111:key/12345678-1234-1234-1234-123456789012",
    ];
    linted(&[
        ("plain.yaml", template(&[])),
        ("plain.json", template(&["--output", "json"])),
        ("more.yaml", template(&more)),
        ("theirs.yaml", template(&theirs)),
    ]);
}

#[test]
fn policies_name_actions_and_resources_that_aws_knows() {
    let documents: Vec<(String, String)> = iam::Command::ALL
        .iter()
        .flat_map(|command| {
            let narrow = [
                "--name",
                "abc",
                "--region",
                "eu-west-2",
                "--account",
                "111111111111",
            ];
            [&[][..], &narrow[..]].map(|scope| {
                let policy = export(&[&["iam-policy", "--for", command.word()], scope].concat());
                let policy: Value = serde_json::from_str(&policy).expect("JSON");
                let resource =
                    json!({ "Type": "AWS::IAM::ManagedPolicy", "Properties": { "PolicyDocument": policy } });
                let name = format!("{}-{}.json", command.word(), scope.len());
                (name, json!({ "Resources": { "Policy": resource } }).to_string())
            })
        })
        .collect();
    let files: Vec<(&str, String)> = documents
        .iter()
        .map(|(name, text)| (name.as_str(), text.clone()))
        .collect();
    linted(&files);
}

#[test]
fn yaml_and_json_are_the_same_template() {
    let yaml: Value = serde_yaml::from_str(&template(&[])).expect("YAML");
    let text = template(&["--output", "json"]);
    assert_eq!(yaml, serde_json::from_str::<Value>(&text).expect("JSON"));
    assert!(template(&[]).len() < LARGEST_BODY, "one host needs no S3");
}

#[test]
fn a_template_puts_together_the_script_that_user_data_prints() {
    let template: Value = serde_json::from_str(&template(&["--output", "json"])).expect("JSON");
    let encoded = template["Resources"]["Host"]["Properties"]["UserData"].as_str();
    let packed = STANDARD.decode(encoded.expect("text")).expect("base 64");
    assert!(packed.len() <= 16_384, "{}", packed.len());
    let mut script = String::new();
    GzDecoder::new(packed.as_slice())
        .read_to_string(&mut script)
        .expect("compressed");
    let printed = export(&[&["user-data", "--region", "eu-west-2"], SIZE].concat());
    // It asks on the host where it is, and its reports say from which stack.
    let same = |text: &str| -> Vec<String> {
        let differs = ["REGION=", "DNS_SUFFIX=", "GENERATION=", "TOKEN_CALL="];
        text.lines()
            .filter(|line| !differs.iter().any(|name| line.starts_with(name)))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(same(&script), same(&printed));
    for line in ["REGION=''", "DNS_SUFFIX=''", "GENERATION='stack/abc'"] {
        assert!(script.lines().any(|other| other == line), "{line}");
    }
    assert!(
        script.contains(
            "TOKEN_CALL=('' 'ssm' 'AmazonSSM.GetParameter' '{\"Name\":\"/dataops-infra/abc/token\","
        )
    );
    assert!(printed.starts_with("#!/bin/bash\n"));
}

#[test]
fn a_template_is_what_was_asked_for() {
    let read = |more: &[&str]| -> Value {
        serde_json::from_str(&template(&[more, &["--output", "json"]].concat())).expect("JSON")
    };
    let one = read(&["--tag", "team=data", "--token-parameter", "/team/token"]);
    let host = &one["Resources"]["Host"]["Properties"];
    assert_eq!(host["InstanceType"], "m6i.2xlarge");
    assert_eq!(host["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"], 200);
    assert_eq!(host["BlockDeviceMappings"][0]["Ebs"]["Encrypted"], true);
    assert_eq!(host["MetadataOptions"]["HttpTokens"], "required");
    assert_eq!(host["MetadataOptions"]["HttpPutResponseHopLimit"], 2);
    assert!(
        one["Resources"]["Role"]
            .to_string()
            .contains("parameter/team/token"),
        "{}",
        one["Resources"]["Role"]
    );
    let tags = host["Tags"].to_string();
    assert!(tags.contains(STACK) && tags.contains("\"team\"") && !tags.contains("dataops-infra:deployment"));
    let kinds = |template: &Value, kind: &str| {
        let resources = template["Resources"].as_object().expect("resources");
        resources
            .values()
            .filter(|resource| resource["Type"] == kind)
            .count()
    };
    assert_eq!(kinds(&one, "AWS::CloudWatch::Alarm"), 9);
    let two = read(&["--count", "2", "--topic", "arn:aws:sns:eu-west-2:111111111111:a"]);
    assert_eq!(kinds(&two, "AWS::EC2::Instance"), 2);
    assert_eq!(kinds(&two, "AWS::SSM::Parameter"), 2);
    assert_eq!(kinds(&two, "AWS::SNS::Topic"), 0);
}

#[test]
fn what_is_wrong_is_said() {
    for (arguments, said) in [
        (vec!["user-data", "--name", "abc"], "no region"),
        (vec!["cloudformation", "--name", "A"], "no name of a deployment"),
        (
            vec!["cloudformation", "--name", "abc", "--instance-type", "x9.huge"],
            "x9.huge",
        ),
        (
            vec!["cloudformation", "--name", "abc", "--tag", "aws:a=b"],
            "--tag",
        ),
        (
            vec!["cloudformation", "--name", "abc", "--notify", "me"],
            "--notify",
        ),
        (
            vec!["iam-policy", "--for", "nothing"],
            "plan, up, status, doctor, alarms, down",
        ),
        (
            vec!["iam-policy", "--for", "up", "--account", "12"],
            "twelve digits",
        ),
        (vec!["iam-policy", "--for", "up", "--read-only"], "--read-only"),
        (
            vec!["iam-policy", "--for", "up", "--kms-key", "alias/a"],
            "ARN of a key",
        ),
    ] {
        let (code, stderr) = refused(&arguments);
        assert_eq!(code, 2, "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
    }
    let (code, _) = refused(&["cloudformation", "--name", "abc", "--target", "eks"]);
    assert_eq!(code, 3);
}
