//! What is said, to whom, and with which exit code; what differs, and that exactly that is mended.

use serde_json::{Value, json};

use super::host::Manner;
use super::preflight::plan;
use super::witness::{
    changes, difference, made, made_json, mark, nothing_changed, put_parameter, record, since, word,
};
use super::world::{NAME, REGION, Ran, World};
use super::xml;
use crate::bench::account::Direct;
use crate::bench::rule::Rule;

/// Asserts that nothing is wider than a terminal, but commands, which must be copied in one piece.
fn fits(what: &str, text: &str, columns: usize) {
    for line in text.lines() {
        let command = line.contains("dataops-infra ") || line.contains("aws ");
        // One word that is longer than the line is broken by nobody: an ARN, a path.
        let words = line.split_whitespace().count() > 1;
        assert!(
            line.chars().count() <= columns || command || !words,
            "{what}: {} columns\n{line}\n\n{text}",
            line.chars().count()
        );
    }
}

/// Asserts that nothing in a text drives a terminal.
fn plain(what: &str, text: &str) {
    let driving = |c: char| c.is_control() && c != '\n';
    assert!(!text.contains(driving), "{what}: {text:?}");
    // What spins and what moves is for terminals.
    assert!(!text.contains(['⠋', '⠙', '⠹', '⠸', '⠼']), "{what}: {text}");
}

/// Runs as for a person, not for a program.
fn for_people(world: &World, words: &[&str], args: &[&str], columns: &str) -> Ran {
    let mut all = args.to_vec();
    all.extend(["--output", "table"]);
    let mut command = if words[0] == "up" {
        world.up_command(&all)
    } else if words[0] == "down" {
        world.down_command(&all)
    } else {
        world.command(words, &all)
    };
    command.env("COLUMNS", columns);
    world.start(command).ended()
}

#[test]
fn pages_are_for_eighty_columns_and_pipes() {
    let Some(world) = World::open() else {
        return;
    };
    let direct = world.direct();
    let columns = "80";
    let look = |what: &str, code: i32, ran: Ran| {
        assert_eq!(ran.code, code, "{what}: {ran}");
        // Messages and events are lines of a log, which whoever reads it sets; what comes before them is a page.
        let message = |line: &str| {
            line.starts_with("error: ") || line.contains(": done in") || line.contains(": failed: ")
        };
        let page: Vec<&str> = ran
            .stderr
            .lines()
            .filter(|line| !line.starts_with("note: "))
            .collect();
        let end = page.iter().position(|line| message(line)).unwrap_or(page.len());
        fits(&format!("{what}, stdout"), &ran.stdout, 80);
        fits(&format!("{what}, stderr"), &page[..end].join("\n"), 80);
        plain(&format!("{what}, stdout"), &ran.stdout);
        plain(&format!("{what}, stderr"), &ran.stderr);
        ran
    };
    let size = [
        "--workload",
        "production",
        "--instance-type",
        "c5.large",
        "--concurrency",
        "4",
        "--disk-gib",
        "300",
    ];
    let live = for_people(&world, &["plan", "--live"], &size, columns);
    look("plan --live", 0, live);
    let live = for_people(
        &world,
        &["plan", "--live"],
        &[&size[..], &["--ami", "ami-0123456789abcdef0"]].concat(),
        columns,
    );
    look("plan --live, refused", 3, live);
    let refused = for_people(&world, &["up"], &["--ami", "ami-0123456789abcdef0"], columns);
    look("up, refused", 3, refused);
    let none = for_people(&world, &["status"], &[], columns);
    look("status of nothing", 4, none);
    world.account.rule(Rule::on("sns:CreateTopic").deny());
    let failed = for_people(
        &world,
        &["up"],
        &["--ttl", "4h", "--notify", TOLD, "--tag", "team=data"],
        columns,
    );
    let failed = look("up, failed", 1, failed);
    assert!(failed.stderr.contains("hint: "), "{failed}");
    world.account.heal();
    let up = for_people(&world, &["up"], &[], columns);
    let up = look("up", 0, up);
    assert!(up.stdout.contains("i-") && up.stdout.contains("Next"), "{up}");
    let again = for_people(&world, &["up"], &[], columns);
    look("up again", 0, again);
    let status = for_people(&world, &["status"], &[], columns);
    let status = look("status", 0, status);
    assert!(
        status.stdout.contains("a month") && status.stdout.contains("leased until"),
        "{status}"
    );
    for drift in drifts() {
        (drift.does)(&direct, &seen(&world));
    }
    let status = for_people(&world, &["status"], &[], columns);
    look("status with drift", 4, status);
    let live = for_people(&world, &["plan", "--live"], &[], columns);
    look("plan --live with drift", 0, live);
    let all = for_people(&world, &["status"], &["--all"], columns);
    look("status --all", 4, all);
    let down = for_people(&world, &["down"], &["--no-drain"], columns);
    look("down", 0, down);
}

#[test]
fn on_a_terminal_there_are_colours_unless_nobody_wants_them() {
    let Some(world) = World::open() else {
        return;
    };
    // The bench's own Python has terminals.
    let program = "import os, pty, sys\nout = []\ndef read(fd):\n    data = os.read(fd, 65536)\n    out.append(data)\n    \
                   return data\ncode = pty.spawn(sys.argv[1:], read)\nsys.exit(os.waitstatus_to_exitcode(code))\n";
    let python = crate::bench::python_program("python").expect("the bench has it");
    let run = |no_color: bool, args: &[&str]| {
        let inner = world.command(&["status"], args);
        let mut command = std::process::Command::new(&python);
        command
            .args(["-c", program])
            .arg(inner.get_program())
            .args(inner.get_args());
        command
            .env_clear()
            .current_dir(world.folder())
            .env("TERM", "xterm");
        for (key, value) in inner.get_envs() {
            if let Some(value) = value {
                command.env(key, value);
            }
        }
        if no_color {
            command.env("NO_COLOR", "1");
        }
        world.start(command).ended()
    };
    let coloured = run(false, &["--output", "table"]);
    assert_eq!(coloured.code, 4, "{coloured}");
    assert!(coloured.stdout.contains("\u{1b}["), "{coloured}");
    let uncoloured = run(true, &["--output", "table"]);
    assert_eq!(uncoloured.code, 4, "{uncoloured}");
    assert!(
        !uncoloured.stdout.contains("\u{1b}[3") && !uncoloured.stdout.contains("\u{1b}[1"),
        "{uncoloured}"
    );
    assert!(uncoloured.stdout.contains("error: "), "{uncoloured}");
}

