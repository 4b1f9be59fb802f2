//! The engine's cloud: the calls behind each operation on one deployment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::clients::Clients;
use super::command::{self, Ping, State};
use super::error::{CallError, Refusal};
use super::instance::Earnest;
use super::{alarm, dashboard, eks, instance, logs, observe, parameter, role, security_group, topic};
use crate::domain::deployment::down::{self, Removal};
use crate::domain::deployment::drained::Drained;
use crate::domain::deployment::name::{Host, Name, Place};
use crate::domain::deployment::observed::{Instance, Observed};
use crate::domain::deployment::operation::{Launch, Operation, TagTarget};
use crate::domain::deployment::owner::{GENERATION, KEPT, Owner, Tags, told};
use crate::domain::deployment::record::{Phase, Record};
use crate::domain::deployment::report::{Report, WAITING};
use crate::domain::deployment::resource;
use crate::domain::deployment::resource::alarm::topic_arn;
use crate::domain::deployment::secret::Secret;
use crate::domain::deployment::step::Action;
use crate::domain::deployment::up;
use crate::domain::deployment::user_data::described;
use crate::domain::host_script;
use crate::domain::lifecycle::said::Said;
use crate::domain::lifecycle::script::{Work, script};
use crate::engine::port::{Cloud, Done, Found, Ids, Sight};

/// What is said when another run has removed the record meanwhile.
pub const RECORD_GONE: &str = "the deployment's record is gone";

/// Lines at the end of the console that are looked through while a host is waited for; one of them is shown.
const CONSOLE_LINES: usize = 40;

/// What a host says on its console where its reports do not reach AWS (`templates/host/user-data.sh`), and which is shown rather
/// than the last line.
const TELLING: &[&str] = &["the clock of this host is wrong", "error: "];

/// Looks after which what should be gone is taken for something new; they take six seconds.
const LOOKS_AFTER: usize = 8;

/// How long a host that failed before this run has to try again: it does so every two minutes by itself
/// (`templates/host/user-data.sh`), and at once where Systems Manager reaches it.
const AGAIN: Duration = Duration::from_mins(3);

/// What a host had reported before this run, or before this run started it.
#[derive(Debug)]
struct Former {
    /// The report, where what it says is no news.
    text: Option<String>,
    /// Whether this run has started the host since: then it is on its way, whatever it said.
    started: bool,
    seen: Instant,
    asked: bool,
}

/// A deployment and the clients to reach it.
#[derive(Debug)]
pub struct Deployed {
    clients: Clients,
    place: Place,
    record: Record,
    owner: Owner,
    secret: Option<Secret>,
    /// Command that drains an instance, once it is sent.
    drains: tokio::sync::Mutex<BTreeMap<String, String>>,
    /// Looks at hosts so far, for what is not asked each time.
    looks: std::sync::atomic::AtomicUsize,
    /// Hosts that this run launched: what they say is of this run.
    launched: tokio::sync::Mutex<BTreeSet<String>>,
    /// What each instance had reported when this run first looked.
    former: tokio::sync::Mutex<BTreeMap<String, Former>>,
    /// What each host last said on its console.
    console: tokio::sync::Mutex<BTreeMap<Host, String>>,
    /// What stands in the cluster, for a deployment on EKS.
    inside: eks::inside::Inside,
    /// Changes that EKS carries out.
    updates: eks::update::Updates,
}

impl Deployed {
    /// Takes a deployment; `secret` is the token that `CreateToken` writes.
    pub fn new(clients: Clients, place: Place, record: Record, secret: Option<Secret>) -> Self {
        Self {
            owner: record.owner(),
            clients,
            place,
            record,
            secret,
            drains: tokio::sync::Mutex::default(),
            looks: std::sync::atomic::AtomicUsize::new(0),
            launched: tokio::sync::Mutex::default(),
            former: tokio::sync::Mutex::default(),
            console: tokio::sync::Mutex::default(),
            inside: eks::inside::Inside::default(),
            updates: eks::update::Updates::default(),
        }
    }

