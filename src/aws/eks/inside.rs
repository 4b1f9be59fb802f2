//! What stands in the cluster of a deployment: finds the cluster, signs in, and hands the work to `kubernetes`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Scene;
use crate::aws::clients::Clients;
use crate::aws::error::{CallError, Refusal, classify};
use crate::aws::parameter;
use crate::domain::deployment::eks::objects;
use crate::domain::deployment::eks::observed::{self, Objects};
use crate::domain::deployment::eks::operation::{
    ClusterOperation, Holds, Object, ROLLBACK_SECONDS, ReleaseSpec,
};
use crate::domain::deployment::eks::secret::{self, Data};
use crate::domain::deployment::eks::spec::Eks;
use crate::domain::deployment::eks::values::{Described, TokenKind, token_values};
use crate::domain::deployment::name::Place;
use crate::domain::deployment::record::Record;
use crate::domain::deployment::secret::Secret;
use crate::domain::deployment::spec::{SecretRef, Token};
use crate::engine::port::{Done, Found, Ids, Sight};
use crate::kubernetes::client::{APPLY, Cluster, READ, Sign};
use crate::kubernetes::helm::{Run, Task, Unusable};
use crate::kubernetes::kubeconfig::Login;
use crate::kubernetes::object::{self, Spot};
use crate::kubernetes::pods::{self, Heard, Running};
use crate::kubernetes::release::{self, SILENCE};
use crate::kubernetes::{helm, login, read, scale, teardown};

/// Reads endpoint and authority of a cluster.
pub const DESCRIBE: &str = "eks:DescribeCluster";
/// Reads a secret of the user's.
pub const GET_SECRET: &str = "secretsmanager:GetSecretValue";
/// Runs Helm.
pub const HELM: &str = "helm";

/// Seconds that a runner and jobs may take to end that are aborted.
const ABORT_SECONDS: u32 = 120;
/// Seconds that Helm may take for what removes or goes back.
const HELM_SECONDS: u32 = 540;
/// How often a run says that it is at work.
const BEAT: Duration = Duration::from_secs(20);
/// What is said of a Helm that was not let wait for nothing.
const ENDED: &str = "Helm was ended";
/// Seconds that Helm waits for a pod which will not come up, and that it may take to end when it is asked to.
const IN_VAIN: i64 = 60;
/// Seconds that a pod has to be ready for where its log says nothing that is known.
const QUIET_SECONDS: i64 = 60;

/// The cluster of a deployment, once it was reached.
#[derive(Debug)]
pub struct Inside {
    /// The user's Helm.
    program: PathBuf,
    /// Seconds after which a run of Helm that nobody was seen at is taken for gone.
    silence: i64,
    /// Seconds after which Helm is not let wait for a pod that will not come up.
    patience: i64,
    reached: Mutex<Option<(Cluster, Login)>>,
    helm: Mutex<Option<Helm>>,
    /// Why the release failed, while Helm goes back to what it was before.
    failed: Mutex<Option<Failed>>,
    /// When the runner was told to take no more jobs.
    drained: Mutex<Option<Instant>>,
    /// The runner's token, so that it is told nowhere.
    token: Mutex<Option<Secret>>,
}

impl Default for Inside {
    fn default() -> Self {
        Self {
            program: PathBuf::from(helm::PROGRAM),
            silence: SILENCE,
            patience: IN_VAIN,
            reached: Mutex::default(),
            helm: Mutex::default(),
            failed: Mutex::default(),
            drained: Mutex::default(),
            token: Mutex::default(),
        }
    }
}

/// A run of Helm that was begun.
#[derive(Debug)]
struct Helm {
    run: Run,
    beaten: Instant,
    /// The pod that it waits for in vain, and since when.
    vain: Option<(String, Instant)>,
    /// When it was asked to end, and why.
    ended: Option<(Instant, String)>,
}

/// An upgrade that failed and is taken back.
#[derive(Debug)]
struct Failed {
    why: String,
    /// The revision that Helm goes back to.
    revision: u32,
}

/// Returns how to sign in to a cluster.
fn sign(credentials: Option<SharedCredentialsProvider>, cluster: &str, region: &str) -> Sign {
    let (cluster, region) = (cluster.to_owned(), region.to_owned());
    Arc::new(move || {
        let (credentials, cluster, region) = (credentials.clone(), cluster.clone(), region.clone());
        Box::pin(async move { token(credentials.as_ref(), &cluster, &region, SystemTime::now()).await })
    })
}

