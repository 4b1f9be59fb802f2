//! Accounts that are full of look-alikes: nothing that is not provably ours is touched.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::host::instances;
use super::witness::{
    difference, made, made_json, mark, nothing_changed, put_parameter, record, together, without, word,
};
use super::world::{NAME, REGION, World};
use super::xml;
use crate::bench::account::Direct;

/// Tags as (key, value).
type Tags = Vec<(String, String)>;

/// A policy that lets EC2 assume a role.
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":"ec2.amazonaws.com"}}]}"#;

/// Returns the tags that something of ours would carry, in another life of the deployment.
fn tags_of_another_life(address: &str) -> Tags {
    tags_of("0123456789abcdef", address)
}

fn tags_of(generation: &str, address: &str) -> Tags {
    [
        ("dataops-infra:deployment", NAME),
        ("dataops-infra:generation", generation),
        ("dataops-infra:address", address),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .to_vec()
}

/// Returns parameters with tags as `PREFIX.1.Key`.
fn flat(prefix: &str, tags: &Tags) -> Vec<(String, String)> {
    let numbered = tags.iter().enumerate();
    numbered
        .flat_map(|(n, (key, value))| {
            let n = n + 1;
            [
                (format!("{prefix}.{n}.Key"), key.clone()),
                (format!("{prefix}.{n}.Value"), value.clone()),
            ]
        })
        .collect()
}

/// Makes something of a query service, with tags.
fn tagged(
    direct: &Direct,
    service: &str,
    operation: &str,
    parameters: &[(&str, &str)],
    prefix: &str,
    tags: &Tags,
) -> Value {
    let tags = flat(prefix, tags);
    let mut all = parameters.to_vec();
    all.extend(tags.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    made(direct, service, operation, &all)
}

/// Makes something of EC2, with tags on what it is.
fn of_ec2(direct: &Direct, operation: &str, kind: &str, parameters: &[(&str, &str)], tags: &Tags) -> Value {
    let mut all = parameters.to_vec();
    if !tags.is_empty() {
        all.push(("TagSpecification.1.ResourceType", kind));
    }
    tagged(direct, "ec2", operation, &all, "TagSpecification.1.Tag", tags)
}

fn parameter(direct: &Direct, name: &str, tags: &Tags) {
    let tags: Vec<Value> = tags
        .iter()
        .map(|(key, value)| json!({"Key": key, "Value": value}))
        .collect();
    let put = json!({"Name": name, "Value": "of somebody else", "Type": "String", "Tags": tags});
    made_json(direct, "ssm", "AmazonSSM.PutParameter", &put);
}

fn log_group(direct: &Direct, name: &str, tags: &Tags) {
    let tags: serde_json::Map<String, Value> = tags
        .iter()
        .map(|(key, value)| (key.clone(), value.clone().into()))
        .collect();
    let target = "Logs_20140328.CreateLogGroup";
    made_json(
        direct,
        "logs",
        target,
        &json!({"logGroupName": name, "tags": tags}),
    );
}

fn alarm(direct: &Direct, name: &str, tags: &Tags) {
    let parameters = [
        ("AlarmName", name),
        ("Namespace", "AWS/EC2"),
        ("MetricName", "CPUUtilization"),
        ("Statistic", "Average"),
        ("Period", "300"),
        ("EvaluationPeriods", "1"),
        ("Threshold", "1"),
        ("ComparisonOperator", "GreaterThanThreshold"),
    ];
    tagged(
        direct,
        "monitoring",
        "PutMetricAlarm",
        &parameters,
        "Tags.member",
        tags,
    );
}

fn topic(direct: &Direct, name: &str, tags: &Tags) {
    tagged(
        direct,
        "sns",
        "CreateTopic",
        &[("Name", name)],
        "Tags.member",
        tags,
    );
}

fn role(direct: &Direct, name: &str, tags: &Tags) {
    let parameters = [("RoleName", name), ("AssumeRolePolicyDocument", TRUST)];
    tagged(direct, "iam", "CreateRole", &parameters, "Tags.member", tags);
}

fn profile(direct: &Direct, name: &str, tags: &Tags) {
    let parameters = [("InstanceProfileName", name)];
    tagged(
        direct,
        "iam",
        "CreateInstanceProfile",
        &parameters,
        "Tags.member",
        tags,
    );
}

fn group(direct: &Direct, name: &str, vpc: &str, tags: &Tags) -> String {
    let parameters = [
        ("GroupName", name),
        ("GroupDescription", "of somebody else"),
        ("VpcId", vpc),
    ];
    word(
        &of_ec2(direct, "CreateSecurityGroup", "security-group", &parameters, tags),
        "groupId",
    )
}

fn instance(direct: &Direct, tags: &Tags) -> String {
    static LAUNCHED: AtomicUsize = AtomicUsize::new(0);
    let image = word(&made(direct, "ec2", "DescribeImages", &[]), "imageId");
    // Each launch has a token, as the SDKs of others make them.
    let token = format!("of-somebody-else-{}", LAUNCHED.fetch_add(1, Ordering::Relaxed));
    let parameters = [
        ("ImageId", image.as_str()),
        ("InstanceType", "t3.micro"),
        ("MinCount", "1"),
        ("MaxCount", "1"),
        ("ClientToken", token.as_str()),
    ];
    word(
        &of_ec2(direct, "RunInstances", "instance", &parameters, tags),
        "instanceId",
    )
}

fn volume(direct: &Direct, tags: &Tags) -> String {
    let zone = format!("{REGION}a");
    let parameters = [
        ("AvailabilityZone", zone.as_str()),
        ("Size", "8"),
        ("VolumeType", "gp3"),
    ];
    word(
        &of_ec2(direct, "CreateVolume", "volume", &parameters, tags),
        "volumeId",
    )
}

fn dashboard(direct: &Direct, name: &str) {
    let body = r#"{"widgets":[{"type":"text","x":0,"y":0,"width":1,"height":1,"properties":{"markdown":"theirs"}}]}"#;
    let parameters = [("DashboardName", name), ("DashboardBody", body)];
    made(direct, "monitoring", "PutDashboard", &parameters);
}

fn default_vpc(direct: &Direct) -> String {
    let filter = [("Filter.1.Name", "isDefault"), ("Filter.1.Value.1", "true")];
    word(&made(direct, "ec2", "DescribeVpcs", &filter), "vpcId")
}

fn other_vpc(direct: &Direct) -> String {
    word(
        &made(direct, "ec2", "CreateVpc", &[("CidrBlock", "10.9.0.0/16")]),
        "vpcId",
    )
}

fn role_name() -> String {
    format!("dataops-{NAME}-{REGION}")
}

/// Makes everything under the names that a deployment would use, with the tags that a function gives for an address.
fn squatters(direct: &Direct, tags: impl Fn(&str) -> Tags) -> Vec<String> {
    role(direct, &role_name(), &tags("role"));
    profile(direct, &role_name(), &tags("instance-profile"));
    let group = group(
        direct,
        &format!("dataops-infra-{NAME}"),
        &default_vpc(direct),
        &tags("security-group"),
    );
    topic(direct, &format!("dataops-infra-{NAME}"), &tags("topic"));
    log_group(direct, &format!("/dataops-infra/{NAME}"), &tags("logs"));
    parameter(direct, &format!("/dataops-infra/{NAME}/token"), &tags("token"));
    parameter(direct, &format!("/dataops-infra/{NAME}/host"), &tags("report"));
    alarm(
        direct,
        &format!("dataops-infra/{NAME}/memory"),
        &tags("alarm-memory"),
    );
    dashboard(direct, &format!("dataops-infra-{NAME}-{REGION}"));
    vec![
        format!("role {}", role_name()),
        format!("instance profile {}", role_name()),
        format!("security group {group}"),
        format!("topic dataops-infra-{NAME}"),
        format!("log group /dataops-infra/{NAME}"),
        format!("parameter /dataops-infra/{NAME}/token"),
        format!("parameter /dataops-infra/{NAME}/host"),
        format!("alarm dataops-infra/{NAME}/memory"),
        format!("dashboard dataops-infra-{NAME}-{REGION}"),
    ]
}

fn what_stands_in_the_way_is_listed_and_left(tags: impl Fn(&str) -> Tags, told: &str) {
    let Some(world) = World::open() else {
        return;
    };
    let named = squatters(&world.direct(), tags);
    let before = world.inventory();
    let mark = mark(&world);
    let up = world.up(&[]);
    assert_eq!(up.code, 3, "{up}");
    for what in &named {
        assert!(up.stderr.contains(what), "{what} is not in the list: {up}");
    }
    assert_eq!(up.stderr.matches(told).count(), named.len() - 1, "{up}");
    let list = up.json["in_the_way"].as_array().map(Vec::len);
    assert_eq!(list, Some(named.len()), "{up}");
    // Nobody is told that nothing was seen, and nothing is removed without a record.
    let status = world.status(&[]);
    assert_eq!(status.code, 4, "{status}");
    let down = world.down(&[]);
    assert!([0, 3].contains(&down.code), "{down}");
    nothing_changed(&world, mark);
    assert_eq!(difference(&world.inventory(), &before), "");
}

#[test]
fn things_of_our_names_without_tags_are_in_the_way() {
    what_stands_in_the_way_is_listed_and_left(|_| Vec::new(), "carries no tag of ours");
}

#[test]
fn things_of_another_life_are_in_the_way() {
    what_stands_in_the_way_is_listed_and_left(tags_of_another_life, "generation 0123456789abcdef");
}

/// Fills an account with what resembles a deployment and is not in its way.
fn neighbours(direct: &Direct) {
    let (vpc, other) = (default_vpc(direct), other_vpc(direct));
    group(direct, &format!("dataops-infra-{NAME}"), &other, &Vec::new());
    group(
        direct,
        &format!("dataops-infra-{NAME}-two"),
        &vpc,
        &tags_of_another_life("security-group"),
    );
    instance(direct, &tags_of_another_life("host"));
    volume(direct, &tags_of_another_life("host"));
    alarm(direct, &format!("dataops-infra/{NAME}/mine"), &Vec::new());
    alarm(
        direct,
        &format!("dataops-infra/{NAME}-two/memory"),
        &tags_of_another_life("alarm-memory"),
    );
    topic(
        direct,
        &format!("dataops-infra-{NAME}-two"),
        &tags_of_another_life("topic"),
    );
    log_group(direct, &format!("/dataops-infra/{NAME}/more"), &Vec::new());
    log_group(
        direct,
        &format!("/dataops-infra/{NAME}-two"),
        &tags_of_another_life("logs"),
    );
    parameter(
        direct,
        &format!("/dataops-infra/{NAME}/more"),
        &tags_of_another_life("token"),
    );
    parameter(direct, &format!("/dataops-infra/{NAME}/host-7"), &Vec::new());
    role(
        direct,
        &format!("{}-two", role_name()),
        &tags_of_another_life("role"),
    );
    profile(
        direct,
        &format!("{}-two", role_name()),
        &tags_of_another_life("instance-profile"),
    );
    dashboard(direct, &format!("dataops-infra-{NAME}-{REGION}-two"));
}

/// Copies the tags of everything to something else of the same kind, under other names where names must differ.
///
/// Returns what `down` must list.
fn copies(direct: &Direct, generation: &str) -> Vec<String> {
    let of = |address: &str| tags_of(generation, address);
    let (vpc, other) = (default_vpc(direct), other_vpc(direct));
    let mut host = of("host");
    host.push(("Name".to_owned(), NAME.to_owned()));
    let listed = vec![
        instance(direct, &host),
        volume(direct, &host),
        group(
            direct,
            &format!("dataops-infra-{NAME}"),
            &other,
            &of("security-group"),
        ),
        group(direct, "copied", &vpc, &of("security-group")),
        format!("dataops-infra/{NAME}/copied"),
        "copied-topic".to_owned(),
        "/copied/logs".to_owned(),
        format!("/dataops-infra/{NAME}/copied"),
    ];
    alarm(
        direct,
        &format!("dataops-infra/{NAME}/copied"),
        &of("alarm-memory"),
    );
    topic(direct, "copied-topic", &of("topic"));
    log_group(direct, "/copied/logs", &of("logs"));
    parameter(direct, &format!("/dataops-infra/{NAME}/copied"), &of("token"));
    role(direct, "copied", &of("role"));
    profile(direct, "copied", &of("instance-profile"));
    listed
}

fn generation(world: &World) -> String {
    let record: Value = serde_json::from_str(&record(&world.direct(), NAME)).expect("a record");
    record["generation"].as_str().expect("a generation").to_owned()
}

#[test]
fn a_deployment_lives_and_goes_beside_look_alikes() {
    let Some(world) = World::open() else {
        return;
    };
    let direct = world.direct();
    neighbours(&direct);
    let before = world.inventory();
    let up = world.up(&[]);
    assert_eq!(up.code, 0, "{up}");
    let made = world.inventory();
    let lost = without(&before, &made);
    assert!(lost.values().all(Vec::is_empty), "{lost:#?}");
    let listed = copies(&direct, &generation(&world));
    let with_copies = world.inventory();
    let mut copied = without(&with_copies, &made);
    // An inventory gives a generation a name of its own only while something says that it is one.
    let generation = generation(&world);
    for thing in copied.values_mut().flatten() {
        *thing = thing.replace("GENERATION", &generation);
    }

    let from = mark(&world);
    let again = world.up(&[]);
    assert_eq!(again.code, 0, "{again}");
    assert_eq!(again.json["status"], "unchanged", "{again}");
    let status = world.status(&[]);
    assert_eq!(status.code, 0, "{status}");
    nothing_changed(&world, from);

    let down = world.down(&[]);
    assert_eq!(down.code, 0, "{down}");
    assert_eq!(down.json["status"], "gone", "{down}");
    assert_eq!(difference(&world.inventory(), &together(&before, &copied)), "");
    let stays: Vec<&str> = list(&down.json["stays"], "what");
    for what in &listed {
        assert!(
            stays.iter().any(|line| line.contains(what.as_str())),
            "{what} carries our tags and is not listed: {stays:#?}"
        );
    }
    // What carries the tags of another life of ours is listed, too.
    assert!(
        stays
            .iter()
            .any(|line| line.contains(&format!("dataops-infra-{NAME}-two"))),
        "{stays:#?}"
    );
    let none = world.down(&[]);
    assert!([0, 3].contains(&none.code), "{none}");
    assert_eq!(difference(&world.inventory(), &together(&before, &copied)), "");
}

fn list<'a>(rows: &'a Value, member: &str) -> Vec<&'a str> {
    let rows = rows.as_array().into_iter().flatten();
    rows.filter_map(|row| row[member].as_str()).collect()
}