    fn scene(&self) -> eks::Scene<'_> {
        eks::Scene {
            clients: &self.clients,
            place: &self.place,
            record: &self.record,
            owner: &self.owner,
            secret: self.secret.as_ref(),
            updates: &self.updates,
        }
    }

    fn name(&self) -> &Name {
        &self.owner.name
    }

    fn role(&self) -> String {
        self.name().role(&self.place.region)
    }

    fn tags(&self, address: &str) -> Tags {
        up::tags(&self.record, address)
    }

    fn topic(&self) -> String {
        topic_arn(self.name(), &self.record.spec, &self.place)
    }

    fn log_arn(&self) -> String {
        self.place
            .arn("logs", &format!("log-group:{}", self.name().log_group()))
    }

    fn dashboard(&self) -> String {
        self.name().dashboard(&self.place.region)
    }

    /// Says whose something is by its tags.
    fn claim(&self, tags: &Tags, address: &str, what: &str) -> Found {
        if self.owner.owns(tags, address) {
            Found::Ours(None)
        } else {
            Found::Foreign(format!("{what} {}", told(tags)))
        }
    }

    async fn launch(&self, launch: &Launch, ids: &Ids) -> Result<Done, CallError> {
        let group = launch.group.as_ref().or_else(|| ids.get("security-group"));
        let profile = self.role();
        let id = instance::run(
            &self.clients,
            &self.record.spec,
            launch,
            group.map(String::as_str),
            Some(&profile),
            Earnest::Real,
        )
        .await?;
        self.launched.lock().await.insert(id.clone());
        let rung = launch.ladder.get(launch.from);
        let first = launch.ladder.first();
        let notes = match (rung, first) {
            (Some(rung), Some(first)) if rung != first => vec![format!(
                "launched as {} in {} instead of {} in {}",
                rung.instance_type, rung.subnet.zone, first.instance_type, first.subnet.zone
            )],
            _ => Vec::new(),
        };
        Ok(Done {
            id: Some(id),
            notes,
            ..Done::default()
        })
    }

    async fn tag(&self, target: &TagTarget, tags: &Tags) -> Result<(), CallError> {
        let clients = &self.clients;
        match target {
            TagTarget::Ec2(id) => instance::set_tags(clients, id, tags).await,
            TagTarget::Role => role::tag_role(clients, &self.role(), tags).await,
            TagTarget::InstanceProfile => role::tag_profile(clients, &self.role(), tags).await,
            TagTarget::Parameter(name) => parameter::set_tags(clients, name, tags).await,
            TagTarget::LogGroup => logs::set_tags(clients, &self.log_arn(), tags).await,
            TagTarget::Topic => topic::set_tags(clients, &self.topic(), tags).await,
            TagTarget::Alarm(name) => {
                let arn = self.place.arn("cloudwatch", &format!("alarm:{name}"));
                alarm::set_tags(clients, &arn, tags).await
            }
        }
    }

    /// Removes alarms; AWS removes none of them where one is gone already, so what is left is asked for.
    async fn delete_alarms(&self, names: &[String]) -> Result<(), CallError> {
        match alarm::delete(&self.clients, names).await {
            Err(error) if error.refusal() == Some(Refusal::Missing) => {
                let there = alarm::beginning(&self.clients, &self.name().alarm_prefix()).await?;
                let left: Vec<String> = names
                    .iter()
                    .filter(|name| there.contains_key(*name))
                    .cloned()
                    .collect();
                if left.is_empty() {
                    return Ok(());
                }
                alarm::delete(&self.clients, &left).await
            }
            other => other,
        }
    }

    /// Asks the host to let jobs finish and to unregister its runner.
    async fn drain(&self, host: Host, id: &str, seconds: u32) -> Result<Done, CallError> {
        let script = host_script::drain(seconds, &self.name().host(host));
        let comment = format!("dataops-infra down --name {}", self.name());
        let within = Duration::from_secs(u64::from(seconds) + 240);
        match command::send(&self.clients, id, &script, within, &comment).await {
            Ok(command) => {
                self.drains.lock().await.insert(id.to_owned(), command);
                Ok(Done::default())
            }
            // A host that Systems Manager does not know cannot be asked; its registration stays behind.
            Err(error)
                if matches!(
                    error.refusal(),
                    Some(Refusal::Other | Refusal::Missing | Refusal::NotYet)
                ) =>
            {
                Ok(Done {
                    notes: vec![format!(
                        "the host cannot be asked to finish its jobs and to unregister ({error}); the runner may still \
                         be listed on the platform, where its owner can delete it"
                    )],
                    ..Done::default()
                })
            }
            Err(error) => Err(error),
        }
    }

    /// Sends a script to a host.
    async fn begin(&self, host: Host, id: &str, work: &Work) -> Result<Done, CallError> {
        let script = described(&self.record, &self.place, host, None, |host| script(host, work));
        let script = script.map_err(|error| CallError::Malformed {
            action: command::SEND,
            cause: error.to_string(),
        })?;
        let within = Duration::from_secs(u64::from(work.seconds()));
        let comment = format!("dataops-infra {} --name {}", work.word(), self.name());
        let command = command::send(&self.clients, id, &script, within, &comment).await?;
        self.drains
            .lock()
            .await
            .insert(format!("{id} {}", work.word()), command);
        Ok(Done::default())
    }

    /// Looks what came of a script.
    async fn ended(&self, id: &str, work: &Work) -> Result<Sight, CallError> {
        let command = self
            .drains
            .lock()
            .await
            .get(&format!("{id} {}", work.word()))
            .cloned();
        let Some(command) = command else {
            return Ok(Sight::Never("the script was not sent".to_owned()));
        };
        Ok(match command::look(&self.clients, id, &command).await? {
            State::Ended(output) => match Said::read(&output.stdout) {
                Some(said) if said.ok => Sight::Come(Done {
                    notes: said.note().into_iter().collect(),
                    ..Done::default()
                }),
                Some(said) => Sight::Never(said.detail),
                None => Sight::Never(format!(
                    "the script on the host ended with exit code {} and without an answer",
                    output.exit
                )),
            },
            State::Running => Sight::NotYet(format!("the host is at work: {}", work.word())),
            State::Untaken(status) => {
                let looks = self.looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if looks % LOOKS_AFTER == LOOKS_AFTER - 1
                    && let Ok(Ping::Offline(why)) = command::ping(&self.clients, id).await
                {
                    command::cancel(&self.clients, id, &command).await;
                    return Ok(Sight::Never(why));
                }
                Sight::NotYet(format!("the host has not taken the command yet ({status})"))
            }
            State::Lost(why) => Sight::Never(why),
        })
    }

    async fn drained(&self, id: &str) -> Result<Sight, CallError> {
        let command = self.drains.lock().await.get(id).cloned();
        let Some(command) = command else {
            return Ok(Sight::Come(Done::default()));
        };
        let lost = |why: &str| {
            Sight::Come(Done {
                notes: vec![format!(
                    "draining did not end well: {why}; the runner may still be listed on the platform, where its owner \
                     can delete it"
                )],
                ..Done::default()
            })
        };
        Ok(match command::look(&self.clients, id, &command).await? {
            State::Ended(output) => {
                let outcome = Drained::read(&output.stdout);
                if outcome.busy {
                    Sight::Never(outcome.says)
                } else {
                    Sight::Come(Done {
                        notes: vec![outcome.says],
                        ..Done::default()
                    })
                }
            }
            State::Running => Sight::NotYet("jobs are finishing".to_owned()),
            State::Untaken(status) => {
                let looks = self.looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                // An agent that is silent never takes it; whether it is, is asked only where the command waits.
                if looks % LOOKS_AFTER == LOOKS_AFTER - 1
                    && let Ok(Ping::Offline(why)) = command::ping(&self.clients, id).await
                {
                    return Ok(lost(&why));
                }
                Sight::NotYet(format!("the host has not taken the command yet ({status})"))
            }
            State::Lost(why) => lost(&why),
        })
    }

    /// Looks at a host: its instance, its report, and that the deployment is still wanted.
    async fn host(&self, host: Host, ids: &Ids, online: bool) -> Result<Sight, CallError> {
        let address = host.address("host");
        let id = ids.get(&address).cloned().unwrap_or_default();
        let names = [self.name().record(), self.name().report(host)];
        let (found, parameters) = tokio::join!(
            instance::one(&self.clients, &id),
            parameter::read(&self.clients, &names, false),
        );
        let (found, parameters) = (found?, parameters?);
        if let Some(record) = parameters.get(&names[0]) {
            match Record::read(self.name(), &record.value) {
                Ok(record)
                    if record.generation == self.owner.generation && record.phase == Phase::Present => {}
                Ok(_) => return Ok(Sight::Never("another run removes the deployment".to_owned())),
                Err(unreadable) => return Ok(Sight::Never(unreadable.to_string())),
            }
        } else {
            return Ok(Sight::Never(RECORD_GONE.to_owned()));
        }
        let Some(instance) = found else {
            return Ok(Sight::NotYet(format!("{id} is not visible yet")));
        };
        let it = &instance.it;
        if it.is_gone() {
            let why = it.why.clone().unwrap_or_else(|| "AWS gives no reason".to_owned());
            return Ok(Sight::Never(format!("{id} is {}: {why}", it.state)));
        }
        let report = parameters
            .get(&names[1])
            .map(|parameter| Report::read(&parameter.value));
        let report = report.filter(|report| report.is_of(&self.owner.generation, Some(&id)));
        let stage = report.as_ref().map_or("waiting", |report| report.stage.as_str());
        if online {
            let said = report.as_ref().map(|_| parameters[&names[1]].value.as_str());
            let former = self.is_former(host, it, said, stage == "failed").await;
            if let (Some(report), "failed") = (&report, stage) {
                let why = format!(
                    "the host failed at {}: {}",
                    report.failed_stage.as_deref().unwrap_or("an unknown stage"),
                    report.detail.as_deref().unwrap_or("it gives no reason")
                );
                return Ok(if former {
                    Sight::NotYet(format!(
                        "{id} is {} and is to try again; before this run {why}",
                        it.state
                    ))
                } else {
                    Sight::Never(why)
                });
            }
            if former {
                return Ok(Sight::NotYet(format!(
                    "{id} is {} and has said nothing since it was started",
                    it.state
                )));
            }
        }
        if it.state == "running" && (!online || stage == "online") {
            let detail = report
                .and_then(|report| report.detail)
                .filter(|detail| !detail.is_empty());
            return Ok(Sight::Come(Done {
                id: None,
                notes: detail.into_iter().collect(),
                facts: facts(it),
            }));
        }
        let mut evidence = format!("{id} is {}, host at stage {stage}", it.state);
        let looks = self.looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if it.state == "running" && looks % 6 == 5 {
            // The console is minutes behind and only evidence: that it cannot be read is no failure.
            if let Ok(lines) = instance::console(&self.clients, &id, CONSOLE_LINES).await
                && let Some(line) = told_on_console(&lines)
            {
                self.console
                    .lock()
                    .await
                    .insert(host, line.chars().take(160).collect());
            }
        }
        if let Some(line) = self.console.lock().await.get(&host) {
            evidence.push_str(&format!("; console: {line}"));
        }
        Ok(Sight::NotYet(evidence))
    }

    /// Whether what a host says is from before: a failure that this run has not seen happen, or anything that was said before
    /// this run started the host. One that has failed is told to try again, once.
    async fn is_former(&self, host: Host, it: &Instance, said: Option<&str>, failed: bool) -> bool {
        let of_this_run = self.launched.lock().await.contains(&it.id);
        let asks = {
            let mut all = self.former.lock().await;
            let former = all.entry(it.id.clone()).or_insert_with(|| Former {
                text: said.filter(|_| failed && !of_this_run).map(str::to_owned),
                started: false,
                seen: Instant::now(),
                asked: false,
            });
            if said.is_none() || former.text.as_deref() != said {
                return false;
            }
            if former.started {
                return true;
            }
            if former.seen.elapsed() >= AGAIN {
                return false;
            }
            it.state == "running" && !std::mem::replace(&mut former.asked, true)
        };
        if asks {
            // One that cannot be asked tries again by itself.
            let _ = self.begin(host, &it.id, &Work::Again).await;
        }
        true
    }

    /// Starts an instance; what its host has said before is no news from then on.
    async fn start(&self, id: &str, ids: &Ids) -> Result<(), CallError> {
        let mut hosts = Host::all(self.record.spec.count).into_iter();
        if let Some(host) = hosts.find(|host| ids.get(&host.address("host")).is_some_and(|it| it == id)) {
            let name = self.name().report(host);
            let read = parameter::read(&self.clients, std::slice::from_ref(&name), false).await?;
            let former = Former {
                text: read.get(&name).map(|parameter| parameter.value.clone()),
                started: true,
                seen: Instant::now(),
                asked: false,
            };
            self.former.lock().await.insert(id.to_owned(), former);
        }
        instance::start(&self.clients, id).await
    }

    /// Whether there is something left that goes by a call, not by waiting.
    fn is_missed(&self, observed: &Observed, removal: &Removal) -> bool {
        let plan = down::down(&self.record, None, observed, removal);
        plan.steps.iter().any(|step| step.action == Action::Delete)
    }

    async fn tagged_parameter(&self, name: &str, address: &str) -> Result<Found, CallError> {
        match parameter::tags(&self.clients, name).await {
            Ok(tags) => Ok(self.claim(&tags, address, &format!("parameter {name}"))),
            Err(error) if error.refusal() == Some(Refusal::Missing) => Ok(Found::Absent),
            Err(error) => Err(error),
        }
    }
}

