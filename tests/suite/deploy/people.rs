//! People: who interrupt, who start a second run, and who delete things by hand.

use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::json;

use super::faults::{as_asked, complete, fails_honestly, goes, nothing_left};
use super::host::Manner;
use super::sweep::honest;
use super::world::World;
use crate::bench::account::Direct;
use crate::bench::rule::Rule;

#[test]
fn interrupted_while_waiting_it_goes_on_later() {
    for signal in ["INT", "TERM"] {
        let Some(world) = World::open() else { return };
        world.hosts(Manner::Silent);
        let running = world.start(world.up_command(&[]));
        world.until("ec2:RunInstances", 2);
        world.until("ec2:DescribeInstances", 3);
        running.signal(signal);
        let asked = std::time::Instant::now();
        let ran = running.ended();
        assert!(asked.elapsed() < Duration::from_secs(5), "{ran}");
        fails_honestly(&ran);
        assert!(ran.stderr.contains("interrupted"), "{ran}");
        world.reboot(Manner::Online);
        as_asked(&world.up(&[]));
        complete(&world);
        goes(&world);
    }
}

#[test]
fn interrupted_while_making_it_goes_on_later() {
    for signal in ["INT", "TERM"] {
        for at in ["ssm:PutParameter", "iam:CreateRole", "logs:PutRetentionPolicy"] {
            let Some(world) = World::open() else { return };
            // The launch comes after the second, so that it cannot have begun before the signal.
            for late in [at, "iam:AddRoleToInstanceProfile"] {
                world
                    .account
                    .rule(Rule::on(late).times(1).delay(Duration::from_millis(1500)));
            }
            let running = world.start(world.up_command(&[]));
            world.until(at, 1);
            running.signal(signal);
            let ran = running.ended();
            world.account.heal();
            fails_honestly(&ran);
            assert!(ran.stderr.contains("interrupted"), "{ran}");
            assert!(world.launched().is_empty(), "nothing is begun any more: {ran}");
            as_asked(&world.up(&[]));
            complete(&world);
            goes(&world);
        }
    }
}

#[test]
fn down_interrupted_goes_on_later() {
    for signal in ["INT", "TERM"] {
        let Some(world) = World::open() else { return };
        as_asked(&world.up(&[]));
        world.account.rule(
            Rule::on("ec2:TerminateInstances")
                .times(1)
                .delay(Duration::from_millis(1500)),
        );
        let running = world.start(world.down_command(&[]));
        world.until("ec2:TerminateInstances", 1);
        running.signal(signal);
        fails_honestly(&running.ended());
        goes(&world);
    }
}

#[test]
fn two_ups_at_the_same_moment_make_one_deployment() {
    for round in 0..4 {
        let Some(world) = World::open() else { return };
        if round > 1 {
            // Both have looked before either has written.
            let late = Rule::on("ssm:PutParameter").times(2);
            world.account.rule(late.delay(Duration::from_millis(300)));
        }
        let first = world.start(world.up_command(&[]));
        let second = world.start(world.up_command(&[]));
        let (first, second) = (first.ended(), second.ended());
        for ran in [&first, &second] {
            honest(ran).unwrap_or_else(|why| panic!("{why}"));
        }
        assert!(first.code == 0 || second.code == 0, "{first}\n{second}");
        as_asked(&world.up(&[]));
        complete(&world);
        assert_eq!(world.launched().len(), 1);
        goes(&world);
    }
}

#[test]
fn two_downs_at_the_same_moment_leave_nothing() {
    for _ in 0..3 {
        let Some(world) = World::open() else { return };
        as_asked(&world.up(&[]));
        let first = world.start(world.down_command(&[]));
        let second = world.start(world.down_command(&[]));
        for ran in [first.ended(), second.ended()] {
            honest(&ran).unwrap_or_else(|why| panic!("{why}"));
        }
        goes(&world);
    }
}

#[test]
fn no_up_goes_on_while_down_removes() {
    let Some(world) = World::open() else { return };
    as_asked(&world.up(&[]));
    let (say, heard) = channel();
    world.account.rule(
        Rule::on("ssm:SendCommand")
            .times(1)
            .delay(Duration::from_secs(1))
            .and_then(move |_| {
                let _ = say.send(());
            }),
    );
    let down = world.start(world.down_command(&[]));
    world.until("ssm:SendCommand", 1);
    let up = world.up(&[]);
    assert_eq!(up.code, 3, "{up}");
    assert!(up.stderr.contains("is being removed"), "{up}");
    let _ = heard.recv_timeout(Duration::from_secs(10));
    as_asked(&down.ended());
    nothing_left(&world);
    as_asked(&world.up(&[]));
    complete(&world);
    goes(&world);
}

