//! Accounts of a size: thousands of things of others, hundreds of deployments, and a file with many.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::witness::{made, made_json, mark, nothing_changed, put_parameter, record, since};
use super::world::{NAME, REGION, Ran, World};
use crate::bench::account::Direct;
use crate::bench::call::Call;
use crate::bench::program;
use crate::bench::rule::Rule;

/// Instances of others.
const INSTANCES: usize = 5000;
/// Alarms of others.
const ALARMS: usize = 2000;
/// Things of others of each further kind.
const OTHERS: usize = 60;
/// What is added to each call, to tell rounds apart: far longer than calls of a round are apart.
const DELAY: Duration = Duration::from_millis(400);

/// Fills an account with what others have.
fn fill(direct: &Direct) {
    let subnets = made(direct, "ec2", "DescribeSubnets", &[]);
    let subnets = super::xml::list(&subnets, "subnetSet");
    let image = super::witness::word(&made(direct, "ec2", "DescribeImages", &[]), "imageId");
    for part in 0..INSTANCES / 500 {
        let subnet = subnets[part % subnets.len()]["subnetId"]
            .as_str()
            .unwrap_or_default();
        let of = [
            ("ImageId", image.as_str()),
            ("InstanceType", "t3.micro"),
            ("SubnetId", subnet),
            ("MinCount", "500"),
            ("MaxCount", "500"),
            ("TagSpecification.1.ResourceType", "instance"),
            ("TagSpecification.1.Tag.1.Key", "Name"),
            ("TagSpecification.1.Tag.1.Value", NAME),
        ];
        made(direct, "ec2", "RunInstances", &of);
    }
    for n in 0..ALARMS {
        let name = format!("team-{n:04}/cpu");
        let alarm = [
            ("AlarmName", name.as_str()),
            ("Namespace", "AWS/EC2"),
            ("MetricName", "CPUUtilization"),
            ("Statistic", "Average"),
            ("Period", "300"),
            ("EvaluationPeriods", "1"),
            ("Threshold", "80"),
            ("ComparisonOperator", "GreaterThanThreshold"),
        ];
        made(direct, "monitoring", "PutMetricAlarm", &alarm);
    }
    for n in 0..OTHERS {
        put_parameter(direct, &format!("/team/{n}"), "theirs");
        let group = json!({"logGroupName": format!("/dataops-infra-of-others/{n}")});
        made_json(direct, "logs", "Logs_20140328.CreateLogGroup", &group);
        made(direct, "sns", "CreateTopic", &[("Name", &format!("team-{n}"))]);
    }
}

/// A run of the program.
type Run<'a> = &'a dyn Fn(&World) -> Ran;

/// Counts calls by name.
fn counted(calls: &[Call]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for call in calls {
        *counts.entry(call.name()).or_default() += 1;
    }
    counts
}

/// Returns how many rounds of calls there were that waited for each other, where each call takes at least [`DELAY`].
fn rounds(calls: &[Call]) -> usize {
    let (mut rounds, mut over) = (0, Duration::ZERO);
    for call in calls {
        if rounds == 0 || call.at >= over {
            rounds += 1;
            over = call.at + DELAY;
        }
    }
    rounds
}

#[test]
fn a_large_account_costs_no_calls_for_what_is_not_ours() {
    let Some(world) = World::open() else {
        return;
    };
    let direct = world.direct();
    fill(&direct);
    let Some(small) = World::open() else {
        return;
    };

    let first = |world: &World, ran: Run| {
        let from = mark(world);
        let ran = ran(world);
        assert_eq!(ran.code, 0, "{ran}");
        since(world, from)
    };
    let runs: [(&str, Run); 4] = [
        ("up", &|world| world.up(&[])),
        ("up again", &|world| world.up(&[])),
        ("status", &|world| world.status(&[])),
        ("down", &|world| world.down(&["--no-drain"])),
    ];
    for (what, ran) in runs {
        let (large, alone) = (first(&world, ran), first(&small, ran));
        // A wait looks as often as it needs to; all else is the same in an account that has nothing else.
        let settled = |calls: &[Call]| {
            let mut counts = counted(calls);
            counts.retain(|name, _| {
                !["ec2:DescribeInstances", "ssm:GetParameters", "ssm:GetParameter"].contains(&name.as_str())
            });
            counts
        };
        if what == "down" {
            // Looks again and again until instances are gone.
            assert!(large.len() < alone.len() + 60, "{what}: {:#?}", counted(&large));
        } else {
            assert_eq!(settled(&large), settled(&alone), "{what}");
        }
        if what == "up again" {
            assert!(large.len() <= 15, "{:#?}", counted(&large));
        }
    }
    let living = world.launched();
    let living = living.iter().filter(|(_, state)| state == "running").count();
    assert_eq!(living, INSTANCES);
}

#[test]
fn a_second_up_takes_three_rounds() {
    let Some(world) = World::open() else {
        return;
    };
    let up = world.up(&["--notify", "team@example.com"]);
    assert_eq!(up.code, 0, "{up}");
    world.account.rule(Rule::on("*").delay(DELAY));
    let from = mark(&world);
    let again = world.up(&[]);
    assert_eq!(again.json["status"], "unchanged", "{again}");
    let calls = since(&world, from);
    let times: Vec<String> = calls
        .iter()
        .map(|call| format!("{:?} {}", call.at, call.name()))
        .collect();
    assert!(calls.len() <= 15, "{times:#?}");
    assert!(rounds(&calls) <= 3, "{times:#?}");
    nothing_changed(&world, from);
}

