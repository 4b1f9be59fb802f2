//! The deployment as a CloudFormation template.
//!
//! It makes what `up` makes, under the same names, so that `up` and a stack of one name never stand beside each other: the
//! second finds a role that is not its own, and stops. What the stack alone knows (region, account, ids) is left to it, so one
//! template serves every region.
//!
//! # Whose it is
//!
//! Nothing here carries the tag `dataops-infra:deployment`. `up`, `down` and the policies of `iam` take that tag as proof
//! that they may change and remove a thing; one that CloudFormation made must be changed and removed by CloudFormation, or
//! the stack drifts and cannot be deleted. The tag is `dataops-infra:stack` instead. There is no record either, so `status`
//! and `down` do not know the deployment. A generation is 16 hexadecimal digits, which no intrinsic function makes; where a
//! host reports one it says `stack/NAME-OF-STACK`, which cannot be taken for a generation of `up`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::domain::deployment::name::{Host, Name, Place, ROLE_POLICY};
use crate::domain::deployment::owner::{Generation, Owner};
use crate::domain::deployment::record::{Phase, Record, SCHEMA};
use crate::domain::deployment::report::WAITING;
use crate::domain::deployment::resource::alarm::AlarmRule;
use crate::domain::deployment::resource::instance::HOP_LIMIT;
use crate::domain::deployment::resource::{dashboard, role};
use crate::domain::deployment::spec::{SecretRef, Spec, Token};
use crate::domain::deployment::user_data::scripts;
use crate::domain::host_script::{Unrenderable, packed};

/// Tag with the name of the stack.
pub const STACK: &str = "dataops-infra:stack";

/// Bytes of a template that is handed over with the call; a larger one must lie in S3
/// (<https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html>).
pub const LARGEST_BODY: usize = 51_200;

/// Canonical's parameter with the current image
/// (<https://documentation.ubuntu.com/aws/aws-how-to/instances/find-ubuntu-images/>).
const IMAGE: &str = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id";

/// MiB/s that gp3 has unless told otherwise (<https://aws.amazon.com/ebs/general-purpose/>).
const GP3_THROUGHPUT: u32 = 125;

// What stands for what only the stack knows, until it is replaced. Nothing else is called so.
const REGION: &str = "region-of-the-stack";
const ACCOUNT: &str = "account-of-the-stack";
const GENERATION: [u8; 8] = [0x5a, 0xfe, 0x9e, 0x4e, 0x2a, 0x71, 0x00, 0x9b];

/// What the reader of a template should know.
const NOTES: &[&str] = &[
    "The token must be in its parameter before the stack is made: CloudFormation cannot make a SecureString.",
    "dataops-infra status, up and down do not manage what this stack makes: it carries no tag dataops-infra:deployment, \
     which would allow them to change and remove it behind CloudFormation's back.",
    "An update of the stack takes the current image, and replaces the hosts if there is a new one.",
    "The stack is complete when the instances run; the report parameter says online when the runner is.",
    "Alarms that take silence for trouble ring until the agent has sent its first figures.",
    "Deleting the stack ends running jobs and leaves the runner listed on the platform.",
];

/// Something that the stack fills in.
struct Hole {
    /// What stands for it.
    text: String,
    /// What it is where it stands alone.
    alone: Value,
    /// What it is within a text, in the words of `Fn::Sub`.
    within: String,
}

impl Hole {
    fn of(text: impl Into<String>, reference: &str) -> Self {
        Self {
            text: text.into(),
            alone: json!({ "Ref": reference }),
            within: format!("${{{reference}}}"),
        }
    }
}

