//! `upgrade`, and the change of runners that `rotate-token` shares with it.

use serde_json::{Value, json};

use super::apply::Stop;
use super::args::DeploymentArgs;
use super::calls::block_on;
use super::confirm::confirm;
use super::nodes;
use super::reach::{Heard, Reached, Unheard, reach};
use super::release;
use crate::aws::error::CallError;
use crate::aws::parameter;
use crate::cli::outcome::{Answer, Context, Ending as End, Exit, Failure, generated_by};
use crate::cli::upgrade::{JobArgs, UpgradeArgs};
use crate::domain::deployment::eks::upgrade::Asked;
use crate::domain::deployment::record::{LARGEST, Pending, Record, Why};
use crate::domain::lifecycle::said::Said;
use crate::domain::lifecycle::script::{Ending, Work, trial};
use crate::domain::lifecycle::upgrade::{Standing, Tried, standing, tried, unregistered};
use crate::render::page::{Page, Table};
use crate::render::style::Style;
use crate::render::text;

/// Runs the command.
pub fn run(args: &UpgradeArgs, context: &Context) -> End {
    block_on(upgrade(args, context)).unwrap_or_else(End::Failed)
}

async fn upgrade(args: &UpgradeArgs, context: &Context) -> Result<End, Failure> {
    if let Some(version) = &args.runner_version {
        tag(version)?;
    }
    let reached = reach(&args.which, context, "upgrade").await?;
    let asked = match &args.kubernetes_version {
        Some(version) => Some(Asked::Kubernetes(version)),
        None => args.nodes.then_some(Asked::Nodes),
    };
    if let Some(asked) = asked {
        let manner = nodes::Manner {
            jobs: args.jobs,
            ignores_insights: args.ignore_insights,
            yes: args.yes,
        };
        return nodes::upgrade(&reached, asked, manner, context).await;
    }
    if reached.record.spec.eks.is_some() {
        let Some(version) = &args.runner_version else {
            let what = "Helm has both runners only while it works";
            return Err(release::refused(
                &reached,
                what,
                "--channel TAG goes to any version",
            ));
        };
        if args.trial {
            let what = "there is no trial: Helm takes the first runner away once the second is ready";
            return Err(release::refused(
                &reached,
                what,
                "--channel TAG goes to any version",
            ));
        }
        let version = DeploymentArgs {
            channel: Some(version.clone()),
            ..DeploymentArgs::default()
        };
        return release::over(&args.which, version, args.yes, context).await;
    }
    reached.all_run()?;
    let mut wanted = Record {
        pending: None,
        ..reached.record.clone()
    };
    if let Some(version) = &args.runner_version {
        wanted.spec.channel.clone_from(version);
    } else if let Some(image) = reached.record.pending.as_ref().map(|pending| &pending.image) {
        // What is taken back is the pending one.
        if let Some((_, channel)) = image.rsplit_once(':') {
            channel.clone_into(&mut wanted.spec.channel);
        }
    }
    let change = Change {
        why: Why::Upgrade,
        again: match &args.runner_version {
            Some(version) => format!("upgrade --runner-version {version}"),
            None => "upgrade --rollback".to_owned(),
        },
        trial: args.trial,
        ending: ending(args.jobs),
        yes: args.yes,
        schema: "dataops-infra/upgrade/v1",
        wanted,
    };
    if args.rollback {
        back(&reached, &change, context).await
    } else {
        over(&reached, &change, context).await
    }
}

/// Returns how long jobs may take.
pub fn ending(jobs: JobArgs) -> Ending {
    if jobs.now {
        Ending::Now
    } else {
        Ending::Within(jobs.timeout * 60)
    }
}

/// Checks a tag of an image
/// (<https://docs.docker.com/reference/cli/docker/image/tag/>).
fn tag(text: &str) -> Result<(), Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let first = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    if first && text.len() <= 128 && text.chars().all(plain) {
        return Ok(());
    }
    Err(Failure::new(
        Exit::BadInput,
        format!(
            "--runner-version {text}: expected the tag of an image, such as latest, latest-next or v17.5.0"
        ),
    ))
}

/// A change of runners.
#[derive(Clone, Debug)]
pub struct Change {
    /// Why.
    pub why: Why,
    /// The record as it shall be at the end.
    pub wanted: Record,
    /// Words of the command that goes on with it.
    pub again: String,
    /// Whether to stop when both are there.
    pub trial: bool,
    /// How long jobs may take.
    pub ending: Ending,
    /// Whether nothing is asked.
    pub yes: bool,
    /// Schema of the document.
    pub schema: &'static str,
}

impl Change {
    fn image(&self) -> String {
        image(&self.wanted)
    }

    fn word(&self) -> &'static str {
        match self.why {
            Why::Upgrade => "upgrade",
            Why::Rotate => "rotate-token",
            Why::Nodes => "up",
        }
    }
}

