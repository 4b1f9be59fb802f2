//! `doctor` on an account: what is well, what is found, what cannot be known, and that nothing is left out.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dataops_infra::domain::doctor::code::{Code, Scope};
use serde_json::{Value, json};

use super::host::Manner;
use super::witness::{changes, made, made_json, mark, record, since};
use super::world::{NAME, Ran, World};
use crate::bench::rule::Rule;

/// Somebody who listens; the bench confirms it at once.
const HOOK: &str = "https://hooks.example.com/alarms";

/// What a host that is well says of itself.
const FACTS: &str = include_str!("../../doctor/facts.json");

const MONITORING: &str = "GraniteServiceVersion20100801";

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("a time").as_secs()
}

/// Returns the facts of a host that is as its record says.
fn facts(world: &World) -> Value {
    let record: Value = serde_json::from_str(&record(&world.direct(), NAME)).expect("a record");
    let (spec, mut facts): (&Value, Value) = (&record["spec"], serde_json::from_str(FACTS).expect("facts"));
    let image = format!(
        "{}:{}",
        spec["runner_image"].as_str().expect("an image"),
        spec["channel"].as_str().expect("a tag")
    );
    facts["clock"]["known"]["now"] = now().into();
    facts["bootstrap"]["known"]["marker"] = record["generation"].clone();
    facts["container"]["known"]["image"] = image.into();
    facts["image"]["known"]["created"] = "0001-01-01T00:00:00Z".into();
    let config = &mut facts["config"]["known"];
    config["top"] = json!({ "concurrent": spec["concurrency"], "check_interval": spec["check_interval"] });
    config["runners"][0]["url"] = spec["platform_url"].clone();
    config["runners"][0]["limit"] = spec["concurrency"].clone();
    facts
}

/// Lets hosts answer Run Command with facts.
fn answers(world: &World, facts: &Value) {
    let line = json!({ "schema": "dataops-infra/facts/v1", "facts": facts }).to_string();
    let answer = json!({
        "Status": "Success", "StatusDetails": "Success", "ResponseCode": 0, "StandardOutputContent": line + "\n",
        "StandardErrorContent": "",
    });
    world
        .account
        .rule(Rule::on("ssm:GetCommandInvocation").answer(&answer.to_string()));
}

fn monitoring(world: &World, operation: &str, parameters: &Value) -> Value {
    made_json(
        &world.direct(),
        "monitoring",
        &format!("{MONITORING}.{operation}"),
        parameters,
    )
}

/// Returns the alarms, each with the metric that it looks at.
fn alarms(world: &World) -> Vec<(String, Value)> {
    let answer = monitoring(world, "DescribeAlarms", &json!({ "MaxRecords": 100 }));
    let alarms = answer["MetricAlarms"].as_array().expect("alarms").clone();
    alarms
        .into_iter()
        .map(|alarm| {
            let inner = alarm["Metrics"]
                .as_array()
                .into_iter()
                .flatten()
                .find_map(|query| query.get("MetricStat").map(|stat| stat["Metric"].clone()));
            let name = alarm["AlarmName"].as_str().expect("a name").to_owned();
            (name, inner.unwrap_or(alarm))
        })
        .collect()
}

/// Publishes a value of each metric that is watched, but not those of a name, and sets the alarms to OK.
pub fn publish(world: &World, but: &str) {
    for (name, metric) in alarms(world) {
        let set = json!({ "AlarmName": name, "StateValue": "OK", "StateReason": "of the test" });
        monitoring(world, "SetAlarmState", &set);
        if metric["MetricName"] == but {
            continue;
        }
        let data = json!({
            "Namespace": metric["Namespace"],
            "MetricData": [{
                "MetricName": metric["MetricName"], "Dimensions": metric["Dimensions"], "Value": 1.0,
                "Timestamp": now() - 90,
            }],
        });
        monitoring(world, "PutMetricData", &data);
    }
}

