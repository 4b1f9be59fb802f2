//! A deployment in AWS: record, ownership, drift, hosts and their reports, leftovers.

use super::board::Read;
use super::check::{Check, Remedy, Status, Subject};
use super::code::Code;
use super::runner::{tag, unfinished};
use super::scene::command;
use crate::domain::deployment::eks::upgrade::is_begun;
use crate::domain::deployment::name::Host;
use crate::domain::deployment::observed::{Instance, Observed};
use crate::domain::deployment::operation::Operation;
use crate::domain::deployment::owner::{KEPT, Tags, told};
use crate::domain::deployment::record::{Phase, Record, Unreadable};
use crate::domain::deployment::report::Report;
use crate::domain::deployment::resource::instance::standing;
use crate::domain::deployment::spec::Token;
use crate::domain::deployment::step::{Action, Step};
use crate::domain::deployment::up::Ascent;

/// Seconds after which a host that says nothing new has been booting for too long: the bootstrap's own limits are shorter.
const BOOTING: i64 = 30 * 60;

/// Seconds after a launch in which the agent of Systems Manager may not have registered yet.
pub const FRESH: i64 = 10 * 60;

/// What a report says where the registry no longer takes the login; nothing else on the host notices.
const LOGIN_REFUSED: &str = "The registry takes the login no more";

/// What a report says where the answer to a registration was lost.
const LOST_ANSWER: &str = "The platform may list";

/// Differences that are told of each check.
const MOST: usize = 6;

/// Checks the record.
pub fn record(subject: &Subject, record: &Read<Option<Result<Record, Unreadable>>>) -> Check {
    let code = Code::DeploymentRecord;
    let check = match record {
        Err(why) => Check::unknown(code, why.to_string()),
        Ok(None) => Check::skipped(code, "there is no deployment of this name here")
            .mended_by(Remedy::new("make it").run(command(subject, "up ec2"))),
        Ok(Some(Err(unreadable))) => Check::failed(
            code,
            unreadable.to_string(),
            Remedy::new(
                "use the version of dataops-infra that wrote it, or restore the parameter from its history",
            ),
        ),
        Ok(Some(Ok(record))) => Check::ok(
            code,
            format!(
                "generation {}, made by {} at {}",
                record.generation, record.made_by, record.created_at
            ),
        ),
    };
    check.of(subject)
}

/// Notes for all checks of a deployment that there is nothing to check, or why they cannot be made.
pub fn without_record(subject: &Subject, codes: &[Code], absent: bool, why: &str) -> Vec<Check> {
    let one = |code: &Code| {
        let status = if absent { Status::Skipped } else { Status::Unknown };
        Check::new(*code, status, why).of(subject)
    };
    codes.iter().map(one).collect()
}

/// Checks what is going on; `now` is RFC 3339.
pub fn phase(subject: &Subject, record: &Record, now: jiff::Timestamp) -> Check {
    let code = Code::DeploymentPhase;
    let check = match (record.phase, &record.lease) {
        (Phase::Removing, _) => Check::warning(
            code,
            "it is being removed, or a `down` was interrupted",
            Remedy::new("go on with removing it").run(command(subject, "down")),
        ),
        (Phase::Present, Some(lease))
            if lease
                .expires_at
                .parse::<jiff::Timestamp>()
                .is_ok_and(|end| end <= now) =>
        {
            Check::warning(
                code,
                format!("its lease ended at {}", lease.expires_at),
                Remedy::new("remove it, or begin the lease anew with `up ec2 --ttl`")
                    .run(command(subject, "down")),
            )
        }
        (Phase::Present, _) if is_begun(record) => {
            let what = record.pending.as_ref().map_or("", |pending| &pending.image);
            Check::warning(
                code,
                format!("the change to {what} was begun and is not finished"),
                Remedy::new("go on with it").run(command(subject, "up eks")),
            )
        }
        (Phase::Present, _) if record.pending.is_some() => {
            let image = record.pending.as_ref().map_or("", |pending| &pending.image);
            let again = format!("upgrade --runner-version {}", tag(image));
            Check::warning(
                code,
                format!("another runner ({image}) was begun and is not finished"),
                unfinished(image).run(command(subject, &again)),
            )
        }
        (Phase::Present, Some(lease)) => {
            Check::ok(code, format!("present, leased until {}", lease.expires_at))
        }
        (Phase::Present, None) => Check::ok(code, "present"),
    };
    check.of(subject)
}

/// Whether a step is about alarms, which have checks of their own.
pub fn is_alarm(step: &Step) -> bool {
    matches!(
        step.does,
        Operation::PutAlarm { .. } | Operation::DeleteAlarms { .. }
    )
}

