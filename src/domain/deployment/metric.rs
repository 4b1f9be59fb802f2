//! The metrics that alarms look at, and whether they arrive.

use std::collections::BTreeMap;

use super::observed::Alarm;

/// Seconds within which a metric must have arrived, unless its period is longer.
pub const LATELY: u64 = 15 * 60;

/// A metric with exactly these dimensions.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Metric {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Dimensions.
    pub dimensions: BTreeMap<String, String>,
    /// Seconds of a period.
    pub period: u32,
}

impl Metric {
    /// Returns the metric that an alarm looks at, as CloudWatch has it.
    pub fn of(alarm: &Alarm) -> Self {
        let text = |key: &str| alarm.fields.get(key).cloned().unwrap_or_default();
        let dimensions = text("Dimensions");
        Self {
            namespace: text("Namespace"),
            name: text("MetricName"),
            dimensions: dimensions
                .split(' ')
                .filter_map(|pair| pair.split_once('='))
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            period: text("Period").parse().unwrap_or(300),
        }
    }
}

impl std::fmt::Display for Metric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pairs: Vec<String> = self
            .dimensions
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        write!(f, "{} {} [{}]", self.namespace, self.name, pairs.join(", "))
    }
}

/// A value that has arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Its average over a minute.
    pub value: f64,
    /// When that was, RFC 3339.
    pub at: String,
}

/// What CloudWatch knows of a metric.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Feed {
    /// The last value that has arrived lately.
    pub last: Option<Value>,
    /// Other sets of dimensions that the metric is published with, where none has.
    pub others: Vec<Metric>,
}