/// Returns the template.
///
/// Of the specification, account, region and image are left to the stack, and so are VPC, subnets and the token's
/// parameter, for which what it says is the default; `ca` are the certificates behind its digest.
///
/// # Errors
///
/// A value cannot be used in the host's script, or the script is too long.
pub fn template(name: &Name, spec: &Spec, ca: Option<&str>) -> Result<Value, Unrenderable> {
    let place = Place {
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
    };
    let mut spec = spec.clone();
    if spec.token == Token::Ours {
        // The user's to make: CloudFormation cannot.
        spec.token = Token::Theirs(SecretRef::Parameter(name.token()));
    }
    let record = Record {
        schema: SCHEMA.to_owned(),
        name: name.clone(),
        generation: Generation::from_bytes(GENERATION),
        made_by: String::new(),
        created_at: String::new(),
        phase: Phase::Present,
        lease: None,
        pending: None,
        launches: std::collections::BTreeMap::new(),
        spec,
    };
    // The same script serves every region, as the template does.
    let anywhere = Place {
        region: String::new(),
        ..place.clone()
    };
    let mut scripts = scripts(&record, &anywhere, ca)?;
    for script in scripts.values_mut() {
        *script = script.replace(record.generation.as_str(), &format!("stack/{name}"));
    }
    let making = Making {
        hosts: Host::all(record.spec.count),
        scripts,
        name,
        spec: &record.spec,
        owner: record.owner(),
        place,
    };
    let mut template = json!({
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": format!(
            "DataOps Runner {name}: {} x {}, {} jobs at once on each, workload {}. Made by dataops-infra.",
            record.spec.count, record.spec.instance_type, record.spec.concurrency, record.spec.workload
        ),
        "Metadata": { "dataops-infra": {
            "generated_by": concat!("dataops-infra ", env!("CARGO_PKG_VERSION")),
            "notes": NOTES,
        } },
        "Parameters": making.parameters(),
    });
    template["Resources"] = filled(making.resources(), &making.holes());
    template["Outputs"] = filled(making.outputs(), &making.holes());
    Ok(template)
}

struct Making<'a> {
    name: &'a Name,
    spec: &'a Spec,
    place: Place,
    owner: Owner,
    hosts: Vec<Host>,
    scripts: std::collections::BTreeMap<String, String>,
}

/// Returns what something of a host is called in the template, such as `Host` or `Host2`.
fn id(what: &str, host: Host) -> String {
    format!(
        "{what}{}",
        host.number.map(|number| number.to_string()).unwrap_or_default()
    )
}

/// Returns words between hyphens as one word.
fn camel(text: &str) -> String {
    let word = |word: &str| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_uppercase() + rest
    };
    text.split('-').map(word).collect()
}

fn instance(host: Host) -> String {
    host.address("instance-of-the-host")
}

