//! `dataops-infra export`: the answer for people who apply it by other means.

use serde_json::{Value, json};

use super::outcome::{Answer, Context, Exit, Failure, Outcome, generated_by};
use crate::render::page::Page;

const EXAMPLES: &str = "\
Examples:
  dataops-infra export iam-policy --for plan > policy.json
  dataops-infra export iam-policy --for plan --output json   with the reasons beside it";

/// The calls that `catalog refresh` makes for `plan`; a test compares it with the code.
const PLAN_POLICY: &str = include_str!("../../templates/iam/plan.json");

/// Arguments of `export`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ExportArgs {
    /// What to write.
    #[command(subcommand)]
    pub kind: Kind,
}

/// What can be written.
#[derive(Debug, clap::Subcommand)]
pub enum Kind {
    /// Write the least IAM policy for a command.
    #[command(after_help = EXAMPLES)]
    IamPolicy {
        /// The command that the policy is for; in this version only plan needs one.
        #[arg(long = "for", value_name = "COMMAND")]
        command: String,
    },
}

/// Commands that need nothing from AWS.
const OFFLINE: &[&str] = &[
    "simulate",
    "calibrate",
    "workload",
    "explain",
    "export",
    "completions",
    "man",
];

/// Commands of later versions.
const LATER: &[&str] = &["up", "status", "doctor", "down", "upgrade", "runner", "alarms"];

/// Runs the command.
pub fn run(args: &ExportArgs, context: &Context) -> Outcome {
    let Kind::IamPolicy { command } = &args.kind;
    match command.as_str() {
        "plan" | "catalog" => iam_policy(context),
        offline if OFFLINE.contains(&offline) => Err(Failure::new(
            Exit::Refused,
            format!("{offline} makes no AWS calls and needs no policy"),
        )),
        later if LATER.contains(&later) => Err(Failure::new(
            Exit::Refused,
            format!("this version makes no AWS calls for {later}, so there is no policy to write"),
        )
        .hint("dataops-infra export iam-policy --for plan")),
        unknown => Err(Failure::new(
            Exit::BadInput,
            format!("unknown command '{unknown}' in --for: expected plan"),
        )
        .hint("dataops-infra export iam-policy --for plan")),
    }
}

fn iam_policy(context: &Context) -> Outcome {
    let policy: Value = serde_json::from_str(PLAN_POLICY)
        .map_err(|error| Failure::new(Exit::Failed, "the embedded policy is not JSON").because(error))?;
    let needed_by = "only catalog refresh calls AWS; plan works offline with the prices it carries";
    context.note(needed_by);
    let mut page = Page::new();
    page.verbatim(PLAN_POLICY.trim_end().lines());
    Ok(Answer {
        document: json!({
            "schema": "dataops-infra/iam-policy/v1",
            "generated_by": generated_by(),
            "for": "plan",
            "needed_by": needed_by,
            "policy": policy,
        }),
        page,
        exit: Exit::Done,
    })
}
