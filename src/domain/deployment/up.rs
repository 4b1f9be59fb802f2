//! From what there is to what shall be: the steps of `up`.

pub mod eks;
pub mod nodes;
mod resize;

use std::collections::BTreeMap;

use super::change::{Difference, tag_differences};
use super::name::{Host, IAM_PATH, Place, ROLE_POLICY};
use super::observed::Observed;
use super::operation::{Launch, Operation, TagTarget};
use super::owner::{self, EXPIRES, KEPT, Owner, Tags};
use super::record::{Phase, Record};
use super::report::Report;
use super::resource::alarm::AlarmRule;
use super::resource::instance::{self, standing};
use super::resource::{dashboard, role};
use super::spec::{Spec, Token};
use super::step::{Action, Block, Step, Steps};
use crate::domain::lifecycle::script::{Ending, Work};

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// Where.
    pub place: &'a Place,
    /// The record as it shall be.
    pub record: &'a Record,
    /// The record as it is, with the version of its parameter; none: there is none.
    pub base: Option<(&'a Record, i64)>,
    /// The token that the user gave, compared with ours.
    pub token: Given,
    /// Digest of the token as it shall be, where it is known; compared with the one in the cluster.
    pub token_digest: Option<&'a str>,
    /// The script of each host.
    pub user_data: &'a BTreeMap<String, String>,
    /// Whether `up` waits until hosts are online.
    pub wait: bool,
    /// Whether hosts get another type and a larger disk; else what differs there is only told.
    pub resize: Option<Resize>,
    /// Whether nodes get another version, image or disk; else what differs there is only told, unless it was begun.
    pub upgrade: Option<Upgrade>,
}

/// How nodes of a deployment on EKS are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// How long jobs may take.
    pub ending: Ending,
    /// Whether EKS is to go on although its own checks say that the cluster is not ready.
    pub force: bool,
}

/// How hosts are resized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resize {
    /// How long their jobs may take.
    pub ending: Ending,
    /// Whether the file system is looked at also where the volume has its size.
    pub disk: bool,
}

/// A token that the user gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// None.
    Nothing,
    /// One that is not stored yet, or the same as the stored one.
    Token,
    /// Another one than the stored.
    Other,
}

/// The way up.
#[derive(Clone, Debug)]
pub struct Ascent {
    /// The record that the first step writes.
    pub record: Record,
    /// The steps; none: nothing differs.
    pub steps: Vec<Step>,
    /// What differs and `up` does not mend, by address.
    pub stuck: Vec<(String, Difference)>,
    /// Identities of what exists, by address.
    pub ids: BTreeMap<String, String>,
    /// What is in the way.
    pub blocks: Vec<Block>,
}

/// Returns all tags of something at an address.
pub fn tags(record: &Record, address: &str) -> Tags {
    let mut tags = record.spec.tags.clone();
    tags.extend(record.owner().tags(address));
    if let Some(lease) = &record.lease {
        tags.insert(EXPIRES.to_owned(), lease.expires_at.clone());
    }
    tags
}

/// Works out the steps.
///
/// What exists under a name of ours and is not provably ours blocks, because creating would change or adopt it.
pub fn up(wanted: &Wanted<'_>, observed: &Observed) -> Ascent {
    let mut climb = Climb {
        wanted,
        observed,
        owner: wanted.record.owner(),
        record: wanted.record.clone(),
        steps: Steps::default(),
        stuck: Vec::new(),
        ids: BTreeMap::new(),
        blocks: Vec::new(),
    };
    if climb.record.spec.eks.is_some() {
        climb.begin_nodes();
        climb.record();
        climb.token();
        climb.topic();
        climb.eks();
    } else {
        climb.launches();
        climb.record();
        climb.role();
        climb.security_group();
        climb.reports();
        climb.token();
        climb.logs();
        climb.topic();
        climb.hosts();
        climb.waits();
        climb.settings();
    }
    climb.alarms();
    climb.dashboard();
    climb.end_nodes();
    Ascent {
        record: climb.record,
        steps: climb.steps.done(),
        stuck: climb.stuck,
        ids: climb.ids,
        blocks: climb.blocks,
    }
}