/// Disables the actions of an alarm.
fn disarm(world: &World, name: &str) {
    let answer = monitoring(world, "DescribeAlarms", &json!({ "AlarmNames": [name] }));
    let mut alarm = answer["MetricAlarms"][0].clone();
    let fields = alarm.as_object_mut().expect("an alarm");
    // What is asked for, not what came of it.
    fields.retain(|key, value| !value.is_null() && !key.starts_with("State") && key != "AlarmArn");
    fields.retain(|key, value| !key.ends_with("Timestamp") && *value != json!([]));
    fields.insert("ActionsEnabled".to_owned(), false.into());
    monitoring(world, "PutMetricAlarm", &alarm);
}

/// Shows instances as launched on a day long ago.
fn old(world: &World) {
    world
        .account
        .rule(Rule::on("ec2:DescribeInstances").rewrite(|text| {
            let (open, close) = ("<launchTime>", "</launchTime>");
            let mut parts = text.split(open);
            let mut out = parts.next().unwrap_or_default().to_owned();
            for part in parts {
                let rest = part.split_once(close).map_or("", |(_, rest)| rest);
                out += &format!("{open}2026-01-01T00:00:00.000Z{close}{rest}");
            }
            out
        }));
}

/// Opens an account with a deployment.
fn made_world() -> Option<World> {
    let world = World::open()?;
    let up = world.up(&["--notify", HOOK]);
    assert_eq!(up.code, 0, "{up}");
    Some(world)
}

/// Opens an account with a deployment that has been well for long.
fn well() -> Option<World> {
    let world = made_world()?;
    answers(&world, &facts(&world));
    old(&world);
    publish(&world, "");
    Some(world)
}

fn doctor(world: &World, args: &[&str]) -> Ran {
    world.start(world.command(&["doctor"], args)).ended()
}

/// Returns the checks by code; of a deployment with one host each is there once.
fn checks(ran: &Ran) -> BTreeMap<String, Value> {
    let rows = ran.json["checks"].as_array();
    let mut checks = BTreeMap::new();
    for row in rows.into_iter().flatten() {
        let code = row["code"].as_str().expect("a code").to_owned();
        assert!(checks.insert(code, row.clone()).is_none(), "twice: {row}");
    }
    checks
}

/// Asserts how a check ended, and a word of its evidence.
fn says(ran: &Ran, code: &str, status: &str, word: &str) -> Value {
    let check = checks(ran)
        .remove(code)
        .unwrap_or_else(|| panic!("no {code}: {ran}"));
    assert_eq!(check["status"], status, "{check}");
    assert!(
        check["evidence"].as_str().is_some_and(|text| text.contains(word)),
        "{word}: {check}"
    );
    check
}

/// Returns the codes that ended so.
fn ended<'a>(checks: &'a BTreeMap<String, Value>, status: &str) -> Vec<&'a str> {
    let ended = checks.iter().filter(|(_, check)| check["status"] == status);
    ended.map(|(code, _)| code.as_str()).collect()
}

#[test]
fn before_a_deployment_the_machine_and_the_account_are_checked() {
    let Some(world) = World::open() else { return };
    let none = world.start({
        let mut command = crate::bench::program(world.folder());
        command.args(["doctor", "--region", super::world::REGION, "--output", "json"]);
        world.account.used_by(&mut command);
        command
    });
    let ran = none.ended();
    assert_eq!(ran.code, 0, "{ran}");
    let seen = checks(&ran);
    assert!(
        seen.keys()
            .all(|code| code.starts_with("MACHINE-") || code.starts_with("ACCOUNT-")),
        "{ran}"
    );
    assert_eq!(seen.len(), 10, "{ran}");
    assert!(seen.values().all(|check| check["status"] == "ok"), "{ran}");
    assert_eq!(ran.json["summary"]["verdict"], "clean");

    let absent = doctor(&world, &[]);
    assert_eq!(absent.code, 0, "{absent}");
    let record = says(
        &absent,
        "DEPLOYMENT-RECORD",
        "skipped",
        "no deployment of this name",
    );
    assert_eq!(
        record["remedy"]["command"],
        format!(
            "dataops-infra up ec2 --name {NAME} --region {}",
            super::world::REGION
        )
    );
    let seen = checks(&absent);
    assert_eq!(seen.len(), of_hosts(), "the same codes before as after");
    assert_eq!(seen["LEFTOVER-AWS"]["status"], "ok");
    assert_eq!(seen["RUNNER-VERIFY"]["status"], "skipped");
}

