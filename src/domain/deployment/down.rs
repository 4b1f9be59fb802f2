//! From what there is to nothing: the steps of `down`, and what stays because it is not provably ours.

mod eks;

use std::collections::BTreeMap;

use serde::Serialize;

use super::name::Host;
use super::observed::{Instance, Observed, Tagged};
use super::operation::Operation;
use super::owner::{self, KEPT, Owner};
use super::record::{Phase, Record};
use super::report::Report;
use super::resource::dashboard;
use super::resource::instance::{RUNGS, fingerprint};
use super::step::{Action, Block, Step, Steps};

/// How to remove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Leave what holds data: the hosts' volumes and the logs.
    pub keep_data: bool,
    /// Copy each host's volume first.
    pub snapshot: bool,
    /// Seconds that jobs may take to finish; none: they are not waited for.
    pub drain_seconds: Option<u32>,
    /// Terminate hosts that are protected from it.
    pub unprotect: bool,
    /// Remove the file system of a deployment on EKS, which is left as data otherwise.
    pub delete_storage: bool,
}

/// Something that stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stays {
    /// What it is in AWS.
    pub what: String,
    /// Why it stays.
    pub why: String,
}

/// The way down.
#[derive(Clone, Debug, Default)]
pub struct Descent {
    /// The steps.
    pub steps: Vec<Step>,
    /// What stays.
    pub stays: Vec<Stays>,
    /// What is in the way.
    pub blocks: Vec<Block>,
}

/// Returns the address of an alarm by its name: `alarm-memory` for `dataops-infra/NAME/memory`.
fn alarm_address(owner: &Owner, name: &str) -> Option<String> {
    let rest = name.strip_prefix(&owner.name.alarm_prefix())?;
    match rest.split_once('/') {
        None => Some(format!("alarm-{rest}")),
        Some((number, alarm)) => {
            let host = Host {
                number: Some(number.parse().ok()?),
            };
            Some(host.address(&format!("alarm-{alarm}")))
        }
    }
}

/// Whether an alarm is of this deployment in this life: by its name and its tags, which must agree.
pub fn owns_alarm(owner: &Owner, name: &str, tags: &owner::Tags) -> bool {
    alarm_address(owner, name).is_some_and(|address| owner.owns(tags, &address))
}

/// Returns the hosts of ours that live, each with its address.
pub fn living<'a>(owner: &Owner, observed: &'a Observed) -> Vec<(String, &'a Tagged<Instance>)> {
    ours(owner, observed)
        .into_iter()
        .filter(|(_, instance)| instance.it.state != "terminated")
        .collect()
}

fn ours<'a>(owner: &Owner, observed: &'a Observed) -> Vec<(String, &'a Tagged<Instance>)> {
    observed
        .instances
        .iter()
        .filter_map(|instance| {
            let address = instance.tags.get(owner::ADDRESS)?.clone();
            let ours = owner.owns(&instance.tags, &address)
                && address.starts_with("host")
                && fingerprint(owner, &address, RUNGS, &instance.it).is_some();
            ours.then_some((address, instance))
        })
        .collect()
}

/// Returns what is left of a deployment besides its record, in words.
pub fn left(record: &Record, observed: &Observed, removal: &Removal) -> Vec<String> {
    let mut left: Vec<String> = down(record, None, observed, removal)
        .steps
        .iter()
        .filter(|step| step.action == Action::Delete && step.address != "record")
        .map(|step| format!("{} ({})", step.address, step.reason))
        .collect();
    let owner = record.owner();
    let hosts = ours(&owner, observed);
    let going = observed.volumes.iter().filter(|volume| {
        let of_host = hosts
            .iter()
            .any(|(_, host)| volume.it.instance.as_ref() == Some(&host.it.id));
        of_host && !volume.tags.contains_key(KEPT)
    });
    left.extend(going.map(|volume| format!("volume {}", volume.it.id)));
    left
}