#[test]
fn a_dashboard_and_a_topic_that_somebody_put_in_place_of_ours_stay() {
    let Some(world) = World::open() else {
        return;
    };
    let direct = world.direct();
    let up = world.up(&[]);
    assert_eq!(up.code, 0, "{up}");
    dashboard(&direct, &format!("dataops-infra-{NAME}-{REGION}"));
    let arn = format!(
        "arn:aws:sns:{REGION}:{}:dataops-infra-{NAME}",
        direct.account_id()
    );
    made(&direct, "sns", "DeleteTopic", &[("TopicArn", &arn)]);
    topic(&direct, &format!("dataops-infra-{NAME}"), &Vec::new());
    let theirs = world.inventory();
    let from = mark(&world);
    let again = world.up(&[]);
    assert_eq!(again.code, 3, "{again}");
    let status = world.status(&[]);
    assert_eq!(status.code, 4, "{status}");
    nothing_changed(&world, from);
    let down = world.down(&[]);
    assert_eq!(down.code, 0, "{down}");
    let left = world.inventory();
    let stays: Vec<&str> = list(&down.json["stays"], "what");
    assert!(stays.iter().any(|what| what.contains("topic")), "{stays:?}");
    assert!(stays.iter().any(|what| what.contains("dashboard")), "{stays:?}");
    assert_eq!(left["dashboards"], theirs["dashboards"]);
    assert_eq!(left["topics"], theirs["topics"]);
    assert!(
        left["parameters"].is_empty() && left["instances"].is_empty(),
        "{left:#?}"
    );
}

