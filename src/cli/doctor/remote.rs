//! `doctor` from anywhere: AWS, and the hosts through Run Command.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, join_all};
use jiff::Timestamp;

use super::survey::{Reach, Survey};
use super::{DoctorArgs, Tried, answer, consent};
use crate::aws::doctor as read;
use crate::aws::eks::{nodes, preflight as eks_preflight};
use crate::aws::observe::{self, Caller, Parameters};
use crate::aws::preflight::{self, Network};
use crate::aws::{alarm as alarms_of, instance, metric, parameter, topic};
use crate::cli::deployment::apply::{Stop, Work, apply, signal};
use crate::cli::deployment::calls::{Ground, block_on, ground};
use crate::cli::deployment::select::{file, select};
use crate::cli::deployment::site::image_parameter;
use crate::cli::deployment::wants::grounds;
use crate::cli::outcome::{Answer, Context, Failure};
use crate::domain::catalog::Catalog;
use crate::domain::deployment::eks::observed::ObservedEks;
use crate::domain::deployment::name::{Host, Name};
use crate::domain::deployment::observed::{Instance, Observed, ReportParameter, Tagged};
use crate::domain::deployment::operation::Operation;
use crate::domain::deployment::preflight::GP3_QUOTA;
use crate::domain::deployment::preflight::VCPU_QUOTA;
use crate::domain::deployment::record::{Phase, Record};
use crate::domain::deployment::resource::alarm::topic_arn;
use crate::domain::deployment::spec::{SecretRef, Token};
use crate::domain::deployment::up::{Given, Wanted as Desired, up};
use crate::domain::doctor::account::{self, Account, Asked, TYPICAL};
use crate::domain::doctor::alarm::{self, Alarms, Heard};
use crate::domain::doctor::board::{Gap, Read};
use crate::domain::doctor::check::{Check, Status, Subject};
use crate::domain::doctor::cluster;
use crate::domain::doctor::code::{Area, Code, Scope};
use crate::domain::doctor::deployment::{self, FRESH, HostView};
use crate::domain::doctor::facts::Told;
use crate::domain::doctor::fix::{self, Fix};
use crate::domain::doctor::host;
use crate::domain::doctor::machine::{self, TOOLS, Tool};
use crate::domain::doctor::runner;
use crate::domain::doctor::scene::{Scene, Wanted};
use crate::domain::settings::Settings;

/// Lines of a console that are read.
const CONSOLE: usize = 5;

type SharedCaller<'a> = Shared<BoxFuture<'a, Read<Caller>>>;

/// Deployments of one account and region; none: all there are.
type Targets = Vec<(Ground, Option<Vec<Name>>)>;

pub(super) fn run(args: &DoctorArgs, codes: &BTreeSet<Code>, context: &Context) -> Result<Answer, Failure> {
    block_on(examine(args, codes, context))
}

async fn examine(args: &DoctorArgs, codes: &BTreeSet<Code>, context: &Context) -> Result<Answer, Failure> {
    let targets = targets(args, context).await?;
    let heading = heading(&targets);
    let (checks, reach) = look(&targets, args, codes, context).await;
    let planned = fixes(&checks, &reach);
    if !args.fix || planned.is_empty() {
        return Ok(answer(&checks, &[], &heading));
    }
    let shown: Vec<(String, String)> = planned
        .iter()
        .flat_map(|(place, reach, fixes)| fixes.iter().map(|fix| (place.clone(), shown(*fix, reach))))
        .collect();
    consent(&shown, args, context)?;
    let within = Duration::from_secs(args.timeout.max(90));
    let tried = join_all(
        planned
            .into_iter()
            .map(|(place, reach, fixes)| mend(place, reach, fixes, within, context)),
    )
    .await;
    let tried: Vec<Tried> = tried.into_iter().flatten().collect();
    let (checks, _) = look(&targets, args, codes, context).await;
    Ok(answer(&checks, &tried, &heading))
}

fn heading(targets: &Targets) -> String {
    let regions: Vec<&str> = targets.iter().map(|(ground, _)| ground.region.as_str()).collect();
    let names: Vec<&str> = targets
        .iter()
        .flat_map(|(_, names)| names.iter().flatten().map(Name::as_str))
        .collect();
    let what = if targets.iter().any(|(_, names)| names.is_none()) {
        "all deployments".to_owned()
    } else if names.is_empty() {
        "this machine and the account".to_owned()
    } else {
        names.join(", ")
    };
    format!("Checks of {what} in {}", regions.join(", "))
}

