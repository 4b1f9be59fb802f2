//! Everything in an account that could be ours, in a form that is the same for the same deployment.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::host::{instances, user_data};
use super::xml::{self, list};
use crate::bench::account::Direct;

/// What there is: kind, and each thing of it as a line of JSON, in order.
pub type Inventory = BTreeMap<&'static str, Vec<String>>;

/// Members that say when something was made or who it is in this account alone.
const PASSING: &[&str] = &[
    "CreateDate",
    "RoleId",
    "RoleLastUsed",
    "InstanceProfileId",
    "creationTime",
    "AlarmConfigurationUpdatedTimestamp",
    "StateUpdatedTimestamp",
    "StateReason",
    "StateReasonData",
    "StateTransitionedTimestamp",
    "created_at",
    "at",
    "clientRequestToken",
    "endpoint",
    "certificateAuthority",
    "identity",
    "IpAddress",
    "NetworkInterfaceId",
    "CreationToken",
];

/// Members of an instance that are looked at.
const INSTANCE: &[&str] = &[
    "instanceId",
    "imageId",
    "instanceState",
    "instanceType",
    "clientToken",
    "subnetId",
    "vpcId",
    "iamInstanceProfile",
    "groupSet",
    "metadataOptions",
    "tagSet",
    "rootDeviceName",
];

/// Members of a volume that are looked at.
const VOLUME: &[&str] = &[
    "volumeId",
    "size",
    "volumeType",
    "encrypted",
    "iops",
    "throughput",
    "status",
    "tagSet",
];

/// Returns all instances that were ever launched, as (id, state).
pub fn launched(direct: &Direct) -> Vec<(String, String)> {
    let (_, text) = direct.query("ec2", "DescribeInstances", &[]);
    let text_of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    instances(&text)
        .iter()
        .map(|it| (text_of(&it["instanceId"]), text_of(&it["instanceState"]["name"])))
        .collect()
}

/// Takes stock of an account.
pub fn take(direct: &Direct) -> Inventory {
    let mut names = Names::default();
    names.add(&direct.account_id(), "ACCOUNT");
    network(direct, &mut names);
    let clusters = eks(direct, &mut names);
    let all: BTreeMap<&'static str, Vec<Value>> = BTreeMap::from([
        ("clusters", clusters.0),
        ("file systems", clusters.1),
        ("launch templates", clusters.2),
        ("instances", hosts(direct, &mut names)),
        ("volumes", volumes(direct, &mut names)),
        ("snapshots", snapshots(direct)),
        ("security groups", groups(direct, &mut names)),
        ("roles", roles(direct)),
        ("instance profiles", profiles(direct)),
        ("parameters", parameters(direct, &mut names)),
        ("log groups", logs(direct)),
        ("topics", topics(direct)),
        ("subscriptions", subscriptions(direct, &mut names)),
        ("alarms", alarms(direct)),
        ("dashboards", dashboards(direct)),
        ("tags", tags(direct)),
    ]);
    all.iter()
        .map(|(kind, things)| {
            let mut lines: Vec<String> = things
                .iter()
                .map(|thing| {
                    let mut named = document(&names.applied(&thing.to_string()));
                    settle(&mut named);
                    named.to_string()
                })
                .collect();
            lines.sort();
            (*kind, lines)
        })
        .collect()
}

/// Names that stand for identities which differ from run to run.
#[derive(Default)]
struct Names(Vec<(String, String)>);

impl Names {
    fn add(&mut self, id: &str, name: &str) {
        if !id.is_empty() {
            self.0.push((id.to_owned(), name.to_owned()));
        }
    }

    fn applied(&self, text: &str) -> String {
        self.0
            .iter()
            .fold(text.to_owned(), |text, (id, name)| text.replace(id, name))
    }
}

/// Drops what passes, and puts members and tags in order.
fn settle(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| !PASSING.contains(&name.as_str()));
            members.sort_keys();
            members.values_mut().for_each(settle);
        }
        Value::Array(values) => {
            values.iter_mut().for_each(settle);
            values.sort_by_key(ToString::to_string);
        }
        _ => {}
    }
}

