//! One step, until it is done, refused, or out of time.
//!
//! Every operation may be tried again: names are unique or carried by a client token. What matters is what an error
//! says. A refusal is believed; silence is not, and the next look decides.

use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep};

use super::event::What;
use super::port::{Cloud, Done, Found, Ids, Sight};
use crate::domain::call::{CallError, Refusal};
use crate::domain::deployment::eks::operation::EksOperation;
use crate::domain::deployment::operation::{Launch, Operation};
use crate::domain::deployment::record::Record;
use crate::domain::deployment::step::{Action, Step};

/// How patient the engine is.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For hosts to come online.
    pub online: Duration,
    /// For hosts and what hangs on them to be gone.
    pub gone: Duration,
    /// For things that were just made to be seen by other services.
    pub visible: Duration,
    /// For calls that AWS throttles.
    pub throttled: Duration,
    /// Longest time between two looks.
    pub look: Duration,
}

impl Patience {
    /// Returns how patient to be with so many deployments at once, which share what AWS allows an account to ask.
    pub fn for_many(online: Duration, deployments: usize) -> Self {
        Self {
            online,
            gone: Duration::from_mins(15),
            visible: Duration::from_mins(2),
            throttled: Duration::from_mins(3),
            look: Duration::from_secs(5).max(Duration::from_millis(100) * deployments as u32),
        }
    }
}

/// Why a step was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// A call failed.
    Call(CallError),
    /// It was waited for in vain.
    Waited {
        /// Seconds.
        seconds: u64,
        /// What was seen last.
        evidence: String,
    },
    /// What was waited for will not come.
    Never(String),
    /// Something of another owner stands where this belongs.
    Foreign(String),
    /// Every rung of the ladder was refused.
    NoCapacity(Vec<String>),
    /// Somebody asked to stop.
    Interrupted,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Call(error) => error.fmt(f),
            Self::Waited { seconds, evidence } => {
                write!(f, "not there after {seconds} s; last seen: {evidence}")
            }
            Self::Never(why) => f.write_str(why),
            Self::Foreign(what) => write!(f, "{what} stands there and is not of this deployment"),
            Self::NoCapacity(attempts) => {
                write!(f, "AWS has no capacity for any of {} attempts", attempts.len())?;
                attempts.iter().try_for_each(|attempt| write!(f, "\n  {attempt}"))
            }
            Self::Interrupted => f.write_str("interrupted while waiting"),
        }
    }
}

/// Whether the failure leaves it unknown what was carried out.
pub fn is_unknown(failed: &Failed) -> bool {
    matches!(failed, Failed::Call(error) if error.is_silence())
}

/// What an attempt needs around it.
pub struct Around<'a, C> {
    /// The cloud.
    pub cloud: &'a C,
    /// Identities so far.
    pub ids: Ids,
    /// The record, which fallbacks are written to before they are tried.
    pub record: &'a Mutex<Record>,
    /// How patient.
    pub patience: Patience,
    /// Set when somebody asks to stop.
    pub stop: watch::Receiver<bool>,
    /// Told what happens.
    pub tell: &'a (dyn Fn(What) + Send + Sync),
}

/// How often silence is asked again.
const SILENCES: u32 = 3;

/// Gets a step done.
pub async fn attempt<C: Cloud>(step: &Step, around: &mut Around<'_, C>) -> Result<Done, Failed> {
    match &step.does {
        Operation::WaitOnline(_) | Operation::WaitRunning(_) => {
            wait(&step.does, around.patience.online, around).await
        }
        Operation::WaitGone { .. } | Operation::VerifyGone(_) => {
            wait(&step.does, around.patience.gone, around).await
        }
        Operation::Drain { seconds, .. } => {
            let budget = Duration::from_secs(u64::from(*seconds)) + Duration::from_mins(5);
            let first = call(step.action, &step.does, around).await?;
            let mut done = wait(&step.does, budget, around).await?;
            done.notes.splice(0..0, first.notes);
            Ok(done)
        }
        Operation::OnHost { work, .. } => {
            let budget = Duration::from_secs(u64::from(work.seconds())) + Duration::from_mins(5);
            let first = call(step.action, &step.does, around).await?;
            let mut done = wait(&step.does, budget, around).await?;
            done.notes.splice(0..0, first.notes);
            Ok(done)
        }
        Operation::WaitStopped { .. } => wait(&step.does, around.patience.gone, around).await,
        // A volume of some TiB takes hours to optimize, but can be used long before.
        Operation::WaitVolume { .. } => wait(&step.does, around.patience.gone * 4, around).await,
        Operation::Eks(eks) => {
            let first = match eks.waits_minutes() {
                Some(_) if !eks.is_update() => Done::default(),
                _ => call(step.action, &step.does, around).await?,
            };
            let Some(minutes) = eks.waits_minutes() else {
                return Ok(first);
            };
            let mut done = wait(&step.does, Duration::from_mins(minutes), around).await?;
            done.notes.splice(0..0, first.notes);
            Ok(done)
        }
        Operation::Cluster(cluster) => {
            let first = call(step.action, &step.does, around).await?;
            let Some(seconds) = cluster.waits_seconds() else {
                return Ok(first);
            };
            let mut done = wait(&step.does, Duration::from_secs(seconds), around).await?;
            done.notes.splice(0..0, first.notes);
            Ok(done)
        }
        Operation::Launch(launch) => climb(launch, around).await,
        does => call(step.action, does, around).await,
    }
}