/// Returns a login to a cluster.
///
/// # Errors
///
/// There are no credentials.
pub async fn token(
    credentials: Option<&SharedCredentialsProvider>,
    cluster: &str,
    region: &str,
    at: SystemTime,
) -> Result<Secret, CallError> {
    let missing = |cause: String| CallError::Credentials {
        action: "sts:GetCallerIdentity",
        cause,
    };
    let provider = credentials.ok_or_else(|| missing("none are set up".to_owned()))?;
    let credentials = provider.provide_credentials().await.map_err(|error| {
        let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        missing(cause)
    })?;
    login::token(&credentials, cluster, region, at).map_err(|error| CallError::Malformed {
        action: "sts:GetCallerIdentity",
        cause: error.to_string(),
    })
}

/// Reads endpoint and authority of a cluster and returns how programs of the user's reach it.
///
/// # Errors
///
/// There is no such cluster, it is not active, or AWS does not say.
pub async fn login_of(clients: &Clients, cluster: &str, region: &str) -> Result<Login, CallError> {
    let answer = clients.eks.describe_cluster().name(cluster).send().await;
    let answer = answer.map_err(|error| classify(DESCRIBE, &error))?;
    let found = answer.cluster();
    let status = found
        .and_then(|found| found.status())
        .map_or("unknown", |status| status.as_str());
    let endpoint = found.and_then(|found| found.endpoint());
    let authority = found
        .and_then(|found| found.certificate_authority())
        .and_then(|authority| authority.data());
    // While it is updated, its API server answers.
    let (Some(endpoint), Some(authority)) = (endpoint, authority) else {
        return Err(CallError::Refused {
            action: DESCRIBE,
            why: Refusal::NotYet,
            cause: format!("cluster {cluster} is {status} and has no endpoint yet"),
        });
    };
    Ok(Login {
        cluster: cluster.to_owned(),
        region: region.to_owned(),
        endpoint: endpoint.to_owned(),
        authority: authority.to_owned(),
        profile: clients.profile.clone(),
        namespace: None,
        plugin: plugin(),
    })
}

/// Returns what signs in for other programs: this one.
pub fn plugin() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("dataops-infra"));
    in_its_place(program)
}

/// Returns where a program is that was brought up to date while this run of it goes on: Linux says that the former is deleted.
fn in_its_place(program: PathBuf) -> PathBuf {
    let told = program.to_string_lossy();
    match told.strip_suffix(" (deleted)") {
        Some(place) => PathBuf::from(place),
        None => program,
    }
}

/// Reads what stands in a cluster: the objects that are wanted by address, and what else is of the deployment.
pub async fn observe(
    clients: &Clients,
    place: &Place,
    record: &Record,
    it: &observed::Cluster,
    wanted: &[(String, Object)],
) -> observed::Inside {
    if it.endpoint.is_empty() || it.authority.is_empty() {
        return observed::Inside::Nothing;
    }
    let read = async {
        let eks = eks(record)?;
        let sign = sign(clients.credentials.clone(), &eks.cluster, &place.region);
        let cluster = Cluster::new(&it.endpoint, &it.authority, sign)?;
        let wanted: Vec<(String, Value)> = wanted
            .iter()
            .map(|(address, object)| (address.clone(), object.manifest.clone()))
            .collect();
        read::read(&cluster, record, &wanted).await
    };
    match read.await {
        Ok(objects) => observed::Inside::Read(Box::new(objects)),
        Err(error) => observed::Inside::Unknown(error.to_string()),
    }
}

/// Reads what stands in the cluster of a record, whatever is known of the cluster.
///
/// # Errors
///
/// AWS or the cluster does not answer, or refuses.
pub async fn objects(
    clients: &Clients,
    place: &Place,
    record: &Record,
    wanted: &[(String, Value)],
) -> Result<Objects, CallError> {
    let (cluster, _) = reach(clients, place, record).await?;
    read::read(&cluster, record, wanted).await
}

/// Signs in to the cluster of a record.
///
/// # Errors
///
/// AWS or the cluster does not answer, or refuses.
pub async fn reach(clients: &Clients, place: &Place, record: &Record) -> Result<(Cluster, Login), CallError> {
    let eks = eks(record)?;
    let mut login = login_of(clients, &eks.cluster, &place.region).await?;
    login.namespace = Some(eks.namespace.clone());
    let sign = sign(clients.credentials.clone(), &eks.cluster, &place.region);
    Ok((Cluster::new(&login.endpoint, &login.authority, sign)?, login))
}

fn eks(record: &Record) -> Result<&Eks, CallError> {
    record.spec.eks.as_deref().ok_or_else(|| CallError::Malformed {
        action: READ,
        cause: "the deployment has no cluster".to_owned(),
    })
}

