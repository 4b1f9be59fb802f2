//! What AWS does on a bad day besides failing a call: it is late, full, half there, or no longer knows the caller.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::json;

use super::host::Manner;
use super::inventory::Inventory;
use super::sweep::{empty, good, honest, same};
use super::world::{Ran, World};
use crate::bench::call::{Call, Protocol};
use crate::bench::rule::Rule;

/// What an undisturbed `up` makes.
pub fn reference() -> &'static Inventory {
    static MADE: OnceLock<Inventory> = OnceLock::new();
    MADE.get_or_init(|| {
        let world = World::open().expect("the one who asks has looked");
        as_asked(&world.up(&[]));
        world.inventory()
    })
}

/// The run did as asked.
#[track_caller]
pub fn as_asked(ran: &Ran) {
    good(ran, "the run").unwrap_or_else(|why| panic!("{why}"));
}

/// The run ends in an error and says what is left and what to do next.
#[track_caller]
pub fn fails_honestly(ran: &Ran) {
    assert_ne!(ran.code, 0, "{ran}");
    honest(ran).unwrap_or_else(|why| panic!("{why}"));
}

/// The account is as after an undisturbed `up`.
#[track_caller]
pub fn complete(world: &World) {
    same(&world.inventory(), reference()).unwrap_or_else(|why| panic!("{why}"));
}

/// `down` goes well, and nothing is left.
#[track_caller]
pub fn goes(world: &World) {
    as_asked(&world.down(&[]));
    nothing_left(world);
}

/// Nothing is left.
#[track_caller]
pub fn nothing_left(world: &World) {
    empty(&world.inventory()).unwrap_or_else(|why| panic!("{why}"));
}

/// Returns a rule for real launches, not for the question whether one would be permitted.
pub fn on_launch() -> Rule {
    Rule::on("ec2:RunInstances").when(|call: &Call| call.parameters["DryRun"] != "true")
}

#[test]
fn instances_are_seen_late() {
    let Some(world) = World::open() else { return };
    world.account.rule(
        Rule::on("ec2:DescribeInstances")
            .skip(1)
            .times(2)
            .empty("reservationSet"),
    );
    world.account.rule(
        Rule::on("ec2:DescribeInstances")
            .times(2)
            .when(|call| call.parameters.get("InstanceId.1").is_some())
            .fail(400, "InvalidInstanceID.NotFound"),
    );
    world.account.rule(
        Rule::on("ec2:DescribeInstances")
            .when(|call| call.parameters.get("InstanceId.1").is_some())
            .times(2)
            .pending(),
    );
    as_asked(&world.up(&[]));
    complete(&world);
    goes(&world);
}

#[test]
fn a_launch_whose_answer_is_lost_is_seen_late() {
    let Some(world) = World::open() else { return };
    world.account.rule(on_launch().times(1).lose());
    world.account.rule(
        Rule::on("ec2:DescribeInstances")
            .skip(1)
            .times(3)
            .empty("reservationSet"),
    );
    as_asked(&world.up(&[]));
    complete(&world);
    assert_eq!(world.launched().len(), 1);
    goes(&world);
}

#[test]
fn roles_and_profiles_are_seen_late() {
    let Some(world) = World::open() else { return };
    world.account.rule(Rule::on("iam:CreateRole").times(1).lose());
    for name in ["iam:GetRole", "iam:GetInstanceProfile"] {
        world
            .account
            .rule(Rule::on(name).skip(1).times(2).fail(404, "NoSuchEntity"));
    }
    for name in ["iam:PutRolePolicy", "iam:AddRoleToInstanceProfile"] {
        world
            .account
            .rule(Rule::on(name).times(2).fail(404, "NoSuchEntity"));
    }
    let unknown = "Value (dataops-runner-one-eu-west-2) for parameter iamInstanceProfile.name is invalid. \
                   Invalid IAM Instance Profile name";
    world
        .account
        .rule(on_launch().times(3).refuse(400, "InvalidParameterValue", unknown));
    as_asked(&world.up(&[]));
    complete(&world);
    world.account.heal();
    goes(&world);
}