#[test]
fn pages_are_followed() {
    let Some(world) = World::open() else {
        return;
    };
    let direct = world.direct();
    let up = world.up(&["--ttl", "4h"]);
    assert_eq!(up.code, 0, "{up}");
    let from = mark(&world);
    world.status(&[]);
    let alone = since(&world, from).len();
    let text = record(&direct, NAME);
    let generation = serde_json::from_str::<Value>(&text).expect("a record")["generation"].clone();
    // As many records as fill several pages of tags; what they tell of is not there.
    let others = 220;
    for n in 0..others {
        let name = format!("another-{n:03}");
        let value = text.replace(NAME, &name);
        let tags = [
            ("dataops-infra:deployment", name.as_str()),
            (
                "dataops-infra:generation",
                generation.as_str().unwrap_or_default(),
            ),
            ("dataops-infra:address", "record"),
        ]
        .map(|(key, value)| json!({"Key": key, "Value": value}));
        let put = json!({"Name": format!("/dataops-infra/{name}/deployment"), "Value": value, "Type": "String", "Tags": tags});
        made_json(&direct, "ssm", "AmazonSSM.PutParameter", &put);
    }
    let from = mark(&world);
    let status = world.status(&["--all"]);
    assert_eq!(status.code, 4, "{}", status.stderr);
    let rows = status.json["deployments"].as_array().expect("rows");
    assert_eq!(rows.len(), others + 1);
    let ok: Vec<&Value> = rows.iter().filter(|row| row["status"] == "ok").collect();
    assert_eq!(ok.len(), 1, "{ok:?}");
    assert_eq!(ok[0]["name"], NAME);
    let calls = since(&world, from);
    // Far fewer for each than for one alone.
    assert!(calls.len() < (others + 1) * alone / 3, "{:#?}", counted(&calls));
    let expired = world.down(&["--expired"]);
    assert_eq!(expired.code, 0, "{expired}");
    assert_eq!(expired.json["deployments"], json!([]), "{expired}");
    nothing_changed(&world, from);
}

/// Returns the program with a file of deployments, which alone says where they are.
fn with_file(world: &World, words: &[&str]) -> Command {
    let mut command = program(world.folder());
    command.current_dir(world.folder()).args(words);
    command.args(["--file", "many.yaml", "--output", "json"]);
    world.account.used_by(&mut command);
    command.env("AWS_MAX_ATTEMPTS", "1");
    command
}

fn several(world: &World, count: usize, wrong: Option<usize>) {
    let mut text =
        "defaults:\n  workload: production\n  instance_type: c5.large\n  concurrency: 4\n  disk_gib: 300\n  \
                    token: {file: token}\ndeployments:\n"
            .to_owned();
    for n in 1..=count {
        let region = if n % 2 == 0 { REGION } else { "us-east-1" };
        text += &format!("  - name: many-{n:02}\n    region: {region}\n");
        if wrong == Some(n) {
            text += "    subnets: [subnet-0123456789abcdef0]\n";
        }
    }
    std::fs::write(world.folder().join("many.yaml"), text).expect("a file");
}

#[test]
fn many_deployments_of_a_file_and_one_that_cannot_be() {
    let Some(world) = World::open() else {
        return;
    };
    let before = world.inventory();
    let up = |world: &World| {
        let from = mark(world);
        let ran = world
            .start(with_file(world, &["up", "--yes", "--no-wait"]))
            .ended();
        (ran, since(world, from))
    };
    several(&world, 1, None);
    let (alone, calls_alone) = up(&world);
    assert_eq!(alone.code, 0, "{alone}");
    let down = world
        .start(with_file(&world, &["down", "--yes", "--no-drain"]))
        .ended();
    assert_eq!(down.code, 0, "{down}");

    let (count, wrong) = (12, 5);
    several(&world, count, Some(wrong));
    let (first, calls) = up(&world);
    assert_eq!(first.code, 3, "{first}");
    let rows = first.json["deployments"].as_array().expect("rows");
    assert_eq!(rows.len(), count);
    for (n, row) in rows
        .iter()
        .map(|row| (row["name"].as_str().unwrap_or_default(), row))
    {
        let expected = if n == format!("many-{wrong:02}") {
            "blocked"
        } else {
            "running"
        };
        assert_eq!(row["status"], expected, "{n}: {first}");
    }
    assert!(
        first
            .stderr
            .contains("subnet-0123456789abcdef0 does not exist in us-east-1"),
        "{first}"
    );
    assert!(first.stderr.contains("hint: "), "{first}");
    assert!(
        calls.len() < (count - 1) * calls_alone.len(),
        "{} for {} deployments, {} for one",
        calls.len(),
        count - 1,
        calls_alone.len()
    );

    let from = mark(&world);
    // Without waiting the reports of hosts in the other region are never there, and nobody asks for them.
    let (second, calls) = up(&world);
    assert_eq!(second.code, 3, "{second}");
    let rows = second.json["deployments"].as_array().expect("rows");
    let unchanged = rows.iter().filter(|row| row["status"] == "unchanged").count();
    assert_eq!(unchanged, count - 1, "{second}");
    assert!(calls.len() < 15 * count, "{:#?}", counted(&calls));
    nothing_changed(&world, from);

    // Mended, only that one is made.
    several(&world, count, None);
    let (third, _) = up(&world);
    assert_eq!(third.code, 0, "{third}");
    let status = world.start(with_file(&world, &["status"])).ended();
    let rows = status.json["deployments"].as_array().expect("rows");
    assert!(
        rows.len() == count && rows.iter().all(|row| row["drift"] == json!([])),
        "{status}"
    );
    let down = world
        .start(with_file(&world, &["down", "--yes", "--no-drain"]))
        .ended();
    assert_eq!(down.code, 0, "{down}");
    assert_eq!(super::witness::difference(&world.inventory(), &before), "");
}