fn image(record: &Record) -> String {
    format!("{}:{}", record.spec.runner_image, record.spec.channel)
}

/// Puts a second runner on every host, and then in the place of the first.
///
/// # Errors
///
/// Something else is under way, nothing was confirmed, or the record cannot be written.
pub async fn over(reached: &Reached, change: &Change, context: &Context) -> Result<End, Failure> {
    let stop = Stop::listen(context);
    let looks = looked(reached, change, &change.wanted, &stop).await?;
    let answers: Vec<&Said> = looks.iter().filter_map(Heard::answer).collect();
    if let Standing::Another(what) = standing(change.why, &change.image(), &answers) {
        return Err(Failure::new(
            Exit::Refused,
            format!(
                "{}: {what} is not finished, so nothing else is begun",
                reached.name
            ),
        )
        .hint(format!(
            "finish it, or take it back: {}",
            reached.command("upgrade --rollback")
        )));
    }
    preview(reached, change, &looks, context);
    confirm(
        &format!("{} the runner of {}?", verb(change), reached.name),
        "yes",
        change.yes,
    )?;
    let mut pending = reached.record.clone();
    pending.pending = Some(Pending {
        why: change.why,
        image: change.image(),
    });
    let version = write(reached, &pending, &reached.record, reached.version).await?;
    context.note(format!(
        "a second runner is put beside the first on {}; it is pulled, registered and watched",
        hosts(reached)
    ));
    let tries = reached
        .ask_all(&change.wanted, &Work::Try(change.why), &stop)
        .await;
    let answers: Vec<Option<&Said>> = tries.iter().map(Heard::answer).collect();
    match tried(&answers) {
        Tried::Unknown => {
            return Ok(ended(
                reached,
                change,
                "failed",
                &tries,
                "put a second runner beside the first",
            ));
        }
        Tried::Bad => return failed(reached, change, &pending, version, &tries, &stop).await,
        Tried::Nothing => {
            write(reached, &change.wanted, &pending, version).await?;
            return Ok(ended(reached, change, "unchanged", &tries, ""));
        }
        Tried::Good => {}
    }
    if change.trial {
        return Ok(ended(reached, change, "on-trial", &tries, ""));
    }
    if !change.yes
        && confirm(
            &format!(
                "The new runner asks for jobs. Let the former of {} finish its jobs and remove it?",
                reached.name
            ),
            "yes",
            false,
        )
        .is_err()
    {
        let End::Answer(answer) = ended(reached, change, "on-trial", &tries, "") else {
            return Err(Failure::new(
                Exit::Refused,
                "not confirmed; both runners are there",
            ));
        };
        return Ok(End::Refused(
            Answer {
                exit: Exit::Refused,
                ..answer
            },
            Failure::new(
                Exit::Refused,
                "not confirmed, so both runners are there and go on",
            )
            .hint(format!(
                "`{}` goes on; `{}` takes the new one away",
                reached.command(&change.again),
                reached.command("upgrade --rollback")
            )),
        ));
    }
    context.note("the former runner takes no new jobs, finishes the running ones and goes".to_owned());
    let finished = reached
        .ask_all(&change.wanted, &Work::Finish(change.why, change.ending), &stop)
        .await;
    if !finished.iter().all(Heard::is_done) {
        return Ok(ended(
            reached,
            change,
            "failed",
            &finished,
            "put the new runner in the place of the former",
        ));
    }
    write(reached, &change.wanted, &pending, version).await?;
    let status = match change.why {
        Why::Upgrade => "upgraded",
        Why::Rotate => "rotated",
        Why::Nodes => "replaced",
    };
    Ok(ended(reached, change, status, &finished, ""))
}

/// Takes second runners away after one of them was no good.
async fn failed(
    reached: &Reached,
    change: &Change,
    pending: &Record,
    version: i64,
    tries: &[Heard],
    stop: &Stop,
) -> Result<End, Failure> {
    let mut clean = true;
    for one in tries {
        let back = match one.answer() {
            Some(said) if said.ok => !said.nothing.unwrap_or_default(),
            Some(said) => said.rolled_back == Some(false),
            None => true,
        };
        if back {
            let undone = reached
                .ask(&change.wanted, &one.there, &Work::Rollback(change.ending), stop)
                .await;
            clean &= undone.is_done();
        }
    }
    if clean {
        write(
            reached,
            &Record {
                pending: None,
                ..reached.record.clone()
            },
            pending,
            version,
        )
        .await?;
    }
    let what = if clean {
        "bring the new runner online; it is removed again, and the former goes on"
    } else {
        "bring the new runner online, nor remove it again; the former goes on"
    };
    Ok(ended(
        reached,
        change,
        if clean { "rolled-back" } else { "failed" },
        tries,
        what,
    ))
}

