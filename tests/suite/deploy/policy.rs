//! The policies that `export iam-policy` prints are enough for each command, and each action in them is needed.

use std::collections::{BTreeMap, BTreeSet};

use dataops_infra::domain::export::iam::{Command as Of, Need, Scope, TABLE, policy};
use serde_json::Value;

use super::host::Manner;
use super::output::{Drift, TOLD, drifts, seen};
use super::preflight::plan_command;
use super::witness::{mark, since};
use super::world::{Ran, World};
use crate::bench::account::Direct;
use crate::bench::launcher::Bench;
use crate::bench::policy::flattened;
use crate::bench::rule::Rule;

/// Reads whose absence is said, but does not stop anything: what they tell can be known otherwise, or waited for.
const FORGIVEN: &[&str] = &[
    "cloudwatch:GetMetricData",
    "ec2:DescribeInstanceTypeOfferings",
    "ec2:DescribeRouteTables",
    "servicequotas:GetServiceQuota",
];

/// Actions that no scenario here uses, with the reason; what AWS checks beside a call (`Need::Dependent`) is known to the
/// table itself.
const UNUSED: &[(&str, &str)] = &[
    ("ec2:DescribeVpcs", "a VPC is seen by its subnets"),
    ("ec2:DescribeInstanceTypes", "catalog refresh"),
    ("pricing:GetProducts", "catalog refresh"),
    ("secretsmanager:DescribeSecret", "only for a secret of the user's"),
    ("iam:ListRoles", "from five deployments on"),
    ("iam:ListInstanceProfiles", "from five deployments on"),
    ("cloudwatch:ListDashboards", "from five deployments on"),
    ("ssm:ListTagsForResource", "only where the Tagging API is behind"),
    ("logs:ListTagsForResource", "only where the Tagging API is behind"),
    (
        "cloudwatch:ListTagsForResource",
        "only where the Tagging API is behind",
    ),
    ("sns:ListTagsForResource", "only where the Tagging API is behind"),
    ("sns:Unsubscribe", "nobody is unsubscribed yet"),
    ("ec2:GetConsoleOutput", "only of a host that is late"),
    (
        "ssm:DescribeInstanceInformation",
        "only of a host that takes no command",
    ),
    ("ssm:CancelCommand", "only of a host that takes no command"),
];

/// An account whose caller may do what a policy says.
struct Limited {
    world: World,
    admin: Direct,
    key: String,
    // Last, because it ends with the value.
    _bench: Bench,
}

impl Limited {
    /// Opens an account on a bench of its own, because enforcement is for all accounts of one.
    fn open() -> Option<Self> {
        let bench = Bench::start()?;
        let world = World::on(&bench);
        let direct = world.direct();
        let all = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
        let admin = user(&direct, "admin", all);
        let key = user(&direct, "limited", all);
        world.account.act_past_with(&admin);
        bench.enforce_policies();
        let admin = world.direct();
        Some(Self {
            world,
            admin,
            key,
            _bench: bench,
        })
    }

    /// From now on the caller may do this and nothing else.
    fn allow(&self, actions: &BTreeSet<String>) {
        let document = serde_json::json!({
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}],
        });
        put(&self.admin, "limited", &document.to_string());
    }

    fn run(&self, mut command: std::process::Command) -> Ran {
        command.env("AWS_ACCESS_KEY_ID", &self.key);
        self.world.start(command).ended()
    }

    /// Runs with a policy, and returns what was called besides.
    fn with(&self, actions: &BTreeSet<String>, command: std::process::Command) -> (Ran, BTreeSet<String>) {
        self.allow(actions);
        let from = mark(&self.world);
        let ran = self.run(command);
        let names = since(&self.world, from)
            .iter()
            .map(crate::bench::call::Call::name)
            .collect();
        (ran, names)
    }

    fn up(&self) -> std::process::Command {
        self.world.up_command(&["--notify", TOLD, "--tag", "team=data"])
    }

    fn down(&self) -> std::process::Command {
        self.world
            .down_command(&["--keep-data", "--snapshot", "--unprotect"])
    }
}

fn put(direct: &Direct, name: &str, document: &str) {
    let put = [
        ("UserName", name),
        ("PolicyName", "only"),
        ("PolicyDocument", document),
    ];
    super::witness::made(direct, "iam", "PutUserPolicy", &put);
}

/// Makes a user and returns the key.
fn user(direct: &Direct, name: &str, document: &str) -> String {
    let of = [("UserName", name)];
    super::witness::made(direct, "iam", "CreateUser", &of);
    put(direct, name, document);
    let made = super::witness::made(direct, "iam", "CreateAccessKey", &of);
    super::witness::word(&made, "AccessKeyId")
}