#[test]
fn each_line_of_the_log_is_an_object() {
    let Some(world) = World::open() else {
        return;
    };
    let json_log = ["--log-format", "json"];
    let lines = |ran: &Ran| -> Vec<Value> {
        let parsed = ran.stderr.lines().map(serde_json::from_str);
        parsed
            .map(|line: Result<Value, _>| line.unwrap_or_else(|error| panic!("{error}: {ran}")))
            .collect()
    };
    let events = |lines: &[Value], what: &str| lines.iter().filter(|line| line["event"] == what).count();
    world.account.rule(Rule::on("sns:CreateTopic").deny());
    let failed = world.up(&json_log);
    assert_eq!(failed.code, 1, "{failed}");
    let said = lines(&failed);
    assert!(
        events(&said, "started") > 0 && events(&said, "failed") == 1,
        "{failed}"
    );
    let last = said.last().expect("lines");
    assert_eq!(
        (&last["level"], &last["exit_code"]),
        (&json!("error"), &json!(1)),
        "{failed}"
    );
    assert!(
        last["hint"]
            .as_str()
            .is_some_and(|hint| hint.contains("dataops-infra down")),
        "{failed}"
    );
    world.account.heal();
    let up = world.up(&[&json_log[..], &["-v"]].concat());
    assert_eq!(up.code, 0, "{up}");
    let said = lines(&up);
    assert_eq!(events(&said, "started"), events(&said, "done"), "{up}");
    assert!(
        said.iter()
            .all(|line| line["event"].is_string() || line["level"].is_string()),
        "{up}"
    );
    for line in said.iter().filter(|line| line["event"].is_string()) {
        assert_eq!(line["deployment"], NAME);
        assert!(
            line["address"].is_string() && line["kind"].is_string() && line["action"].is_string(),
            "{line}"
        );
    }
    let refused = world.up(&[&json_log[..], &["--ami", "ami-0123456789abcdef0"]].concat());
    assert_eq!(refused.code, 3, "{refused}");
    lines(&refused);
    let down = world.down(&json_log);
    assert_eq!(down.code, 0, "{down}");
    lines(&down);
    let quiet = world.up(&["--quiet"]);
    assert_eq!((quiet.code, quiet.stderr.as_str()), (0, ""), "{quiet}");
}

#[test]
fn documents_hold_what_a_pipeline_needs_next() {
    let Some(world) = World::open() else {
        return;
    };
    let up = world.up(&["--ttl", "2h", "--output", "yaml"]);
    assert_eq!(up.code, 0, "{up}");
    let document: Value = serde_yaml::from_str(&up.stdout).expect("YAML");
    let holds = |document: &Value, schema: &str| {
        assert_eq!(document["schema"], schema, "{document:#}");
        assert!(
            document["generated_by"]
                .as_str()
                .is_some_and(|by| by.starts_with("dataops-infra "))
        );
        assert_eq!(
            (&document["name"], &document["region"]),
            (&json!(NAME), &json!(REGION))
        );
        let host = &document["hosts"][0];
        assert!(
            host["instance_id"]
                .as_str()
                .is_some_and(|id| id.starts_with("i-")),
            "{document:#}"
        );
        for key in ["zone", "private_ip", "instance_type"] {
            assert!(host[key].is_string(), "{key}: {document:#}");
        }
        host["instance_id"].as_str().unwrap_or_default().to_owned()
    };
    let id = holds(&document, "dataops-infra/up/v1");
    assert_eq!(document["status"], "online");
    assert_eq!(document["runner"]["tag"], NAME);
    assert!(document["expires_at"].is_string());
    let next = document["next"].as_array().expect("commands");
    assert!(
        next.iter().all(|command| command
            .as_str()
            .is_some_and(|it| it.starts_with("dataops-infra "))),
        "{next:?}"
    );
    let again = world.up(&[]);
    assert_eq!(holds(&again.json, "dataops-infra/up/v1"), id);
    assert!(
        again.json["next"].as_array().is_some_and(|next| !next.is_empty()),
        "{again}"
    );
    for (command, heading) in [
        (world.up_command(&["--output", "markdown"]), NAME),
        (world.command(&["status"], &["--output", "markdown"]), NAME),
    ] {
        let markdown = world.start(command).ended();
        assert_eq!(markdown.code, 0, "{markdown}");
        let first = markdown.stdout.lines().next().unwrap_or_default();
        assert!(first.starts_with('#') && first.contains(heading), "{markdown}");
        assert!(markdown.stdout.contains(&id), "{markdown}");
    }
    let status = world.status(&[]);
    assert_eq!(holds(&status.json, "dataops-infra/status/v1"), id);
    let yaml = world.status(&["--output", "yaml"]);
    let yaml: Value = serde_yaml::from_str(&yaml.stdout).expect("YAML");
    assert_eq!(holds(&yaml, "dataops-infra/status/v1"), id);
    let down = world.down(&[]);
    assert_eq!(
        (&down.json["schema"], &down.json["status"]),
        (&json!("dataops-infra/down/v1"), &json!("gone")),
        "{down}"
    );
    assert!(
        down.json["removed"]
            .as_array()
            .is_some_and(|removed| removed.len() > 10),
        "{down}"
    );
    let none = world.down(&["--output", "yaml"]);
    let none: Value = serde_yaml::from_str(&none.stdout).expect("YAML");
    assert_eq!(none["status"], "nothing-there");
}

