//! The least policies hold every call that the code makes, and what they hold is enough and no more.
//!
//! Three layers: the table against the code; the documents as far as moto enforces them; resources and conditions by an
//! evaluator of our own, because no emulator has one.

use std::collections::{BTreeMap, BTreeSet};

use dataops_infra::domain::deployment::name::Name;
use dataops_infra::domain::deployment::owner::{DEPLOYMENT, KEPT};
use dataops_infra::domain::export::iam::{Command, Need, Scope, TABLE, actions, policy, rows};
use serde_json::Value;

use super::bench::account::Account;
use super::bench::launcher::Bench;
use super::bench::policy::{Ask, allows, enforced};
use super::tree::{files, root};

/// What each operation of a step calls to change something.
const OPERATIONS: &[(&str, &[&str])] = &[
    ("CreateRecord", &["ssm:PutParameter"]),
    ("UpdateRecord", &["ssm:PutParameter"]),
    ("Settle", &["ssm:PutParameter"]),
    ("DeleteRecord", &["ssm:DeleteParameter"]),
    ("CreateReport", &["ssm:PutParameter"]),
    ("DeleteReport", &["ssm:DeleteParameter"]),
    ("CreateToken", &["ssm:PutParameter"]),
    ("UpdateToken", &["ssm:PutParameter"]),
    ("DeleteToken", &["ssm:DeleteParameter"]),
    ("CreateRole", &["iam:CreateRole"]),
    ("UpdateTrust", &["iam:UpdateAssumeRolePolicy"]),
    ("PutRolePolicy", &["iam:PutRolePolicy"]),
    ("DeleteRolePolicy", &["iam:DeleteRolePolicy"]),
    ("DeleteRole", &["iam:DeleteRole"]),
    ("CreateInstanceProfile", &["iam:CreateInstanceProfile"]),
    ("AddRole", &["iam:AddRoleToInstanceProfile"]),
    ("RemoveRole", &["iam:RemoveRoleFromInstanceProfile"]),
    ("DeleteInstanceProfile", &["iam:DeleteInstanceProfile"]),
    ("CreateSecurityGroup", &["ec2:CreateSecurityGroup"]),
    ("RevokeIngress", &["ec2:RevokeSecurityGroupIngress"]),
    ("OpenEgress", &["ec2:AuthorizeSecurityGroupEgress"]),
    ("DeleteSecurityGroup", &["ec2:DeleteSecurityGroup"]),
    ("CreateLogGroup", &["logs:CreateLogGroup"]),
    ("SetRetention", &["logs:PutRetentionPolicy"]),
    ("AdoptLogGroup", &["logs:TagResource", "logs:UntagResource"]),
    ("KeepLogGroup", &["logs:TagResource", "logs:UntagResource"]),
    ("DeleteLogGroup", &["logs:DeleteLogGroup"]),
    ("CreateTopic", &["sns:CreateTopic"]),
    ("Subscribe", &["sns:Subscribe"]),
    ("Unsubscribe", &["sns:Unsubscribe"]),
    ("DeleteTopic", &["sns:DeleteTopic"]),
    ("Launch", &["ec2:RunInstances"]),
    ("Start", &["ec2:StartInstances"]),
    ("SetMetadata", &["ec2:ModifyInstanceMetadataOptions"]),
    ("SetSecurityGroups", &["ec2:ModifyInstanceAttribute"]),
    ("Protect", &["ec2:ModifyInstanceAttribute"]),
    ("WaitOnline", &[]),
    ("WaitRunning", &[]),
    ("PutAlarm", &["cloudwatch:PutMetricAlarm"]),
    ("DeleteAlarms", &["cloudwatch:DeleteAlarms"]),
    ("PutDashboard", &["cloudwatch:PutDashboard"]),
    ("DeleteDashboard", &["cloudwatch:DeleteDashboards"]),
    (
        "Tag",
        &[
            "cloudwatch:TagResource",
            "ec2:CreateTags",
            "iam:TagInstanceProfile",
            "iam:TagRole",
            "logs:TagResource",
            "sns:TagResource",
            "ssm:AddTagsToResource",
        ],
    ),
    ("Drain", &["ssm:SendCommand"]),
    ("OnHost", &["ssm:SendCommand", "ssm:CancelCommand"]),
    ("Stop", &["ec2:StopInstances"]),
    ("WaitStopped", &[]),
    ("SetType", &["ec2:ModifyInstanceAttribute"]),
    ("GrowVolume", &["ec2:ModifyVolume"]),
    ("WaitVolume", &[]),
    ("Snapshot", &["ec2:CreateSnapshot"]),
    ("KeepVolume", &["ec2:ModifyInstanceAttribute", "ec2:CreateTags"]),
    ("Terminate", &["ec2:TerminateInstances"]),
    ("WaitGone", &[]),
    ("VerifyGone", &[]),
    // Below, one by one.
    ("Eks", &[]),
    // Calls no service of AWS.
    ("Cluster", &[]),
];

