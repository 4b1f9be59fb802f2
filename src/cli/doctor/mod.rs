//! `dataops-infra doctor`: named checks of this machine, the account, deployments, hosts, runners and alarms.
//!
//! `remote` asks AWS and, through Run Command, the hosts; `local` is `--on-host`. What facts mean is in `domain::doctor`.

mod local;
#[cfg(feature = "aws")]
mod remote;
#[cfg(feature = "aws")]
mod survey;

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::deployment::args::WhichArgs;
use super::outcome::{Answer, Context, Ending, Exit, Failure, generated_by};
use crate::domain::doctor::board::{Verdict, summary, verdict};
use crate::domain::doctor::check::Check;
use crate::domain::doctor::code::Code;
use crate::render::doctor as pages;
use crate::render::page::Page;

const EXAMPLES: &str = "\
Examples:
  dataops-infra doctor --region eu-west-2                 this machine and the account, before the first `up`
  dataops-infra doctor --name dataops-runner-london --region eu-west-2
  dataops-infra doctor --all --region eu-west-2 --output json
  dataops-infra doctor --name dataops-runner-london --check RUNNER,HOST-DISK-SPACE
  dataops-infra doctor --name dataops-runner-london --fix
  dataops-infra doctor --on-host                          on a host itself, without AWS
  dataops-infra doctor --explain HOST-DISK-GUARD

Every check ends as ok, warning, failed, skipped (nothing to check) or unknown
(could not be checked).

Exit codes: 0 nothing found, 2 wrong input, 4 something was found, 5 nothing was
found but something could not be checked: no credentials, no answer, no
permission. A finding wins over what could not be checked.";

/// The schema's name.
const SCHEMA: &str = "dataops-infra/doctor/v1";

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct DoctorArgs {
    /// Which deployments; without a name only this machine and the account are checked.
    #[command(flatten)]
    pub which: WhichArgs,
    /// Every deployment of the region.
    #[arg(long, conflicts_with_all = ["name", "file", "on_host"])]
    pub all: bool,
    /// Check the host that the program runs on, without AWS.
    #[arg(long, conflicts_with_all = ["name", "file"])]
    pub on_host: bool,
    /// Only these checks: codes, or areas such as HOST.
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    pub check: Vec<String>,
    /// Seconds that each check may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub timeout: u64,
    /// Mend what is safe to mend, after showing it.
    #[arg(long)]
    pub fix: bool,
    /// Mend without asking.
    #[arg(long, requires = "fix")]
    pub yes: bool,
    /// Show the page of a check instead.
    #[arg(long, value_name = "CODE", exclusive = true)]
    pub explain: Option<String>,
    /// Where the host's files begin: the root volume of a host that does not boot, mounted elsewhere.
    #[arg(long, value_name = "FOLDER", requires = "on_host", hide = true)]
    pub root: Option<PathBuf>,
}

/// A fix that was tried.
#[derive(Clone, Debug)]
pub struct Tried {
    /// Where.
    pub place: String,
    /// What.
    pub says: String,
    /// What went wrong; none: nothing.
    pub error: Option<String>,
}

/// Runs the command.
pub fn run(args: &DoctorArgs, context: &Context) -> Ending {
    if let Some(word) = &args.explain {
        return explain(word).into();
    }
    let codes = match chosen(&args.check) {
        Ok(codes) => codes,
        Err(failure) => return Ending::Failed(failure),
    };
    let ended = if args.on_host {
        local::run(args, &codes, context)
    } else {
        remotely(args, &codes, context)
    };
    ended.into()
}

#[cfg(feature = "aws")]
fn remotely(args: &DoctorArgs, codes: &BTreeSet<Code>, context: &Context) -> Result<Answer, Failure> {
    remote::run(args, codes, context)
}

#[cfg(not(feature = "aws"))]
fn remotely(_args: &DoctorArgs, _codes: &BTreeSet<Code>, _context: &Context) -> Result<Answer, Failure> {
    Err(super::deployment::without_aws().hint("--on-host works without AWS"))
}

/// Returns the checks that were asked for; none: all.
fn chosen(words: &[String]) -> Result<BTreeSet<Code>, Failure> {
    if words.is_empty() {
        return Ok(Code::ALL.iter().copied().collect());
    }
    let mut codes = BTreeSet::new();
    for word in words {
        codes.extend(Code::find(word).map_err(|near| unknown(word, near))?);
    }
    Ok(codes)
}

fn unknown(word: &str, near: &str) -> Failure {
    Failure::new(
        Exit::BadInput,
        format!("there is no check `{word}`; expected a code or an area; did you mean `{near}`?"),
    )
    .hint("dataops-infra doctor --explain LIST shows all of them")
}

fn explain(word: &str) -> Result<Answer, Failure> {
    if word.eq_ignore_ascii_case("list") {
        return Ok(list());
    }
    let codes = Code::find(word).map_err(|near| unknown(word, near))?;
    let mut page = Page::new();
    for code in &codes {
        page.verbatim(code.page().lines());
    }
    let rows: Vec<Value> = codes
        .iter()
        .map(|code| {
            json!({
                "code": code.word(), "title": code.title(), "severity": code.severity().word(),
                "doc": code.doc(), "text": code.page(),
            })
        })
        .collect();
    Ok(Answer {
        document: json!({ "schema": "dataops-infra/checks/v1", "generated_by": generated_by(), "checks": rows }),
        page,
        exit: Exit::Done,
    })
}

fn list() -> Answer {
    let rows: Vec<Value> = Code::ALL
        .iter()
        .map(|code| {
            json!({
                "code": code.word(), "title": code.title(), "severity": code.severity().word(), "doc": code.doc(),
            })
        })
        .collect();
    Answer {
        document: json!({ "schema": "dataops-infra/checks/v1", "generated_by": generated_by(), "checks": rows }),
        page: pages::list(),
        exit: Exit::Done,
    }
}

/// Puts checks and fixes together as the answer.
fn answer(checks: &[Check], tried: &[Tried], heading: &str) -> Answer {
    let rows: Vec<Value> = checks.iter().map(Check::document).collect();
    let mut document = json!({
        "schema": SCHEMA,
        "generated_by": generated_by(),
        "checks": rows,
        "summary": summary(checks),
    });
    if !tried.is_empty() {
        document["fixes"] = tried
            .iter()
            .map(|fix| {
                let mut row = json!({ "where": fix.place, "what": fix.says, "done": fix.error.is_none() });
                if let Some(error) = &fix.error {
                    row["error"] = error.as_str().into();
                }
                row
            })
            .collect();
    }
    let mut page = Page::new();
    page.heading(heading);
    if !tried.is_empty() {
        page.bullets(tried.iter().map(|fix| match &fix.error {
            None => format!("done, {}: {}", fix.place, fix.says),
            Some(error) => format!("NOT done, {}: {}: {error}", fix.place, fix.says),
        }));
    }
    pages::fill(&mut page, checks);
    Answer {
        document,
        page,
        exit: match verdict(checks) {
            Verdict::Clean => Exit::Done,
            Verdict::Findings => Exit::Findings,
            Verdict::Unchecked => Exit::Unknown,
        },
    }
}

/// Asks before fixes are run; what is about to be done was shown.
fn consent(shown: &[(String, String)], args: &DoctorArgs, context: &Context) -> Result<(), Failure> {
    for (place, says) in shown {
        context.note(format!("about to mend, {place}: {says}"));
    }
    super::deployment::confirm::confirm("Mend this?", "yes", args.yes)
}