async fn targets(args: &DoctorArgs, context: &Context) -> Result<Targets, Failure> {
    let here = || async {
        let profile = context.aws_profile.as_deref();
        ground(context.region.as_deref(), profile, context).await
    };
    if args.all {
        return Ok(vec![(here().await?, None)]);
    }
    if args.which.name.is_none() && file(&args.which)?.is_none() {
        return Ok(vec![(here().await?, Some(Vec::new()))]);
    }
    let flags = Settings {
        name: args.which.name.clone(),
        region: context.region_flag.clone(),
        profile: context.profile_flag.clone(),
        ..Settings::default()
    };
    let meant = select(&args.which, &flags, context, "doctor")?;
    let grounds = grounds(meant, context).await?;
    let names =
        |meant: Vec<crate::cli::deployment::select::Meant>| meant.into_iter().map(|one| one.name).collect();
    Ok(grounds
        .into_iter()
        .map(|(ground, meant)| (ground, Some(names(meant))))
        .collect())
}

/// Makes all checks; ends early with what is known when somebody asks for it.
async fn look(
    targets: &Targets,
    args: &DoctorArgs,
    codes: &BTreeSet<Code>,
    context: &Context,
) -> (Vec<Check>, Vec<(Subject, Reach)>) {
    let survey = Survey::new(codes, args.timeout);
    let all = async {
        join_all(
            targets
                .iter()
                .map(|(ground, names)| place(&survey, ground, names.as_deref(), context)),
        )
        .await;
    };
    let why = tokio::select! {
        () = all => "nobody answered",
        () = signal() => {
            context.warn("stopped: what has not answered yet is shown as unknown");
            "the run was stopped before it was answered"
        }
    };
    survey.close(why)
}

/// Makes the checks of an account and region.
async fn place(survey: &Survey, ground: &Ground, names: Option<&[Name]>, context: &Context) {
    let machine = Subject::default();
    let region = Subject {
        region: Some(ground.region.clone()),
        ..Subject::default()
    };
    survey.ask(&machine, Scope::Machine);
    survey.ask(&region, Scope::Region);
    let caller: SharedCaller = survey
        .read(&region, observe::caller(&ground.clients))
        .boxed()
        .shared();
    let greeted = async {
        if survey.wants(|code| matches!(code, Code::MachineNetwork | Code::MachineClock)) {
            let greeting = survey
                .read(&region, read::greet(&greeting_url(ground, context)))
                .await;
            survey.put([machine::network(&greeting), machine::clock(&greeting)]);
        }
    };
    let tools = async { survey.put([machine::tools(&tools())]) };
    let known = async {
        let arn = caller.clone().await.map(|caller| caller.arn);
        survey.put([machine::credentials(&arn, ground.profile.as_deref())]);
    };
    tokio::join!(
        greeted,
        tools,
        known,
        deployments(survey, ground, &region, names, &caller)
    );
}

fn greeting_url(ground: &Ground, context: &Context) -> String {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let suffix = if ground.region.starts_with("cn-") {
        ".cn"
    } else {
        ""
    };
    context
        .endpoint_url
        .clone()
        .or_else(|| set("AWS_ENDPOINT_URL_STS"))
        .or_else(|| set("AWS_ENDPOINT_URL"))
        .unwrap_or_else(|| format!("https://sts.{}.amazonaws.com{suffix}/", ground.region))
}

fn tools() -> Vec<Tool> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |name: &str| std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    TOOLS
        .iter()
        .map(|(name, what_for)| Tool {
            name,
            there: there(name),
            what_for,
        })
        .collect()
}

