//! `dataops-infra simulate`: the queue behind the recommendation, or a textbook one.

use clap::builder::RangedU64ValueParser;

use super::outcome::{Answer, Context, Exit, Failure, Outcome};
use super::question::{Asked, QuestionArgs, unanswerable};
use crate::domain::contention::Processor;
use crate::domain::disk::{DiskFill, LARGEST_GIB};
use crate::domain::plan::simulation::{QueueDocument, SimulationDocument};
use crate::domain::profile::{Target, nearest};
use crate::domain::simulation::textbook::{Experiment, Kendall};
use crate::domain::sizing::disks::DiskSizes;
use crate::domain::sizing::evaluate::{
    Evaluator, Layout, MOST_JOBS_PER_WEEK, Shape, jobs_per_week, mean_busy_slots,
};
use crate::domain::sizing::recommend::{Unanswerable, recommend};
use crate::domain::sizing::search::{relative_speed, slots_cap};
use crate::domain::sizing::study::{Arrangement, study, sweep};
use crate::render::simulation::{page, queue_page};
use crate::render::spinner::Spinner;

const EXAMPLES: &str = "\
Examples:
  dataops-infra simulate --workload production
  dataops-infra simulate --workload production --instance-type c5.large --concurrency 5
  dataops-infra simulate --workload kubernetes --instance-type c6i.large --count 2 --max-nodes 4
  dataops-infra simulate --workload team.yaml --replications 100 --seed 7 --output json
  dataops-infra simulate --queue M/M/8 --load 6
  dataops-infra simulate --queue 'M/LN(1.2)/1' --load 0.8
  dataops-infra simulate --queue M/M/8 --load 4 --vcpus 2 --cpu-share 0.2

Without --instance-type the recommended host is simulated. Queues are in
Kendall's notation: arrivals M or D; services M, D, U, Ek, H2(cs2), LN(sigma) or
T(d); servers a number or inf; -PS shares the servers. Mean service is 1, so
--load is in erlangs.";

/// Arguments of `simulate`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct SimulateArgs {
    /// What is asked.
    #[command(flatten)]
    pub question: QuestionArgs,
    /// Simulate this type instead of the recommended one.
    #[arg(long, value_name = "TYPE", help_heading = "Arrangement")]
    pub instance_type: Option<String>,
    /// Hosts, or the smallest number of nodes.
    #[arg(long, value_name = "N", requires = "instance_type", help_heading = "Arrangement",
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub count: Option<u32>,
    /// Jobs at once on each; else what memory (or the pods' requests) allow, at most the workload's concurrent.
    #[arg(long, value_name = "N", requires = "instance_type", help_heading = "Arrangement",
          value_parser = clap::value_parser!(u32).range(1..=2048))]
    pub concurrency: Option<u32>,
    /// Largest number of nodes (EKS).
    #[arg(long, value_name = "N", requires = "instance_type", help_heading = "Arrangement",
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub max_nodes: Option<u32>,
    /// Replications.
    #[arg(long, value_name = "N", default_value_t = 20, help_heading = "Effort",
          value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    pub replications: usize,
    /// Weeks of a replication; else four, fewer for heavy loads.
    #[arg(long, value_name = "N", help_heading = "Effort", value_parser = clap::value_parser!(u32).range(1..=520))]
    pub weeks: Option<u32>,
    /// Run a textbook queue instead of a workload, such as M/M/8.
    #[arg(long, value_name = "QUEUE", requires = "load", help_heading = "Textbook queue",
          conflicts_with_all = ["instance_type", "weeks"])]
    pub queue: Option<Kendall>,
    /// Offered load in erlangs.
    #[arg(long, value_name = "ERLANGS", requires = "queue", help_heading = "Textbook queue", value_parser = positive)]
    pub load: Option<f64>,
    /// Jobs of a run.
    #[arg(long, value_name = "N", requires = "queue", help_heading = "Textbook queue", default_value_t = 1_000_000,
          value_parser = clap::value_parser!(u64).range(100..=100_000_000))]
    pub jobs: u64,
    /// Independent runs.
    #[arg(long, value_name = "N", requires = "queue", help_heading = "Textbook queue", default_value_t = 8,
          value_parser = clap::value_parser!(u64).range(2..=1000))]
    pub runs: u64,
    /// Let jobs contend for this many threads.
    #[arg(long, value_name = "N", requires_all = ["queue", "cpu_share"], help_heading = "Textbook queue",
          value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub vcpus: Option<u32>,
    /// CPU share of each job, above 0 and up to 1.
    #[arg(long, value_name = "SHARE", requires_all = ["queue", "vcpus"], help_heading = "Textbook queue", value_parser = share)]
    pub cpu_share: Option<f64>,
    /// Threads of a core.
    #[arg(long, value_name = "1|2", requires = "vcpus", help_heading = "Textbook queue", default_value_t = 2,
          value_parser = clap::value_parser!(u32).range(1..=2))]
    pub threads_per_core: u32,
    /// Work of two busy threads of a core relative to one.
    #[arg(long, value_name = "RATIO", requires = "vcpus", help_heading = "Textbook queue", default_value_t = 1.3,
          value_parser = smt_yield)]
    pub smt_yield: f64,
}