/// Returns how many checks there are of a deployment on hosts.
fn of_hosts() -> usize {
    Code::ALL
        .iter()
        .filter(|code| code.scope() != Scope::Cluster)
        .count()
}

#[test]
fn a_deployment_that_is_well_is_clean() {
    let Some(world) = well() else { return };
    let from = mark(&world);
    let ran = doctor(&world, &[]);
    assert_eq!(ran.code, 0, "{ran}");
    let seen = checks(&ran);
    assert_eq!(seen.len(), of_hosts());
    for (code, check) in &seen {
        assert_eq!(check["status"], "ok", "{check}");
        assert_eq!(check["doc"], format!("docs/checks/{code}.md"));
    }
    let asked = world.account.calls_of("ssm:SendCommand");
    assert_eq!(asked.len(), 1, "one question for all checks of a host");
    assert!(
        !asked[0]
            .parameters
            .to_string()
            .contains("runner-token-of-the-bench")
    );
    nothing_changed_but_asked(&world, from);

    let all = doctor(&world, &["--all"]);
    assert_eq!(checks(&all).len(), of_hosts(), "{all}");
    let few = doctor(&world, &["--check", "runner,host-memory"]);
    let codes: Vec<String> = checks(&few).into_keys().collect();
    assert_eq!(codes.len(), 11, "{few}");
    assert!(
        codes
            .iter()
            .all(|code| code.starts_with("RUNNER-") || code == "HOST-MEMORY")
    );
    let page = {
        let mut command = world.command(&["doctor"], &["--output", "table"]);
        command.env("COLUMNS", "80");
        world.start(command).ended()
    };
    assert_eq!(page.code, 0, "{page}");
    narrow(&page.stdout);
}

/// Asserts that nothing was changed; a question to a host is no change, and one without a signature neither.
fn nothing_changed_but_asked(world: &World, from: usize) {
    let changing: Vec<String> = since(world, from)
        .iter()
        .filter(|call| changes(call) && call.operation != "SendCommand" && !call.service.is_empty())
        .map(crate::bench::call::Call::name)
        .collect();
    assert!(changing.is_empty(), "{changing:?}");
}

/// Asserts that a page fits a terminal of 80 columns, but for commands and words that nobody breaks.
fn narrow(page: &str) {
    for line in page.lines() {
        let command = line.contains("dataops-infra ") || line.contains("aws ");
        let one = line.split_whitespace().count() < 2;
        assert!(line.chars().count() <= 80 || command || one, "{line}\n\n{page}");
    }
}