/// Reads the runner's token.
///
/// # Errors
///
/// AWS does not answer, or refuses, or there is none.
pub async fn runner_token(clients: &Clients, record: &Record) -> Result<Secret, CallError> {
    match &record.spec.token {
        Token::Ours => stored(clients, &SecretRef::Parameter(record.name.token())).await,
        Token::Theirs(reference) => stored(clients, reference).await,
    }
}

/// Reads a secret of the user's.
async fn stored(clients: &Clients, reference: &SecretRef) -> Result<Secret, CallError> {
    match reference {
        SecretRef::Parameter(name) => {
            let read = parameter::read(clients, std::slice::from_ref(name), true).await?;
            // An ARN is asked for and the name comes back.
            read.into_values()
                .next()
                .map(|parameter| Secret::new(&parameter.value))
                .ok_or_else(|| CallError::Refused {
                    action: parameter::READ,
                    why: Refusal::Missing,
                    cause: format!("there is no parameter {name}"),
                })
        }
        SecretRef::Secret(name) => {
            let answer = clients.secrets.get_secret_value().secret_id(name).send().await;
            let answer = answer.map_err(|error| classify(GET_SECRET, &error))?;
            answer
                .secret_string()
                .map(Secret::new)
                .ok_or_else(|| CallError::Malformed {
                    action: GET_SECRET,
                    cause: format!("{name} holds no text"),
                })
        }
    }
}

/// Takes secrets out of what an error says.
fn masked(error: CallError, secrets: &[Secret]) -> CallError {
    let mask = |cause: String| pods::mask(&cause, secrets);
    match error {
        CallError::Credentials { action, cause } => CallError::Credentials {
            action,
            cause: mask(cause),
        },
        CallError::Unreachable { action, cause } => CallError::Unreachable {
            action,
            cause: mask(cause),
        },
        CallError::Denied { action, cause } => CallError::Denied {
            action,
            cause: mask(cause),
        },
        CallError::Refused { action, why, cause } => CallError::Refused {
            action,
            why,
            cause: mask(cause),
        },
        CallError::Malformed { action, cause } => CallError::Malformed {
            action,
            cause: mask(cause),
        },
    }
}

fn unusable(error: &Unusable) -> CallError {
    CallError::Refused {
        action: HELM,
        why: Refusal::Other,
        cause: error.to_string(),
    }
}

/// Returns an object with what only AWS knew when it was planned.
fn filled(object: &Object, ids: &Ids) -> Result<Value, CallError> {
    let mut manifest = object.manifest.clone();
    for (pointer, address) in &object.filled {
        let missing = |what: &str| CallError::Malformed {
            action: APPLY,
            cause: format!("{}: {what}", Spot::of(&object.manifest)),
        };
        let id = ids
            .get(address)
            .ok_or_else(|| missing(&format!("{address} has no identity yet")))?;
        let place = manifest
            .pointer_mut(pointer)
            .ok_or_else(|| missing(&format!("it has no {pointer}")))?;
        *place = json!(id);
    }
    Ok(manifest)
}

/// What a step in the cluster needs.
struct Here<'a> {
    scene: &'a Scene<'a>,
    eks: &'a Eks,
    cluster: Cluster,
    login: Login,
}

impl Here<'_> {
    fn release(&self) -> String {
        self.scene.record.name.release()
    }

    async fn running(&self) -> Result<Running, CallError> {
        let name = &self.scene.record.name;
        pods::running(&self.cluster, &self.eks.namespace, &name.release(), name.as_str()).await
    }

    async fn head(&self) -> Result<Option<release::Head>, CallError> {
        release::head(&self.cluster, &self.eks.namespace, &self.release()).await
    }

    /// Whether the release is as it shall be.
    async fn is_deployed(&self, should: &Described) -> Result<bool, CallError> {
        let newest = release::newest(&self.cluster, &self.eks.namespace, &self.release()).await?;
        Ok(newest.is_some_and(|there| {
            there.status == "deployed" && Described::read(&there.description).as_ref() == Some(should)
        }))
    }
}

impl Inside {
    /// Takes a cluster that was reached otherwise, a Helm that is not in PATH, and other seconds of silence and of patience.
    pub fn at(cluster: Cluster, login: Login, program: PathBuf, silence: i64) -> Self {
        Self {
            program,
            silence,
            patience: silence,
            reached: Mutex::new(Some((cluster, login))),
            ..Self::default()
        }
    }