/// The same for each operation on EKS; an empty list is a wait.
const EKS_OPERATIONS: &[(&str, Command, &[&str])] = &[
    ("CreateRole", Command::Up, &["iam:CreateRole", "iam:TagRole"]),
    ("UpdateTrust", Command::Up, &["iam:UpdateAssumeRolePolicy"]),
    ("AttachPolicy", Command::Up, &["iam:AttachRolePolicy"]),
    ("DetachPolicy", Command::Down, &["iam:DetachRolePolicy"]),
    ("PutPolicy", Command::Up, &["iam:PutRolePolicy"]),
    ("DeletePolicy", Command::Down, &["iam:DeleteRolePolicy"]),
    ("DeleteRole", Command::Down, &["iam:DeleteRole"]),
    (
        "CreateCluster",
        Command::Up,
        &["eks:CreateCluster", "eks:TagResource", "iam:PassRole"],
    ),
    ("WaitCluster", Command::Up, &[]),
    (
        "UpdateEndpoint",
        Command::Up,
        &["eks:UpdateClusterConfig", "eks:DescribeUpdate"],
    ),
    (
        "UpdateLogging",
        Command::Up,
        &["eks:UpdateClusterConfig", "eks:DescribeUpdate"],
    ),
    (
        "UpdateSupport",
        Command::Up,
        &["eks:UpdateClusterConfig", "eks:DescribeUpdate"],
    ),
    (
        "UpdateVersion",
        Command::Up,
        &["eks:UpdateClusterVersion", "eks:DescribeUpdate"],
    ),
    ("DeleteCluster", Command::Down, &["eks:DeleteCluster"]),
    ("WaitClusterGone", Command::Down, &[]),
    (
        "CreateAccessEntry",
        Command::Up,
        &["eks:CreateAccessEntry", "eks:TagResource"],
    ),
    (
        "AssociateAccessPolicy",
        Command::Up,
        &["eks:AssociateAccessPolicy"],
    ),
    ("DeleteAccessEntry", Command::Down, &["eks:DeleteAccessEntry"]),
    (
        "CreateLaunchTemplate",
        Command::Up,
        &["ec2:CreateLaunchTemplate", "ec2:CreateTags"],
    ),
    (
        "NewTemplateVersion",
        Command::Up,
        &["ec2:CreateLaunchTemplateVersion"],
    ),
    (
        "DeleteLaunchTemplate",
        Command::Down,
        &["ec2:DeleteLaunchTemplate"],
    ),
    (
        "CreateNodeGroup",
        Command::Up,
        &["eks:CreateNodegroup", "ec2:RunInstances", "iam:PassRole"],
    ),
    ("WaitNodeGroup", Command::Up, &[]),
    (
        "ScaleNodeGroup",
        Command::Up,
        &["eks:UpdateNodegroupConfig", "eks:DescribeUpdate"],
    ),
    (
        "UpdateNodeGroup",
        Command::Up,
        &["eks:UpdateNodegroupVersion", "eks:DescribeUpdate"],
    ),
    ("DeleteNodeGroup", Command::Down, &["eks:DeleteNodegroup"]),
    ("WaitNodeGroupGone", Command::Down, &[]),
    (
        "CreateAddon",
        Command::Up,
        &[
            "eks:CreateAddon",
            "eks:CreatePodIdentityAssociation",
            "iam:PassRole",
        ],
    ),
    (
        "UpdateAddon",
        Command::Up,
        &["eks:UpdateAddon", "eks:UpdatePodIdentityAssociation"],
    ),
    ("WaitAddon", Command::Up, &[]),
    (
        "DeleteAddon",
        Command::Down,
        &["eks:DeleteAddon", "eks:DeletePodIdentityAssociation"],
    ),
    ("WaitAddonGone", Command::Down, &[]),
    (
        "CreatePodIdentity",
        Command::Up,
        &["eks:CreatePodIdentityAssociation", "iam:PassRole"],
    ),
    (
        "DeletePodIdentity",
        Command::Down,
        &["eks:DeletePodIdentityAssociation"],
    ),
    (
        "CreateFileSystem",
        Command::Up,
        &[
            "elasticfilesystem:CreateFileSystem",
            "elasticfilesystem:TagResource",
        ],
    ),
    ("WaitFileSystem", Command::Up, &[]),
    (
        "DeleteFileSystem",
        Command::Down,
        &["elasticfilesystem:DeleteFileSystem"],
    ),
    (
        "KeepFileSystem",
        Command::Down,
        &["elasticfilesystem:TagResource", "elasticfilesystem:UntagResource"],
    ),
    (
        "CreateMountTarget",
        Command::Up,
        &[
            "elasticfilesystem:CreateMountTarget",
            "ec2:CreateNetworkInterface",
        ],
    ),
    ("WaitMountTargets", Command::Up, &[]),
    (
        "DeleteMountTarget",
        Command::Down,
        &["elasticfilesystem:DeleteMountTarget"],
    ),
    ("WaitMountTargetsGone", Command::Down, &[]),
    (
        "CreateEfsGroup",
        Command::Up,
        &["ec2:CreateSecurityGroup", "ec2:CreateTags"],
    ),
    ("AllowNfs", Command::Up, &["ec2:AuthorizeSecurityGroupIngress"]),
    (
        "CreateLogGroup",
        Command::Up,
        &["logs:CreateLogGroup", "logs:TagResource"],
    ),
    ("SetRetention", Command::Up, &["logs:PutRetentionPolicy"]),
    ("DeleteLogGroup", Command::Down, &["logs:DeleteLogGroup"]),
    (
        "Tag",
        Command::Up,
        &[
            "ec2:CreateTags",
            "eks:TagResource",
            "elasticfilesystem:TagResource",
            "iam:TagRole",
            "logs:TagResource",
        ],
    ),
];

