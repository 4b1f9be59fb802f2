//! Work on hosts that are there, as far as AWS sees it: the record, the calls, what is said. What the scripts do is in
//! `tests/suite/lifecycle.rs`; here a host answers as its script would.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dataops_infra::domain::export::iam::{Command as Of, actions};
use serde_json::{Value, json};

use super::world::{NAME, REGION, Ran, World};
use crate::bench::call::Call;
use crate::bench::rule::Rule;

/// What hosts were asked to do, in order.
type Asked = Arc<Mutex<Vec<String>>>;

fn script(call: &Call) -> String {
    let commands = &call.parameters["Parameters"]["commands"];
    commands[0].as_str().unwrap_or_default().to_owned()
}

/// Returns what a script is to do.
fn work(script: &str) -> String {
    let rest = script.split("\"do\":\"").nth(1).unwrap_or_default();
    rest.split('"').next().unwrap_or_default().to_owned()
}

/// Lets hosts answer scripts from now on.
fn answering(world: &World, answer: impl Fn(&str) -> Value + Send + Sync + 'static) -> Asked {
    let asked: Asked = Arc::default();
    let hears = Arc::clone(&asked);
    world
        .account
        .rule(Rule::on("ssm:SendCommand").and_then(move |call| {
            hears.lock().expect("sound").push(work(&script(call)));
        }));
    let says = Arc::clone(&asked);
    world
        .account
        .rule(Rule::on("ssm:GetCommandInvocation").rewrite(move |text| {
            let mut invocation: Value = serde_json::from_str(&text).expect("JSON");
            let last = says.lock().expect("sound").last().cloned().unwrap_or_default();
            let mut said = answer(&last);
            said["did"] = last.into();
            invocation["StandardOutputContent"] = format!("noise\n{said}\n").into();
            invocation.to_string()
        }));
    asked
}

/// Answers of a host that can do everything.
fn able(work: &str) -> Value {
    match work {
        "look" => {
            json!({"ok": true, "runner": "running", "image": "dataopslive/dataops-runner:latest", "next": "absent"})
        }
        "stop" => json!({"ok": true, "was": "running", "runner": "stopped", "drained": true}),
        "try" => json!({"ok": true, "nothing": false, "runner": "running", "next": "running"}),
        "finish" => json!({"ok": true, "nothing": false, "runner": "running", "unregistered": "manager"}),
        "grow" => json!({"ok": true, "before": 290.0, "after": 387.0, "disk": 400.0}),
        _ => json!({"ok": true, "was": "stopped", "runner": "running"}),
    }
}

fn opened() -> Option<World> {
    let world = World::open()?;
    let up = world.up(&[]);
    assert_eq!(up.code, 0, "{up}");
    Some(world)
}

fn ran(world: &World, words: &[&str], args: &[&str]) -> Ran {
    world.start(world.command(words, args)).ended()
}

/// Returns the record.
fn record(world: &World) -> Value {
    let name = format!("/dataops-infra/{NAME}/deployment");
    let (status, answer) = world
        .direct()
        .json("ssm", "AmazonSSM.GetParameter", &json!({ "Name": name }));
    assert_eq!(status, 200, "{answer}");
    let text = answer["Parameter"]["Value"].as_str().expect("a text");
    serde_json::from_str(text).expect("JSON")
}

fn list(asked: &Asked) -> Vec<String> {
    asked.lock().expect("sound").clone()
}

#[test]
fn a_runner_is_stopped_and_started_by_run_command() {
    let Some(world) = opened() else { return };
    let asked = answering(&world, able);
    let unasked = ran(&world, &["runner", "stop"], &[]);
    assert_eq!(unasked.code, 3, "{unasked}");
    assert!(list(&asked).is_empty(), "nothing without --yes");
    let stop = ran(&world, &["runner", "stop"], &["--yes", "--timeout", "5"]);
    assert_eq!(
        (stop.code, &stop.json["status"]),
        (0, &json!("stopped")),
        "{stop}"
    );
    assert_eq!(stop.json["schema"], "dataops-infra/runner/v1");
    assert_eq!(stop.json["hosts"][0]["drained"], true);
    let start = ran(&world, &["runner", "start"], &[]);
    assert_eq!(
        (start.code, &start.json["status"]),
        (0, &json!("running")),
        "{start}"
    );
    let logs = ran(&world, &["runner", "logs"], &["--tail", "5", "--since", "10m"]);
    assert_eq!(
        (logs.code, &logs.json["hosts"][0]["log"]),
        (0, &json!(["noise"])),
        "{logs}"
    );
    assert_eq!(list(&asked), ["stop", "start", "logs"]);
    for wrong in [&["--since", "-x; ls"][..], &["--tail", "0"]] {
        assert_eq!(ran(&world, &["runner", "logs"], wrong).code, 2);
    }
    let none = ran(&world, &["runner", "start"], &["--name", "another-one"]);
    assert_eq!(none.code, 3, "{none}");
}