    async fn here<'a>(&self, scene: &'a Scene<'a>) -> Result<Here<'a>, CallError> {
        let eks = eks(scene.record)?;
        let mut reached = self.reached.lock().await;
        let (cluster, login) = match &*reached {
            Some(reached) => reached.clone(),
            None => {
                let found = reach(scene.clients, scene.place, scene.record).await?;
                reached.insert(found).clone()
            }
        };
        Ok(Here {
            scene,
            eks,
            cluster,
            login,
        })
    }

    /// Returns the runner's token: the one that the user gave, else the one that is stored.
    async fn token(&self, scene: &Scene<'_>) -> Result<Secret, CallError> {
        if let Some(given) = scene.secret {
            return Ok(given.clone());
        }
        let mut token = self.token.lock().await;
        if let Some(token) = &*token {
            return Ok(token.clone());
        }
        let read = runner_token(scene.clients, scene.record).await?;
        Ok(token.insert(read).clone())
    }

    /// Returns what may not be told, as far as it is known.
    async fn secrets(&self, scene: &Scene<'_>) -> Vec<Secret> {
        self.token(scene).await.into_iter().collect()
    }

    /// Makes the call of a step.
    ///
    /// # Errors
    ///
    /// AWS or the cluster does not answer, or refuses.
    pub async fn perform(
        &self,
        scene: &Scene<'_>,
        operation: &ClusterOperation,
        ids: &Ids,
    ) -> Result<Done, CallError> {
        let here = self.here(scene).await?;
        match operation {
            ClusterOperation::Apply(object) => {
                object::apply(&here.cluster, scene.owner, &filled(object, ids)?).await?;
                Ok(Done::default())
            }
            ClusterOperation::ApplySecret { object, holds } => {
                let mut manifest = filled(object, ids)?;
                let data = self.data(scene, *holds).await?;
                manifest["data"] = secret::written(&data);
                let applied = object::apply(&here.cluster, scene.owner, &manifest).await;
                let secrets: Vec<Secret> = data.into_values().collect();
                applied.map_err(|error| masked(error, &secrets))?;
                Ok(Done::default())
            }
            ClusterOperation::Delete(object) => delete(&here, &object.manifest).await,
            ClusterOperation::Release(wanted) => {
                let mut notes = Vec::new();
                if let Some(head) = here.head().await?
                    && head.is_pending()
                {
                    if !head.is_left(self.silence) {
                        // Another run's Helm is at work; it is waited for.
                        return Ok(Done::default());
                    }
                    notes.push(format!(
                        "an earlier run was ended while its Helm was at work ({}); this one goes on",
                        head.status
                    ));
                }
                self.install(&here, wanted).await?;
                Ok(Done {
                    notes,
                    ..Done::default()
                })
            }
            ClusterOperation::WaitRunner | ClusterOperation::WaitClaim(_) => Ok(Done::default()),
            ClusterOperation::Drain { .. } => {
                let running = here.running().await?;
                for workload in &running.workloads {
                    scale::stop(&here.cluster, workload).await?;
                }
                let mut drained = self.drained.lock().await;
                drained.get_or_insert_with(Instant::now);
                Ok(Done::default())
            }
            ClusterOperation::Abort => {
                let running = here.running().await?;
                for workload in &running.workloads {
                    scale::stop(&here.cluster, workload).await?;
                }
                for pod in running.jobs.iter().chain(&running.pods) {
                    let mut pod = pod.clone();
                    // Objects in a list do not say what they are.
                    pod["apiVersion"] = json!("v1");
                    pod["kind"] = json!("Pod");
                    object::delete_within(&here.cluster, &pod, Some(ABORT_SECONDS / 4)).await?;
                }
                Ok(Done::default())
            }
            ClusterOperation::Start => {
                self.give_back(&here).await?;
                Ok(Done::default())
            }
            ClusterOperation::Uninstall => {
                if here.head().await?.is_some() {
                    self.begin(
                        &here,
                        &Task::Uninstall {
                            seconds: HELM_SECONDS,
                        },
                    )
                    .await?;
                }
                Ok(Done::default())
            }
            ClusterOperation::DeleteLoadBalancers => {
                let found = teardown::balanced(&here.cluster).await?;
                for object in &found {
                    object::delete(&here.cluster, object).await?;
                }
                Ok(Done {
                    notes: found
                        .iter()
                        .map(|object| {
                            format!(
                                "{} is removed, because AWS made a load balancer for it",
                                Spot::of(object)
                            )
                        })
                        .collect(),
                    ..Done::default()
                })
            }
            ClusterOperation::DeleteClaims => {
                let (claims, _) = claims(&here).await?;
                for claim in &claims {
                    object::delete(&here.cluster, claim).await?;
                }
                Ok(Done::default())
            }
        }
    }