/// Says in words what steps would change.
pub fn told_steps<'a>(steps: impl Iterator<Item = &'a Step>) -> Vec<String> {
    steps
        .flat_map(|step| {
            if step.differences.is_empty() {
                let is = if step.action == Action::Create {
                    "is missing"
                } else {
                    "differs"
                };
                vec![format!("{} {is}", step.address)]
            } else {
                let tell = |difference| format!("{} {difference}", step.address);
                step.differences.iter().map(tell).collect()
            }
        })
        .collect()
}

/// Joins what is told, and says how many more there are.
pub fn listed(all: &[String]) -> String {
    let mut text = all.iter().take(MOST).cloned().collect::<Vec<_>>().join("; ");
    if all.len() > MOST {
        text.push_str(&format!("; and {} more", all.len() - MOST));
    }
    text
}

/// Checks ownership and drift by the steps that `up` would take.
pub fn drift(subject: &Subject, ascent: &Ascent) -> Vec<Check> {
    let blocks: Vec<String> = ascent
        .blocks
        .iter()
        .map(|block| format!("{}: {} {}", block.address, block.what, block.why))
        .collect();
    let owner = if blocks.is_empty() {
        Check::ok(
            Code::DeploymentOwner,
            "what stands under its names carries its tags and generation",
        )
    } else {
        Check::failed(
            Code::DeploymentOwner,
            listed(&blocks),
            Remedy::new(
                "remove or rename what is not of this deployment; dataops-infra touches nothing it does not own",
            ),
        )
    };
    let ours = ascent
        .steps
        .iter()
        // The record counts launches; that is bookkeeping, not drift.
        .filter(|step| step.action != Action::Wait && step.address != "record" && !is_alarm(step));
    let mut differs = told_steps(ours);
    let mends = !differs.is_empty();
    differs.extend(
        ascent
            .stuck
            .iter()
            .map(|(address, difference)| format!("{address} {difference}")),
    );
    let drift = if differs.is_empty() {
        Check::ok(Code::DeploymentDrift, "nothing differs")
    } else if mends {
        Check::warning(
            Code::DeploymentDrift,
            listed(&differs),
            Remedy::new("let `up` put it back; it shows each step first").run(command(subject, "up ec2")),
        )
    } else {
        Check::warning(
            Code::DeploymentDrift,
            listed(&differs),
            Remedy::new(
                "a running host cannot be changed so; make the deployment anew, or put it back by hand",
            )
            .run(command(subject, "status")),
        )
    };
    vec![owner.of(subject), drift.of(subject)]
}

/// Checks what carries the name and does not belong to it.
pub fn leftovers(subject: &Subject, record: Option<&Record>, observed: &Observed) -> Check {
    let code = Code::LeftoverAws;
    let mut left = Vec::new();
    let mut kept = Vec::new();
    let ours = |id: &str| {
        record.is_some_and(|record| {
            Host::all(record.spec.count).into_iter().any(|host| {
                standing(record, host, observed)
                    .current
                    .is_some_and(|it| it.it.id == id)
            })
        })
    };
    // Nodes go with their group.
    let node = |tags: &Tags| {
        record.is_some_and(|record| record.spec.eks.is_some() && record.owner().owns(tags, "nodes"))
    };
    for instance in &observed.instances {
        if !instance.it.is_gone() && !ours(&instance.it.id) && !node(&instance.tags) {
            let what = told(&instance.tags);
            left.push(format!(
                "instance {} ({}) {what}",
                instance.it.id, instance.it.state
            ));
        }
    }
    for volume in &observed.volumes {
        let free = volume.it.instance.is_none();
        if free && volume.tags.contains_key(KEPT) {
            kept.push(volume.it.id.clone());
        } else if free {
            left.push(format!(
                "volume {} ({} GiB) belongs to no instance",
                volume.it.id, volume.it.gib
            ));
        }
    }
    for (arn, tags) in &observed.strangers {
        if tags.contains_key(KEPT) {
            kept.push(arn.clone());
        } else {
            left.push(format!("{arn} {}", told(tags)));
        }
    }
    if record.is_none() {
        let rest = [
            (observed.token.is_some(), "the parameter of the token"),
            (observed.role.is_some(), "the role"),
            (observed.instance_profile.is_some(), "the instance profile"),
            (!observed.security_groups.is_empty(), "the security group"),
            (observed.topic.is_some(), "the topic"),
            (!observed.alarms.is_empty(), "alarms"),
            (observed.dashboard.is_some(), "the dashboard"),
        ];
        left.extend(
            rest.iter()
                .filter(|(there, _)| *there)
                .map(|(_, what)| format!("{what} of this name without a record")),
        );
    }
    let check = if left.is_empty() {
        let mut evidence = "nothing".to_owned();
        if !kept.is_empty() {
            evidence = format!("only what `down` kept as data: {}", listed(&kept));
        }
        Check::ok(code, evidence)
    } else {
        Check::warning(
            code,
            listed(&left),
            Remedy::new(
                "look at what it is, then remove it in AWS; what dataops-infra does not own it never deletes",
            )
            .run(command(subject, "status")),
        )
    };
    check.of(subject)
}