#[test]
fn without_a_terminal_and_yes_nothing_is_changed() {
    let Some(world) = World::open() else {
        return;
    };
    let words = |command: &std::process::Command| -> Vec<String> {
        let words = command.get_args().map(|word| word.to_string_lossy().into_owned());
        words
            .filter(|word| word != "--yes" && word != "up" && word != "ec2" && word != "down")
            .collect()
    };
    let unconfirmed = |verbs: &[&str], all: &[String]| {
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let from = mark(&world);
        let ran = world.start(world.command(verbs, &all)).ended();
        assert_eq!(ran.code, 3, "{ran}");
        assert!(
            ran.stderr.contains("nothing was changed") && ran.stderr.contains("--yes"),
            "{ran}"
        );
        nothing_changed(&world, from);
    };
    let up = words(&world.up_command(&[]));
    unconfirmed(&["up", "ec2"], &up);
    let made = world.up(&[]);
    assert_eq!(made.code, 0, "{made}");
    let changed = words(&world.up_command(&["--log-retention-days", "7"]));
    unconfirmed(&["up", "ec2"], &changed);
    unconfirmed(&["down"], &words(&world.down_command(&[])));
    unconfirmed(&["down"], &words(&world.down_command(&["--keep-data"])));
    // Where there is nothing to change, nobody needs to be asked.
    let all: Vec<&str> = up.iter().map(String::as_str).collect();
    let same = world.start(world.command(&["up", "ec2"], &all)).ended();
    assert_eq!(same.json["status"], "unchanged", "{same}");
}

#[test]
fn exit_codes_say_how_it_ended_and_messages_what_is_next() {
    let Some(world) = World::open() else {
        return;
    };
    let hints = |what: &str, ran: &Ran, code: i32, hint: &str| {
        assert_eq!(ran.code, code, "{what}: {ran}");
        let said = ran.stderr.split_once("hint: ").map(|(_, hint)| hint);
        assert!(
            said.is_some_and(|said| said.contains(hint)),
            "{what}: `{hint}` is not the hint: {ran}"
        );
    };
    let unset = world.up(&["--token-env", "NOT_SET"]);
    assert!(unset.code == 2 && unset.stderr.contains("NOT_SET"), "{unset}");
    let bare = world.command(
        &["up", "ec2"],
        &[
            "--workload",
            "production",
            "--instance-type",
            "c5.large",
            "--concurrency",
            "4",
            "--disk-gib",
            "300",
            "--yes",
        ],
    );
    hints("no token at all", &world.start(bare).ended(), 2, "--token-file");
    hints(
        "no such type",
        &world.up(&["--instance-type", "c9.large"]),
        2,
        "dataops-infra catalog show",
    );
    hints(
        "no such status",
        &world.status(&[]),
        4,
        "dataops-infra status --all",
    );
    hints(
        "blocked",
        &world.up(&["--ami", "ami-0123456789abcdef0"]),
        3,
        "run the command again",
    );
    world.account.rule(Rule::on("*").deny());
    for (what, ran, command) in [
        ("up", world.up(&[]), "--for up"),
        ("status", world.status(&[]), "--for status"),
        ("down", world.down(&[]), "--for down"),
    ] {
        hints(what, &ran, 5, command);
    }
    world.account.heal();
    world.account.rule(Rule::on("*").fail(403, "ExpiredToken"));
    hints("signed out", &world.up(&[]), 5, "aws sso login");
    world.account.heal();
    world.account.rule(Rule::on("*").reset());
    hints("no network", &world.status(&[]), 5, "--endpoint-url");
    world.account.heal();
    world.account.rule(Rule::on("iam:PutRolePolicy").deny());
    let failed = world.up(&[]);
    hints(
        "a step failed",
        &failed,
        1,
        &format!("dataops-infra down --name {NAME} --region {REGION}"),
    );
    assert!(failed.stderr.contains("iam:PutRolePolicy"), "{failed}");
    world.account.heal();
    world.hosts(Manner::Failed("docker", "the disk is full"));
    let failed = world.up(&[]);
    hints("a host failed", &failed, 1, "dataops-infra down");
    assert!(
        failed.stderr.contains("the disk is full") && failed.stderr.contains("docker"),
        "{failed}"
    );
    let status = world.status(&[]);
    assert_eq!(status.code, 4, "{status}");
    world.account.rule(Rule::on("iam:DeleteRole").deny());
    hints(
        "down failed",
        &world.down(&["--no-drain"]),
        1,
        "dataops-infra down",
    );
    hints("half down", &world.up(&[]), 3, "dataops-infra down");
    world.account.heal();
    let down = world.down(&["--no-drain"]);
    assert_eq!(down.code, 0, "{down}");
}