/// Asks all hosts how far they are; one that does not say is an error, and nothing was changed.
async fn looked(
    reached: &Reached,
    change: &Change,
    record: &Record,
    stop: &Stop,
) -> Result<Vec<Heard>, Failure> {
    let looks = reached.ask_all(record, &Work::Look, stop).await;
    let silent: Vec<&Heard> = looks.iter().filter(|one| !one.is_done()).collect();
    if !silent.is_empty() {
        return Err(unheard(
            reached,
            change,
            &silent,
            "cannot be asked; nothing was changed",
        ));
    }
    Ok(looks)
}

async fn back(reached: &Reached, change: &Change, context: &Context) -> Result<End, Failure> {
    let stop = Stop::listen(context);
    let looks = looked(reached, change, &reached.record, &stop).await?;
    let begun = looks
        .iter()
        .any(|one| one.answer().is_some_and(|said| said.upgrade.is_some()));
    if !begun && reached.record.pending.is_none() {
        return Ok(ended(reached, change, "unchanged", &looks, ""));
    }
    if !context.quiet && !context.log.json {
        let mut page = Page::new();
        page.heading(format!("Take back the unfinished change of {}", reached.name));
        page.bullets(looks.iter().map(|one| {
            format!(
                "{} ({}): the second runner finishes its jobs, is unregistered and removed; the first goes on",
                reached.name.host(one.there.host),
                one.there.it.id
            )
        }));
        eprintln!("{}", text::render(&page, Style::of_stderr(context.log.colour)));
    }
    confirm(
        &format!("Take the second runner of {} away?", reached.name),
        "yes",
        change.yes,
    )?;
    let undone = reached
        .ask_all(&reached.record, &Work::Rollback(change.ending), &stop)
        .await;
    if !undone.iter().all(Heard::is_done) {
        return Ok(ended(
            reached,
            change,
            "failed",
            &undone,
            "take the second runner away",
        ));
    }
    let settled = Record {
        pending: None,
        ..reached.record.clone()
    };
    write(reached, &settled, &reached.record, reached.version).await?;
    Ok(ended(reached, change, "rolled-back", &undone, ""))
}

/// Writes the record over the version that is known; returns the new version.
async fn write(reached: &Reached, record: &Record, was: &Record, version: i64) -> Result<i64, Failure> {
    if record == was {
        return Ok(version);
    }
    let text = record.text();
    if text.len() > LARGEST {
        return Err(Failure::new(
            Exit::BadInput,
            format!(
                "the record of {} would have {} characters, {LARGEST} are allowed",
                reached.name,
                text.len()
            ),
        ));
    }
    let name = reached.name.record();
    let clients = &reached.ground.clients;
    let error = match parameter::overwrite(clients, &name, &text, false, version).await {
        Ok(()) => return Ok(version + 1),
        Err(error) => error,
    };
    if error.is_silence()
        && let Ok(read) = parameter::read(clients, std::slice::from_ref(&name), false).await
        && let Some(is) = read.get(&name)
        && is.value == text
    {
        return Ok(is.version);
    }
    let hint = match &error {
        CallError::Denied { .. } => {
            "the caller needs what `dataops-infra export iam-policy --for upgrade` prints".to_owned()
        }
        _ => format!(
            "`{}` shows what there is; then run the command again",
            reached.command("status")
        ),
    };
    Err(Failure::new(
        Exit::Failed,
        format!("could not write the record of {}", reached.name),
    )
    .because(error)
    .hint(hint))
}

fn hosts(reached: &Reached) -> String {
    match reached.hosts.len() {
        1 => "1 host".to_owned(),
        many => format!("{many} hosts"),
    }
}

fn verb(change: &Change) -> &'static str {
    match change.why {
        Why::Upgrade => "Upgrade",
        Why::Rotate => "Change the token of",
        Why::Nodes => "Replace the nodes of",
    }
}

fn preview(reached: &Reached, change: &Change, looks: &[Heard], context: &Context) {
    if context.quiet || context.log.json {
        return;
    }
    let mut page = Page::new();
    page.heading(match change.why {
        Why::Upgrade => format!(
            "Upgrade {} in {} from {} to {}",
            reached.name, reached.ground.region, reached.record.spec.channel, change.wanted.spec.channel
        ),
        Why::Nodes => format!(
            "Replace the nodes of {} in {}",
            reached.name, reached.ground.region
        ),
        Why::Rotate => format!(
            "Change the token of {} in {}",
            reached.name, reached.ground.region
        ),
    });
    let mut table = Table::new(&["host", "instance", "runs", "second runner"]);
    for one in looks {
        let said = one.answer().cloned().unwrap_or_default();
        table.row([
            reached.name.host(one.there.host),
            one.there.it.id.clone(),
            said.image.unwrap_or_else(|| "none".to_owned()),
            said.next.unwrap_or_default(),
        ]);
    }
    page.table(table);
    let jobs = match change.ending {
        Ending::Now => "aborts its jobs".to_owned(),
        Ending::Within(seconds) => format!("finishes its jobs, {} minutes at most", seconds / 60),
    };
    let name = trial(reached.name.as_str(), &change.wanted.spec.channel);
    page.bullets([
        format!("{} is pulled", change.image()),
        format!("a second runner {name} is registered and started beside the first, for one job at a time"),
        "if it does not ask for jobs, it is unregistered and removed, and nothing has changed".to_owned(),
        if change.trial {
            "both stay, until the same command without --trial".to_owned()
        } else {
            format!("the first {jobs}, is unregistered and removed, and the second takes its name and tag")
        },
    ]);
    eprintln!("{}", text::render(&page, Style::of_stderr(context.log.colour)));
}