/// Makes the calls of an operation.
async fn call<C: Cloud>(
    action: Action,
    operation: &Operation,
    around: &mut Around<'_, C>,
) -> Result<Done, Failed> {
    let began = Instant::now();
    let mut silences = 0;
    let mut pause = Pause::default();
    loop {
        let error = match around.cloud.perform(operation, &around.ids).await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let waited = began.elapsed();
        let again = match error.refusal() {
            Some(Refusal::Missing) if action == Action::Delete || is_removal(operation) => {
                return Ok(Done::default());
            }
            Some(Refusal::Exists | Refusal::TokenReused) => match found(operation, around).await? {
                Found::Ours(id) => {
                    return Ok(Done {
                        id,
                        ..Done::default()
                    });
                }
                Found::Foreign(what) => return Err(Failed::Foreign(what)),
                // It was refused because it is there, so it will be seen.
                Found::Absent => waited < around.patience.visible,
            },
            Some(why @ (Refusal::Missing | Refusal::NotYet)) => {
                // What keeps a role is gone in seconds; hosts keep a security group for minutes, and EKS makes one change
                // after the other.
                let long = is_removal(operation) && !is_role(operation)
                    || why == Refusal::NotYet && is_update(operation);
                let budget = if long {
                    around.patience.gone
                } else if matches!(operation, Operation::OnHost { .. }) {
                    // The agent of a host that was just started takes a while to register.
                    Duration::from_mins(5)
                } else {
                    around.patience.visible
                };
                waited < budget
            }
            Some(Refusal::Throttled) => waited < around.patience.throttled,
            None if error.is_silence() => {
                silences += 1;
                match found(operation, around).await {
                    Ok(Found::Ours(id)) => {
                        return Ok(Done {
                            id,
                            ..Done::default()
                        });
                    }
                    Ok(Found::Foreign(what)) => return Err(Failed::Foreign(what)),
                    Ok(Found::Absent) | Err(_) => silences < SILENCES,
                }
            }
            _ => false,
        };
        if !again {
            return Err(Failed::Call(error));
        }
        let next = pause.next(around.patience.look);
        (around.tell)(What::Retrying {
            because: error.to_string(),
            in_seconds: next.as_secs_f64(),
        });
        rest(next, around).await?;
    }
}

/// Whether it removes a role.
fn is_role(operation: &Operation) -> bool {
    match operation {
        Operation::Eks(eks) => matches!(**eks, EksOperation::DeleteRole { .. }),
        _ => matches!(operation, Operation::DeleteRole),
    }
}

/// Whether EKS carries it out after the call.
fn is_update(operation: &Operation) -> bool {
    matches!(operation, Operation::Eks(eks) if eks.is_update())
}

/// Whether what the operation takes away being gone is what was wanted.
fn is_removal(operation: &Operation) -> bool {
    match operation {
        Operation::Eks(eks) => return eks.is_removal(),
        Operation::Cluster(cluster) => return cluster.is_removal(),
        _ => {}
    }
    matches!(
        operation,
        Operation::RemoveRole(_)
            | Operation::DeleteRole
            | Operation::DeleteRolePolicy
            | Operation::DeleteInstanceProfile
            | Operation::DeleteSecurityGroup { .. }
            | Operation::Terminate { .. }
            | Operation::DeleteTopic
            | Operation::DeleteLogGroup
            | Operation::DeleteRecord
            | Operation::DeleteReport(_)
            | Operation::DeleteToken
            | Operation::DeleteDashboard
            | Operation::DeleteAlarms(_)
            | Operation::Unsubscribe { .. }
    )
}

/// Looks whether an operation was carried out, also when looking fails at first.
async fn found<C: Cloud>(operation: &Operation, around: &mut Around<'_, C>) -> Result<Found, Failed> {
    let mut pause = Pause::default();
    for _ in 1..SILENCES {
        match around.cloud.look(operation, &around.ids).await {
            Err(error) if error.is_silence() || error.refusal() == Some(Refusal::Throttled) => {
                let next = pause.next(around.patience.look);
                rest(next, around).await?;
            }
            other => return other.map_err(Failed::Call),
        }
    }
    around
        .cloud
        .look(operation, &around.ids)
        .await
        .map_err(Failed::Call)
}