/// Checks where the token is; `there` is whether it is where the record says.
pub fn token(subject: &Subject, record: &Record, there: &Read<bool>) -> Check {
    let code = Code::DeploymentToken;
    let place = match &record.spec.token {
        Token::Ours => format!("parameter {}", record.name.token()),
        Token::Theirs(reference) => match reference {
            crate::domain::deployment::spec::SecretRef::Parameter(name) => format!("parameter {name}"),
            crate::domain::deployment::spec::SecretRef::Secret(name) => format!("secret {name}"),
        },
    };
    let check = match there {
        Err(why) => Check::unknown(code, why.to_string()),
        Ok(true) => Check::ok(code, place),
        Ok(false) => Check::failed(
            code,
            format!("{place} is not there: a host that is replaced could not register"),
            Remedy::new("store the token again").run(command(subject, "up ec2 --token-file FILE")),
        ),
    };
    check.of(subject)
}

/// A host of a deployment, as AWS and its report have it.
#[derive(Clone, Debug, Default)]
pub struct HostView {
    /// The instance.
    pub instance: Option<Instance>,
    /// Instances that were this host before.
    pub gone: Vec<String>,
    /// The report, whoever wrote it.
    pub report: Option<Report>,
    /// Whether it is of this life and instance.
    pub current: bool,
    /// When the report was changed, RFC 3339.
    pub reported_at: Option<String>,
    /// The last lines of the console.
    pub console: Vec<String>,
}

impl HostView {
    /// Puts together what is known of a host.
    pub fn new(record: &Record, host: Host, observed: &Observed) -> Self {
        let standing = standing(record, host, observed);
        let instance = standing.current.map(|current| current.it.clone());
        let parameter = observed.reports.get(&record.name.report(host));
        let report = parameter.map(|parameter| Report::read(&parameter.it.text));
        let id = instance.as_ref().map(|instance| instance.id.as_str());
        let current = report
            .as_ref()
            .is_some_and(|report| report.is_of(&record.generation, id));
        Self {
            gone: standing.gone.iter().map(|(_, gone)| gone.it.id.clone()).collect(),
            reported_at: parameter.and_then(|parameter| parameter.it.modified_at.clone()),
            console: Vec::new(),
            instance,
            report,
            current,
        }
    }

    /// Returns the stage, where the report is of this instance.
    pub fn stage(&self) -> Option<&str> {
        self.report
            .as_ref()
            .filter(|_| self.current)
            .map(|report| report.stage.as_str())
    }

    /// Returns seconds since the instance was launched.
    pub fn age(&self, now: jiff::Timestamp) -> Option<i64> {
        let launched: jiff::Timestamp = self.instance.as_ref()?.launched_at.as_ref()?.parse().ok()?;
        Some(now.duration_since(launched).as_secs().max(0))
    }

    /// Returns what report and console tell of a host that cannot be asked.
    pub fn evidence(&self) -> String {
        let mut evidence = match (&self.report, self.current) {
            (Some(report), true) => {
                let mut told = format!("its report says {}", stage(report));
                if let Some(at) = report.at.as_ref().or(self.reported_at.as_ref()) {
                    told.push_str(&format!(" at {at}"));
                }
                told
            }
            (Some(_), false) => "its report is of an earlier instance".to_owned(),
            (None, _) => "it has made no report".to_owned(),
        };
        if let Some(line) = self.console.last() {
            evidence.push_str(&format!("; the console ends with: {line}"));
        }
        evidence
    }
}

fn stage(report: &Report) -> String {
    let mut says = match &report.failed_stage {
        Some(failed) => format!("{} (on the way to {failed})", report.stage),
        None => report.stage.clone(),
    };
    if let Some(detail) = report.detail.as_deref().filter(|detail| !detail.is_empty()) {
        let detail: Vec<&str> = detail
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        let from = detail.len().saturating_sub(4);
        says.push_str(&format!(": {}", detail[from..].join(" / ")));
    }
    says
}

