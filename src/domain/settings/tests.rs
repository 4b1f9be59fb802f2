//! Files as users write them, wrong ones above all: the whole message is the interface.

use super::*;

fn parse_text(text: &str) -> Result<Vec<Settings>, SettingsErrors> {
    parse(text, "dataops-infra.yaml")
}

/// Returns the messages for a wrong file, without its name.
fn complaints(text: &str) -> String {
    match parse_text(text) {
        Ok(settings) => format!("fine: {settings:?}"),
        Err(errors) => errors.to_string().replace("dataops-infra.yaml:", ""),
    }
}

/// Returns what is said about a value of a flag.
fn refused(key: &str, text: &str) -> String {
    match check(key, text) {
        Ok(value) => format!("fine: {value:?}"),
        Err(refusal) => refusal.to_string(),
    }
}

/// A made-up token; put together here, because the tree holds nothing that looks like one.
fn token() -> String {
    ["glrt", "-", "t3_madeUpForThisTest0"].concat()
}

/// Returns settings in which every key that can stand with the others has the value of its example.
fn full() -> Settings {
    let mut settings = Settings::default();
    for key in KEYS {
        settings
            .put(key.name, key.example)
            .unwrap_or_else(|refusal| panic!("{}: {refusal}", key.name));
    }
    settings
}

#[test]
fn the_example_parses_with_the_defaults_under_each_deployment() {
    let deployments = parse_text(EXAMPLE).unwrap_or_else(|errors| panic!("{errors}"));
    let [london, workshop] = &deployments[..] else {
        panic!("{deployments:?}")
    };
    assert_eq!(london.region.as_deref(), Some("eu-west-2"));
    assert_eq!(
        london.token,
        Some(TokenSource::Parameter("/runners/token".to_owned()))
    );
    assert_eq!(london.set["slo.wait_s"], "20");
    assert_eq!(london.tags["cost-centre"], "1234");
    assert_eq!(workshop.workload.as_deref(), Some("proof-of-technology"));
    assert_eq!(workshop.token, Some(TokenSource::File("./workshop.token".into())));
    assert_eq!(workshop.docker.packages, Some(Packages::Distribution));
    assert_eq!(workshop.ttl.map(Ttl::minutes), Some(3 * 24 * 60));
    assert_eq!(workshop.notify, london.notify);
}

#[test]
fn a_single_deployment_stands_at_the_top_level_and_may_be_nameless() {
    let one = parse_text("region: eu-west-2\nchannel: 1.10\ntags: {cost: 007}\ndocker:\n").unwrap();
    let expected = Settings {
        region: Some("eu-west-2".to_owned()),
        channel: Some("1.10".to_owned()),
        tags: BTreeMap::from([("cost".to_owned(), "007".to_owned())]),
        ..Settings::default()
    };
    assert_eq!(one, [expected]);
}