/// Works out the steps.
///
/// `version` is that of the record's parameter; none where the record itself is gone and the generation was named.
pub fn down(record: &Record, version: Option<i64>, observed: &Observed, removal: &Removal) -> Descent {
    let owner = record.owner();
    let mut descent = Descent::default();
    let mut steps = Steps::default();
    if let Some(version) = version
        && record.phase == Phase::Present
    {
        let removing = Record {
            phase: Phase::Removing,
            ..record.clone()
        };
        steps.add(
            "removing",
            "ssm:parameter",
            Action::Update,
            "says that the deployment is being removed, so that no `up` goes on",
            &[],
            Operation::UpdateRecord(Box::new(removing), version),
        );
    }
    alarms(&owner, observed, &mut steps, &mut descent);
    match (&record.spec.eks, &observed.eks) {
        (Some(spec), Some(seen)) => eks::eks(record, spec, seen, removal, &mut steps, &mut descent),
        _ => hosts(record, &owner, observed, removal, &mut steps, &mut descent),
    }
    identity(&owner, observed, &mut steps, &mut descent);
    groups(record, &owner, observed, &mut steps, &mut descent);
    telling(&owner, observed, removal, &mut steps, &mut descent);
    parameters(&owner, observed, &mut steps, &mut descent);
    if record.spec.eks.is_none() {
        volumes(&owner, observed, &mut descent);
    }
    for (arn, tags) in &observed.strangers {
        descent.stays.push(Stays {
            what: arn.clone(),
            why: format!("{}, and is nothing that this tool makes", owner::told(tags)),
        });
    }
    let all = steps.addresses(|_| true);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    steps.add(
        "verification",
        "account",
        Action::Wait,
        "until nothing of the deployment is left",
        &all,
        Operation::VerifyGone(removal.clone()),
    );
    if version.is_some() {
        steps.add(
            "record",
            "ssm:parameter",
            Action::Delete,
            "last, because it proves what is ours",
            &["verification"],
            Operation::DeleteRecord,
        );
    }
    descent.steps = steps.done();
    descent
}

fn stays(descent: &mut Descent, what: String, tags: &owner::Tags) {
    descent.stays.push(Stays {
        what,
        why: owner::told(tags),
    });
}

fn alarms(owner: &Owner, observed: &Observed, steps: &mut Steps, descent: &mut Descent) {
    let (ours, others): (Vec<_>, Vec<_>) = observed
        .alarms
        .iter()
        .partition(|(name, alarm)| owns_alarm(owner, name, &alarm.tags));
    for (name, alarm) in others {
        stays(descent, format!("alarm {name}"), &alarm.tags);
    }
    let names: Vec<String> = ours.into_iter().map(|(name, _)| name.clone()).collect();
    // 100 names a call: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DeleteAlarms.html>.
    for (nth, names) in names.chunks(100).enumerate() {
        let address = if nth == 0 {
            "alarms".to_owned()
        } else {
            format!("alarms-{}", nth + 1)
        };
        steps.add(
            address,
            "cloudwatch:alarm",
            Action::Delete,
            format!("{} alarms", names.len()),
            &["removing"],
            Operation::DeleteAlarms(names.to_vec()),
        );
    }
    match &observed.dashboard {
        Some(body) if dashboard::owns(owner, body) => {
            steps.add(
                "dashboard",
                "cloudwatch:dashboard",
                Action::Delete,
                "shows a deployment that goes",
                &["removing"],
                Operation::DeleteDashboard,
            );
        }
        Some(_) => descent.stays.push(Stays {
            what: format!("dashboard named as that of {}", owner.name),
            why: "does not say that it is of this deployment".to_owned(),
        }),
        None => {}
    }
}