/// What an operation of AWS begins with, as a method of a client.
const VERBS: &[&str] = &[
    "add_role_to_",
    "add_tags_to_",
    "assume_",
    "associate_",
    "attach_",
    "authorize_",
    "cancel_",
    "create_",
    "delete_",
    "describe_",
    "detach_",
    "get_",
    "list_",
    "modify_",
    "put_",
    "reboot_",
    "remove_role_from_",
    "revoke_",
    "run_instances",
    "send_command",
    "start_instances",
    "stop_",
    "subscribe",
    "tag_",
    "terminate_",
    "unsubscribe",
    "untag_",
    "update_",
];

/// Methods of builders and values that begin alike.
const NO_CALLS: &[&str] = &["assume_role_policy_document", "tag_list"];

/// Returns the calls `.verb_something()` without arguments, which is how the SDK begins an operation.
fn calls(text: &str) -> Vec<String> {
    let mut calls = Vec::new();
    for (start, _) in text.match_indices('.') {
        let rest = &text[start + 1..];
        let end = rest
            .find(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '_')
            .unwrap_or(rest.len());
        let name = &rest[..end];
        let is_call = VERBS.iter().any(|verb| name.starts_with(verb)) && !NO_CALLS.contains(&name);
        if rest[end..].starts_with("()") && is_call {
            calls.push(name.to_owned());
        }
    }
    calls
}

/// Returns `RunInstances` for `run_instances`.
fn pascal(name: &str) -> String {
    let word = |word: &str| word[..1].to_uppercase() + &word[1..];
    name.split('_').map(word).collect()
}

/// Returns actions that a text names in constants such as `const RUN: &str = "ec2:RunInstances"`.
fn named(text: &str) -> Vec<String> {
    let constant = |line: &str| {
        let value = line.split_once(": &str = \"")?.1.strip_suffix("\";")?;
        let (service, action) = value.split_once(':')?;
        let plain = service
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let is_action = plain && action.starts_with(|c: char| c.is_ascii_uppercase());
        (is_action && action.chars().all(char::is_alphanumeric)).then(|| value.to_owned())
    };
    text.lines().filter_map(constant).collect()
}

fn sources() -> Vec<(String, String)> {
    files(&root().join("src/aws"))
        .iter()
        .map(|path| {
            let text = std::fs::read_to_string(path).expect("a source file is text");
            (path.display().to_string(), text)
        })
        .collect()
}

fn is_read(action: &str) -> bool {
    let verb = action.split_once(':').map_or("", |(_, verb)| verb);
    ["Get", "List", "Describe"]
        .iter()
        .any(|read| verb.starts_with(read))
}

#[test]
fn every_call_has_its_action_named_in_the_same_file() {
    for (path, text) in sources() {
        let named: Vec<String> = named(&text);
        for call in calls(&text) {
            let action = format!(":{}", pascal(&call));
            assert!(
                named.iter().any(|name| name.ends_with(&action)),
                "{path} calls {call} and names no action for it"
            );
        }
    }
}

#[test]
fn the_table_has_the_calls_of_the_code_and_no_others() {
    let called: BTreeSet<String> = sources().iter().flat_map(|(_, text)| named(text)).collect();
    let listed: BTreeSet<String> = TABLE
        .iter()
        .filter(|row| !matches!(row.need, Need::Dependent(_)))
        .map(|row| row.action.to_owned())
        .collect();
    let missing: Vec<_> = called.difference(&listed).collect();
    assert!(missing.is_empty(), "called, and not in the table: {missing:?}");
    let unused: Vec<_> = listed.difference(&called).collect();
    assert!(unused.is_empty(), "in the table, and never called: {unused:?}");
}

/// Returns the variants of an enum in a source file.
fn variants<'a>(text: &'a str, name: &str) -> BTreeSet<&'a str> {
    let beginning = format!("pub enum {name} ");
    text.lines()
        .skip_while(|line| !line.starts_with(&beginning))
        .take_while(|line| *line != "}")
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()))
        .filter_map(|line| line.split([',', '(', ' ']).next())
        .collect()
}

