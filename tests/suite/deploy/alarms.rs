//! `alarms test`: what is proven of an alarm, what is found, and that everything is as before.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dataops_infra::domain::export::iam::{Command as Of, Scope, policy};
use serde_json::{Value, json};

use super::world::{Ran, World};
use crate::bench::policy::flattened;
use crate::bench::rule::Rule;

/// Somebody who listens; no confirmation is waited for on the bench.
pub(super) const HOOK: &str = "https://hooks.example.com/alarms";

fn alarms(world: &World) -> Vec<Value> {
    let (status, answer) = world.direct().json(
        "monitoring",
        "GraniteServiceVersion20100801.DescribeAlarms",
        &json!({ "MaxRecords": 100 }),
    );
    assert_eq!(status, 200, "{answer}");
    let mut alarms: Vec<Value> = answer["MetricAlarms"].as_array().expect("alarms").clone();
    for alarm in &mut alarms {
        // When and why the state changed last is allowed to differ.
        let fields = alarm.as_object_mut().expect("an alarm");
        fields.retain(|key, _| !key.starts_with("StateReason") && !key.ends_with("Timestamp"));
    }
    alarms
}

/// Publishes a value of each metric that is watched, with the dimensions that the change makes of the alarm's.
fn publish(world: &World, change: impl Fn(&str, &mut Vec<Value>)) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time")
        .as_secs();
    for alarm in alarms(world) {
        let stat = alarm["Metrics"]
            .as_array()
            .into_iter()
            .flatten()
            .find_map(|query| query.get("MetricStat"))
            .map_or(&alarm, |stat| &stat["Metric"]);
        let metric = stat["MetricName"].as_str().expect("a name");
        let mut dimensions = stat["Dimensions"].as_array().cloned().unwrap_or_default();
        change(metric, &mut dimensions);
        let (status, answer) = world.direct().json(
            "monitoring",
            "GraniteServiceVersion20100801.PutMetricData",
            &json!({
                "Namespace": stat["Namespace"],
                "MetricData": [{
                    "MetricName": metric, "Dimensions": dimensions, "Value": 1.0, "Timestamp": now - 30,
                }],
            }),
        );
        assert_eq!(status, 200, "{answer}");
    }
}

fn test(world: &World, args: &[&str]) -> Ran {
    let mut all = vec!["--yes"];
    if !args.contains(&"--wait") {
        all.extend(["--wait", "0"]);
    }
    all.extend(args);
    world.start(world.command(&["alarms", "test"], &all)).ended()
}

fn made() -> Option<World> {
    let world = World::open()?;
    let up = world.up(&["--notify", HOOK]);
    assert_eq!(up.code, 0, "{up}");
    Some(world)
}

/// Returns the status of each alarm by address.
fn statuses(ran: &Ran) -> Vec<(String, String)> {
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let rows = ran.json["alarms"].as_array();
    rows.into_iter()
        .flatten()
        .map(|row| (text(row, "address"), text(row, "status")))
        .collect()
}

#[test]
fn alarms_are_proven_and_put_back() {
    let Some(world) = made() else { return };
    publish(&world, |_, _| {});
    let before = alarms(&world);
    let ran = test(&world, &[]);
    assert_eq!(ran.code, 0, "{ran}");
    let statuses = statuses(&ran);
    assert_eq!(statuses.len(), before.len(), "{ran}");
    assert!(statuses.iter().all(|(_, status)| status == "ok"), "{ran}");
    assert_eq!(alarms(&world), before);
    // Each told the topic, and none recovered or rebooted the host.
    for row in ran.json["alarms"].as_array().expect("rows") {
        let told = row["drive"]["notified"].as_array().expect("actions");
        assert_eq!(told.len(), 1, "{row}");
        assert!(told[0].as_str().is_some_and(|arn| arn.contains(":sns:")), "{row}");
        let (_, history) = world.direct().json(
            "monitoring",
            "GraniteServiceVersion20100801.DescribeAlarmHistory",
            &json!({ "AlarmName": row["name"] }),
        );
        let history = history.to_string();
        assert!(
            history.contains("to ALARM") && !history.contains("automate"),
            "{history}"
        );
    }
    let only = test(&world, &["--alarm", "alarm-memory", "--no-fire"]);
    assert_eq!(
        (only.code, only.json["alarms"][0]["drive"].is_null()),
        (0, true),
        "{only}"
    );
    assert_eq!(alarms(&world), before);
    let unknown = test(&world, &["--alarm", "alarm-of-nobody"]);
    assert_eq!(unknown.code, 2, "{unknown}");
    assert!(unknown.stderr.contains("alarm-memory"), "{unknown}");
}