async fn deployments(
    survey: &Survey,
    ground: &Ground,
    region: &Subject,
    names: Option<&[Name]>,
    caller: &SharedCaller<'_>,
) {
    let of = |name: &Name, host: Option<&str>| Subject {
        deployment: Some(name.to_string()),
        host: host.map(str::to_owned),
        ..region.clone()
    };
    let names = match names {
        Some(names) => names.to_vec(),
        None => match survey.read(region, observe::records(&ground.clients)).await {
            Ok(records) => records.into_keys().collect(),
            Err(why) => {
                // Which there are is not known, so one line stands for all.
                survey.ask(region, Scope::Deployment);
                let why = format!("the deployments could not be listed: {why}");
                survey.put(
                    Code::ALL
                        .iter()
                        .map(|code| Check::unknown(*code, &why).of(region)),
                );
                return account(survey, ground, region, &[]).await;
            }
        },
    };
    for name in &names {
        survey.ask(&of(name, None), Scope::Deployment);
        survey.ask(&of(name, Some("host")), Scope::Host);
    }
    if names.is_empty() {
        return account(survey, ground, region, &[]).await;
    }
    let parameters = survey
        .read(region, observe::parameters(&ground.clients, &names, &[]))
        .await;
    let mut records: Vec<(Name, Record)> = Vec::new();
    let mut absent: Vec<Name> = Vec::new();
    for name in &names {
        let subject = of(name, None);
        let read = parameters.as_ref().map_err(Clone::clone).map(|parameters| {
            let parameter = parameters.get(&name.record());
            parameter.map(|parameter| Record::read(name, &parameter.value))
        });
        survey.put([deployment::record(&subject, &read)]);
        let none = match read {
            Ok(Some(Ok(record))) => {
                records.push((name.clone(), record));
                continue;
            }
            Ok(None) => {
                absent.push(name.clone());
                (true, "there is no deployment of this name here".to_owned())
            }
            Ok(Some(Err(unreadable))) => (false, format!("the record cannot be read: {unreadable}")),
            Err(why) => (false, format!("the record could not be read: {why}")),
        };
        for subject in [subject, of(name, Some("host"))] {
            let rest: Vec<Code> = Code::ALL
                .iter()
                .copied()
                .filter(|code| *code != Code::DeploymentRecord)
                .collect();
            survey.put(deployment::without_record(&subject, &rest, none.0, &none.1));
        }
    }
    let parameters = parameters.unwrap_or_default();
    let each = records.iter().map(|(name, record)| {
        let one = One {
            survey,
            ground,
            region,
            name,
            record,
            parameters: &parameters,
            caller,
        };
        async move { one.checks().await }
    });
    let left = absent.iter().map(|name| {
        let parameters = &parameters;
        async move {
            if survey.wants(|code| code == Code::LeftoverAws) {
                let subject = of(name, None);
                let check = match observed(survey, ground, region, name, parameters, caller).await {
                    Ok(observed) => deployment::leftovers(&subject, None, &observed),
                    Err(why) => Check::unknown(Code::LeftoverAws, why.to_string()).of(&subject),
                };
                survey.put([check]);
            }
        }
    });
    tokio::join!(
        join_all(each),
        join_all(left),
        account(survey, ground, region, &records)
    );
}

async fn observed(
    survey: &Survey,
    ground: &Ground,
    region: &Subject,
    name: &Name,
    parameters: &Parameters,
    caller: &SharedCaller<'_>,
) -> Read<Observed> {
    let place = ground.place(&caller.clone().await?);
    let names = [name.clone()];
    let ours: Parameters = parameters
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let mut all = survey
        .read(region, observe::observe(&ground.clients, &place, &names, ours))
        .await?;
    Ok(all.remove(name).unwrap_or_default())
}