#[test]
fn a_plan_in_a_file_is_applied_exactly_or_not_at_all() {
    let Some(world) = World::open() else {
        return;
    };
    let direct = world.direct();
    let file = world.folder().join("plan.json").display().to_string();
    let token = world.folder().join("token").display().to_string();
    let size = [
        "--workload",
        "production",
        "--instance-type",
        "c5.large",
        "--concurrency",
        "4",
        "--disk-gib",
        "300",
    ];
    let live = |args: &[&str]| {
        let all = [args, &["--out", &file]].concat();
        world.start(world.command(&["plan", "--live"], &all)).ended()
    };
    let apply = || {
        let all = ["--plan", &file, "--token-file", &token, "--yes"];
        world.start(world.command(&["up"], &all)).ended()
    };
    let addresses = |document: &Value, keep: &dyn Fn(&Value) -> bool| -> Vec<String> {
        let steps = document["steps"].as_array().into_iter().flatten();
        let steps = steps.filter(|step| step["action"] != "wait" && keep(step));
        steps
            .filter_map(|step| step["address"].as_str().map(str::to_owned))
            .collect()
    };
    let from = mark(&world);
    let planned = live(&[&size[..], &["--detailed-exitcode"]].concat());
    assert_eq!(planned.code, 4, "{planned}");
    assert!(planned.stderr.contains("dataops-infra up --plan"), "{planned}");
    nothing_changed(&world, from);
    let written: Value =
        serde_json::from_str(&std::fs::read_to_string(&file).expect("a file")).expect("JSON");
    assert_eq!(written, planned.json);
    let up = apply();
    assert_eq!(up.code, 0, "{up}");
    let done = addresses(&up.json, &|step| step["outcome"] == "done");
    assert_eq!(done, addresses(&written["live"], &|_| true));
    let settled = live(&["--detailed-exitcode"]);
    assert_eq!(settled.code, 0, "{settled}");
    let unchanged = apply();
    assert_eq!(unchanged.code, 0, "a plan without steps: {unchanged}");

    let stale = |why: &str| {
        let (from, before) = (mark(&world), world.inventory());
        let up = apply();
        assert_eq!(up.code, 3, "{up}");
        assert!(
            up.stderr.contains("the plan is stale") && up.stderr.contains(why),
            "`{why}`: {up}"
        );
        assert!(up.stderr.contains("plan --live --out"), "{up}");
        nothing_changed(&world, from);
        assert_eq!(difference(&world.inventory(), &before), "");
    };
    // The record has been written since.
    let planned = live(&["--log-retention-days", "7"]);
    assert_eq!(planned.code, 0, "{planned}");
    let other = world.up(&["--log-retention-days", "14"]);
    assert_eq!(other.code, 0, "{other}");
    stale("at version 2 instead of at version 1");
    // A person has changed something since.
    for drift in drifts()
        .into_iter()
        .filter(|drift| ["ingress", "role policy", "stopped"].contains(&drift.what))
    {
        let planned = live(&["--log-retention-days", "7"]);
        assert_eq!(planned.code, 0, "{planned}");
        (drift.does)(&direct, &seen(&world));
        stale(drift.addresses[0]);
    }
    let planned = live(&["--log-retention-days", "7"]);
    assert_eq!(planned.code, 0, "{planned}");
    let up = apply();
    assert_eq!(up.code, 0, "{up}");
    // Of another account.
    let text = std::fs::read_to_string(&file).expect("a file");
    std::fs::write(&file, text.replace(&direct.account_id(), "123456789012")).expect("a file");
    stale("123456789012");
    // It is gone.
    std::fs::write(&file, &text).expect("a file");
    let down = world.down(&["--no-drain"]);
    assert_eq!(down.code, 0, "{down}");
    stale("not there");

    // Files that are no plan.
    let offline = world.command(&["plan"], &[&size[..2], &["--out", &file]].concat());
    let words: Vec<String> = offline
        .get_args()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let words: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .filter(|word| *word != "--name" && *word != NAME)
        .collect();
    let mut offline = crate::bench::program(world.folder());
    assert!(offline.args(words).output().expect("runs").status.success());
    let no_plan = std::fs::read_to_string(&file).expect("a file");
    for (text, says) in [
        (no_plan.as_str(), "without looking at an account"),
        ("no JSON", "is no JSON"),
        ("{}", "is no plan"),
        (&text.replace("\"spec\"", "\"speck\""), "cannot be read"),
    ] {
        std::fs::write(&file, text).expect("a file");
        let from = mark(&world);
        let up = apply();
        assert_eq!(up.code, 2, "{up}");
        assert!(up.stderr.contains(says), "{up}");
        nothing_changed(&world, from);
    }
    std::fs::remove_file(&file).expect("a file");
    let up = apply();
    assert_eq!(up.code, 2, "{up}");
}

/// Identities of what a deployment has.
pub struct Seen {
    instance: String,
    group: String,
    account: String,
}

/// Looks for what a deployment has.
pub fn seen(world: &World) -> Seen {
    let direct = world.direct();
    let living = world
        .launched()
        .into_iter()
        .find(|(_, state)| state != "terminated");
    let name = format!("dataops-infra-{NAME}");
    let filter = [
        ("Filter.1.Name", "group-name"),
        ("Filter.1.Value.1", name.as_str()),
    ];
    Seen {
        instance: living.expect("a host").0,
        group: word(
            &made(&direct, "ec2", "DescribeSecurityGroups", &filter),
            "groupId",
        ),
        account: direct.account_id(),
    }
}

/// Something that a person does to a deployment.
pub struct Drift {
    what: &'static str,
    /// Does it.
    pub does: fn(&Direct, &Seen),
    /// Where it shows.
    addresses: &'static [&'static str],
    /// Which fields.
    fields: &'static [&'static str],
    /// The calls that mend it.
    pub mends: &'static [&'static str],
}

/// The address that is told of alarms.
pub const TOLD: &str = "https://example.com/alarms";