#[test]
fn a_host_that_does_not_do_it_is_told() {
    let Some(world) = opened() else { return };
    answering(
        &world,
        |_| json!({"ok": false, "stage": "drain", "detail": "jobs still run after 60 s", "runner": "running"}),
    );
    let busy = ran(&world, &["runner", "restart"], &["--yes"]);
    assert_eq!((busy.code, &busy.json["status"]), (1, &json!("failed")), "{busy}");
    assert!(
        busy.stderr.contains("jobs still run") && busy.stderr.contains("--now"),
        "{busy}"
    );
}

#[test]
fn an_agent_that_is_silent_is_told_before_the_time_is_over() {
    let Some(world) = opened() else { return };
    world
        .account
        .rule(Rule::on("ssm:GetCommandInvocation").rewrite(|text| {
            let mut invocation: Value = serde_json::from_str(&text).expect("JSON");
            invocation["Status"] = "Pending".into();
            invocation["StatusDetails"] = "Pending".into();
            invocation.to_string()
        }));
    world.account.rule(
        Rule::on("ssm:DescribeInstanceInformation")
            .rewrite(|text| text.replace("\"Online\"", "\"ConnectionLost\"")),
    );
    let silent = ran(&world, &["runner", "start"], &[]);
    assert_eq!(silent.code, 1, "{silent}");
    assert!(silent.stderr.contains("does not answer"), "{silent}");
    assert!(silent.took < Duration::from_mins(1));
    assert_eq!(
        world.account.calls_of("ssm:CancelCommand").len(),
        1,
        "or it would run later"
    );
}

#[test]
fn an_upgrade_writes_the_record_first_and_last() {
    let Some(world) = opened() else { return };
    let asked = answering(&world, able);
    let upgrade = ["--runner-version", "latest-next", "--yes"];
    let before = record(&world);
    assert_eq!(before["spec"]["channel"], "latest");
    let trial = ran(&world, &["upgrade"], &[&upgrade[..], &["--trial"]].concat());
    assert_eq!(
        (trial.code, &trial.json["status"]),
        (0, &json!("on-trial")),
        "{trial}"
    );
    let pending = record(&world);
    assert_eq!(
        pending["pending"]["image"],
        "dataopslive/dataops-runner:latest-next"
    );
    assert_eq!(pending["spec"], before["spec"]);
    let status = world.status(&[]);
    assert_eq!(
        (status.code, &status.json["status"]),
        (4, &json!("unfinished")),
        "{status}"
    );

    let done = ran(&world, &["upgrade"], &upgrade);
    assert_eq!(
        (done.code, &done.json["status"]),
        (0, &json!("upgraded")),
        "{done}"
    );
    assert_eq!(done.json["hosts"][0]["unregistered"], "manager");
    assert_eq!(list(&asked), ["look", "try", "look", "try", "finish"]);
    let after = record(&world);
    assert_eq!(
        (&after["spec"]["channel"], &after["pending"]),
        (&json!("latest-next"), &Value::Null)
    );
    let up = world.up(&[]);
    assert_eq!(
        (up.code, &up.json["status"]),
        (0, &json!("unchanged")),
        "no drift: {up}"
    );
    let other = world.up(&["--channel", "latest"]);
    assert_eq!(other.code, 3, "{other}");
    assert!(other.stderr.contains("upgrade --name"), "{other}");
    assert_eq!(world.launched().len(), 1);
    assert_eq!(
        ran(&world, &["upgrade"], &["--runner-version", "a b", "--yes"]).code,
        2
    );
    assert_eq!(ran(&world, &["upgrade"], &["--yes"]).code, 2);
}

#[test]
fn a_second_runner_that_is_no_good_changes_nothing() {
    let Some(world) = opened() else { return };
    let before = record(&world);
    let asked = answering(&world, |work| match work {
        "try" => {
            json!({"ok": false, "stage": "poll", "detail": "the runner does not poll", "rolled_back": true})
        }
        other => able(other),
    });
    let bad = ran(&world, &["upgrade"], &["--runner-version", "broken", "--yes"]);
    assert_eq!(
        (bad.code, &bad.json["status"]),
        (1, &json!("rolled-back")),
        "{bad}"
    );
    assert!(bad.stderr.contains("does not poll"), "{bad}");
    assert_eq!(record(&world), before);
    assert_eq!(list(&asked), ["look", "try"]);
}