/// Returns the line of a console that says most.
fn told_on_console(lines: &[String]) -> Option<&String> {
    let telling = |line: &&String| TELLING.iter().any(|text| line.contains(text));
    lines.iter().rev().find(telling).or(lines.last())
}

/// Returns what a pipeline may want to know of a host.
pub fn facts(instance: &Instance) -> BTreeMap<&'static str, String> {
    let mut facts = BTreeMap::from([
        ("instance_id", instance.id.clone()),
        ("instance_type", instance.instance_type.clone()),
        ("zone", instance.zone.clone()),
        ("state", instance.state.clone()),
    ]);
    facts.extend(instance.private_ip.clone().map(|ip| ("private_ip", ip)));
    facts.extend(instance.public_ip.clone().map(|ip| ("public_ip", ip)));
    facts
}

impl Deployed {
    /// Takes what is pending off the record.
    ///
    /// The record is read first: hours may have passed, and who removes the deployment meanwhile has said so in it.
    async fn settle(&self) -> Result<(), CallError> {
        let name = self.name().record();
        let refused = |cause: &str| CallError::Refused {
            action: parameter::PUT,
            why: Refusal::Other,
            cause: cause.to_owned(),
        };
        let read = parameter::read(&self.clients, std::slice::from_ref(&name), false).await?;
        let read = read.get(&name).ok_or_else(|| refused(RECORD_GONE))?;
        let record =
            Record::read(self.name(), &read.value).map_err(|unreadable| refused(&unreadable.to_string()))?;
        if record.generation != self.record.generation || record.phase != Phase::Present {
            return Err(refused("another run removes the deployment"));
        }
        if record.pending.is_none() {
            return Ok(());
        }
        let settled = Record {
            pending: None,
            ..record
        };
        parameter::overwrite(&self.clients, &name, &settled.text(), false, read.version).await
    }
}