/// Makes the checks of quotas, network, type and image.
async fn account(survey: &Survey, ground: &Ground, region: &Subject, records: &[(Name, Record)]) {
    if !survey.wants(|code| code.area() == Area::Account) {
        return;
    }
    let clients = &ground.clients;
    let specs: Vec<_> = records.iter().map(|(_, record)| &record.spec).collect();
    let mut asked = Asked {
        types: specs.iter().map(|spec| spec.instance_type.clone()).collect(),
        gib: specs.iter().map(|spec| spec.disk.gib).max().unwrap_or(TYPICAL.2),
        running: !specs.is_empty(),
        public_address: specs.iter().find_map(|spec| spec.public_address),
        vcpus: None,
        on_eks: !specs.is_empty() && specs.iter().all(|spec| spec.eks.is_some()),
    };
    if asked.types.is_empty() {
        asked.types.insert(TYPICAL.0.to_owned());
    } else if let Ok(catalog) = Catalog::embedded(&ground.region) {
        // Types do not change; a newer table has newer prices.
        let vcpus = |name: &String| catalog.get(name).map(|instance| instance.vcpus);
        asked.vcpus = asked.types.iter().filter_map(vcpus).max();
    }
    let network = if specs.is_empty() {
        Network::Default
    } else {
        let ids: BTreeSet<String> = specs
            .iter()
            .flat_map(|spec| spec.subnets.iter().map(|subnet| subnet.id.clone()))
            .collect();
        Network::Subnets(ids.into_iter().collect())
    };
    let vcpus = async {
        let limit = survey
            .read(region, preflight::quota(clients, "ec2", VCPU_QUOTA))
            .await?;
        let used = survey.read(region, preflight::vcpus_in_use(clients)).await;
        Ok((limit, used.unwrap_or_default()))
    };
    let nets = async {
        let subnets = survey.read(region, preflight::subnets(clients, &network)).await;
        let vpcs: BTreeSet<String> = subnets
            .iter()
            .flatten()
            .map(|subnet| subnet.vpc.clone())
            .collect();
        let tables = vpcs
            .iter()
            .map(|vpc| survey.read(region, preflight::routes(clients, vpc)));
        let tables: Result<Vec<_>, Gap> = join_all(tables).await.into_iter().collect();
        (subnets, tables.map(|tables| tables.concat()))
    };
    let image = async {
        let hosts = specs.iter().find(|spec| spec.eks.is_none());
        let id = match hosts.or(specs.first()) {
            Some(spec) => Some(spec.image.id.clone()),
            None => {
                let name = image_parameter(&Settings::default());
                let read = survey
                    .read(
                        region,
                        parameter::read(clients, std::slice::from_ref(&name), false),
                    )
                    .await?;
                read.get(&name).map(|parameter| parameter.value.clone())
            }
        };
        match id {
            Some(id) => survey.read(region, preflight::image(clients, &id)).await,
            None => Ok(None),
        }
    };
    let (vcpus, gp3, (subnets, routes), offered, image) = tokio::join!(
        vcpus,
        survey.read(region, preflight::quota(clients, "ebs", GP3_QUOTA)),
        nets,
        survey.read(region, preflight::offered(clients, &asked.types)),
        image
    );
    let account = Account {
        vcpus,
        gp3,
        subnets,
        routes,
        offered,
        image,
    };
    survey.put(
        account::checks(&asked, &account)
            .into_iter()
            .map(|check| check.of(region)),
    );
}

/// One deployment.
struct One<'a, 'c> {
    survey: &'a Survey,
    ground: &'a Ground,
    region: &'a Subject,
    name: &'a Name,
    record: &'a Record,
    parameters: &'a Parameters,
    caller: &'a SharedCaller<'c>,
}

impl One<'_, '_> {
    fn subject(&self) -> Subject {
        Subject {
            deployment: Some(self.name.to_string()),
            ..self.region.clone()
        }
    }

    fn of_host(&self, host: Host) -> Subject {
        Subject {
            host: Some(host.address("host")),
            ..self.subject()
        }
    }

    async fn checks(&self) {
        if self.record.spec.eks.is_some() {
            return self.on_eks().await;
        }
        let hosts = Host::all(self.record.spec.count);
        if hosts.len() > 1 {
            self.survey.forget(&self.of_host(Host { number: None }));
            for host in &hosts {
                self.survey.ask(&self.of_host(*host), Scope::Host);
            }
        }
        self.survey
            .put([deployment::phase(&self.subject(), self.record, Timestamp::now())]);
        let names = [self.name.clone()];
        let instances = self
            .survey
            .read(self.region, instance::named(&self.ground.clients, &names))
            .await;
        tokio::join!(
            self.token(),
            self.whole(),
            self.alarms(instances.as_ref().ok().map(Vec::as_slice)),
            self.hosts(&hosts, &instances)
        );
    }

    /// Makes the checks of a deployment on EKS: it has no hosts of ours, and a cluster instead.
    async fn on_eks(&self) {
        self.survey.forget(&self.of_host(Host { number: None }));
        self.survey.ask(&self.subject(), Scope::Cluster);
        self.put([deployment::phase(&self.subject(), self.record, Timestamp::now())]);
        tokio::join!(self.token(), self.whole(), self.alarms(None));
    }

