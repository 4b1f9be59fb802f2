//! Alarms in CloudWatch's words, on the exact dimensions that the host or the cluster publishes.

use std::collections::BTreeMap;

use crate::domain::deployment::name::{Host, Name, Place};
use crate::domain::deployment::spec::Spec;
use crate::domain::plan::alarms::{Alarm, Comparison, Facts, MissingData, alarms};
use crate::domain::profile::Target;

/// An alarm as it is put; only the instance of a host is missing.
#[derive(Clone, Debug, PartialEq)]
pub struct AlarmRule {
    /// Address within the deployment, such as `alarm-memory`.
    pub address: String,
    /// Full name.
    pub name: String,
    /// Host it watches; on EKS the only one there is, which stands for all nodes.
    pub host: Host,
    /// Cluster it watches; none: a host.
    pub cluster: Option<String>,
    /// The rule.
    pub alarm: Alarm,
    /// ARNs of what happens.
    pub actions: Vec<String>,
}

/// The period that a forecast looks at is in the expression; its metric has this name.
const METRIC: &str = "m1";

impl AlarmRule {
    /// Returns all alarms of a deployment.
    pub fn all(name: &Name, spec: &Spec, place: &Place) -> Vec<Self> {
        let eks = spec.eks.as_deref();
        let rules = alarms(Facts {
            target: if eks.is_some() { Target::Eks } else { Target::Ec2 },
            disk_gib: spec.disk.gib,
            wave_gib: spec.alarms.wave_gib,
            days_to_full: spec.alarms.days_to_full,
            burstable: spec.alarms.burstable,
            pods: eks.map_or(0, |_| spec.concurrency),
        });
        let topic = topic_arn(name, spec, place);
        let cluster = eks.map(|eks| &eks.cluster);
        Host::all(if cluster.is_some() { 1 } else { spec.count })
            .into_iter()
            .flat_map(|host| {
                let topic = &topic;
                rules.iter().map(move |alarm| Self {
                    address: host.address(&format!("alarm-{}", alarm.name)),
                    name: name.alarm(host, alarm.name),
                    host,
                    cluster: cluster.cloned(),
                    alarm: alarm.clone(),
                    actions: actions(alarm, topic, place),
                })
            })
            .collect()
    }

    /// Whether silence sets it off, so that it must not be there before the host has reported once.
    pub fn breaches_on_silence(&self) -> bool {
        self.alarm.missing_data == MissingData::Breaching
    }

    /// Returns the metric by its own name, and the expression on it, where there is one.
    pub fn metric(&self) -> (&str, Option<String>) {
        if self.alarm.metric.contains(' ') {
            let metric = "disk_used_percent";
            (metric, Some(self.alarm.metric.replace(metric, METRIC)))
        } else {
            (&self.alarm.metric, None)
        }
    }

    /// Returns when it goes off, for people.
    pub fn says(&self) -> String {
        let alarm = &self.alarm;
        match self.metric() {
            (_, Some(_)) => format!("{} {}", alarm.metric, alarm.condition),
            (metric, None) => format!("{} of {metric} {}", alarm.statistic, alarm.condition),
        }
    }

    /// Returns the dimensions for an instance, by name; an alarm of a cluster watches that, whatever the instance.
    pub fn dimensions(&self, instance: &str) -> BTreeMap<String, String> {
        let instance = self.cluster.as_deref().unwrap_or(instance);
        self.alarm
            .dimensions
            .iter()
            .map(|dimension| match dimension.split_once('=') {
                Some((key, value)) => (key.to_owned(), value.to_owned()),
                None => ((*dimension).to_owned(), instance.to_owned()),
            })
            .collect()
    }

    /// Returns what the alarm says of itself.
    pub fn description(&self) -> String {
        self.alarm.why.chars().take(1024).collect()
    }