impl Making<'_> {
    fn holes(&self) -> Vec<Hole> {
        let mut holes = vec![
            Hole::of(REGION, "AWS::Region"),
            Hole::of(ACCOUNT, "AWS::AccountId"),
            Hole {
                text: self.owner.generation.to_string(),
                alone: json!({ "Fn::Sub": "stack/${AWS::StackName}" }),
                within: "stack/${AWS::StackName}".to_owned(),
            },
        ];
        // `instance-of-the-host-12` before `instance-of-the-host-1`, which it begins with.
        for host in self.hosts.iter().rev() {
            holes.push(Hole::of(instance(*host), &id("Host", *host)));
        }
        holes
    }

    fn parameters(&self) -> Value {
        let mut parameters = Map::new();
        let mut add = |name: String, kind: &str, description: &str, default: Option<&str>| {
            let mut parameter = json!({ "Type": kind, "Description": description });
            if let Some(default) = default.filter(|default| !default.is_empty()) {
                parameter["Default"] = json!(default);
            }
            parameters.insert(name, parameter);
        };
        add(
            "Vpc".to_owned(),
            "AWS::EC2::VPC::Id",
            "VPC of the hosts",
            Some(&self.spec.vpc),
        );
        for (nth, host) in self.hosts.iter().enumerate() {
            let zones = self.spec.subnets.len().max(1);
            add(
                id("Subnet", *host),
                "AWS::EC2::Subnet::Id",
                "Subnet with a way out to the platform, the registries and AWS",
                self.spec
                    .subnets
                    .get(nth % zones)
                    .map(|subnet| subnet.id.as_str()),
            );
        }
        let image = &self.spec.image;
        if image.parameter.is_none() && image.id.starts_with("ami-") {
            add(
                "Image".to_owned(),
                "AWS::EC2::Image::Id",
                "Image of the hosts",
                Some(&image.id),
            );
        } else {
            add(
                "Image".to_owned(),
                "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>",
                "Parameter with the image of the hosts; each update of the stack reads it again",
                Some(image.parameter.as_deref().unwrap_or(IMAGE)),
            );
        }
        Value::Object(parameters)
    }

    /// Returns the user's tags and ours.
    fn tags(&self, more: &[(&str, &str)]) -> Value {
        let stack = json!([{ "Key": STACK, "Value": { "Ref": "AWS::StackName" } }]);
        let mut tags = stack.as_array().cloned().unwrap_or_default();
        let all = self
            .spec
            .tags
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()));
        let mine = |key: &str| more.iter().any(|(other, _)| *other == key);
        for (key, value) in all.filter(|(key, _)| !mine(key)).chain(more.iter().copied()) {
            tags.push(json!({ "Key": key, "Value": value }));
        }
        Value::Array(tags)
    }

    /// The same where CloudFormation wants a map.
    fn tag_map(&self) -> Value {
        let mut tags = json!(self.spec.tags);
        tags[STACK] = json!({ "Ref": "AWS::StackName" });
        tags
    }

    fn resources(&self) -> Value {
        let mut resources = Map::new();
        let mut add = |id: String, kind: &str, properties: Value| {
            resources.insert(id, json!({ "Type": kind, "Properties": properties }));
        };
        let (name, spec) = (self.name, self.spec);
        add(
            "Role".to_owned(),
            "AWS::IAM::Role",
            json!({
                "RoleName": name.role(REGION),
                "Path": crate::domain::deployment::name::IAM_PATH,
                "Description": "Host of a DataOps Runner, made by dataops-infra",
                "AssumeRolePolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [{
                        "Effect": "Allow",
                        "Principal": { "Service": { "Fn::Sub": "ec2.${AWS::URLSuffix}" } },
                        "Action": "sts:AssumeRole",
                    }],
                },
                "Policies": [{
                    "PolicyName": ROLE_POLICY,
                    "PolicyDocument": role::policy(name, spec, &self.place),
                }],
                "Tags": self.tags(&[]),
            }),
        );
        add(
            "InstanceProfile".to_owned(),
            "AWS::IAM::InstanceProfile",
            json!({
                "InstanceProfileName": name.role(REGION),
                "Path": crate::domain::deployment::name::IAM_PATH,
                "Roles": [{ "Ref": "Role" }],
            }),
        );
        add(
            "SecurityGroup".to_owned(),
            "AWS::EC2::SecurityGroup",
            json!({
                "GroupName": name.security_group(),
                "GroupDescription": "Host of a DataOps Runner: nothing in, everything out",
                "VpcId": { "Ref": "Vpc" },
                "SecurityGroupEgress": [{
                    "IpProtocol": "-1",
                    "CidrIp": "0.0.0.0/0",
                    "Description": "Everything out",
                }],
                "Tags": self.tags(&[]),
            }),
        );
        add(
            "LogGroup".to_owned(),
            "AWS::Logs::LogGroup",
            json!({
                "LogGroupName": name.log_group(),
                "RetentionInDays": spec.log_retention_days,
                "Tags": self.tags(&[]),
            }),
        );
        if spec.topic.is_none() {
            add(
                "Topic".to_owned(),
                "AWS::SNS::Topic",
                json!({
                    "TopicName": name.topic(),
                    "Tags": self.tags(&[]),
                }),
            );
            for (nth, address) in spec.notify.iter().enumerate() {
                let protocol = if address.starts_with("https://") {
                    "https"
                } else {
                    "email"
                };
                add(
                    format!("Subscription{}", nth + 1),
                    "AWS::SNS::Subscription",
                    json!({
                        "TopicArn": { "Ref": "Topic" },
                        "Protocol": protocol,
                        "Endpoint": address,
                    }),
                );
            }
        }
        for host in &self.hosts {
            add(
                id("Report", *host),
                "AWS::SSM::Parameter",
                json!({
                    "Name": name.report(*host),
                    "Type": "String",
                    "Value": WAITING,
                    "Description": "What the host says of itself; it writes over this",
                    "Tags": self.tag_map(),
                }),
            );
        }
        for rule in AlarmRule::all(name, spec, &self.place) {
            let id = id(&format!("Alarm{}", camel(rule.alarm.name)), rule.host);
            add(id, "AWS::CloudWatch::Alarm", self.alarm(&rule));
        }
        let hosts: Vec<(Host, String)> = self.hosts.iter().map(|host| (*host, instance(*host))).collect();
        let body = dashboard::body(&self.owner, spec, &self.place, &hosts);
        add(
            "Dashboard".to_owned(),
            "AWS::CloudWatch::Dashboard",
            json!({
                "DashboardName": name.dashboard(REGION),
                "DashboardBody": body.to_string(),
            }),
        );
        if !self.plain_disk() {
            add(
                "Disk".to_owned(),
                "AWS::EC2::LaunchTemplate",
                json!({
                    "LaunchTemplateData": { "BlockDeviceMappings": self.disks() },
                }),
            );
        }
        for host in &self.hosts {
            let mut made = json!({ "Type": "AWS::EC2::Instance", "Properties": self.host(*host) });
            // The first thing a host does is to report.
            made["DependsOn"] = json!([id("Report", *host), "LogGroup"]);
            resources.insert(id("Host", *host), made);
        }
        Value::Object(resources)
    }

    /// Whether an instance can say its disk itself: it has no word for throughput
    /// (<https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-properties-ec2-instance-ebs.html>).
    fn plain_disk(&self) -> bool {
        self.spec.disk.throughput == GP3_THROUGHPUT
    }

    fn disks(&self) -> Value {
        let spec = self.spec;
        let mut disk = json!({
            "VolumeSize": spec.disk.gib,
            "VolumeType": "gp3",
            "Iops": spec.disk.iops,
            "Encrypted": true,
            "DeleteOnTermination": true,
        });
        if !self.plain_disk() {
            disk["Throughput"] = json!(spec.disk.throughput);
        }
        if let Some(key) = &spec.disk.kms_key {
            disk["KmsKeyId"] = json!(key);
        }
        // Canonical's images all have the same.
        let root = match spec.image.root_device.as_str() {
            "" => "/dev/sda1",
            device => device,
        };
        json!([{ "DeviceName": root, "Ebs": disk }])
    }

    fn host(&self, host: Host) -> Value {
        let spec = self.spec;
        let script = self.scripts.get(&host.address("host")).map_or("", String::as_str);
        let mut properties = json!({
            "ImageId": { "Ref": "Image" },
            "InstanceType": spec.instance_type,
            "IamInstanceProfile": { "Ref": "InstanceProfile" },
            "MetadataOptions": {
                "HttpEndpoint": "enabled",
                "HttpTokens": "required",
                "HttpPutResponseHopLimit": HOP_LIMIT,
            },
            "DisableApiTermination": spec.termination_protection,
            "PropagateTagsToVolumeOnCreation": true,
            "Tags": self.tags(&[("Name", &self.name.host(host))]),
            // Compressed, as `up` sends it: plain it is longer than EC2 takes.
            "UserData": STANDARD.encode(packed(script)),
        });
        if self.plain_disk() {
            properties["BlockDeviceMappings"] = self.disks();
        } else {
            properties["LaunchTemplate"] = json!({
                "LaunchTemplateId": { "Ref": "Disk" },
                "Version": { "Fn::GetAtt": ["Disk", "LatestVersionNumber"] },
            });
        }
        let groups = json!([{ "Fn::GetAtt": ["SecurityGroup", "GroupId"] }]);
        let subnet = json!({ "Ref": id("Subnet", host) });
        match spec.public_address {
            None => {
                properties["SubnetId"] = subnet;
                properties["SecurityGroupIds"] = groups;
            }
            Some(public) => {
                properties["NetworkInterfaces"] = json!([{
                    "DeviceIndex": "0",
                    "SubnetId": subnet,
                    "GroupSet": groups,
                    "AssociatePublicIpAddress": public,
                    "DeleteOnTermination": true,
                }]);
            }
        }
        properties
    }

    fn alarm(&self, rule: &AlarmRule) -> Value {
        let alarm = &rule.alarm;
        let ours = self.place.arn("sns", &self.name.topic());
        let actions: Vec<Value> = rule
            .actions
            .iter()
            .map(|action| {
                if *action == ours {
                    json!({ "Ref": "Topic" })
                } else {
                    json!(action)
                }
            })
            .collect();
        let dimensions: Vec<Value> = rule
            .dimensions(&instance(rule.host))
            .iter()
            .map(|(name, value)| json!({ "Name": name, "Value": value }))
            .collect();
        let mut properties = json!({
            "AlarmName": rule.name,
            "AlarmDescription": rule.description(),
            "ActionsEnabled": true,
            "AlarmActions": actions,
            "ComparisonOperator": rule.comparison(),
            "Threshold": alarm.condition.threshold,
            "EvaluationPeriods": alarm.periods,
            "TreatMissingData": rule.missing_data(),
            "Tags": self.tags(&[]),
        });
        let (metric, expression) = rule.metric();
        if let Some(expression) = expression {
            properties["Metrics"] = json!([
                {
                    "Id": "m1",
                    "MetricStat": {
                        "Metric": {
                            "Namespace": alarm.namespace,
                            "MetricName": metric,
                            "Dimensions": dimensions,
                        },
                        "Period": alarm.period_s,
                        "Stat": alarm.statistic,
                    },
                    "ReturnData": false,
                },
                { "Id": "e1", "Expression": expression, "Label": alarm.name, "ReturnData": true },
            ]);
        } else {
            properties["Namespace"] = json!(alarm.namespace);
            properties["MetricName"] = json!(metric);
            properties["Dimensions"] = json!(dimensions);
            properties["Statistic"] = json!(alarm.statistic);
            properties["Period"] = json!(alarm.period_s);
        }
        properties
    }

    fn outputs(&self) -> Value {
        let mut outputs = Map::new();
        for host in &self.hosts {
            outputs.insert(
                id("Instance", *host),
                json!({
                    "Description": format!("Instance of {}", self.name.host(*host)),
                    "Value": { "Ref": id("Host", *host) },
                }),
            );
            outputs.insert(
                id("ReportParameter", *host),
                json!({
                    "Description": "Parameter in which the host says how far it is",
                    "Value": { "Ref": id("Report", *host) },
                }),
            );
        }
        Value::Object(outputs)
    }
}

