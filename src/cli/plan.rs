//! `dataops-infra plan`: the recommendation, offline; with `--live` also what would change in an account.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::deployment::args::{DeploymentArgs, WhichArgs};
use super::outcome::{Answer, Context, Ending, Exit, Failure, Outcome};
use super::question::{QuestionArgs, unanswerable};
use crate::domain::plan::document::PlanDocument;
use crate::domain::settings::Settings;
use crate::domain::sizing::recommend::recommend;
use crate::render::plan::page;
use crate::render::spinner::Spinner;

const EXAMPLES: &str = "\
Examples:
  dataops-infra plan --workload production
  dataops-infra plan --workload kubernetes --region ap-southeast-1
  dataops-infra plan --workload team.yaml --families any --output json
  dataops-infra plan --workload production --set arrivals.pipelines_per_weekday=300
  dataops-infra plan --workload production --scope worst-hour --wait 20
  dataops-infra plan --workload production --out plan.json
  dataops-infra plan --live --name dataops-runner-london --region eu-west-2 \\
      --token-parameter /runners/token --out plan.json
  dataops-infra up --plan plan.json

Needs no account and no network: types and prices are in the program, or in the
file that `dataops-infra catalog refresh` wrote. With --live it also reads the
account, checks what must hold, and lists what would change; it changes nothing.

Exit codes: 0 there is an answer, 1 a file cannot be written, 2 the input is
wrong, 3 nothing meets the objectives, or something is in the way (--live), 4
something would change (--detailed-exitcode), 5 the account cannot be read.";

/// Arguments of `plan`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct PlanArgs {
    /// What is asked.
    #[command(flatten)]
    pub question: QuestionArgs,
    /// Also write the plan as JSON to this file.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Also read the account and list what would change there.
    #[arg(long)]
    pub live: bool,
    /// End with exit code 4 when something would change.
    #[arg(long, requires = "live")]
    pub detailed_exitcode: bool,
    /// Which deployment, with --live.
    #[command(flatten)]
    pub which: WhichArgs,
    /// The deployment, with --live.
    #[command(flatten)]
    pub deployment: DeploymentArgs,
}

/// Runs the command.
///
/// # Errors
///
/// The input is wrong, nothing meets the objectives, or the file cannot be written.
pub fn run(args: &PlanArgs, context: &Context) -> Ending {
    if args.live {
        return live(args, context);
    }
    offline(args, context).into()
}

#[cfg(not(feature = "aws"))]
fn live(_args: &PlanArgs, _context: &Context) -> Ending {
    Ending::Failed(super::deployment::without_aws())
}

#[cfg(feature = "aws")]
fn live(args: &PlanArgs, context: &Context) -> Ending {
    super::deployment::preview::run(args, context)
}

fn offline(args: &PlanArgs, context: &Context) -> Outcome {
    let said = args
        .deployment
        .settings(&args.which, &QuestionArgs::default(), &Context::default())?;
    if said != Settings::default() || args.which.file.is_some() || args.deployment.token_file.is_some() {
        return Err(Failure::new(
            Exit::BadInput,
            "options of a deployment, such as --name or --instance-type, need --live",
        )
        .hint("dataops-infra plan --live --name NAME --region REGION"));
    }
    let asked = args.question.ask(context)?;
    let question = asked.question();
    let spinner = Spinner::start(context.progress, "simulating the workload on the candidates");
    let answer = recommend(&question).map_err(|why| unanswerable(&asked, &why))?;
    drop(spinner);
    let plan = PlanDocument::new(
        &question,
        &asked.loaded,
        &answer,
        &args.question.typed(),
        asked.notices.clone(),
    );
    let document = serde_json::to_value(&plan)
        .map_err(|error| Failure::new(Exit::Failed, "cannot set down the plan").because(error))?;
    if let Some(path) = &args.out {
        write(path, &document)?;
        context.note(format!("the plan is in {}", path.display()));
    }
    Ok(Answer {
        page: page(&plan),
        document,
        exit: Exit::Done,
    })
}

/// Writes a document whole or not at all.
pub fn write(path: &Path, document: &serde_json::Value) -> Result<(), Failure> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Failed, format!("cannot write {}", path.display()))
            .because(error)
            .hint("nothing was changed; name a file in a folder that exists and is writable")
    };
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    writeln!(file, "{document:#}").map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}