#[test]
fn what_a_host_says_is_found_shown_and_mended() {
    let Some(world) = well() else { return };
    world.account.heal();
    old(&world);
    let mut ill = facts(&world);
    ill["container"]["known"]["running"] = false.into();
    ill["container"]["known"]["status"] = "exited".into();
    ill["guard"]["known"]["active"] = "inactive".into();
    ill["docker"] = json!({ "unknown": "`docker version` did not answer within 20 s" });
    answers(&world, &ill);
    let ran = doctor(&world, &[]);
    assert_eq!(ran.code, 4, "{ran}");
    let stopped = says(&ran, "RUNNER-CONTAINER", "failed", "exited");
    assert_eq!(stopped["fix"], "start-container");
    assert_eq!(stopped["severity"], "high");
    assert_eq!(
        (&stopped["deployment"], &stopped["host"]),
        (&json!(NAME), &json!("host"))
    );
    says(&ran, "HOST-DISK-GUARD", "failed", "inactive");
    says(&ran, "HOST-DOCKER", "failed", "did not answer within 20 s");
    says(&ran, "HOST-DOCKER-API", "unknown", "did not answer within 20 s");
    says(&ran, "HOST-MEMORY", "ok", "MiB");
    let page = {
        let mut command = world.command(&["doctor"], &["--output", "table"]);
        command.env("COLUMNS", "80");
        world.start(command).ended()
    };
    narrow(&page.stdout);
    assert!(page.stdout.contains("FAILED RUNNER-CONTAINER"), "{page}");

    let refused = doctor(&world, &["--fix"]);
    assert_eq!(
        refused.code, 3,
        "without a terminal nobody can be asked: {refused}"
    );
    assert!(
        refused.stderr.contains("docker start 'runner-one'"),
        "it is shown first: {refused}"
    );
    let before = world.account.calls_of("ssm:SendCommand").len();
    world.account.heal();
    old(&world);
    // The first answer is what is ill; then come the fix and a host that is well.
    let invocation = |line: &str| {
        json!({
            "Status": "Success", "StatusDetails": "Success", "ResponseCode": 0, "StandardOutputContent": line,
            "StandardErrorContent": "",
        })
        .to_string()
    };
    let line = |facts: &Value| json!({ "schema": "dataops-infra/facts/v1", "facts": facts }).to_string();
    for text in [invocation(&line(&ill)), invocation("runner-one\n")] {
        world
            .account
            .rule(Rule::on("ssm:GetCommandInvocation").times(1).answer(&text));
    }
    answers(&world, &facts(&world));
    let mended = doctor(&world, &["--fix", "--yes"]);
    assert_eq!(mended.code, 0, "{mended}");
    let sent = world.account.calls_of("ssm:SendCommand").split_off(before);
    assert_eq!(sent.len(), 3, "look, mend, look again");
    let script = sent[1].parameters["Parameters"]["commands"][0]
        .as_str()
        .expect("a script");
    assert!(script.contains("docker start 'runner-one'"), "{script}");
    assert!(
        script.contains("systemctl enable --now dataops-infra-disk-guard.timer"),
        "{script}"
    );
    let fixes = mended.json["fixes"].as_array().expect("fixes");
    assert_eq!(fixes.len(), 2, "{mended}");
    assert!(fixes.iter().all(|fix| fix["done"] == true));
}

#[test]
fn a_host_that_takes_no_commands_is_unknown_with_what_it_reported() {
    let Some(world) = well() else { return };
    world.account.rule(Rule::on("ssm:SendCommand").refuse(
        400,
        "InvalidInstanceId",
        "Instances not in a valid state for account",
    ));
    let ran = doctor(&world, &[]);
    assert_eq!(ran.code, 4, "{ran}");
    says(&ran, "HOST-REACHABLE", "failed", "agent has not registered");
    let check = says(&ran, "RUNNER-POLLING", "unknown", "its report says online");
    assert!(check.get("remedy").is_none(), "{check}");
    says(&ran, "DEPLOYMENT-STAGE", "ok", "online");
    says(&ran, "ALARM-METRIC", "ok", "arrived");

    world.account.heal();
    old(&world);
    // The bench's own hosts run what they are sent and say nothing.
    let silent = doctor(&world, &[]);
    assert_eq!(silent.code, 5, "{silent}");
    says(&silent, "HOST-REACHABLE", "unknown", "said nothing");
    assert_eq!(silent.json["summary"]["verdict"], "unchecked");
}

#[test]
fn a_host_that_boots_is_no_finding_and_one_that_fails_is() {
    let Some(world) = World::open() else { return };
    world.hosts(Manner::Silent);
    let up = world.up(&["--no-wait"]);
    assert_eq!(up.code, 0, "{up}");
    world.account.rule(Rule::on("ssm:SendCommand").refuse(
        400,
        "InvalidInstanceId",
        "Instances not in a valid state for account",
    ));
    let codes = "DEPLOYMENT-HOST,DEPLOYMENT-STAGE,HOST,RUNNER,LEFTOVER";
    let young = doctor(&world, &["--check", codes]);
    assert_eq!(young.code, 0, "{young}");
    says(&young, "DEPLOYMENT-STAGE", "skipped", "being set up");
    says(&young, "HOST-REACHABLE", "skipped", "agent has not registered");
    says(&young, "RUNNER-CONTAINER", "skipped", "could not be asked");
    old(&world);
    let late = doctor(&world, &["--check", codes]);
    assert_eq!(late.code, 4, "{late}");
    says(&late, "DEPLOYMENT-STAGE", "failed", "is not online");
    world.account.heal();
    world.reboot(Manner::Failed(
        "registered",
        "PANIC: Failed to register the runner. 410 Gone",
    ));
    let failed = doctor(&world, &["--check", codes]);
    assert_eq!(failed.code, 4, "{failed}");
    says(&failed, "DEPLOYMENT-STAGE", "failed", "410 Gone");
}