impl Cloud for Deployed {
    async fn perform(&self, operation: &Operation, ids: &Ids) -> Result<Done, CallError> {
        let clients = &self.clients;
        let name = self.name();
        match operation {
            Operation::CreateRecord(record) => {
                let tags = self.tags("record");
                parameter::create(clients, &name.record(), &record.text(), false, None, &tags).await?;
            }
            Operation::UpdateRecord(record, version) => {
                parameter::overwrite(clients, &name.record(), &record.text(), false, *version).await?;
            }
            Operation::Settle => self.settle().await?,
            Operation::DeleteRecord => parameter::delete(clients, &name.record()).await?,
            Operation::CreateReport(host) => {
                let tags = self.tags(&host.address("report"));
                parameter::create(clients, &name.report(*host), WAITING, false, None, &tags).await?;
            }
            Operation::DeleteReport(host) => parameter::delete(clients, &name.report(*host)).await?,
            Operation::CreateToken => {
                let tags = self.tags("token");
                let value = self.secret.as_ref().map_or("", Secret::reveal);
                let key = self.record.spec.disk.kms_key.as_deref();
                parameter::create(clients, &name.token(), value, true, key, &tags).await?;
            }
            Operation::UpdateToken => {
                let value = self.secret.as_ref().map_or("", Secret::reveal);
                parameter::overwrite(clients, &name.token(), value, true, 0).await?;
            }
            Operation::DeleteToken => parameter::delete(clients, &name.token()).await?,
            Operation::CreateRole { trust } => {
                let what = "Host of a DataOps Runner, made by dataops-infra";
                role::create_role(clients, &self.role(), what, trust, &self.tags("role")).await?;
            }
            Operation::UpdateTrust { trust } => role::update_trust(clients, &self.role(), trust).await?,
            Operation::PutRolePolicy { policy } => role::put_policy(clients, &self.role(), policy).await?,
            Operation::DeleteRolePolicy => role::delete_policy(clients, &self.role()).await?,
            Operation::DeleteRole => role::delete_role(clients, &self.role()).await?,
            Operation::CreateInstanceProfile => {
                role::create_profile(clients, &self.role(), &self.tags("instance-profile")).await?;
            }
            Operation::AddRole => role::add_role(clients, &self.role()).await?,
            Operation::RemoveRole(other) => role::remove_role(clients, &self.role(), other).await?,
            Operation::DeleteInstanceProfile => role::delete_profile(clients, &self.role()).await?,
            Operation::CreateSecurityGroup { vpc } => {
                let tags = self.tags("security-group");
                let what = "Host of a DataOps Runner: nothing in, everything out";
                let id = security_group::create(clients, &name.security_group(), what, vpc, &tags).await?;
                return Ok(Done {
                    id: Some(id),
                    ..Done::default()
                });
            }
            Operation::RevokeIngress { group, .. } => security_group::revoke_ingress(clients, group).await?,
            Operation::OpenEgress { group } => security_group::open_egress(clients, group).await?,
            Operation::DeleteSecurityGroup { group } => security_group::delete(clients, group).await?,
            Operation::CreateLogGroup => {
                logs::create(clients, &name.log_group(), &self.tags("logs")).await?;
            }
            Operation::SetRetention { days } => {
                logs::set_retention(clients, &name.log_group(), *days).await?;
            }
            Operation::AdoptLogGroup => {
                logs::set_tags(clients, &self.log_arn(), &self.tags("logs")).await?;
                logs::remove_tag(clients, &self.log_arn(), KEPT).await?;
            }
            Operation::KeepLogGroup => {
                let kept = Tags::from([(KEPT.to_owned(), self.owner.generation.to_string())]);
                logs::set_tags(clients, &self.log_arn(), &kept).await?;
                logs::remove_tag(clients, &self.log_arn(), GENERATION).await?;
            }
            Operation::DeleteLogGroup => logs::delete(clients, &name.log_group()).await?,
            Operation::CreateTopic => topic::create(clients, &name.topic(), &self.tags("topic")).await?,
            Operation::Subscribe(address) => {
                let arn = topic::subscribe(clients, &self.topic(), address).await?;
                let notes = if arn.starts_with("arn:") {
                    Vec::new()
                } else {
                    vec![format!(
                        "{address} is told of alarms once its owner has confirmed the message from AWS"
                    )]
                };
                return Ok(Done {
                    notes,
                    ..Done::default()
                });
            }
            Operation::Unsubscribe { arn } => topic::unsubscribe(clients, arn).await?,
            Operation::DeleteTopic => topic::delete(clients, &self.topic()).await?,
            Operation::Launch(launch) => return self.launch(launch, ids).await,
            Operation::Start { instance } => self.start(instance, ids).await?,
            Operation::SetMetadata { instance } => instance::set_metadata(clients, instance).await?,
            Operation::SetSecurityGroups { instance } => {
                let group = ids.get("security-group").map_or("", String::as_str);
                instance::set_groups(clients, instance, group).await?;
            }
            Operation::Protect { instance, on } => instance::protect(clients, instance, *on).await?,
            Operation::PutAlarm { rule, exists } => {
                let instance = ids.get(&rule.host.address("host")).map_or("", String::as_str);
                let tags = (!exists).then(|| self.tags(&rule.address));
                alarm::put(clients, rule, instance, tags.as_ref()).await?;
            }
            Operation::DeleteAlarms(names) => self.delete_alarms(names).await?,
            Operation::PutDashboard => {
                let instances: Vec<(Host, String)> = Host::all(self.record.spec.count)
                    .into_iter()
                    .filter_map(|host| Some((host, ids.get(&host.address("host"))?.clone())))
                    .collect();
                let body = resource::dashboard::body(&self.owner, &self.record.spec, &self.place, &instances);
                dashboard::put(clients, &self.dashboard(), &body).await?;
            }
            Operation::DeleteDashboard => dashboard::delete(clients, &self.dashboard()).await?,
            Operation::Tag { target, tags } => self.tag(target, tags).await?,
            Operation::Drain {
                host,
                instance,
                seconds,
            } => return self.drain(*host, instance, *seconds).await,
            Operation::OnHost { host, instance, work } => {
                return self.begin(*host, instance, work).await;
            }
            Operation::Stop { instance } => instance::stop(clients, instance).await?,
            Operation::SetType {
                instance,
                instance_type,
            } => instance::set_type(clients, instance, instance_type).await?,
            Operation::GrowVolume { volume, disk } => instance::grow_volume(clients, volume, disk).await?,
            Operation::Snapshot { volume, host } => {
                let mut tags = self.record.spec.tags.clone();
                tags.insert("Name".to_owned(), name.host(*host));
                tags.insert(KEPT.to_owned(), self.owner.generation.to_string());
                let description = format!("{} before dataops-infra down", name.host(*host));
                let id = instance::snapshot(clients, volume, &description, &tags).await?;
                return Ok(Done {
                    notes: vec![format!("{volume} is copied to {id}, which stays")],
                    id: Some(id),
                    ..Done::default()
                });
            }
            Operation::KeepVolume {
                instance,
                volume,
                device,
            } => {
                instance::keep_volume(clients, instance, device).await?;
                let kept = Tags::from([(KEPT.to_owned(), self.owner.generation.to_string())]);
                instance::set_tags(clients, volume, &kept).await?;
            }
            Operation::Terminate { instance } => instance::terminate(clients, instance).await?,
            Operation::WaitOnline(_)
            | Operation::WaitRunning(_)
            | Operation::WaitGone { .. }
            | Operation::WaitStopped { .. }
            | Operation::WaitVolume { .. }
            | Operation::VerifyGone(_) => {}
            Operation::Eks(operation) => return Box::pin(eks::perform(&self.scene(), operation, ids)).await,
            Operation::Cluster(operation) => {
                return Box::pin(self.inside.perform(&self.scene(), operation, ids)).await;
            }
        }
        Ok(Done::default())
    }