#[test]
fn an_upgrade_that_is_not_finished_is_taken_back_or_in_the_way() {
    let Some(world) = opened() else { return };
    let before = record(&world);
    answering(&world, |work| match work {
        "look" => json!({"ok": true, "runner": "running", "next": "running",
            "upgrade": {"image": "dataopslive/dataops-runner:other", "why": "upgrade"}}),
        other => able(other),
    });
    let other = ran(
        &world,
        &["upgrade"],
        &["--runner-version", "latest-next", "--yes"],
    );
    assert_eq!(other.code, 3, "{other}");
    assert!(other.stderr.contains("--rollback"), "{other}");
    let back = ran(&world, &["upgrade"], &["--rollback", "--yes"]);
    assert_eq!(
        (back.code, &back.json["status"]),
        (0, &json!("rolled-back")),
        "{back}"
    );
    assert_eq!(record(&world), before);
}

#[test]
fn of_two_that_change_the_record_at_once_one_is_told() {
    let Some(world) = opened() else { return };
    let direct = world.direct();
    let meanwhile = record(&world).to_string();
    let name = format!("/dataops-infra/{NAME}/deployment");
    // Another run writes the record after this one has read it.
    world
        .account
        .rule(Rule::on("ssm:SendCommand").times(1).and_then(move |_| {
            let put = json!({"Name": name, "Value": meanwhile, "Type": "String", "Overwrite": true});
            let (status, answer) = direct.json("ssm", "AmazonSSM.PutParameter", &put);
            assert_eq!(status, 200, "{answer}");
        }));
    let asked = answering(&world, able);
    let lost = ran(
        &world,
        &["upgrade"],
        &["--runner-version", "latest-next", "--yes"],
    );
    assert_eq!(lost.code, 1, "{lost}");
    assert!(lost.stderr.contains("another run"), "{lost}");
    assert!(list(&asked).is_empty(), "nothing is begun on the host");
}

#[test]
fn an_upgrade_that_is_killed_is_finished_by_the_next() {
    for (call, nth) in [
        ("ssm:PutParameter", 0),
        ("ssm:SendCommand", 1),
        ("ssm:SendCommand", 2),
        ("ssm:PutParameter", 1),
    ] {
        let Some(world) = opened() else { return };
        let upgrade = ["--runner-version", "latest-next", "--yes"];
        world.killed(
            world.command(&["upgrade"], &upgrade),
            Rule::on(call).skip(nth).times(1),
        );
        answering(&world, able);
        let again = ran(&world, &["upgrade"], &upgrade);
        assert_eq!(again.code, 0, "{call} {nth}: {again}");
        let after = record(&world);
        assert_eq!(
            (&after["spec"]["channel"], &after["pending"]),
            (&json!("latest-next"), &Value::Null),
            "{call} {nth}"
        );
    }
}

#[test]
fn another_token_is_stored_and_then_used() {
    let Some(world) = opened() else { return };
    let asked = answering(&world, able);
    let none = ran(&world, &["rotate-token"], &["--yes"]);
    assert_eq!(none.code, 2, "{none}");
    std::fs::write(world.folder().join("other"), "another-token-of-the-bench").expect("a file");
    let rotated = ran(&world, &["rotate-token"], &["--token-file", "other", "--yes"]);
    assert_eq!(
        (rotated.code, &rotated.json["status"]),
        (0, &json!("rotated")),
        "{rotated}"
    );
    assert_eq!(list(&asked), ["look", "try", "finish"]);
    let get = json!({"Name": format!("/dataops-infra/{NAME}/token"), "WithDecryption": true});
    let (_, token) = world.direct().json("ssm", "AmazonSSM.GetParameter", &get);
    assert_eq!(token["Parameter"]["Value"], "another-token-of-the-bench");
    let log = format!("{rotated}");
    assert!(!log.contains("another-token-of-the-bench"));
    for call in world.account.calls_of("ssm:SendCommand") {
        assert!(!call.parameters.to_string().contains("token-of-the-bench"));
    }
    assert_eq!(world.up(&["--token-file", "other"]).json["status"], "unchanged");
}

