//! The alarms that go with a host: exact metric and dimensions, threshold, and why.
//!
//! An alarm on dimensions that nobody publishes is accepted and never fires, so these are the ones the agent's
//! configuration publishes (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/AlarmThatSendsEmail.html>).

use serde::Serialize;

use crate::domain::profile::Target;

/// How an alarm treats silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum MissingData {
    /// Silence is trouble.
    Breaching,
    /// Silence says nothing.
    Missing,
    /// Silence is fine.
    NotBreaching,
}

/// When an alarm goes off; its text is such as `>= 80`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Condition {
    /// As CloudWatch compares.
    pub comparison: Comparison,
    /// With what.
    pub threshold: f64,
}

/// How CloudWatch compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `>=`
    AtLeast,
    /// `>`
    Above,
    /// `<`
    Below,
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = match self.comparison {
            Comparison::AtLeast => ">=",
            Comparison::Above => ">",
            Comparison::Below => "<",
        };
        write!(f, "{sign} {}", self.threshold)
    }
}

impl Serialize for Condition {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An alarm.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alarm {
    /// Short name, the last part of the alarm's name.
    pub name: &'static str,
    /// CloudWatch namespace.
    pub namespace: &'static str,
    /// Metric, or the expression for metric math.
    pub metric: String,
    /// Exact dimensions.
    pub dimensions: Vec<&'static str>,
    /// Statistic over a period.
    pub statistic: &'static str,
    /// Comparison and threshold.
    pub condition: Condition,
    /// Seconds of a period.
    pub period_s: u32,
    /// Periods in a row.
    pub periods: u32,
    /// What silence means.
    pub missing_data: MissingData,
    /// What happens besides the notification.
    pub action: &'static str,
    /// Metrics it is billed for.
    pub billed_metrics: u32,
    /// Why this metric and this threshold.
    pub why: String,
}

/// What the thresholds depend on.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Target.
    pub target: Target,
    /// GiB of each disk.
    pub disk_gib: u32,
    /// GiB that a release of all images adds at once.
    pub wave_gib: f64,
    /// Simulated days from 80 % to full, early fillers; 0 where they were not simulated.
    pub days_to_full: u32,
    /// Whether the type is burstable.
    pub burstable: bool,
    /// Job pods that fit the largest node group at once; EKS only.
    pub pods: u32,
}

const AGENT: &str = "CWAgent";
const EC2: &str = "AWS/EC2";
const INSIGHTS: &str = "ContainerInsights";