#[test]
fn alarms_are_looked_at_closely_and_put_back() {
    let Some(world) = made_world() else { return };
    answers(&world, &facts(&world));
    old(&world);
    publish(&world, "disk_used_percent");
    // The agent names the device, as it does unless told otherwise: the alarm sees nothing, for ever.
    let (_, disk) = alarms(&world)
        .into_iter()
        .find(|(name, _)| name.ends_with("disk-space-warning"))
        .expect("an alarm");
    let mut dimensions = disk["Dimensions"].as_array().expect("dimensions").clone();
    dimensions.push(json!({ "Name": "device", "Value": "nvme0n1p1" }));
    let data = json!({
        "Namespace": "CWAgent",
        "MetricData": [{
            "MetricName": "disk_used_percent", "Dimensions": dimensions, "Value": 1.0, "Timestamp": now() - 90,
        }],
    });
    monitoring(&world, "PutMetricData", &data);
    let ringing = format!("dataops-infra/{NAME}/memory");
    let set = json!({ "AlarmName": ringing, "StateValue": "ALARM", "StateReason": "of the test" });
    monitoring(&world, "SetAlarmState", &set);
    let off = format!("dataops-infra/{NAME}/cpu");
    disarm(&world, &off);
    let gone = format!("dataops-infra/{NAME}/disk-inodes");
    monitoring(&world, "DeleteAlarms", &json!({ "AlarmNames": [gone] }));
    let ran = doctor(&world, &["--check", "ALARM"]);
    assert_eq!(ran.code, 4, "{ran}");
    let check = says(
        &ran,
        "ALARM-METRIC",
        "failed",
        "disk-space-warning: CWAgent disk_used_percent [InstanceId=",
    );
    assert!(
        check["evidence"]
            .as_str()
            .is_some_and(|text| text.contains("device=nvme0n1p1")),
        "{check}"
    );
    says(&ran, "ALARM-STATE", "failed", "memory");
    let actions = says(&ran, "ALARM-ACTIONS", "failed", "cpu: its actions are disabled");
    assert_eq!(actions["fix"], "put-alarms");
    says(&ran, "ALARM-PRESENT", "warning", "alarm-disk-inodes is missing");
    says(&ran, "ALARM-TOPIC", "ok", "arn:aws:sns");
    says(&ran, "ALARM-SUBSCRIPTION", "ok", "1 confirmed");
    let mended = doctor(&world, &["--check", "ALARM", "--fix", "--yes"]);
    says(&mended, "ALARM-PRESENT", "ok", "alarms");
    says(&mended, "ALARM-ACTIONS", "ok", "enabled");
    assert_eq!(mended.code, 4, "the metric still does not come: {mended}");
    assert_eq!(mended.json["fixes"][0]["done"], true, "{mended}");
}

