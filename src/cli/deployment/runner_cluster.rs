//! `runner start|stop|restart|logs` of a deployment on EKS: the pods of the release.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::apply::Stop;
use super::calls::unreadable;
use super::confirm::confirm;
use super::reach::Reached;
use crate::aws::eks::Scene;
use crate::aws::eks::inside::{self, Inside};
use crate::aws::eks::update::Updates;
use crate::aws::error::CallError;
use crate::cli::outcome::{Answer, Context, Ending as End, Exit, Failure, Format, generated_by};
use crate::cli::runner::{LogsArgs, StopArgs};
use crate::domain::deployment::eks::operation::ClusterOperation;
use crate::domain::deployment::secret::Secret;
use crate::engine::port::{Ids, Sight};
use crate::kubernetes::client::Cluster;
use crate::kubernetes::pods::{self, Asked, Running};
use crate::kubernetes::{object, scale};
use crate::render::page::{Page, Table};
use crate::render::style::Style;
use crate::render::text;

/// The schemas' names: those of hosts.
const SCHEMA: &str = "dataops-infra/runner/v1";
const LOGS_SCHEMA: &str = "dataops-infra/runner-logs/v1";
/// Time between two looks.
const LOOK: Duration = Duration::from_secs(2);
/// How long a runner may take to come online.
const ONLINE: Duration = Duration::from_mins(10);
/// How long a pod may take that is told to end at once.
const AT_ONCE: u32 = 30;

/// The cluster of a deployment, with what is asked of it.
struct There<'a> {
    reached: &'a Reached,
    cluster: Cluster,
    namespace: String,
    inside: Inside,
    updates: Updates,
}

impl There<'_> {
    async fn running(&self) -> Result<Running, Failure> {
        let name = &self.reached.name;
        pods::running(&self.cluster, &self.namespace, &name.release(), name.as_str())
            .await
            .map_err(|error| unanswered(error, "what runs in the cluster"))
    }

    /// Looks at what a step of the engine looks at.
    async fn watch(&self, operation: &ClusterOperation) -> Result<Sight, CallError> {
        let owner = self.reached.record.owner();
        let scene = Scene {
            clients: &self.reached.ground.clients,
            place: &self.reached.place,
            record: &self.reached.record,
            owner: &owner,
            secret: None,
            updates: &self.updates,
        };
        self.inside.watch(&scene, operation, &Ids::new()).await
    }

    /// Waits until something has come; an error says what was seen last.
    async fn wait(
        &self,
        operation: &ClusterOperation,
        within: Duration,
        listening: &Stop,
        context: &Context,
    ) -> Result<(), String> {
        let began = tokio::time::Instant::now();
        let mut told = String::new();
        loop {
            let seen = match self.watch(operation).await {
                Ok(Sight::Come(_)) => return Ok(()),
                Ok(Sight::Never(why)) => return Err(why),
                Ok(Sight::NotYet(seen)) => seen,
                Err(error) if error.is_silence() => error.to_string(),
                Err(error) => return Err(error.to_string()),
            };
            if seen != told {
                context.note(seen.clone());
                told = seen;
            }
            if began.elapsed() > within {
                return Err(format!("not within {} s; last seen: {told}", within.as_secs()));
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = listening.asked() => return Err("interrupted; the cluster goes on by itself".to_owned()),
            }
        }
    }
}

fn unanswered(error: CallError, what: &str) -> Failure {
    match error {
        CallError::Denied { .. } => Failure::new(Exit::Unknown, format!("could not read {what}"))
            .because(error)
            .hint("the caller needs an access entry that may do this in the cluster"),
        error => unreadable(what, error, "runner"),
    }
}

async fn there(reached: &Reached) -> Result<There<'_>, Failure> {
    let (cluster, login) = inside::reach(&reached.ground.clients, &reached.place, &reached.record)
        .await
        .map_err(|error| unanswered(error, "the cluster of the deployment"))?;
    Ok(There {
        reached,
        cluster,
        namespace: login.namespace.unwrap_or_default(),
        inside: Inside::default(),
        updates: Updates::default(),
    })
}

/// Lets the runner come back, and waits until it is online.
///
/// # Errors
///
/// The cluster cannot be asked.
pub async fn start(reached: &Reached, context: &Context) -> Result<End, Failure> {
    let there = there(reached).await?;
    let listening = Stop::listen(context);
    let said = begin(&there, &listening, context).await?;
    ended(&there, "start", said).await
}