    /// Returns how CloudWatch writes the comparison.
    pub fn comparison(&self) -> &'static str {
        match self.alarm.condition.comparison {
            Comparison::AtLeast => "GreaterThanOrEqualToThreshold",
            Comparison::Above => "GreaterThanThreshold",
            Comparison::Below => "LessThanThreshold",
        }
    }

    /// Returns how CloudWatch writes what silence means.
    pub fn missing_data(&self) -> &'static str {
        match self.alarm.missing_data {
            MissingData::Breaching => "breaching",
            MissingData::Missing => "missing",
            MissingData::NotBreaching => "notBreaching",
        }
    }

    /// Returns every field that is compared, as text; what is read from AWS is put the same way.
    pub fn fields(&self, instance: &str) -> BTreeMap<&'static str, String> {
        let (metric, expression) = self.metric();
        let alarm = &self.alarm;
        let mut fields = fields(
            alarm.namespace,
            metric,
            &self.dimensions(instance),
            alarm.statistic,
            alarm.period_s,
            expression.as_deref(),
        );
        fields.extend([
            ("AlarmDescription", self.description()),
            ("ComparisonOperator", self.comparison().to_owned()),
            ("Threshold", alarm.condition.threshold.to_string()),
            ("EvaluationPeriods", alarm.periods.to_string()),
            ("TreatMissingData", self.missing_data().to_owned()),
            ("ActionsEnabled", true.to_string()),
            ("AlarmActions", self.actions.join(" ")),
        ]);
        fields
    }
}

/// Returns the fields of a metric; of an alarm on an expression those of the metric in it.
pub fn fields(
    namespace: &str,
    metric: &str,
    dimensions: &BTreeMap<String, String>,
    statistic: &str,
    period: u32,
    expression: Option<&str>,
) -> BTreeMap<&'static str, String> {
    let dimensions: Vec<String> = dimensions
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let mut fields = BTreeMap::from([
        ("Namespace", namespace.to_owned()),
        ("MetricName", metric.to_owned()),
        ("Dimensions", dimensions.join(" ")),
        ("Statistic", statistic.to_owned()),
        ("Period", period.to_string()),
    ]);
    if let Some(expression) = expression {
        fields.insert("Expression", expression.to_owned());
    }
    fields
}

/// Returns the topic that alarms go to.
pub fn topic_arn(name: &Name, spec: &Spec, place: &Place) -> String {
    spec.topic
        .clone()
        .unwrap_or_else(|| place.arn("sns", &name.topic()))
}

/// Recovery and reboot are actions of EC2
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/UsingAlarmActions.html>).
fn actions(alarm: &Alarm, topic: &str, place: &Place) -> Vec<String> {
    let deed = |what: &str| format!("arn:{}:automate:{}:ec2:{what}", place.partition(), place.region);
    let mut actions = match alarm.action {
        action if action.starts_with("recover") => vec![deed("recover")],
        action if action.starts_with("reboot") => vec![deed("reboot")],
        _ => Vec::new(),
    };
    actions.push(topic.to_owned());
    actions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::eks_spec;

    #[test]
    fn alarms_of_a_cluster_watch_all_its_nodes() {
        let mut spec = eks_spec();
        spec.eks.as_mut().expect("a cluster").cluster = "team".to_owned();
        let place = Place {
            account: "123456789012".to_owned(),
            region: "eu-west-2".to_owned(),
        };
        let rules = AlarmRule::all(&Name::new("abc").expect("sound"), &spec, &place);
        let told: Vec<String> = rules
            .iter()
            .map(|rule| {
                assert_eq!(
                    rule.dimensions("i-1"),
                    BTreeMap::from([("ClusterName".to_owned(), "team".to_owned())])
                );
                assert_eq!(
                    rule.actions,
                    ["arn:aws:sns:eu-west-2:123456789012:dataops-infra-abc"]
                );
                format!(
                    "{} {} x {} s: {}",
                    rule.address,
                    rule.alarm.periods,
                    rule.alarm.period_s,
                    rule.says()
                )
            })
            .collect();
        insta::assert_snapshot!(told.join("\n"), @"
        alarm-node-disk-warning 1 x 300 s: Maximum of node_filesystem_utilization >= 80
        alarm-node-disk-critical 1 x 300 s: Maximum of node_filesystem_utilization >= 90
        alarm-node-memory 3 x 300 s: Maximum of node_memory_utilization >= 90
        alarm-node-cpu 6 x 300 s: Maximum of node_cpu_utilization >= 95
        alarm-failed-nodes 5 x 60 s: Maximum of cluster_failed_node_count >= 1
        alarm-pods-pending 15 x 60 s: Maximum of pod_status_pending >= 1
        alarm-agent-silent 3 x 300 s: SampleCount of cluster_node_count < 1
        ");
        assert!(rules.iter().any(|rule| rule.description().contains("12 jobs")));
    }
}