    async fn look(&self, operation: &Operation, ids: &Ids) -> Result<Found, CallError> {
        let clients = &self.clients;
        let name = self.name();
        match operation {
            Operation::CreateRecord(record) | Operation::UpdateRecord(record, _) => {
                let parameter = name.record();
                let read = parameter::read(clients, std::slice::from_ref(&parameter), false).await?;
                Ok(match read.get(&parameter) {
                    None => Found::Absent,
                    Some(read) if read.value == record.text() => Found::Ours(None),
                    Some(_) if matches!(operation, Operation::UpdateRecord(..)) => Found::Absent,
                    Some(_) => Found::Foreign(format!("another run's record in {parameter}")),
                })
            }
            Operation::CreateReport(host) => {
                self.tagged_parameter(&name.report(*host), &host.address("report"))
                    .await
            }
            Operation::CreateToken => self.tagged_parameter(&name.token(), "token").await,
            Operation::CreateRole { .. } => Ok(match role::role(clients, &self.role()).await? {
                None => Found::Absent,
                Some(role) => self.claim(&role.tags, "role", &format!("role {}", self.role())),
            }),
            Operation::CreateInstanceProfile => Ok(match role::profile(clients, &self.role()).await? {
                None => Found::Absent,
                Some(profile) => {
                    let what = format!("instance profile {}", self.role());
                    self.claim(&profile.tags, "instance-profile", &what)
                }
            }),
            Operation::AddRole => Ok(match role::profile(clients, &self.role()).await? {
                Some(profile) if profile.it.roles.contains(&self.role()) => Found::Ours(None),
                _ => Found::Absent,
            }),
            Operation::CreateSecurityGroup { vpc } => {
                let groups = security_group::named(clients, &[name.security_group()]).await?;
                let group = groups.into_iter().find(|group| group.it.vpc == *vpc);
                Ok(match group {
                    None => Found::Absent,
                    Some(group) if self.owner.owns(&group.tags, "security-group") => {
                        Found::Ours(Some(group.it.id))
                    }
                    Some(group) => {
                        Found::Foreign(format!("security group {} {}", group.it.id, told(&group.tags)))
                    }
                })
            }
            Operation::CreateLogGroup => match logs::tags(clients, &self.log_arn()).await {
                Ok(tags) => Ok(self.claim(&tags, "logs", &format!("log group {}", name.log_group()))),
                Err(error) if error.refusal() == Some(Refusal::Missing) => Ok(Found::Absent),
                Err(error) => Err(error),
            },
            Operation::Launch(launch) => {
                let token = launch.tokens.get(launch.from);
                let instances = instance::named(clients, std::slice::from_ref(name)).await?;
                let made = instances
                    .into_iter()
                    .find(|instance| Some(&instance.it.client_token) == token && !instance.it.is_gone());
                if let Some(made) = &made {
                    self.launched.lock().await.insert(made.it.id.clone());
                }
                Ok(made.map_or(Found::Absent, |instance| Found::Ours(Some(instance.it.id))))
            }
            Operation::Eks(operation) => Box::pin(eks::look(&self.scene(), operation, ids)).await,
            Operation::Cluster(operation) => Box::pin(self.inside.look(&self.scene(), operation, ids)).await,
            // The rest can be done again without harm.
            _ => Ok(Found::Absent),
        }
    }