    /// Returns what a secret holds.
    async fn data(&self, scene: &Scene<'_>, holds: Holds) -> Result<Data, CallError> {
        match holds {
            Holds::Token => Ok(secret::token(&self.token(scene).await?)),
            Holds::RegistryLogin => {
                let spec = &scene.record.spec;
                let reference = spec.registry.as_ref().ok_or_else(|| CallError::Malformed {
                    action: APPLY,
                    cause: "no login of a registry is named".to_owned(),
                })?;
                let text = stored(scene.clients, reference).await?;
                secret::login(&text, &spec.runner_image).map_err(|error| CallError::Refused {
                    action: APPLY,
                    why: Refusal::Other,
                    cause: error.to_string(),
                })
            }
        }
    }

    /// Begins to install or upgrade the release; what an earlier run left pending is taken back first.
    async fn install(&self, here: &Here<'_>, wanted: &ReleaseSpec) -> Result<(), CallError> {
        if let Some(head) = here.head().await?
            && head.is_left(self.silence)
        {
            release::forget(&here.cluster, &head).await?;
        }
        self.give_back(here).await?;
        let record = here.scene.record;
        let token = self.token(here.scene).await?;
        let should = self.described(here.scene, wanted).await?;
        let by_token = token_values(record, TokenKind::of(token.reveal()), &should.token);
        let task = Task::Upgrade {
            chart: &here.eks.chart,
            values: vec![wanted.values.clone(), by_token],
            description: should.to_string(),
            seconds: wanted.seconds,
        };
        self.begin(here, &task).await
    }

    /// Returns what the release shall be described with.
    async fn described(&self, scene: &Scene<'_>, wanted: &ReleaseSpec) -> Result<Described, CallError> {
        let token = secret::token(&self.token(scene).await?);
        Ok(Described {
            release: wanted.digest.clone(),
            token: secret::digest(&scene.record.name.token_secret(), &token),
        })
    }

    /// Gives Helm back what was taken from it to stop the runner.
    async fn give_back(&self, here: &Here<'_>) -> Result<(), CallError> {
        for workload in here.running().await?.workloads {
            if scale::is_held(&workload) {
                scale::start(&here.cluster, &workload).await?;
            }
        }
        Ok(())
    }

    /// Begins a run of Helm, if none is under way.
    async fn begin(&self, here: &Here<'_>, task: &Task<'_>) -> Result<(), CallError> {
        let mut helm = self.helm.lock().await;
        if let Some(under_way) = &mut *helm
            && matches!(under_way.run.ended(), Ok(None))
        {
            return Ok(());
        }
        let secrets = self.secrets(here.scene).await;
        let release = here.release();
        // It begins in the blink of an eye, but asks for the version first.
        let run = tokio::task::block_in_place(|| {
            Run::begin(
                &self.program,
                &here.login,
                &here.eks.namespace,
                &release,
                task,
                secrets,
            )
        })
        .map_err(|error| unusable(&error))?;
        *helm = Some(Helm {
            run,
            beaten: Instant::now(),
            vain: None,
            ended: None,
        });
        Ok(())
    }

    /// Looks whether a step that was tried has been carried out.
    ///
    /// # Errors
    ///
    /// AWS or the cluster does not answer, or refuses.
    pub async fn look(
        &self,
        scene: &Scene<'_>,
        operation: &ClusterOperation,
        _ids: &Ids,
    ) -> Result<Found, CallError> {
        let here = self.here(scene).await?;
        match operation {
            ClusterOperation::Apply(object) | ClusterOperation::ApplySecret { object, .. } => {
                let spot = Spot::of(&object.manifest);
                Ok(match object::read(&here.cluster, &spot).await? {
                    Some(there) if !objects::owns(scene.owner, &there) => {
                        Found::Foreign(object::whose(&spot, &there))
                    }
                    // It can be applied again without harm.
                    _ => Found::Absent,
                })
            }
            ClusterOperation::Release(wanted) => {
                let should = self.described(scene, wanted).await?;
                Ok(if here.is_deployed(&should).await? {
                    Found::Ours(None)
                } else {
                    Found::Absent
                })
            }
            // The rest can be done again without harm.
            _ => Ok(Found::Absent),
        }
    }

