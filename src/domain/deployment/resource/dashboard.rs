//! The dashboard: what fills, what waits, what rings.

use serde_json::{Value, json};

use super::alarm::AlarmRule;
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

/// Returns the body for the instances of the hosts.
pub fn body(owner: &Owner, spec: &Spec, place: &Place, instances: &[(Host, String)]) -> Value {
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
    let graph = |(x, y): (u32, u32), title: &str, metrics: Vec<Value>, limit: Option<(f64, &str)>| {
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
    };
    let alarms: Vec<String> = AlarmRule::all(name, spec, place)
        .iter()
        .map(|rule| place.arn("cloudwatch", &format!("alarm:{}", rule.name)))
        .collect();
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
        { "type": "text", "x": 0, "y": 0, "width": 24, "height": 3, "properties": { "markdown": text } },
        { "type": "alarm", "x": 0, "y": 3, "width": 24, "height": 3,
          "properties": { "title": "Alarms", "alarms": alarms } },
        graph((0, 6), "Disk used, %", line("CWAgent", "disk_used_percent", &["path", "/"]), Some((90.0, "critical"))),
        graph((12, 6), "Memory used, %", line("CWAgent", "mem_used_percent", &[]), Some((90.0, "alarm"))),
        graph((0, 12), "CPU used, %", line("CWAgent", "cpu_usage_active", &["cpu", "cpu-total"]), Some((90.0, "alarm"))),
        graph((12, 12), "Inodes free", line("CWAgent", "disk_inodes_free", &["path", "/"]), None),
    ] })
}