#[expect(clippy::too_many_lines, reason = "a table")]
pub fn drifts() -> Vec<Drift> {
    fn role() -> String {
        format!("dataops-{NAME}-{REGION}")
    }
    fn topic(seen: &Seen) -> String {
        format!("arn:aws:sns:{REGION}:{}:dataops-infra-{NAME}", seen.account)
    }
    vec![
        Drift {
            what: "retention",
            does: |direct, _| {
                let put = json!({"logGroupName": format!("/dataops-infra/{NAME}"), "retentionInDays": 1});
                made_json(direct, "logs", "Logs_20140328.PutRetentionPolicy", &put);
            },
            addresses: &["logs-retention"],
            fields: &["retentionInDays"],
            mends: &["logs:PutRetentionPolicy"],
        },
        Drift {
            what: "alarm",
            does: |direct, _| {
                change_alarm(
                    direct,
                    &format!("dataops-infra/{NAME}/memory"),
                    "Threshold",
                    "12.5",
                );
            },
            addresses: &["alarm-memory"],
            fields: &["Threshold"],
            mends: &["cloudwatch:PutMetricAlarm"],
        },
        Drift {
            what: "ingress",
            does: |direct, seen| {
                let open = [
                    ("GroupId", seen.group.as_str()),
                    ("IpPermissions.1.IpProtocol", "tcp"),
                    ("IpPermissions.1.FromPort", "22"),
                    ("IpPermissions.1.ToPort", "22"),
                    ("IpPermissions.1.IpRanges.1.CidrIp", "0.0.0.0/0"),
                ];
                made(direct, "ec2", "AuthorizeSecurityGroupIngress", &open);
            },
            addresses: &["security-group-ingress"],
            fields: &["IpPermissions"],
            mends: &["ec2:RevokeSecurityGroupIngress"],
        },
        Drift {
            what: "egress",
            does: |direct, seen| {
                let all = [
                    ("GroupId", seen.group.as_str()),
                    ("IpPermissions.1.IpProtocol", "-1"),
                    ("IpPermissions.1.IpRanges.1.CidrIp", "0.0.0.0/0"),
                ];
                made(direct, "ec2", "RevokeSecurityGroupEgress", &all);
            },
            addresses: &["security-group-egress"],
            fields: &["IpPermissionsEgress"],
            mends: &["ec2:AuthorizeSecurityGroupEgress"],
        },
        Drift {
            what: "tag",
            does: |direct, seen| {
                let tag = [
                    ("ResourceId.1", seen.instance.as_str()),
                    ("Tag.1.Key", "Name"),
                    ("Tag.1.Value", "mine"),
                ];
                made(direct, "ec2", "CreateTags", &tag);
            },
            addresses: &["host-tags"],
            fields: &["tag Name"],
            mends: &["ec2:CreateTags"],
        },
        Drift {
            what: "tag of the volume",
            does: |direct, seen| {
                let filter = [
                    ("Filter.1.Name", "attachment.instance-id"),
                    ("Filter.1.Value.1", seen.instance.as_str()),
                ];
                let volume = word(&made(direct, "ec2", "DescribeVolumes", &filter), "volumeId");
                let tag = [
                    ("ResourceId.1", volume.as_str()),
                    ("Tag.1.Key", "team"),
                    ("Tag.1.Value", "other"),
                ];
                made(direct, "ec2", "CreateTags", &tag);
            },
            addresses: &["host-volume-tags"],
            fields: &["tag team"],
            mends: &["ec2:CreateTags"],
        },
        Drift {
            what: "tag of a topic",
            does: |direct, seen| {
                let arn = topic(seen);
                let tag = [
                    ("ResourceArn", arn.as_str()),
                    ("Tags.member.1.Key", "team"),
                    ("Tags.member.1.Value", "other"),
                ];
                made(direct, "sns", "TagResource", &tag);
            },
            addresses: &["topic-tags"],
            fields: &["tag team"],
            mends: &["sns:TagResource"],
        },
        Drift {
            what: "tag of the role",
            does: |direct, _| {
                let role = role();
                let tag = [
                    ("RoleName", role.as_str()),
                    ("Tags.member.1.Key", "team"),
                    ("Tags.member.1.Value", "other"),
                ];
                made(direct, "iam", "TagRole", &tag);
            },
            addresses: &["role-tags"],
            fields: &["tag team"],
            mends: &["iam:TagRole"],
        },
        Drift {
            what: "tag of the profile",
            does: |direct, _| {
                let role = role();
                let tag = [
                    ("InstanceProfileName", role.as_str()),
                    ("Tags.member.1.Key", "team"),
                    ("Tags.member.1.Value", "other"),
                ];
                made(direct, "iam", "TagInstanceProfile", &tag);
            },
            addresses: &["instance-profile-tags"],
            fields: &["tag team"],
            mends: &["iam:TagInstanceProfile"],
        },
        Drift {
            what: "tag of the logs",
            does: |direct, seen| {
                let arn = format!(
                    "arn:aws:logs:{REGION}:{}:log-group:/dataops-infra/{NAME}",
                    seen.account
                );
                let tag = json!({"resourceArn": arn, "tags": {"team": "other"}});
                made_json(direct, "logs", "Logs_20140328.TagResource", &tag);
            },
            addresses: &["logs-tags"],
            fields: &["tag team"],
            mends: &["logs:TagResource"],
        },
        Drift {
            what: "tag of an alarm",
            does: |direct, seen| {
                let arn = format!(
                    "arn:aws:cloudwatch:{REGION}:{}:alarm:dataops-infra/{NAME}/memory",
                    seen.account
                );
                let tag = [
                    ("ResourceARN", arn.as_str()),
                    ("Tags.member.1.Key", "team"),
                    ("Tags.member.1.Value", "other"),
                ];
                made(direct, "monitoring", "TagResource", &tag);
            },
            addresses: &["alarm-memory-tags"],
            fields: &["tag team"],
            mends: &["cloudwatch:TagResource"],
        },
        Drift {
            what: "tag of a parameter",
            does: |direct, _| {
                let tag = json!({
                    "ResourceType": "Parameter", "ResourceId": format!("/dataops-infra/{NAME}/token"),
                    "Tags": [{"Key": "team", "Value": "other"}],
                });
                made_json(direct, "ssm", "AmazonSSM.AddTagsToResource", &tag);
            },
            addresses: &["token-tags"],
            fields: &["tag team"],
            mends: &["ssm:AddTagsToResource"],
        },
        Drift {
            what: "role policy",
            does: |direct, _| {
                let document = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
                let role = role();
                let put = [
                    ("RoleName", role.as_str()),
                    ("PolicyName", "host"),
                    ("PolicyDocument", document),
                ];
                made(direct, "iam", "PutRolePolicy", &put);
            },
            addresses: &["role-policy"],
            fields: &["PolicyDocument host"],
            mends: &["iam:PutRolePolicy"],
        },
        Drift {
            what: "trust",
            does: |direct, _| {
                let document = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":"lambda.amazonaws.com"}}]}"#;
                let role = role();
                let put = [("RoleName", role.as_str()), ("PolicyDocument", document)];
                made(direct, "iam", "UpdateAssumeRolePolicy", &put);
            },
            addresses: &["role-trust"],
            fields: &["AssumeRolePolicyDocument"],
            mends: &["iam:UpdateAssumeRolePolicy"],
        },
        Drift {
            what: "profile",
            does: |direct, _| {
                let role = role();
                let put = [
                    ("RoleName", role.as_str()),
                    ("InstanceProfileName", role.as_str()),
                ];
                made(direct, "iam", "RemoveRoleFromInstanceProfile", &put);
            },
            addresses: &["instance-profile-role"],
            fields: &[""],
            mends: &["iam:AddRoleToInstanceProfile"],
        },
        Drift {
            what: "subscription",
            does: |direct, seen| {
                let listed = made(
                    direct,
                    "sns",
                    "ListSubscriptionsByTopic",
                    &[("TopicArn", &topic(seen))],
                );
                let listed = xml::list(&listed, "Subscriptions");
                let of = listed
                    .iter()
                    .find(|it| it["Endpoint"] == TOLD)
                    .expect("a subscription");
                made(
                    direct,
                    "sns",
                    "Unsubscribe",
                    &[("SubscriptionArn", &word(of, "SubscriptionArn"))],
                );
            },
            addresses: &["subscription-https://example.com/alarms"],
            fields: &[""],
            mends: &["sns:Subscribe"],
        },
        Drift {
            what: "stopped",
            does: |direct, seen| {
                made(
                    direct,
                    "ec2",
                    "StopInstances",
                    &[("InstanceId.1", &seen.instance)],
                );
            },
            addresses: &["host-start"],
            fields: &["State"],
            mends: &["ec2:StartInstances"],
        },
        Drift {
            what: "metadata",
            does: |direct, seen| {
                let put = [
                    ("InstanceId", seen.instance.as_str()),
                    ("HttpTokens", "optional"),
                    ("HttpPutResponseHopLimit", "5"),
                ];
                made(direct, "ec2", "ModifyInstanceMetadataOptions", &put);
            },
            addresses: &["host-metadata"],
            fields: &[
                "MetadataOptions.HttpPutResponseHopLimit",
                "MetadataOptions.HttpTokens",
            ],
            mends: &["ec2:ModifyInstanceMetadataOptions"],
        },
        Drift {
            what: "groups",
            does: |direct, seen| {
                let filter = [("Filter.1.Name", "group-name"), ("Filter.1.Value.1", "default")];
                let group = word(&made(direct, "ec2", "DescribeSecurityGroups", &filter), "groupId");
                let put = [
                    ("InstanceId", seen.instance.as_str()),
                    ("GroupId.1", group.as_str()),
                ];
                made(direct, "ec2", "ModifyInstanceAttribute", &put);
            },
            addresses: &["host-groups"],
            fields: &["SecurityGroups"],
            mends: &["ec2:ModifyInstanceAttribute"],
        },
        Drift {
            what: "dashboard",
            does: |direct, _| {
                let name = format!("dataops-infra-{NAME}-{REGION}");
                let read = made(direct, "monitoring", "GetDashboard", &[("DashboardName", &name)]);
                let mut body: Value =
                    serde_json::from_str(&word(&read, "DashboardBody")).expect("a document");
                body["periodOverride"] = "inherit".into();
                let put = [
                    ("DashboardName", name.as_str()),
                    ("DashboardBody", &body.to_string()),
                ];
                made(direct, "monitoring", "PutDashboard", &put);
            },
            addresses: &["dashboard"],
            fields: &["DashboardBody"],
            mends: &["cloudwatch:PutDashboard"],
        },
        Drift {
            what: "alarm gone",
            does: |direct, _| {
                let name = format!("dataops-infra/{NAME}/cpu");
                made(
                    direct,
                    "monitoring",
                    "DeleteAlarms",
                    &[("AlarmNames.member.1", &name)],
                );
            },
            addresses: &["alarm-cpu"],
            fields: &[""],
            mends: &["cloudwatch:PutMetricAlarm"],
        },
        Drift {
            what: "alarm too many",
            does: |direct, _| {
                let record: Value = serde_json::from_str(&record(direct, NAME)).expect("a record");
                let name = format!("dataops-infra/{NAME}/former");
                let alarm = [
                    ("AlarmName", name.as_str()),
                    ("Namespace", "AWS/EC2"),
                    ("MetricName", "CPUUtilization"),
                    ("Statistic", "Average"),
                    ("Period", "300"),
                    ("EvaluationPeriods", "1"),
                    ("Threshold", "1"),
                    ("ComparisonOperator", "GreaterThanThreshold"),
                    ("Tags.member.1.Key", "dataops-infra:deployment"),
                    ("Tags.member.1.Value", NAME),
                    ("Tags.member.2.Key", "dataops-infra:generation"),
                    (
                        "Tags.member.2.Value",
                        record["generation"].as_str().unwrap_or_default(),
                    ),
                    ("Tags.member.3.Key", "dataops-infra:address"),
                    ("Tags.member.3.Value", "alarm-former"),
                ];
                made(direct, "monitoring", "PutMetricAlarm", &alarm);
            },
            addresses: &["alarms-surplus"],
            fields: &[""],
            mends: &["cloudwatch:DeleteAlarms"],
        },
        Drift {
            what: "logs gone",
            does: |direct, _| {
                let group = json!({"logGroupName": format!("/dataops-infra/{NAME}")});
                made_json(direct, "logs", "Logs_20140328.DeleteLogGroup", &group);
            },
            addresses: &["logs", "logs-retention"],
            fields: &["", ""],
            mends: &["logs:CreateLogGroup", "logs:PutRetentionPolicy"],
        },
    ]
}