fn hosts(
    record: &Record,
    owner: &Owner,
    observed: &Observed,
    removal: &Removal,
    steps: &mut Steps,
    descent: &mut Descent,
) {
    let all = ours(owner, observed);
    for instance in &observed.instances {
        let is_ours = all.iter().any(|(_, ours)| ours.it.id == instance.it.id);
        if !is_ours && instance.it.state != "terminated" {
            descent.stays.push(Stays {
                what: format!("instance {}", instance.it.id),
                why: if owner.owns(
                    &instance.tags,
                    instance.tags.get(owner::ADDRESS).map_or("", String::as_str),
                ) {
                    "carries our tags but was not launched by us: its client token is another".to_owned()
                } else {
                    owner::told(&instance.tags)
                },
            });
        }
    }
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for (address, instance) in living(owner, observed) {
        let number = seen.entry(address.clone()).or_default();
        *number += 1;
        // A second one at the same address is not expected, and goes as well.
        let address = if *number > 1 {
            format!("{address}-besides-{number}")
        } else {
            address
        };
        let id = instance.it.id.clone();
        if record.spec.termination_protection {
            if removal.unprotect {
                steps.add(
                    format!("{address}-protection"),
                    "ec2:instance",
                    Action::Update,
                    "no longer protected from termination",
                    &["removing"],
                    Operation::Protect {
                        instance: id.clone(),
                        on: false,
                    },
                );
            } else {
                descent.blocks.push(Block {
                    address: address.clone(),
                    what: format!("instance {id}"),
                    why: "is protected from termination; --unprotect lifts that".to_owned(),
                });
            }
        }
        let host = host_of(&address);
        let report = observed
            .reports
            .get(&owner.name.report(host))
            .map(|report| Report::read(&report.it.text));
        let registered = report.is_some_and(|report| {
            report.is_of(&owner.generation, Some(&id))
                && (matches!(report.stage.as_str(), "registered" | "online" | "stopped")
                    || report.failed_stage.is_some())
        });
        let mut before = vec!["removing".to_owned(), format!("{address}-protection")];
        if let (true, Some(seconds), "running") =
            (registered, removal.drain_seconds, instance.it.state.as_str())
        {
            steps.add(
                format!("{address}-drain"),
                "runner",
                Action::Update,
                "jobs finish, then the runner is unregistered",
                &["removing"],
                Operation::Drain {
                    host,
                    instance: id.clone(),
                    seconds,
                },
            );
            before.push(format!("{address}-drain"));
        } else if registered && removal.drain_seconds.is_some() {
            descent.stays.push(Stays {
                what: format!("the registration of {} on the platform", owner.name.host(host)),
                why: format!(
                    "its host is {}, so nobody can unregister it; its owner can delete it there",
                    instance.it.state
                ),
            });
        }
        if let Some(volume) = instance.it.root_volume.clone() {
            let refs: Vec<&str> = before.iter().map(String::as_str).collect();
            if removal.snapshot {
                steps.add(
                    format!("{address}-snapshot"),
                    "ec2:snapshot",
                    Action::Create,
                    format!("a copy of {volume}"),
                    &refs,
                    Operation::Snapshot {
                        volume: volume.clone(),
                        host,
                    },
                );
            }
            if removal.keep_data {
                steps.add(
                    format!("{address}-volume"),
                    "ec2:volume",
                    Action::Keep,
                    format!("{volume} stays as data"),
                    &refs,
                    Operation::KeepVolume {
                        instance: id.clone(),
                        volume,
                        device: record.spec.image.root_device.clone(),
                    },
                );
            }
            before.push(format!("{address}-snapshot"));
            before.push(format!("{address}-volume"));
        }
        let refs: Vec<&str> = before.iter().map(String::as_str).collect();
        if instance.it.state != "shutting-down" {
            steps.add(
                &address,
                "ec2:instance",
                Action::Delete,
                format!("{} {id}", instance.it.instance_type),
                &refs,
                Operation::Terminate { instance: id.clone() },
            );
        }
        steps.add(
            format!("{address}-gone"),
            "ec2:instance",
            Action::Wait,
            "until the host is terminated",
            &["removing", &address],
            Operation::WaitGone { instance: id },
        );
    }
}

/// Returns the host of an address such as `host-2` or `host-2-besides-2`.
fn host_of(address: &str) -> Host {
    let number = address
        .strip_prefix("host-")
        .and_then(|rest| rest.split('-').next())
        .and_then(|number| number.parse().ok());
    Host { number }
}

fn identity(owner: &Owner, observed: &Observed, steps: &mut Steps, descent: &mut Descent) {
    // The host needs its role while it drains.
    let mut after = steps.addresses(|step| step.address.starts_with("host"));
    after.push("removing".to_owned());
    let after: Vec<&str> = after.iter().map(String::as_str).collect();
    if let Some(profile) = &observed.instance_profile {
        if owner.owns(&profile.tags, "instance-profile") {
            let mut emptied = Vec::new();
            for role in &profile.it.roles {
                let address = if emptied.is_empty() {
                    "instance-profile-role".to_owned()
                } else {
                    format!("instance-profile-role-{}", emptied.len() + 1)
                };
                steps.add(
                    &address,
                    "iam:instance-profile",
                    Action::Update,
                    "takes the role out",
                    &after,
                    Operation::RemoveRole(role.clone()),
                );
                emptied.push(address);
            }
            let mut before = after.clone();
            before.extend(emptied.iter().map(String::as_str));
            steps.add(
                "instance-profile",
                "iam:instance-profile",
                Action::Delete,
                "no host has it",
                &before,
                Operation::DeleteInstanceProfile,
            );
        } else {
            stays(
                descent,
                format!("instance profile named as that of {}", owner.name),
                &profile.tags,
            );
        }
    }
    if let Some(role) = &observed.role {
        if owner.owns(&role.tags, "role") {
            if role.it.policy.is_some() {
                steps.add(
                    "role-policy",
                    "iam:role-policy",
                    Action::Delete,
                    "a role goes without policies",
                    &after,
                    Operation::DeleteRolePolicy,
                );
            }
            let mut before = after.clone();
            before.extend(["role-policy", "instance-profile-role"]);
            steps.add(
                "role",
                "iam:role",
                Action::Delete,
                "no profile has it",
                &before,
                Operation::DeleteRole,
            );
        } else {
            stays(
                descent,
                format!("role named as that of {}", owner.name),
                &role.tags,
            );
        }
    }
}

