//! What the CloudWatch agent publishes for a configuration: each metric with its exact dimensions.
//!
//! The schema of the agent takes any section, any measurement and any dimension, and so does CloudWatch: a misspelt one is
//! an alarm that never rings. So the names are here, and what is not among them is refused. Only Linux, only what a host may use.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use thiserror::Error;

/// A section of `metrics_collected`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its name, with which the names of its metrics begin.
    pub name: &'static str,
    /// What it can measure.
    pub measurements: &'static [&'static str],
    /// Dimensions that its metrics have by themselves.
    pub dimensions: &'static [&'static str],
    /// What may be set besides `measurement`.
    pub options: &'static [&'static str],
}

/// The sections, as the agent registers them
/// (<https://github.com/aws/amazon-cloudwatch-agent/blob/main/translator/translate/metrics/config/registered_metrics.go>);
/// metrics and dimensions are described at
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/metrics-collected-by-CloudWatch-agent.html>, options at
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-Agent-Configuration-File-Details.html>.
pub const SECTIONS: &[Section] = &[
    Section {
        name: "cpu",
        measurements: &[
            "time_active",
            "time_guest",
            "time_guest_nice",
            "time_idle",
            "time_iowait",
            "time_irq",
            "time_nice",
            "time_softirq",
            "time_steal",
            "time_system",
            "time_user",
            "usage_active",
            "usage_guest",
            "usage_guest_nice",
            "usage_idle",
            "usage_iowait",
            "usage_irq",
            "usage_nice",
            "usage_softirq",
            "usage_steal",
            "usage_system",
            "usage_user",
        ],
        dimensions: &["cpu"],
        options: &["resources", "totalcpu", "metrics_collection_interval"],
    },
    Section {
        name: "disk",
        measurements: &[
            "free",
            "inodes_free",
            "inodes_total",
            "inodes_used",
            "total",
            "used",
            "used_percent",
        ],
        dimensions: &["path", "device", "fstype"],
        options: &[
            "resources",
            "ignore_file_system_types",
            "drop_device",
            "metrics_collection_interval",
        ],
    },
    Section {
        name: "mem",
        measurements: &[
            "active",
            "available",
            "available_percent",
            "buffered",
            "cached",
            "free",
            "inactive",
            "total",
            "used",
            "used_percent",
        ],
        dimensions: &[],
        options: &["metrics_collection_interval"],
    },
    Section {
        name: "swap",
        measurements: &["free", "used", "used_percent"],
        dimensions: &[],
        options: &["metrics_collection_interval"],
    },
];

/// Dimensions that `append_dimensions` may add; others are dropped without a word.
const APPENDED: [&str; 4] = ["ImageId", "InstanceId", "InstanceType", "AutoScalingGroupName"];

/// A metric that arrives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Metric {
    /// Namespace.
    pub namespace: String,
    /// Full name, such as `disk_used_percent`.
    pub name: String,
    /// Dimensions as alarms have them: `path=/` where the value is known beforehand, `InstanceId` where it is not.
    pub dimensions: BTreeSet<String>,
}

/// A name that the agent does not know.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the CloudWatch agent knows no {what} `{name}`")]
pub struct Unknown {
    /// What it should be.
    pub what: &'static str,
    /// As it is written.
    pub name: String,
}

fn unknown(what: &'static str, name: impl Into<String>) -> Unknown {
    Unknown {
        what,
        name: name.into(),
    }
}

/// Refuses keys of an object that are not among those that are known.
fn keys<'a>(what: &'static str, value: &'a Value, known: &[&str]) -> Result<&'a Map<String, Value>, Unknown> {
    let object = value
        .as_object()
        .ok_or_else(|| unknown(what, value.to_string()))?;
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(unknown(what, key)),
        None => Ok(object),
    }
}

fn texts<'a>(what: &'static str, value: &'a Value) -> Result<Vec<&'a str>, Unknown> {
    let list = value.as_array().ok_or_else(|| unknown(what, value.to_string()))?;
    list.iter()
        .map(|text| text.as_str().ok_or_else(|| unknown(what, text.to_string())))
        .collect()
}

