//! The dashboard: what fills, what waits, what rings.

use serde_json::{Value, json};

use super::alarm::AlarmRule;
use crate::domain::deployment::eks::spec::Eks;
use crate::domain::deployment::name::{Host, Name, Place};
use crate::domain::deployment::owner::Owner;
use crate::domain::deployment::spec::Spec;

/// A dashboard carries no tags; this line in a text widget says whose it is.
fn marker(owner: &Owner) -> String {
    format!("deployment {}, generation {}", owner.name, owner.generation)
}

/// Whether a dashboard is of this deployment in this life.
pub fn owns(owner: &Owner, body: &Value) -> bool {
    let marker = marker(owner);
    body["widgets"].as_array().is_some_and(|widgets| {
        widgets.iter().any(|widget| {
            widget["properties"]["markdown"]
                .as_str()
                .is_some_and(|text| text.lines().any(|line| line == marker))
        })
    })
}

/// Returns the body for the instances of the hosts; a cluster has a body of its own, which names none.
pub fn body(owner: &Owner, spec: &Spec, place: &Place, instances: &[(Host, String)]) -> Value {
    if let Some(eks) = &spec.eks {
        return of_cluster(owner, spec, eks, place);
    }
    let name: &Name = &owner.name;
    let line = |namespace: &str, metric: &str, more: &[&str]| -> Vec<Value> {
        instances
            .iter()
            .map(|(host, id)| {
                let mut row = vec![json!(namespace), json!(metric), json!("InstanceId"), json!(id)];
                row.extend(more.iter().map(|text| json!(text)));
                row.push(json!({ "label": name.host(*host) }));
                Value::Array(row)
            })
            .collect()
    };
    let graph = |at, title: &str, metrics: Vec<Value>, limit| graph(place, at, title, &metrics, limit);
    let text = format!(
        "# {name}\n{}\n\n{} x {}, {} jobs at once on each, {} GiB, workload {}",
        marker(owner),
        spec.count,
        spec.instance_type,
        spec.concurrency,
        spec.disk.gib,
        spec.workload
    );
    json!({ "widgets": [
        heading(&text),
        alarms(name, spec, place),
        graph((0, 6), "Disk used, %", line("CWAgent", "disk_used_percent", &["path", "/"]), Some((90.0, "critical"))),
        graph((12, 6), "Memory used, %", line("CWAgent", "mem_used_percent", &[]), Some((90.0, "alarm"))),
        graph((0, 12), "CPU used, %", line("CWAgent", "cpu_usage_active", &["cpu", "cpu-total"]), Some((90.0, "alarm"))),
        graph((12, 12), "Inodes free", line("CWAgent", "disk_inodes_free", &["path", "/"]), None),
    ] })
}

fn heading(text: &str) -> Value {
    json!({ "type": "text", "x": 0, "y": 0, "width": 24, "height": 3, "properties": { "markdown": text } })
}

fn alarms(name: &Name, spec: &Spec, place: &Place) -> Value {
    let alarms: Vec<String> = AlarmRule::all(name, spec, place)
        .iter()
        .map(|rule| place.arn("cloudwatch", &format!("alarm:{}", rule.name)))
        .collect();
    json!({
        "type": "alarm", "x": 0, "y": 3, "width": 24, "height": 3,
        "properties": { "title": "Alarms", "alarms": alarms },
    })
}

fn graph(
    place: &Place,
    (x, y): (u32, u32),
    title: &str,
    metrics: &[Value],
    limit: Option<(f64, &str)>,
) -> Value {
    let mut properties = json!({
        "title": title,
        "region": place.region,
        "stat": "Maximum",
        "period": 300,
        "metrics": metrics,
    });
    if let Some((value, label)) = limit {
        properties["annotations"] = json!({ "horizontal": [{ "value": value, "label": label }] });
    }
    json!({ "type": "metric", "x": x, "y": y, "width": 12, "height": 6, "properties": properties })
}

/// Returns the body for a cluster: the fullest node, not one of them, because nodes come and go.
fn of_cluster(owner: &Owner, spec: &Spec, eks: &Eks, place: &Place) -> Value {
    let name: &Name = &owner.name;
    let line = |metric: &str, label: &str| json!(["ContainerInsights", metric, "ClusterName", eks.cluster, { "label": label }]);
    let text = format!(
        "# {name}\n{}\n\ncluster {}, {} to {} x {}, {} jobs at once, {} GiB on each, workload {}",
        marker(owner),
        eks.cluster,
        eks.min_nodes,
        eks.max_nodes,
        spec.instance_type,
        spec.concurrency,
        spec.disk.gib,
        spec.workload
    );
    let graph = |at, title: &str, metrics: &[Value], limit| graph(place, at, title, metrics, limit);
    json!({ "widgets": [
        heading(&text),
        alarms(name, spec, place),
        graph((0, 6), "Disk used, %", &[line("node_filesystem_utilization", "fullest node")], Some((90.0, "critical"))),
        graph((12, 6), "Memory used, %", &[line("node_memory_utilization", "fullest node")], Some((90.0, "alarm"))),
        graph((0, 12), "CPU used, %", &[line("node_cpu_utilization", "busiest node")], Some((95.0, "alarm"))),
        graph(
            (12, 12),
            "Nodes and pods",
            &[
                line("cluster_node_count", "nodes"),
                line("cluster_failed_node_count", "failed nodes"),
                line("pod_status_pending", "a pod waits"),
            ],
            None,
        ),
    ] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::deployment::owner::Generation;
    use crate::domain::testing::eks_spec;

    #[test]
    fn a_cluster_needs_no_instance_and_the_page_says_whose_it_is() {
        let owner = Owner {
            name: Name::new("abc").expect("sound"),
            generation: Generation::from_bytes([0xab; 8]),
        };
        let place = Place {
            account: "123456789012".to_owned(),
            region: "eu-west-2".to_owned(),
        };
        let body = body(&owner, &eks_spec(), &place, &[]);
        assert!(owns(&owner, &body));
        let another = Owner {
            generation: Generation::from_bytes([0xcd; 8]),
            ..owner
        };
        assert!(!owns(&another, &body));
        let text = body.to_string();
        assert!(
            !text.contains("InstanceId") && !text.contains("CWAgent"),
            "{text}"
        );
        assert_eq!(text.matches(r#""ClusterName","abc""#).count(), 6);
    }
}