#[test]
fn an_alarm_on_other_dimensions_is_found() {
    let Some(world) = made() else { return };
    // The agent names the device, as it does unless told otherwise: the alarm sees nothing, for ever.
    publish(&world, |metric, dimensions| {
        if metric == "disk_used_percent" {
            dimensions.push(json!({ "Name": "device", "Value": "nvme0n1p1" }));
        }
    });
    let ran = test(&world, &[]);
    assert_eq!(ran.code, 4, "{ran}");
    for (address, status) in statuses(&ran) {
        let on_disk = ran.json["alarms"].as_array().expect("rows").iter().any(|row| {
            row["address"] == address.as_str() && row["evidence"].to_string().contains("device=nvme0n1p1")
        });
        assert_eq!(status == "failed", on_disk, "{address}: {ran}");
    }
    assert!(ran.stdout.contains("device=nvme0n1p1"), "{ran}");
    // Nothing at all has arrived.
    let silent = World::open().expect("a bench");
    assert_eq!(silent.up(&["--notify", HOOK]).code, 0);
    let ran = test(&silent, &["--no-fire"]);
    assert_eq!(ran.code, 4, "{ran}");
    assert!(
        statuses(&ran).iter().all(|(_, status)| status == "failed"),
        "{ran}"
    );
}

#[test]
fn nobody_who_listens_is_found() {
    let Some(world) = World::open() else { return };
    assert_eq!(world.up(&["--notify", "ops@example.com"]).code, 0);
    publish(&world, |_, _| {});
    let ran = test(&world, &["--alarm", "alarm-memory"]);
    assert_eq!(ran.code, 4, "{ran}");
    assert!(ran.stdout.contains("unconfirmed"), "{ran}");
}

#[test]
fn alarms_are_put_back_whatever_happens() {
    let Some(world) = made() else { return };
    publish(&world, |_, _| {});
    let before = alarms(&world);
    // An answer that is lost, a history that nobody may read, a change that is refused: said, and put back.
    for (rule, says) in [
        (
            Rule::on("cloudwatch:PutMetricAlarm").times(1).lose(),
            "could not be taken off",
        ),
        (
            Rule::on("cloudwatch:SetAlarmState").times(1).lose(),
            "could not be set",
        ),
        (
            Rule::on("cloudwatch:DescribeAlarmHistory").deny(),
            "could not be read",
        ),
        (
            Rule::on("cloudwatch:SetAlarmState").times(1).deny(),
            "could not be set",
        ),
        // Of the two calls that put it back the first fails once.
        (
            Rule::on("cloudwatch:SetAlarmState")
                .skip(1)
                .times(1)
                .fail(500, "InternalFailure"),
            "",
        ),
    ] {
        world.account.rule(rule);
        let ran = test(&world, &["--alarm", "alarm-status-instance"]);
        assert_eq!(ran.code, if says.is_empty() { 0 } else { 5 }, "{says}: {ran}");
        assert!(ran.stdout.contains(says), "{says}: {ran}");
        world.account.heal();
        assert_eq!(alarms(&world), before, "{says}");
    }
    // Stopped in the middle.
    world.account.rule(
        Rule::on("cloudwatch:DescribeAlarmHistory")
            .times(1)
            .delay(Duration::from_secs(2)),
    );
    let asked = world.account.calls_of("cloudwatch:DescribeAlarmHistory").len();
    let running = world.start(world.command(&["alarms", "test"], &["--yes", "--wait", "0"]));
    world.until("cloudwatch:DescribeAlarmHistory", asked + 1);
    running.signal("INT");
    let ran = running.ended();
    assert_eq!(ran.code, 5, "{ran}");
    assert!(ran.stdout.contains("stopped before"), "{ran}");
    assert_eq!(alarms(&world), before);
}

#[test]
fn the_policy_has_what_a_test_calls() {
    let Some(world) = made() else { return };
    publish(&world, |metric, dimensions| {
        if metric == "disk_used_percent" {
            dimensions.clear();
        }
    });
    let from = world.account.calls().len();
    let ran = test(&world, &[]);
    assert_eq!(ran.code, 4, "{ran}");
    let document = flattened(&policy(Of::Alarms, &Scope::default()));
    let allowed = document["Statement"][0]["Action"]
        .as_array()
        .expect("actions")
        .clone();
    let called: BTreeSet<String> = world.account.calls()[from..]
        .iter()
        .map(crate::bench::call::Call::name)
        .collect();
    for name in called {
        let free = name == "sts:GetCallerIdentity";
        assert!(free || allowed.contains(&Value::String(name.clone())), "{name}");
    }
}