async fn begin(
    there: &There<'_>,
    listening: &Stop,
    context: &Context,
) -> Result<Result<(), String>, Failure> {
    let running = there.running().await?;
    if running.workloads.is_empty() {
        return Err(none(there.reached));
    }
    for workload in &running.workloads {
        // One that somebody else has stopped is started as well.
        if scale::is_held(workload) || workload["spec"]["replicas"] == 0 {
            scale::start(&there.cluster, workload)
                .await
                .map_err(|error| unanswered(error, "the runner"))?;
        }
    }
    Ok(there
        .wait(&ClusterOperation::WaitRunner, ONLINE, listening, context)
        .await)
}

fn none(reached: &Reached) -> Failure {
    Failure::new(
        Exit::Refused,
        format!("{} has no release in its cluster", reached.name),
    )
    .hint(format!(
        "dataops-infra up eks --name {} --region {} mends that",
        reached.name, reached.ground.region
    ))
}

/// Lets the runner finish its jobs, or not, and end; with `again` it comes back.
///
/// # Errors
///
/// The cluster cannot be asked, or nobody confirms.
pub async fn stop(
    reached: &Reached,
    args: &StopArgs,
    again: bool,
    context: &Context,
) -> Result<End, Failure> {
    let there = there(reached).await?;
    let running = there.running().await?;
    if running.workloads.is_empty() {
        return Err(none(reached));
    }
    let word = if again { "restart" } else { "stop" };
    let jobs = if args.now {
        "jobs that run are aborted".to_owned()
    } else {
        format!(
            "it takes no new jobs and finishes the running ones, {} minutes at most",
            args.timeout
        )
    };
    let then = if again {
        "then it starts again"
    } else {
        "then it stays stopped until `runner start`"
    };
    if !context.quiet && !context.log.json {
        let mut page = Page::new();
        page.heading(format!("{word} the runner of {}", reached.name));
        page.bullets([format!("{} jobs run now; {jobs}, {then}", running.jobs.len())]);
        eprintln!("{}", text::render(&page, Style::of_stderr(context.log.colour)));
    }
    let mut question = format!("{word} the runner of {}?", reached.name);
    question[..1].make_ascii_uppercase();
    confirm(&question, "yes", args.yes)?;
    let listening = Stop::listen(context);
    for workload in &running.workloads {
        scale::stop(&there.cluster, workload)
            .await
            .map_err(|error| unanswered(error, "the runner"))?;
    }
    let seconds = if args.now { AT_ONCE } else { args.timeout * 60 };
    if args.now {
        for pod in running.jobs.iter().chain(&running.pods) {
            let mut pod = pod.clone();
            pod["apiVersion"] = json!("v1");
            pod["kind"] = json!("Pod");
            object::delete_within(&there.cluster, &pod, Some(AT_ONCE / 2))
                .await
                .map_err(|error| unanswered(error, "a pod"))?;
        }
    }
    let drain = ClusterOperation::Drain { seconds };
    let within = Duration::from_secs(u64::from(seconds) + 60);
    let mut said = there.wait(&drain, within, &listening, context).await;
    if said.is_ok() && again {
        said = begin(&there, &listening, context).await?;
    }
    ended(&there, word, said).await
}

async fn ended(there: &There<'_>, word: &str, said: Result<(), String>) -> Result<End, Failure> {
    let reached = there.reached;
    let running = there.running().await?;
    let status = match (&said, word) {
        (Ok(()), "stop") => "stopped",
        (Ok(()), _) => "running",
        (Err(why), _) if why.starts_with("interrupted") => "interrupted",
        (Err(_), _) => "failed",
    };
    let next = match (&said, word) {
        (Ok(()), "stop") => vec![reached.command("runner start"), reached.command("status")],
        (Ok(()), _) => vec![reached.command("runner logs"), reached.command("status")],
        (Err(_), word) => vec![
            reached.command(&format!("runner {word}")),
            reached.command("runner logs"),
        ],
    };
    let told = running.told();
    let pods: Vec<Value> = told
        .iter()
        .map(|pod| {
            json!({
                "name": pod.name, "phase": pod.phase, "ready": pod.ready, "restarts": pod.restarts, "why": pod.why,
                "image": pod.image,
            })
        })
        .collect();
    let document = json!({
        "schema": SCHEMA,
        "generated_by": generated_by(),
        "name": reached.name.as_str(),
        "region": reached.ground.region,
        "account": reached.place.account,
        "action": word,
        "status": status,
        "cluster": reached.record.spec.eks.as_ref().map(|eks| &eks.cluster),
        "namespace": there.namespace,
        "pods": pods,
        "jobs": running.jobs.len(),
        "detail": said.as_ref().err(),
        "next": next,
    });
    let mut page = Page::new();
    page.heading(format!("{} in {}: {status}", reached.name, reached.ground.region));
    if told.is_empty() {
        page.text("No pod of the runner is there.");
    } else {
        let mut table = Table::new(&["pod", "phase", "ready", "restarts"]);
        for pod in &told {
            let ready = if pod.ready { "yes" } else { "no" };
            table.row([
                pod.name.clone(),
                pod.phase.clone(),
                ready.to_owned(),
                pod.restarts.to_string(),
            ]);
        }
        page.table(table);
    }
    page.heading("Next").verbatim(next);
    let exit = if said.is_ok() { Exit::Done } else { Exit::Failed };
    let answer = Answer { document, page, exit };
    Ok(match said {
        Ok(()) => End::Answer(answer),
        Err(why) => {
            let failure = Failure::new(
                Exit::Failed,
                format!("could not {word} the runner of {}: {why}", reached.name),
            );
            End::Refused(
                answer,
                failure.hint(format!("`{}` shows what it logs", reached.command("runner logs"))),
            )
        }
    })
}