struct Climb<'a> {
    wanted: &'a Wanted<'a>,
    observed: &'a Observed,
    owner: Owner,
    record: Record,
    steps: Steps,
    stuck: Vec<(String, Difference)>,
    ids: BTreeMap<String, String>,
    blocks: Vec<Block>,
}

/// Whether something at an address is ours, with what to do about its tags.
enum Claim {
    Ours,
    Foreign,
}

impl Climb<'_> {
    fn claim(&mut self, tags: &Tags, address: &str, what: String) -> Claim {
        if self.owner.owns(tags, address) {
            return Claim::Ours;
        }
        self.blocks.push(Block {
            address: address.to_owned(),
            what,
            why: format!("exists and {}", owner::told(tags)),
        });
        Claim::Foreign
    }

    /// Adds the step that mends the tags of something ours.
    fn retag(&mut self, is: &Tags, address: &str, kind: &'static str, target: TagTarget) {
        let should = tags(&self.record, address);
        let differences = tag_differences(is, &should);
        if !differences.is_empty() {
            let operation = Operation::Tag { target, tags: should };
            let step = self.steps.add(
                format!("{address}-tags"),
                kind,
                Action::Update,
                "tags differ",
                &["record"],
                operation,
            );
            step.differences = differences;
        }
    }

    fn place(&self) -> &Place {
        self.wanted.place
    }

    /// Counts a launch on for each host that is gone, because AWS knows its token.
    fn launches(&mut self) {
        for host in Host::all(self.record.spec.count) {
            let address = host.address("host");
            let standing = standing(&self.record, host, self.observed);
            let last = standing.gone.iter().map(|(launch, _)| *launch).max();
            let mut launch = self.record.launch(&address);
            if let (None, Some(last)) = (standing.current, last)
                && last >= launch.launch
            {
                launch.launch = last + 1;
                launch.rung = 0;
                self.record.launches.insert(address, launch);
            }
        }
    }

    fn record(&mut self) {
        match self.wanted.base {
            None => {
                let record = Box::new(self.record.clone());
                self.steps.add(
                    "record",
                    "ssm:parameter",
                    Action::Create,
                    "lock, generation and intent of the deployment",
                    &[],
                    Operation::CreateRecord(record),
                );
            }
            Some((base, version)) if *base != self.record => {
                let differences = record_differences(base, &self.record);
                let record = Box::new(self.record.clone());
                let step = self.steps.add(
                    "record",
                    "ssm:parameter",
                    Action::Update,
                    "the deployment shall be another than it was",
                    &[],
                    Operation::UpdateRecord(record, version),
                );
                step.differences = differences;
            }
            Some(_) => {}
        }
        if let (Some(_), Some(is)) = (self.wanted.base, self.observed.record_tags.clone()) {
            let parameter = self.owner.name.record();
            self.retag(&is, "record", "ssm:parameter", TagTarget::Parameter(parameter));
        }
    }

    fn role(&mut self) {
        let place = self.place().clone();
        let name = self.owner.name.role(&place.region);
        let trust = role::trust(&place);
        let policy = role::policy(&self.owner.name, &self.record.spec, &place);
        match &self.observed.role {
            None => {
                self.steps.add(
                    "role",
                    "iam:role",
                    Action::Create,
                    "reads its token, reports, is managed by Systems Manager",
                    &["record"],
                    Operation::CreateRole { trust },
                );
                self.steps.add(
                    "role-policy",
                    "iam:role-policy",
                    Action::Create,
                    "the least that the host needs",
                    &["role"],
                    Operation::PutRolePolicy { policy },
                );
            }
            Some(role) => {
                if let Claim::Ours = self.claim(&role.tags, "role", format!("role {name}")) {
                    if role.it.trust != trust {
                        let step = self.steps.add(
                            "role-trust",
                            "iam:role",
                            Action::Update,
                            "others may assume the role",
                            &["record"],
                            Operation::UpdateTrust { trust },
                        );
                        step.differences = vec![Difference::new(
                            "AssumeRolePolicyDocument",
                            "another document",
                            "EC2 alone",
                        )];
                    }
                    if role.it.policy.as_ref() != Some(&policy) {
                        let is = if role.it.policy.is_some() {
                            "another document"
                        } else {
                            "none"
                        };
                        let action = if role.it.policy.is_some() {
                            Action::Update
                        } else {
                            Action::Create
                        };
                        let step = self.steps.add(
                            "role-policy",
                            "iam:role-policy",
                            action,
                            "the host may do other things than it needs",
                            &["record"],
                            Operation::PutRolePolicy { policy },
                        );
                        step.differences = vec![Difference::new(
                            format!("PolicyDocument {ROLE_POLICY}"),
                            is,
                            "the least policy",
                        )];
                    }
                    if role.it.path != IAM_PATH {
                        self.stuck.push((
                            "role".to_owned(),
                            Difference::new("Path", &role.it.path, IAM_PATH),
                        ));
                    }
                    let is = role.tags.clone();
                    self.retag(&is, "role", "iam:role", TagTarget::Role);
                }
            }
        }
        let reason = "hands the role to the host";
        match &self.observed.instance_profile {
            None => {
                self.steps.add(
                    "instance-profile",
                    "iam:instance-profile",
                    Action::Create,
                    reason,
                    &["record"],
                    Operation::CreateInstanceProfile,
                );
                self.add_role();
            }
            Some(profile) => {
                let what = format!("instance profile {name}");
                if let Claim::Ours = self.claim(&profile.tags, "instance-profile", what) {
                    match profile.it.roles.as_slice() {
                        [] => self.add_role(),
                        [one] if *one == name => {}
                        [other, ..] => self.stuck.push((
                            "instance-profile".to_owned(),
                            Difference::new("Roles", other, &name),
                        )),
                    }
                    let is = profile.tags.clone();
                    self.retag(
                        &is,
                        "instance-profile",
                        "iam:instance-profile",
                        TagTarget::InstanceProfile,
                    );
                }
            }
        }
    }

    fn add_role(&mut self) {
        self.steps.add(
            "instance-profile-role",
            "iam:instance-profile",
            Action::Update,
            "puts the role into the profile",
            &["record", "role", "instance-profile"],
            Operation::AddRole,
        );
    }

    fn security_group(&mut self) {
        let name = self.owner.name.security_group();
        let vpc = self.record.spec.vpc.clone();
        let there = self
            .observed
            .security_groups
            .iter()
            .find(|group| group.it.name == name && group.it.vpc == vpc);
        let Some(group) = there else {
            self.steps.add(
                "security-group",
                "ec2:security-group",
                Action::Create,
                format!("nothing in, everything out, in {vpc}"),
                &["record"],
                Operation::CreateSecurityGroup { vpc },
            );
            return;
        };
        let what = format!("security group {} ({name}) in {vpc}", group.it.id);
        let Claim::Ours = self.claim(&group.tags, "security-group", what) else {
            return;
        };
        let id = group.it.id.clone();
        self.ids.insert("security-group".to_owned(), id.clone());
        if !group.it.ingress.is_empty() {
            let rules = group.it.ingress.clone();
            let is = format!("{} rules", rules.len());
            let step = self.steps.add(
                "security-group-ingress",
                "ec2:security-group",
                Action::Update,
                "something may come in",
                &["record"],
                Operation::RevokeIngress {
                    group: id.clone(),
                    rules,
                },
            );
            step.differences = vec![Difference::new("IpPermissions", is, "none")];
        }
        if !group.it.egress_open {
            let step = self.steps.add(
                "security-group-egress",
                "ec2:security-group",
                Action::Update,
                "the host cannot reach what pipelines need",
                &["record"],
                Operation::OpenEgress { group: id.clone() },
            );
            step.differences = vec![Difference::new(
                "IpPermissionsEgress",
                "closed",
                "all to 0.0.0.0/0",
            )];
        }
        let is = group.tags.clone();
        self.retag(&is, "security-group", "ec2:security-group", TagTarget::Ec2(id));
    }

    fn reports(&mut self) {
        for host in Host::all(self.record.spec.count) {
            let parameter = self.owner.name.report(host);
            let address = host.address("report");
            match self.observed.reports.get(&parameter) {
                None => {
                    self.steps.add(
                        address,
                        "ssm:parameter",
                        Action::Create,
                        "where the host says how far it is",
                        &["record"],
                        Operation::CreateReport(host),
                    );
                }
                Some(report) => {
                    let tags = report.tags.clone();
                    if let Claim::Ours = self.claim(&tags, &address, format!("parameter {parameter}")) {
                        self.retag(&tags, &address, "ssm:parameter", TagTarget::Parameter(parameter));
                    }
                }
            }
        }
    }

    fn token(&mut self) {
        if self.record.spec.token != Token::Ours {
            return;
        }
        let parameter = self.owner.name.token();
        match &self.observed.token {
            None => {
                self.steps.add(
                    "token",
                    "ssm:parameter",
                    Action::Create,
                    "the runner's token as SecureString",
                    &["record"],
                    Operation::CreateToken,
                );
            }
            Some(token) => {
                let tags = token.tags.clone();
                if let Claim::Ours = self.claim(&tags, "token", format!("parameter {parameter}")) {
                    if self.wanted.token == Given::Other {
                        let step = self.steps.add(
                            "token",
                            "ssm:parameter",
                            Action::Update,
                            "another token was given; a runner that is registered keeps its own",
                            &["record"],
                            Operation::UpdateToken,
                        );
                        step.differences = vec![Difference::new("Value", "another token", "the token given")];
                    }
                    self.retag(&tags, "token", "ssm:parameter", TagTarget::Parameter(parameter));
                }
            }
        }
    }

    fn logs(&mut self) {
        let name = self.owner.name.log_group();
        let days = self.record.spec.log_retention_days;
        let retention = |steps: &mut Steps, action: Action| {
            steps
                .add(
                    "logs-retention",
                    "logs:log-group",
                    action,
                    format!("logs are kept for {days} days"),
                    &["record", "logs"],
                    Operation::SetRetention { days },
                )
                .differences
                .clear();
        };
        let Some(logs) = &self.observed.logs else {
            self.steps.add(
                "logs",
                "logs:log-group",
                Action::Create,
                "bootstrap and runner logs",
                &["record"],
                Operation::CreateLogGroup,
            );
            retention(&mut self.steps, Action::Update);
            return;
        };
        let kept = logs.tags.contains_key(KEPT)
            && logs.tags.get(owner::DEPLOYMENT).map(String::as_str) == Some(self.owner.name.as_str());
        // Also where it was taken over by half: the mark goes last.
        if kept {
            self.steps.add(
                "logs",
                "logs:log-group",
                Action::Update,
                "an earlier life of the deployment left it as data",
                &["record"],
                Operation::AdoptLogGroup,
            );
        } else {
            let tags = logs.tags.clone();
            let Claim::Ours = self.claim(&tags, "logs", format!("log group {name}")) else {
                return;
            };
            self.retag(&tags, "logs", "logs:log-group", TagTarget::LogGroup);
        }
        if logs.it.retention_days != Some(days) {
            let is = logs
                .it
                .retention_days
                .map_or_else(|| "for ever".to_owned(), |days| days.to_string());
            retention(&mut self.steps, Action::Update);
            self.note("logs-retention", Difference::new("retentionInDays", is, days));
        }
    }

    /// Adds a difference to the last step.
    fn note(&mut self, address: &str, difference: Difference) {
        self.steps.differences_of(address).push(difference);
    }

    fn topic(&mut self) {
        if self.record.spec.topic.is_some() {
            return;
        }
        let name = self.owner.name.topic();
        let mut told = self.record.spec.notify.clone();
        match &self.observed.topic {
            None => {
                self.steps.add(
                    "topic",
                    "sns:topic",
                    Action::Create,
                    "where alarms go",
                    &["record"],
                    Operation::CreateTopic,
                );
            }
            Some(topic) => {
                let tags = topic.tags.clone();
                let Claim::Ours = self.claim(&tags, "topic", format!("topic {name}")) else {
                    return;
                };
                // Whom we told and shall tell no longer; addresses that others added stay.
                let before = self
                    .wanted
                    .base
                    .map(|(base, _)| base.spec.notify.clone())
                    .unwrap_or_default();
                for address in before.iter().filter(|address| !told.contains(address)) {
                    if let Some(arn) = topic
                        .it
                        .subscriptions
                        .get(address)
                        .filter(|arn| arn.starts_with("arn:"))
                    {
                        let arn = arn.clone();
                        self.steps.add(
                            format!("subscription-{address}"),
                            "sns:subscription",
                            Action::Delete,
                            "is told of alarms no longer",
                            &["record"],
                            Operation::Unsubscribe { arn },
                        );
                    }
                }
                told.retain(|address| !topic.it.subscriptions.contains_key(address));
                self.retag(&tags, "topic", "sns:topic", TagTarget::Topic);
            }
        }
        for address in told {
            self.steps.add(
                format!("subscription-{address}"),
                "sns:subscription",
                Action::Create,
                "is told of alarms, once it has confirmed",
                &["record", "topic"],
                Operation::Subscribe(address),
            );
        }
    }

    fn hosts(&mut self) {
        let spec = self.record.spec.clone();
        let profile = self.place().iam_arn(&format!(
            "instance-profile{IAM_PATH}{}",
            self.owner.name.role(&self.place().region)
        ));
        for (nth, host) in Host::all(spec.count).into_iter().enumerate() {
            let address = host.address("host");
            let standing = standing(&self.record, host, self.observed);
            let group = self.ids.get("security-group").cloned();
            let Some(current) = standing.current else {
                self.launch(nth, host, &address, group);
                continue;
            };
            let it = &current.it;
            self.ids.insert(address.clone(), it.id.clone());
            let volume = instance::root_volume(it, self.observed);
            let diff = instance::diff(&spec, it, volume, group.as_deref(), &profile);
            let mut stuck = diff.stuck;
            if let Some(resize) = self.wanted.resize {
                let volume = volume.cloned();
                self.resize(host, it, volume.as_ref(), (&diff.size, &diff.volume), resize);
            } else {
                stuck.extend(diff.size);
                stuck.extend(diff.volume);
            }
            let was = self.wanted.base.map(|(base, _)| &base.spec);
            // Another image is another container: `upgrade` does that, with the jobs in mind.
            if let Some(was) = was {
                let image = |spec: &Spec| format!("{}:{}", spec.runner_image, spec.channel);
                stuck.extend(Difference::of("runner image", &image(was), &image(&spec)));
            }
            self.stuck
                .extend(stuck.into_iter().map(|difference| (address.clone(), difference)));
            let id = || it.id.clone();
            let mends = [
                (
                    "metadata",
                    diff.metadata,
                    "the metadata service answers otherwise",
                    Operation::SetMetadata { instance: id() },
                ),
                (
                    "groups",
                    diff.groups,
                    "the host has other security groups",
                    Operation::SetSecurityGroups { instance: id() },
                ),
                (
                    "start",
                    diff.stopped,
                    "the host is stopped",
                    Operation::Start { instance: id() },
                ),
            ];
            for (what, differences, reason, does) in mends {
                if !differences.is_empty() {
                    let set = format!("{}-type", host.address("host"));
                    let after = ["record", "security-group", "security-group-egress", &set];
                    let address = format!("{address}-{what}");
                    self.steps
                        .add(address, "ec2:instance", Action::Update, reason, &after, does)
                        .differences = differences;
                }
            }
            let was = self
                .wanted
                .base
                .is_some_and(|(base, _)| base.spec.termination_protection);
            if was != spec.termination_protection {
                let on = spec.termination_protection;
                self.steps
                    .add(
                        format!("{address}-protection"),
                        "ec2:instance",
                        Action::Update,
                        if on {
                            "protects from termination"
                        } else {
                            "no longer protected"
                        },
                        &["record"],
                        Operation::Protect { instance: id(), on },
                    )
                    .differences = vec![Difference::new("DisableApiTermination", was, on)];
            }
            let is = current.tags.clone();
            let mut should = tags(&self.record, &address);
            should.insert("Name".to_owned(), self.owner.name.host(host));
            let differences = tag_differences(&is, &should);
            if !differences.is_empty() {
                self.steps
                    .add(
                        format!("{address}-tags"),
                        "ec2:instance",
                        Action::Update,
                        "tags differ",
                        &["record"],
                        Operation::Tag {
                            target: TagTarget::Ec2(id()),
                            tags: should.clone(),
                        },
                    )
                    .differences = differences;
            }
            // The launch gave its volume the same ones.
            let volume = self
                .observed
                .volumes
                .iter()
                .find(|volume| it.root_volume.as_ref() == Some(&volume.it.id));
            if let Some(volume) = volume {
                let differences = tag_differences(&volume.tags, &should);
                let target = TagTarget::Ec2(volume.it.id.clone());
                if !differences.is_empty() {
                    let operation = Operation::Tag { target, tags: should };
                    self.steps
                        .add(
                            format!("{address}-volume-tags"),
                            "ec2:volume",
                            Action::Update,
                            "tags differ",
                            &["record"],
                            operation,
                        )
                        .differences = differences;
                }
            }
        }
    }

    /// Adds what gives runners other settings while they run. What a host says it has set goes before what the record said,
    /// so that a run that ended between the two is made up for.
    fn settings(&mut self) {
        let spec = self.record.spec.clone();
        let was = self.wanted.base.map(|(base, _)| base.spec.clone());
        for host in Host::all(spec.count) {
            let standing = standing(&self.record, host, self.observed);
            let Some(it) = standing.current.map(|current| current.it.clone()) else {
                continue;
            };
            let report = self.observed.reports.get(&self.owner.name.report(host));
            let report = report
                .map(|report| Report::read(&report.it.text))
                .filter(|report| {
                    report.is_of(&self.owner.generation, Some(&it.id))
                        && matches!(report.stage.as_str(), "online" | "stopped")
                });
            // A host that is not so far gets its settings with the rest.
            let Some(report) = report else { continue };
            let mut differences = Vec::new();
            let concurrent = report.concurrent.or(was.as_ref().map(|was| was.concurrency));
            if let Some(is) = concurrent {
                differences.extend(Difference::of("concurrent", &is, &spec.concurrency));
            }
            let interval = report
                .check_interval
                .or(was.as_ref().map(|was| was.check_interval));
            if let Some(is) = interval {
                differences.extend(Difference::of("check_interval", &is, &spec.check_interval));
            }
            if differences.is_empty() {
                continue;
            }
            let address = host.address("host");
            let after = [
                "record".to_owned(),
                format!("{address}-start"),
                format!("{address}-runner"),
                host.address("online"),
            ];
            let refs: Vec<&str> = after.iter().map(String::as_str).collect();
            let does = Operation::OnHost {
                host,
                instance: it.id.clone(),
                work: Box::new(Work::Settings),
            };
            let reason = "the runner reads its settings again, without a restart";
            self.steps
                .add(
                    format!("{address}-settings"),
                    "runner",
                    Action::Update,
                    reason,
                    &refs,
                    does,
                )
                .differences = differences;
        }
    }

    fn launch(&mut self, nth: usize, host: Host, address: &str, group: Option<String>) {
        let ladder = self.record.spec.ladder(nth);
        let launch = self.record.launch(address);
        let tokens = (0..ladder.len() as u32)
            .map(|rung| self.record.generation.client_token(address, launch.launch, rung))
            .collect();
        let mut tags = tags(&self.record, address);
        tags.insert("Name".to_owned(), self.owner.name.host(host));
        let spec = &self.record.spec;
        let reason = if launch.launch > 0 {
            format!("the {} is gone", ordinal(launch.launch))
        } else {
            format!("{} with {} GiB", spec.instance_type, spec.disk.gib)
        };
        let fallbacks = ladder
            .iter()
            .map(|rung| format!("{} in {}", rung.instance_type, rung.subnet.zone))
            .collect();
        let report = host.address("report");
        let after = [
            "record",
            "role-policy",
            "instance-profile-role",
            "security-group",
            "security-group-egress",
            "token",
            "logs",
            &report,
        ];
        let operation = Operation::Launch(Box::new(Launch {
            host,
            from: launch.rung as usize,
            ladder,
            tokens,
            user_data: self.wanted.user_data.get(address).cloned().unwrap_or_default(),
            tags,
            group,
            record: Box::new(self.record.clone()),
        }));
        self.steps
            .add(address, "ec2:instance", Action::Create, reason, &after, operation)
            .fallbacks = fallbacks;
    }

    fn waits(&mut self) {
        for host in Host::all(self.record.spec.count) {
            let address = host.address("host");
            let start = format!("{address}-start");
            let instance = self.ids.get(&address);
            let report = self.observed.reports.get(&self.owner.name.report(host));
            let online = report.is_some_and(|report| {
                Report::read(&report.it.text).is_online(&self.owner.generation, instance.map(String::as_str))
            });
            let runner = format!("{address}-runner");
            let changed = self.steps.has(&address) || self.steps.has(&start);
            if online && !changed {
                continue;
            }
            if self.wanted.wait {
                self.steps.add(
                    host.address("online"),
                    "runner",
                    Action::Wait,
                    "until the host reports that its runner is online",
                    &[&address, &start, &runner],
                    Operation::WaitOnline(host),
                );
            } else if changed {
                self.steps.add(
                    host.address("running"),
                    "ec2:instance",
                    Action::Wait,
                    "until the host runs",
                    &[&address, &start],
                    Operation::WaitRunning(host),
                );
            }
        }
    }

    fn alarms(&mut self) {
        let place = self.place().clone();
        let rules = AlarmRule::all(&self.owner.name, &self.record.spec, &place);
        for rule in &rules {
            let host = rule.host.address("host");
            let known = rule.cluster.clone().or_else(|| self.ids.get(&host).cloned());
            let online = rule.host.address("online");
            let running = rule.host.address("running");
            let mut after = vec!["record", "topic", host.as_str()];
            if rule.breaches_on_silence() {
                // Before the host has reported once, silence is no news.
                after.extend([online.as_str(), running.as_str(), AGENT_ACTIVE]);
            }
            let put = |exists: bool| Operation::PutAlarm {
                rule: Box::new(rule.clone()),
                exists,
            };
            match self.observed.alarms.get(&rule.name) {
                None => {
                    self.steps.add(
                        &rule.address,
                        "cloudwatch:alarm",
                        Action::Create,
                        rule.says(),
                        &after,
                        put(false),
                    );
                }
                Some(alarm) => {
                    let tags = alarm.tags.clone();
                    let what = format!("alarm {}", rule.name);
                    let Claim::Ours = self.claim(&tags, &rule.address, what) else {
                        continue;
                    };
                    let should = known.map(|instance| rule.fields(&instance));
                    let differences = match &should {
                        Some(should) => field_differences(&alarm.it.fields, should),
                        None => vec![Difference::new(
                            "Dimensions",
                            "a host that is gone",
                            "the new host",
                        )],
                    };
                    if !differences.is_empty() {
                        self.steps
                            .add(
                                &rule.address,
                                "cloudwatch:alarm",
                                Action::Update,
                                "the alarm is another than planned",
                                &after,
                                put(true),
                            )
                            .differences = differences;
                    }
                    let target = TagTarget::Alarm(rule.name.clone());
                    self.retag(&tags, &rule.address, "cloudwatch:alarm", target);
                }
            }
        }
        // Alarms of ours that nothing calls for any more, such as those of a host that was given up.
        let owner = self.owner.clone();
        let surplus: Vec<String> = self
            .observed
            .alarms
            .iter()
            .filter(|(name, _)| rules.iter().all(|rule| rule.name != **name))
            .filter(|(name, alarm)| super::down::owns_alarm(&owner, name, &alarm.tags))
            .map(|(name, _)| name.clone())
            .collect();
        if !surplus.is_empty() {
            self.steps.add(
                "alarms-surplus",
                "cloudwatch:alarm",
                Action::Delete,
                format!("nothing calls for {}", surplus.join(", ")),
                &["record"],
                Operation::DeleteAlarms(surplus),
            );
        }
    }

    fn dashboard(&mut self) {
        // The one of a cluster names no instances.
        let hosts = match &self.record.spec.eks {
            Some(_) => Vec::new(),
            None => Host::all(self.record.spec.count),
        };
        let addresses: Vec<String> = hosts.iter().map(|host| host.address("host")).collect();
        let known: Option<Vec<(Host, String)>> = hosts
            .iter()
            .map(|host| Some((*host, self.ids.get(&host.address("host"))?.clone())))
            .collect();
        let mut after = vec!["record"];
        after.extend(addresses.iter().map(String::as_str));
        match &self.observed.dashboard {
            None => {
                self.steps.add(
                    "dashboard",
                    "cloudwatch:dashboard",
                    Action::Create,
                    "disk, memory, CPU and alarms on one page",
                    &after,
                    Operation::PutDashboard,
                );
            }
            Some(body) if !dashboard::owns(&self.owner, body) => self.blocks.push(Block {
                address: "dashboard".to_owned(),
                what: format!("dashboard {}", self.owner.name.dashboard(&self.place().region)),
                why: "exists and does not say that it is of this deployment".to_owned(),
            }),
            Some(body) => {
                let same = known.is_some_and(|known| {
                    *body == dashboard::body(&self.owner, &self.record.spec, self.wanted.place, &known)
                });
                if !same {
                    self.steps
                        .add(
                            "dashboard",
                            "cloudwatch:dashboard",
                            Action::Update,
                            "the dashboard is another than planned",
                            &after,
                            Operation::PutDashboard,
                        )
                        .differences = vec![Difference::new("DashboardBody", "another", "the planned one")];
                }
            }
        }
    }
}