#[test]
fn deployments_whose_names_begin_alike_and_other_regions_are_apart() {
    let Some(world) = World::open() else {
        return;
    };
    let (short, long) = ("dataops-runner", "dataops-runner-london");
    let up = world.up(&["--name", long]);
    assert_eq!(up.code, 0, "{up}");
    let long_alone = world.inventory();
    let up = world.up(&["--name", short]);
    assert_eq!(up.code, 0, "{up}");
    let elsewhere = ["--name", short, "--region", "us-east-1"];
    let up = world.up(&[&elsewhere[..], &["--no-wait"]].concat());
    assert_eq!(up.code, 0, "{up}");
    let far = world.status(&elsewhere);
    assert_eq!(far.json["drift"], json!([]), "{far}");

    for name in [short, long] {
        let status = world.status(&["--name", name]);
        assert_eq!(status.code, 0, "{status}");
        let again = world.up(&["--name", name]);
        assert_eq!(again.json["status"], "unchanged", "{again}");
    }
    let with_far = world.inventory();
    let down = world.down(&["--name", short]);
    assert_eq!(down.code, 0, "{down}");
    // Roles, profiles and dashboards know no region, so those of the other region are in the inventory.
    let left = world.inventory();
    for (kind, things) in &left {
        let far = things.iter().filter(|thing| thing.contains("us-east-1")).count();
        let near: Vec<&String> = things
            .iter()
            .filter(|thing| !thing.contains("us-east-1"))
            .collect();
        assert_eq!(near, long_alone[kind].iter().collect::<Vec<_>>(), "{kind}");
        let far_before = with_far[kind]
            .iter()
            .filter(|thing| thing.contains("us-east-1"))
            .count();
        assert_eq!(far, far_before, "{kind}");
    }
    let after = world.status(&elsewhere);
    assert_eq!(after.json["drift"], json!([]), "{after}");
    assert_eq!(
        after.json["hosts"][0]["instance_id"],
        far.json["hosts"][0]["instance_id"]
    );
    let down = world.down(&elsewhere);
    assert_eq!(down.code, 0, "{down}");
    assert_eq!(difference(&world.inventory(), &long_alone), "");
    let down = world.down(&["--name", long]);
    assert_eq!(down.code, 0, "{down}");
}