/// Shows what the runner's pods log, secrets masked.
///
/// # Errors
///
/// The cluster cannot be asked, or there is no pod.
pub async fn logs(reached: &Reached, args: &LogsArgs, context: &Context) -> Result<End, Failure> {
    let there = there(reached).await?;
    // Who may read the log need not be allowed to read the token; what looks like one is masked all the same.
    let token = inside::runner_token(&reached.ground.clients, &reached.record).await;
    let secrets: Vec<Secret> = token.into_iter().collect();
    let listening = Stop::listen(context);
    let mut asked = Asked {
        tail: Some(args.tail),
        since: args.since.clone(),
    };
    let running = there.running().await?;
    if running.pods.is_empty() {
        return Err(Failure::new(
            Exit::Refused,
            format!(
                "no pod of the runner of {} is there: {}",
                reached.name,
                running.summary()
            ),
        )
        .hint(format!(
            "`{}` starts it, if it was stopped",
            reached.command("runner start")
        )));
    }
    let mut last: BTreeMap<String, String> = BTreeMap::new();
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    loop {
        let running = there.running().await?;
        let many = running.pods.len() > 1;
        for pod in &running.pods {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let asked = Asked {
                since: last.get(&name).cloned().or_else(|| asked.since.clone()),
                ..asked.clone()
            };
            let lines = match pods::stamped(&there.cluster, &there.namespace, pod, &asked).await {
                Ok(lines) => lines,
                // Its container has not begun, or the pod has gone in between.
                Err(_) if args.follow => Vec::new(),
                Err(error) => return Err(unanswered(error, &format!("the log of pod {name}"))),
            };
            let before = last.get(&name).cloned();
            for (at, line) in lines {
                // The second that was seen last is told again.
                if before.as_ref().is_some_and(|before| at <= *before) {
                    continue;
                }
                let line = pods::mask(&line, &secrets);
                if args.follow {
                    print(&name, many, &line, context)?;
                } else {
                    all.entry(name.clone()).or_default().push(line);
                }
                last.insert(name.clone(), at);
            }
        }
        if !args.follow {
            return Ok(shown(&there, &running, &all));
        }
        asked.tail = None;
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = listening.asked() => return Ok(End::Raw(Vec::new())),
        }
    }
}

fn shown(there: &There<'_>, running: &Running, all: &BTreeMap<String, Vec<String>>) -> End {
    let reached = there.reached;
    let mut page = Page::new();
    let mut pods = Vec::new();
    for pod in running.told() {
        let lines = all.get(&pod.name).cloned().unwrap_or_default();
        if running.pods.len() > 1 {
            page.heading(pod.name.clone());
        }
        page.verbatim(lines.clone());
        pods.push(json!({ "name": pod.name, "phase": pod.phase, "ready": pod.ready, "log": lines }));
    }
    let document = json!({
        "schema": LOGS_SCHEMA,
        "generated_by": generated_by(),
        "name": reached.name.as_str(),
        "region": reached.ground.region,
        "pods": pods,
    });
    End::Answer(Answer {
        document,
        page,
        exit: Exit::Done,
    })
}

/// Writes a line as it comes; a reader that has gone ends it.
fn print(pod: &str, many: bool, line: &str, context: &Context) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    let line = match context.format {
        Format::Json => json!({ "pod": pod, "line": line }).to_string(),
        _ if many => format!("{pod}: {line}"),
        _ => line.to_owned(),
    };
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .map_err(|error| Failure::new(Exit::Failed, "could not write to stdout").because(error))
}