/// Returns the actions of what is exported for a command.
fn exported(of: Of) -> BTreeSet<String> {
    let document: Value = flattened(&policy(of, &Scope::default()));
    let actions = document["Statement"][0]["Action"].as_array().expect("actions");
    actions
        .iter()
        .filter_map(|action| action.as_str().map(str::to_owned))
        .collect()
}

fn is_reading(action: &str) -> bool {
    // Whether a command on a host has ended is asked for by what removes the host.
    let asks = ["Describe", "Get", "List"]
        .iter()
        .any(|word| action.contains(&format!(":{word}")));
    asks && action != "ssm:GetCommandInvocation"
}

fn without(actions: &BTreeSet<String>, action: &str) -> BTreeSet<String> {
    actions.iter().filter(|other| *other != action).cloned().collect()
}

/// Asserts that a run failed for want of an action, and named it.
fn fails(action: &str, ran: &Ran) {
    if FORGIVEN.contains(&action) {
        assert_eq!(ran.code, 0, "{action}: {ran}");
        return;
    }
    assert!([1, 3, 5].contains(&ran.code), "{action}: {ran}");
    assert!(ran.stderr.contains(action), "{action} is not named: {ran}");
    assert!(ran.stderr.contains("hint: "), "{action}: {ran}");
}

/// Asserts that whatever was not used is known to be.
fn unused(of: Of, exported: &BTreeSet<String>, used: &BTreeSet<String>) {
    let mut surplus = Vec::new();
    for action in exported.difference(used) {
        let dependent = TABLE.iter().any(|row| {
            row.action == action && row.commands.contains(&of) && matches!(row.need, Need::Dependent(_))
        });
        let known = UNUSED.iter().any(|(other, _)| other == action);
        if !dependent && !known {
            surplus.push(action);
        }
    }
    assert!(
        surplus.is_empty(),
        "no scenario of {} uses {surplus:?}",
        of.word()
    );
    for action in used.difference(exported) {
        // Who asks who he is needs no permission.
        assert_eq!(action, "sts:GetCallerIdentity", "{}", of.word());
    }
}

#[test]
fn up_needs_exactly_what_is_exported() {
    let Some(limited) = Limited::open() else {
        return;
    };
    let exported = exported(Of::Up);
    let (up, fresh) = limited.with(&exported, limited.up());
    assert_eq!(up.code, 0, "{up}");
    let mut used = fresh.clone();
    // What a person changes is mended with the same policy; without the action for it, it is not.
    let mut mending: BTreeMap<&str, Drift> = BTreeMap::new();
    for drift in drifts() {
        if let Some(action) = drift.mends.iter().find(|action| !fresh.contains(**action)) {
            mending.entry(action).or_insert(drift);
        }
    }
    for (action, drift) in &mending {
        (drift.does)(&limited.admin, &seen(&limited.world));
        let (up, _) = limited.with(&without(&exported, action), limited.up());
        fails(action, &up);
        let (up, calls) = limited.with(&exported, limited.up());
        assert_eq!(up.code, 0, "{action}: {up}");
        used.extend(calls);
    }
    // Reads: nothing is made without them.
    let reads = |action: &&String| is_reading(action);
    limited.run_as_admin(limited.down_all());
    for action in fresh
        .iter()
        .filter(reads)
        .filter(|action| exported.contains(*action))
    {
        let (up, _) = limited.with(&without(&exported, action), limited.up());
        fails(action, &up);
        if up.code == 0 || up.stdout.contains("\"done\"") {
            limited.run_as_admin(limited.down_all());
        }
    }
    for action in fresh
        .iter()
        .filter(|action| !reads(action))
        .filter(|action| exported.contains(*action))
    {
        let (up, _) = limited.with(&without(&exported, action), limited.up());
        fails(action, &up);
        limited.run_as_admin(limited.down_all());
    }
    // A host's log group that was left as data is taken over.
    limited.run_as_admin(limited.up());
    limited.run_as_admin(limited.down());
    let (up, _) = limited.with(&without(&exported, "logs:UntagResource"), limited.up());
    fails("logs:UntagResource", &up);
    let (up, calls) = limited.with(&exported, limited.up());
    assert_eq!(up.code, 0, "{up}");
    used.extend(calls);
    // Another number of jobs goes to the host itself, which answers nothing here.
    let jobs = || {
        limited
            .world
            .up_command(&["--notify", TOLD, "--tag", "team=data", "--concurrency", "5"])
    };
    for action in ["ssm:SendCommand", "ssm:GetCommandInvocation"] {
        let (up, _) = limited.with(&without(&exported, action), jobs());
        fails(action, &up);
        // The record has it already, so only another number is a change again.
        limited.run_as_admin(limited.world.down_command(&["--no-drain", "--unprotect"]));
        limited.run_as_admin(limited.up());
    }
    let (up, calls) = limited.with(&exported, jobs());
    assert!(up.stderr.contains("without an answer"), "{up}");
    used.extend(calls);
    unused(Of::Up, &exported, &used);
}