/// Puts an alarm as it is but for one field.
fn change_alarm(direct: &Direct, name: &str, field: &str, value: &str) {
    let read = made(
        direct,
        "monitoring",
        "DescribeAlarms",
        &[("AlarmNames.member.1", name)],
    );
    let alarm = xml::list(&read, "MetricAlarms").remove(0);
    let mut put: Vec<(String, String)> = [
        "AlarmName",
        "AlarmDescription",
        "Namespace",
        "MetricName",
        "Statistic",
        "Period",
        "EvaluationPeriods",
        "DatapointsToAlarm",
        "Threshold",
        "ComparisonOperator",
        "TreatMissingData",
    ]
    .iter()
    .filter_map(|key| Some(((*key).to_owned(), alarm[*key].as_str()?.to_owned())))
    .filter(|(key, _)| key != field)
    .collect();
    put.push((field.to_owned(), value.to_owned()));
    for (n, action) in xml::list(&alarm, "AlarmActions").iter().enumerate() {
        put.push((
            format!("AlarmActions.member.{}", n + 1),
            action.as_str().unwrap_or_default().to_owned(),
        ));
    }
    for (n, dimension) in xml::list(&alarm, "Dimensions").iter().enumerate() {
        for key in ["Name", "Value"] {
            put.push((format!("Dimensions.member.{}.{key}", n + 1), word(dimension, key)));
        }
    }
    let put: Vec<(&str, &str)> = put
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    made(direct, "monitoring", "PutMetricAlarm", &put);
}