#[test]
fn every_problem_is_reported_at_once_in_the_order_of_the_file() {
    insta::assert_snapshot!(complaints("schema: v2
regin: eu-west-2
defaults:
  name: x
  region: eu_west_2
  mirror: https://a.b
deployments:
  - name: London
    count: \"3\"
    concurrency: 0
    disk_gib: 200GiB
    public_address: yes
    instance_type: M6i.2xlrage
    subnets: subnet-0a1b2c3d
    zones: [eu-west-2a, eu-west-2a, euw2-az1]
    vpc: vpc-123
    log_retention_days: 20
    ttl: 2 weeks
    docker: {package: docker, region: x}
    tags: {aws:x: 1, name: y, a: , b: [1]}
    set: {slo.wait: 20, job.timeout_s: soon, wait_s: 1}
    token:
    registry: {secret: a/b, parameter: /a/b}
  - target: fargate
  - 5
"), @r#"
    1:9: schema: `v2` is not known; expected dataops-infra/deployments/v1
    2:1: regin: unknown key; did you mean `region`?
    4:3: defaults.name: a name belongs to one deployment and cannot be a default; move it to its deployment
    5:11: defaults.region: `eu_west_2` is no AWS region; expected a region such as eu-west-2; did you mean `eu-west-2`?
    6:3: defaults.mirror: unknown key; `mirror` belongs under `docker`
    8:11: deployments[0].name: `London` is no name of a deployment; expected 3 to 40 of a-z, 0-9 and -, a letter first and no - at the end; did you mean `london`?
    9:12: deployments[0].count: holds the text `3`; expected a whole number, 1 to 20 hosts; remove the quotes
    10:18: deployments[0].concurrency: `0` is out of range; expected a whole number, 1 to 500 jobs
    11:15: deployments[0].disk_gib: `200GiB` is not a whole number; expected a whole number, 20 to 16384 GiB; write the number alone: the unit is GiB
    12:21: deployments[0].public_address: `yes` is not known; expected true or false; did you mean `true`?
    13:20: deployments[0].instance_type: `M6i.2xlrage` is no instance type; expected a type such as m6i.2xlarge; did you mean `m6i.2xlarge`?
    14:14: deployments[0].subnets: holds `subnet-0a1b2c3d`; expected a list of at most 50, each subnet- and 8 or 17 of 0-9 and a-f; write [subnet-0a1b2c3d]
    15:25: deployments[0].zones[1]: `eu-west-2a` stands twice; remove one of them
    15:37: deployments[0].zones[2]: `euw2-az1` is the id of a zone; expected a zone such as eu-west-2a; write its name, which the account maps to it
    16:10: deployments[0].vpc: `vpc-123` is no id of a VPC; expected vpc- and 8 or 17 of 0-9 and a-f
    17:25: deployments[0].log_retention_days: CloudWatch Logs cannot keep logs for `20`; expected one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653 days; the next longer one is 30
    18:10: deployments[0].ttl: `2 weeks` is no length of time; expected a life such as 90m, 4h or 7d, from 15m to 30d
    19:14: deployments[0].docker.package: unknown key; did you mean `packages`?
    19:31: deployments[0].docker.region: unknown key; `region` belongs one level up
    20:19: deployments[0].tags.aws:x: `aws:x` begins with `aws:`, which belongs to AWS; expected a key of 1 to 128 and a value of up to 256 letters, digits, spaces and _ . : / = + - @
    20:28: deployments[0].tags.name: `name` is set by this tool; expected a key of 1 to 128 and a value of up to 256 letters, digits, spaces and _ . : / = + - @; the key `name` of the deployment says it
    20:32: deployments[0].tags.a: has no value; expected one value; write "" for an empty value
    20:39: deployments[0].tags.b: holds a list of 1; expected one value; put a list or a mapping in quotes
    21:21: deployments[0].set.slo.wait: `slo.wait` is no key of a workload; expected a key of a workload and its value, such as slo.wait_s: 20; did you mean `slo.wait_s`?
    21:40: deployments[0].set.job.timeout_s: `job.timeout_s`: `soon` is not a number; expected a number, 1 to 2592000 s
    21:54: deployments[0].set.wait_s: `wait_s` is no key of a workload; expected a key of a workload and its value, such as slo.wait_s: 20; did you mean `slo.wait_s`?
    22:10: deployments[0].token: has no value; expected a mapping with exactly one of the keys file, environment, parameter, secret
    23:29: deployments[0].registry.parameter: a second way to say where it is kept, beside `secret`; expected a mapping with exactly one of the keys parameter, secret
    24:5: deployments[1]: `name` is missing; expected 3 to 40 of a-z, 0-9 and -, a letter first and no - at the end
    24:13: deployments[1].target: `fargate` is not known; expected ec2 or eks; `dataops-infra explain fargate` says why
    25:5: deployments[2]: holds `5`; expected a mapping with the keys of a deployment
    "#);
}

#[test]
fn every_kind_of_value_is_told_what_was_expected() {
    let cases = [
        ("name", "x"),
        ("name", "a--"),
        ("name", "Runner London"),
        ("target", "ECS"),
        ("target", "ek"),
        ("region", "eu-west-2a"),
        ("region", "London"),
        ("profile", "[work]"),
        ("profile", ""),
        ("workload", "prodution"),
        ("workload", "~/team.yaml"),
        ("set", "slo.wait_s"),
        ("set", "slo.wait_s=2%"),
        ("families", "m6i.large"),
        ("strict_minimums", "on"),
        ("instance_type", "db.t3.large"),
        ("count", "21"),
        ("count", "-1"),
        ("count", "1_0"),
        ("disk_gib", "16385"),
        ("disk_gib", "020"),
        ("vpc", "subnet-0a1b2c3d"),
        ("ami", "AMI-0A1B2C3D"),
        ("ami_parameter", "golden/ubuntu"),
        ("ami_parameter", "arn:aws:s3:eu-west-2:123456789012:parameter/x"),
        ("kms_key", "runners"),
        ("token.environment", "$TOKEN"),
        ("token.secret", "a b"),
        ("token.file", "-"),
        ("platform_url", "app.example.com"),
        ("platform_url", "https://me:secret@example.com"),
        ("docker.proxy", "http://h:99999"),
        ("notify", "http://example.com/x"),
        ("notify", "team@example"),
        ("notify", "http://example.com/?key=abc"),
        ("runner_image", "https://a.b/c"),
        ("channel", "a b"),
        ("topic", "arn:aws:sqs:eu-west-2:123456789012:q"),
        ("log_retention_days", "4000"),
        ("ttl", "10m"),
        ("ttl", "31d"),
        ("ttl", "3 days"),
        ("ttl", "4"),
        ("tags", "team"),
        ("tags", "=x"),
        ("tags", "a=b#c"),
        ("tags", "DataOps-Infra:x=1"),
        ("docker.packages", "dcoker"),
        ("regin", "x"),
        ("region", "a\u{1b}[31m"),
    ];
    let said: String = cases
        .iter()
        .map(|(key, text)| format!("{key}: {}\n", refused(key, text)))
        .collect();
    insta::assert_snapshot!(said, @r#"
    name: `x` is no name of a deployment; expected 3 to 40 of a-z, 0-9 and -, a letter first and no - at the end
    name: `a--` is no name of a deployment; expected 3 to 40 of a-z, 0-9 and -, a letter first and no - at the end
    name: `Runner London` is no name of a deployment; expected 3 to 40 of a-z, 0-9 and -, a letter first and no - at the end; did you mean `runner-london`?
    target: `ECS` is not known; expected ec2 or eks; `dataops-infra explain ecs` says why
    target: `ek` is not known; expected ec2 or eks; did you mean `eks`?
    region: `eu-west-2a` is no AWS region; expected a region such as eu-west-2; did you mean `eu-west-2`?
    region: `London` is no AWS region; expected a region such as eu-west-2
    profile: `[work]` is no AWS profile; expected the name of a profile in the AWS configuration files
    profile: is empty; expected the name of a profile in the AWS configuration files
    workload: there is no workload `prodution`; expected proof-of-technology, production, kubernetes or a file such as ./team.yaml; did you mean `production`?
    workload: `~/team.yaml` begins with `~`, which only a shell understands; expected proof-of-technology, production, kubernetes or a file such as ./team.yaml; write the whole path
    set: `slo.wait_s` has no `=`; expected KEY=VALUE, such as slo.wait_s=20
    set: `slo.wait_s`: `2%` is not a number; expected a number, 0 to 86400 s; did you mean `0.02`?
    families: `m6i.large` is no instance family; expected a family such as c5 or m6i; did you mean `m6i`?
    strict_minimums: `on` is not known; expected true or false; did you mean `true`?
    instance_type: `db.t3.large` is no instance type; expected a type such as m6i.2xlarge
    count: `21` is out of range; expected a whole number, 1 to 20 hosts
    count: `-1` is not a whole number; expected a whole number, 1 to 20 hosts
    count: `1_0` is not a whole number; expected a whole number, 1 to 20 hosts; did you mean `10`?
    disk_gib: `16385` is out of range; expected a whole number, 20 to 16384 GiB
    disk_gib: `020` is not a whole number; expected a whole number, 20 to 16384 GiB
    vpc: `subnet-0a1b2c3d` is no id of a VPC; expected vpc- and 8 or 17 of 0-9 and a-f
    ami: `AMI-0A1B2C3D` is no id of an AMI; expected ami- and 8 or 17 of 0-9 and a-f; did you mean `ami-0a1b2c3d`?
    ami_parameter: `golden/ubuntu` is no SSM parameter; expected the name of an SSM parameter, such as /team/value, or its ARN; did you mean `/golden/ubuntu`?
    ami_parameter: `arn:aws:s3:eu-west-2:123456789012:parame…` is no SSM parameter; expected the name of an SSM parameter, such as /team/value, or its ARN
    kms_key: `runners` is no KMS key; expected the id of a KMS key, alias/NAME, or the ARN of either; did you mean `alias/runners`?
    token.environment: holds something else, which is not repeated here in case it is a secret; expected the name of an environment variable, such as RUNNER_TOKEN
    token.secret: holds something else, which is not repeated here in case it is a secret; expected the name of a secret in Secrets Manager, such as team/value, or its ARN
    token.file: holds something else, which is not repeated here in case it is a secret; expected the path of a file
    platform_url: `app.example.com` is no URL; expected an https or http URL without user and password, such as https://app.dataops.live; did you mean `https://app.example.com`?
    platform_url: holds a user name or password; expected an https or http URL without user and password, such as https://app.dataops.live
    docker.proxy: `http://h:99999` is no URL; expected an https or http URL without user and password, such as http://proxy.example.com:3128
    notify: `http://example.com/x` is no address for alarms; expected an e-mail address or an https URL; did you mean `https://example.com/x`?
    notify: `team@example` is no address for alarms; expected an e-mail address or an https URL
    notify: holds something else, which is not repeated here in case it is a secret; expected an e-mail address or an https URL
    runner_image: `https://a.b/c` is no container image; expected an image such as registry.example.com/dataops/runner; did you mean `a.b/c`?
    channel: `a b` is no tag of an image; expected latest, latest-next or another tag of the image; did you mean `a-b`?
    topic: `arn:aws:sqs:eu-west-2:123456789012:q` is no ARN of an SNS topic; expected the ARN of a standard topic, such as arn:aws:sns:eu-west-2:123456789012:on-call
    log_retention_days: CloudWatch Logs cannot keep logs for `4000`; expected one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653 days
    ttl: `10m` is out of range; expected a life such as 90m, 4h or 7d, from 15m to 30d
    ttl: `31d` is out of range; expected a life such as 90m, 4h or 7d, from 15m to 30d
    ttl: `3 days` is no length of time; expected a life such as 90m, 4h or 7d, from 15m to 30d; did you mean `3d`?
    ttl: `4` is no length of time; expected a life such as 90m, 4h or 7d, from 15m to 30d; did you mean `4h`?
    tags: `team` has no `=`; expected KEY=VALUE, such as team=data
    tags: a key is empty; expected a key of 1 to 128 and a value of up to 256 letters, digits, spaces and _ . : / = + - @
    tags: the value of `a` holds `#`; expected a key of 1 to 128 and a value of up to 256 letters, digits, spaces and _ . : / = + - @
    tags: `DataOps-Infra:x` begins with `dataops-infra:`, which belongs to this tool; expected a key of 1 to 128 and a value of up to 256 letters, digits, spaces and _ . : / = + - @
    docker.packages: `dcoker` is not known; expected docker or distribution; did you mean `docker`?
    regin: unknown key; did you mean `region`?
    region: holds characters that do not print; expected a region such as eu-west-2
    "#);
}

#[test]
fn good_values_of_every_kind_are_taken() {
    for (key, text) in [
        ("name", "abc"),
        ("region", "us-gov-west-1"),
        ("region", "ap-southeast-2"),
        ("region", "eusc-de-east-1"),
        ("zones", "us-west-2-lax-1a"),
        ("zones", "us-east-1-wl1-bos-wlz-1"),
        ("instance_type", "u-6tb1.112xlarge"),
        ("instance_type", "m7i.metal-24xl"),
        ("instance_type", "c7gn.medium"),
        ("families", "m7i-flex"),
        ("vpc", "vpc-0a1b2c3d"),
        (
            "ami_parameter",
            "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id",
        ),
        ("ami_parameter", "golden"),
        ("ami_parameter", "/golden/ubuntu:3"),
        (
            "token.parameter",
            "arn:aws:ssm:eu-west-2:123456789012:parameter/runners/token",
        ),
        (
            "token.secret",
            "arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:runners/token-AbCdEf",
        ),
        ("kms_key", "mrk-0123456789abcdef0123456789abcdef"),
        ("kms_key", "01234567-89ab-cdef-0123-456789abcdef"),
        ("kms_key", "arn:aws:kms:eu-west-2:123456789012:alias/x"),
        (
            "kms_key",
            "arn:aws:kms:eu-west-2:123456789012:key/01234567-89ab-cdef-0123-456789abcdef",
        ),
        ("platform_url", "http://127.0.0.1:8080/"),
        ("docker.mirror", "https://[::1]:5000/docker?x=1"),
        ("runner_image", "localhost:5000/runner:v1.2"),
        ("runner_image", "dataopslive/dataops-runner"),
        ("notify", "first.last+runner@mail.example.co.uk"),
        ("tags", "Team=Café 1/2 = x"),
        ("tags", "empty="),
        ("set", "host.reference_thread=c5"),
        ("workload", "kubernetes"),
        ("workload", "../team.yaml"),
        ("ttl", "15m"),
        ("ttl", "720h"),
        ("ttl", "30d"),
        ("count", "20"),
        ("disk_gib", "16384"),
        ("concurrency", "500"),
    ] {
        assert!(check(key, text).is_ok(), "{key}: {}", refused(key, text));
    }
    let image = format!("example.com/runner@sha256:{}", "0a".repeat(32));
    assert!(check("runner_image", &image).is_ok());
}

#[test]
fn a_token_is_refused_wherever_it_stands_and_never_repeated() {
    let token = token();
    insta::assert_snapshot!(complaints(&format!("token: {token}")), @"1:8: token: holds a text; what is written here is read by everyone who reads the file; expected a mapping with exactly one of the keys file, environment, parameter, secret; name where it is kept: `token: {file: PATH}`, or environment, parameter or secret; then replace the one that was written down");
    insta::assert_snapshot!(complaints("token: \"hunter2hunter2\"\nregistry: hunter2"), @r#"
    1:8: token: holds a text; what is written here is read by everyone who reads the file; expected a mapping with exactly one of the keys file, environment, parameter, secret; name where it is kept: `token: {file: PATH}`, or environment, parameter or secret; then replace the one that was written down
    2:11: registry: holds a text; what is written here is read by everyone who reads the file; expected a mapping with exactly one of the keys parameter, secret; name where AWS keeps it
    "#);
    insta::assert_snapshot!(complaints("registration_token: x\npassword: y\ntoken_file: z\ntoken: {value: hunter2}"), @r#"
    1:1: registration_token: unknown key; see `token` and `registry`: credentials stay out of this file
    2:1: password: unknown key; see `token` and `registry`: credentials stay out of this file
    3:1: token_file: unknown key; see `token` and `registry`: credentials stay out of this file
    4:9: token.value: unknown key; expected file, environment, parameter, secret
    "#);
    let files = [
        format!("token: {token}"),
        format!("token: '{token}'"),
        format!("token: [{token}]"),
        format!("token: {{{token}: x}}"),
        format!("token: {{file: {token}}}"),
        format!("token: {{environment: {token}}}"),
        format!("token: {{secret: {token}}}"),
        format!("token: {{parameter: /a/{token}}}"),
        format!("token: {{value: {token}}}"),
        format!("{token}: x"),
        format!("{token}: x\n{token}: y"),
        format!("name: {token}"),
        format!("count: {token}"),
        format!("count: '{token}'"),
        format!("schema: {token}\nname: abc"),
        format!("deployments: {token}"),
        format!("deployments: [{token}]"),
        format!("zones: {token}"),
        format!("zones: [{token}]"),
        format!("tags: {{a: {token}}}"),
        format!("tags: {{{token}: a}}"),
        format!("tags: {token}"),
        format!("set: {{{token}: 1}}"),
        format!("set: {{slo.wait_s: {token}}}"),
        format!("docker: {token}"),
        format!("docker: {{proxy: 'http://x:{token}@h'}}"),
        format!("notify: ['https://h/?t={token}']"),
        format!("platform_url: https://h/{token}"),
        format!("ttl: !{token} x"),
        token.clone(),
        format!("- {token}"),
        format!("a: *{token}"),
    ];
    for file in &files {
        let said = parse_text(file)
            .expect_err(&file.replace(&token, "TOKEN"))
            .to_string();
        assert!(
            !said.contains("madeUp"),
            "{}: {said}",
            file.replace(&token, "TOKEN")
        );
    }
    for key in KEYS {
        for text in [token.clone(), format!("a={token}"), format!("{token}=a")] {
            let said = refused(key.name, &text);
            assert!(!said.starts_with("fine"), "{} takes a token", key.name);
            assert!(!said.contains("madeUp"), "{}: {said}", key.name);
        }
    }
    assert!(!looks_secret("tokens begin with glrt-, and ASIA is a continent"));
}

#[test]
fn what_a_cluster_is_said_to_be_is_checked() {
    let refused: Vec<String> = [
        ("eks.cluster", "-team"),
        ("eks.version", "v1.34.2"),
        ("eks.version", "1.3x"),
        ("eks.version", "2.0"),
        ("eks.min_nodes", "0"),
        ("eks.max_nodes", "65"),
        ("eks.public_cidrs", "192.0.2.7/24"),
        ("eks.public_cidrs", "192.0.2.7"),
        ("eks.public_cidrs", "0.0.0.0/33"),
        ("eks.log_types", "scheduling"),
        ("eks.admins", "arn:aws:sts::123456789012:assumed-role/admin/me"),
        ("eks.admins", "arn:aws:iam::123456789012:root"),
        ("eks.autoscaler", "karpenter"),
        ("eks.file_system", "fs-1"),
        ("eks.namespace", "Team_A"),
        ("eks.chart_repository", "https://me:secret@example.com"),
        ("eks.chart_repository", "http://charts.example.com"),
        ("eks.chart", "oci://registry.example.com/charts/runner"),
        ("eks.chart", "~/chart"),
        ("eks.chart_version", "1.2"),
        ("eks.job_policies", "AmazonS3ReadOnlyAccess"),
    ]
    .iter()
    .map(|(key, text)| format!("{key}: {}", refused(key, text)))
    .collect();
    insta::assert_snapshot!(refused.join("\n"), @"
    eks.cluster: `-team` is no name of an EKS cluster; expected up to 100 letters, digits, - and _, a letter or digit first
    eks.version: `v1.34.2` is no minor version of Kubernetes; expected a version such as 1.34; did you mean `1.34`?
    eks.version: `1.3x` is no minor version of Kubernetes; expected a version such as 1.34
    eks.version: `2.0` is no minor version of Kubernetes; expected a version such as 1.34
    eks.min_nodes: `0` is out of range; expected a whole number, 1 to 64 nodes
    eks.max_nodes: `65` is out of range; expected a whole number, 1 to 64 nodes
    eks.public_cidrs: `192.0.2.7/24` is no range of IPv4 addresses; expected a range such as 192.0.2.0/24; did you mean `192.0.2.0/24`?
    eks.public_cidrs: `192.0.2.7` is no range of IPv4 addresses; expected a range such as 192.0.2.0/24; did you mean `192.0.2.7/32`?
    eks.public_cidrs: `0.0.0.0/33` is no range of IPv4 addresses; expected a range such as 192.0.2.0/24
    eks.log_types: `scheduling` is not known; expected api or audit or authenticator or controllerManager or scheduler; did you mean `scheduler`?
    eks.admins: `arn:aws:sts::123456789012:assumed-role/a…` is a session of a role; expected the ARN of a role or a user, such as arn:aws:iam::123456789012:role/admin; write the role: arn:aws:iam::ACCOUNT:role/NAME
    eks.admins: `arn:aws:iam::123456789012:root` is no ARN of a role or a user; expected the ARN of a role or a user, such as arn:aws:iam::123456789012:role/admin
    eks.autoscaler: `karpenter` is not known; expected none or cluster-autoscaler or cluster
    eks.file_system: `fs-1` is no id of a file system; expected fs- and 8 or 17 of 0-9 and a-f
    eks.namespace: `Team_A` is no name of a namespace; expected up to 63 of a-z, 0-9 and -, no - at either end; did you mean `team-a`?
    eks.chart_repository: holds a user name or password; expected an https or oci URL without user and password, such as https://charts.example.com
    eks.chart_repository: `http://charts.example.com` is no repository of charts; expected an https or oci URL without user and password, such as https://charts.example.com; did you mean `https://charts.example.com`?
    eks.chart: `oci://registry.example.com/charts/runner` is an address; expected the name of a chart, or the path of a folder or archive such as ./chart; write chart_repository: oci://registry.example.com/charts and chart: runner
    eks.chart: `~/chart` begins with `~`, which only a shell understands; expected the name of a chart, or the path of a folder or archive such as ./chart; write the whole path
    eks.chart_version: `1.2` is no version of a chart; expected a version such as 1.2.3; did you mean `1.2.0`?
    eks.job_policies: `AmazonS3ReadOnlyAccess` is no ARN of a policy; expected the ARN of a policy, such as arn:aws:iam::123456789012:policy/jobs; did you mean `arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess`?
    ");
    for (key, text) in [
        ("eks.public_cidrs", "0.0.0.0/0"),
        ("eks.public_cidrs", "198.51.100.7/32"),
        ("eks.chart", "./charts/runner-1.2.3.tgz"),
        ("eks.chart_repository", "oci://registry.example.com/charts"),
        ("eks.chart_version", "v1.2.3-rc.1+build"),
        (
            "eks.job_policies",
            "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess",
        ),
        ("eks.admins", "arn:aws-cn:iam::123456789012:role/path/admin"),
        ("eks.vault_secret", "team.vault"),
    ] {
        assert!(check(key, text).is_ok(), "{key}: {text}");
    }
}

#[test]
fn keys_of_the_other_target_and_of_another_cluster_are_refused() {
    insta::assert_snapshot!(complaints("deployments:
  - {name: one, target: ec2, eks: {min_nodes: 2}}
  - name: two
    target: eks
    count: 2
    ami: ami-0a1b2c3d
    docker: {proxy: http://proxy.example.com}
    termination_protection: true
  - {name: a-name-that-is-longer-than-36-characters, target: eks}
  - name: three
    eks: {cluster: team, version: 1.34, log_types: [audit], min_nodes: 3, max_nodes: 2}
  - name: four
    eks: {public_endpoint: false, public_cidrs: [192.0.2.0/24], storage: none, file_system: fs-0a1b2c3d}
  - {name: five, eks: {chart: ./chart, chart_repository: https://charts.example.com}}
  - {name: six, region: eu-west-2, eks: {secrets_key: 'arn:aws:kms:us-east-1:123456789012:alias/cluster'}}
"), @"
    2:47: deployments[0].eks.min_nodes: `eks.min_nodes` is for the target eks, and the target is ec2; expected the key left out, or the target eks
    5:12: deployments[1].count: `count` is for the target ec2, and the target is eks; expected eks.min_nodes and eks.max_nodes
    6:10: deployments[1].ami: `ami` is for the target ec2, and the target is eks; expected the key left out, or the target ec2
    7:21: deployments[1].docker.proxy: `docker.proxy` is for the target ec2, and the target is eks; expected the key left out, or the target ec2
    8:29: deployments[1].termination_protection: `termination_protection` is for the target ec2, and the target is eks; expected the key left out, or the target ec2
    9:62: deployments[2].target: `a-name-that-is-longer-than-36-characters` has 40 characters, and roles of a cluster have the region and a word more in their 64; expected at most 36 characters
    11:35: deployments[3].eks.version: `eks.version` is of a cluster that is made, and `eks.cluster` names one that exists; expected one of them: a cluster that is adopted stays as it is
    11:52: deployments[3].eks.log_types: `eks.log_types` is of a cluster that is made, and `eks.cluster` names one that exists; expected one of them: a cluster that is adopted stays as it is
    11:86: deployments[3].eks.max_nodes: at least 3 nodes are more than at most 2; expected no more at least than at most
    13:49: deployments[4].eks.public_cidrs: `eks.public_cidrs` are given, and nothing reaches the API server from outside; expected one of them
    13:93: deployments[4].eks.file_system: `eks.file_system` is given, and there are no volumes; expected static or dynamic volumes, or no file system
    14:58: deployments[5].eks.chart_repository: `./chart` is a path, and `eks.chart_repository` is given; expected the name of a chart in the repository, or a path alone
    15:55: deployments[6].eks.secrets_key: is in us-east-1, the deployment in eu-west-2; expected a key in the region: clusters take no other
    ");
    assert!(
        parse_text(
            "name: one\ntarget: eks\neks: {cluster: team, admins: ['arn:aws:iam::123456789012:user/me']}"
        )
        .is_ok()
    );
}

#[test]
fn contradictions_are_found_where_the_later_key_stands() {
    insta::assert_snapshot!(complaints("defaults:
  region: eu-west-2
  instance_type: m6i.large
  termination_protection: true
deployments:
  - {name: one, ami: ami-0a1b2c3d, ami_parameter: /a}
  - name: two
    fallback_types: [m5.large, m6i.large]
    ttl: 4h
    zones: [eu-west-2a, eu-west-1a]
  - name: three
    topic: arn:aws:sns:us-east-1:123456789012:x
    notify: [a@example.com]
    runner_image: a/b:1
    channel: latest
    tags: {Team: a, team: b}
"), @r#"
    6:51: deployments[0].ami_parameter: `ami` and `ami_parameter` are both given; expected one of them
    8:21: deployments[1].fallback_types: `m6i.large` is the instance type already; expected types other than the first
    9:10: deployments[1].ttl: `ttl` and `termination_protection` are both given; expected one of them: a lease must be able to end
    10:12: deployments[1].zones: `eu-west-1a` is not in eu-west-2; expected zones of the region
    12:12: deployments[2].topic: is in us-east-1, the deployment in eu-west-2; expected a topic in the region: alarms reach no other
    13:13: deployments[2].notify: `topic` and `notify` are both given; expected one of them: the addresses are subscribed to a topic of our own
    15:14: deployments[2].channel: `runner_image` and `channel` are both given, and the image has a tag or digest already; expected the tag in one of them
    16:11: deployments[2].tags: `Team` and `team` differ in case alone; expected one of them
    "#);
}

#[test]
fn a_name_stands_once_in_a_region_and_profile() {
    let text = "defaults: {region: eu-west-2}
deployments:
  - name: one
  - {name: one, region: us-east-1}
  - {name: one, profile: work}
  - region: eu-west-2
    name: one
";
    insta::assert_snapshot!(complaints(text), @"7:11: deployments[3].name: `one` in `eu-west-2` stands twice, in lines 3 and 7; expected another name, region or profile");
    // A region that is wrong is told of once, and nothing is concluded from it.
    let problems = parse_text("deployments: [{name: one}, {name: one, region: x}]")
        .unwrap_err()
        .problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
}

#[test]
fn the_outline_of_the_file_is_checked() {
    let files = [
        "",
        "# nothing\n",
        "---\n...\n",
        "~",
        "5",
        "[]",
        "{}",
        "schema: dataops-infra/deployments/v1",
        "deployments:",
        "deployments: []",
        "deployments: {name: abc}",
        "deployments: [abc]",
        "deployments: [{}]",
        "name: abc\ndeployments: [{name: def}]",
        "count: 2\ndeployments: [{name: def}]",
        "defaults: {count: 2}",
        "defaults: {count: 2}\nname: abc",
        "defaults: 5\ndeployments: [{name: abc}]",
        "deployment: []",
        "name: abc\nname: def",
        "a: b: c",
        "deployments:\n\t- name: abc",
        "name: [abc",
        "name: abc\n---\nname: def",
        "<<: {a: 1}",
        "? [a]\n: b",
        "name: !!str abc",
        "token: {}",
        "docker: {}",
        "docker: 5",
        "vpc_id: x",
        "Instance-Type: x",
        "proxy: x",
        "docker: {region: x}",
        "zones: []",
        "tags: []",
    ];
    let said: String = files
        .iter()
        .map(|file| format!("{file:?}\n  {}\n", complaints(file).replace('\n', "\n  ")))
        .collect();
    insta::assert_snapshot!(said, @r##"
    ""
       is empty; expected the keys of a deployment, or `deployments` with a list of them
    "# nothing\n"
       is empty; expected the keys of a deployment, or `deployments` with a list of them
    "---\n...\n"
       is empty; expected the keys of a deployment, or `deployments` with a list of them
    "~"
       is empty; expected the keys of a deployment, or `deployments` with a list of them
    "5"
      1:1: holds `5`; expected the keys of a deployment, or `deployments` with a list of them
    "[]"
      1:1: holds a list of 0; expected the keys of a deployment, or `deployments` with a list of them
    "{}"
      1:1: holds no deployment; expected the keys of a deployment, or `deployments` with a list of them
    "schema: dataops-infra/deployments/v1"
      1:1: holds no deployment; expected the keys of a deployment, or `deployments` with a list of them
    "deployments:"
      1:12: deployments: has no value; expected a list with at least one deployment, each beginning with `- name:`
    "deployments: []"
      1:14: deployments: is an empty list; expected a list with at least one deployment, each beginning with `- name:`
    "deployments: {name: abc}"
      1:14: deployments: holds a mapping; expected a list with at least one deployment, each beginning with `- name:`
    "deployments: [abc]"
      1:15: deployments[0]: holds `abc`; expected a mapping with the keys of a deployment
    "deployments: [{}]"
      1:15: deployments[0]: `name` is missing; expected 3 to 40 of a-z, 0-9 and -, a letter first and no - at the end
    "name: abc\ndeployments: [{name: def}]"
      1:1: name: stands beside `deployments`; move it to its deployment
    "count: 2\ndeployments: [{name: def}]"
      1:1: count: stands beside `deployments`; move it to a deployment, or to `defaults` for all
    "defaults: {count: 2}"
      1:1: defaults: stands without `deployments`; expected `deployments` with a list
    "defaults: {count: 2}\nname: abc"
      1:1: defaults: stands without `deployments`; expected `deployments` with a list; move its keys to the top level
    "defaults: 5\ndeployments: [{name: abc}]"
      1:11: defaults: holds `5`; expected a mapping with the keys of a deployment
    "deployment: []"
      1:1: deployment: unknown key; did you mean `deployments`?
    "name: abc\nname: def"
      2:1: name: this key stands twice, first in line 1; remove one of them
    "a: b: c"
      1:5: is not YAML from here on: mapping values are not allowed in this context
    "deployments:\n\t- name: abc"
      2:2: is not YAML from here on: tabs disallowed within this context (block indentation)
    "name: [abc"
      1:7: is not YAML from here on: unclosed bracket '['
    "name: abc\n---\nname: def"
      2:1: a second YAML document begins here; expected one document
    "<<: {a: 1}"
      1:1: <<: unknown key; use `defaults` instead of a merge key
    "? [a]\n: b"
      1:3: a key is a list or a mapping; expected a word
    "name: !!str abc"
      1:13: the tag `!!str` is not supported; remove it
    "token: {}"
      1:8: token: is empty; expected a mapping with exactly one of the keys file, environment, parameter, secret
    "docker: {}"
      1:1: holds no deployment; expected the keys of a deployment, or `deployments` with a list of them
    "docker: 5"
      1:9: docker: holds `5`; expected a mapping with some of the keys packages, mirror, registry_mirrors, proxy, ca_file
    "vpc_id: x"
      1:1: vpc_id: unknown key; did you mean `vpc`?
    "Instance-Type: x"
      1:1: Instance-Type: unknown key; did you mean `instance_type`?
    "proxy: x"
      1:1: proxy: unknown key; `proxy` belongs under `docker`
    "docker: {region: x}"
      1:10: docker.region: unknown key; `region` belongs one level up
    "zones: []"
      1:8: zones: is an empty list; expected a list of at most 50, each a zone such as eu-west-2a; leave the key out
    "tags: []"
      1:7: tags: holds a list of 0; expected a mapping with at most 40 entries, each a key of 1 to 128 and a value of up to 256 letters, digits, spaces and _ . : / = + - @; write {team: data}
    "##);
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let said = |bytes: &[u8]| parse_bytes(bytes, "f").unwrap_err().to_string();
    insta::assert_snapshot!(said(b"\x7fELF\x00\x01"), @"f: is a binary file; expected UTF-8 text");
    insta::assert_snapshot!(said(b"\xff\xfen\x00"), @"f: is UTF-16; expected UTF-8 text");
    insta::assert_snapshot!(said(b"name: abc\nzones: [\xe9]"), @"f:2:9: is not UTF-8 text from here on; expected UTF-8 text");
    insta::assert_snapshot!(said(b"\x00\xff"), @"f: is a binary file; expected UTF-8 text");
    assert_eq!(
        parse_bytes(b"\xef\xbb\xbfname: abc\r\n", "f").unwrap()[0]
            .name
            .as_deref(),
        Some("abc")
    );
}

#[test]
fn hostile_files_end_quickly_in_an_error() {
    let mut laughs = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for level in 1..12 {
        let below = format!("*a{}", level - 1);
        laughs += &format!("a{level}: &a{level} [{}]\n", [below.as_str(); 9].join(", "));
    }
    for (what, text) in [
        ("laughs", laughs.clone()),
        ("brackets", "[".repeat(1_000_000)),
        ("braces", "{a: ".repeat(200_000)),
        ("dashes", "- ".repeat(500_000)),
        ("keys", (0..60_000).map(|n| format!("k{n}: 1\n")).collect()),
        (
            "typos",
            (0..9_000).map(|n| format!("instance_type_{n}: 1\n")).collect(),
        ),
        ("long key", format!("{}: 1", "k".repeat(900))),
        ("long value", format!("name: {}", "n".repeat(1_000_000))),
        (
            "settings",
            format!(
                "set: {{{}}}",
                (0..9_000).map(|n| format!("slo.w{n}: 1,")).collect::<String>()
            ),
        ),
        (
            "wrong settings",
            format!(
                "set: {{{}}}",
                (0..190).map(|n| format!("slo.w{n}: 1,")).collect::<String>()
            ),
        ),
        (
            "tags",
            format!(
                "tags: {{{}}}",
                (0..9_000).map(|n| format!("t{n}: 1,")).collect::<String>()
            ),
        ),
        (
            "deployments",
            format!("deployments:\n{}", "- {name: abc}\n".repeat(6_000)),
        ),
        ("nameless", format!("deployments:\n{}", "- {}\n".repeat(9_000))),
        ("zones", format!("zones: [{}]", "eu-west-2a, ".repeat(9_000))),
        ("prefixes", format!("name: {}", "glrt-".repeat(100_000))),
        ("50 MB", "zones: []\n".repeat(5_000_000)),
        ("self", "zones: &a [*a]".to_owned()),
    ] {
        let begun = std::time::Instant::now();
        let errors = parse_text(&text).expect_err(what);
        let seconds = begun.elapsed().as_secs_f64();
        assert!(seconds < 5.0, "{what} took {seconds} s");
        assert!(errors.problems.len() <= 51, "{what}: {}", errors.problems.len());
        assert!(errors.to_string().len() < 60_000, "{what}");
    }
    assert!(complaints(&laughs).contains("more than 20000 values, copies by aliases included"));
}

#[test]
fn noise_never_panics() {
    let words: Vec<&str> = KEYS
        .iter()
        .flat_map(|key| [key.split().1, key.example])
        .chain(
            ": |- |{|}|[|]|,|\n|\n  |#|&a |*a |!!|'|\"|0|é|://|@|.|arn:aws:sns|token|docker|deployments:\n"
                .split('|'),
        )
        .collect();
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    for round in 0..1_000 {
        let bytes: Vec<u8> = (0..next() % 60).map(|_| next() as u8).collect();
        let _ = parse_bytes(&bytes, "noise");
        let text: String = (0..next() % 30).map(|_| words[next() % words.len()]).collect();
        let _ = parse_text(&text);
        for key in KEYS.iter().filter(|_| round % 10 == 0) {
            let _ = check(key.name, &text);
        }
    }
}

#[test]
fn anchors_save_typing() {
    let both = parse_text("deployments:\n- {name: one, zones: &z [eu-west-2a]}\n- {name: two, zones: *z}\n")
        .unwrap();
    assert_eq!(both[0].zones, both[1].zones);
}

#[test]
fn what_is_said_last_wins() {
    let base = full();
    assert_eq!(Settings::default().over(base.clone()), base);
    assert_eq!(base.clone().over(Settings::default()), base);
    let mut flags = Settings::default();
    for (key, text) in [
        ("ami", "ami-00000000"),
        ("notify", "me@example.com"),
        ("notify", "https://example.com"),
        ("zones", "eu-west-2b"),
        ("tags", "team=other"),
        ("tags", "more=yes"),
        ("token.environment", "T"),
        ("public_address", "true"),
        ("docker.packages", "docker"),
    ] {
        flags.put(key, text).unwrap();
    }
    let merged = flags.over(base.clone());
    assert_eq!(
        (merged.ami.as_deref(), &merged.ami_parameter),
        (Some("ami-00000000"), &None)
    );
    assert_eq!((&merged.topic, merged.notify.len()), (&None, 2));
    assert_eq!(merged.zones, ["eu-west-2b"]);
    assert_eq!(
        (merged.tags["team"].as_str(), merged.tags["more"].as_str()),
        ("other", "yes")
    );
    assert_eq!(merged.token, Some(TokenSource::Environment("T".to_owned())));
    assert_eq!((merged.public_address, merged.region), (Some(true), base.region));
    assert_eq!(
        (merged.docker.packages, merged.docker.proxy),
        (Some(Packages::Docker), base.docker.proxy)
    );
}

#[test]
fn a_list_takes_a_value_once() {
    let mut flags = Settings::default();
    flags.put("zones", "eu-west-2a").unwrap();
    let refusal = flags.put("zones", "eu-west-2a").unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "`eu-west-2a` stands twice; remove one of them"
    );
    assert_eq!(
        flags.put("zone", "x").unwrap_err().to_string(),
        "unknown key; did you mean `zones`?"
    );
}

#[test]
fn relative_paths_start_at_the_file() {
    let settings = |text: &str| {
        parse_text(text)
            .unwrap()
            .remove(0)
            .resolved_against(Path::new("team/infra"))
    };
    let relative = settings("{workload: ./w.yaml, token: {file: t.txt}, docker: {ca_file: ../ca.pem}}");
    assert_eq!(relative.workload.as_deref(), Some("team/infra/./w.yaml"));
    assert_eq!(relative.token, Some(TokenSource::File("team/infra/t.txt".into())));
    assert_eq!(relative.docker.ca_file, Some("team/infra/../ca.pem".into()));
    let absolute = settings("{workload: production, token: {file: /t.txt}}");
    assert_eq!(absolute.workload.as_deref(), Some("production"));
    assert_eq!(absolute.token, Some(TokenSource::File("/t.txt".into())));
    let unchanged = Settings {
        workload: Some("w.yaml".to_owned()),
        ..Settings::default()
    };
    assert_eq!(unchanged.clone().resolved_against(Path::new("")), unchanged);
}

#[test]
fn lives_are_written_as_they_are_read() {
    for (text, written) in [
        ("90m", "90m"),
        ("120m", "2h"),
        ("24h", "1d"),
        ("7d", "7d"),
        ("15m", "15m"),
    ] {
        assert_eq!(
            Ttl::parse(text).map(|ttl| ttl.to_string()).as_deref(),
            Some(written)
        );
    }
    for text in [
        "14m",
        "31d",
        "721h",
        "1w",
        "1.5h",
        "07d",
        "+1d",
        "d",
        "",
        "4294967295d",
        "1 d",
        "1D",
    ] {
        assert_eq!(Ttl::parse(text), None, "{text}");
    }
}

#[test]
fn table_struct_and_schema_agree() {
    // Every field of the struct is reached by some key, and every key reads what it sets.
    let full = format!("{:?}", full());
    for empty in ["None", "[]", "{}"] {
        assert!(!full.contains(empty), "a field without a key: {full}");
    }
    let schema = schema();
    let mut documented = 0;
    for key in KEYS {
        let mut settings = Settings::default();
        assert_eq!(key.value(&settings), None, "{}", key.name);
        settings.put(key.name, key.example).unwrap();
        assert_eq!(
            key.value(&settings),
            Some(check(key.name, key.example).unwrap()),
            "{}",
            key.name
        );
        assert_eq!(
            KEYS.iter()
                .filter(|other| other.value(&settings).is_some())
                .count(),
            1,
            "{}",
            key.name
        );
        assert!(key.doc.ends_with('.'), "{}", key.name);
        let property = match key.split() {
            (Some(group), name) => &schema["definitions"][group]["properties"][name],
            (None, name) => &schema["definitions"][name],
        };
        assert_eq!(property["description"], key.doc, "{}", key.name);
        // The schema's example is YAML as well and parses to the same.
        let name = key.split().1;
        let text = match key.split().0 {
            Some(group) => format!("{group}: {{{name}: {}}}", property["examples"][0]),
            None => format!("{name}: {}", property["examples"][0]),
        };
        assert_eq!(
            parse_text(&text).unwrap_or_else(|errors| panic!("{errors}")),
            [settings]
        );
        documented += 1;
    }
    let grouped = |group: &Group| {
        schema["definitions"][group.name]["properties"]
            .as_object()
            .unwrap()
            .len()
    };
    let definitions = schema["definitions"].as_object().unwrap();
    assert_eq!(
        documented,
        definitions.len() - GROUPS.len() + GROUPS.iter().map(grouped).sum::<usize>()
    );
    let top = schema["properties"].as_object().unwrap();
    assert_eq!(top.len(), definitions.len() + 3);
    assert_eq!(
        schema["properties"]["defaults"]["properties"]
            .as_object()
            .unwrap()
            .len(),
        definitions.len() - 1
    );
    insta::assert_snapshot!(definitions["ttl"], @r#"{"type":"string","pattern":"^[1-9][0-9]*[mhd]$","description":"How long the deployment lives, 15 minutes to 30 days; not with termination_protection.","examples":["4h"]}"#);
    insta::assert_snapshot!(definitions["token"]["properties"]["environment"], @r#"{"type":"string","pattern":"^[A-Za-z_][A-Za-z0-9_]*$","description":"An environment variable that holds the token when the command runs.","examples":["RUNNER_TOKEN"]}"#);
}