#[test]
fn an_up_that_waits_hears_of_down() {
    let Some(world) = World::open() else { return };
    world.hosts(Manner::Silent);
    let up = world.start(world.up_command(&[]));
    world.until("ec2:RunInstances", 2);
    world.until("ec2:DescribeInstances", 3);
    as_asked(&world.down(&[]));
    fails_honestly(&up.ended());
    goes(&world);
}

#[test]
fn an_up_that_makes_things_hears_of_down() {
    // The call arrives when `down` has looked, and what hangs on it is made when `down` has ended.
    for at in ["sns:CreateTopic", "cloudwatch:PutDashboard"] {
        let Some(world) = World::open() else { return };
        world
            .account
            .rule(Rule::on(at).times(1).delay(Duration::from_secs(3)));
        let up = world.start(world.up_command(&[]));
        world.until(at, 1);
        let down = world.down(&[]);
        as_asked(&down);
        let up = up.ended();
        fails_honestly(&up);
        assert!(up.took < Duration::from_secs(30), "{at}: {up}");
        // What it made after `down` had looked is removed by the command that it names.
        let generation = up.json["generation"].as_str().unwrap_or_default().to_owned();
        let rest = world.down(&["--generation", &generation]);
        as_asked(&rest);
        nothing_left(&world);
    }
}