#[test]
fn a_topic_that_nobody_hears_is_found() {
    let Some(world) = World::open() else { return };
    let up = world.up(&["--notify", "ops@acme.example"]);
    assert_eq!(up.code, 0, "{up}");
    let ran = doctor(&world, &["--check", "ALARM"]);
    assert_eq!(ran.code, 4, "{ran}");
    says(
        &ran,
        "ALARM-SUBSCRIPTION",
        "failed",
        "ops@acme.example hear nothing until they confirm",
    );
    // A young host has no metrics yet, and no alarm has data.
    says(&ran, "ALARM-METRIC", "skipped", "min ago");
    says(&ran, "ALARM-DATA", "skipped", "");
    let topic = checks(&ran)["ALARM-TOPIC"]["evidence"]
        .as_str()
        .expect("an ARN")
        .to_owned();
    made(&world.direct(), "sns", "DeleteTopic", &[("TopicArn", &topic)]);
    let ran = doctor(&world, &["--check", "ALARM,DEPLOYMENT-DRIFT"]);
    assert_eq!(ran.code, 4, "{ran}");
    says(&ran, "ALARM-TOPIC", "failed", "is not there");
    says(&ran, "ALARM-ACTIONS", "failed", "does not exist");
    says(&ran, "ALARM-SUBSCRIPTION", "skipped", "no topic");
    says(&ran, "DEPLOYMENT-DRIFT", "warning", "topic");
}

#[test]
fn one_call_that_hangs_stops_nothing_else() {
    let Some(world) = well() else { return };
    let late = Duration::from_secs(20);
    world
        .account
        .rule(Rule::on("cloudwatch:DescribeAlarms").delay(late));
    world
        .account
        .rule(Rule::on("servicequotas:GetServiceQuota").delay(late));
    let ran = doctor(&world, &["--timeout", "3"]);
    assert_eq!(ran.code, 5, "{ran}");
    assert!(ran.took < Duration::from_secs(15), "{ran}");
    for code in [
        "ALARM-STATE",
        "ALARM-METRIC",
        "ACCOUNT-QUOTA-VCPUS",
        "DEPLOYMENT-DRIFT",
    ] {
        says(&ran, code, "unknown", "did not answer within 3 s");
    }
    for code in [
        "RUNNER-POLLING",
        "HOST-DISK-SPACE",
        "ACCOUNT-IMAGE",
        "ALARM-TOPIC",
        "DEPLOYMENT-HOST",
    ] {
        says(&ran, code, "ok", "");
    }
    assert_eq!(checks(&ran).len(), of_hosts());
}

#[test]
fn what_may_not_be_read_is_unknown_and_named() {
    let Some(world) = well() else { return };
    world.account.rule(Rule::on("sns:GetTopicAttributes").deny());
    let ran = doctor(&world, &[]);
    assert_eq!(ran.code, 5, "{ran}");
    let check = says(&ran, "ACCOUNT-PERMISSIONS", "failed", "sns:GetTopicAttributes");
    assert_eq!(
        check["remedy"]["command"],
        "dataops-infra export iam-policy --for doctor"
    );
    let seen = checks(&ran);
    let unknown = [
        "ALARM-PRESENT",
        "ALARM-SUBSCRIPTION",
        "ALARM-TOPIC",
        "DEPLOYMENT-DRIFT",
        "DEPLOYMENT-OWNER",
        "LEFTOVER-AWS",
    ];
    assert_eq!(ended(&seen, "unknown"), unknown, "{ran}");
    assert_eq!(ended(&seen, "failed"), ["ACCOUNT-PERMISSIONS"]);
}

#[test]
fn without_credentials_nothing_is_fine() {
    let Some(world) = well() else { return };
    world
        .account
        .rule(Rule::on("*").when(|call| !call.service.is_empty()).refuse(
            403,
            "ExpiredToken",
            "The security token included in the request is expired",
        ));
    let ran = doctor(&world, &[]);
    assert_eq!(ran.code, 5, "{ran}");
    let check = says(&ran, "MACHINE-CREDENTIALS", "failed", "expired");
    assert!(
        check["remedy"]["command"]
            .as_str()
            .is_some_and(|command| command.contains("sso login"))
    );
    says(&ran, "MACHINE-CLOCK", "ok", "AWS");
    let seen = checks(&ran);
    assert_eq!(seen.len(), of_hosts());
    assert_eq!(
        ended(&seen, "ok"),
        ["MACHINE-CLOCK", "MACHINE-NETWORK", "MACHINE-TOOLS"],
        "{ran}"
    );
    assert_eq!(ended(&seen, "skipped"), [""; 0]);
}