/// Returns the alarms of a deployment.
pub fn alarms(facts: Facts) -> Vec<Alarm> {
    match facts.target {
        Target::Ec2 => ec2(facts),
        Target::Eks => eks(facts),
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "a table of alarms reads better with one row each"
)]
fn alarm(
    name: &'static str,
    namespace: &'static str,
    metric: &str,
    dimensions: &[&'static str],
    (statistic, comparison, threshold): (&'static str, Comparison, f64),
    (period_s, periods): (u32, u32),
    missing_data: MissingData,
    why: String,
) -> Alarm {
    Alarm {
        name,
        namespace,
        metric: metric.to_owned(),
        dimensions: dimensions.to_vec(),
        statistic,
        condition: Condition {
            comparison,
            threshold,
        },
        period_s,
        periods,
        missing_data,
        action: "notify",
        billed_metrics: 1,
        why,
    }
}

fn critical_gap(facts: Facts) -> String {
    let left = 0.1 * f64::from(facts.disk_gib);
    let holds = if left > facts.wave_gib {
        "still fit"
    } else {
        "do NOT fit"
    };
    format!(
        "the last 10 % are {left:.0} GiB; {:.1} GiB of a release of all images {holds} into them",
        facts.wave_gib
    )
}

fn ec2(facts: Facts) -> Vec<Alarm> {
    use Comparison::{Above, AtLeast, Below};
    use MissingData::{Breaching, Missing, NotBreaching};
    let root: &[&str] = &["InstanceId", "path=/"];
    let host: &[&str] = &["InstanceId"];
    let mut alarms = vec![
        alarm(
            "disk-space-warning",
            AGENT,
            "disk_used_percent",
            root,
            ("Maximum", AtLeast, 80.0),
            (300, 1),
            Missing,
            match facts.days_to_full {
                // Nobody has computed it: the size was given.
                0 => "a full disk is the most common runner failure".to_owned(),
                days => format!(
                    "a full disk is the most common runner failure; early fillers have {days} days left at 80 %"
                ),
            },
        ),
        alarm(
            "disk-space-critical",
            AGENT,
            "disk_used_percent",
            root,
            ("Maximum", AtLeast, 90.0),
            (300, 1),
            Breaching,
            critical_gap(facts),
        ),
        alarm(
            "disk-forecast",
            AGENT,
            "100 - disk_used_percent - 7 * 86400 * RATE(disk_used_percent)",
            root,
            ("Average", Below, 0.0),
            (21600, 4),
            Missing,
            "full within seven days at the slope of the last day; catches small disks before 80 % does"
                .to_owned(),
        ),
        alarm(
            "disk-inodes",
            AGENT,
            "disk_inodes_free",
            root,
            ("Minimum", Below, 250000.0),
            (300, 1),
            Missing,
            "image layers are many small files; a disk without inodes is full at any percentage".to_owned(),
        ),
        alarm(
            "memory",
            AGENT,
            "mem_used_percent",
            host,
            ("Average", AtLeast, 90.0),
            (300, 3),
            Missing,
            "concurrency is set so that 99 % of the time less is used; more means that jobs have grown"
                .to_owned(),
        ),
        alarm(
            "cpu",
            AGENT,
            "cpu_usage_active",
            &["InstanceId", "cpu=cpu-total"],
            ("Average", AtLeast, 90.0),
            (300, 6),
            Missing,
            "half an hour of full threads slows every job; single peaks are normal".to_owned(),
        ),
        alarm(
            "agent-silent",
            AGENT,
            "mem_used_percent",
            host,
            ("SampleCount", Below, 1.0),
            (300, 3),
            Breaching,
            "no figures for 15 minutes: the agent, the network or the host is gone".to_owned(),
        ),
        Alarm {
            action: "recover and notify",
            ..alarm(
                "status-system",
                EC2,
                "StatusCheckFailed_System",
                host,
                ("Maximum", AtLeast, 1.0),
                (60, 2),
                Missing,
                "AWS hardware trouble; recovery keeps the id, the addresses and the disk".to_owned(),
            )
        },
        Alarm {
            action: "reboot and notify",
            ..alarm(
                "status-instance",
                EC2,
                "StatusCheckFailed_Instance",
                host,
                ("Maximum", AtLeast, 1.0),
                (60, 3),
                Missing,
                "the operating system hangs; one period more than for recovery, so that the two never race"
                    .to_owned(),
            )
        },
    ];
    if facts.burstable {
        alarms.push(alarm(
            "burst-surplus",
            EC2,
            "CPUSurplusCreditsCharged",
            host,
            ("Maximum", Above, 0.0),
            (300, 3),
            NotBreaching,
            "above its baseline a burstable type in unlimited mode is billed by the vCPU-hour".to_owned(),
        ));
    }
    alarms
}

fn eks(facts: Facts) -> Vec<Alarm> {
    use Comparison::{AtLeast, Below};
    use MissingData::{Breaching, Missing, NotBreaching};
    let cluster: &[&str] = &["ClusterName"];
    vec![
        alarm(
            "node-disk-warning",
            INSIGHTS,
            "node_filesystem_utilization",
            cluster,
            ("Maximum", AtLeast, 80.0),
            (300, 1),
            Missing,
            "Maximum over the nodes: the average hides the one that is full".to_owned(),
        ),
        alarm(
            "node-disk-critical",
            INSIGHTS,
            "node_filesystem_utilization",
            cluster,
            ("Maximum", AtLeast, 90.0),
            (300, 1),
            Breaching,
            format!(
                "the kubelet removes images from 85 % on; above that it has not helped; {}",
                critical_gap(facts)
            ),
        ),
        alarm(
            "node-memory",
            INSIGHTS,
            "node_memory_utilization",
            cluster,
            ("Maximum", AtLeast, 90.0),
            (300, 3),
            Missing,
            "requests are packed, use is not: jobs that outgrow their request take from each other"
                .to_owned(),
        ),
        alarm(
            "node-cpu",
            INSIGHTS,
            "node_cpu_utilization",
            cluster,
            ("Maximum", AtLeast, 95.0),
            (300, 6),
            Missing,
            "half an hour of full threads slows every job on the node".to_owned(),
        ),
        alarm(
            "failed-nodes",
            INSIGHTS,
            "cluster_failed_node_count",
            cluster,
            ("Maximum", AtLeast, 1.0),
            (60, 5),
            Missing,
            "a node that is not ready takes its jobs with it".to_owned(),
        ),
        alarm(
            // Each pod reports 0 or 1, once a minute: Minimum is 0 as soon as one of them runs.
            "pods-pending",
            INSIGHTS,
            "pod_status_pending",
            cluster,
            ("Maximum", AtLeast, 1.0),
            (60, 15),
            NotBreaching,
            format!(
                "needs the enhanced Container Insights metrics; in each of 15 minutes pods wait although the node group may hold {} jobs: quota, zones or the maximum",
                facts.pods
            ),
        ),
        alarm(
            "agent-silent",
            INSIGHTS,
            "cluster_node_count",
            cluster,
            ("SampleCount", Below, 1.0),
            (300, 3),
            Breaching,
            "no figures for 15 minutes: the add-on or the cluster is gone".to_owned(),
        ),
    ]
}