    async fn watch(&self, operation: &Operation, ids: &Ids) -> Result<Sight, CallError> {
        match operation {
            Operation::WaitOnline(host) => self.host(*host, ids, true).await,
            Operation::WaitRunning(host) => self.host(*host, ids, false).await,
            Operation::WaitGone { instance } => {
                let found = instance::one(&self.clients, instance).await?;
                Ok(match found {
                    Some(found) if found.it.state != "terminated" => {
                        Sight::NotYet(format!("{instance} is {}", found.it.state))
                    }
                    _ => Sight::Come(Done::default()),
                })
            }
            Operation::VerifyGone(removal) => {
                let names = std::slice::from_ref(self.name());
                let parameters = observe::parameters(&self.clients, names, &[]).await?;
                let seen = observe::observe(&self.clients, &self.place, names, parameters).await?;
                let left = seen
                    .values()
                    .flat_map(|observed| down::left(&self.record, observed, removal))
                    .collect::<Vec<_>>();
                if left.is_empty() {
                    return Ok(Sight::Come(Done::default()));
                }
                let still = format!("still there: {}", left.join(", "));
                let looks = self.looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                // Another run made it after this one had looked; only a new plan removes it.
                Ok(
                    if looks >= LOOKS_AFTER && seen.values().any(|seen| self.is_missed(seen, removal)) {
                        Sight::Never(still)
                    } else {
                        Sight::NotYet(still)
                    },
                )
            }
            Operation::Drain { instance, .. } => self.drained(instance).await,
            Operation::OnHost { instance, work, .. } => self.ended(instance, work).await,
            Operation::WaitStopped { instance } => {
                let found = instance::one(&self.clients, instance).await?;
                Ok(match found {
                    None => Sight::NotYet(format!("{instance} is not visible")),
                    Some(found) if found.it.is_gone() => {
                        Sight::Never(format!("{instance} is {}", found.it.state))
                    }
                    Some(found) if found.it.state == "stopped" => Sight::Come(Done::default()),
                    Some(found) => Sight::NotYet(format!("{instance} is {}", found.it.state)),
                })
            }
            Operation::Eks(operation) => Box::pin(eks::watch(&self.scene(), operation, ids)).await,
            Operation::Cluster(operation) => Box::pin(self.inside.watch(&self.scene(), operation, ids)).await,
            Operation::WaitVolume { volume, gib } => {
                let (change, is) = tokio::join!(
                    instance::modification(&self.clients, volume),
                    instance::volume_gib(&self.clients, volume),
                );
                let (change, is) = (change?, is?);
                Ok(match (change.state.as_str(), is) {
                    ("failed", _) => Sight::Never(format!("{volume} was not changed: {}", change.message)),
                    // While it is being optimized it can be used whole, only more slowly.
                    ("optimizing" | "completed" | "", Some(is)) if is >= *gib => Sight::Come(Done::default()),
                    (state, is) => Sight::NotYet(format!(
                        "{volume} has {} of {gib} GiB, {state} {} %",
                        is.map_or_else(|| "unknown".to_owned(), |is| is.to_string()),
                        change.progress
                    )),
                })
            }
            _ => Ok(Sight::Come(Done::default())),
        }
    }
}