/// Address of the wait for the add-on that reports for all nodes of a cluster.
const AGENT_ACTIVE: &str = "addon-amazon-cloudwatch-observability-active";

/// Returns what differs between an alarm's fields.
fn field_differences(
    is: &BTreeMap<&'static str, String>,
    should: &BTreeMap<&'static str, String>,
) -> Vec<Difference> {
    should
        .iter()
        .filter(|(field, value)| is.get(*field) != Some(value))
        .map(|(field, value)| Difference::new(*field, is.get(field).map_or("none", String::as_str), value))
        .collect()
}

/// Returns what differs between two records, for people.
fn record_differences(is: &Record, should: &Record) -> Vec<Difference> {
    let value = |record: &Record| serde_json::to_value(record).unwrap_or_default();
    let mut differences = Vec::new();
    compare("", &value(is), &value(should), &mut differences);
    differences
}

fn compare(
    path: &str,
    is: &serde_json::Value,
    should: &serde_json::Value,
    differences: &mut Vec<Difference>,
) {
    use serde_json::Value;
    match (is, should) {
        (Value::Object(left), Value::Object(right)) => {
            let keys: std::collections::BTreeSet<&String> = left.keys().chain(right.keys()).collect();
            for key in keys {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                let empty = Value::Null;
                compare(
                    &path,
                    left.get(key).unwrap_or(&empty),
                    right.get(key).unwrap_or(&empty),
                    differences,
                );
            }
        }
        _ if is == should => {}
        _ => differences.push(Difference::new(path, shown(is), shown(should))),
    }
}

fn shown(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => "none".to_owned(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn ordinal(number: u32) -> String {
    match number {
        1 => "first one".to_owned(),
        2 => "second one".to_owned(),
        3 => "third one".to_owned(),
        other => format!("{other}th one"),
    }
}

/// Says why a record forbids `up`; none where it does not.
pub fn forbidden(record: &Record) -> Option<&'static str> {
    (record.phase == Phase::Removing).then_some("the deployment is being removed")
}