/// Changes things as a person would, and sees each reported, mended by the calls for it alone, and all as it was.
fn each_is_mended(part: usize, of: usize) {
    let Some(world) = World::open() else {
        return;
    };
    let direct = world.direct();
    let up = world.up(&["--notify", TOLD, "--tag", "team=data"]);
    assert_eq!(up.code, 0, "{up}");
    // Moto forgets what a change of the metadata service does not say, and says that it is done.
    let forgotten = [
        ",\"state\":\"applied\"",
        ",\"state\":\"pending\"",
        ",\"httpProtocolIpv6\":\"disabled\"",
        ",\"instanceMetadataTags\":\"disabled\"",
    ];
    let taken = || {
        let mut inventory = world.inventory();
        for line in inventory.values_mut().flatten() {
            for part in forgotten {
                *line = line.replace(part, "");
            }
        }
        inventory
    };
    let sound = taken();
    for drift in drifts().into_iter().skip(part).step_by(of) {
        let what = drift.what;
        (drift.does)(&direct, &seen(&world));
        let from = mark(&world);
        let status = world.status(&[]);
        assert_eq!(status.code, 4, "{what}: {status}");
        assert_eq!(status.json["status"], "drift", "{what}: {status}");
        nothing_changed(&world, from);
        let rows = status.json["drift"].as_array().expect("rows");
        let column = |key: &str| -> Vec<&str> {
            let mut column: Vec<&str> = rows.iter().filter_map(|row| row[key].as_str()).collect();
            column.sort_unstable();
            column.dedup();
            column
        };
        assert_eq!(column("address"), drift.addresses, "{what}: {status}");
        let mut fields = drift.fields.to_vec();
        fields.dedup();
        assert_eq!(column("field"), fields, "{what}: {status}");
        for row in rows {
            assert!(row["is"] != row["should"] && row["is"] != "", "{what}: {row}");
        }
        let live = plan(&world, &["--detailed-exitcode"]);
        assert_eq!(live.code, 4, "{what}: {live}");
        let from = mark(&world);
        let up = world.up(&[]);
        assert_eq!(up.code, 0, "{what}: {up}");
        let mut mended: Vec<String> = since(&world, from)
            .iter()
            .filter(|call| changes(call))
            .map(crate::bench::call::Call::name)
            .collect();
        mended.sort_unstable();
        assert_eq!(mended, drift.mends, "{what}: {up}");
        assert_eq!(difference(&taken(), &sound), "", "{what}");
        let status = world.status(&[]);
        assert_eq!(status.code, 0, "{what}: {status}");
    }
}

#[test]
fn what_a_person_changes_is_shown_and_mended() {
    each_is_mended(0, 3);
}

#[test]
fn what_another_person_changes_is_shown_and_mended() {
    each_is_mended(1, 3);
}

#[test]
fn what_yet_another_person_changes_is_shown_and_mended() {
    each_is_mended(2, 3);
}

#[test]
fn what_up_does_not_mend_is_told() {
    let Some(world) = World::open() else {
        return;
    };
    let direct = world.direct();
    let up = world.up(&[]);
    assert_eq!(up.code, 0, "{up}");
    let volume = word(&made(&direct, "ec2", "DescribeVolumes", &[]), "volumeId");
    made(
        &direct,
        "ec2",
        "ModifyVolume",
        &[("VolumeId", &volume), ("Size", "400")],
    );
    let from = mark(&world);
    for ran in [world.status(&[]), world.up(&[])] {
        assert_eq!(ran.code, 4, "{ran}");
        assert!(ran.stdout.contains("root volume Size"), "{ran}");
    }
    // Asked for explicitly it is refused.
    let asked = world.up(&["--instance-type", "c5.xlarge"]);
    assert_eq!(asked.code, 3, "{asked}");
    assert!(
        asked.stderr.contains("InstanceType") && asked.stderr.contains("dataops-infra resize"),
        "{asked}"
    );
    nothing_changed(&world, from);
}