#[test]
fn without_its_record_a_deployment_is_removed_by_its_generation_alone() {
    let Some(world) = World::open() else {
        return;
    };
    let direct = world.direct();
    let empty = world.inventory();
    let up = world.up(&[]);
    assert_eq!(up.code, 0, "{up}");
    let generation = generation(&world);
    let name = format!("/dataops-infra/{NAME}/deployment");
    made_json(
        &direct,
        "ssm",
        "AmazonSSM.DeleteParameter",
        &json!({"Name": name}),
    );
    let orphaned = world.inventory();

    let from = mark(&world);
    let down = world.down(&[]);
    assert_eq!(down.code, 3, "{down}");
    assert!(
        down.stderr
            .contains(&format!("generation {generation}: instance i-")),
        "{down}"
    );
    assert!(
        down.stderr.contains(&format!("--generation {generation}")),
        "{down}"
    );
    let up = world.up(&[]);
    assert_eq!(up.code, 3, "{up}");
    let status = world.status(&[]);
    assert_eq!(status.code, 4, "{status}");
    for wrong in ["nonsense", "0123456789ABCDEF", "0123456789abcde"] {
        let down = world.down(&["--generation", wrong]);
        assert_eq!(down.code, 2, "{down}");
    }
    let down = world.down(&["--generation", "0123456789abcdef"]);
    assert!(
        down.json["removed"].as_array().is_none_or(Vec::is_empty),
        "{down}"
    );
    nothing_changed(&world, from);
    assert_eq!(difference(&world.inventory(), &orphaned), "");

    let down = world.down(&["--generation", &generation]);
    assert_eq!(down.code, 0, "{down}");
    assert_eq!(difference(&world.inventory(), &empty), "");
}