fn unheard(reached: &Reached, change: &Change, silent: &[&Heard], what: &str) -> Failure {
    let lines: Vec<String> = silent
        .iter()
        .map(|one| format!("{} {what}: {}", reached.name.host(one.there.host), one.why()))
        .collect();
    let unchecked = silent
        .iter()
        .any(|one| matches!(&one.said, Err(Unheard::Call(error)) if error.is_unchecked()));
    let exit = if unchecked { Exit::Unknown } else { Exit::Failed };
    Failure::new(exit, lines.join("\n")).hint(format!(
        "`{}` looks at the host; then `{}`",
        reached.command("doctor"),
        reached.command(&change.again)
    ))
}

/// Puts the end together; `what` is what could not be done where something failed.
fn ended(reached: &Reached, change: &Change, status: &str, heard: &[Heard], what: &str) -> End {
    let interrupted = heard
        .iter()
        .any(|one| matches!(one.said, Err(Unheard::Interrupted)));
    let status = if interrupted { "interrupted" } else { status };
    let again = reached.command(&change.again);
    let rollback = reached.command("upgrade --rollback");
    let next = match status {
        "on-trial" => vec![again.clone(), rollback.clone()],
        "failed" | "interrupted" => vec![again.clone(), rollback.clone(), reached.command("runner logs")],
        _ => vec![reached.command("status"), reached.command("runner logs")],
    };
    let rows: Vec<Value> = heard.iter().map(Heard::document).collect();
    let mut document = json!({
        "schema": change.schema,
        "generated_by": generated_by(),
        "name": reached.name.as_str(),
        "region": reached.ground.region,
        "account": reached.place.account,
        "from": image(&reached.record),
        "to": change.image(),
        "status": status,
        "hosts": rows,
        "next": next,
    });
    let mut page = Page::new();
    page.heading(format!("{} in {}: {status}", reached.name, reached.ground.region));
    let mut table = Table::new(&["host", "instance", "what"]);
    for one in heard {
        let says = match one.answer().filter(|said| said.ok) {
            None => one.why(),
            Some(said) => match status {
                "upgraded" | "rotated" => {
                    let mut text = unregistered(said.unregistered.as_deref()).to_owned();
                    if !said.detail.is_empty() {
                        text.push_str(&format!("; {}", said.detail));
                    }
                    text
                }
                "unchanged" => "runs it already".to_owned(),
                "on-trial" => "both runners ask for jobs".to_owned(),
                "rolled-back" => "the former runner goes on".to_owned(),
                _ => "done".to_owned(),
            },
        };
        table.row([reached.name.host(one.there.host), one.there.it.id.clone(), says]);
    }
    page.table(table);
    page.heading("Next").verbatim(next);
    let mut answer = Answer {
        document: Value::Null,
        page,
        exit: Exit::Done,
    };
    if what.is_empty() && !interrupted {
        answer.document = document;
        return End::Answer(answer);
    }
    let mut lines: Vec<String> = heard
        .iter()
        .filter(|one| !one.is_done())
        .map(|one| {
            format!(
                "{}: could not {what}: {}",
                reached.name.host(one.there.host),
                one.why()
            )
        })
        .collect();
    if lines.is_empty() {
        lines.push(format!("{}: could not {what}", reached.name));
    }
    let denied = heard
        .iter()
        .any(|one| matches!(one.said, Err(Unheard::Call(CallError::Denied { .. }))));
    let hint = match status {
        _ if denied => format!(
            "the caller needs what `dataops-infra export iam-policy --for {}` prints",
            change.word()
        ),
        "rolled-back" => format!("`{again}` tries it again"),
        _ => format!("`{again}` goes on from here; `{rollback}` takes the second runner away"),
    };
    let failure = Failure::new(Exit::Failed, lines.join("\n")).hint(hint);
    document["error"] = failure.message.clone().into();
    answer.document = document;
    answer.exit = Exit::Failed;
    End::Refused(answer, failure)
}