    /// Looks at what a step waits for.
    ///
    /// # Errors
    ///
    /// AWS or the cluster does not answer, or refuses.
    pub async fn watch(
        &self,
        scene: &Scene<'_>,
        operation: &ClusterOperation,
        _ids: &Ids,
    ) -> Result<Sight, CallError> {
        let here = self.here(scene).await?;
        match operation {
            ClusterOperation::Apply(_) | ClusterOperation::ApplySecret { .. } | ClusterOperation::Start => {
                Ok(Sight::Come(Done::default()))
            }
            ClusterOperation::Delete(object) => {
                let spot = Spot::of(&object.manifest);
                Ok(match object::read(&here.cluster, &spot).await? {
                    Some(there) if objects::owns(scene.owner, &there) => {
                        Sight::NotYet(teardown::waiting(&[there]))
                    }
                    _ => Sight::Come(Done::default()),
                })
            }
            ClusterOperation::Release(wanted) => self.released(&here, wanted).await,
            ClusterOperation::Uninstall => match self.helm_ended(&here).await? {
                Some(Ok(())) => Ok(Sight::Come(Done::default())),
                _ if here.head().await?.is_none() => Ok(Sight::Come(Done::default())),
                Some(Err(why)) => Ok(Sight::Never(format!("Helm says: {why}"))),
                None => Ok(Sight::NotYet(format!(
                    "Helm removes the release; {}",
                    here.running().await?.summary()
                ))),
            },
            ClusterOperation::WaitRunner => self.online(&here).await,
            ClusterOperation::WaitClaim(object) => bound(&here, &Spot::of(&object.manifest)).await,
            ClusterOperation::Drain { seconds } => self.drained(&here, *seconds).await,
            ClusterOperation::Abort => self.drained(&here, ABORT_SECONDS).await,
            ClusterOperation::DeleteLoadBalancers => {
                let left = teardown::balanced(&here.cluster).await?;
                Ok(gone(&left))
            }
            ClusterOperation::DeleteClaims => {
                let (mut left, volumes) = claims(&here).await?;
                left.extend(volumes);
                Ok(gone(&left))
            }
        }
    }

    /// Returns how the run of Helm ended; none: there is none, or it is under way, which others are told.
    async fn helm_ended(&self, here: &Here<'_>) -> Result<Option<Result<(), String>>, CallError> {
        let mut helm = self.helm.lock().await;
        let Some(under_way) = &mut *helm else {
            return Ok(None);
        };
        let ended = under_way.run.ended().map_err(|error| CallError::Malformed {
            action: HELM,
            cause: error.to_string(),
        })?;
        match ended {
            Some(status) if status.success() => {
                *helm = None;
                Ok(Some(Ok(())))
            }
            Some(status) => {
                let said = match &under_way.ended {
                    Some((_, why)) => why.clone(),
                    None => under_way.run.error(status),
                };
                *helm = None;
                Ok(Some(Err(said)))
            }
            None => {
                if under_way.beaten.elapsed() > BEAT {
                    under_way.beaten = Instant::now();
                    if let Some(head) = here.head().await?.filter(release::Head::is_pending) {
                        // It may have ended in between, and then nothing is to be told.
                        let _ = release::beat(&here.cluster, &head).await;
                    }
                }
                Ok(None)
            }
        }
    }

    async fn released(&self, here: &Here<'_>, wanted: &ReleaseSpec) -> Result<Sight, CallError> {
        match self.helm_ended(here).await? {
            Some(ended) => return self.installed(here, ended).await,
            None if self.helm.lock().await.is_some() => {
                let running = here.running().await?;
                self.not_in_vain(&running).await;
                let summary = running.summary();
                return Ok(Sight::NotYet(match &*self.failed.lock().await {
                    Some(failed) => format!("Helm goes back to revision {}; {summary}", failed.revision),
                    None => summary,
                }));
            }
            None => {}
        }
        // No run of ours: another one's is waited for, or it is done, or ours begins.
        if let Some(head) = here.head().await?
            && head.is_pending()
            && !head.is_left(self.silence)
        {
            return Ok(Sight::NotYet(format!(
                "another run's Helm is at work on the release ({}); it is taken over after {} s of silence; {}",
                head.status,
                self.silence,
                here.running().await?.summary()
            )));
        }
        let should = self.described(here.scene, wanted).await?;
        if here.is_deployed(&should).await? {
            return Ok(Sight::Come(Done::default()));
        }
        self.install(here, wanted).await?;
        Ok(Sight::NotYet("Helm installs the release".to_owned()))
    }