#[test]
fn a_record_that_cannot_be_read_is_left_with_all_it_stands_for() {
    let Some(world) = World::open() else {
        return;
    };
    let direct = world.direct();
    let up = world.up(&[]);
    assert_eq!(up.code, 0, "{up}");
    let name = format!("/dataops-infra/{NAME}/deployment");
    let sound = record(&direct, NAME);
    let mut more: Value = serde_json::from_str(&sound).expect("a record");
    more["spec"]["invented_later"] = true.into();
    let texts = [
        "no JSON at all".to_owned(),
        "{}".to_owned(),
        sound.replace("deployment/v1", "deployment/v2"),
        sound.replace(&format!("\"name\":\"{NAME}\""), "\"name\":\"runner-two\""),
        more.to_string(),
    ];
    for text in texts {
        put_parameter(&direct, &name, &text);
        let before = world.inventory();
        let from = mark(&world);
        for ran in [
            world.up(&[]),
            world.status(&[]),
            world.down(&[]),
            world.down(&["--expired"]),
        ] {
            let expected = if ran.stdout.contains("down/v1") {
                [0, 3]
            } else {
                [3, 3]
            };
            assert!(expected.contains(&ran.code), "{text}: {ran}");
            assert!(
                ran.stderr.contains(&name) || ran.stdout.contains(&name),
                "{text}: {ran}"
            );
        }
        nothing_changed(&world, from);
        assert_eq!(difference(&world.inventory(), &before), "");
    }
    // As it was, all is as before.
    put_parameter(&direct, &name, &sound);
    let status = world.status(&[]);
    assert_eq!(status.code, 0, "{status}");
}