impl Limited {
    fn down_all(&self) -> std::process::Command {
        self.world.down_command(&["--no-drain", "--unprotect"])
    }

    fn run_as_admin(&self, command: std::process::Command) {
        let (ran, _) = self.with(&BTreeSet::from(["*".to_owned()]), command);
        assert_eq!(ran.code, 0, "{ran}");
    }
}

#[test]
fn down_needs_exactly_what_is_exported() {
    let Some(limited) = Limited::open() else {
        return;
    };
    let exported = exported(Of::Down);
    let mut used = BTreeSet::new();
    let protected = || {
        limited
            .world
            .up_command(&["--termination-protection", "--notify", TOLD])
    };
    for down in [limited.down(), limited.world.down_command(&["--unprotect"])] {
        limited.run_as_admin(protected());
        let (down, calls) = limited.with(&exported, down);
        assert_eq!(down.code, 0, "{down}");
        used.extend(calls);
    }
    unused(Of::Down, &exported, &used);
    for action in used.intersection(&exported) {
        limited.run_as_admin(protected());
        let down = if action == "logs:DeleteLogGroup" {
            limited.world.down_command(&["--unprotect"])
        } else {
            limited.down()
        };
        let (down, _) = limited.with(&without(&exported, action), down);
        fails(action, &down);
        if !is_reading(action) {
            limited.run_as_admin(limited.down_all());
        }
    }
}

#[test]
fn status_and_plan_need_exactly_what_is_exported() {
    let Some(limited) = Limited::open() else {
        return;
    };
    // Before there is anything, so that a launch is planned.
    let plan = || plan_command(&limited.world, &["--notify", TOLD]);
    let of_plan = exported(Of::Plan);
    let (planned, mut used) = limited.with(&of_plan, plan());
    assert_eq!(planned.code, 0, "{planned}");
    for action in used.intersection(&of_plan) {
        let (planned, _) = limited.with(&without(&of_plan, action), plan());
        fails(action, &planned);
    }
    limited.run_as_admin(limited.up());
    let (planned, calls) = limited.with(&of_plan, plan());
    assert_eq!(planned.code, 0, "{planned}");
    let more: BTreeSet<String> = calls.difference(&used).cloned().collect();
    for action in more.intersection(&of_plan) {
        let (planned, _) = limited.with(&without(&of_plan, action), plan());
        fails(action, &planned);
    }
    used.extend(calls);
    unused(Of::Plan, &of_plan, &used);

    let of_status = exported(Of::Status);
    let status = || limited.world.command(&["status"], &[]);
    let (said, used) = limited.with(&of_status, status());
    assert_eq!(said.code, 0, "{said}");
    for action in used.intersection(&of_status) {
        let (said, _) = limited.with(&without(&of_status, action), status());
        fails(action, &said);
    }
    unused(Of::Status, &of_status, &used);
}

#[test]
fn doctor_needs_exactly_what_is_exported() {
    let Some(limited) = Limited::open() else {
        return;
    };
    // Silent hosts, so that their console is read, and metrics that never came, so that others are looked for.
    limited.world.hosts(Manner::Silent);
    limited.run_as_admin(
        limited
            .world
            .up_command(&["--notify", TOLD, "--tag", "team=data", "--no-wait"]),
    );
    // Nobody signs the question for the time, which moto does not expect where it enforces policies.
    limited.world.account.rule(Rule::on(":GET /").answer(""));
    let doctor = || limited.world.command(&["doctor"], &["--timeout", "20"]);
    let of_doctor = exported(Of::Doctor);
    let denied = |ran: &Ran| {
        let rows = ran.json["checks"].as_array().cloned().unwrap_or_default();
        let row = rows.into_iter().find(|row| row["code"] == "ACCOUNT-PERMISSIONS");
        row.filter(|row| row["status"] != "ok")
            .map(|row| row["evidence"].to_string())
    };
    let (said, used) = limited.with(&of_doctor, doctor());
    assert!(said.json["checks"].is_array(), "{said}");
    assert_eq!(denied(&said), None, "{said}");
    let used: BTreeSet<String> = used.into_iter().filter(|name| !name.starts_with(':')).collect();
    for action in used.intersection(&of_doctor) {
        let (said, _) = limited.with(&without(&of_doctor, action), doctor());
        assert!([4, 5].contains(&said.code), "{action}: {said}");
        // It only tells what comes instead of what an alarm waits for.
        if action != "cloudwatch:ListMetrics" {
            assert!(
                denied(&said).is_some_and(|text| text.contains(action)),
                "{action}: {said}"
            );
        }
    }
    unused(Of::Doctor, &of_doctor, &used);
}