    fn put(&self, checks: impl IntoIterator<Item = Check>) {
        let on_eks = self.record.spec.eks.is_some();
        let told = |check| if on_eks { cluster::on_eks(check) } else { check };
        self.survey.put(checks.into_iter().map(told));
    }

    async fn token(&self) {
        if !self.survey.wants(|code| code == Code::DeploymentToken) {
            return;
        }
        let there = match &self.record.spec.token {
            Token::Ours => Ok(self.parameters.contains_key(&self.name.token())),
            Token::Theirs(reference) => self.secret(reference).await,
        };
        self.put([deployment::token(&self.subject(), self.record, &there)]);
    }

    async fn secret(&self, reference: &SecretRef) -> Read<bool> {
        let exists = preflight::secret_exists(&self.ground.clients, reference);
        self.survey.read(self.region, exists).await
    }

    /// Returns the newest release of the nodes' image; none where there are no nodes of ours, or AWS does not say.
    async fn newest_image(&self, seen: &ObservedEks) -> Option<String> {
        let group = &seen.node_group.as_ref()?.it;
        let arm = nodes::is_arm(&self.record.spec.instance_type);
        let read = eks_preflight::release(&self.ground.clients, &group.version, arm);
        self.survey.read(self.region, read).await.ok()
    }

    /// Compares everything with the record, as `up` does.
    async fn whole(&self) {
        const OF: [Code; 4] = [
            Code::DeploymentOwner,
            Code::DeploymentDrift,
            Code::LeftoverAws,
            Code::AlarmPresent,
        ];
        // A fix of alarms needs the steps that write them.
        if !self
            .survey
            .wants(|code| OF.contains(&code) || code == Code::AlarmActions || code.scope() == Scope::Cluster)
        {
            return;
        }
        let subject = self.subject();
        let read = observed(
            self.survey,
            self.ground,
            self.region,
            self.name,
            self.parameters,
            self.caller,
        )
        .await;
        let observed = match read {
            Ok(observed) => observed,
            Err(why) => {
                let unknown = |code: &Code| Check::unknown(*code, why.to_string()).of(&subject);
                self.put(OF.iter().map(unknown));
                self.put(cluster::checks(&subject, self.record, &Err(why.clone()), None));
                return;
            }
        };
        let eks = observed.eks.as_deref().cloned().unwrap_or_default();
        let newest = self.newest_image(&eks).await;
        self.put(cluster::checks(
            &subject,
            self.record,
            &Ok(eks),
            newest.as_deref(),
        ));
        let Ok(caller) = self.caller.clone().await else {
            return;
        };
        let place = self.ground.place(&caller);
        let version = observed.record.as_ref().map_or(1, |(_, version)| *version);
        let wanted = Desired {
            token_digest: None,
            place: &place,
            record: self.record,
            base: Some((self.record, version)),
            token: Given::Nothing,
            user_data: &BTreeMap::new(),
            wait: false,
            resize: None,
            upgrade: None,
        };
        let ascent = up(&wanted, &observed);
        let of_alarms = || ascent.steps.iter().filter(|step| deployment::is_alarm(step));
        self.put(deployment::drift(&subject, &ascent));
        self.put([
            deployment::leftovers(&subject, Some(self.record), &observed),
            alarm::present(&subject, observed.alarms.len(), of_alarms()),
        ]);
        let steps: Vec<_> = of_alarms()
            .filter(|step| matches!(step.does, Operation::PutAlarm { .. }))
            .cloned()
            .map(|mut step| {
                step.after.clear();
                step
            })
            .collect();
        let safe = ascent.blocks.is_empty() && self.record.phase == Phase::Present;
        if safe && !steps.is_empty() {
            self.survey.reaches(
                &subject,
                Reach::Alarms {
                    ground: self.ground.clone(),
                    place,
                    name: self.name.clone(),
                    record: Box::new(self.record.clone()),
                    steps,
                    ids: ascent.ids,
                },
            );
        }
    }