#[test]
fn without_a_network_nothing_is_fine() {
    let Some(world) = World::open() else { return };
    let mut command = world.command(&["doctor"], &["--timeout", "5"]);
    command.env("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    let ran = world.start(command).ended();
    assert_eq!(ran.code, 5, "{ran}");
    says(&ran, "MACHINE-NETWORK", "failed", "127.0.0.1:9");
    says(&ran, "MACHINE-CLOCK", "unknown", "tells no time");
    says(&ran, "DEPLOYMENT-RECORD", "unknown", "does not answer");
    assert_eq!(checks(&ran).len(), of_hosts());
}

#[test]
fn ctrl_c_ends_with_what_is_known() {
    let Some(world) = well() else { return };
    let late = Duration::from_secs(20);
    world.account.rule(Rule::on("ssm:SendCommand").delay(late));
    let running = world.start(world.command(&["doctor"], &[]));
    world.until("ssm:SendCommand", 1);
    world.until("sns:GetTopicAttributes", 1);
    std::thread::sleep(Duration::from_millis(1500));
    running.signal("INT");
    let ran = running.ended();
    assert_eq!(ran.code, 5, "{ran}");
    assert!(ran.took < Duration::from_secs(15), "{ran}");
    assert_eq!(checks(&ran).len(), of_hosts());
    says(&ran, "HOST-MEMORY", "unknown", "stopped before it was answered");
    says(&ran, "ALARM-TOPIC", "ok", "arn:");
}

#[test]
fn what_is_there_without_a_record_is_told() {
    let Some(world) = well() else { return };
    let parameter = json!({ "Name": format!("/dataops-infra/{NAME}/deployment") });
    made_json(&world.direct(), "ssm", "AmazonSSM.DeleteParameter", &parameter);
    let from = mark(&world);
    let ran = doctor(&world, &[]);
    assert_eq!(ran.code, 4, "{ran}");
    says(&ran, "DEPLOYMENT-RECORD", "skipped", "no deployment");
    says(&ran, "LEFTOVER-AWS", "warning", "instance i-");
    nothing_changed_but_asked(&world, from);
}

#[test]
fn drift_and_a_stopped_host_are_found() {
    let Some(world) = well() else { return };
    let id = world.launched()[0].0.clone();
    made(&world.direct(), "ec2", "StopInstances", &[("InstanceId.1", &id)]);
    let ran = doctor(&world, &[]);
    assert_eq!(ran.code, 4, "{ran}");
    says(&ran, "DEPLOYMENT-HOST", "failed", "is stopped");
    says(
        &ran,
        "DEPLOYMENT-DRIFT",
        "warning",
        "State: stopped instead of running",
    );
    says(&ran, "RUNNER-CONTAINER", "skipped", "the host is stopped");
    assert!(
        world.account.calls_of("ssm:SendCommand").is_empty(),
        "nobody is there to be asked"
    );
}

#[test]
fn each_host_has_checks_of_its_own() {
    let Some(world) = World::open() else { return };
    let up = world.up(&["--count", "2"]);
    assert_eq!(up.code, 0, "{up}");
    answers(&world, &facts(&world));
    let ran = doctor(
        &world,
        &["--check", "DEPLOYMENT-HOST,RUNNER-CONTAINER,DEPLOYMENT-RECORD"],
    );
    assert_eq!(ran.code, 0, "{ran}");
    let rows = ran.json["checks"].as_array().expect("checks");
    let seen: Vec<(&str, Option<&str>)> = rows
        .iter()
        .map(|row| (row["code"].as_str().expect("a code"), row["host"].as_str()))
        .collect();
    let should = [
        ("DEPLOYMENT-RECORD", None),
        ("DEPLOYMENT-HOST", Some("host-1")),
        ("DEPLOYMENT-HOST", Some("host-2")),
        ("RUNNER-CONTAINER", Some("host-1")),
        ("RUNNER-CONTAINER", Some("host-2")),
    ];
    assert_eq!(seen, should, "{ran}");
    assert_eq!(world.account.calls_of("ssm:SendCommand").len(), 2);
}