#[test]
fn up_and_down_may_do_what_operations_on_eks_do() {
    let path = root().join("src/domain/deployment/eks/operation.rs");
    let text = std::fs::read_to_string(path).expect("a source file is text");
    let known: BTreeSet<&str> = EKS_OPERATIONS.iter().map(|(name, ..)| *name).collect();
    assert_eq!(
        variants(&text, "EksOperation"),
        known,
        "EKS_OPERATIONS is the whole enum"
    );
    for scope in [on_eks(None), on_eks(Some("abc"))] {
        let allowed =
            |command| -> BTreeSet<&str> { rows(command, &scope).iter().map(|row| row.action).collect() };
        let (up, down) = (allowed(Command::Up), allowed(Command::Down));
        for (name, command, actions) in EKS_OPERATIONS {
            let allowed = if *command == Command::Up { &up } else { &down };
            for action in *actions {
                assert!(
                    allowed.contains(action),
                    "{} needs {action} for {name}",
                    command.word()
                );
            }
        }
        let changes: BTreeSet<&str> = EKS_OPERATIONS
            .iter()
            .flat_map(|(.., actions)| *actions)
            .copied()
            .collect();
        let mut more: Vec<&str> = up.union(&down).copied().collect();
        more.retain(|action| {
            let of_eks = TABLE
                .iter()
                .any(|row| row.action == *action && row.only_eks && row.need == Need::Called);
            of_eks && !is_read(action) && !changes.contains(action)
        });
        assert!(more.is_empty(), "no operation needs {more:?}");
        assert!(
            !up.iter().any(|action| action.starts_with("eks:Delete")),
            "up removes nothing"
        );
    }
    let hosts = actions_of(&policy(Command::Up, &scope(None)));
    assert!(
        !hosts
            .iter()
            .any(|action| action.starts_with("eks:") || action.starts_with("elasticfilesystem:"))
    );
}

fn actions_of(document: &Value) -> BTreeSet<String> {
    let statements = document["Statement"].as_array().expect("statements").iter();
    let actions = statements.flat_map(|statement| statement["Action"].as_array().expect("actions"));
    actions
        .map(|action| action.as_str().expect("a text").to_owned())
        .collect()
}

fn on_eks(name: Option<&str>) -> Scope {
    Scope {
        eks: true,
        cluster: Some("c".to_owned()),
        ..scope(name)
    }
}

#[test]
fn eks_is_scoped_by_cluster_template_and_service() {
    let up = policy(Command::Up, &on_eks(Some("abc")));
    let cluster = arn("eks", "cluster/c");
    assert!(
        given(&up, "eks:CreateNodegroup", &cluster, NOBODY, OURS, &[]),
        "an adopted cluster has no tags of ours"
    );
    assert!(!given(&up, "eks:CreateNodegroup", &cluster, NOBODY, NOBODY, &[]));
    assert!(!given(
        &up,
        "eks:CreateNodegroup",
        &arn("eks", "cluster/d"),
        OURS,
        OURS,
        &[]
    ));
    assert!(may(&up, "eks:UpdateClusterConfig", &cluster, OURS));
    assert!(
        !may(&up, "eks:UpdateClusterConfig", &cluster, NOBODY),
        "an adopted cluster is not changed"
    );
    let nodes = arn("eks", "nodegroup/c/dataops-infra-abc/1");
    assert!(may(&up, "eks:UpdateNodegroupConfig", &nodes, OURS));
    assert!(!may(
        &up,
        "eks:UpdateNodegroupConfig",
        &arn("eks", "nodegroup/c/other/1"),
        OURS
    ));
    let template = arn("ec2", "launch-template/lt-1");
    let by = |key: &str| {
        given(
            &up,
            "ec2:RunInstances",
            &arn("ec2", "instance/*"),
            &[],
            &[],
            &[(key, &template)],
        )
    };
    assert!(
        by("ec2:LaunchTemplate") && !by("ec2:Vpc"),
        "nodes are launched by a template alone"
    );
    assert!(may(&up, "ec2:RunInstances", &template, OURS) && !may(&up, "ec2:RunInstances", &template, OTHER));
    let role = arn("iam", "role/dataops-infra/dataops-abc-eu-west-2-node");
    let pass = |to| {
        given(
            &up,
            "iam:PassRole",
            &role,
            OURS,
            &[],
            &[("iam:PassedToService", to)],
        )
    };
    assert!(pass("eks.amazonaws.com") && pass("pods.eks.amazonaws.com") && pass("ec2.amazonaws.com"));
    assert!(!pass("lambda.amazonaws.com"));
    assert!(
        may(&up, "iam:AttachRolePolicy", &role, &[])
            && !may(&up, "iam:AttachRolePolicy", &arn("iam", "role/admin"), OURS)
    );
    let service = |name| {
        let role = "role/aws-service-role/eks.amazonaws.com/AWSServiceRoleForAmazonEKS";
        given(
            &up,
            "iam:CreateServiceLinkedRole",
            &arn("iam", role),
            &[],
            &[],
            &[("iam:AWSServiceName", name)],
        )
    };
    assert!(service("eks.amazonaws.com") && !service("support.amazonaws.com"));
    let down = policy(Command::Down, &on_eks(Some("abc")));
    assert!(
        may(&down, "eks:DeleteCluster", &cluster, OURS) && !may(&down, "eks:DeleteCluster", &cluster, NOBODY)
    );
    let system = arn("elasticfilesystem", "file-system/fs-1");
    assert!(may(&down, "elasticfilesystem:DeleteFileSystem", &system, OURS));
    assert!(!may(&down, "elasticfilesystem:DeleteFileSystem", &system, OTHER));
    let logs = arn("logs", "log-group:/aws/eks/c/cluster");
    assert!(may(&down, "logs:DeleteLogGroup", &logs, OURS) && !may(&down, "logs:UntagResource", &logs, OURS));
    let status = actions_of(&policy(Command::Status, &on_eks(None)));
    assert!(status.iter().all(|action| is_read(action)), "{status:?}");
    assert!(status.contains("eks:DescribeCluster") && !status.contains("ssm:GetCommandInvocation"));
}