    async fn alarms(&self, instances: Option<&[Tagged<Instance>]>) {
        if !self
            .survey
            .wants(|code| code.area() == Area::Alarm && code != Code::AlarmPresent)
        {
            return;
        }
        let clients = &self.ground.clients;
        let spec = &self.record.spec;
        let fed = async {
            let prefix = self.name.alarm_prefix();
            let alarms = self
                .survey
                .read(self.region, alarms_of::beginning(clients, &prefix))
                .await;
            let fed = match &alarms {
                Ok(alarms) => self.survey.read(self.region, metric::fed(clients, alarms)).await,
                Err(why) => Err(why.clone()),
            };
            (alarms, fed)
        };
        let heard = async {
            let place = self.ground.place(&self.caller.clone().await?);
            let arn = topic_arn(self.name, spec, &place);
            let topic = self.survey.read(self.region, topic::read(clients, &arn)).await?;
            Ok(Heard {
                arn,
                theirs: spec.topic.is_some(),
                topic,
            })
        };
        let ((alarms, fed), heard) = tokio::join!(fed, heard);
        let now = Timestamp::now();
        let launched = instances.into_iter().flatten().filter(|it| !it.it.is_gone());
        let launched = launched.filter_map(|it| it.it.launched_at.as_ref()?.parse::<Timestamp>().ok());
        let known = Alarms {
            alarms,
            fed,
            heard,
            age: launched.max().map(|at| now.duration_since(at).as_secs().max(0)),
            region: self.ground.region.clone(),
            notify: spec.notify.clone(),
            now,
        };
        self.put(alarm::checks(&self.subject(), &known));
    }

    async fn hosts(&self, hosts: &[Host], instances: &Read<Vec<Tagged<Instance>>>) {
        let instances = match instances {
            Ok(instances) => instances.clone(),
            Err(why) => {
                for host in hosts {
                    let subject = self.of_host(*host);
                    let why = format!("the hosts could not be listed: {why}");
                    self.survey.put(
                        Code::ALL
                            .iter()
                            .map(|code| Check::unknown(*code, &why).of(&subject)),
                    );
                }
                return;
            }
        };
        let reports = self.parameters.iter().map(|(name, parameter)| {
            let it = ReportParameter {
                text: parameter.value.clone(),
                modified_at: parameter.modified_at.clone(),
            };
            (
                name.clone(),
                Tagged {
                    it,
                    ..Tagged::default()
                },
            )
        });
        let observed = Observed {
            instances,
            reports: reports.collect(),
            ..Observed::default()
        };
        join_all(hosts.iter().map(|host| self.host(*host, &observed))).await;
    }

    async fn host(&self, host: Host, observed: &Observed) {
        let subject = self.of_host(host);
        let now = Timestamp::now();
        let mut view = HostView::new(self.record, host, observed);
        if let Some(instance) = &view.instance
            && view.stage() != Some("online")
            && self.survey.wants(|code| code == Code::DeploymentStage)
        {
            let console = instance::console(&self.ground.clients, &instance.id, CONSOLE);
            view.console = self.survey.read(self.region, console).await.unwrap_or_default();
        }
        self.survey.put([
            deployment::host(&subject, &view),
            deployment::stage_report(&subject, &view, now),
        ]);
        self.survey.put(deployment::lost_registration(&subject, &view));
        let scene = Scene {
            subject: subject.clone(),
            wanted: Wanted::of_record(self.record, host),
            instance: view.instance.as_ref().map(|instance| instance.id.clone()),
            stage: view.stage().map(str::to_owned),
            now: Some(now.as_millisecond() as f64 / 1000.0),
        };
        let state = view.instance.as_ref().map(|instance| instance.state.as_str());
        if state != Some("running") {
            let why = state.map_or_else(
                || "there is no host".to_owned(),
                |state| format!("the host is {state}"),
            );
            let lost = deployment::lost_registration(&subject, &view);
            let said = host::unreached(&scene, Status::Skipped, Status::Skipped, &why, "");
            self.survey.put(said);
            self.survey.put(lost);
            return;
        }
        if self.survey.wants(host::is_said_by_host) {
            let checks = self.asked(&scene, &view, now).await;
            self.survey.put(checks);
        }
    }