/// Launches a host: the first rung that AWS has capacity for.
///
/// The next rung has another client token, so it is tried only after a refusal, never after silence; and the record
/// says so first, so that a run that is interrupted here goes on from there instead of launching twice.
async fn climb<C: Cloud>(launch: &Launch, around: &mut Around<'_, C>) -> Result<Done, Failed> {
    let mut launch = launch.clone();
    let mut refused = Vec::new();
    let mut spent = 0;
    let last = launch.ladder.len().saturating_sub(1);
    launch.from = launch.from.min(last);
    loop {
        let operation = Operation::Launch(Box::new(launch.clone()));
        let address = launch.host.address("host");
        let failed = match call(Action::Create, &operation, around).await {
            Ok(mut done) => {
                done.notes
                    .extend(refused.iter().map(|attempt| format!("no capacity: {attempt}")));
                return Ok(done);
            }
            Err(failed) => failed,
        };
        let refusal = match &failed {
            Failed::Call(error) => error.refusal(),
            _ => None,
        };
        match refusal {
            Some(Refusal::Capacity) => {
                let rung = &launch.ladder[launch.from];
                refused.push(format!(
                    "{} in {}: {failed}",
                    rung.instance_type, rung.subnet.zone
                ));
                if launch.from >= last {
                    return Err(Failed::NoCapacity(refused));
                }
                launch.from += 1;
            }
            // What the token launched is gone: another life of this host.
            Some(Refusal::TokenSpent) if spent < 3 => {
                spent += 1;
                launch.from = 0;
            }
            _ => return Err(failed),
        }
        if *around.stop.borrow() {
            return Err(Failed::Interrupted);
        }
        let mut record = around.record.lock().await;
        let mut tried = record.launch(&address);
        tried.rung = launch.from as u32;
        if refusal == Some(Refusal::TokenSpent) {
            tried.launch += 1;
        }
        record.launches.insert(address.clone(), tried);
        launch.tokens = (0..launch.ladder.len() as u32)
            .map(|rung| record.generation.client_token(&address, tried.launch, rung))
            .collect();
        let rung = &launch.ladder[launch.from];
        (around.tell)(What::Trying {
            attempt: format!("{} in {}, because {failed}", rung.instance_type, rung.subnet.zone),
        });
        let written = Operation::UpdateRecord(Box::new(record.clone()), ANY_VERSION);
        // The lock is held, so that the hosts of a deployment do not write over each other.
        call(Action::Update, &written, around).await?;
        drop(record);
    }
}

/// Version of a record that is written over whatever it is.
pub const ANY_VERSION: i64 = 0;

/// Looks until something has come.
async fn wait<C: Cloud>(
    operation: &Operation,
    budget: Duration,
    around: &mut Around<'_, C>,
) -> Result<Done, Failed> {
    let began = Instant::now();
    let mut pause = Pause::default();
    let mut evidence = "nothing yet".to_owned();
    loop {
        match around.cloud.watch(operation, &around.ids).await {
            Ok(Sight::Come(done)) => return Ok(done),
            Ok(Sight::Never(why)) => return Err(Failed::Never(why)),
            Ok(Sight::NotYet(seen)) => evidence = seen,
            // A look that fails is no evidence of anything; only what waiting cannot mend ends it.
            Err(error) if error.is_silence() || error.refusal() == Some(Refusal::Throttled) => {
                evidence = format!("{evidence} ({error})");
            }
            Err(error) => return Err(Failed::Call(error)),
        }
        let waited = began.elapsed();
        if waited >= budget {
            return Err(Failed::Waited {
                seconds: waited.as_secs(),
                evidence,
            });
        }
        (around.tell)(What::Waiting {
            evidence: evidence.clone(),
            seconds: waited.as_secs_f64(),
        });
        let next = pause.next(around.patience.look);
        rest(next, around).await?;
    }
}

/// Sleeps, but not through a request to stop.
async fn rest<C>(duration: Duration, around: &mut Around<'_, C>) -> Result<(), Failed> {
    let asked = async {
        if around.stop.wait_for(|stop| *stop).await.is_err() {
            // Nobody is left who could ask.
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = sleep(duration) => Ok(()),
        () = asked => Err(Failed::Interrupted),
    }
}

/// Times between tries: from a tenth of a second on, half as much again each time.
#[derive(Default)]
struct Pause(u32);

impl Pause {
    fn next(&mut self, longest: Duration) -> Duration {
        let pause = Duration::from_millis(100).mul_f64(1.5_f64.powf(f64::from(self.0.min(20))));
        self.0 += 1;
        pause.min(longest)
    }
}