#[test]
fn up_and_down_may_change_what_their_steps_change() {
    let text = |path: &str| std::fs::read_to_string(root().join(path)).expect("a source file is text");
    let known: BTreeMap<&str, &[&str]> = OPERATIONS.iter().copied().collect();
    let operations = text("src/domain/deployment/operation.rs");
    assert_eq!(
        variants(&operations, "Operation"),
        known.keys().copied().collect(),
        "OPERATIONS is the whole enum"
    );

    let mut planned = BTreeSet::new();
    let mut needed = BTreeMap::new();
    let sources = [
        (Command::Up, text("src/domain/deployment/up.rs")),
        (Command::Down, text("src/domain/deployment/down.rs")),
    ];
    for (command, code) in &sources {
        let code = code.split("#[cfg(test)]").next().unwrap_or_default();
        let steps: BTreeSet<&str> = code
            .split("Operation::")
            .skip(1)
            .filter_map(|rest| rest.split(|c: char| !c.is_alphanumeric()).next())
            .collect();
        let changes: BTreeSet<&str> = steps.iter().flat_map(|step| known[step]).copied().collect();
        planned.extend(steps);
        needed.insert(command.word(), (*command, changes));
    }
    // An operation that the code can carry out and no step asks for is of whoever the table says.
    let unplanned: BTreeSet<&str> = known
        .iter()
        .filter(|(operation, _)| !planned.contains(*operation))
        .flat_map(|(_, actions)| actions.iter().copied())
        .collect();
    for (word, (command, changes)) in needed {
        let allowed: BTreeSet<&str> = TABLE
            .iter()
            .filter(|row| row.commands.contains(&command) && row.need == Need::Called)
            .filter(|row| !is_read(row.action) && !row.only_eks)
            .map(|row| row.action)
            .collect();
        let missing: Vec<_> = changes.difference(&allowed).collect();
        assert!(missing.is_empty(), "{word} is not allowed {missing:?}");
        let more: Vec<_> = allowed
            .difference(&changes)
            .filter(|action| !unplanned.contains(**action))
            .collect();
        assert!(more.is_empty(), "{word} has no step for {more:?}");
    }
}

#[test]
fn all_commands_read_what_there_is_of_a_deployment() {
    let observed: BTreeSet<String> = ["observe", "tags", "role", "topic", "dashboard", "alarm", "logs"]
        .iter()
        .flat_map(|file| {
            let path = root().join(format!("src/aws/{file}.rs"));
            named(&std::fs::read_to_string(path).expect("a source file is text"))
        })
        .filter(|action| is_read(action))
        .collect();
    assert!(observed.len() > 10, "{observed:?}");
    let eks: BTreeSet<String> = [
        "cluster", "nodes", "addon", "access", "template", "storage", "role",
    ]
    .iter()
    .flat_map(|file| {
        let path = root().join(format!("src/aws/eks/{file}.rs"));
        named(&std::fs::read_to_string(path).expect("a source file is text"))
    })
    .filter(|action| is_read(action))
    .collect();
    assert!(eks.len() > 10, "{eks:?}");
    for command in Command::ALL {
        let allowed: BTreeSet<&str> = rows(command, &on_eks(None))
            .iter()
            .map(|row| row.action)
            .collect();
        for action in &eks {
            assert!(
                allowed.contains(action.as_str()),
                "{} needs {action} on EKS",
                command.word()
            );
        }
    }
    for command in Command::ALL {
        let allowed = actions(command);
        for action in &observed {
            assert!(
                allowed.contains(action.as_str()),
                "{} needs {action}",
                command.word()
            );
        }
    }
}

fn scope(name: Option<&str>) -> Scope {
    Scope {
        eks: false,
        cluster: None,
        name: name.map(|name| Name::new(name).expect("sound")),
        region: Some("eu-west-2".to_owned()),
        account: Some("111111111111".to_owned()),
        parameters: vec!["/team/token".to_owned()],
        secrets: Vec::new(),
        keys: vec!["arn:aws:kms:eu-west-2:111111111111:key/1234".to_owned()],
        read_only: false,
    }
}

#[test]
fn documents_are_well_formed() {
    for command in Command::ALL {
        let eks = Scope {
            eks: true,
            ..Scope::default()
        };
        for scope in [
            Scope::default(),
            scope(None),
            scope(Some("abc")),
            eks,
            on_eks(None),
            on_eks(Some("abc")),
        ] {
            let document = policy(command, &scope);
            assert_eq!(document["Version"], "2012-10-17");
            let (mut sids, mut seen) = (BTreeSet::new(), BTreeSet::new());
            let known = actions(command);
            for statement in document["Statement"].as_array().expect("statements") {
                assert_eq!(statement["Effect"], "Allow");
                let sid = statement["Sid"].as_str().expect("a name");
                assert!(
                    sid.chars().all(|c| c.is_ascii_alphanumeric()) && sids.insert(sid.to_owned()),
                    "{sid}"
                );
                for field in ["Action", "Resource"] {
                    assert!(
                        statement[field].as_array().is_some_and(|list| !list.is_empty()),
                        "{statement}"
                    );
                }
                for action in statement["Action"].as_array().expect("a list") {
                    let action = action.as_str().expect("a text");
                    assert!(known.contains(action), "{action} is not in the table");
                    for resource in statement["Resource"].as_array().expect("a list") {
                        let key = format!("{action} {resource} {}", statement["Condition"]);
                        assert!(seen.insert(key.clone()), "twice: {key}");
                    }
                }
            }
        }
    }
}