#[test]
fn the_tagging_service_knows_nothing() {
    let Some(world) = World::open() else { return };
    world.account.rule(
        Rule::on("tag:GetResources").answer(r#"{"PaginationToken": "", "ResourceTagMappingList": []}"#),
    );
    as_asked(&world.up(&[]));
    complete(&world);
    let again = world.up(&[]);
    as_asked(&again);
    assert_eq!(again.json["status"], "unchanged", "{again}");
    goes(&world);
}

#[test]
fn another_page_than_an_answer_is_no_answer() {
    let Some(world) = World::open() else { return };
    as_asked(&world.up(&[]));
    let made = world.inventory();
    let page = "<html><body>Sign in to this network</body></html>";
    let error = "<Response><Errors><Error><Code>Unavailable</Code><Message>later</Message></Error></Errors>\
                 <RequestID>bench</RequestID></Response>";
    for (name, text) in [
        ("ec2:DescribeInstances", page),
        ("ec2:DescribeInstances", error),
        ("ec2:DescribeVolumes", error),
        ("ec2:DescribeSecurityGroups", error),
        ("iam:GetRole", page),
        ("iam:GetInstanceProfile", error),
        ("sns:GetTopicAttributes", page),
        ("ssm:GetParameters", page),
        ("logs:DescribeLogGroups", page),
        ("tag:GetResources", page),
    ] {
        for run in [World::up, World::down] {
            world.account.heal();
            world.account.rule(Rule::on(name).answer(text));
            fails_honestly(&run(&world, &[]));
            same(&world.inventory(), &made).unwrap_or_else(|why| panic!("{name}: {why}"));
        }
    }
    world.account.heal();
    goes(&world);
}

#[test]
fn a_clock_that_is_wrong_is_said() {
    let Some(world) = World::open() else { return };
    for code in [
        "RequestExpired",
        "RequestTimeTooSkewed",
        "InvalidSignatureException",
    ] {
        world.account.heal();
        let message = "Signature expired: 20260101T000000Z is now earlier than 20260101T001500Z";
        world.account.rule(Rule::on("*").refuse(403, code, message));
        let ran = world.up(&[]);
        fails_honestly(&ran);
        assert!(ran.stderr.contains("Signature expired"), "{ran}");
    }
    nothing_left(&world);
    world.account.heal();
    as_asked(&world.up(&[]));
    complete(&world);
    goes(&world);
}

/// After so many calls nobody is known any more, in the words of each service.
fn expire(world: &World, after: usize) {
    let made = Arc::new(AtomicUsize::new(0));
    for (ec2, code) in [(true, "RequestExpired"), (false, "ExpiredTokenException")] {
        let made = Arc::clone(&made);
        let late = move |call: &Call| {
            // Each call is put to the first rule, and where that is not for it to the second.
            let nth = if ec2 {
                made.fetch_add(1, Ordering::SeqCst)
            } else {
                made.load(Ordering::SeqCst) - 1
            };
            nth >= after && (call.protocol == Protocol::Ec2) == ec2
        };
        let message = "The security token included in the request is expired";
        world
            .account
            .rule(Rule::on("*").when(late).refuse(400, code, message));
    }
}

#[test]
fn credentials_expire_on_the_way_up() {
    for after in [0, 6, 12, 16, 20, 24, 30] {
        let Some(world) = World::open() else { return };
        expire(&world, after);
        let ran = world.up(&[]);
        fails_honestly(&ran);
        world.account.heal();
        as_asked(&world.up(&[]));
        complete(&world);
        goes(&world);
    }
}

#[test]
fn credentials_expire_on_the_way_down() {
    for after in [0, 8, 10, 14, 20] {
        let Some(world) = World::open() else { return };
        as_asked(&world.up(&[]));
        expire(&world, after);
        let ran = world.down(&[]);
        fails_honestly(&ran);
        world.account.heal();
        goes(&world);
    }
}

#[test]
fn a_zone_without_capacity_is_left_for_the_next() {
    let Some(world) = World::open() else { return };
    world
        .account
        .rule(on_launch().times(1).fail(500, "InsufficientInstanceCapacity"));
    let up = world.up(&[]);
    as_asked(&up);
    assert!(up.stderr.contains("InsufficientInstanceCapacity"), "{up}");
    assert_eq!(up.json["hosts"][0]["zone"], "eu-west-2b", "{up}");
    let again = world.up(&[]);
    as_asked(&again);
    assert_eq!(again.json["status"], "unchanged", "{again}");
    assert_eq!(world.launched().len(), 1);
    goes(&world);
}

#[test]
fn no_capacity_anywhere_is_an_end() {
    let Some(world) = World::open() else { return };
    world
        .account
        .rule(on_launch().fail(500, "InsufficientInstanceCapacity"));
    let up = world.up(&[]);
    fails_honestly(&up);
    assert_eq!(up.code, 1, "{up}");
    for zone in ["eu-west-2a", "eu-west-2b", "eu-west-2c"] {
        assert!(
            up.stderr.contains(&format!("c5.large in {zone}: ")),
            "{zone}: {up}"
        );
    }
    assert!(up.took < Duration::from_secs(20), "{up}");
    // A day later there is room.
    world.account.heal();
    as_asked(&world.up(&[]));
    assert_eq!(world.launched().len(), 1);
    goes(&world);
}

#[test]
fn killed_between_two_zones_it_launches_once() {
    for done in [false, true] {
        for skip in [0, 1] {
            let Some(world) = World::open() else { return };
            let full = on_launch().times(1).fail(500, "InsufficientInstanceCapacity");
            world.account.rule(full);
            // The record says the next rung before it is tried: killed there, and at the launch that follows.
            let rule = if skip == 0 {
                Rule::on("ssm:PutParameter")
                    .when(|call: &Call| call.parameters["Overwrite"] == json!(true))
                    .times(1)
            } else {
                on_launch().times(1)
            };
            let rule = if done { rule } else { rule.reset() };
            let ran = world.killed(world.up_command(&[]), rule);
            assert_eq!(ran.code, -1, "{ran}");
            world.account.heal();
            as_asked(&world.up(&[]));
            assert_eq!(world.launched().len(), 1, "{:?}", world.launched());
            goes(&world);
        }
    }
}

#[test]
fn hosts_and_what_hangs_on_them_go_slowly() {
    let Some(world) = World::open() else { return };
    as_asked(&world.up(&[]));
    world.account.rule(
        Rule::on("ec2:DescribeInstances")
            .when(|call| call.parameters.get("InstanceId.1").is_some())
            .times(3)
            .shutting_down(),
    );
    world.account.rule(
        Rule::on("ec2:DeleteSecurityGroup")
            .times(3)
            .fail(400, "DependencyViolation"),
    );
    world
        .account
        .rule(Rule::on("iam:DeleteRole").times(2).fail(409, "DeleteConflict"));
    world.account.rule(
        Rule::on("iam:DeleteInstanceProfile")
            .times(2)
            .fail(409, "DeleteConflict"),
    );
    goes(&world);
    assert!(world.account.calls_of("ec2:DescribeInstances").len() > 5);
}

#[test]
fn a_host_that_fails_is_heard() {
    let Some(world) = World::open() else { return };
    world.hosts(Manner::Failed("docker", "E: Unable to locate package docker-ce"));
    let up = world.up(&[]);
    fails_honestly(&up);
    assert_eq!(up.code, 1, "{up}");
    for text in ["failed at docker", "Unable to locate package docker-ce"] {
        assert!(up.stderr.contains(text), "{text}: {up}");
    }
    goes(&world);
}

/// A host that has failed at the first `up`.
fn failed() -> Option<World> {
    let world = World::open()?;
    world.hosts(Manner::Failed("docker", "the mirror is gone"));
    let up = world.up(&[]);
    assert_eq!(up.code, 1, "{up}");
    assert!(sent(&world).is_empty(), "what fails in this run is believed");
    Some(world)
}

/// Returns what hosts were told to do.
fn sent(world: &World) -> Vec<Call> {
    world.account.calls_of("ssm:SendCommand")
}

#[test]
fn a_failure_from_before_is_not_believed() {
    let Some(world) = failed() else { return };
    world.hosts(Manner::Online);
    let up = world.up(&[]);
    as_asked(&up);
    assert_eq!(sent(&world).len(), 1, "it is told to try again, once: {up}");
    complete(&world);
}

#[test]
fn a_host_that_fails_again_is_believed_at_once() {
    let Some(world) = failed() else { return };
    world.hosts(Manner::Failed("registered", "the token is refused"));
    let up = world.up(&[]);
    assert_eq!(up.code, 1, "{up}");
    assert!(up.stderr.contains("the token is refused"), "{up}");
    assert!(up.took < std::time::Duration::from_mins(1), "{up}");
    assert_eq!(sent(&world).len(), 1);
}

#[test]
fn a_host_that_cannot_be_told_tries_again_by_itself() {
    let Some(world) = failed() else { return };
    world.account.rule(Rule::on("ssm:SendCommand").deny());
    let began = std::thread::scope(|scope| {
        let up = scope.spawn(|| world.up(&[]));
        world.until("ssm:SendCommand", 1);
        world.reboot(Manner::Online);
        up.join().expect("no panic")
    });
    as_asked(&began);
    complete(&world);
}

#[test]
fn faults_that_the_sdk_mends_by_itself_are_mended() {
    let calls = [
        "ssm:PutParameter",
        "iam:CreateRole",
        "ec2:CreateSecurityGroup",
        "sns:CreateTopic",
    ];
    for name in calls {
        let Some(world) = World::open().map(World::with_retries) else {
            return;
        };
        world.account.rule(Rule::on(name).times(1).lose());
        world.account.rule(on_launch().times(1).lose());
        world
            .account
            .rule(Rule::on("cloudwatch:PutMetricAlarm").times(2).throttle());
        as_asked(&world.up(&[]));
        complete(&world);
        assert_eq!(world.launched().len(), 1);
        world.account.heal();
        world
            .account
            .rule(Rule::on("ec2:TerminateInstances").times(1).lose());
        world
            .account
            .rule(Rule::on("ssm:DeleteParameter").times(1).lose());
        goes(&world);
    }
}
