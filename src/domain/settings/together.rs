//! What no key can say on its own: settings that contradict each other.

use std::collections::BTreeMap;

use super::keys::{KEYS, MAX_TAGS};
use super::problem::quoted;
use super::shape::{arn, image_tag};
use super::{Settings, StorageMode, Target};
use crate::domain::deployment::eks::name::LONGEST;
use crate::domain::deployment::eks::spec::Chart;

/// Two settings that cannot both hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// The keys that are concerned.
    pub keys: Vec<&'static str>,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub expected: String,
}

/// Keys of hosts; nodes are made by EKS, and there are as many as `eks.min_nodes` and `eks.max_nodes` say.
const OF_HOSTS: [&str; 5] = [
    "count",
    "public_address",
    "ami",
    "ami_parameter",
    "termination_protection",
];

/// Returns everything that contradicts itself, in the order of the keys.
pub fn contradictions(settings: &Settings) -> Vec<Contradiction> {
    let mut found = of_target(settings);
    found.extend(of_cluster(settings));
    let mut add = |keys: &[&'static str], message: String, expected: &str| {
        found.push(Contradiction {
            keys: keys.to_vec(),
            message,
            expected: expected.to_owned(),
        });
    };
    let both = |a: &str, b: &str| format!("`{a}` and `{b}` are both given");
    if let Some(first) = &settings.instance_type
        && settings.fallback_types.contains(first)
    {
        let message = format!("{} is the instance type already", quoted(first));
        add(
            &["instance_type", "fallback_types"],
            message,
            "types other than the first",
        );
    }
    if settings.ami.is_some() && settings.ami_parameter.is_some() {
        let keys = ["ami", "ami_parameter"];
        add(&keys, both(keys[0], keys[1]), "one of them");
    }
    if settings.runner_image.as_deref().and_then(image_tag).is_some() && settings.channel.is_some() {
        let message = format!(
            "{}, and the image has a tag or digest already",
            both("runner_image", "channel")
        );
        add(&["runner_image", "channel"], message, "the tag in one of them");
    }
    if settings.topic.is_some() && !settings.notify.is_empty() {
        let expected = "one of them: the addresses are subscribed to a topic of our own";
        add(&["topic", "notify"], both("topic", "notify"), expected);
    }
    if settings.ttl.is_some() && settings.termination_protection == Some(true) {
        let expected = "one of them: a lease must be able to end";
        add(
            &["termination_protection", "ttl"],
            both("ttl", "termination_protection"),
            expected,
        );
    }
    if let Some(region) = &settings.region {
        let elsewhere = |zone: &&String| {
            zone.strip_prefix(region.as_str())
                .is_none_or(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        if let Some(zone) = settings.zones.iter().find(elsewhere) {
            let message = format!("{} is not in {region}", quoted(zone));
            add(&["region", "zones"], message, "zones of the region");
        }
        for (key, value, why) in [
            (
                "topic",
                &settings.topic,
                "a topic in the region: alarms reach no other",
            ),
            (
                "kms_key",
                &settings.kms_key,
                "a key in the region: disks take no other",
            ),
            (
                "eks.secrets_key",
                &settings.eks.secrets_key,
                "a key in the region: clusters take no other",
            ),
        ] {
            if let Some(other) = value.as_deref().and_then(arn)
                && other.region != region
            {
                let message = format!("is in {}, the deployment in {region}", other.region);
                add(&["region", key], message, why);
            }
        }
    }
    if settings.tags.len() > MAX_TAGS {
        let message = format!("has {} tags, those of the defaults included", settings.tags.len());
        add(&["tags"], message, &format!("at most {MAX_TAGS} tags"));
    }
    // IAM takes keys that differ in case alone for the same, and refuses them.
    let mut spelt: BTreeMap<String, &str> = BTreeMap::new();
    for key in settings.tags.keys() {
        if let Some(first) = spelt.insert(key.to_lowercase(), key) {
            let message = format!("{} and {} differ in case alone", quoted(first), quoted(key));
            add(&["tags"], message, "one of them");
        }
    }
    found
}

/// Returns what is said of the other target.
fn of_target(settings: &Settings) -> Vec<Contradiction> {
    let Some(target) = settings.target else {
        return Vec::new();
    };
    let (is, other) = match target {
        Target::Ec2 => ("ec2", "eks"),
        Target::Eks => ("eks", "ec2"),
    };
    let mut found = Vec::new();
    for key in KEYS {
        let group = key.split().0;
        let foreign = match target {
            Target::Ec2 => group == Some("eks"),
            Target::Eks => group == Some("docker") || OF_HOSTS.contains(&key.name),
        };
        if foreign && key.value(settings).is_some() {
            found.push(Contradiction {
                keys: vec!["target", key.name],
                message: format!("`{}` is for the target {other}, and the target is {is}", key.name),
                expected: match key.name {
                    "count" => "eks.min_nodes and eks.max_nodes".to_owned(),
                    _ => format!("the key left out, or the target {other}"),
                },
            });
        }
    }
    if let (Target::Eks, Some(name)) = (target, &settings.name)
        && name.len() > LONGEST
    {
        found.push(Contradiction {
            keys: vec!["name", "target"],
            message: format!(
                "{} has {} characters, and roles of a cluster have the region and a word more in their 64",
                quoted(name),
                name.len()
            ),
            expected: format!("at most {LONGEST} characters"),
        });
    }
    found
}

/// Returns what contradicts itself among the keys of the cluster.
fn of_cluster(settings: &Settings) -> Vec<Contradiction> {
    let eks = &settings.eks;
    let mut found = Vec::new();
    let mut add = |keys: &[&'static str], message: String, expected: &str| {
        found.push(Contradiction {
            keys: keys.to_vec(),
            message,
            expected: expected.to_owned(),
        });
    };
    if eks.cluster.is_some() {
        let own: [(&'static str, bool); 5] = [
            ("eks.version", eks.version.is_some()),
            ("eks.public_endpoint", eks.public_endpoint.is_some()),
            ("eks.public_cidrs", !eks.public_cidrs.is_empty()),
            ("eks.log_types", !eks.log_types.is_empty()),
            ("eks.secrets_key", eks.secrets_key.is_some()),
        ];
        for (key, _) in own.into_iter().filter(|(_, given)| *given) {
            add(
                &["eks.cluster", key],
                format!("`{key}` is of a cluster that is made, and `eks.cluster` names one that exists"),
                "one of them: a cluster that is adopted stays as it is",
            );
        }
    }
    if let (Some(min), Some(max)) = (eks.min_nodes, eks.max_nodes)
        && min > max
    {
        add(
            &["eks.min_nodes", "eks.max_nodes"],
            format!("at least {min} nodes are more than at most {max}"),
            "no more at least than at most",
        );
    }
    if eks.public_endpoint == Some(false) && !eks.public_cidrs.is_empty() {
        add(
            &["eks.public_endpoint", "eks.public_cidrs"],
            "`eks.public_cidrs` are given, and nothing reaches the API server from outside".to_owned(),
            "one of them",
        );
    }
    if eks.storage == Some(StorageMode::None) && eks.file_system.is_some() {
        add(
            &["eks.file_system", "eks.storage"],
            "`eks.file_system` is given, and there are no volumes".to_owned(),
            "static or dynamic volumes, or no file system",
        );
    }
    if let (Some(chart), Some(_)) = (&eks.chart, &eks.chart_repository)
        && Chart::is_path(chart)
    {
        add(
            &["eks.chart_repository", "eks.chart"],
            format!("{} is a path, and `eks.chart_repository` is given", quoted(chart)),
            "the name of a chart in the repository, or a path alone",
        );
    }
    found
}