/// Rewrites the end of a lease.
fn over(direct: &Direct, name: &str) {
    let mut record: Value = serde_json::from_str(&record(direct, name)).expect("a record");
    record["lease"]["expires_at"] = "2020-01-01T00:00:00Z".into();
    put_parameter(
        direct,
        &format!("/dataops-infra/{name}/deployment"),
        &record.to_string(),
    );
}

#[test]
fn leases_that_are_over_are_removed_and_no_others() {
    let Some(world) = World::open() else {
        return;
    };
    let direct = world.direct();
    let expired = || {
        let ran = world.down(&["--expired", "--no-drain"]);
        assert_eq!(ran.code, 0, "{ran}");
        let rows = ran.json["deployments"].as_array().expect("rows").clone();
        rows.iter()
            .map(|row| row["name"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    assert!(expired().is_empty());
    let kept = world.up(&["--name", "for-ever"]);
    assert_eq!(kept.code, 0, "{kept}");
    for name in ["one-leased", "two-leased"] {
        let up = world.up(&["--name", name, "--ttl", "4h"]);
        assert_eq!(up.code, 0, "{up}");
        assert!(up.json["expires_at"].is_string(), "{up}");
    }
    assert!(expired().is_empty());
    // Run again, a lease is not prolonged.
    let first = world.status(&["--name", "two-leased"]).json["expires_at"].clone();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let again = world.up(&["--name", "two-leased", "--ttl", "4h"]);
    assert_eq!(
        (&again.json["expires_at"], &again.json["status"]),
        (&first, &json!("unchanged")),
        "{again}"
    );
    over(&direct, "one-leased");
    over(&direct, "two-leased");
    let status = world.status(&["--name", "two-leased"]);
    assert_eq!(status.json["expired"], true, "{status}");
    let renewed = world.up(&["--name", "two-leased", "--renew"]);
    assert_eq!(renewed.code, 0, "{renewed}");
    let until = renewed.json["expires_at"].as_str().expect("a time").to_owned();
    assert!(until.as_str() > first.as_str().expect("a time"), "{renewed}");
    // All tags say so, too.
    let inventory = world.inventory();
    let leased: Vec<&String> = inventory["tags"]
        .iter()
        .filter(|line| line.contains("\"two-leased\""))
        .collect();
    let stale: Vec<&&String> = leased.iter().filter(|line| !line.contains(&until)).collect();
    assert!(!leased.is_empty() && stale.is_empty(), "{until}: {stale:#?}");
    let asked = world.command(&["down"], &["--expired"]);
    let unconfirmed = world.start(asked).ended();
    assert_eq!(unconfirmed.code, 3, "{unconfirmed}");
    assert_eq!(expired(), ["one-leased"]);
    let status = world.status(&["--all"]);
    let names: Vec<&Value> = status.json["deployments"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| &row["name"])
        .collect();
    assert_eq!(names, ["for-ever", "two-leased"]);
    assert!(expired().is_empty());
}

#[test]
fn data_is_kept_where_that_is_asked() {
    let Some(world) = World::open() else {
        return;
    };
    let direct = world.direct();
    let snapshots = || {
        let filter = [
            ("Filter.1.Name", "tag-key"),
            ("Filter.1.Value.1", "dataops-infra:kept"),
        ];
        xml::list(&made(&direct, "ec2", "DescribeSnapshots", &filter), "snapshotSet").len()
    };
    let before = world.inventory();
    let up = world.up(&[]);
    assert_eq!(up.code, 0, "{up}");
    let down = world.down(&["--keep-data", "--snapshot", "--no-drain"]);
    assert_eq!(down.code, 0, "{down}");
    let left = world.inventory();
    for (kind, things) in &left {
        let expected = match *kind {
            "volumes" | "log groups" => 1,
            "tags" | "snapshots" => continue,
            _ => 0,
        };
        assert_eq!(things.len(), before[kind].len() + expected, "{kind}: {things:#?}");
    }
    assert_eq!(snapshots(), 1);
    assert!(
        left["volumes"][0].contains("dataops-infra:kept") && left["volumes"][0].contains("available"),
        "{left:#?}"
    );
    // Another life takes over the logs, and leaves the volume alone.
    let up = world.up(&[]);
    assert_eq!(up.code, 0, "{up}");
    let status = world.status(&[]);
    assert_eq!(status.code, 0, "{status}");
    let down = world.down(&["--no-drain"]);
    assert_eq!(down.code, 0, "{down}");
    let stays = down.json["stays"].to_string();
    assert!(stays.contains("kept as data") && stays.contains("vol-"), "{down}");
    let left = world.inventory();
    assert_eq!(
        (left["volumes"].len(), left["log groups"].len()),
        (1, 0),
        "{left:#?}"
    );
    assert_eq!(snapshots(), 1);
}

#[test]
fn protected_hosts_are_terminated_only_when_that_is_said() {
    let Some(world) = World::open() else {
        return;
    };
    let before = world.inventory();
    let up = world.up(&["--termination-protection"]);
    assert_eq!(up.code, 0, "{up}");
    let made = world.inventory();
    let from = mark(&world);
    let down = world.down(&["--no-drain"]);
    assert_eq!(down.code, 3, "{down}");
    assert!(
        down.stderr.contains("protected from termination") && down.stderr.contains("--unprotect"),
        "{down}"
    );
    nothing_changed(&world, from);
    assert_eq!(difference(&world.inventory(), &made), "");
    let down = world.down(&["--no-drain", "--unprotect"]);
    assert_eq!(down.code, 0, "{down}");
    assert_eq!(difference(&world.inventory(), &before), "");
}