/// Returns what arrives in CloudWatch under a configuration of the agent.
///
/// # Errors
///
/// `Unknown` for a name that the agent does not know, and for a roll-up that no metric has.
pub fn published(settings: &Value) -> Result<BTreeSet<Metric>, Unknown> {
    keys("part", settings, &["agent", "metrics", "logs"])?;
    keys(
        "setting",
        &settings["agent"],
        &["metrics_collection_interval", "run_as_user", "region", "debug"],
    )?;
    let metrics = &settings["metrics"];
    keys(
        "part of metrics",
        metrics,
        &[
            "namespace",
            "append_dimensions",
            "aggregation_dimensions",
            "metrics_collected",
        ],
    )?;
    let namespace = metrics["namespace"].as_str().unwrap_or("CWAgent");
    let appended = keys("dimension to append", &metrics["append_dimensions"], &APPENDED)?;
    for (key, value) in appended {
        if value != &Value::String(format!("${{aws:{key}}}")) {
            return Err(unknown("value of a dimension", value.to_string()));
        }
    }
    let mut found = BTreeSet::new();
    let names: Vec<&str> = SECTIONS.iter().map(|section| section.name).collect();
    for (name, asked) in keys("section", &metrics["metrics_collected"], &names)? {
        for section in SECTIONS.iter().filter(|section| section.name == name) {
            for measurement in measurements(section, asked)? {
                for own in own_dimensions(section, asked)? {
                    found.insert(Metric {
                        namespace: namespace.to_owned(),
                        name: format!("{name}_{measurement}"),
                        dimensions: own.into_iter().chain(appended.keys().cloned()).collect(),
                    });
                }
            }
        }
    }
    let rollups = metrics["aggregation_dimensions"].as_array();
    let whole = found.clone();
    for group in rollups.into_iter().flatten() {
        let group: BTreeSet<&str> = texts("roll-up", group)?.into_iter().collect();
        let mut of_any = false;
        for metric in &whole {
            let known = metric
                .dimensions
                .iter()
                .filter(|dimension| group.contains(key_of(dimension)));
            let dimensions: BTreeSet<String> = known.cloned().collect();
            // The agent makes none that has all dimensions of the metric: that is the metric itself
            // (<https://github.com/aws/amazon-cloudwatch-agent/blob/main/plugins/outputs/cloudwatch/cloudwatch.go>).
            if dimensions.len() == group.len() {
                of_any = true;
                found.insert(Metric {
                    dimensions,
                    ..metric.clone()
                });
            }
        }
        if !of_any {
            let group: Vec<&str> = group.into_iter().collect();
            return Err(unknown("metric with the dimensions", group.join(", ")));
        }
    }
    Ok(found)
}

fn key_of(dimension: &str) -> &str {
    dimension.split_once('=').map_or(dimension, |(key, _)| key)
}

fn measurements<'a>(section: &Section, asked: &'a Value) -> Result<Vec<&'a str>, Unknown> {
    let known: Vec<&str> = [&["measurement"], section.options].concat();
    keys("option", asked, &known)?;
    let asked = texts("measurement", &asked["measurement"])?;
    match asked.iter().find(|name| !section.measurements.contains(name)) {
        Some(name) => Err(unknown("measurement", format!("{}_{name}", section.name))),
        None => Ok(asked),
    }
}

