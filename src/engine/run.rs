//! The steps of one deployment: those that do not wait for each other at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::{Mutex, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::attempt::{Around, Failed, Patience, attempt};
use super::event::{Event, Sink, What};
use super::port::{Cloud, Done, Ids};
use crate::domain::deployment::record::Record;
use crate::domain::deployment::step::Step;

/// What the steps of a deployment share with others.
#[derive(Clone)]
pub struct Shared {
    /// Steps at the same time, over all deployments.
    pub at_once: Arc<Semaphore>,
    /// Set when somebody asks to stop.
    pub stop: watch::Receiver<bool>,
    /// Where events go.
    pub events: Sink,
    /// How patient.
    pub patience: Patience,
}

/// How the steps ended.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Addresses that are done, with the seconds each took.
    pub done: BTreeMap<String, f64>,
    /// What failed, with why.
    pub failed: Vec<(String, Failed)>,
    /// Addresses that were not begun.
    pub skipped: Vec<String>,
    /// Identities by address.
    pub ids: Ids,
    /// What somebody should know.
    pub notes: Vec<(String, String)>,
    /// Further facts by address.
    pub facts: BTreeMap<String, BTreeMap<&'static str, String>>,
    /// Whether somebody asked to stop.
    pub interrupted: bool,
}

/// Takes the steps.
///
/// After a failure or a request to stop nothing is begun any more; what is under way is finished.
pub async fn run<C: Cloud>(
    cloud: Arc<C>,
    deployment: &str,
    steps: &[Step],
    record: Record,
    ids: Ids,
    shared: &Shared,
) -> Report {
    let mut report = Report {
        ids,
        ..Report::default()
    };
    let record = Arc::new(Mutex::new(record));
    let mut open: BTreeSet<usize> = (0..steps.len()).collect();
    let mut running: JoinSet<(usize, f64, Result<Done, Failed>)> = JoinSet::new();
    loop {
        report.interrupted |= *shared.stop.borrow();
        if report.failed.is_empty() && !report.interrupted {
            let ready: Vec<usize> = open
                .iter()
                .copied()
                .filter(|nth| {
                    steps[*nth]
                        .after
                        .iter()
                        .all(|needed| report.done.contains_key(needed))
                })
                .collect();
            for nth in ready {
                open.remove(&nth);
                running.spawn(one(
                    nth,
                    Arc::clone(&cloud),
                    deployment.to_owned(),
                    steps[nth].clone(),
                    Arc::clone(&record),
                    report.ids.clone(),
                    shared.clone(),
                ));
            }
        }
        let Some(ended) = running.join_next().await else {
            break;
        };
        let Ok((nth, seconds, result)) = ended else {
            // A panic in a step is a defect; what it did is unknown, as after silence.
            report.failed.push((
                "a step".to_owned(),
                Failed::Never("ended unexpectedly".to_owned()),
            ));
            continue;
        };
        let address = steps[nth].address.clone();
        match result {
            Ok(done) => {
                if let Some(id) = done.id {
                    report.ids.insert(address.clone(), id);
                }
                if !done.facts.is_empty() {
                    report.facts.insert(address.clone(), done.facts);
                }
                report
                    .notes
                    .extend(done.notes.into_iter().map(|note| (address.clone(), note)));
                report.done.insert(address, seconds);
            }
            Err(Failed::Interrupted) => {
                report.interrupted = true;
                report.skipped.push(address);
            }
            Err(failed) => report.failed.push((address, failed)),
        }
    }
    report
        .skipped
        .extend(open.into_iter().map(|nth| steps[nth].address.clone()));
    report
}

async fn one<C: Cloud>(
    nth: usize,
    cloud: Arc<C>,
    deployment: String,
    step: Step,
    record: Arc<Mutex<Record>>,
    ids: Ids,
    shared: Shared,
) -> (usize, f64, Result<Done, Failed>) {
    // Waits would keep others from calling; they call rarely.
    let waits = step.action == crate::domain::deployment::step::Action::Wait;
    let permit = if waits {
        None
    } else {
        shared.at_once.clone().acquire_owned().await.ok()
    };
    let began = Instant::now();
    let tell = |what: What| {
        // Nobody listening is no reason to stop.
        let _ = shared.events.send(Event {
            deployment: deployment.clone(),
            address: step.address.clone(),
            kind: step.kind,
            action: step.action,
            what,
        });
    };
    tell(What::Started);
    let mut around = Around {
        cloud: &*cloud,
        ids,
        record: &record,
        patience: shared.patience,
        stop: shared.stop.clone(),
        tell: &tell,
    };
    let result = attempt(&step, &mut around).await;
    drop(permit);
    let seconds = began.elapsed().as_secs_f64();
    match &result {
        Ok(done) => tell(What::Done {
            seconds,
            notes: done.notes.clone(),
        }),
        Err(failed) => tell(What::Failed {
            cause: failed.to_string(),
        }),
    }
    (nth, seconds, result)
}