    /// Ends a Helm that waits for a pod which will not come up: it would wait all its time.
    async fn not_in_vain(&self, running: &Running) {
        let mut helm = self.helm.lock().await;
        let Some(helm) = &mut *helm else { return };
        let patience = Duration::from_secs(self.patience.unsigned_abs());
        if let Some((since, _)) = &helm.ended {
            if since.elapsed() > patience {
                helm.run.kill();
            }
            return;
        }
        let waits_for = |name: &str| running.told().iter().any(|pod| pod.name == name && !pod.ready);
        if let Some((name, _)) = &helm.vain
            && !waits_for(name)
        {
            helm.vain = None;
        }
        // What a pod waits for is not in its words at every look.
        if helm.vain.is_none()
            && let Some((name, _)) = running.hopeless()
        {
            helm.vain = Some((name, Instant::now()));
        }
        if let Some((name, since)) = &helm.vain
            && since.elapsed() > patience
        {
            let why = format!("{ENDED}, because pod {name} will not come up");
            helm.run.end();
            helm.ended = Some((Instant::now(), why));
        }
    }

    /// Says how a run of Helm that installed, or went back because that failed, has ended.
    ///
    /// An upgrade that fails is taken back, as far as there is a revision that was deployed: pods of a failed one would be tried for ever.
    async fn installed(&self, here: &Here<'_>, ended: Result<(), String>) -> Result<Sight, CallError> {
        let before = self.failed.lock().await.take();
        let (why, before) = match (ended, before) {
            (Ok(()), None) => return Ok(Sight::Come(Done::default())),
            (Ok(()), Some(Failed { why, revision })) => {
                return Ok(Sight::Never(format!(
                    "{why}; the release is back at revision {revision}, and its runner goes on"
                )));
            }
            (Err(also), Some(Failed { why, revision })) => {
                return Ok(Sight::Never(format!(
                    "{why}; going back to revision {revision} failed too: {also}"
                )));
            }
            (Err(why), None) => {
                let before = release::deployed(&here.cluster, &here.eks.namespace, &here.release()).await?;
                (self.cause(here, &why).await, before)
            }
        };
        let Some(revision) = before else {
            return Ok(Sight::Never(why));
        };
        let task = Task::Rollback {
            revision,
            seconds: ROLLBACK_SECONDS,
        };
        self.begin(here, &task).await?;
        *self.failed.lock().await = Some(Failed { why, revision });
        Ok(Sight::NotYet(format!("Helm goes back to revision {revision}")))
    }

    /// Says why the release failed: Helm's words, and what the cluster knows.
    async fn cause(&self, here: &Here<'_>, why: &str) -> String {
        let secrets = self.secrets(here.scene).await;
        let mut said = vec![if why.starts_with(ENDED) {
            why.to_owned()
        } else {
            format!("Helm says: {why}")
        }];
        if let Ok(running) = here.running().await {
            said.extend(pods::causes(&here.cluster, &here.eks.namespace, &running, &secrets).await);
        }
        if why.contains("invalid ownership metadata") {
            said.push(
                "what exists there is not of this release: rename or remove it, or give it the label and annotations \
                 that Helm names"
                    .to_owned(),
            );
        }
        pods::mask(&said.join("; "), &secrets)
    }

    /// Looks whether the runner is online: its pods are ready, and it asks for jobs.
    async fn online(&self, here: &Here<'_>) -> Result<Sight, CallError> {
        let running = here.running().await?;
        let secrets = self.secrets(here.scene).await;
        let namespace = &here.eks.namespace;
        if running.workloads.is_empty() {
            return Ok(Sight::NotYet("there is no release yet".to_owned()));
        }
        if !running.is_ready() {
            let summary = pods::mask(&running.summary(), &secrets);
            let ends_again = |(_, why): (String, String)| why.contains("CrashLoopBackOff");
            if running.hopeless().is_some_and(ends_again) {
                let causes = pods::causes(&here.cluster, namespace, &running, &secrets).await;
                return Ok(Sight::Never(causes.join("; ")));
            }
            return Ok(Sight::NotYet(summary));
        }
        let now = jiff::Timestamp::now().as_second();
        for pod in &running.pods {
            let it = pods::told(pod);
            if !it.ready {
                continue;
            }
            let container = pod["spec"]["containers"][0]["name"].as_str().unwrap_or_default();
            let heard = match pods::lines(&here.cluster, namespace, &it.name, container, false).await {
                Ok(lines) => pods::heard(&lines),
                Err(error) => {
                    return Ok(Sight::NotYet(format!(
                        "the log of pod {} cannot be read: {error}",
                        it.name
                    )));
                }
            };
            match heard {
                Heard::Asks => {}
                Heard::Wrong(line) => {
                    let line = pods::mask(&line, &secrets);
                    return Ok(Sight::NotYet(format!(
                        "pod {} is ready, but says: {line}",
                        it.name
                    )));
                }
                Heard::Nothing if now - ready_since(pod) < QUIET_SECONDS => {
                    return Ok(Sight::NotYet(format!(
                        "pod {} is ready; its log does not yet say that the runner has started",
                        it.name
                    )));
                }
                Heard::Nothing => {
                    return Ok(Sight::Come(Done {
                        notes: vec![format!(
                            "pod {} is ready and logs no error, but nothing of a runner either; see its log",
                            it.name
                        )],
                        ..Done::default()
                    }));
                }
            }
        }
        Ok(Sight::Come(Done::default()))
    }