const ACCOUNT: &str = "111111111111";
const OURS: &[(&str, &str)] = &[(DEPLOYMENT, "abc")];
const OTHER: &[(&str, &str)] = &[(DEPLOYMENT, "other")];
const NOBODY: &[(&str, &str)] = &[("team", "data")];

/// Returns the ARN of something in our account and region.
fn arn(service: &str, rest: &str) -> String {
    match service {
        "iam" => format!("arn:aws:iam::{ACCOUNT}:{rest}"),
        _ => format!("arn:aws:{service}:eu-west-2:{ACCOUNT}:{rest}"),
    }
}

/// Whether a command may do something on one thing.
fn may(document: &Value, action: &str, resource: &str, tags: &[(&str, &str)]) -> bool {
    given(document, action, resource, tags, &[], &[])
}

/// The same with tags and other keys in the request.
fn given(
    document: &Value,
    action: &str,
    resource: &str,
    tags: &[(&str, &str)],
    gives: &[(&str, &str)],
    keys: &[(&str, &str)],
) -> bool {
    let on = [(resource, tags)];
    let region = if resource.contains("us-east-1") {
        "us-east-1"
    } else {
        "eu-west-2"
    };
    allows(
        document,
        &Ask {
            action,
            on: &on,
            gives,
            region,
            keys,
        },
    )
}

#[test]
fn down_removes_what_is_tagged_and_nothing_else() {
    let instance = arn("ec2", "instance/i-1");
    let group = arn("ec2", "security-group/sg-1");
    let role = arn("iam", "role/dataops-infra/dataops-abc-eu-west-2");
    for named in [None, Some("abc")] {
        let down = policy(Command::Down, &scope(named));
        for (action, thing) in [
            ("ec2:TerminateInstances", &instance),
            ("ec2:DeleteSecurityGroup", &group),
            ("ec2:ModifyInstanceAttribute", &instance),
            ("ssm:SendCommand", &instance),
            ("iam:DeleteRole", &role),
            ("iam:DeleteRolePolicy", &role),
        ] {
            assert!(may(&down, action, thing, OURS), "{action}");
            assert!(!may(&down, action, thing, NOBODY), "{action}");
            assert_eq!(may(&down, action, thing, OTHER), named.is_none(), "{action}");
        }
        assert!(!may(
            &down,
            "iam:DeleteRole",
            &arn("iam", "role/dataops-abc-eu-west-2"),
            OURS
        ));
        assert!(!may(&down, "ec2:RunInstances", &instance, OURS));
        let elsewhere = format!("arn:aws:ec2:us-east-1:{ACCOUNT}:instance/i-1");
        assert!(!may(&down, "ec2:TerminateInstances", &elsewhere, OURS));
    }
}

#[test]
fn down_runs_scripts_on_its_hosts_alone() {
    let down = policy(Command::Down, &scope(None));
    let shell = "arn:aws:ssm:eu-west-2::document/AWS-RunShellScript";
    let host = arn("ec2", "instance/i-1");
    let ask = |document: &str, tags: &[(&str, &str)]| {
        let on = [(document, &[][..]), (host.as_str(), tags)];
        allows(
            &down,
            &Ask {
                action: "ssm:SendCommand",
                on: &on,
                region: "eu-west-2",
                ..Ask::default()
            },
        )
    };
    assert!(ask(shell, OURS));
    assert!(!ask(shell, NOBODY));
    assert!(!ask(
        "arn:aws:ssm:eu-west-2::document/AWS-RunPowerShellScript",
        OURS
    ));
}

#[test]
fn down_copies_its_volumes_and_marks_the_copies() {
    let down = policy(Command::Down, &scope(None));
    let volume = arn("ec2", "volume/vol-1");
    let copy = "arn:aws:ec2:eu-west-2::snapshot/snap-1";
    let kept = &[(KEPT, "0000000000000000")][..];
    assert!(may(&down, "ec2:CreateSnapshot", &volume, OURS));
    assert!(!may(&down, "ec2:CreateSnapshot", &volume, NOBODY));
    assert!(given(&down, "ec2:CreateSnapshot", copy, &[], kept, &[]));
    assert!(!given(&down, "ec2:CreateSnapshot", copy, &[], NOBODY, &[]));
    let made = |by| {
        given(
            &down,
            "ec2:CreateTags",
            copy,
            &[],
            kept,
            &[("ec2:CreateAction", by)],
        )
    };
    assert!(made("CreateSnapshot") && !made("CopySnapshot"));
    assert!(!may(&down, "ec2:CreateTags", copy, NOBODY), "not later");
    assert!(may(&down, "ec2:CreateTags", &volume, OURS));
    assert!(!may(&down, "ec2:CreateTags", &arn("ec2", "instance/i-1"), OURS));
}

