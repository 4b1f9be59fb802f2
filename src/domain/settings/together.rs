//! What no key can say on its own: settings that contradict each other.

use std::collections::BTreeMap;

use super::Settings;
use super::keys::MAX_TAGS;
use super::problem::quoted;
use super::shape::{arn, image_tag};

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

/// Returns everything that contradicts itself, in the order of the keys.
pub fn contradictions(settings: &Settings) -> Vec<Contradiction> {
    let mut found = Vec::new();
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