    /// Looks whether jobs have ended and the runner is gone.
    async fn drained(&self, here: &Here<'_>, seconds: u32) -> Result<Sight, CallError> {
        let running = here.running().await?;
        let jobs = running.jobs.len();
        if running.pods.is_empty() && jobs == 0 {
            return Ok(Sight::Come(Done {
                notes: vec![
                    "the runner took no more jobs, and none runs any more; the chart unregisters it when its pod ends"
                        .to_owned(),
                ],
                ..Done::default()
            }));
        }
        let since = *self.drained.lock().await.get_or_insert_with(Instant::now);
        let names: Vec<&str> = running
            .jobs
            .iter()
            .filter_map(|job| job["metadata"]["name"].as_str())
            .take(5)
            .collect();
        let what = match jobs {
            0 => format!("no job runs; {}", running.summary()),
            1 => format!("1 job runs: {}", names.join(", ")),
            more => format!("{more} jobs run: {}", names.join(", ")),
        };
        if since.elapsed() < Duration::from_secs(u64::from(seconds)) {
            return Ok(Sight::NotYet(what));
        }
        Ok(Sight::Never(format!(
            "after {seconds} s {what}; the runner takes no more jobs, nothing else was changed"
        )))
    }
}

/// Returns since when a pod is ready, in seconds; a pod that does not say has been for long.
fn ready_since(pod: &Value) -> i64 {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions
        .filter(|condition| condition["type"] == "Ready")
        .find_map(|condition| {
            condition["lastTransitionTime"]
                .as_str()?
                .parse::<jiff::Timestamp>()
                .ok()
        })
        .map_or(0, jiff::Timestamp::as_second)
}

/// Looks whether a claim has its volume.
async fn bound(here: &Here<'_>, spot: &Spot) -> Result<Sight, CallError> {
    let Some(claim) = object::read(&here.cluster, spot).await? else {
        return Ok(Sight::NotYet(format!("{spot} is not there")));
    };
    if objects::is_bound(&claim) {
        return Ok(Sight::Come(Done::default()));
    }
    let phase = claim["status"]["phase"].as_str().unwrap_or("Pending");
    let mut said = format!("{spot} is {phase}");
    if let Some((reason, message)) = pods::warning(&here.cluster, &here.eks.namespace, &spot.name).await {
        said += &format!("; the cluster says: {reason}: {message}");
    }
    Ok(Sight::NotYet(said))
}

async fn claims(here: &Here<'_>) -> Result<(Vec<Value>, Vec<Value>), CallError> {
    let ours = here.scene.record.name.cache_claim();
    teardown::claims(&here.cluster, here.scene.owner, &here.eks.namespace, &ours).await
}

fn gone(left: &[Value]) -> Sight {
    if left.is_empty() {
        Sight::Come(Done::default())
    } else {
        Sight::NotYet(teardown::waiting(left))
    }
}

/// Begins to remove an object of ours; a namespace in which something of others is stays and is given up.
async fn delete(here: &Here<'_>, manifest: &Value) -> Result<Done, CallError> {
    let spot = Spot::of(manifest);
    let owner = here.scene.owner;
    let Some(there) = object::read(&here.cluster, &spot).await? else {
        return Ok(Done::default());
    };
    if !objects::owns(owner, &there) {
        return Ok(Done {
            notes: vec![format!("{} and stays", object::whose(&spot, &there))],
            ..Done::default()
        });
    }
    if spot.kind == "Namespace" && !there["metadata"]["deletionTimestamp"].is_string() {
        let theirs = teardown::foreign(&here.cluster, owner, &spot.name, &here.release()).await?;
        if !theirs.is_empty() {
            object::disown(&here.cluster, &spot).await?;
            return Ok(Done {
                notes: vec![format!(
                    "{spot} stays, without our labels, because there are things of others in it: {}",
                    theirs.join(", ")
                )],
                ..Done::default()
            });
        }
    }
    object::delete(&here.cluster, &there).await?;
    Ok(Done::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_replaced_meanwhile_is_where_it_was() {
        for told in ["/usr/bin/dataops-infra", "/usr/bin/dataops-infra (deleted)"] {
            let place = in_its_place(PathBuf::from(told));
            assert_eq!(place, PathBuf::from("/usr/bin/dataops-infra"));
        }
    }
}