fn number(text: &str, fits: impl Fn(f64) -> bool, expected: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|value: &f64| fits(*value))
        .ok_or_else(|| format!("expected {expected}"))
}

fn positive(text: &str) -> Result<f64, String> {
    number(
        text,
        |load| load > 0.0 && load <= 10_000.0,
        "a number above 0 and up to 10000",
    )
}

fn share(text: &str) -> Result<f64, String> {
    number(
        text,
        |share| share > 0.0 && share <= 1.0,
        "a number above 0 and up to 1",
    )
}

fn smt_yield(text: &str) -> Result<f64, String> {
    number(text, |ratio| (1.0..=2.0).contains(&ratio), "a number from 1 to 2")
}

/// Runs the command.
///
/// # Errors
///
/// The input is wrong, or there is nothing to recommend and no type was named.
pub fn run(args: &SimulateArgs, context: &Context) -> Outcome {
    if let (Some(queue), Some(load)) = (args.queue, args.load) {
        return textbook(args, queue, load);
    }
    let asked = args.question.ask(context)?;
    let question = asked.question();
    let weekly = jobs_per_week(question.profile);
    let (instance, shape, layout, disk_gib) = if let Some(name) = &args.instance_type {
        named(args, &asked, name)?
    } else {
        let answer = recommend(&question).map_err(|why| unanswerable(&asked, &why))?;
        (
            answer.offer.instance.name.clone(),
            answer.offer.shape,
            answer.evaluation.layout,
            answer.disk.gib,
        )
    };
    if weekly * f64::from(args.weeks.unwrap_or(1)) > MOST_JOBS_PER_WEEK * 16.0 {
        let why = Unanswerable::TooMuch {
            jobs_per_week: weekly,
            busy_slots: mean_busy_slots(question.profile),
            largest: None,
        };
        return Err(unanswerable(&asked, &why));
    }
    let instance = found(&asked, &instance)?;
    let arrangement = Arrangement {
        instance,
        shape,
        layout,
    };
    let spinner = Spinner::start(context.progress, "simulating");
    let result = study(&question, &arrangement, args.replications, args.weeks, &|done| {
        spinner.say(format!(
            "simulating: {done} of {} replications",
            args.replications
        ));
    });
    let mut evaluator = Evaluator::new(question.profile, question.seed, question.threads);
    let rows = sweep(&question, &arrangement, &result.record, &mut evaluator);
    let load = DiskSizes::new(&question, layout.per_host()).load(layout.count());
    let fill = DiskFill::simulate(&question.profile.disk, load, question.seed, question.threads);
    drop(spinner);
    let document = SimulationDocument::new(&question, &arrangement, &result, &rows, (disk_gib, &fill));
    let exit = if document.laws.hold {
        Exit::Done
    } else {
        Exit::Failed
    };
    Ok(Answer {
        page: page(&document),
        document: value(&document)?,
        exit,
    })
}