#[test]
fn another_number_of_jobs_reaches_a_running_host() {
    let Some(world) = opened() else { return };
    let asked = answering(&world, able);
    let jobs = world.command(&["up", "ec2"], &["--concurrency", "9", "--yes"]);
    let up = world.start(jobs).ended();
    assert_eq!(up.code, 0, "{up}");
    assert_eq!(list(&asked), ["settings"]);
    assert_eq!(record(&world)["spec"]["concurrency"], 9);
    assert_eq!(record(&world)["spec"]["instance_type"], "c5.large");
    assert_eq!(world.launched().len(), 1);
    let sent = world.account.calls_of("ssm:SendCommand");
    assert!(script(&sent[0]).contains("\"concurrent\":9"));
    let again = world
        .start(world.command(&["up", "ec2"], &["--concurrency", "9", "--yes"]))
        .ended();
    assert_eq!(
        (again.code, &again.json["status"]),
        (0, &json!("unchanged")),
        "{again}"
    );

    // A host that says another number is set right, whatever the record says.
    let name = format!("/dataops-infra/{NAME}/host");
    let get = json!({ "Name": name });
    let (_, report) = world.direct().json("ssm", "AmazonSSM.GetParameter", &get);
    let text = report["Parameter"]["Value"].as_str().expect("a text");
    let mut report: Value = serde_json::from_str(text).expect("JSON");
    report["concurrent"] = 4.into();
    let put = json!({"Name": name, "Value": report.to_string(), "Type": "String", "Overwrite": true});
    world.direct().json("ssm", "AmazonSSM.PutParameter", &put);
    let status = world.status(&[]);
    assert_eq!(
        (status.code, &status.json["drift"][0]["field"]),
        (4, &json!("concurrent")),
        "{status}"
    );
    let mended = world.start(world.command(&["up", "ec2"], &["--yes"])).ended();
    assert_eq!(mended.code, 0, "{mended}");
    assert_eq!(list(&asked), ["settings", "settings"]);
}

/// Plays what AWS does to a volume: moto knows no `ModifyVolume` states.
fn instance(world: &World) -> Value {
    let launched = world.launched();
    let asked = [("InstanceId.1", launched[0].0.as_str())];
    let (_, text) = world.direct().query("ec2", "DescribeInstances", &asked);
    super::host::instances(&text).pop().expect("an instance")
}

#[test]
fn another_type_goes_by_a_stop() {
    let Some(world) = opened() else { return };
    let asked = answering(&world, able);
    let resize = ["--instance-type", "c5.xlarge", "--yes"];
    let done = ran(&world, &["resize"], &resize);
    assert_eq!(
        (done.code, &done.json["status"]),
        (0, &json!("resized")),
        "{done}"
    );
    assert_eq!(list(&asked), ["stop", "start"]);
    assert_eq!(instance(&world)["instanceType"], "c5.xlarge");
    assert_eq!(instance(&world)["instanceState"]["name"], "running");
    assert_eq!(world.launched().len(), 1, "it is the same host");
    let again = ran(&world, &["resize"], &resize);
    assert_eq!(
        (again.code, &again.json["status"]),
        (0, &json!("unchanged")),
        "{again}"
    );
    let status = world.status(&[]);
    assert_eq!(status.code, 0, "{status}");
    let up = world.up(&["--instance-type", "c5.2xlarge"]);
    assert_eq!(up.code, 3, "{up}");
    assert!(up.stderr.contains("resize --name"), "{up}");
    let none = ran(&world, &["resize"], &["--instance-type", "x9.none", "--yes"]);
    assert_ne!(none.code, 0, "{none}");
    assert_eq!(
        instance(&world)["instanceState"]["name"],
        "running",
        "nothing was stopped"
    );
}

#[test]
fn alarms_follow_the_size() {
    let Some(world) = opened() else { return };
    answering(&world, able);
    let alarms = || {
        let (_, text) = world.direct().query("monitoring", "DescribeAlarms", &[]);
        let seen = text.contains("/burst-surplus</AlarmName>");
        (seen, text)
    };
    assert!(!alarms().0);
    let burstable = ran(
        &world,
        &["resize"],
        &["--type", "t3a.large", "--disk", "400", "--yes"],
    );
    assert_eq!(burstable.code, 0, "{burstable}");
    assert!(burstable.stdout.contains("hold for any size"), "{burstable}");
    let (seen, text) = alarms();
    assert!(seen, "a burstable type has an alarm of its own: {text}");
    assert!(
        text.contains("the last 10 % are 40 GiB") && !text.contains("30 GiB"),
        "{text}"
    );
    assert_eq!(record(&world)["spec"]["alarms"]["days_to_full"], 0);
    let status = world.status(&[]);
    assert_eq!(status.code, 0, "no drift: {status}");
    let back = ran(&world, &["resize"], &["--type", "c5.large", "--yes"]);
    assert_eq!(back.code, 0, "{back}");
    assert!(!alarms().0, "it is of no use any more");
}