#[test]
fn another_instance_with_all_tags_of_ours_is_neither_host_nor_removed() {
    let Some(world) = World::open() else {
        return;
    };
    let direct = world.direct();
    let up = world.up(&[]);
    assert_eq!(up.code, 0, "{up}");
    let ours = up.json["hosts"][0]["instance_id"]
        .as_str()
        .expect("a host")
        .to_owned();
    let (_, text) = direct.query("ec2", "DescribeInstances", &[("InstanceId.1", &ours)]);
    let host = instances(&text).remove(0);
    let tags = xml::list(&host, "tagSet");
    let tags: Tags = tags
        .iter()
        .map(|tag| (word(tag, "key"), word(tag, "value")))
        .collect();
    let theirs = instance(&direct, &tags);
    // Ours goes; what stands in its place is none of ours.
    made(&direct, "ec2", "TerminateInstances", &[("InstanceId.1", &ours)]);
    let again = world.up(&[]);
    assert_eq!(again.code, 0, "{again}");
    let next = again.json["hosts"][0]["instance_id"].as_str().expect("a host");
    assert!(next != ours && next != theirs, "{again}");
    let down = world.down(&[]);
    assert_eq!(down.code, 0, "{down}");
    let stays = &down.json["stays"][0];
    assert!(
        stays["what"].as_str().is_some_and(|what| what.contains(&theirs)),
        "{down}"
    );
    assert!(
        stays["why"]
            .as_str()
            .is_some_and(|why| why.contains("client token")),
        "{down}"
    );
    let living: Vec<String> = world
        .launched()
        .into_iter()
        .filter(|(_, state)| state == "running")
        .map(|(id, _)| id)
        .collect();
    assert_eq!(living, [theirs]);
}