/// Something that a person deletes by hand.
type Deed = (&'static str, fn(&Direct));

fn query(direct: &Direct, service: &str, operation: &str, parameters: &[(&str, &str)]) {
    let (status, text) = direct.query(service, operation, parameters);
    assert_eq!(status, 200, "{operation}: {text}");
}

fn json(direct: &Direct, service: &str, target: &str, parameters: &serde_json::Value) {
    let (status, answer) = direct.json(service, target, parameters);
    assert_eq!(status, 200, "{target}: {answer}");
}

const ROLE: &str = "dataops-runner-one-eu-west-2";

/// Each thing that can be deleted while the host runs.
const DEEDS: &[Deed] = &[
    ("policy", |direct| {
        let policy = [("RoleName", ROLE), ("PolicyName", "host")];
        query(direct, "iam", "DeleteRolePolicy", &policy);
    }),
    ("role of the profile", |direct| {
        let role = [("InstanceProfileName", ROLE), ("RoleName", ROLE)];
        query(direct, "iam", "RemoveRoleFromInstanceProfile", &role);
    }),
    ("role", |direct| {
        let role = [("InstanceProfileName", ROLE), ("RoleName", ROLE)];
        query(direct, "iam", "RemoveRoleFromInstanceProfile", &role);
        let policy = [("RoleName", ROLE), ("PolicyName", "host")];
        query(direct, "iam", "DeleteRolePolicy", &policy);
        query(direct, "iam", "DeleteRole", &[("RoleName", ROLE)]);
    }),
    ("profile", |direct| {
        let role = [("InstanceProfileName", ROLE), ("RoleName", ROLE)];
        query(direct, "iam", "RemoveRoleFromInstanceProfile", &role);
        let profile = [("InstanceProfileName", ROLE)];
        query(direct, "iam", "DeleteInstanceProfile", &profile);
    }),
    ("token", |direct| {
        let name = json!({"Name": "/dataops-infra/runner-one/token"});
        json(direct, "ssm", "AmazonSSM.DeleteParameter", &name);
    }),
    ("logs", |direct| {
        let name = json!({"logGroupName": "/dataops-infra/runner-one"});
        json(direct, "logs", "Logs_20140328.DeleteLogGroup", &name);
    }),
    ("topic", |direct| {
        let arn = format!(
            "arn:aws:sns:eu-west-2:{}:dataops-infra-runner-one",
            direct.account_id()
        );
        query(direct, "sns", "DeleteTopic", &[("TopicArn", &arn)]);
    }),
    ("alarm", |direct| {
        let alarm = [("AlarmNames.member.1", "dataops-infra/runner-one/memory")];
        query(direct, "monitoring", "DeleteAlarms", &alarm);
    }),
    ("dashboard", |direct| {
        let name = [("DashboardNames.member.1", "dataops-infra-runner-one-eu-west-2")];
        query(direct, "monitoring", "DeleteDashboards", &name);
    }),
    ("tag", |direct| {
        let tag = json!({"ResourceType": "Parameter", "ResourceId": "/dataops-infra/runner-one/host",
            "TagKeys": ["Name"]});
        json(direct, "ssm", "AmazonSSM.RemoveTagsFromResource", &tag);
    }),
];

#[test]
fn what_a_person_deleted_is_made_again() {
    let Some(world) = World::open() else { return };
    as_asked(&world.up(&[]));
    for (what, deed) in DEEDS {
        deed(&world.direct());
        let up = world.up(&[]);
        assert_eq!(up.code, 0, "{what}: {up}");
        complete(&world);
        assert_eq!(world.launched().len(), 1, "{what}");
    }
    goes(&world);
}

#[test]
fn what_a_person_deleted_is_not_missed() {
    for (_, deed) in DEEDS {
        let Some(world) = World::open() else { return };
        as_asked(&world.up(&[]));
        deed(&world.direct());
        goes(&world);
    }
}

#[test]
fn what_a_person_deletes_while_down_runs_is_not_missed() {
    for (what, deed) in DEEDS {
        let Some(world) = World::open() else { return };
        as_asked(&world.up(&[]));
        let direct = world.direct();
        let deed = *deed;
        // Everything has been looked at; nothing has been removed.
        world.account.rule(
            Rule::on("ssm:PutParameter")
                .times(1)
                .and_then(move |_| deed(&direct)),
        );
        let down = world.down(&[]);
        assert_eq!(down.code, 0, "{what}: {down}");
        nothing_left(&world);
    }
}

#[test]
fn the_report_that_a_person_deleted_is_waited_for_again() {
    let Some(world) = World::open() else { return };
    as_asked(&world.up(&[]));
    let name = json!({"Name": "/dataops-infra/runner-one/host"});
    json(&world.direct(), "ssm", "AmazonSSM.DeleteParameter", &name);
    // The host spoke once, when it booted; it does not speak again by itself.
    as_asked(&world.up(&["--no-wait"]));
    world.reboot(Manner::Online);
    as_asked(&world.up(&[]));
    complete(&world);
    goes(&world);
}

#[test]
fn without_its_record_nothing_is_touched_until_a_person_says_so() {
    let Some(world) = World::open() else { return };
    let up = world.up(&[]);
    as_asked(&up);
    let name = json!({"Name": "/dataops-infra/runner-one/deployment"});
    json(&world.direct(), "ssm", "AmazonSSM.DeleteParameter", &name);
    let left = world.inventory();
    for ran in [world.up(&[]), world.down(&[])] {
        assert_eq!(ran.code, 3, "{ran}");
        assert_eq!(world.inventory(), left);
    }
    let generation = up.json["generation"].as_str().unwrap_or_default();
    as_asked(&world.down(&["--generation", generation]));
    nothing_left(&world);
}

/// Terminates a host; moto refuses that once where the instance has just become a running one.
fn terminate(direct: &Direct, id: &str) {
    let asked = [("InstanceId.1", id)];
    let done = (0..5).any(|_| direct.query("ec2", "TerminateInstances", &asked).0 == 200);
    assert!(done, "{id} is terminated");
}

#[test]
fn a_host_that_a_person_terminated_is_launched_anew() {
    let Some(world) = World::open() else { return };
    as_asked(&world.up(&[]));
    for launches in 2..4 {
        let launched = world.launched();
        let (id, _) = launched
            .iter()
            .find(|(_, state)| state == "running")
            .expect("one runs");
        terminate(&world.direct(), id);
        as_asked(&world.up(&[]));
        let launched = world.launched();
        assert_eq!(launched.len(), launches, "{launched:?}");
        let living = launched.iter().filter(|(_, state)| state == "running");
        assert_eq!(living.count(), 1, "{launched:?}");
        let again = world.up(&[]);
        assert_eq!(again.json["status"], "unchanged", "{again}");
    }
    goes(&world);
}

#[test]
fn a_host_that_a_person_terminated_is_no_trouble_for_down() {
    let Some(world) = World::open() else { return };
    as_asked(&world.up(&[]));
    let id = world.launched()[0].0.clone();
    terminate(&world.direct(), &id);
    goes(&world);
}