#[test]
fn a_resize_that_is_killed_anywhere_is_finished_by_the_next() {
    let calls = [
        "ssm:PutParameter",
        "ssm:SendCommand",
        "ec2:StopInstances",
        "ec2:ModifyInstanceAttribute",
        "ec2:StartInstances",
    ];
    for call in calls {
        let Some(world) = opened() else { return };
        answering(&world, able);
        let resize = ["--type", "c5.xlarge", "--yes"];
        world.killed(world.command(&["resize"], &resize), Rule::on(call).times(1));
        let again = ran(&world, &["resize"], &["--yes"]);
        let first = call == "ssm:PutParameter";
        assert_eq!(again.code, 0, "{call}: {again}");
        assert_eq!(instance(&world)["instanceType"], "c5.xlarge", "{call}, {first}");
        assert_eq!(instance(&world)["instanceState"]["name"], "running", "{call}");
    }
}

#[test]
fn a_disk_grows_and_never_shrinks() {
    let Some(world) = opened() else { return };
    let asked = answering(&world, able);
    let smaller = ran(&world, &["resize"], &["--disk-gib", "200", "--yes"]);
    assert_eq!(smaller.code, 3, "{smaller}");
    assert!(smaller.stderr.contains("cannot shrink"), "{smaller}");
    world.account.rule(Rule::on("ec2:DescribeVolumesModifications").answer(
        "<DescribeVolumesModificationsResponse><volumeModificationSet><item><modificationState>optimizing</modificationState>\
         <progress>7</progress></item></volumeModificationSet></DescribeVolumesModificationsResponse>",
    ));
    let grown = ran(&world, &["resize"], &["--disk-gib", "400", "--yes"]);
    assert_eq!(
        (grown.code, &grown.json["status"]),
        (0, &json!("resized")),
        "{grown}"
    );
    assert_eq!(list(&asked), ["grow"]);
    assert!(grown.stdout.contains("387"), "{grown}");
    assert_eq!(
        world.account.calls_of("ec2:StopInstances").len(),
        0,
        "while it is in use"
    );
    let status = world.status(&[]);
    assert_eq!(status.code, 0, "{status}");
    world.account.rule(Rule::on("ec2:ModifyVolume").refuse(
        400,
        "VolumeModificationRateExceeded",
        "You've reached the maximum modification rate",
    ));
    let soon = ran(&world, &["resize"], &["--disk-gib", "500", "--yes"]);
    assert_eq!(soon.code, 1, "{soon}");
    assert!(soon.stderr.contains("six hours"), "{soon}");
}

#[test]
fn the_policies_hold_what_is_called() {
    let Some(world) = opened() else { return };
    answering(&world, able);
    world.account.rule(Rule::on("ec2:DescribeVolumesModifications").answer(
        "<DescribeVolumesModificationsResponse><volumeModificationSet/></DescribeVolumesModificationsResponse>",
    ));
    std::fs::write(world.folder().join("other"), "another-token-of-the-bench").expect("a file");
    // What resizing twice within six hours is refused for is its volume; the second changes the type alone.
    let commands: [(Of, &[&str], &[&str]); 6] = [
        (Of::Runner, &["runner", "restart"], &["--yes"]),
        (Of::Runner, &["runner", "logs"], &[]),
        (Of::Upgrade, &["upgrade"], &["--runner-version", "x", "--yes"]),
        (
            Of::RotateToken,
            &["rotate-token"],
            &["--token-file", "other", "--yes"],
        ),
        (
            Of::Resize,
            &["resize"],
            &["--type", "t3a.large", "--disk", "400", "--yes"],
        ),
        (Of::Resize, &["resize"], &["--type", "c5.xlarge", "--yes"]),
    ];
    for (of, words, args) in commands {
        let from = super::witness::mark(&world);
        let ran = ran(&world, words, args);
        assert_eq!(ran.code, 0, "{words:?} in {REGION}: {ran}");
        let called: BTreeSet<String> = super::witness::since(&world, from)
            .iter()
            .map(Call::name)
            .collect();
        let allowed = actions(of);
        let missing: Vec<_> = called
            .iter()
            .filter(|call| !allowed.contains(call.as_str()))
            .collect();
        assert!(missing.is_empty(), "{words:?} is not allowed {missing:?}");
    }
}