/// Checks that the host runs.
pub fn host(subject: &Subject, view: &HostView) -> Check {
    let code = Code::DeploymentHost;
    let up = || Remedy::new("let `up` launch or start it").run(command(subject, "up ec2"));
    let check = match &view.instance {
        None => {
            let before = if view.gone.is_empty() {
                String::new()
            } else {
                format!("; {} was it and is gone", view.gone.join(", "))
            };
            Check::failed(code, format!("there is no instance{before}"), up())
        }
        Some(instance) if instance.state == "running" => Check::ok(
            code,
            format!(
                "{} ({}) runs in {}",
                instance.id, instance.instance_type, instance.zone
            ),
        ),
        Some(instance) if instance.state == "pending" => {
            Check::skipped(code, format!("{} is being started", instance.id))
        }
        Some(instance) => {
            let why = instance.why.clone().filter(|why| !why.is_empty());
            let why = why.map_or_else(String::new, |why| format!(": {why}"));
            Check::failed(code, format!("{} is {}{why}", instance.id, instance.state), up())
        }
    };
    check.of(subject)
}

/// Checks how far the host said it is.
pub fn stage_report(subject: &Subject, view: &HostView, now: jiff::Timestamp) -> Check {
    let code = Code::DeploymentStage;
    let evidence = view.evidence();
    let age = view.age(now);
    let late = age.is_some_and(|age| age > BOOTING);
    let up_for = age.map_or_else(String::new, |age| {
        format!("; launched {} ago", super::runner::span(age))
    });
    let read = || {
        Remedy::new("the host's own log says more: /var/log/dataops-infra.log, also in the log group of the deployment")
            .run(command(subject, "up ec2"))
    };
    let check = match (&view.instance, view.stage()) {
        (None, _) => Check::skipped(code, "there is no host that could report"),
        (Some(_), Some("online")) if evidence.contains(LOGIN_REFUSED) => Check::warning(
            code,
            evidence,
            Remedy::new(
                "put a login that the registry takes where the deployment reads it, then reboot the host",
            ),
        ),
        (Some(_), Some("online")) => Check::ok(code, evidence),
        (Some(_), Some("stopped")) => Check::warning(
            code,
            evidence,
            Remedy::new("start it, where that was not meant to last").run(command(subject, "runner start")),
        ),
        (Some(_), Some("failed")) => Check::failed(code, evidence, read()),
        (Some(_), _) if late => Check::failed(code, format!("{evidence}{up_for}, and is not online"), read()),
        (Some(_), _) => Check::skipped(code, format!("it is being set up: {evidence}{up_for}")),
    };
    check.of(subject)
}

/// Checks for registrations of earlier instances; none where the host's own answer decides.
pub fn lost_registration(subject: &Subject, view: &HostView) -> Option<Check> {
    let code = Code::LeftoverRegistration;
    let find = || {
        Remedy::new("look for runners of this name that are offline on the platform, and delete them there")
    };
    match (&view.instance, &view.report) {
        (None, Some(report)) if report.stage == "online" || report.runner_id.is_some() => {
            let id = report
                .runner_id
                .map_or_else(|| "a runner".to_owned(), |id| format!("runner {id}"));
            let by = report.instance.clone().unwrap_or_else(|| "a host".to_owned());
            Some(Check::warning(
                code,
                format!("{id} was registered by {by}, which is gone; the platform may still list it"),
                find(),
            ))
        }
        (None, _) => Some(Check::skipped(code, "no host has registered a runner")),
        (Some(_), _) => None,
    }
    .map(|check| check.of(subject))
}

/// Adds what is known of earlier instances to what the host says of its registration.
pub fn with_gone(check: Check, view: &HostView, token_kind: Option<&str>) -> Check {
    let find = || {
        Remedy::new("look for runners of this name that are offline on the platform, and delete them there")
    };
    let detail = view.report.as_ref().and_then(|report| report.detail.as_deref());
    if let Some(lost) = detail.filter(|detail| check.status == Status::Ok && detail.contains(LOST_ANSWER)) {
        let evidence = lost.trim().to_owned();
        return Check {
            status: Status::Warning,
            evidence,
            ..check
        }
        .mended_by(find());
    }
    if check.status != Status::Ok || view.gone.is_empty() {
        return check;
    }
    let gone = view.gone.join(", ");
    if token_kind == Some("authentication") {
        // All instances share one runner; an entry of an earlier one is removed by the platform after a while.
        return Check {
            evidence: format!("{}; {gone} had the same runner", check.evidence),
            ..check
        };
    }
    Check {
        status: Status::Unknown,
        evidence: format!(
            "{gone} was this host before; whether its runner was taken off the platform is not known here"
        ),
        ..check
    }
    .mended_by(find())
}