/// Returns the same with every hole in a text filled by the stack.
fn filled(value: Value, holes: &[Hole]) -> Value {
    match value {
        Value::String(text) => fill(text, holes),
        Value::Array(items) => items.into_iter().map(|item| filled(item, holes)).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(key, value)| (key, filled(value, holes)))
            .collect(),
        other => other,
    }
}

fn fill(text: String, holes: &[Hole]) -> Value {
    if let Some(hole) = holes.iter().find(|hole| hole.text == text) {
        return hole.alone.clone();
    }
    if !holes.iter().any(|hole| text.contains(&hole.text)) {
        return Value::String(text);
    }
    // Whatever has a hole was put together here for the partition of most regions.
    let mut text = text
        .replace("${", "${!")
        .replace("arn:aws:", "arn:${AWS::Partition}:");
    for hole in holes {
        text = text.replace(&hole.text, &hole.within);
    }
    json!({ "Fn::Sub": text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::spec;

    fn made(spec: &Spec) -> Value {
        template(&Name::new("abc").expect("sound"), spec, None).expect("a template")
    }

    #[test]
    fn nothing_says_that_up_and_down_may_have_it() {
        let text = made(&spec(2))["Resources"].to_string();
        for tag in [
            crate::domain::deployment::owner::DEPLOYMENT,
            crate::domain::deployment::owner::GENERATION,
            crate::domain::deployment::owner::ADDRESS,
        ] {
            assert!(!text.contains(tag), "{tag}");
        }
        assert!(text.contains(STACK));
    }

    #[test]
    fn a_fast_disk_is_in_a_launch_template() {
        let mut fast = spec(1);
        fast.disk.throughput = 250;
        let template = made(&fast);
        let disk =
            &template["Resources"]["Disk"]["Properties"]["LaunchTemplateData"]["BlockDeviceMappings"][0];
        assert_eq!(
            (&disk["Ebs"]["Throughput"], &disk["DeviceName"]),
            (&json!(250), &json!("/dev/sda1"))
        );
        let host = &template["Resources"]["Host"]["Properties"];
        assert!(
            host.get("BlockDeviceMappings").is_none()
                && host["LaunchTemplate"]["LaunchTemplateId"]["Ref"] == "Disk"
        );
    }

    #[test]
    fn no_stand_in_is_left() {
        for count in [1, 2, 12] {
            let text = made(&spec(count)).to_string();
            let generation = Generation::from_bytes(GENERATION).to_string();
            for stand_in in [REGION, ACCOUNT, "instance-of-the-host", &generation] {
                assert!(!text.contains(stand_in), "{stand_in}");
            }
            assert!(text.contains("AWS::URLSuffix") && !text.contains("arn:aws:"));
        }
    }

    #[test]
    fn alarms_watch_the_instance_of_their_host() {
        let template = made(&spec(12));
        let resources = &template["Resources"];
        assert_eq!(
            resources["AlarmMemory12"]["Properties"]["Dimensions"][0]["Value"],
            json!({ "Ref": "Host12" })
        );
        assert_eq!(
            resources["AlarmMemory1"]["Properties"]["Dimensions"][0]["Value"],
            json!({ "Ref": "Host1" })
        );
        assert_eq!(
            resources["AlarmMemory1"]["Properties"]["AlarmActions"],
            json!([{ "Ref": "Topic" }])
        );
        let body = resources["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
            .as_str()
            .unwrap_or_default();
        assert!(
            body.contains("\"${Host12}\"") && body.contains("generation stack/${AWS::StackName}"),
            "{body}"
        );
    }
}
