//! Takes the steps of deployments, at the same time, and says how they ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};

use crate::aws::deployed::Deployed;
use crate::cli::deployment::calls::Ground;
use crate::cli::outcome::Context;
use crate::domain::deployment::name::{Name, Place};
use crate::domain::deployment::record::Record;
use crate::domain::deployment::secret::Secret;
use crate::domain::deployment::step::Step;
use crate::engine::attempt::Patience;
use crate::engine::port::Ids;
use crate::engine::run::{Report, Shared, run};
use crate::render::progress::{Manner, show};

/// Steps that are taken at the same time, over all deployments. AWS turns away what is too much, and that is tried again later.
const AT_ONCE: usize = 48;

/// The steps of one deployment.
#[derive(Clone, Debug)]
pub struct Work {
    /// How to call.
    pub ground: Ground,
    /// Where.
    pub place: Place,
    /// The deployment.
    pub name: Name,
    /// Its record.
    pub record: Record,
    /// The steps.
    pub steps: Vec<Step>,
    /// Identities of what exists.
    pub ids: Ids,
    /// The token, where it was given.
    pub secret: Option<Secret>,
}

/// A request to stop, by Ctrl-C or the end of a CI job.
///
/// The first ends after the calls in flight; the second ends at once.
#[derive(Debug)]
pub struct Stop {
    receiver: watch::Receiver<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Stop {
    /// Listens from now on.
    pub fn listen(context: &Context) -> Self {
        let (sender, receiver) = watch::channel(false);
        let context = context.clone();
        let task = tokio::spawn(async move {
            let mut asked = 0;
            loop {
                signal().await;
                asked += 1;
                if asked > 1 {
                    context.warn("ended at once; what was in flight is unknown: run the command again");
                    std::process::exit(130);
                }
                context.warn("stopping: calls in flight are finished, nothing else is begun; Ctrl-C again ends at once");
                if sender.send(true).is_err() {
                    return;
                }
            }
        });
        Self { receiver, task }
    }

    /// Ends when somebody asks.
    pub async fn asked(&self) {
        let mut receiver = self.receiver.clone();
        if receiver.wait_for(|stop| *stop).await.is_err() {
            // Nobody is left who could ask.
            std::future::pending::<()>().await;
        }
    }

    /// Whether somebody has asked.
    pub fn is_asked(&self) -> bool {
        *self.receiver.borrow()
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits for Ctrl-C, or for the end of a CI job.
pub async fn signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// Takes the steps of all deployments; the reports are in the order of the work.
pub async fn apply(work: Vec<Work>, online: Duration, stop: &Stop, context: &Context) -> Vec<Report> {
    let (events, receiver) = mpsc::unbounded_channel();
    let manner = if context.quiet {
        Manner::Silent
    } else if context.log.json {
        Manner::Json
    } else if context.progress {
        Manner::Bars
    } else {
        Manner::Lines
    };
    let many = work.len() > 1;
    let shown = tokio::spawn(show(receiver, manner, many));
    let shared = Shared {
        at_once: Arc::new(Semaphore::new(AT_ONCE)),
        stop: stop.receiver.clone(),
        events,
        patience: Patience::for_many(online, work.len()),
    };
    let runs = work.into_iter().map(|work| {
        let shared = shared.clone();
        tokio::spawn(async move {
            let cloud = Deployed::new(work.ground.clients, work.place, work.record.clone(), work.secret);
            run(
                Arc::new(cloud),
                work.name.as_str(),
                &work.steps,
                work.record,
                work.ids,
                &shared,
            )
            .await
        })
    });
    let runs: Vec<_> = runs.collect();
    drop(shared);
    let mut reports = Vec::new();
    for run in runs {
        reports.push(run.await.unwrap_or_default());
    }
    // What shows events ends when nobody can send any.
    let _ = shown.await;
    reports
}