#[test]
fn up_makes_roles_below_its_path_and_gives_them_to_ec2() {
    for named in [None, Some("abc")] {
        let up = policy(Command::Up, &scope(named));
        let ours = arn("iam", "role/dataops-infra/dataops-abc-eu-west-2");
        let admin = arn("iam", "role/admin");
        for role in [
            &admin,
            &arn("iam", "role/dataops-abc-eu-west-2"),
            &arn("iam", "role/x/dataops-infra/a"),
        ] {
            for action in ["iam:PutRolePolicy", "iam:TagRole", "iam:UpdateAssumeRolePolicy"] {
                assert!(!given(&up, action, role, OURS, OURS, &[]), "{action} {role}");
            }
            assert!(!given(&up, "iam:CreateRole", role, &[], OURS, &[]), "{role}");
            let ec2 = &[("iam:PassedToService", "ec2.amazonaws.com")];
            assert!(!given(&up, "iam:PassRole", role, OURS, &[], ec2), "{role}");
        }
        assert!(given(&up, "iam:CreateRole", &ours, &[], OURS, &[]));
        assert!(!given(&up, "iam:CreateRole", &ours, &[], NOBODY, &[]));
        assert!(may(&up, "iam:PutRolePolicy", &ours, &[]));
        let pass = |to| {
            given(
                &up,
                "iam:PassRole",
                &ours,
                OURS,
                &[],
                &[("iam:PassedToService", to)],
            )
        };
        assert!(pass("ec2.amazonaws.com") && !pass("lambda.amazonaws.com"));
        // Of a role that is not there IAM does not know the path.
        assert!(may(
            &up,
            "iam:GetRole",
            &arn("iam", "role/dataops-abc-eu-west-2"),
            &[]
        ));
        assert!(may(&up, "iam:GetRole", &ours, OURS) && !may(&up, "iam:GetRole", &admin, &[]));
        assert!(!may(&up, "iam:DeleteRole", &ours, OURS), "up removes nothing");
        let service = |name| {
            let role = "role/aws-service-role/events.amazonaws.com/AWSServiceRoleForCloudWatchEvents";
            given(
                &up,
                "iam:CreateServiceLinkedRole",
                &arn("iam", role),
                &[],
                &[],
                &[("iam:AWSServiceName", name)],
            )
        };
        assert!(service("events.amazonaws.com") && !service("support.amazonaws.com"));
    }
}

#[test]
fn up_launches_with_its_tag_and_not_without() {
    for (named, other) in [(None, true), (Some("abc"), false)] {
        for command in [Command::Plan, Command::Up] {
            let document = policy(command, &scope(named));
            let instance = arn("ec2", "instance/*");
            let volume = arn("ec2", "volume/*");
            let rest = [
                arn("ec2", "subnet/s-1"),
                arn("ec2", "security-group/sg-1"),
                arn("ec2", "network-interface/*"),
            ];
            let launch = |gives: &[(&str, &str)]| {
                let mut on: Vec<(&str, &[(&str, &str)])> = vec![
                    ("arn:aws:ec2:eu-west-2::image/ami-1", &[]),
                    (&instance, &[]),
                    (&volume, &[]),
                ];
                on.extend(rest.iter().map(|arn| (arn.as_str(), &[][..])));
                allows(
                    &document,
                    &Ask {
                        action: "ec2:RunInstances",
                        on: &on,
                        gives,
                        region: "eu-west-2",
                        keys: &[],
                    },
                )
            };
            assert!(launch(OURS), "{}", command.word());
            assert!(!launch(NOBODY));
            assert_eq!(launch(OTHER), other);
            let tag = |by| {
                given(
                    &document,
                    "ec2:CreateTags",
                    &instance,
                    &[],
                    OURS,
                    &[("ec2:CreateAction", by)],
                )
            };
            assert!(tag("RunInstances") && !tag("CreateVolume"));
        }
        let up = policy(Command::Up, &scope(named));
        assert!(
            !given(
                &up,
                "ec2:CreateTags",
                &arn("ec2", "instance/i-1"),
                NOBODY,
                OURS,
                &[]
            ),
            "takes over nothing"
        );
        assert!(may(&up, "ec2:CreateTags", &arn("ec2", "instance/i-1"), OURS));
        assert!(!may(
            &up,
            "ec2:TerminateInstances",
            &arn("ec2", "instance/i-1"),
            OURS
        ));
        let group = arn("ec2", "security-group/sg-1");
        assert!(given(&up, "ec2:CreateSecurityGroup", &group, &[], OURS, &[]));
        assert!(!given(&up, "ec2:CreateSecurityGroup", &group, &[], NOBODY, &[]));
        assert!(may(&up, "ec2:RevokeSecurityGroupIngress", &group, OURS));
        assert!(!may(&up, "ec2:RevokeSecurityGroupIngress", &group, NOBODY));
    }
}