    /// Asks the host itself.
    async fn asked(&self, scene: &Scene, view: &HostView, now: Timestamp) -> Vec<Check> {
        let id = scene.instance.clone().unwrap_or_default();
        let told = Told {
            agent: scene.wanted.agent.clone(),
            url: scene.wanted.url.clone(),
            image: Some(scene.wanted.image.clone()),
            ..Told::default()
        };
        let asking = read::host_facts(&self.ground.clients, &id, &told, self.survey.limit);
        let facts = match self.survey.read(self.region, asking).await {
            Ok(facts) => facts,
            Err(gap) => {
                let fresh = view.age(now).is_some_and(|age| age < FRESH) && view.stage() != Some("online");
                let (reachable, rest) = match &gap {
                    Gap::Call(error) if read::is_offline(error) && fresh => {
                        (Status::Skipped, Status::Skipped)
                    }
                    Gap::Call(error) if read::is_offline(error) => (Status::Failed, Status::Unknown),
                    _ => (Status::Unknown, Status::Unknown),
                };
                return host::unreached(scene, reachable, rest, &gap.to_string(), &view.evidence());
            }
        };
        if self.record.phase == Phase::Present {
            self.survey.reaches(
                &scene.subject,
                Reach::Host {
                    ground: self.ground.clone(),
                    instance: id.clone(),
                    agent: scene.wanted.agent.clone(),
                },
            );
        }
        let mut checks = vec![Check::ok(Code::HostReachable, format!("{id} answered")).of(&scene.subject)];
        checks.extend(host::checks(scene, &facts));
        checks.extend(runner::checks(scene, &facts));
        host::not_yet(scene, &facts, &mut checks);
        let kind = facts
            .config
            .known()
            .and_then(|config| config.runners.first().map(|runner| runner.token_kind.clone()));
        checks
            .into_iter()
            .map(|check| match check.code {
                Code::LeftoverRegistration => deployment::with_gone(check, view, kind.as_deref()),
                _ => check,
            })
            .collect()
    }
}

/// Fixes with what they mend, in the order they are run.
fn fixes(checks: &[Check], reach: &[(Subject, Reach)]) -> Vec<(String, Reach, Vec<Fix>)> {
    let mut planned = Vec::new();
    for (subject, reach) in reach {
        let of_alarms = matches!(reach, Reach::Alarms { .. });
        let fixes: BTreeSet<Fix> = checks
            .iter()
            .filter(|check| check.subject == *subject)
            .filter_map(|check| check.fix)
            .filter(|fix| (*fix == Fix::PutAlarms) == of_alarms)
            .collect();
        if !fixes.is_empty() {
            let parts = [&subject.deployment, &subject.host];
            let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
            planned.push((parts.join(" "), reach.clone(), fixes.into_iter().collect()));
        }
    }
    planned
}

/// Says what a fix is about to do.
fn shown(fix: Fix, reach: &Reach) -> String {
    match reach {
        Reach::Host { agent, instance, .. } => {
            let shell = fix.shell(agent).unwrap_or_default();
            format!("{} (on {instance}: {shell})", fix.says())
        }
        Reach::Alarms { steps, .. } => {
            let names: Vec<&str> = steps.iter().map(|step| step.address.as_str()).collect();
            format!("{}: {}", fix.says(), names.join(", "))
        }
    }
}

async fn mend(
    place: String,
    reach: Reach,
    fixes: Vec<Fix>,
    within: Duration,
    context: &Context,
) -> Vec<Tried> {
    let tried = |error: Option<String>| -> Vec<Tried> {
        fixes
            .iter()
            .map(|fix| Tried {
                place: place.clone(),
                says: fix.says().to_owned(),
                error: error.clone(),
            })
            .collect()
    };
    match reach {
        Reach::Host {
            ground,
            instance,
            agent,
        } => {
            let script = fix::script(&fixes, &agent);
            let ended = read::mend(&ground.clients, &instance, &script, within).await;
            tried(ended.unwrap_or_else(|error| Some(error.to_string())))
        }
        Reach::Alarms {
            ground,
            place: there,
            name,
            record,
            steps,
            ids,
        } => {
            let work = Work {
                ground,
                place: there,
                name,
                record: *record,
                steps,
                ids,
                secret: None,
            };
            let stop = Stop::listen(context);
            let reports = apply(vec![work], within, &stop, context).await;
            let failed = reports
                .iter()
                .flat_map(|report| &report.failed)
                .map(|(address, failed)| format!("{address}: {failed}"))
                .next();
            tried(failed)
        }
    }
}