fn value(document: &impl serde::Serialize) -> Result<serde_json::Value, Failure> {
    serde_json::to_value(document)
        .map_err(|error| Failure::new(Exit::Failed, "cannot set down the simulation").because(error))
}

fn found<'a>(asked: &'a Asked, name: &str) -> Result<&'a crate::domain::catalog::InstanceType, Failure> {
    asked.catalog.get(name).ok_or_else(|| {
        let failure = Failure::new(
            Exit::BadInput,
            format!(
                "--instance-type {name}: no such type in the catalog for {}",
                asked.catalog.region
            ),
        );
        match nearest(
            name,
            asked.catalog.types.iter().map(|instance| instance.name.as_str()),
        ) {
            Some(near) => failure.hint(format!("did you mean `{near}`?")),
            None => failure.hint("dataops-infra catalog show"),
        }
    })
}

/// Returns the arrangement that the arguments name.
fn named(args: &SimulateArgs, asked: &Asked, name: &str) -> Result<(String, Shape, Layout, u32), Failure> {
    let question = asked.question();
    let profile = question.profile;
    let instance = found(asked, name)?;
    let speed = relative_speed(profile, instance).ok_or_else(|| {
        Failure::new(
            Exit::Refused,
            format!("nobody has measured or assumed how fast the threads of {name} are"),
        )
        .hint(format!(
            "--set 'host.thread_speeds={{{}: 1.2}}' says so in c5 threads",
            instance.family()
        ))
    })?;
    let shape = Shape {
        vcpus: instance.vcpus,
        threads_per_core: instance.threads_per_core,
        speed,
    };
    let cap = slots_cap(profile, question.target, instance);
    let layout = match question.target {
        Target::Ec2 => {
            if args.max_nodes.is_some() {
                return Err(Failure::new(Exit::BadInput, "--max-nodes is for EKS")
                    .hint("--target eks, or --workload kubernetes"));
            }
            let slots = args
                .concurrency
                .unwrap_or(profile.runner.concurrent.min(cap))
                .max(1);
            Layout::Hosts {
                count: args.count.unwrap_or(1),
                slots,
            }
        }
        Target::Eks => {
            let min = args.count.unwrap_or(profile.slo.min_nodes);
            let max = args.max_nodes.unwrap_or(min).max(min);
            Layout::Nodes {
                min,
                max,
                pods: args.concurrency.unwrap_or(cap).max(1),
            }
        }
    };
    let disks = DiskSizes::new(&question, layout.per_host());
    let gib = disks.gib(layout.count()).unwrap_or(LARGEST_GIB);
    Ok((instance.name.clone(), shape, layout, gib))
}

fn textbook(args: &SimulateArgs, queue: Kendall, load: f64) -> Outcome {
    let stable = |servers: u32| load < f64::from(servers);
    if queue.servers.is_some_and(|servers| !stable(servers)) {
        return Err(Failure::new(
            Exit::BadInput,
            format!(
                "--load {load}: {queue} has no stationary state at or above {} erlangs",
                queue.servers.unwrap_or(0)
            ),
        )
        .hint("give a load below the number of servers"));
    }
    let contention = args.vcpus.zip(args.cpu_share).map(|(vcpus, share)| {
        let processor = Processor {
            vcpus,
            threads_per_core: args.threads_per_core,
            smt_yield: args.smt_yield,
        };
        (processor, share)
    });
    if let Some((processor, share)) = &contention {
        let most = processor.capacity(queue.servers.unwrap_or(u32::MAX)) / share;
        if load >= most {
            return Err(Failure::new(
                Exit::BadInput,
                format!("--load {load}: the threads do the work of at most {most:.3} erlangs"),
            )
            .hint("give a smaller load or CPU share, or more threads"));
        }
    }
    let experiment = Experiment {
        queue,
        load,
        contention,
        jobs: args.jobs,
        runs: args.runs,
        seed: args.question.seed,
    };
    let document = QueueDocument::new(&experiment, &experiment.observe(), &experiment.exact());
    Ok(Answer {
        page: queue_page(&document),
        document: value(&document)?,
        exit: Exit::Done,
    })
}