#[test]
fn names_are_the_scope_of_what_has_names() {
    let all = policy(Command::Up, &scope(None));
    let one = policy(Command::Up, &scope(Some("abc")));
    for (action, ours, others, strangers) in [
        (
            "ssm:PutParameter",
            "parameter/dataops-infra/abc/host",
            "parameter/dataops-infra/xyz/host",
            "parameter/team/a",
        ),
        (
            "ssm:GetParameters",
            "parameter/dataops-infra/abc/token",
            "parameter/dataops-infra/xyz/token",
            "parameter/a",
        ),
        (
            "sns:Subscribe",
            "dataops-infra-abc",
            "dataops-infra-xyz",
            "alerts",
        ),
        (
            "sns:Unsubscribe",
            "dataops-infra-abc",
            "dataops-infra-xyz",
            "alerts",
        ),
        (
            "logs:PutRetentionPolicy",
            "log-group:/dataops-infra/abc",
            "log-group:/dataops-infra/xyz",
            "log-group:/a",
        ),
        (
            "cloudwatch:PutMetricAlarm",
            "alarm:dataops-infra/abc/cpu",
            "alarm:dataops-infra/xyz/cpu",
            "alarm:cpu",
        ),
    ] {
        let service = action.split_once(':').expect("an action").0;
        for (document, others_too) in [(&all, true), (&one, false)] {
            assert!(may(document, action, &arn(service, ours), &[]), "{action}");
            assert_eq!(
                may(document, action, &arn(service, others), &[]),
                others_too,
                "{action}"
            );
            assert!(!may(document, action, &arn(service, strangers), &[]), "{action}");
        }
    }
    assert!(
        may(
            &one,
            "ssm:GetParameters",
            &arn("ssm", "parameter/team/token"),
            &[]
        ),
        "named by --parameter"
    );
    assert!(may(
        &one,
        "ssm:GetParameters",
        "arn:aws:ssm:eu-west-2::parameter/aws/service/canonical/x",
        &[]
    ));
    assert!(!may(
        &one,
        "ssm:PutParameter",
        &arn("ssm", "parameter/team/token"),
        &[]
    ));
    assert!(may(
        &one,
        "cloudwatch:PutDashboard",
        &format!("arn:aws:cloudwatch::{ACCOUNT}:dashboard/dataops-infra-abc-eu-west-2"),
        &[]
    ));
    assert!(!may(
        &one,
        "cloudwatch:PutDashboard",
        &format!("arn:aws:cloudwatch::{ACCOUNT}:dashboard/mine"),
        &[]
    ));
}

#[test]
fn keys_of_the_users_are_used_through_aws_only() {
    let up = policy(Command::Up, &scope(None));
    let key = arn("kms", "key/1234");
    let via = |action, service| given(&up, action, &key, &[], &[], &[("kms:ViaService", service)]);
    assert!(via("kms:Decrypt", "ssm.eu-west-2.amazonaws.com") && !may(&up, "kms:Decrypt", &key, &[]));
    assert!(!via("kms:Decrypt", "s3.eu-west-2.amazonaws.com"));
    let grant = |value| {
        given(
            &up,
            "kms:CreateGrant",
            &key,
            &[],
            &[],
            &[("kms:GrantIsForAWSResource", value)],
        )
    };
    assert!(grant("true") && !grant("false"));
    let none = policy(Command::Up, &Scope::default());
    assert!(!none.to_string().contains("kms:"));
}

#[test]
fn reading_stays_in_the_region() {
    let status = policy(Command::Status, &scope(None));
    let reads = |region| {
        allows(
            &status,
            &Ask {
                action: "ec2:DescribeInstances",
                region,
                ..Ask::default()
            },
        )
    };
    assert!(reads("eu-west-2") && !reads("us-east-1"));
    let lists = Ask {
        action: "iam:ListRoles",
        region: "us-east-1",
        ..Ask::default()
    };
    assert!(allows(&status, &lists), "IAM answers from one region");
}

#[test]
fn moto_lets_a_key_do_what_its_policy_says() {
    // Enforcement is switched for the whole process.
    let Some(bench) = Bench::start() else {
        return;
    };
    let account = Account::on(&bench);
    let key = enforced(&account, &policy(Command::Status, &scope(Some("abc"))));
    bench.enforce_policies();
    let status =
        |operation: &str, parameters: &[(&str, &str)]| account.query(&key, "ec2", operation, parameters).0;
    assert_eq!(status("DescribeInstances", &[]), 200, "without its condition");
    assert_eq!(status("TerminateInstances", &[("InstanceId.1", "i-1")]), 403);
    let target = "AmazonSSM.PutParameter";
    let put = serde_json::json!({"Name": "/dataops-infra/abc/host", "Value": "x", "Type": "String"});
    assert!(
        account.json(&key, "ssm", target, &put).0 >= 400,
        "status writes nothing"
    );
}

#[test]
fn calls_and_names_are_found() {
    let code = "client.describe_instance_types().into_paginator();\n client\n    .get_products()\n .send(); a.start_time(); b.start(x)";
    assert_eq!(calls(code), ["describe_instance_types", "get_products"]);
    assert_eq!(pascal("run_instances"), "RunInstances");
    let code = "const RUN: &str = \"ec2:RunInstances\";\n/// A: b\npub const X: &str = \"a b:C\";\nconst Y: &str = \"ssm:parameter\";";
    assert_eq!(named(code), ["ec2:RunInstances"]);
}