fn groups(record: &Record, owner: &Owner, observed: &Observed, steps: &mut Steps, descent: &mut Descent) {
    let mut after = steps.addresses(|step| step.address.ends_with("-gone"));
    after.push("removing".to_owned());
    let after: Vec<&str> = after.iter().map(String::as_str).collect();
    for group in &observed.security_groups {
        let ours = group.it.name == owner.name.security_group()
            && (group.it.vpc == record.spec.vpc || record.spec.vpc.is_empty())
            && owner.owns(&group.tags, "security-group");
        if ours && !steps.has("security-group") {
            steps.add(
                "security-group",
                "ec2:security-group",
                Action::Delete,
                format!("{} in {}", group.it.id, group.it.vpc),
                &after,
                Operation::DeleteSecurityGroup {
                    group: group.it.id.clone(),
                },
            );
        } else {
            stays(
                descent,
                format!("security group {} in {}", group.it.id, group.it.vpc),
                &group.tags,
            );
        }
    }
}

fn telling(owner: &Owner, observed: &Observed, removal: &Removal, steps: &mut Steps, descent: &mut Descent) {
    let alarms = steps.addresses(|step| step.address.starts_with("alarms"));
    let mut after: Vec<&str> = alarms.iter().map(String::as_str).collect();
    after.push("removing");
    if let Some(topic) = &observed.topic {
        if owner.owns(&topic.tags, "topic") {
            let told = topic.it.subscriptions.len();
            let reason = match told {
                0 => "no alarm calls it any more".to_owned(),
                told => format!("with {told} subscriptions"),
            };
            steps.add(
                "topic",
                "sns:topic",
                Action::Delete,
                reason,
                &after,
                Operation::DeleteTopic,
            );
        } else {
            stays(
                descent,
                format!("topic named as that of {}", owner.name),
                &topic.tags,
            );
        }
    }
    let gone = steps.addresses(|step| step.address.ends_with("-gone"));
    let mut after: Vec<&str> = gone.iter().map(String::as_str).collect();
    after.push("removing");
    if let Some(logs) = &observed.logs {
        if owner.owns(&logs.tags, "logs") {
            if removal.keep_data {
                steps.add(
                    "logs",
                    "logs:log-group",
                    Action::Keep,
                    "logs stay as data",
                    &after,
                    Operation::KeepLogGroup,
                );
            } else {
                steps.add(
                    "logs",
                    "logs:log-group",
                    Action::Delete,
                    "with everything in it",
                    &after,
                    Operation::DeleteLogGroup,
                );
            }
        } else if logs.tags.contains_key(KEPT) {
            descent.stays.push(Stays {
                what: format!("log group {}", owner.name.log_group()),
                why: "was kept as data".to_owned(),
            });
        } else {
            stays(
                descent,
                format!("log group {}", owner.name.log_group()),
                &logs.tags,
            );
        }
    }
}

fn parameters(owner: &Owner, observed: &Observed, steps: &mut Steps, descent: &mut Descent) {
    let mut after = steps.addresses(|step| step.address.starts_with("host"));
    after.push("removing".to_owned());
    let after: Vec<&str> = after.iter().map(String::as_str).collect();
    if let Some(token) = &observed.token {
        if owner.owns(&token.tags, "token") {
            steps.add(
                "token",
                "ssm:parameter",
                Action::Delete,
                "no host reads it",
                &after,
                Operation::DeleteToken,
            );
        } else {
            stays(descent, format!("parameter {}", owner.name.token()), &token.tags);
        }
    }
    for (parameter, report) in &observed.reports {
        let hosts = std::iter::once(Host { number: None }).chain(Host::all(100));
        let host = hosts
            .into_iter()
            .find(|host| owner.name.report(*host) == *parameter)
            .unwrap_or(Host { number: None });
        let address = host.address("report");
        // A host that found its parameter gone made it anew, without tags; its text says which life it is of.
        let said = Report::read(&report.it.text).generation;
        if owner.owns(&report.tags, &address) || said.as_deref() == Some(owner.generation.as_str()) {
            steps.add(
                address,
                "ssm:parameter",
                Action::Delete,
                "no host writes it",
                &after,
                Operation::DeleteReport(host),
            );
        } else {
            stays(descent, format!("parameter {parameter}"), &report.tags);
        }
    }
}

/// Volumes of hosts go with them; others are left, because nothing proves whose they are.
fn volumes(owner: &Owner, observed: &Observed, descent: &mut Descent) {
    let hosts = living(owner, observed);
    for volume in &observed.volumes {
        let of_host = hosts
            .iter()
            .any(|(_, host)| host.it.root_volume.as_ref() == Some(&volume.it.id));
        // Volumes of a host that has just gone vanish on their own.
        let going = ours(owner, observed)
            .iter()
            .any(|(_, host)| volume.it.instance.as_ref() == Some(&host.it.id));
        if of_host || going || volume.it.state == "deleting" {
            continue;
        }
        let why = if volume.tags.contains_key(KEPT) {
            "was kept as data".to_owned()
        } else {
            "is not attached to a host of ours".to_owned()
        };
        descent.stays.push(Stays {
            what: format!("volume {}", volume.it.id),
            why,
        });
    }
}