fn picked(value: &Value, members: &[&str]) -> Value {
    members
        .iter()
        .map(|name| ((*name).to_owned(), value[*name].clone()))
        .collect()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// Reads documents in texts as documents; a text that is none stays.
fn document(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

fn asked(direct: &Direct, service: &str, operation: &str, parameters: &[(&str, &str)]) -> Value {
    let (status, text) = direct.query(service, operation, parameters);
    assert_eq!(status, 200, "{operation}: {text}");
    xml::read(&text)
}

/// Gives names to the network, which is another in each account.
fn network(direct: &Direct, names: &mut Names) {
    let answer = asked(direct, "ec2", "DescribeSubnets", &[]);
    for subnet in list(&answer, "subnetSet") {
        names.add(text(&subnet, "vpcId"), "VPC");
        let zone = text(&subnet, "availabilityZone");
        names.add(text(&subnet, "subnetId"), &format!("SUBNET-{zone}"));
    }
}

fn hosts(direct: &Direct, names: &mut Names) -> Vec<Value> {
    let (_, answer) = direct.query("ec2", "DescribeInstances", &[]);
    let living = instances(&answer)
        .into_iter()
        .filter(|it| text(&it["instanceState"], "name") != "terminated");
    living
        .map(|it| {
            let id = text(&it, "instanceId");
            names.add(id, "INSTANCE");
            names.add(text(&it, "clientToken"), "CLIENT-TOKEN");
            names.add(text(&it["iamInstanceProfile"], "id"), "ASSOCIATION");
            let mut host = picked(&it, INSTANCE);
            host["script"] = user_data(direct, id).into();
            host["disks"] = list(&it, "blockDeviceMapping")
                .iter()
                .map(|disk| json!([disk["deviceName"], disk["ebs"]["deleteOnTermination"]]))
                .collect();
            host
        })
        .collect()
}

/// Clusters with all that is in them, file systems with their mount targets, and launch templates.
fn eks(direct: &Direct, names: &mut Names) -> (Vec<Value>, Vec<Value>, Vec<Value>) {
    let found = direct.inventory();
    let all = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let last = |arn: &str| arn.rsplit('/').next().unwrap_or_default().to_owned();
    for cluster in all(&found["clusters"]) {
        for group in all(&cluster["nodegroups"]) {
            names.add(&last(text(&group, "nodegroupArn")), "NODE-GROUP");
            for scaling in all(&group["resources"]["autoScalingGroups"]) {
                names.add(text(&scaling, "name"), "SCALING-GROUP");
            }
        }
        for addon in all(&cluster["addons"]) {
            let name = format!("ADDON-{}", text(&addon, "addonName"));
            names.add(&last(text(&addon, "addonArn")), &name);
        }
        for entry in all(&cluster["accessEntries"]) {
            names.add(&last(text(&entry, "accessEntryArn")), "ENTRY");
        }
        for one in all(&cluster["podIdentityAssociations"]) {
            let name = format!("POD-IDENTITY-{}", text(&one, "serviceAccount"));
            names.add(text(&one, "associationId"), &name);
        }
    }
    for system in all(&found["fileSystems"]) {
        names.add(text(&system, "FileSystemId"), "FILE-SYSTEM");
        for target in all(&system["mountTargets"]) {
            let name = format!("MOUNT-TARGET-{}", text(&target, "AvailabilityZoneName"));
            names.add(text(&target, "MountTargetId"), &name);
        }
    }
    for template in all(&found["launchTemplates"]) {
        names.add(text(&template, "id"), "LAUNCH-TEMPLATE");
    }
    (
        all(&found["clusters"]),
        all(&found["fileSystems"]),
        all(&found["launchTemplates"]),
    )
}

fn volumes(direct: &Direct, names: &mut Names) -> Vec<Value> {
    let answer = asked(direct, "ec2", "DescribeVolumes", &[]);
    let all = list(&answer, "volumeSet");
    all.iter()
        .for_each(|it| names.add(text(it, "volumeId"), "VOLUME"));
    all.iter().map(|it| picked(it, VOLUME)).collect()
}

fn snapshots(direct: &Direct) -> Vec<Value> {
    let own = [
        ("Filter.1.Name", "tag-key"),
        ("Filter.1.Value.1", "dataops-infra:*"),
    ];
    list(&asked(direct, "ec2", "DescribeSnapshots", &own), "snapshotSet")
}

fn groups(direct: &Direct, names: &mut Names) -> Vec<Value> {
    let answer = asked(direct, "ec2", "DescribeSecurityGroups", &[]);
    let mut all = list(&answer, "securityGroupInfo");
    all.retain(|it| text(it, "groupName") != "default");
    all.iter().for_each(|it| names.add(text(it, "groupId"), "GROUP"));
    all
}

fn roles(direct: &Direct) -> Vec<Value> {
    let mut all = list(&asked(direct, "iam", "ListRoles", &[]), "Roles");
    // AWS makes them on first use of a service, for everybody in the account, and they stay.
    all.retain(|role| !text(role, "Path").starts_with("/aws-service-role/"));
    for role in &mut all {
        let name = text(role, "RoleName").to_owned();
        let of = [("RoleName", name.as_str())];
        role["Tags"] = list(&asked(direct, "iam", "ListRoleTags", &of), "Tags").into();
        let policies = list(&asked(direct, "iam", "ListRolePolicies", &of), "PolicyNames");
        role["Policies"] = policies
            .iter()
            .map(|policy| {
                let named = [
                    ("RoleName", name.as_str()),
                    ("PolicyName", policy.as_str().unwrap_or_default()),
                ];
                asked(direct, "iam", "GetRolePolicy", &named)["GetRolePolicyResult"].clone()
            })
            .collect();
        role["Attached"] = list(
            &asked(direct, "iam", "ListAttachedRolePolicies", &of),
            "AttachedPolicies",
        )
        .into();
    }
    all
}

fn profiles(direct: &Direct) -> Vec<Value> {
    let mut all = list(
        &asked(direct, "iam", "ListInstanceProfiles", &[]),
        "InstanceProfiles",
    );
    for profile in &mut all {
        let name = text(profile, "InstanceProfileName").to_owned();
        let of = [("InstanceProfileName", name.as_str())];
        let full = asked(direct, "iam", "GetInstanceProfile", &of);
        profile["Tags"] = xml::find(&full, "InstanceProfile")
            .map(|profile| profile["Tags"].clone())
            .unwrap_or_default();
        profile["Roles"] = list(profile, "Roles")
            .iter()
            .map(|role| role["RoleName"].clone())
            .collect();
    }
    all
}

/// Parameters with their values; where one is the record, its generation gets a name.
fn parameters(direct: &Direct, names: &mut Names) -> Vec<Value> {
    let mut found: Vec<String> = Vec::new();
    let mut asked = json!({ "MaxResults": 50 });
    loop {
        let (_, listed) = direct.json("ssm", "AmazonSSM.DescribeParameters", &asked);
        let page = listed["Parameters"].as_array().cloned().unwrap_or_default();
        found.extend(page.iter().map(|it| text(it, "Name").to_owned()));
        match listed["NextToken"].as_str().filter(|token| !token.is_empty()) {
            Some(token) => asked["NextToken"] = token.into(),
            None => break,
        }
    }
    // AWS' own, which every account sees.
    found.retain(|name| !name.starts_with("/aws/"));
    if found.is_empty() {
        return Vec::new();
    }
    let (_, read) = direct.json(
        "ssm",
        "AmazonSSM.GetParameters",
        &json!({"Names": found, "WithDecryption": true}),
    );
    let read = read["Parameters"].as_array().cloned().unwrap_or_default();
    read.iter()
        .map(|it| {
            let name = text(it, "Name");
            let value = document(text(it, "Value"));
            names.add(text(&value, "generation"), "GENERATION");
            let of = json!({"ResourceType": "Parameter", "ResourceId": name});
            let (_, tags) = direct.json("ssm", "AmazonSSM.ListTagsForResource", &of);
            json!({"name": name, "type": it["Type"], "value": value, "tags": tags["TagList"]})
        })
        .collect()
}

fn logs(direct: &Direct) -> Vec<Value> {
    let (_, answer) = direct.json("logs", "Logs_20140328.DescribeLogGroups", &json!({}));
    answer["logGroups"].as_array().cloned().unwrap_or_default()
}

fn topics(direct: &Direct) -> Vec<Value> {
    let topics = list(&asked(direct, "sns", "ListTopics", &[]), "Topics");
    topics
        .iter()
        .map(|topic| {
            let of = [("TopicArn", text(topic, "TopicArn"))];
            let attributes = asked(direct, "sns", "GetTopicAttributes", &of);
            xml::find(&attributes, "Attributes").cloned().unwrap_or_default()
        })
        .collect()
}

fn subscriptions(direct: &Direct, names: &mut Names) -> Vec<Value> {
    let all = list(&asked(direct, "sns", "ListSubscriptions", &[]), "Subscriptions");
    for subscription in &all {
        names.0.insert(
            0,
            (
                text(subscription, "SubscriptionArn").to_owned(),
                "SUBSCRIPTION".to_owned(),
            ),
        );
    }
    all
}

fn alarms(direct: &Direct) -> Vec<Value> {
    list(
        &asked(direct, "monitoring", "DescribeAlarms", &[]),
        "MetricAlarms",
    )
}

fn dashboards(direct: &Direct) -> Vec<Value> {
    let listed = list(
        &asked(direct, "monitoring", "ListDashboards", &[]),
        "DashboardEntries",
    );
    listed
        .iter()
        .map(|entry| {
            let name = text(entry, "DashboardName");
            let read = asked(direct, "monitoring", "GetDashboard", &[("DashboardName", name)]);
            let body = xml::find(&read, "DashboardBody").and_then(Value::as_str);
            json!({"name": name, "body": document(body.unwrap_or_default())})
        })
        .collect()
}

/// Tags of everything that the tagging service knows, which is where tags of alarms, topics and log groups are seen.
fn tags(direct: &Direct) -> Vec<Value> {
    let target = "ResourceGroupsTaggingAPI_20170126.GetResources";
    let (_, answer) = direct.json("tagging", target, &json!({"ResourcesPerPage": 100}));
    let all = answer["ResourceTagMappingList"].as_array().cloned();
    let mut all = all.unwrap_or_default();
    // What is terminated is still known for a while.
    all.retain(|it| !text(it, "ResourceARN").contains(":instance/"));
    all
}