/// Returns the dimensions of each series of a section, without those that are appended.
fn own_dimensions(section: &Section, asked: &Value) -> Result<Vec<Vec<String>>, Unknown> {
    let resources = match &asked["resources"] {
        Value::Null => Vec::new(),
        resources => texts("resource", resources)?,
    };
    let fixed = |key: &str, value: &str| match value {
        "*" => key.to_owned(),
        value => format!("{key}={value}"),
    };
    let Some((first, others)) = section.dimensions.split_first() else {
        return Ok(vec![Vec::new()]);
    };
    let mut series: Vec<String> = resources.iter().map(|resource| fixed(first, resource)).collect();
    match section.name {
        "cpu" if asked["totalcpu"] == true => series.push(fixed(first, "cpu-total")),
        "disk" if series.is_empty() => series.push(fixed(first, "*")),
        _ => {}
    }
    let dropped = |key: &&&str| **key == "device" && asked["drop_device"] == true;
    let others: Vec<String> = others
        .iter()
        .filter(|key| !dropped(key))
        .map(|key| (*key).to_owned())
        .collect();
    Ok(series
        .into_iter()
        .map(|one| [vec![one], others.clone()].concat())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::host_script::agent_settings;
    use crate::domain::plan::alarms::{Facts, alarms};
    use crate::domain::profile::Target;

    /// Returns what the alarms of a host listen to.
    fn listened() -> BTreeSet<Metric> {
        let rules = alarms(Facts {
            target: Target::Ec2,
            disk_gib: 300,
            wave_gib: 10.0,
            days_to_full: 7,
            burstable: true,
            pods: 0,
        });
        let agents = rules.into_iter().filter(|alarm| alarm.namespace == "CWAgent");
        agents
            .map(|alarm| Metric {
                namespace: alarm.namespace.to_owned(),
                // An expression is of one metric, which it names.
                name: alarm
                    .metric
                    .split(|c: char| !c.is_ascii_lowercase() && c != '_')
                    .find(|word| word.contains('_'))
                    .expect("a metric")
                    .to_owned(),
                dimensions: alarm.dimensions.iter().map(|&text| text.to_owned()).collect(),
            })
            .collect()
    }

    fn settings() -> Value {
        agent_settings("/dataops-infra/acme")
    }

    /// Whether every alarm hears something.
    fn heard(settings: &Value) -> bool {
        published(settings).is_ok_and(|published| listened().is_subset(&published))
    }

    #[test]
    fn every_alarm_hears_its_metric_and_nothing_is_measured_for_nobody() {
        let published = published(&settings()).expect("known names");
        assert_eq!(listened().difference(&published).next(), None);
        assert_eq!(listened().len(), 4);
        let heard: BTreeSet<String> = listened().into_iter().map(|metric| metric.name).collect();
        let measured: BTreeSet<String> = published.into_iter().map(|metric| metric.name).collect();
        assert_eq!(heard, measured);
    }

    #[test]
    fn dimensions_are_those_of_the_agent() {
        let published = published(&settings()).expect("known names");
        let of = |name: &str| {
            let metrics = published.iter().filter(|metric| metric.name == name);
            metrics
                .map(|metric| metric.dimensions.iter().cloned().collect::<Vec<_>>().join(" "))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            of("disk_used_percent"),
            ["InstanceId", "InstanceId fstype path=/", "InstanceId path=/"]
        );
        assert_eq!(of("mem_used_percent"), ["InstanceId"]);
        assert_eq!(of("cpu_usage_active"), ["InstanceId", "InstanceId cpu=cpu-total"]);
    }

    /// Calls with each variant of a value in which one key or one text has one letter more.
    fn misspelt(value: &Value, place: &str, then: &mut dyn FnMut(&str, Value)) {
        match value {
            Value::String(text) => then(place, Value::String(format!("{text}x"))),
            Value::Array(list) => {
                for (n, one) in list.iter().enumerate() {
                    misspelt(one, &format!("{place}.{n}"), &mut |place, changed| {
                        let mut list = list.clone();
                        list[n] = changed;
                        then(place, Value::Array(list));
                    });
                }
            }
            Value::Object(object) => {
                for (key, one) in object {
                    let place = format!("{place}.{key}");
                    let mut renamed = object.clone();
                    renamed.remove(key);
                    renamed.insert(format!("{key}x"), one.clone());
                    then(&place, Value::Object(renamed));
                    misspelt(one, &place, &mut |place, changed| {
                        let mut object = object.clone();
                        object.insert(key.clone(), changed);
                        then(place, Value::Object(object));
                    });
                }
            }
            _ => {}
        }
    }

    #[test]
    fn one_letter_too_many_is_refused_or_leaves_an_alarm_deaf() {
        let mut settings = settings();
        // Logs are not of metrics.
        settings.as_object_mut().expect("an object").remove("logs");
        assert!(heard(&settings));
        let mut places = 0;
        misspelt(&settings, "", &mut |place, changed| {
            places += 1;
            assert!(!heard(&changed), "{place} may be misspelt");
        });
        assert!(places > 20, "{places} places");
    }

    #[test]
    fn a_misspelt_name_is_named() {
        for (pointer, bad, says) in [
            (
                "/metrics/metrics_collected",
                serde_json::json!({ "dsik": { "measurement": ["used"] } }),
                "the CloudWatch agent knows no section `dsik`",
            ),
            (
                "/metrics/metrics_collected/mem/measurement/0",
                serde_json::json!("used_precent"),
                "the CloudWatch agent knows no measurement `mem_used_precent`",
            ),
            (
                "/metrics/aggregation_dimensions/0",
                serde_json::json!(["InstanceId", "paht"]),
                "the CloudWatch agent knows no metric with the dimensions `InstanceId, paht`",
            ),
            (
                "/metrics/append_dimensions",
                serde_json::json!({ "InstanceID": "${aws:InstanceId}" }),
                "the CloudWatch agent knows no dimension to append `InstanceID`",
            ),
        ] {
            let mut settings = settings();
            *settings.pointer_mut(pointer).expect(pointer) = bad;
            let refused = published(&settings).expect_err("refused");
            assert_eq!(refused.to_string(), says);
        }
    }
}
